//! Latency, throughput and memory of sessions, beside a raw bash on pipes in the same process:
//! `cargo bench -p palisade-runner --bench sessions [-- PART…]`. Medians, and in brackets the fastest.
//!
//! Its own clock and not a harness's: most figures are about many sessions at once, or about memory.

#![expect(clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "figures are printed, or there are none")]

#[path = "support/memory.rs"]
mod memory;
#[path = "support/stopwatch.rs"]
mod stopwatch;
mod support;

use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use palisade_audit::{Audit, Digest, Start, Sync, Term};
use palisade_engine::Verdict;
use palisade_runner::facts::Occasion;
use palisade_runner::guard::Desk;
use palisade_runner::policies::real_roots;
use palisade_runner::session::{Session, ShellSnapshot};
use palisade_runner::session_directory::SessionDirectory;
use palisade_runner::shell::progress::Progress;
use palisade_runner::shell::{End, SessionId, Terms};
use palisade_runner::transport::local::LaunchSpec;
use palisade_runner::{Call, Outcome, Settings, Status, Stop};
use palisade_sandbox::plan;

use crate::memory::{memory, reset_peak};
use crate::stopwatch::{median, shown, timed};
use crate::support::{Bench, RawBash, settings};

/// A group of figures, by name, that runs as many rounds as its argument divides them by.
type Part = (&'static str, fn(usize));

fn main() {
    // `cargo test` runs benches, too, to see that they still work.
    let quick = !std::env::args().any(|argument| argument == "--bench");
    let scale = if quick { 100 } else { 1 };
    let parts: [Part; 7] = [
        ("commands", commands),
        ("opening", opening),
        ("many", many_at_once),
        ("output", output),
        ("long", long_command),
        ("idle", idle_memory),
        ("masks", masks),
    ];
    let named: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    for (_, part) in parts.iter().filter(|(name, _)| named.is_empty() || named.iter().any(|wanted| wanted == name)) {
        part(scale);
    }
}

/// One command after the other in an open session.
fn commands(scale: usize) {
    let bench = Bench::start(Sync::None);
    let (mut bash, session) = (RawBash::start(), bench.open());
    for (command, rounds) in [(":", 2000), ("echo hi", 2000), ("/bin/true", 500)] {
        let raw = timed(rounds / scale, || bash.run(command));
        let flow = flow(&bench, command, &session, rounds / scale);
        let alone = alone(&bench, command, rounds / scale);
        println!("{command}: raw bash {}, session alone {}, whole flow {}", shown(&raw), shown(&alone), shown(&flow));
    }
}

fn opening(scale: usize) {
    let bench = Bench::start(Sync::None);
    bench.open();
    let opened = timed(200 / scale, || {
        let session = bench.open();
        bench.runtime.block_on(bench.pipeline.sessions().close(&session)).expect("closed");
    });
    println!("open and close a session: {}", shown(&opened));
    let opened = timed(200 / scale, || drop(bench.open()));
    println!("open a session: {}", shown(&opened));
}

/// Looks without a pause at one file after the other until it cannot be read, and says when that was, in nanoseconds.
const WATCHER: &str = r#"
import os, time
open('ready', 'w')
for number in range(int(open('rounds').read())):
    name = f'd/{number}/.env'
    while True:
        try: os.close(os.open(name, os.O_RDONLY))
        except FileNotFoundError: pass
        except PermissionError: break
    print(time.clock_gettime_ns(time.CLOCK_MONOTONIC))
"#;

/// How long a session can read a secret that a person puts into its workspace: a new file, and one that an editor puts in its place.
fn masks(scale: usize) {
    let bench = Bench::start(Sync::None);
    let session = bench.open();
    let work = bench.root.path().join("work");
    let (new, saved) = (200 / scale, 200 / scale);
    std::fs::write(work.join("watch.py"), WATCHER).expect("written");
    std::fs::write(work.join("rounds"), (new + saved).to_string()).expect("written");
    for number in 0..new + saved {
        std::fs::create_dir_all(work.join(format!("d/{number}"))).expect("a directory");
    }
    // The watch begins a little after a session does.
    bench.run("sleep 0.2", Some(&session));
    let outside = std::thread::spawn(move || {
        while !work.join("ready").exists() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let put = |number: usize| {
            std::thread::sleep(Duration::from_millis(10));
            let place = work.join(format!("d/{number}/.env"));
            if number < new {
                let before = monotonic();
                std::fs::write(place, "TOP").expect("written");
                return before;
            }
            let beside = place.with_file_name("saving");
            std::fs::write(&beside, "TOP").expect("written");
            let before = monotonic();
            std::fs::rename(beside, place).expect("renamed");
            before
        };
        (0..new + saved).map(put).collect::<Vec<u64>>()
    });
    let call = Call { script: "/usr/bin/python3 watch.py".into(), session: Some(session), ..Call::default() };
    let seen = match bench.runtime.block_on(bench.pipeline.submit(call)).expect("an outcome") {
        Outcome::Ran(result) => result.stdout.as_str().lines().map(|line| line.parse().expect("a time")).collect(),
        other => panic!("it did not run: {other:?}"),
    };
    let (put, seen): (_, Vec<u64>) = (outside.join().expect("it did"), seen);
    assert_eq!(put.len(), seen.len());
    let mut delays: Vec<Duration> =
        put.iter().zip(&seen).map(|(put, seen)| Duration::from_nanos(seen.saturating_sub(*put))).collect();
    let (made, changed) = delays.split_at_mut(new);
    for (what, delays) in [("made", made), ("saved", changed)] {
        delays.sort();
        let longest = delays.last().copied().unwrap_or_default();
        println!("until a secret that is {what} is covered: {}, longest {longest:.1?}", shown(delays));
    }
}

fn monotonic() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(time.tv_sec).unwrap_or_default() * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or_default()
}

