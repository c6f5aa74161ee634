//! The tools: one table of what clients see, one file a tool for what it does.

pub(crate) mod checkpoint;
pub(crate) mod exec;
pub(crate) mod explain;
pub(crate) mod job;
pub(crate) mod list;
pub(crate) mod session;

use std::sync::Arc;
use std::time::Duration;

use palisade_runner::{Client, Follower, Pipeline, Stop};
use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::render::Reply;

/// One tool as clients see it.
struct ToolEntry {
    name: &'static str,
    description: &'static str,
    /// Read-only, destructive, idempotent, open world: all four are always told, since clients take the worst for a
    /// missing one.
    hints: [bool; 4],
    /// Parameters as (name, JSON type, description, required). What a name tells needs no description.
    parameters: &'static [(&'static str, &'static str, &'static str, bool)],
    output: fn() -> Value,
}

const TOOLS: &[ToolEntry] = &[
    ToolEntry {
        name: "exec",
        description: "Run a bash command in a sandbox. It is judged first; a denial says why and what would be allowed. \
                      Without `session` it runs in a fresh shell; with it, cwd, variables and functions carry over.",
        hints: [false, true, false, true],
        parameters: &[
            ("command", "string", "as for bash -c", true),
            ("session", "string", "from session_open", false),
            ("cwd", "string", "", false),
            ("timeout_ms", "integer", "default 120000", false),
            ("yield_ms", "integer", "then a job; 0: at once, in its own shell, with input; default 10000", false),
            ("tty", "boolean", "own shell, with input", false),
            ("rows", "integer", "", false),
            ("cols", "integer", "", false),
            ("env", "object", "", false),
            ("stdin", "string", "", false),
            ("max_output", "integer", "characters, default 20000", false),
            ("keep", "string", "lines: head:N,tail:N", false),
            ("grep", "string", "", false),
            ("grep_context", "integer", "", false),
            ("ansi", "string", "keep: with colours", false),
            ("reason", "string", "for the record", false),
        ],
        output: exec::schema,
    },
    ToolEntry {
        name: "explain",
        description: "Judge a command without running it, or show a decision.",
        hints: [true, false, true, false],
        parameters: &[
            ("command", "string", "", false),
            ("decision", "string", "", false),
            ("session", "string", "", false),
            ("cwd", "string", "", false),
        ],
        output: explain::schema,
    },
    ToolEntry {
        name: job::READ,
        description: "Wait for a job to end, and read it.",
        hints: [true, false, true, false],
        parameters: &[
            ("job", "string", "", true),
            ("cursor", "string", "from the last result", false),
            ("wait_ms", "integer", "default 10000; 0: now", false),
            ("max_output", "integer", "", false),
            ("keep", "string", "", false),
            ("grep", "string", "", false),
            ("grep_context", "integer", "", false),
        ],
        output: exec::schema,
    },
    ToolEntry {
        name: "job_write",
        description: "Write to a job's input. Judged like a command.",
        hints: [false, true, false, true],
        parameters: &[
            ("job", "string", "", true),
            ("input", "string", "with its line end; \\u0003 is Ctrl-C", true),
            ("eof", "boolean", "", false),
            ("wait_ms", "integer", "default 500", false),
        ],
        output: exec::schema,
    },
    ToolEntry {
        name: "job_signal",
        description: "Signal a job. KILL follows TERM after 5 s.",
        hints: [false, true, false, false],
        parameters: &[
            ("job", "string", "", true),
            ("signal", "string", "TERM, KILL, INT, HUP, QUIT, USR1, USR2, STOP, CONT, WINCH", true),
            ("rows", "integer", "with WINCH: tty size", false),
            ("cols", "integer", "", false),
        ],
        output: exec::schema,
    },
    ToolEntry {
        name: "session_open",
        description: "Open a shell that keeps its state between commands.",
        hints: [false, false, false, true],
        parameters: &[
            ("target", "string", "default: this machine", false),
            ("cwd", "string", "", false),
            ("session", "string", "restart one that ended", false),
        ],
        output: session::opened_schema,
    },
    ToolEntry {
        name: "session_close",
        description: "End a session and all in it.",
        hints: [false, true, true, false],
        parameters: &[("session", "string", "", true)],
        output: session::closed_schema,
    },
    ToolEntry {
        name: "list",
        description: "List what there is.",
        hints: [true, false, true, false],
        parameters: &[
            ("kind", "string", "sessions (default), jobs, checkpoints, targets", false),
            ("session", "string", "", false),
        ],
        output: list::schema,
    },
    ToolEntry {
        name: "checkpoint",
        description: "Keep the workspace's files as they are.",
        hints: [false, false, false, false],
        parameters: &[("session", "string", "", true), ("label", "string", "", false)],
        output: checkpoint::taken_schema,
    },
    ToolEntry {
        name: "restore",
        description: "Put the files back. What others changed stays unless `force`.",
        hints: [false, true, true, false],
        parameters: &[
            ("session", "string", "", true),
            ("checkpoint", "string", "", true),
            ("dry_run", "boolean", "only tell", false),
            ("force", "boolean", "", false),
        ],
        output: checkpoint::restored_schema,
    },
];

