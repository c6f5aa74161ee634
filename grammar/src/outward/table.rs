//! The tables of what tools do beyond the workspace: the schema of `effects/*.toml`, and the tables themselves.
//!
//! A malformed table vouches for nothing: a command of that tool is then as one of which no verb is known.

use std::collections::{BTreeMap, HashMap};
use std::sync::OnceLock;

use serde::Deserialize;

use crate::outward_facts::OutwardEffect;

/// `(file name, text)` of every table; `build.rs` lists the folder.
const FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/effects.rs"));

/// Every command word that a table is about, sorted, and the place of its table among [`FILES`].
const NAMES: &[(&str, usize)] = include!(concat!(env!("OUT_DIR"), "/effect_names.rs"));

/// The table about a command word, read when it is first asked for.
///
/// # Errors
/// What is wrong with the table.
pub(super) fn find(name: &str) -> Result<Option<&'static Tool>, &'static str> {
    static READ: [OnceLock<Result<Tool, String>>; FILES.len()] = [const { OnceLock::new() }; FILES.len()];
    let Ok(found) = NAMES.binary_search_by_key(&name, |(name, _)| name) else { return Ok(None) };
    let Some(table) = NAMES.get(found).map(|(_, table)| *table) else { return Ok(None) };
    let (Some(read), Some((file, text))) = (READ.get(table), FILES.get(table)) else { return Err("no such table") };
    read.get_or_init(|| Tool::parse(file, text)).as_ref().map(Some).map_err(String::as_str)
}

/// Every command word that a well-formed table is about, sorted.
pub(super) fn all() -> impl Iterator<Item = (&'static str, &'static Tool)> {
    NAMES.iter().filter_map(|(name, _)| Some((*name, find(name).ok()??)))
}

/// Each table with the examples in its file.
#[cfg(test)]
pub(super) fn files() -> impl Iterator<Item = (&'static str, ToolFile, Vec<VerbExample>)> {
    const EXAMPLES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/effect_examples.rs"));
    FILES.iter().map(|(file, text)| {
        let examples = EXAMPLES.iter().find(|(of, _)| of == file).map_or("[]", |(_, examples)| *examples);
        (*file, serde_json::from_str(text).unwrap_or_default(), serde_json::from_str(examples).unwrap_or_default())
    })
}

/// A table as its file has it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct ToolFile {
    pub(super) name: String,
    pub(super) aliases: Vec<String>,
    about: String,
    pub(super) system: String,
    /// What it was made from: the tool's version, and the day.
    pub(super) source: String,
    /// What made it, if no person did: a script of `tools/`.
    script: String,
    /// Options start with one dash however long they are (`terraform apply -auto-approve`).
    single_dash: bool,
    /// With `--help` each verb only shows how it is used, but for those that run what follows.
    help: bool,
    /// A verb without a row is a task or a plugin that runs here, and whatever that starts is decided by itself. `observe` stands for work that
    /// changes nothing elsewhere, builds among it, and is not told as an effect; `look` is.
    pub(super) local: bool,
    values: Vec<String>,
    optional: Vec<String>,
    flags: Vec<String>,
    /// Options that write a file, whatever the verb: with one of them it is no look.
    writes: Vec<String>,
    scope: BTreeMap<String, Vec<String>>,
    /// Effect, `here` or `look`, and patterns.
    verbs: BTreeMap<String, Vec<String>>,
    statement: Option<StatementPlaces>,
    request: Option<RequestPlaces>,
    peer: Option<PeerPlaces>,
}

/// The language of a data base's client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Language {
    Sql,
    Mongo,
}

/// Where a data base's client is given statements.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct StatementPlaces {
    pub(super) language: Language,
    /// Options whose value is a text of statements.
    #[serde(default)]
    pub(super) options: Vec<String>,
    /// The operands from this number on, from 1, are such texts. 0: none is.
    #[serde(default)]
    pub(super) operands: usize,
    /// Options that have it run what is not in the text, such as a file.
    #[serde(default)]
    pub(super) code: Vec<String>,
    /// What it changes is a file, for which the rules of paths hold: only looking is told as an effect.
    #[serde(default)]
    pub(super) file: bool,
}

