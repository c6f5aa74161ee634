//! What checkpoints cost, beside `git add -A` of a repository of its own over the same files:
//! `cargo bench -p palisade-runner --bench checkpoint`. Medians, and in brackets the fastest.
//!
//! Its own clock and not a harness's: the first checkpoint of a tree is taken once, and memory counts as well as time.

#![expect(clippy::expect_used, clippy::print_stdout, reason = "figures are printed, or there are none")]

#[path = "support/memory.rs"]
mod memory;
#[path = "support/stopwatch.rs"]
mod stopwatch;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use palisade_runner::checkpoint::Checkpoint;
use palisade_runner::checkpoint::ledger::Ledger;
use palisade_runner::checkpoint::store::{About, Snapshot, Store};
use palisade_runner::checkpoint::tree::{self, Scope};
use palisade_runner::shell::pace::Pace;
use tempfile::TempDir;

use crate::memory::{memory, reset_peak};
use crate::stopwatch::{shown, timed};

/// Bytes of each file; one of a thousand has a MiB.
const SIZE: usize = 4_800;
const LARGE: usize = 1 << 20;

/// Files of one directory.
const TOGETHER: usize = 100;

/// How long a state has to be old until a checkpoint takes it for known.
const SETTLED: Duration = Duration::from_millis(100);

fn main() {
    // `cargo test` runs benches, too, to see that they still work.
    let quick = !std::env::args().any(|argument| argument == "--bench");
    let (sizes, rounds): (&[usize], usize) = if quick { (&[200], 1) } else { (&[10_000, 100_000], 10) };
    for files in sizes {
        let world = World::new(*files);
        world.first();
        world.unchanged(rounds);
        world.one_changed(rounds);
        if *files <= 10_000 {
            for changed in [1, *files] {
                world.restored(changed, rounds);
            }
        }
    }
}

struct World {
    files: usize,
    root: TempDir,
    store: Store,
}

impl World {
    fn new(files: usize) -> Self {
        let root = tempfile::tempdir_in("/var/tmp").expect("a directory");
        let workspace = root.path().join("work");
        for index in 0..files {
            let path = place(&workspace, index);
            if index % TOGETHER == 0 {
                fs::create_dir_all(path.parent().expect("a directory")).expect("made");
            }
            let size = if index % 1_000 == 999 { LARGE } else { SIZE };
            fs::write(path, text(index, size)).expect("written");
        }
        let scope = Scope { exclude: Vec::new(), max_file: 50 << 20 };
        let store = Store::open(&root.path().join("stores"), &workspace, scope).expect("a store");
        let world = Self { files, root, store };
        world.git(&["init", "--quiet", "--bare", "."]);
        std::thread::sleep(SETTLED);
        world
    }

    /// All files are read and written once, and held nowhere.
    fn first(&self) {
        reset_peak();
        let before = memory("VmRSS:");
        let begun = Instant::now();
        self.take();
        let ours = begun.elapsed();
        let peak = memory("VmHWM:").saturating_sub(before);
        let begun = Instant::now();
        self.git(&["add", "-A"]);
        let git = begun.elapsed();
        println!("{} files, the first: {ours:.1?}, {peak} KiB at the peak; git add -A {git:.1?}", self.files);
    }

    fn unchanged(&self, rounds: usize) {
        self.take();
        let new = timed(rounds, || self.take());
        reset_peak();
        let before = memory("VmRSS:");
        let same = timed(rounds, || assert!(!self.snapshot(true).is_new, "nothing has changed"));
        let peak = memory("VmHWM:").saturating_sub(before);
        let git = timed(rounds, || self.git(&["add", "-A"]));
        let (new, same, git) = (shown(&new), shown(&same), shown(&git));
        println!(
            "{} files, nothing changed: taken {new}, found the same {same}, {peak} KiB at the peak; git add -A {git}",
            self.files
        );
    }

    fn one_changed(&self, rounds: usize) {
        let mut round = 0;
        let mut change = || {
            round += 1;
            fs::write(place(self.store.workspace(), 7), format!("{round}")).expect("written");
        };
        let ours = timed(rounds, || {
            change();
            self.take()
        });
        let git = timed(rounds, || {
            change();
            self.git(&["add", "-A"]);
        });
        println!("{} files, one changed: {}; git add -A {}", self.files, shown(&ours), shown(&git));
    }

    /// So many files are written again by the session, and put back.
    fn restored(&self, changed: usize, rounds: usize) {
        let then = self.take();
        let (mut looks, mut restores) = (Vec::new(), Vec::new());
        for round in 0..rounds.div_ceil(3) {
            let before = self.look();
            for index in 0..changed {
                fs::write(place(self.store.workspace(), index), text(index + round + 1, SIZE + 1)).expect("written");
            }
            let mut ledger = Ledger::default();
            ledger.ran(&before, &self.look());
            let begun = Instant::now();
            let prospect = self.store.look(then.id.as_str(), &ledger).expect("a plan");
            looks.push(begun.elapsed());
            let held = self.store.lock().expect("the store");
            let begun = Instant::now();
            let done = self.store.restore(&held, prospect, false, "s-1", &mut ledger).expect("restored");
            restores.push(begun.elapsed());
            assert_eq!((done.plan.write.len(), done.failed.len()), (changed, 0));
        }
        looks.sort();
        restores.sort();
        let (looks, restores) = (shown(&looks), shown(&restores));
        println!(
            "{} files, {changed} changed: planned {looks}, put back with a checkpoint before {restores}",
            self.files
        );
    }

    fn take(&self) -> Checkpoint {
        self.snapshot(false).checkpoint
    }

    fn snapshot(&self, reuse: bool) -> Snapshot {
        let held = self.store.lock().expect("the store");
        let about = About { session: "s-1".to_owned(), ..About::default() };
        let taken = if reuse { Store::take_if_changed } else { Store::take };
        taken(&self.store, &held, &about, &Pace::default()).expect("a checkpoint")
    }

    fn look(&self) -> tree::Tree {
        self.store.walk().expect("a tree").1
    }

    /// Over the same files, with a repository outside of them and nobody's settings.
    fn git(&self, words: &[&str]) {
        let repository = self.root.path().join("git");
        fs::create_dir_all(&repository).expect("a directory");
        let mut git = Command::new("git");
        git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1").current_dir(&repository);
        if words.first() == Some(&"add") {
            git.arg("--git-dir").arg(&repository).arg("--work-tree").arg(self.store.workspace());
            git.current_dir(self.store.workspace());
        }
        assert!(git.args(words).status().is_ok_and(|status| status.success()), "git {words:?}");
    }
}

fn place(workspace: &Path, index: usize) -> PathBuf {
    workspace.join(format!("d{}/f{index}", index / TOGETHER))
}

/// Of no two files the same, and as hard to press as source text.
fn text(index: usize, size: usize) -> Vec<u8> {
    let line =
        |number: usize| format!("    let value_{index}_{number} = call({}, \"{}\");\n", number * 31, number ^ index);
    let mut text: Vec<u8> = (0..).flat_map(|number| line(number).into_bytes()).take(size).collect();
    text.shrink_to_fit();
    text
}
