//! What lies beside the repository: what sessions made, what a restore has begun, and which files are known.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use git2::Oid;
use serde::{Deserialize, Serialize};

use crate::checkpoint::CheckpointError;
use crate::checkpoint::ledger::Ledger;
use crate::checkpoint::tree::{Name, Stamp};

/// States of files and their objects, as of the last checkpoint.
pub(in crate::checkpoint) type Cache = BTreeMap<Name, (Stamp, Oid)>;

/// A restore on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    /// Where it goes.
    pub to: String,
    /// What was there before.
    pub undo: String,
}

/// The file that tells of a restore on its way.
const JOURNAL: &str = "restoring";

/// The files beside the repository of a store.
#[derive(Clone, Copy, Debug)]
pub struct SideFiles<'s> {
    pub(super) directory: &'s Path,
}

impl SideFiles<'_> {
    /// What a session has made of the workspace, as far as was put down.
    ///
    /// # Errors
    /// It is there and cannot be read: another time it may be, so that it must not be written over.
    pub fn ledger(self, session: &str) -> Result<Ledger, CheckpointError> {
        let Some(path) = self.ledger_path(session) else { return Ok(Ledger::default()) };
        let Some(bytes) = read(&path)? else { return Ok(Ledger::default()) };
        // What is no ledger says nothing, and that is the safe side: what is not known to be the session's is somebody else's to a
        // restore, which deletes none of it and writes over it only by force.
        Ok(Ledger::read(&bytes).unwrap_or_else(|| {
            tracing::warn!(path = %path.display(), "what a session made cannot be told any more: all of it counts as others'");
            Ledger::default()
        }))
    }

    /// Puts it down.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn keep_ledger(self, session: &str, ledger: &Ledger) -> Result<(), CheckpointError> {
        let Some(path) = self.ledger_path(session) else { return Ok(()) };
        self.write(&path, &ledger.to_bytes())
    }

    /// The restore that was begun and not brought to its end, if there is one.
    ///
    /// # Errors
    /// There is one, and not which can be read: any checkpoint may be what it needs.
    pub fn journal(self) -> Result<Option<Journal>, CheckpointError> {
        let path = self.directory.join(JOURNAL);
        let Some(bytes) = read(&path)? else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|_| CheckpointError::Journal { path })
    }

    pub(in crate::checkpoint) fn begin(self, journal: &Journal) -> Result<(), CheckpointError> {
        let bytes = serde_json::to_vec(journal).map_err(|_| CheckpointError::Damaged)?;
        self.write(&self.directory.join(JOURNAL), &bytes)
    }

    pub(in crate::checkpoint) fn end(self) -> Result<(), CheckpointError> {
        fs::remove_file(self.directory.join(JOURNAL)).map_err(|error| self.failed(error))
    }

    /// None for a name that is not one of ours.
    fn ledger_path(self, session: &str) -> Option<PathBuf> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (!session.is_empty() && session.bytes().all(plain)).then(|| self.directory.join("sessions").join(session))
    }

    /// None of it where it cannot be read: then everything is.
    pub(in crate::checkpoint) fn cache(self) -> Cache {
        let mut cache = Cache::new();
        let Ok(file) = File::open(self.directory.join("cache")) else { return cache };
        // Line by line: of a large workspace there is one list in memory, and not its text besides.
        for line in BufReader::new(file).split(0) {
            let Ok(line) = line else { return Cache::new() };
            let read = || {
                let (stamp, rest) = Stamp::read(&line)?;
                let (object, name) = rest.split_at_checked(40)?;
                let object = Oid::from_str(std::str::from_utf8(object).ok()?).ok()?;
                Some((name.get(1..)?.to_vec(), (stamp, object)))
            };
            cache.extend(read());
        }
        cache
    }

    /// Keeps the states of files.
    pub(super) fn keep<'a>(
        self,
        known: impl Iterator<Item = (&'a Name, &'a Stamp, Oid)>,
    ) -> Result<(), CheckpointError> {
        self.write_with(&self.directory.join("cache"), |file| {
            for (name, stamp, object) in known {
                write!(file, "{stamp} {object} ")?;
                file.write_all(name)?;
                file.write_all(&[0])?;
            }
            Ok(())
        })
    }

    /// All of it or nothing.
    fn write(self, path: &Path, bytes: &[u8]) -> Result<(), CheckpointError> {
        self.write_with(path, |file| file.write_all(bytes))
    }

    fn write_with(
        self,
        path: &Path,
        content: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
    ) -> Result<(), CheckpointError> {
        let beside = path.with_extension("new");
        let write = || {
            let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
            let mut file = BufWriter::new(file);
            content(&mut file)?;
            file.into_inner()?.sync_data()?;
            fs::rename(&beside, path)
        };
        write().map_err(|error| self.failed(error))
    }

    fn failed(self, source: io::Error) -> CheckpointError {
        CheckpointError::Store { path: self.directory.to_owned(), source }
    }
}

/// A file's bytes; none only where there is no such file.
fn read(path: &Path) -> Result<Option<Vec<u8>>, CheckpointError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(CheckpointError::Store { path: path.to_owned(), source }),
    }
}
