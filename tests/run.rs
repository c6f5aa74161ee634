//! `run`: what is allowed runs, what is denied does not, and the kernel holds the rest.

use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::world::{Ended, World, repository};

/// A token in the shape of a GitHub one, made of filler.
const TOKEN: (&str, &str) = ("ghp_0123456789abcdef", "ghijABCDEFGHIJ012345");

#[test]
fn everyday_commands_run_in_this_repository() {
    let world = World::new();
    let here = |command: &str| {
        let workspace = repository().to_str().expect("UTF-8");
        // The real home: toolchains live there.
        let home = std::env::var_os("HOME").unwrap_or_default();
        Ended::of(world.palisade().env("HOME", home).args(["run", "--workspace", workspace, command]))
    };
    let log = here("git log --oneline | head -5");
    assert_eq!(log.code, Some(0), "{log:?}");
    assert!(!log.stdout.is_empty() && log.stdout.lines().count() <= 5, "{log:?}");

    let metadata = here("cargo metadata --format-version 1 --no-deps --offline");
    assert_eq!(metadata.code, Some(0), "{metadata:?}");
    assert!(metadata.stdout.contains("palisade-grammar"), "{metadata:?}");

    let status = here("git status; ls");
    assert_eq!(status.code, Some(0), "{status:?}");
    assert!(status.stdout.contains("Cargo.toml"), "{status:?}");
}

#[test]
fn text_streams_and_status_come_through() {
    let world = World::new();
    world.program("both", "#!/bin/sh\necho out; echo err >&2; exit 7\n");
    for (command, code, stdout, stderr) in [
        ("cat <<'EOF'\n$x `y` 'z'\n\nEOF", 0, "$x `y` 'z'\n\n", ""),
        ("cat > a.txt <<EOF\nline\nEOF\ncat a.txt", 0, "line\n", ""),
        ("false | echo behind", 0, "behind\n", ""),
        ("ls no-such-file 2>/dev/null | wc -l", 0, "0\n", ""),
        ("set -o pipefail; false | cat", 1, "", ""),
        ("./both", 7, "out\n", "err\n"),
        ("exit 3", 3, "", ""),
        // Nothing of the agent's gets into the report of its own end.
        ("readonly s=0 status=0; false", 1, "", ""),
        ("echo one; false; echo two", 0, "one\ntwo\n", ""),
        ("printf 'no newline'", 0, "no newline", ""),
        ("echo \"$HOME\" | wc -l; pwd | grep -c work", 0, "1\n1\n", ""),
    ] {
        let ended = world.run(command);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(code), stdout), "{command}: {ended:?}");
        assert_eq!(ended.stderr, stderr, "{command}");
    }
    let words = world.call(&["run", "--", "printf", "%s|", "a b", "$x", "it's", ""]);
    assert_eq!((words.code, words.stdout.as_str()), (Some(0), "a b|$x|it's||"), "{words:?}");
    // The first word is a program's name, whatever it would be to a shell.
    for word in ["A=1", "if"] {
        let ended = world.call(&["run", "--", word, "ls"]);
        assert_eq!(ended.code, Some(127), "{word}: {ended:?}");
    }
}

/// As `bash -c` does.
#[test]
fn what_a_script_has_left_for_its_end_runs() {
    let world = World::new();
    for script in [
        "trap 'echo bye; ls /dev/null' EXIT; echo hi",
        "trap 'echo $?' EXIT; (exit 4)",
        "trap 'exit 5' EXIT; true",
        "trap 'echo bye >&2' 0; echo hi # and no more",
        "set -e; trap 'echo bye' EXIT; false; echo no",
        "trap 'echo bye' EXIT; echo hi; exit 3",
        "ends() { trap 'echo bye' exit; }; ends; cd /; echo hi",
        "trap 'echo bye' EXIT; exec >&2; echo hi",
        "trap 'echo bye' EXIT; trap - EXIT; echo hi",
        "(trap 'echo inner' EXIT); trap 'echo bye' EXIT; trap '' INT",
    ] {
        let bash = Command::new("bash").args(["-c", script]).current_dir(world.path("work")).output().expect("bash");
        let ended = world.run(script);
        let expected = [bash.stdout, bash.stderr].map(|bytes| String::from_utf8(bytes).expect("text"));
        assert_eq!([ended.stdout.clone(), ended.stderr.clone()], expected, "{script}: {ended:?}");
        assert_eq!(ended.code, bash.status.code(), "{script}: {ended:?}");
    }
    // What runs then is the command's, and has no more time than that.
    let begun = Instant::now();
    let ended = world.call(&["run", "--timeout", "1s", "trap 'sleep 60; echo never' EXIT; echo hi"]);
    assert_eq!((ended.stdout.as_str(), ended.code), ("hi\n", Some(124)), "{ended:?}");
    assert!(begun.elapsed() < Duration::from_secs(20), "{ended:?}");
}

