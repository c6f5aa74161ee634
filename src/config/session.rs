//! What holds a session: its environment, level and limits, its time, and how much of its output is kept.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use palisade_engine::{AbsolutePath, Engine};
use palisade_redact::output::Bound;
use palisade_runner::environment::{EnvironmentError, Places, child_environment};
use palisade_runner::sandbox::plan::{Level, Limits};
use palisade_runner::{Budget, facts};

use super::file::{LevelName, SettingsFile};
use super::values::{beside, duration, expand, place_of, size};
use super::{ConfigError, Layers};

/// How much of each stream `run` passes on where nothing else is set.
const RUN_BYTES: &str = "16MiB";

/// How much of its output `run` passes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PassesOn {
    /// Of each stream; none: all of it.
    pub(crate) bound: Option<Bound>,
    /// The bound as it was written.
    pub(crate) most: String,
    /// `--max-output` says so: it holds wherever a stream goes, and whoever typed it expects a cut.
    pub(crate) asked: bool,
}

/// Directories that hold toolchains and are trusted where they exist.
///
/// A version manager's shim is a program that starts others of its own: all that it starts by itself is listed with it.
const TRUSTED: &[&str] = &[
    "~/.cargo/bin",
    "~/.rustup/toolchains",
    "~/.nvm",
    "~/.volta/bin",
    "~/.volta/tools",
    "~/.fnm",
    "~/.local/share/fnm",
    "~/.nodenv",
    "~/.npm-global/bin",
    "~/.npm-global/lib",
    "~/.local/share/pnpm",
    "~/.yarn/bin",
    "~/.bun/bin",
    "~/.deno/bin",
    "~/.pyenv",
    "~/.local/share/uv",
    "~/.local/share/pypoetry",
    "~/.local/share/pipx",
    "~/.local/pipx",
    "~/.local/bin",
    "~/miniconda3",
    "~/anaconda3",
    "~/miniforge3",
    "~/mambaforge",
    "~/micromamba",
    "~/.local/share/mamba",
    "~/go/bin",
    "~/go/pkg/mod/golang.org",
    "~/sdk",
    "~/.goenv",
    "~/.asdf",
    "~/.local/share/mise",
    "~/.sdkman/candidates",
    "~/.jenv",
    "~/.rbenv",
    "~/.rvm",
    "~/.ghcup/bin",
    "~/.juliaup",
];

/// Processes and threads of a session, unless the settings say how many: more than a build on many processors starts, and few enough for a
/// machine that others use as well.
const PROCESSES: u64 = 4096;

/// Bytes that a session leaves on each disk, unless the settings say how many.
const FREE_DISK: u64 = 64 << 20;

/// Sessions that can be open at once, at most: each takes some twenty descriptors and processes of its own.
const MAX_SESSIONS: usize = 1_000;

/// Descriptors below which a session's shell does not find room for its own.
const LEAST_OPEN_FILES: u64 = 256;

/// Memory of a session, unless the settings say how much: three quarters of the machine's, or 1 GiB where that cannot be told.
fn most_memory() -> u64 {
    let about = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = about.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kibibytes: Option<u64> = total.and_then(|total| total.split_whitespace().next()?.parse().ok());
    kibibytes.map_or(1 << 30, |total| total * 1024 / 4 * 3)
}

/// Whether a directory is root's or this user's, and others cannot change what is in it. A group may: users have one of their own.
fn is_their_own(directory: &Path) -> bool {
    let own = [0, rustix::process::geteuid().as_raw()];
    std::fs::metadata(directory).is_ok_and(|about| own.contains(&about.uid()) && about.mode() & 0o002 == 0)
}

/// The verb that stands in for a shell, as the record names it.
pub(crate) const SHELL: &str = "sh";

