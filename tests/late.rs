//! Targets that keep everybody waiting: whatever step they stall at, a command's answer comes with its deadline.
//!
//! What stalls here is stopped by a signal, so that it stalls for as long as the test likes, and the settings take the connection for alive
//! all that time.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::remote_guard::{ACCEPT, There, policy};
use crate::support::services::{Docker, Sshd, run};
use crate::support::site::{Site, is, runs, ssh_target, until, with_key};

/// How long what stalls would be waited for at least: no step takes anything like it, however busy the machine.
const STALL: Duration = Duration::from_secs(120);

/// The deadline of a command of which it does not matter how far it comes.
const SOON: u64 = 1_500;

/// The deadline of one that has to begin.
const BEGINS: u64 = 8_000;

/// Calls, and sees to it that the answer comes while the target stalls.
fn answered(site: &mut Site, call: &Value) -> (Value, String) {
    let begun = Instant::now();
    let answer = site.call("exec", call);
    assert!(begun.elapsed() < STALL, "{:?} for {call}: {}", begun.elapsed(), answer.0);
    answer
}

fn call(session: &str, command: &str, timeout: u64) -> Value {
    json!({ "session": session, "command": command, "timeout_ms": timeout, "yield_ms": 300_000 })
}

/// A process that can be stopped, and goes on when the test lets go of it.
struct Stopped(String);

impl Stopped {
    fn stop(pid: &str) -> Self {
        assert!(run(Command::new("kill").args(["-STOP", pid])).status.success(), "{pid} is not there");
        Self(pid.to_owned())
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        run(Command::new("kill").args(["-CONT", &self.0]));
    }
}

/// The processes of a session over SSH: its shell, and what else its connection runs, by their arguments.
struct Processes {
    shell: String,
    others: Vec<(String, String)>,
}

impl Processes {
    fn of(site: &mut Site, session: &str) -> Self {
        let told = site.exec(session, "echo $PPID $$")["stdout"].as_str().unwrap_or_default().to_owned();
        let (parent, shell) = told.trim().split_once(' ').expect("two numbers");
        let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).expect("its children");
        let others = children.split_whitespace().filter(|pid| *pid != shell);
        let arguments = |pid: &str| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).replace('\0', " ")
        };
        Self { shell: shell.to_owned(), others: others.map(|pid| (pid.to_owned(), arguments(pid))).collect() }
    }

    /// The one with these words.
    fn other(&self, words: &str) -> &str {
        let found = self.others.iter().find(|(_, arguments)| arguments.contains(words));
        found.map(|(pid, _)| pid.as_str()).unwrap_or_else(|| panic!("no `{words}` among {:?}", self.others))
    }
}

/// How the commands with this text ended, as the record has it.
fn ends(site: &Site, command: &str) -> Vec<String> {
    let record = site.world.record();
    let decided = record.iter().filter(|line| line["kind"] == "decision" && line["cmd"].to_string().contains(command));
    let requests: Vec<&Value> = decided.map(|line| &line["req"]).collect();
    let outcomes = record.iter().filter(|line| line["kind"] == "outcome" && requests.contains(&&line["req"]));
    outcomes.map(|line| line["exit"].to_string()).collect()
}

fn target(sshd: &Sshd) -> String {
    ssh_target(sshd, "web", &format!("{}, keepalive = \"600s\"", with_key(sshd, "key_ed25519")))
}

