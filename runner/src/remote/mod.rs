//! A shell at the other end of a connection: a bash, or where there is none a `sh` (`shell/language.rs`).
//!
//! It has three streams and no channel besides, so that the end of a command is told in the streams that the command wrote to,
//! by a nonce that only the shell's input has held (`scan.rs`). Nothing holds it there: what it may do, its user may do. A second
//! shell (`control_shell.rs`) tells what the first one cannot be asked for, and ends what it started. This file starts both, and ends them;
//! `run.rs` has what happens in between.

mod answers;
mod base;
mod control_shell;
pub mod guard;
mod input_wait;
mod purpose;
mod run;
mod scan;
mod started_processes;
mod task;
mod terminal;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use palisade_engine::AbsolutePath;
use palisade_redact::Redacted;
use palisade_sandbox::Enforced;
use serde::Serialize;

use self::answers::{answer, boot, kept};
pub(crate) use self::base::{Base, Errands};
use self::control_shell::{ControlShell, Since};
use self::guard::Outpost;
pub(crate) use self::purpose::Purpose;
pub(crate) use self::task::{Records, Task, broken};
use crate::facts::remote_view::View;
use crate::guard::Ledger;
use crate::shell::{Language, MAX_STATE, Nonce, SessionError, State, TerminalSize, frame, posix};
use crate::target::{Target, TargetError};
use crate::transport::TERMINAL_KIND;
use crate::transport::docker::Container;
use crate::transport::ssh::Connection;
use crate::transport::start_limit::{RemotePhase, Turn};
use crate::transport::wire::Wire;

/// How long a shell may take to answer where nothing of the agent's runs.
const READY: Duration = Duration::from_secs(10);

/// Bytes that a login shell's own set-up may say before ours begins.
const MAX_GREETING: usize = 1 << 20;

/// Rounds of questions about the names of one script: a `cd` has to be answered before what lies behind it can be asked.
const MAX_ROUNDS: usize = 16;

/// The variable by which all that a session starts is known at the other end.
pub(crate) const MARK: &str = "PALISADE_SESSION";

/// A connection to the other end, over which shells are started.
#[derive(Debug)]
pub(crate) enum Link {
    /// To a host.
    Ssh(Connection),
    /// To a container.
    Docker(Container),
}

impl Link {
    async fn shell(&self, language: Language, purpose: Purpose<'_>) -> Result<Wire, TargetError> {
        match self {
            Self::Ssh(connection) => connection.shell(purpose.start(language)).await,
            Self::Docker(container) => container.shell(purpose.start(language)).await,
        }
    }

    /// The second shell, in the language that there is.
    async fn scout(&self) -> Result<(ControlShell, Language), SessionError> {
        let mut found = Err(TargetError::NoBash.into());
        for language in [Language::Bash, Language::Sh] {
            found = match self.shell(language, Purpose::Ours).await {
                Ok(wire) => ControlShell::start(wire, language).await.map(|scout| (scout, language)),
                Err(error) => Err(error.into()),
            };
            if !matches!(found, Err(SessionError::Target(TargetError::NoBash))) {
                break;
            }
        }
        found
    }

    /// Ends the connection. A peer that takes nothing any more is not told of it.
    async fn close(&self) {
        let closed = async {
            match self {
                Self::Ssh(connection) => connection.close().await,
                Self::Docker(container) => container.close().await,
            }
        };
        if tokio::time::timeout(READY, closed).await.is_err() {
            tracing::warn!("a target takes nothing any more, and the connection there was not closed in good order");
        }
    }
}

/// What is at the other end, for the record and for whoever opened the session.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RemoteInfo {
    /// The operator's name for it.
    pub target: Redacted,
    /// The shell that commands run in there, once somebody has looked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shell: Option<Language>,
    /// The user that commands run as there.
    #[serde(skip_serializing_if = "Redacted::is_empty")]
    pub user: Redacted,
    /// The fingerprint of the host's key.
    #[serde(skip_serializing_if = "Redacted::is_empty")]
    pub host_key: Redacted,
    /// The hosts on the way, in the order from here, each with the fingerprint of its key.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub by: Vec<Redacted>,
    /// The container's id.
    #[serde(skip_serializing_if = "Redacted::is_empty")]
    pub container: Redacted,
    /// The container's image, by its digest.
    #[serde(skip_serializing_if = "Redacted::is_empty")]
    pub image: Redacted,
    /// The guard that holds the session there, by the SHA-256 of its program.
    #[serde(skip_serializing_if = "Redacted::is_empty")]
    pub guard: Redacted,
}

