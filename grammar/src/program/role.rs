//! What a word in its role comes to: effects, code, variables, peers.
//!
//! This file decides what each role of the tables means. A word whose value is not known gets the widest meaning that
//! its role allows.

use super::table::{Check, Role, Stdin};
use super::vouch::Touched;
use super::{Arg, Child, Directory, Parse, decoded, peer, vouch};
use crate::ast::Count;
use crate::inventory::{Assignment, Effect, EffectKind, OpaqueReason, Peer, Resolved};
use crate::word::{Value, Word, is_name, starts_name};

impl Parse<'_, '_> {
    /// What a word in this role comes to.
    pub(super) fn apply(&mut self, role: Role, arg: &Arg, tree: bool) {
        let stdio = self.entry.dash_is_stdio && arg.word.value.literal() == Some("-");
        match role {
            Role::Data | Role::Command | Role::CommandUntil | Role::Module => {}
            Role::Read | Role::Write | Role::ReadWrite | Role::ReadTree | Role::WriteTree if stdio => {}
            Role::Read => self.effect(EffectKind::Read, arg, tree),
            Role::ReadTree => self.effect(EffectKind::Read, arg, true),
            Role::Input => self.input(arg),
            Role::Write => self.effect(EffectKind::Write, arg, tree),
            Role::WriteTree => self.effect(EffectKind::Write, arg, true),
            Role::Execute => self.effect(EffectKind::Execute, arg, tree),
            Role::Delete => self.effect(EffectKind::Delete, arg, tree),
            Role::DeleteTree => self.effect(EffectKind::Delete, arg, true),
            Role::ReadWrite => {
                self.effect(EffectKind::Read, arg, tree);
                self.effect(EffectKind::Write, arg, tree);
            }
            Role::Move => {
                self.effect(EffectKind::Read, arg, true);
                self.effect(EffectKind::Delete, arg, true);
            }
            Role::Archive => self.archive(arg, stdio),
            Role::Replace => self.replaced(arg),
            Role::LinkTarget => self.linked(arg),
            Role::AtFile => match &arg.word.value {
                Value::Literal(text) => {
                    if let Some(path) = text.strip_prefix('@').filter(|path| *path != "-") {
                        self.effect(EffectKind::Read, &decoded(arg, path), false);
                    }
                }
                value if value.prefix().is_empty() || value.prefix().starts_with('@') => {
                    self.effect(EffectKind::Read, &unknown(arg), false);
                }
                _ => {}
            },
            Role::Cwd => {
                let known = matches!(arg.word.value, Value::Literal(_) | Value::Home(_));
                let first = self.reading.cwd.is_none() && known;
                let directory = if first { Directory::To(arg.word.value.clone()) } else { Directory::Unknown };
                self.reading.cwd = Some(directory);
            }
            Role::Url => self.url(arg),
            Role::Host => self.connects.push(arg.word.clone()),
            Role::Port => self.port = Some(arg.word.value.literal().and_then(|text| text.parse().ok())),
            Role::Source => self.transferred(EffectKind::Read, arg),
            Role::Destination => self.transferred(EffectKind::Write, arg),
            Role::Remote => self.remote(arg),
            Role::Placeholder => match arg.word.value.literal().filter(|text| !text.is_empty()) {
                Some(text) => self.placeholder = Some(text.to_owned()),
                None => self.note(OpaqueReason::DynamicOption, arg, "what is replaced in the command is not known"),
            },
            Role::ShellCode => self.shell_code(arg, |_| true),
            Role::PosixShellCode => self.shell_code(arg, vouch::posix_shell),
            Role::Code => self.code(arg),
            Role::Awk | Role::Sed | Role::Jq | Role::Python | Role::Perl | Role::Node | Role::Ruby | Role::Php => {
                self.vouched(role, arg)
            }
            Role::Script => self.script_file(arg),
            Role::Assignment => self.declared(arg),
            Role::Variable => self.variable(arg, Value::Dynamic { prefix: String::new() }),
            Role::Unset => self.variable(arg, Value::Literal(String::new())),
        }
    }

    fn effect(&mut self, kind: EffectKind, arg: &Arg, tree: bool) {
        self.reading.effects.push(Effect { kind, target: arg.word.clone(), tree, peer: None });
    }

