//! Any bytes as what a process left of its record: the next start ends in a verdict, never in a panic or a silent repair,
//! and what it writes itself reads back.

#![no_main]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use palisade_audit::{Audit, AuditSettings, BrokenKind, Digest, Reloaded, Start, Sync, Term, verify};
use palisade_redact::Redactor;
use serde_json::Value;

static REDACTOR: LazyLock<Redactor> = LazyLock::new(|| Redactor::builtin().expect("the shipped rules load"));

fuzz_target!(|left: &[u8]| {
    let directory = PathBuf::from(format!("/dev/shm/palisade-fuzz-{}", std::process::id()));
    let _ = fs::remove_dir_all(&directory);
    let at = |name: &str| directory.join(name);
    let settings = AuditSettings::new(directory.clone(), Sync::None);
    let start = || Start::new("0", Term::new("fuzz"), Digest::ZERO, Digest::ZERO);

    // The first start makes the directory as it has to be.
    drop(Audit::open(&settings, start()).expect("a record"));
    fs::write(at("a.jsonl"), left).expect("what was left");
    fs::write(at("a.open"), "").expect("its mark");
    let audit = Audit::open(&settings, start()).expect("a record");
    let text = REDACTOR.text(&String::from_utf8_lossy(left));
    let reloaded = Reloaded {
        policy_set: Digest::ZERO,
        before: Digest::ZERO,
        refused: Some(text.clone()),
        groups: BTreeMap::new(),
    };
    audit.append_blocking(reloaded).expect("a record");

    let own = fs::read_to_string(audit.path()).expect("our record");
    let report = verify(own.as_bytes(), Some(audit.head())).expect("our record holds");
    assert_eq!(report.head, audit.head());
    let records: Vec<Value> = own.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(records.last().and_then(|last| last["refused"].as_str()), Some(text.as_str()));
    let told = records.iter().find(|record| record["file"] == "a.jsonl").expect("what was left is on record");

    let now = fs::read(at("a.jsonl")).unwrap_or_default();
    let torn = fs::read(at("a.jsonl.torn")).ok();
    match verify(left, None) {
        Ok(report) => assert_eq!((now.as_slice(), told["last"]["seq"].as_u64()), (left, Some(report.records))),
        Err(broken) => match broken.what {
            BrokenKind::Torn { .. } | BrokenKind::Empty => {
                let (whole, rest) = left.split_at(usize::try_from(broken.offset).expect("an offset"));
                assert_eq!((now.as_slice(), torn.as_deref()), (whole, Some(rest)));
                assert_eq!(told["torn"]["sha256"].as_str(), Some(Digest::of(rest).to_string().as_str()));
            }
            _ => {
                assert_eq!((now.as_slice(), torn), (left, None), "{broken}");
                assert_eq!(told["broken"].as_u64(), Some(broken.record));
            }
        },
    }
    let _ = fs::remove_dir_all(&directory);
});
