//! Codex's `PreToolUse` (measured with Codex 0.169.0). Its form is Claude Code's, with tools of its own.
//!
//! It is strict: a field that it does not know, `ask`, or a status of 2 without a word on standard error is a hook that has failed, and the
//! call goes on. What is typed into a program that runs already (`write_stdin`) is asked of no hook.

use serde_json::{Value, json};

use super::{Asked, Kind, Protocol, Spoken, server_tool, text};
use crate::cli::hook::act::{Said, ToolUse};

pub(super) const PROTOCOL: Protocol = Protocol { tools: TOOLS, asked, told };

const TOOLS: &[(&str, Kind)] = &[
    // All of its ways to run a command come under this name, and the directory as where the client stands.
    ("Bash", Kind::Command("command")),
    ("apply_patch", Kind::Patch("command")),
    ("view_image", Kind::Read("path")),
    // What other agents do is asked about when they do it.
    ("spawn_agent", Kind::Nothing),
    ("send_input", Kind::Nothing),
    ("wait_agent", Kind::Nothing),
    ("close_agent", Kind::Nothing),
    ("update_plan", Kind::Nothing),
    ("get_goal", Kind::Nothing),
    ("create_goal", Kind::Nothing),
    ("update_goal", Kind::Nothing),
    ("web_search", Kind::Nothing),
    ("request_user_input", Kind::Nothing),
];

fn asked(request: &Value) -> Result<Asked, String> {
    let event = text(request, "hook_event_name").unwrap_or_default();
    if event != "PreToolUse" {
        return Err(format!("the hook is for `PreToolUse`, and was asked at `{event}`"));
    }
    let tool = text(request, "tool_name").ok_or("the request has no `tool_name`")?;
    let input = request.get("tool_input").and_then(Value::as_object).ok_or("the request has no `tool_input`")?;
    let cwd: std::path::PathBuf = text(request, "cwd").unwrap_or_default().into();
    // It starts its hooks where the conversation is, and says with each call where that one is to run.
    let project = std::env::current_dir().ok().filter(|project| cwd.starts_with(project));
    Ok(Asked {
        session: text(request, "session_id"),
        cwd,
        project,
        server_tool: server_tool(&tool),
        tool,
        input: input.clone(),
    })
}

fn told(_: &ToolUse, said: &Said) -> Spoken {
    let output = |decision: &str, more: (&str, Value)| {
        let (name, value) = more;
        super::json(&json!({ "hookSpecificOutput": {
            "hookEventName": "PreToolUse", "permissionDecision": decision, name: value } }))
    };
    let denied = |why: &str| {
        let said = output("deny", ("permissionDecisionReason", why.into()));
        Spoken { stderr: format!("{why}\n"), status: 2, ..said }
    };
    match said {
        Said::Nothing => Spoken::default(),
        Said::Rewrite(command) => output("allow", ("updatedInput", json!({ "command": command }))),
        // It has no question that a hook could ask.
        Said::Ask(why) => denied(&format!("{why} A person has to say yes, and Codex asks nobody for a hook.")),
        Said::Deny(why) => denied(why),
    }
}
