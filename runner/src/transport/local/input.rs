//! A command's standard input, where somebody may still write to it: a named pipe for one command.

use std::collections::VecDeque;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{CWD, Mode};
use tokio::net::unix::pipe;

use crate::session::{Nonce, SessionError};

/// How often the shell is looked for at the other end: it blocks there until we have come.
const KNOCK: Duration = Duration::from_millis(1);

/// A command's input.
#[derive(Debug)]
pub(super) struct Input {
    path: PathBuf,
    shown: String,
    /// Device and inode, by which its readers are known.
    identity: (u64, u64),
    pipe: Option<pipe::Sender>,
    queue: VecDeque<u8>,
    /// Nothing will come behind the queue.
    ends: bool,
    done: bool,
}

impl Input {
    pub(super) fn make(directory: &Path) -> Result<Self, SessionError> {
        let path = directory.join(Nonce::new()?.as_str());
        let failed = |source: std::io::Error| SessionError::Channel { what: "an input channel", source };
        rustix::fs::mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).map_err(|error| failed(error.into()))?;
        let file = std::fs::symlink_metadata(&path).map_err(failed)?;
        let shown = path.to_str().ok_or_else(|| failed(std::io::ErrorKind::InvalidFilename.into()))?.to_owned();
        let identity = (file.dev(), file.ino());
        Ok(Self { path, shown, identity, pipe: None, queue: VecDeque::new(), ends: false, done: false })
    }

    /// Where the shell opens it.
    pub(super) fn path(&self) -> &str {
        &self.shown
    }

    /// Whether all that it was given has been read, or is in the pipe.
    pub(super) fn has_room(&self) -> bool {
        self.queue.is_empty()
    }

    /// What is written next.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.queue.extend(bytes);
    }

    /// Nothing more will come.
    pub(super) fn end(&mut self) {
        self.ends = true;
        self.act();
    }

    /// Whether there is anything to do.
    pub(super) fn is_active(&self) -> bool {
        !self.done && (self.pipe.is_none() || !self.queue.is_empty())
    }

    /// Waits until something can be done, and does nothing: safe to drop at any time.
    pub(super) async fn turn(&self) {
        match &self.pipe {
            Some(pipe) => drop(pipe.writable().await),
            None => tokio::time::sleep(KNOCK).await,
        }
    }

    /// Does it.
    pub(super) fn act(&mut self) {
        if self.done {
            return;
        }
        if self.pipe.is_none() {
            // Fails as long as nobody reads.
            self.pipe = pipe::OpenOptions::new().open_sender(&self.path).ok();
        }
        let Some(pipe) = &self.pipe else { return };
        let (first, _) = self.queue.as_slices();
        if !first.is_empty() {
            match pipe.try_write(first) {
                Ok(count) => drop(self.queue.drain(..count)),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                // Nobody will read it any more.
                Err(_) => self.queue.clear(),
            }
        }
        if self.ends && self.queue.is_empty() {
            self.done = true;
            self.pipe = None;
        }
    }

    /// Whether this process is blocked in reading it: its system call is a read of a descriptor that is this pipe
    /// (`/proc/PID/syscall`, proc(5)).
    pub(super) fn is_read_by(&self, pid: i32) -> bool {
        let Ok(call) = std::fs::read_to_string(format!("/proc/{pid}/syscall")) else { return false };
        let mut words = call.split_whitespace();
        let number = words.next().and_then(|word| word.parse::<i64>().ok());
        let descriptor = words.next().and_then(|word| u64::from_str_radix(word.trim_start_matches("0x"), 16).ok());
        let (Some(number), Some(descriptor)) = (number, descriptor) else { return false };
        let reads = [libc::SYS_read, libc::SYS_readv].contains(&number);
        let file = || std::fs::metadata(format!("/proc/{pid}/fd/{descriptor}")).ok();
        reads && file().is_some_and(|file| (file.dev(), file.ino()) == self.identity)
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        // The pipe goes with the session's directory in any case.
        let _left_behind = std::fs::remove_file(&self.path);
    }
}
