//! What `[targets.NAME]` in a settings file says of a place where sessions can be.
//!
//! Decides which values make sense, and what of them stands before OpenSSH's own configuration; connects to nothing and reads no
//! secret.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use palisade_engine::AbsolutePath;
use palisade_runner::target::{
    ContainerSource, DockerTarget, Identity, Place, RemoteGuard, SecretSource, SshTarget, Target,
};
use palisade_runner::transport::ssh::config::{Alias, Asked, Jump, Reader};
use serde::Deserialize;

use super::{duration, os_user, size};

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

/// Where a target keeps what is Palisade's, below its user's home.
const STATE: &str = ".local/state/palisade";

/// What whoever cannot have a guard at a target may do.
const UNHELD: &str = "; or set `remote_guard = false` for sessions that nothing holds there";

/// Hosts on the way to another, at most.
const MAX_JUMPS: usize = 8;

/// One target.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TargetTable {
    ssh: Option<SshTable>,
    docker: Option<DockerTable>,
    workspace: Option<String>,
    home: Option<String>,
    state: Option<String>,
    remote_guard: Option<bool>,
    remote_guard_binary: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct SshTable {
    alias: Option<String>,
    config: Option<String>,
    host: Option<String>,
    port: Option<u16>,
    user: Option<String>,
    jump: Option<Vec<String>>,
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
    /// The target, without the hosts on the way to it that the settings name. `home` is the server's own; `own` makes a path of what a
    /// settings file names.
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
            (Some(_), Some(_)) => return Err("has both `ssh` and `docker`, and needs one of them".to_owned()),
            (None, None) => return Err("needs one of `ssh` and `docker`".to_owned()),
        };
        let absolute = |key: &str, path: &str| {
            AbsolutePath::new(path).ok_or_else(|| format!("has `{key}` = `{path}`, which is not an absolute path"))
        };
        let workspace = self.workspace.as_deref().map(|path| absolute("workspace", path)).transpose()?;
        let (anything, name) = (absolute("home", "/root")?, name.to_owned());
        let guard = self.guard(&own)?;
        let on_host = matches!(place, Place::Ssh(_));
        let mut target = Target { name, place, workspace, home: anything.clone(), state: anything, guard };
        let usual = match target.user() {
            "" | "root" | "0" | "0:0" => "/root".to_owned(),
            user => format!("/home/{user}"),
        };
        target.home = absolute("home", self.home.as_deref().unwrap_or(&usual))?;
        let usual = format!("{}/{STATE}", target.home);
        target.state = absolute("state", self.state.as_deref().unwrap_or(&usual))?;
        let within = |path: &AbsolutePath| target.workspace.as_ref().map(|workspace| path.is_within(workspace));
        if target.guard.is_some() {
            // A login reads files there before anything holds it.
            if on_host && within(&target.home) != Some(false) {
                return Err(format!(
                    "needs a `workspace` that its user's home does not lie in: whoever can write there says what the next \
                     login runs{UNHELD}"
                ));
            }
            if within(&target.state) == Some(true) {
                return Err(format!(
                    "has a `state` in its `workspace`, where a session could exchange its own guard{UNHELD}"
                ));
            }
        }
        if let (Some(_), Place::Docker(docker)) = (&target.guard, &mut target.place) {
            docker.guard = Some(target.state.clone());
        }
        Ok(target)
    }
}

impl TargetTable {
    fn guard(&self, own: &impl Fn(&str) -> PathBuf) -> Result<Option<RemoteGuard>, String> {
        let binary = self.remote_guard_binary.as_deref().map(own);
        match (self.remote_guard.unwrap_or(true), binary) {
            (true, binary) => Ok(Some(RemoteGuard { binary })),
            (false, None) => Ok(None),
            (false, Some(_)) => Err("has a `remote_guard_binary` and `remote_guard = false`".to_owned()),
        }
    }

    /// The files that it names.
    pub(crate) fn files(&self) -> Vec<&str> {
        let guard = self.remote_guard_binary.as_ref();
        let Some(ssh) = &self.ssh else { return guard.map(String::as_str).into_iter().collect() };
        let known = match &ssh.known_hosts {
            None => &[][..],
            Some(Files::One(file)) => std::slice::from_ref(file),
            Some(Files::Several(files)) => files,
        };
        let secrets = [&ssh.passphrase, &ssh.password].into_iter().flatten().filter_map(|secret| secret.file.as_ref());
        let keys = [&ssh.config, &ssh.identity, &ssh.certificate, &ssh.agent].into_iter().flatten();
        known.iter().chain(keys).chain(secrets).chain(guard).map(String::as_str).collect()
    }

