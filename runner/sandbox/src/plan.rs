//! What a sandbox may touch, as plain data.
//!
//! The plan says *what*; `landlock.rs` and `seccomp.rs` turn it into kernel rules and `enforce.rs` puts them on. A path that
//! no rule names is out of reach: there is no rule that takes away, so nothing depends on the order of the rules.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fmt;
use std::iter;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::{BitOr, BitOrAssign};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use palisade_engine::{
    AbsolutePath, Act, Decision, Engine, Facts, FileAction, Permissions, Principal, Scratch, Session, Transport,
};
use serde::{Deserialize, Serialize};

use super::capabilities::{Capabilities, Namespaces};
use super::file_marks::Earlier;
use super::group::Controller;
use super::masks::{self, Masks};
use super::mounts;
use super::repositories::Repositories;

/// Everything that one session's processes may touch, and how much they may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxPlan {
    /// What may be touched; the rights of all rules that cover a file add up.
    pub rules: Vec<PathRule>,
    /// What is taken back below something that the rules grant; held by mounts.
    pub masks: Vec<Mask>,
    /// A directory in whose place the session has one of its own, if there is one.
    pub instead: Option<Instead>,
    /// Files that the session finds empty: it may not read them, and a program that looks there by itself would complain each time.
    pub blank: Vec<PathBuf>,
    /// The directory of files that stand for others in the session's view; none if it has no such files.
    pub stand_ins: Option<PathBuf>,
    /// Files that are named like key material and have no mask: sessions of the same agent have written them.
    pub written: Vec<PathBuf>,
    /// Whether all that a session can change was searched for names that policy forbids, and what was found is masked.
    pub searched: bool,
    /// What the session may do in the places that it has for itself: at least what [`Rights::MOVE`] and [`Rights::READ`] say there, and
    /// with `EXECUTE` also that.
    pub scratch: Rights,
    /// Whether programs may listen and connect at loopback addresses, where the session has a network of its own.
    pub loopback: bool,
    /// Whether policy might permit a connection. The session then has one way out, a proxy that decides each; without a
    /// network namespace it has none all the same.
    pub network: bool,
    /// How much may be used.
    pub limits: Limits,
    /// What the kernel must offer for the session to start at all.
    pub level: Level,
}

impl SandboxPlan {
    /// The places that rules grant something of.
    pub fn granted(&self) -> Vec<PathBuf> {
        let granted = self.rules.iter().filter(|rule| !rule.rights.is_empty());
        granted.map(|rule| rule.path.clone()).collect()
    }
}

/// A directory in whose place the session has one of its own, in memory. What rules grant below it is there as well.
///
/// Left out where a rule grants the place itself, and where sessions have no view of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instead {
    /// The directory: an absolute path without symbolic links.
    pub place: PathBuf,
    /// What stands below it, outermost first.
    pub shown: Vec<RemappedDirectory>,
    /// Directories below it in which the session makes nothing. They are empty, unless a rule grants what the machine has there.
    pub closed: Vec<PathBuf>,
}

/// A directory of the machine's that the session finds at another path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemappedDirectory {
    /// Where the session finds it.
    pub at: PathBuf,
    /// Where it lies. Rules about what it holds name this path.
    pub from: PathBuf,
    /// Whether the mount lets the session change it; rules decide besides.
    pub writable: bool,
}

/// Rights on one file, or on a directory and everything below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathRule {
    /// An absolute path without symbolic links (`/usr/bin`, not `/bin`, where the latter is a link): a link would let whoever
    /// can replace it choose what the rule is about.
    pub path: PathBuf,
    /// What may be done there.
    pub rights: Rights,
    /// Whether the rule is left out if nothing has that path; otherwise that is an error.
    pub optional: bool,
}

/// A file or directory that is covered in the session's view of the file system.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mask {
    /// An absolute path without symbolic links, which exists.
    pub path: PathBuf,
    /// By what.
    pub cover: Cover,
}

/// What a mask lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cover {
    /// Nothing: an empty file or directory stands in its place, which cannot be read or changed.
    Hidden,
    /// Nothing, and programs find an empty file: a file of variables (`.env`) that git does not take into a commit.
    Empty,
    /// Reading, and nothing that changes it.
    ReadOnly,
    /// Everything but another name: a directory that holds what is read-only cannot be renamed or removed, so that nothing else takes
    /// its place.
    Pinned,
}

