//! What front ends and settings may know of the sandbox: levels, limits, plans, and what this machine offers.
//!
//! The names are listed one by one. What starts a program (`palisade_sandbox::spawn`) is not among them, so a front end has no way to
//! start one without a `Grant`.

pub use palisade_sandbox::{
    Capabilities, Finding, MAX_ENTRIES, MAX_NAMED, Namespaces, Network, SandboxError, begin_to_probe, harden_server,
    probe,
};

/// What a session may be held to, and what it got.
pub mod plan {
    pub use palisade_sandbox::plan::{
        Cover, Hole, Level, LimitTold, Limits, Mask, Rights, RootRights, SandboxPlan, derive, explain, local,
    };
}

/// What is kept of sessions for later ones.
pub mod earlier {
    use std::path::Path;
    use std::sync::Arc;

    pub use palisade_sandbox::file_marks::Earlier;

    use crate::git::Git;

    /// The marks that are kept in this directory, which no session can write to.
    #[must_use]
    pub fn in_directory(directory: &Path) -> Earlier {
        Earlier::in_directory(directory).reading(Arc::new(Git))
    }

    /// Nothing is kept.
    #[must_use]
    pub fn none() -> Earlier {
        Earlier::default().reading(Arc::new(Git))
    }
}
