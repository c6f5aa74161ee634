//! The issuer's public keys: from a file or an `https` URL, read again when a token names one that is not known.
//!
//! Bounded whatever a bearer sends: one look at a time, and no second one within half a minute. Keys that could not be looked at
//! again for an hour are none: one that the issuer has taken back would count for ever.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;
use tokio_rustls::rustls::crypto::ring::default_provider;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

use super::config::HttpConfigError;
use super::token::{Algorithm, IssuerKey, Material};

/// Largest answer or file, in bytes.
const MAX_SIZE: u64 = 256 << 10;

/// Most keys of one issuer.
const MAX_KEYS: usize = 100;

/// How long a fetch may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Least time between two looks that tokens cause.
const PAUSE: Duration = Duration::from_secs(30);

/// After which keys are looked at again before the next token.
const FRESH: Duration = Duration::from_secs(10 * 60);

/// After which they count no more, if they could not be looked at again.
const STALE: Duration = Duration::from_secs(60 * 60);

/// Where the keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// A file that holds a JSON web key set.
    File(PathBuf),
    /// An `https` URL, and the certificates of those that vouch for its server.
    Url {
        /// The URL.
        url: String,
        /// A file of certificates in PEM.
        roots: PathBuf,
    },
}

/// An issuer's keys.
pub(super) struct Keys {
    source: KeyLocation,
    held: Mutex<KeyCache>,
    /// Held by whoever looks.
    turn: tokio::sync::Mutex<()>,
}

enum KeyLocation {
    File(PathBuf),
    Url { url: String, agent: ureq::Agent },
}

#[derive(Default)]
struct KeyCache {
    keys: Arc<[IssuerKey]>,
    /// When they were had, if ever.
    had: Option<Instant>,
    /// When a token last caused a look.
    tried: Option<Instant>,
}

impl Keys {
    /// The keys of this source, looked at for the first time. A server that does not answer yet is asked again by the first token.
    ///
    /// # Errors
    /// If a file is none or holds no keys.
    pub(super) fn open(source: &KeySource) -> Result<Self, HttpConfigError> {
        let source = KeyLocation::open(source)?;
        let held = match source.look() {
            Ok(keys) => KeyCache { keys, had: Some(Instant::now()), tried: None },
            Err(why) => match &source {
                KeyLocation::File(path) => return Err(HttpConfigError::file("`serve.oauth.keys`", path, why)),
                KeyLocation::Url { url, .. } => {
                    tracing::error!("the issuer's keys cannot be had from {url}: {why}");
                    KeyCache::default()
                }
            },
        };
        Ok(Self { source, held: Mutex::new(held), turn: tokio::sync::Mutex::default() })
    }

    /// The keys, looked at again if they are old; `None`: they cannot be had.
    pub(super) async fn now(self: &Arc<Self>) -> Option<Arc<[IssuerKey]>> {
        let age = self.held(|held| held.had.map(|had| had.elapsed()));
        if age.is_none_or(|age| age > FRESH) {
            self.look_again().await;
        }
        self.held(|held| held.had.filter(|had| had.elapsed() < STALE).map(|_| Arc::clone(&held.keys)))
    }

    /// The keys after another look, which a token has caused that none of `known` signed; `None`: there is nothing new.
    pub(super) async fn newer(self: &Arc<Self>, known: &Arc<[IssuerKey]>) -> Option<Arc<[IssuerKey]>> {
        self.look_again().await;
        let keys = self.held(|held| Arc::clone(&held.keys));
        (keys != *known).then_some(keys)
    }

    /// Looks again, unless somebody just has.
    async fn look_again(self: &Arc<Self>) {
        let _turn = self.turn.lock().await;
        let may = self.held(|held| {
            let may = held.tried.is_none_or(|tried| tried.elapsed() >= PAUSE);
            if may {
                held.tried = Some(Instant::now());
            }
            may
        });
        if !may {
            return;
        }
        let own = Arc::clone(self);
        match tokio::task::spawn_blocking(move || own.source.look()).await {
            Ok(Ok(keys)) => self.held(|held| (held.keys, held.had) = (keys, Some(Instant::now()))),
            Ok(Err(why)) => tracing::error!("the issuer's keys cannot be looked at again: {why}"),
            Err(_ended) => {}
        }
    }

