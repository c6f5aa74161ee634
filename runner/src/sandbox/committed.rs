//! Files that are named like key material and that their own repository holds, word for word: keys that tests work with.
//!
//! A session that reads the repository has what is in them, so that a mask before them keeps nothing secret. What a person has put into
//! such a file since is in no repository, and stays covered.
//!
//! The repository may be the agent's. It proves nothing by an index of its own: the file has the name that its content gives it, and an
//! object of that name must be there (gitrepository-layout(5)).

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use git2::{Index, ObjectType, Odb, Oid};

/// Directories above a file in which its repository is looked for.
const MAX_ABOVE: usize = 64;

/// The longest file that is compared, in bytes.
const LONGEST: u64 = 1 << 20;

/// The longest index that is read, in bytes: three times that of the kernel's sources.
const LONGEST_INDEX: u64 = 32 << 20;

/// The repositories that have been looked into.
#[derive(Default)]
pub(crate) struct Repositories(HashMap<PathBuf, Option<Repository>>);

struct Repository {
    index: Index,
    objects: Odb<'static>,
}

impl Repositories {
    /// Whether the repository around this file, within `root`, has it as it is.
    pub(crate) fn hold(&mut self, place: &Path, root: &Path) -> bool {
        let above = place.ancestors().skip(1).take(MAX_ABOVE).take_while(|above| above.starts_with(root));
        let Some(top) = above.into_iter().find(|above| above.join(".git").symlink_metadata().is_ok()) else {
            return false;
        };
        let Ok(name) = place.strip_prefix(top) else { return false };
        let repository = self.0.entry(top.to_owned()).or_insert_with(|| Repository::at(&top.join(".git")));
        repository.as_ref().is_some_and(|repository| repository.holds(place, name))
    }
}

impl Repository {
    fn at(git: &Path) -> Option<Self> {
        let objects = git.join("objects");
        let is_own = |directory: &Path| directory.symlink_metadata().is_ok_and(|about| about.is_dir());
        // Objects of others may lie where the session cannot read.
        if !is_own(git) || !is_own(&objects) || objects.join("info/alternates").symlink_metadata().is_ok() {
            return None;
        }
        let index = git.join("index");
        if !index.symlink_metadata().is_ok_and(|about| about.is_file() && about.len() <= LONGEST_INDEX) {
            return None;
        }
        let own = Odb::new().ok()?;
        own.add_disk_alternate(objects.to_str()?).ok()?;
        Some(Self { index: Index::open(&index).ok()?, objects: own })
    }

    fn holds(&self, place: &Path, name: &Path) -> bool {
        let is_short = |about: std::fs::Metadata| about.is_file() && about.len() <= LONGEST;
        let Some(entry) = self.index.get_path(name, 0) else { return false };
        // The object is read, and not only looked for: anybody can make an empty file of its name.
        place.symlink_metadata().is_ok_and(is_short)
            && std::fs::read(place).is_ok_and(|text| {
                Oid::hash_object(ObjectType::Blob, &text).is_ok_and(|found| found == entry.id)
                    && self.objects.read(entry.id).is_ok_and(|object| object.data() == text)
            })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;

    #[test]
    fn a_file_counts_as_committed_while_its_repository_has_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let git = |script: &str| {
            let status = Command::new("/bin/bash").args(["-ec", script]).current_dir(root).status().unwrap();
            assert!(status.success(), "{script}");
        };
        let held = |name: &str| Repositories::default().hold(&root.join(name), root);
        git(
            "mkdir -p r/certs r/sub; cd r; git init -q; echo secret > certs/a.pem; echo other > certs/b.pem; git add certs/a.pem",
        );
        assert_eq!(["r/certs/a.pem", "r/certs/b.pem", "r/certs/none.pem"].map(held), [true, false, false]);
        assert!(
            !Repositories::default().hold(&root.join("r/certs/a.pem"), &root.join("r/certs")),
            "outside of the root"
        );
        git("cd r; git -c user.name=a -c user.email=a@b commit -qm x; git gc -q; git checkout -q -b other");
        assert!(held("r/certs/a.pem"), "in a pack");
        fs::write(root.join("r/certs/a.pem"), "new\n").unwrap();
        assert!(!held("r/certs/a.pem"), "changed");
        // An index can say anything.
        git("cd r; id=$(git hash-object certs/b.pem); git update-index --add --cacheinfo 100644,$id,certs/b.pem");
        assert!(!held("r/certs/b.pem"), "an object that is not there");
        git(
            "cd r; id=$(git hash-object certs/b.pem); mkdir -p .git/objects/${id:0:2}; : > .git/objects/${id:0:2}/${id:2}",
        );
        assert!(!held("r/certs/b.pem"), "an empty file of its name");
        git("cd r; git add certs/a.pem; ln -s a.pem certs/link.pem; git add certs/link.pem");
        assert_eq!(["r/certs/a.pem", "r/certs/link.pem"].map(held), [true, false]);
        git("cd r; mkdir -p .git/objects/info; echo /none > .git/objects/info/alternates");
        assert!(!held("r/certs/a.pem"), "objects of others");
    }
}
