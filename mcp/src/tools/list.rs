//! `list`: what there is.

use palisade_runner::Pipeline;
use rmcp::model::JsonObject;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::render::{self, Reply};
use crate::tools::{arguments, object};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListArguments {
    #[serde(default)]
    kind: ListKind,
    session: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ListKind {
    #[default]
    Sessions,
    Jobs,
    Checkpoints,
    Targets,
}

pub(crate) async fn call(pipeline: &Pipeline, given: Option<JsonObject>) -> Reply {
    match arguments::<ListArguments>(pipeline, given) {
        Ok(ListArguments { kind: ListKind::Sessions, .. }) => render::sessions(&pipeline.sessions().list().await),
        Ok(ListArguments { kind: ListKind::Jobs, .. }) => render::jobs(&pipeline.jobs().list()),
        Ok(ListArguments { kind: ListKind::Checkpoints, session }) => {
            match pipeline.checkpoints().list(session.as_deref()).await {
                Ok(notes) => render::checkpoints(&notes, pipeline.checkpoints().reading_ahead()),
                Err(failure) => render::failed(&failure),
            }
        }
        Ok(ListArguments { kind: ListKind::Targets, .. }) => render::targets(&pipeline.sessions().targets()),
        Err(reply) => *reply,
    }
}

pub(crate) fn schema() -> Value {
    object(
        &json!({ "sessions": { "type": "array" }, "jobs": { "type": "array" }, "checkpoints": { "type": "array" }, "reading": { "type": "object" }, "targets": { "type": "array" },
            "omitted": { "type": "integer" }, "error": { "type": "string" } }),
        &[],
    )
}
