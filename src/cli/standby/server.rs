//! The stand-by process: takes requests of its user, one connection each, and ends when none has come for a while.

use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
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
use super::wire::{self, CallerWord, Command, Request, StandbyAnswer};
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
    let_go();
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
        let (sessions, running, socket) = (Sessions::default(), AtomicUsize::new(0), Socket::of(&address));
        let server = Arc::new(Server { pipeline, sessions, running, address, socket });
        tokio::select! {
            served = server.listen(listener) => served.map_err(|error| CliError::new(format!("cannot listen: {error}"), "")),
            () = stopped => Ok(()),
        }
    });
    runtime.shutdown_background();
    ended.map(|()| Exit::Fine)
}

/// Closes what the caller has left open in it: a lock that it gives back must be free, and a pipe that it closes must come to its end.
fn let_go() {
    let open = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let numbers = open.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let numbers: Vec<i32> = numbers.filter(|number| *number > 2).collect();
    for number in numbers {
        // The one that listed them is closed already.
        let _closed = nix::unistd::close(number);
    }
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
    socket: Socket,
}

/// The socket as this process has found it: device and inode.
#[derive(Debug, PartialEq, Eq)]
struct Socket(Option<(u64, u64)>);

impl Socket {
    fn of(address: &Address) -> Self {
        Self(std::fs::symlink_metadata(address.socket()).ok().map(|about| (about.dev(), about.ino())))
    }

    fn is_there(&self, address: &Address) -> bool {
        self.0.is_some() && *self == Self::of(address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The next caller finds none, and starts one. A later process may have put its own there.
        if self.socket.is_there(&self.address) {
            let _gone_already = std::fs::remove_file(self.address.socket());
        }
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
                    // Whoever removes the socket has no more use for the process; what it runs comes to its end.
                    let is_idle = self.running.load(Ordering::Relaxed) == 0;
                    if is_idle && (last.elapsed() > IDLE || !self.socket.is_there(&self.address)) {
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
        answers.write_all(&wire::framed(&StandbyAnswer::Accepted)?).await?;
        let request = match request {
            Request::Run(command) => command,
            Request::Judge(question) => {
                let answer = match hook::verdict(&self.pipeline, &question).await {
                    Ok(verdict) => StandbyAnswer::Judged(verdict),
                    Err(error) => StandbyAnswer::Failed(error.text()),
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
            Ok(exit) => StandbyAnswer::Ended(exit.code()),
            Err(error) => StandbyAnswer::Failed(error.text()),
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
        let Some(name) = &request.session else {
            let call = Call { cwd: request.cwd.to_str().map(str::to_owned), ..call };
            return call::carry_out(&self.pipeline, call, caller, switch, signalled).await;
        };
        let placed = self.sessions.place(&self.pipeline, name, &request.cwd, request.rooted, call).await;
        let (call, turn) = placed?;
        if turn.is_beside()
            && !request.beside
            && let Ok(stderr) = caller.outputs.stderr.try_clone()
        {
            let told =
                "palisade: another command of this session runs; what this one changes in its shell is not kept\n";
            call::tell(stderr, told.to_owned()).await;
        }
        let ended = call::carry_out(&self.pipeline, call, caller, switch, signalled).await;
        if ended.as_ref().is_ok_and(|exit| *exit != Exit::Denied) {
            turn.ran().await;
        }
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
            CallerWord::Resize(rows, cols) => _ = orders.send(Order::Resize(TerminalSize { rows, cols })).await,
            CallerWord::Stop => {
                signalled.send_replace(true);
                switch.send_replace(true);
            }
        }
    }
    switch.send_replace(true);
}

async fn word(words: &mut OwnedReadHalf) -> io::Result<CallerWord> {
    let mut length = [0; 4];
    words.read_exact(&mut length).await?;
    let mut text = vec![0; wire::room(length)?];
    words.read_exact(&mut text).await?;
    Ok(serde_json::from_slice(&text)?)
}
