//! `redact --learned`: what a server has learned to redact, seen and dropped by people alone. Real servers, sessions and users.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::serve::Server;
use crate::support::people::{AGENT, CAROL, DAVE, Office, call, only, until};

/// A word of code that was given to an option for passwords.
const WORD: &str = "frontend_9x-Kd72Lm";
/// What no listing may hold of it.
const INSIDE: &str = "9x-Kd72";

/// An office in which notes speak of the word, and programs print it.
fn office(settings: &str) -> Option<Office> {
    let office = crate::approvals::site(settings)?;
    fill(&office);
    Some(office)
}

fn fill(office: &Office) {
    office.world.write("work/notes", &format!("the module {WORD} is here\n"));
    office.world.write("work/place", &format!("password = \"{WORD}\"\n"));
    office.world.program("tool", "#!/bin/sh\necho \"called with $2\"\n");
    office.world.program("follow", "#!/bin/sh\ncat notes; until [ -e go ]; do sleep 0.05; done; cat notes\n");
    office.give_to_the_agent();
}

fn open(server: &mut Server) -> Value {
    call(server, "session_open", &json!({}))["session"].clone()
}

/// What a command prints, in a session or in none.
fn says(server: &mut Server, session: &Value, command: &str) -> String {
    let mut arguments = json!({ "command": command });
    if !session.is_null() {
        arguments["session"] = session.clone();
    }
    let result = call(server, "exec", &arguments);
    assert_eq!(result["status"], "done", "{command}: {result}");
    result["stdout"].as_str().unwrap_or_default().to_owned()
}

fn listed(office: &Office, uid: u32) -> Vec<Value> {
    let listed = office.person(uid, &["redact", "--learned", "--json"]);
    assert_eq!(listed.code, Some(0), "{listed:?}");
    assert!(!listed.stdout.contains(INSIDE), "{listed:?}");
    listed.json().as_array().expect("a list").clone()
}

#[test]
fn a_value_that_was_learned_wrongly_is_seen_and_dropped() {
    let Some(office) = office("") else { return };
    let mut server = office.serve(&[]);
    let session = open(&mut server);
    assert_eq!(listed(&office, CAROL), [] as [Value; 0]);
    let learns = format!("./tool --password {WORD}");
    assert!(!says(&mut server, &session, &learns).contains(WORD));
    let spoilt = says(&mut server, &session, "cat notes");
    assert!(spoilt.contains("[redacted:") && !spoilt.contains(WORD), "{spoilt}");
    let values = listed(&office, CAROL);
    let [value] = &values[..] else { panic!("one value: {values:?}") };
    for (key, expected) in [
        ("session", session.clone()),
        ("agent", json!("agent")),
        ("user", json!(format!("uid:{AGENT}"))),
        ("from", json!("argument")),
        ("name", json!("--password")),
        ("program", json!("tool")),
        ("length", json!(WORD.len())),
        ("shown", json!("fr…Lm")),
    ] {
        assert_eq!(value[key], expected, "{key}: {value}");
    }
    assert!(spoilt.contains(value["mark"].as_str().expect("a mark")), "{spoilt} {value}");
    // Each time that it is met is counted.
    says(&mut server, &session, "cat notes notes");
    let counts = |values: &[Value]| values[0]["redacted"].as_u64().expect("a count");
    assert_eq!(counts(&listed(&office, CAROL)), counts(&values) + 2);
    let id = value["id"].as_str().expect("an id");
    let text = office.person(CAROL, &["redact", "--learned"]);
    for part in [id, "18 bytes fr…Lm", " times\n", "--password of tool", "agent for uid:"] {
        assert!(text.stdout.contains(part), "{part}: {text:?}");
    }
    assert!(!text.stdout.contains(INSIDE), "{text:?}");

    // A command that runs while it is dropped shows it from then on.
    let job = call(&mut server, "exec", &json!({ "command": "./follow", "session": session, "yield_ms": 1000 }));
    let job = job["job"].as_str().expect("a job").to_owned();
    let dropped = office.person(CAROL, &["redact", "--learned", "--drop", id]);
    assert_eq!((dropped.code, dropped.stdout), (Some(0), format!("{id} is dropped\n")), "{}", dropped.stderr);
    office.world.write("work/go", "");
    let ended = call(&mut server, "job_read", &json!({ "job": job, "wait_ms": 60_000 }));
    let shown = ended["stdout"].as_str().expect("text");
    assert!(ended["status"] == "done" && shown.ends_with(&format!("the module {WORD} is here\n")), "{ended}");

    // Nothing redacts it from then on, or learns it again, in whatever session.
    let other = open(&mut server);
    for session in [&session, &other, &Value::Null] {
        assert_eq!(says(&mut server, session, "cat notes"), format!("the module {WORD} is here\n"));
        assert_eq!(says(&mut server, session, &learns), format!("called with {WORD}\n"));
        // In a secret's place a rule finds it all the same, and it teaches nothing.
        assert!(!says(&mut server, session, "cat place").contains(WORD));
        assert_eq!(says(&mut server, session, "cat notes"), format!("the module {WORD} is here\n"));
    }
    assert_eq!(listed(&office, CAROL), [] as [Value; 0]);
    let none = office.person(CAROL, &["redact", "--learned"]);
    assert_eq!((none.code, none.stdout.as_str()), (Some(0), "no value is learned\n"));
    let again = office.person(CAROL, &["redact", "--learned", "--drop", id]);
    assert!(again.code == Some(1) && again.stderr.contains("palisade redact --learned"), "{again:?}");

    // Who, which and when are on record; what it was is not.
    let record = office.world.record();
    let at = record.iter().position(|line| line["kind"] == "unlearn").expect("on record");
    let line = &record[at];
    let who = (&line["values"], &line["by"], &line["uid"]);
    assert_eq!(who, (&json!([id]), &json!(format!("uid:{CAROL}")), &json!(CAROL)), "{line}");
    assert!(line["ts"].is_string() && record[..=at].iter().all(|line| !line.to_string().contains(WORD)), "{line}");
    drop(server);
    let shown = office.person(AGENT, &["audit", "show", "--kind", "unlearn"]);
    assert!(shown.stdout.contains(&format!("{id} dropped by uid:{CAROL}")), "{shown:?}");
    assert_eq!(office.person(AGENT, &["audit", "verify"]).code, Some(0));
}

