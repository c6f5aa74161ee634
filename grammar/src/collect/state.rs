//! What is known of the shell while a script runs: its directory, its variables, its functions and aliases.
//!
//! This file decides what two ways through a script agree about where they meet, and what a word comes to given what is
//! known, and what of all that is left for the next script. A variable is known only as long as nothing that was not read can have changed it.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::ast::{Arg, Arithmetic, Count, Hole};
use crate::collect::brace::expanded;
use crate::collect::directory::WorkingDirectory;
use crate::inventory::{Hazards, Shell};
use crate::word::{Value, Word, is_integer};

/// Variables that are followed; behind more of them nothing is known of any.
const MAX_VARIABLES: usize = 128;

/// The shell at one point of a script.
#[derive(Clone, Debug)]
pub(crate) struct ShellState {
    pub(crate) place: WorkingDirectory,
    /// What standard input holds, if that is literal text of which nothing has been read.
    pub(crate) stdin: Option<Rc<str>>,
    pub(super) variables: Rc<BTreeMap<String, VariableValue>>,
    /// Variables that were set since the function began that is being followed.
    pub(super) touched: Rc<BTreeSet<String>>,
    /// The positional parameters, where they are known: inside a function.
    pub(super) arguments: Option<Rc<Vec<Word>>>,
    pub(super) functions: Rc<BTreeMap<String, Defined>>,
    pub(super) aliases: Rc<BTreeSet<String>>,
    /// Something that was not read may have changed any variable, or may do so later.
    pub(super) wild: bool,
    /// Substitutions around what is being told.
    pub(super) printing: u8,
    /// A function is being followed, so that `local` works.
    pub(crate) in_function: bool,
    /// No way leads here.
    pub(super) dead: bool,
    /// A pattern that matches nothing leaves no word (`nullglob`).
    pub(super) vanishing: bool,
    /// Jobs may be stopped (`set -m`): bash then refuses the first `exit`.
    pub(super) monitors: bool,
    pub(super) hazards: Hazards,
}

/// What a variable holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum VariableValue {
    Text(Rc<str>),
    /// A path below the home directory that the script begins with, from there on.
    Home(Rc<str>),
    /// Some decimal number.
    Number,
    /// The same, or nothing at all: what a program prints that only counts, and that may fail.
    Digits,
    /// Something that a pattern matched: how that begins, and the pattern as written.
    Match(Rc<str>, Rc<str>),
    /// It was set, to something that is not known.
    Unknown,
    /// It has an attribute (`readonly`, `declare -i`), so that no assignment says what it holds.
    Fixed,
}

/// What a function's name may stand for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Defined {
    /// Indices of definitions, of which any may be the last one.
    pub(crate) bodies: Vec<usize>,
    /// It is surely a function, not a program.
    pub(crate) certain: bool,
}

/// Variables that bash itself changes, or that change what bash does: never known by their assignment.
const SPECIAL: [&str; 34] = [
    "_",
    "COLUMNS",
    "COMP_WORDBREAKS",
    "DIRSTACK",
    "EPOCHREALTIME",
    "EPOCHSECONDS",
    "EUID",
    "FUNCNAME",
    "GROUPS",
    "HISTCMD",
    "IFS",
    "LINENO",
    "LINES",
    "MAPFILE",
    "OLDPWD",
    "OPTARG",
    "OPTERR",
    "OPTIND",
    "PATH",
    "PIPESTATUS",
    "POSIXLY_CORRECT",
    "PPID",
    "PWD",
    "RANDOM",
    "READLINE_LINE",
    "REPLY",
    "SECONDS",
    "SHELLOPTS",
    "SHLVL",
    "SRANDOM",
    "TMOUT",
    "TMPDIR",
    "UID",
    "HISTFILE",
];

/// Variables that bash gives numbers, as long as no script has set or unset them.
const NUMBERS: [&str; 7] = ["RANDOM", "SRANDOM", "SECONDS", "EPOCHSECONDS", "BASHPID", "UID", "PPID"];

