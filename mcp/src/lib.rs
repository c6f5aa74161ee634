//! MCP calls to the runner and back.
//!
//! ```text
//! client ─▶ server.rs ─▶ tools/*.rs ─▶ palisade_runner::Pipeline
//!                            │              │
//!                            ◀── render.rs ◀┘   every fact as JSON and as text
//! ```
//!
//! Decides nothing: who asks is `identity.rs`, what is allowed is the pipeline's affair. No tool takes credentials,
//! hosts, policies or identities.
#![forbid(unsafe_code)]

mod identity;
mod render;
mod server;
mod tools;

pub use crate::server::{ServeError, serve_stdio};
