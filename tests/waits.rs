//! Jobs at targets that wait for input say so, and no others: in `bash` and in `sh`, at a terminal, and under a guard.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::remote_guard::{ACCEPT, There, policy};
use crate::support::services::{Docker, Sshd};
use crate::support::site::{Site, ssh_target, with_key};

/// What reads a line and greets whoever that names.
const WAIT: [&str; 3] = [
    "read -r name; echo \"hello $name\"",
    "head -n 1 | sed 's/^/hello /'",
    "echo name; sleep 1; { cat >/dev/null; echo hello you; }",
];

/// In bash alone: a wait with an end to it, which is another system call.
const WAIT_IN_BASH: &str = "read -r -t 60 name; echo \"hello $name\"";

/// What is silent for as long, but reads something else or nothing.
const DO_NOT: [&str; 3] = ["sleep 7 | cat", "sleep 7", "mkfifo other; sleep 7 >other & cat <other"];

fn begun(site: &mut Site, session: &str, command: &str, tty: bool) -> String {
    let call = json!({ "session": session, "command": command, "tty": tty, "yield_ms": 0 });
    let (begun, text) = site.call("exec", &call);
    begun["job"].as_str().unwrap_or_else(|| panic!("`{command}`: {text}")).to_owned()
}

/// Reads until the job waits for input, or has ended.
fn read(site: &mut Site, job: &str) -> Value {
    let (start, mut asked) = (Instant::now(), json!({ "job": job, "wait_ms": 1_000 }));
    loop {
        let (read, text) = site.call("job_read", &asked);
        if read["waiting_for_input"] == json!(true) || read["status"] != "running" {
            return read;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "it neither ends nor waits: {text}");
        asked["cursor"] = read["cursor"].clone();
    }
}

fn says_when_it_waits(site: &mut Site, session: &str, command: &str, tty: bool) {
    let (job, start) = (begun(site, session, command, tty), Instant::now());
    let waiting = read(site, &job);
    assert_eq!(waiting["waiting_for_input"], json!(true), "`{command}`: {waiting}");
    assert!(start.elapsed() >= Duration::from_secs(1), "`{command}` was given no time to think");
    let (written, text) = site.call("job_write", &json!({ "job": job, "input": "you\n", "eof": true }));
    assert!(written["waiting_for_input"].is_null(), "`{command}`: {text}");
    let (done, text) = site.read_to_end(&job);
    assert!(done["stdout"].as_str().unwrap_or_default().contains("hello you"), "`{command}`: {text}");
    assert!(done["waiting_for_input"].is_null(), "`{command}`: {text}");
}

fn says_nothing(site: &mut Site, session: &str, command: &str) {
    let job = begun(site, session, command, false);
    let done = read(site, &job);
    assert!(done["waiting_for_input"].is_null() && done["status"] == "done", "`{command}`: {done}");
}

#[test]
fn a_job_over_ssh_says_that_it_waits() {
    let Some(sshd) = Sshd::up(&[]) else { return };
    let mut site = Site::new(&ssh_target(&sshd, "web", &with_key(&sshd, "key_ed25519")));
    let session = site.open("web");
    for command in WAIT.into_iter().chain([WAIT_IN_BASH]) {
        says_when_it_waits(&mut site, &session, command, false);
    }
    for command in [WAIT[0], WAIT_IN_BASH, "read -r name </dev/tty; echo \"hello $name\""] {
        says_when_it_waits(&mut site, &session, command, true);
    }
    for command in &DO_NOT[..2] {
        says_nothing(&mut site, &session, command);
    }
}

#[test]
fn a_job_in_a_container_says_that_it_waits() {
    let Some(docker) = Docker::up() else { return };
    let container = docker.container("palisade-waits-test");
    let target = format!(
        "[targets.ci]\nremote_guard = false\nworkspace = \"/tmp\"\ndocker = {{ container = \"{}\", socket = \"{}\" }}\n",
        container.name(),
        docker.socket()
    );
    let mut site = Site::new(&target);
    let session = site.open("ci");
    says_when_it_waits(&mut site, &session, WAIT[0], false);
    says_when_it_waits(&mut site, &session, WAIT[1], true);
    says_nothing(&mut site, &session, DO_NOT[0]);
}

#[test]
fn a_job_in_sh_says_that_it_waits() {
    let Some(sshd) = Sshd::up(&["sh"]) else { return };
    let mut site = Site::new(&ssh_target(&sshd, "web", &with_key(&sshd, "key_ed25519")));
    let session = site.open("web");
    for command in [WAIT[0], "name=$(head -n 1) && echo \"hello $name\""] {
        says_when_it_waits(&mut site, &session, command, false);
    }
    says_nothing(&mut site, &session, DO_NOT[0]);
}

#[test]
fn a_job_under_a_guard_says_that_it_waits() {
    let Some(sshd) = Sshd::up(&[]) else { return };
    let there = There::new(&sshd);
    let mut site = Site::with_policy(&format!("{ACCEPT}{}", there.target(&sshd, "web", "")), &policy(""));
    let session = site.open("web");
    for (tty, script) in [
        (false, WAIT[1]),
        (false, "perl -e 'select(my $set = \"\\1\", undef, undef, undef); print \"hello \", scalar <STDIN>'"),
        (true, WAIT[0]),
        (true, "read -r name </dev/tty; echo \"hello $name\""),
    ] {
        there.script("tried", &format!("#!/bin/bash\n{script}"));
        says_when_it_waits(&mut site, &session, "./tried", tty);
    }
    for script in DO_NOT {
        there.script("tried", &format!("#!/bin/bash\n{script}"));
        says_nothing(&mut site, &session, "./tried");
    }
}
