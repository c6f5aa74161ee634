//! What serving over HTTP takes, and who is served.

use palisade_mcp::http::config::{Address, HttpConfig, Proof};

use super::http_principals::{self, Served, ServedError};
use super::values::{os_user, own, place_of};
use super::{ConfigError, IDLE, Layers};

/// Connections at a time, at most: each takes descriptors.
const MAX_CONNECTIONS: usize = 10_000;

impl Layers<'_> {
    /// What serving over HTTP at this address takes.
    pub(super) fn terms(&self, address: Address) -> Result<HttpConfig, ConfigError> {
        self.terms_as_written(address).map_err(|error| self.placed(error))
    }

    fn terms_as_written(&self, address: Address) -> Result<HttpConfig, ConfigError> {
        let url = self.pick(|file| file.serve.url.clone()).map(|text| text.parse()).transpose()?;
        let origins = self.pick(|file| file.serve.origins.clone()).unwrap_or_default();
        let wrong = |key: &str, value: &str, expected| {
            Err(ConfigError::Value { key: key.to_owned(), value: value.to_owned(), expected })
        };
        if let Some(origin) = origins.iter().find(|origin| !http_principals::is_origin(origin)) {
            return wrong(
                "serve.origins",
                origin,
                "what a page says of itself, such as `https://inspector.example.com`",
            );
        }
        let max_connections = self.pick(|file| file.serve.max_connections).unwrap_or(256);
        if !(1..=MAX_CONNECTIONS).contains(&max_connections) {
            return wrong("serve.max-connections", &max_connections.to_string(), "a number from 1 to 10000");
        }
        let rate = self.pick(|file| file.serve.rate).unwrap_or(50);
        if rate == 0 {
            return wrong("serve.rate", "0", "1 or more requests a second");
        }
        let oauth = self.located(|file| file.serve.oauth.clone());
        let oauth = oauth.map(|(file, table)| table.oauth(own(file))).transpose();
        let oauth = match oauth {
            Ok(oauth) => oauth,
            Err((key, value, expected)) => return wrong(key, &value, expected),
        };
        Ok(HttpConfig {
            address,
            url,
            hosts: self.pick(|file| file.serve.hosts.clone()).unwrap_or_default(),
            origins,
            tls: self.located(|file| file.serve.tls.clone()).map(|(file, table)| table.tls(own(file))),
            oauth,
            admin: self.located(|file| file.serve.admin.clone()).map(|(file, path)| own(file)(&path)),
            max_connections,
            rate,
            idle: self.time("session.idle", |file| file.session.idle.clone())?.unwrap_or(IDLE),
        })
    }

    /// The principals that the settings name. Without any, a socket in the file system is for the server's own user, who is the
    /// agent of the settings: the same user could start a server on standard input.
    pub(super) fn served(&self, address: &Address) -> Result<Vec<Served>, ConfigError> {
        let Some((path, principals)) = self.located(|file| file.serve.principals.clone()) else {
            if matches!(address, Address::Tcp(_)) {
                return Ok(Vec::new());
            }
            let agent = self.text(|file| file.agent.name.clone(), self.flags.agent.clone());
            let user = self.text(|file| file.agent.user.clone(), self.flags.user.clone());
            return Ok(vec![Served {
                agent: agent.unwrap_or_else(|| "agent".to_owned()),
                user: user.unwrap_or_else(os_user),
                roles: self.roles(),
                proof: Proof::User(nix::unistd::geteuid().as_raw()),
            }]);
        };
        if self.flags.agent.is_some() || self.flags.user.is_some() || !self.flags.roles.is_empty() {
            return Err(ConfigError::Principals);
        }
        let served = principals.iter().map(|(name, table)| {
            table.served(name, own(path)).map_err(|error| match error {
                ServedError::Terms(error) => error.into(),
                ServedError::Odd(why) => {
                    let place = place_of(path, &["serve", "principals", name], None);
                    ConfigError::Principal { place, name: name.clone(), why }
                }
            })
        });
        served.collect()
    }
}
