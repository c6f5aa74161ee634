//! What bash evaluates as arithmetic: `$(( … ))`, `(( … ))`, subscripts, offsets.
//!
//! This file decides which variables an expression evaluates and sets. A variable's value is evaluated in turn, so
//! whoever uses an expression must know that its variables hold numbers; text from a substitution could be anything.

use std::ops::Range;

use super::parameter::goes_on;
use super::{Mode, Scanner};
use crate::ast::{Arg, Arithmetic, Count, Nested};
use crate::reader::{self, Fill, ReadError, TokenPage};
use crate::span::Span;
use crate::word::{is_name, starts_name};

/// Where the arithmetic ends whose text begins at `start`, behind `((`: the offset of its `))`. `None` if the brackets
/// do not close together, so that bash takes them for two.
pub(crate) fn arithmetic_end(text: &[u8], start: usize) -> Result<Option<usize>, ReadError> {
    let (mut at, mut open) = (start, 0_u32);
    while let Some(byte) = text.get(at) {
        match byte {
            b'(' => open += 1,
            b')' if open == 0 => return Ok((text.get(at + 1) == Some(&b')')).then_some(at)),
            b')' => open -= 1,
            b'\\' => at += 1,
            b'\'' | b'"' | b'`' => {
                let length = text.get(at + 1..).unwrap_or_default().iter().position(|other| other == byte);
                let Some(length) = length else { return Ok(None) };
                at += length + 1;
            }
            _ => {}
        }
        at += 1;
    }
    Ok(None)
}

/// Reads the expressions in this range, which `;` separates.
pub(crate) fn evaluate(
    text: &[u8],
    range: Range<usize>,
    depth: u32,
    pages: &mut Vec<TokenPage>,
) -> Result<Arg, ReadError> {
    let mut unseen = TokenPage::new(range.start);
    let whole = text.get(..range.end).unwrap_or_default();
    let mut scanner = Scanner::new(whole, range.start, depth, Mode::Plain, pages, &mut unseen);
    loop {
        let arithmetic = scanner.muted(|scanner| scanner.arithmetic_text(|byte| byte == b';'))?;
        scanner.arithmetic.push(arithmetic);
        if scanner.peek(0) != Some(b';') {
            break;
        }
        scanner.at += 1;
    }
    scanner.unknown(Count::One);
    Ok(scanner.finish())
}

/// Reads `[…]`, which begins at `start`. Returns it with the offset behind the closing bracket.
pub(crate) fn subscript(
    text: &[u8],
    start: usize,
    depth: u32,
    pages: &mut Vec<TokenPage>,
) -> Result<(Arithmetic, Vec<Nested>, usize), ReadError> {
    let mut unseen = TokenPage::new(start);
    reader::too_deep(start, depth + 1)?;
    let mut scanner = Scanner::new(text, start, depth + 1, Mode::Plain, pages, &mut unseen);
    scanner.at += 1;
    let mut arithmetic = scanner.muted(|scanner| scanner.arithmetic_text(|byte| byte == b']'))?;
    if scanner.peek(0) != Some(b']') {
        return Err(ReadError::unsupported(start, scanner.at, "an unterminated subscript"));
    }
    arithmetic.span = Span::new(start, scanner.at + 1);
    for inner in std::mem::take(&mut scanner.arithmetic) {
        arithmetic.add(inner);
    }
    let end = scanner.at + 1;
    Ok((arithmetic.doubtful(), scanner.nested, end))
}

impl Arithmetic {
    /// What another expression inside this one does, this one does.
    fn add(&mut self, inner: Self) {
        self.names.extend(inner.names);
        self.assigns.extend(inner.assigns);
        self.unknown |= inner.unknown;
        self.fallible |= inner.fallible;
    }

    /// A subscript or an offset: in some cases it is not evaluated, in others it is out of range.
    pub(super) fn doubtful(mut self) -> Self {
        self.sure.clear();
        self.fallible = true;
        self
    }
}

