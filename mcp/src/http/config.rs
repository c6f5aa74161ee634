//! What the operator set about HTTP, and the settings with which no server starts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use palisade_runner::sandbox::SandboxError;
use sha2::{Digest as _, Sha256};

pub use super::keys::KeySource;
pub use super::token::Algorithm;

/// Most principals of one server.
pub const MAX_PRINCIPALS: usize = 64;

/// Fewest bytes of a token that the operator gives out: what can be guessed proves nothing.
const MIN_SECRET: usize = 32;

/// Where the server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// An address and port of this machine.
    Tcp(SocketAddr),
    /// A socket in the file system, whose clients the kernel names.
    Unix(PathBuf),
}

impl FromStr for Address {
    type Err = HttpConfigError;

    fn from_str(text: &str) -> Result<Self, HttpConfigError> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = PathBuf::from(path);
            return if path.is_absolute() {
                Ok(Self::Unix(path))
            } else {
                Err(HttpConfigError::Address(text.to_owned()))
            };
        }
        text.parse().map(Self::Tcp).map_err(|_| HttpConfigError::Address(text.to_owned()))
    }
}

impl Address {
    /// Whether only this machine can reach it.
    pub(super) fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

/// What clients call the server: the resource that tokens are for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    scheme: String,
    authority: String,
    path: String,
}

impl FromStr for Url {
    type Err = HttpConfigError;

    fn from_str(text: &str) -> Result<Self, HttpConfigError> {
        let bad = || HttpConfigError::Url(text.to_owned());
        let uri: http::Uri = text.parse().map_err(|_| bad())?;
        let scheme = uri.scheme_str().filter(|scheme| ["http", "https"].contains(scheme)).ok_or_else(bad)?;
        let authority = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
        let plain = !authority.is_empty() && !authority.contains('@') && uri.query().is_none() && !text.contains('#');
        let path = uri.path().trim_end_matches('/');
        if !plain || path.is_empty() || path.starts_with("/.well-known") {
            return Err(bad());
        }
        Ok(Self { scheme: scheme.to_owned(), authority: authority.to_ascii_lowercase(), path: path.to_owned() })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}://{}{}", self.scheme, self.authority, self.path)
    }
}

impl Url {
    /// What a server is called that has been given no other name.
    pub(super) fn of(address: SocketAddr, has_tls: bool) -> Self {
        let scheme = if has_tls { "https" } else { "http" };
        Self { scheme: scheme.to_owned(), authority: address.to_string(), path: "/mcp".to_owned() }
    }

    /// The name without the path.
    pub(super) fn origin(&self) -> String {
        format!("{}://{}", self.scheme, self.authority)
    }

    /// What may stand in `Host`: the port that is meant anyway may stand there or not.
    pub(super) fn hosts(&self) -> Vec<String> {
        let usual = if self.scheme == "https" { ":443" } else { ":80" };
        let has_port = self.authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let other = match self.authority.strip_suffix(usual) {
            Some(host) => Some(host.to_owned()),
            None if has_port => None,
            None => Some(format!("{}{usual}", self.authority)),
        };
        std::iter::once(self.authority.clone()).chain(other).collect()
    }

    /// The path, which begins with a slash.
    pub(super) fn path(&self) -> &str {
        &self.path
    }
}

/// The files of transport security.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The server's certificate and those that lead to one that clients know, in PEM.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The certificates of those that vouch for clients.
    pub clients: Option<PathBuf>,
}

/// Whose access tokens count, and which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuth {
    /// The issuer, as tokens name it.
    pub issuer: String,
    /// Whom tokens are for; none: the server's URL.
    pub audience: Option<String>,
    /// Its keys.
    pub keys: KeySource,
    /// The algorithms that count.
    pub algorithms: BTreeSet<Algorithm>,
    /// Scopes that every token needs.
    pub scopes: BTreeSet<String>,
}

/// What somebody has to prove to be a principal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// An access token that says all of this.
    Token {
        /// Its `sub`.
        subject: Option<String>,
        /// Its `client_id`, or else its `azp`.
        client: Option<String>,
        /// Other claims: a text that each is or, if it is a list, holds.
        claims: BTreeMap<String, String>,
        /// Scopes, besides those that every token needs.
        scopes: BTreeSet<String>,
    },
    /// A token that the operator gave out.
    Secret(Fingerprint),
    /// A client certificate with this URI among its names.
    Certificate(String),
    /// A process of this user, at the other end of a socket in the file system.
    User(u32),
}

/// The SHA-256 of a token: what is compared holds nothing that could be used.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl fmt::Debug for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Fingerprint(..)")
    }
}

