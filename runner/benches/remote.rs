//! What a command costs at a target, beside OpenSSH's client over a connection that is shared and beside a raw exec of the engine:
//! `cargo bench -p palisade-runner --bench remote`. The servers are those of the whole-program tests; what is not on this machine has no
//! figures.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench that cannot be set up has no figures"
)]

#[path = "support/memory.rs"]
mod memory;
#[path = "../tests/support/settings.rs"]
mod settings;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use divan::Bencher;
use divan::counter::BytesCount;
use palisade_audit::Sync;
use palisade_engine::{AbsolutePath, Bundle, Source};
use palisade_runner::target::{ContainerSource, DockerTarget, Identity, Place, SshTarget, Target};
use palisade_runner::{Call, Checked, Client, Outcome, Pipeline, Reading, Settings, Status};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// All that is asked at a target.
const POLICY: &str = "@id(\"all\") @reason(\"a bench\") permit (principal, action, resource);";

/// A container of the bench's own.
const CONTAINER: &str = "palisade-bench";

fn main() {
    divan::main();
}

/// Bytes of output: few where a bench is only tried.
fn flood() -> u64 {
    if std::env::args().any(|argument| argument == "--bench") { 500_000_000 } else { 1_000_000 }
}

/// One of the tests' servers, from `up` to `down`.
struct Fixture {
    script: PathBuf,
    dir: TempDir,
    variables: BTreeMap<String, String>,
}

impl Fixture {
    /// None if this machine has no such server.
    fn up(script: &str) -> Option<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/support").join(script);
        let dir = tempfile::tempdir().expect("a directory");
        let output = Command::new(&script).arg("up").arg(dir.path()).output().expect("the script runs");
        if output.status.code() == Some(3) {
            println!("not on this machine: {}", String::from_utf8_lossy(&output.stderr).trim());
            return None;
        }
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let pairs = printed.lines().filter_map(|line| line.split_once('='));
        let variables = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Some(Self { script, dir, variables })
    }

    fn apply(&self, verb: &str, arguments: &[&str]) {
        let mut command = Command::new(&self.script);
        let status = command.arg(verb).arg(self.dir.path()).args(arguments).stdout(Stdio::null()).status();
        assert!(status.is_ok_and(|status| status.success()), "{verb}");
    }

    fn variable(&self, name: &str) -> &str {
        self.variables.get(name).map(String::as_str).unwrap_or_else(|| panic!("no {name}"))
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.apply("down", &[]);
    }
}

/// A session at a target, judged, recorded without waiting for the disk, and redacted.
struct Remote {
    runtime: Runtime,
    pipeline: Arc<Pipeline>,
    session: String,
    _root: TempDir,
    fixture: Fixture,
}

impl Remote {
    fn ssh() -> Option<Self> {
        Self::ssh_with(64)
    }

    fn ssh_with(max_sessions: usize) -> Option<Self> {
        let fixture = Fixture::up("sshd.sh")?;
        let dir = fixture.dir.path().to_owned();
        let target = SshTarget {
            host: "127.0.0.1".to_owned(),
            port: fixture.variable("PALISADE_SSH_PORT_TARGET").parse().expect("a port"),
            user: fixture.variable("PALISADE_SSH_USER").to_owned(),
            known_hosts: vec![dir.join("known_hosts")],
            identities: vec![Identity { file: dir.join("key_ed25519"), certificate: None, if_there: false }],
            timeout: Duration::from_secs(10),
            keepalive: Duration::from_secs(60),
            ..SshTarget::default()
        };
        let home = std::env::var("HOME").expect("a home");
        Some(Self::at(fixture, Place::Ssh(Box::new(target)), &home, max_sessions))
    }

    fn docker() -> Option<Self> {
        Self::docker_with(64)
    }

    fn docker_with(max_sessions: usize) -> Option<Self> {
        let fixture = Fixture::up("docker.sh")?;
        fixture.apply("run", &[CONTAINER]);
        let socket = fixture.variable("DOCKER_HOST").strip_prefix("unix://").expect("a socket").into();
        let source = ContainerSource::Container(CONTAINER.to_owned());
        let target = DockerTarget { source, user: String::new(), socket, memory: 1 << 30, processes: 512, guard: None };
        Some(Self::at(fixture, Place::Docker(target), "/root", max_sessions))
    }

    fn at(fixture: Fixture, place: Place, home: &str, max_sessions: usize) -> Self {
        let root = tempfile::tempdir().expect("a directory");
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
        let source = Source { name: "bench.cedar".to_owned(), text: POLICY.to_owned() };
        let bundle = Bundle::load(vec![source]).expect("the policy");
        let (workspace, home) = (AbsolutePath::new("/tmp"), AbsolutePath::new(home).expect("a path"));
        let state = home.clone();
        let target = Target { name: "bench".to_owned(), place, workspace, home, state, guard: None };
        let targets = BTreeMap::from([("bench".to_owned(), target)]);
        let settings = settings::settings(root.path(), "bench", bundle, Sync::None);
        let pipeline = Pipeline::open(Settings { targets, max_sessions, ..settings }).expect("a pipeline");
        let session = runtime.block_on(open(&pipeline));
        Self { runtime, pipeline, session, _root: root, fixture }
    }

