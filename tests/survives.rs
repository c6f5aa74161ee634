//! What outlives what: nothing a server that was killed, here and at targets; a session's state its connection, a session its jobs.

use std::fs::{self, File, FileTimes};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::serve::Server;
use crate::support::people::call;
use crate::support::services::{Docker, Sshd};
use crate::support::site::{Site, real, runs, ssh_target, until, with_key};
use crate::support::world::World;

/// Starts something that takes its time, in a session and as a job of its own.
fn begin(site: &mut Site, session: &str, seconds: [&str; 2]) {
    for (seconds, yields) in seconds.into_iter().zip([300, 0]) {
        let command = format!("trap '' HUP TERM; sleep {seconds}");
        let begun = json!({ "session": session, "command": command, "yield_ms": yields });
        let (running, text) = site.call("exec", &begun);
        assert_eq!(running["status"], "running", "{text}");
        until("it began", || runs(seconds));
    }
}

fn kill(site: &mut Site) {
    site.server.child.kill().expect("it is killed");
    site.server.child.wait().expect("it has ended");
}

#[test]
fn nothing_is_left_at_a_host_by_a_server_that_was_killed() {
    let Some(sshd) = Sshd::up(&[]) else { return };
    let mut site = Site::new(&ssh_target(&sshd, "web", &with_key(&sshd, "key_ed25519")));
    let session = site.open("web");
    begin(&mut site, &session, ["621", "622"]);
    kill(&mut site);
    until("something was left", || !["621", "622"].iter().any(|seconds| runs(seconds)));
}

#[test]
fn nothing_is_left_in_containers_by_a_server_that_was_killed() {
    let Some(docker) = Docker::up() else { return };
    let (container, socket) = (docker.container("palisade-survives-test"), docker.socket());
    let targets = format!(
        "[targets.ci]\nremote_guard = false\nworkspace = \"/tmp\"\ndocker = {{ container = \"{}\", socket = \"{socket}\" }}\n\
         [targets.fresh]\nremote_guard = false\nworkspace = \"/tmp\"\ndocker = {{ image = \"palisade-test:latest\", socket = \"{socket}\" }}\n",
        container.name()
    );
    let mut site = Site::new(&targets);
    let session = site.open("ci");
    begin(&mut site, &session, ["623", "624"]);
    site.open("fresh");
    let id = site.opened_on_record()["container"].as_str().expect("an id").to_owned();
    kill(&mut site);
    until("something was left", || !["623", "624"].iter().any(|seconds| runs(seconds)));
    let all = || docker.request("GET", "/containers/json?all=true", "");
    until("the container was left", || !all().contains(&id));

    // One that was made and never begun goes with the next session, if its server is gone for sure.
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("the machine's start");
    let among = fs::metadata("/proc/self/ns/pid").expect("a namespace").ino();
    let made = |server: &str| -> String {
        let body = json!({ "Image": "palisade-test:latest", "Cmd": ["cat"], "Labels": { "palisade.server": server } });
        let made = docker.request("POST", "/containers/create", &body.to_string());
        let made: Value = serde_json::from_str(&made).expect("JSON");
        made["Id"].as_str().expect("an id").to_owned()
    };
    let gone = made(&format!("{}:{among}:{}:1", boot.trim(), std::process::id()));
    let elsewhere = made(&format!("another-machine:{among}:{}:1", std::process::id()));
    let mut site = Site::new(&targets);
    site.open("fresh");
    let left = all();
    assert!(!left.contains(&gone) && left.contains(&elsewhere), "{gone} and {elsewhere} in {left}");
    docker.request("DELETE", &format!("/containers/{elsewhere}?force=true"), "");
}

