//! What becomes of a call that needs a person's yes: asked for in the agent's own client where that may count, else waited for.
//!
//! ```text
//!                      ┌─ until 2025-11-25: elicitation/create, while the call waits ─┐
//! call ─▶ asks ─▶ form.rs                                                               ├─▶ the runner takes the answer ─▶ the call again
//!                      └─ from 2026-07-28: input_required, sealed by seal.rs ──────────┘
//! ```
//!
//! An answer lets nothing run. It goes to the runner, which asks policy whether one that comes this way counts, puts it on record and
//! keeps it for the very call that it is to; then that call is made again and judged again. Everything but an explicit yes is none.
//! Whoever does not declare `elicitation` is never asked, and the request waits for `palisade approvals` as any other.

mod form;
pub(crate) mod seal;

use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use palisade_runner::{Attendance, Client, Failure, Follower, Redacted, Stop};
use rmcp::model::{
    CallToolResponse, CancelledNotificationParam, ClientResult, ElicitRequest, InputRequest, InputRequiredResult,
    InputResponses, JsonObject, ProtocolVersion, ServerRequest,
};
use rmcp::service::{PeerRequestOptions, RequestContext};
use rmcp::{ErrorData, RoleServer};
use serde_json::Value;

pub(crate) use self::form::ElicitationReply;
use self::seal::Bound;
use crate::render::{self, GoesOn, Reply};
use crate::server::PrincipalState;
use crate::tools;

/// The longest that a person at a client is waited for: they are to answer what they see, not what they saw before lunch.
const LONGEST: Duration = Duration::from_secs(300);

/// How long it may take to tell a client that it need not answer any more.
const TELLING: Duration = Duration::from_millis(200);

/// What the one question of a call is called, in both directions.
const QUESTION: &str = "approval";

/// A call of a tool.
pub(crate) struct Call {
    pub(crate) own: Arc<PrincipalState>,
    pub(crate) tool: String,
    pub(crate) arguments: Option<JsonObject>,
    pub(crate) client: Client,
    pub(crate) stop: Stop,
    /// Follows what it waits for.
    pub(crate) follower: Follower,
    /// Whoever calls can be told the end later, by a task.
    pub(crate) as_task: bool,
}

/// How a client can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ElicitationMethod {
    /// By a request of ours, before the call is answered.
    Request,
    /// By the answer to the call, which is then made again.
    Retry,
}

impl Call {
    /// The call and, where a person has to say yes to it, what comes of that. `given` is what the client says to an earlier answer of ours.
    pub(crate) async fn answer(
        self,
        context: &RequestContext<RoleServer>,
        given: (Option<String>, Option<InputResponses>),
    ) -> Result<CallToolResponse, ErrorData> {
        let (state, answers) = given;
        let way = ElicitationMethod::of(context);
        // What was put to somebody who has not said yes.
        let mut put = None;
        if let Some(state) = state {
            let id = self.own.seals.open(&state, &self.bound()).map_err(|broken| {
                tracing::warn!(tool = self.tool, "an answer to a request for approval does not count: {broken}");
                ErrorData::invalid_params(format!("the request state does not count: {broken}"), None)
            })?;
            match answers.as_ref().and_then(|answers| answers.get(QUESTION)) {
                // Nobody has been asked: the state was used up by this, so there is another one.
                None => {}
                Some(answer) => {
                    if let Err(failure) = self.take(&id, ElicitationReply::of(answer)).await {
                        return Ok(self.done(render::failed(&failure)));
                    }
                    put = Some(id);
                }
            }
        }
        let (reply, attendance) = self.run_attended(way, context).await?;
        // A command is run once and what it has come to may be read again, so that this is what carries the question.
        if way == Some(ElicitationMethod::Retry) && self.tool == tools::job::READ {
            let open = |id: &&str| put.as_deref() != Some(*id);
            let asked = reply.programs_that_wait().filter(open).find_map(|id| self.input_required(id));
            if let Some(asked) = asked {
                return Ok(asked);
            }
        }
        let Some(id) = reply.waits().map(str::to_owned) else {
            return self.wait(reply, way, (put, attendance)).await;
        };
        let Some(shown) = way.filter(|_| put.is_none()).and_then(|way| Some((way, self.shown(&id)?))) else {
            return self.wait(reply, way, (put, attendance)).await;
        };
        match shown {
            (way @ ElicitationMethod::Retry, question) => match self.carried(&id, question) {
                Some(asked) => Ok(asked),
                None => self.wait(reply, Some(way), (None, attendance)).await,
            },
            (way @ ElicitationMethod::Request, question) => match self.asker(context).elicit(&id, question).await {
                ElicitationOutcome::Nobody | ElicitationOutcome::Answered(ElicitationReply::None) => {
                    self.wait(reply, Some(way), (None, None)).await
                }
                ElicitationOutcome::Elsewhere => {
                    let (reply, attendance) = self.run_attended(Some(way), context).await?;
                    self.wait(reply, Some(way), (None, attendance)).await
                }
                ElicitationOutcome::Answered(answer) => match self.take(&id, answer).await {
                    Ok(()) => {
                        let (reply, _) = self.run_attended(Some(way), context).await?;
                        Ok(self.done(reply))
                    }
                    Err(failure) => Ok(self.done(render::failed(&failure))),
                },
            },
        }
    }