/// Bytes of a word, and of a variable's value, that are followed: `x=$x$x` doubles it each time.
pub(super) const MAX_TEXT: usize = 64 * 1024;

/// Substitutions in substitutions whose output is followed.
const MAX_PRINTING: u8 = 3;

impl Shell {
    /// What is known at the beginning of a script, functions left out.
    pub(crate) fn state(&self) -> ShellState {
        let mut state = ShellState::start();
        if let Some(directory) = self.temporary.as_ref().filter(|_| !self.moved_temporary) {
            state.begin_with("TMPDIR", directory);
        }
        self.aliases.iter().for_each(|name| state.alias(name));
        self.fixed.iter().for_each(|name| state.fix(name));
        if self.splits_oddly {
            state.fix("IFS");
        }
        if self.moved_home {
            state.fix("HOME");
        }
        if self.changed_numbers {
            state.forget_numbers();
        }
        if self.vanishing {
            state.let_patterns_vanish();
        }
        if self.monitors {
            state.monitor();
        }
        if self.unread {
            state.forget();
        }
        state.hazards = self.hazards;
        state
    }

    /// The shell behind a script that ended in this state, functions left out. What was so before stays so: the script
    /// may have stopped anywhere.
    pub(crate) fn then(&self, state: &ShellState) -> Self {
        Self {
            functions: BTreeMap::new(),
            aliases: self.aliases.iter().chain(state.aliases.iter()).cloned().collect(),
            fixed: self.fixed.iter().cloned().chain(state.fixed()).collect(),
            vanishing: self.vanishing || state.vanishing,
            monitors: self.monitors || state.monitors,
            hazards: self.hazards.or(state.hazards),
            splits_oddly: self.splits_oddly || state.is_set("IFS"),
            moved_home: self.moved_home || state.is_set("HOME"),
            moved_temporary: self.moved_temporary || !state.still_holds("TMPDIR", self.temporary.as_deref()),
            temporary: self.temporary.clone(),
            changed_numbers: self.changed_numbers || state.changes_numbers(),
            exported: self.exported.clone(),
            exports_all: self.exports_all,
            unread: self.unread || state.wild,
            posix: self.posix,
        }
    }
}

impl ShellState {
    pub(crate) fn start() -> Self {
        Self {
            place: WorkingDirectory::start(),
            stdin: None,
            variables: Rc::default(),
            touched: Rc::default(),
            arguments: None,
            functions: Rc::default(),
            aliases: Rc::default(),
            wild: false,
            printing: 0,
            in_function: false,
            dead: false,
            vanishing: false,
            monitors: false,
            hazards: Hazards::default(),
        }
    }

    /// What both of two ways leave true.
    pub(crate) fn meet(self, other: Self) -> Self {
        if self.dead {
            return other;
        }
        if other.dead {
            return self;
        }
        Self {
            place: self.place.meet(other.place),
            stdin: self.stdin.filter(|text| other.stdin.as_ref() == Some(text)),
            variables: meet_maps(self.variables, &other.variables, |ours, theirs| match (ours, theirs) {
                (Some(a), Some(b)) if a == b => a.clone(),
                (Some(VariableValue::Fixed), _) | (_, Some(VariableValue::Fixed)) => VariableValue::Fixed,
                (Some(a), Some(b)) if a.is_number() && b.is_number() => match (a, b) {
                    (VariableValue::Digits, _) | (_, VariableValue::Digits) => VariableValue::Digits,
                    _ => VariableValue::Number,
                },
                _ => VariableValue::Unknown,
            }),
            touched: union(self.touched, &other.touched),
            arguments: self.arguments.filter(|ours| other.arguments.as_ref() == Some(ours)),
            functions: meet_maps(self.functions, &other.functions, |ours, theirs| {
                let both = || [ours, theirs].into_iter().flatten();
                let bodies: BTreeSet<usize> = both().flat_map(|defined| defined.bodies.iter().copied()).collect();
                let certain = both().count() == 2 && both().all(|defined| defined.certain);
                Defined { bodies: bodies.into_iter().collect(), certain }
            }),
            aliases: union(self.aliases, &other.aliases),
            wild: self.wild || other.wild,
            printing: self.printing,
            in_function: self.in_function && other.in_function,
            dead: self.dead && other.dead,
            vanishing: self.vanishing || other.vanishing,
            monitors: self.monitors || other.monitors,
            hazards: self.hazards.or(other.hazards),
        }
    }

