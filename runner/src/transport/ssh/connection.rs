//! A session's connection to its host: the shells that it starts there, and what comes of their streams.
//!
//! A host may let one login have only so many programs at once (`MaxSessions` of sshd_config, 10 unless set), and a session with its jobs can
//! want more. It logs in once more then, to the very host that policy was asked about and in the same way, and no more often than its jobs
//! can need. No two sessions share a login: what one of them does not take stands in nobody else's way, and one that ends ends alone.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use russh::client::{self, Handle};
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Disconnect, Sig};
use tokio::sync::{mpsc, watch};

use super::client::{Hop, Met, Watch};
use crate::shell::{TerminalSize, Typed};
use crate::target::{SshTarget, TargetError};
use crate::transport::TERMINAL_KIND;
use crate::transport::wire::{Ending, Far, Mouth, Piece, Start, Wire};

/// Logins of one session at most: with sshd's own limit of 10 programs for each they take its two shells and all the jobs that it may have.
const LINES: usize = 3;

/// How long a host may take to start a program.
const OPENING: Duration = Duration::from_secs(10);

/// A connection as a user of the host.
pub(crate) struct Connection {
    target: Box<SshTarget>,
    /// Of the host's key, as the session was opened.
    fingerprint: String,
    /// By way of whom, in the order from here, each with the fingerprint of its key.
    by: Vec<String>,
    lines: Mutex<Vec<Arc<Line>>>,
    /// Whoever logs in once more holds it.
    growing: tokio::sync::Mutex<()>,
}

/// One login, and those at the hosts on the way to it.
pub(super) struct Line {
    pub(super) handle: Handle<Watch>,
    pub(super) hops: Vec<Hop>,
}

/// Why a login starts no program.
enum StartFailure {
    /// It has as many as it may have.
    Full,
    /// It starts none at all.
    Dead,
    /// It gives no terminal.
    NoTerminal,
}

impl Connection {
    pub(super) fn new(target: &SshTarget, fingerprint: String, by: Vec<String>, line: Line) -> Self {
        let lines = Mutex::new(vec![Arc::new(line)]);
        Self { target: Box::new(target.clone()), fingerprint, by, lines, growing: tokio::sync::Mutex::new(()) }
    }

    /// Starts a shell.
    ///
    /// # Errors
    /// If the host starts no program, or as many of the session's run as it may have.
    pub(crate) async fn shell(&self, start: Start) -> Result<Wire, TargetError> {
        let terminal = start.terminal;
        let line = command_line(start);
        let channel = self.channel(&line, terminal).await?;
        let (wire, Far { input, output, sizes }) = Wire::new(terminal);
        let (read, write) = channel.split();
        let write = Arc::new(write);
        tokio::spawn(take(read, output));
        if let Some(sizes) = sizes {
            tokio::spawn(resize(Arc::clone(&write), sizes));
        }
        tokio::spawn(give(write, input));
        Ok(wire)
    }

    /// A channel in which this line runs: at a login that has room for one, or at one more.
    async fn channel(&self, line: &str, terminal: Option<TerminalSize>) -> Result<Channel<client::Msg>, TargetError> {
        if let Some(channel) = self.begin(line, terminal).await? {
            return Ok(channel);
        }
        let _alone = self.growing.lock().await;
        // Somebody else may have made room.
        if let Some(channel) = self.begin(line, terminal).await? {
            return Ok(channel);
        }
        let logins = self.logins().len();
        if logins >= LINES {
            return Err(TargetError::NoChannel { place: self.target.place(), logins });
        }
        let login = Arc::new(self.again().await?);
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&login));
        // Whoever closed the session has not seen this one.
        if self.logins().first().is_none_or(|first| first.handle.is_closed()) {
            self.close().await;
            return Err(TargetError::Closed);
        }
        login.begin(line, terminal).await.map_err(|refused| refused.told())
    }

    /// The same at one of the logins that there are; none if they are full.
    async fn begin(
        &self,
        line: &str,
        terminal: Option<TerminalSize>,
    ) -> Result<Option<Channel<client::Msg>>, TargetError> {
        let logins = self.logins();
        // The first one is the session's own, which ends with it.
        if logins.first().is_none_or(|login| login.handle.is_closed()) {
            return Err(TargetError::Closed);
        }
        for login in logins {
            match login.begin(line, terminal).await {
                Ok(channel) => return Ok(Some(channel)),
                Err(StartFailure::Full) => {}
                Err(refused) => return Err(refused.told()),
            }
        }
        Ok(None)
    }

    /// The session's own login, and those besides that live.
    fn logins(&self) -> Vec<Arc<Line>> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let mut is_first = true;
        lines.retain(|line| std::mem::take(&mut is_first) || !line.handle.is_closed());
        lines.clone()
    }

    /// One more login, at the host that the session is at and by the same way.
    async fn again(&self) -> Result<Line, TargetError> {
        let met = Met::meet(&self.target).await?;
        let is_same = met.known && met.fingerprint == self.fingerprint && met.by().eq(self.by.iter().cloned());
        // Policy and whoever said yes have seen the first one.
        if !is_same {
            return Err(TargetError::OtherHost { place: self.target.place() });
        }
        met.log_in(&self.target).await
    }

    /// Ends the connection, and those that led to it.
    pub(crate) async fn close(&self) {
        for line in self.logins() {
            let handles = std::iter::once(&line.handle).chain(line.hops.iter().rev().map(|hop| &hop.handle));
            for handle in handles {
                let _gone = handle.disconnect(Disconnect::ByApplication, "", "").await;
            }
        }
    }
}

