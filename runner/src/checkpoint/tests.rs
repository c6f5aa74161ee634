//! Real trees on a real disk: what a checkpoint holds, what comes back, and what stays as others left it.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use proptest::prelude::*;
use tempfile::TempDir;

use super::ledger::Ledger;
use super::store::{About, Journal, Snapshot, Store, digest};
use super::tree::{Scope, Tree};
use super::{Checkpoint, CheckpointError, Restored};
use crate::shell::pace::Pace;

/// A workspace, its store, and one session that works there.
struct World {
    root: TempDir,
    store: Store,
    ledger: Ledger,
}

const SESSION: &str = "s-1";

impl World {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("work")).unwrap();
        let scope = Scope { exclude: vec!["node_modules".to_owned()], max_file: 1 << 20 };
        let store = Store::open(&root.path().join("stores"), &root.path().join("work"), scope).unwrap();
        Self { root, store, ledger: Ledger::default() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join("work").join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn read(&self, name: &str) -> Option<Vec<u8>> {
        fs::read(self.path(name)).ok()
    }

    fn take(&self) -> Checkpoint {
        self.snapshot(SESSION, false).checkpoint
    }

    fn snapshot(&self, session: &str, reuse: bool) -> Snapshot {
        let held = self.store.lock().unwrap();
        let about = About { session: session.to_owned(), automatic: reuse, ..About::default() };
        let taken = if reuse { Store::take_if_changed } else { Store::take };
        taken(&self.store, &held, &about, &Pace::default()).unwrap()
    }

    fn look(&self) -> Tree {
        self.store.walk().unwrap().1
    }

    /// The session does something.
    fn session(&mut self, work: impl FnOnce(&Self)) {
        let before = self.look();
        work(self);
        self.ledger.ran(&before, &self.look());
    }

    fn bash(&self, script: &str) {
        let done = Command::new("bash").args(["-ec", script]).current_dir(self.store.workspace()).status().unwrap();
        assert!(done.success(), "{script}");
    }

    fn restore(&mut self, to: &Checkpoint, force: bool) -> Restored {
        let prospect = self.store.look(to.id.as_str(), &self.ledger).unwrap();
        let held = self.store.lock().unwrap();
        self.store.restore(&held, prospect, force, SESSION, &mut self.ledger).unwrap()
    }

    /// Everything that a restore has to bring back, by path: type, permissions, time, content.
    fn state(&self) -> BTreeMap<PathBuf, (u32, i64, i64, Vec<u8>)> {
        let mut all = BTreeMap::new();
        let mut open = vec![self.store.workspace().to_owned()];
        while let Some(directory) = open.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                let about = path.symlink_metadata().unwrap();
                let content = if about.is_symlink() {
                    fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()
                } else if about.is_dir() {
                    open.push(path.clone());
                    Vec::new()
                } else {
                    fs::read(&path).unwrap()
                };
                all.insert(path, (about.mode(), about.mtime(), about.mtime_nsec(), content));
            }
        }
        all
    }
}

fn names(names: &[Vec<u8>]) -> Vec<String> {
    names.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect()
}

