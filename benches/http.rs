//! How long a server takes until it answers, and what many sessions at once cost over HTTP: `cargo bench -p palisade --bench http`.
//!
//! Each session is a shell of its own. Clients keep their connections, as many as the server answers at a time; each asks in its sessions by
//! turns, as fast as it is answered. The record is synced as a server's is (`group`), the profile `developer`.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "figures are printed, or there are none"
)]

#[path = "../runner/benches/support/stopwatch.rs"]
mod stopwatch;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Barrier;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::stopwatch::{shown, timed};

/// What proves the client.
const TOKEN: &str = "a-token-of-the-bench-that-is-32-characters-long";

/// Clients: fewer than the 64 requests of a principal that are answered at a time.
const CLIENTS: usize = 50;

fn main() {
    // `cargo test` runs benches, too, to see that they still work.
    let (rounds, each, calls) =
        if std::env::args().any(|argument| argument == "--bench") { (20, 4, 40) } else { (1, 1, 1) };
    let root = tempfile::tempdir().expect("a directory");
    let place = place(root.path());
    println!("from start to the first answer, on pipes: {}", shown(&timed(rounds, || first_answer(&place))));
    println!(
        "from start to the first answer, over HTTP: {}",
        shown(&timed(rounds, || drop(Server::start(&place).connect())))
    );

    let server = Server::start(&place);
    let empty = server.memory();
    let barrier = Barrier::new(CLIENTS);
    let (mut opened, mut ran) = (Vec::new(), Vec::new());
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let clients: Vec<_> =
            (0..CLIENTS).map(|_| scope.spawn(|| server.connect().work(each, calls, &barrier))).collect();
        for client in clients {
            let (opens, calls) = client.join().expect("a client's figures");
            opened.extend(opens);
            ran.push(calls);
        }
    });
    let all = begun.elapsed();
    let sessions = CLIENTS * each;
    let lasted = ran.iter().map(|calls| calls.lasted).max().unwrap_or_default();
    let mut times: Vec<Duration> = ran.into_iter().flat_map(|calls| calls.times).collect();
    times.sort();
    opened.sort();
    let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or_default();
    println!("{sessions} sessions, opened by {CLIENTS} clients at once: {} each", shown(&opened));
    println!(
        "{} calls of `echo` in {sessions} sessions: {:.0}/s; {:.1?} at the median, {:.1?} for 95 %, {:.1?} for 99 %; {all:.1?} with the opening",
        times.len(),
        times.len() as f64 / lasted.as_secs_f64(),
        at(50),
        at(95),
        at(99),
    );
    println!("the server's memory: {} MiB before, {} MiB with {sessions} sessions", empty >> 10, server.memory() >> 10);
}

/// Directories and settings of a server.
fn place(root: &Path) -> PathBuf {
    for directory in ["work", "home", "state"] {
        std::fs::create_dir_all(root.join(directory)).expect("a directory");
    }
    let token = root.join("token");
    std::fs::write(&token, TOKEN).expect("written");
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600)).expect("a mode");
    let settings = "[session]\nmax = 256\n[serve]\nrate = 1000000\n[serve.principals.bench]\nuser = \"bench\"\nroles = [\"developer\"]\ntoken-file = \"token\"\n";
    std::fs::write(root.join("palisade.toml"), settings).expect("settings");
    root.to_owned()
}

fn serve(place: &Path) -> Command {
    let mut serve = Command::new(env!("CARGO_BIN_EXE_palisade"));
    serve.arg("serve").current_dir(place.join("work")).env("PALISADE_CONFIG", place.join("palisade.toml"));
    serve.env("HOME", place.join("home")).env("XDG_STATE_HOME", place.join("state"));
    serve
}

fn message(method: &str, params: &Value) -> Value {
    let mut params = params.clone();
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params })
}

/// Starts a server on pipes and has it say what it can.
fn first_answer(place: &Path) {
    let mut server = serve(place).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut stdin = server.stdin.take().expect("a pipe");
    writeln!(stdin, "{}", message("server/discover", &json!({}))).expect("written");
    let mut answer = String::new();
    BufReader::new(server.stdout.take().expect("a pipe")).read_line(&mut answer).expect("an answer");
    assert!(answer.contains("supportedVersions"), "{answer}");
    drop(stdin);
    let _reaped = server.wait();
}

