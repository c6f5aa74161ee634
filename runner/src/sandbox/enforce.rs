//! When the fences take hold: the steps of a new process, from `clone` to its program's first instruction.
//!
//! The child is a copy of one thread of a server with many. Another thread may have held any lock at that moment, the
//! allocator's among them, so the child allocates nothing, locks nothing and never panics: everything it needs was made before,
//! and what it does is system calls. The two lists, [`ARRIVE`] and [`FENCE`], are those calls in their order. A step that fails
//! is told to the server by name, and the program does not start.
//!
//! ```text
//! launcher ── clone ─▶ first process: ARRIVE ── vfork ─▶ program: FENCE, execve
//!                      then lives as first.rs says
//! ```
//!
//! The system calls stand at the end, as safe functions, for the first process too.
#![expect(unsafe_code, reason = "a process is split in two here, and only raw system calls are safe in the new half")]

use std::ffi::{CStr, CString, c_char, c_int, c_long, c_uint, c_void};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{LazyLock, mpsc};

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, getegid, geteuid, getpid, pidfd_open};
use seccompiler::BpfProgram;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::first::{self, Duty, Reach};
use super::guard::{self, Judge};
use super::mounts::{Fresh, Kind, View};
use super::plan::Cover;
use super::process::{Lead, Process};
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
    pub(super) ruleset: OwnedFd,
    /// The first process's own rules, where it needs and can have them.
    pub(super) reach: Option<OwnedFd>,
    /// The session's own view of the file system, where it has one.
    pub(super) view: Option<View>,
    pub(super) filters: &'static [BpfProgram],
    pub(super) namespaces: Namespaces,
    pub(super) enforced: Enforced,
    /// What answers for its programs, and the filter that asks.
    pub(super) guard: Option<(Box<dyn Judge>, BpfProgram)>,
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
    let (namespaces, guard) = (prepared.namespaces, prepared.guard.take());
    let (judge, filter) = guard.unzip();
    start(namespaces, Errand::Program(Box::new(prepared), filter), judge)
}

/// Makes a process in these namespaces, with this view if any, and ends it again.
pub(super) fn attempt(namespaces: Namespaces, view: Option<View>) -> Result<(), SandboxError> {
    start(namespaces, Errand::Trial(view), None)?.reap().map(drop).map_err(server("wait for a process"))
}

/// What a process is made for.
enum Errand {
    /// With the exec guard's filter, if it has one.
    Program(Box<Prepared>, Option<BpfProgram>),
    /// To see whether it can be.
    Trial(Option<View>),
}

impl Errand {
    fn prepared(&self) -> Option<&Prepared> {
        match self {
            Self::Program(prepared, _) => Some(prepared),
            Self::Trial(_) => None,
        }
    }

    fn filter(&self) -> Option<&BpfProgram> {
        match self {
            Self::Program(_, filter) => filter.as_ref(),
            Self::Trial(_) => None,
        }
    }

    /// Whether a proxy of the server's shall listen in its network.
    fn has_proxy(&self) -> bool {
        self.prepared().is_some_and(|prepared| prepared.enforced.network == Network::Proxy)
    }

    fn view(&self) -> Option<&View> {
        match self {
            Self::Program(prepared, _) => prepared.view.as_ref(),
            Self::Trial(view) => view.as_ref(),
        }
    }
}

