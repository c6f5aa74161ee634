//! `policy diff`: which decisions change from one policy set to another.
//!
//! Over a record, each decision is made again on what it was made on. What cannot be is left out and said to be, and so is
//! every command that the old set, by its digest, decided otherwise then.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use palisade_audit as audit;
use palisade_engine::{Cases, Decision};
use palisade_runner::Settings;
use serde_json::{Value, json};

use crate::cli::args::{Context, PolicyDiff, PolicySet};
use crate::cli::commands;
use crate::cli::commands::replay::{self, Chain, RecordPosition, ReplayNote, ReplayVerdict};
use crate::cli::exit::Exit;
use crate::cli::report::{self, CliError};
use crate::config;
use crate::config::{Authored, Chosen};

/// One command whose decision or whose policies change.
struct DecisionChange {
    what: String,
    command: String,
    old: ReplayVerdict,
    new: ReplayVerdict,
}

/// What was compared.
#[derive(Default)]
struct Comparison {
    compared: usize,
    changes: Vec<DecisionChange>,
    replay: Option<Replay>,
}

/// How far a record could be replayed.
#[derive(Default)]
struct Replay {
    /// What could not be judged again, and why.
    left_out: Vec<(RecordPosition, String)>,
    /// Lines that the old set decided otherwise at the time.
    unlike: Vec<Unlike>,
    /// Decisions of other sets than the old one: nothing to compare the replay with.
    other_sets: usize,
    /// What was judged on what.
    note: ReplayNote,
}

/// A decision on record that the same policies do not repeat today.
struct Unlike {
    place: RecordPosition,
    command: String,
    recorded: String,
    judged: Decision,
}

pub(crate) fn run(args: &PolicyDiff) -> Result<Exit, CliError> {
    let (old, new) = (Chosen::named(&args.old), Chosen::named(&args.new));
    let comparison = match &args.replay {
        Some(record) => replay(args, &old, &new, record)?,
        None => over_cases(args, &old, &new)?,
    };
    let text = if args.json { commands::json(&machine(&comparison))? } else { human(&comparison) };
    report::print(&text);
    let decided = comparison.changes.iter().any(|change| change.old.decision != change.new.decision);
    Ok(if decided { Exit::Findings } else { Exit::Fine })
}

/// The cases of both sets, each judged by both.
fn over_cases(args: &PolicyDiff, old: &Chosen, new: &Chosen) -> Result<Comparison, CliError> {
    let set = PolicySet { config: args.config.clone(), ..PolicySet::default() };
    let authored = Authored::of(&set)?;
    let (old, new) = (authored.with(old.clone())?, authored.with(new.clone())?);
    let mut files: Vec<Cases> = old.cases()?;
    files.extend(new.cases()?);
    if files.iter().all(|file| file.cases().is_empty()) {
        let help = "cases stand in `cases/*.toml` below either directory; `--replay RECORD` compares on a record";
        return Err(CliError::new("there is no case to compare on", help));
    }
    let mut comparison = Comparison::default();
    let mut seen = std::collections::BTreeSet::new();
    for file in &files {
        let (before, after) = (old.engine(file.home())?, new.engine(file.home())?);
        for case in file.cases() {
            let (before, after) = (case.judge(&before), case.judge(&after));
            let answer = |report: &palisade_engine::Report| ReplayVerdict {
                decision: report.decision,
                policies: report.policies().into_iter().collect(),
                by_text: false,
            };
            // Both directories may hold the same case.
            if seen.insert((case.name().to_owned(), case.text(), format!("{before:?}"))) {
                comparison.add(case.name(), &case.text(), answer(&before), answer(&after));
            }
        }
    }
    Ok(comparison)
}

