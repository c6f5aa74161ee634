//! One output stream of one command: pipe → escapes removed → redacted → kept and shown.
//!
//! This file decides what belongs to a command's output. What its background children write later still comes through
//! the command's own pipe, and never lands in the output of a later command: a pipe is another command's only once
//! nobody but the shell can write to it (`output_pipes.rs`). A terminal belongs to a shell that runs one command, and is one
//! stream.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;

use palisade_redact::output::Stripper;
use palisade_redact::{RedactedBytes, Redactor, Stream};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode};
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::pty::Terminal;
use crate::shell::progress::Progress;
use crate::shell::{Chunk, Nonce, SessionError, StreamName};
use crate::transport::line_ends::LineEnds;

/// The most that a pipe is asked for when its command is over: fcntl(2) lets a pipe have 1 MiB.
const MAX_PIPE: usize = 1 << 20;

/// Bytes read from a stream at a time.
pub(super) const BUFFER: usize = 64 * 1024;

/// Bytes read at a time from a stream that only background children still hold; there may be many of these.
const LATE_BUFFER: usize = 4 * 1024;

/// What an interactive bash says on standard error when it is left; the agent's code did not write it.
const FAREWELL: &[u8] = b"exit\n";

/// What a stream can do next.
pub(super) enum Turn {
    /// The live listener has room, or is gone.
    Deliver(Option<mpsc::OwnedPermit<Chunk>>),
    /// There may be something to read; false: never again.
    Read(bool),
}

/// Where a stream comes from.
enum Source {
    Pipe(Arc<pipe::Receiver>),
    Terminal(Arc<Terminal>, LineEnds),
}

impl Source {
    async fn readable(&self) -> bool {
        match self {
            Self::Pipe(pipe) => pipe.readable().await.is_ok(),
            Self::Terminal(terminal, _) => terminal.readable().await.is_ok(),
        }
    }

    fn try_read(&self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Pipe(pipe) => pipe.try_read(buffer),
            Self::Terminal(terminal, _) => terminal.try_read(buffer),
        }
    }

    /// Asks the kernel itself.
    fn read_now(&self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Pipe(pipe) => rustix::io::read(&**pipe, buffer).map_err(Into::into),
            Self::Terminal(terminal, _) => terminal.read_now(buffer),
        }
    }

    /// Whether everybody who wrote to it has gone.
    fn is_left(&self) -> bool {
        let Self::Pipe(pipe) = self else { return true };
        let mut here = [PollFd::new(&**pipe, PollFlags::IN)];
        let told = poll(&mut here, Some(&Timespec::default())).is_ok();
        told && here.first().is_some_and(|pipe| pipe.revents().contains(PollFlags::HUP))
    }
}

/// One output stream.
pub(super) struct Channel {
    name: StreamName,
    path: String,
    source: Source,
    /// Somebody may still write to it. A pipe that nobody has opened yet is not at its end (fifo(7), poll(2)).
    open: bool,
    /// The shell has opened it.
    opened: bool,
    /// Something has come through it.
    written: bool,
    /// Bytes came that the redactor may still hold back.
    waiting: bool,
    stripper: Stripper,
    redact: Stream,
    progress: Arc<Progress>,
    live: Option<mpsc::Sender<Chunk>>,
    /// What the live listener has not taken yet. While there is any, nothing more is read: a listener that is slow
    /// slows the command, as a pipe would.
    mail: VecDeque<RedactedBytes>,
    /// A farewell that may turn out to be the shell's own, on standard error.
    farewell: bool,
    line_start: bool,
    /// Its pipe has been made larger.
    widened: bool,
}

