//! `${ … }`: every form of it that bash 5.2 knows.
//!
//! This file decides where an expansion ends, what is evaluated or run inside it, and whether it is a plain variable.

use super::Scanner;
use crate::ast::{Arithmetic, Count};
use crate::opaque::OpaqueReason;
use crate::reader::{self, Fill, ReadError};
use crate::span::Span;
use crate::word::{is_name, starts_name};

impl Scanner<'_, '_> {
    pub(super) fn parameter(&mut self, quoted: bool) -> Result<(), ReadError> {
        self.deeper(|scanner| scanner.braces(quoted))
    }

    fn braces(&mut self, quoted: bool) -> Result<(), ReadError> {
        let opening = self.at;
        self.at += 2;
        let length = self.prefix(b'#', |next| starts_name(next) || next.is_ascii_digit() || b"@*".contains(&next));
        let indirect = self.prefix(b'!', |next| next != b'}');
        let start = self.at;
        match self.peek(0) {
            Some(byte) if starts_name(byte) => self.skip_name(),
            Some(byte) if byte.is_ascii_digit() => {
                while self.peek(0).is_some_and(|byte| byte.is_ascii_digit()) {
                    self.at += 1;
                }
            }
            Some(byte) if b"@*#?$!-".contains(&byte) => self.at += 1,
            None => return Err(ReadError::refuse(opening, "unterminated `${`")),
            Some(_) => {
                return Err(ReadError::unsupported(opening, self.at, "a parameter expansion of an unknown form"));
            }
        }
        let name = self.slice(start..self.at);
        let mut count = if quoted { Count::One } else { Count::Any };
        if name == "@" {
            count = Count::Any;
        }
        let element = self.peek(0) == Some(b'[');
        if element && self.element_of()? {
            count = Count::Any;
        }
        let plain = !length && !indirect && !element && self.peek(0) == Some(b'}');
        if indirect && !self.lists_names(element) {
            self.note(OpaqueReason::IndirectName, opening, "`${!…}` reads a variable that another one names");
            count = Count::Any;
        } else if indirect {
            count = Count::Any;
        }
        let around = std::mem::take(&mut self.several);
        let chooses = matches!((self.peek(0), self.peek(1)), (Some(b'-' | b'+'), _) | (Some(b':'), Some(b'-' | b'+')));
        self.operator(opening, &name, quoted)?;
        if std::mem::replace(&mut self.several, around) && chooses {
            count = Count::Any;
        }
        if self.peek(0) != Some(b'}') {
            return Err(ReadError::unsupported(opening, self.at + 1, "a parameter expansion of an unknown form"));
        }
        self.at += 1;
        self.page.fill(opening, self.at, Fill::Word);
        let number = length || plain && matches!(name.as_str(), "#" | "?" | "$");
        let variable = (plain && (name.bytes().all(is_name) || name == "@")).then_some(name);
        self.hole(variable, quoted, number, if number { Count::One } else { count });
        Ok(())
    }

    /// Takes this mark if what follows makes it one.
    fn prefix(&mut self, mark: u8, follows: impl Fn(u8) -> bool) -> bool {
        let there = self.peek(0) == Some(mark) && self.peek(1).is_some_and(follows);
        self.at += usize::from(there);
        there
    }

    /// `[…]` behind the name. True for `[@]`, which gives as many words as there are elements.
    fn element_of(&mut self) -> Result<bool, ReadError> {
        let all = self.peek(2) == Some(b']') && matches!(self.peek(1), Some(b'@' | b'*'));
        if all {
            let each = self.peek(1) == Some(b'@');
            self.at += 3;
            return Ok(each);
        }
        let (arithmetic, nested, end) = super::subscript(self.text, self.at, self.depth, self.pages)?;
        self.arithmetic.push(arithmetic.doubtful());
        self.nested.extend(nested);
        self.at = end;
        Ok(false)
    }

    /// `${!prefix*}` and `${!array[@]}` give names and keys; they read no other variable.
    fn lists_names(&mut self, element: bool) -> bool {
        match (self.peek(0), self.peek(1)) {
            (Some(b'*' | b'@'), Some(b'}')) => {
                self.at += 1;
                true
            }
            (Some(b'}'), _) => element,
            _ => false,
        }
    }

