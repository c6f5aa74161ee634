//! Sessions and jobs of an embedding program: each call is one of the runner's pipeline, which judges and records it.
//!
//! Decides nothing but who is asked. No part of the pipeline is handed out.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use palisade_engine::Approval;
use palisade_runner::{
    self as runner, Call, Checked, CheckpointNote, Client, Cursor, Explained, Pipeline, Reached, Reading, Redacted,
    RestoreNote, RestoreTerms, Standing, Unanswered, View,
};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::builder::Builder;
use crate::error::Error;
use crate::outcome::{Outcome, Status};
use crate::question::{Ask, Question};

/// Policies, a record and a sandbox for one agent. A clone is another handle of the same.
///
/// Its calls need a tokio runtime of several threads (`#[tokio::main]` makes one); `palisade::blocking` brings its own.
#[derive(Clone, Debug)]
pub struct Palisade(Arc<Inner>);

/// A shell that keeps its state from one script to the next, in a sandbox. One script runs at a time; others wait for it.
///
/// Dropped without [`close`](Self::close) it ends once it has been idle for the settings' `session.idle`, or with [`Palisade::shut_down`].
#[derive(Debug)]
pub struct Session {
    inner: Arc<Inner>,
    id: String,
    cwd: Redacted,
}

/// A script that runs in the background, in a shell of its own that began as its session's.
#[derive(Debug)]
pub struct Job {
    inner: Arc<Inner>,
    id: String,
    cursor: Option<Cursor>,
}

/// What came of starting a script in the background.
#[derive(Debug)]
#[must_use = "a script that was denied has not run"]
pub enum Started {
    /// It runs.
    Running(Job),
    /// It was denied, or a person has to say yes first; nothing has run.
    Refused(Box<Outcome>),
}

/// How a workspace goes back to a checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Restore {
    /// Only say what would be done.
    DryRun,
    /// Put back what the session changed.
    #[default]
    Own,
    /// Put back what others changed since, too.
    Force,
}

/// What sessions and jobs share.
#[derive(Debug)]
pub(crate) struct Inner {
    pipeline: Arc<Pipeline>,
    ask: Option<Ask>,
    person: Approval,
    client: Client,
    target: Option<String>,
    /// Targets whose guard has no program to be brought there.
    lacks_guard: BTreeSet<String>,
    begun: AtomicBool,
    beside: Mutex<Vec<JoinHandle<()>>>,
}

impl Palisade {
    /// Safe defaults, and no settings file: profile `developer`, sandbox level `default`, the workspace is the current directory.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// What this settings file says, read as `palisade --config FILE` reads it. What the builder sets stands before it.
    pub fn from_settings(path: impl Into<PathBuf>) -> Builder {
        Builder::with_settings(path.into())
    }

    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        Self(inner)
    }

    /// Opens a session on this machine, or at the builder's target.
    ///
    /// # Errors
    /// Policy does not permit it, all places are taken, the target cannot be reached, or no shell can be started.
    pub async fn open_session(&self) -> Result<Session, Error> {
        self.0.begin()?;
        let opened = match &self.0.target {
            None => self.0.pipeline.sessions().open(None, &Client::default()).await?,
            Some(name) if self.0.lacks_guard.contains(name) => {
                return Err(Error::NoGuardProgram { target: name.clone() });
            }
            Some(name) => {
                let open = || self.0.pipeline.sessions().open_at(name, None, &self.0.client);
                self.0.checked(open).await?
            }
        };
        let id = opened.session.as_str().to_owned();
        Ok(Session { inner: Arc::clone(&self.0), id, cwd: opened.cwd })
    }

    /// What policy says to a script in a new session here. Nothing runs, and nothing goes on record.
    ///
    /// # Errors
    /// There is no runtime of several threads.
    pub async fn explain(&self, script: &str) -> Result<Explained, Error> {
        runtime()?;
        Ok(self.0.pipeline.explain(&Call { script: script.into(), ..Call::default() }).await?)
    }

    /// Serves one MCP client on standard input and output, until it hangs up or `stop` is done; then every session ends.
    ///
    /// # Errors
    /// The client does not speak MCP, or serving fails.
    #[cfg(feature = "mcp")]
    pub async fn serve_stdio(&self, stop: impl Future<Output = ()>) -> Result<(), Error> {
        self.0.begin()?;
        let served = palisade_mcp::serve_stdio(Arc::clone(&self.0.pipeline), stop).await;
        served.map_err(|error| Error::Failed {
            what: self.0.pipeline.redact(&error.to_string()),
            help: Redacted::default(),
        })
    }

    /// Ends every session and job, and closes the record.
    ///
    /// # Errors
    /// The end cannot be recorded.
    pub async fn shut_down(self) -> Result<(), Error> {
        runtime()?;
        Ok(self.0.pipeline.shut_down().await?)
    }
}

