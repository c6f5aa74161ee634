//! Quote removal: what bash makes of one word, decoded from the raw bytes.
//!
//! This file decides where a word ends and what it says. It never trusts a parser's idea of a word, and every form
//! that it does not know stops the reading.

use serde::Serialize;

use crate::ast::{Arg, Count, Note, Script};
use crate::inventory::OpaqueReason;
use crate::reader::{self, Mark, Stop};
use crate::span::Span;

/// One shell word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Word {
    /// Where it stands.
    pub span: Span,
    /// As written.
    pub raw: String,
    /// What bash makes of it.
    pub value: Value,
    /// Some part of it is quoted, so that it is never empty-expanded away and never an alias.
    pub quoted: bool,
}

/// What a word is once bash has expanded it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Value {
    /// Exactly this text.
    Literal(String),
    /// The home directory followed by this text, which is empty or begins with `/` (an unquoted leading `~`).
    Home(String),
    /// A glob or brace pattern: known only with the file system in view.
    Pattern {
        /// The text before the first pattern character.
        prefix: String,
    },
    /// Known only at run time: it holds a parameter, command or arithmetic expansion.
    Dynamic {
        /// The literal text before the first expansion.
        prefix: String,
    },
}

impl Value {
    /// The text, if it is known without looking at the environment or the file system.
    pub fn literal(&self) -> Option<&str> {
        match self {
            Self::Literal(text) => Some(text),
            Self::Home(_) | Self::Pattern { .. } | Self::Dynamic { .. } => None,
        }
    }

    /// The text that it is known to begin with; nothing is known of what `~` stands for.
    pub(crate) fn prefix(&self) -> &str {
        match self {
            Self::Literal(text) => text,
            Self::Home(_) => "",
            Self::Pattern { prefix } | Self::Dynamic { prefix } => prefix,
        }
    }
}

/// Reads the word that begins at `start`, which is not a blank, a newline or an operator. Returns it with
/// the offset behind it.
pub(crate) fn scan(text: &[u8], start: usize, depth: u32, marks: &mut Vec<Mark>) -> Result<(Arg, usize), Stop> {
    let mut scanner = Scanner {
        text,
        start,
        at: start,
        depth,
        marks,
        out: Vec::new(),
        dynamic: None,
        pattern: None,
        brace: None,
        bracket: None,
        braced: false,
        home: false,
        quoted: false,
        count: Count::One,
        substitutions: Vec::new(),
        notes: Vec::new(),
    };
    scanner.unquoted()?;
    let end = scanner.at;
    Ok((scanner.finish(), end))
}

/// Where an unquoted word ends.
pub(crate) fn is_break(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b';' | b'&' | b'|' | b'(' | b')' | b'<' | b'>')
}

/// May begin a variable's name.
pub(crate) fn starts_name(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_'
}

/// May stand in a variable's name.
pub(crate) fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

struct Scanner<'a, 'm> {
    text: &'a [u8],
    start: usize,
    at: usize,
    depth: u32,
    marks: &'m mut Vec<Mark>,
    /// The decoded bytes so far; behind an expansion they only matter as context.
    out: Vec<u8>,
    /// Length of `out` at the first expansion.
    dynamic: Option<usize>,
    /// Length of `out` at the first pattern character.
    pattern: Option<usize>,
    /// Length of `out` at the first unquoted `{`.
    brace: Option<usize>,
    /// Length of `out` at the first unquoted `[`.
    bracket: Option<usize>,
    braced: bool,
    home: bool,
    quoted: bool,
    count: Count,
    substitutions: Vec<Script>,
    notes: Vec<Note>,
}