/// What a shadow repository that is driven by git's own commands loses or harms.
#[test]
fn the_seven_losses_of_a_shadow_repository() {
    let mut world = World::new();
    world.bash("git init -q . && printf '* text=auto\\n*.dat filter=lfs\\n' > .gitattributes && printf '*.log\\n' > .gitignore");
    world.write("ignored.log", "kept by nobody else\n");
    world.write("crlf.txt", "one\r\ntwo\r\n");
    world.write("big.dat", "never filtered");
    world.write("secret", "s3cret\n");
    fs::set_permissions(world.path("secret"), PermissionsExt::from_mode(0o600)).unwrap();
    world.bash("git init -q nested && echo inner > nested/file && mkdir empty && mkfifo pipe");
    world.bash("ln -s /nowhere dangling; ln secret second; printf x > \"odd $'name\\n'\"");
    let git = |world: &World| {
        let mut sums = Command::new("bash");
        sums.args(["-c", "find .git nested/.git -type f -exec sha256sum {} + | sort"]);
        String::from_utf8(sums.current_dir(world.store.workspace()).output().unwrap().stdout).unwrap()
    };
    let repositories = git(&world);
    let one = world.take();
    let before = world.state_without(".git");
    // 1: a later checkpoint has a file that the earlier has not.
    world.session(|world| world.write("later", "later"));
    let two = world.take();
    // 2, 3, 4, 5, 6: lost, changed, widened.
    world.session(|world| {
        world.bash("rm ignored.log nested/file second; chmod 644 secret; printf 'one\\ntwo\\n' > crlf.txt; rmdir empty; rm dangling");
    });
    // Somebody else's.
    world.write("theirs", "new");
    let plan = world.store.look(one.id.short(), &world.ledger).unwrap().plan;
    assert_eq!(names(&plan.delete), ["later"]);
    assert_eq!(names(&plan.kept), ["theirs"]);
    assert_eq!(names(&plan.conflicts), [""; 0]);
    let done = world.restore(&one, false);
    assert_eq!(done.failed, []);
    fs::remove_file(world.path("theirs")).unwrap();
    let after = world.state_without(".git");
    assert_eq!(after, before);
    assert_eq!(git(&world), repositories);
    // 7: what is not covered is told.
    let uncovered = world.store.uncovered(&one.id).unwrap();
    let told: Vec<_> =
        uncovered.iter().map(|(name, why)| (String::from_utf8_lossy(name).into_owned(), why.as_str())).collect();
    for expected in [(".git", "repository"), ("nested/.git", "repository"), ("pipe", "special")] {
        assert!(told.contains(&(expected.0.to_owned(), expected.1)), "{told:?}");
    }
    // And forward again.
    world.restore(&two, false);
    assert_eq!(world.read("later").as_deref(), Some(&b"later"[..]));
}

impl World {
    fn state_without(&self, name: &str) -> BTreeMap<PathBuf, (u32, i64, i64, Vec<u8>)> {
        let mut state = self.state_of_files();
        state.retain(|path, _| !path.components().any(|part| part.as_os_str() == name));
        state
    }

    /// Without pipes, which cannot be read, and without the times of directories in which others have been.
    fn state_of_files(&self) -> BTreeMap<PathBuf, (u32, i64, i64, Vec<u8>)> {
        let pipes = self.path("pipe");
        let _none = fs::remove_file(pipes);
        self.state()
    }
}

#[test]
fn what_others_did_stays_unless_it_is_forced() {
    let mut world = World::new();
    for name in ["mine", "theirs", "both", "gone"] {
        world.write(name, "then");
    }
    let then = world.take();
    world.session(|world| {
        world.write("mine", "session");
        world.write("both", "session");
        world.write("made", "session");
        world.write("made-and-changed", "session");
        world.bash("mkdir d; touch d/made");
    });
    world.write("theirs", "other");
    world.write("both", "another");
    world.write("new", "other");
    world.write("made-and-changed", "other too");
    world.write("d/new", "other");
    fs::remove_file(world.path("gone")).unwrap();
    let prospect = world.store.look(then.id.as_str(), &world.ledger).unwrap();
    assert_eq!(names(&prospect.plan.write), ["mine"]);
    assert_eq!(names(&prospect.plan.delete), ["d/made", "made"]);
    assert_eq!(names(&prospect.plan.conflicts), ["both", "gone", "theirs"]);
    assert_eq!(names(&prospect.plan.kept), ["d", "d/new", "made-and-changed", "new"]);
    world.restore(&then, false);
    assert_eq!(world.read("mine").unwrap(), b"then");
    assert_eq!(world.read("both").unwrap(), b"another");
    assert_eq!(world.read("gone"), None);
    let undo = world.restore(&then, true).undo;
    assert_eq!((world.read("both").unwrap(), world.read("gone").unwrap()), (b"then".to_vec(), b"then".to_vec()));
    assert_eq!(world.read("new").unwrap(), b"other", "never anybody else's new file");
    world.restore(&undo, false);
    assert_eq!((world.read("both").unwrap(), world.read("gone")), (b"another".to_vec(), None));
}