impl Session {
    /// Its name in the record.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The directory that it was opened in.
    #[must_use]
    pub fn opened_in(&self) -> &Redacted {
        &self.cwd
    }

    /// Judges a script and, if it is allowed, runs it to its end. Dropping the future ends the script.
    ///
    /// # Errors
    /// The session has ended, no shell can be started, or the record cannot be written. A denial is no error.
    pub async fn exec(&self, script: &str) -> Result<Outcome, Error> {
        self.inner.run(self.call(script)).await
    }

    /// The same with a time limit of its own.
    ///
    /// # Errors
    /// As [`exec`](Self::exec).
    pub async fn exec_within(&self, time: Duration, script: &str) -> Result<Outcome, Error> {
        self.inner.run(Call { timeout: Some(time), ..self.call(script) }).await
    }

    /// What policy says to a script here. Nothing runs, and nothing goes on record.
    ///
    /// # Errors
    /// The session has ended.
    pub async fn explain(&self, script: &str) -> Result<Explained, Error> {
        runtime()?;
        Ok(self.inner.pipeline.explain(&self.call(script)).await?)
    }

    /// Judges a script and, if it is allowed, starts it in the background.
    ///
    /// # Errors
    /// As [`exec`](Self::exec), or too many jobs run.
    pub async fn start(&self, script: &str) -> Result<Started, Error> {
        let outcome = self.inner.submit(Call { yields: Some(Duration::ZERO), ..self.call(script) }).await?;
        if let runner::Outcome::Running(result) = &outcome
            && let Some(job) = &result.job
        {
            let (inner, id) = (Arc::clone(&self.inner), job.as_str().to_owned());
            return Ok(Started::Running(Job { inner, id, cursor: None }));
        }
        Ok(Started::Refused(Box::new(shown(outcome))))
    }

    /// Takes a checkpoint of the workspace.
    ///
    /// # Errors
    /// Policy does not permit it, the workspace or the store cannot be used, or it cannot be recorded.
    pub async fn checkpoint(&self, label: &str) -> Result<CheckpointNote, Error> {
        runtime()?;
        let take = || self.inner.pipeline.checkpoints().take(&self.id, label, &self.inner.client);
        Ok(self.inner.checked(take).await?.note)
    }

    /// The checkpoints of the workspace, oldest first.
    ///
    /// # Errors
    /// The session has ended, or the store cannot be read.
    pub async fn checkpoints(&self) -> Result<Vec<CheckpointNote>, Error> {
        runtime()?;
        Ok(self.inner.pipeline.checkpoints().list(Some(&self.id)).await?)
    }

    /// Goes back to a checkpoint, by its name.
    ///
    /// # Errors
    /// Policy does not permit it, there is no such checkpoint, or it cannot be recorded: then nothing was restored.
    pub async fn restore(&self, checkpoint: &str, how: Restore) -> Result<RestoreNote, Error> {
        runtime()?;
        let terms = RestoreTerms { dry_run: how == Restore::DryRun, force: how == Restore::Force };
        let restore = || self.inner.pipeline.checkpoints().restore(&self.id, checkpoint, terms, &self.inner.client);
        self.inner.checked(restore).await
    }

    /// Starts a shell in the place of one that has ended, with its directory, variables, functions and options.
    ///
    /// # Errors
    /// The shell has not ended, policy does not permit it any more, or no shell can be started.
    pub async fn restart(&self) -> Result<(), Error> {
        runtime()?;
        let reopen = || self.inner.pipeline.sessions().reopen(&self.id, &self.inner.client);
        self.inner.checked(reopen).await.map(drop)
    }

