//! What a session and its guard know of each other: which script runs, what of it was allowed, and what was refused.
//!
//! On this machine the session and the guard are one process. At a target the guard is there and the session here
//! (`remote/guard/`): then scripts and refusals pass over a connection of their own, and the desk there is told of both.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use palisade_audit::{Audit, RequestId};
use palisade_engine::{Decision, Facts, Grant};
use palisade_grammar::Shell;
use palisade_redact::Redactor;
use palisade_sandbox::{Attempt, Execution, ProcessStat};

use super::exec_approval::Clerk;
use super::preapproved_commands::{self, Granted};
use super::process_images::{Own, Parent, ProcessOrigin};
use super::programs::Programs;
use super::refusals::{Ledger, Refusal, Script, Teller};
use super::{ExecDenial, MAX_BEGUN};
use crate::facts::{Occasion, Surroundings};
use crate::policies::Policies;
use crate::session_directory::SessionDirectory;
use crate::shell::progress::Progress;

/// What a session and its guard know of each other. The session says which script runs; the guard says what it refused.
#[derive(Debug)]
pub struct Desk {
    pub(super) policies: Policies,
    pub(super) surroundings: Surroundings,
    /// The variables that the session's shell began with.
    pub(super) environment: Vec<Vec<u8>>,
    /// The session's own pipes, by which its commands and the server speak.
    pub(super) own: Own,
    /// Who is told what each process has become, where the session has a network.
    pub(super) programs: Option<Arc<Programs>>,
    /// What the server itself has the shell run, word for word: nobody's command.
    errands: Vec<Vec<String>>,
    refusals: RefusalSink,
    /// Who puts to a person what one has to say yes to; none at a target.
    pub(super) clerk: Option<Arc<dyn Clerk>>,
    state: Mutex<ScriptState>,
}

/// What of the operator's settings a session's guard decides with.
#[derive(Clone, Copy, Debug)]
pub struct DeskSettings<'a> {
    /// The policies.
    pub policies: &'a Policies,
    /// Who asks, and where things are.
    pub surroundings: &'a Surroundings,
    /// What counts as a secret.
    pub redactor: &'a Redactor,
}

/// Who hears of refusals.
#[derive(Debug)]
enum RefusalSink {
    /// The results and the record of this process.
    Here(Ledger),
    /// The server at the other end of the transport, which has both.
    There(Teller),
}

/// What changes from one script of the session to the next.
#[derive(Debug)]
pub(super) struct ScriptState {
    pub(super) occasion: Occasion,
    pub(super) granted: Vec<Granted>,
    /// The script stands behind a checkpoint of the workspace.
    pub(super) behind_checkpoint: bool,
    /// Scripts that have run.
    scripts: u64,
    /// The scripts that ran last, oldest first.
    begun: VecDeque<Begun>,
}

/// A script that runs or has run.
#[derive(Debug)]
struct Begun {
    number: u64,
    /// When it began, in clock ticks since the machine did: what the shell forks from then on is its.
    at: u64,
}

/// A shell at a target, as its guard there knows it.
pub(crate) struct Post {
    pub(crate) policies: Policies,
    pub(crate) surroundings: Surroundings,
    pub(crate) occasion: Occasion,
    /// Its variables, as entries.
    pub(crate) environment: Vec<Vec<u8>>,
    /// Its streams.
    pub(crate) own: Own,
    /// As in [`Desk`].
    pub(crate) errands: Vec<Vec<String>>,
    pub(crate) teller: Teller,
}

impl Desk {
    /// For a session that is opened on these facts, with these variables and this directory. Nobody is asked about its programs.
    pub fn new(
        settings: DeskSettings<'_>,
        audit: Audit,
        facts: &Facts,
        environment: &[(OsString, OsString)],
        directory: &SessionDirectory,
        programs: Option<Arc<Programs>>,
    ) -> Arc<Self> {
        Self::with_clerk(settings, audit, facts, environment, directory, programs, None)
    }

