//! Loads the tables of secret rules (`secrets/*.toml`) and decides which rules are fit to run.
//!
//! A rule is data: anchors that must occur, a bounded pattern that starts at or a little before an anchor, and the checks
//! that a match still has to pass. Everything that would make a stream undecidable (an unbounded pattern, an assertion
//! about the ends of the text) or a rule untestable (no examples) is refused here, so that the stream need not ask.
//!
//! What a rule means does not depend on its anchors: it redacts from every position at which its pattern matches. The
//! anchors and the gate only say where it is worth looking, and the tests hold them to that.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Range, RangeInclusive};

use super::escape;
use super::expression::{ByteSet, Checks, Expression, SECRET_GROUP};
use super::gate::{self, Outlook};
use super::mark;
use super::place;
use super::row::{BlockEndRow, Class, Example, Gate, Row, RuleFile, Text, Word, WordList};
use super::word;
use regex_automata::util::primitives::NonMaxUsize;
use regex_automata::{Anchored, Input};

/// How far before its anchor a pattern may start, in bytes.
const MAX_BACK: usize = 128;
/// Anchors shorter than this are met all the time and need a written reason.
const SHORT_ANCHOR: usize = 4;
/// What the patterns of vendors have between a name and its value.
const VENDORS_MACRO: &str = "{is}";
/// Room for the whole match and three groups, two ends each.
const SLOTS: usize = 8;

/// The tables that Palisade ships, read when it was built.
static SHIPPED: &[(&str, &[Row])] = &include!(concat!(env!("OUT_DIR"), "/secret_tables.rs"));

/// Validated secret rules. Where several redact from one position, the first names the mark.
#[derive(Debug)]
pub struct Rules {
    pub(super) list: Vec<Rule>,
}

impl Rules {
    /// The rules that Palisade ships.
    ///
    /// # Errors
    /// Those of [`Rules::parse`]; a test shows that the shipped tables have none.
    pub fn builtin() -> Result<Self, RulesError> {
        Self::of(SHIPPED.iter().map(|(table, rows)| (*table, rows.to_vec())))
    }

    /// The rules that Palisade ships, and then a site's own, from tables given as for [`Rules::parse`].
    ///
    /// # Errors
    /// Those of [`Rules::parse`]; an id that Palisade's rules have is taken.
    pub fn builtin_and(tables: &[(&str, &str)]) -> Result<Self, RulesError> {
        let (shipped, own) = (Self::builtin()?, Self::parse(tables)?);
        let ids: BTreeSet<&str> = shipped.ids().collect();
        if let Some(twice) = own.ids().find(|id| ids.contains(id)) {
            let table = String::from("(the site's rules)");
            return Err(RulesError::Rule { table, id: twice.to_owned(), why: Unfit::Duplicate });
        }
        // The site knows better what its own secrets are called: its rules name the mark.
        Ok(Self { list: own.list.into_iter().chain(shipped.list).collect() })
    }

    /// Reads tables given as (name, TOML text); the name is only for error messages.
    ///
    /// # Errors
    /// The first rule that cannot be run safely or tested, named together with its table.
    pub fn parse(tables: &[(&str, &str)]) -> Result<Self, RulesError> {
        let read = |&(table, text): &(_, _)| Ok((table, read_table(table, text)?));
        Self::of(tables.iter().map(read).collect::<Result<Vec<_>, RulesError>>()?)?.fit()
    }

    /// The same rules, each looked at as a whole.
    pub(super) fn fit(self) -> Result<Self, RulesError> {
        for rule in &self.list {
            let refuse = |why| RulesError::Rule { table: rule.table.clone(), id: rule.id.to_string(), why };
            rule.check().map_err(refuse)?;
        }
        Ok(self)
    }

    fn of<'a>(tables: impl IntoIterator<Item = (&'a str, Vec<Row>)>) -> Result<Self, RulesError> {
        let (mut ids, mut sets) = (BTreeSet::new(), BTreeMap::new());
        let mut list = Vec::new();
        for (table, rows) in tables {
            for row in rows {
                let id = row.id.clone();
                let refuse = |why| RulesError::Rule { table: table.to_owned(), id: id.clone().into_owned(), why };
                if !ids.insert(id.clone()) {
                    return Err(refuse(Unfit::Duplicate));
                }
                list.push(Rule::new(table, row, &mut sets).map_err(refuse)?);
            }
        }
        Ok(Self { list })
    }

    /// The texts that the search looks for, rule by rule. Several rules can have the same.
    pub fn anchors(&self) -> impl Iterator<Item = &str> {
        self.list.iter().flat_map(|rule| rule.anchors.iter()).map(AsRef::as_ref)
    }

    /// The ids of all rules, as they stand in marks and counts.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.list.iter().map(|rule| rule.id.as_ref())
    }
}

