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
mod tests;
