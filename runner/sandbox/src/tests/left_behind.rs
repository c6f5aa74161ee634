//! What is left of a session, however it ends: nothing.

use super::*;

/// Six processes that escape a kill of the process group, or of the terminal session, or that object to the signal. Each says `up`
/// before it begins to sleep.
pub(super) const SIX: &str = r#"up='echo up; exec sleep 1000'
bash -c "$up" &
setsid bash -c "$up" &
setsid -f setsid -f bash -c "$up"
(trap '' TERM HUP INT; eval "$up") &
nohup bash -c "$up" 2>/dev/null &
python3 -c 'import os, sys
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0: os.execlp("bash", "bash", "-c", sys.argv[1])
    os._exit(0)
os.wait()' "$up"
"#;

/// Those that never have the same number for long, with the leader of their group and without, and one that always has a child more.
const RUNAWAYS: &[&str] =
    &["hop() { hop & }; hop; wait; sleep 1000", "hop() { hop & }; hop & exit", "while :; do (sleep 60 &); done"];

/// What holds the processes of a session together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hold {
    In(Namespaces),
    /// No namespaces, on a kernel whose Landlock knows no signals.
    Children,
}

pub(super) fn each_hold(test: impl FnMut(Hold)) {
    worlds().map(Hold::In).chain([Hold::Children]).for_each(test);
}

/// A session, what it prints, and a pipe that ends when the last of its processes has: all inherit it.
pub(super) struct Held {
    pub(super) process: Process,
    pub(super) output: BufReader<File>,
    pipe: OwnedFd,
    _place: Place,
}

impl Held {
    pub(super) fn start(hold: Hold, script: &str, stdin: Option<OwnedFd>) -> Self {
        let place = Place::new();
        let (pipe, holding) = pipe();
        let (output, stdout) = super::pipe();
        let mut launch = Launch { extra: vec![(holding.into(), 9)], ..place.bash(script, stdout) };
        launch.stdin = stdin.unwrap_or(launch.stdin);
        let process = spawn(prepared(hold, &place, launch)).unwrap();
        Self { process, output: BufReader::new(File::from(output)), pipe, _place: place }
    }

    pub(super) fn expect(&mut self, lines: &[&str]) {
        for expected in lines {
            let mut line = String::new();
            self.output.read_line(&mut line).unwrap();
            assert_eq!(line.trim_end(), *expected);
        }
    }
}

fn prepared(hold: Hold, place: &Place, launch: Launch) -> Prepared {
    match hold {
        Hold::In(world) => prepare_in(world, super::has_mounts(world), &place.plan(), launch).unwrap(),
        Hold::Children => {
            let prepared = prepare_in(Namespaces::None, false, &place.plan(), launch).unwrap();
            Prepared { reach: None, ..prepared }
        }
    }
}

const ALL_UP: &[&str] = &["up"; 6];

#[test]
fn closing_and_dropping_end_every_process() {
    let ends: [fn(Process); 2] = [
        |process| {
            process.kill().unwrap();
            assert_eq!(finish(&process), Ending::Signalled(libc::SIGKILL));
            // Not even as one that waits to be reaped.
            assert!(!Path::new(&format!("/proc/{}", process.first_pid())).exists());
        },
        drop,
    ];
    each_hold(|hold| {
        for end in ends {
            let mut held = Held::start(hold, &format!("{SIX} wait; sleep 1000"), None);
            held.expect(ALL_UP);
            end(held.process);
            assert!(becomes_readable(&held.pipe), "{hold:?}");
        }
    });
}

#[test]
fn a_program_that_ends_leaves_nothing_running() {
    each_hold(|hold| {
        // The shell waits for the lines itself, so that it does not end before them.
        let script = format!("exec 3> >(head -n 6); six=$!; {{ {SIX} }} >&3; wait $six; set -m; sleep 1000 & exit 5");
        let held = Held::start(hold, &script, None);
        assert_eq!(finish(&held.process), Ending::Exited(5), "{hold:?}");
        assert!(becomes_readable(&held.pipe), "{hold:?}");
    });
}

#[test]
fn runaways_are_caught() {
    each_hold(|hold| {
        for script in RUNAWAYS {
            let mut held = Held::start(hold, &format!("echo ready; {script}"), None);
            held.expect(&["ready"]);
            held.process.kill().unwrap();
            finish(&held.process);
            assert!(becomes_readable(&held.pipe), "{script} by {hold:?}");
        }
    });
}

/// The pipe that ends with the last process is this test's; the server and its sessions have it as the server's input.
#[test]
fn a_killed_server_takes_its_sessions_with_it() {
    if part().as_deref() == Some("server") {
        let mut kept = Vec::new();
        each_hold(|hold| {
            let mut held = Held::start(hold, &format!("exec 9>&0; {SIX} wait; sleep 1000"), Some(inherited()));
            held.expect(ALL_UP);
            kept.push(held);
        });
        writeln!(std::io::stdout(), "\nstarted {}", kept.len()).unwrap();
        loop {
            std::thread::park();
        }
    }
    let (held, holding) = pipe();
    let mut server = {
        let mut server = again("left_behind::a_killed_server_takes_its_sessions_with_it", "server");
        server.stdin(Stdio::from(holding)).stdout(Stdio::piped()).spawn().unwrap()
    };
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line == format!("started {}", worlds().count() + 1)));
    server.kill().unwrap();
    assert_eq!(server.wait().unwrap().signal(), Some(libc::SIGKILL));
    assert!(becomes_readable(&held));
}

fn inherited() -> OwnedFd {
    std::io::stdin().as_fd().try_clone_to_owned().unwrap()
}

/// By descriptor, too: `$PPID` is the first process.
#[test]
fn a_session_cannot_end_its_first_process() {
    let script = "kill -KILL $PPID; kill -STOP $PPID; kill -TERM $PPID; echo still here; exit 3";
    let ran = Place::new().run(Namespaces::None, script);
    assert_eq!(ran.output.matches("Operation not permitted").count(), 3, "{}", ran.output);
    assert!(ran.output.ends_with("still here\n"), "{}", ran.output);
    assert_eq!(ran.ending, Ending::Exited(3));
}

/// As the machine's administrator may do to it, or the kernel where memory runs out.
#[test]
fn a_first_process_that_was_stopped_or_killed_leaves_little() {
    each_hold(|hold| {
        for signal in [Signal::STOP, Signal::KILL] {
            let script = "(trap '' TERM HUP INT; sleep 1000) & set -m; sleep 1000 & echo ready; wait";
            let mut held = Held::start(hold, script, None);
            held.expect(&["ready"]);
            rustix::process::pidfd_send_signal(held.process.pidfd(), signal).unwrap();
            if signal == Signal::STOP {
                held.process.kill().unwrap();
            }
            assert_eq!(finish(&held.process), Ending::Signalled(libc::SIGKILL), "{hold:?}");
            assert!(becomes_readable(&held.pipe), "{signal:?} to {hold:?}");
        }
    });
}
