//! The flow, once: inventory → facts → decide → record → run(grant) → redact → bound → result → record.
//!
//! MCP tools and the command line both come through here. What was granted runs in a task of its own (`run_task.rs`), the
//! only caller of [`Session::run`](crate::session::Session::run); a call may leave before it ends and come back for it (`jobs.rs`).
//!
//! [`Pipeline`] has the calls that go through all of it. The rest are its parts: each is a handle to the state that they share (`state.rs`),
//! and has what is done in one area.
//!
//! | part | its area | files |
//! |---|---|---|
//! | `Seats` | where a call is judged and runs | `seats.rs`, `remote_seats.rs` |
//! | `Decisions` | what is judged, and put on record | `decisions.rs` |
//! | `Commands` | what was granted, from its start to its outcome | `run_task.rs` |
//! | `Shells` | what shells on this machine are started with | `shells.rs` |
//! | [`Sessions`], `RemoteSessions` | sessions for callers; how one at a target comes about | `sessions.rs`, `remote_sessions.rs` |
//! | [`Jobs`] | commands that go on after their calls | `jobs.rs`, `job_approval.rs` |
//! | `ApprovalRequests` | what waits for a person's yes | `approval_requests.rs`, `executions.rs` |
//! | [`Approvals`] | what people see of that, and their answers | `approvals.rs`, `client_approval.rs`, `presence.rs` |
//! | `StandingApprovals` | yeses that hold for longer than one call | `standing_approvals.rs` |
//! | `Overseers` | what people may do with the server | `overseers.rs` |
//! | `ControlAnswers` | what they are answered at the control socket | `control_answers.rs` |
//! | [`KillSwitch`] | what they have stopped | `kill_switch.rs` |
//! | `LearnedValues` | what the redactor has learned | `learned_values.rs` |
//! | [`Checkpoints`] | who may take, go back to and give up a checkpoint | `checkpoints.rs`, `auto_checkpoint.rs`, `retention.rs` |
//! | `Workspaces` | where the workspaces of checkpoints lie | `checkpoint_target.rs`, `workspace_changes.rs` |
//! | [`Views`] | what agents did in views of the workspace | `view_apply.rs` |
//! | [`ReadApi`] | what an agent can read again | `read_api.rs` |

mod approval_binding;
mod approval_requests;
mod approvals;
mod auto_checkpoint;
mod canonical;
mod checkpoint_target;
mod checkpoints;
mod client_approval;
mod control_answers;
mod control_server;
mod decisions;
mod executions;
mod job_approval;
mod jobs;
mod kill_switch;
mod learned_values;
mod logins;
mod openings;
mod outcome;
mod overseers;
mod parse_cache;
mod path_lists;
mod plan_cache;
mod presence;
mod read_api;
mod reload;
mod remote_seats;
mod remote_sessions;
mod retention;
mod run_task;
mod seats;
mod sessions;
mod shells;
mod standing_approvals;
mod state;
mod transcript;
mod usage;
mod view_apply;
mod workspace_changes;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::sync::Arc;
use std::time::{Duration, Instant};

use palisade_audit::{Anchor, Audit, AuditError, RequestId};
use palisade_engine::{AbsolutePath, Approval, ApprovalRequest, Facts, Scratch, Verdict};
use palisade_redact::{Redacted, Redactor};
use palisade_sandbox::plan::{Level, Limits};

use self::decisions::Judgement;
use self::openings::Openings;
use self::outcome::ApprovedRun;
use self::seats::ExecTarget;
use self::state::PipelineState;
use crate::caches::Caches;
use crate::call::{Call, Client};
use crate::control::People;
use crate::control::approvals::RequestStatus;
use crate::facts::Surroundings;
use crate::failure::Failure;
use crate::guard::DeskSettings;
use crate::policies::Policies;
use crate::record;
use crate::result::{CheckpointNote, DecisionNote, Explained, Refusal, Unanswered};
use crate::shell::SessionId;
use crate::shell::deadline::Deadline;
use crate::target::Target;

