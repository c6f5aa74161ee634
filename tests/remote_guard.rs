//! Sessions at targets under a guard that is there: real sshd, real container engine, and an agent that wants out.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::elicitation::{SITS_THERE, forms, yes};
use crate::policy::recorded;
use crate::serve::Server;
use crate::support::services::{Docker, Sshd, run};
use crate::support::site::{Site, is, real, runs, ssh_target, until, with_key};
use crate::support::world::World;

/// The shipped profile, and that sessions may be opened.
pub(crate) fn policy(more: &str) -> String {
    let profile =
        concat!(include_str!("../policies/base/never.cedar"), include_str!("../policies/profiles/developer.cedar"),);
    format!("{profile}\n@id(\"t-open\") permit (principal, action == Action::\"openSession\", resource);\n{more}")
}

/// What a session may rely on the kernel for, so that its commands may name files that nobody knows before they run.
pub(crate) const ACCEPT: &str =
    "[sandbox]\naccept = [\"secrets-unreadable\", \"no-hook-changes\", \"guard-client-config\"]\n";

/// A host whose target works in a directory of the fixture's, and has the guard in another.
pub(crate) struct There {
    dir: PathBuf,
    work: PathBuf,
    pub(crate) state: PathBuf,
}

impl There {
    pub(crate) fn new(sshd: &Sshd) -> Self {
        let dir = PathBuf::from(real(sshd.variable("PALISADE_SSH_DIR")));
        let (work, state) = (dir.join("work"), dir.join("state"));
        fs::create_dir_all(&work).expect("a directory");
        Self { dir, work, state }
    }

    /// The target of this name; `more` stands beside what makes it a guarded one.
    pub(crate) fn target(&self, sshd: &Sshd, name: &str, more: &str) -> String {
        let target = ssh_target(sshd, name, &with_key(sshd, "key_ed25519"));
        let begin = format!("remote_guard = false\nworkspace = \"{}\"", sshd.variable("PALISADE_SSH_DIR"));
        let own = format!(
            "workspace = \"{}\"\nstate = \"{}\"\nremote_guard = true\n{more}",
            self.work.display(),
            self.state.display()
        );
        assert!(target.contains(&begin), "{target}");
        target.replace(&begin, &own)
    }

    /// The program that was brought there.
    fn program(&self) -> PathBuf {
        let found = fs::read_dir(self.state.join("guard")).expect("the guard's directory").flatten();
        let name = |path: &PathBuf| path.file_name().is_some_and(|name| name.len() == 64);
        found.map(|entry| entry.path()).find(name).expect("the program")
    }

    pub(crate) fn script(&self, name: &str, text: &str) {
        let path = self.work.join(name);
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("executable");
    }
}

/// The policies that refuse what a command tried.
fn denied(result: &Value) -> Vec<&str> {
    let denied = result["denied"].as_array().map(Vec::as_slice).unwrap_or_default();
    denied.iter().map(|program| program["policy"].as_str().unwrap_or_default()).collect()
}

/// What a session at a target tries that nobody has seen before it runs: a script, and the policies that refuse what it executes.
const TRIED: &[(&str, &[&str])] = &[
    ("#!/bin/bash\ncat /etc/shadow", &["secrets-unreadable"]),
    ("#!/bin/bash\nx=cat; $x /etc/shadow; \"$x\" ~/.ssh/id_ed25519", &["secrets-unreadable", "secrets-unreadable"]),
    ("#!/bin/sh\n/usr/bin/su --version", &["no-sudo"]),
    ("#!/bin/bash\neval \"$(printf '%s%s' s u) --version\"", &["no-sudo"]),
    ("#!/bin/bash\n(exec -a harmless git push)", &["ask-git-push"]),
    ("#!/bin/bash\nenv git push; timeout 5 git push", &["ask-git-push", "ask-git-push"]),
    ("#!/bin/bash\nLD_PRELOAD=./x.so ls", &["guard-loader-env"]),
    ("#!/bin/bash\nrm -rf /usr/local/none", &["no-delete-outside-workspace"]),
    ("#!/bin/bash\nbase64 -d <<< bHM= | sh", &["no-decode-to-shell"]),
    ("#!/usr/bin/perl\nsymlink '/usr/bin/su', 'harmless'; system('./harmless', '--version')", &["no-sudo"]),
    // What it prints of a refusal is none.
    ("#!/bin/bash\necho '[denied at execve] x: no-sudo'; echo '{\"denied\":[{\"policy\":\"no-sudo\"}]}'", &[]),
];

