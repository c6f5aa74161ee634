//! What a command does to the world beyond its workspace: to another system, or to this machine.
//!
//! The tables are `effects/*.toml`, one file a tool, and `outward/table.rs` reads them. This file sorts a command's words by a table and finds the
//! rows that fit. It decides nothing: whether a command that destroys something may run is for policies.
//!
//! A verb without a row counts as every effect. So a table that lacks a new verb, or a plugin, makes a command that is asked about, and never one
//! that is allowed.

mod mongo;
mod request;
mod sql;
mod table;
#[cfg(test)]
mod tests;
#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests ask the installed programs for their help"
)]
mod tree_check;

use std::collections::{BTreeMap, BTreeSet};

use self::table::{Arity, Language, OptionTerm, PeerPlaces, StatementPlaces, Tool, VerbRow};
use crate::argument::{Arg, is_file_pattern};
use crate::ast::Count;
use crate::outward_facts::{HttpRequest, Outward, OutwardEffect};
use crate::word::Value;

/// Each tool that a table is about: its command word, its system, and what the table was made from.
pub fn outward_tools() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    table::all().map(|(name, table)| (name, table.system.as_str(), table.source.as_str()))
}

/// Rows that are told of those that may fit.
const MAX_TOLD: usize = 8;

/// What a program of this name does with these words; none: no table is about it.
///
/// # Errors
/// What is wrong with the table.
///
/// `stdin` is all of its standard input, where the text tells it.
pub(crate) fn of(name: &str, args: &[Arg], stdin: Option<&str>) -> Result<Option<Outward>, &'static str> {
    let words = args.iter().skip(1).map(Word::of).collect::<Vec<_>>();
    if let Some(table) = table::find(name)? {
        return Ok(Some(judge(table, &words, stdin)));
    }
    let Some((module, words)) = python_module(name, &words) else { return Ok(None) };
    let Some(table) = table::find(module)? else { return Ok(None) };
    let mut outward = judge(table, words, stdin);
    // Python takes a module of this name from the directory that it stands in, before any other.
    outward.effects.remove(&OutwardEffect::Observe);
    Ok(Some(outward))
}

/// The module that Python runs (`python3 -m twine upload`), and what stands behind it.
fn python_module<'w, 'a>(name: &str, words: &'w [Word<'a>]) -> Option<(&'a str, &'w [Word<'a>])> {
    let version = name.strip_prefix("python")?;
    if !version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return None;
    }
    let at = words.iter().position(|word| matches!(word, Word::Known("-m")))?;
    let (options, rest) = words.split_at(at);
    let options_alone = options.iter().all(|word| matches!(word, Word::Known(text) if text.starts_with('-')));
    match rest {
        [_, Word::Known(module), behind @ ..] if options_alone => Some((module, behind)),
        _ => None,
    }
}

/// One word, as far as the text tells it.
#[derive(Clone, Copy, Debug)]
enum Word<'a> {
    Known(&'a str),
    /// One word that is no option, and how it begins.
    Operand(&'a str),
    /// One word, an option or not.
    One,
    /// Words that are no options.
    Operands,
    /// A long option whose value is not known: `--output=$x`.
    Valued(&'a str),
    /// Any words: options, operands, none.
    Any,
}

impl<'a> Word<'a> {
    fn of(arg: &'a Arg) -> Self {
        match &arg.word.value {
            Value::Literal(text) if arg.count == Count::One => Self::Known(text),
            Value::Home(_) | Value::Pipe { .. } | Value::Below(_) if arg.count == Count::One => Self::Operand(""),
            // `?` in a URL looks like a pattern of files, and stays as it is.
            Value::Pattern { prefix } if prefix.contains("://") => Self::Known(prefix),
            Value::Dynamic { prefix } | Value::Pattern { prefix } if prefix.starts_with("--") => {
                prefix.split_once('=').map_or(Self::Any, |(name, _)| Self::Valued(name))
            }
            Value::Dynamic { prefix } | Value::Pattern { prefix } if !prefix.is_empty() && !prefix.starts_with('-') => {
                if arg.count == Count::One {
                    Self::Operand(prefix)
                } else {
                    Self::Operands
                }
            }
            Value::Pattern { .. } if is_file_pattern(&arg.word) => Self::Operands,
            Value::Dynamic { prefix } if prefix.is_empty() && arg.count == Count::One => Self::One,
            _ => Self::Any,
        }
    }
}

/// A command's words, sorted into options and others in one of the ways that they can be read.
#[derive(Clone, Debug, Default)]
struct WordReading<'a> {
    /// None: a word that is not known.
    positional: Vec<Option<&'a str>>,
    options: Vec<(&'a str, Given<'a>)>,
    /// How words begin that are not known.
    begun: Vec<&'a str>,
    /// How many of `positional` stand for certain where they stand.
    settled: Option<usize>,
    /// A word may be any option.
    open: bool,
    /// The table knows too few of the options to tell what is what.
    lost: bool,
}

/// An option's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Given<'a> {
    Nothing,
    Value(&'a str),
    Hidden,
}

/// Unknown options of one command that are read both ways, with and without a value behind them.
const MAX_UNKNOWN: usize = 4;

/// A way to read the words, up to one of them.
#[derive(Clone, Debug, Default)]
struct WordCursor<'a> {
    reading: WordReading<'a>,
    /// The next word.
    at: usize,
    /// Letters of the word before it that are not read yet.
    letters: &'a str,
    /// How many options so far the table does not know.
    unknown: usize,
}