#[test]
fn a_host_that_stalls_is_not_waited_for() {
    let Some(sshd) = Sshd::up(&[]) else { return };
    let mut site = Site::new(&target(&sshd));
    let session = site.open("web");
    site.exec(&session, "x=kept; mkdir -p sub; echo there > sub/file");
    let there = Processes::of(&mut site, &session);
    let helper = there.other("--noediting").to_owned();

    // What names mean: they stay unknown, and what is not known is not allowed.
    let stopped = Stopped::stop(&helper);
    let (denied, text) = answered(&mut site, &call(&session, "cat sub/file", SOON));
    is(&denied, "status", &json!("denied"), "names");
    assert!(text.contains("had not said what the command's names mean when its deadline passed"), "{text}");
    let mut elsewhere = call(&session, "true", SOON);
    elsewhere["cwd"] = json!("sub");
    let (_, text) = answered(&mut site, &elsewhere);
    assert!(text.contains("deadline passed before the target said what `cwd` is"), "{text}");
    drop(stopped);
    is(&site.exec(&session, "cat sub/file"), "stdout", &json!("there\n"), "it goes on");

    // The end: the command, and what is to be done behind it. The session is left, and what it was.
    let stopped = Stopped::stop(&helper);
    let (late, text) = answered(&mut site, &call(&session, "sleep 681", BEGINS));
    assert_eq!((&late["status"], &late["late"]), (&json!("timed_out"), &json!("may_run")), "{late}");
    assert!(text.contains("it may still run there") && late["lost"].is_null(), "{text}");
    assert!(runs("681"), "nobody can have ended it");
    assert_eq!(ends(&site, "sleep 681"), [r#"{"reason":"deadline-may-run"}"#]);
    let (_, text) = answered(&mut site, &call(&session, "echo $x", SOON));
    assert!(text.contains("deadline has passed") && text.contains("nothing has run"), "{text}");
    drop(stopped);
    until("it was left", || !runs("681"));
    let job = late["job"].as_str().expect("a job").to_owned();
    let ended = |site: &mut Site| {
        let (read, _) = site.call("job_read", &json!({ "job": job, "wait_ms": 0 }));
        read["late"].is_null() && read["status"] == "timed_out"
    };
    let begun = Instant::now();
    while !ended(&mut site) {
        assert!(begun.elapsed() < STALL, "its end is not known");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(ends(&site, "sleep 681").get(1).map(String::as_str), Some(r#"{"reason":"timed_out"}"#));
    is(&site.exec(&session, "echo $x"), "stdout", &json!("kept\n"), "the session goes on");

    // Behind a command that came to its end: that is told.
    let stopped = Stopped::stop(&helper);
    let (late, _) = answered(&mut site, &call(&session, "x=more; printenv HOME; (exit 7)", BEGINS));
    assert_eq!(
        (&late["status"], &late["exit_code"], &late["late"]),
        (&json!("done"), &json!(7), &json!("unsettled")),
        "{late}"
    );
    drop(stopped);

    // The shell itself.
    let session = site.open("web");
    let there = Processes::of(&mut site, &session);
    let stopped = Stopped::stop(&there.shell);
    let (late, _) = answered(&mut site, &call(&session, "echo shell", SOON));
    assert_eq!((&late["status"], &late["late"]), (&json!("timed_out"), &json!("may_run")), "{late}");
    drop(stopped);

    // The whole of it: no program starts there any more, and nothing is sent to one that would.
    let session = site.open("web");
    sshd.apply("freeze");
    let (late, _) = answered(&mut site, &call(&session, "echo frozen", SOON));
    assert_eq!((&late["status"], &late["late"]), (&json!("timed_out"), &json!("may_run")), "{late}");
    let mut job = call(&session, "touch begun-late", SOON);
    job["yield_ms"] = json!(0);
    let (_, text) = answered(&mut site, &job);
    assert!(text.contains("deadline"), "{text}");
    sshd.apply("thaw");
    assert!(!Path::new(sshd.variable("PALISADE_SSH_DIR")).join("begun-late").exists(), "it has run after all");
}

#[test]
fn a_job_whose_shell_does_not_start_is_not_waited_for() {
    let Some(sshd) = Sshd::up(&[]) else { return };
    let mut site = Site::new(&target(&sshd));
    let session = site.open("web");
    let parent = site.exec(&session, "echo $PPID")["stdout"].as_str().unwrap_or_default().trim().to_owned();
    let stopped = Stopped::stop(&parent);
    let begin = json!({ "session": session, "command": "printenv HOME", "timeout_ms": SOON, "yield_ms": 0 });
    let (job, text) = answered(&mut site, &begin);
    let job = job["job"].as_str().unwrap_or_else(|| panic!("{text}")).to_owned();
    let begun = Instant::now();
    let (late, text) = loop {
        let (read, text) = site.call("job_read", &json!({ "job": job, "wait_ms": 30_000 }));
        if read["status"] != "running" {
            break (read, text);
        }
        assert!(begun.elapsed() < STALL, "{read}");
    };
    assert_eq!((&late["status"], &late["late"]), (&json!("timed_out"), &json!("not_begun")), "{late}");
    assert!(text.contains("nothing has run"), "{text}");
    assert_eq!(ends(&site, "printenv HOME"), [r#"{"reason":"deadline-not-begun"}"#]);
    drop(stopped);
    is(&site.exec(&session, "echo on"), "stdout", &json!("on\n"), "the session goes on");
}

#[test]
fn a_guard_that_stalls_is_not_waited_for() {
    let Some(sshd) = Sshd::up(&[]) else { return };
    let there = There::new(&sshd);
    let settings = there.target(&sshd, "web", "");
    let settings = settings.replace("ssh = { ", "ssh = { keepalive = \"600s\", ");
    let mut site = Site::with_policy(&format!("{ACCEPT}{settings}"), &policy(""));
    let session = site.open("web");
    site.exec(&session, "x=kept");
    // Its program answers nobody; what it started goes on.
    let guard = guard_in(&there);
    let stopped = Stopped::stop(&guard);
    let (late, text) = answered(&mut site, &call(&session, "x=other", SOON));
    assert_eq!((&late["status"], &late["late"]), (&json!("timed_out"), &json!("not_begun")), "{late}");
    assert!(text.contains("nothing has run"), "{text}");
    assert_eq!(ends(&site, "x=other"), [r#"{"reason":"deadline-not-begun"}"#]);
    drop(stopped);
    is(&site.exec(&session, "echo $x"), "stdout", &json!("kept\n"), "the session goes on");
}

/// The process that is the guard of the one session there: not one that it has forked, which is called the same and may have a lower number.
fn guard_in(there: &There) -> String {
    let state = there.state.display().to_string();
    let is_guard = |pid: &str| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        line.starts_with(&state) && line.contains(" serve ")
    };
    let all = fs::read_dir("/proc").expect("/proc").flatten();
    let pids = all.filter_map(|entry| entry.file_name().into_string().ok());
    let alike: Vec<String> =
        pids.filter(|pid| pid.bytes().all(|byte| byte.is_ascii_digit()) && is_guard(pid)).collect();
    let parent = |pid: &String| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(") ").next().and_then(|fields| fields.split(' ').nth(1)).map(str::to_owned)
    };
    let first = alike.iter().find(|pid| parent(pid).is_some_and(|parent| !alike.contains(&parent)));
    first.expect("the guard").clone()
}

#[test]
fn a_container_that_stalls_is_not_waited_for() {
    let Some(docker) = Docker::up() else { return };
    let container = docker.container("palisade-late-test");
    let socket = docker.socket();
    let mut site = Site::new(&format!(
        "[targets.ci]\nremote_guard = false\nworkspace = \"/tmp\"\ndocker = {{ container = \"{}\", socket = \"{socket}\" }}\n",
        container.name()
    ));
    let session = site.open("ci");
    site.exec(&session, "x=kept");
    // The second shell there is the one without the session's mark.
    let signal = |name: &str| {
        let script = format!(
            "for p in /proc/[0-9]*; do mapfile -d '' w <$p/cmdline; mapfile -d '' e <$p/environ; \
             [[ ${{w[3]}} != --noediting || \" ${{e[*]}}\" == *' PALISADE_SESSION='* ]] || {{ kill -{name} ${{p#/proc/}} && echo told; }}; done 2>/dev/null"
        );
        assert_eq!(container.bash("0:0", &script).trim(), "told");
    };
    signal("STOP");
    let (late, _) = answered(&mut site, &call(&session, "sleep 682", BEGINS));
    assert_eq!((&late["status"], &late["late"]), (&json!("timed_out"), &json!("may_run")), "{late}");
    assert!(runs("682"), "nobody can have ended it");
    signal("CONT");
    until("it was left", || !runs("682"));
    is(&site.exec(&session, "echo $x"), "stdout", &json!("kept\n"), "the session goes on");
}

/// A way to a server that can be made narrow: then it lets through a byte each twentieth of a second, in both directions.
struct Narrows {
    port: u16,
    drips: Arc<AtomicBool>,
}

impl Narrows {
    fn before(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let (port, drips) = (listener.local_addr().expect("an address").port(), Arc::new(AtomicBool::new(false)));
        let (server, narrow) = (format!("127.0.0.1:{server}"), Arc::clone(&drips));
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let far = TcpStream::connect(&server).expect("the server");
                for (from, to) in [(near.try_clone(), far.try_clone()), (Ok(far), Ok(near))] {
                    let (from, to, narrow) = (from.expect("a stream"), to.expect("a stream"), Arc::clone(&narrow));
                    std::thread::spawn(move || pass(from, to, &narrow));
                }
            }
        });
        Self { port, drips }
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, drips: &AtomicBool) {
    let mut bytes = vec![0; 16 << 10];
    while let Ok(read @ 1..) = from.read(&mut bytes) {
        for piece in bytes[..read].chunks(1) {
            if drips.load(Ordering::Acquire) {
                std::thread::sleep(Duration::from_millis(50));
            }
            if to.write_all(piece).is_err() {
                return;
            }
        }
    }
    // The other direction ends with it.
    let _gone = to.shutdown(Shutdown::Both);
}

#[test]
fn a_connection_that_drips_is_not_waited_for() {
    let Some(sshd) = Sshd::up(&[]) else { return };
    let port = sshd.variable("PALISADE_SSH_PORT_TARGET").to_owned();
    let narrows = Narrows::before(&port);
    let known = format!("{}/known_hosts", sshd.variable("PALISADE_SSH_DIR"));
    let keys = fs::read_to_string(&known).expect("the keys").replace(&port, &narrows.port.to_string());
    let settings = target(&sshd).replace(&format!("port = {port}"), &format!("port = {}", narrows.port));
    fs::write(known, keys).expect("the same keys at another port");
    let mut site = Site::new(&settings);
    let session = site.open("web");
    site.exec(&session, "x=kept");
    // Begins once what that has made of the shell is known.
    site.exec(&session, "true");
    narrows.drips.store(true, Ordering::Release);
    let (late, _) = answered(&mut site, &call(&session, "echo \"drip by drip by drip\"", SOON));
    assert_eq!((&late["status"], &late["late"]), (&json!("timed_out"), &json!("may_run")), "{late}");
    narrows.drips.store(false, Ordering::Release);
    is(&site.exec(&session, "echo $x"), "stdout", &json!("kept\n"), "the session goes on");
}
