//! What is taken back below something that is granted: which files and directories are covered, and with what.
//!
//! Landlock takes nothing back below what it grants, and knows no names. So what policy forbids there is covered in the session's
//! view of the file system: a path that policy names, and what has a name that policy forbids (`**/.env`) when the session starts.
//!
//! The search goes through what the session can change and what it was granted, not through the installed system. It reads directories
//! breadth-first, so that shallow names are found first, and takes the kind of an entry from the directory. It is bounded, and the bounds
//! close: a directory that they leave unsearched is hidden whole, and so is one that holds too many names. Only the searched roots
//! themselves cannot be hidden; where that would be needed the search is incomplete.
//!
//! Decided here: what is covered. Not decided here: what policy says (`palisade_engine`), and how it is done (`mounts.rs`).

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use palisade_engine::{AbsolutePath, Engine, Facts, FileAction, LastNames, Permissions, Principal, Vocabulary};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, mkdirat, openat, statat};
use rustix::io::Errno;

use super::file_marks::Earlier;
use super::move_watch;
use super::plan::{Cover, Hole, Mask, Rights, rights};

/// Entries that a search for names looks at: a tree of a million is searched whole.
pub const MAX_ENTRIES: usize = 2_000_000;

/// Entries of one directory that a search looks at. One with more is hidden, so that it does not use up the search of all others.
const MAX_IN_DIRECTORY: usize = 200_000;

/// Files and directories that are covered for their names. Each costs a session's start 12 µs.
pub const MAX_NAMED: usize = 2_048;

/// Names that a search collects before it decides which directories to hide instead.
const MAX_FOUND: usize = 65_536;

/// Directories that wait to be searched.
const MAX_WAITING: usize = 500_000;

/// Questions about names that are put to policy one by one. Later ones share the answer of the first name in the same groups.
const MAX_ASKED: usize = 256;

/// Bytes that are read to tell public certificates from keys: of one file, and of all.
const MAX_CERTIFICATES: u64 = 1 << 20;
const MAX_CERTIFICATES_READ: u64 = 32 << 20;

/// Files that are looked for in their repositories. Others stay covered.
const MAX_LOOKED_UP: usize = 200;

/// Entries of a directory that is covered whole which are looked at for other names of the same file.
const MAX_LINKED: usize = 1_000;

/// What is covered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Masks {
    /// The masks, outermost first.
    pub(super) masks: Vec<Mask>,
    /// Files that are named like key material and that sessions of the same agent have written: they are not covered.
    pub(super) written: Vec<PathBuf>,
    /// Whether everything was searched for names that policy forbids, and all that was found is covered.
    pub(super) searched: bool,
    /// Directories of the masks that are not there: made empty before the session starts, so that nothing can be put in their place.
    pub(super) missing: Vec<PathBuf>,
}

/// The masks for roots of which some may do less than one above them.
///
/// # Errors
/// Such a root does not exist, so that nothing can be put on it: it may be made later.
pub(super) fn of_holes(roots: &BTreeMap<AbsolutePath, Rights>) -> Result<Vec<Mask>, Hole> {
    let mut masks = Vec::new();
    for (inner, allowed) in roots {
        let above = inner.ancestors().filter_map(|outer| roots.get(&outer).map(|granted| (outer, *granted)));
        for (outer, granted) in above {
            let Some(cover) = cover(granted, *allowed) else { continue };
            let path = PathBuf::from(inner.as_str());
            if !path.symlink_metadata().is_ok_and(|about| about.is_file() || about.is_dir()) {
                return Err(Hole { outer, inner: inner.clone() });
            }
            masks.push(Mask { path, cover });
        }
    }
    // The wider cover first: it counts for what lies deeper too.
    masks.sort();
    masks.dedup_by(|later, first| later.path == first.path);
    Ok(masks)
}

