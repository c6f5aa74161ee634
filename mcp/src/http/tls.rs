//! Transport security: the server's certificate, and what a client's proves.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, ServerConnection};

use super::config::{HttpConfigError, Tls};

/// What speaks TLS on connections. Clients need no certificate for the handshake: what one proves is `access.rs`'s to say.
///
/// # Errors
/// If a file cannot be used.
pub(super) fn acceptor(files: &Tls) -> Result<TlsAcceptor, HttpConfigError> {
    let certificates = certificates("`serve.tls.certificate`", &files.certificate)?;
    let key_failed = |why: &dyn std::fmt::Display| HttpConfigError::file("`serve.tls.key`", &files.key, why);
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| key_failed(&error))?;
    let provider = Arc::new(default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| key_failed(&error))?;
    let builder = match &files.clients {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let failed = |why: &dyn std::fmt::Display| HttpConfigError::file("`serve.tls.clients`", path, why);
            let mut roots = RootCertStore::empty();
            for certificate in self::certificates("`serve.tls.clients`", path)? {
                roots.add(certificate).map_err(|error| failed(&error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = verifier.allow_unauthenticated().build().map_err(|error| failed(&error))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_single_cert(certificates, key).map_err(|error| key_failed(&error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, HttpConfigError> {
    let all = CertificateDer::pem_file_iter(path).map_err(|error| HttpConfigError::file(what, path, error))?;
    let all: Result<Vec<_>, _> = all.collect();
    let all = all.map_err(|error| HttpConfigError::file(what, path, error))?;
    if all.is_empty() { Err(HttpConfigError::file(what, path, "it holds no certificate")) } else { Ok(all) }
}

/// The URIs among the names in the certificate that a client showed: the handshake has checked it.
pub(super) fn names(connection: &ServerConnection) -> Vec<String> {
    let shown = connection.peer_certificates().and_then(|chain| chain.first());
    let certificate = shown.and_then(|shown| webpki::EndEntityCert::try_from(shown).ok());
    certificate.map(|certificate| certificate.valid_uri_names().map(str::to_owned).collect()).unwrap_or_default()
}
