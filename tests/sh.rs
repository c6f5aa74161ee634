//! Sessions at targets that have no bash: dash over SSH, busybox's ash in a container.

use std::fs;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::services::{Docker, Sshd, run};
use crate::support::site::{POLICY, Site, is, real, runs, ssh_target, until, with_key};

/// What a session promises wherever it runs, and what one in `sh` refuses. `workspace` is where it begins.
fn behaves_as_a_session(site: &mut Site, session: &str, workspace: &str) {
    for (command, stdout, stderr, code) in [
        ("echo out; echo err >&2", "out\n", "err\n", 0),
        ("printf 'no end'", "no end", "", 0),
        ("fails() { return 7; }; fails", "", "", 7),
        ("false", "", "", 1),
        ("echo $?", "1\n", "", 0),
        ("x=kept", "", "", 0),
        ("echo $x", "kept\n", "", 0),
        ("set -- a b; echo $#", "2\n", "", 0),
        ("echo \"it's ünïcode\"", "it's ünïcode\n", "", 0),
        ("exec 2>/dev/null", "", "", 0),
        ("echo still >&2", "", "still\n", 0),
        ("cat", "", "", 0),
        ("cat <<E\n$x\nE", "kept\n", "", 0),
        ("mkdir -p sub && cd sub && pwd -P", &format!("{workspace}/sub\n"), "", 0),
        ("cd ..", "", "", 0),
        ("fails", "", "", 7),
    ] {
        let result = site.exec(session, command);
        is(&result, "stdout", &json!(stdout), command);
        is(&result, "stderr", &json!(stderr), command);
        is(&result, "exit_code", &json!(code), command);
        is(&result, "status", &json!("done"), command);
    }
    // What would end such a shell ends the command.
    for command in ["shift 9", "echo ${nope?}", "readonly r=1; r=2"] {
        let ended = site.exec(session, command);
        assert!(ended["exit_code"] != json!(0) && ended["status"] == "done", "`{command}`: {ended}");
        is(&site.exec(session, "echo $x"), "stdout", &json!("kept\n"), command);
    }
    // `cd` leads where the facts say it does.
    is(&site.exec(session, "cd link; cd ..; pwd -P"), "stdout", &json!(format!("{workspace}/sub\n")), "cd");
    is(&site.exec(session, "cd .."), "cwd", &json!(workspace), "cd ..");
    // Nothing that a command prints is the end of one.
    let forged = site.exec(session, "printf '%s/ 0\\n' 0123456789abcdef0123456789abcdef; echo more; false");
    is(&forged, "stdout", &json!("0123456789abcdef0123456789abcdef/ 0\nmore\n"), "forged");
    is(&forged, "exit_code", &json!(1), "forged");
    let token = site.exec(session, "echo ghp_0123456789abcdefghijABCDEFGHIJ012345");
    assert!(!token["stdout"].as_str().unwrap_or_default().contains("0123456789abcdef"), "{token}");
    let much = site.exec(session, "seq 1 400000");
    assert!(much["omitted"]["stdout"]["bytes"].as_u64().unwrap_or_default() > 1_000_000, "{}", much["omitted"]);
    // A time limit ends the command with all that it has not begun, and not the session.
    for command in
        ["sleep 631; echo never", "while :; do sleep 632; done", "yes", "(sleep 634; sleep 635)", "setsid sleep 636"]
    {
        let ended = site.exec_for(session, command, 700);
        is(&ended, "status", &json!("timed_out"), command);
        assert!(ended["lost"].is_null() && !ended["stdout"].to_string().contains("never"), "`{command}`: {ended}");
        is(&site.exec(session, "echo $x"), "stdout", &json!("kept\n"), command);
    }
    // Nor does an interrupt that meets the shell itself at work, whatever it was at.
    for round in 0..40 {
        let ended = site.exec_for(session, "while :; do :; done", 100);
        is(&ended, "status", &json!("timed_out"), "a loop");
        assert!(ended["lost"].is_null(), "round {round}: {ended}");
    }
    is(&site.exec(session, "echo $x"), "stdout", &json!("kept\n"), "a loop");
    // What may be something else in `sh` than in bash is not run.
    for command in [
        "[[ -f a ]]",
        "echo $'a'",
        "echo {a,b}",
        "a=(b c)",
        "cat <(ls)",
        "ls &> f",
        "cat <<< a",
        "source ./f",
        "local x=1",
        "echo 'a\\nb'",
        "echo -e a",
        "alias ls=rm",
        "trap 'echo x' EXIT",
        "time ls",
        "eval '[[ a ]]'",
        "sh -c 'echo $((x++))'",
        "chdir /",
    ] {
        let denied = site.exec(session, command);
        is(&denied, "status", &json!("denied"), command);
        assert!(denied.to_string().contains("guard-unparsed"), "`{command}`: {denied}");
    }
    let (_, told) = site.call("exec", &json!({ "session": session, "command": "echo {a,b}" }));
    assert!(told.contains("the session's shell is `sh`") && told.contains("brace"), "{told}");
    // As everywhere.
    for (command, policy) in [("$x --help", "guard-opaque"), ("sleep 1 & echo x", "guard-background-elsewhere")] {
        let denied = site.exec(session, command);
        is(&denied, "status", &json!("denied"), command);
        assert!(denied.to_string().contains(policy), "`{command}`: {denied}");
    }
    // Names mean what they mean there.
    for (command, expected) in [
        ("touch there/f", "done"),
        ("touch there/new there/g", "done"),
        ("touch far/x", "denied"),
        ("touch far/none/x", "denied"),
        ("touch none/../../x", "denied"),
        ("mkdir -p a/b/c && touch a/b/c/d", "done"),
        ("cat ~/.ssh/id_ed25519", "denied"),
        ("cat far/hostname", "done"),
    ] {
        is(&site.exec(session, command), "status", &json!(expected), command);
    }
    // A command that takes long becomes a job, and can be ended.
    let (job, _) =
        site.call("exec", &json!({ "session": session, "command": "echo begun; sleep 633", "yield_ms": 500 }));
    is(&job, "status", &json!("running"), "a job");
    let job = job["job"].as_str().expect("a name").to_owned();
    site.call("job_signal", &json!({ "job": job, "signal": "INT" }));
    let (ended, text) = site.read_to_end(&job);
    assert_ne!(ended["status"], "running", "{text}");
    is(&site.exec(session, "echo $x"), "stdout", &json!("kept\n"), "after a job");
    // A job of its own begins as the session is, but for functions: they cannot be listed.
    let (job, text) = site.call(
        "exec",
        &json!({ "session": session, "command": "cat; echo $x; pwd -P; command -v fails", "yield_ms": 0 }),
    );
    let job = job["job"].as_str().unwrap_or_else(|| panic!("{text}")).to_owned();
    site.call("job_write", &json!({ "job": job, "input": "typed\n", "eof": true }));
    let (ended, text) = site.read_to_end(&job);
    is(&ended, "stdout", &json!(format!("typed\nkept\n{workspace}\n")), &text);
    is(&ended, "exit_code", &json!(127), &text);
    // What such a shell does at a terminal is not known.
    let (_, text) = site.call("exec", &json!({ "session": session, "command": "cat", "tty": true }));
    assert!(text.contains("cannot have a terminal") && text.contains("takes bash"), "{text}");
    is_kept(site, session, workspace);
}