impl Scanner<'_, '_> {
    fn unquoted(&mut self) -> Result<(), Stop> {
        while let Some(byte) = self.peek(0) {
            match byte {
                b'<' | b'>' if self.peek(1) == Some(b'(') => {
                    return Err(self.unsupported(2, "process substitution is not read yet; use a file or a pipe"));
                }
                b'(' => return Err(self.unsupported(1, "an unquoted `(` inside a word (array, function or pattern)")),
                byte if is_break(byte) => break,
                b'\\' => {
                    if self.escape()? {
                        break;
                    }
                }
                b'\'' => self.single()?,
                b'"' => self.double()?,
                b'`' => return Err(self.backtick()),
                b'$' => self.dollar(false)?,
                b'~' => self.tilde(),
                b'*' | b'?' => {
                    self.pattern.get_or_insert(self.out.len());
                    self.count = self.count.max(Count::Some);
                    self.take(byte);
                }
                b'[' => {
                    self.bracket.get_or_insert(self.out.len());
                    self.take(byte);
                }
                b'{' => {
                    self.brace.get_or_insert(self.out.len());
                    self.take(byte);
                }
                _ => self.take(byte),
            }
        }
        Ok(())
    }

    fn finish(self) -> Arg {
        let span = Span::new(self.start, self.at);
        let raw = String::from_utf8_lossy(self.text.get(self.start..self.at).unwrap_or_default()).into_owned();
        let mut notes = self.notes;
        let prefix_end = self.dynamic.unwrap_or(usize::MAX).min(self.pattern.unwrap_or(usize::MAX)).min(self.out.len());
        let prefix = || match (self.home, std::str::from_utf8(self.out.get(..prefix_end).unwrap_or_default())) {
            (false, Ok(known)) => known.to_owned(),
            _ => String::new(),
        };
        let value = match std::str::from_utf8(&self.out) {
            _ if self.dynamic.is_some() => Value::Dynamic { prefix: prefix() },
            _ if self.pattern.is_some() && self.home => Value::Dynamic { prefix: String::new() },
            _ if self.pattern.is_some() => Value::Pattern { prefix: prefix() },
            Ok(decoded) if self.home => Value::Home(decoded.strip_prefix('~').unwrap_or(decoded).to_owned()),
            Ok(decoded) => Value::Literal(decoded.to_owned()),
            Err(_) => {
                let detail = "this word is not valid UTF-8 once its escapes are resolved".to_owned();
                notes.push(Note { reason: OpaqueReason::UnknownSyntax, span, detail });
                Value::Dynamic { prefix: String::new() }
            }
        };
        let mut count = self.count;
        if self.braced && prefix_end == 0 {
            count = Count::Any; // `{,}` leaves no word at all
        }
        if count == Count::Any && !value.prefix().is_empty() {
            count = Count::Some;
        }
        Arg { word: Word { span, raw, value, quoted: self.quoted }, count, substitutions: self.substitutions, notes }
    }

    /// A backslash outside quotes. True if the word ends here: a line continuation with a blank behind it.
    fn escape(&mut self) -> Result<bool, Stop> {
        match (self.peek(1), self.peek(2)) {
            (None, _) => Err(self.refuse("a backslash at the very end escapes nothing")),
            (Some(b'\n'), Some(b' ' | b'\t')) => Ok(true),
            (Some(b'\n'), _) => Err(self.unsupported(2, "a line continuation inside a word; join the lines")),
            (Some(byte), _) => {
                self.quoted = true;
                self.at += 1;
                self.take(byte);
                Ok(false)
            }
        }
    }

    fn single(&mut self) -> Result<(), Stop> {
        self.quoted = true;
        let opening = self.at;
        self.at += 1;
        loop {
            match self.peek(0) {
                None => return Err(Stop::refuse(opening, "unterminated single quote")),
                Some(b'\'') => break,
                Some(byte) => self.take(byte),
            }
        }
        self.at += 1;
        Ok(())
    }

    fn double(&mut self) -> Result<(), Stop> {
        self.quoted = true;
        let opening = self.at;
        self.at += 1;
        loop {
            match self.peek(0) {
                None => return Err(Stop::refuse(opening, "unterminated double quote")),
                Some(b'"') => break,
                Some(b'`') => return Err(self.backtick()),
                Some(b'$') => self.dollar(true)?,
                Some(b'\\') => match self.peek(1) {
                    Some(byte @ (b'$' | b'`' | b'"' | b'\\')) => {
                        self.at += 1;
                        self.take(byte);
                    }
                    Some(b'\n') => self.at += 2,
                    _ => self.take(b'\\'),
                },
                Some(byte) => self.take(byte),
            }
        }
        self.at += 1;
        Ok(())
    }

