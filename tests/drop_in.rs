//! `palisade sh`: what callers that expect a shell get from it, and the process that stays ready between their calls.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::until;
use crate::support::world::{Ended, World};

/// `palisade sh` with these words.
fn sh(world: &World, words: &[&str]) -> Ended {
    Ended::of(world.palisade().arg("sh").args(words))
}

/// The same with something on standard input.
fn fed(command: &mut Command, input: &str) -> Ended {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("written");
    let ended = child.wait_with_output().expect("it ends");
    Ended {
        code: ended.status.code(),
        stdout: String::from_utf8_lossy(&ended.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&ended.stderr).into_owned(),
    }
}

fn ran(ended: &Ended) -> (Option<i32>, &str) {
    (ended.code, ended.stdout.as_str())
}

/// Output and status are those of bash itself, with a process that stays ready and without one.
#[test]
fn a_script_does_what_it_does_in_bash() {
    let world = World::new();
    fs::create_dir(world.path("work/sub")).expect("made");
    world.write("work/s.sh", "echo \"$#:$1:$2\"; echo end >&2; exit 5\n");
    for (at, words) in [
        &["-c", "echo one; echo two >&2; exit 3"][..],
        &["-c", "false"],
        &["-c", "echo \"$1-$2\"", "name", "a b", "it's"],
        &["-lc", "echo login"],
        &["-ec", "echo begun; false; echo not"],
        &["-euo", "pipefail", "-c", "false | true; echo not"],
        &["-c", "cd sub && pwd"],
        &["-c", "for i in 1 2 3; do echo $i; done | tail -1"],
        &["-c", "x=$(printf 'a\\nb'); echo \"$x\""],
        &["-c", "cat <<'E'\nit's $HOME \\ \"quoted\"\nE"],
        &["-c", "printf 'no end of line'"],
        &["-c", "set -- a b; shift; echo $1 $#"],
        &["-c", "f() { local x=1; return 7; }; f; echo $?"],
        &["-c", "(exit 4); echo $?; trap 'echo bye' EXIT; echo hi"],
        &["-c", "kill -KILL $$; sleep 5"],
        &["-O", "extglob", "-c", "case aab in +(a)b) echo matched;; esac"],
        &["-c", "echo $((6*7)) ${x:-none} {1..3}"],
        &["-c", "diff <(echo a) <(echo b)"],
        &["s.sh", "a", "b c"],
        &["-x", "s.sh"],
    ]
    .into_iter()
    .enumerate()
    {
        let bare = Ended::of(Command::new("bash").args(words).current_dir(world.workspace()).stdin(Stdio::null()));
        // What a signal has ended tells its number as a shell does.
        let code = bare.code.or(Some(137));
        // Without the process that stays each takes a third of a second: every fourth form is enough.
        for alone in if at % 4 == 0 { &[false, true][..] } else { &[false] } {
            let flags: &[&str] = if *alone { &["--alone"] } else { &[] };
            let ended = sh(&world, &[flags, words].concat());
            assert_eq!(ran(&ended), (code, bare.stdout.as_str()), "{words:?}, alone: {alone}: {ended:?}");
        }
    }
}

#[test]
fn a_script_and_what_it_reads_come_from_standard_input() {
    let world = World::new();
    for flags in [&["sh"][..], &["sh", "--alone"]] {
        let ended =
            fed(world.palisade().args(flags).args(["-c", "read first; echo \"[$first]\"; wc -l"]), "one\ntwo\nthree\n");
        assert_eq!(ran(&ended), (Some(0), "[one]\n2\n"), "{ended:?}");
        let ended = fed(world.palisade().args(flags), "echo from\necho here\nexit 6\n");
        assert_eq!(ran(&ended), (Some(6), "from\nhere\n"), "{ended:?}");
        let much = "x\n".repeat(300_000);
        let ended = fed(world.palisade().args(flags).args(["-c", "cat | wc -c"]), &much);
        assert_eq!(ran(&ended), (Some(0), "600000\n"), "{ended:?}");
    }
}