    /// The value of a variable, if it is known.
    pub(crate) fn value(&self, name: &str) -> Option<&VariableValue> {
        self.variables.get(name).filter(|_| !self.wild)
    }

    pub(crate) fn set(&mut self, name: &str, value: VariableValue) {
        if !self.variables.contains_key(name) && self.variables.len() >= MAX_VARIABLES {
            self.forget();
        }
        if self.wild {
            return;
        }
        let special = SPECIAL.contains(&name) || name.starts_with("BASH") || name.starts_with("COMP");
        let value = if special && value != VariableValue::Fixed { VariableValue::Unknown } else { value };
        let fixed = self.variables.get(name) == Some(&VariableValue::Fixed);
        Rc::make_mut(&mut self.variables).insert(name.to_owned(), if fixed { VariableValue::Fixed } else { value });
        if !self.touched.contains(name) {
            Rc::make_mut(&mut self.touched).insert(name.to_owned());
        }
    }

    /// The shell began with this variable.
    pub(crate) fn begin_with(&mut self, name: &str, value: &str) {
        Rc::make_mut(&mut self.variables).insert(name.to_owned(), VariableValue::Text(value.into()));
    }

    /// Whether a variable still holds the value that the shell began with.
    pub(crate) fn still_holds(&self, name: &str, value: Option<&str>) -> bool {
        match value {
            Some(value) => self.value(name) == Some(&VariableValue::Text(value.into())),
            None => !self.is_set(name),
        }
    }

    /// An assignment to it may fail.
    pub(crate) fn refuses(&self, name: &str) -> bool {
        const READONLY: [&str; 6] = ["BASHOPTS", "BASH_VERSINFO", "EUID", "PPID", "SHELLOPTS", "UID"];
        self.wild || READONLY.contains(&name) || self.variables.get(name) == Some(&VariableValue::Fixed)
    }

    /// The positional parameters are these, or not known.
    pub(crate) fn set_arguments(&mut self, words: Option<Vec<Word>>) {
        self.arguments = words.filter(|_| !self.hazards.arguments).map(Rc::new);
    }

    /// Every variable may have changed; what is assigned from here on lasts.
    pub(crate) fn forget_values(&mut self) {
        let names: Vec<String> = self.variables.keys().cloned().chain(["HOME".to_owned(), "IFS".to_owned()]).collect();
        names.iter().for_each(|name| self.set(name, VariableValue::Unknown));
        self.arguments = None;
    }

    /// Gives a variable back what it held before, unless that may not have happened.
    pub(crate) fn restore(&mut self, name: &str, before: &Self, uncertain: bool) {
        match before.variables.get(name) {
            _ if uncertain => self.set(name, VariableValue::Unknown),
            Some(value) => _ = Rc::make_mut(&mut self.variables).insert(name.to_owned(), value.clone()),
            None => _ = Rc::make_mut(&mut self.variables).remove(name),
        }
    }

    /// Patterns that match nothing may vanish from here on.
    pub(crate) fn let_patterns_vanish(&mut self) {
        self.vanishing = true;
    }

    /// Job control may be on from here on.
    pub(crate) fn monitor(&mut self) {
        self.monitors = true;
    }

    /// `exit` may come back here: bash refuses it once while a job is stopped.
    pub(crate) fn may_stay(&self) -> bool {
        self.monitors || self.wild
    }

