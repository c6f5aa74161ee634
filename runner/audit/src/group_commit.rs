//! Who writes what is handed in: whoever hands it in while nobody writes, else the thread that is kept for it.
//!
//! A record is waited for, so that handing it to another thread costs two wake-ups, each dearer than making and writing it.
//! Whoever finds the writer free therefore writes one group, its own entry among it. What came meanwhile, and what has
//! its time (what the disk is owed, signatures, files that are old enough to go), is the thread's: nobody writes for others for longer than one group.
//!
//! Whoever drives tasks and waits for a disk gives its tasks to another thread meanwhile, which takes longer than a quick disk. Where
//! the disk was quick the last time they wait for it with it, under the eye of the thread: if it is not quick this time,
//! another is woken up for them.

use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{mpsc, oneshot};

use super::file::SOON;
use super::sink::{self, Writer, Written};
use super::{AuditError, Entry, QUEUE, Sync};

/// A disk that took no longer than this is quick.
const QUICK: Duration = Duration::from_millis(2);

/// How long tasks wait for a disk that was quick before the thread, which may sleep for [`SOON`] first, finds another that drives them.
const TIMEOUT: Duration = Duration::from_millis(10);

/// Where entries are handed in.
pub(super) struct GroupCommit {
    queue: mpsc::Sender<QueuedEntry>,
    shared: Arc<Shared>,
    thread: Thread,
    sync: Sync,
}

/// What those who write have in common.
struct Shared {
    work: Mutex<Work>,
    closed: AtomicBool,
    /// The thread waits for whoever writes.
    wanted: AtomicBool,
    /// The disk was quick when it was last asked.
    quick: AtomicBool,
    /// Since when tasks wait with whoever writes, and what drives them.
    waiting: Mutex<Option<(Instant, Handle)>>,
}

/// An entry to write, and who waits for it.
struct QueuedEntry {
    entry: Entry,
    reply: oneshot::Sender<Written>,
}

/// The writer, and what it has to write.
struct Work {
    writer: Writer,
    jobs: mpsc::Receiver<QueuedEntry>,
    /// What is written next.
    taken: Vec<QueuedEntry>,
    /// Records that share one request to the disk, at most.
    group: usize,
    /// Until when the thread sleeps if nobody wakes it.
    wakes: Option<Instant>,
}

/// Nobody writes any more.
pub(super) struct WriterGone;

impl GroupCommit {
    /// Starts the thread, which ends with the group commit.
    pub(super) fn open(writer: Writer, sync: Sync) -> Result<Self, AuditError> {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let group = if sync == Sync::Always { 1 } else { QUEUE };
        let shared = Arc::new(Shared {
            work: Mutex::new(Work { writer, jobs, taken: Vec::new(), group, wakes: None }),
            closed: AtomicBool::new(false),
            wanted: AtomicBool::new(false),
            quick: AtomicBool::new(false),
            waiting: Mutex::new(None),
        });
        let keeper = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("palisade-audit".to_owned()).spawn(move || keeper.keep());
        let thread = thread.map_err(|error| AuditError::System { what: "a thread", cause: sink::errno(&error) })?;
        Ok(Self { queue, shared, thread: thread.thread().clone(), sync })
    }

    /// Hands an entry in and waits until it is written.
    pub(super) async fn put(&self, entry: Entry) -> Result<Written, WriterGone> {
        let waits = self.sync != Sync::None && !(self.sync == Sync::Group && entry.may_follow());
        // No other thread can take the task that was woken last. What a decision's has woken is another that is to be judged, or the next
        // command of its session: those may wait as long as it does.
        let may_hold_up = matches!(entry, Entry::Decision(_));
        let (reply, answer) = oneshot::channel();
        self.queue.send(QueuedEntry { entry, reply }).await.map_err(|_| WriterGone)?;
        match Handle::try_current() {
            // A runtime of one thread must not wait for a disk.
            Ok(runtime) if runtime.runtime_flavor() == RuntimeFlavor::CurrentThread => self.thread.unpark(),
            Ok(_) if !waits => self.take_turn(Turn::AtOnce),
            Ok(runtime) if may_hold_up && self.is_quick() && runtime.metrics().num_workers() > 1 => {
                self.take_turn(Turn::WithTasks(runtime));
            }
            _ => tokio::task::block_in_place(|| self.take_turn(Turn::Free)),
        }
        answer.await.map_err(|_| WriterGone)
    }

    fn is_quick(&self) -> bool {
        self.shared.quick.load(Ordering::Relaxed)
    }

