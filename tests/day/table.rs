//! The tables beside this file: what a workflow begins with, and its steps.

use std::fs;

use serde::Deserialize;

use crate::support::world::repository;

/// One hour of work.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Workflow {
    pub(super) name: String,
    /// The file that it is in, without its ending.
    #[serde(skip)]
    pub(super) table: String,
    /// What is special about it, for people who read the table.
    #[serde(default)]
    #[expect(dead_code, reason = "for people")]
    about: String,
    /// A directory below what `fetch` has fetched; its files are the workspace's.
    pub(super) from: Option<String>,
    /// A script that prepares the workspace, before anything else and without Palisade.
    #[serde(default)]
    pub(super) setup: String,
    /// Whether the workspace becomes a repository with everything in it committed.
    #[serde(default)]
    pub(super) git: bool,
    /// Whether the steps need one shell: such a workflow has no way by `run`.
    #[serde(default)]
    pub(super) session: bool,
    /// Directories in front of the usual PATH; `~` is the home.
    #[serde(default)]
    pub(super) path: Vec<String>,
    /// Programs that have to be installed.
    #[serde(default)]
    pub(super) programs: Vec<String>,
    /// A file that a machine may have and that nothing installs; without it the workflow is not run.
    #[serde(rename = "if-there")]
    pub(super) if_there: Option<String>,
    /// Whether it is run as an ordinary user besides, where the tests are root's.
    #[serde(default)]
    pub(super) ordinary: bool,
    pub(super) steps: Vec<Step>,
}

/// One command line, and what has to be seen afterwards.
#[derive(Debug, Default, Deserialize)]
#[serde(from = "Written")]
pub(super) struct Step {
    pub(super) run: String,
    /// Texts that its output holds.
    pub(super) prints: Vec<String>,
    /// It ends with another status than 0, and not because something could not be started.
    pub(super) fails: bool,
    /// A person has to be asked.
    pub(super) asks: bool,
    /// It is refused, before or while it runs: there is something to protect.
    pub(super) denied: bool,
    /// Why it does not pass, for the time being.
    pub(super) left: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Plain(String),
    Told(Told),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    run: String,
    #[serde(default)]
    prints: String,
    #[serde(default)]
    fails: bool,
    #[serde(default)]
    asks: bool,
    #[serde(default)]
    denied: bool,
    left: Option<String>,
}

impl From<Written> for Step {
    fn from(written: Written) -> Self {
        match written {
            Written::Plain(run) => Self::plain(&run),
            Written::Told(told) => Self {
                run: told.run,
                prints: Some(told.prints).filter(|text| !text.is_empty()).into_iter().collect(),
                fails: told.fails,
                asks: told.asks,
                denied: told.denied,
                left: told.left,
            },
        }
    }
}

impl Step {
    /// One that has to succeed.
    pub(super) fn plain(run: &str) -> Self {
        Self { run: run.to_owned(), ..Self::default() }
    }

    /// Whether plain bash can show anything of it.
    pub(super) fn is_bare(&self) -> bool {
        !self.asks && !self.denied
    }
}

/// Every workflow of every table.
pub(super) fn all() -> Vec<Workflow> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Table {
        workflow: Vec<Workflow>,
    }
    let directory = repository().join("tests/day");
    let entries = fs::read_dir(&directory).expect("the tables").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<_> = entries.filter(|file| file.extension().is_some_and(|ending| ending == "toml")).collect();
    files.sort();
    let read = |file: &std::path::PathBuf| {
        let text = fs::read_to_string(file).expect("a table");
        let table: Table = toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let name = file.file_stem().expect("a name").to_string_lossy().into_owned();
        table.workflow.into_iter().map(move |workflow| Workflow { table: name.clone(), ..workflow }).collect::<Vec<_>>()
    };
    files.iter().flat_map(read).collect()
}
