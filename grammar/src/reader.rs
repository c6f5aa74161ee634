//! Our own reading of a script, by bash's grammar, from the raw bytes: text → [`crate::ast`].
//!
//! This file decides how words and operators make up commands; [`words`] decodes each word, [`compound`] reads what begins with a
//! reserved word, [`heredoc`] the bodies of here-documents. A word may hold a script, and a script holds words: the two read each other.
//!
//! What is not read exactly stops the reading: [`ReadError::Unsupported`] where bash would go on, [`ReadError::Refuse`] where nothing can
//! be said at all. While it reads it leaves a [`TokenPage`] for each text, which [`crate::cross_check`] compares with a second reading.

mod compound;
mod heredoc;
mod token_page;
mod words;

use std::cell::OnceCell;
use std::rc::Rc;

use crate::ast::{Arg, Assign, Join, Part, Pipeline, Redirect, Script, SimpleCommand, Statement};
use crate::limits::MAX_DEPTH;
use crate::opaque::OpaqueReason;
use crate::span::{Frame, Span};
use crate::word::{Value, Word, is_break, is_name, starts_name};
use heredoc::Heredoc;
pub(crate) use token_page::{Fill, Mark, MarkKind, TokenPage};
use words::Mode;

/// What was read before the end or the first thing that is not supported.
pub(crate) struct Reading {
    pub(crate) script: Script,
    /// The text, and each text nested in it that was read by itself.
    pub(crate) pages: Vec<TokenPage>,
    /// The statement that could not be read; it reaches to the end of the text.
    pub(crate) rest: Option<Rest>,
}

/// The end of a script that could not be read.
pub(crate) struct Rest {
    pub(crate) span: Span,
    pub(crate) reason: OpaqueReason,
    pub(crate) detail: String,
}

/// Why reading ended early.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// bash may well read it; we do not.
    Unsupported { span: Span, reason: OpaqueReason, detail: String },
    /// A syntax error or a limit: nothing is said about any part of the text.
    Refuse { span: Span, detail: String },
}

impl ReadError {
    pub(crate) fn unsupported(start: usize, end: usize, detail: &str) -> Self {
        let reason = OpaqueReason::UnknownSyntax;
        Self::Unsupported { span: Span::new(start, end), reason, detail: detail.to_owned() }
    }

    pub(crate) fn refuse(at: usize, detail: &str) -> Self {
        Self::Refuse { span: Span::new(at, at + 1), detail: detail.to_owned() }
    }

    /// The same, told about the text that holds the code.
    pub(crate) fn within(self, frame: Frame) -> Self {
        match self {
            Self::Unsupported { span, reason, detail } => Self::Unsupported { span: frame.map(span), reason, detail },
            Self::Refuse { span, detail } => Self::Refuse { span: frame.map(span), detail },
        }
    }
}

/// Reads a whole script that is nested `depth` deep.
pub(crate) fn read(text: &[u8], depth: u32) -> Result<Reading, ReadError> {
    let mut pages = Vec::new();
    let mut reader = Reader::new(text, 0, depth, &mut pages)?;
    let mut script = Script::default();
    let mut rest = None;
    loop {
        reader.skip_newlines()?;
        if reader.peek(0).is_none() {
            reader.no_open_heredoc()?;
            break;
        }
        let start = reader.at;
        match reader.statement(&End::TEXT) {
            Ok(mut statement) => {
                reader.skip_blanks();
                statement.ends_line = reader.peek(0).is_none_or(|byte| byte == b'\n');
                script.statements.push(statement);
            }
            Err(ReadError::Unsupported { span, reason, detail }) => {
                let detail = format!("{detail} (at byte {})", span.start);
                rest = Some(Rest { span: Span::new(start, text.len()), reason, detail });
                break;
            }
            Err(refused @ ReadError::Refuse { .. }) => return Err(refused),
        }
    }
    let read_to = rest.as_ref().map_or(text.len(), |rest| rest.span.start);
    let page = reader.page.finish(text, read_to);
    pages.push(page);
    Ok(Reading { script, pages, rest })
}

