//! The guard of sessions at a target: this very program at the other end, outside of the sandbox that it puts around a session's shells.
//!
//! ```text
//!  server                          target, as the login's user
//!  ┌────────────┐  control         ┌───────────────────────────────┐
//!  │ control.rs ├─────────────────▶│ agent.rs   plan, sandbox,     │
//!  │            │◀─────────────────┤            guard, policies    │
//!  │            │                  └──▲─────────────────────┬──────┘
//!  │ transport/ │  a shell's streams  │ socket: descriptors │ clone, Landlock, seccomp
//!  │  remote/   ├─────────────────▶ attach.rs            bash, and all that it starts
//!  └────────────┘
//! ```
//!
//! `program_upload.rs` brings the program there and believes nothing of what lies there but its digest. `agent.rs` is told once, over a connection
//! of its own, what to hold: the policies, the principal, the places (`message.rs`); `conversation.rs` has what is believed of its answers. It makes the kernel's rules from the files that it sees,
//! and decides each `execve` with those policies. A shell's streams are those of a second program of the connection's, `attach.rs`, which
//! hands their descriptors over; so nothing that is said about the session passes through anything that a command could write to.
//!
//! When the control connection ends, `agent.rs` ends, and the kernel or the session's first process ends all shells with it, as it is with
//! a server on its own machine.

mod agent;
mod attach;
mod control;
pub mod conversation;
mod guard_directory;
mod guarded_shell;
pub mod message;
mod program_upload;

pub use self::agent::serve;
pub use self::attach::attach;
pub(crate) use self::control::{Outpost, Shell, Terms, greeted};
pub(crate) use self::message::{Frames, Init, MAX_ANSWER, MAX_ORDER, Numbered, encode};

/// The verb of the program that is the far end, and what it is to be there.
pub(crate) const VERB: &str = "remote-guard";
pub(crate) const SERVE: &str = "serve";
pub(crate) const ATTACH: &str = "attach";
pub(crate) const KEEP: &str = "keep";

/// Whose the input of a shell is that streams are handed over for: ours, who tell it what to run, or its command's.
pub(crate) const TOLD: &str = "told";
pub(crate) const READ: &str = "read";

/// The name of the socket in its directory.
const SOCKET: &str = "socket";

/// The directory, below the target's `state`, that holds the program and the sockets.
const DIRECTORY: &str = "guard";

/// Digits of the word by which a program proves that the server has started it to hand its streams over.
const TOKEN: usize = 32;