    /// Ends the session and everything in it.
    ///
    /// # Errors
    /// It had ended before, or its end cannot be recorded.
    pub async fn close(self) -> Result<(), Error> {
        runtime()?;
        Ok(self.inner.pipeline.sessions().close(&self.id).await?)
    }

    fn call(&self, script: &str) -> Call {
        Call { script: script.into(), session: Some(self.id.clone()), ..Call::default() }
    }
}

impl Job {
    /// Its name in the record.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What it has printed since the last call, and how it stands now.
    ///
    /// # Errors
    /// It is not known any more, or its end could not be recorded.
    pub async fn output(&mut self) -> Result<Outcome, Error> {
        self.output_within(Duration::ZERO).await
    }

    /// The same at its end, or once it waits for input or `time` is over (at most two minutes).
    ///
    /// # Errors
    /// As [`output`](Self::output).
    pub async fn output_within(&mut self, time: Duration) -> Result<Outcome, Error> {
        runtime()?;
        let reading = Reading { cursor: self.cursor, wait: time, ..Reading::default() };
        let result = self.inner.pipeline.jobs().read(&self.id, reading).await?;
        self.cursor = result.cursor.as_ref().and_then(|cursor| cursor.as_str().parse().ok()).or(self.cursor);
        Ok(Outcome::of(result))
    }

    /// Writes to its standard input, if policy lets it, and shows what it says to that; `end` closes the input behind it.
    ///
    /// # Errors
    /// It has ended, or the input cannot be recorded: then nothing was written. A denial is no error.
    pub async fn write(&mut self, input: &[u8], end: bool) -> Result<Outcome, Error> {
        runtime()?;
        let inner = &self.inner;
        let reading = Reading { wait: ANSWER, ..Reading::default() };
        let mut reached = inner.pipeline.jobs().write(&self.id, input, end, reading, &inner.client).await?;
        if let Reached::Ask(pending) = reached {
            let Some(ask) = &inner.ask else {
                let (explained, decision) = (pending.explained().clone(), pending.decision().clone());
                return Ok(Outcome::not_run(Status::ApprovalRequired, explained, decision));
            };
            if ask.is_yes(Question::of(pending.explained())).await {
                reached = inner.pipeline.jobs().approve(*pending, &inner.person).await?;
            } else {
                inner.pipeline.jobs().decline(&pending, &inner.person).await?;
                reached = Reached::Ask(pending);
            }
        }
        Ok(match reached {
            Reached::Shown(result) => Outcome::of(*result),
            Reached::Refused(refusal) => Outcome::not_run(Status::Denied, refusal.explained, refusal.decision),
            Reached::Ask(pending) => {
                Outcome::not_run(Status::ApprovalRequired, pending.explained().clone(), pending.decision().clone())
            }
            Reached::Unanswered(unanswered) => unanswered_outcome(*unanswered),
        })
    }

    /// Waits for its end. Dropping the future leaves it running.
    ///
    /// # Errors
    /// It is not known any more, or its end could not be recorded.
    pub async fn wait(&self) -> Result<Outcome, Error> {
        self.end(&runner::Stop::default()).await
    }

    /// Ends it and everything that it has started, and waits for that. Policy is not asked: it is your program that ends it.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub async fn kill(&self) -> Result<Outcome, Error> {
        let (_switch, on) = watch::channel(true);
        let mut stop = runner::Stop::default();
        stop.listen(on);
        self.end(&stop).await
    }

    async fn end(&self, stop: &runner::Stop) -> Result<Outcome, Error> {
        runtime()?;
        let view = View::chars(self.inner.pipeline.budget().max_chars);
        Ok(shown(self.inner.pipeline.jobs().end_of(&self.id, &view, stop).await?))
    }
}

/// How long a write waits for what the job says to it.
const ANSWER: Duration = Duration::from_millis(500);

impl Inner {
    pub(crate) fn new(
        pipeline: Arc<Pipeline>,
        ask: Option<Ask>,
        person: Approval,
        target: Option<String>,
        lacks_guard: BTreeSet<String>,
    ) -> Self {
        let (client, begun, beside) = (Client::default(), AtomicBool::new(false), Mutex::default());
        Self { pipeline, ask, person, client, target, lacks_guard, begun, beside }
    }