impl Cover {
    /// What hides this file, or the cover itself. Build tools and servers read `.env` by themselves when they start. If they may not, they end
    /// with an error; in an empty file they find no variables. Where git would commit the empty file, it stays closed.
    pub(super) fn at(self, place: &Path, repositories: &dyn Repositories) -> Self {
        let name = place.file_name().map(OsStr::as_bytes).unwrap_or_default();
        let is_of_variables = name == b".env" || name.starts_with(b".env.");
        let is_empty = self == Self::Hidden && is_of_variables && place.is_file() && !repositories.may_take(place);
        if is_empty { Self::Empty } else { self }
    }

    /// Whether it lets nothing through.
    #[must_use]
    pub const fn hides(self) -> bool {
        matches!(self, Self::Hidden | Self::Empty)
    }
}

/// What may be done with a path: any combination of [`READ`](Rights::READ), [`WRITE`](Rights::WRITE),
/// [`DELETE`](Rights::DELETE) and [`EXECUTE`](Rights::EXECUTE).
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Rights(u8);

impl Rights {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Read files and list directories.
    pub const READ: Self = Self(1);
    /// Create, fill and empty files and directories; together with `DELETE` also move them between directories.
    pub const WRITE: Self = Self(2);
    /// Remove files and directories.
    pub const DELETE: Self = Self(4);
    /// Start programs.
    pub const EXECUTE: Self = Self(8);
    /// `WRITE` and `DELETE` in one: also move between directories.
    pub const MOVE: Self = Self(2 | 4);

    /// Whether all of `other` is in here.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// These, those taken out.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// These and those.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The bits.
    pub(super) const fn bits(self) -> u8 {
        self.0
    }

    /// Whether nothing is in here.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl BitOr for Rights {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Rights {
    fn bitor_assign(&mut self, other: Self) {
        *self = *self | other;
    }
}

/// One letter for each right, a dash for each missing one: `rwdx`, `r--x`.
impl fmt::Display for Rights {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letters = [(Self::READ, 'r'), (Self::WRITE, 'w'), (Self::DELETE, 'd'), (Self::EXECUTE, 'x')];
        letters.iter().try_for_each(|(right, letter)| {
            let shown = if self.contains(*right) { letter } else { &'-' };
            write!(formatter, "{shown}")
        })
    }
}

impl fmt::Debug for Rights {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Rights({self})")
    }
}

/// How much a session's processes may use. `None` leaves the server's own limit in place; no value raises it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Processes and threads at a time. The kernel holds it in a user namespace of an unprivileged server; elsewhere it counts all
    /// processes of the user, or for root none, and the server watches.
    pub processes: Option<u64>,
    /// Memory in bytes, of all processes together. The server watches it: a limit on address space breaks programs that reserve much
    /// and use little. Also the size of the session's own file systems in memory.
    pub memory: Option<u64>,
    /// Size in bytes of a file that is written.
    pub file_size: Option<u64>,
    /// Open descriptors of each process.
    pub open_files: Option<u64>,
    /// Processor time of one command, all its processes together. The server watches it; the kernel holds each process to little more,
    /// the shell's own for as long as it lives.
    pub cpu: Option<Duration>,
    /// Bytes on disk of the session's own directory, `$TMPDIR`. The server watches it.
    pub disk: Option<u64>,
    /// Bytes that must be left on a disk to which the session may write. The server watches it while a command runs.
    pub free_disk: Option<u64>,
}

/// A limit, for people and machines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LimitTold {
    /// As the settings name it.
    pub name: &'static str,
    /// As the settings may spell it.
    pub value: String,
    /// Who holds it: `kernel`, `server`, or both, the server for all that the kernel leaves open.
    pub held_by: &'static str,
}

