//! The fences that the kernel holds around a session: what this machine offers, what a session got, and the way in.
//!
//! ```text
//! SandboxPlan ─┐                       ruleset (landlock.rs)
//!              ├─ prepare ─▶ Prepared ─ filters (seccomp.rs) ─ spawn ─▶ the child's steps (enforce.rs) ─▶ Process
//! Launch ──────┘                       argv, environment, descriptors
//! ```
//!
//! Everything that can be refused or go wrong does so in `prepare`, in the server, with a sentence for the reader. After that
//! the child takes its steps in order, and one that fails is reported by name and nothing runs. There is no way to start a
//! program without a plan, and none to get less than the plan's level asks for.
//!
//! Not decided here: what a plan should hold (`plan.rs` and the engine), and which variables a child sees (`environment.rs`).

mod call;
mod capabilities;
mod connect;
mod cpu_time;
mod disk;
mod enforce;
mod execution;
pub mod file_marks;
mod group;
mod guard;
mod init;
pub mod keeper;
mod landlock;
mod masks;
mod memory;
pub mod meter;
mod mounts;
pub mod move_watch;
pub mod names;
mod new_places;
pub mod own_settings;
mod parse_report;
pub mod plan;
mod process;
pub mod repositories;
mod seccomp;
mod stat;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};
use serde::{Deserialize, Serialize};

pub use self::call::{block_signals, leave_terminal};
pub use self::capabilities::{Capabilities, Finding, Namespaces, begin_to_probe, probe};
pub use self::disk::Disks;
pub use self::enforce::{ChildStep, Prepared, spawn};
pub use self::execution::Execution;
use self::group::Group;
pub use self::guard::{Judge, Patience, Settled, WaitState};
pub use self::keeper::is_own;
use self::landlock::Tcp;
pub use self::masks::{MAX_ENTRIES, MAX_NAMED};
pub use self::masks::{NPM_SETTINGS, public_content};
pub use self::mounts::can_stand_in;
pub use self::names::Attempt;
pub use self::names::Names;
pub use self::new_places::{NewPlace, NewPlaces, NotMade};
use self::plan::{Level, Limits, SandboxPlan};
pub use self::process::{Ending, Process};
pub use self::stat::{Stat as ProcessStat, leader};
pub use self::tree::processes_of;
pub use self::tree::{Glance, Tree};

/// Whether a session has this place for itself and not the machine's.
#[must_use]
pub fn is_own_place(path: &Path) -> bool {
    probe().mounts && mounts::is_own(path)
}

/// What to start, and with what in its hands. Nothing else of the server's reaches it.
#[derive(Debug)]
pub struct Launch {
    /// The file to execute; no search in `PATH`.
    pub program: PathBuf,
    /// All arguments, the program's own name first.
    pub argv: Vec<OsString>,
    /// The whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// Where it starts.
    pub cwd: PathBuf,
    /// Descriptor 0.
    pub stdin: OwnedFd,
    /// Descriptor 1.
    pub stdout: OwnedFd,
    /// Descriptor 2.
    pub stderr: OwnedFd,
    /// Further descriptors and the numbers, 3 to 255, at which the program finds them.
    pub extra: Vec<(OwnedFd, RawFd)>,
    /// The number of a descriptor, among those above, that is a terminal and shall control the new session.
    pub controlling_terminal: Option<RawFd>,
}

/// What a session got, layer by layer: for results and for the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Enforced {
    /// The level that was asked for.
    pub level: Level,
    /// The Landlock version whose rights are all in force.
    pub landlock_abi: u32,
    /// Digest of the system call filters.
    pub seccomp: String,
    /// Which namespaces are the session's own: of `user`, `mount`, `pid`, `ipc`, `net`.
    pub namespaces: Vec<&'static str>,
    /// Files and directories that are covered, since policy takes them back below something that it grants.
    pub masks: usize,
    /// Whether all that the session can change was searched for names that policy forbids.
    pub searched: bool,
    /// Whether no program can gain privileges by being executed.
    pub no_new_privs: bool,
    /// The capabilities it holds or can get: `none`.
    pub capabilities: &'static str,
    /// Which limits of the plan are held, as the settings name them.
    pub limits: Vec<&'static str>,
    /// By whom each is held: `kernel`, `server` or `kernel+server`.
    pub limits_held_by: BTreeMap<&'static str, &'static str>,
    /// Whether every `execve` is decided again.
    pub guarded: bool,
    /// What it has of a network.
    pub network: Network,
}

