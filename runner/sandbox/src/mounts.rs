//! The file system as a session sees it: what is mounted for it, as data made in the server.
//!
//! A session in a mount namespace of its own sees the whole machine read-only, but for the directories that the plan lets it
//! change. `/tmp` and `/dev/shm` are empty and its own, `/proc` shows its own processes, and what policy takes back below
//! something that it grants is covered by a mask. That closes what Landlock does not mediate: modes, owners, times and extended
//! attributes of files outside. Landlock holds besides, and decides what may be read.
//!
//! Decided here: which mounts follow from a plan. Not decided here: what the plan says, and when they are made (`enforce.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, fstat};
use rustix::io::Errno;

use super::plan::{Cover, Limits, PathRule, RemappedDirectory, Rights, SandboxPlan};
use super::{SandboxError, landlock, text};

/// The mounts of one session, in the order in which they are made.
#[derive(Debug)]
pub(super) struct MountView {
    /// Whether everything else is read-only; not where policy lets the session change all there is.
    pub(super) read_only: bool,
    /// What is taken from the machine's file system, parents first: before anything is covered or made read-only.
    pub(super) parts: Vec<BindMount>,
    /// What is made new.
    pub(super) fresh: Vec<Fresh>,
    /// Directories to be made in what is new, for the parts to stand on, parents first; files; and symbolic links, each with what it
    /// leads to.
    pub(super) directories: Vec<CString>,
    pub(super) files: Vec<CString>,
    pub(super) links: Vec<(CString, CString)>,
    /// Those of the directories in which nothing more is to be made.
    pub(super) closed: Vec<CString>,
    /// What is covered at the end.
    pub(super) covers: Vec<(CString, Cover)>,
    /// Files in whose place is an empty one that can be read.
    pub(super) blank: Vec<CString>,
    /// The directory of files that may stand for others while the session lives, if there is one.
    pub(super) stand_ins: Option<CString>,
    /// Landlock rules for places that only exist in here: with the rights as the kernel's bits.
    pub(super) rules: Vec<(CString, u64)>,
    /// The same for the session's own terminals, where those can be mounted: the machine's own are other people's.
    pub(super) terminals: Vec<(CString, u64)>,
}

/// A place of the machine's that the session finds at this path.
#[derive(Debug)]
pub(super) struct BindMount {
    pub(super) path: CString,
    /// Where the machine has it: nearly always there.
    pub(super) from: CString,
    pub(super) writable: bool,
    /// Whether programs that lie there run.
    pub(super) executable: bool,
}

/// A file system of the session's own.
#[derive(Debug)]
pub(super) struct Fresh {
    pub(super) path: CString,
    pub(super) kind: FreshKind,
    /// For the file system itself.
    pub(super) options: CString,
}

/// What kind of file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FreshKind {
    /// The processes of the session, read-only.
    Processes,
    /// Empty and in memory.
    Memory,
}

/// Places that every session has for itself, where the machine has them.
const FRESH: [(&str, FreshKind); 3] =
    [("/proc", FreshKind::Processes), ("/tmp", FreshKind::Memory), ("/dev/shm", FreshKind::Memory)];

/// What each of the places in memory may hold, unless the settings give a session less memory. Files that nobody has open or mapped are
/// seen by no watch.
const SIZE: u64 = 1 << 30;

/// What a directory in memory that stands in another's place may hold: the files that a tool keeps beside its caches.
const SIZE_INSTEAD: u64 = 64 << 20;

/// One inode costs memory too.
const BYTES_PER_INODE: u64 = 16 << 10;

/// What a session may do in its places in memory. Nothing there is anyone else's. Landlock grants it for all that is mounted below,
/// too, since it walks up through mounts: see [`is_held_below`].
const OWN: Rights = Rights::READ.and(Rights::MOVE);

/// Whether a session that has [`OWN`] in the place around it gets no more than these rights to what is mounted there: a mount can be
/// read-only, and that is all that it can hold.
fn is_held_below(rights: Rights) -> bool {
    rights.contains(Rights::READ) && (rights.contains(Rights::MOVE) || rights.without(Rights::MOVE) == rights)
}

/// Links that a session finds again in a directory that is otherwise empty.
const MAX_LINKS: usize = 1_000;

