//! Proves to a host who we are, with what the operator's settings name and nothing else.
//!
//! A key comes before an agent's keys, and those before a password, which also answers the one question that a host may ask for it. What
//! was tried is told if nothing is accepted; what it was that was tried with is not.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::client::{AuthResult, Handle, KeyboardInteractiveAuthResponse};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{
    Certificate, HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey, load_openssh_certificate, load_public_key,
    load_secret_key,
};
use russh::{MethodKind, MethodSet};

use super::client::Watch;
use crate::target::{Identity, SshTarget, TargetError};

/// Keys of an agent that are tried; a host that is asked more often hangs up (sshd_config(5), MaxAuthTries).
const AGENT_KEYS: usize = 4;

/// Questions that a host may ask before it is given up.
const QUESTIONS: usize = 4;

/// What was tried, and what the host takes.
struct Attempts<'a> {
    handle: &'a mut Handle<Watch>,
    target: &'a SshTarget,
    place: &'a str,
    tried: Vec<String>,
    takes: Option<MethodSet>,
    /// The public halves of the user's keys, where they are known.
    own: Vec<PublicKey>,
}

/// Tries what there is, in order.
///
/// # Errors
/// If nothing is accepted, or something that the settings name cannot be used.
pub(super) async fn prove(handle: &mut Handle<Watch>, target: &SshTarget, place: &str) -> Result<(), TargetError> {
    let mut attempts = Attempts { handle, target, place, tried: Vec::new(), takes: None, own: Vec::new() };
    if attempts.keys().await? || attempts.agent().await? || attempts.password().await? {
        return Ok(());
    }
    if attempts.tried.is_empty() || attempts.takes.is_none() {
        let result = attempts.handle.authenticate_none(target.user.clone()).await;
        if let AuthResult::Failure { remaining_methods, .. } = result.map_err(|error| attempts.spoken(&error))? {
            attempts.takes = Some(remaining_methods);
        }
    }
    Err(attempts.failed())
}

