//! What the body of a private key looks like, line by line.
//!
//! A key can be longer than any window, and other output can be printed between its lines. So a key is a state: between
//! its first line and its last, each line is judged by its first bytes alone, lines of key material go, others stay. The
//! state ends by itself when the key was cut short, so that it cannot swallow what comes after.

use std::ops::Range;

use super::mark::MARK;
use super::word;

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
/// A last line is not shorter, unless it ends as Base64 does.
const LAST_LINE: usize = 6;
/// A line of a key without markers has so many bytes of it, if other text stands beside.
const LONG_LINE: usize = 60;
/// A run of so many Base64 bytes is key material wherever it stands, if it looks random.
const CERTAIN: usize = 32;
/// Random Base64 has fewer of these, unless it is a path.
const SLASHES: usize = 3;
/// The rule whose keys are numbers.
const NUMBERS: &str = "private-key-numbers";
/// How long the checksum of an OpenPGP key is.
const CHECKSUM: usize = 5;
/// No name is longer.
const LONGEST_NAME: usize = 100;
/// A line of letters alone that is shorter may be a word.
const WORD: usize = 32;

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
    /// What stood before the first line, as far as a line is looked at.
    before: Vec<u8>,
    /// The same, in outline.
    prefix: Vec<u8>,
    /// The length of the first line of the body; a shorter one is the last.
    width: Option<usize>,
    last_seen: bool,
    strangers: u8,
    /// Whether it has no markers, so that the first line of anything else ends it.
    bare: bool,
    /// Whether its lines are numbers, of which each byte is written by itself. Its label is a word that source has, too.
    numbers: bool,
}

/// What a line inside a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyLine {
    /// Key material of this many bytes.
    Body(usize),
    /// Key material between quotes: so many bytes of it, which begin behind the first `lead` of the line.
    Quoted {
        /// How much of the line stays before the key.
        lead: usize,
        /// How many bytes of key follow, as far as the line was looked at.
        length: usize,
    },
    /// Nothing.
    Blank,
    /// Something else that was printed in between.
    Stranger,
    /// Past the end of the key.
    Beyond,
}

impl KeyBlock {
    /// `before` is what stands before the marker on its line.
    pub(super) fn new(rule: usize, id: &str, before: &[u8]) -> Self {
        Self {
            mark: format!("{MARK}{id}"),
            rule,
            left: LONGEST,
            column: before.len(),
            before: before.get(..before.len().min(LINE_LOOK)).unwrap_or_default().to_vec(),
            prefix: outline(before),
            width: None,
            last_seen: false,
            strangers: 0,
            bare: false,
            numbers: id == NUMBERS,
        }
    }

    /// The same key without markers.
    pub(super) fn bare(self) -> Self {
        Self { bare: true, ..self }
    }

    /// Whether it has no markers.
    pub(super) fn is_bare(&self) -> bool {
        self.bare
    }

    /// Judges what follows the opening marker, or the end of a string of the key, on its own line: key material if line breaks
    /// were escaped or folded away, or if each line is a string of a list.
    pub(super) fn judge_remainder(&self, rest: &[u8]) -> KeyLine {
        if let Some((lead, length)) = next_string(rest) {
            return KeyLine::Quoted { lead, length };
        }
        match longest_random_run(rest) {
            _ if self.bare || self.numbers || rest.first().is_some_and(|byte| is_quote(*byte)) => KeyLine::Blank,
            _ if contains(rest, &self.mark) => KeyLine::Beyond,
            run if run >= CERTAIN && !contains(rest, MARK) => KeyLine::Body(run),
            _ => KeyLine::Blank,
        }
    }

