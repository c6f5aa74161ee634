//! What the day was like: one line a step in a file, and the totals.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::steps::Ending;
use crate::support::world::repository;

/// One step, run one way.
pub(super) struct Row {
    pub(super) workflow: String,
    pub(super) way: &'static str,
    pub(super) user: &'static str,
    pub(super) step: usize,
    pub(super) command: String,
    pub(super) left: bool,
    pub(super) ending: Ending,
    pub(super) took: Duration,
}

/// All of them.
#[derive(Default)]
pub(super) struct Report {
    pub(super) rows: Vec<Row>,
}

impl Report {
    /// One JSON object a line, in `test-logs/day.jsonl` of the target directory.
    pub(super) fn write(&self) {
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository().join("target"), PathBuf::from);
        let logs = repository().join(target).join("test-logs");
        fs::create_dir_all(&logs).expect("a directory");
        let mut text = String::new();
        for row in &self.rows {
            let (ending, detail) = row.ending.told();
            let line = json!({
                "workflow": row.workflow, "way": row.way, "user": row.user, "step": row.step, "command": row.command,
                "ending": ending, "detail": detail, "left": row.left,
                "ms": u64::try_from(row.took.as_millis()).unwrap_or(u64::MAX),
            });
            writeln!(text, "{line}").expect("a string takes all");
        }
        fs::write(logs.join("day.jsonl"), text).expect("written");
    }

    /// The totals, on standard error, past the test harness.
    pub(super) fn print(&self) {
        let mut totals: BTreeMap<(&str, &str), BTreeMap<&str, usize>> = BTreeMap::new();
        let mut time: BTreeMap<(&str, &str), Duration> = BTreeMap::new();
        for row in &self.rows {
            *totals.entry((row.way, row.user)).or_default().entry(row.ending.told().0).or_default() += 1;
            *time.entry((row.way, row.user)).or_default() += row.took;
        }
        let mut text = String::new();
        for (key, endings) in totals {
            let all: usize = endings.values().sum();
            let ok = endings.get("ok").copied().unwrap_or_default();
            write!(text, "day: {} as {}: {ok} of {all} steps", key.0, key.1).expect("a string takes all");
            for (ending, count) in endings.iter().filter(|(ending, _)| **ending != "ok") {
                write!(text, ", {count} {ending}").expect("a string takes all");
            }
            let seconds = time.get(&key).copied().unwrap_or_default().as_secs();
            writeln!(text, "; {seconds} s").expect("a string takes all");
        }
        // Nothing is left to tell this to if standard error is closed.
        let _told = std::io::stderr().write_all(text.as_bytes());
    }
}

/// Rows for a person.
pub(super) fn lines(rows: &[&Row]) -> String {
    let mut text = String::new();
    for row in rows {
        let (ending, detail) = row.ending.told();
        let place = format!("{} step {} by {} as {}", row.workflow, row.step, row.way, row.user);
        write!(text, "\n- {place}: {ending}: {detail}\n  {}", row.command.trim()).expect("a string takes all");
    }
    text
}
