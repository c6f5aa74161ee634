//! `setup` and what `doctor` says of clients: the shapes that clients document, and what is refused.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::world::{World, repository};

const CLIENTS: [&str; 6] = ["claude", "codex", "gemini", "cursor", "vscode", "opencode"];

/// What a machine is told for a client.
fn setup(world: &World, client: &str, more: &[&str]) -> Value {
    let ended = world.call(&[&["setup", client, "--json"], more].concat());
    assert_eq!(ended.code, Some(0), "{client}: {ended:?}");
    ended.json()
}

/// One of its files, read.
fn file(told: &Value, number: usize) -> (String, Value) {
    let path = told["files"][number]["path"].as_str().expect("a path").to_owned();
    let content = told["files"][number]["content"].as_str().expect("a text");
    let is_toml = Path::new(&path).extension().is_some_and(|extension| extension == "toml");
    let read = if is_toml { toml::from_str(content).ok() } else { serde_json::from_str(content).ok() };
    (path, read.unwrap_or_else(|| panic!("not what {told} says it is")))
}

#[test]
fn each_client_is_told_in_its_own_words_and_files() {
    let world = World::new();
    let (program, workspace) = (env!("CARGO_BIN_EXE_palisade"), world.workspace());
    let workspace = workspace.to_str().expect("a text");
    let state = json!({ "XDG_STATE_HOME": world.path("state") });
    for client in CLIENTS {
        let told = setup(&world, client, &[]);
        let arguments = json!(["serve", "--agent", client, "--workspace", workspace]);
        let expected = json!({ "command": program, "args": arguments, "env": state });
        assert_eq!(told["server"], expected, "{client}");
        let words: Vec<&str> = [program]
            .into_iter()
            .chain(arguments.as_array().expect("a list").iter().filter_map(Value::as_str))
            .collect();
        let stdio = |more: Value| {
            let mut entry = json!({ "command": program, "args": arguments, "env": state });
            entry.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
            json!({ "palisade": entry })
        };
        let (own, expected) = match client {
            "claude" => {
                (".claude.json", json!({ "mcpServers": stdio(json!({ "type": "stdio", "alwaysLoad": true })) }))
            }
            "codex" => (
                ".codex/config.toml",
                json!({ "mcp_servers": stdio(json!({ "required": true, "startup_timeout_sec": 60, "default_tools_approval_mode": "approve", "tool_timeout_sec": 600 })) }),
            ),
            "gemini" => (".gemini/settings.json", json!({ "mcpServers": stdio(json!({ "timeout": 600_000 })) })),
            "cursor" => (".cursor/mcp.json", json!({ "mcpServers": stdio(json!({ "type": "stdio" })) })),
            "vscode" => (".config/Code/User/mcp.json", json!({ "servers": stdio(json!({ "type": "stdio" })) })),
            _ => (
                ".config/opencode/opencode.json",
                json!({ "mcp": { "palisade": { "type": "local", "command": words, "enabled": true, "timeout": 600_000, "environment": state } } }),
            ),
        };
        assert_eq!(
            file(&told, 0),
            (world.path("home").join(own).to_str().expect("a text").to_owned(), expected),
            "{client}"
        );
        // Either a second file keeps it from its own shell, or a person has to.
        let is_by_hand = ["cursor", "vscode"].contains(&client);
        assert_eq!(
            (told["files"].as_array().map(Vec::len), told["by_hand"].is_string()),
            (Some(2 - usize::from(is_by_hand)), is_by_hand),
            "{client}"
        );
        // What a person reads holds the same texts.
        let page = world.call(&["setup", client]);
        assert_eq!(page.code, Some(0), "{page:?}");
        let texts = told["files"].as_array().expect("files").iter().map(|file| &file["content"]);
        for text in texts
            .chain([&told["command"], &told["by_hand"], &told["nearby"]["what"], &told["nearby"]["files"][0]])
            .filter_map(Value::as_str)
        {
            assert!(page.stdout.contains(text), "{client}: no `{text}` in {}", page.stdout);
        }
    }
    let add = setup(&world, "vscode", &[])["command"].as_str().expect("a command").to_owned();
    let quoted = add.strip_prefix("code --add-mcp '").and_then(|rest| rest.strip_suffix('\'')).expect("one word");
    assert_eq!(serde_json::from_str::<Value>(quoted).expect("JSON")["name"], "palisade");
}

