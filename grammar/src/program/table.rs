//! What is known about programs: the schema of `programs/*.toml`, and the tables themselves.
//!
//! This file decides what a table may say and refuses the rest: an unknown key, role or group of keys is an error. If
//! any table is malformed no command is vouched for.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use serde::Deserialize;

use crate::inventory::OpaqueReason;

/// `(file name, text)` of every table; `build.rs` lists the folder.
const FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/programs.rs"));

/// Every table, by program name and alias.
pub(crate) struct Tables {
    by_name: HashMap<String, Entry>,
}

impl Tables {
    /// The tables of this build, or what is wrong with them.
    pub(crate) fn shared() -> Result<&'static Self, &'static str> {
        static TABLES: LazyLock<Result<Tables, String>> = LazyLock::new(|| Tables::parse(FILES));
        TABLES.as_ref().map_err(String::as_str)
    }

    /// Every table, by program name and alias.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.by_name.iter().map(|(name, entry)| (name.as_str(), entry))
    }

    /// The table of a program.
    pub(crate) fn find(&self, name: &str) -> Option<&Entry> {
        self.by_name.get(name)
    }

    fn parse(files: &[(&str, &str)]) -> Result<Self, String> {
        let mut by_name = HashMap::new();
        for (file, text) in files {
            let mut entry: Entry = toml::from_str(text).map_err(|error| format!("{file}: {error}"))?;
            let complain = |error| format!("{file}: {error}");
            entry.share_options(&HashMap::new()).map_err(complain)?;
            entry.validate().map_err(complain)?;
            for name in entry.aliases.iter().chain([&entry.name]) {
                if by_name.insert(name.clone(), entry.clone()).is_some() {
                    return Err(format!("{file}: two tables say what `{name}` does"));
                }
            }
        }
        Ok(Self { by_name })
    }
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
    /// Whether the shell itself has it.
    pub(crate) builtin: Builtin,
    /// Groups of an invocation without anything special.
    pub(crate) groups: Vec<String>,
    /// Groups instead, once an operand is there.
    pub(crate) operand_groups: Option<Vec<String>>,
    /// Groups instead, if its code cannot be vouched for.
    pub(crate) code_groups: Option<Vec<String>>,
    pub(crate) options: Vec<Opt>,
    /// Options of `option-sets` that it has as well.
    pub(crate) uses: Vec<String>,
    /// Options that several subcommands have.
    pub(crate) option_sets: HashMap<String, Vec<Opt>>,
    /// What each operand is, by position.
    pub(crate) operands: Vec<Slot>,
    /// Operands that mean what an option says (`git push origin +main` is a forced push).
    pub(crate) operand_flags: Vec<OperandFlag>,
    /// Only these operands are known; a trailing `*` stands for anything.
    pub(crate) operand_values: Vec<String>,
    /// Words that are operators of the program's own (`(` in find).
    pub(crate) ignore: Vec<String>,
    /// The operand that is meant if none is there.
    pub(crate) implicit: Option<String>,
    /// What it always touches.
    pub(crate) effects: Vec<Implied>,
    pub(crate) unknown_option: Unknown,
    /// It has no options at all: every word is an operand.
    pub(crate) plain: bool,
    /// GNU: a long option may be cut short as long as it stays unique.
    pub(crate) abbreviations: bool,
    /// `-rf` is `-r -f`.
    pub(crate) clusters: bool,
    /// Options may stand behind operands.
    pub(crate) permute: bool,
    /// `-5` is an option that takes no value.
    pub(crate) numeric: bool,
    /// Options may begin with `+`.
    pub(crate) plus: bool,
    /// The first word may be options without a dash (`tar xzf`).
    pub(crate) bundled: bool,
    /// `-` is standard input or output, not a file.
    pub(crate) dash_is_stdio: bool,
    /// `NAME=value` operands come first.
    pub(crate) leading_assignments: bool,
    /// The command it runs gets more words than are written.
    pub(crate) appends: bool,
    /// The command it runs is looked up by the shell.
    pub(crate) runs_builtins: bool,
    pub(crate) stdin: Stdin,
    /// It is always opaque.
    pub(crate) opaque: Option<OpaqueReason>,
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
            builtin: Builtin::No,
            groups: Vec::new(),
            operand_groups: None,
            code_groups: None,
            options: Vec::new(),
            uses: Vec::new(),
            option_sets: HashMap::new(),
            operands: Vec::new(),
            operand_flags: Vec::new(),
            operand_values: Vec::new(),
            ignore: Vec::new(),
            implicit: None,
            effects: Vec::new(),
            unknown_option: Unknown::Opaque,
            plain: false,
            abbreviations: false,
            clusters: true,
            permute: true,
            numeric: false,
            plus: false,
            bundled: false,
            dash_is_stdio: false,
            leading_assignments: false,
            appends: false,
            runs_builtins: false,
            stdin: Stdin::Data,
            opaque: None,
            check: None,
            directory: None,
            port: None,
            subcommands: Vec::new(),
            example: Vec::new(),
        }
    }
}

