//! What a caller can do with a job: read on, write to it, send it a signal, list all.
//!
//! This file decides what is asked of the engine before a job is reached: a signal and bytes for its input are acts of
//! their own, put for each program that the job runs. What is typed into a shell is judged as the script that it is, too.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use palisade_engine::{Act, Facts, Verdict};
use tokio::sync::mpsc::error::TrySendError;

use super::{Client, Failure, Pipeline, WithClient};
use crate::hint::{self, Bounds};
use crate::job::{Job, JobSignal, Runs};
use crate::output::{Cursor, View};
use crate::record;
use crate::redact::Redacted;
use crate::result::{ExecResult, Finish, JobNote, Omitted, Status};
use crate::session::{SessionError, Typed};

/// Bytes that one call may write (the contract, section 7).
const MAX_INPUT: usize = 1 << 20;

/// The longest that a call waits for news.
const MAX_WAIT: Duration = Duration::from_secs(120);

/// What a caller wants to know of a job.
#[derive(Debug, Default)]
pub struct Reading {
    /// Where the last reading ended; none: from the beginning.
    pub cursor: Option<Cursor>,
    /// How long to wait for something new.
    pub wait: Duration,
    /// What to show of it.
    pub view: Option<View>,
}

impl Pipeline {
    /// What a job has printed since the cursor, and how it stands.
    ///
    /// # Errors
    /// If there is none of that name, or its end could not be recorded.
    pub async fn read_job(&self, id: &str, reading: Reading) -> Result<ExecResult, Failure> {
        let job = self.job(id)?;
        self.news(&job, reading.cursor, reading.wait).await;
        self.shown(&job, reading)
    }

    /// Writes to a job's input, and shows what it says to that.
    ///
    /// # Errors
    /// If there is no such job, policy does not permit it, it has no input, it has ended or is too far behind, or the
    /// input cannot be recorded: then nothing was written.
    pub async fn write_job(
        &self,
        id: &str,
        input: &[u8],
        eof: bool,
        reading: Reading,
        client: &Client,
    ) -> Result<ExecResult, Failure> {
        let job = self.job(id)?;
        let Some(typist) = &job.input else { return Err(self.failure(&SessionError::NoInput)) };
        if input.len() > MAX_INPUT {
            return Err(self.failure(&SessionError::TooMuchInput { limit: MAX_INPUT }));
        }
        let text = String::from_utf8_lossy(input).into_owned();
        // Both places are taken before anything is asked, so that all of it is written or nothing.
        let pieces = usize::from(!input.is_empty()) + usize::from(eof);
        let places = typist.try_reserve_many(pieces).map_err(|error| match error {
            TrySendError::Full(()) => self.failure(&SessionError::InputFull),
            TrySendError::Closed(()) => self.failure(&SessionError::JobEnded),
        })?;
        let facts = self.facts_of(&job, client);
        let permitted = self.may_write(&job, &facts, input, &text);
        let entry = record::input(&job, permitted.clone(), self.redact(&text), input.len(), eof);
        self.audit.append(entry).await.map_err(|error| self.failure(&error))?;
        permitted.map_err(|policies| self.denied(&job, "sendInput", &policies))?;
        let before = job.progress.look(|known| Cursor::end_of(&known.stdout, &known.stderr));
        let bytes = Some(input).filter(|input| !input.is_empty()).map(|input| Typed::Bytes(input.to_vec()));
        let end = eof.then_some(Typed::End);
        places.zip(bytes.into_iter().chain(end)).for_each(|(place, typed)| place.send(typed));
        let reading = Reading { cursor: reading.cursor.or(Some(before)), ..reading };
        self.news(&job, reading.cursor, reading.wait).await;
        self.shown(&job, reading)
    }

