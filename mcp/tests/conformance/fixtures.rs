//! A handler that does what `fixtures.json` says: one row for each tool, prompt and resource that the suite asks for.
//!
//! | key | meaning |
//! |---|---|
//! | `result` | the answer; `{name}` stands for an argument, `{answer}` for what the client said |
//! | `arguments` | the arguments that there are |
//! | `notify` | notifications before it |
//! | `ask` | a request to the client before it, in the protocol's older eras |
//! | `rounds` | requests to the client, one object a round, in the newer one; `sealed` with a state, `fitted` to what the client can |
//! | `needs` | what the client has to be able to |

use std::sync::{Arc, LazyLock};

use palisade_runner::Pipeline;
use ring::hmac;
#[expect(deprecated, reason = "the older revision requires it")]
use rmcp::model::SetLevelRequestParams;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, GetPromptRequestParams, GetPromptResponse, InputRequiredResult,
    InputResponses, JsonObject, ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult, ListToolsResult,
    PaginatedRequestParams, ReadResourceRequestParams, ReadResourceResponse, ServerCapabilities, ServerConfig,
    ServerNotification, ServerRequest, SubscribeRequestParams, SubscriptionFilter, UnsubscribeRequestParams,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::watch;

static FIXTURES: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("fixtures.json")).expect("the fixtures are JSON"));

static KEY: LazyLock<hmac::Key> = LazyLock::new(|| {
    hmac::Key::generate(hmac::HMAC_SHA256, &ring::rand::SystemRandom::new()).expect("the system has random numbers")
});

/// In place of the product's own.
pub(crate) struct Handler;

impl Handler {
    pub(crate) fn new(_own: Arc<PrincipalState>, _gone: watch::Receiver<bool>) -> Self {
        Self
    }
}

/// In place of what the product keeps for a principal: fixtures keep nothing, and seal their questions with [`KEY`].
pub(crate) struct PrincipalState;

impl PrincipalState {
    pub(crate) fn new(_pipeline: Arc<Pipeline>) -> Self {
        Self
    }

    #[expect(clippy::unused_async, reason = "there is nothing to wait for")]
    pub(crate) async fn end(&self) {}
}

/// What a request brings along, whatever it is for.
struct Call<'a> {
    name: &'a str,
    arguments: &'a JsonObject,
    responses: &'a InputResponses,
    state: Option<&'a str>,
    context: &'a RequestContext<RoleServer>,
}

/// What becomes of it.
enum Played {
    Result(Value),
    Required(InputRequiredResult),
}

