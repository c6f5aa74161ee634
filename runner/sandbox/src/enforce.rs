//! When the fences take hold: the steps of a new process, from `clone` to its program's first instruction.
//!
//! The child is a copy of one thread of a server with many. Another thread may have held any lock at that moment, the
//! allocator's among them, so the child allocates nothing, locks nothing and never panics: everything it needs was made before,
//! and what it does is system calls. The two lists, [`ARRIVE`] and [`FENCE`], are those calls in their order. A step that fails
//! is told to the server by name, and the program does not start.
//!
//! ```text
//! launcher ── clone ─▶ first process: ARRIVE ── vfork ─▶ program: FENCE, execve
//!                      then lives as init.rs says
//! ```
//!
//! The system calls themselves, as safe functions, are in `call.rs`.

use std::ffi::{CStr, CString, c_int, c_uint};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, LazyLock, mpsc};

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, getegid, geteuid, getpid, pidfd_open, waitid};
use seccompiler::BpfProgram;

use super::call::{
    CAP_SETPCAP, Capabilities, Done, Errno, ExecStrings, Filter, LAST_SIGNAL, NEW_LISTENER, WAIT_KILLABLE_RECV,
    add_rule, add_rule_at, attach, capabilities, clone_in_place, clone_process, close, close_range, control_terminal,
    copy_mount, create, detach, duplicate, enter, enter_namespace, exit, identity, install_filter, is_directory,
    is_mounted_on, is_readable, keep_mounts_private, kill, listen_on_loopback, make_directory, make_link, mount,
    open_in, open_place, open_to_read, own_number, parent_number, prctl, prctl_value, replace_program, restrict_mount,
    restrict_self, send_descriptor, set_default_action, set_limit, set_no_capabilities, set_signal_mask, setsid,
    stream_socket, switch_on_loopback, umask, write, write_file,
};
use super::group::Group;
use super::guard::{self, Judge};
use super::init::{self, Duty, SignalReach};
use super::landlock::READ_FILE;
use super::mounts::{Fresh, FreshKind, MountView};
use super::names::Names;
use super::plan::Cover;
use super::process::{Lead, Process};
use super::seccomp::Filters;
use super::{Enforced, Limit, Namespaces, Network, PROXY_PORT, SandboxError, out_of_the_way};

/// A program with its sandbox, ready to start once. Made by [`prepare`](super::prepare) alone.
#[must_use]
pub struct Prepared {
    pub(super) program: CString,
    pub(super) argv: Vec<CString>,
    pub(super) env: Vec<CString>,
    pub(super) cwd: CString,
    /// What the program holds, and at which number; all are numbered above every such number.
    pub(super) descriptors: Vec<(OwnedFd, RawFd)>,
    pub(super) controlling_terminal: Option<RawFd>,
    pub(super) limits: Vec<Limit>,
    /// The session's highest process number, as a line: what bounds its processes until the server looks again.
    pub(super) last_number: Option<Vec<u8>>,
    /// Pages of shared memory that the session may have (shmget(2)), as a line: nobody has to have them mapped, so that no watch sees them.
    pub(super) shared_pages: Vec<u8>,
    pub(super) ruleset: OwnedFd,
    /// The first process's own rules, where it needs and can have them.
    pub(super) reach: Option<OwnedFd>,
    /// The session's own view of the file system, where it has one.
    pub(super) view: Option<MountView>,
    pub(super) filters: &'static [BpfProgram],
    /// All that there are for a session of its kind.
    pub(super) kinds: &'static Filters,
    /// Whether its programs may use the loopback device of its own network.
    pub(super) loopback: bool,
    pub(super) namespaces: Namespaces,
    pub(super) enforced: Enforced,
    /// The names that its programs make, where the exec guard is told of them.
    pub(super) names: Option<Arc<Names>>,
    /// What answers for its programs, and the filter that asks.
    pub(super) guard: Option<(Box<dyn Judge>, BpfProgram)>,
    /// Its control group, where the server has a place for one.
    pub(super) group: Option<Group>,
}

impl Prepared {
    /// What the session will get.
    #[must_use]
    pub fn enforced(&self) -> &Enforced {
        &self.enforced
    }
}

/// Without the environment, which may hold secrets.
impl fmt::Debug for Prepared {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("Prepared");
        shown.field("program", &self.program).field("enforced", &self.enforced).finish_non_exhaustive()
    }
}

/// Starts the program inside its sandbox, and returns once it runs. Blocks for as long as the steps take: some milliseconds.
///
/// # Errors
///
/// No process could be made, or one of its steps failed; then nothing of the program has run.
pub fn spawn(mut prepared: Prepared) -> Result<Process, SandboxError> {
    let (namespaces, guard, group) = (prepared.namespaces, prepared.guard.take(), prepared.group.take());
    let (judge, filter) = guard.unzip();
    start(namespaces, Errand::Program(Box::new(prepared), filter), judge, group)
}

/// Makes a process in these namespaces, with this view if any, and ends it again. `made` hears when there is that process.
pub(super) fn attempt(
    namespaces: Namespaces,
    view: Option<MountView>,
    made: Option<mpsc::Sender<()>>,
) -> Result<(), SandboxError> {
    start(namespaces, Errand::Trial(view.map(Box::new), made), None, None)?
        .reap()
        .map(drop)
        .map_err(server("wait for a process"))
}

/// The same in this control group.
pub(super) fn attempt_in(namespaces: Namespaces, group: Group) -> Result<(), SandboxError> {
    start(namespaces, Errand::Trial(None, None), None, Some(group))?
        .reap()
        .map(drop)
        .map_err(server("wait for a process"))
}

