//! What policy forbids by name in one session, for files that appear while it lives.
//!
//! A session's masks stand on what is there when it starts. What appears later comes from outside, or from a program of the session. The
//! latter says so: the exec guard hears of each call that makes a name (`guard.rs`) and announces it here. So a new file under a name
//! that policy forbids is the session's own if it was announced, and is covered otherwise (`keeper.rs`).
//!
//! What is renamed or linked is the session's own only if it is the same file. A file that is new has nothing by which to tell it: a
//! program can announce it by a call that fails, and what a person makes under that name within [`SOON`] is then taken for the session's.
//!
//! What some other program runs later (`.git/hooks/pre-commit`, `.mcp.json`, `.envrc`, an editor's tasks) is not made at all: the call
//! fails, in the top directory of the workspace and of what was granted for writing, in repositories that were there when the session
//! started, and in each `.git`. It fails too where something lies under that name which no mask covers: whoever made that came by a detour.
//!
//! Decided here: what becomes of a new name. Not decided here: what policy says (`palisade_engine`).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::ffi::CString;
use std::fmt;
use std::fs::Metadata;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use palisade_engine::{AbsolutePath, Engine, Facts, FileAction, LastNames, Scratch};

use super::enforce::{self, LiveView};
use super::file_marks::Earlier;
use super::masks;
use super::new_places::NewPlaces;
use super::own_settings::Store;
use super::plan::{ACTIONS, Cover, Rights, SandboxPlan};
use super::repositories::{Difference, Repositories, is_named};
use super::seccomp::Made;

/// How long a call that was announced may take to make its name.
const SOON: Duration = Duration::from_secs(2);

/// Names that are remembered at a time.
const MAX_ANNOUNCED: usize = 4_096;

/// Calls that are remembered of one name: a program that renames again and again is at most one call ahead of what can be seen.
const MAX_CALLS: usize = 16;

/// How many files of the session's own are remembered. The watch covers a file that does not fit in here when it sees it again.
const MAX_OWN: usize = 65_536;

/// Something other than an execution that a program of a session tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// Making or changing this file, by these policies.
    File(PathBuf, String),
    /// The same for a hook of a repository, where sessions can have hooks of their own.
    Hook(PathBuf, String),
    /// Connecting to this socket file.
    Socket(PathBuf),
    /// Connecting to this address, which is outside of the session's own network.
    Peer(SocketAddr),
    /// It was done for sessions alone: git has set something in a repository that a person's git does not see.
    Settings,
}

/// Passes on what a program was kept from.
pub type Teller = Box<dyn Fn(Attempt) + Send + Sync>;

/// Directories of sockets at which the C library looks up hosts, users and groups (nscd(8), nss-systemd(8), nss-resolve(8)). Most programs
/// try one of them, and go on without it. Results do not report these refusals.
const LOOKUPS: [&str; 6] = [
    "/run/nscd",
    "/run/systemd/resolve",
    "/run/systemd/userdb",
    "/var/run/nscd",
    "/var/run/systemd/resolve",
    "/var/run/systemd/userdb",
];

/// What policy forbids by name in one session, and what is known of files of such names.
pub struct Names {
    engine: Arc<Engine>,
    facts: Facts,
    last: LastNames,
    rules: BTreeMap<AbsolutePath, Rights>,
    tell: Teller,
    earlier: Earlier,
    beyond: Beyond,
    /// Where settings are kept that sessions alone see; none where own code may not run.
    own_settings: Option<Store>,
    view: OnceLock<Arc<LiveView>>,
    state: Mutex<NamesState>,
}

/// What a person's yes has opened to a session's command beyond what policy gives.
#[derive(Debug, Default)]
pub struct Beyond {
    /// The places.
    pub opened: BTreeSet<AbsolutePath>,
    /// Those of them that were made for it.
    pub new: Option<Arc<NewPlaces>>,
}

#[derive(Default)]
struct NamesState {
    /// What is covered, or was when something of that name was there.
    masked: HashMap<PathBuf, Cover>,
    announced: HashMap<PathBuf, Announced>,
    /// Files of such names that the session has made, where they were last seen.
    own: HashMap<PathBuf, OwnFile>,
    /// Settings of repositories in the place of which the session sees others.
    stood_for: HashSet<PathBuf>,
    /// Files that were covered when they appeared, with nothing in them as a rule, and the state in which they were looked at last.
    appeared: HashMap<PathBuf, Option<(i64, i64)>>,
    /// Files of these that hold nothing secret after all, in the state in which they were seen.
    public: HashMap<PathBuf, (i64, i64)>,
}

/// The calls by which a session gives something this name, whose file has not been seen yet, oldest first.
#[derive(Debug, Default)]
struct Announced(VecDeque<AnnouncedCall>);

