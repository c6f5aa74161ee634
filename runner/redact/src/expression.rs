//! Compiles the expressions of secret rules and refuses those that a stream cannot decide.
//!
//! What is compiled is bounded: no match is longer than 1 KiB, and nothing asks where the text begins or ends.
//! Compiling waits until an expression is first needed, for most rules are never met.

use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::OnceLock;

use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::meta::{self, Regex};
use regex_automata::nfa::thompson::NFA;
use regex_automata::util::pool::Pool;
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input, MatchKind};
use regex_syntax::hir::{Class, HirKind};

use super::row::Word;
use super::rules::Unfit;

/// How far a pattern may reach, in bytes. What lies beyond is the business of `run-on` and of blocks.
pub(super) const MAX_REACH: usize = 1024;
/// The group of a pattern that is the secret; without it, the whole match is.
pub(super) const SECRET_GROUP: &str = "secret";
/// What an automaton may remember of itself, in bytes.
const CACHE: usize = 256 * 1024;
/// The most groups of a pattern.
const MAX_GROUPS: usize = 3;

/// What stands between a name and its value, for patterns that look for a name.
const MACROS: [(&str, &str); 3] = [
    // the rest of the name; then quotes, brackets, a type; any operator, the next line; an opening quote
    (
        "{is}",
        r#"{rest}["'`\]\\)]{0,4}[ \t]{0,16}(?::?[ \t]{0,2}&?(?:'static )?\w{0,8}(?:str|string|char)\b\*?(?:\[\])?[ \t]{1,4})?(?:=>|->|:{0,2}={1,3}|[?+.!]={1,2}|\|\||[:=,>|])[ \t]{0,16}(?:\\?\r?\n[ \t]{1,32})?(?:\\{0,3}["'`]{1,3}|[bfruNL@]["'])?"#,
    ),
    // the same, without the operators that prose is full of, and on one line
    (
        "{eq}",
        r#"{rest}["'`\]\\)]{0,4}[ \t]{0,16}(?::?[ \t]{0,2}&?(?:'static )?\w{0,8}(?:str|string|char)\b\*?(?:\[\])?[ \t]{1,4})?(?:=>|:{0,2}={1,2}|[?+.]=|[:=])[ \t]{0,16}(?:\\{0,3}["'`]{1,3}|[bfruNL@]["'])?"#,
    ),
    ("{rest}", r"(?:s|[0-9_.-][\w.-]{0,24}|(?-i:[A-Z])[\w.-]{0,24})?"),
];

/// An expression with a longest match.
#[derive(Debug)]
pub(super) struct Expression {
    /// As it stands in its table, with macros in it.
    written: Word,
    /// The longest match, in bytes, once that was asked for.
    reach: OnceLock<usize>,
    regex: OnceLock<Option<Regex>>,
    automaton: OnceLock<Option<Automaton>>,
    /// What comes before the secret, and the rest.
    parts: OnceLock<Option<(Automaton, Automaton)>>,
    /// The bytes that a match can begin with.
    first: OnceLock<ByteSet>,
    /// Whether a match begins where a line does.
    at_line_start: bool,
}

impl Expression {
    /// Takes an expression as it is. Whether it is fit is for [`Self::check`] to say, or was said by tests: to look at each that
    /// is shipped takes longer than all else that a server does before it answers.
    pub(super) fn new(written: Word) -> Self {
        let at_line_start = written.trim_start_matches("(?i)").starts_with("(?m:^)");
        Self {
            written,
            reach: OnceLock::new(),
            regex: OnceLock::new(),
            automaton: OnceLock::new(),
            parts: OnceLock::new(),
            first: OnceLock::new(),
            at_line_start,
        }
    }

    /// The expression with its macros written out.
    pub(super) fn source(&self) -> String {
        MACROS.iter().fold(self.written.to_string(), |source, (name, text)| source.replace(name, text))
    }

    /// The longest match, in bytes.
    pub(super) fn reach(&self) -> usize {
        *self.reach.get_or_init(|| self.measure().unwrap_or(MAX_REACH))
    }

    /// The longest match of an expression that a stream can decide.
    fn measure(&self) -> Result<usize, Unfit> {
        let source = self.source();
        let hir = syntax::parse_with(&source, &byte_syntax()).map_err(|error| malformed(&source, &error))?;
        let properties = hir.properties();
        let looks = properties.look_set();
        let reach = match (properties.minimum_len(), properties.maximum_len()) {
            (Some(0), _) => return Err(Unfit::Empty),
            (_, None) => return Err(Unfit::Unbounded),
            (_, Some(length)) if length > MAX_REACH => return Err(Unfit::TooLong(length)),
            (_, Some(reach)) => reach,
        };
        if looks.contains_anchor_haystack() {
            return Err(Unfit::EndOfText);
        }
        if properties.explicit_captures_len() > MAX_GROUPS {
            return Err(Unfit::Groups);
        }
        Ok(reach)
    }

