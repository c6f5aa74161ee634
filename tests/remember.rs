//! `approvals grant --remember`: a yes that holds, what it covers, who may give one and how it ends. Real servers and real users.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::serve::Server;
use crate::support::people::{AGENT, CAROL, DAVE, Office, call, until};
use crate::support::services::Sshd;
use crate::support::site::{ssh_target, with_key};

const PUSH: &str = "git push origin main";

/// The site, with a repository that has a remote.
fn site(settings: &str) -> Option<Office> {
    let office = crate::approvals::site(settings)?;
    for arguments in [&["init", "--quiet"][..], &["remote", "add", "origin", "https://git.invalid/team/app.git"]] {
        let status = Command::new("git")
            .args(["-c", "safe.directory=*"])
            .args(arguments)
            .current_dir(office.world.workspace())
            .status();
        assert!(status.is_ok_and(|status| status.success()), "git {arguments:?}");
    }
    office.give_to_the_agent();
    Some(office)
}

fn exec(server: &mut Server, command: &str) -> Value {
    call(server, "exec", &json!({ "command": command }))
}

/// Asks for it without waiting for the person, who may be there, and tells the id under which it waits.
fn asked(server: &mut Server, command: &str) -> String {
    let result = call(server, "exec", &json!({ "command": command, "yield_ms": 1 }));
    assert_eq!(result["status"], "approval_required", "{command}: {result}");
    result["approval"]["id"].as_str().expect("an id").to_owned()
}

/// It runs, whatever git says to it.
fn runs(server: &mut Server, command: &str) {
    let result = exec(server, command);
    assert_eq!(result["status"], "done", "{command}: {result}");
}

fn remember(office: &Office, id: &str, scope: &str) -> crate::support::world::Ended {
    office.person(CAROL, &["approvals", "grant", id, "--remember", scope, "--yes"])
}

#[test]
fn a_remembered_yes_lets_the_same_words_run_until_it_is_taken_back() {
    let Some(office) = site("") else { return };
    let mut server = office.serve(&[]);
    let id = asked(&mut server, PUSH);
    let granted = remember(&office, &id, "agent");
    assert!(granted.code == Some(0) && granted.stdout.contains("approvals forget"), "{granted:?}");
    for _ in 0..3 {
        runs(&mut server, PUSH);
    }
    // All else that runs along with it would run under the same yes.
    for other in [
        "git push origin main --force",
        "git push origin dev",
        "git  push origin main",
        "cd .. && git push origin main",
        "git push origin main; python3 -m code_of_mine",
        "git remote add e http://192.0.2.2/x; git push origin main",
        "A=1 git push origin main",
        "git push origin main < input",
    ] {
        asked(&mut server, other);
    }
    for other in
        [json!({ "env": { "A": "1" } }), json!({ "stdin": "y" }), json!({ "cwd": "/tmp" }), json!({ "yield_ms": 0 })]
    {
        let mut call = other.clone();
        call["command"] = json!(PUSH);
        let result = crate::support::people::call(&mut server, "exec", &call);
        assert_eq!(result["status"], "approval_required", "{other}: {result}");
    }
    // The remote is another one.
    let config = office.world.workspace().join(".git/config");
    let text = fs::read_to_string(&config).expect("a configuration");
    fs::write(&config, text.replace("team/app", "else/app")).expect("written");
    asked(&mut server, PUSH);
    fs::write(&config, text).expect("written");
    runs(&mut server, PUSH);
    let listed = office.person(CAROL, &["approvals", "remembered"]);
    for part in [&*id, "for one agent", "resource.text == \"git push origin main\"", "@by(\"uid:48152\")"] {
        assert!(listed.stdout.contains(part), "{part}: {listed:?}");
    }
    // Policy lets those stop it who may stop the agent, and whose it is.
    let stranger = office.person(0, &["approvals", "forget", &id]);
    assert!(stranger.code == Some(2) && stranger.stderr.contains("does not let"), "{stranger:?}");
    let forgotten = office.person(DAVE, &["approvals", "forget", &id]);
    assert_eq!(forgotten.code, Some(0), "{forgotten:?}");
    asked(&mut server, PUSH);
    let twice = office.person(DAVE, &["approvals", "forget", &id]);
    assert!(twice.code == Some(1) && twice.stderr.contains("approvals remembered"), "{twice:?}");
    let record = office.world.record();
    let yes = record.iter().find(|line| line["kind"] == "approval").expect("on record");
    assert_eq!((&yes["lasts"], &yes["of"]), (&json!("agent"), &json!(id)), "{yes}");
    assert!(yes["permit"].as_str().is_some_and(|permit| permit.contains("git push origin main")), "{yes}");
    assert_eq!(record.iter().filter(|line| line["under"] == json!(id)).count(), 4);
    let back = record.iter().find(|line| line["kind"] == "forget").expect("on record");
    assert_eq!((&back["of"], &back["by"]), (&json!(id), &json!(format!("uid:{DAVE}"))), "{back}");
}

