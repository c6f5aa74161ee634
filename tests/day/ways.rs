//! The three ways of running a workflow: plain bash, `run`, and one MCP session.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};
use std::time::Instant;

use serde_json::{Value, json};

use super::account::{Account, Desk};
use super::report::Row;
use super::steps::Ending;
use super::table::{Step, Workflow};
use crate::serve::Server;
use crate::support::world::Ended;

/// Runs one workflow every way, each in a workspace of its own.
pub(super) fn all(workflow: &Workflow, account: &Account, fetched: &Path) -> Vec<Row> {
    let desk = || Desk::new(workflow, account, fetched);
    let mut rows = Vec::new();
    if account.is_own() {
        rows = self::rows("bare", workflow, account, &mut Bare::new(desk(), workflow.session));
    }
    if rows.iter().any(|row| !row.ending.is_ok()) {
        // Nothing can be told of a workflow that is broken.
        return rows;
    }
    if !workflow.session {
        rows.extend(self::rows("run", workflow, account, &mut Run { desk: desk() }));
    }
    rows.extend(self::rows("mcp", workflow, account, &mut Session::new(desk(), workflow.session)));
    rows
}

/// One way.
trait Way {
    /// Runs one step. `None`: there is nothing to be seen of it this way.
    fn step(&mut self, step: &Step) -> Option<Ending>;

    /// Does in plain bash what a step did not get done, so that the next one is judged by itself.
    fn mend(&mut self, step: &Step);
}

fn rows(name: &'static str, workflow: &Workflow, account: &Account, way: &mut dyn Way) -> Vec<Row> {
    let mut rows = Vec::new();
    for (index, step) in workflow.steps.iter().enumerate() {
        let begun = Instant::now();
        let Some(ending) = way.step(step) else { continue };
        let took = begun.elapsed();
        if !ending.is_ok() && step.is_bare() && name != "bare" {
            way.mend(step);
        }
        rows.push(Row {
            workflow: workflow.name.clone(),
            way: name,
            user: account.name(),
            step: index + 1,
            command: step.run.clone(),
            left: step.left.is_some(),
            ending,
            took,
        });
    }
    rows
}

/// The step with this desk's paths in what it has to print.
fn filled(desk: &Desk, step: &Step) -> Step {
    Step {
        run: desk.filled(&step.run),
        prints: step.prints.iter().map(|text| desk.filled(text)).collect(),
        left: step.left.clone(),
        ..*step
    }
}

fn bash(desk: &Desk, script: &str) -> Ended {
    // No step may hold up the suite; this is far more than any needs.
    let words = ["timeout", "--kill-after=5", "300", "bash", "-c", script].map(OsStr::new);
    Ended::of(desk.bare(&words).stdin(Stdio::null()))
}

/// Plain bash: a new one for each step, or one for all.
struct Bare {
    desk: Desk,
    shell: Option<(Child, BufReader<ChildStdout>)>,
}

impl Bare {
    fn new(desk: Desk, one: bool) -> Self {
        let shell = one.then(|| {
            let mut bash = desk.bare(&["bash", "-c", "exec bash 2>&1"].map(OsStr::new));
            let mut child = bash.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("bash starts");
            let output = BufReader::new(child.stdout.take().expect("a pipe"));
            (child, output)
        });
        Self { desk, shell }
    }
}

impl Way for Bare {
    fn step(&mut self, step: &Step) -> Option<Ending> {
        if !step.is_bare() {
            return None;
        }
        let step = filled(&self.desk, step);
        let Some((child, lines)) = &mut self.shell else {
            let ended = bash(&self.desk, &step.run);
            return Some(Ending::of_bare(&step, ended.code, &format!("{}{}", ended.stdout, ended.stderr)));
        };
        let stdin = child.stdin.as_mut().expect("a pipe");
        writeln!(stdin, "{{ {}\n}} </dev/null\necho \"<end $?>\"", step.run).expect("written");
        let mut output = String::new();
        loop {
            let mut line = String::new();
            if lines.read_line(&mut line).expect("text") == 0 {
                return Some(Ending::of_bare(&step, None, &output));
            }
            if let Some((before, code)) = line.trim_end().split_once("<end ") {
                output.push_str(before);
                let code = code.trim_end_matches('>').parse().ok();
                return Some(Ending::of_bare(&step, code, &output));
            }
            output.push_str(&line);
        }
    }