/// Sorts the words. An option that the table does not know may take what follows or not: both readings count.
fn readings<'a>(table: &'a Tool, words: &[Word<'a>]) -> Vec<WordReading<'a>> {
    let mut done = Vec::new();
    let mut open = vec![WordCursor::default()];
    while let Some(mut start) = open.pop() {
        while let Some(other) = start.step(table, words) {
            open.extend(other);
        }
        done.push(start.reading);
    }
    done
}

impl<'a> WordCursor<'a> {
    /// Reads one word, or one letter of a cluster. None: all is read. Some: the other ways to read it, if there are any.
    fn step(&mut self, table: &'a Tool, words: &[Word<'a>]) -> Option<Option<Self>> {
        if let Some(letter) = self.letters.chars().next() {
            let (name, behind) = self.letters.split_at(letter.len_utf8());
            self.letters = behind;
            return Some(self.letter(table, name, words));
        }
        let word = words.get(self.at)?;
        self.at += 1;
        let text = match *word {
            Word::Known(text) => text,
            Word::Operand(_) | Word::One | Word::Operands | Word::Any => {
                self.hidden(*word);
                return Some(None);
            }
            Word::Valued(name) => {
                self.reading.options.push((table.canonical(name), Given::Hidden));
                return Some(None);
            }
        };
        if text == "--" {
            while let Some(word) = words.get(self.at) {
                self.at += 1;
                match word {
                    Word::Known(text) => self.reading.positional.push(Some(text)),
                    Word::Operand(_) | Word::One | Word::Operands | Word::Valued(_) | Word::Any => self.hidden(*word),
                }
            }
            return Some(None);
        }
        if !text.starts_with('-') || text.len() < 2 {
            self.reading.positional.push(Some(text));
            return Some(None);
        }
        // `wget -np` is one option, whatever `-n` and `-p` are.
        let of_its_own = table.single_dash || text.len() > 2 && table.arity(text).is_some();
        if !text.starts_with("--") && !of_its_own {
            self.letters = text.get(1..).unwrap_or_default();
            return Some(None);
        }
        let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
        let option = table.canonical(name);
        Some(match (value, table.arity(name)) {
            (Some(value), _) => {
                self.reading.options.push((option, Given::Value(value)));
                None
            }
            (None, Some(Arity::Value)) => {
                self.takes_next(option, words);
                None
            }
            (None, Some(Arity::None | Arity::Optional)) => {
                self.reading.options.push((option, Given::Nothing));
                None
            }
            (None, None) => self.unknown(table, option, words),
        })
    }

    /// Reads one letter of a cluster, behind which `self.letters` stands.
    fn letter(&mut self, table: &'a Tool, name: &'a str, words: &[Word<'a>]) -> Option<Self> {
        let option = table.canonical_short(name).unwrap_or(name);
        match table.short(name) {
            Some(Arity::Value | Arity::Optional) if !self.letters.is_empty() => {
                let value = self.letters.strip_prefix('=').unwrap_or(self.letters);
                self.letters = "";
                self.reading.options.push((option, Given::Value(value)));
                None
            }
            Some(Arity::Value) => {
                self.takes_next(option, words);
                None
            }
            Some(Arity::None | Arity::Optional) => {
                self.reading.options.push((option, Given::Nothing));
                None
            }
            None if self.letters.is_empty() => self.unknown(table, option, words),
            // The other letters are options too, or its value.
            None => {
                self.reading.options.push((option, Given::Nothing));
                if table.only_looks(&self.reading.positional) {
                    return None;
                }
                let mut other = self.clone();
                other.letters = "";
                self.counted(other)
            }
        }
    }

    /// An option of which the table says nothing. Behind all words of any verb that may be meant it does not matter what it takes.
    fn unknown(&mut self, table: &Tool, option: &'a str, words: &[Word<'a>]) -> Option<Self> {
        self.reading.options.push((option, Given::Nothing));
        if self.at >= words.len() || !table.goes_on(&self.reading.positional) {
            return None;
        }
        let mut other = self.clone();
        other.at += 1;
        self.counted(other)
    }

    /// The other reading, if there are not too many; then nothing is known of the command.
    fn counted(&mut self, mut other: Self) -> Option<Self> {
        self.unknown += 1;
        other.unknown += 1;
        self.reading.lost |= self.unknown > MAX_UNKNOWN;
        (self.unknown <= MAX_UNKNOWN).then_some(other)
    }

    /// The next word is the value of an option.
    fn takes_next(&mut self, option: &'a str, words: &[Word<'a>]) {
        let given = match words.get(self.at) {
            Some(Word::Known(value)) => Given::Value(value),
            Some(Word::Operand(begin)) => {
                self.reading.begun.push(begin);
                Given::Hidden
            }
            Some(Word::Valued(_) | Word::One) => Given::Hidden,
            // The first of these words is the value; what the others are is open.
            Some(word @ (Word::Operands | Word::Any)) => {
                self.reading.settled.get_or_insert(self.reading.positional.len());
                self.reading.open |= matches!(word, Word::Any);
                Given::Hidden
            }
            None => Given::Nothing,
        };
        self.at += 1;
        self.reading.options.push((option, given));
    }

    fn hidden(&mut self, word: Word<'a>) {
        if let Word::Operand(begin) = word {
            self.reading.begun.push(begin);
        }
        if matches!(word, Word::One | Word::Operands | Word::Any) {
            self.reading.settled.get_or_insert(self.reading.positional.len());
        }
        self.reading.open |= matches!(word, Word::One | Word::Any);
        self.reading.positional.push(None);
    }
}

