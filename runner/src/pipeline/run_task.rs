//! What was granted runs in a task of its own, so that a call may leave before it ends.
//!
//! This file decides when a call goes without the end, and what becomes of a session behind a command. The outcome is on
//! record before anybody is told of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use palisade_engine::{Facts, Grant};
use palisade_redact::Redacted;
use palisade_redact::output::View;
use tokio::sync::{mpsc, watch};

use super::auto_checkpoint::NO_SESSION;
use super::decisions::Decided;
use super::seats::ExecTarget;
use super::shells::Extra;
use super::state::PipelineState;
use super::{Call, Failure, Outcome};
use crate::job::registry::JobPermit;
use crate::job::{CallerReport, Job, JobId, Runs, Settled};
use crate::record;
use crate::result::{ExecResult, Finish, Late, Status};
use crate::session::Session;

use crate::shell::progress::Progress;
use crate::shell::{Due, End, Order, RunEnd, SessionError, ShellLoss, Stop, TerminalSize, Terms};

/// Orders that wait at most for a command.
const ORDERS: usize = 16;

/// Pieces of input that wait at most for a command, besides the one that it is reading.
const TYPED: usize = 2;

/// Ends a command whose call is gone before it could leave it as a job.
struct Attended(Option<watch::Sender<bool>>);

impl Attended {
    fn leave(&mut self) {
        self.0 = None;
    }
}

impl Drop for Attended {
    fn drop(&mut self) {
        if let Some(cancel) = &self.0 {
            cancel.send_replace(true);
        }
    }
}

/// Everything that the task needs.
struct RunTask {
    seat: ExecTarget,
    facts: Facts,
    grant: Grant,
    terms: Terms,
    terminal: Option<TerminalSize>,
    permit: Option<JobPermit>,
    settled: watch::Sender<Option<Settled>>,
    view: View,
}

/// Sends a result to the caller that waits for a command.
struct ResultSender {
    settled: watch::Sender<Option<Settled>>,
    persistent: bool,
    view: View,
}

/// The commands that were granted, from their start to the outcome on record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Commands<'a> {
    pub(super) state: &'a Arc<PipelineState>,
}

