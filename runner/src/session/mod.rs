//! One live shell that scripts run in, one after the other.

pub(crate) mod deadline;
mod elsewhere;
pub mod frame;
pub mod hearing;
mod hooks;
pub(crate) mod posix;
pub mod progress;
pub mod registry;

use std::ffi::OsString;
use std::fmt;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use palisade_engine::{AbsolutePath, Grant};
use palisade_redact::{Redacted, RedactedBytes, Redactor};
use palisade_sandbox::plan::SandboxPlan;
use palisade_sandbox::{Enforced, Names, SandboxError};
use tokio::sync::{mpsc, watch};

pub use self::deadline::Due;
pub use self::elsewhere::Elsewhere;
pub use self::progress::Follower;
use crate::guard::Desk;
use crate::network::Gate;
use crate::session::progress::Progress;
use crate::target::TargetError;
use crate::transport::Shell;
use crate::transport::local::{End, Ended, LocalShell, Lost, Place, SessionDirectory, State};
use crate::transport::remote::{Base, Language, RemoteShell};

/// Names a session. Random, so that it cannot be guessed, but a name all the same: whoever uses it has to be the
/// principal that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(String);

impl SessionId {
    /// A new name.
    ///
    /// # Errors
    /// If the kernel gives no random bytes.
    pub fn new() -> Result<Self, SessionError> {
        Ok(Self(format!("s-{}", Nonce::new()?.0)))
    }