/// The tools that `permitted` lets through, in their fixed order.
pub(crate) fn list(permitted: impl Fn(&str) -> bool) -> Vec<Tool> {
    TOOLS.iter().filter(|entry| permitted(entry.name)).map(ToolEntry::tool).collect()
}

/// Whether there is such a tool at all.
pub(crate) fn exists(name: &str) -> bool {
    TOOLS.iter().any(|entry| entry.name == name)
}

/// Calls a tool, for somebody who can be told the end later, or not; none if there is none of that name.
pub(crate) async fn call(
    pipeline: &Arc<Pipeline>,
    tool: &str,
    client: Client,
    stop: Stop,
    arguments: Option<JsonObject>,
    as_task: bool,
    follower: Follower,
) -> Option<Reply> {
    Some(match tool {
        "exec" => exec::call(pipeline, client, stop, arguments, as_task, follower).await,
        "explain" => explain::call(pipeline, client, arguments).await,
        job::READ => job::read(pipeline, arguments, follower).await,
        "job_write" => job::write(pipeline, client, arguments).await,
        "job_signal" => job::signal(pipeline, client, arguments).await,
        "session_open" => session::open(pipeline, client, arguments).await,
        "session_close" => session::close(pipeline, arguments).await,
        "checkpoint" => checkpoint::take(pipeline, client, arguments).await,
        "restore" => checkpoint::restore(pipeline, client, arguments).await,
        "list" => list::call(pipeline, arguments).await,
        _ => return None,
    })
}

/// The longest that a call waits for a person.
pub(crate) const MAX_TIMEOUT: Duration = Duration::from_secs(3600);

/// How long a call waits for a person that gives no time itself.
pub(crate) fn usual_patience(tool: &str) -> Duration {
    if tool == "exec" { exec::YIELD } else { Duration::ZERO }
}

/// How long a call waits for a person: as long as it says that it waits for what it starts, if it says so.
pub(crate) fn patience(tool: &str, arguments: Option<&JsonObject>) -> Option<Duration> {
    let name = match tool {
        "exec" => "yield_ms",
        "job_write" => "wait_ms",
        _ => return None,
    };
    let given = arguments.and_then(|arguments| arguments.get(name)).and_then(Value::as_u64)?;
    Some(Duration::from_millis(given).min(MAX_TIMEOUT))
}

/// A tool's arguments. What does not fit is told in full: the agent has to be able to mend it.
pub(crate) fn arguments<T: DeserializeOwned>(
    pipeline: &Pipeline,
    arguments: Option<JsonObject>,
) -> Result<T, Box<Reply>> {
    let arguments = arguments.unwrap_or_default();
    // The message may quote what was sent.
    read(&arguments).map_err(|error| Box::new(Reply::bad_argument(&pipeline.redact(&error))))
}

