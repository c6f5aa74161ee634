//! What a person at the agent's own client is asked, in both eras of the protocol, and that nothing but their yes lets anything run.

use std::process::Command;

use serde_json::{Value, json};

use crate::serve::{Server, converse};
use crate::support::people::{CAROL, call};
use crate::support::services::mcp_client_python;
use crate::support::until;
use crate::support::world::World;

/// The person whom the agent works for sits at the client, as the operator says.
pub(crate) const SITS_THERE: &str = "[agent]\nuser = \"alice\"\n[people.alice]\nroles = [\"answers-in-client\"]\n";

/// What comes of a call that has to be slower than its command, on a machine that may be slow itself.
fn patiently<T>(mut call: impl FnMut(u64) -> Option<T>) -> T {
    let found = (9..17).find_map(|power| call(1 << power));
    found.expect("a program that waits before its call returns")
}

/// A program of the workspace of which one step is a person's to allow. git itself says no behind that: there is no repository.
pub(crate) const RELEASE: &str = "#!/bin/sh\ngit push origin main\necho behind $?\n";

/// What a client says that puts forms to a person.
pub(crate) fn forms() -> Value {
    json!({ "elicitation": { "form": {} } })
}

fn serve(world: &World, settings: &str) -> Command {
    let file = world.write("palisade.toml", settings);
    let mut serve = world.palisade();
    serve.arg("serve").arg("--config").arg(file);
    serve
}

pub(crate) fn yes() -> Value {
    json!({ "action": "accept", "content": { "decision": "allow-once", "reason": "go on" } })
}

/// What the record says of answers: who, how, and which way.
pub(crate) fn answers(world: &World) -> Vec<(String, String, bool)> {
    let text = |line: &Value, key: &str| line[key].as_str().unwrap_or_default().to_owned();
    let record = world.record();
    let answers = record.iter().filter(|line| line["kind"] == "approval");
    answers.map(|line| (text(line, "by"), text(line, "from"), line["granted"] == true)).collect()
}

/// How many scripts have begun.
pub(crate) fn begun(world: &World) -> usize {
    world.record().iter().filter(|line| line["kind"] == "outcome").count()
}

/// Calls `exec`; what the server says next, to that or of its own.
fn exec(server: &mut Server, id: u64, command: &str) -> Value {
    server.exec(id, command);
    server.receive()
}

/// The question in a request of the server's.
fn question(message: &Value) -> &Value {
    assert_eq!(message["method"], "elicitation/create", "{message}");
    &message["params"]
}

