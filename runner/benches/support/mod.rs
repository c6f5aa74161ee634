//! What the benches of sessions run: a raw bash, and the whole flow over a workspace of its own.

#[path = "../../tests/support/settings.rs"]
mod settings;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;

use palisade_audit::Sync;
use palisade_engine::Bundle;
use palisade_runner::{Call, Client, Outcome, Pipeline, Settings};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// A bash that reads commands from a pipe and answers each with a line: the floor.
pub(crate) struct RawBash {
    child: Child,
    answers: BufReader<ChildStdout>,
}

impl RawBash {
    pub(crate) fn start() -> Self {
        let mut bash = Command::new("bash");
        bash.args(["--norc", "--noprofile"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = bash.spawn().expect("bash");
        let answers = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, answers }
    }

    pub(crate) fn run(&mut self, command: &str) {
        let stdin = self.child.stdin.as_mut().expect("a pipe");
        writeln!(stdin, "{command} >/dev/null; echo done").and_then(|()| stdin.flush()).expect("written");
        self.answers.read_line(&mut String::new()).expect("an answer");
    }
}

impl Drop for RawBash {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// The whole flow: judged, recorded without waiting for the disk, run under the sandbox, redacted.
pub(crate) struct Bench {
    pub(crate) runtime: Runtime,
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) root: TempDir,
}

impl Bench {
    pub(crate) fn start(sync: Sync) -> Self {
        let root = tempfile::tempdir().expect("a directory");
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
        let pipeline = Pipeline::open(settings(root.path(), sync)).expect("a pipeline");
        Self { runtime, pipeline, root }
    }

    pub(crate) fn open(&self) -> String {
        let workspace = self.root.path().join("work");
        let client = Client::default();
        let opening = self.pipeline.sessions().open(workspace.to_str(), &client);
        let opened = self.runtime.block_on(opening).expect("a session");
        opened.session.to_string()
    }

    pub(crate) fn run(&self, command: &str, session: Option<&str>) {
        let call = Call { script: command.into(), session: session.map(str::to_owned), ..Call::default() };
        match self.runtime.block_on(self.pipeline.submit(call)).expect("an outcome") {
            Outcome::Ran(result) => assert_eq!(result.exit_code, Some(0)),
            other => panic!("{command} did not run: {other:?}"),
        }
    }
}

/// What an operator would set, for a workspace in this directory.
pub(crate) fn settings(root: &Path, sync: Sync) -> Settings {
    let bundle = Bundle::profile("developer").expect("the shipped profile");
    Settings { max_sessions: 2048, ..settings::settings(root, "bench", bundle, sync) }
}
