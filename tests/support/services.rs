//! Real servers for tests, one throwaway copy each, stopped when the test lets go of them.
//!
//! What is missing on this machine is never passed over in silence. `PALISADE_REQUIRE` says which services must be
//! there: `all`, or names from [`SERVICES`] with commas between. A missing one that is required fails the test; else
//! the test ends early and a `SKIPPED` line says so. With `none`, no service is started at all. A service that is
//! there but does not come up fails the test in any case.

#![expect(clippy::panic, reason = "a fixture that cannot be set up fails its test")]

use std::collections::BTreeMap;
use std::io::{Write, stderr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Throwaway OpenSSH servers on loopback.
pub(crate) struct Sshd {
    fixture: Fixture,
}

impl Sshd {
    /// Starts the target and the servers of `roles` (see `sshd.sh`), apart from those of every other test.
    /// `None`: not on this machine, and the test should end here.
    pub(crate) fn up(roles: &[&str]) -> Option<Self> {
        Some(Self { fixture: Fixture::up("sshd", "sshd.sh", roles)? })
    }

    /// Runs one of the script's other verbs: `mitm`, `heal`, `drop`, `freeze`, `thaw`.
    pub(crate) fn apply(&self, verb: &str) {
        self.fixture.run(verb, &[]);
    }

    /// OpenSSH's own client, set up for these servers; the caller adds a host name (`target`, `far`, …) and a command.
    pub(crate) fn client(&self) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.arg("-F").arg(self.fixture.dir().join("ssh_config")).stdin(Stdio::null());
        ssh
    }

    /// A line of the script's `env` file.
    pub(crate) fn variable(&self, name: &str) -> &str {
        self.fixture.variable(name)
    }
}

/// A container engine with a small image, shared by all tests that run at the same time: it takes seconds to start.
pub(crate) struct Docker {
    fixture: Fixture,
}

impl Docker {
    /// The engine that tests are using right now, else a new one; it stops with the last test that uses it.
    /// `None`: not on this machine, and the test should end here.
    pub(crate) fn up() -> Option<Arc<Self>> {
        static SHARED: Mutex<Weak<Docker>> = Mutex::new(Weak::new());
        // A test that failed while it held the lock has left nothing half done behind: the engine is up or it is not.
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(engine) = shared.upgrade() {
            return Some(engine);
        }
        let engine = Arc::new(Self { fixture: Fixture::up("docker", "docker.sh", &[])? });
        *shared = Arc::downgrade(&engine);
        Some(engine)
    }

    /// The same of podman, for this test alone.
    pub(crate) fn podman() -> Option<Arc<Self>> {
        Some(Arc::new(Self { fixture: Fixture::up("podman", "docker.sh", &[])? }))
    }

    /// Starts a container that sleeps and has no network. `name` must be the test's own; the engine sees it with the
    /// process id behind it, since somebody else may run the same tests on the same engine.
    pub(crate) fn container(self: &Arc<Self>, name: &str) -> Container {
        self.container_with(name, &[])
    }

    /// The same with files of this machine's in it, each as `PATH:PATH IN THE CONTAINER:ro`, or memory, as `tmpfs:PATH:OPTIONS`.
    pub(crate) fn container_with(self: &Arc<Self>, name: &str, binds: &[String]) -> Container {
        let name = format!("{name}-{}", std::process::id());
        let arguments: Vec<&str> = std::iter::once(name.as_str()).chain(binds.iter().map(String::as_str)).collect();
        self.fixture.run("run", &arguments);
        Container { engine: Arc::clone(self), name }
    }

    /// Makes `palisade-bare:latest`, an image with bash and no C library.
    pub(crate) fn make_bare_image(&self) {
        self.fixture.run("bare", &[]);
    }

    /// The engine's socket.
    pub(crate) fn socket(&self) -> &str {
        let host = self.fixture.variable("DOCKER_HOST");
        host.strip_prefix("unix://").unwrap_or_else(|| panic!("`{host}` is not a unix socket"))
    }