/// A running shell at the other end.
#[derive(Debug)]
pub(crate) struct RemoteShell {
    base: Base,
    /// It is a session's own, and the connection ends with it; else it runs one command, whose input is the shell's.
    is_session: bool,
    closed: bool,
    /// The shell itself has ended, and its number may be another's.
    gone: bool,
    /// Something of it may be left, and has been told of.
    left: bool,
    main: Wire,
    /// Its number there.
    pid: String,
    /// What all that it starts has in its environment.
    mark: String,
    /// Where it began.
    start: AbsolutePath,
    /// Of a `sh`: the variables that it was started with.
    begun: BTreeSet<String>,
    /// The guard that holds it; none where nothing does.
    held: Option<Arc<guard::Shell>>,
}

/// What a session's shell was in whose place another one is started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Was<'a> {
    /// What is kept of it.
    pub(crate) state: Option<&'a State>,
    /// Where it stood.
    pub(crate) stood: &'a AbsolutePath,
}

impl RemoteShell {
    /// Starts the shells, the first one in the target's workspace; or makes it what another was. With `guard` it runs under one.
    ///
    /// # Errors
    /// If there is no bash, it does not answer, the target is not as the settings have it, or the guard cannot hold what it has to.
    pub(crate) async fn start(
        link: Link,
        target: &Target,
        was: Option<Was<'_>>,
        guard: Option<(guard::Terms, Ledger)>,
    ) -> Result<Self, SessionError> {
        let link = Arc::new(link);
        let turn = match Turn::take(RemotePhase::Start, target.host()).await {
            Ok(turn) => turn,
            Err(error) => {
                link.close().await;
                return Err(error.into());
            }
        };
        let begun = Self::begin(&link, target, was, guard).await;
        drop(turn);
        match begun {
            Ok(shell) => Ok(shell),
            Err(error) => {
                link.close().await;
                Err(error)
            }
        }
    }

    async fn begin(
        link: &Arc<Link>,
        target: &Target,
        was: Option<Was<'_>>,
        guard: Option<(guard::Terms, Ledger)>,
    ) -> Result<Self, SessionError> {
        let mark = Nonce::new()?.as_str().to_owned();
        let (scout, language) = link.scout().await?;
        let mut base = Base::new(Arc::clone(link), scout.clone(), language, &target.name);
        let ledger = match guard {
            None => None,
            Some((terms, ledger)) => {
                base.takes_guards()?;
                base.guarded_by(Outpost::start(&base, terms).await?);
                Some(ledger)
            }
        };
        let (mut main, held) = base.start(Purpose::Session(&mark), None, ledger).await?;
        let nonce = Nonce::new()?;
        let (pid, home) = boot(&mut main, language.boot(&nonce), &nonce).await?;
        // In a namespace of its own it has another number.
        let pid = held.as_ref().map_or(pid, |held| held.pid());
        scout.hold(&pid, &mark).await.ok_or(SessionError::NotReady)?;
        if home != target.home.as_str() {
            // Groups such as `~/.ssh` speak of the home that the settings name.
            return Err(TargetError::Home { target: target.name.clone(), home }.into());
        }
        if let Some(workspace) = &target.workspace {
            let nonce = Nonce::new()?;
            if answer(&mut main, language.go(workspace.as_str(), &nonce), &nonce, MAX_GREETING).await?.1 != 0 {
                return Err(TargetError::NoWorkspace { path: workspace.to_string() }.into());
            }
        }
        let variables = match language {
            Language::Bash => BTreeSet::new(),
            // One that does not say what it is keeps nothing.
            Language::Sh => kept(&mut main, 0).await?.map(|kept| kept.exported().clone()).unwrap_or_default(),
        };
        // What another kind of shell was is nothing to this one.
        let state = was.and_then(|was| was.state).filter(|state| state.language() == language);
        if language == Language::Sh {
            if let Some(state) = state {
                let nonce = Nonce::new()?;
                answer(&mut main, posix::restore(state.bytes(), &nonce), &nonce, MAX_GREETING).await?;
            }
            if let Some(was) = was {
                // It need not be there any more.
                let nonce = Nonce::new()?;
                answer(&mut main, language.go(was.stood.as_str(), &nonce), &nonce, MAX_GREETING).await?;
            }
        } else if let Some(state) = state {
            let nonce = Nonce::new()?;
            answer(&mut main, frame::restore_remote(state.bytes(), &nonce), &nonce, MAX_GREETING).await?;
            // The mark is this shell's own; and where it stood need not be there any more.
            let begun = stands(&scout, held.as_deref(), &pid).await.ok_or(SessionError::NoDirectory)?;
            let stood = was.map_or(&begun, |was| was.stood).as_str();
            let own = frame::settle_remote(MARK, &mark, stood, None, base.temp());
            let nonce = Nonce::new()?;
            let lines = frame::command(&own, None, frame::Streams::Nowhere, &nonce);
            answer(&mut main, lines, &nonce, MAX_GREETING).await?;
        }
        main.ignore();
        let start = stands(&scout, held.as_deref(), &pid).await.ok_or(SessionError::NoDirectory)?;
        Ok(Self {
            base,
            is_session: true,
            closed: false,
            gone: false,
            left: false,
            main,
            pid,
            mark,
            start,
            begun: variables,
            held,
        })
    }

