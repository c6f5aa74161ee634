//! Here-documents: where a body ends and what expands in it.
//!
//! This file decides which lines are the body. bash joins continued lines before it looks for the delimiter, and only
//! where the delimiter is not quoted.

use std::cell::OnceCell;
use std::rc::Rc;

use super::{Body, Fill, ReadError, Reader};
use crate::ast::Arg;
use crate::reader::words;
use crate::span::Span;

/// A here-document whose body is still to come.
pub(super) struct Heredoc {
    span: Span,
    delimiter: String,
    quoted: bool,
    strip_tabs: bool,
    body: Body,
}

impl Reader<'_, '_> {
    pub(super) fn open_heredoc(&mut self, target: &Arg, strip_tabs: bool) -> Result<Body, ReadError> {
        let span = target.word.span;
        let literal = target.word.value.literal().filter(|delimiter| !delimiter.contains('\n'));
        let Some(delimiter) = literal.filter(|_| !target.word.raw.contains(['$', '\n'])) else {
            return Err(ReadError::unsupported(span.start, span.end, "a here-document with a computed delimiter"));
        };
        let (quoted, delimiter) = (target.word.quoted, delimiter.to_owned());
        let body = Rc::new(OnceCell::new());
        self.page.fill(span.start, span.end, Fill::Word);
        self.heredocs.push(Heredoc { span, delimiter, quoted, strip_tabs, body: Rc::clone(&body) });
        Ok(body)
    }

    /// A newline, and the bodies of the here-documents that it begins.
    pub(super) fn newline(&mut self) -> Result<(), ReadError> {
        self.at += 1;
        for heredoc in std::mem::take(&mut self.heredocs) {
            let start = self.at;
            let end = self.heredoc_end(&heredoc)?;
            self.page.fill(start, self.at, Fill::Blank);
            let body =
                words::document(self.text, start..end, heredoc.quoted, heredoc.strip_tabs, self.depth, self.pages)?;
            _ = heredoc.body.set(body);
        }
        Ok(())
    }

    /// Goes behind the body's delimiter. Returns where the body ends.
    fn heredoc_end(&mut self, heredoc: &Heredoc) -> Result<usize, ReadError> {
        let mut joined = false;
        loop {
            let start = self.at;
            let ahead = self.text.get(start..).unwrap_or_default();
            if ahead.is_empty() {
                let detail = format!("the here-document `{}` is not closed", heredoc.delimiter);
                return Err(ReadError::Refuse { span: heredoc.span, detail });
            }
            let length = ahead.iter().position(|byte| *byte == b'\n').unwrap_or(ahead.len());
            let line = ahead.get(..length).unwrap_or_default();
            self.at = (start + length + 1).min(self.text.len());
            let tabs = if heredoc.strip_tabs { line.iter().take_while(|byte| **byte == b'\t').count() } else { 0 };
            let content = line.get(tabs..).unwrap_or_default();
            let is_delimiter = content == heredoc.delimiter.as_bytes();
            if is_delimiter && !joined {
                return Ok(start);
            }
            let continued = !heredoc.quoted && line.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1;
            let delimiter = heredoc.delimiter.as_bytes();
            let begins = delimiter.starts_with(content.strip_suffix(b"\\").unwrap_or(content));
            if joined && is_delimiter || continued && begins {
                return Err(ReadError::unsupported(start, self.at, "a continued line that may be the delimiter"));
            }
            if self.in_substitution && content.starts_with(delimiter) {
                // Inside `$( … )` bash may end the document at such a line and read on behind the delimiter.
                return Err(ReadError::unsupported(
                    start,
                    self.at,
                    "a line that begins like the delimiter in `$( … )`",
                ));
            }
            joined = continued;
        }
    }

    pub(super) fn no_open_heredoc(&self) -> Result<(), ReadError> {
        match self.heredocs.first() {
            None => Ok(()),
            Some(open) => Err(ReadError::Refuse {
                span: open.span,
                detail: format!("the here-document `{}` has no body", open.delimiter),
            }),
        }
    }
}
