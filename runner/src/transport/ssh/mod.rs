//! Connections over SSH: made, believed, and used to start shells.
//!
//! This file decides in what order things happen: nothing is proved to a host before `host_key.rs` has believed it and policy has
//! permitted it. A host on the way to another is believed and logged in to before the next one is even looked at, and leads on to that
//! one and nowhere else. The key exchange, ciphers and packets are russh's.

mod auth;
pub mod config;
pub mod host_key;

use std::borrow::Cow;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use russh::client::{self, Handle};
use russh::keys::PublicKeyOrCertificate;
use russh::{
    Channel, ChannelMsg, ChannelOpenFailure, ChannelReadHalf, ChannelWriteHalf, Disconnect, Preferred, Sig, cipher,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use self::host_key::{Answer, KnownHosts, Shown};
use super::remote::{Ending, Far, Language, Mouth, Piece, Purpose, Wire};
use super::target::{SshTarget, TargetError};
use crate::session::Typed;

/// What one channel may have under way; more is only sent once it has been taken. All of it has to come before a report can.
const WINDOW: u32 = 2 << 20;

/// Bytes of one packet.
const PACKET: u32 = 32 << 10;

/// Packets of one channel that wait at most to be taken.
const PACKETS: usize = 16;

/// Keepalives that may stay without an answer; together with the one that is due they fill the time that the settings give.
const KEEPALIVES: u8 = 2;

/// A host that is believed, to which nothing has been proved yet.
pub(crate) struct Met {
    handle: Handle<Watch>,
    /// The fingerprint of its key.
    pub(crate) fingerprint: String,
    /// Its key is recorded.
    pub(crate) known: bool,
    shown: Shown,
    /// By way of whom, in the order from here.
    hops: Vec<Hop>,
}

/// A host on the way to another, which we have logged in to.
struct Hop {
    handle: Handle<Watch>,
    place: String,
    fingerprint: String,
}

/// A connection as a user of the host.
pub(crate) struct Connection {
    handle: Handle<Watch>,
    hops: Vec<Hop>,
    place: String,
}

/// Looks at the host's key.
pub(crate) struct Watch {
    known: KnownHosts,
    host: String,
    port: u16,
    accepts_new: bool,
    seen: Arc<Mutex<Option<(Answer, Shown)>>>,
}

impl client::Handler for Watch {
    type Error = russh::Error;

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        let shown = match key {
            PublicKeyOrCertificate::PublicKey { key, .. } => Shown::Key(key.clone()),
            PublicKeyOrCertificate::Certificate(certificate) => Shown::Certificate(Box::new(certificate.clone())),
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let answer = self.known.decide(&self.host, self.port, &shown, now);
        let believed = match answer {
            Answer::Known => true,
            Answer::Unknown => self.accepts_new,
            Answer::Changed(_) | Answer::Revoked(_) => false,
        };
        // The library has one error for all that is refused here.
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some((answer, shown));
        Ok(believed)
    }
}

impl Met {
    /// Connects to a host and looks at its key, by way of those that the target names: to them we have to prove who we are.
    ///
    /// # Errors
    /// If one of them cannot be reached in time, does not speak SSH, is not believed, accepts nothing that we have, or does not lead on.
    pub(crate) async fn meet(target: &SshTarget) -> Result<Self, TargetError> {
        let mut hops: Vec<Hop> = Vec::new();
        for host in &target.jumps {
            // Policy has no word about its key: it has to be known.
            let known = SshTarget { dangerous_accept_new_host_key: false, ..host.clone() };
            let Self { mut handle, fingerprint, .. } = in_time(host, meet(&known, hops.last())).await?;
            let place = host.place();
            in_time(host, auth::prove(&mut handle, host, &place)).await?;
            hops.push(Hop { handle, place, fingerprint });
        }
        let met = in_time(target, meet(target, hops.last())).await?;
        Ok(Self { hops, ..met })
    }

    /// By way of whom, in the order from here: the place and the fingerprint of its key.
    pub(crate) fn by(&self) -> impl Iterator<Item = String> {
        self.hops.iter().map(|hop| format!("{} {}", hop.place, hop.fingerprint))
    }

    /// Proves who we are. A key that was accepted although it is new is put down first.
    ///
    /// # Errors
    /// If the host accepts nothing that we have.
    pub(crate) async fn enter(mut self, target: &SshTarget) -> Result<Connection, TargetError> {
        let place = target.place();
        if !self.known {
            record(target, &self.shown)?;
        }
        in_time(target, auth::prove(&mut self.handle, target, &place)).await?;
        Ok(Connection { handle: self.handle, hops: self.hops, place })
    }
}

async fn in_time<T>(target: &SshTarget, step: impl Future<Output = Result<T, TargetError>>) -> Result<T, TargetError> {
    let done = tokio::time::timeout(target.timeout, step).await;
    done.unwrap_or_else(|_| Err(TargetError::TimedOut { place: target.place() }))
}

async fn meet(target: &SshTarget, by: Option<&Hop>) -> Result<Met, TargetError> {
    let known = KnownHosts::read(&target.known_hosts)?;
    let place = target.place();
    match by {
        None => look(target, known, connect(target, &place).await?).await,
        Some(hop) => {
            let opened = hop.handle.channel_open_direct_tcpip(&target.host, target.port.into(), "127.0.0.1", 0).await;
            let channel = opened.map_err(|error| TargetError::Way {
                by: hop.place.clone(),
                place,
                why: match error {
                    russh::Error::ChannelOpenFailure(reason) => spelled(reason).to_owned(),
                    error => error.to_string(),
                },
            })?;
            look(target, known, channel.into_stream()).await
        }
    }
}

/// Why a host on the way does not lead on, in words.
fn spelled(reason: ChannelOpenFailure) -> &'static str {
    match reason {
        ChannelOpenFailure::AdministrativelyProhibited => "it may not",
        ChannelOpenFailure::ConnectFailed => "it cannot connect",
        ChannelOpenFailure::UnknownChannelType => "it does not know how",
        _ => "it lacks what it needs",
    }
}