/// A session's view of the file system, for putting more masks into it while it lives.
#[derive(Debug)]
pub(crate) struct LiveView {
    /// None where the session has the server's own.
    users: Option<OwnedFd>,
    mounts: OwnedFd,
    /// As in [`Covers`].
    directory: OwnedFd,
    file: OwnedFd,
    no_variables: OwnedFd,
    /// The directory of files that stand for others; an empty one where the session has none.
    stand_ins: OwnedFd,
}

impl LiveView {
    /// What the first process sends as soon as it has it.
    fn receive(post: &UnixStream, namespaces: Namespaces) -> Result<Self, SandboxError> {
        let next = || {
            let received = guard::receive(post).map_err(server("receive a session's view"))?;
            received.ok_or_else(|| server("receive a session's view")(io::ErrorKind::NotFound.into()))
        };
        let (users, mounts) = (next()?, next()?);
        let (directory, file, no_variables, stand_ins) = (next()?, next()?, next()?, next()?);
        let users = Some(users).filter(|_| namespaces == Namespaces::User);
        Ok(Self { users, mounts, directory, file, no_variables, stand_ins })
    }

    /// The empty file that stands for files of variables, by a descriptor that names it and reads nothing.
    pub(super) fn no_variables(&self) -> BorrowedFd<'_> {
        self.no_variables.as_fd()
    }
}

/// Puts these masks into the view of a living session, where they do not stand already. A process of the server's does it, which enters
/// the session's namespaces and ends.
///
/// # Errors
///
/// No process could be made, or something cannot be covered.
pub(super) fn cover_in(view: &Arc<LiveView>, masks: Vec<(CString, Cover)>) -> Result<(), SandboxError> {
    in_view(view, move |view| cover_here(view, &masks))
}

/// Puts files in the place of others in the view of a living session, where they do not stand already: each path with the name of a file in
/// the directory of stand-ins. Programs of the session can read them.
///
/// # Errors
///
/// No process could be made, or something cannot be put there.
pub(super) fn stand_in(view: &Arc<LiveView>, files: Vec<(CString, CString)>) -> Result<(), SandboxError> {
    in_view(view, move |view| stand_in_here(view, &files))
}

/// Takes the masks off these files in the view of a living session.
///
/// # Errors
///
/// No process could be made, or a mask stays.
pub(super) fn uncover_in(view: &Arc<LiveView>, files: Vec<CString>) -> Result<(), SandboxError> {
    in_view(view, move |view| uncover_here(view, &files))
}

fn in_view(view: &Arc<LiveView>, act: impl Fn(&LiveView) -> Done + Send + 'static) -> Result<(), SandboxError> {
    let (report, reporting) = pipe()?;
    let view = Arc::clone(view);
    let make = move || match clone_process(0, None) {
        Ok(Some((_, process))) => Ok(process),
        Ok(None) => {
            let errno = enter_view(&view).and_then(|()| act(&view)).err().unwrap_or(0);
            let _ = write(reporting.as_raw_fd(), &errno.to_ne_bytes());
            exit(0)
        }
        Err(errno) => Err(io::Error::from_raw_os_error(errno)),
    };
    let process = on_launcher(make)?.map_err(server("make a process"))?;
    let mut told = Vec::new();
    File::from(report).read_to_end(&mut told).map_err(server("read from a pipe"))?;
    let reaped = waitid(WaitId::PidFd(process.as_fd()), WaitIdOptions::EXITED);
    reaped.map_err(|errno| server("wait for a process")(errno.into()))?;
    match <[u8; 4]>::try_from(told.as_slice()).map_or(libc::EIO, i32::from_ne_bytes) {
        0 => Ok(()),
        errno => Err(SandboxError::Enforce { step: ChildStep::Mounts, source: io::Error::from_raw_os_error(errno) }),
    }
}

/// In that process, which is a copy of the server and allocates nothing.
fn enter_view(view: &LiveView) -> Done {
    if let Some(users) = &view.users {
        enter_namespace(users.as_raw_fd(), libc::CLONE_NEWUSER)?;
    }
    enter_namespace(view.mounts.as_raw_fd(), libc::CLONE_NEWNS)
}

/// The same.
fn stand_in_here(view: &LiveView, files: &[(CString, CString)]) -> Done {
    files.iter().try_for_each(|(path, name)| {
        let target = open_place(path)?;
        let file = open_in(view.stand_ins.as_raw_fd(), name)?;
        if identity(file)? == identity(target)? {
            close(file);
            close(target);
            return Ok(());
        }
        let copy = copy_mount(file, false)?;
        close(file);
        let flags = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
        restrict_mount(copy, flags | libc::MOUNT_ATTR_NOEXEC)?;
        attach(copy, target)?;
        close(copy);
        Ok(())
    })
}

/// The same.
fn uncover_here(view: &LiveView, files: &[CString]) -> Done {
    let masks = [identity(view.file.as_raw_fd())?, identity(view.no_variables.as_raw_fd())?];
    files.iter().try_for_each(|path| {
        let place = match open_place(path) {
            Ok(place) => place,
            // Gone, or hidden by another mask.
            Err(libc::ENOENT | libc::ENOTDIR | libc::EACCES | libc::ELOOP) => return Ok(()),
            Err(errno) => return Err(errno),
        };
        let stands = identity(place).map(|found| masks.contains(&found));
        close(place);
        if stands? { detach(path) } else { Ok(()) }
    })
}

/// The same.
fn cover_here(view: &LiveView, masks: &[(CString, Cover)]) -> Done {
    let [directory, file, no_variables] = [&view.directory, &view.file, &view.no_variables].map(AsRawFd::as_raw_fd);
    let covers = Covers { directory, file, no_variables };
    masks.iter().try_for_each(|(path, cover)| {
        let mut covered = cover_place(path, *cover, &covers);
        for _ in 0..MAX_REPLACED {
            match covered {
                // It was replaced after it had been opened: nothing can be mounted on what has no name.
                Err(libc::ENOENT | libc::ENOTDIR | libc::EINVAL | libc::ESTALE) => {
                    covered = cover_place(path, *cover, &covers);
                }
                covered => return covered,
            }
        }
        covered
    })
}

