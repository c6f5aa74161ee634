//! The far end: does the work of checkpoints where the workspace lies, with the code that does it on the server's own machine.
//!
//! It decides nothing: what there is it tells, and what it is told it does. It lives as long as its standard input is open, and whatever
//! it is at ends with that, half-way if need be: a file is in its place as a whole or not at all, and what stands beside its place bears
//! the mark of the restore that goes on from there.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use git2::Repository;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, fchmod, fstat, openat, openat2};

use super::message::{Begin, Bytes, Deed, KeeperAnswer, MUCH, Object, Order, Steps, Why, read, record};
use crate::checkpoint::restore::{Restorer, Step};
use crate::checkpoint::store::{Objects, digest_at, open_bare};
use crate::checkpoint::tree::{self, Also, Scope, Tree};
use crate::checkpoint::{CheckpointError, manifest};
use crate::remote::guard::{Frames, MAX_ORDER, Numbered, encode};
use crate::removal;
use crate::shell::Nonce;

/// How often it says that it goes on, while it does what takes long.
const ALIVE: Duration = Duration::from_secs(5);

/// How old a directory is that nobody works in any more.
const LEFT: Duration = Duration::from_secs(2 * 60 * 60);

/// Letters of why a step was not taken.
const MAX_WHY: usize = 200;

/// Serves the server on standard input and output until that ends; `nonce` tells it where what is ours begins.
///
/// # Errors
/// If nothing can be written any more, or there can be no thread.
pub fn keep(nonce: &str) -> io::Result<()> {
    rustix::process::umask(Mode::from_raw_mode(0o077));
    let (orders, waiting) = mpsc::channel();
    let scratch = Scratch::default();
    let left = scratch.clone();
    let hear = move || {
        let heard = hear(&orders);
        left.clear();
        std::process::exit(i32::from(heard.is_err()));
    };
    std::thread::Builder::new().name("palisade-orders".to_owned()).spawn(hear)?;
    // What the login itself says stands before it.
    raw(&[b"\0", nonce.as_bytes(), b"\0"].concat())?;
    let done = serve(&waiting, &scratch);
    scratch.clear();
    done
}

/// Passes on what the server says, until it says nothing more.
fn hear(orders: &mpsc::Sender<Numbered<Order>>) -> io::Result<()> {
    let mut input = io::stdin().lock();
    let (mut frames, mut buffer) = (Frames::new(MAX_ORDER), vec![0; 64 << 10]);
    loop {
        while let Some(order) = frames.message().map_err(|_| io::Error::from(io::ErrorKind::InvalidData))? {
            let _served = orders.send(order);
        }
        match input.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => frames.push(buffer.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn serve(orders: &mpsc::Receiver<Numbered<Order>>, scratch: &Scratch) -> io::Result<()> {
    let mut keeper: Option<Keeper> = None;
    for Numbered { id, body } in orders {
        let mut out = Out { id, said: Instant::now() };
        let answer = match (&keeper, body) {
            (None, Order::Begin(begin)) => match Keeper::begin(begin, scratch.clone()) {
                Ok(begun) => {
                    keeper = Some(begun);
                    KeeperAnswer::Done
                }
                Err(answer) => answer,
            },
            (Some(keeper), order) => match keeper.obey(order, &mut out) {
                Ok(answer) | Err(OrderFailure::Answer(answer)) => answer,
                Err(OrderFailure::Unheard(error)) => return Err(error),
            },
            (None, _) => KeeperAnswer::Refused(Why::Workspace),
        };
        out.put(answer)?;
    }
    Ok(())
}

/// What is told to whoever has asked.
struct Out {
    id: u64,
    said: Instant,
}

impl Out {
    fn put(&mut self, body: KeeperAnswer) -> io::Result<()> {
        self.said = Instant::now();
        let bytes = encode(&Numbered { id: self.id, body }).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        raw(&bytes)
    }

    /// One more of many is done.
    fn alive(&mut self) -> io::Result<()> {
        if self.said.elapsed() > ALIVE { self.put(KeeperAnswer::Alive) } else { Ok(()) }
    }
}

fn raw(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush())
}

/// Why an order is not done.
enum OrderFailure {
    Answer(KeeperAnswer),
    /// Nobody hears it.
    Unheard(io::Error),
}

impl From<io::Error> for OrderFailure {
    fn from(error: io::Error) -> Self {
        Self::Unheard(error)
    }
}

impl From<KeeperAnswer> for OrderFailure {
    fn from(answer: KeeperAnswer) -> Self {
        Self::Answer(answer)
    }
}

impl From<CheckpointError> for OrderFailure {
    fn from(error: CheckpointError) -> Self {
        Self::Answer(match error {
            CheckpointError::Workspace { cause } => KeeperAnswer::Unread(cause.raw_os_error()),
            CheckpointError::TooMany => KeeperAnswer::TooMany,
            CheckpointError::Store { source, .. } | CheckpointError::Write { source } => unkept(&source),
            CheckpointError::Repository(error) => KeeperAnswer::Unkept(error.message().to_owned()),
            error => KeeperAnswer::Unkept(error.to_string()),
        })
    }
}

fn unkept(error: &io::Error) -> KeeperAnswer {
    KeeperAnswer::Unkept(error.to_string())
}

/// The directory that a repository has been made in, for as long as this runs.
#[derive(Clone, Default)]
struct Scratch(Arc<Mutex<Option<PathBuf>>>);

impl Scratch {
    /// Notes where it is going to be.
    fn is(&self, path: &Path) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(path.to_owned());
    }

    fn clear(&self) {
        if let Some(path) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _as_far_as_it_goes = removal::remove(&path);
        }
    }
}

