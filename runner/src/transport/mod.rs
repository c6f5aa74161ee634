//! How bytes reach a shell: one on this machine, or the streams of a program at the other end of a connection.
//!
//! A shell on this machine stands under the sandbox and has channels that nobody else holds (`local/`). A program elsewhere has three
//! streams (`wire.rs`), and a connection of SSH (`ssh/`) or an exec in a container (`docker/`) makes those. What is said over them is not
//! decided here (`remote/`).

#[cfg(not(all(feature = "ssh", feature = "docker")))]
mod absent;
#[cfg(feature = "docker")]
pub mod docker;
#[cfg(not(feature = "docker"))]
pub(crate) use self::absent::docker;
pub(crate) mod line_ends;
pub mod local;
#[cfg(feature = "docker")]
mod server_instance;
pub mod ssh;
pub(crate) mod start_limit;
#[cfg_attr(
    not(any(feature = "ssh", feature = "docker")),
    expect(dead_code, reason = "a transport that this build lacks fills and empties the streams")
)]
pub(crate) mod wire;

/// What a terminal is to programs: one that knows colours, whose escape sequences are taken out again.
pub(crate) const TERMINAL_KIND: &str = "xterm-256color";
