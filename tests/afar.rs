//! Checkpoints of workspaces at targets: real sshd, real container engine, and a hand that meddles with what is kept there.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, FileTimes};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::support::services::{Docker, Sshd, run};
use crate::support::site::{POLICY, Site, real, ssh_target, with_key};

/// What the other tests of targets permit, and checkpoints.
pub(crate) fn policy(more: &str) -> String {
    let checkpoints = "@id(\"t-checkpoints\") @reason(\"for tests\")\n\
                       permit (principal, action in [Action::\"checkpoint\", Action::\"restore\"], resource);\n";
    format!("{POLICY}{checkpoints}{more}")
}

/// A target over SSH that works in a directory of the fixture's, and keeps what it keeps in another one.
pub(crate) fn over_ssh(sshd: &Sshd, settings: &str, policy: &str) -> (Site, PathBuf, PathBuf) {
    let dir = PathBuf::from(real(sshd.variable("PALISADE_SSH_DIR")));
    let (work, state) = (dir.join("work"), dir.join("state"));
    fs::create_dir(&work).expect("a directory");
    let target = ssh_target(sshd, "web", &with_key(sshd, "key_ed25519"));
    let begin = format!("workspace = \"{}\"", sshd.variable("PALISADE_SSH_DIR"));
    let own = format!("workspace = \"{}\"\nstate = \"{}\"", work.display(), state.display());
    assert!(target.contains(&begin), "{target}");
    (Site::with_policy(&format!("{settings}{}", target.replace(&begin, &own)), policy), work, state)
}

/// One path: kind, permissions, time of the last change of what is in it, and its bytes or where it leads.
pub(crate) type Seen = (char, u32, i128, Vec<u8>);

/// All that lies in a directory, but what is git's.
pub(crate) fn tree(root: &Path) -> BTreeMap<PathBuf, Seen> {
    let (mut all, mut next) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(directory) = next.pop() {
        for entry in fs::read_dir(&directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            let about = path.symlink_metadata().expect("metadata");
            let (kind, content) = match about.file_type() {
                kind if kind.is_dir() => ('d', Vec::new()),
                kind if kind.is_symlink() => {
                    ('l', fs::read_link(&path).expect("a link").as_os_str().as_bytes().to_vec())
                }
                _ => ('f', fs::read(&path).expect("bytes")),
            };
            if kind == 'd' && path.file_name() != Some(OsStr::new(".git")) {
                next.push(path.clone());
            }
            let time = i128::from(about.mtime()) * 1_000_000_000 + i128::from(about.mtime_nsec());
            let path = path.strip_prefix(root).expect("below it").to_owned();
            all.insert(path, (kind, about.mode() & 0o7777, time, content));
        }
    }
    all
}

/// What is hard to bring back: bytes that attributes would change, permissions, times, names, links, empty directories, a repository.
fn plant(root: &Path) {
    let odd = OsStr::from_bytes(b"odd \"name\"\nwith \\ and \xff\x85");
    let ends = OsStr::from_bytes(b"sub/its end\n");
    for directory in ["sub", "empty", "gone/deep", "nested/.git/objects", "shut", "two\nlines\n"] {
        fs::create_dir_all(root.join(directory)).expect("a directory");
    }
    for (name, bytes, mode) in [
        (OsStr::new(".gitattributes"), &b"* text=auto eol=lf ident filter=evil\n"[..], 0o644),
        (OsStr::new("crlf.txt"), b"a\r\nb $Id$\r\n", 0o644),
        (OsStr::new("secret"), b"then", 0o600),
        (OsStr::new("tool"), b"#!/bin/sh\n", 0o4755),
        (OsStr::new("-dash"), b"then", 0o640),
        (OsStr::new("theirs"), b"then", 0o644),
        (OsStr::new("gone/deep/file"), b"", 0o444),
        (OsStr::new("nested/file"), b"then", 0o644),
        (OsStr::new("nested/.git/config"), b"[filter \"evil\"]\nclean = touch /tmp/never\n", 0o644),
        (OsStr::new("shut/file"), b"then", 0o600),
        (OsStr::new("two\nlines\n/'$(file)`"), b"then", 0o600),
        (odd, b"then\0", 0o600),
        (ends, b"then", 0o600),
    ] {
        let path = root.join(name);
        fs::write(&path, bytes).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("permissions");
    }
    symlink("sub", root.join("link")).expect("a link");
    symlink("/nonexistent/it's\nso", root.join("dangling")).expect("a link");
    fs::set_permissions(root.join("empty"), fs::Permissions::from_mode(0o2750)).expect("permissions");
    for (name, seconds, nanoseconds) in [("crlf.txt", 1_000_000_000, 123_456_789), ("sub", 86_400, 5), ("empty", 7, 0)]
    {
        let time = FileTimes::new().set_modified(UNIX_EPOCH + Duration::new(seconds, nanoseconds));
        File::open(root.join(name)).expect("a file").set_times(time).expect("a time");
    }
    let before = FileTimes::new().set_modified(UNIX_EPOCH - Duration::from_millis(1_750));
    File::open(root.join("secret")).expect("a file").set_times(before).expect("a time");
}

