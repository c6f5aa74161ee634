//! Carries out a plan: what was made since goes, what was there comes back, and each step leaves a whole file or none.
//!
//! Every path is opened below the workspace through no symbolic link, so that nothing outside can be reached whatever is put in the
//! way meanwhile. A file is written beside its place and then moved there. Right before a path is touched it is looked at again: if
//! it is not what the plan saw, it is left alone and told.
//!
//! A checkpoint of what was there is taken first, and a journal says where the way leads, so that a restore that was cut short can
//! be gone on with, or undone by going back to that checkpoint.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, fchmod, fchown, futimens, mkdirat, openat,
    renameat, statat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;

use super::ledger::Ledger;
use super::plan::{self, Plan};
use super::store::{About, Cache, Journal, Lock, Objects, Snapshot, Store, digest_at};
use super::tree::{self, Entry, Found, Kind, Name, Stamp, Tree};
use super::{Checkpoint, CheckpointError, CheckpointId};
use crate::shell::pace::Pace;

/// What became of a restore.
#[derive(Debug)]
pub struct Restored {
    /// What was planned; with what was forced among what is written.
    pub plan: Plan,
    /// What could not be done, and why.
    pub failed: Vec<Failed>,
    /// The checkpoint of what was there before.
    pub undo: Checkpoint,
}

/// One path that is not as it was planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// Where.
    pub name: Name,
    /// Why, as the system says it.
    pub why: String,
}

/// What a restore needs to know, looked up once.
#[derive(Debug)]
pub struct Prospect {
    /// Where it goes.
    pub to: Checkpoint,
    /// What would be done.
    pub plan: Plan,
    pub(super) then: BTreeMap<Name, Entry>,
    pub(super) now: Tree,
}

/// One step of a restore.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step<'a> {
    /// What the session made goes.
    Delete(&'a Name),
    /// What was there comes back; of a directory only that it is there, so that there can be something in it.
    Put(&'a Name, &'a Entry),
    /// A directory gets its own permissions.
    Finish(&'a Name, &'a Entry),
}

impl<'a> Step<'a> {
    /// Where.
    pub(super) fn name(&self) -> &'a Name {
        match *self {
            Self::Delete(name) | Self::Put(name, _) | Self::Finish(name, _) => name,
        }
    }
}

/// The steps of a plan, in the order in which none stands in the way of another.
pub(super) fn steps<'a>(plan: &'a Plan, then: &'a BTreeMap<Name, Entry>) -> impl Iterator<Item = Step<'a>> {
    let put = plan.write.iter().filter_map(|name| Some(Step::Put(name, then.get(name)?)));
    let finish = plan.write.iter().rev().filter_map(|name| match then.get(name) {
        Some(entry @ Entry { kind: Kind::Directory, .. }) => Some(Step::Finish(name, entry)),
        _ => None,
    });
    plan.delete.iter().rev().map(Step::Delete).chain(put).chain(finish)
}

/// The directories whose times come back: those that nothing but the session and the restore has written to, the innermost first.
pub(super) fn timed<'a>(
    plan: &'a Plan,
    then: &'a BTreeMap<Name, Entry>,
) -> impl Iterator<Item = (&'a Name, &'a Entry)> {
    let foreign: BTreeSet<&[u8]> =
        plan.kept.iter().chain(&plan.conflicts).filter_map(|name| plan::above(name).next()).collect();
    let directories = then.iter().rev().filter(|(_, entry)| entry.kind == Kind::Directory);
    directories
        .filter(move |(name, _)| !foreign.contains(name.as_slice()) && plan.conflicts.binary_search(name).is_err())
}

/// What is said of the checkpoint that is taken before going back to one.
pub(super) fn before(to: &Checkpoint, session: &str) -> About {
    About {
        label: String::new(),
        session: session.to_owned(),
        before_restore: Some(to.id.as_str().to_owned()),
        automatic: false,
        beyond: to.about.beyond,
    }
}

impl Store {
    /// What going back to a checkpoint would do, for a session that made what `ledger` says.
    ///
    /// # Errors
    /// There is no such checkpoint, or workspace or store cannot be read.
    pub fn look(&self, to: &str, ledger: &Ledger) -> Result<Prospect, CheckpointError> {
        let to = self.find(to)?;
        let then = self.entries(&to.id)?;
        let (root, now) = self.as_wide_as(&to, &then, ledger).walk()?;
        let uncovered: BTreeSet<Name> = now.uncovered.iter().map(|uncovered| uncovered.name.clone()).collect();
        let ledger = self.with_interrupted(ledger, &now)?;
        let known = self.side_files().cache();
        let same = |name: &Name, entry: &Entry, found: &Found| is_same(&root, &known, name, entry, found);
        let plan = plan::plan(&then, &now.found, &uncovered, &ledger, same);
        Ok(Prospect { to, plan, then, now })
    }

