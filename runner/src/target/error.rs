//! What can go wrong on the way to a target and at it, in sentences for the reader.

use std::path::PathBuf;

use miette::Diagnostic;

/// A file of known hosts that is there and cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the known hosts in `{}`", .file.display())]
pub struct Unreadable {
    /// Which.
    pub file: PathBuf,
    /// The system's answer.
    pub source: std::io::Error,
}

/// Why a target cannot be reached or used.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum TargetError {
    /// This build was made without the transport.
    #[error("`{place}` cannot be reached: this build of Palisade was made without the feature `{feature}`")]
    #[diagnostic(help("build it with that feature, which is on unless `default-features = false`"))]
    NotBuiltIn {
        /// The host and the port, or the container or image.
        place: String,
        /// The feature of the crate.
        feature: &'static str,
    },
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
    #[error("the guard cannot stand at the target: {why}")]
    #[diagnostic(help("{help}; or set `remote_guard = false` for sessions that nothing holds there"))]
    Guard {
        /// Why not.
        why: String,
        /// What to do about it.
        help: String,
    },
    /// The guard's program cannot be read.
    #[error("the program `{}` that is the guard at the target cannot be read", .file.display())]
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