pub use self::approvals::Approvals;
pub use self::checkpoints::{Checked, Checkpoints, Paths, Person, RestoreNote, Taken, Terms as RestoreTerms};
pub use self::control_server::Door;
pub use self::job_approval::PendingAct;
pub use self::jobs::{Jobs, Reading};
pub use self::kill_switch::KillSwitch;
pub use self::logins::Outsider;
pub use self::outcome::{Outcome, Pending, Reached};
pub use self::presence::Attendance;
pub use self::read_api::{ReadApi, Rule, Rules};
pub use self::remote_sessions::AtTerminal;
pub use self::retention::Pruned;
pub use self::sessions::{Opened, SessionNote, Sessions};
pub use self::transcript::{Transcript, TranscriptEntry};
pub use self::view_apply::{Applied, Views};

/// Jobs of one principal that may run at once.
pub const MAX_JOBS: usize = 20;

/// What stands for a session where there is none: commands without one share a redactor's memory, which no session has, and whether a
/// tool may be called is no session's affair.
const NO_SESSION: &str = "";

/// Everything that the operator decided.
#[derive(Debug)]
pub struct Settings {
    /// The policies and groups.
    pub engine: Policies,
    /// Who asks, and where things are.
    pub surroundings: Surroundings,
    /// Where commands start.
    pub cwd: AbsolutePath,
    /// Where sessions can be besides this machine, by name.
    pub targets: BTreeMap<String, Target>,
    /// The variables that commands see.
    pub environment: Vec<(OsString, OsString)>,
    /// How much the kernel has to hold.
    pub level: Level,
    /// Policies by name patterns that may stay unheld by the kernel for files that are made later.
    pub accept: BTreeSet<String>,
    /// Limits of one session.
    pub limits: Limits,
    /// How long a command may take unless it says otherwise.
    pub timeout: Duration,
    /// How much output is kept and shown.
    pub budget: Budget,
    /// Sessions open at once.
    pub max_sessions: usize,
    /// How long a session, or the output of a job that is done, is kept for nobody who asks for it.
    pub idle: Duration,
    /// How old a session may become, whoever uses it.
    pub lifetime: Option<Duration>,
    /// How long a request waits for a person's yes, and a yes for the call that it is to.
    pub approvals_expire: Duration,
    /// Where yeses are kept that hold for longer than a session; none: in memory, as those of sessions are.
    pub remembered: Option<crate::remembered::Remembered>,
    /// The roles of people, for those who look after agents.
    pub people: People,
    /// The verb that Palisade was started with, for the record.
    pub verb: &'static str,
    /// Where the record goes.
    pub audit: palisade_audit::AuditSettings,
    /// The caches of the agent's tools; none: they have none that they can write.
    pub caches: Option<Caches>,
    /// The view of the workspace that this process lives in, with all that it starts; none: it lives outside of any.
    pub view: Option<crate::overlay::Entered>,
    /// Where checkpoints are kept, and what they leave out.
    pub checkpoints: crate::checkpoint::Settings,
    /// What counts as a secret.
    pub redactor: Redactor,
}

impl Settings {
    /// What the record tells of them.
    pub(crate) fn for_record(&self) -> record::Context<'_> {
        record::Context {
            policies: &self.engine,
            redactor: &self.redactor,
            principal: &self.surroundings.principal,
            level: self.level,
            sealed_to: self.audit.sealed_to.as_ref(),
        }
    }

    /// What the guard of a session decides with.
    #[must_use]
    pub fn for_guard(&self) -> DeskSettings<'_> {
        DeskSettings { policies: &self.engine, surroundings: &self.surroundings, redactor: &self.redactor }
    }
}

/// How much output is kept and shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Characters of each stream in a result.
    pub max_chars: usize,
    /// Bytes of each stream that are kept, head and tail.
    pub keep_bytes: usize,
}