    /// Sends one request to the engine's own API and returns the body of the answer.
    pub(crate) fn request(&self, method: &str, path: &str, body: &str) -> String {
        let socket = self.socket();
        let mut curl = Command::new("curl");
        curl.args(["--fail-with-body", "--silent", "--show-error", "--max-time", "300", "--unix-socket", socket]);
        curl.args(["--request", method, "--header", "Content-Type: application/json", "--data-binary", body]);
        stdout_of(curl.arg(format!("http://engine{path}")))
    }

    /// What bash prints in any container that runs a script as this user, `UID:GID`; at a terminal, as the engine would else frame it.
    pub(crate) fn bash_in(&self, container: &str, user: &str, script: &str) -> String {
        let create =
            serde_json::json!({ "Cmd": ["bash", "-c", script], "User": user, "AttachStdout": true, "Tty": true });
        let path = format!("/containers/{container}/exec");
        let made: serde_json::Value =
            serde_json::from_str(&self.request("POST", &path, &create.to_string())).unwrap_or_default();
        let id = made.get("Id").and_then(serde_json::Value::as_str).unwrap_or_default();
        self.request("POST", &format!("/exec/{id}/start"), r#"{"Detach": false, "Tty": true}"#)
    }
}

/// A running container, removed when the test lets go of it.
pub(crate) struct Container {
    engine: Arc<Docker>,
    name: String,
}

impl Container {
    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// As [`Docker::bash_in`].
    pub(crate) fn bash(&self, user: &str, script: &str) -> String {
        self.engine.bash_in(&self.name, user, script)
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        self.engine.fixture.let_go("rm", &[&self.name]);
    }
}

/// A Python interpreter that has the reference MCP client, as `tests/run` sets it up.
/// `None`: not on this machine, and the test should end here.
pub(crate) fn mcp_client_python() -> Option<PathBuf> {
    if demand("mcp-client") == Demand::Never {
        return skip("mcp-client", "switched off");
    }
    let python = std::env::var_os("PALISADE_TEST_PYTHON").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target/test-venv/bin/python")),
        PathBuf::from,
    );
    if python.exists() { Some(python) } else { skip("mcp-client", &format!("no {}", python.display())) }
}

/// A directory with AI clients and what judges MCP servers, as `tests/run` sets it up; it has a Node of its own.
/// `None`: not on this machine, and the test should end here.
pub(crate) fn ai_clients() -> Option<PathBuf> {
    if demand("clients") == Demand::Never {
        return skip("clients", "switched off");
    }
    let programs = std::env::var_os("PALISADE_TEST_CLIENTS")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target/test-clients/bin")), PathBuf::from);
    if programs.exists() { Some(programs) } else { skip("clients", &format!("no {}", programs.display())) }
}

/// The directory of the projects that `tests/day/fetch` fetched. `None`: they are not there, and the test should end here.
pub(crate) fn day_projects() -> Option<PathBuf> {
    if demand("day") == Demand::Never {
        return skip("day", "switched off");
    }
    let fetched = std::env::var_os("PALISADE_TEST_DAY")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target/test-day")), PathBuf::from);
    if fetched.join("projects").exists() {
        Some(fetched)
    } else {
        skip("day", &format!("no {}: run `tests/day/fetch {0}`", fetched.display()))
    }
}

