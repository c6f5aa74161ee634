//! Caches of the tools that an agent runs: one directory for each agent and workspace, which outlasts its sessions.
//!
//! Compilers and package managers need a cache that they can write. The person's own may not be it: what an agent left there would run
//! outside of the sandbox. So each agent has a directory of Palisade's, and tools are told of it by their variables. What the person's
//! caches hold already is still read: crates through links, Go's modules through a `file://` proxy.
//!
//! cargo takes the path of a crate for a part of what it builds: where an agent had its crates elsewhere, the agent and a person who take
//! turns at one `target/` would each build every dependency again. So where sessions have a view of their own they find the agent's
//! crates at the person's path, in a `~/.cargo` of their own.
//!
//! The directory may be removed at any time. One that has not been used for [`UNUSED`] is removed by the next server.
//!
//! Decided here: where it lies, what is in it at first, and which variables name it. Not decided here: who may change it; policies
//! permit that by the path group `caches`.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File, FileTimes};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, Once, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use palisade_engine::AbsolutePath;
use palisade_sandbox::plan::{Instead, PathRule, RemappedDirectory, Rights, SandboxPlan};
use palisade_sandbox::{can_stand_in, probe};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, Stat, mkdirat, openat, renameat, statat, symlinkat, unlinkat};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use crate::removal;

/// cargo's own directory for sessions without a view, and where its programs are installed for all.
const OWN: &str = "cargo";

/// What sessions with a view find in the place of the person's directories of crates.
const VIEWED: &str = "cargo-view";

/// Where sessions with a view find the person's crates, below their `~/.cargo`.
const PERSONS: &str = ".persons";

/// How long nobody has used a directory that is removed.
const UNUSED: Duration = Duration::from_secs(60 * 60 * 24 * 60);

/// How long what was taken from the person's caches counts as all that is there.
const RENEWED: Duration = Duration::from_secs(20);

/// Entries that are linked or copied from the person's caches.
const MAX_ENTRIES: usize = 50_000;

/// Bytes that are copied from the person's caches.
const MAX_BYTES: u64 = 256 << 20;

/// The caches of one agent in one workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caches {
    directory: AbsolutePath,
    home: AbsolutePath,
}

impl Caches {
    /// Those of this agent, which works for this user in this workspace, below the directory `base` that is Palisade's.
    #[must_use]
    pub fn of(
        base: &AbsolutePath,
        home: &AbsolutePath,
        user: &str,
        agent: &str,
        workspace: &AbsolutePath,
    ) -> Option<Self> {
        let mut hash = Sha256::new();
        for part in [user, agent, workspace.as_str()] {
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        }
        let name: String = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Some(Self { directory: base.child(&name)?, home: home.clone() })
    }

    /// Where the authority lies whose certificates the user's sessions are told to trust: beside all caches, where no session reads.
    #[must_use]
    pub fn authority(&self) -> Option<PathBuf> {
        let base = Path::new(self.directory.as_str()).parent()?;
        Some(base.with_file_name("authority"))
    }

    /// Where they lie.
    #[must_use]
    pub fn directory(&self) -> &AbsolutePath {
        &self.directory
    }