impl Channel {
    pub(super) fn make(
        directory: &Path,
        name: StreamName,
        redactor: &Redactor,
        progress: &Arc<Progress>,
        live: Option<&mpsc::Sender<Chunk>>,
        colours: bool,
    ) -> Result<Self, SessionError> {
        let path = directory.join(Nonce::new()?.as_str());
        let failed = |source: std::io::Error| SessionError::Channel { what: "an output channel", source };
        rustix::fs::mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).map_err(|error| failed(error.into()))?;
        let reader = pipe::OpenOptions::new().open_receiver(&path).map_err(failed)?;
        let shown = path.to_str().ok_or_else(|| failed(std::io::ErrorKind::InvalidFilename.into()))?.to_owned();
        Ok(Self::of(name, shown, Source::Pipe(Arc::new(reader)), redactor, progress, live, colours))
    }

    /// A pipe that the shell keeps.
    pub(super) fn of_kept(
        pipe: &Arc<pipe::Receiver>,
        name: StreamName,
        redactor: &Redactor,
        progress: &Arc<Progress>,
        live: Option<&mpsc::Sender<Chunk>>,
        colours: bool,
    ) -> Self {
        let made = Self::of(name, String::new(), Source::Pipe(Arc::clone(pipe)), redactor, progress, live, colours);
        Self { opened: true, ..made }
    }

    /// What comes out of a terminal: all of it is one stream.
    pub(super) fn of_terminal(
        terminal: &Arc<Terminal>,
        redactor: &Redactor,
        progress: &Arc<Progress>,
        live: Option<&mpsc::Sender<Chunk>>,
        colours: bool,
    ) -> Self {
        let source = Source::Terminal(Arc::clone(terminal), LineEnds::default());
        Self::of(StreamName::Stdout, String::new(), source, redactor, progress, live, colours)
    }

    fn of(
        name: StreamName,
        path: String,
        source: Source,
        redactor: &Redactor,
        progress: &Arc<Progress>,
        live: Option<&mpsc::Sender<Chunk>>,
        colours: bool,
    ) -> Self {
        Self {
            name,
            path,
            source,
            open: true,
            opened: false,
            written: false,
            waiting: false,
            stripper: if colours { Stripper::with_colours() } else { Stripper::default() },
            redact: redactor.stream(),
            progress: Arc::clone(progress),
            live: live.cloned(),
            mail: VecDeque::new(),
            farewell: false,
            line_start: true,
            widened: false,
        }
    }

    /// Where the shell opens it, if that is not its terminal.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Whether there is anything to wait for.
    pub(super) fn is_active(&self) -> bool {
        self.open || !self.mail.is_empty()
    }

    /// Whether output may be held back until it is known to be no secret.
    pub(super) fn holds_back(&self) -> bool {
        self.waiting
    }

    /// Waits for what can be done next, and does nothing: safe to drop at any time.
    pub(super) async fn turn(&self) -> Turn {
        match &self.live {
            Some(live) if !self.mail.is_empty() => Turn::Deliver(live.clone().reserve_owned().await.ok()),
            _ => Turn::Read(self.source.readable().await),
        }
    }

    /// Does it. Returns whether bytes came.
    pub(super) fn act(&mut self, turn: Turn, buffer: &mut [u8]) -> bool {
        match turn {
            Turn::Deliver(Some(place)) => {
                if let Some(bytes) = self.mail.pop_front() {
                    place.send(Chunk { stream: self.name, bytes });
                }
            }
            // Nobody listens any more: the result still has it.
            Turn::Deliver(None) => {
                self.live = None;
                self.mail.clear();
            }
            Turn::Read(true) => {
                let read = self.source.try_read(buffer);
                return self.took(read, buffer);
            }
            Turn::Read(false) => self.open = false,
        }
        false
    }

    /// Whether the shell has ever opened it. Known once it is drained.
    pub(super) fn was_opened(&self) -> bool {
        self.opened
    }

    /// Whether anything has come. Known once it is drained.
    pub(super) fn was_written(&self) -> bool {
        self.written
    }

    /// Whether somebody can still write to it, as far as is known: the shell alone, or others as well.
    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    /// Takes what is left when the command is over.
    pub(super) fn drain(&mut self, buffer: &mut [u8]) {
        // Asked of the kernel itself: the runtime may not have heard yet of what was written just before the report.
        // A background child may write for ever, but what it wrote up to now is at most one pipe full. A terminal hands
        // out a few KiB at a time and holds less than a pipe.
        let mut left = match self.source {
            Source::Pipe(_) => MAX_PIPE / BUFFER,
            Source::Terminal(..) => MAX_PIPE / LATE_BUFFER,
        };
        let mut more = true;
        self.opened |= !self.open;
        while self.open && more && left > 0 {
            let read = self.source.read_now(buffer);
            // Without any writer there is nothing to wait for; where writers have gone, poll says so.
            self.opened |= !matches!(read, Ok(0)) || self.source.is_left();
            more = self.took(read, buffer);
            left -= 1;
        }
    }

    /// Takes what is there now, without waiting; whether bytes came. A stream that is always ready must not keep its turn from another.
    pub(super) fn glance(&mut self, buffer: &mut [u8]) -> bool {
        self.open && self.mail.is_empty() && self.act(Turn::Read(true), buffer)
    }

    /// Passes on what was read; whether there may be more.
    fn took(&mut self, read: std::io::Result<usize>, buffer: &[u8]) -> bool {
        match read {
            Ok(0) => self.open = false,
            Ok(count) => {
                (self.opened, self.written) = (true, true);
                self.widen(count);
                let raw = buffer.get(..count).unwrap_or_default();
                match &mut self.source {
                    Source::Pipe(_) => self.pass(raw),
                    Source::Terminal(_, ends) => {
                        let raw = ends.push(raw);
                        self.pass(&raw);
                    }
                }
                return true;
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => return true,
            Err(_) => self.open = false,
        }
        false
    }

    /// A command that fills the pipe is given a larger one, so that it and we wait less for each other.
    fn widen(&mut self, count: usize) {
        if count == BUFFER
            && !std::mem::replace(&mut self.widened, true)
            && let Source::Pipe(pipe) = &self.source
        {
            // Where the user has too many such pipes already, it stays as it is.
            let _stays = rustix::pipe::fcntl_setpipe_size(&**pipe, MAX_PIPE);
        }
    }

    fn pass(&mut self, mut raw: &[u8]) {
        if std::mem::take(&mut self.farewell) {
            self.redacted(FAREWELL);
        }
        let holds_stderr = matches!(self.name, StreamName::Stderr) || matches!(self.source, Source::Terminal(..));
        if let Some(before) = raw.strip_suffix(FAREWELL).filter(|_| holds_stderr) {
            self.farewell = before.last().map_or(self.line_start, |byte| *byte == b'\n');
            if self.farewell {
                raw = before;
            }
        }
        self.line_start = raw.last().map_or(self.line_start, |byte| *byte == b'\n');
        self.redacted(raw);
    }

    fn redacted(&mut self, raw: &[u8]) {
        let bytes = self.stripper.push(raw);
        let bytes = self.redact.push(&bytes);
        self.waiting = true;
        self.emit(bytes);
    }

    pub(super) fn flush_idle(&mut self) {
        self.waiting = false;
        let bytes = self.redact.idle();
        self.emit(bytes);
    }

    fn emit(&mut self, bytes: RedactedBytes) {
        if bytes.is_empty() {
            return;
        }
        self.progress.push(self.name, &bytes);
        if self.live.is_some() {
            self.mail.push_back(bytes);
        }
    }

    /// Hands out what is held back, and leaves the pipe to whoever still writes to it: then there is a loan.
    pub(super) async fn finish(mut self, after: After) -> Option<Loan> {
        let left = after == After::Farewell;
        if std::mem::take(&mut self.farewell) && !left {
            self.redacted(FAREWELL);
        }
        if let Source::Terminal(_, ends) = &mut self.source {
            let rest = ends.finish();
            self.redacted(rest);
        }
        let Self { name, path, source, stripper, mut redact, progress, live, mut mail, open, widened, .. } = self;
        let (rest, late) = match source {
            // Half of a secret may have come, and the other half may come later.
            Source::Pipe(reader) if open && after != After::Nobody => {
                let rest = redact.pause();
                let told = redact.counts();
                progress.count(told.clone());
                (rest, Some(Late { name, reader, stripper, redact, told, progress: Arc::clone(&progress) }))
            }
            source => {
                if let (true, Source::Pipe(pipe)) = (widened, source) {
                    let _stays = rustix::pipe::fcntl_setpipe_size(&*pipe, BUFFER);
                }
                let mut rest = redact.push(&stripper.finish());
                let (last, counts) = redact.finish_counted();
                rest.append(&last);
                progress.count(counts);
                (rest, None)
            }
        };
        progress.push(name, &rest);
        progress.flush(name);
        mail.push_back(rest);
        if let Some(live) = live {
            for bytes in mail.into_iter().filter(|bytes| !bytes.is_empty()) {
                if live.send(Chunk { stream: name, bytes }).await.is_err() {
                    break;
                }
            }
        }
        if !path.is_empty() {
            // It goes with the session's directory in any case.
            let _left_behind = std::fs::remove_file(&path);
        }
        late.map(Late::begin)
    }
}

