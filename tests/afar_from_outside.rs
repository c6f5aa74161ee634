//! Checkpoints at targets, looked after by the operator: they outlive the server, and a restore that was cut short.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::afar::{over_ssh, policy, ran, take, tree, walk};
use crate::checkpoints::at_terminal;
use crate::support::services::{Sshd, run};
use crate::support::site::{Site, until};
use crate::support::world::{Ended, World};

/// Whoever runs the tests may give checkpoints up.
pub(crate) const PRUNE: &str =
    "@id(\"t-prune\") @reason(\"for tests\") permit (principal, action == Action::\"prune\", resource);\n";

/// The verb `checkpoint` with the site's settings and policy.
fn arguments<'a>(site: [&'a str; 2], arguments: &[&'a str]) -> Vec<&'a str> {
    let (action, rest) = arguments.split_at(1);
    [&["checkpoint"], action, &["--config", site[0], "--policies", site[1]], rest].concat()
}

/// The paths of a site's settings and policy.
fn site_of(world: &World) -> [String; 2] {
    ["settings.toml", "site/site.cedar"].map(|name| world.path(name).to_str().expect("text").to_owned())
}

pub(crate) fn outside(world: &World, words: &[&str]) -> Ended {
    let site = site_of(world);
    world.call(&arguments(site.each_ref().map(String::as_str), words))
}

/// The same, to be ended before its time.
pub(crate) fn begun(world: &World, words: &[&str]) -> Child {
    let site = site_of(world);
    let mut command = world.palisade();
    command.args(arguments(site.each_ref().map(String::as_str), words)).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("it starts")
}

pub(crate) fn listed(world: &World) -> Vec<Value> {
    let listed = outside(world, &["list", "--target", "web", "--json"]);
    assert_eq!(listed.code, Some(0), "{listed:?}");
    listed.json().as_array().expect("a list").clone()
}

pub(crate) fn names(all: &[Value]) -> Vec<&str> {
    all.iter().map(|one| one["checkpoint"].as_str().expect("a name")).collect()
}

/// The files in which a target keeps bytes.
pub(crate) fn objects(state: &Path) -> Vec<PathBuf> {
    walk(state).into_iter().filter(|path| path.to_string_lossy().contains("/objects/")).collect()
}

/// The server has ended.
pub(crate) fn closed(site: Site) -> World {
    let Site { server, world, .. } = site;
    drop(server);
    world
}

#[test]
fn what_was_taken_at_a_target_is_looked_after_without_its_server() {
    let Some(sshd) = Sshd::up(&[]) else { return };
    let (mut site, work, state) = over_ssh(&sshd, "", &policy(PRUNE));
    let session = site.open("web");
    for text in ["one", "two", "three"] {
        ran(&mut site, &session, &format!("echo {text} > file; echo {text} > {text}"));
        take(&mut site, &session);
    }
    fs::write(work.join("theirs"), "theirs").expect("a file");
    let (from_inside, text) = site.call("list", &json!({ "kind": "checkpoints", "session": session }));
    let world = closed(site);
    let all = listed(&world);
    assert_eq!(Value::Array(all.clone()), from_inside["checkpoints"], "{text}");
    assert_eq!((all.len(), &all[0]["label"]), (3, &json!("before")), "{all:?}");
    assert_eq!(outside(&world, &["list", "--json"]).stdout, "[]\n", "those of this machine are others");
    let [first, second, third] = [0, 1, 2].map(|at| names(&all)[at]);
    // What would be done is shown, and nothing done.
    let shown = outside(&world, &["diff", "--target", "web", first]);
    let expected =
        "would be put back: 1\n  file\nwould be deleted: 2\n  three\n  two\nmade by others, left alone: 1\n  theirs\n";
    assert_eq!((shown.code, shown.stdout.as_str()), (Some(0), expected), "{shown:?}");
    assert!(work.join("three").exists());
    let done = outside(&world, &["restore", "--target", "web", "--json", first]);
    assert_eq!((done.code, &done.json()["write"]["paths"]), (Some(0), &json!(["file"])), "{done:?}");
    assert_eq!(fs::read_to_string(work.join("file")).expect("a file"), "one\n");
    assert!(!work.join("two").exists() && work.join("theirs").exists());
    let record = world.record();
    let kinds: Vec<_> = record.iter().map(|line| line["kind"].as_str().expect("a kind")).collect();
    assert_eq!(kinds, ["start", "open", "restore", "restore", "close", "stop"]);
    let planned = &record[2];
    assert_eq!((&planned["target"], &planned["session"]), (&json!("web"), &json!(session)), "{planned}");
    assert_eq!((&planned["effect"], &planned["delete"]), (&json!("allow"), &json!(["three", "two"])), "{planned}");
    let after = listed(&world);
    assert_eq!((after.len(), &after[3]["before_restore"]), (4, &json!(first)), "{after:?}");
    // What goes here goes there, and what was left there by whatever was cut short.
    let before = objects(&state).len();
    let place = objects(&state)[0].parent().and_then(Path::parent).expect("the place of objects").to_owned();
    fs::create_dir_all(place.join("ab")).expect("a directory");
    for name in ["cd".repeat(19), "tmp_obj_left".to_owned()] {
        fs::write(place.join("ab").join(name), "left").expect("a file");
    }
    let pruned = outside(&world, &["prune", "--target", "web", "--keep", "1"]);
    assert_eq!(pruned.code, Some(0), "{pruned:?}");
    let entry = world.record().into_iter().find(|line| line["kind"] == "checkpoint_prune").expect("an entry");
    assert_eq!((&entry["effect"], &entry["target"], &entry["keep"]), (&json!("allow"), &json!("web"), &json!(1)));
    let gone: Vec<_> = pruned.stdout.lines().filter_map(|line| line.strip_prefix("gone: ")?.get(..12)).collect();
    assert_eq!(gone, [first, second, third]);
    assert_eq!((names(&listed(&world)), before), (names(&after[3..]), 4), "of four, the one from before the restore");
    // It holds `file` and `three` with the same bytes, `one`, `two` and what is theirs.
    assert_eq!(objects(&state).len(), 4, "{:?}", objects(&state));
    let gone = outside(&world, &["restore", "--target", "web", first]);
    assert!(gone.code == Some(1) && gone.stderr.contains("there is no checkpoint"), "{gone:?}");
    // What is left is whole.
    let undone = outside(&world, &["restore", "--target", "web", "--force", names(&after)[3]]);
    assert_eq!((undone.code, work.join("three").exists()), (Some(0), true), "{undone:?}");
}

#[test]
fn who_may_not_reach_a_target_looks_after_nothing_there() {
    let Some(sshd) = Sshd::up(&[]) else { return };
    let (mut site, work, _) = over_ssh(&sshd, "", &policy(PRUNE));
    let session = site.open("web");
    fs::write(work.join("file"), "then").expect("a file");
    let (checkpoint, _) = take(&mut site, &session);
    fs::write(work.join("file"), "now").expect("a file");
    let world = closed(site);
    let restore = ["restore", "--target", "web", "--force", &checkpoint];
    for (words, what) in [
        (&["list", "--target", "nope"][..], "there is no target `nope`"),
        (&["prune", "--keep", "1", "--target", "web", "--transport", "docker"], "reached by ssh, not by docker"),
        (&["list", "--transport", "ssh"], "does not say which target"),
    ] {
        let refused = outside(&world, words);
        assert!(refused.code == Some(1) && refused.stderr.contains(what), "{words:?}: {refused:?}");
    }
    // A person is asked where policy wants that, and there is none; or nobody is asked.
    let sessions = "@id(\"t-sessions\") @reason(\"for tests\")\n";
    let all = policy(PRUNE);
    for (policy, code, what) in [
        (all.replace("resource.keyVerified };", "resource.keyVerified && context.approved };"), 126, "open a session"),
        (
            all.replace(sessions, &format!("{sessions}@suggest(\"no\")\n"))
                .replace("Transport::\"ssh\"", "Transport::\"local\""),
            1,
            "no session may be opened at this target",
        ),
    ] {
        world.write("site/site.cedar", &policy);
        let refused = outside(&world, &restore);
        assert!(refused.code == Some(code) && refused.stderr.contains(what), "{refused:?}");
    }
    // Whoever is there sees which host it is, and their yes is on record.
    let approve =
        "@id(\"t-approve\") @reason(\"for tests\") permit (principal, action == Action::\"approve\", resource);\n";
    let asks = all.replace("resource.keyVerified };", "resource.keyVerified && context.approved };");
    world.write("site/site.cedar", &format!("{asks}{approve}"));
    let site = site_of(&world);
    let diff = arguments(site.each_ref().map(String::as_str), &["diff", "--target", "web", &checkpoint]).join(" ");
    for (typed, code) in [("no", 126), ("yes", 0)] {
        let asked = at_terminal(&world, &diff, typed);
        let shown = asked.stdout.contains("open a session at the target web SHA256:");
        assert!(asked.code == Some(code) && shown, "{typed}: {asked:?}");
        let record = world.record();
        let of = |kind: &str| record.iter().find(|line| line["kind"] == kind);
        let answer = of("approval").expect("an entry");
        assert_eq!(of("open").map(|open| &open["under"]), (code == 0).then_some(&answer["of"]), "{record:?}");
    }
    // Nor is it a way round a rule about files.
    let frozen = format!(
        "@id(\"t-frozen\") @reason(\"for tests\") @suggest(\"leave it\")\n\
         forbid (principal, action == Action::\"write\", resource in Path::\"{}\");\n\
         @id(\"t-keep\") @reason(\"for tests\") @suggest(\"keep it\") forbid (principal, action == Action::\"prune\", resource);\n",
        work.join("file").display()
    );
    world.write("site/site.cedar", &policy(&frozen));
    let refused = outside(&world, &restore);
    assert!(refused.code == Some(126) && refused.stderr.contains("t-frozen"), "{refused:?}");
    let refused = outside(&world, &["prune", "--target", "web", "--keep", "0"]);
    assert!(refused.code == Some(126) && refused.stderr.contains("t-keep"), "{refused:?}");
    assert_eq!(
        (names(&listed(&world)), fs::read_to_string(work.join("file")).ok().as_deref()),
        (vec![checkpoint.as_str()], Some("now"))
    );
    // One that cannot be reached: what is listed here is known, and nothing goes.
    world.write("site/site.cedar", &policy(PRUNE));
    drop(sshd);
    for words in [&restore[..], &["prune", "--target", "web", "--keep", "0"]] {
        let refused = outside(&world, words);
        assert!(refused.code == Some(1) && refused.stderr.contains("error: "), "{words:?}: {refused:?}");
    }
    assert_eq!(names(&listed(&world)), [checkpoint.as_str()]);
}

/// Directories that a restore goes through, one after the other.
const MANY: usize = 150;

/// Whether something of ours stands in a directory below this one.
fn stands_in(work: &Path) -> bool {
    let listed = run(Command::new("find")
        .args(["/proc", "-maxdepth", "2", "-name", "cwd", "-lname"])
        .arg(format!("{}*", work.display())));
    !listed.stdout.is_empty()
}

/// Begins to go to a checkpoint, and is killed with some of it done. `left` counts what is still to be done.
fn cut_short(world: &World, work: &Path, to: &str, left: &dyn Fn() -> usize) {
    let all = left();
    let mut restore = begun(world, &["restore", "--target", "web", to]);
    until("it did nothing", || left() < all);
    restore.kill().expect("it is killed");
    restore.wait().expect("it has ended");
    until("the target goes on with it", || !stands_in(work));
    assert!((1..all).contains(&left()), "{} of {all} left", left());
}

#[test]
fn a_restore_that_was_cut_short_is_finished_or_undone() {
    let Some(sshd) = Sshd::up(&[]) else { return };
    let (mut site, work, _) = over_ssh(&sshd, "", &policy(PRUNE));
    for at in 0..MANY {
        let directory = work.join(format!("d{at:03}"));
        fs::create_dir(&directory).expect("a directory");
        for name in ["gone", "kept", "changed"] {
            fs::write(directory.join(name), format!("{name} {at}")).expect("a file");
        }
    }
    let session = site.open("web");
    let before = tree(&work);
    let (checkpoint, _) = take(&mut site, &session);
    for (verb, file) in [("rm", "gone"), ("touch", "made"), ("truncate -s 1", "changed")] {
        let files: String = (0..MANY).map(|at| format!(" d{at:03}/{file}")).collect();
        ran(&mut site, &session, &format!("{verb}{files}"));
    }
    let changed = tree(&work);
    let world = closed(site);
    let gone = || (0..MANY).filter(|at| !work.join(format!("d{at:03}/gone")).exists()).count();
    cut_short(&world, &work, &checkpoint, &gone);
    // What it was before is the newest, and nobody gives that up meanwhile.
    let kept = listed(&world);
    let undo = names(&kept).last().copied().expect("a checkpoint").to_owned();
    assert_eq!(kept.last().map(|one| &one["before_restore"]), Some(&json!(checkpoint)), "{kept:?}");
    let pruned = outside(&world, &["prune", "--target", "web", "--keep", "0"]);
    assert_eq!((pruned.code, pruned.stdout.as_str()), (Some(0), ""), "{pruned:?}");
    // Undone.
    let undone = outside(&world, &["restore", "--target", "web", &undo]);
    assert_eq!((undone.code, tree(&work) == changed), (Some(0), true), "{undone:?}");
    // Finished.
    cut_short(&world, &work, &checkpoint, &gone);
    let finished = outside(&world, &["restore", "--target", "web", &checkpoint]);
    assert_eq!((finished.code, tree(&work) == before), (Some(0), true), "{finished:?}");
    let again = outside(&world, &["diff", "--target", "web", &checkpoint]);
    assert_eq!((again.code, again.stdout.as_str()), (Some(0), "nothing has changed since\n"), "{again:?}");
}