    /// The name that a decision was made for.
    pub(crate) fn of(facts: &palisade_engine::Session) -> Self {
        Self(facts.id.clone())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// 128 random bits that were not there before they were needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nonce(pub(crate) String);

impl Nonce {
    /// A fresh one.
    ///
    /// # Errors
    /// If the kernel gives no random bytes.
    pub fn new() -> Result<Self, SessionError> {
        let mut bytes = [0_u8; 16];
        let filled = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).unwrap_or_default();
        if filled < bytes.len() {
            return Err(SessionError::NoRandomness);
        }
        Ok(Self(format!("{:032x}", u128::from_be_bytes(bytes))))
    }

    /// 32 hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a session could not be opened or used. None of these texts holds anything that a program printed.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum SessionError {
    /// The sandbox could not be made: no session.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Sandbox(#[from] SandboxError),
    /// A target cannot be reached or used.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Target(#[from] TargetError),
    /// The settings name no such target.
    #[error("there is no target of that name")]
    #[diagnostic(help("`list` with `kind` targets shows them; only the operator can add one"))]
    NoTarget,
    /// Policy does not permit a session there.
    #[error("denied: no session may be opened at this target{}", by(.policies))]
    #[diagnostic(help("the policies and the target are the operator's"))]
    TargetForbidden {
        /// The policies that decide it.
        policies: Vec<String>,
    },
    /// Something that sessions at a target do not have.
    #[error("{what} is not supported in a session at a target")]
    #[diagnostic(help("run it as a plain command there, or in a session on this machine"))]
    NotThere {
        /// What.
        what: &'static str,
    },
    /// A channel to the shell could not be made.
    #[error("cannot make {what} for the session")]
    Channel {
        /// What was to be made.
        what: &'static str,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The shell did not answer.
    #[error("the shell did not become ready")]
    #[diagnostic(help("`palisade doctor` says what a session needs"))]
    NotReady,
    /// Where the shell stands cannot be told.
    #[error("the session's working directory cannot be told")]
    #[diagnostic(help(
        "sessions need `/proc` with `/proc/PID/task/TID/children`, and a directory whose name is UTF-8"
    ))]
    NoDirectory,
    /// A kernel rule would open what policy forbids.
    #[error("policy forbids `{inner}`, and the kernel cannot keep it from a session that may use `{outer}`")]
    #[diagnostic(help("choose a workspace or a granted directory that does not hold it"))]
    Hole {
        /// The directory that the session may use.
        outer: AbsolutePath,
        /// What lies below it and is forbidden.
        inner: AbsolutePath,
    },
    /// What may be there under names that policy forbids cannot all be masked.
    #[error(
        "not all files under names that policy forbids can be kept from the session: there are too many files, or too many such names, directly in the workspace"
    )]
    #[diagnostic(help(
        "remove files from the workspace's top directory, or choose a smaller workspace; in directories below any number may lie"
    ))]
    TooManyNames,
    /// Directories were renamed all the while when it was looked for what has to be hidden.
    #[error(
        "directories that the session may change are being moved about, so that what has to be hidden in them cannot be found"
    )]
    #[diagnostic(help("wait until what runs there is done, or end it; then try again"))]
    Restless,
    /// Directories cannot be watched, so that nobody can tell whether what has to be hidden was moved.
    #[error("the directories that the session may change cannot be watched while it begins")]
    #[diagnostic(help(
        "end programs that watch many files, or raise `fs.inotify.max_user_instances` and `fs.inotify.max_user_watches` (sysctl)"
    ))]
    Unwatched(#[source] std::io::Error),
    /// The session's own directory would lie where the agent can write.
    #[error("the temporary directory `{0}` lies where the agent can write")]
    #[diagnostic(help("set TMPDIR to a directory outside the workspace"))]
    TemporaryWithinReach(AbsolutePath),
    /// The kernel gives no random bytes.
    #[error("the kernel gives no random bytes")]
    NoRandomness,
    /// A grant was made for another session.
    #[error("this grant is for another session")]
    WrongSession,
    /// No such session, or not this principal's.
    #[error("there is no session of that name")]
    #[diagnostic(help("`list` shows the sessions; `session_open` opens one"))]
    Unknown,
    /// A job holds it.
    #[error("the session is busy: job `{job}` runs in it")]
    #[diagnostic(help("wait for the job with `job_read`, end it with `job_signal`, or run this without `session`"))]
    Busy {
        /// The job's name.
        job: String,
    },
    /// It may not go on.
    #[error("the session has ended: the policies have changed, and they permit this principal no session here")]
    #[diagnostic(help("its state is kept until it is closed or idle for long, should the policies change again"))]
    Forbidden,
    /// What it ran before has not ended, as far as its target has said.
    #[error(
        "the command's deadline has passed, and the session's target is not done with the command before: nothing has run"
    )]
    #[diagnostic(help("wait, or close the session with `session_close` and open another"))]
    NotFree,
    /// Its shell is gone.
    #[error("the session has ended: {}", .0.as_str())]
    #[diagnostic(help(
        "`session_open` with this `session` starts a shell in its place, with the state from before the command"
    ))]
    Ended(Lost),
    /// Its shell is not gone.
    #[error("the session is open")]
    Lives,
    /// No such job.
    #[error("there is no job of that name")]
    #[diagnostic(help("`list` shows the jobs; one that is done is forgotten after a while"))]
    UnknownJob,
    /// All places are taken.
    #[error("{0} jobs are running, which is the limit")]
    #[diagnostic(help("end one with `job_signal`, or wait for one"))]
    TooManyJobs(usize),
    /// It cannot be written to.
    #[error("the job has no input that can be written to")]
    #[diagnostic(help("start it with `yield_ms` 0, which gives it one"))]
    NoInput,
    /// More than one call may write.
    #[error("more than {limit} bytes of input in one call")]
    #[diagnostic(help("write it in pieces"))]
    TooMuchInput {
        /// The limit in bytes.
        limit: usize,
    },
    /// It is far behind with what was written before.
    #[error("the job has not read what was written to it before")]
    #[diagnostic(help("wait for it with `job_read`, and write this again"))]
    InputFull,
    /// A shell may read it otherwise than it can be judged.
    #[error("denied: {why}")]
    #[diagnostic(help("write whole lines of plain text, or run it as a command of its own"))]
    UnclearInput {
        /// How.
        why: &'static str,
    },
    /// There is no terminal to give a size.
    #[error("`rows` and `cols` go with the signal WINCH and a job that was started with `tty`")]
    NoTerminal,
    /// It does not run any more.
    #[error("the job has ended")]
    #[diagnostic(help("`job_read` shows how"))]
    JobEnded,
    /// No such signal.
    #[error("there is no such signal for a job")]
    #[diagnostic(help("one of {names}"))]
    NoSuchSignal {
        /// Those that there are.
        names: String,
    },
    /// All places are taken.
    #[error("{0} sessions are open, which is the limit")]
    #[diagnostic(help("close one, or raise `session.max` in the settings"))]
    Full(usize),
}

fn by(policies: &[String]) -> String {
    if policies.is_empty() { "; nothing permits it".to_owned() } else { format!(", by {}", policies.join(", ")) }
}