    /// Judges a whole line, given without its line break and cut to [`LINE_LOOK`] bytes. A mark of
    /// ours says that the whole key has been redacted before; any other, that this line has.
    pub(super) fn judge(&self, line: &[u8]) -> KeyLine {
        let judged = match self.judge_any(line) {
            KeyLine::Body(length) if self.bare && !self.is_all_key(line) && length < LONG_LINE => KeyLine::Beyond,
            KeyLine::Blank | KeyLine::Stranger if self.bare && self.is_dump() && is_dump_line(line) => {
                KeyLine::Body(line.len())
            }
            KeyLine::Blank | KeyLine::Stranger if self.bare => KeyLine::Beyond,
            judged => judged,
        };
        match judged {
            KeyLine::Body(_) => string_in(line).map_or(judged, |(lead, length)| KeyLine::Quoted { lead, length }),
            _ => judged,
        }
    }

    /// Whether the line holds nothing but key material, behind what stood before the first one. A short word is none.
    fn is_all_key(&self, line: &[u8]) -> bool {
        let shifted = bare_after_prefix(line.get(self.column..).unwrap_or_default());
        let is_key =
            |text: &[u8]| is_base64(text) && (text.len() >= SHORT_LINE || text.ends_with(b"=") || is_last(text));
        // As it was printed before the first line: a time, a number, a field of a log.
        let behind = behind_prefix(line, &self.prefix).filter(|_| !self.prefix.is_empty()).map(bare);
        let run = behind.and_then(|text| {
            let run = text.split(|byte| !is_base64_byte(*byte)).next()?;
            (text.get(run.len()) != Some(&b' ')).then_some(run)
        });
        [Some(bare(line.trim_ascii())), Some(shifted), run].into_iter().flatten().any(is_key)
    }

    /// Whether the first line was one of a dump: behind the number of its first byte.
    fn is_dump(&self) -> bool {
        matches!(self.prefix.as_slice(), [] | [b' '] | [b'0', b' '] | [b'0', b':', b' '])
    }

    fn judge_any(&self, line: &[u8]) -> KeyLine {
        let behind = line.get(self.shared(line)..).unwrap_or_default();
        let line = line.trim_ascii();
        if !line.iter().any(u8::is_ascii_alphanumeric) && !line.starts_with(b"=") || self.is_header(line) {
            return KeyLine::Blank;
        }
        if self.last_seen && !line.starts_with(b"=") || self.strangers >= STRANGERS {
            return KeyLine::Beyond;
        }
        let run = longest_random_run(behind);
        let bare = bare(line);
        let shifted = bare_after_prefix(line.get(self.column..).unwrap_or_default());
        let is_key = |text: &[u8]| is_base64(text) && !self.is_word(text);
        match () {
            () if contains(line, &self.mark) => KeyLine::Beyond,
            () if contains(line, MARK) => KeyLine::Stranger,
            () if self.numbers && is_hex_pairs(bare) => KeyLine::Body(bare.len()),
            () if self.numbers && is_hex_pairs(last_word(bare)) => KeyLine::Body(bare.len()),
            () if self.numbers => KeyLine::Stranger,
            () if run >= CERTAIN => KeyLine::Body(run),
            () if is_key(bare) => KeyLine::Body(bare.len()),
            () if is_hex_pairs(bare) => KeyLine::Body(bare.len()),
            () if self.column > 0 && (is_key(shifted) && self.may_be_cut(shifted) || is_hex_pairs(shifted)) => {
                KeyLine::Body(shifted.len())
            }
            () => KeyLine::Stranger,
        }
    }

    /// How much of the line is what stood before the first one: a path, up to its end.
    fn shared(&self, line: &[u8]) -> usize {
        let shared = self.before.iter().zip(line).take_while(|(before, here)| before == here).count();
        let shared = line.get(..shared).unwrap_or_default();
        shared.iter().rposition(|&byte| !is_base64_byte(byte)).map_or(0, |last| last + 1)
    }

