//! Which shell there is at the other end: what it is started with, and how it is told things.
//!
//! A bash is preferred, for that is what scripts are judged for. Where there is none a `sh` of dash's kind does: a script that would be
//! anything else there is refused by the grammar ([`palisade_grammar::Shell::posix`]).

use std::borrow::Cow;

use palisade_engine::SessionShell;
use serde::Serialize;

use super::terminal;
use crate::outpost;
use crate::session::frame::{self, Streams};
use crate::session::{Nonce, TerminalSize, posix};
use crate::transport::TERMINAL_KIND;

/// What starts a bash. Nothing of the user's set-up, for that is nothing that a policy has seen.
const BASH: [&str; 5] = ["bash", "--norc", "--noprofile", "--noediting", "-i"];

/// The same for one that runs one command, whose input is its own; [`frame::ONCE`] comes behind it.
const BASH_ONCE: [&str; 4] = ["bash", "--norc", "--noprofile", "-c"];

/// What starts a program of ours: with no variable of anybody's, and with programs of the system before all others. It reads what it is
/// to do as a shell for one command does.
const TASK: [&str; 7] = ["env", "-i", "PATH=/usr/bin:/bin:/usr/local/bin", "LC_ALL=C", "HOME=/dev/null", "sh", "-c"];

/// The shell that a session's commands run in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Language {
    /// bash.
    #[default]
    Bash,
    /// dash or busybox's ash.
    Sh,
}

/// What a shell is started for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose<'a> {
    /// To be asked by us alone.
    Ours,
    /// For a session's commands: all that it starts bears this mark.
    Session(&'a str),
    /// For a single command, likewise.
    Once(&'a str),
    /// For a single command at a terminal of this size, likewise; it says when that is ready.
    Terminal(&'a str, TerminalSize, &'a Nonce),
    /// For a program of ours that runs to its end.
    Task,
    /// For the guard, which says where its own words begin.
    Guard {
        /// Where it lies.
        program: &'a str,
        nonce: &'a Nonce,
    },
    /// For the work of checkpoints, by the guard's program; it says where its own words begin.
    Keeper {
        /// Where it lies.
        program: &'a str,
        nonce: &'a Nonce,
    },
    /// For handing a shell's streams to the guard.
    Attach {
        /// Where the guard lies.
        program: &'a str,
        /// Where its socket does.
        directory: &'a str,
        /// We go on to tell the shell things, and none of its commands has its input.
        told: bool,
        terminal: Option<TerminalSize>,
    },
}

impl Purpose<'_> {
    fn mark(&self) -> Option<&str> {
        match self {
            Self::Ours | Self::Task | Self::Guard { .. } | Self::Keeper { .. } | Self::Attach { .. } => None,
            Self::Session(mark) | Self::Once(mark) | Self::Terminal(mark, ..) => Some(mark),
        }
    }

    /// The size of the terminal that its streams are to be.
    pub(crate) fn terminal(&self) -> Option<TerminalSize> {
        match self {
            Self::Ours | Self::Session(_) | Self::Once(_) | Self::Task => None,
            Self::Guard { .. } | Self::Keeper { .. } => None,
            Self::Attach { terminal, .. } => *terminal,
            Self::Terminal(_, size, _) => Some(*size),
        }
    }
}

