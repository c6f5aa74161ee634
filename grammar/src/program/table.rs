//! What is known about programs: the schema of `programs/*.toml`, and the tables themselves.
//!
//! This file decides what a table may say and refuses the rest: an unknown key, role or group of keys is an error. No
//! command is vouched for whose table is malformed.

use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

use serde::Deserialize;

use crate::opaque::OpaqueReason;

/// `(file name, text)` of every table; `build.rs` lists the folder.
const FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/programs.rs"));

/// Every program name and alias, sorted, and the place of its table among [`FILES`]; from `build.rs`, too.
const NAMES: &[(&str, usize)] = include!(concat!(env!("OUT_DIR"), "/program_names.rs"));

/// The table of a program, or none if no table describes it.
///
/// # Errors
/// What is wrong with the table.
pub(crate) fn find(name: &str) -> Result<Option<&'static Entry>, &'static str> {
    let Ok(found) = NAMES.binary_search_by_key(&name, |(name, _)| name) else { return Ok(None) };
    NAMES.get(found).map(|(_, table)| entry(*table)).transpose()
}

/// Every table that is well-formed, by program name and alias.
pub(crate) fn all() -> impl Iterator<Item = (&'static str, &'static Entry)> {
    NAMES.iter().filter_map(|(name, table)| Some((*name, entry(*table).ok()?)))
}

/// Reads a table when it is first asked for.
fn entry(table: usize) -> Result<&'static Entry, &'static str> {
    static READ: [OnceLock<Result<Entry, String>>; FILES.len()] = [const { OnceLock::new() }; FILES.len()];
    let (Some(read), Some((file, text))) = (READ.get(table), FILES.get(table)) else { return Err("no such table") };
    read.get_or_init(|| Entry::parse(file, text)).as_ref().map_err(String::as_str)
}

