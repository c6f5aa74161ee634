//! The stand-by process: takes requests of its user, one connection each, and ends when none has come for a while.

use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use palisade_runner::{Call, Order, Pipeline, TerminalSize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::OwnedReadHalf;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::address::Address;
use super::sessions::Sessions;
use super::wire::{self, Answer, Command, Request, Word};
use crate::cli::args::Standby;
use crate::cli::commands;
use crate::cli::commands::serve;
use crate::cli::exit::Exit;
use crate::cli::foreground::call::{self, Caller};
use crate::cli::foreground::output::Outputs;
use crate::cli::hook;
use crate::cli::report::CliError;
use crate::config;

/// How long a caller may take to say what it wants.
const GREETING: Duration = Duration::from_secs(5);

/// How long the process stays for nobody who asks for anything.
const IDLE: Duration = Duration::from_secs(10 * 60);

/// How often it looks whether that is over.
const LOOK: Duration = Duration::from_secs(5);

/// Requests at once. One beyond them is answered by its caller's own process.
const MOST: usize = 64;

/// Resizes that wait for a command to take them.
const ORDERS: usize = 8;

/// Serves until nobody has come for a while, or a signal ends it. Standard input is the socket to listen on.
pub(crate) fn run(args: &Standby) -> Result<Exit, CliError> {
    let unasked = |error: io::Error| {
        CliError::new(
            format!("standard input is no socket to listen on: {error}"),
            "`palisade sh` starts this by itself",
        )
    };
    let (listener, address) = (listener().map_err(unasked)?, Address::named(&args.name).map_err(unasked)?);
    // The terminal of whoever started it, and its signals, are nothing to a process that outlives the call. One that leads a group already
    // has none.
    let _is_leader = rustix::process::setsid();
    let view = config::enter_view(&args.context)?;
    commands::begin_to_probe();
    let seen = serve::Seen::first(&args.context);
    let settings = config::load_in(&args.context, config::SHELL, view)?;
    let runtime = commands::runtime()?;
    let ended = serve::host(&runtime, &args.context, seen, vec![settings], async |pipelines, stopped| {
        let Some(pipeline) = pipelines.into_iter().next() else { return Ok(()) };
        let (sessions, running) = (Sessions::default(), AtomicUsize::new(0));
        let server = Arc::new(Server { pipeline, sessions, running, address });
        tokio::select! {
            served = server.listen(listener) => served.map_err(|error| CliError::new(format!("cannot listen: {error}"), "")),
            () = stopped => Ok(()),
        }
    });
    runtime.shutdown_background();
    ended.map(|()| Exit::Fine)
}

/// The socket on standard input, which leads to the null device from here on.
fn listener() -> io::Result<UnixListener> {
    let listener = UnixListener::from(io::stdin().as_fd().try_clone_to_owned()?);
    listener.local_addr()?.as_pathname().ok_or(io::ErrorKind::InvalidInput)?;
    listener.set_nonblocking(true)?;
    rustix::stdio::dup2_stdin(std::fs::File::open("/dev/null")?)?;
    Ok(listener)
}

#[derive(Debug)]
struct Server {
    pipeline: Arc<Pipeline>,
    sessions: Sessions,
    running: AtomicUsize,
    address: Address,
}

impl Drop for Server {
    fn drop(&mut self) {
        // The next caller finds none, and starts one.
        let _gone_already = std::fs::remove_file(self.address.socket());
    }
}

/// Counts a request, as long as it is held.
struct Counted<'a>(&'a AtomicUsize);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Server {
    async fn listen(self: &Arc<Self>, listener: UnixListener) -> io::Result<()> {
        let listener = tokio::net::UnixListener::from_std(listener)?;
        let mut last = Instant::now();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = tokio::time::sleep(LOOK) => {
                    if self.running.load(Ordering::Relaxed) > 0 {
                        last = Instant::now();
                    }
                    // Whoever removes the socket has no more use for the process.
                    if last.elapsed() > IDLE || !self.address.socket().exists() {
                        return Ok(());
                    }
                    continue;
                }
            };
            last = Instant::now();
            let Ok((stream, _)) = accepted else {
                // Out of descriptors, most likely: they come back.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            // Its directory keeps other users away; this is the same once more, from the kernel.
            let is_own = stream.peer_cred().is_ok_and(|peer| peer.uid() == rustix::process::geteuid().as_raw());
            if !is_own || self.running.fetch_add(1, Ordering::Relaxed) >= MOST {
                if is_own {
                    self.running.fetch_sub(1, Ordering::Relaxed);
                }
                continue;
            }
            let server = Arc::clone(self);
            tokio::spawn(async move {
                let counted = Counted(&server.running);
                // A caller that has hung up needs no answer; what ran is on record.
                let _hung_up = server.attend(stream).await;
                drop(counted);
            });
        }
    }

    async fn attend(&self, stream: tokio::net::UnixStream) -> io::Result<()> {
        let stream = stream.into_std()?;
        let greeted = tokio::task::spawn_blocking(move || greet(stream));
        let (stream, [input, stdout, stderr], request) = greeted.await.map_err(io::Error::other)??;
        let (words, mut answers) = tokio::net::UnixStream::from_std(stream)?.into_split();
        answers.write_all(&wire::framed(&Answer::Accepted)?).await?;
        let request = match request {
            Request::Run(command) => command,
            Request::Judge(question) => {
                let answer = match hook::verdict(&self.pipeline, &question).await {
                    Ok(verdict) => Answer::Judged(verdict),
                    Err(error) => Answer::Failed(error.text()),
                };
                return answers.write_all(&wire::framed(&answer)?).await;
            }
        };
        let terminal = request.terminal.map(|(rows, cols)| TerminalSize { rows, cols });
        let outputs = Outputs { stdout: stdout.into(), stderr: stderr.into() };
        let caller = Caller { input: request.reads.then_some(input), outputs, terminal, stays: true };
        let (switch, _stopped) = watch::channel(false);
        let (signalled, is_signalled) = watch::channel(false);
        let (orders, received) = mpsc::channel(ORDERS);
        let listening = tokio::spawn(listen(words, orders, switch.clone(), signalled));
        let ended = self.exec(request, caller, received, &switch, &is_signalled).await;
        listening.abort();
        let answer = match ended {
            Ok(exit) => Answer::Ended(exit.code()),
            Err(error) => Answer::Failed(error.text()),
        };
        answers.write_all(&wire::framed(&answer)?).await
    }

    async fn exec(
        &self,
        request: Command,
        caller: Caller,
        orders: mpsc::Receiver<Order>,
        switch: &watch::Sender<bool>,
        signalled: &watch::Receiver<bool>,
    ) -> Result<Exit, CliError> {
        let call = Call { script: request.script, orders: Some(orders), apart: request.beside, ..Call::default() };
        let (call, turn) = match &request.session {
            Some(name) => {
                let (call, turn) = self.sessions.place(&self.pipeline, name, &request.cwd, call).await?;
                (call, Some(turn))
            }
            None => (Call { cwd: request.cwd.to_str().map(str::to_owned), ..call }, None),
        };
        let ended = call::carry_out(&self.pipeline, call, caller, switch, signalled).await;
        drop(turn);
        ended
    }
}

