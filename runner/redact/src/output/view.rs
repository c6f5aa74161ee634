//! What a caller wants to see of a stream: which lines, and how many characters. Decides only what the words mean.

use std::str::FromStr;

use super::Grep;

/// How a stream is shown: first the lines that match, of these the first and last ones, of these so many characters.
#[derive(Clone, Debug)]
pub struct View {
    /// Characters of the stream that are shown at most.
    pub max_chars: usize,
    /// The lines to keep; none: all.
    pub keep: Option<Keep>,
    /// The lines to search for; none: all.
    pub grep: Option<Grep>,
}

/// The first and the last lines. As text `head:20`, `tail:80`, `head:20,tail:80`, or `head_tail:40` for half of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Lines from the beginning.
    pub head: usize,
    /// Lines from the end.
    pub tail: usize,
}

/// A text does not say which lines to keep.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
#[error("`keep` does not say which lines: {why}")]
#[diagnostic(help("write `head:20`, `tail:80`, `head:20,tail:80`, or `head_tail:40` for half of each"))]
pub struct KeepError {
    /// What is wrong.
    pub why: &'static str,
}

impl View {
    /// All lines, as far as they fit in so many characters.
    pub fn chars(max_chars: usize) -> Self {
        Self { max_chars, keep: None, grep: None }
    }

    /// Whether lines were asked for, and not only a size.
    pub(super) fn is_by_lines(&self) -> bool {
        self.keep.is_some() || self.grep.is_some()
    }
}

impl FromStr for Keep {
    type Err = KeepError;

    fn from_str(text: &str) -> Result<Self, KeepError> {
        let words: Vec<(&str, usize)> = text.split(',').map(word).collect::<Result<_, _>>()?;
        match words.as_slice() {
            [("head", head)] => Ok(Self { head: *head, tail: 0 }),
            [("tail", tail)] => Ok(Self { head: 0, tail: *tail }),
            [("head_tail", both)] => Ok(Self { head: both / 2, tail: both - both / 2 }),
            [("head", head), ("tail", tail)] | [("tail", tail), ("head", head)] => {
                Ok(Self { head: *head, tail: *tail })
            }
            [(_, _)] => Err(KeepError { why: "there is no such word" }),
            [] | [_, ..] => Err(KeepError { why: "only `head` and `tail` go together, each once" }),
        }
    }
}

fn word(text: &str) -> Result<(&str, usize), KeepError> {
    let (word, number) = text.split_once(':').ok_or(KeepError { why: "a number of lines is missing" })?;
    // `parse` alone would take a sign.
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(KeepError { why: "after `:` comes a whole number" });
    }
    Ok((word, number.parse().map_err(|_| KeepError { why: "the number is too large" })?))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn words_for_lines() {
        for (text, head, tail) in [
            ("head:20", 20, 0),
            ("tail:80", 0, 80),
            ("head:20,tail:80", 20, 80),
            ("tail:80,head:20", 20, 80),
            ("head_tail:40", 20, 20),
            ("head_tail:41", 20, 21),
            ("head_tail:1", 0, 1),
            ("head:0", 0, 0),
            ("tail:007", 0, 7),
        ] {
            assert_eq!(text.parse(), Ok(Keep { head, tail }), "{text}");
        }
    }

    #[test]
    fn other_words_say_what_is_wrong() {
        for (text, why) in [
            ("", "missing"),
            ("20", "missing"),
            ("head", "missing"),
            ("head:", "whole number"),
            ("head:+1", "whole number"),
            ("head:-1", "whole number"),
            ("head: 1", "whole number"),
            ("head:1.5", "whole number"),
            ("head:\u{661}", "whole number"),
            ("head:99999999999999999999", "too large"),
            ("middle:3", "no such word"),
            (" head:3", "no such word"),
            ("Head:3", "no such word"),
            ("head:1,head:2", "each once"),
            ("head:1,tail:2,tail:3", "each once"),
            ("head_tail:1,tail:2", "each once"),
            ("head:1,", "missing"),
        ] {
            let error = text.parse::<Keep>().unwrap_err();
            assert!(error.why.contains(why), "{text:?}: {}", error.why);
        }
    }
}
