//! What is about to be executed: the file that a caller means, and its words, found as the kernel finds them.
//!
//! Everything is looked at from the caller's side: under its root, from its directory, with its own entries of `/proc`. Nothing is
//! decided here.

use std::ffi::{OsStr, OsString, c_int};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat, openat2, readlinkat};
use rustix::io::Errno;

use super::memory::Memory;

/// A program about to be executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execution {
    /// The calling thread, as this process numbers it.
    pub thread: i32,
    /// The file as the caller names it, absolute, symbolic links in it as they are.
    pub named: PathBuf,
    /// The file itself, as the session sees it.
    pub file: PathBuf,
    /// The arguments, the program's own name for itself first.
    pub argv: Vec<Vec<u8>>,
    /// The environment's entries, `NAME=value`.
    pub env: Vec<Vec<u8>>,
    /// Where the caller stands; none if that is gone.
    pub cwd: Option<PathBuf>,
}

/// Bytes of words that one `execve` may have; the kernel takes at most 6 MiB (execve(2)).
pub(super) const MAX_WORDS: usize = 6 << 20;

/// Bytes of a script in which the kernel looks for its interpreter (`BINPRM_BUF_SIZE`).
const FIRST_LINE: usize = 256;

impl Execution {
    /// What stands in a process that has run nothing of it. This thread traces it, and it stands still.
    pub(super) fn of(process: i32) -> Result<Self, c_int> {
        let file = link(process, "exe").ok_or(libc::ENOENT)?;
        let (argv, env) = match Memory(process).begun() {
            Some(words) => words,
            None => (words(process, "cmdline")?, words(process, "environ")?),
        };
        let cwd = link(process, "cwd").filter(|cwd| cwd.is_absolute() && !is_deleted(cwd));
        Ok(Self { thread: process, named: file.clone(), file, argv, env, cwd })
    }

    /// The interpreter's execution that the kernel makes of a script's.
    pub(super) fn interpreted(&self, line: FirstLine) -> Result<(Self, OwnedFd), c_int> {
        let path = PathBuf::from(OsStr::from_bytes(&line.interpreter));
        let named = match (path.is_absolute(), &self.cwd) {
            (true, _) => path,
            (false, Some(cwd)) => cwd.join(path),
            (false, None) => return Err(libc::ENOENT),
        };
        let file = open_as(self.thread, &named, true)?;
        let mut argv = vec![line.interpreter];
        argv.extend(line.argument);
        argv.push(self.named.as_os_str().as_bytes().to_vec());
        argv.extend(self.argv.iter().skip(1).cloned());
        let next = Self {
            thread: self.thread,
            named,
            file: place_of(&file)?,
            argv,
            env: self.env.clone(),
            cwd: self.cwd.clone(),
        };
        Ok((next, file))
    }
}

/// The words in a file of a process below `/proc`.
pub(super) fn words(process: i32, name: &str) -> Result<Vec<Vec<u8>>, c_int> {
    let mut bytes = Vec::new();
    let opened = File::open(format!("/proc/{process}/{name}")).map_err(number)?;
    opened.take(MAX_WORDS as u64 + 1).read_to_end(&mut bytes).map_err(number)?;
    if bytes.len() > MAX_WORDS {
        return Err(libc::E2BIG);
    }
    let text = bytes.strip_suffix(&[0]).map(<[u8]>::to_vec);
    Ok(text.map(|text| text.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect()).unwrap_or_default())
}