    /// The targets by way of which it is reached.
    fn jump(&self) -> &[String] {
        self.ssh.as_ref().and_then(|ssh| ssh.jump.as_deref()).unwrap_or_default()
    }
}

/// Gives each target the way to it, where `tables` name other targets. The first on the way is reached as it says itself.
///
/// # Errors
/// The name of the target of which it makes no sense, and what to read behind it.
pub(crate) fn join(
    targets: &mut BTreeMap<String, Target>,
    tables: &BTreeMap<String, &TargetTable>,
) -> Result<(), (String, String)> {
    let found = targets.clone();
    for (name, target) in targets {
        let Place::Ssh(ssh) = &mut target.place else { continue };
        let way = way(name, &found, tables, 0).map_err(|why| (name.clone(), why))?;
        if let Some(way) = way {
            ssh.jumps = way;
        }
        if ssh.jumps.len() > MAX_JUMPS {
            return Err((name.clone(), format!("is reached by way of more than {MAX_JUMPS} hosts")));
        }
    }
    Ok(())
}

/// The hosts on the way to a target, if the settings name them.
fn way(
    name: &str,
    targets: &BTreeMap<String, Target>,
    tables: &BTreeMap<String, &TargetTable>,
    depth: usize,
) -> Result<Option<Vec<SshTarget>>, String> {
    let Some(jump) = tables.get(name).map(|table| table.jump()).filter(|jump| !jump.is_empty()) else {
        return Ok(None);
    };
    if depth >= MAX_JUMPS {
        return Err("is reached by way of itself, or of too many others".to_owned());
    }
    let mut hosts = Vec::new();
    for (index, name) in jump.iter().enumerate() {
        let Some(Place::Ssh(ssh)) = targets.get(name).map(|target| &target.place) else {
            return Err(format!("has `jump` = `{name}`, which is no target of `ssh` in these settings"));
        };
        if index == 0 {
            hosts.extend(way(name, targets, tables, depth + 1)?.unwrap_or_else(|| ssh.jumps.clone()));
        }
        hosts.push(SshTarget { jumps: Vec::new(), ..SshTarget::clone(ssh) });
    }
    Ok(Some(hosts))
}

impl SshTable {
    fn place(&self, home: &AbsolutePath, own: &impl Fn(&str) -> PathBuf) -> Result<SshTarget, String> {
        let word = |key: &str, text: &str| {
            let odd = |character: char| character.is_whitespace() || character.is_control();
            let bad = text.is_empty() || text.starts_with('-') || text.contains(odd);
            if bad { Err(format!("has `{key}` = `{text}`, which is none")) } else { Ok(text.to_owned()) }
        };
        let named = |key: &str, text: Option<&String>| text.map(|text| word(key, text)).transpose();
        let time = |key: &str, text: Option<&String>, usual| match text {
            None => Ok(usual),
            Some(text) => {
                duration(key, text).map_err(|_| format!("has `{key}` = `{text}`, which is not a time such as `5s`"))
            }
        };
        let secret = |key: &str, table: Option<&SecretTable>| table.map(|table| table.source(key, own)).transpose();
        if self.identity.is_none() && (self.passphrase.is_some() || self.certificate.is_some()) && self.alias.is_none()
        {
            return Err("has a `passphrase` or a `certificate` without an `identity`".to_owned());
        }
        let (timeout, keepalive) =
            (time("timeout", self.timeout.as_ref(), TIMEOUT)?, time("keepalive", self.keepalive.as_ref(), KEEPALIVE)?);
        let (host, user) = (named("host", self.host.as_ref())?, named("user", self.user.as_ref())?);
        let mut target = match &self.alias {
            None => {
                let missing = |key: &str| format!("needs `{key}`, or an `alias` of OpenSSH's configuration");
                if self.config.is_some() {
                    return Err("has a `config` without an `alias`".to_owned());
                }
                let known = [format!("{home}/.ssh/known_hosts"), "/etc/ssh/ssh_known_hosts".to_owned()];
                SshTarget {
                    host: host.ok_or_else(|| missing("host"))?,
                    port: self.port.unwrap_or(22),
                    user: user.ok_or_else(|| missing("user"))?,
                    known_hosts: known.map(PathBuf::from).into(),
                    timeout,
                    keepalive,
                    ..SshTarget::default()
                }
            }
            Some(alias) => {
                let file = self.config.as_deref().map(own);
                let reader = Reader { home: home.as_str().into(), user: os_user(), file };
                let asked =
                    Asked { alias: word("alias", alias)?, host, port: self.port, user, jumps: self.jump.is_some() };
                configured(&reader, &asked, timeout, keepalive, 0)?
            }
        };
        match &self.known_hosts {
            None => {}
            Some(Files::One(file)) => target.known_hosts = vec![own(file)],
            Some(Files::Several(files)) => target.known_hosts = files.iter().map(|file| own(file)).collect(),
        }
        let certificate = self.certificate.as_deref().map(own);
        if let Some(file) = self.identity.as_deref().map(own) {
            target.identities = vec![Identity { file, certificate, if_there: false }];
            target.certificates = Vec::new();
        } else if let Some(certificate) = certificate {
            target.certificates = vec![certificate];
        }
        if let Some(agent) = self.agent.as_deref().map(own) {
            target.agent = Some(agent);
        }
        Ok(SshTarget {
            passphrase: secret("passphrase", self.passphrase.as_ref())?,
            password: secret("password", self.password.as_ref())?,
            dangerous_accept_new_host_key: self.dangerous_accept_new_host_key,
            ..target
        })
    }
}

