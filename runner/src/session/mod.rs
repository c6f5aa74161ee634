//! One live shell that scripts run in, one after the other.

pub mod registry;
mod remote_site;
mod shell;

use std::ffi::OsString;
use std::sync::Arc;
use std::time::{Duration, Instant};

use palisade_engine::{AbsolutePath, Grant};
use palisade_redact::{Redacted, Redactor};
use palisade_sandbox::plan::SandboxPlan;
use palisade_sandbox::{Enforced, Names};

pub use self::remote_site::RemoteSite;
use crate::guard::Desk;
use crate::network::Proxy;
use crate::remote::{Base, RemoteShell};
use crate::session::shell::Shell;
use crate::session_directory::SessionDirectory;
use crate::shell::{Due, End, Language, RunEnd, SessionError, SessionId, ShellLoss, State, Terms, hooks};
use crate::transport::local::{LaunchSpec, LocalShell};

/// One live shell under its sandbox.
#[derive(Debug)]
pub struct Session {
    id: SessionId,
    shell: Shell,
    /// Where it is, if it is not on this machine.
    elsewhere: Option<Arc<RemoteSite>>,
    opened: Instant,
    commands: u64,
    cwd: AbsolutePath,
    /// What its scripts have left behind that changes what the next one means.
    left: palisade_grammar::Shell,
    beginning: ShellSnapshot,
    guard: Option<Arc<Desk>>,
    gate: Option<Arc<Proxy>>,
    /// Code of the agent's may run between its scripts.
    hooked: bool,
    /// Which of the server's kernel rules hold it, by number.
    rules: u64,
    /// What the next result has to say of it.
    notice: Option<Redacted>,
}

/// What another shell begins with that shall be like a session's: what that was after the last script that it came to
/// the end of. Cheap to copy.
#[derive(Clone, Debug, Default)]
pub struct ShellSnapshot {
    /// None for a shell that no script has changed, or that is too much to keep.
    pub(crate) state: Option<State>,
    /// What that means for the next script.
    pub(crate) left: palisade_grammar::Shell,
    /// There was too much to keep.
    pub(crate) forgotten: bool,
    /// There were functions, which its shell cannot list.
    pub(crate) unlisted: bool,
}

impl ShellSnapshot {
    /// What tells it from another.
    pub(crate) fn digest(&self) -> Option<palisade_audit::Digest> {
        self.state.as_ref().map(State::digest)
    }
}

/// What is left of a session whose shell is gone.
#[derive(Debug)]
pub struct ClosedSession {
    /// Its name.
    pub id: SessionId,
    /// Since when it lived.
    pub opened: Instant,
    /// Scripts that it has run.
    pub commands: u64,
    /// Where its shell stood before the last of them.
    pub cwd: AbsolutePath,
    /// What a new shell would be.
    pub beginning: ShellSnapshot,
    /// Where it was, if it was not on this machine.
    pub elsewhere: Option<Arc<RemoteSite>>,
    directory: Option<SessionDirectory>,
    guard: Option<Arc<Desk>>,
    gate: Option<Arc<Proxy>>,
}

impl ClosedSession {
    /// Its directories, which the next shell has, too; none of one that was elsewhere.
    pub fn directory(&self) -> Option<&SessionDirectory> {
        self.directory.as_ref()
    }

    /// For a shell whose programs and connections are decided by others than before.
    #[must_use]
    pub fn held_by(self, guard: Option<Arc<Desk>>, gate: Option<Arc<Proxy>>) -> Self {
        Self { guard, gate, ..self }
    }

    /// To begin elsewhere, since where it stood is no more.
    #[must_use]
    pub fn standing_in(self, cwd: AbsolutePath) -> Self {
        Self { cwd, ..self }
    }
}

impl Session {
    /// Starts a shell. `rules` numbers the server's kernel rules that `spec` was made from, or earlier ones.
    ///
    /// # Errors
    /// If the sandbox cannot be made as asked for, or the shell does not answer.
    pub async fn open(
        id: SessionId,
        spec: LaunchSpec,
        beginning: ShellSnapshot,
        rules: u64,
    ) -> Result<Self, SessionError> {
        let (cwd, guard, gate) = (spec.cwd.clone(), spec.guard.clone(), spec.gate.clone());
        let shell = LocalShell::start(spec, beginning.state.as_ref()).await?;
        Ok(Self { guard, gate, ..Self::fresh(id, Shell::Local(Box::new(shell)), cwd, beginning, rules) })
    }

