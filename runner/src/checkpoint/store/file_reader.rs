//! Reads files into the store. Most of the time goes to packing bytes and to making a file of each object: where there are many, every
//! processor has its part.

use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::vec::IntoIter;

use git2::Repository;

use super::Objects;
use super::snapshot::SnapshotTaker;
use crate::checkpoint::CheckpointError;
use crate::checkpoint::tree::{Found, Name, Reason};
use crate::shell::pace::Pace;

/// Fewer files are read by one thread.
const FEW: usize = 64;

/// Threads that read at once, at most: beyond that they wait for the disk.
const MAX_THREADS: usize = 4;

/// A file, and what was found of it.
pub(super) type Unread<'t> = (&'t Name, &'t mut Found);

/// A file that could not be read, and why; for no reason, it is no more.
pub(super) type Gone = (Name, Option<Reason>);

/// The files that are left to read, and those that could not be.
struct Work<'t> {
    left: IntoIter<Unread<'t>>,
    gone: Vec<Gone>,
}

impl SnapshotTaker<'_> {
    /// Writes the bytes of these files to the store, and notes with each which object they are and the state that it had then.
    ///
    /// # Errors
    /// The store cannot be written, or nobody waits any more. Objects that are kept by then do no harm: nothing names them.
    pub(super) fn read_files(
        self,
        repository: &Repository,
        root: &OwnedFd,
        files: Vec<Unread<'_>>,
        pace: &Pace,
    ) -> Result<Vec<Gone>, CheckpointError> {
        let threads = match files.len() {
            ..FEW => 1,
            _ => std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS),
        };
        let work = Mutex::new(Work { left: files.into_iter(), gone: Vec::new() });
        // A repository is one thread's.
        let help = || read(&self.store.objects(&self.store.repository()?)?, root, &work, pace);
        std::thread::scope(|scope| {
            let named = || std::thread::Builder::new().name("palisade-reads".to_owned());
            // Where there can be no more threads, there is more to do for those that there are.
            let helpers: Vec<_> = (1..threads).map_while(|_| named().spawn_scoped(scope, help).ok()).collect();
            let own = self.store.objects(repository).and_then(|objects| read(&objects, root, &work, pace));
            let helped = helpers
                .into_iter()
                .map(|helper| helper.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            // All of them have come to their end, whatever the first error is.
            helped.fold(own, Result::and)
        })?;
        Ok(work.into_inner().unwrap_or_else(PoisonError::into_inner).gone)
    }
}

/// Reads one after the other, as long as there are any.
fn read(objects: &Objects<'_>, root: &OwnedFd, work: &Mutex<Work<'_>>, pace: &Pace) -> Result<(), CheckpointError> {
    let read = || {
        loop {
            let Some((name, found)) = lock(work).left.next() else { return Ok(()) };
            pace.step()?;
            match objects.read_file(root, name)? {
                Ok((object, stamp)) => (found.object, found.stamp) = (Some(object), stamp),
                Err(why) => lock(work).gone.push((name.clone(), why)),
            }
        }
    };
    let done = read();
    if done.is_err() {
        // Nobody else has to go on.
        lock(work).left = Vec::new().into_iter();
    }
    done
}

fn lock<'w, 't>(work: &'w Mutex<Work<'t>>) -> MutexGuard<'w, Work<'t>> {
    work.lock().unwrap_or_else(PoisonError::into_inner)
}
