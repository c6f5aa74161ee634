//! `doctor --try`: everyday steps on this machine, under the settings that hold, in a workspace of their own.
//!
//! Each step takes the way of `run`: it is judged, recorded, sandboxed and guarded like an agent's command. `trials.toml` has the steps.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use palisade_runner::overlay::Entered;
use palisade_runner::{Call, DeniedProgram, ExecResult, Explained, ExplainedReason, Outcome, Pipeline, Status};
use serde::{Deserialize, Serialize};

use crate::cli::args::Context;
use crate::cli::commands;
use crate::cli::report::{self, CliError};
use crate::config;

/// The steps.
const TRIALS: &str = include_str!("trials.toml");

/// How many names are tried for the workspace; others may have made some of them.
const NAMES: u32 = 16;

/// How much of a step's error output is shown.
const SHOWN: usize = 200;

/// One step of the table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Trial {
    name: String,
    #[serde(default)]
    needs: Vec<String>,
    run: String,
    #[serde(default)]
    prints: String,
}

/// How one step went.
#[derive(Serialize)]
pub(super) struct Tried {
    name: String,
    command: String,
    state: TrialState,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    causes: Vec<Cause>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum TrialState {
    Works,
    Fails,
    /// This machine has no such program.
    Skipped,
}

/// Why a step fails, and what changes that.
#[derive(Clone, Serialize, PartialEq, Eq)]
struct Cause {
    /// The policy that stopped it; empty if none permits it, or if no policy did.
    #[serde(skip_serializing_if = "String::is_empty")]
    policy: String,
    /// Where the policy stands, `FILE:LINE`.
    #[serde(skip_serializing_if = "String::is_empty")]
    place: String,
    /// What was stopped, or what the step said last.
    what: String,
    /// A line of settings or policy.
    #[serde(skip_serializing_if = "String::is_empty")]
    change: String,
}

/// A directory of this process's own, gone with the value.
pub(super) struct Workspace(PathBuf);

impl Workspace {
    pub(super) fn new() -> Result<Self, CliError> {
        let parent = std::env::temp_dir();
        for number in 0..NAMES {
            let path = parent.join(format!("palisade-try-{}-{number}", std::process::id()));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => {
                    let text = format!("no workspace for the trial can be made in `{}`: {error}", parent.display());
                    return Err(CliError::new(text, "set TMPDIR to a directory that you may write to"));
                }
            }
        }
        let text = format!("`{}` holds directories of the names that the trial would take", parent.display());
        Err(CliError::new(text, "remove those whose name begins with `palisade-try-`"))
    }

    /// The same settings, for this workspace.
    pub(super) fn context(&self, given: &Context) -> Context {
        Context { workspace: Some(self.0.clone()), cwd: None, ..given.clone() }
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            report::complain(&format!("warning: `{}` is not removed: {error}\n", self.0.display()));
        }
    }
}

/// Runs every step in this workspace, or in a view of it where the settings ask for one.
///
/// # Errors
/// The settings cannot be used, or the record cannot be written.
pub(super) fn all(workspace: &Workspace, given: &Context, view: Option<Entered>) -> Result<Vec<Tried>, CliError> {
    let context = workspace.context(given);
    let settings = config::load_in(&context, "doctor", view)?;
    let real = fs::canonicalize(&workspace.0).unwrap_or_else(|_| workspace.0.clone());
    if Path::new(settings.surroundings.workspace.as_str()) != real {
        let help = "try it with a `--config` that leaves `workspace.path` out";
        return Err(CliError::new("the enforced settings name the workspace, and a trial needs one of its own", help));
    }
    let trials = trials()?;
    commands::runtime()?.block_on(async {
        let pipeline = Pipeline::open(settings)?;
        let mut tried = Vec::with_capacity(trials.len());
        for trial in trials {
            let one = one(&pipeline, trial).await;
            if one.is_err() {
                pipeline.shut_down().await?;
            }
            tried.push(one?);
        }
        pipeline.shut_down().await?;
        Ok(tried)
    })
}

fn trials() -> Result<Vec<Trial>, CliError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct TrialFile {
        trial: Vec<Trial>,
    }
    let table: TrialFile =
        toml::from_str(TRIALS).map_err(|error| CliError::new(format!("the table of trials: {error}"), ""))?;
    Ok(table.trial)
}

async fn one(pipeline: &Arc<Pipeline>, trial: Trial) -> Result<Tried, CliError> {
    let tried = |state: TrialState, causes: Vec<Cause>| Tried {
        name: trial.name.clone(),
        command: trial.run.clone(),
        state,
        causes,
    };
    if trial.needs.iter().any(|name| !is_installed(name)) {
        return Ok(tried(TrialState::Skipped, Vec::new()));
    }
    let call = Call { script: trial.run.as_bytes().to_vec(), ..Call::default() };
    let causes = match pipeline.submit(call).await? {
        Outcome::Ran(result) | Outcome::Running(result) => of_result(&result, &trial.prints),
        Outcome::Denied(refusal) => of_verdict(&refusal.explained),
        Outcome::Ask(pending) => of_verdict(pending.explained()),
        Outcome::Unanswered(unanswered) => of_verdict(&unanswered.explained),
    };
    let state = if causes.is_empty() { TrialState::Works } else { TrialState::Fails };
    Ok(tried(state, causes))
}

