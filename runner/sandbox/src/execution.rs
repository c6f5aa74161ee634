//! What is about to be executed: the file that a caller means, and its words, found as the kernel finds them.
//!
//! Everything is looked at from the caller's side: under its root, from its directory, with its own entries of `/proc`. Nothing is
//! decided here.

use std::ffi::{OsStr, OsString, c_int};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat, openat2, readlinkat};
use rustix::io::Errno;

use super::guard::task_of;
use super::memory::Memory;

/// A program about to be executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execution {
    /// The calling thread, as this process numbers it.
    pub thread: i32,
    /// The file as the caller names it, absolute, symbolic links in it as they are.
    pub named: PathBuf,
    /// The name that the kernel gives a script's interpreter for it: the caller's own, or one below `/dev/fd` (execveat(2)).
    pub given: Vec<u8>,
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
        let given = file.as_os_str().as_bytes().to_vec();
        Ok(Self { thread: process, named: file.clone(), given, file, argv, env, cwd })
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
        let given = line.interpreter.clone();
        let mut argv = vec![line.interpreter];
        argv.extend(line.argument);
        argv.push(self.given.clone());
        argv.extend(self.argv.iter().skip(1).cloned());
        let next = Self {
            thread: self.thread,
            named,
            given,
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
    let path = &without_own_links(thread, path)?;
    let mut names = path.components().skip(1).filter_map(|name| name.as_os_str().to_str());
    let own = match (names.next(), names.next(), names.next()) {
        (Some("proc"), Some("self" | "thread-self"), Some(rest)) => Some(format!("/proc/{thread}/{rest}")),
        (Some("dev"), Some("fd"), Some(number)) => Some(format!("/proc/{thread}/fd/{number}")),
        _ => None,
    };
    if let Some(mut own) = own {
        // Up from there lie the server's own numbers.
        if path.components().any(|name| name == Component::ParentDir) {
            return Err(libc::ELOOP);
        }
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
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let open = || openat2(&root, path, flags, Mode::empty(), resolve);
    // While something is renamed anywhere, the kernel may not be able to tell that `..` stays inside, and says so (openat2(2)).
    let opened = std::iter::repeat_with(open).take(MAX_TRIES).find(|opened| !matches!(opened, Err(Errno::AGAIN)));
    opened.unwrap_or(Err(Errno::AGAIN)).map_err(Errno::raw_os_error)
}

/// Lookups of one path, where the kernel asks for another try.
const MAX_TRIES: usize = 1_000;

/// Directories of processes that one path goes through at most.
const MAX_PROCESSES: usize = 8;

/// The path without the names in `/proc` of what a process has open: its working directory, its root, and where a descriptor leads. They
/// mean another place to the server, by whose numbers there are other processes, and no lookup of ours follows them.
///
/// # Errors
/// `ENOENT`: there is no such process in the caller's view. `ELOOP`: the path goes through too many.
pub(super) fn without_own_links(thread: i32, path: &Path) -> Result<PathBuf, c_int> {
    let mut path = path.to_owned();
    for _ in 0..MAX_PROCESSES {
        let Some(next) = without_first_link(thread, &path)? else { return Ok(path) };
        path = next;
    }
    Err(libc::ELOOP)
}

/// The same for the first such name; none if there is none.
fn without_first_link(thread: i32, path: &Path) -> Result<Option<PathBuf>, c_int> {
    if let Ok(rest) = path.strip_prefix("/dev/fd")
        && rest.components().next().is_some()
    {
        return Ok(Some(Path::new("/proc/self/fd").join(rest)));
    }
    let mut names = path.components().skip(1).peekable();
    if names.next().is_none_or(|name| name.as_os_str() != "proc") {
        return Ok(None);
    }
    let Some(process) = names.next().and_then(|name| name.as_os_str().to_str()) else { return Ok(None) };
    let mut task = match process {
        ".." => return Ok(Some(Path::new("/").join(names.collect::<PathBuf>()))),
        "self" | "thread-self" => thread,
        number => match number.parse() {
            Ok(number) => task_of(thread, number).ok_or(libc::ENOENT)?,
            Err(_) => return Ok(None),
        },
    };
    while names.peek().is_some_and(|name| name.as_os_str() == "task") {
        names.next();
        match names.next().map(|name| name.as_os_str().to_str().unwrap_or_default()) {
            None => return Ok(None),
            Some("..") => {}
            Some(number) => {
                let number = number.parse().map_err(|_| libc::ENOENT)?;
                task = task_of(thread, number).ok_or(libc::ENOENT)?;
            }
        }
    }
    let link = match names.next().map(|name| name.as_os_str().to_str().unwrap_or_default()) {
        Some("..") => return Ok(Some(Path::new("/proc").join(names.collect::<PathBuf>()))),
        Some(name @ ("cwd" | "root" | "exe")) => name.to_owned(),
        Some("fd") => match names.next().and_then(|name| name.as_os_str().to_str()) {
            Some("..") => {
                let rest: PathBuf = names.collect();
                return Ok(Some(Path::new("/proc").join(process).join(rest)));
            }
            // The descriptor itself, which need not be a file with a name.
            Some(number) if names.peek().is_some() => format!("fd/{number}"),
            _ => return Ok(None),
        },
        _ => return Ok(None),
    };
    let place =
        self::link(task, &link).filter(|place| place.is_absolute() && !is_deleted(place)).ok_or(libc::ENOENT)?;
    Ok(Some(place.join(names.collect::<PathBuf>())))
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
