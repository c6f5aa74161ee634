//! Connections that programs of a session make, carried out by the server in their stead.
//!
//! Landlock has no rule for `connect` to a socket file. The machine's daemons (docker, ssh-agent, D-Bus) listen at such files, and a
//! session could reach them. So the exec guard holds each `connect`, and the server connects the caller's socket: to a file only where the
//! session may write, to every other address as the caller gave it. The server copies the address first, so that no other thread of the
//! caller can change it.
//!
//! The kernel looks up abstract names (unix(7)) and internet addresses in the network in which the socket was made. That is the session's,
//! although the server makes the call.
//!
//! Decided here: how a connection is made. Not decided here: where the session may write (`names.rs`), and which sockets it may have
//! (`seccomp.rs`).

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use libc::c_int;
use rustix::fs::FileType;
use rustix::net::SocketType;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use super::call;
use super::execution::{link, open_as, place_of};
use super::memory::Memory;
use super::names::Names;
use super::stat::leader;

/// The longest address, in bytes (`struct sockaddr_storage`).
const LONGEST: usize = 128;

/// Connections of one session that are waited for at a time: each takes a thread.
const MOST: usize = 64;

/// A `connect` that the filter holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Connecting {
    pub(super) id: u64,
    pub(super) thread: i32,
    pub(super) socket: c_int,
    pub(super) address: u64,
    pub(super) length: u64,
}

/// A connection that can be made.
pub(super) struct PreparedSocket {
    socket: OwnedFd,
    address: Vec<u8>,
    /// What the address leads to, as long as that is needed.
    _target: Option<OwnedFd>,
}

impl Connecting {
    /// Takes over the socket and the address.
    ///
    /// # Errors
    /// The error that the caller gets: `EACCES` for a path where the session may not write, and those of connect(2).
    pub(super) fn prepare(&self, names: &Names) -> Result<PreparedSocket, c_int> {
        if self.socket < 0 {
            return Err(libc::EBADF);
        }
        let length = usize::try_from(self.length).ok().filter(|length| *length <= LONGEST).ok_or(libc::EINVAL)?;
        let address = Memory(self.thread).bytes(self.address, length)?;
        let process = leader(self.thread).and_then(Pid::from_raw).ok_or(libc::ESRCH)?;
        let process = pidfd_open(process, PidfdFlags::empty()).map_err(|errno| errno.raw_os_error())?;
        let socket = pidfd_getfd(process, self.socket, PidfdGetfdFlags::empty());
        let socket = socket.map_err(|errno| errno.raw_os_error())?;
        let family = address.first_chunk().map(|family| u16::from_ne_bytes(*family));
        if family.map(i32::from) != Some(libc::AF_UNIX) {
            return Ok(PreparedSocket { socket, address, _target: None });
        }
        let name = address.get(2..).unwrap_or_default();
        if name.first().is_none_or(|first| *first == 0) {
            return Ok(PreparedSocket { socket, address, _target: None });
        }
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        let path = PathBuf::from(OsString::from_vec(name.to_vec()));
        let path = match path.is_absolute() {
            true => path,
            false => link(self.thread, "cwd").ok_or(libc::ENOENT)?.join(path),
        };
        let target = open_as(self.thread, &path, true)?;
        let about = rustix::fs::fstat(&target).map_err(|errno| errno.raw_os_error())?;
        if FileType::from_raw_mode(about.st_mode) != FileType::Socket {
            return Err(libc::ECONNREFUSED);
        }
        let place = place_of(&target)?;
        if !names.may_connect(&place, (about.st_dev, about.st_ino)) {
            names.tell_socket(&path);
            return Err(libc::EACCES);
        }
        // By its descriptor: the path may mean something else by now.
        let mut address = address.get(..2).unwrap_or_default().to_vec();
        address.extend(format!("/proc/self/fd/{}\0", target.as_raw_fd()).bytes());
        Ok(PreparedSocket { socket, address, _target: Some(target) })
    }
}

impl PreparedSocket {
    /// Connects on a thread of its own, and tells `answer` 0 or the error: `EAGAIN` where too many connections wait. A thread, since the
    /// caller can make its socket a waiting one at any time.
    pub(super) fn make(self, running: &Arc<AtomicUsize>, answer: impl Fn(c_int) + Clone + Send + 'static) {
        if running.fetch_add(1, Ordering::Relaxed) >= MOST {
            running.fetch_sub(1, Ordering::Relaxed);
            return answer(libc::EAGAIN);
        }
        let thread = std::thread::Builder::new().name("palisade-connect".to_owned());
        let (counted, told) = (Arc::clone(running), answer.clone());
        let spawned = thread.spawn(move || {
            told(self.connect());
            counted.fetch_sub(1, Ordering::Relaxed);
        });
        if spawned.is_err() {
            running.fetch_sub(1, Ordering::Relaxed);
            answer(libc::EAGAIN);
        }
    }

    fn connect(&self) -> c_int {
        call::connect(self.socket.as_raw_fd(), &self.address).err().unwrap_or(0)
    }

    /// The internet address of the peer. None for a datagram socket: programs connect such a socket only to learn about routes.
    pub(super) fn peer(&self) -> Option<SocketAddr> {
        let stream = rustix::net::sockopt::socket_type(&self.socket).is_ok_and(|kind| kind == SocketType::STREAM);
        let family = i32::from(u16::from_ne_bytes(*self.address.first_chunk()?));
        let port = u16::from_be_bytes(*self.address.get(2..)?.first_chunk()?);
        let address = match family {
            libc::AF_INET => IpAddr::from(*self.address.get(4..)?.first_chunk::<4>()?),
            libc::AF_INET6 => IpAddr::from(*self.address.get(8..)?.first_chunk::<16>()?),
            _ => return None,
        };
        stream.then(|| SocketAddr::new(address, port))
    }
}
