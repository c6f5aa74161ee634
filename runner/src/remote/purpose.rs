//! What a shell at the other end is started for, and with which words and variables.

use std::borrow::Cow;

use super::{guard, terminal};
use crate::shell::{Language, Nonce, TerminalSize, frame, posix};
use crate::transport::TERMINAL_KIND;
use crate::transport::wire::Start;

/// What starts a bash. Nothing of the user's set-up, for that is nothing that a policy has seen.
const BASH: [&str; 5] = ["bash", "--norc", "--noprofile", "--noediting", "-i"];

/// The same for one that runs one command, whose input is its own; [`frame::ONCE`] comes behind it.
const BASH_ONCE: [&str; 4] = ["bash", "--norc", "--noprofile", "-c"];

/// What starts a program of ours: with no variable of anybody's, and with programs of the system before all others. It reads what it is
/// to do as a shell for one command does.
const TASK: [&str; 7] = ["env", "-i", "PATH=/usr/bin:/bin:/usr/local/bin", "LC_ALL=C", "HOME=/dev/null", "sh", "-c"];

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

    /// What the transport starts for it.
    pub(super) fn start(self, language: Language) -> Start {
        Start { words: self.words(language), variables: self.variables(language), terminal: self.terminal() }
    }

    /// The program and its words. None holds a `'` or a backslash.
    pub(crate) fn words(self, language: Language) -> Vec<Cow<'static, str>> {
        let once = |text: Cow<'static, str>| BASH_ONCE.into_iter().map(Cow::from).chain([text]).collect();
        let words: &[&'static str] = match (language, self) {
            (_, Self::Guard { program, nonce }) => {
                let words = [program, guard::VERB, guard::SERVE, nonce.as_str()];
                return words.map(|word| Cow::from(word.to_owned())).into();
            }
            (_, Self::Keeper { program, nonce }) => {
                let words = [program, guard::VERB, guard::KEEP, nonce.as_str()];
                return words.map(|word| Cow::from(word.to_owned())).into();
            }
            (_, Self::Attach { program, directory, told, .. }) => {
                let told = if told { guard::TOLD } else { guard::READ };
                let words = [program, guard::VERB, guard::ATTACH, directory, told];
                return words.map(|word| Cow::from(word.to_owned())).into();
            }
            (_, Self::Task) => return TASK.into_iter().chain([posix::ONCE]).map(Cow::from).collect(),
            (Language::Bash, Self::Once(_)) => return once(frame::ONCE.into()),
            (Language::Bash, Self::Terminal(_, size, ready)) => return once(terminal::start(size, ready).into()),
            (Language::Bash, Self::Ours | Self::Session(_)) => &BASH,
            (Language::Sh, Self::Once(_)) => &["sh", "-c", posix::ONCE],
            // An interrupt is to end what it runs, and not the shell.
            (Language::Sh, Self::Session(_)) => &["sh", "-i"],
            (Language::Sh, Self::Ours) => &["sh"],
            // Nobody asks for it: [`terminal::open`] refuses.
            (Language::Sh, Self::Terminal(..)) => &["false"],
        };
        words.iter().copied().map(Cow::from).collect()
    }

    /// The variables that are set for it: what all that it starts is known by, and that it reads no file of the user's.
    pub(crate) fn variables(self, language: Language) -> Vec<String> {
        let mark = self.mark().map(|mark| format!("{}={mark}", super::MARK));
        let plain = (language == Language::Sh && self != Self::Task).then(|| "ENV=".to_owned());
        let kind = self.terminal().map(|_| format!("TERM={TERMINAL_KIND}"));
        plain.into_iter().chain(mark).chain(kind).collect()
    }
}
