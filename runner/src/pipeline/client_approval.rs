//! Answers that come through the agent's own client.
//!
//! Decides whom such an answer is taken for: the person whom the principal acts for, and nobody else, whatever the client says. Nothing
//! proves that a person gave it, so that a policy decides about it by `context.via` and nobody is asked there whose yes could not
//! count. A yes from there is as any other: to one request, on record before it counts, and used up by the very same call.

use std::time::{Duration, Instant};

use palisade_audit::RequestId;
use palisade_engine::{Approval, Channel, Lasts};
use palisade_redact::Redacted;

use super::{Approvals, Attendance, Failure};
use crate::control::wire::{Answer, Request};
use crate::shell::Stop;

impl Approvals<'_> {
    /// The person who is taken to sit at the agent's client.
    fn at_client(self) -> Approval {
        let user = self.state.settings.surroundings.principal.user.clone();
        Approval { roles: self.state.settings.people.roles(&user), user, via: Channel::Client, lasts: Lasts::Once }
    }

    /// That person is shown each request of a running program whose yes from there would count, as long as the answer lives.
    pub fn attended_at_client(self) -> Attendance {
        self.attended_by(self.at_client())
    }

    /// What waits under this id, to be shown at the agent's client; none if a yes from there would not count, or nothing waits.
    pub fn asks_at_client(self, id: &str) -> Option<Box<Request<Redacted>>> {
        self.asks(id, &self.at_client())
    }

    /// What waits under this id, to be shown to this person; none if a yes of theirs would not count, or nothing waits.
    pub fn asks(self, id: &str, person: &Approval) -> Option<Box<Request<Redacted>>> {
        let id = id.parse::<RequestId>().ok()?;
        let about = {
            let mut approvals = self.state.requests();
            approvals.may_grant(id, &person.user, Instant::now()).ok()?;
            approvals.about(id, Instant::now())?
        };
        if !self.may_approve(&about, person).allowed {
            return None;
        }
        match self.show(&id.to_string()) {
            Answer::Request(request) => Some(request),
            _ => None,
        }
    }

    /// Takes an answer that the agent's client says a person gave.
    ///
    /// # Errors
    /// If it does not count: the request is answered or too old, policy does not let that person answer there, or a yes cannot be
    /// recorded.
    pub async fn answer_at_client(self, id: &str, yes: bool, reason: &str) -> Result<(), Failure> {
        self.answer(id, self.at_client(), yes, reason).await
    }

    /// Takes an answer of this person, who is known to have given it.
    ///
    /// # Errors
    /// As [`Self::answer_at_client`].
    pub async fn answer(self, id: &str, person: Approval, yes: bool, reason: &str) -> Result<(), Failure> {
        let unknown = || Failure::of("no request of that id waits here: it was answered, used, or is too old");
        let id: RequestId = id.parse().map_err(|_| unknown())?;
        let answer = match yes {
            true => self.grant(id, None, person, reason).await,
            false => self.deny(id, None, &person, reason).await,
        };
        match answer {
            Answer::Voted(_) => Ok(()),
            Answer::Refused(refused) => Err(Failure { what: refused.what, help: refused.help, session_lost: false }),
            Answer::Failed { what, help } => Err(Failure { what, help, session_lost: false }),
            _ => Err(unknown()),
        }
    }

    /// Whether a person is there who may approve the request of this id. False if no such request waits.
    pub fn is_attended(self, id: &str) -> bool {
        let about = id.parse().ok().and_then(|id| self.state.requests().about(id, Instant::now()));
        about.is_some_and(|about| self.can_ask(&about))
    }

    /// Waits until what waits under this id is answered; false if that takes longer, or whoever waits is told to stop.
    pub async fn answered_within(self, id: &str, wait: Duration, stop: &Stop) -> bool {
        let Ok(id) = id.parse::<RequestId>() else { return false };
        let mut answers = self.state.answers.subscribe();
        self.state.approval_requests().settled_until(id, &mut answers, tokio::time::Instant::now() + wait, stop).await
    }
}
