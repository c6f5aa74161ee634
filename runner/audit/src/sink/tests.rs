#![expect(clippy::unwrap_used, reason = "tests")]

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::process::{Command, Stdio};

use rustix::fs::FlockOperation;
use rustix::process::{Resource, Rlimit, Signal};

use super::super::sample::{self, check};
use super::super::{Audit, BrokenKind, Expected, Sync, verify};
use super::*;

fn settings(directory: &Path, sync: Sync) -> AuditSettings {
    AuditSettings::new(directory.to_owned(), sync)
}

fn begin(directory: &Path, sync: Sync) -> Audit {
    Audit::open(&settings(directory, sync), sample::start()).unwrap()
}

/// Appends one decision.
fn decide(audit: &Audit) -> Written {
    audit.append_blocking(sample::decided(audit.request(), "make"))
}

/// The chain files of a directory.
fn chains(directory: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|file| file.extension() == Some(OsStr::new("jsonl"))).collect()
}

fn kinds(path: &Path) -> Vec<String> {
    let kind = |line: &str| {
        serde_json::from_str::<serde_json::Value>(line).unwrap().get("kind").unwrap().as_str().unwrap().to_owned()
    };
    fs::read_to_string(path).unwrap().lines().map(kind).collect()
}

#[test]
fn chains_that_cannot_be_listed_are_not_taken_for_none() {
    let error = all(Path::new("/dev/null")).unwrap_err();
    assert!(matches!(error, AuditError::System { what: "the list of chains", .. }), "{error}");
}