/// How often a file may be replaced while it is being covered.
const MAX_REPLACED: usize = 100;

fn cover_place(path: &CStr, cover: Cover, covers: &Covers) -> Done {
    let place = match open_place(path) {
        Ok(place) => place,
        // Gone, hidden by another mask, or a link, which leads to something that has a name of its own.
        Err(libc::ENOENT | libc::ENOTDIR | libc::EACCES | libc::ELOOP) => return Ok(()),
        Err(errno) => return Err(errno),
    };
    let stands = is_mounted_on(place);
    close(place);
    if stands? { Ok(()) } else { put_cover(path, cover, covers) }
}

/// What a process is made for.
enum Errand {
    /// With the exec guard's filter, if it has one.
    Program(Box<Prepared>, Option<BpfProgram>),
    /// To see whether it can be. The sender tells the caller that the process is made.
    Trial(Option<Box<MountView>>, Option<mpsc::Sender<()>>),
}

impl Errand {
    fn prepared(&self) -> Option<&Prepared> {
        match self {
            Self::Program(prepared, _) => Some(prepared),
            Self::Trial(..) => None,
        }
    }

    fn filter(&self) -> Option<&BpfProgram> {
        match self {
            Self::Program(_, filter) => filter.as_ref(),
            Self::Trial(..) => None,
        }
    }

    /// Whether a proxy of the server's shall listen in its network.
    fn has_proxy(&self) -> bool {
        self.prepared().is_some_and(|prepared| prepared.enforced.network == Network::Proxy)
    }

    fn view(&self) -> Option<&MountView> {
        match self {
            Self::Program(prepared, _) => prepared.view.as_ref(),
            Self::Trial(view, _) => view.as_deref(),
        }
    }
}

fn start(
    namespaces: Namespaces,
    errand: Errand,
    judge: Option<Box<dyn Judge>>,
    group: Option<Group>,
) -> Result<Process, SandboxError> {
    let (failure, failing) = pipe()?;
    let (told, telling) = pipe()?;
    let (request, requested) = UnixStream::pair().map_err(server("make a socket"))?;
    let (post, guarding) = UnixStream::pair().map_err(server("make a socket"))?;
    let (door, opening) = UnixStream::pair().map_err(server("make a socket"))?;
    let (window, viewing) = UnixStream::pair().map_err(server("make a socket"))?;
    let (requested, guarding) = (out_of_the_way(requested)?, out_of_the_way(guarding)?);
    let has_proxy = errand.has_proxy();
    let has_view = errand.prepared().is_some() && errand.view().is_some();
    let names = errand.prepared().and_then(|prepared| prepared.names.clone());
    let (opening, viewing) = (out_of_the_way(opening)?, out_of_the_way(viewing)?);
    let posts = Posts { failing, telling, requested, guarding, opening, viewing };
    let group = group.map(Arc::new);
    let into = group.clone();
    let clone = move || launch(namespaces, &errand, &posts, into.as_deref());
    let (pid, pidfd) = on_launcher(clone)?.map_err(server("make a process"))?;
    let lead = if namespaces == Namespaces::None { Lead::Supervisor } else { Lead::Namespace };
    // The program's own `execve` is the first that waits for an answer, and the first process for it. Without anyone to give
    // one it fails.
    let guarded = judge.map_or(Ok(()), |judge| guard::stand(&post, judge, names));
    let mut process = Process::new(pid, pidfd, lead, request, told);
    process.group = group;
    guarded?;
    let failed = failed_step(failure)?;
    if failed.is_none() && has_view {
        process.view = Some(Arc::new(LiveView::receive(&window, namespaces)?));
    }
    match failed {
        None if has_proxy => {
            let listener = guard::receive(&door).map_err(server("receive the proxy's socket"))?;
            process.listener =
                Some(listener.ok_or_else(|| server("receive the proxy's socket")(io::ErrorKind::NotFound.into()))?);
            Ok(process)
        }
        None => Ok(process),
        Some((step, source)) => {
            process.reap().map_err(server("wait for a process"))?;
            Err(SandboxError::Enforce { step, source })
        }
    }
}

/// The new process's ends of what ties it to the server, out of the way of the program's descriptors.
struct Posts {
    /// Where a failed step is told.
    failing: OwnedFd,
    /// Where the first process tells the program's number, and later its status.
    telling: OwnedFd,
    /// Hung up when the first process shall end everything.
    requested: OwnedFd,
    /// Where the exec guard's listener is sent.
    guarding: OwnedFd,
    /// Where the socket is sent at which the session's proxy listens.
    opening: OwnedFd,
    /// Where the session's view is sent.
    viewing: OwnedFd,
}

/// A pipe whose writing end is out of the way of the program's descriptors.
fn pipe() -> Result<(OwnedFd, OwnedFd), SandboxError> {
    let (reading, writing) = pipe_with(PipeFlags::CLOEXEC).map_err(|errno| server("make a pipe")(errno.into()))?;
    Ok((reading, out_of_the_way(writing)?))
}