/// A workspace, and the place of what is kept of it.
struct Keeper {
    root: OwnedFd,
    workspace: PathBuf,
    scope: Scope,
    place: PathBuf,
    kept: OnceCell<WorkspaceStore>,
    scratch: Scratch,
}

/// Where the objects of a workspace are kept.
struct WorkspaceStore {
    directory: OwnedFd,
    objects: PathBuf,
    repository: Repository,
}

impl Keeper {
    fn begin(begin: Begin, scratch: Scratch) -> Result<Self, KeeperAnswer> {
        let Begin { workspace, kept, exclude, max_file } = begin;
        let workspace = PathBuf::from(workspace.as_str());
        if workspace == Path::new("/") {
            return Err(KeeperAnswer::Refused(Why::Root));
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let root = openat2(CWD, &workspace, flags, Mode::empty(), resolve);
        let root = root.map_err(|_| KeeperAnswer::Refused(Why::Workspace))?;
        let scope = Scope { exclude, max_file };
        Ok(Self { root, workspace, scope, place: kept.as_str().into(), kept: OnceCell::new(), scratch })
    }

    fn obey(&self, order: Order, out: &mut Out) -> Result<KeeperAnswer, OrderFailure> {
        match order {
            Order::Begin(_) => Err(KeeperAnswer::Refused(Why::Workspace).into()),
            Order::List => self.list(out),
            Order::Read { names, keep } => self.read(names, keep, out),
            Order::Sync => {
                let synced = rustix::fs::syncfs(&self.kept()?.directory);
                synced.map(|()| KeeperAnswer::Done).map_err(|errno| unkept(&errno.into()).into())
            }
            Order::Sizes { objects: asked } => {
                let objects = self.objects()?;
                let mut sizes = Vec::new();
                for Object(object) in asked {
                    out.alive()?;
                    sizes.push(objects.size(object));
                }
                Ok(KeeperAnswer::Sizes(sizes))
            }
            Order::Reread { objects: asked } => {
                let objects = self.objects()?;
                let mut found = Vec::new();
                for (Object(object), size) in asked {
                    out.alive()?;
                    found.push(objects.reread(object, size).map(Object));
                }
                Ok(KeeperAnswer::Objects(found))
            }
            Order::Forget { objects: spare } => {
                let objects = self.objects()?;
                for Object(object) in spare {
                    out.alive()?;
                    objects.remove(object)?;
                }
                Ok(KeeperAnswer::Done)
            }
            Order::Sweep { needed } => {
                let needed: BTreeSet<_> = needed.into_iter().map(|Object(object)| object).collect();
                self.objects()?.sweep(&needed)?;
                sweep_begun(&self.kept()?.objects).map_err(|error| unkept(&error))?;
                Ok(KeeperAnswer::Done)
            }
            Order::Steps(steps) => self.steps(*steps, out),
            Order::Times { entries } => {
                let (objects, seen) = (self.objects()?, Tree::default());
                let way = Restorer::new(&objects, &self.root, "", &seen);
                for (name, entry) in manifest::read(&entries.0).ok_or_else(meaningless)? {
                    way.put_time(&name, &entry);
                }
                Ok(KeeperAnswer::Done)
            }
        }
    }

    fn list(&self, out: &mut Out) -> Result<KeeperAnswer, OrderFailure> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let now = i128::try_from(now).unwrap_or_default();
        let tree = tree::walk(&self.root, &self.scope, &Also::Nothing)?;
        let (mut found, mut left, mut much) = (Vec::new(), Vec::new(), 0);
        let mut part = |found: &mut Vec<Bytes>, left: &mut Vec<_>, much: &mut usize| {
            if *much < MUCH {
                return Ok(());
            }
            *much = 0;
            let (found, left) = (std::mem::take(found), std::mem::take(left));
            out.put(KeeperAnswer::Listed { now, found, left, more: true })
        };
        for (name, one) in &tree.found {
            let told = record(name, one);
            much += told.0.len();
            found.push(told);
            part(&mut found, &mut left, &mut much)?;
        }
        for one in tree.uncovered {
            much += one.name.len();
            left.push((Bytes(one.name), one.why));
            part(&mut found, &mut left, &mut much)?;
        }
        Ok(KeeperAnswer::Listed { now, found, left, more: false })
    }

