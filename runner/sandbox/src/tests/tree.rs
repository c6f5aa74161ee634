//! The processes of a session, and the end of those that one command started.

use super::left_behind::{Held, Hold, SIX, each_hold};
use super::*;
use crate::stat::Stat;
use crate::tree::{listed, searched};

/// A shell that takes commands as a session's does: one after another, with what earlier ones left in the background.
struct Shell {
    held: Held,
    input: File,
}

impl Shell {
    fn start(hold: Hold) -> Self {
        let (stdin, input) = pipe();
        let mut shell = Self {
            held: Held::start(hold, r#"exec 2>/dev/null; while read -r line; do eval "$line"; done"#, Some(stdin)),
            input,
        };
        shell.tell("echo begun", &["begun"]);
        shell
    }

    /// Sends a command, and waits for what it prints.
    fn tell(&mut self, command: &str, lines: &[&str]) {
        let quoted = command.replace('\\', r"\\").replace('\'', r"\'").replace('\n', r"\n");
        writeln!(self.input, "eval $'{quoted}'").unwrap();
        self.held.expect(lines);
    }

    fn process(&self) -> &Process {
        &self.held.process
    }

    fn names(&self) -> String {
        let name = |pid| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let mut names: Vec<String> = self.process().tree().unwrap().pids().map(name).collect();
        names.sort_unstable();
        names.concat()
    }
}

#[test]
fn a_tree_holds_what_lives_and_nothing_else() {
    let odd_name = r#"python3 -c 'import ctypes, time
ctypes.CDLL(None).prctl(15, b"a) S 1 (b", 0, 0, 0)
print("up", flush=True)
time.sleep(1000)' &"#;
    let zombie = r#"python3 -c 'import os, time
if os.fork() == 0: os._exit(0)
os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
print("up", flush=True)
time.sleep(1000)' &"#;
    let from_a_thread = r#"python3 -c 'import os, threading, time
def work():
    if os.fork() == 0: os.execlp("bash", "bash", "-c", "echo up; exec sleep 1000")
    time.sleep(1000)
threading.Thread(target=work).start()' &"#;
    let without_its_first_thread = r#"python3 -c 'import ctypes, os, threading, time
def work():
    while open("/proc/self/stat").read().rsplit(")")[1].split()[0] != "Z": pass
    if os.fork() == 0: os.execlp("bash", "bash", "-c", "echo up; exec sleep 1000")
    time.sleep(1000)
threading.Thread(target=work).start()
ctypes.CDLL(None).pthread_exit(None)' &"#;
    let rows: &[(&str, usize, &str)] = &[
        ("true", 0, "bash\n"),
        (SIX, 6, "bash\nsleep\nsleep\nsleep\nsleep\nsleep\nsleep\n"),
        (zombie, 1, "bash\npython3\n"),
        (from_a_thread, 1, "bash\npython3\nsleep\n"),
        (without_its_first_thread, 1, "bash\npython3\nsleep\n"),
        (odd_name, 1, "a) S 1 (b\nbash\n"),
    ];
    each_hold(|hold| {
        for (script, up, expected) in rows {
            let mut shell = Shell::start(hold);
            assert!(shell.process().tree().unwrap().is_single());
            let glance = shell.process().glance(shell.process().program_pid().unwrap());
            assert_eq!(shell.process().tree_by(glance.as_ref()).unwrap(), shell.process().tree().unwrap());
            shell.tell(script, &vec!["up"; *up]);
            shell.tell("echo done", &["done"]);
            // A line is written just before `execve` changes the name.
            let seen = comes_true(|| shell.names() == *expected);
            assert!(seen, "{script} by {hold:?}: {:?}", shell.names());
            let process = shell.process();
            assert_eq!(process.tree().unwrap().is_single(), *up == 0, "{script} by {hold:?}");
            assert_eq!(process.tree_by(glance.as_ref()).unwrap(), process.tree().unwrap(), "{script} by {hold:?}");
            let first = process.first_pid();
            let (with, mut without) = (listed(first).unwrap(), searched(first).unwrap());
            let mut with = with.members;
            with.sort_unstable();
            without.members.sort_unstable();
            assert_eq!(with, without.members, "{script} by {hold:?}");
        }
    });
}

#[test]
fn the_program_is_found_by_its_number() {
    each_hold(|hold| {
        let mut shell = Shell::start(hold);
        let program = shell.process().program_pid().unwrap();
        let first = shell.process().first_pid();
        shell.tell("sleep 1000 & echo up", &["up"]);
        assert_eq!(shell.process().program_pid(), Some(program), "{hold:?}");
        let leader = if matches!(hold, Hold::In(Namespaces::Root | Namespaces::User)) { first } else { program };
        assert_eq!(shell.process().pid(), leader, "{hold:?}");
        assert_eq!(Stat::of(program).unwrap().parent, first, "{hold:?}");
        assert_eq!(std::fs::read_to_string(format!("/proc/{program}/comm")).unwrap(), "bash\n", "{hold:?}");
    });
}

#[test]
fn what_a_command_started_ends_and_what_was_there_stays() {
    each_hold(|hold| {
        let mut shell = Shell::start(hold);
        shell.tell("sleep 1000 & setsid -f sleep 1000; echo up", &["up"]);
        let before = shell.process().tree().unwrap();
        assert_eq!(before.pids().len(), 3, "{hold:?}");
        assert!(shell.process().end_newer(&before, None).unwrap(), "{hold:?}");
        shell.tell(SIX, &["up"; 6]);
        assert!(shell.process().end_newer(&before, None).unwrap(), "{hold:?}");
        assert_eq!(shell.process().tree().unwrap(), before, "{hold:?}");
        shell.tell("echo alive", &["alive"]);
        let program = shell.process().program_pid();
        assert!(shell.process().end_newer(&Tree::default(), program).unwrap(), "{hold:?}");
        assert_eq!(shell.process().tree().unwrap().pids().collect::<Vec<_>>(), [program.unwrap()], "{hold:?}");
        shell.tell("echo alive", &["alive"]);
    });
}

#[test]
fn a_runaway_is_ended_or_said_to_run_on() {
    each_hold(|hold| {
        let mut shell = Shell::start(hold);
        let before = shell.process().tree().unwrap();
        for command in ["while :; do (sleep 60 &); done & echo up", "hop() { hop & }; hop; echo up"] {
            shell.tell(command, &["up"]);
            if shell.process().end_newer(&before, None).unwrap() {
                assert_eq!(shell.process().tree().unwrap(), before, "{command} by {hold:?}");
            } else {
                assert_ne!(shell.process().tree().unwrap(), before, "{command} by {hold:?}");
            }
        }
        // Here it is the shell itself that goes on, and it is spared.
        shell.tell("echo up; while :; do (sleep 60 &); done", &["up"]);
        let _ = shell.process().end_newer(&before, None).unwrap();
        assert!(Stat::of(shell.process().program_pid().unwrap()).unwrap().alive, "{hold:?}");
    });
}

#[test]
fn other_signals_reach_the_new_ones_alone() {
    each_hold(|hold| {
        let mut shell = Shell::start(hold);
        shell.tell("sleep 1000 & echo up", &["up"]);
        let before = shell.process().tree().unwrap();
        shell.tell("sleep 1000 & echo up", &["up"]);
        assert_eq!(shell.process().signal_newer(&before, None, Signal::STOP).unwrap(), 1, "{hold:?}");
        let now = shell.process().tree().unwrap();
        let newer = now.pids().find(|pid| before.pids().all(|old| old != *pid)).unwrap();
        assert!(comes_true(|| shell.process().is_stopped(newer)), "{hold:?}");
        assert!(before.pids().all(|old| !shell.process().is_stopped(old)), "{hold:?}");
        assert_eq!(shell.process().signal_newer(&before, Some(newer), Signal::KILL).unwrap(), 0, "{hold:?}");
        assert!(shell.process().end_newer(&before, None).unwrap(), "a stopped one by {hold:?}");
        assert!(!shell.process().is_stopped(newer), "{hold:?}");
    });
}

#[test]
fn a_session_that_is_over_has_no_processes() {
    each_hold(|hold| {
        let shell = Shell::start(hold);
        let before = shell.process().tree().unwrap();
        shell.process().kill().unwrap();
        finish(shell.process());
        assert_eq!(shell.process().tree().unwrap(), Tree::default(), "{hold:?}");
        assert!(!shell.process().tree().unwrap().is_single());
        assert!(shell.process().end_newer(&before, None).unwrap(), "{hold:?}");
        assert_eq!(shell.process().signal_newer(&before, None, Signal::INT).unwrap(), 0, "{hold:?}");
        assert_eq!(shell.process().program_pid(), None, "{hold:?}");
    });
}