/// What one program, or one subcommand of it, makes of its words.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Entry {
    /// The command word, or the subcommand's word.
    pub(crate) name: String,
    /// Other names with exactly the same meaning.
    pub(crate) aliases: Vec<String>,
    /// Why the table says what it says.
    pub(crate) about: String,
    /// That the table was compared with the program itself. Where no guard holds what runs, a program without this is not known.
    pub(crate) reviewed: Option<Review>,
    /// Whether the shell itself has it.
    pub(crate) builtin: Builtin,
    /// Groups of an invocation without anything special.
    pub(crate) groups: Vec<String>,
    /// Groups instead, once an operand is there.
    pub(crate) operand_groups: Option<Vec<String>>,
    /// Groups instead, if its code cannot be vouched for.
    pub(crate) code_groups: Option<Vec<String>>,
    /// The ecosystem whose packages it installs: an invocation in the group `package-install` is in `install-ECOSYSTEM`
    /// too, unless it is bound to a lock file.
    pub(crate) ecosystem: Option<String>,
    /// Sets of options with each of which an invocation installs only what a lock file or the workspace holds.
    pub(crate) lock_bound: Vec<Vec<Bond>>,
    #[serde(deserialize_with = "short::options")]
    pub(crate) options: Vec<Opt>,
    /// Options of `option-sets` that it has as well, without the forms that its own options have.
    pub(crate) uses: Vec<String>,
    /// Options that several subcommands have.
    #[serde(deserialize_with = "short::option_sets")]
    pub(crate) option_sets: HashMap<String, Vec<Opt>>,
    /// What each operand is, by position.
    pub(crate) operands: Vec<Slot>,
    /// Operands that mean what an option says (`git push origin +main` is a forced push).
    pub(crate) operand_flags: Vec<OperandFlag>,
    /// Only these operands are known; a trailing `*` stands for anything.
    pub(crate) operand_values: Vec<String>,
    /// Operands that say what they are (`if=file` of dd).
    pub(crate) named: Vec<Named>,
    /// The first operand names a setting. Once something stands behind it, only these names are known; a trailing `*`
    /// stands for anything, and case does not count.
    pub(crate) settings: Vec<String>,
    /// Settings besides these of which not every value makes something run. Setting them has `weighed-effects` and none of the table's.
    pub(crate) weighed: Vec<String>,
    pub(crate) weighed_effects: Vec<Implied>,
    /// Settings whose value is run, wherever the program takes a setting: `NAME`, of which a `*` stands for anything,
    /// `NAME=BEGIN` if only a value that begins so is run, and behind ` -> ` what the command begins with.
    pub(crate) runs: Vec<Setting>,
    /// Words behind which the rest is a command, or one word is code of a shell, in a program that is not taken apart
    /// there and stays opaque: these only make sure that the command is listed, too. `*` stands for the first word that
    /// is a program of some table.
    pub(crate) tells: Vec<String>,
    /// How a packed file is called, and what takes the place of that when it is unpacked (`.tgz=.tar`); the first is what
    /// packing adds.
    pub(crate) suffixes: Vec<String>,
    /// Words that are operators of the program's own (`(` in find).
    pub(crate) ignore: Vec<String>,
    /// The operand that is meant if none is there.
    pub(crate) implicit: Option<String>,
    /// What it always touches: of a table with subcommands if none of them is there, of one with settings if one of
    /// them is set (where effects of options stand in for these).
    pub(crate) effects: Vec<Implied>,
    pub(crate) unknown_option: Unknown,
    /// It has no options at all: every word is an operand.
    pub(crate) plain: bool,
    /// GNU: a long option may be cut short as long as it stays unique.
    pub(crate) abbreviations: bool,
    /// `-rf` is `-r -f`.
    pub(crate) clusters: bool,
    /// Two letters of such a word may be one option (zip).
    pub(crate) pairs: bool,
    /// Options may stand behind operands.
    pub(crate) permute: bool,
    /// `-5` is an option that takes no value.
    pub(crate) numeric: bool,
    /// Options may begin with `+`.
    pub(crate) plus: bool,
    /// In names of files a backslash stands before the digits of a byte.
    pub(crate) unquotes: bool,
    /// A variable without a value begins without one, whatever another one of its name has.
    pub(crate) own_variables: bool,
    /// The first word may be options without a dash (`tar xzf`).
    pub(crate) bundled: bool,
    /// `-` is standard input or output, not a file.
    pub(crate) dash_is_stdio: bool,
    /// `NAME=value` operands come first.
    pub(crate) leading_assignments: bool,
    /// The command it runs gets more words than are written.
    pub(crate) appends: bool,
    /// Relative operands may be meant from somewhere else, as from the top of a repository.
    pub(crate) aside: bool,
    /// What it runs does not run here: in another directory, a container, or on another machine.
    pub(crate) elsewhere: bool,
    /// It takes options from among the words of the command it runs, unless `--` stands before that.
    pub(crate) mixes: bool,
    /// It can run only these commands; a multi-call program is not known beyond them.
    pub(crate) commands: Vec<String>,
    /// Words that stand in front of the command it runs (`capsh -- -c x` is `bash -c x`).
    pub(crate) prefix: Vec<String>,
    /// What stands for a file of its choice in the command it runs (`/_` of entr).
    pub(crate) placeholder: Option<String>,
    /// The command it runs is looked up by the shell.
    pub(crate) runs_builtins: bool,
    pub(crate) stdin: Stdin,
    /// What the code on standard input is, if it is there to be read.
    pub(crate) stdin_role: Role,
    /// What code touches even if it can be vouched for, unless an option with `instead` is there.
    pub(crate) code_effects: Vec<Implied>,
    /// What the value of an option in the role `module` stands for (`python -m`).
    pub(crate) modules: Vec<Entry>,
    /// It is the program of this name: the words behind it are that program's.
    pub(crate) stands_for: Option<String>,
    /// It is always opaque.
    pub(crate) opaque: Option<OpaqueReason>,
    /// Files of a project that decide what code it runs. A subcommand that names none has those of the table around it.
    pub(crate) project: Vec<String>,
    pub(crate) check: Option<Check>,
    /// What it does to the shell's working directory.
    pub(crate) directory: Option<DirectoryRole>,
    /// The port of a host operand.
    pub(crate) port: Option<u16>,
    pub(crate) subcommands: Vec<Entry>,
    pub(crate) example: Vec<Example>,
}

impl Default for Entry {
    fn default() -> Self {
        Self {
            name: String::new(),
            aliases: Vec::new(),
            about: String::new(),
            reviewed: None,
            builtin: Builtin::No,
            groups: Vec::new(),
            operand_groups: None,
            code_groups: None,
            ecosystem: None,
            lock_bound: Vec::new(),
            options: Vec::new(),
            uses: Vec::new(),
            option_sets: HashMap::new(),
            operands: Vec::new(),
            operand_flags: Vec::new(),
            operand_values: Vec::new(),
            named: Vec::new(),
            settings: Vec::new(),
            weighed: Vec::new(),
            weighed_effects: Vec::new(),
            runs: Vec::new(),
            tells: Vec::new(),
            suffixes: Vec::new(),
            ignore: Vec::new(),
            implicit: None,
            effects: Vec::new(),
            unknown_option: Unknown::Opaque,
            plain: false,
            abbreviations: false,
            clusters: true,
            pairs: false,
            permute: true,
            numeric: false,
            plus: false,
            unquotes: false,
            own_variables: false,
            bundled: false,
            dash_is_stdio: false,
            leading_assignments: false,
            appends: false,
            aside: false,
            elsewhere: false,
            mixes: false,
            commands: Vec::new(),
            prefix: Vec::new(),
            placeholder: None,
            runs_builtins: false,
            stdin: Stdin::Data,
            stdin_role: Role::Data,
            code_effects: Vec::new(),
            modules: Vec::new(),
            stands_for: None,
            opaque: None,
            project: Vec::new(),
            check: None,
            directory: None,
            port: None,
            subcommands: Vec::new(),
            example: Vec::new(),
        }
    }
}