    fn mend(&mut self, _step: &Step) {}
}

impl Drop for Bare {
    fn drop(&mut self) {
        if let Some((child, _)) = &mut self.shell {
            let _gone_already = child.kill();
            let _reaped = child.wait();
        }
    }
}

/// `palisade run`, one call a step. `palisade check` is asked about each before.
struct Run {
    desk: Desk,
}

impl Way for Run {
    fn step(&mut self, step: &Step) -> Option<Ending> {
        let step = filled(&self.desk, step);
        let call = |words: &[&str]| {
            let words: Vec<&OsStr> = [env!("CARGO_BIN_EXE_palisade")].iter().chain(words).map(OsStr::new).collect();
            Ended::of(self.desk.as_user(&words).stdin(Stdio::null()))
        };
        let told = call(&["check", &step.run]);
        let ended = call(&["run", "--json", &step.run]);
        let result = serde_json::from_str(&ended.stdout)
            .unwrap_or_else(|_| json!({ "status": "error", "stderr": ended.stderr, "exit_code": ended.code }));
        Some(Ending::disagreement(told.code, &result).unwrap_or_else(|| Ending::of(&step, &result)))
    }

    fn mend(&mut self, step: &Step) {
        bash(&self.desk, &filled(&self.desk, step).run);
    }
}

/// `palisade serve` over standard input and output, with one session for all steps.
struct Session {
    server: Server,
    session: String,
    calls: u64,
    cwd: String,
    /// Whether a step begins where the one before it has ended.
    stays: bool,
    desk: Desk,
}

impl Session {
    fn new(desk: Desk, stays: bool) -> Self {
        let serve = desk.as_user(&[env!("CARGO_BIN_EXE_palisade"), "serve"].map(OsStr::new));
        let server = Server::greeted(serve, &json!({}));
        let mut session = Self { server, session: String::new(), calls: 0, cwd: String::new(), stays, desk };
        session.open();
        session
    }

    fn open(&mut self) {
        let opened = self.call("session_open", &json!({}));
        self.session = opened["session"].as_str().unwrap_or_else(|| panic!("no session: {opened}")).to_owned();
        self.cwd = self.desk.workspace().display().to_string();
    }

    fn call(&mut self, tool: &str, arguments: &Value) -> Value {
        self.calls += 1;
        self.server.call(self.calls, tool, arguments);
        loop {
            let answer = self.server.receive();
            if answer["id"] == self.calls {
                return match &answer["result"]["structuredContent"] {
                    Value::Null => json!({ "status": "error", "stderr": answer.to_string() }),
                    result => result.clone(),
                };
            }
        }
    }

    /// The result of a command, waited for if it takes long.
    fn exec(&mut self, command: &str) -> Value {
        let mut result = self.call("exec", &json!({ "command": command, "session": self.session }));
        let (mut stdout, mut stderr) = (String::new(), String::new());
        loop {
            stdout.push_str(result["stdout"].as_str().unwrap_or_default());
            stderr.push_str(result["stderr"].as_str().unwrap_or_default());
            if result["status"] != "running" {
                result["stdout"] = json!(stdout);
                result["stderr"] = json!(stderr);
                return result;
            }
            let job = result["job"].clone();
            result = self.call("job_read", &json!({ "job": job, "cursor": result["cursor"], "wait_ms": 20_000 }));
            result["job"] = job;
        }
    }
}

impl Way for Session {
    fn step(&mut self, step: &Step) -> Option<Ending> {
        let step = filled(&self.desk, step);
        let work = self.desk.workspace().display().to_string();
        if !self.stays && self.cwd != work {
            // A step that went elsewhere leaves the session there; an agent goes back as well.
            self.exec(&format!("cd {work}"));
        }
        let result = self.exec(&step.run);
        match result["cwd"].as_str() {
            Some(cwd) => self.cwd = cwd.to_owned(),
            None if matches!(result["status"].as_str(), Some("session_lost" | "error")) => self.open(),
            None => {}
        }
        Some(Ending::of(&step, &result))
    }

    fn mend(&mut self, step: &Step) {
        bash(&self.desk, &filled(&self.desk, step).run);
    }
}
