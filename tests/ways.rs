//! The ways to targets: names of OpenSSH's configuration, hosts on the way, proofs of who we are, a person's yes, and what is said where
//! it does not work.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};

use serde_json::{Value, json};

use crate::support::people::{AGENT, CAROL, DAVE, Office, call};
use crate::support::services::{Docker, Sshd};
use crate::support::site::{POLICY, Site, real, ssh_target, with_key};

fn home() -> String {
    std::env::var("HOME").expect("a home")
}

/// A target that is named as in the fixture's own configuration.
fn aliased(sshd: &Sshd, name: &str, alias: &str, more: &str) -> String {
    let dir = sshd.variable("PALISADE_SSH_DIR");
    format!(
        "[targets.{name}]\nremote_guard = false\nhome = \"{}\"\nworkspace = \"{dir}\"\nssh = {{ alias = \"{alias}\", config = \"{dir}/ssh_config\"{more} }}\n",
        home()
    )
}

fn by(site: &Site) -> Vec<Value> {
    site.opened_on_record()["by"].as_array().cloned().unwrap_or_default()
}

#[test]
fn a_name_of_openssh_is_where_openssh_goes() {
    let Some(sshd) = Sshd::up(&["jump"]) else { return };
    let dir = real(sshd.variable("PALISADE_SSH_DIR"));
    let port = |name: &str| sshd.variable(&format!("PALISADE_SSH_PORT_{name}")).to_owned();
    let targets = [
        aliased(&sshd, "plain", "target", ""),
        aliased(&sshd, "far", "far", ""),
        aliased(&sshd, "straight", "far", ", jump = []"),
        aliased(&sshd, "given", "nothing-of-that-name", &format!(", host = \"127.0.0.1\", port = {}", port("TARGET"))),
    ];
    let mut site = Site::new(&targets.concat());
    for (target, hosts) in [("plain", &[][..]), ("far", &["JUMP1", "JUMP2"]), ("straight", &[]), ("given", &[])] {
        let session = site.open(target);
        assert_eq!(site.exec(&session, "pwd -P")["stdout"], format!("{dir}\n"), "{target}");
        let by = by(&site);
        assert_eq!(by.len(), hosts.len(), "{target}: {by:?}");
        for (told, host) in by.iter().zip(hosts) {
            let told = told.as_str().unwrap_or_default();
            assert!(told.starts_with(&format!("127.0.0.1:{} SHA256:", port(host))), "{target}: {told}");
        }
        site.call("session_close", &json!({ "session": session }));
    }
    let (listed, _) = site.call("list", &json!({ "kind": "targets" }));
    assert!(listed.to_string().contains(&format!("by way of 127.0.0.1:{}", port("JUMP1"))), "{listed}");
}

/// What the file says and cannot be followed is told with its place, before anything starts.
#[test]
fn a_configuration_that_cannot_be_followed_starts_no_server() {
    let world = crate::support::world::World::new();
    world.write("work/inside", "Port 1\n");
    for (text, words) in [
        ("Host web\n  ProxyCommand nc %h %p\n", &["targets.web", "line 2", "ProxyCommand"][..]),
        ("Match exec true\n  User root\n", &["line 1", "Match"]),
        ("Host web\n  ProxyJump web\n", &["too many"]),
        ("Host web\n  HostKeyAlias a,b\n", &["line 2", "no name of a host"]),
    ] {
        world.write("ssh_config", text);
        let settings = world.write(
            "settings.toml",
            "[targets.web]\nremote_guard = false\nssh = { alias = \"web\", config = \"ssh_config\" }\n",
        );
        let ended = world.call(&["check", "--config", settings.to_str().expect("text"), "true"]);
        assert_eq!(ended.code, Some(1), "{text:?}: {ended:?}");
        let told = ended.stderr.replace("target `web`", "targets.web");
        assert!(words.iter().all(|word| told.contains(word)), "{text:?}: no {words:?} in {told}");
    }
    for (ssh, words) in [
        ("host = \"h\"", "needs `user`"),
        ("user = \"u\"", "needs `host`"),
        ("host = \"h\", user = \"u\", config = \"c\"", "`config` without an `alias`"),
        ("host = \"h\", user = \"u\", jump = [\"none\"]", "no target of `ssh`"),
        ("host = \"h\", user = \"u\", jump = [\"web\"]", "by way of itself"),
        ("alias = \"web\", config = \"work/inside\"", "workspace"),
    ] {
        let settings =
            world.write("settings.toml", &format!("[targets.web]\nremote_guard = false\nssh = {{ {ssh} }}\n"));
        let ended = world.call(&["run", "--config", settings.to_str().expect("text"), "true"]);
        assert!(ended.code != Some(0) && ended.stderr.contains(words), "{ssh}: no `{words}` in {ended:?}");
    }
}

