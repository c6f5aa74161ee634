//! What `[serve]` in a settings file says of serving over HTTP: its keys, and the files that it names.
//!
//! Which values make sense is decided where a server starts (`http_principals.rs`).

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct ServeTable {
    pub(crate) url: Option<String>,
    pub(crate) hosts: Option<Vec<String>>,
    pub(crate) origins: Option<Vec<String>>,
    pub(crate) admin: Option<String>,
    pub(crate) max_connections: Option<usize>,
    pub(crate) rate: Option<u32>,
    pub(crate) tls: Option<TlsTable>,
    pub(crate) oauth: Option<OAuthTable>,
    pub(crate) principals: Option<BTreeMap<String, PrincipalTable>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TlsTable {
    pub(super) certificate: String,
    pub(super) key: String,
    pub(super) clients: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OAuthTable {
    pub(super) issuer: String,
    pub(super) audience: Option<String>,
    pub(super) keys: String,
    pub(super) roots: Option<String>,
    pub(super) algorithms: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) scopes: BTreeSet<String>,
}

/// A principal, under its agent's name.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct PrincipalTable {
    pub(crate) user: String,
    pub(crate) roles: BTreeSet<String>,
    pub(super) oauth: Option<BearerTable>,
    pub(super) token_file: Option<String>,
    pub(super) certificate: Option<String>,
    pub(super) uid: Option<u32>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BearerTable {
    pub(super) subject: Option<String>,
    pub(super) client: Option<String>,
    #[serde(default)]
    pub(super) claims: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) scopes: BTreeSet<String>,
}

impl ServeTable {
    /// The files that it names: whoever changes or reads one may be somebody else.
    pub(crate) fn files(&self) -> Vec<&str> {
        let tls = self.tls.iter().flat_map(|tls| [Some(&tls.certificate), Some(&tls.key), tls.clients.as_ref()]);
        let keys = self.oauth.iter().flat_map(|oauth| {
            let file = Some(&oauth.keys).filter(|keys| !keys.starts_with("https://"));
            [file, oauth.roots.as_ref()]
        });
        let tokens = self.principals.iter().flat_map(BTreeMap::values).map(|table| table.token_file.as_ref());
        let admin = std::iter::once(self.admin.as_ref());
        tls.chain(keys).chain(tokens).chain(admin).flatten().map(String::as_str).collect()
    }

    /// The roles that principals have.
    pub(crate) fn roles(&self) -> impl Iterator<Item = &String> {
        self.principals.iter().flat_map(BTreeMap::values).flat_map(|table| &table.roles)
    }

    /// Files that hold tokens.
    pub(crate) fn token_files(&self) -> impl Iterator<Item = &str> {
        self.principals.iter().flat_map(BTreeMap::values).filter_map(|table| table.token_file.as_deref())
    }
}