    /// Makes the directory for this user alone, if it is not there, and puts what the person's caches hold within reach. Removes those of
    /// others that nobody uses any more.
    ///
    /// # Errors
    /// It cannot be made, or something else is there.
    pub fn make(&self) -> io::Result<()> {
        let directory = Path::new(self.directory.as_str());
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let about = fs::symlink_metadata(directory)?;
        let is_ours = about.is_dir() && about.uid() == rustix::process::geteuid().as_raw() && about.mode() & 0o077 == 0;
        if !is_ours || directory.canonicalize()? != directory {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        File::open(directory)?.set_times(FileTimes::new().set_modified(SystemTime::now()))?;
        static SWEPT: Once = Once::new();
        SWEPT.call_once(|| {
            let base = directory.parent().map(Path::to_owned);
            let sweep = move || base.iter().for_each(|base| sweep(base));
            // Where there is no thread to be had, the next server does it.
            let _later = std::thread::Builder::new().name("palisade-caches".to_owned()).spawn(sweep);
        });
        let mut seed = Seed::of(directory)?;
        let cargo = self.cargo();
        // For sessions that find it there, and for those that do not.
        let shown = [(VIEWED, cargo.join(PERSONS)), (OWN, cargo.clone())];
        for (to, shown) in shown.iter().filter(|(to, _)| *to == OWN || probe().mounts) {
            // A cache that was filled in part is a smaller cache.
            if let Err(error) = seed.cargo(&cargo, to, shown) {
                tracing::debug!(%error, "the crates that are there cannot be shown to sessions");
            }
        }
        if let Err(error) = seed.settings(&cargo) {
            tracing::debug!(%error, "cargo's settings cannot be shown to sessions");
        }
        Ok(())
    }

    /// The same, unless this process has done it a moment ago.
    ///
    /// # Errors
    /// As [`Self::make`].
    pub fn ready(&self) -> io::Result<()> {
        let is_there = || Seed::of(Path::new(self.directory.as_str())).is_ok_and(|seed| seed.is_there());
        if !is_due(&self.directory) && is_there() { Ok(()) } else { self.make() }
    }

    /// The person's directory for cargo.
    fn cargo(&self) -> PathBuf {
        Path::new(self.home.as_str()).join(".cargo")
    }

    /// What lies below the caches and below the person's directory for cargo is the agent's own in a session, but for the programs there.
    #[must_use]
    pub fn places(&self) -> Vec<AbsolutePath> {
        let cargo = self.home.child(".cargo");
        let shown = ["registry", "git", PERSONS].into_iter().filter_map(|name| cargo.as_ref()?.child(name));
        std::iter::once(self.directory.clone()).chain(shown).collect()
    }

    /// Has the sessions under this plan find the caches at the person's paths, if it lets them change the caches. `searched`: a place that
    /// is searched for names that policy forbids, also while the session lives.
    ///
    /// Not where a rule or a mask is about something in the person's directories of crates: the session would find that elsewhere, where
    /// the rule or the mask does not reach it.
    pub fn join(&self, plan: &mut SandboxPlan, searched: impl Fn(&AbsolutePath) -> bool) {
        let directory = Path::new(self.directory.as_str());
        let rights = plan.rules.iter().find(|rule| rule.path == directory).map(|rule| rule.rights);
        let Some(rights) = rights.filter(|rights| rights.contains(Rights::READ | Rights::MOVE)) else { return };
        let cargo = self.cargo();
        let is_plain = |name: &&str| !cargo.join(name).is_symlink();
        let plain = ["", "bin", "registry", "git", "config.toml", "config", "env"].iter().all(is_plain);
        if !plain || !probe().mounts || !can_stand_in(&cargo, &plan.rules) {
            return;
        }
        let mut shown = Vec::new();
        for name in ["registry", "git"] {
            let (own, persons) = (directory.join(VIEWED).join(name), cargo.join(name));
            let is_about = |path: &Path| path != persons && path.starts_with(&persons);
            let ruled = plan.rules.iter().any(|rule| is_about(&rule.path));
            let masked = plan.masks.iter().any(|mask| mask.path.starts_with(&persons));
            let watched = persons.to_str().and_then(AbsolutePath::new).is_none_or(|place| searched(&place));
            // Another session of the agent can put anything there, and a rule is about what lies at its path.
            let is_made = own.symlink_metadata().is_ok_and(|about| about.is_dir());
            if ruled || masked || watched || !is_made {
                return;
            }
            // The place around it can be read.
            let is_read = |rule: &PathRule| persons.starts_with(&rule.path) && rule.rights.contains(Rights::READ);
            if persons.is_dir() && plan.rules.iter().any(is_read) {
                shown.push(RemappedDirectory {
                    at: cargo.join(PERSONS).join(name),
                    from: persons.clone(),
                    writable: false,
                });
            }
            shown.push(RemappedDirectory { at: persons, from: own, writable: true });
        }
        let own = shown.iter().filter(|shown| shown.writable);
        plan.rules.extend(own.map(|shown| PathRule { path: shown.from.clone(), rights, optional: true }));
        // What a session put there would be taken for the person's programs.
        plan.instead = Some(Instead { closed: vec![cargo.join("bin")], place: cargo, shown });
    }

    /// The variables that tell tools of it. What is `set` already stays. `viewed`: cargo finds it at the person's path.
    pub fn variables(&self, viewed: bool, set: &[(OsString, OsString)]) -> Vec<(OsString, OsString)> {
        let own = |name: &str| format!("{}/{name}", self.directory.as_str());
        let modules = format!("{}/go/pkg/mod/cache/download", self.home.as_str());
        let proxy = "https://proxy.golang.org,direct";
        let proxy = if Path::new(&modules).is_dir() { format!("file://{modules},{proxy}") } else { proxy.to_owned() };
        let rows = [
            // Go's build cache, ccache, pip, uv, poetry, deno and most others.
            ("XDG_CACHE_HOME", self.directory.as_str().to_owned()),
            if viewed { ("CARGO_INSTALL_ROOT", own(OWN)) } else { ("CARGO_HOME", own(OWN)) },
            // `go install` puts programs below it.
            ("GOPATH", own("go")),
            ("GOMODCACHE", own("go-mod")),
            ("GOPROXY", proxy),
            ("GRADLE_USER_HOME", own("gradle")),
            ("NUGET_PACKAGES", own("nuget")),
            ("YARN_GLOBAL_FOLDER", own("yarn")),
            ("npm_config_cache", own("npm")),
            ("PNPM_HOME", own("pnpm")),
            // They make directories in the home directory when they start.
            ("IPYTHONDIR", own("ipython")),
            ("JUPYTER_CONFIG_DIR", own("jupyter")),
            ("MPLCONFIGDIR", own("matplotlib")),
            // Tools that look for a newer version of themselves would be refused the connection.
            ("PIP_DISABLE_PIP_VERSION_CHECK", "1".to_owned()),
            ("npm_config_update_notifier", "false".to_owned()),
        ];
        let is_set = |name: &str| set.iter().any(|(known, _)| known == name);
        let rows = rows.into_iter().filter(|(name, _)| !is_set(name));
        rows.map(|(name, value)| (name.into(), value.into())).collect()
    }
}

/// Whether this process has not looked at the person's caches for [`RENEWED`] on behalf of these. To look takes tens of thousands of system
/// calls where the person has many crates, and sessions of a server begin one behind the other.
fn is_due(directory: &AbsolutePath) -> bool {
    static LOOKED: Mutex<BTreeMap<AbsolutePath, Instant>> = Mutex::new(BTreeMap::new());
    // Nothing that holds the lock can fail half-way.
    let mut looked = LOOKED.lock().unwrap_or_else(PoisonError::into_inner);
    looked.retain(|_, at| at.elapsed() < RENEWED);
    let is_due = !looked.contains_key(directory);
    if is_due {
        looked.insert(directory.clone(), Instant::now());
    }
    is_due
}

/// What is put into a cache that is new, or older than what it is taken from.
///
/// Sessions can change all of it meanwhile, so no symbolic link is followed there.
struct Seed {
    /// The directory of the caches.
    root: OwnedFd,
    entries: usize,
    bytes: u64,
}

impl Seed {
    fn of(directory: &Path) -> io::Result<Self> {
        Ok(Self { root: openat(CWD, directory, DIRECTORY, Mode::empty())?, entries: 0, bytes: 0 })
    }

