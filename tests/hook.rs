//! `palisade hook`: what clients are told, for each kind of act and in each mode.

use std::fs;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::support::world::{Ended, World};

/// A hook that waits for its request.
fn started(world: &World, words: &[&str]) -> Child {
    let mut command: Command = world.palisade();
    command.arg("hook").args(words).env("CLAUDE_PROJECT_DIR", world.workspace());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts")
}

fn told(mut child: Child, request: &[u8]) -> Ended {
    // One that has given up does not read it.
    let _given_up = child.stdin.take().expect("a pipe").write_all(request);
    let ended = child.wait_with_output().expect("it ends");
    Ended {
        code: ended.status.code(),
        stdout: String::from_utf8_lossy(&ended.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&ended.stderr).into_owned(),
    }
}

/// A request of Claude Code's.
fn request(world: &World, tool: &str, input: Value) -> Value {
    json!({ "session_id": "c1", "cwd": world.workspace(), "hook_event_name": "PreToolUse", "tool_name": tool, "tool_input": input })
}

fn asked(world: &World, mode: &str, tool: &str, input: Value) -> Ended {
    told(started(world, &["claude", mode]), request(world, tool, input).to_string().as_bytes())
}

/// `allow`, `ask` or `deny`, in each way that the client honours; nothing is `-`.
fn decision(ended: &Ended) -> String {
    if ended.stdout.is_empty() {
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
        return "-".to_owned();
    }
    let output = ended.json()["hookSpecificOutput"].clone();
    assert_eq!(output["hookEventName"], "PreToolUse", "{ended:?}");
    let decision = output["permissionDecision"].as_str().expect("a decision").to_owned();
    let reason = output["permissionDecisionReason"].as_str().unwrap_or_default();
    assert!(decision == "allow" || !reason.is_empty(), "{ended:?}");
    assert_eq!(ended.code, Some(if decision == "deny" { 2 } else { 0 }), "{ended:?}");
    assert_eq!(ended.stderr.is_empty(), decision != "deny", "{ended:?}");
    decision
}

