//! `run`: judge a command and, if it is allowed, run it in a fresh session, printing as it prints.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, IsTerminal as _, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, Mutex, PoisonError};

use palisade_engine::{Approval, Channel, Lasts};
use palisade_redact::output::{Bound, Live, Position, Rest};
use palisade_runner::control::wire::Request;
use palisade_runner::{
    Call, Chunk, Client, DecisionNote, ExecResult, Explained, Outcome, Pending, Pipeline, Redacted, Refusal, Status,
    Stop, StreamName,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::FileType;
use rustix::io::Errno;
use rustix::termios::QueueSelector;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::cli::args::Run;
use crate::cli::commands;
use crate::cli::commands::approvals;
use crate::cli::exit::Exit;
use crate::cli::report::{self, CliError};
use crate::config;
use crate::config::PassesOn;

/// Chunks of output on their way to the terminal.
const QUEUE: usize = 64;

pub(crate) fn run(args: &Run) -> Result<Exit, CliError> {
    let view = config::enter_view(&args.context)?;
    commands::begin_to_probe();
    let settings = config::load_in(&args.context, "run", view)?;
    commands::warn_of_missing_secrets(&args.context)?;
    let passes_on = config::passes_on(&args.context, args.max_output.as_deref())?;
    let person = Approval {
        user: settings.surroundings.principal.user.clone(),
        roles: std::collections::BTreeSet::new(),
        via: Channel::Terminal,
        lasts: Lasts::Once,
    };
    commands::runtime()?.block_on(async {
        let pipeline = Pipeline::open(settings)?;
        let screen = Arc::new(Mutex::new(()));
        let asking = report::has_person().then(|| attend(&pipeline, &person, &screen));
        let exit = submit(&pipeline, args, &passes_on, &person, screen).await;
        if let Some(asking) = asking {
            asking.abort();
        }
        // The record says that this process ended, whatever became of the command.
        pipeline.shut_down().await?;
        exit
    })
}

/// Asks the person at the terminal about each program that takes a yes while the command runs.
fn attend(pipeline: &Arc<Pipeline>, person: &Approval, screen: &Arc<Mutex<()>>) -> JoinHandle<()> {
    let (pipeline, person, screen) = (Arc::clone(pipeline), person.clone(), Arc::clone(screen));
    let mut attendance = pipeline.approvals().attended_by(person.clone());
    tokio::spawn(async move {
        while let Some(id) = attendance.next().await {
            let (of, by, screen) = (Arc::clone(&pipeline), person.clone(), Arc::clone(&screen));
            let about = id.clone();
            // It ends by itself once nobody waits for the answer: the program has died, or the command has ended.
            let asked = tokio::task::spawn_blocking(move || ask_about_program(&of, &about, &by, &screen));
            let Ok(Some(yes)) = asked.await else { continue };
            if let Err(failure) = pipeline.approvals().answer(&id, person.clone(), yes, "").await {
                report::complain(&format!("palisade: {}\n", failure.what));
            }
        }
    })
}

/// How long a read of the terminal lasts before it is asked whether anybody still waits for it.
const GLANCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// Bytes of an answer.
const MAX_ANSWER: usize = 4096;

/// Asks at the controlling terminal, which no program of a session has. None: nobody waits for the answer, or none can be had.
fn ask_about_program(pipeline: &Pipeline, id: &str, person: &Approval, screen: &Mutex<()>) -> Option<bool> {
    let request = pipeline.approvals().asks(id, person)?;
    let mut terminal = File::options().read(true).write(true).open("/dev/tty").ok()?;
    // Nothing that the command prints comes between the question and the answer.
    let _screen = screen.lock().unwrap_or_else(PoisonError::into_inner);
    let shown = approvals::text(&plain(&request)?);
    let question =
        format!("\npalisade: a program of the command takes a yes\n{shown}Let it start once? Type y to allow: ");
    // What was typed before the question is no answer to it.
    rustix::termios::tcflush(&terminal, QueueSelector::IFlush).ok()?;
    terminal.write_all(question.as_bytes()).ok()?;
    loop {
        let mut polled = [PollFd::new(&terminal, PollFlags::IN)];
        match poll(&mut polled, Some(&GLANCE)) {
            Ok(0) | Err(Errno::INTR) => {
                if pipeline.approvals().asks(id, person).is_none() {
                    let _ = terminal.write_all(b"\npalisade: nobody waits for this answer any more\n");
                    return None;
                }
            }
            Ok(_) => {
                let mut line = vec![0; MAX_ANSWER];
                let read = terminal.read(&mut line).ok()?;
                return Some(report::is_yes(line.get(..read)?));
            }
            Err(_) => return None,
        }
    }
}

/// The request as plain text, for the words that `approvals show` has for it.
fn plain(request: &Request<Redacted>) -> Option<Request<String>> {
    serde_json::from_value(serde_json::to_value(request).ok()?).ok()
}

async fn submit(
    pipeline: &Arc<Pipeline>,
    args: &Run,
    passes_on: &PassesOn,
    person: &Approval,
    screen: Arc<Mutex<()>>,
) -> Result<Exit, CliError> {
    let (switch, stopped) = watch::channel(false);
    let signalled = stop_on_signals(switch.clone())?;
    let mut stop = Stop::default();
    stop.listen(stopped);
    let (live, printer) = if args.context.json {
        (None, None)
    } else {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let printer = Printer::new(passes_on);
        (Some(sender), Some(tokio::task::spawn_blocking(move || printer.print(receiver, &switch, &screen))))
    };
    let call = Call { script: script(args), live, stop, client: Client::default(), ..Call::default() };
    let outcome = match pipeline.submit(call).await? {
        Outcome::Ask(pending) if report::has_person() => match ask(&pending)? {
            true => pipeline.approve(*pending, person).await?,
            false => {
                pipeline.decline(&pending, person).await?;
                Outcome::Ask(pending)
            }
        },
        outcome => outcome,
    };
    let ended = match outcome {
        Outcome::Ran(result) | Outcome::Running(result) => {
            // The last of the output is printed before anything is said about it.
            let printed = match printer {
                Some(printer) => printer.await.unwrap_or_else(|panicked| Err(io::Error::other(panicked))),
                None => Ok(Omitted::default()),
            };
            let omitted = printed.map_err(|error| {
                let help = "whatever the command has done is done; `palisade audit show` says how it ended";
                CliError::new(format!("the command's output could not be written: {error}"), help)
            })?;
            let exit = finished(args, &result, *signalled.borrow());
            tell_of(&omitted, passes_on, exit)
        }
        Outcome::Denied(refusal) => denied(args, &refusal),
        Outcome::Ask(pending) => unanswered(args, pending.explained(), pending.decision()),
        Outcome::Unanswered(unanswered) => self::unanswered(args, &unanswered.explained, &unanswered.decision),
    };
    Ok(ended)
}

/// The command as text, or words made into a text that means exactly them.
fn script(args: &Run) -> Vec<u8> {
    match &args.command {
        Some(command) => command.as_bytes().to_vec(),
        None => {
            // The first word is quoted whatever it is, so that `time`, `if` or `A=1` is the name of a program.
            let rest = args.words.iter().skip(1).map(|word| quote(word, false));
            let first = args.words.iter().take(1).map(|word| quote(word, true));
            first.chain(rest).collect::<Vec<_>>().join(&b' ')
        }
    }
}

fn quote(word: &OsString, always: bool) -> Vec<u8> {
    let bytes = word.as_bytes();
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-./:=@%+,".contains(byte);
    if !always && !bytes.is_empty() && bytes.iter().all(plain) {
        return bytes.to_vec();
    }
    let mut quoted = vec![b'\''];
    for &byte in bytes {
        match byte {
            b'\'' => quoted.extend(br"'\''"),
            other => quoted.push(other),
        }
    }
    quoted.push(b'\'');
    quoted
}

/// The two streams on their way out.
struct Printer {
    stdout: Live,
    stderr: Live,
}

/// What of each stream was not passed on.
#[derive(Debug, Default)]
struct Omitted {
    stdout: Position,
    stderr: Position,
}

impl Printer {
    fn new(passes_on: &PassesOn) -> Self {
        let bound = |is_read: bool| passes_on.bound.filter(|_| passes_on.asked || is_read);
        let live = |bound: Option<Bound>| Live::new(bound);
        Self { stdout: live(bound(is_read(io::stdout()))), stderr: live(bound(is_read(io::stderr()))) }
    }

    /// Prints output as it comes, and at the end what waited for that. When nobody reads it any more the command is stopped: `palisade run
    /// yes | head -1` ends.
    ///
    /// # Errors
    /// It cannot be written, for another reason than that: the command is stopped, too, and what was lost is not passed over.
    fn print(
        mut self,
        mut chunks: mpsc::Receiver<Chunk>,
        switch: &watch::Sender<bool>,
        screen: &Mutex<()>,
    ) -> io::Result<Omitted> {
        while let Some(Chunk { stream, bytes }) = chunks.blocking_recv() {
            let _screen = screen.lock().unwrap_or_else(PoisonError::into_inner);
            let written = match stream {
                StreamName::Stdout => pass_on(&mut io::stdout().lock(), self.stdout.push(bytes).as_bytes()),
                StreamName::Stderr => pass_on(&mut io::stderr().lock(), self.stderr.push(bytes).as_bytes()),
            };
            if let Err(error) = written {
                switch.send_replace(true);
                return unless_nobody_reads(error);
            }
        }
        let (stdout, stderr) = (self.stdout.finish(), self.stderr.finish());
        let _screen = screen.lock().unwrap_or_else(PoisonError::into_inner);
        let written =
            write_rest(&mut io::stdout().lock(), &stdout).and_then(|()| write_rest(&mut io::stderr().lock(), &stderr));
        match written {
            Ok(()) => Ok(Omitted { stdout: stdout.omitted, stderr: stderr.omitted }),
            Err(error) => unless_nobody_reads(error),
        }
    }
}

/// Writes what is to be passed on now. Where that is nothing, it is a broken pipe all the same if nobody reads any more.
fn pass_on(stream: &mut (impl Write + AsFd), bytes: &[u8]) -> io::Result<()> {
    if !bytes.is_empty() {
        return write(stream, bytes);
    }
    let mut polled = [PollFd::new(&*stream, PollFlags::empty())];
    // A signal that interrupts it leaves the question for the next piece.
    let _asked = poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
    let is_broken = polled.iter().any(|end| end.revents().contains(PollFlags::ERR));
    if is_broken { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
}

/// Whether somebody reads a stream as it comes. What goes into a file is for later, and as large as it is.
fn is_read(stream: impl AsFd) -> bool {
    if stream.as_fd().is_terminal() {
        return true;
    }
    let kind = rustix::fs::fstat(&stream).map(|stat| FileType::from_raw_mode(stat.st_mode));
    // What cannot be told is bounded.
    kind.map_or(true, |kind| matches!(kind, FileType::Fifo | FileType::Socket))
}

fn unless_nobody_reads(error: io::Error) -> io::Result<Omitted> {
    if error.kind() == io::ErrorKind::BrokenPipe { Ok(Omitted::default()) } else { Err(error) }
}

/// The tail of a stream, behind a line that says what is missing before it, in the words of a session's result.
fn write_rest(stream: &mut impl Write, rest: &Rest) -> io::Result<()> {
    if rest.omitted.bytes > 0 {
        let Position { bytes, lines } = rest.omitted;
        let line_end = if rest.ends_line { "" } else { "\n" };
        writeln!(stream, "{line_end}[… {bytes} bytes, {lines} lines omitted …]")?;
    }
    write(stream, rest.bytes.as_bytes())
}

/// Says what was not passed on. A command that succeeded has failed for whoever reads it, unless `--max-output` asked for the cut: nobody
/// is to take a part of its standard output for the whole.
fn tell_of(omitted: &Omitted, passes_on: &PassesOn, exit: Exit) -> Exit {
    for (stream, Position { bytes, lines }) in [("stdout", omitted.stdout), ("stderr", omitted.stderr)] {
        if bytes > 0 {
            report::complain(&format!("palisade: {stream}: {bytes} bytes, {lines} lines omitted\n"));
        }
    }
    if omitted.stdout.bytes == 0 || passes_on.asked || exit != Exit::Command(0) {
        return exit;
    }
    let what = format!(
        "standard output is longer than {}, and was cut; the command itself ended with status 0",
        passes_on.most
    );
    let help =
        "`--max-output none` passes on all of it, `--max-output SIZE` as much as you want; `> FILE` has no bound";
    CliError::new(what, help).print();
    Exit::Failed
}

fn write(stream: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes)?;
    stream.flush()
}

/// Ctrl-C and its kin stop the command; the receiver holds true once one came.
fn stop_on_signals(switch: watch::Sender<bool>) -> Result<watch::Receiver<bool>, CliError> {
    let (seen, receiver) = watch::channel(false);
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
        let mut signals =
            signal(kind).map_err(|error| CliError::new(format!("cannot listen for signals: {error}"), ""))?;
        let (switch, seen) = (switch.clone(), seen.clone());
        tokio::spawn(async move {
            signals.recv().await;
            seen.send_replace(true);
            switch.send_replace(true);
        });
    }
    Ok(receiver)
}

