//! Requests that are refused, each with its exact answer, and those that are not.

use std::io::{Read, Write};

use serde_json::{Value, json};

use super::{Answer, LEGACY, TOKEN, half_close, initialize, modern, send, tool_call, with_token};

#[test]
fn what_is_no_good_request_is_refused_as_what_it_is() {
    let (_world, site) = with_token("[serve]\norigins = [\"https://inspector.example\"]");
    let bearer = format!("Bearer {TOKEN}");
    let list = tool_call("list", &json!({}));
    let good = [&modern(&list)[..], &[("authorization", &bearer)]].concat();
    let host = site.authority.as_str();
    let without = |name: &str| good.iter().copied().filter(|(line, _)| *line != name).collect::<Vec<_>>();
    let with = |name: &'static str, value: &'static str| [&without(name)[..], &[(name, value)]].concat();
    let huge = (5 << 20).to_string();
    let declared = [&good[..], &[("content-length", &huge)]].concat();
    let ask = |request: &str, head: &[(&str, &str)], body: &str| site.ask(request, head, body);
    for (name, request, head, body, status, code) in [
        ("as it should be", "POST /mcp", good.clone(), list.to_string(), 200, None),
        ("no JSON", "POST /mcp", good.clone(), "{\"jsonrpc\":".to_owned(), 400, Some(-32700)),
        ("bytes", "POST /mcp", good.clone(), "\u{0}\u{1}".to_owned(), 400, Some(-32700)),
        ("no message", "POST /mcp", good.clone(), "{}".to_owned(), 400, Some(-32600)),
        ("a text", "POST /mcp", good.clone(), "\"tools/list\"".to_owned(), 400, Some(-32600)),
        ("a batch", "POST /mcp", good.clone(), json!([list]).to_string(), 400, Some(-32600)),
        ("nothing", "POST /mcp", with("content-length", "0"), String::new(), 400, Some(-32700)),
        (
            "a form",
            "POST /mcp",
            with("content-type", "application/x-www-form-urlencoded"),
            list.to_string(),
            415,
            Some(-32600),
        ),
        ("no type", "POST /mcp", without("content-type"), list.to_string(), 415, Some(-32600)),
        ("too large as it says", "POST /mcp", declared, list.to_string(), 413, Some(-32600)),
        ("another path", "POST /", good.clone(), list.to_string(), 404, Some(-32600)),
        ("a path below", "POST /mcp/x", good.clone(), list.to_string(), 404, Some(-32600)),
        ("another method", "PUT /mcp", good.clone(), list.to_string(), 405, Some(-32600)),
        ("an evil page", "POST /mcp", with("origin", "https://evil.example"), list.to_string(), 403, Some(-32600)),
        ("no page", "POST /mcp", with("origin", "null"), list.to_string(), 403, Some(-32600)),
        ("a good page", "POST /mcp", with("origin", "https://inspector.example"), list.to_string(), 200, None),
        (
            "an evil page asks first",
            "OPTIONS /mcp",
            vec![("origin", "https://evil.example")],
            String::new(),
            403,
            Some(-32600),
        ),
        (
            "a wrong token",
            "POST /mcp",
            with("authorization", "Bearer 3f9c1b7e-a-token-of-the-operators-owm"),
            list.to_string(),
            401,
            Some(-32600),
        ),
    ] {
        let answer = ask(request, &head, &body);
        assert_eq!(answer.status, status, "{name}: {answer:?}");
        if let Some(code) = code {
            let message = answer.message();
            assert_eq!((&message["error"]["code"], message.get("id")), (&json!(code), None), "{name}: {answer:?}");
        }
    }
    let asks = ask("OPTIONS /mcp", &[("origin", "https://inspector.example")], "");
    assert_eq!((asks.status, asks.header("access-control-allow-origin")), (204, "https://inspector.example"));

    // Names: another's, none, two.
    for (name, hosts, status) in [
        ("another", &["evil.example"][..], 421),
        ("another with the port", &["evil.example:80"], 421),
        ("none", &[], 400),
        ("two", &[host, host], 400),
        ("its own", &[host], 200),
    ] {
        let head: Vec<(&str, &str)> = hosts.iter().map(|host| ("host", *host)).chain(good.iter().copied()).collect();
        let mut stream = site.connect();
        send(&mut stream, "POST /mcp", &head, &list.to_string());
        assert_eq!(Answer::of(&mut stream).status, status, "{name}");
    }

    // Larger than it may be, without saying so.
    let mut stream = site.connect();
    let head = [&[("host", host)][..], &good, &[("transfer-encoding", "chunked")]].concat();
    send(&mut stream, "POST /mcp", &head, "");
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    let mut sent = 0;
    while sent < 1000 && stream.write_all(chunk.as_bytes()).is_ok() {
        sent += 1;
    }
    let answer = Answer::of(&mut stream);
    // The rest may still be on its way when the connection is closed.
    assert!([413, 0].contains(&answer.status), "{answer:?}");
    assert!(sent < 1000, "all was read");
    assert_eq!(ask("POST /mcp", &good, &list.to_string()).status, 200);
}

