//! A session as a recording for terminals, asciicast v2. The record holds commands, verdicts, times and how much was
//! printed, not what: the recording says so where output was.

use jiff::Timestamp;
use palisade_redact::printable::printable;
use serde_json::{Value, json};

use super::{text, written};
use crate as audit;

/// The screen that a recording is for.
const SCREEN: (u32, u32) = (120, 30);

/// A recording on its way.
#[derive(Debug, Default)]
pub struct Recording {
    began: Option<Timestamp>,
}

impl Recording {
    /// The lines that a record adds; the first has the header before it. None for one that shows nothing.
    pub fn add(&mut self, record: &Value) -> Option<String> {
        let at = written(record)?;
        let shown = shown(record)?;
        let mut lines = String::new();
        let began = *self.began.get_or_insert_with(|| {
            let title = format!("palisade session {}", text(record, "/session"));
            let header = json!({ "version": 2, "width": SCREEN.0, "height": SCREEN.1, "timestamp": at.as_second(),
                                 "title": title });
            lines = format!("{header}\n");
            at
        });
        // Whoever writes `ts` may have had their clock set back; a recording cannot.
        let since = at.duration_since(began).as_secs_f64().max(0.0);
        lines.push_str(&json!([since, "o", shown.replace('\n', "\r\n")]).to_string());
        lines.push('\n');
        Some(lines)
    }
}

fn shown(record: &Value) -> Option<String> {
    let policies = || {
        let policies: Vec<&str> = audit::policies(record).collect();
        if policies.is_empty() { String::new() } else { format!(" by {}", policies.join(", ")) }
    };
    let effect = audit::effect_of(record).unwrap_or_default();
    Some(match audit::kind(record) {
        "open" => format!("# session of {} in {}\n", plain(text(record, "/who/agent")), plain(text(record, "/cwd"))),
        "decision" => {
            let command = record.get("cmd").and_then(Value::as_str).unwrap_or("(only its hash is on record)");
            let verdict = if effect == "allow" { String::new() } else { format!("# {effect}{}\n", policies()) };
            format!("{} $ {}\n{verdict}", plain(text(record, "/cwd")), plain(command))
        }
        "outcome" => {
            let exit = record.get("exit")?;
            let exit = match (exit.get("code"), exit.get("signal")) {
                (Some(code), _) => format!("exit {code}"),
                (_, Some(signal)) => format!("signal {signal}"),
                _ => plain(text(exit, "/reason")),
            };
            let bytes = |stream: &str| record.pointer(stream).and_then(Value::as_u64).unwrap_or_default();
            let (out, err) = (bytes("/out/bytes"), bytes("/err/bytes"));
            format!("# {out} bytes of output and {err} of errors, not on record\n# {exit}\n")
        }
        "approval" => {
            let answer = if record.get("granted") == Some(&Value::Bool(true)) { "yes" } else { "no" };
            format!("# {answer}, says {}\n", plain(text(record, "/by")))
        }
        "input" => format!("# input to a job, {effect}: {}\n", plain(text(record, "/cmd"))),
        "signal" => format!("# signal {} to a job, {effect}\n", plain(text(record, "/signal"))),
        "execution" => format!("# {} at its start, {effect}{}\n", plain(text(record, "/program")), policies()),
        "denial" => format!("# {} was refused{}\n", plain(text(record, "/program")), policies()),
        "connect" => format!("# connection to {}, {effect}{}\n", plain(text(record, "/peer")), policies()),
        "close" => format!("# closed: {}\n", plain(text(record, "/reason"))),
        _ => return None,
    })
}

/// A text whose lines cannot be taken for the recording's own: those behind the first begin as bash lets them.
fn plain(text: &str) -> String {
    text.split('\n').map(printable).collect::<Vec<_>>().join("\n> ")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_recording_is_a_header_and_events() {
        let mut recording = Recording::default();
        let records = [
            json!({ "kind": "start", "ts": "2026-11-21T04:15:00.000Z" }),
            json!({ "kind": "decision", "ts": "2026-11-21T04:15:01.000Z", "session": "s1", "cwd": "/w",
                    "cmd": "echo a\u{1b}[2J\u{202e}\n# allow", "decision": { "effect": "deny", "determining": ["p"] } }),
            json!({ "kind": "outcome", "ts": "2026-11-21T04:15:03.500Z", "exit": { "code": 0 },
                    "out": { "bytes": 12 }, "err": { "bytes": 0 } }),
        ];
        let text: String = records.iter().filter_map(|record| recording.add(record)).collect();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert_eq!(lines.first().unwrap().get("version").unwrap(), 2);
        let event = |at: usize| lines.get(at).unwrap().as_array().unwrap().clone();
        assert_eq!(
            event(1),
            [json!(0.0), json!("o"), json!("/w $ echo a\u{fffd}[2J\u{fffd}\r\n> # allow\r\n# deny by p\r\n")]
        );
        assert_eq!(event(2).first().unwrap(), &json!(2.5));
    }
}
