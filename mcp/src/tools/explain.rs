//! `explain`: judge a command without running it.

use palisade_runner::{Call, Client, Pipeline};
use rmcp::model::JsonObject;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::render::{self, Reply};
use crate::tools::{arguments, object};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    command: String,
    session: Option<String>,
    cwd: Option<String>,
}

pub(crate) async fn call(pipeline: &Pipeline, client: Client, given: Option<JsonObject>) -> Reply {
    let given: Arguments = match arguments(pipeline, given) {
        Ok(given) => given,
        Err(reply) => return *reply,
    };
    let call =
        Call { script: given.command.into_bytes(), session: given.session, cwd: given.cwd, client, ..Call::default() };
    match pipeline.explain(&call).await {
        Ok(explained) => render::explained(&explained),
        Err(failure) => render::failed(&failure),
    }
}

pub(crate) fn schema() -> Value {
    object(
        &json!({
            "decision": { "type": "string", "enum": ["allow", "ask", "deny"] },
            "command": { "type": "string" },
            "policySet": { "type": "string" },
            "requests": { "type": "array" },
            "opaque": { "type": "array" },
            "reasons": { "type": "array" },
        }),
        &[],
    )
}
