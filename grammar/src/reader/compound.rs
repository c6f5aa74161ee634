//! Commands that begin with a reserved word or a bracket, and definitions of functions.
//!
//! This file decides where each compound command ends and what its parts are.

use std::rc::Rc;

use super::{End, Fill, MarkKind, ReadError, Reader, too_deep};
use crate::ast::{Arg, Arm, Compound, CompoundKind, Coproc, Function, Part, Script};
use crate::reader::words::{self, Mode};
use crate::span::Span;
use crate::word::{Value, is_break, is_name, starts_name};

const THEN: End = End { words: &[b"then"], missing: "syntax error: `if` without `then`", ..End::TEXT };
const BRANCH: End = End { words: &[b"elif", b"else", b"fi"], missing: "syntax error: `if` without `fi`", ..End::TEXT };
const FI: End = End { words: &[b"fi"], missing: "syntax error: `if` without `fi`", ..End::TEXT };
const DO: End = End { words: &[b"do"], missing: "syntax error: a loop without `do`", ..End::TEXT };
const DONE: End = End { words: &[b"done"], missing: "syntax error: a loop without `done`", ..End::TEXT };
const BRACE: End = End { words: &[b"}"], missing: "syntax error: an opening brace is never closed", ..End::TEXT };
const BRACKET: End = End { bracket: true, missing: "syntax error: an opening bracket is never closed", ..End::TEXT };
const ARM: End = End { arm: true, words: &[b"esac"], missing: "syntax error: `case` without `esac`", ..End::TEXT };

impl Reader<'_, '_> {
    /// The compound command or definition that begins here, if one does.
    pub(super) fn compound(&mut self) -> Result<Option<Part>, ReadError> {
        match self.plain_word() {
            b"function" => return self.function_keyword().map(Some),
            b"coproc" => return self.coproc().map(Some),
            _ => {}
        }
        Ok(self.compound_command()?.map(|compound| Part::Compound(Box::new(compound))))
    }

    fn compound_command(&mut self) -> Result<Option<Compound>, ReadError> {
        let start = self.at;
        let kind = match self.plain_word() {
            _ if self.peek(0) == Some(b'(') => self.bracket()?,
            b"{" => {
                self.operator(1)?;
                let inside = self.block(&BRACE)?;
                self.keyword(b"}")?;
                CompoundKind::Group(inside)
            }
            b"if" => self.branches()?,
            b"while" | b"until" => self.condition_loop()?,
            b"for" => self.for_loop(false)?,
            b"select" => self.for_loop(true)?,
            b"case" => self.case()?,
            b"[[" => self.test()?,
            _ => return Ok(None),
        };
        let redirects = self.redirects_only()?;
        let end = redirects.last().map_or(self.at, |redirect| redirect.span.end);
        Ok(Some(Compound { span: Span::new(start, end), kind, redirects }))
    }

    /// A list that must hold something, one level deeper.
    fn block(&mut self, end: &End) -> Result<Script, ReadError> {
        let opening = self.at;
        let script = self.deeper(|reader| reader.list(end))?;
        if script.statements.is_empty() {
            return Err(ReadError::refuse(opening, "syntax error: a command is missing here"));
        }
        Ok(script)
    }

    fn bracket(&mut self) -> Result<CompoundKind, ReadError> {
        if self.peek(1) == Some(b'(')
            && let Some(end) = words::arithmetic_end(self.text, self.at + 2)?
        {
            let start = self.at;
            let evaluated = words::evaluate(self.text, start + 2..end, self.depth, self.pages)?;
            self.at = end + 2;
            self.page.fill(start, self.at, Fill::Word);
            self.page.mark(MarkKind::Word, start, self.at);
            self.page.mark(MarkKind::Program, start, self.at);
            return Ok(CompoundKind::Evaluate(Box::new(evaluated)));
        }
        self.operator(1)?;
        let inside = self.block(&BRACKET)?;
        self.operator(1)?;
        Ok(CompoundKind::Subshell(inside))
    }

