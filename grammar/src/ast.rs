//! Our own tree: what was written, with every word decoded and nothing interpreted.
//!
//! A script is statements, a statement is pipelines joined by `&&` and `||`, a pipeline is parts, a part is a simple
//! command or a list in brackets. What is not in this file cannot be read, and becomes opaque.

use crate::inventory::OpaqueReason;
use crate::span::Span;
use crate::word;

/// Statements in order.
#[derive(Debug, Default)]
pub(crate) struct Script {
    pub(crate) statements: Vec<Statement>,
}

/// Pipelines joined by `&&` and `||`, ended by `;`, `&`, a newline or the end.
#[derive(Debug)]
pub(crate) struct Statement {
    pub(crate) first: Pipeline,
    pub(crate) rest: Vec<(Join, Pipeline)>,
    /// It ends with `&`.
    pub(crate) background: bool,
}

/// What stands between two pipelines of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Join {
    And,
    Or,
}

/// Parts joined by `|` and `|&`.
#[derive(Debug)]
pub(crate) struct Pipeline {
    /// An odd number of `!` stands before it.
    pub(crate) negated: bool,
    pub(crate) parts: Vec<Part>,
}

/// One part of a pipeline.
#[derive(Debug)]
pub(crate) enum Part {
    Simple(SimpleCommand),
    /// `( … )` with its redirections.
    Subshell(Script, Vec<Redirect>),
    /// `{ …; }` with its redirections.
    Group(Script, Vec<Redirect>),
}

/// Assignments, words and redirections; at least one of them.
#[derive(Debug)]
pub(crate) struct SimpleCommand {
    pub(crate) span: Span,
    pub(crate) assignments: Vec<Assign>,
    pub(crate) words: Vec<Arg>,
    pub(crate) redirects: Vec<Redirect>,
}

/// `NAME=value` or `NAME+=value` before the command word.
#[derive(Debug)]
pub(crate) struct Assign {
    pub(crate) span: Span,
    pub(crate) name: String,
    /// It is `+=`: what the variable holds afterwards is not known.
    pub(crate) append: bool,
    pub(crate) value: Arg,
}

/// One redirection.
#[derive(Debug)]
pub(crate) struct Redirect {
    pub(crate) span: Span,
    pub(crate) fd: Option<u32>,
    pub(crate) op: &'static str,
    pub(crate) target: Arg,
}

/// One word as a command gets it.
#[derive(Debug)]
pub(crate) struct Arg {
    pub(crate) word: word::Word,
    pub(crate) count: Count,
    /// The scripts of its `$( … )`, in order.
    pub(crate) substitutions: Vec<Script>,
    pub(crate) notes: Vec<Note>,
}

/// How many words bash may make of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Count {
    One,
    /// One or more, each of which begins with the known prefix.
    Some,
    /// None, one or more.
    Any,
}

/// Something about a word that its command must answer for.
#[derive(Clone, Debug)]
pub(crate) struct Note {
    pub(crate) reason: OpaqueReason,
    pub(crate) span: Span,
    pub(crate) detail: String,
}
