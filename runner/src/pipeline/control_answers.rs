//! What people do to a running server over its control socket: see what waits, say yes or no to it, see what lives, stop it.
//!
//! Decides which part answers a call at the control socket. Each person sees only what policy lets them see.

use std::sync::Arc;

use palisade_engine::Approval;
use palisade_redact::Redacted;

use super::approvals::number;
use super::state::PipelineState;
use crate::control::peer::Peer;
use crate::control::wire::{Answer, Ask, Lives, Waiting};

/// The answers to those who have connected to the control socket.
#[derive(Clone, Copy, Debug)]
pub(super) struct ControlAnswers<'a> {
    pub(super) state: &'a Arc<PipelineState>,
}

impl ControlAnswers<'_> {
    /// Answers a person who has connected to the control socket.
    pub(super) async fn attend(self, ask: Ask, peer: &Peer) -> Answer<Redacted> {
        let person = self.state.overseers().person(peer);
        if matches!(ask, Ask::List | Ask::Show { .. } | Ask::Answer { .. }) {
            self.state.presence.saw(peer);
        }
        match ask {
            Ask::List => self.list(&person),
            Ask::Show { id } => match self.state.overseers().observed(&person, "see or answer this request") {
                Some(no) if !self.state.approvals().is_for(&id, &person) => {
                    self.state.approvals().forbidden(&id, &person).unwrap_or(no)
                }
                _ => self.state.approvals().show(&id),
            },
            Ask::Sessions => self
                .state
                .overseers()
                .observed(&person, "see the sessions of this server")
                .unwrap_or_else(|| self.lives()),
            Ask::Answer { id, yes, reason, lasts } => match id.parse() {
                Ok(id) if yes => {
                    self.state.approvals().grant(id, Some(peer), Approval { lasts, ..person }, &reason).await
                }
                Ok(id) => self.state.approvals().deny(id, Some(peer), &person, &reason).await,
                Err(_) => Answer::Unknown,
            },
            Ask::Permit { id, lasts } => {
                let person = Approval { lasts, ..person };
                self.state.standing_approvals().show(&id, &person)
            }
            Ask::Remembered => self
                .state
                .overseers()
                .observed(&person, "see what this server remembers")
                .unwrap_or_else(|| self.state.standing_approvals().list()),
            Ask::Forget { id } => self.state.standing_approvals().forget(&id, peer, &person).await,
            Ask::Learned => self.state.learned_values().list(peer, &person),
            Ask::Unlearn { which } => self.state.learned_values().unlearn(which, peer, &person).await,
            Ask::Stop { what, reason } => self.state.kill_switch().stop(what, peer, &person, &reason).await,
            Ask::Lift { what, reason } => self.state.kill_switch().let_in(what, peer, &person, &reason).await,
        }
    }

    /// The requests that wait, for a person who may see all of them or approve some of them.
    fn list(self, person: &Approval) -> Answer<Redacted> {
        let all = self.state.approvals().waiting();
        let Some(no) = self.state.overseers().observed(person, "see or answer what waits here") else {
            return Answer::Waiting(all.into_iter().map(|(_, waiting)| waiting).collect());
        };
        let is_empty = all.is_empty();
        let own = all.into_iter().filter(|(id, _)| self.state.approvals().is_for(&id.to_string(), person));
        let own: Vec<Waiting<Redacted>> = own.map(|(_, waiting)| waiting).collect();
        // Before a request waits, an approver and a stranger get the same answer.
        if own.is_empty() && !is_empty { no } else { Answer::Waiting(own) }
    }

    fn lives(self) -> Answer<Redacted> {
        let principal = &self.state.settings.surroundings.principal;
        let sessions = self.state.session_registry.notes().into_iter().filter(|note| note.ended.is_none());
        Answer::Lives(Box::new(Lives {
            pid: std::process::id(),
            chain: self.state.redact(&self.state.audit.chain().to_string()),
            agent: self.state.redact(&principal.agent),
            user: self.state.redact(&principal.user),
            sessions: sessions.map(|note| self.state.redact(&note.id)).collect(),
            running: number(self.state.job_registry.count()),
            stopped: self.state.kill_switch().locked_out(),
        }))
    }
}
