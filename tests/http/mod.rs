//! `serve --http`: who is served, what is refused and how exactly, and that nothing goes on for a client that is gone.

mod access;
mod asks;
mod client;
mod ends;
mod issuer;
mod malformed;
mod principals;
mod requests;
mod secure;
mod start;
mod tasks;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Child, ChildStderr, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::world::World;

/// What clients of the tests' servers are told that they are called.
const URL: &str = "https://palisade.example/mcp";

/// A token that an operator gave out.
const TOKEN: &str = "3f9c1b7e-a-token-of-the-operators-own";

/// A server, and what it wrote to standard error.
pub(crate) struct Site {
    child: Child,
    /// Host and port.
    authority: String,
    log: Arc<Mutex<String>>,
    reader: Option<std::thread::JoinHandle<()>>,
}

impl Site {
    /// `palisade serve --http` on a free port of loopback with these settings, every line of its log on.
    fn start(world: &World, settings: &str) -> Self {
        let (mut child, mut lines) = serve(world, settings, "127.0.0.1:0");
        let said = first_line(&mut child, &mut lines);
        let (_, authority) = said.rsplit_once(" at ").unwrap_or_else(|| panic!("{said}"));
        let authority = authority.to_owned();
        Self::of(child, lines, authority)
    }

    fn of(child: Child, mut lines: BufReader<ChildStderr>, authority: String) -> Self {
        let log = Arc::new(Mutex::new(String::new()));
        let kept = Arc::clone(&log);
        let reader = std::thread::spawn(move || {
            let mut line = String::new();
            while lines.read_line(&mut line).is_ok_and(|read| read > 0) {
                kept.lock().unwrap_or_else(PoisonError::into_inner).push_str(&line);
                line.clear();
            }
        });
        Self { child, authority, log, reader: Some(reader) }
    }

    fn connect(&self) -> TcpStream {
        connect(&self.authority)
    }

    /// A request with these lines of head besides `Host`, and what it is answered.
    fn ask(&self, request: &str, head: &[(&str, &str)], body: &str) -> Answer {
        let mut stream = self.connect();
        send(&mut stream, request, &[&[("host", self.authority.as_str())], head].concat(), body);
        Answer::of(&mut stream)
    }

    /// A message of the newer protocol to the server, by somebody who shows this.
    fn tell(&self, bearer: &str, message: &Value) -> Answer {
        let authorization = format!("Bearer {bearer}");
        let mut head = modern(message);
        head.push(("authorization", &authorization));
        self.ask("POST /mcp", &head, &message.to_string())
    }

    /// A tool's result.
    fn call(&self, bearer: &str, tool: &str, arguments: &Value) -> Value {
        let answer = self.tell(bearer, &tool_call(tool, arguments));
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.message()["result"].clone()
    }

    /// What was logged till now.
    fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells the server to stop, and waits for its end; its exit status and all that it logged.
    fn stop(mut self) -> (Option<i32>, String) {
        self.signal("-TERM");
        let status = self.child.wait().expect("it ends");
        if let Some(reader) = self.reader.take() {
            reader.join().expect("read to its end");
        }
        (status.code(), self.log())
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let sent = std::process::Command::new("kill").args([signal, &pid]).status();
        assert!(sent.is_ok_and(|status| status.success()));
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal("-TERM");
            let _reaped = self.child.wait();
        }
    }
}

/// Starts a server; standard error has not been read yet.
fn serve(world: &World, settings: &str, address: &str) -> (Child, BufReader<ChildStderr>) {
    let file = world.write("palisade.toml", settings);
    let mut command = world.palisade();
    command.args(["serve", "--http", address, "--config"]).arg(file).env("PALISADE_LOG", "trace");
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
    let lines = BufReader::new(child.stderr.take().expect("a pipe"));
    (child, lines)
}

/// The line that says where it listens, or why it does not.
fn first_line(child: &mut Child, lines: &mut BufReader<ChildStderr>) -> String {
    let mut all = String::new();
    loop {
        let mut line = String::new();
        let read = lines.read_line(&mut line).expect("readable");
        all.push_str(&line);
        if line.starts_with("palisade serves ") {
            return line.trim_end().to_owned();
        }
        assert!(read > 0, "it ended with {:?}: {all}", child.wait());
    }
}

/// A connection that is given up when nothing comes for long.
fn connect(authority: &str) -> TcpStream {
    let stream = TcpStream::connect(authority).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(300))).expect("a time");
    stream
}

