//! What the two ends say to each other, and how it is told apart: four bytes of length, and that much JSON.
//!
//! Both ends are the same program, by its digest, so that there is one form and no other. What the far end says is bounded all the same: it
//! runs as a user whom an agent may be, too. What of it is believed is `conversation.rs`.

use std::collections::BTreeSet;

use palisade_engine::{AbsolutePath, EngineSpec, Machine, Principal, Transport};
use palisade_sandbox::Enforced;
use palisade_sandbox::meter::Exceeded;
use palisade_sandbox::plan::{Level, Limits};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::guard::{Refusal, Script};

/// Bytes of one message to the far end: the policies, the first one.
pub const MAX_ORDER: usize = 256 << 20;

/// Bytes of one message from there: the words of a program that was refused, the longest one. A byte of a word may take six here.
pub const MAX_ANSWER: usize = 8 << 20;

/// A message, and what it is about.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Numbered<T> {
    /// Of an order, its own number; of an answer, that of its order, and 0 if nobody has asked.
    pub id: u64,
    /// What is said.
    pub body: T,
}

/// What the server says.
#[derive(Debug, Serialize, Deserialize)]
pub enum Order {
    /// First of all, once: what to hold.
    Init(Box<Init>),
    /// A shell is started as soon as somebody brings its streams.
    Launch(Box<Launch>),
    /// A script begins in a shell.
    Script {
        /// Which shell.
        shell: u64,
        /// What it is.
        script: Box<Script>,
    },
    /// It has come to its end: all that was refused in it has been told before this is answered.
    Settle {
        /// In which shell.
        shell: u64,
    },
    /// Where does a shell stand?
    Stands {
        /// Which one.
        shell: u64,
    },
    /// Does anything in a shell wait for the shell's input?
    Waits {
        /// In which one.
        shell: u64,
    },
    /// Ends a shell and everything in it.
    End {
        /// Which one.
        shell: u64,
    },
}

/// What the far end says.
#[derive(Debug, Serialize, Deserialize)]
pub enum Answer {
    /// To the first message.
    Ready(Ready),
    /// A shell runs.
    Launched(Box<Launched>),
    /// How a script has done.
    Settled {
        /// A limit that it has passed.
        limit: Option<Exceeded>,
        /// Where it has left its shell.
        cwd: Option<AbsolutePath>,
    },
    /// Where a shell stands.
    Stands(Option<AbsolutePath>),
    /// Whether something waits for a shell's input.
    Waits(bool),
    /// It is done.
    Done,
    /// It is not.
    Failed {
        /// Why.
        what: String,
        /// What to do about it.
        help: String,
    },
    /// Without being asked: a shell has passed a limit.
    Exceeded {
        /// Which shell.
        shell: u64,
        /// Which limit.
        limit: Exceeded,
    },
    /// Without being asked: a shell's program was refused.
    Refused {
        /// Which shell's.
        shell: u64,
        /// What was refused.
        refusal: Refusal,
    },
}

/// What to hold.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Init {
    pub(crate) policies: EngineSpec,
    pub(crate) principal: Principal,
    pub(crate) transport: Transport,
    pub(crate) host: String,
    pub(crate) machine: Machine,
    /// The session.
    pub(crate) session: String,
    /// What policies call the workspace; none: where a login begins.
    pub(crate) workspace: Option<AbsolutePath>,
    /// The user's home, as the settings have it.
    pub(crate) home: AbsolutePath,
    /// The level that has to be reached.
    pub(crate) level: Level,
    pub(crate) limits: Limits,
    /// Policies that the kernel need not hold, by id.
    pub(crate) accept: BTreeSet<String>,
    /// The variables of the login that shells see, besides those that every session does.
    pub(crate) passed: Vec<String>,
    /// The time zone in which policies read the clock; none: that of the far end.
    pub(crate) zone: Option<String>,
}

/// The far end stands.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ready {
    /// Where its socket is.
    pub(super) directory: String,
    /// Where a login begins.
    pub(super) start: AbsolutePath,
    /// The home of its user, as the login has it.
    pub(super) home: String,
    /// The session's temporary directory.
    pub(super) temp: AbsolutePath,
    /// The kernel holds every path rule.
    pub(super) paths_held: bool,
}

/// A shell that is to be started.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Launch {
    /// What the order and all others call it.
    pub(super) shell: u64,
    /// What whoever brings its streams has to say.
    pub(super) token: String,
    /// The shell's program and its words.
    pub(super) words: Vec<String>,
    /// Its variables, besides those of every one.
    pub(super) variables: Vec<(String, String)>,
    /// Where it starts; none: where sessions begin.
    pub(super) cwd: Option<AbsolutePath>,
    /// What the server itself has it run.
    pub(super) errands: Vec<Vec<String>>,
}

/// A shell that runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Launched {
    /// Its number there.
    pub(super) pid: i32,
    /// Where it started.
    pub(super) cwd: AbsolutePath,
    pub(super) enforced: Enforced,
}

/// Something came that is no message.
#[derive(Debug, PartialEq, Eq)]
pub struct NoMessage;

/// One message as bytes.
///
/// # Errors
/// If it is longer than a length can say.
pub fn encode<T: Serialize>(message: &Numbered<T>) -> Result<Vec<u8>, NoMessage> {
    let body = serde_json::to_vec(message).map_err(|_| NoMessage)?;
    let length = u32::try_from(body.len()).map_err(|_| NoMessage)?;
    Ok([&length.to_be_bytes()[..], &body].concat())
}

/// Puts messages together from pieces of any size.
#[derive(Debug)]
pub struct Frames {
    most: usize,
    waiting: Vec<u8>,
}

impl Frames {
    /// For messages of at most so many bytes.
    pub fn new(most: usize) -> Self {
        Self { most, waiting: Vec::new() }
    }

    /// Takes what comes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.waiting.extend_from_slice(bytes);
    }

    /// The next message that is complete.
    ///
    /// # Errors
    /// If it is too long, or none.
    pub fn message<T: DeserializeOwned>(&mut self) -> Result<Option<Numbered<T>>, NoMessage> {
        let Some((length, rest)) = self.waiting.split_first_chunk::<4>() else { return Ok(None) };
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| NoMessage)?;
        if length > self.most {
            return Err(NoMessage);
        }
        let Some(body) = rest.get(..length) else { return Ok(None) };
        let message = serde_json::from_slice(body).map_err(|_| NoMessage)?;
        self.waiting.drain(..4 + length);
        Ok(Some(message))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn messages_come_out_of_pieces_of_any_size() {
        let one = encode(&Numbered { id: 7, body: Order::Settle { shell: 1 } }).unwrap();
        let two = encode(&Numbered { id: 8, body: Order::Stands { shell: 2 } }).unwrap();
        let both = [one, two].concat();
        for size in 1..both.len() {
            let (mut frames, mut ids) = (Frames::new(MAX_ORDER), Vec::new());
            for piece in both.chunks(size) {
                frames.push(piece);
                while let Some(Numbered { id, .. }) = frames.message::<Order>().unwrap() {
                    ids.push(id);
                }
            }
            assert_eq!(ids, [7, 8], "{size}");
        }
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for bytes in [
            &b"\xff\xff\xff\xff"[..],
            b"\0\0\0\x02{}",
            b"\0\0\0\x04oops",
            b"\0\0\0\x1c{\"id\":1,\"body\":{\"Other\":{}}}",
        ] {
            let mut frames = Frames::new(1_000);
            frames.push(bytes);
            assert_eq!(frames.message::<Order>().err(), Some(NoMessage), "{bytes:?}");
        }
    }
}