/// Where a client of HTTP is told its requests.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct RequestPlaces {
    /// Words before the URL: `gh api`.
    pub(super) verb: Vec<String>,
    /// Options whose value is the method.
    pub(super) method: Vec<String>,
    /// Options whose value is a URL. Operands are URLs as well.
    pub(super) url: Vec<String>,
    /// A method may stand before the URL, and what stands behind it is a part of the request.
    pub(super) items: bool,
    /// Options that make it a HEAD, or a PUT, or a POST.
    pub(super) head: Vec<String>,
    pub(super) put: Vec<String>,
    pub(super) send: Vec<String>,
    /// Options that make it a GET after all.
    pub(super) get: Vec<String>,
    /// Options that part one request from the next.
    pub(super) next: Vec<String>,
    /// Options without which it sends what stands on its standard input, if no method is named.
    pub(super) alone: Vec<String>,
    /// Options that have it read its options from elsewhere.
    pub(super) code: Vec<String>,
    /// Options that have it connect to another host than the URL's.
    pub(super) elsewhere: Vec<String>,
    /// The host, where the URL is a path alone, and the options that name another.
    pub(super) host: Option<String>,
    pub(super) hostname: Vec<String>,
}

impl RequestPlaces {
    fn options(&mut self) -> impl Iterator<Item = &mut String> {
        let all = [
            &mut self.method,
            &mut self.url,
            &mut self.head,
            &mut self.put,
            &mut self.send,
            &mut self.get,
            &mut self.next,
            &mut self.alone,
        ];
        all.into_iter().chain([&mut self.code, &mut self.elsewhere, &mut self.hostname]).flatten()
    }
}

/// Where a tool is told which server it talks to.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct PeerPlaces {
    pub(super) options: Vec<String>,
    /// Options that say in which directory, or file, its socket is.
    pub(super) sockets: Vec<String>,
    /// The server where one of `ports` alone is said.
    pub(super) default: Option<String>,
    pub(super) ports: Vec<String>,
    /// Options that say it in another way.
    pub(super) elsewhere: Vec<String>,
    /// An operand may say it too: a URL, or `host=…`.
    pub(super) operands: bool,
}

/// A command, and what is expected of it.
#[cfg(test)]
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VerbExample {
    pub(super) command: String,
    pub(super) effects: Vec<String>,
    #[serde(default)]
    pub(super) scope: BTreeMap<String, String>,
    pub(super) target: Option<String>,
}

/// How an option takes a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arity {
    None,
    /// Behind `=` alone.
    Optional,
    /// The next word, or behind `=`.
    Value,
}

/// What a tool does, by its verbs.
#[derive(Debug)]
pub(super) struct Tool {
    pub(super) file: String,
    pub(super) system: String,
    pub(super) source: String,
    pub(super) single_dash: bool,
    pub(super) local: bool,
    pub(super) help: bool,
    /// By form: how it takes a value, and the form that stands for all of the option's.
    options: HashMap<String, (Arity, String)>,
    pub(super) rows: Vec<VerbRow>,
    pub(super) scope: Vec<ScopePlace>,
    /// Scope words that a variable tells.
    pub(super) variables: Vec<(String, String)>,
    pub(super) writes: Vec<String>,
    pub(super) statement: Option<StatementPlaces>,
    pub(super) request: Option<RequestPlaces>,
    pub(super) peer: Option<PeerPlaces>,
}

/// One pattern of commands, and an effect.
#[derive(Debug)]
pub(super) struct VerbRow {
    pub(super) text: String,
    /// None: it changes files of this machine alone (`here`), which other rules are for.
    pub(super) effect: Option<OutwardEffect>,
    pub(super) terms: Vec<Term>,
    pub(super) options: Vec<OptionTerm>,
    /// No further word may follow.
    pub(super) ends: bool,
    /// How specific it is: terms, literal terms, options.
    pub(super) rank: (usize, usize, usize),
    /// Words of the verb: what stands behind them is what it is done to.
    pub(super) depth: usize,
}

/// Words of which one must stand at a place; `*` stands for any letters.
#[derive(Debug)]
pub(super) struct Term(Vec<String>);

impl Term {
    fn of(text: &str) -> Self {
        Self(text.split('|').map(str::to_owned).collect())
    }

    /// Whether a word is one of them.
    pub(super) fn fits(&self, word: &str) -> bool {
        self.0.iter().any(|pattern| matches(pattern, word))
    }

    /// Whether any word is.
    pub(super) fn is_any(&self) -> bool {
        self.0.iter().any(|pattern| pattern == "*")
    }

    fn is_literal(&self) -> bool {
        !self.0.iter().any(|pattern| pattern.contains('*'))
    }
}

/// An option that must be there, or must not.
#[derive(Debug)]
pub(super) struct OptionTerm {
    pub(super) name: String,
    pub(super) value: Option<Term>,
    pub(super) absent: bool,
    /// It takes no value in a word of its own.
    pub(super) flag: bool,
}

/// Where a scope word is told.
#[derive(Debug)]
pub(super) struct ScopePlace {
    pub(super) word: String,
    from: ScopeSource,
}

#[derive(Debug)]
enum ScopeSource {
    Option(String),
    /// The operand of this number, from 1, behind these words.
    Operand(Vec<Term>, usize),
}

