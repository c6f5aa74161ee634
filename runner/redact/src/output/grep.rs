//! Which lines of a stream match a pattern that the agent has written.
//!
//! The pattern may be hostile. It is bounded in length, as an automaton, and in what the search may cost: a lazy
//! automaton whose memory is limited, and which gives up instead of building states without end. A search takes time
//! linear in the bytes, and what was not searched is counted.
//!
//! A line that is cut where bytes were dropped is never searched: half a line that matches proves nothing about the
//! whole.

use std::ops::Range;

use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson::{NFA, WhichCaptures};
use regex_automata::{Input, MatchError, MatchKind};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Hir, HirKind, Look, Repetition};

use super::Position;
use super::lines::lines;

/// A regular expression that is searched for in each line, and how many lines around a match are shown.
///
/// The expression is one of the `regex` crate's syntax over characters, but `\b` and its kin go by ASCII letters: the
/// automaton that bounds the search knows no others.
#[derive(Clone, Debug)]
pub struct Grep {
    /// As it was written.
    text: String,
    pattern: DFA,
    context: usize,
}

/// Why a pattern cannot be searched for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
pub enum GrepError {
    /// It is too long.
    #[error("the pattern of `grep` has {length} bytes, of at most {MAX_PATTERN}")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// It is no regular expression.
    #[error("`{pattern}` is not a regular expression: {why}, at character {at}")]
    #[diagnostic(help("put a backslash before a character that stands for itself: `\\(`, `\\[`, `\\*`"))]
    Syntax {
        /// The pattern.
        pattern: String,
        /// What is wrong.
        why: String,
        /// Where, in characters from 1.
        at: usize,
    },
    /// Its automaton would be too large.
    #[error("`{pattern}` is too large a regular expression")]
    #[diagnostic(help("repeat less: counts such as `{{1000}}` multiply, and `\\w` is larger than `[a-z]`"))]
    TooLarge {
        /// The pattern.
        pattern: String,
    },
}

/// What a search has found.
pub(super) struct GrepResult {
    /// The lines that match and those around them, in order.
    pub(super) selected: Vec<Range<usize>>,
    /// How many lines match.
    pub(super) matched: u64,
    /// How much was searched.
    pub(super) searched: Position,
    /// The line at which it became too costly, if it did.
    pub(super) gave_up: Option<usize>,
}

/// A part of what is kept of a stream.
pub(super) struct StreamPart {
    pub(super) range: Range<usize>,
    /// Bytes before it were dropped: it may begin within a line.
    pub(super) cut_before: bool,
    /// Bytes after it were dropped.
    pub(super) cut_after: bool,
}

const MAX_PATTERN: usize = 1000;
/// Groups within groups.
const MAX_NESTING: u32 = 100;
/// Bytes of the automaton without its states: `\w{20}` takes 350,000.
const MAX_AUTOMATON: usize = 512 << 10;
/// Bytes for the states that a search has met. Filled four times, some 250 ms have passed.
const MAX_STATES: usize = 1 << 20;
const MAX_FILLED: usize = 4;

impl Grep {
    /// A search for `pattern` that shows `context` lines before and after each match.
    ///
    /// # Errors
    /// If it is no regular expression, or too large a one.
    pub fn new(pattern: &str, context: usize) -> Result<Self, GrepError> {
        if pattern.len() > MAX_PATTERN {
            return Err(GrepError::TooLong { length: pattern.len() });
        }
        let mut parser = ParserBuilder::new().utf8(false).nest_limit(MAX_NESTING).build();
        let parsed = parser.parse(pattern).map_err(|error| malformed(pattern, &error))?;
        let automaton = automaton(&with_ascii_boundaries(parsed))
            .ok_or_else(|| GrepError::TooLarge { pattern: pattern.to_owned() })?;
        Ok(Self { text: pattern.to_owned(), pattern: automaton, context })
    }

    /// Whether another one selects the same lines.
    pub(super) fn is_as(&self, other: &Self) -> bool {
        self.text == other.text && self.context == other.context
    }

    /// Lines around a match that are shown.
    pub(super) fn context(&self) -> usize {
        self.context
    }

    /// What a search goes on with.
    pub(super) fn cache(&self) -> Cache {
        self.pattern.create_cache()
    }

    /// Whether a line matches.
    ///
    /// # Errors
    /// If the search has become too costly.
    pub(super) fn is_in(&self, cache: &mut Cache, line: &[u8]) -> Result<bool, MatchError> {
        let input = Input::new(content(line)).earliest(true);
        self.pattern.try_search_fwd(cache, &input).map(|found| found.is_some())
    }

    /// Searches the lines that are whole, until the search would cost too much.
    pub(super) fn find(&self, bytes: &[u8], parts: &[StreamPart]) -> GrepResult {
        let mut found = GrepResult { selected: Vec::new(), matched: 0, searched: Position::default(), gave_up: None };
        let mut cache = self.cache();
        for part in parts {
            // By themselves: what lies on both sides of dropped bytes never becomes one selection.
            let mut selected = Vec::new();
            found.gave_up = self.find_in(bytes, part, &mut cache, &mut found, &mut selected).err();
            found.selected.append(&mut selected);
            if found.gave_up.is_some() {
                break;
            }
        }
        found
    }