    /// The state behind something that does not end this way.
    pub(crate) fn never(self) -> Self {
        Self { dead: true, ..self }
    }

    /// The same place in a shell of its own, which inherits nothing but the directory and the limits.
    pub(crate) fn elsewhere(&self) -> Self {
        let hazards = Hazards { limits: self.hazards.limits, ..Hazards::default() };
        Self { place: self.place.clone(), stdin: self.stdin.clone(), hazards, ..Self::start() }
    }

    /// No assignment says what this variable holds.
    pub(crate) fn fix(&mut self, name: &str) {
        self.set(name, VariableValue::Fixed);
    }

    /// The variables of which no assignment says what they hold.
    pub(crate) fn fixed(&self) -> impl Iterator<Item = String> {
        self.variables.iter().filter(|(_, value)| **value == VariableValue::Fixed).map(|(name, _)| name.clone())
    }

    /// One of bash's own numbers was set or unset, which makes it a variable like others.
    pub(crate) fn changes_numbers(&self) -> bool {
        NUMBERS.iter().any(|name| self.variables.contains_key(*name))
    }

    /// None of bash's own numbers is surely one.
    pub(crate) fn forget_numbers(&mut self) {
        NUMBERS.iter().for_each(|name| self.fix(name));
    }

    /// Something was done to this variable.
    pub(crate) fn is_set(&self, name: &str) -> bool {
        self.variables.contains_key(name)
    }

    /// Every function that may be there.
    pub(crate) fn functions(&self) -> impl Iterator<Item = (&String, &Defined)> {
        self.functions.iter()
    }

    /// Any variable may have changed, and what is assigned from here on may not last either.
    pub(crate) fn forget(&mut self) {
        self.wild = true;
        self.arguments = None;
    }

    /// Any function may be gone, and what is defined from here on may not last either.
    pub(crate) fn forget_functions(&mut self) {
        self.doubt_functions();
        self.hazards.functions = true;
    }

    /// Nothing says what the positional parameters are, here or in a function that is called.
    pub(crate) fn forget_arguments(&mut self) {
        self.arguments = None;
        self.hazards.arguments = true;
    }

    /// What a function touched may have been a variable of its own, which is gone again.
    pub(crate) fn blur(&mut self, before: &Self) {
        let touched = std::mem::take(&mut self.touched);
        for name in touched.iter() {
            self.set(name, VariableValue::Unknown);
        }
        self.touched = union(touched, &before.touched);
    }

    pub(crate) fn define(&mut self, name: &str, body: usize, certain: bool) {
        let certain = certain && !self.hazards.functions;
        let defined = Rc::make_mut(&mut self.functions).entry(name.to_owned()).or_default();
        if certain {
            *defined = Defined { bodies: vec![body], certain };
        } else {
            defined.bodies.push(body);
        }
    }

    /// The function of this name may be gone.
    pub(crate) fn doubt_function(&mut self, name: &str) {
        if let Some(defined) = Rc::make_mut(&mut self.functions).get_mut(name) {
            defined.certain = false;
        }
    }

    /// Any function may be gone.
    pub(crate) fn doubt_functions(&mut self) {
        if self.functions.values().any(|defined| defined.certain) {
            Rc::make_mut(&mut self.functions).values_mut().for_each(|defined| defined.certain = false);
        }
    }

    /// What the name of a function may stand for.
    pub(crate) fn function(&self, name: &str) -> Option<&Defined> {
        self.functions.get(name)
    }

    pub(crate) fn alias(&mut self, name: &str) {
        Rc::make_mut(&mut self.aliases).insert(name.to_owned());
    }

    pub(crate) fn is_alias(&self, name: &str) -> bool {
        self.aliases.contains(name)
    }