    fn run(&self, command: &str) {
        self.runtime.block_on(run(&self.pipeline, &self.session, command));
    }

    /// Opens so many sessions at once and runs a command in each; what that takes here is printed.
    fn crowd(&self, count: usize) {
        let (before, begun) = (memory::memory("RssAnon:"), Instant::now());
        let opening = || {
            let pipeline = Arc::clone(&self.pipeline);
            async move { open(&pipeline).await }
        };
        let sessions = self.together((0..count).map(|_| opening()));
        let opened = begun.elapsed();
        let held = memory::memory("RssAnon:").saturating_sub(before);
        let begun = Instant::now();
        let runs = |session: &String| {
            let (pipeline, session) = (Arc::clone(&self.pipeline), session.clone());
            async move { run(&pipeline, &session, "env true").await }
        };
        self.together(sessions.iter().map(runs));
        println!(
            "{count} sessions: opened in {opened:.1?}, one command in each in {:.1?}, {} KiB a session, {} threads",
            begun.elapsed(),
            held / count as u64,
            memory::memory("Threads:"),
        );
        for session in sessions {
            self.runtime.block_on(self.pipeline.sessions().close(&session)).expect("closed");
        }
    }

    fn together<T: Send + 'static>(
        &self,
        all: impl Iterator<Item = impl Future<Output = T> + Send + 'static>,
    ) -> Vec<T> {
        let tasks: Vec<_> = all.map(|task| self.runtime.spawn(task)).collect();
        tasks.into_iter().map(|task| self.runtime.block_on(task).expect("it ends")).collect()
    }

    /// Opens another session and closes it.
    fn visit(&self) {
        self.runtime.block_on(async {
            let session = open(&self.pipeline).await;
            self.pipeline.sessions().close(&session).await.expect("closed");
        });
    }

    /// OpenSSH's client over a connection of which the first call is the master.
    fn client(&self, command: &str) -> Command {
        let path = format!("ControlPath={}/control", self.fixture.dir.path().display());
        let mut ssh = self.client_by_itself();
        ssh.args(["-o", "ControlMaster=auto", "-o", "ControlPersist=60", "-o", &path, "target", command]);
        ssh
    }

    /// The same over a connection of its own; where to and what is still to be said.
    fn client_by_itself(&self) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.arg("-F").arg(self.fixture.dir.path().join("ssh_config")).stdin(Stdio::null());
        ssh
    }

    /// An exec of the engine, as `docker exec` does one.
    fn exec(&self, command: &str) -> Command {
        let socket = self.fixture.variable("DOCKER_HOST");
        let mut docker = Command::new("docker");
        docker.args(["--host", socket, "exec", CONTAINER, "bash", "-c", command]).stdin(Stdio::null());
        docker
    }
}

async fn open(pipeline: &Pipeline) -> String {
    match pipeline.sessions().open_at("bench", None, &Client::default()).await.expect("a session") {
        Checked::Done(opened) => opened.session.to_string(),
        other => panic!("no session: {other:?}"),
    }
}

async fn run(pipeline: &Arc<Pipeline>, session: &str, command: &str) {
    let call = Call { script: command.into(), session: Some(session.to_owned()), ..Call::default() };
    match pipeline.submit(call).await.expect("an outcome") {
        Outcome::Ran(result) => assert_eq!(result.exit_code, Some(0), "{command}"),
        other => panic!("{command} did not run: {other:?}"),
    }
}

/// Runs it to its end, and throws away what it prints.
fn drain(mut command: Command) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
    let mut output = child.stdout.take().expect("a pipe");
    let mut buffer = vec![0; 64 << 10];
    while output.read(&mut buffer).expect("read") > 0 {}
    assert!(child.wait().expect("it ends").success(), "{command:?}");
}

#[divan::bench(args = [":", "/usr/bin/true"])]
fn palisade_session_over_ssh(bencher: Bencher<'_, '_>, command: &str) {
    let Some(remote) = Remote::ssh() else { return };
    bencher.bench_local(|| remote.run(command));
}

#[divan::bench(args = [":"], sample_count = 20)]
fn openssh_with_a_control_master(bencher: Bencher<'_, '_>, command: &str) {
    let Some(remote) = Remote::ssh() else { return };
    drain(remote.client(command));
    bencher.bench_local(|| drain(remote.client(command)));
}