impl Enforced {
    /// Whether files may lie open that policy forbids by name, since more is there than is searched.
    pub fn misses_names(&self) -> bool {
        !self.searched && self.namespaces.contains(&"mount")
    }
}

/// What a session has of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// A proxy of its own, which decides each connection.
    Proxy,
    /// None: no policy permits any connection.
    NotPermitted,
    /// None: policies would permit some, and the machine offers no network namespace, without which a permitted port would be
    /// permitted at every address.
    NoNamespace,
}

impl Network {
    /// What a session has whose policies might permit a connection, or not, in these namespaces.
    #[must_use]
    pub const fn of(permitted: bool, namespaces: Namespaces) -> Self {
        match (permitted, namespaces) {
            (false, _) => Self::NotPermitted,
            (true, Namespaces::None) => Self::NoNamespace,
            (true, Namespaces::Root | Namespaces::User) => Self::Proxy,
        }
    }

    /// As a sentence's end, behind "network: ".
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Proxy => "by the session's proxy alone, which asks policy about each connection",
            Self::NotPermitted => "off: no policy permits a connection",
            Self::NoNamespace => {
                "off: policies permit connections, but the machine offers no network namespace to hold them in"
            }
        }
    }
}

/// Where a session's proxy listens, at 127.0.0.1 of a network that is that session's own.
pub const PROXY_PORT: u16 = 3128;

/// Turns a plan and a launch into something that only needs to be started. Opens the paths of the plan; starts nothing.
///
/// # Errors
///
/// This machine offers less than the plan's level asks for, a path of the plan cannot be opened, or the launch cannot be
/// expressed (a NUL byte, a descriptor number out of range).
pub fn prepare(plan: &SandboxPlan, launch: Launch) -> Result<Prepared, SandboxError> {
    let capabilities = probe();
    prepare_in(capabilities.namespaces, capabilities.mounts, plan, launch)
}

