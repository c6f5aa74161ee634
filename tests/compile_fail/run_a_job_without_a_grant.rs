//! The runner starts no program for a front end: what runs one takes a grant, and what is below the session is the runner's own.
//! error: E0603

use palisade_runner::transport::wire::Start;

fn main() {}
