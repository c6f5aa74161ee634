//! Sessions at targets: real sshd, real container engine, the server as an agent sees it.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::sh::leaves_what_was_there;
use crate::support::services::{Docker, Sshd, run};
use crate::support::site::{Site, is, real, runs, ssh_target, until, with_key};

/// What has to be so in any session, whatever carries it. `workspace` is where it begins.
fn behaves_as_a_session(site: &mut Site, session: &str, workspace: &str) {
    // Streams, status, directory.
    for (command, stdout, stderr, code) in [
        ("echo out; echo err >&2", "out\n", "err\n", 0),
        ("printf 'no end'", "no end", "", 0),
        ("exit_code() { return 7; }; exit_code", "", "", 7),
        ("false", "", "", 1),
        ("echo $?", "1\n", "", 0),
        ("x=kept", "", "", 0),
        ("echo $x", "kept\n", "", 0),
        ("set -- a b; echo $#", "2\n", "", 0),
        ("echo \"it's ünïcode\"", "it's ünïcode\n", "", 0),
        ("exec 2>/dev/null", "", "", 0),
        ("echo still >&2", "", "still\n", 0),
        ("cat", "", "", 0),
        ("mkdir -p sub && cd sub && pwd -P", &format!("{workspace}/sub\n"), "", 0),
        ("cd ..", "", "", 0),
    ] {
        let result = site.exec(session, command);
        is(&result, "stdout", &json!(stdout), command);
        is(&result, "stderr", &json!(stderr), command);
        is(&result, "exit_code", &json!(code), command);
        is(&result, "status", &json!("done"), command);
    }
    is(&site.exec(session, "cd sub"), "cwd", &json!(format!("{workspace}/sub")), "cd sub");
    site.exec(session, "cd ..");
    // Nothing that a command prints is the end of one.
    let forged = site.exec(session, "printf '%s/ 0\\n' 0123456789abcdef0123456789abcdef; echo more; false");
    is(&forged, "stdout", &json!("0123456789abcdef0123456789abcdef/ 0\nmore\n"), "forged");
    is(&forged, "exit_code", &json!(1), "forged");
    // Secrets, and more than is shown.
    let token = site.exec(session, "echo ghp_0123456789abcdefghijABCDEFGHIJ012345");
    assert!(!token["stdout"].as_str().unwrap_or_default().contains("0123456789abcdef"), "{token}");
    let much = site.exec(session, "seq 1 400000");
    assert!(much["omitted"]["stdout"]["bytes"].as_u64().unwrap_or_default() > 1_000_000, "{}", much["omitted"]);
    // A time limit ends the command and not the session.
    for (command, deadline) in [("sleep 611", 700), ("while :; do :; done", 700), ("trap '' INT; sleep 612", 700)] {
        let ended = site.exec_for(session, command, deadline);
        is(&ended, "status", &json!("timed_out"), command);
        assert!(ended["lost"].is_null(), "`{command}`: {ended}");
        is(&site.exec(session, "trap - INT; echo $x"), "stdout", &json!("kept\n"), command);
    }
    let flood = site.exec_for(session, "yes", 700);
    is(&flood, "status", &json!("timed_out"), "yes");
    is(&site.exec(session, "echo after"), "stdout", &json!("after\n"), "yes");
    // What is not known before it runs is refused here, as is what goes on behind a command.
    for (command, policy) in [("$x --help", "guard-opaque"), ("sleep 1 & echo x", "guard-background-elsewhere")] {
        let denied = site.exec(session, command);
        is(&denied, "status", &json!("denied"), command);
        assert!(denied.to_string().contains(policy), "`{command}`: {denied}");
    }
    // Names mean what they mean there.
    let reads = site.exec(session, "ln -s /etc/hostname link");
    assert_ne!(reads["status"], "session_lost", "{reads}");
    let secret = site.exec(session, "cat ~/.ssh/id_ed25519");
    is(&secret, "status", &json!("denied"), "a key");
    assert!(secret.to_string().contains("t-no-secrets"), "{secret}");
    // A command that takes long becomes a job, and can be ended.
    let (job, _) =
        site.call("exec", &json!({ "session": session, "command": "echo begun; sleep 613", "yield_ms": 500 }));
    is(&job, "status", &json!("running"), "a job");
    let job = job["job"].as_str().expect("a name").to_owned();
    site.call("job_signal", &json!({ "job": job, "signal": "KILL" }));
    let (ended, text) = site.call("job_read", &json!({ "job": job, "wait_ms": 20_000 }));
    assert_ne!(ended["status"], "running", "{text}");
    is(&site.exec(session, "echo $x"), "stdout", &json!("kept\n"), "after a job");
    // The command ends the shell.
    let exited = site.exec(session, "echo last; exit 9");
    is(&exited, "exit_code", &json!(9), "exit");
    is(&exited, "stdout", &json!("last\n"), "exit");
    is(&exited, "status", &json!("session_lost"), "exit");
}

