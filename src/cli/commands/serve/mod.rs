//! `serve`: the MCP server, for one client on standard input and output, or over HTTP for those who prove to be a principal.

mod http;

use std::pin::Pin;
use std::sync::Arc;

use futures_util::future::select_all;
use palisade_audit::export::Exporters;
use palisade_runner::control;
use palisade_runner::pipeline::Door;
use palisade_runner::{Pipeline, Settings};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::args::{Context, Serve};
use crate::cli::exit::Exit;
use crate::cli::report::CliError;
use crate::cli::{commands, reload, report};
use crate::config;

pub(crate) fn run(args: &Serve) -> Result<Exit, CliError> {
    match &args.http {
        None => on_standard_streams(&args.context),
        Some(address) => http::serve(&args.context, address),
    }
}

fn on_standard_streams(context: &Context) -> Result<Exit, CliError> {
    // First of all: what is looked at is the agent's view.
    let view = config::enter_view(context)?;
    commands::begin_to_probe();
    let seen = Seen::first(context);
    let settings = vec![config::load_in(context, "serve", view)?];
    commands::warn_of_missing_secrets(context)?;
    let runtime = commands::runtime()?;
    let ended = host(&runtime, context, seen, settings, async |pipelines, stopped| {
        let Some(pipeline) = pipelines.into_iter().next() else { return Ok(()) };
        palisade_mcp::serve_stdio(pipeline, stopped).await.map_err(|error| {
            CliError::new(error.to_string(), "`serve` speaks MCP on standard input and output; an MCP client starts it")
        })
    });
    // A reader thread may still wait for standard input, which need never come.
    runtime.shutdown_background();
    ended.map(|()| Exit::Fine)
}

/// What was seen of policies and secrets before they were loaded.
pub(crate) struct Seen {
    policies: reload::SettingsReading,
    secrets: reload::Secrets,
}

impl Seen {
    pub(crate) fn first(context: &Context) -> Self {
        Self { policies: reload::look(context), secrets: reload::Secrets::first(context) }
    }
}

/// A pipeline, the socket by which people reach it, and the signal that has it look at its policies.
struct House {
    pipeline: Arc<Pipeline>,
    door: Door,
    hangup: Signal,
}

impl House {
    async fn open(settings: Settings, control: &control::Settings) -> Result<Self, CliError> {
        let hangup = listen(SignalKind::hangup())?;
        let agent = settings.surroundings.principal.agent.clone();
        let pipeline = Pipeline::open(settings)?;
        if !palisade_mcp::offers_a_tool(&pipeline) {
            let agent = report::printable(&agent);
            report::complain(&format!(
                "warning: no policy permits the agent `{agent}` any tool (`useTool`): its client finds none\n  \
                 help: begin with a profile (`extends = \"developer\"`), or add `permit (principal, action == Action::\"useTool\", resource);`\n"
            ));
        }
        match Door::open(control, &pipeline.chain()) {
            Ok(door) => Ok(Self { pipeline, door, hangup }),
            Err(error) => {
                // Nobody could stop it.
                pipeline.shut_down().await?;
                Err(CliError::of(&error))
            }
        }
    }

    /// Whatever has to be done beside serving, as long as the future lives.
    async fn keep(&mut self, context: &Context, policies: reload::SettingsReading, secrets: reload::Secrets) {
        tokio::select! {
            () = reload::watch(&self.pipeline, context, policies, secrets, &mut self.hangup) => {}
            ((), ()) = async { tokio::join!(self.pipeline.keep_house(), self.pipeline.checkpoints().read_ahead()) } => {}
            () = self.door.keep(&self.pipeline) => {}
        }
    }
}

/// Opens a pipeline for each of the settings, serves until the future that it is handed is done, and ends them all,
/// whatever became of serving.
///
/// Signals are listened for before anything is on record: whoever sees there that a server runs may send it one.
pub(crate) fn host(
    runtime: &Runtime,
    context: &Context,
    seen: Seen,
    settings: Vec<Settings>,
    serve: impl AsyncFnOnce(Vec<Arc<Pipeline>>, Pin<Box<dyn Future<Output = ()> + Send>>) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let control = config::control(context)?;
    let record = settings.first().map(|settings| settings.audit.directory.clone()).unwrap_or_default();
    let export = config::export(context)?;
    runtime.block_on(async {
        let stopped = Box::pin(stopped()?);
        let mut houses = Vec::new();
        for settings in settings {
            match House::open(settings, &control).await {
                Ok(house) => houses.push(house),
                Err(trouble) => {
                    end(houses).await?;
                    return Err(trouble);
                }
            }
        }
        // Behind the record's own beginning, which makes the directory.
        let exporters = match Exporters::start(&record, &export) {
            Ok(exporters) => exporters,
            Err(error) => {
                end(houses).await?;
                return Err(CliError::new(format!("cannot export the record: {error}"), ""));
            }
        };
        let pipelines = houses.iter().map(|house| Arc::clone(&house.pipeline)).collect();
        let kept =
            houses.iter_mut().map(|house| Box::pin(house.keep(context, seen.policies.clone(), seen.secrets.clone())));
        let served = tokio::select! {
            served = serve(pipelines, stopped) => served,
            _ = select_all(kept) => Ok(()),
        };
        let ended = end(houses).await;
        // Whether or not the end is on record.
        tokio::task::block_in_place(|| exporters.finish());
        ended?;
        served
    })
}

/// Ends all sessions of all, side by side, so that none outlives its server because another takes its time.
async fn end(houses: Vec<House>) -> Result<(), CliError> {
    let mut ends = tokio::task::JoinSet::new();
    for House { pipeline, door, .. } in houses {
        drop(door);
        ends.spawn(async move { pipeline.shut_down().await });
    }
    let mut ended = Ok(());
    while let Some(end) = ends.join_next().await {
        match end {
            Ok(Ok(())) => {}
            Ok(Err(failure)) => ended = Err(failure.into()),
            Err(error) => ended = Err(CliError::new(format!("a session could not be ended: {error}"), "")),
        }
    }
    ended
}

/// Done once the process is told to stop.
fn stopped() -> Result<impl Future<Output = ()> + Send + use<>, CliError> {
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    // SIGHUP looks at the policies again; without its client a server ends as its input does.
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

fn listen(kind: SignalKind) -> Result<Signal, CliError> {
    signal(kind).map_err(|error| CliError::new(format!("cannot listen for signals: {error}"), ""))
}
