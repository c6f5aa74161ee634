//! What a word in its role comes to: effects, code, variables, peers.
//!
//! This file decides what each role of the tables means. A word whose value is not known gets the widest meaning that
//! its role allows.

use super::table::{Check, Role, Stdin};
use super::{Arg, Child, Directory, Parse, decoded, peer, vouch};
use crate::ast::Count;
use crate::inventory::{Assignment, Effect, EffectKind, OpaqueReason, Peer, Resolved};
use crate::word::{Value, Word, is_name, starts_name};

impl Parse<'_, '_> {
    /// What a word in this role comes to.
    pub(super) fn apply(&mut self, role: Role, arg: &Arg, tree: bool) {
        let stdio = self.entry.dash_is_stdio && arg.word.value.literal() == Some("-");
        match role {
            Role::Data | Role::Command | Role::CommandUntil | Role::RemoteShell => {}
            Role::Read | Role::Write | Role::ReadWrite | Role::ReadTree | Role::WriteTree if stdio => {}
            Role::Source | Role::Destination if stdio => {}
            Role::Read => self.effect(EffectKind::Read, arg, tree),
            Role::ReadTree => self.effect(EffectKind::Read, arg, true),
            Role::Write => self.effect(EffectKind::Write, arg, tree),
            Role::WriteTree => self.effect(EffectKind::Write, arg, true),
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
            Role::Report => {
                self.apply(Role::AtFile, arg, tree);
                if arg.word.value.literal().is_none_or(|text| text.starts_with('@') || text.contains("%output")) {
                    self.effect(EffectKind::Write, &unknown(arg), false);
                }
            }
            Role::Field => self.field(arg),
            Role::Upload => self.named(EffectKind::Read, arg, &['{', '[']),
            Role::Output => self.named(EffectKind::Write, arg, &['#']),
            Role::Cwd => {
                let known = matches!(arg.word.value, Value::Literal(_) | Value::Home(_));
                let first = self.reading.cwd.is_none() && known;
                let directory = if first { Directory::To(arg.word.value.clone()) } else { Directory::Unknown };
                self.reading.cwd = Some(directory);
            }
            Role::Url => self.url(arg),
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
            Role::Destination => self.transferred(EffectKind::Write, arg),
            Role::Mirror => {
                self.transferred(EffectKind::Write, arg);
                if arg.word.value.literal().is_none_or(|text| peer::remote(text).is_none() && !text.contains("://")) {
                    self.effect(EffectKind::Delete, arg, true);
                }
            }
            Role::Remote => self.remote(arg),
            Role::Placeholder => match arg.word.value.literal().filter(|text| !text.is_empty()) {
                Some(text) => self.placeholder = Some(text.to_owned()),
                None => self.note(OpaqueReason::DynamicOption, arg, "what is replaced in the command is not known"),
            },
            Role::ShellCode => self.shell_code(arg, |_| true),
            Role::PosixShellCode => self.shell_code(arg, vouch::posix_shell),
            Role::Code => self.code(arg),
            Role::Awk => self.vouched(arg, vouch::awk),
            Role::Sed => self.vouched(arg, vouch::sed),
            Role::Jq => self.vouched(arg, vouch::jq),
            Role::Sql => self.vouched(arg, vouch::sql),
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
        self.reading.effects.push(Effect { kind, target: arg.word.clone(), tree, peer: None });
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

    /// What a container is given it can change, unless every reading of the word says otherwise.
    fn mount(&mut self, arg: &Arg) {
        let Some(text) = arg.word.value.literal().filter(|text| !text.contains('"')) else {
            self.effect(EffectKind::Read, &unknown(arg), true);
            return self.effect(EffectKind::Write, &unknown(arg), true);
        };
        let fields = || text.split(',').filter_map(|field| field.split_once('='));
        let named = fields().find(|(key, _)| matches!(key.trim(), "source" | "src")).map(|(_, path)| path);
        let volume = fields().any(|(key, kind)| key == "type" && matches!(kind, "volume" | "tmpfs"));
        let first = text.split(':').next().unwrap_or_default();
        let here = named.or((!text.contains('=')).then_some(first)).unwrap_or(text);
        if volume || !text.contains([':', '=']) || named.is_none() && !here.contains(['/', '.', '~']) {
            return;
        }
        self.effect(EffectKind::Read, &decoded(arg, here), true);
        if !text.ends_with(":ro") && !text.ends_with(",readonly") {
            self.effect(EffectKind::Write, &decoded(arg, here), true);
        }
    }

    /// Standard streams, files and sockets without options are known, of the many kinds of addresses that there are.
    fn address(&mut self, arg: &Arg) {
        let text = arg.word.value.literal().unwrap_or("?");
        let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
        let plain = !rest.contains([',', '!', '\\', '"', '\'']);
        match kind.to_ascii_uppercase().as_str() {
            "-" | "STDIO" | "STDIN" | "STDOUT" | "STDERR" if rest.is_empty() => {}
            "TCP" | "TCP4" | "TCP6" | "TCP-CONNECT" | "UDP" | "UDP4" | "UDP6" | "OPENSSL" | "SSL" if plain => {
                let peer = rest.contains(':').then(|| peer::host_and_port(rest, 0)).flatten();
                self.connect(arg.word.clone(), peer.filter(|peer| peer.port != 0));
            }
            "OPEN" | "FILE" | "GOPEN" | "CREATE" | "UNIX" | "UNIX-CONNECT" if plain => {
                self.effect(EffectKind::Read, &decoded(arg, rest), false);
                self.effect(EffectKind::Write, &decoded(arg, rest), false);
            }
            _ => self.note(OpaqueReason::UnknownOption, arg, "what this address stands for is not known"),
        }
    }

    /// A file whose name may hold signs that stand for something else.
    fn named(&mut self, kind: EffectKind, arg: &Arg, signs: &[char]) {
        match arg.word.value.literal() {
            Some("-" | ".") => {}
            Some(text) if text.contains(signs) => self.effect(kind, &unknown(arg), false),
            _ => self.effect(kind, arg, false),
        }
    }

    /// Which sign of an item counts depends on the program: a file that any of them would name is listed.
    fn field(&mut self, arg: &Arg) {
        let Some(text) = arg.word.value.literal() else {
            return self.effect(EffectKind::Read, &unknown(arg), false);
        };
        let behind = |sign: char| text.split_once(sign).map(|(_, rest)| rest.trim_start_matches([':', '=']));
        let marked = |rest: &str| rest.strip_prefix(['@', '<']).map(str::to_owned);
        let bare = text.split_once('@').filter(|(name, _)| !name.contains('=')).map(|(_, path)| path.to_owned());
        let files = [behind('=').and_then(marked), behind(':').and_then(marked), bare];
        for file in files.into_iter().flatten().collect::<std::collections::BTreeSet<_>>() {
            let (path, rest) = file.split_once(';').unwrap_or((&file, ""));
            if path.contains(['"', ',', '\\']) || rest.contains(['@', '<']) {
                self.effect(EffectKind::Read, &unknown(arg), false);
            } else if path != "-" {
                self.effect(EffectKind::Read, &decoded(arg, path), false);
            }
        }
    }

    fn url(&mut self, arg: &Arg) {
        if let Some(path) = arg.word.value.literal().and_then(|text| text.strip_prefix('@')) {
            self.effect(EffectKind::Read, &decoded(arg, path), false);
            return self.note(OpaqueReason::UnknownOption, arg, "the URLs are in a file");
        }
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
        } else if peer::remote(text).is_some() && text.contains("::") {
            self.connect(arg.word.clone(), None); // a daemon of rsync, or an odd path: the ports differ
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

    /// The words of a command for another machine, whose login shell gets them as one text. Which programs they name
    /// is listed as far as shells agree; what is there, nobody here knows.
    pub(super) fn remote_shell(&mut self, words: &[Arg]) {
        let Some(first) = words.first() else { return };
        self.reading.invocation.inline_code = true;
        self.note(OpaqueReason::InlineCode, first, "this runs on another machine, where nothing checks it");
        let literal = |arg: &Arg| arg.word.value.literal().filter(|_| arg.count == Count::One).map(str::to_owned);
        let Some(texts) = words.iter().map(literal).collect::<Option<Vec<String>>>() else { return };
        let span = words.last().map_or(first.word.span, |last| first.word.span.to(last.word.span));
        let word = match words {
            [only] => only.word.clone(),
            _ => Word { span, raw: String::new(), value: Value::Literal(texts.join(" ")), quoted: true },
        };
        let fixed = |text: &str| decoded(first, text);
        let words = vec![fixed("sh"), fixed("-c"), Arg { word, count: Count::One }];
        self.reading.children.push(Child::Command { words, assignments: Vec::new(), elsewhere: true, shell: false });
    }

    /// SQLite takes `file:` for a URI with parameters, `:memory:` and an empty name for no file.
    fn database(&mut self, arg: &Arg) {
        match arg.word.value.literal() {
            Some(":memory:" | "") => return,
            Some(text) if text.starts_with("file:") => {
                return self.note(OpaqueReason::UnknownOption, arg, "a URI says more than which file this is");
            }
            _ => {}
        }
        self.effect(EffectKind::Read, arg, false);
        self.effect(EffectKind::Write, arg, false);
        let journal = Value::Dynamic { prefix: format!("{}-", arg.word.value.prefix()) };
        let known = arg.word.value.literal().is_some();
        let journal = Arg { word: Word { value: journal, ..arg.word.clone() }, count: arg.count };
        self.effect(EffectKind::Write, if known { &journal } else { arg }, false);
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

    fn vouched(&mut self, arg: &Arg, harmless: fn(&str) -> bool) {
        match &arg.word.value {
            Value::Literal(text) if arg.count == Count::One && harmless(text) => {}
            _ => self.code(arg),
        }
    }

    fn script_file(&mut self, arg: &Arg) {
        self.unvouched = true;
        if arg.word.value.literal() == Some("-") {
            return self.note(OpaqueReason::StdinCode, arg, "it takes its code from standard input");
        }
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
        if let Some(program) = self.args.first().filter(|_| code && !given) {
            self.unvouched = true;
            self.note(OpaqueReason::StdinCode, program, "it takes its code from standard input");
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

/// A word of which nothing is known, standing where the argument stands.
pub(super) fn unknown(arg: &Arg) -> Arg {
    let word = Word { value: Value::Dynamic { prefix: String::new() }, ..arg.word.clone() };
    Arg { word, count: arg.count }
}
