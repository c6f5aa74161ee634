//! What a word in its role comes to: effects, code, variables, peers.
//!
//! This file and its parts decide what each role of the tables means. A word whose value is not known gets the widest meaning that
//! its role allows.

mod code;
mod files;
mod peers;

use self::files::only_begins;
use super::table::{Check, Role, Stdin};
use super::{Arg, Directory, Parse, decoded, vouch};
use crate::ast::Count;
use crate::inventory::{Assignment, Effect, EffectKind, Resolved};
use crate::opaque::OpaqueReason;
use crate::peer;
use crate::word::{Value, Word, is_name, starts_name};

impl Parse<'_, '_> {
    /// What a word in this role comes to.
    pub(super) fn apply(&mut self, role: Role, arg: &Arg, tree: bool) {
        let stdio = self.entry.dash_is_stdio && arg.word.value.literal() == Some("-");
        if arg.word.value.is_pipe()
            && (role.is_path() || matches!(role, Role::Source | Role::Destination | Role::Archive))
        {
            return; // no file: what is at its other end is listed by itself
        }
        let unquoted = match &arg.word.value {
            Value::Literal(text) => text.contains('\\'),
            Value::Home(_) | Value::Pipe { .. } | Value::Below(_) | Value::Pattern { .. } => false,
            Value::Dynamic { .. } => true,
        };
        if self.entry.unquotes && unquoted && matches!(role, Role::ReadTree | Role::DeleteTree) {
            // `\057` in it is a slash.
            return self.effect(
                if role == Role::ReadTree { EffectKind::Read } else { EffectKind::Delete },
                &unknown(arg),
                true,
            );
        }
        match role {
            Role::Data
            | Role::TypedCode
            | Role::CommandUntil
            | Role::CommandToEnd
            | Role::RemoteShell
            | Role::Module => {}
            Role::Command => self.late_command(arg),
            Role::Program => self.command(vec![arg.clone()]),
            Role::CommaCommand => {
                let texts = arg.word.value.prefix().split(',');
                let words = texts.map(|text| decoded(arg, text)).collect();
                self.child(words, false);
            }
            Role::JoinedShellCode | Role::CommandOrCode => self.joined_code(std::slice::from_ref(arg)),
            Role::Jobs => self.jobs(std::slice::from_ref(arg)),
            Role::Read | Role::Write | Role::ReadWrite | Role::ReadTree | Role::WriteTree if stdio => {}
            Role::Source | Role::Destination if stdio => {}
            Role::Read => self.effect(EffectKind::Read, arg, tree),
            Role::ReadTree => self.effect(EffectKind::Read, arg, true),
            Role::Input => self.input(arg),
            Role::Write => self.effect(EffectKind::Write, arg, tree),
            Role::WriteTree => self.effect(EffectKind::Write, arg, true),
            Role::Weighed => {
                let before = self.reading.effects.len();
                self.effect(EffectKind::Write, arg, false);
                self.reading.effects.iter_mut().skip(before).for_each(|effect| effect.weighed = true);
            }
            Role::Into | Role::IntoTree => {
                self.copies.push((arg.clone(), role == Role::IntoTree));
            }
            Role::ReadPrefix => self.effect(EffectKind::Read, &only_begins(arg), false),
            Role::WritePrefix => self.effect(EffectKind::Write, &only_begins(arg), false),
            Role::Execute => self.effect(EffectKind::Execute, arg, tree),
            Role::Import => self.effect(EffectKind::Import, arg, tree),
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
            Role::Template => self.made(arg),
            Role::Beside => {
                self.effect(EffectKind::Read, arg, false);
                let operands = self.operands.iter().filter(|arg| arg.count == Count::One).count();
                if operands < 2 || self.maybe_option {
                    self.written_beside(arg);
                }
            }
            Role::LinkTarget => self.linked(arg),
            Role::Item => {
                if arg.word.value.literal().is_none_or(|text| text.contains(',') || text.starts_with('@')) {
                    self.note(OpaqueReason::UnknownOption, arg, "what stands behind a comma is an option of its own");
                }
            }
            Role::BuildWord => {
                let plain = |text: &str| text.bytes().all(|byte| is_name(byte) || b"-.".contains(&byte));
                let option = |text: &str| {
                    let jobs =
                        text.strip_prefix("-j").is_some_and(|jobs| jobs.bytes().all(|byte| byte.is_ascii_digit()));
                    jobs || matches!(text, "-k" | "-v" | "-s" | "VERBOSE=1")
                };
                let known = |text: &str| option(text) || plain(text) && !text.starts_with('-');
                if !arg.word.value.literal().is_some_and(known) {
                    self.note(OpaqueReason::UnknownOption, arg, "what the tool that builds makes of this is not known");
                }
            }
            Role::Package => {
                let known = arg.word.value.prefix();
                let local = known.starts_with(['.', '/']) || matches!(arg.word.value, Value::Home(_));
                if known.contains('@') || arg.word.value.literal().is_none() && !local {
                    self.fetches = true;
                    self.unvouched = true;
                    self.note(OpaqueReason::ScriptFile, arg, "this package comes from elsewhere");
                }
            }
            Role::Recipient => {
                let local = self.args.iter().any(|arg| arg.word.value.literal() == Some("--no-auto-key-locate"));
                if !local && arg.word.value.literal().is_none_or(|text| text.contains('@')) {
                    self.connect(unknown(arg).word, None);
                }
            }
            Role::Format => {
                let checks = |text: &str| {
                    let placeholders = text.split('%').skip(1).map(|rest| rest.trim_start_matches(['+', '-', ' ']));
                    let mut names = placeholders.map(|rest| rest.trim_start_matches(['(', '*']));
                    names.any(|name| name.starts_with('G') || name.starts_with("signature"))
                };
                if arg.word.value.literal().is_none_or(checks) {
                    self.note(
                        OpaqueReason::UnknownOption,
                        arg,
                        "a format that asks for signatures runs another program",
                    );
                }
            }
            Role::ReadList => match arg.word.value.literal() {
                Some(text) => {
                    text.split(':').for_each(|path| self.effect(EffectKind::Read, &decoded(arg, path), false));
                }
                None => self.effect(EffectKind::Read, &unknown(arg), false),
            },
            Role::DeleteSpec => {
                let known = arg.word.value.prefix();
                let pattern = known.find(['*', '?', '[']).and_then(|at| known.get(..at));
                let directory = pattern.map(|start| start.rsplit_once('/').map_or(".", |(directory, _)| directory));
                match directory {
                    _ if known.starts_with(':') => self.effect(EffectKind::Delete, &unknown(arg), true),
                    Some(directory) => self.effect(EffectKind::Delete, &decoded(arg, directory), true),
                    None => self.effect(EffectKind::Delete, arg, true),
                }
            }
            Role::Store => self.store(arg),
            Role::Serial => {
                self.store(arg);
                let text = arg.word.value.literal().filter(|text| !text.contains(':')).map(|text| {
                    let stem =
                        text.rsplit_once('.').filter(|(_, end)| !end.contains('/')).map_or(text, |(stem, _)| stem);
                    format!("{stem}.srl")
                });
                let serial = text.map_or_else(|| unknown(arg), |text| decoded(arg, &text));
                self.effect(EffectKind::Write, &serial, false);
            }
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
            Role::Report => {
                self.apply(Role::AtFile, arg, tree);
                if arg.word.value.literal().is_none_or(|text| text.starts_with('@') || text.contains("%output")) {
                    self.effect(EffectKind::Write, &unknown(arg), false);
                }
            }
            Role::Field => self.field(arg),
            Role::Upload => self.globbed(EffectKind::Read, arg, &['{', '[']),
            Role::Output => self.globbed(EffectKind::Write, arg, &['#']),
            Role::Cwd => {
                let known = matches!(arg.word.value, Value::Literal(_) | Value::Home(_));
                let first = self.reading.cwd.is_none() && known;
                let directory = if first { Directory::To(arg.word.value.clone()) } else { Directory::Unknown };
                self.reading.cwd = Some(directory);
            }
            Role::Url => self.url(arg),
            Role::Page => self.page(arg),
            Role::Host => self.connects.push(arg.word.clone()),
            Role::Port => {
                let only = self.port.is_none(); // of several, which one counts depends on the program
                let port = arg.word.value.literal().and_then(|text| text.parse().ok());
                self.port = Some(port.filter(|_| only));
            }
            Role::AtHost => match arg.word.value.literal() {
                Some(text) => self.connects.extend(text.strip_prefix('@').map(|host| decoded(arg, host).word)),
                None => self.connect(arg.word.clone(), None),
            },
            Role::TreeOrList => {
                self.effect(EffectKind::Read, arg, true);
                if arg.word.value.literal().is_none_or(|text| text.starts_with('@')) {
                    self.note(OpaqueReason::UnknownOption, arg, "a word that begins with `@` lists files elsewhere");
                }
            }
            Role::Mount => self.mount(arg),
            Role::Address => self.address(arg),
            Role::Source => self.transferred(EffectKind::Read, arg),
            Role::Media => {
                let text = arg.word.value.literal().unwrap_or_default();
                let scheme = text.split_once("://").map(|(scheme, _)| scheme);
                if scheme.map_or(text.contains(':'), |scheme| !scheme.bytes().all(is_name)) {
                    self.note(OpaqueReason::UnknownOption, arg, "a protocol of this name can open other files");
                }
                self.transferred(EffectKind::Read, arg);
            }
            Role::Destination => self.transferred(EffectKind::Write, arg),
            Role::Mirror => {
                self.transferred(EffectKind::Write, arg);
                if arg.word.value.literal().is_none_or(|text| peer::remote(text).is_none() && !text.contains("://")) {
                    self.effect(EffectKind::Delete, arg, true);
                }
            }
            Role::Remote => self.remote(arg),
            Role::Repository => self.repository(arg),
            Role::Placeholder => match arg.word.value.literal().filter(|text| !text.is_empty()) {
                Some(text) => self.placeholder = Some(text.to_owned()),
                None => self.note(OpaqueReason::DynamicOption, arg, "what is replaced in the command is not known"),
            },
            Role::ShellCode => self.shell_code(arg, |_| true),
            Role::PosixShellCode => self.shell_code(arg, vouch::posix_shell),
            Role::PlainShellCode => self.shell_code(arg, vouch::plain_shell),
            Role::FileOrPipe => self.file_or_pipe(arg),
            Role::WritePattern => self.write_pattern(arg),
            Role::Code | Role::Commands => self.code(role, arg),
            Role::Setting => {
                self.note(OpaqueReason::InlineCode, arg, "this setting may name something that is run");
                self.tell(role, arg);
            }
            Role::Awk | Role::Sed | Role::Jq | Role::Python | Role::Perl | Role::Node | Role::Ruby | Role::Php => {
                self.vouched(role, arg)
            }
            Role::Yq => {
                self.effect(EffectKind::Read, arg, false);
                self.vouched(role, arg);
            }
            Role::Sql => self.vouched(role, arg),
            Role::Database => self.database(arg),
            Role::DatabaseName => match arg.word.value.literal() {
                Some(text) if !text.contains(['=', '/']) => {}
                Some(text) => {
                    let peer = match text.contains("://").then(|| peer::url(text)) {
                        Some(peer::Url::Peer(peer)) if !text.contains(['?', ',']) => peer,
                        _ => None,
                    };
                    self.connect(arg.word.clone(), peer);
                }
                None => self.connect(arg.word.clone(), None),
            },
            Role::Script => self.script_file(arg),
            Role::Assignment => self.declared(arg),
            Role::Variable => self.variable(arg, Value::Dynamic { prefix: String::new() }),
            Role::Unset => self.variable(arg, Value::Literal(String::new())),
        }
    }

