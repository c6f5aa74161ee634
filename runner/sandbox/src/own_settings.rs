//! Settings of a repository that sessions alone see.
//!
//! git runs what some settings name, or takes another repository for the one that a person means. What git sets of that kind in a session
//! does not go into the repository's file, where a person's git would find it: it is kept beside the record. Sessions see a file that has
//! both in the place of `.git/config`. So a session works with its own remotes and hooks, and whoever works outside with theirs.
//!
//! A setting is kept with the values that the repository had when it was set. It counts as long as the repository has those: what a
//! person sets later is theirs.
//!
//! Decided here: what is kept, and what sessions see. Not decided here: which settings may be kept (`repositories`), and how a file is put in
//! the place of another (`enforce`).

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The values of a setting. One without `=` has none.
pub type Values = Vec<Option<String>>;

/// The values of each setting, by its name.
pub type SettingValues = BTreeMap<String, Values>;

/// Settings that are kept of one repository.
const MAX_KEPT: usize = 1_000;

/// What sessions have set for themselves in one repository.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OwnSettings(BTreeMap<String, SettingOverride>);

/// One setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SettingOverride {
    /// What the repository had.
    before: Values,
    /// What sessions see.
    after: Values,
}

impl OwnSettings {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of these is about the same thing as a setting: the same remote, branch, or section.
    pub fn is_about(&self, name: &str) -> bool {
        let section = |name: &str| name.rsplit_once('.').map(|(section, _)| section.to_owned());
        self.0.keys().any(|kept| section(kept) == section(name))
    }

    /// What differs from a repository that has these settings, for those who see them.
    pub fn over(&self, present: &SettingValues) -> SettingValues {
        let counts = |name: &str, kept: &SettingOverride| values(present, name) == kept.before.as_slice();
        let counting = self.0.iter().filter(|(name, kept)| counts(name, kept));
        counting.map(|(name, kept)| (name.clone(), kept.after.clone())).collect()
    }

    /// These with what is changed. A setting that a repository with the settings `present` has anyway is kept no longer, nor one that a
    /// person has changed since.
    pub fn with(mut self, present: &SettingValues, changed: &SettingValues) -> Option<Self> {
        self.0.retain(|name, kept| values(present, name) == kept.before.as_slice());
        for (name, after) in changed {
            let before = values(present, name);
            if before == after.as_slice() {
                self.0.remove(name);
            } else {
                self.0.insert(name.clone(), SettingOverride { before: before.to_vec(), after: after.clone() });
            }
        }
        (self.0.len() <= MAX_KEPT).then_some(self)
    }
}

/// The values of a setting among these.
pub fn values<'a>(settings: &'a SettingValues, name: &str) -> &'a [Option<String>] {
    settings.get(name).map(Vec::as_slice).unwrap_or_default()
}

/// Where the settings of sessions are kept, of all repositories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store(PathBuf);

/// Sessions of one server change them one after another. Of two servers that change those of one repository in the same moment, the
/// later one counts.
static CHANGES: Mutex<()> = Mutex::new(());

impl Store {
    /// In this directory, which no session can write to.
    pub fn in_directory(directory: PathBuf) -> Self {
        Self(directory)
    }