    /// Whether what stands as far to the right as the key can be key: the first line is no short one, of which more stands to the left.
    fn may_be_cut(&self, text: &[u8]) -> bool {
        let is_long = text.len() >= SHORT_LINE && text.iter().any(u8::is_ascii_digit);
        self.width.is_some() || is_long || text.ends_with(b"=")
    }

    /// Whether a line is rather a word, a name or a path than the first lines of a key, or a full one: it has neither digits nor a
    /// mixture of letters. The last line of a key may look so.
    fn is_word(&self, text: &[u8]) -> bool {
        let is_full = self.width.is_none_or(|width| text.len() >= width.min(WORD));
        let is_lower = text.iter().all(|byte| byte.is_ascii_lowercase() || *byte == b'/');
        let is_name = text.len() < WORD && text.iter().all(u8::is_ascii_alphabetic) && word::is_plain_word(text);
        let is_path = self.width.is_none()
            && text.contains(&b'/')
            && text.iter().all(|byte| byte.is_ascii_alphabetic() || *byte == b'/');
        is_full && (is_lower || is_name || is_path)
    }

    fn is_header(&self, line: &[u8]) -> bool {
        self.width.is_none() && HEADERS.iter().any(|header| contains(line, header))
    }

    /// Takes note of a line that was judged and has now been dealt with.
    pub(super) fn note(&mut self, line: KeyLine) {
        match line {
            KeyLine::Body(length) | KeyLine::Quoted { length, .. } => {
                let width = *self.width.get_or_insert(length);
                self.last_seen |= length < width;
                self.strangers = 0;
            }
            KeyLine::Stranger => self.strangers += 1,
            KeyLine::Blank | KeyLine::Beyond => (),
        }
    }
}

