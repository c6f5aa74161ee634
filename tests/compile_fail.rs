//! The three promises that hold by type: what would break them does not compile, and for that reason.
//!
//! Each file of `tests/compile_fail/` names the codes of the errors that it must make. Codes, not messages: these change
//! from one release of the compiler to the next.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::world::repository;

#[test]
fn what_would_break_a_promise_does_not_compile() {
    let cases = cases();
    assert!(cases.len() >= 9, "{cases:?}");
    let crate_directory = tempfile::tempdir().expect("a directory");
    write_crate(crate_directory.path(), &cases);
    let found = errors(crate_directory.path());
    for (name, (_, expected)) in &cases {
        let codes = found.get(name).cloned().unwrap_or_default();
        assert_eq!(&codes, expected, "{name}: {found:?}");
    }
}

/// Text and expected error codes of each case.
fn cases() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let directory = repository().join("tests/compile_fail");
    let mut cases = BTreeMap::new();
    for entry in fs::read_dir(directory).expect("the cases").flatten() {
        let text = fs::read_to_string(entry.path()).expect("readable");
        let codes = text.lines().find_map(|line| line.strip_prefix("//! error: ")).expect("an `//! error:` line");
        let codes = codes.split(", ").filter(|code| *code != "none").map(str::to_owned).collect();
        let name = entry.path().file_stem().and_then(|name| name.to_str()).expect("a name").to_owned();
        cases.insert(name, (text, codes));
    }
    cases
}

/// A crate of its own, with one binary a case and the same locked dependencies.
fn write_crate(directory: &Path, cases: &BTreeMap<String, (String, BTreeSet<String>)>) {
    let mut manifest =
        String::from("[package]\nname = \"compile-fail\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n");
    manifest.push_str("[dependencies]\n");
    for member in ["engine", "grammar", "runner"] {
        let path = repository().join(member);
        let _ = writeln!(manifest, "palisade-{member} = {{ path = {:?} }}", path.display().to_string());
    }
    fs::create_dir_all(directory.join("src/bin")).expect("a directory");
    fs::write(directory.join("Cargo.toml"), manifest).expect("written");
    fs::copy(repository().join("Cargo.lock"), directory.join("Cargo.lock")).expect("copied");
    for (name, (text, _)) in cases {
        fs::write(directory.join(format!("src/bin/{name}.rs")), text).expect("written");
    }
}

/// The codes of the errors that each binary makes.
fn errors(directory: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["check", "--bins", "--keep-going", "--offline", "--quiet", "--message-format=json"]);
    // Beside the tests' own build, so that dependencies are checked once.
    cargo.current_dir(directory).env("CARGO_TARGET_DIR", repository().join("target/compile-fail"));
    let output = cargo.output().expect("cargo runs");
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let text = String::from_utf8_lossy(&output.stdout);
    for message in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let target = message["target"]["name"].as_str().unwrap_or_default().to_owned();
        let is_error = message["message"]["level"] == "error";
        if let Some(code) = message["message"]["code"]["code"].as_str().filter(|_| is_error) {
            found.entry(target).or_default().insert(code.to_owned());
        }
    }
    assert!(!found.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    found
}
