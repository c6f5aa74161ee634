//! Our own reading of a script, by bash's grammar, from the raw bytes: text → [`crate::ast`].
//!
//! This file decides how words, operators and here-documents make up commands. It reads a part of the language exactly
//! and stops at anything else: [`Stop::Unsupported`] where bash would go on, [`Stop::Refuse`] where nothing can be said
//! at all. While it reads it leaves a [`Mark`] for each token, which [`crate::lower`] compares with a second reading.

use crate::ast::{Arg, Assign, Join, Part, Pipeline, Redirect, Script, SimpleCommand, Statement};
use crate::inventory::OpaqueReason;
use crate::span::Span;
use crate::word::{self, Value, is_break, is_name, starts_name};

/// Nesting of brackets, substitutions, wrappers and code in code that is read. bash itself needs half a minute for 500
/// nested substitutions; nobody writes 64.
pub(crate) const MAX_DEPTH: u32 = 64;

/// What was read before the end or the first thing that is not supported.
pub(crate) struct Reading {
    pub(crate) script: Script,
    pub(crate) marks: Vec<Mark>,
    /// The statement that could not be read; it reaches to the end of the text.
    pub(crate) rest: Option<Rest>,
}

/// The end of a script that could not be read.
pub(crate) struct Rest {
    pub(crate) span: Span,
    pub(crate) reason: OpaqueReason,
    pub(crate) detail: String,
}

/// One token: what two readings of a script must agree about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark {
    pub(crate) span: Span,
    pub(crate) kind: MarkKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum MarkKind {
    Word,
    Operator,
    Descriptor,
    /// This word is the name of a command.
    Program,
}

/// Why reading ended early.
#[derive(Debug)]
pub(crate) enum Stop {
    /// bash may well read it; we do not.
    Unsupported { span: Span, reason: OpaqueReason, detail: String },
    /// A syntax error or a limit: nothing is said about any part of the text.
    Refuse { span: Span, detail: String },
}

impl Stop {
    pub(crate) fn unsupported(start: usize, end: usize, detail: &str) -> Self {
        let reason = OpaqueReason::UnknownSyntax;
        Self::Unsupported { span: Span::new(start, end), reason, detail: detail.to_owned() }
    }

    pub(crate) fn refuse(at: usize, detail: &str) -> Self {
        Self::Refuse { span: Span::new(at, at + 1), detail: detail.to_owned() }
    }
}

/// Reads a whole script that is nested `depth` deep.
pub(crate) fn read(text: &[u8], depth: u32) -> Result<Reading, Stop> {
    let mut marks = Vec::new();
    let mut reader = Reader::new(text, 0, depth, None, &mut marks)?;
    let mut script = Script::default();
    let mut rest = None;
    loop {
        reader.skip_newlines()?;
        if reader.peek(0).is_none() {
            reader.no_open_heredoc()?;
            break;
        }
        let start = reader.at;
        let known = reader.marks.len();
        match reader.statement() {
            Ok(statement) => script.statements.push(statement),
            Err(Stop::Unsupported { span, reason, detail }) => {
                reader.marks.truncate(known);
                let detail = format!("{detail} (at byte {})", span.start);
                rest = Some(Rest { span: Span::new(start, text.len()), reason, detail });
                break;
            }
            Err(refused @ Stop::Refuse { .. }) => return Err(refused),
        }
    }
    Ok(Reading { script, marks, rest })
}