#[derive(Debug)]
struct AnnouncedCall {
    at: Instant,
    /// The file or directory that the call renames or links. If the call fails, something else has this name, or nothing.
    moved: Option<FileId>,
    /// The machine's time of the call, to tell what a directory held when it was renamed from what was made in it later.
    when: SystemTime,
}

/// A file that sessions have made.
#[derive(Clone, Copy, Debug)]
struct OwnFile {
    file: FileId,
    /// It is named like key material. The session loses it if it changes while no command of the session runs.
    is_secret: bool,
    /// When it was last changed (ctime), as the last command left it; none while a command runs.
    left: Option<(i64, i64)>,
}

impl OwnFile {
    fn of(file: FileId, cover: Cover) -> Self {
        Self { file, is_secret: cover == Cover::Hidden, left: None }
    }

    /// Whether this is still what the session has made.
    fn is_it(&self, about: &Metadata) -> bool {
        FileId::of(about) == self.file && self.left.is_none_or(|left| left == changed(about))
    }
}

/// When a file was last changed, in whatever way: seconds and nanoseconds, which no program can set.
fn changed(about: &Metadata) -> (i64, i64) {
    (about.ctime(), about.ctime_nsec())
}

/// Whether a file has stayed as it is for so long that its writer has finished.
fn is_quiet(about: &Metadata) -> bool {
    let when =
        u64::try_from(about.ctime()).ok().map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds + 1));
    when.and_then(|when| SystemTime::now().duration_since(when).ok()).is_some_and(|quiet| quiet >= SOON)
}

/// One file for good: a number that is given out again comes with another time of birth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileId {
    device: u64,
    number: u64,
    born: Option<SystemTime>,
}

impl FileId {
    fn at(place: &Path) -> io::Result<Self> {
        Ok(Self::of(&place.symlink_metadata()?))
    }

    fn of(about: &Metadata) -> Self {
        Self { device: about.dev(), number: about.ino(), born: about.created().ok() }
    }
}

/// What is there and gets another name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RenameSource {
    file: FileId,
    is_directory: bool,
}

impl RenameSource {
    /// What this descriptor stands for.
    ///
    /// # Errors
    /// If it cannot be looked at.
    pub(super) fn of(file: &OwnedFd) -> io::Result<Self> {
        let about = std::fs::metadata(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
        Ok(Self { file: FileId::of(&about), is_directory: about.is_dir() })
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Names").field("rules", &self.rules.len()).finish_non_exhaustive()
    }
}

impl AnnouncedCall {
    fn is_recent(&self) -> bool {
        self.at.elapsed() < SOON
    }
}

impl Announced {
    fn add(&mut self, moved: Option<FileId>) {
        self.0.retain(AnnouncedCall::is_recent);
        if self.0.len() >= MAX_CALLS {
            self.0.pop_front();
        }
        self.0.push_back(AnnouncedCall { at: Instant::now(), moved, when: SystemTime::now() });
    }

    fn is_recent(&self) -> bool {
        self.0.iter().any(AnnouncedCall::is_recent)
    }

    /// Whether a file lay in this directory when a call gave the directory its name.
    fn held(&self, directory: &Path, file: Option<&FileId>) -> bool {
        let Some(born) = file.and_then(|file| file.born) else { return false };
        let mut moves =
            self.0.iter().filter(|call| call.is_recent() && born <= call.when).filter_map(|call| call.moved);
        moves.any(|moved| FileId::at(directory).is_ok_and(|found| found == moved))
    }

