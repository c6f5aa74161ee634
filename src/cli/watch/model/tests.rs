#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::fs;

use palisade_audit::{Follower, From};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::*;

const CHAIN: &str = "20261121T040000Z-7-5f3a9c01";

/// These entries as a follower comes upon them in a chain of a file.
pub(in crate::cli::watch) fn followed(entries: &[Value]) -> Vec<Followed> {
    let home = tempfile::tempdir().unwrap();
    let mut prev = "0".repeat(64);
    let mut text = String::new();
    for (seq, entry) in (1..).zip(entries) {
        let mut record =
            json!({ "v": 1, "seq": seq, "ts": format!("2026-11-21T04:00:{:02}.000Z", seq % 60), "prev": prev });
        record.as_object_mut().unwrap().extend(entry.as_object().unwrap().clone());
        let line = format!("{record}\n");
        prev = Sha256::digest(line.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        text.push_str(&line);
    }
    fs::write(home.path().join(format!("{CHAIN}.jsonl")), text).unwrap();
    let mut follower = Follower::open(home.path(), From::Last(usize::MAX)).unwrap();
    std::iter::from_fn(|| Some(follower.news().unwrap()).filter(|found| !found.is_empty())).flatten().collect()
}

fn model(entries: &[Value]) -> Model {
    let mut model = Model::default();
    followed(entries).iter().for_each(|one| model.take(one));
    model
}

pub(in crate::cli::watch) fn decision(number: u64, session: Option<&str>, effect: &str, script: &str) -> Value {
    let reasons = json!([{ "policy": "p2", "place": "a.cedar:7", "text": script, "reason": "No.", "suggest": "ls" }]);
    let reasons = if effect == "allow" { json!([]) } else { reasons };
    let mut record = json!({ "kind": "decision", "req": format!("5f3a9c01-{number}"), "cmd": script, "cwd": "/w", "inv": ["make"],
        "who": { "agent": "a", "user": "alice" }, "transport": { "kind": "local" }, "sandbox": { "level": "default", "layers": [] },
        "decision": { "effect": effect, "determining": ["p1"], "reasons": reasons, "us": 9 } });
    if let Some(session) = session {
        record["session"] = json!(session);
    }
    record
}

fn outcome(number: u64, exit: &Value) -> Value {
    json!({ "kind": "outcome", "req": format!("5f3a9c01-{number}"), "exit": exit, "dur_us": 1200,
            "out": { "bytes": 5, "omitted": 0 }, "redactions": { "token": 2 } })
}

/// What is shown of each act: its kind, its verdict, its text, and what came of it.
fn told(model: &Model) -> Vec<String> {
    let one = |act: &Act| {
        let end = act.outcome.as_ref().map(|outcome| format!(" = {}", outcome.text)).unwrap_or_default();
        let answers: String = act
            .answers
            .iter()
            .map(|answer| format!(" {}{}", if answer.granted { '+' } else { '-' }, answer.by))
            .collect();
        let refused: String =
            act.refusals.iter().map(|refused| format!(" !{} by {}", refused.what, refused.policy)).collect();
        let used = if act.used { " used" } else { "" };
        format!("{:?} {} {}{end}{answers}{used}{refused}", act.kind, act.verdict.map_or("-", Verdict::as_str), act.text)
    };
    model.acts().map(one).collect()
}

#[test]
fn what_belongs_to_an_act_is_shown_with_it() {
    let mut used = decision(4, Some("s1"), "allow", "git push");
    used["under"] = json!("5f3a9c01-3");
    let model = model(&[
        json!({ "kind": "start", "verb": "serve", "pid": 7 }),
        json!({ "kind": "open", "session": "s1", "who": { "agent": "a", "user": "alice" }, "cwd": "/w" }),
        decision(1, Some("s1"), "allow", "make"),
        decision(2, None, "deny", "sudo ls"),
        json!({ "kind": "outcome", "req": "5f3a9c01-1", "exit": { "code": 2 }, "dur_us": 9, "denied_more": 3,
                "denied": [{ "program": "/bin/x", "argv": ["x", "y"], "policy": "p3" }, { "peer": "h:443", "policy": "p4" }] }),
        decision(3, Some("s1"), "ask", "git push"),
        json!({ "kind": "approval", "of": "5f3a9c01-3", "granted": true, "by": "bob", "lifted": ["p2"] }),
        used,
        outcome(4, &json!({ "signal": 9 })),
        json!({ "kind": "input", "of": "5f3a9c01-4", "session": "s1", "effect": "deny", "determining": ["p5"], "cmd": "y\n" }),
        json!({ "kind": "signal", "of": "5f3a9c01-4", "session": "s1", "effect": "allow", "signal": "INT" }),
        json!({ "kind": "connect", "session": "other", "effect": "deny", "peer": "h:22" }),
        json!({ "kind": "denial", "session": "s1", "of": "5f3a9c01-4", "program": "/bin/z", "policy": "" }),
        json!({ "kind": "denial", "session": "s1", "program": "/bin/q", "policy": "p6" }),
        json!({ "kind": "kill", "what": "agent", "name": "a", "lifted": false, "by": "carol", "reason": "enough" }),
        json!({ "kind": "unlearn", "values": ["5f3a9c01-v1", "5f3a9c01-v2"], "by": "carol", "pid": 7, "uid": 1 }),
        json!({ "kind": "policy_reload", "refused": "it does not parse" }),
        json!({ "kind": "some_new_kind", "reason": "of later" }),
        json!({ "kind": "head" }),
        json!({ "kind": "close", "session": "s1", "reason": "asked" }),
    ]);
    let expected = [
        "Session - opened",
        "Command allow make = exit 2 !/bin/x: x y by p3 !connection to h:443 by p4",
        "Command deny sudo ls",
        "Command ask git push +bob used",
        "Command allow git push = signal 9 !/bin/z by ",
        "Input deny y\n",
        "Signal allow INT",
        "Connection deny h:22",
        "Refusal deny /bin/q",
        "Stop - stopped: agent a by carol: enough",
        "Other - learned values dropped by carol",
        "Policy - refused: it does not parse",
        "Other - some_new_kind of later",
        "Session - closed: asked",
    ];
    assert_eq!(told(&model), expected);
    let totals = Totals { records: 20, allowed: 2, asked: 1, denied: 1, refused: 7, redactions: 2, alarms: 0 };
    assert_eq!(model.totals(), totals);
    let act = model.acts().nth(2).unwrap();
    let reason = &act.reasons[0];
    assert_eq!((&*reason.place, &*reason.reason, &*reason.suggest), ("a.cedar:7", "No.", "ls"));
    assert_eq!(model.acts().nth(1).unwrap().strictest(), Some(Verdict::Deny));
    let sessions: Vec<_> =
        model.sessions().iter().map(|session| (&*session.name, session.ended.as_deref(), session.running)).collect();
    assert_eq!(sessions, [("", None, 0), ("s1", Some("asked"), 0)]);
}

#[test]
fn a_server_that_ends_ends_its_sessions() {
    for last in [
        json!({ "kind": "stop", "reason": "shutdown" }),
        json!({ "kind": "recovered", "cause": "crash", "file": format!("{CHAIN}_00002.jsonl") }),
    ] {
        let model = model(&[json!({ "kind": "start" }), decision(1, Some("s1"), "allow", "sleep 9"), last]);
        assert_eq!((model.sessions()[0].ended.is_some(), model.sessions()[0].running, model.live()), (true, 0, 0));
    }
}

#[test]
fn a_verdict_that_is_not_known_is_taken_for_a_no() {
    let model = model(&[decision(1, None, "perhaps", "x")]);
    assert_eq!((model.acts().next().unwrap().verdict, model.totals().denied), (Some(Verdict::Deny), 1));
}

#[test]
fn what_is_held_does_not_grow_with_the_record() {
    let mut entries = vec![json!({ "kind": "start" })];
    for number in 0..6_000 {
        entries.push(decision(number, Some(&format!("s{number}")), "allow", "x"));
    }
    let model = model(&entries);
    assert_eq!((model.acts.len(), model.requests.len(), model.sessions.len()), (ACTS, ACTS, SESSIONS));
    assert_eq!(
        (model.all().first, model.act(999).is_some(), model.act(1_000).map(|act| act.id)),
        (1_000, false, Some(1_000))
    );
    assert_eq!(model.totals().allowed, 6_000);

    let long = "x".repeat(1 << 20);
    let entries: Vec<Value> = (0..50).map(|number| decision(number, None, "allow", &long)).collect();
    let model = self::model(&entries);
    assert!(model.bytes <= BYTES && model.acts.len() < 32, "{}", model.acts.len());
    assert_eq!(model.weights.iter().sum::<usize>(), model.bytes);
}

#[test]
fn a_view_elsewhere_is_told_of_each_change_once() {
    let mut model = Model::default();
    let ids = |model: &Model| model.changes().acts.iter().map(|act| act.id).collect::<Vec<_>>();
    let mut steps = followed(&[
        decision(1, None, "allow", "a"),
        decision(2, None, "allow", "b"),
        outcome(1, &json!({ "code": 0 })),
    ]);
    let last = steps.pop().unwrap();
    steps.iter().for_each(|one| model.take(one));
    assert_eq!(ids(&model), [0, 1]);
    model.seen();
    assert!(ids(&model).is_empty());
    model.take(&last);
    assert_eq!(ids(&model), [0]);
    model.tell("look".to_owned(), true);
    assert_eq!((model.changes().notices.len(), model.totals().alarms), (1, 1));
    model.seen();
    assert!(model.changes().notices.is_empty());
    assert_eq!((model.all().acts.len(), model.all().notices.len()), (2, 1));
}

#[test]
fn a_search_looks_at_all_that_is_shown() {
    let model = model(&[decision(1, Some("s1"), "deny", "Make All")]);
    let act = model.acts().next().unwrap();
    for (wanted, there) in
        [("make", true), ("alice", true), ("p1", true), ("no.", true), ("s1", true), ("other", false)]
    {
        assert_eq!(act.holds(wanted), there, "{wanted}");
    }
}

/// What commands do to other systems is told in one line each, with what is not certain behind a question mark.
#[test]
fn effects_elsewhere_are_told() {
    let mut record = decision(1, None, "ask", "kubectl delete ns prod; ls; psql -c \"$x\"");
    record["asked"] = json!({ "v": 1, "items": [
        { "exec": { "words": ["kubectl"], "outward": { "system": "kubernetes", "effects": ["destroy"], "scope": [["namespace", "prod"]],
            "narrowest": "prod", "target": "ns prod" } } },
        { "exec": { "words": ["ls"] } },
        { "file": { "action": "read", "paths": ["/w"] } },
        { "exec": { "words": ["psql"], "outward": { "system": "postgres", "possible": ["change", "destroy"], "narrowest": "", "target": "" } } }
    ] });
    let model = model(&[record, decision(2, None, "allow", "make")]);
    let effects: Vec<&[Box<str>]> = model.acts().map(|act| act.effects.as_slice()).collect();
    let expected: [&[Box<str>]; 2] =
        [&["destroy (kubernetes, namespace=prod) ns prod".into(), "change?, destroy? (postgres)".into()], &[]];
    assert_eq!(effects, expected);
}
