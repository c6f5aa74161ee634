//! Our own tree: what was written, with every word decoded and nothing interpreted.
//!
//! A script is statements, a statement is pipelines joined by `&&` and `||`, a pipeline is parts, a part is a simple
//! command, a compound one, or a definition. What is not in this file cannot be read, and becomes opaque.

use std::cell::OnceCell;
use std::rc::Rc;

use crate::opaque::OpaqueReason;
use crate::span::{Frame, Span};
use crate::word::{Value, Word, is_integer};

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
    /// Nothing but a newline or the end of the text stands behind it.
    pub(crate) ends_line: bool,
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
    /// How many of its bars are `|&`.
    pub(crate) both: usize,
    pub(crate) parts: Vec<Part>,
}

/// One part of a pipeline.
#[derive(Debug)]
pub(crate) enum Part {
    Simple(SimpleCommand),
    Compound(Box<Compound>),
    Function(Function),
    Coproc(Coproc),
}

/// Assignments, words and redirections; at least one of them.
#[derive(Debug)]
pub(crate) struct SimpleCommand {
    pub(crate) span: Span,
    pub(crate) assignments: Vec<Assign>,
    pub(crate) words: Vec<Arg>,
    pub(crate) redirects: Vec<Redirect>,
}

/// A compound command with the redirections behind it.
#[derive(Debug)]
pub(crate) struct Compound {
    pub(crate) span: Span,
    pub(crate) kind: CompoundKind,
    pub(crate) redirects: Vec<Redirect>,
}

#[derive(Debug)]
pub(crate) enum CompoundKind {
    /// `( … )`
    Subshell(Script),
    /// `{ …; }`
    Group(Script),
    /// `if` and each `elif` with its condition, then `else`.
    If { arms: Vec<(Script, Script)>, otherwise: Option<Script> },
    /// `while` and `until`.
    While { condition: Script, body: Script },
    /// `for NAME in …` and `select NAME in …`; without `in` the words are the positional parameters.
    For { name: String, words: Option<Vec<Arg>>, body: Script },
    /// `for (( …; …; … ))`: what runs once, and what runs at each turn.
    Arithmetic { first: Box<Arg>, again: Box<Arg>, body: Script },
    /// `case … in … esac`
    Case { subject: Box<Arg>, arms: Vec<Arm> },
    /// `[[ … ]]`: its words, and what is compared as numbers.
    Test { words: Vec<Arg> },
    /// `(( … ))`
    Evaluate(Box<Arg>),
}

/// One arm of `case`.
#[derive(Debug)]
pub(crate) struct Arm {
    pub(crate) patterns: Vec<Arg>,
    pub(crate) body: Script,
    /// It ends with `;&` or `;;&`: the next arm may run as well.
    pub(crate) falls: bool,
}

/// `NAME () body`
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) name: String,
    /// The whole definition as written.
    pub(crate) raw: Rc<str>,
    pub(crate) body: Rc<Compound>,
}

/// `coproc [NAME] command`
#[derive(Debug)]
pub(crate) struct Coproc {
    pub(crate) span: Span,
    pub(crate) name: String,
    pub(crate) body: Box<Part>,
}

/// `NAME=value`, `NAME+=value`, `NAME[…]=value` or `NAME=( … )`.
#[derive(Debug)]
pub(crate) struct Assign {
    pub(crate) span: Span,
    /// As written.
    pub(crate) raw: String,
    pub(crate) name: String,
    /// Only a part of the variable is set: what it holds afterwards is not known.
    pub(crate) partial: bool,
    pub(crate) value: Arg,
    /// Its value is nothing but arithmetic: whatever it comes to is a number.
    pub(crate) number: bool,
}

/// One redirection.
#[derive(Debug)]
pub(crate) struct Redirect {
    pub(crate) span: Span,
    pub(crate) fd: Option<u32>,
    /// The descriptor goes into a variable (`{name}>file`).
    pub(crate) variable: Option<String>,
    pub(crate) op: &'static str,
    pub(crate) target: Arg,
    /// The here-document's text.
    pub(crate) body: Option<Rc<OnceCell<Arg>>>,
}

/// One word as a command gets it.
#[derive(Debug)]
pub(crate) struct Arg {
    pub(crate) word: Word,
    pub(crate) count: Count,
    /// The decoded text, expansions left out.
    pub(crate) text: String,
    /// Where expansions stand in the text.
    pub(crate) holes: Vec<Hole>,
    /// Offset of the first unquoted pattern character in the text.
    pub(crate) pattern: Option<usize>,
    /// Unquoted braces may make several words of it.
    pub(crate) braced: bool,
    /// It begins with an unquoted `~`, which stands in the text.
    pub(crate) home: bool,
    /// The scripts in it, in order.
    pub(crate) nested: Vec<Nested>,
    pub(crate) arithmetic: Vec<Arithmetic>,
    pub(crate) notes: Vec<Note>,
}