    /// This file has appeared there. Whether one of the calls has made it: not always the last, which may have been announced and has
    /// not happened yet.
    fn is_seen(&mut self, file: Option<&FileId>) -> bool {
        self.0.retain(AnnouncedCall::is_recent);
        let renamed = self.0.iter().position(|call| call.moved.is_some() && call.moved.as_ref() == file);
        let made = || self.0.iter().position(|call| call.moved.is_none());
        let call = renamed.or_else(made);
        call.and_then(|call| self.0.remove(call)).is_some()
    }
}

/// Whether nothing has this name. What cannot be looked at may be there.
fn is_gone(place: &Path) -> bool {
    place.symlink_metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

/// Whether git itself makes this: the settings of a new repository, `commondir` of a new worktree, and what a new submodule has in
/// `.git/modules` but for hooks that run. `named`: what policy speaks of, `rest` is its path from the directory of the repository; `place`
/// is that or lies in it.
fn is_of_git(place: &Path, named: &Path, rest: &Path, kind: Made) -> bool {
    // A mask holds the file of a worktree that was there before.
    let of_worktree = rest.starts_with(".git/worktrees") && rest.ends_with("commondir") && kind == Made::File;
    if rest == Path::new(".git/config") || of_worktree {
        return true;
    }
    rest.starts_with(".git/modules")
        && match rest.file_name().and_then(|name| name.to_str()) {
            Some("config") => true,
            Some("hooks") if named == place => kind == Made::Directory,
            Some("hooks") => is_no_hook(place, named),
            _ => false,
        }
}

/// Whether git runs nothing by this name in a directory of hooks: a sample, or a name with a dot before it, by which rsync(1) makes one.
fn is_no_hook(place: &Path, hooks: &Path) -> bool {
    let is_hidden = || {
        place.parent() == Some(hooks) && place.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
    };
    place != hooks && (place.extension().is_some_and(|extension| extension == "sample") || is_hidden())
}

/// What is to be done about a name that a call is about to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Making {
    Goes,
    Refused,
}

impl Names {
    /// Of a session under this plan, which was opened so much.
    pub fn of(
        engine: Arc<Engine>,
        mut facts: Facts,
        plan: &SandboxPlan,
        earlier: Earlier,
        beyond: Beyond,
        tell: Teller,
    ) -> Self {
        // What the first script may open is for that script: what these files hold counts here.
        facts.public.clear();
        let rules = plan.rules.iter().filter(|rule| !rule.rights.is_empty());
        let rules = rules.filter_map(|rule| Some((AbsolutePath::new(rule.path.to_str()?)?, rule.rights))).collect();
        let plainly = |cover: Cover| if cover.hides() { Cover::Hidden } else { cover };
        let masked = plan.masks.iter().map(|mask| (mask.path.clone(), plainly(mask.cover))).collect();
        let written = plan.written.iter().filter_map(|place| Some((place.clone(), FileId::at(place).ok()?)));
        let own = written.map(|(place, file)| (place, OwnFile::of(file, Cover::Hidden))).collect();
        let state = Mutex::new(NamesState { masked, own, ..NamesState::default() });
        let own_settings = earlier.own_settings().filter(|_| engine.is_no_gain(&facts));
        let last = engine.vocabulary().last_names();
        Self { last, engine, facts, rules, tell, earlier, beyond, own_settings, view: OnceLock::new(), state }
    }

    /// Where names count: what the session can change, and what was granted to it, but for its own directory.
    pub(super) fn roots(&self) -> Vec<PathBuf> {
        let own = |root: &AbsolutePath| self.facts.temp.as_ref().is_some_and(|temp| root.is_within(temp));
        let roots = self.rules.iter().filter(|(root, rights)| self.counts(root, **rights) && !own(root));
        roots.map(|(root, _)| PathBuf::from(root.as_str())).collect()
    }

    fn counts(&self, root: &AbsolutePath, rights: Rights) -> bool {
        let granted = |group: &str| group.starts_with("granted-");
        rights.contains(Rights::WRITE)
            || root.is_within(&self.facts.workspace)
            || self.engine.vocabulary().groups_of(root).any(granted)
    }

    /// Whether some rule may be about files of this name.
    pub(super) fn may_fit(&self, name: &str) -> bool {
        self.last.may_fit(name)
    }

    /// Whether a mask stands on this path, or stood there.
    pub(super) fn is_masked(&self, place: &Path) -> bool {
        self.state().masked.contains_key(place)
    }

    /// The files of variables that are covered. Programs find them empty.
    pub(super) fn empty_files(&self) -> Vec<PathBuf> {
        let state = self.state();
        let hidden = state.masked.iter().filter(|(_, cover)| **cover == Cover::Hidden).map(|(place, _)| place);
        let is_empty = |place: &&PathBuf| Cover::Hidden.at(place, self.repositories()) == Cover::Empty;
        let mut files: Vec<PathBuf> = hidden.filter(is_empty).cloned().collect();
        files.sort();
        files
    }

    /// What has to stand before this path.
    fn cover(&self, path: &AbsolutePath, is_directory: bool) -> Option<Cover> {
        if !self.last.may_fit(path.name()) || !self.engine.vocabulary().has_name(path) {
            return None;
        }
        let around = path.ancestors().find_map(|above| self.rules.get(&above).map(|rights| (above, *rights)));
        let (root, granted) = around.filter(|(root, rights)| self.counts(root, *rights))?;
        let allowed = masks::allowed(&self.engine.permissions(&self.facts), path, is_directory);
        let opened = if self.beyond.opened.contains(&root) { self.opened(path) } else { Rights::NONE };
        masks::cover(granted, allowed | opened)
    }

