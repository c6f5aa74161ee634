//! Other policies and other secrets, in place of those that a pipeline began with.
//!
//! Decides what of that which runs has to end because of them.

use std::sync::atomic::Ordering;

use palisade_engine::Engine;
use palisade_redact::{KnownValue, RefusedValue};
use palisade_sandbox::plan;

use super::approval_requests::Lifts;
use super::sessions::POLICY_RELOAD;
use super::state::PipelineState;
use super::{Failure, Pipeline};
use crate::facts::real_directory;
use crate::policies::real_roots;
use crate::record;
use crate::result::Cause;
use crate::session_directory::OWN_DIRECTORY;
use crate::shell::SessionId;

impl Pipeline {
    /// Lets other policies decide from now on, once that is on record. If sessions' kernel rules would be others under
    /// them, all that runs is ended, and so is every shell: a process can be held to more, never to less, and never to
    /// something else. The next command of a session starts a shell in its place.
    ///
    /// # Errors
    /// If it cannot be recorded: then the policies stay.
    pub async fn reload(&self, engine: Engine) -> Result<(), Failure> {
        let before = self.state.settings.engine.now();
        // Before it is on record, since from then on it has to hold at once.
        let same_rules = tokio::task::block_in_place(|| same_rules(&self.state, &before, &engine));
        let entry = record::reloaded(&self.state.settings.redactor, &before, &engine);
        self.state.audit.append(entry).await.map_err(|error| self.state.failure(&error))?;
        self.state.settings.engine.replace(engine);
        tokio::task::block_in_place(|| self.state.overseers().keep_records());
        // A yes would be to what the old policies asked. Whoever still waits asks again; a program that waits in its `execve` cannot.
        self.state.requests().withdraw_waiting(|about| !matches!(about.lifts, Lifts::Execution { .. }));
        self.state.answers.send_modify(|answers| *answers += 1);
        if !same_rules {
            let reloads = self.state.reloads.fetch_add(1, Ordering::AcqRel) + 1;
            self.state.job_registry.end_running(Cause::PolicyReload).await;
            for id in self
                .state
                .session_registry
                .suspend_all(|session| session.place().is_none() && session.rules() != reloads)
                .await
            {
                let entry = record::closed(&id, POLICY_RELOAD);
                self.state.audit.append(entry).await.map_err(|error| self.state.failure(&error))?;
            }
        }
        if before.policy_set() != self.state.settings.engine.now().policy_set() {
            self.state.remote_sessions().end_guarded().await?;
        }
        Ok(())
    }

    /// Looks for these values from now on, in place of those that the settings had, in the output of whatever is started and in
    /// all that is told. What runs already keeps to those that it began with. Says in the log which cannot be searched for.
    pub fn renew_secrets(&self, values: &[KnownValue]) {
        tracing::info!(values = values.len(), "other values are secrets from now on");
        for RefusedValue { name, why } in self.state.settings.redactor.renew(values) {
            tracing::warn!("the value of `{name}` is not redacted: {why}");
        }
    }

    /// Puts on record that other policies were found, and why they are not used.
    ///
    /// # Errors
    /// If it cannot be recorded.
    pub async fn refuse_reload(&self, why: &str) -> Result<(), Failure> {
        let engine = self.state.settings.engine.now();
        let why = self.state.settings.redactor.text(why);
        tracing::warn!("the policies stay as they are: {why}");
        let entry = record::refused_reload(&engine, why);
        self.state.audit.append(entry).await.map(drop).map_err(|error| self.state.failure(&error))
    }
}

/// Whether the kernel would hold a session to the same under both. Rules under which none would start are like no others.
fn same_rules(state: &PipelineState, one: &Engine, other: &Engine) -> bool {
    match (kernel_rules(state, one), kernel_rules(state, other)) {
        (Some(one), Some(other)) => one == other,
        _ => false,
    }
}

/// What the kernel would hold a session to; `None` if none would start.
fn kernel_rules(state: &PipelineState, engine: &Engine) -> Option<plan::SandboxPlan> {
    let id = SessionId::new().ok()?;
    // It need not exist: it stands for the one that each session has.
    let temp = real_directory(&std::env::temp_dir())?.child(&format!("{OWN_DIRECTORY}any"))?;
    let occasion = state.occasion(&id, state.settings.cwd.clone(), Some(temp));
    let facts = state.settings.surroundings.facts(&occasion);
    plan::derive(engine, &facts, &real_roots(engine), state.settings.level, state.settings.limits).ok()
}
