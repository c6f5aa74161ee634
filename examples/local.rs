//! Commands on this machine: `cargo run --example local -- WORKSPACE`.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use palisade::{Error, Palisade, Started};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let workspace = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    let palisade = Palisade::builder().workspace(workspace).agent("example").build()?;
    let session = palisade.open_session().await?;

    let outcome = session.exec("echo hello from $PWD; (exit 3)").await?;
    print!("{:?} {:?}: {}", outcome.status, outcome.exit_code, outcome.stdout);

    let outcome = session.exec("cat ~/.ssh/id_ed25519").await?;
    println!("{:?}: {}", outcome.status, outcome.decision.reason);

    let checkpoint = session.checkpoint("before").await?;
    session.exec("echo changed >> notes.txt").await?.is_success().then(|| println!("notes.txt has changed"));
    let restored = session.restore(checkpoint.checkpoint.as_str(), palisade::Restore::Own).await?;
    println!("deleted again: {}", restored.delete.count);

    match session.start("echo begun; sleep 60").await? {
        Started::Running(mut job) => {
            println!("{:?} in the background", job.output().await?.status);
            println!("{:?} when killed", job.kill().await?.status);
        }
        Started::Refused(outcome) => println!("{}", outcome.decision.reason),
    }
    session.close().await?;
    palisade.shut_down().await
}
