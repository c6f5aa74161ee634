//! A grant cannot be copied.
//! error: E0308

use palisade_engine::Grant;

fn copy(grant: &Grant) -> Grant {
    grant.clone()
}

fn main() {}
