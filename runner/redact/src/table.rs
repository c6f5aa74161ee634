//! What the columns of a table and the fields of a section hold: decides which cells are secrets by what stands above them.
//!
//! A cell has no name beside it. Its column has one, lines before: `username,password`. So a table is a state, as a key is: its
//! first line says which columns are secret, and each line after it is judged by its own bytes until one is no row.

use std::ops::Range;

use super::word;

/// How much of a line is looked at. A longer one is no row.
pub(super) const ROW_LOOK: usize = 1000;
/// The longest title of a column.
const LONGEST_TITLE: usize = 40;
/// Shorter cells are no secrets.
const SHORTEST: usize = 6;
/// Longer cells are texts.
const LONGEST: usize = 900;
/// A title that ends in one of these stands above secrets.
const TITLES: [&str; 22] = [
    "password",
    "passwd",
    "passwort",
    "pwd",
    "passphrase",
    "passcode",
    "secret",
    "token",
    "apikey",
    "api key",
    "access key",
    "secret key",
    "private key",
    "auth key",
    "signing key",
    "encryption key",
    "credential",
    "credentials",
    "authentication string",
    "totp",
    "api secret",
    "app key",
];
/// Names of what is shown beside a secret, for everybody to see.
const PLAIN_NAMES: [&str; 16] = [
    "user",
    "username",
    "login",
    "host",
    "hostname",
    "port",
    "url",
    "endpoint",
    "region",
    "database",
    "dbname",
    "email",
    "server",
    "version",
    "name",
    "namespace",
];

/// A table or a section whose first line was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SecretTable {
    /// Fields with something between them.
    Separated {
        /// What stands between two fields.
        separator: Separator,
        /// How many fields a row has.
        fields: usize,
        /// Which of them are secret.
        secret: Vec<usize>,
    },
    /// Columns that begin so many bytes from the left.
    Aligned {
        /// Where the secret ones begin.
        secret: Vec<usize>,
    },
    /// Names and values, until a blank line: what Vault keeps.
    Pairs,
    /// Names and values, further to the right than this: `data` of a Kubernetes secret, in Base64.
    Encoded(usize),
    /// The same, as they are: `stringData`.
    Plain(usize),
}

/// What stands between the fields of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Separator {
    /// One byte.
    Byte(u8),
    /// `│`
    Bar,
}

/// What a line below the first one is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Row {
    /// A row, and the ranges of its secrets.
    Cells(Vec<Range<usize>>),
    /// The table is over.
    Beyond,
}

const BAR: &[u8] = "│".as_bytes();

