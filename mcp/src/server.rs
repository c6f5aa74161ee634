//! The MCP server: one handler for both eras of the protocol.

use std::borrow::Cow;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use palisade_runner::{Client, Follower, Pipeline, Stop};
use rmcp::model::{
    CacheScope, CallToolRequestParams, CallToolResponse, CancelTaskParams, CustomRequest, CustomResult, ErrorCode,
    GetTaskParams, GetTaskResult, Implementation, InitializeRequestParams, InitializeResult,
    ListResourceTemplatesResult, ListResourcesResult, ListToolsResult, PaginatedRequestParams,
    ReadResourceRequestParams, ReadResourceResponse, ServerCapabilities, ServerConfig, Tool, UpdateTaskParams,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler, ServiceExt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;

use crate::approval::seal::Seals;
use crate::approval::{Call, ElicitationMethod};
use crate::stdio::Lines;
use crate::tasks::Tasks;
use crate::{identity, progress, render, resources, tasks, tools};

/// What every client tells its model about this server.
const INSTRUCTIONS: &str = "Commands are judged by policy before they run, then run in a sandbox; output is redacted \
                            and everything is recorded. A denial names the policy and what would be allowed.";

/// What a client can ask for here: a request of one of these whose parameters are wrong is not one for an unknown method. `initialize` is
/// none of them where it comes here: the newer era does not know it.
const METHODS: [&str; 10] = [
    "ping",
    "resources/list",
    "resources/read",
    "resources/templates/list",
    "server/discover",
    "tasks/cancel",
    "tasks/get",
    "tasks/update",
    "tools/call",
    "tools/list",
];

/// Why serving ended badly.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The client did not speak MCP.
    #[error("the client could not be understood: {0}")]
    Protocol(String),
    /// The serving task failed.
    #[error("the server stopped unexpectedly: {0}")]
    Stopped(String),
}

/// Whether the pipeline's principal may use some tool, whatever its client calls itself. A client is shown no other.
#[must_use]
pub fn offers_a_tool(pipeline: &Pipeline) -> bool {
    let client = Client::self_declared(String::new());
    !tools::list(|tool| pipeline.permits_tool(tool, &client)).is_empty()
}

/// Serves one client on standard input and output until it hangs up, or until `stop` is done; then ends every session.
///
/// # Errors
/// If the client does not speak MCP, or serving fails.
pub async fn serve_stdio(pipeline: Arc<Pipeline>, stop: impl Future<Output = ()>) -> Result<(), ServeError> {
    let (reader, writer) = rmcp::transport::io::stdio_pipes();
    serve(pipeline, reader, writer, stop).await
}

/// As [`serve_stdio`], on any pair of streams.
///
/// # Errors
/// If the client does not speak MCP, or serving fails.
pub async fn serve(
    pipeline: Arc<Pipeline>,
    reader: impl AsyncRead + Send + Unpin + 'static,
    writer: impl AsyncWrite + Send + Unpin + 'static,
    stop: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let (hang_up, gone) = watch::channel(false);
    // The protocol library would wait for answers that nobody will read; what runs is ended at once instead.
    let reader = EofReader { reader, hang_up: hang_up.clone() };
    let own = Arc::new(PrincipalState::new(pipeline));
    let handler = Handler::new(Arc::clone(&own), gone.clone());
    tokio::pin!(stop);
    let running = tokio::select! {
        running = handler.serve(Lines::new(reader, writer)) => match running {
            Ok(running) => running,
            Err(rmcp::service::ServerInitializeError::ConnectionClosed(_)) => return Ok(()),
            Err(error) => return Err(ServeError::Protocol(error.to_string())),
        },
        () = &mut stop => return Ok(()),
    };
    let cancel = running.cancellation_token();
    let waiting = running.waiting();
    tokio::pin!(waiting);
    let ended = tokio::select! {
        ended = &mut waiting => Some(ended),
        () = &mut stop => {
            hang_up.send_replace(true);
            cancel.cancel();
            tokio::time::timeout(TIMEOUT, waiting).await.ok()
        }
        () = long_gone(gone) => None,
    };
    // What was left to be asked for later has nobody any more who could.
    hang_up.send_replace(true);
    own.tasks.end().await;
    match ended {
        None | Some(Ok(_)) => Ok(()),
        Some(Err(error)) => Err(ServeError::Stopped(error.to_string())),
    }
}

/// How long calls may take to notice that nobody waits for them. What is still judged then ends with the process.
const TIMEOUT: Duration = Duration::from_secs(1);

/// The client has been gone for that long.
async fn long_gone(mut gone: watch::Receiver<bool>) {
    if gone.wait_for(|gone| *gone).await.is_err() {
        return std::future::pending().await;
    }
    tokio::time::sleep(TIMEOUT).await;
}

/// What answers the messages of one principal.
pub(crate) struct Handler {
    own: Arc<PrincipalState>,
    /// True once the client is gone or the server is told to stop.
    gone: watch::Receiver<bool>,
}

impl Handler {
    /// For one principal, over one of its connections.
    pub(crate) fn new(own: Arc<PrincipalState>, gone: watch::Receiver<bool>) -> Self {
        Self { own, gone }
    }
}

/// What is one principal's own, whatever connection it comes over.
pub(crate) struct PrincipalState {
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) seals: Seals,
    pub(crate) tasks: Tasks,
}

