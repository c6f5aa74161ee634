//! A control group for each session (`Documentation/admin-guide/cgroup-v2.rst`), where this server has a place to make them in.
//!
//! In one, the kernel itself refuses the process or the page that is too much, also between two looks of `meter.rs`, which then tells
//! whose limit it was and ends the command; and all that is in it ends at one word, wherever it has gone.
//!
//! Decided here: which place is this server's. The controllers of a group serve its children only while no process is in the group
//! itself, and on a machine with systemd a group is that program's unless it says that it has given it away. So a place is the server's own group
//! or the one above, if that can be written and is given away, and if its controllers are passed on or can be. Nothing is ever moved but
//! the server itself, into a group below its own, if it is alone there.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use serde::Serialize;

use super::meter::Exceeded;
use super::plan::Limits;
use super::{Namespaces, enforce};

/// What groups are called, before the server's number.
const NAME: &str = "palisade-";

/// The group that the server moves into, alone, so that its own can have children with controllers.
const SERVER: &str = "palisade-server";

/// Attributes by which systemd marks a group as given away (`systemd.exec`'s `Delegate=`).
const GIVEN_AWAY: [&str; 2] = ["user.delegate", "trusted.delegate"];

/// Is there where systemd runs (`sd_booted(3)`).
const SYSTEMD: &str = "/run/systemd/system";

/// How long the end of a group's last process is waited for, in all.
const LEAVING: (u32, Duration) = (50, Duration::from_millis(20));

/// What a group can bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Controller {
    /// Memory, swap included.
    Memory,
    /// Processes and threads.
    Pids,
}

impl Controller {
    const ALL: [Self; 2] = [Self::Memory, Self::Pids];

    /// The kernel's name for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Pids => "pids",
        }
    }

    const fn events(self) -> &'static str {
        match self {
            Self::Memory => "memory.events",
            Self::Pids => "pids.events",
        }
    }
}

impl fmt::Display for Controller {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Where sessions' groups are made, and what those bound.
#[derive(Debug, Clone, PartialEq, Eq)]
struct CgroupParent {
    directory: PathBuf,
    controllers: Vec<Controller>,
}

/// The server's place, looked for once.
static PLACE: LazyLock<Result<CgroupParent, String>> = LazyLock::new(|| {
    let place = find()?;
    sweep(&place.directory);
    Ok(place)
});

/// What groups bound on this machine, tried with a process in such namespaces.
///
/// # Errors
///
/// Why there are none, to stand behind a colon.
pub(super) fn offered(namespaces: Namespaces) -> Result<Vec<Controller>, String> {
    let place = PLACE.as_ref().map_err(Clone::clone)?;
    let most = Limits { processes: Some(16), memory: Some(64 << 20), ..Limits::default() };
    let group = Group::make_in(place, &most).map_err(|error| error.to_string())?;
    enforce::attempt_in(namespaces, group).map_err(|error| super::chain(&error))?;
    Ok(place.controllers.clone())
}

/// A session's group. It ends all that is in it, and goes, when it is dropped.
#[derive(Debug)]
pub(super) struct Group {
    directory: PathBuf,
    /// By which a new process is made in it.
    handle: OwnedFd,
    /// Where each controller counts what the kernel refuses: held open, since that is looked at around each command.
    events: Vec<(Controller, File)>,
}

/// How often the kernel has refused something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Refusals {
    memory: u64,
    pids: u64,
}

impl Refusals {
    /// What has been refused since `before`.
    pub(super) fn since(self, before: Self) -> Option<Exceeded> {
        let processes = (self.pids > before.pids).then_some(Exceeded::Processes);
        (self.memory > before.memory).then_some(Exceeded::Memory).or(processes)
    }
}

impl Group {
    /// A group with these limits; none where there is no place for it, or it would bound nothing.
    ///
    /// # Errors
    ///
    /// It cannot be made, although it could be when this machine was asked.
    pub(super) fn make(limits: &Limits) -> io::Result<Option<Self>> {
        let Ok(place) = &*PLACE else { return Ok(None) };
        let bounds = |controller: &Controller| match controller {
            Controller::Memory => limits.memory.is_some(),
            Controller::Pids => limits.processes.is_some(),
        };
        if !place.controllers.iter().any(bounds) {
            return Ok(None);
        }
        Self::make_in(place, limits).map(Some)
    }