    fn tilde(&mut self) {
        let behind = self.peek(1);
        let ends = behind.is_none_or(|byte| byte == b'/' || is_break(byte));
        if self.at == self.start {
            if ends {
                self.home = true;
            } else {
                self.expansion(Count::One); // `~user`, `~+`, `~-`, or literal because of a quote: not ours to know
            }
        } else if matches!(self.out.last(), Some(b'=' | b':')) {
            self.expansion(Count::One);
        }
        self.take(b'~');
    }

    fn dollar(&mut self, quoted: bool) -> Result<(), Stop> {
        let splits = if quoted { Count::One } else { Count::Any };
        match self.peek(1) {
            Some(b'(') if self.peek(2) == Some(b'(') => self.arithmetic(),
            Some(b'(') => self.substitution(splits),
            Some(b'{') => self.parameter(splits),
            Some(b'[') => Err(self.unsupported(2, "the old arithmetic form `$[ … ]`; write `$(( … ))`")),
            Some(b'\'') if !quoted => self.ansi_c(),
            Some(b'"') if !quoted => {
                self.expansion(Count::One); // translated by a message catalogue that we cannot see
                self.at += 1;
                self.double()
            }
            Some(b'\\') if self.peek(2) == Some(b'\n') => {
                Err(self.unsupported(3, "a line continuation behind `$`; join the lines"))
            }
            Some(byte) if starts_name(byte) => {
                self.expansion(splits);
                self.at += 1;
                self.skip_name();
                Ok(())
            }
            Some(byte) if byte.is_ascii_digit() || b"@*#?$!-".contains(&byte) => {
                self.expansion(match byte {
                    b'@' => Count::Any,
                    b'#' | b'?' | b'$' => Count::One, // digits never split under an unchanged IFS
                    _ => splits,
                });
                self.at += 2;
                Ok(())
            }
            _ => {
                self.take(b'$');
                Ok(())
            }
        }
    }

    fn substitution(&mut self, splits: Count) -> Result<(), Stop> {
        if self.peek(2) == Some(b'\\') && self.peek(3) == Some(b'\n') {
            return Err(self.unsupported(4, "a line continuation behind `$(`; join the lines"));
        }
        self.expansion(splits);
        let (script, end) = reader::substitution(self.text, self.at + 2, self.depth + 1, self.marks)?;
        self.substitutions.push(script);
        self.at = end;
        Ok(())
    }

    /// `$(( … ))`: bash takes it for arithmetic only if the bracket that closes the inner one is followed at once by
    /// another; else it is a command substitution with a subshell in it.
    fn arithmetic(&mut self) -> Result<(), Stop> {
        let opening = self.at;
        let (mut at, mut open, mut variable) = (self.at + 3, 1_u32, false);
        loop {
            let byte = self.text.get(at).copied();
            match byte {
                Some(b'(') => open += 1,
                Some(b')') => open -= 1,
                Some(byte) if starts_name(byte) => variable = true,
                Some(b'$') if self.text.get(at + 1).copied().is_some_and(starts_name) => {}
                Some(byte) if byte.is_ascii_digit() || b" \t+-*/%<>=!&|^~?:,".contains(&byte) => {}
                _ => return Err(Stop::unsupported(opening, at + 1, "arithmetic that is not plain numbers and names")),
            }
            at += 1;
            if open == 0 {
                break;
            }
        }
        if self.text.get(at) != Some(&b')') {
            return Err(Stop::unsupported(opening, at, "`$((` that is not closed by `))`; put a blank behind `$(`"));
        }
        self.expansion(Count::One);
        self.at = at + 1;
        if variable {
            self.note(OpaqueReason::Arithmetic, opening, "arithmetic runs code that a variable's value may hold");
        }
        Ok(())
    }

