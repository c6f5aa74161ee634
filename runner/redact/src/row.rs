//! A rule as its table has it; `secrets/README.md` explains the keys. No check and no meaning: `rules.rs` has those.
//!
//! Shared with `build.rs`, which reads the shipped tables while Palisade is built and writes them down as Rust. So a server
//! that starts finds them as they are and parses nothing, and a table that cannot be read is an error of the build.

use std::borrow::Cow;

use serde::Deserialize;

/// A text of the program's own, or one that was read.
pub(super) type Word = Cow<'static, str>;
/// Several of those.
pub(super) type WordList = Cow<'static, [Word]>;

/// The file of a table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleFile {
    pub(super) rule: Vec<Row>,
}

/// One rule.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Row {
    pub(super) id: Word,
    pub(super) description: Word,
    pub(super) anchors: WordList,
    pub(super) short_anchor_reason: Option<Word>,
    pub(super) pattern: Word,
    #[serde(default)]
    pub(super) gate: Gate,
    pub(super) next: Option<Word>,
    #[serde(default)]
    pub(super) min_back: usize,
    #[serde(default)]
    pub(super) max_back: usize,
    pub(super) run_on: Option<Word>,
    pub(super) not_before: Option<Word>,
    #[serde(default)]
    pub(super) entropy: f64,
    #[serde(default)]
    pub(super) stop_words: WordList,
    #[serde(default)]
    pub(super) require: Cow<'static, [Class]>,
    #[serde(default)]
    pub(super) reject: WordList,
    pub(super) block_end: Option<BlockEndRow>,
    #[serde(default)]
    pub(super) lines: bool,
    #[serde(default)]
    pub(super) columns: bool,
    #[serde(default)]
    pub(super) before_runs: bool,
    #[serde(default = "yes")]
    pub(super) learn: bool,
    #[serde(default)]
    pub(super) examples: Cow<'static, [Example]>,
    #[serde(default)]
    pub(super) counter_examples: Cow<'static, [Text]>,
}

fn yes() -> bool {
    true
}

/// How a block ends that the pattern has opened.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BlockEndRow {
    pub(super) anchor: Word,
    pub(super) pattern: Word,
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
    Whole(Word),
    Pieces(WordList),
}

impl Default for Text {
    fn default() -> Self {
        Self::Whole(Cow::Borrowed(""))
    }
}

/// What has to follow the anchor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Gate {
    /// Anything.
    #[default]
    None,
    /// The anchor is the name (or part of it) in `name = value`, `NAME: value`, `"name": "value"`, `name => "value"`.
    Assignment,
    /// The anchor is the name (or part of it) of a command line's option, `--name`.
    Option,
}

/// A kind of byte that a secret has to contain.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Class {
    Digit,
    Letter,
    Upper,
    Lower,
    /// Words of a language and names in a program have neither.
    DigitOrSymbol,
    /// Not a byte but all of them: they change their kind as often as random ones.
    Random,
}
