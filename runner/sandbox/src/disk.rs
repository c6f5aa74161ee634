//! How much of the machine's disks a session takes: what its own directory holds, and how much is left where it may write.
//!
//! No quota is to be had without privilege. What a directory holds is counted file by file, as seldom as that takes long; what is
//! left is one call, and shows files without names as well. What is left is everybody's, so that a limit on it counts for what
//! happens while a command runs, whoever does it: the machine is saved, and the agent told.
//!
//! Decided here: whether a limit on disks is passed. Not decided here: what becomes of whom.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, openat, statat, statvfs};
use rustix::io::Errno;

use super::meter::Exceeded;
use super::plan::{Limits, Rights, SandboxPlan};

/// Files and directories that are counted: a directory with more has passed its limit, for nobody knows by how much.
const MAX_ENTRIES: usize = 200_000;

/// Directories below each other that are counted.
const MAX_DEPTH: usize = 200;

/// What is held where it cannot be told: more than any limit.
const UNKNOWN: u64 = u64::MAX;

/// Between two counts, at least, and so many times as long as a count takes.
const PAUSE: Duration = Duration::from_millis(400);
const SHARE: u32 = 20;

/// Where a session can write to a disk.
#[derive(Debug, Clone, Default)]
pub struct Disks {
    own: PathBuf,
    others: Vec<PathBuf>,
}

impl Disks {
    /// Those of a session with this plan, whose own directory is `own`: one place on each file system.
    #[must_use]
    pub fn of(plan: &SandboxPlan, own: &Path) -> Self {
        let writable = plan.rules.iter().filter(|rule| rule.rights.contains(Rights::WRITE)).map(|rule| &rule.path);
        let mut known = BTreeSet::new();
        let on_disk = |path: &&PathBuf| !path.starts_with("/dev") && !path.starts_with("/proc");
        let directory = |path: &PathBuf| std::fs::metadata(path).ok().filter(std::fs::Metadata::is_dir);
        let mut others: Vec<PathBuf> = vec![own.to_owned()];
        others.extend(writable.filter(on_disk).cloned());
        others.retain(|path| directory(path).is_some_and(|about| known.insert(about.dev())));
        Self { own: own.to_owned(), others }
    }
}

/// Looks at the disks of one session.
#[derive(Debug)]
pub(super) struct Watcher {
    disks: Disks,
    next: Instant,
    /// What the own directory held at the last count.
    held: u64,
    /// When the command began: what its own directory held, and what was left on each disk.
    before: (u64, Vec<u64>),
}

impl Watcher {
    pub(super) fn new(disks: Disks) -> Self {
        let before = (0, disks.others.iter().map(|path| left_at(path)).collect());
        Self { disks, next: Instant::now(), held: 0, before }
    }

    /// A command begins. What could not be counted before excuses nothing: it was the session that hid it.
    pub(super) fn begin(&mut self) {
        let held = if self.held == UNKNOWN { 0 } else { self.held };
        self.before = (held, self.disks.others.iter().map(|path| left_at(path)).collect());
    }

    /// The limit that is passed, if one is. What was full before a command began lets it run, since it may be there to tidy up.
    pub(super) fn look(&mut self, limits: &Limits) -> Option<Exceeded> {
        if let Some(floor) = limits.free_disk {
            let is_low = |(path, before): (&PathBuf, &u64)| {
                let least = if *before > floor { floor } else { before / 4 * 3 };
                left_at(path) < least
            };
            if self.disks.others.iter().zip(&self.before.1).any(is_low) {
                return Some(Exceeded::FreeDisk);
            }
        }
        let limit = limits.disk?;
        let now = Instant::now();
        if now < self.next {
            return None;
        }
        self.held = held_by(&self.disks.own);
        self.next = Instant::now() + PAUSE.max(now.elapsed() * SHARE);
        (self.held > limit.max(self.before.0)).then_some(Exceeded::Disk)
    }
}

/// Bytes that an unprivileged process can still use; none where that cannot be told.
fn left_at(path: &Path) -> u64 {
    statvfs(path).map_or(0, |about| about.f_bavail.saturating_mul(about.f_frsize))
}