#[test]
fn a_yes_for_a_session_holds_in_that_one() {
    let Some(office) = site("") else { return };
    let mut server = office.serve(&[]);
    let mut open = || call(&mut server, "session_open", &json!({}))["session"].as_str().expect("a session").to_owned();
    let (one, other) = (open(), open());
    let push =
        |server: &mut Server, session: &str| call(server, "exec", &json!({ "command": PUSH, "session": session }));
    let id = push(&mut server, &one)["approval"]["id"].as_str().expect("an id").to_owned();
    assert_eq!(remember(&office, &id, "session").code, Some(0));
    assert_ne!(asked(&mut server, PUSH), id, "without a session it is another request then");
    for _ in 0..2 {
        assert_eq!(push(&mut server, &one)["status"], "done");
    }
    assert_eq!(push(&mut server, &other)["status"], "approval_required");
    let id = asked(&mut server, "git push origin dev");
    let refused = remember(&office, &id, "session");
    assert!(refused.code == Some(1) && refused.stderr.contains("in no session"), "{refused:?}");
}

/// The file that the first call makes is the one that the next call writes to.
#[test]
fn a_yes_to_writing_a_file_holds_before_and_after_it_is_there() {
    let Some(office) = site("") else { return };
    let out = office.world.path("out");
    fs::create_dir(&out).expect("a directory");
    office.give_to_the_agent();
    Command::new("chown").arg(AGENT.to_string()).arg(&out).status().expect("chown");
    let mut server = office.serve(&[]);
    let write = format!("echo a >> {}/log", out.display());
    let granted = remember(&office, &asked(&mut server, &write), "agent");
    assert_eq!(granted.code, Some(0), "{granted:?}");
    for _ in 0..3 {
        runs(&mut server, &write);
    }
    assert_eq!(fs::read_to_string(out.join("log")).expect("a file"), "a\na\na\n");
}

/// What a program makes of its words alone holds as they do, and for nothing that is opened with all that it holds.
#[test]
fn a_yes_to_making_a_directory_is_to_that_one() {
    let Some(office) = site("") else { return };
    let out = office.world.path("outside");
    let place = |name: &str| out.join(name).display().to_string();
    office.world.program("mkdir", "#!/bin/sh\necho mine\n");
    office.world.write("work/file", "x\n");
    office.give_to_the_agent();
    let mut server = office.serve(&[]);
    let make = format!("mkdir {}", place("a"));
    let id = asked(&mut server, &make);
    let granted = remember(&office, &id, "agent");
    let permit = format!("resource == Path::\"{}\"", place("a"));
    assert_eq!(granted.code, Some(0), "{granted:?}");
    let listed = office.person(CAROL, &["approvals", "remembered"]).stdout;
    assert!(listed.contains(&permit) && listed.contains("context.program == Program::\"mkdir\""), "{listed}");
    for _ in 0..2 {
        runs(&mut server, &make);
        fs::remove_dir(out.join("a")).expect("it was made");
    }
    for other in [
        format!("mkdir {}", place("b")),
        format!("mkdir -p {}", place("a")),
        format!("mkdir -m 777 {}", place("a")),
        format!("mkdir {}; git status", place("a")),
        format!("LD_PRELOAD=./x.so mkdir {}", place("a")),
        format!("./mkdir {}", place("a")),
        format!("cp file {}", place("a")),
    ] {
        asked(&mut server, &other);
        assert!(!out.join("a").exists() && !out.join("b").exists(), "{other}");
    }
    // What its shell hands on is no part of the words.
    let session = call(&mut server, "session_open", &json!({}))["session"].clone();
    let within = |server: &mut Server, command: &str| {
        call(server, "exec", &json!({ "command": command, "session": session, "yield_ms": 1 }))
    };
    for command in [make.as_str(), "export GREETING=1"] {
        let ran = call(&mut server, "exec", &json!({ "command": command, "session": session }));
        assert_eq!(ran["status"], "done", "{ran}");
    }
    fs::remove_dir(out.join("a")).expect("it was made");
    let told = within(&mut server, &make);
    assert_eq!(told["status"], "approval_required", "{told}");
    // One that is there by now is opened with all that it holds.
    let make = format!("mkdir -p {}", place("a"));
    let granted = remember(&office, &asked(&mut server, &make), "agent");
    assert_eq!(granted.code, Some(0), "{granted:?}");
    runs(&mut server, &make);
    let shown = office.person(CAROL, &["approvals", "show", &asked(&mut server, &make), "--json"]).json();
    assert_eq!(shown["opens"], json!([format!("-w-- {}", place("a"))]), "{shown}");
    for (command, why) in [
        (format!("cp file {}", place("c")), "copy what can change"),
        (format!("./mkdir {}", place("c")), "it runs code of `"),
        (format!("LD_PRELOAD=./x.so mkdir {}", place("c")), "a variable is set for it"),
        (format!("LD_PRELOAD=./x.so cat file > {}", place("c")), "a variable is set for it"),
    ] {
        let refused = remember(&office, &asked(&mut server, &command), "agent");
        assert!(refused.code == Some(1) && refused.stderr.contains(why), "{command}: {refused:?}");
    }
}

