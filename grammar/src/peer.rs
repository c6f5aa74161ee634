//! Network peers as words name them: URLs, `host`, `user@host:path`, `/dev/tcp/host/port`.
//!
//! This file decides which peer a word surely names. A form that could be read in two ways names none.

use crate::inventory::Peer;
use crate::word::Value;

/// What a redirection to one of bash's network devices leads to.
pub(crate) enum Device {
    Known(Peer),
    Unknown,
}

impl Device {
    pub(crate) fn known(self) -> Option<Peer> {
        match self {
            Self::Known(peer) => Some(peer),
            Self::Unknown => None,
        }
    }
}

/// `/dev/tcp/host/port` and `/dev/udp/host/port`, which bash takes for connections.
pub(crate) fn device(target: &Value) -> Option<Device> {
    let rest = ["/dev/tcp/", "/dev/udp/"].into_iter().find_map(|prefix| target.prefix().strip_prefix(prefix))?;
    let literal = target.literal().and(rest.split_once('/'));
    Some(
        literal
            .and_then(|(name, port)| Some(Peer { host: host(name)?, port: port.parse().ok()? }))
            .map_or(Device::Unknown, Device::Known),
    )
}

/// What a URL names.
pub(crate) enum Url {
    /// `file://…`: this path.
    File(String),
    /// The peer, if it is surely that one.
    Peer(Option<Peer>),
}

/// Reads a URL as curl and wget do; without a scheme it is `http`.
pub(crate) fn url(text: &str) -> Url {
    let Some((scheme, rest)) = text.split_once("://").or_else(|| without_scheme(text)) else {
        return match text.split_once(':') {
            Some((scheme, path)) if scheme.eq_ignore_ascii_case("file") => Url::File(path.to_owned()),
            _ => Url::Peer(None),
        };
    };
    let scheme = scheme.to_ascii_lowercase();
    if scheme == "file" {
        let path = rest.find('/').and_then(|at| rest.get(at..)).unwrap_or_default();
        return Url::File(path.to_owned());
    }
    if rest.contains(['\\', ' ']) || rest.contains(char::is_control) {
        return Url::Peer(None); // what a client makes of these differs
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    Url::Peer(default_port(&scheme).and_then(|port| host_and_port(authority, port)))
}

/// A URL with nothing before the host is one of `http`. Clients take `file:/x`, `http:/h` and `h:/x` for other things
/// than one another, and guess from names like `ftp.h`.
fn without_scheme(text: &str) -> Option<(&str, &str)> {
    const GUESSED: [&str; 6] = ["dict.", "ftp.", "imap.", "ldap.", "pop3.", "smtp."];
    let lower = text.to_ascii_lowercase();
    let authority = lower.split(['/', '?', '#']).next().unwrap_or_default();
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let port = authority.rsplit_once(':').map_or("80", |(_, port)| port);
    let plain = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) || authority.ends_with(']');
    (plain && !GUESSED.iter().any(|name| authority.starts_with(name))).then_some(("http", text))
}

/// `[user@]host[:port]`.
pub(crate) fn host_and_port(text: &str, default: u16) -> Option<Peer> {
    let text = text.rsplit_once('@').map_or(text, |(_, host)| host);
    let (name, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((name, rest)) => (name, rest.strip_prefix(':').or(rest.is_empty().then_some(""))?),
        None => text.split_once(':').unwrap_or((text, "")),
    };
    let port = if port.is_empty() { default } else { port.parse().ok()? };
    Some(Peer { host: host(name)?, port })
}

/// The host of `[user@]host:path`, the form that scp and git take for a remote file; `None` for a local path.
pub(crate) fn remote(text: &str) -> Option<&str> {
    let colon = text.find(':')?;
    let before = text.get(..colon)?;
    (!before.is_empty() && !before.contains('/')).then_some(before)
}

/// Where git's URL of a remote leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemoteLocation {
    /// To another machine.
    Peer(Peer),
    /// To this path, which is absolute or meant from the top of the repository.
    Path(String),
}

/// Reads a URL as git does; `None`: it names a helper that git runs, or nothing that is known for sure.
pub fn remote_location(text: &str) -> Option<RemoteLocation> {
    if text.is_empty() || text.starts_with(['-', '~']) || text.contains("::") || text.contains(char::is_control) {
        return None;
    }
    if text.contains("://") {
        return match url(text) {
            Url::File(path) => Some(RemoteLocation::Path(path)),
            Url::Peer(peer) => peer.map(RemoteLocation::Peer),
        };
    }
    match remote(text) {
        Some(host) => host_and_port(host, 22).map(RemoteLocation::Peer),
        None => Some(RemoteLocation::Path(text.to_owned())),
    }
}

fn host(text: &str) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte);
    (!text.is_empty() && text.bytes().all(plain) && !text.starts_with('-')).then(|| text.to_ascii_lowercase())
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        "ftp" => Some(21),
        "ftps" => Some(990),
        "ssh" | "scp" | "sftp" | "git+ssh" => Some(22),
        "git" => Some(9418),
        "postgres" | "postgresql" => Some(5432),
        "redis" | "rediss" => Some(6379),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for (text, expected) in [
            ("https://Example.com/x", "example.com:443"),
            ("http://u:p@h:8080/a@b", "h:8080"),
            ("example.com", "example.com:80"),
            ("http://[::1]:81/", "::1:81"),
            ("http://a?@b", "a:80"),
            ("http://{a,b}/", "?"),
            ("http://a\\@b/", "?"),
            ("gopher://a/", "?"),
            ("http://a:b/", "?"),
            ("file:/etc/passwd", "file /etc/passwd"),
            ("File:x", "file x"),
            ("postgres://u:p@h/db", "h:5432"),
            ("redis://h", "h:6379"),
            ("http:/h/x", "?"),
            ("http:h", "?"),
            ("http:///h", "?"),
            ("h:/x", "?"),
            ("u:p@h:81/x:y", "h:81"),
            ("[::1]/x", "::1:80"),
            ("FTP.example.com/x", "?"),
            ("file:///etc/passwd", "file /etc/passwd"),
            ("FILE://localhost/etc/passwd", "file /etc/passwd"),
        ] {
            let read = match url(text) {
                Url::File(path) => format!("file {path}"),
                Url::Peer(None) => "?".to_owned(),
                Url::Peer(Some(peer)) => format!("{}:{}", peer.host, peer.port),
            };
            assert_eq!(read, expected, "{text}");
        }
    }

    #[test]
    fn places() {
        for (text, expected) in [
            ("https://h/x", "h:443"),
            ("git@h:x/y", "h:22"),
            ("../x", "../x"),
            ("x", "x"),
            ("file:///x", "/x"),
            ("ext::sh", "?"),
            ("-x", "?"),
            ("~/x", "?"),
            ("", "?"),
        ] {
            let read = match remote_location(text) {
                Some(RemoteLocation::Path(path)) => path,
                Some(RemoteLocation::Peer(peer)) => format!("{}:{}", peer.host, peer.port),
                None => "?".to_owned(),
            };
            assert_eq!(read, expected, "{text}");
        }
    }

    #[test]
    fn remotes() {
        for (text, expected) in
            [("h:x", Some("h")), ("u@h:/x", Some("u@h")), ("./a:b", None), ("a", None), (":x", None)]
        {
            assert_eq!(remote(text), expected, "{text}");
        }
    }
}
