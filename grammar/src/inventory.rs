//! Every simple command a script can run, what each touches, and what cannot be read.
//!
//! This file says what an inventory is; [`collect`](crate::collect) decides what the text runs.

mod exports;
mod shell;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Serialize, Serializer};

pub(crate) use shell::Hazards;
pub use shell::Shell;

use crate::opaque::OpaqueReason;
use crate::outward_facts::Outward;
use crate::span::Span;
use crate::word::{Value, Word};

/// What a script would make bash run. Only [`crate::inventory()`] makes one, so what it says is about exactly the
/// text that it holds.
#[derive(Clone, Debug, Serialize)]
pub struct Inventory {
    #[serde(skip)]
    pub(crate) script: Vec<u8>,
    pub(crate) commands: Vec<Command>,
    #[serde(rename = "undeterminable")]
    pub(crate) opaque: Vec<Opaque>,
    pub(crate) parser: Parser,
    pub(crate) truncated: bool,
    #[serde(skip)]
    pub(crate) shell: Shell,
}

impl Inventory {
    /// The script, byte for byte as it was submitted.
    pub fn script(&self) -> &[u8] {
        &self.script
    }
    /// Every simple command, in the order of the text; [`CommandId`] is the index.
    pub fn commands(&self) -> &[Command] {
        &self.commands
    }
    /// Everything that could not be read. Never silently dropped: policy has to allow each one explicitly.
    pub fn opaque(&self) -> &[Opaque] {
        &self.opaque
    }
    /// The shell that ran the script, as the next script in it will find it.
    pub fn leaves(&self) -> &Shell {
        &self.shell
    }
    /// Whether the text was read completely: no syntax error, no limit exceeded, nothing of an unknown kind.
    pub fn parsed(&self) -> bool {
        self.parser.ts && !self.truncated
    }

    /// Whether what the shell reads by itself was read completely. What was not is code then that another shell gets as a word or on
    /// its standard input (`bash -c CODE`).
    pub fn own_parsed(&self) -> bool {
        self.parser.own && !self.truncated
    }

    /// Whether the text has a command, is within the limits of length and time, and has no syntax error that Palisade's own reader
    /// sees. Then bash may read what this inventory leaves unread.
    pub fn is_well_formed(&self) -> bool {
        self.parser.formed
    }
}

/// Which parsers accepted the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Parser {
    /// tree-sitter-bash, without an ERROR or MISSING node and with every leaf accounted for.
    pub ts: bool,
    /// The same, but for code that another shell gets.
    #[serde(skip)]
    pub own: bool,
    /// Palisade's own reader, which leaves out what it does not know.
    #[serde(skip)]
    pub formed: bool,
}

/// Names one simple command of an inventory: its index in [`Inventory::commands`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct CommandId(pub u32);

/// One simple command, wrappers (`sudo`, `env`, `timeout`, …) taken off: a wrapper and what it runs are two commands.
#[derive(Clone, Debug, Serialize)]
pub struct Command {
    /// Its name in this inventory.
    pub id: CommandId,
    /// Where it stands, its own redirections and prefix assignments included.
    pub span: Span,
    /// The command that runs this one (a wrapper, a shell given code), if any.
    pub parent: Option<CommandId>,
    /// How bash gets to it.
    pub via: Via,
    /// The command word.
    pub program: Word,
    /// What kind of thing the command word names, as far as the text tells.
    pub resolved: Resolved,
    /// All words, the command word first.
    pub argv: Vec<Word>,
    /// What the program's table makes of the words.
    #[serde(flatten)]
    pub invocation: Invocation,
    /// Assignments: before the command word, or standing alone.
    #[serde(rename = "env")]
    pub assignments: Vec<Assignment>,
    /// Redirections, in order; those that open a file also stand in `effects`.
    #[serde(rename = "redirects")]
    pub redirections: Vec<Redirection>,
    /// What it touches, by redirection and by operand.
    pub effects: Vec<Effect>,
    /// The working directory it runs in.
    pub cwd: Cwd,
    /// Where it is started, if it then goes elsewhere by itself (`make -C sub`): that of [`Effect::from_start`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<Cwd>,
    /// It may not run at all: it stands behind `&&`, `||` or in a branch.
    pub conditional: bool,
    /// It runs in the background (`&`).
    pub background: bool,
    /// Nesting: 0 is the top level of the submitted script.
    pub depth: u32,
    /// Commands whose output is its standard input or its code.
    pub upstream: Vec<CommandId>,
    /// Commands that read its output.
    pub downstream: Vec<CommandId>,
}

