//! Your own policies, and what they say before anything runs: `cargo run --example policy -- WORKSPACE`.
//!
//! `examples/site/` extends the profile `developer`. Policies lie outside of the workspace, where the agent cannot change them.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use palisade::{Error, Palisade};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let workspace = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    let site = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/site");
    let palisade = Palisade::builder().workspace(workspace).policies(site).build()?;
    for script in ["ls -l", "git push origin main", "mkdir release"] {
        let verdict = palisade.explain(script).await?;
        println!("{}: {script}", verdict.decision.as_str());
        for reason in verdict.reasons {
            println!("  {}: {} {}", reason.policy, reason.reason, reason.suggest);
        }
    }
    let session = palisade.open_session().await?;
    let outcome = session.exec("git push origin main").await?;
    println!("{:?} by {:?}", outcome.status, outcome.policies().collect::<Vec<_>>());
    session.close().await?;
    palisade.shut_down().await
}