/// The masks for what has a name that policy forbids, in all that `roots` let a session change and in what it was granted by name.
pub(super) fn by_name(
    engine: &Engine,
    facts: &Facts,
    roots: &BTreeMap<AbsolutePath, Rights>,
    earlier: &Earlier,
) -> Masks {
    let vocabulary = engine.vocabulary();
    let granted = |root: &AbsolutePath| vocabulary.groups_of(root).any(|group| group.starts_with("granted-"));
    // What lies in the caches the agent's own tools have put there.
    let own = |root: &AbsolutePath| vocabulary.groups_of(root).any(|group| group == "caches");
    let searched = |root: &AbsolutePath, rights: Rights| {
        if own(root) {
            return false;
        }
        rights.contains(Rights::WRITE) || root.is_within(&facts.workspace) || granted(root)
    };
    let begin: Vec<_> = roots.iter().filter(|(root, rights)| !rights.is_empty() && searched(root, **rights)).collect();
    let mut search = Search {
        vocabulary,
        names: vocabulary.last_names(),
        earlier,
        principal: &facts.principal,
        permissions: engine.permissions(facts),
        roots,
        begun: begin.iter().map(|(root, _)| PathBuf::from(root.as_str())).collect(),
        waiting: VecDeque::new(),
        found: Vec::new(),
        holders: Vec::new(),
        repositories: HashSet::new(),
        missing: Vec::new(),
        written: Vec::new(),
        looked: 0,
        asked: 0,
        answers: HashMap::new(),
        certificates: 0,
        looked_up: Cell::new(0),
        complete: true,
    };
    for (root, rights) in begin {
        let open = PendingDirectory { place: root.as_str().into(), path: root.clone(), granted: *rights };
        search.waiting.push_back(open);
    }
    while let Some(open) = search.waiting.pop_front() {
        if search.looked >= MAX_ENTRIES || search.found.len() >= MAX_FOUND {
            search.hide(open.place);
        } else {
            search.list(open);
        }
    }
    search.cover_other_links();
    search.finish()
}

/// A directory to be searched.
struct PendingDirectory {
    place: PathBuf,
    path: AbsolutePath,
    /// What the session may do in it.
    granted: Rights,
}

struct Search<'a> {
    vocabulary: &'a Vocabulary,
    names: LastNames,
    earlier: &'a Earlier,
    principal: &'a Principal,
    permissions: Permissions<'a>,
    roots: &'a BTreeMap<AbsolutePath, Rights>,
    /// Where the search begins. Nothing of it can be hidden.
    begun: BTreeSet<PathBuf>,
    waiting: VecDeque<PendingDirectory>,
    found: Vec<Mask>,
    /// For what is read-only: the directory that its name pattern begins in.
    holders: Vec<(PathBuf, PathBuf)>,
    /// Directories that hold a `.git`.
    repositories: HashSet<PathBuf>,
    missing: Vec<PathBuf>,
    written: Vec<PathBuf>,
    looked: usize,
    asked: usize,
    /// What must stand before names of these groups, by what is granted around them and whether it is a directory.
    answers: HashMap<(Vec<String>, u8, bool), Option<Cover>>,
    certificates: u64,
    looked_up: Cell<usize>,
    complete: bool,
}

/// What became of a directory.
enum Listed {
    All,
    /// It has to go as a whole.
    Hidden,
    /// Something in it was moved meanwhile.
    Moved,
}

