//! No plain text gets into an error for the agent.
//! error: E0277, E0308

use palisade_runner::Failure;

fn fail(output: String) -> Failure {
    Failure { what: output.clone(), help: output.into(), session_lost: false }
}

fn main() {}