/// `prepare` for a session in these namespaces, which the machine must offer, and with `mounts` in one for mounts.
fn prepare_in(
    namespaces: Namespaces,
    mounts: bool,
    plan: &SandboxPlan,
    launch: Launch,
) -> Result<Prepared, SandboxError> {
    let capabilities = probe();
    capabilities.meets(plan.level)?;
    let (view, rules) = if mounts && namespaces != Namespaces::None {
        // A shell that has a terminal of the server's goes by the name that this has outside.
        let own_terminals = launch.controlling_terminal.is_none();
        let (view, rules) = mounts::view(plan, &launch.cwd, own_terminals, capabilities.landlock_abi)?;
        let view = view.with_stand_ins(plan.stand_ins.as_deref())?;
        (Some(view), rules)
    } else if let Some(mask) = plan.masks.first() {
        return Err(SandboxError::Unmasked { path: mask.path.clone() });
    } else {
        (None, plan.rules.clone())
    };
    let network = Network::of(plan.network, namespaces);
    let proxied = network == Network::Proxy;
    let loopback = plan.loopback && namespaces != Namespaces::None;
    let tcp = match (loopback, proxied) {
        (true, _) => Tcp::Own,
        (false, true) => Tcp::Port(PROXY_PORT),
        (false, false) => Tcp::None,
    };
    let ruleset = landlock::ruleset(&rules, tcp, plan.level, capabilities.landlock_abi, &capabilities.kernel)?;
    let reach = match namespaces {
        Namespaces::Root | Namespaces::User => None,
        Namespaces::None => landlock::reach(capabilities.landlock_abi)?,
    };
    let kind = seccomp::Isolation::of(namespaces, proxied, loopback);
    let at_terminal = launch.controlling_terminal.is_some();
    let filters = seccomp::filters(seccomp::Shape { kind, at_terminal, strict: plan.level == Level::Strict })?;
    let limits = limits(&plan.limits, namespaces, capabilities.root);
    let numbers = plan.limits.processes.filter(|_| capabilities.numbers_processes() && namespaces == Namespaces::Root);
    let held = plan.limits.told(&Capabilities { namespaces, ..capabilities.clone() });
    let enforced = Enforced {
        level: plan.level,
        landlock_abi: landlock::in_force(capabilities.landlock_abi),
        seccomp: filters.plain.digest.clone(),
        namespaces: namespaces.names(view.is_some()).to_vec(),
        masks: plan.masks.len(),
        searched: view.is_some() && plan.searched,
        no_new_privs: true,
        capabilities: "none",
        limits: held.iter().map(|limit| limit.name).collect(),
        limits_held_by: held.iter().map(|limit| (limit.name, limit.held_by)).collect(),
        guarded: false,
        network,
    };
    Ok(Prepared {
        program: text("program", launch.program.into())?,
        cwd: text("working directory", launch.cwd.into())?,
        argv: launch.argv.into_iter().map(|argument| text("argument", argument)).collect::<Result<_, _>>()?,
        env: launch.env.into_iter().map(variable).collect::<Result<_, _>>()?,
        descriptors: descriptors([(launch.stdin, 0), (launch.stdout, 1), (launch.stderr, 2)], launch.extra)?,
        controlling_terminal: launch.controlling_terminal,
        limits,
        last_number: numbers.map(|processes| format!("{}\n", processes.saturating_add(FIRST_NUMBERS)).into_bytes()),
        shared_pages: format!("{}\n", mounts::size(&plan.limits) / rustix::param::page_size() as u64).into_bytes(),
        ruleset: out_of_the_way(&ruleset)?,
        reach,
        view,
        filters: &filters.plain.programs,
        kinds: filters,
        loopback,
        namespaces,
        enforced,
        names: None,
        guard: None,
        group: Group::make(&plan.limits)
            .map_err(|source| SandboxError::Server { what: "make a control group", source })?,
    })
}

impl Prepared {
    /// The same, with each name that its programs make told to these names by the exec guard. Before [`Self::guarded_by`].
    pub fn naming(mut self, names: Arc<Names>) -> Self {
        self.names = Some(names);
        self
    }

    /// The same, with everything that it executes asked about first.
    ///
    /// # Errors
    ///
    /// The kernel cannot ask, or does not let this process see what was executed.
    pub fn guarded_by(mut self, judge: Box<dyn Judge>) -> Result<Self, SandboxError> {
        probe().guards()?;
        let connects = self.loopback && self.names.is_some();
        self.guard = Some((judge, seccomp::guard(self.names.is_some(), connects)?));
        let set = if connects { &self.kinds.connecting } else { &self.kinds.guarded };
        self.filters = &set.programs;
        self.enforced.seccomp.clone_from(&set.digest);
        self.enforced.guarded = true;
        Ok(self)
    }
}

/// Makes the memory, descriptors and environment of this process unreadable to others of its user (`/proc/PID/mem`, `environ`,
/// `fd`; also by ptrace), and forbids it to leave them in a core file. For the server, before it reads any secret.
///
/// # Errors
///
/// The kernel refuses.
pub fn harden_server() -> io::Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    Ok(())
}

