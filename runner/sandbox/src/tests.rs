//! The fences tried from inside, on the running kernel: with the namespaces that it offers and without, and if the tests run as
//! root, once more as an unprivileged user. Needs bash, coreutils, util-linux and python3 in `/usr`.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod guard;
mod left_behind;
mod limits;
mod tree;
mod view;

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::Mode;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Signal, getegid, geteuid, umask};

use super::plan::{PathRule, Rights};
use super::*;

// What a session can touch and call

/// Script, and what it prints on stdout and stderr together, with `$W` the directory that it may change and `$O` one that it may
/// not touch.
const SHELL: &[(&str, &str)] = &[
    ("echo hello", "hello\n"),
    ("cat /usr/lib/os-release >/dev/null && echo read", "read\n"),
    ("echo x > $W/new && cat $W/new", "x\n"),
    ("mkdir $W/d && mv $W/given $W/d/moved && rm -r $W/d && echo gone", "gone\n"),
    ("ln -s new $W/link && mkfifo $W/pipe && echo made", "made\n"),
    ("ln $W/given $W/second && echo linked", "linked\n"),
    ("echo x > $O/new", "bash: line 1: $O/new: Permission denied\n"),
    ("echo x >> $O/file", "bash: line 1: $O/file: Permission denied\n"),
    ("cat $O/file", "cat: $O/file: Permission denied\n"),
    ("ls $O", "ls: cannot open directory '$O': Permission denied\n"),
    ("rm $O/file", "rm: cannot remove '$O/file': Permission denied\n"),
    ("mkdir $O/d", "mkdir: cannot create directory ‘$O/d’: Permission denied\n"),
    ("truncate -s 0 $O/file", "truncate: cannot open '$O/file' for writing: Permission denied\n"),
    ("mv $W/given $O/ 2>/dev/null; cat $W/given", "given\n"),
    ("ln -s $O/file $W/way && cat $W/way", "cat: $W/way: Permission denied\n"),
    ("cat /etc/shadow", "cat: /etc/shadow: Permission denied\n"),
    ("$O/program", "bash: line 1: $O/program: Permission denied\n"),
    ("cp /usr/bin/true $W/copy && $W/copy", "bash: line 1: $W/copy: Permission denied\n"),
    ("mknod $W/null c 1 3", "mknod: $W/null: Permission denied\n"),
    (
        "echo > /dev/tcp/127.0.0.1/1",
        "bash: socket: Permission denied\nbash: line 1: /dev/tcp/127.0.0.1/1: Permission denied\n",
    ),
    ("umask", "0022\n"),
    ("pwd", "$W\n"),
    ("id -u; id -g; stat -c %u $W/given", "$U\n$G\n$U\n"),
    ("env | grep -vE '^(PWD|SHLVL|_)=' | sort", "LC_ALL=C.UTF-8\nNAME=a value\n"),
    ("ulimit -c; ulimit -n; ulimit -f", "0\n200\n1024\n"),
    ("(trap '' XFSZ; head -c 2M /dev/zero > $W/big; stat -c %s $W/big) 2>&1 | tail -n 1", "1048576\n"),
    ("ls /proc/self/fd", "0\n1\n2\n3\n"),
    ("ps -o pgid=,sid= -p $$ | awk '{print ($1 == $2)}'", "1\n"),
    ("trap -p; kill -l PIPE >/dev/null; yes | head -n 1; echo ${PIPESTATUS[0]}", "y\n141\n"),
    ("grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status | tr '\\t' ' '", "NoNewPrivs: 1\nSeccomp: 2\n"),
    ("grep -E '^Cap(Inh|Prm|Eff|Amb)' /proc/self/status | cut -f2 | uniq", "0000000000000000\n"),
    ("grep -E '^(SigBlk|SigIgn)' /proc/self/status | cut -f2 | uniq", "0000000000000000\n"),
];