    fn read(&self, names: Vec<Bytes>, keep: bool, out: &mut Out) -> Result<KeeperAnswer, OrderFailure> {
        let objects = if keep { Some(self.objects()?) } else { None };
        let mut read = Vec::new();
        for Bytes(name) in names {
            out.alive()?;
            // What cannot be read, or is no more, has none: whoever asks looks again at what there is.
            let object = match &objects {
                Some(objects) => objects.read_file(&self.root, &name)?.ok().map(|(object, _)| object),
                None => digest_at(&self.root, &name),
            };
            read.push(object.map(Object));
        }
        Ok(KeeperAnswer::Objects(read))
    }

    fn steps(&self, steps: Steps, out: &mut Out) -> Result<KeeperAnswer, OrderFailure> {
        let Steps { mark, steps, then, seen } = steps;
        if !mark.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-') {
            return Err(meaningless().into());
        }
        let then = manifest::read(&then.0).ok_or_else(meaningless)?;
        let found = seen.iter().map(read).collect::<Option<_>>().ok_or_else(meaningless)?;
        let known = Tree { found, uncovered: Vec::new() };
        let objects = self.objects()?;
        let mut way = Restorer::new(&objects, &self.root, &mark, &known);
        let mut not_taken = Vec::new();
        for (at, (deed, Bytes(name))) in steps.iter().enumerate() {
            out.alive()?;
            let step = match (deed, then.get(name)) {
                (Deed::Delete, _) => Step::Delete(name),
                (Deed::Put, Some(entry)) => Step::Put(name, entry),
                (Deed::Finish, Some(entry)) => Step::Finish(name, entry),
                (Deed::Put | Deed::Finish, None) => return Err(meaningless().into()),
            };
            not_taken.extend(way.take(&step).map(|why| (at, why.chars().take(MAX_WHY).collect())));
        }
        Ok(KeeperAnswer::NotTaken(not_taken))
    }

    fn objects(&self) -> Result<Objects<'_>, OrderFailure> {
        let kept = self.kept()?;
        Ok(Objects::of(&kept.repository, kept.objects.clone())?)
    }

    /// What is kept, opened when it is first asked for.
    fn kept(&self) -> Result<&WorkspaceStore, OrderFailure> {
        if self.kept.get().is_none() {
            let _first = self.kept.set(self.open()?);
        }
        self.kept.get().ok_or_else(|| KeeperAnswer::Refused(Why::Store).into())
    }

    /// A directory of the user's own, outside of the workspace, and a repository that is there as long as this runs, so that nothing that
    /// lies in one counts.
    fn open(&self) -> Result<WorkspaceStore, OrderFailure> {
        let place = &self.place;
        // What somebody has put in its place is not ours to write to, and nothing in it ours to clear away.
        for path in place.parent().into_iter().chain([place.as_path()]) {
            if path.symlink_metadata().is_ok_and(|about| about.is_symlink()) {
                return Err(KeeperAnswer::Refused(Why::Link).into());
            }
        }
        let objects = place.join("objects");
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&objects);
        made.map_err(|error| unkept(&error))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let not_ours = |_| KeeperAnswer::Refused(Why::Store);
        let directory = openat(CWD, place, flags, Mode::empty()).map_err(not_ours)?;
        fchmod(&directory, Mode::RWXU).map_err(not_ours)?;
        let below = openat(&directory, "objects", flags, Mode::empty()).map_err(not_ours)?;
        for opened in [&directory, &below] {
            if fstat(opened).map_err(not_ours)?.st_uid != rustix::process::geteuid().as_raw() {
                return Err(KeeperAnswer::Refused(Why::Store).into());
            }
        }
        let real = fs::canonicalize(place).map_err(|error| unkept(&error))?;
        if real.starts_with(&self.workspace) {
            return Err(KeeperAnswer::Refused(Why::Inside).into());
        }
        sweep_scratches(&real);
        let repository = self.repository(&real).map_err(|error| unkept(&error))?;
        Ok(WorkspaceStore { directory, objects: real.join("objects"), repository: open_bare(&repository)? })
    }

    fn repository(&self, kept: &Path) -> io::Result<PathBuf> {
        let scratch = kept.join(format!("{SCRATCH}{}", Nonce::new().map_err(io::Error::other)?.as_str()));
        self.scratch.is(&scratch);
        let mut builder = DirBuilder::new();
        builder.mode(0o700);
        builder.create(&scratch)?;
        builder.create(scratch.join("refs"))?;
        File::create_new(scratch.join("HEAD"))?.write_all(b"ref: refs/heads/none\n")?;
        File::create_new(scratch.join("config"))?
            .write_all(b"[core]\n\trepositoryformatversion = 0\n\tbare = true\n")?;
        symlink("../objects", scratch.join("objects"))?;
        Ok(scratch)
    }
}