async fn look<S>(target: &SshTarget, known: KnownHosts, stream: S) -> Result<Met, TargetError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (place, (called, at)) = (target.place(), target.known_as());
    let certificates = if known.has_authority(called, at) { host_key::preferred(&[]) } else { Vec::new() };
    let mut ciphers = vec![cipher::AES_256_GCM];
    let defaults = Preferred::default();
    ciphers.extend(defaults.cipher.iter().filter(|name| **name != cipher::AES_256_GCM));
    let config = client::Config {
        window_size: WINDOW,
        maximum_packet_size: PACKET,
        channel_buffer_size: PACKETS,
        nodelay: true,
        keepalive_interval: Some(target.keepalive / u32::from(KEEPALIVES + 2)),
        keepalive_max: usize::from(KEEPALIVES),
        preferred: Preferred {
            key: Cow::Owned(host_key::preferred(&known.algorithms(called, at))),
            host_key_certificates: Cow::Owned(certificates),
            cipher: Cow::Owned(ciphers),
            ..defaults
        },
        ..client::Config::default()
    };
    let seen = Arc::new(Mutex::new(None));
    let watch = Watch {
        known,
        host: called.to_owned(),
        port: at,
        accepts_new: target.dangerous_accept_new_host_key,
        seen: Arc::clone(&seen),
    };
    let met = client::connect_stream(Arc::new(config), stream, watch).await;
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (met, seen) {
        (Ok(handle), Some((answer @ (Answer::Known | Answer::Unknown), shown))) => {
            let known = answer == Answer::Known;
            Ok(Met { handle, fingerprint: shown.fingerprint(), known, shown, hops: Vec::new() })
        }
        (_, Some((answer, shown))) if answer != Answer::Known => Err(refused(&place, answer, &shown)),
        (Ok(_), _) => Err(TargetError::Protocol { place, why: "it showed no key".to_owned() }),
        (Err(error), _) => Err(TargetError::Protocol { place, why: error.to_string() }),
    }
}

async fn connect(target: &SshTarget, place: &str) -> Result<TcpStream, TargetError> {
    let found = tokio::net::lookup_host((target.host.as_str(), target.port)).await;
    let mut last = None;
    for address in found.map_err(|source| TargetError::NoAddress { host: target.host.clone(), source })? {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // Small writes are what a session consists of; without it they only take longer.
                let _slower = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => last = Some(error),
        }
    }
    let place = place.to_owned();
    Err(match last {
        Some(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => TargetError::Refused { place },
        Some(error) if error.kind() == std::io::ErrorKind::TimedOut => TargetError::TimedOut { place },
        last => TargetError::Unreachable { place, source: last.unwrap_or_else(|| std::io::ErrorKind::NotFound.into()) },
    })
}

