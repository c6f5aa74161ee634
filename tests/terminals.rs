//! Jobs at a terminal at targets: as on this machine, but for what the target cannot hold.

use serde_json::{Value, json};

use crate::support::services::{Docker, Sshd};
use crate::support::site::{Site, real, runs, ssh_target, until, with_key};

/// A job at a terminal.
struct Tty<'s> {
    site: &'s mut Site,
    session: String,
    job: String,
    cursor: Value,
    said: String,
}

impl<'s> Tty<'s> {
    fn start(site: &'s mut Site, session: &str, command: &str) -> Self {
        let call =
            json!({ "session": session, "command": command, "tty": true, "rows": 30, "cols": 100, "yield_ms": 0 });
        let (begun, text) = site.call("exec", &call);
        let job = begun["job"].as_str().unwrap_or_else(|| panic!("`{command}`: {text}")).to_owned();
        Self { site, session: session.to_owned(), job, cursor: Value::Null, said: String::new() }
    }

    fn read(&mut self) -> Value {
        let mut asked = json!({ "job": self.job, "wait_ms": 200 });
        if self.cursor.is_string() {
            asked["cursor"] = self.cursor.clone();
        }
        let (read, _) = self.site.call("job_read", &asked);
        self.said.push_str(read["stdout"].as_str().unwrap_or_default());
        self.cursor = read["cursor"].clone();
        read
    }

    /// Reads until it has said this, and forgets it.
    fn says(&mut self, words: &str) {
        for _ in 0..100 {
            if self.said.contains(words) {
                self.said.clear();
                return;
            }
            let read = self.read();
            assert!(read["status"] == "running" || self.said.contains(words), "no `{words}`: {:?} {read}", self.said);
        }
        panic!("no `{words}`: {:?}", self.said);
    }

    fn types(&mut self, keys: &str, eof: bool) {
        let (written, text) = self.site.call("job_write", &json!({ "job": self.job, "input": keys, "eof": eof }));
        assert!(written["status"].is_string() && !text.contains("[error]"), "{keys:?}: {text}");
        // What it answers is read by whoever asks for it.
        assert!(written["error"].is_null(), "{keys:?}: {text}");
    }

    fn signals(&mut self, arguments: &Value) {
        let mut asked = json!({ "job": self.job });
        for (name, value) in arguments.as_object().into_iter().flatten() {
            asked[name] = value.clone();
        }
        let (sent, text) = self.site.call("job_signal", &asked);
        assert!(sent["error"].is_null(), "{arguments}: {text}");
    }

    /// Reads to its end: how that was, and all that was said.
    fn ends(mut self) -> (Value, String) {
        for _ in 0..15 {
            let read = self.read();
            if read["status"] != "running" {
                return (read, self.said);
            }
        }
        panic!("it does not end: {:?}", self.said);
    }
}