fn start(namespaces: Namespaces, errand: Errand, judge: Option<Box<dyn Judge>>) -> Result<Process, SandboxError> {
    let (failure, failing) = pipe()?;
    let (told, telling) = pipe()?;
    let (request, requested) = UnixStream::pair().map_err(server("make a socket"))?;
    let (post, guarding) = UnixStream::pair().map_err(server("make a socket"))?;
    let (door, opening) = UnixStream::pair().map_err(server("make a socket"))?;
    let (requested, guarding) = (out_of_the_way(requested)?, out_of_the_way(guarding)?);
    let has_proxy = errand.has_proxy();
    let posts = Posts { failing, telling, requested, guarding, opening: out_of_the_way(opening)? };
    let clone = move || launch(namespaces, &errand, &posts);
    let (pid, pidfd) = on_launcher(clone)?.map_err(server("make a process"))?;
    let lead = if namespaces == Namespaces::None { Lead::Supervisor } else { Lead::Namespace };
    // The program's own `execve` is the first that waits for an answer, and the first process for it. Without anyone to give
    // one it fails.
    let guarded = judge.map_or(Ok(()), |judge| guard::stand(&post, judge));
    let mut process = Process::new(pid, pidfd, lead, request, told);
    guarded?;
    match failed_step(failure)? {
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
}

/// A pipe whose writing end is out of the way of the program's descriptors.
fn pipe() -> Result<(OwnedFd, OwnedFd), SandboxError> {
    let (reading, writing) = pipe_with(PipeFlags::CLOEXEC).map_err(|errno| server("make a pipe")(errno.into()))?;
    Ok((reading, out_of_the_way(writing)?))
}

/// What the child wrote into the pipe: nothing, once `execve` has closed it.
fn failed_step(pipe: OwnedFd) -> Result<Option<(Step, io::Error)>, SandboxError> {
    let mut report = Vec::new();
    File::from(pipe).read_to_end(&mut report).map_err(server("read from a pipe"))?;
    let Some((step, errno)) = report.split_first() else { return Ok(None) };
    let step = Step::ALL.into_iter().find(|known| *known as u8 == *step).unwrap_or(Step::Program);
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
pub enum Step {
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

impl Step {
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
impl fmt::Display for Step {
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
const ARRIVE: [(Step, Act); 11] = [
    (Step::DieWithServer, die_with_server),
    (Step::MapUser, map_user),
    (Step::HideMemory, hide_memory),
    (Step::Network, open_network),
    // Before its own /proc, which is read-only.
    (Step::Numbers, bound_numbers),
    (Step::Mounts, make_view),
    (Step::DropCapabilities, drop_capabilities),
    (Step::NoNewPrivileges, no_new_privileges),
    (Step::Reach, limit_reach),
    (Step::DefaultSignals, expect_children),
    (Step::Orphans, adopt_orphans),
];

/// The steps of the process that becomes the program, in their order.
///
/// - Landlock after everything that opens or enters a path, filters after everything that they refuse.
/// - The exec guard's filter comes last, and its first question is about this very program.
const FENCE: [(Step, Act); 11] = [
    (Step::DefaultSignals, default_signals),
    (Step::OwnSession, own_session),
    (Step::Descriptors, arrange_descriptors),
    (Step::Terminal, take_terminal),
    (Step::Directory, enter_directory),
    (Step::Limits, set_limits),
    (Step::FileMode, set_file_mode),
    (Step::Landlock, restrict_paths),
    // Before the filters, which let nobody have a listener.
    (Step::Guard, install_guard),
    (Step::Filters, install_filters),
    (Step::Program, execute),
];

type Act = fn(&Child<'_>) -> Done;
pub(super) type Done = Result<(), Errno>;
pub(super) type Errno = c_int;

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
    /// The first process's own Landlock rules.
    reach: Option<RawFd>,
    /// The line that maps the user, and the one for the group.
    maps: [&'a [u8]; 2],
    last_number: Option<&'a [u8]>,
    view: Option<&'a View>,
    /// For each part of the view the copy of its mount, once it has been taken.
    taken: &'a [AtomicI32],
    /// None where the process is only made to see whether it can be.
    program: Option<Program<'a>>,
}

struct Program<'a> {
    path: *const c_char,
    /// With a null pointer at the end, as `env`.
    argv: &'a [*const c_char],
    env: &'a [*const c_char],
    cwd: *const c_char,
    descriptors: &'a [(RawFd, RawFd)],
    controlling_terminal: Option<RawFd>,
    limits: &'a [Limit],
    ruleset: RawFd,
    filters: &'a [libc::sock_fprog],
    guard: Option<&'a libc::sock_fprog>,
}

/// Runs `errand` on the launcher, the one thread that makes processes.
///
/// The kernel ties a child's death signal to the *thread* that made it. A thread of the runtime's pool may end while the server
/// lives, and would take its sessions with it; this one ends with the process. It also keeps all signals blocked, so that no
/// handler of the server ever runs in a child.
fn on_launcher<T: Send + 'static>(errand: impl FnOnce() -> T + Send + 'static) -> Result<T, SandboxError> {
    static LAUNCHER: LazyLock<Option<mpsc::Sender<Job>>> = LazyLock::new(|| {
        let (sender, errands) = mpsc::channel::<Job>();
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

type Job = Box<dyn FnOnce() + Send>;

/// Lays out what the child needs and makes it.
fn launch(namespaces: Namespaces, errand: &Errand, posts: &Posts) -> io::Result<(Pid, OwnedFd)> {
    let (prepared, view) = (errand.prepared(), errand.view());
    let guard = errand.filter().map(as_kernel_filter).transpose()?;
    let pointers = |texts: &[CString]| texts.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect::<Vec<_>>();
    let argv = prepared.map(|prepared| pointers(&prepared.argv)).unwrap_or_default();
    let env = prepared.map(|prepared| pointers(&prepared.env)).unwrap_or_default();
    let descriptors: Vec<_> = prepared
        .iter()
        .flat_map(|prepared| &prepared.descriptors)
        .map(|(descriptor, number)| (descriptor.as_raw_fd(), *number))
        .collect();
    let filters =
        prepared.iter().flat_map(|prepared| prepared.filters).map(as_kernel_filter).collect::<io::Result<Vec<_>>>()?;
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
        reach: prepared.and_then(|prepared| prepared.reach.as_ref()).map(AsRawFd::as_raw_fd),
        maps: maps.each_ref().map(String::as_bytes),
        last_number: prepared.and_then(|prepared| prepared.last_number.as_deref()),
        view,
        taken: &taken,
        program: prepared.map(|prepared| Program {
            path: prepared.program.as_ptr(),
            argv: &argv,
            env: &env,
            cwd: prepared.cwd.as_ptr(),
            descriptors: &descriptors,
            controlling_terminal: prepared.controlling_terminal,
            limits: &prepared.limits,
            ruleset: prepared.ruleset.as_raw_fd(),
            filters: &filters,
            guard: guard.as_ref(),
        }),
    };
    let mounts = if view.is_some() { libc::CLONE_NEWNS } else { 0 };
    match clone_process(clone_flags(namespaces) | mounts).map_err(io::Error::from_raw_os_error)? {
        Some(made) => Ok(made),
        None => child.run(),
    }
}

fn as_kernel_filter(program: &BpfProgram) -> io::Result<libc::sock_fprog> {
    let len = u16::try_from(program.len()).map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))?;
    // The two types are the same struct of `linux/filter.h`, and the kernel only reads.
    Ok(libc::sock_fprog { len, filter: program.as_ptr().cast::<libc::sock_filter>().cast_mut() })
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
            Ok(program) => first::live(program, &self.duty()),
            Err(errno) => self.fail(Step::Fork, errno),
        }
    }

    /// Makes the process that becomes the program, and gives its number once it has become it.
    ///
    /// Until then it works in this process's memory, and this one rests. A copy of its own, to be thrown away at once, would be
    /// one of all the memory that the server has: the most expensive step of all.
    fn fork(&self, first: c_int) -> Result<c_int, Errno> {
        let mut stack = Stack([0; STACK]);
        let newcomer = Newcomer { child: self, first };
        let top = stack.0.as_mut_ptr_range().end.cast();
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        // SAFETY: the new process has a stack of its own, aligned and of ample size, and this one does not go on, so that stack and
        // argument outlive its use of them. The C library's function takes no lock and allocates nothing.
        let pid = unsafe { libc::clone(Newcomer::begin, top, flags, ptr::from_ref(&newcomer).cast_mut().cast()) };
        // SAFETY: as in `call`.
        if pid > 0 { Ok(pid) } else { Err(unsafe { *libc::__errno_location() }) }
    }

    fn become_program(&self, first: c_int) -> ! {
        if let Err(errno) = die_with_first(first) {
            self.fail(Step::DieWithServer, errno);
        }
        if self.program.is_some() {
            self.follow(&FENCE);
        }
        exit(0)
    }

    fn follow(&self, steps: &[(Step, Act)]) {
        for (step, act) in steps {
            if let Err(errno) = act(self) {
                self.fail(*step, errno);
            }
        }
    }

    fn fail(&self, step: Step, errno: Errno) -> ! {
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
                (Namespaces::Root | Namespaces::User, _) => Reach::Namespace,
                (Namespaces::None, Some(_)) => Reach::Domain { server: self.server_number },
                (Namespaces::None, None) => Reach::Children,
            },
        }
    }

    fn program(&self) -> Result<&Program<'_>, Errno> {
        self.program.as_ref().ok_or(libc::EINVAL)
    }
}

