//! Why something in a script cannot be read, or is not known before it runs.
//!
//! This file gives the reasons their names, which are the schema's. Where each one holds, the readers, the tables and the collector say.

use serde::{Deserialize, Serialize};

/// Why something is opaque; the names are those of the schema's `Opaque` entities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OpaqueReason {
    /// The command word itself is computed.
    DynamicProgram,
    /// A computed word could be an option, for a program whose options can run or write something.
    DynamicOption,
    /// Code in an argument that is not ours to read (`python -c`), or shell code that is not literal.
    InlineCode,
    /// A program takes its code from standard input.
    StdinCode,
    /// A program runs a file whose content is not in the text.
    ScriptFile,
    /// An option that the program's table does not know, where options can run or write something.
    UnknownOption,
    /// Arithmetic or a subscript that may evaluate a variable's value as code.
    Arithmetic,
    /// A variable named by another (`declare -n`, `${!x}`, `printf -v "$x"`).
    IndirectName,
    /// A variable that changes what bash itself does is set by other means than an assignment.
    ReservedVariable,
    /// The script runs a file that it wrote itself.
    WrittenThenRun,
    /// The program is the agent's own, or a copy that it can have changed, and no guard holds what it does.
    ProjectCode,
    /// No table that was compared with the program itself describes these words, and no guard holds what they do.
    NotReviewed,
    /// A syntax error, a limit exceeded, or a construct that we cannot vouch for.
    UnknownSyntax,
}

impl OpaqueReason {
    /// Every reason.
    const ALL: [Self; 13] = [
        Self::DynamicProgram,
        Self::DynamicOption,
        Self::InlineCode,
        Self::StdinCode,
        Self::ScriptFile,
        Self::UnknownOption,
        Self::Arithmetic,
        Self::IndirectName,
        Self::ReservedVariable,
        Self::WrittenThenRun,
        Self::ProjectCode,
        Self::NotReviewed,
        Self::UnknownSyntax,
    ];

    /// The reason that has this id ([`OpaqueReason::as_str`]).
    pub fn from_id(id: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == id)
    }

    /// The id of the schema's `Opaque` entity, which is also the `reason` in a verdict.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DynamicProgram => "dynamic-program",
            Self::DynamicOption => "dynamic-option",
            Self::InlineCode => "inline-code",
            Self::StdinCode => "stdin-code",
            Self::ScriptFile => "script-file",
            Self::UnknownOption => "unknown-option",
            Self::Arithmetic => "arithmetic",
            Self::IndirectName => "indirect-name",
            Self::ReservedVariable => "reserved-variable",
            Self::WrittenThenRun => "written-then-run",
            Self::ProjectCode => "project-code",
            Self::NotReviewed => "not-reviewed",
            Self::UnknownSyntax => "unknown-syntax",
        }
    }
}
