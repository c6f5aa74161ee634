//! What the exec guard refuses stands in the record, under the command that started it.

use serde_json::Value;

use crate::place::{POLICY, Place};

/// A place where `uname` is refused at its `execve`, with programs in the workspace.
fn place(programs: &[(&str, &str)]) -> Place {
    let forbid = "@id(\"no-uname\") forbid(principal, action == Action::\"exec\", resource in Program::\"uname\");";
    let place = Place::with(&format!("{POLICY}{forbid}"), |_| {});
    for (name, text) in programs {
        let path = place.root.path().join("work").join(name);
        std::fs::write(&path, text).expect("written");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(path, mode).expect("a mode");
    }
    place
}

/// The entries of a kind, once there is one.
async fn recorded(place: &Place, kind: &str) -> Vec<Value> {
    let begun = std::time::Instant::now();
    loop {
        let found: Vec<Value> = place.record().into_iter().filter(|line| line["kind"] == kind).collect();
        if !found.is_empty() {
            return found;
        }
        assert!(begun.elapsed().as_secs() < 30, "no {kind} on record");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// A fork in the same clock tick as the next command's beginning would be that one's (docs/threat-model.md).
async fn between_commands() {
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
}

const LATE: &str = "#!/bin/bash\nwhile ! [[ -e go ]]; do sleep 0.05; done\nuname -s\ntouch gone\n";

#[tokio::test(flavor = "multi_thread")]
async fn one_behind_its_commands_end_is_on_record_under_it_and_no_other() {
    for (meanwhile, quiet) in [("true", true), ("touch go; while ! [[ -e gone ]]; do sleep 0.05; done", false)] {
        let place = place(&[("late", LATE)]);
        if palisade_sandbox::probe().guards().is_err() {
            return;
        }
        let shell = place.open().await;
        let begun = shell.run("./late >/dev/null 2>&1 &").await;
        assert!(begun.denied.is_empty(), "{begun:?}");
        between_commands().await;
        let innocent = shell.run(meanwhile).await;
        assert!(innocent.denied.is_empty() && innocent.exit_code == Some(0), "{innocent:?}");
        if quiet {
            std::fs::write(place.root.path().join("work/go"), "").expect("written");
        }
        let denials = recorded(&place, "denial").await;
        let [denial] = denials.as_slice() else { panic!("{denials:?}") };
        assert_eq!(denial["of"], begun.decision.id.as_str(), "{denial}");
        assert_eq!((&denial["session"], &denial["policy"]), (&shell.name.as_str().into(), &"no-uname".into()));
        assert_eq!(denial["argv"], serde_json::json!(["uname", "-s"]));
        for outcome in recorded(&place, "outcome").await {
            assert!(outcome["denied"].is_null(), "{outcome}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_are_told_are_counted() {
    let place = place(&[("many", "#!/bin/bash\nfor i in $(seq 25); do uname \"$i\"; done\nuname 1\n")]);
    if palisade_sandbox::probe().guards().is_err() {
        return;
    }
    let result = place.alone("./many 2>/dev/null").await;
    assert_eq!((result.denied.len(), result.denied_more), (20, 5), "{result:?}");
    let outcome = recorded(&place, "outcome").await;
    assert_eq!(outcome[0]["denied_more"], 5, "{outcome:?}");

    // Behind the end, the record does not grow with every turn of a loop.
    let place = self::place(&[("loop", "#!/bin/bash\nsleep 1\nfor i in $(seq 60); do uname; done\ntouch gone\n")]);
    let shell = place.open().await;
    shell.run("./loop >/dev/null 2>&1 &").await;
    between_commands().await;
    shell.run("while ! [[ -e gone ]]; do sleep 0.05; done").await;
    let denials = recorded(&place, "denial").await;
    // The first, and those at which 1, 2, 4, … 32 have been left out.
    assert_eq!(denials.len(), 7, "{denials:?}");
    assert_eq!(denials[6]["more"], 32);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_is_too_long_is_told_by_its_length() {
    let place = Place::new();
    let script = format!("echo ghp_{}{}", "0123456789abcdefghijABCDEFGHIJ012345", " x".repeat(40_000));
    let reason = "because ".repeat(1000);
    let call = palisade_runner::Call { script: script.clone().into(), reason, ..Default::default() };
    let outcome = place.pipeline.submit(call).await.expect("an outcome");
    let palisade_runner::Outcome::Denied(refusal) = outcome else { panic!("{outcome:?}") };
    let short = format!("[{} bytes, ", script.len());
    assert!(refusal.explained.command.as_str().starts_with(&short), "{:.200}", refusal.explained.command.as_str());
    let decision = &recorded(&place, "decision").await[0];
    assert!(decision["cmd"].as_str().is_some_and(|text| text.starts_with(&short)), "{decision}");
    assert!(decision["reason"].as_str().is_some_and(|text| text.starts_with("[8000 bytes, ")), "{decision}");
    assert!(decision.to_string().len() < 4000, "{decision}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_apart_is_on_record_under_its_session_and_its_shell() {
    let place = Place::new();
    let shell = place.open().await;
    shell.run("true").await;
    let call = palisade_runner::Call { yields: Some(std::time::Duration::ZERO), ..shell.call("echo apart") };
    place.submit(call).await;
    let decisions = recorded(&place, "decision").await;
    let of = |command: &str| decisions.iter().find(|line| line["cmd"] == command).expect("a decision").clone();
    let (own, apart) = (of("true"), of("echo apart"));
    assert_eq!((&own["session"], &own["shell"]), (&shell.name.as_str().into(), &Value::Null), "{own}");
    assert_eq!(apart["session"], shell.name.as_str(), "{apart}");
    assert!(apart["shell"].as_str().is_some_and(|name| name != shell.name), "{apart}");
}
