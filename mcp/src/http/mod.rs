//! MCP over HTTP, for clients that prove who they are.
//!
//! ```text
//! connection ─listen.rs─▶ request ─service.rs─▶ origin.rs ─▶ access.rs ─▶ limits.rs ─▶ the principal's own Handler
//!            seats.rs                          for us?      whose?       how much?
//!            tls.rs, strict.rs                              token.rs  ◀─ keys.rs
//! ```
//!
//! Each principal has a pipeline, protocol sessions and limits of its own (`service.rs`, `Room`): another's handle is as unknown as
//! one that does not exist, because there it does not. With which settings no server starts says `config.rs`.

mod access;
mod admin;
mod auth_log;
pub mod config;
pub(crate) mod hang_up;
mod keys;
mod limits;
mod listen;
mod metadata;
mod metrics;
mod origin;
mod seats;
mod service;
mod strict;
mod tls;
mod token;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use palisade_runner::Pipeline;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use self::access::{Access, Tokens};
use self::admin::Admin;
use self::auth_log::AuthLog;
use self::config::{Address, HttpConfig, HttpConfigError, Proof, Url};
use self::keys::Keys;
use self::limits::{Limits, MAX_BODY};
use self::listen::{Listener, SocketFile};
use self::metadata::Metadata;
use self::metrics::Counts;
use self::origin::ServerNames;
use self::service::{Room, Service};
use self::token::Rules;
use crate::server::{self, Handler};

/// How long an answer is kept for a client whose stream broke off.
const KEPT: Duration = Duration::from_secs(10);

/// How long streams stay open once the server is told to stop, for the answers to what has been ended by that.
const ANSWERS: Duration = Duration::from_millis(600);

/// A principal, and what it has for itself.
#[derive(Debug)]
pub struct Principal {
    /// The agent's name.
    pub name: String,
    /// What it has to prove.
    pub proof: Proof,
    /// What judges and runs its commands.
    pub pipeline: Arc<Pipeline>,
}

/// A server that listens and answers nobody yet.
pub struct Server {
    listener: Listener,
    tls: Option<TlsAcceptor>,
    tokens: Option<Tokens>,
    admin: Option<(UnixListener, SocketFile)>,
    url: Url,
    names: ServerNames,
    settings: HttpConfig,
}

impl Server {
    /// Listens, and reads keys and certificates. Needs a tokio runtime. `proofs` are those of the principals that will be served.
    ///
    /// # Errors
    /// If nothing can listen there, or a file cannot be used.
    pub async fn open(settings: HttpConfig, proofs: &[Proof]) -> Result<Self, HttpConfigError> {
        let tls = settings.tls.as_ref().map(tls::acceptor).transpose()?;
        let own = rustix::process::geteuid().as_raw();
        // The kernel says who connects; that others may does not make them principals.
        let for_all = proofs.iter().any(|proof| *proof != Proof::User(own));
        let listener = Listener::open(&settings.address, for_all).await?;
        let admin = settings.admin.as_deref().map(|path| listen::unix(path, false)).transpose()?;
        let named = |address: SocketAddr| Url::of(address, tls.is_some());
        let (address, url) = match &listener {
            Listener::Tcp(_, address) => (Some(*address), settings.url.clone().unwrap_or_else(|| named(*address))),
            Listener::Unix(..) => {
                (None, settings.url.clone().unwrap_or_else(|| named(SocketAddr::from(([127, 0, 0, 1], 80)))))
            }
        };
        let tokens = match &settings.oauth {
            None => None,
            Some(oauth) => {
                let source = oauth.keys.clone();
                let keys = tokio::task::block_in_place(|| Keys::open(&source))?;
                let rules = Rules {
                    issuer: oauth.issuer.clone(),
                    audience: oauth.audience.clone().unwrap_or_else(|| url.to_string()),
                    algorithms: oauth.algorithms.clone(),
                };
                Some(Tokens { rules, keys: Arc::new(keys), scopes: oauth.scopes.iter().cloned().collect() })
            }
        };
        let names =
            ServerNames { hosts: hosts(&settings, &url, address), origins: settings.origins.iter().cloned().collect() };
        Ok(Self { listener, tls, tokens, admin, url, names, settings })
    }

