//! All chains of a directory, as they are written: new records of each, new chains, further files, and what does not hold.
//!
//! It only reads, and what it holds does not grow with the record. The kernel says which files have changed; where it cannot,
//! and now and then in any case, all are looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, ErrorKind};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;

use super::series::{self, ChainFiles, Name};
use super::tail::{Left, Tail};
use super::{MAX_LINE, Seen};

/// How often all chains are looked at where the kernel tells of changes: on some file systems it tells of its own only.
const LOOK: Duration = Duration::from_secs(5);

/// How often where it does not.
const POLL: Duration = Duration::from_millis(250);

/// How much of a record is read to find the last lines of it.
const HISTORY: u64 = 32 << 20;

/// How many rounds of reading there are before what was found is given out: so much is held in memory at once.
const ROUNDS: usize = 32;

/// Where following begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// With what is written from now on.
    Now,
    /// With the last records, about so many; of each chain that is still written as many.
    Last(usize),
    /// With the first file of each chain that holds something this young.
    Since(Timestamp),
}

/// What following came upon.
#[derive(Clone, Debug)]
pub enum Followed {
    /// A record.
    Record(Box<Seen>),
    /// Something that is not as it has to be.
    Notice(Notice),
}

/// Where and how a chain is not as it has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The chain.
    pub chain: Arc<str>,
    /// The file's name.
    pub file: String,
    /// The last record before; none: it is not known.
    pub after: Option<u64>,
    /// What it is.
    pub what: NoticeKind,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if let Some(after) = self.after {
            write!(f, ", after record {after}")?;
        }
        write!(f, ": {}", self.what)
    }
}

/// What is wrong. `audit verify` says more of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoticeKind {
    /// A line that cannot be read.
    #[error("a line is no record of a format that this version knows")]
    NotRecord,
    /// A line without an end.
    #[error("a line is longer than {MAX_LINE} bytes, which no record is")]
    TooLong,
    /// A record that was not chained to what stands before it.
    #[error("THE CHAIN IS BROKEN: record {seq} does not follow what stands before it")]
    Link {
        /// The record.
        seq: u64,
    },
    /// Another file has the name.
    #[error("the file was replaced by another one; it is read again")]
    Replaced,
    /// The file is shorter than it was.
    #[error("the file was cut: records that were there are not any more; it is read again")]
    Shortened,
    /// A record is another one than it was.
    #[error("THE RECORD WAS CHANGED: record {seq} is not the one that was here before")]
    Rewritten {
        /// The record.
        seq: u64,
    },
    /// The file is not there.
    #[error("the file is gone, and no signed note says that it was pruned")]
    Gone,
    /// The file is there.
    #[error("the file cannot be read: {cause}")]
    Unreadable {
        /// What the system said.
        cause: ErrorKind,
    },
}

impl NoticeKind {
    /// Somebody has to look at it: the record is not what was written.
    #[must_use]
    pub fn is_alarm(self) -> bool {
        !matches!(self, Self::Unreadable { .. })
    }
}

/// Reads what is written to the chains of a directory.
#[derive(Debug)]
pub struct Follower {
    directory: PathBuf,
    tails: BTreeMap<String, Tail>,
    due: Due,
    watch: Option<OwnedFd>,
    looked: Instant,
    /// That a chain's file cannot be read is told once.
    unreadable: BTreeSet<Arc<str>>,
}

/// Which chains to look at next.
#[derive(Debug)]
enum Due {
    All,
    These(BTreeSet<String>),
}

impl Follower {
    /// Follows the chains of a directory, which need not be there yet.
    ///
    /// # Errors
    /// If the directory is there and cannot be read.
    pub fn open(directory: &Path, from: From) -> io::Result<Self> {
        let mut follower = Self {
            directory: directory.to_owned(),
            tails: BTreeMap::new(),
            due: Due::All,
            watch: None,
            looked: Instant::now(),
            unreadable: BTreeSet::new(),
        };
        // First, so that nothing is missed that comes while the chains are listed.
        follower.watch();
        let chains = follower.chains()?;
        follower.begin(&chains, from);
        Ok(follower)
    }

