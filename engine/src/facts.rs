//! What is known of the world at the moment of a decision, as plain data.
//!
//! The engine opens no file and reads no clock: whoever asks brings the facts. What is missing here counts as unknown,
//! and unknown takes the value that forbids most.

use std::collections::{BTreeMap, BTreeSet};

use palisade_grammar::CommandId;
use serde::{Deserialize, Serialize};

use crate::command_facts::CommandFacts;
use crate::path::AbsolutePath;

/// The facts that one script is judged on.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Who asks.
    pub principal: Principal,
    /// How commands reach the shell.
    pub transport: Transport,
    /// The id of the host that the session is on: `localhost`, `docker/<name>`, or a host name.
    pub host: String,
    /// The agent's directory.
    pub workspace: AbsolutePath,
    /// Where the script starts.
    pub cwd: AbsolutePath,
    /// The session's temporary directory, a member of the path group `temp`.
    pub temp: Option<AbsolutePath>,
    /// The directories that the session has for itself in place of the machine's, members of the path group `temp`.
    pub scratch: Scratch,
    /// The session.
    pub session: Session,
    /// The time.
    pub clock: Clock,
    /// Where each command's program was found. A command that is not in here has a program of unknown origin.
    pub programs: BTreeMap<CommandId, Program>,
    /// What the n-th effect of a command would open. A file effect that is not in here has an unknown path.
    pub paths: BTreeMap<(CommandId, usize), AbsolutePath>,
    /// The files that the pattern in the n-th effect of a command stands for: each is asked by itself.
    pub matches: BTreeMap<(CommandId, usize), Vec<AbsolutePath>>,
    /// The path groups that have members below what the n-th effect of a command reaches as a tree. For one that is not
    /// in here, every group that may have is taken to have.
    pub below: BTreeMap<(CommandId, usize), BTreeSet<String>>,
    /// Effects that surely come to nothing: [`palisade_grammar::EffectKind::Import`] from a directory in which nothing
    /// can be taken for a module of Python's own, or a read of what a pattern matches that looks like an option.
    pub inert: BTreeSet<(CommandId, usize)>,
    /// Files that are named like key material and keep nothing from the session: they hold public certificates alone, or the session
    /// makes them. They are no members of the path group `secrets`.
    pub public: BTreeSet<AbsolutePath>,
    /// Directories of which the kernel keeps a part from being removed. `rm -r` of one removes the rest, and then fails.
    pub kept_inside: BTreeSet<AbsolutePath>,
    /// Patterns among the words of a command, by where they begin, that surely match no name that looks like an option.
    pub no_options: BTreeSet<(CommandId, usize)>,
    /// The working directory of each command. One that is not in here is unknown.
    pub directories: BTreeMap<CommandId, AbsolutePath>,
    /// What the machine tells of a command beyond its words.
    pub told: BTreeMap<CommandId, CommandFacts>,
    /// The commands are what a running program starts, seen at its `execve`, with these programs above them; `None`:
    /// the agent wrote them.
    pub started_by: Option<BTreeSet<String>>,
    /// The first command was seen at its `execve`, and these may be at the other ends of its pipes; `None`: the text
    /// tells what stands around it.
    pub at_execve: Option<AtExecve>,
    /// What is known of the machine at the other end of the transport.
    pub machine: Machine,
}

impl Facts {
    /// What is known before anybody has looked at the machine: a local session that stands in its workspace, and nothing of any
    /// command.
    pub fn new(principal: Principal, workspace: AbsolutePath, session: Session, clock: Clock) -> Self {
        Self {
            principal,
            transport: Transport::Local,
            host: "localhost".to_owned(),
            cwd: workspace.clone(),
            workspace,
            temp: None,
            scratch: Scratch::default(),
            session,
            clock,
            programs: BTreeMap::new(),
            paths: BTreeMap::new(),
            matches: BTreeMap::new(),
            below: BTreeMap::new(),
            inert: BTreeSet::new(),
            public: BTreeSet::new(),
            kept_inside: BTreeSet::new(),
            no_options: BTreeSet::new(),
            directories: BTreeMap::new(),
            told: BTreeMap::new(),
            started_by: None,
            at_execve: None,
            machine: Machine::default(),
        }
    }
}

/// Directories of which the session has its own, empty when it begins (`/tmp`), and what it finds in them of the machine's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scratch {
    /// The directories.
    pub places: BTreeSet<AbsolutePath>,
    /// What is not the session's own in them: a workspace below `/tmp`. What lies above one of these is not the session's own either.
    pub except: BTreeSet<AbsolutePath>,
}

impl Scratch {
    /// Whether a path is the session's own.
    pub fn holds(&self, path: &AbsolutePath) -> bool {
        self.places.iter().any(|place| path.is_within(place))
            && !self.except.iter().any(|other| path.is_within(other) || other.is_within(path))
    }
}

