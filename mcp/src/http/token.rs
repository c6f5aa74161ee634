//! Whether an access token counts: its shape, algorithm, signature, issuer, audience and times.
//!
//! Decides nothing else: who its bearer is here says `access.rs`, where the keys come from `keys.rs`. Only signatures that a
//! public key checks are known at all, so that a public key can never be taken for a shared secret.
//!
//! Read here and not by `jsonwebtoken` (11.1), because that checks signatures with aws-lc or RustCrypto, or with a provider that one writes, which
//! would be the very calls of `ring` below. What makes a token count would stay ours to read besides: it leaves `crit`, `typ` and the choice of a
//! key to its caller, takes a list of issuers for an issuer, and tells the time itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
    RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Longest token that is looked at, in bytes.
pub(super) const MAX_TOKEN: usize = 16 << 10;

/// How far the issuer's clock may differ from ours, in seconds.
const LEEWAY: f64 = 30.0;

/// A signature algorithm of RFC 7518 or RFC 8037 that a public key checks. There are no others here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are those of the standard")]
pub enum Algorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::ES256,
        Self::ES384,
        Self::EdDSA,
    ];

    /// Its name in a token's header.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::EdDSA => "EdDSA",
        }
    }
}

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(name: &str) -> Result<Self, UnknownAlgorithm> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == name).ok_or(UnknownAlgorithm)
    }
}

/// A name that is none of [`Algorithm::ALL`]: `none` and the shared-secret algorithms among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no algorithm whose signatures a public key checks")]
pub struct UnknownAlgorithm;

/// A public key of the issuer's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct IssuerKey {
    /// Its name; tokens say by it which key signed them.
    pub(super) id: Option<String>,
    /// The only algorithm that it is for, if its issuer says so.
    pub(super) only: Option<Algorithm>,
    pub(super) material: Material,
}

/// What a key is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Material {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// What a token has to say.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) issuer: String,
    pub(super) audience: String,
    pub(super) algorithms: BTreeSet<Algorithm>,
}

/// What a token that counts says of its bearer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claims {
    pub(super) subject: Option<String>,
    pub(super) client: Option<String>,
    pub(super) scopes: BTreeSet<String>,
    /// All other claims.
    pub(super) others: BTreeMap<String, Value>,
}

/// Why a token does not count. Its text is for its bearer and holds nothing of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Malformed,
    Algorithm,
    Kind,
    UnknownKey,
    Signature,
    Issuer,
    Audience,
    Expired,
    NotYet,
}

impl Fault {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "the token is no signed JSON web token",
            Self::Algorithm => "the token is signed by an algorithm that is not accepted",
            Self::Kind => "the token is of another kind than an access token",
            Self::UnknownKey => "the token is signed by a key that is not the issuer's",
            Self::Signature => "the token's signature is wrong",
            Self::Issuer => "the token is of another issuer",
            Self::Audience => "the token is for another server",
            Self::Expired => "the token has expired",
            Self::NotYet => "the token is not valid yet",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// What a token's header says; what it says of keys of its own (`jwk`, `jku`, `x5u`, `x5c`) is not even read.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<Value>,
}

#[derive(Deserialize)]
struct TokenPayload {
    iss: String,
    aud: OneOrMore,
    exp: f64,
    nbf: Option<f64>,
    sub: Option<String>,
    client_id: Option<String>,
    azp: Option<String>,
    scope: Option<String>,
    scp: Option<OneOrMore>,
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

/// The claims of a token that counts, `now` in seconds since 1970.
///
/// # Errors
/// The first reason for which it does not.
pub(super) fn verify(token: &str, keys: &[IssuerKey], rules: &Rules, now: f64) -> Result<Claims, Fault> {
    if token.len() > MAX_TOKEN {
        return Err(Fault::Malformed);
    }
    let (message, signature) = token.rsplit_once('.').ok_or(Fault::Malformed)?;
    let (header, body) = message.split_once('.').ok_or(Fault::Malformed)?;
    let header: Header = part(header)?;
    let algorithm: Algorithm = header.alg.parse().map_err(|UnknownAlgorithm| Fault::Algorithm)?;
    if !rules.algorithms.contains(&algorithm) {
        return Err(Fault::Algorithm);
    }
    // An extension that has to be understood is one that we do not understand (RFC 7515, section 4.1.11).
    let known = |kind: &str| ["jwt", "at+jwt", "application/at+jwt"].contains(&kind.to_ascii_lowercase().as_str());
    if header.crit.is_some() || header.typ.as_deref().is_some_and(|kind| !known(kind)) {
        return Err(Fault::Kind);
    }
    let key = signer(keys, header.kid.as_deref(), algorithm)?;
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| Fault::Malformed)?;
    if !key.material.signed(algorithm, message.as_bytes(), &signature) {
        return Err(Fault::Signature);
    }
    let body: TokenPayload = part(body)?;
    if body.iss != rules.issuer {
        return Err(Fault::Issuer);
    }
    if !body.aud.holds(&rules.audience) {
        return Err(Fault::Audience);
    }
    // The other way round a value that is no number would pass.
    let unexpired = now < body.exp + LEEWAY;
    if !unexpired {
        return Err(Fault::Expired);
    }
    let begun = body.nbf.is_none_or(|begin| begin - LEEWAY <= now);
    if !begun {
        return Err(Fault::NotYet);
    }
    Ok(body.claims())
}