/// Bytes on disk of everything below a directory, or [`UNKNOWN`], since its mode is the session's to change. Follows no link, so that nothing else is counted.
fn held_by(root: &Path) -> u64 {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root = match openat(CWD, root, flags, Mode::empty()) {
        Ok(root) => root,
        Err(Errno::NOENT) => return 0,
        Err(_) => return UNKNOWN,
    };
    let mut left = MAX_ENTRIES;
    count(&root, MAX_DEPTH, &mut left).unwrap_or(UNKNOWN)
}

/// None where there is more than is counted, or something cannot be looked at.
fn count(directory: &OwnedFd, depth: usize, left: &mut usize) -> Option<u64> {
    let depth = depth.checked_sub(1)?;
    let mut bytes = 0_u64;
    let entries = match Dir::read_from(directory) {
        // It is removed and still open here.
        Err(Errno::NOENT) => return Some(0),
        entries => entries.ok()?,
    };
    for entry in entries {
        let entry = match entry {
            Err(Errno::NOENT) => return Some(bytes),
            entry => entry.ok()?,
        };
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        *left = left.checked_sub(1)?;
        let about = match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(about) => about,
            Err(Errno::NOENT) => continue,
            Err(_) => return None,
        };
        bytes = bytes.saturating_add(u64::try_from(about.st_blocks).unwrap_or(0).saturating_mul(512));
        if FileType::from_raw_mode(about.st_mode) == FileType::Directory {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match openat(directory, name, flags, Mode::empty()) {
                Ok(inner) => bytes = bytes.saturating_add(count(&inner, depth, left)?),
                // It went, or another thing came in its place: the next count sees that.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(_) => return None,
            }
        }
    }
    Some(bytes)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn links_lead_nowhere_and_depth_has_an_end() {
        let place = tempfile::tempdir().unwrap();
        assert!(held_by(place.path()) < 4096);
        std::fs::create_dir_all(place.path().join("a/b")).unwrap();
        std::fs::write(place.path().join("a/b/file"), vec![1; 100_000]).unwrap();
        std::os::unix::fs::symlink("/usr", place.path().join("a/usr")).unwrap();
        std::os::unix::fs::symlink("..", place.path().join("a/up")).unwrap();
        let held = held_by(place.path());
        assert!((100_000..1 << 20).contains(&held), "{held}");
        assert_eq!(held_by(&place.path().join("a/usr")), UNKNOWN, "another thing in its place");
        assert_eq!(held_by(&place.path().join("gone")), 0);
        let mut deep = place.path().to_owned();
        for _ in 0..MAX_DEPTH {
            deep.push("d");
        }
        std::fs::create_dir_all(&deep).unwrap();
        assert_eq!(held_by(place.path()), UNKNOWN);
    }

    #[test]
    fn a_directory_that_is_removed_meanwhile_holds_nothing() {
        let place = tempfile::tempdir().unwrap();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat(CWD, place.path(), flags, Mode::empty()).unwrap();
        place.close().unwrap();
        assert_eq!(count(&root, MAX_DEPTH, &mut 10), Some(0));
    }

    #[test]
    fn what_was_full_before_lets_a_command_tidy_up() {
        let place = tempfile::tempdir().unwrap();
        let mut watcher = Watcher::new(Disks { own: place.path().to_owned(), others: vec![place.path().to_owned()] });
        let limits = Limits { disk: Some(1 << 20), ..Limits::default() };
        let look = |watcher: &mut Watcher| {
            watcher.next = Instant::now();
            watcher.look(&limits)
        };
        assert_eq!(look(&mut watcher), None);
        std::fs::write(place.path().join("one"), vec![1; 2 << 20]).unwrap();
        assert_eq!(look(&mut watcher), Some(Exceeded::Disk));
        watcher.begin();
        assert_eq!(look(&mut watcher), None);
        std::fs::write(place.path().join("two"), vec![1; 1 << 20]).unwrap();
        assert_eq!(look(&mut watcher), Some(Exceeded::Disk));
        watcher.held = UNKNOWN;
        watcher.begin();
        assert_eq!(look(&mut watcher), Some(Exceeded::Disk), "what was hidden is not excused");
        let all = Limits { free_disk: Some(u64::MAX), ..Limits::default() };
        assert_eq!(watcher.look(&all), None, "it was low before");
        watcher.before.1 = vec![u64::MAX];
        let floor = Limits { free_disk: Some(u64::MAX - 1), ..Limits::default() };
        assert_eq!(watcher.look(&floor), Some(Exceeded::FreeDisk));
    }
}