/// What the child wrote into the pipe: nothing, once `execve` has closed it.
fn failed_step(pipe: OwnedFd) -> Result<Option<(ChildStep, io::Error)>, SandboxError> {
    let mut report = Vec::new();
    File::from(pipe).read_to_end(&mut report).map_err(server("read from a pipe"))?;
    let Some((step, errno)) = report.split_first() else { return Ok(None) };
    let step = ChildStep::ALL.into_iter().find(|known| *known as u8 == *step).unwrap_or(ChildStep::Program);
    let errno = <[u8; 4]>::try_from(errno).map_or(libc::EIO, i32::from_ne_bytes);
    Ok(Some((step, io::Error::from_raw_os_error(errno))))
}

fn server(what: &'static str) -> impl Fn(io::Error) -> SandboxError {
    move |source| SandboxError::Server { what, source }
}

/// A step of a new process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[non_exhaustive]
pub enum ChildStep {
    /// It is killed when the server dies.
    DieWithServer = 1,
    /// It is the same user inside its user namespace as outside.
    MapUser,
    /// Its copy of the server's memory is closed to others.
    HideMemory,
    /// In its network somebody listens for it.
    Network,
    /// Its namespace has only so many process numbers.
    Numbers,
    /// It sees the file system as its session shall.
    Mounts,
    /// It has no capabilities and gets none.
    DropCapabilities,
    /// Executing a file gives it no privileges.
    NoNewPrivileges,
    /// Its signals reach the session's processes and nobody else's.
    Reach,
    /// Descendants that lose their parents become its children.
    Orphans,
    /// It makes the process that becomes the program.
    Fork,
    /// Signals do what they do by default, and none is blocked.
    DefaultSignals,
    /// It leads a terminal session and a process group of its own.
    OwnSession,
    /// It holds the descriptors that it was given and no others.
    Descriptors,
    /// One of its descriptors is its terminal.
    Terminal,
    /// It stands in its working directory.
    Directory,
    /// It and its children use no more than this.
    Limits,
    /// Files that it makes are not writable by others.
    FileMode,
    /// It touches no file but those of the rules.
    Landlock,
    /// It makes no system call that the filters refuse.
    Filters,
    /// What it executes is asked about.
    Guard,
    /// It becomes the program.
    Program,
}

impl ChildStep {
    const ALL: [Self; 22] = [
        Self::DieWithServer,
        Self::MapUser,
        Self::HideMemory,
        Self::Network,
        Self::Numbers,
        Self::Mounts,
        Self::DropCapabilities,
        Self::NoNewPrivileges,
        Self::Reach,
        Self::Orphans,
        Self::Fork,
        Self::DefaultSignals,
        Self::OwnSession,
        Self::Descriptors,
        Self::Terminal,
        Self::Directory,
        Self::Limits,
        Self::FileMode,
        Self::Landlock,
        Self::Filters,
        Self::Guard,
        Self::Program,
    ];
}

/// What the process was to do, to stand after “cannot”.
impl fmt::Display for ChildStep {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::DieWithServer => "tie the process to the server",
            Self::MapUser => "map the user into the user namespace",
            Self::HideMemory => "hide the process's memory",
            Self::Network => "open the session's way to its proxy",
            Self::Numbers => "bound the session's process numbers",
            Self::Mounts => "make the session's view of the file system",
            Self::DropCapabilities => "drop capabilities",
            Self::NoNewPrivileges => "renounce new privileges",
            Self::Reach => "keep the first process's signals inside the session",
            Self::Orphans => "take in the session's orphans",
            Self::Fork => "make the program's process",
            Self::DefaultSignals => "reset signals",
            Self::OwnSession => "open a terminal session",
            Self::Descriptors => "arrange the descriptors",
            Self::Terminal => "take control of the terminal",
            Self::Directory => "enter the working directory",
            Self::Limits => "set the limits",
            Self::FileMode => "set the file mode mask",
            Self::Landlock => "put the Landlock rules in force",
            Self::Filters => "put the system call filters in force",
            Self::Guard => "put the exec guard in force",
            Self::Program => "start the program",
        })
    }
}

/// The steps of the process that `clone` makes, in their order.
///
/// - The server's death first: what comes later must not outlive it.
/// - Capabilities go as soon as the mounts are made, the last thing that needs one, so that no later step succeeds by privilege:
///   entering the working directory, for one, must be the session's own right.
const ARRIVE: [(ChildStep, Act); 11] = [
    (ChildStep::DieWithServer, die_with_server),
    (ChildStep::MapUser, map_user),
    (ChildStep::HideMemory, hide_memory),
    (ChildStep::Network, open_network),
    // Before its own /proc, which is read-only.
    (ChildStep::Numbers, bound_numbers),
    (ChildStep::Mounts, make_view),
    (ChildStep::DropCapabilities, drop_capabilities),
    (ChildStep::NoNewPrivileges, no_new_privileges),
    (ChildStep::Reach, limit_reach),
    (ChildStep::DefaultSignals, expect_children),
    (ChildStep::Orphans, adopt_orphans),
];

/// The steps of the process that becomes the program, in their order.
///
/// - Landlock after everything that opens or enters a path, filters after everything that they refuse.
/// - The exec guard's filter comes last, and its first question is about this very program.
const FENCE: [(ChildStep, Act); 11] = [
    (ChildStep::DefaultSignals, default_signals),
    (ChildStep::OwnSession, own_session),
    (ChildStep::Descriptors, arrange_descriptors),
    (ChildStep::Terminal, take_terminal),
    (ChildStep::Directory, enter_directory),
    (ChildStep::Limits, set_limits),
    (ChildStep::FileMode, set_file_mode),
    (ChildStep::Landlock, restrict_paths),
    // Before the filters, which let nobody have a listener.
    (ChildStep::Guard, install_guard),
    (ChildStep::Filters, install_filters),
    (ChildStep::Program, execute),
];

