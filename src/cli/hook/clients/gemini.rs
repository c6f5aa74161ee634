//! Gemini CLI's `BeforeTool` (measured with Gemini CLI 0.61.0).
//!
//! Where standard output has JSON, that counts and not the status. `ask` without a person would keep it waiting for ever.

use serde_json::{Value, json};

use super::{Asked, Kind, Protocol, Spoken, directory, text};
use crate::cli::hook::act::{Said, ToolUse};

pub(super) const PROTOCOL: Protocol = Protocol { tools: TOOLS, asked, told };

const TOOLS: &[(&str, Kind)] = &[
    ("run_shell_command", Kind::Command("command")),
    ("read_file", Kind::Read("file_path")),
    ("list_directory", Kind::List("dir_path")),
    ("glob", Kind::List("dir_path")),
    ("grep_search", Kind::Search("dir_path")),
    ("search_file_content", Kind::Search("dir_path")),
    ("write_file", Kind::Write("file_path")),
    ("replace", Kind::Write("file_path")),
    ("web_fetch", Kind::Mentioned("prompt")),
    // What other agents do is asked about when they do it; no command of a skill's text is run.
    ("invoke_agent", Kind::Nothing),
    ("activate_skill", Kind::Nothing),
    ("list_background_processes", Kind::Nothing),
    ("read_background_output", Kind::Nothing),
    ("update_topic", Kind::Nothing),
    ("write_todos", Kind::Nothing),
    ("google_web_search", Kind::Nothing),
    ("ask_user", Kind::Nothing),
    ("enter_plan_mode", Kind::Nothing),
    ("exit_plan_mode", Kind::Nothing),
];

fn asked(request: &Value) -> Result<Asked, String> {
    let event = text(request, "hook_event_name").unwrap_or_default();
    if event != "BeforeTool" {
        return Err(format!("the hook is for `BeforeTool`, and was asked at `{event}`"));
    }
    let tool = text(request, "tool_name").ok_or("the request has no `tool_name`")?;
    let input = request.get("tool_input").and_then(Value::as_object).ok_or("the request has no `tool_input`")?;
    let context = request.get("mcp_context").filter(|context| context.is_object());
    let server_tool = match context {
        Some(context) => {
            let server = text(context, "server_name").ok_or("the request does not name the server of its tool")?;
            Some((server, text(context, "tool_name").unwrap_or_else(|| tool.clone())))
        }
        None => None,
    };
    Ok(Asked {
        session: text(request, "session_id"),
        cwd: text(request, "cwd").unwrap_or_default().into(),
        project: directory("GEMINI_PROJECT_DIR"),
        server_tool,
        tool,
        input: input.clone(),
    })
}

fn told(event: &ToolUse, said: &Said) -> Spoken {
    let denied = |why: &str| {
        let said = super::json(&json!({ "decision": "deny", "reason": why }));
        Spoken { stderr: format!("{why}\n"), status: 2, ..said }
    };
    match said {
        Said::Nothing => Spoken::default(),
        Said::Rewrite(command) => {
            let mut input = event.input.clone();
            input.insert("command".to_owned(), command.clone().into());
            super::json(
                &json!({ "decision": "allow", "hookSpecificOutput": { "hookEventName": "BeforeTool", "tool_input": input } }),
            )
        }
        Said::Ask(why) => denied(&format!("{why} A person has to say yes, and Gemini CLI asks nobody for a hook.")),
        Said::Deny(why) => denied(why),
    }
}