impl Entry {
    fn parse(file: &str, text: &str) -> Result<Self, String> {
        let mut entry: Self = serde_json::from_str(text).map_err(|error| format!("{file}: {error}"))?;
        let complain = |error| format!("{file}: {error}");
        entry.share_options(&HashMap::new()).map_err(complain)?;
        entry.share_project(&[]);
        entry.validate().map_err(complain)?;
        Ok(entry)
    }

    fn share_project(&mut self, around: &[String]) {
        if self.project.is_empty() {
            self.project = around.to_vec();
        }
        for subcommand in &mut self.subcommands {
            subcommand.share_project(&self.project);
        }
    }

    /// Copies the shared options to where they are used.
    fn share_options(&mut self, outer: &HashMap<String, Vec<Opt>>) -> Result<(), String> {
        let inner = std::mem::take(&mut self.option_sets);
        let sets = if inner.is_empty() { outer } else { &inner };
        let own: HashSet<String> = self.options.iter().flat_map(|option| option.forms.iter().cloned()).collect();
        for set in &self.uses {
            let shared = sets.get(set).ok_or_else(|| format!("no option set is called `{set}`"))?;
            for mut option in shared.iter().cloned() {
                option.forms.retain(|form| !own.contains(form));
                self.options.extend(Some(option).filter(|option| !option.forms.is_empty()));
            }
        }
        let mut below = self.subcommands.iter_mut().chain(&mut self.modules);
        below.try_for_each(|entry| entry.share_options(sets))
    }

    /// Contradictions that would make a table say less than is true.
    fn validate(&self) -> Result<(), String> {
        let name = &self.name;
        if name.is_empty() {
            return Err("a table without a name".to_owned());
        }
        let mut forms = HashSet::new();
        for option in &self.options {
            let Some(form) = option.forms.first() else { return Err(format!("`{name}`: an option without a form")) };
            if let Some(twice) = option.forms.iter().find(|form| !forms.insert(form.as_str())) {
                return Err(format!("`{name}`: `{twice}` stands twice"));
            }
            if option.value == Arity::None
                && (option.role != Role::Data || !option.values.is_empty())
                && !matches!(option.role, Role::CommandUntil | Role::CommandToEnd)
            {
                return Err(format!("`{name}`: `{form}` has a role for a value, but no value"));
            }
            if option.acts() && self.unknown_option == Unknown::Flag {
                return Err(format!("`{name}`: `{form}` acts, so unknown options must be opaque"));
            }
        }
        if self.operands.iter().filter(|slot| slot.repeats).count() > 1 {
            return Err(format!("`{name}`: two operands repeat"));
        }
        let canonical = |name: &str| self.options.iter().any(|option| option.canonical() == name);
        for bond in self.lock_bound.iter().flatten() {
            if let Some(option) = bond.option().filter(|option| !canonical(option)) {
                return Err(format!("`{name}`: `lock-bound` speaks of `{option}`, which is no option"));
            }
            if let Bond::Word(word) = bond
                && *word != self.name
                && !self.aliases.contains(word)
            {
                return Err(format!("`{name}`: `lock-bound` speaks of `{word}`, which is no name of it"));
            }
        }
        let mut names = HashSet::new();
        let subcommands = self.subcommands.iter().flat_map(|entry| entry.aliases.iter().chain([&entry.name]));
        if let Some(twice) = subcommands.into_iter().find(|name| !names.insert(name.as_str())) {
            return Err(format!("`{name}`: the subcommand `{twice}` stands twice"));
        }
        self.subcommands.iter().chain(&self.modules).try_for_each(Self::validate)
    }

    /// The subcommand of this name.
    pub(crate) fn subcommand(&self, name: &str) -> Option<&Self> {
        self.subcommands.iter().find(|entry| entry.name == name || entry.aliases.iter().any(|alias| alias == name))
    }

    /// The module of this name.
    pub(crate) fn module(&self, name: &str) -> Option<&Self> {
        self.modules.iter().find(|entry| entry.name == name || entry.aliases.iter().any(|alias| alias == name))
    }

    /// Options whose mere presence can matter: one of them may hide in a computed word.
    pub(crate) fn tree_options(&self) -> bool {
        self.options.iter().any(|option| option.tree)
    }
}