impl Search<'_> {
    fn list(&mut self, open: PendingDirectory) {
        move_watch::watch(&open.place);
        let directory = match open_directory(&open.place) {
            Ok(directory) => directory,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return,
            // What is not to be seen now a session may open later, if it is its own. Nothing can be put on what cannot be reached:
            // what it lies in goes as a whole.
            Err(_) => {
                let unreachable = open.place.symlink_metadata().is_err();
                let above = open.place.parent().filter(|_| unreachable).map(Path::to_owned);
                return self.found.push(Mask { path: above.unwrap_or(open.place), cover: Cover::Hidden });
            }
        };
        let (found, waiting) = (self.found.len(), self.waiting.len());
        match self.entries(&open, &directory) {
            Listed::All => {}
            Listed::Hidden => {
                self.found.truncate(found);
                self.waiting.truncate(waiting);
                self.hide(open.place);
            }
            // It may have another name by now, one that has been looked at.
            Listed::Moved => {
                self.found.truncate(found);
                self.waiting.truncate(waiting);
                self.waiting.push_back(open);
            }
        }
    }

    fn entries(&mut self, open: &PendingDirectory, directory: &OwnedFd) -> Listed {
        let is_root = self.begun.contains(&open.place);
        let most = if is_root { MAX_ENTRIES } else { MAX_IN_DIRECTORY };
        let in_git = open.place.file_name() == Some(OsStr::new(".git"));
        let (mut seen, mut hooks) = (0_usize, false);
        let mut room = [MaybeUninit::uninit(); 32 << 10];
        let mut entries = RawDir::new(directory, &mut room);
        while let Some(entry) = entries.next() {
            let Ok(entry) = entry else { return Listed::Hidden };
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            seen += 1;
            self.looked += 1;
            let flooded = self.found.len() >= MAX_FOUND;
            let cut = seen > most || self.looked > MAX_ENTRIES + MAX_IN_DIRECTORY;
            if cut || flooded {
                if !is_root {
                    return Listed::Hidden;
                }
                self.complete = false;
                if cut {
                    return Listed::All;
                }
            }
            hooks |= in_git && name == b"hooks";
            let kind = match entry.file_type() {
                FileType::Unknown => match statat(directory, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(about) => FileType::from_raw_mode(about.st_mode),
                    Err(Errno::NOENT) => return Listed::Moved,
                    Err(_) => return Listed::Hidden,
                },
                kind => kind,
            };
            let is_directory = kind == FileType::Directory;
            if kind == FileType::Symlink {
                continue;
            }
            // A name that is no text is judged by what it looks like.
            let name = OsStr::from_bytes(name);
            let text = name.to_string_lossy();
            let is_git = text == ".git";
            let named = self.names.may_fit(&text);
            if !is_directory && !named && !is_git || flooded && !self.names.is_literal(&text) {
                continue;
            }
            let Some(path) = open.path.child(&text) else { return Listed::Hidden };
            if self.roots.contains_key(&path) {
                continue;
            }
            let place = open.place.join(name);
            if is_git {
                self.repositories.insert(open.place.clone());
            }
            let length = if named { self.vocabulary.name_length(&path) } else { None };
            let mut cover = length.and_then(|_| self.cover_of(&path, open.granted, is_directory));
            // A worktree's or submodule's `.git` is a file that says where the hooks are.
            let is_of_earlier = || !is_root && self.earlier.has_repository_of(&place);
            if is_git && !is_directory && cover.is_none() && !is_of_earlier() {
                cover = self.hooks_cover(&path, open.granted);
            }
            // What an earlier session has made may be removed, but for what is the workspace's own.
            let holder = place.ancestors().nth(length.unwrap_or(1)).unwrap_or(&open.place).to_owned();
            let is_kept = self.begun.contains(&holder) && !is_of_worktree(&place, &holder);
            if cover == Some(Cover::ReadOnly) && !is_kept && self.earlier.has(&place) {
                cover = None;
            }
            if cover == Some(Cover::Hidden) && !is_directory {
                if self.earlier.has_written(self.principal, &place) {
                    self.written.push(place.clone());
                    cover = None;
                } else if self.is_public(&place) {
                    cover = None;
                }
            }
            if let Some(cover) = cover {
                match place.symlink_metadata() {
                    Ok(_) => {}
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Listed::Moved,
                    Err(_) => return Listed::Hidden,
                }
                if cover == Cover::ReadOnly {
                    self.holders.push((place.clone(), holder));
                }
                self.found.push(Mask { path: place.clone(), cover });
            }
            if is_directory && cover != Some(Cover::Hidden) {
                if self.waiting.len() >= MAX_WAITING {
                    return Listed::Hidden;
                }
                self.waiting.push_back(PendingDirectory { place, path, granted: open.granted });
            }
        }
        let is_of_root = open.place.parent().is_some_and(|above| self.begun.contains(above));
        if in_git
            && !hooks
            && (is_of_root || !self.earlier.has(&open.place.join("config")))
            && self.hooks_cover(&open.path, open.granted) == Some(Cover::ReadOnly)
        {
            let place = open.place.join("hooks");
            if let Some(holder) = open.place.parent() {
                self.holders.push((place.clone(), holder.to_owned()));
            }
            self.found.push(Mask { path: place.clone(), cover: Cover::ReadOnly });
            self.missing.push(place);
        }
        Listed::All
    }

    /// What has to stand before the hooks of a repository whose `.git` this is.
    fn hooks_cover(&mut self, git: &AbsolutePath, granted: Rights) -> Option<Cover> {
        let hooks = git.child("hooks")?;
        let cover = self.vocabulary.has_name(&hooks).then(|| self.cover_of(&hooks, granted, true)).flatten();
        cover.map(|_| Cover::ReadOnly)
    }

    fn cover_of(&mut self, path: &AbsolutePath, granted: Rights, is_directory: bool) -> Option<Cover> {
        if self.asked < MAX_ASKED {
            self.asked += 1;
            return cover(granted, allowed(&self.permissions, path, is_directory));
        }
        let groups: Vec<String> = self.vocabulary.groups_of(path).map(str::to_owned).collect();
        let key = (groups, granted.bits(), is_directory);
        if let Some(known) = self.answers.get(&key) {
            return *known;
        }
        let answer = cover(granted, allowed(&self.permissions, path, is_directory));
        self.answers.insert(key, answer);
        answer
    }

    /// A directory that is not searched. A root cannot be hidden, nor what holds one.
    fn hide(&mut self, place: PathBuf) {
        if self.holds_root(&place) {
            self.complete = false;
        } else {
            self.found.push(Mask { path: place, cover: Cover::Hidden });
        }
    }

    fn holds_root(&self, place: &Path) -> bool {
        self.begun.iter().any(|root| root.starts_with(place))
            || self.roots.keys().any(|root| Path::new(root.as_str()).starts_with(place))
    }

    /// A file that holds certificates and no key keeps nothing secret, nor does one that can be read from its repository.
    fn is_public(&mut self, place: &Path) -> bool {
        if self.certificates >= MAX_CERTIFICATES_READ {
            return false;
        }
        let (begun, permissions, looked_up) = (&self.begun, &self.permissions, &self.looked_up);
        let may_read = |objects: &Path| {
            let path = objects.to_str().and_then(AbsolutePath::new);
            looked_up.set(looked_up.get() + 1);
            looked_up.get() <= MAX_LOOKED_UP
                && begun.iter().any(|root| objects.starts_with(root))
                && path.is_some_and(|path| permissions.permits(FileAction::Read, &path))
        };
        let repositories = self.earlier.repositories();
        let (read, public) = public_content(place, &|content| repositories.has_committed(place, content, &may_read));
        self.certificates += read;
        public
    }

    /// Covers other names of the files that are covered (hard links), where the search sees them.
    fn cover_other_links(&mut self) {
        let mut linked: HashMap<(u64, u64), Cover> = HashMap::new();
        let mut covered: HashSet<PathBuf> = HashSet::new();
        let mut note = |place: PathBuf, cover: Cover| {
            let Ok(about) = place.symlink_metadata() else { return };
            if about.is_file() && about.nlink() > 1 {
                let known = linked.entry((about.dev(), about.ino())).or_insert(cover);
                *known = (*known).min(cover);
                covered.insert(place);
            }
        };
        for mask in &self.found {
            if !mask.path.is_dir() {
                note(mask.path.clone(), mask.cover);
            } else if let Ok(inside) = std::fs::read_dir(&mask.path) {
                for entry in inside.flatten().take(MAX_LINKED) {
                    note(entry.path(), mask.cover);
                }
            }
        }
        if linked.is_empty() {
            return;
        }
        let hidden: HashSet<PathBuf> = self.found.iter().map(|mask| mask.path.clone()).collect();
        let numbers: HashSet<u64> = linked.keys().map(|(_, number)| *number).collect();
        let mut open: Vec<PathBuf> = self.begun.iter().cloned().collect();
        let mut looked = 0;
        while let Some(place) = open.pop() {
            let Ok(directory) = open_directory(&place) else { continue };
            let mut room = [MaybeUninit::uninit(); 32 << 10];
            let mut entries = RawDir::new(&directory, &mut room);
            while let Some(Ok(entry)) = entries.next() {
                let name = entry.file_name().to_bytes();
                looked += 1;
                if looked > 2 * MAX_ENTRIES || self.found.len() >= MAX_FOUND {
                    self.complete = false;
                    return;
                }
                let kind = entry.file_type();
                let maybe_directory = matches!(kind, FileType::Directory | FileType::Unknown);
                let maybe_linked = numbers.contains(&entry.ino()) && kind != FileType::Directory;
                if name == b"." || name == b".." || !(maybe_directory || maybe_linked) {
                    continue;
                }
                let path = place.join(OsStr::from_bytes(name));
                if hidden.contains(&path) || covered.contains(&path) {
                    continue;
                }
                if maybe_linked
                    && let Ok(about) = path.symlink_metadata()
                    && let Some(cover) = linked.get(&(about.dev(), about.ino()))
                {
                    self.found.push(Mask { path: path.clone(), cover: *cover });
                }
                if maybe_directory {
                    open.push(path);
                }
            }
        }
    }

    fn finish(mut self) -> Masks {
        let found = std::mem::take(&mut self.found);
        let (mut masks, fits) = self.bounded(found);
        let kept: HashSet<&Path> = masks.iter().map(|mask| mask.path.as_path()).collect();
        let mut pins = BTreeSet::new();
        for (place, holder) in &self.holders {
            let is_kept = self.repositories.contains(holder) || self.begun.contains(holder);
            if !is_kept || !kept.contains(place.as_path()) {
                continue;
            }
            let Some(root) = self.begun.iter().filter(|root| place.starts_with(root)).max() else { continue };
            let above = place.ancestors().skip(1).take_while(|above| *above != root && above.starts_with(root));
            pins.extend(above.filter(|above| !kept.contains(above)).map(Path::to_owned));
        }
        self.missing.retain(|missing| kept.contains(missing.as_path()));
        masks.extend(pins.into_iter().map(|path| Mask { path, cover: Cover::Pinned }));
        masks.sort();
        Masks { masks, written: self.written, searched: self.complete && fits, missing: self.missing }
    }

    /// No more masks than a session can be given: where there are more, the smallest directory that holds enough of them is hidden
    /// whole, or the outermost ones that hold most.
    fn bounded(&self, found: Vec<Mask>) -> (Vec<Mask>, bool) {
        let mut masks = outermost(found);
        if masks.len() <= MAX_NAMED {
            return (masks, true);
        }
        // What each directory holds that can be hidden.
        let mut inside: HashMap<PathBuf, usize> = HashMap::new();
        for mask in &masks {
            for above in mask.path.ancestors().skip(1).take_while(|above| !self.holds_root(above)) {
                *inside.entry(above.to_owned()).or_default() += 1;
            }
        }
        let spare = masks.len() - MAX_NAMED;
        let depth = |path: &Path| path.components().count();
        let enough = inside.iter().filter(|(_, names)| **names > spare);
        let smallest = enough.min_by_key(|(place, names)| (**names, usize::MAX - depth(place), (*place).clone()));
        let mut hidden: Vec<PathBuf> = smallest.map(|(place, _)| place.clone()).into_iter().collect();
        if hidden.is_empty() {
            let mut outer: Vec<_> = inside
                .iter()
                .filter(|(place, _)| place.parent().is_none_or(|above| !inside.contains_key(above)))
                .collect();
            outer.sort_by(|one, other| other.1.cmp(one.1).then_with(|| one.0.cmp(other.0)));
            let mut left = masks.len();
            for (place, names) in outer {
                if left <= MAX_NAMED {
                    break;
                }
                left = left.saturating_sub(names.saturating_sub(1));
                hidden.push(place.clone());
            }
        }
        masks.extend(hidden.into_iter().map(|path| Mask { path, cover: Cover::Hidden }));
        masks = outermost(masks);
        if masks.len() <= MAX_NAMED {
            return (masks, true);
        }
        // What is named by its whole name comes first: a pattern such as `*.pem` can be made to fit anything.
        masks.sort_by_key(|mask| self.rank(mask));
        masks.truncate(MAX_NAMED);
        (outermost(masks), false)
    }

    /// Directories and read-only files, then files whose whole name a pattern says, then all others.
    fn rank(&self, mask: &Mask) -> u8 {
        let name = mask.path.file_name().map(OsStr::to_string_lossy).unwrap_or_default();
        match mask.cover {
            Cover::ReadOnly | Cover::Pinned => 0,
            _ if self.names.is_literal(&name) || mask.path.is_dir() => 1,
            Cover::Hidden | Cover::Empty => 2,
        }
    }
}

