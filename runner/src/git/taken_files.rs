//! Files that git would take into a commit: those that it tracks, and those that no `.gitignore` names.
//!
//! Programs of a session find a person's `.env` empty, if git does not take it: `git add -A` would commit the empty file.
//!
//! A session can change all that is read here, so no link is followed, nothing is waited for, and little is read. Whatever is not understood
//! counts as taken.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, openat};

/// Bytes of a `.gitignore` that are read.
const MAX_IGNORED: u64 = 64 << 10;

/// Bytes of an index that is looked through: some 100,000 files.
const MAX_INDEX: u64 = 16 << 20;

/// Whether git may take this file into a commit of the repository around it.
pub(crate) fn may_take(place: &Path) -> bool {
    let mut above = place.ancestors().skip(1);
    let Some(top) = above.find(|above| above.join(".git").symlink_metadata().is_ok()) else { return false };
    is_tracked(top, place) || !is_ignored(top, place)
}

/// Whether the index names it (gitformat-index(5)). The index of a linked worktree lies elsewhere, and only version 2 is read: others have
/// more before a name, or write no name whole.
fn is_tracked(top: &Path, place: &Path) -> bool {
    let git = top.join(".git");
    let Ok(name) = place.strip_prefix(top) else { return true };
    // A split index names most files in another one.
    let is_shared = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.map_or(true, |entry| entry.file_name().as_bytes().starts_with(b"sharedindex."))
    };
    let is_directory = git.symlink_metadata().is_ok_and(|about| about.is_dir());
    if !is_directory || std::fs::read_dir(&git).map_or(true, |mut entries| entries.any(is_shared)) {
        return true;
    }
    let index = git.join("index");
    if index.symlink_metadata().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
        return false;
    }
    let Some(index) = content(&index, MAX_INDEX) else { return true };
    let name = name.as_os_str().as_bytes();
    // Before a name stands its length, in the lower twelve bits, and behind it a NUL.
    let is_name = |at: usize| {
        let length = at.checked_sub(2).and_then(|start| index.get(start..at)).unwrap_or_default();
        let length = length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)) & 0xfff;
        length == name.len().min(0xfff) && index.get(at + name.len()) == Some(&0)
    };
    !index.starts_with(b"DIRC\0\0\0\x02") || memchr::memmem::find_iter(&index, name).any(is_name)
}

/// Whether the `.gitignore` that says something of it last, from its directory up to the top, ignores it.
fn is_ignored(top: &Path, place: &Path) -> bool {
    let Some(name) = place.file_name().and_then(|name| name.to_str()) else { return false };
    let within = place.ancestors().skip(1).take_while(|above| above.starts_with(top));
    for (depth, directory) in within.enumerate() {
        let file = directory.join(".gitignore");
        if file.symlink_metadata().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
            continue;
        }
        let text = content(&file, MAX_IGNORED).and_then(|text| String::from_utf8(text).ok());
        let Some(text) = text else { return false };
        if let Some(ignores) = text.lines().rev().find_map(|line| says(line, name, depth == 0)) {
            return ignores;
        }
    }
    false
}

/// What a line of a `.gitignore` (gitignore(5)) says of a file of this name; none if nothing. `beside`: it lies in the same directory. Of the lines
/// with directories, classes and escapes, those that ignore say nothing, and those that take back count.
fn says(line: &str, name: &str, beside: bool) -> Option<bool> {
    let line = line.trim_end();
    let (pattern, ignores) = line.strip_prefix('!').map_or((line, true), |pattern| (pattern, false));
    let pattern = pattern.strip_prefix("**/").unwrap_or(pattern);
    let (pattern, anywhere) = pattern.strip_prefix('/').map_or((pattern, true), |pattern| (pattern, false));
    if pattern.is_empty() || pattern.starts_with('#') {
        return None;
    }
    if pattern.contains(['/', '[', '?', '\\']) {
        return (!ignores).then_some(false);
    }
    ((anywhere || beside) && fits(pattern, name)).then_some(ignores)
}