/// Who may see what was learned need not be let to drop it, and the agent may do neither.
#[test]
fn nobody_but_people_whom_policy_lets_sees_or_drops_anything() {
    let Some(office) = office("") else { return };
    let mut server = office.serve(&[]);
    let session = open(&mut server);
    says(&mut server, &session, &format!("./tool --password {WORD}"));
    let values = listed(&office, 0);
    let id = values[0]["id"].as_str().expect("an id").to_owned();
    let drops = ["redact", "--learned", "--drop", &id];
    for arguments in [&drops[..], &["redact", "--learned", "--drop-all"]] {
        let refused = office.person(0, arguments);
        assert!(refused.code == Some(2) && refused.stderr.contains("does not let `root` drop"), "{refused:?}");
    }
    // The agent's own user, from within its client and from a terminal that the client could have opened.
    for verb in ["redact --learned", "redact --learned --json", "redact --learned --drop-all", &drops.join(" ")] {
        let inside = office.agent(&office.line(verb));
        assert!(inside.code == Some(2) && inside.stdout.contains("the agent's own client"), "{verb}: {inside:?}");
        let beside = office.person(AGENT, &verb.split(' ').collect::<Vec<_>>());
        assert!(
            beside.code == Some(2) && beside.stderr.contains("younger than the agent's client"),
            "{verb}: {beside:?}"
        );
        assert!(!format!("{inside:?} {beside:?}").contains("fr…"), "{inside:?} {beside:?}");
    }
    // A program of a session does not even get to the socket, and MCP has no such tool.
    let socket = only(&office.world.path("control"));
    let ask = r#"{\"v\":1,\"say\":{\"unlearn\":{\"which\":\"all\"}}}\n"#;
    let code = format!(
        "import socket; s = socket.socket(socket.AF_UNIX); s.connect('{}'); s.sendall(b'{ask}'); print(s.recv(99))",
        socket.display()
    );
    office.world.write("work/ask.py", &code.replace("\\\"", "\""));
    let result = call(&mut server, "exec", &json!({ "command": "/usr/bin/python3 ask.py", "session": session }));
    assert!(result["exit_code"] != json!(0) && result["stdout"].as_str().is_none_or(str::is_empty), "{result}");
    server.call(7001, "redact", &json!({ "learned": true }));
    let answer = server.receive();
    assert!(answer["error"].is_object(), "{answer}");
    assert_eq!(listed(&office, CAROL).len(), 1, "it is still learned");
    assert!(office.world.record().iter().all(|line| line["kind"] != "unlearn"));
    // One of those whom policy lets drops all, in every session.
    says(&mut server, &Value::Null, "B_TOKEN=Zx81-k3yQ-77Lm-pq9 ./tool");
    let other = open(&mut server);
    says(&mut server, &other, &format!("./tool --password {WORD}"));
    assert_eq!(listed(&office, CAROL).len(), 3);
    let dropped = office.person(DAVE, &["redact", "--learned", "--drop-all", "--json"]);
    assert_eq!(dropped.code, Some(0), "{dropped:?}");
    assert_eq!(dropped.json()["dropped"].as_array().map(Vec::len), Some(3), "{dropped:?}");
    assert!(says(&mut server, &other, "cat notes").contains(WORD));
    assert_eq!(listed(&office, CAROL), [] as [Value; 0]);
}