/// Whether something in a repository is a linked worktree's, which lies elsewhere and may be removed.
pub(super) fn is_of_worktree(place: &Path, holder: &Path) -> bool {
    place.strip_prefix(holder).is_ok_and(|rest| rest.starts_with(".git/worktrees"))
}

/// Without those that lie below a hidden one, each path once with the wider cover, outermost first.
fn outermost(mut masks: Vec<Mask>) -> Vec<Mask> {
    masks.sort();
    masks.dedup_by(|later, first| later.path == first.path);
    let mut kept: Vec<Mask> = Vec::with_capacity(masks.len());
    let mut hidden: Option<PathBuf> = None;
    for mask in masks {
        if hidden.as_ref().is_some_and(|hidden| mask.path.starts_with(hidden)) {
            continue;
        }
        if mask.cover == Cover::Hidden {
            hidden = Some(mask.path.clone());
        }
        kept.push(mask);
    }
    kept
}

pub(super) fn open_directory(place: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOATIME;
    match openat(CWD, place, flags, Mode::empty()) {
        // That flag is for the owner alone.
        Err(Errno::PERM) => openat(CWD, place, flags.difference(OFlags::NOATIME), Mode::empty()),
        opened => opened,
    }
}

/// Makes a directory of [`Masks::missing`]; whether nothing else can be put in its place.
pub(super) fn make(directory: &Path) -> bool {
    let (Some(above), Some(name)) = (directory.parent(), directory.file_name()) else { return false };
    let made = open_directory(above).and_then(|above| mkdirat(above, name, Mode::from_raw_mode(0o755)));
    // Where the server may not make it, a session of the same user cannot either.
    matches!(made, Ok(()) | Err(Errno::EXIST | Errno::ACCESS | Errno::PERM | Errno::ROFS))
}

