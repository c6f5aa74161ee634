//! `audit`: the record, from outside. One file per verb.

mod export;
mod key;
mod prove;
mod replay;
mod show;
mod verify;

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use palisade_audit::Filter;
use palisade_runner::control::{may_read_record, user_name};
use serde_json::Value;
pub(crate) use show::{filter, plain};

use crate::cli::args::{Audit, AuditAction, Context};
use crate::cli::exit::Exit;
use crate::cli::report::{self, CliError, complain};
use crate::config::{self, Authored};

pub(crate) fn run(args: &Audit) -> Result<Exit, CliError> {
    match &args.action {
        AuditAction::Verify(args) => verify::run(args),
        AuditAction::Show(args) => show::run(args),
        AuditAction::Replay(args) => replay::run(args),
        AuditAction::Export(args) => export::run(args),
        AuditAction::Key(args) => key::run(args),
        AuditAction::Prove(args) => prove::run(args),
    }
}

/// Asks policy whether the user who runs this may read the record there; if not, that has been told.
pub(crate) fn may_read(path: &Path, config: Option<&Path>) -> Result<bool, CliError> {
    let about = path.metadata().map_err(|error| unreadable(path, &error))?;
    let flags = Context { config: config.map(Path::to_owned), ..Context::default() };
    let engine = Authored::running(&flags)?.engine_for(&flags)?;
    let (user, owner) = (config::os_user(), user_name(about.uid()));
    let authority = may_read_record(&engine, &config::people(&flags)?, &config::zone(&flags)?, &user, &owner);
    if !authority.allowed {
        let policies = authority.policies.join(", ");
        let policies = if policies.is_empty() { String::new() } else { format!(" ({policies})") };
        let what = format!("policy does not let `{user}` observe the record of `{owner}`: {}{policies}", authority.why);
        CliError::new(what, "roles are given to people in the settings, under `people`").print();
    }
    Ok(authority.allowed)
}

/// Why a record cannot be looked at. Before the first command there is none.
fn unreadable(path: &Path, error: &std::io::Error) -> CliError {
    let name = path.display();
    if error.kind() == std::io::ErrorKind::NotFound {
        let help =
            "nothing has run yet, or the record is elsewhere: `audit.path` in the settings, or a path behind the verb";
        return CliError::new(format!("there is no record in `{name}`"), help);
    }
    CliError::new(format!("cannot read `{name}`: {error}"), "")
}

/// The files of each chain, oldest first, or the one file.
pub(crate) fn files(path: &Path) -> Result<Vec<Vec<PathBuf>>, CliError> {
    if !path.metadata().map_err(|error| unreadable(path, &error))?.is_dir() {
        return Ok(vec![vec![path.to_owned()]]);
    }
    let chains = palisade_audit::chains(path).map_err(|error| unreadable(path, &error))?;
    Ok(chains.iter().map(|chain| chain.files().map(Path::to_owned).collect()).collect())
}

/// The record that a line is: an object that says which kind it is.
pub(crate) fn record(line: &[u8]) -> Option<Value> {
    serde_json::from_slice::<Value>(line).ok().filter(|value| !palisade_audit::kind(value).is_empty())
}

/// The kinds of records that there are, to name the one that is meant.
const KINDS: [&str; 25] = [
    "start",
    "open",
    "decision",
    "approval",
    "kill",
    "forget",
    "unlearn",
    "outcome",
    "input",
    "signal",
    "denial",
    "execution",
    "login",
    "connect",
    "checkpoint",
    "restore",
    "checkpoint_prune",
    "discard",
    "close",
    "policy_reload",
    "head",
    "rotate",
    "prune",
    "stop",
    "recovered",
];

/// What of a filter a record knows at all.
#[derive(Default)]
struct FilterMatches {
    records: u64,
    kept: u64,
    kinds: BTreeSet<String>,
    agents: BTreeSet<String>,
    users: BTreeSet<String>,
    policies: BTreeSet<String>,
    session: bool,
}

impl FilterMatches {
    /// Takes notice of a record.
    fn note(&mut self, record: &Value, filter: &Filter) {
        self.records += 1;
        let text = |key: &str| record.get(key).and_then(Value::as_str);
        self.session |=
            filter.session.is_some() && ["session", "shell"].iter().any(|key| text(key) == filter.session.as_deref());
        if !self.kinds.contains(palisade_audit::kind(record)) {
            self.kinds.insert(palisade_audit::kind(record).to_owned());
        }
        for (place, names) in [("/who/agent", &mut self.agents), ("/who/user", &mut self.users)] {
            let name = record.pointer(place).and_then(Value::as_str);
            names.extend(name.filter(|name| !names.contains(*name)).map(str::to_owned));
        }
        if filter.policy.is_some() {
            let policies = palisade_audit::policies(record).filter(|policy| !self.policies.contains(*policy));
            let policies: Vec<String> = policies.map(str::to_owned).collect();
            self.policies.extend(policies);
        }
    }

    /// Says on standard error that no record fits the filter, and which of its names no record has: silence could be taken for a clean slate.
    fn tell_of_none(&self, filter: &Filter) {
        if self.kept > 0 || *filter == Filter::default() {
            return;
        }
        let named = [("agent", &filter.agent, &self.agents), ("user", &filter.user, &self.users)];
        let named = named.into_iter().chain([("policy", &filter.policy, &self.policies)]);
        let unknown = named.filter_map(|(what, name, known)| {
            let name = name.as_ref().filter(|name| !known.contains(*name))?;
            let near = palisade_engine::nearest_name(name, known.iter().map(String::as_str));
            let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            Some(format!(": none names the {what} `{name}`{near}"))
        });
        let unknown: String = unknown.collect();
        complain(&format!("note: no record fits these filters{}\n", report::one_line(&unknown)));
    }

    /// That there are records, and that the session and the kinds which the filter names exist.
    fn check(&self, path: &Path, filter: &Filter) -> Result<(), CliError> {
        if self.records == 0 {
            return Err(no_record(path));
        }
        if let Some(session) = filter.session.as_ref().filter(|_| !self.session) {
            let what = format!("no session `{session}` is on record in `{}`", path.display());
            return Err(CliError::new(what, "`palisade audit show` lists the sessions"));
        }
        let known = |kind: &&String| self.kinds.contains(*kind) || KINDS.contains(&kind.as_str());
        if let Some(kind) = filter.kinds.iter().find(|kind| !known(kind)) {
            let near = KINDS.iter().find(|known| kind.starts_with(**known) || known.starts_with(kind.as_str()));
            let help = near.map_or_else(
                || format!("the kinds are {}", KINDS.join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            return Err(CliError::new(format!("`--kind` is `{kind}`, and there is no such kind of record"), help));
        }
        Ok(())
    }
}

/// That no line of a file or directory is a record.
pub(crate) fn no_record(path: &Path) -> CliError {
    let help = "a record is a file that ends in `.jsonl`; `palisade audit verify` says whether one holds";
    CliError::new(format!("there is no record in `{}`", path.display()), help)
}