/// A command that is cut short leaves nothing behind; what one before has left on purpose goes on. `home` is where shells begin there. What
/// runs is known by numbers from `first` on, which nobody else uses: tests run side by side.
pub(crate) fn leaves_what_was_there(site: &mut Site, session: &str, home: &str, first: u32) {
    let [left, away, here, odd_away, odd_here, job_away, job_here] =
        [0, 1, 2, 3, 4, 5, 6].map(|number| (first + number).to_string());
    is(&site.exec(session, &format!("setsid -f sleep {left}")), "status", &json!("done"), "left on purpose");
    until("it began", || runs(&left));
    // Starts are told in hundredths of a second.
    std::thread::sleep(Duration::from_millis(200));
    let ended = site.exec_for(session, &format!("setsid -f sleep {away}; sleep {here}"), 700);
    is(&ended, "status", &json!("timed_out"), "a deadline");
    until("it was left", || !runs(&away) && !runs(&here));
    assert!(ended["lost"].is_null() && runs(&left), "{ended}");
    // Whatever a process is called: lines, brackets, and what a shell might take for patterns or numbers.
    let odd = ") *\n) S 1 1";
    fs::copy("/bin/sleep", format!("{home}/{odd}")).expect("a copy");
    for number in 10..40 {
        fs::write(format!("{home}/a[$(touch ran)]{number}"), "").expect("a file");
    }
    let ended = site.exec_for(session, &format!("setsid -f \"./{odd}\" {odd_away}; exec \"./{odd}\" {odd_here}"), 700);
    until("it was left", || !has_argument(&odd_away) && !has_argument(&odd_here));
    assert!(runs(&left), "{ended}");
    let is_run = fs::read_dir(home).expect("the home").flatten().any(|entry| entry.file_name() == "ran");
    assert!(!is_run, "the name of a process was run");
    for (signal, status) in [("KILL", "cancelled"), ("TERM", "cancelled"), ("INT", "done")] {
        let command = format!("setsid -f sleep {job_away}; sleep {job_here}");
        let (job, _) = site.call("exec", &json!({ "session": session, "command": command, "yield_ms": 400 }));
        until("it began", || runs(&job_away) && runs(&job_here));
        site.call("job_signal", &json!({ "job": job["job"], "signal": signal }));
        let (ended, text) = site.read_to_end(job["job"].as_str().expect("a job"));
        is(&ended, "status", &json!(status), &text);
        // An interrupt that has been sent need not have arrived everywhere.
        until(&format!("{signal} has left something"), || !runs(&job_away) && !runs(&job_here));
        assert!(runs(&left), "{signal}: {text}");
    }
    is(&site.exec(session, "echo on"), "stdout", &json!("on\n"), "on");
    site.call("session_close", &json!({ "session": session }));
    until("it was left", || !runs(&left));
}

