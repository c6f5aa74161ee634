//! What can be read again: only what was shown, redacted, bounded, and the principal's own.

use serde_json::{Value, json};

use crate::elicitation::Modern;
use crate::serve::Server;
use crate::support::world::World;

const TOKEN: &str = "ghp_0123456789abcdefghijABCDEFGHIJ012345";

/// What a resource holds.
fn read(client: &mut Modern, uri: &str) -> Value {
    let answer = client.ask("resources/read", &json!({ "uri": uri }), &json!({}));
    let contents = &answer["result"]["contents"][0];
    assert_eq!((&contents["uri"], &contents["mimeType"]), (&json!(uri), &json!("application/json")), "{answer}");
    assert_eq!((&answer["result"]["cacheScope"], &answer["result"]["ttlMs"]), (&json!("private"), &json!(0)));
    serde_json::from_str(contents["text"].as_str().expect("a text")).expect("JSON")
}

fn call(client: &mut Modern, tool: &str, arguments: &Value) -> Value {
    let answer = client.ask("tools/call", &json!({ "name": tool, "arguments": arguments }), &json!({}));
    answer["result"]["structuredContent"].clone()
}

fn is_unknown(client: &mut Modern, uri: &str) {
    let answer = client.ask("resources/read", &json!({ "uri": uri }), &json!({}));
    assert_eq!((&answer["error"]["code"], &answer["error"]["data"]["uri"]), (&json!(-32602), &json!(uri)), "{answer}");
}

#[test]
fn what_was_shown_can_be_read_again() {
    let world = World::new();
    world.program("leak", "#!/bin/sh\nprintf 'token: %s\\n' ghp_0123456789abcdefghij\"ABCDEFGHIJ012345\"\n");
    let mut client = Modern::start(&world, "[agent]\nuser = \"alice\"\n");
    let rules = read(&mut client, "palisade://policy");
    assert_eq!((&rules["user"], &rules["roles"]), (&json!("alice"), &json!(["developer"])), "{rules}");
    let policies = rules["policies"].as_array().expect("policies");
    let sudo = policies.iter().find(|policy| policy["id"] == "no-sudo").expect("a policy");
    assert_eq!((&sudo["effect"], &sudo["reason"]), (&json!("forbid"), &json!("No privilege escalation.")), "{sudo}");
    // What people may do is no affair of an agent's.
    assert!(!policies.iter().any(|policy| policy["id"] == "dev-own-person-approves"), "{policies:?}");

    let denied = call(&mut client, "exec", &json!({ "command": "sudo ls" }));
    let id = denied["decision"]["id"].as_str().expect("an id");
    let decision = read(&mut client, &format!("palisade://decisions/{id}"));
    assert_eq!(decision["decision"], "deny");
    let first = |of: &Value| (requests(of).first().cloned(), of["reasons"][0].clone(), of["policySet"].clone());
    assert_eq!(first(&decision), first(&denied["verdict"]));

    let session = call(&mut client, "session_open", &json!({}))["session"].as_str().expect("a name").to_owned();
    let ran = call(&mut client, "exec", &json!({ "command": "./leak; exit_code=3; (exit 3)", "session": session }));
    assert_eq!(ran["exit_code"], 3, "{ran}");
    call(&mut client, "exec", &json!({ "command": "sudo ls", "session": session }));
    let story = read(&mut client, &format!("palisade://sessions/{session}/transcript"));
    let scripts = story["scripts"].as_array().expect("scripts");
    assert_eq!((scripts.len(), &story["next"]), (2, &json!(2)), "{story}");
    assert_eq!((&scripts[0]["effect"], &scripts[0]["outcome"]["exit_code"]), (&json!("allow"), &json!(3)), "{story}");
    let told = scripts[0]["outcome"]["stdout"].as_str().expect("output");
    assert!(told.starts_with("token: [redacted:") && !story.to_string().contains(TOKEN), "{story}");
    assert_eq!((&scripts[1]["effect"], &scripts[1]["outcome"]), (&json!("deny"), &Value::Null), "{story}");
    let rest = read(&mut client, &format!("palisade://sessions/{session}/transcript?from=1"));
    assert_eq!(rest["scripts"].as_array().map(Vec::len), Some(1), "{rest}");

    // More than a result shows: all that is kept, and from a place on.
    let shown = json!({ "command": "seq 1 9000", "yield_ms": 0 });
    let job = call(&mut client, "exec", &shown)["job"].as_str().expect("a job").to_owned();
    let uri = format!("palisade://jobs/{job}/output");
    let whole = loop {
        let output = read(&mut client, &uri);
        if output["status"] == "done" {
            break output;
        }
    };
    let text = whole["stdout"].as_str().expect("output");
    assert!(text.len() > 40_000 && text.ends_with("\n9000\n"), "{}", text.len());
    let behind = read(&mut client, &format!("{uri}?from=10:5.0:0"));
    assert!(behind["stdout"].as_str().is_some_and(|text| text.starts_with("6\n7\n")), "{behind}");

    let listed = client.ask("resources/list", &json!({}), &json!({}));
    let uris: Vec<&str> = listed["result"]["resources"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|one| one["uri"].as_str())
        .collect();
    for uri in ["palisade://policy", &uri, &format!("palisade://sessions/{session}/transcript")] {
        assert!(uris.contains(&uri), "{uri}: {uris:?}");
    }
    let forms = client.ask("resources/templates/list", &json!({}), &json!({}));
    assert_eq!(forms["result"]["resourceTemplates"].as_array().map(Vec::len), Some(3), "{forms}");

    call(&mut client, "session_close", &json!({ "session": session }));
    for uri in [
        format!("palisade://sessions/{session}/transcript"),
        "palisade://sessions/s-none/transcript".to_owned(),
        "palisade://jobs/j-none/output".to_owned(),
        "palisade://decisions/5f3a9c01-1".to_owned(),
        "palisade://decisions/../policy".to_owned(),
        "palisade://audit".to_owned(),
        "file:///etc/passwd".to_owned(),
        String::new(),
    ] {
        is_unknown(&mut client, &uri);
    }
}

