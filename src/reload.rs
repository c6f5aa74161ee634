//! Policies that change while a server runs: when a changed set is taken, and when the old one stays.
//!
//! A set is taken only if it parses, validates, has no lint error and passes its own cases, and only once it has stayed
//! the same from one look to the next: whoever copies files into place is not caught half-way.

use std::time::Duration;

use palisade_engine::{Engine, Severity};
use palisade_runner::Pipeline;
use tokio::signal::unix::{SignalKind, signal};

use crate::args::Context;
use crate::commands::policy::lint;
use crate::config::{self, Authored, Chosen};
use crate::policies::PolicyFiles;
use crate::report::Trouble;

/// How long after one look the next is taken.
const PERIOD: Duration = Duration::from_secs(2);

/// Watches the policy directory until the server ends. SIGHUP looks at once. Nothing to do for a shipped profile.
pub(crate) async fn watch(pipeline: &Pipeline, flags: &Context) {
    let Ok(Chosen::Files(path)) = Authored::running(flags).map(|authored| authored.chosen().clone()) else {
        return std::future::pending().await;
    };
    let Ok(mut hangup) = signal(SignalKind::hangup()) else { return std::future::pending().await };
    let look = || PolicyFiles::read(&path).map_err(|error| Trouble::from(error).to_string());
    let mut tried = look();
    let mut seen = tried.clone();
    loop {
        tokio::select! {
            () = tokio::time::sleep(PERIOD) => {}
            _ = hangup.recv() => {}
        }
        let now = look();
        let settled = now == seen;
        seen = now;
        if !settled || seen == tried {
            continue;
        }
        tried = seen.clone();
        let loaded = tokio::task::block_in_place(|| load(flags));
        let kept = match loaded {
            Ok(engine) => pipeline.reload(engine).await,
            Err(why) => pipeline.refuse_reload(&why).await,
        };
        if let Err(failure) = kept {
            // The policies are what they were: try again at the next look.
            Trouble::from(failure).print();
            tried = Err(String::new());
        }
    }
}

/// The set as it lies there now, if everything about it is right.
fn load(flags: &Context) -> Result<Engine, String> {
    let told = |error: config::ConfigError| Trouble::from(error).to_string();
    let authored = Authored::running(flags).map_err(told)?;
    let files = authored.cases().map_err(told)?;
    for file in &files {
        let engine = authored.engine(file.home()).map_err(told)?;
        for case in file.cases() {
            let checked = case.check(&engine);
            if let Some(failure) = checked.failure {
                return Err(format!("{}: the case `{}` fails: {failure}", checked.place, checked.name));
            }
        }
    }
    let found = lint::findings(&authored).map_err(|trouble| trouble.to_string())?;
    if let Some(error) = found.iter().find(|lint| lint.rule.severity == Severity::Error) {
        return Err(format!("{}: {}: {}", error.place, error.policy, error.message));
    }
    config::load_engine(flags).map_err(told)
}
