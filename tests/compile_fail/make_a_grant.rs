//! Only the engine makes a grant.
//! error: E0451

use palisade_engine::{Facts, Grant, Report};

fn forge(facts: Box<Facts>, report: Report) -> Grant {
    Grant { inventory: palisade_grammar::inventory(b"rm -rf /"), facts, report, approved: false }
}

fn main() {}
