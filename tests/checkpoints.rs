//! Checkpoints over MCP and from outside: taken and gone back to, as policy lets it, and on record.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::serve::Server;
use crate::support::world::{Ended, World, repository};

/// The shipped profile without its question before a restore, and with more rules.
pub(crate) fn policies(world: &World, more: &str) -> PathBuf {
    let profile = fs::read_to_string(repository().join("policies/profiles/developer.cedar")).expect("the profile");
    let (before, rest) = profile.split_once("@id(\"ask-restore\")").expect("the question");
    let (_, after) = rest.split_once("@id(").expect("a rule behind it");
    world.write("open.cedar", &format!("{before}@id({after}{more}"))
}

pub(crate) fn ask(server: &mut Server, tool: &str, arguments: &Value) -> Value {
    server.call(1, tool, arguments);
    server.receive()["result"].clone()
}

pub(crate) fn open(server: &mut Server) -> String {
    let opened = ask(server, "session_open", &json!({}));
    opened["structuredContent"]["session"].as_str().unwrap_or_else(|| panic!("{opened}")).to_owned()
}

fn exec(server: &mut Server, session: &str, command: &str) {
    let ran = ask(server, "exec", &json!({ "session": session, "command": command }));
    assert_eq!(ran["structuredContent"]["exit_code"], 0, "{command}: {ran}");
}

fn take(server: &mut Server, session: &str) -> String {
    let taken = ask(server, "checkpoint", &json!({ "session": session, "label": "before" }));
    taken["structuredContent"]["checkpoint"].as_str().unwrap_or_else(|| panic!("{taken}")).to_owned()
}

fn read(world: &World, name: &str) -> Option<String> {
    fs::read_to_string(world.path("work").join(name)).ok()
}

#[test]
fn a_session_goes_back_to_where_it_was_and_harms_nothing_else() {
    let world = World::new();
    let policies = policies(&world, "");
    for (name, text) in [("kept", "kept"), ("changed", "then"), ("deleted", "then"), ("theirs", "then")] {
        world.write(&format!("work/{name}"), text);
    }
    let mut server = Server::start_with(&world, &["--policies", policies.to_str().expect("text")]);
    let session = open(&mut server);
    let checkpoint = take(&mut server, &session);
    exec(&mut server, &session, "echo now > changed; rm deleted; mkdir d; echo made > d/made");
    world.write("work/theirs", "theirs");
    world.write("work/new", "theirs");
    let mut restore = |terms: Value| {
        let mut arguments = json!({ "session": session, "checkpoint": checkpoint });
        arguments.as_object_mut().expect("an object").extend(terms.as_object().expect("an object").clone());
        ask(&mut server, "restore", &arguments)["structuredContent"].clone()
    };
    let planned = restore(json!({ "dry_run": true }));
    assert_eq!(planned["write"]["paths"], json!(["changed", "deleted"]), "{planned}");
    assert_eq!(planned["delete"]["paths"], json!(["d", "d/made"]), "{planned}");
    assert_eq!(planned["conflicts"]["paths"], json!(["theirs"]), "{planned}");
    assert_eq!(planned["left"]["paths"], json!(["new"]), "{planned}");
    assert_eq!(read(&world, "changed").as_deref(), Some("now\n"), "nothing is done in a dry run");
    let done = restore(json!({}));
    assert_eq!((done["dry_run"].clone(), done.get("failed")), (json!(false), None), "{done}");
    let state = ["kept", "changed", "deleted", "theirs", "new", "d/made"].map(|name| read(&world, name));
    let expected = [Some("kept"), Some("then"), Some("then"), Some("theirs"), Some("theirs"), None];
    assert_eq!(state.each_ref().map(Option::as_deref), expected);
    restore(json!({ "force": true }));
    assert_eq!(read(&world, "theirs").as_deref(), Some("then"));
    let undo = done["undo"].as_str().expect("a checkpoint");
    let listed = ask(&mut server, "list", &json!({ "kind": "checkpoints" }));
    let all = listed["structuredContent"]["checkpoints"].as_array().expect("a list").clone();
    assert_eq!(all.len(), 3, "{listed}");
    assert_eq!((&all[0]["checkpoint"], &all[0]["label"]), (&json!(checkpoint), &json!("before")));
    assert_eq!((&all[1]["checkpoint"], &all[1]["before_restore"]), (&json!(undo), &json!(checkpoint)));
    drop(server);
    let record = world.record();
    let kind = |kind: &str| record.iter().filter(|line| line["kind"] == kind).cloned().collect::<Vec<_>>();
    assert_eq!(kind("checkpoint")[0]["checkpoint"], checkpoint.as_str());
    let restores = kind("restore");
    assert_eq!(restores.len(), 4, "{restores:?}");
    assert_eq!((&restores[0]["effect"], &restores[0]["write"]), (&json!("allow"), &json!(["changed", "deleted"])));
    assert_eq!(restores[0]["delete"], json!(["d", "d/made"]));
    assert_eq!((&restores[1]["undo"], restores[1].get("write")), (&json!(undo), None));
    assert_eq!((&restores[2]["force"], &restores[2]["write"]), (&json!(true), &json!(["theirs"])));
}