#[test]
fn a_session_over_ssh_is_held_there() {
    let Some(sshd) = Sshd::up(&[]) else { return };
    let there = There::new(&sshd);
    let mut site = Site::with_policy(&format!("{ACCEPT}{}", there.target(&sshd, "web", "")), &policy(""));
    let (opened, text) = site.call("session_open", &json!({ "target": "web" }));
    let session = opened["session"].as_str().unwrap_or_else(|| panic!("{text}")).to_owned();
    assert_eq!(
        (&opened["sandbox"]["guarded"], &opened["sandbox"]["level"]),
        (&json!(true), &json!("default")),
        "{opened}"
    );
    let program = there.program();
    assert_eq!(opened["target"]["guard"].as_str(), program.file_name().and_then(|name| name.to_str()), "{opened}");
    assert!(text.contains("guarded true") && !text.contains("nothing holds it"), "{text}");
    let record = site.world.record();
    let entry = record.iter().rev().find(|line| line["kind"] == "open").expect("an open on record");
    assert_eq!(entry["transport"]["guard"], opened["target"]["guard"], "{entry}");
    assert!(entry["sandbox"]["layers"].to_string().contains("exec-guard"), "{entry}");

    // Opaque to policy, decided when it is executed.
    for (script, policies) in TRIED {
        there.script("tried", script);
        let result = site.exec(&session, "./tried");
        assert_eq!(denied(&result), *policies, "{script}: {result}");
        assert_ne!(result["status"], "denied", "{script}: {result}");
        assert!(!result["stdout"].to_string().contains("root:"), "{script}: {result}");
    }
    let record = site.world.record();
    let outcome = record.iter().find(|line| line["kind"] == "outcome" && line["denied"].is_array());
    assert!(outcome.is_some_and(|line| line["denied"].to_string().contains("secrets-unreadable")), "{record:?}");
    holds_by_the_kernel(&mut site, &there, &session);
    runs_apart(&mut site, &there, &session);
    ends_with_its_guard(&mut site, &there, &session);
}

/// What no program is executed for.
fn holds_by_the_kernel(site: &mut Site, there: &There, session: &str) {
    let state = there.state.display();
    let port = there_port(site);
    let guard = fs::read_dir(there.state.join("guard")).expect("a directory").flatten().map(|entry| entry.path());
    let socket = guard.into_iter().find(|path| path.is_dir()).expect("the socket's directory").join("socket");
    let supervisor = supervisors().first().cloned().expect("a guard");
    for (script, stdout) in [
        ("#!/bin/bash\necho x > /etc/palisade-guard-none && echo written".to_owned(), ""),
        ("#!/bin/bash\nread -r line < /etc/shadow && echo \"$line\"".to_owned(), ""),
        (format!("#!/bin/bash\nread -r line < {} && echo read", there.dir.join("key_ed25519").display()), ""),
        (format!("#!/bin/bash\nfor file in {state}/guard/*; do [ -e \"$file\" ] && echo \"$file\"; done; :"), ""),
        (format!("#!/bin/bash\necho x > {state}/guard/x && echo written"), ""),
        (format!("#!/bin/bash\nkill -9 {supervisor} && echo killed"), ""),
        ("#!/bin/bash\nkill -9 1; echo lives".to_owned(), "lives\n"),
        (format!("#!/bin/bash\nread -r line < /proc/{supervisor}/environ && echo read"), ""),
        (
            format!(
                "#!/usr/bin/perl\nuse Socket; socket(S, PF_UNIX, SOCK_STREAM, 0); connect(S, sockaddr_un('{}')) and print 'connected'",
                socket.display()
            ),
            "",
        ),
        (
            format!(
                "#!/usr/bin/perl\nuse Socket; socket(S, PF_INET, SOCK_STREAM, 0);\n\
                 connect(S, sockaddr_in({port}, inet_aton('127.0.0.1'))) and print 'connected'"
            ),
            "",
        ),
        ("#!/usr/bin/perl\nprint 'traced' if syscall(101, 16, getppid(), 0, 0) == 0".to_owned(), ""),
    ] {
        there.script("tried", &script);
        let result = site.exec(session, "./tried");
        is(&result, "stdout", &json!(stdout), &script);
        assert_ne!(result["status"], "session_lost", "{script}: {result}");
    }
    assert!(!PathBuf::from("/etc/palisade-guard-none").exists());
    is(&site.exec(session, "echo still"), "stdout", &json!("still\n"), "after all that");
}

