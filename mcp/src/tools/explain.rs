//! `explain`: judge a command without running it, or look again at what was decided.

use palisade_runner::{Call, Client, Failure, Pipeline};
use rmcp::model::JsonObject;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::render::{self, Reply};
use crate::tools::{arguments, object};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExplainArguments {
    command: Option<String>,
    decision: Option<String>,
    session: Option<String>,
    cwd: Option<String>,
}

pub(crate) async fn call(pipeline: &Pipeline, client: Client, given: Option<JsonObject>) -> Reply {
    let given: ExplainArguments = match arguments(pipeline, given) {
        Ok(given) => given,
        Err(reply) => return *reply,
    };
    let explained = match given {
        ExplainArguments { command: Some(command), decision: None, session, cwd } => {
            let call = Call { script: command.into_bytes(), session, cwd, client, ..Call::default() };
            pipeline.explain(&call).await
        }
        ExplainArguments { command: None, decision: Some(id), session: None, cwd: None } => {
            let unknown = Failure::of("no decision of that id is kept").helped("results give it as `decision.id`");
            pipeline.read_api().decision(&id).and_then(|found| found.ok_or(unknown))
        }
        _ => {
            let help = "with a `command` go `session` and `cwd`; what was decided says for itself where that was";
            Err(Failure::of("`explain` takes a `command` or a `decision`").helped(help))
        }
    };
    match explained {
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
            "omitted": { "type": "object", "additionalProperties": { "type": "integer" } },
        }),
        &[],
    )
}
