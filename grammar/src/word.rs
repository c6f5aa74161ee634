//! One word of a script: where it stands, as written, and what bash makes of it.
//!
//! This file says what is known of a word. `reader/words.rs` decodes it from the raw bytes.

use serde::Serialize;

use crate::span::Span;

/// One shell word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Word {
    /// Where it stands.
    pub span: Span,
    /// As written.
    pub raw: String,
    /// What bash makes of it.
    pub value: Value,
    /// Some part of it is quoted, so that it is never empty-expanded away and never an alias.
    pub quoted: bool,
}

/// What a word is once bash has expanded it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Value {
    /// Exactly this text.
    Literal(String),
    /// The home directory followed by this text, which is empty or begins with `/` (an unquoted leading `~`).
    Home(String),
    /// A glob or brace pattern: known only with the file system in view.
    Pattern {
        /// The text before the first pattern character.
        prefix: String,
    },
    /// A process substitution: a pipe from or to commands that are listed themselves.
    Pipe {
        /// What can be read from it, where the text tells.
        text: Option<String>,
    },
    /// One of these paths, or one below: what find puts in the place of `{}`.
    Below(Vec<Value>),
    /// Known only at run time: it holds a parameter, command or arithmetic expansion.
    Dynamic {
        /// The literal text before the first expansion.
        prefix: String,
    },
}

impl Value {
    /// The text, if it is known without looking at the environment or the file system.
    pub fn literal(&self) -> Option<&str> {
        match self {
            Self::Literal(text) => Some(text),
            Self::Home(_) | Self::Pipe { .. } | Self::Below(_) | Self::Pattern { .. } | Self::Dynamic { .. } => None,
        }
    }

    /// It is a process substitution, which is no file.
    pub(crate) fn is_pipe(&self) -> bool {
        matches!(self, Self::Pipe { .. })
    }

    /// The text that it is known to begin with; nothing is known of what `~` stands for.
    pub(crate) fn prefix(&self) -> &str {
        match self {
            Self::Literal(text) => text,
            Self::Home(_) => "",
            Self::Pipe { .. } => "/dev/fd/",
            Self::Below(roots) => match roots.as_slice() {
                [root] => root.prefix(),
                _ => "",
            },
            Self::Pattern { prefix } | Self::Dynamic { prefix } => prefix,
        }
    }
}

/// Where an unquoted word ends.
pub(crate) fn is_break(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b';' | b'&' | b'|' | b'(' | b')' | b'<' | b'>')
}

/// May begin a variable's name.
pub(crate) fn starts_name(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_'
}

/// May stand in a variable's name.
pub(crate) fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// A decimal number that arithmetic takes for nothing else.
pub(crate) fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty()
        && digits.len() <= 18
        && (digits == "0" || !digits.starts_with('0'))
        && digits.bytes().all(|byte| byte.is_ascii_digit())
}
