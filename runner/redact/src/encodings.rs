//! Decides which encodings of a known value are searched for, and by which first bytes.
//!
//! An encoding is a text to look for and the way in which output may escape it further (escapes, line breaks, separators),
//! which `compare` undoes. The keys are what the first bytes can look like; an encoding that no key announces is not found.

/// How many bytes a key has.
pub(super) const KEY: usize = 6;

const BASE64: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const BASE32: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// One way in which a value can be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Encoding {
    pub(super) pattern: Vec<u8>,
    pub(super) escaping: Escaping,
    pub(super) keys: Vec<[u8; KEY]>,
}

/// What may stand between and instead of the bytes of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Escaping {
    /// Escapes of JSON, C, shell, URL, HTML, SQL and mail, and line breaks.
    Text,
    /// The same, and `-` and `_` stand for `+` and `/`.
    Base64,
    /// Each byte is two hexadecimal digits, perhaps with separators between.
    Hex,
    /// One separator after each byte.
    Spaced,
}

/// How many encodings are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum EncodingSet {
    /// Those that programs put on without being asked: escapes, Base64, hexadecimal.
    Everyday,
    /// All that are known.
    All,
}

/// The encodings of a value; none if it is too short to be told from chance.
pub(super) fn encodings(value: &[u8], set: EncodingSet) -> Vec<Encoding> {
    let bare: Vec<u8> = value.iter().copied().filter(|byte| !is_passed_over(*byte)).collect();
    if bare.len() < KEY {
        return Vec::new();
    }
    let mut encodings = vec![text(value, &bare), hex(value)];
    encodings.extend(cores(value, BASE64, 6).map(base64));
    if set == EncodingSet::All {
        encodings.push(spaced(&bare));
        encodings.extend(turned(value).into_iter().filter(|other| other != value).map(|other| plain(&other)));
        let wide: Vec<u8> = match std::str::from_utf8(value) {
            Ok(text) => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
            Err(_) => value.iter().flat_map(|&byte| [byte, 0]).collect(),
        };
        encodings.extend(cores(&wide, BASE64, 6).map(base64));
        encodings
            .extend(cores(value, BASE64, 6).flat_map(|core| cores(&core, BASE64, 6).map(base64).collect::<Vec<_>>()));
        encodings.extend(cores(value, BASE32, 5).map(|core| plain(&core)));
    }
    encodings.retain(|encoding| !encoding.keys.is_empty());
    encodings
}

/// The value backwards, in the other letter cases, in ROT13, and as Latin-1.
fn turned(value: &[u8]) -> Vec<Vec<u8>> {
    let mut turned = vec![rot13(value), value.iter().rev().copied().collect()];
    if let Ok(text) = std::str::from_utf8(value) {
        turned.push(text.chars().rev().collect::<String>().into_bytes());
        turned.push(text.to_uppercase().into_bytes());
        turned.push(text.to_lowercase().into_bytes());
        turned.extend(text.chars().map(|c| u8::try_from(c).ok()).collect::<Option<Vec<u8>>>());
    }
    turned.sort_unstable();
    turned.dedup();
    turned
}

/// What the value becomes in a base of 2^`bits`, for each place in a group at which it can begin: the digits that the
/// value alone decides.
fn cores(value: &[u8], alphabet: &[u8], bits: usize) -> impl Iterator<Item = Vec<u8>> {
    let group: usize = if bits == 6 { 3 } else { 5 };
    (0..group).map(move |offset| {
        let (first, last) = ((offset * 8).div_ceil(bits), (offset + value.len()) * 8 / bits);
        let bit = |at: usize| {
            let byte = (at / 8).checked_sub(offset).and_then(|at| value.get(at)).copied().unwrap_or(0);
            usize::from(byte >> (7 - at % 8) & 1)
        };
        let digit = |at: usize| (at * bits..(at + 1) * bits).fold(0, |digit, at| digit << 1 | bit(at));
        (first..last).filter_map(|at| alphabet.get(digit(at)).copied()).collect()
    })
}

