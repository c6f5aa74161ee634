//! Proves to a host who we are, with what the operator's settings name and nothing else.
//!
//! A key comes before an agent's keys, and those before a password. What was tried is told if nothing is accepted; what it was that was
//! tried with is not.

use std::sync::Arc;

use russh::MethodSet;
use russh::client::{AuthResult, Handle};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{HashAlg, PrivateKeyWithHashAlg, PublicKey, load_openssh_certificate, load_secret_key};

use super::Watch;
use crate::transport::target::{SshTarget, TargetError};

/// Keys of an agent that are tried; a host that is asked more often hangs up (sshd_config(5), MaxAuthTries).
const AGENT_KEYS: usize = 4;

/// What was tried, and what the host takes.
#[derive(Default)]
struct Attempts {
    tried: Vec<String>,
    takes: Option<MethodSet>,
}

impl Attempts {
    /// Whether that was it.
    fn was_it(&mut self, what: String, result: AuthResult) -> bool {
        match result {
            AuthResult::Success => true,
            AuthResult::Failure { remaining_methods, partial_success } => {
                let half = if partial_success { ", accepted as one of several" } else { "" };
                self.tried.push(format!("{what}{half}"));
                self.takes = Some(remaining_methods);
                false
            }
        }
    }

    fn failed(self, target: &SshTarget, place: &str) -> TargetError {
        let takes: Vec<&str> = self.takes.iter().flat_map(|methods| methods.iter()).map(<&'static str>::from).collect();
        let or_nothing = |list: String| if list.is_empty() { "nothing".to_owned() } else { list };
        TargetError::Authentication {
            place: place.to_owned(),
            user: target.user.clone(),
            tried: or_nothing(self.tried.join(", ")),
            takes: or_nothing(takes.join(", ")),
        }
    }
}

/// Tries what there is, in order.
///
/// # Errors
/// If nothing is accepted, or something that the settings name cannot be used.
pub(super) async fn prove(handle: &mut Handle<Watch>, target: &SshTarget, place: &str) -> Result<(), TargetError> {
    let mut attempts = Attempts::default();
    let spoken = |error: russh::Error| TargetError::Protocol { place: place.to_owned(), why: error.to_string() };
    if let Some(file) = &target.identity {
        let bad = |file: &std::path::Path, why: String| TargetError::Key { file: file.to_owned(), why };
        let passphrase = target.passphrase.as_ref().map(|source| source.read()).transpose()?;
        let key = load_secret_key(file, passphrase.as_ref().map(|text| text.as_str()))
            .map_err(|error| bad(file, error.to_string()))?;
        let key = Arc::new(key);
        let name = format!("the key `{}`", file.display());
        let result = match &target.certificate {
            Some(certificate) => {
                let read =
                    load_openssh_certificate(certificate).map_err(|error| bad(certificate, error.to_string()))?;
                handle.authenticate_openssh_cert(target.user.clone(), key, read).await.map_err(spoken)?
            }
            None => {
                let hash = hash(handle, key.public_key()).await.map_err(spoken)?;
                let key = PrivateKeyWithHashAlg::new(key, hash);
                handle.authenticate_publickey(target.user.clone(), key).await.map_err(spoken)?
            }
        };
        if attempts.was_it(name, result) {
            return Ok(());
        }
    }
    if let Some(socket) = &target.agent {
        let bad = |why: String| TargetError::Key { file: socket.clone(), why };
        let mut agent = AgentClient::connect_uds(socket).await.map_err(|error| bad(error.to_string()))?;
        let identities = agent.request_identities().await.map_err(|error| bad(error.to_string()))?;
        for identity in identities.into_iter().take(AGENT_KEYS) {
            let AgentIdentity::PublicKey { key, .. } = identity else { continue };
            let name = format!("the agent's key {}", key.fingerprint(HashAlg::Sha256));
            let hash = hash(handle, &key).await.map_err(spoken)?;
            let result = handle.authenticate_publickey_with(target.user.clone(), key, hash, &mut agent).await;
            let result = result.map_err(|error| bad(error.to_string()))?;
            if attempts.was_it(name, result) {
                return Ok(());
            }
        }
    }
    if let Some(source) = &target.password {
        let password = source.read()?;
        let result = handle.authenticate_password(target.user.clone(), password.as_str()).await.map_err(spoken)?;
        if attempts.was_it("the password".to_owned(), result) {
            return Ok(());
        }
    }
    if attempts.tried.is_empty()
        && let AuthResult::Failure { remaining_methods, .. } =
            handle.authenticate_none(target.user.clone()).await.map_err(spoken)?
    {
        attempts.takes = Some(remaining_methods);
    }
    Err(attempts.failed(target, place))
}

/// With what an RSA key signs; SHA-1 never.
async fn hash(handle: &Handle<Watch>, key: &PublicKey) -> Result<Option<HashAlg>, russh::Error> {
    if !key.algorithm().is_rsa() {
        return Ok(None);
    }
    Ok(handle.best_supported_rsa_hash().await?.flatten().or(Some(HashAlg::Sha256)))
}
