//! `$'…'`: C escapes, as bash 5.2 decodes them.

use super::Scanner;
use crate::ast::Count;
use crate::reader::ReadError;

impl Scanner<'_, '_> {
    /// `$'…'`: C escapes; a NUL cuts the rest off, as it does in bash.
    pub(super) fn ansi_c(&mut self) -> Result<(), ReadError> {
        self.quoted = true;
        let opening = self.at;
        self.at += 2;
        let mut cut = false;
        loop {
            let decoded = match self.peek(0) {
                None => return Err(ReadError::refuse(opening, "unterminated `$'`")),
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
                Decoded::Unknown if !cut => self.unknown(Count::One),
                _ => {}
            }
        }
        self.at += 1;
        Ok(())
    }

    fn c_escape(&mut self, opening: usize) -> Result<Decoded, ReadError> {
        let Some(byte) = self.peek(1) else {
            return Err(ReadError::refuse(opening, "unterminated `$'`"));
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
}

/// What one escape in `$'…'` stands for.
enum Decoded {
    Byte(u8),
    /// No escape that bash knows: the backslash stays.
    Kept(u8),
    Unknown,
}
