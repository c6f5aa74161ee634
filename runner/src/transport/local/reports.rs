//! The reports of a shell as they come over their descriptor.

use tokio::net::UnixStream;

use crate::shell::frame::Report;
use crate::shell::report_check::{Forged, ReportReader};

/// Bytes read at a time.
const BUFFER: usize = 256;

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
    reader: ReportReader,
}

impl Reports {
    pub(super) fn new(socket: UnixStream) -> Self {
        Self { socket, reader: ReportReader::default() }
    }

    /// The next report. Safe to drop at any time: nothing that was read is lost.
    pub(super) async fn next(&mut self) -> Result<Report, Closed> {
        loop {
            if let Some(report) = self.reader.report().map_err(|Forged| Closed::Forged)? {
                return Ok(report);
            }
            self.socket.readable().await.map_err(|_| Closed::Ended)?;
            let mut buffer = [0_u8; BUFFER];
            match self.socket.try_read(&mut buffer) {
                Ok(0) => return Err(Closed::Ended),
                Ok(count) => self.reader.push(buffer.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return Err(Closed::Ended),
            }
        }
    }
}
