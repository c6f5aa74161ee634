//! Looks up what a command's words leave open and its directory tells: a repository's configuration, and tools that are
//! installed below a project.
//!
//! The files are the agent's: they are read bounded, and never through a link.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use git2::{Config, ConfigLevel};
use palisade_engine::{AbsolutePath, MAX_CONFIGURATION, Repository};
use palisade_sandbox::file_marks::Earlier;
use rustix::fs::OFlags;

use crate::git::seen_by_sessions;

/// Bytes of a project's file that are read: lock files of large projects have some megabytes.
const MAX_LOCK: u64 = 16 * 1024 * 1024;
/// Directories above a command's that are looked into.
const MAX_ABOVE: usize = 64;

/// The repository that a directory belongs to, with what sessions have set in it for themselves if `earlier` is given.
pub(super) fn repository(directory: &AbsolutePath, earlier: Option<&Earlier>) -> Option<Repository> {
    let (top, own, common) = places(directory)?;
    let modules = top.join(".gitmodules");
    let modules = if modules.symlink_metadata().is_ok() { text(&modules)? } else { String::new() };
    let file = common.join("config");
    let configuration = match earlier.and_then(|earlier| seen_by_sessions(earlier, &file)) {
        Some(seen) => seen,
        None => text(&file)?,
    };
    // git reads it where `extensions.worktreeConfig` is set. What stands in it otherwise says too much.
    let worktree = own.join("config.worktree");
    let worktree = if worktree.symlink_metadata().is_ok() { text(&worktree)? } else { String::new() };
    Repository::read(top.to_str()?, &configuration, &worktree, &modules, &text(&own.join("HEAD")).unwrap_or_default())
}

/// The settings that all working trees of the repository of a directory share.
pub(super) fn settings(directory: &AbsolutePath) -> Option<PathBuf> {
    places(directory).map(|(_, _, common)| common.join("config"))
}

/// The directories in a workspace that hold a person's hooks: the one that `core.hooksPath` names, in the repository's settings or in the
/// person's own. git runs what lies there when the person commits (githooks(5)). husky keeps what it makes in `_` below the project's
/// hooks, so that these count as well.
///
/// A path that is the workspace or holds it is left out: nothing could be written any more. Settings that git cannot read name none.
#[must_use]
pub fn hook_directories(workspace: &AbsolutePath) -> Vec<AbsolutePath> {
    let Some((top, own, common)) = places(workspace) else { return Vec::new() };
    let named = || -> Result<PathBuf, git2::Error> {
        let mut settings = Config::open_default()?;
        for (file, level) in
            [(common.join("config"), ConfigLevel::Local), (own.join("config.worktree"), ConfigLevel::Worktree)]
        {
            if file.is_file() {
                settings.add_file(&file, level, false)?;
            }
        }
        settings.get_path("core.hooksPath")
    };
    let Ok(named) = named().map(|named| top.join(named)) else { return Vec::new() };
    let real = super::real_directory(&named).or_else(|| AbsolutePath::new(named.to_str()?));
    let above = real.as_ref().filter(|path| path.name() == "_").and_then(AbsolutePath::parent);
    let within = |path: &AbsolutePath| path.is_within(workspace) && path != workspace;
    real.into_iter().chain(above).filter(within).collect()
}

/// The top of a directory's working tree, that tree's own directory for git, and the one that all trees of the repository share.
fn places(directory: &AbsolutePath) -> Option<(&Path, PathBuf, PathBuf)> {
    let top = Path::new(directory.as_str())
        .ancestors()
        .take(MAX_ABOVE)
        .find(|above| above.join(".git").symlink_metadata().is_ok())?;
    let git = top.join(".git");
    let kind = git.symlink_metadata().ok()?;
    if kind.is_dir() {
        return Some((top, git.clone(), git));
    }
    let own = beside(top, text(&git).filter(|_| kind.is_file())?.strip_prefix("gitdir:")?.trim());
    let common = text(&own.join("commondir")).map(|common| beside(&own, common.trim()));
    Some((top, own.clone(), common.unwrap_or(own)))
}

/// Whether a file of a project is there that a command in `directory` would find: in it, or above it up to the workspace.
/// A lock file counts while it is no older than what it is made of.
pub(super) fn is_there(directory: &AbsolutePath, workspace: &AbsolutePath, name: &str) -> bool {
    let within = |above: &&Path| above.starts_with(workspace.as_str());
    let mut above = Path::new(directory.as_str()).ancestors().take(MAX_ABOVE).take_while(within);
    above.any(|above| {
        let changed = |name: &str| std::fs::metadata(above.join(name)).and_then(|found| found.modified()).ok();
        match (name, changed(name)) {
            (_, None) => false,
            ("uv.lock", Some(locked)) => changed("pyproject.toml").is_some_and(|project| project <= locked),
            (_, Some(_)) => true,
        }
    })
}

fn beside(directory: &Path, path: &str) -> PathBuf {
    directory.join(path)
}

/// What stands in a short regular file.
pub(super) fn text(path: &Path) -> Option<String> {
    read(path, MAX_CONFIGURATION)
}

/// What stands in a file of a project; `None` if it is larger than a lock file is.
pub(super) fn file(path: &Path) -> Option<String> {
    read(path, MAX_LOCK)
}

fn read(path: &Path, most: u64) -> Option<String> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let flags = i32::try_from(flags.bits()).ok()?;
    let file: File = OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
    let length = file.metadata().ok().filter(std::fs::Metadata::is_file)?.len();
    let mut text = String::new();
    file.take(most).read_to_string(&mut text).ok().filter(|_| length < most)?;
    Some(text)
}
