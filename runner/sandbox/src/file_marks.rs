//! What earlier sessions have made under names that some other program reads later: settings and hooks of repositories, editors' tasks.
//!
//! A session covers what it finds under such a name, so that its programs cannot change it. What an earlier session has made there is not
//! the work of a person, and a cover would only keep it from being removed or moved: a repository that was cloned to try something, a
//! package that brings such files. So a session leaves marks of what it has made when it ends, and the next ones cover none of that.
//!
//! A mark is of one file for good and of its state: whoever changes it from outside, or puts something into such a directory, makes it
//! another one, which is covered again. Nothing at the top of the workspace is left uncovered for its mark, for that is where a person
//! works, nor what lies in a directory that is there for longer than [`LONGEST`]: it is kept.
//!
//! A file that is named like key material (`.env`) has another mark: of the agent as well, wherever and however old it is. What an agent
//! has written there is open to its later sessions. Other agents are kept from it as from any key.
//!
//! Of a repository that a person has made, a mark can be of one setting: the guard lets git change what git has set in a session.

use std::collections::{HashSet, VecDeque};
use std::fs::{self, Metadata, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use palisade_engine::Principal;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use sha2::{Digest as _, Sha256};

use super::own_settings::Store;
use super::repositories::{NoRepositories, Repositories};

/// Its name in the directory of the record.
const NAME: &str = "made-by-sessions";

/// The directory beside it for settings that sessions alone see.
const OWN_SETTINGS: &str = "settings-of-sessions";

/// Bytes of the file. Where it grows beyond, the older half goes.
const MAX_BYTES: u64 = 1 << 20;

/// Entries of a directory that is marked, with those below it.
const MAX_INSIDE: usize = 1_000;

/// How long a directory is there in which marks count. Its time of birth is the kernel's, and no program can set it.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// Bytes of a file that says where a repository is.
const MAX_LINE: u64 = 4 << 10;

/// Stands before a mark that counts no longer.
const TAKEN_BACK: char = '-';

/// One file in one state: a SHA-256, in hexadecimal digits.
type Mark = String;

/// The marks of one account's sessions.
#[derive(Clone, Debug)]
pub struct Earlier {
    directory: Option<PathBuf>,
    read: Arc<Mutex<CachedMarks>>,
    repositories: Arc<dyn Repositories>,
}

/// Nothing is kept, and no repository is read.
impl Default for Earlier {
    fn default() -> Self {
        Self { directory: None, read: Arc::default(), repositories: Arc::new(NoRepositories) }
    }
}

/// What was read last, and from which state of the file.
#[derive(Debug, Default)]
struct CachedMarks {
    from: Option<(u64, i64, i64)>,
    marks: HashSet<Mark>,
}

impl Earlier {
    /// Those that are kept in this directory, which no session can write to.
    #[must_use]
    pub fn in_directory(directory: &Path) -> Self {
        Self { directory: Some(directory.to_owned()), ..Self::default() }
    }

    /// With this to read repositories by.
    #[must_use]
    pub fn reading(self, repositories: Arc<dyn Repositories>) -> Self {
        Self { repositories, ..self }
    }

    /// What reads repositories.
    #[must_use]
    pub fn repositories(&self) -> &dyn Repositories {
        &*self.repositories
    }

    /// Whether a session has made what lies there, not long ago, and nobody has changed it since.
    pub fn has(&self, place: &Path) -> bool {
        self.has_mark(|| is_new(place).then(|| found(place)).flatten())
    }

    /// Whether a session of this agent was the last to write this file. Its name is one of key material.
    pub fn has_written(&self, principal: &Principal, place: &Path) -> bool {
        self.has_mark(|| written(principal, place, &place.symlink_metadata().ok()?))
    }

    /// Whether a session has given a setting of the repository with this file of settings this value.
    pub fn has_set(&self, file: &Path, name: &str, value: &str) -> bool {
        self.has_mark(|| setting(file, name, value))
    }

    /// Where settings are kept that sessions alone see; none where nothing is kept.
    pub fn own_settings(&self) -> Option<Store> {
        self.directory.as_ref().map(|directory| Store::in_directory(directory.join(OWN_SETTINGS)))
    }

    fn has_mark(&self, mark: impl FnOnce() -> Option<Mark>) -> bool {
        let Some(directory) = &self.directory else { return false };
        let file = directory.join(NAME);
        let Ok(about) = file.metadata() else { return false };
        let from = Some((about.len(), about.mtime(), about.mtime_nsec()));
        // Nothing that holds the lock can fail half-way.
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if read.from != from {
            let text = fs::read_to_string(&file).unwrap_or_default();
            let mut marks = HashSet::new();
            for line in text.lines() {
                match line.strip_prefix(TAKEN_BACK) {
                    Some(mark) => _ = marks.remove(mark),
                    None => _ = marks.insert(line.to_owned()),
                }
            }
            *read = CachedMarks { from, marks };
        }
        !read.marks.is_empty() && mark().is_some_and(|mark| read.marks.contains(&mark))
    }

    /// Whether the repository of which this `.git` is a file, a worktree's or a submodule's, was made by a session.
    pub(super) fn has_repository_of(&self, place: &Path) -> bool {
        let text = line_of(place);
        let named = text.as_ref().and_then(|text| text.strip_prefix("gitdir: "));
        let directory = named.zip(place.parent()).map(|(named, above)| above.join(named.trim_end()));
        directory.is_some_and(|directory| ["commondir", "config"].iter().any(|name| self.has(&directory.join(name))))
    }

    /// Leaves marks of these, as far as they are what `is_own` takes them for and no link leads there: a link could lead to the work of
    /// somebody else.
    ///
    /// # Errors
    /// They cannot be written: then later sessions cover what lies there.
    pub(super) fn add<T>(
        &self,
        places: impl Iterator<Item = (PathBuf, T)>,
        is_own: impl Fn(&T, &Metadata) -> bool,
    ) -> io::Result<()> {
        self.add_marks(places, is_own, mark)
    }

    /// Leaves marks of these files, which are named like key material and were written by sessions of this agent. Otherwise as
    /// [`Self::add`].
    ///
    /// # Errors
    /// They cannot be written: then later sessions cover what lies there.
    pub(super) fn add_written<T>(
        &self,
        principal: &Principal,
        places: impl Iterator<Item = (PathBuf, T)>,
        is_own: impl Fn(&T, &Metadata) -> bool,
    ) -> io::Result<()> {
        self.add_marks(places, is_own, |place, about| written(principal, place, about))
    }

    fn add_marks<T>(
        &self,
        places: impl Iterator<Item = (PathBuf, T)>,
        is_own: impl Fn(&T, &Metadata) -> bool,
        mark: impl Fn(&Path, &Metadata) -> Option<Mark>,
    ) -> io::Result<()> {
        let marked = |(place, known): (PathBuf, T)| {
            let flags = OFlags::PATH | OFlags::CLOEXEC;
            let held = openat2(CWD, &place, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS).ok()?;
            // The file that is held, whatever has that name by now.
            let held = PathBuf::from(format!("/proc/self/fd/{}", held.as_raw_fd()));
            let about = held.metadata().ok()?;
            is_own(&known, &about).then(|| mark(&held, &about)).flatten()
        };
        let marks: HashSet<Mark> = places.filter_map(marked).collect();
        self.leave(&marks.into_iter().collect::<Vec<_>>())
    }

    /// Leaves marks of settings of the repository with this file of settings, and takes back those of what is `unset`: a person may set
    /// the same.
    ///
    /// # Errors
    /// They cannot be written: then later commands keep what this one has set.
    pub(super) fn add_settings(
        &self,
        file: &Path,
        set: &[(String, String)],
        unset: &[(String, String)],
    ) -> io::Result<()> {
        let marks = |settings: &[(String, String)]| -> Vec<Mark> {
            settings.iter().filter_map(|(name, value)| setting(file, name, value)).collect()
        };
        let taken_back = marks(unset).into_iter().map(|mark| format!("{TAKEN_BACK}{mark}"));
        self.leave(&taken_back.chain(marks(set)).collect::<Vec<_>>())
    }

    fn leave(&self, marks: &[Mark]) -> io::Result<()> {
        let Some(directory) = self.directory.as_ref().filter(|_| !marks.is_empty()) else { return Ok(()) };
        let path = directory.join(NAME);
        shorten(&path)?;
        let lines: String = marks.iter().map(|mark| format!("{mark}\n")).collect();
        let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        file.write_all(lines.as_bytes())
    }
}

/// Keeps the newer half of a file that has grown too long. What another server adds meanwhile can be lost: it is covered then.
fn shorten(path: &Path) -> io::Result<()> {
    if path.metadata().map_or(0, |about| about.len()) < MAX_BYTES {
        return Ok(());
    }
    let text = fs::read_to_string(path)?;
    let lines: Vec<&str> = text.lines().collect();
    let kept: String = lines.iter().skip(lines.len() / 2).map(|line| format!("{line}\n")).collect();
    let new = path.with_extension("new");
    fs::write(&new, kept)?;
    fs::rename(&new, path)
}

/// Whether the directory of what lies there was made not long ago.
fn is_new(place: &Path) -> bool {
    let born = place.parent().and_then(|above| above.symlink_metadata().ok()?.created().ok());
    born.is_some_and(|born| born.elapsed().is_ok_and(|age| age < LONGEST))
}

/// The beginning of a regular file; none for anything else, such as a pipe, which could keep the server waiting.
fn line_of(place: &Path) -> Option<String> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(place).ok()?;
    let mut text = String::new();
    file.metadata().ok()?.is_file().then(|| file.take(MAX_LINE).read_to_string(&mut text))?.ok()?;
    Some(text)
}

