//! What ordinary work costs in a session, in processor time: `cargo bench -p palisade-sandbox --bench workloads`.
//!
//! Time on the clock says little on a machine that does other things as well. Here is counted what the processors spent, on the
//! programs and on this process, whose guard answers for each `execve`; the session's making and end included. The judge always says
//! yes, so that what policy takes is not in it. Each row is tried bare and in a session by turns, some times in a row, for the kernel tells
//! the time of children to the hundredth of a second. Of the averages the least and the median are shown, and the ratio of the least: as
//! they are, and without what the first row has more in a session, which is the session's making and end.

#![expect(clippy::expect_used, clippy::print_stdout, reason = "a bench that cannot be set up has no figures")]

#[path = "support/judge.rs"]
mod judge;

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use palisade_sandbox::plan::{Level, Limits, PathRule, Rights, SandboxPlan};
use palisade_sandbox::{Launch, prepare, probe, spawn};
use rustix::time::{ClockId, clock_gettime};

use crate::judge::Yes;

/// A name, how often it is tried in a row, and a script for bash.
const ROWS: [(&str, u32, &str); 5] = [
    ("a shell that runs /bin/true", 100, "/bin/true; exit"),
    ("200 times /usr/bin/true", 2, "for ((i = 0; i < 200; i++)); do /usr/bin/true; done"),
    ("git status, 2,000 files", 40, "git -C repository status --short; exit"),
    ("find /usr", 2, "find /usr -newer /etc/passwd; exit 0"),
    ("make of 50 files", 1, "rm -f project/*.o; make -s -C project; exit"),
];

const TURNS: usize = 7;

fn main() {
    probe();
    let place = tempfile::tempdir_in("/var/tmp").expect("a directory");
    set_up(place.path());
    println!("{:30} {:>22} {:>22} {:>7} {:>9}", "least (median)", "bare", "in a session", "ratio", "of itself");
    let mut making = None;
    for (name, tries, script) in ROWS {
        let (mut bare, mut held) = (Vec::new(), Vec::new());
        for _ in 0..TURNS {
            bare.push(spent(tries, || run_bare(place.path(), script)));
            held.push(spent(tries, || run_held(place.path(), script)));
        }
        let (bare, held) = (Figures::of(bare), Figures::of(held));
        let making = *making.get_or_insert(held.least.saturating_sub(bare.least));
        let ratio = |held: Duration| held.as_secs_f64() / bare.least.as_secs_f64();
        let (whole, itself) = (ratio(held.least), ratio(held.least.saturating_sub(making)));
        println!("{name:30} {:>22} {:>22} {whole:>7.2} {itself:>9.2}", bare.shown(), held.shown());
    }
}

struct Figures {
    least: Duration,
    median: Duration,
}

impl Figures {
    fn of(mut all: Vec<Duration>) -> Self {
        all.sort_unstable();
        let at = |index: usize| all.get(index).copied().unwrap_or_default();
        Self { least: at(0), median: at(all.len() / 2) }
    }

    fn shown(&self) -> String {
        let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
        format!("{:.2} ({:.2}) ms", milliseconds(self.least), milliseconds(self.median))
    }
}

/// Processor time for one of so many tries.
fn spent(tries: u32, work: impl Fn()) -> Duration {
    let before = now();
    (0..tries).for_each(|_| work());
    now().saturating_sub(before) / tries
}

/// Of this process's threads, and of all children that have been waited for, theirs included.
fn now() -> Duration {
    let own = clock_gettime(ClockId::ProcessCPUTime);
    let own = Duration::new(own.tv_sec.unsigned_abs(), u32::try_from(own.tv_nsec).unwrap_or(0));
    let stat = fs::read_to_string("/proc/self/stat").expect("/proc");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |field: usize| fields.get(field).and_then(|field| field.parse::<u64>().ok()).expect("a number");
    // Fields 16 and 17 of proc_pid_stat(5), of which the first two are cut off.
    own + Duration::from_millis((ticks(13) + ticks(14)) * 1000 / rustix::param::clock_ticks_per_second())
}

