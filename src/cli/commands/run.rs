//! `run`: judge a command and, if it is allowed, run it in a fresh session, printing as it prints.

use std::fs::File;
use std::io::{self, BufRead, Read, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::sync::{Arc, Mutex, PoisonError};

use palisade_engine::{Approval, Channel, Lasts};
use palisade_runner::control::wire::Request;
use palisade_runner::{Call, Client, Outcome, Pending, Pipeline, Redacted, Stop};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::termios::QueueSelector;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::cli::args::Run;
use crate::cli::commands;
use crate::cli::commands::approvals;
use crate::cli::exit::Exit;
use crate::cli::foreground::call::QUEUE;
use crate::cli::foreground::command_end;
use crate::cli::foreground::output::{Omitted, Outputs, Printer, tell_of};
use crate::cli::foreground::words::quote;
use crate::cli::report::{self, CliError};
use crate::config;
use crate::config::PassesOn;

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
        let outputs = Outputs::own().map_err(|error| {
            CliError::new(format!("the command's output has nowhere to go: {error}"), "`> FILE` gives it somewhere")
        })?;
        let (sender, receiver) = mpsc::channel(QUEUE);
        let printer = Printer::new(outputs, Some(passes_on));
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
    let in_json = |value: Result<String, CliError>| {
        if let (true, Ok(text)) = (args.context.json, value) {
            report::print(&text);
        }
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
            in_json(commands::json(&result));
            tell_of(&omitted, passes_on, command_end::finished(&result, *signalled.borrow()))
        }
        Outcome::Denied(refusal) => {
            in_json(commands::json(&refusal.explained.refused("denied", &refusal.decision)));
            command_end::denied(&refusal)
        }
        Outcome::Ask(pending) => {
            in_json(commands::json(&pending.explained().refused("approval_required", pending.decision())));
            command_end::unanswered(pending.explained(), pending.decision())
        }
        Outcome::Unanswered(unanswered) => {
            let (explained, decision) = (&unanswered.explained, &unanswered.decision);
            in_json(commands::json(&explained.refused("approval_required", decision)));
            command_end::unanswered(explained, decision)
        }
    };
    report::complain(&ended.told);
    Ok(ended.exit)
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

/// Ctrl-C and its kin stop the command; the receiver holds true once one came.
pub(crate) fn stop_on_signals(switch: watch::Sender<bool>) -> Result<watch::Receiver<bool>, CliError> {
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
