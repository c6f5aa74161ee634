//! What was asked for beside the settings files: flags that were typed, and what an embedding program has set. No logic.

#[cfg(feature = "cli")]
use std::ffi::{OsStr, OsString};
#[cfg(feature = "cli")]
use std::path::Path;
use std::path::PathBuf;

use super::file::LevelName;

/// Who asks, where, and under which policies.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "cli", derive(clap::Args), command(next_help_heading = "Context"))]
pub(crate) struct Context {
    /// Settings file [default: $PALISADE_CONFIG, then the user's, then the system's]
    #[cfg_attr(feature = "cli", arg(long, value_name = "FILE"))]
    pub(crate) config: Option<PathBuf>,
    /// A `.cedar` file, or a directory of them, in place of the profile; the guards stay
    #[cfg_attr(feature = "cli", arg(long, value_name = "PATH", conflicts_with = "profile"))]
    pub(crate) policies: Option<PathBuf>,
    /// A profile that Palisade ships [default: developer]
    #[cfg_attr(feature = "cli", arg(long, value_name = "NAME"))]
    pub(crate) profile: Option<String>,
    /// The agent's name
    #[cfg_attr(feature = "cli", arg(long, value_name = "NAME", value_parser = name))]
    pub(crate) agent: Option<String>,
    /// The user it acts for [default: the operating system's user]
    #[cfg_attr(feature = "cli", arg(long, value_name = "NAME", value_parser = name))]
    pub(crate) user: Option<String>,
    /// A role of the agent; repeatable [default: developer]
    #[cfg_attr(feature = "cli", arg(long = "role", value_name = "NAME", value_parser = name))]
    pub(crate) roles: Vec<String>,
    /// How commands reach the shell [default: local]
    #[cfg_attr(feature = "cli", arg(long, value_name = "KIND"))]
    pub(crate) transport: Option<Transport>,
    /// A target that the settings name
    #[cfg_attr(feature = "cli", arg(long, value_name = "NAME"))]
    pub(crate) target: Option<String>,
    /// The agent's directory [default: the current one]
    #[cfg_attr(feature = "cli", arg(long, value_name = "DIR"))]
    pub(crate) workspace: Option<PathBuf>,
    /// Where commands start [default: the workspace]
    #[cfg_attr(feature = "cli", arg(long, value_name = "DIR"))]
    pub(crate) cwd: Option<PathBuf>,
    /// How long a command may take, such as 30s or 5m [default: 120s]
    #[cfg_attr(feature = "cli", arg(long, value_name = "TIME"))]
    pub(crate) timeout: Option<String>,
    /// A directory that the agent may also read; repeatable
    #[cfg_attr(feature = "cli", arg(long = "read", value_name = "DIR"))]
    pub(crate) reads: Vec<PathBuf>,
    /// A directory that the agent may also change; repeatable
    #[cfg_attr(feature = "cli", arg(long = "write", value_name = "DIR"))]
    pub(crate) writes: Vec<PathBuf>,
    /// Print JSON for machines
    #[cfg_attr(feature = "cli", arg(long))]
    pub(crate) json: bool,
    /// What a program that embeds Palisade has set; nothing of it can be typed.
    #[cfg_attr(feature = "cli", arg(skip))]
    pub(crate) embedded: Box<Embedded>,
}

#[cfg(feature = "cli")]
impl Context {
    /// The words that say the same, but for the directory that commands start in.
    pub(crate) fn words(&self) -> Vec<OsString> {
        let mut words = Vec::new();
        let mut say = |flag: &str, value: Option<&OsStr>| {
            if let Some(value) = value {
                let mut word = OsString::from(format!("--{flag}="));
                word.push(value);
                words.push(word);
            }
        };
        let transport = self.transport.map(|transport| match transport {
            Transport::Local => "local",
            Transport::Ssh => "ssh",
            Transport::Docker => "docker",
        });
        say("config", self.config.as_deref().map(Path::as_os_str));
        say("policies", self.policies.as_deref().map(Path::as_os_str));
        say("profile", self.profile.as_deref().map(OsStr::new));
        say("agent", self.agent.as_deref().map(OsStr::new));
        say("user", self.user.as_deref().map(OsStr::new));
        say("transport", transport.map(OsStr::new));
        say("target", self.target.as_deref().map(OsStr::new));
        say("workspace", self.workspace.as_deref().map(Path::as_os_str));
        say("timeout", self.timeout.as_deref().map(OsStr::new));
        self.roles.iter().for_each(|role| say("role", Some(OsStr::new(role))));
        self.reads.iter().for_each(|path| say("read", Some(path.as_os_str())));
        self.writes.iter().for_each(|path| say("write", Some(path.as_os_str())));
        words
    }
}

/// Reads a name of an agent, a user or a role. An empty one names none.
#[cfg(feature = "cli")]
fn name(typed: &str) -> Result<String, &'static str> {
    if typed.trim().is_empty() { Err("a name has at least one letter") } else { Ok(typed.to_owned()) }
}

/// How commands reach a shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub(crate) enum Transport {
    Local,
    Ssh,
    Docker,
}

/// What an embedding program has set: it stands where flags do, behind what is enforced and before the settings file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Embedded {
    /// Without a settings file that is named there is none: none is looked for.
    pub(crate) alone: bool,
    /// `sandbox.level`
    pub(crate) level: Option<LevelName>,
    /// `sandbox.limits.processes`
    pub(crate) processes: Option<u64>,
    /// `sandbox.limits.memory`, in bytes
    pub(crate) memory: Option<u64>,
    /// `audit.path`
    pub(crate) audit: Option<PathBuf>,
    /// `session.max`
    pub(crate) max_sessions: Option<usize>,
    /// `output.max-chars`
    pub(crate) max_chars: Option<usize>,
}