fn text(value: &[u8], bare: &[u8]) -> Encoding {
    let styles: [fn(u8) -> String; 22] = [
        |byte| if byte == b'\\' { "\\\\\\\\".into() } else { char::from(byte).into() },
        |byte| if byte == b'\\' { "\\".repeat(8) } else { char::from(byte).into() },
        |byte| char::from(byte).to_string(),
        |byte| if matches!(byte, b'"' | b'\\') { format!("\\{}", char::from(byte)) } else { char::from(byte).into() },
        |byte| {
            if matches!(byte, b'"' | b'\\' | b'/') {
                format!("\\{}", char::from(byte))
            } else {
                char::from(byte).into()
            }
        },
        |byte| if byte.is_ascii_alphanumeric() { char::from(byte).into() } else { format!("\\{}", char::from(byte)) },
        |byte| if is_unreserved(byte) { char::from(byte).into() } else { format!("%{byte:02X}") },
        |byte| if is_unreserved(byte) { char::from(byte).into() } else { format!("%{byte:02x}") },
        |byte| match byte {
            b' ' => "+".into(),
            _ if is_unreserved(byte) => char::from(byte).into(),
            _ => format!("%{byte:02X}"),
        },
        |byte| match byte {
            b'&' => "&amp;".into(),
            b'<' => "&lt;".into(),
            b'>' => "&gt;".into(),
            b'"' => "&quot;".into(),
            b'\'' => "&#39;".into(),
            _ => char::from(byte).into(),
        },
        |byte| match byte {
            b'\'' => "'\\''".into(),
            b'"' => "\"\"".into(),
            b'=' => "=3D".into(),
            _ => char::from(byte).into(),
        },
        |byte| if is_unreserved(byte) { char::from(byte).into() } else { format!("%25{byte:02X}") },
        |byte| if byte.is_ascii_alphanumeric() { char::from(byte).into() } else { format!("%{byte:02X}") },
        |byte| if byte.is_ascii_alphanumeric() { char::from(byte).into() } else { format!("%{byte:02x}") },
        |byte| if byte.is_ascii_alphanumeric() { char::from(byte).into() } else { format!("={byte:02X}") },
        // whatever the byte is
        |byte| format!("%{byte:02X}"),
        |byte| format!("%{byte:02x}"),
        |byte| format!("%25{byte:02X}"),
        |byte| format!("\\x{byte:02x}"),
        |byte| format!("\\{byte:03o}"),
        |byte| format!("\\{}", char::from(byte)),
        |byte| format!("={byte:02X}"),
    ];
    let mut keys: Vec<[u8; KEY]> = styles.iter().filter_map(|style| styled(value, *style)).collect();
    keys.extend(styled(value, |byte| format!("\\x{byte:02X}")));
    keys.extend(by_character(value, |c| format!("&#{};", u32::from(c))));
    keys.extend(by_character(value, |c| format!("&#x{:x};", u32::from(c))));
    keys.extend(by_character(value, |c| format!("&#x{:X};", u32::from(c))));
    keys.extend(by_character(value, |c| utf16(c).to_uppercase().replace('U', "u")));
    keys.extend(by_character(value, utf16));
    keys.extend(by_character(value, |c| if c.is_ascii() { c.into() } else { utf16(c) }));
    keys.extend(first(bare));
    finished(bare.to_vec(), Escaping::Text, keys)
}

/// A character as JSON escapes it.
fn utf16(c: char) -> String {
    let mut units = [0; 2];
    c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect()
}

/// The first bytes of a value that is text, each character of it written in a style.
fn by_character(value: &[u8], style: impl Fn(char) -> String) -> Option<[u8; KEY]> {
    let text = std::str::from_utf8(value).ok()?;
    let written: String = text.chars().take(KEY).map(style).collect();
    first(written.as_bytes())
}

fn hex(value: &[u8]) -> Encoding {
    let bare: Vec<u8> = value.iter().copied().filter(|byte| !matches!(byte, b'\n' | b'\r')).collect();
    let digits = |separate: &dyn Fn(usize) -> &'static str| {
        let bytes = bare.iter().take(KEY).enumerate();
        bytes.map(|(index, byte)| format!("{}{byte:02x}", separate(index))).collect::<String>()
    };
    let between = |separator: &'static str| move |index: usize| if index == 0 { "" } else { separator };
    let written = [
        digits(&|_| ""),
        digits(&between(" ")),
        digits(&between(":")),
        digits(&between("-")),
        digits(&|index| if index % 2 == 1 || index == 0 { "" } else { " " }),
        digits(&|index| if index % 2 == 0 { "" } else { " " }),
        digits(&|_| "\\x"),
        digits(&|index| if index == 0 { "0x" } else { ", 0x" }),
        digits(&|index| if index == 0 { "0x" } else { ",0x" }),
        digits(&|index| if index == 0 { "0x" } else { " 0x" }),
    ];
    let upper = |text: &String| text.to_ascii_uppercase().replace('X', "x");
    let keys = written.iter().flat_map(|text| [first(text.as_bytes()), first(upper(text).as_bytes())]).flatten();
    let keys = keys.collect();
    finished(bare, Escaping::Hex, keys)
}