/// The state of a session whose shell or connection is gone stands in the next one.
fn comes_back(site: &mut Site, session: &str, workspace: &str, end: impl FnOnce(&mut Site)) {
    for command in [
        "mkdir -p sub && cd sub",
        "x='it is $x'; list=(a 'b c'); export PASSED=on",
        "f() { echo \"f of $1\"; }",
        "shopt -s nullglob; set -o noclobber; umask 027; set -- one 'two three'",
        "unset SSH_CLIENT",
    ] {
        let result = site.exec(session, command);
        assert_eq!(result["exit_code"], 0, "`{command}`: {result}");
    }
    end(site);
    let lost = site.exec(session, "true");
    assert_eq!(lost["status"], "session_lost", "{lost}");
    let (back, text) = site.call("session_open", &json!({ "session": session }));
    assert_eq!(back["restarted"], true, "{text}");
    assert_eq!((&back["session"], &back["state_lost"]), (&json!(session), &Value::Null), "{text}");
    assert!(text.contains("restarted with its last state") && text.chars().count() <= 200, "{text}");
    assert_eq!(back["cwd"], format!("{workspace}/sub"), "{text}");
    for (command, expected) in [
        ("pwd -P", format!("{workspace}/sub\n")),
        ("echo \"$x\" \"${list[1]}\" \"$2\"", "it is $x b c two three\n".to_owned()),
        ("f me", "f of me\n".to_owned()),
        ("env | grep ^PASSED", "PASSED=on\n".to_owned()),
        ("shopt nullglob", "nullglob       \ton\n".to_owned()),
        ("[[ $- == *C* ]] && echo on", "on\n".to_owned()),
        ("umask", "0027\n".to_owned()),
        ("echo \"${SSH_CLIENT-none}\"", "none\n".to_owned()),
    ] {
        let result = site.exec(session, command);
        assert_eq!(result["stdout"], expected, "`{command}`: {result}");
    }
    // All that it starts bears the mark of the new shell.
    let result = site.exec_for(session, "bash -c 'trap \"\" INT; sleep 625; :'", 700);
    assert_eq!(result["status"], "timed_out", "{result}");
    until("something was left", || !runs("625"));
    assert_eq!(site.exec(session, "f you")["stdout"], "f of you\n");
}

#[test]
fn a_session_over_ssh_comes_back_with_its_state() {
    let Some(sshd) = Sshd::up(&[]) else { return };
    let dir = real(sshd.variable("PALISADE_SSH_DIR"));
    let mut site = Site::new(&ssh_target(&sshd, "web", &with_key(&sshd, "key_ed25519")));
    let session = site.open("web");
    comes_back(&mut site, &session, &dir, |_| sshd.apply("drop"));

    // What is left of it stays as long as there is no way back; and a key that has changed is no way.
    sshd.apply("drop");
    assert_eq!(site.exec(&session, "true")["status"], "session_lost");
    sshd.apply("mitm");
    let (_, text) = site.call("session_open", &json!({ "session": session }));
    assert!(text.contains("HAS CHANGED"), "{text}");
    sshd.apply("heal");
    let (back, text) = site.call("session_open", &json!({ "session": session }));
    assert_eq!(back["restarted"], true, "{text}");
    assert_eq!(site.exec(&session, "f again")["stdout"], "f of again\n");
}

#[test]
fn a_session_in_a_container_comes_back_with_its_state() {
    let Some(docker) = Docker::up() else { return };
    let (container, socket) = (docker.container("palisade-comes-back-test"), docker.socket());
    let mut site = Site::new(&format!(
        "[targets.ci]\nremote_guard = false\nworkspace = \"/tmp\"\ndocker = {{ container = \"{}\", socket = \"{socket}\" }}\n",
        container.name()
    ));
    let session = site.open("ci");
    let own = session.clone();
    comes_back(&mut site, &session, "/tmp", |site| {
        assert_eq!(site.exec(&own, "exit 3")["status"], "session_lost");
    });
}