    /// [`Self::put`] on a thread that drives no tasks.
    pub(super) fn put_blocking(&self, entry: Entry) -> Result<Written, WriterGone> {
        let (reply, answer) = oneshot::channel();
        self.queue.blocking_send(QueuedEntry { entry, reply }).map_err(|_| WriterGone)?;
        self.take_turn(Turn::Free);
        answer.blocking_recv().map_err(|_| WriterGone)
    }

    /// As [`Writer::let_prune`]. Blocks.
    pub(super) fn let_prune(&self, may: bool) {
        if let Ok(mut work) = self.shared.work.lock() {
            work.writer.let_prune(may);
        }
        // It has something to do sooner than it knew, or waits for what was held here.
        self.thread.unpark();
    }

    /// Writes what waits. If somebody else is at it, who may have looked for the last time: the thread does it after them.
    fn take_turn(&self, turn: Turn) {
        let mut work = match self.shared.work.try_lock() {
            Ok(work) => work,
            Err(TryLockError::WouldBlock) => return self.thread.unpark(),
            Err(TryLockError::Poisoned(poisoned)) => return poisoned.into_inner().give_up(),
        };
        work.gather();
        let leaves = match &turn {
            Turn::Free => false,
            // Others' entries may have to wait for the disk, and the writer for its own ends.
            Turn::AtOnce => self.sync != Sync::None && work.waits(),
            Turn::WithTasks(_) => !self.is_quick() || work.writer.needs_disk(),
        };
        if leaves {
            drop(work);
            return self.thread.unpark();
        }
        // The thread is awake soon: for what may be owed to the disk then, and to look after those who wait for it.
        if self.sync != Sync::None && work.wakes.is_none_or(|at| at.saturating_duration_since(Instant::now()) > SOON) {
            self.thread.unpark();
        }
        // If this panics, the thread tells everybody that nobody writes any more.
        let woken = Woken(&self.thread);
        let waiting = match turn {
            Turn::WithTasks(runtime) => Some(self.shared.wait_with(runtime)),
            Turn::Free | Turn::AtOnce => None,
        };
        // What came since then may wait for the disk; who handed it in has woken the thread.
        work.write_taken();
        drop(waiting);
        let due = work.writer.due();
        let sooner = due.is_some_and(|due| work.wakes.is_none_or(|at| due < at));
        self.shared.note(&work);
        drop(work);
        // Either this sees that the thread wants it, or the thread that nobody has it.
        fence(Ordering::SeqCst);
        if !sooner && !self.shared.wanted.load(Ordering::Relaxed) {
            std::mem::forget(woken);
        }
    }
}

/// How somebody writes who hands an entry in.
enum Turn {
    /// On a thread that may wait.
    Free,
    /// Where nothing is to wait.
    AtOnce,
    /// On a thread whose tasks wait too, which this drives.
    WithTasks(Handle),
}

impl Drop for GroupCommit {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
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

/// Says at its end that tasks wait no longer.
struct WaitGuard<'a>(&'a Shared);

impl Drop for WaitGuard<'_> {
    fn drop(&mut self) {
        self.0.set_waiting(None);
    }
}

impl Shared {
    /// The tasks of this thread wait from now on.
    fn wait_with(&self, runtime: Handle) -> WaitGuard<'_> {
        self.set_waiting(Some((Instant::now(), runtime)));
        WaitGuard(self)
    }

    fn set_waiting(&self, waiting: Option<(Instant, Handle)>) {
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = waiting;
    }

    /// Remembers how the disk was.
    fn note(&self, work: &Work) {
        let quick = work.writer.disk_took().is_some_and(|took| took <= QUICK);
        self.quick.store(quick, Ordering::Relaxed);
    }

    /// Where tasks have waited for long: sees that another thread drives them.
    fn look(&self) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((since, runtime)) = waiting
            && since.elapsed() >= TIMEOUT
        {
            // A task from outside wakes a thread up, which takes what it finds and waits for events behind that.
            runtime.spawn(std::future::ready(()));
        }
    }

    /// The work, for the thread; none once somebody panicked in the middle of it.
    fn work(&self) -> Option<MutexGuard<'_, Work>> {
        loop {
            for wanted in [false, true] {
                self.wanted.store(wanted, Ordering::Relaxed);
                fence(Ordering::SeqCst);
                match self.work.try_lock() {
                    Ok(work) => {
                        self.wanted.store(false, Ordering::Relaxed);
                        return Some(work);
                    }
                    Err(TryLockError::WouldBlock) => {}
                    Err(TryLockError::Poisoned(_)) => return None,
                }
            }
            std::thread::park_timeout(TIMEOUT);
            self.look();
        }
    }

    /// Writes what is left over and does what has its time, until the group commit closes.
    fn keep(&self) {
        loop {
            let Some(mut work) = self.work() else { break };
            // Behind the wait for the work, which takes who closes for who hands in; before the writing, since what was handed in by then
            // is still written.
            let last = self.closed.load(Ordering::Acquire);
            while work.write_group() > 0 {}
            work.writer.keep();
            if last {
                // That it cannot be brought to disk is said as any failure to write is.
                let _ = work.writer.settle();
                return;
            }
            self.note(&work);
            let due = work.writer.due();
            work.wakes = due;
            drop(work);
            match due {
                Some(due) => std::thread::park_timeout(due.saturating_duration_since(Instant::now())),
                None => std::thread::park(),
            }
        }
        self.work.lock().unwrap_or_else(PoisonError::into_inner).give_up();
    }
}

