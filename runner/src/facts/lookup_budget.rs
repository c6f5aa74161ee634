//! How much of the machine is looked at for one script, and what was seen below the directories that it reaches as trees.
//!
//! A script of a few bytes can name `/usr` fifty times. What has been looked through is not looked through again, and behind a
//! number of entries nothing more is looked at: what is not seen is unknown.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::DirEntry;
use std::io;
use std::path::{Path, PathBuf};

use palisade_engine::{AbsolutePath, Scratch, Vocabulary};

use super::Occasion;

/// Files and directories that are looked at for one script; a large build directory has some 100,000. Those with long paths count for
/// several, since all of a tree are in memory at once.
const MAX_ENTRIES: usize = 250_000;

/// Bytes of a path that count for one entry.
const ENTRY: usize = 256;

/// Names that are looked up for one script, on the way to the files that it names: some hundred for each of a thousand. A link may stand
/// for 2,000 names, and forty of them for one another.
const MAX_STEPS: usize = 1_000_000;

/// Names that may still be looked up, and where. What lies behind more of them is unknown.
pub(super) struct Steps {
    left: Cell<usize>,
    own: Own,
}

/// What a session has in place of the machine's directories.
#[derive(Default)]
struct Own {
    scratch: Scratch,
    temp: Option<AbsolutePath>,
    /// Its view of the file system; without one nothing is there yet.
    root: Option<PathBuf>,
}

impl Steps {
    /// For a question of the runner's own, about this machine.
    pub(super) fn new() -> Self {
        Self { left: Cell::new(MAX_STEPS), own: Own::default() }
    }

    /// For one script.
    pub(super) fn of(occasion: &Occasion) -> Self {
        let root = occasion.shell.map(|shell| PathBuf::from(format!("/proc/{shell}/root")));
        let own = Own { scratch: occasion.scratch.clone(), temp: occasion.temp.clone(), root };
        Self { own, ..Self::new() }
    }

    /// Where the server finds what the session has at an absolute path. What is not there yet has a place that does not exist.
    pub(super) fn seen(&self, path: &Path) -> PathBuf {
        let Own { scratch, temp, root } = &self.own;
        let known = || AbsolutePath::new(path.to_str()?);
        let Some(known) = known().filter(|_| temp.is_some() || !scratch.places.is_empty()) else { return path.into() };
        // The directory is the session's own; before that is opened, the one that it will be made in stands for it.
        let leads_to_temp = temp.as_ref().is_some_and(|temp| temp.is_within(&known));
        if !scratch.holds(&known) && !leads_to_temp || scratch.places.contains(&known) {
            return path.into();
        }
        match root {
            Some(root) => root.join(path.strip_prefix("/").unwrap_or(path)),
            None if leads_to_temp && path.symlink_metadata().is_err() => std::env::temp_dir(),
            None if leads_to_temp => path.into(),
            None => PathBuf::from("/proc/self/none").join(path.strip_prefix("/").unwrap_or(path)),
        }
    }

    /// Whether another one may be looked up.
    pub(super) fn take(&self) -> bool {
        let left = self.left.get().checked_sub(1);
        self.left.set(left.unwrap_or(0));
        left.is_some()
    }
}

/// What is below a directory now.
#[derive(Clone, Debug)]
pub(super) struct Below {
    /// The groups that have members there.
    pub(super) groups: BTreeSet<String>,
    /// A symbolic link is among it.
    pub(super) links: bool,
}

/// Looks for one script.
pub(super) struct Sight<'v> {
    vocabulary: &'v Vocabulary,
    /// Entries that may still be looked at.
    left: Cell<usize>,
    pub(super) steps: Steps,
    seen: RefCell<BTreeMap<AbsolutePath, Option<Below>>>,
}

impl<'v> Sight<'v> {
    pub(super) fn new(vocabulary: &'v Vocabulary, steps: Steps) -> Self {
        Self { vocabulary, left: Cell::new(MAX_ENTRIES), steps, seen: RefCell::default() }
    }

    /// What is below a directory; `None` if it cannot be looked through whole: too much is there, a part may not be read, or a name
    /// is not UTF-8. Links are not followed: what they lead to is not below.
    pub(super) fn below(&self, directory: &AbsolutePath) -> Option<Below> {
        if let Some(known) = self.seen.borrow().get(directory) {
            return known.clone();
        }
        let found = self.look(directory);
        self.seen.borrow_mut().insert(directory.clone(), found.clone());
        found
    }

    fn look(&self, directory: &AbsolutePath) -> Option<Below> {
        let mut paths = Vec::new();
        let mut links = false;
        let mut pending = vec![PathBuf::from(directory.as_str())];
        while let Some(next) = pending.pop() {
            let entries = match self.entries(&next) {
                Ok(entries) => entries,
                // A file has nothing below it, and what does not exist neither.
                Err(error) if next == Path::new(directory.as_str()) && is_no_directory(&error) => break,
                Err(_) => return None,
            };
            for entry in entries {
                let (path, kind) = (next.join(entry.file_name()), entry.file_type().ok()?);
                links |= kind.is_symlink();
                if kind.is_dir() {
                    pending.push(path.clone());
                }
                paths.push(path.into_os_string().into_string().ok()?);
            }
        }
        let groups = self.vocabulary.groups_among(directory, paths.iter().map(String::as_str));
        Some(Below { groups: groups.into_iter().map(str::to_owned).collect(), links })
    }

    /// The entries of one directory.
    ///
    /// # Errors
    ///
    /// It cannot be read, or too much has been looked at already.
    pub(super) fn entries(&self, directory: &Path) -> io::Result<Vec<DirEntry>> {
        let cost = 1 + directory.as_os_str().len() / ENTRY;
        let spend = |entry: io::Result<DirEntry>| {
            let left = self.left.get().checked_sub(cost).ok_or(io::ErrorKind::QuotaExceeded)?;
            self.left.set(left);
            entry
        };
        // Even an empty one takes a look.
        let left = self.left.get().checked_sub(1).ok_or(io::ErrorKind::QuotaExceeded)?;
        self.left.set(left);
        std::fs::read_dir(self.steps.seen(directory))?.map(spend).collect()
    }
}

/// There is nothing below it, for sure.
pub(super) fn is_no_directory(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotADirectory | io::ErrorKind::NotFound)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_is_not_looked_at_again_and_nothing_is_behind_the_last_entry() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().canonicalize().unwrap();
        for name in ["a", "b", "c"] {
            std::fs::write(path.join(name), "").unwrap();
        }
        let path = AbsolutePath::new(path.to_str().unwrap()).unwrap();
        let vocabulary = Vocabulary::default();
        let sight = Sight::new(&vocabulary, Steps::new());
        for _ in 0..3 {
            assert!(sight.below(&path).is_some());
            assert_eq!(sight.left.get(), MAX_ENTRIES - 4);
        }
        let deep = path.as_str().to_owned() + &format!("/{}", "d".repeat(250)).repeat(3);
        std::fs::create_dir_all(&deep).unwrap();
        std::fs::write(format!("{deep}/file"), "").unwrap();
        let before = sight.left.get();
        assert!(sight.entries(Path::new(&deep)).is_ok());
        assert_eq!(before - sight.left.get(), 2 + deep.len() / ENTRY, "a long path takes room");
        let tired = Sight { left: Cell::new(3), ..Sight::new(&vocabulary, Steps::new()) };
        assert!(tired.below(&path).is_none());
        assert!(tired.entries(Path::new("/nonexistent")).is_err_and(|error| !is_no_directory(&error)));
    }
}
