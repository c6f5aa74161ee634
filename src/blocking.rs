//! The same calls for programs without a runtime: each waits for its end. The runtime is [`Palisade`]'s own.
//!
//! Within a tokio runtime they are errors ([`Error::Runtime`]): they would block a thread that others need.
//!
//! ```no_run
//! use palisade::blocking::Palisade;
//!
//! let palisade = Palisade::new(palisade::Palisade::builder().build()?)?;
//! let session = palisade.open_session()?;
//! println!("{}", session.exec("git status --short")?.stdout);
//! session.close()?;
//! palisade.shut_down()?;
//! # Ok::<(), palisade::Error>(())
//! ```

use std::sync::Arc;
use std::time::Duration;

use palisade_runner::{CheckpointNote, Explained, RestoreNote};
use tokio::runtime::{Builder, Handle, Runtime};

use crate::{Error, Outcome, Restore, session};

/// A [`Palisade`](crate::Palisade) and the runtime that its calls run on.
#[derive(Debug)]
pub struct Palisade {
    inner: session::Palisade,
    own: Arc<Own>,
}

/// A [`Session`](crate::Session) whose calls wait.
#[derive(Debug)]
pub struct Session {
    inner: session::Session,
    own: Arc<Own>,
}

/// A [`Job`](crate::Job) whose calls wait.
#[derive(Debug)]
pub struct Job {
    inner: session::Job,
    own: Arc<Own>,
}

/// What came of starting a script in the background.
#[derive(Debug)]
#[must_use = "a script that was denied has not run"]
pub enum Started {
    /// It runs.
    Running(Job),
    /// It was denied, or a person has to say yes first; nothing has run.
    Refused(Box<Outcome>),
}

impl Palisade {
    /// Makes a runtime for what a builder has built.
    ///
    /// # Errors
    /// It is called within a runtime, or no threads can be started.
    pub fn new(inner: crate::Palisade) -> Result<Self, Error> {
        outside()?;
        let made = Builder::new_multi_thread().enable_all().worker_threads(2).thread_name("palisade").build();
        let runtime = made.map_err(|_| Error::Runtime("no runtime can be started"))?;
        Ok(Self { inner, own: Arc::new(Own(Some(runtime))) })
    }

    /// As [`Palisade::open_session`](crate::Palisade::open_session).
    ///
    /// # Errors
    /// As there, or it is called within a runtime.
    pub fn open_session(&self) -> Result<Session, Error> {
        let inner = self.own.wait(self.inner.open_session())?;
        Ok(Session { inner, own: Arc::clone(&self.own) })
    }

    /// As [`Palisade::explain`](crate::Palisade::explain).
    ///
    /// # Errors
    /// As there, or it is called within a runtime.
    pub fn explain(&self, script: &str) -> Result<Explained, Error> {
        self.own.wait(self.inner.explain(script))
    }

    /// As [`Palisade::shut_down`](crate::Palisade::shut_down).
    ///
    /// # Errors
    /// As there, or it is called within a runtime.
    pub fn shut_down(self) -> Result<(), Error> {
        self.own.wait(self.inner.clone().shut_down())
    }
}

impl Session {
    /// As [`Session::exec`](crate::Session::exec).
    ///
    /// # Errors
    /// As there, or it is called within a runtime.
    pub fn exec(&self, script: &str) -> Result<Outcome, Error> {
        self.own.wait(self.inner.exec(script))
    }

    /// As [`Session::exec_within`](crate::Session::exec_within).
    ///
    /// # Errors
    /// As there, or it is called within a runtime.
    pub fn exec_within(&self, time: Duration, script: &str) -> Result<Outcome, Error> {
        self.own.wait(self.inner.exec_within(time, script))
    }

    /// As [`Session::explain`](crate::Session::explain).
    ///
    /// # Errors
    /// As there, or it is called within a runtime.
    pub fn explain(&self, script: &str) -> Result<Explained, Error> {
        self.own.wait(self.inner.explain(script))
    }

