//! The control socket: how a person reaches a running server from another terminal.
//!
//! ```text
//! palisade approvals … ─▶ client.rs ─ one line ─▶ pipeline/control_server.rs ─ who is it? peer.rs ─▶ control_answers.rs ─▶ one line
//!                                     wire.rs                                                         └ approvals.rs, stops.rs
//! ```
//!
//! Who may do what is the engine's to say (`observe`, `approve`, `stop`). Decided here: who is at the other end, and whether that
//! can be the agent itself. Sessions cannot make such a socket, let alone reach this one: their filters refuse it.

pub(crate) mod approvals;
pub mod client;
pub mod peer;
pub(crate) mod stops;
pub mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use palisade_engine::{
    AbsolutePath, Approval, Authority, Channel, Engine, Facts, Lasts, Oversight, Principal, Session,
};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::clock::Zone;

/// What every name of a server's socket ends in; before it stands the chain of its record.
pub(crate) const SUFFIX: &str = ".sock";

/// What the operator set about the control socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where the sockets of this machine's servers lie.
    pub directory: PathBuf,
    /// Other users may connect; who each of them is then decides what they may do.
    pub shared: bool,
}

/// The people of the settings: the roles of each, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct People(BTreeMap<String, BTreeSet<String>>);

impl People {
    /// These.
    pub fn new(roles: BTreeMap<String, BTreeSet<String>>) -> Self {
        Self(roles)
    }

    /// The roles of this one; none of whom the settings do not name.
    pub fn roles(&self, user: &str) -> BTreeSet<String> {
        self.0.get(user).cloned().unwrap_or_default()
    }
}

/// Whether policy lets a user read the record that the account `owner` holds. No server is asked: whoever can read the files could do
/// without this, and is told no all the same.
pub fn may_read_record(engine: &Engine, people: &People, zone: &Zone, user: &str, owner: &str) -> Authority {
    let no = |why: &str| Authority { allowed: false, policies: Vec::new(), why: why.to_owned() };
    let Some(root) = AbsolutePath::new("/") else { return no("there is no root directory") };
    let principal = Principal::os_user("", owner, BTreeSet::new());
    let facts = Facts::new(principal, root, Session::opened(""), zone.now());
    let person =
        Approval { user: user.to_owned(), roles: people.roles(user), via: Channel::Terminal, lasts: Lasts::Once };
    engine.oversees(&facts, &person, &Oversight::ReadRecord { owner: owner.to_owned() })
}

/// Connects without waiting: a server that takes nobody for the moment is an error of its own, not a hold-up.
pub(crate) fn connect(path: &Path) -> io::Result<UnixStream> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    let stream = UnixStream::from(socket);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// The name that the system's user database has for this user; for one that it does not have, `uid:` and the number.
pub fn user_name(uid: u32) -> String {
    match nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid)) {
        Ok(Some(user)) => user.name,
        Ok(None) | Err(_) => format!("uid:{uid}"),
    }
}

/// Why there is no control socket, or no server behind one.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ControlError {
    /// The directory cannot be made or looked at.
    #[error("the control directory `{path}` cannot be used")]
    #[diagnostic(help("`control.path` in the settings says where it is"))]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody else could put a socket of their own in a server's place.
    #[error("the control directory `{path}` can be changed by others than its owner")]
    #[diagnostic(help(
        "it has to belong to you or to root; others may write to it only where it is sticky, as /tmp is"
    ))]
    Open {
        /// The directory.
        path: PathBuf,
    },
    /// The socket cannot be made.
    #[error("the control socket in `{path}` cannot be made")]
    Socket {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A server's socket is there and cannot be connected to.
    #[error("the server `{chain}` cannot be reached at its socket in `{path}`")]
    #[diagnostic(help(
        "ask as the user that it runs as, or as one to whom its `control.path` is open; where it does not answer at all, end its process"
    ))]
    Unreachable {
        /// Its record's chain.
        chain: String,
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A server did not answer, or not in the language of this version.
    #[error("the server `{chain}` gave no answer that can be read: {why}")]
    #[diagnostic(help("it may have ended just now, or be of another version"))]
    NoAnswer {
        /// Its record's chain.
        chain: String,
        /// What was wrong.
        why: String,
    },
}