/// `echo` in 32 sessions side by side.
fn many_at_once(scale: usize) {
    let bench = Bench::start(Sync::None);
    let sessions: Vec<String> = (0..32).map(|_| bench.open()).collect();
    let each = 200 / scale;
    let started = Instant::now();
    bench.runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for session in sessions {
            let pipeline = Arc::clone(&bench.pipeline);
            tasks.spawn(async move {
                for round in 0..each {
                    let script = format!("echo {round}").into_bytes();
                    let call = Call { script, session: Some(session.clone()), ..Call::default() };
                    match pipeline.submit(call).await.expect("an outcome") {
                        Outcome::Ran(result) => assert_eq!(result.stdout.as_str(), format!("{round}\n")),
                        other => panic!("it did not run: {other:?}"),
                    }
                }
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended.expect("no panic");
        }
    });
    println!("echo over 32 sessions: {:.0}/s", (32 * each) as f64 / started.elapsed().as_secs_f64());
}

/// 100 MB on standard output, of which a quarter of a MiB is kept.
fn output(scale: usize) {
    let bench = Bench::start(Sync::None);
    let session = bench.open();
    let size = 100_000_000 / scale;
    let line = "2026-01-01T00:00:00Z INFO request served path=/index.html status=200 bytes=51234 ms=12\n";
    let file = bench.root.path().join("work/log");
    std::fs::write(&file, line.repeat(size / line.len())).expect("written");
    let command = format!("cat {}", file.display());
    let raw = timed(3, || copies(&command));
    // What is loaded with the first command is not what output costs.
    bench.run("cat /dev/null", Some(&session));
    reset_peak();
    let before = memory("VmRSS:");
    let flow = timed(3, || bench.run(&command, Some(&session)));
    let peak = memory("VmHWM:").saturating_sub(before);
    let rate = |times: &[Duration]| size as f64 / 1e6 / median(times).as_secs_f64();
    println!(
        "{} MB of output: raw bash {:.0} MB/s, whole flow {:.0} MB/s, {peak} KiB more at its peak",
        size / 1_000_000,
        rate(&raw),
        rate(&flow)
    );
}

/// A command of 64 KB, the longest that there is.
fn long_command(scale: usize) {
    let bench = Bench::start(Sync::None);
    let (mut bash, session) = (RawBash::start(), bench.open());
    let command = format!(": {}", "word ".repeat(12_900));
    assert!(command.len() < 64 << 10);
    let raw = timed(50 / scale.min(50), || bash.run(&command));
    let alone = alone(&bench, &command, 50 / scale.min(50));
    let flow = flow(&bench, &command, &session, 50 / scale.min(50));
    println!(
        "a command of {} bytes: raw bash {}, session alone {}, whole flow {}",
        command.len(),
        shown(&raw),
        shown(&alone),
        shown(&flow)
    );
}

