//! Whole workflows on real projects under the shipped profile: each as plain bash, by `run`, and by one MCP session.
//!
//! `README.md` beside this file says what the tables hold and how to run one workflow.

mod account;
mod report;
mod steps;
mod table;
mod ways;

use std::path::PathBuf;
use std::sync::Mutex;

use account::Account;
use report::{Report, Row};
use steps::Ending;
use table::Workflow;

use crate::support::services::{day_projects, lacks};

/// The share of steps that may be left, in a hundred.
const MOST_LEFT: usize = 2;

/// Workflows at a time. Most of a step's time goes to compilers and to waiting, and CI has two processors.
const THREADS: usize = 2;

#[test]
fn a_days_work_passes() {
    let Some(projects) = day_projects() else { return };
    let chosen = std::env::var("PALISADE_DAY").ok();
    let all = table::all();
    assert!(all.len() >= 60, "{} workflows", all.len());
    let is_chosen = |workflow: &&Workflow| {
        let named = |name: &str| name == workflow.name || name == workflow.table;
        chosen.as_deref().is_none_or(|names| names.split(',').any(named))
    };
    let mut work: Vec<(&Workflow, Account)> = Vec::new();
    for workflow in all.iter().filter(is_chosen).filter(|workflow| can_run(workflow)) {
        work.push((workflow, Account::own()));
        if workflow.ordinary {
            work.extend(Account::ordinary().map(|account| (workflow, account)));
        }
    }
    assert!(!work.is_empty(), "PALISADE_DAY names no workflow that can run here");
    let report = run(work, &projects);
    report.write();
    report.print();

    let broken: Vec<&Row> = report.rows.iter().filter(|row| row.way == "bare" && !row.ending.is_ok()).collect();
    assert!(broken.is_empty(), "steps that fail in plain bash: {}", report::lines(&broken));
    let failed: Vec<&Row> = report.rows.iter().filter(|row| !row.ending.is_ok() && !row.left).collect();
    assert!(failed.is_empty(), "{} steps failed: {}", failed.len(), report::lines(&failed));
    let steps: usize = all.iter().map(|workflow| workflow.steps.len()).sum();
    let left: usize = all.iter().flat_map(|workflow| &workflow.steps).filter(|step| step.left.is_some()).count();
    assert!(left * 100 <= steps * MOST_LEFT, "{left} of {steps} steps are left");
}

/// Whether this machine has what the workflow needs; says so if it has not.
fn can_run(workflow: &Workflow) -> bool {
    if let Some(path) = &workflow.if_there {
        let home = std::env::var("HOME").unwrap_or_default();
        let path = PathBuf::from(path.replace('~', &home));
        if !path.exists() {
            return lacks::<()>("day", &format!("{}: no {}", workflow.name, path.display())).is_some();
        }
    }
    let missing = workflow.programs.iter().find(|name| crate::support::services::has_program(name).is_none());
    missing.is_none()
}

/// Runs everything, a few at a time.
fn run(mut work: Vec<(&Workflow, Account)>, projects: &std::path::Path) -> Report {
    work.reverse();
    let (queue, report) = (Mutex::new(work), Mutex::new(Report::default()));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().expect("no thread panics with the lock").pop();
                    let Some((workflow, account)) = next else { return };
                    let rows = ways::all(workflow, &account, projects);
                    report.lock().expect("no thread panics with the lock").rows.extend(rows);
                }
            });
        }
    });
    report.into_inner().expect("no thread panics with the lock")
}

#[test]
fn tables_say_what_they_mean() {
    let all = table::all();
    let mut names: Vec<&str> = all.iter().map(|workflow| workflow.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all.len(), "two workflows have one name");
    for workflow in &all {
        let steps = workflow.steps.len();
        assert!((6..=12).contains(&steps), "{}: {steps} steps", workflow.name);
    }
}

#[test]
fn an_ending_is_told_by_its_result() {
    let step = table::Step::plain("true");
    let result = |text: &str| serde_json::from_str(text).expect("JSON");
    assert_eq!(Ending::of(&step, &result(r#"{"status": "done", "exit_code": 0}"#)), Ending::Ok);
    let failed = Ending::of(&step, &result(r#"{"status": "done", "exit_code": 2, "stderr": "a\nb\n"}"#));
    assert_eq!(failed, Ending::Failed { exit: "2".to_owned(), line: "b".to_owned() });
    let asked =
        result(r#"{"status": "approval_required", "verdict": {"reasons": [{"policy": "p", "text": "git push"}]}}"#);
    assert_eq!(Ending::of(&step, &asked), Ending::Asked { reasons: vec!["p: git push".to_owned()] });
    let hidden = result(r#"{"status": "done", "exit_code": 0, "denied": [{"program": "/bin/ld", "policy": "p"}]}"#);
    assert_eq!(Ending::of(&step, &hidden), Ending::DeniedAtExecve { programs: vec!["/bin/ld (p)".to_owned()] });
    let peer = result(
        r#"{"status": "done", "exit_code": 0, "denied": [{"program": "/bin/node", "peer": "example.com:443"}]}"#,
    );
    assert_eq!(Ending::of(&step, &peer), Ending::Ok);
    for (check, told, agree) in [
        (0, r#"{"status": "done", "exit_code": 1}"#, true),
        (0, r#"{"status": "denied"}"#, false),
        (3, r#"{"status": "approval_required"}"#, true),
        (3, r#"{"status": "denied"}"#, false),
        (2, r#"{"status": "denied"}"#, true),
        (2, r#"{"status": "done", "exit_code": 0}"#, false),
    ] {
        assert_eq!(Ending::disagreement(Some(check), &result(told)).is_none(), agree, "{check} {told}");
    }
    let asks = table::Step { asks: true, ..step };
    assert_eq!(Ending::of(&asks, &asked), Ending::Ok);
    assert!(!Ending::of(&asks, &result(r#"{"status": "done", "exit_code": 0}"#)).is_ok());
}
