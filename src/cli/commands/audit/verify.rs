//! `audit verify`: whether a record is as it was written.

use std::path::Path;

use palisade_audit::{Anchor, Broken, ChainFiles, Expected, Fault, LiveFile, Proof, PublicKey, Report};
use serde::Serialize;

use crate::cli::args::AuditVerify;
use crate::cli::commands;
use crate::cli::exit::Exit;
use crate::cli::report::{self, CliError};
use crate::config;

/// What became of one file.
#[derive(Debug, Default, Serialize)]
struct Verified {
    file: String,
    good: bool,
    /// Its only trace is the note that it was pruned.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pruned: bool,
    /// How many files the chain has, if there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    files: Option<usize>,
    /// Its first record, if that is not the chain's first.
    #[serde(skip_serializing_if = "Option::is_none")]
    begins: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    records: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    head: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    complete: Option<bool>,
    /// The last record that is signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    signed: Option<u64>,
    /// Who signed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<PublicKey>,
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

pub(crate) fn run(args: &AuditVerify) -> Result<Exit, CliError> {
    let expected = expected(args)?;
    if let Some(proof) = &args.proof {
        return verify_proof(proof, &expected.keys, args.json);
    }
    let path = match &args.path {
        Some(path) => path.clone(),
        None => config::audit_directory(args.config.as_deref())?,
    };
    if !path.metadata().map_err(|error| super::unreadable(&path, &error))?.is_dir() {
        let verified = verify_file(&path, &expected)?;
        tell(&verified, args.json)?;
        return Ok(if verified.good { Exit::Fine } else { Exit::Findings });
    }
    if !expected.anchors.is_empty() {
        return Err(CliError::new("`--anchor` belongs to one file, and this is a directory", "name the record file"));
    }
    verify_all(&path, &expected.keys, args.json)
}

/// All chains of a directory, one outcome each.
fn verify_all(directory: &Path, keys: &[PublicKey], as_json: bool) -> Result<Exit, CliError> {
    let (mut exit, mut none, mut trouble) = (Exit::Fine, true, None);
    let done = palisade_audit::verify_directory(directory, keys, |chain, found| {
        let verified = Verified::of(chain, found);
        none = false;
        if !verified.good {
            exit = Exit::Findings;
        }
        match tell(&verified, as_json) {
            Ok(heard) => heard,
            Err(error) => {
                trouble = Some(error);
                false
            }
        }
    });
    done.map_err(|error| CliError::new(format!("cannot read `{}`: {error}", directory.display()), ""))?;
    match trouble {
        Some(trouble) => Err(trouble),
        None if none => Err(CliError::new(
            format!("there is no record in `{}`", directory.display()),
            "a record is a file that ends in `.jsonl`",
        )),
        None => Ok(exit),
    }
}

/// `false`: nobody listens any more.
fn tell(verified: &Verified, as_json: bool) -> Result<bool, CliError> {
    let text = if as_json { commands::json(verified)? } else { verified.line() };
    Ok(report::print(&text))
}

/// What the flags say is known from elsewhere.
fn expected(args: &AuditVerify) -> Result<Expected, CliError> {
    let anchor = args.anchor.as_deref().map(str::parse::<Anchor>).transpose().map_err(|error| {
        CliError::new(format!("`--anchor`: {error}"), "an anchor is `seq:hash`, as results carry it")
    })?;
    let keys: Result<Vec<PublicKey>, _> = args.keys.iter().map(|key| key.parse()).collect();
    let keys = keys.map_err(|error| CliError::new(format!("`--key`: {error}"), "`palisade audit key` prints it"))?;
    Ok(Expected { anchors: anchor.into_iter().collect(), keys })
}

/// One exported record. Nothing but the file and the key is looked at.
fn verify_proof(path: &Path, keys: &[PublicKey], as_json: bool) -> Result<Exit, CliError> {
    let name = path.display().to_string();
    let text = std::fs::read(path).map_err(|error| CliError::new(format!("cannot read `{name}`: {error}"), ""))?;
    let checked = match serde_json::from_slice::<Proof>(&text) {
        Ok(proof) => proof.check(keys).map_err(|error| error.to_string()),
        Err(_) => Err("the file is not an export of `audit prove`".to_owned()),
    };
    let (exit, text) = match checked {
        Ok(proven) if as_json => {
            (Exit::Fine, commands::json(&serde_json::json!({ "file": name, "good": true, "proven": proven }))?)
        }
        Ok(proven) => {
            let palisade_audit::Proven { chain, seq, at, key } = proven;
            (Exit::Fine, format!("good    {name}: record {seq} of chain {chain}, written {at:.3}, signed by {key}\n"))
        }
        Err(error) if as_json => {
            (Exit::Findings, commands::json(&serde_json::json!({ "file": name, "good": false, "error": error }))?)
        }
        Err(error) => (Exit::Findings, format!("broken  {name}: {error}\n")),
    };
    report::print(&text);
    Ok(exit)
}

fn verify_file(path: &Path, expected: &Expected) -> Result<Verified, CliError> {
    let file = LiveFile::open(path)
        .map_err(|error| CliError::new(format!("cannot read `{}`: {error}", path.display()), ""))?;
    let found = palisade_audit::verify(file, expected.clone());
    Ok(match found {
        Ok(report) => Verified::good(path, &report),
        Err(broken) => Verified::broken(path, &broken),
    })
}

impl Verified {
    /// What was found of a chain, under the name of its first file or of the one that does not hold.
    fn of(chain: &ChainFiles, found: Result<Option<Report>, Fault>) -> Self {
        let files = chain.files().count();
        match found {
            Ok(Some(report)) => {
                Self { files: Some(files).filter(|files| *files > 1), ..Self::good(chain.place(), &report) }
            }
            Ok(None) => Self { pruned: true, good: true, file: chain.place().display().to_string(), ..Self::default() },
            Err(Fault { file, broken }) => Self::broken(&file, &broken),
        }
    }

    fn good(path: &Path, report: &Report) -> Self {
        Self {
            file: path.display().to_string(),
            good: true,
            begins: Some(report.begins).filter(|begins| *begins > 1),
            records: Some(report.records),
            head: Some(report.head.to_string()),
            complete: Some(report.complete),
            signed: Some(report.signed),
            key: report.key,
            ..Self::default()
        }
    }

    fn broken(path: &Path, broken: &Broken) -> Self {
        Self {
            file: path.display().to_string(),
            record: Some(broken.record),
            error: Some(broken.to_string()),
            ..Self::default()
        }
    }

    fn line(&self) -> String {
        match &self.error {
            None if self.pruned => format!("pruned  {}: all of the chain, by a signed note\n", self.file),
            None => {
                let begins = self
                    .begins
                    .map(|begins| format!(" from record {begins} on (what was before is pruned or in other files)"));
                let files = self.files.map(|files| format!(" in {files} files"));
                let signed = self.key.map(|key| format!(", signed up to {} by {key}", self.signed.unwrap_or_default()));
                format!(
                    "good    {}: {} records{}{}, head {}{}{}\n",
                    self.file,
                    self.records.unwrap_or_default(),
                    files.unwrap_or_default(),
                    begins.unwrap_or_default(),
                    self.head.as_deref().unwrap_or_default(),
                    signed.unwrap_or_default(),
                    if self.complete == Some(true) { "" } else { "; its writer has not ended, or was killed" }
                )
            }
            Some(error) => format!("broken  {}: {error}\n", self.file),
        }
    }
}
