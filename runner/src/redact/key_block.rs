//! What the body of a private key looks like, line by line.
//!
//! A key can be longer than any window, and other output can be printed between its lines. So a key is a state: between
//! its first line and its last, each line is judged by its first bytes alone, lines of key material go, others stay. The
//! state ends by itself when the key was cut short, so that it cannot swallow what comes after.

use super::mark::MARK;

/// How much of a line is looked at.
pub(super) const LINE_LOOK: usize = 256;
/// No key is longer than this, in bytes.
const LONGEST: usize = 64 * 1024;
/// So many lines in a row that are not key material, and the key is over.
const STRANGERS: u8 = 4;
/// What the lines between the marker and the key begin with. They are no strangers, and no secret.
const HEADERS: [&str; 6] = ["Proc-Type:", "DEK-Info:", "Version:", "Comment:", "Hash:", "Charset:"];
/// A last line that is shorter, and does not end as Base64 does, may be a word.
const SHORT_LINE: usize = 24;
/// A line of a key without markers has so many bytes of it, if other text stands beside.
const LONG_LINE: usize = 60;
/// A run of so many Base64 bytes is key material wherever it stands.
const CERTAIN: usize = 32;

/// A key whose first line has been seen, but not yet its last.
#[derive(Clone, Debug)]
pub(super) struct KeyBlock {
    /// The rule that knows this kind of key.
    pub(super) rule: usize,
    /// Bytes that the key may still take up.
    pub(super) left: usize,
    /// How far to the right the first line began: `grep` and `diff` put something before every line.
    column: usize,
    mark: String,
    /// The length of the first line of the body; a shorter one is the last.
    width: Option<usize>,
    last_seen: bool,
    strangers: u8,
    /// Whether it has no markers, so that the first line of anything else ends it.
    bare: bool,
}

/// What a line inside a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Key material of this many bytes.
    Body(usize),
    /// Nothing.
    Blank,
    /// Something else that was printed in between.
    Stranger,
    /// Past the end of the key.
    Beyond,
}

impl KeyBlock {
    pub(super) fn new(rule: usize, id: &str, column: usize) -> Self {
        Self {
            mark: format!("{MARK}{id}"),
            rule,
            left: LONGEST,
            column,
            width: None,
            last_seen: false,
            strangers: 0,
            bare: false,
        }
    }

    /// The same key without markers.
    pub(super) fn bare(self) -> Self {
        Self { bare: true, ..self }
    }

    /// Judges what follows the opening marker on its own line: key material if line breaks were escaped or folded away.
    pub(super) fn judge_remainder(&self, rest: &[u8]) -> Line {
        match longest_run(rest) {
            _ if self.bare => Line::Blank,
            _ if contains(rest, &self.mark) => Line::Beyond,
            run if run >= CERTAIN && !contains(rest, MARK) => Line::Body(run),
            _ => Line::Blank,
        }
    }

    /// Judges a whole line, given without its line break and cut to [`LINE_LOOK`] bytes. A mark of
    /// ours says that the whole key has been redacted before; any other, that this line has.
    pub(super) fn judge(&self, line: &[u8]) -> Line {
        match self.judge_any(line) {
            Line::Body(length) if self.bare && !self.is_all_key(line) && length < LONG_LINE => Line::Beyond,
            Line::Blank | Line::Stranger if self.bare => Line::Beyond,
            judged => judged,
        }
    }

    /// Whether the line holds nothing but key material, behind what stood before the first one. A short word is none.
    fn is_all_key(&self, line: &[u8]) -> bool {
        let shifted = bare_after_prefix(line.get(self.column..).unwrap_or_default());
        [bare(line.trim_ascii()), shifted]
            .iter()
            .any(|text| is_base64(text) && (text.len() >= SHORT_LINE || text.ends_with(b"=")))
    }

    fn judge_any(&self, line: &[u8]) -> Line {
        let line = line.trim_ascii();
        if !line.iter().any(u8::is_ascii_alphanumeric) && !line.starts_with(b"=") || self.is_header(line) {
            return Line::Blank;
        }
        if self.last_seen && !line.starts_with(b"=") || self.strangers >= STRANGERS {
            return Line::Beyond;
        }
        let run = longest_run(line);
        let bare = bare(line);
        let shifted = bare_after_prefix(line.get(self.column..).unwrap_or_default());
        match () {
            () if contains(line, &self.mark) => Line::Beyond,
            () if contains(line, MARK) => Line::Stranger,
            () if run >= CERTAIN => Line::Body(run),
            () if is_base64(bare) => Line::Body(bare.len()),
            () if is_hex_pairs(bare) => Line::Body(bare.len()),
            () if self.column > 0 && is_base64(shifted) => Line::Body(shifted.len()),
            () => Line::Stranger,
        }
    }