    /// `${ … }`, of which only forms without anything nested are read.
    fn parameter(&mut self, mut splits: Count) -> Result<(), Stop> {
        let opening = self.at;
        let length = self.text.get(opening + 2..).unwrap_or_default().iter().position(|byte| *byte == b'}');
        let Some(end) = length.map(|length| opening + 2 + length) else {
            return Err(Stop::refuse(opening, "unterminated `${`"));
        };
        let whole = self.text.get(opening + 2..end).unwrap_or_default();
        if whole.iter().any(|byte| b"`$(){'\"\\<>\n".contains(byte)) {
            return Err(Stop::unsupported(opening, end + 1, "a parameter expansion with something nested in it"));
        }
        let counts = whole.first() == Some(&b'#') && whole.get(1).copied().is_some_and(starts_name);
        let indirect = whole.first() == Some(&b'!') && whole.len() > 1;
        let body = whole.get(usize::from(counts || indirect)..).unwrap_or_default();
        let name_length = match body.first() {
            Some(byte) if starts_name(*byte) => body.iter().take_while(|byte| is_name(**byte)).count(),
            Some(byte) if byte.is_ascii_digit() => body.iter().take_while(|byte| byte.is_ascii_digit()).count(),
            Some(byte) if b"@*#?$!-".contains(byte) => 1,
            _ => return Err(Stop::unsupported(opening, end + 1, "a parameter expansion of an unknown form")),
        };
        if body.first() == Some(&b'@') {
            splits = Count::Any;
        }
        let mut rest = body.get(name_length..).unwrap_or_default();
        if rest.first() == Some(&b'[') {
            let close = rest.iter().position(|byte| *byte == b']').unwrap_or_default();
            match rest.get(1..close) {
                Some(b"@") => splits = Count::Any,
                Some(b"*") => {}
                Some(index) if !index.is_empty() && index.iter().all(u8::is_ascii_digit) => {}
                Some(index) if !index.is_empty() && index.iter().all(|byte| is_name(*byte)) => {
                    self.note(
                        OpaqueReason::Arithmetic,
                        opening,
                        "a subscript runs code that a variable's value may hold",
                    );
                }
                _ => return Err(Stop::unsupported(opening, end + 1, "a subscript that is not a number or a name")),
            }
            rest = rest.get(close + 1..).unwrap_or_default();
        }
        if indirect {
            self.note(OpaqueReason::IndirectName, opening, "`${!…}` reads a variable that another one names");
            splits = Count::Any;
        }
        match rest {
            [] => {}
            _ if counts => return Err(Stop::unsupported(opening, end + 1, "a length expansion of an unknown form")),
            [b'=', ..] | [b':', b'=', ..] => {
                self.note(OpaqueReason::ReservedVariable, opening, "`${…=…}` assigns; write the assignment out");
            }
            [b'-' | b'+' | b'?' | b'#' | b'%' | b'/' | b'^' | b',', ..] | [b':', b'-' | b'+' | b'?', ..] => {}
            [b'@', b'Q' | b'U' | b'u' | b'L'] => {}
            [b':', offset @ ..] if offset.iter().all(|byte| byte.is_ascii_digit() || b" :-".contains(byte)) => {}
            [b':', offset @ ..] if offset.iter().all(|byte| is_name(*byte) || b" :+-*".contains(byte)) => {
                self.note(OpaqueReason::Arithmetic, opening, "an offset runs code that a variable's value may hold");
            }
            _ => return Err(Stop::unsupported(opening, end + 1, "a parameter expansion of an unknown form")),
        }
        self.expansion(if counts { Count::One } else { splits });
        self.at = end + 1;
        Ok(())
    }

    /// `$'…'`: C escapes; a NUL cuts the rest off, as it does in bash.
    fn ansi_c(&mut self) -> Result<(), Stop> {
        self.quoted = true;
        let opening = self.at;
        self.at += 2;
        let mut cut = false;
        loop {
            let decoded = match self.peek(0) {
                None => return Err(Stop::refuse(opening, "unterminated `$'`")),
                Some(b'\'') => break,
                Some(b'\\') => self.c_escape(opening)?,
                Some(byte) => {
                    self.at += 1;
                    Decoded::Byte(byte)
                }
            };
            match decoded {
                Decoded::Byte(0) => cut = true,
                Decoded::Byte(byte) if !cut => self.push(byte),
                Decoded::Kept(byte) if !cut => {
                    self.push(b'\\');
                    self.push(byte);
                }
                Decoded::Unknown if !cut => self.expansion(Count::One),
                _ => {}
            }
        }
        self.at += 1;
        Ok(())
    }

