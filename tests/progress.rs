//! What a client hears of a command while it waits for it, and what of a long output it can still find.

use std::time::Duration;

use serde_json::{Value, json};

use crate::serve::Server;
use crate::support::world::World;

/// Prints a line each second, for longer than a client goes without hearing something.
pub(crate) const SLOW: &str = "for n in 1 2 3 4 5 6 7 8 9; do echo step $n; sleep 1; done";

/// Sends a call with this token and gives what is said until it is answered, the answer last.
fn heard(server: &mut Server, id: u64, token: Option<&Value>, tool: &str, arguments: &Value) -> Vec<Value> {
    let mut params = json!({ "name": tool, "arguments": arguments });
    if let Some(token) = token {
        params["_meta"] = json!({ "progressToken": token });
    }
    server.send(&json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params }));
    let mut all = vec![server.receive()];
    while all.last().expect("a message")["id"] != json!(id) {
        all.push(server.receive());
    }
    all
}

#[test]
fn a_client_with_a_token_hears_the_last_line() {
    let world = World::new();
    let mut server = Server::of({
        let mut serve = world.palisade();
        serve.arg("serve");
        serve
    });
    let exec = json!({ "command": SLOW, "yield_ms": 60_000 });
    let said = heard(&mut server, 1, Some(&json!("a")), "exec", &exec);
    let (answer, told) = said.split_last().expect("an answer");
    assert_eq!(answer["result"]["structuredContent"]["status"], "done", "{answer}");
    assert!(told.len() >= 2, "{told:?}");
    let (mut before, mut lines) = (0.0, Vec::new());
    for message in told {
        let params = &message["params"];
        assert_eq!((&message["method"], &params["progressToken"]), (&json!("notifications/progress"), &json!("a")));
        let progress = params["progress"].as_f64().expect("a number");
        assert!(progress > before && progress - before <= 5.0, "{message}");
        before = progress;
        // A shell that took its time has printed nothing yet.
        lines.extend(params["message"].as_str());
    }
    assert!(!lines.is_empty() && lines.iter().all(|line| line.starts_with("step ")), "{told:?}");
    // So does one that waits for a job, and what is secret is no more shown there than in the output.
    let token = ["ghp_", "0123456789abcdefghijEXAMPLE0123456789"].concat();
    let job = json!({ "command": format!("echo key {token}; sleep 7"), "yield_ms": 0 });
    let begun = heard(&mut server, 2, Some(&json!("b")), "exec", &job).pop().expect("an answer");
    let job = begun["result"]["structuredContent"]["job"].clone();
    let printed = |server: &mut Server| {
        let read = heard(server, 3, None, "job_read", &json!({ "job": job, "wait_ms": 0 })).pop().expect("an answer");
        read["result"]["structuredContent"]["stdout"] != json!("")
    };
    while !printed(&mut server) {
        std::thread::sleep(Duration::from_millis(20));
    }
    let said = heard(&mut server, 4, Some(&json!(7)), "job_read", &json!({ "job": job, "wait_ms": 60_000 }));
    assert_eq!(said.last().expect("an answer")["result"]["structuredContent"]["status"], "done");
    if let [first, _, ..] = said.as_slice() {
        assert_eq!(first["params"]["progressToken"], 7);
        let line = first["params"]["message"].as_str().unwrap_or_else(|| panic!("{said:?}"));
        assert!(line.starts_with("key") && !line.contains("EXAMPLE"), "{line}");
    }
    let exec = json!({ "command": "sleep 5", "yield_ms": 60_000 });
    assert_eq!(heard(&mut server, 5, None, "exec", &exec).len(), 1, "nobody has asked for it");
}

/// A reading of a job waits for its end, whatever it prints meanwhile.
#[test]
fn one_reading_is_enough_for_a_build() {
    let world = World::new();
    let mut server = Server::start_with(&world, &[]);
    server.call(1, "exec", &json!({ "command": "for n in 1 2 3; do echo $n; sleep 0.3; done", "yield_ms": 0 }));
    let job = server.receive()["result"]["structuredContent"]["job"].clone();
    server.call(2, "job_read", &json!({ "job": job, "wait_ms": 60_000 }));
    let read = server.receive()["result"]["structuredContent"].clone();
    assert_eq!((&read["status"], &read["stdout"]), (&json!("done"), &json!("1\n2\n3\n")), "{read}");
    // Also one that gives no time; and one that gives none at all says how the job stands.
    server.call(3, "exec", &json!({ "command": "until [ -e go ]; do sleep 0.1; done; echo gone", "yield_ms": 0 }));
    let job = server.receive()["result"]["structuredContent"]["job"].clone();
    server.call(4, "job_read", &json!({ "job": job, "wait_ms": 0 }));
    assert_eq!(server.receive()["result"]["structuredContent"]["status"], "running");
    server.call(5, "job_read", &json!({ "job": job }));
    world.write("work/go", "");
    let read = server.receive()["result"]["structuredContent"].clone();
    assert_eq!((&read["status"], &read["stdout"]), (&json!("done"), &json!("gone\n")), "{read}");
}

/// Far more than is kept lies before and behind it.
#[test]
fn a_line_is_found_that_is_not_kept() {
    let world = World::new();
    let mut server = Server::start_with(&world, &[]);
    let command = "seq 400000; echo NEEDLE; seq 400000";
    let expected = json!({ "stdout": { "matched": 1 } });
    server.call(1, "exec", &json!({ "command": command, "grep": "NEEDLE", "yield_ms": 60_000 }));
    let found = server.receive()["result"]["structuredContent"].clone();
    assert_eq!((&found["stdout"], &found["searched"]), (&json!("NEEDLE\n"), &expected), "{found}");
    // It stays found for whoever asks for the same of the job.
    server.call(2, "job_read", &json!({ "job": found["job"], "grep": "NEEDLE" }));
    let again = server.receive()["result"]["structuredContent"].clone();
    assert_eq!((&again["stdout"], &again["searched"]), (&json!("NEEDLE\n"), &expected), "{again}");
}