    fn held<T>(&self, use_it: impl FnOnce(&mut KeyCache) -> T) -> T {
        // Nothing that holds the lock can fail half-way.
        use_it(&mut self.held.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl KeyLocation {
    fn open(source: &KeySource) -> Result<Self, HttpConfigError> {
        let (url, roots) = match source {
            KeySource::File(path) => return Ok(Self::File(path.clone())),
            KeySource::Url { url, roots } => (url.clone(), roots),
        };
        let pem = std::fs::read(roots).map_err(|error| HttpConfigError::file("`serve.oauth.roots`", roots, error))?;
        let items: Result<Vec<_>, _> = parse_pem(&pem).collect();
        let items = items.map_err(|error| HttpConfigError::file("`serve.oauth.roots`", roots, error))?;
        let certificate = |item| if let PemItem::Certificate(certificate) = item { Some(certificate) } else { None };
        let certificates: Vec<_> = items.into_iter().filter_map(certificate).collect();
        if certificates.is_empty() {
            return Err(HttpConfigError::file("`serve.oauth.roots`", roots, "it holds no certificate"));
        }
        let tls = TlsConfig::builder()
            .unversioned_rustls_crypto_provider(Arc::new(default_provider()))
            .root_certs(RootCerts::new_with_certs(&certificates))
            .build();
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .https_only(true)
            // Keys are where the operator said, and nowhere else.
            .max_redirects(0)
            .max_redirects_will_error(true)
            .proxy(None)
            .tls_config(tls)
            .build();
        Ok(Self::Url { url, agent: config.into() })
    }

    fn look(&self) -> Result<Arc<[IssuerKey]>, String> {
        let bytes = match self {
            Self::File(path) => read(path)?,
            Self::Url { url, agent } => {
                let mut answer = agent.get(url).call().map_err(|error| error.to_string())?;
                answer.body_mut().with_config().limit(MAX_SIZE).read_to_vec().map_err(|error| error.to_string())?
            }
        };
        parse(&bytes)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let size = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > MAX_SIZE {
        return Err(format!("it has {size} bytes, more than {MAX_SIZE}"));
    }
    std::fs::read(path).map_err(|error| error.to_string())
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct JsonWebKey {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// The keys of a set that check signatures. Others are left out, as RFC 7517 says; a set without any is an error.
pub(super) fn parse(bytes: &[u8]) -> Result<Arc<[IssuerKey]>, String> {
    let set: Set = serde_json::from_slice(bytes).map_err(|error| format!("it is no JSON web key set: {error}"))?;
    if set.keys.len() > MAX_KEYS {
        return Err(format!("it holds {} keys, more than {MAX_KEYS}", set.keys.len()));
    }
    let keys: Vec<IssuerKey> = set.keys.into_iter().filter_map(key).collect();
    if keys.is_empty() {
        return Err("it holds no public key that checks signatures".to_owned());
    }
    Ok(keys.into())
}

fn key(value: Value) -> Option<IssuerKey> {
    let entry: JsonWebKey = serde_json::from_value(value).ok()?;
    let is_for_signatures = entry.purpose.as_deref().is_none_or(|purpose| purpose == "sig")
        && entry.key_ops.as_ref().is_none_or(|operations| operations.iter().any(|operation| operation == "verify"));
    // One that names an algorithm which is not known is for no other.
    let only: Option<Algorithm> = entry.alg.as_deref().map(str::parse).transpose().ok()?;
    let bytes = |text: &Option<String>| URL_SAFE_NO_PAD.decode(text.as_deref()?).ok();
    let point = |size: usize| {
        let (x, y) = (bytes(&entry.x)?, bytes(&entry.y)?);
        (x.len() == size && y.len() == size).then(|| [&[4][..], &x, &y].concat())
    };
    let material = match (entry.kty.as_str(), entry.crv.as_deref()) {
        ("RSA", _) => Material::Rsa { n: bytes(&entry.n)?, e: bytes(&entry.e)? },
        ("EC", Some("P-256")) => Material::P256(point(32)?),
        ("EC", Some("P-384")) => Material::P384(point(48)?),
        ("OKP", Some("Ed25519")) => Material::Ed25519(bytes(&entry.x)?),
        _ => return None,
    };
    is_for_signatures.then_some(IssuerKey { id: entry.kid, only, material })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_public_keys_for_signatures_are_taken() {
        let x = URL_SAFE_NO_PAD.encode([7; 32]);
        let set = |keys: Value| parse(json!({ "keys": keys }).to_string().as_bytes());
        let point = |more: Value| {
            let mut key = json!({ "kty": "EC", "crv": "P-256", "x": x, "y": x, "kid": "k" });
            key.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            key
        };
        for (key, taken) in [
            (point(json!({})), true),
            (point(json!({ "use": "sig", "alg": "ES256", "key_ops": ["verify"] })), true),
            (json!({ "kty": "OKP", "crv": "Ed25519", "x": x }), true),
            (json!({ "kty": "RSA", "n": x, "e": "AQAB" }), true),
            (point(json!({ "use": "enc" })), false),
            (point(json!({ "key_ops": ["encrypt"] })), false),
            (point(json!({ "alg": "HS256" })), false),
            (point(json!({ "crv": "P-521" })), false),
            (point(json!({ "y": "AAAA" })), false),
            (json!({ "kty": "oct", "k": x }), false),
            (json!({ "kty": "oct", "k": x, "alg": "HS256" }), false),
            (json!("no key"), false),
        ] {
            assert_eq!(set(json!([key])).is_ok(), taken, "{key}");
        }
        let good = point(json!({}));
        assert_eq!(set(json!([good, { "kty": "new" }])).unwrap().len(), 1);
        assert!(set(json!(vec![good; MAX_KEYS + 1])).unwrap_err().contains("more than 100"));
        assert!(parse(b"[]").is_err() && parse(b"").is_err());
    }
}