#[test]
fn what_policy_denies_does_not_run_and_secrets_stay_out() {
    let world = World::new();
    world.program("leak", "#!/bin/sh\nprintf 'token: ghp_0123456789abcdefghijABCDEFGHIJ012345\\n'\n");
    let ended = sh(&world, &["-c", "touch ran; cat ~/.ssh/id_ed25519"]);
    assert_eq!(ran(&ended), (Some(126), ""), "{ended:?}");
    assert!(ended.stderr.contains("secrets-unreadable") && !world.path("work/ran").exists(), "{ended:?}");
    let ended = sh(&world, &["-c", "./leak"]);
    assert!(ended.code == Some(0) && ended.stdout.contains("[redacted:"), "{ended:?}");
    // No shell that only reads, none with fewer rights than its caller thinks, and no variable of the caller's without being named.
    for words in [&["-nc", "touch ran"][..], &["-rc", "touch ran"], &["-c"], &["--nonsense"]] {
        let ended = sh(&world, words);
        assert!(ended.code == Some(125) && ended.stderr.contains("error: "), "{words:?}: {ended:?}");
    }
    assert!(!world.path("work/ran").exists());
    let value = |flags: &[&str]| {
        let mut command = world.palisade();
        command.env("OWN_VALUE", "of the caller's").arg("sh").args(flags).args(["-c", "echo \"[$OWN_VALUE]\""]);
        Ended::of(&mut command).stdout
    };
    assert_eq!((value(&[]), value(&["--env", "OWN_VALUE"])), ("[]\n".to_owned(), "[of the caller's]\n".to_owned()));
}

/// A person is asked elsewhere: whoever types at the terminal of such a shell may be the agent.
#[test]
fn a_question_waits_for_a_person_elsewhere() {
    let world = World::new();
    let ended = sh(&world, &["-c", "git push origin main"]);
    assert_eq!(ran(&ended), (Some(126), ""), "{ended:?}");
    assert!(ended.stderr.contains("palisade approvals grant ") && ended.stderr.contains("Then run"), "{ended:?}");
    let alone = sh(&world, &["--alone", "-c", "git push origin main"]);
    assert!(alone.code == Some(126) && alone.stderr.contains("nobody gave it"), "{alone:?}");
}

#[test]
fn a_named_session_goes_on_from_call_to_call() {
    let world = World::new();
    fs::create_dir(world.path("work/sub")).expect("made");
    let call = |text: &str| sh(&world, &["--session", "s", "-c", text]);
    assert_eq!(ran(&call("cd sub; kept=yes; f() { echo fun; }; echo t > $TMPDIR/file")), (Some(0), ""));
    let ended = call("f; echo $kept; basename $PWD; cat $TMPDIR/file");
    assert_eq!(ran(&ended), (Some(0), "fun\nyes\nsub\nt\n"), "{ended:?}");
    // The form of the reference: the name behind the text. Another name is another session.
    assert_eq!(ran(&sh(&world, &["-c", "echo $kept", "--session", "s"])), (Some(0), "yes\n"));
    assert_eq!(ran(&sh(&world, &["--session", "t", "-c", "echo [$kept]"])), (Some(0), "[]\n"));
    // What ends its shell ends the command with its status, and the next one finds what was there.
    assert_eq!(ran(&call("exit 9")), (Some(9), ""));
    assert_eq!(ran(&call("f; echo $kept")), (Some(0), "fun\nyes\n"));
    // A caller that has gone elsewhere by itself is followed.
    let mut elsewhere = world.palisade();
    elsewhere.current_dir(world.path("work/sub")).args(["sh", "--at"]).arg(world.workspace());
    let ended = Ended::of(elsewhere.args(["--session", "s", "-c", "cd ..; basename $PWD"]));
    assert_eq!(ran(&ended), (Some(0), "work\n"), "{ended:?}");
}

/// While one command of a session runs, the next begins as the session stood, and does not wait.
#[test]
fn a_busy_session_keeps_nobody_waiting() {
    let world = World::new();
    let call = |text: &str| sh(&world, &["--session", "s", "-c", text]);
    assert_eq!(ran(&call("kept=yes")), (Some(0), ""));
    let long = ["sh", "--session", "s", "-c", "touch begun; until [ -e go-on ]; do sleep 0.05; done; echo over"];
    let first = world.palisade().args(long).stdout(Stdio::piped()).spawn().expect("it starts");
    until("the first command", || if world.path("work/begun").exists() { Ok(()) } else { Err("not yet") });
    let ended = call("echo $kept; touch go-on");
    assert_eq!(ran(&ended), (Some(0), "yes\n"), "{ended:?}");
    let output = first.wait_with_output().expect("it ends");
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), &b"over\n"[..]));
}

/// The numbers of the processes that stay ready in this world.
fn standing_by(world: &World) -> Vec<i32> {
    let own = world.path("state").display().to_string();
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_ours = |pid: &i32| {
        let read = |name: &str| fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
        let words = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
        let fds = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        words.contains(" standby ") && fds.filter_map(|fd| fs::read_link(fd.path()).ok()).any(|to| to.starts_with(&own))
    };
    numbers.filter(is_ours).collect()
}

