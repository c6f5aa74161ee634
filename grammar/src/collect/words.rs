//! What the words of a command come to, given what is known of the shell; and what a command prints, where the text
//! tells: `echo 'rm x' | bash` runs `rm x`.
//!
//! This file decides which output is surely literal. It knows `echo`, `printf` and `cat` with here-documents, and no
//! more of them than is the same under every shell option.

use std::rc::Rc;

use crate::ast::{Arg, CompoundKind, Count, NestedKind, Part, Redirect, Script, SimpleCommand};
use crate::collect::redirect_args;
use crate::collect::state::{ShellState, VariableValue};
use crate::program;
use crate::span::Frame;
use crate::word::{Value, Word};

/// Bytes of literal output that are followed.
const MAX_PRINTED: usize = 64 * 1024;

impl ShellState {
    /// The words that bash makes of one, as a program gets them.
    pub(crate) fn words(&self, arg: &Arg, frame: Frame) -> Vec<program::Arg> {
        let place = |(mut word, mut count): (Word, Count)| {
            if self.vanishing && count == Count::Some {
                count = Count::Any;
            }
            word.span = frame.map(word.span);
            if let Value::Pipe { text } = &mut word.value {
                *text = self.given(arg);
            }
            program::Arg { word, count }
        };
        self.expand(arg).into_iter().map(place).collect()
    }

    /// Whether the scripts in a word neither make nor remove a directory.
    pub(crate) fn leaves_directories(&self, arg: &Arg) -> bool {
        arg.nested.iter().all(|nested| self.script_leaves_directories(&nested.script))
    }

    /// The same of a script: it holds nothing but plain commands that only read.
    pub(crate) fn script_leaves_directories(&self, script: &Script) -> bool {
        script.statements.iter().all(|statement| {
            let pipelines = [&statement.first].into_iter().chain(statement.rest.iter().map(|(_, pipeline)| pipeline));
            pipelines.flat_map(|pipeline| &pipeline.parts).all(|part| match part {
                Part::Simple(command) => self.command_leaves_directories(command),
                Part::Compound(_) | Part::Function(_) | Part::Coproc(_) => false,
            })
        })
    }

    fn command_leaves_directories(&self, command: &SimpleCommand) -> bool {
        let args = command.words.iter().chain(command.assignments.iter().map(|assign| &assign.value));
        let mut args = args.chain(command.redirects.iter().flat_map(redirect_args));
        let words: Vec<program::Arg> = command.words.iter().flat_map(|arg| self.words(arg, Frame::At(0))).collect();
        let own = |name: &str| self.function(name).is_some() || self.is_alias(name);
        let reads = match words.first().map(|program| program.word.value.literal()) {
            None => command.words.is_empty(),
            Some(name) => {
                let reading = program::read(&words, true, None);
                let plain = reading.opaque.is_empty() && reading.children.is_empty();
                plain && name.is_some_and(|name| !own(name)) && reading.invocation.groups.contains("read-only")
            }
        };
        reads && args.all(|arg| self.leaves_directories(arg))
    }

    /// The target of a redirection, which is one word or an error.
    pub(crate) fn target(&self, arg: &Arg, frame: Frame) -> Word {
        let mut words = self.words(arg, frame);
        match words.pop() {
            Some(program::Arg { word, .. }) if words.is_empty() => word,
            _ => {
                let value = Value::Dynamic { prefix: String::new() };
                Word { span: frame.map(arg.word.span), value, ..arg.word.clone() }
            }
        }
    }

    /// What a process substitution yields.
    fn given(&self, arg: &Arg) -> Option<String> {
        match arg.nested.as_slice() {
            [nested] if nested.kind == NestedKind::Input => self.without_input().script_prints(&nested.script),
            _ => None,
        }
    }

    /// What a command with these redirections finds on standard input, if that is literal text.
    pub(crate) fn input(&self, redirects: &[Redirect]) -> Option<Rc<str>> {
        let Some(last) = redirects.iter().rev().find(|redirect| redirect.fd == Some(0)) else {
            return self.stdin.clone();
        };
        match (last.op, &last.body) {
            (_, Some(body)) => body.get().and_then(|body| self.literal(body)).map(Into::into),
            ("<<<", _) => self.literal(&last.target).map(|text| format!("{text}\n").into()),
            ("<", _) if last.target.word.value.is_pipe() => self.given(&last.target).map(Into::into),
            _ => None,
        }
    }

    /// The text of a word that is neither split nor a pattern.
    fn literal(&self, arg: &Arg) -> Option<String> {
        match self.assigned(arg, false) {
            VariableValue::Text(text) => Some(text.as_ref().to_owned()),
            _ => None,
        }
    }

    /// What a part of a pipeline prints.
    pub(crate) fn printed(&self, part: &Part) -> Option<Rc<str>> {
        self.part_prints(part).filter(|text| text.len() <= MAX_PRINTED).map(Into::into)
    }

    fn part_prints(&self, part: &Part) -> Option<String> {
        match part {
            Part::Simple(command) => self.command_prints(command),
            Part::Compound(compound) if compound.redirects.is_empty() => match &compound.kind {
                CompoundKind::Group(script) | CompoundKind::Subshell(script) => self.script_prints(script),
                _ => None,
            },
            _ => None,
        }
    }

