//! What a command reads on its standard input: what its caller has there.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;

use palisade_runner::Typed;
use tokio::sync::mpsc;

/// Bytes that are read at once.
const PIECE: usize = 64 * 1024;

/// Pieces that are read ahead of the command.
const AHEAD: usize = 1;

/// The device number of `/dev/null`, of which nothing can be read (`Documentation/admin-guide/devices.txt`: 1, 3).
const NULL: (u32, u32) = (1, 3);

/// Passes on what comes from `from`, in a thread of its own; none where nothing can come, so that the command has an empty input. The
/// thread ends with the input, or with the first piece that nobody takes any more.
pub(crate) fn of(from: OwnedFd) -> Option<mpsc::Receiver<Typed>> {
    let mut file = File::from(from);
    if is_null(&file) {
        return None;
    }
    let (sender, receiver) = mpsc::channel(AHEAD);
    std::thread::spawn(move || {
        let mut piece = vec![0; PIECE];
        loop {
            let read = match file.read(&mut piece) {
                Ok(read) => read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                // As at its end: a descriptor that is closed, or that cannot be read, has nothing to give.
                Err(_) => 0,
            };
            let bytes = piece.get(..read).unwrap_or_default();
            let typed = if bytes.is_empty() { Typed::End } else { Typed::Bytes(bytes.to_vec()) };
            let is_over = typed == Typed::End;
            if sender.blocking_send(typed).is_err() || is_over {
                return;
            }
        }
    });
    Some(receiver)
}

fn is_null(file: &File) -> bool {
    let device = file.metadata().map(|about| about.rdev());
    device.is_ok_and(|device| (rustix::fs::major(device), rustix::fs::minor(device)) == NULL)
}