/// With which version of a program a table was compared, and when: each option of the program's own help has a row with the right number
/// of values, and nothing that the program reads by itself (settings, files of the project) runs code or opens files of its own choice.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Review {
    /// The program's version, as it tells it itself.
    pub(crate) version: String,
    /// The day, `2026-11-26`.
    pub(crate) date: String,
    /// The manual page that it was compared with by hand, where its help lists no options as others do.
    #[serde(default)]
    pub(crate) manual: Option<String>,
    /// What its help shows like an option and is none.
    #[serde(default)]
    pub(crate) except: Vec<String>,
}

/// One condition of being bound to a lock file, as a table writes it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub(crate) enum Bond {
    /// `^sync`: the subcommand is written so.
    Word(String),
    /// `--frozen`: this option is there, by its canonical name.
    Option(String),
    /// `!--with`: this option is not there.
    Without(String),
    /// `--editable=@path`: this option is there, and names nothing but local paths.
    OptionPaths(String),
    /// `--editable=@no-url`: this option is there, and none of its values can be a URL.
    OptionPlaces(String),
    /// `@none`: there is no operand.
    NoOperand,
    /// `@path`: there are operands, all of them local paths.
    Paths,
    /// `@wheel`: there are operands, all of them local paths of wheels.
    Wheels,
    /// `@no-url`: no operand holds a URL.
    NoUrl,
}

impl From<String> for Bond {
    fn from(text: String) -> Self {
        let of = |text: &str| text.to_owned();
        match text.as_str() {
            "@none" => Self::NoOperand,
            "@path" => Self::Paths,
            "@wheel" => Self::Wheels,
            "@no-url" => Self::NoUrl,
            written => {
                if let Some(word) = written.strip_prefix('^') {
                    Self::Word(of(word))
                } else if let Some(option) = written.strip_prefix('!') {
                    Self::Without(of(option))
                } else if let Some(option) = written.strip_suffix("=@path") {
                    Self::OptionPaths(of(option))
                } else if let Some(option) = written.strip_suffix("=@no-url") {
                    Self::OptionPlaces(of(option))
                } else {
                    Self::Option(text)
                }
            }
        }
    }
}

impl Bond {
    /// The option that it speaks of.
    fn option(&self) -> Option<&str> {
        match self {
            Self::Option(name) | Self::Without(name) | Self::OptionPaths(name) | Self::OptionPlaces(name) => Some(name),
            Self::Word(_) | Self::NoOperand | Self::Paths | Self::Wheels | Self::NoUrl => None,
        }
    }
}

/// Whether the shell has a command of this name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Builtin {
    #[default]
    No,
    /// The shell has it, and there is a program that does the same.
    Also,
    /// Only the shell has it: a program of that name is something else.
    Only,
}

/// One option.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Opt {
    /// How it can be written; a form that ends in `*` stands for everything that begins so. The first form with two
    /// dashes, else the first form, is the canonical one.
    pub(crate) forms: Vec<String>,
    pub(crate) value: Arity,
    /// What its value is.
    pub(crate) role: Role,
    /// A relative name in its value is opened before the program goes elsewhere, where it is told to.
    pub(crate) at_start: bool,
    /// A relative name in its value may be meant from somewhere else: the top of a repository, a destination.
    pub(crate) aside: bool,
    /// Only these values are known; a trailing `*` stands for anything.
    pub(crate) values: Vec<String>,
    /// The invocation's groups instead of the table's.
    pub(crate) groups: Option<Vec<String>>,
    /// The operands' roles instead of the table's.
    pub(crate) operands: Option<Vec<Slot>>,
    /// A further role of each operand that is a file.
    pub(crate) also: Option<Role>,
    /// Operands are meant with all that is below them.
    pub(crate) tree: bool,
    /// It reaches files or peers that no word names: through links below its operands, by a list, or by what another option makes of
    /// it. Where no guard stands, the invocation is not known.
    pub(crate) reaches: bool,
    /// Read if no operand is there.
    pub(crate) implicit: Option<String>,
    /// What it touches by itself.
    pub(crate) effects: Vec<Implied>,
    /// The table's own `effects` do not happen.
    pub(crate) instead: bool,
    /// Its value is a socket, which is connected to in place of the hosts that URLs name.
    pub(crate) hostless: bool,
    /// Archives are read and stay as they are.
    pub(crate) extracts: bool,
    /// Standard input is no code any more.
    pub(crate) code_given: bool,
    /// Standard input is code, whatever else is there.
    pub(crate) takes_stdin: bool,
    /// Standard input is code, unless something else gives that.
    pub(crate) asks: bool,
    /// Standard input is code, whatever else is there, if its value begins so.
    pub(crate) asks_for: Vec<String>,
    /// Standard input is no code any more, with one of these values.
    pub(crate) answers: Vec<String>,
    /// All words behind it and its value are operands.
    pub(crate) last: bool,
    /// What it runs does not run here (`find -execdir`, `su -l`).
    pub(crate) elsewhere: bool,
    /// It cannot be vouched for.
    pub(crate) opaque: Option<OpaqueReason>,
}