/// The mark of what lies there, which is no link.
fn found(place: &Path) -> Option<Mark> {
    mark(place, &place.symlink_metadata().ok()?)
}

/// The mark of a file or directory with these attributes; none for what cannot be told for good, or is too much.
fn mark(place: &Path, about: &Metadata) -> Option<Mark> {
    let mut hash = Sha256::new();
    note(&mut hash, Path::new(""), about)?;
    if about.is_dir() {
        let mut open = VecDeque::from([PathBuf::new()]);
        let mut left = MAX_INSIDE;
        while let Some(inner) = open.pop_front() {
            let names = fs::read_dir(place.join(&inner)).ok()?.take(left + 1);
            let mut names: Vec<_> = names.collect::<Result<_, _>>().ok()?;
            names.sort_by_key(fs::DirEntry::file_name);
            left = left.checked_sub(names.len())?;
            for entry in names {
                let inner = inner.join(entry.file_name());
                let about = entry.metadata().ok()?;
                note(&mut hash, &inner, &about)?;
                if about.is_dir() {
                    open.push_back(inner);
                }
            }
        }
    } else if !about.is_file() {
        return None;
    }
    Some(digits(hash))
}

/// The mark of a file that is named like key material and that this agent has written. None for one with more names: another may be a
/// person's.
fn written(principal: &Principal, place: &Path, about: &Metadata) -> Option<Mark> {
    let is_one = about.is_file() && about.nlink() == 1;
    let mark = is_one.then(|| mark(place, about)).flatten()?;
    let mut hash = Sha256::new();
    hash.update(format!("written {:?} {:?} {mark}\0", principal.user, principal.agent));
    Some(digits(hash))
}

