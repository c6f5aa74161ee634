//! Requests of programs that take the session's proxy for an HTTP proxy, read strictly.
//!
//! Two programs that read one request differently are how a second one is smuggled past the first. So what is passed on is
//! not what came but what was understood: heads are taken apart and written anew, bodies are counted or their chunks written
//! anew, and a connection serves one request. What can be read in two ways is refused.
//!
//! Not decided here: whether the peer may be connected to.

/// Bytes that a request's head may have.
pub(super) const MAX_HEAD: usize = 16 << 10;

/// Fields that a head may have.
const MAX_FIELDS: usize = 128;

/// Bytes that the path of a request that only fetches may have.
const MAX_PATH: usize = 1024;

/// The fields that such a request keeps.
const OF_FETCHING: [&str; 4] = ["accept", "accept-encoding", "range", "if-none-match"];

/// What a program wants.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// A tunnel (CONNECT).
    Tunnel(Authority),
    /// One resource by plain HTTP.
    Fetch(Fetch),
}

/// A peer as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Authority {
    /// A name or address; an IPv6 address without its brackets.
    pub(super) host: String,
    pub(super) port: u16,
}

/// A plain request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fetch {
    pub(super) authority: Authority,
    method: String,
    /// Path and query.
    path: String,
    /// The last digit of the version: 0 or 1.
    minor: u8,
    /// Those that are passed on.
    fields: Vec<(String, Vec<u8>)>,
    pub(super) body: Body,
}

/// How long a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// So many bytes.
    Length(u64),
    /// As its chunks say.
    Chunked,
}

/// Why a request is refused, for its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bad(pub(super) &'static str);

/// How many bytes of `bytes` are a whole head, its empty line included; none if there is more to come.
pub(super) fn head_length(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

/// Takes a whole head apart.
pub(super) fn read(head: &[u8]) -> Result<Request, Bad> {
    request(head, None)
}

/// Takes the head of a request apart that was sent to this peer, in the peer's own place.
pub(super) fn read_as(peer: &Authority, head: &[u8]) -> Result<Fetch, Bad> {
    match request(head, Some(peer))? {
        Request::Fetch(fetch) => Ok(fetch),
        Request::Tunnel(_) => Err(Bad("a tunnel within a tunnel")),
    }
}

fn request(head: &[u8], within: Option<&Authority>) -> Result<Request, Bad> {
    let mut lines = lines(head)?;
    let first = lines.next().ok_or(Bad("an empty request"))?;
    let first = std::str::from_utf8(first).map_err(|_| Bad("a request line that is not ASCII"))?;
    let mut words = first.split(' ');
    let (Some(method), Some(target), Some(version), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Bad("a request line that is not three words"));
    };
    let minor = match version {
        "HTTP/1.1" => 1,
        "HTTP/1.0" => 0,
        _ => return Err(Bad("a version that is not HTTP/1.0 or HTTP/1.1")),
    };
    if !is_token(method.as_bytes()) || !target.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Bad("a request line with characters that do not belong there"));
    }
    let fields = fields(lines)?;
    if method == "CONNECT" {
        return Ok(Request::Tunnel(authority(target, None)?));
    }
    let (authority, path) = match within {
        Some(peer) if target.starts_with('/') => (peer.clone(), target),
        Some(_) => return Err(Bad("a target that is no path")),
        None => absolute(target)?,
    };
    if path.contains('#') {
        return Err(Bad("a target with a fragment"));
    }
    let path = match path.as_bytes().first() {
        Some(b'/') => path.to_owned(),
        _ => format!("/{path}"),
    };
    let body = body(&fields, minor)?;
    let fields = passed_on(fields);
    Ok(Request::Fetch(Fetch { authority, method: method.to_owned(), path, minor, fields, body }))
}

