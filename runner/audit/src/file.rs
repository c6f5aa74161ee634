//! One file of a chain: how much of it is confirmed, what of that is on disk, and whether it can be added to.
//!
//! Confirmed is what the kernel has taken and what was found to stand in the file, under its name. Most lines are on disk before they
//! are; those that may follow are within [`SOON`], with the next that may not if that is sooner. Until then they are held here, for
//! a disk that fails may have given them up: they are written to their places again before it is asked once more.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{self, FlockOperation, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use super::series::Name;
use super::{AuditError, AuditSettings, Sync, key};

/// How long after they are confirmed the disk is asked for lines that may follow, at most.
pub(super) const SOON: Duration = Duration::from_millis(50);

/// How long after a failure the disk is asked again for what it still owes.
const AGAIN: Duration = Duration::from_secs(1);

/// From how many bytes on that the disk owes everything waits for it.
const OWED: usize = 1 << 20;

/// The file of one chain: what is confirmed of it, and whether it can be added to.
pub(super) struct ChainFile {
    file: OwnedFd,
    pub(super) path: PathBuf,
    pub(super) name: Name,
    /// The number of its first record.
    pub(super) first: u64,
    pub(super) begun: Instant,
    identity: FileIdentity,
    /// How much of the file is confirmed, in bytes.
    pub(super) length: u64,
    sync: Sync,
    end: FileTail,
    owed: Owed,
    /// How long the disk took when it was last asked.
    pub(super) took: Option<Duration>,
}

/// The end of what is confirmed: what the disk has not been asked for.
#[derive(Default)]
struct Owed {
    lines: Vec<u8>,
    /// When it is to be asked.
    due: Option<Instant>,
    /// It failed, and may not have what it was asked for although it does not fail again.
    doubtful: bool,
}

/// Device and inode: what a file is, under whatever name.
#[derive(Clone, Copy, PartialEq, Eq)]
struct FileIdentity(u64, u64);

/// What stands after the confirmed part of a file.
#[derive(Clone, Copy)]
enum FileTail {
    /// Nothing.
    Clean,
    /// Up to this many bytes of a piece that failed.
    Torn(u64),
    /// Something we did not write, or part of what we wrote is missing. Whatever it is, it is evidence: the file is
    /// not touched again.
    Altered,
}

impl ChainFile {
    pub(super) fn create(
        settings: &AuditSettings,
        directory: &Path,
        opened: &OwnedFd,
        name: Name,
    ) -> Result<Self, AuditError> {
        let path = directory.join(name.file());
        let failed = |cause| AuditError::Create { path: path.clone(), cause };
        let flags =
            OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = fs::openat(opened, name.file(), flags, Mode::RUSR | Mode::WUSR).map_err(failed)?;
        fs::flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(failed)?;
        let stat = fs::fstat(&file).map_err(failed)?;
        if settings.sync != Sync::None {
            // Syncing a file does not make its name durable.
            fs::fsync(opened).map_err(failed)?;
        }
        let identity = FileIdentity(stat.st_dev, stat.st_ino);
        let begun = Instant::now();
        let (sync, end, owed) = (settings.sync, FileTail::Clean, Owed::default());
        Ok(Self { file, path, name, first: 1, begun, identity, length: 0, sync, end, owed, took: None })
    }

    /// Adds `lines`; `Ok` when they are confirmed, and on disk too unless they `may_follow`.
    pub(super) fn append(&mut self, lines: &[u8], may_follow: bool) -> Result<(), AuditError> {
        self.mend()?;
        self.confirm(0)?;
        let bytes = lines.len() as u64;
        let follows = self.sync == Sync::Group && may_follow && !self.needs_disk();
        self.end = FileTail::Torn(bytes);
        let reached = self.write(lines).and_then(|()| if follows { Ok(()) } else { self.bring_to_disk() });
        match reached.and_then(|()| self.confirm(bytes)) {
            Ok(()) => {
                self.length += bytes;
                self.end = FileTail::Clean;
                if follows {
                    self.owed.lines.extend_from_slice(lines);
                    self.owed.due = self.owed.due.or_else(|| Instant::now().checked_add(SOON));
                }
                Ok(())
            }
            Err(error) => {
                // If the end cannot be mended now, the next append begins with it.
                let _ = self.mend();
                Err(error)
            }
        }
    }