/// What a new process begins with in the memory of the first, whose number is `first`.
struct Newcomer<'a> {
    child: &'a Child<'a>,
    first: c_int,
}

impl Newcomer<'_> {
    extern "C" fn begin(newcomer: *mut c_void) -> c_int {
        // SAFETY: `Child::fork` passes a pointer to one, which stays where it is while that function rests.
        let newcomer = unsafe { &*newcomer.cast::<Newcomer<'_>>() };
        newcomer.child.become_program(newcomer.first)
    }
}

/// Aligned as every convention wants it.
#[repr(align(16))]
struct Stack([u8; STACK]);

/// In bytes; the steps call few functions, with small frames.
const STACK: usize = 64 << 10;

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

/// The program's process, too: so that it does not run on unwatched when something kills its parent, `first`.
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
    Ok(())
}

/// The process holds a copy of the server's memory: until `execve` the program's process, the first process for good.
fn hide_memory(_: &Child<'_>) -> Done {
    prctl(libc::PR_SET_DUMPABLE, 0)
}

/// A network of its own has nothing but a loopback device that is off. It is switched on, and a socket that listens there goes
/// to the server, whose proxy answers in it. The session itself can neither bind nor listen.
fn open_network(child: &Child<'_>) -> Done {
    let Some(opening) = child.opening else { return Ok(()) };
    let kind = word(libc::SOCK_STREAM | libc::SOCK_CLOEXEC);
    // SAFETY: no memory.
    let socket = unsafe { call(libc::SYS_socket, [word(libc::AF_INET), kind, 0, 0, 0]) }?;
    let socket = c_int::try_from(socket).map_err(|_| libc::EBADF)?;
    switch_on_loopback(socket)?;
    // SAFETY: zero is a value of each field.
    let mut address: libc::sockaddr_in = unsafe { std::mem::zeroed() };
    address.sin_family = libc::AF_INET as libc::sa_family_t;
    address.sin_port = PROXY_PORT.to_be();
    address.sin_addr.s_addr = u32::from(std::net::Ipv4Addr::LOCALHOST).to_be();
    let size = size_of_val(&address);
    // SAFETY: the kernel reads one address of the size given.
    unsafe { call(libc::SYS_bind, [word(socket), ptr::from_ref(&address).addr(), size, 0, 0]) }?;
    // SAFETY: no memory.
    unsafe { call(libc::SYS_listen, [word(socket), BACKLOG, 0, 0, 0]) }?;
    send_descriptor(opening, socket)?;
    close(socket);
    Ok(())
}

/// Connections that may wait for the proxy to take them up.
const BACKLOG: usize = 64;

fn switch_on_loopback(socket: RawFd) -> Done {
    /// `struct ifreq` of netdevice(7).
    #[repr(C)]
    struct Request {
        name: [u8; libc::IFNAMSIZ],
        flags: libc::c_short,
        rest: [u8; 22],
    }
    let mut name = [0; libc::IFNAMSIZ];
    for (place, byte) in name.iter_mut().zip(b"lo") {
        *place = *byte;
    }
    let request = Request { name, flags: libc::IFF_UP as libc::c_short, rest: [0; 22] };
    let ioctl = libc::SIOCSIFFLAGS as usize;
    // SAFETY: the kernel reads one such request.
    unsafe { call(libc::SYS_ioctl, [word(socket), ioctl, ptr::from_ref(&request).addr(), 0, 0]) }.map(drop)
}

