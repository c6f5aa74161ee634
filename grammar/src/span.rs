//! Byte ranges into a script: how every finding says where it stands.

use serde::{Serialize, Serializer};

/// A half-open range of bytes, `start..end`, in the script as it was submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span {
    /// Offset of the first byte.
    pub start: usize,
    /// Offset behind the last byte.
    pub end: usize,
}

impl Span {
    /// The range `start..end`; an end before the start is taken to be empty at `start`.
    pub fn new(start: usize, end: usize) -> Self {
        Self { start, end: end.max(start) }
    }

    /// The smallest range that covers both.
    #[must_use]
    pub fn to(self, other: Self) -> Self {
        Self { start: self.start.min(other.start), end: self.end.max(other.end) }
    }
}

/// Serialised as `[start, end]`.
impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        [self.start, self.end].serialize(serializer)
    }
}

/// How the spans of a piece of code relate to the text that holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// The code stands in the text as it is, from this byte on.
    At(usize),
    /// The code is decoded: everything in it is said to stand where its word stands.
    Within(Span),
}

impl Frame {
    /// Where something in the code stands in the text.
    pub(crate) fn map(self, span: Span) -> Span {
        match self {
            Self::At(start) => Span::new(span.start + start, span.end + start),
            Self::Within(whole) => whole,
        }
    }

    /// The frame of code inside this code.
    pub(crate) fn around(self, inner: Self) -> Self {
        match (self, inner) {
            (Self::At(outer), Self::At(start)) => Self::At(outer + start),
            (_, Self::Within(whole)) => Self::Within(self.map(whole)),
            (Self::Within(whole), Self::At(_)) => Self::Within(whole),
        }
    }
}
