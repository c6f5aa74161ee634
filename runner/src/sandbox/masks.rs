//! What is taken back below something that is granted: which files and directories are covered, and with what.
//!
//! Landlock takes nothing back below what it grants, and knows no names. So what policy forbids there is covered in the session's
//! view of the file system: a path that policy names, and what has a name that policy forbids (`**/.env`) when the session starts.
//! What is made later under such a name is not covered; only the decision on each command holds it then.
//!
//! The search for names is bounded, and goes through what the session can change and what it was granted, not through the installed
//! system. Decided here: what is covered. Not decided here: what policy says (`palisade_engine`), and how it is done (`mounts.rs`).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use palisade_engine::{AbsolutePath, Engine, Facts, FileAction, Permissions};

use super::plan::{Cover, Hole, Mask, Rights, rights};
use super::still;

/// Entries that a search for names looks at.
pub const MAX_ENTRIES: usize = 20_000;

/// Files and directories that are covered for their names.
pub const MAX_NAMED: usize = 256;

/// What is covered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Masks {
    /// The masks, outermost first.
    pub(super) masks: Vec<Mask>,
    /// Whether everything was searched for names that policy forbids, and all that was found is covered.
    pub(super) searched: bool,
}

/// The masks for roots of which some may do less than one above them.
///
/// # Errors
/// Such a root does not exist, so that nothing can be put on it: it may be made later.
pub(super) fn of_holes(roots: &BTreeMap<AbsolutePath, Rights>) -> Result<Vec<Mask>, Hole> {
    let mut masks = Vec::new();
    for (inner, allowed) in roots {
        let above = inner.ancestors().filter_map(|outer| roots.get(&outer).map(|granted| (outer, *granted)));
        for (outer, granted) in above {
            let Some(cover) = cover(granted, *allowed) else { continue };
            let path = PathBuf::from(inner.as_str());
            if !path.symlink_metadata().is_ok_and(|about| about.is_file() || about.is_dir()) {
                return Err(Hole { outer, inner: inner.clone() });
            }
            masks.push(Mask { path, cover });
        }
    }
    // The wider cover first: it counts for what lies deeper too.
    masks.sort();
    masks.dedup_by(|later, first| later.path == first.path);
    Ok(masks)
}

/// The masks for what has a name that policy forbids, in all that `roots` let a session change and in what it was granted by name.
pub(super) fn by_name(engine: &Engine, facts: &Facts, roots: &BTreeMap<AbsolutePath, Rights>) -> Masks {
    let vocabulary = engine.vocabulary();
    let permissions = engine.permissions(facts);
    let granted = |root: &AbsolutePath| vocabulary.groups_of(root).any(|group| group.starts_with("granted-"));
    let searched = |root: &AbsolutePath, rights: Rights| {
        rights.contains(Rights::WRITE) || root.is_within(&facts.workspace) || granted(root)
    };
    let mut found = Masks { masks: Vec::new(), searched: true };
    let mut looked = 0;
    for (root, rights) in roots.iter().filter(|(root, rights)| !rights.is_empty() && searched(root, **rights)) {
        let mut open = vec![(PathBuf::from(root.as_str()), root.clone(), *rights)];
        while let Some((place, directory, above)) = open.pop() {
            still::watch(&place);
            let entries = match std::fs::read_dir(&place).and_then(Iterator::collect::<std::io::Result<Vec<_>>>) {
                Ok(entries) => entries,
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => continue,
                // What is not to be seen now a session may open later, if it is its own.
                Err(_) => {
                    found.masks.push(Mask { path: place, cover: Cover::Hidden });
                    continue;
                }
            };
            for entry in entries {
                looked += 1;
                if looked > MAX_ENTRIES || found.masks.len() >= MAX_NAMED {
                    found.searched = false;
                    return found;
                }
                // A name that is no text is judged by what it looks like.
                let path = directory.child(&entry.file_name().to_string_lossy());
                let (Ok(kind), Some(path)) = (entry.file_type(), path) else {
                    found.searched = false;
                    continue;
                };
                let granted = roots.get(&path).copied().unwrap_or(above);
                if kind.is_symlink() || (roots.contains_key(&path) && path != *root) {
                    continue;
                }
                let cover = if vocabulary.has_name(&path) {
                    cover(granted, allowed(&permissions, &path, kind.is_dir()))
                } else {
                    None
                };
                let enter = kind.is_dir() && cover != Some(Cover::Hidden);
                // Nothing can be put on what cannot be reached: what it lies in goes as a whole.
                if enter || cover.is_some() {
                    match entry.path().symlink_metadata() {
                        Ok(_) => {}
                        // It may have another name by now, one that has been looked at.
                        Err(error) if error.kind() == ErrorKind::NotFound => {
                            open.push((place, directory, above));
                            break;
                        }
                        Err(_) => {
                            found.masks.push(Mask { path: place, cover: Cover::Hidden });
                            break;
                        }
                    }
                }
                if let Some(cover) = cover {
                    found.masks.push(Mask { path: entry.path(), cover });
                }
                if enter {
                    open.push((entry.path(), path, granted));
                }
            }
        }
    }
    found.masks.sort();
    found.masks.dedup_by(|later, first| later.path == first.path);
    found
}

