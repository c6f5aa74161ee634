//! Scripts that a session's own shell is not given, because not every parser reads them.
//!
//! The shell that a session keeps is Palisade's: it must be known what a script does to it. A script that cannot be read completely is
//! refused for that. Where the no-gain principle holds, the agent could write the same script into a file and run that. So it is made the
//! code of another shell (`bash -c`), which is a program like any other: each program that it starts is decided at its `execve`, and the
//! kernel holds the rest. What it sets, and where it goes, ends with it.
//!
//! Decided here: which scripts, and in what words. Not decided here: whether that may run, which policy says of the new words.

use palisade_grammar::Inventory;

use crate::facts::{Facts, Transport};

/// bash reads a group whole before it runs any of it, so that nothing runs of a script with a syntax error. Extended patterns are
/// only read where they are on by then.
const BEFORE: &str = "bash -O extglob -c '{ ";
const BEHIND: &str = "\n}'";

/// The script that stands for this one; none if it stays as it is. `no_gain` tells whether the principle holds for the session.
pub(crate) fn instead(inventory: &Inventory, facts: &Facts, no_gain: impl FnOnce() -> bool) -> Option<Vec<u8>> {
    // Of a shell at a target it is not known that it is bash.
    let here = facts.transport == Transport::Local && !inventory.leaves().is_posix();
    if inventory.own_parsed() || !inventory.is_well_formed() || !here || !no_gain() {
        return None;
    }
    let text = std::str::from_utf8(inventory.script()).ok()?;
    let instead = format!("{BEFORE}{}{BEHIND}", text.replace('\'', r"'\''"));
    palisade_grammar::inventory(instead.as_bytes()).own_parsed().then(|| instead.into_bytes())
}

/// Whether a script is one that [`Engine::apart`](crate::Engine::apart) has made, by its text.
pub fn is_apart(script: &str) -> bool {
    script.starts_with(BEFORE) && script.ends_with("}'")
}