/// Under the shipped profile it is the person whom the agent works for, at a terminal that was there before.
#[test]
fn the_agents_own_person_drops_from_an_older_terminal() {
    let Some(office) = Office::new("") else { return };
    fill(&office);
    let mut terminal = office.terminal();
    let mut server = office.serve(&[]);
    let session = open(&mut server);
    says(&mut server, &session, &format!("./tool --password {WORD}"));
    let shown = terminal.run(&office.line("redact --learned"));
    assert!(shown.code == Some(0) && shown.stdout.contains("--password of tool"), "{shown:?}");
    let dropped = terminal.run(&office.line("redact --learned --drop-all"));
    assert!(dropped.code == Some(0) && dropped.stdout.contains("is dropped"), "{dropped:?}");
    assert!(says(&mut server, &session, "cat notes").contains(WORD));
}

/// An error says what cannot be reached and what to do, and a list that is not whole is a failure.
#[test]
fn a_server_that_cannot_be_asked_is_an_error() {
    let Some(office) = office("") else { return };
    let none = office.person(CAROL, &["redact", "--learned", "--json"]);
    assert_eq!((none.code, none.json()), (Some(0), json!([])), "{none:?}");
    assert!(none.stderr.contains("no server runs here"), "{none:?}");
    let unknown = office.person(CAROL, &["redact", "--learned", "--drop", "5f3a9c01-v1"]);
    assert!(unknown.code == Some(1) && unknown.stderr.contains("--config"), "{unknown:?}");
    let mut server = office.serve(&[]);
    assert_eq!(says(&mut server, &Value::Null, "echo hi"), "hi\n");
    until("the server listens", || {
        fs::read_dir(office.world.path("control")).is_ok_and(|mut files| files.next().is_some())
    });
    let socket = only(&office.world.path("control"));
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o600)).expect("a mode");
    let chain = socket.file_stem().and_then(|name| name.to_str()).expect("a chain").to_owned();
    let id = format!("{chain}-v1");
    for arguments in
        [&["redact", "--learned"][..], &["redact", "--learned", "--drop", &id], &["redact", "--learned", "--drop-all"]]
    {
        let refused = office.person(CAROL, arguments);
        assert_eq!(refused.code, Some(1), "{arguments:?}: {refused:?}");
        for part in [&*format!("the server `{chain}` cannot be reached"), "Permission denied", "help: ask as the user"]
        {
            assert!(refused.stderr.contains(part), "{part}: {refused:?}");
        }
    }
    for words in [
        &["--drop", "x"][..],
        &["--drop-all"],
        &["--json"],
        &["--learned", "--batch"],
        &["--learned", "--drop", "x", "--drop-all"],
    ] {
        let wrong = office.world.call(&[&["redact"], words].concat());
        assert!(wrong.code != Some(0) && wrong.stderr.contains("error:"), "{words:?}: {wrong:?}");
    }
}