type Act = fn(&Child<'_>) -> Done;

/// What the child's steps need, as bare numbers and pointers into what the launcher keeps alive until after `clone`; the child
/// has its own copy of it all.
struct Child<'a> {
    namespaces: Namespaces,
    /// A descriptor of the server's process, and its number.
    server: RawFd,
    server_number: c_int,
    /// As in [`Posts`].
    failing: RawFd,
    telling: RawFd,
    requested: RawFd,
    guarding: RawFd,
    /// None where no proxy shall listen.
    opening: Option<RawFd>,
    /// Whether the session may use its loopback device.
    loopback: bool,
    viewing: RawFd,
    /// The first process's own Landlock rules.
    reach: Option<RawFd>,
    /// The line that maps the user, and the one for the group.
    maps: [&'a [u8]; 2],
    last_number: Option<&'a [u8]>,
    shared_pages: &'a [u8],
    view: Option<&'a MountView>,
    /// For each part of the view the copy of its mount, once it has been taken.
    taken: &'a [AtomicI32],
    /// None where the process is only made to see whether it can be.
    program: Option<Program<'a>>,
}

struct Program<'a> {
    path: &'a CStr,
    argv: &'a ExecStrings<'a>,
    env: &'a ExecStrings<'a>,
    cwd: &'a CStr,
    descriptors: &'a [(RawFd, RawFd)],
    controlling_terminal: Option<RawFd>,
    limits: &'a [Limit],
    ruleset: RawFd,
    filters: &'a [Filter<'a>],
    guard: Option<&'a Filter<'a>>,
}

/// Runs `errand` on the launcher, the one thread that makes processes.
///
/// The kernel ties a child's death signal to the *thread* that made it. A thread of the runtime's pool may end while the server
/// lives, and would take its sessions with it; this one ends with the process. It also keeps all signals blocked, so that no
/// handler of the server ever runs in a child.
fn on_launcher<T: Send + 'static>(errand: impl FnOnce() -> T + Send + 'static) -> Result<T, SandboxError> {
    static LAUNCHER: LazyLock<Option<mpsc::Sender<Launch>>> = LazyLock::new(|| {
        let (sender, errands) = mpsc::channel::<Launch>();
        let work = move || {
            if set_signal_mask(u64::MAX).is_ok() {
                errands.into_iter().for_each(|errand| errand());
            }
        };
        std::thread::Builder::new().name("palisade-launcher".to_owned()).spawn(work).ok()?;
        Some(sender)
    });
    let gone = || server("reach the thread that starts processes")(io::ErrorKind::BrokenPipe.into());
    let (answer, result) = mpsc::sync_channel(1);
    // A caller that no longer waits for the answer drops it, and with it the process.
    let errand = Box::new(move || drop(answer.send(errand())));
    LAUNCHER.as_ref().ok_or_else(gone)?.send(errand).map_err(|_| gone())?;
    result.recv().map_err(|_| gone())
}

type Launch = Box<dyn FnOnce() + Send>;

/// Lays out what the child needs and makes it.
fn launch(namespaces: Namespaces, errand: &Errand, posts: &Posts, group: Option<&Group>) -> io::Result<(Pid, OwnedFd)> {
    let (prepared, view) = (errand.prepared(), errand.view());
    let guard = errand.filter().map(Filter::of).transpose()?;
    let argv = ExecStrings::of(prepared.map(|prepared| &*prepared.argv).unwrap_or_default());
    let env = ExecStrings::of(prepared.map(|prepared| &*prepared.env).unwrap_or_default());
    let descriptors: Vec<_> = prepared
        .iter()
        .flat_map(|prepared| &prepared.descriptors)
        .map(|(descriptor, number)| (descriptor.as_raw_fd(), *number))
        .collect();
    let filters =
        prepared.iter().flat_map(|prepared| prepared.filters).map(Filter::of).collect::<io::Result<Vec<_>>>()?;
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    let maps = [format!("{uid} {uid} 1\n"), format!("{gid} {gid} 1\n")];
    let taken: Vec<AtomicI32> = view.iter().flat_map(|view| &view.parts).map(|_| AtomicI32::new(-1)).collect();
    let server = out_of_the_way(pidfd_open(getpid(), PidfdFlags::empty())?).map_err(io::Error::other)?;

    let child = Child {
        namespaces,
        server: server.as_raw_fd(),
        server_number: getpid().as_raw_nonzero().get(),
        failing: posts.failing.as_raw_fd(),
        telling: posts.telling.as_raw_fd(),
        requested: posts.requested.as_raw_fd(),
        guarding: posts.guarding.as_raw_fd(),
        opening: errand.has_proxy().then(|| posts.opening.as_raw_fd()),
        loopback: prepared.is_some_and(|prepared| prepared.loopback),
        viewing: posts.viewing.as_raw_fd(),
        reach: prepared.and_then(|prepared| prepared.reach.as_ref()).map(AsRawFd::as_raw_fd),
        maps: maps.each_ref().map(String::as_bytes),
        last_number: prepared.and_then(|prepared| prepared.last_number.as_deref()),
        shared_pages: prepared.map_or(&[], |prepared| &prepared.shared_pages),
        view,
        taken: &taken,
        program: prepared.map(|prepared| Program {
            path: &prepared.program,
            argv: &argv,
            env: &env,
            cwd: &prepared.cwd,
            descriptors: &descriptors,
            controlling_terminal: prepared.controlling_terminal,
            limits: &prepared.limits,
            ruleset: prepared.ruleset.as_raw_fd(),
            filters: &filters,
            guard: guard.as_ref(),
        }),
    };
    let mounts = if view.is_some() { libc::CLONE_NEWNS } else { 0 };
    let made = clone_process(clone_flags(namespaces) | mounts, group.map(Group::handle));
    match made.map_err(io::Error::from_raw_os_error)? {
        Some(made) => {
            if let Errand::Trial(_, Some(waits)) = errand {
                let _nobody_waits_any_more = waits.send(());
            }
            Ok(made)
        }
        None => child.run(),
    }
}

