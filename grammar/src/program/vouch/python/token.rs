//! Python's tokens, as far as all versions agree about them.
//!
//! What versions read differently, and what could hide a line from us, is refused: other line ends, other alphabets in
//! names, declarations of an encoding, and f-strings whose end depends on the version.

/// One token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Name(String),
    Number,
    Text(Text),
    Op(&'static str),
}

/// A string as it is written between its quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Text {
    body: String,
    raw: bool,
    bytes: bool,
    format: bool,
    quote: char,
}

/// The logical lines of a program that are not empty.
pub(super) fn lines(code: &str) -> Option<Vec<Vec<Token>>> {
    let strange = |c: char| c.is_control() && c != '\n' && c != '\t' || c == '\u{feff}';
    if code.contains(strange) {
        return None;
    }
    let mut scan = Scan { rest: code, depth: 0, lines: Vec::new(), line: Vec::new() };
    while !scan.rest.is_empty() {
        scan.token()?;
    }
    if scan.depth != 0 {
        return None;
    }
    scan.end_line();
    Some(scan.lines)
}

const OPERATORS: [&str; 47] = [
    "**=", "//=", ">>=", "<<=", "...", "**", "//", ">>", "<<", "<=", ">=", "==", "!=", "->", "+=", "-=", "*=", "/=",
    "%=", "&=", "|=", "^=", "@=", ":=", "+", "-", "*", "/", "%", "@", "&", "|", "^", "~", "<", ">", "(", ")", "[", "]",
    "{", "}", ",", ":", ".", ";", "=",
];

struct Scan<'c> {
    rest: &'c str,
    depth: usize,
    lines: Vec<Vec<Token>>,
    line: Vec<Token>,
}

impl Scan<'_> {
    fn token(&mut self) -> Option<()> {
        let first = self.rest.chars().next()?;
        match first {
            ' ' | '\t' => self.skip(1),
            '\n' => {
                self.skip(1)?;
                if self.depth == 0 {
                    self.end_line();
                }
                Some(())
            }
            '\\' => self.rest.starts_with("\\\n").then(|| self.skip(2)).flatten(),
            '#' => self.comment(),
            '"' | '\'' => self.text(""),
            '0'..='9' => self.number(),
            '.' if self.rest.chars().nth(1).is_some_and(|c| c.is_ascii_digit()) => self.number(),
            'a'..='z' | 'A'..='Z' | '_' => self.word(),
            _ => self.operator(),
        }
    }

    fn end_line(&mut self) {
        if !self.line.is_empty() {
            self.lines.push(std::mem::take(&mut self.line));
        }
    }

    fn skip(&mut self, bytes: usize) -> Option<()> {
        self.rest = self.rest.get(bytes..)?;
        Some(())
    }

    /// A comment may say that all of the text means something else.
    fn comment(&mut self) -> Option<()> {
        let length = self.rest.find('\n').unwrap_or(self.rest.len());
        let comment = self.rest.get(..length)?;
        if comment.contains("coding:") || comment.contains("coding=") {
            return None;
        }
        self.skip(length)
    }

    fn word(&mut self) -> Option<()> {
        let length = self.rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        let word = self.rest.get(..length)?;
        let rest = self.rest.get(length..)?;
        if rest.starts_with(['"', '\'']) {
            return self.text(word);
        }
        if rest.starts_with(|c: char| !c.is_ascii()) {
            return None;
        }
        self.line.push(Token::Name(word.to_owned()));
        self.skip(length)
    }

    /// A number, and nothing behind it that versions may take for a part of it.
    fn number(&mut self) -> Option<()> {
        let digits = |text: &str, radix: u32| text.find(|c: char| !c.is_digit(radix) && c != '_').unwrap_or(text.len());
        let prefix = self.rest.get(..2).unwrap_or_default();
        let radix = match prefix {
            "0x" | "0X" => 16,
            "0o" | "0O" => 8,
            "0b" | "0B" => 2,
            _ => 10,
        };
        if radix != 10 {
            self.skip(2)?;
            self.skip(digits(self.rest, radix))?;
        } else {
            self.skip(digits(self.rest, 10))?;
            if self.rest.starts_with('.') {
                self.skip(1)?;
                self.skip(digits(self.rest, 10))?;
            }
            if self.rest.starts_with(['e', 'E']) {
                self.skip(1)?;
                self.skip(usize::from(self.rest.starts_with(['+', '-'])))?;
                self.skip(digits(self.rest, 10))?;
            }
            self.skip(usize::from(self.rest.starts_with(['j', 'J'])))?;
        }
        if self.rest.starts_with(|c: char| c.is_alphanumeric() || c == '_' || !c.is_ascii()) {
            return None;
        }
        self.line.push(Token::Number);
        Some(())
    }

    fn operator(&mut self) -> Option<()> {
        let op = OPERATORS.iter().find(|op| self.rest.starts_with(**op))?;
        match *op {
            "(" | "[" | "{" => self.depth += 1,
            ")" | "]" | "}" => self.depth = self.depth.checked_sub(1)?,
            _ => {}
        }
        self.line.push(Token::Op(op));
        self.skip(op.len())
    }

    /// A string with the letters before it.
    fn text(&mut self, prefix: &str) -> Option<()> {
        let kind = prefix.to_ascii_lowercase();
        if !matches!(kind.as_str(), "" | "r" | "b" | "u" | "f" | "rb" | "br" | "fr" | "rf") {
            return None;
        }
        self.skip(prefix.len())?;
        let quote = self.rest.chars().next()?;
        let triple: String = [quote; 3].iter().collect();
        let end = if self.rest.starts_with(&triple) { triple } else { quote.to_string() };
        self.skip(end.len())?;
        let length = self.length(&end)?;
        let body = self.rest.get(..length)?.to_owned();
        self.skip(length + end.len())?;
        let text = Text { body, raw: kind.contains('r'), bytes: kind.contains('b'), format: kind.contains('f'), quote };
        self.line.push(Token::Text(text));
        Some(())
    }

    /// How far it is to the end of a string.
    fn length(&self, end: &str) -> Option<usize> {
        let mut at = 0;
        loop {
            let rest = self.rest.get(at..)?;
            if rest.starts_with(end) {
                return Some(at);
            }
            let mut chars = rest.chars();
            let first = chars.next()?;
            if first == '\n' && end.len() == 1 {
                return None;
            }
            at += first.len_utf8();
            if first == '\\' {
                at += chars.next()?.len_utf8();
            }
        }
    }
}