impl Line {
    /// Starts a program, at a terminal if it is to have one.
    async fn begin(&self, line: &str, terminal: Option<TerminalSize>) -> Result<Channel<client::Msg>, StartFailure> {
        let begun = async {
            let mut channel = match self.handle.channel_open_session().await {
                Ok(channel) => channel,
                Err(russh::Error::ChannelOpenFailure(_)) => return Err(StartFailure::Full),
                Err(_) => return Err(StartFailure::Dead),
            };
            if let Some(TerminalSize { rows, cols }) = terminal {
                let asked = channel.request_pty(true, TERMINAL_KIND, cols.into(), rows.into(), 0, 0, &[]).await;
                if asked.is_err() || !succeeded(&mut channel).await {
                    let _gone = channel.close().await;
                    return Err(StartFailure::NoTerminal);
                }
            }
            let asked = channel.exec(true, line).await;
            if asked.is_ok() && succeeded(&mut channel).await { Ok(channel) } else { Err(StartFailure::Dead) }
        };
        tokio::time::timeout(OPENING, begun).await.unwrap_or(Err(StartFailure::Dead))
    }
}

impl StartFailure {
    fn told(&self) -> TargetError {
        match self {
            Self::Full | Self::Dead => TargetError::NoProgram,
            Self::NoTerminal => TargetError::NoTerminal {
                why: "its SSH server gives none (`PermitTTY` in sshd_config, or `no-pty` or `restrict` at the key)",
            },
        }
    }
}

/// What the user's login shell reads, whichever it is.
fn command_line(Start { words, variables, .. }: Start) -> String {
    let words = words.into_iter().map(|word| {
        let is_plain = word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if is_plain { word.into_owned() } else { format!("'{word}'") }
    });
    let env = if variables.is_empty() { None } else { Some("env".to_owned()) };
    let line: Vec<String> = ["exec".to_owned()].into_iter().chain(env).chain(variables).chain(words).collect();
    line.join(" ")
}

/// Tells the terminal's size each time that it is another.
async fn resize(write: Arc<ChannelWriteHalf<client::Msg>>, mut sizes: watch::Receiver<TerminalSize>) {
    while sizes.changed().await.is_ok() {
        let TerminalSize { rows, cols } = *sizes.borrow_and_update();
        if write.window_change(cols.into(), rows.into(), 0, 0).await.is_err() {
            return;
        }
    }
}

/// Gives the program its input, as long as it takes any, and hangs up behind that.
async fn give(write: Arc<ChannelWriteHalf<client::Msg>>, mut input: mpsc::Receiver<Typed>) {
    let mut ended = false;
    while let Some(typed) = input.recv().await {
        let given = match typed {
            Typed::Bytes(bytes) => write.data_bytes(bytes).await,
            Typed::End => {
                ended = true;
                write.eof().await
            }
        };
        if given.is_err() {
            return;
        }
    }
    // It may have gone before.
    if !ended {
        let _gone = write.eof().await;
    }
    let _gone = write.close().await;
}

/// Whether the host does what it was asked for. What a program says comes behind that.
async fn succeeded(channel: &mut Channel<client::Msg>) -> bool {
    loop {
        match channel.wait().await {
            Some(ChannelMsg::Success) => return true,
            Some(ChannelMsg::WindowAdjusted { .. }) => {}
            _ => return false,
        }
    }
}

/// Takes what comes, for as long as something can: one channel that nobody empties would hold up all of a connection.
async fn take(mut channel: ChannelReadHalf, output: Mouth) {
    let mut ending = None;
    while let Some(message) = channel.wait().await {
        let goes_on = match message {
            ChannelMsg::Data { data } => output.put(Piece::Out(data.to_vec())).await,
            ChannelMsg::ExtendedData { data, ext: 1 } => output.put(Piece::Err(data.to_vec())).await,
            ChannelMsg::ExitStatus { exit_status } => {
                ending = Some(Ending::Exited(i32::try_from(exit_status).unwrap_or(-1)));
                true
            }
            ChannelMsg::ExitSignal { signal_name, .. } => {
                ending = Some(Ending::Signalled(number(&signal_name)));
                true
            }
            ChannelMsg::Close => false,
            _ => true,
        };
        if !goes_on {
            break;
        }
    }
    output.put(Piece::Ended(ending)).await;
}

/// The number of a signal on Linux; 0 for one of another system.
fn number(signal: &Sig) -> i32 {
    use rustix::process::Signal;
    let signal = match signal {
        Sig::ABRT => Signal::ABORT,
        Sig::ALRM => Signal::ALARM,
        Sig::FPE => Signal::FPE,
        Sig::HUP => Signal::HUP,
        Sig::ILL => Signal::ILL,
        Sig::INT => Signal::INT,
        Sig::KILL => Signal::KILL,
        Sig::PIPE => Signal::PIPE,
        Sig::QUIT => Signal::QUIT,
        Sig::SEGV => Signal::SEGV,
        Sig::TERM => Signal::TERM,
        Sig::USR1 => Signal::USR1,
        Sig::Custom(_) => return 0,
    };
    signal.as_raw()
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Connection").field("place", &self.target.place()).finish_non_exhaustive()
    }
}