/// Whether a row fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    No,
    /// By words that are not known, it may.
    Maybe,
    Yes,
}

fn fit(row: &VerbRow, reading: &WordReading<'_>) -> Fit {
    let settled = reading.settled.unwrap_or(usize::MAX);
    let mut fit = Fit::Yes;
    for (at, term) in row.terms.iter().enumerate() {
        match reading.positional.get(at) {
            _ if at >= settled => fit = Fit::Maybe,
            Some(Some(word)) if !term.fits(word) => return Fit::No,
            Some(Some(_)) => {}
            Some(None) if term.is_any() => {}
            Some(None) => fit = Fit::Maybe,
            None => return Fit::No,
        }
    }
    if row.ends && reading.positional.len() > row.terms.len() {
        if settled > row.terms.len() {
            return Fit::No;
        }
        fit = Fit::Maybe;
    }
    let looks = row.effect.is_none_or(|effect| effect == OutwardEffect::Observe);
    for term in &row.options {
        let found = option_fit(term, reading);
        // What an option may take back counts until the option is there.
        if found == Fit::Maybe && term.absent && !looks {
            continue;
        }
        if found == Fit::No {
            return Fit::No;
        }
        fit = fit.min(found);
    }
    fit
}

fn option_fit(term: &OptionTerm, reading: &WordReading<'_>) -> Fit {
    let given = reading.options.iter().filter(|(name, _)| *name == term.name).map(|(_, given)| *given);
    let there = given.fold(Fit::No, |found, given| {
        found.max(match (&term.value, given) {
            // `--dry-run=false` says the same as no option.
            (None, Given::Value("false" | "False" | "0" | "no")) if term.flag => Fit::No,
            (None, _) => Fit::Yes,
            (Some(_), Given::Nothing) => Fit::No,
            (Some(_), Given::Hidden) => Fit::Maybe,
            (Some(value), Given::Value(text)) if value.fits(text) => Fit::Yes,
            (Some(_), Given::Value(_)) => Fit::No,
        })
    });
    let there = if reading.open { there.max(Fit::Maybe) } else { there };
    match (term.absent, there) {
        (false, there) => there,
        (true, Fit::Yes) => Fit::No,
        (true, Fit::Maybe) => Fit::Maybe,
        (true, Fit::No) => Fit::Yes,
    }
}