/// Shows what was parsed, never the agent's story about it, and takes nothing but `y` and `yes` for a yes.
fn ask(pending: &Pending) -> Result<bool, CliError> {
    report::complain(&report::verdict(pending.explained()));
    report::complain(&format!("The whole script:\n{}", report::script(pending.explained())));
    report::complain("Run it once? Type y to allow: ");
    let mut answer = String::new();
    io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(|error| CliError::new(format!("cannot read the answer: {error}"), ""))?;
    Ok(report::is_yes(answer.as_bytes()))
}

fn finished(args: &Run, result: &ExecResult, signalled: bool) -> Exit {
    if args.context.json {
        print_json(result);
    }
    for denied in &result.denied {
        report::complain(&report::denied_program(denied));
    }
    if result.denied_more > 0 {
        report::complain(&format!("palisade: denied at execve: {} more times\n", result.denied_more));
    }
    for hint in &result.hints {
        report::complain(&format!("palisade: {hint}\n"));
    }
    if let Some(checkpoint) = &result.checkpoint {
        report::complain(&format!("palisade: the workspace as it was before: checkpoint {checkpoint}\n"));
    }
    for (rule, count) in &result.redactions {
        report::complain(&format!("palisade: redacted {rule}: {count}\n"));
    }
    match result.status {
        Status::Done => match (result.exit_code, result.signal) {
            (Some(code), _) => Exit::Command(u8::try_from(code).unwrap_or(u8::MAX)),
            (None, Some(signal)) => {
                Exit::Command(u8::try_from(signal).map_or(u8::MAX, |signal| signal.saturating_add(128)))
            }
            (None, None) => Exit::Failed,
        },
        Status::TimedOut => {
            report::complain("palisade: timed out; everything it had started was ended\n");
            Exit::TimedOut
        }
        // As a shell reports a command that was killed.
        Status::Limited => {
            let limit = result.limit.map_or("", |limit| limit.as_str());
            report::complain(&format!("palisade: limit: {limit}; everything it had started was ended\n"));
            Exit::Command(137)
        }
        // As a shell reports a command that Ctrl-C ended; quietly, if it was only that nobody reads on.
        Status::Cancelled if signalled => Exit::Command(130),
        Status::Cancelled => Exit::Command(141),
        Status::SessionLost | Status::Running => {
            let why = result.lost.as_ref().map_or("the session was lost", Redacted::as_str);
            report::complain(&format!("error: {why}\n"));
            Exit::Failed
        }
    }
}

fn denied(args: &Run, refusal: &Refusal) -> Exit {
    if args.context.json {
        print_json(&refusal.explained.refused("denied", &refusal.decision));
    }
    report::complain(&format!(
        "palisade: denied ({})\n{}",
        refusal.decision.id,
        report::reasons(&refusal.explained.of_refusal())
    ));
    Exit::Denied
}

fn unanswered(args: &Run, verdict: &Explained, decision: &DecisionNote) -> Exit {
    if args.context.json {
        print_json(&verdict.refused("approval_required", decision));
    }
    let reasons = report::reasons(&verdict.of_refusal());
    report::complain(&format!("palisade: needs a person's yes, and nobody gave it ({})\n{reasons}", decision.id));
    Exit::Denied
}

fn print_json(value: &impl serde::Serialize) {
    if let Ok(text) = commands::json(value) {
        report::print(&text);
    }
}