/// Everything read-only but what the plan lets the session change, with file systems of its own where others would be seen.
///
/// The parts are copied first, while nothing is covered and each is as writable as the machine has it. No path is followed
/// through a symbolic link: one that appears after the plan was made was put there to lead astray.
fn make_view(child: &Child<'_>) -> Done {
    let Some(view) = child.view else { return Ok(()) };
    // SAFETY: the kernel reads two C strings; null pointers stand for what this change of propagation does not have.
    unsafe { call(libc::SYS_mount, [0, c"/".as_ptr().addr(), 0, (libc::MS_REC | libc::MS_PRIVATE) as usize, 0]) }?;
    for (part, taken) in view.parts.iter().zip(child.taken) {
        let place = open_place(&part.path)?;
        let copy = copy_mount(place, true)?;
        close(place);
        let read_only = if part.writable { 0 } else { libc::MOUNT_ATTR_RDONLY };
        restrict_mount(copy, read_only | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV)?;
        taken.store(copy, Ordering::Relaxed);
    }
    // Devices stay: the machine's own are wanted, and the session can make none.
    let root = open_place(c"/")?;
    restrict_mount(root, libc::MOUNT_ATTR_NOSUID | if view.read_only { libc::MOUNT_ATTR_RDONLY } else { 0 })?;
    close(root);
    let covers = if view.covers.is_empty() { None } else { Some(make_covers()?) };
    view.fresh.iter().try_for_each(mount_fresh)?;
    for directory in &view.directories {
        make_directory(directory, 0o755)?;
    }
    for file in &view.files {
        close(create(file, 0o644)?);
    }
    for (part, taken) in view.parts.iter().zip(child.taken) {
        let copy = taken.load(Ordering::Relaxed);
        attach(copy, open_place(&part.path)?)?;
        close(copy);
    }
    if let Some(covers) = covers {
        view.covers.iter().try_for_each(|(path, cover)| put_cover(path, *cover, &covers))?;
    }
    let Some(program) = &child.program else { return Ok(()) };
    view.rules.iter().try_for_each(|(path, access)| add_rule(program.ruleset, path, *access))
}

/// An empty directory and an empty file that nobody without capabilities can open.
struct Covers {
    directory: RawFd,
    file: RawFd,
}

/// They lie on a file system of their own, below the `/proc` that is mounted next: covered, so that no path leads there, and still
/// mounted, so that copies can be made.
fn make_covers() -> Result<Covers, Errno> {
    mount(c"tmpfs", c"/proc", NOTHING_RUNS | libc::MS_NOSUID | libc::MS_NODEV, c"mode=700,size=64k,nr_inodes=8")?;
    make_directory(c"/proc/directory", 0)?;
    close(create(c"/proc/file", 0)?);
    Ok(Covers { directory: open_place(c"/proc/directory")?, file: open_place(c"/proc/file")? })
}

const NOTHING_RUNS: libc::c_ulong = libc::MS_NOEXEC;

fn mount_fresh(fresh: &Fresh) -> Done {
    let flags = libc::MS_NOSUID | libc::MS_NODEV;
    match fresh.kind {
        Kind::Processes => mount(c"proc", &fresh.path, flags | NOTHING_RUNS | libc::MS_RDONLY, &fresh.options),
        Kind::Memory => mount(c"tmpfs", &fresh.path, flags, &fresh.options),
    }
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
        Cover::ReadOnly => (copy_mount(target, true)?, flags),
        Cover::Hidden if is_directory(target)? => {
            (copy_mount(covers.directory, false)?, flags | libc::MOUNT_ATTR_NOEXEC)
        }
        Cover::Hidden => (copy_mount(covers.file, false)?, flags | libc::MOUNT_ATTR_NOEXEC),
    };
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
        // A descriptor is never negative.
        let descriptor = usize::try_from(descriptor).unwrap_or(usize::MAX);
        // SAFETY: TIOCSCTTY takes a number, not a pointer.
        unsafe { call(libc::SYS_ioctl, [descriptor, TIOCSCTTY, 0, 0, 0]) }?;
    }
    Ok(())
}

/// The C libraries do not agree on the type.
const TIOCSCTTY: usize = libc::TIOCSCTTY as usize;

fn enter_directory(child: &Child<'_>) -> Done {
    // SAFETY: the path is a C string that the launcher made, and nobody changes it meanwhile.
    unsafe { call(libc::SYS_chdir, [child.program()?.cwd.addr(), 0, 0, 0, 0]) }.map(drop)
}

fn set_limits(child: &Child<'_>) -> Done {
    child.program()?.limits.iter().try_for_each(|limit| set_limit(limit.resource, limit.value))
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
    child.program()?.filters.iter().try_for_each(|filter| {
        // SAFETY: the filter points to as many instructions as it says, in memory that nobody changes meanwhile.
        unsafe { call(libc::SYS_seccomp, [word(libc::SECCOMP_SET_MODE_FILTER), 0, ptr::from_ref(filter).addr(), 0, 0]) }
            .map(drop)
    })
}