/// The one flow. Its calls need a tokio runtime with several threads.
#[derive(Debug)]
pub struct Pipeline {
    state: Arc<PipelineState>,
}

impl Pipeline {
    /// Opens the record and is ready. The sandbox is probed here, so that a machine that cannot hold what the settings
    /// ask for is told before anything is judged.
    ///
    /// # Errors
    /// If the record cannot be written, or the kernel lacks what the level asks for.
    pub fn open(settings: Settings) -> Result<Arc<Self>, OpenError> {
        let settings = Settings { redactor: settings.redactor.session(), ..settings };
        // Made while the machine may still be looked at, which takes processes and little of a processor.
        let start = record::start(
            settings.for_record(),
            settings.verb,
            settings.view.as_ref().map(|view| view.overlay().id()).as_deref(),
        );
        palisade_sandbox::probe().meets(settings.level)?;
        let audit = Audit::open(&settings.audit, start)?;
        let state = Arc::new(PipelineState::new(settings, audit));
        let pipeline = Arc::new(Self { state });
        pipeline.state.overseers().keep_records();
        Ok(pipeline)
    }

    /// Judges a script and, if it is allowed, runs it.
    ///
    /// # Errors
    /// If there is no such session, no shell can be started, or the record cannot be written: then nothing has run, or,
    /// if it was the outcome that could not be recorded, its result is withheld.
    pub async fn submit(&self, mut call: Call) -> Result<Outcome, Failure> {
        self.state.kill_switch().goes_on(call.session.as_deref())?;
        let decisions = self.state.decisions();
        // First of all, so that calls to one session keep the order in which they came.
        let mut seat = self.state.seats().take(&call).await?;
        let Judgement { facts, verdict, elapsed, instead } = decisions.judge(&call, &seat).await;
        call.script = instead.unwrap_or(call.script);
        // At once: what is judged while this waits for the record is judged as coming after it.
        self.state.usage.count(&verdict, &self.state.settings.engine.now());
        let decided = decisions.record(&call, &seat, &verdict, None, elapsed).await?;
        if seat.unseen && !matches!(verdict, Verdict::Allow(_)) {
            // Nobody is asked about what would be another question once the target answers.
            return Ok(Outcome::Denied(decisions.unseen(decided)));
        }
        match verdict {
            Verdict::Allow(grant) => Box::pin(self.state.commands().run(seat, facts, grant, decided, call)).await,
            Verdict::Ask(question) => {
                let opens = tokio::task::block_in_place(|| decisions.opens(&question))?;
                if let Some(why) = decisions.why_not(&question, &opens) {
                    return Ok(Outcome::Denied(decisions.could_not_be_done(decided, &why)));
                }
                let pending = Pending {
                    opens,
                    question,
                    call,
                    scripts: seat.scripts,
                    state: seat.state(),
                    req: decided.req,
                    explained: decided.explained,
                    decision: decided.note,
                    anchor: decided.anchor,
                };
                let Some((under, person)) = self.state.standing_approvals().yes_to(&pending) else {
                    return Ok(Outcome::Ask(Box::new(pending)));
                };
                // Where it was given to this very call, it is used up for that one.
                self.state.requests().withdraw(under);
                drop(decided.begins);
                let Pending { question, call, opens, .. } = pending;
                // Boxed, as below: a future that is not lies on the stack of the one that waits for it.
                let lifted = self.lift_in(seat, question, call, opens, std::slice::from_ref(&person), under);
                Box::pin(lifted).await.map(|outcome| *outcome)
            }
            Verdict::Deny(_) => Ok(Outcome::Denied(Refusal {
                explained: decided.explained,
                decision: decided.note,
                anchor: decided.anchor,
            })),
        }
    }

