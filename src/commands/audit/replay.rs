//! `audit replay`: what the policies of now would decide on the commands of the record.
//!
//! A record holds commands and decisions, not the machine that they were decided on, and no secrets. What cannot be judged
//! again is listed with the reason.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;

use palisade_runner::Settings;
use palisade_runner::audit::{self, MAX_LINE};
use serde_json::{Value, json};

use crate::args::{AuditReplay, Context};
use crate::commands::policy::diff::{Answers, REPLAYED, command, judge};
use crate::exit::Exit;
use crate::report::{self, Trouble};
use crate::{commands, config};

/// What came of all decisions.
#[derive(Default)]
struct Replayed {
    same: u64,
    changed: Vec<Changed>,
    /// Where a decision stands that could not be judged again, and why.
    left_out: Vec<(String, &'static str)>,
}

/// A decision that would be another one.
struct Changed {
    place: String,
    command: String,
    recorded: String,
    now: &'static str,
    /// What makes it so: the policies of now, or, where nothing permits it any more, those of then.
    policies: String,
}

pub(crate) fn run(args: &AuditReplay) -> Result<Exit, Trouble> {
    let flags = Context {
        config: args.config.clone(),
        policies: args.policies.clone(),
        profile: args.profile.clone(),
        ..Context::default()
    };
    let settings = config::load_for_check(&flags)?;
    let path = match &args.path {
        Some(path) => path.clone(),
        None => config::audit_directory(args.config.as_deref())?,
    };
    let mut replayed = Replayed::default();
    for chain in super::files(&path)? {
        // A yes is in the same chain as what it is to.
        let mut answers = Answers::default();
        for file in chain {
            replayed.file(&settings, &file, &mut answers)?;
        }
    }
    let text = if args.json { commands::json(&replayed.machine())? } else { replayed.human() };
    report::print(&text);
    Ok(if replayed.changed.is_empty() { Exit::Fine } else { Exit::Findings })
}

impl Replayed {
    fn file(&mut self, settings: &Settings, path: &Path, answers: &mut Answers) -> Result<(), Trouble> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let unreadable = |error: std::io::Error| Trouble::new(format!("cannot read `{}`: {error}", path.display()), "");
        let mut reader = BufReader::with_capacity(1 << 20, File::open(path).map_err(unreadable)?);
        let mut line = Vec::new();
        for number in 1_u64.. {
            line.clear();
            if reader.by_ref().take(MAX_LINE as u64 + 1).read_until(b'\n', &mut line).map_err(unreadable)? == 0 {
                break;
            }
            let place = format!("{name}:{number}");
            match serde_json::from_slice::<Value>(&line) {
                Ok(record) => self.record(settings, place, &record, answers),
                Err(_) => self.left_out.push((place, "the line is no record")),
            }
        }
        Ok(())
    }

    fn record(&mut self, settings: &Settings, place: String, record: &Value, answers: &mut Answers) {
        answers.note(record);
        if audit::kind(record) != "decision" {
            return;
        }
        let (command, recorded) = match (command(record), audit::effect_of(record)) {
            (Ok(command), Some(recorded)) => (command, recorded),
            (Err(why), _) => return self.left_out.push((place, why)),
            (_, None) => return self.left_out.push((place, "it says nothing that was decided")),
        };
        let approved = answers.take(record);
        let explained = judge(settings, record, &command, approved);
        let now = explained.decision.as_str();
        if now == recorded {
            self.same += 1;
            return;
        }
        let mut policies: Vec<String> = explained.policies().iter().map(ToString::to_string).collect();
        if policies.is_empty() {
            policies = audit::policies(record).map(|policy| format!("no longer {policy}")).collect();
        }
        let (policies, recorded) = (policies.join(", "), recorded.to_owned());
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
        let _ = writeln!(text, "{same} decided as recorded, {changed} otherwise, {left_out} left out\n{REPLAYED}");
        for (place, why) in &self.left_out {
            let _ = writeln!(text, "  left out: {place}: {why}");
        }
        text
    }

    fn machine(&self) -> Value {
        let changed = self.changed.iter().map(|changed| {
            json!({ "place": changed.place, "command": changed.command, "recorded": changed.recorded,
                    "now": changed.now, "policies": changed.policies })
        });
        let left_out = self.left_out.iter().map(|(place, why)| json!({ "place": place, "why": why }));
        json!({ "judgedWith": REPLAYED, "same": self.same, "changed": changed.collect::<Vec<_>>(),
                "leftOut": left_out.collect::<Vec<_>>() })
    }
}