/// Reads the arguments. An error names the argument that does not fit. The search takes out one at a time: without the wrong one the error
/// is gone, or is another one.
fn read<T: DeserializeOwned>(arguments: &JsonObject) -> Result<T, String> {
    let parse = |arguments: JsonObject| serde_json::from_value::<T>(Value::Object(arguments));
    let error = match parse(arguments.clone()) {
        Ok(read) => return Ok(read),
        Err(error) => error.to_string(),
    };
    let is_named = error.starts_with("unknown field") || error.starts_with("missing field");
    let is_culprit = |name: &&String| {
        let mut others = arguments.clone();
        others.remove(*name);
        parse(others).err().is_none_or(|other| other.to_string() != error)
    };
    match arguments.keys().filter(|_| !is_named).find(is_culprit) {
        Some(name) => Err(format!("`{name}`: {error}")),
        None => Err(error),
    }
}

/// An object schema with these properties, the first `required` of which are.
pub(crate) fn object(properties: &Value, required: &[&str]) -> Value {
    json!({ "type": "object", "properties": properties, "required": required })
}

impl ToolEntry {
    fn tool(&self) -> Tool {
        let [read_only, destructive, idempotent, open_world] = self.hints;
        let annotations = ToolAnnotations::new()
            .read_only(read_only)
            .destructive(destructive)
            .idempotent(idempotent)
            .open_world(open_world);
        Tool::new(self.name, self.description, self.input())
            .with_raw_output_schema(Arc::new(as_object((self.output)())))
            .with_annotations(annotations)
    }

    fn input(&self) -> JsonObject {
        let properties: JsonObject = self
            .parameters
            .iter()
            .map(|(name, kind, description, _)| {
                let property = match *description {
                    "" => json!({ "type": kind }),
                    description => json!({ "type": kind, "description": description }),
                };
                ((*name).to_owned(), property)
            })
            .collect();
        let required: Vec<&str> =
            self.parameters.iter().filter(|(_, _, _, required)| *required).map(|(name, ..)| *name).collect();
        as_object(json!({
            "type": "object", "properties": properties, "required": required, "additionalProperties": false
        }))
    }
}

fn as_object(value: Value) -> JsonObject {
    match value {
        Value::Object(object) => object,
        _ => JsonObject::new(),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn every_tool_tells_all_hints_and_both_schemas() {
        let tools = list(|_| true);
        assert_eq!(tools.len(), TOOLS.len());
        for tool in &tools {
            assert!(tool.name.len() <= 20, "{}", tool.name);
            let hints = tool.annotations.as_ref().map(|hints| {
                [hints.read_only_hint, hints.destructive_hint, hints.idempotent_hint, hints.open_world_hint]
            });
            assert!(hints.is_some_and(|hints| hints.iter().all(Option::is_some)), "{}", tool.name);
            assert!(tool.output_schema.is_some(), "{}", tool.name);
        }
    }

    #[test]
    fn an_argument_that_does_not_fit_is_named() {
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        #[expect(dead_code, reason = "only read")]
        struct Given {
            command: String,
            rows: Option<u16>,
            #[serde(default)]
            env: std::collections::BTreeMap<String, String>,
        }
        for (given, said) in [
            (json!({ "command": 7 }), "`command`: invalid type: integer `7`, expected a string"),
            (json!({ "command": "a", "rows": -1 }), "`rows`: invalid value: integer `-1`, expected u16"),
            (json!({ "command": "a", "env": { "A": 7 } }), "`env`: invalid type: integer `7`, expected a string"),
            (json!({ "rows": 7 }), "missing field `command`"),
            (json!({ "command": "a", "host": "b" }), "unknown field `host`, expected one of `command`, `rows`, `env`"),
        ] {
            assert_eq!(read::<Given>(&as_object(given)).unwrap_err(), said);
        }
    }

    #[test]
    fn what_the_principal_may_not_use_is_not_listed() {
        let names: Vec<String> = list(|name| name == "explain").iter().map(|tool| tool.name.to_string()).collect();
        assert_eq!(names, ["explain"]);
    }
}