/// Who may still write to a stream when its command is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// What the command has left running.
    Somebody,
    /// Nobody: the shell alone has it.
    Nobody,
    /// As [`Somebody`](Self::Somebody), and the shell itself has ended and said so.
    Farewell,
}

/// A stream whose command is over, and that background children still hold. It is read for as long as they do: a pipe
/// without a reader would kill them.
struct Late {
    name: StreamName,
    reader: Arc<pipe::Receiver>,
    stripper: Stripper,
    redact: Stream,
    /// The marks that the command's result has counted.
    told: BTreeMap<String, u64>,
    progress: Arc<Progress>,
}

/// A pipe that a [`Late`] reads.
#[derive(Debug)]
pub(super) struct Loan {
    recall: oneshot::Sender<()>,
    reading: JoinHandle<()>,
}

impl Loan {
    /// Ends the reading, once what is in the pipe has been read. For a pipe that nobody can write to any more but the shell.
    pub(super) async fn recall(self) {
        // It may have come to its end by itself.
        let _ended = self.recall.send(());
        let _panicked = self.reading.await;
    }
}

impl Late {
    fn begin(self) -> Loan {
        let (recall, recalled) = oneshot::channel();
        Loan { recall, reading: tokio::spawn(self.listen(recalled)) }
    }

