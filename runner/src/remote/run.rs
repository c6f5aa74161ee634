//! One command in a shell at the other end, from its first byte to its end or the shell's.
//!
//! This file decides when a command is over, and whether its shell can still be trusted with another one. What comes is taken all
//! the time, also while the command is being ended: a stream that nobody empties would keep the answers of the other shell back.

use std::pin::Pin;
use std::time::{Duration, Instant};

use palisade_redact::output::Stripper;
use palisade_redact::{RedactedBytes, Redactor, Stream};
use palisade_sandbox::meter::Exceeded;
use rustix::process::Signal;

use super::RemoteShell;
use super::control_shell::Moment;
use super::input_wait::Quiet;
use super::scan::{Found, ReportScanner};
use super::started_processes::Started;
use super::terminal::Keyboard;
use crate::shell::frame::{self, Streams};
use crate::shell::{Chunk, End, Nonce, Order, RunEnd, SessionError, ShellLoss, StreamName, Terms, Typed};
use crate::transport::line_ends::LineEnds;
use crate::transport::local::termination::{Step, Termination};
use crate::transport::wire::{Ending, Piece};

/// The status of a command that an interrupt has ended, as shells tell it.
const INTERRUPTED: i32 = 130;

/// Silence after which output that can no longer become a secret is let go.
const IDLE: Duration = Duration::from_millis(50);

/// How long a report behind an interrupt may stay away before it is asked for once more; each time twice as long, until the next rung.
const AGAIN: Duration = Duration::from_millis(100);

/// How long what is still under way from a command that was killed may take to come, at most.
const BACKLOG: Duration = Duration::from_secs(20);

/// How long a shell may be silent of which all else is dead: what it had printed by then may still be on its way.
const SETTLE: Duration = Duration::from_secs(3);

type Errand = Pin<Box<dyn Future<Output = Option<()>> + Send>>;

/// One output stream: read for reports, redacted, kept.
struct Sink {
    name: StreamName,
    /// What a terminal makes of line ends.
    ends: Option<LineEnds>,
    scan: ReportScanner,
    stripper: Stripper,
    redact: Stream,
    waiting: bool,
    /// The last report that was asked for has come.
    done: bool,
}

struct Run<'a> {
    shell: &'a mut RemoteShell,
    started: Instant,
    sent: Moment,
    terms: Terms,
    own: Nonce,
    last: Nonce,
    out: Sink,
    err: Sink,
    status: Option<i32>,
    fall: Option<(End, Termination)>,
    /// The caller has interrupted the command, so that the shell may have forgotten its report's line for that.
    interrupted: bool,
    /// The command is at the rung on which all that it started is killed, or beyond.
    killed: bool,
    /// Until when the report is waited for as long as something comes: all that the command started is dead, so that what comes has
    /// an end.
    backlog: Option<tokio::time::Instant>,
    deadline: tokio::time::Instant,
    /// When a report is asked for once more that somebody's interrupt may have swallowed, and how long was waited for it.
    again: Option<(tokio::time::Instant, Duration)>,
    /// What the other shell is doing about the command, and what comes behind it.
    errand: Option<(Errand, Then)>,
    ended: Option<Option<Ending>>,
    /// What was typed and has no room yet.
    typed: Option<Typed>,
    /// Of a terminal: how it is typed at.
    keyboard: Option<Keyboard>,
    /// The terminal is not the command's yet.
    raw: bool,
    /// Of a command with an input: since when it says nothing.
    quiet: Option<Quiet>,
}

/// What is done once the other shell has done its part.
#[derive(Clone, Copy)]
enum Then {
    /// A report is asked for behind whatever that leaves of the shell's input, and it has this long to come.
    Ask(Duration),
    /// The next rung comes after this time.
    Wait(Duration),
    /// Nothing: the command goes on.
    Nothing,
}

enum Event {
    Deadline,
    Limit(Exceeded),
    Stop,
    Order(Option<Order>),
    Again,
    Done(Option<()>),
    Piece(Option<Piece>),
    Typed(Option<Typed>),
    Room(bool),
    Waits(bool),
    Idle,
}

type Over = (End, Option<ShellLoss>);

