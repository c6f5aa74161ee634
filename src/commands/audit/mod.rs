//! `audit`: the record, from outside. One file per verb.

mod key;
mod prove;
mod verify;

use crate::args::{Audit, AuditAction};
use crate::exit::Exit;
use crate::report::Trouble;

pub(crate) fn run(args: &Audit) -> Result<Exit, Trouble> {
    match &args.action {
        AuditAction::Verify(args) => verify::run(args),
        AuditAction::Key(args) => key::run(args),
        AuditAction::Prove(args) => prove::run(args),
    }
}