#[test]
fn no_link_leads_a_restore_out() {
    let mut world = World::new();
    world.write("d/file", "inside");
    let outside = world.root.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "outside").unwrap();
    let then = world.take();
    world.session(|world| {
        fs::remove_dir_all(world.path("d")).unwrap();
        symlink(&outside, world.path("d")).unwrap();
    });
    let done = world.restore(&then, false);
    assert_eq!(done.failed, []);
    assert_eq!(fs::read(outside.join("file")).unwrap(), b"outside");
    assert_eq!(world.read("d/file").unwrap(), b"inside");
    // One that somebody puts in the way between plan and restore.
    world.session(|world| world.write("d/file", "changed"));
    let prospect = world.store.look(then.id.as_str(), &world.ledger).unwrap();
    fs::rename(world.path("d"), world.path("e")).unwrap();
    symlink(&outside, world.path("d")).unwrap();
    let held = world.store.lock().unwrap();
    let done = world.store.restore(&held, prospect, true, SESSION, &mut world.ledger.clone()).unwrap();
    assert_eq!(fs::read(outside.join("file")).unwrap(), b"outside");
    assert!(done.failed.iter().any(|failed| failed.name == b"d/file"), "{done:?}");
}

#[test]
fn what_is_cut_short_can_be_gone_on_with_or_undone() {
    for forward in [true, false] {
        let mut world = World::new();
        world.write("a", "then");
        world.write("b", "then");
        let then = world.take();
        world.session(|world| {
            world.write("a", "now");
            world.write("b", "now");
            world.write("c", "now");
        });
        let undo = world.take();
        let old = world.state();
        // As if it had died behind the first file.
        world
            .store
            .side_files()
            .begin(&Journal { to: then.id.as_str().to_owned(), undo: undo.id.as_str().to_owned() })
            .unwrap();
        let entry = world.store.entries(&then.id).unwrap().remove(&b"a"[..]).unwrap();
        world.write("a", "then");
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_nanos(u64::try_from(entry.modified).unwrap());
        fs::File::options().write(true).open(world.path("a")).unwrap().set_modified(time).unwrap();
        world.write(&format!(".palisade-restore-{}-2", undo.id.short()), "half");
        let to = if forward { &then } else { &undo };
        let done = world.restore(to, false);
        assert_eq!(done.failed, []);
        assert_eq!(names(&done.plan.conflicts), [""; 0], "{forward}");
        if forward {
            assert_eq!((world.read("a"), world.read("b")), (Some(b"then".to_vec()), Some(b"then".to_vec())));
            assert_eq!((world.read("c"), fs::read_dir(world.path("")).unwrap().count()), (None, 2));
        } else {
            assert_eq!(world.state(), old);
        }
        assert_eq!(world.store.side_files().journal().unwrap(), None);
    }
}

#[test]
fn what_cannot_be_told_of_an_unfinished_restore_holds_everything() {
    let world = World::new();
    world.write("a", "1");
    let one = world.take();
    world.write("a", "2");
    let two = world.take();
    let held = world.store.lock().unwrap();
    world
        .store
        .side_files()
        .begin(&Journal { to: one.id.as_str().to_owned(), undo: one.id.as_str().to_owned() })
        .unwrap();
    assert_eq!(world.store.old(&held, 0).unwrap(), std::slice::from_ref(&two), "what it needs stays");
    let journal = one_file(&world.root.path().join("stores"), "restoring");
    for spoil in [
        |path: &Path| fs::write(path, "{\"to\":").unwrap(),
        |path: &Path| {
            // A file that is there and cannot be read, by root neither.
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        },
    ] {
        spoil(&journal);
        for error in [
            world.store.side_files().journal().map(drop).unwrap_err(),
            world.store.old(&held, 0).map(drop).unwrap_err(),
            world.store.look(one.id.as_str(), &world.ledger).map(drop).unwrap_err(),
        ] {
            assert!(miette::Diagnostic::help(&error).is_some(), "{error}");
            let is_told = matches!(error, CheckpointError::Journal { .. } | CheckpointError::Store { .. });
            assert!(is_told, "{error}");
        }
    }
    fs::remove_dir(&journal).unwrap();
    assert_eq!(world.store.side_files().journal().unwrap(), None);
    assert_eq!(world.store.old(&held, 0).unwrap(), [one, two]);
}

/// The only file of this name below a directory.
fn one_file(root: &Path, name: &str) -> PathBuf {
    let mut found = walk_files(root).into_iter().filter(|path| path.file_name().unwrap() == name);
    let one = found.next().unwrap();
    assert_eq!(found.next(), None);
    one
}

