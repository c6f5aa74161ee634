//! What an embedding program sets, and the [`Palisade`] that comes of it.
//!
//! Every value goes through the same loader as the program's flags and settings files (`config/`): `/etc/palisade/enforced.toml` holds
//! before all of them.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use palisade_runner::{Pipeline, sandbox};

use crate::config::flags::{Context, Embedded};
use crate::config::{self, LevelName};
use crate::error::Error;
use crate::question::{Answer, Ask, Question, person};
use crate::session::{Inner, Palisade};

/// How much the kernel has to hold; a machine that cannot hold it opens no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Level {
    /// All that Palisade knows to hold.
    Strict,
    /// What an ordinary machine of today holds.
    Default,
    /// Less, for old kernels.
    Compat,
}

/// Sets up a [`Palisade`]. Nothing is read or started before [`build`](Self::build).
#[derive(Clone, Debug, Default)]
#[must_use = "nothing is set up before `build`"]
pub struct Builder {
    flags: Context,
    target: Option<String>,
    guard_program: Option<PathBuf>,
    ask: Option<Ask>,
}

impl Builder {
    /// No settings file; what is enforced on this machine holds all the same.
    pub(crate) fn new() -> Self {
        let embedded = Box::new(Embedded { alone: true, ..Embedded::default() });
        Self { flags: Context { embedded, ..Context::default() }, ..Self::default() }
    }

    /// With this settings file.
    pub(crate) fn with_settings(path: PathBuf) -> Self {
        let mut builder = Self::new();
        builder.flags.config = Some(path);
        builder
    }

    /// A profile that Palisade ships: `developer` (the default), `readonly` or `regulated`. Takes the place of [`policies`](Self::policies).
    pub fn profile(mut self, name: impl Into<String>) -> Self {
        self.flags.profile = Some(name.into());
        self.flags.policies = None;
        self
    }

    /// Your own policies: a `.cedar` file, or a directory of them, whose `palisade.toml` may extend a profile. They take the profile's
    /// place, and must lie where the agent cannot change them. The guards stay.
    pub fn policies(mut self, path: impl Into<PathBuf>) -> Self {
        self.flags.policies = Some(path.into());
        self.flags.profile = None;
        self
    }

    /// The agent's directory; the current one unless it is set.
    pub fn workspace(mut self, path: impl Into<PathBuf>) -> Self {
        self.flags.workspace = Some(path.into());
        self
    }

    /// The agent's name for policies and the record; `agent` unless it is set.
    pub fn agent(mut self, name: impl Into<String>) -> Self {
        self.flags.agent = Some(name.into());
        self
    }

    /// The user on whose behalf the agent acts; the operating system's user unless it is set.
    pub fn user(mut self, name: impl Into<String>) -> Self {
        self.flags.user = Some(name.into());
        self
    }

    /// A role of the agent, besides those that were given before; `developer` if none is.
    pub fn role(mut self, name: impl Into<String>) -> Self {
        self.flags.roles.push(name.into());
        self
    }

    /// A directory that the agent may read besides its workspace.
    pub fn read(mut self, path: impl Into<PathBuf>) -> Self {
        self.flags.reads.push(path.into());
        self
    }

    /// A directory that the agent may change besides its workspace.
    pub fn write(mut self, path: impl Into<PathBuf>) -> Self {
        self.flags.writes.push(path.into());
        self
    }

    /// Where the record goes; `$XDG_STATE_HOME/palisade/audit` unless it is set. There is no way to do without.
    pub fn audit(mut self, directory: impl Into<PathBuf>) -> Self {
        self.flags.embedded.audit = Some(directory.into());
        self
    }

    /// How much the kernel has to hold; [`Level::Default`] unless it is set.
    pub fn level(mut self, level: Level) -> Self {
        self.flags.embedded.level = Some(match level {
            Level::Strict => LevelName::Strict,
            Level::Default => LevelName::Default,
            Level::Compat => LevelName::Compat,
        });
        self
    }