#[test]
fn a_session_over_ssh_is_a_session() {
    let Some(sshd) = Sshd::up(&[]) else { return };
    let dir = real(sshd.variable("PALISADE_SSH_DIR"));
    let mut site = Site::new(&ssh_target(&sshd, "web", &with_key(&sshd, "key_ed25519")));
    let session = site.open("web");
    let transport = site.opened_on_record();
    assert_eq!((&transport["kind"], &transport["target"]), (&json!("ssh"), &json!("web")));
    assert!(transport["host_key"].as_str().unwrap_or_default().starts_with("SHA256:"), "{transport}");
    behaves_as_a_session(&mut site, &session, &dir);
    until("something was left", || !["611", "612", "613"].iter().any(|argument| runs(argument)));

    // Closed in the middle of a command.
    let session = site.open("web");
    let (running, _) = site.call("exec", &json!({ "session": session, "command": "sleep 614", "yield_ms": 300 }));
    assert_eq!(running["status"], "running");
    until("it began", || runs("614"));
    site.call("session_close", &json!({ "session": session }));
    until("it was left", || !runs("614"));
    let session = site.open("web");
    // A shell for one command ends with it, and does what that has left for its end; what the session has left is for the session's.
    site.exec(&session, "trap 'echo of the session' EXIT");
    let (job, text) = site.call("exec", &json!({ "session": session, "command": "echo hi", "yield_ms": 0 }));
    let (ended, _) = site.read_to_end(job["job"].as_str().unwrap_or_else(|| panic!("{text}")));
    assert_eq!((&ended["stdout"], &ended["stderr"]), (&json!("hi\n"), &Value::Null), "{ended}");
    let script = "trap 'echo bye; setsid -f sleep 678 </dev/null >/dev/null 2>&1' EXIT; echo hi; (exit 4)";
    let (job, text) = site.call("exec", &json!({ "session": session, "command": script, "yield_ms": 0 }));
    let (ended, _) = site.read_to_end(job["job"].as_str().unwrap_or_else(|| panic!("{text}")));
    // It has the command's streams and no other ones, for which whoever is left would be waited for.
    assert_eq!((&ended["stdout"], &ended["stderr"]), (&json!("hi\nbye\n"), &Value::Null), "{ended}");
    assert_eq!((&ended["exit_code"], &ended["status"]), (&json!(4), &json!("done")), "{ended}");
    leaves_what_was_there(&mut site, &session, &dir, 711);
}

#[test]
fn who_we_are_is_proved_with_what_the_settings_name() {
    let Some(sshd) = Sshd::up(&["ca", "agent"]) else { return };
    let dir = sshd.variable("PALISADE_SSH_DIR").to_owned();
    let mut targets = String::new();
    for (name, more) in [
        ("ed25519", with_key(&sshd, "key_ed25519")),
        ("rsa", with_key(&sshd, "key_rsa")),
        ("ecdsa", with_key(&sshd, "key_ecdsa")),
        ("encrypted", format!("{}, passphrase = {{ env = \"PASSPHRASE\" }}", with_key(&sshd, "key_enc"))),
        ("agent", format!("agent = \"{dir}/agent.sock\"")),
        ("certificate", format!("{}, certificate = \"{dir}/key_cert-cert.pub\"", with_key(&sshd, "key_cert"))),
        ("expired", format!("{}, certificate = \"{dir}/key_certexp-cert.pub\"", with_key(&sshd, "key_certexp"))),
        ("stranger", with_key(&sshd, "key_stranger")),
        ("locked", with_key(&sshd, "key_enc")),
        ("missing", with_key(&sshd, "key_none")),
        ("unset", format!("{}, passphrase = {{ env = \"NOT_SET\" }}", with_key(&sshd, "key_enc"))),
        ("nothing", "timeout = \"5s\"".to_owned()),
    ] {
        targets.push_str(&ssh_target(&sshd, name, &more));
    }
    let mut site = Site::with(&targets, &[("PASSPHRASE", "test-passphrase")]);
    for name in ["ed25519", "rsa", "ecdsa", "encrypted", "agent", "certificate"] {
        let session = site.open(name);
        assert_eq!(site.exec(&session, "echo in")["stdout"], "in\n", "{name}");
    }
    for (name, words) in [
        ("stranger", &["does not accept", "key_stranger", "publickey"][..]),
        ("expired", &["does not accept", "publickey"]),
        ("locked", &["cannot use the key", "passphrase"]),
        ("missing", &["cannot use the key", "key_none"]),
        ("unset", &["cannot read a secret", "NOT_SET"]),
        ("nothing", &["does not accept", "tried nothing", "publickey"]),
    ] {
        let text = site.refused(name);
        assert!(words.iter().all(|word| text.contains(word)), "{name}: no {words:?} in `{text}`");
    }
}

