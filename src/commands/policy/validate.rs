//! `policy validate`: parse and strictly validate.

use palisade_engine::BundleError;

use crate::args::{Context, PolicyValidate};
use crate::config::{Authored, ConfigError};
use crate::exit::Exit;
use crate::report::{self, Trouble};

pub(crate) fn run(args: &PolicyValidate) -> Result<Exit, Trouble> {
    let authored = Authored::of(&args.set)?;
    let (bundle, findings) = match authored.bundle() {
        Ok(bundle) => (Some(bundle), Vec::new()),
        Err(ConfigError::Bundle(BundleError::Invalid(findings))) => (None, findings.0),
        Err(other) => return Err(other.into()),
    };
    // Groups and cases are part of the set: a set whose cases cannot be read is not tested.
    if bundle.is_some() {
        for cases in authored.cases()? {
            authored.engine(cases.home())?;
        }
    }
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

/// What a server records that decides by this set under these settings.
fn fingerprint(authored: &Authored) -> Result<String, ConfigError> {
    Ok(authored.engine_for(&Context::default())?.policy_set().to_owned())
}
