//! Sockets and connections: how many there are, how long each step may take, and how they end.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::fs::{CWD, RenameFlags};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::access::PeerCredentials;
use super::auth_log::somebody_at;
use super::config::{Address, HttpConfigError};
use super::limits::{HEAD, MAX_HEAD, MAX_LINES};
use super::seats::{ConnectionOrigin, Seat, Seats};
use super::service::Service;
use super::strict::Strict;
use super::tls;

/// How long answers that are under way may take once the server is told to stop. What runs has been told before.
const DRAIN: Duration = Duration::from_millis(800);

/// How long an answer may lie there that its client does not take.
const TAKEN: Duration = Duration::from_secs(60);

/// A socket that takes connections. One in the file system is gone from there when this is dropped.
pub(super) enum Listener {
    Tcp(TcpListener, SocketAddr),
    Unix(UnixListener, #[expect(dead_code, reason = "held for its end")] SocketFile),
}

/// A socket's name in the file system.
pub(super) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _gone_already = std::fs::remove_file(&self.0);
    }
}

impl Listener {
    /// Listens there. Needs a tokio runtime.
    ///
    /// # Errors
    /// If the system refuses, or somebody listens there already.
    pub(super) async fn open(address: &Address, for_all: bool) -> Result<Self, HttpConfigError> {
        match address {
            Address::Tcp(address) => {
                let failed = |source| HttpConfigError::Listen { place: address.to_string(), source };
                let listener = TcpListener::bind(address).await.map_err(failed)?;
                let address = listener.local_addr().map_err(failed)?;
                Ok(Self::Tcp(listener, address))
            }
            Address::Unix(path) => {
                let (listener, own) = unix(path, for_all)?;
                Ok(Self::Unix(listener, own))
            }
        }
    }
}

/// A socket in the file system, for its own user, or for all.
pub(super) fn unix(path: &Path, for_all: bool) -> Result<(UnixListener, SocketFile), HttpConfigError> {
    let failed = |source| HttpConfigError::Listen { place: path.display().to_string(), source };
    let is_dead = || {
        let is_socket = std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
        let refused = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
        is_socket && std::os::unix::net::UnixStream::connect(path).is_err_and(|error| refused(&error))
    };
    if is_dead() {
        std::fs::remove_file(path).map_err(failed)?;
    }
    // Nobody connects before the mode is right: what is not named yet cannot be found.
    let mut unready = path.as_os_str().to_owned();
    unready.push(format!(".{}", std::process::id()));
    let unready = SocketFile(unready.into());
    let listener = UnixListener::bind(&unready.0).map_err(failed)?;
    let mode = if for_all { 0o666 } else { 0o600 };
    std::fs::set_permissions(&unready.0, std::fs::Permissions::from_mode(mode)).map_err(failed)?;
    // No name is taken from another.
    rustix::fs::renameat_with(CWD, &unready.0, CWD, path, RenameFlags::NOREPLACE)
        .map_err(|error| failed(error.into()))?;
    Ok((listener, SocketFile(path.to_owned())))
}

/// Serves connections until `stopping` holds true, then those that are open for a moment longer.
pub(super) async fn serve(
    listener: &Listener,
    tls: Option<&TlsAcceptor>,
    service: &Arc<Service>,
    max: usize,
    stopping: watch::Receiver<bool>,
) {
    let seats = Seats::new(max);
    let mut connections = JoinSet::new();
    let stop = told(stopping.clone());
    tokio::pin!(stop);
    loop {
        while connections.try_join_next().is_some() {}
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        let accepted = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "no connection can be taken");
                // Out of descriptors, most likely: they come back.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Some(waiting) = seats.wait(accepted.origin()) else { continue };
        let (service, tls, stopping) = (Arc::clone(service), tls.cloned(), stopping.clone());
        connections.spawn(async move {
            let (seat, put_out) = waiting.seat().await;
            let _open = service.counts.opened();
            tokio::select! {
                () = accepted.attend(tls, &service, seat, stopping) => {}
                _for_another = put_out => {}
            }
        });
    }
    let all = async { while connections.join_next().await.is_some() {} };
    let _the_rest_is_cut_off = tokio::time::timeout(DRAIN, all).await;
    service.auth_log.close().await;
}

/// Done once the server is told to stop.
async fn told(mut stopping: watch::Receiver<bool>) {
    let _or_nobody_could_tell = stopping.wait_for(|stop| *stop).await;
}