impl Opt {
    /// The name that the inventory gives it.
    pub(crate) fn canonical(&self) -> &str {
        let long = self.forms.iter().find(|form| form.starts_with("--") && form.len() > 2);
        long.or(self.forms.first()).map_or("", String::as_str)
    }

    /// Its presence changes more than how results look.
    pub(crate) fn acts(&self) -> bool {
        let effects = self.effects.iter().any(|implied| implied.role.acts());
        self.also.is_some() || self.takes_stdin || self.asks || self.opaque.is_some() || effects || self.role.acts()
    }

    /// It reads more than operands.
    pub(crate) fn reads(&self) -> bool {
        matches!(self.role, Role::Read | Role::ReadTree) || !self.effects.is_empty()
    }
}

/// How an option that touches nothing may be written: `"-q --quiet"`, with a value `"-n --lines="`, with one that can
/// only be attached `"--color=?"`.
mod short {
    use std::collections::HashMap;
    use std::fmt;

    use serde::de::value::MapAccessDeserializer;
    use serde::de::{Error, MapAccess, Visitor};
    use serde::{Deserialize, Deserializer};

    use super::{Arity, Opt};

    pub(super) fn options<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Opt>, D::Error> {
        Ok(Vec::<Written>::deserialize(from)?.into_iter().map(|Written(option)| option).collect())
    }

    pub(super) fn option_sets<'de, D: Deserializer<'de>>(from: D) -> Result<HashMap<String, Vec<Opt>>, D::Error> {
        let sets = HashMap::<String, Vec<Written>>::deserialize(from)?;
        Ok(sets
            .into_iter()
            .map(|(name, set)| (name, set.into_iter().map(|Written(option)| option).collect()))
            .collect())
    }

    struct Written(Opt);

    impl<'de> Deserialize<'de> for Written {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            from.deserialize_any(Either)
        }
    }

    struct Either;

    impl<'de> Visitor<'de> for Either {
        type Value = Written;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("an option, as a text or a table")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Written, E> {
            let optional = text.strip_suffix("=?").map(|forms| (forms, Arity::Optional));
            let required = || text.strip_suffix('=').map(|forms| (forms, Arity::Required));
            let (forms, value) = optional.or_else(required).unwrap_or((text, Arity::None));
            if let Some(odd) = forms.split(' ').find(|form| form.is_empty() || form.contains('=')) {
                return Err(E::custom(format!("`{text}` is no list of forms because of `{odd}`")));
            }
            let forms = forms.split(' ').map(str::to_owned).collect();
            Ok(Written(Opt { forms, value, ..Opt::default() }))
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Written, A::Error> {
            Opt::deserialize(MapAccessDeserializer::new(map)).map(Written)
        }
    }
}

/// An operand that means what an option says.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OperandFlag {
    /// How the operand begins.
    pub(crate) prefix: String,
    /// The option's canonical name.
    pub(crate) flag: String,
}

/// An operand that begins with its own name.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Named {
    /// How the operand begins.
    pub(crate) prefix: String,
    /// What stands behind that.
    pub(crate) role: Role,
}

/// A setting whose value is run.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub(crate) struct Setting {
    name: String,
    /// How a value that is run begins; this is no part of the command.
    mark: String,
    /// How the command begins.
    words: String,
}

impl From<String> for Setting {
    fn from(text: String) -> Self {
        let (setting, words) = text.split_once(" -> ").unwrap_or((&text, ""));
        let (name, mark) = setting.split_once('=').unwrap_or((setting, ""));
        Self { name: name.to_ascii_lowercase(), mark: mark.to_owned(), words: words.to_owned() }
    }
}

impl Setting {
    /// The shell code that this value of a setting of this name is.
    pub(crate) fn code(&self, name: &str, value: &str) -> Option<String> {
        let name = name.to_ascii_lowercase();
        let matches = match self.name.split_once('*') {
            Some((start, end)) => name.strip_prefix(start).is_some_and(|rest| rest.ends_with(end)),
            None => name == self.name,
        };
        let value = value.strip_prefix(self.mark.as_str()).filter(|_| matches)?;
        Some(format!("{}{value}", self.words))
    }
}

/// Whether an option has a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Arity {
    #[default]
    None,
    Required,
    /// Attached only: `-i.bak`, `--color=auto`.
    Optional,
    /// Two words, of which the second has the role.
    Pair,
}

