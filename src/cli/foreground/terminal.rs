//! A person's terminal while a command has it: keys go to the command as they are typed.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

/// A terminal that passes on every key, until this is dropped.
#[derive(Debug)]
pub(crate) struct RawMode {
    terminal: OwnedFd,
    before: Termios,
    raw: Termios,
}

impl RawMode {
    /// Has this terminal do so.
    ///
    /// # Errors
    /// If it is none.
    pub(crate) fn enter(terminal: impl AsFd) -> io::Result<Self> {
        let terminal = terminal.as_fd().try_clone_to_owned()?;
        let before = tcgetattr(&terminal)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&terminal, OptionalActions::Now, &raw)?;
        Ok(Self { terminal, before, raw })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // Another call has it meanwhile, or the terminal is gone: nothing is to be put back.
        let is_ours = tcgetattr(&self.terminal).is_ok_and(|now| now.local_modes == self.raw.local_modes);
        if is_ours {
            let _gone = tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
        }
    }
}