/// How bash gets to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Via {
    /// It is written in the script.
    Top,
    /// It is the n-th part of a pipeline, counted from 0.
    Pipe(u32),
    /// A wrapper runs it: the wrapper's program words (`git bisect`).
    Wrapper(String),
    /// A shell runs it from literal code that it was given (`bash -c '…'`): the shell's name.
    Code(String),
    /// In a command substitution.
    Substitution,
    /// In a process substitution.
    ProcessSubstitution,
    /// In a subshell.
    Subshell,
    /// In the body of this function.
    Function(String),
    /// In the text of an alias.
    Alias,
    /// In the code of a trap.
    Trap,
    /// In a coprocess.
    Coproc,
    /// In the value of this variable, which a program runs (`PAGER`).
    Variable(String),
}

/// Serialised as `top`, `pipe(0)`, `wrapper(sudo)`, `code(bash)`.
impl Serialize for Via {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Top => serializer.serialize_str("top"),
            Self::Pipe(part) => serializer.collect_str(&format_args!("pipe({part})")),
            Self::Wrapper(words) => serializer.collect_str(&format_args!("wrapper({words})")),
            Self::Substitution => serializer.serialize_str("subst"),
            Self::ProcessSubstitution => serializer.serialize_str("procsub"),
            Self::Subshell => serializer.serialize_str("subshell"),
            Self::Function(name) => serializer.collect_str(&format_args!("function({name})")),
            Self::Alias => serializer.serialize_str("alias"),
            Self::Trap => serializer.serialize_str("trap"),
            Self::Coproc => serializer.serialize_str("coproc"),
            Self::Variable(name) => serializer.collect_str(&format_args!("variable({name})")),
            Self::Code(shell) => serializer.collect_str(&format_args!("code({shell})")),
        }
    }
}

/// What kind of thing a command word names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resolved {
    /// A bash builtin, taken before any program of that name.
    Builtin,
    /// A function that the script defines: its body is listed by itself.
    Function,
    /// A program given by a path: it has a `/` in it.
    Path,
    /// A program looked up in `PATH`.
    Name,
    /// No command word: assignments or redirections alone.
    #[default]
    None,
    /// Not known before it runs.
    Unknown,
}

/// What a program's table says of one invocation. Everything is empty for a program without a table (a leaf).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Invocation {
    /// Program ids as policies name them, widest first: `["git", "git remote", "git remote add"]`. Empty if the
    /// command word is not literal. For a program given by path, its last component.
    pub words: Vec<String>,
    /// Command groups that this very invocation belongs to: `read-only`, `network`, …
    pub groups: BTreeSet<String>,
    /// Options in their canonical long form where the table knows it: `--recursive`.
    pub flags: BTreeSet<String>,
    /// Literal values of options, by canonical name.
    pub options: BTreeMap<String, BTreeSet<String>>,
    /// Words that are neither options, their values nor subcommands.
    pub operands: Vec<Word>,
    /// It is given code as an argument: `sh -c`, `python -c`, an awk program.
    pub inline_code: bool,
    /// The program's table was compared with the program itself, and has each option that is written here. True for what bash
    /// itself runs.
    #[serde(skip)]
    pub reviewed: bool,
    /// Files of a project that decide what code it runs: `Makefile`. Empty if it runs none of the project's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub project: Vec<String>,
    /// What it does to another system, or to this machine; none: no table is about this program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outward: Option<Outward>,
}