pub(crate) fn take(site: &mut Site, session: &str) -> (String, Value) {
    let (taken, text) = site.call("checkpoint", &json!({ "session": session, "label": "before" }));
    (taken["checkpoint"].as_str().unwrap_or_else(|| panic!("{text}")).to_owned(), taken)
}

pub(crate) fn restore(site: &mut Site, session: &str, checkpoint: &str, more: Value) -> (Value, String) {
    let mut arguments = json!({ "session": session, "checkpoint": checkpoint });
    arguments.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    site.call("restore", &arguments)
}

pub(crate) fn ran(site: &mut Site, session: &str, command: &str) {
    let ran = site.exec(session, command);
    assert_eq!(ran["exit_code"], json!(0), "`{command}`: {ran}");
}

/// Taken, changed, and gone back to. `work` is the workspace as this machine has it.
pub(crate) fn comes_back(site: &mut Site, session: &str, work: &Path) {
    plant(work);
    let git = tree(&work.join("nested/.git"));
    let before = tree(work);
    let (checkpoint, taken) = take(site, session);
    assert_eq!(taken["not_covered"], json!(["nested/.git: repository"]), "{taken}");
    assert_eq!(tree(work), before, "taking one changes nothing");
    for command in [
        "echo now > secret; chmod 644 secret; echo now > crlf.txt",
        "rm gone/deep/file link; rmdir gone/deep gone empty; mkdir made link; echo made > made/file; echo made > link/file",
        "rm dangling tool",
        "mkdir tool; echo made > tool/inside",
        "rm shut/file $'sub/its end\\n'; rmdir shut sub; echo file > sub; echo now >> nested/file; rm ./-dash; echo made > moved",
        "rm $'two\\nlines\\n/\\'$(file)`'; rmdir $'two\\nlines\\n'; echo now > .gitattributes",
    ] {
        ran(site, session, command);
    }
    fs::write(work.join("theirs"), "theirs").expect("a file");
    fs::write(work.join("new"), "theirs").expect("a file");
    let now = tree(work);
    let (planned, text) = restore(site, session, &checkpoint, json!({ "dry_run": true }));
    assert_eq!(planned["conflicts"]["paths"], json!(["theirs"]), "{text}");
    assert_eq!(planned["left"]["paths"], json!(["new"]), "{text}");
    let deleted = json!(["link/file", "made", "made/file", "moved", "tool/inside"]);
    assert_eq!(planned["delete"]["paths"], deleted, "{text}");
    assert!(planned["undo"].is_null() && tree(work) == now, "nothing is done in a dry run");
    let (done, text) = restore(site, session, &checkpoint, json!({}));
    assert!(done["undo"].is_string() && done["failed"].is_null(), "{text}");
    let (mut expected, mut found) = (before.clone(), tree(work));
    for name in ["theirs", "new"] {
        assert_eq!(found.remove(Path::new(name)).map(|seen| seen.3), Some(b"theirs".to_vec()), "{name}");
    }
    expected.remove(Path::new("theirs"));
    assert_eq!(found, expected);
    restore(site, session, &checkpoint, json!({ "force": true }));
    let mut found = tree(work);
    assert!(found.remove(Path::new("new")).is_some(), "others' new file stays even then");
    assert_eq!(found, before);
    // And back to what was there before that.
    let undo = done["undo"].as_str().expect("a checkpoint").to_owned();
    restore(site, session, &undo, json!({ "force": true }));
    assert_eq!(tree(work), now);
    assert_eq!(tree(&work.join("nested/.git")), git);
    let (listed, text) = site.call("list", &json!({ "kind": "checkpoints", "session": session }));
    let all = listed["checkpoints"].as_array().unwrap_or_else(|| panic!("{text}")).clone();
    assert_eq!((&all[0]["checkpoint"], &all[0]["label"]), (&json!(checkpoint), &json!("before")), "{text}");
    assert_eq!((&all[1]["checkpoint"], &all[1]["before_restore"]), (&json!(undo), &json!(checkpoint)), "{text}");
    assert_eq!(all.len(), 4, "{text}");
    let (here, text) = site.call("list", &json!({ "kind": "checkpoints" }));
    assert_eq!(here["checkpoints"], json!([]), "those of a target are not those of this machine: {text}");
    let record = site.world.record();
    let planned = record.iter().find(|line| line["kind"] == "restore").expect("an entry");
    assert_eq!((&planned["effect"], &planned["delete"]), (&json!("allow"), &deleted), "{planned}");
}

