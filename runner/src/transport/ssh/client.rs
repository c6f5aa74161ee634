//! Connections over SSH: made, believed, and used to start shells.
//!
//! This file decides in what order things happen: nothing is proved to a host before `host_key.rs` has believed it and policy has
//! permitted it. A host on the way to another is believed and logged in to before the next one is even looked at, and leads on to that
//! one and nowhere else. The key exchange, ciphers and packets are russh's.

use std::borrow::Cow;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use russh::client::{self, Handle};
use russh::keys::PublicKeyOrCertificate;
use russh::{ChannelOpenFailure, Preferred, cipher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::auth;
use super::connection::{Connection, Line};
use super::host_key::{self, HostKeyMatch, KnownHosts, Shown};
use crate::target::{SshTarget, TargetError};
use crate::transport::start_limit::{RemotePhase, Turn};

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
    /// For as long as the host waits for us to say who we are.
    _turn: Turn,
}

/// A host on the way to another, which we have logged in to.
pub(super) struct Hop {
    pub(super) handle: Handle<Watch>,
    place: String,
    fingerprint: String,
}

/// Looks at the host's key.
pub(crate) struct Watch {
    known: KnownHosts,
    host: String,
    port: u16,
    accepts_new: bool,
    seen: Arc<Mutex<Option<(HostKeyMatch, Shown)>>>,
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
            HostKeyMatch::Known => true,
            HostKeyMatch::Unknown => self.accepts_new,
            HostKeyMatch::Changed(_) | HostKeyMatch::Revoked(_) => false,
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
            let turn = Turn::take(RemotePhase::Login, host.place()).await?;
            let Self { mut handle, fingerprint, .. } = in_time(host, meet(&known, hops.last(), turn)).await?;
            let place = host.place();
            in_time(host, auth::prove(&mut handle, host, &place)).await?;
            hops.push(Hop { handle, place, fingerprint });
        }
        let turn = Turn::take(RemotePhase::Login, target.place()).await?;
        let met = in_time(target, meet(target, hops.last(), turn)).await?;
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
    pub(crate) async fn enter(self, target: &SshTarget) -> Result<Connection, TargetError> {
        if !self.known {
            record(target, &self.shown)?;
        }
        let (fingerprint, by) = (self.fingerprint.clone(), self.by().collect());
        let line = self.log_in(target).await?;
        Ok(Connection::new(target, fingerprint, by, line))
    }

    pub(super) async fn log_in(mut self, target: &SshTarget) -> Result<Line, TargetError> {
        in_time(target, auth::prove(&mut self.handle, target, &target.place())).await?;
        Ok(Line { handle: self.handle, hops: self.hops })
    }
}

async fn in_time<T>(target: &SshTarget, step: impl Future<Output = Result<T, TargetError>>) -> Result<T, TargetError> {
    let done = tokio::time::timeout(target.timeout, step).await;
    done.unwrap_or_else(|_| Err(TargetError::TimedOut { place: target.place() }))
}

async fn meet(target: &SshTarget, by: Option<&Hop>, turn: Turn) -> Result<Met, TargetError> {
    let known = KnownHosts::read(&target.known_hosts)?;
    let place = target.place();
    match by {
        None => look(target, known, connect(target, &place).await?, turn).await,
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
            look(target, known, channel.into_stream(), turn).await
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

async fn look<S>(target: &SshTarget, known: KnownHosts, stream: S, turn: Turn) -> Result<Met, TargetError>
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
        (Ok(handle), Some((answer @ (HostKeyMatch::Known | HostKeyMatch::Unknown), shown))) => {
            let known = answer == HostKeyMatch::Known;
            Ok(Met { handle, fingerprint: shown.fingerprint(), known, shown, hops: Vec::new(), _turn: turn })
        }
        (_, Some((answer, shown))) if answer != HostKeyMatch::Known => Err(refused(&place, answer, &shown)),
        (Ok(_), _) => Err(TargetError::Protocol { place, why: "it showed no key".to_owned() }),
        // It has shown no key by then: so does a server that is asked by too many at once.
        (Err(russh::Error::Disconnect | russh::Error::HUP | russh::Error::IO(_)), None) => {
            Err(TargetError::HungUp { place })
        }
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

fn refused(place: &str, answer: HostKeyMatch, shown: &Shown) -> TargetError {
    let (place, fingerprint) = (place.to_owned(), shown.fingerprint());
    match answer {
        HostKeyMatch::Known | HostKeyMatch::Unknown => TargetError::UnknownHostKey { place, fingerprint },
        HostKeyMatch::Changed(line) => {
            let recorded =
                if line.fingerprint.is_empty() { "another kind of key".to_owned() } else { line.fingerprint };
            TargetError::HostKeyChanged { place, shown: fingerprint, recorded, file: line.file, line: line.line }
        }
        HostKeyMatch::Revoked(line) => {
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
