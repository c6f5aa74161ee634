//! What was decided and done of late, kept for the agent to read again: decisions by their id, and of each open session what it was
//! told to run and what came of that.
//!
//! It is in memory alone, of this principal's pipeline alone, and bounded; the record is what counts. Everything in it was shown in a result
//! before, or might have been: only redacted text is kept.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use palisade_audit::RequestId;
use palisade_redact::Redacted;
use serde::Serialize;

use crate::result::{ExecResult, Explained};

/// Decisions that are kept, and bytes of all of them.
const MAX_DECISIONS: usize = 500;
const MAX_DECISION_BYTES: usize = 4 << 20;

/// Bytes of one session's story: what is older goes first.
const MAX_STORY: usize = 256 << 10;

/// Sessions with a story: more than there can be, but for one that is closed while it is told something.
const MAX_STORIES: usize = 1024;

/// What one pipeline keeps.
#[derive(Debug, Default)]
pub(super) struct Transcripts(Mutex<TranscriptStore>);

#[derive(Debug, Default)]
struct TranscriptStore {
    decisions: VecDeque<(RequestId, usize, Arc<Explained>)>,
    /// Bytes of all decisions.
    weight: usize,
    sessions: BTreeMap<String, SessionTranscript>,
}

/// The story of one session.
#[derive(Debug, Default)]
struct SessionTranscript {
    /// How many scripts came before the first that is kept.
    before: u64,
    scripts: VecDeque<TranscriptEntry>,
    weight: usize,
}

/// A script that a session was told to run.
#[derive(Clone, Debug, Serialize)]
pub struct TranscriptEntry {
    /// Its place in the session's story, from 0.
    pub number: u64,
    /// Its decision.
    pub decision: Redacted,
    /// What was decided.
    pub effect: crate::Decision,
    /// The text.
    pub command: Redacted,
    /// What came of it; none if it did not run, or runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Arc<ExecResult>>,
}

/// The scripts of a session from a place on.
#[derive(Debug, Serialize)]
pub struct Transcript {
    /// The session.
    pub session: Redacted,
    /// Scripts from the place that was asked for on that are not kept any more.
    pub gone: u64,
    /// Where the story goes on.
    pub next: u64,
    /// The scripts.
    pub scripts: Vec<TranscriptEntry>,
}

impl Transcripts {
    /// A decision that is on record.
    pub(super) fn decided(&self, id: RequestId, explained: &Explained) {
        let weight = weight(explained);
        let mut store = self.store();
        store.decisions.push_back((id, weight, Arc::new(explained.clone())));
        store.weight += weight;
        while store.decisions.len() > MAX_DECISIONS || store.weight > MAX_DECISION_BYTES {
            let Some((_, weight, _)) = store.decisions.pop_front() else { return };
            store.weight = store.weight.saturating_sub(weight);
        }
    }

    /// The decision of this id, if it is kept.
    pub(super) fn decision(&self, id: RequestId) -> Option<Arc<Explained>> {
        self.store().decisions.iter().find(|(other, ..)| *other == id).map(|(.., explained)| Arc::clone(explained))
    }

    /// A session was told to run something.
    pub(super) fn told_to_run(&self, session: &str, decision: Redacted, explained: &Explained) {
        let mut store = self.store();
        while store.sessions.len() >= MAX_STORIES && !store.sessions.contains_key(session) {
            store.sessions.pop_first();
        }
        let story = store.sessions.entry(session.to_owned()).or_default();
        let number = story.before + story.scripts.len() as u64;
        let (effect, command) = (explained.decision, explained.command.clone());
        story.weight += command.as_str().len() + OVERHEAD;
        story.scripts.push_back(TranscriptEntry { number, decision, effect, command, outcome: None });
        story.shorten();
    }

    /// What came of it.
    pub(super) fn ended(&self, session: &str, result: &ExecResult) {
        let mut store = self.store();
        let Some(story) = store.sessions.get_mut(session) else { return };
        let id = result.decision.id.as_str();
        let Some(script) = story.scripts.iter_mut().rev().find(|script| script.decision.as_str() == id) else { return };
        let before = script.outcome.replace(Arc::new(result.clone()));
        // Of a command at a target there may have been some of it before.
        story.weight = story.weight.saturating_sub(before.as_deref().map_or(0, outcome_weight));
        story.weight += outcome_weight(result);
        story.shorten();
    }