/// The peer and the path of `http://PEER/PATH`.
fn absolute(target: &str) -> Result<(Authority, &str), Bad> {
    let scheme = target.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("http://"));
    let Some(rest) = scheme.and_then(|_| target.get(7..)) else {
        return Err(Bad("a target that is neither `http://HOST/…` nor that of a CONNECT"));
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (named, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
    Ok((authority(named, Some(80))?, path))
}

impl Fetch {
    /// Whether it only fetches what a path names. A query could ask the peer to do something, or carry what was read elsewhere.
    pub(super) fn fetches(&self) -> bool {
        matches!(self.method.as_str(), "GET" | "HEAD")
            && self.body == Body::Length(0)
            && !self.path.contains('?')
            && self.path.len() <= MAX_PATH
    }

    /// The head of a request that only fetches. Of its fields those stay that say which form or part of a file is wanted: none that names
    /// the program, whose words registries publish, and none that says who asks.
    pub(super) fn fetching_head(&self, host: &str) -> Vec<u8> {
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let port = match self.authority.port {
            80 | 443 => String::new(),
            port => format!(":{port}"),
        };
        let first = format!(
            "{} {} HTTP/1.{}\r\nHost: {host}{port}\r\nUser-Agent: palisade\r\n",
            self.method, self.path, self.minor
        );
        let mut head = first.into_bytes();
        let fields: Vec<_> = self
            .fields
            .iter()
            .filter(|(name, _)| OF_FETCHING.iter().any(|known| known.eq_ignore_ascii_case(name)))
            .cloned()
            .collect();
        write_fields(&mut head, &fields);
        head
    }

    /// The head as the peer gets it, which is asked to close the connection behind its answer. The peer is `host`, whatever
    /// else the program said it was.
    pub(super) fn head(&self, host: &str) -> Vec<u8> {
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let port = if self.authority.port == 80 { String::new() } else { format!(":{}", self.authority.port) };
        let mut head =
            format!("{} {} HTTP/1.{}\r\nHost: {host}{port}\r\n", self.method, self.path, self.minor).into_bytes();
        write_fields(&mut head, &self.fields);
        head
    }
}

/// The head of an answer as the program gets it, and whether another one follows (it was an interim answer).
pub(super) fn answer(head: &[u8]) -> Result<(Vec<u8>, bool), Bad> {
    let mut lines = lines(head)?;
    let status = lines.next().ok_or(Bad("an empty answer"))?;
    let code = status.strip_prefix(b"HTTP/1.").and_then(|rest| rest.get(2..5)).unwrap_or_default();
    if code.len() != 3 || !code.iter().all(u8::is_ascii_digit) {
        return Err(Bad("an answer that is not HTTP/1"));
    }
    if code == b"101" {
        return Err(Bad("an answer that changes the protocol, which nobody asked for"));
    }
    let interim = code.first() == Some(&b'1');
    let fields = fields(lines)?;
    let mut written = [status, b"\r\n"].concat();
    if interim {
        for (name, value) in &fields {
            written.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        written.extend(b"\r\n");
    } else {
        write_fields(&mut written, &passed_on(fields));
    }
    Ok((written, interim))
}

fn write_fields(head: &mut Vec<u8>, fields: &[(String, Vec<u8>)]) {
    for (name, value) in fields {
        head.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    head.extend(b"Connection: close\r\n\r\n");
}

/// The lines of a head, without the empty one. A carriage return or line feed by itself is a line's end to some and not to
/// others.
fn lines(head: &[u8]) -> Result<impl Iterator<Item = &[u8]>, Bad> {
    let text = head.strip_suffix(b"\r\n\r\n").ok_or(Bad("a head without an end"))?;
    let mut at = 0;
    let mut found = Vec::new();
    while let Some(rest) = text.get(at..) {
        let length = rest.windows(2).position(|window| window == b"\r\n").unwrap_or(rest.len());
        let line = rest.get(..length).unwrap_or_default();
        if line.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            return Err(Bad("a line that ends in two ways"));
        }
        found.push(line);
        at += length + 2;
    }
    Ok(found.into_iter())
}

fn fields<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Result<Vec<(String, Vec<u8>)>, Bad> {
    let mut fields = Vec::new();
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':').ok_or(Bad("a field without a colon"))?;
        let (name, value) = (line.get(..colon).unwrap_or_default(), line.get(colon + 1..).unwrap_or_default());
        // Blanks at the beginning continue the line before to some; blanks before the colon are part of the name to some.
        if !is_token(name) {
            return Err(Bad("a field whose name is none"));
        }
        if value.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
            return Err(Bad("a field with control characters"));
        }
        fields.push((String::from_utf8_lossy(name).into_owned(), value.trim_ascii().to_vec()));
        if fields.len() > MAX_FIELDS {
            return Err(Bad("too many fields"));
        }
    }
    Ok(fields)
}

