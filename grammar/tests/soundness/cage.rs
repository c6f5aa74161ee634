//! Runs scripts under real bash in a cage (`cage.sh`) and reads what they did.
//!
//! A machine that cannot, because it has no strace or no user namespaces, skips what needs the cage and says so;
//! with `PALISADE_REQUIRE=all`, or `soundness` in its list, that is a failure.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Write, stderr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::trace::Trace;

/// Where script number `n` of a batch starts.
fn start(index: usize) -> String {
    format!("/scene/{index}")
}

/// A script that ran, with what it did.
pub(crate) struct Ran {
    /// The directory it started in.
    pub(crate) cwd: String,
    /// What it did.
    pub(crate) trace: Trace,
}

impl Ran {
    /// There was such a directory when it started.
    pub(crate) fn has_directory(&self, path: &str) -> bool {
        let inside = path.strip_prefix(&self.cwd).map(|rest| rest.trim_start_matches('/'));
        inside.is_some_and(|inside| inside.is_empty() || DIRECTORIES.contains(&inside))
            || ["/", "/tmp", HOME].contains(&path)
    }
}

/// The directories that are below the one where a script starts.
const DIRECTORIES: [&str; 7] = ["a.d", "build", "d", "dir", "sp ace", "src", "sub"];

/// The home directory of all scripts.
pub(crate) const HOME: &str = "/home/user";

/// A machine's ability to run scripts that way.
#[derive(Clone, Copy)]
pub(crate) struct Cage {
    workers: usize,
    shell: &'static [&'static str],
}

/// How each shell is given a script; bash is what the others are compared with. Those have the function that a session has.
pub(crate) const BASH: &[&str] = &["/usr/bin/bash", "-c", "--", "SCRIPT"];
pub(crate) const DASH: &[&str] = &["/real/bin/dash", "-c", IN_SH, "sh", "SCRIPT"];
pub(crate) const ASH: &[&str] = &["/real/bin/busybox", "sh", "-c", IN_SH, "sh", "SCRIPT"];

/// As a session at a target does it (`runner/src/shell/posix.rs`).
const IN_SH: &str = r#"cd() { command cd -P "$@"; }; palisade_text=$1; set --; \command \eval "$palisade_text""#;

impl Cage {
    /// `None`: not on this machine, and the test should end here.
    pub(crate) fn available() -> Option<Self> {
        if required() == Some(false) {
            return skip("switched off");
        }
        let probe = Command::new("bash").arg(script()).arg("probe").stdin(Stdio::null()).output();
        match probe {
            Ok(output) if output.status.success() => {}
            Ok(output) => return skip(String::from_utf8_lossy(&output.stderr).trim()),
            Err(error) => return skip(&format!("bash: {error}")),
        }
        Some(Self { workers: std::thread::available_parallelism().map_or(1, usize::from).min(8), shell: BASH })
    }

    /// The same with another shell, if this machine has it.
    pub(crate) fn with(self, shell: &'static [&'static str]) -> Option<Self> {
        let program = shell.first().copied().unwrap_or_default();
        // The cage has this machine's programs at `/real`.
        let path = program.replacen("/real", "/usr", 1);
        if Path::new(&path).exists() { Some(Self { shell, ..self }) } else { skip(&format!("{path} is not installed")) }
    }

    /// Runs each script. One that bash cannot even begin leaves an empty trace.
    pub(crate) fn run(self, scripts: &[&str]) -> Vec<Ran> {
        let batches: Vec<&[&str]> = scripts.chunks(BATCH).collect();
        let next = AtomicUsize::new(0);
        let work = || {
            let mut done = Vec::new();
            while let Some((index, batch)) = take(&next, &batches) {
                done.push((index, Batch::new(batch, self.shell).run(batch.len())));
            }
            done
        };
        let mut done: Vec<(usize, Vec<Ran>)> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..self.workers).map(|_| scope.spawn(work)).collect();
            workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
        });
        done.sort_by_key(|(index, _)| *index);
        done.into_iter().flat_map(|(_, ran)| ran).collect()
    }
}

/// Scripts that share a cage: to set one up takes as long as a few scripts.
const BATCH: usize = 48;

fn take<'b, 's>(next: &AtomicUsize, batches: &[&'b [&'s str]]) -> Option<(usize, &'b [&'s str])> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    batches.get(index).map(|batch| (index, *batch))
}