    /// Judges a script again after the yes of a person at the terminal and, if policy lets that person approve it, runs it.
    ///
    /// # Errors
    /// As [`Self::submit`].
    pub async fn approve(&self, pending: Pending, person: &Approval) -> Result<Outcome, Failure> {
        let (of, report) = (pending.req, pending.question.report());
        self.state.approvals().record_answer(of, person, true, report, &pending.explained).await?;
        match self.lift(pending, std::slice::from_ref(person), of).await? {
            ApprovedRun::Ended(outcome) => Ok(*outcome),
            ApprovedRun::Outdated(_) => {
                Err(Failure::of("the policies have changed since this was asked; submit the command again"))
            }
        }
    }

    /// What becomes of a script that needs a yes: it runs if there is one, or waits for one, `wait` long with this call.
    ///
    /// # Errors
    /// As [`Pipeline::submit`].
    pub async fn ask(&self, pending: Pending, wait: Duration) -> Result<Outcome, Failure> {
        let requests = self.state.approval_requests();
        let deadline = tokio::time::Instant::now() + wait;
        let mut pending = pending;
        loop {
            let mut answers = self.state.answers.subscribe();
            let call = match requests.register(&pending) {
                RequestStatus::Granted(id, people) => match Box::pin(self.lift(pending, &people, id)).await? {
                    ApprovedRun::Ended(outcome) => return Ok(*outcome),
                    // The yes is used up, and the next one is to what these policies say.
                    ApprovedRun::Outdated(call) => *call,
                },
                RequestStatus::Waits(id) => {
                    match requests.settled_until(id, &mut answers, deadline, &pending.call.stop).await {
                        true => pending.call,
                        false => {
                            return Ok(Outcome::Unanswered(Box::new(requests.unanswered(pending, Some(id)))));
                        }
                    }
                }
                RequestStatus::Denied(id, no) => {
                    let Pending { explained, decision, anchor, .. } = pending;
                    let standing = requests.denied(id, &no);
                    return Ok(Outcome::Unanswered(Box::new(Unanswered { explained, decision, anchor, standing })));
                }
                RequestStatus::Full => {
                    return Ok(Outcome::Unanswered(Box::new(requests.unanswered(pending, None))));
                }
            };
            // It is judged again, as it is now, before the answer counts for it.
            match Box::pin(self.submit(call)).await? {
                Outcome::Ask(again) => pending = *again,
                other => return Ok(other),
            }
        }
    }

    /// Puts a person's no on record.
    ///
    /// # Errors
    /// If it cannot be recorded.
    pub async fn decline(&self, pending: &Pending, person: &Approval) -> Result<(), Failure> {
        let (of, report) = (pending.req, pending.question.report());
        self.state.approvals().record_answer(of, person, false, report, &pending.explained).await
    }

    /// Judges a script without running or recording it.
    ///
    /// # Errors
    /// If there is no such session or directory, or a person has stopped it.
    pub async fn explain(&self, call: &Call) -> Result<Explained, Failure> {
        self.state.kill_switch().goes_on(call.session.as_deref())?;
        let seat = match &call.session {
            Some(id) => self.state.seats().in_session(call, id, &mut Deadline::after(self.state.time_of(call))).await?,
            // Nothing will run: it takes no place from those who want one.
            None => {
                self.state.seats().here(call, SessionId::new().map_err(|error| self.state.failure(&error))?, None)?
            }
        };
        let Judgement { verdict, .. } = self.state.decisions().judge(call, &seat).await;
        Ok(Explained::of(verdict.report(), &self.state.settings.redactor))
    }

