//! Calls that are answered later: the tasks extension of MCP 2026-07-28 (`io.modelcontextprotocol/tasks`).
//!
//! ```text
//! call ─▶ its command runs on, or it waits for a person ─▶ a task, if the client says that it knows those
//!                                                            └─ task_driver.rs: what the call would have done, had it waited
//! client ─▶ tasks/get │ tasks/update │ tasks/cancel ─▶ how it stands │ a person's answer │ its end
//! ```
//!
//! A task is a call that has left, and nothing besides: its command is a job as any other, a person is asked as for any call, and all of it
//! is on record as that. This file decides who gets one, how many there are, and for how long each is known. The tasks of a
//! principal are known to that principal's connections alone: another's name is as unknown as one that nobody has.

mod task_driver;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use palisade_runner::{Attendance, Pipeline, Redacted};
use ring::rand::{SecureRandom as _, SystemRandom};
use rmcp::model::{
    CreateTaskResult, DetailedTask, ElicitRequest, GetTaskResult, InputRequest, InputResponses, JsonObject,
    ProtocolVersion, Task as Told, TaskPayload, TaskStatus,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use self::task_driver::TaskDriver;
use crate::approval::{Call, ElicitationReply};
use crate::render::{self, Reply};

/// Tasks of one principal that are known at a time.
const MAX_TASKS: usize = 32;

/// Random bytes of a name: a name is no proof, but whoever has one not either should be able to guess it.
const NAME: usize = 16;

/// How often a client is asked to look after what runs.
const LOOK: Duration = Duration::from_secs(1);

/// The same for what waits for a person.
const LOOK_FOR_A_PERSON: Duration = Duration::from_secs(3);

/// One principal's tasks.
pub(crate) struct Tasks {
    random: SystemRandom,
    /// How long one is kept for nobody who asks for it.
    idle: Duration,
    known: Mutex<BTreeMap<String, Arc<Task>>>,
    courses: Mutex<JoinSet<()>>,
}

/// One call that is answered later.
struct Task {
    name: String,
    began: Instant,
    began_at: String,
    now: Mutex<Now>,
    /// When somebody last asked for it.
    asked: Mutex<Instant>,
    cancel: watch::Sender<bool>,
}

/// How a task stands.
struct Now {
    since: String,
    stands: Stands,
    /// Its end has been told.
    told: bool,
}

enum Stands {
    /// It is judged, or about to run.
    Works,
    /// It runs as this job.
    Runs(Redacted),
    /// It waits for a person's answer to this request, wherever that person is.
    Waits(Redacted),
    /// The same, and the client may put the question.
    Asks(Asking),
    Ended(TaskEnd),
}

/// A question for the person at the client.
struct Asking {
    request: Redacted,
    question: ElicitRequest,
    answer: oneshot::Sender<ElicitationReply>,
}

/// How a task ended.
#[derive(Clone)]
enum TaskEnd {
    /// With this result, which may tell of an error.
    Done(JsonObject),
    /// With a fault of the protocol.
    Failed(JsonObject),
    /// Its client did not want it any more.
    Cancelled,
}

/// Whether whoever calls can be told the end later. Earlier revisions of the protocol have tasks of another shape, which nobody gets.
pub(crate) fn are_known_to(context: &RequestContext<RoleServer>) -> bool {
    is_newer(context) && context.client_capabilities().is_some_and(|capabilities| capabilities.supports_tasks())
}

/// Whether a request is of a revision that has the extension.
pub(crate) fn is_newer(context: &RequestContext<RoleServer>) -> bool {
    context.protocol_version().is_some_and(|version| version.as_str() >= ProtocolVersion::V_2026_07_28.as_str())
}

impl Tasks {
    /// None yet, for the principal of this pipeline.
    pub(crate) fn new(pipeline: &Pipeline) -> Self {
        Self { random: SystemRandom::new(), idle: pipeline.idle(), known: Mutex::default(), courses: Mutex::default() }
    }

    /// Makes a task of what is still to come of a call. `asks`: its client puts questions to a person; `put` is the request that it has
    /// put before.
    ///
    /// # Errors
    /// The reply as it was, if there can be no task more.
    pub(crate) fn begin(
        &self,
        mut call: Call,
        reply: Reply,
        asks: bool,
        before: (Option<String>, Option<Attendance>),
    ) -> Result<CreateTaskResult, Box<Reply>> {
        let Some(task) = self.place() else { return Err(Box::new(reply)) };
        call.stop.listen(task.cancel.subscribe());
        let meta = render::meta_of(call.own.pipeline.anchor());
        let driver = TaskDriver::new(Arc::clone(&task), call, reply, asks, before);
        // From here on whoever asks for it is told how it stands.
        let told = task.told(self.idle, false).task;
        let mut courses = lock(&self.courses);
        while courses.try_join_next().is_some() {}
        courses.spawn(driver.run(self.idle));
        Ok(CreateTaskResult::new(told).with_meta(meta))
    }

    /// How a task stands; with `asks`, what is asked of a person too.
    ///
    /// # Errors
    /// If there is none of that name.
    pub(crate) fn look(&self, name: &str, pipeline: &Pipeline, asks: bool) -> Result<GetTaskResult, ErrorData> {
        let task = self.find(name)?;
        if let Stands::Runs(job) = &lock(&task.now).stands {
            pipeline.jobs().touch(job.as_str());
        }
        Ok(GetTaskResult::new(task.told(self.idle, asks)))
    }

    /// Takes what a client says to the question of a task. What answers no question that is open is nothing.
    ///
    /// # Errors
    /// If there is none of that name.
    pub(crate) fn update(&self, name: &str, answers: &InputResponses) -> Result<(), ErrorData> {
        let task = self.find(name)?;
        let mut now = lock(&task.now);
        let Stands::Asks(asking) = &now.stands else { return Ok(()) };
        let Some(answer) = answers.get(&key(&asking.request)) else { return Ok(()) };
        let (answer, waits) = (ElicitationReply::of(answer), Stands::Waits(asking.request.clone()));
        if let Stands::Asks(asking) = now.exchange(waits) {
            // Nobody hears it where somebody has answered elsewhere meanwhile.
            let _too_late = asking.answer.send(answer);
        }
        Ok(())
    }

    /// Ends a task, and everything that it has started. One that has ended stays as it is.
    ///
    /// # Errors
    /// If there is none of that name.
    pub(crate) fn cancel(&self, name: &str) -> Result<(), ErrorData> {
        self.find(name)?.cancel.send_replace(true);
        Ok(())
    }

    /// Waits for the end of all, which something else has brought about.
    pub(crate) async fn end(&self) {
        let mut courses = std::mem::take(&mut *lock(&self.courses));
        while courses.join_next().await.is_some() {}
    }

    /// A place for one more; none if there is none. One whose end was told makes room.
    fn place(&self) -> Option<Arc<Task>> {
        let mut bytes = [0; NAME];
        self.random.fill(&mut bytes).ok()?;
        let name = bytes.iter().fold("t-".to_owned(), |name, byte| format!("{name}{byte:02x}"));
        let mut known = lock(&self.known);
        known.retain(|_, task| !task.is_over(self.idle));
        if known.len() >= MAX_TASKS {
            let told = known.values().filter(|task| lock(&task.now).told);
            let oldest = told.max_by_key(|task| task.idle()).map(|task| task.name.clone())?;
            known.remove(&oldest);
        }
        let task = Arc::new(Task::new(name));
        known.insert(task.name.clone(), Arc::clone(&task));
        Some(task)
    }

    /// The task of this name. It counts as asked for.
    fn find(&self, name: &str) -> Result<Arc<Task>, ErrorData> {
        let mut known = lock(&self.known);
        known.retain(|_, task| !task.is_over(self.idle));
        let task = known.get(name).cloned();
        let task = task.ok_or_else(|| ErrorData::invalid_params("there is no such task", None))?;
        *lock(&task.asked) = Instant::now();
        Ok(task)
    }
}

impl Task {
    fn new(name: String) -> Self {
        let (began, began_at) = (Instant::now(), timestamp());
        let now = Now { since: began_at.clone(), stands: Stands::Works, told: false };
        Self {
            name,
            began,
            began_at,
            now: Mutex::new(now),
            asked: Mutex::new(began),
            cancel: watch::Sender::new(false),
        }
    }

    /// For how long nobody has asked for it.
    fn idle(&self) -> Duration {
        lock(&self.asked).elapsed()
    }

    /// Whether it is to be forgotten.
    fn is_over(&self, idle: Duration) -> bool {
        matches!(lock(&self.now).stands, Stands::Ended(_)) && self.idle() >= idle
    }

    /// Done once nobody has asked for it so long.
    async fn forgotten(&self, idle: Duration) {
        while let Some(left) = idle.checked_sub(self.idle()).filter(|left| !left.is_zero()) {
            tokio::time::sleep(left).await;
        }
    }

    fn stands(&self, stands: Stands) {
        let _before = lock(&self.now).exchange(stands);
    }

    /// What a client is told.
    fn told(&self, idle: Duration, asks: bool) -> DetailedTask {
        let mut now = lock(&self.now);
        now.told |= matches!(now.stands, Stands::Ended(_));
        let base = Told::new(self.name.as_str(), TaskStatus::Working, self.began_at.as_str(), now.since.as_str())
            .with_ttl_ms(millis(self.began.elapsed() + idle))
            .with_poll_interval_ms(millis(LOOK));
        let waits = |base: Told, request: &Redacted| {
            base.with_poll_interval_ms(millis(LOOK_FOR_A_PERSON))
                .with_status_message(format!("waits for a person: `palisade approvals show {request}`"))
        };
        match &now.stands {
            Stands::Works => DetailedTask::new(base, TaskPayload::Working),
            Stands::Runs(job) => {
                let about = format!("runs as job {job}; `job_read` shows what it has printed");
                DetailedTask::new(base.with_status_message(about), TaskPayload::Working)
            }
            Stands::Asks(Asking { request, question, .. }) if asks => {
                let question = InputRequest::Elicitation(question.clone());
                let input_requests = [(key(request), question)].into();
                DetailedTask::new(waits(base, request), TaskPayload::InputRequired { input_requests })
            }
            Stands::Waits(request) | Stands::Asks(Asking { request, .. }) => {
                DetailedTask::new(waits(base, request), TaskPayload::Working)
            }
            Stands::Ended(TaskEnd::Done(result)) => {
                DetailedTask::new(base, TaskPayload::Completed { result: result.clone() })
            }
            Stands::Ended(TaskEnd::Failed(error)) => {
                let base = base.with_status_message("the call could not be carried out");
                DetailedTask::new(base, TaskPayload::Failed { error: error.clone() })
            }
            Stands::Ended(TaskEnd::Cancelled) => DetailedTask::new(base, TaskPayload::Cancelled),
        }
    }
}

impl Now {
    /// What it stood at until now. What has ended stays so.
    fn exchange(&mut self, stands: Stands) -> Stands {
        if matches!(self.stands, Stands::Ended(_)) {
            return stands;
        }
        self.since = timestamp();
        std::mem::replace(&mut self.stands, stands)
    }
}

/// What a question is called: a request is put once in a task, and no two have one name.
fn key(request: &Redacted) -> String {
    format!("approval-{request}")
}

fn timestamp() -> String {
    format!("{:.3}", jiff::Timestamp::now())
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that holds one of these can fail half-way.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    fn tasks(idle: Duration) -> Tasks {
        Tasks { random: SystemRandom::new(), idle, known: Mutex::default(), courses: Mutex::default() }
    }

    fn done() -> Stands {
        Stands::Ended(TaskEnd::Done(JsonObject::new()))
    }

    #[test]
    fn there_is_room_for_so_many_and_only_an_end_that_was_told_makes_more() {
        let tasks = tasks(LONG);
        let all: Vec<_> = (0..MAX_TASKS).map(|_| tasks.place().unwrap()).collect();
        assert!(tasks.place().is_none());
        // One that has ended is still to be asked for.
        all.iter().for_each(|task| task.stands(done()));
        assert!(tasks.place().is_none());
        let told = all.first().unwrap();
        assert_eq!(tasks.find(&told.name).unwrap().told(LONG, true).status(), TaskStatus::Completed);
        assert!(tasks.place().is_some() && tasks.find(&told.name).is_err());
        assert_eq!(lock(&tasks.known).len(), MAX_TASKS);
    }

    #[test]
    fn what_nobody_asks_for_is_forgotten_once_it_has_ended() {
        let tasks = tasks(Duration::ZERO);
        let task = tasks.place().unwrap();
        assert!(tasks.find(&task.name).is_ok(), "it still goes on");
        task.stands(done());
        assert!(tasks.find(&task.name).is_err());
    }

    #[test]
    fn an_end_is_an_end() {
        let task = Task::new("t-1".to_owned());
        task.stands(Stands::Ended(TaskEnd::Cancelled));
        task.stands(done());
        task.stands(Stands::Works);
        assert_eq!(task.told(LONG, true).status(), TaskStatus::Cancelled);
    }

    #[test]
    fn a_course_that_breaks_off_is_an_end_too() {
        let task = Arc::new(Task::new("t-1".to_owned()));
        drop(task_driver::Unfinished(Arc::clone(&task)));
        assert_eq!(task.told(LONG, true).status(), TaskStatus::Failed);
    }

    #[test]
    fn names_cannot_be_guessed() {
        let tasks = tasks(LONG);
        let names: std::collections::BTreeSet<String> =
            (0..MAX_TASKS).map(|_| tasks.place().unwrap().name.clone()).collect();
        assert_eq!(names.len(), MAX_TASKS);
        assert!(names.iter().all(|name| name.len() == 2 + 2 * NAME), "{names:?}");
    }
}
