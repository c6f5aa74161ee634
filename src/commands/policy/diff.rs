//! `policy diff`: which decisions change from one policy set to another.
//!
//! A record holds commands and decisions, not the machine that they were decided on. What cannot be judged again is left
//! out and said to be, and so is every command that the old set, by its digest, decided otherwise then.

use std::collections::{BTreeMap, BTreeSet};
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
    changes: Vec<Change>,
    replay: Option<Replay>,
}

/// How far a record could be replayed.
#[derive(Default)]
struct Replay {
    /// Lines whose command nobody knows any more, and why.
    left_out: Vec<(usize, &'static str)>,
    /// Lines that the old set decided otherwise at the time.
    unlike: Vec<Unlike>,
    /// Decisions of other sets than the old one: nothing to compare the replay with.
    other_sets: usize,
}

/// A decision on record that the same policies do not repeat today.
struct Unlike {
    line: usize,
    command: String,
    recorded: String,
    judged: Decision,
}

/// What a replay takes the place of the facts of the time with.
pub(crate) const REPLAYED: &str = "Each command was judged as the first of a fresh session in the workspace of the settings, on the files, links and \
     programs that are here now, at this hour; what earlier commands of its session had set, started or left behind is not on record.";

/// Scripts that a person said yes to, with their sessions.
#[derive(Default)]
pub(crate) struct Answers {
    asked: BTreeMap<String, (String, String)>,
    granted: BTreeSet<(String, String)>,
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
    let (old, new) = (authored.with(old.clone())?, authored.with(new.clone())?);
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
    let mut replay = Replay::default();
    let mut answers = Answers::default();
    let digest = old.engine.now().policy_set().trim_start_matches("sha256:").to_owned();
    for (index, line) in text.lines().enumerate() {
        let line: Value = serde_json::from_str(line)
            .map_err(|error| Trouble::new(format!("{}:{}: {error}", record.display(), index + 1), ""))?;
        answers.note(&line);
        if line.get("kind").and_then(Value::as_str) != Some("decision") {
            continue;
        }
        let command = match command(&line) {
            Ok(command) => command,
            Err(why) => {
                replay.left_out.push((index + 1, why));
                continue;
            }
        };
        let approved = answers.take(&line);
        let (before, after) = (judge(&old, &line, &command, approved), judge(&new, &line, &command, approved));
        replay.compare(index + 1, &line, &digest, &command, before.decision);
        comparison.add(&format!("line {}", index + 1), &command, answer(&before), answer(&after));
    }
    comparison.replay = Some(replay);
    Ok(comparison)
}

impl Replay {
    fn compare(&mut self, number: usize, line: &Value, old: &str, command: &str, judged: Decision) {
        let text = |pointer: &str| line.pointer(pointer).and_then(Value::as_str);
        if text("/policy_set").map(|set| set.trim_start_matches("sha256:")) != Some(old) {
            self.other_sets += 1;
            return;
        }
        let recorded = text("/decision/effect").unwrap_or("nothing");
        if recorded != judged.as_str() {
            let (command, recorded) = (command.to_owned(), recorded.to_owned());
            self.unlike.push(Unlike { line: number, command, recorded, judged });
        }
    }
}

impl Answers {
    /// Takes notice of a record.
    pub(crate) fn note(&mut self, line: &Value) {
        let text = |key: &str| line.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        match line.get("kind").and_then(Value::as_str) {
            Some("decision") => drop(self.asked.insert(text("req"), (text("session"), text("cmd")))),
            Some("approval") if line.get("granted") == Some(&Value::Bool(true)) => {
                self.granted.extend(self.asked.get(&text("of")).cloned());
            }
            _ => {}
        }
    }

    /// Whether this is the decision behind a yes. A yes is for one.
    pub(crate) fn take(&mut self, line: &Value) -> bool {
        let text = |key: &str| line.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        self.granted.remove(&(text("session"), text("cmd")))
    }
}

/// The command's text, unless something in it was redacted or left out.
pub(crate) fn command(line: &Value) -> Result<String, &'static str> {
    let text = line.get("cmd").and_then(Value::as_str).ok_or("only a hash of the command is on record")?;
    if text.contains("[redacted:") { Err("a secret in it was redacted") } else { Ok(text.to_owned()) }
}

/// What the policies of these settings decide on a decision of the record.
pub(crate) fn judge(settings: &Settings, line: &Value, command: &str, approved: bool) -> Explained {
    let mut case = Case::of(settings);
    case.approved = approved;
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
    let policies = explained.policies().iter().map(ToString::to_string).collect();
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
    let left_out = comparison.replay.as_ref().map_or(0, |replay| replay.left_out.len());
    let _ = writeln!(
        text,
        "{} compared, {changed} decided otherwise, {others} for other reasons, {left_out} left out",
        comparison.compared
    );
    if let Some(replay) = &comparison.replay {
        text.push_str(&replay.human());
    }
    text
}

impl Replay {
    fn human(&self) -> String {
        let mut text = format!("{REPLAYED}\n");
        for (line, why) in &self.left_out {
            let _ = writeln!(text, "  left out: line {line}: {why}");
        }
        for Unlike { line, command, recorded, judged } in &self.unlike {
            let (judged, command) = (judged.as_str(), report::one_line(command));
            let _ = writeln!(
                text,
                "  not as recorded: line {line}: {recorded} then, {judged} by the same policies now  {command}"
            );
        }
        if self.other_sets > 0 {
            let _ = writeln!(text, "  {} decisions on record are by other policies than OLD", self.other_sets);
        }
        text
    }

    fn machine(&self) -> Value {
        let left_out: Vec<_> = self.left_out.iter().map(|(line, why)| json!({ "line": line, "why": why })).collect();
        let unlike = self.unlike.iter().map(|Unlike { line, command, recorded, judged }| {
            json!({ "line": line, "command": command, "recorded": recorded, "judged": judged })
        });
        json!({ "judgedWith": REPLAYED, "leftOut": left_out, "notAsRecorded": unlike.collect::<Vec<_>>(),
                "byOtherPolicies": self.other_sets })
    }
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
    let skipped = comparison.replay.as_ref().map_or(0, |replay| replay.left_out.len());
    json!({ "compared": comparison.compared, "skipped": skipped, "changes": changes,
            "replay": comparison.replay.as_ref().map(Replay::machine) })
}
