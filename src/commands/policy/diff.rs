//! `policy diff`: which decisions change from one policy set to another.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use palisade_engine::{Cases, Decision};
use palisade_runner::dry_run::{self, Case};
use palisade_runner::{Explained, Settings};
use serde_json::{Value, json};

use crate::args::{Context, PolicyDiff, PolicySet};
use crate::config::{Authored, Chosen};
use crate::exit::Exit;
use crate::report::{self, Trouble};
use crate::{commands, config};

/// One command whose decision or whose policies change.
struct Change {
    what: String,
    command: String,
    old: Answer,
    new: Answer,
}

#[derive(Clone, PartialEq, Eq)]
struct Answer {
    decision: Decision,
    policies: Vec<String>,
}

/// What was compared.
#[derive(Default)]
struct Comparison {
    compared: usize,
    /// Commands of a record that were redacted: nobody knows any more what they were.
    skipped: usize,
    changes: Vec<Change>,
}

pub(crate) fn run(args: &PolicyDiff) -> Result<Exit, Trouble> {
    let (old, new) = (chosen(&args.old), chosen(&args.new));
    let comparison = match &args.replay {
        Some(record) => replay(args, &old, &new, record)?,
        None => over_cases(args, &old, &new)?,
    };
    let text = if args.json { commands::json(&machine(&comparison))? } else { human(&comparison) };
    report::print(&text);
    let decided = comparison.changes.iter().any(|change| change.old.decision != change.new.decision);
    Ok(if decided { Exit::Findings } else { Exit::Fine })
}

/// A profile's name, or a path.
fn chosen(path: &Path) -> Chosen {
    let name = path.to_string_lossy();
    let is_profile = palisade_policies::PROFILES.iter().any(|(profile, _)| *profile == name);
    if is_profile && !path.exists() { Chosen::Profile(name.into_owned()) } else { Chosen::Files(path.to_owned()) }
}

/// The cases of both sets, each judged by both.
fn over_cases(args: &PolicyDiff, old: &Chosen, new: &Chosen) -> Result<Comparison, Trouble> {
    let set = PolicySet { config: args.config.clone(), ..PolicySet::default() };
    let authored = Authored::of(&set)?;
    let (old, new) = (authored.with(old.clone()), authored.with(new.clone()));
    let mut files: Vec<Cases> = old.cases()?;
    files.extend(new.cases()?);
    let mut comparison = Comparison::default();
    let mut seen = std::collections::BTreeSet::new();
    for file in &files {
        let (before, after) = (old.engine(file.home())?, new.engine(file.home())?);
        for case in file.cases() {
            let (before, after) = (case.judge(&before), case.judge(&after));
            let answer = |report: &palisade_engine::Report| Answer {
                decision: report.decision,
                policies: report.policies().into_iter().collect(),
            };
            // Both directories may hold the same case.
            if seen.insert((case.name().to_owned(), case.text(), format!("{before:?}"))) {
                comparison.add(case.name(), &case.text(), answer(&before), answer(&after));
            }
        }
    }
    Ok(comparison)
}

/// The commands that a record holds, each judged by both in the settings' own workspace.
fn replay(args: &PolicyDiff, old: &Chosen, new: &Chosen, record: &Path) -> Result<Comparison, Trouble> {
    let settings = |chosen: &Chosen| -> Result<Settings, Trouble> {
        let mut flags = Context { config: args.config.clone(), ..Context::default() };
        match chosen {
            Chosen::Profile(name) => flags.profile = Some(name.clone()),
            Chosen::Files(path) => flags.policies = Some(path.clone()),
        }
        Ok(config::load_for_check(&flags)?)
    };
    let (old, new) = (settings(old)?, settings(new)?);
    let text = std::fs::read_to_string(record)
        .map_err(|error| Trouble::new(format!("cannot read `{}`: {error}", record.display()), ""))?;
    let mut comparison = Comparison::default();
    for (index, line) in text.lines().enumerate() {
        let line: Value = serde_json::from_str(line)
            .map_err(|error| Trouble::new(format!("{}:{}: {error}", record.display(), index + 1), ""))?;
        if line.get("kind").and_then(Value::as_str) != Some("decision") {
            continue;
        }
        let Some(command) = command(&line) else {
            comparison.skipped += 1;
            continue;
        };
        let (before, after) = (judge(&old, &line, &command), judge(&new, &line, &command));
        comparison.add(&format!("line {}", index + 1), &command, answer(&before), answer(&after));
    }
    Ok(comparison)
}

