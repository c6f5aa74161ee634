//! What a shell is told and tells, wherever it is: the lines that go to it, the reports that come back, and what is known of a command in it.
//!
//! ```text
//! Terms ─▶ frame.rs (bash), posix.rs (sh) ─ lines ─▶ a shell ─ reports ─▶ report_check.rs ─▶ RunEnd
//!                                                     └─ output ─▶ progress.rs
//! ```
//!
//! Nothing here starts a shell or writes to one (`transport/`, `remote/`), and nothing decides what may run in it.

pub(crate) mod deadline;
mod end;
mod error;
pub mod frame;
pub(crate) mod hooks;
mod language;
pub mod pace;
pub(crate) mod posix;
pub mod progress;
pub mod report_check;
mod state;
mod terms;

use std::fmt;

pub use self::deadline::Due;
pub use self::end::{End, RunEnd, ShellLoss};
pub use self::error::SessionError;
pub use self::language::Language;
pub use self::progress::Follower;
pub(crate) use self::state::MAX_STATE;
pub use self::state::State;
pub use self::terms::{Chunk, Order, Stop, StreamName, TerminalSize, Terms, Typed};

/// Names a session. Random, so that it cannot be guessed, but a name all the same: whoever uses it has to be the
/// principal that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(String);

impl SessionId {
    /// A new name.
    ///
    /// # Errors
    /// If the kernel gives no random bytes.
    pub fn new() -> Result<Self, SessionError> {
        Ok(Self(format!("s-{}", Nonce::new()?.0)))
    }

    /// The name that a decision was made for.
    pub(crate) fn of(facts: &palisade_engine::Session) -> Self {
        Self(facts.id.clone())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// 128 random bits that were not there before they were needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nonce(pub(crate) String);

impl Nonce {
    /// A fresh one.
    ///
    /// # Errors
    /// If the kernel gives no random bytes.
    pub fn new() -> Result<Self, SessionError> {
        let mut bytes = [0_u8; 16];
        let filled = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).unwrap_or_default();
        if filled < bytes.len() {
            return Err(SessionError::NoRandomness);
        }
        Ok(Self(format!("{:032x}", u128::from_be_bytes(bytes))))
    }

    /// 32 hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
