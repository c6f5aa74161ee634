//! `audit prove`: one record with what shows that it is on record, for somebody who has nothing but the public key.

use palisade_audit::ProveError;

use crate::cli::args::AuditProve;
use crate::cli::commands;
use crate::cli::exit::Exit;
use crate::cli::report::{self, CliError};

pub(crate) fn run(args: &AuditProve) -> Result<Exit, CliError> {
    let name = args.path.display();
    if !super::may_read(&args.path, args.config.as_deref())? {
        return Ok(Exit::Denied);
    }
    let chain = palisade_audit::chain_of(&args.path)
        .map_err(|error| CliError::new(format!("cannot read `{name}`: {error}"), "name a record file"))?;
    let proof = chain.prove(args.seq).map_err(|error| {
        let help = match &error {
            ProveError::Broken(_) | ProveError::Fault(_) => "`palisade audit verify` says more",
            ProveError::NoRecord { .. } => "",
            ProveError::Unsigned { .. } => {
                "a head is signed each minute, each thousand records, and when the server ends"
            }
        };
        CliError::new(format!("`{name}`: {error}"), help)
    })?;
    report::print(&commands::json(&proof)?);
    Ok(Exit::Fine)
}
