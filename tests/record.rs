//! The record: there before anything runs, and telling when it was changed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::{Value, json};

use crate::policy::directory;
use crate::reload::{ALL, policies};
use crate::serve::Server;
use crate::support::people::call;
use crate::support::services::skip;
use crate::support::world::{Ended, World};

fn kinds(record: &[Value]) -> Vec<&str> {
    record.iter().map(|line| line["kind"].as_str().unwrap_or("?")).collect()
}

#[test]
fn a_run_leaves_a_decision_and_an_outcome() {
    let world = World::new();
    assert_eq!(world.run("echo hello; false").code, Some(1));
    let record = world.record();
    assert_eq!(kinds(&record), ["start", "decision", "outcome", "stop"]);
    let (decision, outcome) = (&record[1], &record[2]);
    assert_eq!((&decision["cmd"], &decision["decision"]["effect"]), (&json!("echo hello; false"), &json!("allow")));
    assert_eq!(decision["inv"], json!(["echo", "false"]));
    assert_eq!((&outcome["req"], &outcome["exit"]["code"]), (&decision["req"], &json!(1)));
    let seqs: Vec<u64> = record.iter().filter_map(|line| line["seq"].as_u64()).collect();
    assert_eq!(seqs, [1, 2, 3, 4]);

    assert_eq!(world.run("sudo ls").code, Some(126));
    let record = world.record();
    assert_eq!(kinds(&record), ["start", "decision", "stop"]);
    assert_eq!(record[1]["decision"]["effect"], "deny");
}

#[test]
fn nothing_runs_off_the_record() {
    let world = World::new();
    let audit = world.path("state/palisade/audit");
    // A file where the directory has to be.
    fs::create_dir_all(audit.parent().expect("a parent")).expect("a directory");
    fs::write(&audit, "").expect("a file");
    let ended = world.run("touch ran");
    assert_eq!(ended.code, Some(125), "{ended:?}");
    assert!(ended.stderr.contains("error: ") && ended.stderr.contains("help: "), "{ended:?}");
    assert!(!world.path("work/ran").exists());

    // A directory that others can write.
    fs::remove_file(&audit).expect("removed");
    fs::create_dir(&audit).expect("a directory");
    fs::set_permissions(&audit, fs::Permissions::from_mode(0o777)).expect("a mode");
    let ended = world.run("touch ran");
    assert_eq!(ended.code, Some(125), "{ended:?}");
    assert!(ended.stderr.contains("can be written by others"), "{ended:?}");
    assert!(!world.path("work/ran").exists());
}

#[test]
fn the_record_is_out_of_the_agents_reach() {
    let world = World::new();
    // A workspace that holds the record is refused.
    let root = world.path("");
    let ended = world.call(&["run", "--workspace", root.to_str().expect("UTF-8"), "ls"]);
    assert_eq!(ended.code, Some(125), "{ended:?}");
    assert!(ended.stderr.contains("lies inside the workspace"), "{ended:?}");
    assert_eq!(world.run("ls").code, Some(0));
    let file = world.records().pop().expect("a record");
    assert_eq!(fs::metadata(&file).expect("metadata").permissions().mode() & 0o777, 0o600);
    let ended = world.run(&format!("cat {}", file.display()));
    assert_eq!(ended.code, Some(126), "{ended:?}");
    assert!(ended.stderr.contains("guard-own-files"), "{ended:?}");

    // Nor does a session come near the key, by a command's text or by a program of the workspace.
    let key = world.path("state/palisade/audit/signing.key");
    assert_eq!(fs::metadata(&key).expect("metadata").permissions().mode() & 0o777, 0o600);
    let secret = fs::read_to_string(&key).expect("a key");
    let key = key.display();
    for command in [format!("cat {key}"), format!("cp {key} stolen"), format!("read -r k < {key} && echo $k")] {
        let ended = world.run(&command);
        assert_eq!(ended.code, Some(126), "{command}: {ended:?}");
    }
    for command in [format!("cp {key} stolen"), format!("read -r k < {key} && echo $k"), format!("rm {key}")] {
        world.program("attack", &format!("#!/bin/bash\n{command}\n"));
        let ended = world.run("./attack");
        assert!(ended.code != Some(0) && !ended.stdout.contains(secret.trim()), "{command}: {ended:?}");
    }
    assert!(!world.path("work/stolen").exists());
    assert_eq!(fs::read_to_string(world.path("state/palisade/audit/signing.key")).expect("a key"), secret);
}