/// Python expression, evaluated by a program that prints its value or the error's name.
const PYTHON: &[(&str, &str)] = &[
    ("6 * 7", "42"),
    ("(lambda pair: pair[0].send(b'x'))(socket.socketpair())", "1"),
    ("socket.socket(socket.AF_UNIX)", "EACCES"),
    ("socket.socket(socket.AF_INET)", "EACCES"),
    ("socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)", "EACCES"),
    ("socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)", "EACCES"),
    ("socket.socket(40, socket.SOCK_STREAM)", "EACCES"),
    ("socket.socketpair(30)", "EACCES"),
    ("subprocess.run(['true']).returncode", "0"),
    ("threading.Thread(target=print).start()", "\nNone"),
    ("asyncio.run(asyncio.sleep(0))", "None"),
    ("os.nice(1)", "1"),
    ("call(NR['ptrace'], 0, 0, 0, 0)", "EPERM"),
    ("call(NR['process_vm_readv'], os.getpid(), 0, 0, 0, 0, 0)", "EPERM"),
    ("call(NR['bpf'], 0, 0, 0)", "EPERM"),
    ("call(NR['perf_event_open'], 0, 0, 0, 0, 0)", "EPERM"),
    ("call(NR['keyctl'], 0, -3, 0)", "EPERM"),
    ("call(NR['unshare'], 0x10000000)", "EPERM"),
    ("call(NR['clone'], 0x10000000 | 17, 0, 0, 0, 0)", "EPERM"),
    ("call(NR['clone'], 0x10000000 | 17 | 1 << 40, 0, 0, 0, 0)", "EPERM"),
    ("call(NR['syslog'], 10, 0, 0)", "EPERM"),
    ("call(NR['personality'], 0xffffffff)", "0"),
    ("call(NR['personality'], 0xffffffff | 1 << 40)", "0"),
    ("call(NR['personality'], 0x0040000)", "EPERM"),
    ("call(NR['ioctl'], 0, 0x5412, b'x')", "EPERM"),
    ("call(NR['ioctl'], 0, 0x5412 | 1 << 40, b'x')", "EPERM"),
    ("call(NR['ioctl'], 0, 0x541c, b'x')", "EPERM"),
    ("call(NR['ioctl'], 0, 0x5413, ctypes.create_string_buffer(8))", "ENOTTY"),
    ("call(NR['clone3'], 0, 0)", "ENOSYS"),
    ("call(NR['io_uring_setup'], 1, 0)", "ENOSYS"),
    ("call(463, 0)", "ENOSYS"),
    ("call(100000, 0)", "ENOSYS"),
    ("call(0x40000000 | NR['getpid'])", "ENOSYS"),
    ("call(0x40000000 | NR['ptrace'], 0, 0, 0, 0)", "ENOSYS"),
    ("call(-1)", "ENOSYS"),
];

/// As `PYTHON`, where the answer depends on whether the session has namespaces of its own: with, and without.
const PYTHON_BY_NAMESPACE: &[(&str, &str, &str)] = &[
    ("call(NR['shmget'], 0, 4096, 0o1600) >= 0", "True", "EPERM"),
    ("os.sched_setaffinity(os.getpid(), os.sched_getaffinity(0))", "None", "EPERM"),
    ("os.setpriority(os.PRIO_USER, 0, 5)", "None", "EPERM"),
    ("resource.prlimit(os.getpid(), resource.RLIMIT_CORE)", "(0, 0)", "EPERM"),
    ("os.kill(SERVER, 0)", "ESRCH", "EPERM"),
    ("os.getpid() < 10", "True", "False"),
];

const PRELUDE: &str = r#"
import asyncio, ctypes, errno, os, resource, socket, subprocess, sys, threading
SERVER = int(sys.argv[2])
NR = dict(zip(
    "ptrace process_vm_readv bpf perf_event_open keyctl unshare clone syslog personality ioctl clone3 io_uring_setup getpid shmget".split(),
    dict(x86_64=(101, 310, 321, 298, 250, 272, 56, 103, 135, 16, 435, 425, 39, 29),
         aarch64=(117, 270, 280, 241, 219, 97, 220, 116, 92, 29, 435, 425, 172, 194))[os.uname().machine]))
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    answer = libc.syscall(*(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments))
    if answer < 0: raise OSError(ctypes.get_errno(), "")
    return answer
