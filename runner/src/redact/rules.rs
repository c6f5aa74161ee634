//! Loads the tables of secret rules (`runner/secrets/*.toml`) and decides which rules are fit to run.
//!
//! A rule is data: anchors that must occur, a bounded pattern that starts at or a little before an anchor, and the checks
//! that a match still has to pass. Everything that would make a stream undecidable (an unbounded pattern, an assertion
//! about the ends of the text) or a rule untestable (no examples) is refused here, so that the stream need not ask.
//!
//! What a rule means does not depend on its anchors: it redacts from every position at which its pattern matches. The
//! anchors and the gate only say where it is worth looking, and the tests hold them to that.

use std::collections::BTreeSet;
use std::ops::Range;

use regex_automata::hybrid::dfa::DFA;
use regex_automata::meta::Regex;
use regex_automata::nfa::thompson::NFA;
use regex_automata::util::look::Look;
use regex_automata::util::primitives::NonMaxUsize;
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input};
use serde::Deserialize;

use super::mark;

/// How far a pattern may reach, in bytes. What lies beyond is the business of `run-on` and of blocks.
const MAX_REACH: usize = 1024;
/// How far before its anchor a pattern may start, in bytes.
const MAX_BACK: usize = 128;
/// Anchors shorter than this are met all the time and need a written reason.
const SHORT_ANCHOR: usize = 4;
/// The group of a pattern that is the secret; without it, the whole match is.
const SECRET_GROUP: &str = "secret";
/// Room for the whole match and three groups, two ends each.
const SLOTS: usize = 8;

/// Validated secret rules. Where several redact from one position, the first names the mark.
#[derive(Clone, Debug)]
pub struct Rules {
    pub(super) list: Vec<Rule>,
}

impl Rules {
    /// The rules that Palisade ships.
    ///
    /// # Errors
    /// Those of [`Rules::parse`]; a test shows that the shipped tables have none.
    pub fn builtin() -> Result<Self, RulesError> {
        Self::parse(include!(concat!(env!("OUT_DIR"), "/secret_tables.rs")))
    }

    /// Reads tables given as (name, TOML text); the name is only for error messages.
    ///
    /// # Errors
    /// The first rule that cannot be run safely or tested, named together with its table.
    pub fn parse(tables: &[(&str, &str)]) -> Result<Self, RulesError> {
        let mut ids = BTreeSet::new();
        let mut list = Vec::new();
        for &(table, text) in tables {
            for row in read_table(table, text)? {
                let id = row.id.clone();
                let refuse = |why| RulesError::Rule { table: table.to_owned(), id: id.clone(), why };
                if !ids.insert(id.clone()) {
                    return Err(refuse(Unfit::Duplicate));
                }
                list.push(Rule::new(row).map_err(refuse)?);
            }
        }
        Ok(Self { list })
    }

