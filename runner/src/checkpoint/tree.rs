//! What lies in a workspace: every file, directory and symbolic link with what a restore has to bring back.
//!
//! Nothing is followed that could lead out: each directory is opened below the one before, without symbolic links. What is
//! not covered is told by name and reason, never left out silently. Git's own directories are among that: a repository in
//! the workspace is not ours to change, and its work tree is covered like any other directory.
//!
//! Decided here: what belongs to a checkpoint. Not decided here: what of it has to be read (`store.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, openat2, readlinkat, statat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::CheckpointError;

/// Directories below each other that are looked at.
const MAX_DEPTH: usize = 200;

/// Files, directories and links of one checkpoint.
pub const MAX_ENTRIES: usize = 1_000_000;

/// Bytes of a path below the workspace. With the workspace's own in front the kernel still takes it (PATH_MAX), so that policy can be asked
/// about it; what lies deeper is left out like what cannot be read.
const MAX_NAME: usize = 3_500;

/// Bytes of all paths of one checkpoint, which are in memory several times over.
const MAX_NAMES: usize = 256 << 20;

/// An overlay's number among file systems (statfs(2)).
pub(crate) const OVERLAY: u64 = 0x794c_7630;

/// A path below the workspace, as bytes without a leading slash.
pub type Name = Vec<u8>;

/// What there is at one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// Permission bits, with set-user-ID and its kin.
    pub mode: u32,
    /// User and group that it belongs to.
    pub owner: (u32, u32),
    /// When it was last written, in nanoseconds since 1970.
    pub modified: i128,
}

/// What something is, and its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file, and the object that holds its bytes.
    File(git2::Oid, u64),
    /// A directory.
    Directory,
    /// A symbolic link, and where it leads.
    Link(Vec<u8>),
}

/// What tells one state of a file from every other without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The file system and the file's number in it.
    pub file: (u64, u64),
    /// Its size in bytes.
    pub size: u64,
    /// Type and permissions.
    pub mode: u32,
    /// User and group that it belongs to.
    pub owner: (u32, u32),
    /// When it was last written and when it last changed otherwise, in nanoseconds since 1970. A program can set the first, not the second.
    pub times: [i128; 2],
}

/// Something that a checkpoint does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uncovered {
    /// Where.
    pub name: Name,
    /// Why.
    pub why: Reason,
}

/// Why something is not covered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Reason {
    /// It is a repository's own.
    Repository,
    /// The settings exclude it.
    Excluded,
    /// It is larger than the settings allow.
    TooLarge,
    /// It is a socket, a pipe or a device.
    Special,
    /// It cannot be read.
    Unreadable,
    /// It changed each time that it was read.
    Changing,
    /// Another file system begins there.
    Mounted,
    /// It has many more bytes than it takes on the disk, and would take them where it is copied to.
    Sparse,
    /// It lies in more directories than are looked through.
    TooDeep,
}

impl Reason {
    /// As results name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Repository => "repository",
            Self::Excluded => "excluded",
            Self::TooLarge => "too-large",
            Self::Special => "special",
            Self::Unreadable => "unreadable",
            Self::Changing => "changing",
            Self::Mounted => "mounted",
            Self::Sparse => "sparse",
            Self::TooDeep => "too-deep",
        }
    }
}

/// What the settings leave out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Names of files and directories, at any depth.
    pub exclude: Vec<String>,
    /// The size in bytes beyond which a file is left out.
    pub max_file: u64,
}

/// What belongs to a checkpoint although the settings, or the rule about repositories, leave it out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Also {
    /// Nothing.
    #[default]
    Nothing,
    /// These paths. Of a directory that is left out otherwise, nothing else.
    Named(Arc<BTreeSet<Name>>),
    /// Everything that can be held at all.
    Everything,
}

impl Also {
    /// Whether this path belongs to it, or something below.
    fn takes(&self, path: &[u8]) -> bool {
        let Self::Named(names) = self else { return *self == Self::Everything };
        let below = [path, b"/"].concat();
        names.contains(path) || names.range(below.clone()..).next().is_some_and(|name| name.starts_with(&below))
    }
}

impl Scope {
    /// Why something of this name, kind and size is left out, if it is.
    pub(super) fn reason(&self, name: &OsStr, kind: FileType, size: u64) -> Option<Reason> {
        if name == ".git" {
            return Some(Reason::Repository);
        }
        if self.exclude.iter().any(|excluded| OsStr::new(excluded) == name) {
            return Some(Reason::Excluded);
        }
        match kind {
            FileType::Directory | FileType::Symlink => None,
            FileType::RegularFile if size > self.max_file => Some(Reason::TooLarge),
            FileType::RegularFile => None,
            _ => Some(Reason::Special),
        }
    }
}