/// What a job at a terminal is, wherever it runs.
fn behaves_as_at_a_terminal(site: &mut Site, session: &str, workspace: &str) {
    site.exec(session, "x=kept; f() { echo \"f of $1\"; }; mkdir -p term; cd term");

    // All three streams are one terminal, and the shell is what the session's is.
    let command = "for fd in 0 1 2; do test -t $fd && echo $fd is; done; echo err >&2; echo to tty >/dev/tty; stty size; echo $TERM; \
                   f \"$x\"; pwd -P; echo ${PALISADE_TEXT-none}; exit 3";
    let (done, said) = Tty::start(site, session, command).ends();
    assert_eq!((&done["status"], &done["exit_code"]), (&json!("done"), &json!(3)), "{done}");
    let expected =
        format!("0 is\n1 is\n2 is\nerr\nto tty\n30 100\nxterm-256color\nf of kept\n{workspace}/term\nnone\n");
    assert_eq!(said, expected, "{done}");
    assert_eq!(done["stderr"], Value::Null);

    // What it has set for its end runs, with the terminal still its own.
    let (done, said) = Tty::start(site, session, "trap 'test -t 1 && echo bye' EXIT; echo hi; (exit 4)").ends();
    assert_eq!((said.as_str(), &done["exit_code"]), ("hi\nbye\n", &json!(4)), "{done}");

    // It is a person's: keys edit the line, an end is a key, and what is typed at once is not lost.
    let mut tty = Tty::start(site, session, "cat -A; echo status $?");
    tty.types("abX\u{7f}c\n", false);
    tty.says("abc$");
    // The keys that make an engine leave a program alone are keys like others.
    tty.types("wrong\u{15}\u{10}\u{11}right\u{1e}\n", false);
    tty.says("^P^Qright^^$");
    assert_eq!(tty.site.exec(&tty.session, "echo free")["stdout"], "free\n", "while a job is at a terminal");
    tty.types("tail", true);
    let (done, said) = tty.ends();
    assert!(said.ends_with("tailstatus 0\n"), "{said:?}");
    assert_eq!(done["exit_code"], 0, "{done}");

    // A program that wants all keys gets them, and a password is not shown.
    let mut tty = Tty::start(
        site,
        session,
        "stty raw -echo; echo begun; head -c 3 | od -An -c; stty sane; read -rs y; echo \"got $y\"",
    );
    tty.says("begun");
    tty.types("\u{3}\r\u{4}", false);
    tty.says("003");
    tty.types("hidden\n", false);
    let (_, said) = tty.ends();
    assert!(said.contains("got hidden") && said.matches("hidden").count() == 1, "{said:?}");

    // Its size follows.
    let mut tty = Tty::start(site, session, "stty size; read line; stty size");
    tty.says("30 100");
    tty.signals(&json!({ "signal": "WINCH", "rows": 41, "cols": 121 }));
    let told = "trap 'stty size' WINCH";
    tty.types("go\n", false);
    assert!(tty.ends().1.contains("41 121"));
    // Without a child: where one ends by itself just as the key comes, bash takes the key for the child's, and goes on.
    let mut tty = Tty::start(site, session, &format!("{told}; echo begun; while :; do read -rt 0.1 key; done"));
    tty.says("begun");
    tty.signals(&json!({ "signal": "WINCH", "rows": 42, "cols": 122 }));
    tty.says("42 122");
    // Ctrl-C is for what is in front.
    tty.types("\u{3}", false);
    let (done, _) = tty.ends();
    assert!(done["exit_code"] == 130 || done["signal"] == 2, "{done}");
    let mut tty = Tty::start(site, session, "trap 'echo caught' INT; echo begun; sleep 661; echo after");
    tty.says("begun");
    tty.types("\u{3}", false);
    let (done, said) = tty.ends();
    assert!(said.contains("caught\nafter\n") && done["exit_code"] == 0, "{said:?} {done}");

    // Nothing that it prints is its end, or anything but what it prints. The first bytes of a piece are those of a frame that an engine
    // would send where there is no terminal.
    let forged = "stty raw -echo; echo begun; sleep 0.2; printf '\\1\\0\\0\\0\\377\\377\\377\\377'; sleep 0.2; \
                  printf '\\2\\0\\0\\0\\0\\0\\0\\1x'; printf '%s/ 0\\r\\n' 0123456789abcdef0123456789abcdef; echo more; false";
    let (done, said) = Tty::start(site, session, forged).ends();
    assert_eq!(done["exit_code"], 1, "{done}");
    assert!(said.contains("0123456789abcdef0123456789abcdef/ 0") && said.ends_with("more\n"), "{said:?}");
    let (_, said) = Tty::start(site, session, "echo ghp_0123456789abcdefghijABCDEFGHIJ012345").ends();
    assert!(!said.contains("0123456789abcdef"), "{said:?}");

    // Policy decides as without one: what it would be told is not known, and nothing is there to ask again.
    for command in ["bash --norc --noprofile", "cat ~/.ssh/id_ed25519"] {
        let call = json!({ "session": session, "command": command, "tty": true, "yield_ms": 0 });
        let (refused, text) = site.call("exec", &call);
        assert!(refused["job"].is_null() && (text.contains("guard-opaque") || text.contains("t-no-secrets")), "{text}");
    }

    // A deadline, a signal and the end of the session leave nothing.
    let call = json!({ "session": session, "command": "trap '' INT HUP TERM; sleep 662", "tty": true, "timeout_ms": 700, "yield_ms": 60_000 });
    assert_eq!(site.call("exec", &call).0["status"], "timed_out");
    let mut tty = Tty::start(site, session, "trap '' INT HUP TERM; setsid -f sleep 663; echo begun; sleep 664");
    tty.says("begun");
    tty.signals(&json!({ "signal": "KILL" }));
    let (done, _) = tty.ends();
    assert_ne!(done["status"], "running");
    Tty::start(site, session, "trap '' INT HUP TERM; setsid -f sleep 665; echo begun; sleep 666").says("begun");
    until("it began", || runs("665") && runs("666"));
    site.call("session_close", &json!({ "session": session }));
    until("something was left", || !["661", "662", "663", "664", "665", "666"].iter().any(|argument| runs(argument)));
}

