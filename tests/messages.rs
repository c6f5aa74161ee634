//! What a client should not send: told so in the protocol's own numbers, and whoever comes next is served.

use std::fs;
use std::io::Write as _;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::serve::Server;
use crate::support::world::{World, repository};

/// What the server says to a line, up to its answer to a request behind it. Calls are answered side by side, so that what was
/// asked before is asked for first.
fn said(server: &mut Server, line: &[u8], answers: usize) -> Vec<Value> {
    let stdin = server.child.stdin.as_mut().expect("a pipe");
    stdin.write_all(line).and_then(|()| stdin.write_all(b"\n")).and_then(|()| stdin.flush()).expect("written");
    let said = (0..answers).map(|_| server.receive()).collect();
    server.send(&json!({ "jsonrpc": "2.0", "id": "behind", "method": "ping" }));
    assert_eq!(server.receive()["id"], "behind", "{}", String::from_utf8_lossy(line));
    said
}

/// Whoever looks around for long holds a thread, and there is a number of those for everything: the kill switch, signals, other sessions.
#[test]
fn however_many_are_judged_others_are_answered() {
    let world = World::new();
    fs::create_dir(world.path("work/a")).expect("a directory");
    world.write("work/l38", "");
    for link in 0..38 {
        let target = format!("{}l{}", "a/../".repeat(700), link + 1);
        std::os::unix::fs::symlink(target, world.path(&format!("work/l{link}"))).expect("a link");
    }
    let mut server = Server::start_with(&world, &[]);
    let dear = format!("cat {}", "l0 ".repeat(200));
    for id in 100..140 {
        server.call(id, "explain", &json!({ "command": dear }));
    }
    server.call(1, "list", &json!({}));
    let mut before = 0;
    while server.receive()["id"] != 1 {
        before += 1;
    }
    let threads = fs::read_dir(format!("/proc/{}/task", server.child.id())).expect("threads").count();
    assert!(threads < 30 && before < 20, "{threads} threads, {before} answers first");
    // And nobody waits for them who has no client any more. The protocol library would for five seconds.
    drop(server.child.stdin.take());
    let begun = Instant::now();
    while server.child.try_wait().expect("a child").is_none() {
        assert!(begun.elapsed() < Duration::from_secs(4), "it is still there");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What a model is told of a refusal has 400 characters at most and no policy's text. The list beside it has what is not allowed and nothing
/// else, each policy once.
#[test]
fn a_refusal_is_short() {
    let world = World::new();
    let mut server = Server::start_with(&world, &[]);
    let corpus = std::fs::read_to_string(repository().join("tests/commands/hostile.jsonl")).expect("a corpus");
    let rows = corpus.lines().map(|row| serde_json::from_str::<Value>(row).expect("JSON"));
    let condemned =
        rows.filter(|row| row["must"] == "deny").filter_map(|row| row["command"].as_str().map(str::to_owned));
    // What agents write, which is denied or asked about; and of what is hostile one of each two, since the profile allows much of that.
    let long = "x".repeat(3_000);
    let mut commands: Vec<String> = Vec::from(
        [
            "cat /root/x",
            "cat ~/.ssh/id_ed25519",
            "pip install requests",
            "npx left-pad",
            "git push --force origin main",
            "docker ps",
            "curl -X POST https://example.com/x -d @a",
            "sudo rm -rf / && mkdir ~/x && echo x > /etc/hosts && npm install x && git push && cat ~/.aws/credentials",
            "echo 'a",
        ]
        .map(str::to_owned),
    );
    commands.push(format!("cat /{long}; sudo {long}; echo {long} > ~/{long}"));
    commands.extend(condemned.step_by(2));
    let (mut refused, mut longest) = (0, 0);
    for (id, command) in (1..).zip(&commands) {
        server.call(id, "explain", &json!({ "command": command }));
        if server.receive()["result"]["structuredContent"]["decision"] == "allow" {
            continue;
        }
        refused += 1;
        if refused > 200 {
            break;
        }
        server.call(10_000 + id, "exec", &json!({ "command": command }));
        let answer = server.receive();
        let (text, told) = (answer["result"]["content"][0]["text"].as_str(), &answer["result"]["structuredContent"]);
        let text = text.expect("a text");
        longest = longest.max(text.chars().count());
        assert!(text.chars().count() <= 400, "{command}: {}: {text}", text.chars().count());
        assert!(
            text.lines().count() > 1 && !text.contains("would, but") && !text.contains("context."),
            "{command}: {text}"
        );
        let requests = told["verdict"]["requests"].as_array().expect("requests");
        assert!(requests.iter().all(|request| request["decision"] != "allow"), "{command}: {told}");
        let reasons = told["verdict"]["reasons"].as_array().expect("reasons");
        let named: std::collections::BTreeSet<_> = reasons.iter().map(|reason| reason["policy"].to_string()).collect();
        assert_eq!(named.len(), reasons.len(), "{command}: {reasons:?}");
        assert!(reasons.iter().all(|reason| reason.get("nearest").is_none()), "{command}: {reasons:?}");
        // That list alone has what is said of a policy; the decision has its id, a request has neither.
        let decision = &told["decision"];
        assert!(decision.get("reason").is_none() && decision.get("suggest").is_none(), "{command}: {decision}");
        assert!(requests.iter().all(|request| request.get("determining").is_none()), "{command}: {told}");
        let agrees = match told["status"].as_str() {
            Some("denied") => "deny",
            Some("approval_required") => "ask",
            other => panic!("{command}: {other:?}"),
        };
        assert_eq!(
            (&decision["effect"], &told["verdict"]["decision"]),
            (&json!(agrees), &json!(agrees)),
            "{command}: {told}"
        );
        // Each policy that stands in the way is named, as long as there is room.
        if reasons.len() < 4 {
            let missing =
                reasons.iter().filter_map(|reason| reason["policy"].as_str()).find(|name| !text.contains(name));
            assert_eq!(missing, None, "{command}: {text}");
        }
    }
    assert!(refused >= 200 && longest > 300, "{refused} of {}, {longest}", commands.len());
}

#[test]
fn what_is_no_good_message_is_told_so_and_does_no_harm() {
    let world = World::new();
    let mut server = Server::start_with(&world, &[]);
    let call = |params: &str| format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{params}}}");
    let none = Value::Null;
    for (line, id, code) in [
        ("[]".to_owned(), &none, -32600),
        ("null".to_owned(), &none, -32600),
        ("7".to_owned(), &none, -32600),
        ("{\"jsonrpc\":\"2.0\"}".to_owned(), &none, -32600),
        ("{\"jsonrpc\":\"1.0\",\"id\":1,\"method\":\"ping\"}".to_owned(), &json!(1), -32600),
        ("{\"jsonrpc\":\"2.0\",\"id\":{},\"method\":\"ping\"}".to_owned(), &none, -32600),
        ("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":7}".to_owned(), &json!(1), -32600),
        ("[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}]".to_owned(), &none, -32600),
        ("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"no/such\"}".to_owned(), &json!(1), -32601),
        ("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"prompts/list\"}".to_owned(), &json!(1), -32601),
        ("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"completion/complete\"}".to_owned(), &json!(1), -32601),
        (
            "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"logging/setLevel\",\"params\":{\"level\":\"info\"}}".to_owned(),
            &json!(1),
            -32601,
        ),
        ("{".to_owned(), &none, -32700),
        ("not JSON".to_owned(), &none, -32700),
        ("\0".to_owned(), &none, -32700),
        (call("7"), &json!(1), -32600),
        (call("{}"), &json!(1), -32602),
        (call("{\"name\":7}"), &json!(1), -32602),
        (call("{\"name\":\"no_such_tool\"}"), &json!(1), -32602),
        (call("{\"name\":\"exec\",\"arguments\":7}"), &json!(1), -32602),
    ] {
        let said = said(&mut server, line.as_bytes(), 1);
        let told = said.first().expect("an answer");
        assert_eq!(
            (&told["jsonrpc"], told.get("id"), &told["error"]["code"]),
            (&json!("2.0"), Some(id), &json!(code)),
            "{line}"
        );
    }
    assert_eq!(said(&mut server, b"\xff\xfe", 1)[0]["error"]["code"], -32700);
    // A line with nothing in it is none, and of a notification nobody is told what became of it.
    for line in [
        &b""[..],
        b"\r",
        br#"{"jsonrpc":"2.0","method":"no/such"}"#,
        br#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":7}"#,
    ] {
        assert_eq!(said(&mut server, line, 0), Vec::<Value>::new());
    }
    for arguments in [
        json!({}),
        json!({ "command": 7 }),
        json!({ "command": "true", "host": "elsewhere" }),
        json!({ "command": "true", "timeout_ms": -1 }),
        json!({ "command": "true", "env": { "A": 7 } }),
        json!({ "command": "true", "yield_ms": 1e300 }),
    ] {
        let line = call(&json!({ "name": "exec", "arguments": arguments }).to_string());
        let said = said(&mut server, line.as_bytes(), 1);
        assert_eq!(said[0]["result"]["isError"], true, "{arguments}: {said:?}");
        let told = &said[0]["result"]["structuredContent"];
        assert_eq!(told["status"], "failed", "{arguments}: {said:?}");
        // And which of them it was.
        let name = arguments.as_object().and_then(|given| given.keys().find(|name| *name != "command"));
        let name = name.map_or("command", String::as_str);
        assert!(told["error"].as_str().is_some_and(|error| error.contains(&format!("`{name}`"))), "{told}");
    }
    // A line that is longer than any message has to be.
    let long = call(&json!({ "name": "exec", "arguments": { "command": "y".repeat(17 << 20) } }).to_string());
    let told = &said(&mut server, long.as_bytes(), 1)[0];
    assert_eq!((told.get("id"), &told["error"]["code"]), (Some(&none), &json!(-32600)), "{told}");
    drop(server);
    let record = world.record();
    assert!(!record.iter().any(|line| line["kind"] == "decision"), "none of it was a command");
}