impl Call<'_> {
    async fn play(&self, kind: &str) -> Result<Played, ErrorData> {
        let Some(row) = FIXTURES[kind].get(self.name) else {
            return Err(ErrorData::invalid_params("there is no such fixture", None));
        };
        if let Some(needs) = row.get("needs").filter(|needs| !self.can(needs)) {
            return Err(ErrorData::missing_required_client_capability(parsed(needs.clone())?));
        }
        for notification in row["notify"].as_array().into_iter().flatten() {
            self.notify(notification).await?;
        }
        let mut answer = Value::Null;
        if let Some(ask) = row.get("ask") {
            let request: ServerRequest = parsed(self.filled(ask, &answer)?)?;
            let said = self.context.peer.send_request(request).await;
            answer = value(&said.map_err(|error| ErrorData::internal_error(error.to_string(), None))?)?;
        }
        if let Some(rounds) = row["rounds"].as_array() {
            let round = self.round(row)?;
            let is_over = rounds.get(round).is_none_or(|asked| self.has_answered(asked));
            let next = if is_over { round + 1 } else { round };
            if let Some(asked) = rounds.get(next) {
                return self.required(row, asked, next).map(Played::Required);
            }
            answer = value(&self.responses)?;
        }
        let mut result = self.filled(&row["result"], &answer)?;
        result["resultType"] = "complete".into();
        Ok(Played::Result(result))
    }

    fn required(&self, row: &Value, asked: &Value, round: usize) -> Result<InputRequiredResult, ErrorData> {
        let mut asked = asked.clone();
        if let (Value::Object(requests), true) = (&mut asked, row["fitted"] == true) {
            requests.retain(|_, request| {
                let capability = request["method"].as_str().unwrap_or_default().split('/').next().unwrap_or_default();
                self.can(&json!({ capability: {} }))
            });
        }
        let mut required = json!({ "resultType": "input_required", "inputRequests": asked });
        if row["sealed"] == true {
            required["requestState"] = sealed(self.name, round).into();
        }
        parsed(required)
    }

    /// The round that the client answers, as the state says that it has brought back.
    fn round(&self, row: &Value) -> Result<usize, ErrorData> {
        let Some(state) = self.state.filter(|_| row["sealed"] == true) else { return Ok(0) };
        let round = state.split('.').next().and_then(|round| round.parse().ok());
        round
            .filter(|round| sealed(self.name, *round) == state)
            .ok_or_else(|| ErrorData::invalid_params("this is no state of this server's", None))
    }

    /// Whether each request has an answer of its kind.
    fn has_answered(&self, asked: &Value) -> bool {
        asked.as_object().into_iter().flatten().all(|(key, request)| {
            let part = match request["method"].as_str() {
                Some("elicitation/create") => "action",
                Some("sampling/createMessage") => "content",
                _ => "roots",
            };
            self.responses.get(key).is_some_and(|response| response.get(part).is_some())
        })
    }

    async fn notify(&self, notification: &Value) -> Result<(), ErrorData> {
        let meta = value(&self.context.meta)?;
        // In the newer era logs are for those who asked for them with this very request.
        let is_newer = meta.get("io.modelcontextprotocol/protocolVersion").is_some();
        let is_log = notification["method"] == "notifications/message";
        if is_log && is_newer && meta.get("io.modelcontextprotocol/logLevel").is_none() {
            return Ok(());
        }
        let mut notification = notification.clone();
        if !is_log {
            let Some(token) = meta.get("progressToken") else { return Ok(()) };
            notification["params"]["progressToken"] = token.clone();
        }
        let notification: ServerNotification = parsed(notification)?;
        let sent = self.context.peer.send_notification(notification).await;
        sent.map_err(|error| ErrorData::internal_error(error.to_string(), None))
    }

    fn can(&self, needs: &Value) -> bool {
        let has = self.context.client_capabilities().unwrap_or_default();
        let has = value(&has).unwrap_or_default();
        needs.as_object().into_iter().flatten().all(|(name, _)| has.get(name).is_some())
    }

    fn filled(&self, template: &Value, answer: &Value) -> Result<Value, ErrorData> {
        Ok(match template {
            Value::String(text) => {
                let text = text.replace("{answer}", &answer.to_string());
                let fill = |text: String, (name, value): (&String, &Value)| {
                    text.replace(&format!("{{{name}}}"), value.as_str().unwrap_or_default())
                };
                Value::String(self.arguments.iter().fold(text, fill))
            }
            Value::Array(values) => values.iter().map(|value| self.filled(value, answer)).collect::<Result<_, _>>()?,
            Value::Object(fields) => {
                let fields = fields.iter().map(|(name, value)| Ok((name.clone(), self.filled(value, answer)?)));
                Value::Object(fields.collect::<Result<_, ErrorData>>()?)
            }
            plain => plain.clone(),
        })
    }
}

/// A state that nobody else can make.
fn sealed(name: &str, round: usize) -> String {
    let tag = hmac::sign(&KEY, format!("{name} {round}").as_bytes());
    let tag: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{round}.{tag}")
}

/// The rows of a kind as a list of what stands for each.
fn listed<T: DeserializeOwned>(kind: &str, row: impl Fn(&str, &Value) -> Value) -> Result<Vec<T>, ErrorData> {
    FIXTURES[kind].as_object().into_iter().flatten().map(|(name, fixture)| parsed(row(name, fixture))).collect()
}