/// What OpenSSH's configuration says of a host, and of those on the way to it: each is asked for by its own name, and the first of them is
/// reached as it says itself.
fn configured(
    reader: &Reader,
    asked: &Asked,
    timeout: Duration,
    keepalive: Duration,
    depth: usize,
) -> Result<SshTarget, String> {
    let found = reader.read(asked).map_err(|error| format!("cannot be read as `{}`: {error}", asked.alias))?;
    if depth >= MAX_JUMPS {
        return Err(format!("is reached by way of `{}`, and too many others", asked.alias));
    }
    let mut jumps = Vec::new();
    let mut files = found.files.clone();
    for (index, Jump { alias, user, port }) in found.jumps.iter().cloned().enumerate() {
        let asked = Asked { alias, host: None, port, user, jumps: index > 0 };
        let mut hop = configured(reader, &asked, timeout, keepalive, depth + 1)?;
        jumps.append(&mut hop.jumps);
        files.extend(hop.files.iter().filter(|file| !found.files.contains(file)).cloned());
        jumps.push(hop);
    }
    let Alias { host, port, user, identities, certificates, identities_only, agent, known_hosts, .. } = found;
    let host_key_alias = found.host_key_alias;
    let identities = identities.into_iter().map(|file| Identity { file, certificate: None, if_there: true });
    Ok(SshTarget {
        host,
        port,
        user,
        host_key_alias,
        known_hosts,
        identities: identities.collect(),
        certificates,
        identities_only,
        agent,
        jumps,
        files,
        timeout,
        keepalive,
        ..SshTarget::default()
    })
}

impl DockerTable {
    fn place(&self, own: &impl Fn(&str) -> PathBuf) -> Result<DockerTarget, String> {
        let source = match (&self.container, &self.image) {
            (Some(name), None) => ContainerSource::Container(name.clone()),
            (None, Some(name)) => ContainerSource::Image(name.clone()),
            (Some(_), Some(_)) => return Err("has both `container` and `image`, and needs one of them".to_owned()),
            (None, None) => return Err("needs one of `container` and `image`".to_owned()),
        };
        // It becomes a part of a request's path.
        let (ContainerSource::Container(name) | ContainerSource::Image(name)) = &source;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:@".contains(&byte);
        if name.is_empty() || !name.bytes().all(plain) || name.contains("..") || name.starts_with('/') {
            return Err(format!("names `{name}`, which is no name of a container or image"));
        }
        let memory = match &self.memory {
            None => MEMORY,
            Some(text) => size("memory", text)
                .map_err(|_| format!("has `memory` = `{text}`, which is not a size such as `2GiB`"))?,
        };
        Ok(DockerTarget {
            source,
            user: self.user.clone().unwrap_or_default(),
            socket: self.socket.as_deref().map_or_else(|| PathBuf::from(SOCKET), own),
            memory,
            processes: self.processes.unwrap_or(PROCESSES),
            guard: None,
        })
    }
}

impl SecretTable {
    fn source(&self, key: &str, own: &impl Fn(&str) -> PathBuf) -> Result<SecretSource, String> {
        match (&self.env, &self.file) {
            (Some(name), None) => Ok(SecretSource::Variable(name.clone())),
            (None, Some(file)) => Ok(SecretSource::File(own(file))),
            (Some(_), Some(_)) => Err(format!("has a `{key}` with both `env` and `file`, and needs one of them")),
            (None, None) => {
                Err(format!("has a `{key}` that needs one of `env` and `file`: where it is, not what it is"))
            }
        }
    }
}