impl RemoteShell {
    /// Runs one command to its end, the shell's end, or the deadline. What it prints goes to `terms.progress`. A shell that is for one
    /// command ends with it, and what is typed for it goes to the shell's own input, behind the command.
    ///
    /// # Errors
    /// If it cannot be started, or is to have an input in a session's own shell, where no command has one: it has not run then.
    pub(crate) async fn run(
        &mut self,
        script: &[u8],
        redactor: &Redactor,
        terms: Terms,
    ) -> Result<RunEnd, SessionError> {
        if terms.input.is_some() && self.is_session {
            return Err(SessionError::NotThere { what: "a job with an input of its own" });
        }
        let (started, sent) = (Instant::now(), Moment::now());
        let own = Nonce::new()?;
        let directory = terms.directory.as_ref().map(|directory| directory.as_str().as_bytes());
        let at_terminal = self.main.is_terminal();
        let lines = if self.is_session {
            self.language().command(script, directory, Streams::Kept, &own)
        } else if at_terminal {
            frame::only_at_terminal(script, directory, terms.ends, &own)
        } else {
            self.language().only(script, directory, terms.ends)
        };
        let ended = match self.main.listen() {
            Some(Piece::Ended(ending)) => Some(ending),
            _ => None,
        };
        if terms.due.as_ref().is_some_and(|due| !due.goes()) {
            self.main.ignore();
            return Ok(RunEnd { end: End::NotBegun, lost: None, cwd: None, duration: Duration::ZERO });
        }
        if ended.is_none() && !self.main.send(lines) {
            return Err(super::TargetError::Closed.into());
        }
        let sink = |name, has_status| Sink {
            name,
            ends: at_terminal.then(LineEnds::default),
            scan: ReportScanner::new(own.clone(), has_status),
            stripper: if terms.colours { Stripper::with_colours() } else { Stripper::default() },
            redact: redactor.stream(),
            waiting: false,
            done: false,
        };
        let own_deadline = || tokio::time::Instant::now() + terms.timeout;
        let deadline = terms.due.as_ref().map_or_else(own_deadline, |due| due.deadline().at());
        let quiet = terms.input.is_some().then(|| Quiet::new(self));
        let run = Run {
            out: sink(StreamName::Stdout, true),
            err: sink(StreamName::Stderr, false),
            last: own.clone(),
            own,
            shell: self,
            started,
            sent,
            terms,
            status: None,
            fall: None,
            interrupted: false,
            killed: false,
            backlog: None,
            deadline,
            again: None,
            errand: None,
            ended,
            typed: None,
            keyboard: at_terminal.then(Keyboard::default),
            raw: at_terminal,
            quiet,
        };
        Ok(run.complete().await)
    }
}

