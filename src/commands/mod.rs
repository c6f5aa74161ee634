//! One file per verb.

use serde::Serialize;

use crate::report::Trouble;

pub(crate) mod audit;
pub(crate) mod check;
pub(crate) mod doctor;
pub(crate) mod inventory;
pub(crate) mod redact;
pub(crate) mod run;
pub(crate) mod serve;

/// One line of JSON.
fn json(value: &impl Serialize) -> Result<String, Trouble> {
    let text = serde_json::to_string(value).map_err(|error| Trouble::new(format!("cannot write JSON: {error}"), ""))?;
    Ok(format!("{text}\n"))
}

/// The runtime that the asynchronous verbs run on.
fn runtime() -> Result<tokio::runtime::Runtime, Trouble> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Trouble::new(format!("cannot start: {error}"), ""))
}