/// Where a target's sshd listens, as its settings have it.
fn there_port(site: &Site) -> u16 {
    let settings = fs::read_to_string(site.world.path("settings.toml")).expect("settings");
    let port = settings.split("port = ").nth(1).and_then(|rest| rest.split(',').next()).expect("a port");
    port.parse().expect("a number")
}

/// The numbers of the guards that run.
fn supervisors() -> Vec<String> {
    let listed = run(Command::new("ps").args(["-eo", "pid,args"]));
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let is_one = |line: &&str| line.contains(" remote-guard serve ");
    listed.lines().filter(is_one).filter_map(|line| line.split_whitespace().next().map(str::to_owned)).collect()
}

/// Jobs and terminals have shells of their own, which are held as the session's is.
fn runs_apart(site: &mut Site, there: &There, session: &str) {
    there.script("tried", "#!/bin/bash\n/usr/bin/su --version; cat; echo \"$kept $TMPDIR\"");
    site.exec(session, "export kept=yes");
    let own = site.exec(session, "echo $TMPDIR")["stdout"].as_str().unwrap_or_default().to_owned();
    let (job, text) = site.call("exec", &json!({ "session": session, "command": "./tried", "yield_ms": 0 }));
    let job = job["job"].as_str().unwrap_or_else(|| panic!("{text}")).to_owned();
    site.call("job_write", &json!({ "job": job, "input": "typed\n", "eof": true }));
    let (read, text) = site.read_to_end(&job);
    is(&read, "stdout", &json!(format!("typed\nyes {own}")), &text);
    assert_eq!(denied(&read), ["no-sudo"], "{text}");

    there.script("tried", "#!/bin/bash\n/usr/bin/su --version; [ -t 0 ] && echo \"a terminal, $(stty size)\"");
    let call = json!({ "session": session, "command": "./tried", "tty": true, "rows": 30, "cols": 100, "yield_ms": 0 });
    let (job, text) = site.call("exec", &call);
    let job = job["job"].as_str().unwrap_or_else(|| panic!("{text}")).to_owned();
    let (read, text) = site.read_to_end(&job);
    assert!(read["stdout"].as_str().unwrap_or_default().contains("a terminal, 30 100"), "{text}");
    assert_eq!(denied(&read), ["no-sudo"], "{text}");
}