/// The directory of one batch; it goes with it.
struct Batch {
    directory: PathBuf,
}

impl Batch {
    fn new(scripts: &[&str], shell: &[&str]) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("soundness-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        for folder in ["root", "in", "log"] {
            fs::create_dir_all(directory.join(folder)).unwrap();
        }
        let batch = Self { directory };
        for (index, script) in scripts.iter().enumerate() {
            batch.put(&format!("in/{index}"), script);
        }
        batch.put("stubs", &stubs(scripts));
        batch.put("shell", &shell.join("\n"));
        batch.put("real", REAL);
        batch.put("directories", &DIRECTORIES.join("\n"));
        fs::copy(script(), batch.directory.join("cage.sh")).unwrap();
        fs::copy(stub(), batch.directory.join("stub")).unwrap();
        batch
    }

    fn run(&self, count: usize) -> Vec<Ran> {
        let output =
            Command::new("bash").arg(script()).arg("run").arg(&self.directory).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "the cage broke: {}", String::from_utf8_lossy(&output.stderr));
        (0..count).map(|index| self.ran(index)).collect()
    }

    fn ran(&self, index: usize) -> Ran {
        let log = fs::read(self.directory.join("log").join(index.to_string())).unwrap_or_default();
        let cwd = start(index);
        let trace = Trace::read(&String::from_utf8_lossy(&log), &cwd);
        assert!(!trace.execs.is_empty(), "script {index} of {} left no record", self.directory.display());
        Ran { cwd, trace }
    }

    fn put(&self, name: &str, text: &str) {
        fs::write(self.directory.join(name), text).unwrap();
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Programs that run for what they are; every other name does nothing.
pub(crate) const REAL: &str = include_str!("real.txt");

/// Every name that a program of these scripts could have: to be found is what makes bash execute it.
fn stubs(scripts: &[&str]) -> String {
    let real: BTreeSet<&str> = REAL.lines().collect();
    let markers = (0..10).map(|digit| format!("m{digit}"));
    let is_name = |byte: char| byte.is_ascii_alphanumeric() || "_.+-".contains(byte);
    let words = scripts.iter().flat_map(|script| script.split(|byte| !is_name(byte)));
    let fits = |word: &&str| word.len() < 100 && word.starts_with(|first: char| first.is_ascii_alphabetic());
    let names: BTreeSet<String> = words.filter(fits).map(str::to_owned).chain(markers).collect();
    names.into_iter().filter(|name| !real.contains(name.as_str())).map(|name| name + "\n").collect()
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/soundness/cage.sh")
}

/// The program that does nothing, made by the C compiler that the parser needs as well.
fn stub() -> PathBuf {
    static MADE: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    let make = || {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let path = folder.join(format!("stub-{}", std::process::id()));
        let source = path.with_extension("c");
        fs::write(&source, "int main(void) { return 0; }\n").unwrap();
        // Without a static C library, one that loads the shared one does as well.
        let mut made = [&["-static"][..], &[]].into_iter();
        let compiled = made.any(|flags| {
            let mut compiler = Command::new("cc");
            compiler.args(flags).arg("-o").arg(&path).arg(&source).stderr(Stdio::null());
            compiler.status().is_ok_and(|status| status.success())
        });
        let _ = fs::remove_file(&source);
        assert!(compiled, "no C compiler for the stub");
        let kept = folder.join("soundness-stub");
        fs::rename(&path, &kept).unwrap(); // at once: another test process may be copying it
        kept
    };
    MADE.get_or_init(make).clone()
}

/// What `PALISADE_REQUIRE` says of this: it must be there, it is switched off, or neither.
fn required() -> Option<bool> {
    match std::env::var("PALISADE_REQUIRE").as_deref() {
        Ok("none") => Some(false),
        Ok(names) if names.split(',').any(|name| name == "all" || name == "soundness") => Some(true),
        _ => None,
    }
}

/// Ends a test early, or fails it where it must not be.
fn skip<T>(why: &str) -> Option<T> {
    assert!(required() != Some(true), "PALISADE_REQUIRE asks for soundness: {why}");
    let thread = std::thread::current();
    // Past the test harness, which shows `eprintln!` only of tests that fail.
    let _ = writeln!(stderr(), "SKIPPED [soundness] {}: {why}", thread.name().unwrap_or("a test"));
    None
}
