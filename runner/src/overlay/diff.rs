//! What a view would change, for a person to see before it is applied: each path, and how the text of files differs.
//!
//! Secrets are taken out of both sides before they are compared, so that a key of several lines is known as one, and out of the result
//! again. Who shows it takes out what a terminal would act on.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;

use palisade_redact::{Redacted, Redactor};
use rustix::fs::{FileType, Mode, OFlags};
use serde::Serialize;

use super::{Overlay, OverlayError};
use crate::checkpoint::tree::{Found, Name, Reason, open_below};

/// Bytes of a file beyond which its text is not compared.
const MAX_TEXT: u64 = 1 << 20;

/// What would become of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// There is nothing now.
    Added,
    /// It has other contents, or leads elsewhere.
    Modified,
    /// It becomes something of another kind.
    Type,
    /// It has other permissions alone.
    Mode,
    /// It has another time alone.
    Time,
    /// It goes.
    Deleted,
    /// It is not known what would: this path cannot be read, or is nothing that can be applied.
    Unknown,
}

/// One path that a view would change.
#[derive(Clone, Debug, Serialize)]
pub struct Difference {
    /// The path, below the workspace.
    pub path: Redacted,
    /// What would become of it.
    pub change: Change,
    /// What kind of thing it becomes, or was: `file`, `directory`, `link`.
    pub kind: &'static str,
    /// Its permissions now and then, where they differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<[String; 2]>,
    /// How it differs, as a unified diff, or why that is not shown.
    #[serde(skip_serializing_if = "Redacted::is_empty")]
    pub text: Redacted,
}

/// Everything that a view would change in its workspace, in the order of the names.
///
/// # Errors
/// The view or the workspace cannot be read.
pub fn differences(overlay: &Overlay, redactor: &Redactor) -> Result<Vec<Difference>, OverlayError> {
    let changes = overlay.changes()?;
    if changes.is_empty() {
        return Ok(Vec::new());
    }
    let ((lower, now), upper) = (overlay.workspace()?, overlay.upper()?);
    let sides = Sides { lower, upper, redactor };
    let covered = now.found.keys().filter(|name| changes.covers(name));
    let names: BTreeSet<&Name> = covered.chain(changes.found.keys()).collect();
    let mut all: Vec<(Name, Difference)> = Vec::new();
    for name in names {
        let difference = sides.difference(name, now.found.get(name), changes.found.get(name));
        all.extend(difference.map(|difference| (name.clone(), difference)));
    }
    for left_out in &changes.left_out {
        let difference = Difference {
            path: sides.redacted(&left_out.name),
            change: Change::Unknown,
            kind: if left_out.why == Reason::Unreadable { "directory" } else { "special" },
            mode: None,
            text: redactor.text(&format!("not applied: {}", left_out.why.as_str())),
        };
        all.push((left_out.name.clone(), difference));
    }
    all.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(all.into_iter().map(|(_, difference)| difference).collect())
}

/// The files of both.
struct Sides<'a> {
    lower: OwnedFd,
    upper: OwnedFd,
    redactor: &'a Redactor,
}

