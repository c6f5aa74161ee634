//! A session's own view of the file system, tried from inside and looked at from outside.

use super::*;
use crate::plan::{Cover, Mask};

/// Script, and what it prints; `$W` and `$O` as in the tests of the shell.
const SEEN: &[(&str, &str)] = &[
    ("chmod 777 $O/file; stat -c %a $O/file", "chmod: changing permissions of '$O/file': Read-only file system\n644\n"),
    ("chown $U $O/file", "chown: changing ownership of '$O/file': Read-only file system\n"),
    ("touch -d @1 $O/file", "touch: cannot touch '$O/file': Read-only file system\n"),
    (
        "python3 -c 'import os; os.setxattr(\"$O/file\", \"user.a\", b\"b\")' 2>&1 | tail -n 1",
        "OSError: [Errno 30] Read-only file system: '$O/file'\n",
    ),
    ("chmod 700 $W/given; touch -d @1 $W/given; stat -c '%a %Y' $W/given", "700 1\n"),
    ("cp -p $W/given $W/copy && cmp $W/given $W/copy && echo same", "same\n"),
    ("ls -A /tmp /dev/shm", "/dev/shm:\n\n/tmp:\n"),
    ("echo mine > /tmp/mine; echo mine > /dev/shm/mine; cat /tmp/mine /dev/shm/mine", "mine\nmine\n"),
    ("cp /usr/bin/true /tmp/own; /tmp/own", "bash: line 1: /tmp/own: Permission denied\n"),
    ("python3 -c 'import multiprocessing; print(multiprocessing.Lock())'", "<Lock(owner=None)>\n"),
    ("set -- /proc/[0-9]*; echo $#", "2\n"),
    ("read name < /proc/$$/comm; echo $name", "bash\n"),
    ("echo 1 > /proc/self/oom_score_adj", "bash: line 1: /proc/self/oom_score_adj: Read-only file system\n"),
    (
        "head -c 600K /dev/zero > /tmp/a; head -c 600K /dev/zero > /tmp/b",
        "head: error writing 'standard output': No space left on device\n",
    ),
    ("grep -c ' $W ' /proc/mounts", "1\n"),
    ("rmdir $W 2>/dev/null; ls $W", "given\n"),
];

/// The same, with `$W/hidden`, a file in it, and `$W/secret` covered, and `$W/kept` and a file in it only to be read.
const COVERED: &[(&str, &str)] = &[
    ("cat $W/secret", "cat: $W/secret: Permission denied\n"),
    ("ls $W/hidden", "ls: cannot open directory '$W/hidden': Permission denied\n"),
    ("cat $W/hidden/file", "cat: $W/hidden/file: Permission denied\n"),
    ("echo x > $W/secret", "bash: line 1: $W/secret: Read-only file system\n"),
    ("chmod 600 $W/secret", "chmod: changing permissions of '$W/secret': Read-only file system\n"),
    ("rm -f $W/secret", "rm: cannot remove '$W/secret': Device or resource busy\n"),
    ("mv $W/secret $W/s", "mv: cannot move '$W/secret' to '$W/s': Device or resource busy\n"),
    ("mv $W/given $W/secret", "mv: cannot move '$W/given' to '$W/secret': Device or resource busy\n"),
    ("ln $W/secret $W/s 2>/dev/null; ls $W/s", "ls: cannot access '$W/s': No such file or directory\n"),
    ("mv $W/hidden $W/h", "mv: cannot move '$W/hidden' to '$W/h': Device or resource busy\n"),
    ("umount $W/secret 2>/dev/null; cat $W/secret", "cat: $W/secret: Permission denied\n"),
    ("cat $W/kept/file", "kept\n"),
    ("echo x > $W/kept/file", "bash: line 1: $W/kept/file: Read-only file system\n"),
    ("echo x > $W/kept/new", "bash: line 1: $W/kept/new: Read-only file system\n"),
    ("rm $W/kept/file", "rm: cannot remove '$W/kept/file': Read-only file system\n"),
    ("chmod 777 $W/kept/file", "chmod: changing permissions of '$W/kept/file': Read-only file system\n"),
    ("mv $W/kept $W/k", "mv: cannot move '$W/kept' to '$W/k': Device or resource busy\n"),
];

fn each_view(test: impl FnMut(Namespaces)) {
    worlds().filter(|world| has_mounts(*world)).for_each(test);
}

