//! What a task does: what its call would have done, had it waited for its end.
//!
//! Decides nothing that a call does not decide: it waits for the job, or for a person and then calls again. It ends early when it is
//! cancelled, when the server stops, when its client was gone before it heard of it, and when nobody asks for it any more.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use palisade_runner::{Attendance, Redacted, Stop};
use rmcp::ErrorData;
use rmcp::model::JsonObject;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{Asking, Stands, Task, TaskEnd};
use crate::approval::{Call, ElicitationReply};
use crate::render::{self, GoesOn, Reply};
use crate::tools;

/// What is still to come of a call.
pub(super) struct TaskDriver {
    task: Arc<Task>,
    call: Call,
    reply: Reply,
    /// The client puts questions to a person.
    asks: bool,
    /// The requests that were put there.
    put: BTreeSet<String>,
    /// Where programs of its job that wait at their `execve` are told.
    attendance: Option<Attendance>,
}

/// What came of waiting for a person.
enum Waited {
    /// There is an answer: the call is to be made again.
    Answered,
    /// There is none, and no more time for it.
    InVain,
    /// The answer could not be taken.
    Failed(Reply),
    /// Nobody wants to know any more.
    Ended,
}

impl TaskDriver {
    pub(super) fn new(
        task: Arc<Task>,
        call: Call,
        reply: Reply,
        asks: bool,
        (put, attendance): (Option<String>, Option<Attendance>),
    ) -> Self {
        let put = put.into_iter().collect();
        let driver = Self { task, call, reply, asks, put, attendance };
        driver.task.stands(match driver.reply.goes_on() {
            GoesOn::Runs { job, .. } => Stands::Runs(job.clone()),
            GoesOn::Waits(request) => Stands::Waits(request.clone()),
            GoesOn::No => Stands::Works,
        });
        driver
    }

    /// Goes on to the end, which is known by then.
    pub(super) async fn run(self, idle: Duration) {
        let unfinished = Unfinished(Arc::clone(&self.task));
        let ended = self.follow(idle).await;
        unfinished.0.stands(Stands::Ended(ended));
    }

    async fn follow(mut self, idle: Duration) -> TaskEnd {
        let until = Instant::now() + tools::MAX_TIMEOUT;
        loop {
            self.reply = match self.reply.goes_on().clone() {
                GoesOn::No => break,
                GoesOn::Runs { job, view } => {
                    self.task.stands(Stands::Runs(job.clone()));
                    let attendance = self.attendance.take();
                    let ended = self.call.own.pipeline.jobs().end_of(job.as_str(), &view, &self.call.stop);
                    tokio::select! {
                        ended = ended => tools::exec::reply(ended, None),
                        never = self.ask_about_programs(&job, attendance) => match never {},
                    }
                }
                GoesOn::Waits(request) => match self.wait(&request, until, idle).await {
                    Waited::Answered => {
                        self.task.stands(Stands::Works);
                        match self.call.again().await {
                            Ok(reply) => reply,
                            Err(fault) => return TaskEnd::Failed(object(&fault)),
                        }
                    }
                    Waited::InVain => break,
                    Waited::Failed(reply) => reply,
                    Waited::Ended => return TaskEnd::Cancelled,
                },
            };
        }
        if *self.task.cancel.borrow() && self.reply.is_cancelled() {
            return TaskEnd::Cancelled;
        }
        TaskEnd::Done(object(&self.reply.into_result(self.call.own.pipeline.anchor())))
    }

    /// Puts each program of a job that waits at its `execve` to the person at the client, one after the other.
    async fn ask_about_programs(&self, job: &Redacted, attendance: Option<Attendance>) -> Infallible {
        let pipeline = &self.call.own.pipeline;
        let mut attendance = match attendance {
            Some(attendance) if self.asks => attendance,
            _ => return std::future::pending().await,
        };
        loop {
            let Some(id) = attendance.next().await else { return std::future::pending().await };
            let Some((request, question)) = self.call.shown_as(&id) else { continue };
            let (answer, answered) = oneshot::channel();
            self.task.stands(Stands::Asks(Asking { request, question, answer }));
            tokio::select! {
                answer = said(Some(answered)) => if let Err(failure) = self.call.take(&id, answer).await {
                    tracing::warn!(id, "an answer at the client does not count: {}", failure.what);
                },
                _ = pipeline.approvals().answered_within(&id, pipeline.approvals().expire_after(), &self.call.stop) => {}
            }
            self.task.stands(Stands::Runs(job.clone()));
        }
    }

    /// Waits for a person, who is asked at the client if that may be and they were not before.
    async fn wait(&mut self, request: &Redacted, until: Instant, idle: Duration) -> Waited {
        let may_ask = self.asks && !self.put.contains(request.as_str());
        let question = may_ask.then(|| self.call.shown(request.as_str())).flatten();
        let answered = match question {
            None => {
                self.task.stands(Stands::Waits(request.clone()));
                None
            }
            Some(question) => {
                self.put.insert(request.as_str().to_owned());
                let (answer, answered) = oneshot::channel();
                let request = request.clone();
                self.task.stands(Stands::Asks(Asking { request, question, answer }));
                Some(answered)
            }
        };
        let (pipeline, stop) = (&self.call.own.pipeline, &self.call.stop);
        // No longer than the request itself: behind that nobody can answer it.
        let left = until.saturating_duration_since(Instant::now()).min(pipeline.approvals().expire_after());
        tokio::select! {
            answer = said(answered) => match self.call.take(request.as_str(), answer).await {
                Ok(()) => Waited::Answered,
                Err(failure) => Waited::Failed(render::failed(&failure)),
            },
            answered = pipeline.approvals().answered_within(request.as_str(), left, stop) => match answered {
                true => Waited::Answered,
                false if is_on(stop).await => Waited::Ended,
                false => Waited::InVain,
            },
            () = self.task.forgotten(idle) => Waited::Ended,
        }
    }
}

/// A yes or a no of the person at the client. Whoever says neither has said nothing, and is not waited for there any more.
async fn said(answered: Option<oneshot::Receiver<ElicitationReply>>) -> ElicitationReply {
    if let Some(answered) = answered
        && let Ok(answer @ (ElicitationReply::Yes(_) | ElicitationReply::No(_))) = answered.await
    {
        return answer;
    }
    std::future::pending().await
}

/// Whether one of the switches is on.
async fn is_on(stop: &Stop) -> bool {
    let mut stop = stop.clone();
    tokio::select! {
        biased;
        () = stop.requested() => true,
        () = std::future::ready(()) => false,
    }
}

/// Has the task end badly if its course breaks off.
pub(super) struct Unfinished(pub(super) Arc<Task>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        let fault = ErrorData::internal_error("the server has failed", None);
        self.0.stands(Stands::Ended(TaskEnd::Failed(object(&fault))));
    }
}

fn object(value: &impl Serialize) -> JsonObject {
    match serde_json::to_value(value) {
        Ok(Value::Object(object)) => object,
        Ok(_) | Err(_) => JsonObject::new(),
    }
}