    fn c_escape(&mut self, opening: usize) -> Result<Decoded, Stop> {
        let Some(byte) = self.peek(1) else {
            return Err(Stop::refuse(opening, "unterminated `$'`"));
        };
        self.at += 2;
        Ok(match byte {
            b'a' => Decoded::Byte(0x07),
            b'b' => Decoded::Byte(0x08),
            b'e' | b'E' => Decoded::Byte(0x1b),
            b'f' => Decoded::Byte(0x0c),
            b'n' => Decoded::Byte(b'\n'),
            b'r' => Decoded::Byte(b'\r'),
            b't' => Decoded::Byte(b'\t'),
            b'v' => Decoded::Byte(0x0b),
            b'\\' | b'\'' | b'"' | b'?' => Decoded::Byte(byte),
            b'0'..=b'7' => {
                self.at -= 1;
                Decoded::Byte(self.number(8, 3).1.to_le_bytes()[0])
            }
            b'x' if self.peek(0) == Some(b'{') => Decoded::Unknown,
            b'x' => match self.number(16, 2) {
                (0, _) => Decoded::Kept(b'x'),
                (_, code) => Decoded::Byte(code.to_le_bytes()[0]),
            },
            b'u' | b'U' => match self.number(16, if byte == b'u' { 4 } else { 8 }) {
                (0, _) => Decoded::Kept(byte),
                (_, code @ 0..0x80) => Decoded::Byte(code.to_le_bytes()[0]),
                _ => Decoded::Unknown, // what it becomes depends on the locale
            },
            b'c' => match self.peek(0) {
                Some(letter) if letter.is_ascii_alphabetic() => {
                    self.at += 1;
                    Decoded::Byte(letter & 0x1f)
                }
                _ => Decoded::Unknown,
            },
            other => Decoded::Kept(other),
        })
    }

    /// At most `most` digits: how many there are, and their value.
    fn number(&mut self, radix: u32, most: u32) -> (u32, u32) {
        let (mut digits, mut value) = (0, 0_u32);
        while digits < most {
            let Some(digit) = self.peek(0).and_then(|byte| char::from(byte).to_digit(radix)) else { break };
            value = value.wrapping_mul(radix).wrapping_add(digit);
            digits += 1;
            self.at += 1;
        }
        (digits, value)
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.text.get(self.at + ahead).copied()
    }

    /// Decodes one byte to itself.
    fn take(&mut self, byte: u8) {
        self.push(byte);
        self.at += 1;
    }

    /// Quoted or not, a byte can complete a pattern that an unquoted bracket or brace began: taking one pattern too
    /// many is safe, one too few is not.
    fn push(&mut self, byte: u8) {
        if let (b']', Some(bracket)) = (byte, self.bracket) {
            self.pattern = Some(self.pattern.unwrap_or(bracket).min(bracket));
            self.count = self.count.max(Count::Some);
        }
        if let (true, Some(brace)) = (byte == b',' || byte == b'.' && self.out.last() == Some(&b'.'), self.brace) {
            self.pattern = Some(self.pattern.unwrap_or(brace).min(brace));
            self.count = self.count.max(Count::Some);
            self.braced = true;
        }
        self.out.push(byte);
    }

    fn expansion(&mut self, count: Count) {
        self.dynamic.get_or_insert(self.out.len());
        self.count = self.count.max(count);
    }

    fn skip_name(&mut self) {
        while self.peek(0).is_some_and(is_name) {
            self.at += 1;
        }
    }

    fn note(&mut self, reason: OpaqueReason, from: usize, detail: &str) {
        let span = Span::new(from, (from + 2).max(self.at));
        self.notes.push(Note { reason, span, detail: detail.to_owned() });
    }

    fn backtick(&self) -> Stop {
        Stop::unsupported(self.at, self.at + 1, "a command substitution in backticks; write `$( … )`")
    }

    fn unsupported(&self, length: usize, detail: &str) -> Stop {
        Stop::unsupported(self.at, self.at + length, detail)
    }

    fn refuse(&self, detail: &str) -> Stop {
        Stop::refuse(self.at, detail)
    }
}

/// What one escape in `$'…'` stands for.
enum Decoded {
    Byte(u8),
    /// No escape that bash knows: the backslash stays.
    Kept(u8),
    Unknown,
}