/// How many bytes were read, and whether the file holds nothing secret in spite of its name: certificates or public keys and no private key,
/// npm's settings without a credential, or what `is_committed` says that its repository holds as well. Other names of the file make no
/// difference: uv links packages to its cache.
pub fn public_content(place: &Path, is_committed: &dyn Fn(&[u8]) -> bool) -> (u64, bool) {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let is_npm = place.file_name().is_some_and(|name| name == NPM_SETTINGS);
    let file = match openat(CWD, place, flags, Mode::empty()) {
        Ok(file) => file,
        Err(errno) => return (0, is_npm && errno == Errno::NOENT),
    };
    let file = File::from(file);
    if !file.metadata().is_ok_and(|about| about.is_file() && about.len() <= MAX_CERTIFICATES) {
        return (0, false);
    }
    let mut bytes = Vec::new();
    if file.take(MAX_CERTIFICATES + 1).read_to_end(&mut bytes).is_err() {
        return (0, false);
    }
    let read = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let is_whole = read <= MAX_CERTIFICATES;
    let text = String::from_utf8_lossy(&bytes);
    if is_whole && is_committed(&bytes) {
        return (read, true);
    }
    if is_npm {
        return (read, is_whole && !text.split(['\n', '\r']).any(is_npm_credential));
    }
    let mut blocks = text.lines().filter_map(|line| line.trim().strip_prefix("-----BEGIN ")?.strip_suffix("-----"));
    let mut found = 0;
    let public = blocks.all(|block| {
        found += 1;
        ["CERTIFICATE", "TRUSTED CERTIFICATE", "X509 CRL", "PUBLIC KEY"].contains(&block)
    });
    (read, public && found > 0 && is_whole && !text.contains("PRIVATE"))
}

