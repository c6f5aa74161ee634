//! `list`: what there is.

use palisade_runner::Pipeline;
use rmcp::model::JsonObject;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::render::{self, Reply};
use crate::tools::{arguments, object};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    #[serde(default)]
    kind: Kind,
    session: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    #[default]
    Sessions,
    Jobs,
    Checkpoints,
    Targets,
}

pub(crate) async fn call(pipeline: &Pipeline, given: Option<JsonObject>) -> Reply {
    match arguments::<Arguments>(pipeline, given) {
        Ok(Arguments { kind: Kind::Sessions, .. }) => render::sessions(&pipeline.sessions().await),
        Ok(Arguments { kind: Kind::Jobs, .. }) => render::jobs(&pipeline.jobs()),
        Ok(Arguments { kind: Kind::Checkpoints, session }) => match pipeline.checkpoints(session.as_deref()).await {
            Ok(notes) => render::checkpoints(&notes, pipeline.reading_ahead()),
            Err(failure) => render::failed(&failure),
        },
        Ok(Arguments { kind: Kind::Targets, .. }) => render::targets(&pipeline.targets()),
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
