//! Decisions on record, made again under other policies: `audit replay` and `policy diff --replay` judge with this.
//!
//! A decision is made again on what it was made on, as far as the record tells. One of a version that did not tell is judged
//! by its text on the machine of now, and said to be. What cannot be judged again is never guessed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{BufRead as _, Read as _};
use std::path::Path;
use std::rc::Rc;

use palisade_audit::{AgeIdentity, History, MAX_LINE};
use palisade_engine::{Again, Decision};
use palisade_runner::dry_run::{self, Case};
use palisade_runner::{Explained, Settings};
use serde_json::Value;

use crate::cli::report::CliError;

/// How a decision is made again.
const ASKED_AGAIN: &str = "Each decision was made again on what it was made on: programs and where they come from, files, what \
     patterns stood for, session and clock are those of the time; groups, and paths that policies name, are those of now.";

/// How one is that the record tells the text of alone.
const BY_TEXT: &str = "were judged by their text, each as the first of a fresh session in the workspace of the settings, on the files, \
     links and programs that are here now, at this hour; what earlier commands of its session had set, started or left \
     behind is not on record.";

/// Where a decision stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RecordPosition {
    pub(crate) file: String,
    pub(crate) line: u64,
}

impl fmt::Display for RecordPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// What a policy set says to a decision of the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReplayVerdict {
    pub(crate) decision: Decision,
    pub(crate) policies: Vec<String>,
    /// It is about the text on the machine of now.
    pub(crate) by_text: bool,
}

/// What was judged on what.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ReplayNote {
    pub(crate) by_text: u64,
}

impl ReplayNote {
    pub(crate) fn count(&mut self, answer: &ReplayVerdict) {
        self.by_text += u64::from(answer.by_text);
    }
}

impl fmt::Display for ReplayNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(ASKED_AGAIN)?;
        match self.by_text {
            0 => Ok(()),
            by_text => write!(f, "\n{by_text} of them do not tell that and {BY_TEXT}"),
        }
    }
}

/// A chain on its way through a replay.
#[derive(Default)]
pub(crate) struct Chain {
    history: History,
    /// What opens sealed copies.
    identity: Option<Rc<AgeIdentity>>,
    asked: BTreeMap<String, (String, String)>,
    granted: BTreeSet<(String, String)>,
}

/// Hands out each decision of a file, or of all chains of a directory, in order, and each line that is no record as `None`.
///
/// # Errors
/// If a file cannot be read, no line of it is a record, there is none, or `identity` names none that holds a key.
pub(crate) fn decisions(
    path: &Path,
    identity: Option<&Path>,
    found: &mut dyn FnMut(RecordPosition, Option<&Value>, &mut Chain),
) -> Result<(), CliError> {
    let identity = identity.map(AgeIdentity::read).transpose();
    let identity =
        identity.map_err(|error| CliError::new(error.to_string(), "`age-keygen` makes such a file"))?.map(Rc::new);
    let mut records = 0_u64;
    for files in super::audit::files(path)? {
        // A yes, and what groups were, is in the same chain.
        let mut chain = Chain { identity: identity.clone(), ..Chain::default() };
        for file in files {
            records += each(&file, &mut chain, found)?;
        }
    }
    if records == 0 { Err(super::audit::no_record(path)) } else { Ok(()) }
}

/// Returns how many lines are records.
fn each(
    path: &Path,
    chain: &mut Chain,
    found: &mut dyn FnMut(RecordPosition, Option<&Value>, &mut Chain),
) -> Result<u64, CliError> {
    let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let unreadable = |error: std::io::Error| CliError::new(format!("cannot read `{}`: {error}", path.display()), "");
    let mut reader = palisade_audit::LiveFile::open(path).map_err(unreadable)?;
    let (mut text, mut records) = (Vec::new(), 0);
    for line in 1_u64.. {
        text.clear();
        if reader.by_ref().take(MAX_LINE as u64 + 1).read_until(b'\n', &mut text).map_err(unreadable)? == 0 {
            break;
        }
        let place = RecordPosition { file: file.clone(), line };
        match super::audit::record(&text) {
            Some(record) => {
                records += 1;
                chain.note(&record);
                if palisade_audit::kind(&record) == "decision" {
                    found(place, Some(&record), chain);
                }
            }
            None => found(place, None, chain),
        }
    }
    Ok(records)
}