#[test]
fn a_record_is_in_the_file_when_append_returns() {
    for sync in [Sync::Always, Sync::Group, Sync::None] {
        let home = tempfile::tempdir().unwrap();
        let audit = begin(home.path(), sync);
        assert_eq!(audit.head().seq, 1);
        for seq in 2..10 {
            let anchor = decide(&audit).unwrap();
            assert_eq!(anchor.seq, seq);
            assert_eq!(check(audit.path(), Some(anchor)).unwrap().head, anchor);
            assert_eq!(audit.head(), anchor);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_appends_share_one_chain_without_gaps() {
    let home = tempfile::tempdir().unwrap();
    let audit = begin(home.path(), Sync::Group);
    let tasks: Vec<_> = (0..200)
        .map(|_| {
            let audit = audit.clone();
            tokio::spawn(async move {
                let anchor = audit.append(sample::decided(audit.request(), "make")).await.unwrap();
                check(audit.path(), Some(anchor)).unwrap();
                anchor.seq
            })
        })
        .collect();
    let mut numbers = Vec::new();
    for task in tasks {
        numbers.push(task.await.unwrap());
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (2..=201).collect::<Vec<_>>());
    assert_eq!(check(audit.path(), Some(audit.head())).unwrap().records, 201);
}

#[test]
fn what_was_written_is_signed_after_so_many_records_or_so_long() {
    let home = tempfile::tempdir().unwrap();
    let key = super::super::public_key(home.path()).unwrap();
    let keys = || Expected { anchors: vec![], keys: vec![key] };
    let signed = |audit: &Audit| verify(BufReader::new(fs::File::open(audit.path()).unwrap()), keys()).unwrap();

    let often = AuditSettings { unsigned: 3, ..settings(home.path(), Sync::Group) };
    let audit = Audit::open(&often, sample::start()).unwrap();
    for _ in 0..7 {
        decide(&audit).unwrap();
    }
    assert_eq!(
        kinds(audit.path()).join(" "),
        "start decision decision decision head decision decision decision head decision"
    );
    assert_eq!(signed(&audit).signed, 9);

    let soon = AuditSettings { unsigned_for: Duration::from_millis(1), ..settings(home.path(), Sync::Group) };
    let audit = Audit::open(&soon, sample::start()).unwrap();
    decide(&audit).unwrap();
    while signed(&audit).signed < 3 {
        std::thread::yield_now();
    }
    // Nothing more is written where nothing more happens.
    assert_eq!(kinds(audit.path()), ["start", "decision", "head"]);
    audit.append_blocking(sample::stopped()).unwrap();
    let report = signed(&audit);
    assert_eq!((report.signed, report.records, report.complete), (4, 4, true));
}

#[test]
fn without_a_key_that_is_ours_alone_there_is_no_record() {
    let home = tempfile::tempdir().unwrap();
    begin(home.path(), Sync::Group);
    let before = chains(home.path());
    fs::set_permissions(home.path().join("signing.key"), Permissions::from_mode(0o644)).unwrap();
    let error = Audit::open(&settings(home.path(), Sync::Group), sample::start()).unwrap_err();
    assert!(matches!(error, AuditError::Key(_)), "{error}");
    assert_eq!(chains(home.path()), before);
}

#[test]
fn nothing_follows_stop() {
    let home = tempfile::tempdir().unwrap();
    let audit = begin(home.path(), Sync::Group);
    assert!(!check(audit.path(), None).unwrap().complete);
    audit.append_blocking(sample::stopped()).unwrap();
    assert_eq!(decide(&audit), Err(AuditError::OutOfPlace { path: audit.path().to_owned() }));
    assert!(check(audit.path(), Some(audit.head())).unwrap().complete);
}

#[test]
fn an_entry_that_cannot_be_recorded_is_refused_alone() {
    let home = tempfile::tempdir().unwrap();
    let audit = begin(home.path(), Sync::Group);
    let long = sample::decided(audit.request(), &"x".repeat(super::super::MAX_LINE));
    assert!(matches!(audit.append_blocking(long), Err(AuditError::TooLong { .. })));
    assert!(matches!(audit.append_blocking(Entry::Start(sample::start())), Err(AuditError::OutOfPlace { .. })));
    decide(&audit).unwrap();
    assert_eq!(kinds(audit.path()), ["start", "decision"]);
}

#[test]
fn only_our_account_can_read_or_write() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("state/palisade/audit");
    let audit = begin(&directory, Sync::Group);
    assert_eq!(audit.path().parent().unwrap(), directory);
    assert_eq!(audit.path().metadata().unwrap().mode() & 0o7777, 0o600);
    for made in [directory.as_path(), directory.parent().unwrap(), &home.path().join("state")] {
        assert_eq!(made.metadata().unwrap().mode() & 0o7777, 0o700);
    }
}

#[test]
fn a_directory_that_others_can_change_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    let refused = |name: &str| Audit::open(&settings(&at(name), Sync::Group), sample::start()).unwrap_err();

    for mode in [0o777, 0o770, 0o702, 0o1777] {
        let name = format!("mode-{mode:o}");
        fs::create_dir(at(&name)).unwrap();
        fs::set_permissions(at(&name), Permissions::from_mode(mode)).unwrap();
        assert_eq!(refused(&name), AuditError::Writable { path: at(&name), mode });
    }
    fs::create_dir(at("real")).unwrap();
    fs::set_permissions(at("real"), Permissions::from_mode(0o700)).unwrap();
    symlink(at("real"), at("link")).unwrap();
    assert_eq!(refused("link"), AuditError::NotDirectory { path: at("link") });
    symlink(at("nowhere"), at("dangling")).unwrap();
    assert_eq!(refused("dangling"), AuditError::NotDirectory { path: at("dangling") });
    fs::write(at("file"), "").unwrap();
    assert_eq!(refused("file"), AuditError::NotDirectory { path: at("file") });
    assert_eq!(fs::read_dir(at("real")).unwrap().count(), 0);

    let ours = rustix::process::geteuid().as_raw();
    fs::create_dir(at("theirs")).unwrap();
    // Only root can give a directory away.
    if chown(at("theirs"), Some(ours + 1), None).is_ok() {
        assert_eq!(refused("theirs"), AuditError::Owner { path: at("theirs"), owner: ours + 1, ours });
    }
}

#[test]
fn a_file_that_was_taken_away_takes_no_record() {
    type Attack = fn(&Path);
    let attacks: [(&str, Attack); 4] = [
        ("unlinked", |file| fs::remove_file(file).unwrap()),
        ("directory removed", |file| fs::remove_dir_all(file.parent().unwrap()).unwrap()),
        ("renamed", |file| fs::rename(file, file.with_extension("away")).unwrap()),
        ("replaced", |file| {
            fs::copy(file, file.with_extension("copy")).unwrap();
            fs::rename(file.with_extension("copy"), file).unwrap();
        }),
    ];
    for (name, attack) in attacks {
        let home = tempfile::tempdir().unwrap();
        let audit = begin(&home.path().join("audit"), Sync::Group);
        decide(&audit).unwrap();
        let head = audit.head();
        attack(audit.path());
        for _ in 0..2 {
            let error = decide(&audit).unwrap_err();
            assert_eq!(error, AuditError::Gone { path: audit.path().to_owned() }, "{name}");
            assert!(error.to_string().contains(&audit.path().display().to_string()), "{name}");
        }
        assert_eq!(audit.head(), head, "{name}");
    }
}

#[test]
fn a_file_that_was_put_back_is_written_again_and_says_so() {
    let home = tempfile::tempdir().unwrap();
    let audit = begin(home.path(), Sync::Group);
    let away = audit.path().with_extension("away");
    fs::rename(audit.path(), &away).unwrap();
    decide(&audit).unwrap_err();
    decide(&audit).unwrap_err();
    fs::rename(&away, audit.path()).unwrap();
    decide(&audit).unwrap();
    let anchor = decide(&audit).unwrap();
    assert_eq!(kinds(audit.path()), ["start", "recovered", "decision", "decision"]);
    assert_eq!(check(audit.path(), Some(anchor)).unwrap().records, 4);
    let record: serde_json::Value =
        serde_json::from_str(fs::read_to_string(audit.path()).unwrap().lines().nth(1).unwrap()).unwrap();
    assert_eq!(record.get("refused").unwrap(), 2);
    assert_eq!(record.get("cause").unwrap(), "file-gone");
}

#[test]
fn a_file_that_someone_else_wrote_to_is_left_as_it_is() {
    type Attack = fn(&Path);
    let attacks: [(&str, Attack); 2] = [
        ("shortened", |file| fs::OpenOptions::new().write(true).open(file).unwrap().set_len(10).unwrap()),
        ("added to", |file| {
            fs::OpenOptions::new().append(true).open(file).unwrap().write_all(b"{}\n").unwrap();
        }),
    ];
    for (name, attack) in attacks {
        let home = tempfile::tempdir().unwrap();
        let audit = begin(home.path(), Sync::Group);
        decide(&audit).unwrap();
        attack(audit.path());
        let evidence = fs::read(audit.path()).unwrap();
        for _ in 0..2 {
            assert_eq!(decide(&audit), Err(AuditError::Altered { path: audit.path().to_owned() }), "{name}");
        }
        assert_eq!(fs::read(audit.path()).unwrap(), evidence, "{name}");
    }
}

#[test]
fn a_chain_file_is_locked_while_its_process_lives() {
    let home = tempfile::tempdir().unwrap();
    let audit = begin(home.path(), Sync::Group);
    let other = fs::File::open(audit.path()).unwrap();
    let lock = rustix::fs::flock(&other, FlockOperation::NonBlockingLockExclusive);
    assert_eq!(lock, Err(Errno::WOULDBLOCK));
}

/// Names the directory to work in, in a process that a test has started to do its work.
const CHILD: &str = "PALISADE_AUDIT_TEST";

fn child() -> Option<PathBuf> {
    std::env::var_os(CHILD).map(PathBuf::from)
}

/// This program again, to run `test` in `directory`, after `prologue` in a shell.
fn rerun(test: &str, directory: &Path, prologue: &str) -> Command {
    let (_crate, module) = module_path!().split_once("::").unwrap();
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!(r#"{prologue} exec "$0" "$@""#)])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &format!("{module}::{test}"), "--nocapture"])
        .env(CHILD, directory);
    command
}

fn passes(mut command: Command) {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

/// Appends until the disk is full, makes room, appends again.
fn fill_and_go_on(directory: &Path, full: Errno, word: &str, make_room: impl FnOnce()) {
    let audit = begin(directory, Sync::Group);
    let error = (0..1000).find_map(|_| decide(&audit).err()).unwrap();
    assert_eq!(error, AuditError::Write { path: audit.path().to_owned(), cause: full });
    assert!(error.to_string().contains(&audit.path().display().to_string()));
    decide(&audit).unwrap_err();
    let report = check(audit.path(), Some(audit.head())).unwrap();
    assert_eq!(report.head, audit.head());

    make_room();
    let anchor = decide(&audit).unwrap();
    assert_eq!(anchor.seq, report.records + 2);
    assert_eq!(check(audit.path(), Some(anchor)).unwrap().head, anchor);
    let kinds = kinds(audit.path());
    assert_eq!(kinds.iter().filter(|kind| *kind == "recovered").count(), 1);
    assert!(fs::read_to_string(audit.path()).unwrap().contains(&format!(r#""cause":"{word}""#)));
}

#[test]
fn a_file_at_its_size_limit_takes_no_record_until_there_is_room() {
    let Some(directory) = child() else {
        let home = tempfile::tempdir().unwrap();
        let test = "a_file_at_its_size_limit_takes_no_record_until_there_is_room";
        return passes(rerun(test, home.path(), "trap '' XFSZ; ulimit -S -f 9;"));
    };
    fill_and_go_on(&directory, Errno::FBIG, "file-size-limit", || {
        let hard = rustix::process::getrlimit(Resource::Fsize).maximum;
        rustix::process::setrlimit(Resource::Fsize, Rlimit { current: hard, maximum: hard }).unwrap();
    });
}

#[test]
fn a_full_disk_takes_no_record_until_there_is_room() {
    let Some(directory) = child() else {
        let home = tempfile::tempdir().unwrap();
        let test = "a_full_disk_takes_no_record_until_there_is_room";
        // A file system of our own needs a user namespace, which not every kernel lets us have.
        let may = Command::new("unshare").args(["-rm", "true"]).stderr(Stdio::null()).status();
        if may.is_ok_and(|status| status.success()) {
            let inner = rerun(test, home.path(), r#"mount -t tmpfs -o size=64k,mode=700 none "$PALISADE_AUDIT_TEST";"#);
            let mut outer = Command::new("unshare");
            outer.arg("-rm").arg(inner.get_program()).args(inner.get_args()).env(CHILD, home.path());
            passes(outer);
        }
        return;
    };
    let ballast = directory.join("ballast");
    fs::write(&ballast, [0; 32 << 10]).unwrap();
    fill_and_go_on(&directory, Errno::NOSPC, "no-space", || fs::remove_file(&ballast).unwrap());
}

#[test]
fn a_read_only_file_system_takes_no_record_until_it_can_be_written() {
    let Some(directory) = child() else {
        let home = tempfile::tempdir().unwrap();
        let test = "a_read_only_file_system_takes_no_record_until_it_can_be_written";
        let may = Command::new("unshare").args(["-rm", "true"]).stderr(Stdio::null()).status();
        if may.is_ok_and(|status| status.success()) {
            let inner = rerun(test, home.path(), r#"mount -t tmpfs -o mode=700 none "$PALISADE_AUDIT_TEST";"#);
            let mut outer = Command::new("unshare");
            outer.arg("-rm").arg(inner.get_program()).args(inner.get_args()).env(CHILD, home.path());
            passes(outer);
        }
        return;
    };
    let remount =
        |how: &str| Command::new("mount").args(["-o", how]).arg(&directory).output().unwrap().status.success();
    // No key yet, then one, and then a file to go on in: each is refused, and has left nothing behind.
    for key in [false, true] {
        if key {
            super::super::public_key(&directory).unwrap();
        }
        assert!(remount("remount,ro"));
        let error = Audit::open(&settings(&directory, Sync::Group), sample::start()).unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains("Read-only"), "{error}: {source}");
        assert!(error.advice().contains("make room on the disk or repair it"), "{error}: {}", error.advice());
        assert!(remount("remount,rw"));
        assert_eq!(chains(&directory), [] as [PathBuf; 0]);
    }
    let audit = begin(&directory, Sync::Group);
    let anchor = decide(&audit).unwrap();
    assert_eq!(check(audit.path(), Some(anchor)).unwrap().records, 2);
    // While a record is written the kernel lets nobody make its file system read-only.
    assert!(!remount("remount,ro"));
    decide(&audit).unwrap();
}

#[test]
fn a_chain_that_cannot_begin_leaves_no_file() {
    let Some(directory) = child() else {
        let home = tempfile::tempdir().unwrap();
        let test = "a_chain_that_cannot_begin_leaves_no_file";
        super::super::public_key(home.path()).unwrap();
        return passes(rerun(test, home.path(), "trap '' XFSZ; ulimit -S -f 0;"));
    };
    let error = Audit::open(&settings(&directory, Sync::Group), sample::start()).unwrap_err();
    assert!(matches!(error, AuditError::Write { cause: Errno::FBIG, .. }));
    assert_eq!(chains(&directory), [] as [PathBuf; 0]);
}

#[test]
fn processes_do_not_share_a_file() {
    if let Some(directory) = child() {
        let audit = begin(&directory, Sync::Group);
        for _ in 0..20 {
            decide(&audit).unwrap();
        }
        audit.append_blocking(sample::stopped()).unwrap();
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let start = || rerun("processes_do_not_share_a_file", home.path(), "").stdout(Stdio::null()).spawn().unwrap();
    let children: Vec<_> = (0..4).map(|_| start()).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let files = chains(home.path());
    assert_eq!(files.len(), 4);
    for file in files {
        let report = check(&file, None).unwrap();
        assert_eq!((report.records, report.complete), (22, true));
    }
}

#[test]
fn what_a_killed_process_was_told_is_on_record() {
    if let Some(directory) = child() {
        let audit = begin(&directory, Sync::Group);
        loop {
            let anchor = decide(&audit).unwrap();
            writeln!(std::io::stdout(), "anchor={anchor}").unwrap();
        }
    }
    let home = tempfile::tempdir().unwrap();
    let mut child =
        rerun("what_a_killed_process_was_told_is_on_record", home.path(), "").stdout(Stdio::piped()).spawn().unwrap();
    let told = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .filter_map(|line| line.unwrap().strip_prefix("anchor=")?.parse::<Anchor>().ok())
        .nth(50)
        .unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::KILL).unwrap();
    child.wait().unwrap();
    let file = chains(home.path()).pop().unwrap();
    let found = verify(BufReader::new(fs::File::open(file).unwrap()), Some(told));
    match found {
        Ok(report) => assert!(report.records >= told.seq && !report.complete),
        Err(broken) => assert!(matches!(broken.what, BrokenKind::Torn { .. }), "{broken}"),
    }
}