    /// The ids of all rules, as they stand in marks and counts.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.list.iter().map(|rule| rule.id.as_str())
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
    /// All anchors together are too much for one automaton.
    #[error("the anchors of all secret rules do not fit into one automaton")]
    Anchors(#[source] Box<aho_corasick::BuildError>),
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

/// One secret rule, compiled.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) id: String,
    pub(super) anchors: Vec<String>,
    /// How far before its anchor a match may start.
    pub(super) max_back: usize,
    /// The longest match, in bytes.
    pub(super) reach: usize,
    /// Bytes that belong to the secret when they follow a match directly.
    pub(super) run_on: ByteSet,
    /// Present if a match opens a block of lines instead of being a secret itself.
    pub(super) block_end: Option<BlockEnd>,
    pub(super) examples: Vec<Example>,
    pub(super) counter_examples: Vec<Text>,
    gate: Gate,
    pattern: Regex,
    /// The pattern again, as an automaton that can be asked whether more bytes could still make it match.
    progress: DFA,
    /// Slots of the secret in the pattern's captures.
    slots: Range<usize>,
    not_before: ByteSet,
    entropy: f64,
    stop_words: Vec<String>,
    require: Vec<Class>,
    reject: Vec<Regex>,
}

/// How a block ends that a rule with `block-end` has opened.
#[derive(Clone, Debug)]
pub(super) struct BlockEnd {
    pub(super) anchor: String,
    pattern: Regex,
    pub(super) reach: usize,
}

impl BlockEnd {
    /// The length of the end marker that starts at `at`, if one does.
    pub(super) fn length(&self, haystack: &[u8], at: usize) -> Option<usize> {
        let input = Input::new(haystack).range(at..).anchored(Anchored::Yes);
        self.pattern.find(input).map(|found| found.len())
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
    fn new(row: Row) -> Result<Self, Unfit> {
        row.check_words()?;
        let pattern = Expression::bounded(&row.pattern)?;
        let slots = secret_slots(&pattern.regex)?;
        Ok(Self {
            reach: pattern.reach,
            block_end: row.block_end.map(BlockEndRow::compile).transpose()?,
            run_on: row.run_on.as_deref().map_or(Ok(ByteSet::NONE), ByteSet::parse)?,
            not_before: row.not_before.as_deref().map_or(Ok(ByteSet::NONE), ByteSet::parse)?,
            reject: row.reject.iter().map(|expression| compile(expression)).collect::<Result<_, _>>()?,
            stop_words: row.stop_words.iter().map(|word| word.to_ascii_lowercase()).collect(),
            progress: pattern.progress,
            pattern: pattern.regex,
            slots,
            id: row.id,
            anchors: row.anchors,
            max_back: row.max_back,
            gate: row.gate,
            entropy: row.entropy,
            require: row.require,
            examples: row.examples,
            counter_examples: row.counter_examples,
        })
    }

    /// Whether the bytes around an anchor leave a match possible. Cheap, and never the reason for a miss: it lets
    /// through whatever the pattern would.
    pub(super) fn passes_gate(&self, haystack: &[u8], anchor: &Range<usize>) -> bool {
        !matches!(self.gate.look(haystack, anchor.end), Outlook::Shut)
    }

    /// The secret of the match that starts exactly at `start`, if there is one and it passes every check.
    pub(super) fn secret_at(&self, haystack: &[u8], start: usize) -> Option<Range<usize>> {
        let mut slots = [None::<NonMaxUsize>; SLOTS];
        let input = Input::new(haystack).range(start..).anchored(Anchored::Yes);
        self.pattern.search_slots(&input, &mut slots)?;
        let slot = |index: usize| slots.get(index).copied().flatten().map(NonMaxUsize::get);
        let secret = slot(self.slots.start)?..slot(self.slots.end)?;
        let whole = haystack.get(slot(0)?..slot(1)?)?;
        let next = haystack.get(secret.end).copied();
        self.accepts(whole, haystack.get(secret.clone())?, next).then_some(secret)
    }

    /// The rule's examples and counter-examples: what goes in and what must come out.
    pub(super) fn cases(&self) -> impl Iterator<Item = (String, String)> {
        let hits = self.examples.iter().map(|Example { before, secret, after }| {
            let (before, after) = (before.joined(), after.joined());
            (format!("{before}{}{after}", secret.joined()), format!("{before}{}{after}", mark(&self.id)))
        });
        let misses = self.counter_examples.iter().map(|text| (text.joined(), text.joined()));
        hits.chain(misses)
    }

    fn accepts(&self, whole: &[u8], secret: &[u8], next: Option<u8>) -> bool {
        !next.is_some_and(|byte| self.not_before.contains(byte))
            && self.require.iter().all(|class| class.occurs_in(secret))
            && entropy(secret) >= self.entropy
            && !self.stop_words.iter().any(|word| secret.eq_ignore_ascii_case(word.as_bytes()))
            && !self.reject.iter().any(|reject| reject.is_match(whole))
    }

    /// Whether a match around this anchor is still open at the end of `haystack`.
    pub(super) fn prospect(&self, haystack: &[u8], anchor: &Range<usize>) -> Prospect {
        let earliest = anchor.start.saturating_sub(self.max_back);
        match (earliest..=anchor.start).find(|&start| self.may_go_on(haystack, start)) {
            None => Prospect::Settled,
            Some(start) => Prospect::OpenFrom(match self.gate.look(haystack, anchor.end) {
                Outlook::ValueFrom(value) => value,
                Outlook::Unknown | Outlook::Shut => start,
            }),
        }
    }

    /// A state that cannot be computed counts as open: text is then held a little longer, never let go too early.
    fn may_go_on(&self, haystack: &[u8], start: usize) -> bool {
        let mut cache = self.progress.create_cache();
        let input = Input::new(haystack).range(start..).anchored(Anchored::Yes);
        let Ok(mut state) = self.progress.start_state_forward(&mut cache, &input) else {
            return true;
        };
        for &byte in haystack.get(start..).unwrap_or_default() {
            match self.progress.next_state(&mut cache, state, byte) {
                Ok(next) if next.is_dead() => return false,
                Ok(next) => state = next,
                Err(_) => return true,
            }
        }
        true
    }
}

/// A set of bytes, as `run-on` and `not-before` give it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ByteSet([u64; 4]);

impl ByteSet {
    pub(super) const NONE: Self = Self([0; 4]);

