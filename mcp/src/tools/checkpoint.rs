//! `checkpoint` and `restore`: the workspace as it was, and the way back.

use palisade_runner::{Checked, Client, Failure, Pipeline, RestoreTerms};
use rmcp::model::JsonObject;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::render::{self, Reply};
use crate::tools::{arguments, object};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TakeArguments {
    session: String,
    #[serde(default)]
    label: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RestoreArguments {
    session: String,
    checkpoint: String,
    #[serde(default)]
    dry_run: bool,
    #[serde(default)]
    force: bool,
}

pub(crate) async fn take(pipeline: &Pipeline, client: Client, given: Option<JsonObject>) -> Reply {
    let given: TakeArguments = match arguments(pipeline, given) {
        Ok(given) => given,
        Err(reply) => return *reply,
    };
    reply(pipeline.checkpoints().take(&given.session, &given.label, &client).await, render::taken)
}

pub(crate) async fn restore(pipeline: &Pipeline, client: Client, given: Option<JsonObject>) -> Reply {
    let given: RestoreArguments = match arguments(pipeline, given) {
        Ok(given) => given,
        Err(reply) => return *reply,
    };
    let terms = RestoreTerms { dry_run: given.dry_run, force: given.force };
    reply(pipeline.checkpoints().restore(&given.session, &given.checkpoint, terms, &client).await, render::restored)
}

fn reply<T>(result: Result<Checked<T>, Failure>, done: impl FnOnce(&T) -> Reply) -> Reply {
    match result {
        Ok(Checked::Done(result)) => done(&result),
        Ok(Checked::Refused(refusal)) => render::denied(&refusal),
        Ok(Checked::Unanswered(unanswered)) => render::unanswered(&unanswered),
        Err(failure) => render::failed(&failure),
    }
}

pub(crate) fn taken_schema() -> Value {
    object(
        &json!({
            "checkpoint": { "type": "string" },
            "taken": { "type": "string" },
            "files": { "type": "integer" },
            "bytes": { "type": "integer" },
            "not_covered": { "type": "array", "items": { "type": "string" } },
            "status": { "type": "string" },
            "error": { "type": "string" },
        }),
        &[],
    )
}

pub(crate) fn restored_schema() -> Value {
    let paths = json!({ "type": "object", "properties": {
        "count": { "type": "integer" }, "paths": { "type": "array", "items": { "type": "string" } } } });
    object(
        &json!({
            "dry_run": { "type": "boolean" },
            "write": paths,
            "delete": paths,
            "conflicts": paths,
            "left": paths,
            "failed": { "type": "array", "items": { "type": "string" } },
            "undo": { "type": "string" },
            "status": { "type": "string" },
            "error": { "type": "string" },
        }),
        &[],
    )
}
