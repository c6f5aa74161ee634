//! One invocation, read with its program's table: groups, options, operands, what it runs, reads, writes and fetches.
//!
//! This file decides how words become options and operands. What they mean to a program is data, in `programs/*.toml`;
//! no program's name stands here but those of builtins.

pub(crate) mod catalogue;
mod embedded_commands;
#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests ask the installed programs for their help"
)]
mod help_check;
#[cfg(test)]
mod project;
mod role;
pub(crate) mod table;
mod vouch;

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

pub(crate) use crate::argument::Arg;
use crate::argument::is_file_pattern;
use crate::ast::{Count, Note};
use crate::inventory::{Assignment, Effect, EffectKind, Invocation, POSSIBLE_OPTION, Resolved};
use crate::opaque::OpaqueReason;
use crate::outward;
use crate::outward_facts::{Outward, OutwardEffect};
use crate::peer;
use crate::span::Span;
use crate::word::{Value, Word};
use table::{Arity, Bond, Builtin, DirectoryRole, Entry, Implied, OperandFlag, Opt, Role, Slot, Unknown};

/// The group of what installs packages, bound to a lock file or not.
const INSTALLS: &str = "package-install";

/// What one invocation comes to.
#[derive(Default)]
pub(crate) struct Reading {
    pub(crate) resolved: Resolved,
    pub(crate) invocation: Invocation,
    pub(crate) effects: Vec<Effect>,
    pub(crate) opaque: Vec<Note>,
    pub(crate) assignments: Vec<Assignment>,
    pub(crate) children: Vec<Child>,
    /// Names that it makes an alias for.
    pub(crate) aliases: Vec<String>,
    /// Where it takes the shell.
    pub(crate) directory: Option<Directory>,
    /// Where it goes itself (`-C`).
    pub(crate) cwd: Option<Directory>,
}

/// A directory that is changed to.
pub(crate) enum Directory {
    To(Value),
    Unknown,
}

/// Something that a command runs.
pub(crate) enum Child {
    /// These words, as a command.
    Command {
        words: Vec<Arg>,
        assignments: Vec<Assignment>,
        /// It runs in a directory of the wrapper's choice.
        elsewhere: bool,
        /// The shell itself looks it up.
        shell: bool,
    },
    /// This shell code, which the word holds literally.
    Code { text: String, word: Word, runs: Runs },
}

/// Where and when shell code runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Runs {
    /// In a shell of its own.
    Elsewhere,
    /// The same; the text is what is certain of code that is not known, and may stop in the middle.
    Begun,
    /// In a shell of its own, whose commands can read on where the code was read.
    Stdin,
    /// In the shell that runs the command, at once.
    Here,
    /// In that shell, at a time of its own (`trap`).
    Later,
    /// Where a word stands that is an alias.
    Alias,
}

/// Reads one invocation. `shell` says that bash looks the command word up, so that builtins go first; `stdin` is all of
/// its standard input, where the text tells it.
pub(crate) fn read(args: &[Arg], shell: bool, stdin: Option<&str>) -> Reading {
    let Some(program) = args.first() else { return Reading::default() };
    let name = match &program.word.value {
        Value::Literal(path) | Value::Home(path) if program.count == Count::One => last_component(path),
        _ => return computed_program(args, shell),
    };
    let by_path = matches!(program.word.value, Value::Home(_)) || program.word.value.prefix().contains('/');
    let builtin = shell && !by_path && BUILTINS.binary_search(&name.as_str()).is_ok();
    let resolved = match (by_path, builtin) {
        (true, _) => Resolved::Path,
        (false, true) => Resolved::Builtin,
        (false, false) => Resolved::Name,
    };
    let mut reading = Reading { resolved, ..Reading::default() };
    reading.invocation.words = vec![name.clone()];
    reading.invocation.reviewed = builtin;
    let mut reading = match table::find(&name) {
        Ok(Some(entry)) if builtin || entry.builtin != Builtin::Only => {
            Parse::new(entry, args, shell, stdin, reading).finish()
        }
        Ok(_) => leaf(reading, args, builtin),
        Err(error) => {
            reading.note(OpaqueReason::UnknownSyntax, program.word.span, format!("the program tables: {error}"));
            reading
        }
    };
    if !builtin {
        match outward::of(&name, args, stdin) {
            Ok(outward) => {
                let reads = |outward: &Outward| outward.file && outward.effects.contains(&OutwardEffect::Observe);
                if outward.as_ref().is_some_and(reads) {
                    reading.effects.retain(|effect| effect.kind != EffectKind::Write);
                }
                reading.invocation.outward = outward;
            }
            Err(error) => {
                reading.note(OpaqueReason::UnknownSyntax, program.word.span, format!("the effect tables: {error}"));
            }
        }
    }
    reading
}

/// Whether Python would load a directory entry of this name in the place of a module of its own library.
pub(crate) fn shadows_python_module(entry: &str) -> bool {
    vouch::shadows(entry)
}

/// A word of which nothing is known and nothing is written.
pub(crate) fn empty_word() -> Word {
    Word { span: Span::default(), raw: String::new(), value: Value::Literal(String::new()), quoted: false }
}

/// Whether bash has a builtin of this name.
pub(crate) fn is_builtin(name: &str) -> bool {
    BUILTINS.binary_search(&name).is_ok()
}

/// The builtins of bash 5.2, sorted.
const BUILTINS: [&str; 61] = [
    ".",
    ":",
    "[",
    "alias",
    "bg",
    "bind",
    "break",
    "builtin",
    "caller",
    "cd",
    "command",
    "compgen",
    "complete",
    "compopt",
    "continue",
    "declare",
    "dirs",
    "disown",
    "echo",
    "enable",
    "eval",
    "exec",
    "exit",
    "export",
    "false",
    "fc",
    "fg",
    "getopts",
    "hash",
    "help",
    "history",
    "jobs",
    "kill",
    "let",
    "local",
    "logout",
    "mapfile",
    "popd",
    "printf",
    "pushd",
    "pwd",
    "read",
    "readarray",
    "readonly",
    "return",
    "set",
    "shift",
    "shopt",
    "source",
    "suspend",
    "test",
    "times",
    "trap",
    "true",
    "type",
    "typeset",
    "ulimit",
    "umask",
    "unalias",
    "unset",
    "wait",
];