    /// One in which nothing has run.
    fn fresh(id: SessionId, shell: Shell, cwd: AbsolutePath, beginning: ShellSnapshot, rules: u64) -> Self {
        Self {
            id,
            shell,
            elsewhere: None,
            opened: Instant::now(),
            commands: 0,
            cwd,
            left: beginning.left.clone(),
            beginning,
            guard: None,
            gate: None,
            hooked: false,
            rules,
            notice: None,
        }
    }

    /// Takes a shell at a target.
    pub(crate) fn elsewhere(id: SessionId, shell: RemoteShell, elsewhere: Arc<RemoteSite>, rules: u64) -> Self {
        let (cwd, left) = (shell.start_directory().clone(), shell.language().fresh());
        let (shell, beginning) = (Shell::Remote(Box::new(shell)), ShellSnapshot { left, ..ShellSnapshot::default() });
        Self { elsewhere: Some(elsewhere), ..Self::fresh(id, shell, cwd, beginning, rules) }
    }

    /// Takes a shell at a target that was started in the place of one that is gone, with its state.
    pub(crate) fn back(remains: ClosedSession, shell: RemoteShell, elsewhere: Arc<RemoteSite>, rules: u64) -> Self {
        let ClosedSession { id, opened, commands, beginning, .. } = remains;
        let is_posix = shell.language() == Language::Sh;
        let fresh = Self::elsewhere(id, shell, elsewhere, rules);
        // A shell of another kind takes nothing over.
        if is_posix != beginning.left.is_posix() {
            let beginning = ShellSnapshot { forgotten: commands > 0, ..fresh.beginning.clone() };
            return Self { opened, commands, beginning, ..fresh };
        }
        let left = beginning.left.clone();
        Self { opened, commands, beginning, left, ..fresh }
    }

    /// Where it is, if it is not on this machine.
    pub fn place(&self) -> Option<&Arc<RemoteSite>> {
        self.elsewhere.as_ref()
    }

    /// What others are started from over the same connection, if it is not on this machine.
    pub(crate) fn base(&self) -> Option<Base> {
        self.shell.remote().map(RemoteShell::base)
    }

    /// Has it go on under the server's rules of now. For one that no kernel rules hold.
    pub(crate) fn goes_on(&mut self, rules: u64) {
        self.rules = rules;
    }

    /// Starts a shell in the place of one that is gone. Variables, functions, options, aliases, traps and arguments are
    /// what they were; background processes and open files are gone.
    ///
    /// # Errors
    /// As [`Self::open`]; what was left is gone then.
    pub async fn reopen(
        remains: ClosedSession,
        plan: SandboxPlan,
        environment: Vec<(OsString, OsString)>,
        names: Option<Arc<Names>>,
        rules: u64,
    ) -> Result<Self, SessionError> {
        let ClosedSession { id, opened, commands, cwd, beginning, directory, guard, gate, .. } = remains;
        let directory = directory.ok_or(SessionError::Unknown)?;
        let (desk, door) = (guard.clone(), gate.clone());
        let cwd_of_place = cwd.clone();
        let spec = LaunchSpec {
            plan,
            environment,
            cwd: cwd_of_place,
            directory,
            guard: desk,
            names,
            gate: door,
            terminal: None,
        };
        let shell = LocalShell::start(spec, beginning.state.as_ref()).await?;
        let fresh = Self::fresh(id, Shell::Local(Box::new(shell)), cwd, beginning, rules);
        Ok(Self { opened, commands, guard, gate, ..fresh })
    }

    /// Which of the server's kernel rules hold it, by number.
    pub fn rules(&self) -> u64 {
        self.rules
    }

    /// Has the next result say this of it.
    pub fn notice(&mut self, notice: Redacted) {
        self.notice = Some(notice);
    }

    /// What a result has to say of it; once.
    pub fn take_notice(&mut self) -> Option<Redacted> {
        self.notice.take()
    }

    /// Its name.
    pub fn id(&self) -> &SessionId {
        &self.id
    }

    /// Since when it lives.
    pub fn opened(&self) -> Instant {
        self.opened
    }

    /// Scripts that it has run.
    pub fn commands(&self) -> u64 {
        self.commands
    }

    /// The working directory, as the kernel had it after the last script.
    pub fn cwd(&self) -> &AbsolutePath {
        &self.cwd
    }

    /// What its scripts have left behind.
    pub fn left(&self) -> &palisade_grammar::Shell {
        &self.left
    }

    /// What another shell begins with that shall be like this one.
    pub fn beginning(&self) -> ShellSnapshot {
        self.beginning.clone()
    }

    /// The session's temporary directory; none where nothing is the session's own.
    pub fn temp(&self) -> Option<&AbsolutePath> {
        self.shell.local().map(LocalShell::temp)
    }

