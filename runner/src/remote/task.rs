//! A program of ours at the other end that runs to its end, beside a session and over its connection: what it is told, what it reads, and
//! what it tells, one record after the other.
//!
//! It is a `sh` with no variable of anybody's, in which nothing of the agent's runs. It runs as the same user all the same, so that what
//! it tells is taken for what somebody there may have made up: there is a limit to a record, to all of them and to how long there is none.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::time::Duration;

use tokio::time::Instant;

use super::{Base, Purpose};
use crate::shell::{Nonce, Typed, posix};
use crate::target::TargetError;
use crate::transport::wire::{Ending, Piece, Wire};

/// How long it may say nothing: it may have a large file to read.
const SILENCE: Duration = Duration::from_secs(120);

/// How often it is asked whether somebody still waits.
const TICK: Duration = Duration::from_millis(100);

/// Bytes of one record: a path, what it leads to, and numbers.
const MAX_RECORD: usize = 16 << 10;

/// Bytes of what it complains about that are shown.
const MAX_COMPLAINT: usize = 300;

/// Bytes that are sent at once.
const PIECE: usize = 32 << 10;

/// What ends a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Records {
    /// A NUL, which no path has.
    Nul,
    /// A line end.
    Lines,
}

/// What is to be run.
#[derive(Debug)]
pub(crate) struct Task<'a> {
    /// Functions, for any `sh`.
    pub(crate) words: &'a str,
    /// What is called of them: it tells its records and comes to an end.
    pub(crate) call: &'a str,
    /// What it reads from its standard input.
    pub(crate) input: Vec<u8>,
    /// How its records end.
    pub(crate) records: Records,
    /// Bytes that it may tell.
    pub(crate) most: usize,
}

/// What its program has said until now.
struct TaskOutput {
    nonce: Vec<u8>,
    end: u8,
    most: usize,
    bytes: usize,
    record: Vec<u8>,
    begun: bool,
    complaint: Vec<u8>,
}

enum Event {
    Room(bool),
    Piece(Option<Piece>),
    Tick,
}

impl Base {
    /// Runs a program of ours beside the session. `each` takes its records, and says whether more are wanted; so does `goes_on`.
    ///
    /// # Errors
    /// If it cannot be started, says nothing for too long, tells too much, or ends before it has told all.
    pub(crate) async fn perform(
        &self,
        task: Task<'_>,
        goes_on: impl Fn() -> bool,
        mut each: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(), TargetError> {
        let nonce = Nonce::new().map_err(|_| TargetError::Broken { what: "there are no random bytes".to_owned() })?;
        let mut told = TaskOutput::new(nonce.as_str(), &task);
        let mut wire = self.open(Purpose::Task).await?;
        let mut waiting = told.script(&task);
        let mut tick = tokio::time::interval(TICK);
        let mut heard = Instant::now();
        loop {
            match next(&mut wire, !waiting.is_empty(), &mut tick).await {
                Event::Room(true) => {
                    // There is room: nobody else types.
                    let _sent = waiting.pop_front().is_none_or(|typed| wire.pass(typed));
                    heard = Instant::now();
                }
                // It takes no more; what it has to say of that comes.
                Event::Room(false) => waiting.clear(),
                Event::Tick if !goes_on() => return Ok(()),
                Event::Tick if heard.elapsed() > SILENCE => return Err(TargetError::Silent),
                Event::Tick => {}
                Event::Piece(Some(Piece::Out(bytes))) => {
                    heard = Instant::now();
                    if told.take(&bytes, &mut each)?.is_break() {
                        return Ok(());
                    }
                }
                Event::Piece(Some(Piece::Err(bytes))) => told.complains(&bytes),
                Event::Piece(Some(Piece::Ended(Some(ending)))) => return Err(told.cut(ending)),
                Event::Piece(Some(Piece::Ended(None)) | None) => return Err(TargetError::Closed),
            }
        }
    }
}

async fn next(wire: &mut Wire, has_more: bool, tick: &mut tokio::time::Interval) -> Event {
    let (output, room) = wire.halves();
    tokio::select! {
        room = room.room(), if has_more => Event::Room(room),
        piece = output.next() => Event::Piece(piece),
        _ = tick.tick() => Event::Tick,
    }
}

impl TaskOutput {
    fn new(nonce: &str, task: &Task<'_>) -> Self {
        let end = match task.records {
            Records::Nul => 0,
            Records::Lines => b'\n',
        };
        let (nonce, most) = (nonce.as_bytes().to_vec(), task.most);
        Self { nonce, end, most, bytes: 0, record: Vec::new(), begun: false, complaint: Vec::new() }
    }