    fn make_in(place: &CgroupParent, limits: &Limits) -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("{NAME}{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let directory = place.directory.join(name);
        fs::create_dir(&directory)?;
        let opened = rustix::fs::open(&directory, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        let handle = opened.inspect_err(|_| drop(fs::remove_dir(&directory)))?;
        let mut group = Self { directory, handle, events: Vec::new() };
        for controller in &place.controllers {
            group.bound(*controller, limits)?;
            group.events.push((*controller, File::open(group.directory.join(controller.events()))?));
        }
        Ok(group)
    }

    fn bound(&self, controller: Controller, limits: &Limits) -> io::Result<()> {
        match (controller, limits) {
            (Controller::Memory, Limits { memory: Some(memory), .. }) => {
                // What is swapped out is used as well. A kernel without accounts of swap has no such file.
                match self.write("memory.swap.max", "0") {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    other => other?,
                }
                self.write("memory.max", &memory.to_string())
            }
            // And the session's first process, which is ours.
            (Controller::Pids, Limits { processes: Some(processes), .. }) => {
                self.write("pids.max", &processes.saturating_add(1).to_string())
            }
            (Controller::Memory | Controller::Pids, _) => Ok(()),
        }
    }

    /// By which a process is made in it (`CLONE_INTO_CGROUP`).
    pub(super) fn handle(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }

    /// How often the kernel has refused something in it.
    ///
    /// # Errors
    ///
    /// It cannot be told.
    pub(super) fn refusals(&self) -> io::Result<Refusals> {
        let mut refusals = Refusals::default();
        for (controller, events) in &self.events {
            let mut text = [0; 512];
            let read = events.read_at(&mut text, 0)?;
            let text = String::from_utf8_lossy(text.get(..read).unwrap_or_default());
            match controller {
                Controller::Memory => refusals.memory = counted(&text, "oom_kill"),
                Controller::Pids => refusals.pids = counted(&text, "max"),
            }
        }
        Ok(refusals)
    }

    /// Ends all that is in it, at once.
    pub(super) fn end(&self) {
        // Linux 5.14. Where it is missing, what ends sessions without a group has ended this one.
        let _missing = self.write("cgroup.kill", "1");
    }

    fn write(&self, file: &str, text: &str) -> io::Result<()> {
        fs::write(self.directory.join(file), text)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.end();
        if !is_busy(fs::remove_dir(&self.directory)) {
            return;
        }
        // A process that is deep in the kernel takes its time to die, and a drop may happen on a thread that must not wait.
        let directory = std::mem::take(&mut self.directory);
        let leave = move || {
            for _ in 0..LEAVING.0 {
                std::thread::sleep(LEAVING.1);
                if !is_busy(fs::remove_dir(&directory)) {
                    return;
                }
            }
            tracing::warn!("the control group `{}` stays: something in it does not end", directory.display());
        };
        let _left_for_the_next_server = std::thread::Builder::new().name("palisade-reaper".to_owned()).spawn(leave);
    }
}

fn is_busy(removed: io::Result<()>) -> bool {
    removed.is_err_and(|error| error.kind() == io::ErrorKind::ResourceBusy)
}

/// The number behind a key of a file of `key number` lines; 0 for one that is not there.
fn counted(text: &str, key: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

/// Removes what servers have left here that were killed. What lives in one stays in it.
fn sweep(place: &Path) {
    for entry in fs::read_dir(place).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let of = name.to_str().and_then(|name| name.strip_prefix(NAME)?.split_once('-'));
        let server = of.and_then(|(server, _)| server.parse::<u32>().ok());
        if server.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
            let _lives = fs::remove_dir(entry.path());
        }
    }
}

fn find() -> Result<CgroupParent, String> {
    let (mount, own) = own_group()?;
    let mut why = String::new();
    for directory in [Some(own.as_path()), own.parent()].into_iter().flatten() {
        if !directory.starts_with(&mount) {
            break;
        }
        match usable(directory, directory == own) {
            Ok(controllers) => return Ok(CgroupParent { directory: directory.to_owned(), controllers }),
            Err(error) if why.is_empty() => why = format!("`{}` {error}", directory.display()),
            Err(_) => {}
        }
    }
    Err(why)
}

/// Where groups are mounted, and which one this process is in.
fn own_group() -> Result<(PathBuf, PathBuf), String> {
    let read = |path: &str| fs::read_to_string(path).map_err(|error| format!("`{path}`: {error}"));
    let (groups, mounts) = (read("/proc/self/cgroup")?, read("/proc/self/mountinfo")?);
    place_of(&groups, &mounts).ok_or_else(|| "no control groups of version 2 are mounted".to_owned())
}

