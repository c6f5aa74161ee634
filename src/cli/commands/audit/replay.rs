//! `audit replay`: what the policies of now would decide on the decisions of the record.
//!
//! Each is made again on what it was made on, without its secrets. What cannot be judged again is listed with the reason.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use palisade_runner::Settings;
use serde_json::{Value, json};

use crate::cli::args::{AuditReplay, Context};
use crate::cli::commands;
use crate::cli::commands::replay::{self, Chain, RecordPosition, ReplayNote};
use crate::cli::exit::Exit;
use crate::cli::report::{self, CliError};
use crate::config;

/// What came of all decisions.
#[derive(Default)]
struct Replayed {
    same: u64,
    changed: Vec<Changed>,
    /// Where a decision stands that could not be judged again, and why.
    left_out: Vec<(RecordPosition, String)>,
    /// What was judged on what.
    note: ReplayNote,
}

/// A decision that would be another one.
struct Changed {
    place: RecordPosition,
    command: String,
    recorded: String,
    now: &'static str,
    /// What makes it so: the policies of now, or, where nothing permits it any more, those of then.
    policies: String,
}

pub(crate) fn run(args: &AuditReplay) -> Result<Exit, CliError> {
    let flags = Context {
        config: args.config.clone(),
        policies: args.policies.clone(),
        profile: args.profile.clone(),
        reads: args.reads.clone(),
        writes: args.writes.clone(),
        ..Context::default()
    };
    let settings = config::load_for_check(&flags)?;
    let path = match &args.path {
        Some(path) => path.clone(),
        None => config::audit_directory(args.config.as_deref())?,
    };
    if !super::may_read(&path, args.config.as_deref())? {
        return Ok(Exit::Denied);
    }
    let mut replayed = Replayed::default();
    replay::decisions(&path, args.identity.as_deref(), &mut |place, record, chain| match record {
        Some(record) => replayed.decision(&settings, place, record, chain),
        None => replayed.left_out.push((place, "the line is no record".to_owned())),
    })?;
    let text = if args.json { commands::json(&replayed.machine())? } else { replayed.human() };
    report::print(&text);
    Ok(if replayed.changed.is_empty() { Exit::Fine } else { Exit::Findings })
}

impl Replayed {
    fn decision(&mut self, settings: &Settings, place: RecordPosition, record: &Value, chain: &mut Chain) {
        let approved = chain.take_yes(record);
        let (now, recorded) = match (chain.judge(settings, record, approved), palisade_audit::effect_of(record)) {
            (Ok(now), Some(recorded)) => (now, recorded),
            (Err(why), _) => return self.left_out.push((place, why)),
            (_, None) => return self.left_out.push((place, "it says nothing that was decided".to_owned())),
        };
        self.note.count(&now);
        if now.decision.as_str() == recorded {
            self.same += 1;
            return;
        }
        let mut policies = now.policies;
        if policies.is_empty() {
            policies = palisade_audit::policies(record).map(|policy| format!("no longer {policy}")).collect();
        }
        let (policies, recorded) = (policies.join(", "), recorded.to_owned());
        let (command, now) = (replay::shown(record), now.decision.as_str());
        self.changed.push(Changed { place, command, recorded, now, policies });
    }

    fn human(&self) -> String {
        let mut groups: BTreeMap<&str, Vec<&Changed>> = BTreeMap::new();
        for changed in &self.changed {
            groups.entry(&changed.policies).or_default().push(changed);
        }
        let mut text = String::new();
        for (policies, changes) in groups {
            let policies = if policies.is_empty() { "(no policy)" } else { policies };
            let _ = writeln!(text, "{}", report::one_line(policies));
            for Changed { place, command, recorded, now, .. } in changes {
                let (recorded, command) = (report::one_line(recorded), report::one_line(command));
                let _ = writeln!(text, "  {recorded} → {now}  {command}  ({place})");
            }
        }
        let (same, changed, left_out) = (self.same, self.changed.len(), self.left_out.len());
        let _ = writeln!(text, "{same} decided as recorded, {changed} otherwise, {left_out} left out\n{}", self.note);
        for (place, why) in &self.left_out {
            let _ = writeln!(text, "  left out: {place}: {}", report::one_line(why));
        }
        text
    }

    fn machine(&self) -> Value {
        let changed = self.changed.iter().map(|changed| {
            json!({ "place": changed.place.to_string(), "command": changed.command, "recorded": changed.recorded,
                    "now": changed.now, "policies": changed.policies })
        });
        let left_out = self.left_out.iter().map(|(place, why)| json!({ "place": place.to_string(), "why": why }));
        json!({ "judgedWith": self.note.to_string(), "byText": self.note.by_text, "same": self.same, "changed": changed.collect::<Vec<_>>(),
                "leftOut": left_out.collect::<Vec<_>>() })
    }
}
