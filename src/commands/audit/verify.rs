//! `audit verify`: whether a record is as it was written.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use palisade_runner::audit::{self, Anchor, Expected, Proof, PublicKey};
use serde::Serialize;

use crate::args::AuditVerify;
use crate::exit::Exit;
use crate::report::{self, Trouble};
use crate::{commands, config};

/// What became of one file.
#[derive(Debug, Serialize)]
struct Verified {
    file: String,
    good: bool,
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

pub(crate) fn run(args: &AuditVerify) -> Result<Exit, Trouble> {
    let expected = expected(args)?;
    if let Some(proof) = &args.proof {
        return verify_proof(proof, &expected.keys, args.json);
    }
    let path = match &args.path {
        Some(path) => path.clone(),
        None => config::audit_directory(args.config.as_deref())?,
    };
    if expected.anchor.is_some() && path.is_dir() {
        return Err(Trouble::new("`--anchor` belongs to one file, and this is a directory", "name the record file"));
    }
    let mut exit = Exit::Fine;
    for file in files(&path)? {
        let verified = verify_file(&file, &expected)?;
        if !verified.good {
            exit = Exit::Findings;
        }
        let text = if args.json { commands::json(&verified)? } else { verified.line() };
        if !report::print(&text) {
            break;
        }
    }
    Ok(exit)
}

/// What the flags say is known from elsewhere.
fn expected(args: &AuditVerify) -> Result<Expected, Trouble> {
    let anchor = args.anchor.as_deref().map(str::parse::<Anchor>).transpose().map_err(|error| {
        Trouble::new(format!("`--anchor`: {error}"), "an anchor is `seq:hash`, as results carry it")
    })?;
    let keys: Result<Vec<PublicKey>, _> = args.keys.iter().map(|key| key.parse()).collect();
    let keys = keys.map_err(|error| Trouble::new(format!("`--key`: {error}"), "`palisade audit key` prints it"))?;
    Ok(Expected { anchor, keys })
}

/// One exported record. Nothing but the file and the key is looked at.
fn verify_proof(path: &Path, keys: &[PublicKey], as_json: bool) -> Result<Exit, Trouble> {
    let name = path.display().to_string();
    let text = std::fs::read(path).map_err(|error| Trouble::new(format!("cannot read `{name}`: {error}"), ""))?;
    let checked = match serde_json::from_slice::<Proof>(&text) {
        Ok(proof) => proof.check(keys).map_err(|error| error.to_string()),
        Err(_) => Err("the file is not an export of `audit prove`".to_owned()),
    };
    let (exit, text) = match checked {
        Ok(proven) if as_json => {
            (Exit::Fine, commands::json(&serde_json::json!({ "file": name, "good": true, "proven": proven }))?)
        }
        Ok(proven) => {
            let audit::Proven { chain, seq, at, key } = proven;
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

fn files(path: &Path) -> Result<Vec<PathBuf>, Trouble> {
    let unreadable = |error: std::io::Error| Trouble::new(format!("cannot read `{}`: {error}", path.display()), "");
    if !path.metadata().map_err(unreadable)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in path.read_dir().map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "jsonl") {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(Trouble::new(
            format!("there is no record in `{}`", path.display()),
            "a record is a file that ends in `.jsonl`",
        ));
    }
    Ok(files)
}

fn verify_file(path: &Path, expected: &Expected) -> Result<Verified, Trouble> {
    let file =
        File::open(path).map_err(|error| Trouble::new(format!("cannot read `{}`: {error}", path.display()), ""))?;
    let name = path.display().to_string();
    Ok(match audit::verify(BufReader::with_capacity(1 << 20, file), expected.clone()) {
        Ok(report) => Verified {
            file: name,
            good: true,
            records: Some(report.records),
            head: Some(report.head.to_string()),
            complete: Some(report.complete),
            signed: Some(report.signed),
            key: report.key,
            record: None,
            error: None,
        },
        Err(broken) => Verified {
            file: name,
            good: false,
            records: None,
            head: None,
            complete: None,
            signed: None,
            key: None,
            record: Some(broken.record),
            error: Some(broken.to_string()),
        },
    })
}

impl Verified {
    fn line(&self) -> String {
        match &self.error {
            None => {
                let signed = self.key.map(|key| format!(", signed up to {} by {key}", self.signed.unwrap_or_default()));
                format!(
                    "good    {}: {} records, head {}{}{}\n",
                    self.file,
                    self.records.unwrap_or_default(),
                    self.head.as_deref().unwrap_or_default(),
                    signed.unwrap_or_default(),
                    if self.complete == Some(true) { "" } else { "; its writer has not ended, or was killed" }
                )
            }
            Some(error) => format!("broken  {}: {error}\n", self.file),
        }
    }
}
