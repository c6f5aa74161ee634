//! The exec guard under attack, with a judge that knows one forbidden name. `forb` is a copy of `touch`, and whether it ran is seen
//! from outside, by the file that it would have made.

use std::sync::{Arc, Mutex};

use super::*;

/// Refuses whatever has `forb` in its file or its words.
#[derive(Debug, Clone, Default)]
struct NotForb {
    seen: Arc<Mutex<Vec<String>>>,
    refused: Arc<Mutex<Vec<String>>>,
}

impl Judge for NotForb {
    fn launched(&mut self, _: i32) {}

    fn may(&mut self, steps: &[Execution]) -> bool {
        let step = steps.last().unwrap();
        let words = step.argv.iter().map(|word| String::from_utf8_lossy(word).into_owned());
        let all: Vec<String> =
            words.chain([step.file.display().to_string(), step.named.display().to_string()]).collect();
        self.seen.lock().unwrap().push(all.join(" "));
        !all.iter().any(|word| word.contains("forb"))
    }

    fn became(&mut self, _: &[Execution]) -> bool {
        true
    }

    fn refused(&mut self, _: &Execution, reason: &'static str) {
        self.refused.lock().unwrap().push(reason.to_owned());
    }
}

/// A judge whose thread does not live to answer.
#[derive(Debug)]
struct Dies;

impl Judge for Dies {
    fn launched(&mut self, _: i32) {}

    fn may(&mut self, _: &[Execution]) -> bool {
        std::panic::resume_unwind(Box::new("this judge dies"))
    }

    fn became(&mut self, _: &[Execution]) -> bool {
        true
    }

    fn refused(&mut self, _: &Execution, _: &'static str) {}
}

/// A judge who permits everything, and cannot follow what comes of `forb`.
#[derive(Debug)]
struct LosesForb;

impl Judge for LosesForb {
    fn launched(&mut self, _: i32) {}

    fn may(&mut self, _: &[Execution]) -> bool {
        true
    }

    fn became(&mut self, steps: &[Execution]) -> bool {
        !steps.iter().any(|step| step.file.to_string_lossy().contains("forb"))
    }

    fn refused(&mut self, _: &Execution, _: &'static str) {}
}

/// A judge who permits everything, and kills `forb` while the guard still traces it.
#[derive(Debug)]
struct SeesForbKilled;

impl Judge for SeesForbKilled {
    fn launched(&mut self, _: i32) {}

    fn may(&mut self, _: &[Execution]) -> bool {
        true
    }

    fn became(&mut self, steps: &[Execution]) -> bool {
        for step in steps.iter().filter(|step| step.file.to_string_lossy().contains("forb")) {
            rustix::process::kill_process(rustix::process::Pid::from_raw(step.thread).unwrap(), Signal::KILL).unwrap();
        }
        true
    }