/// What 1,000 open sessions cost the server, that have each run something.
fn idle_memory(scale: usize) {
    let bench = Bench::start(Sync::None);
    let count = 1000 / scale;
    let warm = bench.open();
    bench.run("echo hi", Some(&warm));
    let before = memory("VmRSS:");
    let threads = memory("Threads:");
    let started = Instant::now();
    let sessions: Vec<String> = (0..count).map(|_| bench.open()).collect();
    let opened = started.elapsed();
    for session in &sessions {
        bench.run("x=1; echo hi", Some(session));
    }
    let each = memory("VmRSS:").saturating_sub(before) as f64 / count as f64;
    let more = memory("Threads:").saturating_sub(threads);
    println!("{count} sessions: opened in {opened:.1?}, {each:.1} KiB of the server each, {more} threads more");
    let all = async {
        let mut tasks = tokio::task::JoinSet::new();
        for session in sessions {
            let pipeline = Arc::clone(&bench.pipeline);
            let call = Call { script: b"/bin/true".to_vec(), session: Some(session), ..Call::default() };
            tasks.spawn(async move {
                match pipeline.submit(call).await.expect("an outcome") {
                    Outcome::Ran(result) => assert_eq!(result.status, Status::Done),
                    other => panic!("it did not run: {other:?}"),
                }
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended.expect("no panic");
        }
    };
    let started = Instant::now();
    bench.runtime.block_on(all);
    println!("/bin/true in all of them at once: {:.2?}", started.elapsed());
}

/// A bash that writes to a pipe, which is read and thrown away.
fn copies(command: &str) {
    let mut bash = Command::new("bash");
    bash.args(["--norc", "--noprofile", "-c", command]).stdout(Stdio::piped());
    let mut child = bash.spawn().expect("bash");
    let mut output = child.stdout.take().expect("a pipe");
    let mut buffer = vec![0; 64 * 1024];
    while output.read(&mut buffer).expect("read") > 0 {}
    child.wait().expect("it ends");
}

/// How long a command takes in an open session from the call to its result, judged and recorded.
fn flow(bench: &Bench, command: &str, session: &str, rounds: usize) -> Vec<Duration> {
    let (pipeline, command, session) = (Arc::clone(&bench.pipeline), command.to_owned(), session.to_owned());
    let task = bench.runtime.spawn(async move {
        let mut times = Vec::new();
        for _ in 0..rounds.max(1) {
            let started = Instant::now();
            let call = Call { script: command.clone().into(), session: Some(session.clone()), ..Call::default() };
            let Outcome::Ran(result) = pipeline.submit(call).await.expect("an outcome") else {
                panic!("it did not run")
            };
            times.push(started.elapsed());
            assert_eq!(result.exit_code, Some(0));
        }
        times.sort();
        times
    });
    bench.runtime.block_on(task).expect("no panic")
}

/// How long a command takes from its grant to its end, in a session by itself: nothing is judged in that time, or recorded.
fn alone(bench: &Bench, command: &str, rounds: usize) -> Vec<Duration> {
    let settings = settings(bench.root.path(), Sync::None);
    let command = command.to_owned();
    // In a task, as a server runs them.
    let task = bench.runtime.spawn(async move {
        let (mut session, occasion) = by_itself(&settings).await;
        let mut times = Vec::new();
        for _ in 0..rounds.max(1) {
            let engine = settings.engine.now();
            let inventory = palisade_grammar::inventory_in(command.as_bytes(), session.left());
            let facts = settings.surroundings.gather(&occasion, &inventory, &engine);
            let Verdict::Allow(grant) = engine.decide(inventory, &facts) else { panic!("it is not allowed") };
            let started = Instant::now();
            let terms = Terms {
                directory: None,
                timeout: Duration::from_secs(60),
                due: None,
                grace: None,
                progress: Arc::new(Progress::new(settings.budget.keep_bytes)),
                live: None,
                stop: Stop::default(),
                input: None,
                orders: None,
                colours: false,
                stays: None,
                ends: false,
            };
            let ended = session.run(grant, &settings.redactor, terms).await.expect("it ran");
            times.push(started.elapsed());
            assert_eq!(ended.end, End::Status(0));
        }
        session.close().await;
        times.sort();
        times
    });
    bench.runtime.block_on(task).expect("no panic")
}

async fn by_itself(settings: &Settings) -> (Session, Occasion) {
    let id = SessionId::new().expect("a name");
    let directory = SessionDirectory::new().expect("a directory");
    let engine = settings.engine.now();
    let promise = plan::local(&engine, &settings.accept, settings.level);
    let occasion = Occasion::local(id.as_str(), settings.cwd.clone(), Some(directory.temp().clone()), promise);
    let facts = settings.surroundings.facts(&occasion);
    let plan = plan::derive(&engine, &facts, &real_roots(&engine), settings.level, settings.limits).expect("a plan");
    let environment = settings.environment.clone();
    let start = Start::new("bench", Term::new("bench"), Digest::ZERO, Digest::ZERO);
    let audit = Audit::open(&settings.audit, start).expect("a record");
    let guard = Desk::new(settings.for_guard(), audit, &facts, &environment, &directory, None);
    let spec = LaunchSpec {
        plan,
        environment,
        cwd: settings.cwd.clone(),
        directory,
        guard: Some(guard),
        names: None,
        gate: None,
        terminal: None,
    };
    (Session::open(id, spec, ShellSnapshot::default(), 0).await.expect("a session"), occasion)
}
