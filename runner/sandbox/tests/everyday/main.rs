//! Ordinary programs that have to work in a session: a name and a script for bash a line, which ends with status 0 inside as it
//! does outside.
//!
//! Only programs that the package list of `tests/run` installs or that every Debian has; a script that fails without the sandbox,
//! because something is not installed, counts for nothing, but most have to count.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use palisade_sandbox::plan::{Level, Limits, PathRule, Rights, SandboxPlan};
use palisade_sandbox::{Launch, prepare, spawn};

const PROGRAMS: &str = include_str!("programs.txt");

const TIMEOUT: Duration = Duration::from_secs(60);

#[test]
fn ordinary_programs_work() {
    let rows: Vec<(&str, &str)> = PROGRAMS.lines().map(|line| line.split_once(" | ").unwrap()).collect();
    assert!(rows.len() >= 60, "{}", rows.len());
    let (mut broken, mut missing) = (Vec::new(), Vec::new());
    for (name, script) in &rows {
        let inside = attempt(script, sandboxed);
        if inside.0 {
            continue;
        }
        let outside = attempt(script, bare);
        if outside.0 {
            broken.push(format!("{name}: {}", inside.1));
        } else {
            missing.push(format!("{name}: {}", outside.1));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    assert!(rows.len() - missing.len() >= 60, "{}", missing.join("\n"));
}

/// Whether it ended well, and what it printed.
fn attempt(script: &str, run: fn(&str, &Path) -> bool) -> (bool, String) {
    let root = tempfile::tempdir_in("/var/tmp").unwrap();
    for name in ["work", "tmp"] {
        fs::create_dir(root.path().join(name)).unwrap();
    }
    let well = run(&format!("set -e; {script}"), root.path());
    (well, String::from_utf8_lossy(&fs::read(root.path().join("output")).unwrap()).into_owned())
}

fn environment(root: &Path) -> Vec<(OsString, OsString)> {
    let rows: [(&str, PathBuf); 5] = [
        ("PATH", "/usr/bin:/usr/sbin:/bin:/sbin".into()),
        ("HOME", root.join("work")),
        ("TMPDIR", root.join("tmp")),
        ("LC_ALL", "C.UTF-8".into()),
        ("TERM", "dumb".into()),
    ];
    rows.into_iter().map(|(name, value)| (name.into(), value.into())).collect()
}

fn sandboxed(script: &str, root: &Path) -> bool {
    let output = File::create(root.join("output")).unwrap();
    let launch = Launch {
        program: "/usr/bin/bash".into(),
        argv: ["bash", "-c", script].map(OsString::from).into(),
        env: environment(root),
        cwd: root.join("work"),
        stdin: File::open("/dev/null").unwrap().into(),
        stdout: output.try_clone().unwrap().into(),
        stderr: output.into(),
        extra: Vec::new(),
        controlling_terminal: None,
    };
    let process = spawn(prepare(&plan(root), launch).unwrap()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let ended = tokio::time::timeout(TIMEOUT, process.wait()).await;
        process.kill().unwrap();
        matches!(ended, Ok(Ok(palisade_sandbox::Ending::Exited(0))))
    })
}

fn bare(script: &str, root: &Path) -> bool {
    let output = File::create(root.join("output")).unwrap();
    let mut command = Command::new("/usr/bin/timeout");
    command
        .args(["60", "/usr/bin/bash", "-c", script])
        .env_clear()
        .envs(environment(root))
        .current_dir(root.join("work"));
    command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output).status().unwrap().success()
}

/// As the shipped profiles have it: the installed system, the devices, and two directories that may be changed.
fn plan(root: &Path) -> SandboxPlan {
    let rule = |path: &Path, rights| PathRule { path: path.into(), rights, optional: true };
    let run = Rights::READ | Rights::EXECUTE;
    let mut rules = Vec::new();
    for path in ["/usr", "/lib", "/lib64", "/bin", "/sbin", "/opt", "/etc/alternatives"] {
        rules.push(rule(Path::new(path), run));
    }
    for path in [
        "/etc/ld.so.cache",
        "/etc/passwd",
        "/etc/group",
        "/etc/nsswitch.conf",
        "/etc/gitconfig",
        "/etc/localtime",
        "/proc",
        "/sys/devices/system/cpu",
    ] {
        rules.push(rule(Path::new(path), Rights::READ));
    }
    for path in
        ["/dev/null", "/dev/zero", "/dev/full", "/dev/urandom", "/dev/random", "/dev/tty", "/dev/ptmx", "/dev/pts"]
    {
        rules.push(rule(Path::new(path), Rights::READ | Rights::WRITE));
    }
    for name in ["work", "tmp"] {
        rules.push(rule(&root.join(name), run | Rights::MOVE));
    }
    rules.retain(|rule| !rule.path.is_symlink());
    SandboxPlan {
        rules,
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