#[test]
fn whatever_was_typed_or_found_is_what_the_server_starts_with() {
    let world = World::new();
    for directory in ["shared", "work/sub", "home/.config/palisade"] {
        fs::create_dir_all(world.path(directory)).expect("a directory");
    }
    let text = |name: &str| world.path(name).to_str().expect("a text").to_owned();
    let site = world.write("site.cedar", "@id(\"all\") @reason(\"A test.\") permit (principal, action, resource);\n");
    let site = site.to_str().expect("a text");
    let more = [
        "--policies",
        site,
        "--agent",
        "builder",
        "--user",
        "alice",
        "--role",
        "developer",
        "--role",
        "approver",
        "--workspace",
        ".",
        "--cwd",
        "sub",
        "--timeout",
        "30s",
        "--write",
        "../shared",
    ];
    let (work, sub, shared) = (text("work"), text("work/sub"), text("work/../shared"));
    let expected = json!([
        "serve",
        "--policies",
        site,
        "--agent",
        "builder",
        "--user",
        "alice",
        "--timeout",
        "30s",
        "--role",
        "developer",
        "--role",
        "approver",
        "--workspace",
        work,
        "--cwd",
        sub,
        "--write",
        shared,
    ]);
    assert_eq!(setup(&world, "codex", &more)["server"]["args"], expected);

    // The settings that are found now, and the name that they give the agent.
    let file = world.write("home/.config/palisade/palisade.toml", "[agent]\nname = \"named\"\n");
    let told = setup(&world, "gemini", &[]);
    assert_eq!(told["server"]["args"], json!(["serve", "--config", file, "--agent", "named", "--workspace", work]));
}

#[test]
fn what_would_not_work_is_not_told() {
    let world = World::new();
    fs::create_dir_all(world.path("$odd")).expect("a directory");
    fs::create_dir_all(world.path("{env:X}")).expect("a directory");
    let home = world.path("home");
    let home = home.to_str().expect("a text");
    let built = Path::new(env!("CARGO_BIN_EXE_palisade")).parent().and_then(Path::to_str).expect("a directory");
    for (arguments, words) in [
        (&["setup"][..], &["<CLIENT>"][..]),
        (&["setup", "Claude"], &["no client `Claude`", "claude, codex, gemini, cursor, vscode, opencode"]),
        (&["setup", "claude", "--workspace", "/no/such/place"], &["workspace `/no/such/place` does not exist"]),
        (&["setup", "claude", "--profile", "none"], &["none"]),
        (&["setup", "claude", "--target", "web-01"], &["`--target`"]),
        (&["setup", "gemini", "--workspace", "../$odd"], &["Gemini CLI", "it holds $", "help: name a place"]),
        (&["setup", "opencode", "--workspace", "../{env:X}"], &["it holds {env:"]),
        (&["setup", "codex", "--agent", "a\u{1b}[2Jb"], &["a control character", "a\u{fffd}[2Jb"]),
        // The agent could make another program of it, or have another one started.
        (&["setup", "claude", "--workspace", built], &["the program `", "within the agent's reach"]),
        (&["setup", "claude", "--write", built], &["the program `", "within the agent's reach"]),
        (&["setup", "claude", "--write", home], &["the client's settings file `", "within the agent's reach"]),
    ] {
        let ended = world.call(arguments);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""), "{arguments:?}: {ended:?}");
        assert!(words.iter().all(|word| ended.stderr.contains(word)), "{arguments:?}: no {words:?} in {ended:?}");
        assert!(!ended.stderr.contains('\u{1b}'), "{arguments:?}: {ended:?}");
    }
}

/// What `doctor` says of one client.
fn clients(world: &World, client: &str) -> Vec<(bool, String)> {
    let told = world.call(&["doctor", "--json"]).json();
    let rows = told["clients"].as_array().expect("a list").iter().filter(|row| row["client"] == client);
    rows.map(|row| (row["ready"] == true, row["text"].as_str().unwrap_or_default().to_owned())).collect()
}

