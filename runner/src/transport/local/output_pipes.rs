//! The pipes that a shell keeps for its commands' output.
//!
//! To make two named pipes for each command, and to have bash open them, takes as long as all the rest of a short one. So
//! a shell is started with a pair, at descriptors that its commands do not have. This file decides when a command may
//! have that pair: while it is alone with its shell, so that nobody else can write to it; while the shell still has it at
//! these descriptors; and with nothing in it. What a command leaves running goes on writing to the pair, which is read
//! for that command until the shell is alone again. Meanwhile each command has named pipes of its own: whoever runs beside
//! it can interrupt the shell while it reads a line, and only pipes of that very line show whether it was run.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::Stat;
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::net::unix::pipe;

use super::channel::{BUFFER, Loan};
use super::{LocalShell, channel_error};
use crate::shell::frame::{self, KEPT_FDS, Streams};
use crate::shell::{Nonce, SessionError};

/// Our ends of a pair that a shell keeps.
#[derive(Clone, Debug)]
pub(super) struct OutputPipes {
    pub(super) stdout: Arc<pipe::Receiver>,
    pub(super) stderr: Arc<pipe::Receiver>,
}

/// What has become of it.
#[derive(Debug, Default)]
pub(super) enum Keeping {
    /// The next command may have it.
    Free(OutputPipes),
    /// It is read for a command that has left something running.
    Lent(OutputPipes, Vec<Loan>),
    /// There is none, or the shell has lost it.
    #[default]
    None,
}

impl OutputPipes {
    /// A pair, and the shell's ends with the descriptors that they are to have.
    pub(super) fn make() -> Result<(Self, [(OwnedFd, i32); 2]), SessionError> {
        let [out, err] = KEPT_FDS;
        let ((stdout, theirs_out), (stderr, theirs_err)) = (one()?, one()?);
        Ok((Self { stdout, stderr }, [(theirs_out, out), (theirs_err, err)]))
    }

    /// Takes out what is in it; whether it is empty then.
    fn empty(&self) -> bool {
        [&self.stdout, &self.stderr].into_iter().all(|pipe| {
            let is_empty = || rustix::io::ioctl_fionread(&**pipe).is_ok_and(|bytes| bytes == 0);
            is_empty() || {
                let _discarded = rustix::io::read(&**pipe, &mut vec![0; BUFFER]);
                is_empty()
            }
        })
    }
}

fn one() -> Result<(Arc<pipe::Receiver>, OwnedFd), SessionError> {
    let failed = channel_error("an output channel");
    let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC).map_err(|error| failed(error.into()))?;
    let ours = pipe::Receiver::from_owned_fd(ours).map_err(channel_error("an output channel"))?;
    Ok((Arc::new(ours), theirs))
}

impl LocalShell {
    /// The pair, for a command that is alone with its shell; none if it needs pipes of its own.
    pub(super) async fn kept(&mut self) -> Option<OutputPipes> {
        let kept = match std::mem::take(&mut self.keeping) {
            Keeping::Free(kept) => kept,
            Keeping::Lent(kept, loans) => {
                for loan in loans {
                    loan.recall().await;
                }
                kept
            }
            Keeping::None => return None,
        };
        // What a trap writes between two commands is no command's.
        (self.has(&kept) && kept.empty()).then_some(kept)
    }

    /// Has every command use pipes of its own from now on. For a shell that runs code of the agent's between its commands,
    /// which could take the pair away just before a command turns its streams to it.
    pub(crate) fn keep_nothing(&mut self) {
        self.keeping = Keeping::None;
    }

    /// Whether the shell can still turn its streams to what it keeps. A command that fails without a word may never have
    /// begun: a shell without a descriptor to spare cannot say that anywhere. `status` is that of the command.
    pub(super) async fn can_turn_streams(&mut self, status: i32) -> bool {
        let (Ok(asked), Ok(after)) = (Nonce::new(), Nonce::new()) else { return false };
        let turned = self.told(&frame::command(b":", None, Streams::Kept, &asked), &asked).await;
        let restored = self.told(&frame::status(status, &after), &after).await;
        turned.is_ok_and(|status| status == 0) && restored.is_ok()
    }

    /// Whether the shell has these very pipes where it keeps them.
    fn has(&self, kept: &OutputPipes) -> bool {
        let [out, err] = KEPT_FDS;
        self.has_at(out, &kept.stdout) && self.has_at(err, &kept.stderr)
    }

    fn has_at(&self, number: i32, ours: &pipe::Receiver) -> bool {
        let theirs = rustix::fs::stat(format!("/proc/{}/fd/{number}", self.pid));
        let file = |stat: Stat| (stat.st_dev, stat.st_ino);
        theirs.is_ok_and(|theirs| rustix::fs::fstat(ours).is_ok_and(|ours| file(ours) == file(theirs)))
    }
}
