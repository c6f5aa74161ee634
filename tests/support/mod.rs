//! What whole-program tests stand on.

pub(crate) mod browser;
pub(crate) mod certificates;
pub(crate) mod people;
pub(crate) mod services;
pub(crate) mod site;
pub(crate) mod terminal;
pub(crate) mod world;

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// Waits until `look` finds what it looks for; its error is what there is instead.
pub(crate) fn until<T, E: Debug>(what: &str, mut look: impl FnMut() -> Result<T, E>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match look() {
            Ok(found) => return found,
            Err(instead) => assert!(Instant::now() < deadline, "no {what}: {instead:?}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
