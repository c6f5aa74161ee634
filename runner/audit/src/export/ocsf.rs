//! Events of the Open Cybersecurity Schema Framework. A decision is a process that was to be launched, an outcome one that
//! ended, a connection network activity; what has no class of its own is a base event. The record itself is in `unmapped`,
//! but for what was asked.

use serde_json::{Map, Value, json};

use super::{text, written};
use crate as audit;

/// The version of the schema.
const VERSION: &str = "1.6.0";

/// A class, its category and what happened.
struct Class {
    category: u32,
    class: u32,
    activity: u32,
}

/// Nothing that the schema has a class for.
const BASE: Class = Class { category: 0, class: 0, activity: 99 };
/// System activity, process activity: launch.
const LAUNCH: Class = Class { category: 1, class: 1007, activity: 1 };
/// The same: terminate.
const TERMINATE: Class = Class { category: 1, class: 1007, activity: 2 };
/// Network activity: open, and refuse.
const OPEN: Class = Class { category: 4, class: 4001, activity: 1 };
const REFUSE: Class = Class { category: 4, class: 4001, activity: 5 };

/// One record as an event.
pub fn event(record: &Value) -> Value {
    let effect = audit::effect_of(record);
    let kind = audit::kind(record);
    let Class { category, class, activity } = match kind {
        "decision" | "denial" | "execution" => LAUNCH,
        "outcome" => TERMINATE,
        "connect" if effect == Some("allow") => OPEN,
        "connect" => REFUSE,
        _ => BASE,
    };
    let denied = kind == "denial" || effect.is_some_and(|effect| effect != "allow");
    let mut event = json!({
        "category_uid": category, "class_uid": class, "activity_id": activity, "type_uid": class * 100 + activity,
        // Informational, or medium.
        "severity_id": if denied { 3 } else { 1 },
        "time": written(record).map_or(0, jiff::Timestamp::as_millisecond),
        "metadata": {
            "version": VERSION, "profiles": ["host", "security_control"],
            "product": { "name": "Palisade", "vendor_name": "Palisade", "version": env!("CARGO_PKG_VERSION") },
            "log_name": "palisade", "event_code": kind, "sequence": record.get("seq"),
        },
        "device": { "hostname": text(record, "/host"), "type_id": 0 },
        "unmapped": rest(record),
    });
    let Some(fields) = event.as_object_mut() else { return event };
    if activity == 99 {
        fields.insert("activity_name".to_owned(), kind.into());
    }
    if effect.is_some() || kind == "denial" {
        // Allowed, or denied and blocked.
        let (action, disposition) = if denied { (2, 2) } else { (1, 1) };
        fields.insert("action_id".to_owned(), action.into());
        fields.insert("disposition_id".to_owned(), disposition.into());
        let policies: Vec<&str> = audit::policies(record).collect();
        if !policies.is_empty() {
            fields.insert("policy".to_owned(), json!({ "name": policies.join(", ") }));
        }
    }
    let actor = actor(record);
    match kind {
        "decision" | "denial" | "execution" => {
            fields.insert("actor".to_owned(), actor);
            fields.insert("process".to_owned(), process(record));
        }
        "outcome" => {
            fields.insert("actor".to_owned(), actor);
            fields.insert("process".to_owned(), json!({ "session": { "uid": text(record, "/session") } }));
            let code = record.pointer("/exit/code").and_then(Value::as_i64);
            fields.insert("status_id".to_owned(), if code == Some(0) { 1 } else { 2 }.into());
            fields.extend(code.map(|code| ("exit_code".to_owned(), code.into())));
        }
        "connect" => {
            let (host, port) = text(record, "/peer").rsplit_once(':').unwrap_or_default();
            let port = port.parse::<u16>().ok();
            fields.insert("dst_endpoint".to_owned(), json!({ "hostname": host, "port": port }));
            fields.insert("actor".to_owned(), json!({ "process": { "name": text(record, "/program") } }));
        }
        _ => {}
    }
    event
}

fn actor(record: &Value) -> Value {
    json!({
        "app_name": text(record, "/who/agent"),
        "user": { "name": text(record, "/who/user") },
        "session": { "uid": text(record, "/session") },
    })
}

fn process(record: &Value) -> Value {
    match audit::kind(record) {
        "denial" | "execution" => {
            let words = record.get("argv").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
            json!({ "name": text(record, "/program"), "cmd_line": words.collect::<Vec<_>>().join(" ") })
        }
        _ => {
            let name = text(record, "/inv/0");
            json!({ "name": name, "cmd_line": text(record, "/cmd"), "working_directory": text(record, "/cwd") })
        }
    }
}

fn rest(record: &Value) -> Map<String, Value> {
    let fields = record.as_object().into_iter().flatten();
    fields.filter(|(name, _)| *name != "asked").map(|(name, value)| (name.clone(), value.clone())).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_an_event_with_what_the_schema_requires() {
        let decision =
            |effect: &str| json!({ "kind": "decision", "decision": { "effect": effect, "determining": ["p"] } });
        for (record, class, type_uid, action) in [
            (decision("allow"), 1007, 100_701, Some(1)),
            (decision("ask"), 1007, 100_701, Some(2)),
            (decision("deny"), 1007, 100_701, Some(2)),
            (json!({ "kind": "denial", "program": "/bin/x", "argv": ["x", "-y"] }), 1007, 100_701, Some(2)),
            (json!({ "kind": "outcome", "exit": { "code": 3 } }), 1007, 100_702, None),
            (json!({ "kind": "connect", "effect": "allow", "peer": "[::1]:443" }), 4001, 400_101, Some(1)),
            (json!({ "kind": "connect", "effect": "deny", "peer": "h:443" }), 4001, 400_105, Some(2)),
            (json!({ "kind": "head" }), 0, 99, None),
        ] {
            let event = event(&record);
            let number = |key: &str| event.get(key).and_then(Value::as_i64);
            assert_eq!(number("class_uid"), Some(class), "{record}");
            assert_eq!(number("category_uid"), Some(class / 1000), "{record}");
            assert_eq!(number("type_uid"), Some(type_uid), "{record}");
            assert_eq!(number("action_id"), action, "{record}");
            for required in ["activity_id", "severity_id", "time", "metadata"] {
                assert!(event.get(required).is_some(), "{required}: {record}");
            }
            assert_eq!(class == 1007, event.get("process").is_some() && event.get("device").is_some(), "{record}");
            assert_eq!(event.pointer("/unmapped/kind").unwrap(), record.get("kind").unwrap());
        }
    }
}
