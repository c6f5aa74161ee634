//! Which addresses anybody may have a connection to that a policy permits by name, and which need a permit of their own.
//!
//! An address is taken for what it leads to: one IPv4 address has several spellings in IPv6, and a gateway that translates one
//! of them reaches the same machine. Everything that is not plainly somewhere in the public internet needs its own permit.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The address that is really reached: the IPv4 one where an IPv6 address only wraps one.
pub(super) fn canonical(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(six) => wrapped(six).map_or(address, IpAddr::V4),
    }
}

fn wrapped(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let from = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match address.segments() {
        // Mapped (RFC 4291), and translated by a NAT64 gateway at the well-known prefix (RFC 6052).
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(from(high, low)),
        // 6to4 (RFC 3056).
        [0x2002, high, low, ..] => Some(from(high, low)),
        _ => None,
    }
}

/// Whether a canonical address lies in the public internet, where nobody is reached for being near.
pub(super) fn is_public(address: IpAddr) -> bool {
    let within = |range: &(&str, u32)| is_within(address, range);
    match address {
        IpAddr::V4(_) => !SPECIAL_V4.iter().any(within),
        IpAddr::V6(six) => {
            six.segments().first().is_some_and(|first| first >> 13 == 1) && !SPECIAL_V6.iter().any(within)
        }
    }
}

/// Whether a canonical address may be a host of the operator's own network.
///
/// These are the private addresses (RFC 1918), the unique local ones (RFC 4193), and [`OWN_V4`]. Loopback and link-local addresses are
/// none: the machine itself and the metadata services of clouds are there.
pub(super) fn may_be_own(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(four) => four.is_private() || OWN_V4.iter().any(|range| is_within(address, range)),
        IpAddr::V6(six) => six.is_unique_local(),
    }
}

fn is_within(address: IpAddr, (range, bits): &(&str, u32)) -> bool {
    let range: Option<IpAddr> = range.parse().ok();
    range.is_some_and(|range| is_in(address, range, *bits))
}