/// One `NAME=value`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Assignment {
    /// Where it stands.
    pub span: Span,
    /// The variable's name.
    pub name: String,
    /// What is assigned.
    pub value: Word,
    /// It outlives the command: there is no command word behind it, or a builtin such as `export` makes it.
    pub persistent: bool,
}

/// One redirection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Redirection {
    /// Where it stands.
    pub span: Span,
    /// The descriptor it changes, where it is written or implied.
    pub fd: Option<u32>,
    /// The operator as written: `>`, `>>`, `<`, `<>`, `>|`, `&>`, `>&`, `<&`, `<<`, `<<-`, `<<<`.
    pub op: String,
    /// The word behind it; for here-documents the delimiter.
    pub target: Word,
}

/// Something that a command touches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Effect {
    /// What is done.
    pub kind: EffectKind,
    /// To what: a path, a URL or host, a variable's name.
    pub target: Word,
    /// It reaches everything below the target: a recursive option, a rename, an archive.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tree: bool,
    /// A relative target is meant from where the command is started ([`Command::start`]), and not from where it goes: a redirection, an
    /// archive of `tar -C`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub from_start: bool,
    /// For [`EffectKind::Connect`]: the peer, where the text tells it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<Peer>,
    /// git changes its settings, and not every change of this kind is harmless. Where the kernel keeps settings, the guard compares what git
    /// writes with what was there.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub weighed: bool,
}

/// What is done to an effect's target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EffectKind {
    /// A file or directory is read or listed.
    Read,
    /// A file is created, changed or truncated.
    Write,
    /// A file or directory is removed.
    Delete,
    /// A file is run or loaded as code.
    Execute,
    /// Modules of the names that Python's own library has may be loaded from this directory, before those.
    Import,
    /// A network peer is talked to.
    Connect,
}

/// A network peer named in the text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Peer {
    /// Host name or address, lower case, without brackets.
    pub host: String,
    /// Port, the scheme's own if none is written.
    pub port: u16,
}

/// The working directory of a command, told as the steps that lead to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cwd {
    /// From where the script starts, each step in turn; no step: where the script starts.
    Known(Vec<CdStep>),
    /// Not known before it runs.
    Unknown,
}

/// One literal `cd`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CdStep {
    /// Where to; never [`Value::Dynamic`] or [`Value::Pattern`].
    pub to: Value,
    /// The script goes on if the `cd` fails (`cd x; …`): whoever resolves this step must take the directory as
    /// unknown unless it can be entered now.
    pub must_exist: bool,
}

/// Something in the script that could not be read or is not known before it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Opaque {
    /// Where it stands.
    pub span: Span,
    /// Why.
    #[serde(rename = "reason_code")]
    pub reason: OpaqueReason,
    /// The text, shortened to at most 200 bytes at a character boundary; invalid UTF-8 is replaced.
    pub text: String,
    /// What is wrong and what would help, for a person.
    pub detail: String,
    /// The command it belongs to; `None` if it stands for something of which no command could be made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<CommandId>,
}

/// The detail of a word that may be an option.
pub(crate) const POSSIBLE_OPTION: &str = "this word may turn out to be an option; put it behind `--`, or write it out";

/// Bytes of a script that an opaque item quotes.
const MAX_QUOTE: usize = 200;

impl Opaque {
    /// As much of a text as an item quotes.
    pub fn quoted(text: &str) -> &str {
        let end = (0..=MAX_QUOTE.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
        end.and_then(|end| text.get(..end)).unwrap_or_default()
    }

    /// The only doubt is that the word may turn out to be an option: who knows the word, knows whether it does.
    pub fn is_possible_option(&self) -> bool {
        self.reason == OpaqueReason::DynamicOption && self.detail == POSSIBLE_OPTION
    }
}