    /// The two lines that such a shell reads, and then what the program does.
    fn script(&self, task: &Task<'_>) -> VecDeque<Typed> {
        let nonce = String::from_utf8_lossy(&self.nonce);
        let end = if self.end == 0 { "\\0" } else { "\\n" };
        // What a login says of itself stands before it.
        let begin = format!("unset palisade_text; palisade_nonce={nonce}; palisade_end='{end}'; {}", task.words);
        let call = format!("printf '{end}%s{end}' {nonce}; {}; printf '%s{end}' {nonce}", task.call);
        let mut text = [begin.as_bytes(), call.as_bytes()].map(posix::escaped).join("\n").into_bytes();
        text.push(b'\n');
        let pieces = text.chunks(PIECE).chain(task.input.chunks(PIECE));
        pieces.map(|piece| Typed::Bytes(piece.to_vec())).chain([Typed::End]).collect()
    }

    /// Whether it has told all that was wanted.
    fn take(
        &mut self,
        bytes: &[u8],
        each: &mut impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, TargetError> {
        self.bytes += bytes.len();
        if self.bytes > self.most {
            return Err(broken("it is too much"));
        }
        for part in bytes.split_inclusive(|byte| *byte == self.end) {
            self.record.extend_from_slice(part);
            if self.record.len() > MAX_RECORD {
                if self.begun {
                    return Err(broken("a record is too long"));
                }
                self.record.clear();
            }
            if part.last() != Some(&self.end) {
                continue;
            }
            let mut record = std::mem::take(&mut self.record);
            record.pop();
            let is_ours = record == self.nonce;
            if is_ours && self.begun {
                return Ok(ControlFlow::Break(()));
            }
            if self.begun && each(&record).is_break() {
                return Ok(ControlFlow::Break(()));
            }
            self.begun |= is_ours;
        }
        Ok(ControlFlow::Continue(()))
    }

    fn complains(&mut self, bytes: &[u8]) {
        let room = MAX_COMPLAINT.saturating_sub(self.complaint.len());
        self.complaint.extend(bytes.iter().take(room));
    }

    /// Why it has ended before its end.
    fn cut(&self, ending: Ending) -> TargetError {
        if !self.begun && matches!(ending, Ending::Exited(126 | 127)) {
            return broken("it has no `env`, or no `sh`");
        }
        let said: String = String::from_utf8_lossy(&self.complaint)
            .chars()
            .map(|letter| if letter.is_control() { ' ' } else { letter })
            .collect();
        let said = said.trim();
        broken(if said.is_empty() { "it is cut short" } else { said })
    }
}

pub(crate) fn broken(what: &str) -> TargetError {
    TargetError::Broken { what: what.to_owned() }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const TASK: Task<'_> = Task { words: "", call: "", input: Vec::new(), records: Records::Nul, most: 100_000 };

    fn heard(pieces: &[&[u8]], most: usize) -> Result<(Vec<String>, bool), TargetError> {
        let mut told = TaskOutput::new("N", &Task { most, ..TASK });
        let mut records = Vec::new();
        for piece in pieces {
            let mut each = |record: &[u8]| {
                records.push(String::from_utf8_lossy(record).into_owned());
                ControlFlow::Continue(())
            };
            if told.take(piece, &mut each)?.is_break() {
                return Ok((records, true));
            }
        }
        Ok((records, false))
    }

    #[test]
    fn records_stand_between_the_two_marks_alone() {
        for (pieces, expected, whole) in [
            (&[&b"welcome\n\0N\0a\0b\0N\0late\0"[..]][..], &["a", "b"][..], true),
            (&[b"\0N", b"\0a", b"b\0", b"N\0"], &["ab"], true),
            (&[b"\0N\0N\0"], &[], true),
            (&[b"\0N\0a\0b"], &["a"], false),
            (&[b"a\0b\0N"], &[], false),
        ] {
            let (records, ended) = heard(pieces, 1_000).unwrap();
            assert_eq!((records.iter().map(String::as_str).collect::<Vec<_>>(), ended), (expected.to_vec(), whole));
        }
    }

    #[test]
    fn what_has_no_end_is_given_up() {
        let long = vec![b'x'; MAX_RECORD + 1];
        // A greeting may be long.
        assert!(heard(&[&long, b"\0N\0a\0N\0"], 100_000).unwrap().1);
        assert!(matches!(heard(&[b"\0N\0", &long], 100_000), Err(TargetError::Broken { .. })));
        let many = [&b"\0N\0"[..]].into_iter().chain(std::iter::repeat_n(&b"abcdefg\0"[..], 200)).collect::<Vec<_>>();
        assert!(matches!(heard(&many, 1_000), Err(TargetError::Broken { .. })));
    }
}
