//! Any lines as what an MCP client sends, in either era: every answer is JSON-RPC and to an id that was asked, nothing else is written,
//! and nothing runs. Everything needs the yes of two people, and the client can be at most one of them.
//!
//! The first byte says how the conversation begins: without a word, or as clients of the older or of the newer protocol do.

#![no_main]

#[path = "../../runner/tests/support/settings.rs"]
mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use palisade_audit::Sync;
use palisade_engine::{Bundle, Source};
use palisade_runner::control::People;
use palisade_runner::sandbox::plan::Level;
use palisade_runner::{Pipeline, Settings};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const POLICIES: &str = r#"
@id("tools") permit (principal, action == Action::"useTool", resource);
@id("two") @reason("It takes two.") @quorum("2") permit (principal, action in Action::"activity", resource) when { context.approved };
@id("people") permit (principal is User, action == Action::"approve", resource);
"#;

/// Records that say that something was begun, or done to the workspace.
const DEEDS: [&str; 5] = ["open", "outcome", "exec", "checkpoint", "connect"];

struct Site {
    runtime: tokio::runtime::Runtime,
    pipeline: Arc<Pipeline>,
    directory: PathBuf,
    /// How far the record was looked at.
    seen: Mutex<BTreeMap<PathBuf, u64>>,
}

static SITE: LazyLock<Site> = LazyLock::new(|| {
    let root = directory();
    let source = Source { name: "fuzz.cedar".to_owned(), text: POLICIES.to_owned() };
    let settings = settings::settings(&root, "fuzz", Bundle::load(vec![source]).expect("valid"), Sync::None);
    let roles = BTreeSet::from(["answers-in-client".to_owned()]);
    let settings = Settings {
        level: Level::Compat,
        // So that there is room for the next request.
        approvals_expire: Duration::from_millis(100),
        people: People::new(BTreeMap::from([("fuzz".to_owned(), roles)])),
        ..settings
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads");
    let pipeline = runtime.block_on(async { Pipeline::open(settings) }).expect("a pipeline");
    Site { runtime, pipeline, directory: root.join("audit"), seen: Mutex::default() }
});

/// A directory beside the program. Nothing is run behind a fuzzer's end, so that those of earlier ones go now.
fn directory() -> PathBuf {
    let program = std::env::current_exe().expect("a program");
    let all = program.with_extension("state");
    for old in std::fs::read_dir(&all).into_iter().flatten().flatten() {
        let pid = old.file_name();
        if !PathBuf::from("/proc").join(&pid).exists() {
            let _none_or_gone = std::fs::remove_dir_all(old.path());
        }
    }
    let own = all.join(std::process::id().to_string());
    std::fs::create_dir_all(&own).expect("a directory");
    own
}

fuzz_target!(|input: &[u8]| {
    let Some((first, said)) = input.split_first() else { return };
    let mut sent = match first % 3 {
        0 => Vec::new(),
        1 => hello(&[
            json!({ "jsonrpc": "2.0", "id": "hello", "method": "initialize", "params": { "protocolVersion": "2025-06-18",
                "capabilities": { "elicitation": {} }, "clientInfo": { "name": "fuzz", "version": "1" } } }),
            json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }),
        ]),
        _ => hello(&[json!({ "jsonrpc": "2.0", "id": "hello", "method": "server/discover", "params": { "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": { "elicitation": {} } } } })]),
    };
    sent.extend_from_slice(said);
    let answered = SITE.runtime.block_on(converse(sent.clone()));
    judge(&asked(&sent), &answered);
    nothing_was_done();
});

fn hello(messages: &[Value]) -> Vec<u8> {
    messages.iter().flat_map(|message| format!("{message}\n").into_bytes()).collect()
}

/// Everything that the server writes to somebody who says this and hangs up.
async fn converse(sent: Vec<u8>) -> Vec<u8> {
    let (client, server) = tokio::io::duplex(1 << 20);
    let (reader, writer) = tokio::io::split(server);
    let serving = tokio::spawn(palisade_mcp::serve(Arc::clone(&SITE.pipeline), reader, writer, std::future::pending()));
    let (mut heard, mut says) = tokio::io::split(client);
    let listens = tokio::spawn(async move {
        let mut all = Vec::new();
        heard.read_to_end(&mut all).await.expect("a stream in memory");
        all
    });
    // A server that has gone already does not listen.
    let _heard = says.write_all(&sent).await;
    let _gone = says.shutdown().await;
    let _how = serving.await.expect("serving does not panic");
    drop(says);
    listens.await.expect("listening does not panic")
}

/// The ids of the requests in it, with how often each was used.
fn asked(sent: &[u8]) -> BTreeMap<String, usize> {
    let mut asked = BTreeMap::new();
    let mut count = |message: &Value| {
        if let Some(id) = message.get("id") {
            *asked.entry(id.to_string()).or_default() += 1;
        }
    };
    for line in sent.split(|byte| *byte == b'\n') {
        let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        // What is too deep to be a message may still have an id that is told.
        match (serde_json::from_slice::<Value>(line), serde_json::from_slice::<Named>(line)) {
            (Ok(Value::Array(messages)), _) => messages.iter().for_each(&mut count),
            (Ok(message), _) => count(&message),
            (Err(_), Ok(Named { id })) => count(&json!({ "id": id })),
            (Err(_), Err(_)) => {}
        }
    }
    asked
}

#[derive(serde::Deserialize)]
struct Named {
    id: Value,
}

fn judge(asked: &BTreeMap<String, usize>, answered: &[u8]) {
    let mut left = asked.clone();
    let text = std::str::from_utf8(answered).expect("text");
    for line in text.lines() {
        let message: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert_eq!(message["jsonrpc"], "2.0", "{line}");
        if message.get("method").is_some() {
            assert!(message.get("result").is_none() && message.get("error").is_none(), "{line}");
            continue;
        }
        assert!(message.get("result").is_some() != message.get("error").is_some(), "{line}");
        let id = message.get("id").unwrap_or(&Value::Null);
        // What could not be read has no id to be told by.
        if id.is_null() && message.get("error").is_some() {
            continue;
        }
        let times = left.get_mut(&id.to_string()).unwrap_or_else(|| panic!("nobody asked: {line}"));
        *times = times.checked_sub(1).unwrap_or_else(|| panic!("answered before: {line}"));
    }
}

/// Looks at what has been added to the record.
fn nothing_was_done() {
    let mut seen = SITE.seen.lock().unwrap_or_else(PoisonError::into_inner);
    for entry in std::fs::read_dir(&SITE.directory).expect("a record") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "jsonl") {
            continue;
        }
        let mut file = std::fs::File::open(&path).expect("readable");
        let from = seen.entry(path).or_default();
        file.seek(SeekFrom::Start(*from)).expect("a file");
        let mut text = String::new();
        file.read_to_string(&mut text).expect("text");
        // A line that is being written is looked at next time.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        for line in text.get(..whole).unwrap_or_default().lines() {
            let record: Value = serde_json::from_str(line).expect("a record");
            let kind = record["kind"].as_str().unwrap_or_default();
            assert!(!DEEDS.contains(&kind), "{line}");
            assert_ne!(record["decision"]["effect"], "allow", "{line}");
            assert_ne!(record["effect"], "allow", "{line}");
        }
        *from += whole as u64;
    }
}
