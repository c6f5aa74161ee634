//! What an agent has changed in its view: the upper layer of an overlay, read as the kernel writes it.
//!
//! The kernel's format (Documentation/filesystems/overlayfs.rst, mount option `userxattr`): a character device 0:0 stands for something
//! that is deleted, and `user.overlay.opaque` on a directory for one whose contents replace those below. Nothing else is switched on
//! when a view is mounted (no redirects, no metadata without contents), so that any other mark is one that is not understood, and the
//! whole is refused. An agent cannot make these marks: overlayfs keeps both from whoever writes through it.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fgetxattr, flistxattr, readlinkat, statat};
use rustix::io::Errno;

use super::OverlayError;
use crate::checkpoint::changes::Changes;
use crate::checkpoint::tree::{Found, MAX_ENTRIES, Reason, Stamp, Uncovered, open_below};

/// Directories below each other that are looked at.
const MAX_DEPTH: usize = 200;

/// Bytes of a file that may have holes.
const MAX_HOLES: u64 = 256 << 20;

/// What the kernel calls its own marks.
const MARKS: &[u8] = b"user.overlay.";

/// Those that say nothing of what is seen: where a file was copied from, that a directory holds such files, a file system's number, how
/// many names a file has, attributes that forbid writing, and an agent's own, whose names the kernel escapes.
const HARMLESS: [&[u8]; 6] = [b"origin", b"impure", b"uuid", b"nlink", b"upper", b"overlay."];

impl Changes {
    /// Reads an upper layer.
    ///
    /// # Errors
    /// It cannot be read, holds more than is looked at, or a mark that is not understood.
    pub fn read(upper: &OwnedFd) -> Result<Self, OverlayError> {
        let mut changes = Self::default();
        let top = open_directory(upper, OsStr::new(".")).map_err(unread)?;
        changes.directory(&top, &mut Vec::new(), MAX_DEPTH)?;
        Ok(changes)
    }

    fn directory(&mut self, directory: &OwnedFd, path: &mut Vec<u8>, depth: usize) -> Result<(), OverlayError> {
        for entry in Dir::read_from(directory).map_err(unread)? {
            let entry = entry.map_err(unread)?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let length = path.len();
            if length > 0 {
                path.push(b'/');
            }
            path.extend_from_slice(name.as_bytes());
            let done = self.one(directory, name, path, depth);
            path.truncate(length);
            done?;
        }
        Ok(())
    }

    fn one(&mut self, inside: &OwnedFd, name: &OsStr, path: &mut Vec<u8>, depth: usize) -> Result<(), OverlayError> {
        let stat = statat(inside, name, AtFlags::SYMLINK_NOFOLLOW).map_err(unread)?;
        if self.found.len() + self.deleted.len() + self.left_out.len() >= MAX_ENTRIES {
            return Err(OverlayError::TooMany);
        }
        let kind = FileType::from_raw_mode(stat.st_mode);
        let mut target = None;
        match kind {
            _ if is_whiteout(&stat) => {
                self.deleted.insert(path.clone());
                return Ok(());
            }
            FileType::Directory | FileType::RegularFile => {}
            FileType::Symlink => target = Some(readlinkat(inside, name, Vec::new()).map_err(unread)?.into_bytes()),
            _ => {
                self.left_out.push(Uncovered { name: path.clone(), why: Reason::Special });
                return Ok(());
            }
        }
        if kind == FileType::RegularFile && is_sparse(&stat) {
            self.left_out.push(Uncovered { name: path.clone(), why: Reason::Sparse });
            return Ok(());
        }
        let deeper = depth.checked_sub(1);
        if kind == FileType::Directory && deeper.is_none() {
            self.left_out.push(Uncovered { name: path.clone(), why: Reason::TooDeep });
            return Ok(());
        }
        if kind != FileType::Symlink {
            // Without permission to read there are no marks to be read either: an attribute of a user's needs it.
            match open_below(inside, name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK, Mode::empty()) {
                Ok(file) => self.marked(&file, path, kind)?,
                Err(Errno::ACCESS) if kind == FileType::RegularFile => {}
                Err(Errno::ACCESS) => {
                    self.left_out.push(Uncovered { name: path.clone(), why: Reason::Unreadable });
                    return Ok(());
                }
                Err(errno) => return Err(unread(errno)),
            }
        }
        self.found.insert(path.clone(), Found::new(Stamp::of(&stat), target));
        if kind != FileType::Directory {
            return Ok(());
        }
        self.directory(&open_directory(inside, name).map_err(unread)?, path, deeper.unwrap_or_default())
    }

    fn marked(&mut self, file: &OwnedFd, path: &[u8], kind: FileType) -> Result<(), OverlayError> {
        let unknown = || OverlayError::Mark { path: String::from_utf8_lossy(path).into_owned() };
        let mut names = vec![0; 64 << 10];
        let length = flistxattr(file, &mut names).map_err(unread)?;
        let names = names.get(..length).unwrap_or_default();
        for name in names.split(|byte| *byte == 0).filter_map(|name| name.strip_prefix(MARKS)) {
            if HARMLESS.iter().any(|known| name == *known || known.ends_with(b".") && name.starts_with(known)) {
                continue;
            }
            let mut value = [0; 8];
            let length = fgetxattr(file, [MARKS, name].concat(), &mut value).map_err(|_| unknown())?;
            match (name, value.get(..length), kind) {
                (b"opaque", Some(b"y"), FileType::Directory) => self.opaque.insert(path.to_vec()),
                _ => return Err(unknown()),
            };
        }
        Ok(())
    }
}

