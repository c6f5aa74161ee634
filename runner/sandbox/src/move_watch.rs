//! Whether anything was moved about while it was looked for what has to be covered, and until that was covered.
//!
//! Another session of the same agent may rename a directory while one is being made: out of a place that the search comes to later into
//! one that it has seen, or away from the path that a mask is about to be put on. A mask goes with the file that it stands on; what is
//! moved before that goes without. So every directory is watched before it is listed (inotify(7), Linux 2.6.13), and whoever starts a
//! session asks at the end, before anything of the agent's runs in it.
//!
//! Decided here: whether a search counts. Not decided here: what is looked for (`masks.rs`), and what is done about it.

use std::collections::{HashMap, VecDeque};
use std::ffi::OsStr;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

/// Moves that are remembered for those who ask later. Who asks about older ones is told that there were some.
const REMEMBERED: usize = 1_024;

/// A search that has begun, from the moment when it did.
#[derive(Debug)]
pub struct MoveWatch {
    since: u64,
}

impl MoveWatch {
    /// Everything that is listed from now on is watched, as long as this lives.
    pub fn begin() -> Self {
        let mut watch = lock();
        watch.searches += 1;
        watch.look();
        Self { since: watch.seen }
    }

    /// Whether a directory within `places` that was listed, or lies in one that was, has been moved since, or something else of a name
    /// that counts. Others search elsewhere at the same time.
    ///
    /// # Errors
    /// Some directory could not be watched, so that nobody can tell: the kernel's limits for one user are reached.
    pub fn is_broken(&self, places: &[PathBuf], counts: impl Fn(&Path) -> bool) -> Result<bool, Errno> {
        lock().is_broken(self.since, places, counts)
    }
}

impl Drop for MoveWatch {
    fn drop(&mut self) {
        let mut watch = lock();
        watch.searches -= 1;
        if watch.searches == 0 {
            watch.places = HashMap::new();
            let queue = watch.queue.take();
            // Whoever closes one waits until no processor looks at what it watched any more: 10 to 15 ms on Linux 6.18, of which a session
            // that begins needs none. Where there is no other thread to be had, this one waits.
            let _elsewhere =
                queue.map(|queue| thread::Builder::new().name("watch-end".to_owned()).spawn(|| drop(queue)));
        }
    }
}

/// Watches a directory that is about to be listed, if anybody will ask. Where that cannot be, who asks is told.
pub(super) fn watch(directory: &Path) {
    let mut watch = lock();
    if watch.searches == 0 {
        return;
    }
    watch.add(directory);
}

/// What moved.
#[derive(Debug)]
struct Moved {
    /// Where it was, or where it is now.
    path: PathBuf,
    /// It takes with it whatever it holds.
    is_directory: bool,
}

/// One for all searches, since the kernel gives a user few queues.
#[derive(Default)]
struct WatchQueue {
    queue: Option<OwnedFd>,
    places: HashMap<i32, PathBuf>,
    searches: usize,
    moves: VecDeque<(u64, Moved)>,
    /// How many there were.
    seen: u64,
    /// The last of those that nobody remembers.
    forgotten: u64,
    /// When a directory could not be watched, as if that were one of them, and why.
    refused: Option<(u64, Errno)>,
}

static WATCH: LazyLock<Mutex<WatchQueue>> = LazyLock::new(Mutex::default);

fn lock() -> MutexGuard<'static, WatchQueue> {
    // Nothing that holds it can fail half-way.
    WATCH.lock().unwrap_or_else(PoisonError::into_inner)
}

impl WatchQueue {
    fn add(&mut self, directory: &Path) {
        if let Err(errno) = self.try_add(directory) {
            self.seen += 1;
            self.refused = Some((self.seen, errno));
        }
    }

