//! Private keys that installed Python packages ship, for their own tests (`tornado/test/test.key`).
//!
//! Such a key is as public as its package. An installer lists each file of a package with its digest in `*.dist-info/RECORD`. A session may
//! change that list, but it can only name the digest of a key that it has read already: so the list proves that the key is known.
//! This is not so for passwords and the like, whose digests can be guessed; they stay secret.
//!
//! Decided here: whether a key is known to its package. Not decided here: which files are covered (`masks.rs`).
//!
//! Source: the Python packaging specification "Recording installed projects".

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustix::fs::{CWD, Mode, OFlags, openat};
use sha2::{Digest, Sha256};

/// Directories in which Python packages are installed.
const INSTALLED: [&str; 2] = ["site-packages", "dist-packages"];

/// Entries of such a directory that are looked at.
const MAX_ENTRIES: usize = 10_000;

/// Bytes of lists that are read for one key.
const MAX_READ: u64 = 8 << 20;

/// Whether the installed package that this file belongs to ships it with this content: a private key. Adds to `read` how many bytes were
/// read for that.
pub(super) fn is_published(place: &Path, content: &[u8], read: &mut u64) -> bool {
    let is_key = || {
        let mut lines = content.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        lines.any(|line| line.starts_with(b"-----BEGIN ") && line.ends_with(b"PRIVATE KEY-----"))
    };
    let is_installed =
        |above: &&Path| above.file_name().is_some_and(|name| INSTALLED.iter().any(|known| name == *known));
    let Some(around) = place.ancestors().skip(1).find(is_installed).filter(|_| is_key()) else { return false };
    let Some(path) = place.strip_prefix(around).ok().and_then(Path::to_str) else { return false };
    let wanted = format!("{path},sha256={},", URL_SAFE_NO_PAD.encode(Sha256::digest(content)));
    let mut left = MAX_READ;
    // The list of the package that is called as the directory is, first.
    let mut lists = lists(around);
    let package = path.split('/').next().unwrap_or_default().as_bytes();
    lists.sort_by_key(|list| {
        !list.parent().and_then(Path::file_name).is_some_and(|name| name.as_bytes().starts_with(package))
    });
    let found = lists.iter().any(|list| has_line(list, &wanted, &mut left));
    *read += MAX_READ - left;
    found
}

fn lists(around: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(around).into_iter().flatten().flatten().take(MAX_ENTRIES);
    let paths = entries.map(|entry| entry.path());
    paths
        .filter(|path| path.extension().is_some_and(|kind| kind == "dist-info"))
        .map(|path| path.join("RECORD"))
        .collect()
}

/// Whether a line begins so, as far as `left` bytes reach. A session may have put anything in the place of the list.
fn has_line(list: &Path, wanted: &str, left: &mut u64) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(file) = openat(CWD, list, flags, Mode::empty()).map(File::from) else { return false };
    if !file.metadata().is_ok_and(|about| about.is_file()) {
        return false;
    }
    let mut lines = BufReader::new(file.take(*left));
    let mut line = Vec::new();
    let mut found = false;
    while !found && lines.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
        found = line.starts_with(wanted.as_bytes());
        line.clear();
    }
    *left = lines.get_ref().limit();
    found
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_public_where_its_package_lists_its_digest() {
        let root = tempfile::tempdir().unwrap();
        let installed = root.path().join("lib/site-packages");
        std::fs::create_dir_all(installed.join("x/test")).unwrap();
        std::fs::create_dir_all(installed.join("x-1.0.dist-info")).unwrap();
        let key = b"-----BEGIN RSA PRIVATE KEY-----\nTUlJ\n-----END RSA PRIVATE KEY-----\n";
        let list = |content: &[u8]| {
            let digest = URL_SAFE_NO_PAD.encode(Sha256::digest(content));
            let text = format!("x/__init__.py,,\nx/test/a.key,sha256={digest},12\n");
            std::fs::write(installed.join("x-1.0.dist-info/RECORD"), text).unwrap();
        };
        let place = installed.join("x/test/a.key");
        let is_published = |place: &Path, content: &[u8]| super::is_published(place, content, &mut 0);
        list(key);
        assert!(is_published(&place, key));
        // The same key elsewhere, another key, and what is no key.
        assert!(!is_published(&installed.join("x/test/b.key"), key));
        assert!(!is_published(&root.path().join("x/test/a.key"), key));
        list(b"other");
        assert!(!is_published(&place, key));
        list(b"password=1234\n");
        assert!(!is_published(&place, b"password=1234\n"));
    }
}
