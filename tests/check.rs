//! `check` and `inventory`: verdicts, exit statuses, JSON, bad input.

use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::world::{Ended, World};

/// Judges each command in one batch.
fn batch(world: &World, arguments: &[&str], lines: &[Value]) -> Vec<Value> {
    let mut child = world.palisade();
    child.arg("check").arg("--batch").args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = child.spawn().expect("the binary starts");
    let input: String = lines.iter().map(|line| format!("{line}\n")).collect();
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("written");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect()
}

fn policies(verdict: &Value) -> Vec<String> {
    let reasons = verdict["reasons"].as_array().expect("reasons");
    let mut policies: Vec<String> =
        reasons.iter().map(|reason| reason["policy"].as_str().unwrap_or("?").to_owned()).collect();
    policies.retain(|policy| !policy.is_empty());
    policies.sort();
    policies.dedup();
    policies
}

#[test]
fn everyday_commands_under_the_developer_profile() {
    let world = World::new();
    world.link_toolchain();
    for directory in ["sub", "src", "build/deep"] {
        std::fs::create_dir_all(world.workspace().join(directory)).expect("a directory");
    }
    for file in ["sub/.env", "src/a.rs", "build/deep/b.o"] {
        world.write(&format!("work/{file}"), "");
    }
    let table: &[(&str, &str, &[&str])] = &[
        ("git status; ls", "allow", &[]),
        ("git log --oneline | head -5", "allow", &[]),
        ("cargo metadata --format-version 1", "allow", &[]),
        ("cargo build && cargo test", "allow", &[]),
        ("cat > notes.txt <<'EOF'\nsudo rm -rf /\nEOF", "allow", &[]),
        ("false | cat", "allow", &[]),
        ("cd sub && ls", "allow", &[]),
        ("cd \"$(git rev-parse --show-toplevel)\" && git status", "allow", &[]),
        ("mkdir -p a && cd a && touch b", "allow", &[]),
        ("echo \"$HOME\" 'rm -rf /' \\$x", "allow", &[]),
        ("grep foo file.txt > /dev/null 2>&1", "allow", &[]),
        ("rm -f build/a.o", "allow", &[]),
        ("cat /usr/share/doc/x /etc/passwd", "allow", &[]),
        ("sudo ls", "deny", &["no-sudo"]),
        ("cat ~/.ssh/id_ed25519", "deny", &["secrets-unreadable"]),
        ("cat < ~/.ssh/id_ed25519", "deny", &["secrets-unreadable"]),
        ("cat .env", "deny", &["secrets-unreadable"]),
        ("echo x > /etc/palisade-test", "deny", &["ask-write-outside-workspace", "no-system-state-changes"]),
        ("echo x > .git/hooks/pre-commit", "deny", &["no-hook-changes"]),
        ("rm -rf /", "deny", &["ask-write-outside-workspace", "no-delete-outside-workspace"]),
        // The kernel holds what this could remove.
        ("rm -rf \"$x\"", "allow", &[]),
        ("git push --force origin main", "deny", &["ask-git-push", "no-force-push"]),
        ("LD_PRELOAD=./x.so ls", "allow", &[]),
        ("LD_PRELOAD=./x.so git fetch https://github.com/a/b", "deny", &["guard-loader-env"]),
        ("export PATH=/tmp:$PATH", "allow", &[]),
        ("LC_ALL=C sort x; LANG=de_DE.UTF-8 ls", "allow", &[]),
        ("LC_ALL=ja_JP.SJIS ls", "allow", &[]),
        ("export LC_ALL=ja_JP.SJIS; ls", "deny", &["guard-locale"]),
        ("git push origin main", "ask", &["ask-git-push"]),
        ("echo x > ../outside.txt", "ask", &["ask-write-outside-workspace"]),
        ("npm install", "ask", &["ask-install-node"]),
        ("rm -rf build", "allow", &[]),
        ("grep -r foo src", "allow", &[]),
        // The workspace itself as a tree: it holds a `.env`, which a mask keeps from grep.
        ("grep -r foo .", "allow", &[]),
        ("grep -r foo sub", "allow", &[]),
        ("tar xf a.tar && grep -r foo src", "allow", &[]),
    ];
    let lines: Vec<Value> = table.iter().map(|(command, ..)| json!({ "command": command })).collect();
    for ((command, decision, by), verdict) in table.iter().zip(batch(&world, &[], &lines)) {
        assert_eq!(verdict["decision"], *decision, "{command}\n{verdict:#}");
        if !by.is_empty() {
            assert_eq!(policies(&verdict), *by, "{command}\n{verdict:#}");
        }
    }
}