/// How one script is to be run.
#[derive(Debug)]
pub struct Terms {
    /// Go there first.
    pub directory: Option<AbsolutePath>,
    /// End it when this time is up.
    pub timeout: Duration,
    /// At a target: when it is due, in the place of `timeout`.
    pub due: Option<Due>,
    /// How long its processes are given to end of themselves, once they are told to; none: they are interrupted, and
    /// killed half a second later.
    pub grace: Option<Duration>,
    /// Where what is known of it is kept.
    pub progress: Arc<Progress>,
    /// Where output goes as it comes, besides being kept.
    pub live: Option<mpsc::Sender<Chunk>>,
    /// What ends it early.
    pub stop: Stop,
    /// What is written to its standard input while it runs; none: that is empty.
    pub input: Option<mpsc::Receiver<Typed>>,
    /// What it is told while it runs.
    pub orders: Option<mpsc::Receiver<Order>>,
    /// Colours and other renditions of its output stay in.
    pub colours: bool,
    /// Where its shell stands behind it, if that is known before: nothing but the shell runs, and that does nothing that could move it.
    pub stays: Option<AbsolutePath>,
    /// Its shell is for it alone, and ends with it if it sets anything that runs then (`trap … EXIT`).
    pub ends: bool,
}

/// What a running script finds on its standard input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Typed {
    /// Bytes.
    Bytes(Vec<u8>),
    /// The end.
    End,
}

/// The size of a terminal, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Columns.
    pub cols: u16,
}

impl Default for TerminalSize {
    /// What programs expect that do not ask.
    fn default() -> Self {
        Self { rows: 24, cols: 80 }
    }
}

/// What a running script is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// A signal for every process that it started.
    Signal(rustix::process::Signal),
    /// That its terminal has another size now.
    Resize(TerminalSize),
    /// To end, with everything that it started.
    Stop {
        /// How long its processes are given, once they are told to end.
        grace: Option<Duration>,
    },
}

/// Ends a running script early: any of several switches.
#[derive(Clone, Debug, Default)]
pub struct Stop(Vec<watch::Receiver<bool>>);

impl Stop {
    /// Adds a switch; it is on once it holds true.
    pub fn listen(&mut self, switch: watch::Receiver<bool>) {
        self.0.push(switch);
    }