    /// Sends every process of a job a signal.
    ///
    /// # Errors
    /// If there is no such job or signal, policy does not permit it, the job has ended, or it cannot be recorded: then
    /// nothing was sent.
    pub async fn signal_job(&self, id: &str, signal: &str, client: &Client) -> Result<ExecResult, Failure> {
        let job = self.job(id)?;
        let Some(signal) = JobSignal::named(signal) else {
            return Err(self.failure(&SessionError::NoSuchSignal { names: JobSignal::names() }));
        };
        let facts = self.facts_of(&job, client);
        let act = |runs: &Runs| {
            let (program, session) = (runs.program.clone(), facts.session.id.clone());
            Act::Signal { program, session, signal: signal.name().to_owned() }
        };
        let permitted = job.runs.iter().try_for_each(|runs| self.answer(&facts, &act(runs)));
        let entry = record::signalled(&job, permitted.clone(), signal.name());
        self.audit.append(entry).await.map_err(|error| self.failure(&error))?;
        permitted.map_err(|policies| self.denied(&job, "signal", &policies))?;
        job.orders.send(signal.order()).await.map_err(|_| self.failure(&SessionError::JobEnded))?;
        let before = job.progress.look(|known| Cursor::end_of(&known.stdout, &known.stderr));
        // An end that comes at once is told at once.
        let _still_runs = tokio::time::timeout(Duration::from_millis(200), job.ended()).await;
        self.shown(&job, Reading { cursor: Some(before), ..Reading::default() })
    }

    /// The jobs that run, and those that are done and still known.
    pub fn jobs(&self) -> Vec<JobNote> {
        let note = |job: &Arc<Job>| {
            let ending = job.ending();
            let finish = ending.as_ref().and_then(|ending| ending.as_ref().ok());
            JobNote {
                job: self.redact(job.id.as_str()),
                session: job.holds.as_ref().map(|session| self.redact(session.as_str())),
                status: finish.map_or(if ending.is_some() { Status::SessionLost } else { Status::Running }, |finish| {
                    finish.status
                }),
                exit_code: finish.and_then(|finish| finish.exit_code),
                signal: finish.and_then(|finish| finish.signal),
                command: job.script.clone(),
                age_s: job.started.elapsed().as_secs(),
                waiting_for_input: job.progress.look(|known| known.waits_for_input),
            }
        };
        self.jobs.all().iter().map(note).collect()
    }

    fn job(&self, id: &str) -> Result<Arc<Job>, Failure> {
        self.jobs.get(id).ok_or_else(|| self.failure(&SessionError::UnknownJob))
    }

    /// Waits until there is more than the cursor knows, or the job has ended, or waits for input.
    async fn news(&self, job: &Job, cursor: Option<Cursor>, wait: Duration) {
        if wait.is_zero() {
            return;
        }
        let cursor = cursor.unwrap_or_default();
        let news =
            job.progress.once(|known| known.waits_for_input || Cursor::end_of(&known.stdout, &known.stderr) != cursor);
        tokio::select! {
            _ended = job.ended() => {}
            () = news => {}
            () = tokio::time::sleep(wait.min(MAX_WAIT)) => {}
        }
    }

    fn shown(&self, job: &Arc<Job>, reading: Reading) -> Result<ExecResult, Failure> {
        let finish = match job.ending() {
            None => None,
            Some(Ok(finish)) => Some(finish),
            Some(Err(failure)) => return Err((*failure).clone()),
        };
        let view = reading.view.unwrap_or_else(|| View::chars(self.settings.budget.max_chars));
        Ok(self.viewed(job, finish.as_ref(), reading.cursor, &view))
    }

    /// What is known of a command, from the cursor on.
    pub(super) fn viewed(&self, job: &Job, finish: Option<&Finish>, cursor: Option<Cursor>, view: &View) -> ExecResult {
        let known = job.progress.look(Clone::clone);
        let from = cursor.unwrap_or_default();
        let end = Cursor::end_of(&known.stdout, &known.stderr);
        let stdout = known.stdout.since(from.stdout).shape(view);
        let stderr = known.stderr.since(from.stderr).shape(view);
        let omitted = [("stdout", Omitted::of(&stdout)), ("stderr", Omitted::of(&stderr))];
        let totals = [("stdout", stdout.total_bytes), ("stderr", stderr.total_bytes)];
        let redactor = &self.settings.redactor;
        let running = finish.is_none();
        let failed = finish.is_some_and(|finish| finish.exit_code.is_some_and(|code| code != 0));
        let hints = if failed { self.hints(stderr.text.as_str(), finish) } else { Vec::new() };
        ExecResult {
            status: finish.map_or(Status::Running, |finish| finish.status),
            exit_code: finish.and_then(|finish| finish.exit_code),
            signal: finish.and_then(|finish| finish.signal),
            lossy: stdout.lossy || stderr.lossy,
            stdout: stdout.text,
            stderr: stderr.text,
            cwd: finish.map_or_else(Redacted::default, |finish| finish.cwd.clone()),
            duration: finish.map_or_else(|| job.started.elapsed(), |finish| finish.duration),
            job: running.then(|| self.redact(job.id.as_str())),
            cursor: Some(redactor.text(&end.to_string())),
            waiting_for_input: running && known.waits_for_input,
            omitted: omitted.into_iter().filter_map(|(name, omitted)| Some((name, omitted?))).collect(),
            totals: totals.into(),
            redactions: known.redactions.iter().map(|(rule, count)| (redactor.text(rule), *count)).collect(),
            denied: known.denied.clone(),
            hints,
            lost: finish.and_then(|finish| finish.lost.clone()),
            decision: job.decision.clone(),
            anchor: finish.map_or_else(|| self.audit.head(), |finish| finish.anchor),
        }
    }

