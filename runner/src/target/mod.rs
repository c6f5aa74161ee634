//! Where a session can be besides this machine: what the operator's settings say, as plain data, and what can go wrong on the way.

mod error;

use std::path::{Path, PathBuf};
use std::time::Duration;

use palisade_engine::{AbsolutePath, Transport};
use palisade_redact::{KnownValue, Redacted};
use serde::Serialize;
use zeroize::Zeroizing;

pub use self::error::{TargetError, Unreadable};

/// A place that the settings name: the only ones that an agent can name.
#[derive(Clone, Debug)]
pub struct Target {
    /// The operator's name for it.
    pub name: String,
    /// What it is.
    pub place: Place,
    /// Where sessions begin, and what policies call the workspace there; none: where a login does.
    pub workspace: Option<AbsolutePath>,
    /// The home of the user there. Path groups such as `~/.ssh` are about it, too.
    pub home: AbsolutePath,
    /// The directory there in which the bytes of checkpoints are kept, and the guard.
    pub state: AbsolutePath,
    /// Sessions there run under a guard that is there; none: nothing holds them.
    pub guard: Option<RemoteGuard>,
}

/// The guard of sessions at a target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemoteGuard {
    /// The program that is brought there; none: this one.
    pub binary: Option<PathBuf>,
}

/// What a target is.
#[derive(Clone, Debug)]
pub enum Place {
    /// A host.
    Ssh(Box<SshTarget>),
    /// A container.
    Docker(DockerTarget),
}

/// A host, and how to prove who we are.
#[derive(Clone, Debug, Default)]
pub struct SshTarget {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The user there.
    pub user: String,
    /// The name by which its key is looked up in those; none: its own, with its port.
    pub host_key_alias: Option<String>,
    /// Files with the keys of hosts.
    pub known_hosts: Vec<PathBuf>,
    /// The user's private keys, in the order in which they are tried.
    pub identities: Vec<Identity>,
    /// Certificates for any of them.
    pub certificates: Vec<PathBuf>,
    /// Of an agent's keys only these are tried.
    pub identities_only: bool,
    /// What keys are encrypted with.
    pub passphrase: Option<SecretSource>,
    /// The socket of an agent that holds keys.
    pub agent: Option<PathBuf>,
    /// The user's password.
    pub password: Option<SecretSource>,
    /// How long it may take to connect and to prove who we are.
    pub timeout: Duration,
    /// The longest time that passes until a dead peer is noticed.
    pub keepalive: Duration,
    /// A host of which nothing is recorded is believed, and its key put down in the first of the files.
    pub dangerous_accept_new_host_key: bool,
    /// The hosts by way of which it is reached, in the order from here; none of them has any of its own.
    pub jumps: Vec<SshTarget>,
    /// The files of OpenSSH's configuration that say some of this.
    pub files: Vec<PathBuf>,
}

/// A private key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The file that holds it.
    pub file: PathBuf,
    /// The certificate that it is shown with, always.
    pub certificate: Option<PathBuf>,
    /// It is tried if it is there and can be used; else it has to be.
    pub if_there: bool,
}

impl SshTarget {
    /// The host and the port, for a message.
    pub fn place(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// By which name and port its key is looked up. An alias has no port (OpenSSH's `get_hostfile_hostname_ipaddr`), as a name at the
    /// usual one has none.
    #[cfg(feature = "ssh")]
    pub(crate) fn known_as(&self) -> (&str, u16) {
        self.host_key_alias.as_deref().map_or((self.host.as_str(), self.port), |alias| (alias, 22))
    }

    /// The hosts to be connected to, in their order; the last is the target itself.
    pub fn way(&self) -> impl Iterator<Item = &Self> {
        self.jumps.iter().chain(std::iter::once(self))
    }
}

/// A container.
#[derive(Clone, Debug)]
pub struct DockerTarget {
    /// Which.
    pub source: ContainerSource,
    /// The user in it, as the engine names users; empty: the image's own.
    pub user: String,
    /// The engine's socket.
    pub socket: PathBuf,
    /// Memory of a container that is made for a session.
    pub memory: u64,
    /// Processes of a container that is made for a session.
    pub processes: u64,
    /// The directory in such a container from which the guard is executed, if there is to be one.
    pub guard: Option<AbsolutePath>,
}

/// Which container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContainerSource {
    /// One that runs already.
    Container(String),
    /// A new one for each session, from this image.
    Image(String),
}