/// Reads the inside of `$( … )`, which begins at `start`. Returns it with the offset behind its closing bracket.
pub(crate) fn substitution(
    text: &[u8],
    start: usize,
    depth: u32,
    marks: &mut Vec<Mark>,
) -> Result<(Script, usize), Stop> {
    let mut reader = Reader::new(text, start, depth, Some(b')'), marks)?;
    let script = reader.list()?;
    if reader.peek(0) != Some(b')') {
        return Err(Stop::refuse(start.saturating_sub(2), "unterminated `$(`"));
    }
    Ok((script, reader.at + 1))
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

/// Builtins whose operands are assignments: `[` behind a name begins a subscript there, blanks and all.
const DECLARATIONS: [&[u8]; 5] = [b"declare", b"export", b"local", b"readonly", b"typeset"];

/// Longest first, as bash reads them.
const REDIRECTIONS: [&str; 12] = ["&>>", "<<<", "<<-", "&>", ">>", ">|", ">&", "<<", "<>", "<&", ">", "<"];

struct Reader<'a, 'm> {
    text: &'a [u8],
    at: usize,
    depth: u32,
    closing: Option<u8>,
    /// Here-documents whose bodies begin behind the next newline.
    heredocs: Vec<Heredoc>,
    /// The next command word belongs to `time`, which a second reading takes for the program.
    timed: bool,
    marks: &'m mut Vec<Mark>,
}

struct Heredoc {
    span: Span,
    delimiter: String,
    quoted: bool,
    strip_tabs: bool,
}

impl<'a, 'm> Reader<'a, 'm> {
    fn new(text: &'a [u8], at: usize, depth: u32, closing: Option<u8>, marks: &'m mut Vec<Mark>) -> Result<Self, Stop> {
        if depth > MAX_DEPTH {
            return Err(Stop::refuse(at, &format!("nested deeper than the limit of {MAX_DEPTH}")));
        }
        Ok(Self { text, at, depth, closing, heredocs: Vec::new(), timed: false, marks })
    }

    /// Statements up to the closing bracket, which is not consumed.
    fn list(&mut self) -> Result<Script, Stop> {
        let mut script = Script::default();
        loop {
            self.skip_newlines()?;
            match self.peek(0) {
                None => return Err(self.refuse("an opening bracket is never closed")),
                Some(b')') if self.closing == Some(b')') => break,
                Some(b'}') if self.closing == Some(b'}') && self.plain_word() == b"}" => break,
                Some(_) => script.statements.push(self.statement()?),
            }
        }
        if self.heredocs.is_empty() {
            return Ok(script);
        }
        Err(self.unsupported("a here-document whose body begins behind a closing bracket"))
    }

    fn statement(&mut self) -> Result<Statement, Stop> {
        let first = self.pipeline()?;
        let mut rest = Vec::new();
        let mut background = false;
        loop {
            self.skip_blanks();
            match (self.peek(0), self.peek(1)) {
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
                (None | Some(b'\n'), _) => break,
                (Some(b')'), _) if self.closing == Some(b')') => break,
                _ => return Err(self.refuse("syntax error: this cannot stand behind a command")),
            }
            let join = if self.text.get(self.at - 1) == Some(&b'&') { Join::And } else { Join::Or };
            self.skip_newlines()?;
            rest.push((join, self.pipeline()?));
        }
        Ok(Statement { first, rest, background })
    }

    fn pipeline(&mut self) -> Result<Pipeline, Stop> {
        let mut negated = false;
        self.skip_blanks();
        while self.plain_word() == b"!" {
            negated = !negated;
            self.operator(1)?;
            self.skip_blanks();
        }
        if self.plain_word() == b"time" {
            self.time()?;
        }
        let mut parts = vec![self.part()?];
        loop {
            self.skip_blanks();
            match (self.peek(0), self.peek(1)) {
                (Some(b'|'), Some(b'|')) => break,
                (Some(b'|'), Some(b'&')) => self.operator(2)?,
                (Some(b'|'), _) => self.operator(1)?,
                _ => break,
            }
            self.skip_newlines()?;
            parts.push(self.part()?);
        }
        Ok(Pipeline { negated, parts })
    }

    /// The reserved word `time`, with its own option and `--`; what follows runs as if it were not there.
    fn time(&mut self) -> Result<(), Stop> {
        self.mark(MarkKind::Program, self.at, self.at + 4);
        for option in [&b"time"[..], b"-p", b"--"] {
            if self.plain_word() == option {
                self.mark(MarkKind::Word, self.at, self.at + option.len());
                self.at += option.len();
                self.skip_blanks();
            }
        }
        let next = self.plain_word();
        let plain = next.first().is_some_and(|byte| !b"-~$'\"`\\".contains(byte)) && !RESERVED.contains(&next);
        if !plain {
            return Err(self.unsupported("`time` before anything but a simple command"));
        }
        self.timed = true;
        Ok(())
    }

    fn part(&mut self) -> Result<Part, Stop> {
        self.skip_blanks();
        match self.peek(0) {
            Some(b'(') if self.peek(1) == Some(b'(') => {
                Err(self.unsupported("`((`; for a subshell in a subshell put a blank between the brackets"))
            }
            Some(b'(') => {
                self.operator(1)?;
                let script = self.nested(b')')?;
                Ok(Part::Subshell(script, self.redirects_only()?))
            }
            Some(b'{') if self.plain_word() == b"{" => {
                self.operator(1)?;
                let script = self.nested(b'}')?;
                Ok(Part::Group(script, self.redirects_only()?))
            }
            _ => self.simple_command().map(Part::Simple),
        }
    }

    fn nested(&mut self, closing: u8) -> Result<Script, Stop> {
        if !self.heredocs.is_empty() {
            return Err(self.unsupported("a bracket behind a here-document on the same line"));
        }
        let opening = self.at;
        let mut inner = Reader::new(self.text, self.at, self.depth + 1, Some(closing), self.marks)?;
        let script = inner.list()?;
        self.at = inner.at;
        if script.statements.is_empty() {
            return Err(Stop::refuse(opening, "syntax error: nothing stands in these brackets"));
        }
        self.operator(1)?;
        Ok(script)
    }

    fn redirects_only(&mut self) -> Result<Vec<Redirect>, Stop> {
        let mut redirects = Vec::new();
        loop {
            self.skip_blanks();
            match self.redirect()? {
                Some(redirect) => redirects.push(redirect),
                None => return Ok(redirects),
            }
        }
    }

    fn simple_command(&mut self) -> Result<SimpleCommand, Stop> {
        let start = self.at;
        let (mut assignments, mut words, mut redirects) = (Vec::new(), Vec::new(), Vec::new());
        let mut end = start;
        let mut declaration = false;
        loop {
            self.skip_blanks();
            if let Some(redirect) = self.redirect()? {
                redirects.push(redirect);
            } else if self.peek(0) == Some(b'(') {
                return Err(self.unsupported("a function definition, or a bracket where bash allows none"));
            } else if self.peek(0).is_none_or(is_break) {
                break;
            } else if let Some(assign) = if words.is_empty() { self.assignment()? } else { None } {
                assignments.push(assign);
            } else {
                let word_start = self.at;
                if words.is_empty() && RESERVED.contains(&self.plain_word()) {
                    return Err(self.reserved());
                }
                declaration |= DECLARATIONS.contains(&self.plain_word());
                if (declaration || words.is_empty()) && self.subscript() {
                    return Err(self.arithmetic("an array element: its subscript is arithmetic, which can run code"));
                }
                let arg = self.word()?;
                if words.is_empty() && !std::mem::take(&mut self.timed) {
                    self.mark(MarkKind::Program, word_start, self.at);
                }
                words.push(arg);
            }
            end = self.at;
        }
        if assignments.is_empty() && words.is_empty() && redirects.is_empty() {
            return Err(self.refuse("syntax error: a command is missing here"));
        }
        self.timed = false;
        Ok(SimpleCommand { span: Span::new(start, end), assignments, words, redirects })
    }

    /// `NAME=value` or `NAME+=value`; before the command word only.
    fn assignment(&mut self) -> Result<Option<Assign>, Stop> {
        let start = self.at;
        let ahead = self.text.get(start..).unwrap_or_default();
        let length = ahead.iter().take_while(|byte| is_name(**byte)).count();
        let name = ahead.get(..length).unwrap_or_default();
        let append = matches!(ahead.get(length..), Some([b'+', b'=', ..]));
        let assigns = append || ahead.get(length) == Some(&b'=');
        if !assigns || !name.first().copied().is_some_and(starts_name) {
            return Ok(None);
        }
        let value_start = start + length + 1 + usize::from(append);
        let (value, end) = word::scan(self.text, value_start, self.depth, self.marks)?;
        self.at = end;
        self.heredoc_allows(start)?;
        self.mark(MarkKind::Word, start, end);
        let name = String::from_utf8_lossy(name).into_owned();
        Ok(Some(Assign { span: Span::new(start, end), name, append, value }))
    }

    /// `NAME[` stands here.
    fn subscript(&self) -> bool {
        let ahead = self.text.get(self.at..).unwrap_or_default();
        let length = ahead.iter().take_while(|byte| is_name(**byte)).count();
        ahead.first().copied().is_some_and(starts_name) && ahead.get(length) == Some(&b'[')
    }

    fn word(&mut self) -> Result<Arg, Stop> {
        let start = self.at;
        let (arg, end) = word::scan(self.text, start, self.depth, self.marks)?;
        self.at = end;
        self.heredoc_allows(start)?;
        self.mark(MarkKind::Word, start, end);
        Ok(arg)
    }

    /// A here-document's body begins at the next newline, wherever it stands; a word must not hide that newline.
    fn heredoc_allows(&self, start: usize) -> Result<(), Stop> {
        let newline = self.text.get(start..self.at).unwrap_or_default().contains(&b'\n');
        if newline && !self.heredocs.is_empty() {
            return Err(Stop::unsupported(start, self.at, "a word of several lines behind a here-document"));
        }
        Ok(())
    }

    fn redirect(&mut self) -> Result<Option<Redirect>, Stop> {
        let start = self.at;
        let ahead = self.text.get(start..).unwrap_or_default();
        let digits = ahead.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let behind = ahead.get(digits..).unwrap_or_default();
        if matches!(behind, [b'<' | b'>', b'(', ..]) {
            return Err(self.unsupported("process substitution is not read yet; use a file or a pipe"));
        }
        let Some(op) = REDIRECTIONS.into_iter().find(|op| behind.starts_with(op.as_bytes())) else {
            return self.no_named_descriptor();
        };
        if digits > 0 && op.starts_with('&') {
            return Ok(None); // `2&>f`: the digits are a word
        }
        let fd = match std::str::from_utf8(ahead.get(..digits).unwrap_or_default()).map(str::parse::<u32>) {
            Ok(Ok(fd)) => Some(fd),
            _ if digits > 0 => return Err(self.unsupported("a descriptor number out of range")),
            _ => implied_descriptor(op),
        };
        if digits > 0 {
            self.mark(MarkKind::Descriptor, start, start + digits);
        }
        self.at = start + digits;
        self.operator(op.len())?;
        self.skip_blanks();
        if self.peek(0).is_none_or(is_break) {
            return Err(self.refuse("syntax error: a redirection without a target"));
        }
        let target = self.word()?;
        let duplicates = (op == "<&" || op == ">&") && !names_a_file(&target.word.value);
        if fd.is_some_and(|fd| fd >= SHELLS_OWN) || (duplicates && !is_low_descriptor(&target.word.value)) {
            let detail = "descriptors from 10 up are the shell's own, and which one this is must be written out";
            return Err(Stop::unsupported(start, self.at, detail));
        }
        if op == "<<" || op == "<<-" {
            self.open_heredoc(&target, op == "<<-")?;
        }
        Ok(Some(Redirect { span: Span::new(start, self.at), fd, op, target }))
    }

    /// `{name}>file` opens a descriptor of bash's choice.
    fn no_named_descriptor(&self) -> Result<Option<Redirect>, Stop> {
        let word = self.plain_word();
        let behind = self.text.get(self.at + word.len());
        if word.starts_with(b"{") && word.ends_with(b"}") && matches!(behind, Some(b'<' | b'>')) {
            return Err(self.unsupported("a redirection with a descriptor in a variable"));
        }
        Ok(None)
    }

    fn open_heredoc(&mut self, target: &Arg, strip_tabs: bool) -> Result<(), Stop> {
        let span = target.word.span;
        let literal = target.word.value.literal().filter(|delimiter| !delimiter.contains('\n'));
        let Some(delimiter) = literal.filter(|_| !target.word.raw.contains('$')) else {
            return Err(Stop::unsupported(span.start, span.end, "a here-document with a computed delimiter"));
        };
        let quoted = target.word.quoted;
        self.heredocs.push(Heredoc { span, delimiter: delimiter.to_owned(), quoted, strip_tabs });
        Ok(())
    }

    /// A newline, and the bodies of the here-documents that it begins.
    fn newline(&mut self) -> Result<(), Stop> {
        self.at += 1;
        for heredoc in std::mem::take(&mut self.heredocs) {
            self.heredoc_body(&heredoc)?;
        }
        Ok(())
    }

    fn heredoc_body(&mut self, heredoc: &Heredoc) -> Result<(), Stop> {
        loop {
            let ahead = self.text.get(self.at..).unwrap_or_default();
            if ahead.is_empty() {
                return Err(Stop::Refuse {
                    span: heredoc.span,
                    detail: format!("the here-document `{}` is not closed", heredoc.delimiter),
                });
            }
            let length = ahead.iter().position(|byte| *byte == b'\n').unwrap_or(ahead.len());
            let line = ahead.get(..length).unwrap_or_default();
            let start = self.at;
            self.at = (start + length + 1).min(self.text.len());
            let tabs = if heredoc.strip_tabs { line.iter().take_while(|byte| **byte == b'\t').count() } else { 0 };
            let content = line.get(tabs..).unwrap_or_default();
            if content == heredoc.delimiter.as_bytes() {
                return Ok(());
            }
            if self.depth > 0 && content.starts_with(heredoc.delimiter.as_bytes()) {
                // Inside `$( … )` bash may end the document at such a line and read on behind the delimiter.
                return Err(Stop::unsupported(start, self.at, "a line that begins like the delimiter in `$( … )`"));
            }
            if !heredoc.quoted {
                heredoc_line(line, start)?;
            }
        }
    }

    fn no_open_heredoc(&self) -> Result<(), Stop> {
        match self.heredocs.first() {
            None => Ok(()),
            Some(open) => Err(Stop::Refuse {
                span: open.span,
                detail: format!("the here-document `{}` has no body", open.delimiter),
            }),
        }
    }

    fn skip_newlines(&mut self) -> Result<(), Stop> {
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
                    self.at += ahead.iter().position(|byte| *byte == b'\n').unwrap_or(ahead.len());
                }
                _ => return,
            }
        }
    }

    /// Consumes an operator. bash removes line continuations before it looks for operators, so none may touch it.
    fn operator(&mut self, length: usize) -> Result<(), Stop> {
        self.mark(MarkKind::Operator, self.at, self.at + length);
        self.at += length;
        if self.peek(0) == Some(b'\\') && self.peek(1) == Some(b'\n') {
            return Err(self.unsupported("a line continuation directly behind an operator; put a blank before it"));
        }
        Ok(())
    }

    /// The word here as written, if it has no quotes or expansions; else its beginning up to the next break.
    fn plain_word(&self) -> &'a [u8] {
        let ahead = self.text.get(self.at..).unwrap_or_default();
        let length = ahead.iter().position(|byte| is_break(*byte)).unwrap_or(ahead.len());
        ahead.get(..length).unwrap_or_default()
    }

    fn reserved(&self) -> Stop {
        let word = String::from_utf8_lossy(self.plain_word()).into_owned();
        let detail = match word.as_str() {
            "for" | "while" | "until" | "select" => format!("`{word}` loops are not read yet; write the commands out"),
            "if" | "case" => format!("`{word}` is not read yet; use `&&` and `||`, or separate commands"),
            "function" => "functions are not read yet; write the commands out".to_owned(),
            "[[" => "`[[` is not read yet; use `[`".to_owned(),
            other => format!("the reserved word `{other}` stands where it is not read"),
        };
        Stop::unsupported(self.at, self.at + word.len(), &detail)
    }

    fn arithmetic(&self, detail: &str) -> Stop {
        let span = Span::new(self.at, self.at + self.plain_word().len());
        Stop::Unsupported { span, reason: OpaqueReason::Arithmetic, detail: detail.to_owned() }
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.text.get(self.at + ahead).copied()
    }

    fn mark(&mut self, kind: MarkKind, start: usize, end: usize) {
        self.marks.push(Mark { span: Span::new(start, end), kind });
    }

    fn unsupported(&self, detail: &str) -> Stop {
        Stop::unsupported(self.at, self.at + 1, detail)
    }

    fn refuse(&self, detail: &str) -> Stop {
        Stop::refuse(self.at, detail)
    }
}

