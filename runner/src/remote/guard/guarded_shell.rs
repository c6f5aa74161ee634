//! A shell that the guard holds: whose streams it has, what it uses, and how it ends.

use std::fs::Metadata;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};

use palisade_sandbox::Process;
use palisade_sandbox::meter::{Exceeded, Meter, Watch};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::agent::{TIMEOUT, lock};
use super::{TOKEN, guard_directory};
use crate::guard::Desk;
use crate::transport::local::input_wait::{CONTROLLING, waits_for};

/// How often it is looked whether a limit was passed: nothing says so by itself.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// A shell that runs.
pub(super) struct Held {
    pub(super) process: Arc<Process>,
    pub(super) pid: i32,
    /// Its standard input as it was started: device and inode.
    pub(super) input: Option<(u64, u64)>,
    pub(super) at_terminal: bool,
    pub(super) desk: Arc<Desk>,
    pub(super) meter: Option<Meter>,
    /// What the script that runs uses; none while none does.
    pub(super) watch: Mutex<Option<Watch>>,
    /// The limit that it has passed.
    pub(super) passed: Mutex<Option<Exceeded>>,
}

impl Held {
    /// A script begins: what it uses counts from now on.
    ///
    /// # Errors
    /// If it cannot be counted, where it has limits.
    pub(super) fn begins(&self) -> io::Result<()> {
        let Some(meter) = &self.meter else { return Ok(()) };
        // It waits for a thread of its own, and for nothing that a runtime does.
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        *lock(&self.watch) = Some(runtime.block_on(meter.watch()));
        Ok(())
    }

    /// Whether anything in it waits for its input.
    pub(super) fn waits(&self) -> bool {
        let is_input = |file: &Metadata| {
            Some((file.dev(), file.ino())) == self.input || (self.at_terminal && file.rdev() == CONTROLLING)
        };
        self.process.tree().is_ok_and(|tree| tree.pids().any(|pid| waits_for(pid, is_input)))
    }

    /// A limit that the script that runs has just passed.
    pub(super) fn passes(&self) -> Option<Exceeded> {
        lock(&self.watch).as_mut().and_then(Watch::now)
    }

    /// Waits until the shell has ended; it is ended if whoever brought its streams is gone. Meanwhile it is told of limits that are passed.
    pub(super) fn end(&self, comer: &UnixStream, exceeded: impl Fn(Exceeded)) -> io::Result<palisade_sandbox::Ending> {
        loop {
            if let Some(limit) = self.passes() {
                *lock(&self.passed) = Some(limit);
                exceeded(limit);
            }
            let (process, comer) = (self.process.pidfd(), comer.as_fd());
            let mut polled = [PollFd::new(&process, PollFlags::IN), PollFd::new(&comer, PollFlags::IN)];
            match poll(&mut polled, Some(&LOOK)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let [ended, hung_up] = polled.map(|polled| !polled.revents().is_empty());
            if ended {
                return self.process.ended();
            }
            if hung_up {
                self.process.kill()?;
                let pidfd = self.process.pidfd();
                poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], None)?;
                return self.process.ended();
            }
        }
    }
}

/// What a program of ours brings: its word, and three streams. It is of the same user, held by no more than this process is, and says so
/// at once.
pub(super) fn brought(comer: &UnixStream) -> Option<(String, [OwnedFd; 3])> {
    let peer = rustix::net::sockopt::socket_peercred(comer).ok()?;
    if peer.uid != rustix::process::geteuid()
        || guard_directory::filters(&peer.pid.as_raw_nonzero().to_string())? != guard_directory::filters("self")?
    {
        return None;
    }
    comer.set_read_timeout(Some(TIMEOUT)).ok()?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut token = [0; TOKEN];
    let read = recvmsg(comer, &mut [IoSliceMut::new(&mut token)], &mut control, RecvFlags::CMSG_CLOEXEC).ok()?;
    let streams: Vec<OwnedFd> = control
        .drain()
        .flat_map(|message| match message {
            RecvAncillaryMessage::ScmRights(streams) => streams.collect(),
            _ => Vec::new(),
        })
        .collect();
    let streams = <[OwnedFd; 3]>::try_from(streams).ok()?;
    comer.set_read_timeout(None).ok()?;
    (read.bytes == TOKEN).then_some((String::from_utf8(token.to_vec()).ok()?, streams))
}