#[test]
fn a_person_at_the_client_says_yes_to_what_they_were_shown() {
    let world = World::new();
    let mut server = Server::greeted(serve(&world, SITS_THERE), &forms());
    let asked = exec(&mut server, 1, "git push origin main # \u{202e}\nwhat it does:");
    let shown = question(&asked)["message"].as_str().expect("a text");
    for part in
        ["  | git push origin main", "  | what it does:", "ask exec git push origin main", "ask-git-push", "alice"]
    {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(!shown.contains('\u{202e}'), "{shown}");
    let decision = &question(&asked)["requestedSchema"]["properties"]["decision"];
    assert_eq!((&decision["enum"], &decision["default"]), (&json!(["deny", "allow-once"]), &json!("deny")));
    assert_eq!(begun(&world), 0);
    server.send(&json!({ "jsonrpc": "2.0", "id": asked["id"], "result": yes() }));
    let ran = server.receive();
    assert_eq!(ran["result"]["structuredContent"]["status"], "done", "{ran}");
    assert_eq!((begun(&world), answers(&world)), (1, vec![("alice".to_owned(), "client".to_owned(), true)]));
    let record = world.record();
    let approval = record.iter().find(|line| line["kind"] == "approval").expect("on record");
    assert_eq!((&approval["reason"], &approval["pid"]), (&json!("go on"), &Value::Null), "{approval}");
    let lifted = record.iter().any(|line| line["under"] == approval["of"] && line["decision"]["effect"] == "allow");
    assert!(lifted, "the run rests on it");
    // It was used up, and the next call is asked about again.
    let again = exec(&mut server, 2, "git push origin main # \u{202e}\nwhat it does:");
    assert_ne!(question(&again)["message"], Value::Null);
}

#[test]
fn everything_but_an_explicit_yes_is_a_no() {
    let world = World::new();
    let mut server = Server::greeted(serve(&world, SITS_THERE), &json!({ "elicitation": {} }));
    let result = |result: Value| json!({ "result": result });
    let rows = [
        (result(json!({ "action": "decline" })), "denied"),
        (result(json!({ "action": "accept", "content": { "decision": "deny" } })), "denied"),
        (result(json!({ "action": "cancel" })), "approval_required"),
        (result(json!({ "action": "cancel", "content": { "decision": "allow-once" } })), "approval_required"),
        (result(json!({ "action": "accept" })), "approval_required"),
        (result(json!({ "action": "accept", "content": {} })), "approval_required"),
        (result(json!({ "action": "accept", "content": { "decision": "yes" } })), "approval_required"),
        (result(json!({ "action": "accept", "content": { "decision": true } })), "approval_required"),
        (result(json!({ "action": "allow-once", "content": { "decision": "allow-once" } })), "approval_required"),
        (result(json!({})), "approval_required"),
        (json!({ "error": { "code": -32601, "message": "Method not found" } }), "approval_required"),
    ];
    for (row, (answer, status)) in (1..).zip(rows) {
        let asked = exec(&mut server, row, &format!("git push origin {row}"));
        question(&asked);
        let mut message = json!({ "jsonrpc": "2.0", "id": asked["id"] });
        message.as_object_mut().expect("an object").extend(answer.as_object().expect("an object").clone());
        server.send(&message);
        let told = server.receive();
        assert_eq!(told["result"]["structuredContent"]["status"], status, "{answer}: {told}");
        assert_eq!(told["result"]["isError"], true, "{answer}");
    }
    assert_eq!(begun(&world), 0);
    assert!(answers(&world).iter().all(|(.., granted)| !granted));
    // A yes to a question that nobody put is none.
    server.send(&json!({ "jsonrpc": "2.0", "id": 4711, "result": yes() }));
    let asked = exec(&mut server, 100, "git push origin late");
    // Whoever does not wait any more has said nothing.
    server.send(&json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 100 } }));
    let cancelled = server.receive();
    assert_eq!(cancelled["method"], "notifications/cancelled", "{cancelled}");
    assert_eq!(cancelled["params"]["requestId"], asked["id"]);
    server.send(&json!({ "jsonrpc": "2.0", "id": asked["id"], "result": yes() }));
    let next = exec(&mut server, 101, "true");
    assert_eq!(next["result"]["structuredContent"]["status"], "done", "{next}");
    assert_eq!(begun(&world), 1);
}

#[test]
fn nobody_is_asked_whose_yes_would_not_count() {
    let world = World::new();
    // The operator has not said that a person sits there; or the client does not put forms.
    let elsewhere = "[agent]\nuser = \"alice\"\n[people.bob]\nroles = [\"answers-in-client\"]\n";
    let regulated = format!("profile = \"regulated\"\n{SITS_THERE}");
    for (settings, capabilities) in [
        ("[agent]\nuser = \"alice\"\n", forms()),
        (elsewhere, forms()),
        // Who answers there is the agent's own person, and may not.
        (&regulated, forms()),
        (SITS_THERE, json!({})),
        (SITS_THERE, json!({ "elicitation": { "url": {} } })),
    ] {
        let mut server = Server::greeted(serve(&world, settings), &capabilities);
        let command = if settings.contains("regulated") { "rm -r x" } else { "git push origin main" };
        let told = exec(&mut server, 1, command);
        let told = &told["result"]["structuredContent"];
        assert_eq!(told["status"], "approval_required", "{settings}: {told}");
        assert_eq!(told["approval"]["state"], "waiting", "{settings}: {told}");
    }
    // More than a person reads in a dialogue.
    let mut server = Server::greeted(serve(&world, SITS_THERE), &forms());
    let told = exec(&mut server, 1, &format!("git push origin main # {}", "x".repeat(9000)));
    assert_eq!(told["result"]["structuredContent"]["status"], "approval_required", "{told}");
    drop(server);
    assert_eq!((begun(&world), answers(&world)), (0, Vec::new()));
}