/// Where no tool but `exec` may be used.
const EXEC_ALONE: &str = r#"
@id("exec") permit (principal, action == Action::"useTool", resource == Tool::"exec");
@id("run") permit (principal, action == Action::"exec", resource);
@id("files") permit (principal, action in [Action::"fileAccess", Action::"execute"], resource)
when { resource in context.workspace || resource in [PathGroup::"temp", PathGroup::"devices"] };
@id("system-files") permit (principal, action in [Action::"read", Action::"execute"], resource)
when { resource in [PathGroup::"system", PathGroup::"toolchains"] };
"#;

/// A model has room for a page, not for a thousand answers.
#[test]
fn what_is_long_is_told_in_short_and_can_be_read_whole() {
    let world = World::new();
    let mut client = Modern::start(&world, "");
    let many: Vec<String> = (0..150).map(|number| format!("echo {number} >> f{number}")).collect();
    let script = format!("{}; sudo ls; curl -X DELETE https://example.com/x; echo last", many.join("; "));
    let answer = client.ask("tools/call", &json!({ "name": "exec", "arguments": { "command": script } }), &json!({}));
    assert!(answer.to_string().len() < 32 << 10, "{} bytes", answer.to_string().len());
    let denied = &answer["result"]["structuredContent"];
    let shown = requests(&denied["verdict"]);
    let id = denied["decision"]["id"].as_str().expect("an id");
    let whole = read(&mut client, &format!("palisade://decisions/{id}"));
    let all = requests(&whole);
    assert_eq!((all.len() > 300, &whole["omitted"], &denied["verdict"]["omitted"]), (true, &Value::Null, &Value::Null));
    // All that is not allowed, and nothing else.
    let refused =
        |requests: &[Value]| requests.iter().filter(|one| one["decision"] != "allow").cloned().collect::<Vec<_>>();
    assert_eq!(shown, refused(&all));
    let named = |reasons: &Value| {
        reasons.as_array().expect("reasons").iter().map(|one| one["policy"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(named(&denied["verdict"]["reasons"]), named(&whole["reasons"]));

    // Of a great many that are in the way, each policy has its own.
    let many: Vec<String> = (0..60).map(|number| format!("rm /{number}")).collect();
    let script = format!("{}; curl -X DELETE https://example.com/x", many.join("; "));
    let denied = call(&mut client, "explain", &json!({ "command": script }));
    assert_eq!(
        (denied["requests"].as_array().map(Vec::len), named(&denied["reasons"]).len()),
        (Some(40), 20),
        "{denied}"
    );
    for what in ["requests", "reasons"] {
        assert!(denied[what].to_string().contains("example.com"), "{what}: {denied}");
    }

    // The same decision by its name; nobody guesses which is meant.
    let again = call(&mut client, "explain", &json!({ "decision": id }));
    let told = requests(&again);
    assert_eq!((&again["decision"], refused(&told), told.len()), (&json!("deny"), shown, 40));
    for (arguments, says) in [
        (json!({ "decision": "ffffffff-1" }), "no decision of that id is kept"),
        (json!({ "decision": "../1" }), "no decision of that id is kept"),
        (json!({ "decision": id, "command": "ls" }), "takes a `command` or a `decision`"),
        (json!({ "decision": id, "cwd": "/" }), "takes a `command` or a `decision`"),
        (json!({}), "takes a `command` or a `decision`"),
    ] {
        let answer = client.ask("tools/call", &json!({ "name": "explain", "arguments": arguments }), &json!({}));
        assert_eq!(answer["result"]["isError"], true, "{answer}");
        assert!(answer["result"]["content"][0]["text"].to_string().contains(says), "{answer}");
    }

    // Nor has it room for every checkpoint.
    let session = call(&mut client, "session_open", &json!({}))["session"].as_str().expect("a name").to_owned();
    for number in 0..103 {
        call(&mut client, "checkpoint", &json!({ "session": session, "label": format!("c{number}") }));
    }
    let listed = call(&mut client, "list", &json!({ "kind": "checkpoints" }));
    let all = listed["checkpoints"].as_array().expect("checkpoints");
    assert_eq!((all.len(), &listed["omitted"]), (100, &json!(3)), "{listed}");
    assert_eq!((&all[0]["label"], &all[99]["label"]), (&json!("c3"), &json!("c102")));
}

#[test]
fn whoever_may_not_use_a_tool_reads_nothing_of_what_it_tells() {
    let world = World::new();
    std::fs::create_dir_all(world.path("site")).expect("a directory");
    world.write("site/exec.cedar", EXEC_ALONE);
    let mut client = Modern::start(&world, "policies = \"site\"\n");
    let job = call(&mut client, "exec", &json!({ "command": "echo x", "yield_ms": 0 }));
    let job = job["job"].as_str().unwrap_or_else(|| panic!("{job}")).to_owned();
    for method in ["resources/list", "resources/templates/list"] {
        let listed = client.ask(method, &json!({}), &json!({}));
        let list = listed["result"]["resources"].as_array().or(listed["result"]["resourceTemplates"].as_array());
        assert_eq!(list.map(Vec::len), Some(0), "{listed}");
    }
    is_unknown(&mut client, "palisade://policy");
    is_unknown(&mut client, &format!("palisade://jobs/{job}/output"));
}

#[test]
fn the_older_protocol_is_told_by_its_own_number() {
    let world = World::new();
    let mut server = Server::start_with(&world, &[]);
    let params = json!({ "uri": "palisade://jobs/j-none/output" });
    server.send(&json!({ "jsonrpc": "2.0", "id": 1, "method": "resources/read", "params": params }));
    let answer = server.receive();
    assert_eq!((&answer["error"]["code"], &answer["error"]["data"]), (&json!(-32002), &params), "{answer}");
    // Whoever asks for something else than that is told so as well.
    server.send(&json!({ "jsonrpc": "2.0", "id": 2, "method": "resources/read", "params": { "uri": 7 } }));
    let answer = server.receive();
    assert!(answer["error"]["code"].is_i64(), "{answer}");
}

/// The requests of a verdict without the policies that made them, which a refusal names in one list.
fn requests(verdict: &Value) -> Vec<Value> {
    let mut requests = verdict["requests"].as_array().expect("requests").clone();
    for request in requests.iter_mut().filter_map(Value::as_object_mut) {
        request.remove("determining");
    }
    requests
}