/// The listener goes to the server, and with this process's last copy of it goes the right to answer.
fn install_guard(child: &Child<'_>) -> Done {
    let Some(filter) = child.program()?.guard else { return Ok(()) };
    let flags = word(SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV);
    let arguments = [word(libc::SECCOMP_SET_MODE_FILTER), flags, ptr::from_ref(filter).addr(), 0, 0];
    // SAFETY: as in `install_filters`. The descriptor that comes back closes at `execve`.
    let listener = unsafe { call(libc::SYS_seccomp, arguments) }?;
    send_descriptor(child.guarding, c_int::try_from(listener).map_err(|_| libc::EBADF)?)
}

const SECCOMP_FILTER_FLAG_NEW_LISTENER: u32 = 1 << 3;
/// A caller whose question was taken up waits for the answer, whatever signals come but one that kills it (Linux 5.19).
const SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV: u32 = 1 << 5;

/// Returns only to say why it could not.
fn execute(child: &Child<'_>) -> Done {
    let program = child.program()?;
    let [argv, env] = [program.argv.as_ptr().addr(), program.env.as_ptr().addr()];
    // SAFETY: the path is a C string, the others arrays of C strings with a null pointer at the end, all in this process.
    unsafe { call(libc::SYS_execve, [program.path.addr(), argv, env, 0, 0]) }.map(drop)
}

/// The version of the kernel's Landlock; 0 where it has none.
pub(super) fn landlock_version() -> u32 {
    const VERSION: usize = 1; // LANDLOCK_CREATE_RULESET_VERSION
    // SAFETY: with that flag the kernel wants a null pointer and a length of zero, and makes nothing.
    let version = unsafe { call(libc::SYS_landlock_create_ruleset, [0, 0, VERSION, 0, 0]) };
    version.ok().and_then(|version| u32::try_from(version).ok()).unwrap_or(0)
}

/// Whether the kernel knows filters, and this answer of theirs.
pub(super) fn filter_can_answer(action: u32) -> bool {
    let arguments = [word(libc::SECCOMP_GET_ACTION_AVAIL), 0, ptr::from_ref(&action).addr(), 0, 0];
    // SAFETY: the kernel reads one `u32` behind the pointer, which outlives the call.
    unsafe { call(libc::SYS_seccomp, arguments) }.is_ok()
}

/// A descriptor that tokio watches until it is readable. Needs a runtime with I/O.
pub(super) fn watch(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the descriptor goes into the watch and nobody can close it before.
    Ok(unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }?)
}

// System calls. Each passes pointers only to its own locals or to what its caller lends it for the call.

fn restrict_self(ruleset: RawFd) -> Done {
    // SAFETY: a descriptor and flags; no memory.
    unsafe { call(libc::SYS_landlock_restrict_self, [word(ruleset), 0, 0, 0, 0]) }.map(drop)
}

/// A rule about what has this path now; none for what is not there.
fn add_rule(ruleset: RawFd, path: &CStr, access: u64) -> Done {
    const PATH_BENEATH: usize = 1;
    let place = match open_place(path) {
        Ok(place) => place,
        Err(libc::ENOENT) => return Ok(()),
        Err(errno) => return Err(errno),
    };
    let rule = PathBeneath { access, parent: place };
    // SAFETY: for a rule of this kind the kernel reads one such struct.
    unsafe { call(libc::SYS_landlock_add_rule, [word(ruleset), PATH_BENEATH, ptr::from_ref(&rule).addr(), 0, 0]) }?;
    close(place);
    Ok(())
}

/// The kernel's `struct landlock_path_beneath_attr`.
#[repr(C, packed)]
struct PathBeneath {
    access: u64,
    parent: RawFd,
}

/// A descriptor that only stands for a place; the path leads there without any symbolic link.
fn open_place(path: &CStr) -> Result<RawFd, Errno> {
    // The kernel's `struct open_how`: flags, mode, resolve.
    let flags = u64::from((libc::O_PATH | libc::O_CLOEXEC).unsigned_abs());
    let how = [flags, 0, libc::RESOLVE_NO_SYMLINKS];
    let arguments = [word(libc::AT_FDCWD), path.as_ptr().addr(), how.as_ptr().addr(), size_of_val(&how), 0];
    // SAFETY: the kernel reads a C string, and as much of the struct as the size says.
    let place = unsafe { call(libc::SYS_openat2, arguments) }?;
    c_int::try_from(place).map_err(|_| libc::EBADF)
}

/// A copy of what is mounted at a place, from there downwards, that is attached nowhere; with the mounts below it or without.
fn copy_mount(place: RawFd, below: bool) -> Result<RawFd, Errno> {
    let below = if below { libc::AT_RECURSIVE.unsigned_abs() } else { 0 };
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | libc::AT_EMPTY_PATH.unsigned_abs() | below;
    // SAFETY: the kernel reads an empty C string.
    let copy = unsafe { call(libc::SYS_open_tree, [word(place), c"".as_ptr().addr(), flags as usize, 0, 0]) }?;
    c_int::try_from(copy).map_err(|_| libc::EBADF)
}

/// Sets flags of a mount and of those below it.
fn restrict_mount(mount: RawFd, set: u64) -> Done {
    // The kernel's `struct mount_attr`: set, clear, propagation, user namespace.
    let attributes = [set, 0, 0, 0];
    let flags = (libc::AT_EMPTY_PATH | libc::AT_RECURSIVE).unsigned_abs() as usize;
    let [attributes, size] = [attributes.as_ptr().addr(), size_of_val(&attributes)];
    // SAFETY: the kernel reads an empty C string, and as much of the struct as the size says.
    unsafe { call(libc::SYS_mount_setattr, [word(mount), c"".as_ptr().addr(), flags, attributes, size]) }.map(drop)
}

