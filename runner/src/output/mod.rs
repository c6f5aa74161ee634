//! From raw bytes to what a result shows: escape sequences are taken out, the redactor has its say, and only then is
//! the rest cut to size. A cut secret would still be half a secret, so [`Capture`] accepts nothing unredacted.

mod ansi;
mod capture;

pub use ansi::Stripper;
pub use capture::{Capture, Shown};
