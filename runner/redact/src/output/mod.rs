//! From raw bytes to what a result shows: escape sequences are taken out, the redactor has its say, and only then is
//! the rest cut to size. A cut secret would still be half a secret, so [`Capture`] accepts nothing unredacted.

mod ansi;
mod capture;
mod cursor;
mod excerpt;
mod grep;
mod lines;
mod live;
mod sieve;
#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]
mod tests;
mod view;

pub use ansi::Stripper;
pub use capture::Capture;
pub use cursor::{Cursor, CursorError, Position};
pub use excerpt::{Search, Shown};
pub use grep::{Grep, GrepError};
pub use live::{Bound, Live, Rest};
pub use view::{Keep, KeepError, View};
