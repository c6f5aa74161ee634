//! The three promises that hold by type: what would break them does not compile, and for that reason.
//!
//! Each file of `tests/compile_fail/` names the codes of the errors that it must make. Codes, not messages: these change
//! from one release of the compiler to the next. They are compiled against the very libraries that the tests run with.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::world::{cargo, features, repository};

#[test]
fn what_would_break_a_promise_does_not_compile() {
    let cases = cases();
    assert!(cases.len() >= 13, "{cases:?}");
    let (libraries, directory) = (libraries(), tempfile::tempdir().expect("a directory"));
    for (case, expected) in &cases {
        let found = errors(case, &libraries, directory.path());
        assert_eq!(&found, expected, "{}", case.display());
    }
}

/// Expected error codes of each case.
fn cases() -> BTreeMap<PathBuf, BTreeSet<String>> {
    let directory = repository().join("tests/compile_fail");
    let mut cases = BTreeMap::new();
    for entry in fs::read_dir(directory).expect("the cases").flatten() {
        let text = fs::read_to_string(entry.path()).expect("readable");
        let codes = text.lines().find_map(|line| line.strip_prefix("//! error: ")).expect("an `//! error:` line");
        cases.insert(entry.path(), codes.split(", ").filter(|code| *code != "none").map(str::to_owned).collect());
    }
    cases
}

/// The libraries as they were built for the tests of the whole workspace.
fn libraries() -> BTreeMap<String, PathBuf> {
    let mut cargo = cargo();
    cargo
        .args(["test", "--workspace", "--test=main", "--no-run", "--locked", "--offline", "--message-format=json"])
        .args(features());
    let output = cargo.output().expect("cargo runs");
    let mut libraries = BTreeMap::new();
    for artifact in lines(&output.stdout).filter(|line| line["profile"]["test"] == false) {
        let name = artifact["target"]["name"].as_str().unwrap_or_default();
        let files = artifact["filenames"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let library = files.map(PathBuf::from).find(|file| file.extension().is_some_and(|kind| kind == "rlib"));
        if let Some(library) = library.filter(|_| name == "palisade" || name.starts_with("palisade_")) {
            libraries.insert(name.to_owned(), library);
        }
    }
    assert!(libraries.len() >= 3, "{}", String::from_utf8_lossy(&output.stderr));
    libraries
}

/// The codes of the errors that a case makes; the message of one that has no code.
fn errors(case: &Path, libraries: &BTreeMap<String, PathBuf>, directory: &Path) -> BTreeSet<String> {
    let mut rustc = Command::new("rustc");
    rustc.args(["--edition=2024", "--crate-type=bin", "--emit=metadata", "--error-format=json"]);
    for (name, library) in libraries {
        let dependencies = library.parent().expect("a directory");
        rustc.arg("--extern").arg(format!("{name}={}", library.display()));
        rustc.arg("-L").arg(format!("dependency={}", dependencies.join("deps").display()));
        rustc.arg("-L").arg(format!("dependency={}", dependencies.display()));
    }
    let Output { stderr, .. } = rustc.arg(case).current_dir(directory).output().expect("rustc runs");
    let errors = lines(&stderr).filter(|line| line["level"] == "error");
    let codes = errors.map(|line| line["code"]["code"].as_str().or(line["message"].as_str()).map(str::to_owned));
    // The last message only counts the others.
    codes.flatten().filter(|code| !code.starts_with("aborting due to")).collect()
}

fn lines(output: &[u8]) -> impl Iterator<Item = Value> {
    String::from_utf8_lossy(output)
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect::<Vec<_>>()
        .into_iter()
}
