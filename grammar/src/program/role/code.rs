//! Words that are code, or name it: what is read as commands, what only code of a known kind does, and what is told of the rest.

use super::super::embedded_commands::{self, EmbeddedCommand};
use super::super::table::Role;
use super::super::vouch::Touched;
use super::super::{Arg, Child, Parse, Runs, decoded, empty_word, vouch};
use super::unknown;
use crate::ast::Count;
use crate::inventory::{EffectKind, Resolved};
use crate::opaque::OpaqueReason;
use crate::reader::is_reserved;
use crate::span::Span;
use crate::word::{Value, Word, is_name, starts_name};

impl Parse<'_, '_> {
    pub(super) fn input(&mut self, arg: &Arg) {
        let plain = |text: &str| !text.contains(['<', '>', '|', '&']) && text.trim() == text;
        match arg.word.value.literal() {
            Some(text) if plain(text) => self.effect(EffectKind::Read, arg, false),
            Some(text) => {
                let code = text.trim().trim_matches(['|', '<', '>', '&']).to_owned();
                self.code(Role::Input, arg); // `rm x|` is a command here
                self.tell_code(code, arg);
            }
            None => {
                self.note(
                    OpaqueReason::DynamicOption,
                    arg,
                    "a name that ends with `|` is a command here; write it out",
                );
                self.effect(EffectKind::Read, arg, false);
            }
        }
    }

    pub(super) fn shell_code(&mut self, arg: &Arg, readable: fn(&str) -> bool) {
        self.reading.invocation.inline_code = true;
        self.read_code(arg, readable);
    }

    /// Shell code in an argument, on standard input or behind a pipe.
    fn read_code(&mut self, arg: &Arg, readable: fn(&str) -> bool) {
        match &arg.word.value {
            Value::Literal(text) if !readable(text) => {
                self.note(OpaqueReason::InlineCode, arg, "shells do not agree about what this code is; use `bash -c`");
                self.tell_code(text.clone(), arg);
            }
            Value::Literal(text) if arg.count == Count::One => {
                let runs = if self.entry.runs_builtins { Runs::Here } else { Runs::Elsewhere };
                self.reading.children.push(Child::Code { text: text.clone(), word: arg.word.clone(), runs });
            }
            _ => {
                self.note(OpaqueReason::InlineCode, arg, "this shell code is not known before it runs");
                let text = guessed(arg);
                if !text.trim().is_empty() {
                    self.reading.children.push(Child::Code { text, word: arg.word.clone(), runs: Runs::Begun });
                }
            }
        }
    }

    /// `watch 'ls;' rm x`: where the words come from is lost when `sh -c` gets them as one.
    pub(in crate::program) fn joined_code(&mut self, words: &[Arg]) {
        let Some((first, rest)) = words.split_first() else { return };
        if rest.is_empty() {
            return self.shell_code(first, vouch::posix_shell);
        }
        let known = |arg: &Arg| arg.word.value.literal().filter(|_| arg.count == Count::One).map(str::to_owned);
        let text: Option<Vec<String>> = words.iter().map(known).collect();
        let span = rest.iter().fold(first.word.span, |span, arg| span.to(arg.word.span));
        let value = match text {
            Some(text) => Value::Literal(text.join(" ")),
            None => {
                let known: Vec<&str> = words.iter().map_while(literal_text).collect();
                let next = words.get(known.len()).map_or("", |arg| arg.word.value.prefix());
                Value::Dynamic { prefix: format!("{} {next}", known.join(" ")) }
            }
        };
        let word = Word { span, value, ..empty_word() };
        self.shell_code(&Arg { word, count: Count::One }, vouch::posix_shell);
    }

    /// `gdb ./a --args b`: an option behind this word made a command of it.
    pub(super) fn late_command(&mut self, arg: &Arg) {
        if arg.word.value.literal().is_some() {
            let detail = "an option behind this word makes it a command; put the option before it";
            self.note(OpaqueReason::UnknownOption, arg, detail);
            self.command(vec![arg.clone()]);
        }
    }

    /// One word goes to `sh -c`, several are run as they are: they must not turn out to be one.
    pub(in crate::program) fn command_or_code(&mut self, words: Vec<Arg>) {
        if let Some(arg) = words.iter().find(|arg| arg.count != Count::One) {
            self.note(OpaqueReason::DynamicOption, arg, "one word would be code, several are a command");
        }
        match words.as_slice() {
            [_] => self.joined_code(&words),
            _ => self.child(words, self.entry.elsewhere && self.reading.cwd.is_none()),
        }
    }