    fn branches(&mut self) -> Result<CompoundKind, ReadError> {
        let mut arms = Vec::new();
        let mut word: &[u8] = b"if";
        loop {
            self.keyword(word)?;
            let condition = self.block(&THEN)?;
            self.keyword(b"then")?;
            let body = self.block(&BRANCH)?;
            arms.push((condition, body));
            word = self.plain_word();
            if word != b"elif" {
                break;
            }
        }
        let mut otherwise = None;
        if word == b"else" {
            self.keyword(b"else")?;
            otherwise = Some(self.block(&FI)?);
        }
        self.keyword(b"fi")?;
        Ok(CompoundKind::If { arms, otherwise })
    }

    fn condition_loop(&mut self) -> Result<CompoundKind, ReadError> {
        let word = self.plain_word();
        self.keyword(word)?;
        let condition = self.block(&DO)?;
        let body = self.loop_body()?;
        Ok(CompoundKind::While { condition, body })
    }

    fn loop_body(&mut self) -> Result<Script, ReadError> {
        self.keyword(b"do")?;
        let body = self.block(&DONE)?;
        self.keyword(b"done")?;
        Ok(body)
    }

    fn for_loop(&mut self, select: bool) -> Result<CompoundKind, ReadError> {
        let start = self.at;
        let word = self.plain_word();
        self.at += word.len();
        self.skip_blanks();
        if !select && self.peek(0) == Some(b'(') {
            return self.arithmetic_loop(start);
        }
        self.page.mark(MarkKind::Operator, start, start + word.len());
        let name = self.plain_word();
        if !name.first().copied().is_some_and(starts_name) || !name.iter().all(|byte| is_name(*byte)) {
            return Err(self.unsupported("a loop whose variable is not a plain name"));
        }
        let name_start = self.at;
        self.at += name.len();
        self.page.mark(MarkKind::Word, name_start, self.at);
        let name = String::from_utf8_lossy(name).into_owned();
        self.skip_newlines()?;
        let mut words = None;
        if self.plain_word() == b"in" {
            self.keyword(b"in")?;
            words = Some(self.loop_words()?);
        }
        self.skip_blanks();
        if self.peek(0) == Some(b';') {
            self.operator(1)?;
        }
        self.skip_newlines()?;
        if self.plain_word() == b"{" {
            return Err(self.unsupported("a loop whose body stands in braces; write `do` and `done`"));
        }
        let body = self.loop_body()?;
        Ok(CompoundKind::For { name, words, body })
    }

    fn loop_words(&mut self) -> Result<Vec<Arg>, ReadError> {
        let mut words = Vec::new();
        loop {
            self.skip_blanks();
            if self.peek(0).is_none_or(is_break) && !self.process_substitution() {
                return Ok(words);
            }
            words.push(self.word(Mode::Plain)?);
        }
    }

    /// `for (( …; …; … ))`, of which the second reading sees `while x`.
    fn arithmetic_loop(&mut self, start: usize) -> Result<CompoundKind, ReadError> {
        let Some(end) =
            (if self.peek(1) == Some(b'(') { words::arithmetic_end(self.text, self.at + 2)? } else { None })
        else {
            return Err(self.refuse("syntax error: `((` is missing here"));
        };
        let mut first = words::evaluate(self.text, self.at + 2..end, self.depth, self.pages)?;
        if first.arithmetic.len() != 3 {
            return Err(self.refuse("syntax error: an arithmetic `for` has three expressions"));
        }
        self.at = end + 2;
        self.page.fill(start, self.at, Fill::While);
        self.page.mark(MarkKind::Operator, start, start + 5);
        self.page.mark(MarkKind::Word, start + 6, self.at);
        self.page.mark(MarkKind::Program, start + 6, self.at);
        self.skip_blanks();
        match self.peek(0) {
            Some(b';') => self.operator(1)?,
            Some(b'\n') => {}
            _ => return Err(self.unsupported("`for ((…))` without `;` or a newline behind it")),
        }
        self.skip_newlines()?;
        let mut again = Arg::nothing(first.word.span);
        again.arithmetic = first.arithmetic.split_off(1);
        let body = self.loop_body()?;
        Ok(CompoundKind::Arithmetic { first: Box::new(first), again: Box::new(again), body })
    }

