//! Commands that outlive the call that started them: what is known of each, and how it is reached.
//!
//! A job decides nothing about itself: who may read it, write to it or send it a signal is asked of the engine before
//! (`pipeline/jobs.rs`).

mod keys;
pub mod registry;
mod signal;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use palisade_audit::RequestId;
use palisade_engine::AbsolutePath;
use palisade_redact::Redacted;
use tokio::sync::{mpsc, watch};

pub(crate) use self::keys::Keys;
pub use self::signal::JobSignal;
use crate::facts::{Occasion, Surroundings};
use crate::result::{Cause, DecisionNote, Finish};
use crate::shell::progress::Progress;
use crate::shell::{Nonce, Order, SessionError, SessionId, Typed};

/// Names a job. Random, so that it cannot be guessed, but a name all the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct JobId(String);

impl JobId {
    /// A new name.
    ///
    /// # Errors
    /// If the kernel gives no random bytes.
    pub fn new() -> Result<Self, SessionError> {
        let nonce = Nonce::new()?;
        Ok(Self(format!("j-{}", nonce.as_str().get(..16).unwrap_or_default())))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What a job runs, as far as its text tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runs {
    /// The program's name; empty if it is not known.
    pub program: String,
    /// What it reads may be code to it; so it is for one that is not known.
    pub interpreter: bool,
}

/// How a job ended; an error if that could not be recorded.
pub type Settled = Result<Finish, Arc<crate::failure::Failure>>;

/// What the caller that waits for a job has been told.
#[derive(Debug)]
pub(crate) enum CallerReport {
    /// Nothing yet.
    Nothing,
    /// What was known by its deadline, and what the redactor had found by then.
    Early(Settled, BTreeMap<Redacted, u64>),
    /// How it ended.
    End(Settled),
}

/// A command that runs, or has run.
#[derive(Debug)]
pub struct Job {
    pub(crate) id: JobId,
    /// The session whose shell it holds; none if it has one of its own.
    pub(crate) holds: Option<SessionId>,
    /// The session that it was judged for.
    pub(crate) session: SessionId,
    /// The session that the call named, if it named one.
    pub(crate) named: Option<String>,
    /// Whose it is, for the limits.
    pub(crate) principal: String,
    /// Where it began.
    pub(crate) cwd: AbsolutePath,
    pub(crate) req: RequestId,
    pub(crate) script: Redacted,
    pub(crate) runs: Vec<Runs>,
    pub(crate) decision: DecisionNote,
    pub(crate) started: Instant,
    pub(crate) progress: Arc<Progress>,
    /// Its standard input, if it can be written to.
    pub(crate) input: Option<mpsc::Sender<Typed>>,
    /// Its standard streams are a terminal.
    pub(crate) terminal: bool,
    pub(crate) orders: mpsc::Sender<Order>,
    /// How often something was written or signalled to it.
    pub(crate) told: AtomicU64,
    pub(crate) cancel: watch::Sender<bool>,
    /// Who ended it, if it was this server of its own accord.
    pub(crate) cause: OnceLock<Cause>,
    /// What is to be said of the session that it was started in.
    pub(crate) restarted: Option<Redacted>,
    /// What is around it, if it is not on this machine.
    pub(crate) elsewhere: Option<Box<(Surroundings, Occasion)>>,
    pub(crate) settled: watch::Receiver<Option<Settled>>,
    /// The task that tells the caller holds this, from before the record has the answer.
    pub(crate) answer: tokio::sync::Mutex<CallerReport>,
    pub(crate) touched: Mutex<Instant>,
}

impl Job {
    /// Its name.
    pub fn id(&self) -> &JobId {
        &self.id
    }

    /// Whether it still runs.
    pub fn is_running(&self) -> bool {
        self.settled.borrow().is_none()
    }

    /// How it ended, if it has.
    pub(crate) fn ending(&self) -> Option<Settled> {
        self.settled.borrow().clone()
    }

    /// Waits for its end.
    pub(crate) async fn ended(&self) -> Settled {
        let mut settled = self.settled.clone();
        let ended = settled.wait_for(Option::is_some).await.ok().and_then(|settled| settled.clone());
        // The task that runs it is gone without a word, which it never is while the runtime lives.
        ended.unwrap_or_else(|| Err(Arc::new(crate::failure::Failure::of("the job ended in a way that nobody knows"))))
    }

    /// Says that something reaches it now; false if something else has since it had been told `since` things.
    pub(crate) fn tell(&self, since: Option<u64>) -> bool {
        match since {
            None => {
                self.told.fetch_add(1, Ordering::AcqRel);
                true
            }
            Some(since) => self.told.compare_exchange(since, since + 1, Ordering::AcqRel, Ordering::Acquire).is_ok(),
        }
    }

    /// Ends it, and everything that it has started. The first cause counts.
    pub(crate) fn end(&self, cause: Cause) {
        let _known_already = self.cause.set(cause);
        self.cancel.send_replace(true);
    }

    /// Somebody has asked for it.
    pub(crate) fn touch(&self) {
        *self.touched.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// For how long nobody has asked for it.
    pub(crate) fn idle(&self) -> Duration {
        self.touched.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }
}
