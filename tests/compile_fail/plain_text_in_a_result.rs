//! No plain text gets into a result.
//! error: E0308

use palisade_runner::ExecResult;

fn overwrite(result: &mut ExecResult) {
    result.stdout = String::from("ghp_0123456789");
}

fn main() {}