    /// From a bracket expression such as `[A-Za-z0-9_-]`.
    fn parse(expression: &str) -> Result<Self, Unfit> {
        let class = compile(expression)?;
        let members = (0..=u8::MAX).filter(|&byte| {
            let whole = Input::new(std::slice::from_ref(&byte)).anchored(Anchored::Yes);
            class.find(whole).is_some_and(|found| found.len() == 1)
        });
        Ok(members.fold(Self::NONE, Self::with))
    }

    fn with(mut self, byte: u8) -> Self {
        if let Some(word) = self.0.get_mut(usize::from(byte >> 6)) {
            *word |= 1 << (byte & 63);
        }
        self
    }

    pub(super) fn contains(self, byte: u8) -> bool {
        self.0.get(usize::from(byte >> 6)).is_some_and(|word| word >> (byte & 63) & 1 == 1)
    }
}

/// Shannon entropy of the bytes, in bits a byte.
fn entropy(bytes: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    for &byte in bytes {
        if let Some(count) = counts.get_mut(usize::from(byte)) {
            *count += 1;
        }
    }
    let total: f64 = counts.iter().copied().map(f64::from).sum();
    let shares = counts.iter().filter(|&&count| count > 0).map(|&count| f64::from(count) / total);
    -shares.map(|share| share * share.log2()).sum::<f64>()
}

struct Expression {
    regex: Regex,
    progress: DFA,
    reach: usize,
}

impl Expression {
    /// Compiles an expression and refuses it unless a stream can decide it.
    fn bounded(expression: &str) -> Result<Self, Unfit> {
        let fail = |why: &dyn std::error::Error| malformed(expression, why);
        let hir = syntax::parse_with(expression, &byte_syntax()).map_err(|error| fail(&error))?;
        match (hir.properties().minimum_len(), hir.properties().maximum_len()) {
            (Some(0), _) => Err(Unfit::Empty),
            (_, None) => Err(Unfit::Unbounded),
            (_, Some(length)) if length > MAX_REACH => Err(Unfit::TooLong(length)),
            (_, Some(reach)) => {
                let nfa = NFA::compiler().build_from_hir(&hir).map_err(|error| fail(&error))?;
                let looks = nfa.look_set_any();
                if looks.contains(Look::Start) || looks.contains(Look::End) {
                    return Err(Unfit::EndOfText);
                }
                Ok(Self {
                    regex: Regex::builder().build_from_hir(&hir).map_err(|error| fail(&error))?,
                    progress: DFA::builder().build_from_nfa(nfa).map_err(|error| fail(&error))?,
                    reach,
                })
            }
        }
    }
}

/// Compiles an expression that runs on a finished match only, so that bounds do not matter.
fn compile(expression: &str) -> Result<Regex, Unfit> {
    Regex::builder().syntax(byte_syntax()).build(expression).map_err(|error| malformed(expression, &error))
}

fn malformed(expression: &str, why: &dyn std::error::Error) -> Unfit {
    Unfit::Expression { expression: expression.to_owned(), why: why.to_string() }
}

/// Output is bytes: a pattern sees no characters, and `\w` and `\b` mean ASCII.
fn byte_syntax() -> syntax::Config {
    syntax::Config::new().unicode(false).utf8(false)
}

fn secret_slots(pattern: &Regex) -> Result<Range<usize>, Unfit> {
    let groups = pattern.group_info();
    if groups.slot_len() > SLOTS {
        return Err(Unfit::Groups);
    }
    let index = groups.to_index(regex_automata::PatternID::ZERO, SECRET_GROUP).unwrap_or(0);
    Ok(index * 2..index * 2 + 1)
}

fn read_table(table: &str, text: &str) -> Result<Vec<Row>, RulesError> {
    match toml::from_str::<Table>(text) {
        Ok(Table { rule }) => Ok(rule),
        Err(cause) => Err(RulesError::Table { table: table.to_owned(), cause: Box::new(cause) }),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    rule: Vec<Row>,
}

/// A rule as its table has it; `secrets/README.md` explains the keys.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Row {
    id: String,
    description: String,
    anchors: Vec<String>,
    short_anchor_reason: Option<String>,
    pattern: String,
    #[serde(default)]
    gate: Gate,
    #[serde(default)]
    max_back: usize,
    run_on: Option<String>,
    not_before: Option<String>,
    #[serde(default)]
    entropy: f64,
    #[serde(default)]
    stop_words: Vec<String>,
    #[serde(default)]
    require: Vec<Class>,
    #[serde(default)]
    reject: Vec<String>,
    block_end: Option<BlockEndRow>,
    #[serde(default)]
    examples: Vec<Example>,
    #[serde(default)]
    counter_examples: Vec<Text>,
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
            () => short.map_or(Ok(()), |anchor| Err(Unfit::ShortAnchor(anchor.clone()))),
        }
    }
}