    fn is_header(&self, line: &[u8]) -> bool {
        self.width.is_none() && HEADERS.iter().any(|header| contains(line, header))
    }

    /// Takes note of a line that was judged and has now been dealt with.
    pub(super) fn note(&mut self, line: Line) {
        match line {
            Line::Body(length) => {
                let width = *self.width.get_or_insert(length);
                self.last_seen |= length < width;
                self.strangers = 0;
            }
            Line::Stranger => self.strangers += 1,
            Line::Blank | Line::Beyond => (),
        }
    }
}

fn contains(line: &[u8], text: &str) -> bool {
    line.windows(text.len()).any(|part| part == text.as_bytes())
}

fn is_base64_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
}

fn is_base64(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is_base64_byte(byte))
}

/// `00:c1:4e:`, as `openssl rsa -text` prints a number.
fn is_hex_pairs(bytes: &[u8]) -> bool {
    let pairs = bytes.strip_suffix(b":").unwrap_or(bytes).split(|byte| *byte == b':');
    bytes.contains(&b':')
        && pairs.clone().count() >= 2
        && pairs.into_iter().all(|pair| matches!(pair, [a, b] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit()))
}

fn longest_run(bytes: &[u8]) -> usize {
    bytes.split(|&byte| !is_base64_byte(byte)).map(<[u8]>::len).max().unwrap_or(0)
}

/// A line of a string literal or a quoted list, without what the quoting put around it.
fn bare(line: &[u8]) -> &[u8] {
    let mut bare = line;
    while let [head, rest @ ..] = bare
        && matches!(head, b'"' | b'\'' | b'`' | b'>' | b'|' | b' ' | b'\t')
    {
        bare = rest;
    }
    while let [rest @ .., tail] = bare
        && matches!(tail, b'"' | b'\'' | b'`' | b',' | b';' | b'\\' | b' ' | b'\t')
    {
        bare = rest;
    }
    bare.strip_suffix(b"\\n").unwrap_or(bare)
}

/// Line numbers grow by a digit now and then, so the prefix may be a little longer than on the first line.
fn bare_after_prefix(line: &[u8]) -> &[u8] {
    let blanks = line.iter().take_while(|byte| matches!(byte, b':' | b'|' | b'-' | b' ' | b'\t')).count();
    bare(line.get(blanks..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_judged_by_their_look() {
        let block = KeyBlock::new(0, "private-key", 0);
        for (line, body) in [
            ("MIIEowIBAAKCAQEA0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKL", true),
            ("    MIIEowIBAAKCAQEA0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKL\r", true),
            ("key.pem:2:MIIEowIBAAKCAQEA0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKL", true),
            ("  \"c2hvcnQgbGFzdA==\\n\" +", false),
            ("  \"c2hvcnQgbGFzdA==\\n\",", true),
            ("c2hvcnQgbGFzdA==", true),
            ("[2026-01-02] worker 3 started", false),
            ("Proc-Type: 4,ENCRYPTED", false),
            ("+DEK-Info: AES-128-CBC,0123456789ABCDEF0123456789ABCDEF", false),
            ("+", false),
            ("-----END RSA PRIVATE KEY-----", false),
        ] {
            assert_eq!(matches!(block.judge(line.as_bytes()), Line::Body(_)), body, "{line}");
        }
    }

    #[test]
    fn a_key_without_markers_ends_with_the_first_other_line() {
        let block = KeyBlock::new(0, "der-private-key", 0).bare();
        assert!(matches!(block.judge(&[b'A'; 64]), Line::Body(_)));
        assert!(matches!(block.judge(b"c2hvcnQgbGFzdA=="), Line::Body(_)));
        for line in ["src", "$ ls", "", "0123456789abcdef0123456789abcdef01234567 a.txt", "-----END PRIVATE KEY-----"] {
            assert_eq!(block.judge(line.as_bytes()), Line::Beyond, "{line}");
        }
    }

    #[test]
    fn a_cut_key_ends_after_its_short_line_or_among_strangers() {
        let mut block = KeyBlock::new(0, "private-key", 0);
        block.note(block.judge(&[b'A'; 64]));
        block.note(block.judge(b"AAAA"));
        assert_eq!(block.judge(b"src"), Line::Beyond);

        let block = KeyBlock::new(0, "private-key", 0);
        assert_eq!(block.judge(b"[redacted:private-key]"), Line::Beyond);
        assert_eq!(block.judge(b"[redacted:jwt] AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), Line::Stranger);

        let mut block = KeyBlock::new(0, "private-key", 0);
        for _ in 0..STRANGERS {
            assert_eq!(block.judge(b"two words"), Line::Stranger);
            block.note(Line::Stranger);
        }
        assert_eq!(block.judge(&[b'A'; 64]), Line::Beyond);
    }
}
