//! The end of a job, for a call that is answered later.
//!
//! Decides nothing: it is the same wait that [`Pipeline::submit`] begins with, gone on with behind the call that left.

use std::time::Duration;

use palisade_redact::output::View;

use super::{Failure, Outcome, Pipeline};
use crate::shell::Stop;

impl Pipeline {
    /// What a job has become, once it has ended: the very result that its call would have had, had it waited. `stop` ends the job and
    /// everything that it has started, as it would have while the call still waited.
    ///
    /// # Errors
    /// If there is none of that name, or its end could not be recorded.
    pub async fn end_of_job(&self, id: &str, view: &View, stop: &Stop) -> Result<Outcome, Failure> {
        let job = self.job(id)?;
        let mut stop = stop.clone();
        let settled = tokio::select! {
            settled = job.ended() => settled,
            () = stop.requested() => {
                job.cancel.send_replace(true);
                job.ended().await
            }
        };
        self.ran(&job, settled, view)
    }

    /// Somebody still asks for this job: it is neither ended nor forgotten for want of that. Of one that is unknown there is nothing to keep.
    pub fn asked_for_job(&self, id: &str) {
        let _touched_by_being_found = self.jobs.get(id);
    }

    /// How long a request waits for a person's answer.
    pub fn approvals_expire(&self) -> Duration {
        self.settings.approvals_expire
    }

    /// How long a session, a job or what is left of one is kept for nobody who asks for it.
    pub fn idle(&self) -> Duration {
        self.settings.idle
    }
}