/// Whether a name fits a pattern of which `*` alone is no text.
fn fits(pattern: &str, name: &str) -> bool {
    let Some((first, behind)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let (middle, last) = behind.rsplit_once('*').unwrap_or(("", behind));
    for part in middle.split('*') {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

/// What a regular file holds; none if it is something else, a link, or larger.
fn content(file: &Path, most: u64) -> Option<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(openat(CWD, file, flags, Mode::empty()).ok()?);
    file.metadata().ok().filter(|about| about.is_file() && about.len() <= most)?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;

    /// A repository with these files, of which git says whether it would take `.env` and `sub/.env`.
    fn taken(ignored: &[(&str, &str)], script: &str) -> [(bool, bool); 2] {
        let place = tempfile::tempdir().unwrap();
        let git = |script: &str| {
            let output = Command::new("sh").args(["-c", script]).current_dir(place.path()).output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        git("git init -q");
        fs::create_dir(place.path().join("sub")).unwrap();
        for (name, text) in ignored {
            fs::write(place.path().join(name), text).unwrap();
        }
        for name in [".env", "sub/.env"] {
            fs::write(place.path().join(name), "A=b\n").unwrap();
        }
        git(script);
        fs::write(place.path().join(".env"), "A=c\n").unwrap();
        fs::write(place.path().join("sub/.env"), "A=c\n").unwrap();
        let may = [".env", "sub/.env"].map(|name| may_take(&place.path().join(name)));
        let added = git("git add -A && git ls-files");
        let is_added = |name: &str| added.lines().any(|line| line == name);
        let again = [".env", "sub/.env"].map(|name| may_take(&place.path().join(name)));
        assert!(again[0] >= is_added(".env") && again[1] >= is_added("sub/.env"), "{ignored:?}");
        [(is_added(".env"), may[0]), (is_added("sub/.env"), may[1])]
    }

    #[test]
    fn what_git_ignores_is_not_taken() {
        for (ignored, script, expected) in [
            (&[][..], "", [true, true]),
            (&[(".gitignore", ".env\n")], "", [false, false]),
            (&[(".gitignore", "# .env\n\n.env*\n!.env.example\n")], "", [false, false]),
            (&[(".gitignore", "/.env\n")], "", [false, true]),
            (&[(".gitignore", "**/.env   \n")], "", [false, false]),
            (&[(".gitignore", "*.env\n!.env\n")], "", [true, true]),
            (&[(".gitignore", "*.env\n"), ("sub/.gitignore", "!.env\n")], "", [false, true]),
            (&[("sub/.gitignore", "*e*v\n")], "", [true, false]),
            (&[(".gitignore", ".env/\n.envrc\nenv\n")], "", [true, true]),
            // What is tracked is taken all the same.
            (&[(".gitignore", ".env\n")], "git add -f .env", [true, false]),
        ] {
            let found = taken(ignored, script);
            assert_eq!(found.map(|(added, _)| added), expected, "{ignored:?}: git itself");
            assert_eq!(found.map(|(_, may)| may), expected, "{ignored:?}");
        }
    }

    /// Lines that are not read in full err to the side of taking.
    #[test]
    fn what_is_not_understood_counts_as_taken() {
        for ignored in ["sub/.env\n.en[v]\n", ".env\n!sub/.en?\n", ".env\n!\\.env\n"] {
            let found = taken(&[(".gitignore", ignored)], "");
            assert!(found.iter().all(|(added, may)| *may >= *added), "{ignored}: {found:?}");
        }
        let split = "git add -f .env && git update-index --split-index";
        assert!(taken(&[(".gitignore", ".env\n")], split).iter().all(|(_, may)| *may), "a split index");
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join(".env");
        assert!(!may_take(&file), "there is no repository");
        fs::write(place.path().join(".git"), "gitdir: elsewhere\n").unwrap();
        assert!(may_take(&file), "a linked worktree");
        fs::remove_file(place.path().join(".git")).unwrap();
        fs::create_dir(place.path().join(".git")).unwrap();
        rustix::fs::mkfifoat(CWD, place.path().join(".gitignore"), Mode::RUSR).unwrap();
        assert!(may_take(&file), "a pipe is not waited for");
    }
}
