//! `audit show`: the record for a person to read, or for a program to go on with.
//!
//! It shows what stands there; whether that holds, `audit verify` says.

use std::fmt::Write as _;
use std::io::{BufRead as _, Read as _};
use std::path::Path;

use palisade_audit::{Filter, MAX_LINE, Selector};
use serde_json::Value;

use super::FilterMatches;
use crate::cli::args::{AuditShow, DecisionName, RecordFilter};
use crate::cli::exit::Exit;
use crate::cli::report::{self, CliError};
use crate::config;

pub(crate) fn run(args: &AuditShow) -> Result<Exit, CliError> {
    let path = match &args.path {
        Some(path) => path.clone(),
        None => config::audit_directory(args.config.as_deref())?,
    };
    let filter = filter(&args.filter)?;
    if !super::may_read(&path, args.config.as_deref())? {
        return Ok(Exit::Denied);
    }
    let (mut exit, mut met) = (Exit::Fine, FilterMatches::default());
    for files in super::files(&path)? {
        // What belongs together is in one chain, and its sessions have names of their own.
        let mut selector = Selector::new(filter.clone());
        for file in files {
            match show(&file, &mut selector, args.json, &mut met, &filter)? {
                ShowEnd::All => {}
                ShowEnd::NotRecords(lines) => {
                    exit = Exit::Findings;
                    let name = file.display();
                    report::complain(&format!("warning: {lines} lines of `{name}` are no records and not shown\n"));
                }
                ShowEnd::NobodyListens => return Ok(exit),
            }
        }
    }
    met.check(&path, &filter)?;
    met.tell_of_none(&filter);
    Ok(exit)
}

/// What the flags keep.
///
/// # Errors
/// If a time is none.
pub(crate) fn filter(args: &RecordFilter) -> Result<Filter, CliError> {
    let time = |flag: &str, text: &Option<String>| {
        let Some(text) = text else { return Ok(None) };
        palisade_audit::point_in_time(text).map(Some).ok_or_else(|| {
            CliError::new(
                format!("`{flag}` is `{text}`, which is no point in time"),
                "give one such as `2026-11-21T04:01:00Z`, or how long ago it was: `90s`, `30m`, `2h`, `7d`",
            )
        })
    };
    Ok(Filter {
        agent: args.agent.clone(),
        user: args.user.clone(),
        session: args.session.clone(),
        effect: args.decision.map(|decision| word(decision).to_owned()),
        policy: args.policy.clone(),
        kinds: args.kinds.clone(),
        since: time("--since", &args.since)?,
        until: time("--until", &args.until)?,
    })
}

/// The decision as records have it.
fn word(decision: DecisionName) -> &'static str {
    match decision {
        DecisionName::Allow => "allow",
        DecisionName::Ask => "ask",
        DecisionName::Deny => "deny",
    }
}

/// How far a file was shown.
enum ShowEnd {
    All,
    /// So many lines were no records.
    NotRecords(u64),
    NobodyListens,
}

fn show(
    path: &Path,
    selector: &mut Selector,
    as_json: bool,
    met: &mut FilterMatches,
    filter: &Filter,
) -> Result<ShowEnd, CliError> {
    let unreadable = |error: std::io::Error| CliError::new(format!("cannot read `{}`: {error}", path.display()), "");
    let mut reader = palisade_audit::LiveFile::open(path).map_err(unreadable)?;
    let (mut line, mut bad) = (Vec::new(), 0);
    loop {
        line.clear();
        if reader.by_ref().take(MAX_LINE as u64 + 1).read_until(b'\n', &mut line).map_err(unreadable)? == 0 {
            return Ok(if bad == 0 { ShowEnd::All } else { ShowEnd::NotRecords(bad) });
        }
        let (Some(record), true) = (super::record(&line), line.ends_with(b"\n")) else {
            bad += 1;
            continue;
        };
        met.note(&record, filter);
        if !selector.keeps(&record) {
            continue;
        }
        met.kept += 1;
        let text = if as_json { String::from_utf8_lossy(&line).into_owned() } else { plain(&record) };
        if !report::print(&text) {
            return Ok(ShowEnd::NobodyListens);
        }
    }
}

/// One line: when, which record, what, who, and what there is to say of its kind.
pub(crate) fn plain(record: &Value) -> String {
    let text = |place: &str| record.pointer(place).and_then(Value::as_str).unwrap_or_default();
    let number = |place: &str| record.pointer(place).and_then(Value::as_i64);
    let at = text("/ts").replace('T', " ");
    let mut line = format!(
        "{at}  {:>6}  {:<9}",
        number("/seq").unwrap_or_default(),
        report::one_line(palisade_audit::kind(record))
    );
    let mut say = |text: &str| {
        if !text.is_empty() {
            let _ = write!(line, "  {}", report::one_line(text));
        }
    };
    say(palisade_audit::effect_of(record).unwrap_or_default());
    let who = [text("/who/agent"), text("/who/user")];
    say(&who.into_iter().filter(|name| !name.is_empty()).collect::<Vec<_>>().join("/"));
    say(text("/session"));
    say(&ending(record));
    say(&word_of_a_person(record));
    for place in ["/cmd", "/signal", "/peer", "/program", "/file", "/cause", "/verb"] {
        say(text(place));
    }
    for place in ["/reason", "/refused"] {
        say(text(place));
    }
    let policies: Vec<&str> = palisade_audit::policies(record).collect();
    if !policies.is_empty() {
        say(&format!("[{}]", policies.join(", ")));
    }
    line.push('\n');
    line
}

/// What a person said: to a request, or of what is to stop.
fn word_of_a_person(record: &Value) -> String {
    let text = |key: &str| record.get(key).and_then(Value::as_str).unwrap_or_default();
    let is = |key: &str| record.get(key).and_then(Value::as_bool).unwrap_or_default();
    match palisade_audit::kind(record) {
        "approval" => {
            format!("{} {} by {}", text("of"), if is("granted") { "granted" } else { "denied" }, text("by"))
        }
        "forget" => format!("{} taken back by {}", text("of"), text("by")),
        "unlearn" => {
            let of = record.get("values").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            let ids: Vec<&str> = of.iter().filter_map(Value::as_str).collect();
            format!("{} dropped by {}", ids.join(", "), text("by"))
        }
        "kill" => {
            let what = format!("{} {}", text("what"), text("name"));
            format!("{} {} by {}", what.trim(), if is("lifted") { "let in again" } else { "stopped" }, text("by"))
        }
        _ => String::new(),
    }
}

/// How a command ended.
fn ending(record: &Value) -> String {
    let Some(exit) = record.get("exit") else { return String::new() };
    let of = |key: &str| exit.get(key).map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    match (of("code"), of("signal"), of("reason")) {
        (Some(code), ..) => format!("exit {code}"),
        (_, Some(signal), _) => format!("signal {signal}"),
        (.., Some(reason)) => reason,
        _ => String::new(),
    }
}