/// Why a table of secret rules was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RulesError {
    /// The table is not TOML, or has a key that no rule has.
    #[error("secret table `{table}` cannot be read")]
    Table {
        /// The table's name.
        table: String,
        /// What the TOML reader said.
        #[source]
        cause: Box<toml::de::Error>,
    },
    /// One rule is unfit.
    #[error("secret rule `{id}` in table `{table}` is refused")]
    Rule {
        /// The table's name.
        table: String,
        /// The rule's id.
        id: String,
        /// What is wrong with it.
        #[source]
        why: Unfit,
    },
}

/// What makes a secret rule unfit to run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unfit {
    /// Two rules would share a mark.
    #[error("another rule has the same id")]
    Duplicate,
    /// The id would not be recognised inside a mark.
    #[error("an id is 1 to 64 lower-case letters, digits and hyphens")]
    Id,
    /// Nobody could tell what the rule is for.
    #[error("it has no description")]
    NoDescription,
    /// The rule would never be looked at.
    #[error("it has no anchor")]
    NoAnchor,
    /// The anchor is met too often.
    #[error("anchor `{0}` is shorter than 4 bytes and `short-anchor-reason` is not given")]
    ShortAnchor(String),
    /// An expression is malformed or too large.
    #[error("expression `{expression}` cannot be compiled: {why}")]
    Expression {
        /// The expression as written.
        expression: String,
        /// What its compiler said.
        why: String,
    },
    /// The match has no upper bound, so no stream could decide it.
    #[error("its pattern can match without bound; bound every repetition and use `run-on` for the rest")]
    Unbounded,
    /// The match may be longer than the stream holds back.
    #[error("its pattern can match {0} bytes, more than 1024; shorten it and use `run-on` for the rest")]
    TooLong(usize),
    /// The pattern may start further back than the stream remembers.
    #[error("`max-back` is {0}, more than 128")]
    TooFarBack(usize),
    /// The pattern matches nothing at all.
    #[error("its pattern matches the empty text")]
    Empty,
    /// A stream has no start or end that a pattern could see.
    #[error("its pattern asserts the start or end of the text, which a stream does not show")]
    EndOfText,
    /// More groups than the matcher has room for.
    #[error("its pattern has more than 3 groups")]
    Groups,
    /// No example shows that it works.
    #[error("it has no example")]
    NoExample,
    /// No counter-example shows what it must leave alone.
    #[error("it has no counter-example")]
    NoCounterExample,
}

/// One secret rule.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) id: Word,
    table: String,
    pub(super) anchors: WordList,
    /// How far before its anchor a match starts, at least.
    min_back: usize,
    /// How far before its anchor a match may start.
    pub(super) max_back: usize,
    /// Bytes that belong to the secret when they follow a match directly.
    pub(super) run_on: ByteSet,
    /// Present if a match opens a block of lines instead of being a secret itself.
    pub(super) block_end: Option<BlockEnd>,
    /// Whether the lines directly behind a match go with it that are made of the same key.
    pub(super) lines: bool,
    /// Whether a match stands in the first line of a table or of a section, whose cells may be secrets.
    pub(super) columns: bool,
    /// Whether an anchor counts only where a long run of letters and digits follows it.
    pub(super) before_runs: bool,
    /// Whether a value that was met once is looked for everywhere from then on.
    pub(super) learn: bool,
    pub(super) examples: Cow<'static, [Example]>,
    pub(super) counter_examples: Cow<'static, [Text]>,
    gate: Gate,
    pattern: Expression,
    /// Whether a match is a word that is known by how it begins.
    is_token: bool,
    /// Whether a match begins with the name of what it finds.
    is_named: bool,
    /// Whether the name is a vendor's, behind which a name of a program is no secret.
    is_vendors: bool,
    not_before: ByteSet,
    /// What can follow the word that the anchor is in; anything if empty.
    next: ByteSet,
    entropy: f64,
    stop_words: WordList,
    require: Cow<'static, [Class]>,
    reject: Checks,
}