impl ScopePlace {
    /// The word that stands at this place, if it is there.
    pub(super) fn value<'a>(
        &self,
        words: &[Option<&'a str>],
        option: impl Fn(&str) -> Option<&'a str>,
    ) -> Option<&'a str> {
        match &self.from {
            ScopeSource::Option(name) => option(name).filter(|value| !value.is_empty()),
            ScopeSource::Operand(terms, number) => {
                let fits = terms.iter().zip(words).all(|(term, word)| word.is_some_and(|word| term.fits(word)));
                let place = (terms.len() + number).checked_sub(1).filter(|_| fits && terms.len() <= words.len())?;
                words.get(place).copied().flatten()
            }
        }
    }
}

impl Tool {
    fn parse(file: &str, text: &str) -> Result<Self, String> {
        let complain = |error: String| format!("effects/{file}: {error}");
        let written: ToolFile = serde_json::from_str(text).map_err(|error| complain(error.to_string()))?;
        Self::of(file, written).map_err(complain)
    }

    pub(super) fn of(file: &str, written: ToolFile) -> Result<Self, String> {
        let told = [("name", &written.name), ("system", &written.system), ("source", &written.source)];
        if let Some((key, _)) = told.into_iter().find(|(_, value)| value.is_empty()) {
            return Err(format!("no `{key}`"));
        }
        let mut table = Self {
            file: file.to_owned(),
            system: written.system,
            source: written.source,
            single_dash: written.single_dash,
            local: written.local,
            help: written.help,
            options: HashMap::new(),
            rows: Vec::new(),
            scope: Vec::new(),
            variables: Vec::new(),
            writes: Vec::new(),
            statement: None,
            request: None,
            peer: None,
        };
        for (arity, rows) in
            [(Arity::Value, written.values), (Arity::Optional, written.optional), (Arity::None, written.flags)]
        {
            for row in rows {
                let Some(canonical) = row.split_whitespace().last() else {
                    return Err("an option without a form".to_owned());
                };
                for form in row.split_whitespace() {
                    if table.options.insert(form.to_owned(), (arity, canonical.to_owned())).is_some() {
                        return Err(format!("`{form}` stands twice"));
                    }
                }
            }
        }
        for (key, patterns) in written.verbs {
            let effect = match key.as_str() {
                "here" => None,
                "observe" if table.local => None,
                "look" => Some(OutwardEffect::Observe),
                key => {
                    let known = OutwardEffect::ALL.into_iter().find(|effect| effect.as_str() == key);
                    Some(known.ok_or_else(|| format!("`{key}` is no effect"))?)
                }
            };
            for pattern in patterns {
                let row = table.row(&pattern, effect)?;
                table.rows.push(row);
            }
        }
        for (word, places) in written.scope {
            for place in places {
                if let Some(variable) = place.strip_prefix('$') {
                    table.variables.push((word.clone(), variable.to_owned()));
                    continue;
                }
                let operand = place.strip_prefix('@').map(|number| ("", number)).or_else(|| place.rsplit_once(" @"));
                let from = match operand {
                    Some((verb, number)) => {
                        let number = number.parse().map_err(|_| format!("`{place}`: which operand?"))?;
                        ScopeSource::Operand(verb.split_whitespace().map(Term::of).collect(), number)
                    }
                    None => ScopeSource::Option(table.known(&place)?),
                };
                table.scope.push(ScopePlace { word: word.clone(), from });
            }
        }
        table.writes = written.writes;
        table.statement = written.statement;
        table.request = written.request;
        table.peer = written.peer;
        table.name_options()?;
        Ok(table)
    }

    /// Gives each option of `writes`, `[statement]`, `[request]` and `[peer]` its canonical form.
    fn name_options(&mut self) -> Result<(), String> {
        let options = &self.options;
        let name = |form: &mut String| -> Result<(), String> {
            let (_, canonical) =
                options.get(form).ok_or_else(|| format!("`{form}` is in none of values, optional, flags"))?;
            form.clone_from(canonical);
            Ok(())
        };
        let statement = self.statement.iter_mut().flat_map(|of| of.options.iter_mut().chain(&mut of.code));
        let peer = self
            .peer
            .iter_mut()
            .flat_map(|of| of.options.iter_mut().chain(&mut of.sockets).chain(&mut of.ports).chain(&mut of.elsewhere));
        let request = self.request.iter_mut().flat_map(RequestPlaces::options);
        self.writes.iter_mut().chain(statement).chain(peer).chain(request).try_for_each(name)
    }

