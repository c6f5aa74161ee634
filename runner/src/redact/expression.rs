//! Compiles the expressions of secret rules and refuses those that a stream cannot decide.
//!
//! What is compiled is bounded: the longest match is known beforehand, and nothing asks where the text begins or ends.
//! Compiling waits until an expression is first needed, for most rules are never met.

use std::sync::OnceLock;

use regex_automata::hybrid::dfa::DFA;
use regex_automata::meta::{self, Regex};
use regex_automata::nfa::thompson::NFA;
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input};

use super::rules::Unfit;

/// How far a pattern may reach, in bytes. What lies beyond is the business of `run-on` and of blocks.
const MAX_REACH: usize = 1024;
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
    source: String,
    /// The longest match, in bytes.
    pub(super) reach: usize,
    regex: OnceLock<Option<Regex>>,
    /// The expression again, as an automaton that can be asked whether more bytes could still make it match.
    progress: OnceLock<Option<DFA>>,
}

impl Expression {
    /// Takes an expression that a stream can decide.
    pub(super) fn bounded(expression: &str) -> Result<Self, Unfit> {
        let source = MACROS.iter().fold(expression.to_owned(), |source, (name, text)| source.replace(name, text));
        let hir = syntax::parse_with(&source, &byte_syntax()).map_err(|error| malformed(expression, &error))?;
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
        Ok(Self { source, reach, regex: OnceLock::new(), progress: OnceLock::new() })
    }

    /// Compiles it now, so that an error is known.
    pub(super) fn check(&self) -> Result<(), Unfit> {
        compile(&self.source).map(drop)
    }

    /// The compiled expression. Nothing if it does not compile, which the tests rule out for the shipped rules and
    /// [`Expression::check`] for others.
    pub(super) fn regex(&self) -> Option<&Regex> {
        self.regex.get_or_init(|| compile(&self.source).ok()).as_ref()
    }

    /// Whether bytes to come could still make a match that starts at `start`. What cannot be computed counts as
    /// possible: text is then held a little longer, never let go too early.
    pub(super) fn may_go_on(&self, haystack: &[u8], start: usize) -> bool {
        let Some(progress) = self.progress.get_or_init(|| automaton(&self.source)) else { return true };
        let mut cache = progress.create_cache();
        let input = Input::new(haystack).range(start..).anchored(Anchored::Yes);
        let Ok(mut state) = progress.start_state_forward(&mut cache, &input) else {
            return true;
        };
        for &byte in haystack.get(start..).unwrap_or_default() {
            match progress.next_state(&mut cache, state, byte) {
                Ok(next) if next.is_dead() => return false,
                Ok(next) => state = next,
                Err(_) => return true,
            }
        }
        true
    }
}

/// An expression that runs on a finished match only, so that bounds do not matter.
#[derive(Debug)]
pub(super) struct Check {
    source: String,
    regex: OnceLock<Option<Regex>>,
}

impl Check {
    pub(super) fn new(expression: &str) -> Result<Self, Unfit> {
        syntax::parse_with(expression, &byte_syntax()).map_err(|error| malformed(expression, &error))?;
        Ok(Self { source: expression.to_owned(), regex: OnceLock::new() })
    }

    pub(super) fn is_match(&self, text: &[u8]) -> bool {
        self.regex.get_or_init(|| compile(&self.source).ok()).as_ref().is_some_and(|regex| regex.is_match(text))
    }
}

/// A set of bytes, as `run-on` and `not-before` give it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ByteSet([u64; 4]);

impl ByteSet {
    pub(super) const NONE: Self = Self([0; 4]);

    /// From a bracket expression such as `[A-Za-z0-9_-]`.
    pub(super) fn parse(expression: &str) -> Result<Self, Unfit> {
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

/// Lazy automata are left out: each would keep a cache of its own, and windows are short.
fn compile(expression: &str) -> Result<Regex, Unfit> {
    let config = meta::Config::new().hybrid(false).dfa(false);
    Regex::builder()
        .configure(config)
        .syntax(byte_syntax())
        .build(expression)
        .map_err(|error| malformed(expression, &error))
}

fn automaton(source: &str) -> Option<DFA> {
    let hir = syntax::parse_with(source, &byte_syntax()).ok()?;
    let nfa = NFA::compiler().build_from_hir(&hir).ok()?;
    DFA::builder().build_from_nfa(nfa).ok()
}

fn malformed(expression: &str, why: &dyn std::error::Error) -> Unfit {
    Unfit::Expression { expression: expression.to_owned(), why: why.to_string() }
}

/// Output is bytes: a pattern sees no characters, and `\w` and `\b` mean ASCII.
fn byte_syntax() -> syntax::Config {
    syntax::Config::new().unicode(false).utf8(false)
}