/// Revisions until 2025-06-18 have no form for an error that answers nobody, so that JSON-RPC's own is used; later ones leave the id out.
#[test]
fn who_it_was_that_wrote_no_json_is_told_as_the_revision_has_it() {
    let world = World::new();
    for (revision, has_id) in
        [(None, false), (Some("2024-11-05"), true), (Some("2025-06-18"), true), (Some("2025-11-25"), false)]
    {
        let mut serve = world.palisade();
        serve.arg("serve");
        let mut server = Server::silent(serve);
        if let Some(revision) = revision {
            let client = json!({ "name": "by-hand", "version": "1" });
            let hello = json!({ "protocolVersion": revision, "capabilities": {}, "clientInfo": client });
            server.send(&json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello }));
            assert_eq!(server.receive()["result"]["protocolVersion"], revision);
        }
        let told = &said(&mut server, b"{\"jsonrpc\":", 1)[0];
        assert_eq!((told["error"]["code"].as_i64(), told.get("id").is_some()), (Some(-32700), has_id), "{told}");
    }
}

#[test]
fn a_thousand_calls_at_once_have_a_thousand_answers() {
    let world = World::new();
    let mut server = Server::start_with(&world, &[]);
    // Nobody reads an answer before all is said, or as much as pipes hold.
    let mut stdin = server.child.stdin.take().expect("a pipe");
    let says = std::thread::spawn(move || {
        for id in 1..=1000 {
            let params = json!({ "name": "exec", "arguments": { "command": "sudo ls" } });
            let message = json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params });
            writeln!(stdin, "{message}").expect("written");
        }
        stdin
    });
    let (mut ids, mut denied) = (Vec::<u64>::new(), 0);
    for _ in 1..=1000 {
        let answer = server.receive();
        let result = &answer["result"]["structuredContent"];
        match result["status"].as_str() {
            Some("denied") => denied += 1,
            // There is not room for all of them.
            _ => assert!(result["error"].as_str().is_some_and(|why| why.contains("session.max")), "{answer}"),
        }
        ids.push(answer["id"].as_u64().expect("a number"));
    }
    server.child.stdin = Some(says.join().expect("all is said"));
    ids.sort_unstable();
    assert_eq!(ids, (1..=1000).collect::<Vec<u64>>());
    drop(server);
    let decided = world.record().iter().filter(|line| line["kind"] == "decision").count();
    assert_eq!((decided, denied > 0), (denied, true), "what was told is on record, and nothing else");
}