#[test]
fn each_host_on_the_way_is_believed_by_its_own_name() {
    let Some(sshd) = Sshd::up(&["jump"]) else { return };
    let dir = sshd.variable("PALISADE_SSH_DIR").to_owned();
    let key = with_key(&sshd, "key_ed25519");
    let hop = |name: &str, server: &str, known: &str| {
        let port = sshd.variable(&format!("PALISADE_SSH_PORT_{server}"));
        let target = ssh_target(&sshd, name, &key)
            .replace(&format!("port = {}", sshd.variable("PALISADE_SSH_PORT_TARGET")), &format!("port = {port}"));
        target.replace(&format!("\"{dir}/known_hosts\""), &format!("\"{dir}/{known}\""))
    };
    let through = |name: &str, way: &str| ssh_target(&sshd, name, &format!("{key}, jump = [{way}]"));
    // A file in which the first host on the way is another one, and one in which it is nobody.
    let all = fs::read_to_string(format!("{dir}/known_hosts")).expect("a file");
    let first = format!("[127.0.0.1]:{} ", sshd.variable("PALISADE_SSH_PORT_JUMP1"));
    let other = fs::read_to_string(format!("{dir}/host_b.pub")).expect("a key");
    let others: Vec<&str> = all.lines().filter(|line| !line.starts_with(&first)).collect();
    fs::write(format!("{dir}/known_without"), others.join("\n")).expect("a file");
    let changed = format!("{}\n{first}{other}", others.join("\n"));
    fs::write(format!("{dir}/known_changed"), changed).expect("a file");
    let targets = [
        hop("one", "JUMP1", "known_hosts"),
        hop("two", "JUMP2", "known_hosts"),
        hop("unknown", "JUMP1", "known_without"),
        hop("changed", "JUMP1", "known_changed"),
        hop("stranger", "JUMP1", "known_hosts").replace("key_ed25519", "key_stranger"),
        through("far", "\"one\", \"two\""),
        through("by-unknown", "\"unknown\", \"two\""),
        through("by-changed", "\"changed\""),
        through("by-stranger", "\"stranger\""),
        through("nowhere", "\"one\"")
            .replace(&format!("port = {}", sshd.variable("PALISADE_SSH_PORT_TARGET")), "port = 1"),
        // The first on the way is reached as it says itself.
        ssh_target(&sshd, "two-by-one", &format!("{key}, jump = [\"one\"]")),
        through("chained", "\"two-by-one\""),
    ];
    let mut site = Site::new(&targets.concat());
    let session = site.open("far");
    assert_eq!(site.exec(&session, "echo in")["stdout"], "in\n");
    assert_eq!(by(&site).len(), 2);
    let chained = site.open("chained");
    assert_eq!(by(&site).len(), 2, "{:?}", by(&site));
    site.call("session_close", &json!({ "session": chained }));
    for (target, words) in [
        ("by-unknown", &["is not known", "SHA256:", "JUMP1"][..]),
        ("by-changed", &["HAS CHANGED", "JUMP1"]),
        ("by-stranger", &["does not accept", "key_stranger", "JUMP1"]),
        ("nowhere", &["does not connect to `127.0.0.1:1`", "JUMP1"]),
    ] {
        let text = site.refused(target);
        for word in words {
            let word = word.replace("JUMP1", sshd.variable("PALISADE_SSH_PORT_JUMP1"));
            assert!(text.contains(&word), "{target}: no {word:?} in `{text}`");
        }
    }
    // The target behind them is decided as any other.
    sshd.apply("mitm");
    assert!(site.refused("far").contains("HAS CHANGED"));
    sshd.apply("heal");
}

