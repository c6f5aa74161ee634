//! What is executed as the script's text says, word for word: the text was judged, and this is that judgement's own command.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use palisade_engine::{AbsolutePath, Facts, Grant};
use palisade_grammar::{Command, CommandId, Cwd, Inventory, Opaque, OpaqueReason, Resolved, Value, Word};
use palisade_sandbox::Execution;

use super::process_images::Parent;
use crate::facts::program_path;

/// A program in the text of a script that may run.
#[derive(Debug)]
pub(super) struct Granted {
    /// Which script.
    pub(super) script: u64,
    command: CommandId,
    /// The program that runs this one, if the text says that one does.
    parent: Option<CommandId>,
    argv: Vec<Value>,
    file: Option<AbsolutePath>,
    directory: Option<AbsolutePath>,
    /// The words of the program, as policies know it.
    pub(super) words: Vec<String>,
    pub(super) groups: BTreeSet<String>,
    pub(super) trusted: bool,
    /// The text was allowed because the command needs no peer.
    pub(super) local: bool,
    /// A person has allowed this very command, which is good for one execution.
    lifted: bool,
    used: AtomicBool,
    /// Everything that the script's shell starts is in its text.
    complete: bool,
    /// The policies that said yes.
    pub(super) policy_set: String,
}

/// A command of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Match {
    script: u64,
    command: CommandId,
}

impl Granted {
    /// It is judged by its words, as if the text had not said so to the letter.
    pub(super) fn by_words(self) -> Self {
        Self { file: None, ..self }
    }

    /// Uses up a person's yes to it. The next time that the script comes by it is judged as nobody's.
    pub(super) fn take(&self) -> Yes {
        match (self.lifted, self.lifted && self.used.swap(true, Ordering::Relaxed)) {
            (false, _) => Yes::None,
            (true, false) => Yes::Given,
            (true, true) => Yes::Used,
        }
    }

    pub(super) fn name(&self) -> Match {
        Match { script: self.script, command: self.command }
    }
}

/// A person's yes to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Yes {
    /// It takes none.
    None,
    /// It counts for this execution.
    Given,
    /// It has been used up by another.
    Used,
}

/// The programs of a script.
pub(super) fn of(grant: &Grant, script: u64) -> Vec<Granted> {
    let is_lifted = |command: &Command| grant.is_lifted(command);
    read(grant.inventory(), grant.facts(), is_lifted, &grant.report().policy_set, script)
}

/// The programs of a script that was read and looked around for here, and allowed elsewhere, by this set of policies.
pub(super) fn read(
    inventory: &Inventory,
    facts: &Facts,
    is_lifted: impl Fn(&Command) -> bool,
    policy_set: &str,
    script: u64,
) -> Vec<Granted> {
    let commands = inventory.commands();
    let is_program = |id: CommandId| {
        let command = commands.get(id.0 as usize);
        command.is_some_and(|command| matches!(command.resolved, Resolved::Name | Resolved::Path | Resolved::Unknown))
    };
    let outer = |id: Option<CommandId>| {
        let above = |id: &CommandId| commands.get(id.0 as usize)?.parent.filter(|next| next < id);
        std::iter::successors(id, above).find(|id| is_program(*id))
    };
    // What a program reads and runs by itself adds nothing to what the script's shell starts.
    let stays_inside = |opaque: &Opaque| {
        let inside =
            [OpaqueReason::InlineCode, OpaqueReason::StdinCode, OpaqueReason::ScriptFile, OpaqueReason::UnknownOption];
        inside.contains(&opaque.reason) && opaque.command.is_some_and(is_program)
    };
    let complete = inventory.opaque().iter().all(stays_inside);
    let granted = commands.iter().filter(|command| is_program(command.id)).map(|command| {
        let program = facts.programs.get(&command.id);
        Granted {
            script,
            command: command.id,
            parent: outer(command.parent),
            argv: command.argv.iter().map(|word: &Word| word.value.clone()).collect(),
            file: program.and_then(|program| program.path.clone()),
            // `git -C sub` is started where the script stands.
            directory: match &command.start {
                Some(Cwd::Known(steps)) if steps.is_empty() => Some(facts.cwd.clone()),
                _ => facts.directories.get(&command.id).cloned(),
            },
            words: command.invocation.words.clone(),
            groups: command.invocation.groups.clone(),
            trusted: program.is_some_and(|program| program.origin.is_trusted()),
            local: facts.told.get(&command.id).is_some_and(|told| told.stays_here(is_lifted(command))),
            lifted: is_lifted(command),
            used: AtomicBool::new(false),
            complete,
            policy_set: policy_set.to_owned(),
        }
    });
    granted.collect()
}