    fn row(&self, pattern: &str, effect: Option<OutwardEffect>) -> Result<VerbRow, String> {
        let (mut terms, mut options, mut ends) = (Vec::new(), Vec::new(), false);
        for word in pattern.split_whitespace() {
            match word.strip_prefix('!') {
                None if word == "$" => ends = true,
                None if word == "-" || !word.starts_with('-') => terms.push(Term::of(word)),
                absent => {
                    let term = absent.unwrap_or(word);
                    let (name, value) = term.split_once('=').map_or((term, None), |(name, value)| (name, Some(value)));
                    let name = self.known(name).map_err(|error| format!("`{pattern}`: {error}"))?;
                    let flag = self.arity(&name) != Some(Arity::Value);
                    options.push(OptionTerm { name, value: value.map(Term::of), absent: absent.is_some(), flag });
                }
            }
        }
        let told = terms.iter().filter(|term| term.0.as_slice() != ["*"]).count();
        let literal = terms.iter().filter(|term| term.is_literal()).count();
        let weight = options.iter().map(|term| if term.value.is_some() { 2 } else { 1 }).sum();
        Ok(VerbRow {
            text: pattern.to_owned(),
            effect,
            rank: (told, literal, weight),
            depth: literal,
            terms,
            options,
            ends,
        })
    }

    /// Whether a further word can make the command one of more effects, or one that no row fits.
    pub(super) fn goes_on(&self, words: &[Option<&str>]) -> bool {
        let may_fit = |(term, word): (&Term, &Option<&str>)| word.is_none_or(|word| term.fits(word));
        let all = || self.rows.iter().filter(|row| row.terms.iter().zip(words).all(may_fit));
        let known = all().any(|row| row.terms.len() <= words.len() && !row.ends);
        all().any(|row| {
            row.terms.len() > words.len()
                && (row.effect.is_some_and(|effect| effect != OutwardEffect::Observe) || !known)
        })
    }

    /// Rows that the words may still come to.
    fn begun(&self, words: &[Option<&str>]) -> impl Iterator<Item = &VerbRow> {
        let may_fit = |(term, word): (&Term, &Option<&str>)| word.is_none_or(|word| term.fits(word));
        self.rows.iter().filter(move |row| row.terms.iter().zip(words).all(may_fit))
    }

    /// Whether the words can only come to what looks, whatever follows.
    pub(super) fn only_looks(&self, words: &[Option<&str>]) -> bool {
        let named = self.begun(words).filter(|row| !row.terms.is_empty());
        let mut effects = named.map(|row| row.effect).peekable();
        !words.is_empty()
            && effects.peek().is_some()
            && effects.all(|effect| effect.is_none_or(|effect| effect == OutwardEffect::Observe))
    }

    /// What the words may come to, where nothing more is known of them.
    pub(super) fn effects_of_any(&self, words: &[Option<&str>]) -> Vec<OutwardEffect> {
        let named = self.begun(words).filter(|row| !row.terms.is_empty());
        let effects: Vec<_> = named.map(|row| row.effect).collect();
        if self.local && !effects.is_empty() {
            effects.into_iter().flatten().collect()
        } else {
            OutwardEffect::ALL.to_vec()
        }
    }

    /// The canonical form of an option that a row names.
    fn known(&self, form: &str) -> Result<String, String> {
        let known = self.options.get(form).map(|(_, canonical)| canonical.clone());
        known.ok_or_else(|| format!("`{form}` is in none of values, optional, flags"))
    }

    /// How a long option takes its value; none: the table does not know it.
    pub(super) fn arity(&self, form: &str) -> Option<Arity> {
        self.entry(form).map(|(arity, _)| *arity)
    }

    /// Whether an option is known, by a form of its own or by its one letter.
    pub(super) fn knows(&self, name: &str) -> bool {
        self.arity(name).is_some() || self.short(name).is_some()
    }

    /// The form that stands for all forms of an option.
    pub(super) fn canonical<'a>(&'a self, form: &'a str) -> &'a str {
        self.entry(form).map_or(form, |(_, canonical)| canonical)
    }

    fn entry(&self, form: &str) -> Option<&(Arity, String)> {
        // terraform takes one dash and two.
        let single = || self.single_dash.then(|| self.options.get(&format!("-{form}"))).flatten();
        self.options.get(form).or_else(single)
    }

    /// How an option of one letter takes its value.
    pub(super) fn short(&self, letter: &str) -> Option<Arity> {
        self.options.get(&format!("-{letter}")).map(|(arity, _)| *arity)
    }

    /// [`Self::canonical`] of an option of one letter.
    pub(super) fn canonical_short(&self, letter: &str) -> Option<&str> {
        self.options.get(&format!("-{letter}")).map(|(_, canonical)| canonical.as_str())
    }
}

/// Whether a word fits a pattern, in which `*` stands for any letters.
fn matches(pattern: &str, word: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == word };
    let Some(mut left) = word.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        let Some((_, behind)) = left.split_once(part) else { return false };
        left = behind;
    }
    left.ends_with(last)
}