    /// The same with somebody who puts executions to people.
    pub(crate) fn with_clerk(
        settings: DeskSettings<'_>,
        audit: Audit,
        facts: &Facts,
        environment: &[(OsString, OsString)],
        directory: &SessionDirectory,
        programs: Option<Arc<Programs>>,
        clerk: Option<Arc<dyn Clerk>>,
    ) -> Arc<Self> {
        let temp = directory.temp();
        let variable = [b"TMPDIR=", temp.as_str().as_bytes()].concat();
        let occasion = Occasion { temp: Some(temp.clone()), ..occasion(facts) };
        // As the kernel will name it; what cannot be told is nobody's.
        let channels = directory.channels().canonicalize().unwrap_or_else(|_| directory.channels().to_owned());
        let redactor = settings.redactor.keyed(&facts.session.id);
        Arc::new(Self {
            policies: settings.policies.clone(),
            surroundings: settings.surroundings.clone(),
            environment: entries(environment).chain([variable]).collect(),
            own: Own { directory: Some(channels), ..Own::default() },
            programs,
            errands: Vec::new(),
            refusals: RefusalSink::Here(Ledger::new(&facts.session.id, redactor, audit)),
            clerk,
            state: Mutex::new(ScriptState::of(occasion)),
        })
    }

    /// For a shell at the target that this process is at.
    pub(crate) fn at_target(post: Post) -> Arc<Self> {
        let Post { policies, surroundings, occasion, environment, own, errands, teller } = post;
        let (refusals, state) = (RefusalSink::There(teller), Mutex::new(ScriptState::of(occasion)));
        Arc::new(Self {
            policies,
            surroundings,
            environment,
            own,
            programs: None,
            errands,
            refusals,
            clerk: None,
            state,
        })
    }

    /// The next script begins.
    pub fn begin(&self, grant: &Grant, progress: &Arc<Progress>) {
        let mut state = self.state();
        let temp = state.occasion.temp.take();
        state.occasion = Occasion { temp, ..occasion(grant.facts()) };
        let number = state.scripts + 1;
        state.behind_checkpoint = progress.checkpoint().is_some();
        // What an earlier script left in the background is judged by its words: a yes is to one script, under its policies.
        state.granted = preapproved_commands::of(grant, number);
        state.begins(number);
        if let RefusalSink::Here(ledger) = &self.refusals {
            ledger.begin(number, progress);
        }
    }

    /// The next script begins that the server has allowed. Here its files can be seen, so that it is read again: unless that comes to the
    /// same, and no person had to say yes, its commands are judged by their words.
    pub(crate) fn begin_there(&self, script: Script) {
        let Script { number, text, left, lifted, behind_checkpoint, occasion } = script;
        let inventory = palisade_grammar::inventory_in(text.as_bytes(), &left);
        let engine = self.policies.now();
        let occasion = Occasion { temp: self.state().occasion.temp.clone(), left, ..occasion };
        let facts = self.surroundings.gather(&occasion, &inventory, &engine);
        let is_lifted = |command: &palisade_grammar::Command| lifted.contains(&command.id.0);
        let mut granted = preapproved_commands::read(&inventory, &facts, is_lifted, engine.policy_set(), number);
        let is_same = lifted.is_empty() && engine.rehearse(inventory, &facts, false).decision == Decision::Allow;
        if !is_same {
            granted = granted.into_iter().map(Granted::by_words).collect();
        }
        let mut state = self.state();
        state.occasion = Occasion { left: Shell::new(), ..occasion };
        state.behind_checkpoint = behind_checkpoint;
        state.granted = granted;
        state.begins(number);
    }