/// Nothing outlives the guard, nor the session.
fn ends_with_its_guard(site: &mut Site, there: &There, session: &str) {
    there.script("tried", "#!/bin/bash\nsetsid sleep 621 >/dev/null 2>&1 &\nsleep 622");
    let (running, text) = site.call("exec", &json!({ "session": session, "command": "./tried", "yield_ms": 500 }));
    assert_eq!(running["status"], "running", "{text}");
    until("it began", || runs("621") && runs("622"));
    for supervisor in supervisors() {
        // Others test at the same time.
        let program = fs::read_link(format!("/proc/{supervisor}/exe")).unwrap_or_default();
        if program.starts_with(&there.state) {
            run(Command::new("kill").args(["-KILL", &supervisor]));
        }
    }
    until("something outlived its guard", || !runs("621") && !runs("622"));
    let job = running["job"].as_str().expect("a name");
    let (read, text) = site.read_to_end(job);
    assert_eq!(read["status"], "session_lost", "{text}");
    // Held as before, and by a program that is what it was.
    fs::set_permissions(there.program(), fs::Permissions::from_mode(0o700)).expect("writable");
    let real = fs::read(there.program()).expect("the program");
    fs::write(there.program(), "#!/bin/sh\necho palisade 0.1.0\n").expect("written");
    let (opened, text) = site.call("session_open", &json!({ "session": session }));
    assert_eq!(opened["restarted"], json!(true), "{text}");
    assert_eq!(opened["sandbox"]["guarded"], json!(true), "{text}");
    assert!(fs::read(there.program()).is_ok_and(|bytes| bytes == real), "a program that is another one");
    there.script("tried", "#!/bin/bash\n/usr/bin/su --version\nsetsid sleep 623 >/dev/null 2>&1 &");
    let result = site.exec(session, "./tried; echo $kept");
    assert_eq!((denied(&result), &result["stdout"]), (vec!["no-sudo"], &json!("yes\n")), "{result}");
    site.call("session_close", &json!({ "session": session }));
    until("something outlived its session", || !runs("623"));
}

/// Other policies are not what the guard was told.
#[test]
fn other_policies_take_another_guard() {
    let Some(sshd) = Sshd::up(&[]) else { return };
    let there = There::new(&sshd);
    let mut site = Site::with_policy(&format!("{ACCEPT}{}", there.target(&sshd, "web", "")), &policy(""));
    let session = site.open("web");
    there.script("tried", "#!/bin/bash\nhead -c 1 /etc/hostname >/dev/null && echo read");
    let result = site.exec(&session, "kept=yes; ./tried");
    assert_eq!((denied(&result), &result["stdout"]), (vec![], &json!("read\n")), "{result}");
    let no = "@id(\"t-no-head\") @reason(\"no heads\") forbid (principal, action == Action::\"exec\", resource in Program::\"head\");";
    fs::write(site.world.path("site/site.cedar"), policy(no)).expect("written");
    run(Command::new("kill").args(["-HUP", &site.server.child.id().to_string()]));
    recorded(&site.world, "the reload", |line| line["kind"] == "policy_reload");
    until("the session goes on under a guard from before", || {
        site.world.record().iter().any(|line| line["kind"] == "close" && line["reason"] == "policy-reload")
    });
    let (result, text) = site.call("exec", &json!({ "session": session, "command": "./tried" }));
    assert!(text.contains("the policies have changed, and the guard"), "{result} {text}");
    let (opened, text) = site.call("session_open", &json!({ "session": session }));
    assert_eq!(opened["restarted"], json!(true), "{text}");
    let result = site.exec(&session, "./tried; echo $kept");
    assert_eq!((denied(&result), &result["stdout"]), (vec!["t-no-head"], &json!("yes\n")), "{result}");
}

/// A guard that was told the policies from before, and answers once others are in force: no session is held to it.
#[test]
fn a_session_that_opens_while_policies_change_is_not_held_to_those_from_before() {
    let Some(sshd) = Sshd::up(&[]) else { return };
    let there = There::new(&sshd);
    let mut site = Site::with_policy(&format!("{ACCEPT}{}", there.target(&sshd, "web", "")), &policy(""));
    let session = site.open("web");
    site.call("session_close", &json!({ "session": session }));
    let program = there.program();
    let guard = || {
        let processes = fs::read_dir("/proc").expect("processes").flatten().map(|entry| entry.path());
        let is_it = |process: &PathBuf| {
            let words = fs::read(process.join("cmdline")).unwrap_or_default();
            fs::read_link(process.join("exe")).is_ok_and(|exe| exe == program)
                && words.split(|byte| *byte == 0).any(|word| word == b"serve")
        };
        Some(processes.into_iter().find(is_it)?.file_name()?.to_str()?.to_owned())
    };
    until("a guard from before is there", || guard().is_none());
    site.server.call(900, "session_open", &json!({ "target": "web" }));
    until("no guard comes", || guard().is_some());
    let pid = guard().expect("a guard");
    run(Command::new("kill").args(["-STOP", &pid]));
    let no = "@id(\"t-no-head\") @reason(\"no heads\") forbid (principal, action == Action::\"exec\", resource in Program::\"head\");";
    fs::write(site.world.path("site/site.cedar"), policy(no)).expect("written");
    let server = site.server.child.id().to_string();
    run(Command::new("kill").args(["-HUP", &server]));
    run(Command::new("kill").args(["-HUP", &server]));
    recorded(&site.world, "the reload", |line| line["kind"] == "policy_reload");
    run(Command::new("kill").args(["-CONT", &pid]));
    let answer = loop {
        let answer = site.server.receive();
        if answer["id"] == 900 {
            break answer;
        }
    };
    assert_eq!(answer["result"]["isError"], json!(true), "{answer}");
    assert!(answer.to_string().contains("the policies have changed meanwhile"), "{answer}");
    until("its guard is left", || guard().is_none());
    let session = site.open("web");
    there.script("tried", "#!/bin/bash\nhead -c 1 /etc/hostname");
    let result = site.exec(&session, "./tried");
    assert_eq!(denied(&result), ["t-no-head"], "{result}");
}