/// A job beside a session: it begins as the session is, has an input, and leaves the session free.
fn has_jobs(site: &mut Site, session: &str, workspace: &str) {
    site.exec(session, "x=kept; f() { echo \"f of $1\"; }; mkdir -p jobs; cd jobs");
    let start = |site: &mut Site, command: &str| {
        let (job, text) = site.call("exec", &json!({ "session": session, "command": command, "yield_ms": 0 }));
        assert_eq!(job["status"], "running", "`{command}`: {text}");
        job["job"].as_str().expect("a name").to_owned()
    };
    let ended = |site: &mut Site, job: &str| {
        let mut read = site.call("job_read", &json!({ "job": job, "wait_ms": 30_000 })).0;
        let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while read["status"] == "running" && std::time::Instant::now() < until {
            read = site.call("job_read", &json!({ "job": job, "wait_ms": 1000 })).0;
        }
        read
    };
    let job = start(site, "f \"$x\"; pwd -P; read line; echo \"read $line\"; cat; echo err >&2; exit 3");
    assert_eq!(site.exec(session, "echo free")["stdout"], "free\n", "while a job runs");
    for (input, eof) in [("one\n", false), ("two\nthree", true)] {
        let (_, text) = site.call("job_write", &json!({ "job": job, "input": input, "eof": eof }));
        assert!(!text.contains("[error]"), "{text}");
    }
    let read = ended(site, &job);
    assert_eq!(read["stdout"], format!("f of kept\n{workspace}/jobs\nread one\ntwo\nthree"), "{read}");
    assert_eq!((&read["stderr"], &read["exit_code"], &read["status"]), (&json!("err\n"), &json!(3), &json!("done")));
    // What it does to itself is its own, and what it leaves unread is no command.
    let job = start(site, "x=other; sleep 1; echo over");
    site.call("job_write", &json!({ "job": job, "input": "touch unread\necho unread\n" }));
    assert_eq!(ended(site, &job)["stdout"], "over\n");
    assert_eq!(site.exec(session, "ls; echo $x")["stdout"], "kept\n");
    // Interrupted, it takes no commands either.
    let job = start(site, "sleep 626; echo no");
    until("it began", || runs("626"));
    site.call("job_write", &json!({ "job": job, "input": "echo unread\n" }));
    site.call("job_signal", &json!({ "job": job, "signal": "INT" }));
    let read = ended(site, &job);
    assert!(read["status"] != "running" && !read.to_string().contains("unread"), "{read}");
    // More than there is room for at once.
    let job = start(site, "wc -c");
    let much = "0123456789abcde\n".repeat(1 << 16);
    site.call("job_write", &json!({ "job": job, "input": much, "eof": true }));
    assert_eq!(ended(site, &job)["stdout"].as_str().unwrap_or_default().trim(), "1048576");
    // One that ends with its session.
    start(site, "trap '' TERM INT HUP; sleep 627");
    until("it began", || runs("627"));
    site.call("session_close", &json!({ "session": session }));
    until("it was left", || !runs("627"));
}

#[test]
fn jobs_over_ssh_have_an_input() {
    let Some(sshd) = Sshd::up(&[]) else { return };
    let dir = real(sshd.variable("PALISADE_SSH_DIR"));
    let mut site = Site::new(&ssh_target(&sshd, "web", &with_key(&sshd, "key_ed25519")));
    let session = site.open("web");
    has_jobs(&mut site, &session, &dir);
}

#[test]
fn jobs_in_containers_have_an_input() {
    let Some(docker) = Docker::up() else { return };
    let (container, socket) = (docker.container("palisade-jobs-test"), docker.socket());
    let mut site = Site::new(&format!(
        "[targets.ci]\nremote_guard = false\nworkspace = \"/tmp\"\ndocker = {{ container = \"{}\", socket = \"{socket}\" }}\n",
        container.name()
    ));
    let session = site.open("ci");
    has_jobs(&mut site, &session, "/tmp");
}

#[test]
fn the_directories_of_a_server_that_was_killed_go_with_the_next_one() {
    let world = World::new();
    let temporary = |server: &mut Server| {
        let session = call(server, "session_open", &json!({}))["session"].clone();
        let told = call(server, "exec", &json!({ "command": "./made", "session": session }));
        let temp = told["stdout"].as_str().unwrap_or_else(|| panic!("{told}")).trim_end().to_owned();
        Path::new(&temp).parent().expect("the session's own").to_owned()
    };
    world.program("made", "#!/bin/sh\nmkdir -p \"$TMPDIR/a/b\" && chmod 0 \"$TMPDIR/a\" && echo \"$TMPDIR\"\n");
    let mut killed = Server::start_with(&world, &[]);
    let left = temporary(&mut killed);
    killed.child.kill().expect("it is killed");
    killed.child.wait().expect("it has ended");
    let mut lives = Server::start_with(&world, &[]);
    let held = temporary(&mut lives);
    assert!(left.join("tmp/a").exists(), "it is too young for anybody to know");
    let then = FileTimes::new().set_modified(SystemTime::now() - Duration::from_secs(120));
    for directory in [&left, &held] {
        File::open(directory).and_then(|directory| directory.set_times(then)).expect("it is old");
    }
    let mut next = Server::start_with(&world, &[]);
    temporary(&mut next);
    until("it is swept", || !left.exists());
    assert!(held.join("tmp/a").exists(), "somebody has it");
}
