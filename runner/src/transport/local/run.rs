//! One command in a running shell, from its first byte to its end or the shell's.
//!
//! This file decides when a command is over, and whether its shell can still be trusted with another one. Two things
//! say so besides the shell's report: how much of its input the shell has read, and whether its process lives. A shell
//! that has read everything and reports nothing has lost its way; it is asked once more, and then given up.

use std::sync::Arc;
use std::time::{Duration, Instant};

use palisade_redact::Redactor;
use palisade_sandbox::meter::{Exceeded, Watch};
use palisade_sandbox::{Ending, Tree};
use rustix::process::Signal;
use tokio::io::AsyncWriteExt;

use super::LocalShell;
use super::channel::{After, BUFFER, Channel, Turn};
use super::input::Input;
use super::input_wait::QUIET;
use super::output_pipes::{Keeping, OutputPipes};
use super::reports::Closed;
use super::termination::{Step, Termination};
use crate::shell::frame::{self, Report, Streams};
use crate::shell::progress::Progress;
use crate::shell::report_check::{Forged, Hearing};
use crate::shell::{End, Nonce, Order, RunEnd, SessionError, ShellLoss, StreamName, Terms, Typed};

/// Silence after which output that can no longer become a secret is let go.
const IDLE: Duration = Duration::from_millis(50);

/// How often a command that says nothing is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// How long a shell that has read all of its input may take to say so.
const SILENCE: Duration = Duration::from_secs(2);

/// How long a session that has passed a limit may take to get back on its feet.
const BUSY: Duration = Duration::from_secs(5);

/// How often it is tried to end what such a session still runs, each for half a second at most.
const LIMITED_ROUNDS: u32 = 10;

/// The status of a command that an interrupt has ended, as bash tells it.
const INTERRUPTED: i32 = 130;

impl LocalShell {
    /// Runs one command to its end, the shell's end, or the deadline. What it prints goes to `terms.progress`.
    ///
    /// # Errors
    /// If the channels cannot be made: the command has not run then.
    pub(crate) async fn run(
        &mut self,
        script: &[u8],
        redactor: &Redactor,
        terms: Terms,
    ) -> Result<RunEnd, SessionError> {
        // The search at its start has just been made for the first one.
        if let Some(keeper) = self.keeper.as_ref().filter(|_| self.ran) {
            tokio::task::block_in_place(|| keeper.catch_up());
        }
        self.ran = true;
        let before = self
            .process
            .tree_by(self.glance.as_ref())
            .map_err(|source| SessionError::Channel { what: "a list of processes", source })?;
        let needs_own = self.terminal.is_some() || terms.input.is_some() || !before.is_single();
        let kept = if needs_own { None } else { self.kept().await };
        let pipes = self.directory.pipes();
        let shown = Arc::clone(&terms.progress);
        let (progress, live, colours) = (&terms.progress, terms.live.as_ref(), terms.colours);
        let (stdout, stderr, input) = match &self.terminal {
            Some(terminal) => {
                let input = terms.input.is_some().then(|| Input::of_terminal(terminal));
                (Channel::of_terminal(terminal, redactor, progress, live, colours), None, input)
            }
            None => {
                let (stdout, stderr) = match &kept {
                    Some(OutputPipes { stdout, stderr }) => (
                        Channel::of_kept(stdout, StreamName::Stdout, redactor, progress, live, colours),
                        Channel::of_kept(stderr, StreamName::Stderr, redactor, progress, live, colours),
                    ),
                    None => (
                        Channel::make(&pipes, StreamName::Stdout, redactor, progress, live, colours)?,
                        Channel::make(&pipes, StreamName::Stderr, redactor, progress, live, colours)?,
                    ),
                };
                let input = terms.input.is_some().then(|| Input::make(&self.directory.input())).transpose()?;
                (stdout, Some(stderr), input)
            }
        };
        let nonce = Nonce::new()?;
        let streams = match &stderr {
            Some(_) if kept.is_some() => Streams::Kept,
            Some(stderr) => Streams::Files {
                stdin: input.as_ref().and_then(Input::path).unwrap_or("/dev/null"),
                stdout: stdout.path(),
                stderr: stderr.path(),
            },
            None => Streams::Terminal,
        };
        let directory = terms.directory.as_ref().map(|directory| directory.as_str().as_bytes());
        let framed = if terms.ends { frame::last } else { frame::command };
        let unwritten = framed(script, directory, streams, &nonce);
        let exceeded = match &self.meter {
            Some(meter) => meter.watch().await,
            None => Watch::none(),
        };
        let deadline = tokio::time::Instant::now() + terms.timeout;
        let run = Run {
            shell: self,
            stdout,
            stderr,
            input,
            terms,
            before,
            unwritten,
            kept,
            hearing: Hearing::new(nonce),
            fall: None,
            deadline,
            closed: false,
            exceeded,
            heard: Instant::now(),
            probed: None,
            buffer: vec![0; BUFFER],
        };
        let ended = run.complete().await;
        if let Some(keeper) = &self.keeper {
            let empty = tokio::task::block_in_place(|| keeper.settle());
            shown.found_empty(empty);
        }
        Ok(ended)
    }
}