/// Puts a copy of a mount on a place, and closes the descriptor of that.
fn attach(copy: RawFd, place: RawFd) -> Done {
    let flags = (libc::MOVE_MOUNT_F_EMPTY_PATH | libc::MOVE_MOUNT_T_EMPTY_PATH) as usize;
    let empty = c"".as_ptr().addr();
    // SAFETY: the kernel reads two empty C strings.
    unsafe { call(libc::SYS_move_mount, [word(copy), empty, word(place), empty, flags]) }?;
    close(place);
    Ok(())
}

fn mount(kind: &CStr, place: &CStr, flags: libc::c_ulong, options: &CStr) -> Done {
    let [kind, place, options] = [kind, place, options].map(|text| text.as_ptr().addr());
    // SAFETY: the kernel reads four C strings.
    unsafe { call(libc::SYS_mount, [kind, place, kind, flags as usize, options]) }.map(drop)
}

/// One that is there already will do.
fn make_directory(path: &CStr, mode: usize) -> Done {
    // SAFETY: the path is a C string.
    match unsafe { call(libc::SYS_mkdirat, [word(libc::AT_FDCWD), path.as_ptr().addr(), mode, 0, 0]) } {
        Ok(_) | Err(libc::EEXIST) => Ok(()),
        Err(errno) => Err(errno),
    }
}

fn create(path: &CStr, mode: usize) -> Result<RawFd, Errno> {
    let flags = word(libc::O_WRONLY | libc::O_CREAT | libc::O_CLOEXEC);
    // SAFETY: the path is a C string.
    let file = unsafe { call(libc::SYS_openat, [word(libc::AT_FDCWD), path.as_ptr().addr(), flags, mode, 0]) }?;
    c_int::try_from(file).map_err(|_| libc::EBADF)
}

fn is_directory(place: RawFd) -> Result<bool, Errno> {
    // SAFETY: all zeroes are a valid `stat`, which is numbers alone.
    let mut about: libc::stat = unsafe { std::mem::zeroed() };
    let flags = word(libc::AT_EMPTY_PATH);
    let arguments = [word(place), c"".as_ptr().addr(), ptr::from_mut(&mut about).addr(), flags, 0];
    // SAFETY: the kernel reads an empty C string and writes one `stat`.
    unsafe { call(libc::SYS_newfstatat, arguments) }?;
    Ok(about.st_mode & libc::S_IFMT == libc::S_IFDIR)
}

/// A copy of this process: in the parent its number and descriptor, in the child nothing.
fn clone_process(flags: c_int) -> Result<Option<(Pid, OwnedFd)>, Errno> {
    let mut pidfd: c_int = -1;
    let flags = word(flags | libc::CLONE_PIDFD | libc::SIGCHLD);
    // SAFETY: without CLONE_VM the child runs in a copy of this memory and on a copy of this stack, and by the rule at the top
    // of this file does nothing but system calls there. The kernel writes one `c_int` behind the third argument.
    match unsafe { call(libc::SYS_clone, [flags, 0, ptr::from_mut(&mut pidfd).addr(), 0, 0]) }? {
        0 => Ok(None),
        pid => {
            // SAFETY: the kernel has just made this descriptor for us, so nothing else owns it.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(c_int::try_from(pid).ok().and_then(Pid::from_raw).map(|pid| (pid, pidfd)))
        }
    }
}

pub(super) fn own_number() -> c_int {
    // SAFETY: no arguments, no memory.
    unsafe { call(libc::SYS_getpid, [0; 5]) }.ok().and_then(|pid| c_int::try_from(pid).ok()).unwrap_or(0)
}

fn parent_number() -> c_int {
    // SAFETY: no arguments, no memory.
    unsafe { call(libc::SYS_getppid, [0; 5]) }.ok().and_then(|pid| c_int::try_from(pid).ok()).unwrap_or(0)
}

pub(super) fn exit(status: c_int) -> ! {
    loop {
        // SAFETY: no memory; ends the process without running anything of the C library's.
        let _ = unsafe { call(libc::SYS_exit_group, [word(status), 0, 0, 0, 0]) };
    }
}

fn prctl(option: c_int, value: u64) -> Done {
    prctl_value(option, value).map(drop)
}

fn prctl_value(option: c_int, value: u64) -> Result<usize, Errno> {
    let value = usize::try_from(value).map_err(|_| libc::EINVAL)?;
    // SAFETY: the options of this file take numbers, not pointers; the unused arguments must be zero.
    unsafe { call(libc::SYS_prctl, [word(option), value, 0, 0, 0]) }
}

fn is_readable(descriptor: RawFd) -> Result<bool, Errno> {
    wait_for([descriptor], Some(0)).map(|[readable]| readable)
}