/// Nothing is proved to a host on the way for somebody who may not go there.
#[test]
fn policy_has_its_word_before_a_host_on_the_way_is_logged_in_to() {
    let Some(sshd) = Sshd::up(&["jump"]) else { return };
    let dir = sshd.variable("PALISADE_SSH_DIR").to_owned();
    let mut site = Site::with_policy(
        &aliased(&sshd, "far", "far", ""),
        &format!("{POLICY}\n@id(\"t-not-there\") forbid (principal, action == Action::\"openSession\", resource);"),
    );
    let text = site.refused("far");
    assert!(text.contains("t-not-there"), "{text}");
    let log = fs::read_to_string(format!("{dir}/jump1.log")).unwrap_or_default();
    assert!(!log.contains("Accepted publickey"), "{log}");
}

#[test]
fn a_password_answers_the_question_for_it() {
    let Some(sshd) = Sshd::up(&["password", "answers"]) else { return };
    let dir = sshd.variable("PALISADE_SSH_DIR").to_owned();
    let password = fs::read_to_string(format!("{dir}/password")).expect("a password");
    let target = |name: &str, server: &str, secret: &str| {
        format!(
            "[targets.{name}]\nremote_guard = false\nworkspace = \"/tmp\"\nssh = {{ host = \"127.0.0.1\", port = {}, user = \"palisade-pw\", \
             known-hosts = \"{dir}/known_hosts\", password = {{ {secret} }} }}\n",
            sshd.variable(&format!("PALISADE_SSH_PORT_{server}"))
        )
    };
    let targets = [
        target("password", "PW", "env = \"PASSWORD\""),
        target("answers", "KBD", "env = \"PASSWORD\""),
        target("wrong", "KBD", "env = \"WRONG\""),
    ];
    let mut site = Site::with(&targets.concat(), &[("PASSWORD", password.trim()), ("WRONG", "not-the-password")]);
    for name in ["password", "answers"] {
        let session = site.open(name);
        assert_eq!(site.exec(&session, "id -un")["stdout"], "palisade-pw\n", "{name}");
        // What it is is a secret in all output.
        let told = site.exec(&session, &format!("echo {}", password.trim()));
        assert!(!told.to_string().contains(password.trim()), "{told}");
    }
    let text = site.refused("wrong");
    assert!(text.contains("the password as an answer") && text.contains("keyboard-interactive"), "{text}");
}

