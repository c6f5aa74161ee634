//! opencode's `tool.execute.before` (measured with opencode 1.18.33), through the plugin that `setup` writes: it hands over what opencode
//! gives it, and throws unless the answer is one of these objects.

use serde_json::{Value, json};

use super::{Asked, Kind, Protocol, Spoken, named_by, text};
use crate::cli::hook::act::{Said, ToolUse};

pub(super) const PROTOCOL: Protocol = Protocol { tools: TOOLS, asked, told };

const TOOLS: &[(&str, Kind)] = &[
    ("bash", Kind::Command("command")),
    ("read", Kind::Read("filePath")),
    ("write", Kind::Write("filePath")),
    ("edit", Kind::Write("filePath")),
    ("multiedit", Kind::Write("filePath")),
    ("patch", Kind::Patch("patchText")),
    ("apply_patch", Kind::Patch("patchText")),
    ("list", Kind::List("path")),
    ("glob", Kind::List("path")),
    ("grep", Kind::Search("path")),
    ("webfetch", Kind::Fetch("url")),
    ("websearch", Kind::Nothing),
    ("todowrite", Kind::Nothing),
    ("todoread", Kind::Nothing),
    ("question", Kind::Nothing),
    // What other agents do is asked about when they do it; no command of a skill's text is run.
    ("task", Kind::Nothing),
    ("skill", Kind::Nothing),
    // A call of a tool that is not there.
    ("invalid", Kind::Nothing),
];

fn asked(request: &Value) -> Result<Asked, String> {
    let tool = text(request, "tool").ok_or("the request has no `tool`")?;
    let input = request.get("args").and_then(Value::as_object).ok_or("the request has no `args`")?;
    let directory = text(request, "directory").unwrap_or_default();
    Ok(Asked {
        session: text(request, "sessionID"),
        cwd: directory.clone().into(),
        project: Some(directory.into()),
        server_tool: named_by(&tool, '_', TOOLS),
        tool,
        input: input.clone(),
    })
}

fn told(event: &ToolUse, said: &Said) -> Spoken {
    match said {
        Said::Nothing => super::json(&json!({ "palisade": "go on" })),
        Said::Rewrite(command) => {
            let mut input = event.input.clone();
            input.insert("command".to_owned(), command.clone().into());
            super::json(&json!({ "palisade": "go on", "args": input }))
        }
        Said::Ask(why) => {
            let why = format!("{why} A person has to say yes, and opencode asks nobody for a plugin.");
            Spoken {
                stderr: format!("{why}\n"),
                status: 2,
                ..super::json(&json!({ "palisade": "deny", "reason": why }))
            }
        }
        Said::Deny(why) => Spoken {
            stderr: format!("{why}\n"),
            status: 2,
            ..super::json(&json!({ "palisade": "deny", "reason": why }))
        },
    }
}