/// A time limit that nobody means.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Layers<'_> {
    pub(super) fn environment(
        &self,
        home: &AbsolutePath,
        workspace: &AbsolutePath,
    ) -> Result<Vec<(OsString, OsString)>, ConfigError> {
        let passed = self.located(|file| file.sandbox.environment.clone());
        let names = passed.as_ref().map_or(&[][..], |(_, names)| names.as_slice());
        let places = Places { home: home.as_str().into(), workspace: workspace.as_str().into() };
        child_environment(std::env::vars_os(), names, &places).map_err(|why| {
            let (EnvironmentError::Refused { name, .. } | EnvironmentError::NotAName { name }) = &why else {
                return ConfigError::Environment { place: "the settings".to_owned(), why };
            };
            let file = passed.as_ref().map_or(Path::new(""), |(file, _)| file);
            ConfigError::Environment { place: place_of(file, &["sandbox", "environment"], Some(name)), why }
        })
    }

    pub(super) fn trusted(&self, home: &AbsolutePath) -> Vec<AbsolutePath> {
        let set = self.paths(home, |file| file.sandbox.trusted.clone());
        let built_in = TRUSTED.iter().map(|path| expand(path, home)).filter(|path| is_their_own(path));
        built_in.chain(set).filter_map(|path| facts::real_directory(&path)).collect()
    }

    /// Paths that the enforced file names, else the settings file: relative to the file that names them.
    pub(super) fn paths(
        &self,
        home: &AbsolutePath,
        get: impl Fn(&SettingsFile) -> Option<Vec<String>>,
    ) -> Vec<PathBuf> {
        let named = [&self.enforced, &self.file].into_iter().flatten();
        let mut named = named.filter_map(|(place, file)| Some((place, get(file)?)));
        let Some((place, paths)) = named.next() else { return Vec::new() };
        paths.iter().filter_map(|path| beside(place, Some(&expand(path, home)))).collect()
    }

    pub(super) fn level(&self) -> Level {
        match self.text(|file| file.sandbox.level, self.flags.embedded.level).unwrap_or(LevelName::Default) {
            LevelName::Strict => Level::Strict,
            LevelName::Default => Level::Default,
            LevelName::Compat => Level::Compat,
        }
    }

    /// Rules that may stay unheld; one that does not exist is one that somebody relies on by another name.
    pub(super) fn accept(&self, engine: &Engine) -> Result<BTreeSet<String>, ConfigError> {
        let from = |layer: &Option<(PathBuf, SettingsFile)>| {
            layer.as_ref().and_then(|(path, file)| Some((path.clone(), file.sandbox.accept.clone()?)))
        };
        let Some((path, accept)) = from(&self.enforced).or_else(|| from(&self.file)) else {
            return Ok(BTreeSet::new());
        };
        if let Some(id) = accept.iter().find(|id| !engine.has_policy(id)) {
            let place = place_of(&path, &["sandbox", "accept"], Some(id));
            return Err(ConfigError::Accept { place, id: id.clone() });
        }
        Ok(accept.into_iter().collect())
    }

    pub(super) fn limits(&self) -> Result<Limits, ConfigError> {
        let bytes = |key: &str, text: Option<String>| text.map(|text| size(key, &text)).transpose();
        let open_files = self.pick(|file| file.sandbox.limits.open_files);
        if let Some(few) = open_files.filter(|limit| *limit < LEAST_OPEN_FILES) {
            let key = "sandbox.limits.open-files".to_owned();
            return Err(ConfigError::Value {
                key,
                value: few.to_string(),
                expected: "256 or more: a session's own shell uses high numbers",
            });
        }
        let embedded = &self.flags.embedded;
        let memory = embedded.memory.map(|bytes| bytes.to_string());
        Ok(Limits {
            processes: self.text(|file| file.sandbox.limits.processes, embedded.processes).or(Some(PROCESSES)),
            memory: bytes("sandbox.limits.memory", self.text(|file| file.sandbox.limits.memory.clone(), memory))?
                .or_else(|| Some(most_memory())),
            file_size: bytes("sandbox.limits.file-size", self.pick(|file| file.sandbox.limits.file_size.clone()))?,
            open_files,
            cpu: self
                .pick(|file| file.sandbox.limits.cpu.clone())
                .map(|time| time.read("sandbox.limits.cpu"))
                .transpose()?,
            disk: bytes("sandbox.limits.disk", self.pick(|file| file.sandbox.limits.disk.clone()))?,
            free_disk: bytes("sandbox.limits.free-disk", self.pick(|file| file.sandbox.limits.free_disk.clone()))?
                .or(Some(FREE_DISK)),
        })
    }

    /// How long a command may take. Whoever starts a shell ends it as well, so that `sh` has a limit only where one is set.
    pub(super) fn timeout(&self, verb: &str) -> Result<Duration, ConfigError> {
        let enforced = self.enforced.as_ref().is_some_and(|(_, file)| file.session.timeout.is_some());
        let key = if self.flags.timeout.is_some() && !enforced { "--timeout" } else { "session.timeout" };
        match self.text(|file| file.session.timeout.clone(), self.flags.timeout.clone()) {
            Some(text) => duration(key, &text),
            None if verb == SHELL => Ok(DAY),
            None => Ok(Duration::from_secs(120)),
        }
    }

    /// How many sessions are open at once, at most.
    pub(super) fn max_sessions(&self) -> Result<usize, ConfigError> {
        let max = self.text(|file| file.session.max, self.flags.embedded.max_sessions).unwrap_or(64);
        if (1..=MAX_SESSIONS).contains(&max) {
            return Ok(max);
        }
        let (key, value) = ("session.max".to_owned(), max.to_string());
        Err(ConfigError::Value { key, value, expected: "a number from 1 to 1000" })
    }

    pub(super) fn budget(&self) -> Result<Budget, ConfigError> {
        let keep = self.pick(|file| file.output.keep_bytes.clone()).unwrap_or_else(|| "256KiB".to_owned());
        let keep_bytes = usize::try_from(size("output.keep-bytes", &keep)?).unwrap_or(usize::MAX);
        let max_chars = self.text(|file| file.output.max_chars, self.flags.embedded.max_chars).unwrap_or(20_000);
        Ok(Budget { max_chars, keep_bytes })
    }

    /// How much of its output `run` passes on, where `typed` is what `--max-output` says.
    pub(super) fn passes_on(&self, typed: Option<&str>) -> Result<PassesOn, ConfigError> {
        let enforced = self.enforced.as_ref().is_some_and(|(_, file)| file.output.run_bytes.is_some());
        let asked = typed.is_some() && !enforced;
        let key = if asked { "--max-output" } else { "output.run-bytes" };
        let text = self.text(|file| file.output.run_bytes.clone(), typed.map(str::to_owned));
        let most = text.unwrap_or_else(|| RUN_BYTES.to_owned());
        if most == "none" {
            return Ok(PassesOn { bound: None, most, asked });
        }
        let expected = "a size such as `64KiB` or `16MiB`, or `none`";
        let unread = |_| ConfigError::Value { key: key.to_owned(), value: most.clone(), expected };
        let bytes = usize::try_from(size(key, &most).map_err(unread)?).unwrap_or(usize::MAX);
        let bound = Some(Bound::new(bytes, self.budget()?.keep_bytes));
        Ok(PassesOn { bound, most, asked })
    }
}