#[test]
fn one_process_stays_ready_for_callers_that_are_alike() {
    let world = World::new();
    for _ in 0..3 {
        assert_eq!(ran(&sh(&world, &["-c", "echo hi"])), (Some(0), "hi\n"));
    }
    let [process] = standing_by(&world)[..] else { panic!("{:?}", standing_by(&world)) };
    // Other flags, another place, or settings that have changed are another process's to answer.
    assert_eq!(sh(&world, &["--profile", "readonly", "-c", "touch made"]).code, Some(126));
    assert!(standing_by(&world).len() == 2 && !world.path("work/made").exists());
    fs::create_dir_all(world.path("home/.config/palisade")).expect("made");
    world.write("home/.config/palisade/palisade.toml", "profile = \"readonly\"\n");
    assert_eq!(sh(&world, &["-c", "touch made"]).code, Some(126));
    assert_eq!(standing_by(&world).len(), 3);
    fs::remove_file(world.path("home/.config/palisade/palisade.toml")).expect("removed");
    // One that has died is replaced, and what it was to do is done.
    let pid = Pid::from_raw(process).expect("a number");
    kill_process(pid, Signal::KILL).expect("killed");
    until("its end", || if Path::new(&format!("/proc/{process}/fd/0")).exists() { Err("it lives") } else { Ok(()) });
    assert_eq!(ran(&sh(&world, &["-c", "echo hi"])), (Some(0), "hi\n"));
    // Whoever removes the sockets ends them.
    fs::remove_dir_all(world.path("state/palisade/standby")).expect("removed");
    until("the end of all", || {
        let left = standing_by(&world);
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    });
}

/// Waits for a file of the workspace.
fn appears(world: &World, name: &str) {
    until(name, || if world.path(&format!("work/{name}")).exists() { Ok(()) } else { Err("not yet") });
}

/// Whether a `sleep` runs in the workspace, in whichever PID namespace.
fn sleeps(world: &World) -> bool {
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    let here = world.workspace();
    processes.map(|entry| entry.path()).any(|process| {
        fs::read(process.join("cmdline")).is_ok_and(|words| words == b"sleep\x00600\x00")
            && fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd == here)
    })
}

fn is_over(world: &World, child: Child) -> Option<i32> {
    let ended = child.wait_with_output().expect("it ends");
    // The command was ended, too: what it would have done does not come.
    assert!(!world.path("work/late").exists());
    ended.status.code()
}

#[test]
fn a_caller_that_is_stopped_or_dies_takes_its_command_with_it() {
    let world = World::new();
    let text = "touch begun; sleep 600; touch late";
    for (signal, code) in [(Signal::INT, Some(130)), (Signal::TERM, Some(130)), (Signal::KILL, None)] {
        let child = world.palisade().args(["sh", "-c", text]).spawn().expect("it starts");
        appears(&world, "begun");
        until("the command", || if sleeps(&world) { Ok(()) } else { Err("not yet") });
        kill_process(Pid::from_child(&child), signal).expect("sent");
        assert_eq!(is_over(&world, child), code, "{signal:?}");
        until("the end of the command", || if sleeps(&world) { Err("it sleeps") } else { Ok(()) });
        fs::remove_file(world.path("work/begun")).expect("removed");
    }
    // A reader that has had enough ends it, too.
    let mut child = world.palisade().args(["sh", "-c", "yes"]).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut some = [0; 4];
    child.stdout.take().expect("a pipe").read_exact(&mut some).expect("read");
    assert_eq!((&some, child.wait().expect("it ends").code()), (b"y\ny\n", Some(141)));
}

/// Callers start a shell by its path: a link with the name of one stands for the verb.
#[test]
fn a_link_with_the_name_of_a_shell_is_one() {
    let world = World::new();
    for name in ["palisade-sh", "palisade-bash", "bash", "sh"] {
        let link = world.path(&format!("state/{name}"));
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_palisade"), &link).expect("a link");
        let ended = world.call_as(&link, &["-c", "echo $((1 + 1)); exit 3"]);
        assert_eq!(ran(&ended), (Some(3), "2\n"), "{name}: {ended:?}");
    }
    // As make starts the shell of its recipes.
    world.write("work/Makefile", "SHELL := SH\nall:\n\t@x=1; echo $$x > made; echo \"it's $$x\"\n");
    let makefile = fs::read_to_string(world.path("work/Makefile")).expect("text");
    let shell = world.path("state/palisade-sh");
    world.write("work/Makefile", &makefile.replace("SH\n", &format!("{}\n", shell.display())));
    let mut make = Command::new("make");
    make.current_dir(world.workspace()).env("HOME", world.path("home")).env("XDG_STATE_HOME", world.path("state"));
    let made = Ended::of(make.env_remove("XDG_RUNTIME_DIR"));
    assert_eq!(ran(&made), (Some(0), "it's 1\n"), "{made:?}");
}