    /// What a yes to the place around it has opened of a path: all but what other policies forbid there than beside it.
    fn opened(&self, path: &AbsolutePath) -> Rights {
        let permissions = self.engine.permissions(&self.facts);
        // A name that no pattern is made for.
        let Some(beside) = path.parent().and_then(|above| above.child("palisade-probe")) else { return Rights::NONE };
        let is_opened = |action| {
            let [here, there] = [path, &beside].map(|path| permissions.because(action, path).1);
            here.iter().all(|policy| there.contains(policy))
        };
        let rights = ACTIONS.into_iter().filter(|(action, _)| is_opened(*action));
        rights.fold(Rights::NONE, |sum, (_, right)| sum | right)
    }

    /// What has to be put on a path that has appeared; none if it is the session's own. `replaced`: a file that was covered there may
    /// have been replaced, and its mask with it.
    pub(super) fn needs(&self, place: &Path, is_directory: bool, replaced: bool) -> Option<Cover> {
        if let Some(known) = self.state().masked.get(place) {
            return replaced.then_some(*known);
        }
        let path = AbsolutePath::new(&place.to_string_lossy())?;
        let cover = self.cover(&path, is_directory)?;
        let mut state = self.state();
        let is_hidden = |above: &Path| state.masked.get(above) == Some(&Cover::Hidden);
        if place.ancestors().skip(1).any(is_hidden) {
            return None;
        }
        // The same file is seen more than once: when it is made, and when its directory is looked through.
        let file = match FileId::at(place) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(_) => None,
        };
        if file.is_some() && state.own.get(place).map(|own| own.file) == file {
            return None;
        }
        let own = cover == Cover::ReadOnly && !self.is_of_root(&path) && self.earlier.has(place);
        let own = own || state.announced.get_mut(place).is_some_and(|it| it.is_seen(file.as_ref()));
        let moved = |above: &Path| state.announced.get(above).is_some_and(|it| it.held(above, file.as_ref()));
        if own || place.ancestors().skip(1).any(moved) {
            if state.own.len() >= MAX_OWN {
                state.own.retain(|place, own| FileId::at(place).is_ok_and(|found| found == own.file));
            }
            if state.own.len() < MAX_OWN
                && let Some(file) = file
            {
                state.own.insert(place.to_owned(), OwnFile::of(file, cover));
            }
            return None;
        }
        if cover == Cover::Hidden && !is_directory && self.is_public(place) {
            return None;
        }
        if cover == Cover::Hidden && !is_directory && state.appeared.len() < MAX_OWN {
            state.appeared.insert(place.to_owned(), None);
        }
        state.masked.insert(place.to_owned(), cover);
        Some(cover)
    }

    /// The files that were covered when they appeared, and hold nothing secret: certificates that a person installs beside the session
    /// (`certifi/cacert.pem`). Files that changed a moment ago may still be written, and wait. The caller takes the masks off.
    pub(super) fn public_ones(&self) -> Vec<PathBuf> {
        let mut state = self.state();
        let NamesState { masked, appeared, public, .. } = &mut *state;
        let mut found = Vec::new();
        appeared.retain(|place, looked| {
            let Ok(about) = place.symlink_metadata() else { return masked.contains_key(place) };
            let now = Some(changed(&about));
            if !is_quiet(&about) || *looked == now {
                return true;
            }
            *looked = now;
            let is_public =
                self.is_public(place) && place.symlink_metadata().is_ok_and(|after| Some(changed(&after)) == now);
            if is_public && masked.get(place) == Some(&Cover::Hidden) {
                masked.remove(place);
                public.insert(place.clone(), changed(&about));
                found.push(place.clone());
            }
            !is_public
        });
        found
    }

    /// Those of the files that were uncovered that have been changed since, and may hold a secret now: the caller covers them.
    fn public_no_more(&self) -> Vec<(PathBuf, Cover)> {
        let mut state = self.state();
        let NamesState { masked, appeared, public, .. } = &mut *state;
        let mut covered = Vec::new();
        public.retain(|place, seen| {
            let same = match place.symlink_metadata() {
                Ok(about) => changed(&about) == *seen,
                Err(error) => error.kind() == ErrorKind::NotFound,
            };
            if !same {
                masked.insert(place.clone(), Cover::Hidden);
                appeared.insert(place.clone(), None);
                covered.push((place.clone(), Cover::Hidden));
            }
            same
        });
        covered
    }

    /// Whether a file of such a name holds nothing secret. npm may write a token into its settings later, and the watch does not see writes.
    fn is_public(&self, place: &Path) -> bool {
        !place.ends_with(masks::NPM_SETTINGS)
            && masks::public_content(place, &|content| self.is_committed(place, content)).1
    }