#[test]
fn a_workspace_over_ssh_comes_back_as_it_was() {
    let Some(sshd) = Sshd::up(&[]) else { return };
    let (mut site, work, state) = over_ssh(&sshd, "", &policy(""));
    let session = site.open("web");
    comes_back(&mut site, &session, &work);
    assert_eq!(state.join("checkpoints").metadata().expect("a directory").mode() & 0o777, 0o700);
    let left: Vec<_> = walk(&state).into_iter().filter(|path| path.to_string_lossy().contains("git.")).collect();
    assert_eq!(left, Vec::<PathBuf>::new(), "what git worked with is gone");
    // Palisade's own there, by policy: the account itself is held by nothing.
    let denied = site.exec(&session, &format!("ls {}", state.display()));
    assert_eq!(denied["status"], "denied", "{denied}");
    // It is the workspace's, not the session's; and a session knows what it made itself.
    site.call("session_close", &json!({ "session": session }));
    let session = site.open("web");
    let (checkpoint, _) = take(&mut site, &session);
    fs::write(work.join("theirs"), "again").expect("a file");
    let (planned, text) = restore(&mut site, &session, &checkpoint, json!({ "dry_run": true }));
    assert_eq!((&planned["write"]["count"], &planned["conflicts"]["paths"]), (&json!(0), &json!(["theirs"])), "{text}");
}

#[test]
fn a_workspace_in_a_container_comes_back_as_it_was() {
    let Some(docker) = Docker::up() else { return };
    let shared = tempfile::tempdir().expect("a directory");
    let work = PathBuf::from(real(shared.path().to_str().expect("text")));
    let bind = format!("{}:/srv/work:rw", work.display());
    let container = docker.container_with("palisade-afar-test", &[bind]);
    let mut site = Site::with_policy(&in_container(&docker, container.name(), "/srv/work"), &policy(""));
    let session = site.open("ci");
    comes_back(&mut site, &session, &work);
}

pub(crate) fn in_container(docker: &Docker, name: &str, workspace: &str) -> String {
    let socket = docker.socket();
    format!(
        "[targets.ci]\nremote_guard = false\nworkspace = \"{workspace}\"\ndocker = {{ container = \"{name}\", socket = \"{socket}\" }}\n"
    )
}

/// Every file below a directory.
pub(crate) fn walk(root: &Path) -> Vec<PathBuf> {
    let listed = run(Command::new("find").arg(root).args(["-type", "f"]));
    String::from_utf8_lossy(&listed.stdout).lines().map(PathBuf::from).collect()
}

