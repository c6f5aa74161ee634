//! Cursor's `beforeShellExecution`, `beforeReadFile` and `beforeMCPExecution` (from its documentation, not measured).

use serde_json::{Map, Value, json};

use super::{Asked, Kind, Protocol, Spoken, text};
use crate::cli::hook::act::{Said, ToolUse};

pub(super) const PROTOCOL: Protocol = Protocol { tools: TOOLS, asked, told };

/// It has an event for each, which is the tool's name here.
const TOOLS: &[(&str, Kind)] =
    &[("beforeShellExecution", Kind::Command("command")), ("beforeReadFile", Kind::Read("file_path"))];

fn asked(request: &Value) -> Result<Asked, String> {
    let event = text(request, "hook_event_name").ok_or("the request has no `hook_event_name`")?;
    let roots = request.get("workspace_roots").and_then(Value::as_array);
    let root = roots.and_then(|roots| roots.first()?.as_str().map(std::path::PathBuf::from));
    let cwd = text(request, "cwd").filter(|cwd| !cwd.is_empty()).map(std::path::PathBuf::from).or_else(|| root.clone());
    let mut input = Map::new();
    for field in ["command", "file_path"] {
        input.extend(request.get(field).map(|value| (field.to_owned(), value.clone())));
    }
    let server_tool = if event == "beforeMCPExecution" {
        let server = text(request, "server").or_else(|| text(request, "url")).or_else(|| text(request, "command"));
        Some(server.zip(text(request, "tool_name")).ok_or("the request does not name the server and its tool")?)
    } else {
        None
    };
    Ok(Asked {
        session: text(request, "conversation_id"),
        cwd: cwd.unwrap_or_default(),
        project: root,
        tool: event,
        input,
        server_tool,
    })
}

fn told(_: &ToolUse, said: &Said) -> Spoken {
    let answer = |permission: &str, why: &str| {
        super::json(&json!({ "permission": permission, "user_message": why, "agent_message": why }))
    };
    match said {
        Said::Nothing => super::json(&json!({ "permission": "allow" })),
        Said::Rewrite(command) => {
            super::json(&json!({ "permission": "allow", "updated_input": { "command": command } }))
        }
        Said::Ask(why) => answer("ask", why),
        Said::Deny(why) => Spoken { stderr: format!("{why}\n"), status: 2, ..answer("deny", why) },
    }
}