    /// Something in the word may not be set where that is an error.
    pub(crate) fn gives_up(&self, arg: &Arg) -> bool {
        let known = |name: &str| {
            matches!(
                self.value(name),
                Some(
                    VariableValue::Text(_) | VariableValue::Home(_) | VariableValue::Number | VariableValue::Match(..)
                )
            )
        };
        let given = |position: usize| self.arguments.as_ref().is_some_and(|words| position <= words.len());
        let set = |hole: &Hole| match hole.name.as_deref() {
            _ if hole.nested.is_some() => true,
            Some("@") => true,
            Some(name) => name.parse().map_or_else(|_| known(name), given),
            None if hole.number => !arg.word.raw.contains("${#"),
            None => !arg.word.raw.contains('$'),
        };
        let evaluates =
            |arithmetic: &Arithmetic| arithmetic.unknown || !arithmetic.names.iter().all(|name| known(name));
        let strict = self.hazards.unset || self.wild;
        strict && (!arg.holes.iter().all(set) || arg.arithmetic.iter().any(evaluates))
    }

    /// Whether every variable that an expression evaluates is known to hold a number.
    pub(crate) fn is_plain(&self, arithmetic: &Arithmetic) -> bool {
        let own = |name: &str| NUMBERS.contains(&name) && !self.wild && !self.variables.contains_key(name);
        let number = |name: &String| own(name) || self.value(name).is_some_and(VariableValue::is_number);
        !arithmetic.unknown && arithmetic.names.iter().all(number)
    }

    /// The words that bash makes of one, as far as they are known.
    pub(crate) fn expand(&self, arg: &Arg) -> Vec<(Word, Count)> {
        if let Some(words) = braces(arg) {
            return words;
        }
        if arg.home && !self.is_at_home() {
            return vec![(Word { value: self.at_another_home(arg), ..arg.word.clone() }, arg.count)];
        }
        if arg.holes.is_empty() || arg.word.value.is_pipe() {
            return vec![(arg.word.clone(), arg.count)];
        }
        if arg.is_home_variable() && self.is_at_home() {
            return vec![(arg.word.clone(), arg.count)];
        }
        if arg.directory_variable().is_some_and(|name| !self.variables.contains_key(name)) && !self.wild {
            let value = Value::Dynamic { prefix: "/".to_owned() };
            return vec![(Word { value, ..arg.word.clone() }, Count::One)];
        }
        if let Some(words) = self.all_arguments(arg).or_else(|| self.split(arg)) {
            return words;
        }
        let mut filled = Filled::default();
        let mut copied = 0;
        for hole in &arg.holes {
            filled.copy(arg, copied..hole.at);
            copied = hole.at;
            match self.content(arg, hole) {
                Some(VariableValue::Text(text))
                    if (hole.quoted || !needs_splitting(&text) && !self.splits_oddly())
                        && filled.text.len() + text.len() <= MAX_TEXT =>
                {
                    filled.text.push_str(&text);
                }
                Some(VariableValue::Home(path)) if hole.at == 0 && filled.is_empty() && !self.splits_oddly() => {
                    filled.home = true;
                    filled.text.push_str(&path);
                }
                Some(VariableValue::Number) if !self.splits_oddly() => filled.unknown(Count::One),
                Some(VariableValue::Match(text, raw)) if hole.quoted => {
                    filled.pattern.get_or_insert(filled.text.len() + text.len());
                    filled.text.push_str(&text);
                    filled.matched = Some(raw);
                }
                // Under another `IFS` a number may be cut up as well.
                _ if hole.number && !hole.quoted && self.splits_oddly() => filled.unknown(Count::Any),
                _ => filled.unknown(if hole.number { Count::One } else { arg.count }),
            }
        }
        filled.copy(arg, copied..arg.text.len());
        if filled.is_empty() && !arg.word.quoted {
            return Vec::new();
        }
        vec![filled.finish(arg)]
    }