/// A part of a token, read as JSON.
fn part<T: DeserializeOwned>(text: &str) -> Result<T, Fault> {
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| Fault::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| Fault::Malformed)
}

/// The key that has to have signed: the one of that name; a token without a name has to leave no choice.
fn signer<'a>(keys: &'a [IssuerKey], id: Option<&str>, algorithm: Algorithm) -> Result<&'a IssuerKey, Fault> {
    let fits = |key: &&IssuerKey| {
        key.material.is_for(algorithm)
            && key.only.is_none_or(|only| only == algorithm)
            && id.is_none_or(|id| key.id.as_deref() == Some(id))
    };
    let mut fitting = keys.iter().filter(fits);
    match (fitting.next(), fitting.next()) {
        (Some(key), None) => Ok(key),
        (None, _) | (Some(_), Some(_)) => Err(Fault::UnknownKey),
    }
}

impl Material {
    fn is_for(&self, algorithm: Algorithm) -> bool {
        use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
        match self {
            Self::Rsa { .. } => matches!(algorithm, RS256 | RS384 | RS512 | PS256 | PS384 | PS512),
            Self::P256(_) => algorithm == ES256,
            Self::P384(_) => algorithm == ES384,
            Self::Ed25519(_) => algorithm == EdDSA,
        }
    }

    fn signed(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let by = |parameters: &'static dyn VerificationAlgorithm, key: &[u8]| {
            UnparsedPublicKey::new(parameters, key).verify(message, signature).is_ok()
        };
        let rsa = |parameters: &'static RsaParameters| match self {
            Self::Rsa { n, e } => RsaPublicKeyComponents { n, e }.verify(parameters, message, signature).is_ok(),
            Self::P256(_) | Self::P384(_) | Self::Ed25519(_) => false,
        };
        match (algorithm, self) {
            (Algorithm::RS256, _) => rsa(&RSA_PKCS1_2048_8192_SHA256),
            (Algorithm::RS384, _) => rsa(&RSA_PKCS1_2048_8192_SHA384),
            (Algorithm::RS512, _) => rsa(&RSA_PKCS1_2048_8192_SHA512),
            (Algorithm::PS256, _) => rsa(&RSA_PSS_2048_8192_SHA256),
            (Algorithm::PS384, _) => rsa(&RSA_PSS_2048_8192_SHA384),
            (Algorithm::PS512, _) => rsa(&RSA_PSS_2048_8192_SHA512),
            (Algorithm::ES256, Self::P256(key)) => by(&ECDSA_P256_SHA256_FIXED, key),
            (Algorithm::ES384, Self::P384(key)) => by(&ECDSA_P384_SHA384_FIXED, key),
            (Algorithm::EdDSA, Self::Ed25519(key)) => by(&ED25519, key),
            (Algorithm::ES256 | Algorithm::ES384 | Algorithm::EdDSA, _) => false,
        }
    }
}

impl OneOrMore {
    fn holds(&self, wanted: &str) -> bool {
        match self {
            Self::One(one) => one == wanted,
            Self::More(more) => more.iter().any(|one| one == wanted),
        }
    }
}

impl TokenPayload {
    fn claims(self) -> Claims {
        let words = |text: &str| text.split_ascii_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let mut scopes: BTreeSet<String> = self.scope.iter().flat_map(|text| words(text)).collect();
        match self.scp {
            None => {}
            Some(OneOrMore::One(text)) => scopes.extend(words(&text)),
            Some(OneOrMore::More(more)) => scopes.extend(more),
        }
        Claims { subject: self.sub, client: self.client_id.or(self.azp), scopes, others: self.others }
    }
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "tests")]
mod tests;
