//! Tells where an escape ends that a program has written for a byte: `\n`, `\u0027`, `%3D`, `\x1b[31m`.
//!
//! The last byte of an escape is often a letter or a digit. It is no part of the word behind it, so a token can begin there:
//! `{"log":"up\nghp_…"}`.

/// How many bytes before a place say whether an escape ends there.
const LOOK: usize = 24;

/// Whether an escape ends directly before `at`, with a byte that could be part of a word.
pub(super) fn ends_at(text: &[u8], at: usize) -> bool {
    let before = text.get(at.saturating_sub(LOOK)..at).unwrap_or_default();
    match before {
        [.., b'\\', b'a' | b'b' | b'e' | b'f' | b'n' | b'r' | b't' | b'v' | b'0'] => true,
        [.., b'%', a, b] | [.., b'\\', b'x' | b'X', a, b] if are_hex(&[*a, *b]) => true,
        [.., b'%', b'2', b'5', a, b] if are_hex(&[*a, *b]) => true,
        // As in mail: `=3D`.
        [.., b'=', b'0' | b'2' | b'3', b'0'..=b'9' | b'A'..=b'F'] => true,
        [.., b'\\', b'u', a, b, c, d] if are_hex(&[*a, *b, *c, *d]) => true,
        // In octal, as C, shells and the system's logger write it.
        [.., b'\\' | b'#', b'0'..=b'3', b'0'..=b'7', b'0'..=b'7'] => true,
        [parameters @ .., b'm'] => is_colour(parameters),
        _ => false,
    }
}

/// `\u001b[31`, of which the final `m` was taken off. The ESC itself is no byte of the text.
fn is_colour(before: &[u8]) -> bool {
    let parameters = before.iter().rev().take_while(|byte| byte.is_ascii_digit() || **byte == b';').count();
    let rest = before.get(..before.len() - parameters).unwrap_or_default();
    matches!(rest, [.., b'b' | b'B' | b'3' | b'e' | b'}' | b'^' | b'[', b'['])
}

fn are_hex(digits: &[u8]) -> bool {
    digits.iter().all(u8::is_ascii_hexdigit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_end() {
        for escape in [
            "\\n",
            "\\t",
            "a\\r",
            "\\\\n",
            "\\u0027",
            "\\u003D",
            "%20",
            "%3d",
            "%253D",
            "=3D",
            "\\x27",
            "\\033",
            "#012",
            "\\u001b[31m",
            "\\x1b[0m",
            "\\033[1;31m",
            "\\e[m",
            "^[[32m",
        ] {
            assert!(ends_at(format!("x {escape}ghp_").as_bytes(), 2 + escape.len()), "{escape}");
        }
        for word in ["n", "20", "3D", "u0027", "001b", "form", "[1m", "a[1m", "\\d"] {
            assert!(!ends_at(format!("x {word}ghp_").as_bytes(), 2 + word.len()), "{word}");
        }
    }
}
