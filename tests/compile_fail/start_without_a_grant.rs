//! A front end has no way to start a program in the sandbox: that takes a grant.
//! error: E0432

use palisade_runner::sandbox::{Launch, prepare, spawn};

fn main() {}
