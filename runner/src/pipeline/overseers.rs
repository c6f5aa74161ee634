//! The people who look after this server: who somebody is to policies, what policy lets them do here, and how they are refused.

use std::sync::Arc;

use palisade_engine::{Approval, Authority, Channel, Lasts, Oversight};
use palisade_redact::Redacted;

use super::Failure;
use super::state::PipelineState;
use crate::control::peer::Peer;
use crate::control::user_name;
use crate::control::wire::{Answer, Refused};

/// What policy lets people do with this server, and how the others are refused.
#[derive(Clone, Copy, Debug)]
pub(super) struct Overseers<'a> {
    pub(super) state: &'a Arc<PipelineState>,
}

impl Overseers<'_> {
    /// Somebody as policies know them.
    pub(super) fn person(self, peer: &Peer) -> Approval {
        let (user, via, lasts) = (peer.user.clone(), Channel::Control, Lasts::Once);
        Approval { roles: self.state.settings.people.roles(&user), user, via, lasts }
    }

    /// The refusal for a person who may not look at what happens here. It names what the person wanted to do.
    pub(super) fn observed(self, person: &Approval, wanted: &str) -> Option<Answer<Redacted>> {
        let authority = self.oversees(person, &Oversight::Observe);
        (!authority.allowed).then(|| self.refused(wanted, person, &authority))
    }

    pub(super) fn oversees(self, person: &Approval, what: &Oversight) -> Authority {
        let facts = self.state.facts_of_nothing();
        self.state.settings.engine.now().oversees(&facts, person, what)
    }

    pub(super) fn refused(self, action: &str, person: &Approval, authority: &Authority) -> Answer<Redacted> {
        let what = format!("policy does not let `{}` {action}: {}", person.user, authority.why);
        Answer::Refused(Refused {
            what: self.state.redact(&what),
            policies: authority.policies.iter().map(|id| self.state.redact(id)).collect(),
            help: self.state.redact(&how_to_be_let(person, authority)),
        })
    }

    /// The no to somebody who may be the agent.
    pub(super) fn doubted(self, peer: &Peer) -> Option<Answer<Redacted>> {
        let doubt = peer.doubt?;
        let help = miette::Diagnostic::help(&doubt).map(|help| help.to_string()).unwrap_or_default();
        let (what, policies) = (self.state.redact(&doubt.to_string()), Vec::new());
        Some(Answer::Refused(Refused { what, policies, help: self.state.redact(&help) }))
    }

    pub(super) fn failed(self, failure: &Failure) -> Answer<Redacted> {
        Answer::Failed { what: failure.what.clone(), help: failure.help.clone() }
    }

    /// Whoever runs this process.
    pub(super) fn own_account(self) -> Approval {
        let user = user_name(rustix::process::getuid().as_raw());
        Approval { roles: self.state.settings.people.roles(&user), user, via: Channel::Terminal, lasts: Lasts::Once }
    }
}

/// What somebody can do who is not let.
fn how_to_be_let(person: &Approval, authority: &Authority) -> String {
    if !authority.policies.is_empty() {
        return "these policies forbid it, whatever permits there are; another person may be let".to_owned();
    }
    if person.roles.is_empty() {
        return "roles are given to people in the settings, under `people`".to_owned();
    }
    let roles: Vec<String> = person.roles.iter().map(|role| format!("`{role}`")).collect();
    format!("the settings give `{}` {}; the policies need a permit for that", person.user, roles.join(", "))
}
