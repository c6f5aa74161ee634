//! One spelling for one host: policies compare names and addresses, and programs take many forms of both.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The name or address in the form that policies see: lower case, no final dot, IPv4 in four decimal parts whatever
/// form inet_aton(3) takes, IPv4-mapped IPv6 as IPv4. `None` for what looks like a number and is no address.
#[must_use]
pub fn canonical(host: &str) -> Option<String> {
    let host = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.').to_ascii_lowercase();
    if let Ok(address) = host.parse::<Ipv6Addr>() {
        return Some(IpAddr::V6(address).to_canonical().to_string());
    }
    let parts: Vec<&str> = host.split('.').collect();
    if !parts.iter().all(|part| is_numeric(part)) {
        return (!host.contains(':')).then_some(host);
    }
    let numbers: Vec<u32> = parts.iter().map(|part| number(part)).collect::<Option<_>>()?;
    let (last, leading) = numbers.split_last()?;
    let free_bits = 32_u32.checked_sub(u32::try_from(leading.len()).ok()? * 8).filter(|bits| *bits > 0)?;
    if leading.iter().any(|part| *part > 0xff) || u64::from(*last) >= 1_u64 << free_bits {
        return None;
    }
    let high = leading.iter().enumerate().map(|(index, part)| part << (24 - 8 * u32::try_from(index).unwrap_or(3)));
    Some(Ipv4Addr::from(high.sum::<u32>() | last).to_string())
}

fn is_numeric(part: &str) -> bool {
    let hexadecimal = part.strip_prefix("0x").is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    hexadecimal || (!part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Hexadecimal behind `0x`, octal behind `0`, else decimal.
fn number(part: &str) -> Option<u32> {
    match (part.strip_prefix("0x"), part.strip_prefix('0')) {
        (Some(digits), _) => u32::from_str_radix(digits, 16).ok(),
        (None, Some(digits)) if !digits.is_empty() => u32::from_str_radix(digits, 8).ok(),
        _ => part.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn every_spelling_of_an_address_is_that_address() {
        for spelling in [
            "169.254.169.254",
            "2852039166",
            "0xa9fea9fe",
            "169.254.43518",
            "0251.0376.0251.0376",
            "169.254.169.254.",
            "[::ffff:169.254.169.254]",
            "0xa9.254.0xa9fe",
            "169.16689662",
        ] {
            assert_eq!(canonical(spelling).as_deref(), Some("169.254.169.254"), "{spelling}");
        }
        for (spelling, expected) in [
            ("GitHub.com.", Some("github.com")),
            ("::1", Some("::1")),
            ("127.1", Some("127.0.0.1")),
            ("1.2.3.4.5", None),
            ("256.1.1.1", None),
            ("09.1.1.1", None),
            ("4294967296", None),
            ("0x.1", None),
            ("a:b", None),
            ("1password.com", Some("1password.com")),
        ] {
            assert_eq!(canonical(spelling).as_deref(), expected, "{spelling}");
        }
    }
}