    /// The tool again, long after it was called: for somebody who may still use it, and whom nobody has stopped since.
    pub(crate) async fn again(&self) -> Result<Reply, ErrorData> {
        let pipeline = &self.own.pipeline;
        if !pipeline.permits_tool(&self.tool, &self.client) {
            return Err(ErrorData::invalid_params("unknown tool", None));
        }
        match pipeline.kill_switch().goes_on(None) {
            Ok(()) => self.run().await,
            Err(stopped) => Ok(render::failed(&stopped)),
        }
    }

    /// The tool itself.
    async fn run(&self) -> Result<Reply, ErrorData> {
        let (client, stop, arguments) = (self.client.clone(), self.stop.clone(), self.arguments.clone());
        let reply =
            tools::call(&self.own.pipeline, &self.tool, client, stop, arguments, self.as_task, self.follower.clone())
                .await;
        reply.ok_or_else(|| ErrorData::invalid_params("unknown tool", None))
    }

    /// The answer to a call that puts a question to the person at the client; none if that cannot be asked there.
    fn input_required(&self, id: &str) -> Option<CallToolResponse> {
        self.carried(id, self.shown(id)?)
    }

    /// The same with this question; none if there are more open ones than are kept.
    fn carried(&self, id: &str, question: ElicitRequest) -> Option<CallToolResponse> {
        let state = self.own.seals.seal(id, &self.bound(), LONGEST)?;
        let asked = [(QUESTION.to_owned(), InputRequest::Elicitation(question))].into();
        Some(InputRequiredResult::new(Some(asked), Some(state)).into())
    }

    /// The tool itself. While it runs, the person at the client is there for each of its programs that takes a yes at its `execve`, and is
    /// asked at once where a server may ask while a call waits. That question may outlive the call: the program of a job waits on, and the
    /// answer still counts. Elsewhere the task asks, which takes over who is there, or the next `job_read`.
    async fn run_attended(
        &self,
        way: Option<ElicitationMethod>,
        context: &RequestContext<RoleServer>,
    ) -> Result<(Reply, Option<Attendance>), ErrorData> {
        let Some(way) = way else { return Ok((self.run().await?, None)) };
        let mut attendance = self.own.pipeline.approvals().attended_at_client();
        if way == ElicitationMethod::Retry {
            return Ok((self.run().await?, Some(attendance)));
        }
        let ask = |id| drop(tokio::spawn(self.asker(context).ask_about_program(id)));
        let mut running = pin!(self.run());
        let reply = loop {
            tokio::select! {
                reply = &mut running => break reply?,
                Some(id) = attendance.next() => ask(id),
            }
        };
        attendance.leave().into_iter().for_each(ask);
        Ok((reply, None))
    }

    /// What puts questions to the client at the other end of this connection.
    fn asker(&self, context: &RequestContext<RoleServer>) -> Asker {
        Asker { own: Arc::clone(&self.own), stop: self.stop.clone(), context: context.clone() }
    }

    /// Has a task do what is still to come, if the client knows tasks. Else, or if the call gives a time itself, waits that long for a
    /// person to answer, at the client or elsewhere, if one is there.
    ///
    /// `put` is a request that the person at the client was shown and has not granted. `attendance` gets the requests of running programs.
    async fn wait(
        self,
        mut reply: Reply,
        way: Option<ElicitationMethod>,
        (put, attendance): (Option<String>, Option<Attendance>),
    ) -> Result<CallToolResponse, ErrorData> {
        let patience = tools::patience(&self.tool, self.arguments.as_ref());
        if self.as_task && patience.is_none() && !matches!(reply.goes_on(), GoesOn::No) {
            let own = Arc::clone(&self.own);
            return Ok(match own.tasks.begin(self, reply, way == Some(ElicitationMethod::Retry), (put, attendance)) {
                Ok(task) => CallToolResponse::Task(task),
                // There are as many as there may be.
                Err(reply) => reply.into_response(own.pipeline.anchor()),
            });
        }
        let until = tokio::time::Instant::now() + patience.unwrap_or_else(|| tools::usual_patience(&self.tool));
        while let Some(id) = reply.waits() {
            let left = until.saturating_duration_since(tokio::time::Instant::now());
            // The call waits only if a person is there who could answer. Else the agent gets its answer at once.
            let waits = !left.is_zero() && self.own.pipeline.approvals().is_attended(id);
            if !waits || !self.own.pipeline.approvals().answered_within(id, left, &self.stop).await {
                break;
            }
            reply = self.run().await?;
        }
        Ok(self.done(reply))
    }

    fn done(&self, reply: Reply) -> CallToolResponse {
        reply.into_response(self.own.pipeline.anchor())
    }

    /// What a person is shown; none if nobody can be asked here.
    pub(crate) fn shown(&self, id: &str) -> Option<ElicitRequest> {
        shown(&self.own, id)
    }

