//! Only the engine makes a grant.
//! error: E0451

use palisade_engine::{Grant, Report};

fn forge(report: Report) -> Grant {
    Grant { inventory: palisade_grammar::inventory(b"rm -rf /"), report, session: String::new() }
}

fn main() {}
