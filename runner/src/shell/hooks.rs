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
pub(crate) fn sets_one(inventory: &Inventory) -> bool {
    inventory.commands().iter().any(|command| sets_trap(command) || sets_prompt(command))
}

/// Whether one of its commands may leave code that runs when the shell ends. What a file sets that it reads (`source`) is not seen.
pub(crate) fn sets_farewell(inventory: &Inventory) -> bool {
    inventory.commands().iter().any(|command| trapped(command).any(|signal| signal.is_none_or(is_end)))
}

fn is_end(signal: &str) -> bool {
    AT_THE_END.iter().any(|end| end.eq_ignore_ascii_case(signal))
}

fn sets_trap(command: &Command) -> bool {
    trapped(command).any(|signal| !signal.is_some_and(is_end))
}

/// What a command sets traps for; none for what is not known. `trap INT` takes one back.
fn trapped(command: &Command) -> impl Iterator<Item = Option<&str>> {
    let is_trap = command.resolved == Resolved::Builtin && command.invocation.words.iter().any(|word| word == "trap");
    let mut operands = command.invocation.operands.iter().map(|word| word.value.literal()).take_while(move |_| is_trap);
    let is_none = operands.next().is_none_or(|handler| matches!(handler, Some("" | "-")));
    operands.take_while(move |_| !is_none)
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
            ("trap 'echo bye' exit 0", false),
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

    #[test]
    fn code_that_runs_at_the_end_is_told() {
        for (script, expected) in [
            ("trap 'echo bye' EXIT", true),
            ("trap -- 'echo bye' 0", true),
            ("trap 'echo bye' INT SIGEXIT", true),
            ("trap 'echo bye' exit", true),
            ("f() { trap 'echo bye' EXIT; }; f", true),
            ("trap \"$code\" EXIT", true),
            ("trap 'echo bye' \"$signal\"", true),
            ("trap 'echo bye' INT", false),
            ("trap - EXIT; trap '' EXIT; trap EXIT; trap -p EXIT; trap", false),
            ("echo trap x EXIT", false),
        ] {
            assert_eq!(sets_farewell(&palisade_grammar::inventory(script.as_bytes())), expected, "{script}");
        }
    }
}