    /// Begins what has to be done beside all calls: idle sessions end, and programs that wait for a yes get an answer.
    fn begin(&self) -> Result<(), Error> {
        let runtime = runtime()?;
        if self.begun.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let house = Arc::clone(&self.pipeline);
        let mut beside = vec![runtime.spawn(async move { house.keep_house().await })];
        if let Some(ask) = self.ask.clone() {
            beside.push(runtime.spawn(attend(Arc::clone(&self.pipeline), ask, self.person.clone())));
        }
        self.beside.lock().unwrap_or_else(PoisonError::into_inner).extend(beside);
        Ok(())
    }

    /// A call of the pipeline; what policy asks is asked of the callback, if there is one.
    async fn submit(&self, call: Call) -> Result<runner::Outcome, Error> {
        runtime()?;
        let outcome = Box::pin(self.pipeline.submit(call)).await?;
        let (runner::Outcome::Ask(pending), Some(ask)) = (&outcome, &self.ask) else { return Ok(outcome) };
        if !ask.is_yes(Question::of(pending.explained())).await {
            self.pipeline.decline(pending, &self.person).await?;
            return Ok(outcome);
        }
        let runner::Outcome::Ask(pending) = outcome else { return Ok(outcome) };
        Ok(Box::pin(self.pipeline.approve(*pending, &self.person)).await?)
    }

    async fn run(&self, call: Call) -> Result<Outcome, Error> {
        self.submit(call).await.map(shown)
    }

    /// The same for what waits under an id once it is asked: after a yes it is tried once more.
    async fn checked<T, F>(&self, act: impl Fn() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<Checked<T>, runner::Failure>>,
    {
        let mut answered = false;
        loop {
            let unanswered = match Box::pin(act()).await? {
                Checked::Done(done) => return Ok(*done),
                Checked::Refused(refusal) => return Err((*refusal).into()),
                Checked::Unanswered(unanswered) => unanswered,
            };
            let (Some(ask), Standing::Waiting { id, .. }, false) = (&self.ask, &unanswered.standing, answered) else {
                return Err((*unanswered).into());
            };
            let yes = ask.is_yes(Question::of(&unanswered.explained)).await;
            self.pipeline.approvals().answer(id.as_str(), self.person.clone(), yes, "").await?;
            if !yes {
                return Err((*unanswered).into());
            }
            answered = true;
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        for task in self.beside.get_mut().unwrap_or_else(PoisonError::into_inner) {
            task.abort();
        }
    }
}

/// Asks about each program that takes a yes before it starts, while the script that started it runs.
async fn attend(pipeline: Arc<Pipeline>, ask: Ask, person: Approval) {
    let mut attendance = pipeline.approvals().attended_by(person.clone());
    while let Some(id) = attendance.next().await {
        let Some(request) = pipeline.approvals().asks(&id, &person) else { continue };
        let yes = ask.is_yes(Question::waiting(&request)).await;
        // Where nobody waits for it any more, or it does not count, the program does not start.
        let _unheard = pipeline.approvals().answer(&id, person.clone(), yes, "").await;
    }
}

fn shown(outcome: runner::Outcome) -> Outcome {
    match outcome {
        runner::Outcome::Ran(result) | runner::Outcome::Running(result) => Outcome::of(result),
        runner::Outcome::Denied(refusal) => Outcome::not_run(Status::Denied, refusal.explained, refusal.decision),
        runner::Outcome::Ask(pending) => {
            Outcome::not_run(Status::ApprovalRequired, pending.explained().clone(), pending.decision().clone())
        }
        runner::Outcome::Unanswered(unanswered) => unanswered_outcome(*unanswered),
    }
}

fn unanswered_outcome(unanswered: Unanswered) -> Outcome {
    let is_denied = matches!(unanswered.standing, Standing::Denied { .. });
    let status = if is_denied { Status::Denied } else { Status::ApprovalRequired };
    Outcome::not_run(status, unanswered.explained, unanswered.decision)
}

/// The runtime that this is called in; the pipeline blocks threads of it at times, which one of a single thread does not stand.
fn runtime() -> Result<Handle, Error> {
    let handle = Handle::try_current().map_err(|_| Error::Runtime("this call needs a tokio runtime"))?;
    if handle.runtime_flavor() == RuntimeFlavor::CurrentThread {
        return Err(Error::Runtime("this call needs a tokio runtime of several threads"));
    }
    Ok(handle)
}