/// A session at a target is opened without a question as long as the same host stands behind the same name.
#[test]
fn a_yes_to_a_target_is_to_what_was_seen_of_it() {
    let Some(sshd) = Sshd::up(&[]) else { return };
    let target = |name: &str| ssh_target(&sshd, name, &with_key(&sshd, "key_ed25519"));
    let directory = sshd.variable("PALISADE_SSH_DIR").to_owned();
    let [web, mirror] = ["web", "mirror"].map(target);
    let Some(office) = site("") else { return };
    let ask = "@id(\"ask-target\") @reason(\"That is another machine.\")\n\
               forbid (principal, action == Action::\"openSession\", resource)\n\
               when { resource.transport == Transport::\"ssh\" } unless { context.approved };\n";
    office.world.write("etc/site/target.cedar", ask);
    // The agent's user has a copy of the key.
    let own = office.world.path("outside/keys");
    fs::create_dir(&own).expect("a directory");
    for name in ["key_ed25519", "known_hosts"] {
        fs::copy(format!("{directory}/{name}"), own.join(name)).expect("a copy");
    }
    let at = |text: &str| {
        let text = text.replace(&format!("{directory}/k"), &format!("{}/k", own.display()));
        assert!(text.contains("outside/keys/key_ed25519"), "{text}");
        text
    };
    let settings = fs::read_to_string(&office.config).expect("settings");
    fs::write(&office.config, format!("{settings}{}{}", at(&web), at(&mirror))).expect("written");
    office.give_to_the_agent();
    let mut server = office.serve(&[]);
    let open = |server: &mut Server, name: &str| call(server, "session_open", &json!({ "target": name }));
    let waits = |server: &mut Server, name: &str| {
        let asked = open(server, name);
        asked["approval"]["id"].as_str().unwrap_or_else(|| panic!("{name}: {asked}")).to_owned()
    };
    let id = waits(&mut server, "web");
    let refused = remember(&office, &id, "session");
    assert!(refused.code == Some(1) && refused.stderr.contains("another one each time"), "{refused:?}");
    let granted = remember(&office, &id, "agent");
    assert_eq!(granted.code, Some(0), "{granted:?}");
    let listed = office.person(CAROL, &["approvals", "remembered"]).stdout;
    for part in ["resource == Host::\"127.0.0.1\"", "resource.keyVerified == true", "context.remoteUser == \""] {
        assert!(listed.contains(part), "{part}: {listed}");
    }
    for _ in 0..2 {
        let opened = open(&mut server, "web");
        assert!(opened["session"].is_string(), "{opened}");
    }
    // The same host by another name, and the same name with another host behind it.
    waits(&mut server, "mirror");
    // What runs there is another question, and no yes to that stays.
    let session = open(&mut server, "web")["session"].clone();
    let push = call(&mut server, "exec", &json!({ "command": "git push", "session": session, "yield_ms": 1 }));
    if let Some(id) = push["approval"]["id"].as_str() {
        let refused = remember(&office, id, "agent");
        assert!(refused.code == Some(1) && refused.stderr.contains("cannot be looked at from here"), "{refused:?}");
    }
    assert_eq!(office.person(CAROL, &["approvals", "forget", &id]).code, Some(0));
    waits(&mut server, "web");
}

