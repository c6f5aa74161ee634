//! What a program printed cannot pass for a literal of ours.
//! error: E0597

use palisade_runner::Redacted;

fn claim(output: String) -> Redacted {
    Redacted::from_static(&output)
}

fn main() {}
