//! What an agent can read again: the policies as they are for it, a decision, the output of a job, the story of a session.
//!
//! Decides nothing but this: there is only the principal's own, whatever the name; and where a person has stopped the agent there is
//! nothing. Another principal's are in another pipeline.

use std::sync::Arc;

use palisade_redact::Redacted;
use palisade_redact::output::{Cursor, View};
use serde::Serialize;

use super::state::PipelineState;
use super::transcript::Transcript;
use super::{Client, Failure, Reading, WithClient};
use crate::result::{ExecResult, Explained};
use crate::shell::SessionError;

/// Policies that are told of, of those that there are.
const MAX_RULES: usize = 1000;

/// Characters of each stream that are shown at most, whatever is kept.
const MAX_SHOWN: usize = 1 << 20;

/// What holds for a principal.
#[derive(Debug, Serialize)]
pub struct Rules {
    /// The agent.
    pub agent: Redacted,
    /// On whose behalf it acts.
    pub user: Redacted,
    /// Its roles.
    pub roles: Vec<Redacted>,
    /// Fingerprint of the policy set.
    #[serde(rename = "policySet")]
    pub policy_set: Redacted,
    /// Where its commands start.
    pub workspace: Redacted,
    /// Where sessions can be besides this machine.
    pub targets: Vec<Redacted>,
    /// Seconds that a request waits for a person's yes.
    pub approvals_expire_s: u64,
    /// The policies that can decide about it, by id. The decision on a command is `explain`'s to tell.
    pub policies: Vec<Rule>,
    /// Policies beyond those.
    #[serde(skip_serializing_if = "is_zero")]
    pub more_policies: usize,
}

/// A policy, as a denial would tell of it.
#[derive(Debug, Serialize)]
pub struct Rule {
    /// Its id.
    pub id: Redacted,
    /// `permit` or `forbid`.
    pub effect: &'static str,
    /// Why.
    #[serde(skip_serializing_if = "Redacted::is_empty")]
    pub reason: Redacted,
    /// What would be allowed.
    #[serde(skip_serializing_if = "Redacted::is_empty")]
    pub suggest: Redacted,
}

/// What an agent can read again.
#[derive(Clone, Copy, Debug)]
pub struct ReadApi<'a> {
    pub(super) state: &'a Arc<PipelineState>,
}

impl ReadApi<'_> {
    /// What holds for the principal now.
    ///
    /// # Errors
    /// If a person has stopped the agent.
    pub fn rules(self, client: &Client) -> Result<Rules, Failure> {
        self.state.kill_switch().goes_on(None)?;
        let engine = self.state.settings.engine.now();
        let facts = self.state.facts_of_nothing().with(client);
        let all = engine.visible_policies(&facts);
        let more_policies = all.len().saturating_sub(MAX_RULES);
        let rule = |policy: palisade_engine::VisiblePolicy| Rule {
            id: self.state.redact(&policy.id),
            effect: if policy.permits { "permit" } else { "forbid" },
            reason: self.state.redact(&policy.reason),
            suggest: self.state.redact(&policy.suggest),
        };
        let principal = &self.state.settings.surroundings.principal;
        Ok(Rules {
            agent: self.state.redact(&principal.agent),
            user: self.state.redact(&principal.user),
            roles: principal.roles.iter().map(|role| self.state.redact(role)).collect(),
            policy_set: self.state.redact(engine.policy_set()),
            workspace: self.state.redact(self.state.settings.surroundings.workspace.as_str()),
            targets: self.state.settings.targets.keys().map(|name| self.state.redact(name)).collect(),
            approvals_expire_s: self.state.settings.approvals_expire.as_secs(),
            policies: all.into_iter().take(MAX_RULES).map(rule).collect(),
            more_policies,
        })
    }

    /// A decision of late, by the id that results give it; none if it is not kept, or never was the principal's.
    ///
    /// # Errors
    /// If a person has stopped the agent.
    pub fn decision(self, id: &str) -> Result<Option<Explained>, Failure> {
        self.state.kill_switch().goes_on(None)?;
        Ok(id.parse().ok().and_then(|id| self.state.transcripts.decision(id)).map(|explained| (*explained).clone()))
    }

    /// All that is kept of a job's output, from a cursor on.
    ///
    /// # Errors
    /// If there is no such job, its end could not be recorded, or a person has stopped the agent.
    pub async fn output(self, job: &str, cursor: Option<Cursor>) -> Result<ExecResult, Failure> {
        self.state.kill_switch().goes_on(None)?;
        let view = View::chars(self.state.settings.budget.keep_bytes.min(MAX_SHOWN));
        self.state.jobs().read(job, Reading { cursor, view: Some(view), ..Reading::default() }).await
    }

    /// What a session was told to run and what came of it, from a place on.
    ///
    /// # Errors
    /// If there is no such session, or a person has stopped it.
    pub fn transcript(self, session: &str, from: u64) -> Result<Transcript, Failure> {
        self.state.kill_switch().goes_on(Some(session))?;
        let known = self.state.session_registry.notes().into_iter().any(|note| note.id == session);
        if !known {
            return Err(self.state.failure(&SessionError::Unknown));
        }
        let (gone, next, scripts) = self.state.transcripts.of(session, from);
        Ok(Transcript { session: self.state.redact(session), gone, next, scripts })
    }
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}