/// What a word is to its program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Role {
    /// Text that touches nothing.
    #[default]
    Data,
    Read,
    ReadTree,
    /// How the names of the files that are read begin; nothing known of them if it is empty (`wc --files0-from`).
    ReadPrefix,
    /// A file that is read, or a command that is run if the name says so (perl's `<>`).
    Input,
    Write,
    WriteTree,
    /// git's settings, of which the guard compares what is written with what was there.
    Weighed,
    /// Where copies go: a file that is written, or a directory in which files of the other operands' names are.
    Into,
    /// The same with all below it (mv).
    IntoTree,
    /// How the names of the files that are written begin (split).
    WritePrefix,
    Delete,
    DeleteTree,
    ReadWrite,
    /// A file, or what a directory holds, that is run or loaded as code.
    Execute,
    /// A directory from which modules of the names of Python's own may be loaded.
    Import,
    /// A file that is read or written before the program changes its directory; `host:file` is remote (tar).
    Archive,
    /// The source of a rename: read and deleted with all below it.
    Move,
    /// Replaced by a file of a similar name (gzip).
    Replace,
    /// What a new file is called, some of its letters made up, and what `--suffix` says behind them (mktemp).
    Template,
    /// Read, and a file of a similar name is written unless another operand says where (pdftotext).
    Beside,
    /// What a new link leads to: whoever uses the link reaches it.
    LinkTarget,
    /// Text that touches nothing, in a list of words parted by commas, of which `@file` holds further ones (gcc -Wl).
    Item,
    /// A word for the tool that builds: a target, or how many jobs there may be (cmake --build).
    BuildWord,
    /// A package of the workspace, or one from elsewhere if a version stands behind `@` (go run).
    Package,
    /// Whose key is wanted: that of a mail address is looked for on the network (gpg).
    Recipient,
    /// How something is shown, in which `%G?` and `%(signature)` run a program that checks signatures (git).
    Format,
    /// Files that are read, parted by colons (file -m).
    ReadList,
    /// Files of a repository that are deleted: a pattern finds them below its directory, `:/` is the top (git).
    DeleteSpec,
    /// A file that is read, or a URI of one (openssl).
    Store,
    /// The same, next to which a file of serial numbers is written.
    Serial,
    /// `@file` is read, anything else is data (curl -d).
    AtFile,
    /// An item of a form: `name=@file`, `name=<file`, `name@file`, `name:=@file`; anything else is data.
    Field,
    /// What is told at the end, in which `%output{file}` writes; `@file` is read and may say the same (curl -w).
    Report,
    /// A file that is read, where braces and brackets stand for several (curl -T).
    Upload,
    /// A file that is written, where `#1` stands for a part of a URL (curl -o).
    Output,
    /// The program changes there before it does anything else.
    Cwd,
    Url,
    /// A URL, with or without its scheme, or a local file (lynx).
    Page,
    /// A peer, with the table's port.
    Host,
    /// `@host` is a peer, with the table's port; anything else is data (dig).
    AtHost,
    /// `@file` lists files that are not in the text; anything else is read with all below it (7z).
    TreeOrList,
    /// A directory that a container gets: `/here:/there`, `type=bind,source=/here,…`; a mere name is a volume.
    Mount,
    /// What to connect to what, as `KIND:words,options` (socat).
    Address,
    Port,
    /// A local file that is read, or a remote one (scp, rsync).
    Source,
    /// A file or URL; a name with another colon may mean any other file, or several (ffmpeg).
    Media,
    /// A local file that is written, or a remote one.
    Destination,
    /// A destination that becomes like its sources: what they lack is deleted.
    Mirror,
    /// A git remote: a URL, `host:path`, or a configured name.
    Remote,
    /// A repository that is copied: a path, or a URL. Without a second operand a directory is made that is called like it.
    Repository,
    /// Every further word is a command to run.
    Command,
    /// A program that it runs, with words of the program's own if the table `appends`.
    Program,
    /// The words of a command, parted by commas (gcc).
    CommaCommand,
    /// This and every further word, joined with blanks, are typed into a shell that runs elsewhere: listed, and opaque.
    TypedCode,
    /// This word and all behind it, joined by blanks, are code of a shell on another machine.
    RemoteShell,
    /// The words up to `;` or `{} +` are a command to run.
    CommandUntil,
    /// The words up to `;` or the last are a command to run; it gets more words if none of its own has a brace (fd).
    CommandToEnd,
    /// The word that stands for what is appended.
    Placeholder,
    /// Code of this shell.
    ShellCode,
    /// Code of a shell that may be another one: read only as far as all agree.
    PosixShellCode,
    /// Code of a shell of another family: read only as far as it is plain words.
    PlainShellCode,
    /// This and every further word, joined with blanks, are code of a shell that may be another one.
    JoinedShellCode,
    /// Every further word is a command to run, or one word is code of a shell that may be another one (tmux).
    CommandOrCode,
    /// The words up to `:::` are joined to such code, in which words from elsewhere are filled in (parallel).
    Jobs,
    /// A file that is written; behind `|` or `!` it is code.
    FileOrPipe,
    /// A file that is written, of whose name `%` and what stands behind it are not known.
    WritePattern,
    /// Code of another language.
    Code,
    /// Commands of the program's own, a line of which may be run by a shell (ed, gdb, dc).
    Commands,
    /// `NAME=value`, which is run if the table says so of that name.
    Setting,
    Awk,
    Sed,
    Jq,
    /// An expression of one of the two yq, or a file if there is one of that name.
    Yq,
    /// SQL, which a database client may mix with commands of its own.
    Sql,
    /// A database by its name, or by a URI or words like `host=h` that name its server.
    DatabaseName,
    /// The file of a database, next to which there are files of similar names.
    Database,
    Python,
    Perl,
    Node,
    Ruby,
    Php,
    /// One of the table's modules, which says what the words behind it are.
    Module,
    /// A file with code.
    Script,
    /// `NAME=value` or `NAME`, set for good.
    Assignment,
    /// A variable that it sets to something unknown.
    Variable,
    /// A variable that it removes.
    Unset,
}