    /// Whether a name that policy forbids is at the top of what a person works in.
    fn is_of_root(&self, path: &AbsolutePath) -> bool {
        let length = self.engine.vocabulary().name_length(path).and_then(|length| length.checked_sub(1));
        let holder = length.and_then(|length| path.ancestors().nth(length));
        holder.is_none_or(|holder| {
            let (place, holder) = (Path::new(path.as_str()), Path::new(holder.as_str()));
            self.is_root(holder) && !masks::is_of_worktree(place, holder)
        })
    }

    /// Checks the files that the session was about to make. Returns those that another program made: the caller covers them.
    fn look_at_announced(&self) -> Vec<(PathBuf, Cover)> {
        let announced: Vec<PathBuf> = self.state().announced.keys().cloned().collect();
        let needed = announced.into_iter().filter_map(|place| {
            let cover = self.needs(&place, place.symlink_metadata().ok()?.is_dir(), false)?;
            Some((place, cover))
        });
        needed.collect()
    }

    /// Records the state of the session's own files at the end of a command. Until the next command only others can change them.
    /// Returns new files that are not the session's own: the caller covers them.
    pub(super) fn settle(&self) -> Vec<(PathBuf, Cover)> {
        let needed = self.look_at_announced();
        for (place, own) in self.state().own.iter_mut().filter(|(_, own)| own.is_secret && own.left.is_none()) {
            own.left = place.symlink_metadata().ok().filter(|about| own.is_it(about)).map(|about| changed(&about));
        }
        needed
    }

    /// Compares the session's own files with the recorded state before a command begins. Returns the files that others have changed: the
    /// caller covers them.
    pub(super) fn taken_over(&self) -> Vec<(PathBuf, Cover)> {
        let mut taken = self.public_no_more();
        let mut state = self.state();
        let NamesState { own, masked, .. } = &mut *state;
        own.retain(|place, own| {
            let is_it = own.left.is_none()
                || match place.symlink_metadata() {
                    Ok(about) => own.is_it(&about),
                    Err(error) => error.kind() == ErrorKind::NotFound,
                };
            own.left = None;
            if !is_it {
                masked.insert(place.clone(), Cover::Hidden);
                taken.push((place.clone(), Cover::Hidden));
            }
            is_it
        });
        taken
    }

    /// The session ends: the next ones leave alone what it has made, and may remove it.
    pub(super) fn leave_marks(&self) {
        let _none_is_left_to_cover_them_in = self.look_at_announced();
        let own: Vec<(PathBuf, OwnFile)> = self.state().own.iter().map(|(place, own)| (place.clone(), *own)).collect();
        let cover = |place: &Path| {
            let path = AbsolutePath::new(&place.to_string_lossy());
            path.and_then(|path| self.cover(&path, place.is_dir()))
        };
        let (read_only, others): (Vec<_>, Vec<_>) =
            own.into_iter().partition(|(place, _)| cover(place) == Some(Cover::ReadOnly));
        let written = others.into_iter().filter(|(place, own)| own.is_secret && cover(place) == Some(Cover::Hidden));
        let is_it = |own: &OwnFile, about: &Metadata| own.is_it(about);
        let marked = self.earlier.add(read_only.into_iter(), is_it);
        if let Err(error) = marked.and(self.earlier.add_written(&self.facts.principal, written, is_it)) {
            tracing::warn!(%error, "what a session has made is not remembered: later ones cannot read or remove all of it");
        }
    }

    /// Whether a session has given a setting in this file this value.
    pub(super) fn has_set(&self, file: &Path, name: &str, value: &str) -> bool {
        self.earlier.has_set(file, name, value)
    }

    /// Where settings are kept that sessions alone see, if this session may have some.
    pub(super) fn own_settings(&self) -> Option<&Store> {
        self.own_settings.as_ref().filter(|_| self.view.get().is_some())
    }

    /// Whether the session sees what sessions have set for themselves in the repository with this file of settings.
    pub(super) fn sees_own_settings(&self, place: &Path) -> bool {
        self.state().stood_for.contains(place)
    }

    /// The session has this view of the file system from now on, in which it sees what sessions have set for themselves.
    pub(super) fn has_view(&self, view: &Arc<LiveView>) {
        if self.view.set(Arc::clone(view)).is_ok() {
            self.show_new_settings();
        }
    }

    /// Shows what sessions, this or others, and people have set in repositories since the last command.
    pub(super) fn show_new_settings(&self) {
        let Some(store) = self.own_settings() else { return };
        let state = self.state();
        let masked = state.masked.keys().filter(|place| is_named(place));
        let (stood_for, others): (Vec<_>, Vec<_>) = masked.cloned().partition(|place| state.stood_for.contains(place));
        drop(state);
        for place in stood_for {
            let _the_same_file = self.repositories().shown(store, &place, true);
        }
        for place in others {
            let _whether_there_are_any = self.shows_settings(&place);
        }
    }