#[test]
fn a_record_is_verified_and_proved_by_its_key() {
    let world = World::new();
    let printed = world.call(&["audit", "key"]);
    assert_eq!(printed.code, Some(0), "{printed:?}");
    let key = printed.stdout.trim().to_owned();
    assert_eq!(world.run("echo one").code, Some(0));
    assert_eq!(world.call(&["audit", "key"]).stdout.trim(), key);

    let verified = Ended::of(world.palisade().args(["audit", "verify", "--json", "--key", &key])).json();
    assert_eq!((&verified["good"], &verified["signed"], &verified["key"]), (&json!(true), &json!(4), &json!(key)));
    let other = "0".repeat(64);
    let ended = world.call(&["audit", "verify", "--key", &other]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stdout.contains("not a key that was given"), "{ended:?}");
    assert_eq!(world.call(&["audit", "verify", "--key", &key, "--key", &other]).code, Some(0));
    assert_eq!(world.call(&["audit", "verify", "--key", "x"]).code, Some(1));

    let file = world.records().pop().expect("a record").display().to_string();
    let exported = world.call(&["audit", "prove", "2", &file]);
    assert_eq!(exported.code, Some(0), "{exported:?}");
    assert_eq!(
        exported.json()["record"].as_str(),
        fs::read_to_string(&file).expect("text").split_inclusive('\n').nth(1)
    );
    let proof = world.write("proof.json", &exported.stdout).display().to_string();
    let checked = Ended::of(world.palisade().args(["audit", "verify", "--json", "--key", &key, "--proof", &proof]));
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert_eq!(checked.json()["proven"]["seq"], 2);
    assert_eq!(world.call(&["audit", "verify", "--proof", &proof]).code, Some(1));
    assert_eq!(world.call(&["audit", "verify", "--key", &other, "--proof", &proof]).code, Some(2));
    for changed in [
        exported.stdout.replace("echo one", "echo two"),
        exported.stdout.replace("path\":[\"", "path\":[\"0"),
        "{}".to_owned(),
    ] {
        world.write("proof.json", &changed);
        let ended = world.call(&["audit", "verify", "--key", &key, "--proof", &proof]);
        assert_eq!(ended.code, Some(2), "{changed}: {ended:?}");
    }
    assert_eq!(world.call(&["audit", "prove", "9", &file]).code, Some(1));
}

#[test]
fn verify_names_the_first_bad_record() {
    let world = World::new();
    for command in ["echo one", "echo two"] {
        assert_eq!(world.run(command).code, Some(0));
    }
    let good = world.call(&["audit", "verify"]);
    assert_eq!(good.code, Some(0), "{good:?}");
    assert_eq!(good.stdout.lines().count(), 2, "{good:?}");

    let file = world.records().pop().expect("a record");
    let path = file.to_str().expect("UTF-8").to_owned();
    let text = fs::read_to_string(&file).expect("readable");
    let head = Ended::of(world.palisade().args(["audit", "verify", "--json", &path])).json();
    let head = head["head"].as_str().expect("a head").to_owned();
    let lines: Vec<&str> = text.lines().collect();
    let without_second = format!("{}\n{}\n{}\n", lines[0], lines[2], lines[3]);
    let without_tail = format!("{}\n{}\n", lines[0], lines[1]);
    for (changed, anchor, said) in [
        (text.replace("echo two", "echo owt"), None, "record 3"),
        (without_second, None, "record 2"),
        (without_tail.clone(), Some(head.as_str()), "record"),
        (text.trim_end().to_owned(), None, "record 4"),
    ] {
        fs::write(&file, &changed).expect("written");
        let mut arguments = vec!["audit", "verify", path.as_str()];
        arguments.extend(anchor.iter().flat_map(|anchor| ["--anchor", *anchor]));
        let ended = world.call(&arguments);
        assert_eq!(ended.code, Some(2), "{said}: {ended:?}");
        assert!(ended.stdout.contains(said), "{said}: {ended:?}");
    }
    // Without an anchor a dropped tail cannot be told from a writer that is still at work.
    fs::write(&file, &without_tail).expect("written");
    let ended = world.call(&["audit", "verify", &path]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("has not ended"), "{ended:?}");

    assert_eq!(world.call(&["audit", "verify", "/no/such/file"]).code, Some(1));
}