for line in sys.argv[1].splitlines():
    try: print(eval(line), flush=True)
    except OSError as error: print(errno.errorcode[error.errno], flush=True)
"#;

#[test]
fn the_shell_reaches_what_the_rules_name_and_nothing_else() {
    each_world(|world| {
        for (script, expected) in SHELL {
            let place = Place::new();
            let ran = place.run(world, script);
            let (user, group) = (geteuid().to_string(), getegid().to_string());
            let expected = expected.replace("$W", place.path("work")).replace("$O", place.path("outside"));
            let expected = expected.replace("$U", &user).replace("$G", &group);
            // A read-only mount refuses before Landlock does.
            let output = ran.output.replace("Read-only file system", "Permission denied");
            assert_eq!(output, expected, "{script} in {world:?}: {:?}", ran.ending);
        }
    });
}

#[test]
fn system_calls_answer_as_the_tables_say() {
    each_world(|world| {
        let own = world != Namespaces::None;
        let varied =
            PYTHON_BY_NAMESPACE.iter().map(|(call, with, without)| (*call, if own { *with } else { *without }));
        let rows: Vec<(&str, &str)> = PYTHON.iter().copied().chain(varied).collect();
        for (expression, expected) in rows {
            let ran = Place::new().python(world, expression);
            assert_eq!(ran.output, format!("{expected}\n"), "{expression} in {world:?}");
        }
    });
}

/// The 32-bit convention has other numbers, which no rule names.
#[cfg(target_arch = "x86_64")]
#[test]
fn code_for_another_convention_is_killed() {
    let expression = r"[m := __import__('mmap').mmap(-1, 4096, prot=7), m.write(b'\xb8\x14\0\0\0\xcd\x80\xc3'), ctypes.CFUNCTYPE(int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))()]".replace("(int)", "(ctypes.c_int)");
    each_world(|world| {
        let ran = Place::new().python(world, &expression);
        assert_eq!((ran.ending, ran.output.as_str()), (Ending::Signalled(libc::SIGSYS), ""), "{world:?}");
    });
}

#[test]
fn no_capability_can_come_back() {
    each_world(|world| {
        let bounding = Place::new().run(world, "grep CapBnd /proc/self/status | cut -f2").output;
        // Without any right of its own a server cannot empty the bounding set, and needs not: no new privileges.
        let may = probe().root || world == Namespaces::User;
        assert_eq!(bounding == "0000000000000000\n", may, "{world:?}: {bounding}");
    });
}