    /// Crates and repositories are linked: cargo reads them where they lie, and makes new ones beside. The index is copied, since cargo
    /// writes into its files. Links begin with `shown`, where sessions find what lies in `from`.
    fn cargo(&mut self, from: &Path, to: &str, shown: &Path) -> io::Result<()> {
        if !from.is_dir() {
            return Ok(());
        }
        for (name, depth) in [("registry/cache", 2), ("registry/src", 2), ("git/db", 1), ("git/checkouts", 2)] {
            let to = self.directory(&format!("{to}/{name}"))?;
            self.link(&from.join(name), to, &shown.join(name), depth)?;
        }
        let index = self.directory(&format!("{to}/registry/index"))?;
        for registry in entries(&from.join("registry/index"))? {
            let name = registry.file_name().unwrap_or_default();
            if statat(&index, name, AtFlags::SYMLINK_NOFOLLOW).is_err() {
                self.copy(&registry, index.try_clone()?)?;
            } else {
                // Whole repositories of git are not mixed; what cargo has read out of a registry lies here.
                self.copy(&registry.join(".cache"), directory_in(&index, name)?)?;
            }
        }
        Ok(())
    }

    /// The person's settings of cargo are linked.
    fn settings(&self, from: &Path) -> io::Result<()> {
        for name in ["config.toml", "config"] {
            let (from, own) = (from.join(name), self.directory(OWN)?);
            if from.is_file() && statat(&own, name, AtFlags::SYMLINK_NOFOLLOW).is_err() {
                symlinkat(&from, &own, name)?;
            }
        }
        Ok(())
    }

