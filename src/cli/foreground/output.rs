//! Output on its way to the caller, redacted and as it comes.
//!
//! This file decides how much of each stream is passed on, and what happens when nobody reads it any more.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};

use palisade_redact::output::{Bound, Live, Position, Rest};
use palisade_runner::{Chunk, StreamName};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::FileType;
use rustix::termios::isatty;
use tokio::sync::{mpsc, watch};

use super::command_end::Ended;
use crate::cli::exit::Exit;
use crate::cli::report::CliError;
use crate::config::PassesOn;

/// Where a command's output goes. Nothing is buffered here.
#[derive(Debug)]
pub(crate) struct Outputs {
    /// Its standard output.
    pub(crate) stdout: File,
    /// Its standard error, and what Palisade itself has to say.
    pub(crate) stderr: File,
}

impl Outputs {
    /// Where this process's own output goes.
    ///
    /// # Errors
    /// If a stream is closed, or no descriptor is left.
    pub(crate) fn own() -> io::Result<Self> {
        let copy = |stream: std::os::fd::BorrowedFd<'_>| stream.try_clone_to_owned().map(File::from);
        Ok(Self { stdout: copy(io::stdout().as_fd())?, stderr: copy(io::stderr().as_fd())? })
    }
}

/// The two streams on their way out.
pub(crate) struct Printer {
    outputs: Outputs,
    stdout: Live,
    stderr: Live,
}

/// What of each stream was not passed on.
#[derive(Debug, Default)]
pub(crate) struct Omitted {
    stdout: Position,
    stderr: Position,
}

impl Printer {
    /// Without `passes_on` all of both streams is passed on.
    pub(crate) fn new(outputs: Outputs, passes_on: Option<&PassesOn>) -> Self {
        let bound = |stream: &File| -> Option<Bound> {
            let passes_on = passes_on?;
            passes_on.bound.filter(|_| passes_on.asked || is_read(stream))
        };
        let (stdout, stderr) = (Live::new(bound(&outputs.stdout)), Live::new(bound(&outputs.stderr)));
        Self { outputs, stdout, stderr }
    }

    /// Prints output as it comes, and at the end what waited for that. When nobody reads it any more the command is stopped: `palisade run
    /// yes | head -1` ends.
    ///
    /// # Errors
    /// It cannot be written, for another reason than that: the command is stopped, too, and what was lost is not passed over.
    pub(crate) fn print(
        self,
        mut chunks: mpsc::Receiver<Chunk>,
        switch: &watch::Sender<bool>,
        screen: &Mutex<()>,
    ) -> io::Result<Omitted> {
        let Self { outputs: Outputs { stdout: mut out, stderr: mut err }, mut stdout, mut stderr } = self;
        while let Some(Chunk { stream, bytes }) = chunks.blocking_recv() {
            let _screen = screen.lock().unwrap_or_else(PoisonError::into_inner);
            let written = match stream {
                StreamName::Stdout => pass_on(&mut out, stdout.push(bytes).as_bytes()),
                StreamName::Stderr => pass_on(&mut err, stderr.push(bytes).as_bytes()),
            };
            if let Err(error) = written {
                switch.send_replace(true);
                return unless_nobody_reads(error);
            }
        }
        let (stdout, stderr) = (stdout.finish(), stderr.finish());
        let _screen = screen.lock().unwrap_or_else(PoisonError::into_inner);
        let written = write_rest(&mut out, &stdout).and_then(|()| write_rest(&mut err, &stderr));
        match written {
            Ok(()) => Ok(Omitted { stdout: stdout.omitted, stderr: stderr.omitted }),
            Err(error) => unless_nobody_reads(error),
        }
    }
}

/// Writes what is to be passed on now. Where that is nothing, it is a broken pipe all the same if nobody reads any more.
fn pass_on(stream: &mut File, bytes: &[u8]) -> io::Result<()> {
    if !bytes.is_empty() {
        return stream.write_all(bytes);
    }
    let mut polled = [PollFd::new(&*stream, PollFlags::empty())];
    // A signal that interrupts it leaves the question for the next piece.
    let _asked = poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
    let is_broken = polled.iter().any(|end| end.revents().contains(PollFlags::ERR));
    if is_broken { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
}

/// Whether somebody reads a stream as it comes. What goes into a file is for later, and as large as it is.
fn is_read(stream: &File) -> bool {
    if isatty(stream) {
        return true;
    }
    let kind = rustix::fs::fstat(stream).map(|stat| FileType::from_raw_mode(stat.st_mode));
    // What cannot be told is bounded.
    kind.map_or(true, |kind| matches!(kind, FileType::Fifo | FileType::Socket))
}

fn unless_nobody_reads(error: io::Error) -> io::Result<Omitted> {
    if error.kind() == io::ErrorKind::BrokenPipe { Ok(Omitted::default()) } else { Err(error) }
}

/// The tail of a stream, behind a line that says what is missing before it, in the words of a session's result.
fn write_rest(stream: &mut File, rest: &Rest) -> io::Result<()> {
    if rest.omitted.bytes > 0 {
        let Position { bytes, lines } = rest.omitted;
        let line_end = if rest.ends_line { "" } else { "\n" };
        stream.write_all(format!("{line_end}[… {bytes} bytes, {lines} lines omitted …]\n").as_bytes())?;
    }
    stream.write_all(rest.bytes.as_bytes())
}

/// Adds what was not passed on. A command that succeeded has failed for whoever reads it, unless `--max-output` asked for the cut: nobody
/// is to take a part of its standard output for the whole.
pub(crate) fn tell_of(omitted: &Omitted, passes_on: &PassesOn, ended: Ended) -> Ended {
    let Ended { exit, mut told } = ended;
    for (stream, Position { bytes, lines }) in [("stdout", omitted.stdout), ("stderr", omitted.stderr)] {
        if bytes > 0 {
            told.push_str(&format!("palisade: {stream}: {bytes} bytes, {lines} lines omitted\n"));
        }
    }
    if omitted.stdout.bytes == 0 || passes_on.asked || exit != Exit::Command(0) {
        return Ended { exit, told };
    }
    let what = format!(
        "standard output is longer than {}, and was cut; the command itself ended with status 0",
        passes_on.most
    );
    let help =
        "`--max-output none` passes on all of it, `--max-output SIZE` as much as you want; `> FILE` has no bound";
    told.push_str(&CliError::new(what, help).text());
    Ended { exit: Exit::Failed, told }
}