/// Where a secret of the operator's is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// In a variable of the server's environment.
    Variable(String),
    /// In a file, whose last line end does not count.
    File(PathBuf),
}

/// A target, as `list` shows it.
#[derive(Clone, Debug, Serialize)]
pub struct TargetNote {
    /// Its name.
    pub target: Redacted,
    /// How a session reaches it.
    pub transport: &'static str,
    /// What it is.
    pub place: Redacted,
}

impl Target {
    /// How a session reaches it.
    pub fn transport(&self) -> Transport {
        match self.place {
            Place::Ssh(_) => Transport::Ssh,
            Place::Docker(_) => Transport::Docker,
        }
    }

    /// The id of its host in policies.
    pub fn host(&self) -> String {
        match &self.place {
            Place::Ssh(ssh) => ssh.host.to_ascii_lowercase(),
            Place::Docker(_) => format!("docker/{}", self.name),
        }
    }

    /// The user that sessions there run as; empty where the image says.
    pub fn user(&self) -> &str {
        match &self.place {
            Place::Ssh(ssh) => &ssh.user,
            Place::Docker(docker) => &docker.user,
        }
    }

    /// Where its secrets are, and those of the hosts on the way to it.
    pub fn secrets(&self) -> Vec<SecretSource> {
        match &self.place {
            Place::Ssh(ssh) => {
                ssh.way().flat_map(|host| [&host.passphrase, &host.password]).flatten().cloned().collect()
            }
            Place::Docker(_) => Vec::new(),
        }
    }

    /// The files of OpenSSH's configuration that say where it is, and those that they name: whoever changes one sends a session elsewhere.
    pub fn depends_on(&self) -> Vec<&Path> {
        let Place::Ssh(ssh) = &self.place else { return Vec::new() };
        let configured = ssh.way().filter(|host| !host.files.is_empty());
        let named = configured.flat_map(|host| {
            let keys = host.identities.iter().map(|identity| &identity.file);
            host.files.iter().chain(keys).chain(&host.certificates).chain(&host.known_hosts)
        });
        named.map(PathBuf::as_path).collect()
    }

    /// What it is, in one line.
    pub fn description(&self) -> String {
        match &self.place {
            Place::Ssh(ssh) => {
                let by: Vec<String> = ssh.jumps.iter().map(SshTarget::place).collect();
                let by = if by.is_empty() { String::new() } else { format!(" by way of {}", by.join(", ")) };
                format!("{}@{}:{}{by}", ssh.user, ssh.host, ssh.port)
            }
            Place::Docker(docker) => match &docker.source {
                ContainerSource::Container(name) => format!("container {name}"),
                ContainerSource::Image(name) => format!("a new container of {name}"),
            },
        }
    }
}

impl SecretSource {
    /// The secret, for the redactor to know; none if it is not there.
    pub fn known(&self) -> Option<KnownValue> {
        let text = self.read().ok()?;
        Some(KnownValue::new(self.to_string(), text.as_bytes().to_vec()))
    }

    pub(crate) fn read(&self) -> Result<Zeroizing<String>, TargetError> {
        let text = match self {
            Self::Variable(name) => std::env::var(name).map(Zeroizing::new).ok(),
            Self::File(path) => std::fs::read_to_string(path).map(Zeroizing::new).ok(),
        };
        let text = text.ok_or_else(|| TargetError::Secret { place: self.to_string() })?;
        let line = text.strip_suffix('\n').unwrap_or(&text);
        Ok(Zeroizing::new(line.strip_suffix('\r').unwrap_or(line).to_owned()))
    }
}

impl std::fmt::Display for SecretSource {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Variable(name) => write!(formatter, "the variable `{name}`"),
            Self::File(path) => write!(formatter, "the file `{}`", path.display()),
        }
    }
}