/// Bytes that each of the places in memory may hold, and shared memory.
pub(super) fn size(limits: &Limits) -> u64 {
    limits.memory.map_or(SIZE, |memory| memory.min(SIZE))
}

/// Whether every session has this place for itself, so that what it makes there is nobody else's.
pub(super) fn is_own(path: &Path) -> bool {
    FRESH.iter().any(|(own, kind)| *kind == FreshKind::Memory && path == Path::new(own))
}

/// The places in memory, where the machine has them.
pub(super) fn in_memory() -> impl Iterator<Item = &'static str> {
    let memory = FRESH.iter().filter(|(path, kind)| *kind == FreshKind::Memory && is_directory(path));
    memory.map(|(path, _)| *path)
}

/// Whether this rule keeps a session from having the place for itself: it is granted the machine's, or something in it that could not be
/// held to its rights there.
pub(super) fn is_granted(place: &Path, rule: &PathRule) -> bool {
    let unheld = rule.path.starts_with(place) && !is_held_below(rule.rights);
    !rule.rights.is_empty() && (place.starts_with(&rule.path) || unheld)
}

/// Whether a session under these rules can have a directory of its own in the place of this one.
pub fn can_stand_in(place: &Path, rules: &[PathRule]) -> bool {
    is_directory(place) && !rules.iter().any(|rule| is_granted(place, rule))
}

/// The mounts that every session has; to see whether they can be made.
pub(super) fn trial() -> MountView {
    let there = FRESH.iter().filter(|(path, _)| is_directory(path));
    let made = there.filter_map(|(path, kind)| fresh(Path::new(path), *kind, SIZE).ok());
    MountView { fresh: made.collect(), ..MountView::empty() }
}

impl MountView {
    fn empty() -> Self {
        Self {
            read_only: true,
            parts: Vec::new(),
            fresh: Vec::new(),
            directories: Vec::new(),
            files: Vec::new(),
            links: Vec::new(),
            closed: Vec::new(),
            covers: Vec::new(),
            blank: Vec::new(),
            stand_ins: None,
            rules: Vec::new(),
            terminals: Vec::new(),
        }
    }

    /// The same with files from this directory to stand for others.
    ///
    /// # Errors
    /// Its path cannot be passed on.
    pub(super) fn with_stand_ins(self, directory: Option<&Path>) -> Result<Self, SandboxError> {
        Ok(Self { stand_ins: directory.map(name).transpose()?, ..self })
    }
}

