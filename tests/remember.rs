//! `approvals grant --remember`: a yes that holds, what it covers, who may give one and how it ends. Real servers and real users.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::serve::Server;
use crate::support::people::{AGENT, CAROL, DAVE, Office, call, until};

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
    for _ in 0..2 {
        assert_eq!(push(&mut server, &one)["status"], "done");
    }
    assert_eq!(push(&mut server, &other)["status"], "approval_required");
    let id = asked(&mut server, PUSH);
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