    /// Shows what sessions have set for themselves in the repository with this file of settings. Returns whether that stands in the place
    /// of the file now; never for another path.
    pub(super) fn shows_settings(&self, place: &Path) -> bool {
        let Some(store) = self.own_settings().filter(|_| is_named(place)) else { return false };
        // The earlier view counts until the new one stands: git may be writing what it has read there.
        let stood = self.sees_own_settings(place);
        let stands = match self.repositories().shown(store, place, stood).map(|name| self.stand_in(place, name)) {
            Some(Ok(())) => true,
            Some(Err(error)) => {
                tracing::warn!(%error, place = %place.display(), "a session does not see what it has set in a repository");
                false
            }
            None => false,
        };
        if !stands {
            self.state().stood_for.remove(place);
        }
        stands
    }

    /// Puts a file of the store in the place of a repository's settings, as far as the session sees.
    ///
    /// # Errors
    /// It cannot be put there.
    pub(super) fn stand_in(&self, place: &Path, name: String) -> io::Result<()> {
        let view = self.view.get().ok_or(ErrorKind::NotFound)?;
        let path = CString::new(place.as_os_str().as_bytes())?;
        enforce::stand_in(view, vec![(path, CString::new(name)?)]).map_err(io::Error::other)?;
        self.state().stood_for.insert(place.to_owned());
        Ok(())
    }

    /// git has changed these in this file.
    pub(super) fn note_settings(&self, file: &Path, Difference { set, unset }: &Difference) {
        if let Err(error) = self.earlier.add_settings(file, set, unset) {
            tracing::warn!(%error, "what git has set is not remembered: later commands cannot take it back");
        }
    }

    /// Whether a session may read what lies there.
    fn may_read(&self, place: &Path) -> bool {
        let path = place.to_str().and_then(AbsolutePath::new);
        self.root_of(place).is_some()
            && path.is_some_and(|path| self.engine.permissions(&self.facts).permits(FileAction::Read, &path))
    }

    /// Whether the repository around a file holds this content as well, where the session may read that.
    fn is_committed(&self, place: &Path, content: &[u8]) -> bool {
        self.repositories().has_committed(place, content, &|objects| self.may_read(objects))
    }

    /// What reads repositories.
    pub(super) fn repositories(&self) -> &dyn Repositories {
        self.earlier.repositories()
    }

    /// Whether the session has made this file, which has a name that policy forbids.
    pub(super) fn is_own(&self, place: &Path) -> bool {
        self.state().own.get(place).is_some_and(|own| place.symlink_metadata().is_ok_and(|about| own.is_it(&about)))
    }

    /// Whether a mask keeps what is there from being changed.
    pub(super) fn is_kept(&self, place: &Path) -> bool {
        self.state().masked.get(place) == Some(&Cover::ReadOnly) && !is_gone(place)
    }

    /// Tells that what is there was not changed, and why.
    pub(super) fn tell_kept(&self, place: &Path) {
        let path = AbsolutePath::new(&place.to_string_lossy());
        let because = path.map(|path| self.engine.permissions(&self.facts).because(FileAction::Write, &path).1);
        (self.tell)(self.kept(place, because.unwrap_or_default().join(", ")));
    }

    /// A program was kept from making or changing this file, by these policies.
    fn kept(&self, place: &Path, policies: String) -> Attempt {
        let is_hook = place.ancestors().any(|above| above.ends_with(".git/hooks"));
        let kept = if is_hook && self.own_settings().is_some() { Attempt::Hook } else { Attempt::File };
        kept(place.to_owned(), policies)
    }

    /// Tells that git has set something that sessions alone see.
    pub(super) fn tell_settings(&self) {
        (self.tell)(Attempt::Settings);
    }

    /// Tells that a program may not connect to this socket file.
    pub(super) fn tell_socket(&self, place: &Path) {
        if !LOOKUPS.iter().any(|lookups| place.starts_with(lookups)) {
            (self.tell)(Attempt::Socket(place.to_owned()));
        }
    }

    /// Tells that the session's network does not reach this address.
    pub(super) fn tell_peer(&self, address: SocketAddr) {
        (self.tell)(Attempt::Peer(address));
    }

    /// Whether programs may connect to this socket file (device and number) at this place: where they may write. What the server finds
    /// at the same place in its own view lies in no directory of which the session has its own.
    pub(super) fn may_connect(&self, place: &Path, file: (u64, u64)) -> bool {
        let Some(path) = AbsolutePath::new(&place.to_string_lossy()) else { return false };
        let is_machines = || place.symlink_metadata().is_ok_and(|about| (about.dev(), about.ino()) == file);
        let in_temp = || self.facts.temp.as_ref().is_some_and(|temp| path.is_within(temp));
        let around = path.ancestors().find_map(|above| self.rules.get(&above));
        in_temp()
            || self.facts.scratch.holds(&path) && !is_machines()
            || around.is_some_and(|rights| rights.contains(Rights::WRITE))
    }