/// What stands behind the last blank, prefix or quote of a line.
fn last_word(line: &[u8]) -> &[u8] {
    let length = line.iter().rev().take_while(|byte| byte.is_ascii_hexdigit() || **byte == b':').count();
    let word = line.get(line.len() - length..).unwrap_or_default();
    // A number of a line before it: `key.txt:12:    00:c1:`
    word.get(word.iter().take_while(|byte| **byte == b':').count()..).unwrap_or_default()
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

/// The length of the longest run of Base64 that is long and random enough to be key material; 0 if there is none.
fn longest_random_run(bytes: &[u8]) -> usize {
    let runs = bytes.split(|&byte| !is_base64_byte(byte)).filter(|run| run.len() >= CERTAIN && is_random(run));
    runs.map(<[u8]>::len).max().unwrap_or(0)
}

/// Whether a long run of Base64 or hexadecimal is neither a path nor a name.
fn is_random(run: &[u8]) -> bool {
    let count = |is_part: fn(&u8) -> bool| run.iter().filter(|byte| is_part(byte)).count();
    let digits = count(u8::is_ascii_digit);
    let is_hex = run.iter().all(u8::is_ascii_hexdigit);
    let changes = run.windows(2).filter(|pair| matches!(pair, [a, b] if class_of(*a) != class_of(*b))).count();
    // Of two neighbours in random Base64, two in three are of different classes; in a name, two in five.
    let is_mixed = changes * 100 >= run.len() * 45;
    let is_dense = digits * 8 >= run.len() && count(|byte| *byte == b'/') < SLASHES;
    let has_cases = count(u8::is_ascii_uppercase) > 0 && count(u8::is_ascii_lowercase) > 0;
    // No path and no name is so long.
    let is_long = run.len() >= LONGEST_NAME && count(|byte| *byte == b'/') * 12 < run.len();
    is_long || digits > 0 && (is_hex || has_cases && (is_mixed || is_dense))
}

fn class_of(byte: u8) -> u8 {
    match byte {
        b'a'..=b'z' => b'a',
        b'A'..=b'Z' => b'A',
        b'0'..=b'9' => b'0',
        _ => b'/',
    }
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

/// Whether a short line can be the last one of a key, and is neither a word nor a name.
fn is_last(text: &[u8]) -> bool {
    let has = |is_part: fn(&u8) -> bool| text.iter().any(is_part);
    let is_hex = text.iter().all(u8::is_ascii_hexdigit);
    let is_mixed = has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase) || is_hex;
    text.len() >= LAST_LINE && text.len().is_multiple_of(2) && has(u8::is_ascii_digit) && is_mixed
}

/// A string of the line that is key material: how much stands before it, its quote included, and how long it is.
fn string_in(line: &[u8]) -> Option<(usize, usize)> {
    let mut lead = 0;
    let mut longest: Option<(usize, usize)> = None;
    for run in line.split(|&byte| !is_base64_byte(byte)) {
        if longest.is_none_or(|(_, length)| run.len() > length) {
            longest = Some((lead, run.len()));
        }
        lead += run.len() + 1;
    }
    longest.filter(|(lead, _)| lead.checked_sub(1).and_then(|at| line.get(at)).is_some_and(|byte| is_quote(*byte)))
}

/// The next string of a list, behind the end of the last one: `", "`. Key material if it is long, or the last one.
fn next_string(rest: &[u8]) -> Option<(usize, usize)> {
    let skip = |at: usize, is_part: fn(u8) -> bool| {
        at + rest.get(at..).unwrap_or_default().iter().take_while(|byte| is_part(**byte)).count()
    };
    let quoted = |at: usize| {
        let quote = skip(at, |byte| byte == b'\\');
        rest.get(quote).filter(|byte| is_quote(**byte)).map(|_| quote + 1)
    };
    let comma = skip(quoted(0)?, |byte| byte == b' ');
    rest.get(comma).filter(|byte| **byte == b',')?;
    let lead = quoted(skip(comma + 1, |byte| byte == b' '))?;
    let end = skip(lead, is_base64_byte);
    let string = rest.get(lead..end)?;
    let is_last = || rest.get(end..).is_some_and(next_marker);
    (string.len() >= SHORT_LINE || string.ends_with(b"=") || !string.is_empty() && is_last())
        .then_some((lead, end - lead))
}

/// `", "-----END`
fn next_marker(behind: &[u8]) -> bool {
    let text = behind.iter().skip_while(|byte| b"\\\"', ".contains(byte));
    text.take(2).all(|byte| *byte == b'-') && behind.len() > 2
}

fn is_quote(byte: u8) -> bool {
    matches!(byte, b'"' | b'\'')
}

/// A text with its numbers and blanks left out, to be compared with that of another line.
fn outline(text: &[u8]) -> Vec<u8> {
    let mut outline = Vec::new();
    for kind in text.iter().map(|&byte| kind_of(byte)) {
        if outline.last() != Some(&kind) || kind != b'0' && kind != b' ' {
            outline.push(kind);
        }
    }
    outline
}

fn kind_of(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => b'0',
        b' ' | b'\t' => b' ',
        other => other,
    }
}

/// What stands behind the same prefix with other numbers in it.
fn behind_prefix<'a>(line: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let mut rest = line;
    for &wanted in prefix {
        let (first, tail) = rest.split_first()?;
        if kind_of(*first) != wanted {
            return None;
        }
        rest = tail;
        while let [next, tail @ ..] = rest
            && (wanted == b'0' || wanted == b' ')
            && kind_of(*next) == wanted
        {
            rest = tail;
        }
    }
    Some(rest)
}

/// `00000010: 4b45 592d …` and `00000010  4b 45 59 2d …`: a line of a dump.
fn is_dump_line(line: &[u8]) -> bool {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let mut fields = line.get(digits..).unwrap_or_default().split(|byte| matches!(byte, b' ' | b':'));
    let is_pairs = |field: &&[u8]| matches!(field.len(), 2 | 4) && field.iter().all(u8::is_ascii_hexdigit);
    is_all_pairs(line)
        || (7..=8).contains(&digits)
            && fields.by_ref().find(|field| !field.is_empty()).is_some_and(|field| is_pairs(&field))
}

