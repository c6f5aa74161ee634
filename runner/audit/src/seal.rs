//! A copy of what a decision was made on, or of what was to be written to a job, as it was, sealed to a key that is not on this machine.
//!
//! Decides what the copy holds and who can open it. The form is age's (`age-encryption.org/v1`, an X25519 recipient), so that `age -d` opens it, or
//! [`AgeIdentity`]. What the record itself holds is not changed by it.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use age::x25519;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use palisade_engine::{ReplayInput, Report};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use zeroize::Zeroizing;

use super::RequestId;

/// Whom copies are sealed to: `age1…`, the public half of a key pair.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct SealTo(x25519::Recipient);

/// A text is no [`SealTo`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealToError {
    /// It is no key.
    #[error("expected the public half of an age key, `age1…`, as `age-keygen` prints it")]
    Form,
    /// It is the half that must not be here.
    #[error("this is the secret half of an age key: it does not belong on this machine; give the public one, `age1…`")]
    Secret,
}

impl FromStr for SealTo {
    type Err = SealToError;

    fn from_str(text: &str) -> Result<Self, SealToError> {
        if text.trim_start().to_ascii_uppercase().starts_with("AGE-SECRET-KEY-") {
            return Err(SealToError::Secret);
        }
        text.parse().map(Self).map_err(|_| SealToError::Form)
    }
}

impl TryFrom<String> for SealTo {
    type Error = SealToError;

    fn try_from(text: String) -> Result<Self, SealToError> {
        text.parse()
    }
}

/// A sealed copy, in base64.
#[derive(Clone, Debug, Serialize)]
pub struct Sealed(String);

/// The copy could not be sealed, so that the request cannot be recorded as the operator wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the copy of what was asked cannot be sealed, and `audit.sealed-to` demands one")]
pub struct SealError;

/// What a copy holds.
#[derive(Debug, Serialize)]
struct Raw<'a> {
    v: u32,
    /// The decision that it belongs to: a copy that was moved to another shows.
    req: String,
    cmd: &'a str,
    asked: Option<&'a ReplayInput<String>>,
}

/// A copy that was opened.
#[derive(Debug, Deserialize)]
pub struct Unsealed {
    /// The decision that it says it belongs to.
    req: String,
    /// The command's text, as it was.
    pub cmd: String,
    /// What was asked about it, as it was.
    pub asked: Option<ReplayInput<String>>,
}

impl SealTo {
    /// Seals what a decision was made on.
    ///
    /// # Errors
    /// If the system has no random numbers, or the key is none that anything can be sealed to.
    pub fn seal(&self, req: RequestId, report: &Report) -> Result<Sealed, SealError> {
        self.seal_raw(&Raw { v: 1, req: req.to_string(), cmd: &report.command, asked: report.asked.as_deref() })
    }

    /// Seals what was to be written to the input of a job, which the decision `of` let run.
    ///
    /// # Errors
    /// As [`Self::seal`].
    pub fn seal_input(&self, of: RequestId, text: &str) -> Result<Sealed, SealError> {
        self.seal_raw(&Raw { v: 1, req: of.to_string(), cmd: text, asked: None })
    }

    fn seal_raw(&self, raw: &Raw<'_>) -> Result<Sealed, SealError> {
        let text = Zeroizing::new(serde_json::to_vec(raw).map_err(|_| SealError)?);
        let sealed = age::encrypt(&self.0, &text).map_err(|_| SealError)?;
        Ok(Sealed(STANDARD.encode(sealed)))
    }
}

/// The secret halves of key pairs, for whoever investigates.
pub struct AgeIdentity(Vec<x25519::Identity>);

/// Why no copy can be opened.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file cannot be read.
    #[error("cannot read `{path}`: {cause}")]
    Read {
        /// The file.
        path: String,
        /// What the system said.
        cause: std::io::Error,
    },
    /// It holds no key.
    #[error("`{0}` holds no age key: a line `AGE-SECRET-KEY-1…`, as `age-keygen` writes it")]
    None(String),
}