    /// Code is told from what is filled in only where nothing quotes: then each place is one word, or more.
    pub(in crate::program) fn jobs(&mut self, words: &[Arg]) {
        let is = |arg: &Arg, texts: &[&str]| arg.word.value.literal().is_some_and(|text| texts.contains(&text));
        let end = words.iter().position(|arg| is(arg, &[":::", "::::", ":::+", "::::+"])).unwrap_or(words.len());
        let (template, inputs) = words.split_at_checked(end).unwrap_or((words, &[]));
        let mut files = false;
        for arg in inputs {
            match arg.word.value.literal() {
                Some(":::" | ":::+") => files = false,
                Some("::::" | "::::+") => files = true,
                _ if files => self.effect(EffectKind::Read, arg, false),
                _ => {}
            }
        }
        let texts: Option<Vec<String>> = template.iter().map(filled_in).collect();
        let Some(first) = words.first() else { return };
        if self.args.iter().any(|arg| is(arg, &["--"])) {
            let commands = words.iter().filter(|arg| !is(arg, &["--"])).cloned().collect::<Vec<_>>();
            self.tell_joined(&commands);
            return self.code(Role::Jobs, first); // another program of the same name has commands behind it
        }
        if template.is_empty() {
            inputs.iter().filter(|arg| !arg.word.value.prefix().starts_with(":::")).for_each(|arg| {
                let code = literal_text(arg).unwrap_or_default().to_owned();
                self.tell_code(code, arg);
            });
        }
        let (Some(texts), Some(program)) = (texts.filter(|texts| !texts.is_empty()), template.first()) else {
            self.tell_joined(template);
            return self.code(Role::Jobs, first);
        };
        let text = texts.join(" ");
        let text = if text.contains(FILLED) { text } else { format!("{text} {FILLED}") };
        let span = template.iter().fold(program.word.span, |span, arg| span.to(arg.word.span));
        let word = Word { span, value: Value::Literal(text), ..empty_word() };
        self.shell_code(&Arg { word, count: Count::One }, vouch::posix_shell);
    }

    /// `strace -o '|cmd'` runs cmd.
    pub(super) fn file_or_pipe(&mut self, arg: &Arg) {
        let marks = ['|', '!'];
        match &arg.word.value {
            Value::Literal(text) => match text.strip_prefix(marks) {
                Some(code) => self.shell_code(&decoded(arg, code), vouch::posix_shell),
                None => self.effect(EffectKind::Write, arg, false),
            },
            value => {
                if value.prefix().is_empty() || value.prefix().starts_with(marks) {
                    self.note(OpaqueReason::InlineCode, arg, "what begins with `|` or `!` is run, not written");
                }
                self.effect(EffectKind::Write, arg, false);
            }
        }
    }

    pub(super) fn code(&mut self, role: Role, arg: &Arg) {
        self.reading.invocation.inline_code = true;
        self.unvouched = true;
        let program = self.program();
        self.note(OpaqueReason::InlineCode, arg, &format!("code of `{program}` is not read"));
        self.tell(role, arg);
    }

    /// Lists what code that is opaque all the same would run, as far as its text tells.
    pub(in crate::program) fn tell(&mut self, role: Role, arg: &Arg) {
        let begins = arg.word.value.prefix();
        // What is not known may be the rest of a text in quotes.
        let texts = match literal_text(arg) {
            Some(text) => vec![text.to_owned()],
            None if role == Role::Setting => vec![certain(begins)],
            None => vec![format!("{begins} \""), format!("{begins} '")],
        };
        for text in texts {
            if role == Role::Setting {
                self.tell_setting(&text, arg);
            }
            embedded_commands::embedded_commands(role, &text).into_iter().for_each(|told| self.tell_one(told, arg));
        }
    }

    fn tell_one(&mut self, told: EmbeddedCommand, arg: &Arg) {
        match told {
            EmbeddedCommand::Code(code) => self.tell_code(code, arg),
            EmbeddedCommand::Words(words) => {
                let words = words.iter().map(|word| decoded(arg, word)).collect();
                let child = Child::Command { words, assignments: Vec::new(), elsewhere: true, shell: false };
                self.reading.children.push(child);
            }
        }
    }

