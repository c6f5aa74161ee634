//! Which principal a request proves to be: by its token, else by its connection. Nothing that a client says of itself counts.
//!
//! Proofs are not mixed: a request with a token is its bearer's, whoever else its connection could be.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use http::HeaderMap;
use http::header::AUTHORIZATION;
use serde_json::Value;
use subtle::ConstantTimeEq as _;

use super::config::{Fingerprint, Proof};
use super::keys::Keys;
use super::token::{self, Claims, Fault, MAX_TOKEN, Rules};

/// What the other end of a connection has proven, before any request.
#[derive(Clone, Debug, Default)]
pub(super) struct PeerCredentials {
    /// The URIs in its certificate, if it showed one that somebody vouches for.
    pub(super) names: Vec<String>,
    /// Its user, if the kernel says.
    pub(super) uid: Option<u32>,
    /// Its address, if it has one. That proves nothing.
    pub(super) address: Option<SocketAddr>,
}

/// Who may be served.
pub(super) struct Access {
    pub(super) tokens: Option<Tokens>,
    /// What each principal has to prove, by its number.
    pub(super) proofs: Vec<Proof>,
}

/// Whose access tokens count.
pub(super) struct Tokens {
    pub(super) rules: Rules,
    pub(super) keys: Arc<Keys>,
    /// Scopes that each needs.
    pub(super) scopes: Vec<String>,
}

/// Why a request is nobody's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AccessError {
    /// It proves nothing.
    NoProof,
    /// Its token does not count.
    Token(Fault),
    /// Its token is none that the operator gave out.
    Secret,
    /// Its token says too little: these scopes are needed.
    Scope(Vec<String>),
    /// It proves to be somebody, who is none of the principals.
    Stranger,
    /// It proves to be several principals.
    Several,
    /// The issuer's keys cannot be had.
    NoKeys,
}

impl Access {
    /// The number of the principal that a request proves to be.
    ///
    /// # Errors
    /// Why it is nobody's.
    pub(super) async fn principal(&self, headers: &HeaderMap, peer: &PeerCredentials) -> Result<usize, AccessError> {
        let mut shown = headers.get_all(AUTHORIZATION).iter();
        match (shown.next(), shown.next()) {
            (None, _) => self.by_peer(peer),
            (Some(_), Some(_)) => Err(AccessError::Token(Fault::Malformed)),
            (Some(value), None) => {
                let text = value.to_str().map_err(|_| AccessError::Token(Fault::Malformed))?;
                let (scheme, token) = text.split_once(' ').ok_or(AccessError::NoProof)?;
                if !scheme.eq_ignore_ascii_case("bearer") {
                    return Err(AccessError::NoProof);
                }
                self.by_token(token.trim_matches(' ')).await
            }
        }
    }

    fn by_peer(&self, peer: &PeerCredentials) -> Result<usize, AccessError> {
        if peer.names.is_empty() && peer.uid.is_none() {
            return Err(AccessError::NoProof);
        }
        let is = |proof: &Proof| match proof {
            Proof::Certificate(name) => peer.names.contains(name),
            Proof::User(uid) => peer.uid == Some(*uid),
            Proof::Token { .. } | Proof::Secret(_) => false,
        };
        // A user at a socket who could still show a token is asked for it.
        let asks_for_tokens = self.proofs.iter().any(|proof| matches!(proof, Proof::Token { .. } | Proof::Secret(_)));
        self.only(is).map_err(|refusal| if asks_for_tokens { AccessError::NoProof } else { refusal })
    }

    async fn by_token(&self, token: &str) -> Result<usize, AccessError> {
        if token.len() > MAX_TOKEN {
            return Err(AccessError::Token(Fault::Malformed));
        }
        let fingerprint = Fingerprint::of(token);
        let is = |proof: &Proof| match proof {
            Proof::Secret(known) => bool::from(known.as_bytes().ct_eq(fingerprint.as_bytes())),
            Proof::Token { .. } | Proof::Certificate(_) | Proof::User(_) => false,
        };
        if let Ok(principal) = self.only(is) {
            return Ok(principal);
        }
        let Some(tokens) = &self.tokens else { return Err(AccessError::Secret) };
        let claims = tokens.claims(token).await?;
        let has_not = |scope: &String| !claims.scopes.contains(scope);
        if tokens.scopes.iter().any(has_not) {
            return Err(AccessError::Scope(tokens.scopes.clone()));
        }
        // One who is known and whose token says too little is told what it lacks.
        let known = self.only(|proof| is_bearer(proof, &claims))?;
        match self.proofs.get(known) {
            Some(Proof::Token { scopes, .. }) if scopes.iter().any(has_not) => {
                Err(AccessError::Scope(tokens.scopes.iter().chain(scopes).cloned().collect()))
            }
            Some(_) => Ok(known),
            None => Err(AccessError::Stranger),
        }
    }