/// A call of the newer protocol, from a client that can do so much.
fn modern(id: u64, capabilities: &Value, method: &str, params: &Value) -> Value {
    let mut params = params.clone();
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": capabilities,
        "io.modelcontextprotocol/clientInfo": { "name": "by-hand", "version": "1" },
    });
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
}

/// A client of the newer protocol.
pub(crate) struct Modern {
    pub(crate) server: Server,
    next: u64,
}

impl Modern {
    pub(crate) fn start(world: &World, settings: &str) -> Self {
        Self::of(Server::silent(serve(world, settings)))
    }

    /// The client of a server to which nothing has been said.
    pub(crate) fn of(server: Server) -> Self {
        let mut modern = Self { server, next: 0 };
        let found = modern.ask("server/discover", &json!({}), &forms());
        assert!(found["result"]["supportedVersions"].to_string().contains("2026-07-28"), "{found}");
        modern
    }

    pub(crate) fn ask(&mut self, method: &str, params: &Value, capabilities: &Value) -> Value {
        self.next += 1;
        self.server.send(&modern(self.next, capabilities, method, params));
        let answer = self.server.receive();
        assert_eq!(answer["id"], self.next, "{answer}");
        answer
    }

    fn exec(&mut self, command: &str) -> Value {
        self.ask("tools/call", &json!({ "name": "exec", "arguments": { "command": command } }), &forms())
    }

    /// The same again, with what was given and an answer.
    fn retry(&mut self, command: &str, state: &Value, answer: Option<&Value>) -> Value {
        let mut params = json!({ "name": "exec", "arguments": { "command": command }, "requestState": state });
        if let Some(answer) = answer {
            params["inputResponses"] = json!({ "approval": answer });
        }
        self.ask("tools/call", &params, &forms())
    }
}

/// The state in an answer that asks for a person.
pub(crate) fn state(answer: &Value) -> Value {
    assert_eq!(answer["result"]["resultType"], "input_required", "{answer}");
    let question = &answer["result"]["inputRequests"]["approval"];
    assert_eq!(question["method"], "elicitation/create", "{answer}");
    assert!(question["params"]["message"].as_str().is_some_and(|text| text.contains("  | git push")), "{answer}");
    answer["result"]["requestState"].clone()
}

