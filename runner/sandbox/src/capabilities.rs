//! What this machine can enforce. Asked of the kernel by trying, once: a version number or a setting tells less than a refusal.

use std::collections::BTreeMap;
use std::sync::{OnceLock, mpsc};
use std::time::Duration;

use serde::Serialize;

use super::group::Controller;
use super::plan::{Level, Limits};
use super::{Network, SandboxError, call, enforce, group, guard, landlock, mounts};

/// What this machine can enforce.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Capabilities {
    /// The running kernel's release.
    pub kernel: String,
    /// The kernel's Landlock version; 0 where it has none.
    pub landlock_abi: u32,
    /// Whether system calls can be filtered.
    pub seccomp_filter: bool,
    /// Whether a filter can ask another process, which the exec guard needs.
    pub user_notify: bool,
    /// Whether a process may trace its own descendants, which the exec guard needs.
    pub ptrace: bool,
    /// Which namespaces a session can have.
    pub namespaces: Namespaces,
    /// What the kernel answered where it refuses namespaces, else empty.
    pub namespaces_refused: String,
    /// Whether a session can have its own view of the file system.
    pub mounts: bool,
    /// What the kernel answered where it refuses that, else empty.
    pub mounts_refused: String,
    /// What a control group of the session's own bounds; empty where it can have none.
    pub groups: Vec<Controller>,
    /// Why it can have none, else empty.
    pub groups_refused: String,
    /// Whether the server runs as root.
    pub root: bool,
}

/// The namespaces that a session has for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Namespaces {
    /// Processes, IPC objects and network, made with the server's own privilege.
    Root,
    /// The same, and users: what lets an unprivileged server make the others.
    User,
    /// None; the session's first process, and no longer the kernel, sees to it that nothing outlives it.
    None,
}

impl Namespaces {
    /// Their names; `mounts`: with one for mounts.
    #[must_use]
    pub const fn names(self, mounts: bool) -> &'static [&'static str] {
        match (self, mounts) {
            (Self::Root, true) => &["mount", "pid", "ipc", "net"],
            (Self::Root, false) => &["pid", "ipc", "net"],
            (Self::User, true) => &["user", "mount", "pid", "ipc", "net"],
            (Self::User, false) => &["user", "pid", "ipc", "net"],
            (Self::None, _) => &[],
        }
    }
}

/// One thing that was looked for, as a line for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked for.
    pub layer: &'static str,
    /// Whether it is there.
    pub present: bool,
    /// What was found, as a sentence.
    pub text: String,
}

static OFFER: OnceLock<Capabilities> = OnceLock::new();

/// What this machine can enforce. Asked once, at the first call, by making a process in each kind of namespace.
pub fn probe() -> &'static Capabilities {
    OFFER.get_or_init(|| ask(None))
}

/// Asks the same on another thread, while a program loads what it needs. Returns when the first trial process is made.
///
/// The kernel copies a page that both processes have when this one writes to it, and has all processors wait each time. What this process
/// allocates afterwards it shares with no trial process.
pub fn begin_to_probe() {
    let (made, is_made) = mpsc::channel();
    let probe = move || _ = OFFER.get_or_init(|| ask(Some(made)));
    // Where there is no thread, it is done later.
    if std::thread::Builder::new().name("palisade-probe".to_owned()).spawn(probe).is_ok() {
        // An error says that no process will be made, or that all have been.
        let _ = is_made.recv();
    }
}

impl Capabilities {
    /// Whether a session of this level can start here.
    ///
    /// # Errors
    ///
    /// The first layer that is missing.
    pub fn meets(&self, level: Level) -> Result<(), SandboxError> {
        landlock::demand(level, self.landlock_abi, &self.kernel)?;
        if !self.seccomp_filter {
            return Err(SandboxError::NoSeccomp);
        }
        if level != Level::Compat {
            self.guards()?;
        }
        if level == Level::Strict && self.namespaces == Namespaces::None {
            return Err(SandboxError::NoNamespaces { reason: self.namespaces_refused.clone() });
        }
        if level == Level::Strict && !self.mounts {
            return Err(SandboxError::NoMounts { reason: self.mounts_refused.clone() });
        }
        Ok(())
    }