    fn case(&mut self) -> Result<CompoundKind, ReadError> {
        self.keyword(b"case")?;
        self.skip_blanks();
        if self.peek(0).is_none_or(is_break) {
            return Err(self.refuse("syntax error: `case` needs a word"));
        }
        let subject = Box::new(self.word(Mode::Plain)?);
        self.skip_newlines()?;
        self.keyword(b"in")?;
        let mut arms = Vec::new();
        loop {
            self.skip_newlines()?;
            if self.plain_word() == b"esac" {
                self.keyword(b"esac")?;
                return Ok(CompoundKind::Case { subject, arms });
            }
            arms.push(self.arm()?);
        }
    }

    fn arm(&mut self) -> Result<Arm, ReadError> {
        if self.peek(0) == Some(b'(') {
            self.operator(1)?;
            self.skip_blanks();
        }
        let start = self.at;
        let mut patterns = Vec::new();
        loop {
            self.skip_blanks();
            if self.peek(0).is_none_or(is_break) {
                return Err(self.refuse("syntax error: a pattern is missing here"));
            }
            let marked = self.page.marks.len();
            patterns.push(self.word(Mode::Plain)?);
            self.page.marks.truncate(marked);
            let end = self.at;
            self.skip_blanks();
            match self.peek(0) {
                Some(b'|') if self.peek(1) != Some(b'|') => {
                    self.at += 1;
                    if !self.heredocs.is_empty() {
                        return Err(self.unsupported("a here-document behind the patterns of `case`"));
                    }
                    self.skip_newlines()?;
                }
                Some(b')') => {
                    self.page.fill(start, end, Fill::Word);
                    self.page.mark(MarkKind::Word, start, end);
                    break;
                }
                _ => return Err(self.unsupported("a pattern of `case` that is not read")),
            }
        }
        self.operator(1)?;
        let body = self.deeper(|reader| reader.list(&ARM))?;
        let ends: &[u8] = self.text.get(self.at..).unwrap_or_default();
        let length = if ends.starts_with(b";;&") { 3 } else { 2 };
        let falls = ends.get(..length).is_some_and(|operator| operator != b";;");
        if ends.starts_with(b";") {
            self.operator(length)?;
        }
        Ok(Arm { patterns, body, falls })
    }

    /// `[[ … ]]`, which the second reading sees as one word.
    fn test(&mut self) -> Result<CompoundKind, ReadError> {
        let start = self.at;
        let marked = self.page.marks.len();
        let fills = self.page.fills();
        self.at += 2;
        let (mut words, mut open, mut negations) = (Vec::<Arg>::new(), 0_u32, 0_u32);
        loop {
            self.skip_test_blanks()?;
            let mode = match words.last().map(|word| word.word.raw.as_str()) {
                Some("=~") => Mode::Regex,
                Some("=" | "==" | "!=") => Mode::Pattern,
                _ => Mode::Test,
            };
            match (self.peek(0), self.peek(1)) {
                (None, _) => return Err(ReadError::refuse(start, "unterminated `[[`")),
                (Some(b'('), _) if mode == Mode::Test => {
                    open += 1;
                    too_deep(self.at, self.depth + open)?;
                    self.at += 1;
                }
                (Some(b')'), _) if open > 0 => {
                    open -= 1;
                    self.at += 1;
                }
                (Some(b'&'), Some(b'&')) | (Some(b'|'), Some(b'|')) => self.at += 2,
                (Some(b'<' | b'>'), Some(b' ' | b'\t')) if mode == Mode::Test => self.at += 1,
                (Some(byte), _) if is_break(byte) && mode != Mode::Regex => {
                    return Err(self.unsupported("an operator that `[[` does not have"));
                }
                _ if open == 0 && self.plain_word() == b"]]" => break,
                _ => {
                    let word = self.word(mode)?;
                    negations = if mode == Mode::Test && word.word.raw == "!" { negations + 1 } else { 0 };
                    too_deep(self.at, self.depth + negations)?;
                    words.push(word);
                }
            }
        }
        self.at += 2;
        self.page.marks.truncate(marked);
        self.page.forget_fills(fills);
        self.page.fill(start, self.at, Fill::Word);
        self.page.mark(MarkKind::Word, start, self.at);
        self.page.mark(MarkKind::Program, start, self.at);
        Ok(CompoundKind::Test { words })
    }

