//! Reads a shell script the way bash does and lists everything that it would run.
//!
//! ```text
//!          ┌─ reader ─────▶ ast ─┐                                      ┌─ programs/*.toml
//! bytes ─▶ ┼─ tree_sitter ───────┼─ cross_check: the same? ─▶ collect ──┤
//!          └─ brush ─────────────┘                               │      └─ program
//!                                                                └─▶ Inventory { commands, opaque }
//! ```
//!
//! Three readings that share no code see every script. `reader` follows bash's own grammar byte by byte, with `reader/words` for quotes
//! and expansions, and makes the tree; `tree_sitter` flattens another parser's tree; `brush` tells the commands that a third one sees.
//! Where they see different words, operators or command names, nothing is said about the script but that. What cannot be read becomes an
//! [`Opaque`] item with its place and reason: nothing is dropped, nothing is guessed.
//!
//! `collect` then lists each simple command with what it touches, what feeds it, and the directory it runs in
//! (`collect/directory`). What a program makes of its words is data: one file a program in `programs/`, read by
//! `program`. A wrapper such as `sudo` and the command that it runs are two commands, so no rule about the one speaks
//! for the other.
//!
//! Modules, each of which uses only those before it in this list:
//! - plain data: `limits`, `span`, `opaque`, `word`; `ast` is the tree, and `inventory` the result
//! - readings of a text: `reader`, `tree_sitter`, `brush`; `cross_check` compares them
//! - knowledge: `program` of programs, `posix` of `sh`
//! - all of it put together: `collect`, and `effect_on_shell`
//!
//! Nothing here opens a file, reads the environment or knows a policy; the only clock is the parse deadline.
//!
//! ```
//! let inventory = palisade_grammar::inventory(b"cd build && sudo rm -rf \"$TARGET\"");
//! let programs: Vec<_> = inventory.commands().iter().flat_map(|command| command.invocation.words.first()).collect();
//! assert_eq!(programs, ["cd", "sudo", "rm"]);
//! assert!(inventory.parsed() && inventory.opaque().is_empty());
//!
//! let unfinished = palisade_grammar::inventory(b"echo 'a");
//! assert!(!unfinished.parsed() && unfinished.commands().is_empty());
//! assert_eq!(unfinished.opaque()[0].detail, "unterminated single quote");
//! ```

#![forbid(unsafe_code)]

mod argument;
mod ast;
mod brush;
mod collect;
mod cross_check;
mod effect_on_shell;
mod inventory;
mod limits;
mod opaque;
mod outward;
mod outward_facts;
mod peer;
mod posix;
mod program;
mod reader;
mod span;
mod tree_sitter;
mod word;

#[cfg(test)]
mod tests;

pub use inventory::{
    Assignment, CdStep, Command, CommandId, Cwd, Effect, EffectKind, Inventory, Invocation, Opaque, Parser, Peer,
    Redirection, Resolved, Shell, Via,
};
pub use opaque::OpaqueReason;
pub use outward::outward_tools;
pub use outward_facts::{HttpRequest, Outward, OutwardEffect};
pub use peer::{RemoteLocation, remote_location};
pub use program::catalogue::Catalogue;
pub use span::Span;
pub use word::{Value, Word};

/// Whether Python would load a directory entry of this name in the place of a module of its own library: what an
/// [`EffectKind::Import`] is about.
pub fn shadows_python_module(entry: &str) -> bool {
    program::shadows_python_module(entry)
}

/// Whether programs are known to run what a variable of this name holds. What that is stands among the commands of a script that sets it,
/// or the script is opaque.
#[must_use]
pub fn runs_variable(name: &str) -> bool {
    collect::variables::is_listed(name)
}

/// What a script would make bash run. Never fails: damage, excess and doubt become [`Opaque`] items.
///
/// A script over 64 KiB, with a NUL byte or invalid UTF-8, nested deeper than 64, slower to parse than 250 ms, empty,
/// or with a syntax error anywhere gives no commands and one item that says what is wrong.
pub fn inventory(script: &[u8]) -> Inventory {
    inventory_in(script, &Shell::new())
}

/// What a program makes of its words when it is executed with them: its own file's path, then its arguments as
/// `execve` hands them over. The first command is the program itself; the others are what code in its words would run.
///
/// A word that is no UTF-8 is one that is not known. Code that cannot be read makes the program opaque, and its words
/// are judged all the same.
pub fn execution(words: &[&[u8]]) -> Inventory {
    collect::execution(words)
}

/// As [`inventory()`], for a shell in which other scripts ran before: their functions and aliases stand in the place of programs,
/// and their options change what words come to.
pub fn inventory_in(script: &[u8], shell: &Shell) -> Inventory {
    collect::inventory(script, shell)
}
