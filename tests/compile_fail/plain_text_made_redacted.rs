//! Only the redactor makes redacted text of data.
//! error: E0277, E0308

use palisade_runner::Redacted;
use palisade_redact::RedactedBytes;

fn claim(output: String, bytes: Vec<u8>) -> (Redacted, RedactedBytes) {
    (output.into(), bytes)
}

fn main() {}
