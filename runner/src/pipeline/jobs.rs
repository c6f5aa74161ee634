//! What a caller can do with a job: read on, write to it, send it a signal, wait for its end, list all.
//!
//! This file decides what is asked of the engine before a job is reached: a signal and bytes for its input are acts of
//! their own, put for each program that the job runs. What is typed into a shell is judged as the script that it is, too.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use palisade_audit::{Anchor, RequestId, Yes};
use palisade_engine::{AbsolutePath, Act, Decision, Facts, FileAction, Verdict};
use palisade_redact::Redacted;
use palisade_redact::output::{Cursor, View};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{self, PermitIterator};

use super::job_approval::{Intent, JobRequest, Judged};
use super::state::PipelineState;
use super::{Client, Failure, Outcome, Reached, WithClient};
use crate::facts::Occasion;
use crate::hint::{self, Bounds};
use crate::job::{Job, JobSignal, Keys, Runs};
use crate::record;
use crate::result::{DeniedProgram, ExecResult, Explained, Finish, JobNote, Omitted, Refusal, Status};
use crate::shell::{Follower, Order, SessionError, Stop, TerminalSize, Typed};

/// What is said where git has set something that sessions alone see.
const OWN_SETTINGS: &str = "git has set this in the repository for commands under Palisade alone: it could mislead a person's git, which does not see it";

/// What is said of a script that ran as the code of another shell.
const APART: &str =
    "Palisade does not read all of this text, so it ran as `bash -c`: what it sets and where it goes is not kept";

/// Bytes that one call may write (the contract, section 7).
const MAX_INPUT: usize = 1 << 20;

/// The longest that a call waits for news.
const MAX_WAIT: Duration = Duration::from_secs(120);

/// What a caller wants to know of a job.
#[derive(Debug, Default)]
pub struct Reading {
    /// Where the last reading ended; none: from the beginning.
    pub cursor: Option<Cursor>,
    /// How long to wait for its end, or behind an input for something new.
    pub wait: Duration,
    /// What to show of it.
    pub view: Option<View>,
    /// Who follows the job meanwhile.
    pub follower: Follower,
}

/// The jobs: commands that go on after their calls have returned.
#[derive(Clone, Copy, Debug)]
pub struct Jobs<'a> {
    pub(super) state: &'a Arc<PipelineState>,
}