impl Scanner<'_, '_> {
    /// `$(( … ))`, whose `))` stands at `end`.
    pub(super) fn expansion(&mut self, end: usize, quoted: bool) -> Result<(), ReadError> {
        let opening = self.at;
        self.at += 3;
        let arithmetic = self.deeper(|scanner| scanner.muted(|scanner| scanner.arithmetic_text(|_| false)))?;
        if self.at != end {
            return Err(ReadError::unsupported(opening, self.at + 1, "arithmetic that is not read"));
        }
        self.at = end + 2;
        self.arithmetic.push(arithmetic);
        self.page.fill(opening, self.at, Fill::Word);
        self.hole(None, quoted, true, Count::One);
        Ok(())
    }

    /// An expression up to a byte that ends it outside of all brackets, or to a bracket that it did not open.
    pub(super) fn arithmetic_text(&mut self, ends: impl Fn(u8) -> bool) -> Result<Arithmetic, ReadError> {
        let start = self.at;
        let known = self.arithmetic.len();
        let mut read = Arithmetic::default();
        let mut open = Vec::new();
        // Variables that the expression itself has surely set by now.
        let mut sure = Vec::new();
        while let Some(byte) = self.peek(0) {
            match byte {
                _ if open.is_empty() && ends(byte) => break,
                b'(' | b'[' => {
                    open.push(byte);
                    let inside = u32::try_from(open.len()).unwrap_or(u32::MAX);
                    reader::too_deep(self.at, self.depth.saturating_add(inside))?;
                    self.at += 1;
                }
                b')' | b']' => {
                    let opening = if byte == b')' { b'(' } else { b'[' };
                    match open.pop() {
                        None => break,
                        Some(last) if last == opening => self.at += 1,
                        Some(_) => return Err(self.unsupported(1, "arithmetic whose brackets do not match")),
                    }
                }
                b'$' => self.inserted(&mut read)?,
                b'`' => {
                    read.unknown = true;
                    self.backtick(false)?;
                }
                b'"' => self.at += 1,
                b'\\' if self.peek(1) == Some(b'\n') => self.at += 2,
                byte if byte.is_ascii_digit() => {
                    while self.peek(0).is_some_and(|byte| is_name(byte) || byte == b'#' || byte == b'@') {
                        self.at += 1;
                    }
                    if self.peek(0) == Some(b'$') {
                        read.unknown = true; // `16#$x`
                    }
                }
                byte if starts_name(byte) => {
                    let straight = open.is_empty()
                        && !self.text.get(start..self.at).unwrap_or_default().iter().any(|byte| b"?&|".contains(byte));
                    self.operand_name(&mut read, &mut sure, straight);
                }
                b' ' | b'\t' | b'\n' | b'+' | b'-' | b'*' | b'/' | b'%' | b'<' | b'>' | b'=' | b'!' | b'&' | b'|'
                | b'^' | b'~' | b'?' | b':' | b',' => self.at += 1,
                _ => return Err(self.unsupported(1, "arithmetic that is not read")),
            }
        }
        if !open.is_empty() {
            return Err(ReadError::unsupported(start, self.at, "arithmetic whose brackets do not match"));
        }
        for inner in self.arithmetic.split_off(known) {
            read.add(inner);
        }
        read.sure = sure;
        read.fallible |= !is_sound(self.text.get(start..self.at).unwrap_or_default());
        read.span = Span::new(start, self.at);
        Ok(read)
    }