#[test]
fn a_checkpoint_stands_on_nothing_that_went_with_another() {
    let world = World::new();
    world.write("a", "1");
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
    fs::File::options().write(true).open(world.path("a")).unwrap().set_modified(old).unwrap();
    let mut one = world.take();
    // Until its state counts as known.
    while world.store.side_files().cache().is_empty() {
        one = world.take();
    }
    let held = world.store.lock().unwrap();
    let all: Vec<_> = world.store.list().unwrap().into_iter().map(|checkpoint| checkpoint.id).collect();
    world.store.remove(&held, &all).unwrap();
    assert!(world.store.find(one.id.as_str()).is_err());
    drop(held);
    let mut world = world;
    let again = world.take();
    world.session(|world| world.write("a", "2"));
    world.restore(&again, false);
    assert_eq!(world.read("a").as_deref(), Some(&b"1"[..]));
}

#[test]
fn that_a_checkpoint_read_a_file_is_no_change_of_the_sessions() {
    let world = World::new();
    world.write("theirs", "1");
    let stamp = world.look().found.get(&b"theirs"[..]).unwrap().stamp;
    std::thread::sleep(std::time::Duration::from_millis(50));
    let taken = world.snapshot(SESSION, false).tree;
    assert!(taken.found.get(&b"theirs"[..]).unwrap().object.is_some(), "it is known by now");
    let mut ledger = Ledger::default();
    ledger.ran(&taken, &world.look());
    ledger.ran(&world.look(), &taken);
    assert!(ledger.is_empty(), "{ledger:?}");
    world.bash("rm theirs; ln -s x theirs");
    ledger.ran(&taken, &world.look());
    assert!(ledger.state(b"theirs").flatten().is_some_and(|now| now != stamp));
}

#[test]
fn where_nothing_has_changed_the_last_one_serves() {
    let world = World::new();
    world.write("d/a", "1");
    let first = world.snapshot(SESSION, true);
    assert!(first.is_new && first.checkpoint.about.automatic);
    let again = world.snapshot(SESSION, true);
    assert_eq!((again.checkpoint, again.is_new), (first.checkpoint.clone(), false));
    // What another session makes is told by another's ledger.
    let other = world.snapshot("s-2", true);
    assert!(other.is_new);
    let mut last = world.snapshot(SESSION, true);
    assert!(last.is_new, "the last one is another's");
    for change in
        ["echo 2 > d/a", "chmod 600 d/a", "ln -s x l", "mkdir e", "rmdir e", "touch -d @1 d", "mkfifo p", "rm d/a"]
    {
        world.bash(change);
        let next = world.snapshot(SESSION, true);
        assert!(next.is_new, "{change}");
        last = world.snapshot(SESSION, true);
        assert_eq!((&last.checkpoint, last.is_new), (&next.checkpoint, false), "{change}");
    }
    let held = world.store.lock().unwrap();
    let all = world.store.list().unwrap();
    assert_eq!(world.store.surplus(&held, all.len()).unwrap(), []);
    world
        .store
        .side_files()
        .begin(&Journal { to: first.checkpoint.id.as_str().to_owned(), undo: String::new() })
        .unwrap();
    let surplus = world.store.surplus(&held, 4).unwrap();
    let oldest: Vec<_> = all.iter().take(all.len() - 4).skip(1).cloned().collect();
    assert_eq!(surplus, oldest, "the oldest, but what an unfinished restore needs");
}

#[test]
fn there_is_a_limit_to_checkpoints() {
    let world = World::new();
    world.write("a", "1");
    let one = world.snapshot(SESSION, true).checkpoint;
    let repository = world.store.repository().unwrap();
    let commit = git2::Oid::from_str(one.id.as_str()).unwrap();
    for number in 1..1_000 {
        repository.reference(&format!("refs/checkpoints/{number:040x}"), commit, false, "").unwrap();
    }
    let held = world.store.lock().unwrap();
    let about = About { session: SESSION.to_owned(), ..About::default() };
    // Where nothing has changed it takes no further one.
    assert!(!world.store.take_if_changed(&held, &about, &Pace::default()).unwrap().is_new);
    let full = world.store.take(&held, &about, &Pace::default()).unwrap_err();
    assert!(matches!(full, CheckpointError::Full { max: 1_000 }), "{full}");
    assert!(miette::Diagnostic::help(&full).unwrap().to_string().contains("prune"));
}