    /// Lists what stands behind a word that the table says is followed by a command, and what a program that is not
    /// taken apart at all is given to run.
    pub(in crate::program) fn tell_behind(&mut self) {
        let args = self.args;
        for (at, arg) in args.iter().enumerate().skip(1) {
            let Some(text) = literal_text(arg) else { continue };
            let tells = |text: &str| self.table.tells.iter().any(|word| word == text);
            if tells("*") && embedded_commands::is_program(text) {
                let words = args.get(at..).unwrap_or_default().to_vec();
                let child = Child::Command { words, assignments: Vec::new(), elsewhere: true, shell: false };
                return self.reading.children.push(child);
            }
            if tells("*") && text.split_once(' ').is_some_and(|(first, _)| embedded_commands::is_program(first)) {
                return self.tell_code(text.to_owned(), arg);
            }
            let (name, attached) = text.split_once('=').unwrap_or((text, ""));
            let rest = args.get(at + 1..).unwrap_or_default();
            let rest = match rest {
                [dashes, rest @ ..] if literal_text(dashes) == Some("--") => rest,
                rest => rest,
            };
            if tells(name) && !attached.is_empty() {
                self.tell_value_of(attached, arg);
            } else if tells(text) {
                match rest {
                    [] => {}
                    [first, ..] if !self.table.runs.is_empty() || rest.len() == 1 => {
                        self.tell_value_of(first.word.value.prefix(), first);
                    }
                    [first, ..] if first.word.value.prefix().contains(' ') => {
                        self.tell_code(first.word.value.prefix().to_owned(), first);
                    }
                    words => {
                        let (words, assignments) = (words.to_vec(), Vec::new());
                        self.reading.children.push(Child::Command {
                            words,
                            assignments,
                            elsewhere: true,
                            shell: false,
                        });
                    }
                }
                return;
            }
            if text == "--" {
                return;
            }
            if self.entry.plain && self.entry.opaque.is_some() {
                match text.strip_prefix('!') {
                    Some(code) => self.tell_code(code.to_owned(), arg),
                    None => self.tell(Role::Code, arg),
                }
            }
        }
        if let (true, Some(text), Some(first)) =
            (self.entry.plain && self.entry.opaque.is_some(), self.stdin, args.first())
        {
            self.tell(Role::Commands, &decoded(first, text));
        }
    }

    fn tell_value_of(&mut self, text: &str, arg: &Arg) {
        if self.table.runs.is_empty() {
            self.tell_code(text.to_owned(), arg);
        } else {
            self.tell_setting(text, arg);
        }
    }

    /// Shell code that something else is said about already.
    pub(in crate::program) fn tell_code(&mut self, text: String, arg: &Arg) {
        if !text.trim().is_empty() {
            self.reading.children.push(Child::Code { text, word: arg.word.clone(), runs: Runs::Elsewhere });
        }
    }

    /// Words that some shell gets as one text.
    pub(in crate::program) fn tell_joined(&mut self, words: &[Arg]) {
        let texts: Option<Vec<&str>> = words.iter().map(|arg| arg.word.value.literal()).collect();
        if let (Some(texts), Some(first)) = (texts, words.first()) {
            self.tell_code(texts.join(" "), first);
        }
    }

    /// `core.pager=rm x`: the table says of which settings the value is run.
    pub(in crate::program) fn tell_setting(&mut self, text: &str, arg: &Arg) {
        let code = ['=', ' '].into_iter().find_map(|sign| {
            let (name, value) = text.split_once(sign)?;
            let value = value.trim_start_matches(['=', ' ']);
            self.table.runs.iter().find_map(|setting| setting.code(name.trim(), value))
        });
        if let Some(code) = code {
            self.tell_code(code, arg);
        }
    }

    pub(super) fn vouched(&mut self, role: Role, arg: &Arg) {
        // Pieces are read one by one, but a `/` at the beginning of one may divide what ends the piece before.
        let pieces = self.chosen.iter().filter(|option| option.role == role).count();
        let whole = pieces < 2 || !matches!(role, Role::Perl | Role::Ruby | Role::Php | Role::Node);
        let text = arg.word.value.literal().filter(|_| arg.count == Count::One && whole);
        match text.and_then(|text| touched(role, text)) {
            Some(touched) => self.touches(touched, arg),
            None => self.code(role, arg),
        }
    }

