//! AI clients as their makers ship them, with their own shell tool and Palisade's hook in front of it, as `setup --apply` writes it.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::{CLAUDE, CODEX, GEMINI, Model, OPENCODE, Row, Scripted};
use crate::support::services::{ai_clients, mcp_client_python};
use crate::support::world::{Ended, World};

/// A client's own tools.
struct Tools {
    row: &'static Row,
    /// The tool for commands, and the field of its input that has the text.
    shell: (&'static str, &'static str),
    /// The tool that reads a file, and the field that names it.
    read: Option<(&'static str, &'static str)>,
    /// Where the text of its model's settings goes, if that is a file.
    settings: &'static str,
    /// Arguments besides those of the row: it asks nobody, and its own sandbox is out of the way.
    arguments: &'static [&'static str],
}

const CLIENTS: [Tools; 4] = [
    Tools {
        row: &CLAUDE,
        shell: ("Bash", "command"),
        read: Some(("Read", "file_path")),
        settings: "",
        arguments: &["-p", "go"],
    },
    Tools {
        row: &CODEX,
        shell: ("exec_command", "cmd"),
        read: None,
        settings: "home/.codex/config.toml",
        arguments: &["exec", "--skip-git-repo-check", "--sandbox", "danger-full-access", "--model", "scripted", "go"],
    },
    Tools {
        row: &GEMINI,
        shell: ("run_shell_command", "command"),
        read: Some(("read_file", "file_path")),
        settings: "home/.gemini/settings.json",
        arguments: &["--approval-mode", "yolo", "--model", "gemini-2.5-flash", "--prompt", "go"],
    },
    Tools {
        row: &OPENCODE,
        shell: ("bash", "command"),
        read: Some(("read", "filePath")),
        settings: "home/.config/opencode/opencode.json",
        arguments: &["run", "--model", "scripted/scripted", "go"],
    },
];

impl Tools {
    /// A call of its shell.
    fn runs(&self, text: &str) -> Value {
        let mut arguments = json!({ self.shell.1: text });
        if self.row.name == "opencode" || self.row.name == "claude" {
            arguments["description"] = json!("a command");
        }
        json!({ "own": self.shell.0, "arguments": arguments })
    }

    /// Writes its model's settings, and has Palisade write its own. Other words than those of `apply` leave that out.
    fn told(&self, world: &World, model: &Scripted, apply: &[&str]) {
        if let Model::File(text, _) = self.row.model {
            fs::create_dir_all(world.path(self.settings).parent().expect("a directory")).expect("made");
            world.write(self.settings, &text.replace("PORT", &model.port));
        }
        fs::create_dir_all(world.path("home/.claude")).expect("made");
        if !apply.is_empty() {
            let applied = world.call(apply);
            assert_eq!(applied.code, Some(0), "{applied:?}");
        }
    }

    /// Lets it do what the script says.
    fn converse(&self, world: &World, programs: &Path, model: &Scripted) -> Vec<String> {
        let mut client = Command::new(programs.join(self.row.name));
        client.args(self.arguments).current_dir(world.workspace()).stdin(Stdio::null()).env_clear();
        client.env("HOME", world.path("home")).env("XDG_STATE_HOME", world.path("state"));
        client.env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", programs.display()));
        let (Model::Environment(variables) | Model::File(_, variables)) = &self.row.model;
        for (name, value) in *variables {
            client.env(name, value.replace("PORT", &model.port));
        }
        let ended = Ended::of(&mut client);
        let name = self.row.name;
        assert!(ended.code == Some(0) && ended.stdout.contains("over"), "{name}: {ended:?}");
        model.seen().1
    }
}