impl Facts {
    /// Whether a path is a member of the group `temp`.
    pub fn is_temporary(&self, path: &AbsolutePath) -> bool {
        self.temp.as_ref().is_some_and(|temp| path.is_within(temp)) || self.scratch.holds(path)
    }
}

/// What may stand around a program that is about to be executed, where no text tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AtExecve {
    /// What may feed its standard input.
    pub upstream: Crowd,
    /// What may read its standard output.
    pub downstream: Crowd,
    /// The guard gives the program no right to connect that policy gives its name.
    pub unconnected: bool,
}

/// Commands of which it is not known which.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Crowd {
    /// The words of their programs: `git`, `git push`.
    pub programs: BTreeSet<String>,
    /// The command groups that they belong to.
    pub groups: BTreeSet<String>,
}

impl Crowd {
    /// A command of these words and groups joins it.
    pub fn extend<'a>(
        &mut self,
        programs: impl IntoIterator<Item = &'a String>,
        groups: impl IntoIterator<Item = &'a String>,
    ) {
        self.programs.extend(programs.into_iter().cloned());
        self.groups.extend(groups.into_iter().cloned());
    }

    /// How many words and groups are in it.
    pub fn size(&self) -> usize {
        self.programs.len() + self.groups.len()
    }
}

/// The machine at the other end of a transport; the default is what forbids most.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The user that a session there runs as; empty for the default.
    pub user: String,
    /// The host's key is in the known hosts.
    pub key_verified: bool,
    /// A container's image, `name@sha256:…` if it is pinned.
    pub image: String,
    /// A container with the host's privileges, namespaces or control socket.
    pub privileged: bool,
}

impl Default for Machine {
    fn default() -> Self {
        Self { user: String::new(), key_verified: false, image: String::new(), privileged: true }
    }
}

/// Who asks: proven facts, but for `client`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    /// The agent's name, as the operator's settings or its credentials give it.
    pub agent: String,
    /// On whose behalf it acts.
    pub user: String,
    /// The agent's roles.
    pub roles: BTreeSet<String>,
    /// The identity is proven by `auth`; false: self-declared only.
    pub verified: bool,
    /// How the identity was proven.
    pub auth: Auth,
    /// OAuth scopes; empty otherwise.
    pub scopes: BTreeSet<String>,
    /// The MCP client's own name for itself: never a reason to permit.
    pub client: String,
}

impl Principal {
    /// An agent that the operating system vouches for: who started it is known, and no client has spoken yet.
    pub fn os_user(agent: &str, user: &str, roles: BTreeSet<String>) -> Self {
        Self {
            agent: agent.to_owned(),
            user: user.to_owned(),
            roles,
            verified: true,
            auth: Auth::OsUser,
            scopes: BTreeSet::new(),
            client: String::new(),
        }
    }
}

/// How an identity was proven; the schema's `AuthMethod` entities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Auth {
    /// By an OAuth access token.
    #[serde(rename = "oauth")]
    OAuth,
    /// By a client certificate.
    #[serde(rename = "mtls")]
    MutualTls,
    /// By a token that the operator gave out.
    StaticToken,
    /// By the operating system: who started the process, or peer credentials.
    OsUser,
    /// Not at all.
    None,
}

impl Auth {
    /// The id of the schema's entity.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OAuth => "oauth",
            Self::MutualTls => "mtls",
            Self::StaticToken => "static-token",
            Self::OsUser => "os-user",
            Self::None => "none",
        }
    }

    /// The way of proof that has this id.
    pub fn from_id(id: &str) -> Option<Self> {
        let all = [Self::OAuth, Self::MutualTls, Self::StaticToken, Self::OsUser, Self::None];
        all.into_iter().find(|auth| auth.as_str() == id)
    }
}

/// How a person's answer came; the schema's `Channel` entities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Channel {
    /// Typed at the terminal that the command itself was typed at.
    Terminal,
    /// From a process of that person's own, which the kernel named.
    #[default]
    Control,
    /// Through the agent's own client, which says that a person gave it. Nothing proves that.
    Client,
}

impl Channel {
    /// The id of the schema's entity.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Terminal => "terminal",
            Self::Control => "control",
            Self::Client => "client",
        }
    }

    pub(crate) fn is_control(&self) -> bool {
        *self == Self::Control
    }
}

/// How long a person's yes holds; the schema's `Lasts` entities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lasts {
    /// For the one call that was shown.
    #[default]
    Once,
    /// In the session of that call, as long as it lives.
    Session,
    /// For the agent of that call, in any session.
    Agent,
    /// For all agents that act for the same user.
    Always,
}

