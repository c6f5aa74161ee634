//! A pipeline over a workspace of its own.

#[path = "../support/settings.rs"]
mod settings;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use palisade_audit::Sync;
use palisade_engine::{AbsolutePath, Approval, Bundle, Channel, Engine, Lasts, Source, Vocabulary};
use palisade_runner::{Call, Client, ExecResult, Outcome, Pipeline, Settings, Status, facts};
use tempfile::TempDir;

use self::settings::settings;

/// Everything but files, and those that a shell needs; a person's yes lifts the rest.
pub(crate) const POLICY: &str = r#"
@id("acts") permit(principal, action in Action::"activity", resource) unless { action in [Action::"fileAccess", Action::"execute"] };
@id("workspace") permit(principal, action in [Action::"fileAccess", Action::"execute"], resource) when { resource in context.workspace };
@id("system") permit(principal, action in [Action::"read", Action::"execute"], resource in PathGroup::"system");
@id("devices") permit(principal, action in [Action::"read", Action::"write"], resource in PathGroup::"devices");
@id("approved") permit(principal, action in Action::"activity", resource) when { context.approved };
@id("approves") permit(principal, action == Action::"approve", resource);
"#;

/// Where a test works whose temporary directory is a special one.
pub(crate) const ROOT: &str = "PALISADE_TEST_ROOT";

/// A pipeline, and where it works.
pub(crate) struct Place {
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) root: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self::with(POLICY, |_| {})
    }

    /// Under this policy, in which `/WORK` stands for the workspace.
    pub(crate) fn with(policy: &str, change: impl FnOnce(&mut Settings)) -> Self {
        let root = std::env::var_os(ROOT).map_or_else(std::env::temp_dir, Into::into);
        let root = tempfile::tempdir_in(root).expect("a directory");
        let workspace = facts::real_directory(root.path()).and_then(|root| root.child("work")).expect("a real path");
        let bundle = bundle(&policy.replace("/WORK", workspace.as_str()));
        let mut settings = settings(root.path(), "tester", bundle, Sync::None);
        change(&mut settings);
        Self { pipeline: Pipeline::open(settings).expect("a pipeline"), root }
    }

    /// Lets other policies decide from now on.
    pub(crate) async fn reload(&self, policy: &str) {
        let home = facts::real_directory(&self.root.path().join("home")).expect("a real path");
        self.pipeline.reload(engine(policy, &home)).await.expect("reloaded");
    }

    /// What has gone on record. A line that is being written while this reads is left out.
    pub(crate) fn record(&self) -> Vec<serde_json::Value> {
        let files = std::fs::read_dir(self.root.path().join("audit")).expect("the record");
        let files = files.flatten().map(|file| file.path());
        let files = files.filter(|file| file.extension().is_some_and(|extension| extension == "jsonl"));
        let texts = files.filter_map(|file| std::fs::read_to_string(file).ok());
        texts
            .flat_map(|text| {
                let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
                whole.map(|line| serde_json::from_str(line).expect("JSON")).collect::<Vec<_>>()
            })
            .collect()
    }

    pub(crate) async fn open(&self) -> Shell<'_> {
        let opened = self.pipeline.sessions().open(None, &Client::default()).await.expect("a session");
        Shell { place: self, name: opened.session.to_string() }
    }

    pub(crate) async fn submit(&self, call: Call) -> ExecResult {
        let approval =
            Approval { user: "tester".to_owned(), roles: BTreeSet::new(), via: Channel::Terminal, lasts: Lasts::Once };
        let outcome = self.pipeline.submit(call).await.unwrap_or_else(|failure| panic!("{failure:?}"));
        let outcome = match outcome {
            Outcome::Ask(pending) => self.pipeline.approve(*pending, &approval).await.expect("an outcome"),
            outcome => outcome,
        };
        match outcome {
            Outcome::Ran(result) | Outcome::Running(result) => result,
            other => panic!("it did not run: {other:?}"),
        }
    }

    /// In a shell of its own.
    pub(crate) async fn alone(&self, script: &str) -> ExecResult {
        self.submit(Call { script: script.into(), ..Call::default() }).await
    }
}

fn engine(policy: &str, home: &AbsolutePath) -> Engine {
    let (file, text) = palisade_policies::GROUPS;
    let vocabulary = Vocabulary::parse(file, text, home).expect("the shipped groups");
    Engine::new(bundle(policy), vocabulary)
}

fn bundle(policy: &str) -> Bundle {
    let source = Source { name: "test.cedar".to_owned(), text: policy.to_owned() };
    Bundle::load(vec![source]).expect("the policy")
}

/// A session.
pub(crate) struct Shell<'p> {
    pub(crate) place: &'p Place,
    pub(crate) name: String,
}

impl Shell<'_> {
    pub(crate) fn call(&self, script: &str) -> Call {
        Call { script: script.into(), session: Some(self.name.clone()), ..Call::default() }
    }

    pub(crate) async fn run(&self, script: &str) -> ExecResult {
        self.place.submit(self.call(script)).await
    }

    /// Runs it, and expects it to end well; what it prints.
    pub(crate) async fn says(&self, script: &str) -> String {
        let result = self.run(script).await;
        assert_eq!((result.status, result.exit_code), (Status::Done, Some(0)), "{script}: {result:?}");
        result.stdout.to_string()
    }

    pub(crate) async fn within(&self, timeout: Duration, script: &str) -> ExecResult {
        self.place.submit(Call { timeout: Some(timeout), ..self.call(script) }).await
    }

    /// It still answers, rightly.
    pub(crate) async fn is_well(&self, after: &str) {
        let result = self.run("echo well; echo ill >&2; (exit 7)").await;
        assert_eq!((result.status, result.exit_code), (Status::Done, Some(7)), "after {after}: {result:?}");
        assert_eq!((result.stdout.as_str(), result.stderr.as_str()), ("well\n", "ill\n"), "after {after}");
    }
}

/// The processes of this machine whose arguments hold `mark`, which no other test uses.
pub(crate) fn processes(mark: &str) -> Vec<String> {
    let all = std::fs::read_dir("/proc").expect("/proc").flatten();
    let arguments = all.filter_map(|entry| {
        let name =
            entry.file_name().into_string().ok().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))?;
        let arguments = std::fs::read(entry.path().join("cmdline")).ok()?;
        let arguments = String::from_utf8_lossy(&arguments).replace('\0', " ");
        // A zombie has none.
        arguments.contains(mark).then(|| format!("{name} {arguments}"))
    });
    arguments.collect()
}

/// Waits until there is one.
pub(crate) async fn comes(mark: &str, within: Duration) {
    let deadline = std::time::Instant::now() + within;
    while processes(mark).is_empty() {
        assert!(std::time::Instant::now() < deadline, "not there: {mark}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until none of them is left.
pub(crate) async fn gone(mark: &str, within: Duration) {
    let deadline = std::time::Instant::now() + within;
    loop {
        let left = processes(mark);
        if left.is_empty() {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "still there: {left:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
