//! The jobs of one server process: names, how many may run for one principal and for all, and for how long one that is
//! done is kept. Every running command is known here, whether its call still waits for it or not.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Job;
use crate::result::Cause;
use crate::shell::Order;

/// All jobs.
#[derive(Debug)]
pub struct JobRegistry {
    jobs: Mutex<BTreeMap<String, Arc<Job>>>,
    /// Those that run.
    running: Mutex<BTreeMap<String, Weak<Job>>>,
    places: Places,
    each: Mutex<BTreeMap<String, Places>>,
    max_each: usize,
}

/// Places of one kind, and how many there are.
#[derive(Debug)]
struct Places {
    free: Arc<Semaphore>,
    max: usize,
}

/// A permit to run one of the jobs that may run at once; given back when it is dropped.
#[derive(Debug)]
pub struct JobPermit(#[expect(dead_code, reason = "held for their Drop")] [OwnedSemaphorePermit; 2]);

impl JobRegistry {
    /// Room for `max` running jobs, of which each principal may have `max_each`, and as many that are done.
    pub fn new(max: usize, max_each: usize) -> Self {
        Self {
            jobs: Mutex::default(),
            running: Mutex::default(),
            places: Places::new(max),
            each: Mutex::default(),
            max_each,
        }
    }

    /// A place for one more of this principal's.
    ///
    /// # Errors
    /// The limit that is reached, if all are taken.
    pub fn admit(&self, principal: &str) -> Result<JobPermit, usize> {
        // Nothing that holds the lock can fail half-way.
        let mut each = self.each.lock().unwrap_or_else(PoisonError::into_inner);
        each.retain(|_, places| places.free.available_permits() < places.max);
        let own = each.entry(principal.to_owned()).or_insert_with(|| Places::new(self.max_each)).take()?;
        Ok(JobPermit([own, self.places.take()?]))
    }

    /// One begins to run.
    pub fn begun(&self, job: &Arc<Job>) {
        self.running().insert(job.id().as_str().to_owned(), Arc::downgrade(job));
    }

    /// It has ended.
    pub fn over(&self, job: &Job) {
        self.running().remove(job.id().as_str());
    }

    /// Ends those that run and that `of` is true of, at once, and waits for it; how many those were.
    pub async fn kill(&self, cause: Cause, of: impl Fn(&Job) -> bool) -> usize {
        // Not one that has just ended and is not off the list yet.
        let running = self.running().values().filter_map(Weak::upgrade).collect::<Vec<_>>();
        let running = running.into_iter().filter(|job| job.is_running() && of(job)).collect::<Vec<_>>();
        for job in &running {
            // Without the steps in which a command is asked to end; one that takes no order any more is ended in those.
            let _full = job.orders.try_send(Order::Stop { grace: None });
            job.end(cause);
        }
        for job in &running {
            let _ended = job.ended().await;
        }
        running.len()
    }

    /// How many run.
    pub fn count(&self) -> usize {
        self.running().len()
    }

    /// Ends all that run, jobs or not, and waits for it.
    pub async fn end_running(&self, cause: Cause) {
        self.end_running_where(cause, |_| true).await;
    }

    /// The same for some.
    pub async fn end_running_where(&self, cause: Cause, is_one: impl Fn(&Job) -> bool) {
        let running: Vec<Arc<Job>> =
            self.running().values().filter_map(Weak::upgrade).filter(|job| is_one(job)).collect();
        for job in &running {
            job.end(cause);
        }
        for job in &running {
            let _ended = job.ended().await;
        }
    }

    /// Keeps a job under its name. Of its principal's that are done, the ones that nobody has asked for longest make room.
    pub fn keep(&self, job: Arc<Job>) {
        let mut jobs = self.lock();
        let principal = job.principal.clone();
        jobs.insert(job.id().as_str().to_owned(), job);
        loop {
            let done = jobs.values().filter(|job| job.principal == principal && !job.is_running());
            if done.clone().count() <= self.max_each {
                break;
            }
            let oldest = done.max_by_key(|job| job.idle()).map(|job| job.id().as_str().to_owned());
            let Some(oldest) = oldest else { break };
            jobs.remove(&oldest);
        }
    }

    /// The job of this name. It counts as asked for.
    pub fn get(&self, id: &str) -> Option<Arc<Job>> {
        let job = self.lock().get(id).cloned();
        if let Some(job) = &job {
            job.touch();
        }
        job
    }

    /// All of them, by name.
    pub fn all(&self) -> Vec<Arc<Job>> {
        self.lock().values().cloned().collect()
    }

    /// Forgets those that are done and that nobody has asked for so long, and ends those that run. One that is ended is
    /// forgotten the next time.
    pub fn sweep(&self, idle: Duration) {
        self.lock().retain(|_, job| {
            let over = job.idle() >= idle;
            if over && job.is_running() {
                job.end(Cause::Idle);
                return true;
            }
            !over
        });
    }

    /// Ends those that run, those that a call still waits for among them, and waits until their ends are on record.
    pub async fn end_all(&self) {
        self.end_running(Cause::Shutdown).await;
        for job in self.all() {
            let _ended = job.ended().await;
        }
        self.lock().clear();
    }

    fn running(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Weak<Job>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Arc<Job>>> {
        // Nothing that holds the lock can fail half-way.
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Places {
    fn new(max: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(max)), max }
    }

    fn take(&self) -> Result<OwnedSemaphorePermit, usize> {
        Arc::clone(&self.free).try_acquire_owned().map_err(|_| self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_for_each_principal_and_for_all() {
        let jobs = JobRegistry::new(3, 2);
        let refused = |principal| jobs.admit(principal).err();
        let mut one: Vec<_> = (0..2).map(|_| jobs.admit("one")).collect();
        assert!(one.iter().all(Result::is_ok));
        assert_eq!(refused("one"), Some(2));
        let two = jobs.admit("two");
        assert!(two.is_ok());
        assert_eq!(refused("two"), Some(3), "the server is full");
        assert_eq!(refused("three"), Some(3));
        one.pop();
        assert!(jobs.admit("three").is_ok());
        drop((one, two));
        assert!(jobs.admit("one").is_ok());
        // Nobody is remembered who has no job.
        assert_eq!(jobs.each.lock().map(|each| each.len()).ok(), Some(1));
    }
}