/// The command's text, unless something in it was redacted or left out.
fn command(line: &Value) -> Option<String> {
    let text = line.get("cmd")?.as_str()?;
    (!text.contains("[redacted:")).then(|| text.to_owned())
}

fn judge(settings: &Settings, line: &Value, command: &str) -> Explained {
    let mut case = Case::of(settings);
    let text = |pointer: &str| line.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    if let Some(cwd) = text("/cwd") {
        // A directory that the record does not tell leaves the settings' own.
        let _ = case.set_cwd(&cwd);
    }
    case.agent = text("/who/agent").unwrap_or(case.agent);
    case.user = text("/who/user").unwrap_or(case.user);
    if let Some(roles) = line.pointer("/who/roles").and_then(Value::as_array) {
        case.roles = roles.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    }
    if let Some(transport) = text("/transport/kind") {
        case.set_transport(&transport, text("/transport/target").as_deref());
    }
    case.script = command.as_bytes().to_vec();
    dry_run::judge(settings, &case)
}

fn answer(explained: &Explained) -> Answer {
    let mut policies: Vec<String> = match explained.decision {
        Decision::Allow => {
            let determining = explained.requests.iter().flat_map(|request| &request.determining);
            determining.map(ToString::to_string).collect()
        }
        Decision::Ask | Decision::Deny => explained.reasons.iter().map(|reason| reason.policy.to_string()).collect(),
    };
    policies.retain(|policy| !policy.is_empty());
    policies.sort();
    policies.dedup();
    Answer { decision: explained.decision, policies }
}

impl Comparison {
    fn add(&mut self, what: &str, command: &str, old: Answer, new: Answer) {
        self.compared += 1;
        if old != new {
            self.changes.push(Change { what: what.to_owned(), command: command.to_owned(), old, new });
        }
    }
}

impl Change {
    /// The policies that one side names and the other does not.
    fn causes(&self) -> Vec<String> {
        let only = |a: &Answer, b: &Answer, sign: &str| -> Vec<String> {
            let missing = a.policies.iter().filter(|policy| !b.policies.contains(policy));
            missing.map(|policy| format!("{sign}{policy}")).collect()
        };
        let mut causes = only(&self.old, &self.new, "- ");
        causes.extend(only(&self.new, &self.old, "+ "));
        if causes.is_empty() { vec!["(no policy)".to_owned()] } else { causes }
    }
}

fn human(comparison: &Comparison) -> String {
    let mut groups: BTreeMap<String, Vec<&Change>> = BTreeMap::new();
    for change in comparison.changes.iter().filter(|change| change.old.decision != change.new.decision) {
        groups.entry(change.causes().join(", ")).or_default().push(change);
    }
    let mut text = String::new();
    for (policies, changes) in &groups {
        let _ = writeln!(text, "{policies}");
        for change in changes {
            let (old, new) = (change.old.decision.as_str(), change.new.decision.as_str());
            let _ = writeln!(text, "  {old} → {new}  {}  ({})", report::one_line(&change.command), change.what);
        }
    }
    let changed: usize = groups.values().map(Vec::len).sum();
    let others = comparison.changes.len() - changed;
    let _ = writeln!(
        text,
        "{} compared, {changed} decided otherwise, {others} for other reasons, {} left out",
        comparison.compared, comparison.skipped
    );
    text
}

fn machine(comparison: &Comparison) -> Value {
    let side = |answer: &Answer| json!({ "decision": answer.decision, "policies": answer.policies });
    let changes: Vec<_> = comparison
        .changes
        .iter()
        .map(|change| {
            json!({ "what": change.what, "command": change.command, "old": side(&change.old), "new": side(&change.new),
                    "causes": change.causes() })
        })
        .collect();
    json!({ "compared": comparison.compared, "skipped": comparison.skipped, "changes": changes })
}