#[test]
fn a_message_with_wrong_words_in_it_is_told_so_by_the_protocol() {
    let (_world, site) = with_token("");
    let session = initialize(&site, TOKEN);
    let bearer = format!("Bearer {TOKEN}");
    let legacy = [&LEGACY[..], &[("authorization", &bearer), ("mcp-session-id", &session)]].concat();
    for (name, message) in [
        ("an id that is an object", json!({ "jsonrpc": "2.0", "id": {}, "method": "tools/list" })),
        ("no version", json!({ "id": 1, "method": "tools/list" })),
        ("a method that is a number", json!({ "jsonrpc": "2.0", "id": 1, "method": 7 })),
    ] {
        let answer = site.ask("POST /mcp", &legacy, &message.to_string());
        assert_eq!((answer.status, &answer.message()["error"]["code"]), (400, &json!(-32600)), "{name}: {answer:?}");
    }
    let unknown = json!({ "jsonrpc": "2.0", "id": 4, "method": "tools/call", "params": { "name": "no_such_tool" } });
    let answer = site.ask("POST /mcp", &legacy, &unknown.to_string());
    assert_eq!((answer.status, &answer.message()["error"]["code"]), (200, &json!(-32602)), "{answer:?}");
    for (name, tool, arguments, words) in [
        ("a command that is a number", "exec", json!({ "command": 7 }), "the arguments do not fit"),
        ("a word too many", "exec", json!({ "command": "ls", "user": "root" }), "user"),
        ("no such session", "exec", json!({ "command": "ls", "session": "s-none" }), "no session of that name"),
        ("no such job", "job_read", json!({ "job": "j-none" }), "no job of that name"),
    ] {
        let result = site.call(TOKEN, tool, &arguments);
        assert_eq!(result["isError"], true, "{name}: {result}");
        assert!(result["content"][0]["text"].as_str().is_some_and(|text| text.contains(words)), "{name}: {result}");
    }
    // A protocol session that is none, and one that is ended.
    assert_eq!(site.ask("DELETE /mcp", &legacy, "").status, 204);
    let listed = json!({ "jsonrpc": "2.0", "id": 5, "method": "tools/list" });
    assert_eq!(site.ask("POST /mcp", &legacy, &listed.to_string()).status, 404);
}

#[test]
fn too_many_requests_in_a_second_wait() {
    let (_world, site) = with_token("[serve]\nrate = 1");
    let list = tool_call("list", &json!({}));
    let answers: Vec<Answer> = (0..40).map(|_| site.tell(TOKEN, &list)).collect();
    let refused = answers.iter().find(|answer| answer.status == 429).expect("one too many");
    assert_eq!(refused.header("retry-after"), "1");
    assert!(answers.iter().all(|answer| [200, 429].contains(&answer.status)));
}