    /// Whether the caches were filled before and are still there.
    fn is_there(&self) -> bool {
        statat(&self.root, OWN, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// The directory at this path below that of the caches, made if it is not there.
    fn directory(&self, path: &str) -> io::Result<OwnedFd> {
        path.split('/').try_fold(self.root.try_clone()?, |above, name| directory_in(&above, OsStr::new(name)))
    }

    fn count(&mut self, bytes: u64) -> io::Result<()> {
        self.entries += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        if self.entries > MAX_ENTRIES || self.bytes > MAX_BYTES {
            Err(io::ErrorKind::QuotaExceeded.into())
        } else {
            Ok(())
        }
    }

    /// Makes directories of its own down to `depth`, and links to what lies there.
    fn link(&mut self, from: &Path, to: OwnedFd, shown: &Path, depth: usize) -> io::Result<()> {
        let mut open = vec![(from.to_owned(), to, shown.to_owned(), depth)];
        while let Some((from, to, shown, depth)) = open.pop() {
            for entry in entries(&from)? {
                self.count(0)?;
                let name = entry.file_name().unwrap_or_default();
                let shown = shown.join(name);
                if depth > 1 && entry.is_dir() {
                    open.push((entry.clone(), directory_in(&to, name)?, shown, depth - 1));
                } else if statat(&to, name, AtFlags::SYMLINK_NOFOLLOW).is_err() {
                    symlinkat(&shown, &to, name)?;
                }
            }
        }
        Ok(())
    }

    /// Copies what lies at `from` into the directory `to`: the files that are not there, and those that are older there.
    fn copy(&mut self, from: &Path, to: OwnedFd) -> io::Result<()> {
        let mut open = vec![(from.to_owned(), to)];
        while let Some((from, to)) = open.pop() {
            let about = match fs::symlink_metadata(&from) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                about => about?,
            };
            let name = from.file_name().unwrap_or_default();
            if about.is_dir() {
                self.count(0)?;
                let to = directory_in(&to, name)?;
                for entry in entries(&from)? {
                    open.push((entry, to.try_clone()?));
                }
            } else if about.is_file() {
                let is_current =
                    |there: Stat| (there.st_mtime, there.st_mtime_nsec as i64) >= (about.mtime(), about.mtime_nsec());
                if statat(&to, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(is_current) {
                    self.count(0)?;
                    continue;
                }
                self.count(about.len())?;
                copy_file(&from, &to, name)?;
            }
        }
        Ok(())
    }
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The directory of this name in another, made if it is not there.
fn directory_in(above: &OwnedFd, name: &OsStr) -> io::Result<OwnedFd> {
    match mkdirat(above, name, Mode::from(0o755)) {
        Ok(()) | Err(Errno::EXIST) => Ok(openat(above, name, DIRECTORY, Mode::empty())?),
        Err(errno) => Err(errno.into()),
    }
}

/// Puts a copy of a file into a directory, whole or not at all, in the place of what has this name there.
fn copy_file(from: &Path, to: &OwnedFd, name: &OsStr) -> io::Result<()> {
    static MADE: AtomicU64 = AtomicU64::new(0);
    let new = OsString::from(format!(".new-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed)));
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut copy = File::from(openat(to, &new, flags, Mode::from(0o644))?);
    let copied = io::copy(&mut File::open(from)?, &mut copy).and_then(|_| Ok(renameat(to, &new, to, name)?));
    if copied.is_err() {
        let _ = unlinkat(to, &new, AtFlags::empty());
    }
    copied
}

/// What lies in a directory; nothing where there is none.
fn entries(directory: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(directory) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Removes the directories that have not been used for long.
fn sweep(base: &Path) {
    for path in entries(base).unwrap_or_default() {
        let is_old = |about: &fs::Metadata| {
            about.is_dir() && about.modified().is_ok_and(|then| then.elapsed().is_ok_and(|age| age > UNUSED))
        };
        if !fs::symlink_metadata(&path).is_ok_and(|about| is_old(&about)) {
            continue;
        }
        let removed = removal::opened(CWD, &path)
            .map_err(io::Error::from)
            .and_then(|directory| removal::empty(&directory, None, u64::MAX))
            .and_then(|_| fs::remove_dir(&path));
        match removed {
            Ok(()) => tracing::info!(path = %path.display(), "removed caches that no agent has used for long"),
            Err(error) => tracing::warn!(path = %path.display(), %error, "unused caches cannot be removed"),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use palisade_sandbox::plan::{Cover, Level, Limits, Mask};

    use super::*;

    fn at(path: &Path) -> AbsolutePath {
        AbsolutePath::new(path.to_str().unwrap()).unwrap()
    }

    #[test]
    fn each_agent_and_workspace_has_its_own() {
        let of = |user: &str, agent: &str, workspace: &str| {
            let root = AbsolutePath::new("/c").unwrap();
            Caches::of(&root, &root, user, agent, &AbsolutePath::new(workspace).unwrap()).unwrap().directory
        };
        assert_eq!(of("u", "a", "/w"), of("u", "a", "/w"));
        for other in [of("v", "a", "/w"), of("u", "b", "/w"), of("u", "a", "/x"), of("ua", "", "/w")] {
            assert_ne!(of("u", "a", "/w"), other);
        }
    }

    #[test]
    fn crates_that_are_there_are_read_and_new_ones_stay_apart() {
        let root = tempfile::tempdir().unwrap();
        let home = root.path().canonicalize().unwrap();
        let cargo = home.join(".cargo");
        for name in ["registry/cache/r/a.crate", "registry/src/r/a/lib.rs", "registry/index/r/.cache/a", "config.toml"]
        {
            fs::create_dir_all(cargo.join(name).parent().unwrap()).unwrap();
            fs::write(cargo.join(name), "person's").unwrap();
        }
        let caches = Caches::of(&at(&home.join("base")), &at(&home), "u", "a", &at(&home)).unwrap();
        caches.make().unwrap();
        let own = Path::new(caches.directory().as_str()).join(OWN);
        for name in ["registry/cache/r/a.crate", "registry/src/r/a/lib.rs", "registry/index/r/.cache/a", "config.toml"]
        {
            assert_eq!(fs::read_to_string(own.join(name)).unwrap(), "person's", "{name}");
        }
        fs::create_dir(own.join("registry/src/r/b")).unwrap();
        fs::write(own.join("registry/index/r/.cache/a"), "agent's").unwrap();
        assert!(!cargo.join("registry/src/r/b").exists());
        assert_eq!(fs::read_to_string(cargo.join("registry/index/r/.cache/a")).unwrap(), "person's");
        // Another time adds what has come since, for sessions with a view as well.
        fs::create_dir(cargo.join("registry/src/r/c")).unwrap();
        caches.make().unwrap();
        assert!(own.join("registry/src/r/c").exists());
        // So it does with what cargo has learnt of a crate since. What the agent has learnt later stays.
        let index = |root: &Path, name: &str| root.join("registry/index/r/.cache").join(name);
        fs::write(index(&cargo, "new"), "person's").unwrap();
        caches.make().unwrap();
        assert_eq!(fs::read_to_string(index(&own, "new")).unwrap(), "person's");
        assert_eq!(fs::read_to_string(index(&own, "a")).unwrap(), "agent's");
        let later = FileTimes::new().set_modified(SystemTime::now() + Duration::from_secs(60));
        File::options().write(true).open(index(&cargo, "a")).unwrap().set_times(later).unwrap();
        caches.make().unwrap();
        assert_eq!(fs::read_to_string(index(&own, "a")).unwrap(), "person's");
        assert_eq!(entries(&own.join("registry/index/r/.cache")).unwrap().len(), 2);
        // What a server made a moment ago is left as it is, unless it was removed.
        fs::create_dir(cargo.join("registry/src/r/d")).unwrap();
        caches.ready().unwrap();
        fs::create_dir(cargo.join("registry/src/r/e")).unwrap();
        caches.ready().unwrap();
        assert!(own.join("registry/src/r/d").exists() && !own.join("registry/src/r/e").exists());
        fs::remove_dir_all(&own).unwrap();
        caches.ready().unwrap();
        assert!(own.join("registry/src/r/e").exists());
        let viewed = Path::new(caches.directory().as_str()).join(VIEWED);
        if probe().mounts {
            let link = fs::read_link(viewed.join("registry/src/r/c")).unwrap();
            assert_eq!(link, cargo.join(PERSONS).join("registry/src/r/c"));
        }
        assert_eq!(fs::metadata(caches.directory().as_str()).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_link_that_a_session_left_leads_nothing_astray() {
        let root = tempfile::tempdir().unwrap();
        let home = root.path().canonicalize().unwrap();
        fs::create_dir_all(home.join(".cargo/registry/src/r/a")).unwrap();
        fs::create_dir_all(home.join(".cargo/registry/index/r")).unwrap();
        let other = home.join("other");
        fs::create_dir(&other).unwrap();
        let caches = Caches::of(&at(&home.join("base")), &at(&home), "u", "a", &at(&home)).unwrap();
        let own = Path::new(caches.directory().as_str());
        for (name, leads) in [("cargo", "cargo"), ("registry", "cargo/registry"), ("src", "cargo/registry/src")] {
            let _ = fs::remove_dir_all(own);
            let link = own.join(leads);
            fs::create_dir_all(link.parent().unwrap()).unwrap();
            fs::set_permissions(own, PermissionsExt::from_mode(0o700)).unwrap();
            symlink(&other, &link).unwrap();
            let made = caches.make();
            assert_eq!(entries(&other).unwrap(), Vec::<PathBuf>::new(), "{name}: {made:?}");
        }
    }

    #[test]
    fn the_persons_crates_are_found_elsewhere_only_as_far_as_they_are_read() {
        if !probe().mounts {
            return;
        }
        // Not below `/tmp`, of which a session has its own.
        let root = tempfile::tempdir_in("/var/tmp").unwrap();
        let home = root.path().canonicalize().unwrap();
        let cargo = home.join(".cargo");
        fs::create_dir_all(cargo.join("registry/src/r/a")).unwrap();
        let caches = Caches::of(&at(&home.join("base")), &at(&home), "u", "a", &at(&home.join("work"))).unwrap();
        caches.make().unwrap();
        let rule = |path: &Path, rights: Rights| PathRule { path: path.to_owned(), rights, optional: true };
        let own = rule(Path::new(caches.directory().as_str()), Rights::READ | Rights::MOVE);
        let read = rule(&cargo.join("registry"), Rights::READ);
        let joined = |rules: Vec<PathRule>, masks: Vec<Mask>, searched: bool| {
            let mut plan = SandboxPlan {
                rules,
                masks,
                instead: None,
                blank: Vec::new(),
                stand_ins: None,
                written: Vec::new(),
                searched: true,
                scratch: Rights::NONE,
                loopback: false,
                network: false,
                limits: Limits::default(),
                level: Level::Default,
            };
            caches.join(&mut plan, |_| searched);
            plan.instead.map(|instead| instead.shown.iter().filter(|shown| !shown.writable).count())
        };
        assert_eq!(joined(vec![own.clone(), read.clone()], Vec::new(), false), Some(1));
        // What no rule reads is not shown.
        assert_eq!(joined(vec![own.clone()], Vec::new(), false), Some(0));
        let deeper = |rights| rule(&cargo.join("registry/src/r/a"), rights);
        let mask = Mask { path: cargo.join("registry/src/r/a/key.pem"), cover: Cover::Hidden };
        for (rules, masks, searched) in [
            (vec![own.clone(), read.clone(), deeper(Rights::READ | Rights::MOVE)], Vec::new(), false),
            (vec![own.clone(), deeper(Rights::READ)], Vec::new(), false),
            (vec![own.clone(), read.clone()], vec![mask], false),
            (vec![own.clone(), read.clone()], Vec::new(), true),
            (vec![own.clone(), rule(&cargo, Rights::READ)], Vec::new(), false),
            (vec![rule(&own.path, Rights::READ), read.clone()], Vec::new(), false),
        ] {
            assert_eq!(joined(rules.clone(), masks, searched), None, "{rules:?}");
        }
    }

    #[test]
    fn what_nobody_uses_any_more_is_removed() {
        let root = tempfile::tempdir().unwrap();
        for name in ["old/deep", "new"] {
            fs::create_dir_all(root.path().join(name)).unwrap();
        }
        let then = FileTimes::new().set_modified(SystemTime::now() - 2 * UNUSED);
        File::open(root.path().join("old")).unwrap().set_times(then).unwrap();
        sweep(root.path());
        assert!(!root.path().join("old").exists() && root.path().join("new").exists());
    }

    #[test]
    fn what_the_settings_set_stays() {
        let root = AbsolutePath::new("/c").unwrap();
        let caches = Caches::of(&root, &root, "u", "a", &root).unwrap();
        let set = [("CARGO_HOME".into(), "/mine".into())];
        let names: Vec<OsString> = caches.variables(false, &set).into_iter().map(|(name, _)| name).collect();
        assert!(!names.contains(&"CARGO_HOME".into()) && names.contains(&"XDG_CACHE_HOME".into()), "{names:?}");
    }
}
