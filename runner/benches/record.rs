//! What the record costs: one record without and with the disk's own time beside it, signing, and verifying.
//! `cargo bench -p palisade-runner --bench record`. Medians, and in brackets the fastest.

#![expect(clippy::expect_used, clippy::print_stdout, reason = "figures are printed, or there are none")]

#[path = "support/timed.rs"]
mod timed;

use std::fs::File;
use std::io::{BufReader, Write as _};
use std::path::Path;
use std::time::Instant;

use palisade_runner::audit::{
    Audit, Command, Decided, Decision, Digest, Effect, Expected, Id, Sandbox, Settings, Start, Sync, Term, Transport,
    Who, public_key, verify,
};
use palisade_runner::redact::Redactor;

use crate::timed::{shown, timed};

fn main() {
    // `cargo test` runs benches, too, to see that they still work.
    let quick = !std::env::args().any(|argument| argument == "--bench");
    let scale = if quick { 1000 } else { 1 };
    let (memory, disk) = (tempfile::tempdir_in("/dev/shm"), tempfile::tempdir());
    let (memory, disk) = (memory.expect("a directory in memory"), disk.expect("a directory"));
    let redactor = Redactor::builtin().expect("the rules");

    let audit = begin(memory.path(), Sync::None);
    let decided = decision(&audit, &redactor);
    let one = timed(20_000 / scale, || audit.append_blocking(decided.clone()));
    println!("one record, no disk: {}", shown(&one));

    let audit_on_disk = begin(disk.path(), Sync::Group);
    let bytes = std::fs::metadata(audit.path()).expect("the record").len() / (20_000 / scale as u64).max(1);
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

fn begin(directory: &Path, sync: Sync) -> Audit {
    let start = Start::new("bench", Term::new("bench"), Digest::ZERO, Digest::ZERO);
    Audit::open(&Settings::new(directory.to_owned(), sync), start).expect("a record")
}

/// A decision of the usual size.
fn decision(audit: &Audit, redactor: &Redactor) -> Decided {
    let text = |text: &str| redactor.text(text);
    Decided {
        req: audit.request(),
        session: Id::new("s-5f3a9c01"),
        shell: None,
        who: Who {
            agent: text("build-agent"),
            user: text("alice"),
            roles: vec![text("developer")],
            verified: true,
            auth: Term::new("os-user"),
        },
        transport: Transport { kind: Term::new("local"), target: None },
        cwd: text("/srv/app"),
        reason: None,
        command: Command::shown(text("cargo build --workspace && git status --short")),
        inv: vec![text("cargo"), text("git")],
        opaque: vec![],
        decision: Decision { effect: Effect::Allow, determining: vec![text("dev-toolchain")], errors: vec![], us: 85 },
        policy_set: Digest::of(b"policies"),
        schema: Digest::of(b"schema"),
        sandbox: Sandbox {
            level: Term::new("default"),
            landlock_abi: Some(6),
            layers: ["landlock", "seccomp", "no-new-privs", "no-capabilities"].map(Term::new).to_vec(),
            degraded: vec![],
        },
    }
}