/// What a caller says first.
fn greet(mut stream: UnixStream) -> io::Result<(UnixStream, [std::os::fd::OwnedFd; 3], Request)> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(GREETING))?;
    let streams = wire::take_over(&stream)?;
    let request = wire::receive(&mut stream)?;
    stream.set_read_timeout(None)?;
    stream.set_nonblocking(true)?;
    Ok((stream, streams, request))
}

/// Hears what a caller says while its command runs. One that hangs up ends the command.
async fn listen(
    mut words: OwnedReadHalf,
    orders: mpsc::Sender<Order>,
    switch: watch::Sender<bool>,
    signalled: watch::Sender<bool>,
) {
    while let Ok(word) = word(&mut words).await {
        match word {
            Word::Resize(rows, cols) => _ = orders.send(Order::Resize(TerminalSize { rows, cols })).await,
            Word::Stop => {
                signalled.send_replace(true);
                switch.send_replace(true);
            }
        }
    }
    switch.send_replace(true);
}

async fn word(words: &mut OwnedReadHalf) -> io::Result<Word> {
    let mut length = [0; 4];
    words.read_exact(&mut length).await?;
    let mut text = vec![0; wire::room(length)?];
    words.read_exact(&mut text).await?;
    Ok(serde_json::from_slice(&text)?)
}