/// A session of an unprivileged server has what one of root's has.
#[test]
fn both_kinds_of_namespaces_have_a_view_or_none() {
    let views: Vec<bool> = worlds().filter(|world| *world != Namespaces::None).map(has_mounts).collect();
    assert!(views.windows(2).all(|pair| pair[0] == pair[1]), "{views:?}");
}

/// In a workspace below the machine's `/tmp` as well as elsewhere.
fn try_all(rows: &[(&str, &str)], masks: impl Fn(&Place) -> Vec<Mask>) {
    each_view(|world| {
        for (script, expected) in rows {
            for parent in ["/var/tmp", "/tmp"] {
                // Nothing but the workspace is there.
                if parent == "/tmp" && (script.contains("$O") || script.contains("/tmp")) {
                    continue;
                }
                let place = Place::below(parent);
                let ran = place.masked(world, script, masks(&place));
                let expected = expected.replace("$W", place.path("work")).replace("$O", place.path("outside"));
                assert_eq!(ran, expected, "{script} in {world:?} below {parent}");
            }
        }
    });
}

#[test]
fn a_session_changes_only_what_it_may_and_sees_only_its_own() {
    try_all(SEEN, |_| Vec::new());
    for place in ["/tmp/mine", "/dev/shm/mine", "/tmp/own", "/tmp/a"] {
        assert!(!Path::new(place).exists(), "{place}");
    }
}

#[test]
fn what_is_covered_can_be_neither_read_nor_changed() {
    try_all(COVERED, covers);
}

#[test]
fn a_workspace_below_tmp_is_all_that_is_seen_of_it() {
    each_view(|world| {
        let place = Place::below("/tmp");
        let ran = place.masked(world, "cat given; echo x > new; ls -A /tmp .. 2>&1; ls $O", Vec::new());
        let name = place.directory.path().file_name().unwrap().to_str().unwrap();
        let outside = place.path("outside");
        let expected =
            format!("given\n..:\nwork\n\n/tmp:\n{name}\nls: cannot access '{outside}': No such file or directory\n",);
        assert_eq!(ran, expected, "{world:?}");
        assert_eq!(std::fs::read_to_string(Path::new(place.path("work")).join("new")).unwrap(), "x\n");
    });
}

/// What a session has no right to is no more there for being where it starts, or its home, below a place that is its own.
#[test]
fn a_session_does_not_read_where_it_starts_below_tmp() {
    each_view(|world| {
        for (rule, start) in [(None, "outside"), (Some(Rights::NONE), "work"), (Some(Rights::NONE), "outside")] {
            let place = Place::below("/tmp");
            std::os::unix::fs::symlink("../work/given", Path::new(place.path("outside")).join("leads")).unwrap();
            std::os::unix::fs::symlink("file", Path::new(place.path("outside")).join("hidden")).unwrap();
            let mut plan = place.plan();
            let outside = place.path("outside");
            plan.rules.extend(rule.map(|rights| PathRule { path: outside.into(), rights, optional: true }));
            let script = format!(
                "cd {outside} && ls -A; cat {outside}/file {outside}/hidden 2>/dev/null; cat leads; echo x > new"
            );
            let ran = seen(world, &plan, &place, &script, start);
            let closed = "bash: line 1: new: Read-only file system\n";
            assert_eq!(ran, format!("leads\ngiven\n{closed}"), "{world:?} {rule:?} {start}");
        }
    });
}

/// Mounts hold what is not to be changed, and nothing else: what may be changed and not read stays with the machine's own place, where
/// Landlock holds it.
#[test]
fn a_right_to_write_alone_below_tmp_is_none_to_read() {
    each_view(|world| {
        for (rights, expected) in [
            (Rights::WRITE, "cat: $O/file: Permission denied\nrm: cannot remove '$O/file': Permission denied\nmore\n"),
            (Rights::READ | Rights::WRITE, "secret\nrm: cannot remove '$O/file': Permission denied\nmore\n"),
        ] {
            let place = Place::below("/tmp");
            let outside = place.path("outside");
            let mut plan = place.plan();
            plan.rules.push(PathRule { path: outside.into(), rights, optional: true });
            let script = format!("cat {outside}/file; rm {outside}/file; echo more >> {outside}/file");
            let ran = seen(world, &plan, &place, &script, "work");
            let last = std::fs::read_to_string(Path::new(outside).join("file")).unwrap();
            let last = last.strip_prefix("secret\n").unwrap_or("it was removed");
            assert_eq!(format!("{ran}{last}"), expected.replace("$O", outside), "{world:?} {rights:?}");
        }
    });
}

