//! Hands the streams of a program that the server has started over to the guard, for a shell, and ends as that does.
//!
//! It decides nothing. What it says to the guard is a word that it is told on its own standard input, which is the server's, and which
//! is good for one shell.

use std::io::{self, IoSlice, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use palisade_sandbox::{Ending, block_signals, leave_terminal};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::{Signal, getpid, kill_process};
use rustix::stdio::{stderr, stdin, stdout};

use super::{TOKEN, guard_directory};

/// Bytes that are passed on at once.
const PIECE: usize = 64 << 10;

/// Does it, and comes back only where it cannot. `told` says that the server goes on to tell the shell things: none of the shell's commands
/// has its input then, and none can read along.
///
/// # Errors
/// If the server says nothing, or the guard is not there.
pub fn attach(directory: &Path, told: bool) -> io::Result<()> {
    let token = read_token()?;
    let guard = guard_directory::connect(directory)?;
    let ours = if rustix::termios::isatty(stdin()) {
        // It is to control the shell's session; the hang-up that this costs is not for this process.
        let number = |error: i32| io::Error::from_raw_os_error(error);
        block_signals(true).map_err(number)?;
        leave_terminal(stdin().as_raw_fd()).map_err(number)?;
        send(&guard, &token, [stdin(), stdout(), stderr()])?;
        None
    } else if !told {
        send(&guard, &token, [stdin(), stdout(), stderr()])?;
        None
    } else {
        // A socket cannot be opened again through `/proc`, as a pipe can: what the shell is told only the shell reads.
        let (ours, theirs) = UnixStream::pair()?;
        send(&guard, &token, [theirs.as_fd(), stdout(), stderr()])?;
        Some(ours)
    };
    // Who reads them has to see their end when the shell's have come to theirs.
    let null: OwnedFd = std::fs::File::options().read(true).write(true).open("/dev/null")?.into();
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    match ours {
        Some(ours) => _ = std::thread::spawn(move || pass_on(&ours)),
        None => rustix::stdio::dup2_stdin(&null)?,
    }
    end_as(ended(guard)?)
}

/// Byte by byte of what is there: what comes behind it is the shell's.
fn read_token() -> io::Result<[u8; TOKEN]> {
    let mut line = [0; TOKEN + 1];
    let mut read = 0;
    while let Some(room) = line.get_mut(read..).filter(|room| !room.is_empty()) {
        match rustix::io::read(stdin(), room)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => read += count,
        }
    }
    let [token @ .., b'\n'] = line else { return Err(io::ErrorKind::InvalidData.into()) };
    Ok(token)
}

fn send(guard: &UnixStream, token: &[u8], streams: [BorrowedFd<'_>; 3]) -> io::Result<()> {
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&streams)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let sent = sendmsg(guard, &[IoSlice::new(token)], &mut control, SendFlags::NOSIGNAL)?;
    if sent == token.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// What the server types, to the shell; its end, too.
fn pass_on(shell: &UnixStream) {
    let mut buffer = vec![0; PIECE];
    loop {
        let read = match rustix::io::read(stdin(), &mut buffer) {
            Ok(read) => read,
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => 0,
        };
        let piece = buffer.get(..read).unwrap_or_default();
        if piece.is_empty() || io::Write::write_all(&mut &*shell, piece).is_err() {
            let _gone = shell.shutdown(std::net::Shutdown::Write);
            return;
        }
    }
}

/// How the shell ended, which the guard says.
fn ended(mut guard: UnixStream) -> io::Result<Ending> {
    let mut told = [0; 5];
    guard.read_exact(&mut told)?;
    let [kind, number @ ..] = told;
    let number = i32::from_be_bytes(number);
    Ok(if kind == 0 { Ending::Exited(number) } else { Ending::Signalled(number) })
}

/// The same five bytes.
pub(super) fn told(ending: Ending) -> [u8; 5] {
    let (kind, number) = match ending {
        Ending::Exited(status) => (0, status),
        Ending::Signalled(signal) => (1, signal),
    };
    let [a, b, c, d] = number.to_be_bytes();
    [kind, a, b, c, d]
}

/// So that the host tells the server of it as of any program.
fn end_as(ending: Ending) -> ! {
    match ending {
        Ending::Exited(status) => std::process::exit(status),
        Ending::Signalled(signal) => {
            let _all = block_signals(false);
            if let Some(signal) = Signal::from_named_raw(signal) {
                let _killed = kill_process(getpid(), signal);
            }
            std::process::exit(128 + signal)
        }
    }
}