    /// The same, and the request's id as it may be shown.
    pub(crate) fn shown_as(&self, id: &str) -> Option<(Redacted, ElicitRequest)> {
        let request = self.own.pipeline.approvals().asks_at_client(id)?;
        Some((request.short.id.clone(), form::question(&request)?))
    }

    /// What an answer to this call is bound to.
    fn bound(&self) -> Bound {
        Bound::new(self.own.pipeline.user(), &self.tool, self.arguments.as_ref())
    }

    /// Gives an answer to the runner. None is given for somebody who has said nothing.
    pub(crate) async fn take(&self, id: &str, answer: ElicitationReply) -> Result<(), Failure> {
        take(&self.own, id, answer).await
    }
}

fn shown(own: &PrincipalState, id: &str) -> Option<ElicitRequest> {
    form::question(&*own.pipeline.approvals().asks_at_client(id)?)
}

async fn take(own: &PrincipalState, id: &str, answer: ElicitationReply) -> Result<(), Failure> {
    match answer {
        ElicitationReply::Yes(reason) => own.pipeline.approvals().answer_at_client(id, true, &reason).await,
        ElicitationReply::No(reason) => own.pipeline.approvals().answer_at_client(id, false, &reason).await,
        ElicitationReply::None => Ok(()),
    }
}

/// Asks at the other end of a connection, for as long as the call is not stopped.
struct Asker {
    own: Arc<PrincipalState>,
    stop: Stop,
    context: RequestContext<RoleServer>,
}

impl Asker {
    /// Puts a program that waits in its `execve` to the person at the client. An answer that does not count leaves it waiting.
    async fn ask_about_program(self, id: String) {
        let Some(question) = shown(&self.own, &id) else { return };
        if let ElicitationOutcome::Answered(answer) = self.elicit(&id, question).await
            && let Err(failure) = take(&self.own, &id, answer).await
        {
            tracing::warn!(id, "an answer at the client does not count: {}", failure.what);
        }
    }

    /// Puts one question. An answer that comes another way meanwhile counts as well.
    async fn elicit(&self, id: &str, question: ElicitRequest) -> ElicitationOutcome {
        let options = PeerRequestOptions::with_timeout(LONGEST);
        let ours = OnceLock::new();
        let asking = async {
            let question = ServerRequest::ElicitRequest(question);
            let sent = self.context.peer.send_request_with_option(question, options).await.ok()?;
            let _the_first = ours.set(sent.id.clone());
            match sent.await_response().await {
                Ok(ClientResult::ElicitResult(answer)) => serde_json::to_value(answer).ok(),
                Ok(_) | Err(_) => None,
            }
        };
        // From the first word on: to a client that is gone none can be sent.
        let elsewhere = tokio::select! {
            answer = asking => return answer.map_or(ElicitationOutcome::Nobody, |answer| ElicitationOutcome::Answered(ElicitationReply::of(&answer))),
            elsewhere = self.own.pipeline.approvals().answered_within(id, LONGEST, &self.stop) => elsewhere,
        };
        // Whoever has hung up is told nothing, and a server that stops does not wait for it: nobody would take it.
        if let Some(ours) = ours.into_inner().filter(|_| elsewhere || self.context.ct.is_cancelled()) {
            let why = "nobody waits for this answer any more".to_owned();
            let told = CancelledNotificationParam::new(Some(ours), Some(why));
            let telling = tokio::time::timeout(TELLING, self.context.peer.notify_cancelled(told)).await;
            if !matches!(telling, Ok(Ok(()))) {
                tracing::debug!("a client was not told that its answer is no longer waited for");
            }
        }
        if elsewhere { ElicitationOutcome::Elsewhere } else { ElicitationOutcome::Nobody }
    }
}

/// What came of asking.
enum ElicitationOutcome {
    /// The client gave this.
    Answered(ElicitationReply),
    /// It was answered by `palisade approvals`.
    Elsewhere,
    /// Nobody answered.
    Nobody,
}

impl ElicitationMethod {
    /// How the client of a call says that it can be asked; `None` if it does not say so.
    pub(crate) fn of(context: &RequestContext<RoleServer>) -> Option<Self> {
        let elicits = context.client_capabilities()?.elicitation?;
        // An empty capability is that of the first version, which knew of forms alone.
        if elicits.form.is_none() && elicits.url.is_some() {
            return None;
        }
        let version = context.protocol_version()?;
        let retries = version.as_str() >= ProtocolVersion::V_2026_07_28.as_str();
        Some(if retries { Self::Retry } else { Self::Request })
    }
}

/// A value in one spelling, whatever the order in which its keys came.
pub(crate) fn canonical(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut sorted: Vec<_> = fields.iter().map(|(name, value)| (name.clone(), canonical(value))).collect();
            sorted.sort_by(|one, other| one.0.cmp(&other.0));
            Value::Object(sorted.into_iter().collect())
        }
        Value::Array(values) => Value::Array(values.iter().map(canonical).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}