impl PrincipalState {
    /// For the principal of this pipeline.
    pub(crate) fn new(pipeline: Arc<Pipeline>) -> Self {
        let tasks = Tasks::new(&pipeline);
        Self { pipeline, seals: Seals::new(), tasks }
    }

    /// Waits for the end of what goes on behind calls, which something else has brought about.
    pub(crate) async fn end(&self) {
        self.tasks.end().await;
    }
}

/// A reader that tells when it has come to its end.
struct EofReader<R> {
    reader: R,
    hang_up: watch::Sender<bool>,
}

impl<R: AsyncRead + Unpin> AsyncRead for EofReader<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.reader).poll_read(context, buffer);
        let ended = match &read {
            Poll::Ready(Ok(())) => buffer.filled().len() == before && buffer.remaining() > 0,
            Poll::Ready(Err(_)) => true,
            Poll::Pending => false,
        };
        if ended {
            self.hang_up.send_replace(true);
        }
        read
    }
}

impl ServerHandler for Handler {
    fn get_info(&self) -> ServerConfig {
        let server = Implementation::new("palisade", env!("CARGO_PKG_VERSION"));
        let can = ServerCapabilities::builder().enable_tools().enable_resources().enable_tasks().build();
        ServerConfig::new(can).with_server_info(server).with_instructions(INSTRUCTIONS)
    }

    async fn initialize(
        &self,
        request: InitializeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<InitializeResult, ErrorData> {
        context.peer.set_peer_info(request.clone());
        let mut answer = self.negotiate_initialize(&request)?;
        // Whoever is greeted so speaks a revision that has no extensions.
        answer.capabilities.extensions = None;
        Ok(answer)
    }

    async fn list_tools(
        &self,
        _page: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let client = identity::client(&context);
        let mut result =
            ListToolsResult::with_all_items(tools::list(|tool| self.own.pipeline.permits_tool(tool, &client)));
        // The list depends on who asks.
        result.cache_scope = Some(CacheScope::Private);
        Ok(result)
    }

    async fn list_resources(
        &self,
        _page: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        Ok(resources::list(&self.own.pipeline, &identity::client(&context)).await)
    }

    async fn list_resource_templates(
        &self,
        _page: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Ok(resources::templates(&self.own.pipeline, &identity::client(&context)))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let read = resources::read(&self.own.pipeline, &identity::client(&context), &request.uri).await?;
        Ok(ReadResourceResponse::Complete(read))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let name: Cow<'static, str> = request.name;
        let client = identity::client(&context);
        if !tools::exists(&name) || !self.own.pipeline.permits_tool(&name, &client) {
            return Err(ErrorData::invalid_params("unknown tool", None));
        }
        let pipeline = &self.own.pipeline;
        if let Err(stopped) = pipeline.kill_switch().goes_on(None) {
            return Ok(render::failed(&stopped).into_response(pipeline.anchor()));
        }
        let (switch, stopped) = watch::channel(false);
        let mut stop = Stop::default();
        stop.listen(stopped);
        stop.listen(self.gone.clone());
        // Over HTTP each call has a client of its own.
        if let Some(hang_up) = identity::hang_up(&context) {
            stop.listen(hang_up.switch());
        }
        let (own, tool, as_task) = (Arc::clone(&self.own), name.into_owned(), tasks::are_known_to(&context));
        let follower = Follower::default();
        let telling = progress::tell(&context, follower.clone());
        let call = Call { own, tool, arguments: request.arguments, client, stop, follower, as_task };
        let work = call.answer(&context, (request.request_state, request.input_responses));
        tokio::pin!(work, telling);
        // A cancelled command is ended with everything it started, and its end is recorded, before the call returns.
        tokio::select! {
            answer = &mut work => answer,
            never = &mut telling => match never {},
            () = context.ct.cancelled() => {
                switch.send_replace(true);
                work.await
            }
        }
    }

    async fn get_task(
        &self,
        request: GetTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetTaskResult, ErrorData> {
        has_tasks(&context)?;
        let asks = ElicitationMethod::of(&context) == Some(ElicitationMethod::Retry);
        self.own.tasks.look(&request.task_id, &self.own.pipeline, asks)
    }

    async fn update_task(
        &self,
        request: UpdateTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        has_tasks(&context)?;
        self.own.tasks.update(&request.task_id, &request.input_responses)
    }

    async fn cancel_task(
        &self,
        request: CancelTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        has_tasks(&context)?;
        self.own.tasks.cancel(&request.task_id)
    }

    /// What the protocol library could not read as any request that it knows.
    async fn on_custom_request(
        &self,
        request: CustomRequest,
        _context: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        if METHODS.contains(&request.method.as_str()) {
            return Err(ErrorData::invalid_params("the parameters do not fit the method", None));
        }
        Err(no_such_method())
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        tools::list(|tool| tool == name).pop()
    }
}

/// Whether a request is of a revision that knows tasks; the library has asked only whether its client does.
fn has_tasks(context: &RequestContext<RoleServer>) -> Result<(), ErrorData> {
    if tasks::is_newer(context) { Ok(()) } else { Err(no_such_method()) }
}

fn no_such_method() -> ErrorData {
    ErrorData::new(ErrorCode::METHOD_NOT_FOUND, "there is no such method", None)
}