impl Fingerprint {
    /// That of the token in a file, which nobody but its owner and group can read.
    ///
    /// # Errors
    /// If it cannot be read, others can, or what it holds is no token or too short.
    pub fn of_file(path: &Path) -> Result<Self, HttpConfigError> {
        use std::os::unix::fs::MetadataExt as _;
        let failed = |why: &dyn fmt::Display| HttpConfigError::file("`token-file`", path, why);
        let about = std::fs::metadata(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => failed(&"there is no such file"),
            _ => failed(&error),
        })?;
        if about.mode() & 0o007 != 0 {
            return Err(failed(&"other users can read it: `chmod 600` it"));
        }
        let text = std::fs::read_to_string(path).map_err(|error| failed(&error))?;
        let token = text.trim();
        if token.len() < MIN_SECRET || token.bytes().any(|byte| !byte.is_ascii_graphic()) {
            return Err(failed(&"a token has 32 letters, digits and signs at least, and no space"));
        }
        Ok(Self::of(token))
    }

    /// That of a token.
    pub(super) fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// What the operator set.
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// Where the server listens.
    pub address: Address,
    /// What clients call it.
    pub url: Option<Url>,
    /// Other names and ports that clients may call it by.
    pub hosts: Vec<String>,
    /// The web pages that may speak to it.
    pub origins: Vec<String>,
    /// Transport security.
    pub tls: Option<Tls>,
    /// Whose tokens count.
    pub oauth: Option<OAuth>,
    /// Where an operator asks how it does.
    pub admin: Option<PathBuf>,
    /// Connections at a time.
    pub max_connections: usize,
    /// Requests of one principal in a second.
    pub rate: u32,
    /// How long a client is remembered that says nothing.
    pub idle: Duration,
}

/// A principal that the settings name, before anything is opened for it.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// The agent's name.
    pub name: &'a str,
    /// What it has to prove.
    pub proof: &'a Proof,
    /// Where it works.
    pub workspace: &'a Path,
    /// Its sessions start at level `strict` or not at all.
    pub strict: bool,
}