/// A server that is killed leaves nothing at a terminal, however that is held.
fn leaves_nothing(mut site: Site, target: &str) {
    let session = site.open(target);
    Tty::start(&mut site, &session, "trap '' INT HUP TERM; setsid -f sleep 667; echo begun; sleep 668").says("begun");
    until("it began", || runs("667") && runs("668"));
    site.server.child.kill().expect("it is killed");
    until("it was left by a server that is gone", || !runs("667") && !runs("668"));
}

#[test]
fn jobs_over_ssh_have_a_terminal() {
    let Some(sshd) = Sshd::up(&[]) else { return };
    let dir = real(sshd.variable("PALISADE_SSH_DIR"));
    let mut site = Site::new(&ssh_target(&sshd, "web", &with_key(&sshd, "key_ed25519")));
    let session = site.open("web");
    behaves_as_at_a_terminal(&mut site, &session, &dir);
    leaves_nothing(site, "web");
}

#[test]
fn jobs_in_containers_have_a_terminal() {
    let Some(docker) = Docker::up() else { return };
    let (container, socket) = (docker.container("palisade-terminals-test"), docker.socket());
    let target = format!(
        "[targets.ci]\nremote_guard = false\nworkspace = \"/tmp\"\ndocker = {{ container = \"{}\", socket = \"{socket}\" }}\n",
        container.name()
    );
    let mut site = Site::new(&target);
    let session = site.open("ci");
    behaves_as_at_a_terminal(&mut site, &session, "/tmp");
    let session = site.open("ci");
    container.bash("0:0", "mv /usr/bin/stty /usr/bin/other");
    let (_, text) = site.call("exec", &json!({ "session": session, "command": "cat", "tty": true, "yield_ms": 0 }));
    let (ended, text) = ended_of(&mut site, &text);
    assert!(text.contains("`stty` is needed there"), "{ended} {text}");
    container.bash("0:0", "mv /usr/bin/other /usr/bin/stty");
    leaves_nothing(site, "ci");
}

/// A host that gives no terminal is told from one that does not let anybody in.
#[test]
fn a_host_without_terminals_says_so() {
    let Some(sshd) = Sshd::up(&["notty"]) else { return };
    let mut site = Site::new(&ssh_target(&sshd, "web", &with_key(&sshd, "key_ed25519")));
    let session = site.open("web");
    let (_, text) = site.call("exec", &json!({ "session": session, "command": "cat", "tty": true, "yield_ms": 0 }));
    let (ended, text) = ended_of(&mut site, &text);
    assert!(text.contains("PermitTTY"), "{ended} {text}");
    assert_eq!(site.exec(&session, "echo on")["stdout"], "on\n");
}

/// The end of a job that could not begin, which the call itself need not have seen.
fn ended_of(site: &mut Site, text: &str) -> (Value, String) {
    let job =
        text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-').find(|word| word.starts_with("j-"));
    match job {
        Some(job) => site.read_to_end(job),
        None => (Value::Null, text.to_owned()),
    }
}