    /// Starts a shell for one command over a session's connection, and makes it what the session's was; with a terminal of this size for
    /// its streams, if it is to have one.
    ///
    /// # Errors
    /// If it does not answer, the directory is not there, or there can be no terminal.
    pub(crate) async fn once(
        base: Base,
        state: Option<&State>,
        cwd: &AbsolutePath,
        terminal: Option<TerminalSize>,
        ledger: Option<Ledger>,
    ) -> Result<Self, SessionError> {
        let mark = Nonce::new()?.as_str().to_owned();
        let (mut main, held) = match terminal {
            None => base.start(Purpose::Once(&mark), Some(cwd), ledger).await?,
            Some(size) => terminal::open(&base, &mark, size, cwd, ledger).await?,
        };
        let nonce = Nonce::new()?;
        let language = base.language();
        let state = state.filter(|state| state.language() == language);
        let text = match language {
            Language::Bash => {
                let kind = terminal.map(|_| TERMINAL_KIND);
                let own = frame::settle_remote(MARK, &mark, cwd.as_str(), kind, base.temp());
                frame::once(state.map(State::bytes), &own, terminal.is_some(), &nonce)
            }
            Language::Sh => {
                let own = posix::settle(MARK, &mark, cwd.as_str());
                posix::once(state.map_or(b"", State::bytes), &own, &nonce)
            }
        };
        let (pid, _home) = boot(&mut main, text, &nonce).await?;
        let pid = held.as_ref().map_or(pid, |held| held.pid());
        base.scout().hold(&pid, &mark).await.ok_or(SessionError::NotReady)?;
        let shell = Self {
            base,
            is_session: false,
            closed: false,
            gone: false,
            left: false,
            main,
            pid,
            mark,
            start: cwd.clone(),
            begun: BTreeSet::new(),
            held,
        };
        if shell.cwd().await.as_ref() == Some(cwd) {
            return Ok(shell);
        }
        shell.close().await;
        Err(SessionError::NoDirectory)
    }

    /// Which shell it is.
    pub(crate) fn language(&self) -> Language {
        self.base.language()
    }

    /// What the kernel holds it to there; none where nothing does.
    pub(crate) fn enforced(&self) -> Option<&Enforced> {
        self.held.as_ref().map(|held| held.enforced())
    }

    /// The guard that holds it.
    pub(crate) fn held(&self) -> Option<&guard::Shell> {
        self.held.as_deref()
    }

    /// Where it stands, as the kernel there has it.
    async fn cwd(&self) -> Option<AbsolutePath> {
        stands(self.base.scout(), self.held.as_deref(), &self.pid).await
    }

    /// Where it began.
    pub(crate) fn start_directory(&self) -> &AbsolutePath {
        &self.start
    }

    /// For starting others over the same connection.
    pub(crate) fn base(&self) -> Base {
        self.base.clone()
    }

