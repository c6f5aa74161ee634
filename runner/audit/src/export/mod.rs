//! Copies of the record for others: sent to a collector as it grows, or written to a file.
//!
//! What is sent is read from disk behind the writer, by a thread of its own, so that a collector that is slow or gone costs
//! nothing but lag. Where an exporter has come to is durable, and moves only behind what was taken: each record is sent at
//! least once. What the retention of the record took before it was sent is counted and said in the log. Decides nothing about
//! the record itself.

mod asciicast;
mod ocsf;
mod otlp;
mod syslog;
mod tls;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};

pub use asciicast::Recording;
pub use ocsf::event as ocsf_event;
pub use otlp::{Endpoint, Otlp, request as otlp_request};
pub use syslog::{Syslog, SyslogBody, SyslogTarget, message as syslog_message};
pub use tls::{Files as TlsFiles, TlsError};

use crate::{Batch, Cursor, Most, RecordLine};

/// How much is sent at once.
const MOST: Most = Most { records: 256, bytes: 1 << 20 };

/// How long to wait after looking for something new in vain.
const LOOK: Duration = Duration::from_millis(500);

/// How long to wait after a failure: twice as long each time, up to the second.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(60));

/// How long another process that exports the same is waited for before looking again.
const HELD: Duration = Duration::from_secs(5);

/// How long the end of the server waits for what is still to be sent.
const LAST: Duration = Duration::from_secs(3);

/// Batches after which a collector that confirms nothing is taken to have read what was sent before.
const IN_DOUBT: usize = 4;

/// Where copies go.
#[derive(Clone, Debug, Default)]
pub struct ExportSettings {
    /// To an OpenTelemetry collector.
    pub otlp: Option<Otlp>,
    /// To a syslog server.
    pub syslog: Option<Syslog>,
}

/// Exporters at work. They end with it.
#[derive(Debug, Default)]
pub struct Exporters(Vec<Running>);

#[derive(Debug)]
struct Running {
    stop: Sender<()>,
    /// Gone when the thread is.
    ended: Receiver<()>,
}

/// Why nothing was taken; the cause is the text.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct ExportError(String);

impl ExportError {
    fn of(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

enum Collector {
    Otlp(otlp::OtlpClient),
    Syslog(syslog::SyslogClient),
}

impl Collector {
    fn name(&self) -> &'static str {
        match self {
            Self::Otlp(_) => "otlp",
            Self::Syslog(_) => "syslog",
        }
    }

    fn send(&mut self, records: &[RecordLine]) -> Result<(), ExportError> {
        match self {
            Self::Otlp(client) => client.send(records),
            Self::Syslog(client) => client.send(records),
        }
    }

    /// How many batches may be lost that were sent, because nobody says that they arrived.
    fn in_doubt(&self) -> usize {
        match self {
            Self::Syslog(client) if client.is_stream() => IN_DOUBT,
            Self::Otlp(_) | Self::Syslog(_) => 0,
        }
    }

    /// Whether the other end is still there, as far as that shows without sending anything.
    fn is_up(&mut self) -> bool {
        match self {
            Self::Syslog(client) => client.is_up(),
            Self::Otlp(_) => true,
        }
    }
}

impl Exporters {
    /// Begins to export the record of a directory.
    ///
    /// # Errors
    /// If no thread can be had.
    pub fn start(record: &Path, settings: &ExportSettings) -> io::Result<Self> {
        let otlp = settings.otlp.iter().map(|to| Collector::Otlp(otlp::OtlpClient::new(to)));
        let syslog = settings.syslog.iter().map(|to| Collector::Syslog(syslog::SyslogClient::new(to)));
        let mut running = Self::default();
        for collector in otlp.chain(syslog) {
            let (stop, stopped) = mpsc::channel();
            let (alive, ended) = mpsc::channel();
            let name = collector.name();
            let exporter = Exporter {
                collector,
                record: record.to_owned(),
                file: record.join(format!("export-{name}.cursor")),
                stopped,
                _alive: alive,
            };
            std::thread::Builder::new().name(format!("palisade-{name}")).spawn(move || exporter.run())?;
            running.0.push(Running { stop, ended });
        }
        Ok(running)
    }

    /// Sends what there still is and ends; what takes too long is sent by the next server.
    pub fn finish(self) {
        let until = Instant::now() + LAST;
        for running in &self.0 {
            // A thread that has ended hears nothing.
            let _ = running.stop.send(());
        }
        for running in self.0 {
            let left = until.saturating_duration_since(Instant::now());
            // It says nothing; it hangs up.
            let _ = running.ended.recv_timeout(left);
        }
    }
}

struct Exporter {
    collector: Collector,
    record: PathBuf,
    /// The durable cursor, which is also what one process at a time holds.
    file: PathBuf,
    stopped: Receiver<()>,
    _alive: Sender<()>,
}

/// Whether an exporter goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    On,
    Stop,
}

