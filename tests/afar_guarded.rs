//! Checkpoints of workspaces at targets that have a guard: its program does the work there, and nothing else of the target's is needed.

use std::fs::{self, File, FileTimes};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::afar::{comes_back, in_container, is_refused_by_name, over_ssh, ran, restore, take, tree, walk};
use crate::afar_from_outside::{PRUNE, begun, closed, listed, names, objects, outside};
use crate::remote_guard::{self, ACCEPT};
use crate::support::services::{Docker, Sshd, run};
use crate::support::site::{Site, real, until};
use crate::support::world::World;

/// The shipped profile; and what it asks a person about, checkpoints and what a session does without a guard, without one.
fn policy(more: &str) -> String {
    let asks = "forbid (\n  principal,\n  action == Action::\"restore\",";
    let profile = remote_guard::policy(&format!(
        "@id(\"t-checkpoints\") @reason(\"for tests\")\n\
         permit (principal, action in [Action::\"checkpoint\", Action::\"restore\"], resource);\n\
         @id(\"t-commands\") @reason(\"for tests\") permit (principal, action == Action::\"exec\", resource)\n\
         when {{ [Origin::\"remote\", Origin::\"builtin\", Origin::\"system\"].contains(resource.origin) }};\n\
         @id(\"t-files\") @reason(\"for tests\")\n\
         permit (principal, action in [Action::\"fileAccess\", Action::\"execute\"], resource) when {{ resource in context.workspace }};\n{more}"
    ));
    assert!(profile.contains(asks), "the profile asks about restores no more");
    profile.replace(asks, "permit (\n  principal,\n  action == Action::\"restore\",")
}

/// A target over SSH under a guard; its workspace and where it keeps what it keeps.
fn guarded(sshd: &Sshd, policy: &str) -> (Site, PathBuf, PathBuf) {
    let (site, work, state) = over_ssh(sshd, ACCEPT, policy);
    let world = closed(site);
    guards(&world, true);
    (Site::of(world), work, state)
}

/// Puts its target under a guard, or takes it out from there.
fn guards(world: &World, is_guarded: bool) {
    let settings = fs::read_to_string(world.path("settings.toml")).expect("settings");
    let (was, is) = (format!("remote_guard = {}\n", !is_guarded), format!("remote_guard = {is_guarded}\n"));
    assert!(settings.contains(&was) || settings.contains(&is), "{settings}");
    world.write("settings.toml", &settings.replace(&was, &is));
}

/// What runs there for a checkpoint, by number: the program that lies below `state`.
fn at_work(state: &Path) -> Vec<String> {
    let numbers = fs::read_dir("/proc").expect("processes").flatten();
    let numbers = numbers.filter_map(|entry| entry.file_name().into_string().ok());
    let is_one = |number: &String| {
        let program = fs::read_link(format!("/proc/{number}/exe")).unwrap_or_default();
        let words = fs::read(format!("/proc/{number}/cmdline")).unwrap_or_default();
        program.starts_with(state) && words.split(|byte| *byte == 0).any(|word| word == b"keep")
    };
    numbers.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())).filter(is_one).collect()
}

/// What those worked in that are at work no more.
fn left_behind(state: &Path) -> Vec<PathBuf> {
    walk(state).into_iter().filter(|path| path.to_string_lossy().contains("/git.")).collect()
}

#[test]
fn a_workspace_comes_back_where_there_is_no_git() {
    let Some(sshd) = Sshd::up(&["bare"]) else { return };
    // Without a guard it takes what is not there.
    let (mut site, work, _) = over_ssh(&sshd, ACCEPT, &policy(""));
    let session = site.open("web");
    let (_, text) = site.call("checkpoint", &json!({ "session": session }));
    assert!(text.contains("the target lacks `"), "{text}");
    let world = closed(site);
    guards(&world, true);
    let (mut site, state) = (Site::of(world), work.with_file_name("state"));
    let session = site.open("web");
    comes_back(&mut site, &session, &work);
    until("what it worked in is there still", || at_work(&state).is_empty() && left_behind(&state).is_empty());
    for path in objects(&state) {
        let mode = path.metadata().expect("metadata").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", path.display());
    }
    // What is kept is out of a session's reach, whatever its text says.
    let object = objects(&state).into_iter().next().expect("an object");
    let before = fs::read(&object).expect("an object");
    let script = format!(
        "#!/bin/bash\nread -r line < {0} && echo read\necho x > {0} && echo written\nrm -f {0} && echo removed\n\
         for file in {1}/checkpoints/*; do [ -e \"$file\" ] && echo \"$file\"; done\n:",
        object.display(),
        state.display()
    );
    fs::write(work.join("reaches"), script).expect("a file");
    fs::set_permissions(work.join("reaches"), fs::Permissions::from_mode(0o755)).expect("permissions");
    let reached = site.exec(&session, "./reaches");
    assert_eq!((&reached["stdout"], &reached["exit_code"]), (&Value::Null, &json!(0)), "{reached}");
    assert_eq!(fs::read(&object).ok(), Some(before));
}