impl Run<'_> {
    async fn complete(mut self) -> RunEnd {
        let (mut end, mut lost) = self.drive().await;
        let mut is_cut = self.fall.is_some();
        if let (Some(due), End::Status(_) | End::ShellExited(_) | End::ShellKilled(_) | End::Limited(_)) =
            (&self.terms.due, end)
        {
            due.has_ended(end);
        }
        // What was refused has been told once this is answered.
        let (limit, stands) = match &self.shell.held {
            Some(held) => held.settle().await,
            None => (None, None),
        };
        if let (Some(limit), End::Status(_) | End::ShellKilled(_)) = (limit, end) {
            end = End::Limited(limit);
            is_cut = true;
        }
        // The shell is its own again; what the command has left behind is not to go on.
        if is_cut && lost.is_none() && self.started().kill().await.is_none() {
            lost = Some(ShellLoss::Unstoppable);
        }
        let duration = self.started.elapsed();
        let cwd = match (&self.shell.held, lost) {
            (_, Some(_)) => None,
            (Some(_), None) => stands,
            // Nothing that ran could have moved it.
            (None, None) if matches!(end, End::Status(_)) && self.terms.stays.is_some() => self.terms.stays.take(),
            (None, None) => self.shell.cwd().await,
        };
        // A shell that stands nowhere that can be named cannot be judged for.
        lost = lost.or(cwd.is_none().then_some(ShellLoss::Nowhere));
        if lost.is_some() {
            self.shell.gone |= matches!(self.ended, Some(Some(_)));
            self.shell.end_everything().await;
            // Behind a connection that has ended the target sees to it.
            if self.shell.left && !matches!(lost, Some(ShellLoss::Disconnected | ShellLoss::Ended)) {
                lost = Some(ShellLoss::Unended);
            }
        }
        self.shell.main.ignore();
        let Self { terms, out, err, .. } = self;
        for sink in [out, err] {
            sink.finish(&terms).await;
        }
        RunEnd { end, lost, cwd, duration }
    }

    async fn drive(&mut self) -> Over {
        loop {
            tokio::task::coop::consume_budget().await;
            match self.over() {
                // A shell that was interrupted when it had read its report's line already has forgotten both, and answers what was asked
                // behind that. So may something of the agent's that has read both: once all but the shell is ended, it is asked again.
                Some((End::Unknown, Some(ShellLoss::Silent))) if self.again.is_some() => {
                    // Nothing that was said counts: where it cannot be asked, the ladder ends with the shell.
                    (self.out.done, self.err.done) = (false, false);
                    self.begin_to_end(End::Status(INTERRUPTED), Termination::kill());
                }
                Some(over) => return over,
                None => {}
            }
            match self.event().await {
                Event::Deadline if self.fall.is_some() => self.step(),
                Event::Deadline => self.begin_to_end(End::TimedOut, Termination::new(self.terms.grace)),
                Event::Limit(limit) => self.begin_to_end(End::Limited(limit), Termination::new(None)),
                Event::Stop => self.begin_to_end(End::Cancelled, Termination::new(self.terms.grace)),
                Event::Order(order) => self.obey(order),
                Event::Again => self.ask(),
                // The other shell does not answer any more, or something cannot be killed.
                Event::Done(None) => return (self.end(), Some(ShellLoss::Unstoppable)),
                Event::Done(Some(())) => self.done(),
                Event::Piece(Some(Piece::Out(bytes))) => {
                    if let Some(over) = self.take(StreamName::Stdout, &bytes).await {
                        return over;
                    }
                }
                Event::Piece(Some(Piece::Err(bytes))) => {
                    if let Some(over) = self.take(StreamName::Stderr, &bytes).await {
                        return over;
                    }
                }
                Event::Waits(waits) => self.terms.progress.waits_for_input(waits),
                Event::Typed(None) => self.terms.input = None,
                Event::Typed(Some(typed)) => {
                    self.stirs();
                    self.typed = Some(match &mut self.keyboard {
                        Some(keyboard) => keyboard.press(typed),
                        None => typed,
                    });
                }
                Event::Room(true) => {
                    let ends = self.typed == Some(Typed::End);
                    // There is room: nobody else types.
                    let _typed = self.typed.take().is_none_or(|typed| self.shell.main.pass(typed));
                    self.terms.input = self.terms.input.take().filter(|_| !ends);
                }
                Event::Room(false) => (self.typed, self.terms.input) = (None, None),
                Event::Piece(Some(Piece::Ended(ending))) => self.ended = Some(ending),
                Event::Piece(None) => self.ended = Some(None),
                Event::Idle => {
                    for sink in [&mut self.out, &mut self.err] {
                        sink.idle(&self.terms).await;
                    }
                }
            }
        }
    }

    async fn event(&mut self) -> Event {
        let Self { shell, terms, out, err, fall, errand, deadline, again, typed, raw, quiet, .. } = self;
        let Terms { orders, stop, input, .. } = terms;
        let ordered = orders.is_some() && errand.is_none();
        let order = async {
            match orders {
                Some(orders) => orders.recv().await,
                None => None,
            }
        };
        let at_work = errand.is_some();
        let (asks_again, next) = (again.is_some(), again.map_or(*deadline, |(next, _)| next));
        let done = async {
            match errand {
                Some((errand, _)) => errand.await,
                None => std::future::pending().await,
            }
        };
        let idle = out.waiting || err.waiting;
        let is_full = typed.is_some();
        let is_typed = input.is_some() && !is_full && !*raw;
        let typed = async {
            match input {
                Some(input) => input.recv().await,
                None => None,
            }
        };
        let held = shell.held.clone();
        let limit = async {
            match &held {
                Some(held) => held.exceeded().await,
                None => std::future::pending().await,
            }
        };
        let looked_at = is_typed && fall.is_none() && !at_work;
        let waits = async {
            match quiet {
                Some(quiet) => quiet.waits().await,
                None => std::future::pending().await,
            }
        };
        let (main, room) = shell.main.halves();
        tokio::select! {
            biased;
            // Not while the other shell is still at the last step.
            () = tokio::time::sleep_until(*deadline), if !at_work => Event::Deadline,
            limit = limit, if fall.is_none() && !at_work => Event::Limit(limit),
            () = stop.requested(), if fall.is_none() && !at_work => Event::Stop,
            done = done, if at_work => Event::Done(done),
            order = order, if ordered => Event::Order(order),
            () = tokio::time::sleep_until(next), if asks_again && !at_work => Event::Again,
            room = room.room(), if is_full => Event::Room(room),
            piece = main.next() => Event::Piece(piece),
            typed = typed, if is_typed => Event::Typed(typed),
            waits = waits, if looked_at => Event::Waits(waits),
            () = tokio::time::sleep(IDLE), if idle => Event::Idle,
        }
    }

    /// Whether the command is over: by its report on both streams, or since the shell is.
    fn over(&self) -> Option<Over> {
        if let Some(ending) = self.ended {
            let lost = if ending.is_some() { ShellLoss::Ended } else { ShellLoss::Disconnected };
            let end = match (&self.fall, ending) {
                (Some((end, _)), _) => *end,
                (None, Some(Ending::Exited(code))) => End::ShellExited(code),
                (None, Some(Ending::Signalled(signal))) => End::ShellKilled(signal),
                (None, None) => End::Unknown,
            };
            return Some((end, Some(lost)));
        }
        if !(self.out.done && self.err.done) || self.errand.is_some() {
            return None;
        }
        Some(match (&self.fall, self.status) {
            (Some((end, _)), _) => (*end, None),
            (None, Some(status)) => (End::Status(status), None),
            // Something of the agent's has read the line that should have reported.
            (None, None) => (End::Unknown, Some(ShellLoss::Silent)),
        })
    }

    fn end(&self) -> End {
        self.fall.as_ref().map_or(End::Unknown, |(end, _)| *end)
    }

    /// It says something, or is told something.
    fn stirs(&mut self) {
        if let Some(quiet) = &mut self.quiet {
            quiet.is_over();
            self.terms.progress.waits_for_input(false);
        }
    }

    async fn take(&mut self, stream: StreamName, bytes: &[u8]) -> Option<Over> {
        self.stirs();
        if let Some(last) = self.backlog {
            let next = tokio::time::Instant::now() + SETTLE;
            self.deadline = self.deadline.max(next.min(last));
        }
        let Self { out, err, terms, own, last, status, raw, .. } = self;
        let sink = if stream == StreamName::Stdout { out } else { err };
        let found = match &mut sink.ends {
            Some(ends) => sink.scan.push(&ends.push(bytes)),
            None => sink.scan.push(bytes),
        };
        for found in found {
            match found {
                // Nothing of the command's runs yet; the report says that it does from here on, and no other one comes.
                Found::Report(..) if *raw => *raw = false,
                Found::Bytes(_) if *raw => {}
                // What comes behind the last report is nobody's.
                Found::Bytes(_) if sink.done => {}
                Found::Bytes(bytes) => sink.pass(&bytes, terms).await,
                Found::Report(nonce, told) => {
                    if nonce == *own && told.is_some() {
                        *status = told;
                    }
                    sink.done |= nonce == *last;
                }
                Found::Forged => return Some((End::Unknown, Some(ShellLoss::Forged))),
            }
        }
        None
    }

    /// What the command has started. Of a shell that is for it alone, that is whatever there is. So it is where the report is missing
    /// and no signal of ours explains that: a process that an earlier command left may then answer in the shell's place.
    fn started(&self) -> Started {
        let is_unexplained = matches!(self.fall, Some((End::Status(_), _))) && !self.interrupted;
        let is_everything = !self.shell.is_session || is_unexplained;
        Started {
            scout: self.shell.base.scout().clone(),
            pid: self.shell.pid.clone(),
            mark: self.shell.mark.clone(),
            sent: (!is_everything).then_some(self.sent),
        }
    }

    fn begin_to_end(&mut self, end: End, ladder: Termination) {
        self.fall = Some((end, ladder));
        self.step();
    }

    fn step(&mut self) {
        let started = self.started();
        let Some((_, ladder)) = &mut self.fall else { return };
        let (rung, wait) = ladder.next();
        let errand: (Errand, Then) = match rung {
            Step::Ask => (Box::pin(started.signal(Signal::TERM.as_raw())), Then::Wait(wait)),
            Step::Interrupt => (Box::pin(started.interrupt()), Then::Ask(wait)),
            Step::KillRest => {
                self.killed = true;
                (Box::pin(started.kill_and_interrupt()), Then::Ask(wait + SETTLE))
            }
            Step::KillShell => (Box::pin(std::future::ready(None)), Then::Nothing),
        };
        self.errand = Some(errand);
    }

    /// The other shell has done its part: no signal of ours is on its way any more.
    fn done(&mut self) {
        let Some((_, then)) = self.errand.take() else { return };
        match then {
            Then::Nothing => {}
            Then::Wait(wait) => self.deadline = tokio::time::Instant::now() + wait,
            Then::Ask(wait) => {
                if self.killed && self.backlog.is_none() {
                    self.backlog = Some(tokio::time::Instant::now() + BACKLOG);
                }
                self.deadline = tokio::time::Instant::now() + wait;
                self.again = None;
                self.ask();
            }
        }
    }

    /// A report behind whatever an interrupt has left of the shell's input.
    fn ask(&mut self) {
        // What runs reads it there, and such a shell ends with it.
        if !self.shell.is_session {
            return;
        }
        // A shell that gets to run late reads the line before it hears of the signal, and forgets both.
        let waited = self.again.map_or(AGAIN, |(_, waited)| waited * 2);
        self.again = Some((tokio::time::Instant::now() + waited, waited));
        // Without random bytes there is no report, and the ladder ends with the shell.
        let Ok(nonce) = Nonce::new() else { return };
        if self.shell.main.send(self.shell.language().sync(&nonce)) {
            for sink in [&mut self.out, &mut self.err] {
                sink.scan.await_also(nonce.clone());
                sink.done = false;
            }
            self.last = nonce;
        }
    }

    fn obey(&mut self, order: Option<Order>) {
        match order {
            None => self.terms.orders = None,
            Some(Order::Signal(signal)) => {
                let started = self.started();
                self.errand = Some(if signal == Signal::INT {
                    self.interrupted = true;
                    // The deadline is the command's own still: a report is asked for, and no rung follows.
                    let left = self.deadline.saturating_duration_since(tokio::time::Instant::now());
                    (Box::pin(started.signal_and_interrupt(signal.as_raw())), Then::Ask(left))
                } else {
                    (Box::pin(started.signal(signal.as_raw())), Then::Nothing)
                });
            }
            Some(Order::Stop { grace: None }) => self.begin_to_end(End::Cancelled, Termination::kill()),
            Some(Order::Stop { grace }) if self.fall.is_none() => {
                self.begin_to_end(End::Cancelled, Termination::new(grace));
            }
            Some(Order::Stop { .. }) => {}
            Some(Order::Resize(size)) => self.shell.main.resize(size),
        }
    }
}