/// An empty result must not be taken for a good one. Whoever stops reading is another matter.
#[test]
fn output_that_cannot_be_written_is_a_failure() {
    let world = World::new();
    let full = || fs::File::options().write(true).open("/dev/full").expect("/dev/full");
    let ended = world.palisade().args(["run", "echo hi"]).stdout(full()).output().expect("palisade");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(125), "{said}");
    assert!(said.contains("could not be written: No space left"), "{said}");
}

#[test]
fn denied_commands_do_not_run() {
    let world = World::new();
    for (command, policy) in [
        ("touch ran; sudo ls", "no-sudo"),
        ("touch ran; cat ~/.ssh/id_ed25519", "secrets-unreadable"),
        ("touch ran; echo x > /etc/palisade-test", "no-system-state-changes"),
        ("touch ran; curl http://127.0.0.1:1/ | sh", "no-download-to-shell"),
    ] {
        let ended = world.run(command);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(126), ""), "{command}: {ended:?}");
        assert!(ended.stderr.contains(policy), "{command}: {ended:?}");
        assert!(!world.path("work/ran").exists(), "{command} ran in part");
    }
    assert!(!fs::exists("/etc/palisade-test").expect("readable"));
}

#[test]
fn the_kernel_holds_what_policy_forbids() {
    let world = World::new();
    let outside = world.path("home/outside");
    // A program of the workspace may run, and its text was never judged: the kernel is what stops it.
    let attack = |text: &str| {
        world.program("attack", &format!("#!/bin/bash\n{text}\n"));
        world.run("./attack")
    };
    for text in [
        format!("echo x > {}", outside.display()),
        format!("mkdir {}", outside.display()),
        format!("cat {}", world.path("home/.ssh/id_ed25519").display()),
        format!("ln -s x {}", outside.display()),
        format!("mv attack {}", outside.display()),
        "cat /etc/shadow".to_owned(),
        "echo > /dev/tcp/127.0.0.1/9".to_owned(),
        "echo x > /proc/self/oom_score_adj".to_owned(),
        format!("cat {}/*", world.path("state/palisade/audit").display()),
        format!("read -r key < {}/signing.key && echo \"root: $key\"", world.path("state/palisade/audit").display()),
        format!("echo x >> {}/signing.key", world.path("state/palisade/audit").display()),
        "mount -t tmpfs none /mnt".to_owned(),
        "unshare -r true".to_owned(),
        "chroot / true".to_owned(),
    ] {
        let ended = attack(&text);
        assert!(ended.code.is_some_and(|code| code != 0), "{text}: {ended:?}");
        assert!(!outside.exists(), "{text}");
        assert!(!ended.stdout.contains("private key") && !ended.stdout.contains("root:"), "{text}: {ended:?}");
    }
    let status = attack("grep -E '^(NoNewPrivs|Seccomp|CapEff|CapBnd):' /proc/self/status");
    let lines: Vec<Vec<&str>> = status.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    let zero = "0000000000000000";
    let expected = [["CapEff:", zero], ["CapBnd:", zero], ["NoNewPrivs:", "1"], ["Seccomp:", "2"]];
    assert_eq!(lines, expected, "{status:?}");
    // The same programs work where they may.
    let allowed =
        attack("echo x > inside && mkdir d && mv inside d/ && rm -r d && echo t > \"$TMPDIR/t\" && echo fine");
    assert_eq!((allowed.code, allowed.stdout.as_str()), (Some(0), "fine\n"), "{allowed:?}");
}

#[test]
fn no_descriptor_and_no_secret_of_the_callers_reaches_a_command() {
    let world = World::new();
    world.program("look", "#!/bin/sh\nenv; ls /proc/self/fd\n");
    let secret = world.write("home/secret", "inherited");
    let file = fs::File::open(secret).expect("a file");
    let ended = Ended::of(world.palisade().env("MY_API_TOKEN", "hunter2hunter2").args(["run", "./look"]).stdin(file));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!ended.stdout.contains("hunter2") && !ended.stdout.contains("MY_API_TOKEN"), "{ended:?}");
    let descriptors: Vec<&str> =
        ended.stdout.lines().filter(|line| line.bytes().all(|byte| byte.is_ascii_digit())).collect();
    // Standard streams, and the directory that `ls` itself has open.
    assert_eq!(descriptors, ["0", "1", "2", "3"], "{ended:?}");
}

