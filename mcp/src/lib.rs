//! MCP calls to the runner and back.
//!
//! ```text
//! client ─▶ server.rs ─▶ approval/ ─▶ tools/*.rs ─▶ palisade_runner::Pipeline
//!             │  │          └─▶ tasks/ ─┤             what a client comes back for
//!             │  ◀───────── render.rs ◀─┘             every fact as JSON and as text
//!             └─▶ resources.rs ─▶ the same            what was shown once, to be read again
//! ```
//!
//! Decides nothing about commands: what is allowed is the pipeline's affair. Who asks says `http/access.rs`, and on standard input
//! the operator. No tool takes credentials, hosts, policies or identities.
#![forbid(unsafe_code)]

mod approval;
pub mod http;
mod identity;
mod message;
mod progress;
mod render;
mod resources;
mod server;
mod stdio;
mod tasks;
mod tools;

pub use crate::server::{ServeError, offers_a_tool, serve, serve_stdio};
