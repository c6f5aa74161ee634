//! `serve`: the MCP server on standard input and output.

use std::sync::Arc;

use palisade_runner::Pipeline;
use palisade_runner::control::Door;
use palisade_runner::export::Exporters;
use tokio::signal::unix::{SignalKind, signal};

use crate::args::Serve;
use crate::exit::Exit;
use crate::report::Trouble;
use crate::{commands, config, reload};

pub(crate) fn run(args: &Serve) -> Result<Exit, Trouble> {
    let (first, secrets) = (reload::look(&args.context), reload::Secrets::first(&args.context));
    let settings = config::load(&args.context, "serve")?;
    let control = config::control(&args.context)?;
    let (record, export) = (settings.audit.directory.clone(), config::export(&args.context)?);
    commands::warn_of_missing_secrets(&args.context)?;
    let runtime = commands::runtime()?;
    let ended = runtime.block_on(async {
        let pipeline = Pipeline::open(settings)?;
        // Behind the record's own beginning, which makes the directory.
        let exporters = Exporters::start(&record, &export);
        let exporters = exporters.map_err(|error| Trouble::new(format!("cannot export the record: {error}"), ""))?;
        let door = match Door::open(&control, &pipeline.chain()) {
            Ok(door) => door,
            Err(error) => {
                // Nobody could stop it.
                pipeline.shut_down().await?;
                return Err(Trouble::of(&error));
            }
        };
        let serve = palisade_mcp::serve_stdio(Arc::clone(&pipeline), stopped()?);
        let served = tokio::select! {
            served = serve => served,
            () = reload::watch(&pipeline, &args.context, first, secrets) => Ok(()),
            ((), ()) = async { tokio::join!(pipeline.keep_house(), pipeline.read_ahead()) } => Ok(()),
            () = door.keep(&pipeline) => Ok(()),
        };
        drop(door);
        let ended = pipeline.shut_down().await;
        // Whether or not the end is on record.
        tokio::task::block_in_place(|| exporters.finish());
        ended?;
        served.map_err(|error| {
            Trouble::new(error.to_string(), "`serve` speaks MCP on standard input and output; an MCP client starts it")
        })
    });
    // A reader thread may still wait for standard input, which need never come.
    runtime.shutdown_background();
    ended.map(|()| Exit::Fine)
}

/// Done once the process is told to stop.
fn stopped() -> Result<impl Future<Output = ()>, Trouble> {
    let listen = |kind| signal(kind).map_err(|error| Trouble::new(format!("cannot listen for signals: {error}"), ""));
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
