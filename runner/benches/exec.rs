//! What running a command costs, beside a raw bash on pipes: `cargo bench -p palisade-runner --bench exec`.

#![expect(clippy::expect_used, clippy::panic, reason = "a bench that cannot be set up has no figures")]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use divan::Bencher;
use palisade_engine::{AbsolutePath, Auth, Bundle, Engine, Principal, Vocabulary};
use palisade_runner::audit::{self, Sync};
use palisade_runner::environment::{Places, child_environment};
use palisade_runner::facts::{self, Surroundings};
use palisade_runner::redact::Redactor;
use palisade_runner::sandbox::plan::{Level, Limits};
use palisade_runner::{Budget, Call, Client, Outcome, Pipeline, Policies, Settings};
use tempfile::TempDir;
use tokio::runtime::Runtime;

fn main() {
    divan::main();
}

/// A bash that reads commands from a pipe and answers each with a line: the floor.
struct RawBash {
    child: Child,
    answers: BufReader<ChildStdout>,
}

impl RawBash {
    fn start() -> Self {
        let mut bash = Command::new("bash");
        bash.args(["--norc", "--noprofile"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = bash.spawn().expect("bash");
        let answers = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, answers }
    }

    fn run(&mut self, command: &str) {
        let stdin = self.child.stdin.as_mut().expect("a pipe");
        writeln!(stdin, "{command}; echo done").and_then(|()| stdin.flush()).expect("written");
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
struct Bench {
    runtime: Runtime,
    pipeline: Arc<Pipeline>,
    _root: TempDir,
}

impl Bench {
    fn start(sync: Sync) -> Self {
        let root = tempfile::tempdir().expect("a directory");
        let workspace = facts::real_directory(root.path()).expect("a real path").child("work").expect("a name");
        std::fs::create_dir(workspace.as_str()).expect("a directory");
        let home = AbsolutePath::new("/nonexistent").expect("absolute");
        let (file, text) = palisade_policies::GROUPS;
        let vocabulary = Vocabulary::parse(file, text, &home).expect("the shipped groups");
        let places = Places { home: home.as_str().into(), workspace: workspace.as_str().into() };
        let environment = child_environment(std::env::vars_os(), &[], &places).expect("an environment");
        let settings = Settings {
            engine: Policies::new(Engine::new(Bundle::profile("developer").expect("the shipped profile"), vocabulary)),
            surroundings: Surroundings {
                principal: Principal {
                    agent: "bench".to_owned(),
                    user: "bench".to_owned(),
                    roles: BTreeSet::from(["developer".to_owned()]),
                    verified: true,
                    auth: Auth::OsUser,
                    scopes: BTreeSet::new(),
                    client: String::new(),
                },
                workspace: workspace.clone(),
                home,
                trusted: Vec::new(),
                writable: Vec::new(),
                search: facts::search_path(&environment),
            },
            cwd: workspace,
            environment,
            accept: Default::default(),
            level: Level::Default,
            limits: Limits::default(),
            timeout: Duration::from_secs(60),
            budget: Budget { max_chars: 20_000, keep_bytes: 256 << 10 },
            max_sessions: 2048,
            idle: Duration::from_secs(1800),
            lifetime: None,
            verb: "bench",
            audit: audit::Settings { directory: root.path().join("audit"), sync },
            redactor: Redactor::builtin().expect("the shipped rules"),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
        let pipeline = Pipeline::open(settings).expect("a pipeline");
        Self { runtime, pipeline, _root: root }
    }

    fn open(&self) -> String {
        let opened = self.runtime.block_on(self.pipeline.open_session(None, &Client::default())).expect("a session");
        opened.session.to_string()
    }

    fn run(&self, command: &str, session: Option<&str>) {
        let call = Call { script: command.into(), session: session.map(str::to_owned), ..Call::default() };
        match self.runtime.block_on(self.pipeline.submit(call)).expect("an outcome") {
            Outcome::Ran(result) => assert_eq!(result.exit_code, Some(0)),
            other => panic!("{command} did not run: {other:?}"),
        }
    }
}

#[divan::bench(args = [":", "/bin/true"])]
fn raw_bash_pipe(bencher: Bencher<'_, '_>, command: &str) {
    let mut bash = RawBash::start();
    bencher.bench_local(|| bash.run(command));
}

#[divan::bench(args = [":", "/bin/true"])]
fn palisade_session(bencher: Bencher<'_, '_>, command: &str) {
    let bench = Bench::start(Sync::None);
    let session = bench.open();
    bencher.bench_local(|| bench.run(command, Some(&session)));
}

#[divan::bench(args = [":"])]
fn palisade_session_durable(bencher: Bencher<'_, '_>, command: &str) {
    let bench = Bench::start(Sync::Group);
    let session = bench.open();
    bencher.bench_local(|| bench.run(command, Some(&session)));
}

#[divan::bench]
fn raw_bash_spawn(bencher: Bencher<'_, '_>) {
    bencher.bench_local(|| {
        let status = Command::new("bash").args(["--norc", "--noprofile", "-c", ":"]).status();
        assert!(status.is_ok_and(|status| status.success()));
    });
}

#[divan::bench(sample_count = 50)]
fn palisade_fresh(bencher: Bencher<'_, '_>) {
    let bench = Bench::start(Sync::None);
    bencher.bench_local(|| bench.run(":", None));
}
