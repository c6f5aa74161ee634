//! The shells that are started on this machine: under which kernel rules, with which variables, by whom their programs and connections are
//! decided.
//!
//! What is decided here is derived from the policies and the settings alone; a call brings to it only what a person's yes opens.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Once};
use std::time::Duration;

use palisade_engine::{AbsolutePath, Facts};
use palisade_sandbox::move_watch::MoveWatch;
use palisade_sandbox::names::{self, Beyond, Names};
use palisade_sandbox::plan::{self, Level, PathRule, Rights};
use palisade_sandbox::{Network, NewPlaces, probe};

use super::Failure;
use super::executions::Clerk;
use super::openings::Openings;
use super::state::PipelineState;
use crate::caches::Caches;
use crate::facts::real_directory;
use crate::guard::Desk;
use crate::network::{self, Inspector, Proxy};
use crate::session::{Session, ShellSnapshot};
use crate::session_directory::SessionDirectory;
use crate::shell::{SessionError, SessionId, TerminalSize};
use crate::transport::local::LaunchSpec;

/// How often a session is made anew at most because something was moved meanwhile.
const SEARCHES: usize = 20;

/// How long the next one waits.
const PAUSE: Duration = Duration::from_millis(25);

/// For the operator, who would not see it in `session_open`.
const NOT_SEARCHED: &str = "more lies directly in the workspace than is searched for files that policy forbids by name: those that were \
                            not found are open to programs (docs/threat-model.md)";

/// What a session is given beyond the rules that policies give for it.
pub(super) struct Extra<'a> {
    pub(super) places: &'a BTreeMap<AbsolutePath, Rights>,
    /// Those that were made for it.
    pub(super) new: Option<&'a Arc<NewPlaces>>,
}

impl Extra<'_> {
    fn beyond(&self) -> Beyond {
        Beyond { opened: self.places.keys().cloned().collect(), new: self.new.cloned() }
    }
}

/// The shells that are started on this machine, and what each is started with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shells<'a> {
    pub(super) state: &'a Arc<PipelineState>,
}