    /// Judges a script that the agent's client runs itself, outside of every session, and puts that on record. Unless it is `held`, policy is asked as
    /// `check --unguarded` asks it: nothing decides again at each program start, and the kernel holds no path. Else it is asked as for a session.
    ///
    /// # Errors
    /// If there is no such directory, a person has stopped the agent, or the record cannot be written.
    pub async fn consult(&self, call: &Call, held: bool) -> Result<(Explained, DecisionNote), Failure> {
        self.state.kill_switch().goes_on(None)?;
        let id = SessionId::new().map_err(|error| self.state.failure(&error))?;
        let mut seat = self.state.seats().here(call, id, None)?;
        if !held {
            let session = &mut seat.occasion.session;
            (session.guarded, session.paths_held, session.own_network) = (false, false, false);
            (seat.occasion.temp, seat.occasion.scratch) = (None, Scratch::default());
        }
        let Judgement { verdict, elapsed, .. } = self.state.decisions().judge(call, &seat).await;
        self.state.usage.count(&verdict, &self.state.settings.engine.now());
        let decided = self.state.decisions().record(call, &seat, &verdict, None, elapsed).await?;
        if matches!(verdict, Verdict::Allow(_)) {
            let entry = record::by_client(decided.req);
            self.state.audit.append(entry).await.map_err(|error| self.state.failure(&error))?;
        }
        Ok((decided.explained, decided.note))
    }

    /// Whether the principal may use a tool of another MCP server, which its client then calls.
    ///
    /// # Errors
    /// If a person has stopped the agent.
    pub fn consult_tool(&self, tool: &str, client: &Client) -> Result<bool, Failure> {
        self.state.kill_switch().goes_on(None)?;
        Ok(self.permits_tool(tool, client))
    }

    /// Whether the principal may use an MCP tool.
    pub fn permits_tool(&self, tool: &str, client: &Client) -> bool {
        // In no session, and so always in the same one: what the engine keeps of a new one each time would be for nothing.
        let occasion = self.state.occasion_named(NO_SESSION, self.state.settings.cwd.clone(), None);
        let facts = self.state.settings.surroundings.facts(&occasion).with(client);
        self.state.settings.engine.now().permits_tool(&facts, tool)
    }

