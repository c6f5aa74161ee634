//! What a command does beyond its workspace, as facts: `outward.rs` finds them in its words.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// What a command does beyond its workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutwardEffect {
    /// It reads the system's state.
    Observe,
    /// It makes something there.
    Create,
    /// It alters what is there.
    Change,
    /// It removes what is there, or an outage follows.
    Destroy,
    /// It makes something public in a way that cannot be taken back.
    Publish,
    /// It reads, makes or changes secrets, or who may do what.
    Credential,
    /// It runs code there.
    Execute,
    /// It changes services, power, users, kernel or packages of this machine.
    Host,
}

impl OutwardEffect {
    /// All of them, in the order of their declaration.
    pub const ALL: [Self; 8] = [
        Self::Observe,
        Self::Create,
        Self::Change,
        Self::Destroy,
        Self::Publish,
        Self::Credential,
        Self::Execute,
        Self::Host,
    ];

    /// As tables and policies write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Create => "create",
            Self::Change => "change",
            Self::Destroy => "destroy",
            Self::Publish => "publish",
            Self::Credential => "credential",
            Self::Execute => "execute",
            Self::Host => "host",
        }
    }
}

/// What a table says of one command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outward {
    /// The system that it concerns: `kubernetes`, `aws`, `host`.
    pub system: String,
    /// What it does for certain, as far as its words are known. Empty if the verb itself is known only when it runs.
    pub effects: BTreeSet<OutwardEffect>,
    /// What it may do besides, by words that are known only when it runs.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub possible: BTreeSet<OutwardEffect>,
    /// Where: `namespace` → `prod`. Only what the words say; a tool's own settings may say more.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub scope: BTreeMap<String, String>,
    /// To what: the operands behind the verb.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub target: String,
    /// What it asks a server of HTTP for; none: it is no client of HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<HttpRequest>,
    /// Every host that it talks to, or directory of its socket. Empty: the words do not tell, or not all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// The file of the table.
    pub table: &'static str,
    /// Its rows that say so. Empty: no row fits, or too many may.
    pub rows: Vec<&'static str>,
    /// It concerns a file, which it reads alone if it only looks.
    #[serde(skip)]
    pub(crate) file: bool,
    /// Variables that say where, by scope word, for [`Self::with_variables`].
    #[serde(skip)]
    pub(crate) variables: Vec<(&'static str, &'static str)>,
}

impl Outward {
    /// Fills the scope in from variables that are set for the command. What its own words say comes first.
    pub(crate) fn with_variables<'v>(&mut self, value: impl Fn(&str) -> Option<&'v str>) {
        for (word, variable) in &self.variables {
            if let Some(value) = value(variable).filter(|_| !self.scope.contains_key(*word)) {
                self.scope.insert((*word).to_owned(), value.to_owned());
                // It leads to another server than the words alone say.
                if word.starts_with("host") {
                    self.hosts.clear();
                }
            }
        }
    }

    /// The scope in one word, the narrowest that is told. Empty: not told.
    pub fn narrowest(&self) -> &str {
        SCOPES.iter().find_map(|word| self.scope.get(*word)).map_or("", String::as_str)
    }
}

/// A request of HTTP. What is not told, or told of several requests in different ways, is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpRequest {
    /// `GET`, in capitals.
    pub method: String,
    /// The host's name or address, without a port.
    pub host: String,
    /// From the first `/` on, without query and fragment.
    pub path: String,
}

/// Scope words, narrowest first.
const SCOPES: [&str; 24] = [
    "namespace",
    "database",
    "stack",
    "workspace",
    "repository",
    "service",
    "app",
    "site",
    "bucket",
    "environment",
    "resource-group",
    "project",
    "subscription",
    "profile",
    "account",
    "context",
    "cluster",
    "configuration",
    "inventory",
    "limit",
    "registry",
    "host",
    "hostname",
    "region",
];