/// The same masks at every other path of this machine that leads to the same files, by another mount of their file system: Landlock grants
/// files, and a mask covers a path.
pub(super) fn elsewhere(masks: &[Mask]) -> std::io::Result<Vec<Mask>> {
    if masks.is_empty() {
        return Ok(Vec::new());
    }
    let mounts = std::fs::read("/proc/self/mountinfo")?;
    let mounts = Mounts::of(&String::from_utf8_lossy(&mounts));
    let identity = |path: &Path| path.symlink_metadata().map(|about| (about.dev(), about.ino()));
    let found = masks.iter().flat_map(|mask| mounts.others(&mask.path).map(move |path| (mask, path)));
    // What is mounted over may be something else, or hide it.
    let same =
        found.filter(|(mask, path)| identity(path).ok().is_some_and(|other| identity(&mask.path).ok() == Some(other)));
    Ok(same.map(|(mask, path)| Mask { path, cover: mask.cover }).collect())
}

/// What is mounted where (proc_pid_mountinfo(5)), in that order.
struct Mounts(Vec<Mounted>);

struct Mounted {
    device: String,
    /// Which part of its file system it shows.
    root: PathBuf,
    place: PathBuf,
}

impl Mounts {
    fn of(text: &str) -> Self {
        let mounted = |line: &str| {
            let mut fields = line.split(' ').skip(2);
            let (device, root, place) = (fields.next()?, fields.next()?, fields.next()?);
            Some(Mounted { device: device.to_owned(), root: unescaped(root), place: unescaped(place) })
        };
        Self(text.lines().filter_map(mounted).collect())
    }

    /// Other paths of what lies here, as far as mounts go.
    fn others(&self, path: &Path) -> impl Iterator<Item = PathBuf> {
        // The last one of those that reach furthest lies on top.
        let over = |mounted: &&Mounted| path.starts_with(&mounted.place);
        let on = self.0.iter().filter(over).max_by_key(|mounted| mounted.place.components().count());
        let inside = on.and_then(|on| Some((on, on.root.join(path.strip_prefix(&on.place).ok()?))));
        let others = inside.into_iter().flat_map(|(on, inside)| {
            let same = self.0.iter().filter(|other| other.device == on.device);
            same.filter_map(move |other| Some(other.place.join(inside.strip_prefix(&other.root).ok()?)))
        });
        others.filter(move |other| other != path)
    }
}

/// Blanks, line ends and backslashes stand there as three octal digits behind a backslash.
fn unescaped(field: &str) -> PathBuf {
    let (mut bytes, mut rest) = (Vec::new(), field.as_bytes());
    while let Some((first, behind)) = rest.split_first() {
        let digits = behind.get(..3).filter(|_| *first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = behind.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

/// What policy lets a session do with something that is there.
fn allowed(permissions: &Permissions<'_>, path: &AbsolutePath, directory: bool) -> Rights {
    if directory {
        return rights(permissions, path);
    }
    let actions = [
        (FileAction::Read, Rights::READ),
        (FileAction::Write, Rights::WRITE),
        (FileAction::Delete, Rights::DELETE),
        (FileAction::Execute, Rights::EXECUTE),
    ];
    let permitted = actions.into_iter().filter(|(action, _)| permissions.permits(*action, path));
    permitted.fold(Rights::NONE, |sum, (_, right)| sum | right)
}

/// What has to stand before something that may do only `allowed` where `granted` holds. Nothing in between can be had: what may be
/// read and not executed is hidden.
fn cover(granted: Rights, allowed: Rights) -> Option<Cover> {
    let lost = granted.without(allowed);
    if lost.is_empty() {
        None
    } else if lost.without(Rights::MOVE).is_empty() && allowed.contains(Rights::READ) {
        Some(Cover::ReadOnly)
    } else {
        Some(Cover::Hidden)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_mounts_show_the_same_files() {
        let mounts = Mounts::of(
            "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n23 22 8:2 / /home rw - ext4 /dev/sda2 rw\n\
             24 22 8:2 /ann/app /srv/a\\040b rw - ext4 /dev/sda2 rw\n25 22 8:1 /home /srv/old rw - ext4 /dev/sda1 rw\n\
             26 22 8:2 /ann/app/sub /srv/sub ro - ext4 /dev/sda2 rw\n27 22 0:9 / /home/bob rw - tmpfs tmpfs rw\n",
        );
        let rows = [
            ("/home/ann/app/.env", vec!["/srv/a b/.env"]),
            ("/home/ann/app/sub/.env", vec!["/srv/a b/sub/.env", "/srv/sub/.env"]),
            ("/srv/sub/.env", vec!["/home/ann/app/sub/.env", "/srv/a b/sub/.env"]),
            ("/home/ann/.env", vec![]),
            ("/home/bob/.env", vec![]),
            ("/etc/shadow", vec![]),
            ("/srv/old/x", vec!["/home/x"]), // which lies below what is mounted there: another file
        ];
        for (path, others) in rows {
            let found: Vec<_> = mounts.others(Path::new(path)).collect();
            assert_eq!(found, others.iter().map(PathBuf::from).collect::<Vec<_>>(), "{path}");
        }
    }

    #[test]
    fn a_cover_leaves_no_more_than_policy_does() {
        let all = Rights::READ | Rights::MOVE | Rights::EXECUTE;
        let read = Rights::READ;
        for (granted, allowed, expected) in [
            (all, all, None),
            (read, all, None),
            (all, read | Rights::EXECUTE, Some(Cover::ReadOnly)),
            (read | Rights::MOVE, read, Some(Cover::ReadOnly)),
            (read | Rights::MOVE, read | Rights::WRITE, Some(Cover::ReadOnly)),
            (all, read | Rights::MOVE, Some(Cover::Hidden)),
            (all, Rights::MOVE, Some(Cover::Hidden)),
            (all, Rights::NONE, Some(Cover::Hidden)),
            (read, Rights::NONE, Some(Cover::Hidden)),
        ] {
            assert_eq!(cover(granted, allowed), expected, "{granted} {allowed}");
        }
    }
}
