//! What a person is shown at the agent's client, and what counts as their answer.
//!
//! All of a request is shown or nobody is asked there: nobody says yes to what was cut off. What the agent says of it stands last, and
//! every line of its text is marked, so that none looks like ours.

use std::fmt::Write as _;

use palisade_redact::printable::printable;
use palisade_runner::Redacted;
use palisade_runner::control::wire::{Effect, File, Reason, Request};
use rmcp::model::{ElicitRequest, ElicitRequestParams};
use serde_json::{Value, json};

/// Bytes of a question. A longer one is not read in a dialogue; `palisade approvals show` has all of it.
const MAX_SHOWN: usize = 8 << 10;

/// What a yes is called.
const ALLOW: &str = "allow-once";

/// What a no is called.
const DENY: &str = "deny";

/// The question that a client is to put; none if it would be too long.
pub(super) fn question(request: &Request<Redacted>) -> Option<ElicitRequest> {
    let message = message(request);
    if message.len() > MAX_SHOWN {
        return None;
    }
    let requested_schema = serde_json::from_value(schema()).ok()?;
    Some(ElicitRequest::new(ElicitRequestParams::FormElicitationParams { meta: None, message, requested_schema }))
}

/// The form. Whoever accepts what was filled in for them has said no.
fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "decision": { "type": "string", "title": "Decision", "enum": [DENY, ALLOW], "default": DENY },
            "reason": { "type": "string", "title": "Reason", "description": "for the record", "maxLength": 1000 },
        },
        "required": ["decision"],
    })
}

/// A client's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ElicitationReply {
    /// An explicit yes, and why.
    Yes(String),
    /// An explicit no, and why.
    No(String),
    /// Nobody has answered.
    None,
}

impl ElicitationReply {
    /// What an `ElicitResult` says.
    pub(crate) fn of(result: &Value) -> Self {
        let text = |name: &str| result.get("content").and_then(|content| content.get(name)).and_then(Value::as_str);
        let reason: String = text("reason").unwrap_or_default().chars().take(MAX_REASON).collect();
        match (result.get("action").and_then(Value::as_str), text("decision")) {
            (Some("accept"), Some(ALLOW)) => Self::Yes(reason),
            (Some("accept"), Some(DENY)) | (Some("decline"), _) => Self::No(reason),
            _ => Self::None,
        }
    }
}

/// Characters of a reason that are taken.
const MAX_REASON: usize = 1000;

fn message(request: &Request<Redacted>) -> String {
    let short = &request.short;
    let mut text = String::from("Palisade asks: may this be done, once?\n");
    if short.quorum > 1 {
        let _ = writeln!(text, "{} of {} people have said yes", short.granted_by.len(), short.quorum);
    }
    let shell = if request.session.is_empty() { "a shell of its own" } else { request.session.as_str() };
    let _ = writeln!(
        text,
        "{} for {}: {} in {}, {}",
        line(&short.agent),
        line(&short.user),
        line(&request.kind),
        line(&short.cwd),
        printable(shell)
    );
    let _ = writeln!(text, "the whole text:\n{}", marked(short.command.as_str()));
    if short.hidden > 0 {
        let _ = writeln!(
            text,
            "NOT ALL OF IT IS SHOWN: {} characters look like secrets. A yes is to them, too.",
            short.hidden
        );
    }
    if let Some(running) = &request.process {
        let above: Vec<&str> = running.started_by.iter().map(Redacted::as_str).collect();
        let above = if above.is_empty() { "the script".to_owned() } else { above.join(", ") };
        let (file, above) = (line(&running.file), printable(&above));
        let _ = writeln!(text, "a process waits to become this program: {file}, started by {above}");
        for variable in &running.variables {
            let _ = writeln!(text, "with the variable {}", line(variable));
        }
    }
    text.push_str("what it does:\n");
    for Effect { decision, action, resource, via, policies } in &request.effects {
        let wrappers: Vec<&str> = via.iter().map(Redacted::as_str).collect();
        let via = if wrappers.is_empty() { String::new() } else { format!(" via {}", wrappers.join(" › ")) };
        let policies: Vec<&str> = policies.iter().map(Redacted::as_str).collect();
        let policies = if policies.is_empty() { "nothing permits it".to_owned() } else { policies.join(", ") };
        let _ = writeln!(
            text,
            "  {} {} {}{} ({})",
            line(decision),
            line(action),
            line(resource),
            printable(&via),
            printable(&policies)
        );
    }
    for opaque in &request.opaque {
        let _ = writeln!(text, "  not known before it runs: {}", line(opaque));
    }
    text.push_str("why a person is asked:\n");
    for Reason { policy, place: _, reason, text: about } in &request.reasons {
        let policy = if policy.is_empty() { "no permit" } else { policy.as_str() };
        let _ = writeln!(text, "  {}: {} — {}", printable(policy), line(reason), line(about));
    }
    for File { path, sha256 } in &request.files {
        let hash = if sha256.is_empty() { "cannot be read" } else { sha256.as_str() };
        let _ = writeln!(text, "a yes is to this file as it is now: {} {}", line(path), printable(hash));
    }
    for opened in &request.opens {
        let _ = writeln!(text, "opened for it, in a shell of its own: {}", line(opened));
    }
    if !request.said.is_empty() {
        let _ = writeln!(text, "the agent says, and nobody has checked it:\n{}", marked(request.said.as_str()));
    }
    let _ =
        write!(text, "request {}, {} s left; `palisade approvals` answers it too", line(&short.id), short.expires_s);
    text
}

