//! Sessions and jobs with a real bash, under the real sandbox.
//!
//! A policy that permits everything decides behind the guards, and a person says yes to the rest.

#![expect(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot be set up fails")]

mod budgets;
mod ends;
mod groups;
mod jobs;
mod masks;
mod place;
mod refused;
#[path = "../support/settings.rs"]
mod settings;
mod state;
mod tally;
mod tty;