/// The mounts for these rules and masks, and the rules that are about the machine's own files: those about what the session has
/// for itself are made once it is there.
///
/// # Errors
///
/// A path cannot be looked at or passed on.
pub(super) fn view(
    plan: &SandboxPlan,
    cwd: &Path,
    own_terminals: bool,
    offered: u32,
) -> Result<(MountView, Vec<PathRule>), SandboxError> {
    let rules = &plan.rules;
    let is_granted = |place: &str| rules.iter().any(|rule| is_granted(Path::new(place), rule));
    let runs = plan.scratch.contains(Rights::EXECUTE);
    let own =
        FRESH.iter().filter(|(path, kind)| is_directory(path) && (*kind == FreshKind::Processes || !is_granted(path)));
    let mut own: Vec<_> = own.map(|(path, kind)| (PathBuf::from(path), *kind, size(&plan.limits))).collect();
    let is_apart = |place: &Path| !own.iter().any(|(own, ..)| place.starts_with(own) || own.starts_with(place));
    let instead =
        plan.instead.as_ref().filter(|instead| can_stand_in(&instead.place, rules) && is_apart(&instead.place));
    own.extend(instead.map(|instead| (instead.place.clone(), FreshKind::Memory, SIZE_INSTEAD.min(size(&plan.limits)))));
    let covers = plan.masks.iter().map(|mask| Ok((name(&mask.path)?, mask.cover)));
    let mut made = MountView {
        fresh: own.iter().map(|(path, kind, size)| fresh(path, *kind, *size)).collect::<Result<_, _>>()?,
        covers: covers.collect::<Result<_, SandboxError>>()?,
        ..MountView::empty()
    };
    let own_of = |path: &Path| own.iter().find(|(own, ..)| path.starts_with(own));
    let mut wanted: Vec<Wanted> = rules.iter().filter_map(|rule| wanted(rule).transpose()).collect::<Result<_, _>>()?;
    let stands = |wanted: &[Wanted]| wanted.iter().any(|part| part.granted && cwd.starts_with(&part.path));
    if own_of(cwd).is_some_and(|(_, kind, _)| *kind == FreshKind::Memory) && !stands(&wanted) {
        wanted.push(Wanted { path: cwd.into(), granted: false, writable: false, executable: false, directory: true });
    }
    made.read_only = !wanted.iter().any(|part| part.path == Path::new("/") && part.writable);
    wanted.retain(|part| part.path != Path::new("/"));
    wanted.sort_by(|one, other| one.path.cmp(&other.path));
    wanted.retain(|part| !part.path.starts_with("/proc") && !part.path.starts_with("/sys"));
    wanted.retain(|part| !part.path.starts_with("/dev") || part.path.starts_with("/dev/shm"));
    wanted.retain(|part| !own.iter().any(|(own, ..)| part.path == *own));
    let shown = instead.map(|instead| instead.shown.as_slice()).unwrap_or_default();
    // What lies there on the machine is not what the session finds there.
    wanted.retain(|part| !shown.iter().any(|shown| part.path.starts_with(&shown.at)));
    let mut stand: BTreeSet<PathBuf> = BTreeSet::new();
    let mut taken: Vec<&Wanted> = Vec::new();
    for part in &wanted {
        let around = taken.iter().rev().find(|outer| part.path.starts_with(&outer.path));
        let differs = match around {
            Some(outer) => {
                let runs_there = runs && own_of(&part.path).is_some() && part.executable && !outer.executable;
                part.writable && !outer.writable || runs_there
            }
            None => part.writable || own_of(&part.path).is_some(),
        };
        if !differs || (!part.granted && !part.directory) {
            continue;
        }
        if let (None, Some((own, ..))) = (around, own_of(&part.path)) {
            let above = part.path.ancestors().skip(1).take_while(|path| *path != own);
            stand.extend(above.map(Path::to_owned));
            if part.directory {
                stand.insert(part.path.clone());
            } else {
                made.files.push(name(&part.path)?);
            }
        }
        if !part.granted {
            continue;
        }
        // Landlock's right to run programs in the place around it would count for it, too.
        let executable = part.executable || !runs || own_of(&part.path).is_none();
        let path = name(&part.path)?;
        made.parts.push(BindMount { from: path.clone(), path, writable: part.writable, executable });
        taken.push(part);
    }
    for RemappedDirectory { at, from, writable } in shown {
        let above = at.ancestors().take_while(|path| instead.is_some_and(|instead| *path != instead.place));
        stand.extend(above.map(Path::to_owned));
        made.parts.push(BindMount { path: name(at)?, from: name(from)?, writable: *writable, executable: true });
    }
    let empty = wanted.iter().filter(|part| !part.granted && stand.contains(&part.path));
    let empty: BTreeSet<&Path> = empty.map(|part| part.path.as_path()).collect();
    made.closed = empty.iter().map(|path| name(path)).collect::<Result<_, _>>()?;
    for path in instead.iter().flat_map(|instead| &instead.closed) {
        if !taken.iter().any(|part| part.path == *path) {
            stand.insert(path.clone());
            made.closed.push(name(path)?);
        }
    }
    let leading: BTreeMap<_, _> = empty.iter().flat_map(|path| links(path, rules)).collect();
    let free = |path: &Path| !stand.contains(path) && !taken.iter().any(|part| part.path.starts_with(path));
    for (path, target) in leading.iter().filter(|(path, _)| free(path)) {
        made.links.push((name(target)?, name(path)?));
    }
    made.directories = stand.iter().map(|path| name(path)).collect::<Result<_, _>>()?;
    // A rule about what is covered would be about files that nobody sees any more.
    let covered = |path: &Path| own_of(path).is_some() && !taken.iter().any(|part| path.starts_with(&part.path));
    let reads = |rule: &PathRule, path: &Path| rule.rights.contains(Rights::READ) && path.starts_with(&rule.path);
    for path in &plan.blank {
        let is_masked = plan.masks.iter().any(|mask| path.starts_with(&mask.path));
        let is_plain = path.symlink_metadata().is_ok_and(|about| about.is_file());
        if is_plain && !is_masked && own_of(path).is_none() && !rules.iter().any(|rule| reads(rule, path)) {
            made.blank.push(name(path)?);
        }
    }
    let (inside, machine): (Vec<_>, Vec<_>) = rules.iter().cloned().partition(|rule| covered(&rule.path));
    let memory = own.iter().filter(|(_, kind, _)| *kind == FreshKind::Memory);
    let rights = if runs { OWN.and(Rights::EXECUTE) } else { OWN };
    let memory = memory.map(|(path, ..)| PathRule { path: path.clone(), rights, optional: true });
    for rule in inside.into_iter().filter(|rule| rule.path.starts_with("/proc")).chain(memory) {
        if let Some(access) = landlock::access_bits(&rule, offered) {
            made.rules.push((name(&rule.path)?, access));
        }
    }
    if own_terminals && !rules.iter().any(|rule| TERMINALS.iter().any(|path| is_granted_at(path, rule))) {
        for path in TERMINALS {
            let rule = PathRule { path: path.into(), rights: Rights::READ | Rights::WRITE, optional: true };
            if let Some(access) = landlock::access_bits(&rule, offered) {
                made.terminals.push((name(&rule.path)?, access));
            }
        }
    }
    Ok((made, machine))
}

