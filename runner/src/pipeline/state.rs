//! What the parts of the pipeline share: the settings, the record, and what is known of sessions, jobs, requests and stops.
//!
//! Each part is a handle to it that has the methods of one area (`approvals.rs`, `checkpoints.rs`, `sessions.rs`, …). Decided here is what more
//! than one of them needs: how long a call may take, which directory it names, and what policies are told of a place.

use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use palisade_audit::Audit;
use palisade_engine::{AbsolutePath, Facts, Scratch, SessionShell};
use palisade_redact::Redacted;
use palisade_sandbox::plan::{self, Promise};
use tokio::sync::{Semaphore, watch};

use super::approval_requests::{About, ApprovalRequests};
use super::approvals::Approvals;
use super::auto_checkpoint::Readings;
use super::checkpoint_target::Workspaces;
use super::checkpoints::Checkpoints;
use super::control_answers::ControlAnswers;
use super::decisions::Decisions;
use super::jobs::Jobs;
use super::kill_switch::KillSwitch;
use super::learned_values::LearnedValues;
use super::overseers::Overseers;
use super::parse_cache::ParseCache;
use super::plan_cache::PlanCache;
use super::presence::Presence;
use super::remote_sessions::RemoteSessions;
use super::run_task::Commands;
use super::seats::Seats;
use super::sessions::Sessions;
use super::shells::Shells;
use super::standing_approvals::{Memory, StandingApprovals};
use super::transcript::Transcripts;
use super::usage::Usage;
use super::workspace_changes::WorkspaceChanges;
use super::{Call, Client, MAX_JOBS, Settings, WithClient};
use crate::control::approvals::ApprovalRegistry;
use crate::control::stops::Stops;
use crate::facts::remote_view::View;
use crate::facts::{Occasion, real_directory};
use crate::failure::Failure;
use crate::job::registry::JobRegistry;
use crate::limits::MAX_PATH;
use crate::network::Inspector;
use crate::session::RemoteSite;
use crate::session::registry::SessionRegistry;
use crate::shell::deadline::NEVER;
use crate::shell::{Language, SessionError, SessionId};

/// Jobs of all principals that may run at once.
const MAX_ALL_JOBS: usize = 200;

/// Calls of one principal at a time that are judged for long: some take a second, and a hundred times their text of memory.
const MAX_JUDGES: usize = 4;

/// The state of one pipeline.
#[derive(Debug)]
pub(super) struct PipelineState {
    pub(super) settings: Settings,
    pub(super) audit: Audit,
    pub(super) session_registry: Arc<SessionRegistry>,
    pub(super) job_registry: JobRegistry,
    /// For whoever judges something that takes long.
    pub(super) judges: Semaphore,
    pub(super) parse_cache: ParseCache,
    pub(super) plan_cache: PlanCache,
    /// None inside if it cannot be had.
    pub(super) inspector: OnceLock<Option<Arc<Inspector>>>,
    pub(super) usage: Usage,
    pub(super) scratches: plan::Scratches,
    pub(super) workspace_changes: WorkspaceChanges,
    pub(super) transcripts: Transcripts,
    pub(super) readings: Readings,
    pub(super) requests: Mutex<ApprovalRegistry<About>>,
    /// Yeses that hold for longer than one call.
    pub(super) memory: Memory,
    /// Changes with each answer to a request.
    pub(super) answers: watch::Sender<u64>,
    pub(super) stops: Mutex<Stops>,
    /// Who can be asked about what runs.
    pub(super) presence: Presence,
    /// How often other policies have taken their place.
    pub(super) reloads: AtomicU64,
    /// Whether the record is about to be closed. Held for reading from a decision until its command is among those that run, so that
    /// the end finds every command that it has to wait for.
    pub(super) ending: Arc<tokio::sync::RwLock<bool>>,
}

impl PipelineState {
    pub(super) fn new(settings: Settings, audit: Audit) -> Self {
        let requests = Mutex::new(ApprovalRegistry::new(settings.approvals_expire));
        let memory = Memory::new(settings.remembered.clone());
        Self {
            session_registry: SessionRegistry::new(settings.max_sessions),
            job_registry: JobRegistry::new(MAX_ALL_JOBS, MAX_JOBS),
            judges: Semaphore::new(MAX_JUDGES),
            parse_cache: ParseCache::default(),
            plan_cache: PlanCache::default(),
            inspector: OnceLock::new(),
            usage: Usage::default(),
            scratches: plan::Scratches::new(),
            workspace_changes: WorkspaceChanges::default(),
            transcripts: Transcripts::default(),
            readings: Readings::default(),
            requests,
            memory,
            answers: watch::Sender::new(0),
            stops: Mutex::default(),
            presence: Presence::default(),
            reloads: AtomicU64::new(0),
            ending: Arc::default(),
            settings,
            audit,
        }
    }

