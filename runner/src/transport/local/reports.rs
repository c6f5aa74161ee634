//! The reports of a shell, line by line, as they come over their descriptor.

use tokio::net::UnixStream;

use crate::session::frame::{self, Report};

/// Longest report; more is not a report but an attack.
const MAX_REPORT: usize = 256;

/// Why no report will come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    /// The descriptor is closed: the shell has ended, or is another program now.
    Ended,
    /// Something other than a report came.
    Forged,
}

/// The descriptor, and what was read of a report that is not complete.
#[derive(Debug)]
pub(super) struct Reports {
    socket: UnixStream,
    unread: Vec<u8>,
}

impl Reports {
    pub(super) fn new(socket: UnixStream) -> Self {
        Self { socket, unread: Vec::new() }
    }

    /// The next report. Safe to drop at any time: nothing that was read is lost.
    pub(super) async fn next(&mut self) -> Result<Report, Closed> {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).take(end).collect();
                return frame::read(&line).ok_or(Closed::Forged);
            }
            if self.unread.len() > MAX_REPORT {
                return Err(Closed::Forged);
            }
            self.socket.readable().await.map_err(|_| Closed::Ended)?;
            let mut buffer = [0_u8; MAX_REPORT];
            match self.socket.try_read(&mut buffer) {
                Ok(0) => return Err(Closed::Ended),
                Ok(count) => self.unread.extend(buffer.iter().take(count)),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return Err(Closed::Ended),
            }
        }
    }
}
