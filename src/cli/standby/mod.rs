//! A process that stays ready between the calls of `palisade sh` and `palisade hook`, with policies read and sessions open.
//!
//! ```text
//! palisade sh ─ address.rs: which one? ─▶ client.rs ─ wire.rs: request, descriptors ─▶ server.rs ─▶ foreground/call.rs
//!                                          └ none there: starts one                     └ sessions.rs
//! ```
//!
//! There is one for each set of circumstances: program, flags, settings files, place, environment, and the client that the agent runs in.
//! Nothing of a request decides anything but what a caller could decide by starting `palisade sh --alone` itself. Programs within a session
//! reach no socket out here.

mod address;
pub(crate) mod client;
pub(crate) mod server;
mod sessions;
pub(crate) mod wire;