fn is_in(address: IpAddr, range: IpAddr, bits: u32) -> bool {
    match (address, range) {
        (IpAddr::V4(address), IpAddr::V4(range)) => {
            let rest = 32 - bits.min(32);
            u32::from(address).checked_shr(rest).unwrap_or(0) == u32::from(range).checked_shr(rest).unwrap_or(0)
        }
        (IpAddr::V6(address), IpAddr::V6(range)) => {
            let rest = 128 - bits.min(128);
            u128::from(address).checked_shr(rest).unwrap_or(0) == u128::from(range).checked_shr(rest).unwrap_or(0)
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

/// Special-purpose IPv4 addresses (RFC 6890), besides the private ones, that networks give to their own hosts: overlay networks take
/// `100.64.0.0/10`, some resolvers answer with `198.18.0.0/15`, and laboratories take the ranges for documentation.
const OWN_V4: [(&str, u32); 5] =
    [("100.64.0.0", 10), ("192.0.2.0", 24), ("198.18.0.0", 15), ("198.51.100.0", 24), ("203.0.113.0", 24)];

/// IANA's special-purpose IPv4 addresses, multicast and the reserved ones.
const SPECIAL_V4: [(&str, u32); 15] = [
    ("0.0.0.0", 8),       // this network
    ("10.0.0.0", 8),      // private
    ("100.64.0.0", 10),   // behind a provider's translation
    ("127.0.0.0", 8),     // loopback
    ("169.254.0.0", 16),  // link-local, cloud metadata among them
    ("172.16.0.0", 12),   // private
    ("192.0.0.0", 24),    // protocol assignments, another metadata service among them
    ("192.0.2.0", 24),    // documentation
    ("192.88.99.0", 24),  // 6to4 relays
    ("192.168.0.0", 16),  // private
    ("198.18.0.0", 15),   // benchmarks
    ("198.51.100.0", 24), // documentation
    ("203.0.113.0", 24),  // documentation
    ("224.0.0.0", 4),     // multicast
    ("240.0.0.0", 4),     // reserved, and broadcast
];

/// What of `2000::/3`, the only range that is given out, is special all the same.
const SPECIAL_V6: [(&str, u32); 4] = [
    ("2001::", 23),     // protocol assignments: Teredo, which wraps IPv4 addresses, ORCHID
    ("2001:db8::", 32), // documentation
    ("2002::", 16),     // 6to4: it has been taken for what it wraps
    ("3fff::", 20),     // documentation
];

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_host_of_ones_own_may_be_in_such_a_network() {
        for (address, own) in [
            ("10.0.0.1", true),
            ("192.168.1.1", true),
            ("100.64.0.1", true),
            ("198.19.0.1", true),
            ("203.0.113.80", true),
            ("fd12::1", true),
            ("127.0.0.1", false),
            ("169.254.169.254", false),
            ("192.0.0.192", false),
            ("0.0.0.0", false),
            ("224.0.0.1", false),
            ("8.8.8.8", false),
            ("::1", false),
            ("fe80::1", false),
        ] {
            assert_eq!(may_be_own(canonical(address.parse().unwrap())), own, "{address}");
        }
    }

    #[test]
    fn what_is_near_needs_a_permit_of_its_own() {
        for (address, reached, public) in [
            ("1.1.1.1", "1.1.1.1", true),
            ("8.8.8.8", "8.8.8.8", true),
            ("100.63.255.255", "100.63.255.255", true),
            ("100.64.0.1", "100.64.0.1", false),
            ("100.127.255.255", "100.127.255.255", false),
            ("100.128.0.0", "100.128.0.0", true),
            ("0.0.0.0", "0.0.0.0", false),
            ("10.255.0.1", "10.255.0.1", false),
            ("127.0.0.1", "127.0.0.1", false),
            ("127.255.255.254", "127.255.255.254", false),
            ("169.254.169.254", "169.254.169.254", false),
            ("172.15.255.255", "172.15.255.255", true),
            ("172.16.0.1", "172.16.0.1", false),
            ("172.31.255.255", "172.31.255.255", false),
            ("172.32.0.0", "172.32.0.0", true),
            ("192.0.0.192", "192.0.0.192", false),
            ("192.168.1.1", "192.168.1.1", false),
            ("198.19.0.1", "198.19.0.1", false),
            ("224.0.0.1", "224.0.0.1", false),
            ("255.255.255.255", "255.255.255.255", false),
            ("::", "::", false),
            ("::1", "::1", false),
            ("::127.0.0.1", "::127.0.0.1", false),
            ("::ffff:10.0.0.1", "10.0.0.1", false),
            ("::ffff:8.8.8.8", "8.8.8.8", true),
            ("64:ff9b::169.254.169.254", "169.254.169.254", false),
            ("64:ff9b::8.8.8.8", "8.8.8.8", true),
            ("64:ff9b:1::8.8.8.8", "64:ff9b:1::808:808", false),
            ("2002:7f00:1::", "127.0.0.1", false),
            ("2002:0808:0808::1", "8.8.8.8", true),
            ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:0:4136:e378:8000:63bf:3fff:fdd2", false),
            ("2001:db8::1", "2001:db8::1", false),
            ("2606:4700:4700::1111", "2606:4700:4700::1111", true),
            ("fc00::1", "fc00::1", false),
            ("fd00:ec2::254", "fd00:ec2::254", false),
            ("fe80::1", "fe80::1", false),
            ("fec0::1", "fec0::1", false),
            ("ff02::1", "ff02::1", false),
            ("4000::1", "4000::1", false),
        ] {
            let found = canonical(address.parse().unwrap());
            assert_eq!((found, is_public(found)), (reached.parse().unwrap(), public), "{address}");
        }
    }
}