/// How the names begin of directories that are there as long as somebody works in them, whoever did.
const SCRATCH: &str = "git.";

/// Removes those that nobody works in any more.
fn sweep_scratches(kept: &Path) {
    for entry in fs::read_dir(kept).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let rest = name.to_str().and_then(|name| name.strip_prefix(SCRATCH));
        let is_one = rest.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let is_left = || {
            let about = entry.metadata().ok().filter(fs::Metadata::is_dir)?;
            about.modified().ok()?.elapsed().ok().filter(|age| *age > LEFT)
        };
        if is_one && is_left().is_some() {
            let _as_far_as_it_goes = removal::remove(&entry.path());
        }
    }
}

/// Removes what was begun to be written, by git or by the library, and is no object. Nobody writes besides.
fn sweep_begun(objects: &Path) -> io::Result<()> {
    let directories =
        fs::read_dir(objects)?.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let directories: Vec<PathBuf> = directories.map(|entry| entry.path()).chain([objects.to_owned()]).collect();
    for directory in directories {
        for entry in fs::read_dir(directory)?.flatten() {
            let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
            if is_file && entry.file_name().to_str().is_some_and(|name| name.starts_with("tmp_obj")) {
                fs::remove_file(entry.path())?;
            }
        }
    }
    Ok(())
}

fn meaningless() -> KeeperAnswer {
    KeeperAnswer::Unkept("what it is told has no meaning".to_owned())
}
