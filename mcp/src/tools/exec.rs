//! `exec`: judge a command and, if it is allowed, run it.

use std::time::Duration;

use palisade_runner::{Call, Client, Outcome, Pipeline, Stop};
use rmcp::model::JsonObject;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::render::{self, Reply};
use crate::tools::{arguments, object};

/// Longest time that a command may be given.
const MAX_TIMEOUT: Duration = Duration::from_secs(3600);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    command: String,
    session: Option<String>,
    cwd: Option<String>,
    timeout_ms: Option<u64>,
    max_output: Option<usize>,
    reason: Option<String>,
}

pub(crate) async fn call(pipeline: &Pipeline, client: Client, stop: Stop, given: Option<JsonObject>) -> Reply {
    let given: Arguments = match arguments(pipeline, given) {
        Ok(given) => given,
        Err(reply) => return *reply,
    };
    let call = Call {
        script: given.command.into_bytes(),
        session: given.session,
        cwd: given.cwd,
        timeout: given.timeout_ms.map(|time| Duration::from_millis(time).min(MAX_TIMEOUT)),
        max_chars: given.max_output,
        reason: given.reason.unwrap_or_default(),
        client,
        live: None,
        stop,
    };
    match pipeline.submit(call).await {
        Ok(Outcome::Ran(result)) => render::ran(&result),
        Ok(Outcome::Denied(refusal)) => render::denied(&refusal),
        Ok(Outcome::Ask(pending)) => render::approval_required(&pending),
        Err(failure) => render::failed(&failure),
    }
}

pub(crate) fn schema() -> Value {
    let omitted = json!({ "type": "object", "additionalProperties": {
        "type": "object", "properties": { "bytes": { "type": "integer" }, "lines": { "type": "integer" } } } });
    object(
        &json!({
            "status": { "type": "string", "enum": ["done", "timed_out", "cancelled", "denied", "approval_required", "session_lost", "failed"] },
            "exit_code": { "type": "integer" },
            "signal": { "type": "integer" },
            "stdout": { "type": "string" },
            "stderr": { "type": "string" },
            "cwd": { "type": "string" },
            "duration_ms": { "type": "integer" },
            "omitted": omitted,
            "redactions": { "type": "object", "additionalProperties": { "type": "integer" } },
            "lost": { "type": "string" },
            "error": { "type": "string" },
            "decision": { "type": "object" },
            "verdict": { "type": "object" },
        }),
        &["status"],
    )
}