/// The first process and the server are copies of each other; what they hold must not be read from within.
#[test]
fn the_memory_of_the_server_and_of_the_first_process_is_closed() {
    each_world(|world| {
        let place = Place::new();
        let (stdin, mut input) = pipe();
        let (output, stdout) = pipe();
        let script = "read pids; for pid in $pids; do cat /proc/$pid/{environ,mem,maps,auxv}; done";
        let process = place.start(world, Launch { stdin, ..place.bash(script, stdout) }).unwrap();
        let others = [std::process::id().cast_signed(), process.first_pid()];
        // To others of the user, who are in no sandbox, the first process is closed as well.
        assert_eq!(owner_of(&format!("/proc/{}/environ", process.first_pid())), 0, "{world:?}");
        writeln!(input, "{}", others.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")).unwrap();
        let text = read(output);
        finish(&process);
        assert_eq!(text.lines().count(), 4 * others.len(), "{world:?}: {text}");
        for line in text.lines() {
            let refused = ["Permission denied", "Operation not permitted"];
            let hidden = has_mounts(world) && line.contains("No such file or directory");
            assert!(hidden || refused.iter().any(|refused| line.contains(refused)), "{world:?}: {text}");
        }
    });
}

// What a program holds, and how it begins and ends

#[test]
fn endings_are_told_as_they_were() {
    let rows = [
        ("true", Ending::Exited(0)),
        ("exit 7", Ending::Exited(7)),
        ("kill -KILL $$", Ending::Signalled(libc::SIGKILL)),
        ("kill -TERM $$", Ending::Signalled(libc::SIGTERM)),
        ("exec python3 -c 'import os; os.abort()'", Ending::Signalled(libc::SIGABRT)),
        ("(sleep 1000 & exit 3)", Ending::Exited(3)),
    ];
    each_world(|world| {
        for (script, expected) in rows {
            let place = Place::new();
            let null = || File::options().read(true).write(true).open("/dev/null").unwrap().into();
            let launch = Launch { stderr: null(), ..place.bash(script, null()) };
            assert_eq!(finish(&place.start(world, launch).unwrap()), expected, "{script} in {world:?}");
        }
    });
}

#[test]
fn descriptors_stand_where_they_were_promised_and_nowhere_else() {
    // One that the server holds open for everyone to inherit.
    let leaked = rustix::io::dup(File::open("/etc/passwd").unwrap()).unwrap();
    assert!(leaked.as_raw_fd() > 2);
    each_world(|world| {
        let place = Place::new();
        let (output, stdout) = pipe();
        let (channel, mut sender) = pipe();
        let (other, mut second) = pipe();
        // Sources that are each other's targets must not overwrite each other.
        let numbers = [198, 7];
        let launch = Launch {
            extra: vec![(channel, numbers[0]), (other, numbers[1])],
            ..place.bash("ls /proc/self/fd | tr '\\n' ' '; read -u 198 a; read -u 7 b; echo $a $b", stdout)
        };
        sender.write_all(b"one\n").unwrap();
        second.write_all(b"two\n").unwrap();
        let process = place.start(world, launch).unwrap();
        assert_eq!(read(output), "0 1 198 2 3 7 one two\n", "{world:?}");
        finish(&process);
    });
}

#[test]
fn numbers_that_cannot_be_promised_are_refused() {
    let rows: &[&[RawFd]] = &[&[2], &[256], &[-1], &[9, 9]];
    for numbers in rows {
        let place = Place::new();
        let extra = numbers.iter().map(|number| (pipe().0, *number)).collect();
        let answer = place.start(Namespaces::None, Launch { extra, ..place.bash("true", pipe().1) });
        assert!(matches!(answer, Err(SandboxError::Descriptor { .. })), "{numbers:?}: {answer:?}");
    }
}

#[test]
fn a_failed_step_is_named_and_nothing_runs() {
    type Change = fn(&mut Launch);
    let rows: &[(&str, Change, ChildStep, i32)] = &[
        ("no directory", |launch| launch.cwd = "/nonexistent".into(), ChildStep::Directory, libc::ENOENT),
        ("no program", |launch| launch.program = "/usr/bin/nonexistent".into(), ChildStep::Program, libc::ENOENT),
        ("refused program", |launch| launch.program = "/proc/version".into(), ChildStep::Program, libc::EACCES),
        ("no terminal", |launch| launch.controlling_terminal = Some(0), ChildStep::Terminal, libc::ENOTTY),
    ];
    each_world(|world| {
        for (name, change, step, errno) in rows {
            let place = Place::new();
            let (output, stdout) = pipe();
            let mut launch = place.bash("echo ran > ran; echo ran", stdout);
            change(&mut launch);
            match place.start(world, launch) {
                Err(SandboxError::Enforce { step: told, source }) => {
                    assert_eq!((told, source.raw_os_error()), (*step, Some(*errno)), "{name} in {world:?}");
                }
                other => panic!("{name} in {world:?}: {other:?}"),
            }
            assert_eq!(read(output), "");
            assert!(!place.directory.path().join("work/ran").exists());
        }
    });
}

#[test]
fn text_that_the_kernel_cannot_pass_is_refused() {
    let rows: &[fn(&mut Launch)] = &[
        |launch| launch.argv.push("a\0b".into()),
        |launch| launch.env.push(("A=B".into(), "c".into())),
        |launch| launch.env.push(("".into(), "c".into())),
        |launch| launch.cwd = "/tmp\0/x".into(),
    ];
    for change in rows {
        let place = Place::new();
        let mut launch = place.bash("true", pipe().1);
        change(&mut launch);
        let answer = place.start(Namespaces::None, launch);
        assert!(matches!(answer, Err(SandboxError::Text { .. })), "{answer:?}");
    }
}

#[test]
fn a_rule_about_a_missing_path_or_a_link_is_an_error() {
    let place = Place::new();
    let link = place.directory.path().join("link");
    std::os::unix::fs::symlink("/etc", &link).unwrap();
    for (path, optional, refused) in
        [("/nonexistent", false, true), ("/nonexistent", true, false), (place.path("link"), true, true)]
    {
        let mut plan = place.plan();
        plan.rules.push(PathRule { path: path.into(), rights: Rights::READ, optional });
        let answer = prepare(&plan, place.bash("true", pipe().1));
        assert_eq!(matches!(answer, Err(SandboxError::Path { .. })), refused, "{path} {optional}: {answer:?}");
    }
}

#[test]
fn what_was_enforced_is_told() {
    each_world(|world| {
        let place = Place::new();
        let prepared = prepare_in(world, has_mounts(world), &place.plan(), place.bash("true", pipe().1)).unwrap();
        let told = serde_json::to_value(prepared.enforced()).unwrap();
        assert_eq!(told["level"], "default");
        assert_eq!(told["landlock_abi"], landlock::in_force(probe().landlock_abi));
        assert_eq!(told["namespaces"], serde_json::json!(world.names(has_mounts(world))));
        assert_eq!(told["limits"], serde_json::json!(["processes", "file-size", "open-files"]));
        assert_eq!(told["network"], "not-permitted");
        assert_eq!(told["guarded"], false);
    });
}

#[test]
fn a_session_reaches_its_proxy_and_nothing_else() {
    each_world(|world| {
        let place = Place::new();
        let plan = SandboxPlan { network: true, ..place.plan() };
        let script = "exec 3<>/dev/tcp/127.0.0.1/3128; echo here >&3; cat <&3; (: <>/dev/tcp/127.0.0.1/3129) 2>/dev/null || echo no";
        let (output, stdout) = pipe();
        let prepared = prepare_in(world, has_mounts(world), &plan, place.bash(script, stdout)).unwrap();
        let expected = if world == Namespaces::None { Network::NoNamespace } else { Network::Proxy };
        assert_eq!(prepared.enforced().network, expected);
        let mut process = spawn(prepared).unwrap();
        match process.take_listener() {
            None => assert_eq!(world, Namespaces::None),
            Some(listener) => {
                let (mut stream, _) = std::net::TcpListener::from(listener).accept().unwrap();
                let mut said = [0; 5];
                stream.read_exact(&mut said).unwrap();
                stream.write_all(b"answered\n").unwrap();
                drop(stream);
                assert_eq!((&said, read(output).as_str()), (b"here\n", "answered\nno\n"), "{world:?}");
            }
        }
    });
}

/// Counted in the session's own user namespace: whatever else the user runs does not matter.
#[test]
fn processes_are_limited_where_they_can_be_counted() {
    if probe().root || probe().namespaces != Namespaces::User {
        return;
    }
    let script = "for i in {1..40}; do sleep 1000 & done; echo all";
    let ran = Place::new().run(Namespaces::User, script);
    assert!(ran.output.contains("Resource temporarily unavailable"), "{}", ran.output);
}

#[test]
fn signals_reach_the_program() {
    each_world(|world| {
        for (signal, expected) in
            [(Signal::INT, libc::SIGINT), (Signal::TERM, libc::SIGTERM), (Signal::HUP, libc::SIGHUP)]
        {
            let place = Place::new();
            let launch = Launch {
                program: "/usr/bin/sleep".into(),
                argv: vec!["sleep".into(), "1000".into()],
                ..place.bash("", pipe().1)
            };
            let process = place.start(world, launch).unwrap();
            // It would stop the first process, which nothing continues.
            assert!(process.signal(Signal::STOP).is_err());
            process.signal(signal).unwrap();
            assert_eq!(finish(&process), Ending::Signalled(expected), "{world:?}");
            process.signal(signal).unwrap();
        }
    });
}

#[test]
fn several_can_wait_and_other_children_are_left_alone() {
    each_world(|world| {
        let mut other = Command::new("/usr/bin/false").spawn().unwrap();
        let place = Place::new();
        let process = place.start(world, place.bash("exit 4", pipe().1)).unwrap();
        let both = runtime().block_on(async { tokio::join!(process.wait(), process.wait()) });
        assert_eq!((both.0.unwrap(), both.1.unwrap()), (Ending::Exited(4), Ending::Exited(4)));
        assert_eq!(other.wait().unwrap().code(), Some(1));
    });
}

/// The kernel ties the death signal to the thread that made a process.
#[test]
fn a_program_outlives_the_thread_that_asked_for_it() {
    each_world(|world| {
        let place = Place::new();
        let (stdin, mut input) = pipe();
        let launch = Launch { stdin, ..place.bash("read word; exit 7", pipe().1) };
        let process = std::thread::scope(|scope| scope.spawn(|| place.start(world, launch).unwrap()).join().unwrap());
        writeln!(input, "go").unwrap();
        assert_eq!(finish(&process), Ending::Exited(7), "{world:?}");
    });
}

// The server as a process of its own: the tests below start this test program again

/// Says which part a second test process plays.
const PART: &str = "PALISADE_TEST_PART";

/// This test program, running the tests whose names hold `test`.
fn again(test: &str, part: &str) -> Command {
    // By descriptor, so that an unprivileged user needs no way to the file. It stays open: the child executes it by this number.
    let program = Box::leak(Box::new(File::open("/proc/self/exe").unwrap()));
    let module = module_path!().split_once("::").unwrap().1;
    let mut command = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()));
    command.args(["--nocapture", &format!("{module}::{test}")]).env(PART, part);
    command
}