/// A yes is to one command of a text, and lifts one `execve` there; limits end a command there, and not its session.
#[test]
fn a_yes_and_a_limit_count_there() {
    let Some(sshd) = Sshd::up(&[]) else { return };
    let there = There::new(&sshd);
    let world = World::new();
    let limits = ACCEPT.replace("[sandbox]", "[sandbox]\nlimits = { memory = \"256MiB\", cpu = \"2s\" }");
    let settings = world.write("settings.toml", &format!("{SITS_THERE}{limits}{}", there.target(&sshd, "web", "")));
    let policies = world.write("site.cedar", &policy(""));
    let mut serve = world.palisade();
    serve.args(["serve", "--config"]).arg(settings).arg("--policies").arg(policies);
    let mut server = Server::greeted(serve, &forms());
    let call = |server: &mut Server, id: u64, tool: &str, arguments: Value| -> Value {
        server.call(id, tool, &arguments);
        loop {
            let answer = server.receive();
            if answer["method"] == "elicitation/create" {
                server.send(&json!({ "jsonrpc": "2.0", "id": answer["id"], "result": yes() }));
            } else if answer["id"] == id {
                return answer["result"]["structuredContent"].clone();
            }
        }
    };
    let opened = call(&mut server, 1, "session_open", json!({ "target": "web" }));
    there.script("push", "#!/bin/bash\ngit push https://example.com/x main");
    there.script("hog", "#!/usr/bin/perl\nwhile (1) { push @a, 'x' x 1e7 }");
    there.script("spin", "#!/bin/bash\nwhile :; do :; done");
    for (id, command, status, limit, refused) in [
        (2, "git push https://example.com/x main", "done", "", &[][..]),
        (3, "git push https://example.com/x main; ./push", "done", "", &["ask-git-push"]),
        (4, "./push", "done", "", &["ask-git-push"]),
        (5, "./hog", "limited", "memory", &[]),
        (6, "./spin", "limited", "cpu", &[]),
        (7, "echo lives", "done", "", &[]),
    ] {
        let arguments =
            json!({ "session": opened["session"], "command": command, "timeout_ms": 60_000, "yield_ms": 60_000 });
        let result = call(&mut server, id, "exec", arguments);
        assert_eq!(result["status"], json!(status), "`{command}`: {result}");
        assert_eq!(result["limit"].as_str().unwrap_or_default(), limit, "`{command}`: {result}");
        assert_eq!(denied(&result), refused, "`{command}`: {result}");
    }
}