    async fn listen(mut self, recalled: oneshot::Receiver<()>) {
        let recalled = async {
            if recalled.await.is_err() {
                // Nobody wants it back.
                std::future::pending::<()>().await;
            }
        };
        tokio::pin!(recalled);
        let mut buffer = Vec::new();
        loop {
            // A pipe that is always full would leave no turn to anybody else.
            tokio::task::coop::consume_budget().await;
            let readable = tokio::select! {
                biased;
                () = &mut recalled => break,
                readable = self.reader.readable() => readable,
            };
            buffer.resize(LATE_BUFFER, 0);
            match readable.and_then(|()| self.reader.try_read(&mut buffer)) {
                Ok(0) => break,
                Ok(count) => self.take(buffer.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    buffer = Vec::new();
                    self.progress.push(self.name, &self.redact.idle());
                }
                Err(_) => break,
            }
        }
        // What the runtime has not heard of yet.
        buffer.resize(LATE_BUFFER, 0);
        for _ in 0..MAX_PIPE / LATE_BUFFER {
            match rustix::io::read(&*self.reader, &mut buffer) {
                Ok(count) if count > 0 => self.take(buffer.get(..count).unwrap_or_default()),
                _ => break,
            }
        }
        self.end();
    }

    fn take(&mut self, raw: &[u8]) {
        let bytes = self.stripper.push(raw);
        self.progress.push(self.name, &self.redact.push(&bytes));
    }

    fn end(self) {
        let Self { name, mut redact, stripper, told, progress, .. } = self;
        let last = redact.push(&stripper.finish());
        progress.push(name, &last);
        let (rest, mut counts) = redact.finish_counted();
        for (rule, told) in told {
            counts.entry(rule).and_modify(|count| *count = count.saturating_sub(told));
        }
        counts.retain(|_, count| *count > 0);
        progress.push(name, &rest);
        progress.flush(name);
        progress.count(counts);
    }
}