    fn operator(&mut self, opening: usize, name: &str, quoted: bool) -> Result<(), ReadError> {
        let assigns = |ahead: &[u8]| matches!(ahead, [b'=', ..] | [b':', b'=', ..]);
        match (self.peek(0), self.peek(1)) {
            (Some(b'}'), _) => Ok(()),
            (None, _) => Err(ReadError::refuse(opening, "unterminated `${`")),
            (Some(first), next)
                if b"-=?+".contains(&first) || first == b':' && next.is_some_and(|byte| b"-=?+".contains(&byte)) =>
            {
                if assigns(self.text.get(self.at..).unwrap_or_default()) {
                    let span = Span::new(opening, self.at);
                    let assigns = vec![name.to_owned()];
                    self.arithmetic.push(Arithmetic { span, assigns, unset: true, ..Arithmetic::default() });
                }
                if first == b'?' || next == Some(b'?') && first == b':' {
                    let span = Span::new(opening, self.at);
                    self.arithmetic.push(Arithmetic { span, fallible: true, ..Arithmetic::default() });
                }
                self.at += if first == b':' { 2 } else { 1 };
                self.operand(opening, quoted, false)
            }
            (Some(b':'), _) => {
                self.at += 1;
                self.offset(opening)?;
                if self.peek(0) == Some(b':') {
                    self.at += 1;
                    self.offset(opening)?;
                }
                Ok(())
            }
            (Some(b'@'), Some(letter)) if self.peek(2) == Some(b'}') => {
                match letter {
                    b'Q' | b'U' | b'u' | b'L' | b'l' | b'E' | b'A' | b'K' | b'k' | b'a' => {}
                    b'P' => self.note(OpaqueReason::UnknownSyntax, opening, "`@P` runs the substitutions in a value"),
                    _ => return Err(ReadError::unsupported(opening, self.at, "a transformation that is not known")),
                }
                self.at += 2;
                Ok(())
            }
            (Some(b'#' | b'%' | b'/' | b'^' | b',' | b'~'), _) => {
                self.at += 1;
                self.operand(opening, quoted, true)
            }
            _ => Err(ReadError::unsupported(opening, self.at + 1, "a parameter expansion of an unknown form")),
        }
    }

    /// `:offset` and `:length` are arithmetic.
    fn offset(&mut self, opening: usize) -> Result<(), ReadError> {
        let arithmetic = self.muted(|scanner| scanner.arithmetic_text(|byte| byte == b':' || byte == b'}'))?;
        if self.text.get(opening..self.at).unwrap_or_default().contains(&b'?') {
            return Err(ReadError::unsupported(opening, self.at, "a condition inside an offset"));
        }
        self.arithmetic.push(arithmetic.doubtful());
        Ok(())
    }

    /// The word behind an operator, up to the closing brace. In double quotes a single quote is a character like any
    /// other, except where the word is a pattern.
    fn operand(&mut self, opening: usize, quoted: bool, pattern: bool) -> Result<(), ReadError> {
        let known = self.arithmetic.len();
        self.operand_text(opening, quoted, pattern)?;
        for arithmetic in self.arithmetic.iter_mut().skip(known) {
            arithmetic.sure.clear(); // nobody knows whether it is expanded
        }
        Ok(())
    }

    fn operand_text(&mut self, opening: usize, quoted: bool, pattern: bool) -> Result<(), ReadError> {
        self.muted(|scanner| {
            loop {
                match (scanner.peek(0), scanner.peek(1)) {
                    (None, _) => return Err(ReadError::refuse(opening, "unterminated `${`")),
                    (Some(b'}'), _) => return Ok(()),
                    (Some(b'\\'), Some(b'\n')) => {
                        return Err(scanner.unsupported(2, "a line continuation inside `${ … }`; join the lines"));
                    }
                    (Some(b'\\'), Some(_)) => scanner.at += 2,
                    (Some(b'\''), _) if !quoted || pattern => scanner.single()?,
                    (Some(b'"'), _) => scanner.double()?,
                    (Some(b'`'), _) => scanner.backtick(quoted)?,
                    (Some(b'$'), _) => scanner.dollar(quoted)?,
                    // In a pattern and a message bash runs it even in double quotes.
                    (Some(b'<' | b'>'), Some(b'(')) => {
                        return Err(scanner.unsupported(2, "a process substitution inside `${ … }`"));
                    }
                    (Some(_), _) => scanner.at += 1,
                }
            }
        })
    }

    /// Reads something nested one level deeper.
    pub(super) fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, ReadError>) -> Result<T, ReadError> {
        self.depth += 1;
        reader::too_deep(self.at, self.depth)?;
        let inside = read(self)?;
        self.depth -= 1;
        Ok(inside)
    }

    /// Reads something whose text is no text of the word.
    pub(super) fn muted<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, ReadError>) -> Result<T, ReadError> {
        let quoted = self.quoted;
        self.muted += 1;
        let inside = read(self)?;
        self.muted -= 1;
        self.quoted = quoted;
        Ok(inside)
    }
}

/// Whether this byte can go on with a name that began before it.
pub(super) fn goes_on(byte: Option<u8>) -> bool {
    byte.is_some_and(is_name)
}
