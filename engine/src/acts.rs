//! What can be wanted, and a person's yes to it: actions on files, acts of an agent besides scripts, and what a person may want with an agent
//! or the record.
//!
//! Plain data. Decides nothing: `request` makes Cedar's requests of it, and policies answer them.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::facts::{Channel, Lasts};

/// What an action on a file is called in the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileAction {
    /// Read a file, list a directory.
    Read,
    /// Create or change.
    Write,
    /// Remove.
    Delete,
    /// Run or load as code.
    Execute,
}

impl FileAction {
    /// The action's id in the schema.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Delete => "delete",
            Self::Execute => "execute",
        }
    }
}

/// Something that the principal wants done, but for running a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Open a session on the facts' host.
    OpenSession,
    /// Call an MCP tool.
    UseTool(String),
    /// Give a command a variable.
    SetEnv {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
        /// The trusted program that gives it to those that it starts; empty for the agent, and for any other.
        program: String,
        /// What gets it.
        receiver: Receiver<String>,
    },
    /// Send a signal to a process.
    Signal {
        /// What it runs.
        program: String,
        /// The session that it belongs to.
        session: String,
        /// `TERM`, without `SIG`.
        signal: String,
    },
    /// Write to a process's standard input.
    SendInput {
        /// What it runs.
        program: String,
        /// The session that it belongs to.
        session: String,
        /// It takes what is written for code; unknown counts as true.
        interpreter: bool,
        /// What is written.
        text: String,
    },
    /// Connect to a peer.
    Connect {
        /// Its name or address, however it is written.
        host: String,
        /// The address that the name means, where that is known.
        address: Option<IpAddr>,
        /// The port.
        port: u16,
        /// The trusted program that wants it; empty for any other.
        program: String,
    },
    /// Take a snapshot of the workspace.
    Checkpoint,
    /// Go back to one.
    Restore {
        /// Only what the asking session itself has changed since is touched.
        own: bool,
    },
}

impl Act {
    /// The action's id in the schema.
    pub fn action(&self) -> &'static str {
        match self {
            Self::OpenSession => "openSession",
            Self::UseTool(_) => "useTool",
            Self::SetEnv { .. } => "setEnv",
            Self::Signal { .. } => "signal",
            Self::SendInput { .. } => "sendInput",
            Self::Connect { .. } => "connect",
            Self::Checkpoint => "checkpoint",
            Self::Restore { .. } => "restore",
        }
    }

    /// The act, for people.
    pub fn text(&self) -> String {
        match self {
            Self::OpenSession | Self::Checkpoint | Self::Restore { .. } => self.action().to_owned(),
            Self::UseTool(tool) => format!("useTool {tool}"),
            Self::SetEnv { name, value, .. } => format!("{name}={value}"),
            Self::Signal { program, signal, .. } => format!("signal {signal} to {program}"),
            Self::SendInput { program, .. } => format!("sendInput to {program}"),
            Self::Connect { host, port, .. } => format!("{host}:{port}"),
        }
    }
}

/// What gets a variable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Receiver<T> {
    /// Not told.
    #[default]
    Unknown,
    /// The session's shell keeps it for the programs that it starts. It is asked about again at the `execve` of each of them.
    Shell,
    /// The session's shell has it for itself. Nothing in the script exports it.
    ShellAlone,
    /// One program.
    Program {
        /// The program and its subcommand, widest first; empty for one whose name says nothing (`./git`).
        words: Vec<T>,
        /// The command groups of this invocation.
        groups: Vec<T>,
        /// It is open which options this invocation has.
        hidden: bool,
    },
}

impl<T> Receiver<T> {
    /// Whether it is not said who gets the variable.
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown)
    }

    /// The same with texts of another type.
    pub(crate) fn map<U>(&self, mut one: impl FnMut(&T) -> U) -> Receiver<U> {
        match self {
            Self::Unknown => Receiver::Unknown,
            Self::Shell => Receiver::Shell,
            Self::ShellAlone => Receiver::ShellAlone,
            Self::Program { words, groups, hidden } => Receiver::Program {
                words: words.iter().map(&mut one).collect(),
                groups: groups.iter().map(&mut one).collect(),
                hidden: *hidden,
            },
        }
    }
}

impl Receiver<String> {
    /// A program whose name says nothing.
    pub fn untrusted() -> Self {
        Self::Program { words: Vec::new(), groups: Vec::new(), hidden: false }
    }

    /// The widest word of the program; empty where there is none.
    pub fn program(&self) -> &str {
        match self {
            Self::Program { words, .. } => words.first().map_or("", String::as_str),
            Self::Unknown | Self::Shell | Self::ShellAlone => "",
        }
    }
}

/// What a person may want with an agent, or with the record, besides answering it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Oversight {
    /// See what it does.
    Observe,
    /// End what it runs and lock it out.
    Stop {
        /// The session alone that is meant; empty for all that the agent does.
        session: String,
        /// It is to be let in again.
        lift: bool,
    },
    /// Read the record that this user's account holds.
    ReadRecord {
        /// The account's name.
        owner: String,
    },
    /// Remove old files of that record.
    Prune {
        /// The account's name.
        owner: String,
    },
}

impl Oversight {
    /// The action's id in the schema.
    pub fn action(&self) -> &'static str {
        match self {
            Self::Observe | Self::ReadRecord { .. } => "observe",
            Self::Stop { .. } => "stop",
            Self::Prune { .. } => "prune",
        }
    }
}

/// A person's yes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// Who said it: a user's name as policies know it, proven by whoever took the answer.
    pub user: String,
    /// That user's roles.
    pub roles: BTreeSet<String>,
    /// The way that it came.
    pub via: Channel,
    /// How long it holds.
    pub lasts: Lasts,
}