/// What a person reads where it does not work: what, where, and what to do.
#[test]
fn whoever_cannot_get_there_is_told_what_to_do() {
    let Some(sshd) = Sshd::up(&[]) else { return };
    let dir = sshd.variable("PALISADE_SSH_DIR").to_owned();
    let port = format!("port = {}", sshd.variable("PALISADE_SSH_PORT_TARGET"));
    let key = with_key(&sshd, "key_ed25519");
    // Takes connections, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent = silent.local_addr().expect("an address").port();
    let at = |name: &str, more: &str| ssh_target(&sshd, name, &format!("{key}{more}"));
    let targets = [
        at("refused", "").replace(&port, "port = 1"),
        at("silent", ", timeout = \"1s\"").replace(&port, &format!("port = {silent}")),
        at("nameless", "").replace("\"127.0.0.1\"", "\"no-such-host.invalid\""),
        at("unknown", "").replace(&format!("{dir}/known_hosts"), &format!("{dir}/none")),
        at("stranger", "").replace("key_ed25519", "key_stranger"),
        at("home", "").replace(&format!("home = \"{}\"", home()), "home = \"/nowhere\""),
        at("workspace", "").replace(&format!("workspace = \"{dir}\""), "workspace = \"/nowhere\""),
        "[targets.down]\nremote_guard = false\ndocker = { container = \"x\", socket = \"/nowhere/docker.sock\" }\n"
            .to_owned(),
    ];
    let mut site = Site::new(&targets.concat());
    for (target, words) in [
        ("refused", &["refuses the connection", "check that the SSH server runs there"][..]),
        ("silent", &["does not answer", "raise `timeout`"]),
        ("nameless", &["the address of `no-such-host.invalid` cannot be found", "check `host`"]),
        ("unknown", &["is not known: it shows SHA256:", "ssh-keygen -lf"]),
        ("stranger", &["does not accept `", "key_stranger", "it takes publickey", "set `identity`"]),
        ("home", &["the home of the user at `home` is", "set `home`"]),
        ("workspace", &["no directory `/nowhere`", "check `workspace`"]),
        ("down", &["no container engine answers at `/nowhere/docker.sock`", "start it"]),
        ("none", &["there is no target of that name", "`list` with `kind` targets"]),
    ] {
        let text = site.refused(target);
        assert!(words.iter().all(|word| text.contains(word)), "{target}: no {words:?} in `{text}`");
    }
    // The key that is shown, and the one that is recorded.
    sshd.apply("mitm");
    let text = Site::new(&at("web", "")).refused("web");
    for word in ["HAS CHANGED", "line 1", "if the host was set up anew"] {
        assert!(text.contains(word), "no {word:?} in `{text}`");
    }
    assert_eq!(text.matches("SHA256:").count(), 2, "{text}");
}

#[test]
fn a_container_that_cannot_be_used_is_told_why() {
    let Some(docker) = Docker::up() else { return };
    let (bare, stopped) = (docker.container("palisade-no-bash"), docker.container("palisade-stopped"));
    bare.bash("0:0", "rm /bin/bash /usr/bin/bash /bin/sh /usr/bin/sh");
    docker.request("POST", &format!("/containers/{}/kill", stopped.name()), "");
    let target = |name: &str, what: &str| {
        format!("[targets.{name}]\nremote_guard = false\ndocker = {{ {what}, socket = \"{}\" }}\n", docker.socket())
    };
    let targets = [
        target("bare", &format!("container = \"{}\"", bare.name())),
        target("stopped", &format!("container = \"{}\"", stopped.name())),
        target("none", "container = \"palisade-none\""),
        target("no-image", "image = \"palisade-none:1\""),
    ];
    let mut site = Site::new(&targets.concat());
    for (target, words) in [
        ("bare", &["neither bash nor sh at the target", "install bash there"][..]),
        ("stopped", &["is not running", "start it"]),
        ("none", &["there is no container `palisade-none`", "check `container`"]),
        ("no-image", &["the image `palisade-none:1` is not on this machine", "pull it"]),
    ] {
        let text = site.refused(target);
        assert!(words.iter().all(|word| text.contains(word)), "{target}: no {words:?} in `{text}`");
    }
}