#[test]
fn each_kind_of_act_is_judged() {
    let world = World::new();
    fs::create_dir(world.path("work/src")).expect("made");
    world.write("work/credentials.json", r#"{ "password": "correct-horse-4711" }"#);
    let path = |name: &str| world.path(&format!("work/{name}")).display().to_string();
    let key = world.path("home/.ssh/id_ed25519").display().to_string();
    for (tool, input, verdict) in [
        ("Bash", json!({ "command": "ls; wc -l < src/x" }), "-"),
        ("Bash", json!({ "command": format!("cat {key}") }), "deny"),
        ("Bash", json!({ "command": "sudo ls" }), "deny"),
        ("Bash", json!({ "command": "git push origin main" }), "ask"),
        ("Monitor", json!({ "command": "sudo ls" }), "deny"),
        ("Read", json!({ "file_path": path("src/x") }), "-"),
        ("Read", json!({ "file_path": path("credentials.json") }), "deny"),
        ("Read", json!({ "file_path": key }), "deny"),
        ("Read", json!({ "file_path": "../home/.ssh/id_ed25519" }), "deny"),
        ("Grep", json!({ "pattern": "x", "path": path("src") }), "-"),
        ("Grep", json!({ "pattern": "x" }), "deny"),
        ("Glob", json!({ "pattern": "**/*" }), "-"),
        ("Write", json!({ "file_path": path("src/y"), "content": "" }), "-"),
        ("Write", json!({ "file_path": "/etc/x", "content": "" }), "deny"),
        ("Edit", json!({ "file_path": path(".claude/settings.json"), "old_string": "a", "new_string": "b" }), "deny"),
        ("Write", json!({ "file_path": path(".git/hooks/pre-commit"), "content": "" }), "deny"),
        ("NotebookEdit", json!({ "notebook_path": path("n.ipynb"), "new_source": "" }), "-"),
        ("WebFetch", json!({ "url": "https://example.com/x", "prompt": "?" }), "ask"),
        ("mcp__other__tool", json!({ "x": 1 }), "-"),
        ("mcp__palisade__exec", json!({ "command": "sudo ls" }), "-"),
        ("Skill", json!({ "skill": "x" }), "ask"),
        ("ToolOfNextYear", json!({ "run": "x" }), "ask"),
        ("TodoWrite", json!({ "todos": [] }), "-"),
    ] {
        let ended = asked(&world, "--verdict", tool, input.clone());
        assert_eq!(decision(&ended), verdict, "{tool} {input}: {ended:?}");
        // Wrapped, a command is left to the shell that it goes through; everything else is judged as it is.
        let wrapped = asked(&world, "--wrap", tool, input.clone());
        let expected = if matches!(tool, "Bash" | "Monitor") { "allow" } else { verdict };
        assert_eq!(decision(&wrapped), expected, "{tool} {input}: {wrapped:?}");
        let shadow = asked(&world, "--shadow", tool, input.clone());
        assert_eq!(decision(&shadow), "-", "{tool} {input}");
    }
    // All of it is on record, with what was asked and by whom; what a wrapped command would get is not said before it runs.
    let record = world.record();
    let decisions: Vec<String> =
        record.iter().filter(|line| line["kind"] == "decision").map(Value::to_string).collect();
    assert_eq!(decisions.iter().filter(|line| line.contains("(shadow)")).count(), 18);
    assert!(decisions.iter().all(|line| line.contains("by the hook of claude") && line.contains("claude (hook)")));
    // What was allowed is over for `watch`: the client runs it.
    let allowed = decisions.iter().filter(|line| line.contains("\"effect\":\"allow\"")).count();
    let ends = record.iter().filter(|line| line["kind"] == "outcome" && line["exit"]["reason"] == "by_client").count();
    assert!(allowed > 10 && allowed == ends, "{allowed} {ends}");
    // In `shadow` a command is judged as it would be once it is wrapped.
    let guarded = |mode: &str| {
        let of = |line: &&Value| line["reason"] == format!("Bash, by the hook of claude ({mode})");
        let mut all = record.iter().filter(of).map(|line| line["asked"]["session"]["guarded"].clone());
        let first = all.next().expect("a decision");
        assert!(all.all(|other| other == first));
        first
    };
    assert_eq!((guarded("shadow"), guarded("verdict")), (json!(true), json!(false)));
}

/// A shell tool that is told where to run is judged there, and paths count from where the client stands.
#[test]
fn a_command_is_judged_where_it_is_to_run() {
    let world = World::new();
    fs::create_dir(world.path("work/sub")).expect("made");
    let work = world.workspace().display().to_string();
    let opencode = |workdir: &str| {
        let request = json!({ "tool": "bash", "sessionID": "o", "directory": work,
            "args": { "command": "echo x > passwd", "workdir": workdir } });
        let ended = told(started(&world, &["opencode", "--verdict"]), request.to_string().as_bytes());
        ended.json()["palisade"].as_str().expect("an answer").to_owned()
    };
    assert_eq!(
        (opencode("sub"), opencode(&work), opencode("/etc")),
        ("go on".into(), "go on".into(), "deny".to_owned())
    );
    let gemini = |directory: &str| {
        let request = json!({ "hook_event_name": "BeforeTool", "session_id": "g", "cwd": work, "tool_name": "run_shell_command",
            "tool_input": { "command": "echo x > passwd", "dir_path": directory } });
        told(started(&world, &["gemini", "--verdict"]), request.to_string().as_bytes())
    };
    assert_eq!((gemini("sub").code, gemini("/etc").code), (Some(0), Some(2)));
}

#[test]
fn a_servers_tool_takes_a_policy_that_permits_it() {
    let world = World::new();
    fs::create_dir(world.path("site")).expect("made");
    world.write("site/palisade.toml", "extends = \"developer\"\n");
    world.write(
        "site/tools.cedar",
        "@id(\"no-mail\")\n@reason(\"No mail is sent.\")\nforbid (principal, action == Action::\"useTool\", resource == Tool::\"mail/send\");\n",
    );
    let site = world.path("site").display().to_string();
    for (tool, verdict) in [("mcp__mail__send", "deny"), ("mcp__mail__read", "-")] {
        let child = started(&world, &["claude", "--wrap", "--policies", &site]);
        let ended = told(child, request(&world, tool, json!({})).to_string().as_bytes());
        assert_eq!(decision(&ended), verdict, "{tool}: {ended:?}");
    }
}

#[test]
fn a_command_is_rewritten_and_nothing_else() {
    let world = World::new();
    let text = "echo \"it's\" '$x' && cd / ; --flag\nsecond line";
    let input = json!({ "command": text, "timeout": 5, "description": "d", "run_in_background": true });
    let ended = asked(&world, "--wrap", "Bash", input.clone());
    let output = ended.json()["hookSpecificOutput"]["updatedInput"].clone();
    let command = output["command"].as_str().expect("a text").to_owned();
    let mut rest = output;
    rest["command"] = input["command"].clone();
    assert_eq!(rest, input);
    // The words are this program's, and the last is the text.
    let shown = Ended::of(Command::new("bash").arg("-c").arg(format!("printf '%s\\0' {command}")));
    let words: Vec<&str> = shown.stdout.split('\0').collect();
    assert_eq!(words.first(), Some(&env!("CARGO_BIN_EXE_palisade")));
    assert!(words.contains(&"claude-c1") && words.contains(&"--beside"), "{words:?}");
    assert_eq!(words.get(words.len() - 3..), Some(&["-c", text, ""][..]), "{words:?}");
}

#[test]
fn what_is_not_understood_is_denied() {
    let world = World::new();
    let whole = request(&world, "Bash", json!({ "command": "ls" }));
    let without = |field: &str| {
        let mut request = whole.clone();
        request.as_object_mut().expect("an object").remove(field);
        request.to_string()
    };
    let with = |field: &str, value: Value| {
        let mut request = whole.clone();
        request[field] = value;
        request.to_string()
    };
    let rows = [
        String::new(),
        "{".to_owned(),
        "[]".to_owned(),
        format!("{whole}{whole}"),
        without("tool_name"),
        without("tool_input"),
        without("cwd"),
        without("hook_event_name"),
        with("cwd", json!("relative")),
        with("cwd", json!("/nowhere/at/all")),
        with("tool_input", json!({ "command": ["ls", 1] })),
        with("tool_input", json!({})),
        with("hook_event_name", json!("PostToolUse")),
    ];
    for row in &rows {
        let ended = told(started(&world, &["claude", "--verdict"]), row.as_bytes());
        assert_eq!(decision(&ended), "deny", "{row}: {ended:?}");
        let shadow = told(started(&world, &["claude", "--shadow"]), row.as_bytes());
        assert_eq!((shadow.code, shadow.stdout.as_str()), (Some(0), ""), "{row}: {shadow:?}");
    }
    // Policies that cannot be read, and a record that cannot be written, are no reason to go on.
    let ended = told(started(&world, &["claude", "--verdict", "--policies", "/nowhere"]), whole.to_string().as_bytes());
    assert_eq!(decision(&ended), "deny", "{ended:?}");
    let other = World::new();
    fs::create_dir_all(other.path("state/palisade")).expect("made");
    other.write("state/palisade/audit", "no directory");
    let ended = told(
        started(&other, &["claude", "--verdict"]),
        request(&other, "Bash", json!({ "command": "ls" })).to_string().as_bytes(),
    );
    assert_eq!(decision(&ended), "deny", "{ended:?}");
    // Wrong words: the status alone says it.
    let ended = told(started(&world, &["claude", "--nonsense"]), b"");
    assert_eq!(ended.code, Some(2), "{ended:?}");
}

/// The client would stop waiting, and go on.
#[test]
fn a_request_that_does_not_come_to_its_end_is_denied() {
    let world = World::new();
    let mut child = started(&world, &["claude", "--verdict"]);
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(b"{\"hook_event_name\":").expect("written");
    let mut told = String::new();
    child.stdout.take().expect("a pipe").read_to_string(&mut told).expect("text");
    assert!(told.contains("\"deny\"") && told.contains("in time"), "{told}");
    assert_eq!(child.wait().expect("it ends").code(), Some(2));
}