    /// The number of its shell's process on this machine.
    pub(crate) fn process(&self) -> Option<i32> {
        self.shell.local().map(LocalShell::process)
    }

    /// What the kernel holds it to; none where nothing does.
    pub fn enforced(&self) -> Option<&Enforced> {
        match &self.shell {
            Shell::Local(shell) => Some(shell.enforced()),
            Shell::Remote(shell) => shell.enforced(),
        }
    }

    /// Runs what was granted, and nothing else: the text comes out of the grant, which is used up. Its output goes to
    /// `terms.progress`.
    ///
    /// # Errors
    /// If the grant is for another session, or no channel can be made: nothing has run then.
    pub async fn run(&mut self, grant: Grant, redactor: &Redactor, terms: Terms) -> Result<RunEnd, SessionError> {
        if grant.session() != self.id.as_str() {
            return Err(SessionError::WrongSession);
        }
        let is_late = terms.due.as_ref().is_some_and(|due| due.deadline().has_passed());
        if is_late && terms.due.as_ref().is_some_and(Due::stays) {
            return Ok(self.not_begun());
        }
        // From here on: a script that is cut short may have come far enough.
        let before = std::mem::replace(&mut self.left, grant.leaves().clone());
        let (hooked, farewell) = (hooks::sets_one(grant.inventory()), hooks::sets_farewell(grant.inventory()));
        if let Some(guard) = &self.guard {
            guard.begin(&grant, &terms.progress);
        }
        if let Some(gate) = &self.gate {
            gate.begin(&grant, &terms.progress);
        }
        if let Some(held) = self.shell.remote().and_then(RemoteShell::held)
            && let Err(error) = held.begin(&grant, &before, &terms.progress).await
        {
            // Nothing has run, and nothing will: what the guard does not know of it would judge as something else.
            tracing::warn!(%error, "a session's guard at its target does not answer");
            self.left = before;
            let (end, lost) = (End::Unknown, Some(ShellLoss::Disconnected));
            return Ok(RunEnd { end, lost, cwd: None, duration: Duration::ZERO });
        }
        // A shell of which everything is known, that is to stay as it is, and that starts nothing.
        let stays = !self.hooked && !hooked && before == before.fresh() && terms.directory.is_none();
        let stays = stays && !grant.changes_shell() && grant.programs().next().is_none();
        let redactor = redactor.aware_of(grant.inventory());
        let script = grant.spend();
        if self.hooked {
            self.shell.keep_nothing();
        }
        let terms = Terms { stays: stays.then(|| self.cwd.clone()), ends: terms.ends && farewell, ..terms };
        let ended = match self.shell.run(&script, &redactor, terms).await {
            Ok(RunEnd { end: End::NotBegun, .. }) => {
                self.left = before;
                return Ok(self.not_begun());
            }
            Ok(ended) => ended,
            Err(error) => {
                // Nothing has run.
                self.left = before;
                return Err(error);
            }
        };
        self.hooked |= hooked;
        self.commands += 1;
        if let Some(cwd) = &ended.cwd {
            self.cwd = cwd.clone();
        }
        Ok(ended)
    }

    /// Nothing has run, and the session is as it was.
    fn not_begun(&self) -> RunEnd {
        RunEnd { end: End::NotBegun, lost: None, cwd: Some(self.cwd.clone()), duration: Duration::ZERO }
    }

    /// Remembers what the shell is now, so that another one can take its place. `status` is that of the last script. Code that runs by
    /// itself could say what it likes where the shell is asked what it is: such a shell is not remembered.
    ///
    /// # Errors
    /// If the shell does not answer any more: it is ended then.
    pub async fn remember(&mut self, status: i32) -> Result<(), SessionError> {
        let state = if self.hooked { None } else { self.shell.state(status).await? };
        let (left, mut unlisted) = (&self.left, false);
        let left = match &state {
            None => left.fresh(),
            Some(state) if state.language() == Language::Sh => {
                unlisted = left.may_have_functions();
                left.without_functions()
            }
            Some(_) => left.clone(),
        };
        self.beginning = ShellSnapshot { forgotten: state.is_none(), unlisted, state, left };
        Ok(())
    }

    /// Ends the shell and everything in it; what is left for another one.
    pub async fn close(self) -> ClosedSession {
        let Self { id, shell, elsewhere, opened, commands, cwd, beginning, guard, gate, .. } = self;
        let directory = shell.close().await;
        ClosedSession { id, opened, commands, cwd, beginning, elsewhere, directory, guard, gate }
    }
}