/// Reads the inside of `$( … )`, `<( … )` or `>( … )`, which begins at `start`. Returns it with the offset behind its
/// closing bracket.
pub(crate) fn substitution(
    text: &[u8],
    start: usize,
    depth: u32,
    pages: &mut Vec<TokenPage>,
) -> Result<(Script, usize), ReadError> {
    let mut reader = Reader::new(text, start, depth, pages)?;
    reader.in_substitution = true;
    let script = reader.list(&End { bracket: true, missing: "unterminated `$(`", ..End::TEXT })?;
    if reader.peek(0) != Some(b')') {
        return Err(ReadError::refuse(start.saturating_sub(2), "unterminated `$(`"));
    }
    let end = reader.at;
    reader.no_open_heredoc()?;
    let page = reader.page.finish(text, end);
    pages.push(page);
    Ok((script, end + 1))
}

/// What ends a list of statements besides the end of the text. Nothing of it is consumed.
struct End {
    /// `)`
    bracket: bool,
    /// `;;`, `;&` and `;;&`
    arm: bool,
    /// Reserved words.
    words: &'static [&'static [u8]],
    /// What is wrong with a text that ends before it.
    missing: &'static str,
}

impl End {
    const TEXT: Self =
        Self { bracket: false, arm: false, words: &[], missing: "syntax error: the command ends too early" };
}

/// Words that bash takes for syntax where a command can begin.
const RESERVED: [&[u8]; 22] = [
    b"!",
    b"[[",
    b"]]",
    b"{",
    b"}",
    b"case",
    b"coproc",
    b"do",
    b"done",
    b"elif",
    b"else",
    b"esac",
    b"fi",
    b"for",
    b"function",
    b"if",
    b"in",
    b"select",
    b"then",
    b"time",
    b"until",
    b"while",
];

/// Whether bash takes this word for syntax where a command can begin.
pub(crate) fn is_reserved(word: &str) -> bool {
    RESERVED.contains(&word.as_bytes())
}

/// Builtins whose operands are assignments: `[` behind a name begins a subscript there, blanks and all.
const DECLARATIONS: [&[u8]; 5] = [b"declare", b"export", b"local", b"readonly", b"typeset"];

/// Longest first, as bash reads them.
const REDIRECTIONS: [&str; 12] = ["&>>", "<<<", "<<-", "&>", ">>", ">|", ">&", "<<", "<>", "<&", ">", "<"];

struct Reader<'a, 'm> {
    text: &'a [u8],
    at: usize,
    depth: u32,
    /// The text ends with a closing bracket.
    in_substitution: bool,
    /// Here-documents whose bodies begin behind the next newline.
    heredocs: Vec<Heredoc>,
    /// The last comment so far.
    comment: Option<Span>,
    page: TokenPage,
    pages: &'m mut Vec<TokenPage>,
}

impl<'a, 'm> Reader<'a, 'm> {
    fn new(text: &'a [u8], at: usize, depth: u32, pages: &'m mut Vec<TokenPage>) -> Result<Self, ReadError> {
        too_deep(at, depth)?;
        Ok(Self {
            text,
            at,
            depth,
            in_substitution: false,
            heredocs: Vec::new(),
            comment: None,
            page: TokenPage::new(at),
            pages,
        })
    }

    /// Statements up to one of the ends.
    fn list(&mut self, end: &End) -> Result<Script, ReadError> {
        let mut script = Script::default();
        loop {
            self.skip_newlines()?;
            match self.peek(0) {
                None => return Err(self.refuse(end.missing)),
                Some(_) if self.ends(end) => return Ok(script),
                Some(_) => script.statements.push(self.statement(end)?),
            }
        }
    }

    fn ends(&self, end: &End) -> bool {
        match (self.peek(0), self.peek(1)) {
            (Some(b')'), _) => end.bracket,
            (Some(b';'), Some(b';' | b'&')) => end.arm,
            _ => end.words.contains(&self.plain_word()),
        }
    }

    fn statement(&mut self, end: &End) -> Result<Statement, ReadError> {
        let first = self.pipeline()?;
        let mut rest = Vec::new();
        let mut background = false;
        loop {
            self.skip_blanks();
            match (self.peek(0), self.peek(1)) {
                _ if self.ends(end) => break,
                (Some(b'&'), Some(b'&')) => self.operator(2)?,
                (Some(b'|'), Some(b'|')) => self.operator(2)?,
                (Some(b'&'), _) => {
                    self.operator(1)?;
                    background = true;
                    break;
                }
                (Some(b';'), Some(b';' | b'&')) => return Err(self.refuse("`;;` outside of `case`")),
                (Some(b';'), _) => {
                    self.operator(1)?;
                    break;
                }
                (Some(b'\n'), _) => {
                    let comment = self.comment.filter(|comment| comment.end == self.at);
                    self.page.end(comment.map_or(self.at, |comment| comment.start.saturating_sub(1)));
                    break;
                }
                (None, _) => break,
                _ => return Err(self.refuse("syntax error: this cannot stand behind a command")),
            }
            let join = if self.text.get(self.at - 1) == Some(&b'&') { Join::And } else { Join::Or };
            self.skip_newlines()?;
            rest.push((join, self.pipeline()?));
        }
        Ok(Statement { first, rest, background, ends_line: false })
    }