/// `4b 45 59 2d`: a line of a dump without a place before it.
fn is_all_pairs(line: &[u8]) -> bool {
    let fields = || line.split(|byte| *byte == b' ').filter(|field| !field.is_empty());
    fields().count() > 0 && fields().all(|field| field.len() == 2 && field.iter().all(u8::is_ascii_hexdigit))
}

/// The lines of a key that end directly before its last marker, which begins at `marker`: the ranges of what is key in them, the
/// last one first. A key whose beginning was not printed is known by its end.
pub(super) fn lines_before(text: &[u8], marker: usize) -> Vec<Range<usize>> {
    let start_of = |at: usize| {
        let before = text.get(..at).unwrap_or_default();
        before.iter().rposition(|byte| *byte == b'\n').map_or(0, |line_break| line_break + 1)
    };
    let (mut from, mut found) = (start_of(marker), Vec::new());
    let prefix = outline(text.get(from..marker).unwrap_or_default());
    let mut end = marker;
    while let Some(range) = string_before(text, from, end) {
        end = range.start;
        found.push(range);
    }
    if !found.is_empty() {
        return found;
    }
    let (mut width, mut sums) = (None, 0);
    while let Some(line_break) = from.checked_sub(1) {
        from = start_of(line_break);
        let line = text.get(from..line_break).unwrap_or_default();
        let Some(rest) = behind_prefix(line, &prefix) else { break };
        let length = rest.iter().take_while(|byte| is_base64_byte(**byte)).count();
        let behind = rest.get(length..).unwrap_or_default();
        let is_full = length >= CERTAIN && width.is_none_or(|width| length == width);
        let is_last = found.len() == sums && length > 0;
        if !(is_full || is_last) || behind.iter().take(4).any(u8::is_ascii_alphanumeric) && !behind.starts_with(b"\\") {
            break;
        }
        if is_full && !is_last {
            width = Some(length);
        }
        // The checksum of an OpenPGP key stands behind its last line.
        sums += usize::from(found.is_empty() && length == CHECKSUM && rest.starts_with(b"="));
        let start = line_break - rest.len();
        found.push(start..start + length);
    }
    // One short word is none.
    match found.as_slice() {
        [only] if only.len() < CERTAIN => Vec::new(),
        _ => found,
    }
}

