//! What running a script means for whoever runs it: whether its shell may be another one afterwards, and which programs
//! read what is written to it.

use crate::Catalogue;
use crate::inventory::{Command, Inventory, Resolved};

/// Builtins that leave a shell as it is. Whatever is not here may change it.
const LEAVE_IT: [&str; 12] =
    [":", "[", "echo", "false", "jobs", "kill", "printf", "pwd", "test", "times", "true", "type"];

impl Inventory {
    /// Whether the script may leave its shell other than it was: its variables, functions, aliases, options, traps or
    /// directory. A shell with functions counts as changed by every script.
    pub fn changes_shell(&self) -> bool {
        self.truncated
            || !self.opaque.is_empty()
            || self.shell.has_functions()
            || self.commands.iter().any(Command::changes_shell)
    }

    /// The programs that the script runs, and whether what each reads may be code to it. One that is not known has no
    /// name, and may; so may one that is known by its name alone.
    pub fn programs(&self) -> impl Iterator<Item = (&str, bool)> {
        let started =
            |command: &&Command| matches!(command.resolved, Resolved::Name | Resolved::Path | Resolved::Unknown);
        self.commands.iter().filter(started).map(|command| {
            let name = command.invocation.words.first().map_or("", String::as_str);
            let groups = &command.invocation.groups;
            let described = Catalogue::shared().has_program(name);
            (name, !described || groups.contains("interpreter") || groups.contains("shell"))
        })
    }
}

impl Command {
    fn changes_shell(&self) -> bool {
        let first = self.invocation.words.first().map(String::as_str);
        match self.resolved {
            Resolved::Name | Resolved::Path => false,
            Resolved::None => !self.assignments.is_empty(),
            Resolved::Builtin => !self.assignments.is_empty() || !first.is_some_and(|first| LEAVE_IT.contains(&first)),
            Resolved::Function | Resolved::Unknown => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::inventory;

    #[test]
    fn what_may_change_a_shell() {
        for script in [
            "ls -l | wc -l",
            "echo a > b",
            "A=1 env",
            "test -f x && printf y",
            "git log",
            "true",
            "if true; then ls; fi",
        ] {
            assert!(!inventory(script.as_bytes()).changes_shell(), "{script}");
        }
        for script in [
            "A=1",
            "cd x",
            "export A=1",
            "set -e",
            "shopt -s nullglob",
            "f() { :; }",
            "alias a=b",
            "trap : EXIT",
            "read x",
            "unset x",
            "printf -v x y",
            "eval \"$x\"",
            "$x",
            ". ./x",
            "umask 7",
            "declare -A m",
            "(( x = 1 ))",
            "echo ${x:=1}",
            "set -- a",
        ] {
            assert!(inventory(script.as_bytes()).changes_shell(), "{script}");
        }
        let defined = inventory(b"f() { x=1; }");
        assert!(crate::inventory_in(b"f", defined.leaves()).changes_shell());
    }

    #[test]
    fn what_reads_code() {
        let told = |script: &str| {
            inventory(script.as_bytes()).programs().map(|(name, code)| format!("{name} {code}")).collect::<Vec<_>>()
        };
        assert_eq!(told("cat | sort"), ["cat false", "sort false"]);
        assert_eq!(told("bash"), ["bash true"]);
        assert_eq!(told("timeout 5 python3"), ["timeout false", "python3 true"]);
        assert_eq!(told("no-such-program"), ["no-such-program true"]);
        assert_eq!(told("$x"), [" true"]);
    }
}
