//! What is taken back below something that is granted: which files and directories are covered, and with what.
//!
//! Landlock takes nothing back below what it grants, and knows no names. So what policy forbids there is covered in the session's
//! view of the file system: a path that policy names, and what has a name that policy forbids (`**/.env`) when the session starts.
//! What is made later under such a name is not covered; only the decision on each command holds it then.
//!
//! The search for names is bounded, and goes through what the session can change and what it was granted, not through the installed
//! system. Decided here: what is covered. Not decided here: what policy says (`palisade_engine`), and how it is done (`mounts.rs`).

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::PathBuf;

use palisade_engine::{AbsolutePath, Engine, Facts, FileAction, Permissions};

use super::plan::{Cover, Hole, Mask, Rights, rights};

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
