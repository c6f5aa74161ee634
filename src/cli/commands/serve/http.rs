//! `serve --http`: what the settings say becomes principals, each with a pipeline of its own.

use std::path::Path;

use palisade_mcp::http::config::Candidate;
use palisade_mcp::http::{Principal, Server};
use palisade_runner::Settings;
use palisade_runner::sandbox::plan::Level;

use super::{Seen, host};
use crate::cli::args::Context;
use crate::cli::commands;
use crate::cli::exit::Exit;
use crate::cli::report::{self, CliError};
use crate::config;
use crate::config::Served;

pub(super) fn serve(context: &Context, address: &str) -> Result<Exit, CliError> {
    commands::begin_to_probe();
    let seen = Seen::first(context);
    let (terms, served) = config::serve(context, address)?;
    let settings = served.iter().map(|served| config::load_served(context, served));
    let settings = settings.collect::<Result<Vec<_>, _>>()?;
    let candidates: Vec<_> = served.iter().zip(&settings).map(candidate).collect();
    terms.check(&candidates).map_err(|error| CliError::of(&error))?;
    commands::warn_of_missing_secrets(context)?;
    let proofs: Vec<_> = served.iter().map(|served| served.proof.clone()).collect();
    let runtime = commands::runtime()?;
    let server = runtime.block_on(Server::open(terms, &proofs)).map_err(|error| CliError::of(&error))?;
    let ended = host(&runtime, context, seen, settings, async |pipelines, stopped| {
        let principal =
            |(served, pipeline): (Served, _)| Principal { name: served.agent, proof: served.proof, pipeline };
        let principals = served.into_iter().zip(pipelines).map(principal).collect();
        report::complain(&format!("palisade serves {}\n", server.place()));
        server.serve(principals, stopped).await;
        Ok(())
    });
    runtime.shutdown_background();
    ended.map(|()| Exit::Fine)
}

fn candidate<'a>((served, settings): (&'a Served, &'a Settings)) -> Candidate<'a> {
    Candidate {
        name: &served.agent,
        proof: &served.proof,
        workspace: Path::new(settings.surroundings.workspace.as_str()),
        strict: settings.level == Level::Strict,
    }
}