/// Whatever has no words that stay the same says why, and what can be done instead.
#[test]
fn what_is_no_command_is_for_once() {
    let Some(office) = site("") else { return };
    let ask = "@id(\"ask-back\") @reason(\"Later work is lost.\")\n\
               forbid (principal, action == Action::\"restore\", resource) unless { context.approved };\n";
    office.world.write("etc/site/back.cedar", ask);
    office.world.program("release", "#!/bin/sh\ngit push origin main\n");
    office.world.write("work/file", "then");
    office.give_to_the_agent();
    let mut server = office.serve(&[]);
    let refused = |id: &str, why: &str, instead: &str| {
        let ended = remember(&office, id, "agent");
        assert!(ended.code == Some(1) && ended.stderr.contains(why) && ended.stderr.contains(instead), "{ended:?}");
    };
    let job = call(&mut server, "exec", &json!({ "command": "cat", "yield_ms": 0 }))["job"].clone();
    let typed = call(&mut server, "job_write", &json!({ "job": job, "input": "hello\n" }));
    let id = typed["approval"]["id"].as_str().expect("an id");
    refused(id, "typed into", "a command of its own");
    let session = call(&mut server, "session_open", &json!({}))["session"].clone();
    let taken = call(&mut server, "checkpoint", &json!({ "session": session }));
    let changed = call(&mut server, "exec", &json!({ "session": session, "command": "echo now > file" }));
    assert_eq!(changed["exit_code"], 0, "{changed}");
    let back = call(&mut server, "restore", &json!({ "session": session, "checkpoint": taken["checkpoint"] }));
    refused(back["approval"]["id"].as_str().expect("an id"), "discards what lies there", "a policy can permit it");
    server.call(80, "exec", &json!({ "command": "./release" }));
    let mut id = None;
    until("a program waits", || {
        let waiting = office.waiting(CAROL);
        let waiting = waiting.iter().find(|waiting| waiting["running"] == json!(true));
        id = waiting.and_then(|waiting| waiting["id"].as_str()).map(str::to_owned);
        id.is_some()
    });
    let id = id.expect("an id");
    refused(&id, "other variables", "a command of its own");
    assert_eq!(office.person(CAROL, &["approvals", "deny", &id]).code, Some(0));
    server.receive();
}

#[test]
fn what_may_become_another_thing_is_for_one_call() {
    let Some(office) = site("") else { return };
    let mut server = office.serve(&[]);
    for (command, why) in [
        ("./deploy.sh", "it runs code of `"),
        ("git push origin $x", "not in its words"),
        ("git push origin main; make deploy", "not in its words"),
        ("git push elsewhere main", "which remote it means"),
    ] {
        let id = asked(&mut server, command);
        let refused = remember(&office, &id, "always");
        assert!(refused.code == Some(1) && refused.stderr.contains(why), "{command}: {refused:?}");
        assert!(refused.stderr.contains("without `--remember`"), "{refused:?}");
        let waiting = office.waiting(CAROL);
        assert!(
            waiting.iter().any(|waiting| waiting["id"] == json!(id) && waiting["state"] == "waiting"),
            "{waiting:?}"
        );
    }
}

