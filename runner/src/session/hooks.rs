//! Whether a script leaves code in its shell that runs by itself, between the scripts: a trap, or what bash makes of a prompt.
//!
//! Such code runs where the shell is asked what it is, too, and what it says there another shell would run. Of scripts that nobody
//! could read nothing is known; they may have changed the shell as they liked in any case.

use palisade_grammar::{Command, Inventory, Resolved};

/// Variables that bash expands or runs before it reads, or while it traces.
const PROMPTS: [&str; 6] = ["PROMPT_COMMAND", "PS0", "PS1", "PS2", "PS3", "PS4"];

/// Traps that run when the shell ends, and never before.
const AT_THE_END: [&str; 3] = ["EXIT", "SIGEXIT", "0"];

/// Whether one of its commands does so.
pub(super) fn sets_one(inventory: &Inventory) -> bool {
    inventory.commands().iter().any(|command| sets_trap(command) || sets_prompt(command))
}

fn sets_trap(command: &Command) -> bool {
    let is_trap = command.resolved == Resolved::Builtin && command.invocation.words.iter().any(|word| word == "trap");
    let mut operands = command.invocation.operands.iter().map(|word| word.value.literal());
    let (Some(handler), signals) = (operands.next(), operands) else { return false };
    let signals: Vec<Option<&str>> = signals.collect();
    let is_none = matches!(handler, Some("" | "-"));
    let at_the_end = signals.iter().all(|signal| signal.is_some_and(|signal| AT_THE_END.contains(&signal)));
    // `trap INT` takes one back.
    is_trap && !is_none && !signals.is_empty() && !at_the_end
}

/// By assignment, or as a word of whatever sets variables: `export`, `declare`, `read`, `printf -v`.
fn sets_prompt(command: &Command) -> bool {
    let names = |text: &str| PROMPTS.iter().any(|name| text.contains(name));
    command.assignments.iter().any(|assignment| names(&assignment.name))
        || command.resolved == Resolved::Builtin && command.argv.iter().any(|word| names(&word.raw))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_that_runs_by_itself_is_told() {
        for (script, expected) in [
            ("trap 'echo x' DEBUG", true),
            ("trap 'echo x' ERR EXIT", true),
            ("trap -- 'echo x' USR1", true),
            ("builtin trap 'echo x' RETURN", true),
            ("f() { trap 'echo x' DEBUG; }; f", true),
            ("eval \"trap 'echo x' DEBUG\"", true),
            ("x=DEBUG; trap 'echo x' $x", true),
            ("trap 'echo bye' EXIT", false),
            ("trap - DEBUG; trap '' INT; trap -p; trap INT; trap", false),
            ("PROMPT_COMMAND='echo x'", true),
            ("PS0='$(echo x)'; ls", true),
            ("declare PS4='$(echo x)'", true),
            ("read PROMPT_COMMAND < f", true),
            ("echo PS1; x=1; ls", true),
            ("/bin/echo PS1; x=1; ls", false),
        ] {
            assert_eq!(sets_one(&palisade_grammar::inventory(script.as_bytes())), expected, "{script}");
        }
    }
}