    pub(super) fn seats(self: &Arc<Self>) -> Seats<'_> {
        Seats { state: self }
    }

    pub(super) fn decisions(self: &Arc<Self>) -> Decisions<'_> {
        Decisions { state: self }
    }

    pub(super) fn commands(self: &Arc<Self>) -> Commands<'_> {
        Commands { state: self }
    }

    pub(super) fn shells(self: &Arc<Self>) -> Shells<'_> {
        Shells { state: self }
    }

    pub(super) fn sessions(self: &Arc<Self>) -> Sessions<'_> {
        Sessions { state: self }
    }

    pub(super) fn remote_sessions(self: &Arc<Self>) -> RemoteSessions<'_> {
        RemoteSessions { state: self }
    }

    pub(super) fn jobs(self: &Arc<Self>) -> Jobs<'_> {
        Jobs { state: self }
    }

    pub(super) fn approval_requests(self: &Arc<Self>) -> ApprovalRequests<'_> {
        ApprovalRequests { state: self }
    }

    pub(super) fn approvals(self: &Arc<Self>) -> Approvals<'_> {
        Approvals { state: self }
    }

    pub(super) fn standing_approvals(self: &Arc<Self>) -> StandingApprovals<'_> {
        StandingApprovals { state: self }
    }

    pub(super) fn overseers(self: &Arc<Self>) -> Overseers<'_> {
        Overseers { state: self }
    }

    pub(super) fn control_answers(self: &Arc<Self>) -> ControlAnswers<'_> {
        ControlAnswers { state: self }
    }

    pub(super) fn kill_switch(self: &Arc<Self>) -> KillSwitch<'_> {
        KillSwitch { state: self }
    }

    pub(super) fn learned_values(self: &Arc<Self>) -> LearnedValues<'_> {
        LearnedValues { state: self }
    }

    pub(super) fn checkpoints(self: &Arc<Self>) -> Checkpoints<'_> {
        Checkpoints { state: self }
    }

    pub(super) fn workspaces(self: &Arc<Self>) -> Workspaces<'_> {
        Workspaces { state: self }
    }

    /// What may be shown of a text.
    pub(super) fn redact(&self, text: &str) -> Redacted {
        self.settings.redactor.text(text)
    }

    pub(super) fn failure(&self, error: &(impl miette::Diagnostic + ?Sized)) -> Failure {
        Failure::explain(error, &self.settings.redactor)
    }

    /// Why a session cannot be had; that it has ended is told apart.
    pub(super) fn lost(&self, error: &SessionError) -> Failure {
        Failure { session_lost: matches!(error, SessionError::Ended(_)), ..self.failure(error) }
    }

    pub(super) fn requests(&self) -> MutexGuard<'_, ApprovalRegistry<About>> {
        // Nothing that holds the lock can fail half-way.
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long a call may take. A job that was begun as one has no deadline but its own, and ends when nobody asks for it any more.
    pub(super) fn time_of(&self, call: &Call) -> Duration {
        let at_once = call.yields == Some(Duration::ZERO);
        call.timeout.unwrap_or(if at_once { NEVER } else { self.settings.timeout })
    }

    /// A directory that a call names, relative to where it would otherwise run.
    pub(super) fn directory(&self, named: Option<&str>, base: &AbsolutePath) -> Result<AbsolutePath, Failure> {
        let Some(named) = named else { return Ok(base.clone()) };
        if named.len() > MAX_PATH {
            return Err(Failure::of("the directory's name is longer than any path"));
        }
        let path = Path::new(base.as_str()).join(named);
        let found = real_directory(&path).filter(|path| Path::new(path.as_str()).is_dir());
        found.ok_or_else(|| Failure {
            what: self.settings.redactor.text(&format!("`{named}` is not a directory that can be entered")),
            help: Redacted::from_static("give a directory that exists, absolute or relative to the session's own"),
            session_lost: false,
        })
    }

    pub(super) fn occasion(&self, id: &SessionId, cwd: AbsolutePath, temp: Option<AbsolutePath>) -> Occasion {
        self.occasion_named(id.as_str(), cwd, temp)
    }

    pub(super) fn occasion_named(&self, id: &str, cwd: AbsolutePath, temp: Option<AbsolutePath>) -> Occasion {
        let promise = plan::local(&self.settings.engine.now(), &self.settings.accept, self.settings.level);
        let mut occasion = Occasion::local(id, cwd, temp, promise);
        let surroundings = &self.settings.surroundings;
        let facts = surroundings.facts(&occasion);
        occasion.scratch = self.scratches.of(&self.settings.engine.now(), &facts, &surroundings.home);
        self.usage.tell(&mut occasion.session);
        occasion
    }

    /// Before a script in a session at a target.
    pub(super) fn occasion_at(&self, id: &str, place: &RemoteSite) -> Occasion {
        let mut session = palisade_engine::Session::opened(id);
        self.usage.tell(&mut session);
        session.shell = place.language.map_or(SessionShell::Unknown, Language::told);
        let Promise { sandboxed, guarded, paths_held, own_network } = place.promise;
        (session.sandboxed, session.guarded, session.paths_held) = (sandboxed, guarded, paths_held);
        session.own_network = own_network;
        Occasion {
            transport: place.transport,
            host: place.host.clone(),
            session,
            cwd: place.workspace.clone(),
            temp: place.temp.clone(),
            scratch: Scratch::default(),
            shell: None,
            left: place.fresh(),
            machine: place.machine.clone(),
        }
    }

    /// What policy is told of a session at a target.
    pub(super) fn facts_at(&self, id: &str, place: &RemoteSite, client: &Client) -> Facts {
        let view = Arc::new(View::default());
        let around = self.settings.surroundings.at(place.workspace.clone(), place.home.clone(), view);
        around.facts(&self.occasion_at(id, place)).with(client)
    }

    /// The principal and the time: what a question is about that no session raises.
    pub(super) fn facts_of_nothing(&self) -> Facts {
        let settings = &self.settings;
        let promise = palisade_sandbox::plan::local(&settings.engine.now(), &settings.accept, settings.level);
        let occasion = crate::facts::Occasion::local("", settings.cwd.clone(), None, promise);
        settings.surroundings.facts(&occasion)
    }
}