/// Whether a process has an interrupt that it has not taken yet (proc_pid_status(5), `ShdPnd`; SIGINT is 2).
fn is_interrupted(pid: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a status");
    let pending = status.lines().find_map(|line| line.strip_prefix("ShdPnd:")).expect("the field");
    u64::from_str_radix(pending.trim(), 16).expect("a mask") & 0b10 != 0
}

fn has_argument(argument: &str) -> bool {
    let processes = fs::read_dir("/proc").expect("processes").flatten();
    let words = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    words.into_iter().any(|words| words.split(|byte| *byte == 0).any(|word| word == argument.as_bytes()))
}

/// The command ends the shell; another one stands where it stood, and is what it was.
fn is_kept(site: &mut Site, session: &str, workspace: &str) {
    let told = |site: &mut Site, command: &str| {
        let result = site.exec(session, command);
        is(&result, "status", &json!("done"), command);
        result["stdout"].as_str().unwrap_or_default().to_owned()
    };
    for command in [
        "cd sub",
        HOSTILE,
        "readonly fixed=1; export given='a b'; umask 27",
        "set -- 'a b' \"$hostile\"; unset LANG; set -f; set -u",
    ] {
        told(site, command);
    }
    let all = |site: &mut Site| {
        // Each shell has a mark of its own, and each connection its ports.
        let own = |line: &&str| !["PALISADE_SESSION=", "OLDPWD=", "SSH_"].iter().any(|own| line.starts_with(own));
        ["echo $#; echo \"$1$2$given$fixed\"", "echo $undefined", "umask", "env", "echo \"$hostile\""].map(|command| {
            let result = site.exec(session, command);
            is(&result, "status", &json!("done"), command);
            let mut lines: Vec<String> =
                result["stdout"].as_str().unwrap_or_default().lines().filter(own).map(str::to_owned).collect();
            lines.sort_unstable();
            (lines, result["exit_code"].clone())
        })
    };
    let before = all(site);
    let [(words, _), (_, unset), (mask, _), ..] = &before;
    assert!(words.contains(&"2".to_owned()) && mask == &["0027"] && *unset != 0, "{before:?}");
    let exited = site.exec(session, "echo last; exit 9");
    is(&exited, "exit_code", &json!(9), "exit");
    is(&exited, "stdout", &json!("last\n"), "exit");
    is(&exited, "status", &json!("session_lost"), "exit");
    let (again, text) = site.call("session_open", &json!({ "session": session }));
    assert_eq!((&again["restarted"], &again["state_lost"]), (&json!(true), &Value::Null), "{text}");
    assert_eq!(again["functions_lost"], true, "{text}");
    assert!(text.contains("functions, which `sh` does not list"), "{text}");
    is(&site.exec(session, "[[ a ]]"), "status", &json!("denied"), "[[");
    assert_eq!(told(site, "pwd -P; echo $x"), format!("{workspace}/sub\nkept\n"));
    assert_eq!(all(site), before);
    is(&site.exec(session, "fixed=2; echo no"), "stdout", &json!(""), "a variable that is read-only");
    is(&site.exec(session, "command -v fails"), "exit_code", &json!(127), "a function");
    is(&site.exec(session, "ls"), "stdout", &json!("deep\n"), "nothing of a value ran");
}

/// Values that would be more than values if anybody passed them on as they come.
const HOSTILE: &str = "hostile=\"'; touch ran; '\\$(touch ran)\\`touch ran\\`
export touch='touch ran'
set -o; touch ran #\"";

/// What stands where a session begins.
const MADE: &str = "mkdir -p sub/deep real && ln -s sub/deep link && ln -s real there && ln -s /etc far";