impl Limits {
    /// Each that is set, and who would hold it on this machine.
    #[must_use]
    pub fn told(&self, capabilities: &Capabilities) -> Vec<LimitTold> {
        let grouped = |controller| capabilities.groups.contains(&controller);
        let counted = capabilities.counts_processes() || capabilities.numbers_processes() || grouped(Controller::Pids);
        let processes = if counted { BOTH } else { SERVER };
        let memory = if grouped(Controller::Memory) { BOTH } else { SERVER };
        let number = |value: Option<u64>| value.map(|value| value.to_string());
        let rows = [
            ("processes", number(self.processes), processes),
            ("memory", self.memory.map(bytes), memory),
            ("file-size", self.file_size.map(bytes), KERNEL),
            ("open-files", number(self.open_files), KERNEL),
            ("cpu", self.cpu.map(seconds), BOTH),
            ("disk", self.disk.map(bytes), SERVER),
            ("free-disk", self.free_disk.map(bytes), SERVER),
        ];
        rows.into_iter().filter_map(|(name, value, held_by)| Some(LimitTold { name, value: value?, held_by })).collect()
    }

    /// Whether the server has something to watch.
    pub(super) fn are_watched(&self) -> bool {
        self.processes.is_some()
            || self.memory.is_some()
            || self.cpu.is_some()
            || self.disk.is_some()
            || self.free_disk.is_some()
    }
}

const KERNEL: &str = "kernel";
const SERVER: &str = "server";
const BOTH: &str = "kernel+server";

fn seconds(time: Duration) -> String {
    if time.subsec_millis() == 0 { format!("{}s", time.as_secs()) } else { format!("{}ms", time.as_millis()) }
}

/// The largest unit that loses nothing.
fn bytes(bytes: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let fits = units.into_iter().find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit));
    fits.map_or_else(|| format!("{bytes}B"), |(unit, name)| format!("{}{name}", bytes / unit))
}

/// What the kernel must offer before a session starts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Everything of `default`, and namespaces. Programs cannot use inotify, and can read extended
    /// attributes only of files that they have opened.
    Strict,
    /// Landlock 6 (Linux 6.12) and system call filters; namespaces where the kernel lets us.
    #[default]
    Default,
    /// Landlock 3 (Linux 6.2) and system call filters: signals and abstract sockets between processes of one user, and
    /// controls of devices that may be opened, are not mediated.
    Compat,
}

/// As settings spell it.
impl fmt::Display for Level {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Strict => "strict",
            Self::Default => "default",
            Self::Compat => "compat",
        })
    }
}

/// What a local session is told to hold, for policies to read. Only what is really kept may say true here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promise {
    /// Landlock and seccomp are in force.
    pub sandboxed: bool,
    /// Every `execve` is decided again.
    pub guarded: bool,
    /// The kernel holds every path rule of the policy set.
    pub paths_held: bool,
    /// The session's network is a namespace of its own.
    pub own_network: bool,
}

impl Promise {
    /// Of a session that nothing holds.
    pub const NOTHING: Self = Self { sandboxed: false, guarded: false, paths_held: false, own_network: false };

    /// Of a session at a target that is held there, before anybody has looked: the level that the settings ask for, or there is no session.
    pub fn at_target(engine: &Engine, accepted: &BTreeSet<String>) -> Self {
        Self {
            sandboxed: true,
            guarded: true,
            paths_held: engine.paths_held_without_masks(accepted),
            own_network: false,
        }
    }
}

/// What this version keeps for local sessions under these policies, on this machine. Masks hold a forbid by name (`**/.env`), and a
/// session whose search for names is not complete does not start where policies were told so. Other rules that go by more than a place
/// count as held only where the settings accept that they are not.
pub fn local(engine: &Engine, accepted: &BTreeSet<String>, level: Level) -> Promise {
    let capabilities = super::probe();
    Promise {
        sandboxed: true,
        guarded: capabilities.guards().is_ok(),
        // At `compat` the kernel may lack what keeps programs of one user apart.
        paths_held: level != Level::Compat && paths_held(engine, accepted),
        own_network: capabilities.namespaces != Namespaces::None,
    }
}

/// Whether the kernel holds every path rule of these policies in sessions on this machine.
fn paths_held(engine: &Engine, accepted: &BTreeSet<String>) -> bool {
    super::probe().mounts && engine.paths_held(accepted)
}

/// The last [`scratch`] that was found: it costs some hundred decisions, and one call after another needs the same.
#[derive(Debug)]
pub struct Scratches(Mutex<Option<(Near, Scratch)>>);

