//! Keeps the masks of living sessions on: what appears from outside under a name that policy forbids is covered at once.
//!
//! An editor saves a file by putting another in its place, and the mask goes with the old one; or a file of such a name is made while a
//! session lives. So the directories that sessions can change are watched (inotify(7)), by one thread for all sessions of the server. What
//! appears is looked at, and covered in each session that it is not the own file of, in some milliseconds; before each command once more,
//! without waiting. A session in which something cannot be covered is ended.
//!
//! A file is often made empty and written then. So before each command the masks of files that turn out to hold nothing secret are taken off.
//!
//! The watch begins a little after a session does: most sessions are over by then. It first looks at all that is there.
//!
//! Decided here: when names are looked at. Not decided here: what becomes of them (`names.rs`), and how a mask is put on (`enforce.rs`).

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ffi::{CString, OsStr};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, Once, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::fs::{FileType, RawDir};
use rustix::io::Errno;

use super::enforce::{self, LiveView};
use super::masks::open_directory;
use super::names::Names;
use super::plan::Cover;
use super::process::Process;

/// How long a session lives before it is watched.
const LATER: Duration = Duration::from_millis(30);

/// Directories that are watched at most. In others masks stand as they stood when the session started.
const MAX_WATCHED: usize = 100_000;

/// Directories that a command waits for: new ones, which are looked through before it begins.
const MAX_BEFORE: usize = 10_000;

/// Directories that are looked through before what was found in them is covered.
const TOGETHER: usize = 64;

/// A session that is watched as long as this lives.
#[derive(Debug)]
pub struct Keeper(Arc<WatchedSession>);

#[derive(Debug)]
struct WatchedSession {
    names: Arc<Names>,
    view: Arc<LiveView>,
    process: Weak<Process>,
    roots: Vec<PathBuf>,
    due: Instant,
    /// A program has opened the empty file that stands for files of variables.
    found_empty: AtomicBool,
}

impl Keeper {
    /// Watches for a session; none where it has no view of its own, and so no masks.
    pub fn of(process: &Arc<Process>, names: Arc<Names>) -> Option<Self> {
        let view = process.view.clone()?;
        names.has_view(&view);
        let roots = names.roots();
        let due = Instant::now() + LATER;
        let process = Arc::downgrade(process);
        let kept = Arc::new(WatchedSession { names, view, process, roots, due, found_empty: AtomicBool::new(false) });
        let mut state = lock();
        state.watch_variables(&kept);
        state.waiting.push(Arc::clone(&kept));
        if !state.lives {
            let thread = thread::Builder::new().name("palisade-masks".to_owned()).spawn(live);
            state.lives = thread.is_ok();
        } else {
            state.ring();
        }
        drop(state);
        Some(Self(kept))
    }

    /// A command is about to begin: what has appeared by now is covered first. Not the first command of a session, for which the search
    /// at its start has just been made.
    pub fn catch_up(&self) {
        lock().catch_up(&self.0);
        cover(&self.0, self.0.names.taken_over());
        uncover(&self.0);
        self.0.names.show_new_settings();
    }

    /// A command has ended. Returns the files of variables that are covered, if its programs have opened one of them and found it empty.
    pub fn settle(&self) -> Vec<PathBuf> {
        lock().look();
        cover(&self.0, self.0.names.settle());
        if self.0.found_empty.swap(false, Ordering::Relaxed) { self.0.names.empty_files() } else { Vec::new() }
    }
}

/// Whether the session that this process leads has made the file that is at `place` under a name that policy forbids.
pub fn is_own(shell: i32, place: &Path) -> bool {
    let mut state = lock();
    let is_it = |kept: &&Arc<WatchedSession>| kept.process.upgrade().is_some_and(|process| process.is_led_by(shell));
    let Some(kept) = state.waiting.iter().chain(&state.sessions).find(is_it).cloned() else { return false };
    state.catch_up(&kept);
    kept.names.is_own(place)
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let mut state = lock();
        let others = |kept: &Arc<WatchedSession>| !Arc::ptr_eq(kept, &self.0);
        state.waiting.retain(others);
        state.sessions.retain(others);
        state.again.retain(others);
        state.forget_variables(&self.0);
        state.ring();
        drop(state);
        self.0.names.leave_marks();
    }
}