#[test]
fn a_workspace_in_a_container_comes_back_where_there_is_no_git() {
    let Some(docker) = Docker::up() else { return };
    let shared = tempfile::tempdir().expect("a directory");
    let work = PathBuf::from(real(shared.path().to_str().expect("text")));
    let missing = ["git", "find", "touch"].map(|program| format!("/dev/null:/usr/bin/{program}:ro"));
    let binds = [&[format!("{}:/srv/work:rw", work.display())], &missing[..]].concat();
    let container = docker.container_with("palisade-keeper-test", &binds);
    let target =
        in_container(&docker, container.name(), "/srv/work").replace("remote_guard = false", "remote_guard = true");
    let mut site = Site::with_policy(&format!("{ACCEPT}{target}"), &policy(""));
    let session = site.open("ci");
    comes_back(&mut site, &session, &work);
}

/// Files that one who is not root may not read are told, and the rest is held.
#[test]
fn what_cannot_be_read_is_told() {
    let Some(docker) = Docker::up() else { return };
    let shared = tempfile::tempdir().expect("a directory");
    let work = PathBuf::from(real(shared.path().to_str().expect("text")));
    fs::set_permissions(&work, fs::Permissions::from_mode(0o777)).expect("permissions");
    for (name, mode) in [("open", 0o666), ("shut", 0o600)] {
        fs::write(work.join(name), "then").expect("a file");
        fs::set_permissions(work.join(name), fs::Permissions::from_mode(mode)).expect("permissions");
    }
    fs::create_dir(work.join("closed")).expect("a directory");
    fs::set_permissions(work.join("closed"), fs::Permissions::from_mode(0o700)).expect("permissions");
    let container = docker.container_with("palisade-unread-test", &[format!("{}:/srv/work:rw", work.display())]);
    let target = in_container(&docker, container.name(), "/srv/work")
        .replace("remote_guard = false", "home = \"/root\"\nstate = \"/home/agent/state\"")
        .replace("docker = {", "docker = { user = \"agent\",");
    let mut site = Site::with_policy(&format!("{ACCEPT}{target}"), &policy(""));
    let session = site.open("ci");
    let (checkpoint, taken) = take(&mut site, &session);
    assert_eq!(taken["not_covered"], json!(["closed: unreadable", "shut: unreadable"]), "{taken}");
    ran(&mut site, &session, "echo now > open");
    let (done, text) = restore(&mut site, &session, &checkpoint, json!({}));
    assert!(done["failed"].is_null(), "{text}");
    assert_eq!(fs::read_to_string(work.join("open")).ok().as_deref(), Some("then"));
}

#[test]
fn what_was_meddled_with_is_refused_by_name_under_a_guard_too() {
    let Some(sshd) = Sshd::up(&[]) else { return };
    let (mut site, work, state) = guarded(&sshd, &policy(""));
    is_refused_by_name(&mut site, &work, &state);
}