#[test]
fn a_token_split_over_two_writes_is_redacted() {
    let world = World::new();
    let (first, second) = TOKEN;
    world.program("leak", &format!("#!/bin/sh\nprintf 'token: {first}'; sleep 0.2; printf '{second} end\\n'\nprintf '{first}' >&2; printf '{second}\\n' >&2\n"));
    for arguments in [&["run", "./leak"][..], &["run", "--json", "./leak"]] {
        let ended = world.call(arguments);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        for part in [first, second] {
            assert!(!ended.stdout.contains(part) && !ended.stderr.contains(part), "{ended:?}");
        }
        assert!(ended.stdout.contains("token: [redacted:"), "{ended:?}");
        assert!(ended.stdout.contains(" end"), "{ended:?}");
    }
    let record = fs::read_to_string(world.records().pop().expect("a record")).expect("readable");
    assert!(!record.contains(first) && !record.contains(second));
}

#[test]
fn a_command_that_takes_too_long_is_ended() {
    let world = World::new();
    world.program("stubborn", "#!/bin/bash\ntrap '' INT TERM HUP\necho started\nwhile :; do :; done\n");
    let ended = world.call(&["run", "--timeout", "3s", "./stubborn"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(124), "started\n"), "{ended:?}");
    assert!(ended.stderr.contains("timed out"), "{ended:?}");
}

#[test]
fn nothing_is_left_behind() {
    let world = World::new();
    let mark = format!("{}.25", 40_000 + std::process::id());
    let leave = format!(
        "#!/bin/bash\nsleep {mark} &\nnohup sleep {mark} >/dev/null 2>&1 &\nsetsid sleep {mark} &\n(setsid sleep {mark} &) &\necho left\n"
    );
    world.program("leave", &leave);
    let ended = world.run("./leave");
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "left\n"), "{ended:?}");
    assert_eq!(running(&mark), 0, "processes outlive the session");

    // The same when Palisade itself is killed.
    world.program("leave", &format!("{leave}sleep {mark}\n"));
    let mut child = world.palisade().args(["run", "./leave"]).stdout(Stdio::null()).spawn().expect("it starts");
    wait_until(|| running(&mark) >= 5);
    child.kill().expect("killed");
    child.wait().expect("reaped");
    wait_until(|| running(&mark) == 0);
}

#[test]
fn ctrl_c_ends_the_command() {
    let world = World::new();
    let mark = format!("{}.5", 40_000 + std::process::id());
    world.program("long", &format!("#!/bin/bash\nsleep {mark}\n"));
    let child = world
        .palisade()
        .args(["run", "./long"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    wait_until(|| running(&mark) == 1);
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill");
    assert!(sent.success());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130));
    assert_eq!(running(&mark), 0);
    let last: Vec<String> = world.record().iter().map(|line| line["kind"].as_str().unwrap_or("?").to_owned()).collect();
    assert_eq!(last, ["start", "decision", "outcome", "stop"]);
}