    /// The sessions: opened, had again, listed and closed.
    pub fn sessions(&self) -> Sessions<'_> {
        Sessions { state: &self.state }
    }

    /// The jobs: commands that go on after their calls have returned.
    pub fn jobs(&self) -> Jobs<'_> {
        Jobs { state: &self.state }
    }

    /// The requests that wait for a person, and the answers to them.
    pub fn approvals(&self) -> Approvals<'_> {
        Approvals { state: &self.state }
    }

    /// The checkpoints of workspaces, and the way back to them.
    pub fn checkpoints(&self) -> Checkpoints<'_> {
        Checkpoints { state: &self.state }
    }

    /// What agents did in views of the workspace.
    pub fn views(&self) -> Views<'_> {
        Views { state: &self.state }
    }

    /// What an agent can read again.
    pub fn read_api(&self) -> ReadApi<'_> {
        ReadApi { state: &self.state }
    }

    /// What people have stopped.
    pub fn kill_switch(&self) -> KillSwitch<'_> {
        KillSwitch { state: &self.state }
    }

    /// Ends what nobody uses, again and again, as long as the pipeline lives. For a server to run beside its work.
    pub async fn keep_house(&self) {
        let state = Arc::downgrade(&self.state);
        let idle = self.state.settings.idle;
        let every = (idle / 10).clamp(Duration::from_millis(100), Duration::from_secs(30));
        loop {
            tokio::time::sleep(every).await;
            let Some(state) = state.upgrade() else { return };
            state.job_registry.sweep(idle);
            for id in state.session_registry.close_idle(idle, state.settings.lifetime).await {
                state.workspace_changes.forget(&id);
                state.transcripts.forget(&id);
                if let Err(failure) = state.audit.append(record::closed(&id, "idle")).await {
                    tracing::error!(%failure, "the end of a session cannot be recorded");
                }
            }
        }
    }

    /// Ends every session and closes the record.
    ///
    /// # Errors
    /// If the end cannot be recorded.
    pub async fn shut_down(&self) -> Result<(), Failure> {
        *self.state.ending.write().await = true;
        self.state.readings.end();
        self.state.job_registry.end_all().await;
        for id in self.state.session_registry.close_all().await {
            self.state.workspace_changes.forget(&id);
            self.state.transcripts.forget(&id);
            let entry = record::closed(&id, "shutdown");
            self.state.audit.append(entry).await.map_err(|error| self.state.failure(&error))?;
        }
        self.state.audit.append(record::stop()).await.map(drop).map_err(|error| self.state.failure(&error))
    }

    /// The head of the record.
    pub fn anchor(&self) -> Anchor {
        self.state.audit.head()
    }

    /// The chain of the record, by which this server's control socket is named.
    pub fn chain(&self) -> String {
        self.state.audit.chain().to_string()
    }

    /// How much output is kept and shown unless a call says otherwise.
    pub fn budget(&self) -> Budget {
        self.state.settings.budget
    }

    /// How long a session, a job or what is left of one is kept for nobody who asks for it.
    pub fn idle(&self) -> Duration {
        self.state.settings.idle
    }

    /// On whose behalf the principal acts.
    pub fn user(&self) -> &str {
        &self.state.settings.surroundings.principal.user
    }

    /// What may be shown of a text.
    pub fn redact(&self, text: &str) -> Redacted {
        self.state.redact(text)
    }

    /// Judges a script again after the yes of these people, which is on record, to the request `under`, and runs it.
    async fn lift(&self, pending: Pending, people: &[Approval], under: RequestId) -> Result<ApprovedRun, Failure> {
        let Pending { question, call, scripts, opens, .. } = pending;
        self.state.kill_switch().goes_on(call.session.as_deref())?;
        let facts = question.facts().clone();
        // How long the person took is not the target's.
        let mut deadline = Deadline::after(self.state.time_of(&call));
        let seat = match &call.session {
            Some(id) if !call.is_apart() => self.state.seats().in_session(&call, id, &mut deadline).await?,
            _ => self.state.seats().apart(&call, SessionId::of(&facts.session), deadline).await?,
        };
        // A yes is to what the person was shown; a session that has moved on since is another matter.
        if seat.scripts != scripts || seat.occasion.cwd != facts.cwd {
            return Err(Failure::of("the session has changed since this was asked; submit the command again"));
        }
        let engine = self.state.settings.engine.now();
        if question.report().policy_set != engine.policy_set() {
            return Ok(ApprovedRun::Outdated(Box::new(call)));
        }
        Box::pin(self.lift_in(seat, question, call, opens, people, under)).await.map(ApprovedRun::Ended)
    }

    /// The same where its place is held.
    async fn lift_in(
        &self,
        mut seat: ExecTarget,
        question: ApprovalRequest,
        call: Call,
        opens: Openings,
        people: &[Approval],
        under: RequestId,
    ) -> Result<Box<Outcome>, Failure> {
        let facts = question.facts().clone();
        let engine = self.state.settings.engine.now();
        // The kernel's rules know of no yes: what they would refuse runs under wider ones, in a shell that ends with it.
        seat.extra = opens;
        if !seat.extra.is_empty() {
            seat = self.state.seats().beside(seat)?;
        }
        let started = Instant::now();
        let verdict = engine.approve(question, people);
        self.state.usage.count(&verdict, &engine);
        let decided = self.state.decisions().record(&call, &seat, &verdict, Some(under), started.elapsed()).await?;
        match verdict {
            Verdict::Allow(grant) => {
                Box::pin(self.state.commands().run(seat, facts, grant, decided, call)).await.map(Box::new)
            }
            Verdict::Ask(_) | Verdict::Deny(_) => Ok(Box::new(Outcome::Denied(Refusal {
                explained: decided.explained,
                decision: decided.note,
                anchor: decided.anchor,
            }))),
        }
    }
}

/// Why the flow could not be set up.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum OpenError {
    /// The record cannot be written.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Audit(#[from] AuditError),
    /// The kernel lacks what the level asks for.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Sandbox(#[from] palisade_sandbox::SandboxError),
}

/// Facts that also say who calls.
trait WithClient {
    fn with(self, client: &Client) -> Self;
}

impl WithClient for Facts {
    fn with(mut self, client: &Client) -> Self {
        client.as_str().clone_into(&mut self.principal.client);
        self
    }
}