    /// Waits until a switch is on. Without any, or when those who could turn them are gone, for ever. Safe to drop.
    pub async fn requested(&mut self) {
        let mut waits: Vec<_> = self.0.iter_mut().map(|switch| Box::pin(switch.wait_for(|on| *on))).collect();
        std::future::poll_fn(|context| {
            // A switch whose other half is gone stays off; polled once more it would not wake us, so it is let go.
            let mut requested = false;
            waits.retain_mut(|wait| match Future::poll(wait.as_mut(), context) {
                Poll::Ready(Ok(_)) => {
                    requested = true;
                    false
                }
                Poll::Ready(Err(_)) => false,
                Poll::Pending => true,
            });
            if requested { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// Output as it comes.
#[derive(Debug)]
pub struct Chunk {
    /// Which stream.
    pub stream: StreamName,
    /// Redacted bytes.
    pub bytes: RedactedBytes,
}

/// One of a command's output streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamName {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One live shell under its sandbox.
#[derive(Debug)]
pub struct Session {
    id: SessionId,
    shell: Shell,
    /// Where it is, if it is not on this machine.
    elsewhere: Option<Arc<Elsewhere>>,
    opened: Instant,
    commands: u64,
    cwd: AbsolutePath,
    /// What its scripts have left behind that changes what the next one means.
    left: palisade_grammar::Shell,
    beginning: Beginning,
    guard: Option<Arc<Desk>>,
    gate: Option<Arc<Gate>>,
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
pub struct Beginning {
    /// None for a shell that no script has changed, or that is too much to keep.
    pub(crate) state: Option<State>,
    /// What that means for the next script.
    pub(crate) left: palisade_grammar::Shell,
    /// There was too much to keep.
    pub(crate) forgotten: bool,
    /// There were functions, which its shell cannot list.
    pub(crate) unlisted: bool,
}

impl Beginning {
    /// What tells it from another.
    pub(crate) fn digest(&self) -> Option<palisade_audit::Digest> {
        self.state.as_ref().map(State::digest)
    }
}

/// What is left of a session whose shell is gone.
#[derive(Debug)]
pub struct Remains {
    /// Its name.
    pub id: SessionId,
    /// Since when it lived.
    pub opened: Instant,
    /// Scripts that it has run.
    pub commands: u64,
    /// Where its shell stood before the last of them.
    pub cwd: AbsolutePath,
    /// What a new shell would be.
    pub beginning: Beginning,
    /// Where it was, if it was not on this machine.
    pub elsewhere: Option<Arc<Elsewhere>>,
    directory: Option<SessionDirectory>,
    guard: Option<Arc<Desk>>,
    gate: Option<Arc<Gate>>,
}

impl Remains {
    /// Its directories, which the next shell has, too; none of one that was elsewhere.
    pub fn directory(&self) -> Option<&SessionDirectory> {
        self.directory.as_ref()
    }

    /// For a shell whose programs and connections are decided by others than before.
    #[must_use]
    pub fn held_by(self, guard: Option<Arc<Desk>>, gate: Option<Arc<Gate>>) -> Self {
        Self { guard, gate, ..self }
    }

    /// To begin elsewhere, since where it stood is no more.
    #[must_use]
    pub fn standing_in(self, cwd: AbsolutePath) -> Self {
        Self { cwd, ..self }
    }
}

impl Session {
    /// Starts a shell. `rules` numbers the server's kernel rules that `place` was made from, or earlier ones.
    ///
    /// # Errors
    /// If the sandbox cannot be made as asked for, or the shell does not answer.
    pub async fn open(id: SessionId, place: Place, beginning: Beginning, rules: u64) -> Result<Self, SessionError> {
        let (cwd, guard, gate) = (place.cwd.clone(), place.guard.clone(), place.gate.clone());
        let shell = LocalShell::start(place, beginning.state.as_ref()).await?;
        Ok(Self { guard, gate, ..Self::fresh(id, Shell::Local(Box::new(shell)), cwd, beginning, rules) })
    }

    /// One in which nothing has run.
    fn fresh(id: SessionId, shell: Shell, cwd: AbsolutePath, beginning: Beginning, rules: u64) -> Self {
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
    pub(crate) fn elsewhere(id: SessionId, shell: RemoteShell, elsewhere: Arc<Elsewhere>, rules: u64) -> Self {
        let (cwd, left) = (shell.start_directory().clone(), shell.language().fresh());
        let (shell, beginning) = (Shell::Remote(Box::new(shell)), Beginning { left, ..Beginning::default() });
        Self { elsewhere: Some(elsewhere), ..Self::fresh(id, shell, cwd, beginning, rules) }
    }

    /// Takes a shell at a target that was started in the place of one that is gone, with its state.
    pub(crate) fn back(remains: Remains, shell: RemoteShell, elsewhere: Arc<Elsewhere>, rules: u64) -> Self {
        let Remains { id, opened, commands, beginning, .. } = remains;
        let is_posix = shell.language() == Language::Sh;
        let fresh = Self::elsewhere(id, shell, elsewhere, rules);
        // A shell of another kind takes nothing over.
        if is_posix != beginning.left.is_posix() {
            let beginning = Beginning { forgotten: commands > 0, ..fresh.beginning.clone() };
            return Self { opened, commands, beginning, ..fresh };
        }
        let left = beginning.left.clone();
        Self { opened, commands, beginning, left, ..fresh }
    }

    /// Where it is, if it is not on this machine.
    pub fn place(&self) -> Option<&Arc<Elsewhere>> {
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
        remains: Remains,
        plan: SandboxPlan,
        environment: Vec<(OsString, OsString)>,
        names: Option<Arc<Names>>,
        rules: u64,
    ) -> Result<Self, SessionError> {
        let Remains { id, opened, commands, cwd, beginning, directory, guard, gate, .. } = remains;
        let directory = directory.ok_or(SessionError::Unknown)?;
        let (desk, door) = (guard.clone(), gate.clone());
        let cwd_of_place = cwd.clone();
        let place =
            Place { plan, environment, cwd: cwd_of_place, directory, guard: desk, names, gate: door, terminal: None };
        let shell = LocalShell::start(place, beginning.state.as_ref()).await?;
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
    pub fn beginning(&self) -> Beginning {
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
    pub async fn run(&mut self, grant: Grant, redactor: &Redactor, terms: Terms) -> Result<Ended, SessionError> {
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
            let (end, lost) = (End::Unknown, Some(Lost::Disconnected));
            return Ok(Ended { end, lost, cwd: None, duration: Duration::ZERO });
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
            Ok(Ended { end: End::NotBegun, .. }) => {
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
    fn not_begun(&self) -> Ended {
        Ended { end: End::NotBegun, lost: None, cwd: Some(self.cwd.clone()), duration: Duration::ZERO }
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
        self.beginning = Beginning { forgotten: state.is_none(), unlisted, state, left };
        Ok(())
    }

    /// Ends the shell and everything in it; what is left for another one.
    pub async fn close(self) -> Remains {
        let Self { id, shell, elsewhere, opened, commands, cwd, beginning, guard, gate, .. } = self;
        let directory = shell.close().await;
        Remains { id, opened, commands, cwd, beginning, elsewhere, directory, guard, gate }
    }
}