    /// All that is covered, outermost first.
    pub(super) fn masked(&self) -> Vec<(PathBuf, Cover)> {
        let mut masked: Vec<_> = self.state().masked.iter().map(|(place, cover)| (place.clone(), *cover)).collect();
        masked.sort();
        masked
    }

    /// A program of the session is about to give this name to something new, or to what is there.
    pub(super) fn making(&self, place: &Path, kind: Made, source: Option<&RenameSource>) -> Making {
        let is_there = place.symlink_metadata().is_ok();
        let is_directory = source.is_some_and(|source| source.is_directory);
        let refused = || self.runs_later(place, kind).or_else(|| self.holds_what_runs_later(place, kind, is_directory));
        // A call that makes nothing new goes on: `mkdir` fails where a directory is, and a file that is covered is opened through its mask.
        // Whatever else is there came by a detour (the top of this file), or its mask is still on the way.
        let makes_nothing = is_there
            && match kind {
                Made::Directory => true,
                Made::File => self.is_masked(place),
                Made::Moved | Made::Linked | Made::Other => false,
            };
        if !makes_nothing && let Some(policies) = refused() {
            (self.tell)(self.kept(place, policies));
            return Making::Refused;
        }
        if is_gone(place) {
            // What a cover stood on is gone with all that it held: another session has removed what it had made. What comes now is new.
            let mut state = self.state();
            if matches!(state.masked.get(place), Some(Cover::ReadOnly | Cover::Pinned)) {
                state.masked.remove(place);
            }
        }
        let fits = place.file_name().is_some_and(|name| self.may_fit(&name.to_string_lossy()));
        if (fits && !is_there) || kind == Made::Moved {
            let mut state = self.state();
            if state.announced.len() >= MAX_ANNOUNCED {
                state.announced.retain(|_, announced| announced.is_recent());
            }
            let has_room = state.announced.len() < MAX_ANNOUNCED;
            if has_room || state.announced.contains_key(place) {
                state.announced.entry(place.to_owned()).or_default().add(source.map(|source| source.file));
            }
        }
        Making::Goes
    }

    /// The outermost directory around a place in which names count, as [`Self::roots`] lists them; none if there is no such directory.
    fn root_of(&self, place: &Path) -> Option<PathBuf> {
        let path = AbsolutePath::new(&place.to_string_lossy())?;
        let own = |root: &AbsolutePath| self.facts.temp.as_ref().is_some_and(|temp| root.is_within(temp));
        let around = path
            .ancestors()
            .filter(|above| self.rules.get(above).is_some_and(|rights| self.counts(above, *rights)) && !own(above));
        around.last().map(|root| PathBuf::from(root.as_str()))
    }

    /// As the function of this name, for the directories of this session.
    pub(super) fn is_beyond(&self, place: &Path) -> bool {
        is_beyond(&self.facts.scratch, place)
    }

    /// The places that were made for this session's command, if this call makes one of them.
    pub(super) fn made_for_it(&self, place: &Path, kind: Made) -> Option<&NewPlaces> {
        let new = self.beyond.new.as_deref()?;
        if kind == Made::File {
            new.touch(place);
        }
        new.may_take(place, kind).then_some(new)
    }

    /// Whether a person may work in this directory as the top of something: the workspace, and what was granted. A repository that git is
    /// about to make is no such directory.
    fn is_root(&self, directory: &Path) -> bool {
        if self.beyond.new.as_ref().is_some_and(|new| new.is_repository(directory)) {
            return false;
        }
        let path = AbsolutePath::new(&directory.to_string_lossy());
        path.is_some_and(|path| {
            path == self.facts.workspace
                || self
                    .rules
                    .get(&path)
                    .is_some_and(|rights| rights.contains(Rights::WRITE) && self.counts(&path, *rights))
        })
    }

    /// The policies that forbid to make what some other program would run later; none where it is free.
    pub(super) fn runs_later(&self, place: &Path, kind: Made) -> Option<String> {
        let root = self.root_of(place)?;
        let inside = place.ancestors().take_while(|above| *above != root);
        for named in inside.filter(|above| above.file_name().is_some_and(|name| self.may_fit(&name.to_string_lossy())))
        {
            let Some(path) = AbsolutePath::new(&named.to_string_lossy()) else { continue };
            let Some(length) = self.engine.vocabulary().name_length(&path) else { continue };
            let Some(holder) = named.ancestors().nth(length) else { continue };
            let Ok(rest) = named.strip_prefix(holder) else { continue };
            let in_git = rest.starts_with(".git");
            let is_kept = in_git || self.is_root(holder) || self.was_repository(holder);
            let is_sample = rest == Path::new(".git/hooks")
                && (named == place && kind == Made::Directory || is_no_hook(place, named));
            if !is_kept || is_sample || is_of_git(place, named, rest, kind) {
                continue;
            }
            if self.cover(&path, true) == Some(Cover::ReadOnly) {
                let because = self.engine.permissions(&self.facts).because(FileAction::Write, &path);
                return Some(because.1.join(", "));
            }
        }
        None
    }

