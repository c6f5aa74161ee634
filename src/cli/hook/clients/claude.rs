//! Claude Code's `PreToolUse`, and VS Code's, which takes the same form (measured with Claude Code 2.1.330).
//!
//! A denial is said in JSON and by status 2: either is enough. With `allow` the rewritten command runs without another question, and the
//! client's own deny rules still hold. The rewritten input takes the place of the whole input, so that every field is copied.

use serde_json::{Value, json};

use super::{Asked, Kind, Protocol, Spoken, directory, server_tool, text};
use crate::cli::hook::act::{Said, ToolUse};

pub(super) const PROTOCOL: Protocol = Protocol { tools: TOOLS, asked, told };

const TOOLS: &[(&str, Kind)] = &[
    ("Bash", Kind::Command("command")),
    ("Monitor", Kind::Command("command")),
    ("Read", Kind::Read("file_path")),
    ("NotebookRead", Kind::Read("notebook_path")),
    ("Grep", Kind::Search("path")),
    ("Glob", Kind::List("path")),
    ("LS", Kind::List("path")),
    ("Write", Kind::Write("file_path")),
    ("Edit", Kind::Write("file_path")),
    ("MultiEdit", Kind::Write("file_path")),
    ("NotebookEdit", Kind::Write("notebook_path")),
    ("WebFetch", Kind::Fetch("url")),
    // Their own machines search and remember; nothing is done here.
    ("WebSearch", Kind::Nothing),
    ("ToolSearch", Kind::Nothing),
    ("TodoWrite", Kind::Nothing),
    ("TaskCreate", Kind::Nothing),
    ("TaskUpdate", Kind::Nothing),
    ("TaskList", Kind::Nothing),
    ("TaskGet", Kind::Nothing),
    ("AskUserQuestion", Kind::Nothing),
    ("EnterPlanMode", Kind::Nothing),
    ("ExitPlanMode", Kind::Nothing),
    ("ReportFindings", Kind::Nothing),
    ("SendMessage", Kind::Nothing),
    ("ListAgents", Kind::Nothing),
    ("ScheduleWakeup", Kind::Nothing),
    ("CronCreate", Kind::Nothing),
    ("CronDelete", Kind::Nothing),
    ("CronList", Kind::Nothing),
    // What other agents do is asked about when they do it.
    ("Agent", Kind::Nothing),
    ("Task", Kind::Nothing),
    // They look at, or end, what was asked about when it began.
    ("BashOutput", Kind::Nothing),
    ("TaskOutput", Kind::Nothing),
    ("KillShell", Kind::Nothing),
    ("TaskStop", Kind::Nothing),
    ("ExitWorktree", Kind::Nothing),
    // Not here: `Skill`, whose text may hold commands that no hook sees, `EnterWorktree`, `Workflow`, and `PowerShell`, which quotes otherwise.
];

fn asked(request: &Value) -> Result<Asked, String> {
    let event = text(request, "hook_event_name").unwrap_or_default();
    if event != "PreToolUse" {
        return Err(format!("the hook is for `PreToolUse`, and was asked at `{event}`"));
    }
    let tool = text(request, "tool_name").ok_or("the request has no `tool_name`")?;
    let input = request.get("tool_input").and_then(Value::as_object).ok_or("the request has no `tool_input`")?;
    Ok(Asked {
        session: text(request, "session_id"),
        cwd: text(request, "cwd").unwrap_or_default().into(),
        project: directory("CLAUDE_PROJECT_DIR"),
        server_tool: server_tool(&tool),
        tool,
        input: input.clone(),
    })
}

fn told(event: &ToolUse, said: &Said) -> Spoken {
    let output = |fields: Value| {
        let mut fields = fields;
        if let Some(fields) = fields.as_object_mut() {
            fields.insert("hookEventName".to_owned(), "PreToolUse".into());
        }
        super::json(&json!({ "hookSpecificOutput": fields }))
    };
    match said {
        Said::Nothing => Spoken::default(),
        Said::Rewrite(command) => {
            let mut input = event.input.clone();
            input.insert("command".to_owned(), command.clone().into());
            output(json!({ "permissionDecision": "allow", "updatedInput": input }))
        }
        Said::Ask(why) => output(json!({ "permissionDecision": "ask", "permissionDecisionReason": why })),
        Said::Deny(why) => {
            let said = output(json!({ "permissionDecision": "deny", "permissionDecisionReason": why }));
            Spoken { stderr: format!("{why}\n"), status: 2, ..said }
        }
    }
}