/// A program without a table: its words are judged as they are.
fn leaf(mut reading: Reading, args: &[Arg], builtin: bool) -> Reading {
    if builtin {
        let span = args.first().map_or(Span::default(), |arg| arg.word.span);
        reading.note(OpaqueReason::UnknownSyntax, span, "a builtin that no table describes".to_owned());
        reading.directory = Some(Directory::Unknown);
    }
    for arg in args.iter().skip(1) {
        match arg.word.value.literal() {
            Some(text) if text.starts_with('-') && text.len() > 1 => {
                _ = reading.invocation.flags.insert(text.to_owned())
            }
            _ => reading.invocation.operands.push(arg.word.clone()),
        }
    }
    reading
}

fn computed_program(args: &[Arg], shell: bool) -> Reading {
    let mut reading = Reading { resolved: Resolved::Unknown, ..Reading::default() };
    if let Some(program) = args.first() {
        let detail = "which program this is, is not known before it runs; write its name out".to_owned();
        reading.note(OpaqueReason::DynamicProgram, program.word.span, detail);
    }
    reading.invocation.operands = args.iter().skip(1).map(|arg| arg.word.clone()).collect();
    reading.directory = shell.then_some(Directory::Unknown); // it may be `cd`
    reading
}

impl Reading {
    /// A word that is surely a function of the script: what it runs is told by its body.
    pub(crate) fn of_function(name: &str, args: &[Arg]) -> Self {
        let mut reading = Self { resolved: Resolved::Function, ..Self::default() };
        reading.invocation.reviewed = true;
        reading.invocation.words = vec![name.to_owned()];
        reading.invocation.operands = args.iter().skip(1).map(|arg| arg.word.clone()).collect();
        reading
    }

    fn note(&mut self, reason: OpaqueReason, span: Span, detail: String) {
        // One word may be seen to be doubtful in two ways, one after the other. That it may be an option can turn out to
        // be wrong, and must not stand for another doubt.
        let option = |detail: &str| detail == POSSIBLE_OPTION;
        let same =
            |known: &Note| known.reason == reason && known.span == span && option(&known.detail) == option(&detail);
        if !self.opaque.iter().rev().take(4).any(same) {
            self.opaque.push(Note { reason, span, detail });
        }
    }
}

/// Words being sorted into options and operands.
struct Parse<'t, 'a> {
    /// The program's table, of which `entry` may be a subcommand.
    table: &'t Entry,
    entry: &'t Entry,
    args: &'a [Arg],
    at: usize,
    shell: bool,
    /// All of its standard input, if it is known.
    stdin: Option<&'a str>,
    reading: Reading,
    chosen: Vec<&'t Opt>,
    operands: Vec<Arg>,
    leading: Vec<Assignment>,
    options_ended: bool,
    /// A computed word may be any option.
    maybe_option: bool,
    /// The same, of words that can be an option of one letter or a whole long one.
    maybe_whole_option: bool,
    /// What is noted now is meant from where the program is started.
    from_start: bool,
    /// An option is there that the table does not know.
    unfamiliar: bool,
    /// A package comes from elsewhere.
    fetches: bool,
    /// What an option's value makes of code on standard input: it is asked for, it is not.
    asked: bool,
    answered: bool,
    /// Code was given that we cannot vouch for, or that changes files.
    unvouched: bool,
    placeholder: Option<String>,
    /// The port that an option names; `Some(None)` if it is not known.
    port: Option<Option<u16>>,
    connects: Vec<Word>,
    /// Archives, and whether they are meant from where the program is started.
    archives: Vec<(Arg, bool)>,
    /// Where operands are copied to, and whether they are moved with all below them.
    copies: Vec<(Arg, bool)>,
}

impl<'t, 'a> Parse<'t, 'a> {
    fn new(entry: &'t Entry, args: &'a [Arg], shell: bool, stdin: Option<&'a str>, reading: Reading) -> Self {
        Self {
            table: entry,
            entry,
            args,
            at: 1,
            shell,
            stdin,
            reading,
            chosen: Vec::new(),
            operands: Vec::new(),
            leading: Vec::new(),
            options_ended: entry.plain,
            maybe_option: false,
            maybe_whole_option: false,
            from_start: false,
            unfamiliar: false,
            fetches: false,
            asked: false,
            answered: false,
            unvouched: false,
            placeholder: entry.placeholder.clone(),
            port: None,
            connects: Vec::new(),
            archives: Vec::new(),
            copies: Vec::new(),
        }
    }

    fn finish(mut self) -> Reading {
        self.words();
        self.operand_roles();
        self.checks();
        self.always();
        self.tell_behind();
        self.reading.invocation.groups = self.groups();
        self.reading.invocation.reviewed |= self.table.reviewed.is_some() && !self.unfamiliar && !self.reaches();
        // `cmake --version`. Not every program does that before it loads what the project names: mocha does not.
        if !self.reading.invocation.groups.contains("read-only") {
            self.reading.invocation.project.clone_from(&self.entry.project);
        }
        self.reading.invocation.operands = self.operands.into_iter().map(|arg| arg.word).collect();
        self.reading
    }

    /// An option is there that reaches what no word names, or a computed word may be one.
    fn reaches(&self) -> bool {
        self.chosen.iter().any(|option| option.reaches)
            || self.maybe_whole_option && self.entry.options.iter().any(|option| option.reaches)
    }

    fn words(&mut self) {
        if self.entry.bundled {
            self.bundle();
        }
        while let Some(arg) = self.args.get(self.at) {
            self.at += 1;
            let option = !self.options_ended && self.option(arg);
            if !option && self.operand(arg) {
                return;
            }
        }
    }

    /// Takes a word for an option if it can be one. A computed word that may be one stays an operand as well.
    fn option(&mut self, arg: &Arg) -> bool {
        let marks: &[char] = if self.entry.plus { &['-', '+'] } else { &['-'] };
        match &arg.word.value {
            Value::Literal(text) if text == "--" => {
                self.options_ended = true;
                true
            }
            Value::Literal(text) if text.starts_with(marks) => {
                if text.len() > 1 || self.exact(text).is_some() {
                    self.literal_option(text, arg);
                    return true;
                }
                false
            }
            Value::Literal(_) | Value::Home(_) | Value::Pipe { .. } | Value::Below(_) => false,
            // What a pattern comes to begins like it, however many files there are of such names; `--include=*.py` mostly finds none, and stays
            // as it is. Under `nocaseglob` a name may be another one, but none that differs from an option by that alone is an option.
            Value::Dynamic { prefix } | Value::Pattern { prefix }
                if prefix.starts_with("--")
                    && prefix.contains('=')
                    && match arg.word.value {
                        Value::Pattern { .. } => self.is_long(prefix),
                        _ => arg.count == Count::One,
                    } =>
            {
                let (name, known) = prefix.split_once('=').unwrap_or((prefix, ""));
                let value = Value::Dynamic { prefix: known.to_owned() };
                let value = Arg { word: Word { value, ..arg.word.clone() }, count: Count::One };
                self.long(name, Some(value), arg);
                true
            }
            Value::Dynamic { prefix } if arg.count == Count::One && self.begins_with_value(prefix).is_some() => {
                let value = Word { value: Value::Dynamic { prefix: String::new() }, ..arg.word.clone() };
                if let Some(option) = self.begins_with_value(prefix) {
                    self.choose(option, Some(Arg { word: value, count: Count::One }), arg);
                }
                true
            }
            Value::Dynamic { prefix } | Value::Pattern { prefix } => {
                let splits = matches!(arg.word.value, Value::Dynamic { .. }) && arg.count != Count::One;
                if prefix.is_empty() || prefix.starts_with(marks) || splits {
                    self.may_be_option(arg);
                }
                false
            }
        }
    }

