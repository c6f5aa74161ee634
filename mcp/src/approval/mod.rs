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

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use palisade_runner::{Client, Failure, Pipeline, Stop};
use rmcp::model::{
    CallToolResponse, CancelledNotificationParam, ClientResult, ElicitRequest, InputRequest, InputRequiredResult,
    InputResponses, JsonObject, ProtocolVersion, ServerRequest,
};
use rmcp::service::{PeerRequestOptions, RequestContext};
use rmcp::{ErrorData, RoleServer};
use serde_json::Value;

use self::form::Answer;
use self::seal::{Bound, Seals};
use crate::render::{self, Reply};
use crate::tools;

/// The longest that a person at a client is waited for: they are to answer what they see, not what they saw before lunch.
const LONGEST: Duration = Duration::from_secs(300);

/// How long it may take to tell a client that it need not answer any more.
const TELLING: Duration = Duration::from_millis(200);

/// What the one question of a call is called, in both directions.
const QUESTION: &str = "approval";

/// A call of a tool.
pub(crate) struct Call<'a> {
    pub(crate) pipeline: &'a Arc<Pipeline>,
    pub(crate) seals: &'a Seals,
    pub(crate) tool: &'a str,
    pub(crate) arguments: Option<JsonObject>,
    pub(crate) client: Client,
    pub(crate) stop: Stop,
}

/// How a client can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// By a request of ours, before the call is answered.
    Request,
    /// By the answer to the call, which is then made again.
    Retry,
}

impl Call<'_> {
    /// The call and, where a person has to say yes to it, what comes of that. `given` is what the client says to an earlier answer of ours.
    pub(crate) async fn answer(
        mut self,
        context: &RequestContext<RoleServer>,
        given: (Option<String>, Option<InputResponses>),
    ) -> Result<CallToolResponse, ErrorData> {
        let (state, answers) = given;
        let mut may_ask = true;
        if let Some(state) = state {
            let id = self.seals.open(&state, &self.bound()).map_err(|broken| {
                tracing::warn!(tool = self.tool, "an answer to a request for approval does not count: {broken}");
                ErrorData::invalid_params(format!("the request state does not count: {broken}"), None)
            })?;
            match answers.as_ref().and_then(|answers| answers.get(QUESTION)) {
                // Nobody has been asked: the state was used up by this, so there is another one.
                None => {}
                Some(answer) => {
                    may_ask = false;
                    if let Err(failure) = self.take(&id, Answer::of(answer)).await {
                        return Ok(self.done(render::failed(&failure)));
                    }
                }
            }
        }
        let reply = self.run().await?;
        let Some(id) = reply.waits().map(str::to_owned) else { return Ok(self.done(reply)) };
        let Some(shown) = Way::of(context).filter(|_| may_ask).and_then(|way| Some((way, self.shown(&id)?))) else {
            return self.wait(reply).await;
        };
        match shown {
            (Way::Retry, question) => match self.seals.seal(&id, &self.bound(), LONGEST) {
                Some(state) => {
                    let asked = [(QUESTION.to_owned(), InputRequest::Elicitation(question))].into();
                    Ok(InputRequiredResult::new(Some(asked), Some(state)).into())
                }
                None => self.wait(reply).await,
            },
            (Way::Request, question) => match self.elicit(&id, question, context).await {
                Asked::Nobody | Asked::Answered(Answer::None) => self.wait(reply).await,
                Asked::Elsewhere => {
                    let reply = self.run().await?;
                    self.wait(reply).await
                }
                Asked::Answered(answer) => match self.take(&id, answer).await {
                    Ok(()) => {
                        let reply = self.run().await?;
                        Ok(self.done(reply))
                    }
                    Err(failure) => Ok(self.done(render::failed(&failure))),
                },
            },
        }
    }

    /// The tool itself.
    async fn run(&mut self) -> Result<Reply, ErrorData> {
        let (client, stop, arguments) = (self.client.clone(), self.stop.clone(), self.arguments.clone());
        let reply = tools::call(self.pipeline, self.tool, client, stop, arguments).await;
        reply.ok_or_else(|| ErrorData::invalid_params("unknown tool", None))
    }

    /// Who gives a time waits so long for a person, wherever that person answers.
    async fn wait(mut self, mut reply: Reply) -> Result<CallToolResponse, ErrorData> {
        let until = tokio::time::Instant::now() + tools::patience(self.tool, self.arguments.as_ref());
        while let Some(id) = reply.waits() {
            let left = until.saturating_duration_since(tokio::time::Instant::now());
            if left.is_zero() || !self.pipeline.answered_within(id, left, &self.stop).await {
                break;
            }
            reply = self.run().await?;
        }
        Ok(self.done(reply))
    }

    fn done(&self, reply: Reply) -> CallToolResponse {
        reply.into_response(self.pipeline.anchor())
    }

    /// What a person is shown; none if nobody can be asked here.
    fn shown(&self, id: &str) -> Option<ElicitRequest> {
        form::question(&*self.pipeline.asks_at_client(id)?)
    }

    /// What an answer to this call is bound to.
    fn bound(&self) -> Bound {
        Bound::new(self.pipeline.user(), self.tool, self.arguments.as_ref())
    }

    /// Gives an answer to the runner. None is given for somebody who has said nothing.
    async fn take(&self, id: &str, answer: Answer) -> Result<(), Failure> {
        match answer {
            Answer::Yes(reason) => self.pipeline.answer_at_client(id, true, &reason).await,
            Answer::No(reason) => self.pipeline.answer_at_client(id, false, &reason).await,
            Answer::None => Ok(()),
        }
    }

    /// Asks at the other end of this connection. Whoever answers elsewhere meanwhile is as good.
    async fn elicit(&self, id: &str, question: ElicitRequest, context: &RequestContext<RoleServer>) -> Asked {
        let options = PeerRequestOptions::with_timeout(LONGEST);
        let ours = OnceLock::new();
        let asking = async {
            let question = ServerRequest::ElicitRequest(question);
            let sent = context.peer.send_request_with_option(question, options).await.ok()?;
            let _the_first = ours.set(sent.id.clone());
            match sent.await_response().await {
                Ok(ClientResult::ElicitResult(answer)) => serde_json::to_value(answer).ok(),
                Ok(_) | Err(_) => None,
            }
        };
        // From the first word on: to a client that is gone none can be sent.
        let elsewhere = tokio::select! {
            answer = asking => return answer.map_or(Asked::Nobody, |answer| Asked::Answered(Answer::of(&answer))),
            elsewhere = self.pipeline.answered_within(id, LONGEST, &self.stop) => elsewhere,
        };
        // Whoever has hung up is told nothing, and a server that stops does not wait for it: nobody would take it.
        if let Some(ours) = ours.into_inner().filter(|_| elsewhere || context.ct.is_cancelled()) {
            let why = "nobody waits for this answer any more".to_owned();
            let told = CancelledNotificationParam::new(Some(ours), Some(why));
            let telling = tokio::time::timeout(TELLING, context.peer.notify_cancelled(told)).await;
            if !matches!(telling, Ok(Ok(()))) {
                tracing::debug!("a client was not told that its answer is no longer waited for");
            }
        }
        if elsewhere { Asked::Elsewhere } else { Asked::Nobody }
    }
}

/// What came of asking.
enum Asked {
    /// The client gave this.
    Answered(Answer),
    /// It was answered by `palisade approvals`.
    Elsewhere,
    /// Nobody answered.
    Nobody,
}

impl Way {
    /// How the client of a call says that it can be asked; `None` if it does not say so.
    fn of(context: &RequestContext<RoleServer>) -> Option<Self> {
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