    /// As [`Session::start`](crate::Session::start).
    ///
    /// # Errors
    /// As there, or it is called within a runtime.
    pub fn start(&self, script: &str) -> Result<Started, Error> {
        Ok(match self.own.wait(self.inner.start(script))? {
            session::Started::Running(inner) => Started::Running(Job { inner, own: Arc::clone(&self.own) }),
            session::Started::Refused(outcome) => Started::Refused(outcome),
        })
    }

    /// As [`Session::checkpoint`](crate::Session::checkpoint).
    ///
    /// # Errors
    /// As there, or it is called within a runtime.
    pub fn checkpoint(&self, label: &str) -> Result<CheckpointNote, Error> {
        self.own.wait(self.inner.checkpoint(label))
    }

    /// As [`Session::checkpoints`](crate::Session::checkpoints).
    ///
    /// # Errors
    /// As there, or it is called within a runtime.
    pub fn checkpoints(&self) -> Result<Vec<CheckpointNote>, Error> {
        self.own.wait(self.inner.checkpoints())
    }

    /// As [`Session::restore`](crate::Session::restore).
    ///
    /// # Errors
    /// As there, or it is called within a runtime.
    pub fn restore(&self, checkpoint: &str, how: Restore) -> Result<RestoreNote, Error> {
        self.own.wait(self.inner.restore(checkpoint, how))
    }

    /// As [`Session::restart`](crate::Session::restart).
    ///
    /// # Errors
    /// As there, or it is called within a runtime.
    pub fn restart(&self) -> Result<(), Error> {
        self.own.wait(self.inner.restart())
    }

    /// As [`Session::close`](crate::Session::close).
    ///
    /// # Errors
    /// As there, or it is called within a runtime.
    pub fn close(self) -> Result<(), Error> {
        self.own.wait(self.inner.close())
    }
}

impl Job {
    /// As [`Job::output`](crate::Job::output).
    ///
    /// # Errors
    /// As there, or it is called within a runtime.
    pub fn output(&mut self) -> Result<Outcome, Error> {
        self.own.wait(self.inner.output())
    }

    /// As [`Job::write`](crate::Job::write).
    ///
    /// # Errors
    /// As there, or it is called within a runtime.
    pub fn write(&mut self, input: &[u8], end: bool) -> Result<Outcome, Error> {
        self.own.wait(self.inner.write(input, end))
    }

    /// As [`Job::wait`](crate::Job::wait).
    ///
    /// # Errors
    /// As there, or it is called within a runtime.
    pub fn wait(&self) -> Result<Outcome, Error> {
        self.own.wait(self.inner.wait())
    }

    /// As [`Job::kill`](crate::Job::kill).
    ///
    /// # Errors
    /// As there, or it is called within a runtime.
    pub fn kill(&self) -> Result<Outcome, Error> {
        self.own.wait(self.inner.kill())
    }
}

/// The runtime; none once it is being dropped.
#[derive(Debug)]
struct Own(Option<Runtime>);

impl Own {
    fn wait<T>(&self, call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        outside()?;
        let runtime = self.0.as_ref().ok_or(Error::Runtime("the runtime has ended"))?;
        runtime.block_on(call)
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // A runtime that is dropped within another one panics.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

fn outside() -> Result<(), Error> {
    match Handle::try_current() {
        Ok(_) => Err(Error::Runtime("a blocking call was made within a runtime")),
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn within_a_runtime_it_is_an_error_and_no_panic() {
        let runtime = Builder::new_current_thread().build().unwrap();
        let own = Own(Some(Builder::new_multi_thread().build().unwrap()));
        assert!(own.wait(async { Ok(()) }).is_ok());
        runtime.block_on(async {
            assert!(matches!(own.wait(async { Ok(()) }), Err(Error::Runtime(_))));
            drop(own);
        });
    }
}