/// How a block ends that a rule with `block-end` has opened.
#[derive(Debug)]
pub(super) struct BlockEnd {
    pub(super) anchor: Word,
    pattern: Expression,
}

impl BlockEnd {
    /// The length of the end marker that starts at `at`, if one does.
    pub(super) fn length(&self, haystack: &[u8], at: usize) -> Option<usize> {
        let input = Input::new(haystack).range(at..).anchored(Anchored::Yes);
        self.pattern.regex()?.find(input).map(|found| found.len())
    }
}

/// What the bytes after an anchor say about a match that would begin there, given only what has arrived so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prospect {
    /// No bytes to come can change what the rule says here.
    Settled,
    /// A match is still possible; its secret would not start before this offset.
    OpenFrom(usize),
}

impl Rule {
    /// `sets` holds the sets of bytes that other rules have already, for most rules share theirs.
    fn new(table: &str, row: Row, sets: &mut BTreeMap<Word, ByteSet>) -> Result<Self, Unfit> {
        row.check_words()?;
        let mut set = |expression: &Option<Word>| match expression {
            None => Ok(ByteSet::NONE),
            Some(expression) => match sets.get(expression) {
                Some(set) => Ok(*set),
                None => Ok(*sets.entry(expression.clone()).or_insert(ByteSet::parse(expression)?)),
            },
        };
        let (run_on, not_before, next) = (set(&row.run_on)?, set(&row.not_before)?, set(&row.next)?);
        Ok(Self {
            is_token: row.max_back == 0 && row.pattern.starts_with("\\b") && !row.pattern.contains(SECRET_GROUP),
            is_named: row.gate == Gate::Assignment,
            is_vendors: row.pattern.contains(VENDORS_MACRO),
            pattern: Expression::new(row.pattern),
            block_end: row.block_end.map(BlockEndRow::taken),
            run_on,
            not_before,
            next,
            reject: Checks::new(&row.reject),
            stop_words: row.stop_words,
            table: table.to_owned(),
            id: row.id,
            anchors: row.anchors,
            min_back: row.min_back,
            max_back: row.max_back,
            gate: row.gate,
            entropy: row.entropy,
            learn: row.learn,
            lines: row.lines,
            columns: row.columns,
            before_runs: row.before_runs,
            require: row.require,
            examples: row.examples,
            counter_examples: row.counter_examples,
        })
    }

    /// The longest match, in bytes.
    pub(super) fn reach(&self) -> usize {
        self.pattern.reach()
    }

    /// Looks at every expression now, so that an error is known.
    fn check(&self) -> Result<(), Unfit> {
        self.pattern.check()?;
        self.reject.check()?;
        self.block_end.as_ref().map_or(Ok(()), |end| end.pattern.check())
    }

    /// Whether the bytes around an anchor leave a match possible. Cheap, and never the reason for a miss: it lets
    /// through whatever the pattern would.
    pub(super) fn passes_gate(&self, haystack: &[u8], anchor: &Range<usize>) -> bool {
        let next = || haystack.get(gate::word_end(haystack, anchor.end)).copied();
        (self.next == ByteSet::NONE || next().is_none_or(|byte| self.next.contains(byte)))
            && !matches!(self.gate.look(haystack, anchor.end), Outlook::Shut)
    }

    /// Where a match around an anchor at `at` can start.
    pub(super) fn starts(&self, haystack: &[u8], at: usize) -> RangeInclusive<usize> {
        let nowhere = RangeInclusive::new(1, 0);
        let Some(last) = at.checked_sub(self.min_back) else { return nowhere };
        let first = at.saturating_sub(self.max_back);
        if self.pattern.starts_lines() {
            let before = haystack.get(first.saturating_sub(1)..last).unwrap_or_default();
            return match before.iter().rposition(|&byte| byte == b'\n') {
                Some(line_break) => {
                    let start = first.saturating_sub(1) + line_break + 1;
                    start..=start
                }
                None if first == 0 => 0..=0,
                None => nowhere,
            };
        }
        match self.gate {
            Gate::Option => {
                let start = gate::word_start(haystack, at, self.max_back);
                if haystack.get(start) == Some(&b'-') { start.saturating_sub(1).max(first)..=start } else { nowhere }
            }
            Gate::None | Gate::Assignment => first..=last,
        }
    }