fn is_installed(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(name).is_file())
}

/// Why a command that ran did not do what it should; nothing if it did.
fn of_result(result: &ExecResult, prints: &str) -> Vec<Cause> {
    let output = result.stdout.as_str();
    let is_met = result.status == Status::Done && result.exit_code == Some(0) && output.contains(prints);
    if is_met {
        return Vec::new();
    }
    let mut causes: Vec<Cause> = result.denied.iter().map(of_program).collect();
    causes.dedup();
    if causes.is_empty() {
        let text = result.stderr.as_str();
        let last = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it printed something else");
        let what: String = last.chars().take(SHOWN).collect();
        let change = result.hints.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        causes.push(Cause { policy: String::new(), place: String::new(), what, change });
    }
    causes
}

/// A program, or a connection, that was refused while the command ran.
fn of_program(denied: &DeniedProgram) -> Cause {
    let policy = denied.policy.to_string();
    let program = denied.program.as_str();
    let (what, setting) = if denied.peer.is_empty() {
        let directory = Path::new(program).parent().unwrap_or(Path::new("/")).display().to_string();
        let trusted = policy == "guard-unknown-binary";
        (program.to_owned(), trusted.then(|| format!("settings: sandbox.trusted = [\"{directory}\"]")))
    } else {
        let peer = denied.peer.as_str();
        let host = peer.rsplit_once(':').map_or(peer, |(host, _)| host);
        (denied.what(), Some(format!("settings: [groups.hosts] package-mirrors = [\"{host}\"]")))
    };
    let change = setting.unwrap_or_else(|| otherwise(&policy, denied.suggestion.as_str()));
    Cause { policy, place: String::new(), what, change }
}

/// What stopped a command before it ran.
fn of_verdict(explained: &Explained) -> Vec<Cause> {
    let mut causes: Vec<Cause> = Vec::new();
    for reason in &explained.reasons {
        let cause = of_reason(reason);
        // One line a policy: a person changes the policy, not each place where it holds.
        if !causes.iter().any(|known| known.policy == cause.policy) {
            causes.push(cause);
        }
    }
    causes
}

fn of_reason(reason: &ExplainedReason) -> Cause {
    let policy = reason.policy.to_string();
    let text = reason.text.as_str();
    let setting = match text.split_once(' ') {
        _ if !policy.is_empty() && !policy.starts_with("ask-") => None,
        Some(("read" | "execute", path)) => grant("granted-read", path),
        Some(("write" | "delete" | "metadata", path)) => grant("granted-write", path),
        _ => None,
    };
    let change = setting.unwrap_or_else(|| otherwise(&policy, reason.suggest.as_str()));
    Cause { place: reason.place.to_string(), what: report::one_line(text), policy, change }
}

/// A setting that gives a place to the agent, if the place is known.
fn grant(group: &str, path: &str) -> Option<String> {
    Path::new(path).is_absolute().then(|| format!("settings: [groups.paths] {group} = [\"{path}\"]"))
}

/// What to do where no setting does it.
fn otherwise(policy: &str, suggestion: &str) -> String {
    match (policy.is_empty(), suggestion.is_empty()) {
        (true, true) => "policy: a permit for it, in a policy set of your own (`policies = \"DIR\"`)".to_owned(),
        (_, false) => format!("instead: {suggestion}"),
        (false, true) => format!("policy: `{policy}`, in a policy set of your own (`policies = \"DIR\"`)"),
    }
}

/// Whether no step failed.
pub(super) fn is_fine(tried: &[Tried]) -> bool {
    tried.iter().all(|one| one.state != TrialState::Fails)
}

/// A line a step, and its causes below it.
pub(super) fn page(tried: &[Tried]) -> String {
    let mut text = String::new();
    for one in tried {
        let word = match one.state {
            TrialState::Works => "works",
            TrialState::Fails => "fails",
            TrialState::Skipped => "skipped",
        };
        text.push_str(&format!("{word:8} {}\n", one.name));
        for cause in &one.causes {
            let policy = match (cause.policy.is_empty(), cause.place.is_empty()) {
                (true, _) => String::new(),
                (false, true) => format!(" ({})", cause.policy),
                (false, false) => format!(" ({}, {})", cause.policy, cause.place),
            };
            text.push_str(&format!("         {}{policy}\n", report::printable(&cause.what)));
            if !cause.change.is_empty() {
                text.push_str(&format!("           {}\n", report::printable(&cause.change)));
            }
        }
    }
    let failed = tried.iter().filter(|one| one.state == TrialState::Fails).count();
    match failed {
        0 => text.push_str("everything works\n"),
        _ => text.push_str(&format!("{failed} of {} steps fail\n", tried.len())),
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read() {
        let trials = trials().map_err(|_| "unreadable");
        assert!(trials.is_ok_and(|trials| trials.len() >= 12));
    }

    #[test]
    fn a_cause_names_a_line() {
        assert_eq!(
            grant("granted-read", "/srv/x").as_deref(),
            Some("settings: [groups.paths] granted-read = [\"/srv/x\"]")
        );
        assert_eq!(grant("granted-read", "$X"), None);
        assert_eq!(otherwise("p", ""), "policy: `p`, in a policy set of your own (`policies = \"DIR\"`)");
        assert_eq!(otherwise("p", "Do this."), "instead: Do this.");
    }
}
