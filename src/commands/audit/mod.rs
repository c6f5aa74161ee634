//! `audit`: the record, from outside. One file per verb.

mod export;
mod key;
mod prove;
mod replay;
mod show;
mod verify;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use palisade_runner::audit;
use palisade_runner::control::{may_read_record, user_name};
pub(crate) use show::{filter, plain};

use crate::args::{Audit, AuditAction, Context};
use crate::config::{self, Authored};
use crate::exit::Exit;
use crate::report::Trouble;

pub(crate) fn run(args: &Audit) -> Result<Exit, Trouble> {
    match &args.action {
        AuditAction::Verify(args) => verify::run(args),
        AuditAction::Show(args) => show::run(args),
        AuditAction::Replay(args) => replay::run(args),
        AuditAction::Export(args) => export::run(args),
        AuditAction::Key(args) => key::run(args),
        AuditAction::Prove(args) => prove::run(args),
    }
}

/// Asks policy whether the user who runs this may read the record there; if not, that has been told.
pub(crate) fn may_read(path: &Path, config: Option<&Path>) -> Result<bool, Trouble> {
    let about = path.metadata();
    let about = about.map_err(|error| Trouble::new(format!("cannot read `{}`: {error}", path.display()), ""))?;
    let flags = Context { config: config.map(Path::to_owned), ..Context::default() };
    let engine = Authored::running(&flags)?.engine_for(&flags)?;
    let (user, owner) = (config::os_user(), user_name(about.uid()));
    let authority = may_read_record(&engine, &config::people(&flags)?, &config::zone(&flags)?, &user, &owner);
    if !authority.allowed {
        let policies = authority.policies.join(", ");
        let policies = if policies.is_empty() { String::new() } else { format!(" ({policies})") };
        let what = format!("policy does not let `{user}` observe the record of `{owner}`: {}{policies}", authority.why);
        Trouble::new(what, "roles are given to people in the settings, under `people`").print();
    }
    Ok(authority.allowed)
}

/// The files of each chain, oldest first, or the one file.
pub(crate) fn files(path: &Path) -> Result<Vec<Vec<PathBuf>>, Trouble> {
    let unreadable = |error: std::io::Error| Trouble::new(format!("cannot read `{}`: {error}", path.display()), "");
    if !path.metadata().map_err(unreadable)?.is_dir() {
        return Ok(vec![vec![path.to_owned()]]);
    }
    let chains = audit::chains(path).map_err(unreadable)?;
    Ok(chains.iter().map(|chain| chain.files().map(Path::to_owned).collect()).collect())
}