fn part() -> Option<String> {
    std::env::var(PART).ok()
}

#[test]
fn without_landlock_nothing_starts() {
    if part().as_deref() == Some("without-landlock") {
        let rules = [libc::SYS_landlock_create_ruleset, libc::SYS_landlock_add_rule, libc::SYS_landlock_restrict_self];
        let absent = seccompiler::SeccompFilter::new(
            rules.into_iter().map(|number| (number, Vec::new())).collect(),
            seccompiler::SeccompAction::Allow,
            seccompiler::SeccompAction::Errno(libc::ENOSYS.unsigned_abs()),
            std::env::consts::ARCH.try_into().unwrap(),
        );
        let absent: seccompiler::BpfProgram = absent.unwrap().try_into().unwrap();
        seccompiler::apply_filter_all_threads(&absent).unwrap();
        for level in [Level::Strict, Level::Default, Level::Compat] {
            let place = Place::new();
            let error = prepare(&SandboxPlan { level, ..place.plan() }, place.bash("true", pipe().1)).unwrap_err();
            assert!(error.to_string().starts_with("the kernel offers no Landlock (Linux "), "{error}");
            assert!(error.advice().unwrap().contains("CONFIG_SECURITY_LANDLOCK"));
        }
        let finding = probe().findings().into_iter().find(|finding| finding.layer == "landlock").unwrap();
        assert!(!finding.present);
    } else {
        let ended = again("without_landlock_nothing_starts", "without-landlock").status().unwrap();
        assert!(ended.success());
    }
}