#[test]
fn the_newer_protocol_carries_the_answer_back_once() {
    let world = World::new();
    let mut client = Modern::start(&world, SITS_THERE);
    let carried = state(&client.exec("git push origin main"));
    assert!(!carried.as_str().expect("a text").contains("push"), "it is opaque");
    let ran = client.retry("git push origin main", &carried, Some(&yes()));
    assert_eq!(ran["result"]["structuredContent"]["status"], "done", "{ran}");
    assert_eq!((begun(&world), answers(&world)), (1, vec![("alice".to_owned(), "client".to_owned(), true)]));
    let refused = |answer: &Value, why: &str| {
        assert_eq!(answer["error"]["code"], -32602, "{why}: {answer}");
        assert!(answer["error"]["message"].as_str().is_some_and(|text| text.contains("does not count")), "{answer}");
    };
    // Played back, for another call, changed, of another server, made up.
    refused(&client.retry("git push origin main", &carried, Some(&yes())), "played back");
    let carried = state(&client.exec("git push origin main"));
    refused(&client.retry("git push origin other", &carried, Some(&yes())), "for another call");
    let text = carried.as_str().expect("a text");
    let turned: String = text.chars().rev().collect();
    for made_up in [turned.as_str(), &text[1..], "", "x", "rs1.e30.AAAA"] {
        refused(&client.retry("git push origin main", &json!(made_up), Some(&yes())), made_up);
    }
    let elsewhere = World::new();
    let mut other = Modern::start(&elsewhere, SITS_THERE);
    refused(&other.retry("git push origin main", &carried, Some(&yes())), "of another server");
    // Without an answer there is another question; an answer without a question is none.
    let fresh = state(&client.retry("git push origin main", &carried, None));
    refused(&client.retry("git push origin main", &carried, Some(&yes())), "used up by that");
    let unasked = json!({ "name": "exec", "arguments": { "command": "git push origin main" },
        "inputResponses": { "approval": yes() } });
    state(&client.ask("tools/call", &unasked, &forms()));
    assert_eq!(begun(&world), 1);
    let ran = client.retry("git push origin main", &fresh, Some(&yes()));
    assert_eq!(ran["result"]["structuredContent"]["status"], "done", "{ran}");
    assert_eq!(begun(&world), 2);
}

#[test]
fn in_the_newer_protocol_too_everything_but_a_yes_is_a_no() {
    let world = World::new();
    let mut client = Modern::start(&world, SITS_THERE);
    for (row, (answer, status)) in [
        (json!({ "action": "decline" }), "denied"),
        (json!({ "action": "cancel" }), "approval_required"),
        (json!({ "action": "accept", "content": { "decision": "deny" } }), "denied"),
        (json!({ "action": "accept" }), "approval_required"),
        (json!("allow-once"), "approval_required"),
        (json!(null), "approval_required"),
    ]
    .into_iter()
    .enumerate()
    {
        let command = format!("git push origin {row}");
        let carried = state(&client.exec(&command));
        let told = client.retry(&command, &carried, Some(&answer));
        assert_eq!(told["result"]["structuredContent"]["status"], status, "{answer}: {told}");
    }
    // Who does not say so in this very request is not asked.
    let params = json!({ "name": "exec", "arguments": { "command": "git push origin x" } });
    let told = client.ask("tools/call", &params, &json!({}));
    assert_eq!(told["result"]["structuredContent"]["status"], "approval_required", "{told}");
    assert_eq!(begun(&world), 0);
}

/// Where pushing takes two people, one of whom may answer at the client.
pub(crate) const TWO: &str = r#"
@id("all") permit (principal, action, resource) unless { resource is Path };
@id("files") permit (principal, action in [Action::"fileAccess", Action::"execute"], resource)
when { resource in context.workspace || resource in [PathGroup::"temp", PathGroup::"devices"] };
@id("system-files") permit (principal, action in [Action::"read", Action::"execute"], resource)
when { resource in [PathGroup::"system", PathGroup::"toolchains", PathGroup::"granted-read"] };
@id("ask-push") @reason("Publishing needs two.") @quorum("2")
forbid (principal, action == Action::"exec", resource in Program::"git push") unless { context.approved };
"#;

#[test]
fn a_yes_at_the_client_is_one_persons() {
    let world = World::new();
    std::fs::create_dir_all(world.path("site")).expect("a directory");
    world.write("site/two.cedar", TWO);
    let mut client = Modern::start(&world, &format!("policies = \"site\"\n{SITS_THERE}"));
    let carried = state(&client.exec("git push origin main"));
    let told = client.retry("git push origin main", &carried, Some(&yes()));
    let told = &told["result"]["structuredContent"];
    assert_eq!((&told["status"], &told["approval"]["yes"]), (&json!("approval_required"), &json!(1)), "{told}");
    // Whoever has said yes is not asked again.
    let again = client.exec("git push origin main");
    assert_eq!(again["result"]["structuredContent"]["approval"]["yes"], 1, "{again}");
    assert_eq!(begun(&world), 0);
}