#[derive(Default)]
struct KeeperState {
    /// The thread runs.
    lives: bool,
    /// Wakes it.
    bell: Option<Arc<OwnedFd>>,
    queue: Option<Arc<OwnedFd>>,
    places: HashMap<i32, PathBuf>,
    numbers: BTreeMap<PathBuf, i32>,
    /// The empty files that stand for files of variables.
    variables: HashMap<i32, Weak<WatchedSession>>,
    /// Sessions that are not yet watched for.
    waiting: Vec<Arc<WatchedSession>>,
    sessions: Vec<Arc<WatchedSession>>,
    /// Directories that are to be looked through: whole roots, and such as have appeared.
    roots: VecDeque<PathBuf>,
    new: VecDeque<PathBuf>,
    /// Sessions whose masks are looked at once more when all their directories are watched: one may have fallen off before that.
    again: Vec<Arc<WatchedSession>>,
}

static STATE: LazyLock<Mutex<KeeperState>> = LazyLock::new(Mutex::default);

/// Commands and sessions that wait for the state.
static AWAITED: AtomicUsize = AtomicUsize::new(0);

/// For a command or a session, which the thread lets in before it goes on.
fn lock() -> MutexGuard<'static, KeeperState> {
    AWAITED.fetch_add(1, Ordering::Relaxed);
    let state = take();
    AWAITED.fetch_sub(1, Ordering::Relaxed);
    state
}

/// For the thread that covers names. A mutex lets in whoever comes first, not whoever has waited longest. If the thread took it again at
/// once, it would keep commands out while a session moves directories about.
fn lock_last() -> MutexGuard<'static, KeeperState> {
    let begun = Instant::now();
    while AWAITED.load(Ordering::Relaxed) > 0 && begun.elapsed() < LATER {
        thread::sleep(Duration::from_micros(100));
    }
    take()
}

fn take() -> MutexGuard<'static, KeeperState> {
    // Nothing that holds it can fail half-way.
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The thread. It ends with the last session.
fn live() {
    loop {
        let mut state = lock_last();
        if state.sessions.is_empty() && state.waiting.is_empty() {
            let ended = std::mem::take(&mut *state);
            drop(state);
            // Whoever closes the queue waits for the kernel.
            drop(ended);
            return;
        }
        let now = Instant::now();
        state.admit(|kept| kept.due <= now);
        state.look();
        state.walk_new(usize::MAX);
        // One at a time, so that a command that begins does not wait for a large tree.
        let more = state.walk_root();
        let due = state.waiting.iter().map(|kept| kept.due).min();
        let (queue, bell) = (state.queue.clone(), state.bell());
        drop(state);
        if more {
            continue;
        }
        let patience = due.map(|due| due.saturating_duration_since(Instant::now()) + Duration::from_millis(1));
        let patience = patience.and_then(|patience| Timespec::try_from(patience).ok());
        let mut polled: Vec<PollFd<'_>> =
            [queue.as_ref(), bell.as_ref()].into_iter().flatten().map(|fd| PollFd::new(&**fd, PollFlags::IN)).collect();
        let waited = poll(&mut polled, patience.as_ref());
        if let Some(bell) = &bell {
            let _rung = rustix::io::read(&**bell, &mut [0_u8; 8]);
        }
        if !matches!(waited, Ok(_) | Err(Errno::INTR)) {
            thread::sleep(LATER);
        }
    }
}

/// What has appeared.
struct Appeared {
    place: PathBuf,
    is_directory: bool,
    /// It may have taken the place of something that was covered.
    replaced: bool,
}