    /// The directory by its real path. It is made if it is not there.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn directory(&self) -> io::Result<PathBuf> {
        match DirBuilder::new().mode(0o700).create(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => fs::canonicalize(&self.0),
        }
    }

    /// Nobody else of this server changes them as long as this lives.
    pub fn changing() -> MutexGuard<'static, ()> {
        // Nothing that holds the lock can fail half-way.
        CHANGES.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those of the repository with this file of settings; none if they cannot be read, so that sessions see the repository's own.
    pub fn of(&self, file: &Path) -> OwnSettings {
        let path = name(file).map(|name| self.0.join(format!("{name}.json")));
        let text = path.and_then(|path| fs::read(path).ok());
        text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
    }

    /// Keeps those of the repository with this file of settings.
    ///
    /// # Errors
    /// They cannot be written: then the earlier ones are kept.
    pub fn keep(&self, file: &Path, own: &OwnSettings) -> io::Result<()> {
        let name = name(file).ok_or(io::ErrorKind::NotFound)?;
        let path = self.0.join(format!("{name}.json"));
        if own.is_empty() {
            return match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        }
        let new = path.with_extension("new");
        let mut open = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        serde_json::to_writer(&mut open, own)?;
        open.sync_data()?;
        fs::rename(new, path)
    }

    /// Writes the file that sessions see in the place of `file`, and returns its name in the directory. One that they see already stays
    /// the same file.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn show(&self, file: &Path, text: &[u8]) -> io::Result<String> {
        let name = format!("{}.config", name(file).ok_or(io::ErrorKind::NotFound)?);
        let flags = libc::O_CLOEXEC | libc::O_NOFOLLOW;
        // Whoever runs the session's programs reads it, and nobody else gets to it through the directory.
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(false).mode(0o644).custom_flags(flags);
        let mut open = options.open(self.0.join(&name))?;
        open.write_all(text)?;
        open.set_len(u64::try_from(text.len()).map_err(io::Error::other)?)?;
        Ok(name)
    }
}

/// What a repository's settings are kept under: the directory that holds the file, since git makes that file anew for each change.
fn name(file: &Path) -> Option<String> {
    let about = file.parent()?.symlink_metadata().ok()?;
    let born = about.created().ok()?.duration_since(UNIX_EPOCH).ok()?;
    let told = format!("{:?} {:?}", (about.dev(), about.ino(), born.as_nanos()), file.file_name()?);
    Some(Sha256::digest(told).iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn settings(of: &[(&str, &[&str])]) -> SettingValues {
        let values = |values: &[&str]| values.iter().map(|value| Some((*value).to_owned())).collect();
        of.iter().map(|(name, all)| ((*name).to_owned(), values(all))).collect()
    }

    #[test]
    fn what_a_person_sets_later_is_theirs() {
        let present = settings(&[("remote.up.url", &["a"]), ("core.bare", &["false"])]);
        let own = OwnSettings::default();
        let changed = settings(&[("remote.up.url", &["b"]), ("remote.hub.url", &["./hub"]), ("core.bare", &["false"])]);
        let own = own.with(&present, &changed).unwrap();
        let over = settings(&[("remote.up.url", &["b"]), ("remote.hub.url", &["./hub"])]);
        assert_eq!(own.over(&present), over);
        assert!(own.is_about("remote.hub.fetch") && !own.is_about("remote.x.fetch") && !own.is_about("core.bare"));
        let later = settings(&[("remote.up.url", &["c"])]);
        assert_eq!(own.over(&later), settings(&[("remote.hub.url", &["./hub"])]));
        // Taken back.
        let own = own.with(&present, &settings(&[("remote.up.url", &["a"]), ("remote.hub.url", &[])])).unwrap();
        assert!(own.is_empty());
    }

    #[test]
    fn they_are_kept_of_one_repository() {
        let place = tempfile::tempdir().unwrap();
        let store = Store::in_directory(place.path().join("kept"));
        let directory = store.directory().unwrap();
        let repository = |name: &str| {
            fs::create_dir(place.path().join(name)).unwrap();
            place.path().join(name).join("config")
        };
        let (one, other) = (repository("one"), repository("other"));
        let own =
            OwnSettings::default().with(&SettingValues::new(), &settings(&[("remote.hub.url", &["./hub"])])).unwrap();
        store.keep(&one, &own).unwrap();
        assert_eq!(store.of(&one), own);
        assert!(store.of(&other).is_empty());
        let name = store.show(&one, b"a long text").unwrap();
        assert_eq!(store.show(&one, b"short").unwrap(), name);
        assert_eq!(fs::read(directory.join(name)).unwrap(), b"short");
        // Another repository at the same place has none of it.
        fs::rename(place.path().join("one"), place.path().join("moved")).unwrap();
        assert!(store.of(&repository("one")).is_empty());
        store.keep(&place.path().join("moved/config"), &OwnSettings::default()).unwrap();
        assert!(store.keep(&place.path().join("gone/config"), &own).is_err());
    }
}