/// The object that a text is, in what the target keeps.
pub(crate) fn kept(state: &Path, text: &str) -> PathBuf {
    let mut hash = Command::new("sh");
    hash.args(["-c", "printf %s \"$1\" | git hash-object --stdin", "sh", text]);
    let name = String::from_utf8_lossy(&run(&mut hash).stdout).trim().to_owned();
    let (first, rest) = name.split_at(2);
    let found = walk(state).into_iter().find(|path| path.ends_with(format!("objects/{first}/{rest}")));
    found.unwrap_or_else(|| panic!("no object for {text}"))
}

/// Nothing holds whoever runs as the same user there: what somebody has changed of what is kept comes back to nobody.
#[test]
fn what_was_meddled_with_is_refused_by_name_and_nothing_is_restored() {
    let Some(sshd) = Sshd::up(&[]) else { return };
    let (mut site, work, state) = over_ssh(&sshd, "", &policy(""));
    is_refused_by_name(&mut site, &work, &state);
}

/// Taken, meddled with, and gone back to.
pub(crate) fn is_refused_by_name(site: &mut Site, work: &Path, state: &Path) {
    for (name, text) in [("first", "the first"), ("second", "the second"), ("other", "something else")] {
        fs::write(work.join(name), text).expect("a file");
    }
    let session = site.open("web");
    let (checkpoint, _) = take(site, &session);
    ran(site, &session, "echo now > first; echo now > second");
    let (object, other) = (kept(state, "the second"), kept(state, "something else"));
    let whole = fs::read(&object).expect("an object");
    let now = tree(work);
    for what in ["other bytes", "garbage", "nothing", "a link"] {
        fs::remove_file(&object).expect("an object");
        match what {
            // Whole in itself, but not what the list names.
            "other bytes" => drop(fs::copy(&other, &object).expect("a copy")),
            "garbage" => fs::write(&object, "garbage").expect("a file"),
            "a link" => symlink("/etc/passwd", &object).expect("a link"),
            _ => {}
        }
        let (refused, text) = restore(site, &session, &checkpoint, json!({}));
        assert!(refused["undo"].is_null() && text.contains("does not hold any more"), "{what}: {text}");
        assert!(text.contains("`second`") && !text.contains("`first`"), "{what}: {text}");
        assert_eq!(tree(work), now, "{what}: nothing was restored, and nothing is left");
        let _there = fs::remove_file(&object);
        fs::write(&object, &whole).expect("an object");
    }
    let (listed, _) = site.call("list", &json!({ "kind": "checkpoints", "session": session }));
    assert_eq!(listed["checkpoints"].as_array().map(Vec::len), Some(1), "what was not gone from is not kept: {listed}");
    // Settings, filters and hooks that somebody puts there do not count.
    for directory in fs::read_dir(state.join("checkpoints")).expect("a directory") {
        let directory = directory.expect("an entry").path();
        fs::create_dir_all(directory.join("objects/info")).expect("a directory");
        for (name, text) in [("config", "[core]\n\tfsmonitor = touch ran\n\tworktree = /etc\n"), ("HEAD", "x")] {
            fs::write(directory.join(name), text).expect("a file");
        }
    }
    let (done, text) = restore(site, &session, &checkpoint, json!({}));
    assert!(done["undo"].is_string() && done["failed"].is_null(), "{text}");
    assert_eq!(fs::read_to_string(work.join("second")).ok().as_deref(), Some("the second"));
}