impl Exporter {
    fn run(mut self) {
        let name = self.collector.name();
        let Some(_lock) = self.lock() else { return };
        let mut confirmed = self.load();
        // What was sent, behind what is known to have arrived.
        let (mut sent, mut doubt) = (confirmed.clone(), VecDeque::<Batch>::new());
        let (mut wait, mut is_down) = (RETRY.0, false);
        let mut until: Option<Instant> = None;
        loop {
            let pause = match self.step(&mut sent, &mut doubt, &mut confirmed) {
                Ok(true) => {
                    if std::mem::take(&mut is_down) {
                        tracing::info!("the {name} collector takes records again");
                    }
                    wait = RETRY.0;
                    Duration::ZERO
                }
                Ok(false) if until.is_some() => return,
                Ok(false) => LOOK,
                Err(error) => {
                    if !std::mem::replace(&mut is_down, true) {
                        tracing::warn!(
                            "the {name} collector does not take records, which wait on disk meanwhile: {error}"
                        );
                    }
                    (sent, doubt) = (confirmed.clone(), VecDeque::new());
                    let next = (wait * 2).min(RETRY.1);
                    std::mem::replace(&mut wait, next)
                }
            };
            if until.is_some_and(|until| Instant::now() + pause >= until) {
                return;
            }
            if until.is_none() && self.pause(pause) == Next::Stop {
                until = Some(Instant::now() + LAST);
            } else if until.is_some() {
                std::thread::sleep(pause);
            }
        }
    }

    /// Sends some of what is new; whether there was any.
    fn step(
        &mut self,
        sent: &mut Cursor,
        doubt: &mut VecDeque<Batch>,
        confirmed: &mut Cursor,
    ) -> Result<bool, ExportError> {
        let batch = sent.read(&self.record, MOST).map_err(ExportError::of)?;
        if !self.collector.is_up() {
            return Err(ExportError("the connection is closed".to_owned()));
        }
        if !batch.records.is_empty() {
            self.collector.send(&batch.records)?;
        }
        if batch.missed > 0 {
            let (name, missed) = (self.collector.name(), batch.missed);
            tracing::error!(missed, "records were removed before the {name} collector had them");
        }
        let moves = batch.moves();
        if moves {
            sent.pass(&batch);
            doubt.push_back(batch);
        }
        // Once all is sent and the other end is still there, nothing but its own fault can lose it.
        let most = if moves { self.collector.in_doubt() } else { 0 };
        let mut moved = false;
        while doubt.len() > most {
            let Some(batch) = doubt.pop_front() else { break };
            confirmed.pass(&batch);
            moved = true;
        }
        if moved {
            self.save(confirmed).map_err(|error| ExportError(format!("`{}`: {error}", self.file.display())))?;
        }
        Ok(moves)
    }

    fn pause(&self, time: Duration) -> Next {
        match self.stopped.recv_timeout(time) {
            Err(RecvTimeoutError::Timeout) => Next::On,
            Ok(()) | Err(RecvTimeoutError::Disconnected) => Next::Stop,
        }
    }

    /// One process at a time exports a directory to a collector. `None`: it is time to end.
    fn lock(&self) -> Option<File> {
        let path = self.file.with_extension("lock");
        loop {
            let open = File::options().create(true).append(true).mode(0o600).open(&path);
            match open.and_then(|file| Ok(flock(&file, FlockOperation::NonBlockingLockExclusive).map(|()| file)?)) {
                Ok(file) => return Some(file),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => tracing::error!("nothing is exported: `{}`: {error}", path.display()),
            }
            if self.pause(HELD) == Next::Stop {
                return None;
            }
        }
    }

    fn load(&self) -> Cursor {
        let text = match std::fs::read(&self.file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Cursor::default(),
            Err(error) => {
                tracing::error!("`{}`: {error}; all of the record is exported again", self.file.display());
                return Cursor::default();
            }
        };
        serde_json::from_slice(&text).unwrap_or_else(|_| {
            tracing::error!("`{}` is no cursor; all of the record is exported again", self.file.display());
            Cursor::default()
        })
    }

    /// All of it or none, whenever the machine stops.
    fn save(&self, cursor: &Cursor) -> io::Result<()> {
        let new = self.file.with_extension("new");
        let mut file = File::options().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
        file.write_all(&serde_json::to_vec(cursor)?)?;
        file.sync_data()?;
        std::fs::rename(&new, &self.file)
    }
}

/// A text of a record, wherever it stands.
fn text<'r>(record: &'r serde_json::Value, pointer: &str) -> &'r str {
    record.pointer(pointer).and_then(serde_json::Value::as_str).unwrap_or_default()
}

/// When a record was written.
fn written(record: &serde_json::Value) -> Option<Timestamp> {
    text(record, "/ts").parse().ok()
}
