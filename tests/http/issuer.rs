//! An issuer of access tokens: signs what it is told to, true or not.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};

use super::URL;
use crate::support::world::World;

/// What its tokens call it.
pub(super) const ISSUER: &str = "https://issuer.example";

/// A key and its name.
pub(super) struct Issuer {
    pub(super) key: EcdsaKeyPair,
    pub(super) name: &'static str,
}

impl Issuer {
    pub(super) fn new(name: &'static str) -> Self {
        let random = SystemRandom::new();
        let secret = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, secret.as_ref(), &random);
        Self { key: key.expect("a key"), name }
    }

    /// The public key as a key set holds it.
    pub(super) fn public(&self) -> Value {
        let point = self.key.public_key().as_ref();
        let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..]));
        json!({ "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.name, "x": x, "y": y })
    }

    /// A token with this head and body.
    pub(super) fn sign(&self, head: &Value, body: &Value) -> String {
        let message = message(head, body);
        let signature = self.key.sign(&SystemRandom::new(), message.as_bytes()).expect("signed");
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }

    /// A token for this server and `subject`, `changes` in place of what it would say.
    pub(super) fn token(&self, subject: &str, changes: &Value) -> String {
        self.sign(&json!({ "alg": "ES256", "typ": "at+jwt", "kid": self.name }), &claims(subject, changes))
    }
}

/// What is signed.
pub(super) fn message(head: &Value, body: &Value) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(head.to_string()), URL_SAFE_NO_PAD.encode(body.to_string()))
}

/// What a good token says; a null in `changes` leaves a claim out.
pub(super) fn claims(subject: &str, changes: &Value) -> Value {
    let mut claims = json!({ "iss": ISSUER, "aud": URL, "sub": subject, "exp": now() + 600, "nbf": now() - 5, "scope": "palisade other" });
    for (name, value) in changes.as_object().into_iter().flatten() {
        match value {
            Value::Null => claims.as_object_mut().and_then(|claims| claims.remove(name)),
            value => claims.as_object_mut().and_then(|claims| claims.insert(name.clone(), value.clone())),
        };
    }
    claims
}

pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs()
}

/// Writes a key set with these issuers' keys.
pub(super) fn publish(world: &World, issuers: &[&Issuer]) {
    let keys: Vec<Value> = issuers.iter().map(|issuer| issuer.public()).collect();
    world.write("keys.json", &json!({ "keys": keys }).to_string());
}

/// Settings with which tokens of [`ISSUER`] count that have the scope `palisade`.
pub(super) fn settings() -> String {
    format!(
        "[serve]\nurl = \"{URL}\"\n[serve.oauth]\nissuer = \"{ISSUER}\"\nkeys = \"keys.json\"\nscopes = [\"palisade\"]\n"
    )
}
