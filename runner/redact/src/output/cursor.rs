//! Where a reading of output has ended, so that the next one goes on there. Decides only what text is a cursor.
//!
//! A cursor grants nothing: it comes back from the agent, which may send any. One that lies is answered with the
//! bytes at that place, and with counts that are as wrong as the cursor is.

use std::fmt;
use std::str::FromStr;

use super::Capture;
use super::lines::{count, line_breaks};

/// A place in a redacted stream: how much comes before it. As text, `BYTES:LINES`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Bytes before it.
    pub bytes: u64,
    /// Line breaks among them.
    pub lines: u64,
}

/// A place in both streams of a command. As text, `BYTES:LINES.BYTES:LINES`, standard output first.
///
/// The default is the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// In standard output.
    pub stdout: Position,
    /// In standard error.
    pub stderr: Position,
}

/// Why a text is no cursor or no position.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
#[error("`{text}` is not a cursor")]
#[diagnostic(help("take `cursor` from the last result as it stands, or leave it out to read from the beginning"))]
pub struct CursorError {
    /// The text; of a long one, its beginning.
    pub text: String,
}

/// Characters of a text that an error repeats.
const QUOTED: usize = 60;

impl Position {
    /// The end of these bytes, seen from their beginning.
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self { bytes: count(bytes.len()), lines: line_breaks(bytes) }
    }
}

impl Cursor {
    /// Where both streams end so far.
    pub fn end_of(stdout: &Capture, stderr: &Capture) -> Self {
        Self { stdout: stdout.position(), stderr: stderr.position() }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.bytes, self.lines)
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.stdout, self.stderr)
    }
}

impl FromStr for Position {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        position(text).ok_or_else(|| CursorError::new(text))
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let cursor = || {
            let (stdout, stderr) = text.split_once('.')?;
            Some(Self { stdout: position(stdout)?, stderr: position(stderr)? })
        };
        cursor().ok_or_else(|| CursorError::new(text))
    }
}

impl CursorError {
    fn new(text: &str) -> Self {
        let mut quoted: String = text.chars().take(QUOTED).collect();
        if quoted.len() < text.len() {
            quoted.push('…');
        }
        Self { text: quoted }
    }
}

/// There are no more line breaks than bytes, and a place has one spelling.
fn position(text: &str) -> Option<Position> {
    let (bytes, lines) = text.split_once(':')?;
    let position = Position { bytes: bytes.parse().ok()?, lines: lines.parse().ok()? };
    (position.lines <= position.bytes && position.to_string() == text).then_some(position)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn garbage_is_no_cursor() {
        for text in [
            "",
            ":",
            ".",
            "0:0",
            "0:0.",
            "0:0.0",
            "0:0.0:0.0:0",
            "0:0.0:0 ",
            " 0:0.0:0",
            "+1:0.0:0",
            "-1:0.0:0",
            "01:0.0:0",
            "1:2.0:0",
            "0:0,0:0",
            "a:b.c:d",
            "1e3:0.0:0",
            "18446744073709551616:0.0:0",
            "\u{661}:0.0:0",
        ] {
            let error = text.parse::<Cursor>().unwrap_err();
            assert_eq!(error.to_string(), format!("`{text}` is not a cursor"));
        }
        assert_eq!("x".repeat(10_000).parse::<Cursor>().unwrap_err().text.chars().count(), QUOTED + 1);
        assert_eq!("1:2".parse::<Position>().unwrap_err().text, "1:2");
    }

    proptest! {
        #[test]
        fn cursors_come_back_as_they_were(places in any::<[(u64, u64); 2]>()) {
            let [stdout, stderr] = places.map(|(one, other)| Position { bytes: one.max(other), lines: one.min(other) });
            let cursor = Cursor { stdout, stderr };
            prop_assert_eq!(cursor.to_string().parse::<Cursor>(), Ok(cursor));
            prop_assert_eq!(stdout.to_string().parse::<Position>(), Ok(stdout));
        }

        #[test]
        fn any_text_is_a_cursor_in_one_spelling_or_none(text in "[0-9:.+ ]{0,12}") {
            if let Ok(cursor) = text.parse::<Cursor>() {
                prop_assert_eq!(cursor.to_string(), text);
            }
        }
    }
}