impl KeeperState {
    fn bell(&mut self) -> Option<Arc<OwnedFd>> {
        if self.bell.is_none() {
            self.bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).ok().map(Arc::new);
        }
        self.bell.clone()
    }

    fn catch_up(&mut self, session: &Arc<WatchedSession>) {
        let is_it = |kept: &Arc<WatchedSession>| Arc::ptr_eq(kept, session);
        if self.waiting.iter().any(is_it) {
            self.admit(is_it);
        }
        // The thread may have begun to watch for it, and not be through with all that it can reach: of what has changed there, no event
        // tells.
        if self.again.iter().any(is_it) {
            self.walk_all();
        }
        self.look();
        self.walk_new(MAX_BEFORE);
    }

    fn ring(&mut self) {
        if let Some(bell) = self.bell() {
            let _rung = rustix::io::write(&*bell, &1_u64.to_ne_bytes());
        }
    }

    /// Begins to watch for sessions, and looks at all that they can reach, as it may have changed since they started.
    fn admit(&mut self, is_due: impl Fn(&Arc<WatchedSession>) -> bool) {
        let (due, waiting): (Vec<_>, Vec<_>) = std::mem::take(&mut self.waiting).into_iter().partition(is_due);
        self.waiting = waiting;
        for kept in due {
            let fallen = kept.names.masked();
            self.roots.extend(kept.roots.iter().cloned());
            self.sessions.push(Arc::clone(&kept));
            self.again.push(Arc::clone(&kept));
            cover(&kept, fallen);
        }
    }

    fn walk_all(&mut self) {
        while self.walk_root() {}
    }

    fn walk_root(&mut self) -> bool {
        let Some(place) = self.roots.pop_front() else {
            for kept in std::mem::take(&mut self.again) {
                cover(&kept, kept.names.masked());
            }
            return false;
        };
        let appeared = self.list(&place, true);
        self.appeared(&appeared);
        true
    }

    /// Looks through directories that have appeared. What is found in some of them is covered at once: for each time a process is made.
    fn walk_new(&mut self, most: usize) {
        let mut left = most;
        while left > 0 && !self.new.is_empty() {
            let mut appeared = Vec::new();
            for _ in 0..left.min(TOGETHER) {
                let Some(place) = self.new.pop_front() else { break };
                left -= 1;
                appeared.append(&mut self.list(&place, false));
            }
            self.appeared(&appeared);
        }
    }

    /// Watches a directory and tells the names in it that may count; its directories are looked through later.
    fn list(&mut self, place: &Path, is_root: bool) -> Vec<Appeared> {
        self.watch(place);
        let mut appeared = Vec::new();
        let Ok(directory) = open_directory(place) else { return appeared };
        let mut room = [MaybeUninit::uninit(); 32 << 10];
        let mut entries = RawDir::new(&directory, &mut room);
        while let Some(Ok(entry)) = entries.next() {
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            let path = || place.join(OsStr::from_bytes(name));
            let kind = match entry.file_type() {
                FileType::Unknown => path().symlink_metadata().map_or(FileType::Unknown, |about| {
                    if about.is_dir() { FileType::Directory } else { FileType::RegularFile }
                }),
                kind => kind,
            };
            let is_directory = kind == FileType::Directory;
            if is_directory && self.places.len() + self.roots.len() + self.new.len() < MAX_WATCHED {
                let queue = if is_root { &mut self.roots } else { &mut self.new };
                queue.push_back(path());
            }
            let text = String::from_utf8_lossy(name);
            if kind != FileType::Symlink && self.matters(&text, path) {
                appeared.push(Appeared { place: path(), is_directory, replaced: !is_root });
            }
        }
        appeared
    }

    /// Whether some session has a rule for such names, or a mask there.
    fn matters(&self, name: &str, place: impl Fn() -> PathBuf) -> bool {
        self.sessions.iter().any(|kept| kept.names.may_fit(name) || kept.names.is_masked(&place()))
    }

    fn open_queue(&mut self) {
        if self.queue.is_none() {
            self.queue = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok().map(Arc::new);
            self.ring();
        }
    }

    /// Hears of each opening of the session's empty file. Without that, results do not tell of it.
    fn watch_variables(&mut self, kept: &Arc<WatchedSession>) {
        self.open_queue();
        let Some(queue) = &self.queue else { return };
        let place = format!("/proc/self/fd/{}", kept.view.no_variables().as_raw_fd());
        if let Ok(number) = inotify::add_watch(&**queue, place, WatchFlags::OPEN) {
            self.variables.insert(number, Arc::downgrade(kept));
        }
    }

    fn forget_variables(&mut self, kept: &Arc<WatchedSession>) {
        let queue = &self.queue;
        self.variables.retain(|number, known| {
            let other = known.upgrade().is_some_and(|known| !Arc::ptr_eq(&known, kept));
            if let Some(queue) = queue.as_ref().filter(|_| !other) {
                let _gone = inotify::remove_watch(&**queue, *number);
            }
            other
        });
    }

    fn watch(&mut self, place: &Path) {
        if self.numbers.contains_key(place) || self.places.len() >= MAX_WATCHED {
            return;
        }
        self.open_queue();
        let what = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::MOVED_FROM;
        let added = match &self.queue {
            Some(queue) => inotify::add_watch(&**queue, place, what | WatchFlags::ONLYDIR | WatchFlags::DONT_FOLLOW),
            None => Err(Errno::MFILE),
        };
        match added {
            Ok(number) => {
                // The same directory may have had another name.
                if let Some(old) = self.places.insert(number, place.to_owned()) {
                    self.numbers.remove(&old);
                }
                self.numbers.insert(place.to_owned(), number);
            }
            Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS | Errno::LOOP) => {}
            Err(errno) => {
                static TOLD: Once = Once::new();
                let error = std::io::Error::from(errno);
                TOLD.call_once(|| {
                    tracing::warn!(%error, "directories of sessions cannot be watched: masks stand as they stood when a session started \
                                            (`fs.inotify.max_user_watches`, `fs.inotify.max_user_instances`)");
                });
            }
        }
    }

    /// Takes over what the kernel has to tell.
    fn look(&mut self) {
        let Some(queue) = self.queue.clone() else { return };
        let mut room = [MaybeUninit::uninit(); 16 << 10];
        let mut events = Reader::new(&*queue, &mut room);
        let mut appeared = Vec::new();
        loop {
            let event = match events.next() {
                Ok(event) => event,
                Err(Errno::INTR) => continue,
                Err(_) => break,
            };
            let flags = event.events();
            if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
                let sessions = self.sessions.clone();
                for kept in sessions {
                    self.roots.extend(kept.roots.iter().cloned());
                    self.again.push(kept);
                }
                continue;
            }
            let number = event.wd();
            if let Some(kept) = self.variables.get(&number).and_then(Weak::upgrade) {
                kept.found_empty.store(true, Ordering::Relaxed);
                continue;
            }
            if flags.contains(ReadFlags::IGNORED) {
                if let Some(place) = self.places.remove(&number) {
                    self.numbers.remove(&place);
                }
                continue;
            }
            let name = event.file_name().map_or(OsStr::new(""), |name| OsStr::from_bytes(name.to_bytes()));
            let Some(place) = self.places.get(&number).map(|place| place.join(name)) else { continue };
            let is_directory = flags.contains(ReadFlags::ISDIR);
            if flags.contains(ReadFlags::MOVED_FROM) {
                if is_directory {
                    self.forget(&place);
                }
                continue;
            }
            // One that is moved to and fro is looked through once.
            if is_directory && !self.new.iter().rev().take(TOGETHER).any(|new| *new == place) {
                self.new.push_back(place.clone());
            }
            let text = name.to_string_lossy();
            if self.matters(&text, || place.clone()) {
                appeared.push(Appeared { place, is_directory, replaced: true });
            }
        }
        self.appeared(&appeared);
    }

    /// A directory has another name now, with all that it holds.
    fn forget(&mut self, place: &Path) {
        let inside = self.numbers.range(place.to_owned()..).take_while(|(path, _)| path.starts_with(place));
        let inside: Vec<(PathBuf, i32)> = inside.map(|(path, number)| (path.clone(), *number)).collect();
        for (path, number) in inside {
            self.numbers.remove(&path);
            self.places.remove(&number);
            if let Some(queue) = &self.queue {
                let _gone = inotify::remove_watch(&**queue, number);
            }
        }
    }

    fn appeared(&self, appeared: &[Appeared]) {
        if appeared.is_empty() {
            return;
        }
        for kept in &self.sessions {
            let within = |place: &Path| kept.roots.iter().any(|root| place.starts_with(root));
            let needed = appeared.iter().filter(|it| within(&it.place)).filter_map(|it| {
                let cover = kept.names.needs(&it.place, it.is_directory, it.replaced)?;
                Some((it.place.clone(), cover))
            });
            cover(kept, needed.collect());
        }
    }
}

