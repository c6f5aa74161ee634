//! Copilot CLI's `preToolUse` (measured with Copilot CLI 1.0.102).
//!
//! `allow` would skip the client's own deny rules, so that a rewritten command is left to these. All arguments are replaced by the rewritten
//! ones, so that every field is copied.

use serde_json::{Value, json};

use super::{Asked, Kind, Protocol, Spoken, directory, named_by, text};
use crate::cli::hook::act::{Said, ToolUse};

pub(super) const PROTOCOL: Protocol = Protocol { tools: TOOLS, asked, told };

const TOOLS: &[(&str, Kind)] = &[
    ("bash", Kind::Command("command")),
    ("view", Kind::Read("path")),
    ("create", Kind::Write("path")),
    ("edit", Kind::Write("path")),
    ("apply_patch", Kind::Patch("input")),
    ("grep", Kind::Search("paths")),
    ("rg", Kind::Search("paths")),
    ("glob", Kind::List("paths")),
    ("web_fetch", Kind::Fetch("url")),
    // They look at, or end, what was asked about when it began. Not here: `write_bash`, which types into it.
    ("read_bash", Kind::Nothing),
    ("stop_bash", Kind::Nothing),
    ("list_bash", Kind::Nothing),
    // What other agents do is asked about when they do it; no command of a skill's text is run.
    ("task", Kind::Nothing),
    ("read_agent", Kind::Nothing),
    ("write_agent", Kind::Nothing),
    ("list_agents", Kind::Nothing),
    ("skill", Kind::Nothing),
    // Its own notes.
    ("sql", Kind::Nothing),
    ("session_store_sql", Kind::Nothing),
    ("ask_user", Kind::Nothing),
    ("report_intent", Kind::Nothing),
    ("update_todo", Kind::Nothing),
];

fn asked(request: &Value) -> Result<Asked, String> {
    let tool = text(request, "toolName").ok_or("the request has no `toolName`")?;
    let arguments = request.get("toolArgs").ok_or("the request has no `toolArgs`")?;
    // They come as JSON within a text, or as they are.
    let read = match arguments {
        Value::String(text) => serde_json::from_str(text).map_err(|error| format!("`toolArgs` is no JSON: {error}"))?,
        other => other.clone(),
    };
    let input = read.as_object().ok_or("`toolArgs` is no object")?;
    let cwd: std::path::PathBuf = text(request, "cwd").unwrap_or_default().into();
    Ok(Asked {
        session: text(request, "sessionId"),
        project: directory("COPILOT_PROJECT_DIR").or_else(|| Some(cwd.clone())),
        cwd,
        server_tool: named_by(&tool, '-', TOOLS),
        tool,
        input: input.clone(),
    })
}

fn told(event: &ToolUse, said: &Said) -> Spoken {
    let answer = |decision: &str, why: &str| {
        super::json(&json!({ "permissionDecision": decision, "permissionDecisionReason": why }))
    };
    match said {
        Said::Nothing => Spoken::default(),
        Said::Rewrite(command) => {
            let mut input = event.input.clone();
            input.insert("command".to_owned(), command.clone().into());
            super::json(&json!({ "modifiedArgs": input }))
        }
        Said::Ask(why) => answer("ask", why),
        Said::Deny(why) => Spoken { stderr: format!("{why}\n"), status: 2, ..answer("deny", why) },
    }
}