/// Whether less than half of a large file is on the disk (`truncate -s 8T`): a copy would hold the rest as well.
fn is_sparse(stat: &Stat) -> bool {
    let (Ok(size), Ok(blocks)) = (u64::try_from(stat.st_size), u64::try_from(stat.st_blocks)) else { return false };
    size > MAX_HOLES && blocks.saturating_mul(512) < size / 2
}

fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

fn open_directory(above: &OwnedFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    open_below(above, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW, Mode::empty())
}

fn unread(errno: Errno) -> OverlayError {
    OverlayError::Unread { source: errno.into() }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::path::Path;

    use rustix::fs::{XattrFlags, mkfifoat, setxattr};

    use super::*;
    use crate::checkpoint::ledger::Ledger;
    use crate::checkpoint::tree::open_root;

    fn read(root: &Path) -> Result<Changes, OverlayError> {
        Changes::read(&open_root(root).unwrap())
    }

    fn mark(path: &Path, name: &str, value: &[u8]) {
        setxattr(path, format!("user.overlay.{name}"), value, XattrFlags::empty()).unwrap();
    }

    #[test]
    fn a_mark_that_is_not_understood_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        let (directory, file) = (root.path().join("d"), root.path().join("d/f"));
        fs::create_dir(&directory).unwrap();
        fs::write(&file, "x").unwrap();
        for (name, value) in [("origin", &b""[..]), ("impure", b"y"), ("overlay.redirect", b"/etc"), ("nlink", b"U+1")]
        {
            mark(&file, name, value);
        }
        mark(&directory, "opaque", b"y");
        let changes = read(root.path()).unwrap();
        assert_eq!((changes.found.len(), changes.opaque.contains(&b"d"[..])), (2, true));
        for (path, name, value) in [
            (&directory, "redirect", &b"/elsewhere"[..]),
            (&directory, "opaque", b"x"),
            (&file, "metacopy", b""),
            (&file, "whiteout", b"y"),
            (&file, "opaque", b"y"),
            (&file, "overlay", b"y"),
            (&file, "what", b"a value that is longer than any that counts"),
        ] {
            mark(path, name, value);
            let error = read(root.path()).unwrap_err();
            assert!(matches!(&error, OverlayError::Mark { path: told } if path.ends_with(told)), "{name}: {error:?}");
            rustix::fs::removexattr(path, format!("user.overlay.{name}")).unwrap();
            mark(&directory, "opaque", b"y");
        }
        read(root.path()).unwrap();
    }

    /// Neither keeps the rest from being shown and applied.
    #[test]
    fn files_of_holes_and_bottomless_directories_are_left_out() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        fs::write(at("file"), "a").unwrap();
        for (name, size) in [("holes", MAX_HOLES + 1), ("small", MAX_HOLES)] {
            fs::File::create(at(name)).unwrap().set_len(size).unwrap();
        }
        fs::create_dir_all(at(&vec!["d"; MAX_DEPTH + 9].join("/"))).unwrap();
        let changes = read(root.path()).unwrap();
        let mut left: Vec<_> = changes.left_out.iter().map(|left| (left.name.len(), left.why)).collect();
        left.sort_unstable();
        assert_eq!(left, [(5, Reason::Sparse), (2 * MAX_DEPTH + 1, Reason::TooDeep)]);
        assert!(changes.covers(b"file") && changes.covers(b"small") && !changes.covers(b"holes"));
    }

    #[test]
    fn what_is_written_over_does_not_show_through() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        fs::create_dir_all(at("plain/new")).unwrap();
        fs::create_dir(at("emptied")).unwrap();
        mark(&at("emptied"), "opaque", b"y");
        fs::write(at("file"), "").unwrap();
        fs::set_permissions(at("file"), fs::Permissions::from_mode(0o0)).unwrap();
        symlink("/etc", at("link")).unwrap();
        mkfifoat(open_root(root.path()).unwrap(), "pipe", Mode::RUSR).unwrap();
        let mut changes = read(root.path()).unwrap();
        changes.deleted.insert(b"gone".to_vec()); // a device, which root alone can make
        for (name, covered) in [
            ("plain", true),
            ("plain/old", false),
            ("plain/new/deep", false),
            ("emptied", true),
            ("emptied/a/b", true),
            ("file/a", true),
            ("link/passwd", true),
            ("pipe", false),
            ("gone", true),
            ("gone/a", true),
            ("gone-too", false),
            ("other", false),
        ] {
            assert_eq!(changes.covers(name.as_bytes()), covered, "{name}");
        }
        assert_eq!(changes.left_out, [Uncovered { name: b"pipe".to_vec(), why: Reason::Special }]);
        let mut base = Ledger::default();
        for name in ["gone/a", "emptied/b", "plain/old", "other"] {
            base.note(name.as_bytes(), None);
        }
        let touched =
            changes.touched(&base).into_iter().map(|name| String::from_utf8(name).unwrap()).collect::<Vec<_>>();
        assert_eq!(touched, ["emptied", "emptied/b", "file", "gone", "gone/a", "link", "plain", "plain/new"]);
    }
}
