//! No plain text gets into the record.
//! error: E0308

use palisade_audit::Command;

fn record(script: String) -> Command {
    Command::shown(script)
}

fn main() {}
