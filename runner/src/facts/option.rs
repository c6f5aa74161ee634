//! Which patterns of a script surely stand for no option: `wc -l *.txt` reads files, unless one is called `-x.txt`.
//!
//! Names are looked at where the script starts, and only for scripts that stay there and make no name that is not
//! written in them: bash may otherwise find others than are there now.

use std::path::Path;

use palisade_grammar::{Command, CommandId, Cwd, EffectKind, Inventory, Resolved, Value};

use super::lookup_budget::Sight;

/// Programs that make no other names than their effects tell.
const MAKERS: [&str; 8] = ["cp", "mkdir", "mv", "rm", "rmdir", "sort", "tee", "touch"];

/// Nothing in the script goes elsewhere or may make a name that looks like an option.
pub(super) fn makes_none(inventory: &Inventory) -> bool {
    // A single command's words are expanded before it does anything.
    let is_alone = |command: &Command| inventory.commands().len() == 1 && !command.conditional && !command.background;
    let is_harmless = |command: &Command| is_alone(command) || is_told(command) && makes_no_option(command);
    inventory.commands().iter().all(|command| stays(command) && is_harmless(command))
}

/// The words of a command, by where they begin, that may be options to the grammar and are none.
pub(super) fn impossible_words(
    inventory: &Inventory,
    command: &Command,
    base: &Path,
    sight: &Sight<'_>,
) -> Vec<(CommandId, usize)> {
    let doubts = inventory.opaque().iter().filter(|item| item.command == Some(command.id) && item.is_possible_option());
    let is_none = |start: &usize| {
        let mut words = command.argv.iter().filter(|word| word.span.start == *start).peekable();
        words.peek().is_some()
            && words.all(|word| {
                let matches_first = matches!(&word.value, Value::Pattern { prefix } if prefix.is_empty());
                matches_first && !super::pattern::may_be_option(&word.raw, base, sight)
            })
    };
    doubts.map(|item| item.span.start).filter(is_none).map(|start| (command.id, start)).collect()
}

/// The reads of a command, by number, of what an option might name that a pattern does not match.
pub(super) fn impossible_reads(command: &Command, base: &Path, sight: &Sight<'_>) -> Vec<(CommandId, usize)> {
    let reads = command.effects.iter().enumerate().filter(|(_, effect)| {
        let of_option = matches!(&effect.target.value, Value::Pattern { prefix } if prefix == "-");
        let raw = effect.target.raw.as_str();
        effect.kind == EffectKind::Read
            && of_option
            && !raw.starts_with('-')
            && !super::pattern::may_be_option(raw, base, sight)
    });
    reads.map(|(index, _)| (command.id, index)).collect()
}

fn stays(command: &Command) -> bool {
    matches!(&command.cwd, Cwd::Known(steps) if steps.is_empty())
}

fn is_told(command: &Command) -> bool {
    let name = command.invocation.words.first().map(String::as_str);
    match command.resolved {
        Resolved::None | Resolved::Builtin | Resolved::Function => true,
        Resolved::Name => {
            command.invocation.groups.contains("read-only") || name.is_some_and(|name| MAKERS.contains(&name))
        }
        Resolved::Path | Resolved::Unknown => false,
    }
}

fn makes_no_option(command: &Command) -> bool {
    command.effects.iter().filter(|effect| effect.kind == EffectKind::Write).all(|effect| match &effect.target.value {
        Value::Literal(path) => !effect.tree && path.split('/').all(|name| !name.starts_with('-')),
        _ => false,
    })
}