impl Arg {
    /// A word that says nothing, for what stands where no word is.
    pub(crate) fn nothing(span: Span) -> Self {
        Self {
            word: Word { span, raw: String::new(), value: Value::Literal(String::new()), quoted: false },
            count: Count::One,
            text: String::new(),
            holes: Vec::new(),
            pattern: None,
            braced: false,
            home: false,
            nested: Vec::new(),
            arithmetic: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// What the word is if nothing is known of any variable.
    pub(crate) fn plain_value(&self) -> Value {
        let first_hole = self.holes.first().map(|hole| hole.at);
        let prefix_end = first_hole.unwrap_or(usize::MAX).min(self.pattern.unwrap_or(usize::MAX)).min(self.text.len());
        let prefix = if self.home { "" } else { self.text.get(..prefix_end).unwrap_or_default() };
        match (first_hole, self.pattern) {
            (Some(_), _) if self.is_home_variable() => Value::Home(self.text.clone()),
            (Some(_), _) => Value::Dynamic { prefix: prefix.to_owned() },
            (None, Some(_)) if self.home => Value::Dynamic { prefix: String::new() },
            (None, Some(_)) if !self.stays_below() => Value::Dynamic { prefix: prefix.to_owned() },
            (None, Some(_)) => Value::Pattern { prefix: prefix.to_owned() },
            (None, None) if self.home => Value::Home(self.text.strip_prefix('~').unwrap_or(&self.text).to_owned()),
            (None, None) => Value::Literal(self.text.clone()),
        }
    }

    /// What a pattern matches begins with its literal prefix and does not climb out of there again. Braces can name
    /// anything.
    pub(crate) fn stays_below(&self) -> bool {
        !self.braced && !self.text.split('/').any(|name| name == "..")
    }

    /// `$HOME` with nothing but a path behind it.
    pub(crate) fn is_home_variable(&self) -> bool {
        let [hole] = self.holes.as_slice() else { return false };
        let path = self.text.is_empty() || self.text.starts_with('/');
        hole.at == 0 && hole.name.as_deref() == Some("HOME") && path && self.pattern.is_none()
    }

    /// `"$PWD"` with anything behind it, or `"$OLDPWD"/x`: one word, and a path from the root. A shell that has been nowhere else has no
    /// `OLDPWD`.
    pub(crate) fn directory_variable(&self) -> Option<&str> {
        let [hole] = self.holes.as_slice() else { return None };
        let name = hole.name.as_deref().filter(|_| hole.at == 0 && hole.quoted && self.pattern.is_none())?;
        (name == "PWD" || name == "OLDPWD" && self.text.starts_with('/')).then_some(name)
    }

    /// Whatever its expansions come to, it is a number.
    pub(crate) fn is_number(&self) -> bool {
        match self.holes.as_slice() {
            [] => is_integer(&self.text) && self.pattern.is_none() && !self.home,
            [hole] => hole.number && self.text.is_empty(),
            _ => false,
        }
    }
}

/// An expansion in a word.
#[derive(Clone, Debug)]
pub(crate) struct Hole {
    /// Offset in the word's text.
    pub(crate) at: usize,
    /// The variable whose value stands here, if that is all there is to it.
    pub(crate) name: Option<String>,
    pub(crate) quoted: bool,
    /// Whatever it is, it is a number.
    pub(crate) number: bool,
    /// The command substitution that it is, as an index of the word's nested scripts.
    pub(crate) nested: Option<usize>,
}

/// A script inside a word.
#[derive(Debug)]
pub(crate) struct Nested {
    pub(crate) kind: NestedKind,
    pub(crate) script: Script,
    pub(crate) frame: Frame,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NestedKind {
    /// `$( … )` and backticks
    Substitution,
    /// `<( … )`
    Input,
    /// `>( … )`
    Output,
}

/// Something that bash evaluates as arithmetic: every variable in it is evaluated in turn, and a value such as
/// `a[$(rm)]` then runs code.
#[derive(Clone, Debug, Default)]
pub(crate) struct Arithmetic {
    pub(crate) span: Span,
    /// Variables whose values are evaluated.
    pub(crate) names: Vec<String>,
    /// Variables that it sets.
    pub(crate) assigns: Vec<String>,
    /// Those of them that it sets whatever the way it takes, if it is evaluated at all.
    pub(crate) sure: Vec<String>,
    /// It may be wrong (a division by zero, `${x?}`), so that bash gives up the line that it stands in.
    pub(crate) fallible: bool,
    /// Text of which nothing is known is evaluated.
    pub(crate) unknown: bool,
    /// It only sets its variables, to text (`${x:=text}`).
    pub(crate) unset: bool,
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
