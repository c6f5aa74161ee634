//! What decisions on record were made on, in a form in which it can be asked again.
//!
//! Reads what `record` wrote. Whether a record holds is `verify`'s, and what another policy set answers is the engine's.

use std::collections::HashMap;

use palisade_engine::{Groups, ReplayInput, What, Who};
use serde_json::Value;

use super::select::kind;

/// A record on its way through a replay, in the order in which it was written.
#[derive(Debug, Default)]
pub struct History {
    /// What the path groups of each policy set were.
    groups: HashMap<String, Groups>,
}

impl History {
    /// Takes notice of a record.
    pub fn note(&mut self, record: &Value) {
        let set = record.get("policy_set").and_then(Value::as_str);
        let told = matches!(kind(record), "start" | "policy_reload").then(|| record.get("groups")).flatten();
        if let (Some(set), Some(groups)) = (set, told.and_then(|groups| serde_json::from_value(groups.clone()).ok())) {
            self.groups.insert(set.to_owned(), groups);
        }
    }

    /// The path groups by which a decision was made, if the record has told them.
    pub fn groups(&self, decision: &Value) -> Option<&Groups> {
        self.groups.get(decision.get("policy_set")?.as_str()?)
    }
}

/// What a decision was made on. `None`: it was written by a version that did not tell.
///
/// # Errors
/// If the record says why it does not tell, or is not to be understood.
pub fn asked(decision: &Value) -> Option<Result<ReplayInput<String>, &'static str>> {
    if let Some(why) = decision.get("not_asked") {
        return Some(Err(match why.as_str() {
            Some("too-long") => "it asks more than a record holds",
            _ => "it asks more than one script may",
        }));
    }
    let told = decision.get("asked")?;
    Some(complete(told, decision).ok_or("what was asked is on record in a form that this version does not know"))
}

/// With what the record says elsewhere put back.
fn complete(told: &Value, decision: &Value) -> Option<ReplayInput<String>> {
    let mut asked: ReplayInput<String> = serde_json::from_value(told.clone()).ok()?;
    if asked.who.is_none() {
        asked.who = Some(serde_json::from_value::<Who<String>>(decision.get("who")?.clone()).ok()?);
    }
    let command = decision.get("cmd").and_then(Value::as_str);
    for item in &mut asked.items {
        if let What::Exec(exec) = &mut item.what
            && exec.text.is_none()
        {
            exec.text = Some(command?.to_owned());
        }
    }
    Some(asked)
}