impl SecretTable {
    /// The table that begins with this line.
    pub(super) fn begun_by(line: &[u8]) -> Option<Self> {
        let indent = line.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'-')).count();
        match line.trim_ascii() {
            b"data:" | b"\"data\": {" => return Some(Self::Encoded(indent)),
            b"stringData:" | b"\"stringData\": {" => return Some(Self::Plain(indent)),
            // `====== Data ======`
            text if text.starts_with(b"==") => {
                let title = text.trim_ascii().split(|byte| matches!(byte, b'=' | b' ')).find(|word| !word.is_empty());
                return (title == Some(b"Data")).then_some(Self::Pairs);
            }
            _ => (),
        }
        match separator_of(line) {
            Some(separator) => {
                let fields = fields(line, separator)?;
                let begins_blank = |range: &Range<usize>| line.get(range.start).is_none_or(|byte| *byte == b' ');
                // A list in source: `name, password,`
                if matches!(separator, Separator::Byte(b',' | b';')) && fields.iter().any(begins_blank) {
                    return None;
                }
                let titles: Option<Vec<String>> = fields.iter().map(|range| title(line.get(range.clone())?)).collect();
                let secret = secret_columns(&titles?);
                (!secret.is_empty()).then_some(Self::Separated { separator, fields: fields.len(), secret })
            }
            None => {
                let columns = columns(line);
                let titles: Option<Vec<String>> = columns.iter().map(|range| title(line.get(range.clone())?)).collect();
                let secret = secret_columns(&titles?);
                let starts = columns.iter().map(|range| range.start);
                let secret: Vec<usize> =
                    starts.enumerate().filter(|(at, _)| secret.contains(at)).map(|(_, at)| at).collect();
                (!secret.is_empty()).then_some(Self::Aligned { secret })
            }
        }
    }

    /// Judges a line below the first one, given without its line break.
    pub(super) fn judge(&self, line: &[u8]) -> Row {
        let is_rule = |byte: &u8| b"-+=|: \t\r".contains(byte) || *byte >= 0x80;
        let is_blank = line.trim_ascii().is_empty();
        let cells = match self {
            _ if line.len() >= ROW_LOOK => return Row::Beyond,
            Self::Encoded(indent) | Self::Plain(indent) => return self.field(line, *indent),
            _ if is_blank => return Row::Beyond,
            _ if line.iter().all(is_rule) => return Row::Cells(Vec::new()),
            Self::Pairs => {
                pair(line).filter(|(name, _)| !is_plain_name(name)).into_iter().map(|(_, value)| value).collect()
            }
            Self::Aligned { secret } => {
                let starts = |at: &&usize| {
                    line.get(**at).is_some_and(|byte| *byte != b' ')
                        && at.checked_sub(1).is_none_or(|before| matches!(line.get(before), Some(b' ' | b'\t')))
                };
                if !secret.iter().all(|at| starts(&at)) {
                    return Row::Beyond;
                }
                secret.iter().map(|&at| at..at + length_of_cell(line.get(at..).unwrap_or_default())).collect()
            }
            Self::Separated { separator, fields: count, secret } => match fields(line, *separator) {
                Some(fields) if fields.len() == *count => {
                    secret.iter().filter_map(|&at| fields.get(at).cloned()).collect::<Vec<_>>()
                }
                Some(_) | None => return Row::Beyond,
            },
        };
        let cells = cells.into_iter().map(|range| bare(line, range));
        Row::Cells(cells.filter(|range| line.get(range.clone()).is_some_and(is_secret)).collect())
    }

    /// Whether a line that is not complete may hold a secret as far as it goes, or be the beginning of a row and no prompt.
    pub(super) fn may_hold(&self, line: &[u8]) -> bool {
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b" \t|_-.\"'`@,;".contains(byte) || *byte >= 0x80;
        if !line.is_empty() && line.iter().all(is_plain) {
            return true;
        }
        match self {
            Self::Separated { separator, secret, .. } => {
                let begun = match separator {
                    Separator::Byte(between) => line.iter().filter(|byte| *byte == between).count(),
                    Separator::Bar => line.windows(BAR.len()).filter(|part| *part == BAR).count(),
                };
                !line.is_empty() && secret.iter().any(|at| *at <= begun)
            }
            Self::Aligned { secret } => secret.iter().any(|at| *at < line.len()),
            Self::Pairs | Self::Encoded(_) | Self::Plain(_) => line.iter().any(|byte| matches!(byte, b' ' | b':')),
        }
    }

    /// Judges a line of a section that ends where a line begins as far to the left as its own name.
    fn field(&self, line: &[u8], indent: usize) -> Row {
        let left = line.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        let rest = line.get(left..).unwrap_or_default();
        if left <= indent || rest.is_empty() || rest.starts_with(b"}") {
            return Row::Beyond;
        }
        let Some(colon) = rest.iter().position(|byte| *byte == b':') else {
            // A line of a value that begins on a line of its own: `config.yaml: |`
            let value = bare(line, left..line.len());
            let is_part = matches!(self, Self::Encoded(_)) && line.get(value.clone()).is_some_and(is_encoded_part);
            return Row::Cells(if is_part { vec![value] } else { Vec::new() });
        };
        let name = rest.get(..colon).unwrap_or_default();
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.\"'".contains(byte);
        if !name.iter().all(is_name) {
            return Row::Cells(Vec::new());
        }
        let value = bare(line, left + colon + 1..line.len());
        let text = line.get(value.clone()).unwrap_or_default();
        let is_secret = match self {
            Self::Encoded(_) => is_encoded(text),
            _ => is_secret(text),
        } && !is_plain_name(name);
        Row::Cells(if is_secret { vec![value] } else { Vec::new() })
    }
}