/// Connected, let in, two shells begun, asked what there is, and all of it ended: each session has a connection of its own.
#[divan::bench(sample_count = 20)]
fn opening_over_ssh(bencher: Bencher<'_, '_>) {
    let Some(remote) = Remote::ssh() else { return };
    bencher.bench_local(|| remote.visit());
}

/// Connected, let in, one command.
#[divan::bench(sample_count = 20)]
fn openssh_by_itself(bencher: Bencher<'_, '_>) {
    let Some(remote) = Remote::ssh() else { return };
    bencher.bench_local(|| {
        let mut client = remote.client_by_itself();
        client.args(["target", ":"]);
        drain(client);
    });
}

#[divan::bench(args = [":", "/usr/bin/true"])]
fn palisade_session_in_a_container(bencher: Bencher<'_, '_>, command: &str) {
    let Some(remote) = Remote::docker() else { return };
    bencher.bench_local(|| remote.run(command));
}

#[divan::bench(args = [":"], sample_count = 20)]
fn docker_exec(bencher: Bencher<'_, '_>, command: &str) {
    let Some(remote) = Remote::docker() else { return };
    if Command::new("docker").arg("--version").stdout(Stdio::null()).status().is_err() {
        println!("not on this machine: docker's command line");
        return;
    }
    bencher.bench_local(|| drain(remote.exec(command)));
}

#[divan::bench(sample_count = 3)]
fn throughput_palisade_over_ssh(bencher: Bencher<'_, '_>) {
    let Some(remote) = Remote::ssh() else { return };
    let command = format!("head -c {} /dev/zero | tr '\\0' '\\n'", flood());
    bencher.counter(BytesCount::new(flood())).bench_local(|| remote.run(&command));
}

#[divan::bench(sample_count = 3)]
fn throughput_openssh(bencher: Bencher<'_, '_>) {
    let Some(remote) = Remote::ssh() else { return };
    let command = format!("head -c {} /dev/zero | tr '\\0' '\\n'", flood());
    drain(remote.client(":"));
    bencher.counter(BytesCount::new(flood())).bench_local(|| drain(remote.client(&command)));
}

#[divan::bench(sample_count = 3)]
fn throughput_palisade_in_a_container(bencher: Bencher<'_, '_>) {
    let Some(remote) = Remote::docker() else { return };
    let command = format!("head -c {} /dev/zero | tr '\\0' '\\n'", flood());
    bencher.counter(BytesCount::new(flood())).bench_local(|| remote.run(&command));
}

/// A thousand million bytes that nobody reads, in a job over a session's own connection; meanwhile that session is asked something.
#[divan::bench(sample_count = 1, sample_size = 1)]
fn a_flood_beside_a_session_over_ssh(bencher: Bencher<'_, '_>) {
    let Some(remote) = Remote::ssh() else { return };
    let bytes = flood() * 2;
    bencher.bench_local(|| {
        // What is made once, such as the redactor's caches, is there by then.
        remote.run("seq 1 1000000");
        memory::reset_peak();
        let before = memory::memory("VmHWM:");
        let script = format!("head -c {bytes} /dev/zero | tr '\\0' '\\n'");
        let call = Call { session: Some(remote.session.clone()), yields: Some(Duration::ZERO), ..Call::default() };
        let call = Call { script: script.into(), ..call };
        let Outcome::Running(job) = remote.runtime.block_on(remote.pipeline.submit(call)).expect("an outcome") else {
            panic!("no job");
        };
        let job = job.job.expect("a name").to_string();
        let (begun, mut longest) = (Instant::now(), Duration::ZERO);
        loop {
            let asked = Instant::now();
            remote.run(":");
            longest = longest.max(asked.elapsed());
            let read =
                remote.runtime.block_on(remote.pipeline.jobs().read(&job, Reading::default())).expect("a reading");
            if read.status != Status::Running {
                assert_eq!(read.exit_code, Some(0));
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        println!(
            "{bytes} bytes in {:.1?}: the longest answer beside it took {longest:.1?}, {} KiB more than before",
            begun.elapsed(),
            memory::memory("VmHWM:") - before,
        );
    });
}

/// How many, where it is more than a trial.
fn crowd(full: usize) -> usize {
    if flood() > 1_000_000 { full } else { 3 }
}

#[divan::bench(sample_count = 1, sample_size = 1)]
fn a_crowd_over_ssh(bencher: Bencher<'_, '_>) {
    let Some(remote) = Remote::ssh_with(300) else { return };
    bencher.bench_local(|| remote.crowd(crowd(200)));
}

#[divan::bench(sample_count = 1, sample_size = 1)]
fn a_crowd_in_a_container(bencher: Bencher<'_, '_>) {
    let Some(remote) = Remote::docker_with(300) else { return };
    bencher.bench_local(|| remote.crowd(crowd(100)));
}