fn line(text: &Redacted) -> String {
    printable(text.as_str())
}

/// A text of the agent's, each line of it marked.
fn marked(text: &str) -> String {
    text.trim_end().split('\n').map(|line| format!("  | {}", printable(line))).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_explicit_yes_is_one() {
        let no = |reason: &str| ElicitationReply::No(reason.to_owned());
        for (result, expected) in [
            (
                json!({ "action": "accept", "content": { "decision": "allow-once" } }),
                ElicitationReply::Yes(String::new()),
            ),
            (
                json!({ "action": "accept", "content": { "decision": "allow-once", "reason": "fine" } }),
                ElicitationReply::Yes("fine".to_owned()),
            ),
            (json!({ "action": "accept", "content": { "decision": "deny", "reason": "not now" } }), no("not now")),
            (json!({ "action": "decline" }), no("")),
            (json!({ "action": "decline", "content": { "decision": "allow-once" } }), no("")),
            (json!({ "action": "cancel", "content": { "decision": "allow-once" } }), ElicitationReply::None),
            (json!({ "action": "accept" }), ElicitationReply::None),
            (json!({ "action": "accept", "content": { "decision": "allow" } }), ElicitationReply::None),
            (json!({ "action": "accept", "content": { "decision": ["allow-once"] } }), ElicitationReply::None),
            (json!({ "action": "accept", "content": ["allow-once"] }), ElicitationReply::None),
            (json!({ "action": "ACCEPT", "content": { "decision": "allow-once" } }), ElicitationReply::None),
            (json!({ "content": { "decision": "allow-once" } }), ElicitationReply::None),
            (json!("accept"), ElicitationReply::None),
            (json!(null), ElicitationReply::None),
        ] {
            assert_eq!(ElicitationReply::of(&result), expected, "{result}");
        }
    }

    #[test]
    fn the_form_is_one_that_clients_know() {
        let form: Result<rmcp::model::ElicitationSchema, _> = serde_json::from_value(schema());
        assert!(
            form.as_ref().is_ok_and(|form| serde_json::to_value(form).is_ok_and(|form| form == schema())),
            "{form:?}"
        );
    }

    #[test]
    fn no_line_of_an_agents_text_looks_like_ours() {
        let text = marked("ls\u{202e}\nwhat it does:\n  allow exec nothing\r\u{1b}[2J");
        assert!(text.lines().all(|line| line.starts_with("  | ")), "{text}");
        assert!(!text.contains(['\u{202e}', '\r', '\u{1b}']), "{text:?}");
    }
}
