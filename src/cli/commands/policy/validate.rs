//! `policy validate`: parse and strictly validate.

use palisade_engine::{BundleError, Finding};

use crate::cli::args::{Context, PolicyValidate};
use crate::cli::exit::Exit;
use crate::cli::report::{self, CliError};
use crate::config::{Authored, ConfigError};

pub(crate) fn run(args: &PolicyValidate) -> Result<Exit, CliError> {
    let authored = Authored::of(&args.set)?;
    let (bundle, findings) = match authored.bundle() {
        Ok(bundle) => (Some(bundle), Vec::new()),
        Err(ConfigError::Bundle(BundleError::Invalid(findings))) => (None, findings.0),
        Err(other) => return Err(other.into()),
    };
    // Groups and cases are part of the set: a set whose cases cannot be read is not tested.
    let mut findings = findings;
    if bundle.is_some() {
        for cases in authored.cases()? {
            authored.engine(cases.home())?;
        }
        findings = unknown_names(&authored)?;
    }
    let bundle = bundle.filter(|_| findings.is_empty());
    let exit = if bundle.is_some() { Exit::Fine } else { Exit::Findings };
    let text = if args.json {
        let found: Vec<_> = findings
            .iter()
            .map(|found| {
                let (file, line, column) = (&found.file, found.line, found.column);
                serde_json::json!({ "file": file, "line": line, "column": column, "message": found.message })
            })
            .collect();
        let valid = bundle.as_ref().map(|_| fingerprint(&authored)).transpose()?;
        let policies = bundle.as_ref().map(|bundle| bundle.ids().count());
        super::super::json(&serde_json::json!({ "policySet": valid, "policies": policies, "findings": found }))?
    } else if let Some(bundle) = bundle {
        format!("{} policies are valid, the guards among them\n{}\n", bundle.ids().count(), fingerprint(&authored)?)
    } else {
        findings
            .iter()
            .map(|found| format!("{}:{}:{}: {}\n", found.file, found.line, found.column, found.message))
            .collect()
    };
    report::print(&text);
    Ok(exit)
}

/// Groups and programs that nothing has: Cedar knows neither, and a policy about one never holds.
fn unknown_names(authored: &Authored) -> Result<Vec<Finding>, CliError> {
    let found = super::lint::findings(authored)?.into_iter();
    let unknown = found.filter(|lint| ["unknown-group", "unknown-program"].contains(&lint.rule.id));
    let findings = unknown.map(|lint| {
        let (file, line) = lint.place.rsplit_once(':').unwrap_or((&lint.place, ""));
        let message = format!("for policy `{}`, {}", lint.policy, lint.message);
        Finding { file: file.to_owned(), line: line.parse().unwrap_or(1), column: 1, message }
    });
    Ok(findings.collect())
}

/// What a server records that decides by this set under these settings.
fn fingerprint(authored: &Authored) -> Result<String, ConfigError> {
    Ok(authored.engine_for(&Context::default())?.policy_set().to_owned())
}