fn clone_flags(namespaces: Namespaces) -> c_int {
    let own = libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWNET;
    match namespaces {
        Namespaces::Root => own,
        Namespaces::User => own | libc::CLONE_NEWUSER,
        Namespaces::None => 0,
    }
}

// From here to the end of `impl Child` and its acts everything runs in the child.

impl Child<'_> {
    fn run(&self) -> ! {
        self.follow(&ARRIVE);
        match self.fork(own_number()) {
            Ok(program) => init::live(program, &self.duty()),
            Err(errno) => self.fail(ChildStep::Fork, errno),
        }
    }

    /// Makes the process that becomes the program, and gives its number once it has become it.
    ///
    /// Until then it works in this process's memory, and this one rests. A copy of its own, to be thrown away at once, would be
    /// one of all the memory that the server has: the most expensive step of all.
    fn fork(&self, first: c_int) -> Result<c_int, Errno> {
        clone_in_place(&|| self.become_program(first))
    }

    fn become_program(&self, first: c_int) -> ! {
        if let Err(errno) = die_with_first(first) {
            self.fail(ChildStep::DieWithServer, errno);
        }
        if self.program.is_some() {
            self.follow(&FENCE);
        }
        exit(0)
    }

    fn follow(&self, steps: &[(ChildStep, Act)]) {
        for (step, act) in steps {
            if let Err(errno) = act(self) {
                self.fail(*step, errno);
            }
        }
    }

    fn fail(&self, step: ChildStep, errno: Errno) -> ! {
        let [a, b, c, d] = errno.to_ne_bytes();
        let _ = write(self.failing, &[step as u8, a, b, c, d]);
        exit(EXIT_FAILED)
    }

    fn duty(&self) -> Duty {
        Duty {
            telling: self.telling,
            server: self.server,
            requested: self.requested,
            reach: match (self.namespaces, self.reach) {
                (Namespaces::Root | Namespaces::User, _) => SignalReach::Namespace,
                (Namespaces::None, Some(_)) => SignalReach::Domain { server: self.server_number },
                (Namespaces::None, None) => SignalReach::Children,
            },
        }
    }

    fn program(&self) -> Result<&Program<'_>, Errno> {
        self.program.as_ref().ok_or(libc::EINVAL)
    }
}

/// Never seen by anyone: whoever ends with it has told the server why.
pub(super) const EXIT_FAILED: c_int = 125;

/// Where the kernel ends a namespace with its first process, that one is killed. Elsewhere it has to live on to end the others,
/// and watches the server itself.
fn die_with_server(child: &Child<'_>) -> Done {
    if child.namespaces != Namespaces::None {
        prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL.unsigned_abs().into())?;
    }
    // The server may have died before that call, and `getppid` cannot tell across namespaces.
    if is_readable(child.server)? { Err(libc::ESRCH) } else { Ok(()) }
}

/// The program's process, too: so that it does not run on unwatched when something kills its parent, `init`.
fn die_with_first(first: c_int) -> Done {
    prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL.unsigned_abs().into())?;
    if parent_number() == first { Ok(()) } else { Err(libc::ESRCH) }
}

/// The files belong to root while the process is not dumpable, as a hardened server's children are not: so it is, for the
/// moment. Groups are given up as far as the kernel demands it for an unprivileged map.
fn map_user(child: &Child<'_>) -> Done {
    if child.namespaces != Namespaces::User {
        return Ok(());
    }
    prctl(libc::PR_SET_DUMPABLE, 1)?;
    let [uid, gid] = child.maps;
    write_file(c"/proc/self/setgroups", b"deny")?;
    write_file(c"/proc/self/uid_map", uid)?;
    write_file(c"/proc/self/gid_map", gid)
}

/// The kernel counts root's processes nowhere else, and a fork bomb makes thousands between two looks of the server. Where `/proc` may not
/// be written, as in a container, the looks have to do.
fn bound_numbers(child: &Child<'_>) -> Done {
    if let Some(line) = child.last_number {
        let _held_by_looks_alone = write_file(c"/proc/sys/kernel/pid_max", line);
    }
    // The session's own, since its namespace for them is (sysvipc(7)). They are root's to set: for others only what has been mapped counts.
    if child.namespaces == Namespaces::Root && !child.shared_pages.is_empty() {
        let _not_held = write_file(c"/proc/sys/kernel/shmall", child.shared_pages);
        let _not_held = write_file(c"/proc/sys/kernel/msgmni", b"64\n");
        let _not_held = write_file(c"/proc/sys/kernel/sem", b"250 32000 500 128\n");
    }
    Ok(())
}

/// The process holds a copy of the server's memory: until `execve` the program's process, the first process for good.
fn hide_memory(_: &Child<'_>) -> Done {
    prctl(libc::PR_SET_DUMPABLE, 0)
}

/// A network of its own has nothing but a loopback device that is off. It is switched on where the session may use it or has a proxy;
/// a socket that listens there then goes to the server, whose proxy answers in it, before the session can take its port.
fn open_network(child: &Child<'_>) -> Done {
    if child.opening.is_none() && !child.loopback {
        return Ok(());
    }
    let socket = stream_socket()?;
    switch_on_loopback(socket)?;
    if let Some(opening) = child.opening {
        listen_on_loopback(socket, PROXY_PORT, BACKLOG)?;
        send_descriptor(opening, socket)?;
    }
    close(socket);
    Ok(())
}

/// Connections that may wait for the proxy to take them up.
const BACKLOG: usize = 64;