    fn pipeline(&mut self) -> Result<Pipeline, ReadError> {
        let mut negated = false;
        loop {
            self.skip_blanks();
            match self.plain_word() {
                b"!" => {
                    negated = !negated;
                    self.operator(1)?;
                }
                b"time" => self.time(),
                _ => break,
            }
        }
        let mut parts = vec![self.part()?];
        let mut both = 0;
        loop {
            self.skip_blanks();
            match (self.peek(0), self.peek(1)) {
                (Some(b'|'), Some(b'|')) => break,
                (Some(b'|'), Some(b'&')) => {
                    self.operator(2)?;
                    both += 1;
                }
                (Some(b'|'), _) => self.operator(1)?,
                _ => break,
            }
            self.skip_newlines()?;
            parts.push(self.part()?);
        }
        Ok(Pipeline { negated, both, parts })
    }

    /// The reserved word `time`, with its own option and `--`; what follows runs as if it were not there.
    fn time(&mut self) {
        for option in [&b"time"[..], b"-p", b"--"] {
            if self.plain_word() == option {
                self.page.fill(self.at, self.at + option.len(), Fill::Blank);
                self.at += option.len();
                self.skip_blanks();
            }
        }
    }

    fn part(&mut self) -> Result<Part, ReadError> {
        self.skip_blanks();
        match self.compound()? {
            Some(part) => Ok(part),
            None => self.simple_command(),
        }
    }

