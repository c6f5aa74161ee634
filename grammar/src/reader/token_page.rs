//! What two readings of a text must agree about, and the text as the second one gets it.
//!
//! The second parser misreads the inside of words (backticks, `${ … }`, here-documents), and we read all of it
//! ourselves. So each text between brackets is compared by itself, and in the text around it its place is filled with
//! something plain of the same length: spans stay what they are, and both readings see the same structure.

use super::ReadError;
use crate::span::{Frame, Span};

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

/// One text that is compared by itself. All offsets count from its own beginning once it is finished.
#[derive(Debug)]
pub(crate) struct TokenPage {
    start: usize,
    /// The text, filled.
    pub(crate) text: Vec<u8>,
    /// Tokens in order of their place.
    pub(crate) marks: Vec<Mark>,
    fills: Vec<(Span, Fill)>,
    /// Where the newlines are that end a statement, or what is before the comment there.
    ends: Vec<usize>,
}

/// What stands in the place of something that the second reading does not see.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fill {
    /// Part of a word.
    Word,
    /// Nothing; newlines stay.
    Blank,
    /// `while x`, for the head of an arithmetic `for`.
    While,
}

impl TokenPage {
    /// The page of a text that begins at this offset.
    pub(crate) fn new(start: usize) -> Self {
        Self { start, text: Vec::new(), marks: Vec::new(), fills: Vec::new(), ends: Vec::new() }
    }

    pub(crate) fn mark(&mut self, kind: MarkKind, start: usize, end: usize) {
        let (start, end) = (start.saturating_sub(self.start), end.saturating_sub(self.start));
        self.marks.push(Mark { span: Span::new(start, end), kind });
    }

    pub(crate) fn fill(&mut self, start: usize, end: usize, fill: Fill) {
        self.fills.push((Span::new(start, end), fill));
    }

    /// A statement ends here by a newline, or by a comment that begins behind it.
    pub(crate) fn end(&mut self, at: usize) {
        self.ends.push(at.saturating_sub(self.start));
    }

    /// How many places have been filled.
    pub(crate) fn fills(&self) -> usize {
        self.fills.len()
    }

    /// Drops what was filled since there were so many: something larger takes its place.
    pub(crate) fn forget_fills(&mut self, known: usize) {
        self.fills.truncate(known);
    }

    /// Drops the marks from this offset of the text on.
    pub(crate) fn forget_marks(&mut self, from: usize) {
        let from = from.saturating_sub(self.start);
        self.marks.retain(|mark| mark.span.start < from);
    }

    /// The page as it is compared: the text from its start up to `end`.
    pub(crate) fn finish(self, text: &[u8], end: usize) -> Self {
        let Self { start, mut marks, fills, mut ends, .. } = self;
        let mut text = text.get(start..end).unwrap_or_default().to_vec();
        for (span, fill) in fills {
            let place = span.start.saturating_sub(start)..span.end.saturating_sub(start).min(text.len());
            let Some(place) = text.get_mut(place) else { continue };
            match fill {
                Fill::Word => place.fill(b'x'),
                Fill::Blank => place.iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' '),
                Fill::While => {
                    place.fill(b'x');
                    place.iter_mut().zip(b"while ").for_each(|(byte, letter)| *byte = *letter);
                }
            }
        }
        let length = text.len();
        marks.retain(|mark| mark.span.end <= length);
        marks.sort_unstable();
        ends.retain(|end| matches!(text.get(*end), Some(b'\n' | b' ' | b'\t')));
        Self { start, text, marks, fills: Vec::new(), ends }
    }

    /// The same page with `;` where a newline ends a statement; none if there is no such place. A reader that takes one of them for part of a
    /// word or of a comment misses that `;`.
    pub(crate) fn on_one_line(&self) -> Option<Self> {
        let (mut text, mut marks) = (self.text.clone(), self.marks.clone());
        for end in &self.ends {
            *text.get_mut(*end)? = b';';
            marks.push(Mark { span: Span::new(*end, end + 1), kind: MarkKind::Operator });
        }
        marks.sort_unstable();
        let is_other = !self.ends.is_empty();
        is_other.then(|| Self { start: self.start, text, marks, fills: Vec::new(), ends: Vec::new() })
    }

    /// The same page, as a part of the text that holds its code.
    pub(crate) fn within(mut self, frame: Frame) -> Self {
        self.start = frame.map(Span::new(self.start, self.start)).start;
        self
    }

    /// What stops the reading of this page, told about the text that holds it.
    pub(crate) fn error(&self, error: ReadError) -> ReadError {
        error.within(Frame::At(self.start))
    }

    /// Where something of this page stands in the text that holds it, as far as that can be said.
    pub(crate) fn place(&self, span: Span) -> Span {
        Span::new(span.start + self.start, span.end + self.start)
    }
}