/// Everything read-only but what the plan lets the session change, with file systems of its own where others would be seen.
///
/// The parts are copied first, while nothing is covered and each is as writable as the machine has it. No path is followed
/// through a symbolic link: one that appears after the plan was made was put there to lead astray.
fn make_view(child: &Child<'_>) -> Done {
    let Some(view) = child.view else { return Ok(()) };
    keep_mounts_private()?;
    if child.program.is_some() {
        for namespace in [c"/proc/self/ns/user", c"/proc/self/ns/mnt"] {
            let namespace = open_to_read(namespace)?;
            send_descriptor(child.viewing, namespace)?;
            close(namespace);
        }
    }
    // Before anything is covered: it may lie in what is.
    let stand_ins = view.stand_ins.as_deref().map(open_place).transpose()?;
    for (part, taken) in view.parts.iter().zip(child.taken) {
        let place = open_place(&part.from)?;
        let copy = copy_mount(place, true)?;
        close(place);
        let read_only = if part.writable { 0 } else { libc::MOUNT_ATTR_RDONLY };
        let inert = if part.executable { 0 } else { libc::MOUNT_ATTR_NOEXEC };
        restrict_mount(copy, read_only | inert | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV)?;
        taken.store(copy, Ordering::Relaxed);
    }
    // Devices stay: the machine's own are wanted, and the session can make none.
    let root = open_place(c"/")?;
    restrict_mount(root, libc::MOUNT_ATTR_NOSUID | if view.read_only { libc::MOUNT_ATTR_RDONLY } else { 0 })?;
    close(root);
    let covers = if child.program.is_none() && view.covers.is_empty() && view.blank.is_empty() {
        None
    } else {
        Some(make_covers()?)
    };
    view.fresh.iter().try_for_each(mount_fresh)?;
    for directory in &view.directories {
        make_directory(directory, 0o755)?;
    }
    for file in &view.files {
        close(create(file, 0o644)?);
    }
    for (target, path) in &view.links {
        make_link(target, path)?;
    }
    for directory in &view.closed {
        let place = open_place(directory)?;
        let copy = copy_mount(place, false)?;
        restrict_mount(copy, libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV)?;
        attach(copy, place)?;
        close(copy);
    }
    for (part, taken) in view.parts.iter().zip(child.taken) {
        let copy = taken.load(Ordering::Relaxed);
        attach(copy, open_place(&part.path)?)?;
        close(copy);
    }
    let blank = covers.as_ref().map(|(_, blank)| *blank);
    if let Some((covers, blank)) = covers {
        view.covers.iter().try_for_each(|(path, cover)| put_cover(path, *cover, &covers))?;
        view.blank.iter().try_for_each(|path| put_blank(path, blank))?;
        if child.program.is_some() {
            send_descriptor(child.viewing, covers.directory)?;
            send_descriptor(child.viewing, covers.file)?;
            send_descriptor(child.viewing, covers.no_variables)?;
            send_descriptor(child.viewing, stand_ins.unwrap_or(covers.directory))?;
        }
    }
    let Some(program) = &child.program else { return Ok(()) };
    if let Some(blank) = blank.filter(|_| !view.blank.is_empty()) {
        // About the empty file and not about a path: what somebody has put there meanwhile stays closed.
        add_rule_at(program.ruleset, blank, READ_FILE)?;
    }
    if !view.terminals.is_empty() && mount_terminals().is_ok() {
        view.terminals.iter().try_for_each(|(path, access)| add_rule(program.ruleset, path, *access))?;
    }
    view.rules.iter().try_for_each(|(path, access)| add_rule(program.ruleset, path, *access))
}

/// What masks are made of.
struct Covers {
    /// An empty directory. A process needs capabilities to open it.
    directory: RawFd,
    /// An empty file. A process needs capabilities to open it.
    file: RawFd,
    /// An empty file that every process can read.
    no_variables: RawFd,
}

/// They lie on a file system of their own, below the `/proc` that is mounted next: covered, so that no path leads there, and still
/// mounted, so that copies can be made. Besides them, an empty file that stands for settings.
fn make_covers() -> Result<(Covers, RawFd), Errno> {
    mount(c"tmpfs", c"/proc", NOTHING_RUNS | libc::MS_NOSUID | libc::MS_NODEV, c"mode=700,size=64k,nr_inodes=8")?;
    make_directory(c"/proc/directory", 0)?;
    close(create(c"/proc/file", 0)?);
    close(create(c"/proc/variables", 0o444)?);
    close(create(c"/proc/blank", 0o444)?);
    let [directory, file, no_variables, blank] =
        [c"/proc/directory", c"/proc/file", c"/proc/variables", c"/proc/blank"].map(open_place);
    Ok((Covers { directory: directory?, file: file?, no_variables: no_variables? }, blank?))
}

const NOTHING_RUNS: libc::c_ulong = libc::MS_NOEXEC;

fn mount_fresh(fresh: &Fresh) -> Done {
    let flags = libc::MS_NOSUID | libc::MS_NODEV;
    match fresh.kind {
        FreshKind::Processes => mount(c"proc", &fresh.path, flags | NOTHING_RUNS | libc::MS_RDONLY, &fresh.options),
        FreshKind::Memory => mount(c"tmpfs", &fresh.path, flags, &fresh.options),
    }
}

/// Terminals of the session's own, which the machine's `/dev/ptmx` makes where it finds them. A kernel may refuse that; then there are none.
fn mount_terminals() -> Done {
    let options = c"newinstance,ptmxmode=0666,mode=0620,max=256";
    mount(c"devpts", c"/dev/pts", libc::MS_NOSUID | NOTHING_RUNS, options)
}

