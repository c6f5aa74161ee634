//! A caller's side: finds the stand-by process, or starts it, and waits for the end of the command.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{self, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::address::Address;
use super::wire::{self, CallerWord, Command, Question, Request, StandbyAnswer, Verdict};
use crate::cli::args::Context;
use crate::cli::foreground::call::Caller;
use crate::cli::foreground::terminal::RawMode;
use crate::cli::report::{self, CliError};

/// How long a process may take to read its policies and take a request.
const PATIENCE: Duration = Duration::from_secs(15);

/// What became of a request.
#[derive(Debug)]
pub(crate) enum Tried {
    /// The command has ended with this status.
    Ended(u8),
    /// Palisade could not do it, and has said so.
    Failed,
    /// No process has taken it: nothing has run.
    Untaken,
}

/// Has the stand-by process of these flags run it, on the caller's streams.
///
/// # Errors
/// If the process ends before the command does: what has become of that is on record only.
pub(crate) fn run(flags: &Context, named: Option<&str>, command: Command, caller: &Caller) -> Result<Tried, CliError> {
    let Caller { input, outputs, .. } = caller;
    let streams = [input.as_ref().map(OwnedFd::as_fd), Some(outputs.stdout.as_fd()), Some(outputs.stderr.as_fd())];
    let Some(stream) = begin(flags, named, &Request::Run(command), streams) else { return Ok(Tried::Untaken) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let failed = |error: io::Error| CliError::new(format!("cannot wait for the command: {error}"), "");
    runtime.map_err(failed)?.block_on(wait(stream, caller)).map_err(|error| {
        let help = "`palisade audit show` says how far the command came; run it again if that does no harm";
        CliError::new(format!("the stand-by process has ended before the command did: {error}"), help)
    })
}

/// What policy says to a question; none where no stand-by process answers.
///
/// # Errors
/// If the process says that it cannot be judged.
pub(crate) fn ask(flags: &Context, question: Question) -> Result<Option<Verdict>, CliError> {
    let Some(mut stream) = begin(flags, None, &Request::Judge(question), [None; 3]) else { return Ok(None) };
    if stream.set_read_timeout(Some(PATIENCE)).is_err()
        || !matches!(wire::receive(&mut stream), Ok(StandbyAnswer::Accepted))
    {
        return Ok(None);
    }
    match wire::receive(&mut stream) {
        Ok(StandbyAnswer::Judged(verdict)) => Ok(Some(verdict)),
        Ok(StandbyAnswer::Failed(text)) => Err(CliError::new(text.trim_start_matches("error: ").trim_end(), "")),
        // Nothing has come of it, and it can be asked once more elsewhere.
        Ok(_) | Err(_) => Ok(None),
    }
}

/// A connection on which a request was sent, with these descriptors or the null device in their place; none where no process is there.
fn begin(
    flags: &Context,
    named: Option<&str>,
    request: &Request,
    streams: [Option<BorrowedFd<'_>>; 3],
) -> Option<UnixStream> {
    let known = named.and_then(|name| UnixStream::connect(Address::named(name).ok()?.socket()).ok());
    let stream = known.or_else(|| reach(flags).map(|(_, stream)| stream))?;
    let null = std::fs::File::options().read(true).write(true).open("/dev/null").ok()?;
    wire::hand_over(&stream, streams.map(|stream| stream.unwrap_or(null.as_fd()))).ok()?;
    wire::send(&mut &stream, request).ok()?;
    Some(stream)
}

/// Waits for the end, and passes on what happens meanwhile.
async fn wait(stream: UnixStream, caller: &Caller) -> io::Result<Tried> {
    stream.set_nonblocking(true)?;
    let (mut answers, mut words) = tokio::net::UnixStream::from_std(stream)?.into_split();
    match tokio::time::timeout(PATIENCE, answer(&mut answers)).await {
        Ok(Ok(StandbyAnswer::Accepted)) => {}
        // It hung up before it took anything.
        Ok(Ok(_) | Err(_)) => return Ok(Tried::Untaken),
        // It may still be about to: what it finds hung up it does not run.
        Err(_) => return Err(io::Error::new(io::ErrorKind::TimedOut, "it does not answer")),
    }
    let typed = caller.terminal.and(caller.input.as_ref());
    let raw = typed.map(RawMode::enter).transpose()?;
    let mut ends = Ends::listen()?;
    let mut resized = signal(SignalKind::window_change())?;
    loop {
        let word = tokio::select! {
            answer = answer(&mut answers) => {
                drop(raw);
                return match answer? {
                    StandbyAnswer::Ended(status) => Ok(Tried::Ended(status)),
                    StandbyAnswer::Failed(text) => {
                        report::complain(&text);
                        Ok(Tried::Failed)
                    }
                    StandbyAnswer::Accepted | StandbyAnswer::Judged(_) => Err(io::ErrorKind::InvalidData.into()),
                };
            }
            () = ends.came() => CallerWord::Stop,
            _ = resized.recv() => {
                let Some(Ok(size)) = typed.map(rustix::termios::tcgetwinsize) else { continue };
                CallerWord::Resize(size.ws_row, size.ws_col)
            }
        };
        // If it has hung up, the answer says so.
        let _gone = words.write_all(&wire::framed(&word)?).await;
    }
}

/// The signals that end a command.
struct Ends([Signal; 3]);

impl Ends {
    fn listen() -> io::Result<Self> {
        Ok(Self([signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?]))
    }

    async fn came(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

async fn answer(from: &mut tokio::net::unix::OwnedReadHalf) -> io::Result<StandbyAnswer> {
    let mut length = [0; 4];
    from.read_exact(&mut length).await?;
    let mut text = vec![0; wire::room(length)?];
    from.read_exact(&mut text).await?;
    Ok(serde_json::from_slice(&text)?)
}

/// Sees to it that a process is there for these flags, and gives the name of its address; none where there cannot be one.
pub(crate) fn warm(flags: &Context) -> Option<String> {
    // It hears that nobody asks for anything.
    let (address, _hangs_up) = reach(flags)?;
    Some(address.name().to_owned())
}

/// A connection to the process, which is started if there is none; none where there cannot be one.
fn reach(flags: &Context) -> Option<(Address, UnixStream)> {
    let address = Address::of(flags).ok()?;
    let socket = address.socket();
    let connect = || UnixStream::connect(&socket).ok();
    if let Some(stream) = connect() {
        return Some((address, stream));
    }
    let _lock = address.lock().ok()?;
    if let Some(stream) = connect() {
        return Some((address, stream));
    }
    address.sweep();
    if address.is_full() {
        return None;
    }
    // It listens before the process is there, which finds those who wait.
    let listener = UnixListener::bind(&socket).ok()?;
    let stream = connect()?;
    start(flags, address.name(), listener).ok()?;
    Some((address, stream))
}

fn start(flags: &Context, name: &str, listener: UnixListener) -> io::Result<()> {
    let mut command = process::Command::new(std::env::current_exe()?);
    command
        .args(["standby", "--name", name])
        .args(flags.words())
        .stdin(OwnedFd::from(listener))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn().map(drop)
}