    /// What has come, oldest first; nothing: there is nothing more for now.
    ///
    /// # Errors
    /// If the directory cannot be read any more.
    pub fn news(&mut self) -> io::Result<Vec<Followed>> {
        let mut due = match std::mem::replace(&mut self.due, Due::These(BTreeSet::new())) {
            Due::These(names) => names,
            Due::All => self.look()?,
        };
        let (mut found, mut rounds) = (Vec::new(), 0);
        while let Some(chain) = due.pop_first() {
            let Some(tail) = self.tails.get_mut(&chain) else { continue };
            if tail.read(&self.directory, &mut found) == Left::More {
                rounds += 1;
                self.is_due(chain);
            }
            if rounds == ROUNDS {
                break;
            }
        }
        for chain in due {
            self.is_due(chain);
        }
        Ok(in_order(self.told_once(found)))
    }

    /// Waits until something may have changed, and not longer than `most`.
    pub fn wait(&mut self, most: Duration) {
        if !matches!(&self.due, Due::These(names) if names.is_empty()) {
            return;
        }
        let pause = if self.watch.is_some() { LOOK } else { POLL };
        let left = pause.saturating_sub(self.looked.elapsed()).min(most);
        match &self.watch {
            Some(watch) => {
                let left = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
                let mut fds = [PollFd::new(watch, PollFlags::IN)];
                // Interrupted or not: what there is is looked at.
                let _ = poll(&mut fds, Some(&left));
                self.note();
            }
            None => std::thread::sleep(left),
        }
        if self.looked.elapsed() >= pause {
            self.due = Due::All;
        }
    }

    /// Takes down which files the kernel says have changed.
    fn note(&mut self) {
        let Some(watch) = &self.watch else { return };
        let mut buffer = [MaybeUninit::uninit(); 16 << 10];
        let mut events = inotify::Reader::new(watch, &mut buffer);
        let mut lost = false;
        let mut changed = Vec::new();
        while let Ok(event) = events.next() {
            if event.events().intersects(ReadFlags::QUEUE_OVERFLOW | ReadFlags::IGNORED | ReadFlags::MOVE_SELF) {
                lost = true;
            }
            let name = event.file_name().and_then(|name| name.to_str().ok());
            changed.extend(name.and_then(|name| Name::of(Path::new(name))));
        }

        if lost {
            (self.watch, self.due) = (None, Due::All);
        }
        for name in changed {
            self.tails.entry(name.stem.clone()).or_insert_with(|| Tail::from_file(&name.stem, name.number));
            self.is_due(name.stem);
        }
    }

    /// Lists the chains, takes up those that are new, and lets go of those that are not there any more.
    fn look(&mut self) -> io::Result<BTreeSet<String>> {
        self.looked = Instant::now();
        if self.watch.is_none() {
            self.watch();
        }
        let chains = self.chains()?;
        let there: BTreeMap<&str, u32> = chains
            .iter()
            .filter_map(|chain| chain.numbered().first_key_value().map(|(number, _)| (chain.stem(), *number)))
            .collect();
        // A chain that is gone stays until that was told.
        self.tails.retain(|stem, tail| there.contains_key(stem.as_str()) || !tail.is_gone());
        for (stem, number) in there {
            self.tails.entry(stem.to_owned()).or_insert_with(|| Tail::from_file(stem, number));
        }
        Ok(self.tails.keys().cloned().collect())
    }

    fn begin(&mut self, chains: &[ChainFiles], from: From) {
        let (mut budget, mut left) = (HISTORY, if let From::Last(lines) = from { lines } else { 0 });
        // Those that are written first: of an old one, what it says now is new.
        let (open, ended): (Vec<_>, Vec<_>) = chains.iter().partition(|chain| chain.open);
        for chain in open.into_iter().rev().chain(ended.into_iter().rev()) {
            let files: Vec<u32> = chain.numbered().keys().copied().collect();
            let stem = chain.stem();
            let since = match from {
                From::Since(since) => files_since(chain, since),
                From::Now | From::Last(_) => None,
            };
            let tail = if let Some(number) = since {
                Tail::from_file(stem, number)
            } else {
                let wanted = match from {
                    From::Last(lines) if chain.open => lines,
                    _ => left,
                };
                let (tail, found) = Tail::from_end(&self.directory, stem, &files, wanted, &mut budget);
                left = left.saturating_sub(found);
                tail
            };
            self.tails.insert(stem.to_owned(), tail);
        }
    }