#[test]
fn a_host_that_is_not_the_one_known_is_refused() {
    let Some(sshd) = Sshd::up(&[]) else { return };
    let dir = sshd.variable("PALISADE_SSH_DIR").to_owned();
    let key = with_key(&sshd, "key_ed25519");
    let known = |files: &str| ssh_target(&sshd, "web", &key).replace(&format!("\"{dir}/known_hosts\""), files);
    let unreadable = Path::new(&dir).join("as_directory");
    fs::create_dir_all(&unreadable).expect("a directory");
    for (files, words) in [
        (format!("\"{dir}/none\""), &["is not known", "SHA256:"][..]),
        (format!("\"{dir}/known_hosts_revoked\""), &["is revoked", "line 1"]),
        (format!("\"{dir}/as_directory\""), &["cannot read the known hosts"]),
    ] {
        let text = Site::new(&known(&files)).refused("web");
        assert!(words.iter().all(|word| text.contains(word)), "{files}: no {words:?} in `{text}`");
    }
    Site::new(&known(&format!("\"{dir}/known_hosts_hashed\""))).open("web");
    // Another key than the one recorded, and both are told.
    let mut site = Site::new(&known(&format!("\"{dir}/known_hosts\"")));
    site.open("web");
    sshd.apply("mitm");
    let text = site.refused("web");
    assert!(text.contains("HAS CHANGED") && text.matches("SHA256:").count() == 2, "{text}");
    // A new key is taken only where the operator says so, and policy still has a word.
    let new = known(&format!("\"{dir}/new\"")).replace(&key, &format!("{key}, dangerous_accept_new_host_key = true"));
    let text = Site::new(&new).refused("web");
    assert!(text.contains("denied"), "{text}");
    assert!(!Path::new(&dir).join("new").exists(), "the key was put down although policy said no");
}

/// The same files, the same host, the same question to OpenSSH's own client.
#[test]
fn host_keys_are_decided_as_openssh_decides_them() {
    let Some(sshd) = Sshd::up(&[]) else { return };
    let (named, [host, rsa, other]) = (named(&sshd), ["host_a", "host_rsa", "host_b"].map(|name| public(&sshd, name)));
    let port = sshd.variable("PALISADE_SSH_PORT_TARGET");
    compare_with_openssh(
        &sshd,
        &[
            format!("{named} {host}\n"),
            format!("{named} {rsa}\n"),
            format!("{named} {other}\n"),
            format!("{named} {other}\n{named} {host}\n"),
            format!("127.0.0.1 {host}\n"),
            format!("127.0.0.1 {other}\n"),
            format!("{named} {other}\n127.0.0.1 {host}\n"),
            format!("{named} {host}\n127.0.0.1 {other}\n"),
            format!("127.0.0.* {host}\n"),
            format!("[127.0.0.*]:* {host}\n"),
            format!("[127.0.0.?]:{port} {host}\n"),
            format!("*,!{named} {host}\n"),
            format!("!{named},* {host}\n"),
            format!("*,!127.0.0.1 {host}\n"),
            format!("a,{named},b {host}\n"),
            format!("  \t{named}\t {host}  comment here\n"),
            format!("# comment\n\n{named} {host}\r\n"),
            format!("{named} {host}"),
            format!("@revoked {named} {host}\n{named} {host}\n"),
            format!("{named} {host}\n@revoked * {host}\n"),
            format!("@revoked other {host}\n{named} {host}\n"),
            format!("@revoked {named} {other}\n{named} {host}\n"),
            format!("@cert-authority {named} {host}\n"),
            format!("@cert-authority {named} {other}\n{named} {host}\n"),
            format!("@unknown {named} {host}\n"),
            format!("@revoked @cert-authority {named} {host}\n"),
            format!("{named} ssh-rsa {}\n", host.split(' ').nth(1).expect("a blob")),
            format!("{named} ssh-ed25519 !!!\n"),
            format!("|1|bm90aGluZw==|bm90aGluZw== {host}\n"),
            "\n".to_owned(),
            format!("{named}\n"),
        ],
    );
}