#[test]
fn no_link_leads_a_restore_out() {
    let Some(sshd) = Sshd::up(&[]) else { return };
    let (mut site, work, state) = over_ssh(&sshd, "", &policy(""));
    let outside = work.parent().expect("a directory").join("outside");
    for directory in [&work.join("sub"), &work.join("theirs"), &outside] {
        fs::create_dir(directory).expect("a directory");
        fs::write(directory.join("file"), "then").expect("a file");
    }
    let session = site.open("web");
    let (checkpoint, _) = take(&mut site, &session);
    ran(&mut site, &session, "echo now > theirs/file; rm sub/file; rmdir sub");
    // Somebody else puts links where the session has been.
    fs::remove_dir_all(work.join("theirs")).expect("a directory");
    for name in ["theirs", "sub"] {
        symlink(&outside, work.join(name)).expect("a link");
    }
    let content = || tree(&outside);
    let before = content();
    let (done, text) = restore(&mut site, &session, &checkpoint, json!({}));
    assert_eq!(done["conflicts"]["paths"], json!(["sub", "theirs", "theirs/file"]), "{text}");
    assert_eq!(done["failed"], json!(["sub/file: its directory is reached through a link"]), "{text}");
    assert_eq!(content(), before);
    let (done, text) = restore(&mut site, &session, &checkpoint, json!({ "force": true }));
    assert!(done["failed"].is_null(), "{text}");
    assert_eq!(content(), before);
    for name in ["theirs", "sub"] {
        assert!(work.join(name).symlink_metadata().is_ok_and(|about| about.is_dir()), "{name}: {text}");
        assert_eq!(fs::read_to_string(work.join(name).join("file")).expect("a file"), "then");
    }
    // A link in the place of what is kept leads to nothing that is ours.
    let kept = state.join("checkpoints");
    fs::rename(&kept, state.join("moved")).expect("moved");
    symlink(&outside, &kept).expect("a link");
    let (_, text) = site.call("checkpoint", &json!({ "session": session }));
    assert!(text.contains("a link stands in its place"), "{text}");
    assert_eq!(content(), before);
    // What is kept would lie in the workspace, behind a link or not.
    drop(site);
    fs::remove_dir_all(&state).expect("a directory");
    fs::create_dir(work.join("own")).expect("a directory");
    symlink(work.join("own"), &state).expect("a link");
    let target = ssh_target(&sshd, "web", &with_key(&sshd, "key_ed25519"))
        .replace("workspace = ", &format!("state = \"{}\"\nworkspace = ", state.display()))
        .replace(
            &format!("workspace = \"{}\"", work.parent().expect("a directory").display()),
            &format!("workspace = \"{}\"", work.display()),
        );
    let mut site = Site::with_policy(&target, &policy(""));
    let session = site.open("web");
    let (_, text) = site.call("checkpoint", &json!({ "session": session }));
    assert!(text.contains("cannot hold checkpoints: it leads into the workspace"), "{text}");
}

/// What a target lacks is named; what it makes up is not believed.
#[test]
fn a_target_that_cannot_or_lies_is_told_so() {
    let Some(docker) = Docker::up() else { return };
    let liar = tempfile::tempdir().expect("a directory");
    let program = |name: &str, text: &str| {
        let path = liar.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("permissions");
        path.display().to_string()
    };
    let entry = "r 1 2 3 644 f 0 0 1.0000000000 1.0000000000";
    let answers = |told: &str| format!("case $* in *mindepth*) printf '{told}' ;; *) printf '1 ext4' ;; esac");
    let lies = [
        ("leads-out", answers(&format!("{entry} ../../etc/passwd\\0\\0"))),
        ("no-list", answers("what\\0is\\0this\\0")),
        (
            "too-long",
            "case $* in *mindepth*) head -c 100000 /dev/zero | tr '\\0' x ;; *) printf '1 ext4' ;; esac".to_owned(),
        ),
    ];
    let missing = "/dev/null:/usr/bin/git:ro".to_owned();
    let mut hosts = vec![("no-git", vec![missing], "the target lacks `git`")];
    for (name, text) in &lies {
        let bind = format!("{}:/usr/bin/find:ro", program(name, text));
        hosts.push((name, vec![bind], "what the target tells of its files cannot be used"));
    }
    for (name, binds, words) in hosts {
        let container = docker.container_with(&format!("palisade-afar-{name}"), &binds);
        let demanding = policy(
            "@id(\"t-touch\") @reason(\"for tests\") @checkpoint(\"before\")\n\
             permit (principal, action == Action::\"exec\", resource in Program::\"touch\");\n",
        );
        let mut site = Site::with_policy(&in_container(&docker, container.name(), "/srv/app"), &demanding);
        let session = site.open("ci");
        let (taken, text) = site.call("checkpoint", &json!({ "session": session }));
        assert!(taken["checkpoint"].is_null() && text.contains(words), "{name}: {text}");
        // No checkpoint, no run; and the session is as it was.
        let (_, text) = site.call("exec", &json!({ "session": session, "command": "touch made" }));
        assert!(text.contains(words), "{name}: {text}");
        assert_eq!(site.exec(&session, "ls")["stdout"], json!(null), "{name}");
    }
}