/// Writes a request. An answer may come before its end is read.
fn send(stream: &mut (impl Write + ?Sized), request: &str, head: &[(&str, &str)], body: &str) {
    let mut text = format!("{request} HTTP/1.1\r\nconnection: close\r\n");
    for (name, value) in head {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() && !head.iter().any(|(name, _)| ["content-length", "transfer-encoding"].contains(name)) {
        text.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    let _answered_before = stream.write_all(format!("{text}\r\n{body}").as_bytes());
}

/// What came back.
#[derive(Debug)]
struct Answer {
    /// 0: nothing at all.
    status: u16,
    head: BTreeMap<String, String>,
    body: String,
}

impl Answer {
    /// Reads to the end of the connection.
    fn of(stream: &mut (impl Read + ?Sized)) -> Self {
        let mut bytes = Vec::new();
        let mut part = [0; 4096];
        while let Ok(read @ 1..) = stream.read(&mut part) {
            bytes.extend_from_slice(&part[..read]);
        }
        let text = String::from_utf8_lossy(&bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).unwrap_or(0);
        let pairs = lines.filter_map(|line| line.split_once(": "));
        let head: BTreeMap<String, String> =
            pairs.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
        let is_chunked = head.get("transfer-encoding").is_some_and(|coding| coding == "chunked");
        let body = if is_chunked { unchunked(body) } else { body.to_owned() };
        Self { status, head, body }
    }

    fn header(&self, name: &str) -> &str {
        self.head.get(name).map_or("", String::as_str)
    }

    /// The protocol message in it: the body, or the last event of a stream.
    fn message(&self) -> Value {
        let mut events = self.body.lines().filter_map(|line| line.strip_prefix("data:")).map(str::trim);
        let text = events.rfind(|event| !event.is_empty()).unwrap_or(&self.body);
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

fn unchunked(body: &str) -> String {
    let (mut whole, mut rest) = (String::new(), body);
    while let Some((size, behind)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap_or(0);
        let Some(chunk) = behind.get(..size).filter(|chunk| !chunk.is_empty()) else { break };
        whole.push_str(chunk);
        rest = behind.get(size + 2..).unwrap_or("");
    }
    whole
}

/// The lines of head that a message of the newer protocol has.
fn modern(message: &Value) -> Vec<(&str, &str)> {
    let mut head = vec![
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
        ("mcp-protocol-version", "2026-07-28"),
    ];
    head.extend(message["method"].as_str().map(|method| ("mcp-method", method)));
    let params = &message["params"];
    head.extend(params["name"].as_str().or(params["taskId"].as_str()).map(|name| ("mcp-name", name)));
    head
}

/// The lines of head that a message of the older protocol has.
const LEGACY: [(&str, &str); 3] = [
    ("content-type", "application/json"),
    ("accept", "application/json, text/event-stream"),
    ("mcp-protocol-version", "2025-06-18"),
];

fn tool_call(tool: &str, arguments: &Value) -> Value {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": { "name": "by-hand", "version": "1" },
    });
    let params = json!({ "name": tool, "arguments": arguments, "_meta": meta });
    json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params })
}

/// Opens a protocol session as clients of the older protocol do; its id.
fn initialize(site: &Site, bearer: &str) -> String {
    let authorization = format!("Bearer {bearer}");
    let hello = json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "by-hand", "version": "1" } });
    let message = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello });
    let head = [&LEGACY[..], &[("authorization", &authorization)]].concat();
    let answer = site.ask("POST /mcp", &head, &message.to_string());
    assert_eq!(answer.status, 200, "{answer:?}");
    let session = answer.header("mcp-session-id").to_owned();
    let ready = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    let head = [&head[..], &[("mcp-session-id", &session)]].concat();
    assert_eq!(site.ask("POST /mcp", &head, &ready.to_string()).status, 202);
    session
}

/// Writes the token of an operator's into a file that only the operator reads.
fn give_out(world: &World, name: &str, token: &str) {
    use std::os::unix::fs::PermissionsExt;
    let file = world.write(name, &format!("{token}\n"));
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).expect("a mode");
}

/// A world, and a server in it that serves whoever has [`TOKEN`].
fn with_token(more: &str) -> (World, Site) {
    let world = World::new();
    give_out(&world, "token", TOKEN);
    let settings = format!(
        "{more}\n[serve.principals.build-agent]\nuser = \"alice\"\nroles = [\"developer\"]\ntoken-file = \"token\"\n"
    );
    let site = Site::start(&world, &settings);
    (world, site)
}

/// Says that nothing more will be sent, and leaves the other direction open.
fn half_close(stream: &TcpStream) {
    stream.shutdown(Shutdown::Write).expect("still connected");
}
