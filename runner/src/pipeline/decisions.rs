//! What is judged: a script is read, the machine looked at, the engine asked, and the verdict put on record before anything comes of it.
//!
//! Decides how many are judged at once for long, and when a yes to a question could not be carried out.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use palisade_audit::{Anchor, RequestId, SealError};
use palisade_engine::{AbsolutePath, ApprovalRequest, Facts, Verdict};
use palisade_redact::Redacted;
use palisade_sandbox::plan::{self, Rights};
use tokio::sync::{OwnedRwLockReadGuard, SemaphorePermit};

use super::openings::Openings;
use super::seats::ExecTarget;
use super::state::PipelineState;
use super::{Call, Failure, NO_SESSION, WithClient, approval_binding, parse_cache};
use crate::record;
use crate::result::{DecisionNote, Explained, Refusal};
use crate::shell::SessionError;

/// What is said where a copy of what was asked cannot be sealed.
pub(super) const SEALED: &str =
    "the copy of this that `audit.sealed-to` demands cannot be made, so it is not on record and nothing is done";

/// What is judged, and put on record as decided.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decisions<'a> {
    pub(super) state: &'a Arc<PipelineState>,
}

impl<'a> Decisions<'a> {
    /// Reads the script, looks around and decides. A long script takes milliseconds, and so does one that has to be looked around
    /// for; meanwhile other calls go on. For any other, handing them to another thread would take longer.
    pub(super) async fn judge(self, call: &Call, seat: &ExecTarget) -> Judgement {
        let occasion = &seat.occasion;
        let surroundings = seat.elsewhere.as_ref().unwrap_or(&self.state.settings.surroundings);
        let read = || {
            let inventory = self.state.parse_cache.read(&call.script, &occasion.left);
            if inventory.own_parsed() {
                return (inventory, None);
            }
            let facts = surroundings.facts(occasion).with(&call.client);
            match self.state.settings.engine.now().apart(&inventory, &facts) {
                Some(instead) => (self.state.parse_cache.read(&instead, &occasion.left), Some(instead)),
                None => (inventory, None),
            }
        };
        let is_long = call.script.len() > parse_cache::SHORT;
        let mut turn = None;
        if is_long {
            turn = Some(self.turn().await);
        }
        let (inventory, instead) = if is_long { tokio::task::block_in_place(read) } else { read() };
        let looks_around = is_long || looks_around(&inventory);
        if looks_around && turn.is_none() {
            turn = Some(self.turn().await);
        }
        let judge = || {
            let engine = self.state.settings.engine.now();
            let facts = surroundings.gather(occasion, &inventory, &engine).with(&call.client);
            let started = Instant::now();
            let verdict = engine.decide(inventory, &facts);
            Judgement { facts, verdict, elapsed: started.elapsed(), instead }
        };
        let judgement = if looks_around { tokio::task::block_in_place(judge) } else { judge() };
        drop(turn);
        judgement
    }