/// Several threads read where there is much to read, and git finds nothing wrong with what we write past its library.
#[test]
fn many_files_are_kept_as_git_would_keep_them() {
    let mut world = World::new();
    for index in 0..500 {
        world.write(&format!("d{}/f{index}", index % 7), format!("{index}\n"));
        // The same bytes, which two threads may come upon at once.
        world.write(&format!("same/f{index}"), "all the same\n");
    }
    let then = world.state();
    let taken = world.take();
    assert_eq!((taken.files, taken.uncovered), (1_000, 0));
    let [store] =
        [world.root.path().join("stores")].map(|stores| fs::read_dir(stores).unwrap().next().unwrap().unwrap());
    let git = |words: &[&str]| {
        let mut git = Command::new("git");
        let done = git.arg("--git-dir").arg(store.path().join("repository")).args(words).output().unwrap();
        assert!(done.status.success(), "git {words:?}: {done:?}");
        String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr)
    };
    assert_eq!(
        git(&["fsck", "--strict", "--no-dangling", "--no-progress"])
            .replace("notice: HEAD points to an unborn branch (master)\n", ""),
        ""
    );
    let listed = git(&["ls-tree", "-r", &format!("{}:content", taken.id.as_str())]);
    // Those of 500 numbers, and the one of all others.
    assert_eq!(listed.lines().count(), 501);
    world.session(|world| world.bash("rm -r d* same"));
    assert_eq!(world.restore(&taken, false).failed, []);
    assert!(world.state() == then, "what came back is something else");
}

/// No checkpoint counts as taken that could not be gone back to.
#[test]
fn what_was_known_and_is_lost_is_in_no_checkpoint() {
    let world = World::new();
    world.write("known", "lost since");
    world.write("other", "then");
    std::thread::sleep(std::time::Duration::from_millis(50));
    world.take();
    let object = git2::Oid::hash_object(git2::ObjectType::Blob, b"lost since").unwrap().to_string();
    let (first, rest) = object.split_at(2);
    let lost = |path: &PathBuf| path.ends_with(Path::new(first).join(rest));
    let kept = walk_files(&world.root.path().join("stores"));
    fs::remove_file(kept.iter().find(|path| lost(path)).unwrap()).unwrap();
    world.write("other", "now");
    let held = world.store.lock().unwrap();
    let taken = world.store.take(&held, &About::default(), &Pace::default());
    assert!(matches!(taken, Err(CheckpointError::Damaged)), "{taken:?}");
    assert_eq!(world.store.list().unwrap().len(), 1);
}

#[test]
fn reading_ahead_leaves_nothing_to_read_and_can_be_ended() {
    let world = World::new();
    for index in 0..50 {
        world.write(&format!("d/f{index}"), format!("{index}"));
    }
    let settled = std::time::SystemTime::now() + std::time::Duration::from_millis(50);
    while std::time::SystemTime::now() < settled {
        std::thread::yield_now();
    }
    let held = world.store.lock().unwrap();
    let stopped = Pace::default();
    stopped.stop();
    assert!(matches!(world.store.read_ahead(&held, &stopped), Err(CheckpointError::Stopped)));
    let ending = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    assert!(matches!(world.store.read_ahead(&held, &Pace::until(ending)), Err(CheckpointError::Stopped)));
    assert_eq!((world.store.list().unwrap(), stopped.so_far()), (vec![], Some((0, 51))));
    let pace = Pace::default();
    assert_eq!(pace.so_far(), None);
    world.store.read_ahead(&held, &pace).unwrap();
    assert_eq!((pace.so_far(), world.store.side_files().cache().len()), (Some((51, 51)), 50));
    assert_eq!(world.store.list().unwrap(), []);
    let objects = || walk_files(&world.root.path().join("stores")).len();
    let before = objects();
    drop(held);
    let taken = world.take();
    // The commit, its trees, two lists and the reference: no file.
    let first = |index: i32| {
        let bytes = index.to_string();
        git2::Oid::hash_object(git2::ObjectType::Blob, bytes.as_bytes()).unwrap().as_bytes().first().copied()
    };
    let trees: std::collections::BTreeSet<_> = (0..50).map(first).collect();
    assert_eq!(objects() - before, 1 + 2 + trees.len() + 2 + 1);
    assert_eq!(taken.files, 50);
}

