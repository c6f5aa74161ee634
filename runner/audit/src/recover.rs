//! What a process that died left of its chain: found at the next start, set right where that loses nothing, and recorded.
//!
//! While a chain is written a mark lies beside it, locked by its writer. A mark that nobody holds is of a writer that
//! died. Then its chain is walked over: an unfinished last line is set aside as `FILE.torn` and cut off, after the record of
//! it is durable in the finder's own chain; anything else that does not hold is evidence and stays as it is. Nothing is
//! ever added to a chain by anybody but its writer.

use std::fs::File;
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{self, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use serde::Serialize;

use super::key::write_all;
use super::series::ChainFiles;
use super::sink;
use super::verify::{ChainWalk, place};
use super::{Anchor, AuditError, BrokenKind, Digest, Expected, Id, MAX_LINE, Term};

/// A chain whose writer ended without a word, as the next process found it.
#[derive(Clone, Debug, Serialize)]
pub struct Crashed {
    cause: Term,
    /// The file that was written last.
    file: Id,
    /// Its last whole record; none: there is not one.
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<Anchor>,
    /// The unfinished line behind it.
    #[serde(skip_serializing_if = "Option::is_none")]
    torn: Option<Torn>,
    /// The first record that does not hold. Nothing was done to the file then.
    #[serde(skip_serializing_if = "Option::is_none")]
    broken: Option<u64>,
}

/// What was cut off, and where it was put.
#[derive(Clone, Debug, Serialize)]
struct Torn {
    file: Id,
    bytes: u64,
    sha256: Digest,
}

/// The mark beside a chain that is written, held for as long as it is.
#[derive(Debug)]
pub(super) struct Mark {
    file: OwnedFd,
    path: PathBuf,
}

impl Mark {
    /// Marks a chain. [`Errno::AGAIN`]: it is marked already.
    pub(super) fn set(directory: &Path, opened: &OwnedFd, stem: &str) -> Result<Self, Errno> {
        let name = format!("{stem}.open");
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = fs::openat(opened, &name, flags, Mode::RUSR | Mode::WUSR)?;
        let mark = Self { file, path: directory.join(name) };
        fs::flock(&mark.file, FlockOperation::NonBlockingLockExclusive)?;
        // Whoever looked between the two calls took it for one that was left, and away.
        if fs::fstat(&mark.file)?.st_nlink == 0 { Err(Errno::AGAIN) } else { Ok(mark) }
    }

    /// The mark of a writer that is gone; `None`: it lives, or somebody else looks after it.
    fn left(directory: &Path, stem: &str) -> Option<Self> {
        let path = directory.join(format!("{stem}.open"));
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = fs::open(&path, flags, Mode::empty()).ok()?;
        fs::flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
        (fs::fstat(&file).ok()?.st_nlink > 0).then_some(Self { file, path })
    }

    /// The chain needs nobody's care any more.
    pub(super) fn clear(&self) {
        let _ = fs::unlink(&self.path);
    }
}

/// Looks after all chains whose writers are gone. `record` makes its argument durable. What cannot be set right is
/// logged and tried again at the next start.
///
/// # Errors
/// That of `record`, or that the chains cannot be listed.
pub(super) fn recover(
    directory: &Path,
    own: &str,
    mut record: impl FnMut(Crashed) -> Result<(), AuditError>,
) -> Result<(), AuditError> {
    let chains = sink::all(directory)?;
    for chain in chains.iter().filter(|chain| chain.open && chain.stem() != own) {
        let Some(mark) = Mark::left(directory, chain.stem()) else { continue };
        match settle(chain, &mut record) {
            Ok(()) => mark.clear(),
            Err(Unsettled::Record(error)) => return Err(error),
            Err(Unsettled::File(path, error)) => {
                tracing::warn!(file = %path.display(), %error, "what a process left that died cannot be set right");
            }
        }
    }
    Ok(())
}

/// Why a chain stays as it is for now.
enum Unsettled {
    Record(AuditError),
    File(PathBuf, io::Error),
}

fn settle(chain: &ChainFiles, record: &mut impl FnMut(Crashed) -> Result<(), AuditError>) -> Result<(), Unsettled> {
    let Some((number, path)) = chain.numbered().last_key_value() else { return Ok(()) };
    let failed = |error| Unsettled::File(path.clone(), error);
    let found = look(path, *number).map_err(failed)?;
    // What is said of it holds after a loss of power too: its process need not have asked the disk for its last lines.
    File::open(path).and_then(|file| file.sync_data()).map_err(failed)?;
    let name = |path: &Path| path.file_name().and_then(|name| name.to_str()).and_then(Id::new);
    let mut crashed = Crashed {
        cause: Term::new("crash"),
        file: name(path).unwrap_or_else(Id::unknown),
        last: Some(found.head).filter(|head| head.seq > 0),
        torn: None,
        broken: found.broken,
    };
    if let Some((whole, torn)) = &found.torn {
        let aside = set_aside(path, torn).map_err(failed)?;
        crashed.torn = Some(Torn {
            file: name(&aside).unwrap_or_else(Id::unknown),
            bytes: torn.len() as u64,
            sha256: Digest::of(torn),
        });
        record(crashed).map_err(Unsettled::Record)?;
        return cut(path, *whole).map_err(failed);
    }
    record(crashed).map_err(Unsettled::Record)
}

/// What there is of the last file of a chain.
struct LastFile {
    head: Anchor,
    /// Where an unfinished line begins, and the line.
    torn: Option<(u64, Vec<u8>)>,
    broken: Option<u64>,
}

fn look(path: &Path, number: u32) -> io::Result<LastFile> {
    let expected = Expected::default();
    let mut walk = ChainWalk::new(&expected);
    walk.next_file(Some(number));
    let mut file = File::open(path)?;
    let walked = walk.through(BufReader::with_capacity(1 << 20, &file), |_, _| ());
    let mut found = LastFile { head: walk.head(), torn: None, broken: None };
    match walked {
        Ok(()) if walk.head().seq > 0 => {}
        // No line at all: what it would have been is nothing.
        Ok(()) => found.torn = Some((0, Vec::new())),
        Err(broken) => match broken.what {
            BrokenKind::Torn { .. } => {
                let mut torn = Vec::new();
                file.seek(SeekFrom::Start(broken.offset))?;
                (&file).take(MAX_LINE as u64 + 1).read_to_end(&mut torn)?;
                found.torn = Some((broken.offset, torn));
            }
            BrokenKind::Unreadable { cause } => return Err(cause.into()),
            _ => found.broken = Some(broken.record),
        },
    }
    Ok(found)
}

/// Puts the torn line beside its file. One that an earlier try put there is the same.
fn set_aside(path: &Path, torn: &[u8]) -> io::Result<PathBuf> {
    let aside = PathBuf::from(format!("{}.torn", path.display()));
    if std::fs::read(&aside).is_ok_and(|there| there == torn) {
        return Ok(aside);
    }
    let new = PathBuf::from(format!("{}.torn-new", path.display()));
    match fs::unlink(&new) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(cause) => return Err(cause.into()),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = fs::open(&new, flags, Mode::RUSR | Mode::WUSR)?;
    write_all(&file, torn)?;
    fs::fsync(&file)?;
    fs::renameat_with(fs::CWD, &new, fs::CWD, &aside, fs::RenameFlags::NOREPLACE)?;
    sync_directory(path)?;
    Ok(aside)
}

/// Cuts the file to its whole lines. A file without one goes: an empty chain looks like one that was cut off.
fn cut(path: &Path, whole: u64) -> io::Result<()> {
    if whole == 0 {
        fs::unlink(path)?;
    } else {
        let file = fs::open(path, OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        fs::ftruncate(&file, whole)?;
        fs::fsync(&file)?;
    }
    sync_directory(path)
}

fn sync_directory(file: &Path) -> io::Result<()> {
    let directory = file.parent().unwrap_or(Path::new("."));
    let opened = fs::open(directory, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    Ok(fs::fsync(&opened)?)
}

/// The last whole line of a file, as it says itself. `None` if it is no record.
pub(super) fn last_line(path: &Path) -> io::Result<Option<Anchor>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut reach = 1 << 16;
    loop {
        let start = length.saturating_sub(reach);
        let mut tail = Vec::new();
        file.seek(SeekFrom::Start(start))?;
        (&file).take(length - start).read_to_end(&mut tail)?;
        let end = tail.iter().rposition(|byte| *byte == b'\n');
        let whole = end.and_then(|end| tail.get(..end)).unwrap_or_default();
        let begin = whole.iter().rposition(|byte| *byte == b'\n');
        if begin.is_some() || start == 0 {
            let line = end.and_then(|end| tail.get(begin.map_or(0, |begin| begin + 1)..=end)).unwrap_or_default();
            return Ok(place(line).map(|(seq, _)| Anchor { seq, head: Digest::of(line) }));
        }
        if reach > 2 * MAX_LINE as u64 {
            return Ok(None);
        }
        reach *= 4;
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::super::sample::{self, check};
    use super::super::{Audit, AuditSettings, Sync, verify_directory};
    use super::*;

    fn settings(directory: &Path) -> AuditSettings {
        AuditSettings::new(directory.to_owned(), Sync::None)
    }

    /// A chain whose writer has died, as its file's bytes.
    fn dead(directory: &Path) -> (PathBuf, Vec<u8>) {
        let audit = Audit::open(&settings(directory), sample::start()).unwrap();
        for _ in 0..3 {
            audit.append_blocking(sample::decided(audit.request(), "make")).unwrap();
        }
        let path = audit.path().to_owned();
        drop(audit);
        // Its thread lets go of the mark in its own time.
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        while Mark::left(directory, &stem).is_none() {
            std::thread::yield_now();
        }
        let text = std::fs::read(&path).unwrap();
        (path, text)
    }

    fn recovered(directory: &Path) -> Vec<serde_json::Value> {
        let mut all = Vec::new();
        recover(directory, "", |crashed| {
            all.push(serde_json::to_value(crashed).unwrap());
            Ok(())
        })
        .unwrap();
        all
    }

    #[test]
    fn a_file_that_was_cut_at_any_byte_loses_nothing_but_an_unfinished_line() {
        // In memory: what it does to a disk it does some thousand times.
        let home = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let (path, text) = dead(home.path());
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let aside = PathBuf::from(format!("{}.torn", path.display()));
        let ends: Vec<usize> = (1..=text.len()).filter(|end| text[end - 1] == b'\n').collect();
        // The last three records, each boundary between them included, and the beginning of the first.
        for cut in (0..40).chain(ends[0] - 2..=text.len()) {
            std::fs::write(&path, &text[..cut]).unwrap();
            std::fs::write(home.path().join(format!("{stem}.open")), "").unwrap();
            let whole = ends.iter().copied().filter(|end| *end <= cut).max().unwrap_or(0);
            let records = ends.iter().filter(|end| **end <= cut).count();
            let told = recovered(home.path());
            assert_eq!(told.len(), 1, "{cut}");
            assert_eq!(
                (told[0]["cause"].as_str(), told[0]["last"]["seq"].as_u64().unwrap_or(0)),
                (Some("crash"), records as u64),
                "{cut}"
            );
            if whole == cut && whole > 0 {
                assert_eq!(told[0].get("torn"), None, "{cut}");
                assert!(!aside.exists());
            } else {
                let torn = &told[0]["torn"];
                assert_eq!(std::fs::read(&aside).unwrap(), &text[whole..cut], "{cut}");
                assert_eq!(torn["sha256"], Digest::of(&text[whole..cut]).to_string(), "{cut}");
                assert_eq!(torn["bytes"], (cut - whole) as u64, "{cut}");
                std::fs::remove_file(&aside).unwrap();
            }
            if whole == 0 {
                assert!(!path.exists(), "{cut}");
            } else {
                assert_eq!(std::fs::read(&path).unwrap(), &text[..whole], "{cut}");
                assert_eq!(check(&path, None).unwrap().records, records as u64, "{cut}");
                let end = last_line(&path).unwrap().unwrap();
                assert_eq!(
                    (end.seq, told[0]["last"]["head"].as_str()),
                    (records as u64, Some(end.head.to_string().as_str()))
                );
            }
            // It is told once.
            assert_eq!(recovered(home.path()).len(), 0, "{cut}");
        }
    }

    #[test]
    fn a_recovery_that_is_cut_short_itself_is_done_again() {
        let home = tempfile::tempdir().unwrap();
        let (path, text) = dead(home.path());
        let torn = &text[..text.len() - 9];
        std::fs::write(&path, torn).unwrap();
        // The line is aside already, but nothing is on record: nothing is cut off.
        let error = AuditError::OutOfPlace { path: path.clone() };
        assert_eq!(recover(home.path(), "", |_| Err(error.clone())), Err(error.clone()));
        assert_eq!(std::fs::read(&path).unwrap(), torn);
        let told = recovered(home.path());
        assert_eq!(told.len(), 1);
        assert!(told[0].get("torn").is_some());
        assert_eq!(check(&path, None).unwrap().records, 3);
    }

    #[test]
    fn what_does_not_hold_is_told_and_left_as_it_is() {
        let changes: [fn(&mut Vec<u8>); 4] = [
            |text| text[300] ^= 1,
            |text| text.extend_from_slice(b"{}\n"),
            |text| text.extend_from_slice(b"\0\0\0\0\n"),
            |text| {
                let half = text.len() / 2;
                text[half..].fill(0);
                text.push(b'\n');
            },
        ];
        for change in changes {
            let home = tempfile::tempdir().unwrap();
            let (path, mut text) = dead(home.path());
            change(&mut text);
            std::fs::write(&path, &text).unwrap();
            let told = recovered(home.path());
            assert!(told[0]["broken"].as_u64().is_some(), "{told:?}");
            assert_eq!(std::fs::read(&path).unwrap(), text);
            assert!(!PathBuf::from(format!("{}.torn", path.display())).exists());
        }
    }

    #[test]
    fn the_next_start_puts_a_crash_on_record_and_a_living_writer_is_left_alone() {
        let home = tempfile::tempdir().unwrap();
        let alive = Audit::open(&settings(home.path()), sample::start()).unwrap();
        let (path, text) = dead(home.path());
        std::fs::write(&path, &text[..text.len() - 9]).unwrap();
        let next = Audit::open(&settings(home.path()), sample::start()).unwrap();
        let told = std::fs::read_to_string(next.path()).unwrap();
        let told: Vec<serde_json::Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(told.len(), 2, "{told:?}");
        assert_eq!(
            (&told[1]["kind"], &told[1]["last"]["seq"], &told[1]["cause"]),
            (&"recovered".into(), &3.into(), &"crash".into())
        );
        alive.append_blocking(sample::stopped()).unwrap();
        next.append_blocking(sample::stopped()).unwrap();
        let mut all = Vec::new();
        verify_directory(home.path(), &[], |_, found| {
            all.push(found.map_err(|fault| fault.to_string()).unwrap().unwrap().complete);
            true
        })
        .unwrap();
        all.sort_unstable();
        assert_eq!(all, [false, true, true]);
        // A writer that ends leaves no mark.
        let marks = std::fs::read_dir(home.path()).unwrap().flatten();
        assert_eq!(marks.filter(|entry| entry.path().extension().is_some_and(|it| it == "open")).count(), 0);
    }

    #[test]
    fn one_chain_has_one_writer() {
        let home = tempfile::tempdir().unwrap();
        let opened: OwnedFd = File::open(home.path()).unwrap().into();
        let mark = Mark::set(home.path(), &opened, "a").unwrap();
        assert_eq!(Mark::set(home.path(), &opened, "a").unwrap_err(), Errno::EXIST);
        assert!(Mark::left(home.path(), "a").is_none());
        drop(mark);
        assert!(Mark::left(home.path(), "a").is_some());
    }
}
