//! How each client asks, and what it makes of an answer. Knowledge, one file a family of protocols; `docs/clients.md` says how each fails.

mod claude;
mod codex;
mod copilot;
mod cursor;
mod gemini;
mod opencode;

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde_json::{Map, Value};

use super::act::{Said, ToolAct, ToolUse};
use crate::cli::args::{HookClient, HookMode};

/// The status that clients take for a denial, whatever the answer says.
pub(super) const BLOCKED: i32 = 2;

/// An answer: what is written, and the status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Spoken {
    pub(super) stdout: String,
    pub(super) stderr: String,
    pub(super) status: u8,
}

/// One client's side.
pub(super) struct Protocol {
    /// What its tools do.
    tools: &'static [(&'static str, Kind)],
    /// Reads the circumstances of a request.
    asked: fn(&Value) -> Result<Asked, String>,
    /// Writes an answer.
    told: fn(&ToolUse, &Said) -> Spoken,
}

/// What every client says of a tool's use, in its own words.
struct Asked {
    session: Option<String>,
    cwd: PathBuf,
    project: Option<PathBuf>,
    tool: String,
    input: Map<String, Value>,
    /// The server and its tool, where it is another server's.
    server_tool: Option<(String, String)>,
}

/// What a tool does with the fields of its input.
#[derive(Clone, Copy)]
enum Kind {
    /// Runs the text in this field.
    Command(&'static str),
    /// Reads the file that this field names.
    Read(&'static str),
    /// Looks through the directory that this field names; without it, through the one where the client stands.
    Search(&'static str),
    /// Shows the names below such a directory.
    List(&'static str),
    /// Makes or changes the file that this field names.
    Write(&'static str),
    /// Fetches the address in this field.
    Fetch(&'static str),
    /// Fetches the addresses that this field mentions.
    Mentioned(&'static str),
    /// Applies the patch in this field.
    Patch(&'static str),
    /// Nothing outside the client: other tools' uses are asked about by themselves.
    Nothing,
}

/// The protocol of a client.
pub(super) fn of(client: HookClient) -> &'static Protocol {
    match client {
        HookClient::Claude | HookClient::Vscode => &claude::PROTOCOL,
        HookClient::Codex => &codex::PROTOCOL,
        HookClient::Gemini => &gemini::PROTOCOL,
        HookClient::Cursor => &cursor::PROTOCOL,
        HookClient::Copilot => &copilot::PROTOCOL,
        HookClient::Opencode => &opencode::PROTOCOL,
    }
}

impl HookClient {
    /// As it is typed.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

impl Protocol {
    /// Reads what a client is about to do.
    ///
    /// # Errors
    /// If that is not understood.
    pub(super) fn read(&self, request: &Value) -> Result<ToolUse, String> {
        let Asked { session, cwd, project, tool, input, server_tool } = (self.asked)(request)?;
        if !cwd.is_absolute() {
            return Err(format!("the client does not say where it stands: {}", cwd.display()));
        }
        let acts = match &server_tool {
            // Palisade's own too: a project's file can give another server its name.
            Some((server, tool)) => vec![ToolAct::Tool(format!("{server}/{tool}"))],
            None => match self.tools.iter().find(|(name, _)| *name == tool) {
                Some((_, kind)) => acts(*kind, &tool, &input, &cwd)?,
                None => vec![ToolAct::Unknown(tool.clone())],
            },
        };
        if acts.is_empty() {
            return Err(format!("the tool `{tool}` does nothing that could be asked about"));
        }
        // A shell tool that is told where to run is judged there.
        let runs = acts.iter().any(|act| matches!(act, ToolAct::Command { .. }));
        let told = ["workdir", "dir_path"].into_iter().find_map(|name| input.get(name)?.as_str());
        let cwd = told.filter(|_| runs).map_or_else(|| cwd.clone(), |told| cwd.join(told));
        Ok(ToolUse { session, cwd, project, tool, input, acts })
    }

    /// The answer as the client takes it.
    pub(super) fn answer(&self, event: &ToolUse, said: &Said) -> Spoken {
        (self.told)(event, said)
    }

    /// The answer where Palisade has failed: a denial, unless it was to say nothing in any case.
    pub(super) fn failed(&self, why: &str, mode: HookMode) -> Spoken {
        if mode == HookMode::Shadow {
            let said = (self.told)(&nothing(), &Said::Nothing);
            return Spoken { stderr: format!("palisade: {why}\n"), ..said };
        }
        (self.told)(&nothing(), &Said::Deny(format!("Palisade could not judge this, so it is not done: {why}")))
    }
}

/// No use of a tool: what a failure is told about.
fn nothing() -> ToolUse {
    ToolUse {
        session: None,
        cwd: PathBuf::new(),
        project: None,
        tool: String::new(),
        input: Map::new(),
        acts: Vec::new(),
    }
}

fn acts(kind: Kind, tool: &str, input: &Map<String, Value>, cwd: &Path) -> Result<Vec<ToolAct>, String> {
    let field = |name: &str| -> Result<String, String> {
        match input.get(name) {
            Some(Value::String(text)) => Ok(text.clone()),
            // Some give a program and its arguments.
            Some(Value::Array(words)) if words.iter().all(Value::is_string) => Ok(words_of(words)),
            _ => Err(format!("the tool `{tool}` has no text `{name}`")),
        }
    };
    let placed = |path: String| cwd.join(path).to_string_lossy().into_owned();
    // Some name several places, and none means where the client stands.
    let paths = |name: &str| {
        let paths = match input.get(name) {
            Some(Value::Array(paths)) if paths.is_empty() => Some(vec![String::new()]),
            Some(Value::Array(paths)) => paths.iter().map(|path| path.as_str().map(str::to_owned)).collect(),
            Some(Value::String(path)) => Some(vec![path.clone()]),
            None => Some(vec![String::new()]),
            Some(_) => None,
        };
        let paths: Vec<String> = paths.ok_or_else(|| format!("the tool `{tool}` has no text `{name}`"))?;
        Ok::<_, String>(paths.into_iter().map(placed).collect::<Vec<_>>())
    };
    let is_true = |name: &str| input.get(name).and_then(Value::as_bool).unwrap_or(false);
    Ok(match kind {
        Kind::Command(name) => {
            let flags = ["run_in_background", "is_background", "detach"];
            let is_async = input.get("mode").is_some_and(|mode| mode == "async");
            let is_background = flags.iter().any(|flag| is_true(flag)) || is_async || tool == "Monitor";
            vec![ToolAct::Command { text: field(name)?, is_background }]
        }
        Kind::Read(name) => vec![ToolAct::Read(placed(field(name)?))],
        Kind::Search(name) => paths(name)?.into_iter().map(ToolAct::Search).collect(),
        Kind::List(name) => {
            // A pattern can lead elsewhere by itself: what stands in front of its first letter that means more than itself.
            let pattern = input.get("pattern").and_then(Value::as_str).unwrap_or_default();
            let plain = pattern.split(|letter: char| "*?[{".contains(letter)).next().unwrap_or_default();
            let leads = plain.starts_with(['/', '~']) || plain.contains("..");
            let elsewhere = leads.then(|| placed(plain.rsplit_once('/').map_or(plain, |(above, _)| above).to_owned()));
            paths(name)?.into_iter().chain(elsewhere).map(ToolAct::List).collect()
        }
        Kind::Write(name) => vec![ToolAct::Write(placed(field(name)?))],
        Kind::Fetch(name) => vec![ToolAct::Fetch(field(name)?)],
        Kind::Mentioned(name) => {
            let text = field(name)?;
            let is_address = |word: &&str| word.contains("://");
            let addresses = text.split(|letter: char| letter.is_whitespace() || "\"'<>()".contains(letter));
            let fetched: Vec<ToolAct> =
                addresses.filter(is_address).map(|address| ToolAct::Fetch(address.to_owned())).collect();
            if fetched.is_empty() { vec![ToolAct::Unknown(tool.to_owned())] } else { fetched }
        }
        Kind::Patch(name) => patched(&field(name)?, cwd)?,
        Kind::Nothing => vec![ToolAct::Nothing],
    })
}

/// A program and its arguments as one text that means exactly them.
fn words_of(words: &[Value]) -> String {
    let quoted = words.iter().filter_map(Value::as_str).map(|word| {
        let quoted = crate::cli::foreground::words::quote(std::ffi::OsStr::new(word), false);
        String::from_utf8_lossy(&quoted).into_owned()
    });
    quoted.collect::<Vec<_>>().join(" ")
}

/// Lines of a patch that name no file.
const MARKS: [&str; 3] = ["*** Begin Patch", "*** End Patch", "*** End of File"];

/// The files of a patch in the form that models write (`*** Update File: NAME`).
fn patched(patch: &str, cwd: &Path) -> Result<Vec<ToolAct>, String> {
    let placed = |path: &str| cwd.join(path.trim()).to_string_lossy().into_owned();
    let mut acts = Vec::new();
    for line in patch.lines().map(str::trim) {
        if let Some(path) = line.strip_prefix("*** Add File:").or_else(|| line.strip_prefix("*** Move to:")) {
            acts.push(ToolAct::Write(placed(path)));
        } else if let Some(path) = line.strip_prefix("*** Update File:") {
            acts.extend([ToolAct::Read(placed(path)), ToolAct::Write(placed(path))]);
        } else if let Some(path) = line.strip_prefix("*** Delete File:") {
            acts.push(ToolAct::Delete(placed(path)));
        } else if line.starts_with("***") && !MARKS.contains(&line) {
            return Err(format!("the patch has a line `{line}`, which is none that Palisade knows"));
        }
    }
    if acts.is_empty() { Err("the patch names no file".to_owned()) } else { Ok(acts) }
}

/// A field that is a text.
fn text(value: &Value, name: &str) -> Option<String> {
    value.get(name).and_then(Value::as_str).map(str::to_owned)
}

/// `mcp__SERVER__TOOL`.
fn server_tool(tool: &str) -> Option<(String, String)> {
    let (server, tool) = tool.strip_prefix("mcp__")?.split_once("__")?;
    Some((server.to_owned(), tool.to_owned()))
}

/// A tool of another server's where the client joins both names by a letter that stands in few of its own.
fn named_by(tool: &str, joint: char, own: &[(&str, Kind)]) -> Option<(String, String)> {
    let is_own = own.iter().any(|(name, _)| *name == tool);
    let (server, tool) = tool.split_once(joint).filter(|_| !is_own)?;
    Some((server.to_owned(), tool.to_owned()))
}

/// An absolute path of this variable.
fn directory(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute())
}

/// An answer in JSON on standard output.
fn json(value: &Value) -> Spoken {
    Spoken { stdout: format!("{value}\n"), ..Spoken::default() }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    /// Requests as the clients sent them, and what each is understood as: a line each of client, request and acts.
    const REQUESTS: &str = include_str!("requests.jsonl");

    #[test]
    fn requests_of_real_clients_are_understood() {
        let mut clients = std::collections::BTreeSet::new();
        for line in REQUESTS.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let name = line["client"].as_str().unwrap();
            let client = HookClient::from_str(name, false).unwrap();
            let event = of(client).read(&line["request"]);
            let acts = event.map(|event| event.acts.iter().map(|act| format!("{act:?}")).collect::<Vec<_>>());
            assert_eq!(acts.map(|acts| serde_json::json!(acts)), Ok(line["acts"].clone()), "{line}");
            clients.insert(name.to_owned());
        }
        assert_eq!(clients.len(), 5, "{clients:?}");
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        let claude = |input: Value| {
            of(HookClient::Claude).read(&serde_json::json!({
                "hook_event_name": "PreToolUse", "cwd": "/w", "tool_name": "Bash", "tool_input": input }))
        };
        assert!(claude(serde_json::json!({ "command": "ls" })).is_ok());
        for input in [serde_json::json!({}), serde_json::json!({ "command": 1 }), serde_json::json!("ls")] {
            assert!(claude(input.clone()).is_err(), "{input}");
        }
        // A tool of a server that has no name.
        for (client, request) in [
            (
                HookClient::Gemini,
                r#"{"hook_event_name":"BeforeTool","cwd":"/w","tool_name":"x","tool_input":{},"mcp_context":{}}"#,
            ),
            (
                HookClient::Cursor,
                r#"{"hook_event_name":"beforeMCPExecution","workspace_roots":["/w"],"tool_name":"x"}"#,
            ),
        ] {
            assert!(of(client).read(&serde_json::from_str(request).unwrap()).is_err(), "{request}");
        }
        for request in
            ["{}", "[]", r#"{"hook_event_name":"PostToolUse"}"#, r#"{"cwd":"rel","toolName":"bash","toolArgs":{}}"#]
        {
            let request: Value = serde_json::from_str(request).unwrap();
            for client in HookClient::value_variants() {
                assert!(of(*client).read(&request).is_err(), "{client:?}: {request}");
            }
        }
    }

    #[test]
    fn a_patch_hides_no_file() {
        let acts = |patch: &str| patched(patch, Path::new("/w"));
        let hidden = "*** Begin Patch\n*** Add File: ok.txt\n+x\n \t*** Delete File: ../etc/passwd \n*** End Patch";
        let expected = [ToolAct::Write("/w/ok.txt".to_owned()), ToolAct::Delete("/w/../etc/passwd".to_owned())];
        assert_eq!(acts(hidden), Ok(expected.to_vec()));
        for patch in ["", "*** Begin Patch\n*** End Patch", "*** Add File: a\n*** Rename File: b\n", "x"] {
            assert!(acts(patch).is_err(), "{patch}");
        }
    }

    #[test]
    fn a_pattern_that_leads_elsewhere_is_looked_at_there() {
        let glob = |pattern: &str| {
            let input = serde_json::json!({ "pattern": pattern });
            acts(Kind::List("path"), "Glob", input.as_object().unwrap(), Path::new("/w")).unwrap()
        };
        assert_eq!(glob("**/*.rs"), [ToolAct::List("/w/".to_owned())]);
        for (pattern, place) in [("/root/.ssh/*", "/root/.ssh"), ("../x/*", "/w/../x")] {
            assert_eq!(glob(pattern).last(), Some(&ToolAct::List(place.to_owned())), "{pattern}");
        }
    }

    #[test]
    fn a_failure_is_a_denial_in_every_way_that_a_client_honours() {
        for client in HookClient::value_variants() {
            let spoken = of(*client).failed("it broke", HookMode::Wrap);
            assert!(spoken.status == 2 && spoken.stderr.contains("it broke"), "{client:?}: {spoken:?}");
            assert!(
                spoken.stdout.contains("deny") && serde_json::from_str::<Value>(&spoken.stdout).is_ok(),
                "{spoken:?}"
            );
            let shadow = of(*client).failed("it broke", HookMode::Shadow);
            assert!(shadow.status == 0 && !shadow.stdout.contains("deny"), "{client:?}: {shadow:?}");
        }
    }

    #[test]
    fn nothing_else_of_a_request_changes_with_its_command() {
        for line in REQUESTS.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let client = HookClient::from_str(line["client"].as_str().unwrap(), false).unwrap();
            let event = of(client).read(&line["request"]).unwrap();
            if !matches!(event.acts.as_slice(), [ToolAct::Command { .. }]) {
                continue;
            }
            let told = of(client).answer(&event, &Said::Rewrite("NEW".to_owned()));
            let told: Value = serde_json::from_str(&told.stdout).unwrap();
            let output = &told["hookSpecificOutput"];
            let places = [&output["updatedInput"], &output["tool_input"], &told["modifiedArgs"], &told["args"]];
            let new = places.into_iter().find(|place| place.is_object()).unwrap();
            let mut expected = event.input.clone();
            expected.insert("command".to_owned(), "NEW".into());
            // Codex takes the command alone, and keeps the rest.
            let expected =
                if client == HookClient::Codex { serde_json::json!({ "command": "NEW" }) } else { expected.into() };
            assert_eq!(*new, expected, "{line}");
        }
    }
}