impl Language {
    /// The program and its words. None holds a `'` or a backslash.
    pub(crate) fn words(self, purpose: Purpose<'_>) -> Vec<Cow<'static, str>> {
        let once = |text: Cow<'static, str>| BASH_ONCE.into_iter().map(Cow::from).chain([text]).collect();
        let words: &[&'static str] = match (self, purpose) {
            (_, Purpose::Guard { program, nonce }) => {
                let words = [program, outpost::VERB, outpost::SERVE, nonce.as_str()];
                return words.map(|word| Cow::from(word.to_owned())).into();
            }
            (_, Purpose::Keeper { program, nonce }) => {
                let words = [program, outpost::VERB, outpost::KEEP, nonce.as_str()];
                return words.map(|word| Cow::from(word.to_owned())).into();
            }
            (_, Purpose::Attach { program, directory, told, .. }) => {
                let told = if told { outpost::TOLD } else { outpost::READ };
                let words = [program, outpost::VERB, outpost::ATTACH, directory, told];
                return words.map(|word| Cow::from(word.to_owned())).into();
            }
            (_, Purpose::Task) => return TASK.into_iter().chain([posix::ONCE]).map(Cow::from).collect(),
            (Self::Bash, Purpose::Once(_)) => return once(frame::ONCE.into()),
            (Self::Bash, Purpose::Terminal(_, size, ready)) => return once(terminal::start(size, ready).into()),
            (Self::Bash, Purpose::Ours | Purpose::Session(_)) => &BASH,
            (Self::Sh, Purpose::Once(_)) => &["sh", "-c", posix::ONCE],
            // An interrupt is to end what it runs, and not the shell.
            (Self::Sh, Purpose::Session(_)) => &["sh", "-i"],
            (Self::Sh, Purpose::Ours) => &["sh"],
            // Nobody asks for it: [`terminal::open`] refuses.
            (Self::Sh, Purpose::Terminal(..)) => &["false"],
        };
        words.iter().copied().map(Cow::from).collect()
    }

    /// The variables that are set for it: what all that it starts is known by, and that it reads no file of the user's.
    pub(crate) fn variables(self, purpose: Purpose<'_>) -> Vec<String> {
        let mark = purpose.mark().map(|mark| format!("{}={mark}", super::MARK));
        let plain = (self == Self::Sh && purpose != Purpose::Task).then(|| "ENV=".to_owned());
        let kind = purpose.terminal().map(|_| format!("TERM={TERMINAL_KIND}"));
        plain.into_iter().chain(mark).chain(kind).collect()
    }

    /// What it is told first, and a report.
    pub(crate) fn boot(self, nonce: &Nonce) -> Vec<u8> {
        match self {
            Self::Bash => frame::boot_remote(nonce),
            Self::Sh => posix::boot(nonce),
        }
    }

    /// One command, and a report.
    pub(crate) fn command(
        self,
        script: &[u8],
        directory: Option<&[u8]>,
        streams: Streams<'_>,
        nonce: &Nonce,
    ) -> Vec<u8> {
        match self {
            Self::Bash => frame::command(script, directory, streams, nonce),
            Self::Sh => posix::command(script, directory, streams, nonce),
        }
    }

    /// The command of a shell that has only one.
    pub(crate) fn only(self, script: &[u8], directory: Option<&[u8]>, farewell: bool) -> Vec<u8> {
        match self {
            Self::Bash => frame::only(script, directory, farewell),
            // No command of its may set a trap.
            Self::Sh => posix::only(script, directory),
        }
    }

    /// Goes to a directory, and a report.
    pub(crate) fn go(self, directory: &str, nonce: &Nonce) -> Vec<u8> {
        let word = self.quoted(directory);
        match self {
            Self::Bash => frame::own(&format!("builtin cd -P -- {word}"), nonce),
            Self::Sh => posix::own(&format!("command cd -P -- {word}"), nonce),
        }
    }

    /// From now on reports come on standard output alone, in a shell whose standard error nobody reads.
    pub(crate) fn one_report(self) -> Vec<u8> {
        match self {
            Self::Bash => frame::one_report(),
            Self::Sh => posix::one_report(),
        }
    }

    /// A report by itself.
    pub(crate) fn sync(self, nonce: &Nonce) -> Vec<u8> {
        match self {
            Self::Bash => frame::sync(nonce),
            Self::Sh => posix::sync(nonce),
        }
    }

    /// A text as one word.
    pub(crate) fn quoted(self, text: &str) -> String {
        match self {
            Self::Bash => frame::quoted(text.as_bytes()),
            Self::Sh => posix::quoted(text.as_bytes()),
        }
    }

    /// The shell, as scripts are read for it before any has run.
    pub(crate) fn fresh(self) -> palisade_grammar::Shell {
        match self {
            Self::Bash => palisade_grammar::Shell::new(),
            Self::Sh => palisade_grammar::Shell::posix(),
        }
    }

    /// What policies are told of it.
    pub(crate) fn told(self) -> SessionShell {
        match self {
            Self::Bash => SessionShell::Bash,
            Self::Sh => SessionShell::Sh,
        }
    }
}