#[test]
fn no_link_leads_a_restore_out_under_a_guard() {
    let Some(sshd) = Sshd::up(&[]) else { return };
    let (mut site, work, state) = guarded(&sshd, &policy(""));
    let outside = work.with_file_name("outside");
    for directory in [&work.join("sub"), &work.join("theirs"), &outside] {
        fs::create_dir(directory).expect("a directory");
        fs::write(directory.join("file"), "then").expect("a file");
    }
    let session = site.open("web");
    let (checkpoint, _) = take(&mut site, &session);
    ran(&mut site, &session, "echo now > theirs/file; rm sub/file; rmdir sub");
    fs::remove_dir_all(work.join("theirs")).expect("a directory");
    for name in ["theirs", "sub"] {
        symlink(&outside, work.join(name)).expect("a link");
    }
    let before = tree(&outside);
    let (done, text) = restore(&mut site, &session, &checkpoint, json!({}));
    assert_eq!(done["conflicts"]["paths"], json!(["sub", "theirs", "theirs/file"]), "{text}");
    let failed = done["failed"].as_array().unwrap_or_else(|| panic!("{text}"));
    assert!(failed.len() == 1 && failed[0].as_str().is_some_and(|one| one.starts_with("sub/file: ")), "{text}");
    let (done, text) = restore(&mut site, &session, &checkpoint, json!({ "force": true }));
    assert!(done["failed"].is_null(), "{text}");
    assert_eq!(tree(&outside), before);
    for name in ["theirs", "sub"] {
        assert_eq!(fs::read_to_string(work.join(name).join("file")).expect("a file"), "then");
    }
    // Nor does one in the place of the workspace itself, since the session began.
    fs::rename(&work, work.with_file_name("moved")).expect("moved");
    symlink(&outside, &work).expect("a link");
    for (tool, arguments) in [
        ("checkpoint", json!({ "session": session })),
        ("restore", json!({ "session": session, "checkpoint": checkpoint, "force": true })),
    ] {
        let (_, text) = site.call(tool, &arguments);
        assert!(text.contains("the target has no directory"), "{text}");
    }
    assert_eq!(tree(&outside), before);
    fs::remove_file(&work).expect("a link");
    fs::rename(work.with_file_name("moved"), &work).expect("moved");
    // Nor do links that stand in the place of what is kept, and what cannot be a place says why.
    let kept = state.join("checkpoints");
    fs::rename(&kept, state.join("moved")).expect("moved");
    symlink(&outside, &kept).expect("a link");
    let (_, text) = site.call("checkpoint", &json!({ "session": session }));
    assert!(text.contains("a link stands in its place"), "{text}");
    assert_eq!(tree(&outside), before);
    fs::remove_file(&kept).expect("a link");
    fs::write(&kept, "no directory").expect("a file");
    let (_, text) = site.call("checkpoint", &json!({ "session": session }));
    assert!(text.contains("at the target cannot be used: Not a directory"), "{text}");
    assert_eq!(fs::read_to_string(&kept).ok().as_deref(), Some("no directory"));
}

/// Both ways keep the same in the same place: a guard that comes or goes takes nothing along.
#[test]
fn what_was_taken_one_way_comes_back_the_other() {
    let Some(sshd) = Sshd::up(&[]) else { return };
    let (mut site, work, state) = over_ssh(&sshd, ACCEPT, &policy(PRUNE));
    let large: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    for (name, bytes) in [("large", large.as_slice()), ("small", b"then"), ("empty", b"")] {
        fs::write(work.join(name), bytes).expect("a file");
    }
    let time = FileTimes::new().set_modified(UNIX_EPOCH + Duration::new(1_000_000_000, 7));
    File::open(work.join("small")).expect("a file").set_times(time).expect("a time");
    let before = tree(&work);
    for (taken_under, back_under, count) in [(false, true, 3), (true, false, 5)] {
        let session = site.open("web");
        let (checkpoint, _) = take(&mut site, &session);
        // What was kept the other way is known, and not kept again.
        assert_eq!(objects(&state).len(), count, "{:?}", objects(&state));
        ran(&mut site, &session, "echo now > large; rm small empty; echo made > made");
        let (second, _) = take(&mut site, &session);
        let world = closed(site);
        guards(&world, back_under);
        let again = outside(&world, &["diff", "--target", "web", &second]);
        assert_eq!((again.code, again.stdout.as_str()), (Some(0), "nothing has changed since\n"), "{again:?}");
        let done = outside(&world, &["restore", "--target", "web", "--json", &checkpoint]);
        assert_eq!((done.code, &done.json()["delete"]["paths"]), (Some(0), &json!(["made"])), "{done:?}");
        assert!(tree(&work) == before, "taken under a guard: {taken_under}");
        site = Site::of(world);
    }
    // What is given up goes, and so does what was begun by either.
    let world = closed(site);
    guards(&world, true);
    let place = objects(&state)[0].parent().and_then(Path::parent).expect("the place of objects").to_owned();
    fs::create_dir_all(place.join("ab")).expect("a directory");
    for name in ["ab/tmp_obj_left", "tmp_object_git2_left"]
        .map(str::to_owned)
        .into_iter()
        .chain([format!("ab/{}", "cd".repeat(19))])
    {
        fs::write(place.join(name), "left").expect("a file");
    }
    let kept = names(&listed(&world)).last().map(|name| (*name).to_owned()).expect("a checkpoint");
    let pruned = outside(&world, &["prune", "--target", "web", "--keep", "1"]);
    assert_eq!(pruned.code, Some(0), "{pruned:?}");
    assert_eq!(names(&listed(&world)), [kept.as_str()]);
    assert_eq!(objects(&state).len(), 2, "of `large` and `made` as they were then: {:?}", objects(&state));
}

