//! What the sandbox has to know of git repositories.
//!
//! A repository's settings name programs that git runs, so a mask holds the file. A session's own git may change some of them all the same.
//! The guard stops the call that would put the new file in place, and whoever reads such files decides what becomes of it.
//!
//! Decided here: where settings lie. Not decided here: how settings and objects are read, which changes are harmless, and which are for
//! sessions alone. An implementation of [`Repositories`] does that. Without one nothing is changed and nothing is uncovered.

use std::fmt::Debug;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use libc::c_int;

use super::own_settings::Store;

/// Reads git repositories for the sandbox.
pub trait Repositories: Debug + Send + Sync {
    /// Whether the repository around `file` holds `content` as well, and keeps its objects where `may_read` is true.
    fn has_committed(&self, file: &Path, content: &[u8], may_read: &dyn Fn(&Path) -> bool) -> bool;

    /// Whether git may take this file into a commit: it tracks it, or no `.gitignore` names it.
    fn may_take(&self, file: &Path) -> bool;

    /// Makes anew the file that sessions see in the place of a repository's settings, and gives its name in the directory of the store. None if
    /// sessions see the repository's own. `seen_before`: a session sees such a file already.
    fn shown(&self, store: &Store, place: &Path, seen_before: bool) -> Option<String>;

    /// Changes the settings at `place` by what git has written, or keeps that for sessions.
    ///
    /// # Errors
    /// The error number that the caller gets: `EACCES` where something is neither harmless nor can be kept.
    fn take_over(&self, change: &SettingsChange<'_>, around: &Around<'_>) -> Result<Taken, c_int>;
}

/// A file of settings that a session's git would put in the place of a repository's.
#[derive(Debug)]
pub struct SettingsChange<'a> {
    /// The new file, opened by its name alone (`O_PATH`).
    pub written: &'a OwnedFd,
    /// Its path, `config.lock`. Whoever takes the settings over removes it.
    pub new: &'a Path,
    /// Where the repository's settings are.
    pub place: &'a Path,
    /// Whether the new file holds settings that come to those that are there ([`of_only_worktree`]).
    pub of_worktree: bool,
}

/// What is known of a repository besides its settings.
pub struct Around<'a> {
    /// Whether nothing is at a path for those outside, and no session makes anything there for them.
    pub is_beyond: &'a dyn Fn(&Path) -> bool,
    /// Whether a session, this or another, has given a setting this value.
    pub is_of_session: &'a dyn Fn(&str, &str) -> bool,
    /// Where settings for sessions alone are kept, if sessions may have some.
    pub own: Option<&'a Store>,
    /// Whether git sees those. A session that was there before another one set them does not.
    pub sees_own: bool,
}

/// What has become of what git wrote.
#[derive(Debug)]
pub enum Taken {
    /// The repository has it.
    Over(Difference),
    /// Sessions alone see it, in a file of this name in the directory of the store.
    Kept(String),
}

/// Settings with their values.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Those that are new.
    pub set: Vec<(String, String)>,
    /// Those that are gone.
    pub unset: Vec<(String, String)>,
}

/// Reads no repository: every change of settings is refused, no file counts as committed, and any may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct NoRepositories;

impl Repositories for NoRepositories {
    fn has_committed(&self, _: &Path, _: &[u8], _: &dyn Fn(&Path) -> bool) -> bool {
        false
    }

    fn may_take(&self, _: &Path) -> bool {
        true
    }

    fn shown(&self, _: &Store, _: &Path, _: bool) -> Option<String> {
        None
    }

    fn take_over(&self, _: &SettingsChange<'_>, _: &Around<'_>) -> Result<Taken, c_int> {
        Err(libc::EACCES)
    }
}

/// Whether this is a file of settings: a repository's, or a submodule's.
pub(super) fn is_named(place: &Path) -> bool {
    let of_module = || {
        let above = place.parent().into_iter().flat_map(Path::ancestors).skip(1);
        place.ends_with("config") && above.into_iter().any(|above| above.ends_with(".git/modules"))
    };
    place.ends_with(".git/config") || place.ends_with(".git/config.worktree") && is_file(place) || of_module()
}

fn is_file(place: &Path) -> bool {
    place.symlink_metadata().is_ok_and(|about| about.is_file())
}

/// The repository's settings, if this is where git would put those of its only worktree, which has none yet.
///
/// git sparse-checkout(1) puts its settings there. They mean the same among the repository's own, where git has put them before version
/// 2.36. A new file would have to be covered before any program of any session could open it.
pub(super) fn of_only_worktree(place: &Path) -> Option<PathBuf> {
    let settings = place.with_file_name("config");
    (place.ends_with(".git/config.worktree") && has_one_worktree(&settings)).then_some(settings)
}

/// Whether the repository with these settings has one worktree, without settings of its own.
#[must_use]
pub fn has_one_worktree(settings: &Path) -> bool {
    let is_gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    let own = settings.with_file_name("config.worktree").symlink_metadata();
    let others = fs::read_dir(settings.with_file_name("worktrees")).map(|mut entries| entries.next().is_some());
    own.is_err_and(|error| is_gone(&error)) && others.map_or_else(|error| is_gone(&error), |any| !any)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn settings_are_a_repositorys_or_a_submodules() {
        for (place, named) in [
            ("/w/.git/config", true),
            ("/w/.git/modules/libs/a/config", true),
            ("/w/.git/modules/config", false),
            ("/w/.git/config.worktree", false),
            ("/w/config", false),
        ] {
            assert_eq!(is_named(Path::new(place)), named, "{place}");
        }
    }

    #[test]
    fn settings_of_an_only_worktree_are_the_repositorys() {
        let root = tempfile::tempdir().unwrap();
        let git = root.path().join(".git");
        fs::create_dir_all(git.join("worktrees")).unwrap();
        let [settings, place] = ["config", "config.worktree"].map(|name| git.join(name));
        assert_eq!(of_only_worktree(&place), Some(settings.clone()));
        let other = git.join("worktrees/a");
        fs::create_dir(&other).unwrap();
        assert_eq!(of_only_worktree(&place), None);
        fs::remove_dir(&other).unwrap();
        fs::write(&place, "").unwrap();
        assert_eq!(of_only_worktree(&place), None);
        assert_eq!(of_only_worktree(&settings), None);
    }
}