impl Commands<'_> {
    /// Starts what was granted, and waits for its end as long as the call wants to.
    pub(super) async fn run(
        self,
        mut seat: ExecTarget,
        facts: Facts,
        grant: Grant,
        decided: Decided,
        call: Call,
    ) -> Result<Outcome, Failure> {
        let apart = call.is_apart();
        // One that is waited for to the end is no job, whatever it has.
        let principal = format!("{}\0{}", facts.principal.agent, facts.principal.user);
        let permit = match call.yields.map(|_| self.state.job_registry.admit(&principal)) {
            Some(Err(limit)) if apart => {
                self.state
                    .audit
                    .append(record::not_started(decided.req))
                    .await
                    .map_err(|error| self.state.failure(&error))?;
                return Err(self.state.failure(&SessionError::TooManyJobs(limit)));
            }
            permit => permit.and_then(Result::ok),
        };
        let (timeout, due) = (self.state.time_of(&call), seat.due.take().map(Due::at));
        let yields = call.yields.filter(|_| permit.is_some());
        let view = call.view.unwrap_or_else(|| View::chars(self.state.settings.budget.max_chars));
        let progress = Arc::new(Progress::of(decided.req, self.state.settings.budget.keep_bytes, view.grep.as_ref()));
        call.follower.follow(&progress);
        let (orders, received) = mpsc::channel(ORDERS);
        if let Some(given) = call.orders {
            pass_on(given, orders.clone());
        }
        let (typist, typed) = mpsc::channel(TYPED);
        let (cancel, cancelled) = watch::channel(false);
        let (settled, settles) = watch::channel(None);
        let mut stop = Stop::default();
        stop.listen(cancelled);
        let terms = Terms {
            directory: seat.directory.take(),
            timeout,
            due: due.clone(),
            grace: None,
            progress: Arc::clone(&progress),
            live: call.live,
            stop,
            input: call.input.or_else(|| apart.then_some(typed)),
            orders: Some(received),
            colours: call.colours,
            stays: None,
            ends: false,
        };
        let restarted = seat.lease.as_mut().and_then(|lease| lease.session()).and_then(Session::take_notice);
        let job = Arc::new(Job {
            id: JobId::new().map_err(|error| self.state.failure(&error))?,
            holds: seat.lease.is_some().then(|| seat.id.clone()),
            session: seat.id.clone(),
            named: call.session.clone(),
            principal,
            cwd: facts.cwd.clone(),
            req: decided.req,
            script: decided.explained.command.clone(),
            runs: runs(&grant),
            decision: decided.note.clone(),
            started: Instant::now(),
            progress,
            input: apart.then_some(typist),
            terminal: call.terminal.is_some(),
            orders,
            told: AtomicU64::new(0),
            cancel: cancel.clone(),
            cause: std::sync::OnceLock::new(),
            restarted,
            elsewhere: seat.elsewhere.clone().map(|around| Box::new((around, seat.occasion.clone()))),
            settled: settles,
            answer: tokio::sync::Mutex::new(CallerReport::Nothing),
            touched: std::sync::Mutex::new(Instant::now()),
        });
        self.state.job_registry.begun(&job);
        // Known to whoever stops it from here on; one who came before has been heard of by now.
        if let Err(stopped) = self.state.kill_switch().goes_on(call.session.as_deref()) {
            self.state.job_registry.over(&job);
            self.state
                .audit
                .append(record::not_started(decided.req))
                .await
                .map_err(|error| self.state.failure(&error))?;
            return Err(stopped);
        }
        // Known to a reload from here on; one that came before has not seen it.
        let is_outdated = seat.elsewhere().is_some_and(|place| self.state.remote_sessions().is_outdated(place));
        if is_outdated || self.state.reloads.load(Ordering::Acquire) != seat.rules {
            self.state.job_registry.over(&job);
            self.state
                .audit
                .append(record::not_started(decided.req))
                .await
                .map_err(|error| self.state.failure(&error))?;
            return Err(Failure::of("the policies have changed meanwhile; submit the command again"));
        }
        drop(decided.begins);
        let answer = ResultSender { settled: settled.clone(), persistent: seat.lease.is_some(), view: view.clone() };
        let task = RunTask { seat, facts, grant, terms, terminal: call.terminal, permit, settled, view: view.clone() };
        let (state, of) = (Arc::clone(self.state), Arc::clone(&job));
        tokio::spawn(async move {
            let mut carried = std::pin::pin!(state.commands().carry_out(&of, task));
            let is_done = match &due {
                None => false,
                Some(due) => tokio::select! {
                    biased;
                    () = &mut carried => true,
                    () = state.commands().answer_in_time(&of, due, &answer) => false,
                },
            };
            if !is_done {
                // What is still to be done there is done all the same, with nobody waiting for it.
                carried.await;
            }
            state.job_registry.over(&of);
        });
        let mut stop = call.stop;
        let mut attended = Attended(Some(cancel));
        let settled = tokio::select! {
            settled = job.ended() => settled,
            () = stop.requested() => {
                drop(attended);
                return self.ran(&job, job.ended().await, &view);
            }
            () = leaves(&job, yields) => {
                attended.leave();
                return Ok(Outcome::Running(self.leave(job, &view)));
            }
        };
        attended.leave();
        self.ran(&job, settled, &view)
    }

    /// The result of a command that has ended. What of its output is not shown stays readable for a while.
    pub(super) fn ran(self, job: &Arc<Job>, settled: Settled, view: &View) -> Result<Outcome, Failure> {
        let finish = settled.map_err(|failure| (*failure).clone())?;
        let mut result = self.state.jobs().viewed(job, Some(&finish), None, view);
        // More of it may be known later.
        let goes_on = finish.late.is_some_and(|late| late != Late::NotBegun);
        if !result.omitted.is_empty() || goes_on {
            result.job = Some(self.state.redact(job.id.as_str()));
            self.state.job_registry.keep(Arc::clone(job));
        } else {
            result.cursor = None;
        }
        Ok(Outcome::Ran(result))
    }

    /// A command that goes on without the call.
    fn leave(self, job: Arc<Job>, view: &View) -> ExecResult {
        self.state.job_registry.keep(Arc::clone(&job));
        if let Some(session) = &job.holds {
            self.state.session_registry.hold(session.as_str(), Some(job.id.as_str()));
            // It may have ended just now, and nobody would take the name away again.
            if !job.is_running() {
                self.state.session_registry.hold(session.as_str(), None);
            }
        }
        self.state.jobs().viewed(&job, job.ending().and_then(Result::ok).as_ref(), None, view)
    }

    async fn carry_out(self, job: &Arc<Job>, task: RunTask) {
        let RunTask { mut seat, facts, grant, mut terms, terminal, permit, settled, view } = task;
        let changes = grant.changes_shell();
        let persistent = seat.lease.is_some();
        if let Some(lease) = &seat.lease {
            lease.runs();
            terms.stop.listen(lease.closing());
        }
        // What has no session is kept in the name of all that has none.
        let account = if persistent { job.session.as_str() } else { NO_SESSION };
        let before = match self.state.checkpoints().take_before(job, &mut seat, account, &grant, &terms.stop).await {
            Ok(before) => before,
            Err(failure) => {
                let end = self.settle(job, Err(&failure), persistent, &view).await;
                // Nothing has run, and the session is as it was: its turn comes for whoever hears of the end.
                self.state.session_registry.hold(job.session.as_str(), None);
                settled.send_replace(Some(end));
                drop((seat, permit));
                return;
            }
        };
        let ground = self.state.workspaces().of_seat(&mut seat).ok();
        let ran = match seat.lease.take() {
            Some(mut lease) => {
                match lease.session() {
                    Some(session) => {
                        let redactor = self.state.settings.redactor.keyed(job.session.as_str());
                        let watched = self.state.workspaces().look_before(ground, account, before).await;
                        let ran = session.run(grant, &redactor, terms).await;
                        self.state.workspaces().look_behind(watched).await;
                        let ran = ran.map_err(|error| self.state.failure(&error));
                        let end = self.settle(job, ran.as_ref(), persistent, &view).await;
                        // Whoever hears of the end may use the session: it waits for its turn, which comes at once. Whoever hears
                        // that it is lost may start it again, which can be done only once it is gone.
                        self.state.session_registry.hold(job.session.as_str(), None);
                        let is_lost = ran.as_ref().is_ok_and(|ended| ended.lost.is_some());
                        if is_lost {
                            self.behind(lease, ran, changes).await;
                            settled.send_replace(Some(end));
                        } else {
                            settled.send_replace(Some(end));
                            self.behind(lease, ran, changes).await;
                        }
                        return;
                    }
                    None => Err(self.state.failure(&SessionError::Unknown)),
                }
            }
            None => {
                let beginning = std::mem::take(&mut seat.beginning);
                let new = self.state.shells().make_new(&seat.extra);
                let started = match (seat.there.take(), &new) {
                    (_, Err(failure)) => Err(failure.clone()),
                    (Some(there), Ok(_)) => {
                        self.state
                            .remote_sessions()
                            .start_beside(&seat.id, there, &beginning, &facts.cwd, terminal, seat.rules)
                            .await
                    }
                    (None, Ok(new)) => {
                        let extra = Extra { places: &seat.extra.places, new: new.as_ref() };
                        self.state.shells().start_wider(&seat.id, &facts, beginning, terminal, seat.rules, &extra).await
                    }
                };
                let ran = match started {
                    Ok(session) => {
                        let watched = self.state.workspaces().look_before(ground, account, before).await;
                        let ran = self.run_alone(session, grant, terms).await;
                        self.state.workspaces().look_behind(watched).await;
                        ran
                    }
                    Err(failure) => Err(failure),
                };
                // Before anybody hears of the end. Threads of the guard may hold the places a little longer.
                if let Ok(Some(new)) = &new {
                    tokio::task::block_in_place(|| new.sweep());
                }
                ran
            }
        };
        settled.send_replace(Some(self.settle(job, ran.as_ref(), persistent, &view).await));
        drop((seat, permit));
    }

    /// What becomes of a session: it is ready for the next command, unless this one has ended its shell.
    async fn behind(self, mut lease: crate::session::registry::Lease, ran: Result<RunEnd, Failure>, changes: bool) {
        let lost = match &ran {
            Ok(ended) => ended.lost,
            // Nothing has run.
            Err(_) => None,
        };
        let reloads = self.state.reloads.load(Ordering::Acquire);
        let stale = lease.session().is_some_and(|session| session.place().is_none() && session.rules() != reloads);
        if let Some(lost) = lost {
            // The reload has ended the command, and the shell had to go with it.
            if stale {
                self.state.sessions().suspend(&mut lease).await;
                lease.give_back();
            } else {
                lease.end(lost).await;
            }
            return;
        }
        let status = match &ran {
            Ok(RunEnd { end: End::Status(status), .. }) => *status,
            Ok(_) | Err(_) => 130,
        };
        let has_begun = !matches!(&ran, Ok(RunEnd { end: End::NotBegun, .. }));
        if changes
            && has_begun
            && let Some(session) = lease.session()
            && session.remember(status).await.is_err()
        {
            lease.end(ShellLoss::Stateless).await;
            return;
        }
        if stale {
            self.state.sessions().suspend(&mut lease).await;
            lease.give_back();
            return;
        }
        lease.give_back();
    }

    /// In a shell of its own that ends with the command.
    async fn run_alone(self, mut session: Session, grant: Grant, terms: Terms) -> Result<RunEnd, Failure> {
        let redactor = self.state.settings.redactor.keyed(super::NO_SESSION);
        let terms = Terms { ends: true, ..terms };
        let ended = session.run(grant, &redactor, terms).await.map_err(|error| self.state.failure(&error));
        session.close().await;
        ended
    }

    /// Sees to it that whoever waits for a command at a target has an answer in time: at its end, or else with what is known by then.
    /// Done once there is one. Safe to drop.
    async fn answer_in_time(self, job: &Job, due: &Due, answer: &ResultSender) {
        due.is_over().await;
        let mut told = job.answer.lock().await;
        let settled = match &*told {
            CallerReport::Early(..) => return,
            // What comes behind it takes its time.
            CallerReport::End(settled) => settled.clone(),
            CallerReport::Nothing => {
                // What is refused from here on has an entry of its own.
                job.progress.settle();
                let (end, late) = match due.end() {
                    _ if due.stays() => (End::NotBegun, Late::NotBegun),
                    Some(end) => (end, Late::Unsettled),
                    None => (End::TimedOut, Late::MayRun),
                };
                let ended = RunEnd { end, lost: None, cwd: None, duration: job.started.elapsed() };
                let finish = Finish { late: Some(late), ..self.finish(&ended, answer.persistent) };
                let result = self.state.jobs().viewed(job, Some(&finish), None, &answer.view);
                let settled = self.on_record(job, finish, &result, answer.persistent).await;
                *told = CallerReport::Early(settled.clone(), result.redactions);
                settled
            }
        };
        drop(told);
        if due.stays() {
            // What would come before it is in vain.
            job.cancel.send_replace(true);
        }
        self.state.session_registry.told(job.session.as_str());
        answer.settled.send_replace(Some(settled));
    }

    /// How a command ended, once that is on record. Where whoever waited for it was told before, its end has an entry of its own.
    async fn settle(self, job: &Job, ran: Result<&RunEnd, &Failure>, persistent: bool, view: &View) -> Settled {
        let mut told = job.answer.lock().await;
        let known = match &*told {
            // There is nothing more to say.
            CallerReport::Early(settled, _) if !matches!(ran, Ok(RunEnd { end, .. }) if *end != End::NotBegun) => {
                return settled.clone();
            }
            CallerReport::Early(_, redactions) => Some(redactions),
            CallerReport::Nothing | CallerReport::End(_) => None,
        };
        let settled = match ran {
            Ok(ended) => {
                // What is refused from here on has an entry of its own.
                job.progress.settle();
                let mut finish = self.finish(ended, persistent);
                finish.cause = job.cause.get().copied().filter(|_| finish.status == Status::Cancelled);
                let mut result = self.state.jobs().viewed(job, Some(&finish), None, view);
                if let Some(known) = known {
                    // What was refused and redacted by then is on record.
                    (result.denied, result.denied_more) = (Vec::new(), 0);
                    result.redactions = since(known, &result.redactions);
                }
                self.on_record(job, finish, &result, persistent).await
            }
            Err(failure) => match self.state.audit.append(record::not_started(job.req)).await {
                Ok(_) => Err(Arc::new(failure.clone())),
                Err(error) => Err(Arc::new(self.state.failure(&error))),
            },
        };
        *told = CallerReport::End(settled.clone());
        // What is still done behind it is nobody's command.
        self.state.session_registry.told(job.session.as_str());
        settled
    }

    async fn on_record(self, job: &Job, mut finish: Finish, result: &ExecResult, persistent: bool) -> Settled {
        let entry = record::finished(&job.session, persistent, job.req, result);
        finish.anchor = self.state.audit.append(entry).await.map_err(|error| Arc::new(self.state.failure(&error)))?;
        if let Some(session) = &job.named {
            self.state.transcripts.ended(session, result);
        }
        Ok(finish)
    }

    fn finish(self, ended: &RunEnd, persistent: bool) -> Finish {
        let (status, exit_code, signal) = match ended.end {
            End::Status(code) | End::ShellExited(code) => (Status::Done, Some(code), None),
            End::ShellKilled(signal) => (Status::Done, None, Some(signal)),
            End::TimedOut | End::NotBegun => (Status::TimedOut, None, None),
            End::Cancelled => (Status::Cancelled, None, None),
            End::Limited(_) => (Status::Limited, None, None),
            End::Unknown => (Status::SessionLost, None, None),
        };
        let late = match (ended.end, ended.lost) {
            (End::NotBegun, _) => Some(Late::NotBegun),
            (_, Some(ShellLoss::Unended)) => Some(Late::MayRun),
            _ => None,
        };
        let lost = ended.lost.filter(|_| persistent || ended.end == End::Unknown);
        let status = if lost.is_some() && status == Status::Done { Status::SessionLost } else { status };
        let limit = match ended.end {
            End::Limited(limit) => Some(limit),
            _ => None,
        };
        let cwd = ended.cwd.as_ref().map(|cwd| self.state.redact(cwd.as_str())).unwrap_or_default();
        let lost = lost.map(|lost| Redacted::from_static(lost.as_str()));
        Finish {
            status,
            exit_code,
            signal,
            limit,
            cwd,
            duration: ended.duration,
            lost,
            late,
            cause: None,
            anchor: self.state.audit.head(),
        }
    }
}