impl Jobs<'_> {
    /// What a job has printed since the cursor, and how it stands: at its end, or once `wait` is over or it waits for input or a person.
    ///
    /// # Errors
    /// If there is none of that name, or its end could not be recorded.
    pub async fn read(self, id: &str, reading: Reading) -> Result<ExecResult, Failure> {
        let job = self.find(id)?;
        reading.follower.follow(&job.progress);
        let asks = job.progress.once(|known| known.waits_for_input || !known.waits_for_person.is_empty());
        tokio::select! {
            _ended = job.ended() => {}
            () = asks => {}
            () = tokio::time::sleep(reading.wait.min(MAX_WAIT)) => {}
        }
        self.shown(&job, reading)
    }

    /// What a job has become, once it has ended: the very result that its call would have had, had it waited. `stop` ends the job and
    /// everything that it has started, as it would have while the call still waited.
    ///
    /// # Errors
    /// If there is none of that name, or its end could not be recorded.
    pub async fn end_of(self, id: &str, view: &View, stop: &Stop) -> Result<Outcome, Failure> {
        let job = self.find(id)?;
        let mut stop = stop.clone();
        let settled = tokio::select! {
            settled = job.ended() => settled,
            () = stop.requested() => {
                job.cancel.send_replace(true);
                job.ended().await
            }
        };
        self.state.commands().ran(&job, settled, view)
    }

    /// Somebody still asks for this job: it is neither ended nor forgotten for want of that. Of one that is unknown there is nothing to keep.
    pub fn touch(self, id: &str) {
        let _touched_by_being_found = self.state.job_registry.get(id);
    }

    /// Writes to a job's input, and shows what it says to that.
    ///
    /// # Errors
    /// If there is no such job, it has no input, it has ended or is too far behind, a shell would read the input otherwise
    /// than it can be judged, or the input cannot be recorded: then nothing was written.
    pub async fn write(
        self,
        id: &str,
        input: &[u8],
        eof: bool,
        reading: Reading,
        client: &Client,
    ) -> Result<Reached, Failure> {
        let job = self.find(id)?;
        self.state.kill_switch().goes_on(job.named.as_deref())?;
        let Some(typist) = &job.input else { return Err(self.state.failure(&SessionError::NoInput)) };
        if input.len() > MAX_INPUT {
            return Err(self.state.failure(&SessionError::TooMuchInput { limit: MAX_INPUT }));
        }
        let text = String::from_utf8_lossy(input).into_owned();
        // The places are taken before anything is asked.
        let places = self.room(typist, input, eof)?;
        let facts = self.facts_of(&job, client);
        let told = job.told.load(Ordering::Acquire);
        let judged = self.judge_input(&job, &facts, input, &text, eof);
        let redactor = self.state.settings.redactor.keyed(job.session.as_str());
        let shown = judged.as_ref().map(|judged| Explained::of(&judged.strictest(), &redactor));
        let shown = shown.map_err(|why| *why);
        let ask = self.state.audit.request();
        let asks = shown.as_ref().is_ok_and(|shown| shown.decision == Decision::Ask);
        let yes = Yes { ask: asks.then_some(ask), under: None };
        let entry = self.input_entry(&job, shown.as_ref().ok(), yes, input, eof)?;
        let anchor = self.state.audit.append(entry).await.map_err(|error| self.state.failure(&error))?;
        if let Ok(shown) = &shown {
            self.state.transcripts.decided(ask, shown);
        }
        let (judged, explained) = match (judged, shown) {
            (Ok(judged), Ok(explained)) => (judged, explained),
            (Err(why), _) | (_, Err(why)) => return Err(self.state.failure(&SessionError::UnclearInput { why })),
        };
        if explained.decision == Decision::Allow {
            job.tell(None);
            return self.write_now(&job, places, input, eof, reading).await.map(Reached::Shown);
        }
        drop(places);
        let intent = Intent::Input { bytes: input.to_vec(), eof, reading: Box::new(reading) };
        let asked = JobRequest { ask, job, facts, judged, told };
        Ok(self.not_yet(asked, intent, explained, anchor))
    }

    /// Places for what is to be written, so that all of it is written or nothing.
    pub(super) fn room<'t>(
        self,
        typist: &'t mpsc::Sender<Typed>,
        input: &[u8],
        eof: bool,
    ) -> Result<PermitIterator<'t, Typed>, Failure> {
        let pieces = usize::from(!input.is_empty()) + usize::from(eof);
        typist.try_reserve_many(pieces).map_err(|error| match error {
            TrySendError::Full(()) => self.state.failure(&SessionError::InputFull),
            TrySendError::Closed(()) => self.state.failure(&SessionError::JobEnded),
        })
    }

    /// Writes what is allowed and on record, and shows what the job says to it.
    pub(super) async fn write_now(
        self,
        job: &Arc<Job>,
        places: PermitIterator<'_, Typed>,
        input: &[u8],
        eof: bool,
        reading: Reading,
    ) -> Result<Box<ExecResult>, Failure> {
        let before = job.progress.look(|known| Cursor::end_of(&known.stdout, &known.stderr));
        // What it waited for comes now.
        job.progress.waits_for_input(false);
        let bytes = Some(input).filter(|input| !input.is_empty()).map(|input| Typed::Bytes(input.to_vec()));
        let end = eof.then_some(Typed::End);
        places.zip(bytes.into_iter().chain(end)).for_each(|(place, typed)| place.send(typed));
        let reading = Reading { cursor: reading.cursor.or(Some(before)), ..reading };
        self.news(job, reading.cursor, reading.wait).await;
        self.shown(job, reading).map(Box::new)
    }

    /// Sends every process of a job a signal. With `size`, which goes with WINCH, its terminal gets that size, and those
    /// in its foreground the signal.
    ///
    /// # Errors
    /// If there is no such job, signal or terminal, the job has ended, or it cannot be recorded: then nothing was sent.
    pub async fn signal(
        self,
        id: &str,
        signal: &str,
        size: Option<TerminalSize>,
        client: &Client,
    ) -> Result<Reached, Failure> {
        let job = self.find(id)?;
        self.state.kill_switch().goes_on(job.named.as_deref())?;
        let Some(signal) = JobSignal::named(signal) else {
            return Err(self.state.failure(&SessionError::NoSuchSignal { names: JobSignal::names() }));
        };
        let order = match size {
            None => signal.order(),
            Some(size) if signal.is_resize() && job.terminal => Order::Resize(size),
            Some(_) => return Err(self.state.failure(&SessionError::NoTerminal)),
        };
        let facts = self.facts_of(&job, client);
        let act = |runs: &Runs| {
            let (program, session) = (runs.program.clone(), facts.session.id.clone());
            Act::Signal { program, session, signal: signal.name().to_owned() }
        };
        let told = job.told.load(Ordering::Acquire);
        let judged = self.judge_acts(&facts, job.runs.iter().map(act)).ok_or_else(unjudged)?;
        let explained = Explained::of(&judged.strictest(), &self.state.settings.redactor.keyed(job.session.as_str()));
        let ask = self.state.audit.request();
        let yes = Yes { ask: (explained.decision == Decision::Ask).then_some(ask), under: None };
        let entry = record::signalled((job.req, &job.session), &explained, yes, signal.name());
        let anchor = self.state.audit.append(entry).await.map_err(|error| self.state.failure(&error))?;
        self.state.transcripts.decided(ask, &explained);
        if explained.decision == Decision::Allow {
            job.tell(None);
            return self.order(&job, order).await.map(Reached::Shown);
        }
        let intent = Intent::Signal { signal, order };
        let asked = JobRequest { ask, job, facts, judged, told };
        Ok(self.not_yet(asked, intent, explained, anchor))
    }

    /// Sends what is allowed and on record.
    pub(super) async fn order(self, job: &Arc<Job>, order: Order) -> Result<Box<ExecResult>, Failure> {
        job.orders.send(order).await.map_err(|_| self.state.failure(&SessionError::JobEnded))?;
        let before = job.progress.look(|known| Cursor::end_of(&known.stdout, &known.stderr));
        // An end that comes at once is told at once.
        let _still_runs = tokio::time::timeout(Duration::from_millis(200), job.ended()).await;
        self.shown(job, Reading { cursor: Some(before), ..Reading::default() }).map(Box::new)
    }

    /// The jobs that run, and those that are done and still known.
    pub fn list(self) -> Vec<JobNote> {
        let note = |job: &Arc<Job>| {
            let ending = job.ending();
            let finish = ending.as_ref().and_then(|ending| ending.as_ref().ok());
            JobNote {
                job: self.state.redact(job.id.as_str()),
                session: job.holds.as_ref().map(|session| self.state.redact(session.as_str())),
                status: finish.map_or(if ending.is_some() { Status::SessionLost } else { Status::Running }, |finish| {
                    finish.status
                }),
                exit_code: finish.and_then(|finish| finish.exit_code),
                signal: finish.and_then(|finish| finish.signal),
                cause: finish.and_then(|finish| finish.cause),
                command: job.script.clone(),
                age_s: job.started.elapsed().as_secs(),
                waiting_for_input: job.progress.look(|known| known.waits_for_input),
                waiting_for_approval: job.progress.look(|known| self.ids(&known.waits_for_person)),
            }
        };
        self.state.job_registry.all().iter().map(note).collect()
    }

    pub(super) fn find(self, id: &str) -> Result<Arc<Job>, Failure> {
        self.state.job_registry.get(id).ok_or_else(|| self.state.failure(&SessionError::UnknownJob))
    }

    /// Waits until there is more than the cursor knows, or the job has ended, or waits for input.
    async fn news(self, job: &Job, cursor: Option<Cursor>, wait: Duration) {
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

    fn shown(self, job: &Arc<Job>, reading: Reading) -> Result<ExecResult, Failure> {
        let finish = match job.ending() {
            None => None,
            Some(Ok(finish)) => Some(finish),
            Some(Err(failure)) => return Err((*failure).clone()),
        };
        let view = reading.view.unwrap_or_else(|| View::chars(self.state.settings.budget.max_chars));
        Ok(self.viewed(job, finish.as_ref(), reading.cursor, &view))
    }

    /// What is known of a command, from the cursor on.
    pub(super) fn viewed(self, job: &Job, finish: Option<&Finish>, cursor: Option<Cursor>, view: &View) -> ExecResult {
        let known = job.progress.look(Clone::clone);
        let from = cursor.unwrap_or_default();
        let end = Cursor::end_of(&known.stdout, &known.stderr);
        let stdout = known.stdout.since(from.stdout).shape(view);
        let stderr = known.stderr.since(from.stderr).shape(view);
        let omitted = [("stdout", Omitted::of(&stdout)), ("stderr", Omitted::of(&stderr))];
        // Of a stream with nothing in it there is nothing to say.
        let searched =
            [("stdout", &stdout), ("stderr", &stderr)].into_iter().filter(|(_, shown)| shown.total_bytes > 0);
        let searched = searched.filter_map(|(name, shown)| Some((name, shown.search?))).collect();
        let totals = [("stdout", stdout.total_bytes), ("stderr", stderr.total_bytes)];
        let redactor = &self.state.settings.redactor;
        let running = finish.is_none();
        let mut hints = self.hints([stdout.text.as_str(), stderr.text.as_str()], &known.denied, job, finish);
        if finish.is_some() && job.named.is_some() && palisade_engine::is_apart(job.script.as_str()) {
            hints.push(Redacted::from_static(APART));
        }
        if known.own_settings {
            hints.push(Redacted::from_static(OWN_SETTINGS));
        }
        hints.extend(hint::empty_files(&known.empty_files).map(|hint| self.state.redact(&hint)));
        ExecResult {
            status: finish.map_or(Status::Running, |finish| finish.status),
            exit_code: finish.and_then(|finish| finish.exit_code),
            signal: finish.and_then(|finish| finish.signal),
            limit: finish.and_then(|finish| finish.limit),
            lossy: stdout.lossy || stderr.lossy,
            stdout: stdout.text,
            stderr: stderr.text,
            cwd: finish.map_or_else(Redacted::default, |finish| finish.cwd.clone()),
            duration: finish.map_or_else(|| job.started.elapsed(), |finish| finish.duration),
            job: running.then(|| self.state.redact(job.id.as_str())),
            cursor: Some(redactor.text(&end.to_string())),
            waiting_for_input: running && known.waits_for_input,
            waiting_for_approval: if running { self.ids(&known.waits_for_person) } else { Vec::new() },
            omitted: omitted.into_iter().filter_map(|(name, omitted)| Some((name, omitted?))).collect(),
            searched,
            totals: totals.into(),
            redactions: known.redactions.iter().map(|(rule, count)| (redactor.text(rule), *count)).collect(),
            denied: known.denied.clone(),
            denied_more: known.denied_more,
            hints,
            lost: finish.and_then(|finish| finish.lost.clone()),
            late: finish.and_then(|finish| finish.late),
            cause: finish.and_then(|finish| finish.cause),
            restarted: job.restarted.clone(),
            checkpoint: job.progress.checkpoint().cloned(),
            reading: job.progress.reads().filter(|_| running).map(|pace| self.state.checkpoints().reading(&pace)),
            decision: job.decision.clone(),
            anchor: finish.map_or_else(|| self.state.audit.head(), |finish| finish.anchor),
        }
    }

    fn ids(self, ids: &BTreeSet<RequestId>) -> Vec<Redacted> {
        ids.iter().map(|id| self.state.redact(&id.to_string())).collect()
    }

    /// What the messages of a command that failed mean. A script that sends messages into its standard output often ends in a filter
    /// (`2>&1 | tail`), whose exit status says nothing of the program before it. So both streams of such a script are read, whatever its
    /// status is.
    fn hints(
        self,
        [stdout, stderr]: [&str; 2],
        denied: &[DeniedProgram],
        job: &Job,
        finish: Option<&Finish>,
    ) -> Vec<Redacted> {
        // They are about what the kernel of this machine refuses.
        if job.elsewhere.is_some() {
            return Vec::new();
        }
        let failed = finish.is_some_and(|finish| finish.exit_code.is_some_and(|code| code != 0));
        let merged = job.terminal || ["2>&1", "&>", "|&"].iter().any(|sent| job.script.as_str().contains(sent));
        let texts = match (failed, merged && finish.is_some()) {
            (_, true) => [stdout, stderr],
            (true, false) => ["", stderr],
            (false, false) => ["", ""],
        };
        let surroundings = &self.state.settings.surroundings;
        let cwd = finish.map(|finish| finish.cwd.as_str()).filter(|cwd| !cwd.is_empty());
        let own = std::env::temp_dir().join(crate::session_directory::OWN_DIRECTORY);
        let writable = [Path::new(surroundings.workspace.as_str())].into_iter();
        let writable: Vec<&Path> =
            writable.chain(surroundings.writable.iter().map(|path| Path::new(path.as_str()))).collect();
        let mut called = format!("`{}`, `$TMPDIR`", surroundings.workspace);
        for granted in &surroundings.writable {
            called.push_str(&format!(", `{granted}`"));
        }
        let begun = Path::new(job.cwd.as_str());
        let cwds = [begun, cwd.map_or(begun, Path::new)];
        let refused = denied.iter().flat_map(|denied| [denied.program.as_str(), denied.file.as_str()]);
        let refused: Vec<&str> = refused.filter(|name| !name.is_empty()).collect();
        let own = own.to_string_lossy();
        let engine = self.state.settings.engine.now();
        let facts = surroundings.facts(&self.occasion_of(job));
        let closed = |file: &Path| {
            let path = AbsolutePath::new(file.to_str()?).filter(|path| !facts.scratch.holds(path))?;
            let (permitted, policies) = engine.permissions(&facts).because(FileAction::Read, &path);
            (!permitted).then_some(policies)
        };
        let own_user = rustix::process::geteuid().as_raw();
        let stranger = |file: &Path| {
            let there =
                [Some(file), file.parent()].into_iter().flatten().find_map(|path| path.symlink_metadata().ok())?;
            Some(there.uid()).filter(|user| *user != own_user)
        };
        let workspace = Path::new(surroundings.workspace.as_str());
        let top = workspace.ancestors().find(|above| above.join(".git").symlink_metadata().is_ok());
        let bounds = Bounds {
            repository: top.filter(|top| *top != workspace && !writable.iter().any(|open| top.starts_with(open))),
            cwds: &cwds,
            writable: &writable,
            own: &own,
            called: &called,
            refused: &refused,
            peers: denied.iter().any(|denied| !denied.peer.is_empty()),
            scratch: &|file| {
                let path = file.to_str().and_then(AbsolutePath::new);
                path.is_some_and(|path| facts.scratch.holds(&path))
            },
            closed: &closed,
            stranger: &stranger,
        };
        let mut hints = hint::hints(texts, failed, &bounds);
        if let Some(hint) = hint::closed_listing(job.script.as_str(), &bounds).filter(|_| hints.is_empty()) {
            hints.push(hint);
        }
        hints.iter().map(|hint| self.state.redact(hint)).collect()
    }

    pub(super) fn facts_of(self, job: &Job, client: &Client) -> Facts {
        match &job.elsewhere {
            Some(there) => there.0.facts(&there.1).with(client),
            None => self.state.settings.surroundings.facts(&self.occasion_of(job)).with(client),
        }
    }

    fn occasion_of(self, job: &Job) -> Occasion {
        self.state.occasion(&job.session, self.state.settings.cwd.clone(), None)
    }

    /// What policy says to writing this to the job; `Err` says why it cannot be judged.
    fn judge_input(
        self,
        job: &Job,
        facts: &Facts,
        input: &[u8],
        text: &str,
        eof: bool,
    ) -> Result<Judged, &'static str> {
        let act = |Runs { program, interpreter }: &Runs| {
            let (program, session) = (program.clone(), facts.session.id.clone());
            Act::SendInput { program, session, interpreter: *interpreter, text: text.to_owned() }
        };
        let written =
            self.judge_acts(facts, job.runs.iter().map(act)).ok_or("nothing is known of what the job runs")?;
        if !job.runs.iter().any(|runs| is_shell(&runs.program)) {
            return Ok(written);
        }
        match Keys::of(input, job.terminal, eof) {
            Keys::Control => Ok(written),
            Keys::Unclear(why) => Err(why),
            Keys::Script => {
                // What is no bash, or may be none, reads only what is the same to all of them.
                let is_posix = job.runs.iter().any(|runs| is_shell(&runs.program) && !is_bash(&runs.program));
                let shell = if is_posix { palisade_grammar::Shell::posix() } else { palisade_grammar::Shell::new() };
                let inventory = palisade_grammar::inventory_in(input, &shell);
                if *inventory.leaves() != shell {
                    // Which shell reads the next piece cannot be told: the one that was changed, or one above or below it.
                    return Err("it would change what is written to a shell next");
                }
                let typed = match &job.elsewhere {
                    Some(there) => there.0.gather_anywhere(&there.1, &inventory),
                    None => self.state.settings.surroundings.gather_anywhere(&self.occasion_of(job), &inventory),
                };
                let facts = Facts { principal: facts.principal.clone(), ..typed };
                let verdict = self.state.settings.engine.now().decide(inventory, &facts);
                lacks_checkpoint(job, &verdict).map_or(Ok(Judged { typed: Some(verdict), ..written }), Err)
            }
        }
    }

    /// What policy says to several acts; none to none.
    fn judge_acts(self, facts: &Facts, acts: impl Iterator<Item = Act>) -> Option<Judged> {
        let engine = self.state.settings.engine.now();
        let mut judged = acts.map(|act| {
            let report = engine.judge(facts, &act, false);
            (act, report)
        });
        let first = judged.next()?;
        Some(Judged { first, rest: judged.collect(), typed: None })
    }

    pub(super) fn refusal(self, job: &Job, explained: Explained, anchor: Anchor) -> Refusal {
        let decision = explained.note(self.state.redact(&job.req.to_string()));
        Refusal { explained, decision, anchor }
    }
}

/// Why something that is written to a shell at a target may not be, if policy permits it only behind a checkpoint: the job has to have
/// been started behind one. On this machine each program of it is asked about again.
pub(super) fn lacks_checkpoint(job: &Job, typed: &Verdict) -> Option<&'static str> {
    let is_met = typed.report().checkpoint.is_empty() || job.progress.checkpoint().is_some();
    (job.elsewhere.is_some() && !is_met)
        .then_some("it is permitted only behind a checkpoint, and the job was started without one")
}

fn unjudged() -> Failure {
    Failure::of("nothing is known of what the job runs")
}

fn is_bash(program: &str) -> bool {
    matches!(program, "bash" | "rbash")
}

/// What takes its input for a script of the shell's language.
fn is_shell(program: &str) -> bool {
    matches!(program, "bash" | "sh" | "dash" | "ash" | "ksh" | "zsh" | "rbash")
}
