//! What a target tells of its workspace, as the tree that a walk on this machine makes. No I/O.
//!
//! It is taken for what somebody there may have made up: a path that leads out is an error, and there is a limit to how many there are.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::FileType;

use crate::checkpoint::CheckpointError;
use crate::checkpoint::manifest::is_inside;
use crate::checkpoint::tree::{Found, MAX_ENTRIES, Name, Reason, Scope, Stamp, Tree, Uncovered};
use crate::remote::broken;
use crate::target::TargetError;

/// Bytes of a path (`PATH_MAX`).
const MAX_NAME: usize = 4096;

/// A workspace at a target, as it was told.
#[derive(Debug, Default)]
pub(super) struct Listed {
    /// What lies in it.
    pub(super) tree: Tree,
    /// The time there when it was looked at, in nanoseconds since 1970.
    pub(super) now: i128,
}

/// Reads it, record by record.
#[derive(Debug)]
pub(super) struct Listing<'a> {
    scope: &'a Scope,
    /// A path that is ours.
    own: &'a [u8],
    listed: Listed,
    device: u64,
    layered: bool,
    next: Next,
}

#[derive(Debug)]
enum Next {
    Time,
    Root,
    Path,
    /// Where the path that came before leads.
    Link(Box<ListedPath>),
    Nothing,
}

/// One path.
#[derive(Debug)]
struct ListedPath {
    name: Name,
    stamp: Stamp,
    readable: bool,
}

impl<'a> Listing<'a> {
    pub(super) fn new(scope: &'a Scope, own: &'a [u8]) -> Self {
        Self { scope, own, listed: Listed::default(), device: 0, layered: false, next: Next::Time }
    }

    /// One more record.
    ///
    /// # Errors
    /// It cannot be one of a listing, or there are too many.
    pub(super) fn record(&mut self, record: &[u8]) -> Result<(), CheckpointError> {
        match std::mem::replace(&mut self.next, Next::Nothing) {
            Next::Time => {
                let seconds: i64 = text(record)?.parse().map_err(|_| unread())?;
                self.listed.now = i128::from(seconds) * 1_000_000_000;
                self.next = Next::Root;
            }
            Next::Root => {
                let mut words = text(record)?.split(' ');
                self.device = number(words.next())?;
                self.layered = words.next() == Some("overlay");
                self.next = Next::Path;
            }
            Next::Path => {
                if let Some(status) = record.strip_prefix(b"=") {
                    // That something could not be looked at is told of what it is.
                    return if matches!(status, b"0" | b"1") { Ok(()) } else { Err(unread()) };
                }
                self.next = Next::Link(Box::new(ListedPath::read(record)?));
            }
            Next::Link(told) => {
                self.add(*told, record)?;
                self.next = Next::Path;
            }
            Next::Nothing => return Err(unread()),
        }
        Ok(())
    }

    /// The workspace, once all has been told.
    pub(super) fn end(self) -> Result<Listed, CheckpointError> {
        if matches!(self.next, Next::Nothing) { Ok(self.listed) } else { Err(unread()) }
    }

    /// By the rules of a walk on this machine.
    fn add(&mut self, told: ListedPath, target: &[u8]) -> Result<(), CheckpointError> {
        let ListedPath { name, stamp, readable } = told;
        let kind = FileType::from_raw_mode(stamp.mode);
        let is_directory = kind == FileType::Directory;
        let last = Path::new(OsStr::from_bytes(&name)).file_name().unwrap_or_default().to_owned();
        if let Some(why) = self.scope.reason(&last, kind, stamp.size) {
            return self.leave_out(name, why);
        }
        if name == self.own {
            return self.leave_out(name, Reason::Excluded);
        }
        if stamp.file.0 != self.device && (is_directory || !self.layered) {
            return self.leave_out(name, Reason::Mounted);
        }
        if !readable && kind == FileType::RegularFile {
            return self.leave_out(name, Reason::Unreadable);
        }
        if !readable && is_directory {
            self.leave_out(name.clone(), Reason::Unreadable)?;
        }
        let target = (kind == FileType::Symlink).then(|| target.to_vec());
        if target.as_ref().is_some_and(Vec::is_empty) {
            return self.leave_out(name, Reason::Unreadable);
        }
        self.put(name, Found::new(stamp, target))
    }

