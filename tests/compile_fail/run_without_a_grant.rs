//! Nothing runs without a grant.
//! error: E0308

use palisade_redact::Redactor;
use palisade_runner::session::Session;
use palisade_runner::shell::Terms;

async fn run(session: &mut Session, redactor: &Redactor, terms: Terms) {
    let _ = session.run("rm -rf /", redactor, terms).await;
}

fn main() {}