    /// The script that a process belongs to; none if that cannot be told, or it was long ago.
    pub(super) fn script(&self, source: impl FnOnce() -> ProcessOrigin) -> Option<u64> {
        let only = Some(self.state().scripts).filter(|scripts| *scripts == 1);
        if only.is_some() {
            return only;
        }
        let source = source();
        let state = self.state();
        let begun_by = |at: u64| state.begun.iter().rev().find(|begun| begun.at <= at).map(|begun| begun.number);
        match source {
            ProcessOrigin::Shell => Some(state.scripts),
            ProcessOrigin::Fork(at) => begun_by(at),
            // Later than that, something that an earlier script has left may have forked it.
            ProcessOrigin::Orphan(at) => begun_by(at).filter(|script| *script == 1),
            ProcessOrigin::Program(script) => script,
            ProcessOrigin::Unknown => None,
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, ScriptState> {
        // Nothing that holds the lock can fail half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn refuse(&self, execution: &Execution, why: ExecDenial, script: Option<u64>) {
        let ExecDenial { policy, reason, suggest } = why;
        let argv = execution.argv.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        let program = execution.named.to_string_lossy().into_owned();
        let refusal = Refusal { script, program, argv, policy, reason, suggest };
        match &self.refusals {
            RefusalSink::Here(ledger) => ledger.tell(&refusal),
            RefusalSink::There(teller) => teller.tell(refusal),
        }
    }

    /// Tells what a program of the session was kept from, apart from executions. At a target the guard looks at executions alone, so
    /// nothing is told there.
    pub(crate) fn kept(&self, kept: &Attempt) {
        let script = Some(self.state().scripts).filter(|scripts| *scripts > 0);
        if let RefusalSink::Here(ledger) = &self.refusals {
            ledger.tell_kept(script, kept);
        }
    }

    /// The decision that let a script run.
    pub(super) fn decision(&self, script: u64) -> Option<RequestId> {
        match &self.refusals {
            RefusalSink::Here(ledger) => ledger.decision(script),
            RefusalSink::There(_) => None,
        }
    }

    /// A program of a script waits for a person under this id, or does not any more.
    pub(super) fn waits(&self, script: Option<u64>, id: RequestId, waits: bool) {
        if let (RefusalSink::Here(ledger), Some(script)) = (&self.refusals, script) {
            ledger.waits(script, id, waits);
        }
    }

    /// Whether the server itself has the shell run this.
    pub(super) fn is_errand(&self, parent: &Parent, execution: &Execution) -> bool {
        let words =
            |errand: &&Vec<String>| errand.iter().map(String::as_bytes).eq(execution.argv.iter().map(Vec::as_slice));
        let errand = self.errands.iter().find(words).filter(|_| matches!(parent, Parent::Shell));
        let name = errand.and_then(|errand| errand.first());
        name.is_some_and(|name| ["/usr/bin", "/bin"].iter().any(|at| Path::new(at).join(name) == execution.named))
    }
}

impl ScriptState {
    fn of(occasion: Occasion) -> Self {
        Self { occasion, granted: Vec::new(), behind_checkpoint: false, scripts: 0, begun: VecDeque::new() }
    }

    fn begins(&mut self, number: u64) {
        self.scripts = number;
        if self.begun.len() == MAX_BEGUN {
            self.begun.pop_front();
        }
        self.begun.push_back(Begun { number, at: ProcessStat::now() });
    }
}

/// Variables as a program finds them.
pub(crate) fn entries(environment: &[(OsString, OsString)]) -> impl Iterator<Item = Vec<u8>> {
    environment.iter().map(|(name, value)| [name.as_bytes(), value.as_bytes()].join(&b'='))
}

/// What stays the same from one execution to the next.
pub(crate) fn occasion(facts: &Facts) -> Occasion {
    Occasion {
        transport: facts.transport,
        host: facts.host.clone(),
        session: facts.session.clone(),
        cwd: facts.cwd.clone(),
        temp: facts.temp.clone(),
        scratch: facts.scratch.clone(),
        shell: None,
        left: Shell::new(),
        machine: facts.machine.clone(),
    }
}