    /// Cuts off what a failure left, so that the next line begins where a line ends. Never adds: cutting a file to a
    /// length that it does not have would fill it up with zeros.
    fn mend(&mut self) -> Result<(), AuditError> {
        let torn = match self.end {
            FileTail::Clean => return Ok(()),
            FileTail::Altered => {
                return Err(AuditError::Altered { path: self.path.clone() });
            }
            FileTail::Torn(bytes) => bytes,
        };
        let failed = |cause| AuditError::Torn { path: self.path.clone(), cause };
        let size = fs::fstat(&self.file).map_err(failed)?.st_size.cast_unsigned();
        if !(self.length..=self.length + torn).contains(&size) {
            self.end = FileTail::Altered;
            return Err(AuditError::Altered { path: self.path.clone() });
        }
        retry_on_intr(|| fs::ftruncate(&self.file, self.length)).map_err(failed)?;
        self.end = FileTail::Clean;
        Ok(())
    }

    /// Removes a file whose first record could not be written: an empty chain proves nothing and looks like one that
    /// was cut off. A file that somebody else has touched stays.
    pub(super) fn discard(&self, error: &AuditError) {
        if !matches!(error, AuditError::Gone { .. } | AuditError::Altered { .. }) {
            let _ = fs::unlink(&self.path);
        }
    }

    fn write(&self, lines: &[u8]) -> Result<(), AuditError> {
        key::write_all(&self.file, lines).map_err(|cause| AuditError::Write { path: self.path.clone(), cause })
    }

    /// Nothing more may follow: while the disk fails nothing is taken that it does not have, and it never owes much, or for long.
    pub(super) fn needs_disk(&self) -> bool {
        self.owed.doubtful || self.owed.lines.len() >= OWED || self.owed.due.is_some_and(|due| due <= Instant::now())
    }

    /// When the disk is to be asked for what it owes.
    pub(super) fn due(&self) -> Option<Instant> {
        self.owed.due
    }

    /// Asks the disk for what it owes.
    pub(super) fn settle(&mut self) -> Result<(), AuditError> {
        if self.owed.lines.is_empty() {
            return Ok(());
        }
        let stands = self.mend().and_then(|()| self.confirm(0));
        // What stands there is asked for whatever has become of the file; only a file as it was is written to.
        let reached = if stands.is_ok() || !self.owed.doubtful { self.bring_to_disk() } else { Ok(()) };
        if !self.owed.lines.is_empty() {
            self.owed.due = Instant::now().checked_add(AGAIN);
        }
        stands.and(reached)
    }

    fn bring_to_disk(&mut self) -> Result<(), AuditError> {
        if self.sync == Sync::None {
            return Ok(());
        }
        let unsynced = |path: &Path, cause| AuditError::Unsynced { path: path.to_owned(), cause };
        if self.owed.doubtful {
            self.write_again().map_err(|cause| unsynced(&self.path, cause))?;
        }
        let asked = Instant::now();
        let synced = retry_on_intr(|| fs::fdatasync(&self.file));
        self.took = synced.is_ok().then(|| asked.elapsed());
        match synced {
            Ok(()) => {
                self.owed = Owed::default();
                Ok(())
            }
            Err(cause) => {
                // The kernel tells of a failure once, and takes what it could not write for written from then on (fsync(2)).
                self.owed.doubtful = true;
                Err(unsynced(&self.path, cause))
            }
        }
    }

    /// Writes what the disk owes to where it stands.
    fn write_again(&self) -> Result<(), Errno> {
        let mut rest = self.owed.lines.as_slice();
        // A file that is only ever appended to takes no other place.
        let flags = fs::fcntl_getfl(&self.file)?;
        fs::fcntl_setfl(&self.file, flags - OFlags::APPEND)?;
        let mut written = Ok(());
        while written.is_ok() && !rest.is_empty() {
            let place = self.length - rest.len() as u64;
            written = retry_on_intr(|| rustix::io::pwrite(&self.file, rest, place))
                .and_then(|some| rest.get(some..).filter(|_| some > 0).ok_or(Errno::IO))
                .map(|left| rest = left);
        }
        fs::fcntl_setfl(&self.file, flags | OFlags::APPEND).and(written)
    }

