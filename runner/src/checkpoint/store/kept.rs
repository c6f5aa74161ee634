//! What lies beside the repository: what sessions made, what a restore has begun, and which files are known.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use git2::Oid;
use serde::{Deserialize, Serialize};

use super::super::CheckpointError;
use super::super::ledger::Ledger;
use super::super::tree::{Name, Stamp};
use super::Store;

/// States of files and their objects, as of the last checkpoint.
pub(in super::super) type Cache = BTreeMap<Name, (Stamp, Oid)>;

/// A restore on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    /// Where it goes.
    pub to: String,
    /// What was there before.
    pub undo: String,
}

impl Store {
    /// What a session has made of the workspace, as far as was put down.
    #[must_use]
    pub fn ledger(&self, session: &str) -> Ledger {
        let path = self.ledger_path(session);
        path.and_then(|path| fs::read(path).ok()).and_then(|bytes| Ledger::read(&bytes)).unwrap_or_default()
    }

    /// Puts it down.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn keep_ledger(&self, session: &str, ledger: &Ledger) -> Result<(), CheckpointError> {
        let Some(path) = self.ledger_path(session) else { return Ok(()) };
        self.write(&path, &ledger.to_bytes())
    }

    /// The restore that was begun and not brought to its end, if there is one.
    #[must_use]
    pub fn journal(&self) -> Option<Journal> {
        serde_json::from_slice(&fs::read(self.directory.join("restoring")).ok()?).ok()
    }

    pub(in super::super) fn begin(&self, journal: &Journal) -> Result<(), CheckpointError> {
        let bytes = serde_json::to_vec(journal).map_err(|_| CheckpointError::Damaged)?;
        self.write(&self.directory.join("restoring"), &bytes)
    }

    pub(in super::super) fn end(&self) -> Result<(), CheckpointError> {
        fs::remove_file(self.directory.join("restoring")).map_err(|error| self.failed(error))
    }

    /// None for a name that is not one of ours.
    fn ledger_path(&self, session: &str) -> Option<PathBuf> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (!session.is_empty() && session.bytes().all(plain)).then(|| self.directory.join("sessions").join(session))
    }

    /// None of it where it cannot be read: then everything is.
    pub(in super::super) fn cache(&self) -> Cache {
        let bytes = fs::read(self.directory.join("cache")).unwrap_or_default();
        let mut cache = Cache::new();
        for line in bytes.split(|byte| *byte == 0).filter(|line| !line.is_empty()) {
            let read = || {
                let (stamp, rest) = Stamp::read(line)?;
                let (object, name) = rest.split_at_checked(40)?;
                let object = Oid::from_str(std::str::from_utf8(object).ok()?).ok()?;
                Some((name.get(1..)?.to_vec(), (stamp, object)))
            };
            cache.extend(read());
        }
        cache
    }

    pub(super) fn keep(&self, cache: &Cache) -> Result<(), CheckpointError> {
        let mut bytes = Vec::new();
        for (name, (stamp, object)) in cache {
            bytes.extend_from_slice(format!("{stamp} {object} ").as_bytes());
            bytes.extend_from_slice(name);
            bytes.push(0);
        }
        self.write(&self.directory.join("cache"), &bytes)
    }

    /// All of it or nothing.
    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), CheckpointError> {
        let beside = path.with_extension("new");
        let write = || {
            let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
            file.write_all(bytes)?;
            file.sync_data()?;
            fs::rename(&beside, path)
        };
        write().map_err(|error| self.failed(error))
    }
}
