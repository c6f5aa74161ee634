//! An embedding program has no way to start a program but a session's calls: neither the sandbox nor the pipeline is handed out.
//! error: E0432, E0433

use palisade::Grant;
use palisade::Pipeline;

fn start() {
    let _ = palisade::sandbox::spawn("rm -rf /");
}

fn main() {}