#[test]
fn what_cannot_be_held_is_no_session() {
    let Some(sshd) = Sshd::up(&[]) else { return };
    let there = There::new(&sshd);
    let broken = there.dir.join("broken");
    fs::write(&broken, "neither a program nor a script").expect("written");
    let mut targets = format!(
        "{ACCEPT}{}{}",
        there.target(&sshd, "other", "remote_guard_binary = \"/bin/true\"\n"),
        there.target(&sshd, "broken", &format!("remote_guard_binary = \"{}\"\n", broken.display())),
    );
    let nowhere = there.target(&sshd, "nowhere", "").replace(&there.state.display().to_string(), "/proc/none");
    targets.push_str(&nowhere);
    targets.push_str(&there.target(&sshd, "gone", "remote_guard_binary = \"/nonexistent/palisade\"\n"));
    // The directory is a link: who made it says where it leads.
    let linked = there.dir.join("linked");
    fs::create_dir_all(there.dir.join("elsewhere")).expect("a directory");
    fs::create_dir_all(&linked).expect("a directory");
    std::os::unix::fs::symlink(there.dir.join("elsewhere"), linked.join("guard")).expect("a link");
    let at_link = there.target(&sshd, "linked", "");
    targets.push_str(&at_link.replace(&there.state.display().to_string(), &linked.display().to_string()));
    // A directory that is not to be had is a hole in the rules.
    let home = there.target(&sshd, "hole", "");
    targets
        .push_str(&home.replace(&format!("workspace = \"{}\"", there.work.display()), "workspace = \"/nonexistent\""));
    let mut site = Site::with_policy(&targets, &policy(""));
    for (name, said) in [
        ("other", "the program does not start there"),
        ("broken", "the program does not start there"),
        ("nowhere", "its directory cannot be made, or is not the user's own"),
        ("gone", "`/nonexistent/palisade` that is the guard at the target cannot be read"),
        ("linked", "its directory cannot be made, or is not the user's own"),
        ("hole", "the directory in which sessions begin cannot be entered"),
    ] {
        let text = site.refused(name);
        assert!(text.contains(said), "`{name}`: {text}");
    }
    assert!(fs::read_dir(there.dir.join("elsewhere")).expect("a directory").next().is_none());
}

#[test]
fn what_lies_where_nothing_can_be_executed_is_said() {
    let Some(docker) = Docker::up() else { return };
    let container = docker.container_with("palisade-noexec-test", &["tmpfs:/var/held:rw,noexec,mode=700".to_owned()]);
    let target = format!(
        "[targets.ci]\nworkspace = \"/srv/app\"\nstate = \"/var/held/state\"\nremote_guard = true\n\
         docker = {{ container = \"{}\", socket = \"{}\" }}\n",
        container.name(),
        docker.socket()
    );
    let mut site = Site::with_policy(&format!("{ACCEPT}{target}"), &policy(""));
    let text = site.refused("ci");
    for said in [
        "no program in `/var/held/state/guard` can be executed there: `/var/held` is mounted `noexec`",
        "set `targets.ci.state` to a directory there",
    ] {
        assert!(text.contains(said), "{text}");
    }
    let there = container.bash("0:0", "ls -A /var/held/state/guard | wc -l");
    assert_eq!(there.trim(), "0", "something was brought there");
}

#[test]
fn a_host_without_bash_is_none_for_a_guard() {
    let Some(sshd) = Sshd::up(&["sh"]) else { return };
    let there = There::new(&sshd);
    let mut site = Site::with_policy(&format!("{ACCEPT}{}", there.target(&sshd, "web", "")), &policy(""));
    let text = site.refused("web");
    assert!(text.contains("cannot stand at the target: it takes bash there"), "{text}");
    assert!(!there.state.exists(), "something was brought there");
}