    fn content(&self, arg: &Arg, hole: &Hole) -> Option<VariableValue> {
        if let Some(nested) = hole.nested.and_then(|index| arg.nested.get(index)) {
            if self.hazards.limits {
                return None;
            }
            // Each level is looked at more than once: a tower of them would take forever.
            let inner = Self { printing: self.printing + 1, ..self.without_input() };
            if inner.printing > MAX_PRINTING {
                return None;
            }
            let printed = inner.script_prints(&nested.script);
            let text = printed.map(|printed| VariableValue::Text(printed.trim_end_matches('\n').into()));
            return text.or_else(|| inner.script_counts(&nested.script).then_some(VariableValue::Digits));
        }
        let name = hole.name.as_deref()?;
        let Ok(position) = name.parse::<usize>() else { return self.value(name).cloned() };
        let word = self.arguments.as_ref()?.get(position.checked_sub(1)?)?;
        word.value.literal().map(|text| VariableValue::Text(text.into()))
    }

    /// `"$@"` and nothing else.
    fn all_arguments(&self, arg: &Arg) -> Option<Vec<(Word, Count)>> {
        let [hole] = arg.holes.as_slice() else { return None };
        let alone = matches!(arg.word.raw.as_str(), "\"$@\"" | "\"${@}\""); // `"$@"''` is at least one word
        if hole.name.as_deref() != Some("@") || !alone {
            return None;
        }
        let place = |word: &Word| (Word { span: arg.word.span, ..word.clone() }, Count::One);
        self.arguments.as_ref().map(|words| words.iter().map(place).collect())
    }

    /// A word that is nothing but one unquoted variable: its value becomes several words.
    fn split(&self, arg: &Arg) -> Option<Vec<(Word, Count)>> {
        let [hole] = arg.holes.as_slice() else { return None };
        let Some(VariableValue::Text(text)) = self.content(arg, hole) else { return None };
        if hole.quoted || arg.word.quoted || !arg.text.is_empty() || self.splits_oddly() {
            return None;
        }
        let words = text.split([' ', '\t', '\n']).filter(|word| !word.is_empty());
        let words = words.map(|word| match word.find(['*', '?', '[', '\\']) {
            None => (Word { value: Value::Literal(word.to_owned()), ..arg.word.clone() }, Count::One),
            Some(at) => {
                let prefix = word.get(..at).unwrap_or_default().to_owned();
                let climbs = word.split('/').any(|name| name == "..");
                let value = if climbs { Value::Dynamic { prefix } } else { Value::Pattern { prefix } };
                (Word { value, ..arg.word.clone() }, Count::Some)
            }
        });
        Some(words.collect())
    }

    /// `IFS` was changed, so that words are cut elsewhere.
    fn splits_oddly(&self) -> bool {
        self.wild || self.variables.contains_key("IFS")
    }

    /// What a `~` at the beginning of a word leads to where the script has set `HOME`.
    fn at_another_home(&self, arg: &Arg) -> Value {
        match self.value("HOME") {
            Some(VariableValue::Text(home))
                if !arg.text.is_empty() && arg.holes.is_empty() && arg.pattern.is_none() =>
            {
                Value::Literal(format!("{home}{}", arg.text.trim_start_matches('~')))
            }
            _ => Value::Dynamic { prefix: String::new() },
        }
    }

    /// What `export NAME=WORD` leaves in its variable, given as it is written, if that is a path below the home directory.
    pub(crate) fn exported(&self, name: &str, raw: &str) -> Option<VariableValue> {
        let written = raw.strip_prefix(name)?.strip_prefix('=')?;
        let quoted = written.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        let text = quoted.unwrap_or(written);
        let tilde = || text.strip_prefix('~').filter(|_| quoted.is_none());
        let path = text.strip_prefix("$HOME").or_else(|| text.strip_prefix("${HOME}")).or_else(tilde)?;
        let is_plain = path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-+@".contains(&byte));
        (self.is_at_home() && is_plain).then(|| home(path)).filter(|known| *known != VariableValue::Unknown)
    }

    /// The home directory is the one that the script begins with.
    pub(crate) fn is_at_home(&self) -> bool {
        !self.variables.contains_key("HOME") && !self.wild
    }