    /// How long a script may take; two minutes unless it is set.
    pub fn timeout(mut self, time: Duration) -> Self {
        self.flags.timeout = Some(format!("{}ms", time.as_millis()));
        self
    }

    /// Processes and threads of a session, at most.
    pub fn max_processes(mut self, processes: u64) -> Self {
        self.flags.embedded.processes = Some(processes);
        self
    }

    /// Bytes of memory of a session, at most.
    pub fn max_memory(mut self, bytes: u64) -> Self {
        self.flags.embedded.memory = Some(bytes);
        self
    }

    /// Sessions open at once, at most: 64 unless it is set.
    pub fn max_sessions(mut self, sessions: usize) -> Self {
        self.flags.embedded.max_sessions = Some(sessions);
        self
    }

    /// Characters of each stream that an outcome shows: 20,000 unless it is set.
    pub fn max_output(mut self, characters: usize) -> Self {
        self.flags.embedded.max_chars = Some(characters);
        self
    }

    /// Where sessions are: at a target that the settings name, in place of this machine.
    pub fn target(mut self, name: impl Into<String>) -> Self {
        self.target = Some(name.into());
        self
    }

    /// The program `palisade`, which is brought to targets as their guard where the settings do not name one.
    ///
    /// Your own program is never brought there: it has no guard in it.
    pub fn guard_program(mut self, path: impl Into<PathBuf>) -> Self {
        self.guard_program = Some(path.into());
        self
    }

    /// Answers what policy asks a person. It may wait, as for someone at a terminal: it runs on a thread of its own.
    ///
    /// Without it a script that needs a yes does not run, and its outcome says [`ApprovalRequired`](crate::Status::ApprovalRequired). The
    /// record has the answer as one that [`user`](Self::user) typed at the terminal. A callback that panics says no.
    pub fn ask(mut self, answer: impl Fn(&Question) -> Answer + Send + Sync + 'static) -> Self {
        self.ask = Some(Ask::blocking(answer));
        self
    }

    /// The same with a future.
    pub fn ask_async<F>(mut self, answer: impl Fn(Question) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        self.ask = Some(Ask::future(answer));
        self
    }

    /// Reads policies and settings, opens the record, and makes sure that this machine can hold the sandbox level.
    ///
    /// From here on this process writes no core files, and no other process of its user can read its memory, in which secrets may be.
    ///
    /// # Errors
    /// [`Error::Settings`] and [`Error::Open`]. Nothing runs with settings that are wrong in part.
    pub fn build(self) -> Result<Palisade, Error> {
        for (what, name) in [("agent", &self.flags.agent), ("user", &self.flags.user)] {
            if name.as_ref().is_some_and(|name| name.trim().is_empty()) {
                return Err(Error::settings(format!("the {what}'s name is empty"), "a name has at least one letter"));
            }
        }
        if self.flags.roles.iter().any(|role| role.trim().is_empty()) {
            return Err(Error::settings("a role's name is empty", "a name has at least one letter"));
        }
        sandbox::harden_server().map_err(|error| Error::Open {
            what: format!("cannot make this process unreadable to others: {error}"),
            help: String::new(),
        })?;
        let mut settings = config::load_in(&self.flags, "embed", None)?;
        if let Some(name) = self.target.as_ref().filter(|name| !settings.targets.contains_key(*name)) {
            return Err(config::ConfigError::NoTarget(name.clone()).into());
        }
        let mut lacks_guard = BTreeSet::new();
        for (name, target) in &mut settings.targets {
            let Some(guard) = target.guard.as_mut().filter(|guard| guard.binary.is_none()) else { continue };
            guard.binary.clone_from(&self.guard_program);
            if guard.binary.is_none() {
                lacks_guard.insert(name.clone());
            }
        }
        let person = person(&settings.surroundings.principal.user);
        let pipeline = Pipeline::open(settings)?;
        Ok(Palisade::new(Arc::new(Inner::new(pipeline, self.ask, person, self.target, lacks_guard))))
    }
}
