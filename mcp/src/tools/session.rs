//! `session_open` and `session_close`.

use palisade_runner::{Checked, Client, Pipeline};
use rmcp::model::JsonObject;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::render::{self, Reply};
use crate::tools::{arguments, object};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OpenArguments {
    target: Option<String>,
    cwd: Option<String>,
    session: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CloseArguments {
    session: String,
}

pub(crate) async fn open(pipeline: &Pipeline, client: Client, given: Option<JsonObject>) -> Reply {
    let given: OpenArguments = match arguments(pipeline, given) {
        Ok(given) => given,
        Err(reply) => return *reply,
    };
    let opened = match &given.session {
        Some(_) if given.cwd.is_some() || given.target.is_some() => {
            return Reply::bad_argument(
                &pipeline
                    .redact("a session that is started again stands where it stood: give no `cwd` and no `target`"),
            );
        }
        Some(session) => pipeline.sessions().reopen(session, &client).await,
        None => match &given.target {
            Some(target) => pipeline.sessions().open_at(target, given.cwd.as_deref(), &client).await,
            None => pipeline
                .sessions()
                .open(given.cwd.as_deref(), &client)
                .await
                .map(|opened| Checked::Done(Box::new(opened))),
        },
    };
    match opened {
        Ok(Checked::Done(opened)) => render::opened(&opened),
        Ok(Checked::Refused(refusal)) => render::denied(&refusal),
        Ok(Checked::Unanswered(unanswered)) => render::unanswered(&unanswered),
        Err(failure) => render::failed(&failure),
    }
}

pub(crate) async fn close(pipeline: &Pipeline, given: Option<JsonObject>) -> Reply {
    let given: CloseArguments = match arguments(pipeline, given) {
        Ok(given) => given,
        Err(reply) => return *reply,
    };
    match pipeline.sessions().close(&given.session).await {
        Ok(()) => render::closed(),
        Err(failure) => render::failed(&failure),
    }
}

pub(crate) fn opened_schema() -> Value {
    object(
        &json!({
            "session": { "type": "string" },
            "cwd": { "type": "string" },
            "restarted": { "type": "boolean" },
            "state_lost": { "type": "boolean" },
            "functions_lost": { "type": "boolean" },
            "sandbox": { "type": "object" },
            "target": { "type": "object" },
            "guarded": { "type": "boolean" },
            "status": { "type": "string" },
            "approval": { "type": "object" },
            "error": { "type": "string" },
        }),
        &[],
    )
}

pub(crate) fn closed_schema() -> Value {
    object(&json!({ "closed": { "type": "boolean" }, "error": { "type": "string" } }), &[])
}