/// What it rests on, but for the file system.
#[derive(Debug, PartialEq)]
struct Near {
    policies: String,
    principal: Principal,
    session: Session,
    workspace: AbsolutePath,
    cwd: AbsolutePath,
    /// The working directory is in the session's temporary directory, of which each session has another.
    in_temp: bool,
    in_own: bool,
}

impl Scratches {
    /// None yet.
    pub const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// What [`scratch`] gives.
    pub fn of(&self, engine: &Engine, facts: &Facts, home: &AbsolutePath) -> Scratch {
        if facts.transport != Transport::Local || engine.reads_clock() {
            return scratch(engine, facts, home);
        }
        let near = Near {
            policies: engine.policy_set().to_owned(),
            principal: facts.principal.clone(),
            session: Session { id: String::new(), ..facts.session.clone() },
            workspace: facts.workspace.clone(),
            cwd: facts.cwd.clone(),
            in_temp: facts.temp.as_ref().is_some_and(|temp| facts.cwd.is_within(temp)),
            in_own: is_in_own(&facts.cwd, facts),
        };
        if let Some((known, scratch)) = &*self.last()
            && *known == near
        {
            return scratch.clone();
        }
        let found = scratch(engine, facts, home);
        *self.last() = Some((near, found.clone()));
        found
    }

    fn last(&self) -> MutexGuard<'_, Option<(Near, Scratch)>> {
        // Nothing that holds the lock can fail half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Scratches {
    fn default() -> Self {
        Self::new()
    }
}

/// The places that a local session has for itself in place of the machine's, and what it finds of the machine's in them. `home` is what
/// `~` stands for.
pub fn scratch(engine: &Engine, facts: &Facts, home: &AbsolutePath) -> Scratch {
    let capabilities = super::probe();
    if !capabilities.mounts || capabilities.namespaces == Namespaces::None || facts.transport != Transport::Local {
        return Scratch::default();
    }
    let permissions = engine.permissions(facts);
    let mut roots = engine.roots();
    roots.insert(facts.workspace.clone());
    let mut scratch = Scratch::default();
    for place in mounts::in_memory().filter_map(AbsolutePath::new) {
        let near = roots.iter().filter(|root| root.is_within(&place) || place.is_within(root));
        let rules = near.map(|root| PathRule {
            path: root.as_str().into(),
            rights: rights(&permissions, root),
            optional: true,
        });
        if rules.into_iter().any(|rule| mounts::is_granted(Path::new(place.as_str()), &rule)) {
            continue;
        }
        let inside = roots.iter().chain([home, &facts.cwd]).filter(|path| path.is_within(&place) && **path != place);
        // The session's temporary directory is there by itself.
        let inside = inside.filter(|path| facts.temp.as_ref().is_none_or(|temp| !path.is_within(temp)));
        // With all that lies beside it: what is written next to a workspace in `/tmp` is meant for the machine's.
        let top = |path: &AbsolutePath| path.ancestors().find(|above| above.parent().as_ref() == Some(&place));
        let inside = inside.filter(|path| !is_in_own(path, facts));
        scratch.except.extend(inside.map(|path| top(path).unwrap_or_else(|| path.clone())));
        scratch.places.insert(place);
    }
    scratch
}

/// A working directory that only the session has: nothing of the machine's lies there.
fn is_in_own(path: &AbsolutePath, facts: &Facts) -> bool {
    *path == facts.cwd && !path.is_within(&facts.workspace) && !Path::new(path.as_str()).is_dir()
}

/// Ports that stand for all others: the kernel does not tell them apart at a loopback address.
const PORTS: [u16; 4] = [1, 80, 8080, 65_535];

/// Whether policy lets any program connect to any port of the session's own loopback.
fn loopback(engine: &Engine, facts: &Facts) -> bool {
    let permits = |port: u16, host: &str, address: IpAddr| {
        let act = Act::Connect { host: host.to_owned(), address: Some(address), port, program: String::new() };
        engine.judge(facts, &act, false).decision == Decision::Allow
    };
    let four = IpAddr::V4(Ipv4Addr::LOCALHOST);
    facts.session.own_network
        && PORTS.into_iter().all(|port| {
            permits(port, "localhost", four)
                && permits(port, "127.0.0.1", four)
                && permits(port, "::1", IpAddr::V6(Ipv6Addr::LOCALHOST))
        })
}