    /// `trap CODE SIGNAL…`: without a signal, and as `-`, the first word is no code.
    pub(super) fn trap(&mut self) {
        let operands = self.operands.clone();
        let [code, signals @ ..] = operands.as_slice() else { return };
        let literal = code.word.value.literal();
        if signals.is_empty() && literal.is_some() || matches!(literal, Some("" | "-")) || self.chosen_any() {
            return;
        }
        self.reading.invocation.inline_code = true;
        match literal {
            Some(text) if code.count == Count::One => {
                let (text, word) = (text.to_owned(), code.word.clone());
                self.reading.children.push(Child::Code { text, word, runs: Runs::Later });
            }
            _ => {
                self.note(OpaqueReason::InlineCode, code, "the code of this trap is not known before it runs");
                self.tell_code(guessed(code), code);
            }
        }
    }

    /// An option that only prints was given.
    fn chosen_any(&self) -> bool {
        !self.chosen.is_empty()
    }

    /// `printf %n NAME` of bash sets the variable to how much was printed, and no other `printf` does. Words that are no
    /// names set nothing.
    pub(super) fn format(&mut self) {
        let operands = self.operands.clone();
        let [format, words @ ..] = operands.as_slice() else { return };
        if self.reading.resolved != Resolved::Builtin {
            return;
        }
        match literal_text(format) {
            Some(text) if !counts(text) => return,
            // The words behind its first one are not known either.
            None if format.count != Count::One => return self.variable(format, unknown(format).word.value),
            _ => {}
        }
        for word in words {
            let name = |text: &str| text.bytes().next().is_some_and(starts_name) && text.bytes().all(is_name);
            if word.count != Count::One || word.word.value.literal().is_none_or(name) {
                self.variable(word, unknown(word).word.value);
            }
        }
    }

    /// `eval` joins its words with blanks.
    pub(super) fn eval(&mut self) {
        let mut operands = self.operands.clone();
        if operands.first().is_some_and(|arg| arg.word.value.literal() == Some("--")) {
            operands.remove(0);
        }
        let Some(first) = operands.first() else { return };
        self.reading.invocation.inline_code = true;
        let literal = |arg: &Arg| arg.word.value.literal().filter(|_| arg.count == Count::One).map(str::to_owned);
        let texts: Option<Vec<String>> = operands.iter().map(literal).collect();
        let Some(texts) = texts else {
            self.note(OpaqueReason::InlineCode, first, "this shell code is not known before it runs");
            let known: Vec<&str> = operands.iter().map_while(literal_text).collect();
            let next = operands.get(known.len()).map(guessed).unwrap_or_default();
            return self.tell_code(format!("{} {next}", known.join(" ")), first);
        };
        let span = operands.iter().map(|arg| arg.word.span).reduce(Span::to).unwrap_or_default();
        let word = if operands.len() == 1 { first.word.clone() } else { Word { span, ..empty_word() } };
        self.reading.children.push(Child::Code { text: texts.join(" "), word, runs: Runs::Here });
    }

    /// `alias name=value`: the value is read as a command, and later uses of the name are not.
    pub(super) fn alias(&mut self) {
        for arg in self.operands.clone() {
            let bytes = |name: &str| name.bytes().all(|byte| is_name(byte) || b".+-".contains(&byte));
            let plain = |name: &str| !name.is_empty() && bytes(name) && !is_reserved(name);
            match arg.word.value.literal().map(|text| text.split_once('=')) {
                Some(None) if arg.count == Count::One => {} // it is only shown
                Some(Some((name, value))) if arg.count == Count::One && plain(name) => {
                    self.reading.aliases.push(name.to_owned());
                    let word = Word { value: Value::Literal(value.to_owned()), ..arg.word.clone() };
                    self.reading.children.push(Child::Code { text: value.to_owned(), word, runs: Runs::Alias });
                }
                _ => self.note(OpaqueReason::UnknownSyntax, &arg, "this alias changes how later text is read"),
            }
        }
    }

    /// What code that is vouched for does to files.
    fn touches(&mut self, touched: Vec<Touched>, arg: &Arg) {
        self.code_effects(arg);
        for (kind, path) in touched {
            // It is not read-only then. awk has no other way to change anything than those that are told.
            self.unvouched |=
                kind != EffectKind::Read && !self.entry.operands.iter().any(|slot| slot.role == Role::Awk);
            self.effect(kind, &decoded(arg, &path), false);
        }
    }

