//! The limits of one submitted script: beyond any of them nothing is said about it.
//!
//! Limits of a single construct stand where that is read.

use std::time::Duration;

/// Bytes that a script may have; every real command seen is far below.
pub(crate) const MAX_BYTES: usize = 64 * 1024;

/// Nesting of brackets, substitutions, wrappers and code in code that is read. bash itself needs half a minute for 500
/// nested substitutions; nobody writes 64.
pub(crate) const MAX_DEPTH: u32 = 64;

/// How long one submitted script may be read, code in code included.
pub(crate) const PARSE_DEADLINE: Duration = Duration::from_millis(250);
