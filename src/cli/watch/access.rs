//! Who may read the page, and who may answer on it: the one by the token, from the page itself, the other by a code besides.
//!
//! The token is in no cookie, since a browser sends those to every port of this machine. Another name for this address (DNS
//! rebinding) and requests that another page makes are refused before anything is looked at.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq as _;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What a request has to show.
pub(super) struct Access {
    /// The names that this server has, with its port.
    hosts: [String; 2],
    token: String,
}

impl Access {
    /// Access to this address with a new token.
    ///
    /// # Errors
    /// If the system gives no random bytes.
    pub(super) fn new(address: SocketAddr) -> Result<Self, rustix::io::Errno> {
        let random = random::<32>()?;
        let hosts = [address.to_string(), format!("localhost:{}", address.port())];
        Ok(Self { hosts, token: URL_SAFE_NO_PAD.encode(random) })
    }

    /// What a browser opens. The token stands where it is not sent to any server.
    pub(super) fn address(&self) -> String {
        let [host, _] = &self.hosts;
        format!("http://{host}/#{}", self.token)
    }

    /// Whether a request was made to this server by this server's page, or by a person.
    pub(super) fn is_ours(&self, headers: &HeaderMap) -> Result<(), StatusCode> {
        let Some(host) = only(headers, &HOST) else { return Err(StatusCode::BAD_REQUEST) };
        if !self.hosts.iter().any(|ours| ours == host) {
            return Err(StatusCode::MISDIRECTED_REQUEST);
        }
        let has_origin = headers.contains_key(ORIGIN);
        if has_origin && only(headers, &ORIGIN) != Some(&format!("http://{host}")) {
            return Err(StatusCode::FORBIDDEN);
        }
        let has_site = headers.contains_key(SEC_FETCH_SITE);
        if has_site && !matches!(only(headers, &SEC_FETCH_SITE), Some("same-origin" | "none")) {
            return Err(StatusCode::FORBIDDEN);
        }
        Ok(())
    }

    /// Whether a request shows the token.
    pub(super) fn has_token(&self, headers: &HeaderMap) -> bool {
        let shown = only(headers, &AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
        shown.is_some_and(|shown| shown.as_bytes().ct_eq(self.token.as_bytes()).into())
    }
}

/// What a person types to answer on the page. It stands in the terminal alone: in no address, no page and no process's arguments.
#[derive(Debug)]
pub(super) struct Code {
    letters: String,
    wrong: AtomicU32,
}

/// Why an answer is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shut {
    /// The code is another.
    Wrong,
    /// Too many were.
    ForGood,
}

/// Wrong codes, after which no answer is taken any more.
const MAX_WRONG: u32 = 10;

/// Letters of a code, of 5 bits each.
const LETTERS: usize = 16;

/// None that is taken for another one.
const ALPHABET: &[u8; 32] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZ";

impl Code {
    /// A new one, of 80 bits.
    ///
    /// # Errors
    /// If the system gives no random bytes.
    pub(super) fn new() -> Result<Self, rustix::io::Errno> {
        let letter = |byte: u8| char::from(ALPHABET.get(usize::from(byte % 32)).copied().unwrap_or(b'2'));
        Ok(Self { letters: random::<LETTERS>()?.into_iter().map(letter).collect(), wrong: AtomicU32::new(0) })
    }

    /// As it is printed.
    pub(super) fn shown(&self) -> String {
        let mut shown = String::new();
        for (place, letter) in self.letters.chars().enumerate() {
            if place > 0 && place % 4 == 0 {
                shown.push('-');
            }
            shown.push(letter);
        }
        shown
    }

    /// Whether somebody has typed it.
    ///
    /// # Errors
    /// If not, or if too many were wrong before.
    pub(super) fn opens(&self, typed: &str) -> Result<(), Shut> {
        if self.wrong.load(Ordering::Acquire) >= MAX_WRONG {
            return Err(Shut::ForGood);
        }
        let typed: String = typed.chars().filter(char::is_ascii_alphanumeric).collect();
        if typed.to_ascii_uppercase().as_bytes().ct_eq(self.letters.as_bytes()).into() {
            return Ok(());
        }
        let before = self.wrong.fetch_add(1, Ordering::AcqRel);
        Err(if before + 1 >= MAX_WRONG { Shut::ForGood } else { Shut::Wrong })
    }
}

