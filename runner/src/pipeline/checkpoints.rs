//! Checkpoints from a caller's side: who may take one and go back to one, asked and on record; and what a session makes of its
//! workspace once there is a way back.
//!
//! A restore is not a way round a rule: every file that it would write or delete is a request of its own beside `restore`. What it
//! would do is on record, path by path, before any of it is done.

use std::sync::{Arc, PoisonError};

use palisade_audit::{Anchor, RequestId, Yes};
use palisade_engine::{AbsolutePath, Act, Approval, Decision, FileAction, Report};
use palisade_redact::Redacted;
use serde::Serialize;

use super::approval_requests::RestoreApproval;
use super::checkpoint_target::CheckpointTarget;
use super::path_lists::in_parts;
use super::state::PipelineState;
use super::{Client, Failure, approval_binding};
use crate::checkpoint::Checkpoint;
use crate::checkpoint::plan::Plan;
use crate::checkpoint::store::{About, Snapshot};
use crate::checkpoint::tree::Name;
use crate::control::approvals::RequestStatus;
use crate::limits::MAX_LABEL;
use crate::record;
use crate::result::{CheckpointNote, DecisionNote, Explained, Refusal, Standing, Unanswered};
use crate::shell::deadline::Deadline;

/// Paths of one kind that a result names; it counts the others.
const SHOWN: usize = 100;

/// A checkpoint that was taken.
#[derive(Clone, Debug, Serialize)]
pub struct Taken {
    /// The checkpoint.
    #[serde(flatten)]
    pub note: CheckpointNote,
    /// What it does not hold, and why; the first of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_covered: Vec<Redacted>,
    /// The record's head behind it.
    #[serde(skip)]
    pub anchor: Anchor,
}

/// What a restore did, or would do.
#[derive(Clone, Debug, Serialize)]
pub struct RestoreNote {
    /// It was only asked what it would do.
    pub dry_run: bool,
    /// The checkpoint gone back to.
    pub checkpoint: Redacted,
    /// Put back as they were.
    pub write: Paths,
    /// Made since, and deleted.
    pub delete: Paths,
    /// Changed by others since, and left alone unless forced.
    pub conflicts: Paths,
    /// Made by others since, and left alone.
    pub left: Paths,
    /// What could not be done, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<Redacted>,
    /// The checkpoint of what was there before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undo: Option<Redacted>,
    /// The verdict on a dry run: what it would be.
    pub decision: DecisionNote,
    /// The record's head behind it.
    #[serde(skip)]
    pub anchor: Anchor,
}

/// Paths, the first of them by name.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Paths {
    /// How many there are.
    pub count: usize,
    /// The first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<Redacted>,
}

/// What became of something that was to be done with a checkpoint.
#[derive(Debug)]
pub enum Checked<T> {
    /// It was done.
    Done(Box<T>),
    /// Policy does not let it. Nothing was done.
    Refused(Box<Refusal>),
    /// Somebody has to say yes first. Nothing was done.
    Unanswered(Box<Unanswered>),
}

/// What a restore is to do.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terms {
    /// Only say what it would do.
    pub dry_run: bool,
    /// Put back what others changed, too.
    pub force: bool,
}

/// In whose name a restore is done, and where.
#[derive(Clone, Copy)]
struct Account<'a> {
    session: &'a str,
    ground: &'a CheckpointTarget,
}

/// Shows somebody what would be done and takes their answer, whether it is a yes; none if nobody is there.
pub type Person<'a> = dyn FnMut(&RestoreNote, &Explained) -> Option<(Approval, bool)> + Send + 'a;

/// The checkpoints of workspaces, and the way back to them.
#[derive(Clone, Copy, Debug)]
pub struct Checkpoints<'a> {
    pub(super) state: &'a Arc<PipelineState>,
}

