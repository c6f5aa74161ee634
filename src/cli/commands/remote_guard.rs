//! `remote-guard`: what a server starts at a target, for `remote_guard` in that target's settings. It reads no settings of its own.

use palisade_runner::checkpoint;
use palisade_runner::remote::guard;

use crate::cli::args::{RemoteGuard, RemoteGuardInput, RemoteGuardPart};
use crate::cli::exit::Exit;
use crate::cli::report::CliError;

pub(crate) fn run(args: &RemoteGuard) -> Result<Exit, CliError> {
    let done = match &args.part {
        RemoteGuardPart::Serve { nonce } => guard::serve(nonce),
        RemoteGuardPart::Keep { nonce } => checkpoint::keep(nonce),
        RemoteGuardPart::Attach { directory, input } => guard::attach(directory, *input == RemoteGuardInput::Told),
    };
    done.map(|()| Exit::Fine).map_err(|error| {
        CliError::new(format!("the remote guard cannot go on: {error}"), "it is started by a server, at its targets")
    })
}