/// What the statements of one reading do.
#[derive(Default)]
struct StatementEffects {
    /// None: there are none.
    effects: Option<BTreeSet<OutwardEffect>>,
    possible: BTreeSet<OutwardEffect>,
}

impl StatementPlaces {
    fn read(&self, reading: &WordReading<'_>, stdin: Option<&str>, knows: impl Fn(&str) -> bool) -> StatementEffects {
        let mut found = StatementEffects::default();
        let options = self.options.iter().flat_map(|option| reading.values(option));
        let operands =
            self.operands.checked_sub(1).into_iter().flat_map(|from| reading.positional.iter().skip(from).copied());
        let mut texts: Vec<Option<&str>> = options.chain(operands).collect();
        if reading.options.iter().any(|(name, _)| !knows(name) || self.code.iter().any(|option| option == name)) {
            found.effects.get_or_insert_default().extend(OutwardEffect::ALL);
        }
        if texts.is_empty() && found.effects.is_none() && !reading.open {
            texts.extend(stdin.map(Some));
        }
        for text in texts {
            let Some(text) = text else {
                found.effects.get_or_insert_default();
                found.possible.extend(OutwardEffect::ALL);
                let begun = reading.begun.iter().flat_map(|begin| match self.language {
                    Language::Sql => sql::begun(begin),
                    Language::Mongo => mongo::begun(begin),
                });
                found.effects.get_or_insert_default().extend(begun);
                continue;
            };
            let effects = match self.language {
                Language::Sql => sql::effects(text),
                Language::Mongo => mongo::effects(text),
            };
            found.effects.get_or_insert_default().extend(effects.unwrap_or_else(|| OutwardEffect::ALL.into()));
        }
        found
    }
}

impl PeerPlaces {
    /// The one host of a command; none: its words do not tell.
    fn host<'a>(&'a self, reading: &WordReading<'a>) -> Option<&'a str> {
        let says_it = |word: &Option<&str>| word.is_none_or(|word| word.contains("://") || word.contains('='));
        let elsewhere = reading.options.iter().any(|(name, _)| self.elsewhere.iter().any(|option| option == name));
        if elsewhere || reading.open || reading.lost || self.operands && reading.positional.iter().any(says_it) {
            return None;
        }
        let given = |options: &'a [String]| options.iter().flat_map(|option| reading.values(option)).last();
        match (given(&self.sockets), given(&self.options)) {
            (Some(socket), None) => socket.filter(|socket| socket.starts_with('/')),
            (None, Some(host)) => host.filter(|host| !host.contains(['=', ',', '/']) || host.starts_with('/')),
            (None, None) => self.default.as_deref().filter(|_| given(&self.ports).is_some()),
            (Some(_), Some(_)) => None,
        }
    }
}

impl Tool {
    /// Whether the command only shows how the tool is used.
    fn helps(&self, reading: &WordReading<'_>) -> bool {
        let help = self.canonical("--help");
        self.help && !reading.open && !reading.lost && reading.options.contains(&(help, Given::Nothing))
    }
}

