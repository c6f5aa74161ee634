//! A server whose settings name targets, as an agent sees it.

#![expect(
    clippy::panic,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a fixture that cannot be set up fails its test"
)]

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::services::{Sshd, run};
use super::world::World;
use crate::serve::Server;

/// What an operator would write who lets an agent work at targets.
pub(crate) const POLICY: &str = r#"
@id("t-commands") @reason("for tests")
permit (principal, action == Action::"exec", resource)
when { [Origin::"remote", Origin::"builtin", Origin::"system"].contains(resource.origin) };
@id("t-files") @reason("for tests")
permit (principal, action in [Action::"fileAccess", Action::"execute"], resource)
when { resource in context.workspace || resource in PathGroup::"devices" };
@id("t-system") @reason("for tests")
permit (principal, action in [Action::"read", Action::"execute"], resource) when { !resource.unknown };
@id("t-tools") @reason("for tests") permit (principal, action == Action::"useTool", resource);
@id("t-variables") @reason("for tests") permit (principal, action == Action::"setEnv", resource);
@id("t-signals") @reason("for tests")
permit (principal, action == Action::"signal", resource) when { resource.session == context.session.id };
@id("t-input") @reason("for tests") permit (principal, action == Action::"sendInput", resource);
@id("t-sessions") @reason("for tests")
permit (principal, action == Action::"openSession", resource)
when { resource.transport == Transport::"ssh" && resource.keyVerified };
@id("t-containers") @reason("for tests")
permit (principal, action == Action::"openSession", resource)
when { resource.transport == Transport::"docker" && resource.imagePinned };
@id("t-no-secrets") @reason("secrets are secret") @suggest("ask a person")
forbid (principal, action in [Action::"fileAccess", Action::"execute"], resource in PathGroup::"secrets");
@id("t-no-privileged") @reason("a privileged container is the host") @suggest("use another one")
forbid (principal, action == Action::"openSession", resource)
when { resource.transport == Transport::"docker" && resource.privileged };
"#;

/// A server with these targets.
pub(crate) struct Site {
    // Ends before its world does.
    pub(crate) server: Server,
    pub(crate) world: World,
    calls: u64,
}

impl Site {
    /// With the policy for tests.
    pub(crate) fn new(targets: &str) -> Self {
        Self::with(targets, &[])
    }

    /// The same, and variables of the server's environment.
    pub(crate) fn with(targets: &str, environment: &[(&str, &str)]) -> Self {
        Self::made(targets, POLICY, environment)
    }

    /// With another policy.
    pub(crate) fn with_policy(targets: &str, policy: &str) -> Self {
        Self::made(targets, policy, &[])
    }

    fn made(targets: &str, policy: &str, environment: &[(&str, &str)]) -> Self {
        let world = World::new();
        fs::create_dir_all(world.path("site")).expect("a directory");
        let policies = world.write("site/site.cedar", policy);
        let settings = world.write("settings.toml", targets);
        let mut serve = world.palisade();
        serve.envs(environment.iter().copied());
        serve.args(["serve", "--config"]).arg(settings).arg("--policies").arg(policies);
        Self { server: Server::of(serve), world, calls: 0 }
    }

    /// With the settings and the policy that one before has left, and all that it kept.
    pub(crate) fn of(world: World) -> Self {
        let mut serve = world.palisade();
        serve.args(["serve", "--config"]).arg(world.path("settings.toml"));
        serve.arg("--policies").arg(world.path("site/site.cedar"));
        Self { server: Server::of(serve), world, calls: 0 }
    }

    /// One tool call: what is structured of its answer, and its text.
    pub(crate) fn call(&mut self, tool: &str, arguments: &Value) -> (Value, String) {
        self.calls += 1;
        self.server.call(self.calls, tool, arguments);
        let answer = loop {
            let answer = self.server.receive();
            if answer["id"] == self.calls {
                break answer;
            }
        };
        let result = &answer["result"];
        (result["structuredContent"].clone(), result["content"][0]["text"].as_str().unwrap_or_default().to_owned())
    }

    /// A session at a target.
    pub(crate) fn open(&mut self, target: &str) -> String {
        let (opened, text) = self.call("session_open", &json!({ "target": target }));
        opened["session"].as_str().unwrap_or_else(|| panic!("`{target}`: {text}")).to_owned()
    }

    /// Why no session can be opened.
    pub(crate) fn refused(&mut self, target: &str) -> String {
        let (opened, text) = self.call("session_open", &json!({ "target": target }));
        assert!(opened["session"].is_null(), "`{target}` was opened: {text}");
        text
    }

    /// One command.
    pub(crate) fn exec(&mut self, session: &str, command: &str) -> Value {
        self.exec_for(session, command, 30_000)
    }

    /// One command with a time limit.
    pub(crate) fn exec_for(&mut self, session: &str, command: &str, timeout_ms: u64) -> Value {
        let arguments = json!({ "session": session, "command": command, "timeout_ms": timeout_ms, "yield_ms": 60_000 });
        self.call("exec", &arguments).0
    }

    /// All that a job has printed, once it has ended.
    pub(crate) fn read_to_end(&mut self, job: &str) -> (Value, String) {
        let start = Instant::now();
        loop {
            let (read, text) = self.call("job_read", &json!({ "job": job, "wait_ms": 5_000 }));
            if read["status"] != "running" || start.elapsed() > Duration::from_secs(30) {
                return (read, text);
            }
        }
    }

    /// How the last session is reached, as the record has it.
    pub(crate) fn opened_on_record(&self) -> Value {
        let record = self.world.record();
        let opened = record.iter().rev().find(|line| line["kind"] == "open").expect("an open on record");
        opened["transport"].clone()
    }
}

/// A target over SSH that begins in the fixture's directory; `more` stands behind what every one says.
pub(crate) fn ssh_target(sshd: &Sshd, name: &str, more: &str) -> String {
    let (dir, port) = (sshd.variable("PALISADE_SSH_DIR"), sshd.variable("PALISADE_SSH_PORT_TARGET"));
    let user = sshd.variable("PALISADE_SSH_USER");
    let home = std::env::var("HOME").expect("a home");
    format!(
        "[targets.{name}]\nhome = \"{home}\"\nremote_guard = false\nworkspace = \"{dir}\"\n\
         ssh = {{ host = \"127.0.0.1\", port = {port}, user = \"{user}\", known-hosts = \"{dir}/known_hosts\", {more} }}\n"
    )
}

/// The setting for one of the fixture's keys.
pub(crate) fn with_key(sshd: &Sshd, key: &str) -> String {
    format!("identity = \"{}/{key}\"", sshd.variable("PALISADE_SSH_DIR"))
}

/// Whether a process with this argument runs on this machine.
pub(crate) fn runs(argument: &str) -> bool {
    let listed = run(Command::new("ps").args(["-eo", "args"]));
    String::from_utf8_lossy(&listed.stdout).lines().any(|line| line == format!("sleep {argument}"))
}

/// Waits until something is so.
pub(crate) fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A path without links.
pub(crate) fn real(path: &str) -> String {
    fs::canonicalize(path).expect("a real path").display().to_string()
}

/// What is empty is left out of a result.
pub(crate) fn is(result: &Value, key: &str, expected: &Value, command: &str) {
    let empty = if expected == "" { &Value::Null } else { expected };
    assert!(&result[key] == expected || &result[key] == empty, "`{command}`: `{key}` is not {expected}: {result}");
}