/// Where terminals are made, and where they lie; the first may lead to the second.
const TERMINALS: [&str; 2] = ["/dev/ptmx", "/dev/pts"];

/// Whether the session is granted the machine's own.
fn is_granted_at(path: &str, rule: &PathRule) -> bool {
    let path = Path::new(path);
    !rule.rights.is_empty() && (path.starts_with(&rule.path) || rule.path.starts_with(path))
}

/// The symbolic links in a directory that lead to what may be read, each with what stands in it.
fn links(directory: &Path, rules: &[PathRule]) -> Vec<(PathBuf, PathBuf)> {
    let readable =
        |path: &Path| rules.iter().any(|rule| path.starts_with(&rule.path) && rule.rights.contains(Rights::READ));
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let links = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink()));
    let links = links.filter(|link| link.path().canonicalize().is_ok_and(|target| readable(&target)));
    links.filter_map(|link| Some((link.path(), std::fs::read_link(link.path()).ok()?))).take(MAX_LINKS).collect()
}

/// A place that a rule is about.
#[derive(Debug)]
struct Wanted {
    path: PathBuf,
    /// Else it is there, and empty: a right to nothing in it could not be held where the session has all rights around it.
    granted: bool,
    writable: bool,
    executable: bool,
    directory: bool,
}

/// Nothing for what is not there, and for devices, whose contents a read-only mount does not hold.
fn wanted(rule: &PathRule) -> Result<Option<Wanted>, SandboxError> {
    let file = match landlock::open(&rule.path) {
        Ok(file) => file,
        Err(Errno::NOENT | Errno::NOTDIR) if rule.optional => return Ok(None),
        Err(errno) => return Err(SandboxError::Path { path: rule.path.clone(), source: errno.into() }),
    };
    let about = fstat(&file).map_err(|errno| SandboxError::Path { path: rule.path.clone(), source: errno.into() })?;
    let kind = FileType::from_raw_mode(about.st_mode);
    let writable = rule.rights.contains(Rights::WRITE) || rule.rights.contains(Rights::DELETE);
    let wanted = Wanted {
        path: rule.path.clone(),
        granted: !rule.rights.is_empty(),
        writable,
        executable: rule.rights.contains(Rights::EXECUTE),
        directory: kind == FileType::Directory,
    };
    Ok(matches!(kind, FileType::Directory | FileType::RegularFile).then_some(wanted))
}

fn fresh(path: &Path, kind: FreshKind, size: u64) -> Result<Fresh, SandboxError> {
    let options = match kind {
        FreshKind::Processes => String::new(),
        FreshKind::Memory => format!("mode=1777,size={size},nr_inodes={}", (size / BYTES_PER_INODE).max(64)),
    };
    Ok(Fresh { path: name(path)?, kind, options: text("options of a mount", options.into())? })
}

fn is_directory(path: impl AsRef<Path>) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|about| about.is_dir())
}

fn name(path: &Path) -> Result<CString, SandboxError> {
    text("path", path.as_os_str().to_owned())
}
