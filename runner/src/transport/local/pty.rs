//! A terminal for one command: the server's end of it, its size, and what its keys are.
//!
//! The other end is the command's standard input, output and error and controls its shell's session, so that Ctrl-C,
//! line editing and questions for a password work as they do for a person. Nobody in the session holds this end: what
//! is typed comes from here alone (the system call filters refuse TIOCSTI). What may be typed is not decided here.
#![expect(unsafe_code, reason = "a descriptor that is watched must stay open, and only its owner can know")]

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, ptsname, unlockpt};
use rustix::termios::{SpecialCodeIndex, Winsize, tcgetattr, tcsetwinsize};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::input_wait::CONTROLLING;
use crate::shell::{SessionError, TerminalSize};

/// What Ctrl-D types, where the terminal's own modes do not tell.
const END: u8 = 4;

/// The server's end of a terminal.
#[derive(Debug)]
pub(super) struct Terminal {
    master: AsyncFd<OwnedFd>,
    path: PathBuf,
    /// Device and inode of the command's end.
    identity: (u64, u64),
}

impl Terminal {
    /// Makes one of this size; also the command's end.
    pub(super) fn open(size: TerminalSize) -> Result<(Self, OwnedFd), SessionError> {
        Self::make(size).map_err(|source| SessionError::Channel { what: "a terminal", source })
    }

    fn make(size: TerminalSize) -> io::Result<(Self, OwnedFd)> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags)?;
        rustix::io::ioctl_fionbio(&master, true)?;
        unlockpt(&master)?;
        // By the descriptor and not by its name, which could be of another instance of the file system of terminals.
        let theirs = ioctl_tiocgptpeer(&master, flags)?;
        tcsetwinsize(&master, window(size))?;
        let path = PathBuf::from(ptsname(&master, Vec::new())?.into_string().map_err(io::Error::other)?);
        let file = rustix::fs::fstat(&theirs)?;
        // SAFETY: the descriptor goes into the watch, so that nobody can close it or put another in its place.
        let master = unsafe { AsyncFd::register(master) }?;
        Ok((Self { master, path, identity: (file.st_dev, file.st_ino) }, theirs))
    }

    /// Where programs find the command's end.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether an open file of a program is the command's end, by its own name or as `/dev/tty`.
    pub(super) fn is(&self, file: &std::fs::Metadata) -> bool {
        (file.dev(), file.ino()) == self.identity || file.rdev() == CONTROLLING
    }

    /// Gives it another size; programs in its foreground are told by SIGWINCH.
    pub(super) fn resize(&self, size: TerminalSize) {
        // It may have been hung up.
        let _gone = tcsetwinsize(self.master.get_ref(), window(size));
    }

    /// What is typed to end the input, behind `last`: at the beginning of a line once, within one the first only hands
    /// out what stands there (termios(3), VEOF).
    pub(super) fn end_of_input(&self, last: u8) -> Vec<u8> {
        let modes = tcgetattr(self.master.get_ref());
        let key = modes.map_or(END, |modes| modes.special_codes[SpecialCodeIndex::VEOF]);
        if last == b'\n' || last == b'\r' || last == key { vec![key] } else { vec![key, key] }
    }

    /// Waits until there may be something to read. Safe to drop, as are all that wait here.
    pub(super) async fn readable(&self) -> io::Result<()> {
        self.master.readable().await.map(drop)
    }

    /// Waits until something may be typed.
    pub(super) async fn writable(&self) -> io::Result<()> {
        self.master.writable().await.map(drop)
    }

    /// Reads what is there.
    pub(super) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.master.try_io(Interest::READABLE, |master| rustix::io::read(master, buffer).map_err(Into::into))
    }

    /// Reads what is there, whatever the runtime has heard. The kernel hands on what was written before first
    /// (`n_tty_read` flushes the buffer behind it), so that nothing is there once it would block.
    pub(super) fn read_now(&self, buffer: &mut [u8]) -> io::Result<usize> {
        rustix::io::read(self.master.get_ref(), buffer).map_err(Into::into)
    }

    /// Types as much as there is room for.
    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.master.try_io(Interest::WRITABLE, |master| rustix::io::write(master, bytes).map_err(Into::into))
    }
}

fn window(size: TerminalSize) -> Winsize {
    Winsize { ws_row: size.rows, ws_col: size.cols, ws_xpixel: 0, ws_ypixel: 0 }
}