/// The secrets among the values of an SQL statement that names the columns: `INSERT INTO users (name, password) VALUES ('me', '…')`.
pub(super) fn inserted(line: &[u8]) -> Vec<Range<usize>> {
    let lower = line.to_ascii_lowercase();
    let find = |text: &[u8], from: usize| {
        lower.get(from..)?.windows(text.len()).position(|part| part == text).map(|at| from + at)
    };
    let found = || {
        let into = find(b"insert into ", 0)?;
        let open = find(b"(", into)?;
        let close = find(b")", open)?;
        let values = find(b"values", close)?;
        let titles: Option<Vec<String>> = line.get(open + 1..close)?.split(|byte| *byte == b',').map(title).collect();
        let secret = secret_columns(&titles?);
        let mut cells = Vec::new();
        let mut at = values;
        while let Some(begin) = find(b"(", at) {
            let (tuple, end) = tuple(line, begin + 1);
            cells.extend(secret.iter().filter_map(|&column| tuple.get(column).cloned()));
            at = end;
        }
        Some(cells)
    };
    let cells = found().unwrap_or_default().into_iter().map(|range| bare(line, range));
    cells.filter(|range| line.get(range.clone()).is_some_and(is_secret)).collect()
}

/// The values of a row in parentheses, and where it ends.
fn tuple(line: &[u8], begin: usize) -> (Vec<Range<usize>>, usize) {
    let (mut values, mut start, mut quote) = (Vec::new(), begin, None);
    for (at, &byte) in line.iter().enumerate().skip(begin) {
        match (byte, quote) {
            (b'\'' | b'"', None) => quote = Some(byte),
            (_, Some(open)) if byte == open => quote = None,
            (b',' | b')', None) => {
                values.push(start..at);
                start = at + 1;
                if byte == b')' {
                    return (values, at + 1);
                }
            }
            _ => (),
        }
    }
    (values, line.len())
}

/// What stands between the fields of this line, if anything but blanks does.
fn separator_of(line: &[u8]) -> Option<Separator> {
    if line.windows(BAR.len()).any(|part| part == BAR) {
        return Some(Separator::Bar);
    }
    [b'|', b'\t', b';', b','].into_iter().find(|byte| line.contains(byte)).map(Separator::Byte)
}

/// The fields of a row; those of a table of values with commas may be in quotes, which then hold commas.
fn fields(line: &[u8], separator: Separator) -> Option<Vec<Range<usize>>> {
    let (mut fields, mut start, mut quoted, mut at) = (Vec::new(), 0, false, 0);
    while let Some(&byte) = line.get(at) {
        let length = match separator {
            Separator::Bar if line.get(at..)?.starts_with(BAR) => BAR.len(),
            Separator::Byte(between) if byte == between && !quoted => 1,
            _ => 0,
        };
        if byte == b'"' && matches!(separator, Separator::Byte(b',' | b';')) {
            quoted = !quoted;
        }
        if length > 0 {
            fields.push(start..at);
            start = at + length;
        }
        at += length.max(1);
    }
    fields.push(start..line.len());
    Some(fields)
}