/// A hardened server's children belong to root in `/proc`, which stands in the way of mapping their user.
#[test]
fn a_hardened_server_is_closed_and_still_starts_sessions() {
    if part().as_deref() == Some("hardened") {
        harden_server().unwrap();
        assert_eq!(owner_of("/proc/self/environ"), 0);
        each_world(|world| {
            assert_eq!(Place::new().run(world, "echo hello; ulimit -c").output, "hello\n0\n", "{world:?}")
        });
        assert!(worlds().count() > 1);
    } else if probe().namespaces != Namespaces::None {
        assert!(again("a_hardened_server_is_closed_and_still_starts_sessions", "hardened").status().unwrap().success());
    }
}

#[test]
fn the_file_mode_mask_withholds_what_the_servers_does_and_more() {
    if part().as_deref() == Some("mask") {
        for (server, session) in [(0o000, "0022\n"), (0o077, "0077\n"), (0o007, "0027\n")] {
            umask(Mode::from_raw_mode(server));
            each_world(|world| assert_eq!(Place::new().run(world, "umask").output, session, "{world:?}"));
        }
    } else {
        let test = "the_file_mode_mask_withholds_what_the_servers_does_and_more";
        assert!(again(test, "mask").status().unwrap().success());
    }
}

fn owner_of(path: &str) -> u32 {
    std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(path).unwrap())
}