    /// Reads something nested one level deeper.
    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, ReadError>) -> Result<T, ReadError> {
        self.depth += 1;
        too_deep(self.at, self.depth)?;
        let inside = read(self)?;
        self.depth -= 1;
        Ok(inside)
    }

    fn redirects_only(&mut self) -> Result<Vec<Redirect>, ReadError> {
        let mut redirects = Vec::new();
        loop {
            self.skip_blanks();
            match self.redirect()? {
                Some(redirect) => redirects.push(redirect),
                None => return Ok(redirects),
            }
        }
    }

    fn simple_command(&mut self) -> Result<Part, ReadError> {
        let start = self.at;
        let (mut assignments, mut words, mut redirects) = (Vec::new(), Vec::<Arg>::new(), Vec::new());
        let mut end = start;
        let (mut declaration, mut test) = (false, false);
        loop {
            self.skip_blanks();
            if let Some(redirect) = self.redirect()? {
                redirects.push(redirect);
            } else if self.peek(0) == Some(b'(') {
                let alone = assignments.is_empty() && redirects.is_empty() && words.len() == 1;
                return match words.pop().filter(|_| alone) {
                    Some(name) => self.function(start, &name),
                    None => Err(self.unsupported("a bracket where bash allows none")),
                };
            } else if self.peek(0).is_none_or(is_break) && !self.process_substitution() {
                break;
            } else if let Some(assign) = if words.is_empty() { self.assignment()? } else { None } {
                assignments.push(assign);
            } else {
                let first = words.is_empty();
                if first && RESERVED.contains(&self.plain_word()) {
                    return Err(self.reserved());
                }
                declaration |= DECLARATIONS.contains(&self.plain_word());
                let word_start = self.at;
                let arg = self.word(if declaration { Mode::Declaration } else { Mode::Plain })?;
                if first {
                    self.continued(word_start)?;
                    self.page.mark(MarkKind::Program, word_start, self.at);
                }
                if first {
                    test = self.text.get(word_start..self.at) == Some(b"[");
                }
                if test {
                    // The second reading knows an expression there, and fewer forms of it than bash.
                    self.page.fill(word_start, self.at, Fill::Word);
                }
                words.push(arg);
            }
            end = self.at;
        }
        if assignments.is_empty() && words.is_empty() && redirects.is_empty() {
            return Err(self.refuse("syntax error: a command is missing here"));
        }
        Ok(Part::Simple(SimpleCommand { span: Span::new(start, end), assignments, words, redirects }))
    }

    /// A word that is cut by a line continuation may be a reserved word or an assignment once it is joined.
    fn continued(&self, start: usize) -> Result<(), ReadError> {
        let raw = self.text.get(start..self.at).unwrap_or_default();
        if raw.windows(2).any(|pair| pair == b"\\\n") {
            return Err(ReadError::unsupported(
                start,
                self.at,
                "a line continuation inside a command's name; join the lines",
            ));
        }
        Ok(())
    }

    /// `NAME=value`, `NAME+=value`, `NAME[…]=value`; before the command word only.
    fn assignment(&mut self) -> Result<Option<Assign>, ReadError> {
        let start = self.at;
        let ahead = self.text.get(start..).unwrap_or_default();
        let length = ahead.iter().take_while(|byte| is_name(**byte)).count();
        let name = ahead.get(..length).unwrap_or_default();
        if !name.first().copied().is_some_and(starts_name) {
            return Ok(None);
        }
        let mut at = start + length;
        let mut subscript = None;
        if self.text.get(at) == Some(&b'[') {
            let (arithmetic, nested, end) = words::subscript(self.text, at, self.depth, self.pages)?;
            self.page.fill(at, end, Fill::Word);
            subscript = Some((arithmetic, nested));
            at = end;
        }
        let append = matches!(self.text.get(at..), Some([b'+', b'=', ..]));
        if !append && self.text.get(at) != Some(&b'=') {
            return match subscript {
                None => Ok(None),
                Some(_) => {
                    Err(ReadError::unsupported(start, at, "a word with a bracket in a command's place; quote it"))
                }
            };
        }
        at += 1 + usize::from(append);
        let (mut value, end) = words::scan(self.text, at, self.depth, Mode::Value, self.pages, &mut self.page)?;
        self.at = end;
        self.heredoc_allows(start)?;
        self.page.mark(MarkKind::Word, start, end);
        if !value.holes.is_empty() {
            self.page.fill(at, end, Fill::Word); // the second reading cuts `$a/$b.c` up
        }
        let number = subscript.is_none() && !append && value.is_number();
        let partial = append || subscript.is_some();
        if let Some((arithmetic, nested)) = subscript {
            value.arithmetic.push(arithmetic);
            value.nested.extend(nested);
        }
        let name = String::from_utf8_lossy(name).into_owned();
        let raw = String::from_utf8_lossy(self.text.get(start..end).unwrap_or_default()).into_owned();
        Ok(Some(Assign { span: Span::new(start, end), raw, name, partial, value, number }))
    }

    fn word(&mut self, mode: Mode) -> Result<Arg, ReadError> {
        let start = self.at;
        let (arg, end) = words::scan(self.text, start, self.depth, mode, self.pages, &mut self.page)?;
        self.at = end;
        self.heredoc_allows(start)?;
        self.page.mark(MarkKind::Word, start, end);
        let joined = self.text.get(..end).is_some_and(|read| read.ends_with(b"\\\n"));
        if joined && matches!(self.peek(0), Some(b'<' | b'>' | b'(')) {
            return Err(ReadError::unsupported(
                start,
                end,
                "a line continuation before an operator; put a blank before it",
            ));
        }
        if matches!(self.peek(0), Some(b'<' | b'>')) && names_an_element(&arg.word.raw) {
            return Err(ReadError::unsupported(
                start,
                end,
                "a descriptor in an array; put a blank before the operator",
            ));
        }
        Ok(arg)
    }

    /// A here-document's body begins at the next newline, wherever it stands; a word must not hide that newline.
    fn heredoc_allows(&self, start: usize) -> Result<(), ReadError> {
        let newline = self.text.get(start..self.at).unwrap_or_default().contains(&b'\n');
        if newline && !self.heredocs.is_empty() {
            return Err(ReadError::unsupported(start, self.at, "a word of several lines behind a here-document"));
        }
        Ok(())
    }

    /// `<(` or `>(` stands here, which begins a word.
    fn process_substitution(&self) -> bool {
        matches!(self.peek(0), Some(b'<' | b'>')) && self.peek(1) == Some(b'(')
    }

    fn redirect(&mut self) -> Result<Option<Redirect>, ReadError> {
        let start = self.at;
        let variable = self.named_descriptor()?;
        let ahead = self.text.get(start..).unwrap_or_default();
        let digits = match &variable {
            Some(name) => name.len() + 2,
            None => ahead.iter().take_while(|byte| byte.is_ascii_digit()).count(),
        };
        let behind = ahead.get(digits..).unwrap_or_default();
        if matches!(behind, [b'<' | b'>', b'(', ..]) {
            return match digits {
                0 => Ok(None), // process substitution: a word
                _ => Err(self.unsupported("a process substitution behind a number; put a blank between them")),
            };
        }
        let Some(op) = REDIRECTIONS.into_iter().find(|op| behind.starts_with(op.as_bytes())) else { return Ok(None) };
        if digits > 0 && op.starts_with('&') {
            return Ok(None); // `2&>f`: the digits are a word
        }
        let fd = match std::str::from_utf8(ahead.get(..digits).unwrap_or_default()).map(str::parse::<u32>) {
            _ if variable.is_some() => None,
            Ok(Ok(fd)) => Some(fd),
            _ if digits > 0 => return Err(self.unsupported("a descriptor number out of range")),
            _ => implied_descriptor(op),
        };
        if variable.is_some() {
            self.page.fill(start, start + digits, Fill::Blank);
        } else if digits > 0 {
            self.page.mark(MarkKind::Descriptor, start, start + digits);
        }
        self.at = start + digits;
        let document = op == "<<" || op == "<<-";
        // tree-sitter-bash does not know `<>` either, which brush sees as it stands.
        if op.starts_with("<<") || op == "<>" {
            self.page.fill(self.at + 1, self.at + op.len(), Fill::Blank); // the second reading sees `< word`
            self.page.mark(MarkKind::Operator, self.at, self.at + 1);
            self.at += op.len();
            self.not_continued()?;
        } else {
            self.operator(op.len())?;
        }
        self.skip_blanks();
        // Behind `>&` bash takes `-` for a token of its own, blanks or not.
        let closes = (op == "<&" || op == ">&") && self.peek(0) == Some(b'-');
        if self.peek(0).is_none_or(is_break) && !self.process_substitution() {
            return Err(self.refuse("syntax error: a redirection without a target"));
        }
        let target = self.word(Mode::Plain)?;
        if closes && target.word.raw != "-" {
            // The operator is `>&-`, and what follows is a word of the command.
            return Err(ReadError::unsupported(start, self.at, "a word right behind `>&-`; put a blank between them"));
        }
        let duplicates = (op == "<&" || op == ">&") && !names_a_file(&target.word);
        if fd.is_some_and(|fd| fd >= SHELLS_OWN) || (duplicates && !is_low_descriptor(&target.word.value)) {
            let detail = "descriptors from 10 up are the shell's own, and which one this is must be written out";
            return Err(ReadError::unsupported(start, self.at, detail));
        }
        let body = if document { Some(self.open_heredoc(&target, op == "<<-")?) } else { None };
        Ok(Some(Redirect { span: Span::new(start, self.at), fd, variable, op, target, body }))
    }

    /// `{name}>file` opens a descriptor of bash's choice.
    fn named_descriptor(&self) -> Result<Option<String>, ReadError> {
        let Some(inside) = self.text.get(self.at..).and_then(|ahead| ahead.strip_prefix(b"{")) else { return Ok(None) };
        let mut name = Vec::new();
        let mut rest = inside;
        let mut continued = false;
        let fits = loop {
            match rest {
                [b'\\', b'\n', behind @ ..] => {
                    continued = true;
                    rest = behind;
                }
                [b'}', b'<' | b'>', ..] => break true,
                [b'}', b'\\', b'\n', ..] => return Err(self.unsupported("a line continuation behind `}`")),
                [byte, behind @ ..] if is_name(*byte) => {
                    name.push(*byte);
                    rest = behind;
                }
                _ => break false,
            }
        };
        if !fits || !name.first().copied().is_some_and(starts_name) {
            return Ok(None);
        }
        if continued {
            return Err(self.unsupported("a line continuation inside a descriptor's name"));
        }
        Ok(Some(String::from_utf8_lossy(&name).into_owned()))
    }

    fn skip_newlines(&mut self) -> Result<(), ReadError> {
        loop {
            self.skip_blanks();
            match self.peek(0) {
                Some(b'\n') => self.newline()?,
                _ => return Ok(()),
            }
        }
    }

    /// Blanks, line continuations between words, and a comment.
    fn skip_blanks(&mut self) {
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some(b' ' | b'\t'), _) => self.at += 1,
                (Some(b'\\'), Some(b'\n')) => self.at += 2,
                (Some(b'#'), _) => {
                    let ahead = self.text.get(self.at..).unwrap_or_default();
                    let length = ahead.iter().position(|byte| *byte == b'\n').unwrap_or(ahead.len());
                    self.comment = Some(Span::new(self.at, self.at + length));
                    self.at += length;
                }
                _ => return,
            }
        }
    }

    /// Consumes an operator.
    fn operator(&mut self, length: usize) -> Result<(), ReadError> {
        self.page.mark(MarkKind::Operator, self.at, self.at + length);
        self.at += length;
        self.not_continued()
    }

    /// Consumes a reserved word that stands here.
    fn keyword(&mut self, word: &[u8]) -> Result<(), ReadError> {
        if self.plain_word() != word {
            let word = String::from_utf8_lossy(word);
            return Err(self.refuse(&format!("syntax error: `{word}` is missing here")));
        }
        self.page.mark(MarkKind::Operator, self.at, self.at + word.len());
        self.at += word.len();
        Ok(())
    }

    /// bash removes line continuations before it looks for operators, so behind one an operator may go on.
    fn not_continued(&self) -> Result<(), ReadError> {
        let mut at = 0;
        while self.peek(at) == Some(b'\\') && self.peek(at + 1) == Some(b'\n') {
            at += 2;
        }
        if at > 0 && self.peek(at).is_some_and(|byte| b"&|;<>()-".contains(&byte)) {
            return Err(self.unsupported("a line continuation between two operators; put a blank before it"));
        }
        Ok(())
    }

    /// The word here as written, if it has no quotes or expansions; else its beginning up to the next break.
    fn plain_word(&self) -> &'a [u8] {
        let ahead = self.text.get(self.at..).unwrap_or_default();
        let length = ahead.iter().position(|byte| is_break(*byte)).unwrap_or(ahead.len());
        ahead.get(..length).unwrap_or_default()
    }

    fn reserved(&self) -> ReadError {
        let word = self.plain_word();
        let detail = format!("syntax error: the reserved word `{}` stands here", String::from_utf8_lossy(word));
        ReadError::Refuse { span: Span::new(self.at, self.at + word.len()), detail }
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.text.get(self.at + ahead).copied()
    }

    fn unsupported(&self, detail: &str) -> ReadError {
        ReadError::unsupported(self.at, self.at + 1, detail)
    }

    fn refuse(&self, detail: &str) -> ReadError {
        ReadError::refuse(self.at, detail)
    }
}

