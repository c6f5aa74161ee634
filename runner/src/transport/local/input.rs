//! A command's standard input, where somebody may still write to it: a named pipe for one command, or its terminal.

use std::collections::VecDeque;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{CWD, Mode};
use tokio::net::unix::pipe;

use super::input_wait::waits_for;
use super::pty::Terminal;
use crate::shell::{Nonce, SessionError};

/// How often the shell is looked for at the other end: it blocks there until we have come.
const KNOCK: Duration = Duration::from_millis(1);

/// A command's input.
#[derive(Debug)]
pub(super) struct Input {
    way: InputChannel,
    queue: VecDeque<u8>,
}

/// The channel that it goes through.
#[derive(Debug)]
enum InputChannel {
    Pipe(Pipe),
    Terminal(Keys),
}

#[derive(Debug)]
struct Pipe {
    path: PathBuf,
    shown: String,
    /// Device and inode, by which its readers are known.
    identity: (u64, u64),
    pipe: Option<pipe::Sender>,
    /// Nothing will come behind the queue.
    ends: bool,
    done: bool,
}

#[derive(Debug)]
struct Keys {
    terminal: Arc<Terminal>,
    /// What was typed last; a line end where nothing was.
    last: u8,
}

impl Input {
    /// A pipe of its own.
    pub(super) fn make(directory: &Path) -> Result<Self, SessionError> {
        let path = directory.join(Nonce::new()?.as_str());
        let failed = |source: std::io::Error| SessionError::Channel { what: "an input channel", source };
        rustix::fs::mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).map_err(|error| failed(error.into()))?;
        let file = std::fs::symlink_metadata(&path).map_err(failed)?;
        let shown = path.to_str().ok_or_else(|| failed(std::io::ErrorKind::InvalidFilename.into()))?.to_owned();
        let identity = (file.dev(), file.ino());
        let pipe = Pipe { path, shown, identity, pipe: None, ends: false, done: false };
        Ok(Self { way: InputChannel::Pipe(pipe), queue: VecDeque::new() })
    }

    /// The keys of a terminal.
    pub(super) fn of_terminal(terminal: &Arc<Terminal>) -> Self {
        let keys = Keys { terminal: Arc::clone(terminal), last: b'\n' };
        Self { way: InputChannel::Terminal(keys), queue: VecDeque::new() }
    }

    /// Where the shell opens it, if that is not its terminal.
    pub(super) fn path(&self) -> Option<&str> {
        match &self.way {
            InputChannel::Pipe(pipe) => Some(&pipe.shown),
            InputChannel::Terminal(_) => None,
        }
    }

    /// Whether all that it was given has been read, or is on its way to be.
    pub(super) fn has_room(&self) -> bool {
        self.queue.is_empty()
    }

    /// What is written next.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if let (InputChannel::Terminal(keys), Some(last)) = (&mut self.way, bytes.last()) {
            keys.last = *last;
        }
        self.queue.extend(bytes);
    }

    /// Ends it: nothing more will come. At a terminal that is a key, and more may be typed behind it.
    pub(super) fn end(&mut self) {
        match &mut self.way {
            InputChannel::Pipe(pipe) => pipe.ends = true,
            InputChannel::Terminal(keys) => {
                self.queue.extend(keys.terminal.end_of_input(keys.last));
                keys.last = b'\n';
            }
        }
        self.act();
    }

    /// Whether there is anything to do.
    pub(super) fn is_active(&self) -> bool {
        match &self.way {
            InputChannel::Pipe(pipe) => !pipe.done && (pipe.pipe.is_none() || !self.queue.is_empty()),
            InputChannel::Terminal(_) => !self.queue.is_empty(),
        }
    }

    /// Waits until something can be done, and does nothing: safe to drop at any time.
    pub(super) async fn turn(&self) {
        match &self.way {
            InputChannel::Pipe(Pipe { pipe: Some(pipe), .. }) => drop(pipe.writable().await),
            InputChannel::Pipe(_) => tokio::time::sleep(KNOCK).await,
            InputChannel::Terminal(keys) => drop(keys.terminal.writable().await),
        }
    }

    /// Does it.
    pub(super) fn act(&mut self) {
        let (first, _) = self.queue.as_slices();
        let written = match &mut self.way {
            InputChannel::Pipe(pipe) => pipe.write(first),
            InputChannel::Terminal(_) if first.is_empty() => return,
            InputChannel::Terminal(keys) => Some(keys.terminal.try_write(first)),
        };
        match written {
            Some(Ok(count)) => drop(self.queue.drain(..count)),
            Some(Err(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            // Nobody will read it any more.
            Some(Err(_)) => self.queue.clear(),
            None => {}
        }
        if let InputChannel::Pipe(pipe) = &mut self.way
            && pipe.ends
            && pipe.pipe.is_some()
            && self.queue.is_empty()
        {
            pipe.done = true;
            pipe.pipe = None;
        }
    }

    /// Whether this process waits for it.
    pub(super) fn is_awaited_by(&self, pid: i32) -> bool {
        match &self.way {
            InputChannel::Pipe(pipe) => waits_for(pid, |file| (file.dev(), file.ino()) == pipe.identity),
            InputChannel::Terminal(keys) => waits_for(pid, |file| keys.terminal.is(file)),
        }
    }
}

impl Pipe {
    /// Writes what there is room for; none as long as nobody reads, or once it has been ended.
    fn write(&mut self, bytes: &[u8]) -> Option<std::io::Result<usize>> {
        if self.done {
            return None;
        }
        if self.pipe.is_none() {
            // Fails as long as nobody reads.
            self.pipe = pipe::OpenOptions::new().open_sender(&self.path).ok();
        }
        let pipe = self.pipe.as_ref()?;
        if bytes.is_empty() { None } else { Some(pipe.try_write(bytes)) }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        // It goes with the session's directory in any case.
        let _left_behind = std::fs::remove_file(&self.path);
    }
}