/// The file of a project's settings for npm, which may hold a token and mostly holds none.
pub const NPM_SETTINGS: &str = ".npmrc";

/// Whether a line of npm's settings may give a credential (npmrc(5)): all but a comment and a plain setting of another name, or one whose
/// whole value is the name of a variable (`${NPM_TOKEN}`).
fn is_npm_credential(line: &str) -> bool {
    let line = line.trim();
    if line.is_empty() || line.starts_with(['#', ';']) {
        return false;
    }
    let (name, value) = line.split_once('=').unwrap_or((line, ""));
    let (name, value) = (name.trim(), value.trim());
    let is_plain = name.chars().all(|letter| letter.is_ascii_alphanumeric() || "@/_.:-[]".contains(letter));
    let last = name.rsplit(':').next().unwrap_or_default().trim_end_matches("[]").to_ascii_lowercase();
    let variable = value.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    let is_variable =
        variable.is_some_and(|name| name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_'));
    let is_credential = ["_auth", "_authtoken", "_password", "cert", "key"].contains(&last.as_str());
    // `http://name:password@host`, in the address of a proxy.
    let has_user = value.contains('@') && value.contains("//");
    !is_plain || has_user || is_credential && !is_variable
}

/// The same masks at every other path of this machine that leads to the same files, by another mount of their file system: Landlock grants
/// files, and a mask covers a path.
pub(super) fn elsewhere(masks: &[Mask]) -> std::io::Result<Vec<Mask>> {
    if masks.is_empty() {
        return Ok(Vec::new());
    }
    let mounts = std::fs::read("/proc/self/mountinfo")?;
    let mounts = Mounts::of(&String::from_utf8_lossy(&mounts));
    let identity = |path: &Path| path.symlink_metadata().map(|about| (about.dev(), about.ino()));
    let found = masks.iter().flat_map(|mask| mounts.others(&mask.path).map(move |path| (mask, path)));
    // What is mounted over may be something else, or hide it.
    let same =
        found.filter(|(mask, path)| identity(path).ok().is_some_and(|other| identity(&mask.path).ok() == Some(other)));
    Ok(same.map(|(mask, path)| Mask { path, cover: mask.cover }).collect())
}

/// What is mounted where (proc_pid_mountinfo(5)), in that order.
struct Mounts(Vec<Mounted>);

struct Mounted {
    device: String,
    /// Which part of its file system it shows.
    root: PathBuf,
    place: PathBuf,
}

impl Mounts {
    fn of(text: &str) -> Self {
        let mounted = |line: &str| {
            let mut fields = line.split(' ').skip(2);
            let (device, root, place) = (fields.next()?, fields.next()?, fields.next()?);
            Some(Mounted { device: device.to_owned(), root: unescaped(root), place: unescaped(place) })
        };
        Self(text.lines().filter_map(mounted).collect())
    }

    /// Other paths of what lies here, as far as mounts go.
    fn others(&self, path: &Path) -> impl Iterator<Item = PathBuf> {
        // The last one of those that reach furthest lies on top.
        let over = |mounted: &&Mounted| path.starts_with(&mounted.place);
        let on = self.0.iter().filter(over).max_by_key(|mounted| mounted.place.components().count());
        let inside = on.and_then(|on| Some((on, on.root.join(path.strip_prefix(&on.place).ok()?))));
        let others = inside.into_iter().flat_map(|(on, inside)| {
            let same = self.0.iter().filter(|other| other.device == on.device);
            same.filter_map(move |other| Some(other.place.join(inside.strip_prefix(&other.root).ok()?)))
        });
        others.filter(move |other| other != path)
    }
}

/// Blanks, line ends and backslashes stand there as three octal digits behind a backslash.
fn unescaped(field: &str) -> PathBuf {
    let (mut bytes, mut rest) = (Vec::new(), field.as_bytes());
    while let Some((first, behind)) = rest.split_first() {
        let digits = behind.get(..3).filter(|_| *first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = behind.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

/// What policy lets a session do with something that is there.
pub(super) fn allowed(permissions: &Permissions<'_>, path: &AbsolutePath, directory: bool) -> Rights {
    if directory {
        return rights(permissions, path);
    }
    let actions = [
        (FileAction::Read, Rights::READ),
        (FileAction::Write, Rights::WRITE),
        (FileAction::Delete, Rights::DELETE),
        (FileAction::Execute, Rights::EXECUTE),
    ];
    let permitted = actions.into_iter().filter(|(action, _)| permissions.permits(*action, path));
    permitted.fold(Rights::NONE, |sum, (_, right)| sum | right)
}

/// What has to stand before something that may do only `allowed` where `granted` holds. Nothing in between can be had: what may be
/// read and not executed is hidden.
pub(super) fn cover(granted: Rights, allowed: Rights) -> Option<Cover> {
    let lost = granted.without(allowed);
    if lost.is_empty() {
        None
    } else if lost.without(Rights::MOVE).is_empty() && allowed.contains(Rights::READ) {
        Some(Cover::ReadOnly)
    } else {
        Some(Cover::Hidden)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn other_mounts_show_the_same_files() {
        let mounts = Mounts::of(
            "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n23 22 8:2 / /home rw - ext4 /dev/sda2 rw\n\
             24 22 8:2 /ann/app /srv/a\\040b rw - ext4 /dev/sda2 rw\n25 22 8:1 /home /srv/old rw - ext4 /dev/sda1 rw\n\
             26 22 8:2 /ann/app/sub /srv/sub ro - ext4 /dev/sda2 rw\n27 22 0:9 / /home/bob rw - tmpfs tmpfs rw\n",
        );
        let rows = [
            ("/home/ann/app/.env", vec!["/srv/a b/.env"]),
            ("/home/ann/app/sub/.env", vec!["/srv/a b/sub/.env", "/srv/sub/.env"]),
            ("/srv/sub/.env", vec!["/home/ann/app/sub/.env", "/srv/a b/sub/.env"]),
            ("/home/ann/.env", vec![]),
            ("/home/bob/.env", vec![]),
            ("/etc/shadow", vec![]),
            ("/srv/old/x", vec!["/home/x"]), // which lies below what is mounted there: another file
        ];
        for (path, others) in rows {
            let found: Vec<_> = mounts.others(Path::new(path)).collect();
            assert_eq!(found, others.iter().map(PathBuf::from).collect::<Vec<_>>(), "{path}");
        }
    }

    #[test]
    fn settings_of_npm_are_secret_where_they_give_a_credential() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join(NPM_SETTINGS);
        assert!(public_content(&place, &|_| false).1, "what is not there");
        for (text, public) in [
            ("", true),
            ("registry=https://registry.example.com/\nsave-exact = true\n@x:registry=https://r.example.com\n", true),
            ("//r.example.com/:_authToken=${NPM_TOKEN}\nemail=a@example.com\n", true),
            ("//r.example.com/:_authToken=abc\n", false),
            ("//r.example.com/:_authToken = \"${A}${B}\"\n", false),
            ("_auth=abc\n", false),
            ("//r.example.com/:_PASSWORD=abc\n", false),
            ("key=\"-----BEGIN\"\n", false),
            ("https-proxy=http://user:abc@proxy.example.com:8080/\n", false),
            ("\"//r.example.com/:_authToken\"=abc\n", false),
            ("//r.example.com/:_authToken=${NPM_TOKEN:-abc}\n", false),
            ("x=y\r//r.example.com/:_authToken=abc\n", false),
            ("; a comment\n# _auth=\n", true),
        ] {
            std::fs::write(&place, text).unwrap();
            assert_eq!(public_content(&place, &|_| false).1, public, "{text}");
        }
        std::fs::write(directory.path().join("x.pem"), "registry=x\n").unwrap();
        assert!(!public_content(&directory.path().join("x.pem"), &|_| false).1);
    }

    #[test]
    fn certificates_are_public_under_each_of_their_names() {
        let directory = tempfile::tempdir().unwrap();
        let (place, cached) = (directory.path().join("cacert.pem"), directory.path().join("cached"));
        let block = |kind: &str| format!("-----BEGIN {kind}-----\nTUlJ\n-----END {kind}-----\n");
        for (kind, public) in [("CERTIFICATE", true), ("PRIVATE KEY", false)] {
            std::fs::write(&cached, block(kind)).unwrap();
            let _ = std::fs::remove_file(&place);
            std::fs::hard_link(&cached, &place).unwrap();
            assert_eq!(public_content(&place, &|_| false).1, public, "{kind}");
        }
    }

    #[test]
    fn a_cover_leaves_no_more_than_policy_does() {
        let all = Rights::READ | Rights::MOVE | Rights::EXECUTE;
        let read = Rights::READ;
        for (granted, allowed, expected) in [
            (all, all, None),
            (read, all, None),
            (all, read | Rights::EXECUTE, Some(Cover::ReadOnly)),
            (read | Rights::MOVE, read, Some(Cover::ReadOnly)),
            (read | Rights::MOVE, read | Rights::WRITE, Some(Cover::ReadOnly)),
            (all, read | Rights::MOVE, Some(Cover::Hidden)),
            (all, Rights::MOVE, Some(Cover::Hidden)),
            (all, Rights::NONE, Some(Cover::Hidden)),
            (read, Rights::NONE, Some(Cover::Hidden)),
        ] {
            assert_eq!(cover(granted, allowed), expected, "{granted} {allowed}");
        }
    }
}
