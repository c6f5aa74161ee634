//! Who says yes to what policy asks: `cargo run --example approve -- WORKSPACE [yes]`.
//!
//! A real program shows the question to a person. The answer counts for just this script, once.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use palisade::{Answer, Error, Palisade};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let workspace = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    let answer = if std::env::args().nth(2).as_deref() == Some("yes") { Answer::Yes } else { Answer::No };
    let builder = || {
        let site = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/site");
        Palisade::builder().workspace(&workspace).policies(site)
    };

    // Without a callback there is no yes, and nothing runs.
    let palisade = builder().build()?;
    let session = palisade.open_session().await?;
    println!("without a callback: {:?}", session.exec("mkdir release").await?.status);
    palisade.shut_down().await?;

    let asking = builder().ask(move |question| {
        println!("asked: {}", question.command);
        answer
    });
    let palisade = asking.build()?;
    let session = palisade.open_session().await?;
    println!("with {answer:?}: {:?}", session.exec("mkdir release").await?.status);
    session.close().await?;
    palisade.shut_down().await
}