/// Why no sandbox could be put on. [`advice`](SandboxError::advice) says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// Landlock is not compiled in, or not switched on at boot.
    #[error("the kernel offers no Landlock (Linux {kernel})")]
    NoLandlock {
        /// The running kernel's release.
        kernel: String,
    },
    /// Landlock is there and mediates too little.
    #[error("level `{level}` needs Landlock {needed} and the kernel ({kernel}) offers {offered}")]
    LandlockTooOld {
        /// The level asked for.
        level: Level,
        /// The Landlock version that it needs.
        needed: u32,
        /// The one that the kernel offers.
        offered: u32,
        /// The running kernel's release.
        kernel: String,
    },
    /// System call filters are not compiled in.
    #[error("the kernel offers no system call filters")]
    NoSeccomp,
    /// Level `strict` on a machine that lets us make no namespaces.
    #[error("level `strict` needs namespaces and the kernel refuses them: {reason}")]
    NoNamespaces {
        /// What the kernel answered to the trial.
        reason: String,
    },
    /// Programs cannot be decided when they are executed.
    #[error("the kernel offers no exec guard: {reason}")]
    NoGuard {
        /// What is missing.
        reason: String,
    },
    /// Level `strict` on a machine that gives a session no view of the file system of its own.
    #[error("level `strict` needs mounts in a namespace and the kernel refuses them: {reason}")]
    NoMounts {
        /// What the kernel answered to the trial.
        reason: String,
    },
    /// Something is to be covered, and there is no mount namespace to do it in.
    #[error("`{}` cannot be taken back below what is granted without a mount namespace", path.display())]
    Unmasked {
        /// What is to be covered.
        path: PathBuf,
    },
    /// A rule of the plan is about a path that cannot be opened.
    #[error("cannot make a rule for `{}`", path.display())]
    Path {
        /// The rule's path.
        path: PathBuf,
        /// What opening it answered.
        source: io::Error,
    },
    /// The kernel takes no ruleset or rule.
    #[error("cannot make the Landlock rules")]
    Ruleset(#[source] ::landlock::RulesetError),
    /// The system call filters cannot be made.
    #[error("cannot make the system call filters: {reason}")]
    Filters {
        /// What is wrong with them.
        reason: String,
    },
    /// Text for the new program that the kernel cannot pass on.
    #[error("the {what} `{}` cannot be passed to a program", .text.to_string_lossy())]
    Text {
        /// What the text is.
        what: &'static str,
        /// The text.
        text: OsString,
    },
    /// A number at which no descriptor can be passed, or passed twice.
    #[error("descriptor {number} is out of range or given twice")]
    Descriptor {
        /// The number asked for.
        number: RawFd,
    },
    /// The server lacks what it needs to start a process at all.
    #[error("cannot {what}")]
    Server {
        /// What it tried.
        what: &'static str,
        /// What the kernel answered.
        source: io::Error,
    },
    /// The new process could not take one of its steps, and ended before its program began.
    #[error("cannot {step}")]
    Enforce {
        /// The step.
        step: ChildStep,
        /// What the kernel answered.
        source: io::Error,
    },
}

impl miette::Diagnostic for SandboxError {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.advice().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }
}

impl SandboxError {
    /// What the reader can do about it, where there is something.
    #[must_use]
    pub fn advice(&self) -> Option<&'static str> {
        match self {
            Self::NoLandlock { .. } => Some(
                "use a kernel with CONFIG_SECURITY_LANDLOCK (Linux 6.12 or newer for level `default`), and add `landlock` to the `lsm=` boot parameter",
            ),
            Self::LandlockTooOld { level: Level::Compat, .. } => Some("upgrade to Linux 6.2 or newer"),
            Self::LandlockTooOld { .. } => {
                Some("upgrade to Linux 6.12 or newer; `level = \"compat\"` accepts Linux 6.2, and what it leaves open")
            }
            Self::NoSeccomp => Some("use a kernel with CONFIG_SECCOMP_FILTER"),
            Self::NoNamespaces { .. } => Some(
                "allow unprivileged user namespaces (`sysctl user.max_user_namespaces`, `kernel.apparmor_restrict_unprivileged_userns`), or use `level = \"default\"`",
            ),
            Self::NoGuard { .. } => Some(
                "the guard needs `SECCOMP_RET_USER_NOTIF` (Linux 5.19 or newer) and `sysctl kernel.yama.ptrace_scope` below 3; `level = \"compat\"` does without, and then only the text of a command is decided",
            ),
            Self::NoMounts { .. } => Some(
                "allow mounts in user namespaces (a container may mask parts of /proc), or use `level = \"default\"`",
            ),
            Self::Path { source, .. } if source.raw_os_error() == Some(libc::ELOOP) => {
                Some("the path passes through a symbolic link; name the place it leads to")
            }
            _ => None,
        }
    }
}