impl Sides<'_> {
    fn difference(&self, name: &Name, now: Option<&Found>, then: Option<&Found>) -> Option<Difference> {
        let of = |change, found: &Found, text| Difference {
            path: self.redacted(name),
            change,
            kind: kind(found),
            mode: None,
            text,
        };
        let none = Redacted::from_static("");
        match (now, then) {
            (None, None) => None,
            (Some(now), None) => Some(of(Change::Deleted, now, self.text(name, Some(now), None))),
            (None, Some(then)) => {
                let mode = format!("{:04o}", then.stamp.permissions());
                let added = of(Change::Added, then, self.text(name, None, Some(then)));
                Some(Difference { mode: Some([String::new(), mode]), ..added })
            }
            (Some(now), Some(then)) if now.file_type() != then.file_type() => {
                Some(of(Change::Type, then, self.text(name, None, Some(then))))
            }
            (Some(now), Some(then)) => {
                let same = self.same(name, now, then);
                let (before, after) = (now.stamp.permissions(), then.stamp.permissions());
                let is_link = then.file_type() == FileType::Symlink;
                let change = match (same, before == after || is_link) {
                    (Some(true), true) if then.file_type() != FileType::RegularFile => return None,
                    (Some(true), true) if now.stamp.times.first() == then.stamp.times.first() => return None,
                    (Some(true), true) => Change::Time,
                    (Some(true), false) => Change::Mode,
                    (Some(false), _) => Change::Modified,
                    (None, _) => Change::Unknown,
                };
                let text = if change == Change::Modified { self.text(name, Some(now), Some(then)) } else { none };
                let mode = (before != after && !is_link).then(|| [format!("{before:04o}"), format!("{after:04o}")]);
                Some(Difference { mode, ..of(change, then, text) })
            }
        }
    }

    /// Whether both have the same contents, as far as that can be told.
    fn same(&self, name: &Name, now: &Found, then: &Found) -> Option<bool> {
        match then.file_type() {
            FileType::RegularFile if now.stamp.size != then.stamp.size => Some(false),
            FileType::RegularFile => {
                let (mut now, mut then) = (open(&self.lower, name)?, open(&self.upper, name)?);
                equal(&mut now, &mut then)
            }
            _ => Some(now.target == then.target),
        }
    }

    fn text(&self, name: &Name, now: Option<&Found>, then: Option<&Found>) -> Redacted {
        let sides = [(&self.lower, now), (&self.upper, then)];
        let mut texts = [String::new(), String::new()];
        for ((root, found), into) in sides.into_iter().zip(&mut texts) {
            let Some(found) = found else { continue };
            let bytes = match (found.file_type(), &found.target) {
                (_, Some(target)) => target.clone(),
                (FileType::RegularFile, None) if found.stamp.size > MAX_TEXT => {
                    return Redacted::from_static("not shown: too large");
                }
                (FileType::RegularFile, None) => match read(root, name) {
                    Some(bytes) => bytes,
                    None => return Redacted::from_static("not shown: it cannot be read"),
                },
                _ => return Redacted::from_static(""),
            };
            match String::from_utf8(bytes) {
                Ok(text) if !text.contains('\0') => *into = self.redactor.text(&text).to_string(),
                _ => return Redacted::from_static("not shown: it is no text"),
            }
        }
        let [before, after] = texts;
        let path = self.redacted(name);
        let patch = git2::Patch::from_buffers(
            before.as_bytes(),
            Some(path.as_str().as_ref()),
            after.as_bytes(),
            Some(path.as_str().as_ref()),
            None,
        );
        let whole = patch.and_then(|mut patch| patch.to_buf().map(|text| String::from_utf8_lossy(&text).into_owned()));
        // Its beginning tells git of objects that nobody has.
        let hunks = |whole: String| whole.find("@@").and_then(|at| whole.get(at..).map(str::to_owned));
        self.redactor.text(&whole.ok().and_then(hunks).unwrap_or_default())
    }

    fn redacted(&self, name: &[u8]) -> Redacted {
        self.redactor.text(&String::from_utf8_lossy(name))
    }
}

fn kind(found: &Found) -> &'static str {
    match found.file_type() {
        FileType::Directory => "directory",
        FileType::Symlink => "link",
        _ => "file",
    }
}

fn open(root: &OwnedFd, name: &Name) -> Option<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    open_below(root, name.as_slice(), flags, Mode::empty()).ok().map(File::from)
}

fn read(root: &OwnedFd, name: &Name) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = open(root, name)?.take(MAX_TEXT + 1).read_to_end(&mut bytes).ok()?;
    (read as u64 <= MAX_TEXT).then_some(bytes)
}

fn equal(one: &mut File, other: &mut File) -> Option<bool> {
    let (mut first, mut second) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        let length = one.read(&mut first).ok()?;
        let Some(same) = second.get_mut(..length) else { return Some(false) };
        if length == 0 {
            return Some(other.read(&mut second).ok()? == 0);
        }
        match other.read_exact(same) {
            Ok(()) if first.get(..length) == Some(&*same) => {}
            Ok(()) => return Some(false),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Some(false),
            Err(_) => return None,
        }
    }
}