    /// Whether sessions of different principals can be kept apart under one user: neither reads, signals, traces or sees the other's
    /// processes, temporary files, shared memory and network. Their workspaces have to be different ones, which is the settings' to see to.
    /// A server for several principals asks this before it serves a second one.
    ///
    /// # Errors
    ///
    /// The layer that is missing.
    pub fn separates_principals(&self) -> Result<(), SandboxError> {
        // Landlock alone leaves `/tmp`, the numbers and command lines of processes, and modes and times of files.
        self.meets(Level::Strict)
    }

    /// Whether programs can be decided when they are executed.
    ///
    /// # Errors
    ///
    /// What is missing.
    pub fn guards(&self) -> Result<(), SandboxError> {
        let missing = |reason: &str| Err(SandboxError::NoGuard { reason: reason.to_owned() });
        if !self.user_notify {
            return missing("system call filters cannot ask another process");
        }
        if !self.ptrace {
            return missing(
                "no process may trace another (`kernel.yama.ptrace_scope` is 3, or a container's filter refuses `ptrace`)",
            );
        }
        Ok(())
    }

    /// A line for each layer.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        let finding = |layer, present, text: String| Finding { layer, present, text };
        let landlock = self.landlock_abi > 0;
        let namespaces = self.namespaces != Namespaces::None;
        vec![
            finding("kernel", true, format!("Linux {}", self.kernel)),
            finding(
                "landlock",
                landlock,
                if landlock {
                    format!("version {}; {} in force", self.landlock_abi, landlock::in_force(self.landlock_abi))
                } else {
                    "not compiled in, or not in the `lsm=` boot parameter".to_owned()
                },
            ),
            finding("seccomp", self.seccomp_filter, yes(self.seccomp_filter, "system calls can be filtered")),
            finding(
                "guard",
                self.guards().is_ok(),
                self.guards().map_or_else(
                    |error| error.to_string(),
                    |()| "programs are decided again when they are executed".to_owned(),
                ),
            ),
            finding(
                "namespaces",
                namespaces,
                if namespaces {
                    self.namespaces.names(self.mounts).join(", ")
                } else {
                    let ender = if landlock::holds_signals(self.landlock_abi) {
                        "a process outside of its reach ends what a session leaves behind"
                    } else {
                        "a session can kill the process that ends what it leaves behind"
                    };
                    format!("refused: {}; {ender}", self.namespaces_refused)
                },
            ),
            finding(
                "mounts",
                self.mounts,
                if self.mounts {
                    "a session sees everything but what it may change read-only, and has its own /tmp, /dev/shm and /proc"
                        .to_owned()
                } else if namespaces {
                    format!("refused: {}; {WITHOUT_MOUNTS}", self.mounts_refused)
                } else {
                    format!("need namespaces; {WITHOUT_MOUNTS}")
                },
            ),
            finding(
                "network",
                namespaces,
                if namespaces {
                    "a session has none, or where policy permits connections a proxy of its own that decides each".to_owned()
                } else {
                    format!("always off: {}", Network::NoNamespace.as_str().trim_start_matches("off: "))
                },
            ),
            finding(
                "control groups",
                !self.groups.is_empty(),
                if self.groups.is_empty() {
                    format!("none: {}; the server looks at what sessions use", self.groups_refused)
                } else {
                    let names: Vec<&str> = self.groups.iter().map(|controller| controller.as_str()).collect();
                    format!("a session has one of its own: {}", names.join(", "))
                },
            ),
            finding("limits", true, self.limits()),
            finding(
                "user",
                !self.root,
                if self.root {
                    "the server runs as root: file permissions protect nothing from sessions, the rules of the sandbox alone do"
                } else {
                    "the server is unprivileged"
                }
                .to_owned(),
            ),
        ]
    }
}