impl Role {
    /// A file whose name is the word.
    pub(crate) fn is_path(self) -> bool {
        matches!(
            self,
            Self::Read
                | Self::ReadTree
                | Self::Write
                | Self::WriteTree
                | Self::Delete
                | Self::DeleteTree
                | Self::ReadWrite
                | Self::Yq
                | Self::Execute
                | Self::Import
                | Self::Input
        )
    }

    /// It can change or run something, or reach the network.
    pub(crate) fn acts(self) -> bool {
        !matches!(
            self,
            Self::Data
                | Self::Read
                | Self::ReadTree
                | Self::ReadList
                | Self::ReadPrefix
                | Self::Cwd
                | Self::Port
                | Self::Placeholder
                | Self::Jq
        )
    }
}

/// The role of one operand position, written `read` or, for any number of operands, `read...`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Slot {
    pub(crate) role: Role,
    pub(crate) repeats: bool,
}

impl TryFrom<String> for Slot {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (name, repeats) = text.strip_suffix("...").map_or((text.as_str(), false), |name| (name, true));
        Ok(Self { role: role(name)?, repeats })
    }
}

/// A role and the file that it is about, written `write-tree .`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Implied {
    pub(crate) role: Role,
    pub(crate) path: String,
}

impl TryFrom<String> for Implied {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (name, path) = text.split_once(' ').ok_or_else(|| format!("`{text}` is not a role and a path"))?;
        Ok(Self { role: role(name)?, path: path.to_owned() })
    }
}

fn role(name: &str) -> Result<Role, String> {
    use serde::de::IntoDeserializer;
    let deserializer: serde::de::value::StrDeserializer<'_, serde::de::value::Error> = name.into_deserializer();
    Role::deserialize(deserializer).map_err(|error| error.to_string())
}

/// What an option that the table does not have means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Unknown {
    /// Options can run or write something: an unknown one is not vouched for.
    #[default]
    Opaque,
    /// No option of the program acts.
    Flag,
}

/// What standard input is to the program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Stdin {
    #[default]
    Data,
    Code,
    CodeWithoutOperands,
    /// It starts a shell if it is given nothing to run (`unshare`).
    CodeWithoutCommand,
    /// One operand says where the code runs (ssh).
    CodeWithOneOperand,
}

/// A check of all words together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Check {
    /// `-v` and `-R` of `test` evaluate subscripts.
    Test,
    /// make's `NAME=value` operands change what it runs.
    MakeVariables,
    /// Words that begin with `+` are commands (vim, less).
    PlusCommands,
    /// The first word is code that runs when one of the others happens.
    Trap,
    /// `%n` in the first word has `printf` set a variable that another one names.
    Format,
    /// The words, joined by blanks, are code.
    Eval,
    /// `name=value`, the value being code.
    Alias,
    /// Words that begin with `@` are files of further words (binutils).
    AtFiles,
    /// A word that ends with `;` ends one of several commands, one with `#(` holds code (tmux).
    CommandWords,
}

/// What a builtin does to the shell's working directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum DirectoryRole {
    Cd,
    /// As `cd`, if there is one operand that is no place in the stack.
    Push,
    Unknown,
}

/// A script and what the inventory must say of it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Example {
    pub(crate) script: String,
    /// Programs in order.
    pub(crate) runs: Vec<String>,
    /// Effects of all commands in order: `read x`, `delete-tree y`, `connect host:22`.
    pub(crate) effects: Option<Vec<String>>,
    /// Variables that the commands set, in order.
    pub(crate) sets: Option<Vec<String>>,
    /// Flags of the first command.
    pub(crate) flags: Option<Vec<String>>,
    /// Groups of the first command.
    pub(crate) groups: Option<Vec<String>>,
    /// Reasons of all opaque items in order.
    pub(crate) opaque: Vec<OpaqueReason>,
}