    pub(in crate::program) fn code_effects(&mut self, arg: &Arg) {
        if !self.chosen.iter().any(|option| option.instead) {
            self.entry.code_effects.iter().for_each(|implied| self.implied(implied, arg));
        }
    }

    /// Code on standard input: read if the text tells it, else not known.
    pub(super) fn stdin_code(&mut self, arg: &Arg) {
        let role = self.entry.stdin_role;
        let known = self.stdin.filter(|_| !self.chosen.iter().any(|option| option.opaque.is_some()));
        match known {
            Some(text) if reads_alike(role, text) => {
                let (text, word) = (text.to_owned(), arg.word.clone());
                self.reading.children.push(Child::Code { text, word, runs: Runs::Stdin });
                return;
            }
            Some(text) => {
                if let Some(touched) = touched(role, text) {
                    return self.touches(touched, arg);
                }
            }
            None => {}
        }
        self.unvouched = true;
        self.note(OpaqueReason::StdinCode, arg, "it takes its code from standard input");
        if let Some(text) = self.stdin.map(str::to_owned) {
            self.tell_stream(text, arg);
        }
    }

    /// Code from a stream, of which something else is said already.
    fn tell_stream(&mut self, text: String, arg: &Arg) {
        use Role::{PlainShellCode, PosixShellCode, RemoteShell, ShellCode};
        match self.entry.stdin_role {
            ShellCode | PosixShellCode | PlainShellCode | RemoteShell => self.tell_code(text, arg),
            role => self.tell(role, &decoded(arg, &text)),
        }
    }

    /// A process substitution in a script's place.
    fn piped_code(&mut self, text: Option<&str>, arg: &Arg) {
        let role = self.entry.stdin_role;
        match text {
            Some(text) if reads_alike(role, text) => {
                let runs = if self.entry.runs_builtins { Runs::Here } else { Runs::Elsewhere };
                let (text, word) = (text.to_owned(), arg.word.clone());
                self.reading.children.push(Child::Code { text, word, runs });
            }
            _ => {
                self.unvouched = true;
                self.note(OpaqueReason::StdinCode, arg, "it takes its code from a pipe");
                if let Some(text) = text.map(str::to_owned) {
                    self.tell_stream(text, arg);
                }
            }
        }
    }

    pub(super) fn script_file(&mut self, arg: &Arg) {
        if matches!(arg.word.value.literal(), Some("-" | "/dev/stdin" | "/dev/fd/0" | "/proc/self/fd/0")) {
            return self.stdin_code(arg);
        }
        if let Value::Pipe { text } = &arg.word.value {
            return self.piped_code(text.as_deref(), arg);
        }
        self.unvouched = true;
        self.effect(EffectKind::Read, arg, false);
        self.note(OpaqueReason::ScriptFile, arg, "what this file holds is not in the text");
    }
}

/// Whether a format may hold `%n`, with whatever may stand between the two.
fn counts(format: &str) -> bool {
    let between = |letter: char| "#'-+ .*0123456789hjlLqtz".contains(letter);
    format.split('%').skip(1).any(|rest| rest.trim_start_matches(between).starts_with('n'))
}

/// The word's text, if it is one word that is known.
pub(super) fn literal_text(arg: &Arg) -> Option<&str> {
    arg.word.value.literal().filter(|_| arg.count == Count::One)
}

/// Code whose text is not known, as it is written: what is filled in is most likely a word or a part of one.
pub(super) fn guessed(arg: &Arg) -> String {
    let inner = arg.word.raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"'));
    let guess = inner.and_then(unescaped).filter(|guess| guess.contains(' '));
    guess.unwrap_or_else(|| certain(arg.word.value.prefix()))
}

/// What stands between double quotes, expansions as they are; none if it holds commands, which are listed already.
fn unescaped(inner: &str) -> Option<String> {
    let mut out = String::new();
    let mut letters = inner.chars().peekable();
    while let Some(letter) = letters.next() {
        match (letter, letters.peek()) {
            ('\\', Some(next)) if "$`\"\\".contains(*next) => out.extend(letters.next()),
            ('"' | '`', _) | ('$', Some('(')) => return None,
            _ => out.push(letter),
        }
    }
    Some(out)
}