/// The descriptor that an operator changes when none is written.
fn implied_descriptor(op: &str) -> Option<u32> {
    match op {
        "<" | "<>" | "<&" | "<<" | "<<-" | "<<<" => Some(0),
        ">" | ">>" | ">|" | ">&" => Some(1),
        _ => None,
    }
}

/// A line of a here-document in which bash expands: only plain parameters pass.
fn heredoc_line(line: &[u8], start: usize) -> Result<(), Stop> {
    let mut at = 0;
    while let Some(byte) = line.get(at) {
        at += match (byte, line.get(at + 1)) {
            (b'\\', None) => {
                return Err(Stop::unsupported(start, start + at, "a line continuation in a here-document"));
            }
            (b'\\', Some(_)) => 2,
            (b'$', Some(next)) if starts_name(*next) || next.is_ascii_digit() => 2,
            (b'$', Some(b'{')) => {
                let name = line.get(at + 2..).unwrap_or_default();
                let length = name.iter().take_while(|byte| is_name(**byte)).count();
                if length == 0 || name.get(length) != Some(&b'}') {
                    return Err(Stop::unsupported(start, start + at, "an expansion in a here-document"));
                }
                length + 3
            }
            (b'$', Some(b'(' | b'[')) | (b'`', _) => {
                let detail = "a substitution in a here-document; quote the delimiter if it is meant as text";
                return Err(Stop::unsupported(start + at, start + at + 1, detail));
            }
            _ => 1,
        };
    }
    Ok(())
}

/// From here up bash keeps what it needs for itself: its input, and where it reports that a command is done.
const SHELLS_OWN: u32 = 10;

/// Literal text that is neither digits nor `-`: `>&file`.
fn names_a_file(value: &Value) -> bool {
    value.literal().is_some_and(|text| text.bytes().any(|byte| !byte.is_ascii_digit() && byte != b'-'))
}

/// `<&3`, `>&2-`, `<&-`.
fn is_low_descriptor(value: &Value) -> bool {
    let Some(text) = value.literal() else { return false };
    let number = text.strip_suffix('-').unwrap_or(text);
    number.is_empty() || number.parse::<u32>().is_ok_and(|number| number < SHELLS_OWN)
}