const ENVIRONMENT: [(&str, &str); 4] = [
    ("PATH", "/usr/bin:/bin"),
    ("LC_ALL", "C.UTF-8"),
    ("GIT_CONFIG_GLOBAL", "/dev/null"),
    ("GIT_CONFIG_NOSYSTEM", "1"),
];

fn run_bare(place: &Path, script: &str) {
    let mut bare = Command::new("/usr/bin/bash");
    bare.args(["-c", script]).current_dir(place).env_clear().envs(ENVIRONMENT).stdin(Stdio::null());
    let ended = bare.stdout(Stdio::null()).stderr(Stdio::null()).status().expect("bash");
    assert!(ended.success(), "{script}: {ended}");
}

fn run_held(place: &Path, script: &str) {
    let null = || File::options().read(true).write(true).open("/dev/null").expect("the null device").into();
    let launch = Launch {
        program: "/usr/bin/bash".into(),
        argv: ["bash", "-c", script].map(Into::into).into(),
        env: ENVIRONMENT.map(|(name, value)| (name.into(), value.into())).into(),
        cwd: place.to_owned(),
        stdin: null(),
        stdout: null(),
        stderr: null(),
        extra: Vec::new(),
        controlling_terminal: None,
    };
    let prepared = prepare(&plan(place), launch).expect("prepared").guarded_by(Box::new(Yes)).expect("guarded");
    let process = spawn(prepared).expect("started");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
    let ended = runtime.block_on(process.wait()).expect("reaped");
    assert_eq!(format!("{ended:?}"), "Exited(0)", "{script}");
}

fn plan(place: &Path) -> SandboxPlan {
    let rule = |path: &Path, rights| PathRule { path: path.into(), rights, optional: true };
    let run = Rights::READ | Rights::EXECUTE;
    let mut rules: Vec<_> = ["/etc/ld.so.cache", "/etc/passwd", "/etc/group", "/proc"]
        .map(|path| rule(Path::new(path), Rights::READ))
        .into();
    rules.extend(["/usr", "/bin", "/lib", "/lib64"].map(|path| rule(Path::new(path), run)));
    rules.extend(["/dev/null", "/dev/zero"].map(|path| rule(Path::new(path), Rights::READ | Rights::WRITE)));
    rules.push(rule(place, run | Rights::MOVE));
    rules.retain(|rule| !rule.path.is_symlink());
    let (masks, stand_ins, limits) = (Vec::new(), None, Limits::default());
    SandboxPlan {
        rules,
        masks,
        instead: None,
        blank: Vec::new(),
        stand_ins,
        written: Vec::new(),
        searched: true,
        scratch: Rights::NONE,
        loopback: false,
        network: false,
        limits,
        level: Level::Default,
    }
}

/// A repository of 2,000 files and a project of 50.
fn set_up(place: &Path) {
    let repository = place.join("repository");
    for index in 0..2000 {
        let directory = repository.join(format!("d{}", index / 50));
        fs::create_dir_all(&directory).expect("a directory");
        fs::write(directory.join(format!("f{index}")), format!("{index}\n")).expect("a file");
    }
    run_bare(
        place,
        "cd repository && git init -q && git add . && git -c user.name=a -c user.email=a@b commit -qm first",
    );
    let project = place.join("project");
    fs::create_dir(&project).expect("a directory");
    for index in 0..50 {
        let text = format!("#include <stdio.h>\nint f{index}(int x) {{ return printf(\"%d\", x + {index}); }}\n");
        fs::write(project.join(format!("f{index}.c")), text).expect("a file");
    }
    let makefile = "all: $(patsubst %.c,%.o,$(wildcard *.c))\n%.o: %.c\n\tgcc -O1 -c -o $@ $<\n";
    fs::write(project.join("Makefile"), makefile).expect("a file");
}