/// Files that a restore puts back, large enough to be caught at it.
const MANY: usize = 120;

/// Begins to go to a checkpoint, and ends one side or the other with some of it done. `left` counts what is still to be done.
fn cut_short(world: &World, state: &Path, to: &str, there: bool, left: &dyn Fn() -> usize) {
    let all = left();
    let mut restore = begun(world, &["restore", "--target", "web", to]);
    until("it did nothing", || left() < all);
    if there {
        let at_work = at_work(state);
        run(Command::new("kill").arg("-KILL").args(&at_work));
    } else {
        restore.kill().expect("it is killed");
    }
    let status = restore.wait().expect("it has ended");
    assert!(!status.success(), "it was cut short");
    until("the target goes on with it", || at_work(state).is_empty());
    assert!((1..all).contains(&left()), "{} of {all} left", left());
}

#[test]
fn a_restore_that_was_cut_short_under_a_guard_is_finished_or_undone() {
    let Some(sshd) = Sshd::up(&[]) else { return };
    let (site, work, state) = guarded(&sshd, &policy(PRUNE));
    is_finished_or_undone(site, &work, &state);
}

#[test]
fn a_restore_that_was_cut_short_in_a_container_under_a_guard_is_finished_or_undone() {
    let Some(docker) = Docker::up() else { return };
    let shared = tempfile::tempdir().expect("a directory");
    let work = PathBuf::from(real(shared.path().to_str().expect("text")));
    let container = docker.container_with("palisade-cut-test", &[format!("{}:/srv/work:rw", work.display())]);
    let state = PathBuf::from("/var/tmp/palisade-cut-test");
    let more = format!("state = \"{}\"", state.display());
    let target = in_container(&docker, container.name(), "/srv/work").replace("remote_guard = false", &more);
    let target = target.replace("[targets.ci]", "[targets.web]");
    is_finished_or_undone(Site::with_policy(&format!("{ACCEPT}{target}"), &policy(PRUNE)), &work, &state);
}

/// Taken, changed, gone back to and cut short, twice. `state` is what the target calls it.
fn is_finished_or_undone(mut site: Site, work: &Path, state: &Path) {
    for at in 0..MANY {
        let directory = work.join(format!("d{at:03}"));
        fs::create_dir(&directory).expect("a directory");
        let bytes: Vec<u8> = (0..400_000_u32).flat_map(|number| (number ^ at as u32).to_le_bytes()).collect();
        fs::write(directory.join("gone"), bytes).expect("a file");
        fs::write(directory.join("kept"), "kept").expect("a file");
    }
    let session = site.open("web");
    let before = tree(work);
    let (checkpoint, _) = take(&mut site, &session);
    for (verb, file) in [("rm", "gone"), ("touch", "made"), ("chmod 600", "kept")] {
        let files: String = (0..MANY).map(|at| format!(" d{at:03}/{file}")).collect();
        ran(&mut site, &session, &format!("{verb}{files}"));
    }
    let changed = tree(work);
    let world = closed(site);
    let gone = || (0..MANY).filter(|at| !work.join(format!("d{at:03}/gone")).exists()).count();
    cut_short(&world, state, &checkpoint, false, &gone);
    let kept = listed(&world);
    let undo = names(&kept).last().copied().expect("a checkpoint").to_owned();
    assert_eq!(kept.last().map(|one| &one["before_restore"]), Some(&json!(checkpoint)), "{kept:?}");
    let undone = outside(&world, &["restore", "--target", "web", &undo]);
    assert_eq!((undone.code, tree(work) == changed), (Some(0), true), "{undone:?}");
    cut_short(&world, state, &checkpoint, true, &gone);
    let finished = outside(&world, &["restore", "--target", "web", &checkpoint]);
    assert_eq!((finished.code, tree(work) == before), (Some(0), true), "{finished:?}");
    let half: Vec<_> = walk(work)
        .into_iter()
        .filter(|path| path.as_os_str().as_bytes().windows(9).any(|part| part == b".palisade"))
        .collect();
    assert_eq!(half, Vec::<PathBuf>::new(), "what was half written is gone");
}