/// What lies in a workspace at one time, unread.
#[derive(Debug, Default)]
pub struct Tree {
    /// By path; the workspace itself is not among them.
    pub found: BTreeMap<Name, Found>,
    /// What is left out.
    pub uncovered: Vec<Uncovered>,
}

/// One path of a [`Tree`].
#[derive(Clone, Debug)]
pub struct Found {
    /// Its state.
    pub stamp: Stamp,
    /// Where it leads, if it is a link.
    pub target: Option<Vec<u8>>,
    /// The object that a file's bytes are, once they were read and as long as it has this state: not of one that changed in the moment
    /// before, since two states within one step of a file system's clock look alike.
    pub object: Option<git2::Oid>,
}

impl Found {
    /// What was found at a path.
    pub(crate) fn new(stamp: Stamp, target: Option<Vec<u8>>) -> Self {
        Self { stamp, target, object: None }
    }

    /// Whether nothing has changed there since, as far as its state tells.
    #[must_use]
    pub fn is_as(&self, before: &Self) -> bool {
        self.stamp == before.stamp && self.target == before.target
    }

    /// What it is.
    #[must_use]
    pub fn file_type(&self) -> FileType {
        FileType::from_raw_mode(self.stamp.mode)
    }

    /// Whether there are bytes in it that have to be read.
    pub(super) fn has_bytes(&self) -> bool {
        self.file_type() != FileType::Directory && self.target.is_none()
    }

    /// What a checkpoint says of it; none of a file whose object is not known.
    pub(super) fn entry(&self) -> Option<Entry> {
        let kind = match (self.file_type(), &self.target) {
            (FileType::Directory, _) => Kind::Directory,
            (_, Some(target)) => Kind::Link(target.clone()),
            (_, None) => Kind::File(self.object?, self.stamp.size),
        };
        let [modified, _] = self.stamp.times;
        Some(Entry { kind, mode: self.stamp.permissions(), owner: self.stamp.owner, modified })
    }
}

/// Looks at everything below `root`.
///
/// # Errors
/// The workspace itself cannot be read, or there is more in it than a checkpoint holds.
pub fn walk(root: &OwnedFd, scope: &Scope, also: &Also) -> Result<Tree, CheckpointError> {
    let mut tree = Tree::default();
    let unreadable = |cause| CheckpointError::Workspace { cause };
    let device = rustix::fs::fstat(root).map_err(unreadable)?.st_dev;
    let layered = u64::try_from(rustix::fs::fstatfs(root).map_err(unreadable)?.f_type) == Ok(OVERLAY);
    let top = open_directory(root, OsStr::new(".")).map_err(|cause| CheckpointError::Workspace { cause })?;
    let mut walk = Walk { tree: &mut tree, scope, also, device, room: MAX_NAMES, layered };
    match walk.directory(&top, &mut Vec::new(), Part::Whole, MAX_DEPTH) {
        Ok(()) => Ok(tree),
        Err(WalkFailure::Unreadable(cause)) => Err(CheckpointError::Workspace { cause }),
        Err(WalkFailure::TooMany) => Err(CheckpointError::TooMany),
    }
}

/// Opens a path below a directory, through no symbolic link and nowhere else.
pub(crate) fn open_below(
    root: impl AsFd,
    path: impl rustix::path::Arg,
    flags: OFlags,
    mode: Mode,
) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    openat2(root, path, flags | OFlags::CLOEXEC, mode, resolve)
}

fn open_directory(above: &OwnedFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    open_below(above, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW, Mode::empty())
}

struct Walk<'a> {
    tree: &'a mut Tree,
    scope: &'a Scope,
    also: &'a Also,
    device: u64,
    /// Bytes of paths that there is still room for.
    room: usize,
    /// It is an overlay, whose files may have the numbers of the file systems that they lie on.
    layered: bool,
}

/// What is looked at of a directory.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Whole,
    /// It is left out, and has been told of; what is wanted from it all the same.
    Named,
}

enum WalkFailure {
    /// The directory that was asked about.
    Unreadable(Errno),
    TooMany,
}