    /// Goes back. What others changed is put back only if `force`; takes a checkpoint of what is there first.
    ///
    /// # Errors
    /// No checkpoint could be taken, or the store cannot be read or written. Single paths that cannot be restored are told in the result.
    pub fn restore(
        &self,
        held: &Lock,
        prospect: Prospect,
        force: bool,
        session: &str,
        ledger: &mut Ledger,
    ) -> Result<Restored, CheckpointError> {
        let Prospect { to, plan, then, now } = prospect;
        let plan = if force { plan.forced() } else { plan };
        let about = before(&to, session);
        let wide = self.as_wide_as(&to, &then, ledger);
        let Snapshot { checkpoint: undo, tree: before, .. } = wide.take(held, &about, &Pace::default())?;
        self.side_files().begin(&Journal { to: to.id.as_str().to_owned(), undo: undo.id.as_str().to_owned() })?;
        let root = tree::open_root(self.workspace())?;
        let repository = self.repository()?;
        let objects = self.objects(&repository)?;
        let mut way = Restorer::new(&objects, &root, undo.id.short(), &now);
        let failed =
            steps(&plan, &then).filter_map(|step| Some(Failed { name: step.name().clone(), why: way.take(&step)? }));
        let failed = failed.collect();
        for (name, entry) in timed(&plan, &then) {
            way.put_time(name, entry);
        }
        let (_, after) = wide.walk()?;
        ledger.ran(&before, &after);
        self.side_files().keep_ledger(session, ledger)?;
        self.side_files().end()?;
        Ok(Restored { plan, failed, undo })
    }

    /// What a restore that was cut short has done counts as done by whoever goes on or back.
    pub(super) fn with_interrupted(&self, ledger: &Ledger, now: &Tree) -> Result<Ledger, CheckpointError> {
        let mut ledger = ledger.clone();
        let Some(journal) = self.side_files().journal()? else { return Ok(ledger) };
        let (to, undo) = (CheckpointId(journal.to), CheckpointId(journal.undo));
        let (to, before) = (self.entries(&to)?, self.entries(&undo)?);
        for (name, found) in &now.found {
            let is_its_own = temporary(name, undo.short());
            let was_put =
                || to.get(name).is_some_and(|entry| plan::looks_same(entry, found)) && before.get(name) != to.get(name);
            if is_its_own || was_put() {
                ledger.note(name, Some(found.stamp));
            }
        }
        for name in before.keys().filter(|name| !to.contains_key(*name) && !now.found.contains_key(*name)) {
            ledger.note(name, None);
        }
        Ok(ledger)
    }
}

/// Whether a path is one that a restore writes before it moves it to its place, or lies in a directory of such.
fn temporary(name: &[u8], mark: &str) -> bool {
    let mut parts = name.split(|byte| *byte == b'/');
    parts.any(|part| part.strip_prefix(PREFIX).is_some_and(|rest| rest.starts_with(mark.as_bytes())))
}

/// How such a path begins.
pub(super) const PREFIX: &[u8] = b".palisade-restore-";

/// Whether a path holds what the checkpoint has. A file that was only written again with the same bytes does not: it has another time.
fn is_same(root: &OwnedFd, known: &Cache, name: &Name, entry: &Entry, found: &Found) -> bool {
    if !plan::looks_same(entry, found) {
        return false;
    }
    let Kind::File(object, _) = entry.kind else { return true };
    // Size and time can be set; the bytes tell, and are read only where the state is another than at the last checkpoint.
    if let Some((stamp, known)) = known.get(name)
        && *stamp == found.stamp
    {
        return *known == object;
    }
    digest_at(root, name) == Some(object)
}

/// Takes the steps of a restore in a workspace.
pub(super) struct Restorer<'a> {
    /// What comes back.
    objects: &'a Objects<'a>,
    root: &'a OwnedFd,
    /// What is written beside its place is known by that.
    mark: &'a str,
    /// What the plan was made for.
    seen: &'a Tree,
    count: u64,
}

impl<'a> Restorer<'a> {
    /// One for a plan that was made for what was `seen`.
    pub(super) fn new(objects: &'a Objects<'a>, root: &'a OwnedFd, mark: &'a str, seen: &'a Tree) -> Self {
        Self { objects, root, mark, seen, count: 0 }
    }

