//! Who writes what is handed in: whoever hands it in while nobody writes, else the thread that is kept for it.
//!
//! A record is waited for, so that handing it to another thread costs two wake-ups, each dearer than making and writing it.
//! Whoever finds the writer free therefore writes one group, its own entry among it. What came meanwhile, and what has
//! its time (signatures, files that are old enough to go), is the thread's: nobody writes for others for longer than one group.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Thread;
use std::time::Instant;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{mpsc, oneshot};

use super::sink::{self, Writer, Written};
use super::{AuditError, Entry, QUEUE, Sync};

/// Where entries are handed in.
pub(super) struct Desk {
    queue: mpsc::Sender<Job>,
    work: Arc<Mutex<Work>>,
    closed: Arc<AtomicBool>,
    thread: Thread,
    /// Writing waits for a disk.
    waits: bool,
}

/// An entry to write, and who waits for it.
struct Job {
    entry: Entry,
    reply: oneshot::Sender<Written>,
}

/// The writer, and what it has to write.
struct Work {
    writer: Writer,
    jobs: mpsc::Receiver<Job>,
    /// Records that share one request to the disk, at most.
    group: usize,
}

/// Nobody writes any more.
pub(super) struct Ended;

impl Desk {
    /// Starts the thread, which ends with the desk.
    pub(super) fn open(writer: Writer, sync: Sync) -> Result<Self, AuditError> {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let group = if sync == Sync::Always { 1 } else { QUEUE };
        let work = Arc::new(Mutex::new(Work { writer, jobs, group }));
        let closed = Arc::new(AtomicBool::new(false));
        let (shared, ends) = (Arc::clone(&work), Arc::clone(&closed));
        let thread = std::thread::Builder::new().name("palisade-audit".to_owned()).spawn(move || keep(&shared, &ends));
        let thread = thread.map_err(|error| AuditError::System { what: "a thread", cause: sink::errno(&error) })?;
        Ok(Self { queue, work, closed, thread: thread.thread().clone(), waits: sync != Sync::None })
    }

    /// Hands an entry in and waits until it is written.
    pub(super) async fn put(&self, entry: Entry) -> Result<Written, Ended> {
        let (reply, answer) = oneshot::channel();
        self.queue.send(Job { entry, reply }).await.map_err(|_| Ended)?;
        // A runtime of one thread must not wait for a disk.
        match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
            Ok(RuntimeFlavor::CurrentThread) => self.thread.unpark(),
            // To let another thread drive the tasks meanwhile takes longer than to write into memory.
            _ if !self.waits => self.take_turn(),
            _ => tokio::task::block_in_place(|| self.take_turn()),
        }
        answer.await.map_err(|_| Ended)
    }

    /// [`Self::put`] on a thread that drives no tasks.
    pub(super) fn put_blocking(&self, entry: Entry) -> Result<Written, Ended> {
        let (reply, answer) = oneshot::channel();
        self.queue.blocking_send(Job { entry, reply }).map_err(|_| Ended)?;
        self.take_turn();
        answer.blocking_recv().map_err(|_| Ended)
    }

    /// As [`Writer::let_prune`]. Blocks.
    pub(super) fn let_prune(&self, may: bool) {
        if let Ok(mut work) = self.work.lock() {
            work.writer.let_prune(may);
        }
        // It has something to do sooner than it knew.
        self.thread.unpark();
    }

    /// Writes what waits. If somebody else is at it, who may have looked for the last time: the thread does it after them.
    fn take_turn(&self) {
        let Ok(mut work) = self.work.try_lock() else { return self.thread.unpark() };
        let planned = work.writer.due();
        // If this panics, the thread tells everybody that nobody writes any more.
        let woken = Woken(&self.thread);
        work.write_group();
        let sooner = work.writer.due().is_some_and(|due| planned.is_none_or(|planned| due < planned));
        drop(work);
        if !sooner {
            std::mem::forget(woken);
        }
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// Wakes the thread at its end.
struct Woken<'a>(&'a Thread);

impl Drop for Woken<'_> {
    fn drop(&mut self) {
        self.0.unpark();
    }
}

impl Work {
    /// How many entries were waiting.
    fn write_group(&mut self) -> usize {
        let mut group = Vec::new();
        while group.len() < self.group
            && let Ok(job) = self.jobs.try_recv()
        {
            group.push(job);
        }
        if group.is_empty() {
            return 0;
        }
        let entries: Vec<_> = group.iter().map(|job| &job.entry).collect();
        let answers = self.writer.commit(&entries);
        let written = group.len();
        for (job, answer) in group.into_iter().zip(answers) {
            // Whoever gave up waiting has no use for the answer.
            let _ = job.reply.send(answer);
        }
        written
    }
}

/// Writes what is left over and does what has its time, until the desk closes.
fn keep(work: &Mutex<Work>, closed: &AtomicBool) {
    loop {
        // Looked at first: what was handed in before the desk closed is still written.
        let last = closed.load(Ordering::Acquire);
        let Ok(mut work) = work.lock() else { break };
        while work.write_group() > 0 {}
        work.writer.keep();
        let due = work.writer.due();
        drop(work);
        if last {
            return;
        }
        match due {
            Some(due) => std::thread::park_timeout(due.saturating_duration_since(Instant::now())),
            None => std::thread::park(),
        }
    }
    // A writer that panicked is in an unknown state. Whoever waits, or comes later, is told.
    let mut work = work.lock().unwrap_or_else(PoisonError::into_inner);
    work.jobs.close();
    while work.jobs.try_recv().is_ok() {}
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::{Audit, Settings, sample};
    use super::*;

    /// No signatures between, which would be counted.
    fn settings(home: &tempfile::TempDir) -> Settings {
        Settings { unsigned: 100_000, ..Settings::new(home.path().to_owned(), Sync::None) }
    }

    #[test]
    fn nothing_is_written_by_a_writer_that_panicked() {
        let home = tempfile::tempdir().unwrap();
        let desk = sink::open(&settings(&home), sample::start()).unwrap().desk;
        std::thread::scope(|scope| {
            let panics = scope.spawn(|| {
                let _held = desk.work.lock();
                std::panic::resume_unwind(Box::new("in the middle of a record"));
            });
            panics.join().unwrap_err();
        });
        for _ in 0..3 {
            assert!(desk.put_blocking(Entry::Head).is_err());
        }
    }

    #[tokio::test]
    async fn a_runtime_of_one_thread_leaves_the_disk_to_another() {
        let home = tempfile::tempdir().unwrap();
        let audit = Audit::open(&settings(&home), sample::start()).unwrap();
        for seq in 2..10 {
            let anchor = audit.append(sample::decided(audit.request(), "make")).await.unwrap();
            assert_eq!(anchor.seq, seq);
        }
    }

    #[test]
    fn what_comes_while_another_writes_is_not_left_behind() {
        let home = tempfile::tempdir().unwrap();
        let audit = Audit::open(&settings(&home), sample::start()).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).build().unwrap();
        let writers: Vec<_> = (0..8)
            .map(|_| {
                let audit = audit.clone();
                runtime.spawn(async move {
                    for _ in 0..500 {
                        audit.append(sample::decided(audit.request(), "make")).await.unwrap();
                    }
                })
            })
            .collect();
        // Nobody comes after the last one, who would write what it left.
        for writer in writers {
            runtime.block_on(writer).unwrap();
        }
        assert_eq!(audit.head().seq, 1 + 8 * 500);
    }
}