#[test]
fn doctor_tells_of_each_client_that_is_there() {
    let world = World::new();
    let told = world.call(&["doctor", "--json"]).json();
    assert_eq!(told["clients"], json!([]));
    let paths = CLIENTS.map(|client| {
        let told = setup(&world, client, &[]);
        let (path, _) = file(&told, 0);
        fs::create_dir_all(Path::new(&path).parent().expect("a directory")).expect("made");
        fs::write(&path, told["files"][0]["content"].as_str().expect("a text")).expect("written");
        path
    });
    // A client that starts Palisade and keeps its own shell.
    for client in ["claude", "codex", "gemini", "opencode"] {
        let rows = clients(&world, client);
        assert!(rows.len() == 2 && !rows[1].0 && rows[1].1.contains("does not say all"), "{client}: {rows:?}");
        let told = setup(&world, client, &[]);
        let ((first, servers), (second, shell)) = (file(&told, 0), file(&told, 1));
        fs::create_dir_all(Path::new(&second).parent().expect("a directory")).expect("made");
        let content = told["files"][1]["content"].as_str().expect("a text");
        let whole = match (first == second, client) {
            (true, "codex") => format!("{}\n\n{content}\n", told["files"][0]["content"].as_str().expect("a text")),
            (true, _) => {
                let objects = [&servers, &shell].map(|value| value.as_object().cloned().expect("an object"));
                Value::Object(objects.into_iter().flatten().collect()).to_string()
            }
            (false, _) => content.to_owned(),
        };
        fs::write(&second, whole).expect("written");
    }
    let told = world.call(&["doctor", "--json"]).json();
    for ((client, path), row) in CLIENTS.iter().zip(paths).zip(told["clients"].as_array().expect("a list")) {
        let text = format!("{path} starts this program for `{client}` in {}", world.workspace().display());
        assert_eq!(row, &json!({ "client": client, "ready": true, "text": text }));
    }
    assert_eq!(told["clients"].as_array().map(Vec::len), Some(CLIENTS.len()));
    let page = world.call(&["doctor"]);
    assert!(page.code == Some(0) && page.stdout.contains("ok       cursor: "), "{page:?}");
}

#[test]
fn doctor_tells_what_is_wrong_with_a_client() {
    let world = World::new();
    fs::create_dir_all(world.path("home/.cursor")).expect("a directory");
    world.program("other", "#!/bin/sh\necho other 1\n");
    world.program("slow", "#!/bin/sh\nexec sleep 60\n");
    world.program("palisade", "#!/bin/sh\necho palisade 0.0.1\n");
    world.write("work/text", "");
    let text = |name: &str| world.path(name).to_str().expect("a text").to_owned();
    let (other, slow, elsewhere, no_program) =
        (text("work/other"), text("work/slow"), text("work/palisade"), text("work/text"));
    let program = env!("CARGO_BIN_EXE_palisade");
    let named = |command: &str, arguments: &[&str]| {
        json!({ "mcpServers": { "palisade": { "command": command, "args": arguments } } }).to_string()
    };
    for (content, ready, words) in [
        ("{}".to_owned(), false, &["does not name Palisade", "`palisade setup cursor`"][..]),
        ("{ \"mcpServers\":".to_owned(), false, &["cannot be read"]),
        ("{ // none yet\n}".to_owned(), false, &["does not name Palisade"]),
        (named("palisade", &["serve"]), false, &["no absolute path"]),
        (named("/no/such/palisade", &["serve"]), false, &["is not there"]),
        (named("/no/\u{1b}[2J", &["serve"]), false, &["/no/\u{fffd}[2J"]),
        (named(&other, &[]), false, &["is not Palisade"]),
        (named(&slow, &[]), false, &["does not answer"]),
        (named(&no_program, &[]), false, &["is no program"]),
        (named(&elsewhere, &[]), true, &["palisade 0.0.1", "another than this program"]),
        (named(program, &["run", "ls"]), false, &["without the verb `serve`"]),
        (named(program, &["serve", "--nonsense"]), false, &["arguments that it does not take"]),
        (
            named(program, &["serve", "--workspace", "/no/such"]),
            false,
            &["would not start", "`/no/such` does not exist"],
        ),
        (named(program, &["serve"]).replace("\"args\"", "\"disabled\": true, \"args\""), false, &["switched off"]),
    ] {
        world.write("home/.cursor/mcp.json", &content);
        let rows = clients(&world, "cursor");
        let [(is_ready, text)] = &rows[..] else { panic!("{content}: {rows:?}") };
        assert!(*is_ready == ready && words.iter().all(|word| text.contains(word)), "{content}: {rows:?}");
    }
    // What lies in the workspace, as it was cloned or as the agent has left it.
    world.write("home/.cursor/mcp.json", &named(program, &["serve", "--workspace", &text("work")]));
    fs::create_dir_all(world.path("work/.cursor")).expect("a directory");
    world.write("work/.cursor/mcp.json", "{}");
    let rows = clients(&world, "cursor");
    assert!(rows.len() == 2 && rows[0].0 && !rows[1].0 && rows[1].1.contains("work/.cursor/mcp.json"), "{rows:?}");
    fs::remove_file(world.path("work/.cursor/mcp.json")).expect("removed");
    world.write("home/.cursor/mcp.json", "{}");
    // Nothing that this machine can enforce hangs on it.
    let page = world.call(&["doctor"]);
    assert!(page.code == Some(0) && page.stdout.contains("missing  cursor: "), "{page:?}");
    // A program that others can exchange is not run to be asked who it is.
    world.program("palisade", "#!/bin/sh\ntouch ran\necho palisade 0.0.1\n");
    fs::set_permissions(&elsewhere, std::os::unix::fs::PermissionsExt::from_mode(0o777)).expect("a mode");
    world.write("home/.cursor/mcp.json", &named(&elsewhere, &[]));
    let rows = clients(&world, "cursor");
    assert!(!rows[0].0 && rows[0].1.contains("others than you and root can change"), "{rows:?}");
}