impl AgeIdentity {
    /// Reads a file as `age-keygen` writes it.
    ///
    /// # Errors
    /// If it cannot be read, or holds no key.
    pub fn read(path: &Path) -> Result<Self, IdentityError> {
        let name = || path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|cause| IdentityError::Read { path: name(), cause })?;
        let text = Zeroizing::new(text);
        let keys: Vec<x25519::Identity> = text.lines().filter_map(|line| line.trim().parse().ok()).collect();
        if keys.is_empty() { Err(IdentityError::None(name())) } else { Ok(Self(keys)) }
    }

    /// The copy that a decision or an input on record carries. `None`: it carries none.
    ///
    /// # Errors
    /// If it was sealed to another key, was changed, or belongs to another decision.
    pub fn open(&self, decision: &Value) -> Option<Result<Unsealed, &'static str>> {
        let sealed = decision.get("sealed")?.as_str().and_then(|text| STANDARD.decode(text).ok());
        let Some(sealed) = sealed else { return Some(Err("its sealed copy is damaged")) };
        let opened = self.0.iter().find_map(|key| age::decrypt(key, &sealed).ok()).map(Zeroizing::new);
        let Some(opened) = opened else { return Some(Err("its sealed copy is for another key, or damaged")) };
        let unsealed: Option<Unsealed> = serde_json::from_slice(&opened).ok();
        // An input is that of the job that a decision let run.
        let own = decision.get("req").or_else(|| decision.get("of")).and_then(Value::as_str);
        let unsealed = unsealed.filter(|unsealed| Some(unsealed.req.as_str()) == own);
        Some(unsealed.ok_or("its sealed copy belongs to another decision"))
    }
}

impl fmt::Debug for AgeIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("keys", &self.0.len()).finish()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use age::secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn only_the_other_half_opens_a_copy_and_only_its_own() {
        let (key, other) = (x25519::Identity::generate(), x25519::Identity::generate());
        let to: SealTo = key.to_public().to_string().parse().unwrap();
        let home = tempfile::tempdir().unwrap();
        let identity = |key: &x25519::Identity| {
            let path = home.path().join("key");
            std::fs::write(&path, format!("# created: now\n{}\n", key.to_string().expose_secret())).unwrap();
            AgeIdentity::read(&path).unwrap()
        };
        let report = Report {
            decision: palisade_engine::Decision::Allow,
            command: "echo a secret".to_owned(),
            policy_set: String::new(),
            requests: vec![],
            opaque: vec![],
            reasons: vec![],
            checkpoint: vec![],
            asked: None,
        };
        let req: RequestId = "5f3a9c01-12".parse().unwrap();
        let sealed = to.seal(req, &report).unwrap();
        assert_ne!(sealed.0, to.seal(req, &report).unwrap().0, "each copy has a key of its own");
        let record = |req: &str, sealed: &str| serde_json::json!({ "req": req, "sealed": sealed });
        let opened = identity(&key).open(&record("5f3a9c01-12", &sealed.0)).unwrap().unwrap();
        assert_eq!(opened.cmd, "echo a secret");
        assert!(identity(&other).open(&record("5f3a9c01-12", &sealed.0)).unwrap().is_err());
        assert!(identity(&key).open(&record("5f3a9c01-13", &sealed.0)).unwrap().is_err());
        let mut changed = STANDARD.decode(&sealed.0).unwrap();
        *changed.last_mut().unwrap() ^= 1;
        assert!(identity(&key).open(&record("5f3a9c01-12", &STANDARD.encode(changed))).unwrap().is_err());
        assert!(identity(&key).open(&serde_json::json!({ "req": "5f3a9c01-12" })).is_none());
    }

    #[test]
    fn a_key_is_the_public_half() {
        let key = x25519::Identity::generate();
        assert!(key.to_public().to_string().parse::<SealTo>().is_ok());
        assert_eq!(key.to_string().expose_secret().parse::<SealTo>(), Err(SealToError::Secret));
        for text in ["", "age1", "age1qqqq", "ssh-ed25519 AAAA"] {
            assert_eq!(text.parse::<SealTo>(), Err(SealToError::Form), "{text}");
        }
    }
}
