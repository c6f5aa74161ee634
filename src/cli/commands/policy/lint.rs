//! `policy lint`: what is valid and yet wrong.

use std::fmt::Write as _;

use palisade_engine::{Coverage, Engine, Lint, RULES, Severity, Surroundings, lint};
use serde_json::json;

use crate::cli::args::{LintFormat, PolicyLint};
use crate::cli::commands;
use crate::cli::exit::Exit;
use crate::cli::report::{self, CliError};
use crate::config::Authored;

pub(crate) fn run(args: &PolicyLint) -> Result<Exit, CliError> {
    let found = findings(&Authored::of(&args.set)?)?;
    let text = match args.format {
        LintFormat::Human => human(&found),
        LintFormat::Json => commands::json(&found.iter().map(machine).collect::<Vec<_>>())?,
        LintFormat::Sarif => commands::json(&sarif(&found))?,
    };
    report::print(&text);
    let wrong = found.iter().any(|lint| lint.rule.severity > Severity::Note);
    Ok(if wrong { Exit::Findings } else { Exit::Fine })
}

/// Everything that is found in a set, its cases counted.
pub(crate) fn findings(authored: &Authored) -> Result<Vec<Lint>, CliError> {
    let files = authored.all_cases()?;
    let mut coverage: Option<Coverage> = None;
    let mut roles = authored.roles();
    let mut last: Option<Engine> = None;
    for file in &files {
        let engine = authored.engine(file.home())?;
        let coverage = coverage.get_or_insert_with(|| Coverage::of(&engine));
        for case in file.cases() {
            coverage.add(&engine, case);
            roles.extend(case.roles().map(str::to_owned));
        }
        last = Some(engine);
    }
    let engine = match last {
        Some(engine) => engine,
        None => authored.engine(&palisade_engine::AbsolutePath::root())?,
    };
    let surroundings = Surroundings { roles: Some(roles), coverage: coverage.as_ref() };
    lint(&engine, &surroundings).map_err(|error| CliError::new(format!("cannot look at the policies: {error}"), ""))
}

fn human(found: &[Lint]) -> String {
    let mut text = String::new();
    for lint in found {
        let Lint { rule, policy, place, message } = lint;
        let about = if policy.is_empty() { String::new() } else { format!("{policy}: ") };
        let _ = writeln!(text, "{}: {place}: {about}{message} [{}]", rule.severity.as_str(), rule.id);
    }
    let count = |severity| found.iter().filter(|lint| lint.rule.severity == severity).count();
    let _ = writeln!(
        text,
        "{}, {}, {}",
        report::counted(count(Severity::Error), "error"),
        report::counted(count(Severity::Warning), "warning"),
        report::counted(count(Severity::Note), "note")
    );
    text
}

fn machine(lint: &Lint) -> serde_json::Value {
    let (file, line) = place(lint);
    json!({ "rule": lint.rule.id, "severity": lint.rule.severity.as_str(), "policy": lint.policy,
            "file": file, "line": line, "message": lint.message })
}

fn sarif(found: &[Lint]) -> serde_json::Value {
    let rules: Vec<_> = RULES
        .iter()
        .map(|rule| {
            json!({ "id": rule.id, "shortDescription": { "text": rule.about },
                    "defaultConfiguration": { "level": rule.severity.as_str() } })
        })
        .collect();
    let results: Vec<_> = found
        .iter()
        .map(|lint| {
            let (file, line) = place(lint);
            let about = if lint.policy.is_empty() { String::new() } else { format!("{}: ", lint.policy) };
            let named: Vec<&str> = [lint.policy.as_str()].into_iter().filter(|policy| !policy.is_empty()).collect();
            json!({
                "ruleId": lint.rule.id, "level": lint.rule.severity.as_str(),
                "message": { "text": format!("{about}{}", lint.message) },
                "locations": [{ "physicalLocation": {
                    "artifactLocation": { "uri": uri(file) }, "region": { "startLine": line } } }],
                "logicalLocations": named.iter().map(|policy| json!({ "name": policy })).collect::<Vec<_>>(),
            })
        })
        .collect();
    let driver = json!({ "name": "palisade policy lint", "version": env!("CARGO_PKG_VERSION"), "rules": rules });
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0",
        "runs": [{ "tool": { "driver": driver }, "results": results }],
    })
}

fn place(lint: &Lint) -> (&str, usize) {
    let (file, line) = lint.place.rsplit_once(':').unwrap_or((&lint.place, "1"));
    (file, line.parse().unwrap_or(1))
}

/// A path as a relative or absolute URI reference.
fn uri(path: &str) -> String {
    let mut text = String::new();
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    if text.starts_with('/') { format!("file://{text}") } else { text }
}