fn parsed<T: DeserializeOwned>(value: Value) -> Result<T, ErrorData> {
    serde_json::from_value(value).map_err(|error| ErrorData::internal_error(error.to_string(), None))
}

fn value(of: &impl Serialize) -> Result<Value, ErrorData> {
    serde_json::to_value(of).map_err(|error| ErrorData::internal_error(error.to_string(), None))
}

impl ServerHandler for Handler {
    #[expect(deprecated, reason = "the older revision requires logs")]
    fn get_info(&self) -> ServerConfig {
        let can = ServerCapabilities::builder().enable_tools().enable_prompts().enable_resources().enable_completions();
        ServerConfig::new(can.enable_resources_subscribe().enable_logging().build())
    }

    async fn list_tools(
        &self,
        _page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tools = listed("tools", |name, fixture| {
            let arguments = fixture["arguments"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let properties: JsonObject = arguments.map(|name| (name.to_owned(), json!({ "type": "string" }))).collect();
            json!({ "name": name, "description": "a fixture", "inputSchema": { "type": "object", "properties": properties } })
        });
        tools.map(ListToolsResult::with_all_items)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let (arguments, responses) =
            (request.arguments.unwrap_or_default(), request.input_responses.unwrap_or_default());
        let state = request.request_state.as_deref();
        let call = Call { name: &request.name, arguments: &arguments, responses: &responses, state, context: &context };
        Ok(match call.play("tools").await? {
            Played::Result(result) => CallToolResponse::Complete(parsed(result)?),
            Played::Required(required) => CallToolResponse::InputRequired(required),
        })
    }

    async fn list_prompts(
        &self,
        _page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        let prompts = listed("prompts", |name, fixture| {
            let arguments = fixture["arguments"].as_array().into_iter().flatten();
            let arguments: Vec<Value> = arguments.map(|name| json!({ "name": name, "required": true })).collect();
            json!({ "name": name, "description": "a fixture", "arguments": arguments })
        });
        prompts.map(ListPromptsResult::with_all_items)
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        let (arguments, responses) =
            (request.arguments.unwrap_or_default(), request.input_responses.unwrap_or_default());
        let state = request.request_state.as_deref();
        let call = Call { name: &request.name, arguments: &arguments, responses: &responses, state, context: &context };
        Ok(match call.play("prompts").await? {
            Played::Result(result) => GetPromptResponse::Complete(parsed(result)?),
            Played::Required(required) => GetPromptResponse::InputRequired(required),
        })
    }

    async fn list_resources(
        &self,
        _page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let row = |uri: &str, fixture: &Value| json!({ "uri": uri, "name": uri, "mimeType": fixture["mimeType"] });
        listed("resources", row).map(ListResourcesResult::with_all_items)
    }

    async fn list_resource_templates(
        &self,
        _page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        let template = &FIXTURES["template"];
        let row = json!({ "uriTemplate": template["uri"], "name": "template", "mimeType": template["mimeType"] });
        Ok(ListResourceTemplatesResult::with_all_items(vec![parsed(row)?]))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let uri = request.uri.as_str();
        let id = uri.strip_prefix("test://template/").and_then(|rest| rest.strip_suffix("/data"));
        let contents = match (FIXTURES["resources"].get(uri), id) {
            (Some(contents), _) => contents.clone(),
            (None, Some(id)) => {
                parsed(serde_json::from_str(&FIXTURES["template"].to_string().replace("{id}", id)).unwrap_or_default())?
            }
            (None, None) => {
                return Err(ErrorData::invalid_params("there is no such resource", Some(json!({ "uri": uri }))));
            }
        };
        Ok(ReadResourceResponse::Complete(parsed(json!({ "resultType": "complete", "contents": [contents] }))?))
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(requested.clone())
    }

    async fn subscribe(
        &self,
        _request: SubscribeRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        Ok(())
    }

    async fn unsubscribe(
        &self,
        _request: UnsubscribeRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        Ok(())
    }

    #[expect(deprecated, reason = "the older revision requires it")]
    async fn set_level(
        &self,
        _request: SetLevelRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        Ok(())
    }
}