#[test]
fn authorities_are_believed_as_openssh_believes_them() {
    let Some(sshd) = Sshd::up(&["hostca"]) else { return };
    let (named, [host, other, ca]) = (named(&sshd), ["host_a", "host_b", "host_ca"].map(|name| public(&sshd, name)));
    compare_with_openssh(
        &sshd,
        &[
            format!("@cert-authority {named} {ca}\n"),
            format!("@cert-authority * {ca}\n"),
            format!("@cert-authority 127.0.0.1 {ca}\n"),
            format!("@cert-authority localhost {ca}\n"),
            format!("@cert-authority {named} {other}\n"),
            format!("@cert-authority {named} {other}\n{named} {host}\n"),
            format!("@cert-authority {named} {ca}\n{named} {other}\n"),
            format!("@cert-authority {named} {ca}\n@revoked {named} {ca}\n"),
            format!("@cert-authority {named} {ca}\n@revoked {named} {host}\n"),
            format!("{named} {ca}\n"),
            format!("{named} {host}\n"),
        ],
    );
}

fn compare_with_openssh(sshd: &Sshd, files: &[String]) {
    let dir = sshd.variable("PALISADE_SSH_DIR");
    let mut targets = String::new();
    for (index, text) in files.iter().enumerate() {
        let file = format!("{dir}/case_{index}");
        fs::write(&file, text).expect("a file");
        let target = ssh_target(sshd, &format!("case-{index}"), &with_key(sshd, "key_ed25519"));
        targets.push_str(&target.replace(&format!("{dir}/known_hosts"), &file));
    }
    let mut site = Site::new(&targets);
    for (index, text) in files.iter().enumerate() {
        let mut ssh = sshd.client();
        ssh.args([
            "-o",
            &format!("UserKnownHostsFile={dir}/case_{index}"),
            "-o",
            "UpdateHostKeys=no",
            "target",
            "true",
        ]);
        let theirs = run(&mut ssh).status.success();
        let (opened, told) = site.call("session_open", &json!({ "target": format!("case-{index}") }));
        assert_eq!(opened["session"].is_string(), theirs, "{text:?}: OpenSSH says {theirs}; {told}");
        if opened["session"].is_string() {
            site.call("session_close", &json!({ "session": opened["session"] }));
        }
    }
}

