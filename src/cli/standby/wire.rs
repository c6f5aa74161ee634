//! What a caller and a stand-by process say to each other: lines of JSON behind their length, and descriptors once.
//!
//! ```text
//! caller  ▷ one byte with three descriptors, Request        process ▷ Accepted … StandbyAnswer
//!         ▷ CallerWord, any number; hanging up ends the command
//! ```

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use palisade_runner::Decision;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Bytes of a message, at most: a script of 64 KiB as numbers, and room.
const MOST: u32 = 1 << 20;

/// The version of this page. Both ends are the same program, so that another one is nobody's.
const HELLO: u8 = 1;

/// What is asked for.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// To run a command.
    Run(Command),
    /// What policy says.
    Judge(Question),
}

/// A command to run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Command {
    /// The script.
    pub(crate) script: Vec<u8>,
    /// The session that goes on from call to call, by the caller's name for it.
    pub(crate) session: Option<String>,
    /// The caller's directory.
    pub(crate) cwd: PathBuf,
    /// Lines and columns of the terminal that the first two descriptors are.
    pub(crate) terminal: Option<(u16, u16)>,
    /// The first descriptor is the command's to read.
    pub(crate) reads: bool,
    /// It runs beside its session.
    pub(crate) beside: bool,
    /// It begins where the caller stands, wherever the session has gone.
    pub(crate) rooted: bool,
}

/// What a client is about to do by itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Question {
    /// A script that does it.
    pub(crate) script: Vec<u8>,
    /// In the place of a script: a tool of another MCP server.
    pub(crate) server_tool: Option<String>,
    /// It is judged as if a session of Palisade's ran it.
    pub(crate) held: bool,
    /// The client's directory.
    pub(crate) cwd: PathBuf,
    /// What the client calls itself.
    pub(crate) client: String,
    /// Why it is asked, for the record.
    pub(crate) reason: String,
}

/// What policy says.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Verdict {
    /// The decision.
    pub(crate) decision: Decision,
    /// The reasons, for the agent.
    pub(crate) text: String,
}

/// What is said while a command runs.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum CallerWord {
    /// The terminal has another size: lines and columns.
    Resize(u16, u16),
    /// A signal has come that ends the command.
    Stop,
}

/// What comes back.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum StandbyAnswer {
    /// The request is taken: from here on the command may have run.
    Accepted,
    /// It has ended with this status; what there is to say is said.
    Ended(u8),
    /// Policy says this.
    Judged(Verdict),
    /// Palisade could not do it; the text is for standard error.
    Failed(String),
}

/// Sends the first byte, and the descriptors with it.
///
/// # Errors
/// If nobody listens any more.
pub(crate) fn hand_over(to: &UnixStream, streams: [BorrowedFd<'_>; 3]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&streams)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let sent = sendmsg(to, &[IoSlice::new(&[HELLO])], &mut control, SendFlags::NOSIGNAL)?;
    if sent == 1 { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// Takes them.
///
/// # Errors
/// If the other end sends something else, or has hung up.
pub(crate) fn take_over(from: &UnixStream) -> io::Result<[OwnedFd; 3]> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut hello = [0];
    let read = recvmsg(from, &mut [IoSliceMut::new(&mut hello)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let streams = control.drain().flat_map(|message| match message {
        RecvAncillaryMessage::ScmRights(streams) => streams.collect::<Vec<_>>(),
        _ => Vec::new(),
    });
    let streams: Vec<OwnedFd> = streams.collect();
    if read.bytes != 1 || hello != [HELLO] {
        return Err(io::ErrorKind::InvalidData.into());
    }
    streams.try_into().map_err(|_| io::ErrorKind::InvalidData.into())
}

/// Sends a message.
///
/// # Errors
/// If it cannot be sent, or is too long.
pub(crate) fn send(to: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    to.write_all(&framed(message)?)
}

/// A message behind its length.
///
/// # Errors
/// If it is too long.
pub(crate) fn framed(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let text = serde_json::to_vec(message)?;
    let length = u32::try_from(text.len()).ok().filter(|length| *length <= MOST).ok_or(io::ErrorKind::FileTooLarge)?;
    Ok([length.to_be_bytes().as_slice(), &text].concat())
}

/// Receives one.
///
/// # Errors
/// If it cannot be read, is too long, or is no such message.
pub(crate) fn receive<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<T> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let mut text = vec![0; room(length)?];
    from.read_exact(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

/// Bytes of a message with this in front of it.
///
/// # Errors
/// If that is too long.
pub(crate) fn room(length: [u8; 4]) -> io::Result<usize> {
    let length = u32::from_be_bytes(length);
    if length > MOST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    usize::try_from(length).map_err(|_| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn a_request_and_its_descriptors_arrive_together() {
        let (mut caller, mut process) = UnixStream::pair().unwrap();
        let null = std::fs::File::open("/dev/null").unwrap();
        hand_over(&caller, [null.as_fd(); 3]).unwrap();
        let script = b"echo \xff".to_vec();
        let (session, cwd, terminal) = (None, "/w".into(), Some((24, 80)));
        let request = Command { script, session, cwd, terminal, reads: true, beside: false, rooted: false };
        send(&mut caller, &request).unwrap();
        assert_eq!(take_over(&process).unwrap().len(), 3);
        let taken: Command = receive(&mut process).unwrap();
        assert_eq!((taken.script, taken.terminal), (request.script, request.terminal));
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for bytes in [&b"\xff\xff\xff\xff{}"[..], b"\0\0\0\x02{]", b"\0\0\0\x09{}", b"\0\0"] {
            assert!(receive::<StandbyAnswer>(&mut &*bytes).is_err(), "{bytes:?}");
        }
        let (caller, process) = UnixStream::pair().unwrap();
        (&caller).write_all(b"x").unwrap();
        assert!(take_over(&process).is_err());
    }
}