impl Sink {
    async fn pass(&mut self, raw: &[u8], terms: &Terms) {
        let bytes = self.stripper.push(raw);
        let bytes = self.redact.push(&bytes);
        self.waiting = true;
        self.emit(bytes, terms).await;
    }

    async fn idle(&mut self, terms: &Terms) {
        self.waiting = false;
        let bytes = self.redact.idle();
        self.emit(bytes, terms).await;
    }

    async fn emit(&self, bytes: RedactedBytes, terms: &Terms) {
        if bytes.is_empty() {
            return;
        }
        terms.progress.push(self.name, &bytes);
        if let Some(live) = &terms.live {
            // Nobody listens any more: the result still has it.
            let _ = live.send(Chunk { stream: self.name, bytes }).await;
        }
    }

    async fn finish(mut self, terms: &Terms) {
        let mut rest = if self.done { Vec::new() } else { self.scan.rest() };
        rest.extend(self.ends.iter_mut().flat_map(LineEnds::finish));
        let raw = self.stripper.push(&rest);
        let mut bytes = self.redact.push(&raw);
        bytes.append(&self.redact.push(&self.stripper.finish()));
        let Self { name, redact, .. } = self;
        let (last, counts) = redact.finish_counted();
        bytes.append(&last);
        terms.progress.count(counts);
        terms.progress.push(name, &bytes);
        terms.progress.flush(name);
        if let Some(live) = &terms.live
            && !bytes.is_empty()
        {
            let _ = live.send(Chunk { stream: name, bytes }).await;
        }
    }
}