    /// An option's name stands before the `=`, in small letters.
    fn is_long(&self, prefix: &str) -> bool {
        let name = prefix.split('=').next().unwrap_or_default();
        !name.bytes().any(|byte| byte.is_ascii_uppercase())
            && (self.exact(name).is_some() || self.abbreviated(name).is_some())
    }

    /// The option that `-j` in `-j$n` surely is: whatever comes behind it is its value. One that needs a value would take the
    /// next word if `$n` is empty.
    fn begins_with_value(&self, prefix: &str) -> Option<&'t Opt> {
        let option = self.exact(prefix).filter(|option| option.value == Arity::Optional && self.entry.clusters)?;
        let mut longer = self.entry.options.iter().flat_map(|option| &option.forms);
        (prefix.len() == 2 && !longer.any(|form| form.len() > 2 && form.starts_with(prefix))).then_some(option)
    }

    fn may_be_option(&mut self, arg: &Arg) {
        if is_process_number(&arg.word.raw) {
            return;
        }
        self.maybe_option = true;
        self.maybe_whole_option |= !is_file_pattern(&arg.word);
        if self.entry.unknown_option == Unknown::Opaque {
            self.note(OpaqueReason::DynamicOption, arg, POSSIBLE_OPTION);
        } else if self.entry.options.iter().any(Opt::reads) {
            // The option may be one that reads; of a pattern, only what it matches that looks like one.
            let mut read = role::unknown(arg);
            if matches!(&arg.word.value, Value::Pattern { prefix } if prefix.is_empty()) {
                read.word.value = Value::Pattern { prefix: "-".to_owned() };
            }
            self.apply(Role::Read, &read, false);
        }
    }

    fn literal_option(&mut self, text: &str, arg: &Arg) {
        if let Some(option) = self.exact(text) {
            self.choose(option, None, arg);
        } else if let Some((name, value)) = text.split_once('=').filter(|_| text.starts_with("--")) {
            self.long(name, Some(decoded(arg, value)), arg);
        } else if text.starts_with("--") {
            self.long(text, None, arg);
        } else if let Some((option, rest)) = self.single_dash(text) {
            self.choose(option, Some(decoded(arg, rest)), arg);
        } else if self.entry.numeric && text.len() > 1 && text.bytes().skip(1).all(|byte| byte.is_ascii_digit()) {
            self.reading.invocation.flags.insert(text.to_owned());
        } else if self.entry.clusters {
            self.cluster(text, arg, false);
        } else {
            self.unknown_option(text, arg);
        }
    }

    /// `-name=value` and wildcard forms of programs whose long options have one dash; wildcards of all.
    fn single_dash<'s>(&self, text: &'s str) -> Option<(&'t Opt, &'s str)> {
        if let Some((name, value)) = text.split_once('=').filter(|_| !self.entry.clusters)
            && let Some(option) = self.exact(name).filter(|option| option.value != Arity::None)
        {
            return Some((option, value));
        }
        let matches = self.entry.options.iter().flat_map(|option| {
            let stems = option.forms.iter().filter_map(|form| form.strip_suffix('*'));
            stems.filter_map(move |stem| Some((stem.len(), option, text.strip_prefix(stem)?)))
        });
        matches.max_by_key(|(length, ..)| *length).map(|(_, option, rest)| (option, rest))
    }

    fn exact(&self, text: &str) -> Option<&'t Opt> {
        self.entry.options.iter().find(|option| option.forms.iter().any(|form| form == text))
    }

    fn long(&mut self, name: &str, value: Option<Arg>, arg: &Arg) {
        let option = self.exact(name).or_else(|| self.abbreviated(name)).or_else(|| Some(self.single_dash(name)?.0));
        match option {
            Some(option) if value.is_some() && option.value == Arity::None && !wild(option) => {
                self.unknown_option(name, arg);
            }
            Some(option) => self.choose(option, value, arg),
            None => self.unknown_option(name, arg),
        }
    }

    /// The only option whose long form begins so.
    fn abbreviated(&self, name: &str) -> Option<&'t Opt> {
        if !self.entry.abbreviations || name.len() < 3 {
            return None;
        }
        let begins = |option: &&Opt| option.forms.iter().any(|form| form.starts_with(name));
        let mut candidates = self.entry.options.iter().filter(begins);
        candidates.next().filter(|_| candidates.next().is_none())
    }

    /// `-abc`; `bundled` words have no dash and take all values from the words behind them.
    fn cluster(&mut self, text: &str, arg: &Arg, bundled: bool) {
        let dash = text.get(..1).filter(|_| !bundled).unwrap_or("-");
        let letters = if bundled { text } else { text.get(1..).unwrap_or_default() };
        let mut paired = false;
        for (index, letter) in letters.char_indices() {
            if std::mem::take(&mut paired) {
                continue;
            }
            let next = letters.get(index + letter.len_utf8()..).and_then(|rest| rest.chars().next());
            let pair = next.filter(|_| self.entry.pairs).map(|next| format!("{dash}{letter}{next}"));
            let pair = pair.filter(|form| self.exact(form).is_some());
            paired = pair.is_some();
            let form = pair.unwrap_or_else(|| format!("{dash}{letter}"));
            let Some(option) = self.exact(&form) else {
                self.unknown_option(&form, arg);
                if self.entry.unknown_option == Unknown::Opaque {
                    return;
                }
                continue;
            };
            let rest = letters.get(index + form.len() - dash.len()..).unwrap_or_default();
            let attached =
                option.value != Arity::None && !bundled && !(rest.is_empty() && option.value != Arity::Optional);
            let value = (attached && !rest.is_empty()).then(|| decoded(arg, rest));
            self.choose(option, value, arg);
            if attached {
                return;
            }
        }
    }

    /// The first word of `tar xzf file` and `ps aux`.
    fn bundle(&mut self) {
        let Some(arg) = self.args.get(self.at) else { return };
        match arg.word.value.literal() {
            Some(text) if text.starts_with('-') => {}
            Some(text) => {
                self.at += 1;
                self.cluster(text, arg, true);
            }
            None => self.may_be_option(arg),
        }
    }

    fn unknown_option(&mut self, name: &str, arg: &Arg) {
        self.reading.invocation.flags.insert(name.to_owned());
        self.unfamiliar = true;
        if self.entry.unknown_option == Unknown::Opaque {
            let program = self.program();
            self.note(OpaqueReason::UnknownOption, arg, &format!("what `{name}` of `{program}` does is not known"));
        }
    }

    fn choose(&mut self, option: &'t Opt, attached: Option<Arg>, arg: &Arg) {
        let written = arg.word.value.literal().filter(|_| wild(option));
        self.reading.invocation.flags.insert(written.unwrap_or(option.canonical()).to_owned());
        self.chosen.push(option);
        self.options_ended |= option.last;
        if self.entry.settings.is_empty() {
            option.effects.iter().for_each(|implied| self.implied(implied, arg));
        }
        if let Some(reason) = option.opaque {
            let (name, program) = (option.canonical(), self.program());
            self.note(reason, arg, &format!("`{name}` of `{program}` {}", why(reason)));
        }
        match option.role {
            Role::CommandUntil => return self.command_until(option, arg),
            Role::CommandToEnd => return self.command_to_end(option),
            _ => {}
        }
        let value = match option.value {
            Arity::None => None,
            Arity::Optional => attached,
            Arity::Required => attached.or_else(|| self.next_value(arg)),
            Arity::Pair => {
                self.next_value(arg);
                self.next_value(arg)
            }
        };
        let Some(value) = value else {
            if option.role == Role::Placeholder {
                self.placeholder = Some("{}".to_owned());
            }
            return;
        };
        if let Some(text) = value.word.value.literal() {
            let values = self.reading.invocation.options.entry(option.canonical().to_owned()).or_default();
            values.insert(text.to_owned());
        }
        let known = value.word.value.literal();
        let may_begin = |text: &String| {
            let prefix = value.word.value.prefix();
            prefix.starts_with(text.as_str()) || known.is_none() && text.starts_with(prefix)
        };
        self.asked |= option.asks_for.iter().any(may_begin);
        self.answered |= known.is_some_and(|text| option.answers.iter().any(|answer| answer == text));
        let allowed = self.allowed_value(option, &value);
        if matches!(option.role, Role::Commands | Role::Setting | Role::PosixShellCode) && !option.values.is_empty() {
            if !allowed {
                self.tell_value(option, &value);
            }
            return;
        }
        if matches!(option.role, Role::Commands | Role::Setting) && option.opaque.is_some() {
            return self.tell(option.role, &value);
        }
        if option.role == Role::Module {
            return self.module(option, &value);
        }
        self.from_start = option.at_start;
        self.apply(option.role, &value, option.tree);
        if option.aside && !is_absolute(&value.word.value) {
            self.apply(option.role, &role::unknown(&value), option.tree);
        }
        self.from_start = false;
    }

    fn next_value(&mut self, arg: &Arg) -> Option<Arg> {
        let Some(value) = self.args.get(self.at).cloned() else {
            self.note(OpaqueReason::UnknownOption, arg, "the value of this option is missing");
            return None;
        };
        self.at += 1;
        if value.count == Count::Any || value.count == Count::Some {
            self.may_be_option(&value); // further words of it stand where options are
        }
        Some(value)
    }

    fn allowed_value(&mut self, option: &Opt, value: &Arg) -> bool {
        let allowed = allows(&option.values, &value.word.value);
        if !allowed {
            let (name, program) = (option.canonical(), self.program());
            let detail = format!("what this value of `{name}` of `{program}` does is not known");
            self.note(OpaqueReason::UnknownOption, value, &detail);
        }
        allowed
    }

    /// What a value that the table does not vouch for runs.
    fn tell_value(&mut self, option: &Opt, value: &Arg) {
        match option.role {
            Role::PosixShellCode => self.apply(option.role, value, false),
            role => self.tell(role, value),
        }
    }

    /// Takes a word for an operand. True if it and all behind it are no operands of this program.
    fn operand(&mut self, arg: &Arg) -> bool {
        if self.entry.leading_assignments && self.operands.is_empty() && self.leading_assignment(arg) {
            return false;
        }
        if arg.word.value.literal().is_some_and(|text| self.entry.ignore.iter().any(|word| word == text)) {
            return false;
        }
        if !self.entry.subcommands.is_empty() {
            return self.subcommand(arg);
        }
        let slots = self.slots();
        let role = slots.get(self.operands.len()).map(|slot| slot.role);
        if role == Some(Role::RemoteShell) {
            let words = self.args.get(self.at - 1..).unwrap_or_default().to_vec();
            self.remote_shell(&words);
            self.operands.extend(words);
            self.at = self.args.len();
            return true;
        }
        if role == Some(Role::TypedCode) {
            let words = self.args.get(self.at - 1..).unwrap_or_default().to_vec();
            self.reading.invocation.inline_code = true;
            self.note(OpaqueReason::InlineCode, arg, "this is typed into a shell that runs elsewhere");
            self.tell_joined(&words);
            self.operands.extend(words);
            self.at = self.args.len();
            return true;
        }
        if role == Some(Role::Command)
            && !self.entry.permute
            && let Some(option) = arg.word.value.literal().and_then(|text| self.exact(text))
            && option.role == Role::PosixShellCode
        {
            // Behind the first operand no other option is one.
            self.choose(option, None, arg);
            return false;
        }
        if let Some(role @ (Role::Command | Role::CommandOrCode | Role::JoinedShellCode | Role::Jobs)) = role {
            let earlier = self.operands.iter().any(|operand| operand.count != Count::One);
            if earlier {
                self.note(OpaqueReason::DynamicOption, arg, "where the command begins depends on the words before it");
            }
            let words = self.args.get(self.at - 1..).unwrap_or_default().to_vec();
            match role {
                Role::JoinedShellCode => self.joined_code(&words),
                Role::Jobs => self.jobs(&words),
                Role::CommandOrCode => self.command_or_code(words),
                _ => self.command(words),
            }
            return true;
        }
        self.operands.push(arg.clone());
        if !self.entry.permute {
            self.options_ended = true;
        }
        false
    }

    fn leading_assignment(&mut self, arg: &Arg) -> bool {
        let Some((name, rest)) = arg.word.value.prefix().split_once('=') else { return false };
        let value = match &arg.word.value {
            Value::Literal(_) => Value::Literal(rest.to_owned()),
            _ => Value::Dynamic { prefix: rest.to_owned() },
        };
        if arg.count != Count::One {
            self.note(
                OpaqueReason::DynamicOption,
                arg,
                "this word may become several, of which the next is the command",
            );
        }
        let value = Word { value, ..arg.word.clone() };
        self.leading.push(Assignment { span: arg.word.span, name: name.to_owned(), value, persistent: false });
        self.options_ended = true;
        true
    }

    fn subcommand(&mut self, arg: &Arg) -> bool {
        let parent = self.program();
        let Some(name) = arg.word.value.literal() else {
            self.note(
                OpaqueReason::DynamicOption,
                arg,
                &format!("which subcommand of `{parent}` this is, is not known"),
            );
            self.operands.push(arg.clone());
            return false;
        };
        let words = format!("{parent} {name}");
        self.reading.invocation.words.push(words.clone());
        let Some(entry) = self.entry.subcommand(name) else {
            self.note(OpaqueReason::UnknownOption, arg, &format!("what `{words}` does is not known"));
            self.operands = self.args.get(self.at..).unwrap_or_default().to_vec();
            self.at = self.args.len();
            return true;
        };
        if let (Some(reason), Some(first)) = (self.entry.opaque, self.args.first()) {
            self.note(reason, first, &format!("`{parent}` {}", why(reason)));
        }
        self.entry = entry;
        self.options_ended = entry.plain;
        self.chosen.retain(|option| option.groups.is_some() || option.instead);
        self.words();
        true
    }

    pub(super) fn command(&mut self, words: Vec<Arg>) {
        if let Some(program) = words.first().filter(|program| !allows(&self.entry.commands, &program.word.value)) {
            let detail = format!("what this command of `{}` does is not known", self.program());
            self.note(OpaqueReason::UnknownOption, program, &detail);
        }
        let known = |arg: &Arg| arg.word.value.literal().is_some() || !arg.word.value.prefix().is_empty();
        let taken = |arg: &&Arg| !known(arg) || arg.word.value.prefix().starts_with('-');
        if self.entry.mixes
            && !self.options_ended
            && let Some(option) = words.iter().skip(1).find(taken)
        {
            let detail = "this option may not be the command's; put the command behind `--`";
            self.note(OpaqueReason::UnknownOption, option, detail);
        }
        self.child(words, self.entry.elsewhere && self.reading.cwd.is_none());
    }

    /// `python -m NAME`: the words behind it are the module's, or those of the program that it is.
    fn module(&mut self, option: &Opt, arg: &Arg) {
        let (parent, option) = (self.program(), option.canonical());
        self.code_effects(arg);
        let Some(entry) = arg.word.value.literal().and_then(|name| self.entry.module(name)) else {
            self.unvouched = true;
            self.options_ended = true;
            return self.note(
                OpaqueReason::ScriptFile,
                arg,
                &format!("what this module of `{parent}` does is not known"),
            );
        };
        self.always();
        self.reading.invocation.words.push(format!("{parent} {option} {}", entry.name));
        if let Some(program) = &entry.stands_for {
            let rest = self.args.get(self.at..).unwrap_or_default();
            let words = std::iter::once(decoded(arg, program)).chain(rest.iter().cloned()).collect();
            self.at = self.args.len();
            self.child(words, false);
        }
        self.entry = entry;
        self.options_ended = entry.plain;
        self.chosen.retain(|option| option.groups.is_some());
    }

    fn command_until(&mut self, option: &Opt, arg: &Arg) {
        let rest = self.args.get(self.at..).unwrap_or_default();
        let is = |arg: &Arg, text: &str| arg.word.value.literal() == Some(text);
        let end = rest.iter().enumerate().position(|(index, word)| {
            let braces = index > 0 && rest.get(index - 1).is_some_and(|before| is(before, "{}"));
            is(word, ";") || is(word, "+") && braces
        });
        let Some(end) = end else {
            self.at = self.args.len();
            return self.note(
                OpaqueReason::UnknownOption,
                arg,
                "the command behind this is not ended by `;` or `{} +`",
            );
        };
        let words = rest.get(..end).unwrap_or_default().to_vec();
        self.at += end + 1;
        for word in words.iter().filter(|word| word.word.value.literal().is_none()) {
            if word.count != Count::One || word.word.value.prefix().is_empty() {
                self.note(OpaqueReason::DynamicOption, word, "this word may end the command that stands here");
            }
        }
        self.placeholder = Some("{}".to_owned());
        let many = self.args.get(self.at - 1).is_some_and(|end| is(end, "+"));
        let words = if option.elsewhere { words } else { self.found(words, many) };
        self.child(words, option.elsewhere);
    }

    /// What is found stands below where the search begins: `{}` is a path there.
    fn found(&self, words: Vec<Arg>, many: bool) -> Vec<Arg> {
        let implicit = self.entry.implicit.iter().map(|path| Value::Literal(path.clone()));
        let written = self.operands.iter().map(|arg| arg.word.value.clone());
        let roots: Vec<Value> = if self.operands.is_empty() { implicit.collect() } else { written.collect() };
        let known = roots.iter().all(|root| matches!(root, Value::Literal(_) | Value::Home(_)));
        if !known || self.maybe_option {
            return words;
        }
        let count = if many { Count::Some } else { Count::One };
        let mut words = words;
        for arg in words.iter_mut().filter(|arg| arg.word.value.literal() == Some("{}")) {
            arg.word.value = Value::Below(roots.clone());
            arg.count = count;
        }
        words
    }

    fn command_to_end(&mut self, option: &Opt) {
        let rest = self.args.get(self.at..).unwrap_or_default();
        let end = rest.iter().position(|arg| arg.word.value.literal() == Some(";")).unwrap_or(rest.len());
        let mut words = rest.get(..end).unwrap_or_default().to_vec();
        self.at += end + 1;
        for word in words.iter().filter(|word| word.word.value.literal().is_none()) {
            if word.count != Count::One || word.word.value.prefix().is_empty() {
                self.note(OpaqueReason::DynamicOption, word, "this word may end the command that stands here");
            }
        }
        let named = words.iter().any(|arg| arg.word.value.prefix().contains('{'));
        if let Some(last) = words.last().filter(|_| !named) {
            words.push(role::unknown(last));
        }
        self.placeholder = Some("{".to_owned());
        self.child(words, option.elsewhere);
    }

    fn child(&mut self, words: Vec<Arg>, elsewhere: bool) {
        let mut words = words;
        if let Some(first) = words.first().cloned() {
            words.splice(0..0, self.entry.prefix.iter().map(|text| decoded(&first, text)));
        }
        if let Some(placeholder) = self.placeholder.clone() {
            for arg in &mut words {
                fill_in(arg, &placeholder);
            }
        } else if self.entry.appends {
            let end = words.last().map_or(0, |arg| arg.word.span.end);
            let value = Value::Dynamic { prefix: String::new() };
            words.push(Arg { word: Word { span: Span::new(end, end), value, ..empty_word() }, count: Count::Any });
        }
        let assignments = std::mem::take(&mut self.leading);
        let shell = self.entry.runs_builtins;
        self.reading.children.push(Child::Command { words, assignments, elsewhere, shell });
    }

    fn slots(&self) -> Vec<Slot> {
        let mut given = self.chosen.iter().rev().filter_map(|option| option.operands.as_ref());
        // `bash -c -s x` runs `x` as `bash -s -c x` does: what says less does not take the place of what says more.
        let last = given.next().unwrap_or(&self.entry.operands);
        let acts = |slots: &&Vec<Slot>| slots.iter().any(|slot| slot.role.acts());
        if acts(&last) { last.clone() } else { given.find(acts).unwrap_or(last).clone() }
    }

    fn operand_roles(&mut self) {
        let slots = self.slots();
        let tree = self.tree();
        let also: Vec<Role> = self.chosen.iter().filter_map(|option| option.also).collect();
        let operands = self.operands.clone();
        operands.iter().for_each(|arg| self.operand_meaning(arg));
        self.setting(&operands);
        let mut touched = false;
        for (arg, roles) in operands.iter().zip(possible_roles(&slots, &operands)) {
            if self.named(arg) {
                continue;
            }
            if roles.is_empty() && !slots.is_empty() && self.reading.opaque.is_empty() {
                let detail = format!("`{}` takes no further word here, as far as is known", self.program());
                self.note(OpaqueReason::UnknownOption, arg, &detail);
            }
            for role in roles {
                self.apply(role, arg, tree);
                if self.entry.aside && role.is_path() && !is_absolute(&arg.word.value) {
                    self.apply(role, &role::unknown(arg), tree);
                }
                touched |= role.is_path() || matches!(role, Role::Remote | Role::Host);
                if role.is_path() {
                    also.iter().for_each(|role| self.apply(*role, arg, tree));
                }
            }
        }
        touched |= self.chosen.iter().any(|option| option.role == Role::Host);
        let implicit =
            self.chosen.iter().rev().find_map(|option| option.implicit.as_ref()).or(self.entry.implicit.as_ref());
        if let (false, Some(path), Some(program)) = (touched, implicit, self.args.first()) {
            let meant = |role: &Role| role.is_path() || matches!(role, Role::Remote | Role::Host);
            let role = slots.iter().map(|slot| slot.role).find(meant);
            let role = role.unwrap_or(Role::Read);
            let arg = decoded(program, path);
            self.apply(role, &arg, tree);
            also.iter().for_each(|role| self.apply(*role, &arg, tree));
        }
        for (to, moves) in std::mem::take(&mut self.copies) {
            self.copied_to(&to, moves || tree);
        }
    }

    /// Whether operands are meant with all that is below them.
    fn tree(&self) -> bool {
        self.chosen.iter().any(|option| option.tree) || self.maybe_option && self.entry.tree_options()
    }

    /// Takes an operand for what it says that it is.
    fn named(&mut self, arg: &Arg) -> bool {
        let known = arg.word.value.prefix();
        let Some((named, rest)) =
            self.entry.named.iter().find_map(|named| Some((named, known.strip_prefix(named.prefix.as_str())?)))
        else {
            return false;
        };
        if arg.count != Count::One {
            self.note(OpaqueReason::DynamicOption, arg, "this word may become several; quote it");
        }
        let prefix = rest.to_owned();
        let value = if arg.word.value.literal().is_some() { Value::Literal(prefix) } else { Value::Dynamic { prefix } };
        let rest = Arg { word: Word { value, ..arg.word.clone() }, count: Count::One };
        self.apply(named.role, &rest, false);
        true
    }

    /// Operands that are as good as options, and operands that nothing is known of.
    fn operand_meaning(&mut self, arg: &Arg) {
        let known = arg.word.value.prefix();
        for OperandFlag { prefix, flag } in &self.entry.operand_flags {
            let open = arg.word.value.literal().is_none() && prefix.starts_with(known);
            if known.starts_with(prefix) || open {
                self.reading.invocation.flags.insert(flag.clone());
            }
        }
        if !allows(&self.entry.operand_values, &arg.word.value) {
            let program = self.program();
            self.note(OpaqueReason::UnknownOption, arg, &format!("what this operand of `{program}` does is not known"));
        }
    }

    /// A setting that may name a program, set to something.
    fn setting(&mut self, operands: &[Arg]) {
        let Some(first) = operands.first().filter(|_| !self.entry.settings.is_empty()) else { return };
        let set = operands.len() > 1 || first.count != Count::One;
        let name = first.word.value.literal().map(str::to_ascii_lowercase);
        let known = |setting: &String| {
            let setting = setting.to_ascii_lowercase();
            match (setting.split_once('*'), &name) {
                (_, None) => false,
                (Some((stem, "")), Some(name)) => name.starts_with(stem),
                (Some((stem, last)), Some(name)) => {
                    name.strip_prefix(stem).is_some_and(|rest| rest.len() > last.len() && rest.ends_with(last))
                }
                (None, Some(name)) => *name == setting,
            }
        };
        if !set {
            return;
        }
        let harmless = self.entry.settings.iter().any(known);
        if !harmless {
            self.note(OpaqueReason::InlineCode, first, "this setting may name something that runs later");
        }
        self.set_to(operands);
        let chosen: Vec<&Implied> = self.chosen.iter().flat_map(|option| &option.effects).collect();
        let elsewhere = !chosen.is_empty() || self.chosen.iter().any(|option| option.instead);
        let weighed = self.entry.weighed.iter().any(known);
        let usual = if weighed { &self.entry.weighed_effects } else { &self.entry.effects };
        let usual = usual.iter().filter(|_| !elsewhere && !harmless);
        for implied in usual.chain(chosen.iter().copied()) {
            self.implied(implied, first);
        }
    }

    /// Lists what a setting will run: `config [set] NAME VALUE`.
    fn set_to(&mut self, operands: &[Arg]) {
        let texts: Option<Vec<&str>> = operands.iter().map(|arg| arg.word.value.literal()).collect();
        let (Some(texts), Some(last)) = (texts, operands.last()) else { return };
        let words = texts.strip_prefix(&["set"]).unwrap_or(&texts);
        if let [name, value, ..] = words {
            self.tell_setting(&format!("{name}={value}"), last);
        }
    }

    /// What holds for every invocation of the table at hand.
    fn always(&mut self) {
        let Some(program) = self.args.first() else { return };
        let entry = self.entry;
        if entry.settings.is_empty() && !self.chosen.iter().any(|option| option.instead) {
            for implied in &entry.effects {
                self.implied(implied, program);
            }
        }
        if let Some(reason) = self.entry.opaque {
            let name = self.program();
            self.note(reason, program, &format!("`{name}` {}", why(reason)));
        }
        match self.entry.directory {
            None => {}
            Some(DirectoryRole::Unknown) => self.reading.directory = self.shell.then_some(Directory::Unknown),
            Some(DirectoryRole::Cd) => self.reading.directory = self.shell.then(|| self.changed_directory()),
            Some(DirectoryRole::Push) => self.reading.directory = self.shell.then(|| self.pushed_directory()),
        }
        let moves = self.chosen.iter().any(|option| option.elsewhere && option.role != Role::CommandUntil);
        if moves {
            self.reading.cwd = Some(Directory::Unknown);
        }
        let moved = self.reading.cwd.is_some();
        for effect in &mut self.reading.effects {
            effect.from_start &= moved && !is_absolute(&effect.target.value);
        }
        let extracts = self.chosen.iter().any(|option| option.extracts);
        let role = if extracts { Role::Read } else { Role::ReadWrite };
        for (arg, at_start) in std::mem::take(&mut self.archives) {
            let known = !moved || at_start || is_absolute(&arg.word.value);
            let target = if known { arg } else { role::unknown(&arg) };
            self.from_start = moved && !is_absolute(&target.word.value);
            self.apply(role, &target, false);
            self.from_start = false;
        }
        let port = self.port.unwrap_or(self.entry.port);
        for target in std::mem::take(&mut self.connects) {
            let peer = target.value.literal().zip(port).and_then(|(text, port)| peer::host_and_port(text, port));
            self.connect(target, peer);
        }
    }

    fn pushed_directory(&self) -> Directory {
        let stack = |arg: &Arg| arg.word.value.prefix().starts_with(['+', '-']);
        match self.operands.as_slice() {
            [to] if !stack(to) => self.changed_directory(),
            _ => Directory::Unknown,
        }
    }

    fn changed_directory(&self) -> Directory {
        let certain = !self.maybe_option && !self.unfamiliar;
        match self.operands.as_slice() {
            [] if certain => Directory::To(Value::Home(String::new())),
            [to] if certain && to.count == Count::One => match &to.word.value {
                Value::Literal(path) if path == "-" || path.is_empty() => Directory::Unknown,
                value @ (Value::Literal(_) | Value::Home(_)) => Directory::To(value.clone()),
                _ => Directory::Unknown,
            },
            _ => Directory::Unknown,
        }
    }

    fn groups(&self) -> BTreeSet<String> {
        let entry = self.entry;
        let overrides: Vec<&Vec<String>> = self.chosen.iter().filter_map(|option| option.groups.as_ref()).collect();
        let does = |kinds: &[EffectKind]| self.reading.effects.iter().any(|effect| kinds.contains(&effect.kind));
        let sets = match (&entry.code_groups, overrides.as_slice(), &entry.operand_groups) {
            (Some(groups), ..) if self.unvouched => vec![groups],
            (_, [], Some(groups)) if !self.operands.is_empty() => vec![groups],
            (_, [], _) => vec![&entry.groups],
            (_, overrides, _) => overrides.to_vec(),
        };
        let mut groups: BTreeSet<String> = sets.iter().flat_map(|set| set.iter().cloned()).collect();
        if !sets.iter().all(|set| set.iter().any(|group| group == "read-only")) {
            groups.remove("read-only");
        }
        let (changes, connects) = (does(&[EffectKind::Write, EffectKind::Delete]), does(&[EffectKind::Connect]));
        groups.extend(self.fetches.then(|| INSTALLS.to_owned()));
        if groups.contains(INSTALLS) && !self.is_lock_bound() {
            let ecosystem = self.table.ecosystem.as_deref().unwrap_or("other");
            groups.insert(format!("install-{ecosystem}"));
        }
        if (changes || connects) && groups.remove("read-only") {
            groups.extend(changes.then(|| "toolchain".to_owned()));
            groups.extend(connects.then(|| "network".to_owned()));
        }
        groups
    }

    /// Whether the invocation installs only what a lock file or the workspace holds. An option that is not known, or a
    /// word that may be one, could change that.
    fn is_lock_bound(&self) -> bool {
        let installs = |option: &&Opt| option.groups.iter().flatten().any(|group| group == INSTALLS);
        if self.maybe_option || self.unfamiliar || self.fetches || self.chosen.iter().any(installs) {
            return false;
        }
        let invocation = &self.reading.invocation;
        let has = |option: &String| invocation.flags.contains(option);
        // The last one of `--frozen-lockfile --no-frozen-lockfile` counts.
        let negated = |option: &String| option.strip_prefix("--").is_some_and(|name| has(&format!("--no-{name}")));
        let written = invocation.words.last().and_then(|words| words.rsplit(' ').next()).unwrap_or_default();
        let operands = |fits: &dyn Fn(&Arg) -> bool| !self.operands.is_empty() && self.operands.iter().all(fits);
        // npm takes such a word for the value of the option before it: `--offline false` (nopt).
        let is_value = |arg: &Arg| match arg.word.value.literal() {
            Some(word) => matches!(word, "true" | "false"),
            None => !begins_as_path(&arg.word.value),
        };
        if self.table.ecosystem.as_deref() == Some("node") && self.operands.iter().any(is_value) {
            return false;
        }
        let is_path = |arg: &Arg| arg.count == Count::One && is_local_path(&arg.word.value);
        let is_literal = |arg: &Arg| matches!(arg.word.value, Value::Literal(_) | Value::Home(_));
        let path = |text: &String| is_local_path(&Value::Literal(text.clone()));
        let holds = |bond: &Bond| match bond {
            Bond::Word(word) => written == word,
            Bond::Option(name) => has(name) && !negated(name),
            Bond::Without(name) => !has(name),
            // A value that is not literal is not among these.
            Bond::OptionPaths(name) => {
                let values = invocation.options.get(name);
                self.args.iter().all(is_literal) && values.is_some_and(|values| values.iter().all(path))
            }
            Bond::OptionPlaces(name) => {
                let values = invocation.options.get(name);
                let is_place = |value: &String| !value.is_empty() && !value.contains(':');
                self.args.iter().all(is_literal) && values.is_some_and(|values| values.iter().all(is_place))
            }
            Bond::NoOperand => self.operands.is_empty(),
            Bond::Paths => operands(&is_path),
            Bond::Wheels => operands(&|arg| is_path(arg) && arg.word.value.prefix().ends_with(".whl")),
            Bond::NoUrl => self.operands.iter().all(|arg| {
                let begins = arg.word.value.prefix();
                (is_literal(arg) || begins_as_path(&arg.word.value)) && !begins.contains("://")
            }),
        };
        self.entry.lock_bound.iter().any(|bonds| bonds.iter().all(holds))
    }

    fn implied(&mut self, implied: &Implied, arg: &Arg) {
        let mut target = decoded(arg, &implied.path);
        if let Some(rest) = implied.path.strip_prefix('~') {
            target.word.value = Value::Home(rest.to_owned());
        }
        self.apply(implied.role, &target, false);
    }

    fn note(&mut self, reason: OpaqueReason, arg: &Arg, detail: &str) {
        self.reading.note(reason, arg.word.span, detail.to_owned());
    }

    fn program(&self) -> String {
        self.reading.invocation.words.last().cloned().unwrap_or_default()
    }
}

