//! No plain text gets into the record.
//! error: E0308

use palisade_runner::audit::Command;

fn record(script: String) -> Command {
    Command::shown(script)
}

fn main() {}