impl Chain {
    /// Takes notice of a record.
    fn note(&mut self, record: &Value) {
        self.history.note(record);
        match palisade_audit::kind(record) {
            "decision" => drop(self.asked.insert(text(record, "req"), (text(record, "session"), text(record, "cmd")))),
            // Whoever says where a yes came from also says which decision rests on it.
            "approval" if record.get("granted") == Some(&Value::Bool(true)) && record.get("from").is_none() => {
                self.granted.extend(self.asked.get(&text(record, "of")).cloned());
            }
            _ => {}
        }
    }

    /// Whether this is the decision behind a yes, going by its text. A yes is for one.
    pub(crate) fn take_yes(&mut self, record: &Value) -> bool {
        record.get("under").is_some() || self.granted.remove(&(text(record, "session"), text(record, "cmd")))
    }

    /// What the policies of these settings decide on a decision of this chain.
    ///
    /// # Errors
    /// Why it cannot be judged again.
    pub(crate) fn judge(&self, settings: &Settings, record: &Value, approved: bool) -> Result<ReplayVerdict, String> {
        let sealed = self.identity.as_ref().and_then(|identity| identity.open(record)).transpose()?;
        let Some(asked) = sealed.and_then(|copy| copy.asked).map(Ok).or_else(|| palisade_audit::asked(record)) else {
            let command = command(record)?;
            let explained = by_text(settings, record, &command, approved);
            let policies = explained.policies().iter().map(ToString::to_string).collect();
            return Ok(ReplayVerdict { decision: explained.decision, policies, by_text: true });
        };
        let again = settings.engine.now().ask_again(&asked?, self.history.groups(record));
        match again.decision {
            Some(decision) => {
                Ok(ReplayVerdict { decision, policies: again.policies().into_iter().collect(), by_text: false })
            }
            None => Err(missing(&again)),
        }
    }
}

/// What of a decision cannot be asked again.
fn missing(again: &Again) -> String {
    let all: Vec<String> =
        again.left_out.iter().map(|left_out| format!("`{}`: {}", left_out.about, left_out.why)).collect();
    all.join("; ")
}

/// The command, for people.
pub(crate) fn shown(record: &Value) -> String {
    record.get("cmd").and_then(Value::as_str).unwrap_or("(its text is not on record)").to_owned()
}

/// The command's text, unless something in it was redacted or left out.
fn command(record: &Value) -> Result<String, &'static str> {
    let text = record.get("cmd").and_then(Value::as_str).ok_or("only a hash of the command is on record")?;
    if text.contains("[redacted:") { Err("a secret in it was redacted") } else { Ok(text.to_owned()) }
}

fn by_text(settings: &Settings, record: &Value, command: &str, approved: bool) -> Explained {
    let mut case = Case::of(settings);
    case.approved = approved;
    let text = |pointer: &str| record.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    if let Some(cwd) = text("/cwd") {
        // A directory that the record does not tell leaves the settings' own.
        let _ = case.set_cwd(&cwd);
    }
    case.agent = text("/who/agent").unwrap_or(case.agent);
    case.user = text("/who/user").unwrap_or(case.user);
    if let Some(roles) = record.pointer("/who/roles").and_then(Value::as_array) {
        case.roles = roles.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    }
    if let Some(transport) = text("/transport/kind") {
        case.set_transport(&transport, text("/transport/target").as_deref());
    }
    case.script = command.as_bytes().to_vec();
    dry_run::judge(settings, &case)
}

fn text(record: &Value, key: &str) -> String {
    record.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}
