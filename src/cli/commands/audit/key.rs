//! `audit key`: what others need to tell this machine's record from another's.

use crate::cli::args::AuditKey;
use crate::cli::exit::Exit;
use crate::cli::report::{self, CliError};
use crate::config;

pub(crate) fn run(args: &AuditKey) -> Result<Exit, CliError> {
    let directory = config::audit_directory(args.config.as_deref())?;
    let key = palisade_audit::public_key(&directory).map_err(|error| CliError::of(&error))?;
    report::print(&format!("{key}\n"));
    Ok(Exit::Fine)
}
