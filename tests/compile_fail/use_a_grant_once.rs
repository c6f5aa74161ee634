//! What keeps the promises compiles: the other cases fail for their own reason.
//! error: none

use palisade_engine::Grant;
use palisade_redact::Redactor;
use palisade_runner::session::Session;
use palisade_runner::shell::Terms;
use palisade_runner::{Failure, Redacted};

async fn run(session: &mut Session, grant: Grant, redactor: &Redactor, terms: Terms, output: &str) -> Failure {
    let _ = session.run(grant, redactor, terms).await;
    Failure { what: redactor.text(output), help: Redacted::from_static("a literal of ours"), session_lost: false }
}

fn main() {}