/// The client's own shell tool runs its commands in the sandbox, in one session, redacted and on record; what policy denies does not run.
#[test]
fn a_wrapped_client_runs_its_commands_in_the_sandbox() {
    let (Some(programs), Some(python)) = (ai_clients(), mcp_client_python()) else { return };
    for client in &CLIENTS {
        let name = client.row.name;
        let world = World::new();
        world.program("leak", "#!/bin/sh\nprintf 'token: ghp_0123456789abcdefghijABCDEFGHIJ012345\\n'\n");
        fs::create_dir_all(world.path("work/sub")).expect("made");
        world.write("work/credentials.json", r#"{ "password": "correct-horse-4711" }"#);
        let secret = world.path("work/credentials.json").display().to_string();
        let mut script = vec![
            client.runs("echo one | tee made; ./leak; (exit 3)"),
            client.runs("sudo rm -rf /"),
            client.runs("cd sub && kept=yes && echo t > \"$TMPDIR/t\" && readlink /proc/self/ns/pid"),
            client.runs("echo \"it's [$kept] in $(basename \"$PWD\") $(cat \"$TMPDIR/t\")\""),
        ];
        if let Some((tool, field)) = client.read {
            script.push(json!({ "own": tool, "arguments": { field: secret } }));
        }
        let model = Scripted::start(&world, &python, &Value::from(script.clone()));
        client.told(&world, &model, &["setup", name, "--apply"]);
        let results = client.converse(&world, &programs, &model);
        assert_eq!(results.len(), script.len(), "{name}: {results:?}");
        let result = |at: usize| results.get(at).map(|text: &String| text.replace("\\n", "\n")).unwrap_or_default();
        assert!(result(0).contains("one") && result(0).contains("[redacted:"), "{name}: {}", result(0));
        assert_eq!(fs::read_to_string(world.path("work/made")).ok().as_deref(), Some("one\n"), "{name}");
        assert!(result(1).contains("no-sudo"), "{name}: {}", result(1));
        let outside = fs::read_link("/proc/self/ns/pid").expect("a name").display().to_string();
        assert!(result(2).contains("pid:[") && !result(2).contains(&outside), "{name}: {}", result(2));
        // Claude Code's models count on a directory that stays, those of the others on a shell that is new; files stay for all.
        let kept = if name == "claude" { "it's [yes] in sub t" } else { "it's [] in work t" };
        assert!(result(3).contains(kept), "{name}: {}", result(3));
        if client.read.is_some() {
            assert!(
                result(4).contains("secrets-unreadable") && !result(4).contains("correct-horse"),
                "{name}: {}",
                result(4)
            );
        }
        assert!(results.iter().all(|text| !text.contains("ghp_0123456789")), "{name}: {results:?}");
        let record = world.record();
        let decisions = record.iter().filter(|line| line["kind"] == "decision").map(Value::to_string);
        let decisions: Vec<String> = decisions.collect();
        assert!(
            decisions.len() >= 4 && decisions.iter().all(|line| line.contains(&format!("\"{name}\""))),
            "{name}: {decisions:?}"
        );
    }
}

/// A hook that is missing, dies or says nothing that is an answer: the command does not run.
#[test]
fn nothing_runs_where_the_hook_fails() {
    let (Some(programs), Some(python)) = (ai_clients(), mcp_client_python()) else { return };
    for client in &CLIENTS {
        let name = client.row.name;
        // One client is enough for what the shell in front of the hook makes of it.
        let fails = (name == "claude").then_some(("it fails", Some("#!/bin/sh\nexit 1\n")));
        let dies = (name != "opencode").then_some(("it dies", Some("#!/bin/sh\nkill -KILL $$\n")));
        for (trouble, program) in [("it is missing", None)].into_iter().chain(dies).chain(fails) {
            let world = World::new();
            let model = Scripted::start(&world, &python, &json!([client.runs("touch ran")]));
            let place = world.path("home/palisade");
            fs::copy(env!("CARGO_BIN_EXE_palisade"), &place).expect("copied");
            client.told(&world, &model, &[]);
            let applied = world.call_as(&place, &["setup", name, "--apply"]);
            assert_eq!(applied.code, Some(0), "{applied:?}");
            fs::remove_file(&place).expect("removed");
            if let Some(text) = program {
                world.write("home/palisade", text);
                let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
                fs::set_permissions(&place, mode).expect("a mode");
            }
            let results = client.converse(&world, &programs, &model);
            assert!(!world.path("work/ran").exists(), "{name}, {trouble}: {results:?}");
        }
    }
}