/// The words of code that begins so which are certain, whatever follows.
fn certain(begins: &str) -> String {
    let ends = [' ', '\t', '\n', ';', '|', '&'];
    let whole = begins.rfind(ends).and_then(|at| begins.get(..at)).unwrap_or_default();
    let open = ['"', '\''].into_iter().find(|quote| whole.matches(*quote).count() % 2 == 1);
    let closed = open.and_then(|quote| whole.rfind(quote)).and_then(|at| whole.get(..at)).unwrap_or(whole);
    // `wc -l < `, whose file is not known.
    closed.trim_end_matches(ends).trim_end_matches(['<', '>', ' ']).to_owned()
}

/// What a job's input is to the code that it is filled into.
const FILLED: &str = "\"$@\"";

/// A word of a job in which every `{…}` stands for input, `None` if it is not certain where that ends up.
fn filled_in(arg: &Arg) -> Option<String> {
    let text = arg.word.value.literal().filter(|_| arg.count == Count::One)?;
    let mut pieces = text.split('{');
    let mut filled = pieces.next()?.to_owned();
    for piece in pieces {
        let (name, rest) = piece.split_once('}')?;
        if !name.bytes().all(|byte| b"0123456789./#%-".contains(&byte)) {
            return None;
        }
        filled.push_str(FILLED);
        filled.push_str(rest);
    }
    let code = text.replace(['{', '}'], "");
    (!code.contains(['\'', '"', '\\', '$', '`', '(', '#', '*', '?', '[', '~', '\n'])).then_some(filled)
}

/// What code of this kind does to files, if it does nothing else of note.
fn touched(role: Role, text: &str) -> Option<Vec<Touched>> {
    let nothing = |harmless: bool| harmless.then(Vec::new);
    match role {
        Role::Awk => vouch::awk(text),
        Role::Sed => nothing(vouch::sed(text)),
        Role::Jq => nothing(vouch::jq(text)),
        Role::Yq => nothing(vouch::yq(text)),
        Role::Sql => nothing(vouch::sql(text)),
        Role::Python => vouch::python(text),
        Role::Perl => nothing(vouch::perl(text)),
        Role::Node => vouch::node(text),
        Role::Ruby => nothing(vouch::ruby(text)),
        Role::Php => nothing(vouch::php(text)),
        _ => None,
    }
}

/// Code that a shell reads as this one does.
fn reads_alike(role: Role, code: &str) -> bool {
    match role {
        Role::ShellCode => true,
        Role::PosixShellCode => vouch::posix_shell(code),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::{Reading, read};
    use super::*;

    fn reading(words: &str, stdin: Option<&str>) -> Reading {
        let arg = |text: &str| Arg {
            word: Word { value: Value::Literal(text.to_owned()), ..empty_word() },
            count: Count::One,
        };
        read(&words.split(' ').map(arg).collect::<Vec<_>>(), true, stdin)
    }

    #[test]
    fn code_on_standard_input() {
        for (words, stdin, said) in [
            ("python3", "print(1)", "read-only"),
            ("python3 -", "import json\nprint(json.dumps(1))", "read-only"),
            ("python3 - a b", "print(1)", "read-only"),
            ("python3", "import os; os.system('x')", "opaque"),
            ("python3 -i", "print(1)", "opaque"),
            ("python3 -i -c 1", "print(1)", "opaque"),
            ("python3 -", "open('a', 'w')", "interpreter"),
            ("python3 x.py", "print(1)", "opaque"),
            ("bash", "rm x", "code rm x"),
            ("bash -s a b", "rm x\n", "code rm x"),
            ("bash -", "rm x", "code rm x"),
            ("bash", "head -c 9\nrm x", "code head -c 9\nrm x"), // the collector sees to what `head` swallows
            ("bash x.sh", "rm x", "opaque"),
            ("bash -i", "rm x", "opaque"),
            ("sh", "rm x", "code rm x"),
            ("sh", "x &> y", "opaque"),
        ] {
            let with = |stdin| {
                let reading = reading(words, stdin);
                let code = reading.children.iter().find_map(|child| match child {
                    Child::Code { text, .. } => Some(format!("code {}", text.trim_end())),
                    Child::Command { .. } => None,
                });
                let opaque = (!reading.opaque.is_empty()).then(|| "opaque".to_owned());
                let groups = || reading.invocation.groups.iter().cloned().collect::<Vec<_>>().join(" ");
                opaque.or(code).unwrap_or_else(groups)
            };
            assert_eq!(with(Some(stdin)), said, "{words} <<< {stdin}");
            assert_eq!(with(None), "opaque", "{words}");
        }
    }
}