/// Process numbers that the kernel gives out once only, when a namespace is new (`RESERVED_PIDS`).
const FIRST_NUMBERS: u64 = 300;

/// A limit as the kernel takes it.
struct Limit {
    resource: libc::c_uint,
    /// Where it begins to hold.
    value: u64,
    /// How far the process can raise it.
    highest: u64,
}

/// No core files, and the plan's limits as far as the kernel can hold them, none above what the server itself has.
fn limits(plan: &Limits, namespaces: Namespaces, root: bool) -> Vec<Limit> {
    // The kernel counts processes per user and user namespace, and never for root: anywhere else the server and the person's
    // desktop would be counted with the session.
    let processes = plan.processes.filter(|_| namespaces == Namespaces::User && !root);
    // The server has the first word, since it can say what it was that ended the command.
    let cpu = plan.cpu.map(|time| time.as_secs().saturating_add(2));
    let rows = [
        (libc::RLIMIT_CORE, Resource::Core, Some(0)),
        (libc::RLIMIT_NPROC, Resource::Nproc, processes),
        (libc::RLIMIT_FSIZE, Resource::Fsize, plan.file_size),
        (libc::RLIMIT_NOFILE, Resource::Nofile, plan.open_files),
        (libc::RLIMIT_CPU, Resource::Cpu, cpu),
    ];
    let lowered = |resource, value: u64| value.min(getrlimit(resource).maximum.unwrap_or(u64::MAX));
    rows.into_iter()
        .filter_map(|(number, resource, value)| {
            let value = lowered(resource, value?);
            // The first second past it brings a signal that names the limit (`SIGXCPU`), the second one `SIGKILL`.
            let highest = if number == libc::RLIMIT_CPU { lowered(resource, value.saturating_add(1)) } else { value };
            Some(Limit { resource: number, value, highest })
        })
        .collect()
}

fn text(what: &'static str, text: OsString) -> Result<CString, SandboxError> {
    CString::new(text.into_vec())
        .map_err(|error| SandboxError::Text { what, text: OsString::from_vec(error.into_vec()) })
}

fn variable((name, value): (OsString, OsString)) -> Result<CString, SandboxError> {
    if name.is_empty() || name.as_bytes().contains(&b'=') {
        return Err(SandboxError::Text { what: "variable name", text: name });
    }
    text("variable", [name.as_os_str(), OsStr::new("="), value.as_os_str()].into_iter().collect())
}

/// Copies of the descriptors with numbers above every target, so that the child can put each in its place without closing
/// another that it still needs.
fn descriptors(
    standard: [(OwnedFd, RawFd); 3],
    extra: Vec<(OwnedFd, RawFd)>,
) -> Result<Vec<(OwnedFd, RawFd)>, SandboxError> {
    let mut taken = Vec::new();
    let mut copies = Vec::new();
    for (position, (descriptor, number)) in standard.into_iter().chain(extra).enumerate() {
        let lowest = if position < 3 { 0 } else { 3 };
        if !(lowest..FIRST_OUT_OF_THE_WAY).contains(&number) || taken.contains(&number) {
            return Err(SandboxError::Descriptor { number });
        }
        taken.push(number);
        copies.push((out_of_the_way(&descriptor)?, number));
    }
    Ok(copies)
}

/// The first descriptor number that no program is promised.
const FIRST_OUT_OF_THE_WAY: RawFd = 256;

fn out_of_the_way(descriptor: impl AsFd) -> Result<OwnedFd, SandboxError> {
    rustix::io::fcntl_dupfd_cloexec(descriptor, FIRST_OUT_OF_THE_WAY)
        .map_err(|errno| SandboxError::Server { what: "copy a descriptor", source: errno.into() })
}

/// An error and its causes as one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}