    /// The secret of the match that starts exactly at `start`, if there is one and it passes every check.
    pub(super) fn secret_at(&self, haystack: &[u8], start: usize) -> Option<Range<usize>> {
        let (whole, secret) = self.match_at(haystack, start)?;
        let named = secret.start - whole.start;
        let whole = haystack.get(whole)?;
        let next = haystack.get(secret.end).copied();
        let is_type = self.is_named && place::begins_in_type(haystack, start);
        let fits =
            self.accepts(whole, haystack.get(secret.clone())?, next) && !self.is_misled(whole, named) && !is_type;
        fits.then(|| without_escape(haystack, secret)).flatten()
    }

    /// Whether the rule looks for a name, and took a file's for one.
    fn is_misled(&self, whole: &[u8], named: usize) -> bool {
        let by_name = self.next != ByteSet::NONE || matches!(self.gate, Gate::Assignment | Gate::Option);
        by_name && place::begins_with_file(whole, named)
    }

    /// The rule's examples and counter-examples: what goes in and what must come out.
    pub(super) fn cases(&self) -> impl Iterator<Item = (String, String)> {
        let hits = self.examples.iter().map(|Example { before, secret, after }| {
            let (before, after) = (before.joined(), after.joined());
            (format!("{before}{}{after}", secret.joined()), format!("{before}{}{after}", mark::plain(&self.id)))
        });
        let misses = self.counter_examples.iter().map(|text| (text.joined(), text.joined()));
        hits.chain(misses)
    }

    fn accepts(&self, whole: &[u8], secret: &[u8], next: Option<u8>) -> bool {
        !next.is_some_and(|byte| self.not_before.contains(byte))
            && self.require.iter().all(|class| class.occurs_in(secret))
            && (self.entropy == 0.0 || mark::entropy(secret) >= self.entropy)
            && !self.stop_words.iter().any(|word| secret.eq_ignore_ascii_case(word.as_bytes()))
            && !(self.is_vendors && word::is_numbered_path(secret))
            && !self.reject.is_match(whole)
    }

    /// Whether a match around this anchor is still open at the end of `haystack`.
    pub(super) fn prospect(&self, haystack: &[u8], anchor: &Range<usize>) -> Prospect {
        let open = self.starts(haystack, anchor.start).flat_map(|start| self.texts_at(haystack, start));
        let open = open.filter(|&(text, start, _)| self.pattern.may_go_on(text, start));
        let value = match self.gate.look(haystack, anchor.end) {
            Outlook::ValueFrom(value) => Some(value),
            Outlook::Unknown | Outlook::Shut => None,
        };
        // A match that is there already may only grow, or give way to a longer one.
        let there = |start| self.match_at(haystack, start).map_or(usize::MAX, |(_, secret)| secret.start);
        let begins = open.map(|(text, start, cut)| {
            let from = value.unwrap_or_else(|| cut + self.pattern.secret_from(text, start));
            from.min(there(cut + start))
        });
        begins.min().map_or(Prospect::Settled, Prospect::OpenFrom)
    }

    /// The whole match that starts exactly at `start`, and the secret in it, whatever the checks say.
    fn match_at(&self, haystack: &[u8], start: usize) -> Option<(Range<usize>, Range<usize>)> {
        if self.max_back > 0 && !self.pattern.may_begin_at(haystack, start) {
            return None;
        }
        let mut matches = self.texts_at(haystack, start).filter_map(|(text, start, cut)| {
            let (whole, secret) = self.match_in(text, start)?;
            Some((cut + whole.start..cut + whole.end, cut + secret.start..cut + secret.end))
        });
        matches.next()
    }

