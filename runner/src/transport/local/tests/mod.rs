//! A bare shell under the sandbox, without anything that judges what it is given.
#![expect(clippy::unwrap_used, reason = "tests")]

mod framing;
mod output_pipes;
mod state;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use palisade_engine::AbsolutePath;
use palisade_redact::Redactor;
use palisade_sandbox::plan::{Level, Limits, PathRule, Rights, SandboxPlan};
use tempfile::TempDir;

use super::{LaunchSpec, LocalShell};
use crate::facts::real_directory;
use crate::session_directory::SessionDirectory;
use crate::shell::progress::Progress;
use crate::shell::{End, ShellLoss, Stop, Terms};

struct Bare {
    shell: Option<LocalShell>,
    redactor: Redactor,
    root: TempDir,
}

#[derive(Debug)]
struct Ran {
    end: End,
    lost: Option<ShellLoss>,
    stdout: String,
    stderr: String,
    totals: [u64; 2],
}

impl Bare {
    async fn start() -> Self {
        Self::like(None).await
    }

    async fn like(state: Option<&super::State>) -> Self {
        let root = tempfile::tempdir().unwrap();
        let workspace = real_directory(root.path()).unwrap();
        let directory = SessionDirectory::new().unwrap();
        let rule = |path: &str, rights| PathRule { path: path.into(), rights, optional: false };
        let everything = Rights::READ | Rights::EXECUTE | Rights::MOVE;
        let rules = vec![
            rule("/", Rights::READ | Rights::EXECUTE),
            rule("/dev", Rights::READ | Rights::WRITE),
            rule(workspace.as_str(), everything),
            rule(directory.temp().as_str(), everything),
        ];
        let plan = SandboxPlan {
            rules,
            masks: Vec::new(),
            instead: None,
            blank: Vec::new(),
            stand_ins: None,
            written: Vec::new(),
            searched: true,
            scratch: Rights::NONE,
            loopback: false,
            network: false,
            limits: Limits::default(),
            level: Level::Default,
        };
        let environment = [("PATH", "/usr/bin:/bin"), ("HOME", "/nonexistent")];
        let environment = environment.map(|(name, value)| (name.into(), value.into())).into();
        let spec = LaunchSpec {
            plan,
            environment,
            cwd: workspace,
            directory,
            guard: None,
            names: None,
            gate: None,
            terminal: None,
        };
        let shell = LocalShell::start(spec, state).await.unwrap();
        Self { shell: Some(shell), redactor: Redactor::builtin().unwrap(), root }
    }

    fn workspace(&self) -> PathBuf {
        let workspace: AbsolutePath = real_directory(self.root.path()).unwrap();
        workspace.as_str().into()
    }

    async fn run(&mut self, script: &str) -> Ran {
        let progress = Arc::new(Progress::new(1 << 20));
        let terms = Terms {
            directory: None,
            timeout: Duration::from_secs(20),
            due: None,
            grace: None,
            progress: Arc::clone(&progress),
            live: None,
            stop: Stop::default(),
            input: None,
            orders: None,
            colours: false,
            stays: None,
            ends: false,
        };
        let ended = self.shell.as_mut().unwrap().run(script.as_bytes(), &self.redactor, terms).await.unwrap();
        let view = palisade_redact::output::View::chars(1 << 20);
        progress.look(|known| {
            let (stdout, stderr) = (known.stdout.shape(&view), known.stderr.shape(&view));
            Ran {
                end: ended.end,
                lost: ended.lost,
                stdout: stdout.text.to_string(),
                stderr: stderr.text.to_string(),
                totals: [stdout.total_bytes, stderr.total_bytes],
            }
        })
    }

    async fn is_well(&mut self, after: &str) {
        let result = self.run("echo well; echo ill >&2; (exit 7)").await;
        assert_eq!((result.end, result.lost), (End::Status(7), None), "after {after}: {result:?}");
        assert_eq!((result.stdout.as_str(), result.stderr.as_str()), ("well\n", "ill\n"), "after {after}");
    }
}
