//! Where a session's shell stands at a target, and that it is asked only where it can have moved.

use std::fs;
use std::process::Command;

use serde_json::json;

use crate::support::services::{Sshd, run, stdout_of};
use crate::support::site::{Site, real, ssh_target, with_key};

/// What moves the shell although its words do not say so.
const MOVED: [&str; 4] =
    ["echo() { cd /; }; echo x", "echo x", "unset -f echo; trap 'cd /' ERR; false", "cd /usr; false"];

#[test]
fn where_a_shell_stands_is_asked_where_it_can_have_moved() {
    let Some(sshd) = Sshd::up(&[]) else { return };
    let dir = real(sshd.variable("PALISADE_SSH_DIR"));
    let mut site = Site::new(&ssh_target(&sshd, "web", &with_key(&sshd, "key_ed25519")));
    let session = site.open("web");
    let shell = site.exec(&session, "mkdir -p sub; cd sub; echo $$ $PPID");
    let numbers = shell["stdout"].as_str().unwrap_or_default().trim().to_owned();
    let (own, parent) = numbers.split_once(' ').unwrap_or_else(|| panic!("{shell}"));
    let children = stdout_of(Command::new("pgrep").args(["-P", parent]));
    let other = children.lines().find(|child| *child != own).expect("a second shell");
    // Whoever would be asked does not answer.
    run(Command::new("kill").args(["-STOP", other]));
    for command in [":", "echo out; echo err >&2", "test 1 = 1 && printf '%s' \"$HOME\""] {
        let result = site.exec(&session, command);
        assert_eq!((&result["status"], &result["cwd"]), (&json!("done"), &json!(format!("{dir}/sub"))), "{result}");
    }
    run(Command::new("kill").args(["-CONT", other]));
    assert_eq!(site.exec(&session, "cd ..")["cwd"], json!(dir));
    assert_eq!(site.exec(&session, "echo x")["cwd"], json!(dir));
    for command in MOVED {
        assert_eq!(site.exec(&session, "cd /srv 2>/dev/null || cd /usr")["status"], "done");
        let result = site.exec(&session, command);
        let stands = result["status"] == "done" && (result["cwd"] == "/" || result["cwd"] == "/usr");
        assert!(stands, "`{command}`: {result}");
        assert_eq!(
            result["cwd"],
            site.exec(&session, "pwd -P")["stdout"].as_str().unwrap_or_default().trim(),
            "`{command}`"
        );
    }
    // What somebody else has moved is found behind the next program.
    let session = site.open("web");
    site.exec(&session, "cd sub");
    fs::rename(format!("{dir}/sub"), format!("{dir}/moved")).expect("moved");
    let moved = site.exec(&session, "/usr/bin/env");
    assert_eq!(moved["cwd"], json!(format!("{dir}/moved")), "{moved}");
}