/// What has gone since the plan was made needs no cover.
fn put_cover(path: &CStr, cover: Cover, covers: &Covers) -> Done {
    let target = match open_place(path) {
        Ok(target) => target,
        Err(libc::ENOENT | libc::ENOTDIR) => return Ok(()),
        Err(errno) => return Err(errno),
    };
    let flags = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
    let (copy, flags) = match cover {
        // A directory on which something is mounted cannot be renamed or removed (EBUSY).
        Cover::Pinned => (copy_mount(target, true)?, 0),
        Cover::ReadOnly => (copy_mount(target, true)?, flags),
        Cover::Hidden | Cover::Empty if is_directory(target)? => {
            (copy_mount(covers.directory, false)?, flags | libc::MOUNT_ATTR_NOEXEC)
        }
        Cover::Hidden => (copy_mount(covers.file, false)?, flags | libc::MOUNT_ATTR_NOEXEC),
        Cover::Empty => (copy_mount(covers.no_variables, false)?, flags | libc::MOUNT_ATTR_NOEXEC),
    };
    if flags != 0 {
        restrict_mount(copy, flags)?;
    }
    attach(copy, target)?;
    close(copy);
    Ok(())
}

/// What has gone since the plan was made needs none.
fn put_blank(path: &CStr, blank: RawFd) -> Done {
    let target = match open_place(path) {
        Ok(target) => target,
        Err(libc::ENOENT | libc::ENOTDIR) => return Ok(()),
        Err(errno) => return Err(errno),
    };
    let copy = copy_mount(blank, false)?;
    let flags = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOEXEC | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
    restrict_mount(copy, flags)?;
    attach(copy, target)?;
    close(copy);
    Ok(())
}

/// The bounding set too, so that not even root's next `execve` brings one back. A process without the right to do that has no
/// capabilities to begin with, and with no new privileges never gets any.
fn drop_capabilities(_: &Child<'_>) -> Done {
    let held = capabilities()?;
    if held.effective & (1 << CAP_SETPCAP) != 0 {
        for capability in 0..u64::from(u32::BITS) * 2 {
            match prctl_value(libc::PR_CAPBSET_READ, capability) {
                Ok(0) => {}
                Ok(_) => prctl(libc::PR_CAPBSET_DROP, capability)?,
                Err(libc::EINVAL) => break, // past the last one that this kernel knows
                Err(errno) => return Err(errno),
            }
        }
    }
    prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL.unsigned_abs().into())?;
    set_no_capabilities()?;
    if capabilities()? == Capabilities::default() { Ok(()) } else { Err(libc::EPERM) }
}

fn no_new_privileges(_: &Child<'_>) -> Done {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1)
}

/// What the first process does with it, it must not be able to do to anyone else: so it is tried on the server.
fn limit_reach(child: &Child<'_>) -> Done {
    let Some(reach) = child.reach else { return Ok(()) };
    restrict_self(reach)?;
    match kill(child.server_number, 0) {
        Err(libc::EPERM) => Ok(()),
        Err(errno) => Err(errno),
        Ok(()) => Err(libc::ENOTSUP),
    }
}

/// A child that ends stays until its status is taken, whatever the server was started with. Before there is one: what is pending
/// is forgotten here.
fn expect_children(_: &Child<'_>) -> Done {
    set_default_action(libc::SIGCHLD)
}

/// Before there is a program, which may leave some at once.
fn adopt_orphans(_: &Child<'_>) -> Done {
    prctl(libc::PR_SET_CHILD_SUBREAPER, 1)
}

fn default_signals(_: &Child<'_>) -> Done {
    for signal in 1..=LAST_SIGNAL {
        if signal != libc::SIGKILL && signal != libc::SIGSTOP {
            set_default_action(signal)?;
        }
    }
    set_signal_mask(0)
}

fn own_session(_: &Child<'_>) -> Done {
    setsid()
}

/// First everything is marked to close at `execve`, then the program's own descriptors are made without that mark: nothing has
/// to be listed to be closed.
fn arrange_descriptors(child: &Child<'_>) -> Done {
    close_range(0, c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC)?;
    child.program()?.descriptors.iter().try_for_each(|(from, to)| duplicate(*from, *to))
}

fn take_terminal(child: &Child<'_>) -> Done {
    if let Some(descriptor) = child.program()?.controlling_terminal {
        control_terminal(descriptor)?;
    }
    Ok(())
}

fn enter_directory(child: &Child<'_>) -> Done {
    enter(child.program()?.cwd)
}

fn set_limits(child: &Child<'_>) -> Done {
    child.program()?.limits.iter().try_for_each(|limit| set_limit(limit.resource, limit.value, limit.highest))
}

/// What people expect, and what the server's own mask withholds besides.
fn set_file_mode(_: &Child<'_>) -> Done {
    let inherited = umask(WRITABLE_BY_OWNER_ONLY)?;
    umask(inherited | WRITABLE_BY_OWNER_ONLY).map(drop)
}

const WRITABLE_BY_OWNER_ONLY: usize = 0o022;

fn restrict_paths(child: &Child<'_>) -> Done {
    restrict_self(child.program()?.ruleset)
}

fn install_filters(child: &Child<'_>) -> Done {
    child.program()?.filters.iter().try_for_each(|filter| install_filter(filter, 0).map(drop))
}

/// The listener goes to the server, and with this process's last copy of it goes the right to answer.
fn install_guard(child: &Child<'_>) -> Done {
    let Some(filter) = child.program()?.guard else { return Ok(()) };
    let listener = install_filter(filter, NEW_LISTENER | WAIT_KILLABLE_RECV)?;
    send_descriptor(child.guarding, listener)
}

/// Returns only to say why it could not.
fn execute(child: &Child<'_>) -> Done {
    let program = child.program()?;
    replace_program(program.path, program.argv, program.env)
}
