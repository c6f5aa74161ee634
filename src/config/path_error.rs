//! A path that somebody has named and that cannot be read: who named it, what is missing, and where.

use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::path::{Component, Path, PathBuf};

use super::ConfigError;

/// An error for a path that `by` names, such as `` `--config` ``; empty: it was named by itself, as an argument.
pub(crate) fn unreadable(by: &str, path: &Path, error: &io::Error) -> ConfigError {
    let shown = path.display();
    let why = match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => "does not exist".to_owned(),
        ErrorKind::IsADirectory => "is a directory".to_owned(),
        ErrorKind::InvalidData => "is not UTF-8 text".to_owned(),
        ErrorKind::PermissionDenied => "cannot be read by this user".to_owned(),
        _ => format!("cannot be read: {error}"),
    };
    let what = if by.is_empty() { format!("`{shown}` {why}") } else { format!("{by} names `{shown}`, which {why}") };
    ConfigError::Named { what, help: missing(path).unwrap_or_default() }
}

/// The first part of a path that is not there, and where it is missing; none if all are.
fn missing(path: &Path) -> Option<String> {
    let mut there = PathBuf::new();
    for part in path.components() {
        let next = there.join(part);
        if std::fs::symlink_metadata(&next).is_ok() {
            there = next;
            continue;
        }
        let Component::Normal(name) = part else { return None };
        let place = match there.as_os_str().is_empty() {
            true => "the current directory".to_owned(),
            false => format!("`{}`", there.display()),
        };
        let looked = if there.as_os_str().is_empty() { Path::new(".") } else { &there };
        if !looked.is_dir() {
            return Some(format!("{place} is no directory"));
        }
        let near = sibling(looked, name).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        return Some(format!("{place} has no `{}`{near}", name.display()));
    }
    None
}

/// The name in a directory that is nearest to one that is not there.
fn sibling(directory: &Path, name: &OsStr) -> Option<String> {
    let entries = std::fs::read_dir(directory).ok()?;
    let names: Vec<String> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    palisade_engine::nearest_name(name.to_str()?, names.iter().map(String::as_str)).map(str::to_owned)
}
