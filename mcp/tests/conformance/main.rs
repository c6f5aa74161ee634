//! The protocol's conformance suite against its own fixtures, on the HTTP stack of the product: the very same source, with a handler of
//! fixtures in place of the one that runs commands. What needs no fixture is asked of the shipped server (`tests/conformance/`).
//! That source's own tests come along and run here too.

#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "what the program alone calls")]
#[path = "../../src/http/mod.rs"]
pub mod http;
#[expect(dead_code, reason = "what other tests call")]
#[path = "../../../tests/support/services.rs"]
mod services;
#[path = "../../../runner/tests/support/settings.rs"]
mod settings;

mod fixtures;

/// What the HTTP stack takes for the product's own.
mod server {
    pub(crate) use crate::fixtures::{Handler, PrincipalState};
}
#[expect(dead_code, reason = "what is said on standard output alone")]
#[path = "../../src/message.rs"]
mod message;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use palisade_audit::Sync;
use palisade_engine::Bundle;
use palisade_runner::Pipeline;
use serde_json::Value;
use tokio::net::{TcpListener, UnixStream};

use crate::http::config::{Address, HttpConfig, Proof};
use crate::http::{Principal, Server};

#[tokio::test(flavor = "multi_thread")]
async fn all_that_a_revision_requires_holds() {
    let Some(programs) = services::ai_clients() else { return };
    for revision in ["2025-11-25", "2026-07-28"] {
        let root = tempfile::tempdir().expect("a directory");
        let bundle = Bundle::profile("developer").expect("the shipped profile");
        let pipeline =
            Pipeline::open(settings::settings(root.path(), "suite", bundle, Sync::None)).expect("a pipeline");
        let proof = Proof::User(rustix::process::geteuid().as_raw());
        let principal = Principal { name: "suite".to_owned(), proof: proof.clone(), pipeline: Arc::clone(&pipeline) };

        // The suite speaks to a URL and has no token: a port of loopback leads to a socket that knows its own user.
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let authority = listener.local_addr().expect("an address").to_string();
        let socket = root.path().join("mcp.sock");
        let server = Server::open(terms(&socket, &authority), &[proof]).await.expect("a socket");
        let serving = tokio::spawn(server.serve(vec![principal], std::future::pending()));
        let relaying = tokio::spawn(relay(listener, socket));

        let results = root.path().join("results");
        let mut suite = Command::new(programs.join("conformance"));
        suite.args(["server", "--url", &format!("http://{authority}/mcp"), "--requirements", revision, "--output-dir"]);
        let path = std::env::var("PATH").unwrap_or_default();
        suite.arg(&results).env("PATH", format!("{}:{path}", programs.display())).env("HOME", root.path());
        let ended = tokio::task::block_in_place(|| services::run(suite.current_dir(root.path())));
        serving.abort();
        relaying.abort();
        pipeline.shut_down().await.expect("its end is on record");

        let said = String::from_utf8_lossy(&ended.stdout);
        let scenarios = std::fs::read_dir(&results).map_or(0, Iterator::count);
        assert!(scenarios >= 30, "{revision}: {scenarios} scenarios\n{said}");
        assert!(ended.status.success(), "{revision}: {}\n{:#?}", summary(&said), troubles(&results, |_| true));
        // What is not scored does not have to pass; what is said has to be the protocol's all the same.
        assert_eq!(troubles(&results, |id| id == "wire-schema-valid"), Vec::<String>::new(), "{revision}");
    }
}

fn terms(socket: &Path, authority: &str) -> HttpConfig {
    let port = authority.rsplit(':').next().expect("a port");
    let names = [authority.to_owned(), format!("localhost:{port}")];
    HttpConfig {
        address: Address::Unix(socket.to_owned()),
        url: None,
        hosts: names.to_vec(),
        origins: names.iter().map(|name| format!("http://{name}")).collect(),
        tls: None,
        oauth: None,
        admin: None,
        max_connections: 256,
        rate: 1000,
        idle: Duration::from_secs(60),
    }
}

async fn relay(listener: TcpListener, socket: std::path::PathBuf) {
    while let Ok((mut client, _)) = listener.accept().await {
        let socket = socket.clone();
        tokio::spawn(async move {
            let mut server = UnixStream::connect(socket).await.expect("it listens");
            let _ended = tokio::io::copy_bidirectional(&mut client, &mut server).await;
        });
    }
}

fn summary(said: &str) -> &str {
    said.split_once("=== SUMMARY ===").map_or(said, |(_, summary)| summary)
}

/// The checks of that kind that did not hold, each with what was wrong.
fn troubles(results: &Path, of: impl Fn(&str) -> bool) -> Vec<String> {
    let mut troubles = Vec::new();
    for scenario in std::fs::read_dir(results).expect("results").flatten() {
        let text = std::fs::read_to_string(scenario.path().join("checks.json")).expect("checks");
        let checks: Value = serde_json::from_str(&text).expect("JSON");
        for check in checks.as_array().into_iter().flatten() {
            let id = check["id"].as_str().unwrap_or_default();
            if of(id) && check["status"] == "FAILURE" {
                let scenario = scenario.file_name();
                let why: String = check["errorMessage"].to_string().chars().take(400).collect();
                troubles.push(format!("{} {id}: {why}", scenario.display()));
            }
        }
    }
    troubles
}