enum Accepted {
    Tcp(tokio::net::TcpStream, SocketAddr),
    Unix(tokio::net::UnixStream, Option<u32>),
}

impl Accepted {
    fn origin(&self) -> ConnectionOrigin {
        match self {
            Self::Tcp(_, address) => ConnectionOrigin::of(*address),
            Self::Unix(_, uid) => ConnectionOrigin::User(*uid),
        }
    }

    /// Serves the requests of this connection, after the TLS handshake if there is one.
    async fn attend(
        self,
        tls: Option<TlsAcceptor>,
        service: &Arc<Service>,
        seat: Seat,
        stopping: watch::Receiver<bool>,
    ) {
        match (self, tls) {
            (Self::Tcp(stream, address), None) => attend(stream, service, seat, somebody_at(address), stopping).await,
            (Self::Tcp(stream, address), Some(tls)) => {
                let peer = somebody_at(address);
                match tokio::time::timeout(HEAD, tls.accept(stream)).await {
                    Ok(Ok(stream)) => {
                        let peer = PeerCredentials { names: tls::names(stream.get_ref().1), ..peer };
                        attend(stream, service, seat, peer, stopping).await;
                    }
                    Ok(Err(_)) => service.auth_log.turned_away("the TLS handshake failed", &peer).await,
                    Err(_) => {}
                }
            }
            (Self::Unix(stream, uid), _) => {
                attend(stream, service, seat, PeerCredentials { uid, ..PeerCredentials::default() }, stopping).await;
            }
        }
    }
}

impl Listener {
    async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener, _) => {
                let (stream, address) = listener.accept().await?;
                impatient(&stream)?;
                Ok(Accepted::Tcp(stream, address))
            }
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                let uid = stream.peer_cred().ok().map(|peer| peer.uid());
                Ok(Accepted::Unix(stream, uid))
            }
        }
    }
}

/// Whoever takes nothing of an answer for that long is cut off, and so is one who has vanished from the network: else a place would
/// be theirs for ever. Short answers do not wait for longer ones.
fn impatient(stream: &tokio::net::TcpStream) -> io::Result<()> {
    let most = u32::try_from(TAKEN.as_millis()).unwrap_or(u32::MAX);
    rustix::net::sockopt::set_tcp_user_timeout(stream, most)?;
    stream.set_nodelay(true)
}

/// Answers the requests of one connection, one after the other. When its other end is gone, whatever it still waits for is dropped.
async fn attend<S>(
    stream: S,
    service: &Arc<Service>,
    seat: Seat,
    peer: PeerCredentials,
    stopping: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let at = Arc::new((peer, seat));
    let service = service_fn(|request| {
        let (service, at) = (Arc::clone(service), Arc::clone(&at));
        async move { service.answer(request, &at.0, &at.1).await }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD).max_headers(MAX_LINES).max_buf_size(MAX_HEAD);
    let connection = server.serve_connection(TokioIo::new(Strict::new(stream)), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = told(stopping) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        // Of no interest but to somebody who looks for a fault; it tells nothing of what was sent.
        tracing::debug!(%error, "a connection was broken off");
    }
}

#[cfg(test)]
#[expect(clippy::unreachable, clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_client_that_takes_no_answer_is_not_waited_for_for_ever() {
        let address = Address::Tcp(([127, 0, 0, 1], 0).into());
        let listener = Listener::open(&address, false).await.unwrap();
        let Listener::Tcp(_, place) = &listener else { unreachable!() };
        let client = tokio::net::TcpStream::connect(place);
        let (_client, accepted) = tokio::join!(client, listener.accept());
        let Accepted::Tcp(stream, _) = accepted.unwrap() else { unreachable!() };
        assert_eq!(rustix::net::sockopt::tcp_user_timeout(&stream).unwrap(), 60_000);
    }

    #[tokio::test]
    async fn a_socket_takes_the_place_of_a_dead_one_and_of_no_other() {
        let directory = std::env::temp_dir().join(format!("palisade-listen-{}", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        let path = directory.join("socket");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let first = unix(&path, false).unwrap();
        assert!(matches!(unix(&path, false), Err(HttpConfigError::Listen { .. })));
        drop(first);
        assert!(!path.exists());
        std::fs::write(&path, "a file").unwrap();
        assert!(unix(&path, false).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a file");
        std::fs::remove_dir_all(directory).unwrap();
    }
}
