//! A grant is used once.
//! error: E0382

use palisade_engine::Grant;
use palisade_redact::Redactor;
use palisade_runner::session::Session;
use palisade_runner::shell::Terms;

async fn run(session: &mut Session, grant: Grant, redactor: &Redactor, once: Terms, again: Terms) {
    let _ = session.run(grant, redactor, once).await;
    let _ = session.run(grant, redactor, again).await;
}

fn main() {}