fn public(sshd: &Sshd, name: &str) -> String {
    let text = fs::read_to_string(format!("{}/{name}.pub", sshd.variable("PALISADE_SSH_DIR"))).expect("a key");
    text.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

fn named(sshd: &Sshd) -> String {
    format!("[127.0.0.1]:{}", sshd.variable("PALISADE_SSH_PORT_TARGET"))
}

#[test]
fn a_peer_that_is_gone_or_dead_is_noticed() {
    let Some(sshd) = Sshd::up(&[]) else { return };
    let mut site =
        Site::new(&ssh_target(&sshd, "web", &format!("{}, keepalive = \"2s\"", with_key(&sshd, "key_ed25519"))));
    for verb in ["drop", "freeze"] {
        let session = site.open("web");
        let (job, _) =
            site.call("exec", &json!({ "session": session, "command": "echo on; sleep 615", "yield_ms": 300 }));
        assert_eq!(job["status"], "running", "{verb}");
        sshd.apply(verb);
        let read = json!({ "job": job["job"], "cursor": job["cursor"], "wait_ms": 60_000 });
        let (ended, text) = site.call("job_read", &read);
        assert_eq!(ended["status"], "session_lost", "{verb}: {text}");
        assert!(text.contains("connection"), "{verb}: {text}");
        if verb == "freeze" {
            sshd.apply("thaw");
        }
    }
    // Whoever is not there is told apart from who does not answer.
    let port = sshd.variable("PALISADE_SSH_PORT_TARGET");
    let elsewhere = ssh_target(&sshd, "web", &with_key(&sshd, "key_ed25519"));
    let refused = Site::new(&elsewhere.replace(&format!("port = {port}"), "port = 1")).refused("web");
    assert!(refused.contains("refuses the connection"), "{refused}");
    let unnamed = Site::new(&elsewhere.replace("\"127.0.0.1\"", "\"no-such-host.invalid\"")).refused("web");
    assert!(unnamed.contains("cannot be found"), "{unnamed}");
}

#[test]
fn a_session_in_a_container_is_a_session() {
    let Some(docker) = Docker::up() else { return };
    let container = docker.container("palisade-transports-test");
    let socket = docker.socket();
    let mut site = Site::new(&format!(
        "[targets.ci]\nremote_guard = false\nworkspace = \"/tmp\"\ndocker = {{ container = \"{}\", socket = \"{socket}\" }}\n\
         [targets.none]\nremote_guard = false\ndocker = {{ container = \"palisade-none\", socket = \"{socket}\" }}\n\
         [targets.no-image]\nremote_guard = false\ndocker = {{ image = \"palisade-none:1\", socket = \"{socket}\" }}\n\
         [targets.down]\nremote_guard = false\ndocker = {{ container = \"x\", socket = \"/nowhere/docker.sock\" }}\n\
         [targets.fresh]\nremote_guard = false\nworkspace = \"/tmp\"\ndocker = {{ image = \"palisade-test:latest\", socket = \"{socket}\" }}\n",
        container.name()
    ));
    let session = site.open("ci");
    let transport = site.opened_on_record();
    assert_eq!((&transport["kind"], &transport["target"]), (&json!("docker"), &json!("ci")));
    assert_eq!(transport["container"].as_str().unwrap_or_default().len(), 64, "{transport}");
    assert!(transport["image"].as_str().unwrap_or_default().contains("@sha256:"), "{transport}");
    behaves_as_a_session(&mut site, &session, "/tmp");
    assert!(!container.bash("0:0", "ps -eo args").contains("sleep 61"), "something was left");

    for (target, words) in [
        ("none", "there is no container"),
        ("no-image", "is not on this machine"),
        ("down", "no container engine answers"),
        ("nobody", "there is no target"),
    ] {
        let text = site.refused(target);
        assert!(text.contains(words), "{target}: {text}");
    }

    // A container of the session's own: confined, and gone with it.
    let session = site.open("fresh");
    let id = site.opened_on_record()["container"].as_str().expect("an id").to_owned();
    let held = docker.request("GET", &format!("/containers/{id}/json"), "");
    let held: Value = serde_json::from_str(&held).expect("JSON");
    let host = &held["HostConfig"];
    assert_eq!((&host["NetworkMode"], &host["ReadonlyRootfs"]), (&json!("none"), &json!(true)));
    assert_eq!((&host["CapDrop"], &host["SecurityOpt"]), (&json!(["ALL"]), &json!(["no-new-privileges"])));
    assert!(host["Memory"].as_u64() > Some(0) && host["PidsLimit"].as_u64() > Some(0), "{host}");
    assert_ne!(site.exec(&session, "touch /etc/x")["exit_code"], 0);
    assert_eq!(docker.bash_in(&id, "0:0", "tail -n +3 /proc/net/dev | cut -d: -f1").trim(), "lo");
    site.call("session_close", &json!({ "session": session }));
    let left = docker.request("GET", "/containers/json?all=true", "");
    assert!(!left.contains(&id), "the container was left");
}

/// Reads the lines of the session's shell in its place and answers the last of them, which asks whether the shell is there. It is
/// the shell's input that bash keeps at 10 while a command has another one.
const THIEF: &str = "#!/bin/bash\n\
                     trap '' INT\n\
                     exec 3</proc/$PPID/fd/10\n\
                     echo steals\n\
                     read -r report <&3\n\
                     until read -r line <&3 && [[ $line == /palisade/* ]]; do :; done\n\
                     nonce=${line#* } nonce=${nonce%%/*}\n\
                     printf '%s/ 0\\n' \"$nonce\"\n\
                     printf '%s/\\n' \"$nonce\" >&2\n\
                     sleep 641\n";

/// A report that an interrupt has cost is asked for again, of the shell and of nobody else.
#[test]
fn an_interrupt_that_takes_the_report_with_it_costs_no_session() {
    let Some(docker) = Docker::up() else { return };
    let container = docker.container("palisade-thief-test");
    let (name, socket) = (container.name(), docker.socket());
    let mut site = Site::new(&format!(
        "[targets.ci]\nremote_guard = false\nworkspace = \"/tmp\"\ndocker = {{ container = \"{name}\", socket = \"{socket}\" }}\n"
    ));
    // Under the name of a program that may run where no guard stands.
    container.bash("0:0", &format!("cd /bin; rm -f ptx /usr/bin/ptx; cat >ptx <<'END'\n{THIEF}END\nchmod 755 ptx"));
    let session = site.open("ci");
    site.exec(&session, "x=kept");
    let (job, text) = site.call("exec", &json!({ "session": session, "command": "ptx", "yield_ms": 500 }));
    assert_eq!(job["stdout"], "steals\n", "{text}");
    let job = job["job"].as_str().expect("a job").to_owned();
    site.call("job_signal", &json!({ "job": job, "signal": "INT" }));
    let (ended, text) = site.read_to_end(&job);
    assert_eq!((&ended["status"], &ended["exit_code"]), (&json!("done"), &json!(130)), "{text}");
    assert!(!runs("641"), "the thief is left");
    is(&site.exec(&session, "echo $x"), "stdout", &json!("kept\n"), "after a thief");
}

/// Another engine that answers at a socket as Docker's does.
#[test]
fn a_session_in_a_container_of_podmans_is_a_session() {
    let Some(podman) = Docker::podman() else { return };
    let container = podman.container("palisade-podman-test");
    let socket = podman.socket();
    let mut site = Site::new(&format!(
        "[targets.ci]\nremote_guard = false\nworkspace = \"/tmp\"\ndocker = {{ container = \"{}\", socket = \"{socket}\" }}\n\
         [targets.none]\nremote_guard = false\ndocker = {{ container = \"palisade-none\", socket = \"{socket}\" }}\n\
         [targets.no-image]\nremote_guard = false\ndocker = {{ image = \"palisade-none:1\", socket = \"{socket}\" }}\n\
         [targets.fresh]\nremote_guard = false\nworkspace = \"/tmp\"\ndocker = {{ image = \"palisade-test:latest\", socket = \"{socket}\" }}\n",
        container.name()
    ));
    for (target, words) in [("none", "there is no container"), ("no-image", "is not on this machine")] {
        let text = site.refused(target);
        assert!(text.contains(words), "{target}: {text}");
    }
    for target in ["ci", "fresh"] {
        let session = site.open(target);
        let first = site.exec(&session, "x=kept; echo out; echo err >&2; false");
        assert_eq!(
            (&first["stdout"], &first["stderr"], &first["exit_code"]),
            (&json!("out\n"), &json!("err\n"), &json!(1))
        );
        // The whole of a terminal is in `terminals.rs`; this engine, too, gives one, says how it ended, and passes on a new size.
        let sized = json!({ "session": session, "command": "tty; stty size; read x; stty size; exit 3", "tty": true, "rows": 30, "yield_ms": 0 });
        let job = site.call("exec", &sized).0["job"].as_str().expect("a job").to_owned();
        let shown = site.call("job_read", &json!({ "job": job, "wait_ms": 10_000 })).0;
        assert!(shown["stdout"].as_str().is_some_and(|text| text.starts_with("/dev/pts/")), "{target}: {shown}");
        site.call("job_signal", &json!({ "job": job, "signal": "WINCH", "rows": 31, "cols": 90 }));
        site.call("job_write", &json!({ "job": job, "input": "\u{10}\u{11}on\n" }));
        let (ended, text) = site.read_to_end(&job);
        assert_eq!(ended["exit_code"], 3, "{target}: {text}");
        assert!(text.contains("30 80\n") && text.contains("31 90\n"), "{target}: {text}");
        for command in ["sleep 651", "while :; do :; done"] {
            assert_eq!(site.exec_for(&session, command, 700)["status"], "timed_out", "{target}: {command}");
            assert_eq!(site.exec(&session, "echo $x")["stdout"], "kept\n", "{target}: {command}");
        }
        site.call("exec", &json!({ "session": session, "command": "setsid -f sleep 652; sleep 653", "yield_ms": 500 }));
        until("it began", || runs("652") && runs("653"));
        site.call("session_close", &json!({ "session": session }));
        until("it was left", || !runs("651") && !runs("652") && !runs("653"));
    }

    // A server that is killed leaves no container that it has made.
    let session = site.open("fresh");
    let id = site.opened_on_record()["container"].as_str().expect("an id").to_owned();
    site.call("exec", &json!({ "session": session, "command": "sleep 654", "yield_ms": 500 }));
    until("it began", || runs("654"));
    site.server.child.kill().expect("it is killed");
    until("it was left by a server that is gone", || !runs("654"));
    until("the container was left", || !podman.request("GET", "/containers/json?all=true", "").contains(&id));
}