/// The same, of the texts that the kernel tells it in (`cgroups(7)`, `proc_pid_mountinfo(5)`).
fn place_of(groups: &str, mounts: &str) -> Option<(PathBuf, PathBuf)> {
    let own = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    mounts.lines().find_map(|line| {
        let (before, behind) = line.split_once(" - ")?;
        if behind.split(' ').next()? != "cgroup2" {
            return None;
        }
        let mut fields = before.split(' ').skip(3);
        let (root, mount) = (fields.next()?, PathBuf::from(fields.next()?));
        // Outside of what is mounted begins with `/..`, and so below no root.
        let below = Path::new(own).strip_prefix(root).ok()?;
        Some((mount.clone(), mount.components().chain(below.components()).collect()))
    })
}

/// What groups below this one can bound.
fn usable(directory: &Path, is_own: bool) -> Result<Vec<Controller>, String> {
    let read =
        |file: &str| fs::read_to_string(directory.join(file)).map_err(|error| format!("tells no `{file}`: {error}"));
    let known = read("cgroup.controllers")?;
    let has = |known: &str, controller: &Controller| known.split_whitespace().any(|one| one == controller.as_str());
    let wanted: Vec<Controller> = Controller::ALL.into_iter().filter(|one| has(&known, one)).collect();
    if wanted.is_empty() {
        return Err("has neither of the controllers `memory` and `pids`".to_owned());
    }
    rustix::fs::access(directory, rustix::fs::Access::WRITE_OK).map_err(|_| "cannot be written".to_owned())?;
    let given_away =
        || GIVEN_AWAY.iter().any(|name| rustix::fs::getxattr(directory, *name, &mut [0_u8; 8][..]).is_ok());
    // Whoever is not root can write only what was given to them.
    if rustix::process::geteuid().is_root() && Path::new(SYSTEMD).exists() && !given_away() {
        return Err("is systemd's; a unit with `Delegate=yes` is given away".to_owned());
    }
    let passed_on = read("cgroup.subtree_control")?;
    let missing: Vec<String> = wanted.iter().filter(|one| !has(&passed_on, one)).map(|one| format!("+{one}")).collect();
    if !missing.is_empty() {
        let missing = missing.join(" ");
        let pass_on = || fs::write(directory.join("cgroup.subtree_control"), &missing);
        match pass_on() {
            // It is in the way itself.
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy && is_own && is_alone(directory) => {
                step_aside(directory, pass_on)
            }
            other => other,
        }
        .map_err(|error| format!("does not pass its controllers on: {error}"))?;
    }
    Ok(wanted)
}

fn is_alone(directory: &Path) -> bool {
    let there = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    there.trim() == std::process::id().to_string()
}

/// Moves the server into a group of its own below this one, and back if that does not help.
fn step_aside(directory: &Path, then: impl Fn() -> io::Result<()>) -> io::Result<()> {
    let aside = directory.join(SERVER);
    match fs::create_dir(&aside) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let enter = |group: &Path| fs::write(group.join("cgroup.procs"), "0");
    enter(&aside).and_then(|()| then()).inspect_err(|_| {
        let _as_before = enter(directory).and_then(|()| fs::remove_dir(&aside));
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_where_the_kernel_says() {
        let mounts = "24 1 0:22 / /proc rw - proc proc rw\n\
                      31 24 0:27 / /sys/fs/cgroup/pids rw,relatime shared:9 - cgroup cgroup rw,pids\n\
                      32 24 0:28 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        let container = "32 24 0:28 /docker/4f0c /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        for (groups, mounts, expected) in [
            ("0::/\n", mounts, Some("/sys/fs/cgroup")),
            ("8:pids:/x\n0::/user.slice/a.scope\n", mounts, Some("/sys/fs/cgroup/user.slice/a.scope")),
            ("0::/docker/4f0c/b\n", container, Some("/sys/fs/cgroup/b")),
            ("0::/../other\n", container, None),
            ("8:pids:/x\n", mounts, None),
            ("0::/\n", "24 1 0:22 / /proc rw - proc proc rw\n", None),
        ] {
            let found = place_of(groups, mounts).map(|(_, own)| own);
            assert_eq!(found.map(|own| own.display().to_string()).as_deref(), expected, "{groups:?}");
        }
    }

    #[test]
    fn refusals_are_told_apart() {
        let events = "low 0\nhigh 0\nmax 3\noom 1\noom_kill 2\noom_group_kill 0\n";
        assert_eq!((counted(events, "oom_kill"), counted(events, "max"), counted("", "max")), (2, 3, 0));
        let refusals = |memory, pids| Refusals { memory, pids };
        assert_eq!(refusals(1, 1).since(refusals(1, 1)), None);
        assert_eq!(refusals(1, 2).since(refusals(1, 1)), Some(Exceeded::Processes));
        assert_eq!(refusals(2, 2).since(refusals(1, 1)), Some(Exceeded::Memory));
    }
}