    /// Looks at all of it now, so that an error is known.
    ///
    /// # Errors
    /// If no stream can decide it, or it does not compile.
    pub(super) fn check(&self) -> Result<(), Unfit> {
        self.measure()?;
        compile(&self.source(), false).map(drop)
    }

    /// The compiled expression. Nothing if it does not compile, which the tests rule out for the shipped rules and
    /// [`Expression::check`] for others.
    pub(super) fn regex(&self) -> Option<&Regex> {
        self.regex.get_or_init(|| compile(&self.source(), false).ok()).as_ref()
    }

    /// Whether a match can begin at `at`; cheaper than to try.
    pub(super) fn may_begin_at(&self, haystack: &[u8], at: usize) -> bool {
        let after_break = at.checked_sub(1).is_none_or(|before| haystack.get(before) == Some(&b'\n'));
        (after_break || !self.at_line_start) && haystack.get(at).is_some_and(|&byte| self.may_begin_with(byte))
    }

    /// Whether a match begins only where a line does.
    pub(super) fn starts_lines(&self) -> bool {
        self.at_line_start
    }

    fn may_begin_with(&self, byte: u8) -> bool {
        let first = self.first.get_or_init(|| {
            // What a pattern asks of the byte before depends on that byte, so every kind of it is tried.
            let begins = |byte: u8| {
                [b"".as_slice(), b"a", b" ", b"\n"].iter().any(|before| {
                    let text = [before, [byte].as_slice()].concat();
                    self.may_go_on(&text, before.len())
                })
            };
            (0..=u8::MAX).filter(|&byte| begins(byte)).fold(ByteSet::NONE, ByteSet::with)
        });
        first.contains(byte)
    }

    /// Where a match that starts exactly at `start` ends: nothing if there is none, and the end of the text if that cannot
    /// be told cheaply. Most places that are looked at hold no match, and this says so far sooner than captures would.
    pub(super) fn end_of_match(&self, haystack: &[u8], start: usize) -> Option<usize> {
        let Some(automaton) = self.automaton() else { return Some(haystack.len()) };
        let input = Input::new(haystack).range(start..).anchored(Anchored::Yes);
        match automaton.dfa.try_search_fwd(&mut automaton.caches.get(), &input) {
            Ok(found) => found.map(|found| found.offset()),
            Err(_) => Some(haystack.len()),
        }
    }

    /// Whether bytes to come could still make a match that starts at `start`. What cannot be computed counts as
    /// possible: text is then held a little longer, never let go too early.
    pub(super) fn may_go_on(&self, haystack: &[u8], start: usize) -> bool {
        self.automaton().is_none_or(|automaton| automaton.may_go_on(haystack, start))
    }

    /// Where the secret of a match would begin that starts at `start` and that the text does not show to its end.
    pub(super) fn secret_from(&self, haystack: &[u8], start: usize) -> usize {
        match self.parts.get_or_init(|| self.divide()) {
            Some((before, secret)) => {
                let ends = before.ends(haystack, start);
                ends.into_iter().find(|&end| secret.may_go_on(haystack, end)).unwrap_or(haystack.len())
            }
            None => start,
        }
    }

    /// The pattern up to its secret, and from there on, if the group is not inside another one.
    fn divide(&self) -> Option<(Automaton, Automaton)> {
        let opening = format!("(?<{SECRET_GROUP}>");
        let source = self.source();
        let (before, rest) = source.split_once(&opening)?;
        let flags = if before.starts_with("(?i)") { "(?i)" } else { "" };
        let secret = Automaton::new(&format!("{flags}(?:{rest}"), MatchKind::LeftmostFirst)?;
        Some((Automaton::new(before, MatchKind::All)?, secret))
    }

    fn automaton(&self) -> Option<&Automaton> {
        self.automaton.get_or_init(|| Automaton::new(&self.source(), MatchKind::LeftmostFirst)).as_ref()
    }
}

type MakeCache = Box<dyn Fn() -> Cache + Send + Sync + UnwindSafe + RefUnwindSafe>;

/// The expression as an automaton that is built as it runs.
struct Automaton {
    dfa: DFA,
    caches: Pool<Cache, MakeCache>,
}

impl Automaton {
    fn new(source: &str, kind: MatchKind) -> Option<Self> {
        let hir = syntax::parse_with(source, &byte_syntax()).ok()?;
        let nfa = NFA::compiler().build_from_hir(&hir).ok()?;
        let config = DFA::config().match_kind(kind).cache_capacity(CACHE).skip_cache_capacity_check(true);
        let dfa = DFA::builder().configure(config).build_from_nfa(nfa).ok()?;
        let maker = dfa.clone();
        let create: MakeCache = Box::new(move || maker.create_cache());
        Some(Self { dfa, caches: Pool::new(create) })
    }

