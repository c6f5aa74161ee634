//! Whether following keeps up: how long after it was handed in a record is seen, at 1,000 a second over four chains, and how fast
//! a record is read that is there. `cargo bench -p palisade-audit --bench follow`.

#![expect(clippy::expect_used, clippy::print_stdout, reason = "figures are printed, or there are none")]

#[path = "support/decision.rs"]
mod decision;

use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use palisade_audit::{Audit, AuditSettings, DecisionInput, Digest, Followed, Follower, From, Start, Sync, Term};
use palisade_redact::Redactor;

use crate::decision::decision;

/// Servers that write at the same time.
const CHAINS: u32 = 4;

fn main() {
    // `cargo test` runs benches, too, to see that they still work.
    let quick = !std::env::args().any(|argument| argument == "--bench");
    let (seconds, all) = if quick { (1, 400) } else { (30, 100_000) };
    let redactor = Redactor::builtin().expect("the rules");
    for rate in [1_000, 4_000] {
        let rate = if quick { 100 } else { rate };
        let home = tempfile::tempdir().expect("a directory");
        live(home.path(), &redactor, rate, seconds);
    }
    let home = tempfile::tempdir().expect("a directory");
    behind(home.path(), &redactor, all);
}

/// Appends at a steady rate while somebody follows, and prints how late each record was seen.
fn live(home: &Path, redactor: &Redactor, rate: u32, seconds: u32) {
    let mut follower = Follower::open(home, From::Now).expect("a follower");
    let (sender, sent) = channel();
    let each = rate * seconds / CHAINS;
    let writers: Vec<_> = (0..CHAINS)
        .map(|chain| {
            let (audit, redactor, sender) = (open(home), redactor.clone(), sender.clone());
            thread::spawn(move || write(&audit, &redactor, &sender, chain, each, f64::from(rate / CHAINS)))
        })
        .collect();
    let mut lags = Vec::new();
    let mut begun: std::collections::HashMap<Box<str>, Instant> = std::collections::HashMap::new();
    let mut most_behind = 0;
    while lags.len() < usize::try_from(each * CHAINS).expect("a number") {
        let found = follower.news().expect("readable");
        if found.is_empty() {
            follower.wait(Duration::from_millis(100));
            continue;
        }
        let now = Instant::now();
        begun.extend(sent.try_iter());
        let seen = found
            .iter()
            .filter_map(|one| if let Followed::Record(seen) = one { seen.record.cmd.as_deref() } else { None });
        lags.extend(seen.map(|script| now - begun.remove(script).expect("it was written")));
        most_behind = most_behind.max(begun.len());
    }
    writers.into_iter().for_each(|writer| writer.join().expect("a writer"));
    lags.sort();
    let at = |part: usize| lags.get((lags.len() * part / 1000).min(lags.len() - 1)).copied().unwrap_or_default();
    println!(
        "{rate:>6} records/s over {CHAINS} chains for {seconds} s: seen after {:.1?} (median), {:.1?} (99 %), {:.1?} (slowest); at most {most_behind} behind",
        at(500),
        at(990),
        at(1000)
    );
}

fn write(audit: &Audit, redactor: &Redactor, sent: &Sender<(Box<str>, Instant)>, chain: u32, count: u32, rate: f64) {
    let begun = Instant::now();
    for number in 0..count {
        let due = begun + Duration::from_secs_f64(f64::from(number) / rate);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let script = format!("cargo build --workspace && echo {chain} {number}");
        sent.send((script.as_str().into(), Instant::now())).expect("somebody counts");
        audit.append_blocking(decision(audit, redactor, &script, not_asked())).expect("on record");
    }
}

/// Reads a record that is there already.
fn behind(home: &Path, redactor: &Redactor, count: u32) {
    let audit = open(home);
    for number in 0..count {
        audit.append_blocking(decision(&audit, redactor, &format!("echo {number}"), not_asked())).expect("on record");
    }
    let begun = Instant::now();
    let mut follower = Follower::open(home, From::Last(usize::MAX)).expect("a follower");
    let mut records = 0;
    loop {
        let found = follower.news().expect("readable").len();
        if found == 0 {
            break;
        }
        records += found;
    }
    println!("{records} records that are there: {:.0} records/s", records as f64 / begun.elapsed().as_secs_f64());
}

fn open(home: &Path) -> Audit {
    let start = Start::new("0.1.0", Term::new("serve"), Digest::of(b"policies"), Digest::of(b"schema"));
    // The disk's own time is not the follower's: a line is read once the kernel has it.
    Audit::open(&AuditSettings::new(home.to_owned(), Sync::None), start).expect("a chain")
}

fn not_asked() -> DecisionInput {
    DecisionInput::NotAsked(Term::new("too-many"))
}