#[test]
fn the_record_goes_on_in_another_file_and_what_is_old_goes() {
    let world = World::new();
    let settings = world.write("home/small.toml", "[audit]\nrotate = { size = \"2KiB\" }\n");
    let settings = settings.to_str().expect("UTF-8").to_owned();
    assert_eq!(world.call(&["run", "--config", &settings, "echo one"]).code, Some(0));
    let files = world.records();
    assert!(files.len() > 1, "{files:?}");
    let verified = Ended::of(world.palisade().args(["audit", "verify", "--json"])).json();
    assert_eq!((&verified["good"], &verified["files"]), (&json!(true), &json!(files.len())));
    let second = files[1].to_str().expect("UTF-8");
    let alone = Ended::of(world.palisade().args(["audit", "verify", "--json", second])).json();
    assert!(alone["good"] == true && alone["begins"].as_u64() > Some(1), "{alone}");
    let proof = world.call(&["audit", "prove", &alone["begins"].to_string(), second]);
    assert_eq!(proof.code, Some(0), "{proof:?}");

    let aside = world.path("home/first");
    fs::rename(&files[0], &aside).expect("moved");
    let broken = world.call(&["audit", "verify"]);
    assert_eq!(broken.code, Some(2), "{broken:?}");
    assert!(broken.stdout.contains("file 1 of the chain is missing"), "{broken:?}");
    fs::rename(&aside, &files[0]).expect("moved back");

    let settings = world.write("home/short.toml", "[audit]\nretention = \"1ms\"\n");
    let settings = settings.to_str().expect("UTF-8").to_owned();
    // Policies that let nobody prune keep all of it, whatever the settings say.
    let silent = directory(&world, "silent", &[("p.cedar", &policies(ALL))]);
    let mut run = world.palisade();
    run.env("PALISADE_LOG", "warn").args(["run", "--config", &settings, "--policies", &silent, "echo two"]);
    let kept = Ended::of(&mut run);
    assert!(kept.code == Some(0) && kept.stderr.contains("`audit.retention` takes nothing away"), "{kept:?}");
    assert!(files.iter().all(|file| file.exists()));
    let files = world.records();
    assert_eq!(world.call(&["run", "--config", &settings, "echo two"]).code, Some(0));
    assert!(files.iter().all(|file| !file.exists()));
    let record = world.record();
    assert_eq!(kinds(&record).iter().filter(|kind| **kind == "prune").count(), files.len());
    let verified = world.call(&["audit", "verify"]);
    assert_eq!(verified.code, Some(0), "{verified:?}");
    assert!(verified.stdout.contains("pruned") && verified.stdout.lines().count() == 3, "{verified:?}");
}

#[test]
fn show_picks_by_who_what_and_when() {
    let world = World::new();
    assert_eq!(world.run("echo one").code, Some(0));
    assert_eq!(world.run("sudo ls").code, Some(126));
    assert_eq!(world.call(&["run", "--agent", "other", "--user", "bob", "echo two"]).code, Some(0));
    let show = |filter: &[&str]| world.call(&[&["audit", "show"], filter].concat());
    for (filter, shown, hidden) in [
        (&["--agent", "other"][..], "echo two", "echo one"),
        (&["--user", "bob"], "echo two", "sudo ls"),
        (&["--decision", "deny"], "sudo ls", "echo"),
        (&["--decision", "allow", "--since", "1h"], "echo one", "sudo"),
        (&["--kind", "outcome"], "exit 0", "echo"),
    ] {
        let ended = show(filter);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.stdout.contains(shown) && !ended.stdout.contains(hidden), "{filter:?}: {ended:?}");
    }
    let denied = show(&["--decision", "deny", "--json"]).json();
    let policy = denied["decision"]["determining"][0].as_str().expect("a policy").to_owned();
    assert!(show(&["--policy", &policy]).stdout.contains("sudo ls"));
    assert_eq!(show(&["--policy", "no-such-policy"]).stdout, "");
    assert_eq!(show(&["--until", "1h"]).stdout, "");
    assert_eq!(show(&["--since", "tomorrow"]).code, Some(1));
    assert_eq!(show(&["--kind", "start", "--json"]).stdout.lines().count(), 3);

    // What is no record is not passed over in silence.
    let file = world.records().pop().expect("a record");
    let text = fs::read_to_string(&file).expect("text");
    fs::write(&file, text + "\u{1b}[2Jnot a record\n").expect("written");
    let ended = show(&[]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("no records") && !ended.stdout.contains('\u{1b}'), "{ended:?}");
}