/// The roles that each operand may have, given that some may become several words, or none.
fn possible_roles(slots: &[Slot], operands: &[Arg]) -> Vec<BTreeSet<Role>> {
    let repeat = slots.iter().position(|slot| slot.repeats);
    let front = slots.get(..repeat.unwrap_or(slots.len())).unwrap_or_default();
    let back = repeat.and_then(|at| slots.get(at + 1..)).unwrap_or_default();
    let before = words_before(operands.iter());
    let behind = words_before(operands.iter().rev());
    let places = before.into_iter().zip(behind.into_iter().rev());
    let roles = places.map(|(before, behind)| {
        let from_front = front.iter().enumerate().filter(|(at, _)| before.contains(at)).map(|(_, slot)| slot.role);
        let mut roles: BTreeSet<Role> = from_front.collect();
        if *before.end() >= front.len() {
            let from_end = back.iter().rev().enumerate();
            roles.extend(from_end.filter(|(at, _)| behind.contains(at)).map(|(_, slot)| slot.role));
            if *behind.end() >= back.len() {
                roles.extend(repeat.and_then(|at| slots.get(at)).map(|slot| slot.role));
            }
        }
        roles
    });
    roles.collect()
}

/// How many words may stand before each word that bash makes of an operand.
fn words_before<'a>(operands: impl Iterator<Item = &'a Arg>) -> Vec<RangeInclusive<usize>> {
    let (mut least, mut most) = (0, 0_usize);
    let places = operands.map(|operand| {
        let one = operand.count == Count::One;
        let place = least..=if one { most } else { usize::MAX };
        least += usize::from(operand.count != Count::Any);
        most = if one { most.saturating_add(1) } else { usize::MAX };
        place
    });
    places.collect()
}

