//! Changes of a repository's settings: whether the guard would refuse what a command of git writes.
//!
//! The guard decides when git writes, by the settings before and after. The same comparison is made here for a command whose words tell the
//! change, so that a verdict on the text agrees with what happens. What the words leave open is the guard's alone.

use palisade_engine::{AbsolutePath, may_change_settings};
use palisade_grammar::{Command, Effect, EffectKind};
use palisade_sandbox::names::is_beyond;
use palisade_sandbox::repositories::Around;

use crate::git::{Change, may_be_kept, refuses};

use super::{Occasion, Surroundings, is_held, repository};

/// Whether an effect is a change of a repository's settings that the text is not judged by, and that the guard does not surely
/// refuse. `directory` is where the command stands, if that can be looked at; `is_no_gain`: whether own code may run, so that sessions can
/// have settings that they alone see.
pub(super) fn are_left_to_the_guard(
    surroundings: &Surroundings,
    occasion: &Occasion,
    command: &Command,
    effect: usize,
    directory: Option<&AbsolutePath>,
    is_no_gain: impl FnOnce() -> bool,
) -> bool {
    let held = is_held(&occasion.session);
    let may_change = may_change_settings(command, effect, held);
    if !held || !may_change && !writes_settings(command, effect) {
        return may_change;
    }
    let Some(changes) = changes(command) else { return may_change };
    // Where an earlier command of the script may have led elsewhere, the guard alone sees the repository.
    let Some(file) = directory.and_then(repository::settings) else {
        return may_change || may_be_kept(&changes) && is_no_gain();
    };
    let earlier = &surroundings.earlier;
    let own = is_no_gain().then(|| earlier.own_settings()).flatten();
    let around = Around {
        is_beyond: &|place| is_beyond(&occasion.scratch, place),
        is_of_session: &|name, value| earlier.has_set(&file, name, value),
        own: own.as_ref(),
        sees_own: true,
    };
    refuses(&file, &changes, &around).map_or(may_change, |refused| !refused)
}

/// Whether an effect is what `git config` writes to a repository's settings, whatever the setting.
fn writes_settings(command: &Command, effect: usize) -> bool {
    let is_settings =
        |effect: &Effect| effect.kind == EffectKind::Write && effect.target.value.literal() == Some(".git/config");
    subcommand(command) == "git config" && command.effects.get(effect).is_some_and(is_settings)
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
        (subcommand, _) if subcommand.starts_with("git sparse-checkout ") => Some(vec![Change::ForEachWorktree]),
        _ => None,
    }
}