    /// The number of the only principal whose proof it is.
    fn only(&self, is: impl Fn(&Proof) -> bool) -> Result<usize, AccessError> {
        let mut fitting = self.proofs.iter().enumerate().filter(|(_, proof)| is(proof)).map(|(number, _)| number);
        match (fitting.next(), fitting.next()) {
            (Some(number), None) => Ok(number),
            (None, _) => Err(AccessError::Stranger),
            (Some(_), Some(_)) => Err(AccessError::Several),
        }
    }
}

impl Tokens {
    /// What a token that counts says. One that no known key signed has the keys looked at again, as often as that may be.
    async fn claims(&self, token: &str) -> Result<Claims, AccessError> {
        let keys = self.keys.now().await.ok_or(AccessError::NoKeys)?;
        match token::verify(token, &keys, &self.rules, now()) {
            Err(Fault::UnknownKey) => {
                let keys = self.keys.newer(&keys).await.ok_or(AccessError::Token(Fault::UnknownKey))?;
                token::verify(token, &keys, &self.rules, now()).map_err(AccessError::Token)
            }
            claims => claims.map_err(AccessError::Token),
        }
    }
}

/// Whether a token is that principal's, leaving scopes aside.
fn is_bearer(proof: &Proof, claims: &Claims) -> bool {
    let Proof::Token { subject, client, claims: wanted, .. } = proof else { return false };
    let says = |name: &String, text: &String| match claims.others.get(name) {
        Some(Value::String(value)) => value == text,
        Some(Value::Array(values)) => values.iter().any(|value| value.as_str() == Some(text)),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => false,
    };
    (subject.is_some() || client.is_some())
        && (subject.is_none() || *subject == claims.subject)
        && (client.is_none() || *client == claims.client)
        && wanted.iter().all(|(name, text)| says(name, text))
}

/// Seconds since 1970. A clock before that has no token begun.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use serde_json::json;

    use super::*;

    fn set(texts: &[&str]) -> BTreeSet<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn a_token_is_the_bearers_whose_every_word_it_says() {
        let proof = |subject: Option<&str>, client: Option<&str>, claims: &[(&str, &str)]| Proof::Token {
            subject: subject.map(str::to_owned),
            client: client.map(str::to_owned),
            claims: claims.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect(),
            scopes: BTreeSet::new(),
        };
        let claims = Claims {
            subject: Some("alice".to_owned()),
            client: None,
            scopes: set(&["palisade"]),
            others: BTreeMap::from([
                ("groups".to_owned(), json!(["eng", "ops"])),
                ("tier".to_owned(), json!("gold")),
                ("level".to_owned(), json!(3)),
            ]),
        };
        for (proof, expected) in [
            (proof(Some("alice"), None, &[]), true),
            (proof(Some("alice"), None, &[("groups", "eng"), ("tier", "gold")]), true),
            (proof(Some("bob"), None, &[]), false),
            (proof(Some("alice"), Some("cli"), &[]), false),
            (proof(None, None, &[]), false),
            (proof(Some("alice"), None, &[("groups", "en")]), false),
            (proof(Some("alice"), None, &[("level", "3")]), false),
            (proof(Some("alice"), None, &[("sub", "alice")]), false),
            (Proof::Certificate("alice".to_owned()), false),
        ] {
            assert_eq!(is_bearer(&proof, &claims), expected, "{proof:?}");
        }
    }

    #[test]
    fn a_connection_proves_one_principal_or_none() {
        let access = |proofs: &[Proof]| Access { tokens: None, proofs: proofs.to_vec() };
        let (uri, user) = (Proof::Certificate("spiffe://x/a".to_owned()), Proof::User(7));
        let peer = |names: &[&str], uid| PeerCredentials {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            uid,
            address: None,
        };
        let secret = Proof::Secret(Fingerprint::of("x"));
        for (proofs, peer, expected) in [
            (vec![uri.clone(), user.clone()], peer(&["spiffe://x/a"], None), Ok(0)),
            (vec![uri.clone(), user.clone()], peer(&[], Some(7)), Ok(1)),
            (vec![uri.clone()], peer(&["spiffe://x/ab", "spiffe://x"], None), Err(AccessError::Stranger)),
            (vec![user.clone()], peer(&[], Some(0)), Err(AccessError::Stranger)),
            (vec![user.clone()], peer(&[], None), Err(AccessError::NoProof)),
            (vec![user.clone(), secret], peer(&[], Some(8)), Err(AccessError::NoProof)),
            (vec![uri.clone(), user.clone()], peer(&["spiffe://x/a"], Some(7)), Err(AccessError::Several)),
        ] {
            assert_eq!(access(&proofs).by_peer(&peer), expected, "{proofs:?} {peer:?}");
        }
    }
}