fn is_id_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BlockEndRow {
    anchor: String,
    pattern: String,
}

impl BlockEndRow {
    fn compile(self) -> Result<BlockEnd, Unfit> {
        let Expression { regex, reach, .. } = Expression::bounded(&self.pattern)?;
        Ok(BlockEnd { anchor: self.anchor, pattern: regex, reach })
    }
}

/// An example: the secret, and what stands around it and stays.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Example {
    #[serde(default)]
    pub(super) before: Text,
    pub(super) secret: Text,
    #[serde(default)]
    pub(super) after: Text,
}

/// Text in one piece or in several: a scanner that guards the repository must not take an example for a leak.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Text {
    Whole(String),
    Pieces(Vec<String>),
}

impl Default for Text {
    fn default() -> Self {
        Self::Whole(String::new())
    }
}

impl Text {
    pub(super) fn joined(&self) -> String {
        match self {
            Self::Whole(text) => text.clone(),
            Self::Pieces(pieces) => pieces.concat(),
        }
    }
}

/// A cheap look at what follows an anchor, before the pattern is run.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Gate {
    /// Always run the pattern.
    #[default]
    None,
    /// The anchor is the name (or part of it) in `name = value`, `NAME: value`, `"name": "value"`, `name => "value"`.
    Assignment,
}

enum Outlook {
    /// No match here.
    Shut,
    /// The text ends before the gate can tell, or there is no gate.
    Unknown,
    /// Open; the value does not start before this offset.
    ValueFrom(usize),
}

impl Gate {
    fn look(self, haystack: &[u8], mut at: usize) -> Outlook {
        match self {
            Self::None => return Outlook::Unknown,
            Self::Assignment => (),
        }
        at += run(haystack, at, 32, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'));
        at += run(haystack, at, 3, |byte| matches!(byte, b'"' | b'\'' | b'`' | b']' | b'\\'));
        at += run(haystack, at, 16, is_blank);
        let Some(operator) = haystack.get(at) else {
            return Outlook::ValueFrom(at);
        };
        if !matches!(operator, b':' | b'=') {
            return Outlook::Shut;
        }
        at += run(haystack, at, 2, |byte| matches!(byte, b':' | b'=' | b'>'));
        at += run(haystack, at, 16, is_blank);
        Outlook::ValueFrom(at)
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// How many bytes from `at` on, at most `most`, are of one kind.
fn run(haystack: &[u8], at: usize, most: usize, kind: impl Fn(u8) -> bool) -> usize {
    haystack.iter().skip(at).take(most).take_while(|&&byte| kind(byte)).count()
}

/// A kind of byte that a secret has to contain.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Class {
    Digit,
    Letter,
    Upper,
    Lower,
}

impl Class {
    fn occurs_in(self, bytes: &[u8]) -> bool {
        bytes.iter().any(match self {
            Self::Digit => u8::is_ascii_digit,
            Self::Letter => u8::is_ascii_alphabetic,
            Self::Upper => u8::is_ascii_uppercase,
            Self::Lower => u8::is_ascii_lowercase,
        })
    }
}