    /// Takes a step; why it could not be taken, as the system says it.
    pub(super) fn take(&mut self, step: &Step<'_>) -> Option<String> {
        let taken = match *step {
            Step::Delete(name) => self.delete(name),
            Step::Put(name, entry) => self.put(name, entry),
            Step::Finish(name, entry) => self.finish_directory(name, entry),
        };
        let error = taken.err()?;
        Some(std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string))
    }

    /// The time of a directory comes back, as far as it goes.
    pub(super) fn put_time(&self, name: &Name, entry: &Entry) {
        let Ok((directory, file)) = self.parent(name) else { return };
        // What others put in its place keeps its own.
        let is_directory = statat(&directory, file, AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory);
        if is_directory {
            let _as_far_as_it_goes = utimensat(&directory, file, &times(entry), AtFlags::SYMLINK_NOFOLLOW);
        }
    }

    /// The directory that a path lies in, and its name there.
    fn parent<'n>(&self, name: &'n [u8]) -> Result<(OwnedFd, &'n [u8]), CheckpointError> {
        let (above, file) = match name.iter().rposition(|byte| *byte == b'/') {
            Some(end) => (name.get(..end).unwrap_or_default(), name.get(end + 1..).unwrap_or_default()),
            None => (&b"."[..], name),
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let directory = tree::open_below(self.root, above, flags, Mode::empty()).map_err(write)?;
        Ok((directory, file))
    }

    /// What stands at a path now, if that is what the plan has seen there.
    fn standing(&self, directory: &OwnedFd, file: &[u8], name: &Name) -> Result<Option<FileType>, CheckpointError> {
        let now = match statat(directory, file, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Some(Stamp::of(&stat)),
            Err(Errno::NOENT) => None,
            Err(errno) => return Err(write(errno)),
        };
        let kind = now.map(|stamp| FileType::from_raw_mode(stamp.mode));
        let seen = self.seen.found.get(name).map(|found| found.stamp);
        let same = match (now, seen) {
            (None, None) => true,
            // Deleted by this very restore, or before it.
            (None, Some(_)) => true,
            (Some(now), Some(seen)) if kind == Some(FileType::Directory) => now.file == seen.file,
            (now, seen) => now == seen,
        };
        if same { Ok(kind) } else { Err(changed()) }
    }

    fn delete(&mut self, name: &Name) -> Result<(), CheckpointError> {
        let (directory, file) = self.parent(name)?;
        match self.standing(&directory, file, name)? {
            None => Ok(()),
            Some(FileType::Directory) => unlinkat(&directory, file, AtFlags::REMOVEDIR).map_err(write),
            Some(_) => unlinkat(&directory, file, AtFlags::empty()).map_err(write),
        }
    }

    fn put(&mut self, name: &Name, entry: &Entry) -> Result<(), CheckpointError> {
        let (directory, file) = self.parent(name)?;
        let standing = self.standing(&directory, file, name)?;
        match (&entry.kind, standing) {
            (Kind::Directory, Some(FileType::Directory)) => Ok(()),
            (Kind::Directory, standing) => {
                if standing.is_some() {
                    unlinkat(&directory, file, AtFlags::empty()).map_err(write)?;
                }
                // Its own permissions come last: there may be none to write in it.
                mkdirat(&directory, file, Mode::RWXU).map_err(write)
            }
            (_, standing) => {
                if standing == Some(FileType::Directory) {
                    unlinkat(&directory, file, AtFlags::REMOVEDIR).map_err(write)?;
                }
                let beside = self.beside();
                let placed = self
                    .make(&directory, &beside, entry)
                    .and_then(|()| renameat(&directory, beside.as_slice(), &directory, file).map_err(write));
                if placed.is_err() {
                    let _not_made = unlinkat(&directory, beside.as_slice(), AtFlags::empty());
                }
                placed
            }
        }
    }

    fn beside(&mut self) -> Vec<u8> {
        self.count += 1;
        [PREFIX, self.mark.as_bytes(), format!("-{}", self.count).as_bytes()].concat()
    }

    fn make(&self, directory: &OwnedFd, name: &[u8], entry: &Entry) -> Result<(), CheckpointError> {
        match &entry.kind {
            Kind::Link(target) => {
                symlinkat(target.as_slice(), directory, name).map_err(write)?;
                let _as_far_as_it_goes = utimensat(directory, name, &times(entry), AtFlags::SYMLINK_NOFOLLOW);
                Ok(())
            }
            Kind::File(object, _) => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let file = openat(directory, name, flags, Mode::RUSR | Mode::WUSR).map_err(write)?;
                let mut file = File::from(file);
                self.objects.copy(*object, &mut file)?;
                settle(&file, entry)
            }
            Kind::Directory => Ok(()),
        }
    }

    fn finish_directory(&mut self, name: &Name, entry: &Entry) -> Result<(), CheckpointError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let directory = tree::open_below(self.root, name.as_slice(), flags, Mode::empty()).map_err(write)?;
        settle(directory, entry)
    }
}

/// Owner, permissions and time, in the order in which none undoes another.
fn settle(file: impl std::os::fd::AsFd, entry: &Entry) -> Result<(), CheckpointError> {
    let (user, group) = entry.owner;
    // Whoever may not give files away keeps them.
    let given = fchown(&file, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)));
    // A program that runs as its owner must not become one that runs as us.
    let mode = if given.is_ok() { entry.mode } else { entry.mode & 0o777 };
    fchmod(&file, Mode::from_raw_mode(mode)).map_err(write)?;
    futimens(&file, &times(entry)).map_err(write)
}

fn times(entry: &Entry) -> Timestamps {
    let seconds = i64::try_from(entry.modified.div_euclid(1_000_000_000)).unwrap_or(0);
    let rest = i64::try_from(entry.modified.rem_euclid(1_000_000_000)).unwrap_or(0);
    let now = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT };
    Timestamps { last_access: now, last_modification: Timespec { tv_sec: seconds, tv_nsec: rest } }
}

fn write(errno: Errno) -> CheckpointError {
    CheckpointError::Write { source: errno.into() }
}

fn changed() -> CheckpointError {
    CheckpointError::Write { source: io::Error::other("it has changed meanwhile") }
}