#[test]
fn a_head_that_does_not_end_is_not_waited_for() {
    let (_world, site) = with_token("[serve]\nmax-connections = 2");
    let mut slow: Vec<_> = (0..2).map(|_| site.connect()).collect();
    for stream in &mut slow {
        stream.write_all(b"POST /mcp HTTP/1.1\r\nhost: 127.0.0.1\r\nx-slow: ").expect("sent");
    }
    // All places are taken, and free again once nobody waits for these any more.
    let answer = site.tell(TOKEN, &tool_call("list", &json!({})));
    assert_eq!(answer.status, 200, "{answer:?}");
    for mut stream in slow {
        let answer = Answer::of(&mut stream);
        assert!([0, 408].contains(&answer.status), "{answer:?}");
    }
}

/// Whoever has no token keeps nobody from being served who has one, however many connections are held, and kept busy.
#[test]
fn strangers_leave_room_for_whoever_has_a_token() {
    let (_world, site) = with_token("[serve]\nmax-connections = 8");
    let ends = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|threads| {
        for _ in 0..16 {
            threads.spawn(|| {
                while !ends.load(std::sync::atomic::Ordering::Relaxed) {
                    let mut stream = site.connect();
                    let request = format!("GET /mcp HTTP/1.1\r\nhost: {}\r\n\r\n", site.authority);
                    let mut part = [0; 1024];
                    // It is kept for as long as the server lets it.
                    while !ends.load(std::sync::atomic::Ordering::Relaxed) {
                        let answered = stream.write_all(request.as_bytes()).and_then(|()| stream.read(&mut part));
                        if !matches!(answered, Ok(1..)) {
                            break;
                        }
                    }
                }
            });
        }
        let answers: Vec<u16> = (0..5).map(|_| site.tell(TOKEN, &tool_call("list", &json!({}))).status).collect();
        ends.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(answers, [200; 5]);
    });
}

/// A proxy in front may take it for another request.
#[test]
fn a_line_that_ends_without_cr_is_refused() {
    let (_world, site) = with_token("");
    let message = tool_call("list", &json!({}));
    let bearer = format!("Bearer {TOKEN}");
    let head = [&modern(&message)[..], &[("host", &site.authority), ("authorization", &bearer)]].concat();
    let mut whole = Vec::new();
    send(&mut whole, "POST /mcp", &head, &message.to_string());
    let text = String::from_utf8(whole).expect("text");
    for (exchanged, status) in
        [(text.clone(), 200), (text.replacen("\r\n", "\n", 1), 400), (text.replace("\r\n", "\n"), 400)]
    {
        let mut stream = site.connect();
        stream.write_all(exchanged.as_bytes()).expect("sent");
        assert_eq!(Answer::of(&mut stream).status, status, "{exchanged:?}");
    }
}

#[test]
fn whoever_closes_half_a_connection_is_gone() {
    let (world, site) = with_token("");
    world.program("long", "#!/bin/sh\ntouch begun\nsleep 60\n");
    let message = tool_call("exec", &json!({ "command": "./long", "yield_ms": 50_000 }));
    let bearer = format!("Bearer {TOKEN}");
    let head = [&modern(&message)[..], &[("host", &site.authority), ("authorization", &bearer)]].concat();
    let mut stream = site.connect();
    send(&mut stream, "POST /mcp", &head, &message.to_string());
    crate::support::until("beginning", || if world.path("work/begun").exists() { Ok(()) } else { Err(()) });
    half_close(&stream);
    crate::support::until("end on record", || {
        let ends: Vec<Value> = world.record().iter().filter(|line| line["kind"] == "outcome").cloned().collect();
        if ends.iter().any(|end| end["exit"] == json!({ "reason": "cancelled" })) { Ok(()) } else { Err(ends) }
    });
}