    /// What the shell is now; none if that is too much to keep. It comes in the stream of its commands, of which none runs at this time:
    /// what could write there besides could do the same to the shell itself.
    ///
    /// # Errors
    /// If the shell does not answer any more: it is ended then.
    pub(crate) async fn state(&mut self, status: i32) -> Result<Option<State>, SessionError> {
        let told = match (self.main.listen(), self.language()) {
            (Some(_), _) => Err(TargetError::Closed.into()),
            (None, Language::Sh) => {
                let kept = kept(&mut self.main, status).await;
                kept.map(|kept| kept.map(|kept| State::of_sh(kept.script(&self.begun))))
            }
            (None, Language::Bash) => {
                let nonce = Nonce::new()?;
                let told = answer(&mut self.main, frame::state_told(status, &nonce), &nonce, MAX_STATE).await;
                // A shell that tells nothing has kept nothing: every one has variables.
                told.map(|(told, _)| told.filter(|told| !told.is_empty()).map(State::of))
            }
        };
        self.main.ignore();
        if told.is_err() {
            self.end_everything().await;
        }
        told
    }

    /// Kills the shell and everything that it started; a session's own ends the connection, and all that was started over it.
    pub(crate) async fn close(mut self) {
        self.closed = true;
        self.end_everything().await;
        if self.is_session {
            hang_up(&self.base).await;
        }
    }

    async fn end_everything(&mut self) {
        // Once it is said, nothing becomes better by trying it again.
        if !self.left {
            self.left = !end(&self.base, self.held.as_deref(), &self.pid, &self.mark, self.gone).await;
        }
    }
}

impl Drop for RemoteShell {
    /// For a session whose call was interrupted: nobody is left to close it.
    fn drop(&mut self) {
        let (false, Ok(runtime)) = (self.closed, tokio::runtime::Handle::try_current()) else { return };
        let (base, is_session, gone, left) = (self.base.clone(), self.is_session, self.gone, self.left);
        let (pid, mark, held) = (std::mem::take(&mut self.pid), std::mem::take(&mut self.mark), self.held.take());
        runtime.spawn(async move {
            if !left {
                end(&base, held.as_deref(), &pid, &mark, gone).await;
            }
            if is_session {
                hang_up(&base).await;
            }
        });
    }
}

async fn hang_up(base: &Base) {
    base.scout().end_all().await;
    base.close().await;
}

/// Whether nothing is left; it is told of if something may be.
async fn end(base: &Base, held: Option<&guard::Shell>, pid: &str, mark: &str, gone: bool) -> bool {
    let scout = base.scout();
    if let (Some(held), false) = (held, gone) {
        // The guard that does not answer any more is gone, and all that it held with it.
        let _gone = held.end().await;
    } else if !gone {
        scout.kill_shell(pid).await;
    }
    let ended = scout.kill_rest(pid, mark, &Since::ever()).await.is_some();
    if ended {
        scout.let_go(pid).await;
    } else {
        tracing::warn!("what a session ran may be left at its target until that sees that the connection is gone");
    }
    ended
}

/// Where a shell stands: its guard knows that of one with a view of its own.
async fn stands(scout: &ControlShell, held: Option<&guard::Shell>, pid: &str) -> Option<AbsolutePath> {
    match held {
        Some(held) => held.cwd().await,
        None => scout.cwd(pid).await,
    }
}

/// Tells what names mean at the other end. Cheap to copy.
#[derive(Clone, Debug)]
pub(crate) struct Eyes(ControlShell);

impl Eyes {
    /// Asks about the names that `gather` notes down in `view`, and again, until it finds nothing new to ask.
    pub(crate) async fn fill(&self, view: &View, gather: impl Fn()) {
        for _ in 0..MAX_ROUNDS {
            gather();
            let wanted = view.wanted();
            if wanted.is_empty() {
                return;
            }
            let places = self.0.look(&wanted).await.unwrap_or_else(|| vec![None; wanted.len()]);
            view.learn(wanted, places);
        }
    }

    /// The directory that a path names, if it can be entered.
    pub(crate) async fn directory(&self, path: &str) -> Option<AbsolutePath> {
        let found = self.0.look(&[path.to_owned()]).await?.pop()??;
        found.enters.then_some(found.path)
    }
}
