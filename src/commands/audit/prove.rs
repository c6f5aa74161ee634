//! `audit prove`: one record with what shows that it is on record, for somebody who has nothing but the public key.

use std::fs::File;
use std::io::BufReader;

use palisade_runner::audit::{self, ProveError};

use crate::args::AuditProve;
use crate::commands;
use crate::exit::Exit;
use crate::report::{self, Trouble};

pub(crate) fn run(args: &AuditProve) -> Result<Exit, Trouble> {
    let name = args.path.display();
    let file = File::open(&args.path).map_err(|error| Trouble::new(format!("cannot read `{name}`: {error}"), ""))?;
    let proof = audit::prove(BufReader::with_capacity(1 << 20, file), args.seq).map_err(|error| {
        let help = match &error {
            ProveError::Broken(_) => "`palisade audit verify` says more",
            ProveError::NoRecord { .. } => "",
            ProveError::Unsigned { .. } => {
                "a head is signed each minute, each thousand records, and when the server ends"
            }
        };
        Trouble::new(format!("`{name}`: {error}"), help)
    })?;
    report::print(&commands::json(&proof)?);
    Ok(Exit::Fine)
}