    fn may_go_on(&self, haystack: &[u8], start: usize) -> bool {
        let mut cache = self.caches.get();
        let input = Input::new(haystack).range(start..).anchored(Anchored::Yes);
        let Ok(mut state) = self.dfa.start_state_forward(&mut cache, &input) else {
            return true;
        };
        for &byte in haystack.get(start..).unwrap_or_default() {
            match self.dfa.next_state(&mut cache, state, byte) {
                Ok(next) if next.is_dead() => return false,
                Ok(next) => state = next,
                Err(_) => return true,
            }
        }
        true
    }

    /// Everywhere that a match can end that starts at `start`; what cannot be computed ends at once.
    fn ends(&self, haystack: &[u8], start: usize) -> Vec<usize> {
        let mut cache = self.caches.get();
        let mut ends = Vec::new();
        let input = Input::new(haystack).range(start..).anchored(Anchored::Yes);
        let Ok(mut state) = self.dfa.start_state_forward(&mut cache, &input) else {
            return vec![start];
        };
        for (at, byte) in (start..).zip(haystack.get(start..).unwrap_or_default().iter().map(Some).chain([None])) {
            if self.dfa.next_eoi_state(&mut cache, state).is_ok_and(|end| end.is_match()) {
                ends.push(at);
            }
            match byte.map(|&byte| self.dfa.next_state(&mut cache, state, byte)) {
                Some(Ok(next)) if !next.is_dead() => state = next,
                Some(Err(_)) => return vec![start],
                Some(Ok(_)) | None => break,
            }
        }
        ends
    }
}

impl std::fmt::Debug for Automaton {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Automaton").finish_non_exhaustive()
    }
}

/// Expressions that run on a finished match only, so that bounds do not matter.
#[derive(Debug)]
pub(super) struct Checks {
    /// One that is each of them.
    source: Option<String>,
    regex: OnceLock<Option<Regex>>,
}

impl Checks {
    pub(super) fn new(expressions: &[Word]) -> Self {
        let parts: Vec<String> = expressions.iter().map(|expression| format!("(?:{expression})")).collect();
        Self { source: (!parts.is_empty()).then(|| parts.join("|")), regex: OnceLock::new() }
    }

    /// Compiles them now, so that an error is known.
    pub(super) fn check(&self) -> Result<(), Unfit> {
        self.source.as_ref().map_or(Ok(()), |source| compile(source, true).map(drop))
    }

    /// Whether any of them matches somewhere in the text.
    pub(super) fn is_match(&self, text: &[u8]) -> bool {
        let Some(source) = &self.source else { return false };
        self.regex.get_or_init(|| compile(source, true).ok()).as_ref().is_some_and(|regex| regex.is_match(text))
    }
}

/// Said of an expression that stands where a set of bytes belongs.
#[derive(Debug, thiserror::Error)]
#[error("it is no set of bytes, such as `[A-Za-z0-9_-]`")]
struct NoSet;

/// A set of bytes, as `run-on` and `not-before` give it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ByteSet([u64; 4]);

impl ByteSet {
    pub(super) const NONE: Self = Self([0; 4]);

    /// From a bracket expression such as `[A-Za-z0-9_-]`.
    pub(super) fn parse(expression: &str) -> Result<Self, Unfit> {
        let hir = syntax::parse_with(expression, &byte_syntax()).map_err(|error| malformed(expression, &error))?;
        match hir.kind() {
            HirKind::Class(Class::Bytes(class)) => {
                let members = class.iter().flat_map(|range| range.start()..=range.end());
                Ok(members.fold(Self::NONE, Self::with))
            }
            // A class of one.
            HirKind::Literal(literal) if literal.0.len() == 1 => {
                Ok(literal.0.iter().copied().fold(Self::NONE, Self::with))
            }
            _ => Err(malformed(expression, &NoSet)),
        }
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

/// `lazy` adds automata that are built as they run: not for captures of what an [`Automaton`] has found already.
fn compile(expression: &str, lazy: bool) -> Result<Regex, Unfit> {
    let config = meta::Config::new().hybrid(lazy).hybrid_cache_capacity(CACHE).dfa(false);
    Regex::builder()
        .configure(config)
        .syntax(byte_syntax())
        .build(expression)
        .map_err(|error| malformed(expression, &error))
}

fn malformed(expression: &str, why: &dyn std::error::Error) -> Unfit {
    Unfit::Expression { expression: expression.to_owned(), why: why.to_string() }
}

/// Output is bytes: a pattern sees no characters, and `\w` and `\b` mean ASCII.
fn byte_syntax() -> syntax::Config {
    syntax::Config::new().unicode(false).utf8(false)
}
