//! A session at a host over SSH: `cargo run --example ssh -- SETTINGS TARGET`.
//!
//! Targets are the operator's: the settings file names them, with `[targets.NAME]`. docs/transports.md explains the keys.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use palisade::{Error, Palisade};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let (Some(settings), Some(target)) = (arguments.next(), arguments.next()) else {
        println!("usage: ssh SETTINGS TARGET");
        return Ok(());
    };
    // The program that holds the session there, unless the settings say `remote_guard = false`.
    let palisade = Palisade::from_settings(settings).target(target).guard_program("/usr/local/bin/palisade").build()?;
    let session = palisade.open_session().await?;
    let outcome = session.exec("uname -s; pwd").await?;
    print!("{:?} in {}:\n{}", outcome.status, session.opened_in(), outcome.stdout);
    let outcome = session.exec("$x --help").await?;
    println!("{:?} by {:?}", outcome.status, outcome.policies().collect::<Vec<_>>());
    session.close().await?;
    palisade.shut_down().await
}