    fn input(&mut self, arg: &Arg) {
        let plain = |text: &str| !text.contains(['<', '>', '|', '&']) && text.trim() == text;
        match arg.word.value.literal() {
            Some(text) if plain(text) => self.effect(EffectKind::Read, arg, false),
            Some(_) => self.code(arg), // `rm x|` is a command here
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

    fn archive(&mut self, arg: &Arg, stdio: bool) {
        match arg.word.value.literal() {
            Some(_) if stdio => return,
            Some(text) if text.contains(':') => {
                self.note(OpaqueReason::UnknownOption, arg, "a remote archive is reached by running another program");
            }
            Some(_) => {}
            None => self.note(OpaqueReason::DynamicOption, arg, "this archive may turn out to be a remote one"),
        }
        self.archives.push(arg.clone());
    }

    /// `gzip f` makes `f.gz` and removes `f`, `gzip -d f.gz` the other way round: both begin with the stem.
    fn replaced(&mut self, arg: &Arg) {
        self.effect(EffectKind::Read, arg, false);
        self.effect(EffectKind::Delete, arg, false);
        let prefix = arg.word.value.prefix();
        let stem = prefix.rsplit_once('.').filter(|(_, rest)| !rest.contains('/')).map_or(prefix, |(stem, _)| stem);
        let value = Value::Dynamic { prefix: stem.to_owned() };
        let other = Arg { word: Word { value, ..arg.word.clone() }, count: arg.count };
        self.effect(EffectKind::Write, &other, false);
    }

    /// A symbolic link's target is relative to where the link is, which the word alone does not tell.
    fn linked(&mut self, arg: &Arg) {
        let climbs = arg
            .word
            .value
            .literal()
            .is_some_and(|path| !path.starts_with('/') && path.split('/').any(|part| part == ".."));
        let target = if climbs { unknown(arg) } else { arg.clone() };
        self.effect(EffectKind::Read, &target, true);
        self.effect(EffectKind::Write, &target, true);
    }

    fn url(&mut self, arg: &Arg) {
        let target = arg.word.clone();
        let peer = match target.value.literal().map(peer::url) {
            Some(peer::Url::File(path)) => return self.effect(EffectKind::Read, &decoded(arg, &path), false),
            Some(peer::Url::Peer(peer)) => peer,
            None => {
                self.effect(EffectKind::Read, &unknown(arg), false); // `file://` is a scheme, too
                None
            }
        };
        self.connect(target, peer);
    }

    fn connect(&mut self, target: Word, peer: Option<Peer>) {
        self.reading.effects.push(Effect { kind: EffectKind::Connect, target, tree: false, peer });
    }

    fn transferred(&mut self, kind: EffectKind, arg: &Arg) {
        let Some(text) = arg.word.value.literal() else {
            self.effect(kind, &unknown(arg), true);
            return self.connect(arg.word.clone(), None);
        };
        if text.contains("://") {
            self.url(arg);
        } else if let Some(host) = peer::remote(text) {
            let host = Word { value: Value::Literal(host.to_owned()), ..arg.word.clone() };
            self.connects.push(host);
        } else {
            self.effect(kind, arg, true);
        }
    }

    fn remote(&mut self, arg: &Arg) {
        let text = arg.word.value.literal().unwrap_or_default();
        if text.contains("::") {
            return self.note(OpaqueReason::InlineCode, arg, "a remote of the form `helper::…` runs a program");
        }
        let peer = match text.contains("://").then(|| peer::url(text)) {
            Some(peer::Url::File(path)) => return self.effect(EffectKind::Read, &decoded(arg, &path), true),
            Some(peer::Url::Peer(peer)) => peer,
            None => peer::remote(text).and_then(|host| peer::host_and_port(host, 22)),
        };
        if peer.is_none() && (text.starts_with(['/', '.', '~']) || matches!(arg.word.value, Value::Home(_))) {
            self.effect(EffectKind::Read, arg, true);
            return self.effect(EffectKind::Write, arg, true);
        }
        self.connect(arg.word.clone(), peer);
    }

    fn shell_code(&mut self, arg: &Arg, readable: fn(&str) -> bool) {
        self.reading.invocation.inline_code = true;
        match &arg.word.value {
            Value::Literal(text) if !readable(text) => {
                self.note(OpaqueReason::InlineCode, arg, "shells do not agree about what this code is; use `bash -c`");
            }
            Value::Literal(text) if arg.count == Count::One => {
                self.reading.children.push(Child::Code { text: text.clone(), word: arg.word.clone() });
            }
            _ => self.note(OpaqueReason::InlineCode, arg, "this shell code is not known before it runs"),
        }
    }

    fn code(&mut self, arg: &Arg) {
        self.reading.invocation.inline_code = true;
        self.unvouched = true;
        let program = self.program();
        self.note(OpaqueReason::InlineCode, arg, &format!("code of `{program}` is not read"));
    }

    fn vouched(&mut self, role: Role, arg: &Arg) {
        // Pieces are read one by one, but a `/` at the beginning of one may divide what ends the piece before.
        let pieces = self.chosen.iter().filter(|option| option.role == role).count();
        let whole = pieces < 2 || !matches!(role, Role::Perl | Role::Ruby | Role::Php | Role::Node);
        let text = arg.word.value.literal().filter(|_| arg.count == Count::One && whole);
        match text.and_then(|text| touched(role, text)) {
            Some(touched) => self.touches(touched, arg),
            None => self.code(arg),
        }
    }

    /// What code that is vouched for does to files.
    fn touches(&mut self, touched: Vec<Touched>, arg: &Arg) {
        self.code_effects(arg);
        for (kind, path) in touched {
            self.unvouched |= kind != EffectKind::Read; // it is not read-only then
            self.effect(kind, &decoded(arg, &path), false);
        }
    }

    pub(super) fn code_effects(&mut self, arg: &Arg) {
        if !self.chosen.iter().any(|option| option.instead) {
            self.entry.code_effects.iter().for_each(|implied| self.implied(implied, arg));
        }
    }

    /// Code on standard input: read if the text tells it, else not known.
    fn stdin_code(&mut self, arg: &Arg) {
        let role = self.entry.stdin_role;
        let known = self.stdin.filter(|_| !self.chosen.iter().any(|option| option.opaque.is_some()));
        match known {
            // A shell reads on line by line, so what an earlier line runs may swallow the beginning of a later one.
            Some(text) if reads_alike(role) && text.trim_end().lines().count() > 1 => {}
            Some(text) if reads_alike(role) && (role == Role::ShellCode || vouch::posix_shell(text)) => {
                self.reading.children.push(Child::Code { text: text.to_owned(), word: arg.word.clone() });
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
    }

    fn script_file(&mut self, arg: &Arg) {
        if arg.word.value.literal() == Some("-") {
            return self.stdin_code(arg);
        }
        self.unvouched = true;
        self.effect(EffectKind::Read, arg, false);
        self.note(OpaqueReason::ScriptFile, arg, "what this file holds is not in the text");
    }

    /// An operand of `export` and its kind.
    fn declared(&mut self, arg: &Arg) {
        let known = arg.word.value.prefix();
        let length = known.bytes().take_while(|byte| is_name(*byte)).count();
        let (name, rest) = known.split_at_checked(length).unwrap_or_default();
        let append = rest.starts_with("+=");
        let assigned = rest.strip_prefix("+=").or_else(|| rest.strip_prefix('='));
        let splits = arg.count != Count::One && self.reading.resolved != Resolved::Builtin;
        let named = name.bytes().next().is_some_and(starts_name) && !splits;
        match (assigned, &arg.word.value) {
            (None, Value::Literal(_)) if named && rest.is_empty() => {}
            (Some(value), _) if named && value.trim_start().starts_with('(') => {
                self.note(OpaqueReason::Arithmetic, arg, "the text of an array is evaluated as code");
            }
            (Some(value), whole) if named => {
                let literal = matches!(whole, Value::Literal(_)) && !append;
                let prefix = if append { String::new() } else { value.to_owned() };
                let value = if literal { Value::Literal(prefix) } else { Value::Dynamic { prefix } };
                self.assign(arg, name.to_owned(), value);
            }
            (_, Value::Literal(_)) if known.contains('[') => {
                self.note(OpaqueReason::Arithmetic, arg, "a subscript in this word is evaluated as code");
            }
            _ => {
                self.note(OpaqueReason::IndirectName, arg, "which variable this sets is not known; write its name out")
            }
        }
    }

    fn variable(&mut self, arg: &Arg, value: Value) {
        match arg.word.value.literal() {
            Some(name) if !name.is_empty() && name.bytes().all(is_name) => self.assign(arg, name.to_owned(), value),
            Some(name) if name.contains('[') => {
                self.note(OpaqueReason::Arithmetic, arg, "a subscript in this word is evaluated as code");
            }
            _ => self.note(
                OpaqueReason::IndirectName,
                arg,
                "which variable this changes is not known; write its name out",
            ),
        }
    }

    fn assign(&mut self, arg: &Arg, name: String, value: Value) {
        let value = Word { value, ..arg.word.clone() };
        self.reading.assignments.push(Assignment { span: arg.word.span, name, value, persistent: true });
    }

    /// Checks of all words together, and of standard input.
    pub(super) fn checks(&mut self) {
        match self.entry.check {
            Some(Check::Test) => self.check_test(),
            Some(Check::MakeVariables) => {
                for arg in self.operands.clone() {
                    if arg.word.value.literal().is_none_or(|text| text.contains('=')) {
                        self.note(OpaqueReason::InlineCode, &arg, "a variable given here may change what is run");
                    }
                }
            }
            Some(Check::ResponseFiles) => {
                for arg in self.args.iter().skip(1) {
                    let prefix = arg.word.value.prefix();
                    if prefix.starts_with('@') || prefix.is_empty() && arg.word.value.literal().is_none() {
                        self.note(
                            OpaqueReason::UnknownOption,
                            arg,
                            "a word that begins with `@` names a file with options",
                        );
                    }
                }
            }
            Some(Check::PlusCommands) => {
                for arg in self.operands.clone() {
                    let prefix = arg.word.value.prefix();
                    if prefix.starts_with('+') || prefix.is_empty() && arg.word.value.literal().is_none() {
                        self.note(OpaqueReason::InlineCode, &arg, "a word that begins with `+` is a command");
                    }
                }
            }
            None => {}
        }
        let operands = self.operands.iter().filter(|arg| arg.count != Count::Any).count();
        let code = match self.entry.stdin {
            Stdin::Data => false,
            Stdin::Code => true,
            Stdin::CodeWithoutOperands => operands == 0,
            Stdin::CodeWithOneOperand => operands <= 1,
        };
        let given = self.chosen.iter().any(|option| option.code_given);
        let taken = self.chosen.iter().any(|option| option.takes_stdin);
        if let Some(program) = self.args.first().filter(|_| code && !given || taken) {
            self.stdin_code(program);
        }
    }

    /// `test -v 'a[$(x)]'` runs x: `-v` and `-R` may only stand before a plain name.
    fn check_test(&mut self) {
        let words = self.operands.clone();
        for (arg, next) in words.iter().zip(words.iter().skip(1)) {
            let asks = match &arg.word.value {
                Value::Literal(text) => text == "-v" || text == "-R",
                other => "-v".starts_with(other.prefix()) || "-R".starts_with(other.prefix()),
            };
            let plain = next.word.value.literal().is_some_and(|name| !name.contains('['));
            if asks && !plain {
                self.note(OpaqueReason::Arithmetic, next, "a subscript in this word would be evaluated as code");
            }
        }
        for arg in words.iter().filter(|arg| arg.count != Count::One) {
            self.note(OpaqueReason::Arithmetic, arg, "this word may become several, `-v` among them; quote it");
        }
    }
}

/// What code of this kind does to files, if it does nothing else of note.
fn touched(role: Role, text: &str) -> Option<Vec<Touched>> {
    let nothing = |harmless: bool| harmless.then(Vec::new);
    match role {
        Role::Awk => nothing(vouch::awk(text)),
        Role::Sed => nothing(vouch::sed(text)),
        Role::Jq => nothing(vouch::jq(text)),
        Role::Python => vouch::python(text),
        Role::Perl => nothing(vouch::perl(text)),
        Role::Node => vouch::node(text),
        Role::Ruby => nothing(vouch::ruby(text)),
        Role::Php => nothing(vouch::php(text)),
        _ => None,
    }
}

/// Code that is read by the rules of this shell.
fn reads_alike(role: Role) -> bool {
    matches!(role, Role::ShellCode | Role::PosixShellCode)
}

/// A word of which nothing is known, standing where the argument stands.
pub(super) fn unknown(arg: &Arg) -> Arg {
    let word = Word { value: Value::Dynamic { prefix: String::new() }, ..arg.word.clone() };
    Arg { word, count: arg.count }
}

#[cfg(test)]
mod tests {
    use super::super::{Reading, empty_word, read};
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
            ("bash", "head -c 9\nrm x", "opaque"),
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