impl Shells<'_> {
    /// Starts a shell under the rules that the same policies give for these facts.
    pub(super) async fn start(
        self,
        id: &SessionId,
        facts: &Facts,
        beginning: ShellSnapshot,
        terminal: Option<TerminalSize>,
        rules: u64,
    ) -> Result<Session, Failure> {
        let nothing = Extra { places: &BTreeMap::new(), new: None };
        self.start_wider(id, facts, beginning, terminal, rules, &nothing).await
    }

    /// Makes the places that a yes lets a command make.
    pub(super) fn make_new(self, opened: &Openings) -> Result<Option<Arc<NewPlaces>>, Failure> {
        if opened.new.is_empty() {
            return Ok(None);
        }
        let made = tokio::task::block_in_place(|| NewPlaces::make(&opened.new));
        made.map(Arc::new).map(Some).map_err(|error| self.state.failure(&error))
    }

    /// The same under rules that also hold what is opened to it.
    pub(super) async fn start_wider(
        self,
        id: &SessionId,
        facts: &Facts,
        beginning: ShellSnapshot,
        terminal: Option<TerminalSize>,
        rules: u64,
        extra: &Extra<'_>,
    ) -> Result<Session, Failure> {
        for _ in 0..SEARCHES {
            let still = MoveWatch::begin();
            let directory = SessionDirectory::at(facts.temp.as_ref()).map_err(|error| self.state.failure(&error))?;
            let plan = self.plan_with(facts, directory.temp(), extra.places)?;
            let environment = self.environment(&plan);
            let gate = self.gate(facts, &plan);
            let guard = self.guard(facts, &environment, &directory, gate.as_deref());
            let searched = plan.granted();
            let names = self.names(facts, &plan, directory.temp(), guard.as_ref(), extra.beyond());
            let spec =
                LaunchSpec { plan, environment, cwd: facts.cwd.clone(), directory, guard, names, gate, terminal };
            let opened = Session::open(id.clone(), spec, beginning.clone(), rules).await;
            let session = opened.map_err(|error| self.state.failure(&error))?;
            // What other sessions have moved meanwhile may lie open in this one, in which nothing has run yet.
            let engine = self.state.settings.engine.now();
            match still.is_broken(&searched, |path| engine.vocabulary().may_have_name(path)) {
                Ok(false) => return Ok(session),
                Ok(true) => {}
                Err(errno) => {
                    session.close().await;
                    return Err(self.state.failure(&SessionError::Unwatched(errno.into())));
                }
            }
            session.close().await;
            tokio::time::sleep(PAUSE).await;
        }
        Err(self.state.failure(&SessionError::Restless))
    }

    /// What the programs of a session in this directory are decided by, where they are decided again.
    pub(super) fn guard(
        self,
        facts: &Facts,
        environment: &[(OsString, OsString)],
        directory: &SessionDirectory,
        gate: Option<&Proxy>,
    ) -> Option<Arc<Desk>> {
        let settings = self.state.settings.for_guard();
        facts.session.guarded.then(|| {
            let programs = gate.map(|gate| Arc::clone(gate.programs()));
            let clerk = Arc::new(Clerk(Arc::downgrade(self.state)));
            Desk::with_clerk(settings, self.state.audit.clone(), facts, environment, directory, programs, Some(clerk))
        })
    }

    /// What policy forbids by name in a session under this plan, where masks hold it.
    pub(super) fn names(
        self,
        facts: &Facts,
        plan: &plan::SandboxPlan,
        temp: &AbsolutePath,
        guard: Option<&Arc<Desk>>,
        beyond: Beyond,
    ) -> Option<Arc<Names>> {
        let desk = guard.cloned();
        let tell: names::Teller = Box::new(move |kept| {
            if let Some(desk) = &desk {
                desk.kept(&kept);
            }
        });
        let facts = Facts { temp: Some(temp.clone()), ..facts.clone() };
        probe().mounts.then(|| {
            let earlier = self.state.settings.surroundings.earlier.clone();
            Arc::new(Names::of(self.state.settings.engine.now(), facts, plan, earlier, beyond, tell))
        })
    }

    /// What decides on the connections of a session under this plan, if it can have any.
    pub(super) fn gate(self, facts: &Facts, plan: &plan::SandboxPlan) -> Option<Arc<Proxy>> {
        let settings = &self.state.settings;
        has_proxy(plan).then(|| {
            let redactor = settings.redactor.keyed(&facts.session.id);
            Proxy::new(settings.engine.clone(), redactor, self.state.audit.clone(), facts, self.inspector(plan))
        })
    }

    /// The variables of a session under this plan.
    pub(super) fn environment(self, plan: &plan::SandboxPlan) -> Vec<(OsString, OsString)> {
        let mut environment = self.state.settings.environment.clone();
        if let Some(caches) = self.state.settings.caches.as_ref().filter(|caches| may_fill(plan, caches)) {
            environment.extend(caches.variables(plan.instead.is_some(), &environment));
        }
        if has_proxy(plan) {
            environment.extend(network::variables(plan.loopback));
        }
        if let Some(inspector) = self.inspector(plan) {
            environment.retain(|(name, _)| name != PIP_CERT);
            environment.push((PIP_CERT.into(), inspector.bundle().into()));
        }
        environment
    }

    /// What reads the requests that the agent's own copies of installers make under this plan.
    fn inspector(self, plan: &plan::SandboxPlan) -> Option<Arc<Inspector>> {
        let caches = self.state.settings.caches.as_ref().filter(|_| has_proxy(plan))?;
        let open = || {
            let set = self.state.settings.environment.iter().find(|(name, _)| name == PIP_CERT);
            let set = set.map(|(_, path)| path.clone()).or_else(|| std::env::var_os(PIP_CERT)).map(PathBuf::from);
            let opened = Inspector::open(&caches.authority()?, set.as_deref());
            opened.inspect_err(|error| tracing::warn!(%error, "own copies of installers cannot fetch packages")).ok()
        };
        self.state.inspector.get_or_init(|| tokio::task::block_in_place(open).map(Arc::new)).clone()
    }

    /// What the kernel holds a session to that has this temporary directory.
    pub(super) fn plan(self, facts: &Facts, temp: &AbsolutePath) -> Result<plan::SandboxPlan, Failure> {
        self.plan_with(facts, temp, &BTreeMap::new())
    }

    fn plan_with(
        self,
        facts: &Facts,
        temp: &AbsolutePath,
        extra: &BTreeMap<AbsolutePath, Rights>,
    ) -> Result<plan::SandboxPlan, Failure> {
        let settings = &self.state.settings;
        let engine = settings.engine.now();
        let granted = |group: &str| group.starts_with("granted-");
        if temp.is_within(&facts.workspace) || engine.vocabulary().groups_of(temp).any(granted) {
            return Err(self.state.failure(&SessionError::TemporaryWithinReach(temp.clone())));
        }
        let mut facts = facts.clone();
        facts.temp = Some(temp.clone());
        // Before the plan, which knows what is there. Without one, tools have no cache that they can write.
        if let Some(caches) = &settings.caches
            && let Err(error) = tokio::task::block_in_place(|| caches.ready())
        {
            tracing::warn!(%error, directory = %caches.directory(), "the directory for tools' caches cannot be used");
        }
        // Deriving takes milliseconds, in which other calls go on.
        let mut plan = tokio::task::block_in_place(|| self.state.plan_cache.plan(&engine, &facts, extra, settings))
            .map_err(|plan::Hole { outer, inner }| self.state.failure(&SessionError::Hole { outer, inner }))?;
        if let Some(caches) = &settings.caches {
            let vocabulary = engine.vocabulary();
            caches.join(&mut plan, |place| vocabulary.groups_of(place).any(granted));
        }
        if let Some(inspector) = self.inspector(&plan) {
            plan.rules.push(PathRule { path: inspector.bundle().to_owned(), rights: Rights::READ, optional: true });
        }
        // No right to anything in it, but there even where it lies in what each session has for itself: links in it lead to
        // what is granted elsewhere.
        if let Some(home) = real_directory(Path::new(settings.surroundings.home.as_str())) {
            let home = PathBuf::from(home.as_str());
            plan.blank.extend(STARTUP_FILES.iter().map(|name| home.join(name)));
            plan.rules.push(PathRule { path: home, rights: Rights::NONE, optional: true });
        }
        if !plan.searched && probe().mounts {
            static TOLD: Once = Once::new();
            TOLD.call_once(|| tracing::warn!("{NOT_SEARCHED}"));
        }
        // Policies were told that the kernel holds what is there.
        let is_promised = facts.session.paths_held || settings.level == Level::Strict;
        if is_promised && !plan.searched && probe().mounts {
            return Err(self.state.failure(&SessionError::TooManyNames));
        }
        Ok(plan)
    }
}

/// What a shell reads by itself when it starts for a person: agents' clients run `bash -lc`. People keep secrets there.
const STARTUP_FILES: [&str; 14] = [
    ".profile",
    ".bash_profile",
    ".bash_login",
    ".bash_logout",
    ".bashrc",
    ".bash_aliases",
    ".zshenv",
    ".zprofile",
    ".zshrc",
    ".zlogin",
    // yarn ends where it cannot open them. They may hold a token.
    ".npmrc",
    ".yarnrc",
    ".yarnrc.yml",
    ".gemrc",
];

/// Whether a session under this plan may change the caches.
fn may_fill(plan: &plan::SandboxPlan, caches: &Caches) -> bool {
    let directory = Path::new(caches.directory().as_str());
    let writes = |rule: &PathRule| rule.path == directory && rule.rights.contains(Rights::READ | Rights::MOVE);
    directory.is_dir() && plan.rules.iter().any(writes)
}

/// Names a file with the certificates that pip trusts (pip's user guide, "Environment Variables").
const PIP_CERT: &str = "PIP_CERT";

/// Whether a session under this plan has a proxy on this machine.
fn has_proxy(plan: &plan::SandboxPlan) -> bool {
    Network::of(plan.network, probe().namespaces) == Network::Proxy
}