impl Checkpoints<'_> {
    /// Takes a checkpoint of the workspace, between two commands of a session.
    ///
    /// # Errors
    /// There is no such session, the workspace or the store cannot be used, or it cannot be recorded: then there is no checkpoint.
    pub async fn take(self, session: &str, label: &str, client: &Client) -> Result<Checked<Taken>, Failure> {
        if label.len() > MAX_LABEL {
            return Err(Failure::of("the label is too long; the limit is 200 bytes"));
        }
        self.state.kill_switch().goes_on(Some(session))?;
        let ground = self.state.workspaces().of_session(session)?;
        // No command of the session runs meanwhile.
        let lease = self
            .state
            .session_registry
            .lease(session, &mut Deadline::never())
            .await
            .map_err(|error| self.state.lost(&error))?;
        let facts = self.state.workspaces().facts_in(&ground, session, client);
        let report = self.state.settings.engine.now().judge(&facts, &Act::Checkpoint, false);
        let explained = Explained::of(&report, &self.state.settings.redactor.keyed(session));
        if explained.decision != Decision::Allow {
            lease.give_back();
            let entry = record::checkpoint(session, &explained, None);
            return self.not_taken(explained, entry).await.map(Checked::Refused);
        }
        // What is not redacted must not lie in the store, whose list others see.
        let (label, session_of) = (self.state.redact(label).to_string(), session.to_owned());
        let about = About { label, session: session_of, before_restore: None, automatic: false, beyond: false };
        let taken = match self.state.workspaces().track(&ground, session).await {
            Ok(_) => self.state.workspaces().take(&ground, about, false, self.state.readings.pace()).await,
            Err(failure) => Err(failure),
        };
        lease.give_back();
        let (store, Snapshot { checkpoint: taken, .. }) = taken?;
        let note = self.note(&taken);
        let entry = record::checkpoint(session, &explained, Some(&note));
        let anchor = match self.state.audit.append(entry).await {
            Ok(anchor) => anchor,
            Err(error) => {
                self.state.workspaces().take_away(&ground, taken.id).await?;
                return Err(self.state.failure(&error));
            }
        };
        let uncovered = store.uncovered(&taken.id).map_err(|error| self.state.failure(&error))?;
        let shown = uncovered.iter().take(SHOWN);
        let not_covered =
            shown.map(|(name, why)| self.state.redact(&format!("{}: {why}", String::from_utf8_lossy(name)))).collect();
        Ok(Checked::Done(Box::new(Taken { note, not_covered, anchor })))
    }

    /// Goes back to a checkpoint, between two commands of a session, or says what that would do.
    ///
    /// # Errors
    /// There is no such session or checkpoint, workspace or store cannot be used, or it cannot be recorded: then nothing was restored.
    pub async fn restore(
        self,
        session: &str,
        checkpoint: &str,
        terms: Terms,
        client: &Client,
    ) -> Result<Checked<RestoreNote>, Failure> {
        self.state.kill_switch().goes_on(Some(session))?;
        let ground = self.state.workspaces().of_session(session)?;
        let lease = self
            .state
            .session_registry
            .lease(session, &mut Deadline::never())
            .await
            .map_err(|error| self.state.lost(&error))?;
        let done = self.go_back(&ground, session, checkpoint, terms, client, None).await;
        lease.give_back();
        done
    }

    /// Goes back to a checkpoint for the operator, on account of the session that it was taken for, whether or not that is open. `through`
    /// is a session at the target whose workspace is meant; none: that of this machine. `person` is shown what would be done, and gives
    /// their yes.
    ///
    /// # Errors
    /// As [`Self::restore`].
    pub async fn restore_from_outside(
        self,
        through: Option<&str>,
        checkpoint: &str,
        terms: Terms,
        person: &mut Person<'_>,
    ) -> Result<Checked<RestoreNote>, Failure> {
        let ground = self.state.workspaces().through(through)?;
        let name = checkpoint.to_owned();
        let (_, found) = self.state.workspaces().in_store(&ground, move |store| store.find(&name)).await?;
        let session = found.about.session;
        self.go_back(&ground, &session, checkpoint, terms, &Client::default(), Some(person)).await
    }

    pub(super) async fn go_back(
        self,
        ground: &CheckpointTarget,
        session: &str,
        checkpoint: &str,
        terms: Terms,
        client: &Client,
        person: Option<&mut Person<'_>>,
    ) -> Result<Checked<RestoreNote>, Failure> {
        let track = self.state.workspaces().track(ground, session).await?;
        let known = track.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let prospect = self.state.workspaces().look(ground, checkpoint, known).await?;
        let plan = if terms.force { prospect.plan.clone().forced() } else { prospect.plan.clone() };
        let facts = self.state.workspaces().facts_in(ground, session, client);
        let engine = self.state.settings.engine.now();
        let files = files(self.state.workspaces().path(ground), &plan)?;
        // What others have changed since is a conflict, and left alone unless it is forced. From outside it is not the session that asks.
        let act = Act::Restore { own: person.is_none() && !terms.force };
        let mut report = tokio::task::block_in_place(|| engine.judge_on(&facts, &act, &files));
        let redactor = self.state.settings.redactor.keyed(session);
        let account = Account { session, ground };
        let mut explained = short(&report, &redactor);
        let note = |plan: &Plan, explained: &Explained, anchor| RestoreNote {
            dry_run: terms.dry_run,
            checkpoint: self.state.redact(prospect.to.id.short()),
            write: self.paths(&plan.write),
            delete: self.paths(&plan.delete),
            conflicts: self.paths(&plan.conflicts),
            left: self.paths(&plan.kept),
            failed: Vec::new(),
            undo: None,
            decision: explained.note(self.state.redact(prospect.to.id.short())),
            anchor,
        };
        if terms.dry_run {
            return Ok(Checked::Done(Box::new(note(&plan, &explained, self.state.audit.head()))));
        }
        let mut yes = Yes::default();
        if explained.decision == Decision::Ask {
            let id = self.state.audit.request();
            let asks = Yes { ask: Some(id), under: None };
            let anchor = self.record_restore(account, &prospect.to, &plan, terms.force, &explained, asks).await?;
            let people = match person {
                Some(person) => match person(&note(&plan, &explained, anchor), &explained) {
                    Some((approval, granted)) => {
                        self.state.approvals().record_answer(id, &approval, granted, &report, &explained).await?;
                        if granted { Some((id, vec![approval])) } else { None }
                    }
                    None => None,
                },
                None => {
                    let binds = approval_binding::restore(
                        session,
                        prospect.to.id.as_str(),
                        terms.force,
                        &facts,
                        &plan,
                        &report,
                    );
                    let (files, report, explained) = (&files, &report, &explained);
                    let way =
                        RestoreApproval { id, binds, session, facts: &facts, act: &act, files, report, explained };
                    match self.state.approval_requests().register_restore(
                        way,
                        self.in_words(&prospect.to, &plan),
                        self.opened_by(&plan),
                    ) {
                        RequestStatus::Granted(id, people) => Some((id, people)),
                        RequestStatus::Waits(id) => {
                            return Ok(self.without_yes(
                                explained,
                                id,
                                self.state.approval_requests().standing(Some(id)),
                            ));
                        }
                        RequestStatus::Denied(id, no) => {
                            return Ok(self.without_yes(explained, id, self.state.approval_requests().denied(id, &no)));
                        }
                        RequestStatus::Full => {
                            return Ok(self.without_yes(explained, id, self.state.approval_requests().standing(None)));
                        }
                    }
                }
            };
            let Some((id, people)) = people else {
                return Ok(self.not_gone_back(&prospect.to, explained, self.state.audit.head()));
            };
            let shown = report;
            let again = || engine.approve_on(&facts, &act, &files, &shown, &people);
            report = tokio::task::block_in_place(again);
            explained = short(&report, &redactor);
            yes = Yes { ask: None, under: Some(id) };
        }
        let anchor = self.record_restore(account, &prospect.to, &plan, terms.force, &explained, yes).await?;
        if explained.decision != Decision::Allow {
            return Ok(self.not_gone_back(&prospect.to, explained, anchor));
        }
        let mut result = note(&plan, &explained, anchor);
        let restored = self.state.workspaces().put_back(ground, prospect, terms.force, session, track).await?;
        result.undo = Some(self.state.redact(restored.undo.id.short()));
        let failed = restored.failed.iter();
        result.failed = failed
            .map(|failed| self.state.redact(&format!("{}: {}", String::from_utf8_lossy(&failed.name), failed.why)))
            .collect();
        let entry = record::restored(session, self.state.redact(restored.undo.id.short()), &result.failed);
        result.anchor = self.state.audit.append(entry).await.map_err(|error| self.state.failure(&error))?;
        Ok(Checked::Done(Box::new(result)))
    }

    /// What is told of a restore that may not be.
    fn not_gone_back<T>(self, to: &Checkpoint, explained: Explained, anchor: Anchor) -> Checked<T> {
        let decision = explained.note(self.state.redact(to.id.short()));
        Checked::Refused(Box::new(Refusal { explained, decision, anchor }))
    }

    /// What is told of a restore that has no yes.
    fn without_yes<T>(self, explained: &Explained, id: RequestId, standing: Standing) -> Checked<T> {
        let decision = explained.note(self.state.redact(&id.to_string()));
        let (explained, anchor) = (explained.clone(), self.state.audit.head());
        Checked::Unanswered(Box::new(Unanswered { explained, decision, anchor, standing }))
    }

    fn in_words(self, to: &Checkpoint, plan: &Plan) -> Redacted {
        let (write, delete) = (plan.write.len(), plan.delete.len());
        self.state.redact(&format!("restore checkpoint {}: put back {write}, delete {delete}", to.id.short()))
    }

    /// The paths that a yes opens, the first of them.
    fn opened_by(self, plan: &Plan) -> Vec<Redacted> {
        let write = plan.write.iter().map(|name| ("write", name));
        let all = write.chain(plan.delete.iter().map(|name| ("delete", name)));
        all.take(SHOWN)
            .map(|(what, name)| self.state.redact(&format!("{what} {}", String::from_utf8_lossy(name))))
            .collect()
    }

    /// What is planned, path by path, in as many entries as it takes; all of them before anything is done.
    async fn record_restore(
        self,
        account: Account<'_>,
        to: &Checkpoint,
        plan: &Plan,
        force: bool,
        explained: &Explained,
        yes: Yes,
    ) -> Result<Anchor, Failure> {
        let write = plan.write.iter().map(|name| (name, true));
        let parts = in_parts(write.chain(plan.delete.iter().map(|name| (name, false))));
        let Account { session, ground } = account;
        let count = parts.len();
        let mut anchor = self.state.audit.head();
        for (part, these) in parts.into_iter().enumerate() {
            let (write, delete): (Vec<_>, Vec<_>) = these.into_iter().partition(|(_, write)| *write);
            let shown = |names: Vec<(&Name, bool)>| names.iter().map(|(name, _)| self.path(name)).collect();
            let (write, delete, target) = (shown(write), shown(delete), ground.target());
            let lists = record::Lists { target, write, delete, part: part + 1, parts: count };
            let entry = record::restore(session, self.state.redact(to.id.short()), explained, force, yes, lists);
            anchor = self.state.audit.append(entry).await.map_err(|error| self.state.failure(&error))?;
        }
        Ok(anchor)
    }

    /// The checkpoints of the workspace, oldest first: of that of a session, wherever it is.
    ///
    /// # Errors
    /// There is no such session, or the store cannot be read.
    pub async fn list(self, session: Option<&str>) -> Result<Vec<CheckpointNote>, Failure> {
        let ground = self.state.workspaces().through(session)?;
        let (_, all) = self.state.workspaces().in_store(&ground, |store| store.list()).await?;
        Ok(all.iter().map(|checkpoint| self.note(checkpoint)).collect())
    }

    async fn not_taken(self, explained: Explained, entry: palisade_audit::Entry) -> Result<Box<Refusal>, Failure> {
        let anchor = self.state.audit.append(entry).await.map_err(|error| self.state.failure(&error))?;
        let decision = explained.note(self.state.redact("checkpoint"));
        Ok(Box::new(Refusal { explained, decision, anchor }))
    }

    pub(super) fn note(self, checkpoint: &Checkpoint) -> CheckpointNote {
        let taken = jiff::Timestamp::from_millisecond(checkpoint.taken_ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        CheckpointNote {
            checkpoint: self.state.redact(checkpoint.id.short()),
            label: self.state.redact(&checkpoint.about.label),
            session: self.state.redact(&checkpoint.about.session),
            taken: self.state.redact(&taken.to_string()),
            files: checkpoint.files,
            bytes: checkpoint.bytes,
            uncovered: checkpoint.uncovered,
            automatic: checkpoint.about.automatic,
            before_restore: checkpoint
                .about
                .before_restore
                .as_ref()
                .map(|id| self.state.redact(id.get(..12).unwrap_or(id))),
        }
    }

    fn paths(self, names: &[Name]) -> Paths {
        Paths { count: names.len(), paths: names.iter().take(SHOWN).map(|name| self.path(name)).collect() }
    }

    pub(super) fn path(self, name: &Name) -> Redacted {
        self.state.redact(&String::from_utf8_lossy(name))
    }
}

/// The files of a plan, as policies know them: all of them, or nothing is done.
fn files(workspace: &AbsolutePath, plan: &Plan) -> Result<Vec<(FileAction, AbsolutePath)>, Failure> {
    let below = |name: &Name| AbsolutePath::new(&format!("{workspace}/{}", String::from_utf8_lossy(name)));
    let write = plan.write.iter().map(|name| (FileAction::Write, below(name)));
    let delete = plan.delete.iter().map(|name| (FileAction::Delete, below(name)));
    let known = write.chain(delete).map(|(action, path)| Some((action, path?)));
    known.collect::<Option<_>>().ok_or_else(|| Failure::of("a path of the checkpoint cannot be judged by policy"))
}

/// What was asked, without the thousands of files that nothing stands against.
fn short(report: &Report, redactor: &palisade_redact::Redactor) -> Explained {
    let mut report = report.clone();
    let mut first = true;
    report.requests.retain(|request| std::mem::take(&mut first) || request.decision != Decision::Allow);
    report.requests.truncate(SHOWN);
    report.reasons.truncate(SHOWN);
    Explained::of(&report, redactor)
}