#[test]
fn a_restore_is_no_way_round_a_rule() {
    let world = World::new();
    let rules = "@id(\"hands-off\")\n@reason(\"Not to be changed.\")\nforbid (principal, action == Action::\"write\", resource)\n\
                 when { resource in Path::\"WORK/sub/deep/frozen\" };\n";
    let policies = policies(&world, "");
    fs::create_dir_all(world.path("work/sub/deep")).expect("a directory");
    world.write("work/sub/deep/frozen", "then");
    let arguments = ["--policies", policies.to_str().expect("text")];
    let mut server = Server::start_with(&world, &arguments);
    let session = open(&mut server);
    let checkpoint = take(&mut server, &session);
    exec(&mut server, &session, "echo now > sub/deep/frozen");
    drop(server);
    crate::checkpoints::policies(&world, &rules.replace("WORK", world.workspace().to_str().expect("text")));
    let validated = world.call(&["policy", "validate", policies.to_str().expect("text")]);
    assert_eq!(validated.code, Some(0), "{validated:?}");
    let mut server = Server::start_with(&world, &arguments);
    let session = open(&mut server);
    let refused = ask(&mut server, "restore", &json!({ "session": session, "checkpoint": checkpoint, "force": true }));
    assert_eq!(refused["isError"], true, "{refused}");
    assert!(refused["content"][0]["text"].as_str().is_some_and(|text| text.contains("hands-off")), "{refused}");
    assert_eq!(read(&world, "sub/deep/frozen").as_deref(), Some("now\n"));
    let unknown = ask(&mut server, "restore", &json!({ "session": session, "checkpoint": "../../etc" }));
    assert!(
        unknown["content"][0]["text"].as_str().is_some_and(|text| text.contains("there is no checkpoint")),
        "{unknown}"
    );
}

/// Also where nobody can be asked.
#[test]
fn what_a_session_has_changed_itself_it_takes_back_by_itself() {
    let world = World::new();
    world.write("work/file", "then");
    world.write("work/theirs", "then");
    let mut server = Server::start_with(&world, &[]);
    let session = open(&mut server);
    let checkpoint = take(&mut server, &session);
    exec(&mut server, &session, "echo now > file; echo now > made");
    world.write("work/theirs", "a person's");
    let restored = ask(&mut server, "restore", &json!({ "session": session, "checkpoint": checkpoint }));
    let told = &restored["structuredContent"];
    assert_eq!((&told["write"]["paths"], &told["delete"]["paths"]), (&json!(["file"]), &json!(["made"])), "{restored}");
    assert_eq!(
        ["file", "made", "theirs"].map(|name| read(&world, name)),
        [Some("then".to_owned()), None, Some("a person's".to_owned())]
    );
    // Who forces it takes away what others have done.
    exec(&mut server, &session, "echo now > file");
    let forced = ask(&mut server, "restore", &json!({ "session": session, "checkpoint": checkpoint, "force": true }));
    assert_eq!(forced["structuredContent"]["status"], "approval_required", "{forced}");
    assert_eq!(read(&world, "theirs").as_deref(), Some("a person's"));
}