#[test]
fn what_a_file_would_be_is_told_without_holding_it() {
    for size in [0, 1, (64 << 10) - 1, 64 << 10, (64 << 10) + 1, 3 << 20] {
        let bytes: Vec<u8> = (0..size).map(|index| (index % 251) as u8).collect();
        let expected = git2::Oid::hash_object(git2::ObjectType::Blob, &bytes).unwrap();
        let length = bytes.len() as u64;
        assert_eq!(digest(&mut bytes.as_slice(), length), Some(expected), "{size}");
        // Another length than it was said to have.
        assert_eq!(digest(&mut bytes.as_slice(), length + 1), None);
        assert!(length == 0 || digest(&mut bytes.as_slice(), length - 1).is_none());
    }
}

#[test]
fn less_known_of_a_session_means_less_touched() {
    let mut world = World::new();
    world.write("changed", "then");
    let then = world.take();
    world.session(|world| {
        world.write("changed", "now");
        world.write("made", "now");
    });
    world.store.side_files().keep_ledger(SESSION, &world.ledger).unwrap();
    let plan = |world: &World| {
        let plan = world.store.look(then.id.as_str(), &world.store.side_files().ledger(SESSION).unwrap()).unwrap().plan;
        [plan.write, plan.delete, plan.conflicts, plan.kept].map(|list| names(&list).join(" "))
    };
    assert_eq!(plan(&world), ["changed", "made", "", ""]);
    let path = one_file(&world.root.path().join("stores"), SESSION);
    fs::write(&path, "no ledger").unwrap();
    assert_eq!(plan(&world), ["", "", "changed", "made"]);
    // One that cannot be read now is not written over as if it said nothing.
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(matches!(world.store.side_files().ledger(SESSION), Err(CheckpointError::Store { .. })));
}

#[test]
fn what_is_left_out_is_told_and_stays() {
    let mut world = World::new();
    world.write("node_modules/x/y", "made again");
    world.write("big", vec![0; (1 << 20) + 1]);
    world.write("small", "s");
    let then = world.take();
    assert_eq!((then.files, then.uncovered), (1, 2));
    let mut told = world.store.uncovered(&then.id).unwrap();
    told.sort();
    let expected = [("big", "too-large"), ("node_modules", "excluded")];
    assert_eq!(told, expected.map(|(name, why)| (name.as_bytes().to_vec(), why.to_owned())));
    world.session(|world| world.bash("rm small; echo > node_modules/x/y; truncate -s 2M big; mkdir -p made/node_modules; touch made/node_modules/z made/f"));
    let done = world.restore(&then, false);
    assert_eq!(done.failed, []);
    assert_eq!(world.read("node_modules/x/y").unwrap(), b"\n");
    assert!(world.path("made/node_modules/z").exists() && !world.path("made/f").exists());
}

#[test]
fn the_store_is_for_nobody_else() {
    let world = World::new();
    world.write("secret", "s3cret");
    world.write("large", vec![7; (1 << 20) - 1]);
    world.take();
    let mut open = vec![world.root.path().join("stores")];
    let mut files = 0;
    while let Some(path) = open.pop() {
        let mode = fs::metadata(&path).unwrap().mode() & 0o777;
        for entry in fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                open.push(entry);
            } else if entry.components().any(|part| part.as_os_str() == "objects")
                || entry.file_name().unwrap() == "cache"
            {
                assert_eq!(fs::metadata(&entry).unwrap().mode() & 0o777, 0o600, "{}", entry.display());
                files += 1;
            }
        }
        let own = path.parent().unwrap().file_name().unwrap() == "stores";
        assert!(!own || mode == 0o700, "{} {mode:o}", path.display());
    }
    assert!(files > 4);
}