    pub(super) fn script_prints(&self, script: &Script) -> Option<String> {
        let mut printed = String::new();
        let later = self.without_input(); // the first may have read all of it
        for (index, statement) in script.statements.iter().enumerate() {
            let [part] = statement.first.parts.as_slice() else { return None };
            if !statement.rest.is_empty() || statement.background {
                return None;
            }
            let state = if index == 0 { self } else { &later };
            printed.push_str(&state.part_prints(part)?);
            if printed.len() > MAX_PRINTED {
                return None;
            }
        }
        Some(printed)
    }

    /// The same where something else may have read standard input.
    pub(super) fn without_input(&self) -> Self {
        Self { stdin: None, ..self.clone() }
    }

    /// Whether all that it prints is one number, or nothing: `wc -l < f`, `date +%s`, `… | wc -l`.
    pub(super) fn script_counts(&self, script: &Script) -> bool {
        let [statement] = script.statements.as_slice() else { return false };
        let plain = statement.rest.is_empty() && !statement.background && !statement.first.negated;
        let Some((Part::Simple(command), before)) = statement.first.parts.split_last() else { return false };
        plain && statement.first.both == 0 && self.counts(command, !before.is_empty())
    }

    fn counts(&self, command: &SimpleCommand, fed: bool) -> bool {
        let words: Option<Vec<&str>> = command.words.iter().map(|arg| arg.word.value.literal()).collect();
        let Some((name, rest)) = words.as_deref().and_then(<[&str]>::split_first) else { return false };
        let own = self.function(name).is_some() || self.is_alias(name) || self.wild;
        if own || !command.assignments.is_empty() {
            return false;
        }
        let input = |redirect: &Redirect| redirect.fd == Some(0);
        // Anywhere else the message may end up among the numbers (`2>/dev/stdout`).
        let quiet = |redirect: &Redirect| {
            let target = redirect.target.word.value.literal();
            redirect.fd == Some(2) && matches!((redirect.op, target), (">", Some("/dev/null")) | (">&", Some("-")))
        };
        let reads = fed || command.redirects.iter().any(input);
        command.redirects.iter().all(|redirect| input(redirect) || quiet(redirect))
            && match *name {
                "wc" => reads && matches!(rest, ["-l" | "-c" | "-w" | "-m" | "--lines" | "--bytes" | "--words"]),
                "date" => matches!(rest, ["+%s" | "+%Y" | "+%m" | "+%d" | "+%H" | "+%M" | "+%S" | "+%j" | "+%u"]),
                "nproc" => rest.is_empty(),
                "id" => matches!(rest, ["-u" | "-g"]),
                _ => false,
            }
    }

    fn command_prints(&self, command: &SimpleCommand) -> Option<String> {
        // A file that is not there leaves nothing to be printed.
        let opens = |redirect: &Redirect| match redirect.op {
            "<<" | "<<-" | "<<<" => true,
            "<" => redirect.target.word.value.is_pipe() || redirect.target.word.value.literal() == Some("/dev/null"),
            _ => false,
        };
        let input_only = command.redirects.iter().all(|redirect| redirect.fd == Some(0) && opens(redirect));
        if !command.assignments.is_empty() || !input_only {
            return None;
        }
        let name = command.words.first().and_then(|word| word.word.value.literal());
        if !matches!(name, Some("echo" | "printf" | "cat")) {
            return None;
        }
        let mut words = Vec::new();
        let mut length = 0;
        for arg in &command.words {
            for arg in self.words(arg, Frame::At(0)) {
                let text = arg.word.value.literal().filter(|_| arg.count == Count::One)?;
                length += text.len() + 1;
                if length > 2 * MAX_PRINTED {
                    return None;
                }
                words.push(text.to_owned());
            }
        }
        let (name, rest) = words.split_first()?;
        if self.function(name).is_some() || self.is_alias(name) {
            return None;
        }
        match name.as_str() {
            "echo" => echo(rest),
            "printf" => printf(rest),
            "cat" if rest.is_empty() || rest == ["-"] => {
                self.input(&command.redirects).map(|text| text.as_ref().to_owned())
            }
            _ => None,
        }
    }
}

/// Text without a backslash is the same with `-e`, `-E` and under `xpg_echo`.
fn echo(words: &[String]) -> Option<String> {
    let option = |word: &&String| {
        word.len() > 1 && word.starts_with('-') && word.bytes().skip(1).all(|byte| b"neE".contains(&byte))
    };
    let options = words.iter().take_while(option).count();
    let newline = !words.iter().take(options).any(|word| word.contains('n'));
    let text = words.get(options..)?.join(" ");
    (!text.contains('\\')).then(|| if newline { text + "\n" } else { text })
}

/// Formats of plain text, `%s`, `%%` and `\n`.
fn printf(words: &[String]) -> Option<String> {
    let (format, arguments) = words.split_first()?;
    if format.starts_with('-') {
        return None;
    }
    let mut arguments = arguments.iter();
    let mut printed = String::new();
    loop {
        let left = arguments.len();
        let mut letters = format.chars();
        while let Some(letter) = letters.next() {
            if printed.len() > MAX_PRINTED {
                return None;
            }
            match letter {
                '%' => match letters.next()? {
                    's' => printed.push_str(arguments.next().map_or("", String::as_str)),
                    '%' => printed.push('%'),
                    _ => return None,
                },
                '\\' => match letters.next()? {
                    'n' => printed.push('\n'),
                    't' => printed.push('\t'),
                    '\\' => printed.push('\\'),
                    _ => return None,
                },
                letter => printed.push(letter),
            }
        }
        if arguments.len() == 0 || arguments.len() == left || printed.len() > MAX_PRINTED {
            return (arguments.len() == 0).then_some(printed);
        }
    }
}
