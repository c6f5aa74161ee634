//! What a command costs an MCP client, beside a raw bash on pipes in the same run: `cargo bench -p palisade --bench serve`.
//! Medians, and in brackets the fastest. The client writes a line and reads one; the server is the real program. With
//! `EXECKIT=PROGRAM` that server (execkit-mcp) is asked the same in the same run.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "figures are printed, or there are none"
)]

#[path = "../runner/benches/support/stopwatch.rs"]
mod stopwatch;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::stopwatch::{shown, timed};

fn main() {
    // `cargo test` runs benches, too, to see that they still work.
    let rounds = if std::env::args().any(|argument| argument == "--bench") { 1000 } else { 5 };
    let root = tempfile::tempdir().expect("a directory");
    let disk = disk(root.path(), rounds / 5);
    println!("fdatasync of a line: {}", shown(&disk));
    let mut bash = Peer::bash();
    let mut durable = Peer::palisade(root.path(), "group");
    let mut quick = Peer::palisade(root.path(), "none");
    let (durable_session, quick_session) = (durable.open(), quick.open());
    let mut beside = std::env::var_os("EXECKIT").map(|program| {
        let mut peer = Peer::start(Command::new(program).stderr(Stdio::null()).env("HOME", root.path()));
        peer.greet();
        let session = peer.open_beside();
        (peer, session)
    });
    for command in ["true", "/bin/true"] {
        let raw = timed(rounds, || bash.line(&format!("{command} >/dev/null; echo done")));
        let synced = timed(rounds, || durable.exec(command, &durable_session));
        let unsynced = timed(rounds, || quick.exec(command, &quick_session));
        print!(
            "{command}: raw bash {}, over MCP {}, with its record on disk {}",
            shown(&raw),
            shown(&unsynced),
            shown(&synced)
        );
        if let Some((peer, session)) = &mut beside {
            let beside = timed(rounds / 5, || peer.exec_beside(command, session));
            print!(", execkit-mcp {}", shown(&beside));
        }
        println!();
    }
}

/// What the disk takes for a record's line by itself.
fn disk(root: &Path, rounds: usize) -> Vec<Duration> {
    let mut file = std::fs::File::create(root.join("line")).expect("a file");
    timed(rounds, || {
        file.write_all(&[b'x'; 600]).and_then(|()| file.sync_data()).expect("written");
    })
}

/// A program that answers each line with a line.
struct Peer {
    child: Child,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
        let answers = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, answers }
    }

    fn bash() -> Self {
        Self::start(Command::new("bash").args(["--norc", "--noprofile"]))
    }

    fn palisade(root: &Path, sync: &str) -> Self {
        let place = root.join(sync);
        for directory in ["work", "home", "state"] {
            std::fs::create_dir_all(place.join(directory)).expect("a directory");
        }
        let settings = place.join("palisade.toml");
        std::fs::write(&settings, format!("[audit]\nsync = \"{sync}\"\n")).expect("settings");
        let mut serve = Command::new(env!("CARGO_BIN_EXE_palisade"));
        serve.arg("serve").current_dir(place.join("work")).env("PALISADE_CONFIG", settings);
        serve.env("HOME", place.join("home")).env("XDG_STATE_HOME", place.join("state"));
        let mut peer = Self::start(&mut serve);
        peer.greet();
        peer
    }

    fn greet(&mut self) {
        let hello = json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "bench", "version": "1" } });
        self.ask("initialize", &hello);
        self.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }).to_string());
    }

    fn open_beside(&mut self) -> String {
        let arguments = json!({ "transport": "local" });
        let opened = self.ask("tools/call", &json!({ "name": "session_create", "arguments": arguments }));
        let told = opened["result"]["content"][0]["text"].as_str().expect("a text");
        serde_json::from_str::<Value>(told).expect("JSON")["session_id"].as_str().expect("a session").to_owned()
    }

    fn exec_beside(&mut self, command: &str, session: &str) {
        let arguments = json!({ "command": command, "session_id": session });
        let answer = self.ask("tools/call", &json!({ "name": "session_exec", "arguments": arguments }));
        assert!(answer.to_string().contains("exit_code"), "{answer}");
    }

    fn open(&mut self) -> String {
        let opened = self.ask("tools/call", &json!({ "name": "session_open", "arguments": {} }));
        opened["result"]["structuredContent"]["session"].as_str().expect("a session").to_owned()
    }

    fn exec(&mut self, command: &str, session: &str) {
        let arguments = json!({ "command": command, "session": session });
        let answer = self.ask("tools/call", &json!({ "name": "exec", "arguments": arguments }));
        assert_eq!(answer["result"]["structuredContent"]["exit_code"], 0, "{answer}");
    }

    fn ask(&mut self, method: &str, params: &Value) -> Value {
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let mut answer: Value = serde_json::from_str(&self.line(&request.to_string())).expect("JSON");
        // Notifications come in between.
        while answer["id"].is_null() {
            answer = serde_json::from_str(&self.receive()).expect("JSON");
        }
        answer
    }

    fn line(&mut self, line: &str) -> String {
        self.send(line);
        self.receive()
    }

    fn receive(&mut self) -> String {
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("an answer");
        answer
    }

    fn send(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().expect("a pipe");
        writeln!(stdin, "{line}").and_then(|()| stdin.flush()).expect("written");
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Both end with their input.
        drop(self.child.stdin.take());
        let _reaped = self.child.wait();
    }
}