/// The command of a script that this execution is, and whether it is so to the letter; else some of its words were computed.
pub(super) fn find<'g>(granted: &'g [Granted], parent: &Parent, execution: &Execution) -> Option<(&'g Granted, bool)> {
    let outer = match parent {
        Parent::Shell => None,
        Parent::Image(image) => Some(image.granted?),
        Parent::Lost => return None,
    };
    let file = program_path(&execution.named);
    let argv: Option<Vec<&str>> = execution.argv.iter().map(|word| std::str::from_utf8(word).ok()).collect();
    let argv = argv?;
    let stands = |granted: &Granted| match (&granted.directory, &execution.cwd) {
        (Some(directory), Some(cwd)) => Path::new(directory.as_str()) == cwd,
        (Some(_), None) => false,
        // Where it runs was not known; the answer held for anywhere.
        (None, _) => true,
    };
    let below = |granted: &Granted| match outer {
        None => granted.parent.is_none(),
        Some(outer) => outer.script == granted.script && granted.parent == Some(outer.command),
    };
    let fitting = || granted.iter().filter(|granted| below(granted) && stands(granted));
    let exact = fitting().find(|granted| {
        // What reads code is another command with another input, and a text that is not known in full may give it one.
        if !granted.complete && granted.groups.contains("interpreter") {
            return false;
        }
        let literal = granted.argv.iter().map(Value::literal);
        granted.file.is_some() && granted.file == file && literal.eq(argv.iter().map(|word| Some(*word)))
    });
    if let Some(exact) = exact {
        return Some((exact, true));
    }
    let named = |granted: &Granted| granted.file.is_none() || granted.file == file;
    fitting().find(|granted| named(granted) && fits(&granted.argv, &argv)).map(|granted| (granted, false))
}

/// Whether the text may come to these words.
fn fits(written: &[Value], words: &[&str]) -> bool {
    let Some((value, rest)) = written.split_first() else { return words.is_empty() };
    if let Some(literal) = value.literal() {
        return words.split_first().is_some_and(|(word, words)| *word == literal && fits(rest, words));
    }
    // One that the shell computes may come to any number of words, of which the first begins as it is written.
    let prefix = match value {
        Value::Pattern { prefix } | Value::Dynamic { prefix } => prefix.as_str(),
        _ => "",
    };
    let longest = words.len().saturating_sub(rest.iter().filter(|value| value.literal().is_some()).count());
    (0..=longest).any(|count| {
        let (taken, left) = words.split_at(count);
        taken.first().is_none_or(|word| word.starts_with(prefix)) && fits(rest, left)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn computed_words_stand_for_any_number() {
        let dynamic = |prefix: &str| Value::Dynamic { prefix: prefix.to_owned() };
        let literal = |text: &str| Value::Literal(text.to_owned());
        let rows: [(&[Value], &[&str], bool); 9] = [
            (&[literal("a")], &["a"], true),
            (&[literal("a")], &["b"], false),
            (&[literal("a")], &["a", "b"], false),
            (&[literal("a"), dynamic("")], &["a"], true),
            (&[literal("a"), dynamic("")], &["a", "b", "c"], true),
            (&[literal("a"), dynamic("x")], &["a", "y"], false),
            (&[literal("a"), dynamic("x"), literal("z")], &["a", "x1", "y", "z"], true),
            (&[literal("a"), dynamic(""), literal("z")], &["a", "y"], false),
            (&[], &[], true),
        ];
        for (written, words, expected) in rows {
            assert_eq!(fits(written, words), expected, "{written:?} {words:?}");
        }
    }
}
