//! `audit`: the record, from outside. One file per verb.

mod key;
mod prove;
mod replay;
mod show;
mod verify;

use std::path::{Path, PathBuf};

use palisade_runner::audit;

use crate::args::{Audit, AuditAction};
use crate::exit::Exit;
use crate::report::Trouble;

pub(crate) fn run(args: &Audit) -> Result<Exit, Trouble> {
    match &args.action {
        AuditAction::Verify(args) => verify::run(args),
        AuditAction::Show(args) => show::run(args),
        AuditAction::Replay(args) => replay::run(args),
        AuditAction::Key(args) => key::run(args),
        AuditAction::Prove(args) => prove::run(args),
    }
}

/// The files of each chain, oldest first, or the one file.
fn files(path: &Path) -> Result<Vec<Vec<PathBuf>>, Trouble> {
    let unreadable = |error: std::io::Error| Trouble::new(format!("cannot read `{}`: {error}", path.display()), "");
    if !path.metadata().map_err(unreadable)?.is_dir() {
        return Ok(vec![vec![path.to_owned()]]);
    }
    let chains = audit::chains(path).map_err(unreadable)?;
    Ok(chains.iter().map(|chain| chain.files().map(Path::to_owned).collect()).collect())
}
