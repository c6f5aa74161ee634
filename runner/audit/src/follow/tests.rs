#![expect(clippy::unwrap_used, clippy::string_slice, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use std::fs;
use std::io::Write as _;

use super::super::{Audit, AuditSettings, Sync, sample};
use super::*;

/// A record of small files in a directory of its own.
struct Home {
    directory: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn chain(&self, rotate: u64) -> Audit {
        let settings = AuditSettings { rotate_size: rotate, ..AuditSettings::new(self.path().to_owned(), Sync::None) };
        Audit::open(&settings, sample::start()).unwrap()
    }
}

fn say(audit: &Audit, script: &str) {
    audit.append_blocking(sample::decided(audit.request(), script)).unwrap();
}

/// All that there is for now.
fn all(follower: &mut Follower) -> Vec<Followed> {
    let mut all = Vec::new();
    follower.due = Due::All;
    loop {
        let found = follower.news().unwrap();
        if found.is_empty() && matches!(&follower.due, Due::These(names) if names.is_empty()) {
            return all;
        }
        all.extend(found);
    }
}

/// Scripts and notices, in the order in which they came.
fn told(found: &[Followed]) -> Vec<String> {
    let one = |followed: &Followed| match followed {
        Followed::Record(seen) => seen.record.cmd.as_deref().map(str::to_owned),
        Followed::Notice(notice) => Some(format!("{:?}", notice.what)),
    };
    found.iter().filter_map(one).collect()
}

#[test]
fn records_come_as_they_are_written_over_all_chains_and_files() {
    let home = Home::new();
    let mut follower = Follower::open(home.path(), From::Now).unwrap();
    assert!(all(&mut follower).is_empty());
    let (one, other) = (home.chain(4000), home.chain(1 << 20));
    let mut expected = Vec::new();
    let mut seen = Vec::new();
    for number in 0..40 {
        let script = format!("echo {number}");
        say(if number % 3 == 0 { &other } else { &one }, &script);
        expected.push(script);
        if number % 7 == 0 {
            seen.extend(all(&mut follower));
        }
    }
    seen.extend(all(&mut follower));
    let mut scripts = told(&seen);
    scripts.sort_by_key(|script| script[5..].parse::<u32>().unwrap());
    assert_eq!(scripts, expected);
    let files: BTreeSet<PathBuf> = home.path().read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.iter().filter(|file| file.to_string_lossy().contains("_0000")).count() > 2, "{files:?}");
}

#[test]
fn the_kernel_tells_of_new_chains_and_of_new_records() {
    let home = Home::new();
    let mut follower = Follower::open(home.path(), From::Now).unwrap();
    assert!(follower.watch.is_some());
    assert!(follower.news().unwrap().is_empty());
    for round in 0..3 {
        let audit = home.chain(1 << 20);
        for number in 0..3 {
            let script = format!("echo {round} {number}");
            say(&audit, &script);
            let mut found = Vec::new();
            let begun = Instant::now();
            while !told(&found).contains(&script) {
                assert!(begun.elapsed() < LOOK / 2, "the kernel's word was not heard");
                follower.wait(LOOK);
                found.extend(follower.news().unwrap());
            }
        }
    }
}

#[test]
fn following_begins_where_it_is_asked_to() {
    let home = Home::new();
    let old = home.chain(4000);
    (0..20).for_each(|number| say(&old, &format!("old {number}")));
    old.append_blocking(sample::stopped()).unwrap();
    let live = home.chain(4000);
    (0..20).for_each(|number| say(&live, &format!("live {number}")));
    let begun = |from| told(&all(&mut Follower::open(home.path(), from).unwrap()));
    assert!(begun(From::Now).is_empty());
    assert_eq!(begun(From::Last(3)), ["live 17", "live 18", "live 19"]);
    // Rotations and signatures are records, too.
    let last = begun(From::Last(40));
    assert!(last.contains(&"live 0".to_owned()) && last.contains(&"old 19".to_owned()), "{last:?}");
    assert!(!last.contains(&"old 5".to_owned()), "{last:?}");
    assert_eq!(begun(From::Last(1000)).len(), 40);
    assert_eq!(begun(From::Since(Timestamp::UNIX_EPOCH)).len(), 40);
    assert!(begun(From::Since(Timestamp::MAX)).is_empty());
}

#[test]
fn a_line_counts_when_its_end_is_there() {
    let home = Home::new();
    let audit = home.chain(1 << 20);
    let mut follower = Follower::open(home.path(), From::Now).unwrap();
    say(&audit, "whole");
    let path = audit.path().to_owned();
    let text = fs::read_to_string(&path).unwrap();
    let at = text.trim_end().rfind('\n').unwrap() + 9;
    fs::write(&path, &text[..at]).unwrap();
    assert!(all(&mut follower).is_empty());
    fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(&text.as_bytes()[at..]).unwrap();
    assert_eq!(told(&all(&mut follower)), ["whole"]);
}

