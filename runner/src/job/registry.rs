//! The jobs of one server process: names, how many may run, and for how long one that is done is kept.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Job;

/// All jobs.
#[derive(Debug)]
pub struct Jobs {
    jobs: Mutex<BTreeMap<String, Arc<Job>>>,
    places: Arc<Semaphore>,
    max: usize,
}

/// A place among the jobs that may run at once; free again when it is dropped.
#[derive(Debug)]
pub struct Place(#[expect(dead_code, reason = "held for its Drop")] OwnedSemaphorePermit);

impl Jobs {
    /// Room for `max` running jobs, and as many that are done.
    pub fn new(max: usize) -> Self {
        Self { jobs: Mutex::default(), places: Arc::new(Semaphore::new(max)), max }
    }

    /// A place for one more, if there is one.
    pub fn admit(&self) -> Option<Place> {
        Arc::clone(&self.places).try_acquire_owned().map(Place).ok()
    }

    /// How many may run.
    pub fn max(&self) -> usize {
        self.max
    }

    /// Keeps a job under its name. Of those that are done, the ones that nobody has asked for longest make room.
    pub fn keep(&self, job: Arc<Job>) {
        let mut jobs = self.lock();
        jobs.insert(job.id().as_str().to_owned(), job);
        loop {
            let done = jobs.values().filter(|job| !job.is_running());
            if done.clone().count() <= self.max {
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
                job.cancel.send_replace(true);
                return true;
            }
            !over
        });
    }

    /// Ends those that run, and waits for it.
    pub async fn end_all(&self) {
        let jobs = self.all();
        for job in &jobs {
            job.cancel.send_replace(true);
        }
        for job in &jobs {
            let _ended = job.ended().await;
        }
        self.lock().clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Arc<Job>>> {
        // Nothing that holds the lock can fail half-way.
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