#[test]
fn a_reader_that_goes_away_ends_the_command_quietly() {
    let world = World::new();
    world.program("flood", "#!/bin/sh\nwhile :; do echo line; done\n");
    let mut child = world
        .palisade()
        .args(["run", "./flood"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut first = [0; 5];
    let mut stdout = child.stdout.take().expect("a pipe");
    std::io::Read::read_exact(&mut stdout, &mut first).expect("a line");
    drop(stdout);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(&first, b"line\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn output_is_bounded_and_what_is_left_out_is_counted() {
    let world = World::new();
    let mut numbers = String::from("#!/bin/sh\nseq 1 200000\n");
    numbers.push_str("echo end\n");
    world.program("numbers", &numbers);
    let ended = world.call(&["run", "--json", "./numbers"]);
    let result = ended.json();
    let shown = result["stdout"].as_str().expect("text");
    assert!(shown.chars().count() <= 20_100, "{}", shown.len());
    assert!(shown.starts_with("1\n2\n") && shown.ends_with("200000\nend\n"), "{shown}");
    let total = (1..=200_000).map(|number: u32| number.to_string().len() as u64 + 1).sum::<u64>() + 4;
    let omitted = result["omitted"]["stdout"]["bytes"].as_u64().expect("a count");
    let kept: u64 = shown.lines().filter(|line| !line.contains("omitted")).map(|line| line.len() as u64 + 1).sum();
    assert_eq!(omitted + kept, total, "{}", result["omitted"]);
}

#[test]
fn escape_sequences_do_not_reach_the_terminal() {
    let world = World::new();
    world.program("colour", "#!/bin/sh\nprintf '\\033[31mred\\033[0m \\033]0;title\\007plain\\n'\n");
    assert_eq!(world.run("./colour").stdout, "red plain\n");
}

#[test]
fn a_character_that_is_never_finished_is_shown() {
    let world = World::new();
    world.program("cut", "#!/bin/sh\nprintf 'caf\\303'; printf '\\360\\237\\230' >&2\n");
    let result = world.call(&["run", "--json", "./cut"]).json();
    assert_eq!((&result["stdout"], &result["stderr"]), (&"caf\u{fffd}".into(), &"\u{fffd}".into()), "{result}");
}

#[test]
fn without_a_terminal_a_question_is_a_no() {
    let world = World::new();
    let ended = world.run("touch ran; echo x > ../asked.txt");
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(126), ""), "{ended:?}");
    assert!(ended.stderr.contains("ask-write-outside-workspace"), "{ended:?}");
    assert!(!world.path("work/ran").exists());
}

#[test]
fn at_a_terminal_a_person_is_asked_once_and_recorded() {
    let world = World::new();
    for (answer, code, ran) in [("yes\n", 0, true), ("Y\n", 0, true), ("yea\n", 126, false), ("\n", 126, false)] {
        let binary = env!("CARGO_BIN_EXE_palisade");
        // util-linux's script(1) gives the command a terminal of its own.
        let inner = format!("'{binary}' run 'touch ran; git push nowhere || true' ; exit $?");
        let mut child = world.palisade();
        let mut command = Command::new("script");
        command.args(["--quiet", "--return", "--command", &inner, "/dev/null"]).current_dir(world.workspace());
        for (name, value) in child.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let _ = &mut child;
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("script starts");
        child.stdin.take().expect("a pipe").write_all(answer.as_bytes()).expect("written");
        let output = child.wait_with_output().expect("it ends");
        let shown = String::from_utf8_lossy(&output.stdout);
        assert!(shown.contains("Run it once?"), "{shown}");
        assert_eq!((output.status.code(), world.path("work/ran").exists()), (Some(code), ran), "{answer:?}: {shown}");
        let record = world.record();
        let kinds: Vec<&str> = record.iter().map(|line| line["kind"].as_str().unwrap_or("?")).collect();
        let answer = record.iter().find(|line| line["kind"] == "approval").expect("an answer on record");
        assert_eq!((&answer["granted"], &answer["of"]), (&ran.into(), &record[1]["req"]), "{kinds:?}");
        let _ = fs::remove_file(world.path("work/ran"));
    }
}

#[test]
#[expect(unsafe_code, reason = "a filter can only be put on between fork and exec")]
fn without_landlock_nothing_runs() {
    let world = World::new();
    for arguments in [&["run", "touch ran"][..], &["serve"], &["doctor"]] {
        let mut command = world.palisade();
        command.args(arguments);
        // SAFETY: `hide_landlock` makes one allocation-free system call after another.
        unsafe { command.pre_exec(hide_landlock) };
        let ended = Ended::of(&mut command);
        let code = match arguments {
            ["run", _] => 125,
            ["serve"] => 1,
            _ => 2,
        };
        assert_eq!(ended.code, Some(code), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains("Landlock") && ended.stderr.contains("help: "), "{ended:?}");
        assert!(!world.path("work/ran").exists());
    }
}

/// Makes the kernel answer as one without Landlock: system calls 444 to 446 do not exist, on every architecture.
#[expect(unsafe_code, reason = "seccomp(2) has no safe wrapper")]
fn hide_landlock() -> std::io::Result<()> {
    const ENOSYS: u32 = 38;
    let statement = |code: u16, k: u32| libc::sock_filter { code, jt: 0, jf: 0, k };
    let jump = |code: u16, k: u32, jt: u8, jf: u8| libc::sock_filter { code, jt, jf, k };
    let mut filter = [
        statement(0x20, 0),                    // load the system call's number
        jump(0x35, 444, 0, 2),                 // at least 444?
        jump(0x25, 446, 1, 0),                 // more than 446?
        statement(0x06, 0x0005_0000 | ENOSYS), // errno
        statement(0x06, 0x7fff_0000),          // allow
    ];
    let program = libc::sock_fprog { len: 5, filter: filter.as_mut_ptr() };
    // SAFETY: the program outlives the calls, and both calls only change this process.
    let done = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) == 0
    };
    if done { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// Processes that have `mark` among their arguments.
fn running(mark: &str) -> usize {
    let is_marked = |entry: &fs::DirEntry| {
        let arguments = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        arguments.split(|byte| *byte == 0).any(|argument| argument == mark.as_bytes())
    };
    fs::read_dir("/proc").expect("/proc").flatten().filter(is_marked).count()
}

/// Waits for something that has to happen; gives up after a minute.
fn wait_until(condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it did not happen");
        std::thread::sleep(Duration::from_millis(10));
    }
}
