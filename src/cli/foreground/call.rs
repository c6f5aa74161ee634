//! One command from its text to its status, on the streams of somebody who waits for it and has no person beside it.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use palisade_runner::{Call, Outcome, Pipeline, Stop, TerminalSize};
use tokio::sync::{mpsc, watch};

use super::command_end::{self, Ended};
use super::input::{self, InputReading};
use super::output::{Outputs, Printer};
use crate::cli::exit::Exit;
use crate::cli::report::CliError;

/// Chunks of output on their way to the caller.
pub(crate) const QUEUE: usize = 64;

/// How long output may take to be read once its command has been stopped.
const GRACE: Duration = Duration::from_secs(2);

/// The streams of whoever waits for a command.
#[derive(Debug)]
pub(crate) struct Caller {
    /// What the command reads; none: nothing.
    pub(crate) input: Option<OwnedFd>,
    /// Where its output goes.
    pub(crate) outputs: Outputs,
    /// The size of the terminal that input and output are, if they are one.
    pub(crate) terminal: Option<TerminalSize>,
    /// This process goes on after the command: a request for a person's yes can wait in it.
    pub(crate) stays: bool,
}

impl Caller {
    /// The streams of this process; without `has_input` the command has none of its input.
    ///
    /// # Errors
    /// If standard output or standard error is closed.
    pub(crate) fn own(has_input: bool) -> Result<Self, CliError> {
        let failed = |error: io::Error| {
            CliError::new(
                format!("standard output or standard error is closed: {error}"),
                "`>/dev/null` drops what comes",
            )
        };
        let outputs = Outputs::own().map_err(failed)?;
        // A closed input is as good as an empty one.
        let input = has_input.then(|| io::stdin().as_fd().try_clone_to_owned().ok()).flatten();
        let terminal = input.as_ref().and_then(|input| size_of_terminal(input, &outputs));
        Ok(Self { input, outputs, terminal, stays: false })
    }
}

/// The size of the terminal that somebody types at and looks at, if both ends are one.
fn size_of_terminal(input: &OwnedFd, outputs: &Outputs) -> Option<TerminalSize> {
    // A process in the background of its terminal may not change it, and is stopped if it tries.
    let is_ours = rustix::termios::tcgetpgrp(input).is_ok_and(|group| group == rustix::process::getpgrp());
    // One that passes on every key already is another call's.
    let is_free = rustix::termios::tcgetattr(input)
        .is_ok_and(|modes| modes.local_modes.contains(rustix::termios::LocalModes::ICANON));
    let is_one = is_ours && is_free && rustix::termios::isatty(&outputs.stdout);
    let size = rustix::termios::tcgetwinsize(input).ok().filter(|_| is_one)?;
    Some(TerminalSize { rows: size.ws_row, cols: size.ws_col })
}

/// Judges and runs it, printing as it prints, and says on standard error what is to be said of its end. It ends early once `switch` holds
/// true; `signalled` says whether a signal was the reason.
///
/// # Errors
/// If it cannot be judged, recorded or begun, or its output cannot be written.
pub(crate) async fn carry_out(
    pipeline: &Arc<Pipeline>,
    call: Call,
    caller: Caller,
    switch: &watch::Sender<bool>,
    signalled: &watch::Receiver<bool>,
) -> Result<Exit, CliError> {
    let Caller { input, outputs, terminal, stays } = caller;
    let said = outputs.stderr.try_clone().map_err(unwritten)?;
    let (sender, receiver) = mpsc::channel(QUEUE);
    let printer = Printer::new(outputs, None);
    let (stops, screen) = (switch.clone(), Mutex::new(()));
    let printing = tokio::task::spawn_blocking(move || printer.print(receiver, &stops, &screen));
    let mut stop = Stop::default();
    stop.listen(switch.subscribe());
    let reading = input.map(input::of).transpose().map_err(|error| {
        CliError::new(format!("standard input cannot be read: {error}"), "nothing has run; `</dev/null` gives it none")
    })?;
    let reading = reading.flatten();
    // Held to the end of the command, and of no use behind it.
    let (pieces, _held) = reading.map(|InputReading { pieces, held }| (pieces, held)).unzip();
    let call = Call { live: Some(sender), stop, terminal, input: pieces, colours: true, ..call };
    let outcome = match Box::pin(pipeline.submit(call)).await? {
        // A yes that somebody has given to this very call counts; nobody is waited for.
        Outcome::Ask(pending) if stays => Box::pin(pipeline.ask(*pending, Duration::ZERO)).await?,
        outcome => outcome,
    };
    let Ended { exit, told } = match outcome {
        Outcome::Ran(result) | Outcome::Running(result) => {
            // The last of the output comes before anything is said about it, unless nobody is there to read it any more.
            let abandoned = async {
                let mut stopped = switch.subscribe();
                // The sender is this function's own.
                drop(stopped.wait_for(|on| *on).await);
                tokio::time::sleep(GRACE).await;
            };
            tokio::select! {
                printed = printing => {
                    printed.unwrap_or_else(|panicked| Err(io::Error::other(panicked))).map_err(unwritten)?;
                }
                () = abandoned => {}
            }
            command_end::finished(&result, *signalled.borrow())
        }
        Outcome::Denied(refusal) => command_end::denied(&refusal),
        Outcome::Ask(pending) => command_end::unanswered(pending.explained(), pending.decision()),
        Outcome::Unanswered(unanswered) => command_end::waits(&unanswered),
    };
    tell(said, told).await;
    Ok(exit)
}

/// Writes it to a caller's standard error. One that does not read is not waited for: others wait for this process.
pub(crate) async fn tell(mut stderr: File, told: String) {
    let written = tokio::task::spawn_blocking(move || stderr.write_all(told.as_bytes()));
    // Nobody reads it any more: there is nobody left to tell.
    let _unread = tokio::time::timeout(GRACE, written).await;
}

fn unwritten(error: io::Error) -> CliError {
    let help = "whatever the command has done is done; `palisade audit show` says how it ended";
    CliError::new(format!("the command's output could not be written: {error}"), help)
}
