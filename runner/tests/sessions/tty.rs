//! Commands at a terminal.

use std::time::{Duration, Instant};

use palisade_runner::{Call, Client, Cursor, ExecResult, Reached, Reading, Status, TerminalSize, View};

use crate::place::{Place, comes, gone};

const SECOND: Duration = Duration::from_secs(1);

/// A job at a terminal.
struct Tty<'p> {
    place: &'p Place,
    job: String,
    said: String,
    cursor: Option<Cursor>,
}

impl<'p> Tty<'p> {
    async fn start(place: &'p Place, script: &str) -> Self {
        Self::like(place, Call { script: script.into(), ..Call::default() }).await
    }

    async fn like(place: &'p Place, call: Call) -> Self {
        let terminal = call.terminal.or(Some(TerminalSize::default()));
        let call = Call { terminal, yields: call.yields.or(Some(Duration::ZERO)), ..call };
        let begun = place.submit(call).await;
        let job = begun.job.as_ref().unwrap_or_else(|| panic!("no job: {begun:?}")).to_string();
        Self { place, job, said: String::new(), cursor: None }
    }

    async fn read(&mut self, wait: Duration) -> ExecResult {
        let reading = Reading { cursor: self.cursor, wait, view: Some(View::chars(1 << 20)), ..Reading::default() };
        let result = self.place.pipeline.jobs().read(&self.job, reading).await.expect("a reading");
        self.said.push_str(result.stdout.as_str());
        self.cursor = result.cursor.as_ref().map(|cursor| cursor.as_str().parse().expect("a cursor"));
        result
    }

    /// Reads until it has said this.
    async fn says(&mut self, words: &str) {
        let begun = Instant::now();
        while !self.said.contains(words) {
            let result = self.read(SECOND).await;
            assert!(begun.elapsed() < 20 * SECOND, "no `{words}` in `{}`: {result:?}", self.said);
        }
        self.said.clear();
    }

    async fn types(&self, keys: &str) {
        self.writes(keys, false).await;
    }

    /// Whoever types faster than the job reads is told to wait for it.
    async fn writes(&self, keys: &str, eof: bool) {
        let (client, begun) = (Client::default(), Instant::now());
        loop {
            let reading = Reading::default();
            match self.place.pipeline.jobs().write(&self.job, keys.as_bytes(), eof, reading, &client).await {
                Ok(Reached::Shown(_)) => return,
                Err(failure) if failure.what.as_str().contains("has not read") && begun.elapsed() < 20 * SECOND => {
                    tokio::task::yield_now().await;
                }
                other => panic!("{keys:?}: {other:?}"),
            }
        }
    }