#[test]
fn a_container_is_held_likewise() {
    let Some(docker) = Docker::up() else { return };
    let container = docker.container("palisade-guard-test");
    let socket = docker.socket();
    let targets = format!(
        "{ACCEPT}[targets.ci]\nworkspace = \"/srv/app\"\n\
         docker = {{ container = \"{}\", socket = \"{socket}\" }}\n\
         [targets.fresh]\nworkspace = \"/srv/app\"\n\
         docker = {{ image = \"palisade-test:latest\", socket = \"{socket}\" }}\n",
        container.name()
    );
    let opaque =
        "@id(\"t-opaque\") permit (principal, action == Action::\"exec\", resource) when { context.session.guarded };";
    let mut site = Site::with_policy(&targets, &policy(opaque));
    for target in ["ci", "fresh"] {
        let (opened, text) = site.call("session_open", &json!({ "target": target }));
        let session = opened["session"].as_str().unwrap_or_else(|| panic!("`{target}`: {text}")).to_owned();
        assert_eq!(opened["sandbox"]["guarded"], json!(true), "{opened}");
        // What `sed` makes of it nobody knows before.
        let tried = "eval \"$(sed s/@/a/ <<< 'x=c@t; $x /etc/shadow; kill -9 1; echo x > /srv/x; echo lives')\"";
        let result = site.exec(&session, tried);
        assert_eq!((denied(&result), &result["stdout"]), (vec!["secrets-unreadable"], &json!("lives\n")), "{result}");
        let call = json!({ "session": session, "command": format!("stty size; {tried}"), "tty": true, "rows": 30,
                           "cols": 90, "yield_ms": 0 });
        let (job, text) = site.call("exec", &call);
        let job = job["job"].as_str().unwrap_or_else(|| panic!("{text}")).to_owned();
        let (read, text) = site.read_to_end(&job);
        assert!(read["stdout"].as_str().unwrap_or_default().contains("30 90"), "{text}");
        assert_eq!(denied(&read), ["secrets-unreadable"], "{text}");
        site.call("session_close", &json!({ "session": session }));
    }
}

/// Where the C library is another one, or there is none. It takes a static build, which `tests/static-guard` makes first.
#[test]
#[ignore = "tests/static-guard runs it"]
fn a_static_program_holds_where_there_is_no_c_library() {
    let program = std::env::var("PALISADE_STATIC_GUARD").expect("the program that `tests/static-guard` has built");
    let Some(docker) = Docker::up() else { return };
    docker.make_bare_image();
    let target = |name: &str, more: &str| {
        let socket = docker.socket();
        format!(
            "[targets.{name}]\nworkspace = \"/srv/app\"\nremote_guard = true\n{more}\
             docker = {{ image = \"palisade-bare:latest\", socket = \"{socket}\" }}\n"
        )
    };
    let of_this_build = target("dynamic", "");
    let of_that = target("static", &format!("remote_guard_binary = \"{program}\"\n"));
    let opaque =
        "@id(\"t-opaque\") permit (principal, action == Action::\"exec\", resource) when { context.session.guarded };";
    let mut site = Site::with_policy(&format!("{ACCEPT}{of_this_build}{of_that}"), &policy(opaque));
    let text = site.refused("dynamic");
    assert!(text.contains("does not start there") && text.contains("`remote_guard_binary` names"), "{text}");
    let session = site.open("static");
    let result = site.exec(&session, "eval \"$(sed s/@/a/ <<< 'x=c@t; $x /etc/shadow; echo lives')\"");
    assert_eq!((denied(&result), &result["stdout"]), (vec!["secrets-unreadable"], &json!("lives\n")), "{result}");
}

#[test]
fn what_is_unknown_before_it_runs_is_judged_as_where_it_is_held() {
    let settings = |guard: &str| {
        format!(
            "[targets.web]\nworkspace = \"/srv/app\"\n{guard}ssh = {{ host = \"web.example.com\", user = \"deploy\" }}\n"
        )
    };
    let world = World::new();
    for (guard, command, code) in [
        ("remote_guard = false\n", "bash build.sh", 3),
        ("", "bash build.sh", 0),
        ("remote_guard = true\n", "bash build.sh", 0),
        ("remote_guard = true\n", "sleep 1 & ls", 2),
        ("remote_guard = true\n", "cat ~/.ssh/id_ed25519", 2),
    ] {
        let file = world.write("settings.toml", &settings(guard));
        let policies = world.write("site.cedar", &policy(""));
        let arguments =
            ["check", "--config", file.to_str().expect("UTF-8"), "--policies", policies.to_str().expect("UTF-8")];
        let ended = world.call(&[&arguments[..], &["--target", "web", command]].concat());
        assert_eq!(ended.code, Some(code), "{guard} {command}: {ended:?}");
    }
}