#[test]
fn the_guides_commands_do_what_it_says() {
    let text = fs::read_to_string(repository().join("docs/clients.md")).expect("the guide");
    let (_, behind) = text.split_once("```console\n").expect("a block");
    let block = behind.split("```").next().expect("its end");
    let world = World::new();
    let commands = block.lines().filter_map(|line| line.strip_prefix("$ palisade "));
    let ends: Vec<Option<i32>> = commands.map(|line| world.call(&line.split(' ').collect::<Vec<_>>()).code).collect();
    assert_eq!(ends, [Some(0); 4], "{block}");
    // Each client has its row, with the file that `setup` names.
    for client in CLIENTS {
        let (path, _) = file(&setup(&world, client, &[]), 0);
        let below = path.strip_prefix(world.path("home").to_str().expect("a text")).expect("below the home");
        assert!(
            text.lines()
                .any(|line| line.starts_with(&format!("| `{client}`")) && line.contains(&format!("`~{below}`"))),
            "{path}"
        );
    }
}

/// What `--apply` writes is written once, is told by `status` and `doctor`, and goes again; what others have written stays.
#[test]
fn a_clients_settings_are_written_and_taken_back() {
    let world = World::new();
    for directory in
        ["home/.claude", "home/.codex", "home/.gemini", "home/.cursor", "home/.copilot", "home/.config/opencode"]
    {
        fs::create_dir_all(world.path(directory)).expect("made");
    }
    let own = r#"{ "hooks": { "PreToolUse": [{ "matcher": "Bash", "hooks": [{ "type": "command", "command": "/opt/palisade/check hook" }] }] } }"#;
    world.write("home/.claude/settings.json", own);
    world.write("home/.codex/config.toml", "model = \"m\"\n\n[features]\nweb_search = true\n");
    world.write("home/.cursor/hooks.json", "{ \"version\": 1 }");
    let names = ["Claude Code", "Codex", "Gemini CLI", "Cursor", "Copilot CLI", "opencode"];
    let on = world.call(&["on"]);
    assert_eq!((on.code, on.stderr.as_str()), (Some(0), ""), "{on:?}");
    assert!(names.iter().all(|name| on.stdout.contains(&format!("{name} asks Palisade"))), "{on:?}");
    let again = world.call(&["on"]);
    assert!(again.code == Some(0) && !again.stdout.contains("  +"), "{again:?}");
    let status = world.call(&["status", "--json"]).json();
    let rows = status["clients"].as_array().expect("rows");
    assert!(rows.len() == 6 && rows.iter().all(|row| row["mode"] == "wrap"), "{status}");
    assert_eq!(status["troubles"], serde_json::json!([]), "{status}");
    let doctor = world.call(&["doctor"]);
    for name in ["claude", "codex", "gemini", "cursor", "copilot", "opencode"] {
        assert!(doctor.stdout.contains(&format!("ok       {name}: ")), "{name}: {doctor:?}");
    }
    // A file of the workspace that switches a hook off is told, and so is one that Codex would skip.
    fs::create_dir_all(world.path("work/.claude")).expect("made");
    world.write("work/.claude/settings.json", r#"{ "disableAllHooks": true }"#);
    let hooks = fs::read_to_string(world.path("home/.codex/hooks.json")).expect("text");
    world.write("home/.codex/hooks.json", &hooks.replace("--wrap", "--verdict"));
    let troubles = world.call(&["status", "--json"]).json()["troubles"].to_string();
    assert!(troubles.contains("disableAllHooks") && troubles.contains("--system"), "{troubles}");
    assert!(troubles.contains("has not been told to trust it"), "{troubles}");
    // Nor is a profile dropped without a word.
    for (words, code) in [(&["--profile", "readonly"][..], 0), (&[], 1), (&["--profile", "developer"], 0)] {
        let applied = world.call(&[&["setup", "gemini", "--apply"][..], words].concat());
        assert_eq!(applied.code, Some(code), "{words:?}: {applied:?}");
        assert!(code == 0 || applied.stderr.contains("--profile"), "{applied:?}");
    }
    let off = world.call(&["off"]);
    assert_eq!((off.code, off.stderr.as_str()), (Some(0), ""), "{off:?}");
    let read = |name: &str| fs::read_to_string(world.path(name)).unwrap_or_default();
    let value = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
    assert_eq!(value(&read("home/.claude/settings.json")), value(own));
    assert_eq!(read("home/.codex/config.toml"), "model = \"m\"\n\n[features]\nweb_search = true\n");
    assert_eq!(value(&read("home/.cursor/hooks.json")), serde_json::json!({ "version": 1 }));
    for gone in [
        "home/.codex/hooks.json",
        "home/.gemini/settings.json",
        "home/.copilot/hooks/palisade.json",
        "home/.config/opencode/plugin/palisade.js",
    ] {
        assert!(!world.path(gone).exists(), "{gone}");
    }
    // What a person has set since is the person's, and so is what was set before.
    for before in [None, Some("{ \"disableSkillShellExecution\": true }")] {
        let path = world.path("home/.claude/settings.json");
        match before {
            Some(text) => fs::write(&path, text).expect("written"),
            None => fs::remove_file(&path).expect("removed"),
        }
        for mode in ["shadow", "wrap", "wrap"] {
            assert_eq!(world.call(&["setup", "claude", "--apply", "--mode", mode]).code, Some(0));
        }
        assert_eq!(world.call(&["setup", "claude", "--remove"]).code, Some(0));
        let kept = before.map(value).unwrap_or_default();
        assert_eq!(fs::read_to_string(&path).map(|text| value(&text)).unwrap_or_default(), kept);
        assert!(!world.path("home/.claude/settings.json.before-palisade").exists());
    }
    // What cannot be changed without harm is left alone, and says why.
    for (file, text, told) in [
        ("home/.claude/settings.json", "{ // mine\n}", "plain JSON"),
        (
            "home/.codex/config.toml",
            "# palisade: begin (`palisade setup` writes and removes these lines)\nx = 1\n",
            "none that ends it",
        ),
        ("home/.copilot/hooks/palisade.json", "{}", "none of Palisade's"),
    ] {
        fs::create_dir_all(world.path(file).parent().expect("a directory")).expect("made");
        world.write(file, text);
        let client = file.split('/').nth(1).expect("a name").trim_start_matches('.');
        let failed = world.call(&["setup", client, "--apply"]);
        assert!(failed.code == Some(1) && failed.stderr.contains(told), "{file}: {failed:?}");
        assert_eq!(read(file), text);
    }
}
