//! Which files of OpenSSH's configuration are read: those that no other user can change, and what a pattern names of them.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::transport::ssh::patterns::fits;

/// Bytes of one file.
const MAX_FILE: u64 = 1 << 20;

/// A file's text; none if it is not there.
pub(super) fn text(file: &Path) -> Result<Option<Vec<u8>>, String> {
    let about = match std::fs::metadata(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        about => about.map_err(|error| error.to_string())?,
    };
    if !about.is_file() || about.len() > MAX_FILE {
        return Err("it is not a file, or too long".to_owned());
    }
    // As OpenSSH has it for the user's own.
    let owner = about.uid();
    if owner != 0 && owner != rustix::process::geteuid().as_raw() || about.mode() & 0o022 != 0 {
        return Err("other users can change it".to_owned());
    }
    std::fs::read(file).map(Some).map_err(|error| error.to_string())
}

/// The files that a path with `*` and `?` in its last part names, in the order of their names.
pub(super) fn matching(path: &Path) -> Result<Vec<PathBuf>, String> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Err("names no file".to_owned());
    };
    let odd = |text: &str, odd: &[char]| text.contains(odd);
    if odd(&directory.to_string_lossy(), &['*', '?', '[', '\\', '{']) || odd(name, &['[', '\\', '{']) {
        return Err("only `*` and `?` stand for something, in the last part of a path".to_owned());
    }
    if !name.contains(['*', '?']) {
        return Ok(vec![path.to_owned()]);
    }
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|error| error.to_string())?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| error.to_string())?.file_name();
        let entry = entry.as_encoded_bytes();
        if fits(entry, name.as_bytes()) && (!entry.starts_with(b".") || name.starts_with('.')) {
            let entry = std::str::from_utf8(entry).map_err(|_| "a name there is not text".to_owned())?;
            names.push(directory.join(entry));
        }
    }
    names.sort();
    Ok(names)
}