/// The columns of a line whose titles have two blanks between them.
fn columns(line: &[u8]) -> Vec<Range<usize>> {
    let mut columns: Vec<Range<usize>> = Vec::new();
    let mut at = 0;
    while let Some(rest) = line.get(at..).filter(|rest| !rest.is_empty()) {
        let blanks = rest.iter().take_while(|byte| **byte == b' ').count();
        let length = length_of_cell(rest.get(blanks..).unwrap_or_default());
        if length > 0 {
            columns.push(at + blanks..at + blanks + length);
        }
        at += blanks + length.max(1);
    }
    columns
}

/// How far a cell goes: up to two blanks.
fn length_of_cell(rest: &[u8]) -> usize {
    rest.windows(2).position(|part| part == b"  ").unwrap_or(rest.len())
}

/// A title in small letters with blanks between its words; none if it is something else. Empty, where a row begins with a line.
fn title(cell: &[u8]) -> Option<String> {
    let cell = cell.trim_ascii();
    // What `grep` or `cat -n` has put before the first one.
    let cell = cell.rsplit(|byte| matches!(byte, b':' | b'\t')).next().unwrap_or_default();
    let text = std::str::from_utf8(cell).ok()?.trim_matches(['"', '\'', '`', '*', '\r', '\u{feff}']);
    let is_title = |c: char| c.is_alphabetic() || " _-.()/#".contains(c);
    if text.chars().count() > LONGEST_TITLE || !text.chars().all(|c| is_title(c) || c.is_ascii_digit()) {
        return None;
    }
    let mut words = String::new();
    for c in text.chars() {
        let last = words.chars().last().unwrap_or(' ');
        match c {
            '_' | '-' | '.' => words.push(' '),
            _ if c.is_uppercase() && text.contains(last) && last.is_lowercase() => {
                words.push(' ');
                words.extend(c.to_lowercase());
            }
            _ => words.extend(c.to_lowercase()),
        }
    }
    Some(words)
}

/// Which of the titles stand above secrets. A table has more than one column.
fn secret_columns(titles: &[String]) -> Vec<usize> {
    let is_telling = |title: &&String| {
        let ends = TITLES
            .iter()
            .any(|end| title.strip_suffix(end).is_some_and(|before| before.is_empty() || before.ends_with(' ')));
        ends && title.split(' ').count() <= 4
    };
    let is_keys = titles.iter().any(|title| title.replace(' ', "") == "keyname");
    let is_secret = |title: &&String| is_telling(title) || is_keys && title.as_str() == "value";
    match titles.iter().filter(|title| !title.is_empty()).count() {
        0 | 1 => Vec::new(),
        _ => titles.iter().enumerate().filter(|(_, title)| is_secret(title)).map(|(at, _)| at).collect(),
    }
}

/// A name and, behind two blanks or more, its value.
fn pair(line: &[u8]) -> Option<(&[u8], Range<usize>)> {
    let length = length_of_cell(line);
    let behind = line.get(length..)?;
    let blanks = behind.iter().take_while(|byte| **byte == b' ').count();
    (length > 0 && blanks > 0).then_some((line.get(..length)?, length + blanks..line.len()))
}

fn is_plain_name(name: &[u8]) -> bool {
    let bare = name.iter().filter(|byte| byte.is_ascii_alphanumeric());
    let name: Vec<u8> = bare.map(u8::to_ascii_lowercase).collect();
    PLAIN_NAMES.iter().any(|plain| plain.as_bytes() == name)
}

/// The range without blanks and quotes around what stands in it.
fn bare(line: &[u8], range: Range<usize>) -> Range<usize> {
    let is_dress = |byte: &u8| b" \t\r\"'`,".contains(byte);
    let text = line.get(range.clone()).unwrap_or_default();
    let before = text.iter().take_while(|byte| is_dress(byte)).count();
    let behind = text.iter().skip(before).rev().take_while(|byte| is_dress(byte)).count();
    range.start + before..range.end - behind
}

