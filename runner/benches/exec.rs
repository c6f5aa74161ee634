//! What running a command costs, beside a raw bash on pipes: `cargo bench -p palisade-runner --bench exec`.

#![expect(clippy::expect_used, clippy::panic, reason = "a bench that cannot be set up has no figures")]

mod support;

use std::process::Command;

use divan::Bencher;
use palisade_audit::Sync;

use crate::support::{Bench, RawBash};

fn main() {
    divan::main();
}

#[divan::bench(args = [":", "/bin/true"])]
fn raw_bash_pipe(bencher: Bencher<'_, '_>, command: &str) {
    let mut bash = RawBash::start();
    bencher.bench_local(|| bash.run(command));
}

#[divan::bench(args = [":", "/bin/true"])]
fn palisade_session(bencher: Bencher<'_, '_>, command: &str) {
    let bench = Bench::start(Sync::None);
    let session = bench.open();
    bencher.bench_local(|| bench.run(command, Some(&session)));
}

#[divan::bench(args = [":"])]
fn palisade_session_durable(bencher: Bencher<'_, '_>, command: &str) {
    let bench = Bench::start(Sync::Group);
    let session = bench.open();
    bencher.bench_local(|| bench.run(command, Some(&session)));
}

#[divan::bench]
fn raw_bash_spawn(bencher: Bencher<'_, '_>) {
    bencher.bench_local(|| {
        let status = Command::new("bash").args(["--norc", "--noprofile", "-c", ":"]).status();
        assert!(status.is_ok_and(|status| status.success()));
    });
}

#[divan::bench(sample_count = 50)]
fn palisade_fresh(bencher: Bencher<'_, '_>) {
    let bench = Bench::start(Sync::None);
    bencher.bench_local(|| bench.run(":", None));
}