    /// What a session was told to run, from a place on.
    pub(super) fn of(&self, session: &str, from: u64) -> (u64, u64, Vec<TranscriptEntry>) {
        let store = self.store();
        let Some(story) = store.sessions.get(session) else { return (0, 0, Vec::new()) };
        let next = story.before + story.scripts.len() as u64;
        let scripts = story.scripts.iter().filter(|script| script.number >= from).cloned().collect();
        (story.before.saturating_sub(from), next, scripts)
    }

    /// A session is closed.
    pub(super) fn forget(&self, session: &str) {
        self.store().sessions.remove(session);
    }

    fn store(&self) -> MutexGuard<'_, TranscriptStore> {
        // Nothing that holds the lock can fail half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes of a script or a request beside its texts, roughly.
const OVERHEAD: usize = 256;

impl SessionTranscript {
    fn shorten(&mut self) {
        while self.weight > MAX_STORY {
            let Some(script) = self.scripts.pop_front() else { return };
            let outcome = script.outcome.as_deref().map_or(0, outcome_weight);
            self.weight = self.weight.saturating_sub(script.command.as_str().len() + OVERHEAD + outcome);
            self.before += 1;
        }
    }
}

fn outcome_weight(result: &ExecResult) -> usize {
    result.stdout.as_str().len() + result.stderr.as_str().len() + OVERHEAD
}

fn weight(explained: &Explained) -> usize {
    let requests = explained.requests.iter().map(|request| request.resource.as_str().len() + OVERHEAD);
    let reasons = explained.reasons.iter().map(|reason| reason.text.as_str().len() + OVERHEAD);
    let opaque = explained.opaque.iter().map(|opaque| opaque.text.as_str().len() + OVERHEAD);
    explained.command.as_str().len() + OVERHEAD + requests.chain(reasons).chain(opaque).sum::<usize>()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use palisade_redact::Redactor;

    use super::*;

    fn explained(bytes: usize) -> Explained {
        let redactor = Redactor::builtin().unwrap();
        Explained {
            decision: crate::Decision::Deny,
            command: redactor.text(&"x ".repeat(bytes / 2)),
            policy_set: Redacted::default(),
            requests: Vec::new(),
            opaque: Vec::new(),
            reasons: Vec::new(),
            checkpoint: Vec::new(),
            omitted: None,
        }
    }

    fn id(number: usize) -> RequestId {
        format!("5f3a9c01-{number}").parse().unwrap()
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_oldest_goes() {
        let (story, small, large) = (Transcripts::default(), explained(10), explained(60 << 10));
        for number in 0..=MAX_DECISIONS {
            story.decided(id(number), &small);
        }
        assert!(story.decision(id(0)).is_none() && story.decision(id(1)).is_some());
        for number in 1000..1100 {
            story.decided(id(number), &large);
        }
        let kept = (1000..1100).filter(|number| story.decision(id(*number)).is_some()).count();
        assert!(kept > 0 && kept * (60 << 10) <= MAX_DECISION_BYTES, "{kept}");
        assert!(story.decision(id(1099)).is_some(), "the last of them is there");
        for _ in 0..20 {
            story.told_to_run("s-1", Redacted::default(), &large);
        }
        let (gone, next, scripts) = story.of("s-1", 0);
        assert_eq!((gone + scripts.len() as u64, next), (20, 20));
        assert!(!scripts.is_empty() && scripts.len() * (60 << 10) <= MAX_STORY, "{}", scripts.len());
        assert_eq!(story.of("s-1", 19).2.len(), 1);
        for number in 0..2 * MAX_STORIES {
            story.told_to_run(&format!("s-{number}"), Redacted::default(), &small);
        }
        assert!(story.store().sessions.len() <= MAX_STORIES);
        story.forget("s-1");
        assert_eq!(story.of("s-1", 0).1, 0);
    }
}
