//! `audit key`: what others need to tell this machine's record from another's.

use crate::args::AuditKey;
use crate::config;
use crate::exit::Exit;
use crate::report::{self, CliError};

pub(crate) fn run(args: &AuditKey) -> Result<Exit, CliError> {
    let directory = config::audit_directory(args.config.as_deref())?;
    let key = palisade_audit::public_key(&directory).map_err(|error| CliError::of(&error))?;
    report::print(&format!("{key}\n"));
    Ok(Exit::Fine)
}