    /// A path that this program has found there, which has looked at it by these rules.
    ///
    /// # Errors
    /// It cannot have found that, or there are too many.
    pub(super) fn found(&mut self, name: Name, found: Found) -> Result<(), CheckpointError> {
        let kind = found.file_type();
        let last = Path::new(OsStr::from_bytes(&name)).file_name().unwrap_or_default().to_owned();
        let leads = found.target.as_ref().is_some_and(|target| !target.is_empty() && target.len() <= MAX_NAME);
        let is_right = leads == (kind == FileType::Symlink) && leads == found.target.is_some();
        if !is_path(&name) || !is_right || self.scope.reason(&last, kind, found.stamp.size).is_some() {
            return Err(unread());
        }
        self.put(name, found)
    }

    /// One that it has left out.
    ///
    /// # Errors
    /// As [`Self::found`].
    pub(super) fn left(&mut self, name: Name, why: Reason) -> Result<(), CheckpointError> {
        if is_path(&name) { self.leave_out(name, why) } else { Err(unread()) }
    }

    /// All that it has found, at this time.
    ///
    /// # Errors
    /// That is no time.
    pub(super) fn at(self, now: i128) -> Result<Listed, CheckpointError> {
        if u64::try_from(now).is_ok() { Ok(Listed { now, ..self.listed }) } else { Err(unread()) }
    }

    fn put(&mut self, name: Name, found: Found) -> Result<(), CheckpointError> {
        if self.listed.tree.found.len() >= MAX_ENTRIES {
            return Err(CheckpointError::TooMany);
        }
        self.listed.tree.found.insert(name, found);
        Ok(())
    }

    fn leave_out(&mut self, name: Name, why: Reason) -> Result<(), CheckpointError> {
        let uncovered = &mut self.listed.tree.uncovered;
        uncovered.push(Uncovered { name, why });
        if uncovered.len() > MAX_ENTRIES { Err(CheckpointError::TooMany) } else { Ok(()) }
    }
}

impl ListedPath {
    /// `r|u device inode size mode type user group modified changed path`.
    fn read(record: &[u8]) -> Result<Self, CheckpointError> {
        let mut parts = record.splitn(11, |byte| *byte == b' ');
        let readable = match parts.next() {
            Some(b"r") => true,
            Some(b"u") => false,
            _ => return Err(unread()),
        };
        let mut word = || text(parts.next().ok_or_else(unread)?);
        let file = (number(Some(word()?))?, number(Some(word()?))?);
        let size = number(Some(word()?))?;
        let permissions = u32::from_str_radix(word()?, 8).ok().filter(|mode| *mode <= 0o7777).ok_or_else(unread)?;
        let kind = kind(word()?)?;
        let owner = (number(Some(word()?))?, number(Some(word()?))?);
        let times = [time(word()?)?, time(word()?)?];
        let name = parts.next().filter(|name| is_path(name)).ok_or_else(unread)?.to_vec();
        let mode = kind.as_raw_mode() | permissions;
        Ok(Self { name, stamp: Stamp { file, size, mode, owner, times }, readable })
    }
}

fn is_path(name: &[u8]) -> bool {
    is_inside(name) && name.len() <= MAX_NAME
}

/// A state in the words in which a step of a restore looks at it again; of a directory that is which one it is.
pub(super) fn standing(found: &Found) -> String {
    let Stamp { file: (device, inode), size, owner: (user, group), times, .. } = found.stamp;
    let letter = match found.file_type() {
        FileType::Directory => return format!("d {device} {inode}"),
        FileType::Symlink => 'l',
        FileType::RegularFile => 'f',
        _ => '?',
    };
    let [modified, changed] = times.map(seconds);
    format!("{letter} {device} {inode} {size} {:o} {user} {group} {modified} {changed}", found.stamp.permissions())
}

