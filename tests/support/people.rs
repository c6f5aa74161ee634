//! People and agents with user ids of their own, for tests that root runs: a client that serves an agent, and terminals beside it.

#![expect(clippy::panic, clippy::expect_used, reason = "a fixture that cannot be set up fails its test")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::services::skip;
use super::world::{Ended, World};
use crate::serve::Server;

/// The user that agents run as here; nobody's account.
pub(crate) const AGENT: u32 = 48_151;

/// Other people.
pub(crate) const CAROL: u32 = 48_152;
pub(crate) const DAVE: u32 = 48_153;

/// A world whose agent is a user of its own, and whose control sockets are for all.
pub(crate) struct Office {
    pub(crate) world: World,
    pub(crate) config: PathBuf,
}

impl Office {
    /// With these settings besides; none where this is not root, and the test should end here.
    pub(crate) fn new(settings: &str) -> Option<Self> {
        let status = fs::read_to_string("/proc/self/status").expect("a status");
        let uid = status.lines().find_map(|line| line.strip_prefix("Uid:")).expect("a user");
        if uid.split_whitespace().next() != Some("0") {
            return skip("root", "other users can be had by root alone");
        }
        let world = World::new();
        for directory in ["control", "outside", "etc"] {
            fs::create_dir_all(world.path(directory)).expect("a directory");
        }
        let control = world.path("control");
        let text = format!("{settings}\n[control]\npath = \"{}\"\n", control.display());
        let config = world.write("etc/palisade.toml", &text);
        let office = Self { world, config };
        office.give_to_the_agent();
        Some(office)
    }

    /// Everything but the settings is the agent's user's, and everybody gets there.
    pub(crate) fn give_to_the_agent(&self) {
        let root = self.world.path("");
        assert!(run("chmod", &["a+rX".as_ref(), root.as_os_str()]));
        for name in ["work", "home", "state", "control", "outside"] {
            let owner = format!("{AGENT}:{AGENT}");
            assert!(run("chown", &["-R".as_ref(), owner.as_ref(), self.world.path(name).as_os_str()]));
        }
        assert!(run("chmod", &["755".as_ref(), self.world.path("control").as_os_str()]));
    }

    /// A server that an agent's client has started: a shell of the agent's user, which also does what `agent` is told.
    pub(crate) fn serve(&self, arguments: &[&str]) -> Server {
        self.serve_to(&json!({}), arguments)
    }

    /// The same for a client that says it can do so much.
    pub(crate) fn serve_to(&self, capabilities: &Value, arguments: &[&str]) -> Server {
        Server::greeted(self.client(arguments), capabilities)
    }

    /// A server to which nothing has been said.
    pub(crate) fn serve_silent(&self) -> Server {
        Server::silent(self.client(&[]))
    }

    fn client(&self, arguments: &[&str]) -> Command {
        let orders = self.world.path("orders");
        if !orders.exists() {
            assert!(run("mkfifo", &["-m".as_ref(), "666".as_ref(), orders.as_os_str()]));
        }
        let script = "(while read -r line <&9; do eval \"$line\"; done) 9<>\"$0\" </dev/null >/dev/null 2>&1 & \
                      tools=$!; \"$@\"; status=$?; kill $tools; exit $status";
        let mut client = self.palisade_as(AGENT, &["bash", "-c", script]);
        client.arg(&orders).arg(env!("CARGO_BIN_EXE_palisade")).arg("serve").arg("--config").arg(&self.config);
        client.args(arguments);
        client
    }

    /// Runs something in the process tree of the agent's client, and waits for it.
    pub(crate) fn agent(&self, line: &str) -> Ended {
        let name = |what: &str| self.world.path("work").join(what);
        let (out, code) = (name("agent.out"), name("agent.code"));
        let _none = fs::remove_file(&code);
        let line = format!(
            "cd {}; ({line}) >{} 2>&1; echo $? >{}.new; mv {}.new {}\n",
            self.world.workspace().display(),
            out.display(),
            code.display(),
            code.display(),
            code.display()
        );
        let mut orders = fs::OpenOptions::new().write(true).open(self.world.path("orders")).expect("a pipe");
        orders.write_all(line.as_bytes()).expect("written");
        until("the agent's tool has ended", || code.exists());
        let stdout = fs::read_to_string(&out).expect("output");
        let code = fs::read_to_string(&code).expect("a code").trim().parse().ok();
        Ended { code, stderr: stdout.clone(), stdout }
    }