    /// What an assignment leaves in its variable.
    pub(crate) fn assigned(&self, value: &Arg, number: bool) -> VariableValue {
        if number && value.arithmetic.iter().all(|arithmetic| self.is_plain(arithmetic)) && !value.holes.is_empty() {
            return VariableValue::Number;
        }
        let is_moved = || (value.home || value.is_home_variable()) && !self.is_at_home();
        if !value.notes.is_empty() || is_moved() {
            return VariableValue::Unknown;
        }
        if value.is_home_variable() {
            return home(&value.text);
        }
        let known = |hole: &Hole| {
            let content = self.content(value, hole);
            matches!(
                content,
                Some(VariableValue::Text(_) | VariableValue::Home(_) | VariableValue::Number | VariableValue::Digits)
            )
        };
        if !value.holes.iter().all(known) {
            return VariableValue::Unknown;
        }
        // Neither splitting nor patterns in an assignment.
        let mut text = String::new();
        let mut copied = 0;
        let mut below_home = value.home;
        for hole in &value.holes {
            text.push_str(value.text.get(copied..hole.at).unwrap_or_default());
            copied = hole.at;
            match self.content(value, hole) {
                Some(VariableValue::Text(known)) => text.push_str(&known),
                Some(VariableValue::Home(path)) if hole.at == 0 && text.is_empty() && !below_home => {
                    below_home = true;
                    text.push_str(&path);
                }
                Some(VariableValue::Digits) if value.holes.len() == 1 && value.text.is_empty() => {
                    return VariableValue::Digits;
                }
                _ if value.holes.len() == 1 && value.text.is_empty() => return VariableValue::Number,
                _ => return VariableValue::Unknown,
            }
            if text.len() > MAX_TEXT {
                return VariableValue::Unknown;
            }
        }
        text.push_str(value.text.get(copied..).unwrap_or_default());
        if below_home {
            home(text.strip_prefix('~').filter(|_| value.home).unwrap_or(&text))
        } else {
            VariableValue::Text(text.into())
        }
    }
}

/// A path below the home directory, if it is one word wherever it stands.
fn home(path: &str) -> VariableValue {
    let is_one_word = path.is_empty() || path.starts_with('/') && !needs_splitting(path);
    if is_one_word { VariableValue::Home(path.into()) } else { VariableValue::Unknown }
}

impl VariableValue {
    /// What a variable holds that was given this value.
    pub(crate) fn of(value: &Value) -> Self {
        match value {
            Value::Literal(text) => Self::Text(text.as_str().into()),
            Value::Home(path) => home(path),
            _ => Self::Unknown,
        }
    }

    pub(crate) fn is_number(&self) -> bool {
        match self {
            Self::Text(text) => is_integer(text),
            Self::Number | Self::Digits => true,
            Self::Home(_) | Self::Match(..) | Self::Unknown | Self::Fixed => false,
        }
    }
}

/// A word whose expansions are being filled in.
#[derive(Default)]
struct Filled {
    text: String,
    /// It goes on from the home directory.
    home: bool,
    first_unknown: Option<usize>,
    pattern: Option<usize>,
    count: Option<Count>,
    /// Part of it is what this pattern matched: one word, and no pattern any more.
    matched: Option<Rc<str>>,
}

impl Filled {
    fn is_empty(&self) -> bool {
        self.text.is_empty() && self.first_unknown.is_none() && !self.home
    }

    /// Takes over a part of the word's own text.
    fn copy(&mut self, arg: &Arg, range: std::ops::Range<usize>) {
        let last = range.end == arg.text.len();
        if let Some(at) = arg.pattern.filter(|at| range.contains(at) || last && *at == range.end) {
            self.pattern.get_or_insert(self.text.len() + at - range.start);
        }
        self.text.push_str(arg.text.get(range).unwrap_or_default());
    }