    fn chains(&self) -> io::Result<Vec<ChainFiles>> {
        match series::chains(&self.directory) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            listed => listed,
        }
    }

    fn is_due(&mut self, chain: String) {
        if let Due::These(names) = &mut self.due {
            names.insert(chain);
        }
    }

    /// Asks the kernel to tell of changes; where it cannot, all chains are looked at more often.
    fn watch(&mut self) {
        let asked = || -> Result<OwnedFd, Errno> {
            let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
            let wanted = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVE;
            inotify::add_watch(&watch, &self.directory, wanted | WatchFlags::MOVE_SELF | WatchFlags::ONLYDIR)?;
            Ok(watch)
        };
        self.watch = asked().ok();
    }

    /// What cannot be read stays so from one look to the next.
    fn told_once(&mut self, mut found: Vec<Followed>) -> Vec<Followed> {
        found.retain(|one| match one {
            Followed::Notice(Notice { chain, what: NoticeKind::Unreadable { .. }, .. }) => {
                self.unreadable.insert(Arc::clone(chain))
            }
            Followed::Notice(_) => true,
            Followed::Record(seen) => {
                self.unreadable.remove(&seen.chain);
                true
            }
        });
        found
    }
}

/// The first file of a chain that was written to at this time or later; `None`: none was.
fn files_since(chain: &ChainFiles, since: Timestamp) -> Option<u32> {
    let is_younger = |path: &PathBuf| {
        let changed = path.metadata().and_then(|about| about.modified()).ok();
        changed.and_then(|changed| Timestamp::try_from(changed).ok()).is_none_or(|changed| changed >= since)
    };
    chain.numbered().iter().find(|(_, path)| is_younger(path)).map(|(number, _)| *number)
}

/// By the time of each, each chain in its own order: a clock that was set back does not turn a chain around.
fn in_order(found: Vec<Followed>) -> Vec<Followed> {
    let mut latest: BTreeMap<Arc<str>, Timestamp> = BTreeMap::new();
    let mut timed: Vec<(Timestamp, Followed)> = Vec::with_capacity(found.len());
    for one in found {
        let (chain, at) = match &one {
            Followed::Record(seen) => (&seen.chain, seen.at),
            Followed::Notice(notice) => (&notice.chain, Timestamp::MIN),
        };
        let latest = latest.entry(Arc::clone(chain)).or_insert(at);
        *latest = at.max(*latest);
        timed.push((*latest, one));
    }
    timed.sort_by_key(|(at, _)| *at);
    timed.into_iter().map(|(_, one)| one).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::string_slice, clippy::indexing_slicing, clippy::panic, reason = "tests")]
mod tests {
    use std::fs;
    use std::io::Write as _;

    use super::super::{Audit, Settings, Sync, sample};
    use super::*;

    /// A record of small files in a directory of its own.
    struct Home {
        directory: tempfile::TempDir,
    }

    impl Home {
        fn new() -> Self {
            Self { directory: tempfile::tempdir().unwrap() }
        }

        fn path(&self) -> &Path {
            self.directory.path()
        }

        fn chain(&self, rotate: u64) -> Audit {
            let settings = Settings { rotate_size: rotate, ..Settings::new(self.path().to_owned(), Sync::None) };
            Audit::open(&settings, sample::start()).unwrap()
        }
    }

    fn say(audit: &Audit, script: &str) {
        audit.append_blocking(sample::decided(audit.request(), script)).unwrap();
    }

    /// All that there is for now.
    fn all(follower: &mut Follower) -> Vec<Followed> {
        let mut all = Vec::new();
        follower.due = Due::All;
        loop {
            let found = follower.news().unwrap();
            if found.is_empty() && matches!(&follower.due, Due::These(names) if names.is_empty()) {
                return all;
            }
            all.extend(found);
        }
    }

    /// Scripts and notices, in the order in which they came.
    fn told(found: &[Followed]) -> Vec<String> {
        let one = |followed: &Followed| match followed {
            Followed::Record(seen) => seen.record.cmd.as_deref().map(str::to_owned),
            Followed::Notice(notice) => Some(format!("{:?}", notice.what)),
        };
        found.iter().filter_map(one).collect()
    }

    #[test]
    fn records_come_as_they_are_written_over_all_chains_and_files() {
        let home = Home::new();
        let mut follower = Follower::open(home.path(), From::Now).unwrap();
        assert!(all(&mut follower).is_empty());
        let (one, other) = (home.chain(4000), home.chain(1 << 20));
        let mut expected = Vec::new();
        let mut seen = Vec::new();
        for number in 0..40 {
            let script = format!("echo {number}");
            say(if number % 3 == 0 { &other } else { &one }, &script);
            expected.push(script);
            if number % 7 == 0 {
                seen.extend(all(&mut follower));
            }
        }
        seen.extend(all(&mut follower));
        let mut scripts = told(&seen);
        scripts.sort_by_key(|script| script[5..].parse::<u32>().unwrap());
        assert_eq!(scripts, expected);
        let files: BTreeSet<PathBuf> = home.path().read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(files.iter().filter(|file| file.to_string_lossy().contains("_0000")).count() > 2, "{files:?}");
    }

