//! Files that are named like secrets and that the repository around them holds as well.
//!
//! A test's key that was committed can be read out of the repository (`git show HEAD:tests/server.key`) by everybody who may read that. A
//! cover on the file would keep nothing, and git would take the file for changed.
//!
//! Decided here: whether a repository has the same content. Not decided here: whether the session may read the repository (the caller says
//! so).

use std::fs;
use std::path::Path;

use git2::{ObjectType, Odb, Oid};

/// Directories above a file that are looked into.
const MAX_ABOVE: usize = 64;

/// Entries of a repository's packs that are looked at.
const MAX_PACKS: usize = 1_000;

/// Whether the repository that this file lies in has its content, and `may_read` is true for where that keeps its objects. Neither links nor
/// other repositories whose objects it uses are followed: the session may not be able to read what they lead to.
pub(crate) fn has(place: &Path, content: &[u8], may_read: &dyn Fn(&Path) -> bool) -> bool {
    let is_directory = |path: &Path| path.symlink_metadata().is_ok_and(|about| about.is_dir());
    let above = place.ancestors().skip(1).take(MAX_ABOVE);
    let Some(git) = above.map(|above| above.join(".git")).find(|git| git.symlink_metadata().is_ok()) else {
        return false;
    };
    let objects = git.join("objects");
    if !is_directory(&git) || !is_directory(&objects) || !may_read(&objects) {
        return false;
    }
    let Ok(object) = Oid::hash_object(ObjectType::Blob, content) else { return false };
    let name = object.to_string();
    let Some((start, rest)) = name.split_at_checked(2) else { return false };
    let loose = objects.join(start);
    if is_directory(&loose) && loose.join(rest).symlink_metadata().is_ok_and(|about| about.is_file()) {
        return true;
    }
    has_no_links(&objects.join("pack")) && is_packed(&objects, object)
}

/// Whether a directory holds nothing but files of its own.
fn has_no_links(directory: &Path) -> bool {
    let is_own = directory.symlink_metadata().is_ok_and(|about| about.is_dir());
    let Some(entries) = fs::read_dir(directory).ok().filter(|_| is_own) else { return false };
    let mut entries = entries.take(MAX_PACKS + 1).enumerate();
    entries.all(|(count, entry)| {
        count < MAX_PACKS && entry.and_then(|entry| entry.file_type()).is_ok_and(|kind| kind.is_file())
    })
}

fn is_packed(objects: &Path, object: Oid) -> bool {
    let found = || -> Result<bool, git2::Error> {
        let odb = Odb::new()?;
        // Without the repositories that `info/alternates` names.
        odb.add_disk_alternate(objects.to_str().ok_or_else(|| git2::Error::from_str("no text"))?)?;
        Ok(odb.exists(object))
    };
    found().unwrap_or(false)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn what_is_committed_is_read_from_the_repository_anyway() {
        let place = tempfile::tempdir().unwrap();
        let git = |directory: &str, arguments: &str| {
            let script = format!("cd {directory} && git -c user.name=A -c user.email=a@b.c {arguments}");
            assert!(Command::new("sh").args(["-c", &script]).current_dir(place.path()).status().unwrap().success());
        };
        let key = place.path().join("t/server.key");
        fs::create_dir(place.path().join("t")).unwrap();
        fs::write(&key, "a key").unwrap();
        git(".", "init -q");
        let has = |content: &str| has(&key, content.as_bytes(), &|_| true);
        assert!(!has("a key"), "it is not added");
        git(".", "add t");
        assert!(has("a key") && !has("another key"));
        assert!(!super::has(&key, b"a key", &|_| false), "the repository cannot be read");
        git(".", "commit -qm a");
        git(".", "gc -q");
        assert!(has("a key") && !has("another key"), "in a pack");
        // Of objects that lie elsewhere nothing is known.
        git(".", "clone -qs . other");
        fs::remove_dir_all(place.path().join(".git")).unwrap();
        let other = place.path().join("other/.git");
        fs::rename(other, place.path().join(".git")).unwrap();
        assert!(!has("a key"));
        fs::rename(place.path().join(".git"), place.path().join("elsewhere")).unwrap();
        std::os::unix::fs::symlink("elsewhere", place.path().join(".git")).unwrap();
        assert!(!has("a key"));
    }
}
