//! What a session's fences cost to put up and its processes to look at: `cargo bench -p palisade-sandbox --bench sandbox`.
//!
//! The figures are for a server that is as large as `RESIDENT` says, since the kernel copies its page tables for each session.

#![expect(clippy::expect_used, reason = "a bench that cannot be set up has no figures")]

#[path = "support/judge.rs"]
mod judge;

use std::fs::File;
use std::path::Path;

use divan::Bencher;
use palisade_sandbox::plan::{Level, Limits, PathRule, Rights, SandboxPlan};
use palisade_sandbox::{Launch, Process, prepare, probe, spawn};

use crate::judge::Yes;

fn main() {
    let resident: Vec<u8> = vec![1; RESIDENT];
    probe();
    divan::main();
    drop(divan::black_box(resident));
}

/// Memory of this process, in bytes, about as much as a server with policies uses.
const RESIDENT: usize = 64 << 20;

fn plan() -> SandboxPlan {
    let rule = |path: &str, rights| PathRule { path: path.into(), rights, optional: true };
    let read =
        ["/etc/ld.so.cache", "/etc/passwd", "/etc/group", "/etc/hosts", "/etc/ssl", "/etc/alternatives", "/proc"];
    let run = ["/usr", "/opt"];
    let write = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/tmp"];
    let rules = read.map(|path| rule(path, Rights::READ)).into_iter();
    let rules = rules.chain(run.map(|path| rule(path, Rights::READ | Rights::EXECUTE)));
    let rules = rules.chain(write.map(|path| rule(path, Rights::READ | Rights::WRITE)));
    SandboxPlan {
        rules: rules.filter(|rule| !Path::new(&rule.path).is_symlink()).collect(),
        masks: Vec::new(),
        instead: None,
        blank: Vec::new(),
        stand_ins: None,
        written: Vec::new(),
        searched: true,
        scratch: Rights::NONE,
        loopback: false,
        network: false,
        limits: Limits::default(),
        level: Level::Default,
    }
}

fn launch() -> Launch {
    let null = || File::options().read(true).write(true).open("/dev/null").expect("the null device").into();
    Launch {
        program: "/usr/bin/sleep".into(),
        argv: ["sleep", "1000"].map(Into::into).into(),
        env: vec![("PATH".into(), "/usr/bin".into())],
        cwd: "/tmp".into(),
        stdin: null(),
        stdout: null(),
        stderr: null(),
        extra: Vec::new(),
        controlling_terminal: None,
    }
}

fn start() -> Process {
    spawn(prepare(&plan(), launch()).expect("prepared")).expect("started")
}

fn finish(process: &Process) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
    process.kill().expect("killed");
    runtime.block_on(process.wait()).expect("reaped");
}

#[divan::bench]
fn prepare_alone(bencher: Bencher<'_, '_>) {
    bencher.with_inputs(|| (plan(), launch())).bench_values(|(plan, launch)| prepare(&plan, launch).expect("prepared"));
}

#[divan::bench(sample_count = 200, sample_size = 1)]
fn prepare_and_spawn(bencher: Bencher<'_, '_>) {
    bencher
        .with_inputs(|| (plan(), launch()))
        .bench_local_values(|(plan, launch)| spawn(prepare(&plan, launch).expect("prepared")).expect("started"));
}

#[divan::bench(sample_count = 200, sample_size = 1)]
fn kill_and_wait(bencher: Bencher<'_, '_>) {
    bencher.with_inputs(start).bench_local_refs(|process| finish(process));
}

/// A shell that starts so many programs, one after the other: divide by it.
const PROGRAMS: u32 = 200;

fn programs() -> Launch {
    let script = format!("for ((i = 0; i < {PROGRAMS}; i++)); do /usr/bin/true; done");
    Launch { program: "/usr/bin/bash".into(), argv: ["bash", "-c", &script].map(Into::into).into(), ..launch() }
}

fn wait(process: &Process) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
    runtime.block_on(process.wait()).expect("reaped");
}

#[divan::bench(sample_count = 30, sample_size = 1)]
fn two_hundred_programs(bencher: Bencher<'_, '_>) {
    bencher.bench_local(|| wait(&spawn(prepare(&plan(), programs()).expect("prepared")).expect("started")));
}

#[divan::bench(sample_count = 30, sample_size = 1)]
fn two_hundred_programs_guarded(bencher: Bencher<'_, '_>) {
    bencher.bench_local(|| {
        let prepared = prepare(&plan(), programs()).expect("prepared").guarded_by(Box::new(Yes)).expect("guarded");
        wait(&spawn(prepared).expect("started"));
    });
}

#[divan::bench]
fn tree_of_a_program_alone(bencher: Bencher<'_, '_>) {
    let process = start();
    bencher.bench_local(|| process.tree().expect("a tree"));
    finish(&process);
}

#[divan::bench]
fn glance_at_a_program_alone(bencher: Bencher<'_, '_>) {
    let process = start();
    let glance = process.program_pid().and_then(|program| process.glance(program));
    bencher.bench_local(|| process.tree_by(glance.as_ref()).expect("a tree"));
    finish(&process);
}

#[divan::bench]
fn end_newer_of_nothing(bencher: Bencher<'_, '_>) {
    let process = start();
    let before = process.tree().expect("a tree");
    bencher.bench_local(|| assert!(process.end_newer(&before, None).expect("looked")));
    finish(&process);
}