    /// `palisade` with these arguments, as this user, from beside the agent's client.
    pub(crate) fn person(&self, uid: u32, arguments: &[&str]) -> Ended {
        Ended::of(&mut self.persons(uid, arguments))
    }

    /// The same, not started yet.
    pub(crate) fn persons(&self, uid: u32, arguments: &[&str]) -> Command {
        let mut command = self.palisade_as(uid, &[env!("CARGO_BIN_EXE_palisade")]);
        command.args(arguments).arg("--config").arg(&self.config);
        command
    }

    /// The line that does the same in a shell.
    pub(crate) fn line(&self, arguments: &str) -> String {
        format!("{} {arguments} --config {}", env!("CARGO_BIN_EXE_palisade"), self.config.display())
    }

    /// A terminal of the agent's own user. One that is opened before the agent's client is older than it.
    pub(crate) fn terminal(&self) -> Terminal {
        let mut shell = self.palisade_as(AGENT, &["bash"]);
        let mut child = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a shell");
        let (stdin, stdout) = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
        let mut terminal = Terminal { child, stdin, lines: BufReader::new(stdout).lines() };
        // It is there before anything else begins.
        assert_eq!(terminal.run("true").code, Some(0));
        // The kernel tells when a process began in hundredths of a second, and who began in the same one counts as younger.
        std::thread::sleep(Duration::from_millis(20));
        terminal
    }

    /// The ids of what waits, as this user sees them.
    pub(crate) fn waiting(&self, uid: u32) -> Vec<Value> {
        let listed = self.person(uid, &["approvals", "list", "--json"]);
        assert_eq!(listed.code, Some(0), "{listed:?}");
        listed.json().as_array().expect("a list").clone()
    }

    fn palisade_as(&self, uid: u32, words: &[&str]) -> Command {
        let mut command = Command::new("setpriv");
        for (name, value) in self.world.palisade().get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.args([format!("--reuid={uid}"), format!("--regid={uid}")]).arg("--clear-groups").args(words);
        command.current_dir(self.world.workspace()).stdin(Stdio::null());
        command
    }
}

/// A shell that somebody types into.
pub(crate) struct Terminal {
    child: Child,
    stdin: ChildStdin,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Terminal {
    pub(crate) fn run(&mut self, line: &str) -> Ended {
        writeln!(self.stdin, "{{ {line}; }} 2>&1 </dev/null; echo \"<end $?>\"").expect("written");
        let mut stdout = String::new();
        for line in self.lines.by_ref() {
            let line = line.expect("a line");
            if let Some(code) = line.strip_prefix("<end ").and_then(|rest| rest.strip_suffix('>')) {
                return Ended { code: code.parse().ok(), stderr: stdout.clone(), stdout };
            }
            stdout.push_str(&line);
            stdout.push('\n');
        }
        panic!("the shell has ended: {stdout}");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _gone_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Waits for something that has to come.
pub(crate) fn until(what: &str, mut come: impl FnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !come() {
        assert!(begun.elapsed().as_secs() < 60, "it has not come to it that {what}");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

/// A tool call and its structured result.
pub(crate) fn call(server: &mut Server, tool: &str, arguments: &Value) -> Value {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    let id = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    server.call(id, tool, arguments);
    loop {
        let answer = server.receive();
        if answer["id"] == json!(id) {
            return answer["result"]["structuredContent"].clone();
        }
    }
}

fn run(program: &str, arguments: &[&std::ffi::OsStr]) -> bool {
    Command::new(program).args(arguments).status().is_ok_and(|status| status.success())
}

/// The only file of a directory.
pub(crate) fn only(directory: &Path) -> PathBuf {
    let entries: Vec<_> =
        fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path()).collect();
    assert_eq!(entries.len(), 1, "{entries:?}");
    entries.into_iter().next().expect("a file")
}