impl Walk<'_> {
    fn directory(
        &mut self,
        directory: &OwnedFd,
        path: &mut Vec<u8>,
        part: Part,
        depth: usize,
    ) -> Result<(), WalkFailure> {
        let entries = Dir::read_from(directory).map_err(WalkFailure::Unreadable)?;
        for entry in entries {
            let entry = entry.map_err(WalkFailure::Unreadable)?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let length = path.len();
            if length > 0 {
                path.push(b'/');
            }
            path.extend_from_slice(name.as_bytes());
            let done = self.one(directory, name, path, part, depth);
            path.truncate(length);
            done?;
        }
        Ok(())
    }

    fn one(
        &mut self,
        above: &OwnedFd,
        name: &OsStr,
        path: &mut Vec<u8>,
        mut part: Part,
        depth: usize,
    ) -> Result<(), WalkFailure> {
        if part == Part::Named && !self.also.takes(path) {
            return Ok(());
        }
        let stat = match statat(above, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(()),
            Err(_) => return self.leave_out(path, Reason::Unreadable),
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        if let Some(why) = self.scope.reason(name, kind, stat.st_size.unsigned_abs()) {
            if why == Reason::Special || !self.also.takes(path) {
                return self.leave_out(path, why);
            }
            if *self.also != Also::Everything {
                self.leave_out(path, why)?;
                part = Part::Named;
            }
        }
        let is_directory = kind == FileType::Directory;
        if stat.st_dev != self.device && (is_directory || !self.layered) {
            return self.leave_out(path, Reason::Mounted);
        }
        let target = if kind == FileType::Symlink {
            match readlinkat(above, name, Vec::new()) {
                Ok(target) => Some(target.into_bytes()),
                Err(_) => return self.leave_out(path, Reason::Unreadable),
            }
        } else {
            None
        };
        if path.len() > MAX_NAME {
            return self.leave_out(path, Reason::Unreadable);
        }
        self.spend(path)?;
        if self.tree.found.len() >= MAX_ENTRIES {
            return Err(WalkFailure::TooMany);
        }
        self.tree.found.insert(path.clone(), Found::new(Stamp::of(&stat), target));
        if !is_directory {
            return Ok(());
        }
        let Some(depth) = depth.checked_sub(1) else { return self.leave_out(path, Reason::Unreadable) };
        match open_directory(above, name) {
            Ok(directory) => match self.directory(&directory, path, part, depth) {
                Err(WalkFailure::Unreadable(_)) => self.leave_out(path, Reason::Unreadable),
                done => done,
            },
            Err(_) => self.leave_out(path, Reason::Unreadable),
        }
    }

    fn spend(&mut self, path: &[u8]) -> Result<(), WalkFailure> {
        self.room = self.room.checked_sub(path.len()).ok_or(WalkFailure::TooMany)?;
        Ok(())
    }

    fn leave_out(&mut self, path: &[u8], why: Reason) -> Result<(), WalkFailure> {
        self.spend(path)?;
        self.tree.uncovered.push(Uncovered { name: path.to_vec(), why });
        if self.tree.uncovered.len() > MAX_ENTRIES { Err(WalkFailure::TooMany) } else { Ok(()) }
    }
}

impl Stamp {
    /// The state that `stat` tells of.
    #[must_use]
    pub fn of(stat: &Stat) -> Self {
        let nanoseconds = |seconds: i64, rest: u64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
        Self {
            file: (stat.st_dev, stat.st_ino),
            size: stat.st_size.unsigned_abs(),
            mode: stat.st_mode,
            owner: (stat.st_uid, stat.st_gid),
            times: [nanoseconds(stat.st_mtime, stat.st_mtime_nsec), nanoseconds(stat.st_ctime, stat.st_ctime_nsec)],
        }
    }

    /// A state that begins a line as [`fmt::Display`] shows it, and what stands behind it.
    pub(super) fn read(line: &[u8]) -> Option<(Self, &[u8])> {
        let mut parts = line.splitn(9, |byte| *byte == b' ');
        let mut number = || std::str::from_utf8(parts.next()?).ok()?.parse::<i128>().ok();
        let stamp = Self {
            file: (number()?.try_into().ok()?, number()?.try_into().ok()?),
            size: number()?.try_into().ok()?,
            mode: number()?.try_into().ok()?,
            owner: (number()?.try_into().ok()?, number()?.try_into().ok()?),
            times: [number()?, number()?],
        };
        Some((stamp, parts.next()?))
    }

    /// Whether nothing has happened to it since this time, in nanoseconds since 1970.
    pub(super) fn is_before(&self, time: i128) -> bool {
        self.times.iter().all(|own| *own < time)
    }

    /// Permission bits, with set-user-ID and its kin.
    #[must_use]
    pub fn permissions(&self) -> u32 {
        self.mode & 0o7777
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file: (device, number), size, mode, owner: (user, group), times: [modified, changed] } = self;
        write!(formatter, "{device} {number} {size} {mode} {user} {group} {modified} {changed}")
    }
}

/// Opens the workspace.
///
/// # Errors
/// It is not there, or no directory.
pub fn open_root(workspace: &Path) -> Result<OwnedFd, CheckpointError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::open(workspace, flags, Mode::empty()).map_err(|cause| CheckpointError::Workspace { cause })
}