/// Which of the descriptors can be read, or have been hung up on: waits until one is, for at most so many milliseconds.
pub(super) fn wait_for<const N: usize>(descriptors: [RawFd; N], milliseconds: Option<u16>) -> Result<[bool; N], Errno> {
    let mut polls = descriptors.map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 });
    let patience = milliseconds.map(|milliseconds| libc::timespec {
        tv_sec: libc::time_t::from(milliseconds / 1000),
        tv_nsec: i64::from(milliseconds % 1000) * 1_000_000,
    });
    let patience = patience.as_ref().map_or(0, |patience| ptr::from_ref(patience).addr());
    // SAFETY: as many `pollfd` as the second argument says, and a time or a null pointer; all outlive the call.
    unsafe { call(libc::SYS_ppoll, [polls.as_mut_ptr().addr(), N, patience, 0, 0]) }?;
    Ok(polls.map(|poll| poll.revents != 0))
}

/// Leaves nothing open for writing: what is mounted there could not be made read-only.
fn write_file(path: &CStr, text: &[u8]) -> Done {
    let file = open(path, word(libc::O_WRONLY | libc::O_CLOEXEC))?;
    let written = write(file, text);
    close(file);
    written
}

/// For reading; the descriptor is closed at `execve`.
pub(super) fn open_to_read(path: &CStr) -> Result<RawFd, Errno> {
    open(path, word(libc::O_RDONLY | libc::O_CLOEXEC))
}

fn open(path: &CStr, flags: usize) -> Result<RawFd, Errno> {
    // SAFETY: the path is a C string.
    let file = unsafe { call(libc::SYS_openat, [word(libc::AT_FDCWD), path.as_ptr().addr(), flags, 0, 0]) }?;
    c_int::try_from(file).map_err(|_| libc::EBADF)
}

/// How many bytes were read; 0 at the end.
pub(super) fn read(descriptor: RawFd, buffer: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: pointer and length are one slice's.
    unsafe { call(libc::SYS_read, [word(descriptor), buffer.as_mut_ptr().addr(), buffer.len(), 0, 0]) }
}

/// How many bytes of directory entries (`struct linux_dirent64`) were read; 0 at the end.
pub(super) fn read_directory(descriptor: RawFd, buffer: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: pointer and length are one slice's, and the kernel writes its records byte by byte.
    unsafe { call(libc::SYS_getdents64, [word(descriptor), buffer.as_mut_ptr().addr(), buffer.len(), 0, 0]) }
}

/// Writes all of the few bytes at once, or fails.
pub(super) fn write(descriptor: RawFd, bytes: &[u8]) -> Done {
    // SAFETY: pointer and length are one slice's.
    let written = unsafe { call(libc::SYS_write, [word(descriptor), bytes.as_ptr().addr(), bytes.len(), 0, 0]) }?;
    if written == bytes.len() { Ok(()) } else { Err(libc::EIO) }
}

/// Sends one descriptor over a unix socket, with the byte that must go with it (unix(7)).
fn send_descriptor(socket: RawFd, descriptor: RawFd) -> Done {
    /// `struct cmsghdr` with one descriptor, and what aligns it.
    #[repr(C)]
    struct Control {
        length: usize,
        level: c_int,
        kind: c_int,
        descriptor: c_int,
        padding: c_int,
    }
    let length = size_of::<Control>() - size_of::<c_int>();
    let mut control = Control { length, level: libc::SOL_SOCKET, kind: libc::SCM_RIGHTS, descriptor, padding: 0 };
    let mut byte = [0_u8];
    let mut bytes = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: byte.len() };
    // SAFETY: zero is a value of each field, and there are platforms with private ones.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = ptr::from_mut(&mut bytes);
    message.msg_iovlen = 1;
    message.msg_control = ptr::from_mut(&mut control).cast();
    message.msg_controllen = size_of::<Control>() as _;
    // SAFETY: the message points to one byte and one control record, which outlive the call.
    unsafe { call(libc::SYS_sendmsg, [word(socket), ptr::from_ref(&message).addr(), 0, 0, 0]) }.map(drop)
}

#[derive(Default, PartialEq, Eq)]
#[repr(C)]
struct Capabilities {
    effective: u32,
    permitted: u32,
    inheritable: u32,
    /// The same three for capabilities 32 and up.
    upper: [u32; 3],
}

const CAP_SETPCAP: u32 = 8;

/// `_LINUX_CAPABILITY_VERSION_3`, and 0 for this process.
const CAPABILITY_HEADER: [u32; 2] = [0x2008_0522, 0];

fn capabilities() -> Result<Capabilities, Errno> {
    let mut header = CAPABILITY_HEADER;
    let mut sets = Capabilities::default();
    let arguments = [header.as_mut_ptr().addr(), ptr::from_mut(&mut sets).addr(), 0, 0, 0];
    // SAFETY: of this version the kernel writes two structs of three `u32`, which is what `Capabilities` is, and maybe the header.
    unsafe { call(libc::SYS_capget, arguments) }?;
    Ok(sets)
}

fn set_no_capabilities() -> Done {
    let mut header = CAPABILITY_HEADER;
    let none = Capabilities::default();
    let arguments = [header.as_mut_ptr().addr(), ptr::from_ref(&none).addr(), 0, 0, 0];
    // SAFETY: as in `capabilities`, the kernel reading.
    unsafe { call(libc::SYS_capset, arguments) }.map(drop)
}

const LAST_SIGNAL: c_int = 64;

/// Size in bytes of the kernel's set of signals.
const SIGNAL_SET: usize = size_of::<u64>();