#[test]
fn replay_judges_the_record_by_other_policies() {
    let world = World::new();
    assert_eq!(world.run("touch made").code, Some(0));
    assert_eq!(world.run("sudo ls").code, Some(126));
    // No policy looks at what echo prints, and one at every value of a variable.
    assert_eq!(world.run("echo ghp_0123456789abcdefghijABCDEFGHIJ012345").code, Some(0));
    assert_eq!(world.run("A=ghp_0123456789abcdefghijABCDEFGHIJ012345 true").code, Some(0));
    let same = world.call(&["audit", "replay"]);
    assert_eq!(same.code, Some(0), "{same:?}");
    assert!(same.stdout.contains("3 decided as recorded, 0 otherwise, 1 left out"), "{same:?}");
    assert!(
        same.stdout.contains("`A`: a secret was redacted from its value, which `guard-loader-env` looks at"),
        "{same:?}"
    );

    let stricter = world.call(&["audit", "replay", "--profile", "readonly"]);
    assert_eq!(stricter.code, Some(2), "{stricter:?}");
    assert!(stricter.stdout.contains("allow → deny  touch made"), "{stricter:?}");
    let file = world.records().first().expect("a record").display().to_string();
    let one = Ended::of(world.palisade().args(["audit", "replay", "--json", "--profile", "readonly", &file])).json();
    assert_eq!((&one["same"], &one["changed"][0]["now"]), (&json!(0), &json!("deny")));
}

/// What was there then counts, not what is there now; and what was asked holds no secret that the command's text does not.
#[test]
fn a_decision_is_made_again_on_what_it_was_made_on() {
    let world = World::new();
    fs::create_dir(world.path("work/kept")).expect("a directory");
    world.write("work/kept/x", "");
    for command in [
        "cd kept && cat x",
        "cat gone/*",
        "rm -r kept",
        "printf a | sh",
        "echo $(date) > out; wc -l < out",
        "if true; then ls -la; fi; for x in 1 2; do echo $x; done",
        "mysql --password=hunter2 -e 'select 1'",
        "sudo -n rm -rf /",
    ] {
        let ended = world.run(command);
        assert_ne!(ended.code, Some(125), "{command}: {ended:?}");
    }
    fs::create_dir(world.path("work/gone")).expect("a directory");
    fs::write(world.path("work/gone/y"), "").expect("a file");
    let records: String = world.records().iter().map(|file| fs::read_to_string(file).expect("a record")).collect();
    assert!(!records.contains("hunter2"), "{records}");
    let json = world.call(&["audit", "replay", "--json"]).json();
    assert_eq!((&json["same"], &json["changed"], &json["byText"]), (&json!(8), &json!([]), &json!(0)), "{json}");
    // By the same policies, for the same reasons.
    let audit = world.path("state/palisade/audit").display().to_string();
    let json = world.call(&["policy", "diff", "--json", "--replay", &audit, "developer", "developer"]).json();
    assert_eq!(
        (&json["compared"], &json["changes"], &json["replay"]["notAsRecorded"]),
        (&json!(8), &json!([]), &json!([])),
        "{json}"
    );

    // Records of a version that did not tell are judged by their text, on the files of now.
    let without = |line: &str| {
        let mut line: Value = serde_json::from_str(line).expect("JSON");
        line.as_object_mut().expect("an object").remove("asked");
        line.to_string() + "\n"
    };
    let old = world.write("old.jsonl", &records.lines().map(without).collect::<String>()).display().to_string();
    let replay = world.call(&["audit", "replay", &old]);
    assert!(replay.stdout.contains("7 of them do not tell that and were judged by their text"), "{replay:?}");
    assert!(replay.stdout.contains("a secret in it was redacted"), "{replay:?}");
}

/// A group that is another now changes exactly what is in it.
#[test]
fn a_replay_takes_the_groups_of_now() {
    let world = World::new();
    world.write("work/vault", "");
    for command in ["cat vault", "wc -l vault", "ls .", "touch other"] {
        assert_eq!(world.run(command).code, Some(0), "{command}");
    }
    let settings = format!("[groups.paths]\nsecrets = ['{}']\n", world.workspace().join("vault").display());
    let settings = world.write("other.toml", &settings).display().to_string();
    let audit = world.path("state/palisade/audit").display().to_string();
    let json = world.call(&["audit", "replay", "--json", "--config", &settings, &audit]).json();
    let changed = json["changed"].as_array().expect("a list");
    let mut changed: Vec<&str> = changed.iter().filter_map(|change| change["command"].as_str()).collect();
    changed.sort_unstable();
    assert_eq!((&json["same"], changed), (&json!(2), vec!["cat vault", "wc -l vault"]), "{json}");
}