/// Who may open a session only with a person's yes gets one with it, for what the person was shown, and once.
#[test]
fn a_session_at_a_target_waits_for_a_persons_yes() {
    let Some(sshd) = Sshd::up(&["jump"]) else { return };
    let people =
        format!("[people.\"uid:{CAROL}\"]\nroles = [\"approver\"]\n[people.\"uid:{DAVE}\"]\nroles = [\"approver\"]\n");
    let port = |name: &str| sshd.variable(&format!("PALISADE_SSH_PORT_{name}")).to_owned();
    let ssh = |name: &str, port: &str, more: &str| {
        format!(
            "[targets.{name}]\nremote_guard = false\nhome = \"{}\"\nworkspace = \"/tmp\"\nssh = {{ host = \"127.0.0.1\", port = {port}, user = \"{}\", \
             known-hosts = \"known_hosts\", identity = \"key\"{more} }}\n",
            home(),
            sshd.variable("PALISADE_SSH_USER")
        )
    };
    let targets = [
        ssh("web", &port("TARGET"), ""),
        ssh("jump", &port("JUMP1"), ""),
        ssh("far", &port("TARGET"), ", jump = [\"jump\"]"),
        // Its key is believed without being known, which shows only when it is reached.
        ssh("new", &port("TARGET"), ", jump = [\"jump\"], dangerous_accept_new_host_key = true")
            .replace("\"known_hosts\"", "\"known_to_nobody\""),
    ];
    let Some(office) = Office::new(&format!("policies = \"site\"\n{}{people}", targets.concat())) else { return };
    let dir = sshd.variable("PALISADE_SSH_DIR");
    fs::create_dir_all(office.world.path("etc/site")).expect("a directory");
    let asks = "@id(\"ask-visit\") @reason(\"Somebody has to know.\")\n\
                forbid (principal, action == Action::\"openSession\", resource) unless { context.approved };\n\
                @id(\"approvers\") permit (principal in Role::\"approver\", action == Action::\"approve\", resource);\n\
                @id(\"look\") permit (principal, action == Action::\"observe\", resource);\n";
    office.world.write("etc/site/site.cedar", &format!("{POLICY}\n{asks}"));
    for (from, to) in [("key_ed25519", "etc/key"), ("known_hosts", "etc/known_hosts")] {
        let file = office.world.write(to, &fs::read_to_string(format!("{dir}/{from}")).expect("a file"));
        chown(&file, Some(AGENT), Some(AGENT)).expect("an owner");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("a mode");
    }
    let mut server = office.serve(&[]);
    for target in ["web", "far"] {
        let arguments = json!({ "target": target });
        let asked = call(&mut server, "session_open", &arguments);
        assert_eq!(asked["status"], "approval_required", "{target}: {asked}");
        let id = asked["approval"]["id"].as_str().expect("an id").to_owned();
        let log = fs::read_to_string(format!("{dir}/jump1.log")).unwrap_or_default();
        assert!(!log.contains("Accepted publickey"), "{target}: somebody was logged in before: {log}");
        let shown = office.person(CAROL, &["approvals", "show", &id]);
        for part in [&format!("open a session at the target {target}"), "ask-visit", "Somebody has to know."] {
            assert!(shown.stdout.contains(part), "{target}: no {part:?} in {shown:?}");
        }
        let granted = office.person(CAROL, &["approvals", "grant", &id, "--yes"]);
        assert_eq!(granted.code, Some(0), "{granted:?}");
        let opened = call(&mut server, "session_open", &arguments);
        let session = opened["session"].as_str().unwrap_or_else(|| panic!("{target}: {opened}"));
        let ran = call(&mut server, "exec", &json!({ "session": session, "command": "echo in" }));
        assert_eq!(ran["stdout"], "in\n", "{target}: {ran}");
        let record = office.world.record();
        let open = record.iter().rev().find(|line| line["kind"] == "open").expect("an open on record");
        assert_eq!((&open["under"], &open["session"]), (&json!(id), &json!(session)), "{target}");
        // It was for one session.
        assert_eq!(call(&mut server, "session_open", &arguments)["status"], "approval_required", "{target}");
    }
    let arguments = json!({ "target": "new" });
    let id = call(&mut server, "session_open", &arguments)["approval"]["id"].as_str().expect("an id").to_owned();
    assert_eq!(office.person(CAROL, &["approvals", "grant", &id, "--yes"]).code, Some(0));
    let refused = call(&mut server, "session_open", &arguments);
    assert!(
        refused.to_string().contains("nobody has said yes to that"),
        "the yes was to a host that is known: {refused}"
    );
}