    fn hints(&self, stderr: &str, finish: Option<&Finish>) -> Vec<Redacted> {
        let surroundings = &self.settings.surroundings;
        let cwd = finish.map(|finish| finish.cwd.as_str()).filter(|cwd| !cwd.is_empty());
        let temp = std::env::temp_dir(); // where each session's own directory lies
        let writable = [Path::new(surroundings.workspace.as_str()), &temp].into_iter();
        let writable: Vec<&Path> =
            writable.chain(surroundings.writable.iter().map(|path| Path::new(path.as_str()))).collect();
        let mut called = format!("`{}`, `$TMPDIR`", surroundings.workspace);
        for granted in &surroundings.writable {
            called.push_str(&format!(", `{granted}`"));
        }
        let cwd = Path::new(cwd.unwrap_or(surroundings.workspace.as_str()));
        let bounds = Bounds { cwd, writable: &writable, called: &called };
        hint::hints(stderr, &bounds).iter().map(|hint| self.redact(hint)).collect()
    }

    fn facts_of(&self, job: &Job, client: &Client) -> Facts {
        let occasion = self.occasion(&job.session, self.settings.cwd.clone(), None);
        self.settings.surroundings.facts(&occasion).with(client)
    }

    /// Whether policy lets this be written to the job; `Err` holds the policies that forbid it.
    fn may_write(&self, job: &Job, facts: &Facts, input: &[u8], text: &str) -> Result<(), Vec<Redacted>> {
        for Runs { program, interpreter } in &job.runs {
            let (program, session) = (program.clone(), facts.session.id.clone());
            let act = Act::SendInput { program, session, interpreter: *interpreter, text: text.to_owned() };
            self.answer(facts, &act)?;
        }
        if !job.runs.iter().any(|runs| is_shell(&runs.program)) {
            return Ok(());
        }
        match self.settings.engine.now().decide(palisade_grammar::inventory(input), facts) {
            Verdict::Allow(_) => Ok(()),
            verdict => Err(verdict.report().reasons.iter().map(|reason| self.redact(&reason.policy)).collect()),
        }
    }

    fn answer(&self, facts: &Facts, act: &Act) -> Result<(), Vec<Redacted>> {
        let (permitted, policies) = self.settings.engine.now().answer(facts, act);
        if permitted { Ok(()) } else { Err(policies.iter().map(|policy| self.redact(policy)).collect()) }
    }

    fn denied(&self, job: &Job, action: &'static str, policies: &[Redacted]) -> Failure {
        let shown = policies.iter().map(Redacted::as_str).filter(|policy| !policy.is_empty()).collect::<Vec<_>>();
        let shown = if shown.is_empty() { "no policy permits it".to_owned() } else { shown.join(", ") };
        Failure {
            what: self.redact(&format!("denied: {action} to job `{}` ({shown})", job.id)),
            help: Redacted::from_static("run it as a command of its own, which is judged as a whole"),
        }
    }
}

/// What takes its input for a script of the shell's language.
fn is_shell(program: &str) -> bool {
    matches!(program, "bash" | "sh" | "dash" | "ash" | "ksh" | "zsh" | "rbash")
}