    /// Searches one part; the error is where the search gave up.
    fn find_in(
        &self,
        bytes: &[u8],
        part: &StreamPart,
        cache: &mut Cache,
        found: &mut GrepResult,
        selected: &mut Vec<Range<usize>>,
    ) -> Result<(), usize> {
        // Lines to come that are shown because of a match.
        let mut after = 0;
        for line in lines(bytes, part.range.clone()) {
            let text = bytes.get(line.clone()).unwrap_or_default();
            let mut matches = false;
            if part.has_whole(&line, bytes) {
                matches = self.is_in(cache, text).map_err(|_| line.start)?;
                found.count(text, matches);
            }
            if matches {
                let floor = selected.last().map_or(part.range.start, |last| last.end);
                select(selected, back(bytes, floor..line.start, self.context)..line.end);
                after = self.context;
            } else if after > 0 {
                select(selected, line);
                after -= 1;
            }
        }
        Ok(())
    }
}

impl GrepResult {
    fn count(&mut self, line: &[u8], matches: bool) {
        let Position { bytes, lines } = Position::of(line);
        self.searched.bytes += bytes;
        self.searched.lines += lines;
        self.matched += u64::from(matches);
    }
}

/// Adds what does not begin before the end of the last selection; what touches it becomes one with it.
fn select(selected: &mut Vec<Range<usize>>, range: Range<usize>) {
    match selected.last_mut() {
        Some(last) if last.end == range.start => last.end = range.end,
        Some(_) | None => selected.push(range),
    }
}

impl StreamPart {
    fn has_whole(&self, line: &Range<usize>, bytes: &[u8]) -> bool {
        let ends = |at: Option<usize>| at.and_then(|at| bytes.get(at)) == Some(&b'\n');
        let begun = !self.cut_before || line.start > self.range.start;
        let ended = !self.cut_after || line.end < self.range.end || ends(line.end.checked_sub(1));
        begun && ended
    }
}

/// Up to `count` lines back from the end of a range that ends with a line.
pub(super) fn back(bytes: &[u8], range: Range<usize>, count: usize) -> usize {
    let before = bytes.get(range.clone()).unwrap_or_default();
    let breaks = before.iter().enumerate().rev().filter(|&(_, &byte)| byte == b'\n');
    // The first break found ends the line before; the one `count` further back ends the line that is not shown.
    breaks.map(|(at, _)| range.start + at + 1).nth(count).unwrap_or(range.start)
}

/// A line without its break, of either kind.
fn content(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn automaton(pattern: &Hir) -> Option<DFA> {
    let limits = NFA::config().utf8(false).which_captures(WhichCaptures::None).nfa_size_limit(Some(MAX_AUTOMATON));
    let nfa = NFA::compiler().configure(limits).build_from_hir(pattern).ok()?;
    let limits = DFA::config()
        .match_kind(MatchKind::LeftmostFirst)
        .cache_capacity(MAX_STATES)
        .minimum_cache_clear_count(Some(MAX_FILLED));
    DFA::builder().configure(limits).build_from_nfa(nfa).ok()
}

/// The same with boundaries of ASCII words. A lazy automaton gives up at the first other character behind one of
/// Unicode's. The depth of this recursion is the pattern's, at most [`MAX_NESTING`].
fn with_ascii_boundaries(pattern: Hir) -> Hir {
    match pattern.into_kind() {
        HirKind::Empty => Hir::empty(),
        HirKind::Literal(literal) => Hir::literal(literal.0),
        HirKind::Class(class) => Hir::class(class),
        HirKind::Look(look) => Hir::look(ascii_boundary(look)),
        HirKind::Repetition(Repetition { min, max, greedy, sub }) => {
            Hir::repetition(Repetition { min, max, greedy, sub: Box::new(with_ascii_boundaries(*sub)) })
        }
        // Only whether a line matches is asked.
        HirKind::Capture(group) => with_ascii_boundaries(*group.sub),
        HirKind::Concat(parts) => Hir::concat(parts.into_iter().map(with_ascii_boundaries).collect()),
        HirKind::Alternation(parts) => Hir::alternation(parts.into_iter().map(with_ascii_boundaries).collect()),
    }
}

fn ascii_boundary(look: Look) -> Look {
    match look {
        Look::WordUnicode => Look::WordAscii,
        Look::WordUnicodeNegate => Look::WordAsciiNegate,
        Look::WordStartUnicode => Look::WordStartAscii,
        Look::WordEndUnicode => Look::WordEndAscii,
        Look::WordStartHalfUnicode => Look::WordStartHalfAscii,
        Look::WordEndHalfUnicode => Look::WordEndHalfAscii,
        Look::Start
        | Look::End
        | Look::StartLF
        | Look::EndLF
        | Look::StartCRLF
        | Look::EndCRLF
        | Look::WordAscii
        | Look::WordAsciiNegate
        | Look::WordStartAscii
        | Look::WordEndAscii
        | Look::WordStartHalfAscii
        | Look::WordEndHalfAscii => look,
    }
}

fn malformed(pattern: &str, error: &regex_syntax::Error) -> GrepError {
    let (why, offset) = match error {
        regex_syntax::Error::Parse(error) => (error.kind().to_string(), error.span().start.offset),
        regex_syntax::Error::Translate(error) => (error.kind().to_string(), error.span().start.offset),
        other => (other.to_string(), 0),
    };
    let before = pattern.get(..offset).unwrap_or_default();
    GrepError::Syntax { pattern: pattern.to_owned(), why, at: before.chars().count() + 1 }
}
