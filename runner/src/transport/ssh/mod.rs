//! Sessions at hosts over SSH: the operator's configuration, and the connections that it leads to.
//!
//! Without the feature `ssh` configuration is read as ever, and no connection is made (`transport/absent.rs`).

#[cfg(feature = "ssh")]
mod auth;
#[cfg(feature = "ssh")]
mod client;
pub mod config;
#[cfg(feature = "ssh")]
mod connection;
#[cfg(feature = "ssh")]
pub mod host_key;
mod patterns;

#[cfg(feature = "ssh")]
pub(crate) use self::client::Met;
#[cfg(feature = "ssh")]
pub(crate) use self::connection::Connection;
#[cfg(not(feature = "ssh"))]
pub(crate) use super::absent::ssh::{Connection, Met};