/// As `find` writes a time: whole seconds and what stands behind them, which counts forwards before 1970, too.
fn seconds(time: i128) -> String {
    format!("{}.{:09}0", time.div_euclid(1_000_000_000), time.rem_euclid(1_000_000_000))
}

/// As `touch` reads a time: one decimal number.
pub(super) fn decimal(time: i128) -> String {
    let sign = if time < 0 { "-" } else { "" };
    let time = time.unsigned_abs();
    format!("@{sign}{}.{:09}", time / 1_000_000_000, time % 1_000_000_000)
}

fn time(word: &str) -> Result<i128, CheckpointError> {
    let (whole, part) = word.split_once('.').ok_or_else(unread)?;
    let whole: i64 = whole.parse().map_err(|_| unread())?;
    let nanoseconds: u32 = part.get(..9).and_then(|part| part.parse().ok()).ok_or_else(unread)?;
    Ok(i128::from(whole) * 1_000_000_000 + i128::from(nanoseconds))
}

fn kind(letter: &str) -> Result<FileType, CheckpointError> {
    Ok(match letter {
        "f" => FileType::RegularFile,
        "d" => FileType::Directory,
        "l" => FileType::Symlink,
        "p" => FileType::Fifo,
        "s" => FileType::Socket,
        "b" => FileType::BlockDevice,
        "c" => FileType::CharacterDevice,
        _ => return Err(unread()),
    })
}

fn number<T: std::str::FromStr>(word: Option<&str>) -> Result<T, CheckpointError> {
    word.and_then(|word| word.parse().ok()).ok_or_else(unread)
}

fn text(bytes: &[u8]) -> Result<&str, CheckpointError> {
    std::str::from_utf8(bytes).map_err(|_| unread())
}

