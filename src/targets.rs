//! What `[targets.NAME]` in a settings file says of a place where sessions can be.
//!
//! Decides which values make sense; connects to nothing and reads no secret.

use std::path::PathBuf;
use std::time::Duration;

use palisade_engine::AbsolutePath;
use palisade_runner::transport::{ContainerSource, DockerTarget, Place, SecretSource, SshTarget, Target};
use serde::Deserialize;

use crate::config;

/// Until a dead peer is noticed.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// To connect, and again to prove who we are.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Where an engine listens unless it is told otherwise.
const SOCKET: &str = "/var/run/docker.sock";

/// Memory of a container that is made for a session.
const MEMORY: u64 = 2 << 30;

/// Processes of a container that is made for a session.
const PROCESSES: u64 = 512;

/// One target.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TargetTable {
    ssh: Option<SshTable>,
    docker: Option<DockerTable>,
    workspace: Option<String>,
    home: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct SshTable {
    host: String,
    port: Option<u16>,
    user: String,
    known_hosts: Option<Files>,
    identity: Option<String>,
    certificate: Option<String>,
    passphrase: Option<SecretTable>,
    agent: Option<String>,
    password: Option<SecretTable>,
    timeout: Option<String>,
    keepalive: Option<String>,
    #[serde(default, rename = "dangerous_accept_new_host_key")]
    dangerous_accept_new_host_key: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct DockerTable {
    container: Option<String>,
    image: Option<String>,
    user: Option<String>,
    socket: Option<String>,
    memory: Option<String>,
    processes: Option<u64>,
}

/// One file or several.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "a file, or a list of files")]
enum Files {
    One(String),
    Several(Vec<String>),
}

/// Where a secret is: never the secret itself.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretTable {
    env: Option<String>,
    file: Option<String>,
}

impl TargetTable {
    /// The target. `home` is the server's own; `own` makes a path of what a settings file names.
    ///
    /// # Errors
    /// What makes no sense, to be read behind the target's name.
    pub(crate) fn target(
        &self,
        name: &str,
        home: &AbsolutePath,
        own: impl Fn(&str) -> PathBuf,
    ) -> Result<Target, String> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
            return Err(
                "has a name that is not made of letters, digits, `.`, `_` and `-`, at most 64 of them".to_owned()
            );
        }
        let place = match (&self.ssh, &self.docker) {
            (Some(ssh), None) => Place::Ssh(Box::new(ssh.place(home, &own)?)),
            (None, Some(docker)) => Place::Docker(docker.place(&own)?),
            _ => return Err("needs one of `ssh` and `docker`".to_owned()),
        };
        let absolute = |key: &str, path: &str| {
            AbsolutePath::new(path).ok_or_else(|| format!("has `{key}` = `{path}`, which is not an absolute path"))
        };
        let workspace = self.workspace.as_deref().map(|path| absolute("workspace", path)).transpose()?;
        let mut target = Target { name: name.to_owned(), place, workspace, home: absolute("home", "/root")? };
        let usual = match target.user() {
            "" | "root" | "0" | "0:0" => "/root".to_owned(),
            user => format!("/home/{user}"),
        };
        target.home = absolute("home", self.home.as_deref().unwrap_or(&usual))?;
        Ok(target)
    }
}

impl TargetTable {
    /// The files that it names.
    pub(crate) fn files(&self) -> Vec<&str> {
        let Some(ssh) = &self.ssh else { return Vec::new() };
        let known = match &ssh.known_hosts {
            None => &[][..],
            Some(Files::One(file)) => std::slice::from_ref(file),
            Some(Files::Several(files)) => files,
        };
        let secrets = [&ssh.passphrase, &ssh.password].into_iter().flatten().filter_map(|secret| secret.file.as_ref());
        let keys = [&ssh.identity, &ssh.certificate, &ssh.agent].into_iter().flatten();
        known.iter().chain(keys).chain(secrets).map(String::as_str).collect()
    }
}

impl SshTable {
    fn place(&self, home: &AbsolutePath, own: &impl Fn(&str) -> PathBuf) -> Result<SshTarget, String> {
        let word = |key: &str, text: &str| {
            let odd = |character: char| character.is_whitespace() || character.is_control();
            let bad = text.is_empty() || text.starts_with('-') || text.contains(odd);
            if bad { Err(format!("has `{key}` = `{text}`, which is none")) } else { Ok(text.to_owned()) }
        };
        let known_hosts = match &self.known_hosts {
            None => vec![PathBuf::from(format!("{home}/.ssh/known_hosts")), PathBuf::from("/etc/ssh/ssh_known_hosts")],
            Some(Files::One(file)) => vec![own(file)],
            Some(Files::Several(files)) => files.iter().map(|file| own(file)).collect(),
        };
        let time = |key: &str, text: Option<&String>, usual| match text {
            None => Ok(usual),
            Some(text) => config::duration(key, text)
                .map_err(|_| format!("has `{key}` = `{text}`, which is not a time such as `5s`")),
        };
        let secret = |key: &str, table: Option<&SecretTable>| table.map(|table| table.source(key, own)).transpose();
        if self.identity.is_none() && (self.passphrase.is_some() || self.certificate.is_some()) {
            return Err("has a `passphrase` or a `certificate` without an `identity`".to_owned());
        }
        Ok(SshTarget {
            host: word("host", &self.host)?,
            port: self.port.unwrap_or(22),
            user: word("user", &self.user)?,
            known_hosts,
            identity: self.identity.as_deref().map(own),
            certificate: self.certificate.as_deref().map(own),
            passphrase: secret("passphrase", self.passphrase.as_ref())?,
            agent: self.agent.as_deref().map(own),
            password: secret("password", self.password.as_ref())?,
            timeout: time("timeout", self.timeout.as_ref(), TIMEOUT)?,
            keepalive: time("keepalive", self.keepalive.as_ref(), KEEPALIVE)?,
            dangerous_accept_new_host_key: self.dangerous_accept_new_host_key,
        })
    }
}

impl DockerTable {
    fn place(&self, own: &impl Fn(&str) -> PathBuf) -> Result<DockerTarget, String> {
        let source = match (&self.container, &self.image) {
            (Some(name), None) => ContainerSource::Container(name.clone()),
            (None, Some(name)) => ContainerSource::Image(name.clone()),
            _ => return Err("needs one of `container` and `image`".to_owned()),
        };
        // It becomes a part of a request's path.
        let (ContainerSource::Container(name) | ContainerSource::Image(name)) = &source;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:@".contains(&byte);
        if name.is_empty() || !name.bytes().all(plain) || name.contains("..") || name.starts_with('/') {
            return Err(format!("names `{name}`, which is no name of a container or image"));
        }
        let memory = match &self.memory {
            None => MEMORY,
            Some(text) => config::size("memory", text)
                .map_err(|_| format!("has `memory` = `{text}`, which is not a size such as `2GiB`"))?,
        };
        Ok(DockerTarget {
            source,
            user: self.user.clone().unwrap_or_default(),
            socket: self.socket.as_deref().map_or_else(|| PathBuf::from(SOCKET), own),
            memory,
            processes: self.processes.unwrap_or(PROCESSES),
        })
    }
}

impl SecretTable {
    fn source(&self, key: &str, own: &impl Fn(&str) -> PathBuf) -> Result<SecretSource, String> {
        match (&self.env, &self.file) {
            (Some(name), None) => Ok(SecretSource::Variable(name.clone())),
            (None, Some(file)) => Ok(SecretSource::File(own(file))),
            _ => Err(format!("has a `{key}` that needs one of `env` and `file`: where it is, not what it is")),
        }
    }
}