fn judge(table: &'static Tool, words: &[Word<'_>], stdin: Option<&str>) -> Outward {
    let mut outward = Outward {
        system: table.system.clone(),
        effects: BTreeSet::new(),
        possible: BTreeSet::new(),
        scope: BTreeMap::new(),
        target: String::new(),
        request: None,
        hosts: Vec::new(),
        table: &table.file,
        rows: Vec::new(),
        file: table.statement.as_ref().is_some_and(|places| places.file),
        variables: Vec::new(),
    };
    let mut looks = true;
    for (number, reading) in readings(table, words).iter().enumerate() {
        let fits: Vec<(&'static VerbRow, Fit)> =
            table.rows.iter().map(|row| (row, fit(row, reading))).filter(|(_, fit)| *fit != Fit::No).collect();
        let best = fits.iter().filter(|(_, fit)| *fit == Fit::Yes).map(|(row, _)| row.rank).max();
        let sure = || fits.iter().filter(|(row, fit)| *fit == Fit::Yes && Some(row.rank) == best);
        let maybe = || fits.iter().filter(|(row, fit)| *fit == Fit::Maybe && best.is_none_or(|best| row.rank >= best));
        if best.is_some()
            && table.helps(reading)
            && !fits.iter().any(|(row, _)| row.effect == Some(OutwardEffect::Execute))
        {
            outward.effects.extend((!table.local).then_some(OutwardEffect::Observe));
            continue;
        }
        // A look is one only if each way to read the words makes it one.
        let hides = maybe().any(|(row, _)| row.effect.is_none());
        let writes = reading.options.iter().any(|(name, _)| table.writes.iter().any(|option| option == name));
        looks &= !(hides || writes || table.local && best.is_none());
        outward.effects.extend(sure().filter_map(|(row, _)| row.effect));
        outward.possible.extend(maybe().filter_map(|(row, _)| row.effect));
        outward.rows.extend(sure().map(|(row, _)| row.text.as_str()));
        // Where the verb itself is hidden, most rows of a table may fit, and naming them tells nothing.
        if maybe().nth(MAX_TOLD).is_none() {
            outward.rows.extend(maybe().map(|(row, _)| row.text.as_str()));
        }
        if reading.lost {
            outward.effects.extend(table.effects_of_any(&reading.positional));
        }
        let requests = table.request.as_ref().and_then(|places| places.read(reading, |option| table.knows(option)));
        let statements = table
            .statement
            .as_ref()
            .map(|places| places.read(reading, stdin, |option| table.knows(option)))
            .unwrap_or_default();
        let told = requests.as_ref().filter(|_| best.is_none()).and_then(|requests| requests.effects.as_ref());
        outward.effects.extend(told.into_iter().flatten());
        outward.effects.extend(statements.effects.iter().flatten());
        outward.possible.extend(&statements.possible);
        let is_told = best.is_some() || told.is_some() || statements.effects.is_some() && !reading.open;
        if let Some(requests) = requests {
            if number == 0 {
                outward.hosts = requests.hosts.unwrap_or_default();
                outward.request = Some(requests.told);
            } else if outward.request.as_ref() != Some(&requests.told) {
                outward.hosts.clear();
                outward.request = Some(HttpRequest::default());
            }
        }
        if let Some(places) = &table.peer {
            let host = places.host(reading).map(str::to_owned);
            if number == 0 {
                outward.hosts.extend(host);
            } else if outward.hosts.first() != host.as_ref() {
                outward.hosts.clear();
            }
        }
        if !is_told && !table.local {
            let unknown: &mut BTreeSet<_> =
                if reading.open || maybe().next().is_some() { &mut outward.possible } else { &mut outward.effects };
            unknown.extend(OutwardEffect::ALL);
        }
        if number == 0 {
            let depth = sure().map(|(row, _)| row.depth).max().unwrap_or(0);
            let operands: Vec<&str> = reading.positional.iter().skip(depth).map(|word| word.unwrap_or("…")).collect();
            outward.target = operands.join(" ");
        }
        for place in &table.scope {
            if let Some(value) = place.value(reading.positional.as_slice(), |option| {
                reading.options.iter().rev().find_map(|(name, given)| match given {
                    Given::Value(value) if *name == option => Some(*value),
                    _ => None,
                })
            }) {
                outward.scope.entry(place.word.clone()).or_insert_with(|| value.to_owned());
            }
        }
    }
    if !looks {
        outward.effects.remove(&OutwardEffect::Observe);
    }
    if outward.file {
        let looks =
            outward.effects.iter().all(|effect| *effect == OutwardEffect::Observe) && outward.possible.is_empty();
        if !looks {
            outward.effects.clear();
            outward.possible.clear();
        }
    }
    outward.possible.retain(|effect| !outward.effects.contains(effect));
    outward.rows.sort_unstable();
    outward.rows.dedup();
    outward.variables = table.variables.iter().map(|(word, variable)| (word.as_str(), variable.as_str())).collect();
    outward
}