/// Whether what stands in a secret's column can be one: neither a text nor a date, nor what stands for a value.
fn is_secret(cell: &[u8]) -> bool {
    let has = |is_part: fn(&u8) -> bool| cell.iter().any(is_part);
    let is_made_of = |parts: &[u8]| cell.iter().all(|byte| byte.is_ascii_digit() || parts.contains(byte));
    let is_text = |byte: &u8| byte.is_ascii_whitespace() || b"()[]{}<>\"|,".contains(byte) || *byte >= 0x80;
    let is_place = cell.starts_with(b"/") || cell.starts_with(b"./") || cell.starts_with(b"~/");
    let is_address = cell.windows(3).any(|part| part == b"://") || cell.starts_with(b"arn:");
    (SHORTEST..=LONGEST).contains(&cell.len())
        && has(u8::is_ascii_alphabetic)
        && (has(|byte| byte.is_ascii_digit() || b"!#$%&*+=?@^~".contains(byte)) || is_word_chain(cell))
        && !cell.iter().any(is_text)
        && !is_made_of(b"-:.TZ+/ smhd")
        && !is_place
        && !is_address
        && !word::is_placeholder(cell)
        && !word::is_code(cell)
}

/// Four words or more with hyphens between them, as generators of passwords make them: `granite-amber-violet-otter`.
fn is_word_chain(cell: &[u8]) -> bool {
    let is_word = |word: &[u8]| (3..=12).contains(&word.len()) && word.iter().all(u8::is_ascii_lowercase);
    let words = cell.split(|byte| *byte == b'-');
    words.clone().count() >= 4 && words.into_iter().all(is_word)
}

/// Whether a line of a value is Base64 of enough bytes.
fn is_encoded_part(text: &[u8]) -> bool {
    let has = |is_part: fn(&u8) -> bool| text.iter().any(is_part);
    text.len() >= 40
        && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(byte))
        && has(u8::is_ascii_uppercase)
        && has(u8::is_ascii_lowercase)
        && has(u8::is_ascii_digit)
}

