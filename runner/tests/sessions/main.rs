//! Sessions and jobs with a real bash, under the real sandbox.
//!
//! A policy that permits everything decides behind the guards, and a person says yes to the rest.

#![expect(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot be set up fails")]

mod budgets;
mod checkpoints;
mod ends;
mod full;
mod groups;
mod jobs;
mod limits;
mod masks;
mod place;
mod principals;
mod refused;
mod reload;
mod state;
mod tally;
mod tty;