/// The kernel rules that follow from the policies for these facts: each root that a path group names, the workspace and
/// the session's temporary directory, with the rights that policy gives both to the root itself and to a file below it
/// that has no other property; and the masks for what may do less than what lies above it. Looks at what is there now.
///
/// # Errors
/// A root is forbidden what a root above it may do, and no mask can be put on it.
pub fn derive(
    engine: &Engine,
    facts: &Facts,
    roots: &BTreeSet<AbsolutePath>,
    level: Level,
    limits: Limits,
) -> Result<SandboxPlan, Hole> {
    let shared = shared(engine, facts, roots);
    planned(engine, facts, &shared, level, limits, &Earlier::default()).map(|(plan, _)| plan)
}

/// What policy gives for each root, whatever session it is for. Costs a decision for each root and right, some hundreds, which all
/// processors share: the first session of a server waits for them.
pub fn shared(engine: &Engine, facts: &Facts, roots: &BTreeSet<AbsolutePath>) -> BTreeMap<AbsolutePath, Rights> {
    let roots: Vec<&AbsolutePath> = roots.iter().collect();
    let next = AtomicUsize::new(0);
    let ask = || -> Vec<(AbsolutePath, Rights)> {
        let permissions = engine.permissions(facts);
        let taken = iter::from_fn(|| roots.get(next.fetch_add(1, Ordering::Relaxed)));
        taken.map(|root| ((*root).clone(), rights(&permissions, root))).collect()
    };
    let others = thread::available_parallelism().map_or(1, usize::from).min(roots.len());
    thread::scope(|scope| {
        let threads: Vec<_> =
            (1..others).filter_map(|_| thread::Builder::new().spawn_scoped(scope, ask).ok()).collect();
        let mut all: BTreeMap<_, _> = ask().into_iter().collect();
        for thread in threads {
            all.extend(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        all
    })
}

/// The rules of one session: the shared ones, and those of its own directories that these do not have. Makes an empty directory where a
/// mask has to stand so that nothing else can be put there. `earlier` is what earlier sessions have made, which no mask covers.
///
/// # Errors
/// As [`derive()`].
pub fn with_own(
    engine: &Engine,
    facts: &Facts,
    shared: &BTreeMap<AbsolutePath, Rights>,
    level: Level,
    limits: Limits,
    earlier: &Earlier,
) -> Result<SandboxPlan, Hole> {
    let (mut plan, missing) = planned(engine, facts, shared, level, limits, earlier)?;
    plan.searched &= missing.iter().all(|directory| masks::make(directory));
    Ok(plan)
}

/// The same, with the directories that have to be made.
fn planned(
    engine: &Engine,
    facts: &Facts,
    shared: &BTreeMap<AbsolutePath, Rights>,
    level: Level,
    limits: Limits,
    earlier: &Earlier,
) -> Result<(SandboxPlan, Vec<PathBuf>), Hole> {
    // What the first script may open is for that script: what these files hold counts here.
    let facts = &Facts { public: BTreeSet::new(), ..facts.clone() };
    let own = [Some(&facts.workspace), facts.temp.as_ref()].into_iter().flatten();
    let own = own.filter(|root| !shared.contains_key(*root));
    let permissions = engine.permissions(facts);
    let mut rights = shared.clone();
    rights.extend(own.map(|root| (root.clone(), self::rights(&permissions, root))));
    let mut masks = Masks::default();
    if super::probe().mounts {
        masks = masks::by_name(engine, facts, &rights, earlier);
        masks.masks.extend(masks::of_holes(&rights)?);
        match masks::elsewhere(&masks.masks) {
            Ok(more) => masks.masks.extend(more),
            Err(_) => masks.searched = false,
        }
    } else if let Some(hole) = holes(&rights).next() {
        return Err(hole);
    }
    let granted = rights.into_iter().filter(|(_, rights)| !rights.is_empty());
    let rules = granted.map(|(root, rights)| PathRule { path: root.as_str().into(), rights, optional: true });
    let network = engine.may_connect(facts);
    let Masks { mut masks, written, searched, missing } = masks;
    for mask in &mut masks {
        mask.cover = mask.cover.at(&mask.path, earlier.repositories());
    }
    // A name that no pattern is made for, and that nothing excepts.
    let probe = facts.scratch.places.first().and_then(|place| place.child("palisade-scratch"));
    let scratch = probe.map_or(Rights::NONE, |probe| self::rights(&permissions, &probe));
    let plan = SandboxPlan {
        rules: rules.collect(),
        masks,
        written,
        instead: None,
        blank: Vec::new(),
        stand_ins: earlier.own_settings().and_then(|store| {
            let made = store.directory();
            made.inspect_err(|error| tracing::warn!(%error, "sessions can have no settings of their own")).ok()
        }),
        searched,
        scratch,
        loopback: loopback(engine, facts),
        network,
        limits,
        level,
    };
    Ok((plan, missing))
}

/// What policy forbids below what it permits, and neither Landlock nor a mask can keep from a session with these rights.
pub fn hole(rights: &BTreeMap<AbsolutePath, Rights>) -> Option<Hole> {
    if super::probe().mounts { masks::of_holes(rights).err() } else { holes(rights).next() }
}

/// Landlock cannot take back below what it grants above.
fn holes(rights: &BTreeMap<AbsolutePath, Rights>) -> impl Iterator<Item = Hole> {
    rights.iter().filter_map(|(inner, allowed)| {
        let wider = |outer: &AbsolutePath| rights.get(outer).is_some_and(|granted| !allowed.contains(*granted));
        inner.ancestors().find(wider).map(|outer| Hole { outer, inner: inner.clone() })
    })
}

/// A path that policy forbids below one that it permits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hole {
    /// What may be used.
    pub outer: AbsolutePath,
    /// What lies below and may not.
    pub inner: AbsolutePath,
}

/// The rights on one root, and the policies that give or refuse each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootRights {
    /// The root.
    pub path: AbsolutePath,
    /// What a session may do there.
    pub rights: Rights,
    /// For each action, in the order of the letters of [`Rights`]: the policies that decide it.
    pub because: Vec<(FileAction, Vec<String>)>,
    /// The root above it that may do more: Landlock cannot take back below what it grants above. A mask can, where there are mounts.
    pub hole_in: Option<AbsolutePath>,
}