impl Work {
    /// A writer that panicked is in an unknown state. Whoever waits, or comes later, is told.
    fn give_up(&mut self) {
        self.jobs.close();
        self.taken.clear();
        // Whoever still puts in what they had room for comes here themselves.
        while self.jobs.try_recv().is_ok() {}
    }

    /// Takes what waits, as much as shares one request to the disk.
    fn gather(&mut self) {
        while self.taken.len() < self.group
            && let Ok(job) = self.jobs.try_recv()
        {
            self.taken.push(job);
        }
    }

    /// What was taken waits for the disk.
    fn waits(&self) -> bool {
        self.writer.needs_disk() || self.taken.iter().any(|job| !job.entry.may_follow())
    }

    /// How many entries were waiting.
    fn write_group(&mut self) -> usize {
        self.gather();
        self.write_taken()
    }

    /// How many entries were taken.
    fn write_taken(&mut self) -> usize {
        if self.taken.is_empty() {
            return 0;
        }
        let group = std::mem::take(&mut self.taken);
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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::{Audit, AuditSettings, Exit, RequestId, sample};
    use super::*;

    /// No signatures between, which would be counted.
    fn settings(home: &tempfile::TempDir) -> AuditSettings {
        AuditSettings { unsigned: 100_000, ..AuditSettings::new(home.path().to_owned(), Sync::None) }
    }

    #[test]
    fn nothing_is_written_by_a_writer_that_panicked() {
        let home = tempfile::tempdir().unwrap();
        let group_commit = sink::open(&settings(&home), sample::start()).unwrap().group_commit;
        std::thread::scope(|scope| {
            let panics = scope.spawn(|| {
                let _held = group_commit.shared.work.lock();
                std::panic::resume_unwind(Box::new("in the middle of a record"));
            });
            panics.join().unwrap_err();
        });
        for _ in 0..3 {
            assert!(group_commit.put_blocking(Entry::Head).is_err());
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

    #[test]
    fn an_outcome_is_on_disk_soon_and_a_decision_at_once() {
        let home = tempfile::tempdir().unwrap();
        let owes = |sync, entry: &dyn Fn(&Audit) -> Entry| {
            let settings = AuditSettings { sync, ..settings(&home) };
            let audit = Audit::open(&settings, sample::start()).unwrap();
            let entry = entry(&audit);
            // The writer's thread cannot be at it in between.
            let mut work = audit.shared.group_commit.shared.work.lock().unwrap();
            assert!(work.writer.commit(&[&entry]).iter().all(Result::is_ok));
            let owes = work.writer.owes();
            drop(work);
            audit.shared.group_commit.thread.unpark();
            let end = Instant::now() + Duration::from_secs(10);
            while audit.shared.group_commit.shared.work.lock().unwrap().writer.owes() {
                assert!(Instant::now() < end, "{sync:?}: still not on disk");
                std::thread::yield_now();
            }
            owes
        };
        let outcome = |audit: &Audit| Entry::from(sample::finished(audit.request(), Exit::Code(0), "made"));
        let decision = |audit: &Audit| Entry::from(sample::decided(audit.request(), "make"));
        assert!(owes(Sync::Group, &outcome));
        assert!(!owes(Sync::Group, &decision));
        assert!(!owes(Sync::Always, &outcome));
    }

    #[test]
    fn a_desk_that_closes_while_somebody_writes_ends_its_thread() {
        let home = tempfile::tempdir().unwrap();
        let group_commit = sink::open(&settings(&home), sample::start()).unwrap().group_commit;
        let shared = Arc::clone(&group_commit.shared);
        let work = shared.work.lock().unwrap();
        // It waits for the work, and is woken there by whoever closes.
        group_commit.thread.unpark();
        std::thread::sleep(Duration::from_millis(50));
        drop(group_commit);
        std::thread::sleep(Duration::from_millis(50));
        drop(work);
        let end = Instant::now() + Duration::from_secs(10);
        while Arc::strong_count(&shared) > 1 {
            assert!(Instant::now() < end, "the thread sleeps on");
            std::thread::yield_now();
        }
    }

    #[test]
    fn what_is_owed_goes_to_disk_with_what_waits_for_it() {
        let home = tempfile::tempdir().unwrap();
        let settings = AuditSettings { sync: Sync::Group, ..settings(&home) };
        let begun = sink::open(&settings, sample::start()).unwrap();
        let request = || RequestId { chain: begun.chain, number: 1 };
        let mut work = begun.group_commit.shared.work.lock().unwrap();
        let outcome = Entry::from(sample::finished(request(), Exit::Code(0), "made"));
        let decision = Entry::from(sample::decided(request(), "make"));
        assert!(work.writer.commit(&[&outcome]).iter().all(Result::is_ok) && work.writer.owes());
        assert!(work.writer.commit(&[&outcome]).iter().all(Result::is_ok) && work.writer.owes());
        assert!(work.writer.commit(&[&outcome, &decision]).iter().all(Result::is_ok) && !work.writer.owes());
    }

    #[test]
    fn tasks_that_wait_for_a_slow_disk_are_driven_by_another_thread() {
        let home = tempfile::tempdir().unwrap();
        let group_commit = sink::open(&settings(&home), sample::start()).unwrap().group_commit;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (outside, inside) = std::os::unix::net::UnixStream::pair().unwrap();
        inside.set_nonblocking(true).unwrap();
        let (release, held) = std::sync::mpsc::channel();
        runtime.block_on(async {
            let inside = tokio::net::UnixStream::from_std(inside).unwrap();
            // Whoever answers waits for events, of which the other task takes the place.
            let answers = tokio::spawn(async move {
                for _ in 0..2 {
                    // It may be called readable when it is not.
                    while inside.try_read(&mut [0; 1]).is_err() {
                        inside.readable().await.unwrap();
                    }
                    inside.try_write(b"!").unwrap();
                }
            });
            let shared = Arc::clone(&group_commit.shared);
            let holds = tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(50)).await;
                let _work = shared.work.lock().unwrap();
                let _waiting = shared.wait_with(Handle::current());
                held.recv().unwrap();
            });
            let asks = std::thread::spawn(move || {
                use std::io::{Read as _, Write as _};
                let mut outside = outside;
                std::thread::sleep(Duration::from_millis(200));
                // What the thread is awake for by itself where something is written.
                group_commit.thread.unpark();
                outside.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
                for _ in 0..2 {
                    outside.write_all(b"?").unwrap();
                    outside.read_exact(&mut [0; 1]).unwrap();
                }
                release.send(()).unwrap();
            });
            tokio::task::spawn_blocking(move || asks.join().unwrap()).await.unwrap();
            answers.await.unwrap();
            holds.await.unwrap();
        });
    }