/// Settings with which no server starts.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum HttpConfigError {
    /// Not an address to listen on.
    #[error("`{0}` is no address to listen on")]
    #[diagnostic(help("give an IP address and a port, such as `127.0.0.1:8931`, or `unix:` and an absolute path"))]
    Address(String),
    /// Not a name for the server.
    #[error("`serve.url` is `{0}`, which is no URL of this server")]
    #[diagnostic(help("it is what clients call it, with a path: `https://palisade.example.com/mcp`"))]
    Url(String),
    /// Something is said that others could read or change.
    #[error("`{0}` can be reached from other machines, and there is no `serve.tls`")]
    #[diagnostic(help(
        "set `serve.tls`, or listen on 127.0.0.1 or on `unix:PATH` and let a proxy on this machine speak TLS"
    ))]
    Plain(SocketAddr),
    /// Nobody could tell what it is called.
    #[error("there is no `serve.url`")]
    #[diagnostic(help("tokens and clients name the server by it: `https://palisade.example.com/mcp`"))]
    NoUrl,
    /// Tokens would cross a network in the clear.
    #[error("`serve.url` begins with `http:`, and is not a name of this machine alone")]
    #[diagnostic(help("let clients reach it by `https:`"))]
    PlainUrl,
    /// Anybody could come.
    #[error("the settings name no principal, so that nobody would have to prove who they are")]
    #[diagnostic(help("name the principals of this server: `[serve.principals.NAME]`, see docs/serve-http.md"))]
    Nobody,
    /// More than are kept apart.
    #[error("there are {0} principals, more than {MAX_PRINCIPALS}")]
    #[diagnostic(help("start a second server for some of them"))]
    TooMany(usize),
    /// A proof that cannot be given here.
    #[error("the principal `{name}` is proven by {proof}, {missing}")]
    #[diagnostic(help("see docs/serve-http.md"))]
    Unprovable {
        /// Whose.
        name: String,
        /// By what.
        proof: &'static str,
        /// Why nobody can.
        missing: &'static str,
    },
    /// One proof for two.
    #[error("the principals `{0}` and `{1}` are proven by the same")]
    #[diagnostic(help("nobody could tell them apart"))]
    Same(String, String),
    /// Several, and not kept apart by the kernel.
    #[error("there are several principals, and `sandbox.level` is not `strict`")]
    #[diagnostic(help("set it, or start a server for each under a user of its own"))]
    Lax,
    /// Several, and this machine cannot keep them apart.
    #[error("there are several principals, and this machine cannot keep them apart: {0}")]
    #[diagnostic(help("start a server for each under a user of its own"))]
    Together(#[source] SandboxError),
    /// Several in one place.
    #[error("the workspaces of the principals `{0}` and `{1}` are one, or one in the other")]
    #[diagnostic(help("give each its own: `path = \"/srv/agents/{{agent}}\"` in `[workspace]`"))]
    SharedWorkspace(String, String),
    /// What an agent could take away and put another in its place.
    #[error("the socket `{}` lies in the workspace of the principal `{name}`", path.display())]
    #[diagnostic(help("put it where no agent can write"))]
    WithinReach {
        /// The socket.
        path: PathBuf,
        /// Whose workspace.
        name: String,
    },
    /// A file cannot be used.
    #[error("{what}: `{path}`: {why}")]
    File {
        /// What it is for.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// Nothing can listen there.
    #[error("`--http`: cannot listen on `{place}`")]
    Listen {
        /// Where.
        place: String,
        /// What the system said.
        source: std::io::Error,
    },
}

impl HttpConfigError {
    pub(super) fn file(what: &'static str, path: &Path, why: impl fmt::Display) -> Self {
        Self::File { what, path: path.to_owned(), why: why.to_string() }
    }
}

impl HttpConfig {
    /// Whether a server may start with this configuration for these principals.
    ///
    /// # Errors
    /// The first reason why not.
    pub fn check(&self, principals: &[Candidate<'_>]) -> Result<(), HttpConfigError> {
        self.is_reachable_safely()?;
        if principals.is_empty() {
            return Err(HttpConfigError::Nobody);
        }
        if principals.len() > MAX_PRINCIPALS {
            return Err(HttpConfigError::TooMany(principals.len()));
        }
        for principal in principals {
            if let Address::Unix(path) = &self.address
                && path.starts_with(principal.workspace)
            {
                return Err(HttpConfigError::WithinReach { path: path.clone(), name: principal.name.to_owned() });
            }
            if let Some(missing) = self.missing(principal.proof) {
                let (name, proof) = (principal.name.to_owned(), principal.proof.kind());
                return Err(HttpConfigError::Unprovable { name, proof, missing });
            }
        }
        for (one, other) in pairs(principals) {
            if one.proof == other.proof {
                return Err(HttpConfigError::Same(one.name.to_owned(), other.name.to_owned()));
            }
            if one.workspace.starts_with(other.workspace) || other.workspace.starts_with(one.workspace) {
                return Err(HttpConfigError::SharedWorkspace(one.name.to_owned(), other.name.to_owned()));
            }
        }
        if principals.len() > 1 {
            if principals.iter().any(|principal| !principal.strict) {
                return Err(HttpConfigError::Lax);
            }
            palisade_runner::sandbox::probe().separates_principals().map_err(HttpConfigError::Together)?;
        }
        Ok(())
    }

    fn is_reachable_safely(&self) -> Result<(), HttpConfigError> {
        match &self.address {
            Address::Tcp(address) if !self.address.is_local() && self.tls.is_none() => {
                return Err(HttpConfigError::Plain(*address));
            }
            Address::Tcp(_) if !self.address.is_local() && self.url.is_none() => return Err(HttpConfigError::NoUrl),
            Address::Tcp(_) => {}
            Address::Unix(path) => {
                if self.tls.is_some() {
                    return Err(HttpConfigError::file("`serve.tls`", path, "a socket in the file system has none"));
                }
                if self.oauth.is_some() && self.url.is_none() {
                    return Err(HttpConfigError::NoUrl);
                }
            }
        }
        let is_own = |url: &Url| {
            let host = url.authority.rsplit_once(':').map_or(url.authority.as_str(), |(host, _)| host);
            let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
            host == "localhost" || address.is_ok_and(|address| address.is_loopback())
        };
        if self.url.as_ref().is_some_and(|url| url.scheme == "http" && !is_own(url)) {
            return Err(HttpConfigError::PlainUrl);
        }
        Ok(())
    }

    /// Why nobody can give a proof here, if so.
    fn missing(&self, proof: &Proof) -> Option<&'static str> {
        let (is_unix, tls) = (matches!(self.address, Address::Unix(_)), self.tls.as_ref());
        match proof {
            Proof::Token { subject: None, client: None, .. } => Some("and neither `subject` nor `client` says whose"),
            Proof::Token { .. } if self.oauth.is_none() => Some("and there is no `serve.oauth`"),
            Proof::Certificate(_) if tls.is_none_or(|tls| tls.clients.is_none()) => {
                Some("and there is no `serve.tls.clients`")
            }
            Proof::User(_) if !is_unix => Some("and the server does not listen on `unix:PATH`"),
            Proof::Token { .. } | Proof::Certificate(_) | Proof::User(_) | Proof::Secret(_) => None,
        }
    }
}

impl Proof {
    /// In a reader's words.
    fn kind(&self) -> &'static str {
        match self {
            Self::Token { .. } => "an access token",
            Self::Secret(_) => "a token from a file",
            Self::Certificate(_) => "a client certificate",
            Self::User(_) => "its user",
        }
    }
}

fn pairs<T>(all: &[T]) -> impl Iterator<Item = (&T, &T)> {
    all.iter().enumerate().flat_map(move |(at, one)| all.iter().skip(at + 1).map(move |other| (one, other)))
}
