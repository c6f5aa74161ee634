//! Where a session can be besides this machine: what the operator's settings say, as plain data, and what can go wrong on the way.

use std::path::{Path, PathBuf};
use std::time::Duration;

use miette::Diagnostic;
use palisade_engine::{AbsolutePath, Transport};
use serde::Serialize;
use zeroize::Zeroizing;

use super::ssh::host_key::Unreadable;
use crate::redact::{KnownValue, Redacted};

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

/// Why a target cannot be reached or used.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum TargetError {
    /// The name cannot be resolved.
    #[error("the address of `{host}` cannot be found")]
    #[diagnostic(help("check `host` in the target's settings, and this machine's DNS"))]
    NoAddress {
        /// The host.
        host: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Nobody listens there.
    #[error("`{place}` refuses the connection")]
    #[diagnostic(help("check that the SSH server runs there, and `port` in the target's settings"))]
    Refused {
        /// The host and the port.
        place: String,
    },
    /// No connection for another reason.
    #[error("cannot connect to `{place}`")]
    #[diagnostic(help("check the network between this machine and the target"))]
    Unreachable {
        /// The host and the port.
        place: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// It took too long.
    #[error("`{place}` does not answer")]
    #[diagnostic(help(
        "check the network between this machine and the target, or raise `timeout` in the target's settings"
    ))]
    TimedOut {
        /// The host and the port.
        place: String,
    },
    /// The peer does not speak the protocol, or not as we do.
    #[error("cannot speak SSH with `{place}`: {why}")]
    #[diagnostic(help("check that an SSH server listens there, and which algorithms it takes"))]
    Protocol {
        /// The host and the port.
        place: String,
        /// What the library says.
        why: String,
    },
    /// It ends the connection before it shows a key.
    #[error("`{place}` takes the connection and hangs up before it shows a key")]
    #[diagnostic(help(
        "check that an SSH server listens there; one hangs up like this on hosts that it does not let in, and on some \
         of many that log in at once (`MaxStartups` in sshd_config): try again"
    ))]
    HungUp {
        /// The host and the port.
        place: String,
    },
    /// Too many wait for a login there.
    #[error("too many sessions are being opened at `{place}` at once")]
    #[diagnostic(help("open them one after the other, or try again once the others are there"))]
    Crowded {
        /// The host and the port.
        place: String,
    },
    /// No login of the session takes another program.
    #[error("`{place}` lets the session run no more programs: {logins} logins are full")]
    #[diagnostic(help(
        "end a job of the session, or have `MaxSessions` raised in sshd_config there: it is how many programs a login may have"
    ))]
    NoChannel {
        /// The host and the port.
        place: String,
        /// How many there are.
        logins: usize,
    },
    /// A further login led to another host, or by another way.
    #[error("`{place}` is not the host any more that the session was opened at")]
    #[diagnostic(help("open another session there: its key will be checked, and policy asked"))]
    OtherHost {
        /// The host and the port.
        place: String,
    },
    /// A file of known hosts is there and cannot be read.
    #[error(transparent)]
    #[diagnostic(help(
        "whether the host is known cannot be told; make the file readable for the user that runs Palisade"
    ))]
    KnownHosts(#[from] Unreadable),
    /// Nothing is recorded of the host.
    #[error("the key of `{place}` is not known: it shows {fingerprint}")]
    #[diagnostic(help(
        "compare the fingerprint with the host's own (`ssh-keygen -lf`), then add its key to `known-hosts`"
    ))]
    UnknownHostKey {
        /// The host and the port.
        place: String,
        /// What it shows.
        fingerprint: String,
    },
    /// Another key is recorded.
    #[error(
        "THE KEY OF `{place}` HAS CHANGED: it shows {shown}, and {recorded} is recorded in `{}` line {line}; somebody may be in \
         between", .file.display()
    )]
    #[diagnostic(help(
        "if the host was set up anew, put its new key in place of the old one; else tell who looks after the network"
    ))]
    HostKeyChanged {
        /// The host and the port.
        place: String,
        /// The fingerprint that it shows.
        shown: String,
        /// The fingerprint that is recorded.
        recorded: String,
        /// Where.
        file: PathBuf,
        /// The line there.
        line: usize,
    },
    /// The key is revoked.
    #[error("the key of `{place}` is revoked: it shows {shown}, which `{}` line {line} marks so", .file.display())]
    #[diagnostic(help("the host must not be used with this key; give it another one"))]
    HostKeyRevoked {
        /// The host and the port.
        place: String,
        /// The fingerprint that it shows.
        shown: String,
        /// Where.
        file: PathBuf,
        /// The line there.
        line: usize,
    },
    /// The new key cannot be put down.
    #[error("cannot add the host's key to `{}`", .file.display())]
    #[diagnostic(help("make the file writable for the user that runs Palisade"))]
    CannotRecord {
        /// Where.
        file: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Nothing that we have is accepted.
    #[error("`{place}` does not accept `{user}`: tried {tried}; it takes {takes}")]
    #[diagnostic(help("set `identity`, `agent` or `password` in the target's settings to something that it accepts"))]
    Authentication {
        /// The host and the port.
        place: String,
        /// As whom.
        user: String,
        /// What was tried.
        tried: String,
        /// What the server says that it takes.
        takes: String,
    },
    /// A key cannot be used.
    #[error("cannot use the key `{}`: {why}", .file.display())]
    #[diagnostic(help("check `identity`, `certificate` and `passphrase` in the target's settings"))]
    Key {
        /// Which.
        file: PathBuf,
        /// Why.
        why: String,
    },
    /// A host on the way does not lead on.
    #[error("`{by}` does not connect to `{place}`: {why}")]
    #[diagnostic(help(
        "check that the host on the way may forward connections (sshd_config, AllowTcpForwarding) and reaches the target"
    ))]
    Way {
        /// The host on the way.
        by: String,
        /// What it should lead to.
        place: String,
        /// What it says.
        why: String,
    },
    /// A secret is not where the settings say.
    #[error("cannot read a secret from {place}")]
    #[diagnostic(help("the target's settings name it; set it for the process that runs Palisade"))]
    Secret {
        /// Where.
        place: String,
    },
    /// The server gives no shell.
    #[error("the target starts no program")]
    #[diagnostic(help("check that its user may log in and run commands there"))]
    NoProgram,
    /// There can be no terminal.
    #[error("a command cannot have a terminal at the target: {why}")]
    #[diagnostic(help("run it there without `tty`"))]
    NoTerminal {
        /// Why not.
        why: &'static str,
    },
    /// There is no shell.
    #[error("there is neither bash nor sh at the target")]
    #[diagnostic(help("install bash there: a command is judged as bash reads it"))]
    NoBash,
    /// There is no bash, and nothing that can take its place.
    #[error("there is no bash at the target, and its `sh` cannot take its place: {why}")]
    #[diagnostic(help("install bash there: a command is judged as bash reads it"))]
    PoorShell {
        /// Why not.
        why: &'static str,
    },
    /// The connection is gone.
    #[error("the connection to the target has ended")]
    #[diagnostic(help("open another session"))]
    Closed,
    /// A program of ours there says nothing.
    #[error("the target does not answer while it is asked about its files")]
    #[diagnostic(help("see what keeps it busy, then try again"))]
    Silent,
    /// A program of ours there tells what it cannot, or ends before it has told all.
    #[error("what the target tells of its files cannot be used: {what}")]
    #[diagnostic(help("its programs, or what runs there as the same user, may have been tampered with"))]
    Broken {
        /// What is wrong with it.
        what: String,
    },
    /// The user's home is another than groups of paths were told of.
    #[error("the home of the user at `{target}` is `{home}`, and not what the settings say")]
    #[diagnostic(help("set `home` in the target's settings, so that groups such as `~/.ssh` mean it"))]
    Home {
        /// The target.
        target: String,
        /// Its home.
        home: String,
    },
    /// There is no such directory.
    #[error("the target has no directory `{path}` that its user can enter")]
    #[diagnostic(help("check `workspace` in the target's settings"))]
    NoWorkspace {
        /// Which.
        path: String,
    },
    /// What is to hold sessions there is not there, or holds less than it has to.
    #[error("the guard that `remote_guard` asks for cannot stand at the target: {why}")]
    #[diagnostic(help("{help}"))]
    Guard {
        /// Why not.
        why: String,
        /// What to do about it.
        help: String,
    },
    /// The guard's program cannot be read.
    #[error("the program `{}` that `remote_guard` brings to the target cannot be read", .file.display())]
    #[diagnostic(help("check `remote_guard_binary` in the target's settings"))]
    GuardProgram {
        /// Which.
        file: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Nobody answers at the engine's socket.
    #[error("no container engine answers at `{}`", .socket.display())]
    #[diagnostic(help(
        "start it, or set `socket` in the target's settings; the user that runs Palisade must be allowed to use it"
    ))]
    EngineDown {
        /// Its socket.
        socket: PathBuf,
    },
    /// No such container.
    #[error("there is no container `{name}`")]
    #[diagnostic(help("check `container` in the target's settings"))]
    NoContainer {
        /// Its name.
        name: String,
    },
    /// It does not run.
    #[error("the container `{name}` is not running")]
    #[diagnostic(help("start it, then open the session again"))]
    NotRunning {
        /// Its name.
        name: String,
    },
    /// No such image.
    #[error("the image `{name}` is not on this machine")]
    #[diagnostic(help("pull it: Palisade fetches none by itself"))]
    NoImage {
        /// Its name.
        name: String,
    },
    /// The engine refuses something.
    #[error("the container engine refuses: {why}")]
    #[diagnostic(help("the engine's own log says more"))]
    Engine {
        /// What it says.
        why: String,
    },
}