fn unread() -> CheckpointError {
    let error: TargetError = broken("it is no list of files");
    error.into()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn listed(records: &[&[u8]]) -> Result<Listed, CheckpointError> {
        let scope = Scope { exclude: vec!["node_modules".to_owned()], max_file: 100 };
        let mut listing = Listing::new(&scope, b"own");
        for record in [&b"1795372114"[..], b"5 ext4"].iter().chain(records) {
            listing.record(record)?;
        }
        listing.end()
    }

    const FILE: &[u8] = b"r 5 77 6 4755 f 1000 7 1795372114.4455211500 -2.2500000000 sub/two words\nand a line";

    #[test]
    fn what_is_told_is_the_tree_of_a_walk() {
        let told = listed(&[
            b"r 5 76 4096 700 d 1000 1000 1.0000000000 1.0000000000 sub",
            b"",
            FILE,
            b"",
            b"r 5 78 4 777 l 0 0 1.0000000000 1.0000000000 sub/l",
            b"../x",
            b"r 5 79 4 700 d 0 0 1.0000000000 1.0000000000 .git",
            b"",
            b"r 5 80 4 700 d 0 0 1.0000000000 1.0000000000 sub/node_modules",
            b"",
            b"u 5 81 4 0 f 0 0 1.0000000000 1.0000000000 shut",
            b"",
            b"r 5 70 4 700 d 0 0 1.0000000000 1.0000000000 own",
            b"",
            b"r 6 82 4 700 d 0 0 1.0000000000 1.0000000000 proc",
            b"",
            b"r 5 83 101 600 f 0 0 1.0000000000 1.0000000000 large",
            b"",
            b"r 5 84 0 600 p 0 0 1.0000000000 1.0000000000 pipe",
            b"",
            b"=1",
        ])
        .unwrap();
        assert_eq!(told.now, 1_795_372_114_000_000_000);
        let names: Vec<_> = told.tree.found.keys().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
        assert_eq!(names, ["sub", "sub/l", "sub/two words\nand a line"]);
        let file = told.tree.found.get(&b"sub/two words\nand a line"[..]).unwrap();
        assert_eq!((file.stamp.permissions(), file.stamp.owner, file.stamp.size), (0o4755, (1000, 7), 6));
        assert_eq!(file.stamp.times, [1_795_372_114_445_521_150, -1_750_000_000]);
        assert_eq!(standing(file), "f 5 77 6 4755 1000 7 1795372114.4455211500 -2.2500000000");
        let left: Vec<_> = told.tree.uncovered.iter().map(|left| left.why).collect();
        use Reason::{Excluded, Mounted, Repository, Special, TooLarge, Unreadable};
        assert_eq!(left, [Repository, Excluded, Unreadable, Excluded, Mounted, TooLarge, Special]);
        assert_eq!([decimal(-1_750_000_000), decimal(5)], ["@-1.750000000", "@0.000000005"]);
    }

    #[test]
    fn what_leads_out_or_is_cut_is_no_list() {
        let path = |path: &str| format!("r 5 77 6 644 f 0 0 1.0000000000 1.0000000000 {path}").into_bytes();
        for name in ["", ".", "..", "../x", "a/../x", "/etc/passwd", "a//b", "a/."] {
            assert!(listed(&[&path(name), b"", b"=0"]).is_err(), "{name}");
        }
        for records in [
            &[FILE][..],
            &[FILE, b""],
            &[FILE, b"", b"=137"],
            &[b"=0", FILE],
            &[b"r 5 77 6 10644 f 0 0 1.0000000000 1.0000000000 a", b"", b"=0"],
            &[b"r 5 77 6 644 x 0 0 1.0000000000 1.0000000000 a", b"", b"=0"],
            &[b"r 5 77 -6 644 f 0 0 1.0000000000 1.0000000000 a", b"", b"=0"],
            &[b"!workspace"],
        ] {
            assert!(listed(records).is_err(), "{records:?}");
        }
        assert!(listed(&[&path("a"), b"", b"=0"]).is_ok());
    }

    #[test]
    fn what_this_program_cannot_have_found_is_not_believed() {
        let scope = Scope { exclude: vec!["node_modules".to_owned()], max_file: 100 };
        let found = |kind: FileType, size, target: Option<&[u8]>| {
            let stamp = Stamp { file: (5, 7), size, mode: kind.as_raw_mode() | 0o644, owner: (0, 0), times: [1, 1] };
            Found::new(stamp, target.map(<[u8]>::to_vec))
        };
        let is_believed = |name: &[u8], found: Found| Listing::new(&scope, b"").found(name.to_vec(), found).is_ok();
        use FileType::{Directory, Fifo, RegularFile, Symlink};
        for (name, kind, size, target, expected) in [
            (&b"a/b"[..], RegularFile, 100, None, true),
            (b"a", Symlink, 1, Some(&b"/x"[..]), true),
            (b"../a", RegularFile, 1, None, false),
            (b"/a", Directory, 1, None, false),
            (b"", Directory, 1, None, false),
            (&[b'a'; 4097], Directory, 1, None, false),
            (b"a/.git", Directory, 1, None, false),
            (b"node_modules", Directory, 1, None, false),
            (b"a", RegularFile, 101, None, false),
            (b"a", Fifo, 0, None, false),
            (b"a", Symlink, 1, None, false),
            (b"a", Symlink, 1, Some(b""), false),
            (b"a", RegularFile, 1, Some(b"/x"), false),
            (b"a", RegularFile, 1, Some(b""), false),
        ] {
            assert_eq!(is_believed(name, found(kind, size, target)), expected, "{}", String::from_utf8_lossy(name));
        }
        let left = |name: &[u8]| Listing::new(&scope, b"").left(name.to_vec(), Reason::Special).is_ok();
        assert!(left(b"a/pipe") && !left(b"a/../pipe"));
        for (now, expected) in [(0, true), (1 << 60, true), (-1, false), (i128::MIN, false), (i128::MAX, false)] {
            assert_eq!(Listing::new(&scope, b"").at(now).is_ok(), expected, "{now}");
        }
    }
}
