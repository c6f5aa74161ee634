//! Palisade runs an AI agent's commands: each is decided by Cedar policies before it runs, runs under Landlock and seccomp, is decided
//! again at every `execve`, loses its secrets on the way out, and stands in a record that shows each later change.
//!
//! This is the library. The program of the same name does the same from a command line, and serves MCP clients.
//!
//! ```no_run
//! use palisade::{Palisade, Status};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), palisade::Error> {
//!     // Profile `developer`, sandbox level `default`, a record below `$XDG_STATE_HOME`, this directory as the workspace.
//!     let palisade = Palisade::builder().agent("my-agent").build()?;
//!     let session = palisade.open_session().await?;
//!
//!     let outcome = session.exec("git status --short").await?;
//!     match outcome.status {
//!         Status::Done => println!("{:?}: {}", outcome.exit_code, outcome.stdout),
//!         Status::Denied => println!("{}; instead: {}", outcome.decision.reason, outcome.decision.suggest),
//!         other => println!("{other:?}"),
//!     }
//!     session.close().await?;
//!     palisade.shut_down().await
//! }
//! ```
//!
//! - [`Builder`] sets policies, workspace, names, limits, and who answers what policy asks ([`Builder::ask`]).
//!   [`Palisade::from_settings`] reads a `palisade.toml`, which also names targets over SSH and in containers.
//! - [`Session`] is a shell that keeps its state: [`exec`](Session::exec), [`explain`](Session::explain) (a dry run), background
//!   [jobs](Session::start), [checkpoints](Session::checkpoint).
//! - [`Outcome`] says how a script ended, or why it did not run. Its text is [`Redacted`]: it has passed the redactor, by type.
//!
//! # What holds here
//!
//! Nothing starts a program but a session's `exec` and `start`, and these only what the engine has granted. There is no way to do without
//! the record: what cannot be recorded does not run. A script that needs a yes does not run without it. Settings that are wrong in part are
//! an [`Error`], as is a kernel that cannot hold the level that they ask for.
//!
//! # Features
//!
//! | feature | what it adds |
//! |---|---|
//! | `ssh`, `docker` | sessions at hosts over SSH, in containers |
//! | `mcp` | [`Palisade::serve_stdio`] |
//! | `cli` | the program; it needs `mcp` |
//! | `blocking` (not a default) | `palisade::blocking`, for programs without a runtime |
//!
//! A feature may add a transport or a face. It never changes a verdict.
#![forbid(unsafe_code)]

#[cfg(feature = "blocking")]
pub mod blocking;
mod builder;
#[cfg(feature = "cli")]
mod cli;
#[cfg_attr(not(feature = "cli"), expect(dead_code, unused_imports, reason = "the program's verbs use the rest of it"))]
mod config;
mod error;
mod outcome;
mod question;
mod session;

pub use palisade_runner::result::{ExplainedOpaque, ExplainedRequest};
pub use palisade_runner::{
    CheckpointNote, Decision, DecisionNote, DeniedProgram, Explained, ExplainedReason, LeftOut, Paths, Redacted,
    RestoreNote,
};

pub use crate::builder::{Builder, Level};
pub use crate::error::Error;
pub use crate::outcome::{Outcome, Status};
pub use crate::question::{Answer, Question};
pub use crate::session::{Job, Palisade, Restore, Session, Started};

/// The program `palisade`, for its own `main.rs`.
#[cfg(feature = "cli")]
#[doc(hidden)]
pub fn main() -> std::process::ExitCode {
    cli::main()
}
