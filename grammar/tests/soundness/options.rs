//! Every option that a program table knows, tried on the real program.
//!
//! A table that is wrong about what an option takes hides a word from the inventory, or makes a program of one. Each option
//! is put into an example of its own table, in every way that it can be written.

use serde::Deserialize;

use crate::cage::REAL;

/// One file of `programs/`, as far as it matters here.
#[derive(Deserialize)]
pub(crate) struct Table {
    name: String,
    #[serde(default)]
    options: Vec<Opt>,
    #[serde(default)]
    subcommands: Vec<Subcommand>,
    pub(crate) example: Vec<Example>,
}

#[derive(Deserialize)]
struct Subcommand {
    name: String,
    #[serde(default)]
    options: Vec<Opt>,
}

#[derive(Deserialize)]
#[serde(from = "Written")]
struct Opt {
    forms: Vec<String>,
    value: Arity,
}

/// An option as it is written: a text where it touches nothing.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Text(String),
    Table {
        forms: Vec<String>,
        #[serde(default)]
        value: Arity,
    },
}

impl From<Written> for Opt {
    fn from(written: Written) -> Self {
        let text = match written {
            Written::Table { forms, value } => return Self { forms, value },
            Written::Text(text) => text,
        };
        let optional = text.strip_suffix("=?").map(|forms| (forms, Arity::Optional));
        let required = || text.strip_suffix('=').map(|forms| (forms, Arity::Required));
        let (forms, value) = optional.or_else(required).unwrap_or((text.as_str(), Arity::None));
        Self { forms: forms.split(' ').map(str::to_owned).collect(), value }
    }
}

#[derive(Clone, Copy, Default, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Arity {
    #[default]
    None,
    Optional,
    Required,
    Pair,
}

#[derive(Deserialize)]
pub(crate) struct Example {
    pub(crate) script: String,
}

/// All scripts of a table whose program is a real one.
pub(crate) fn scripts(table: &Table) -> Vec<String> {
    if !REAL.lines().any(|real| real == table.name) {
        return Vec::new();
    }
    let own = with(&table.name, &table.options, &table.example);
    let below = table.subcommands.iter().flat_map(|subcommand| {
        with(&format!("{} {}", table.name, subcommand.name), &subcommand.options, &table.example)
    });
    own.into_iter().chain(below).collect()
}

/// Examples that call `program`, with each option put right behind it.
fn with(program: &str, options: &[Opt], examples: &[Example]) -> Vec<String> {
    let call = format!("{program} ");
    let begins =
        |script: &str, at: usize| script.get(..at).is_some_and(|before| before.is_empty() || before.ends_with("| "));
    let calls = examples.iter().filter_map(|example| {
        let at = example.script.find(&call).filter(|at| begins(&example.script, *at))?;
        example.script.split_at_checked(at + call.len())
    });
    let written: Vec<String> = options.iter().flat_map(ways).collect();
    let put = |(before, behind): (&str, &str)| {
        let (before, behind) = (before.to_owned(), behind.to_owned());
        written.iter().map(move |option| format!("{before}{option} {behind}")).collect::<Vec<_>>()
    };
    calls.flat_map(put).collect()
}

fn ways(option: &Opt) -> Vec<String> {
    let plain = option.forms.iter().filter(|form| !form.contains('*'));
    plain.flat_map(|form| ways_of(form, option.value)).collect()
}

/// `-o`, `-o value`, `-ovalue`, `--option=value`: those that the table allows.
fn ways_of(form: &str, value: Arity) -> Vec<String> {
    let joint = if form.starts_with("--") { "=" } else { "" };
    let attached = VALUES.iter().map(|value| format!("{form}{joint}{value}"));
    let apart = VALUES.iter().map(|value| format!("{form} {value}"));
    match value {
        Arity::None => vec![form.to_owned()],
        Arity::Optional => std::iter::once(form.to_owned()).chain(attached).collect(),
        Arity::Pair => VALUES.iter().map(|value| format!("{form} x {value}")).collect(),
        Arity::Required => apart.chain(attached).collect(),
    }
}

/// Something for a number, for a file that is there, for one that is not, and for a directory.
const VALUES: [&str; 4] = ["1", "a.txt", "new", "dir"];