/// A command that runs.
struct Run<'s> {
    shell: &'s mut LocalShell,
    stdout: Channel,
    /// None at a terminal, which is one stream.
    stderr: Option<Channel>,
    input: Option<Input>,
    terms: Terms,
    /// The session's processes before the command.
    before: Tree,
    /// What the shell is still to be given.
    unwritten: Vec<u8>,
    /// What the shell keeps, if its output comes through that.
    kept: Option<OutputPipes>,
    /// The reports that it is to be believed for.
    hearing: Hearing,
    /// It is being ended.
    fall: Option<Fall>,
    /// When time itself brings about the next step.
    deadline: tokio::time::Instant,
    /// No report will come: the shell has ended, or is another program.
    closed: bool,
    /// The limits that the session passes meanwhile.
    exceeded: Watch,
    /// When the command last said something.
    heard: Instant,
    /// When a shell that seemed to have lost its way was asked to report.
    probed: Option<Instant>,
    buffer: Vec<u8>,
}

/// A command on its way down.
struct Fall {
    end: End,
    ladder: Termination,
}

/// What happens first.
enum Event {
    Deadline,
    Stop,
    Exceeded(Exceeded),
    Written(std::io::Result<usize>),
    Report(Result<Report, Closed>),
    Out(Turn),
    Err(Turn),
    Input,
    Typed(Option<Typed>),
    Order(Option<Order>),
    Idle,
    Look,
    Gone(std::io::Result<Ending>),
}

type Over = (End, Option<ShellLoss>);

