//! What a shell was at one moment, as text that makes another shell the same. Decides nothing.

use std::sync::Arc;

use super::Language;

/// Bytes that a shell's state may have; a shell with more keeps none.
pub(crate) const MAX_STATE: usize = 4 << 20;

/// What a shell was at one moment: its variables, functions, options, aliases, traps and arguments, as text that makes
/// another shell the same. It may hold secrets, and leaves this process only for a shell of the same session.
#[derive(Clone)]
pub struct State(Arc<[u8]>, Language);

impl State {
    /// What a bash has told of itself.
    pub(crate) fn of(told: Vec<u8>) -> Self {
        Self(told.into(), Language::Bash)
    }

    /// What was read of what a `sh` has told of itself.
    pub(crate) fn of_sh(script: Vec<u8>) -> Self {
        Self(script.into(), Language::Sh)
    }

    /// The shell that can read it.
    pub(crate) fn language(&self) -> Language {
        self.1
    }

    /// The text.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The SHA-256 of it: two with the same one make the same shell.
    pub(crate) fn digest(&self) -> palisade_audit::Digest {
        palisade_audit::Digest::of(&self.0)
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "State({} bytes)", self.0.len())
    }
}