fn seen(world: Namespaces, plan: &SandboxPlan, place: &Place, script: &str, start: &str) -> String {
    let (output, stdout) = pipe();
    let launch = Launch { cwd: place.path(start).into(), ..place.bash(script, stdout) };
    let process = spawn(prepare_in(world, has_mounts(world), plan, launch).unwrap()).unwrap();
    let output = read(output);
    finish(&process);
    output
}

/// Without a place to put a mask there is no session that needs one.
#[test]
fn masks_without_a_view_are_an_error() {
    let place = Place::new();
    let plan = SandboxPlan { masks: covers(&place), ..place.plan() };
    let answer = prepare_in(Namespaces::None, false, &plan, place.bash("true", pipe().1));
    assert!(matches!(answer, Err(SandboxError::Unmasked { .. })), "{answer:?}");
}

/// The kernel takes a mount away with the file that it stands on. Who does that is outside of every session.
#[test]
fn a_mask_falls_off_a_file_that_is_replaced_from_outside() {
    each_view(|world| {
        let place = Place::new();
        let (stdin, mut input) = pipe();
        let (output, stdout) = pipe();
        let script = format!("cat {0}/secret; read go; cat {0}/secret", place.path("work"));
        let plan = SandboxPlan { masks: covers(&place), ..place.plan() };
        let launch = Launch { stdin, ..place.bash(&script, stdout) };
        let process = spawn(prepare_in(world, true, &plan, launch).unwrap()).unwrap();
        let work = Path::new(place.path("work"));
        std::fs::write(work.join("other"), "replaced\n").unwrap();
        std::fs::rename(work.join("other"), work.join("secret")).unwrap();
        writeln!(input, "go").unwrap();
        assert!(read(output).ends_with("replaced\n"), "{world:?}");
        finish(&process);
    });
}

/// A link in the place of something to be covered was put there to lead the mask astray.
#[test]
fn a_mask_follows_no_link() {
    each_view(|world| {
        let place = Place::new();
        let plan = SandboxPlan { masks: covers(&place), ..place.plan() };
        let work = Path::new(place.path("work"));
        std::fs::remove_file(work.join("secret")).unwrap();
        std::os::unix::fs::symlink("given", work.join("secret")).unwrap();
        let prepared = prepare_in(world, true, &plan, place.bash("echo ran", pipe().1)).unwrap();
        match spawn(prepared) {
            Err(SandboxError::Enforce { step, source }) => {
                assert_eq!((step, source.raw_os_error()), (ChildStep::Mounts, Some(libc::ELOOP)), "{world:?}");
            }
            other => panic!("{world:?}: {other:?}"),
        }
    });
}

/// Makes what is to be covered, and the masks.
fn covers(place: &Place) -> Vec<Mask> {
    let work = Path::new(place.path("work"));
    for directory in ["hidden", "kept"] {
        std::fs::create_dir_all(work.join(directory)).unwrap();
        std::fs::write(work.join(directory).join("file"), format!("{directory}\n")).unwrap();
    }
    std::fs::write(work.join("secret"), "secret\n").unwrap();
    let rows = [("hidden", Cover::Hidden), ("kept", Cover::ReadOnly), ("secret", Cover::Hidden)];
    rows.map(|(name, cover)| Mask { path: work.join(name), cover }).into()
}

impl Place {
    /// What bash prints under masks.
    fn masked(&self, world: Namespaces, script: &str, masks: Vec<Mask>) -> String {
        let script = script.replace("$W", self.path("work")).replace("$O", self.path("outside"));
        let script = script.replace("$U", &geteuid().to_string());
        let (output, stdout) = pipe();
        let limits = Limits { memory: Some(1 << 20), ..self.plan().limits };
        let plan = SandboxPlan { masks, limits, ..self.plan() };
        let process = spawn(prepare_in(world, true, &plan, self.bash(&script, stdout)).unwrap()).unwrap();
        let output = read(output);
        finish(&process);
        output
    }
}