impl Lasts {
    /// The id of the schema's entity.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Once => "once",
            Self::Session => "session",
            Self::Agent => "agent",
            Self::Always => "always",
        }
    }

    /// The other way round.
    pub fn from_id(id: &str) -> Option<Self> {
        [Self::Once, Self::Session, Self::Agent, Self::Always].into_iter().find(|lasts| lasts.as_str() == id)
    }

    pub(crate) fn is_once(&self) -> bool {
        *self == Self::Once
    }
}

/// How commands reach a shell; the schema's `Transport` entities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// A shell on this machine.
    #[default]
    Local,
    /// A shell on another machine, over SSH.
    Ssh,
    /// A shell in a container.
    Docker,
}

impl Transport {
    /// The id of the schema's entity.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Ssh => "ssh",
            Self::Docker => "docker",
        }
    }

    /// The transport that has this id.
    pub fn from_id(id: &str) -> Option<Self> {
        [Self::Local, Self::Ssh, Self::Docker].into_iter().find(|transport| transport.as_str() == id)
    }
}

/// The session that a script is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Its id.
    pub id: String,
    /// How long it has lived, in milliseconds.
    pub age_ms: u64,
    /// Scripts it has run before this one.
    pub commands: u64,
    /// Sticky facts about what it has already done; ids of the schema's `Label` entities.
    pub labels: BTreeSet<String>,
    /// Landlock and seccomp are in force.
    pub sandboxed: bool,
    /// Every `execve` of the session is decided again before the new program's first instruction.
    pub guarded: bool,
    /// The kernel holds every path rule of the policy set, for new files too.
    pub paths_held: bool,
    /// Its network is a namespace of its own: what it finds at a loopback address is its own.
    pub own_network: bool,
    /// What its scripts run in.
    pub shell: SessionShell,
}

/// The shell that a session's scripts run in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SessionShell {
    /// bash, as they are read.
    #[default]
    Bash,
    /// A `sh` of dash's kind: only what is the same there is read at all.
    Sh,
    /// Not known: nobody has looked yet.
    Unknown,
}

impl SessionShell {
    /// As policies have it; empty if it is not known.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bash => "bash",
            Self::Sh => "sh",
            Self::Unknown => "",
        }
    }
}

impl Session {
    /// One that has just been opened, and that nothing holds.
    pub fn opened(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            age_ms: 0,
            commands: 0,
            labels: BTreeSet::new(),
            sandboxed: false,
            guarded: false,
            paths_held: false,
            own_network: false,
            shell: SessionShell::Bash,
        }
    }

    /// The same to a set in which no policy looks at what changes from one script to the next.
    pub(crate) fn unread(&self) -> Self {
        Self { age_ms: 0, commands: 0, ..self.clone() }
    }
}

/// The time of a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clock {
    /// UTC, as Cedar's `datetime` takes it: `2026-11-21T05:19:59.999Z`.
    pub now: String,
    /// Milliseconds since midnight in the operator's time zone.
    pub time_of_day_ms: u32,
    /// Day of the week in the operator's time zone: 0 is Monday.
    pub weekday: u8,
}

impl Clock {
    /// Whether it has the form of a time, whatever policies look at of it.
    pub(crate) fn is_well_formed(&self) -> bool {
        const FORM: &[u8] = b"0000-00-00T00:00:00.000Z";
        let fits = |(form, byte): (&u8, u8)| if *form == b'0' { byte.is_ascii_digit() } else { *form == byte };
        let is_time = self.now.len() == FORM.len() && FORM.iter().zip(self.now.bytes()).all(fits);
        is_time && self.weekday < 7 && self.time_of_day_ms < 86_400_000
    }
}

/// Where a program was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Absolute path of the file; `None` for builtins, and for a name that this machine lacks.
    pub path: Option<AbsolutePath>,
    /// Where it comes from.
    pub origin: Origin,
}

/// Where a program comes from; the schema's `Origin` entities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// Built into bash.
    Builtin,
    /// A directory of the installed system.
    System,
    /// A directory that the operator trusts.
    Toolchain,
    /// The workspace.
    Workspace,
    /// The session's temporary directory.
    Temp,
    /// Another machine, where only the name is known.
    Remote,
    /// Anywhere else.
    Unknown,
}

impl Origin {
    /// The id of the schema's entity.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Builtin => "builtin",
            Self::System => "system",
            Self::Toolchain => "toolchain",
            Self::Workspace => "workspace",
            Self::Temp => "temp",
            Self::Remote => "remote",
            Self::Unknown => "unknown",
        }
    }

    /// Whether a program from there is what its name says: only then is it a member of `Program::"<name>"` and of
    /// command groups, so that a permit for `git` never fits `./git`.
    pub fn is_trusted(self) -> bool {
        match self {
            Self::Builtin | Self::System | Self::Toolchain | Self::Remote => true,
            Self::Workspace | Self::Temp | Self::Unknown => false,
        }
    }
}