/// A server over HTTP.
struct Server {
    child: Child,
    authority: String,
}

impl Server {
    fn start(place: &Path) -> Self {
        let mut child = serve(place).args(["--http", "127.0.0.1:0"]).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut lines = BufReader::new(child.stderr.take().expect("a pipe"));
        let mut said = String::new();
        lines.read_line(&mut said).expect("a line");
        let (_, authority) = said.trim_end().rsplit_once(" at ").expect("an address");
        let authority = authority.to_owned();
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        Self { child, authority }
    }

    /// A client that has been answered once.
    fn connect(&self) -> Client {
        let stream = TcpStream::connect(&self.authority).expect("it listens");
        stream.set_nodelay(true).expect("a socket");
        let mut client = Client { stream: BufReader::new(stream), authority: self.authority.clone() };
        let found = client.ask("server/discover", "", &json!({}));
        assert!(found["result"]["supportedVersions"].is_array(), "{found}");
        client
    }

    /// KiB of memory that are the process's own.
    fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("a status");
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("a figure");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = self.child.id().to_string();
        let _sent = Command::new("kill").args(["-TERM", &pid]).status();
        let _reaped = self.child.wait();
    }
}

/// A connection that is kept.
struct Client {
    stream: BufReader<TcpStream>,
    authority: String,
}

/// What a client's calls took.
struct Calls {
    times: Vec<Duration>,
    lasted: Duration,
}

impl Client {
    /// Opens sessions, waits until all clients have, and calls in them by turns.
    fn work(&mut self, sessions: usize, calls: usize, all: &Barrier) -> (Vec<Duration>, Calls) {
        let mut names = Vec::new();
        let opened = timed(sessions, || names.push(self.call("session_open", &json!({}))["session"].clone()));
        all.wait();
        let begun = Instant::now();
        let mut turns = names.iter().cycle();
        let times = timed(calls, || {
            let ran = self.call("exec", &json!({ "command": "echo hi", "session": turns.next() }));
            assert_eq!(ran["stdout"], "hi\n", "{ran}");
        });
        (opened, Calls { times, lasted: begun.elapsed() })
    }

    fn call(&mut self, tool: &str, arguments: &Value) -> Value {
        let answer = self.ask("tools/call", tool, &json!({ "name": tool, "arguments": arguments }));
        let result = answer["result"]["structuredContent"].clone();
        assert!(result.is_object() && answer["result"]["isError"] == false, "{answer}");
        result
    }

    fn ask(&mut self, method: &str, name: &str, params: &Value) -> Value {
        let body = message(method, params).to_string();
        let name = if name.is_empty() { String::new() } else { format!("mcp-name: {name}\r\n") };
        let request = format!(
            "POST /mcp HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {TOKEN}\r\ncontent-type: application/json\r\n\
             accept: application/json, text/event-stream\r\nmcp-protocol-version: 2026-07-28\r\nmcp-method: {method}\r\n{name}\
             content-length: {}\r\n\r\n{body}",
            self.authority,
            body.len()
        );
        self.stream.get_mut().write_all(request.as_bytes()).expect("written");
        let text = self.answer();
        let message =
            text.lines().filter_map(|line| line.strip_prefix("data:")).map(str::trim).rfind(|data| !data.is_empty());
        serde_json::from_str(message.unwrap_or(&text)).expect("a message")
    }

    /// The body of an answer.
    fn answer(&mut self) -> String {
        let (mut length, mut line) = (None, String::new());
        loop {
            line.clear();
            self.stream.read_line(&mut line).expect("a head");
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(told) = line.strip_prefix("content-length: ") {
                length = told.parse::<usize>().ok();
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = Vec::new();
        while length != Some(0) {
            let size = match length {
                Some(size) => size,
                None => {
                    line.clear();
                    self.stream.read_line(&mut line).expect("a chunk");
                    usize::from_str_radix(line.trim(), 16).expect("its size")
                }
            };
            let from = body.len();
            body.resize(from + size, 0);
            self.stream.read_exact(&mut body[from..]).expect("all of it");
            if length.is_some() {
                break;
            }
            // The end of a chunk, and of all if it was the empty one.
            line.clear();
            self.stream.read_line(&mut line).expect("its end");
            if size == 0 {
                break;
            }
        }
        String::from_utf8(body).expect("text")
    }
}
