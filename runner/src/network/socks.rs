//! The few bytes of SOCKS5 (RFC 1928): a connection to a name or an address, without a password.

use super::http::Authority;

/// How the version's number begins every message.
pub(super) const VERSION: u8 = 5;

/// What a request is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Reply {
    Succeeded = 0,
    NotAllowed = 2,
    Unreachable = 4,
    NoSuchCommand = 7,
    NoSuchAddress = 8,
}

impl Reply {
    /// The whole message; where the proxy's own end is, nobody needs to know.
    pub(super) fn message(self) -> [u8; 10] {
        [VERSION, self as u8, 0, 1, 0, 0, 0, 0, 0, 0]
    }
}

/// The answer to a greeting: no authentication, if that is among what is offered.
pub(super) fn method(offered: &[u8]) -> Option<[u8; 2]> {
    offered.contains(&0).then_some([VERSION, 0])
}

/// No way in was offered that is taken.
pub(super) const NO_METHOD: [u8; 2] = [VERSION, 0xff];

/// How many bytes the address behind the head of a request has, its port included; a name begins with its own length.
pub(super) fn address_length(kind: u8, first: u8) -> Result<usize, Reply> {
    match kind {
        1 => Ok(4 + 2),
        3 => Ok(1 + usize::from(first) + 2),
        4 => Ok(16 + 2),
        _ => Err(Reply::NoSuchAddress),
    }
}

/// The peer of a request to connect.
pub(super) fn peer(command: u8, kind: u8, address: &[u8]) -> Result<Authority, Reply> {
    if command != 1 {
        return Err(Reply::NoSuchCommand);
    }
    let (host, port) = address.split_last_chunk::<2>().ok_or(Reply::NoSuchAddress)?;
    let host = match kind {
        1 => <[u8; 4]>::try_from(host).ok().map(|octets| std::net::Ipv4Addr::from(octets).to_string()),
        4 => <[u8; 16]>::try_from(host).ok().map(|octets| std::net::Ipv6Addr::from(octets).to_string()),
        3 => host.split_first().and_then(|(_, name)| String::from_utf8(name.to_vec()).ok()),
        _ => None,
    };
    match (host, u16::from_be_bytes(*port)) {
        (Some(host), port @ 1..) => Ok(Authority { host, port }),
        _ => Err(Reply::NoSuchAddress),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read() {
        let peer = |command, kind, address: &[u8]| peer(command, kind, address).map(|peer| (peer.host, peer.port));
        assert_eq!(peer(1, 1, &[127, 0, 0, 1, 0, 80]), Ok(("127.0.0.1".to_owned(), 80)));
        assert_eq!(peer(1, 3, b"\x03a.b\x01\xbb"), Ok(("a.b".to_owned(), 443)));
        assert_eq!(peer(1, 4, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 80]), Ok(("::1".to_owned(), 80)));
        assert_eq!(peer(2, 1, &[127, 0, 0, 1, 0, 80]), Err(Reply::NoSuchCommand), "nobody listens for a session");
        assert_eq!(peer(3, 1, &[127, 0, 0, 1, 0, 80]), Err(Reply::NoSuchCommand), "no datagrams");
        assert_eq!(peer(1, 1, &[127, 0, 0, 1, 0, 0]), Err(Reply::NoSuchAddress));
        assert_eq!(peer(1, 3, b"\x01\xff\x00\x50"), Err(Reply::NoSuchAddress));
        assert_eq!(address_length(3, 3), Ok(6));
        assert_eq!(address_length(9, 0), Err(Reply::NoSuchAddress));
    }
}
