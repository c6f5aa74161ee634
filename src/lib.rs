//! Palisade as a library.
#![forbid(unsafe_code)]

#[cfg(feature = "cli")]
mod cli;
#[cfg_attr(not(feature = "cli"), expect(dead_code, reason = "the verbs of the program use the rest of it"))]
mod config;

/// The program `palisade`, for its own `main.rs`.
#[cfg(feature = "cli")]
#[doc(hidden)]
pub fn main() -> std::process::ExitCode {
    cli::main()
}
