//! What the redactor has learned, for the people who look after this server: they see where each value came from, and drop one that is no
//! secret.
//!
//! Decides who may. Nobody is told a value, and nobody who may be the agent is told even how one begins. A drop lets text out that was
//! held back, so it takes the right to let in again what was stopped, and is on record before it counts.

use std::sync::Arc;

use palisade_engine::{Approval, Oversight};
use palisade_redact::{LearnedValue, Redacted};

use super::auto_checkpoint::NO_SESSION;
use super::state::PipelineState;
use crate::control::peer::Peer;
use crate::control::wire::{Answer, Learned, Which};
use crate::record;

/// Values that one answer lists, those that were learned last.
const MAX_LISTED: usize = 10_000;

/// Ids in one entry of the record.
const MAX_RECORDED: usize = 500;

/// The values that the redactor has learned.
#[derive(Clone, Copy, Debug)]
pub(super) struct LearnedValues<'a> {
    pub(super) state: &'a Arc<PipelineState>,
}

impl LearnedValues<'_> {
    /// All that was learned here and is not dropped.
    pub(super) fn list(self, peer: &Peer, person: &Approval) -> Answer<Redacted> {
        let refused = self
            .state
            .overseers()
            .doubted(peer)
            .or_else(|| self.state.overseers().observed(person, "see what this server has learned"));
        if let Some(refused) = refused {
            return refused;
        }
        let all = self.state.settings.redactor.learned();
        let older = all.len().saturating_sub(MAX_LISTED);
        let values = all.into_iter().skip(older).map(|value| self.told_of(value)).collect();
        Answer::Learned { values, older: u64::try_from(older).unwrap_or(u64::MAX) }
    }

    /// Drops what was learned wrongly: what is printed from now on is not searched for it, and it is not learned again.
    pub(super) async fn unlearn(self, which: Which, peer: &Peer, person: &Approval) -> Answer<Redacted> {
        if let Some(refused) = self.state.overseers().doubted(peer) {
            return refused;
        }
        let authority =
            self.state.overseers().oversees(person, &Oversight::Stop { session: String::new(), lift: true });
        if !authority.allowed {
            return self.state.overseers().refused("drop what was learned", person, &authority);
        }
        let known = self.state.settings.redactor.learned();
        let meant: Vec<u64> = known
            .iter()
            .map(|value| value.number)
            .filter(|number| match &which {
                Which::All => true,
                Which::One(id) => *id == self.id(*number),
            })
            .collect();
        if meant.is_empty() && which != Which::All {
            return Answer::Unknown;
        }
        let ids: Vec<String> = meant.iter().map(|number| self.id(*number)).collect();
        for ids in ids.chunks(MAX_RECORDED) {
            if let Err(error) =
                self.state.audit.append(record::unlearned(self.state.settings.for_record(), ids, peer)).await
            {
                return self.state.overseers().failed(&self.state.failure(&error));
            }
        }
        self.state.settings.redactor.drop_learned(&meant);
        Answer::Unlearned(ids.iter().map(|id| self.state.redact(id)).collect())
    }

    fn told_of(self, value: LearnedValue) -> Learned<Redacted> {
        let principal = &self.state.settings.surroundings.principal;
        let session = if value.session.as_str() == NO_SESSION { Redacted::default() } else { value.session };
        Learned {
            id: self.state.redact(&self.id(value.number)),
            agent: self.state.redact(&principal.agent),
            user: self.state.redact(&principal.user),
            session,
            from: value.from,
            name: value.name,
            program: value.program,
            at: self.state.redact(&value.at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
            length: u64::try_from(value.length).unwrap_or(u64::MAX),
            shown: value.shown,
            mark: value.mark,
            redacted: value.redacted,
        }
    }

    /// The id of a value, which begins with this server's chain.
    fn id(self, number: u64) -> String {
        format!("{}-v{number}", self.state.audit.chain())
    }
}