    fn effect(&mut self, kind: EffectKind, arg: &Arg, tree: bool) {
        let Value::Below(roots) = &arg.word.value else {
            return self.reading.effects.push(Effect {
                kind,
                target: arg.word.clone(),
                tree,
                from_start: self.from_start,
                peer: None,
                weighed: false,
            });
        };
        for root in roots {
            let target = Word { value: root.clone(), ..arg.word.clone() };
            self.reading.effects.push(Effect {
                kind,
                target,
                tree: true,
                from_start: self.from_start,
                peer: None,
                weighed: false,
            });
        }
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
        let is_array = ["-a", "-A"].iter().any(|flag| self.reading.invocation.flags.contains(*flag));
        let unknown = arg.word.value.literal().is_none();
        match (assigned, &arg.word.value) {
            (None, Value::Literal(_)) if named && rest.is_empty() => {
                // A variable of a function begins without a value, whatever one of its name had.
                let flags = &self.reading.invocation.flags;
                let other = ["-a", "-A", "-p", "-f", "-F", "-g"].iter().any(|flag| flags.contains(*flag));
                if self.entry.own_variables && !other {
                    self.assign(arg, name.to_owned(), Value::Literal(String::new()));
                }
            }
            (Some(value), _)
                if named && (value.trim_start().starts_with('(') || is_array && unknown && value.trim().is_empty()) =>
            {
                self.note(OpaqueReason::Arithmetic, arg, "the text of an array is evaluated as code");
            }
            (Some(value), whole) if named => {
                let literal = matches!(whole, Value::Literal(_)) && !append;
                let prefix = if append { String::new() } else { value.to_owned() };
                let value = if literal { Value::Literal(prefix) } else { Value::Dynamic { prefix } };
                self.assign(arg, name.to_owned(), value);
            }
            _ if known.contains('[') && !splits => {
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
            Some(text) if let Some(name) = numbered(text) => {
                self.assign(arg, name.to_owned(), Value::Dynamic { prefix: String::new() });
            }
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
                        self.tell(Role::Setting, &arg);
                    }
                }
            }
            Some(Check::Trap) => self.trap(),
            Some(Check::Format) => self.format(),
            Some(Check::Eval) => self.eval(),
            Some(Check::Alias) => self.alias(),
            Some(Check::PlusCommands) => {
                for arg in self.operands.clone() {
                    let prefix = arg.word.value.prefix();
                    if prefix.starts_with('+') || prefix.is_empty() && arg.word.value.literal().is_none() {
                        self.note(OpaqueReason::InlineCode, &arg, "a word that begins with `+` is a command");
                        self.tell(Role::Commands, &decoded(&arg, prefix.trim_start_matches('+')));
                    }
                }
            }
            Some(Check::AtFiles) => {
                for arg in self.args.iter().skip(1) {
                    let known = arg.word.value.prefix();
                    let literal = arg.word.value.literal().is_some();
                    let reason = if literal { OpaqueReason::UnknownOption } else { OpaqueReason::DynamicOption };
                    if known.starts_with('@') || known.is_empty() && arg.word.value.literal().is_none() {
                        self.note(reason, arg, "a word that begins with `@` is a file of options");
                    }
                }
            }
            Some(Check::CommandWords) => {
                for arg in self.args {
                    if arg.word.value.literal().is_none_or(|text| text.ends_with(';') || text.contains("#(")) {
                        self.note(
                            OpaqueReason::InlineCode,
                            arg,
                            "a word that ends with `;` or holds `#(` runs something else",
                        );
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
            Stdin::CodeWithoutCommand => self.reading.children.is_empty() && !self.reading.invocation.inline_code,
        };
        let code = code || self.chosen.iter().any(|option| option.asks);
        let given = self.answered || self.chosen.iter().any(|option| option.code_given);
        let taken = self.asked && !self.answered || self.chosen.iter().any(|option| option.takes_stdin);
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

/// The variable of `name[3]`.
fn numbered(text: &str) -> Option<&str> {
    let (name, index) = text.strip_suffix(']')?.split_once('[')?;
    let plain = name.bytes().next().is_some_and(starts_name) && name.bytes().all(is_name);
    let number = !index.is_empty() && index.len() < 10 && index.bytes().all(|byte| byte.is_ascii_digit());
    (plain && number).then_some(name)
}

/// A word of which nothing is known, standing where the argument stands.
pub(super) fn unknown(arg: &Arg) -> Arg {
    let word = Word { value: Value::Dynamic { prefix: String::new() }, ..arg.word.clone() };
    Arg { word, count: arg.count }
}