/// Takes the masks off files that turn out to be public. If that fails, the session lacks a public file, and learns no secret.
fn uncover(kept: &WatchedSession) {
    let public = kept.names.public_ones();
    if public.is_empty() {
        return;
    }
    let files = public.iter().filter_map(|path| CString::new(path.as_os_str().as_bytes()).ok());
    if let Err(error) = enforce::uncover_in(&kept.view, files.collect()) {
        tracing::warn!(%error, "a mask stays on a file that holds nothing secret");
    }
    // If a file was replaced in between, the watch has put a mask on the new one, and that was taken off.
    let needs = |path: PathBuf| kept.names.needs(&path, false, true).map(|needed| (path, needed));
    cover(kept, public.into_iter().filter_map(needs).collect());
}

/// Covers these in a session, or ends it.
fn cover(kept: &WatchedSession, mut needed: Vec<(PathBuf, Cover)>) {
    // A file that is replaced takes the session's view of its settings with it. The new view is a mask too. A mask without the
    // session's own settings must not come first: git would read it meanwhile.
    needed.retain(|(place, cover)| *cover != Cover::ReadOnly || !kept.names.shows_settings(place));
    if needed.is_empty() {
        return;
    }
    let names = needed.into_iter().filter_map(|(path, cover)| {
        let cover = cover.at(&path, kept.names.repositories());
        Some((CString::new(path.into_os_string().into_vec()).ok()?, cover))
    });
    if let Err(error) = enforce::cover_in(&kept.view, names.collect())
        && let Some(process) = kept.process.upgrade()
    {
        tracing::error!(%error, "a file cannot be covered in a session, which ends");
        let _ended = process.kill();
    }
}
