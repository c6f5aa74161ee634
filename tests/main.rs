//! Whole-program tests: the wiring of what the crates' own tests cover piece by piece.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

mod afar;
mod afar_from_outside;
mod afar_guarded;
mod approvals;
mod check;
mod checkpoints;
mod clients;
mod commands;
mod compile_fail;
mod confined;
mod conformance;
mod crowds;
mod day;
mod developer;
mod documents;
mod drop_in;
mod elicitation;
mod embed;
mod export;
mod groups;
mod guard;
mod hook;
mod http;
mod late;
mod learned;
mod messages;
mod no_gain;
mod overlay;
mod own;
mod policy;
mod progress;
mod record;
mod reload;
mod remember;
mod remote_guard;
mod repository;
mod resources;
mod run;
mod run_output;
mod secrets;
mod serve;
mod services;
mod settings;
mod setup;
mod sh;
mod ssh_config;
mod stands;
mod stop;
mod suggest;
mod support;
mod survives;
mod tasks;
mod terminals;
mod transports;
mod trial;
mod waits;
mod walls;
mod watch;
mod ways;
mod wrong_input;