#[test]
fn going_back_by_force_takes_a_persons_yes_under_the_shipped_profile() {
    let world = World::new();
    world.write("work/file", "then");
    let mut server = Server::start_with(&world, &[]);
    let session = open(&mut server);
    let checkpoint = take(&mut server, &session);
    exec(&mut server, &session, "echo now > file");
    let asked = ask(&mut server, "restore", &json!({ "session": session, "checkpoint": checkpoint, "force": true }));
    assert_eq!(asked["structuredContent"]["status"], "approval_required", "{asked}");
    // On record before it waits, with what it would touch, under the id that a person names it by.
    let waits = world.record().into_iter().find(|line| line["kind"] == "restore").expect("an entry");
    assert_eq!((&waits["effect"], &waits["write"]), (&json!("ask"), &json!(["file"])), "{waits}");
    assert_eq!(waits["ask"], asked["structuredContent"]["approval"]["id"], "{waits}");
    assert_eq!(waits["determining"], json!(["ask-restore"]), "{waits}");
    let store = world.path("state/palisade/checkpoints");
    let seen = ask(&mut server, "exec", &json!({ "session": session, "command": format!("ls {}", store.display()) }));
    assert_eq!(seen["structuredContent"]["status"], "denied", "{seen}");
    // What the text does not tell, the kernel holds.
    let seen = ask(
        &mut server,
        "exec",
        &json!({ "session": session, "command": format!("d={}; cd / && ls $d", store.display()) }),
    );
    assert_ne!(seen["structuredContent"]["exit_code"], 0, "{seen}");
    drop(server);
    let unasked = world.call(&["checkpoint", "restore", &checkpoint]);
    assert_eq!((unasked.code, read(&world, "file").as_deref()), (Some(126), Some("now\n")), "{unasked:?}");
    let diff = world.call(&["checkpoint", "diff", &checkpoint]);
    assert_eq!((diff.code, diff.stdout.as_str()), (Some(0), "would be put back: 1\n  file\n"), "{diff:?}");
    for (answer, state) in [("no", "now\n"), ("yes", "then")] {
        let at_terminal = at_terminal(&world, &format!("checkpoint restore {checkpoint}"), answer);
        assert_eq!(read(&world, "file").as_deref(), Some(state), "{at_terminal:?}");
        let record = world.record();
        let of = |kind: &str| record.iter().filter(|line| line["kind"] == kind).cloned().collect::<Vec<_>>();
        let (asked, answers) = (of("restore"), of("approval"));
        assert_eq!((&asked[0]["effect"], &asked[0]["write"]), (&json!("ask"), &json!(["file"])), "{asked:?}");
        assert_eq!((answers.len(), &answers[0]["of"]), (1, &asked[0]["ask"]), "{answers:?}");
        assert_eq!(answers[0]["granted"], answer == "yes");
        assert_eq!(
            asked.get(1).map(|done| (&done["effect"], &done["under"])),
            (answer == "yes").then_some((&json!("allow"), &asked[0]["ask"]))
        );
    }
    let listed = world.call(&["checkpoint", "list", "--json"]).json();
    assert_eq!(listed.as_array().map(Vec::len), Some(2), "{listed}");
    let pruned = world.call(&["checkpoint", "prune", "--keep", "1"]);
    assert!(pruned.stdout.starts_with(&format!("gone: {checkpoint}")), "{pruned:?}");
    let gone = world.call(&["checkpoint", "restore", &checkpoint]);
    assert_eq!(gone.code, Some(1), "{gone:?}");
    assert!(gone.stderr.contains("there is no checkpoint") && gone.stderr.contains("help:"), "{gone:?}");
}

#[test]
fn who_gives_checkpoints_up_is_policys_to_say_and_on_record() {
    let world = World::new();
    world.write("work/file", "then");
    let mut server = Server::start_with(&world, &[]);
    let session = open(&mut server);
    let checkpoints = [take(&mut server, &session), take(&mut server, &session)];
    drop(server);
    let settings = world.write("settings.toml", "profile = \"regulated\"\n");
    let prune = |settings: &PathBuf| {
        world.call(&["checkpoint", "prune", "--keep", "1", "--config", settings.to_str().expect("text")])
    };
    let on_record = || world.record().into_iter().find(|line| line["kind"] == "checkpoint_prune").expect("an entry");
    let refused = prune(&settings);
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(126), ""), "{refused:?}");
    assert!(refused.stderr.contains("prune the checkpoints of") && refused.stderr.contains("help:"), "{refused:?}");
    assert_eq!((&on_record()["effect"], &on_record()["checkpoints"]), (&json!("deny"), &json!([checkpoints[0]])));
    let user = on_record()["by"].as_str().expect("a name").to_owned();
    let listed = world.call(&["checkpoint", "list", "--json"]).json();
    assert_eq!(listed.as_array().map(Vec::len), Some(2), "{listed}");
    let text = format!("profile = \"regulated\"\n[people.{user}]\nroles = [\"operator\"]\n");
    let pruned = prune(&world.write("operator.toml", &text));
    assert_eq!(pruned.code, Some(0), "{pruned:?}");
    let entry = on_record();
    assert_eq!((&entry["effect"], &entry["keep"]), (&json!("allow"), &json!(1)), "{entry}");
    assert_eq!(entry["determining"], json!(["reg-operators-keep-the-record"]));
    let listed = world.call(&["checkpoint", "list", "--json"]).json();
    assert_eq!((listed.as_array().map(Vec::len), &listed[0]["checkpoint"]), (Some(1), &json!(checkpoints[1])));
}