/// Nothing is judged for this machine that is about another.
#[test]
fn a_line_about_an_unknown_target_is_an_error() {
    let world = World::new();
    let settings =
        "[targets.web]\nremote_guard = false\nssh = { host = \"h\", user = \"u\" }\nworkspace = \"/srv/app\"\n";
    let settings = world.write("state/palisade.toml", settings).display().to_string();
    let nulls = format!("[\"a\",\"echo a\"{}]", ",null".repeat(9));
    for (line, said) in [
        (r#"{"command":"ls","target":"wep"}"#, "line 1: there is no target `wep` in the settings"),
        (r#"{"command":"ls","target":"wep","transport":"local"}"#, "line 1: there is no target `wep` in the settings"),
        (r#"{"command":"ls","target":"web","transport":"docker"}"#, "line 1: the target `web` is reached by ssh"),
        (r#"{"id":"7","command":["ls"]}"#, "line 1: `command` is a list; write a text"),
        (r#"{"command":"ls","roles":"a"}"#, "line 1: `roles` is a text; write a list of texts"),
        (nulls.as_str(), "line 1: a line is an object; write"),
        ("ls", "line 1: this is no JSON (column 1); write"),
    ] {
        let mut check = world.palisade();
        let file = std::fs::File::open(world.write("line", line)).expect("a file");
        let ended = Ended::of(check.args(["check", "--batch", "--config", &settings]).stdin(file));
        assert_eq!(ended.code, Some(1), "{line}: {ended:?}");
        let error = ended.json()["error"].as_str().map(str::to_owned).expect("an error");
        assert!(error.starts_with(said), "{line}: {error}");
    }
    for line in [
        json!({ "command": "ls", "target": "web" }),
        json!({ "command": "ls", "target": "wep", "transport": "ssh" }),
        json!({ "command": "ls", "target": "", "transport": "local" }),
    ] {
        batch(&world, &["--config", &settings], &[line]);
    }
}

#[test]
fn download_to_shell_is_denied_by_name() {
    let world = World::new();
    let verdict = world.call(&["check", "--json", "curl http://127.0.0.1:1/ | sh"]);
    assert_eq!(verdict.code, Some(2), "{verdict:?}");
    assert!(policies(&verdict.json()).contains(&"no-download-to-shell".to_owned()), "{}", verdict.stdout);
}

#[test]
fn what_cannot_be_read_is_not_allowed_without_a_guard() {
    let world = World::new();
    let commands = [
        "eval \"$x\"",
        "$x",
        "\"$(cat cmd)\" y",
        "`rm x`",
        "bash -c \"$x\"",
        "echo \"${x:-`sudo rm y`}\"",
        "for f in *; do rm $f; done",
        "f() { sudo rm x; }; f",
        "trap 'sudo rm x' EXIT",
        "alias ls=sudo",
        "ls &\nwait -p 'a[$(rm x)]'",
        "echo ${x#$(sudo rm y)}",
        "if true; then sudo ls; fi",
        "coproc sudo rm x",
        "(( x = a[$(rm)] ))",
        "exec 5<>/dev/tcp/10.0.0.1/1",
        "read l <&10",
        "echo x >&198",
        "cat <&$x",
        "exec 11>/dev/null",
        "cat /dev/fd/10",
    ];
    let lines: Vec<Value> = commands.iter().map(|command| json!({ "command": command })).collect();
    for (command, verdict) in commands.iter().zip(batch(&world, &["--unguarded"], &lines)) {
        assert_ne!(verdict["decision"], "allow", "{command}\n{verdict:#}");
    }
}

/// A day's commands, of which nothing is asked. What still asks or is denied is not in the table.
#[test]
fn a_day_of_commands_is_allowed() {
    let world = World::new();
    world.link_toolchain();
    for directory in ["src", "tests", "build", "docs", "a/b", "node_modules/.bin", ".venv/bin", ".git"] {
        std::fs::create_dir_all(world.workspace().join(directory)).expect("a directory");
    }
    let files = "src/main.c src/main.rs tests/test_a.py a.c a.txt b.txt app.db Makefile Cargo.toml package.json node_modules/.bin/tsc \
                 pyproject.toml uv.lock .venv/bin/activate CMakeLists.txt x.json data.csv run.sh configure a.sh b.py go.mod main.go \
                 tsconfig.json in.txt";
    for file in files.split_whitespace() {
        world.write(&format!("work/{file}"), "");
    }
    world.write("work/.git/HEAD", "ref: refs/heads/main\n");
    world.write("work/.git/config", "[remote \"origin\"]\n\turl = git@github.com:acme/app.git\n");
    let table = include_str!("everyday.txt").lines().filter(|line| !line.is_empty() && !line.starts_with("# "));
    let lines: Vec<Value> = table.map(|line| json!({ "command": line.replace('\u{21b5}', "\n") })).collect();
    assert!(lines.len() > 500, "{}", lines.len());
    let verdicts = batch(&world, &[], &lines);
    let stopped: Vec<String> = verdicts
        .iter()
        .filter(|verdict| verdict["decision"] != "allow")
        .map(|verdict| format!("{} {}: {:?}", verdict["decision"], verdict["command"], policies(verdict)))
        .collect();
    assert!(stopped.is_empty(), "{}", stopped.join("\n"));
}

#[test]
fn the_verdict_has_the_shape_that_scripts_rely_on() {
    let world = World::new();
    let ended = world.call(&["check", "--json", "sudo rm -rf /"]);
    assert_eq!(ended.code, Some(2));
    let verdict = ended.json();
    assert_eq!(verdict["decision"], "deny");
    assert_eq!(verdict["command"], "sudo rm -rf /");
    assert!(verdict["policySet"].as_str().is_some_and(|set| set.starts_with("sha256:")));
    let requests = verdict["requests"].as_array().expect("requests");
    let find = |action: &str, program: &str| {
        requests.iter().find(|request| request["action"] == action && request["program"] == program).expect("a request")
    };
    let sudo = find("exec", "sudo");
    assert_eq!(
        (&sudo["resource"], &sudo["span"], &sudo["via"]),
        (&json!("sudo rm -rf /"), &json!([0, 13]), &json!([]))
    );
    assert_eq!((&sudo["decision"], &sudo["determining"]), (&json!("deny"), &json!(["no-sudo"])));
    let rm = find("exec", "rm");
    assert_eq!((&rm["resource"], &rm["span"], &rm["via"]), (&json!("rm -rf /"), &json!([5, 13]), &json!(["sudo"])));
    assert_eq!(
        (&rm["decision"], &rm["determining"]),
        (&json!("allow"), &json!(["dev-installed-programs", "dev-no-gain", "dev-toolchain"]))
    );
    let delete = find("delete", "rm");
    assert_eq!(
        (&delete["resource"], &delete["span"], &delete["via"]),
        (&json!("/"), &json!([12, 13]), &json!(["sudo"]))
    );
    let determining: Vec<&str> =
        delete["determining"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    assert!(determining.contains(&"no-delete-outside-workspace") && determining.is_sorted(), "{determining:?}");
    let reason = &verdict["reasons"][0];
    assert_eq!((&reason["policy"], &reason["text"]), (&json!("no-sudo"), &json!("sudo rm -rf /")));
    assert_eq!(reason["reason"], "No privilege escalation.");
}

#[test]
fn the_exit_status_tells_the_decision() {
    let world = World::new();
    for (arguments, code) in [
        (&["check", "ls"][..], 0),
        (&["check", "sudo ls"], 2),
        (&["check", "git push"], 3),
        (&["check", "--approved", "git push"], 0),
        (&["check", "--approved", "git push --force"], 2),
        (&["check"], 1),
        (&["check", "--no-such-flag", "ls"], 1),
        (&["inventory", "ls"], 0),
        (&["inventory", "ls ("], 0),
    ] {
        assert_eq!(world.call(arguments).code, Some(code), "{arguments:?}");
    }
}

#[test]
fn a_person_reads_which_policy_and_where() {
    let world = World::new();
    let ended = world.call(&["check", "ls; sudo ls"]);
    assert!(ended.stdout.contains("no-sudo (base/never.cedar:"), "{}", ended.stdout);
    assert!(ended.stdout.contains("  ls; sudo ls\n      ^^^^^^^\n"), "{}", ended.stdout);
    let ended = world.call(&["check", "--profile", "regulated", "no-such-program-at-all"]);
    assert!(ended.stdout.contains("No policy permits `no-such-program-at-all`"), "{}", ended.stdout);
}

#[test]
fn a_bad_batch_line_is_told_and_the_others_are_judged() {
    let world = World::new();
    let mut child = world.palisade();
    child.args(["check", "--batch"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = child.spawn().expect("the binary starts");
    let input = "{\"id\":\"1\",\"command\":\"ls\"}\nnot json\n{\"command\":\"ls\",\"no-such-key\":1}\n{\"id\":\"4\",\"command\":\"a\\u0000b\"}\n";
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("written");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((&lines[0]["id"], &lines[0]["decision"]), (&json!("1"), &json!("allow")));
    assert!(lines[1]["error"].as_str().is_some_and(|error| error.starts_with("line 2: ")), "{}", lines[1]);
    assert!(lines[2]["error"].as_str().is_some_and(|error| error.contains("no-such-key")), "{}", lines[2]);
    assert_eq!((&lines[3]["id"], &lines[3]["decision"]), (&json!("4"), &json!("deny")));
    assert!(lines[3]["opaque"][0]["detail"].as_str().is_some_and(|detail| detail.contains("NUL")), "{}", lines[3]);
}

#[test]
fn a_command_that_is_no_command_is_denied_and_told_why() {
    let world = World::new();
    let too_long = format!("echo {}", "x".repeat(66_560));
    let invalid = std::ffi::OsStr::from_bytes(b"echo \xff");
    for (command, said) in [
        (std::ffi::OsStr::new(&too_long), "65536"),
        (invalid, "UTF-8"),
        (std::ffi::OsStr::new(""), "empty"),
        (std::ffi::OsStr::new("  # nothing"), "empty"),
        (std::ffi::OsStr::new("echo 'abc"), "unterminated single quote"),
        (std::ffi::OsStr::new("ls | | wc"), "syntax"),
    ] {
        let checked = Ended::of(world.palisade().arg("check").arg("--json").arg(command));
        assert_eq!(checked.code, Some(2), "{said}: {checked:?}");
        let verdict = checked.json();
        let told = verdict["opaque"][0]["detail"].as_str().unwrap_or_default();
        assert!(told.contains(said), "{said}: {told}");
        assert_eq!(verdict["opaque"][0]["reason"], "unknown-syntax");
        let ran = Ended::of(world.palisade().arg("run").arg(command));
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(126), ""), "{said}: {ran:?}");
        assert!(ran.stderr.contains(said), "{said}: {}", ran.stderr);
    }
}

#[test]
fn secrets_in_a_judged_command_are_not_echoed() {
    let world = World::new();
    let token = format!("ghp_{}", "0123456789abcdefghijABCDEFGHIJ012345");
    for verb in ["check", "inventory"] {
        let ended = world.call(&[verb, &format!("sudo curl -H 'x: {token}' http://127.0.0.1:1/")]);
        assert!(!ended.stdout.contains(&token) && !ended.stderr.contains(&token), "{verb}: {ended:?}");
        assert!(ended.stdout.contains("[redacted:"), "{verb}: {ended:?}");
    }
}

#[test]
fn an_inventory_can_be_read_by_a_person() {
    let world = World::new();
    let script = "cd sub && for f in a b; do sudo rm \"$f\"; done; cat <(curl -s http://h/x) \"$y\"; $z";
    let told = world.call(&["inventory", "--text", script]);
    let expected = [
        "  1  cd sub    (builtin)",
        "sets f=…",
        "sudo rm a    (in sub, perhaps)",
        "rm b    (run by sudo, in sub, perhaps)",
        "deletes b",
        "cat <(…) …    (in sub)",
        "talks to h:80",
        "? dynamic-program:",
        "commands, 1 unknown",
    ];
    for line in expected {
        assert!(told.stdout.contains(line), "`{line}` is missing in\n{}", told.stdout);
    }
    assert_eq!(world.call(&["inventory", "--json", "ls"]).json()["commands"][0]["program"]["raw"], "ls");
}
