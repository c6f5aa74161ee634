//! What a command reads on its standard input: what its caller has there.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;

use palisade_runner::Typed;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::sync::mpsc;

/// Bytes that are read at once.
const PIECE: usize = 64 * 1024;

/// Pieces that are read ahead of the command.
const AHEAD: usize = 1;

/// The device number of `/dev/null`, of which nothing can be read (`Documentation/admin-guide/devices.txt`: 1, 3).
const NULL: (u32, u32) = (1, 3);

/// An input that is being read, as long as this is held: what comes later is whoever reads it next's.
#[derive(Debug)]
pub(crate) struct InputReading {
    /// Pieces of it.
    pub(crate) pieces: mpsc::Receiver<Typed>,
    /// Closing it ends the thread that reads.
    pub(crate) held: OwnedFd,
}

/// Reads what comes from `from`, in a thread of its own; none where nothing can come, so that the command has an empty input.
///
/// # Errors
/// If no descriptor is left.
pub(crate) fn of(from: OwnedFd) -> io::Result<Option<InputReading>> {
    let file = File::from(from);
    if is_null(&file) {
        return Ok(None);
    }
    let (over, held) = pipe_with(PipeFlags::CLOEXEC)?;
    let (sender, pieces) = mpsc::channel(AHEAD);
    std::thread::spawn(move || read(file, &over, &sender));
    Ok(Some(InputReading { pieces, held }))
}

fn read(mut file: File, over: &OwnedFd, sender: &mpsc::Sender<Typed>) {
    let mut piece = vec![0; PIECE];
    loop {
        // Not in the read itself: nobody could end that, and it would take what is meant for the next reader.
        let mut polled = [PollFd::new(&file, PollFlags::IN), PollFd::new(over, PollFlags::empty())];
        match poll(&mut polled, None) {
            Err(Errno::INTR) => continue,
            Err(_) => return,
            Ok(_) => {}
        }
        let [input, over] = polled;
        if !over.revents().is_empty() {
            return;
        }
        if input.revents().is_empty() {
            continue;
        }
        let read = match file.read(&mut piece) {
            Ok(read) => read,
            Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => continue,
            // As at its end: a descriptor that cannot be read has nothing to give.
            Err(_) => 0,
        };
        let bytes = piece.get(..read).unwrap_or_default();
        let typed = if bytes.is_empty() { Typed::End } else { Typed::Bytes(bytes.to_vec()) };
        let is_over = typed == Typed::End;
        if sender.blocking_send(typed).is_err() || is_over {
            return;
        }
    }
}

fn is_null(file: &File) -> bool {
    let device = file.metadata().map(|about| about.rdev());
    device.is_ok_and(|device| (rustix::fs::major(device), rustix::fs::minor(device)) == NULL)
}