#[test]
fn whoever_answers_first_answers() {
    let people =
        format!("[people.\"uid:{CAROL}\"]\nroles = [\"approver\"]\n[people.alice]\nroles = [\"answers-in-client\"]\n");
    let Some(office) =
        crate::support::people::Office::new(&format!("policies = \"site\"\n[agent]\nuser = \"alice\"\n{people}"))
    else {
        return;
    };
    std::fs::create_dir_all(office.world.path("etc/site")).expect("a directory");
    office.world.write("etc/site/two.cedar", &TWO.replace("@quorum(\"2\")", ""));
    let mut server = office.serve_to(&forms(), &[]);
    server.exec(1, "git push origin main");
    let asked = server.receive();
    question(&asked);
    let listed = office.waiting(CAROL);
    let id = listed[0]["id"].as_str().expect("an id");
    let granted = office.person(CAROL, &["approvals", "grant", id, "--yes"]);
    assert_eq!(granted.code, Some(0), "{granted:?}");
    let cancelled = server.receive();
    assert_eq!(
        (&cancelled["method"], &cancelled["params"]["requestId"]),
        (&json!("notifications/cancelled"), &asked["id"])
    );
    let ran = server.receive();
    assert_eq!(ran["result"]["structuredContent"]["status"], "done", "{ran}");
    assert_eq!(answers(&office.world), [(format!("uid:{CAROL}"), "control".to_owned(), true)]);
    // An answer that comes too late is to nothing.
    server.send(&json!({ "jsonrpc": "2.0", "id": asked["id"], "result": yes() }));
    assert_eq!(call(&mut server, "list", &json!({}))["sessions"], json!([]));
    assert_eq!(begun(&office.world), 1);
}

#[test]
fn a_person_at_the_client_is_asked_about_a_running_program() {
    let world = World::new();
    world.program("release", RELEASE);
    let mut server = Server::greeted(serve(&world, SITS_THERE), &forms());
    let reply = |asked: &Value, result: Value| json!({ "jsonrpc": "2.0", "id": asked["id"], "result": result });
    let asked = exec(&mut server, 1, "./release");
    let shown = question(&asked)["message"].as_str().expect("a text");
    for part in ["/git push origin main", "a process waits to become this program: ", "ask-git-push"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    server.send(&reply(&asked, yes()));
    let ran = server.receive()["result"]["structuredContent"].clone();
    assert_eq!((&ran["status"], &ran["stdout"]), (&json!("done"), &json!("behind 128\n")), "git itself says no: {ran}");
    assert!(ran["denied"].is_null(), "{ran}");
    assert_eq!(answers(&world), [("alice".to_owned(), "client".to_owned(), true)]);

    // The yes is used up. A no is told where the program's own refusal is.
    let asked = exec(&mut server, 2, "./release");
    server.send(&reply(&asked, json!({ "action": "accept", "content": { "decision": "deny", "reason": "not now" } })));
    let ran = server.receive()["result"]["structuredContent"].clone();
    assert_eq!(ran["stdout"], "behind 126\n", "{ran}");
    let why = ran["denied"][0]["reason"].as_str().unwrap_or_default();
    assert!(why.contains("said no: not now"), "{ran}");

    // The question outlives a call that does not wait for the end of its job.
    let (asked, job) = patiently(|yield_ms| {
        server.call(3, "exec", &json!({ "command": "./release", "yield_ms": yield_ms }));
        let asked = server.receive();
        let is_asked = asked["method"] == "elicitation/create";
        is_asked.then(|| (asked, server.receive()["result"]["structuredContent"]["job"].clone()))
    });
    server.send(&reply(&asked, yes()));
    until("the job has ended", || {
        let read = call(&mut server, "job_read", &json!({ "job": job }));
        if read["stdout"] == "behind 128\n" { Ok(()) } else { Err(read) }
    });

    // When the client cancels a command, the server takes back the question about its program.
    server.exec(4, "./release");
    let asked = server.receive();
    question(&asked);
    server.send(&json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 4 } }));
    let cancelled = server.receive();
    assert_eq!(cancelled["method"], "notifications/cancelled", "{cancelled}");
    assert_eq!(cancelled["params"]["requestId"], asked["id"]);
}

