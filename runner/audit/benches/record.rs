//! What the record costs: one record without and with the disk's own time beside it, signing, and verifying.
//! `cargo bench -p palisade-audit --bench record`. Medians, and in brackets the fastest.

#![expect(clippy::expect_used, clippy::print_stdout, reason = "figures are printed, or there are none")]

#[path = "support/decision.rs"]
mod decision;
#[path = "../../benches/support/stopwatch.rs"]
mod stopwatch;

use std::fs::File;
use std::io::{BufReader, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use palisade_audit::{
    Audit, AuditSettings, Decided, DecisionInput, Digest, Expected, Start, Sync, Term, public_key, verify,
};
use palisade_engine::{AbsolutePath, Bundle, Clock, Engine, Facts, Principal, Session, Vocabulary};
use palisade_redact::{Redacted, Redactor};

use crate::decision::decision;
use crate::stopwatch::{shown, timed};

fn main() {
    // `cargo test` runs benches, too, to see that they still work.
    let quick = !std::env::args().any(|argument| argument == "--bench");
    let scale = if quick { 1000 } else { 1 };
    let (memory, disk) = (tempfile::tempdir_in("/dev/shm"), tempfile::tempdir());
    let (memory, disk) = (memory.expect("a directory in memory"), disk.expect("a directory"));
    let redactor = Redactor::builtin().expect("the rules");

    let audit = begin(memory.path(), Sync::None);
    let decided = decision(&audit, &redactor, SCRIPT, redacted(&questions(), &redactor));
    let one = timed(20_000 / scale, || audit.append_blocking(decided.clone()));
    println!("one record, no disk: {}", shown(&one));

    let runtime = tokio::runtime::Builder::new_multi_thread().build().expect("a runtime");
    let mut one = runtime.block_on(async {
        let (audit, decided) = (audit.clone(), decided.clone());
        tokio::spawn(async move { from_a_task(&audit, &decided, 20_000 / scale).await }).await.expect("a task")
    });
    one.sort();
    println!("one record of a task, no disk: {}", shown(&one));

    let asked = questions();
    let one = timed(20_000 / scale, || redacted(&asked, &redactor));
    let bytes = |asked: &DecisionInput| serde_json::to_string(asked).expect("JSON").len();
    println!("what was asked, redacted: {}, {} bytes", shown(&one), bytes(&redacted(&asked, &redactor)));

    let started = Instant::now();
    let writers = 8;
    let each = 2_000 / scale.min(100) as u64;
    let many = begin(disk.path(), Sync::Group);
    std::thread::scope(|scope| {
        for _ in 0..writers {
            scope.spawn(|| {
                (0..each).for_each(|_| {
                    let _anchor = many.append_blocking(decided.clone()).expect("on record");
                })
            });
        }
    });
    let rate = (writers * each) as f64 / started.elapsed().as_secs_f64();
    println!("{writers} at once, on disk by group commit: {rate:.0} a second");

    let audit_on_disk = begin(disk.path(), Sync::Group);
    let bytes = std::fs::metadata(audit.path()).expect("the record").len() / audit.head().seq;
    let line = vec![b'x'; usize::try_from(bytes).expect("a line")];
    let mut plain = File::create(disk.path().join("plain")).expect("a file");
    let sync = timed(500 / scale.min(100), || {
        plain.write_all(&line).expect("written");
        plain.sync_data().expect("synced");
    });
    let one = timed(500 / scale.min(100), || audit_on_disk.append_blocking(decided.clone()));
    println!("one record on disk: {}, a write and fdatasync of its {bytes} bytes alone {}", shown(&one), shown(&sync));

    let key = public_key(memory.path()).expect("the key");
    let expected = Expected { anchors: vec![], keys: vec![key] };
    let started = Instant::now();
    let report = verify(BufReader::with_capacity(1 << 20, File::open(audit.path()).expect("the record")), expected);
    let records = report.expect("it holds").records;
    println!("verify: {records} records, {:.0} a second", records as f64 / started.elapsed().as_secs_f64());
}

/// The same as a call of the server does it.
async fn from_a_task(audit: &Audit, decided: &Decided, rounds: usize) -> Vec<Duration> {
    let mut times = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let started = Instant::now();
        let _anchor = audit.append(decided.clone()).await.expect("on record");
        times.push(started.elapsed());
    }
    times
}

fn begin(directory: &Path, sync: Sync) -> Audit {
    let start = Start::new("bench", Term::new("bench"), Digest::ZERO, Digest::ZERO);
    Audit::open(&AuditSettings::new(directory.to_owned(), sync), start).expect("a record")
}

const SCRIPT: &str = "cargo build --workspace && git status --short";

/// What a script of the usual size asks.
fn questions() -> palisade_engine::ReplayInput<String> {
    let path = |text: &str| AbsolutePath::new(text).expect("a path");
    let principal = Principal::os_user("build-agent", "alice", ["developer".to_owned()].into());
    let clock = Clock { now: "2026-11-21T12:00:00.000Z".to_owned(), time_of_day_ms: 43_200_000, weekday: 5 };
    let facts = Facts::new(principal, path("/srv/app"), Session::opened("s-5f3a9c01"), clock);
    let (file, groups) = palisade_policies::GROUPS;
    let vocabulary = Vocabulary::parse(file, groups, &path("/home/u")).expect("the groups");
    let engine = Engine::new(Bundle::profile("developer").expect("the profile"), vocabulary);
    let verdict = engine.decide(palisade_grammar::inventory(SCRIPT.as_bytes()), &facts);
    verdict.report().asked.as_deref().expect("what was asked").clone()
}

fn redacted(asked: &palisade_engine::ReplayInput<String>, redactor: &Redactor) -> DecisionInput {
    let mut make = |text: &String| -> Result<Redacted, Redacted> { Ok(redactor.text(text)) };
    DecisionInput::Asked(Box::new(asked.map(&mut make)))
}
