//! What policy asks a person, and how the embedding program answers for that person.
//!
//! An answer is judged by policy as any other: a yes counts only where the policies let the user approve. A callback that panics says no.

use std::pin::Pin;
use std::sync::Arc;

use palisade_engine::{Approval, Channel, Lasts};
use palisade_runner::control::wire::Request;
use palisade_runner::{Explained, Redacted};

/// What a person has to say yes to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Question {
    /// The script, or what else is to be done, as it was parsed.
    pub command: Redacted,
    /// The program of a running script that waits for the answer in its `execve`; none for what has not begun.
    pub program: Option<Redacted>,
    /// The policies that ask.
    pub policies: Vec<Redacted>,
    /// Why they ask, in the policies' own words.
    pub reasons: Vec<Redacted>,
}

/// What the person says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// Once, to just this.
    Yes,
    /// No.
    No,
}

impl Question {
    pub(crate) fn of(explained: &Explained) -> Self {
        let reasons = explained.reasons.iter();
        Self {
            command: explained.command.clone(),
            program: None,
            policies: reasons.clone().map(|reason| reason.policy.clone()).collect(),
            reasons: reasons.map(|reason| reason.reason.clone()).collect(),
        }
    }

    pub(crate) fn waiting(request: &Request<Redacted>) -> Self {
        Self {
            command: request.short.command.clone(),
            program: request.process.as_ref().map(|process| process.file.clone()),
            policies: request.reasons.iter().map(|reason| reason.policy.clone()).collect(),
            reasons: request.reasons.iter().map(|reason| reason.reason.clone()).collect(),
        }
    }
}

type Reply = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// The callback.
#[derive(Clone)]
pub(crate) struct Ask(Arc<dyn Fn(Question) -> Reply + Send + Sync>);

impl Ask {
    /// One that may wait, as for a person at a terminal: it gets a thread.
    pub(crate) fn blocking(answer: impl Fn(&Question) -> Answer + Send + Sync + 'static) -> Self {
        let answer = Arc::new(answer);
        Self(Arc::new(move |question| {
            let answer = Arc::clone(&answer);
            Box::pin(async move {
                let answered = tokio::task::spawn_blocking(move || answer(&question)).await;
                answered.unwrap_or(Answer::No)
            })
        }))
    }

    pub(crate) fn future<F>(answer: impl Fn(Question) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        let answer = Arc::new(answer);
        Self(Arc::new(move |question| {
            let answer = Arc::clone(&answer);
            // A task of its own: what panics in it ends there.
            Box::pin(async move {
                let answered = tokio::spawn(async move { answer(question).await }).await;
                answered.unwrap_or(Answer::No)
            })
        }))
    }

    /// Whether the answer is a yes.
    pub(crate) async fn is_yes(&self, question: Question) -> bool {
        (self.0)(question).await == Answer::Yes
    }
}

impl std::fmt::Debug for Ask {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Ask")
    }
}

/// Who answers: the user on whose behalf the agent acts, as at the terminal that `palisade run` asks at.
pub(crate) fn person(user: &str) -> Approval {
    Approval {
        user: user.to_owned(),
        roles: std::collections::BTreeSet::new(),
        via: Channel::Terminal,
        lasts: Lasts::Once,
    }
}
