//! How a process comes to live in a view: a mount namespace of its own, in which the overlay stands at the workspace's path.
//!
//! An unprivileged process needs a user namespace for that, in which it stays itself and nobody else is known. All privilege that it has
//! there is given up behind the mount, so that what follows is as weak as before. Every session begins as a copy of this namespace.

use std::fs;
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use palisade_engine::AbsolutePath;
use rustix::fs::{Mode, OFlags, XattrFlags, setxattr};
use rustix::process::{DumpableBehavior, dumpable_behavior, set_dumpable_behavior};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

use super::{Held, Overlay, OverlayError, Settings, UPPER, WORK};
use crate::checkpoint::tree;

/// What is not wanted: a directory that is moved keeps its contents, a file that is copied has them.
const PLAIN: &str = "userxattr,redirect_dir=nofollow,metacopy=off,index=off";

/// Proof that this process lives in a view. While it lives, nobody else can mount, apply or discard that.
#[derive(Clone, Debug)]
pub struct Entered(Arc<Held>);

impl Entered {
    /// The view.
    #[must_use]
    pub fn overlay(&self) -> &Overlay {
        self.0.overlay()
    }
}

/// Puts this process, and with it every session that it starts, into the view. To be called before anything of the workspace is looked
/// at, by a process with one thread.
///
/// # Errors
/// The view is in use, or this machine does not offer what it takes. The process is then of no further use: it may be half-way.
pub fn enter(settings: &Settings) -> Result<Entered, OverlayError> {
    let overlay = Overlay::of(settings);
    let views = fs::canonicalize(&settings.directory).unwrap_or_else(|_| settings.directory.clone());
    let workspace = Path::new(settings.workspace.as_str());
    if views.starts_with(workspace) || workspace.starts_with(&views) {
        return Err(OverlayError::Nested { workspace: settings.workspace.to_string(), views });
    }
    let held = overlay.hold()?;
    keeps_attributes(&overlay.directory.join(WORK))?;
    held.settle_base()?;
    let [upper, work] = [UPPER, WORK].map(|part| overlay.directory.join(part));
    as_the_workspace(&open(&upper)?, &open(workspace)?)?;
    let privilege = leave_outside()?;
    // Behind it: what was opened before belongs to the namespace that is left.
    let (lower, upper, work) = (open(workspace)?, open(&upper)?, open(&work)?);
    let layers = format!("lowerdir={},upperdir={},workdir={}", place(&lower), place(&upper), place(&work));
    stand(&lower, &layers, MsFlags::empty())?;
    settle(&settings.workspace, privilege)?;
    Ok(Entered(Arc::new(held)))
}

/// The same for a process that only looks, whoever holds the view meanwhile; nothing happens if there is none.
///
/// # Errors
/// This machine does not offer what it takes.
pub fn look(settings: &Settings) -> Result<(), OverlayError> {
    let overlay = Overlay::of(settings);
    if overlay.changes()?.is_empty() {
        return Ok(());
    }
    let privilege = leave_outside()?;
    let lower = open(Path::new(settings.workspace.as_str()))?;
    let upper = open(&overlay.directory.join(UPPER))?;
    stand(&lower, &format!("lowerdir={}:{}", place(&upper), place(&lower)), MsFlags::MS_RDONLY)?;
    settle(&settings.workspace, privilege)
}

/// By descriptor: a path may hold what an option may not, and may have changed.
fn place(file: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

fn open(path: &Path) -> Result<OwnedFd, OverlayError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, flags, Mode::empty());
    opened.map_err(|errno| OverlayError::Store { path: path.to_owned(), source: errno.into() })
}

/// An overlay without them mounts, and forgets that directories were emptied.
fn keeps_attributes(directory: &Path) -> Result<(), OverlayError> {
    let kept = setxattr(directory, "user.palisade", b"view", XattrFlags::empty());
    kept.map_err(|_| OverlayError::NoAttributes { path: directory.to_owned() })
}