/// The copy opens with the key that is elsewhere, by age itself, and with no other; without it the record is as it always was.
#[test]
fn what_was_redacted_is_there_for_whoever_holds_the_key() {
    let world = World::new();
    let keygen = |name: &str| -> Option<(String, String)> {
        let file = world.path(name).display().to_string();
        let made = Command::new("age-keygen").args(["-o", &file]).output().ok()?;
        let said = String::from_utf8(made.stderr).expect("UTF-8");
        Some((file, said.trim().strip_prefix("Public key: ").expect("a key").to_owned()))
    };
    let Some((key, public)) = keygen("key") else {
        skip::<()>("age", "`age-keygen` is not installed");
        return;
    };
    let (other, _) = keygen("other").expect("a key");
    let settings = world.write("s.toml", &format!("[audit]\nsealed-to = '{public}'\n")).display().to_string();
    let secret = "ghp_0123456789abcdefghijABCDEFGHIJ012345";
    let command = format!("A={secret} true");
    assert_eq!(world.call(&["run", "--config", &settings, &command]).code, Some(0));
    let file = world.records().pop().expect("a record");
    assert!(!fs::read_to_string(&file).expect("a record").contains(secret));
    let sealed = world.record()[1]["sealed"].as_str().expect("a copy").to_owned();
    let recipe = format!("printf %s '{sealed}' | base64 -d | age -d -i '{key}'");
    let opened = Command::new("sh").args(["-c", &recipe]).output().expect("a shell");
    let opened: Value = serde_json::from_slice(&opened.stdout).expect("JSON");
    assert_eq!((&opened["cmd"], &opened["req"]), (&json!(command), &world.record()[1]["req"]), "{opened}");

    let replay = |arguments: &[&str]| world.call(&[&["audit", "replay", "--json"], arguments].concat());
    let leaves_out = |json: &Value| json["leftOut"][0]["why"].as_str().map(str::to_owned);
    assert!(leaves_out(&replay(&[]).json()).is_some_and(|why| why.contains("redacted from its value")));
    assert_eq!(replay(&["--identity", &key]).json()["same"], 1);
    assert!(leaves_out(&replay(&["--identity", &other]).json()).is_some_and(|why| why.contains("another key")));
    let none = replay(&["--identity", &settings]);
    assert!(none.code == Some(1) && none.stderr.contains("holds no age key"), "{none:?}");

    // What is typed into a job, too.
    let mut server = Server::start_with(&world, &["--config", &settings]);
    let job = call(&mut server, "exec", &json!({ "command": "cat >/dev/null", "yield_ms": 0 }))["job"].clone();
    let typed = format!("A={secret}\n");
    let wrote = call(&mut server, "job_write", &json!({ "job": job, "input": typed, "eof": true }));
    assert!(wrote["status"] == "running" || wrote["status"] == "done", "{wrote}");
    let record = world.record();
    let input = record.iter().find(|record| record["kind"] == "input").expect("an input");
    let recipe = format!("printf %s '{}' | base64 -d | age -d -i '{key}'", input["sealed"].as_str().expect("a copy"));
    let opened = Command::new("sh").args(["-c", &recipe]).output().expect("a shell");
    let opened: Value = serde_json::from_slice(&opened.stdout).expect("JSON");
    assert_eq!((&opened["cmd"], &opened["req"]), (&json!(typed), &input["of"]), "{opened} {input}");
    assert!(!input["cmd"].as_str().expect("a text").contains(secret), "{input}");

    // A key that is none, and the half that must not be here.
    let half = fs::read_to_string(&key).expect("a key");
    let half = half.lines().last().expect("a key");
    for (value, said) in [("age1no", "expected the public half"), (half, "does not belong on this machine")] {
        let settings = world.write("bad.toml", &format!("[audit]\nsealed-to = '{value}'\n")).display().to_string();
        let ended = world.call(&["run", "--config", &settings, "true"]);
        assert!(
            ended.code == Some(125) && ended.stderr.contains("bad.toml:2") && ended.stderr.contains(said),
            "{ended:?}"
        );
        assert!(!ended.stderr.contains("AGE-SECRET-KEY-1"), "the key was printed: {ended:?}");
    }
}