    fn refused(&mut self, _: &Execution, _: &'static str) {}
}

/// Attempts to run `forb`, each in a directory of its own, `$W`. Every one of them works without the guard.
const ATTEMPTS: &[&str] = &[
    "$W/forb $W/ran",
    "./forb ran",
    "env ./forb ran",
    "(exec ./forb ran)",
    "(exec -a harmless ./forb ran)",
    "ln -s forb alias; ./alias ran",
    "ln forb hard; cd .; (exec -a forb ./hard ran)",
    "printf '#!%s\\n' \"$W/forb\" > script; chmod +x script; ./script; mv script ran 2>/dev/null; test -e ran && rm ran; printf '#!%s %s\\n' \"$W/forb\" \"$W/ran\" > s2; chmod +x s2; ./s2",
    "printf '#!%s %s\\n' \"$W/forb\" \"$W/ran\" > inner; printf '#!%s\\n' \"$W/inner\" > outer; chmod +x inner outer; ./outer",
    "PATH=$W:$PATH; forb ran",
    "$(cat /proc/sys/kernel/ostype >/dev/null; echo ./fo)rb ran",
    "find . -maxdepth 1 -name forb -exec {} ran ';'",
    "echo ran | xargs ./forb",
    "timeout 9 ./forb ran",
    "nohup setsid ./forb ran >/dev/null 2>&1; sleep 0.1",
    "coproc ./forb ran; wait",
    "for loader in /lib64/ld-linux-x86-64.so.2 /lib/ld-linux-aarch64.so.1; do test -e $loader && $loader ./forb ran; done",
];

/// The same from Python, `forb` and `ran` being paths.
const FROM_PYTHON: &[&str] = &[
    "os.execv(forb, ['x', ran])",
    "os.execv(os.path.relpath(forb), ['x', ran])",
    "subprocess.run([forb, ran])",
    "os.waitpid(os.posix_spawn(forb, ['x', ran], {}), 0)",
    "os.system(forb + ' ' + ran)",
    "os.execve(os.open(forb, os.O_RDONLY), ['x', ran], {})",
    "os.execv('/proc/self/fd/%d' % os.open(forb, os.O_RDONLY), ['x', ran])",
    "os.execv('/dev/fd/%d' % os.open(forb, os.O_RDONLY), ['x', ran])",
    "(os.chdir('/'), os.execv('/proc/self/cwd/.' + forb, ['x', ran]))",
    "os.execv('/proc/self/root' + forb, ['x', ran])",
    "[t.start() or t.join() for t in [threading.Thread(target=lambda: os.execv(forb, ['x', ran]))]]",
    "libc.execveat(os.open(os.path.dirname(forb), os.O_RDONLY), b'forb', words(b'x', ran.encode()), words(), 0)",
    "libc.execveat(os.open(forb, os.O_RDONLY), b'', words(b'x', ran.encode()), words(), 0x1000)",
    "(lambda fd: (os.write(fd, open(forb, 'rb').read()), os.execve(fd, ['x', ran], {})))(os.memfd_create('harmless'))",
    "(lambda fd: (os.unlink(copy), os.execve(fd, ['x', ran], {})))(os.open(shutil.copy(forb, copy), os.O_RDONLY))",
    "libc.execve(forb.encode(), None, None)",
];

const PYTHON_PRELUDE: &str = "import ctypes, os, shutil, subprocess, sys, threading
forb, ran, copy = (os.path.join(sys.argv[2], name) for name in ('forb', 'ran', 'copy'))
libc = ctypes.CDLL(None)
words = lambda *them: (ctypes.c_char_p * (len(them) + 1))(*them)
exec(sys.argv[1])";

/// A directory in which programs may be executed, with `forb` in it.
fn place() -> (Place, SandboxPlan) {
    let place = Place::new();
    std::fs::copy("/usr/bin/touch", Path::new(place.path("work")).join("forb")).unwrap();
    let mut plan = place.plan();
    for rule in &mut plan.rules {
        if rule.path == Path::new(place.path("work")) {
            rule.rights |= Rights::EXECUTE;
        }
    }
    plan.limits.file_size = None;
    (place, plan)
}

fn guarded(world: Namespaces, plan: &SandboxPlan, launch: Launch, judge: impl Judge + 'static) -> Process {
    spawn(prepare_in(world, has_mounts(world), plan, launch).unwrap().guarded_by(Box::new(judge)).unwrap()).unwrap()
}

fn run_guarded(world: Namespaces, script: &str) -> (Ran, NotForb, bool) {
    let (place, plan) = place();
    let script = script.replace("$W", place.path("work"));
    let (output, stdout) = pipe();
    let judge = NotForb::default();
    let process = guarded(world, &plan, place.bash(&script, stdout), judge.clone());
    let output = read(output);
    let ran = Path::new(place.path("work")).join("ran").exists();
    (Ran { ending: finish(&process), output }, judge, ran)
}

#[test]
fn nothing_runs_that_was_refused() {
    each_world(|world| {
        for attempt in ATTEMPTS {
            let (ended, judge, ran) = run_guarded(world, attempt);
            assert!(!ran, "{world:?}: `{attempt}` ran: {}", ended.output);
            assert!(judge.seen.lock().unwrap().iter().any(|seen| seen.contains("forb")), "{attempt}: {}", ended.output);
        }
        for attempt in FROM_PYTHON {
            let quoted = attempt.replace('\'', r"'\''");
            let script = format!("python3 -c '{}' '{quoted}' $W", PYTHON_PRELUDE.replace('\'', r"'\''"));
            let (ended, _, ran) = run_guarded(world, &script);
            assert!(!ran, "{world:?}: `{attempt}` ran: {}", ended.output);
        }
    });
}

/// A program is permitted as what it is known to come from: one that cannot be followed does not get to its first instruction.
#[test]
fn what_cannot_be_followed_is_killed() {
    each_world(|world| {
        let (place, plan) = place();
        let (output, stdout) = pipe();
        let process = guarded(world, &plan, place.bash("./forb ran; echo $?", stdout), LosesForb);
        let output = read(output);
        let _ended = finish(&process);
        assert!(output.ends_with("137\n"), "{world:?}: {output}");
        assert!(!Path::new(place.path("work")).join("ran").exists(), "{world:?}");
    });
}

/// The kernel tells a tracer of a process's end before it tells the parent. A guard that does not ask for the end keeps the parent waiting.
#[test]
fn the_parent_of_what_is_killed_meanwhile_learns_of_it() {
    each_world(|world| {
        let (place, plan) = place();
        let (output, stdout) = pipe();
        let process = guarded(world, &plan, place.bash("./forb ran; echo $?", stdout), SeesForbKilled);
        assert!(becomes_readable(&output), "{world:?}: its parent waits");
        let output = read(output);
        assert_eq!(finish(&process), Ending::Exited(0), "{world:?}");
        assert!(output.ends_with("137\n"), "{world:?}: {output}");
    });
}

/// The attempts are worth something: without the guard they succeed.
#[test]
fn the_attempts_succeed_without_the_guard() {
    let world = worlds().next().unwrap();
    let succeeded = |script: &str| {
        let (place, plan) = place();
        let script = script.replace("$W", place.path("work"));
        let (output, stdout) = pipe();
        let process = spawn(prepare_in(world, has_mounts(world), &plan, place.bash(&script, stdout)).unwrap()).unwrap();
        let output = read(output);
        let _ended = finish(&process);
        assert!(Path::new(place.path("work")).join("ran").exists(), "`{script}` did not: {output}");
    };
    ATTEMPTS.iter().for_each(|attempt| succeeded(attempt));
    // The last one is about a null pointer and runs nothing anywhere.
    for attempt in FROM_PYTHON.split_last().unwrap().1 {
        let quoted = attempt.replace('\'', r"'\''");
        succeeded(&format!("python3 -c '{}' '{quoted}' $W", PYTHON_PRELUDE.replace('\'', r"'\''")));
    }
}

/// Script, and what it prints: everything that is allowed goes on as if nobody looked.
const AS_EVER: &[(&str, &str)] = &[
    (
        "/usr/bin/echo one; /usr/bin/false; echo $?; ./none; echo $?",
        "one\n1\nbash: line 1: ./none: No such file or directory\n127\n",
    ),
    ("./forb ran; echo $?", "bash: line 1: ./forb: Permission denied\n126\n"),
    ("touch plain; chmod +x plain; echo 'echo from plain' > plain; ./plain", "from plain\n"),
    ("printf '#! /usr/bin/env -S bash -e\\necho $0 $1' > script; chmod +x script; ./script a", "./script a\n"),
    ("set -m; sleep 9 & kill -STOP %1; kill -CONT %1; kill %1; wait %1; echo $?", "143\n"),
    ("echo a b c | tr ' ' '\\n' | sort -r | head -n 1", "c\n"),
    ("python3 -c 'import multiprocessing as m; print(m.get_context(\"spawn\").Process)' | wc -l", "1\n"),
    ("python3 -c 'import os, sys; os.execv(\"/usr/bin/python3\", [\"x\", \"-c\", \"print(7)\"])'", "7\n"),
    ("seq 300 | xargs -n 1 -P 8 /usr/bin/true && echo all", "all\n"),
    ("head -c 200000 /dev/zero | tr '\\0' x > long; /usr/bin/echo $(cut -c1-100000 long) | wc -c", "100001\n"),
    ("seq 20000 | xargs /usr/bin/echo | wc -w", "20000\n"),
    ("env -i /usr/bin/env", ""),
    ("exec /usr/bin/echo last", "last\n"),
];

#[test]
fn what_is_allowed_goes_on_as_ever() {
    each_world(|world| {
        for (script, expected) in AS_EVER {
            let (ended, judge, _) = run_guarded(world, script);
            // What bash says of its jobs, it says when it gets to it.
            let output: String = ended.output.split_inclusive('\n').filter(|line| !line.starts_with("[1]")).collect();
            assert_eq!(output, *expected, "{world:?}: {script}");
            assert!(judge.refused.lock().unwrap().is_empty(), "{world:?}: {script}");
        }
    });
}

/// A thread exchanges what a child is about to execute, as fast as it can: the path, the first argument, or the file's name.
const FLIPS: &str = r#"
#define _GNU_SOURCE
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
static char path[256], word[256];
static const char *good, *bad, *how;
static void *flip(void *unused) {
    for (;;) {
        if (*how == 'p') { strcpy(path, bad); strcpy(path, good); }
        else if (*how == 'w') { memcpy(word, "forb", 4); memcpy(word, "fine", 4); }
        else { unlink(path); symlink(bad, path); unlink(path); symlink(good, path); }
    }
    return unused;
}
int main(int count, char **words) {
    pthread_t thread;
    how = words[1]; good = words[2]; bad = words[3];
    words[3][strcspn(words[3], "%")] = 'o'; /* its own words must pass */
    strcpy(path, *how == 'l' ? "link" : good);
    strcpy(word, "fine");
    char *argv[] = {"x", *how == 'w' ? word : words[4], NULL}, *env[] = {NULL};
    if (*how == 'w') path[0] = 0, strcpy(path, good);
    pthread_create(&thread, 0, flip, 0);
    time_t end = time(0) + 3;
    long tried = 0;
    while (time(0) < end) {
        pid_t child;
        if (posix_spawn(&child, path, 0, 0, argv, env) == 0) waitpid(child, 0, 0);
        tried++;
    }
    printf("tried %s\n", tried > 50 ? "often" : "too seldom");
    return count == 5 ? 0 : 1;
}
"#;

#[test]
fn what_is_exchanged_while_it_is_judged_does_not_run() {
    let world = worlds().next().unwrap();
    let (place, plan) = place();
    let work = Path::new(place.path("work"));
    std::fs::write(work.join("flips.c"), FLIPS).unwrap();
    let built = Command::new("cc").args(["-O1", "-pthread", "-o", "flips", "flips.c"]).current_dir(work).status();
    assert!(built.unwrap().success());
    // What it runs tells whether a forbidden word got through: `touch` makes a file of that name.
    let rows = [
        ("p", "/usr/bin/true", "./f%rb", "ran"),
        ("l", "/usr/bin/true", "./f%rb", "ran"),
        ("w", "/usr/bin/touch", "", ""),
    ];
    for (how, good, bad, word) in rows {
        let (output, stdout) = pipe();
        let script = format!("./flips {how} {good} '{bad}' '{word}'");
        let judge = NotForb::default();
        let process = guarded(world, &plan, place.bash(&script, stdout), judge.clone());
        assert_eq!(read(output), "tried often\n", "{how}: {:?}", judge.seen.lock().unwrap().last());
        assert_eq!(finish(&process), Ending::Exited(0), "{how}");
        for marker in ["ran", "forb!"] {
            assert!(!work.join(marker).exists(), "{how}: something got through");
        }
        let names: Vec<_> = std::fs::read_dir(work).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        let known = ["forb", "fine", "flips", "flips.c", "given", "link"];
        assert!(names.iter().all(|name| known.contains(&name.to_str().unwrap_or(""))), "{how}: {names:?}");
        let copied = std::fs::read(work.join("forb")).unwrap();
        assert_eq!(copied, std::fs::read("/usr/bin/touch").unwrap());
    }
}

#[test]
fn without_its_judge_nothing_is_executed_any_more() {
    each_world(|world| {
        let (place, plan) = place();
        let (output, stdout) = pipe();
        let script = "/usr/bin/echo first; /usr/bin/echo second; echo builtin";
        let process = guarded(world, &plan, place.bash(script, stdout), Dies);
        let output = read(output);
        assert!(
            output.ends_with("builtin\n") && !output.contains("first\n") && !output.contains("second\n"),
            "{output}"
        );
        assert_eq!(finish(&process), Ending::Exited(0), "{world:?}");
    });
}

#[test]
fn a_session_cannot_have_a_listener_or_a_tracer_of_its_own() {
    each_world(|world| {
        let code = "import ctypes; libc = ctypes.CDLL(None, use_errno=True)
class Program(ctypes.Structure): _fields_ = [('length', ctypes.c_ushort), ('filter', ctypes.c_void_p)]
step = (ctypes.c_uint64 * 1)(0x7fff000000000006)
libc.syscall(317, 1, 8, ctypes.byref(Program(1, ctypes.addressof(step)))); print(ctypes.get_errno())
libc.ptrace(0, 0, 0, 0); print(ctypes.get_errno())";
        if std::env::consts::ARCH == "x86_64" {
            let (ended, ..) = run_guarded(world, &format!("python3 -c '{}'", code.replace('\'', r"'\''")));
            assert_eq!(ended.output, format!("{}\n{}\n", libc::EPERM, libc::EPERM), "{world:?}");
        }
    });
}