impl Run<'_> {
    async fn complete(mut self) -> RunEnd {
        let started = Instant::now();
        let (mut end, mut lost) = self.drive().await;
        let duration = started.elapsed();
        // What has passed a limit may take its time to be ended.
        let rounds = if matches!(end, End::Limited(_)) { LIMITED_ROUNDS } else { 1 };
        if self.fall.is_some() && lost.is_none() && !(0..rounds).any(|_| self.end_what_it_started()) {
            lost = Some(ShellLoss::Unstoppable);
        }
        let mut cwd = if lost.is_none() { self.shell.cwd() } else { None };
        // A shell that stands nowhere that can be named cannot be judged for: every relative path would be another file.
        lost = lost.or(cwd.is_none().then_some(ShellLoss::Nowhere));
        if lost.is_some() {
            self.shell.end_everything().await;
        }
        // What the command has written is in the pipes by now; what its background children still write comes later.
        self.stdout.drain(&mut self.buffer);
        if let Some(stderr) = &mut self.stderr {
            stderr.drain(&mut self.buffer);
        }
        if let (None, End::Status(status)) = (lost, end)
            && !self.began(status).await
        {
            (end, lost, cwd) = (End::Unknown, Some(ShellLoss::Unheard), None);
            self.shell.end_everything().await;
        }
        let after = match end {
            End::ShellExited(_) => After::Farewell,
            End::Status(_) if lost.is_none() && self.leaves_nobody() => After::Nobody,
            _ => After::Somebody,
        };
        let Self { shell, stdout, stderr, terms, kept, .. } = self;
        let mut loans = Vec::new();
        for stream in [Some(stdout), stderr].into_iter().flatten() {
            loans.extend(stream.finish(after).await);
        }
        if let Some(kept) = kept {
            let is_free = after == After::Nobody;
            shell.keeping = if is_free { Keeping::Free(kept) } else { Keeping::Lent(kept, loans) };
        }
        if lost.is_none() && matches!(end, End::Status(_)) && !evaluated(&terms.progress) {
            (end, lost, cwd) = (End::Unknown, Some(ShellLoss::Unheard), None);
            shell.end_everything().await;
        }
        RunEnd { end, lost, cwd, duration }
    }

    /// Whether the shell got as far as to run the command, which then ended with this status.
    async fn began(&mut self, status: i32) -> bool {
        if self.kept.is_none() {
            return self.stderr.as_ref().is_none_or(Channel::was_opened);
        }
        let spoke = self.stdout.was_written() || self.stderr.as_ref().is_some_and(Channel::was_written);
        status == 0 || spoke || self.shell.can_turn_streams(status).await
    }

    /// Whether nothing that the command has started is left, so that its pipes are the shell's alone again.
    fn leaves_nobody(&self) -> bool {
        let is_open = self.stdout.is_open() && self.stderr.as_ref().is_some_and(Channel::is_open);
        self.kept.is_some() && is_open && {
            let tree = self.shell.process.tree_by(self.shell.glance.as_ref());
            tree.is_ok_and(|tree| tree.is_single())
        }
    }

    async fn drive(&mut self) -> Over {
        loop {
            // What is always ready would leave no turn to anybody else, nor to the clock.
            tokio::task::coop::consume_budget().await;
            let over = match self.event().await {
                Event::Deadline if self.fall.is_some() => self.step(),
                Event::Deadline => self.begin_to_end(End::TimedOut, Termination::new(self.terms.grace)),
                Event::Stop => self.begin_to_end(End::Cancelled, Termination::new(self.terms.grace)),
                Event::Exceeded(limit) => {
                    let over = self.begin_to_end(End::Limited(limit), Termination::new(None));
                    // What has passed it is being killed, on a machine that may have its hands full with it.
                    self.deadline = tokio::time::Instant::now() + BUSY;
                    over
                }
                Event::Written(written) => {
                    // If the shell is gone, its status says how.
                    let written = written.unwrap_or(self.unwritten.len());
                    self.unwritten.drain(..written.min(self.unwritten.len()));
                    None
                }
                Event::Report(Ok(report)) => self.reported(&report),
                Event::Report(Err(Closed::Ended)) => {
                    self.closed = true;
                    None
                }
                Event::Report(Err(Closed::Forged)) => Some((End::Unknown, Some(ShellLoss::Forged))),
                Event::Out(turn) => {
                    self.said(|run| {
                        let came = run.stdout.act(turn, &mut run.buffer);
                        run.stderr.as_mut().is_some_and(|stderr| stderr.glance(&mut run.buffer)) || came
                    });
                    None
                }
                Event::Err(turn) => {
                    self.said(|run| run.stderr.as_mut().is_some_and(|stderr| stderr.act(turn, &mut run.buffer)));
                    None
                }
                Event::Input => {
                    self.input.as_mut().map(Input::act);
                    None
                }
                Event::Typed(typed) => {
                    self.feed(typed);
                    None
                }
                Event::Order(order) => self.obey(order),
                Event::Idle => {
                    self.stdout.flush_idle();
                    self.stderr.as_mut().map(Channel::flush_idle);
                    None
                }
                Event::Look => self.look(),
                Event::Gone(ending) => Some(self.gone(ending)),
            };
            if let Some(over) = over {
                return over;
            }
        }
    }

    async fn event(&mut self) -> Event {
        let Self { shell, stdout, stderr, input, terms, unwritten, fall, closed, exceeded, .. } = self;
        let LocalShell { stdin, reports, process, .. } = &mut **shell;
        let idle = stdout.holds_back() || stderr.as_ref().is_some_and(Channel::holds_back);
        let stderr_active = stderr.as_ref().is_some_and(Channel::is_active);
        let stderr_turn = async {
            match stderr {
                Some(stderr) => stderr.turn().await,
                None => std::future::pending().await,
            }
        };
        let feeds = input.as_ref().is_some_and(Input::is_active);
        let Terms { orders, stop, input: typist, .. } = terms;
        let ordered = orders.is_some();
        let types = typist.is_some() && input.as_ref().is_some_and(Input::has_room);
        let fed = async {
            if let Some(input) = input {
                input.turn().await;
            }
        };
        let typed = async {
            match typist {
                Some(typist) => typist.recv().await,
                None => None,
            }
        };
        let order = async {
            match orders {
                Some(orders) => orders.recv().await,
                None => None,
            }
        };
        tokio::select! {
            biased;
            () = tokio::time::sleep_until(self.deadline) => Event::Deadline,
            () = stop.requested(), if fall.is_none() => Event::Stop,
            limit = exceeded.exceeded(), if fall.is_none() => Event::Exceeded(limit),
            written = stdin.write(unwritten), if !unwritten.is_empty() => Event::Written(written),
            report = reports.next(), if !*closed => Event::Report(report),
            // Before the streams, which may always have something.
            order = order, if ordered => Event::Order(order),
            typed = typed, if types => Event::Typed(typed),
            () = fed, if feeds => Event::Input,
            turn = stdout.turn(), if stdout.is_active() => Event::Out(turn),
            turn = stderr_turn, if stderr_active => Event::Err(turn),
            () = tokio::time::sleep(IDLE), if idle => Event::Idle,
            ending = process.wait(), if *closed => Event::Gone(ending),
            () = tokio::time::sleep(LOOK) => Event::Look,
        }
    }

    fn said(&mut self, act: impl FnOnce(&mut Self) -> bool) {
        if act(self) {
            self.heard = Instant::now();
        }
    }

    fn reported(&mut self, report: &Report) -> Option<Over> {
        let status = match self.hearing.hear(report) {
            Ok(Some(status)) => status,
            Ok(None) => return None,
            Err(Forged) => return Some((End::Unknown, Some(ShellLoss::Forged))),
        };
        Some(match (&self.fall, status) {
            (Some(fall), _) => (fall.end, None),
            (None, Some(status)) => match self.exceeded.at_the_end().map(End::Limited) {
                None => (End::Status(status), None),
                // It has come to its end just so; what it has left has not.
                Some(end) => {
                    self.fall = Some(Fall { end, ladder: Termination::new(None) });
                    (end, None)
                }
            },
            // Somebody typed Ctrl-C just when the shell, which runs nothing else, was about to report.
            (None, None) if self.shell.terminal.is_some() => (End::Status(INTERRUPTED), None),
            // Something of the agent's has read the line that should have reported.
            (None, None) => (End::Unknown, Some(ShellLoss::Silent)),
        })
    }

    fn begin_to_end(&mut self, end: End, ladder: Termination) -> Option<Over> {
        self.fall = Some(Fall { end, ladder });
        self.step()
    }

    fn step(&mut self) -> Option<Over> {
        let fall = self.fall.as_mut()?;
        let (rung, wait) = fall.ladder.next();
        match rung {
            Step::Ask => {
                let _gone = self.shell.process.signal_newer(&self.before, Some(self.shell.pid), Signal::TERM);
            }
            Step::Interrupt => self.interrupt(),
            Step::KillRest => {
                self.end_what_it_started();
                self.interrupt();
            }
            Step::KillShell => return Some((fall.end, Some(ShellLoss::Unstoppable))),
        }
        self.deadline = tokio::time::Instant::now() + wait;
        None
    }

    /// Ctrl-C, and then a report behind whatever that leaves of the shell's input.
    fn interrupt(&mut self) {
        self.shell.interrupt();
        self.ask();
    }

    fn ask(&mut self) {
        // Without random bytes there is no report, and the ladder ends with the shell.
        if let Ok(nonce) = Nonce::new() {
            self.unwritten.extend(frame::sync(&nonce));
            self.hearing.ask(nonce);
        }
    }

    /// Kills every process that is not older than the command, but the shell; whether all are gone.
    fn end_what_it_started(&self) -> bool {
        let ended = self.shell.process.end_newer(&self.before, Some(self.shell.pid));
        ended.unwrap_or(false)
    }

    fn feed(&mut self, typed: Option<Typed>) {
        let Some(input) = &mut self.input else { return };
        match typed {
            Some(Typed::Bytes(bytes)) => {
                input.push(&bytes);
                self.heard = Instant::now();
                self.terms.progress.waits_for_input(false);
            }
            Some(Typed::End) => input.end(),
            None => self.terms.input = None,
        }
    }

    fn obey(&mut self, order: Option<Order>) -> Option<Over> {
        match order {
            None => self.terms.orders = None,
            Some(Order::Signal(signal)) => {
                let _gone = self.shell.process.signal_newer(&self.before, Some(self.shell.pid), signal);
                if signal == Signal::INT {
                    self.interrupt();
                }
            }
            Some(Order::Resize(size)) => {
                if let Some(terminal) = &self.shell.terminal {
                    terminal.resize(size);
                }
            }
            // One that is on its way down already is not given more time.
            Some(Order::Stop { grace: None }) => return self.begin_to_end(End::Cancelled, Termination::kill()),
            Some(Order::Stop { grace }) if self.fall.is_none() => {
                return self.begin_to_end(End::Cancelled, Termination::new(grace));
            }
            Some(Order::Stop { .. }) => {}
        }
        None
    }

    /// A command that says nothing may be at work, or its shell may have stopped or lost its way.
    fn look(&mut self) -> Option<Over> {
        if self.shell.process.is_stopped(self.shell.pid) {
            // Nobody else could wake it: in a terminal the shell around it would.
            self.shell.wake();
        }
        if let Some(input) = &self.input
            && self.heard.elapsed() >= QUIET
        {
            let tree = self.shell.process.tree().ok();
            let waits = tree.is_some_and(|tree| tree.pids().any(|pid| input.is_awaited_by(pid)));
            self.terms.progress.waits_for_input(waits);
        }
        if !self.unwritten.is_empty() || self.shell.unread() > 0 || self.hearing.knows_status() || self.fall.is_some() {
            return None;
        }
        match self.probed {
            None => {
                self.probed = Some(Instant::now());
                self.ask();
                None
            }
            Some(since) => (since.elapsed() >= SILENCE).then_some((End::Unknown, Some(ShellLoss::Silent))),
        }
    }

    fn gone(&mut self, ending: std::io::Result<Ending>) -> Over {
        let limited = self.exceeded.now().map(End::Limited);
        let end = match (&self.fall, limited, ending) {
            (Some(fall), ..) => fall.end,
            (None, Some(limited), _) => limited,
            (None, None, Ok(Ending::Exited(code))) => End::ShellExited(code),
            (None, None, Ok(Ending::Signalled(libc::SIGXCPU))) => End::Limited(Exceeded::Cpu),
            (None, None, Ok(Ending::Signalled(signal))) => End::ShellKilled(signal),
            (None, None, Err(_)) => End::Unknown,
        };
        (end, Some(ShellLoss::Ended))
    }
}

/// Whether the shell still has the builtin that runs what it is given (`enable -n eval`).
fn evaluated(progress: &Progress) -> bool {
    const REFUSAL: &[u8] = b"builtin: eval: not a shell builtin\n";
    !progress.look(|known| known.stderr.total_bytes() < 100 && known.stderr.ends_with(REFUSAL))
}