#[test]
fn nothing_that_has_not_changed_is_read_or_written_again() {
    let world = World::new();
    for index in 0..200 {
        world.write(&format!("d{}/f{index}", index % 7), format!("{index}"));
    }
    // Behind the clock's step, so that states count.
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
    for index in 0..200 {
        fs::File::options()
            .write(true)
            .open(world.path(&format!("d{}/f{index}", index % 7)))
            .unwrap()
            .set_modified(old)
            .unwrap();
    }
    let changed = || fs::metadata(world.path("d0/f0")).map(|about| (about.ctime(), about.ctime_nsec())).unwrap();
    let before = changed();
    while std::time::SystemTime::now()
        < std::time::UNIX_EPOCH
            + std::time::Duration::new(before.0.unsigned_abs(), 0)
            + std::time::Duration::from_secs(2)
    {
        world.take();
    }
    assert_eq!(world.store.side_files().cache().len(), 200);
    let one = world.take();
    // A file that cannot be read any more is not missed: its state is the one that is known.
    let objects = || walk_files(&world.root.path().join("stores")).len();
    let count = objects();
    let two = world.take();
    assert!(objects() <= count + 2, "the commit and its reference alone");
    assert_eq!(world.store.entries(&one.id).unwrap(), world.store.entries(&two.id).unwrap());
}

fn walk_files(root: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for path in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() { open.push(path) } else { files.push(path) }
        }
    }
    files
}

#[test]
fn names_are_found_by_their_beginning_and_nothing_else() {
    let world = World::new();
    world.write("a", "1");
    let one = world.take();
    world.write("a", "2");
    let two = world.take();
    assert_eq!(world.store.find(one.id.short()).unwrap(), one);
    assert_eq!(world.store.list().unwrap(), [one.clone(), two.clone()]);
    for name in ["", "abc", "../../x", "refs/heads", "zzzzzzzz", "HEAD", "0000000000"] {
        assert!(matches!(world.store.find(name), Err(CheckpointError::Unknown { .. })), "{name}");
    }
    let held = world.store.lock().unwrap();
    world.store.remove(&held, std::slice::from_ref(&one.id)).unwrap();
    assert_eq!(world.store.list().unwrap(), std::slice::from_ref(&two));
    assert!(world.store.find(one.id.as_str()).is_err());
    let objects = walk_files(&world.root.path().join("stores"))
        .into_iter()
        .filter(|path| path.components().any(|part| part.as_os_str() == "objects"));
    let kept: usize = objects.count();
    // The commit, its three trees, the lists and the one file.
    assert_eq!(kept, 1 + 3 + 2 + 1);
    assert_eq!(world.store.entries(&two.id).unwrap().len(), 1);
}

#[test]
fn a_ledger_is_read_as_it_was_put_down() {
    let mut world = World::new();
    world.write("gone", "x");
    world.session(|world| world.bash("rm gone; echo > \"a b\"; mkdir d; ln -s x l"));
    world.store.side_files().keep_ledger(SESSION, &world.ledger).unwrap();
    assert_eq!(world.store.side_files().ledger(SESSION).unwrap(), world.ledger);
    assert!(["../x", "", "s-2"].iter().all(|session| world.store.side_files().ledger(session).unwrap().is_empty()));
    for bytes in [&b"1 2 3"[..], b"- a", b"1 2 3 4 5 6 7 x name\0", b"\0"] {
        assert_eq!(Ledger::read(bytes), None);
    }
}

/// What is done to a tree at random.
#[derive(Clone, Debug)]
enum Edit {
    Write(usize, Vec<u8>),
    Delete(usize),
    Directory(usize),
    Link(usize, usize),
    Mode(usize, u32),
    Rename(usize, usize),
}

const PLACES: [&str; 12] =
    ["a", "b", "d/a", "d/b", "d/e/a", "d/e/f/a", "x y", "d/\u{fc}", "empty", "d/e", "d", "z/\u{202e}x"];

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let place = || 0..PLACES.len();
    let edit = prop_oneof![
        4 => (place(), proptest::collection::vec(any::<u8>(), 0..40)).prop_map(|(place, bytes)| Edit::Write(place, bytes)),
        2 => place().prop_map(Edit::Delete),
        1 => place().prop_map(Edit::Directory),
        1 => (place(), place()).prop_map(|(place, to)| Edit::Link(place, to)),
        1 => (place(), 0_u32..0o1000).prop_map(|(place, mode)| Edit::Mode(place, mode | 0o700)),
        1 => (place(), place()).prop_map(|(from, to)| Edit::Rename(from, to)),
    ];
    proptest::collection::vec(edit, 0..25)
}