/// Refuses what is nested deeper than [`MAX_DEPTH`]. Whatever reads something inside of itself asks here, whether or not
/// it recurses: the other two readings of the text may.
pub(crate) fn too_deep(at: usize, depth: u32) -> Result<(), ReadError> {
    if depth > MAX_DEPTH {
        return Err(ReadError::refuse(at, &format!("nested deeper than the limit of {MAX_DEPTH}")));
    }
    Ok(())
}

/// The descriptor that an operator changes when none is written.
fn implied_descriptor(op: &str) -> Option<u32> {
    match op {
        "<" | "<>" | "<&" | "<<" | "<<-" | "<<<" => Some(0),
        ">" | ">>" | ">|" | ">&" => Some(1),
        _ => None,
    }
}

/// From here up bash keeps what it needs for itself: its input, and where it reports that a command is done.
const SHELLS_OWN: u32 = 10;

/// `{name[…]}`, which has an element of an array hold the descriptor if a redirection follows.
fn names_an_element(raw: &str) -> bool {
    let raw = raw.replace("\\\n", "");
    let inside = raw.strip_prefix('{').and_then(|rest| rest.strip_suffix("]}"));
    let name = inside.and_then(|inside| inside.split_once('[')).map_or("", |(name, _)| name);
    name.bytes().next().is_some_and(starts_name) && name.bytes().all(is_name)
}

/// Literal text that is no number, with or without `-` behind it: `>&file`. Quotes make a file of any word.
fn names_a_file(word: &Word) -> bool {
    let number = |text: &str| text.strip_suffix('-').unwrap_or(text).bytes().all(|byte| byte.is_ascii_digit());
    word.value.literal().is_some_and(|text| !number(text) || text != word.raw && text.ends_with('-'))
}

/// `<&3`, `>&2-`, `<&-`.
fn is_low_descriptor(value: &Value) -> bool {
    let Some(text) = value.literal() else { return false };
    let number = text.strip_suffix('-').unwrap_or(text);
    number.is_empty() || number.parse::<u32>().is_ok_and(|number| number < SHELLS_OWN)
}

/// What a here-document's redirection and the reading of its body share.
pub(crate) type Body = Rc<OnceCell<Arg>>;