fn is_token(name: &[u8]) -> bool {
    let is_one = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !name.is_empty() && name.iter().all(is_one)
}

fn values<'a>(fields: &'a [(String, Vec<u8>)], name: &str) -> Vec<&'a [u8]> {
    let same = fields.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name));
    same.map(|(_, value)| value.as_slice()).collect()
}

/// What says how long the body is must say it once.
fn body(fields: &[(String, Vec<u8>)], minor: u8) -> Result<Body, Bad> {
    match (values(fields, "transfer-encoding").as_slice(), values(fields, "content-length").as_slice()) {
        ([], []) => Ok(Body::Length(0)),
        ([], [length]) => {
            let digits = std::str::from_utf8(length).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
            let length = digits.and_then(|digits| digits.parse().ok());
            length.map(Body::Length).ok_or(Bad("a length that is no number"))
        }
        ([coding], []) if minor == 1 && coding.eq_ignore_ascii_case(b"chunked") => Ok(Body::Chunked),
        ([_], []) => Err(Bad("a transfer coding other than `chunked`")),
        _ => Err(Bad("a body whose length is told twice")),
    }
}

/// Without what concerns this connection alone; the peer's name is written anew.
fn passed_on(fields: Vec<(String, Vec<u8>)>) -> Vec<(String, Vec<u8>)> {
    let named = values(&fields, "connection").into_iter().flat_map(|value| value.split(|byte| *byte == b','));
    let named: Vec<Vec<u8>> = named.map(|name| name.trim_ascii().to_ascii_lowercase()).collect();
    let stays = |(name, _): &(String, Vec<u8>)| {
        let name = name.to_ascii_lowercase();
        let framing = matches!(name.as_str(), "transfer-encoding" | "content-length");
        framing || !(OWN.contains(&name.as_str()) || named.iter().any(|named| named == name.as_bytes()))
    };
    fields.into_iter().filter(stays).collect()
}

/// Fields that are about one connection (RFC 9110, section 7.6.1), and the name of the peer.
const OWN: [&str; 9] = [
    "host",
    "connection",
    "proxy-connection",
    "keep-alive",
    "proxy-authorization",
    "te",
    "trailer",
    "upgrade",
    "http2-settings",
];

/// `HOST`, `HOST:PORT`, `[ADDRESS]:PORT`. A name and a password before the host would be the peer's name to some.
fn authority(text: &str, default: Option<u16>) -> Result<Authority, Bad> {
    let bad = Bad("a peer that is not `HOST:PORT`");
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or(bad)?;
            let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or(bad)?) };
            (host, port)
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    if host.is_empty() || host.contains(['@', '/', '[', ']', '%', '\\']) {
        return Err(bad);
    }
    let port = match port {
        None => default.ok_or(bad)?,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().map_err(|_| bad)?,
        Some(_) => return Err(bad),
    };
    if port == 0 { Err(bad) } else { Ok(Authority { host: host.to_owned(), port }) }
}