/// What of a key stands on the line of its last marker, directly before `end`.
fn string_before(text: &[u8], from: usize, end: usize) -> Option<Range<usize>> {
    let before = text.get(from..end)?;
    let between = before.iter().rev().take_while(|byte| b"\"', \\".contains(byte)).count();
    let core = before.get(..before.len() - between)?;
    let length = core.iter().rev().take_while(|&&byte| is_base64_byte(byte) || byte == b'\\').count();
    let start = from + core.len() - length;
    // The letter of an escape before the first line is left out.
    let run = text.get(start..start + length)?;
    (length >= SHORT_LINE || run.ends_with(b"=")).then_some(start..start + length)
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
        let block = KeyBlock::new(0, "private-key", b"");
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
            let judged = block.judge(line.as_bytes());
            assert_eq!(matches!(judged, KeyLine::Body(_) | KeyLine::Quoted { .. }), body, "{line}");
        }
    }

    #[test]
    fn lines_of_source_are_strangers() {
        let path = "packages/services/identities/registrations/errors.py";
        for before in [format!("{path}:1:HEADER = '"), format!("{path}-1-"), String::new()] {
            let block = KeyBlock::new(0, "private-key", before.as_bytes());
            for line in [
                "    return 1",
                "def parse(text):",
                "pass",
                "value/is/some/long/path/with/many/parts/of/name",
                "use Services/Identity/RegistrationProvider/Errors/Names",
                "TestDecryptPKCS1v15SessionKeyOfServers(t)",
            ] {
                let between = if before.is_empty() { "" } else { "2" };
                let line = format!("{}{between}:{line}", before.split('1').next().unwrap_or_default());
                let line = line.trim_start_matches(':');
                assert_eq!(block.judge(line.as_bytes()), KeyLine::Stranger, "{line}");
            }
            let key = "MIIEowIBAAKCAQEA2k1pZ8mQvX0tYcR7uJ4wLhB6sNfE3gDxVaKoTq5iWzPyHlMb";
            let line = format!("{path}:2:{key}");
            assert!(matches!(block.judge(line.as_bytes()), KeyLine::Body(_)), "{line}");
        }
    }

    #[test]
    fn a_key_without_markers_ends_with_the_first_other_line() {
        let block = KeyBlock::new(0, "der-private-key", b"").bare();
        assert!(matches!(block.judge(&[b'A'; 64]), KeyLine::Body(_)));
        assert!(matches!(block.judge(b"c2hvcnQgbGFzdA=="), KeyLine::Body(_)));
        for line in ["src", "$ ls", "", "0123456789abcdef0123456789abcdef01234567 a.txt", "-----END PRIVATE KEY-----"] {
            assert_eq!(block.judge(line.as_bytes()), KeyLine::Beyond, "{line}");
        }
    }

    #[test]
    fn a_cut_key_ends_after_its_short_line_or_among_strangers() {
        let mut block = KeyBlock::new(0, "private-key", b"");
        block.note(block.judge(&[b'A'; 64]));
        block.note(block.judge(b"AAAA"));
        assert_eq!(block.judge(b"src"), KeyLine::Beyond);

        let block = KeyBlock::new(0, "private-key", b"");
        assert_eq!(block.judge(b"[redacted:private-key]"), KeyLine::Beyond);
        assert_eq!(block.judge(b"[redacted:jwt] AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), KeyLine::Stranger);

        let mut block = KeyBlock::new(0, "private-key", b"");
        for _ in 0..STRANGERS {
            assert_eq!(block.judge(b"two words"), KeyLine::Stranger);
            block.note(KeyLine::Stranger);
        }
        assert_eq!(block.judge(&[b'A'; 64]), KeyLine::Beyond);
    }

    #[test]
    fn lines_before_a_last_marker_are_key() {
        let (full, last) = ("A".repeat(64), "c2hvcnQgbGFzdA==");
        for (text, lines) in [
            (format!("$ tail key\n{full}\n{full}\n{last}\n-----END"), 3),
            (format!("k:1:{full}\nk:2:{last}\nk:3:-----END"), 2),
            (format!("{full}\n{full}\n{last}\n=Ab3d\n-----END"), 4),
            (format!("+{full}\n+{last}\n+-----END"), 2),
            (format!("[\"{full}\", \"{full}\", \"-----END"), 2),
            (format!("{full}\\n{last}\\n-----END"), 1),
            (format!("words\n{full} and more\n-----END"), 0),
            ("last\n-----END".to_owned(), 0),
        ] {
            let marker = text.find("-----END").unwrap_or_default();
            assert_eq!(lines_before(text.as_bytes(), marker).len(), lines, "{text}");
        }
    }

    #[test]
    fn strings_of_a_list_are_judged_one_by_one() {
        let block = KeyBlock::new(0, "private-key", b"");
        let full = "A".repeat(64);
        let quoted = |lead, length| KeyLine::Quoted { lead, length };
        assert_eq!(block.judge(format!("  \"{full}\",").as_bytes()), quoted(3, 64));
        assert_eq!(block.judge_remainder(format!("\", \"{full}\"").as_bytes()), quoted(4, 64));
        assert_eq!(block.judge_remainder(b"\\\",\\\"QUJD\\\",\\\"-----END"), quoted(5, 4));
        assert_eq!(block.judge_remainder(b"\", \"name\": 1"), KeyLine::Blank);
    }
}