/// Replaces the placeholder in a word by something that is not known.
fn fill_in(arg: &mut Arg, placeholder: &str) {
    if matches!(arg.word.value, Value::Below(_)) {
        return;
    }
    let known = arg.word.value.prefix();
    match known.find(placeholder) {
        Some(at) => {
            let prefix = known.get(..at).unwrap_or_default().to_owned();
            arg.word.value = Value::Dynamic { prefix };
        }
        None if arg.word.value.literal().is_none() => {
            // What it becomes may hold the placeholder; it is not known either way.
            let prefix = if matches!(arg.word.value, Value::Home(_)) { String::new() } else { known.to_owned() };
            arg.word.value = Value::Dynamic { prefix };
        }
        None => {}
    }
}

/// A word that says this, standing where the argument stands.
fn decoded(arg: &Arg, text: &str) -> Arg {
    let word = Word { value: Value::Literal(text.to_owned()), ..arg.word.clone() };
    Arg { word, count: Count::One }
}

/// Whether a list of allowed texts, if there is one, has this value; a trailing `*` stands for anything.
fn allows(list: &[String], value: &Value) -> bool {
    let stem = |allowed: &String| allowed.strip_suffix('*').is_some_and(|stem| value.prefix().starts_with(stem));
    list.is_empty() || list.iter().any(|allowed| value.literal() == Some(allowed.as_str()) || stem(allowed))
}