/// Not the number that stands for users without a map, so that a missing map shows.
const UNPRIVILEGED: u32 = 54321;

/// Everything above once more by a user without rights, where the tests run as root.
#[test]
fn all_of_it_holds_for_an_unprivileged_server() {
    if !probe().root || part().is_some() {
        return;
    }
    let mut tests = again("", "unprivileged");
    let output = tests.uid(UNPRIVILEGED).gid(UNPRIVILEGED).current_dir("/").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("test result: ok") && !text.contains(" 0 passed"), "{text}");
}

// How the tests run things

/// Without namespaces, and with each kind that the machine offers.
fn worlds() -> impl Iterator<Item = Namespaces> {
    static OFFERED: LazyLock<Vec<Namespaces>> = LazyLock::new(|| {
        [Namespaces::Root, Namespaces::User]
            .into_iter()
            .filter(|kind| enforce::attempt(*kind, None, None).is_ok())
            .collect()
    });
    [Namespaces::None].into_iter().chain(OFFERED.iter().copied())
}

/// Whether a session in these namespaces can have its own view of the file system.
fn has_mounts(world: Namespaces) -> bool {
    static ROOT: LazyLock<bool> = LazyLock::new(|| can_mount(Namespaces::Root));
    static USER: LazyLock<bool> = LazyLock::new(|| can_mount(Namespaces::User));
    match world {
        Namespaces::Root => *ROOT,
        Namespaces::User => *USER,
        Namespaces::None => false,
    }
}

fn can_mount(world: Namespaces) -> bool {
    enforce::attempt(world, Some(mounts::trial()), None).is_ok()
}

fn each_world(test: impl FnMut(Namespaces)) {
    worlds().for_each(test);
}

/// A directory with a part that sessions may change, `work`, and one that they may not touch, `outside`.
struct Place {
    directory: tempfile::TempDir,
    paths: [String; 3],
}

struct Ran {
    ending: Ending,
    output: String,
}

impl Place {
    fn new() -> Self {
        Self::below("/var/tmp")
    }

    fn below(parent: &str) -> Self {
        let directory = tempfile::tempdir_in(parent).unwrap();
        let paths = ["work", "outside", "link"].map(|name| {
            let parent = directory.path().canonicalize().unwrap();
            parent.join(name).to_str().unwrap().to_owned()
        });
        let [work, outside, _] = &paths;
        for directory in [work, outside] {
            std::fs::create_dir(directory).unwrap();
        }
        std::fs::write(Path::new(work).join("given"), "given\n").unwrap();
        std::fs::write(Path::new(outside).join("file"), "secret\n").unwrap();
        std::fs::copy("/usr/bin/true", Path::new(outside).join("program")).unwrap();
        Self { directory, paths }
    }

    fn path(&self, name: &str) -> &str {
        self.paths.iter().find(|path| path.ends_with(name)).unwrap()
    }