/// So many random bytes.
fn random<const BYTES: usize>() -> Result<[u8; BYTES], rustix::io::Errno> {
    let mut random = [0; BYTES];
    let mut filled = 0;
    while let Some(rest) = random.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        filled += rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty())?;
    }
    Ok(random)
}

/// The value of a header that is there once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(first)
}

#[cfg(test)]
#[expect(clippy::string_slice, clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())).fold(
            HeaderMap::new(),
            |mut headers, (name, value)| {
                headers.append(name, value);
                headers
            },
        )
    }

    #[test]
    fn only_this_page_and_a_person_are_answered() {
        let access = Access::new("127.0.0.1:8000".parse().unwrap()).unwrap();
        let here = ("host", "127.0.0.1:8000");
        for (pairs, expected) in [
            (&[here][..], Ok(())),
            (&[("host", "localhost:8000")], Ok(())),
            (&[here, ("sec-fetch-site", "none")], Ok(())),
            (&[here, ("sec-fetch-site", "same-origin"), ("origin", "http://127.0.0.1:8000")], Ok(())),
            (&[], Err(StatusCode::BAD_REQUEST)),
            (&[here, here], Err(StatusCode::BAD_REQUEST)),
            (&[("host", "127.0.0.1")], Err(StatusCode::MISDIRECTED_REQUEST)),
            (&[("host", "127.0.0.1:8001")], Err(StatusCode::MISDIRECTED_REQUEST)),
            (&[("host", "evil.example:8000")], Err(StatusCode::MISDIRECTED_REQUEST)),
            (&[here, ("origin", "http://evil.example")], Err(StatusCode::FORBIDDEN)),
            (&[here, ("origin", "http://localhost:8000")], Err(StatusCode::FORBIDDEN)),
            (&[here, ("origin", "null")], Err(StatusCode::FORBIDDEN)),
            (&[here, ("sec-fetch-site", "cross-site")], Err(StatusCode::FORBIDDEN)),
            (&[here, ("sec-fetch-site", "same-site")], Err(StatusCode::FORBIDDEN)),
        ] {
            assert_eq!(access.is_ours(&headers(pairs)), expected, "{pairs:?}");
        }
    }

    #[test]
    fn the_token_is_shown_whole_once_and_in_one_place() {
        let address = "127.0.0.1:8000".parse().unwrap();
        let access = Access::new(address).unwrap();
        let printed = access.address();
        let token = printed.strip_prefix("http://127.0.0.1:8000/#").unwrap();
        assert_eq!(token.len(), 43);
        let bearer = format!("Bearer {token}");
        assert!(access.has_token(&headers(&[("authorization", &bearer)])));
        assert!(!Access::new(address).unwrap().has_token(&headers(&[("authorization", &bearer)])));
        for pairs in [
            &[][..],
            &[("authorization", token)],
            &[("authorization", &bearer[..bearer.len() - 1])],
            &[("authorization", &format!("{bearer}x"))],
            &[("authorization", "Bearer ")],
            &[("authorization", &bearer), ("authorization", &bearer)],
            &[("cookie", &bearer)],
        ] {
            assert!(!access.has_token(&headers(pairs)), "{pairs:?}");
        }
    }

    #[test]
    fn a_code_is_typed_as_a_person_types_and_guessed_ten_times() {
        let code = Code::new().unwrap();
        let shown = code.shown();
        assert_eq!(shown.split('-').map(str::len).collect::<Vec<_>>(), [4; 4]);
        assert_ne!(shown, Code::new().unwrap().shown());
        for typed in
            [shown.clone(), shown.to_lowercase(), shown.replace('-', ""), format!(" {} ", shown.replace('-', " "))]
        {
            assert_eq!(code.opens(&typed), Ok(()));
        }
        for guess in 1..MAX_WRONG {
            assert_eq!(code.opens(&"2".repeat(LETTERS)), Err(Shut::Wrong), "{guess}");
        }
        assert_eq!(code.opens(""), Err(Shut::ForGood));
        assert_eq!(code.opens(&shown), Err(Shut::ForGood), "also the right one");
    }
}
