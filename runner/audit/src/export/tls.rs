//! Transport security to a collector: whose certificates vouch for it, and what this server shows of itself.
//!
//! Decides that a collector is who the operator means: only certificates from a file that the settings name vouch for one, never
//! those that the system trusts, which are hundreds. The name in its certificate has to be the host of its address.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};
use zeroize::Zeroizing;

/// How long a collector has to refuse what it was shown. Without it the refusal would be found in the first records that are lost.
const SECOND_THOUGHTS: Duration = Duration::from_millis(250);

/// Files that the settings name, in PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// Certificates that vouch for the collector.
    pub roots: Option<PathBuf>,
    /// The certificate that this server shows, the ones that vouch for it behind it.
    pub certificate: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
}

/// Why a connection to a collector cannot be secured as the settings say.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Nobody vouches for the collector.
    #[error("`roots` is missing: a file with the certificates, in PEM, that vouch for the collector")]
    NoRoots,
    /// One of two that go together.
    #[error("`certificate` and `key` go together: what this server shows a collector that asks for it")]
    Half,
    /// Files for a connection that is not secured.
    #[error("`{0}` has no use without TLS: `tls://` for syslog, `https://` for OTLP")]
    Unused(&'static str),
    /// A file cannot be used.
    #[error("`{what}`: `{}`: {why}", path.display())]
    File {
        /// Its key in the settings.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
}

/// What is shown and believed on secured connections.
#[derive(Clone)]
pub(super) struct Trust {
    roots: Vec<CertificateDer<'static>>,
    own: Option<ClientCert>,
    /// What speaks TLS with both.
    config: Arc<ClientConfig>,
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust").field("roots", &self.roots.len()).field("own", &self.own.is_some()).finish()
    }
}

impl Trust {
    /// Reads what a collector's address needs: files if it `is_secured`, none if it is not.
    ///
    /// # Errors
    /// If one is missing, has no use, or cannot be used.
    pub(super) fn read(files: &Files, is_secured: bool) -> Result<Option<Self>, TlsError> {
        let Files { roots, certificate, key } = files;
        if !is_secured {
            let named = [("roots", roots), ("certificate", certificate), ("key", key)];
            let unused = named.into_iter().find(|(_, path)| path.is_some());
            return unused.map_or(Ok(None), |(what, _)| Err(TlsError::Unused(what)));
        }
        let path = roots.as_ref().ok_or(TlsError::NoRoots)?;
        let roots = certificates("roots", path)?;
        let mut store = RootCertStore::empty();
        for root in &roots {
            store.add(root.clone()).map_err(|error| failed("roots", path, &error))?;
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder.with_safe_default_protocol_versions().map_err(|error| failed("roots", path, &error))?;
        let builder = builder.with_root_certificates(store);
        let (config, own) = match (certificate, key) {
            (None, None) => (builder.with_no_client_auth(), None),
            (Some(certificate), Some(key)) => {
                let chain = certificates("certificate", certificate)?;
                let text = std::fs::read(key).map(Zeroizing::new).map_err(|error| failed("key", key, &error))?;
                let shown: Vec<Certificate<'static>> = chain.iter().map(for_http).collect();
                let for_http = PrivateKey::from_pem(&text).map_err(|error| failed("key", key, &error))?;
                let read = PrivateKeyDer::from_pem_slice(&text).map_err(|error| failed("key", key, &error))?;
                let config = builder.with_client_auth_cert(chain, read);
                let config = config.map_err(|error| failed("key", key, &error))?;
                (config, Some(ClientCert::new_with_certs(&shown, for_http)))
            }
            (Some(_), None) | (None, Some(_)) => return Err(TlsError::Half),
        };
        Ok(Some(Self { roots, own, config: Arc::new(config) }))
    }

    /// The same for requests over HTTP.
    pub(super) fn for_http(&self) -> TlsConfig {
        let roots: Vec<Certificate<'static>> = self.roots.iter().map(for_http).collect();
        TlsConfig::builder()
            .unversioned_rustls_crypto_provider(Arc::new(default_provider()))
            .root_certs(RootCerts::new_with_certs(&roots))
            .client_cert(self.own.clone())
            .build()
    }

    /// Secures a connection to `address`, a host and a port. The handshake is done when this returns, and the collector has had
    /// time to say no: in TLS 1.3 it looks at a client's certificate only when that takes the handshake for done (RFC 8446 section 4.4.2.4).
    pub(super) fn connect(&self, address: &str, stream: TcpStream) -> io::Result<Secured> {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host).map_err(io::Error::other)?;
        let mut connection = ClientConnection::new(Arc::clone(&self.config), name).map_err(io::Error::other)?;
        let mut stream = stream;
        while connection.is_handshaking() {
            connection.complete_io(&mut stream)?;
        }
        let patience = stream.read_timeout()?;
        stream.set_read_timeout(Some(SECOND_THOUGHTS))?;
        let mut secured = Secured(StreamOwned::new(connection, stream));
        match secured.0.read(&mut [0; 256]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
        secured.0.sock.set_read_timeout(patience)?;
        Ok(secured)
    }
}

fn for_http(certificate: &CertificateDer<'_>) -> Certificate<'static> {
    Certificate::from_der(certificate).to_owned()
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all = CertificateDer::pem_file_iter(path).map_err(|error| failed(what, path, &error))?;
    let all: Vec<_> = all.collect::<Result<_, _>>().map_err(|error| failed(what, path, &error))?;
    if all.is_empty() { Err(failed(what, path, &"it holds no certificate")) } else { Ok(all) }
}

fn failed(what: &'static str, path: &Path, why: &dyn fmt::Display) -> TlsError {
    TlsError::File { what, path: path.to_owned(), why: why.to_string() }
}

/// A secured connection.
pub(super) struct Secured(StreamOwned<ClientConnection, TcpStream>);

impl Secured {
    pub(super) fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)?;
        self.0.flush()
    }

    /// Whether the other end has closed it. What it says is of no interest, but it has to be read: tickets and the notice that it
    /// closes come in turn.
    pub(super) fn is_closed(&mut self) -> io::Result<bool> {
        self.0.sock.set_nonblocking(true)?;
        let closed = loop {
            match self.0.read(&mut [0; 256]) {
                Ok(0) => break Ok(true),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Ok(false),
                Err(error) => break Err(error),
            }
        };
        self.0.sock.set_nonblocking(false)?;
        closed
    }
}