    fn plan(&self) -> SandboxPlan {
        let rule = |path: &str, rights, optional| PathRule { path: path.into(), rights, optional };
        let (read, run) = (Rights::READ, Rights::READ | Rights::EXECUTE);
        SandboxPlan {
            rules: vec![
                rule("/usr", run, false),
                rule("/lib", run, !Path::new("/lib").is_symlink()),
                rule("/etc/ld.so.cache", read, true),
                rule("/etc/passwd", read, true),
                rule("/proc", read, false),
                rule("/dev/null", read | Rights::WRITE, false),
                rule("/dev/zero", read, false),
                rule(self.path("work"), read | Rights::MOVE, false),
            ]
            .into_iter()
            .filter(|rule| !rule.path.is_symlink())
            .collect(),
            masks: Vec::new(),
            instead: None,
            blank: Vec::new(),
            stand_ins: None,
            written: Vec::new(),
            searched: true,
            scratch: Rights::NONE,
            loopback: false,
            network: false,
            limits: Limits {
                processes: Some(30),
                file_size: Some(1 << 20),
                open_files: Some(200),
                ..Limits::default()
            },
            level: Level::Default,
        }
    }

    /// Bash, its stderr going where its stdout goes.
    fn bash(&self, script: &str, stdout: impl Into<OwnedFd>) -> Launch {
        let stdout = stdout.into();
        Launch {
            program: "/usr/bin/bash".into(),
            argv: ["bash", "-c", script].map(OsString::from).into(),
            env: vec![("LC_ALL".into(), "C.UTF-8".into()), ("NAME".into(), "a value".into())],
            cwd: self.path("work").into(),
            stdin: File::open("/dev/null").unwrap().into(),
            stderr: stdout.try_clone().unwrap(),
            stdout,
            extra: Vec::new(),
            controlling_terminal: None,
        }
    }

    fn start(&self, world: Namespaces, launch: Launch) -> Result<Process, SandboxError> {
        spawn(prepare_in(world, has_mounts(world), &self.plan(), launch)?)
    }

    fn run(&self, world: Namespaces, script: &str) -> Ran {
        let script = script.replace("$W", self.path("work")).replace("$O", self.path("outside"));
        self.collect(world, |stdout| self.bash(&script, stdout))
    }

    fn python(&self, world: Namespaces, expression: &str) -> Ran {
        let server = std::process::id().to_string();
        let argv = ["python3", "-c", PRELUDE, expression, &server].map(OsString::from);
        self.collect(world, |stdout| Launch {
            program: "/usr/bin/python3".into(),
            argv: argv.into(),
            ..self.bash("", stdout)
        })
    }

    fn collect(&self, world: Namespaces, launch: impl FnOnce(OwnedFd) -> Launch) -> Ran {
        let (output, stdout) = pipe();
        let process = self.start(world, launch(stdout.into())).unwrap();
        let output = read(output);
        Ran { ending: finish(&process), output }
    }
}

fn pipe() -> (OwnedFd, File) {
    let (reading, writing) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    (reading, writing.into())
}

fn read(pipe: OwnedFd) -> String {
    let mut text = String::new();
    File::from(pipe).read_to_string(&mut text).unwrap();
    text
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn finish(process: &Process) -> Ending {
    runtime().block_on(process.wait()).unwrap()
}

/// Whether the other end of the pipe is closed or the process has ended, now or soon.
fn becomes_readable(descriptor: &OwnedFd) -> bool {
    let patience = Timespec { tv_sec: 20, tv_nsec: 0 };
    poll(&mut [PollFd::new(&descriptor.as_fd(), PollFlags::IN)], Some(&patience)).unwrap() > 0
}

/// Whether it does so, now or soon; for what no descriptor tells of.
fn comes_true(mut condition: impl FnMut() -> bool) -> bool {
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while std::time::Instant::now() < until {
        if condition() {
            return true;
        }
        std::thread::yield_now();
    }
    false
}
