//! The crates' walls: what each may depend on, and that only the runner reaches the sandbox.

use std::process::Command;

use crate::support::world::repository;

/// What a crate depends on in the product, itself left out, by name.
fn dependencies(package: &str, depth: &str) -> Vec<String> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["tree", "--package", package, "--edges", "normal", "--prefix", "none", "--format", "{p}"]);
    cargo.args(["--depth", depth, "--locked", "--offline"]);
    let output = cargo.current_dir(repository()).output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    let names = text.lines().skip(1).filter_map(|line| line.split(' ').next());
    names.map(str::to_owned).collect()
}

#[test]
fn leaf_crates_know_no_transport_no_git_and_no_client() {
    for package in ["palisade-redact", "palisade-sandbox"] {
        let names = dependencies(package, "99");
        assert!(names.contains(&"libc".to_owned()) && names.len() > 10, "{package}: {names:?}");
        for foreign in ["russh", "bollard", "git2", "libgit2-sys", "ureq", "rmcp", "palisade-runner"] {
            assert!(!names.contains(&foreign.to_owned()), "{package} depends on {foreign}");
        }
    }
    assert!(dependencies("palisade-runner", "99").contains(&"git2".to_owned()), "the tree is read");
}

#[test]
fn only_the_runner_depends_on_the_sandbox() {
    let sandbox = "palisade-sandbox".to_owned();
    assert!(dependencies("palisade-runner", "1").contains(&sandbox));
    for package in ["palisade", "palisade-mcp", "palisade-audit", "palisade-redact"] {
        assert!(!dependencies(package, "1").contains(&sandbox), "{package} depends on the sandbox");
    }
}

#[test]
fn redaction_and_the_record_hold_no_unsafe_code() {
    for root in ["runner/redact/src/lib.rs", "runner/audit/src/lib.rs"] {
        let text = std::fs::read_to_string(repository().join(root)).expect(root);
        assert!(text.lines().any(|line| line == "#![forbid(unsafe_code)]"), "{root}");
    }
}