#[test]
fn a_session_in_dash_is_a_session() {
    let Some(sshd) = Sshd::up(&["sh"]) else { return };
    let dir = real(sshd.variable("PALISADE_SSH_DIR"));
    run(Command::new("bash").args(["-c", MADE]).current_dir(&dir));
    let mut site = Site::new(&ssh_target(&sshd, "web", &with_key(&sshd, "key_ed25519")));
    let (opened, text) = site.call("session_open", &json!({ "target": "web" }));
    assert_eq!(opened["target"]["shell"], "sh", "{text}");
    assert_eq!(site.opened_on_record()["shell"], "sh");
    let session = opened["session"].as_str().expect("a session").to_owned();
    behaves_as_a_session(&mut site, &session, &dir);
    until("something was left", || !["631", "632", "633", "634", "635"].iter().any(|argument| runs(argument)));

    // What leaves the shell's own session is known by its mark.
    let session = site.open("web");
    leaves_what_was_there(&mut site, &session, &dir, 701);

    // The shell gets to run only after the interrupt, and forgets the line with its report.
    let session = site.open("web");
    let told = site.exec(&session, "echo $$; setsid -f sleep 641");
    let shell = told["stdout"].as_str().unwrap_or_default().trim().to_owned();
    let send = |signal: &str| run(Command::new("kill").args([signal, &shell]));
    until("it began", || runs("641"));
    // Starts are told in hundredths of a second.
    std::thread::sleep(Duration::from_millis(200));
    let (job, _) = site.call("exec", &json!({ "session": session, "command": "sleep 642", "yield_ms": 400 }));
    until("it began", || runs("642"));
    send("-STOP");
    site.call("job_signal", &json!({ "job": job["job"], "signal": "INT" }));
    until("it was interrupted", || !runs("642"));
    until("the interrupt waits for the shell", || is_interrupted(&shell));
    send("-CONT");
    let (ended, text) = site.read_to_end(job["job"].as_str().expect("a job"));
    is(&ended, "exit_code", &json!(130), &text);
    is(&site.exec(&session, "echo on"), "stdout", &json!("on\n"), "on");
    assert!(runs("641"), "what an earlier command left has ended: {text}");
    site.call("session_close", &json!({ "session": session }));
    until("it was left", || !runs("641"));
    let session = site.open("web");
    let (running, _) =
        site.call("exec", &json!({ "session": session, "command": "setsid -f sleep 637; sleep 638", "yield_ms": 700 }));
    assert_eq!(running["status"], "running");
    until("it began", || runs("637") && runs("638"));
    site.call("session_close", &json!({ "session": session }));
    until("it was left", || !runs("637") && !runs("638"));

    // And so does what runs when the connection is cut.
    let session = site.open("web");
    site.call("exec", &json!({ "session": session, "command": "setsid -f sleep 639; sleep 640", "yield_ms": 700 }));
    until("it began", || runs("639") && runs("640"));
    drop(site);
    until("it was left by a server that is gone", || !runs("639") && !runs("640"));
}

#[test]
fn a_session_in_busybox_is_a_session() {
    let Some(docker) = Docker::up() else { return };
    let container = docker.container("palisade-sh-test");
    container.bash("0:0", &format!("cd /tmp && {MADE} && rm -f /bin/bash /usr/bin/bash"));
    let target = format!(
        "[targets.ci]\nremote_guard = false\nworkspace = \"/tmp\"\ndocker = {{ container = \"{}\", socket = \"{}\" }}\n",
        container.name(),
        docker.socket()
    );
    let mut site = Site::new(&target);
    let (opened, text) = site.call("session_open", &json!({ "target": "ci" }));
    assert_eq!(opened["target"]["shell"], "sh", "{text}");
    assert!(text.contains("shell \"sh\""), "{text}");
    let session = opened["session"].as_str().expect("a session").to_owned();
    behaves_as_a_session(&mut site, &session, "/tmp");
    let processes = site.exec(&session, "ps -eo args");
    assert!(!processes["stdout"].to_string().contains("sleep 63"), "{processes}");

    // Policies see which shell it is.
    let forbid = "@id(\"t-bash-only\") @reason(\"for tests\") @suggest(\"none\")\n\
                  forbid (principal, action == Action::\"exec\", resource) when { context.session.shell != \"bash\" };";
    let mut site = Site::with_policy(&target, &format!("{POLICY}\n{forbid}"));
    let session = site.open("ci");
    let denied = site.exec(&session, "ls");
    assert!(denied.to_string().contains("t-bash-only"), "{denied}");
}

/// A `sh` that is something else is not taken for one.
#[test]
fn a_sh_of_another_kind_is_refused() {
    let Some(sshd) = Sshd::up(&["sh"]) else { return };
    let sh = format!("{}/bin/sh", sshd.variable("PALISADE_SSH_DIR"));
    fs::remove_file(&sh).expect("the link");
    std::os::unix::fs::symlink("/bin/bash", &sh).expect("a link");
    let mut site = Site::new(&ssh_target(&sshd, "web", &with_key(&sshd, "key_ed25519")));
    let refused = site.refused("web");
    assert!(refused.contains("cannot take its place") && refused.contains("neither dash"), "{refused}");
    fs::remove_file(&sh).expect("the link");
    let refused = site.refused("web");
    assert!(refused.contains("neither bash nor sh"), "{refused}");
}