impl Entry {
    /// Copies the shared options to where they are used.
    fn share_options(&mut self, outer: &HashMap<String, Vec<Opt>>) -> Result<(), String> {
        let sets = if self.option_sets.is_empty() { outer.clone() } else { std::mem::take(&mut self.option_sets) };
        for set in &self.uses {
            let shared = sets.get(set).ok_or_else(|| format!("no option set is called `{set}`"))?;
            self.options.extend(shared.iter().cloned());
        }
        self.subcommands.iter_mut().try_for_each(|subcommand| subcommand.share_options(&sets))
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
                && option.role != Role::CommandUntil
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
        let mut names = HashSet::new();
        let subcommands = self.subcommands.iter().flat_map(|entry| entry.aliases.iter().chain([&entry.name]));
        if let Some(twice) = subcommands.into_iter().find(|name| !names.insert(name.as_str())) {
            return Err(format!("`{name}`: the subcommand `{twice}` stands twice"));
        }
        self.subcommands.iter().try_for_each(Self::validate)
    }

    /// The subcommand of this name.
    pub(crate) fn subcommand(&self, name: &str) -> Option<&Self> {
        self.subcommands.iter().find(|entry| entry.name == name || entry.aliases.iter().any(|alias| alias == name))
    }

    /// Options whose mere presence can matter: one of them may hide in a computed word.
    pub(crate) fn tree_options(&self) -> bool {
        self.options.iter().any(|option| option.tree)
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
    /// Read if no operand is there.
    pub(crate) implicit: Option<String>,
    /// What it touches by itself.
    pub(crate) effects: Vec<Implied>,
    /// The table's own `effects` do not happen.
    pub(crate) instead: bool,
    /// Standard input is no code any more.
    pub(crate) code_given: bool,
    /// The command it runs does not run here (`-execdir`).
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
        self.also.is_some() || self.opaque.is_some() || !self.effects.is_empty() || self.role.acts()
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
    Write,
    WriteTree,
    Delete,
    DeleteTree,
    ReadWrite,
    /// A file that is read or written before the program changes its directory; `host:file` is remote (tar).
    Archive,
    /// The source of a rename: read and deleted with all below it.
    Move,
    /// Replaced by a file of a similar name (gzip).
    Replace,
    /// What a new link leads to: whoever uses the link reaches it.
    LinkTarget,
    /// `@file` is read, anything else is data (curl -d).
    AtFile,
    /// The program changes there before it does anything else.
    Cwd,
    Url,
    /// A peer, with the table's port.
    Host,
    Port,
    /// A local file that is read, or a remote one (scp, rsync).
    Source,
    /// A local file that is written, or a remote one.
    Destination,
    /// A git remote: a URL, `host:path`, or a configured name.
    Remote,
    /// Every further word is a command to run.
    Command,
    /// The words up to `;` or `{} +` are a command to run.
    CommandUntil,
    /// The word that stands for what is appended.
    Placeholder,
    /// Code of this shell.
    ShellCode,
    /// Code of a shell that may be another one: read only as far as all agree.
    PosixShellCode,
    /// Code of another language.
    Code,
    Awk,
    Sed,
    Jq,
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
        )
    }

    /// It can change or run something, or reach the network.
    pub(crate) fn acts(self) -> bool {
        !matches!(
            self,
            Self::Data | Self::Read | Self::ReadTree | Self::Cwd | Self::Port | Self::Placeholder | Self::Jq
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
}

/// What a builtin does to the shell's working directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum DirectoryRole {
    Cd,
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
    /// Flags of the first command.
    pub(crate) flags: Option<Vec<String>>,
    /// Groups of the first command.
    pub(crate) groups: Option<Vec<String>>,
    /// Reasons of all opaque items in order.
    pub(crate) opaque: Vec<OpaqueReason>,
}

/// Each table as it is written.
#[cfg(test)]
pub(crate) fn each_file() -> impl Iterator<Item = (&'static str, Result<Entry, toml::de::Error>)> {
    FILES.iter().map(|(file, text)| (*file, toml::from_str(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_malformed_table_is_refused() {
        for (text, complaint) in [
            ("name = \"x\"\ngruops = []", "gruops"),
            ("name = \"x\"\noperands = [\"raed\"]", "raed"),
            ("name = \"x\"\noptions = [{ forms = [\"-a\"], valeu = \"required\" }]", "valeu"),
            ("name = \"x\"\nuses = [\"none\"]", "none"),
            ("name = \"x\"\naliases = [\"x\"]", "two tables"),
            ("about = \"x\"", "without a name"),
            ("name = \"x\"\noptions = [{ forms = [\"-a\"] }, { forms = [\"-b\", \"-a\"] }]", "`-a` stands twice"),
            ("name = \"x\"\noptions = [{ forms = [\"-a\"], role = \"read\" }]", "no value"),
            ("name = \"x\"\nunknown-option = \"flag\"\noptions = [{ forms = [\"-a\"], also = \"write\" }]", "acts"),
            ("name = \"x\"\noperands = [\"read...\", \"data...\"]", "repeat"),
            ("name = \"x\"\n[[subcommands]]\nname = \"a\"\n[[subcommands]]\nname = \"a\"", "`a` stands twice"),
        ] {
            let error = Tables::parse(&[("x.toml", text)]).err().unwrap_or_default();
            assert!(error.contains(complaint), "{text}: {error}");
        }
    }

    #[test]
    fn the_tables_of_this_build_are_well_formed() {
        assert_eq!(Tables::shared().err(), None);
    }
}
