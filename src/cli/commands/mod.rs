//! One file per verb.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use palisade_redact::Redactor;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::cli::args::Context;
use crate::cli::report::{self, CliError};
use crate::config;

pub(crate) mod apply;
pub(crate) mod approvals;
pub(crate) mod audit;
pub(crate) mod check;
pub(crate) mod checkpoint;
pub(crate) mod doctor;
pub(crate) mod inventory;
pub(crate) mod policy;
pub(crate) mod redact;
pub(crate) mod remote_guard;
pub(crate) mod replay;
pub(crate) mod run;
pub(crate) mod serve;
pub(crate) mod setup;
pub(crate) mod sh;
pub(crate) mod stop;
pub(crate) mod watch;
pub(crate) mod workspace;

/// One line of JSON, in which nothing moves a cursor or turns a text either: it is read at terminals, too.
fn json(value: &impl Serialize) -> Result<String, CliError> {
    let text =
        serde_json::to_string(value).map_err(|error| CliError::new(format!("cannot write JSON: {error}"), ""))?;
    Ok(format!("{}\n", report::escaped(&text)))
}

/// A value as JSON with every text in it redacted: each by itself, since escaped text is not what a rule looks for.
fn redacted(value: &impl Serialize, redactor: &Redactor) -> Result<Value, CliError> {
    let value =
        serde_json::to_value(value).map_err(|error| CliError::new(format!("cannot write JSON: {error}"), ""))?;
    Ok(redact_texts(value, redactor))
}

fn redact_texts(value: Value, redactor: &Redactor) -> Value {
    match value {
        Value::String(text) => Value::String(redactor.text(&text).to_string()),
        Value::Array(values) => values.into_iter().map(|value| redact_texts(value, redactor)).collect(),
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| (redactor.text(&name).to_string(), redact_texts(value, redactor)))
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
    }
}

/// A line of batch input. A list of the values alone is none, though serde takes one for an object.
///
/// # Errors
/// What is wrong with it; `example` is one that is right.
fn read_line<T: DeserializeOwned>(line: &[u8], example: &str) -> Result<T, String> {
    let read = serde_json::from_slice::<T>(line);
    let value: Value = match (&read, serde_json::from_slice(line)) {
        (Ok(_), _) if line.trim_ascii_start().starts_with(b"{") => return read.map_err(|error| error.to_string()),
        (_, Ok(value)) => value,
        (_, Err(error)) => return Err(format!("this is no JSON (column {}); write {example}", error.column())),
    };
    let Value::Object(object) = value else { return Err(format!("a line is an object; write {example}")) };
    let error = read.err().map(|error| without_place(&error.to_string())).unwrap_or_default();
    let Some((found, expected)) = error.strip_prefix("invalid type: ").and_then(|told| told.split_once(", expected "))
    else {
        return Err(error);
    };
    // The field that the reader stumbled over: without it there is another error, or none.
    let stumbles = |name: &&String| {
        let others = object.iter().filter(|(other, _)| other != name);
        let others: serde_json::Map<String, Value> =
            others.map(|(name, value)| (name.clone(), value.clone())).collect();
        let told = serde_json::from_value::<T>(Value::Object(others)).err().map(|error| error.to_string());
        told.as_deref() != Some(error.as_str())
    };
    let field = object.keys().find(stumbles).map_or_else(|| "a field".to_owned(), |name| format!("`{name}`"));
    let found = match found.split([' ', '`']).next().unwrap_or_default() {
        "string" => "a text",
        "sequence" => "a list",
        "map" => "an object",
        "integer" | "floating" => "a number",
        "boolean" => "`true` or `false`",
        _ => found,
    };
    let expected = match expected {
        "a string" => "a text",
        "a sequence" => "a list of texts",
        "a boolean" => "`true` or `false`",
        "usize" | "u64" => "a number",
        _ => expected,
    };
    Err(format!("{field} is {found}; write {expected}"))
}

/// What serde says, without the place within the line.
fn without_place(error: &str) -> String {
    error.rsplit_once(" at line ").map_or(error, |(told, _)| told).to_owned()
}

/// What is wrong with a line of batch input, under its id where that can be read.
fn bad_line(line: &[u8], number: usize, error: &str, redactor: &Redactor) -> Result<String, CliError> {
    let id = serde_json::from_slice::<Value>(line).ok().and_then(|value| value.get("id").cloned());
    let error = format!("line {number}: {error}");
    let answer = match id {
        Some(id) => serde_json::json!({ "id": id, "error": error }),
        None => serde_json::json!({ "error": error }),
    };
    json(&redacted(&answer, redactor)?)
}

/// A file that is not there hides nothing: the operator has to know.
fn warn_of_missing_secrets(flags: &Context) -> Result<(), CliError> {
    for file in config::missing_secrets(flags)? {
        let file = file.display();
        report::complain(&format!(
            "warning: `redact.files` names `{file}`, which is not there: nothing of it is redacted\n"
        ));
    }
    Ok(())
}

/// Begins to look at what the machine can enforce, beside what else a start does: it takes processes in namespaces of their own,
/// and whoever needs to know waits for it. A process that is still to enter a view must have no second thread, so not before that.
pub(crate) fn begin_to_probe() {
    make_room_for_descriptors();
    palisade_runner::sandbox::begin_to_probe();
}

/// Has the kernel make its table of descriptors as long as it will get, while there is one thread. With more, each time that it grows
/// all processors are waited for (`expand_fdtable`, `fs/file.c`), which takes some 5 ms, and keeps whoever opens anything waiting as well.
fn make_room_for_descriptors() {
    may_open_all();
    // What cannot be had now is had later, at that price.
    let _ = std::fs::File::open("/dev/null").map(|file| rustix::io::fcntl_dupfd_cloexec(file, DESCRIPTORS - 1));
}

/// Descriptors of some two hundred sessions; their table takes 32 KiB.
const DESCRIPTORS: i32 = 4096;

/// Sessions take some twenty descriptors each, and background children keep two for every command that left some. What
/// a session's own programs may open is its plan's to say. Where more cannot be had, the session that lacks one says so.
fn may_open_all() {
    let _stays =
        getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_, most)| setrlimit(Resource::RLIMIT_NOFILE, most, most));
}

/// The runtime that the asynchronous verbs run on.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    may_open_all();
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::new(format!("cannot start: {error}"), ""))
}
