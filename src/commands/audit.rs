//! `audit`: the record, from outside.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use palisade_runner::audit::{self, Anchor};
use serde::Serialize;

use crate::args::{Audit, AuditAction, AuditVerify};
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
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

pub(crate) fn run(args: &Audit) -> Result<Exit, Trouble> {
    match &args.action {
        AuditAction::Verify(args) => verify(args),
    }
}

fn verify(args: &AuditVerify) -> Result<Exit, Trouble> {
    let path = match &args.path {
        Some(path) => path.clone(),
        None => config::audit_directory(args.config.as_deref())?,
    };
    let anchor = args.anchor.as_deref().map(str::parse::<Anchor>).transpose();
    let anchor = anchor.map_err(|error| {
        Trouble::new(format!("`--anchor`: {error}"), "an anchor is `seq:hash`, as results carry it")
    })?;
    if anchor.is_some() && path.is_dir() {
        return Err(Trouble::new("`--anchor` belongs to one file, and this is a directory", "name the record file"));
    }
    let mut exit = Exit::Fine;
    for file in files(&path)? {
        let verified = verify_file(&file, anchor)?;
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

fn verify_file(path: &Path, anchor: Option<Anchor>) -> Result<Verified, Trouble> {
    let file =
        File::open(path).map_err(|error| Trouble::new(format!("cannot read `{}`: {error}", path.display()), ""))?;
    let name = path.display().to_string();
    Ok(match audit::verify(BufReader::with_capacity(1 << 20, file), anchor) {
        Ok(report) => Verified {
            file: name,
            good: true,
            records: Some(report.records),
            head: Some(report.head.to_string()),
            complete: Some(report.complete),
            record: None,
            error: None,
        },
        Err(broken) => Verified {
            file: name,
            good: false,
            records: None,
            head: None,
            complete: None,
            record: Some(broken.record),
            error: Some(broken.to_string()),
        },
    })
}

impl Verified {
    fn line(&self) -> String {
        match &self.error {
            None => format!(
                "good    {}: {} records, head {}{}\n",
                self.file,
                self.records.unwrap_or_default(),
                self.head.as_deref().unwrap_or_default(),
                if self.complete == Some(true) { "" } else { "; its writer has not ended, or was killed" }
            ),
            Some(error) => format!("broken  {}: {error}\n", self.file),
        }
    }
}
