//! The kernel rules of sessions: derived from the policies once for many sessions, since it costs hundreds of decisions.
//!
//! What was derived counts for a short time only: a policy may look at the clock, and a root may be made or moved.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use palisade_engine::{AbsolutePath, Engine, Facts};
use palisade_sandbox::plan::{self, Hole, Rights, SandboxPlan};

use super::Settings;
use crate::policies::real_roots;

/// How long the rules of one session are those of the next.
const FRESH: Duration = Duration::from_secs(5);

/// The rules that were derived last.
#[derive(Debug, Default)]
pub(super) struct PlanCache(Mutex<Option<Derived>>);

#[derive(Debug)]
struct Derived {
    at: Instant,
    /// The policies and everything of the facts that they may depend on, but the clock and the session itself.
    from: String,
    rights: Arc<BTreeMap<AbsolutePath, Rights>>,
}

impl PlanCache {
    /// The rules for these facts, and for what is opened beyond them.
    pub(super) fn plan(
        &self,
        engine: &Engine,
        facts: &Facts,
        extra: &BTreeMap<AbsolutePath, Rights>,
        settings: &Settings,
    ) -> Result<SandboxPlan, Hole> {
        let from = origin(engine, facts);
        let rights = wider(self.rights(engine, facts, from), extra);
        plan::with_own(engine, facts, &rights, settings.level, settings.limits, &settings.surroundings.earlier)
    }

    /// What policy forbids below what is opened, and nothing could keep from a session that has it.
    pub(super) fn hole(&self, engine: &Engine, facts: &Facts, extra: &BTreeMap<AbsolutePath, Rights>) -> Option<Hole> {
        plan::hole(&wider(self.rights(engine, facts, origin(engine, facts)), extra))
    }

    fn rights(&self, engine: &Engine, facts: &Facts, from: String) -> Arc<BTreeMap<AbsolutePath, Rights>> {
        // Nothing that holds the lock can fail half-way. Those who come meanwhile wait for the same answer.
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(derived) = last.as_ref().filter(|last| last.from == from && last.at.elapsed() < FRESH) {
            return Arc::clone(&derived.rights);
        }
        let at = Instant::now();
        let mut roots = real_roots(engine);
        roots.insert(facts.workspace.clone());
        let rights = Arc::new(plan::shared(engine, facts, &roots));
        *last = Some(Derived { at, from, rights: Arc::clone(&rights) });
        rights
    }
}

/// The policies and everything of the facts that rules may depend on, but the clock and the session itself.
fn origin(engine: &Engine, facts: &Facts) -> String {
    let Facts { principal, transport, host, workspace, cwd, .. } = facts;
    format!("{} {principal:?} {transport:?} {host} {workspace} {cwd}", engine.policy_set())
}

/// The rights with what is opened beyond them.
fn wider(
    rights: Arc<BTreeMap<AbsolutePath, Rights>>,
    extra: &BTreeMap<AbsolutePath, Rights>,
) -> Arc<BTreeMap<AbsolutePath, Rights>> {
    if extra.is_empty() {
        return rights;
    }
    let mut wider = (*rights).clone();
    for (path, opened) in extra {
        // What is granted above a root counts for it too, and must not look as if it were taken back there.
        let above = path.ancestors().filter_map(|outer| rights.get(&outer)).fold(Rights::NONE, |all, more| all | *more);
        *wider.entry(path.clone()).or_insert(above) |= *opened;
    }
    Arc::new(wider)
}