fn set_default_action(signal: c_int) -> Done {
    // The kernel's `struct sigaction`: handler, flags, restorer and mask, where zero means SIG_DFL and nothing special.
    let action = [0_u64; 4];
    let arguments = [word(signal), action.as_ptr().addr(), 0, SIGNAL_SET, 0];
    // SAFETY: the kernel reads one struct, no longer than the array.
    unsafe { call(libc::SYS_rt_sigaction, arguments) }.map(drop)
}

fn set_signal_mask(mask: u64) -> Done {
    let arguments = [word(libc::SIG_SETMASK), ptr::from_ref(&mask).addr(), 0, SIGNAL_SET, 0];
    // SAFETY: the kernel reads one set of the size given.
    unsafe { call(libc::SYS_rt_sigprocmask, arguments) }.map(drop)
}

/// A descriptor, closed at `execve`, from which the signals that this process has blocked are read, without waiting.
pub(super) fn signal_descriptor() -> Result<RawFd, Errno> {
    let all = u64::MAX;
    let flags = word(libc::SFD_NONBLOCK | libc::SFD_CLOEXEC);
    // SAFETY: the kernel reads one set of the size given.
    let descriptor =
        unsafe { call(libc::SYS_signalfd4, [word(-1), ptr::from_ref(&all).addr(), SIGNAL_SET, flags, 0]) }?;
    c_int::try_from(descriptor).map_err(|_| libc::EBADF)
}

/// Milliseconds since some moment of the machine's; the clock never goes back.
pub(super) fn milliseconds() -> i64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let arguments = [word(libc::CLOCK_MONOTONIC), ptr::from_mut(&mut now).addr(), 0, 0, 0];
    // SAFETY: the kernel writes one `timespec`. It does not fail for this clock.
    let _ = unsafe { call(libc::SYS_clock_gettime, arguments) };
    now.tv_sec * 1000 + now.tv_nsec / 1_000_000
}

/// The number and status of a child that has ended, number 0 where none has.
pub(super) fn next_ended_child() -> Result<(c_int, c_int), Errno> {
    let mut status: c_int = 0;
    let options = word(libc::WNOHANG | libc::__WALL);
    // SAFETY: the kernel writes one `c_int`.
    let pid = unsafe { call(libc::SYS_wait4, [word(-1), ptr::from_mut(&mut status).addr(), options, 0, 0]) }?;
    Ok((c_int::try_from(pid).map_err(|_| libc::ERANGE)?, status))
}

pub(super) fn setsid() -> Done {
    // SAFETY: no arguments, no memory.
    unsafe { call(libc::SYS_setsid, [0; 5]) }.map(drop)
}

pub(super) fn kill(pid: c_int, signal: c_int) -> Done {
    // SAFETY: no memory.
    unsafe { call(libc::SYS_kill, [word(pid), word(signal), 0, 0, 0]) }.map(drop)
}

/// A descriptor of a process.
pub(super) fn open_process(pid: c_int) -> Result<RawFd, Errno> {
    // SAFETY: no memory.
    let descriptor = unsafe { call(libc::SYS_pidfd_open, [word(pid), 0, 0, 0, 0]) }?;
    c_int::try_from(descriptor).map_err(|_| libc::EBADF)
}

pub(super) fn kill_opened(process: RawFd) -> Done {
    // SAFETY: without details of the signal, no memory.
    unsafe { call(libc::SYS_pidfd_send_signal, [word(process), word(libc::SIGKILL), 0, 0, 0]) }.map(drop)
}

pub(super) fn close_range(first: c_uint, last: c_uint, flags: c_uint) -> Done {
    // SAFETY: no memory. Descriptors of this process alone, of which nothing that owns one runs on.
    unsafe { call(libc::SYS_close_range, [word(first), word(last), word(flags), 0, 0]) }.map(drop)
}

pub(super) fn close(descriptor: RawFd) {
    let number = descriptor.unsigned_abs();
    let _ = close_range(number, number, 0);
}

pub(super) fn duplicate(from: RawFd, to: RawFd) -> Done {
    // SAFETY: as in `close_range`.
    unsafe { call(libc::SYS_dup3, [word(from), word(to), 0, 0, 0]) }.map(drop)
}

fn set_limit(resource: c_uint, value: u64) -> Done {
    let limit = libc::rlimit64 { rlim_cur: value, rlim_max: value };
    // SAFETY: the kernel reads one limit, and writes none behind the null pointer.
    unsafe { call(libc::SYS_prlimit64, [0, word(resource), ptr::from_ref(&limit).addr(), 0, 0]) }.map(drop)
}

fn umask(mask: usize) -> Result<usize, Errno> {
    // SAFETY: no memory.
    unsafe { call(libc::SYS_umask, [mask, 0, 0, 0, 0]) }
}

/// One system call. Safe between `clone` and `execve`: it takes no lock and allocates nothing.
///
/// # Safety
///
/// The arguments are what this call takes, and its pointers are good for it.
unsafe fn call(number: c_long, [a, b, c, d, e]: [usize; 5]) -> Result<usize, Errno> {
    // SAFETY: the caller's promise; a sixth argument, where a call has one, is zero.
    let answer = unsafe { libc::syscall(number, a, b, c, d, e, 0_usize) };
    // SAFETY: the C library's `errno` of this thread, which always exists; a child has its copy.
    usize::try_from(answer).map_err(|_| unsafe { *libc::__errno_location() })
}

/// A number as a register holds it, its sign kept.
fn word<N: Into<i64>>(number: N) -> usize {
    let signed: i64 = number.into();
    signed as usize
}
