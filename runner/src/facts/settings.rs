//! Changes of a repository's settings: whether the guard would refuse what a command of git writes.
//!
//! The guard decides when git writes, by the settings before and after. The same comparison is made here for a command whose words tell the
//! change, so that a verdict on the text agrees with what happens. What the words leave open is the guard's alone.

use palisade_engine::{AbsolutePath, may_change_settings};
use palisade_grammar::Command;

use super::{Occasion, is_held, repository};
use crate::sandbox::earlier::Earlier;
use crate::sandbox::git_config::{Around, Change, refuses};
use crate::sandbox::names::is_beyond;

/// Whether an effect is a change of a repository's settings that the text is not judged by, and that the guard does not surely
/// refuse. `directory` is where the command stands, if
/// that can be looked at.
pub(super) fn are_left_to_the_guard(
    occasion: &Occasion,
    earlier: &Earlier,
    command: &Command,
    effect: usize,
    directory: Option<&AbsolutePath>,
) -> bool {
    let held = is_held(&occasion.session);
    if !held || !may_change_settings(command, effect, held) {
        return may_change_settings(command, effect, held);
    }
    let file = directory.and_then(repository::settings);
    !file.zip(changes(command)).is_some_and(|(file, changes)| {
        let around = Around {
            is_beyond: &|place| is_beyond(&occasion.scratch, place),
            is_of_session: &|name, value| earlier.has_set(&file, name, value),
        };
        refuses(&file, &changes, &around)
    })
}

fn subcommand(command: &Command) -> &str {
    command.invocation.words.last().map(String::as_str).unwrap_or_default()
}

/// What the words of a command say that it changes; none if they leave it open.
fn changes(command: &Command) -> Option<Vec<Change>> {
    let words: Option<Vec<&str>> = command.invocation.operands.iter().map(|word| word.value.literal()).collect();
    let words = words?;
    let set = |name: String, value: &str| Change::Set(name, value.to_owned());
    let plain = command.invocation.flags.is_empty();
    match (subcommand(command), words.as_slice()) {
        ("git config", ["set", name, value] | [name, value]) if plain => Some(vec![set((*name).to_owned(), value)]),
        ("git remote add", [name, url]) if plain => Some(vec![
            set(format!("remote.{name}.url"), url),
            set(format!("remote.{name}.fetch"), &format!("+refs/heads/*:refs/remotes/{name}/*")),
        ]),
        ("git remote set-url", [name, url]) if plain => Some(vec![set(format!("remote.{name}.url"), url)]),
        ("git remote add", [name, _]) if command.invocation.flags.contains("--mirror") => {
            Some(vec![set(format!("remote.{name}.mirror"), "true")])
        }
        // Of one that is there.
        ("git remote set-url", [name, ..]) => Some(vec![Change::Remove(format!("remote.{name}"))]),
        ("git remote remove" | "git remote rm" | "git remote rename" | "git remote set-branches", [name, ..]) => {
            Some(vec![Change::Remove(format!("remote.{name}"))])
        }
        (subcommand, _) if subcommand.starts_with("git sparse-checkout ") => {
            Some(vec![set("extensions.worktreeConfig".to_owned(), "true")])
        }
        _ => None,
    }
}
