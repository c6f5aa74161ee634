//! What the protocol's own suites say of the shipped server. What they ask of fixtures is asked of those, on the same HTTP stack, in
//! `mcp/tests/conformance/`.

use std::fs;
use std::io::{BufRead, BufReader, copy};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::spawn;

use serde_json::Value;

use crate::support::services::ai_clients;
use crate::support::world::{Ended, World, repository};

#[test]
fn the_shipped_server_passes_what_needs_no_fixture() {
    let Some(programs) = ai_clients() else { return };
    for revision in ["2025-11-25", "2026-07-28"] {
        let world = World::new();
        let site = Site::start(&world);
        let results = world.path("results");
        let expected = repository().join(format!("tests/conformance/expected-{revision}.yml"));
        let mut suite = Command::new(programs.join("conformance"));
        suite.args(["server", "--url", &site.url, "--requirements", revision, "--expected-failures"]).arg(expected);
        suite.arg("--output-dir").arg(&results).env("PATH", path(&programs)).env("HOME", world.path("home"));
        let ended = Ended::of(suite.current_dir(world.workspace()));
        assert_eq!(ended.code, Some(0), "{revision}: {}\n{}", ended.stdout, ended.stderr);
        let wires = wires(&results);
        assert!(wires.len() >= 25 && wires.iter().all(|(_, status)| status == "SUCCESS"), "{revision}: {wires:?}");
    }
}

#[test]
fn the_inspector_finds_nothing_in_the_tools() {
    let Some(programs) = ai_clients() else { return };
    for era in ["legacy", "modern"] {
        let world = World::new();
        let mut inspector = Command::new(programs.join("mcp-inspector"));
        inspector.arg("--cli").arg(env!("CARGO_BIN_EXE_palisade")).arg("serve");
        inspector.args(["--method", "tools/list", "--strict", "--protocol-era", era]);
        inspector
            .env("PATH", path(&programs))
            .env("HOME", world.path("home"))
            .env("XDG_STATE_HOME", world.path("state"));
        let ended = Ended::of(inspector.current_dir(world.workspace()).stdin(Stdio::null()));
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{era}: {ended:?}");
        assert_eq!(ended.json()["tools"].as_array().map(Vec::len), Some(10), "{era}");
    }
}

/// Longer than a call waits without one: the Inspector comes back for the end by itself.
#[test]
fn the_inspector_has_the_end_of_a_long_command_by_a_task() {
    let Some(programs) = ai_clients() else { return };
    let world = World::new();
    let mut inspector = Command::new(programs.join("mcp-inspector"));
    inspector.arg("--cli").arg(env!("CARGO_BIN_EXE_palisade")).arg("serve").args(["--protocol-era", "modern"]);
    inspector.args(["--method", "tools/call", "--tool-name", "exec", "--format", "json", "--tool-args-json"]);
    inspector.arg(r#"{"command":"echo begun; sleep 11; echo over"}"#);
    inspector.env("PATH", path(&programs)).env("HOME", world.path("home")).env("XDG_STATE_HOME", world.path("state"));
    let ended = Ended::of(inspector.current_dir(world.workspace()).stdin(Stdio::null()));
    let told = ended.json()["result"]["structuredContent"].clone();
    assert_eq!((&told["status"], &told["stdout"]), (&"done".into(), &"begun\nover\n".into()), "{ended:?}");
}

/// Each scenario with what its messages were judged to be by the protocol's schema.
fn wires(results: &Path) -> Vec<(String, String)> {
    let mut wires = Vec::new();
    for scenario in fs::read_dir(results).expect("results") {
        let scenario = scenario.expect("a scenario");
        let text = fs::read_to_string(scenario.path().join("checks.json")).expect("checks");
        let checks: Value = serde_json::from_str(&text).expect("JSON");
        for check in checks.as_array().into_iter().flatten().filter(|check| check["id"] == "wire-schema-valid") {
            let status = check["status"].as_str().unwrap_or_default().to_owned();
            wires.push((scenario.file_name().to_string_lossy().into_owned(), status));
        }
    }
    wires
}

/// The programs' own Node before the machine's.
fn path(programs: &Path) -> String {
    format!("{}:{}", programs.display(), std::env::var("PATH").unwrap_or_default())
}

/// A server at a socket that serves its own user, and a port of loopback that leads there: the suite speaks to a URL, and has no token.
struct Site {
    child: Child,
    url: String,
}

impl Site {
    fn start(world: &World) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let authority = listener.local_addr().expect("an address").to_string();
        let port = authority.rsplit(':').next().expect("a port");
        let settings = format!(
            "[serve]\nhosts = [\"{authority}\", \"localhost:{port}\"]\norigins = [\"http://{authority}\", \"http://localhost:{port}\"]\nrate = 1000\n"
        );
        let (file, socket) = (world.write("palisade.toml", &settings), world.path("mcp.sock"));
        let mut serve = world.palisade();
        serve.args(["serve", "--http", &format!("unix:{}", socket.display()), "--config"]).arg(file);
        let mut child = serve.stderr(Stdio::piped()).spawn().expect("it starts");
        let mut said = String::new();
        BufReader::new(child.stderr.take().expect("a pipe")).read_line(&mut said).expect("a line");
        assert!(said.starts_with("palisade serves "), "{said}");
        spawn(move || {
            for client in listener.incoming().flatten() {
                relay(client, socket.clone());
            }
        });
        Self { child, url: format!("http://{authority}/mcp") }
    }
}

/// Passes bytes on in both directions until either side has said all.
fn relay(client: TcpStream, socket: PathBuf) {
    spawn(move || {
        let Ok(server) = UnixStream::connect(socket) else { return };
        let (Ok(mut to), Ok(mut from)) = (server.try_clone(), client.try_clone()) else { return };
        let sent = spawn(move || {
            let _ended = copy(&mut from, &mut to);
            let _gone = to.shutdown(Shutdown::Write);
        });
        let (mut from, mut to) = (server, client);
        let _ended = copy(&mut from, &mut to);
        let _gone = to.shutdown(Shutdown::Both);
        let _sent = sent.join();
    });
}

impl Drop for Site {
    fn drop(&mut self) {
        let pid = self.child.id().to_string();
        let _sent = Command::new("kill").args(["-TERM", &pid]).status();
        let _reaped = self.child.wait();
    }
}