/// Whether this machine has a program that a test uses, by its service's name. If not, the test should end here.
pub(crate) fn has_program(name: &str) -> Option<()> {
    if demand(name) == Demand::Never {
        return skip(name, "switched off");
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(|directory| directory.join(name).is_file()) {
        Some(())
    } else {
        skip(name, "not installed")
    }
}

/// Runs `command` and returns its standard output; fails the test if it fails.
pub(crate) fn stdout_of(command: &mut Command) -> String {
    let output = run(command);
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, both(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs `command` to its end, whatever that is.
pub(crate) fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// One of the scripts here, with a directory of its own, from `up` to `down`.
struct Fixture {
    service: String,
    script: PathBuf,
    dir: tempfile::TempDir,
    variables: BTreeMap<String, String>,
}

impl Fixture {
    /// The exit status by which a script says that this machine lacks what it needs.
    const MISSING: i32 = 3;

    fn up(service: &str, script: &str, arguments: &[&str]) -> Option<Self> {
        if demand(service) == Demand::Never {
            return skip(service, "switched off");
        }
        // `tests/run` clears up after a test process that was killed: it finds the directory by this name.
        let dir = tempfile::Builder::new()
            .prefix(&format!("palisade-{service}-{}-", std::process::id()))
            .tempdir()
            .unwrap_or_else(|error| panic!("no directory for {service}: {error}"));
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support").join(script);
        let mut fixture = Self { service: service.to_owned(), script, dir, variables: BTreeMap::new() };
        let output = run(&mut fixture.command("up", arguments));
        if output.status.code() == Some(Self::MISSING) {
            return skip(service, both(&output).trim());
        }
        assert!(output.status.success(), "{service} did not come up:\n{}", both(&output));
        let printed = String::from_utf8_lossy(&output.stdout);
        let pairs = printed.lines().filter_map(|line| line.split_once('='));
        fixture.variables = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Some(fixture)
    }

    fn run(&self, verb: &str, arguments: &[&str]) {
        stdout_of(&mut self.command(verb, arguments));
    }

    /// For destructors: a failure is told but does not panic, which would abort a test that is failing already.
    fn let_go(&self, verb: &str, arguments: &[&str]) {
        let complaint = match self.command(verb, arguments).output() {
            Ok(output) if output.status.success() => return,
            Ok(output) => both(&output),
            Err(error) => error.to_string(),
        };
        announce(&format!("{} {verb}: {complaint}", self.script.display()));
    }

    fn command(&self, verb: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.script);
        command.arg(verb).arg(self.dir()).args(arguments).stdin(Stdio::null());
        match self.service.as_str() {
            "podman" => {
                command.env("PALISADE_ENGINE", "podman");
            }
            // Each test is a process of its own under nextest: `tests/run` has started one engine for all of them.
            "docker" => {
                command.envs(std::env::var_os("PALISADE_TEST_DOCKER").map(|host| ("DOCKER_HOST", host)));
            }
            _ => {}
        }
        command
    }

    fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn variable(&self, name: &str) -> &str {
        self.variables.get(name).unwrap_or_else(|| panic!("{} set no {name}", self.script.display()))
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.let_go("down", &[]);
    }
}

/// The names that `PALISADE_REQUIRE` may hold.
// The last is the grammar's own.
const SERVICES: [&str; 11] =
    ["root", "overlay", "sshd", "docker", "podman", "mcp-client", "clients", "tmux", "chromium", "day", "soundness"];

/// What the environment asks of one service.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Demand {
    /// Its absence fails the test.
    Required,
    /// Used if it is there.
    Welcome,
    /// Not started.
    Never,
}

fn demand(service: &str) -> Demand {
    let value = match std::env::var("PALISADE_REQUIRE") {
        Ok(value) => value,
        Err(std::env::VarError::NotPresent) => String::new(),
        Err(error) => panic!("PALISADE_REQUIRE: {error}"),
    };
    match value.as_str() {
        "" => Demand::Welcome,
        "all" => Demand::Required,
        "none" => Demand::Never,
        names => {
            // A name with a slip of the pen in it would require nothing.
            let unknown = names.split(',').find(|name| !SERVICES.contains(name));
            assert!(unknown.is_none(), "PALISADE_REQUIRE: `{names}`: the services are {SERVICES:?}");
            if names.split(',').any(|name| name == service) { Demand::Required } else { Demand::Welcome }
        }
    }
}

/// Ends a test early, or fails it where the service is required.
pub(crate) fn skip<T>(service: &str, why: &str) -> Option<T> {
    assert!(demand(service) != Demand::Required, "PALISADE_REQUIRE asks for {service}: {why}");
    let thread = std::thread::current();
    announce(&format!("SKIPPED [{service}] {}: {why}", thread.name().unwrap_or("a test")));
    None
}

/// Ends a test early for want of something that nobody can install: what this machine's kernel, or whoever has set it up, does not offer.
pub(crate) fn lacks<T>(what: &str, why: &str) -> Option<T> {
    let thread = std::thread::current();
    announce(&format!("SKIPPED [{what}] {}: {why}", thread.name().unwrap_or("a test")));
    None
}

/// Writes past the test harness, which shows `eprintln!` only of tests that fail.
fn announce(line: &str) {
    // Nothing is left to tell this to if standard error is closed.
    let _ = writeln!(stderr(), "{line}");
}

fn both(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