/// Whether a word is a path, though only its beginning is known. Each word that a pattern becomes has that beginning.
fn begins_as_path(value: &Value) -> bool {
    let begins = value.prefix();
    match value {
        Value::Pattern { .. } => begins.contains('/') && !begins.contains(':') && !begins.starts_with('-'),
        Value::Dynamic { .. } => ["/", "./", "../"].iter().any(|start| begins.starts_with(start)),
        _ => false,
    }
}

/// A package that is named by its path, and not by a name that a registry knows.
fn is_local_path(value: &Value) -> bool {
    let text = value.literal().or(matches!(value, Value::Home(_)).then_some("/"));
    text.is_some_and(|text| {
        let begins = matches!(text, "." | "..") || ["/", "./", "../"].iter().any(|start| text.starts_with(start));
        begins && !text.contains("://")
    })
}

/// It means the same from everywhere.
pub(crate) fn is_absolute(value: &Value) -> bool {
    value.prefix().starts_with('/') || matches!(value, Value::Home(_))
}

/// Digits, or nothing: never an option.
fn is_process_number(raw: &str) -> bool {
    matches!(raw, "$!" | "\"$!\"" | "$$" | "\"$$\"" | "$?" | "\"$?\"" | "$#" | "\"$#\"")
}

fn wild(option: &Opt) -> bool {
    option.forms.iter().any(|form| form.ends_with('*'))
}

fn last_component(path: &str) -> String {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned()
}

/// What is wrong with something of this reason, as the end of a sentence.
fn why(reason: OpaqueReason) -> &'static str {
    match reason {
        OpaqueReason::DynamicProgram => "runs a program that is not known before it runs",
        OpaqueReason::DynamicOption => "takes options that are not known before it runs",
        OpaqueReason::InlineCode => "runs code that is not read",
        OpaqueReason::StdinCode => "takes code from standard input",
        OpaqueReason::ScriptFile => "runs files whose content is not in the text",
        OpaqueReason::UnknownOption => "can run or write things that are not in the text",
        OpaqueReason::Arithmetic => "evaluates text as arithmetic, which can run code",
        OpaqueReason::IndirectName => "names a variable by another one",
        OpaqueReason::ReservedVariable => "sets variables that change what bash does",
        OpaqueReason::WrittenThenRun => "runs what the script wrote",
        OpaqueReason::ProjectCode => "runs the project's own code",
        OpaqueReason::NotReviewed => "is not known from a reviewed table",
        OpaqueReason::UnknownSyntax => "changes how later text is read",
    }
}