    fn skip_test_blanks(&mut self) -> Result<(), ReadError> {
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some(b' ' | b'\t'), _) => self.at += 1,
                (Some(b'\\'), Some(b'\n')) => self.at += 2,
                (Some(b'\n'), _) if self.heredocs.is_empty() => self.at += 1,
                (Some(b'\n'), _) => return Err(self.unsupported("a here-document that begins inside `[[`")),
                _ => return Ok(()),
            }
        }
    }

    /// `NAME ()` stands here, the name already read.
    pub(super) fn function(&mut self, start: usize, name: &Arg) -> Result<Part, ReadError> {
        self.at += 1;
        self.skip_blanks();
        let plain = matches!(&name.word.value, Value::Literal(text) if *text == name.word.raw);
        if self.peek(0) != Some(b')') || !plain {
            return Err(self.unsupported("a bracket where bash allows none"));
        }
        self.at += 1;
        self.definition(start, name.word.raw.clone())
    }

    /// `function NAME` with or without brackets.
    fn function_keyword(&mut self) -> Result<Part, ReadError> {
        let start = self.at;
        self.at += b"function".len();
        self.skip_blanks();
        let name = self.word(Mode::Plain)?;
        self.skip_blanks();
        if self.peek(0) == Some(b'(') && self.peek(1) != Some(b'(') {
            return self.function(start, &name);
        }
        let plain = matches!(&name.word.value, Value::Literal(text) if *text == name.word.raw);
        if !plain {
            return Err(self.unsupported("a function whose name is not plain"));
        }
        self.definition(start, name.word.raw)
    }

    fn definition(&mut self, start: usize, name: String) -> Result<Part, ReadError> {
        self.page.forget_marks(start);
        self.page.fill(start, self.at, Fill::Blank);
        self.skip_newlines()?;
        let body = self.deeper(Self::compound_command)?;
        let Some(body) = body else {
            return Err(self.unsupported("a function whose body is not a compound command"));
        };
        let raw = String::from_utf8_lossy(self.text.get(start..body.span.end).unwrap_or_default()).into();
        Ok(Part::Function(Function { name, raw, body: Rc::new(body) }))
    }

    fn coproc(&mut self) -> Result<Part, ReadError> {
        let start = self.at;
        self.at += b"coproc".len();
        self.skip_blanks();
        let mut name = "COPROC".to_owned();
        let word = self.plain_word();
        let named = word.first().copied().is_some_and(starts_name) && word.iter().all(|byte| is_name(*byte));
        if named && !starts_compound(word, None) {
            let behind = self.text.get(self.at + word.len()..).unwrap_or_default();
            let blanks = behind.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
            let behind = behind.get(blanks..).unwrap_or_default();
            let length = behind.iter().position(|byte| is_break(*byte)).unwrap_or(behind.len());
            if starts_compound(behind.get(..length).unwrap_or_default(), behind.first().copied()) {
                name = String::from_utf8_lossy(word).into_owned();
                self.at += word.len();
            }
        }
        self.page.fill(start, self.at, Fill::Blank);
        let body = Box::new(self.deeper(Self::part)?);
        if self.in_substitution && matches!(*body, Part::Simple(_)) {
            // bash 5.2 writes a substitution anew before it runs it, and there begins such a command with the coprocess's name.
            return Err(ReadError::unsupported(start, self.at, "a simple command as a coprocess of a substitution"));
        }
        Ok(Part::Coproc(Coproc { span: Span::new(start, self.at), name, body }))
    }
}

/// The beginning of a compound command, as `coproc` sees it.
fn starts_compound(word: &[u8], first: Option<u8>) -> bool {
    const WORDS: [&[u8]; 8] = [b"{", b"if", b"while", b"until", b"for", b"select", b"case", b"[["];
    first == Some(b'(') || WORDS.contains(&word)
}