#[test]
fn the_settings_take_one_before_each_command_that_may_change_files() {
    let world = World::new();
    world.write("work/file", "then");
    let settings = world.write("settings.toml", "[checkpoint]\nautomatic = \"changes\"\n");
    let config = ["--config", settings.to_str().expect("text")];
    let ran = world.call(&[&["run"], &config[..], &["echo now > file"]].concat());
    let (_, behind) = ran.stderr.split_once("as it was before: checkpoint ").expect("a checkpoint");
    let checkpoint = behind.split_whitespace().next().expect("a name");
    let looked = world.call(&[&["run"], &config[..], &["cat file"]].concat());
    assert_eq!((looked.stdout.as_str(), looked.stderr.contains("checkpoint")), ("now\n", false), "{looked:?}");
    let listed = world.call(&[&["checkpoint", "list"], &config[..]].concat());
    assert!(
        listed.stdout.starts_with(checkpoint) && listed.stdout.ends_with("before  echo now > file\n"),
        "{listed:?}"
    );
    let mut server = Server::start_with(&world, &config);
    let session = open(&mut server);
    let ran = ask(&mut server, "exec", &json!({ "session": session, "command": "rm file" }));
    let behind = ran["structuredContent"]["checkpoint"].as_str().unwrap_or_else(|| panic!("{ran}"));
    let text = ran["content"][0]["text"].as_str().expect("a text");
    assert!(text.contains(&format!("before: checkpoint {behind}")), "{text}");
    assert_ne!(behind, checkpoint);
    drop(server);
    let diff = world.call(&[&["checkpoint", "diff", checkpoint], &config[..]].concat());
    assert!(diff.stdout.contains("file"), "{diff:?}");
}

#[test]
fn what_a_policy_demands_is_shown_before_anything_runs() {
    let world = World::new();
    let policies = policies(
        &world,
        "@id(\"looks\") @checkpoint(\"before\") permit (principal, action == Action::\"exec\", resource in Program::\"git status\");\n",
    );
    let flags = ["--policies", policies.to_str().expect("text")];
    let checked = world.call(&[&["check", "--json"], &flags[..], &["git status"]].concat());
    assert_eq!(checked.json()["checkpoint"], json!(["looks"]), "{checked:?}");
    let checked = world.call(&[&["check"], &flags[..], &["git status"]].concat());
    assert!(checked.stdout.contains("behind a checkpoint  (looks)"), "{checked:?}");
    let other = world.call(&[&["check", "--json"], &flags[..], &["git log"]].concat());
    assert_eq!(other.json().get("checkpoint"), None, "{other:?}");
    let elsewhere = [&["check", "--json", "--approved", "--transport", "ssh"], &flags[..], &["git status"]].concat();
    let there = world.call(&elsewhere).json();
    assert_eq!((&there["decision"], &there["checkpoint"]), (&json!("allow"), &json!(["looks"])), "{there}");
}

/// A verb with a terminal of its own, at which this is typed.
pub(crate) fn at_terminal(world: &World, verb: &str, typed: &str) -> Ended {
    let palisade = world.palisade();
    let mut command = Command::new("script");
    command
        .args(["--quiet", "--return", "--command", &format!("{} {verb}", env!("CARGO_BIN_EXE_palisade"))])
        .arg("/dev/null");
    for (name, value) in palisade.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.current_dir(world.workspace()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("script starts");
    writeln!(child.stdin.take().expect("a pipe"), "{typed}").expect("written");
    let output = child.wait_with_output().expect("it ends");
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