fn spaced(bare: &[u8]) -> Encoding {
    let keys = [b' ', b'-', b'.', b','].into_iter().filter_map(|separator| {
        let written: Vec<u8> = bare.iter().take(KEY).flat_map(|&byte| [byte, separator]).collect();
        first(&written)
    });
    finished(bare.to_vec(), Escaping::Spaced, keys.collect())
}

fn plain(value: &[u8]) -> Encoding {
    let bare: Vec<u8> = value.iter().copied().filter(|byte| !is_passed_over(*byte)).collect();
    let keys = [first(value), first(&bare)].into_iter().flatten().collect();
    finished(bare, Escaping::Text, keys)
}

fn base64(core: Vec<u8>) -> Encoding {
    let url: Vec<u8> = core
        .iter()
        .map(|byte| match byte {
            b'+' => b'-',
            b'/' => b'_',
            _ => *byte,
        })
        .collect();
    let percent = styled(&core, |byte| match byte {
        b'+' => "%2B".into(),
        b'/' => "%2F".into(),
        _ => char::from(byte).into(),
    });
    let keys = [first(&core), first(&url), percent].into_iter().flatten().collect();
    finished(core, Escaping::Base64, keys)
}

fn finished(pattern: Vec<u8>, escaping: Escaping, mut keys: Vec<[u8; KEY]>) -> Encoding {
    keys.sort_unstable();
    keys.dedup();
    if pattern.len() < KEY {
        keys.clear();
    }
    Encoding { pattern, escaping, keys }
}

fn styled(value: &[u8], style: impl Fn(u8) -> String) -> Option<[u8; KEY]> {
    // `char::from` maps bytes to Latin-1; back again, so that bytes beyond ASCII stay what they were.
    let bytes = value.iter().take(KEY).flat_map(|&byte| {
        let written = style(byte);
        written.chars().map(|c| u8::try_from(c).unwrap_or(byte)).collect::<Vec<u8>>()
    });
    first(&bytes.collect::<Vec<u8>>())
}

fn first(text: &[u8]) -> Option<[u8; KEY]> {
    text.first_chunk().copied()
}

/// Comparing passes over such bytes in the output, so patterns are without.
fn is_passed_over(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r' | b'\\')
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn rot13(value: &[u8]) -> Vec<u8> {
    let turn = |byte: u8, first: u8| (byte - first + 13) % 26 + first;
    value
        .iter()
        .map(|&byte| match byte {
            b'a'..=b'z' => turn(byte, b'a'),
            b'A'..=b'Z' => turn(byte, b'A'),
            _ => byte,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: &str, escaping: Escaping) -> Vec<String> {
        let encodings = encodings(value.as_bytes(), EncodingSet::All);
        let of_escaping = encodings.iter().filter(|encoding| encoding.escaping == escaping);
        of_escaping.map(|encoding| String::from_utf8_lossy(&encoding.pattern).into_owned()).collect()
    }

    #[test]
    fn base64_cores_are_what_base64_makes_of_the_value_anywhere() {
        // `printf %s "${prefix}secret-value${suffix}" | base64`, for prefixes of 0, 1 and 2 bytes
        for whole in ["c2VjcmV0LXZhbHVl", "LXNlY3JldC12YWx1ZS4u", "LS1zZWNyZXQtdmFsdWUu"] {
            let found = written("secret-value", Escaping::Base64).iter().any(|core| whole.contains(core.as_str()));
            assert!(found, "{whole}");
        }
        // `printf %s secret-value | base32`
        assert!(written("secret-value", Escaping::Text).contains(&"ONSWG4TFOQWXMYLMOVS".to_owned()));
    }

    #[test]
    fn a_value_that_is_too_short_has_no_encodings() {
        assert!(
            encodings(b"12345", EncodingSet::All).is_empty() && encodings(b"123\n4\\5", EncodingSet::All).is_empty()
        );
        assert!(encodings(b"123456", EncodingSet::All).iter().all(|encoding| encoding.pattern.len() >= KEY));
    }
}
