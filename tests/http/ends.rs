//! Ends: of a client, of the server. Nothing that ran for them goes on.

use std::fs;

use serde_json::{Value, json};

use super::{LEGACY, TOKEN, initialize, modern, send, tool_call, with_token};
use crate::support::until;

/// Processes that a program of these leaves, whatever becomes of the program.
const PROGRAM: &str = "#!/bin/bash\nsleep MARK &\nsetsid -f sleep MARK\n(trap '' TERM INT HUP; sleep MARK) &\nwait\n";

fn running(mark: &str) -> usize {
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    let lines = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| line.split(|byte| *byte == 0).any(|word| word == mark.as_bytes())).count()
}

fn wait(mark: &str, count: usize) {
    until("such processes", || match running(mark) {
        there if there == count => Ok(()),
        there => Err(there),
    });
}

#[test]
fn a_client_that_hangs_up_ends_what_runs_for_it() {
    let (world, site) = with_token("");
    let mark = format!("{}.25", 50_000 + std::process::id());
    world.program("long", &PROGRAM.replace("MARK", &mark));
    let session = initialize(&site, TOKEN);
    let bearer = format!("Bearer {TOKEN}");
    let newer = tool_call("exec", &json!({ "command": "./long", "yield_ms": 50_000 }));
    let older = json!({ "jsonrpc": "2.0", "id": 9, "method": "tools/call",
                        "params": { "name": "exec", "arguments": { "command": "./long", "yield_ms": 50_000 } } });
    let legacy = [&LEGACY[..], &[("mcp-session-id", session.as_str())]].concat();
    for (era, head, message) in [("newer", modern(&newer), &newer), ("older", legacy, &older)] {
        let head = [&head[..], &[("host", &site.authority), ("authorization", &bearer)]].concat();
        let mut stream = site.connect();
        send(&mut stream, "POST /mcp", &head, &message.to_string());
        wait(&mark, 3);
        drop(stream);
        wait(&mark, 0);
        let cancelled = || {
            let ends: Vec<Value> = world.record().iter().filter(|line| line["kind"] == "outcome").cloned().collect();
            let cancelled = ends.iter().filter(|end| end["exit"] == json!({ "reason": "cancelled" })).count();
            let expected = if era == "newer" { 1 } else { 2 };
            if cancelled == expected { Ok(()) } else { Err(ends) }
        };
        until(era, cancelled);
    }
    // Whoever waits gets an answer all the same.
    assert_eq!(site.call(TOKEN, "exec", &json!({ "command": "echo on" }))["structuredContent"]["stdout"], "on\n");
}

#[test]
fn a_cancelled_call_of_the_older_protocol_ends() {
    let (world, site) = with_token("");
    world.program("long", "#!/bin/sh\ntouch begun\nsleep 60\n");
    let session = initialize(&site, TOKEN);
    let bearer = format!("Bearer {TOKEN}");
    let head =
        [&LEGACY[..], &[("host", &site.authority), ("authorization", &bearer), ("mcp-session-id", &session)]].concat();
    let call = json!({ "jsonrpc": "2.0", "id": 9, "method": "tools/call",
                       "params": { "name": "exec", "arguments": { "command": "./long", "yield_ms": 50_000 } } });
    let mut stream = site.connect();
    send(&mut stream, "POST /mcp", &head, &call.to_string());
    until("beginning", || if world.path("work/begun").exists() { Ok(()) } else { Err(()) });
    let cancel = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 9 } });
    assert_eq!(
        site.ask(
            "POST /mcp",
            &head[..head.len()].iter().copied().filter(|(name, _)| *name != "host").collect::<Vec<_>>(),
            &cancel.to_string()
        )
        .status,
        202
    );
    until("end on record", || {
        let ends: Vec<Value> = world.record().iter().filter(|line| line["kind"] == "outcome").cloned().collect();
        if ends.iter().any(|end| end["exit"] == json!({ "reason": "cancelled" })) { Ok(()) } else { Err(ends) }
    });
    drop(stream);
}

#[test]
fn a_server_that_is_told_to_stop_leaves_nothing() {
    let (world, site) = with_token("");
    let mark = format!("{}.35", 50_000 + std::process::id());
    world.program("long", &PROGRAM.replace("MARK", &mark));
    let opened = site.call(TOKEN, "session_open", &json!({}));
    let session = &opened["structuredContent"]["session"];
    site.call(TOKEN, "exec", &json!({ "command": "./long", "yield_ms": 100, "session": session }));
    let message = tool_call("exec", &json!({ "command": "./long", "yield_ms": 50_000 }));
    let bearer = format!("Bearer {TOKEN}");
    let head = [&modern(&message)[..], &[("host", &site.authority), ("authorization", &bearer)]].concat();
    let mut stream = site.connect();
    send(&mut stream, "POST /mcp", &head, &message.to_string());
    wait(&mark, 6);
    let (status, log) = site.stop();
    assert_eq!((status, running(&mark)), (Some(0), 0), "{log}");
    let kinds: Vec<Value> = world.record().iter().map(|line| line["kind"].clone()).collect();
    assert_eq!(kinds.last(), Some(&json!("stop")), "{kinds:?}");
}