/// Does what can be done; the rest fails, as it may.
fn carry_out(world: &World, edits: &[Edit]) {
    let at = |place: &usize| world.path(PLACES.get(*place).unwrap());
    for edit in edits {
        let _may_fail = match edit {
            Edit::Write(place, bytes) => {
                let _parent = fs::create_dir_all(at(place).parent().unwrap());
                fs::write(at(place), bytes)
            }
            Edit::Delete(place) => fs::remove_file(at(place)).or_else(|_| fs::remove_dir_all(at(place))),
            Edit::Directory(place) => fs::DirBuilder::new().recursive(true).mode(0o750).create(at(place)),
            Edit::Link(place, to) => symlink(PLACES.get(*to).unwrap(), at(place)),
            Edit::Mode(place, mode) => match at(place).symlink_metadata() {
                Ok(about) if !about.is_symlink() => fs::set_permissions(at(place), PermissionsExt::from_mode(*mode)),
                _ => Ok(()),
            },
            Edit::Rename(from, to) => fs::rename(at(from), at(to)),
        };
    }
}

/// By chance found by what follows: where it leads alone does not say that it is the one that was there.
#[test]
fn a_link_that_is_made_anew_gets_its_time_back() {
    let mut world = World::new();
    let link = [Edit::Directory(2), Edit::Link(9, 2)];
    carry_out(&world, &link);
    let (then, before) = (world.take(), world.state());
    // A file's time is that of the kernel's last tick, which may be 10 ms ago.
    std::thread::sleep(std::time::Duration::from_millis(20));
    world.session(|world| carry_out(world, &[Edit::Delete(9), Edit::Link(9, 2)]));
    assert_ne!(world.state(), before);
    let done = world.restore(&then, false);
    assert_eq!((done.failed.as_slice(), world.state()), (&[][..], before));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn the_way_back_leads_to_the_very_same_tree(first in edits(), second in edits(), third in edits()) {
        let mut world = World::new();
        carry_out(&world, &first);
        let then = world.take();
        let before = world.state();
        world.session(|world| carry_out(world, &second));
        world.session(|world| carry_out(world, &third));
        let late = world.state();
        let done = world.restore(&then, false);
        prop_assert_eq!(&done.failed, &[]);
        prop_assert_eq!(world.state(), before);
        let done = world.restore(&done.undo, false);
        prop_assert_eq!(&done.failed, &[]);
        prop_assert_eq!(world.state(), late);
    }

    #[test]
    fn others_files_are_unharmed(first in edits(), second in edits(), others in edits(), force in any::<bool>()) {
        let mut world = World::new();
        carry_out(&world, &first);
        let then = world.take();
        let held = world.state();
        world.session(|world| carry_out(world, &second));
        let between = world.state();
        carry_out(&world, &others);
        let theirs = world.state();
        world.restore(&then, force);
        let after = world.state();
        for (path, state) in &theirs {
            let is_directory = state.0 & 0o170_000 == 0o040_000;
            let made_by_others = between.get(path) != Some(state) && !is_directory;
            let stands_in_the_way = force && (held.contains_key(path) || held.keys().any(|other| other.starts_with(path)));
            if made_by_others && !stands_in_the_way {
                prop_assert_eq!(after.get(path), Some(state), "{}", path.display());
            }
        }
    }
}

/// Policy cannot be asked about a path that no call takes: it is left out, and the rest can be restored.
#[test]
fn what_lies_too_deep_for_a_path_is_left_out() {
    let mut world = World::new();
    world.write("file", "one");
    let script =
        "n=$(printf 'd%.0s' $(seq 250)); for i in $(seq 18); do mkdir $n && cd -P $n && echo x > file || exit; done";
    assert!(Command::new("bash").args(["-c", script]).current_dir(world.path("")).status().unwrap().success());
    let one = world.take();
    let told = world.store.uncovered(&one.id).unwrap();
    let deep = |name: &[u8]| name.len() > 3_400 && name.len() < 3_800;
    let left_out: Vec<_> = told.iter().map(|(name, why)| (why.as_str(), deep(name))).collect();
    assert_eq!(left_out, [("unreadable", true)]);
    world.session(|world| world.write("file", "two"));
    let done = world.restore(&one, false);
    assert_eq!((done.failed, world.read("file").as_deref()), (vec![], Some(&b"one"[..])));
    crate::removal::remove(&world.path("d".repeat(250).as_str())).unwrap();
}
