//! How long texts of a caller may be that are shown and recorded.
//!
//! Redaction and the record cost time and room for each byte. A text beyond its limit is refused by whoever judges it, and told
//! by its length and hash.

use palisade_audit::Digest;
use palisade_redact::{Redacted, Redactor};

/// Bytes of a command's text with its variables and its input, which the grammar reads no more of.
pub const MAX_SCRIPT: usize = 64 << 10;

/// Bytes of the agent's own words on why.
pub const MAX_REASON: usize = 4 << 10;

/// Bytes of a checkpoint's label.
pub(crate) const MAX_LABEL: usize = 200;

/// Bytes of a path, as the kernel has it (`PATH_MAX`).
pub const MAX_PATH: usize = 4 << 10;

/// A text with its secrets taken out; one that is longer than `limit` bytes by its length and hash alone. The hash is that of the
/// text as it came: one of this length is nothing that is guessed.
pub(crate) fn shown(text: &str, limit: usize, redactor: &Redactor) -> Redacted {
    if text.len() <= limit {
        return redactor.text(text);
    }
    redactor.text(&format!("[{} bytes, {}; the limit is {limit}]", text.len(), Digest::of(text.as_bytes())))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_text_beyond_the_limit_is_told_by_its_length_and_hash() {
        let redactor = Redactor::builtin().unwrap();
        let token = "ghp_0123456789abcdefghijABCDEFGHIJ012345";
        let short = shown(token, 40, &redactor);
        assert!(short.as_str().starts_with("[redacted:github-token"), "{short}");
        let long = format!("{token}{}", "x".repeat(60));
        let expected = format!("[100 bytes, {}; the limit is 99]", Digest::of(long.as_bytes()));
        assert_eq!(shown(&long, 99, &redactor).as_str(), expected);
    }
}