/// Opens a file by name alone, as a thread would find it: under its root, with its own entries of /proc.
pub(super) fn open_as(thread: i32, path: &Path, follow: bool) -> Result<OwnedFd, c_int> {
    let mut names = path.components().skip(1).filter_map(|name| name.as_os_str().to_str());
    let own = match (names.next(), names.next(), names.next()) {
        (Some("proc"), Some("self" | "thread-self"), Some(rest)) => Some(format!("/proc/{thread}/{rest}")),
        (Some("dev"), Some("fd"), Some(number)) => Some(format!("/proc/{thread}/fd/{number}")),
        _ => None,
    };
    if let Some(mut own) = own {
        // `/dev/fd/9` has three names, `/proc/self/fd/9` four.
        if path.starts_with("/proc") {
            names.for_each(|name| own.extend(["/", name]));
        }
        return open_link(&own);
    }
    let root = open_link(&format!("/proc/{thread}/root"))?;
    let flags = OFlags::PATH | OFlags::CLOEXEC | if follow { OFlags::empty() } else { OFlags::NOFOLLOW };
    let path = path.strip_prefix("/").unwrap_or(path);
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    openat2(root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
        .map_err(Errno::raw_os_error)
}

pub(super) fn open_link(path: &str) -> Result<OwnedFd, c_int> {
    openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(Errno::raw_os_error)
}

/// The path of an opened file.
pub(super) fn place_of(file: &OwnedFd) -> Result<PathBuf, c_int> {
    link_at(&format!("/proc/self/fd/{}", file.as_raw_fd())).ok_or(libc::ENOENT)
}

pub(super) fn link(thread: i32, name: &str) -> Option<PathBuf> {
    link_at(&format!("/proc/{thread}/{name}"))
}

fn link_at(path: &str) -> Option<PathBuf> {
    let target = readlinkat(CWD, path, Vec::new()).ok()?;
    Some(PathBuf::from(OsString::from_vec(target.into_bytes())))
}

/// A file that never had a name, or has lost it.
pub(super) fn has_no_name(file: &Path) -> bool {
    !file.is_absolute()
        || file.starts_with("/memfd:")
        || is_deleted(file)
        || file.as_os_str().as_bytes().starts_with(b"/memfd:")
}

pub(super) fn is_deleted(path: &Path) -> bool {
    path.as_os_str().as_bytes().ends_with(b" (deleted)")
}

/// What the first line of a script says.
pub(super) struct FirstLine {
    interpreter: Vec<u8>,
    argument: Option<Vec<u8>>,
}

/// The interpreter of a script; none for everything else, and for what cannot be read: then only the image tells.
pub(super) fn interpreter(file: &OwnedFd) -> Option<FirstLine> {
    let kind = FileType::from_raw_mode(fstat(file).ok()?.st_mode);
    if kind != FileType::RegularFile {
        return None;
    }
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let opened = openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty()).ok()?;
    let mut head = [0; FIRST_LINE];
    let length = rustix::io::pread(opened, &mut head, 0).ok()?;
    first_line(head.get(..length)?)
}

/// As `fs/binfmt_script.c` reads it.
fn first_line(head: &[u8]) -> Option<FirstLine> {
    let line = head.strip_prefix(b"#!")?;
    let line = line.split(|byte| matches!(byte, b'\n' | 0)).next()?;
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let line = line.trim_ascii_start();
    let end = line.iter().position(blank).unwrap_or(line.len());
    let (interpreter, rest) = line.split_at_checked(end)?;
    if interpreter.is_empty() {
        return None;
    }
    let from = rest.iter().position(|byte| !blank(byte));
    let argument = from.and_then(|from| rest.get(from..)).map(|rest| {
        let end = rest.iter().rposition(|byte| !blank(byte)).map_or(0, |last| last + 1);
        rest.get(..end).unwrap_or_default().to_vec()
    });
    Some(FirstLine { interpreter: interpreter.to_vec(), argument })
}

pub(super) fn number(error: io::Error) -> c_int {
    error.raw_os_error().unwrap_or(libc::EIO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_line_is_read_as_the_kernel_does() {
        /// The interpreter and its argument.
        type Expected = Option<(&'static str, Option<&'static str>)>;
        let rows: [(&[u8], Expected); 10] = [
            (b"#!/bin/sh\necho", Some(("/bin/sh", None))),
            (b"#! /usr/bin/env  python3 -u \nx", Some(("/usr/bin/env", Some("python3 -u")))),
            (b"#!/bin/sh -e\t", Some(("/bin/sh", Some("-e")))),
            (b"#!\t/bin/sh", Some(("/bin/sh", None))),
            (b"#!sh\n", Some(("sh", None))),
            (b"#!\n/bin/sh", None),
            (b"#!   ", None),
            (b"#", None),
            (b"\x7fELF", None),
            (b"#!/bin/sh\0x", Some(("/bin/sh", None))),
        ];
        for (head, expected) in rows {
            let found = first_line(head);
            let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
            let found = found.map(|line| (text(&line.interpreter), line.argument.as_ref().map(text)));
            let expected = expected.map(|(program, argument)| (program.to_owned(), argument.map(str::to_owned)));
            assert_eq!(found, expected, "{}", String::from_utf8_lossy(head));
        }
    }
}
