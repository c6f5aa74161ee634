//! Which variables of a shell get to the programs that it starts.
//!
//! `export` and `declare -x` export a variable, and `set -a` exports each one that is set. A variable that a text exports anywhere counts
//! as exported everywhere in it: functions and loops run in another order than they are written. It stays exported in later scripts of
//! the same shell.
//!
//! Decided here: what is exported. Not decided here: whether an agent may export it, which the policies say.

use crate::inventory::{Command, Inventory, Resolved, Shell};
use crate::word::Word;

/// Builtins that export with `-x`.
const DECLARE: [&str; 4] = ["declare", "typeset", "local", "readonly"];

impl Inventory {
    /// Whether programs get a variable of this name from the shell: this script exports it somewhere, or one before it in the same shell
    /// did. True where that is not known.
    pub fn exports(&self, name: &str) -> bool {
        !self.parsed() || self.shell.exports(name)
    }

    /// The same, false where it is not known.
    pub fn surely_exports(&self, name: &str) -> bool {
        self.parsed() && (self.shell.exports_all || self.shell.exported.contains(name))
    }
}

impl Shell {
    fn exports(&self, name: &str) -> bool {
        self.exports_all || self.unread || self.exported.contains(name)
    }

    /// The same after these commands.
    pub(crate) fn exporting(mut self, commands: &[Command]) -> Self {
        for command in commands {
            self.exports_all |= command.exports_all();
            if command.is_export() {
                self.exported.extend(command.assignments.iter().map(|assignment| assignment.name.clone()));
                self.exported.extend(command.bare_exports().map(|(name, _)| name.to_owned()));
            }
        }
        self
    }
}

impl Command {
    /// The names that `export NAME` exports with the values that they have, and where they stand.
    pub fn bare_exports(&self) -> impl Iterator<Item = (&str, &Word)> {
        let operands = self.invocation.operands.iter().filter(|_| self.is_export());
        operands.filter_map(|word| Some((word.value.literal()?, word))).filter(|(name, _)| is_name(name))
    }

    fn is_export(&self) -> bool {
        match self.builtin() {
            Some("export") => true,
            Some(word) => DECLARE.contains(&word) && self.invocation.flags.contains("-x"),
            None => false,
        }
    }

    fn exports_all(&self) -> bool {
        let named = self.invocation.options.get("-o").is_some_and(|values| values.contains("allexport"));
        self.builtin() == Some("set") && (self.invocation.flags.contains("-a") || named)
    }

    fn builtin(&self) -> Option<&str> {
        let first = self.invocation.words.first()?;
        (self.resolved == Resolved::Builtin).then_some(first)
    }
}

fn is_name(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.bytes().all(is_part) && text.bytes().next().is_some_and(|byte| !byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use crate::{inventory, inventory_in};

    #[test]
    fn what_is_exported_anywhere_is_exported() {
        for (script, exported) in [
            ("x=1", false),
            ("x=1 ls", false),
            ("export x=1", true),
            ("x=1; export x", true),
            ("export x; x=1", true),
            ("f() { export x; }; x=1", true),
            ("(export x=1)", true),
            ("declare -x x=1", true),
            ("declare -gx x", true),
            ("declare x=1", false),
            ("set -a; x=1", true),
            ("set -o allexport; x=1", true),
            ("set -ea; x=1", true),
            ("export y=1; x=1", false),
            ("eval 'export x=1'", true),
            ("trap 'export x' EXIT; x=1", true),
            ("x=1; \"$(", true),
        ] {
            assert_eq!(inventory(script.as_bytes()).exports("x"), exported, "{script}");
        }
    }

    #[test]
    fn a_file_that_is_not_read_may_export_everything() {
        let inventory = inventory(b". ./x; y=1; export z=1");
        let told = |name| (inventory.exports(name), inventory.surely_exports(name));
        assert_eq!([told("y"), told("z")], [(true, false), (true, true)]);
    }

    #[test]
    fn it_stays_so_in_the_shell() {
        let first = inventory(b"export x=1");
        let second = inventory_in(b"y=2", first.leaves());
        let third = inventory_in(b"x=3; y=4", second.leaves());
        assert!(third.exports("x"));
        assert!(!third.exports("y"));
        assert!(inventory_in(b"y=2", inventory(b"set -a").leaves()).exports("y"));
        assert!(inventory_in(b"y=2", inventory(b"x=1; \"$(").leaves()).exports("y"));
    }
}