#[test]
fn the_newer_protocol_asks_about_a_running_program_when_its_job_is_read() {
    let world = World::new();
    world.program("release", RELEASE);
    let mut client = Modern::start(&world, SITS_THERE);
    let mut begun_here = 0;
    let told = patiently(|yield_ms| {
        begun_here += 1;
        let begin = json!({ "name": "exec", "arguments": { "command": "./release", "yield_ms": yield_ms } });
        let left = client.ask("tools/call", &begin, &forms());
        let told = left["result"]["structuredContent"].clone();
        (told["waiting_for_approval"].as_array().map(Vec::len) == Some(1)).then_some(told)
    });
    let mut read = json!({ "name": "job_read", "arguments": { "job": told["job"] } });
    // Who has no form to put it in is told what it waits for, as before.
    let told = client.ask("tools/call", &read, &json!({}));
    assert_eq!(told["result"]["structuredContent"]["status"], "running", "{told}");
    let asked = client.ask("tools/call", &read, &forms());
    let question = &asked["result"]["inputRequests"]["approval"]["params"]["message"];
    assert!(question.as_str().is_some_and(|text| text.contains("a process waits to become this program: ")), "{asked}");
    assert_eq!(answers(&world), []);
    read["requestState"] = asked["result"]["requestState"].clone();
    read["inputResponses"] = json!({ "approval": yes() });
    client.ask("tools/call", &read, &forms());
    let read = json!({ "name": "job_read", "arguments": read["arguments"] });
    until("the job has ended", || {
        let told = client.ask("tools/call", &read, &forms());
        if told["result"]["structuredContent"]["stdout"] == "behind 128\n" { Ok(()) } else { Err(told) }
    });
    assert_eq!(answers(&world), [("alice".to_owned(), "client".to_owned(), true)]);
    assert_eq!(world.record().iter().filter(|line| line["kind"] == "decision").count(), begun_here, "it ran once");
}

#[test]
fn a_client_that_is_gone_is_not_waited_for() {
    let world = World::new();
    let mut server = Server::greeted(serve(&world, SITS_THERE), &forms());
    server.call(1, "exec", &json!({ "command": "git push origin main", "yield_ms": 3_600_000 }));
    question(&server.receive());
    drop(server);
    let record = world.record();
    assert_eq!(record.last().map(|line| &line["kind"]), Some(&json!("stop")), "it has ended of its own accord");
    assert_eq!((begun(&world), answers(&world)), (0, Vec::new()));
}

#[test]
fn the_reference_client_puts_the_question_in_both_eras() {
    let Some(python) = mcp_client_python() else { return };
    for mode in ["auto", "legacy"] {
        let world = World::new();
        std::fs::create_dir_all(world.path("home/.config/palisade")).expect("a directory");
        world.write("home/.config/palisade/palisade.toml", SITS_THERE);
        let seen = converse(&python, &world, &[mode, "asks"]).json();
        for (name, status) in [("yes", "done"), ("no", "denied"), ("nothing", "approval_required")] {
            assert_eq!(seen[name]["structured"]["status"], status, "{mode} {name}: {}", seen[name]);
        }
        let asked = seen["asked"].as_array().expect("questions");
        assert_eq!(asked.len(), 3, "{mode}: {asked:?}");
        assert!(asked[0].as_str().is_some_and(|text| text.contains("  | git push origin yes")), "{mode}: {asked:?}");
        let told = [("alice".to_owned(), "client".to_owned(), true), ("alice".to_owned(), "client".to_owned(), false)];
        assert_eq!((answers(&world), begun(&world)), (told.to_vec(), 1), "{mode}");
    }
}