/// The length that a line before a chunk tells; extensions mean nothing to anyone.
pub(super) fn chunk_length(line: &[u8]) -> Result<u64, Bad> {
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
    let text = std::str::from_utf8(digits).map_err(|_| Bad("a chunk without a length"))?;
    let is_plain = (1..=15).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let known = line.iter().all(|byte| !byte.is_ascii_control() || *byte == b'\t');
    if !is_plain || !known {
        return Err(Bad("a chunk without a length"));
    }
    u64::from_str_radix(text, 16).map_err(|_| Bad("a chunk without a length"))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn fetch(head: &str) -> Result<Fetch, Bad> {
        match read(head.as_bytes())? {
            Request::Fetch(fetch) => Ok(fetch),
            Request::Tunnel(_) => Err(Bad("a tunnel")),
        }
    }

    #[test]
    fn peers_are_read() {
        for (target, expected) in [
            ("a.example:443", Some(("a.example", 443))),
            ("[::1]:443", Some(("::1", 443))),
            ("127.1:80", Some(("127.1", 80))),
            ("a.example", None),
            ("a.example:", None),
            ("a.example:0", None),
            ("a.example:65536", None),
            ("a.example:+80", None),
            ("a.example:80:80", None),
            (":80", None),
            ("[::1]443", None),
            ("[::1", None),
            ("b@a.example:80", None),
            ("a.example/x:80", None),
            ("fe80::1%eth0:80", None),
            ("a%2eexample:80", None),
        ] {
            let read = read(format!("CONNECT {target} HTTP/1.1\r\n\r\n").as_bytes());
            let peer = match &read {
                Ok(Request::Tunnel(peer)) => Some((peer.host.as_str(), peer.port)),
                _ => None,
            };
            assert_eq!(peer, expected, "{target}: {read:?}");
        }
    }

    #[test]
    fn a_request_is_written_anew() {
        let head = "POST http://a.example:8080/x?y HTTP/1.1\r\nHost: other.example\r\nX: 1\r\nConnection: close, X-Gone\r\n\
                    x-gone: 1\r\nProxy-Authorization: secret\r\nContent-Length: 3\r\n\r\n";
        let fetch = fetch(head).unwrap();
        assert_eq!(fetch.body, Body::Length(3));
        let expected =
            "POST /x?y HTTP/1.1\r\nHost: a.example:8080\r\nX: 1\r\nContent-Length: 3\r\nConnection: close\r\n\r\n";
        assert_eq!(String::from_utf8(fetch.head("a.example")).unwrap(), expected);
    }

    #[test]
    fn a_request_that_only_fetches_says_little() {
        let peer = Authority { host: "a.example".to_owned(), port: 443 };
        let head = "GET /simple/six/ HTTP/1.1\r\nHost: other.example\r\nUser-Agent: secret\r\nAccept: text/html\r\n\
                    Cookie: secret\r\nAuthorization: secret\r\n\r\n";
        let fetch = read_as(&peer, head.as_bytes()).unwrap();
        assert!(fetch.fetches());
        let expected = "GET /simple/six/ HTTP/1.1\r\nHost: a.example\r\nUser-Agent: palisade\r\nAccept: text/html\r\n\
                        Connection: close\r\n\r\n";
        assert_eq!(String::from_utf8(fetch.fetching_head("a.example")).unwrap(), expected);
        for (first, rest) in [
            ("POST /", ""),
            ("PUT /x", "Content-Length: 0\r\n"),
            ("GET /?secret", ""),
            ("GET /x", "Content-Length: 1\r\n"),
            ("GET /x", "Transfer-Encoding: chunked\r\n"),
            (&format!("GET /{}", "x".repeat(MAX_PATH)), ""),
        ] {
            let fetch = read_as(&peer, format!("{first} HTTP/1.1\r\n{rest}\r\n").as_bytes()).unwrap();
            assert!(!fetch.fetches(), "{first} {rest}");
        }
        for first in ["GET http://b.example/", "CONNECT b.example:443", "GET b.example", "GET /x#y"] {
            assert!(read_as(&peer, format!("{first} HTTP/1.1\r\n\r\n").as_bytes()).is_err(), "{first}");
        }
    }

    #[test]
    fn targets_have_one_reading() {
        for (target, expected) in [
            ("http://a.example", Some("/")),
            ("HTTP://a.example/", Some("/")),
            ("http://a.example?q", Some("/?q")),
            ("http://a.example/#x", None),
            ("http://a.example#@b.example/", None),
            ("http://u:p@a.example/", None),
            ("http://a.example\\@b.example/", None),
            ("https://a.example/", None),
            ("/", None),
            ("*", None),
            ("ftp://a.example/", None),
        ] {
            let read = fetch(&format!("GET {target} HTTP/1.1\r\n\r\n"));
            assert_eq!(read.as_ref().ok().map(|fetch| fetch.path.as_str()), expected, "{target}: {read:?}");
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for rest in [
            "Content-Length: 3\r\nContent-Length: 4\r\n",
            "Content-Length: 3\r\nContent-Length: 3\r\n",
            "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
            "Content-Length: 3, 4\r\n",
            "Content-Length: +3\r\n",
            "Content-Length: 0x3\r\n",
            "Content-Length: \r\n",
            "Content-Length: 99999999999999999999\r\n",
            "Transfer-Encoding: chunked, identity\r\n",
            "Transfer-Encoding: xchunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding : chunked\r\n",
            " X: folded\r\n",
            "X: a\r\n\tfolded\r\n",
            "X: a\nTransfer-Encoding: chunked\r\n",
            "X: a\rTransfer-Encoding: chunked\r\n",
            "X\0: a\r\n",
            "X: \u{b}chunked\r\n",
            "no colon\r\n",
            ": no name\r\n",
        ] {
            let read = fetch(&format!("POST http://a.example/ HTTP/1.1\r\n{rest}\r\n"));
            assert!(read.is_err(), "{rest:?}: {read:?}");
        }
        for first in [
            "GET  http://a.example/ HTTP/1.1",
            "GET http://a.example/ HTTP/1.1 ",
            "GET http://a.example/ HTTP/2.0",
            "GET http://a.example/",
            "GET\thttp://a.example/ HTTP/1.1",
            " GET http://a.example/ HTTP/1.1",
            "G(T http://a.example/ HTTP/1.1",
            "GET http://a.ex\u{e4}mple/ HTTP/1.1",
            "",
        ] {
            assert!(fetch(&format!("{first}\r\n\r\n")).is_err(), "{first:?}");
        }
        assert!(fetch("POST http://a.example/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
    }

    #[test]
    fn chunks_tell_their_length() {
        for (line, expected) in [
            ("0", Some(0)),
            ("1a", Some(26)),
            ("5;name=value", Some(5)),
            ("", None),
            ("+5", None),
            ("0x5", None),
            (" 5", None),
            ("5 ", None),
            ("-1", None),
            ("fffffffffffffffff", None),
            ("5;\u{1}", None),
        ] {
            assert_eq!(chunk_length(line.as_bytes()).ok(), expected, "{line:?}");
        }
    }

    #[test]
    fn answers_close_the_connection() {
        let (head, interim) =
            answer(b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nKeep-Alive: 5\r\nX: 1\r\n\r\n").unwrap();
        assert_eq!(
            (head.as_slice(), interim),
            (b"HTTP/1.1 200 OK\r\nX: 1\r\nConnection: close\r\n\r\n".as_slice(), false)
        );
        let (head, interim) = answer(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
        assert_eq!((head.as_slice(), interim), (b"HTTP/1.1 100 Continue\r\n\r\n".as_slice(), true));
        for refused in
            ["HTTP/1.1 101 Switching\r\n\r\n", "SSH-2.0-x\r\n\r\n", "HTTP/2 200\r\n\r\n", "HTTP/1.1 20\r\n\r\n"]
        {
            assert!(answer(refused.as_bytes()).is_err(), "{refused}");
        }
    }
}