    /// Waits until few enough judge what takes long. It holds a thread meanwhile, of which the runtime has a number: behind that nothing
    /// would be answered, the kill switch included.
    pub(super) async fn turn(self) -> Option<SemaphorePermit<'a>> {
        // Nobody closes it.
        self.state.judges.acquire().await.ok()
    }

    /// No record, no run. Behind a server's end there is no record.
    pub(super) async fn record(
        self,
        call: &Call,
        seat: &ExecTarget,
        verdict: &Verdict,
        under: Option<RequestId>,
        elapsed: Duration,
    ) -> Result<Decided, Failure> {
        let begins = Arc::clone(&self.state.ending).read_owned().await;
        if *begins {
            return Err(Failure::of("Palisade is about to end").helped("submit the command again once it runs"));
        }
        let req = self.state.audit.request();
        let redactor = self.state.settings.redactor.keyed(call.session.as_deref().unwrap_or(NO_SESSION));
        let explained = Explained::of(verdict.report(), &redactor);
        let entry = record::decided(
            self.state.settings.for_record(),
            &redactor,
            call,
            &seat.occasion,
            req,
            verdict,
            &explained,
            under,
            elapsed,
        )
        .map_err(|SealError| Failure::of(SEALED))?;
        let anchor = self.state.audit.append(entry).await.map_err(|error| self.state.failure(&error))?;
        let note = explained.note(self.state.settings.redactor.text(&req.to_string()));
        self.state.transcripts.decided(req, &explained);
        if let Some(session) = &call.session {
            self.state.transcripts.told_to_run(session, note.id.clone(), &explained);
        }
        Ok(Decided { req, explained, note, anchor, begins })
    }

    /// What a yes to this opens beyond what the kernel holds sessions to.
    pub(super) fn opens(self, question: &ApprovalRequest) -> Result<Openings, Failure> {
        // The guard tells the command that it has made what was made for it.
        let can_make = question.facts().session.guarded && palisade_sandbox::probe().mounts;
        let mut opened = Openings::of(question, can_make);
        if opened.is_empty() {
            return Ok(opened);
        }
        let (engine, settings) = (self.state.settings.engine.now(), &self.state.settings);
        let plan = self.state.plan_cache.plan(&engine, question.facts(), &BTreeMap::new(), settings);
        let plan =
            plan.map_err(|plan::Hole { outer, inner }| self.state.failure(&SessionError::Hole { outer, inner }))?;
        opened.retain(|path, rights, new| {
            let path = Path::new(path.as_str());
            // A new file there is made in the session's own place, which takes no wider rules.
            let is_there = |above: &&Path| above.symlink_metadata().is_ok();
            let around = if new.is_some() { path.ancestors().find(is_there).unwrap_or(path) } else { path };
            if palisade_sandbox::is_own_place(around) {
                return false;
            }
            let needed = if new.is_some() { Rights::WRITE } else { rights };
            let held = plan.rules.iter().any(|rule| path.starts_with(&rule.path) && rule.rights.contains(needed));
            !held || plan.masks.iter().any(|mask| path.starts_with(&mask.path))
        });
        Ok(opened)
    }

    /// Why a yes to this could not be carried out: it would open what policy forbids as well, and the kernel could not keep that from
    /// the command; or the session's user cannot change what it would open.
    pub(super) fn why_not(self, question: &ApprovalRequest, opens: &Openings) -> Option<String> {
        let changed = |rights: &Rights| rights.contains(Rights::WRITE) || rights.contains(Rights::DELETE);
        let changed = opens.places.iter().filter(|(_, rights)| changed(rights)).map(|(path, _)| path);
        // A new place is made in the directory around it.
        let is_there = |above: &AbsolutePath| Path::new(above.as_str()).symlink_metadata().is_ok();
        let mut changed =
            changed.filter_map(|path| std::iter::once(path.clone()).chain(path.ancestors()).find(is_there));
        if let Some(path) = changed.find(|path| !approval_binding::is_ours(Path::new(path.as_str()))) {
            return Some(format!("the session's user cannot change `{path}`"));
        }
        let engine = self.state.settings.engine.now();
        let hole =
            (!opens.is_empty()).then(|| self.state.plan_cache.hole(&engine, question.facts(), &opens.places)).flatten();
        let plan::Hole { outer, inner } = hole?;
        Some(format!(
            "a yes would open `{outer}`, and with it `{inner}`, which policy forbids; `mkdir` a directory there first, for it is opened alone"
        ))
    }

    /// The refusal of a command that could not run after a yes either. Its record is the `ask` decision, without an answer.
    pub(super) fn could_not_be_done(self, decided: Decided, why: &str) -> Refusal {
        let Decided { mut explained, anchor, note, .. } = decided;
        if let Some(first) = explained.reasons.first_mut() {
            first.reason.push(&self.state.redact(&format!(" Nobody is asked: {why}.")));
        }
        Refusal { decision: explained.note(note.id), explained, anchor }
    }

    /// The refusal of a command of which nobody could say, by its deadline, what its names mean at its target: what is not known is not
    /// allowed.
    pub(super) fn unseen(self, decided: Decided) -> Refusal {
        let Decided { mut explained, anchor, note, .. } = decided;
        if let Some(first) = explained.reasons.first_mut() {
            first.reason.push(&Redacted::from_static(
                " The target had not said what the command's names mean when its deadline passed.",
            ));
        }
        Refusal { decision: explained.note(note.id), explained, anchor }
    }
}

/// A verdict that is not on record yet, and what it rests on.
pub(super) struct Judgement {
    pub(super) facts: Facts,
    pub(super) verdict: Verdict,
    pub(super) elapsed: Duration,
    /// The script that was judged, and runs, in place of the one that was submitted.
    pub(super) instead: Option<Vec<u8>>,
}

/// A decision that is on record.
pub(super) struct Decided {
    pub(super) req: RequestId,
    pub(super) explained: Explained,
    pub(super) note: DecisionNote,
    pub(super) anchor: Anchor,
    /// Held until what was decided is known as running, or does not run.
    pub(super) begins: OwnedRwLockReadGuard<bool>,
}

/// What it touches is a tree, or has to be found.
fn looks_around(inventory: &palisade_grammar::Inventory) -> bool {
    let wide = |effect: &palisade_grammar::Effect| effect.tree || effect.target.value.literal().is_none();
    inventory.commands().iter().flat_map(|command| &command.effects).any(wide)
}
