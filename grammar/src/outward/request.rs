//! What a client of HTTP asks for: method, host and path, as its words say them.

use std::collections::BTreeSet;

use super::table::RequestPlaces;
use super::{Given, WordReading};
use crate::outward_facts::{HttpRequest, OutwardEffect};
use crate::peer::{self, Url};

/// The requests of one command.
pub(super) struct Requests {
    /// What they do; none: the words do not tell.
    pub(super) effects: Option<BTreeSet<OutwardEffect>>,
    /// All of them as one.
    pub(super) told: HttpRequest,
    /// Every host; none: one of them is not told.
    pub(super) hosts: Option<Vec<String>>,
}

impl RequestPlaces {
    /// Reads the requests out of a command's words; none: its verb makes no request.
    pub(super) fn read(&self, reading: &WordReading<'_>, knows: impl Fn(&str) -> bool) -> Option<Requests> {
        let mut words = reading.positional.iter().copied();
        if !self.verb.iter().all(|verb| words.next() == Some(Some(verb.as_str()))) {
            return None;
        }
        let mut words: Vec<Option<&str>> = words.collect();
        let mut methods = self.methods(reading);
        let given =
            |options: &[String]| reading.options.iter().any(|(name, _)| options.iter().any(|option| option == name));
        if self.items {
            let is_method = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphabetic());
            match words.as_slice() {
                [Some(word), _, ..] if is_method(word) => {
                    methods = Some(BTreeSet::from([word.to_uppercase()]));
                    words.remove(0);
                }
                [None, _, ..] => methods = None,
                // It sends what it finds on its standard input, where no terminal is.
                _ if !given(&self.alone) || sends(words.get(1..).unwrap_or_default()) => {
                    methods = Some(BTreeSet::from(["POST".to_owned()]));
                }
                _ => {}
            }
            words.truncate(1);
        }
        let known = reading.options.iter().all(|(name, _)| knows(name))
            && !given(&self.code)
            && !reading.open
            && !reading.lost
            && reading.settled.is_none();
        let urls: Vec<Option<&str>> =
            words.into_iter().chain(self.url.iter().flat_map(|option| reading.values(option))).collect();
        let mut effects = methods
            .as_ref()
            .filter(|_| known)
            .and_then(|methods| methods.iter().map(|method| Self::of_method(method)).collect::<Option<Vec<_>>>());
        if urls.iter().flatten().any(|url| !is_fetched(url)) {
            effects = None;
        }
        let mut told = HttpRequest { method: methods.and_then(only).unwrap_or_default(), ..HttpRequest::default() };
        let places: Option<Vec<(String, String)>> = urls.iter().map(|url| self.place((*url)?, reading)).collect();
        let places = places.filter(|_| known && !given(&self.elsewhere));
        if let Some(places) = &places {
            told.host = only(places.iter().map(|(host, _)| host.clone()).collect()).unwrap_or_default();
            told.path = only(places.iter().map(|(_, path)| path.clone()).collect()).unwrap_or_default();
        }
        let hosts = places.map(|places| places.into_iter().map(|(host, _)| host).collect());
        let effects = effects.map(|effects| effects.into_iter().flatten().collect());
        Some(Requests { effects, told, hosts })
    }

    /// The methods that options say; none: not told.
    fn methods(&self, reading: &WordReading<'_>) -> Option<BTreeSet<String>> {
        let given =
            |options: &[String]| reading.options.iter().any(|(name, _)| options.iter().any(|option| option == name));
        let named: Option<BTreeSet<String>> = self
            .method
            .iter()
            .flat_map(|option| reading.values(option))
            .map(|method| Some(method?.to_uppercase()))
            .collect();
        let mut methods = named?;
        if methods.is_empty() || given(&self.next) {
            let get = given(&self.get) && !given(&self.next);
            let method = match (given(&self.put), given(&self.send) && !get, given(&self.head)) {
                (true, _, _) => "PUT",
                (_, true, _) => "POST",
                (_, _, true) => "HEAD",
                _ => "GET",
            };
            methods.insert(method.to_owned());
        }
        Some(methods)
    }

    /// What a server is to do by this method (RFC 9110, section 9); none: what the method means there is not known.
    fn of_method(method: &str) -> Option<BTreeSet<OutwardEffect>> {
        Some(BTreeSet::from([match method {
            "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PROPFIND" => OutwardEffect::Observe,
            "POST" | "PUT" | "PATCH" | "PROPPATCH" | "MKCOL" | "COPY" => OutwardEffect::Change,
            "DELETE" | "MOVE" | "PURGE" => OutwardEffect::Destroy,
            _ => return None,
        }]))
    }

    /// Host and path of a URL. The path is empty if the client would make several of it (`/{a,b}`).
    fn place(&self, url: &str, reading: &WordReading<'_>) -> Option<(String, String)> {
        if let Some(host) = self.host.as_deref().filter(|_| !url.contains("://")) {
            let other = self.hostname.iter().flat_map(|option| reading.values(option)).last();
            let path = format!("/{}", url.trim_start_matches('/'));
            return Some((other.unwrap_or(Some(host))?.to_owned(), path.split(['?', '#']).next()?.to_owned()));
        }
        // httpie takes `:3000/x` for a port of this machine.
        let url = match url.strip_prefix(':').filter(|_| self.items) {
            Some(rest) => format!(
                "localhost{}{rest}",
                if rest.starts_with(|digit: char| digit.is_ascii_digit()) { ":" } else { "" }
            ),
            None => url.to_owned(),
        };
        let Url::Peer(Some(peer)) = peer::url(&url) else { return None };
        let rest = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
        let path = rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/").split(['?', '#']).next()?;
        let path = if path.contains(['{', '[']) { "" } else { path };
        Some((peer.host, path.to_owned()))
    }
}

/// Whether a client fetches by this URL, or sends what another protocol has it send (`gopher://`, `telnet://`, `smtp://`).
fn is_fetched(url: &str) -> bool {
    // curl guesses the protocol of a host that is named like one.
    const GUESSED: [&str; 5] = ["dict", "imap", "ldap", "pop3", "smtp"];
    let is = |name: &str, known: &[&str]| known.iter().any(|known| name.eq_ignore_ascii_case(known));
    match url.split_once("://") {
        Some((scheme, _)) => is(scheme, &["http", "https", "ftp", "ftps", "file"]),
        None => url.split_once('.').is_none_or(|(first, _)| !is(first, &GUESSED)),
    }
}

/// Whether one of httpie's items is sent in the body: `a=b`, `a:=1`, `f@file`, and not `q==x` or `Header:x`.
fn sends(items: &[Option<&str>]) -> bool {
    items.iter().any(|item| {
        let Some(item) = item else { return true };
        match item.find(['=', ':', '@']).and_then(|at| item.get(at..)) {
            Some(rest) if rest.starts_with("==") => false,
            Some(rest) if rest.starts_with(':') => rest.starts_with(":="),
            Some(_) => true,
            None => false,
        }
    })
}

/// The one that is there.
fn only(all: BTreeSet<String>) -> Option<String> {
    let mut all = all.into_iter();
    all.next().filter(|_| all.next().is_none())
}

impl<'a> WordReading<'a> {
    /// The values of an option; none: one that is known only when it runs.
    pub(super) fn values(&self, option: &str) -> impl Iterator<Item = Option<&'a str>> {
        self.options.iter().filter(move |(name, _)| *name == option).map(|(_, given)| match given {
            Given::Value(value) => Some(*value),
            Given::Nothing | Given::Hidden => None,
        })
    }
}