/// What [`derive()`] would make of each root, and why, holes included.
pub fn explain(engine: &Engine, facts: &Facts, roots: &BTreeSet<AbsolutePath>) -> Vec<RootRights> {
    let own = [Some(&facts.workspace), facts.temp.as_ref()].into_iter().flatten().cloned();
    let permissions = engine.permissions(facts);
    let roots: BTreeSet<AbsolutePath> = roots.iter().cloned().chain(own).collect();
    let rights: BTreeMap<AbsolutePath, Rights> =
        roots.into_iter().map(|root| (root.clone(), rights(&permissions, &root))).collect();
    let explained = rights.iter().map(|(root, allowed)| {
        let wider = |outer: &AbsolutePath| rights.get(outer).is_some_and(|granted| !allowed.contains(*granted));
        let below = root.child("palisade-probe").unwrap_or_else(|| root.clone());
        let because = ACTIONS.iter().map(|(action, _)| (*action, permissions.because(*action, &below).1));
        RootRights {
            path: root.clone(),
            rights: *allowed,
            because: because.collect(),
            hole_in: root.ancestors().find(wider),
        }
    });
    explained.collect()
}

pub(super) const ACTIONS: [(FileAction, Rights); 4] = [
    (FileAction::Read, Rights::READ),
    (FileAction::Write, Rights::WRITE),
    (FileAction::Delete, Rights::DELETE),
    (FileAction::Execute, Rights::EXECUTE),
];

pub(super) fn rights(permissions: &Permissions<'_>, root: &AbsolutePath) -> Rights {
    // A name that no pattern is made for: what policy says of it, it says of any file there.
    let Some(below) = root.child("palisade-probe") else { return Rights::NONE };
    let mut rights = Rights::NONE;
    for (action, right) in ACTIONS {
        let permits = |path: &AbsolutePath| permissions.permits(action, path);
        // Deleting the workspace itself may be forbidden where deleting in it is not; the kernel asks for the right on
        // the directory above in any case.
        let on_root = action == FileAction::Delete || permits(root);
        if on_root && permits(&below) {
            rights |= right;
        }
    }
    rights
}