    #[test]
    fn what_waits_for_no_disk_does_not_write_what_does() {
        let home = tempfile::tempdir().unwrap();
        let settings = AuditSettings { sync: Sync::Group, ..settings(&home) };
        let begun = sink::open(&settings, sample::start()).unwrap();
        let request = || RequestId { chain: begun.chain, number: 1 };
        let put = |entry: Entry| {
            let (reply, answer) = oneshot::channel();
            begun.group_commit.queue.blocking_send(QueuedEntry { entry, reply }).unwrap();
            answer
        };
        let outcome = || Entry::from(sample::finished(request(), Exit::Code(0), "made"));
        let mut work = begun.group_commit.shared.work.lock().unwrap();
        let first = put(outcome());
        work.gather();
        assert!(!work.waits());
        // It came in between.
        let second = put(Entry::from(sample::decided(request(), "make")));
        assert_eq!(work.taken.len(), 1);
        work.gather();
        assert!(work.waits());
        drop((first, second));
        work.write_taken();
        // What was looked at is what is written.
        let (first, second) = (put(outcome()), put(Entry::from(sample::decided(request(), "make"))));
        assert_eq!(work.write_taken(), 0);
        drop(work);
        // Whoever has only an outcome leaves both to the thread, which writes them.
        begun.group_commit.take_turn(Turn::AtOnce);
        assert_eq!(first.blocking_recv().unwrap().unwrap().seq, 4);
        assert_eq!(second.blocking_recv().unwrap().unwrap().seq, 5);
    }
}