    fn try_add(&mut self, directory: &Path) -> Result<(), Errno> {
        let queue = match &mut self.queue {
            Some(queue) => queue,
            none => none.insert(inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?),
        };
        let what = WatchFlags::MOVED_FROM | WatchFlags::MOVED_TO | WatchFlags::MOVE_SELF;
        match inotify::add_watch(queue, directory, what | WatchFlags::ONLYDIR | WatchFlags::DONT_FOLLOW) {
            Ok(number) => {
                self.places.insert(number, directory.to_owned());
                Ok(())
            }
            // Whoever lists it is told the same.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS | Errno::LOOP) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    fn is_broken(&mut self, since: u64, places: &[PathBuf], counts: impl Fn(&Path) -> bool) -> Result<bool, Errno> {
        self.look();
        let is_new = |at: u64| at > since;
        if let Some((_, errno)) = self.refused.filter(|(at, _)| is_new(*at)) {
            return Err(errno);
        }
        let within = |path: &Path| places.iter().any(|place| path.starts_with(place));
        let counts = |moved: &Moved| within(&moved.path) && (moved.is_directory || counts(&moved.path));
        Ok(is_new(self.forgotten) || self.moves.iter().any(|(at, moved)| is_new(*at) && counts(moved)))
    }

    /// Takes over what the kernel has to tell.
    fn look(&mut self) {
        let Some(queue) = &self.queue else { return };
        let mut room = [MaybeUninit::uninit(); 4096];
        let mut events = Reader::new(queue, &mut room);
        loop {
            match events.next() {
                Ok(event) => {
                    let flags = event.events();
                    let moved = ReadFlags::MOVED_FROM | ReadFlags::MOVED_TO | ReadFlags::MOVE_SELF;
                    if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
                        self.seen += 1;
                        self.forgotten = self.seen;
                    } else if flags.intersects(moved) {
                        self.seen += 1;
                        let is_directory = flags.intersects(ReadFlags::ISDIR | ReadFlags::MOVE_SELF);
                        let name = event.file_name().map_or(OsStr::new(""), |name| OsStr::from_bytes(name.to_bytes()));
                        match self.places.get(&event.wd()) {
                            Some(place) if name.is_empty() => {
                                self.moves.push_back((self.seen, Moved { path: place.clone(), is_directory }));
                            }
                            Some(place) => {
                                self.moves.push_back((self.seen, Moved { path: place.join(name), is_directory }))
                            }
                            None => self.forgotten = self.seen,
                        }
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(_) => {
                    self.seen += 1;
                    self.forgotten = self.seen;
                    break;
                }
            }
        }
        while self.moves.len() > REMEMBERED {
            self.forgotten = self.moves.pop_front().map_or(self.forgotten, |(at, _)| at.max(self.forgotten));
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::fs;

    use super::*;

    fn named(path: &Path) -> bool {
        path.ends_with(".env")
    }

    #[test]
    fn moves_break_a_search_and_nothing_else_does() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        let rows: [(&str, &dyn Fn(), bool); 7] = [
            ("a directory", &|| fs::rename(path("a"), path("c")).unwrap(), true),
            ("into one that is watched", &|| fs::rename(path("a/deep"), path("b/deep")).unwrap(), true),
            ("out of it", &|| fs::rename(path("b/.env"), path("a/deep/x")).unwrap(), true),
            ("to a name that counts", &|| fs::rename(path("b/file"), path("b/.env")).unwrap(), true),
            ("the root", &|| fs::rename(path(""), path("").with_extension("x")).unwrap(), true),
            ("a file of another name", &|| fs::rename(path("b/file"), path("b/other")).unwrap(), false),
            (
                "made, changed and removed",
                &|| {
                    fs::write(path("b/new"), "x").unwrap();
                    fs::create_dir(path("b/newer")).unwrap();
                    fs::remove_file(path("b/.env")).unwrap();
                },
                false,
            ),
        ];
        for (what, happens, breaks) in rows {
            for name in ["a/deep", "b"] {
                fs::create_dir_all(path(name)).unwrap();
            }
            for name in ["b/.env", "b/file"] {
                fs::write(path(name), "x").unwrap();
            }
            let earlier = MoveWatch::begin();
            for name in ["", "a", "b"] {
                watch(&path(name));
            }
            let (here, elsewhere) = ([path("")], [path("").with_extension("y")]);
            assert_eq!(earlier.is_broken(&here, named), Ok(false), "{what}: before");
            happens();
            let later = MoveWatch::begin();
            assert_eq!(
                (earlier.is_broken(&here, named), later.is_broken(&here, named)),
                (Ok(breaks), Ok(false)),
                "{what}"
            );
            assert_eq!(earlier.is_broken(&elsewhere, named), Ok(false), "{what}: elsewhere");
            let moved = path("").with_extension("x");
            if moved.exists() {
                fs::rename(moved, path("")).unwrap();
            }
            for name in ["a", "b", "c"] {
                let _there = fs::remove_dir_all(path(name));
            }
        }
    }
    /// Nothing is taken for still that nobody could watch.
    #[test]
    fn what_cannot_be_watched_is_an_error() {
        let mut watch = WatchQueue::default();
        watch.add(Path::new(&"x/".repeat(4096)));
        assert_eq!(watch.is_broken(0, &[], named), Err(Errno::NAMETOOLONG));
        assert_eq!(watch.is_broken(watch.seen, &[], named), Ok(false));
    }
}