    /// Reads to its end.
    async fn ends(&mut self) -> ExecResult {
        let begun = Instant::now();
        loop {
            let result = self.read(SECOND).await;
            if result.status != Status::Running {
                return result;
            }
            assert!(begun.elapsed() < 20 * SECOND, "it does not end: `{}`", self.said);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_three_streams_are_one_terminal() {
    let place = Place::new();
    let script = "for fd in 0 1 2; do test -t $fd && echo $fd is; done; tty | sed 's/[0-9]*$/N/'; echo err >&2; \
                  echo to /dev/tty >/dev/tty; stty size; echo $TERM; (exit 3)";
    let mut tty = Tty::start(&place, script).await;
    let done = tty.ends().await;
    assert_eq!((done.status, done.exit_code), (Status::Done, Some(3)), "{done:?}");
    assert!(done.stderr.is_empty(), "{done:?}");
    let lines: Vec<&str> = tty.said.lines().collect();
    let expected = ["0 is", "1 is", "2 is", "/dev/pts/N", "err", "to /dev/tty", "24 80", "xterm-256color"];
    assert_eq!(lines, expected, "{:?}", tty.said);
    assert!(!tty.said.contains('\r'), "{:?}", tty.said);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_is_edited_and_ended_by_keys() {
    let place = Place::new();
    let mut tty = Tty::start(&place, "cat -A; echo status $?").await;
    tty.types("abX\u{7f}c\n").await;
    tty.says("abc$").await;
    // Ctrl-U takes the line back.
    tty.types("wrong\u{15}right\n").await;
    tty.says("\nright$").await;
    // Within a line one Ctrl-D hands it out, the second ends the input.
    tty.writes("tail", true).await;
    let done = tty.ends().await;
    assert!(tty.said.ends_with("tailstatus 0\n"), "{:?}", tty.said);
    assert_eq!(done.exit_code, Some(0));
    let mut tty = Tty::start(&place, "cat >/dev/null; echo over").await;
    tty.writes("", true).await;
    assert_eq!(tty.ends().await.exit_code, Some(0));
    assert!(tty.said.ends_with("over\n"), "{:?}", tty.said);
}

#[tokio::test(flavor = "multi_thread")]
async fn control_c_interrupts_what_is_in_front() {
    let place = Place::new();
    let mut tty = Tty::start(&place, "echo begun; sleep 62; echo not reached").await;
    tty.says("begun").await;
    tty.types("\u{3}").await;
    let done = tty.ends().await;
    assert_eq!((done.status, done.exit_code), (Status::Done, Some(130)), "{done:?} {:?}", tty.said);
    assert!(!tty.said.contains("not reached"));
    // One that handles it goes on.
    let mut tty = Tty::start(&place, "trap 'echo caught' INT; echo begun; sleep 62; echo after").await;
    tty.says("begun").await;
    tty.types("\u{3}").await;
    assert_eq!(tty.ends().await.exit_code, Some(0));
    assert!(tty.said.contains("caught\nafter\n"), "{:?}", tty.said);
    gone("sleep 62", SECOND).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_set_for_the_end_runs_at_the_terminal() {
    let place = Place::new();
    let mut tty = Tty::start(&place, "trap 'test -t 1 && read -r x && echo \"bye $x\"' EXIT; echo hi; (exit 4)").await;
    tty.says("hi\n").await;
    tty.types("you\n").await;
    assert_eq!(tty.ends().await.exit_code, Some(4));
    assert_eq!(tty.said, "you\nbye you\n");
}

/// Ctrl-C at the very moment when the shell is about to report leaves no job without an end.
#[tokio::test(flavor = "multi_thread")]
async fn control_c_at_the_end_of_a_command_confuses_nothing() {
    let place = Place::new();
    for round in 0..20_u64 {
        let mut tty = Tty::start(&place, "echo begun; sleep 0.02").await;
        tty.says("begun").await;
        tokio::time::sleep(Duration::from_micros(15_000 + round * 500)).await;
        let written =
            place.pipeline.jobs().write(&tty.job, b"\x03", false, Reading::default(), &Client::default()).await;
        let done = tty.ends().await;
        let status = done.exit_code.unwrap_or(-1);
        assert!(done.status == Status::Done && [0, 130].contains(&status), "{round}: {written:?} {done:?}");
        assert!(done.lost.is_none(), "{round}: {done:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_can_be_resized() {
    let place = Place::new();
    let call = Call {
        script: b"trap 'stty size' WINCH; stty size; echo begun; until test -e enough; do sleep 0.05; done".to_vec(),
        terminal: Some(TerminalSize { rows: 10, cols: 33 }),
        ..Call::default()
    };
    let mut tty = Tty::like(&place, call).await;
    tty.says("10 33\nbegun").await;
    let (client, size) = (Client::default(), TerminalSize { rows: 50, cols: 132 });
    let resized = place.pipeline.jobs().signal(&tty.job, "WINCH", Some(size), &client).await;
    assert!(matches!(resized, Ok(Reached::Shown(_))), "{resized:?}");
    tty.says("50 132").await;
    assert!(place.pipeline.jobs().signal(&tty.job, "INT", Some(size), &client).await.is_err());
    std::fs::write(place.root.path().join("work/enough"), "").expect("written");
    assert_eq!(tty.ends().await.exit_code, Some(0));
    let plain = Call { script: b"sleep 5".to_vec(), yields: Some(Duration::ZERO), ..Call::default() };
    let plain = place.submit(plain).await.job.expect("a job").to_string();
    let refused = place.pipeline.jobs().signal(&plain, "WINCH", Some(size), &client).await.expect_err("no terminal");
    assert!(refused.what.as_str().contains("tty"), "{refused:?}");
    place.pipeline.shut_down().await.expect("shut down");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_at_a_terminal_says_so() {
    let place = Place::new();
    for script in [
        "read -rp 'name? ' name; echo \"hello $name\"",
        "/usr/bin/python3 -c 'print(\"hello\", input(\"name? \"))'",
        "/usr/bin/python3 -c 'import select, sys; select.select([sys.stdin], [], []); print(\"hello\", sys.stdin.readline())'",
        "/usr/bin/python3 -c 'import select, sys; p = select.poll(); p.register(0); p.poll(); print(\"hello\", input())'",
        "/usr/bin/python3 -c 'import select, sys; p = select.epoll(); p.register(0); p.poll(); print(\"hello\", input())'",
        "/usr/bin/python3 -c 'f = open(\"/dev/tty\"); print(\"hello\", f.readline())'",
    ] {
        let mut tty = Tty::start(&place, script).await;
        let begun = Instant::now();
        while !tty.read(SECOND).await.waiting_for_input {
            assert!(begun.elapsed() < 20 * SECOND, "{script}: {:?}", tty.said);
        }
        tty.types("you\n").await;
        assert_eq!(tty.ends().await.exit_code, Some(0), "{script}: {:?}", tty.said);
        assert!(tty.said.contains("hello you"), "{script}: {:?}", tty.said);
    }
    let mut busy = Tty::start(&place, "sleep 4").await;
    while busy.cursor.is_none() || !busy.read(SECOND).await.status.as_str().eq("done") {
        assert!(!busy.read(Duration::ZERO).await.waiting_for_input);
    }
}

/// A password that is asked for is not shown, and whatever is shown has passed the redactor.
#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_keeps_secrets() {
    let place = Place::new();
    let mut tty = Tty::start(&place, "read -rsp 'password: ' word; echo; echo ${#word}; printf 'ghp_0123456789abcdef'; printf 'ghijABCDEFGHIJ012345\\n' >&2").await;
    tty.says("password: ").await;
    tty.types("swordfish\n").await;
    tty.ends().await;
    assert!(tty.said.contains('9') && !tty.said.contains("swordfish"), "{:?}", tty.said);
    assert!(tty.said.contains("[redacted:") && !tty.said.contains("ghp_0123456789abcdef"), "{:?}", tty.said);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_in_the_session_can_type() {
    let place = Place::new();
    // The second call has a bit set above the 32 that the kernel looks at.
    let script = r#"/usr/bin/python3 -c '
import ctypes, fcntl, os
for fd in (0, os.open("/dev/tty", os.O_RDWR)):
    for byte in b"echo TYPED\n":
        try:
            fcntl.ioctl(fd, 0x5412, bytes([byte])); print("typed")
        except OSError as error:
            print("refused", error.errno)
    libc = ctypes.CDLL(None, use_errno=True)
    print(libc.syscall(16, fd, ctypes.c_ulong(0x100005412), ctypes.c_char_p(b"x")))
'; echo over"#;
    let mut tty = Tty::start(&place, script).await;
    tty.ends().await;
    assert!(!tty.said.contains("typed") && !tty.said.contains("TYPED"), "{:?}", tty.said);
    assert_eq!(tty.said.matches("refused 1\n").count(), 22, "{:?}", tty.said);
    assert_eq!(tty.said.matches("-1\n").count(), 2, "{:?}", tty.said);
    assert!(tty.said.ends_with("over\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_begins_as_its_session_and_leaves_it_free() {
    let place = Place::new();
    let session = place.open().await;
    session.says("cd /tmp; x=kept; f() { echo \"f $x\"; }").await;
    let call = Call {
        terminal: Some(TerminalSize::default()),
        yields: Some(SECOND / 4),
        ..session.call("pwd; f; echo $TERM; read -r y; x=$y")
    };
    let mut tty = Tty::like(&place, call).await;
    session.is_well("a job at a terminal").await;
    tty.says("/tmp\nf kept\nxterm-256color").await;
    tty.types("changed\n").await;
    assert_eq!(tty.ends().await.exit_code, Some(0));
    assert_eq!(session.says("echo $x; test -t 0 || echo none").await, "kept\nnone\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_at_a_terminal_comes_to_an_end() {
    let place = Place::new();
    for (script, code) in [
        ("seq 1 20000", Some(0)),
        ("exit 4", Some(4)),
        ("exec sh -c 'echo other; exit 5'", Some(5)),
        ("kill -9 $$", None),
        ("stty raw -echo; echo raw; stty sane", Some(0)),
        ("set -m; sleep 0.1 & wait; fg 2>/dev/null; (exit 6)", Some(6)),
        ("setsid sleep 63 & nohup sleep 63 & (exit 7)", Some(7)),
        ("exec <&- >&- 2>&-; (exit 8)", Some(8)),
    ] {
        let mut tty = Tty::start(&place, script).await;
        let done = tty.ends().await;
        assert_eq!(done.exit_code, code, "{script}: {done:?} {:?}", tty.said);
        if script.starts_with("seq") {
            // All of it, however the terminal cuts it.
            let all: String = (1..=20_000).map(|number| format!("{number}\n")).collect();
            assert_eq!(tty.said.len(), all.len());
        }
        if script.starts_with("exit") {
            assert_eq!(tty.said, "", "what the shell says when it is left");
        }
    }
    gone("sleep 63", SECOND).await;
    // A deadline, an output that is held (Ctrl-S), and what ignores the terminal's hanging up.
    for script in ["sleep 64", "trap '' HUP INT; while :; do sleep 64; done", "stty -isig; cat"] {
        let begun = Instant::now();
        let call = Call { script: script.into(), timeout: Some(SECOND / 2), ..Call::default() };
        let mut tty = Tty::like(&place, call).await;
        tty.types("\u{13}").await;
        let done = tty.ends().await;
        assert_eq!(done.status, Status::TimedOut, "{script}: {done:?}");
        assert!(begun.elapsed() < 5 * SECOND, "{script}");
    }
    gone("sleep 64", SECOND).await;
}

/// What edits a line before the shell reads it would make another command of what was judged.
#[tokio::test(flavor = "multi_thread")]
async fn a_shell_at_a_terminal_is_given_plain_lines() {
    let place = Place::new();
    let client = Client::default();
    let mut tty = Tty::start(&place, "bash --norc -i").await;
    for keys in ["touch x\u{7f}y\n", "touch x", "\u{1b}[A\n", "ec\t\n", "!!\n", "touch x\r"] {
        let written = place.pipeline.jobs().write(&tty.job, keys.as_bytes(), false, Reading::default(), &client).await;
        assert!(written.is_err_and(|failure| failure.what.as_str().starts_with("denied: ")), "{keys:?}");
    }
    let defines = place.pipeline.jobs().write(&tty.job, b"ls() { echo; }\n", false, Reading::default(), &client).await;
    assert!(defines.is_err_and(|failure| failure.what.as_str().contains("next")));
    tty.types("echo $((6 * 7))\n").await;
    tty.says("42\n").await;
    // A key that comes before its program has started is the shell's, which may then lose its terminal to it.
    tty.types("sleep 65\n").await;
    comes("sleep 65 ", 20 * SECOND).await;
    tty.types("\u{3}").await;
    tty.types("exit 9\n").await;
    let ended = tty.ends().await;
    assert_eq!(ended.exit_code, Some(9), "{}", tty.said);
    assert!(!place.root.path().join("work/x").exists());
}