/// What there is of each that was not there before.
fn since(before: &BTreeMap<Redacted, u64>, now: &BTreeMap<Redacted, u64>) -> BTreeMap<Redacted, u64> {
    let more = now.iter().map(|(rule, count)| (rule, count.saturating_sub(before.get(rule).copied().unwrap_or(0))));
    more.filter(|(_, count)| *count > 0).map(|(rule, count)| (rule.clone(), count)).collect()
}

/// Until the call leaves: its time is up, or the command waits for input that only another call can give.
async fn leaves(job: &Job, yields: Option<Duration>) {
    let Some(yields) = yields else { return std::future::pending().await };
    tokio::select! {
        () = tokio::time::sleep(yields) => {}
        () = job.progress.once(|known| known.waits_for_input) => {}
    }
}

/// The programs that the text names; what it does not tell counts as an interpreter.
fn runs(grant: &Grant) -> Vec<Runs> {
    let mut runs: Vec<Runs> =
        grant.programs().map(|(program, interpreter)| Runs { program: program.to_owned(), interpreter }).collect();
    if runs.is_empty() {
        runs.push(Runs { program: String::new(), interpreter: true });
    }
    runs
}

/// Hands a caller's orders on to its command, as long as both are there.
fn pass_on(mut given: mpsc::Receiver<Order>, orders: mpsc::Sender<Order>) {
    tokio::spawn(async move {
        while let Some(order) = given.recv().await {
            if orders.send(order).await.is_err() {
                return;
            }
        }
    });
}