    fn unknown(&mut self, count: Count) {
        self.first_unknown.get_or_insert(self.text.len());
        self.count = self.count.max(Some(count));
    }

    fn finish(self, arg: &Arg) -> (Word, Count) {
        let Self { text, home, first_unknown, pattern, count, matched } = self;
        let is_below_home = home || arg.home;
        let climbs = !arg.stays_below() || text.split('/').any(|name| name == "..");
        let known = first_unknown.unwrap_or(text.len()).min(pattern.unwrap_or(text.len()));
        let prefix = || if is_below_home { String::new() } else { text.get(..known).unwrap_or_default().to_owned() };
        let value = match (first_unknown, pattern) {
            (Some(_), _) => Value::Dynamic { prefix: prefix() },
            (None, Some(_)) if is_below_home => Value::Dynamic { prefix: String::new() },
            (None, Some(_)) if climbs => Value::Dynamic { prefix: prefix() },
            (None, Some(_)) => Value::Pattern { prefix: prefix() },
            (None, None) if home => Value::Home(text.clone()),
            (None, None) if arg.home => Value::Home(text.strip_prefix('~').unwrap_or(&text).to_owned()),
            (None, None) => Value::Literal(text.clone()),
        };
        let least = if pattern.is_some() && matched.is_none() { Count::Some } else { Count::One };
        let count = match count.unwrap_or(Count::One).max(least) {
            Count::Any if !value.prefix().is_empty() => Count::Some,
            Count::Some if pattern.is_some() && value.prefix().is_empty() => arg.count,
            count => count,
        };
        // A word that is nothing but such a variable is told as the pattern is.
        let raw = matched.filter(|_| arg.text.is_empty() && arg.holes.len() == 1);
        let raw = raw.map_or_else(|| arg.word.raw.clone(), |raw| raw.as_ref().to_owned());
        (Word { value, raw, ..arg.word.clone() }, count)
    }
}

/// The words that braces make of a plain one.
fn braces(arg: &Arg) -> Option<Vec<(Word, Count)>> {
    let words = expanded(&arg.word.raw).filter(|_| arg.braced && arg.holes.is_empty())?;
    let place = |text: String| match text.find(['*', '?']) {
        None => (Word { value: Value::Literal(text), ..arg.word.clone() }, Count::One),
        Some(at) => {
            let prefix = text.get(..at).unwrap_or_default().to_owned();
            let climbs = text.split('/').any(|name| name == "..");
            let value = if climbs { Value::Dynamic { prefix } } else { Value::Pattern { prefix } };
            (Word { value, ..arg.word.clone() }, Count::Some)
        }
    };
    Some(words.into_iter().map(place).collect())
}

/// Unquoted, this text becomes several words or a pattern.
fn needs_splitting(text: &str) -> bool {
    text.is_empty() || text.contains([' ', '\t', '\n', '*', '?', '[', '\\'])
}

/// What is in either.
fn union(ours: Rc<BTreeSet<String>>, theirs: &Rc<BTreeSet<String>>) -> Rc<BTreeSet<String>> {
    if Rc::ptr_eq(&ours, theirs) || theirs.is_subset(&ours) {
        return ours;
    }
    Rc::new(ours.union(theirs).cloned().collect())
}

/// Joins two maps key by key.
fn meet_maps<V: Clone + PartialEq>(
    mut ours: Rc<BTreeMap<String, V>>,
    theirs: &Rc<BTreeMap<String, V>>,
    join: impl Fn(Option<&V>, Option<&V>) -> V,
) -> Rc<BTreeMap<String, V>> {
    if Rc::ptr_eq(&ours, theirs) || ours == *theirs {
        return ours;
    }
    let map = Rc::make_mut(&mut ours);
    for (name, our) in map.iter_mut() {
        *our = join(Some(our), theirs.get(name));
    }
    for (name, their) in theirs.iter() {
        if !map.contains_key(name) {
            map.insert(name.clone(), join(None, Some(their)));
        }
    }
    ours
}