/// The mark of a setting: of the directory that holds the file of settings, since git makes that file anew for each change.
fn setting(file: &Path, name: &str, value: &str) -> Option<Mark> {
    let mut hash = Sha256::new();
    let about = file.parent()?.symlink_metadata().ok()?;
    let born = about.created().ok()?.duration_since(UNIX_EPOCH).ok()?;
    hash.update(format!("setting {:?} {:?}\0", (about.dev(), about.ino(), born.as_nanos()), file.file_name()?));
    hash.update(format!("{name}\0{value}\0"));
    Some(digits(hash))
}

fn digits(hash: Sha256) -> Mark {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Takes one file in: a number that is given out again comes with another time of birth, and each change with another time.
fn note(hash: &mut Sha256, name: &Path, about: &Metadata) -> Option<()> {
    let born = about.created().ok()?.duration_since(UNIX_EPOCH).ok()?;
    let told = (about.dev(), about.ino(), born.as_nanos(), about.ctime(), about.ctime_nsec(), about.mode());
    hash.update(format!("{told:?} {}\0", name.display()));
    Some(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_of_a_file_and_of_its_state() {
        let kept = tempfile::tempdir().unwrap();
        let work = tempfile::tempdir().unwrap();
        let earlier = Earlier::in_directory(kept.path());
        let (file, hooks) = (work.path().join("config"), work.path().join("hooks"));
        fs::write(&file, "a").unwrap();
        fs::create_dir_all(hooks.join("below")).unwrap();
        fs::write(hooks.join("below/sample"), "a").unwrap();
        assert!(!earlier.has(&file) && is_new(&file) && !is_new(Path::new("/usr/bin")));
        let all = [file.clone(), hooks.clone(), work.path().join("none")].map(|place| (place, ()));
        earlier.add(all.clone().into_iter(), |(), _| false).unwrap();
        assert!(!earlier.has(&file), "it is not what it is taken for");
        earlier.add(all.into_iter(), |(), _| true).unwrap();
        // Another server reads the same.
        let other = Earlier::in_directory(kept.path());
        for earlier in [&earlier, &other] {
            assert!(earlier.has(&file) && earlier.has(&hooks));
        }
        let moved = work.path().join("moved");
        fs::create_dir(&moved).unwrap();
        // The time of a change is of the kernel's clock, which has ticks.
        std::thread::sleep(std::time::Duration::from_millis(20));
        fs::write(&file, "b").unwrap();
        assert!(!earlier.has(&file), "it was changed");
        fs::write(hooks.join("below/sample"), "b").unwrap();
        assert!(!earlier.has(&hooks), "what lies in it was changed");
        assert!(!Earlier::default().has(&file));
    }

    #[test]
    fn a_mark_of_a_setting_is_of_one_value_in_one_repository() {
        let (kept, work) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let earlier = Earlier::in_directory(kept.path());
        let file = work.path().join("a/config");
        fs::create_dir_all(work.path().join("a")).unwrap();
        fs::create_dir_all(work.path().join("b")).unwrap();
        let set = |value: &str| vec![("remote.p.url".to_owned(), value.to_owned())];
        earlier.add_settings(&file, &set("https://h/p"), &[]).unwrap();
        assert!(earlier.has_set(&file, "remote.p.url", "https://h/p"));
        for (file, name, value) in [
            (&file, "remote.p.url", "https://h/q"),
            (&file, "remote.q.url", "https://h/p"),
            (&work.path().join("b/config"), "remote.p.url", "https://h/p"),
        ] {
            assert!(!earlier.has_set(file, name, value), "{} {name} {value}", file.display());
        }
        fs::rename(work.path().join("a"), work.path().join("old")).unwrap();
        fs::create_dir(work.path().join("a")).unwrap();
        assert!(!earlier.has_set(&file, "remote.p.url", "https://h/p"), "it is another repository");
        assert!(earlier.has_set(&work.path().join("old/config"), "remote.p.url", "https://h/p"), "it was moved");
        earlier.add_settings(&work.path().join("old/config"), &[], &set("https://h/p")).unwrap();
        let old = work.path().join("old/config");
        assert!(!earlier.has_set(&old, "remote.p.url", "https://h/p"), "it is taken back");
        earlier.add_settings(&old, &set("https://h/p"), &[]).unwrap();
        assert!(earlier.has_set(&old, "remote.p.url", "https://h/p"), "it is set anew");
    }

    /// A session could let a link lead to the settings of a person's repository when it ends.
    #[test]
    fn no_mark_is_left_behind_a_link() {
        let (kept, work) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let work = work.path().canonicalize().unwrap();
        fs::create_dir(work.join("theirs")).unwrap();
        fs::write(work.join("theirs/config"), "").unwrap();
        std::os::unix::fs::symlink("theirs", work.join("own")).unwrap();
        std::os::unix::fs::symlink("theirs/config", work.join("link")).unwrap();
        let earlier = Earlier::in_directory(kept.path());
        let places = ["own/config", "link"].map(|name| (work.join(name), ()));
        earlier.add(places.into_iter(), |(), _| true).unwrap();
        assert!(!earlier.has(&work.join("theirs/config")));
    }

    #[test]
    fn what_a_session_has_made_keeps_no_server_waiting() {
        let work = tempfile::tempdir().unwrap();
        let pipe = work.path().join(".git");
        rustix::fs::mkfifoat(CWD, &pipe, Mode::RUSR | Mode::WUSR).unwrap();
        assert_eq!(line_of(&pipe), None);
        let many = work.path().join("many");
        fs::create_dir(&many).unwrap();
        (0..=MAX_INSIDE).for_each(|number| fs::write(many.join(number.to_string()), "").unwrap());
        assert_eq!(found(&many), None);
    }

    #[test]
    fn the_file_of_marks_has_an_end() {
        let kept = tempfile::tempdir().unwrap();
        let file = kept.path().join(NAME);
        let old: String = (0..20_000).map(|number| format!("{number:064}\n")).collect();
        fs::write(&file, old).unwrap();
        let earlier = Earlier::in_directory(kept.path());
        earlier.add(std::iter::once((kept.path().canonicalize().unwrap(), ())), |(), _| true).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        assert_eq!(text.lines().count(), 10_001);
        assert!(text.starts_with(&format!("{:064}\n", 10_000)));
    }
}
