//! Quote removal: what bash makes of one word, decoded from the raw bytes.
//!
//! This file decides where a word ends and what it says; `parameter` reads `${ … }`, `arithmetic` what is evaluated,
//! `ansi_c` the escapes of `$'…'`. Nothing here trusts a parser's idea of a word, and every form that it does not know
//! stops the reading.

mod ansi_c;
mod arithmetic;
mod parameter;

use std::ops::Range;

pub(crate) use self::arithmetic::{arithmetic_end, evaluate, subscript};
use crate::ast::{Arg, Arithmetic, Count, Hole, Nested, NestedKind, Note};
use crate::opaque::OpaqueReason;
use crate::reader::{self, Fill, ReadError, TokenPage};
use crate::span::{Frame, Span};
use crate::word::{Value, Word, is_break, is_name, starts_name};

/// Where a word stands, which decides what ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Plain,
    /// Behind `NAME=`: `(` begins an array.
    Value,
    /// An operand of `declare` and its kind: `(` behind `=` begins an array.
    Declaration,
    /// In `[[ … ]]`.
    Test,
    /// Behind `==` in `[[ … ]]`: extended patterns.
    Pattern,
    /// Behind `=~`.
    Regex,
}

/// Reads the word that begins at `start`, which is not a blank, a newline or an operator. Returns it with
/// the offset behind it.
pub(crate) fn scan(
    text: &[u8],
    start: usize,
    depth: u32,
    mode: Mode,
    pages: &mut Vec<TokenPage>,
    page: &mut TokenPage,
) -> Result<(Arg, usize), ReadError> {
    let mut scanner = Scanner::new(text, start, depth, mode, pages, page);
    if mode == Mode::Value && scanner.peek(0) == Some(b'(') {
        scanner.array()?;
    } else {
        scanner.unquoted()?;
    }
    let end = scanner.at;
    Ok((scanner.finish(), end))
}

/// The body of a here-document, which stands in this range.
pub(crate) fn document(
    text: &[u8],
    range: Range<usize>,
    quoted: bool,
    strip_tabs: bool,
    depth: u32,
    pages: &mut Vec<TokenPage>,
) -> Result<Arg, ReadError> {
    let mut unseen = TokenPage::new(range.start);
    let whole = text.get(..range.end).unwrap_or_default();
    let mut scanner = Scanner::new(whole, range.start, depth, Mode::Plain, pages, &mut unseen);
    scanner.document(quoted, strip_tabs)?;
    Ok(scanner.finish())
}

struct Scanner<'a, 'm> {
    text: &'a [u8],
    start: usize,
    at: usize,
    depth: u32,
    mode: Mode,
    pages: &'m mut Vec<TokenPage>,
    page: &'m mut TokenPage,
    /// The decoded bytes, expansions left out.
    out: Vec<u8>,
    holes: Vec<Hole>,
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
    /// Inside an expansion, whose own text is no text of the word.
    muted: u32,
    /// Inside one, something stands that gives several words even in double quotes (`"${x+$@}"`).
    several: bool,
    nested: Vec<Nested>,
    arithmetic: Vec<Arithmetic>,
    notes: Vec<Note>,
}

impl<'a, 'm> Scanner<'a, 'm> {
    fn new(
        text: &'a [u8],
        start: usize,
        depth: u32,
        mode: Mode,
        pages: &'m mut Vec<TokenPage>,
        page: &'m mut TokenPage,
    ) -> Self {
        Self {
            text,
            start,
            at: start,
            depth,
            mode,
            pages,
            page,
            out: Vec::new(),
            holes: Vec::new(),
            pattern: None,
            brace: None,
            bracket: None,
            braced: false,
            home: false,
            quoted: false,
            count: Count::One,
            muted: 0,
            several: false,
            nested: Vec::new(),
            arithmetic: Vec::new(),
            notes: Vec::new(),
        }
    }