    /// The file is still the one under its name, and holds what we wrote and nothing else. A file that was unlinked
    /// takes every write and is gone when we are.
    fn confirm(&mut self, added: u64) -> Result<(), AuditError> {
        let ours = fs::fstat(&self.file).map_err(|cause| AuditError::Write { path: self.path.clone(), cause })?;
        let named = fs::lstat(&self.path).ok().map(|named| FileIdentity(named.st_dev, named.st_ino));
        if ours.st_nlink == 0 || named != Some(self.identity) {
            return Err(AuditError::Gone { path: self.path.clone() });
        }
        if ours.st_size.cast_unsigned() != self.length + added {
            self.end = FileTail::Altered;
            return Err(AuditError::Altered { path: self.path.clone() });
        }
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn begin(directory: &Path) -> ChainFile {
        let settings = AuditSettings::new(directory.to_owned(), Sync::Group);
        let opened = std::fs::File::open(directory).unwrap().into();
        ChainFile::create(&settings, directory, &opened, Name { stem: "a".to_owned(), number: 1 }).unwrap()
    }

    #[test]
    fn what_a_failed_write_left_is_cut_off_before_the_next_line() {
        let home = tempfile::tempdir().unwrap();
        let mut file = begin(home.path());
        file.append(b"whole\n", false).unwrap();
        file.write(b"tor").unwrap();
        file.end = FileTail::Torn(5);
        file.append(b"next\n", false).unwrap();
        assert_eq!(std::fs::read(&file.path).unwrap(), b"whole\nnext\n");

        // More than a failed write can have left is not ours to cut.
        file.write(b"more").unwrap();
        file.end = FileTail::Torn(3);
        assert_eq!(file.append(b"next\n", false), Err(AuditError::Altered { path: file.path.clone() }));
        assert_eq!(std::fs::read(&file.path).unwrap(), b"whole\nnext\nmore");
    }

    #[test]
    fn what_a_disk_failed_with_is_written_again() {
        let home = tempfile::tempdir().unwrap();
        let mut file = begin(home.path());
        file.append(b"first\n", false).unwrap();
        assert_eq!(file.due(), None);
        file.append(b"second\n", true).unwrap();
        file.append(b"third\n", true).unwrap();
        assert!(file.due().is_some());

        let failed = Err(AuditError::Unsynced { path: file.path.clone(), cause: Errno::INVAL });
        fails(&mut file, |file| assert_eq!(file.bring_to_disk(), failed));
        // This stands for what it lost.
        let lost = std::fs::OpenOptions::new().write(true).open(&file.path).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&lost, &[0; 13], 6).unwrap();
        assert!(file.needs_disk());
        // Nothing follows before the disk has all of it.
        file.append(b"fourth\n", true).unwrap();
        assert_eq!((file.due(), file.needs_disk()), (None, false));
        file.append(b"fifth\n", false).unwrap();
        assert_eq!(std::fs::read_to_string(&file.path).unwrap(), "first\nsecond\nthird\nfourth\nfifth\n");
    }

    /// What takes no request of the kind stands for a disk that fails.
    fn fails(file: &mut ChainFile, what: impl FnOnce(&mut ChainFile)) {
        let (pipe, _end) = rustix::pipe::pipe().unwrap();
        let real = std::mem::replace(&mut file.file, pipe);
        what(file);
        file.file = real;
        file.end = FileTail::Clean;
    }

    #[test]
    fn a_disk_that_fails_is_asked_again_later() {
        let home = tempfile::tempdir().unwrap();
        let mut file = begin(home.path());
        file.append(b"line\n", true).unwrap();
        let due = file.due().unwrap();
        fails(&mut file, |file| assert!(file.settle().is_err()));
        assert!(file.due().unwrap() > due + Duration::from_millis(500));
        file.settle().unwrap();
        assert_eq!((file.due(), file.needs_disk()), (None, false));
    }

    #[test]
    fn nothing_follows_while_the_disk_fails() {
        let home = tempfile::tempdir().unwrap();
        let mut file = begin(home.path());
        fails(&mut file, |file| assert!(file.bring_to_disk().is_err()));
        assert!(file.needs_disk() && file.took.is_none());
        file.append(b"line\n", true).unwrap();
        assert_eq!((file.due(), file.needs_disk()), (None, false));
        assert!(file.took.is_some());
    }

    #[test]
    fn a_file_that_is_gone_is_brought_to_disk_once() {
        let home = tempfile::tempdir().unwrap();
        let mut file = begin(home.path());
        file.append(b"line\n", true).unwrap();
        std::fs::remove_file(&file.path).unwrap();
        assert_eq!(file.settle(), Err(AuditError::Gone { path: file.path.clone() }));
        // Nothing is left to do for it, again and again.
        assert_eq!(file.due(), None);
    }

    #[test]
    fn a_disk_never_owes_much() {
        let home = tempfile::tempdir().unwrap();
        let mut file = begin(home.path());
        let line = [b'x'; 100_000];
        for _ in 0..11 {
            file.append(&line, true).unwrap();
        }
        assert!(file.due().is_some());
        file.append(&line, true).unwrap();
        assert_eq!(file.due(), None);
    }
}