    #[test]
    fn the_kernel_tells_of_new_chains_and_of_new_records() {
        let home = Home::new();
        let mut follower = Follower::open(home.path(), From::Now).unwrap();
        assert!(follower.watch.is_some());
        assert!(follower.news().unwrap().is_empty());
        for round in 0..3 {
            let audit = home.chain(1 << 20);
            for number in 0..3 {
                let script = format!("echo {round} {number}");
                say(&audit, &script);
                let mut found = Vec::new();
                let begun = Instant::now();
                while !told(&found).contains(&script) {
                    assert!(begun.elapsed() < LOOK / 2, "the kernel's word was not heard");
                    follower.wait(LOOK);
                    found.extend(follower.news().unwrap());
                }
            }
        }
    }

    #[test]
    fn following_begins_where_it_is_asked_to() {
        let home = Home::new();
        let old = home.chain(4000);
        (0..20).for_each(|number| say(&old, &format!("old {number}")));
        old.append_blocking(sample::stopped()).unwrap();
        let live = home.chain(4000);
        (0..20).for_each(|number| say(&live, &format!("live {number}")));
        let begun = |from| told(&all(&mut Follower::open(home.path(), from).unwrap()));
        assert!(begun(From::Now).is_empty());
        assert_eq!(begun(From::Last(3)), ["live 17", "live 18", "live 19"]);
        // Rotations and signatures are records, too.
        let last = begun(From::Last(40));
        assert!(last.contains(&"live 0".to_owned()) && last.contains(&"old 19".to_owned()), "{last:?}");
        assert!(!last.contains(&"old 5".to_owned()), "{last:?}");
        assert_eq!(begun(From::Last(1000)).len(), 40);
        assert_eq!(begun(From::Since(Timestamp::UNIX_EPOCH)).len(), 40);
        assert!(begun(From::Since(Timestamp::MAX)).is_empty());
    }

    #[test]
    fn a_line_counts_when_its_end_is_there() {
        let home = Home::new();
        let audit = home.chain(1 << 20);
        let mut follower = Follower::open(home.path(), From::Now).unwrap();
        say(&audit, "whole");
        let path = audit.path().to_owned();
        let text = fs::read_to_string(&path).unwrap();
        let at = text.trim_end().rfind('\n').unwrap() + 9;
        fs::write(&path, &text[..at]).unwrap();
        assert!(all(&mut follower).is_empty());
        fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(&text.as_bytes()[at..]).unwrap();
        assert_eq!(told(&all(&mut follower)), ["whole"]);
    }

