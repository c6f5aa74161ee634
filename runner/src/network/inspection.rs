//! TLS inspection: what lets the proxy see each request that an agent's own copy of an installer makes of a registry.
//!
//! `pip` of a virtual environment is a file of the workspace, and a tunnel would let it say anything to the registry: it could publish
//! what it has read. So it gets no tunnel. The proxy takes the registry's place in the TLS session, passes on a request that only
//! fetches (`http::Fetch::fetches`), and speaks TLS to the registry itself.
//!
//! The certificates for that are signed by an authority of Palisade's that exists for nothing else. Its key lies in a directory that no
//! session can read. Sessions are told of its certificate in one variable, `PIP_CERT`, beside those that the machine trusts; no other
//! program of the machine trusts it.
//!
//! Not decided here: who gets such a connection (`network::Proxy`), and what a request may say (`http.rs`).

use std::collections::HashMap;
use std::fmt;
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Error, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use zeroize::Zeroizing;

/// The authority's key, and the certificates that sessions are told to trust.
const KEY: &str = "key.pem";
const BUNDLE: &str = "certificates.crt";

/// Where systems keep the certificates that they trust: Debian, Fedora, Alpine.
const SYSTEM: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Certificates of hosts that are kept. An operator names few registries.
const MAX_HOSTS: usize = 256;

/// The authority of one user, and what the machine trusts.
pub struct Inspector {
    authority: Issuer<'static, KeyPair>,
    bundle: PathBuf,
    client: Arc<ClientConfig>,
    servers: Mutex<HashMap<String, Arc<ServerConfig>>>,
}

impl Inspector {
    /// The one whose key lies in this directory. Both are made if they are not there. Registries are believed by the certificates in
    /// `trusted`, or else by those that `SSL_CERT_FILE` names or the system trusts.
    ///
    /// # Errors
    /// The directory cannot be written or read by others, or no certificates are found.
    pub fn open(directory: &Path, trusted: Option<&Path>) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let about = fs::symlink_metadata(directory)?;
        if !about.is_dir() || about.permissions().mode() & 0o077 != 0 {
            return Err(Error::new(
                io::ErrorKind::PermissionDenied,
                "the directory of the authority is open to others",
            ));
        }
        let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
        let system = named.into_iter().chain(SYSTEM.map(PathBuf::from)).find(|path| path.is_file());
        let trusted = trusted.map(Path::to_owned).or(system).ok_or(io::ErrorKind::NotFound)?;
        let trusted = fs::read(trusted)?;
        let mut roots = RootCertStore::empty();
        // A certificate that cannot be read is left out, and its registries are not believed.
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&trusted).flatten());
        let client = ClientConfig::builder_with_provider(Arc::new(default_provider()));
        let client = client.with_safe_default_protocol_versions().map_err(Error::other)?;
        let client = client.with_root_certificates(roots).with_no_client_auth();
        let is_first = !directory.join(KEY).exists();
        let key = key(&directory.join(KEY))?;
        let own = params().self_signed(&key).map_err(Error::other)?;
        let bundle = directory.join(BUNDLE);
        // The key makes the certificate: one that was signed earlier says the same.
        let holds_both = |there: Vec<u8>| there.starts_with(&trusted) && there.len() > trusted.len();
        if is_first || !fs::read(&bundle).is_ok_and(holds_both) {
            let text = [&trusted, b"\n".as_slice(), own.pem().as_bytes()].concat();
            put(&bundle, &text, 0o644)?;
        }
        let authority = Issuer::new(params(), key);
        Ok(Self { authority, bundle, client: Arc::new(client), servers: Mutex::default() })
    }

    /// The certificates that a session's programs are to trust, in PEM.
    #[must_use]
    pub fn bundle(&self) -> &Path {
        &self.bundle
    }

    /// What speaks TLS to a program in this host's place.
    pub(super) fn acceptor(&self, host: &str) -> io::Result<TlsAcceptor> {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = servers.get(host) {
            return Ok(TlsAcceptor::from(Arc::clone(known)));
        }
        let mut params = CertificateParams::new([host.to_owned()]).map_err(Error::other)?;
        params.distinguished_name = name(host);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().map_err(Error::other)?;
        let certificate = params.signed_by(&key, &self.authority).map_err(Error::other)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let server = ServerConfig::builder_with_provider(Arc::new(default_provider()));
        let server = server.with_safe_default_protocol_versions().map_err(Error::other)?;
        let server = server.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key);
        let server = Arc::new(server.map_err(Error::other)?);
        if servers.len() >= MAX_HOSTS {
            servers.clear();
        }
        servers.insert(host.to_owned(), Arc::clone(&server));
        Ok(TlsAcceptor::from(server))
    }

    /// What speaks TLS to the host itself, and its name there.
    pub(super) fn connector(&self, host: &str) -> io::Result<(TlsConnector, ServerName<'static>)> {
        let name = ServerName::try_from(host.to_owned()).map_err(Error::other)?;
        Ok((TlsConnector::from(Arc::clone(&self.client)), name))
    }
}