#[test]
fn what_policy_or_the_settings_demand_is_there_before_a_command_at_a_target() {
    let Some(sshd) = Sshd::up(&[]) else { return };
    let frozen = PathBuf::from(real(sshd.variable("PALISADE_SSH_DIR"))).join("work/frozen");
    let demanding = policy(&format!(
        "@id(\"t-rm\") @reason(\"for tests\") @checkpoint(\"before\")\n\
         permit (principal, action == Action::\"exec\", resource in Program::\"rm\");\n\
         @id(\"t-frozen\") @reason(\"for tests\") @suggest(\"leave it\")\n\
         forbid (principal, action == Action::\"write\", resource in Path::\"{}\");\n",
        frozen.display()
    ));
    let (mut site, work, _) = over_ssh(&sshd, "", &demanding);
    for name in ["file", "frozen"] {
        fs::write(work.join(name), "then").expect("a file");
    }
    let session = site.open("web");
    assert!(site.exec(&session, "cat file")["checkpoint"].is_null());
    let removed = site.exec(&session, "rm file");
    let checkpoint = removed["checkpoint"].as_str().unwrap_or_else(|| panic!("{removed}")).to_owned();
    assert!(!work.join("file").exists());
    let (done, text) = restore(&mut site, &session, &checkpoint, json!({}));
    assert_eq!(done["write"]["paths"], json!(["file"]), "{text}");
    assert_eq!(fs::read_to_string(work.join("file")).ok().as_deref(), Some("then"));
    let record = site.world.record();
    let taken = record.iter().find(|line| line["kind"] == "checkpoint").expect("an entry");
    assert_eq!((&taken["checkpoint"], &taken["determining"]), (&json!(checkpoint), &json!(["t-rm"])), "{taken}");
    // It is no way round a rule.
    fs::write(&frozen, "theirs").expect("a file");
    let (_, text) = restore(&mut site, &session, &checkpoint, json!({ "force": true }));
    assert!(text.contains("t-frozen"), "{text}");
    assert_eq!(fs::read_to_string(&frozen).ok().as_deref(), Some("theirs"));
    // What is written to a shell is asked about once, and nothing asks again there.
    let (job, text) = site.call("exec", &json!({ "session": session, "command": "sh -c 'cat; true'", "yield_ms": 0 }));
    let job = job["job"].as_str().unwrap_or_else(|| panic!("{text}")).to_owned();
    let (_, text) = site.call("job_write", &json!({ "job": job, "input": "rm file\n", "wait_ms": 200 }));
    assert!(text.contains("only behind a checkpoint"), "{text}");
    assert!(work.join("file").exists());
    // The settings alone; where nothing has changed the last one serves, and of those that nobody asked for some are kept.
    drop(site);
    fs::remove_dir_all(&work).expect("a directory");
    let settings = "[checkpoint]\nautomatic = \"changes\"\nkeep = 2\n";
    let (mut site, _, state) = over_ssh(&sshd, settings, &policy(""));
    let session = site.open("web");
    let mut behind = Vec::new();
    for command in ["ls", "echo 1 > file", "true > /dev/null", "echo 2 > file", "echo 3 > file", "echo 4 > file"] {
        let ran = site.exec(&session, command);
        assert_eq!(ran["exit_code"], json!(0), "{command}: {ran}");
        behind.extend(ran["checkpoint"].as_str().map(str::to_owned));
    }
    let (listed, text) = site.call("list", &json!({ "kind": "checkpoints", "session": session }));
    let kept_now = listed["checkpoints"].as_array().map(Vec::len).unwrap_or_default();
    assert!(behind.len() >= 4 && kept_now <= 3, "{behind:?}: {text}");
    // What only those needed that are gone is gone from the target, too.
    let objects = walk(&state).into_iter().filter(|path| path.to_string_lossy().contains("/objects/")).count();
    assert!(objects <= 3, "{objects} objects: {:?}", walk(&state));
}