    /// The texts that a match at `start` may see, with its place in each and what each lacks at the beginning. A word ends where
    /// an escape does, so the text behind it is one of them.
    fn texts_at<'a>(&self, haystack: &'a [u8], start: usize) -> impl Iterator<Item = (&'a [u8], usize, usize)> {
        let is_cut = !self.pattern.starts_lines()
            && (escape::ends_at(haystack, start) || self.is_token && is_behind_letter(haystack, start));
        let behind = haystack.get(start..).filter(|_| is_cut).map(|behind| (behind, 0, start));
        [(haystack, start, 0)].into_iter().chain(behind)
    }

    fn match_in(&self, haystack: &[u8], start: usize) -> Option<(Range<usize>, Range<usize>)> {
        let pattern = self.pattern.regex()?;
        let mut slots = [None::<NonMaxUsize>; SLOTS];
        // One byte more, for a pattern that asks what follows.
        let near = haystack.get(..haystack.len().min(start + self.reach() + 1))?;
        let end = self.pattern.end_of_match(near, start)?;
        pattern.search_slots(&Input::new(near).range(start..end).anchored(Anchored::Yes), &mut slots)?;
        let slot = |index: usize| slots.get(index).copied().flatten().map(NonMaxUsize::get);
        let group = pattern.group_info().to_index(regex_automata::PatternID::ZERO, SECRET_GROUP).unwrap_or(0);
        Some((slot(0)?..slot(1)?, slot(group * 2)?..slot(group * 2 + 1)?))
    }
}

#[cfg(test)]
impl Rule {
    /// The pattern as it is compiled.
    pub(super) fn pattern(&self) -> String {
        self.pattern.source()
    }
}

/// The secret without a last backslash that escapes the quote behind it: without it, the quote would end a string.
fn without_escape(haystack: &[u8], secret: Range<usize>) -> Option<Range<usize>> {
    let escapes = haystack.get(secret.end) == Some(&b'"')
        && haystack.get(secret.clone())?.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1;
    let end = secret.end - usize::from(escapes);
    (secret.start < end).then_some(secret.start..end)
}

/// Whether one letter stands directly before `at` that no other does.
fn is_behind_letter(text: &[u8], at: usize) -> bool {
    let before = text.get(at.saturating_sub(2)..at).unwrap_or_default();
    match before {
        [letter] => letter.is_ascii_alphabetic(),
        [before, letter] => letter.is_ascii_alphabetic() && !before.is_ascii_alphanumeric() && *before != b'_',
        _ => false,
    }
}

fn read_table(table: &str, text: &str) -> Result<Vec<Row>, RulesError> {
    match toml::from_str::<RuleFile>(text) {
        Ok(RuleFile { rule }) => Ok(rule),
        Err(cause) => Err(RulesError::Table { table: table.to_owned(), cause: Box::new(cause) }),
    }
}

impl Row {
    fn check_words(&self) -> Result<(), Unfit> {
        if self.id.len() > 64 || self.id.is_empty() || !self.id.bytes().all(is_id_byte) {
            return Err(Unfit::Id);
        }
        let reason = self.short_anchor_reason.as_deref().unwrap_or_default().trim();
        let ends = self.block_end.iter().map(|end| &end.anchor);
        let mut anchors = self.anchors.iter().chain(ends);
        let short = anchors.find(|anchor| anchor.is_empty() || anchor.len() < SHORT_ANCHOR && reason.is_empty());
        match () {
            () if self.description.trim().is_empty() => Err(Unfit::NoDescription),
            () if self.anchors.is_empty() => Err(Unfit::NoAnchor),
            () if self.max_back > MAX_BACK => Err(Unfit::TooFarBack(self.max_back)),
            () if self.examples.is_empty() => Err(Unfit::NoExample),
            () if self.counter_examples.is_empty() => Err(Unfit::NoCounterExample),
            () => short.map_or(Ok(()), |anchor| Err(Unfit::ShortAnchor(anchor.to_string()))),
        }
    }
}

fn is_id_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'
}

impl BlockEndRow {
    fn taken(self) -> BlockEnd {
        BlockEnd { anchor: self.anchor, pattern: Expression::new(self.pattern) }
    }
}

impl Text {
    pub(super) fn joined(&self) -> String {
        match self {
            Self::Whole(text) => text.to_string(),
            Self::Pieces(pieces) => pieces.concat(),
        }
    }
}

impl Class {
    fn occurs_in(self, bytes: &[u8]) -> bool {
        bytes.iter().any(match self {
            Self::Random => return word::is_random(bytes),
            Self::Digit => u8::is_ascii_digit,
            Self::Letter => u8::is_ascii_alphabetic,
            Self::Upper => u8::is_ascii_uppercase,
            Self::Lower => u8::is_ascii_lowercase,
            Self::DigitOrSymbol => {
                |byte: &u8| byte.is_ascii_digit() || byte.is_ascii_punctuation() && !b"_-./:,".contains(byte)
            }
        })
    }
}