#[test]
fn policy_says_who_may_have_a_yes_remembered() {
    let Some(office) = site("") else { return };
    let each = r#"@id("each-time") @reason("Each push takes a yes.")
forbid (principal == User::"uid:48152", action == Action::"approve", resource) unless { context.lasts == Lasts::"once" };"#;
    office.world.write("etc/site/each.cedar", each);
    let mut server = office.serve(&[]);
    let id = asked(&mut server, PUSH);
    let refused = remember(&office, &id, "session");
    assert!(refused.code == Some(2) && refused.stderr.contains("Each push takes a yes."), "{refused:?}");
    assert_eq!(office.person(CAROL, &["approvals", "grant", &id, "--yes"]).code, Some(0));
    runs(&mut server, PUSH);
    asked(&mut server, PUSH);
    // What was remembered before such a policy came counts no more under it.
    let id = asked(&mut server, "git push origin dev");
    let dave = office.person(DAVE, &["approvals", "grant", &id, "--remember", "agent", "--yes"]);
    assert_eq!(dave.code, Some(0), "{dave:?}");
    runs(&mut server, "git push origin dev");
    office.world.write("etc/site/each.cedar", &each.replace("principal == User::\"uid:48152\"", "principal"));
    let pattern = format!("^{} serve --config {}", env!("CARGO_BIN_EXE_palisade"), office.config.display());
    assert!(Command::new("pkill").args(["-HUP", "-f", &pattern]).status().is_ok_and(|status| status.success()));
    until("the other policies decide", || office.world.record().iter().any(|line| line["kind"] == "policy_reload"));
    asked(&mut server, "git push origin dev");
}

#[test]
fn a_later_no_ends_what_was_remembered() {
    let Some(office) = site("") else { return };
    let mut server = office.serve(&[]);
    let id = asked(&mut server, PUSH);
    assert_eq!(remember(&office, &id, "agent").code, Some(0));
    assert_eq!(office.person(DAVE, &["approvals", "deny", &id]).code, Some(0));
    let denied = exec(&mut server, PUSH);
    assert_eq!(denied["status"], "denied", "{denied}");
}

/// Where each account has its own servers, a yes outlives them, and is listed and taken back without one.
#[test]
fn a_persons_own_yes_outlives_the_server() {
    let Some(office) = site("") else { return };
    let policies = fs::read_to_string(office.world.path("etc/site/site.cedar")).expect("policies");
    office.world.write(
        "etc/site/site.cedar",
        &policies.replace("when { principal == context.agent.user }", "when { principal == User::\"nobody\" }"),
    );
    let settings = fs::read_to_string(&office.config).expect("settings");
    let own = settings.split("[control]").next().expect("the rest").to_owned();
    fs::write(&office.config, own).expect("written");
    let mut terminal = office.terminal();
    let mut server = office.serve(&[]);
    let id = asked(&mut server, PUSH);
    let shown = terminal.run(&office.line(&format!("approvals grant {id} --remember always")));
    assert!(shown.code == Some(1) && shown.stdout.contains("nobody is there"), "{shown:?}");
    let granted = terminal.run(&office.line(&format!("approvals grant {id} --remember always --yes")));
    assert_eq!(granted.code, Some(0), "{granted:?}");
    runs(&mut server, PUSH);
    drop(server);
    let mut server = office.serve(&["--agent", "another"]);
    runs(&mut server, PUSH);
    // A session can neither read nor write it.
    let file = office.world.path("state/palisade/audit/remembered.cedar");
    for command in ["cat", "cp /dev/null", "rm", "touch"].map(|verb| format!("{verb} {}", file.display())) {
        let result = exec(&mut server, &command);
        assert_ne!(result["exit_code"], 0, "{command}: {result}");
    }
    // What was written into it by hand and is no standing yes lets nothing run.
    let text = fs::read_to_string(&file).expect("a file");
    fs::write(&file, format!("{text}permit (principal, action, resource);\n")).expect("written");
    asked(&mut server, PUSH);
    let told = terminal.run(&office.line("approvals remembered"));
    assert!(told.code == Some(1) && told.stdout.contains("needs `@"), "{told:?}");
    fs::write(&file, text).expect("written");
    runs(&mut server, PUSH);
    drop(server);
    let listed = office.person(AGENT, &["approvals", "remembered", "--json"]);
    assert_eq!(listed.json()[0]["id"], json!(id), "{listed:?}");
    assert_eq!(office.person(AGENT, &["approvals", "forget", &id]).code, Some(0));
    let none = office.person(AGENT, &["approvals", "remembered"]);
    assert_eq!(none.stdout, "no yes is remembered\n", "{none:?}");
    let mut server = office.serve(&[]);
    asked(&mut server, PUSH);
}