impl fmt::Debug for Inspector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Inspector").finish_non_exhaustive()
    }
}

/// The authority's certificate, but for its key.
fn params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = name("Palisade, registries as own code reads them");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

/// The key in this file; a new one if there is none. Of two processes that make one at once, both get the first.
fn key(path: &Path) -> io::Result<KeyPair> {
    if !path.exists() {
        let text = Zeroizing::new(KeyPair::generate().map_err(Error::other)?.serialize_pem());
        put_first(path, text.as_bytes())?;
    }
    let text = Zeroizing::new(fs::read_to_string(path)?);
    KeyPair::from_pem(&text).map_err(Error::other)
}

/// Puts a file in place as a whole, for the user alone, unless there is one.
fn put_first(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = drafted(path, bytes, 0o600)?;
    let put = match fs::hard_link(&draft, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        put => put,
    };
    fs::remove_file(&draft)?;
    put
}

/// Puts a file in place as a whole.
fn put(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let draft = drafted(path, bytes, mode)?;
    fs::rename(draft, path)
}

fn drafted(path: &Path, bytes: &[u8], mode: u32) -> io::Result<PathBuf> {
    let draft = path.with_extension(format!("{}.draft", std::process::id()));
    let _stale = fs::remove_file(&draft);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&draft)?;
    file.write_all(bytes)?;
    fs::set_permissions(&draft, Permissions::from_mode(mode))?;
    Ok(draft)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    fn trusted(directory: &Path) -> PathBuf {
        let key = KeyPair::generate().unwrap();
        let path = directory.join("trusted.pem");
        fs::write(&path, params().self_signed(&key).unwrap().pem()).unwrap();
        path
    }

    #[tokio::test]
    async fn who_trusts_the_bundle_believes_the_proxy() {
        let directory = tempfile::tempdir().unwrap();
        let trusted = trusted(directory.path());
        let place = directory.path().join("authority");
        let lost = Inspector::open(&place, Some(&trusted)).unwrap();
        assert!(lost.bundle().is_file());
        fs::remove_file(place.join(KEY)).unwrap();
        let first = Inspector::open(&place, Some(&trusted)).unwrap();
        // A later server of the same user signs for the same authority.
        let later = Inspector::open(&place, Some(&trusted)).unwrap();
        assert_eq!(fs::metadata(place.join(KEY)).unwrap().permissions().mode() & 0o777, 0o600);

        let bundle = fs::read(first.bundle()).unwrap();
        let mut roots = RootCertStore::empty();
        assert_eq!(roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&bundle).flatten()), (2, 0));
        let client = ClientConfig::builder_with_provider(Arc::new(default_provider()));
        let client = client.with_safe_default_protocol_versions().unwrap();
        let client = TlsConnector::from(Arc::new(client.with_root_certificates(roots).with_no_client_auth()));
        for host in ["pypi.example", "10.0.0.1"] {
            let (near, far) = tokio::io::duplex(1 << 16);
            let acceptor = later.acceptor(host).unwrap();
            let served = tokio::spawn(async move { acceptor.accept(far).await.unwrap().write_all(b"hello").await });
            let name = ServerName::try_from(host).unwrap();
            let mut stream = client.connect(name, near).await.unwrap();
            let mut said = [0; 5];
            stream.read_exact(&mut said).await.unwrap();
            assert_eq!(&said, b"hello", "{host}");
            served.await.unwrap().unwrap();
        }
    }

    #[test]
    fn a_directory_that_others_can_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let trusted = trusted(directory.path());
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
        assert!(Inspector::open(directory.path(), Some(&trusted)).is_err());
    }

    #[test]
    fn what_the_machine_trusts_now_is_in_the_bundle() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("authority");
        for _ in 0..2 {
            let trusted = trusted(directory.path());
            let inspector = Inspector::open(&place, Some(&trusted)).unwrap();
            let bundle = fs::read(inspector.bundle()).unwrap();
            assert!(bundle.starts_with(&fs::read(&trusted).unwrap()));
        }
    }
}