/// Each table as it is written.
#[cfg(test)]
pub(crate) fn each_file() -> impl Iterator<Item = (&'static str, serde_json::Result<Entry>)> {
    FILES.iter().map(|(file, text)| (*file, serde_json::from_str(text)))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_malformed_table_is_refused() {
        for (text, complaint) in [
            ("name = \"x\"\ngruops = []", "gruops"),
            ("name = \"x\"\noperands = [\"raed\"]", "raed"),
            ("name = \"x\"\noptions = [{ forms = [\"-a\"], valeu = \"required\" }]", "valeu"),
            ("name = \"x\"\nuses = [\"none\"]", "none"),
            ("name = \"x\"\nuses = [\"a\", \"b\"]\noption-sets = { a = [\"-a\"], b = [\"-a\"] }", "`-a` stands twice"),
            ("about = \"x\"", "without a name"),
            ("name = \"x\"\noptions = [{ forms = [\"-a\"] }, { forms = [\"-b\", \"-a\"] }]", "`-a` stands twice"),
            ("name = \"x\"\noptions = [{ forms = [\"-a\"], role = \"read\" }]", "no value"),
            ("name = \"x\"\nunknown-option = \"flag\"\noptions = [{ forms = [\"-a\"], also = \"write\" }]", "acts"),
            ("name = \"x\"\noptions = [\"-a  --all\"]", "no list of forms"),
            ("name = \"x\"\noptions = [\"-a= --all=\"]", "no list of forms"),
            ("name = \"x\"\noptions = [\"-a --all\", \"--all=\"]", "`--all` stands twice"),
            ("name = \"x\"\noperands = [\"read...\", \"data...\"]", "repeat"),
            ("name = \"x\"\n[[subcommands]]\nname = \"a\"\n[[subcommands]]\nname = \"a\"", "`a` stands twice"),
        ] {
            // As the build script passes tables on.
            let json = serde_json::to_string(&toml::from_str::<toml::Table>(text).unwrap()).unwrap();
            let error = Entry::parse("x.toml", &json).err().unwrap_or_default();
            assert!(error.contains(complaint), "{text}: {error}");
        }
    }

    #[test]
    fn a_setting_may_be_run() {
        for (setting, name, value, said) in [
            ("core.pager", "core.pager", "rm x", Some("rm x")),
            ("core.pager", "Core.Pager", "rm x", Some("rm x")),
            ("core.pager", "core.editor", "rm x", None),
            ("alias.*=!", "alias.a.b", "!rm x", Some("rm x")),
            ("alias.*=!", "alias.a", "log", None),
            ("alias.* -> git ", "alias.a", "log", Some("git log")),
            ("diff.*.command", "diff.x.command", "rm", Some("rm")),
            ("diff.*.command", "diff.x.textconv", "rm", None),
            ("helper=/ -> /", "helper", "/bin/rm x", Some("/bin/rm x")),
        ] {
            assert_eq!(
                Setting::from(setting.to_owned()).code(name, value).as_deref(),
                said,
                "{setting}: {name}={value}"
            );
        }
    }

    #[test]
    fn an_option_may_be_a_text() {
        for (text, forms, value) in [
            ("-q --quiet", ["-q", "--quiet"].as_slice(), Arity::None),
            ("-n --lines=", &["-n", "--lines"], Arity::Required),
            ("--color=?", &["--color"], Arity::Optional),
            ("-?", &["-?"], Arity::None),
        ] {
            let entry = toml::from_str::<Entry>(&format!("name = \"x\"\noptions = [\"{text}\"]"));
            let read =
                entry.map(|entry| entry.options.into_iter().map(|option| (option.forms, option.value)).collect());
            let expected = vec![(forms.iter().map(|form| (*form).to_owned()).collect(), value)];
            assert_eq!(read, Ok::<Vec<(Vec<String>, Arity)>, _>(expected), "{text}");
        }
    }

    #[test]
    fn a_table_is_found_by_each_of_its_names() {
        assert!(NAMES.is_sorted());
        for table in 0..FILES.len() {
            let entry = entry(table).unwrap();
            for name in entry.aliases.iter().chain([&entry.name]) {
                assert!(std::ptr::eq(find(name).unwrap().unwrap(), entry), "{name}");
            }
        }
        let names = FILES.iter().enumerate().map(|(table, _)| entry(table).unwrap().aliases.len() + 1);
        assert_eq!(names.sum::<usize>(), NAMES.len());
        assert!(find("no-such-program").unwrap().is_none());
    }

    #[test]
    fn the_tables_of_this_build_are_well_formed() {
        for table in 0..FILES.len() {
            assert_eq!(entry(table).err(), None);
        }
    }
}