/// The decisions of a record, each made again by both.
fn replay(args: &PolicyDiff, old: &Chosen, new: &Chosen, record: &Path) -> Result<Comparison, CliError> {
    let settings = |chosen: &Chosen| -> Result<Settings, CliError> {
        let (reads, writes) = (args.reads.clone(), args.writes.clone());
        let mut flags = Context { config: args.config.clone(), reads, writes, ..Context::default() };
        match chosen {
            Chosen::Profile(name) => flags.profile = Some(name.clone()),
            Chosen::Files(path) => flags.policies = Some(path.clone()),
        }
        Ok(config::load_for_check(&flags)?)
    };
    let (old, new) = (settings(old)?, settings(new)?);
    let mut comparison = Comparison::default();
    let mut replay = Replay::default();
    let digest = old.engine.now().policy_set().trim_start_matches("sha256:").to_owned();
    replay::decisions(record, args.identity.as_deref(), &mut |place, line, chain: &mut Chain| {
        let Some(line) = line else {
            return replay.left_out.push((place, "the line is no record".to_owned()));
        };
        let approved = chain.take_yes(line);
        let answers = (chain.judge(&old, line, approved), chain.judge(&new, line, approved));
        match answers {
            (Ok(before), Ok(after)) => {
                let command = replay::shown(line);
                replay.compare(&place, line, &digest, &command, before.decision);
                replay.note.count(&after);
                comparison.add(&place.to_string(), &command, before, after);
            }
            (Err(why), _) | (_, Err(why)) => replay.left_out.push((place, why)),
        }
    })?;
    comparison.replay = Some(replay);
    Ok(comparison)
}

impl Replay {
    fn compare(&mut self, place: &RecordPosition, line: &Value, old: &str, command: &str, judged: Decision) {
        let text = |pointer: &str| line.pointer(pointer).and_then(Value::as_str);
        let recorded = audit::effect_of(line).unwrap_or("nothing");
        if text("/policy_set").map(|set| set.trim_start_matches("sha256:")) != Some(old) {
            self.other_sets += 1;
            return;
        }
        if recorded != judged.as_str() {
            let (command, recorded) = (command.to_owned(), recorded.to_owned());
            self.unlike.push(Unlike { place: place.clone(), command, recorded, judged });
        }
    }
}

impl Comparison {
    fn add(&mut self, what: &str, command: &str, old: ReplayVerdict, new: ReplayVerdict) {
        self.compared += 1;
        if (old.decision, &old.policies) != (new.decision, &new.policies) {
            self.changes.push(DecisionChange { what: what.to_owned(), command: command.to_owned(), old, new });
        }
    }
}

impl DecisionChange {
    /// The policies that one side names and the other does not.
    fn causes(&self) -> Vec<String> {
        let only = |a: &ReplayVerdict, b: &ReplayVerdict, sign: &str| -> Vec<String> {
            let missing = a.policies.iter().filter(|policy| !b.policies.contains(policy));
            missing.map(|policy| format!("{sign}{policy}")).collect()
        };
        let mut causes = only(&self.old, &self.new, "- ");
        causes.extend(only(&self.new, &self.old, "+ "));
        if causes.is_empty() { vec!["(no policy)".to_owned()] } else { causes }
    }
}

fn human(comparison: &Comparison) -> String {
    let mut groups: BTreeMap<String, Vec<&DecisionChange>> = BTreeMap::new();
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
        let mut text = format!("{}\n", self.note);
        for (place, why) in &self.left_out {
            let _ = writeln!(text, "  left out: {place}: {}", report::one_line(why));
        }
        for Unlike { place, command, recorded, judged } in &self.unlike {
            let (judged, command) = (judged.as_str(), report::one_line(command));
            let _ = writeln!(
                text,
                "  not as recorded: {place}: {recorded} then, {judged} by the same policies now  {command}"
            );
        }
        if self.other_sets > 0 {
            let _ = writeln!(text, "  {} decisions on record are by other policies than OLD", self.other_sets);
        }
        text
    }

    fn machine(&self) -> Value {
        let left_out = self
            .left_out
            .iter()
            .map(|(RecordPosition { file, line }, why)| json!({ "file": file, "line": line, "why": why }));
        let unlike = self.unlike.iter().map(|Unlike { place: RecordPosition { file, line }, command, recorded, judged }| {
            json!({ "file": file, "line": line, "command": command, "recorded": recorded, "judged": judged })
        });
        json!({ "judgedWith": self.note.to_string(), "leftOut": left_out.collect::<Vec<_>>(),
                "notAsRecorded": unlike.collect::<Vec<_>>(), "byOtherPolicies": self.other_sets,
                "byText": self.note.by_text })
    }
}

fn machine(comparison: &Comparison) -> Value {
    let side = |answer: &ReplayVerdict| json!({ "decision": answer.decision, "policies": answer.policies });
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