#[test]
fn what_is_not_as_it_was_is_told() {
    type Attack = fn(&Path, &str);
    fn put(path: &Path, text: &str) {
        fs::OpenOptions::new().write(true).truncate(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
    }
    fn another(path: &Path, text: &str) {
        fs::write(path.with_extension("new"), text).unwrap();
        fs::rename(path.with_extension("new"), path).unwrap();
    }
    let attacks: [(&str, Attack, &[&str]); 8] = [
        ("nothing", |_, _| (), &["next"]),
        ("a line put in", |path, text| put(path, &format!("{text}{{}}\n")), &["NotRecord", "next"]),
        (
            "a line without an end",
            |path, text| put(path, &format!("{text}{}\n", "x".repeat(MAX_LINE + 9))),
            &["TooLong", "next"],
        ),
        (
            "the last line once more",
            |path, text| put(path, &format!("{text}{}\n", text.lines().last().unwrap())),
            &["Link { seq: 4 }", "three", "next"],
        ),
        (
            "the last line cut off",
            |path, text| put(path, &text[..=text.trim_end().rfind('\n').unwrap()]),
            &["Shortened", "Link { seq: 5 }", "next"],
        ),
        ("the same text in another file", |path, text| another(path, text), &["Replaced", "next"]),
        (
            "the last record changed",
            |path, text| another(path, &text.replace("three", "third")),
            &["Replaced", "Rewritten { seq: 4 }", "third", "Link { seq: 5 }", "next"],
        ),
        (
            "an earlier record changed",
            |path, text| another(path, &text.replace("two", "owt")),
            &["Replaced", "Link { seq: 4 }", "next"],
        ),
    ];
    for (name, attack, expected) in attacks {
        let (home, aside) = (Home::new(), Home::new());
        let audit = aside.chain(1 << 20);
        let path = home.path().join(audit.path().file_name().unwrap());
        ["one", "two", "three"].iter().for_each(|script| say(&audit, script));
        fs::copy(audit.path(), &path).unwrap();
        let mut follower = Follower::open(home.path(), From::Last(100)).unwrap();
        assert_eq!(told(&all(&mut follower)), ["one", "two", "three"], "{name}");
        let text = fs::read_to_string(&path).unwrap();
        attack(&path, &text);
        let mut found = told(&all(&mut follower));
        say(&audit, "next");
        let after = fs::read_to_string(audit.path()).unwrap();
        let next = &after[text.len()..];
        fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(next.as_bytes()).unwrap();
        found.extend(told(&all(&mut follower)));
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn a_chain_that_begins_in_the_middle_is_checked_from_there() {
    let home = Home::new();
    let audit = home.chain(1 << 20);
    ["one", "two", "three"].iter().for_each(|script| say(&audit, script));
    let text = fs::read_to_string(audit.path()).unwrap().replace("two", "owt");
    for (lines, expected) in [(1, &["three"][..]), (100, &["one", "owt", "Link { seq: 4 }", "three"])] {
        let other = Home::new();
        fs::write(other.path().join(audit.path().file_name().unwrap()), &text).unwrap();
        let mut follower = Follower::open(other.path(), From::Last(lines)).unwrap();
        let found = told(&all(&mut follower));
        // Of what stands before the first line that is shown, its link is known.
        let expected = if lines == 1 { vec!["Link { seq: 4 }", "three"] } else { expected.to_vec() };
        assert_eq!(found, expected, "{lines}");
    }
}

#[test]
fn a_file_that_goes_is_missed_unless_it_was_pruned() {
    for (pruned, expected) in [(false, &["Gone"][..]), (true, &[])] {
        let home = Home::new();
        let audit = home.chain(1 << 20);
        say(&audit, "one");
        let mut follower = Follower::open(home.path(), From::Last(9)).unwrap();
        assert_eq!(told(&all(&mut follower)), ["one"]);
        if pruned {
            fs::write(audit.path().with_extension("pruned"), "").unwrap();
        }
        fs::remove_file(audit.path()).unwrap();
        assert_eq!(told(&all(&mut follower)), expected);
        assert!(all(&mut follower).is_empty());
        assert!(follower.tails.is_empty());
    }
}

#[test]
fn a_directory_that_comes_later_is_followed_and_links_are_not() {
    let home = Home::new();
    let later = home.path().join("later");
    let mut follower = Follower::open(&later, From::Now).unwrap();
    assert!(all(&mut follower).is_empty());
    let audit = Audit::open(&AuditSettings::new(later.clone(), Sync::None), sample::start()).unwrap();
    say(&audit, "one");
    assert_eq!(told(&all(&mut follower)), ["one"]);
    std::os::unix::fs::symlink(audit.path(), later.join("link.jsonl")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, later.join("pipe.jsonl"), rustix::fs::Mode::RUSR).unwrap();
    let found = told(&all(&mut follower));
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.iter().all(|notice| notice.starts_with("Unreadable")), "{found:?}");
    assert!(told(&all(&mut follower)).is_empty());
}

#[test]
fn a_clock_that_is_set_back_turns_no_chain_around() {
    let home = Home::new();
    let (one, other) = (home.chain(1 << 20), home.chain(1 << 20));
    for number in 0..3 {
        say(&one, &format!("one {number}"));
        say(&other, &format!("other {number}"));
    }
    let mut found = all(&mut Follower::open(home.path(), From::Last(100)).unwrap());
    if let Followed::Record(seen) = &mut found[3] {
        seen.at = Timestamp::UNIX_EPOCH;
    } else {
        panic!("a record");
    }
    let order = |found: &[Followed]| -> Vec<(Arc<str>, u64)> {
        let place = |one: &Followed| match one {
            Followed::Record(seen) => (Arc::clone(&seen.chain), seen.anchor.seq),
            Followed::Notice(_) => panic!("a record"),
        };
        found.iter().map(place).collect()
    };
    let mut seqs: BTreeMap<Arc<str>, u64> = BTreeMap::new();
    for (chain, seq) in order(&in_order(found)) {
        assert!(seqs.insert(chain, seq).is_none_or(|before| before < seq));
    }
}