impl Attempts<'_> {
    async fn keys(&mut self) -> Result<bool, TargetError> {
        let target = self.target;
        if target.identities.is_empty() {
            return Ok(false);
        }
        let passphrase = target.passphrase.as_ref().map(|source| source.read()).transpose()?;
        for identity in &target.identities {
            let Identity { file, certificate, if_there } = identity;
            let name = format!("the key `{}`", file.display());
            let key = match load_secret_key(file, passphrase.as_ref().map(|text| text.as_str())) {
                Ok(key) => key,
                Err(_) if *if_there && !file.exists() => {
                    // An agent may have it.
                    self.own.extend(public(file));
                    continue;
                }
                Err(error) if *if_there => {
                    self.own.extend(public(file));
                    self.tried.push(format!("{name}, which cannot be used: {error}"));
                    continue;
                }
                Err(error) => return Err(bad(file, &error)),
            };
            self.own.push(key.public_key().clone());
            let key = Arc::new(key);
            let certificates = match certificate {
                Some(certificate) => {
                    vec![load_openssh_certificate(certificate).map_err(|error| bad(certificate, &error))?]
                }
                None if *if_there => self.certificates(file, &key),
                None => Vec::new(),
            };
            for read in certificates {
                let result = self.handle.authenticate_openssh_cert(target.user.clone(), Arc::clone(&key), read).await;
                let result = result.map_err(|error| self.spoken(&error))?;
                if self.was_it(format!("{name} with its certificate"), result) {
                    return Ok(true);
                }
            }
            if certificate.is_none() {
                let hash = self.hash(key.public_key()).await?;
                let key = PrivateKeyWithHashAlg::new(key, hash);
                let result = self.handle.authenticate_publickey(target.user.clone(), key).await;
                let result = result.map_err(|error| self.spoken(&error))?;
                if self.was_it(name, result) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// The certificates for a key, among those that are named and the one beside it.
    fn certificates(&self, file: &Path, key: &PrivateKey) -> Vec<Certificate> {
        let beside = beside(file, "-cert.pub");
        let named = self.target.certificates.iter().chain(std::iter::once(&beside));
        let read = named.filter_map(|file| load_openssh_certificate(file).ok());
        read.filter(|read| read.public_key() == key.public_key().key_data()).collect()
    }

    async fn agent(&mut self) -> Result<bool, TargetError> {
        let target = self.target;
        let Some(socket) = &target.agent else { return Ok(false) };
        let mut agent = AgentClient::connect_uds(socket).await.map_err(|error| bad(socket, &error))?;
        let identities = agent.request_identities().await.map_err(|error| bad(socket, &error))?;
        let keys = identities.into_iter().filter_map(|identity| {
            let AgentIdentity::PublicKey { key, .. } = identity else { return None };
            Some(key)
        });
        let is_named = |key: &PublicKey| self.own.iter().any(|own| own.key_data() == key.key_data());
        let keys: Vec<PublicKey> = keys.filter(|key| !target.identities_only || is_named(key)).collect();
        for key in keys.into_iter().take(AGENT_KEYS) {
            let name = format!("the agent's key {}", key.fingerprint(HashAlg::Sha256));
            let hash = self.hash(&key).await?;
            let result = self.handle.authenticate_publickey_with(target.user.clone(), key, hash, &mut agent).await;
            let result = result.map_err(|error| bad(socket, &error))?;
            if self.was_it(name, result) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn password(&mut self) -> Result<bool, TargetError> {
        let target = self.target;
        let Some(source) = &target.password else { return Ok(false) };
        let password = source.read()?;
        let result = self.handle.authenticate_password(target.user.clone(), password.as_str()).await;
        let result = result.map_err(|error| self.spoken(&error))?;
        if self.was_it("the password".to_owned(), result) {
            return Ok(true);
        }
        let asks = self.takes.as_ref().is_some_and(|takes| takes.contains(&MethodKind::KeyboardInteractive));
        if asks { self.answer(&password).await } else { Ok(false) }
    }

    /// Answers a host that asks for the password in a question of its own. To anything else that it asks there is no answer.
    async fn answer(&mut self, password: &str) -> Result<bool, TargetError> {
        let started = self.handle.authenticate_keyboard_interactive_start(self.target.user.clone(), None).await;
        let mut asked = started.map_err(|error| self.spoken(&error))?;
        let (mut answered, name) = (false, "the password as an answer");
        for _ in 0..QUESTIONS {
            let answers = match asked {
                KeyboardInteractiveAuthResponse::Success => return Ok(true),
                KeyboardInteractiveAuthResponse::Failure { remaining_methods, partial_success } => {
                    let result = AuthResult::Failure { remaining_methods, partial_success };
                    return Ok(self.was_it(name.to_owned(), result));
                }
                KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } => match prompts.as_slice() {
                    [] => Vec::new(),
                    // What is shown while it is typed is not meant to be one.
                    [prompt] if !prompt.echo && !answered => {
                        answered = true;
                        vec![password.to_owned()]
                    }
                    _ => break,
                },
            };
            let answered = self.handle.authenticate_keyboard_interactive_respond(answers).await;
            asked = answered.map_err(|error| self.spoken(&error))?;
        }
        self.tried.push(format!("{name}, but it asks for more than that"));
        Ok(false)
    }

    /// With what an RSA key signs; SHA-1 never.
    async fn hash(&self, key: &PublicKey) -> Result<Option<HashAlg>, TargetError> {
        if !key.algorithm().is_rsa() {
            return Ok(None);
        }
        let best = self.handle.best_supported_rsa_hash().await.map_err(|error| self.spoken(&error))?;
        Ok(best.flatten().or(Some(HashAlg::Sha256)))
    }

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

    fn spoken(&self, error: &russh::Error) -> TargetError {
        TargetError::Protocol { place: self.place.to_owned(), why: error.to_string() }
    }

    fn failed(self) -> TargetError {
        let takes: Vec<&str> = self.takes.iter().flat_map(|methods| methods.iter()).map(<&'static str>::from).collect();
        let or_nothing = |list: String| if list.is_empty() { "nothing".to_owned() } else { list };
        TargetError::Authentication {
            place: self.place.to_owned(),
            user: self.target.user.clone(),
            tried: or_nothing(self.tried.join(", ")),
            takes: or_nothing(takes.join(", ")),
        }
    }
}

fn bad(file: &Path, why: &dyn std::fmt::Display) -> TargetError {
    TargetError::Key { file: file.to_owned(), why: why.to_string() }
}

/// The public half of a key that cannot be used here.
fn public(file: &Path) -> Option<PublicKey> {
    load_public_key(beside(file, ".pub")).or_else(|_| load_public_key(file)).ok()
}

fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(ending);
    name.into()
}