/// The view's top shows the upper layer's own permissions.
fn as_the_workspace(upper: &OwnedFd, lower: &OwnedFd) -> Result<(), OverlayError> {
    let path = PathBuf::from(place(upper));
    let like = rustix::fs::fstat(lower).map_err(|errno| OverlayError::Unread { source: errno.into() })?;
    let done = std::os::unix::fs::chown(&path, Some(like.st_uid), Some(like.st_gid)).or_else(|error| {
        // Whoever may not give files away has a top of their own.
        if error.kind() == io::ErrorKind::PermissionDenied { Ok(()) } else { Err(error) }
    });
    let mode = std::os::unix::fs::PermissionsExt::from_mode(like.st_mode & 0o7777);
    done.and_then(|()| fs::set_permissions(&path, mode)).map_err(|source| OverlayError::Store { path, source })
}

/// By whose privilege the mounts are made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Privilege {
    /// The process's own.
    Own,
    /// A user namespace's, which ends at it.
    Lent,
}

/// A mount namespace in which nothing shows outside, nor the other way round.
fn leave_outside() -> Result<Privilege, OverlayError> {
    // Another thread would stay where it is, and look at the workspace itself.
    if !fs::read_dir("/proc/self/task").is_ok_and(|tasks| tasks.count() == 1) {
        return Err(OverlayError::Threads);
    }
    let refused = |errno: nix::Error| OverlayError::Namespace { source: errno.into() };
    let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
    let privilege = if user.is_root() && unshare(CloneFlags::CLONE_NEWNS).is_ok() {
        Privilege::Own
    } else {
        unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS).map_err(refused)?;
        stay(user.as_raw(), group.as_raw()).map_err(|source| OverlayError::Namespace { source })?;
        Privilege::Lent
    };
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).map_err(refused)?;
    Ok(privilege)
}

/// The process stays this user, of this group. The files that say so belong to root while it is not dumpable: so it is, for the moment.
fn stay(user: u32, group: u32) -> io::Result<()> {
    let before = dumpable_behavior()?;
    set_dumpable_behavior(DumpableBehavior::Dumpable)?;
    let write = |name: &str, text: String| {
        fs::OpenOptions::new().write(true).open(format!("/proc/self/{name}"))?.write_all(text.as_bytes())
    };
    let done = write("setgroups", "deny".to_owned())
        .and_then(|()| write("uid_map", format!("{user} {user} 1\n")))
        .and_then(|()| write("gid_map", format!("{group} {group} 1\n")));
    set_dumpable_behavior(before)?;
    done
}

fn stand(at: &OwnedFd, layers: &str, flags: MsFlags) -> Result<(), OverlayError> {
    let (options, at) = (format!("{layers},{PLAIN}"), place(at));
    let flags = flags | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    let mounted = mount(Some("palisade"), at.as_str(), Some("overlay"), flags, Some(options.as_str()));
    mounted.map_err(|errno| OverlayError::Mount { source: errno.into() })
}

/// The path is the view's from here on, and so is what the process stands in; and no privilege is left that only a namespace gave.
fn settle(workspace: &AbsolutePath, privilege: Privilege) -> Result<(), OverlayError> {
    let seen = |source| OverlayError::Unread { source };
    let kind = rustix::fs::statfs(workspace.as_str()).map_err(|errno| seen(errno.into()))?.f_type;
    if u64::try_from(kind).ok() != Some(tree::OVERLAY) {
        return Err(OverlayError::Mount { source: io::Error::other("it does not stand at the workspace's path") });
    }
    // A directory that has no name any more would stay one of the workspace itself.
    let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    std::env::set_current_dir(here).map_err(seen)?;
    if privilege == Privilege::Lent {
        let none = CapabilitySet::empty();
        let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
        set_capabilities(None, sets).map_err(|errno| OverlayError::Namespace { source: errno.into() })?;
    }
    Ok(())
}