    /// Where it listens and what clients call it, for a person.
    pub fn place(&self) -> String {
        match (&self.listener, &self.settings.address) {
            (Listener::Tcp(_, address), _) => format!("{} at {address}", self.url),
            (Listener::Unix(..), Address::Unix(path)) => format!("{} at unix:{}", self.url, path.display()),
            (Listener::Unix(..), Address::Tcp(address)) => format!("{} at {address}", self.url),
        }
    }

    /// Serves these principals until `stop` is done. Then whatever runs for a call is ended, and answers that are under way have
    /// a moment; sessions are the pipelines' to end.
    pub async fn serve(self, principals: Vec<Principal>, stop: impl Future<Output = ()>) {
        let Self { listener, tls, tokens, admin: admin_socket, url, names, settings } = self;
        let (switch, stopping) = watch::channel(false);
        let config = StreamableHttpServerConfig::default()
            .with_max_request_body_bytes(MAX_BODY)
            // `origin.rs` has looked at these.
            .disable_allowed_hosts()
            .disable_allowed_origins();
        let streams = config.cancellation_token.clone();
        let counts = Arc::new(Counts::default());
        let metadata = settings.oauth.as_ref().zip(tokens.as_ref());
        let metadata = metadata.map(|(oauth, tokens)| Metadata::new(&url, &oauth.issuer, &tokens.scopes));
        let proofs = principals.iter().map(|principal| principal.proof.clone()).collect();
        let kept: Vec<_> = principals
            .iter()
            .map(|principal| Arc::new(server::PrincipalState::new(Arc::clone(&principal.pipeline))))
            .collect();
        let room = |own: &Arc<server::PrincipalState>| {
            let mut clients = LocalSessionManager::default();
            clients.session_config.keep_alive = Some(settings.idle);
            clients.session_config.completed_cache_ttl = KEPT;
            let clients = Arc::new(clients);
            let (own, gone) = (Arc::clone(own), stopping.clone());
            let handler = move || Ok(Handler::new(Arc::clone(&own), gone.clone()));
            let service = StreamableHttpService::new(handler, Arc::clone(&clients), config.clone());
            Room { service, clients, limits: Limits::new(settings.rate) }
        };
        let service = Arc::new(Service {
            names,
            path: url.path().to_owned(),
            metadata,
            access: Access { tokens, proofs },
            rooms: kept.iter().map(room).collect(),
            counts: Arc::clone(&counts),
            auth_log: AuthLog::new(principals.first().map(|principal| Arc::clone(&principal.pipeline))),
        });
        let principals = principals.into_iter().map(|principal| (principal.name, principal.pipeline)).collect();
        let admin = Arc::new(Admin { counts, principals, stopping: stopping.clone() });
        let asked = async {
            match admin_socket {
                Some((listener, _own)) => admin.keep(listener).await,
                None => std::future::pending().await,
            }
        };
        let stop = async {
            stop.await;
            switch.send_replace(true);
            tokio::time::sleep(ANSWERS).await;
            streams.cancel();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = listen::serve(&listener, tls.as_ref(), &service, settings.max_connections, stopping) => {}
            () = asked => {}
            () = stop => {}
        }
        switch.send_replace(true);
        for own in kept {
            own.end().await;
        }
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Server").field("url", &self.url).finish_non_exhaustive()
    }
}

/// The names that requests may be for.
fn hosts(settings: &HttpConfig, url: &Url, address: Option<SocketAddr>) -> BTreeSet<String> {
    let mut hosts: BTreeSet<String> = settings.hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
    hosts.extend(url.hosts());
    match address {
        Some(address) if address.ip().is_loopback() => {
            hosts.extend([address.to_string(), format!("localhost:{}", address.port())]);
        }
        Some(_) => {}
        // Clients of a socket have to say something.
        None => hosts.extend(["localhost".to_owned()]),
    }
    hosts
}
