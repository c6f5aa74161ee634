//! Principals that are served over HTTP, and how they are proven, from what `[serve]` in a settings file says.
//!
//! Decides which values make sense; which of them together start no server says `palisade_mcp::http::config`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use palisade_engine::Auth;
use palisade_mcp::http::config::{Algorithm, Fingerprint, HttpConfigError, KeySource, OAuth, Proof, Tls};

use super::http::{BearerTable, OAuthTable, PrincipalTable, TlsTable};

/// Where Linux keeps the certificates of those that vouch for servers.
const ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// A principal that is served over HTTP, with what proves it.
#[derive(Clone, Debug)]
pub(crate) struct Served {
    /// The agent's name.
    pub(crate) agent: String,
    /// On whose behalf it acts.
    pub(crate) user: String,
    /// Its roles.
    pub(crate) roles: BTreeSet<String>,
    /// What it has to prove.
    pub(crate) proof: Proof,
}

impl Served {
    /// How it is proven, as policies see it.
    pub(crate) fn auth(&self) -> Auth {
        match self.proof {
            Proof::Token { .. } => Auth::OAuth,
            Proof::Secret(_) => Auth::StaticToken,
            Proof::Certificate(_) => Auth::MutualTls,
            Proof::User(_) => Auth::OsUser,
        }
    }
}

impl TlsTable {
    /// The files; `own` makes a path of what a settings file names.
    pub(crate) fn tls(&self, own: impl Fn(&str) -> PathBuf) -> Tls {
        Tls { certificate: own(&self.certificate), key: own(&self.key), clients: self.clients.as_deref().map(own) }
    }
}

impl OAuthTable {
    /// The issuer and what its tokens have to say.
    ///
    /// # Errors
    /// The key and value that make no sense, and what is expected of it.
    pub(crate) fn oauth(&self, own: impl Fn(&str) -> PathBuf) -> Result<OAuth, (&'static str, String, &'static str)> {
        let wrong = |key, value: &str, expected| Err((key, value.to_owned(), expected));
        if self.issuer.is_empty() {
            return wrong("serve.oauth.issuer", "", "the issuer as its tokens name it");
        }
        let keys = if self.keys.starts_with("https://") {
            if self.keys.parse::<axum::http::Uri>().is_err() {
                return wrong("serve.oauth.keys", &self.keys, "an `https` URL or a file");
            }
            let roots = self.roots.as_deref().map_or_else(|| PathBuf::from(ROOTS), &own);
            KeySource::Url { url: self.keys.clone(), roots }
        } else if self.keys.contains("://") {
            return wrong(
                "serve.oauth.keys",
                &self.keys,
                "an `https` URL or a file: keys that came in the clear prove nothing",
            );
        } else {
            KeySource::File(own(&self.keys))
        };
        let mut algorithms = BTreeSet::new();
        for name in self.algorithms.iter().flatten() {
            let Ok(algorithm) = name.parse::<Algorithm>() else {
                let expected = "one of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA";
                return wrong("serve.oauth.algorithms", name, expected);
            };
            algorithms.insert(algorithm);
        }
        if self.algorithms.is_none() {
            algorithms.extend(Algorithm::ALL);
        }
        let (issuer, audience, scopes) = (self.issuer.clone(), self.audience.clone(), self.scopes.clone());
        if let Some(scope) = scopes.iter().find(|scope| !is_scope(scope)) {
            return wrong("serve.oauth.scopes", scope, "a scope: printable, without spaces, quotes and backslashes");
        }
        Ok(OAuth { issuer, audience, keys, algorithms, scopes })
    }
}

impl PrincipalTable {
    /// The principal `name`.
    ///
    /// # Errors
    /// What makes no sense, to be read behind its name, or a file that cannot be used.
    pub(crate) fn served(&self, name: &str, own: impl Fn(&str) -> PathBuf) -> Result<Served, ServedError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        // It may be part of the workspace's path.
        if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) || [".", ".."].contains(&name) {
            return Err(ServedError::odd(
                "has a name that is not made of letters, digits, `.`, `_` and `-`, at most 64 of them",
            ));
        }
        if self.user.is_empty() {
            return Err(ServedError::odd("has an empty `user`"));
        }
        let proof = match (&self.oauth, &self.token_file, &self.certificate, self.uid) {
            (Some(bearer), None, None, None) => bearer.proof()?,
            (None, Some(file), None, None) => Proof::Secret(Fingerprint::of_file(&own(file))?),
            (None, None, Some(name), None) if name.contains(':') => Proof::Certificate(name.clone()),
            (None, None, Some(_), None) => {
                return Err(ServedError::odd(
                    "has a `certificate` that is no URI, such as `spiffe://example.com/agent`",
                ));
            }
            (None, None, None, Some(uid)) => Proof::User(uid),
            (None, None, None, None) => {
                return Err(ServedError::odd("needs one of `oauth`, `token-file`, `certificate` and `uid`"));
            }
            (oauth, token, certificate, uid) => {
                let given = [
                    ("`oauth`", oauth.is_some()),
                    ("`token-file`", token.is_some()),
                    ("`certificate`", certificate.is_some()),
                    ("`uid`", uid.is_some()),
                ];
                let given: Vec<&str> = given.iter().filter(|(_, given)| *given).map(|(key, _)| *key).collect();
                return Err(ServedError::Odd(format!("has {}, and needs one of them", given.join(" and "))));
            }
        };
        Ok(Served { agent: name.to_owned(), user: self.user.clone(), roles: self.roles.clone(), proof })
    }
}

impl BearerTable {
    fn proof(&self) -> Result<Proof, ServedError> {
        if self.scopes.iter().any(|scope| !is_scope(scope)) {
            return Err(ServedError::odd("has `scopes` of which one is none"));
        }
        let (subject, client) = (self.subject.clone(), self.client.clone());
        Ok(Proof::Token { subject, client, claims: self.claims.clone(), scopes: self.scopes.clone() })
    }
}

/// Why a principal of the settings cannot be served.
#[derive(Debug)]
pub(crate) enum ServedError {
    /// To be read behind its name.
    Odd(String),
    /// A file.
    Terms(HttpConfigError),
}

impl ServedError {
    fn odd(why: &str) -> Self {
        Self::Odd(why.to_owned())
    }
}

impl From<HttpConfigError> for ServedError {
    fn from(error: HttpConfigError) -> Self {
        Self::Terms(error)
    }
}

/// RFC 6749, section 3.3.
fn is_scope(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\".contains(&byte))
}

/// Whether a text is what a page says of itself: a scheme and a host, without a path.
pub(crate) fn is_origin(text: &str) -> bool {
    let Some((scheme, host)) = text.split_once("://") else { return false };
    ["http", "https"].contains(&scheme) && !host.is_empty() && !host.contains(['/', '*', '?', '#', '@', ' '])
}