    #[test]
    fn what_is_not_as_it_was_is_told() {
        type Attack = fn(&Path, &str);
        fn put(path: &Path, text: &str) {
            fs::OpenOptions::new().write(true).truncate(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
        }
        fn another(path: &Path, text: &str) {
            fs::write(path.with_extension("new"), text).unwrap();
            fs::rename(path.with_extension("new"), path).unwrap();
        }
        let attacks: [(&str, Attack, &[&str]); 8] = [
            ("nothing", |_, _| (), &["next"]),
            ("a line put in", |path, text| put(path, &format!("{text}{{}}\n")), &["NotRecord", "next"]),
            (
                "a line without an end",
                |path, text| put(path, &format!("{text}{}\n", "x".repeat(MAX_LINE + 9))),
                &["TooLong", "next"],
            ),
            (
                "the last line once more",
                |path, text| put(path, &format!("{text}{}\n", text.lines().last().unwrap())),
                &["Link { seq: 4 }", "three", "next"],
            ),
            (
                "the last line cut off",
                |path, text| put(path, &text[..=text.trim_end().rfind('\n').unwrap()]),
                &["Shortened", "Link { seq: 5 }", "next"],
            ),
            ("the same text in another file", |path, text| another(path, text), &["Replaced", "next"]),
            (
                "the last record changed",
                |path, text| another(path, &text.replace("three", "third")),
                &["Replaced", "Rewritten { seq: 4 }", "third", "Link { seq: 5 }", "next"],
            ),
            (
                "an earlier record changed",
                |path, text| another(path, &text.replace("two", "owt")),
                &["Replaced", "Link { seq: 4 }", "next"],
            ),
        ];
        for (name, attack, expected) in attacks {
            let (home, aside) = (Home::new(), Home::new());
            let audit = aside.chain(1 << 20);
            let path = home.path().join(audit.path().file_name().unwrap());
            ["one", "two", "three"].iter().for_each(|script| say(&audit, script));
            fs::copy(audit.path(), &path).unwrap();
            let mut follower = Follower::open(home.path(), From::Last(100)).unwrap();
            assert_eq!(told(&all(&mut follower)), ["one", "two", "three"], "{name}");
            let text = fs::read_to_string(&path).unwrap();
            attack(&path, &text);
            let mut found = told(&all(&mut follower));
            say(&audit, "next");
            let after = fs::read_to_string(audit.path()).unwrap();
            let next = &after[text.len()..];
            fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(next.as_bytes()).unwrap();
            found.extend(told(&all(&mut follower)));
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn a_chain_that_begins_in_the_middle_is_checked_from_there() {
        let home = Home::new();
        let audit = home.chain(1 << 20);
        ["one", "two", "three"].iter().for_each(|script| say(&audit, script));
        let text = fs::read_to_string(audit.path()).unwrap().replace("two", "owt");
        for (lines, expected) in [(1, &["three"][..]), (100, &["one", "owt", "Link { seq: 4 }", "three"])] {
            let other = Home::new();
            fs::write(other.path().join(audit.path().file_name().unwrap()), &text).unwrap();
            let mut follower = Follower::open(other.path(), From::Last(lines)).unwrap();
            let found = told(&all(&mut follower));
            // Of what stands before the first line that is shown, its link is known.
            let expected = if lines == 1 { vec!["Link { seq: 4 }", "three"] } else { expected.to_vec() };
            assert_eq!(found, expected, "{lines}");
        }
    }

    #[test]
    fn a_file_that_goes_is_missed_unless_it_was_pruned() {
        for (pruned, expected) in [(false, &["Gone"][..]), (true, &[])] {
            let home = Home::new();
            let audit = home.chain(1 << 20);
            say(&audit, "one");
            let mut follower = Follower::open(home.path(), From::Last(9)).unwrap();
            assert_eq!(told(&all(&mut follower)), ["one"]);
            if pruned {
                fs::write(audit.path().with_extension("pruned"), "").unwrap();
            }
            fs::remove_file(audit.path()).unwrap();
            assert_eq!(told(&all(&mut follower)), expected);
            assert!(all(&mut follower).is_empty());
            assert!(follower.tails.is_empty());
        }
    }

    #[test]
    fn a_directory_that_comes_later_is_followed_and_links_are_not() {
        let home = Home::new();
        let later = home.path().join("later");
        let mut follower = Follower::open(&later, From::Now).unwrap();
        assert!(all(&mut follower).is_empty());
        let audit = Audit::open(&Settings::new(later.clone(), Sync::None), sample::start()).unwrap();
        say(&audit, "one");
        assert_eq!(told(&all(&mut follower)), ["one"]);
        std::os::unix::fs::symlink(audit.path(), later.join("link.jsonl")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, later.join("pipe.jsonl"), rustix::fs::Mode::RUSR).unwrap();
        let found = told(&all(&mut follower));
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found.iter().all(|notice| notice.starts_with("Unreadable")), "{found:?}");
        assert!(told(&all(&mut follower)).is_empty());
    }

    #[test]
    fn a_clock_that_is_set_back_turns_no_chain_around() {
        let home = Home::new();
        let (one, other) = (home.chain(1 << 20), home.chain(1 << 20));
        for number in 0..3 {
            say(&one, &format!("one {number}"));
            say(&other, &format!("other {number}"));
        }
        let mut found = all(&mut Follower::open(home.path(), From::Last(100)).unwrap());
        if let Followed::Record(seen) = &mut found[3] {
            seen.at = Timestamp::UNIX_EPOCH;
        } else {
            panic!("a record");
        }
        let order = |found: &[Followed]| -> Vec<(Arc<str>, u64)> {
            let place = |one: &Followed| match one {
                Followed::Record(seen) => (Arc::clone(&seen.chain), seen.anchor.seq),
                Followed::Notice(_) => panic!("a record"),
            };
            found.iter().map(place).collect()
        };
        let mut seqs: BTreeMap<Arc<str>, u64> = BTreeMap::new();
        for (chain, seq) in order(&in_order(found)) {
            assert!(seqs.insert(chain, seq).is_none_or(|before| before < seq));
        }
    }
}