    /// A variable by its bare name.
    fn operand_name(&mut self, read: &mut Arithmetic, sure: &mut Vec<String>, straight: bool) {
        let start = self.at;
        self.skip_name();
        let name = self.slice(start..self.at);
        let before = self.text.get(..start).unwrap_or_default();
        let before = before.trim_ascii_end();
        let changed = before.ends_with(b"++") || before.ends_with(b"--");
        let behind = self.text.get(self.at..).unwrap_or_default().trim_ascii_start();
        let set = matches!(behind, [b'=', next, ..] if *next != b'=') || matches!(behind, [b'=']);
        let computed = match behind {
            [b'+', b'+', ..] | [b'-', b'-', ..] => true,
            [first, b'=', ..] => b"+-*/%&|^".contains(first),
            [b'<', b'<', b'=', ..] | [b'>', b'>', b'=', ..] => true,
            [b'[', ..] => true, // the element may be set behind its subscript
            _ => false,
        };
        if set || computed || changed {
            read.assigns.push(name.clone());
        }
        match set {
            true if straight => sure.push(name),
            true => {}
            false if sure.contains(&name) => {}
            false => read.names.push(name),
        }
    }

    /// An expansion inside an expression: its text is evaluated.
    fn inserted(&mut self, read: &mut Arithmetic) -> Result<(), ReadError> {
        let behind = self.at;
        match (self.peek(1), self.peek(2)) {
            (Some(b'('), Some(b'(')) | (Some(b'#' | b'?' | b'$'), _) => self.dollar(true)?,
            (Some(b'{'), _) => {
                let notes = self.notes.len();
                self.dollar(true)?;
                let inside = self.slice(behind + 2..self.at.saturating_sub(1));
                let plain = inside.bytes().all(is_name) && inside.bytes().next().is_some_and(starts_name);
                match inside.strip_prefix('#') {
                    _ if self.notes.len() > notes => read.unknown = true,
                    Some(_) => {} // a length
                    None if plain => read.names.push(inside),
                    None => read.unknown = true,
                }
            }
            (Some(byte), _) if starts_name(byte) => {
                let start = self.at + 1;
                self.dollar(true)?;
                read.names.push(self.slice(start..self.at));
            }
            _ => {
                read.unknown = true;
                self.dollar(true)?;
            }
        }
        if goes_on(self.peek(0)) || behind.checked_sub(1).and_then(|at| self.text.get(at)).copied().is_some_and(is_name)
        {
            read.unknown = true; // `$x` is only a part of a name or number
        }
        Ok(())
    }
}

/// Names and numbers between operators that cannot fail: nothing is divided, and no number is mistaken for an octal one.
fn is_sound(text: &[u8]) -> bool {
    let mut rest = text.trim_ascii();
    if rest.is_empty() {
        return true;
    }
    loop {
        rest = after_any(rest, &[b"++", b"--", b"!", b"-", b"+"]).0;
        rest = rest.strip_prefix(b"$").unwrap_or(rest);
        let length = rest.iter().take_while(|byte| is_name(**byte)).count();
        let (operand, behind) = rest.split_at_checked(length).unwrap_or_default();
        let number = operand.iter().all(u8::is_ascii_digit) && (operand == b"0" || !operand.starts_with(b"0"));
        let named = operand.first().copied().is_some_and(starts_name);
        if operand.is_empty() || operand.len() > 18 || !(number || named) {
            return false;
        }
        rest = behind.trim_ascii();
        if named {
            rest = after_any(rest, &[b"++", b"--"]).0;
        }
        if rest.is_empty() {
            return true;
        }
        let assignments: &[&[u8]] = if named { &[b"+=", b"-=", b"*=", b"="] } else { &[] };
        let long: &[&[u8]] = &[b"==", b"!=", b"<=", b">="];
        let short: &[&[u8]] = &[b"<", b">", b"+", b"-", b"*", b","];
        // `a = b` is an assignment, so the longer operators are looked for first.
        let found =
            [long, assignments, short].into_iter().map(|heads| after_any(rest, heads)).find(|(_, found)| *found);
        let Some((after, _)) = found else { return false };
        rest = after;
    }
}

/// What stands behind the first of these that the text begins with, and whether one did.
fn after_any<'t>(text: &'t [u8], heads: &[&[u8]]) -> (&'t [u8], bool) {
    let after = heads.iter().find_map(|head| text.strip_prefix(*head));
    (after.map_or(text, <[u8]>::trim_ascii_start), after.is_some())
}