fn refused(place: &str, answer: Answer, shown: &Shown) -> TargetError {
    let (place, fingerprint) = (place.to_owned(), shown.fingerprint());
    match answer {
        Answer::Known | Answer::Unknown => TargetError::UnknownHostKey { place, fingerprint },
        Answer::Changed(line) => {
            let recorded =
                if line.fingerprint.is_empty() { "another kind of key".to_owned() } else { line.fingerprint };
            TargetError::HostKeyChanged { place, shown: fingerprint, recorded, file: line.file, line: line.line }
        }
        Answer::Revoked(line) => {
            TargetError::HostKeyRevoked { place, shown: fingerprint, file: line.file, line: line.line }
        }
    }
}

/// Puts a new key down, in one write.
fn record(target: &SshTarget, shown: &Shown) -> Result<(), TargetError> {
    let Some(file) = target.known_hosts.first() else { return Ok(()) };
    let Shown::Key(key) = shown else { return Ok(()) };
    let failed = |source| TargetError::CannotRecord { file: file.clone(), source };
    let mut key = key.clone();
    key.set_comment("");
    let key = key.to_openssh().map_err(|_| failed(std::io::ErrorKind::InvalidData.into()))?;
    let (host, port) = target.known_as();
    let host = host.to_ascii_lowercase();
    let name = if port == 22 { host } else { format!("[{host}]:{port}") };
    let line = format!("{}{name} {}\n", if ends_in_line(file) { "" } else { "\n" }, key.trim_end());
    let mut options = std::fs::File::options();
    let mut file = options.append(true).create(true).open(file).map_err(failed)?;
    file.write_all(line.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
}

fn ends_in_line(file: &Path) -> bool {
    std::fs::read(file).map_or(true, |text| text.last().is_none_or(|last| *last == b'\n'))
}

impl Connection {
    /// Starts a shell.
    ///
    /// # Errors
    /// If the host starts no program.
    pub(crate) async fn shell(&self, language: Language, purpose: Purpose<'_>) -> Result<Wire, TargetError> {
        let words = language.words(purpose).into_iter().map(|word| {
            let is_plain = word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
            if is_plain { word.to_owned() } else { format!("'{word}'") }
        });
        let variables = language.variables(purpose);
        let env = if variables.is_empty() { None } else { Some("env".to_owned()) };
        // The user's login shell reads this line, whichever it is.
        let line: Vec<String> = ["exec".to_owned()].into_iter().chain(env).chain(variables).chain(words).collect();
        let line = line.join(" ");
        let opened = async {
            let mut channel = self.handle.channel_open_session().await.ok()?;
            channel.exec(true, line).await.ok()?;
            begun(&mut channel).await.then_some(channel)
        };
        let channel = tokio::time::timeout(OPENING, opened).await.ok().flatten().ok_or(TargetError::NoProgram)?;
        let (wire, Far { input, output }) = Wire::new();
        let (read, write) = channel.split();
        tokio::spawn(take(read, output));
        tokio::spawn(give(write, input));
        Ok(wire)
    }

    /// Ends the connection, and those that led to it.
    pub(crate) async fn close(&self) {
        let handles = std::iter::once(&self.handle).chain(self.hops.iter().rev().map(|hop| &hop.handle));
        for handle in handles {
            let _gone = handle.disconnect(Disconnect::ByApplication, "", "").await;
        }
    }
}

/// How long a host may take to start a program.
const OPENING: Duration = Duration::from_secs(10);

/// Gives the program its input, as long as it takes any, and hangs up behind that.
async fn give(write: ChannelWriteHalf<client::Msg>, mut input: mpsc::Receiver<Typed>) {
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

/// Whether the program has been started. What it says comes behind that.
async fn begun(channel: &mut Channel<client::Msg>) -> bool {
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
        formatter.debug_struct("Connection").field("place", &self.place).finish_non_exhaustive()
    }
}
