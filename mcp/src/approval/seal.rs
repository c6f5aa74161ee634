//! What a client carries from the answer that asks for a person's yes to the call that brings it: opaque, and good for one call.
//!
//! Sealed with AES-256-GCM under a key that the server makes at its start and keeps for itself, one for each principal. It says which request
//! it is to and how long it counts; the principal, the tool and the arguments are authenticated with it. Each is opened once: what
//! was given out and not come back yet is known here, so that one that is copied, or of an earlier server, opens nothing.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use rmcp::model::JsonObject;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::canonical;

/// States that may be out at once: more than requests may wait.
const MAX_OUT: usize = 64;

/// Characters of a state that are looked at. Ours are shorter.
const MAX_STATE: usize = 512;

/// A name for what is authenticated, so that nothing that is sealed for anything else is taken for it.
const PURPOSE: &[u8] = b"palisade: answer to a tool call, 1";

/// Why a state does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Broken {
    /// It is not ours, was changed, or belongs to another call or another principal.
    #[error("it does not belong to this call")]
    Foreign,
    /// It came back before.
    #[error("it was used already, or is too old")]
    Spent,
}

/// What a state is bound to beside its request.
pub(crate) struct Bound([u8; 32]);

impl Bound {
    /// To this principal's user, tool and arguments. The key is the principal's own already.
    pub(super) fn new(user: &str, tool: &str, arguments: Option<&JsonObject>) -> Self {
        let arguments = canonical(&Value::Object(arguments.cloned().unwrap_or_default())).to_string();
        let mut digest = Sha256::new();
        for part in [PURPOSE, user.as_bytes(), tool.as_bytes(), arguments.as_bytes()] {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        Self(digest.finalize().into())
    }
}

/// One principal's states.
pub(crate) struct Seals {
    /// None where the system gives no random numbers: then nothing is sealed, and nobody is asked by it.
    key: Option<LessSafeKey>,
    random: SystemRandom,
    /// Since when the times in states count.
    began: Instant,
    /// What is out, by its nonce, and until when it counts.
    out: Mutex<BTreeMap<[u8; NONCE_LEN], Instant>>,
}

impl Seals {
    /// None are out.
    pub(crate) fn new() -> Self {
        let random = SystemRandom::new();
        Self { key: key(&random), random, began: Instant::now(), out: Mutex::default() }
    }

    /// A state for the request `id`, for so long; none if none can be made.
    pub(super) fn seal(&self, id: &str, bound: &Bound, lasts: Duration) -> Option<String> {
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).ok()?;
        let until = Instant::now() + lasts;
        let mut text = u64::try_from(until.duration_since(self.began).as_millis()).ok()?.to_be_bytes().to_vec();
        text.extend_from_slice(id.as_bytes());
        self.key
            .as_ref()?
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(bound.0), &mut text)
            .ok()?;
        let mut out = self.out();
        out.retain(|_, until| *until > Instant::now());
        if out.len() >= MAX_OUT {
            return None;
        }
        out.insert(nonce, until);
        Some(URL_SAFE_NO_PAD.encode([&nonce[..], &text].concat()))
    }

    /// The request that a state is to. It is used up by this, whatever becomes of it.
    ///
    /// # Errors
    /// If it does not count for this call.
    pub(super) fn open(&self, state: &str, bound: &Bound) -> Result<String, Broken> {
        let sealed = Some(state).filter(|state| state.len() <= MAX_STATE).ok_or(Broken::Foreign)?;
        let sealed = URL_SAFE_NO_PAD.decode(sealed).map_err(|_| Broken::Foreign)?;
        let (nonce, text) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(Broken::Foreign)?;
        let mut text = text.to_vec();
        let sealed_with = Nonce::assume_unique_for_key(*nonce);
        let key = self.key.as_ref().ok_or(Broken::Foreign)?;
        let opened = key.open_in_place(sealed_with, Aad::from(bound.0), &mut text).map_err(|_| Broken::Foreign)?;
        let (until, id) = opened.split_first_chunk::<8>().ok_or(Broken::Foreign)?;
        let until = self.began + Duration::from_millis(u64::from_be_bytes(*until));
        let known = self.out().remove(nonce);
        if known.is_none() || until <= Instant::now() {
            return Err(Broken::Spent);
        }
        String::from_utf8(id.to_vec()).map_err(|_| Broken::Foreign)
    }

    fn out(&self) -> MutexGuard<'_, BTreeMap<[u8; NONCE_LEN], Instant>> {
        // Nothing that holds the lock can fail half-way.
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(random: &SystemRandom) -> Option<LessSafeKey> {
    let mut key = [0; 32];
    random.fill(&mut key).ok()?;
    UnboundKey::new(&AES_256_GCM, &key).ok().map(LessSafeKey::new)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use serde_json::json;

    const LASTS: Duration = Duration::from_secs(60);

    fn bound(user: &str, tool: &str, arguments: &Value) -> Bound {
        Bound::new(user, tool, arguments.as_object())
    }

    #[test]
    fn a_state_opens_once_for_its_own_call() {
        let seals = Seals::new();
        let own = || bound("u", "exec", &json!({ "command": "git push", "cwd": "." }));
        let state = seals.seal("5f3a9c01-7", &own(), LASTS).unwrap();
        assert!(!state.contains("5f3a9c01"));
        for other in [
            bound("v", "exec", &json!({ "command": "git push", "cwd": "." })),
            bound("u", "job_write", &json!({ "command": "git push", "cwd": "." })),
            bound("u", "exec", &json!({ "command": "git push ", "cwd": "." })),
            bound("u", "exec", &json!({ "command": "git push" })),
            bound("u", "exec", &json!({})),
        ] {
            assert_eq!(seals.open(&state, &other), Err(Broken::Foreign));
        }
        assert_eq!(Seals::new().open(&state, &own()), Err(Broken::Foreign), "another server's");
        // The order of keys is no part of a call.
        let turned = bound("u", "exec", &json!({ "cwd": ".", "command": "git push" }));
        assert_eq!(seals.open(&state, &turned), Ok("5f3a9c01-7".to_owned()));
        assert_eq!(seals.open(&state, &own()), Err(Broken::Spent), "a copy");
    }

    #[test]
    fn whatever_is_changed_opens_nothing() {
        let seals = Seals::new();
        let own = || bound("u", "exec", &json!({}));
        let state = seals.seal("5f3a9c01-7", &own(), LASTS).unwrap();
        for at in 0..state.len() {
            let mut changed = state.clone().into_bytes();
            let byte = changed.get_mut(at).unwrap();
            *byte = if *byte == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(seals.open(&changed, &own()), Err(Broken::Foreign), "{at}");
        }
        for odd in ["", "A", "====", state.get(1..).unwrap(), &format!("{state}A"), &"A".repeat(5000)] {
            assert_eq!(seals.open(odd, &own()), Err(Broken::Foreign), "{odd}");
        }
        assert!(seals.open(&state, &own()).is_ok());
    }

    #[test]
    fn time_ends_a_state_and_few_are_out() {
        let seals = Seals::new();
        let own = || bound("u", "exec", &json!({}));
        let late = seals.seal("5f3a9c01-7", &own(), Duration::ZERO).unwrap();
        assert_eq!(seals.open(&late, &own()), Err(Broken::Spent));
        for _ in 0..MAX_OUT {
            assert!(seals.seal("5f3a9c01-7", &own(), LASTS).is_some());
        }
        assert_eq!(seals.seal("5f3a9c01-7", &own(), LASTS), None);
    }
}