/// What comes when the command has ended is for the next reader, whichever process has read for the command.
#[test]
fn input_behind_a_command_stays_for_the_next_reader() {
    let world = World::new();
    for alone in ["", "--alone"] {
        let _first = fs::remove_file(world.path("work/first"));
        let script = format!("palisade sh {alone} -c 'echo ran'; touch first; read -r line; echo \"[$line]\"");
        let mut bash = Command::new("bash");
        let binary = Path::new(env!("CARGO_BIN_EXE_palisade")).parent().expect("a directory");
        let path = format!("{}:/usr/bin:/bin", binary.display());
        bash.args(["-c", &script]).current_dir(world.workspace()).env("PATH", path).env("HOME", world.path("home"));
        bash.env("XDG_STATE_HOME", world.path("state")).env_remove("XDG_RUNTIME_DIR");
        let mut child = bash.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
        appears(&world, "first");
        child.stdin.take().expect("a pipe").write_all(b"kept\n").expect("written");
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "ran\n[kept]\n", "{alone}");
    }
}

/// A session's directory is its own commands' to change, and its caller's; a call that policy has denied changes nothing.
#[test]
fn a_denied_call_moves_no_session() {
    let world = World::new();
    fs::create_dir(world.path("work/sub")).expect("made");
    let at = world.workspace().display().to_string();
    let call = |from: &str, text: &str| {
        let mut command = world.palisade();
        command.current_dir(world.path(from)).args(["sh", "--at", &at, "--session", "s", "-c", text]);
        Ended::of(&mut command)
    };
    assert_eq!(ran(&call("work", "basename $PWD")), (Some(0), "work\n"));
    assert_eq!(call("work/sub", "cat ~/.ssh/id_ed25519").code, Some(126));
    assert_eq!(ran(&call("work/sub", "basename $PWD")), (Some(0), "sub\n"));
    assert_eq!(ran(&call("work/sub", "cd ..")), (Some(0), ""));
    assert_eq!(ran(&call("work/sub", "basename $PWD")), (Some(0), "work\n"));
}

/// The process that stays has nothing of its caller's but what a call brings: no lock, no mask of another caller's, no turn of one that died.
#[test]
fn the_process_that_stays_keeps_nothing_of_its_callers() {
    let world = World::new();
    let binary = Path::new(env!("CARGO_BIN_EXE_palisade")).parent().expect("a directory");
    let bash = |script: &str| {
        let mut bash = Command::new("bash");
        bash.args(["-c", script])
            .current_dir(world.workspace())
            .env("PATH", format!("{}:/usr/bin:/bin", binary.display()));
        bash.env("HOME", world.path("home")).env("XDG_STATE_HOME", world.path("state")).env_remove("XDG_RUNTIME_DIR");
        Ended::of(&mut bash)
    };
    let held = bash("exec 9>lock; flock 9; palisade sh -c true; exec 9>&-; flock --nonblock lock echo free");
    assert_eq!(ran(&held), (Some(0), "free\n"), "{held:?}");
    assert_eq!(
        ran(&bash("umask 022; palisade sh -c umask; umask 077; palisade sh -c umask")),
        (Some(0), "0022\n0077\n")
    );
    let endless = ["sh", "--session", "s", "-c", "echo begun > begun; yes"];
    let mut child = world.palisade().args(endless).stdout(Stdio::piped()).spawn().expect("it starts");
    appears(&world, "begun");
    kill_process(Pid::from_child(&child), Signal::KILL).expect("killed");
    child.wait().expect("it ends");
    // Its pipe is full, and still open here.
    until("the session's turn", || {
        let set = sh(&world, &["--session", "s", "-c", "a=1"]);
        let kept = sh(&world, &["--session", "s", "-c", "echo $a"]);
        if (set.stderr.as_str(), kept.stdout.as_str()) == ("", "1\n") {
            Ok(())
        } else {
            Err(format!("{set:?} {kept:?}"))
        }
    });
}