/// Whether a value is Base64 of something readable, or of enough bytes.
fn is_encoded(text: &[u8]) -> bool {
    let body = text.strip_suffix(b"==").or(text.strip_suffix(b"=")).unwrap_or(text);
    let has = |is_part: fn(&u8) -> bool| body.iter().any(is_part);
    let is_base64 = body.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'));
    let decoded = || {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.decode(text).unwrap_or_default()
    };
    let is_readable = || decoded().iter().all(|byte| (b' '..=b'~').contains(byte) || byte.is_ascii_whitespace());
    text.len() >= SHORTEST
        && text.len().is_multiple_of(4)
        && is_base64
        && has(u8::is_ascii_uppercase)
        && has(u8::is_ascii_lowercase)
        && (body.len() >= 24 && has(u8::is_ascii_digit) || is_readable())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The secrets of a text whose first line begins a table.
    fn secrets(text: &str) -> Vec<String> {
        let mut lines = text.lines();
        let Some(table) = lines.next().and_then(|line| SecretTable::begun_by(line.as_bytes())) else {
            return Vec::new();
        };
        let mut found = Vec::new();
        for line in lines {
            match table.judge(line.as_bytes()) {
                Row::Beyond => break,
                Row::Cells(cells) => {
                    found.extend(cells.into_iter().filter_map(|cell| line.get(cell)).map(str::to_owned))
                }
            }
        }
        found
    }

    #[test]
    fn cells_below_a_telling_title_are_secrets() {
        for (text, wanted) in [
            ("id,username,password\n1,bob,hunter2x\n2,eve,summer2026\n", vec!["hunter2x", "summer2026"]),
            ("\"name\",\"api_key\"\n\"a, b\",\"kQ7EXAMPL3\"\n", vec!["kQ7EXAMPL3"]),
            ("host;user;passwort\ndb;me;hunter2x\n", vec!["hunter2x"]),
            ("user\ttoken\texpires\nbob\tkQ7EXAMPL3\t2026-01-02\n", vec!["kQ7EXAMPL3"]),
            (" id | password | role\n----+----------+------\n  1 | hunter2x | admin\n(1 row)\n", vec!["hunter2x"]),
            ("| user | secret |\n+------+--------+\n| bob  | hunter2x |\n", vec!["hunter2x"]),
            ("| User | Password |\n|---|---|\n| bob | `hunter2x` |\n", vec!["hunter2x"]),
            ("│ id │ apiKey │\n├────┼────────┤\n│ 1  │ kQ7EXAMPL3 │\n", vec!["kQ7EXAMPL3"]),
            ("NAME   API KEY      STATUS\nci     kQ7EXAMPL3   active\n", vec!["kQ7EXAMPL3"]),
            ("a.csv:1:user,password\na.csv:2:bob,hunter2x\n", vec!["hunter2x"]),
            (
                "KeyName  Permissions  Value\n-------  -----------  -----\nkey1     FULL         kQ7EXAMPL3==\n",
                vec!["kQ7EXAMPL3=="],
            ),
            (
                "=== Data ===\nKey     Value\n---     -----\npin     hunter2x\nuser    bob1234\n\nz  hunter2x\n",
                vec!["hunter2x"],
            ),
            ("data:\n  dsn: cG9zdGdyZXM6Ly8=\n  n: \"12\"\nkind: Secret\n", vec!["cG9zdGdyZXM6Ly8="]),
            ("stringData:\n  pin: hunter2x\n  user: bob1234\n", vec!["hunter2x"]),
            ("id,password\n1,granite-amber-violet-otter\n", vec!["granite-amber-violet-otter"]),
            (
                "data:\n  config.yaml: |\n    cG9zdGdyZXM6Ly9tZTpodW50ZXIyQGRiLmV4YW1wbGUuY29t\n",
                vec!["cG9zdGdyZXM6Ly9tZTpodW50ZXIyQGRiLmV4YW1wbGUuY29t"],
            ),
        ] {
            assert_eq!(secrets(text), wanted, "{text}");
        }
    }

    #[test]
    fn values_that_a_statement_inserts() {
        for (line, wanted) in [
            ("INSERT INTO users (name, password) VALUES ('me', 'hunter2x');", vec!["hunter2x"]),
            (
                "insert into `k` (`id`, `secret`) values (1, 'kQ7EXAMPL3'), (2, 'kQ8EXAMPL4');",
                vec!["kQ7EXAMPL3", "kQ8EXAMPL4"],
            ),
            ("INSERT INTO users (name, password) VALUES (?, ?)", vec![]),
            ("INSERT INTO users (name, age) VALUES ('me', 'hunter2x')", vec![]),
        ] {
            let found = inserted(line.as_bytes());
            assert_eq!(found.into_iter().filter_map(|cell| line.get(cell)).collect::<Vec<_>>(), wanted, "{line}");
        }
    }

    #[test]
    fn other_cells_stay() {
        for text in [
            // one column, or none that tells
            "password\nhunter2x\n",
            "id,token_count,name\n1,hunter2x,b\n",
            "id,access key id\n1,hunter2x\n",
            "the user, a password\nb1234567, hunter2x(\n",
            // not the same table
            "user,password\nbob,hunter2x,more\n",
            "user,password\n\nbob,hunter2x\n",
            "\"password\", \"name\",\n\"trunc_1d2\", \"b\",\n",
            "password,name,\nhunter2x,b,\n",
            // no secrets
            "user,password\nbob,********\nbob,<hidden>\nbob,string\nbob,get_password\nbob,2026-01-02\nbob,5\n",
            "| Option | Token |\n|---|---|\n| a | The token, which has 8 letters |\n",
            "NAME   TOKEN\nci     -\nHow many1 there are\n",
            "data:\n  name: Password\n  image: registry\n  config: |\n    a: b\n",
            "data: x\n",
        ] {
            assert_eq!(secrets(text), Vec::<String>::new(), "{text}");
        }
    }
}
