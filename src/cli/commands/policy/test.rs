//! `policy test`: the cases beside the policies, judged.

use std::fmt::Write as _;

use palisade_engine::{Cases, Checked, Coverage};
use serde_json::json;

use crate::cli::args::{PolicyTest, TestFormat};
use crate::cli::commands;
use crate::cli::exit::Exit;
use crate::cli::report::{self, CliError};
use crate::config::Authored;

/// Everything that was judged.
struct TestRun {
    checked: Vec<Checked>,
    coverage: Option<Coverage>,
}

pub(crate) fn run(args: &PolicyTest) -> Result<Exit, CliError> {
    if let Some(min) = args.min.filter(|min| *min > 100) {
        return Err(CliError::new(format!("`--min` is `{min}`, which is not a number from 0 to 100"), ""));
    }
    let authored = Authored::of(&args.set)?;
    let files = authored.cases()?;
    if files.iter().all(|file| file.cases().is_empty()) {
        let help = "cases stand in `cases/*.toml` below the policy directory; docs/authoring.md shows one";
        return Err(CliError::new("there is no case to test", help));
    }
    let run = judge(&authored, &files, args.coverage)?;
    let failed = run.checked.iter().filter(|checked| checked.failure.is_some()).count();
    let text = match args.format {
        TestFormat::Human => human(&run, failed),
        TestFormat::Json => commands::json(&machine(&run, failed))?,
        TestFormat::Junit => junit(&run, failed),
        TestFormat::Tap => tap(&run),
    };
    report::print(&text);
    let thin = |coverage: &Coverage| args.min.is_some_and(|min| coverage.percent() < min);
    let thin = run.coverage.as_ref().is_some_and(thin);
    if thin && args.format == TestFormat::Human {
        report::complain("error: less is tried than `--min` asks for\n");
    }
    Ok(if failed > 0 || thin { Exit::Findings } else { Exit::Fine })
}

fn judge(authored: &Authored, files: &[Cases], wanted: bool) -> Result<TestRun, CliError> {
    let mut run = TestRun { checked: Vec::new(), coverage: None };
    for file in files {
        let engine = authored.engine(file.home())?;
        if wanted && run.coverage.is_none() {
            run.coverage = Some(Coverage::of(&engine));
        }
        for case in file.cases() {
            run.checked.push(case.check(&engine));
            if let Some(coverage) = &mut run.coverage {
                coverage.add(&engine, case);
            }
        }
    }
    Ok(run)
}

fn human(run: &TestRun, failed: usize) -> String {
    let mut text = String::new();
    for checked in &run.checked {
        let Some(failure) = &checked.failure else { continue };
        let _ = writeln!(text, "FAILED {} ({})\n  {}\n  {failure}", checked.name, checked.place, one_line(checked));
        for reason in &checked.report.reasons {
            let policy = if reason.policy.is_empty() { "no permit" } else { &reason.policy };
            let _ = writeln!(text, "    {policy}: {}", reason.reason);
        }
    }
    let count = run.checked.len();
    let _ = writeln!(text, "{}, {failed} failed", report::counted(count, "case"));
    if let Some(coverage) = &run.coverage {
        let _ = writeln!(text, "coverage {} %", coverage.percent());
        for (id, policy) in coverage.policies().iter().filter(|(_, policy)| !policy.is_full()) {
            let never = if policy.held == 0 { " never held" } else { "" };
            let _ = writeln!(text, "  {id} ({}){never}", policy.place);
            for clause in &policy.clauses {
                for (seen, value) in [(clause.seen_true, "true"), (clause.seen_false, "false")] {
                    if !seen {
                        let _ = writeln!(text, "    never {value}: {}", clause.text);
                    }
                }
            }
        }
    }
    text
}

fn machine(run: &TestRun, failed: usize) -> serde_json::Value {
    let cases: Vec<_> = run
        .checked
        .iter()
        .map(|checked| {
            json!({
                "name": checked.name, "place": checked.place, "passed": checked.failure.is_none(),
                "failure": checked.failure, "decision": checked.report.decision,
                "policies": checked.report.policies(), "command": checked.report.command,
            })
        })
        .collect();
    let mut value = json!({ "cases": cases, "total": run.checked.len(), "failed": failed });
    if let (Some(coverage), Some(object)) = (&run.coverage, value.as_object_mut()) {
        let policies: Vec<_> = coverage
            .policies()
            .iter()
            .map(|(id, policy)| {
                let clauses: Vec<_> = policy
                    .clauses
                    .iter()
                    .map(|clause| json!({ "text": clause.text, "true": clause.seen_true, "false": clause.seen_false }))
                    .collect();
                json!({ "id": id, "place": policy.place, "considered": policy.considered, "held": policy.held,
                        "full": policy.is_full(), "clauses": clauses })
            })
            .collect();
        object.insert("coverage".to_owned(), json!({ "percent": coverage.percent(), "policies": policies }));
    }
    value
}

fn junit(run: &TestRun, failed: usize) -> String {
    let total = run.checked.len();
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <testsuites tests=\"{total}\" failures=\"{failed}\">\n\
         <testsuite name=\"palisade policy test\" tests=\"{total}\" failures=\"{failed}\" errors=\"0\">\n"
    );
    for checked in &run.checked {
        let (file, line) = checked.place.rsplit_once(':').unwrap_or((&checked.place, "0"));
        let _ = write!(
            text,
            "<testcase name=\"{}\" classname=\"{}\" file=\"{}\" line=\"{line}\"",
            xml(&checked.name),
            xml(file),
            xml(file)
        );
        match &checked.failure {
            None => text.push_str("/>\n"),
            Some(failure) => {
                let _ = writeln!(
                    text,
                    "><failure message=\"{}\">{}</failure></testcase>",
                    xml(failure),
                    xml(&checked.report.command)
                );
            }
        }
    }
    text.push_str("</testsuite>\n</testsuites>\n");
    text
}

fn tap(run: &TestRun) -> String {
    let mut text = format!("TAP version 14\n1..{}\n", run.checked.len());
    for (index, checked) in run.checked.iter().enumerate() {
        let verdict = if checked.failure.is_none() { "ok" } else { "not ok" };
        let name = checked.name.replace(['#', '\n'], " ");
        let _ = writeln!(text, "{verdict} {} - {name}", index + 1);
        if let Some(failure) = &checked.failure {
            let _ = writeln!(text, "  ---\n  message: {:?}\n  at: {:?}\n  ...", failure, checked.place);
        }
    }
    text
}

fn one_line(checked: &Checked) -> String {
    checked.report.command.replace('\n', "⏎")
}

/// Text for an XML attribute or element; characters that XML 1.0 cannot hold are replaced.
fn xml(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\n' => safe.push_str("&#10;"),
            other if other.is_control() || matches!(other, '\u{fffe}' | '\u{ffff}') => safe.push('\u{fffd}'),
            other => safe.push(other),
        }
    }
    safe
}
