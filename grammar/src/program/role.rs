//! What a word in its role comes to: effects, code, variables, peers.
//!
//! This file decides what each role of the tables means. A word whose value is not known gets the widest meaning that
//! its role allows.

use super::table::{Check, Role, Stdin};
use super::told::{self, Told};
use super::vouch::Touched;
use super::{Arg, Child, Directory, Parse, Runs, decoded, empty_word, peer, vouch};
use crate::ast::Count;
use crate::inventory::{Assignment, Effect, EffectKind, OpaqueReason, Peer, Resolved};
use crate::reader::is_reserved;
use crate::span::Span;
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
            });
        };
        for root in roots {
            let target = Word { value: root.clone(), ..arg.word.clone() };
            self.reading.effects.push(Effect { kind, target, tree: true, from_start: self.from_start, peer: None });
        }
    }

    /// Where the other operands are copied to: `cp x/.envrc .` writes `./.envrc`. Whether a directory of that name is
    /// there is not known, but for those that always are.
    pub(super) fn copied_to(&mut self, to: &Arg, tree: bool) {
        let links = self.entry.operands.iter().any(|slot| slot.role == Role::LinkTarget);
        let alone = |others: &[Arg]| others.iter().all(|arg| arg.word.span == to.word.span || arg.count == Count::Any);
        if links && alone(&self.operands) && self.operands.iter().any(|arg| arg.word.span == to.word.span) {
            self.linked_here(to);
            if self.operands.len() == 1 && to.count == Count::One {
                return;
            }
        }
        let sources: Vec<&Arg> = self.operands.iter().filter(|arg| arg.word.span != to.word.span).collect();
        let option = sources.len() == self.operands.len();
        let last = to.word.value.prefix().rsplit('/').next().unwrap_or_default();
        let directory = option || matches!(to.word.value, Value::Literal(_)) && matches!(last, "." | "..");
        let places: Option<Vec<Arg>> = sources.iter().map(|source| place(to, source)).collect();
        let Some(places) = places else { return self.effect(EffectKind::Write, to, true) };
        if !directory || places.is_empty() {
            self.effect(EffectKind::Write, to, tree || to.count != Count::One);
        }
        places.iter().for_each(|place| self.effect(EffectKind::Write, place, tree));
    }

    fn input(&mut self, arg: &Arg) {
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

    fn archive(&mut self, arg: &Arg, stdio: bool) {
        match arg.word.value.literal() {
            Some(_) if stdio => return,
            Some(text) if text.contains(':') => {
                self.note(OpaqueReason::UnknownOption, arg, "a remote archive is reached by running another program");
            }
            Some(_) => {}
            None => self.note(OpaqueReason::DynamicOption, arg, "this archive may turn out to be a remote one"),
        }
        self.archives.push((arg.clone(), self.from_start));
    }

    /// `gzip f` makes `f.gz` and removes `f`, `gzip -d f.gz` the other way round: both begin with the stem.
    fn replaced(&mut self, arg: &Arg) {
        let named = ["--suffix", "--format"].iter().any(|name| self.reading.invocation.options.contains_key(*name));
        let others = match &arg.word.value {
            Value::Literal(path) if arg.count == Count::One && !named => self.renamed(path),
            _ => Vec::new(),
        };
        self.effect(EffectKind::Read, arg, false);
        self.effect(EffectKind::Delete, arg, false);
        if others.is_empty() {
            return self.written_beside(arg);
        }
        for other in others {
            self.effect(EffectKind::Write, &decoded(arg, &other), false);
        }
    }

    /// `mktemp --suffix=.pem XXXXXX` makes a file whose name ends in `.pem`; letters and digits come for the X's. Without a word for the
    /// suffix only the beginning is known.
    fn made(&mut self, arg: &Arg) {
        const SUFFIX: &str = "--suffix";
        if !self.reading.invocation.flags.contains(SUFFIX) {
            return self.effect(EffectKind::Write, arg, false);
        }
        let suffixes = self.reading.invocation.options.get(SUFFIX).cloned().unwrap_or_default();
        let prefix = || Value::Dynamic { prefix: arg.word.value.prefix().to_owned() };
        let with = |suffix: &String| match &arg.word.value {
            Value::Literal(path) => Value::Literal(format!("{path}{suffix}")),
            Value::Home(path) => Value::Home(format!("{path}{suffix}")),
            _ => prefix(),
        };
        let mut names: Vec<Value> = suffixes.iter().map(with).collect();
        // Of several the last one counts, which is not kept in order, and one that is not literal is not kept at all.
        let times = self.chosen.iter().filter(|option| option.canonical() == SUFFIX).count();
        if times != 1 || names.is_empty() {
            names.push(prefix());
        }
        for value in names {
            let word = Word { value, ..arg.word.clone() };
            self.effect(EffectKind::Write, &Arg { word, count: arg.count }, false);
        }
    }

    /// What a packed or unpacked file may be called, if the table tells how. To unpack a file without a suffix is to look
    /// for others of its name, of which nothing is said.
    fn renamed(&self, path: &str) -> Vec<String> {
        let Some((usual, _)) = self.entry.suffixes.first().and_then(|suffix| suffix.split_once('=')) else {
            return Vec::new();
        };
        let unpacked = self.entry.suffixes.iter().filter_map(|suffix| {
            let (packed, plain) = suffix.split_once('=')?;
            path.strip_suffix(packed).map(|stem| format!("{stem}{plain}"))
        });
        let mut names: Vec<String> = unpacked.take(1).collect();
        let unpacks = self.reading.invocation.flags.contains("--decompress")
            || self.reading.invocation.words.first() != Some(&self.table.name);
        if names.is_empty() && unpacks {
            return names;
        }
        names.push(format!("{path}{usual}"));
        names
    }

    /// Another extension, so that only the stem is known.
    fn written_beside(&mut self, arg: &Arg) {
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

    /// `ln -s ../x/config` alone makes `./config`.
    fn linked_here(&mut self, arg: &Arg) {
        self.linked(arg);
        let here = place(&decoded(arg, "."), arg).filter(|_| arg.count == Count::One);
        let name = |place: &Arg| place.word.value.prefix().trim_start_matches("./").to_owned();
        let link = here.map_or_else(|| unknown(arg), |place| decoded(arg, &name(&place)));
        self.effect(EffectKind::Write, &link, false);
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
            kind => {
                self.note(OpaqueReason::UnknownOption, arg, "what this address stands for is not known");
                if matches!(kind, "EXEC" | "SYSTEM" | "SHELL") {
                    let code = rest.rsplit_once(',').map_or(rest, |(code, _)| code);
                    self.tell_code(code.replace(['"', '\''], ""), arg);
                }
            }
        }
    }

    /// What has no colon before the first slash is no URI.
    fn store(&mut self, arg: &Arg) {
        let known = arg.word.value.prefix();
        let open = matches!(arg.word.value, Value::Dynamic { .. });
        match known.split_once('/') {
            _ if open && !known.contains(['/', ':']) => self.transferred(EffectKind::Read, arg),
            Some((first, _)) if !first.contains(':') => self.effect(EffectKind::Read, arg, false),
            _ if known.contains("://") => self.url(arg),
            _ if known.contains(':') => {
                self.note(OpaqueReason::UnknownOption, arg, "a URI of this kind can name any file");
                self.effect(EffectKind::Read, &unknown(arg), false);
            }
            _ => self.effect(EffectKind::Read, arg, false),
        }
    }

    /// A file whose name may hold signs that stand for something else.
    fn globbed(&mut self, kind: EffectKind, arg: &Arg, signs: &[char]) {
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
        let headers = text.split(';').skip(1).filter_map(|part| part.trim_start().strip_prefix("headers="));
        for file in headers.filter_map(marked).filter(|file| file != "-") {
            self.effect(EffectKind::Read, &decoded(arg, file.trim_matches('"')), false);
        }
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

    fn page(&mut self, arg: &Arg) {
        let text = arg.word.value.prefix();
        let file = matches!(arg.word.value, Value::Home(_)) || text.starts_with(['/', '.']);
        if file || !text.contains("://") {
            self.effect(EffectKind::Read, arg, false);
        }
        if !file {
            self.url(arg);
        }
    }

    fn connect(&mut self, target: Word, peer: Option<Peer>) {
        self.reading.effects.push(Effect { kind: EffectKind::Connect, target, tree: false, from_start: false, peer });
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
            self.note(OpaqueReason::InlineCode, arg, "a remote of the form `helper::…` runs a program");
            let helper = text.split_once("::").map_or(text, |(helper, _)| helper);
            return match text.strip_prefix("ext::") {
                Some(code) => self.tell_code(code.replace("% ", " "), arg),
                None => self.tell_code(format!("git-remote-{helper}"), arg),
            };
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
        let Some(texts) = words.iter().map(literal).collect::<Option<Vec<String>>>() else {
            let known: Vec<&str> = words.iter().map_while(literal_text).collect();
            let next = words.get(known.len()).map(guessed).unwrap_or_default();
            return self.tell_code(format!("{} {next}", known.join(" ")), first);
        };
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
                self.tell_code(guessed(arg), arg);
            }
        }
    }

    /// `watch 'ls;' rm x`: where the words come from is lost when `sh -c` gets them as one.
    pub(super) fn joined_code(&mut self, words: &[Arg]) {
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
    fn late_command(&mut self, arg: &Arg) {
        if arg.word.value.literal().is_some() {
            let detail = "an option behind this word makes it a command; put the option before it";
            self.note(OpaqueReason::UnknownOption, arg, detail);
            self.command(vec![arg.clone()]);
        }
    }

    /// One word goes to `sh -c`, several are run as they are: they must not turn out to be one.
    pub(super) fn command_or_code(&mut self, words: Vec<Arg>) {
        if let Some(arg) = words.iter().find(|arg| arg.count != Count::One) {
            self.note(OpaqueReason::DynamicOption, arg, "one word would be code, several are a command");
        }
        match words.as_slice() {
            [_] => self.joined_code(&words),
            _ => self.child(words, self.entry.elsewhere && self.reading.cwd.is_none()),
        }
    }

    /// Code is told from what is filled in only where nothing quotes: then each place is one word, or more.
    pub(super) fn jobs(&mut self, words: &[Arg]) {
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

    fn write_pattern(&mut self, arg: &Arg) {
        let known = arg.word.value.prefix();
        match known.split_once('%') {
            Some((prefix, _)) => {
                let value = Value::Dynamic { prefix: prefix.to_owned() };
                let file = Arg { word: Word { value, ..arg.word.clone() }, count: arg.count };
                self.effect(EffectKind::Write, &file, false);
            }
            None => self.effect(EffectKind::Write, arg, false),
        }
    }

    /// `strace -o '|cmd'` runs cmd.
    fn file_or_pipe(&mut self, arg: &Arg) {
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

    fn code(&mut self, role: Role, arg: &Arg) {
        self.reading.invocation.inline_code = true;
        self.unvouched = true;
        let program = self.program();
        self.note(OpaqueReason::InlineCode, arg, &format!("code of `{program}` is not read"));
        self.tell(role, arg);
    }

    /// Lists what code that is opaque all the same would run, as far as its text tells.
    pub(super) fn tell(&mut self, role: Role, arg: &Arg) {
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
            told::told(role, &text).into_iter().for_each(|told| self.tell_one(told, arg));
        }
    }

    fn tell_one(&mut self, told: Told, arg: &Arg) {
        match told {
            Told::Code(code) => self.tell_code(code, arg),
            Told::Words(words) => {
                let words = words.iter().map(|word| decoded(arg, word)).collect();
                let child = Child::Command { words, assignments: Vec::new(), elsewhere: true, shell: false };
                self.reading.children.push(child);
            }
        }
    }

    /// Lists what stands behind a word that the table says is followed by a command, and what a program that is not
    /// taken apart at all is given to run.
    pub(super) fn tell_behind(&mut self) {
        let args = self.args;
        for (at, arg) in args.iter().enumerate().skip(1) {
            let Some(text) = literal_text(arg) else { continue };
            let tells = |text: &str| self.table.tells.iter().any(|word| word == text);
            if tells("*") && told::is_program(text) {
                let words = args.get(at..).unwrap_or_default().to_vec();
                let child = Child::Command { words, assignments: Vec::new(), elsewhere: true, shell: false };
                return self.reading.children.push(child);
            }
            if tells("*") && text.split_once(' ').is_some_and(|(first, _)| told::is_program(first)) {
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
    pub(super) fn tell_code(&mut self, text: String, arg: &Arg) {
        if !text.trim().is_empty() {
            self.reading.children.push(Child::Code { text, word: arg.word.clone(), runs: Runs::Elsewhere });
        }
    }

    /// Words that some shell gets as one text.
    pub(super) fn tell_joined(&mut self, words: &[Arg]) {
        let texts: Option<Vec<&str>> = words.iter().map(|arg| arg.word.value.literal()).collect();
        if let (Some(texts), Some(first)) = (texts, words.first()) {
            self.tell_code(texts.join(" "), first);
        }
    }

    /// `core.pager=rm x`: the table says of which settings the value is run.
    pub(super) fn tell_setting(&mut self, text: &str, arg: &Arg) {
        let code = ['=', ' '].into_iter().find_map(|sign| {
            let (name, value) = text.split_once(sign)?;
            let value = value.trim_start_matches(['=', ' ']);
            self.table.runs.iter().find_map(|setting| setting.code(name.trim(), value))
        });
        if let Some(code) = code {
            self.tell_code(code, arg);
        }
    }

    fn vouched(&mut self, role: Role, arg: &Arg) {
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
    fn trap(&mut self) {
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
    fn format(&mut self) {
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
    fn eval(&mut self) {
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
        let word = if operands.len() == 1 { first.word.clone() } else { Word { span, ..super::empty_word() } };
        self.reading.children.push(Child::Code { text: texts.join(" "), word, runs: Runs::Here });
    }

    /// `alias name=value`: the value is read as a command, and later uses of the name are not.
    fn alias(&mut self) {
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

    fn script_file(&mut self, arg: &Arg) {
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

/// Whether a format may hold `%n`, with whatever may stand between the two.
fn counts(format: &str) -> bool {
    let between = |letter: char| "#'-+ .*0123456789hjlLqtz".contains(letter);
    format.split('%').skip(1).any(|rest| rest.trim_start_matches(between).starts_with('n'))
}

/// The variable of `name[3]`.
fn numbered(text: &str) -> Option<&str> {
    let (name, index) = text.strip_suffix(']')?.split_once('[')?;
    let plain = name.bytes().next().is_some_and(starts_name) && name.bytes().all(is_name);
    let number = !index.is_empty() && index.len() < 10 && index.bytes().all(|byte| byte.is_ascii_digit());
    (plain && number).then_some(name)
}

/// The file of the source's name below a directory, if both are known.
fn place(directory: &Arg, source: &Arg) -> Option<Arg> {
    let (Value::Literal(path) | Value::Home(path)) = &source.word.value else { return None };
    let name = path.trim_end_matches('/').rsplit('/').next().filter(|name| !matches!(*name, "" | "." | ".."))?;
    let below = |path: &str| format!("{}/{name}", path.trim_end_matches('/'));
    let value = match &directory.word.value {
        Value::Literal(path) => Value::Literal(below(path)),
        Value::Home(path) => Value::Home(below(path)),
        _ => return None,
    };
    let known = source.count == Count::One && directory.count == Count::One;
    known.then(|| Arg { word: Word { value, ..directory.word.clone() }, count: Count::One })
}

/// Words that begin as the argument does.
fn only_begins(arg: &Arg) -> Arg {
    let home = matches!(arg.word.value, Value::Home(_));
    let prefix = if home { String::new() } else { arg.word.value.prefix().to_owned() };
    Arg { word: Word { value: Value::Dynamic { prefix }, ..arg.word.clone() }, count: arg.count }
}

/// The word's text, if it is one word that is known.
fn literal_text(arg: &Arg) -> Option<&str> {
    arg.word.value.literal().filter(|_| arg.count == Count::One)
}

/// Code whose text is not known, as it is written: what is filled in is most likely a word or a part of one.
fn guessed(arg: &Arg) -> String {
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
    closed.trim_end_matches(ends).to_owned()
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
