//! `job_read`, `job_write` and `job_signal`: what goes on after its call has left.

use std::time::Duration;

use palisade_runner::{Client, Cursor, Failure, Follower, Pipeline, Reached, Reading, TerminalSize};
use rmcp::model::JsonObject;
use serde::Deserialize;

use crate::render::{self, Reply};
use crate::tools::arguments;

/// The tool that reads a job.
pub(crate) const READ: &str = "job_read";

/// How long a call waits for what the job says to its input.
const ANSWER: Duration = Duration::from_millis(500);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadArguments {
    job: String,
    cursor: Option<String>,
    wait_ms: Option<u64>,
    max_output: Option<usize>,
    keep: Option<String>,
    grep: Option<String>,
    grep_context: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WriteArguments {
    job: String,
    input: String,
    #[serde(default)]
    eof: bool,
    wait_ms: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SignalArguments {
    job: String,
    signal: String,
    rows: Option<u16>,
    cols: Option<u16>,
}

pub(crate) async fn read(pipeline: &Pipeline, given: Option<JsonObject>, follower: Follower) -> Reply {
    let given: ReadArguments = match arguments(pipeline, given) {
        Ok(given) => given,
        Err(reply) => return *reply,
    };
    let cursor = match given.cursor.map(|cursor| cursor.parse::<Cursor>()).transpose() {
        Ok(cursor) => cursor,
        Err(error) => return Reply::bad_argument(&pipeline.redact(&error.to_string())),
    };
    let view = super::exec::view(
        super::exec::shown(pipeline, given.max_output),
        given.keep.as_deref(),
        given.grep.as_deref(),
        given.grep_context,
    );
    let view = match view {
        Ok(view) => Some(view),
        Err(error) => return Reply::bad_argument(&pipeline.redact(&error)),
    };
    let wait = given.wait_ms.map_or(super::exec::YIELD, Duration::from_millis);
    let reading = Reading { cursor, wait, view, follower };
    match pipeline.jobs().read(&given.job, reading).await {
        Ok(result) => render::ran(&result),
        Err(failure) => render::failed(&failure),
    }
}

pub(crate) async fn write(pipeline: &Pipeline, client: Client, given: Option<JsonObject>) -> Reply {
    let given: WriteArguments = match arguments(pipeline, given) {
        Ok(given) => given,
        Err(reply) => return *reply,
    };
    let wait = given.wait_ms.map_or(ANSWER, Duration::from_millis);
    let reading = Reading { wait, ..Reading::default() };
    let reached = pipeline.jobs().write(&given.job, given.input.as_bytes(), given.eof, reading, &client).await;
    reply(asked(pipeline, reached).await)
}

pub(crate) async fn signal(pipeline: &Pipeline, client: Client, given: Option<JsonObject>) -> Reply {
    let given: SignalArguments = match arguments(pipeline, given) {
        Ok(given) => given,
        Err(reply) => return *reply,
    };
    let size = match (given.rows, given.cols) {
        (Some(rows), Some(cols)) => Some(TerminalSize { rows, cols }),
        (None, None) => None,
        _ => return Reply::bad_argument(&pipeline.redact("`rows` and `cols` go together")),
    };
    let reached = pipeline.jobs().signal(&given.job, &given.signal, size, &client).await;
    reply(asked(pipeline, reached).await)
}

/// What needs a person's yes takes one that is there, or waits for one.
async fn asked(pipeline: &Pipeline, reached: Result<Reached, Failure>) -> Result<Reached, Failure> {
    match reached {
        Ok(Reached::Ask(pending)) => pipeline.jobs().ask(*pending, Duration::ZERO).await,
        other => other,
    }
}

fn reply(result: Result<Reached, Failure>) -> Reply {
    match result {
        Ok(Reached::Shown(result)) => render::ran(&result),
        Ok(Reached::Refused(refusal)) => render::denied(&refusal),
        Ok(Reached::Ask(pending)) => render::unregistered_act(&pending),
        Ok(Reached::Unanswered(unanswered)) => render::unanswered(&unanswered),
        Err(failure) => render::failed(&failure),
    }
}