const YAMA: &str = "/proc/sys/kernel/yama/ptrace_scope";
/// What Landlock leaves open by itself.
const WITHOUT_MOUNTS: &str = "modes, owners, times and attributes of files outside are not held, nor is what policy forbids below what it permits";

fn yes(present: bool, sentence: &str) -> String {
    if present { sentence.to_owned() } else { format!("missing: {sentence} with a newer kernel") }
}

impl Capabilities {
    /// Who would hold which limit, as a sentence.
    fn limits(&self) -> String {
        let all = Limits {
            processes: Some(1),
            memory: Some(1),
            file_size: Some(1),
            open_files: Some(1),
            cpu: Some(Duration::from_secs(1)),
            disk: Some(1),
            free_disk: Some(1),
        };
        let mut by: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for limit in all.told(self) {
            by.entry(limit.held_by).or_default().push(limit.name);
        }
        let held = by.iter().map(|(who, names)| format!("{} by {}", names.join(", "), who.replace('+', " and ")));
        held.collect::<Vec<_>>().join("; ")
    }

    /// Whether the kernel counts a session's processes apart from the user's others.
    pub(super) fn counts_processes(&self) -> bool {
        self.namespaces == Namespaces::User && !self.root
    }

    /// Whether a session has a highest process number of its own (Linux 6.14): before that there is one for the machine.
    pub(super) fn numbers_processes(&self) -> bool {
        let mut parts = self.kernel.split(|c: char| !c.is_ascii_digit()).map_while(|part| part.parse::<u32>().ok());
        let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
        version >= (6, 14) && self.root && self.namespaces == Namespaces::Root
    }
}

fn ask(made: Option<mpsc::Sender<()>>) -> Capabilities {
    let Usable { namespaces, refused, mounts } = usable(made);
    let (groups, groups_refused) = match group::offered(namespaces) {
        Ok(groups) => (groups, String::new()),
        Err(why) => (Vec::new(), why),
    };
    Capabilities {
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        landlock_abi: call::landlock_version(),
        seccomp_filter: call::filter_can_answer(libc::SECCOMP_RET_ERRNO),
        user_notify: call::filter_can_answer(libc::SECCOMP_RET_USER_NOTIF),
        // A file that is not there is a kernel without that module.
        ptrace: guard::may_trace() && std::fs::read_to_string(YAMA).map_or(true, |scope| scope.trim() != "3"),
        namespaces,
        namespaces_refused: refused,
        mounts: mounts.is_ok(),
        mounts_refused: mounts.err().unwrap_or_default(),
        groups,
        groups_refused,
        root: rustix::process::geteuid().is_root(),
    }
}

/// What kind of namespaces works, and else what the kernel answered last; and whether mounts do in them.
struct Usable {
    namespaces: Namespaces,
    refused: String,
    mounts: Result<(), String>,
}

/// The first kind that works. Root in a container often may make none of its own and yet some in a user namespace.
///
/// Mounts are tried with it, since nearly everywhere both work or neither does: making namespaces, a network above all, is most of
/// what this takes.
fn usable(mut made: Option<mpsc::Sender<()>>) -> Usable {
    let mut refused = String::new();
    for namespaces in [Namespaces::Root, Namespaces::User] {
        let mounts =
            enforce::attempt(namespaces, Some(mounts::trial()), made.take()).map_err(|error| super::chain(&error));
        let alone = if mounts.is_ok() { Ok(()) } else { enforce::attempt(namespaces, None, None) };
        match alone {
            Ok(()) => return Usable { namespaces, refused: String::new(), mounts },
            Err(error) => refused = super::chain(&error),
        }
    }
    Usable { namespaces: Namespaces::None, refused, mounts: Err(String::new()) }
}
