//! Words that name who is talked to: addresses, URLs, remotes, hosts and what runs there.

use super::super::{Arg, Child, Parse, decoded};
use super::code::{guessed, literal_text};
use super::unknown;
use crate::ast::Count;
use crate::inventory::{Effect, EffectKind, Peer};
use crate::opaque::OpaqueReason;
use crate::peer;
use crate::word::{Value, Word};

impl Parse<'_, '_> {
    /// Standard streams, files and sockets without options are known, of the many kinds of addresses that there are.
    pub(super) fn address(&mut self, arg: &Arg) {
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

    pub(super) fn url(&mut self, arg: &Arg) {
        if let Some(path) = arg.word.value.literal().and_then(|text| text.strip_prefix('@')) {
            self.effect(EffectKind::Read, &decoded(arg, path), false);
            return self.note(OpaqueReason::UnknownOption, arg, "the URLs are in a file");
        }
        if self.is_hostless(arg) {
            return;
        }
        let target = arg.word.clone();
        let text = match &target.value {
            // What follows the host does not change it.
            Value::Dynamic { prefix } if arg.count == Count::One && names_host(prefix) => Some(prefix.as_str()),
            Value::Pattern { prefix } if names_host(prefix) => Some(prefix.as_str()),
            value => value.literal(),
        };
        let peer = match text.map(peer::url) {
            Some(peer::Url::File(path)) => return self.effect(EffectKind::Read, &decoded(arg, &path), false),
            Some(peer::Url::Peer(peer)) => peer,
            None => {
                self.effect(EffectKind::Read, &unknown(arg), false); // `file://` is a scheme, too
                None
            }
        };
        self.connect(target, peer);
    }

    /// Whether a URL's host is not connected to, since an option names a socket in its place. That counts for HTTP alone (`file:` opens a
    /// file, and FTP connects a second time), not behind `--next`, and where nothing leads on to another scheme.
    fn is_hostless(&self, arg: &Arg) -> bool {
        const OTHERS: [&str; 4] = ["--next", "--location", "--location-trusted", "--follow"];
        let flags = &self.reading.invocation.flags;
        let is_http = || {
            // A computed word may become several, each a URL.
            let text = arg.word.value.literal();
            let scheme = text.and_then(|text| text.split_once("://")).map(|(scheme, _)| scheme.to_ascii_lowercase());
            scheme.is_some_and(|scheme| scheme == "http" || scheme == "https")
        };
        self.chosen.iter().any(|option| option.hostless)
            && !OTHERS.iter().any(|flag| flags.contains(*flag))
            && is_http()
    }

    pub(super) fn page(&mut self, arg: &Arg) {
        let text = arg.word.value.prefix();
        let file = matches!(arg.word.value, Value::Home(_)) || text.starts_with(['/', '.']);
        if file || !text.contains("://") {
            self.effect(EffectKind::Read, arg, false);
        }
        if !file {
            self.url(arg);
        }
    }

    pub(in crate::program) fn connect(&mut self, target: Word, peer: Option<Peer>) {
        self.reading.effects.push(Effect {
            kind: EffectKind::Connect,
            target,
            tree: false,
            from_start: false,
            peer,
            weighed: false,
        });
    }

    pub(super) fn transferred(&mut self, kind: EffectKind, arg: &Arg) {
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

    pub(super) fn remote(&mut self, arg: &Arg) {
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

    /// What git copies. A word without a colon is a path, whatever it is called; only a remote has a name of its own.
    pub(super) fn repository(&mut self, arg: &Arg) {
        let path = match &arg.word.value {
            Value::Home(_) => true,
            value => value.literal().is_some_and(|text| !text.contains(':') && !text.starts_with('~')),
        };
        if path {
            self.effect(EffectKind::Read, arg, true);
        } else {
            self.remote(arg);
        }
        if self.operands.len() < 2 || self.maybe_option {
            let bare = ["--bare", "--mirror"].iter().any(|flag| self.reading.invocation.flags.contains(*flag));
            let made = arg.word.value.literal().and_then(|text| copied_as(text, bare));
            let made = made.map_or_else(|| unknown(arg), |name| decoded(arg, &name));
            self.effect(EffectKind::Write, &made, true);
        }
    }

    /// The words of a command for another machine, whose login shell gets them as one text. Which programs they name
    /// is listed as far as shells agree; what is there, nobody here knows.
    pub(in crate::program) fn remote_shell(&mut self, words: &[Arg]) {
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
}

/// The directory that git makes for a copy; `None`: that is not known for sure.
fn copied_as(source: &str, bare: bool) -> Option<String> {
    let path = source.split_once("://").map_or(source, |(_, rest)| rest);
    let path = path.trim_end_matches('/');
    let path = path.strip_suffix("/.git").unwrap_or(path).trim_end_matches('/');
    let name = path.rsplit(['/', ':']).next().unwrap_or_default();
    let name = name.strip_suffix(".git").or(name.strip_suffix(".bundle")).unwrap_or(name);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+".contains(&byte);
    let sure =
        !name.is_empty() && name.bytes().all(plain) && !name.starts_with(['-', '.']) && path.contains(['/', ':']);
    let sure = sure || name == path && name.bytes().all(plain) && !name.is_empty() && !name.starts_with(['-', '.']);
    sure.then(|| if bare { format!("{name}.git") } else { name.to_owned() })
}

/// Whether the beginning of a URL tells its host for sure.
fn names_host(begin: &str) -> bool {
    begin.split_once("://").is_some_and(|(scheme, rest)| scheme.starts_with("http") && rest.contains('/'))
}