    /// The same for a directory that holds such files, which is not made empty but given this name, or for something that stands for
    /// one: a `.git` that is a link, or a file that says where the hooks are.
    fn holds_what_runs_later(&self, place: &Path, kind: Made, is_directory: bool) -> Option<String> {
        let above = place.parent()?;
        if kind == Made::Directory {
            return None;
        }
        let root = self.root_of(place)?;
        // What lies in a directory is looked at under the names that it has there. So none gets another name below a `.git`.
        let git = above.ancestors().take_while(|above| above.starts_with(&root)).find(|above| above.ends_with(".git"));
        let path = match git.filter(|_| is_directory) {
            Some(git) => AbsolutePath::new(&git.to_string_lossy())?,
            None => AbsolutePath::new(&place.to_string_lossy())?,
        };
        // Worktrees and submodules have such a file.
        let anywhere = path.name() == ".git" && kind != Made::File;
        if !anywhere && !self.is_root(above) && !self.was_repository(above) {
            return None;
        }
        let name = path.name();
        let inside = self.last.inside(name).filter_map(|inside| path.child(inside));
        let mut forbidden = inside.filter(|inside| self.cover(inside, true) == Some(Cover::ReadOnly));
        let forbidden = forbidden.next()?;
        Some(self.engine.permissions(&self.facts).because(FileAction::Write, &forbidden).1.join(", "))
    }

    /// Whether this directory was a repository when the session started: its hooks are covered.
    fn was_repository(&self, directory: &Path) -> bool {
        let git = directory.join(".git");
        let state = self.state();
        state.masked.contains_key(&git.join("hooks"))
    }

    fn state(&self) -> MutexGuard<'_, NamesState> {
        // Nothing that holds the lock can fail half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether those outside have nothing at this path, and no session makes anything there for them: it lies in a directory of which the
/// session has its own, below a name that is free outside.
pub fn is_beyond(own: &Scratch, place: &Path) -> bool {
    // None for a path with `..`, which only the file system can follow.
    let Some(path) = place.to_str().and_then(AbsolutePath::new) else { return false };
    let free = |scratch: &AbsolutePath| {
        let rest = place.strip_prefix(scratch.as_str()).ok();
        let first = rest.and_then(|rest| rest.components().next());
        let found = first.map(|first| Path::new(scratch.as_str()).join(first).symlink_metadata());
        found.is_some_and(|found| found.is_err_and(|error| error.kind() == ErrorKind::NotFound))
    };
    own.holds(&path) && own.places.iter().any(free)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// What is seen after the next call was announced, and before that call happens, is still the session's own.
    #[test]
    fn a_file_is_known_while_the_next_call_is_on_its_way() {
        let place = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            std::fs::write(place.path().join(name), name).unwrap();
            FileId::at(&place.path().join(name)).unwrap()
        };
        let (first, second, foreign) = (file("first"), file("second"), file("foreign"));
        let mut announced = Announced::default();
        announced.add(Some(first));
        announced.add(Some(second));
        let seen = [first, foreign, first, second, second].map(|file| announced.is_seen(Some(&file)));
        assert_eq!(seen, [true, false, false, true, false], "each call makes one file");
        announced.add(None);
        announced.add(None);
        assert_eq!([first, foreign, second].map(|file| announced.is_seen(Some(&file))), [true, true, false]);
        assert!(!Announced::default().is_seen(None));
    }

    #[test]
    fn of_a_name_that_comes_again_and_again_the_last_calls_count() {
        let place = tempfile::tempdir().unwrap();
        let files: Vec<FileId> = (0..MAX_CALLS + 2)
            .map(|number| {
                let path = place.path().join(number.to_string());
                std::fs::write(&path, "").unwrap();
                FileId::at(&path).unwrap()
            })
            .collect();
        let mut announced = Announced::default();
        files.iter().for_each(|file| announced.add(Some(*file)));
        let seen: Vec<bool> = files.iter().map(|file| announced.is_seen(Some(file))).collect();
        assert_eq!(seen, [vec![false; 2], vec![true; MAX_CALLS]].concat());
    }
}