    fn unquoted(&mut self) -> Result<(), ReadError> {
        let mut open = 0_u32;
        while let Some(byte) = self.peek(0) {
            match byte {
                b'<' | b'>' if self.peek(1) == Some(b'(') => self.process_substitution()?,
                b'(' if self.extended(open) => {
                    open += 1;
                    reader::too_deep(self.at, self.depth + open)?;
                    self.glob(byte);
                }
                b'(' if self.mode == Mode::Declaration && self.out.last() == Some(&b'=') && !self.quoted => {
                    self.array()?;
                }
                b'(' if self.at > self.start => {
                    return if self.function_name() { Ok(()) } else { Err(self.bracket_in_word()) };
                }
                b')' | b'|' | b' ' | b'\t' if open > 0 => {
                    open -= u32::from(byte == b')');
                    self.glob(byte);
                }
                b'|' if self.mode == Mode::Regex && self.peek(1) != Some(b'|') => self.glob(byte),
                _ if is_break(byte) && open > 0 => return Err(self.bracket_in_word()),
                byte if is_break(byte) => break,
                b'\\' => self.escape()?,
                b'\'' => self.single()?,
                b'"' => self.double()?,
                b'`' => self.backtick(false)?,
                b'$' => self.dollar(false)?,
                b'~' => self.tilde(),
                b'*' | b'?' => self.glob(byte),
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
        if open > 0 {
            return Err(self.refuse("unterminated `(` in a pattern"));
        }
        Ok(())
    }

    /// `(` goes on with an extended pattern or a regular expression here.
    fn extended(&self, open: u32) -> bool {
        let lead = self.at.checked_sub(1).and_then(|at| self.text.get(at));
        match self.mode {
            Mode::Regex => true,
            Mode::Pattern => open > 0 || self.at > self.start && lead.is_some_and(|byte| b"@!+*?".contains(byte)),
            _ => false,
        }
    }

    /// Everything so far is a plain name, which the reader takes for that of a function.
    fn function_name(&self) -> bool {
        self.mode == Mode::Plain && self.holes.is_empty() && !self.quoted && self.pattern.is_none()
    }

    fn bracket_in_word(&self) -> ReadError {
        ReadError::unsupported(self.at, self.at + 1, "an unquoted bracket inside a word")
    }

    fn finish(self) -> Arg {
        let span = Span::new(self.start, self.at);
        let raw = String::from_utf8_lossy(self.text.get(self.start..self.at).unwrap_or_default()).into_owned();
        let (mut notes, mut holes, mut pattern) = (self.notes, self.holes, self.pattern);
        let text = String::from_utf8(self.out).unwrap_or_else(|_| {
            let detail = "this word is not valid UTF-8 once its escapes are resolved".to_owned();
            notes.push(Note { reason: OpaqueReason::UnknownSyntax, span, detail });
            // Nothing of the text is left for them to point at.
            holes.iter_mut().for_each(|hole| hole.at = 0);
            pattern = pattern.map(|_| 0);
            String::new()
        });
        let broken = notes.iter().any(|note| note.reason == OpaqueReason::UnknownSyntax);
        let only_pipe = text.is_empty()
            && matches!(self.nested.as_slice(), [Nested { kind: NestedKind::Input | NestedKind::Output, .. }])
            && holes.len() == 1
            && raw.starts_with(['<', '>']);
        if broken && holes.is_empty() {
            holes.push(Hole { at: 0, name: None, quoted: true, number: false, nested: None });
        }
        let mut arg = Arg {
            word: Word { span, raw, value: Value::Literal(String::new()), quoted: self.quoted },
            count: self.count,
            text,
            holes,
            pattern,
            braced: self.braced,
            home: self.home,
            nested: self.nested,
            arithmetic: self.arithmetic,
            notes,
        };
        arg.word.value = if only_pipe { Value::Pipe { text: None } } else { arg.plain_value() };
        if self.braced && arg.word.value.prefix().is_empty() {
            arg.count = Count::Any; // `{,}` leaves no word at all
        }
        if matches!(arg.word.value, Value::Home(_)) && !arg.home {
            arg.count = Count::One; // `$HOME`
        }
        if arg.count == Count::Any && !arg.word.value.prefix().is_empty() {
            arg.count = Count::Some;
        }
        arg
    }

    fn document(&mut self, quoted: bool, strip_tabs: bool) -> Result<(), ReadError> {
        let mut line_start = true;
        while let Some(byte) = self.peek(0) {
            if line_start && strip_tabs && byte == b'\t' {
                self.at += 1;
                continue;
            }
            line_start = byte == b'\n';
            let nested = self.nested.len();
            let from = self.at;
            match byte {
                _ if quoted => self.take(byte),
                b'\\' => match self.peek(1) {
                    Some(byte @ (b'$' | b'`' | b'\\')) => {
                        self.at += 1;
                        self.take(byte);
                    }
                    Some(b'\n') => self.at += 2,
                    _ => self.take(byte),
                },
                b'`' => self.backtick(false)?,
                b'$' if matches!(self.peek(1), Some(b'\'' | b'"')) => self.take(byte),
                b'$' => self.dollar(true)?,
                _ => self.take(byte),
            }
            let inside = self.text.get(from..self.at).unwrap_or_default();
            if strip_tabs && self.nested.len() > nested && inside.windows(2).any(|pair| pair == b"\n\t") {
                return Err(ReadError::unsupported(
                    from,
                    self.at,
                    "a substitution of several lines in a `<<-` document",
                ));
            }
            // bash takes continuations out before it looks at quotes and comments.
            if self.nested.len() > nested && inside.windows(2).any(|pair| pair == b"\\\n") {
                return Err(ReadError::unsupported(
                    from,
                    self.at,
                    "a line continuation in a substitution in a document",
                ));
            }
        }
        Ok(())
    }

    /// A backslash outside quotes.
    fn escape(&mut self) -> Result<(), ReadError> {
        match self.peek(1) {
            None => Err(self.refuse("a backslash at the very end escapes nothing")),
            Some(b'\n') => {
                self.page.fill(self.at, self.at + 2, Fill::Word);
                self.at += 2;
                Ok(())
            }
            Some(byte) => {
                self.quoted = true;
                self.at += 1;
                self.take(byte);
                Ok(())
            }
        }
    }

    fn single(&mut self) -> Result<(), ReadError> {
        self.quoted = true;
        let opening = self.at;
        self.at += 1;
        loop {
            match self.peek(0) {
                None => return Err(ReadError::refuse(opening, "unterminated single quote")),
                Some(b'\'') => break,
                Some(byte) => self.take(byte),
            }
        }
        self.at += 1;
        Ok(())
    }

    fn double(&mut self) -> Result<(), ReadError> {
        self.quoted = true;
        let opening = self.at;
        self.at += 1;
        loop {
            match self.peek(0) {
                None => return Err(ReadError::refuse(opening, "unterminated double quote")),
                Some(b'"') => break,
                Some(b'`') => self.backtick(true)?,
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
                self.unknown(Count::One); // `~user`, `~+`, `~-`, or literal because of a quote: not ours to know
            }
        } else if matches!(self.out.last(), Some(b'=' | b':')) {
            self.unknown(Count::One);
        }
        self.take(b'~');
    }

    fn dollar(&mut self, quoted: bool) -> Result<(), ReadError> {
        let splits = if quoted { Count::One } else { Count::Any };
        match self.peek(1) {
            Some(b'(') if self.peek(2) == Some(b'(') => match arithmetic_end(self.text, self.at + 3)? {
                Some(end) => self.expansion(end, quoted),
                None => self.substitution(splits),
            },
            Some(b'(') => self.substitution(splits),
            Some(b'{') => self.parameter(quoted),
            Some(b'[') => Err(self.unsupported(2, "the old arithmetic form `$[ … ]`; write `$(( … ))`")),
            Some(b'\'') if !quoted => self.ansi_c(),
            Some(b'"') if !quoted => {
                self.unknown(Count::One); // translated by a message catalogue that we cannot see
                self.at += 1;
                self.double()
            }
            Some(b'\\') if self.peek(2) == Some(b'\n') => {
                Err(self.unsupported(3, "a line continuation behind `$`; join the lines"))
            }
            Some(byte) if starts_name(byte) => {
                let start = self.at + 1;
                self.at = start;
                self.skip_name();
                if self.peek(0) == Some(b'\\') && self.peek(1) == Some(b'\n') {
                    return Err(self.unsupported(2, "a line continuation behind a variable's name; join the lines"));
                }
                let name = self.slice(start..self.at);
                self.hole(Some(name), quoted, false, splits);
                Ok(())
            }
            Some(byte) if byte.is_ascii_digit() || b"@*#?$!-".contains(&byte) => {
                let number = b"#?$".contains(&byte);
                let named = byte == b'@' || byte.is_ascii_digit();
                self.hole(
                    named.then(|| char::from(byte).to_string()),
                    quoted,
                    number,
                    match byte {
                        b'@' => Count::Any,
                        _ if number => Count::One, // digits never split under an unchanged IFS
                        _ => splits,
                    },
                );
                self.at += 2;
                Ok(())
            }
            _ => {
                self.page.fill(self.at, self.at + 1, Fill::Word); // alone it is only a character
                self.take(b'$');
                Ok(())
            }
        }
    }

    fn substitution(&mut self, splits: Count) -> Result<(), ReadError> {
        self.nested_script(NestedKind::Substitution)?;
        self.unknown(splits);
        self.is_substitution();
        Ok(())
    }

    /// The hole just made is the substitution just read.
    fn is_substitution(&mut self) {
        let nested = self.nested.len().checked_sub(1);
        if let Some(hole) = self.holes.last_mut().filter(|_| self.muted == 0) {
            hole.nested = nested;
        }
    }

    fn process_substitution(&mut self) -> Result<(), ReadError> {
        let kind = if self.peek(0) == Some(b'<') { NestedKind::Input } else { NestedKind::Output };
        self.nested_script(kind)?;
        self.unknown(Count::One);
        Ok(())
    }

    /// `$(`, `<(` or `>(` stands here.
    fn nested_script(&mut self, kind: NestedKind) -> Result<(), ReadError> {
        let start = self.at;
        if self.peek(2) == Some(b'\\') && self.peek(3) == Some(b'\n') {
            return Err(self.unsupported(4, "a line continuation behind an opening bracket; join the lines"));
        }
        let (script, end) = reader::substitution(self.text, start + 2, self.depth + 1, self.pages)?;
        self.nested.push(Nested { kind, script, frame: Frame::At(0) });
        self.at = end;
        self.page.fill(start, end, Fill::Word);
        Ok(())
    }

    /// Backticks, whose text is read once its own escapes are resolved.
    fn backtick(&mut self, quoted: bool) -> Result<(), ReadError> {
        let start = self.at;
        let mut code = Vec::new();
        let mut escapes = false;
        self.at += 1;
        loop {
            match (self.peek(0), self.peek(1)) {
                (None, _) => return Err(ReadError::refuse(start, "unterminated backtick")),
                (Some(b'`'), _) => break,
                (Some(b'\\'), Some(byte)) if b"$`\\".contains(&byte) || quoted && byte == b'"' => {
                    escapes = true;
                    code.push(byte);
                    self.at += 2;
                }
                (Some(b'\\'), Some(b'\n')) => {
                    // bash takes it out before it looks at quotes and comments.
                    return Err(self.unsupported(2, "a line continuation inside backticks; write `$( … )`"));
                }
                (Some(b'\\'), Some(byte)) => {
                    code.extend([b'\\', byte]);
                    self.at += 2;
                }
                (Some(byte), _) => {
                    code.push(byte);
                    self.at += 1;
                }
            }
        }
        self.at += 1;
        let whole = Span::new(start, self.at);
        let frame = if escapes { Frame::Within(whole) } else { Frame::At(start + 1) };
        let reading = reader::read(&code, self.depth + 1).map_err(|error| error.within(frame))?;
        if let Some(rest) = reading.rest {
            return Err(ReadError::Unsupported {
                span: frame.map(rest.span),
                reason: rest.reason,
                detail: rest.detail,
            });
        }
        self.pages.extend(reading.pages.into_iter().map(|page| page.within(frame)));
        self.nested.push(Nested { kind: NestedKind::Substitution, script: reading.script, frame });
        self.page.fill(start, self.at, Fill::Word);
        self.unknown(if quoted { Count::One } else { Count::Any });
        self.is_substitution();
        Ok(())
    }

    /// `( … )` behind `NAME=`: words, whose values are not kept.
    fn array(&mut self) -> Result<(), ReadError> {
        let opening = self.at;
        self.at += 1;
        loop {
            match (self.peek(0), self.peek(1)) {
                (None, _) => return Err(ReadError::refuse(opening, "unterminated `(`")),
                (Some(b' ' | b'\t' | b'\n'), _) => self.at += 1,
                (Some(b'\\'), Some(b'\n')) => self.at += 2,
                (Some(b'#'), _) => {
                    while self.peek(0).is_some_and(|byte| byte != b'\n') {
                        self.at += 1;
                    }
                }
                (Some(b')'), _) => break,
                (Some(b'['), _) => self.keyed_element()?,
                (Some(byte), next) if is_break(byte) && !(b"<>".contains(&byte) && next == Some(b'(')) => {
                    return Err(self.unsupported(1, "an operator inside an array"));
                }
                _ => self.element()?,
            }
        }
        self.at += 1;
        self.page.fill(opening, self.at, Fill::Word);
        self.unknown(Count::One);
        Ok(())
    }

    fn element(&mut self) -> Result<(), ReadError> {
        let (arg, end) = scan(self.text, self.at, self.depth, Mode::Plain, self.pages, self.page)?;
        if end == self.at || self.text.get(end) == Some(&b'(') {
            return Err(self.unsupported(1, "a bracket inside an array"));
        }
        self.at = end;
        self.nested.extend(arg.nested);
        self.arithmetic.extend(arg.arithmetic);
        self.notes.extend(arg.notes);
        Ok(())
    }

    /// `[key]=value`; without `=` it is a pattern.
    fn keyed_element(&mut self) -> Result<(), ReadError> {
        let (arithmetic, nested, end) = subscript(self.text, self.at, self.depth, self.pages)?;
        let behind = self.text.get(end..).unwrap_or_default();
        if !behind.starts_with(b"=") && !behind.starts_with(b"+=") {
            return Err(self.unsupported(1, "a pattern with brackets inside an array; quote it"));
        }
        self.arithmetic.push(arithmetic);
        self.nested.extend(nested);
        self.at = end + if behind.starts_with(b"+") { 2 } else { 1 };
        if self.peek(0).is_none_or(is_break) { Ok(()) } else { self.element() }
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.text.get(self.at + ahead).copied()
    }

    fn slice(&self, range: Range<usize>) -> String {
        String::from_utf8_lossy(self.text.get(range).unwrap_or_default()).into_owned()
    }

    /// Decodes one byte to itself.
    fn take(&mut self, byte: u8) {
        self.push(byte);
        self.at += 1;
    }

    /// A byte that makes the word a pattern.
    fn glob(&mut self, byte: u8) {
        if self.muted == 0 {
            self.pattern.get_or_insert(self.out.len());
            self.count = self.count.max(Count::Some);
        }
        self.take(byte);
    }

    /// Quoted or not, a byte can complete a pattern that an unquoted bracket or brace began: taking one pattern too
    /// many is safe, one too few is not.
    fn push(&mut self, byte: u8) {
        if self.muted > 0 {
            return;
        }
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

    /// An expansion of which nothing is known.
    fn unknown(&mut self, count: Count) {
        self.hole(None, count == Count::One, false, count);
    }

    fn hole(&mut self, name: Option<String>, quoted: bool, number: bool, count: Count) {
        if self.muted == 0 {
            self.holes.push(Hole { at: self.out.len(), name, quoted, number, nested: None });
            self.count = self.count.max(count);
        } else {
            self.several |= count == Count::Any;
        }
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

    fn unsupported(&self, length: usize, detail: &str) -> ReadError {
        ReadError::unsupported(self.at, self.at + length, detail)
    }

    fn refuse(&self, detail: &str) -> ReadError {
        ReadError::refuse(self.at, detail)
    }
}
