//! The kill switch: what a person stops has ended when the verb has, and does not begin again.

use std::fs;

use serde_json::{Value, json};

use crate::serve::Server;
use crate::support::people::{AGENT, CAROL, Office, call, until};

fn office() -> Option<Office> {
    let people = format!(
        "profile = \"regulated\"\n[agent]\nname = \"builder\"\n[people.\"uid:{CAROL}\"]\nroles = [\"approver\", \"operator\"]\n"
    );
    Office::new(&people)
}

fn exec(server: &mut Server, arguments: &Value) -> Value {
    call(server, "exec", arguments)
}

/// Whether a program with this argument runs anywhere on this machine.
fn runs(argument: &str) -> bool {
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    processes.into_iter().any(|process| {
        let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|word| word == argument.as_bytes())
    })
}

#[test]
fn all_that_runs_ends_at_once_and_stays_out() {
    let Some(office) = office() else { return };
    let mut server = office.serve(&[]);
    let session = call(&mut server, "session_open", &json!({}))["session"].clone();
    let job = exec(&mut server, &json!({ "command": "sleep 48151.1", "yield_ms": 0 }))["job"].clone();
    exec(&mut server, &json!({ "command": "sleep 48151.2", "yield_ms": 0, "session": session }));
    server.call(90, "exec", &json!({ "command": "sleep 48151.3", "session": session, "yield_ms": 110_000 }));
    until("all of it runs", || ["48151.1", "48151.2", "48151.3"].iter().all(|argument| runs(argument)));
    // Somebody without a role, then somebody with one.
    let nobody = office.person(0, &["stop", "--all"]);
    assert!(nobody.code == Some(2) && runs("48151.1"), "{nobody:?}");
    let stopped = office.person(CAROL, &["stop", "--all", "--reason", "it went mad"]);
    assert_eq!(stopped.code, Some(0), "{stopped:?}");
    assert!(stopped.stdout.contains("3 commands ended, 1 sessions closed"), "{stopped:?}");
    assert!(!["48151.1", "48151.2", "48151.3"].iter().any(|argument| runs(argument)));
    let ended = server.receive();
    assert_eq!(ended["result"]["structuredContent"]["cause"], "stopped", "{ended}");
    let why = format!("stopped by uid:{CAROL}: it went mad");
    for (tool, arguments) in [
        ("exec", json!({ "command": "ls" })),
        ("exec", json!({ "command": "ls", "session": session })),
        ("session_open", json!({})),
        ("session_open", json!({ "session": session })),
        ("explain", json!({ "command": "ls" })),
        ("job_read", json!({ "job": job })),
        ("list", json!({})),
    ] {
        let refused = call(&mut server, tool, &arguments);
        assert!(refused["error"].as_str().is_some_and(|error| error.contains(&why)), "{tool}: {refused}");
    }
    let record = office.world.record();
    let kill = record.iter().find(|line| line["kind"] == "kill").expect("on record");
    assert_eq!(
        [&kill["what"], &kill["by"], &kill["reason"], &kill["uid"], &kill["lifted"]],
        [&json!("all"), &json!(format!("uid:{CAROL}")), &json!("it went mad"), &json!(CAROL), &json!(false)],
        "{kill}"
    );
    // Not lifted by another word, nor by whoever may not.
    assert_eq!(office.person(CAROL, &["stop", "builder", "--lift"]).code, Some(1));
    assert_eq!(office.person(0, &["stop", "--all", "--lift"]).code, Some(2));
    let lift = office.line("stop --all --lift");
    assert_eq!(office.agent(&lift).code, Some(2));
    assert_eq!(office.person(CAROL, &["stop", "--all", "--lift"]).code, Some(0));
    assert_eq!(exec(&mut server, &json!({ "command": "ls" }))["status"], "done");
    drop(server);
    let verified = office.person(AGENT, &["audit", "verify"]);
    assert_eq!(verified.code, Some(0), "{verified:?}");
}

#[test]
fn one_session_alone_is_stopped() {
    let Some(office) = office() else { return };
    let mut server = office.serve(&[]);
    let one = call(&mut server, "session_open", &json!({}))["session"].clone();
    let two = call(&mut server, "session_open", &json!({}))["session"].clone();
    exec(&mut server, &json!({ "command": "sleep 48151.4", "yield_ms": 0, "session": one }));
    exec(&mut server, &json!({ "command": "sleep 48151.5", "yield_ms": 0, "session": two }));
    until("both run", || runs("48151.4") && runs("48151.5"));
    let name = one.as_str().expect("a name");
    let stopped = office.person(CAROL, &["stop", name]);
    assert!(stopped.code == Some(0) && stopped.stdout.contains("1 commands ended, 1 sessions closed"), "{stopped:?}");
    assert!(!runs("48151.4") && runs("48151.5"));
    for arguments in
        [json!({ "command": "ls", "session": one }), json!({ "command": "ls", "session": one, "yield_ms": 0 })]
    {
        let refused = exec(&mut server, &arguments);
        assert!(refused["error"].as_str().is_some_and(|error| error.contains("stopped by")), "{refused}");
    }
    assert_eq!(exec(&mut server, &json!({ "command": "ls", "session": two }))["status"], "done");
    assert_eq!(office.person(CAROL, &["stop", "s-nothing"]).code, Some(1));
    // The agent's own person may stop it, from within its own client too, and not let it in again.
    assert_eq!(office.agent(&office.line("stop builder")).code, Some(0));
    assert!(!runs("48151.5"));
    let refused = exec(&mut server, &json!({ "command": "ls" }));
    assert!(refused["error"].as_str().is_some_and(|error| error.contains("stopped by")), "{refused}");
}

#[test]
fn without_a_server_there_is_nothing_to_stop() {
    let Some(office) = office() else { return };
    assert_eq!(office.person(CAROL, &["stop", "--all"]).code, Some(0));
    assert_eq!(office.person(CAROL, &["stop", "builder"]).code, Some(1));
    assert_eq!(office.person(CAROL, &["stop"]).code, Some(1));
    assert_eq!(office.person(CAROL, &["stop", "builder", "--all"]).code, Some(1));
}