impl Text {
    /// What it says, if no escape hides it.
    pub(super) fn exact(&self) -> Option<&str> {
        (!self.bytes && !self.format && !self.body.contains('\\')).then_some(self.body.as_str())
    }

    /// As a format it names arguments only, not what is inside them.
    pub(super) fn plain_format(&self) -> bool {
        let harmless = |c: char| matches!(c, 'n' | 't' | '\\' | '\'' | '"');
        let mut chars = self.body.chars();
        while let Some(c) = chars.next() {
            if c == '\\' && !chars.next().is_some_and(harmless) {
                return false;
            }
        }
        let names = self.body.split('{').skip(1).map(|field| field.split([':', '!', '}']).next().unwrap_or_default());
        let plain = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let mut names = names;
        !self.format && !self.bytes && names.all(plain)
    }

    /// The expressions in an f-string.
    pub(super) fn fields(&self) -> Option<Vec<String>> {
        let mut fields = Vec::new();
        if self.format {
            if self.body.contains("\\N") {
                return None;
            }
            let mut rest = self.body.as_str();
            while let Some(at) = rest.find(['{', '}']) {
                let (_, found) = rest.split_at_checked(at)?;
                if found.starts_with("{{") || found.starts_with("}}") {
                    rest = found.get(2..)?;
                } else {
                    rest = self.field(found.strip_prefix('{')?, &mut fields, 0)?;
                }
            }
        }
        Some(fields)
    }

    /// Takes one field up to its `}`.
    fn field<'s>(&self, text: &'s str, fields: &mut Vec<String>, depth: usize) -> Option<&'s str> {
        let end = self.expression(text)?;
        let (expression, mut rest) = text.split_at_checked(end)?;
        fields.push(format!("({expression})"));
        rest = rest.strip_prefix('=').unwrap_or(rest).trim_start_matches(' ');
        if let Some(conversion) = rest.strip_prefix('!') {
            rest = conversion.strip_prefix(['r', 's', 'a'])?.trim_start_matches(' ');
        }
        if let Some(after) = rest.strip_prefix('}') {
            return Some(after);
        }
        rest = rest.strip_prefix(':')?;
        loop {
            let at = rest.find(['{', '}', '\\', '\'', '"', '\n'])?;
            let (_, found) = rest.split_at_checked(at)?;
            if let Some(after) = found.strip_prefix('}') {
                return Some(after);
            }
            if depth > 0 || found.starts_with("{{") {
                return None;
            }
            rest = self.field(found.strip_prefix('{')?, fields, depth + 1)?;
        }
    }

    /// Where the expression of a field ends.
    fn expression(&self, text: &str) -> Option<usize> {
        let mut depth = 0_usize;
        let mut inside: Option<char> = None;
        let mut chars = text.char_indices().peekable();
        let mut before = ' ';
        while let Some((at, c)) = chars.next() {
            let next = chars.peek().map(|(_, next)| *next);
            match (inside, c) {
                (_, '\\' | '\n') => return None,
                (_, c) if c == self.quote => return None,
                (Some(quote), c) if c == quote => inside = None,
                (Some(_), _) => {}
                (None, '\'' | '"') => {
                    if text.get(at..).is_some_and(|rest| rest.starts_with("'''") || rest.starts_with("\"\"\"")) {
                        return None;
                    }
                    inside = Some(c);
                }
                (None, '#') => return None,
                (None, '(' | '[' | '{') => depth += 1,
                (None, '}') if depth == 0 => return Some(at),
                (None, ')' | ']' | '}') => depth = depth.checked_sub(1)?,
                (None, ':') if depth == 0 => return Some(at),
                (None, '!') if depth == 0 && next != Some('=') => return Some(at),
                (None, '=') if depth == 0 && next != Some('=') && !matches!(before, '=' | '!' | '<' | '>') => {
                    return Some(at);
                }
                _ => {}
            }
            before = c;
        }
        None
    }
}
