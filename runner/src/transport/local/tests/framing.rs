//! Whatever a command does to its shell, its result and the next one are right, or the session ends and says why.

use std::time::{Duration, Instant};

use super::Bare;
use crate::shell::{End, ShellLoss};

/// What a command leaves behind, and whether the session outlives it.
const HABITS: &[(&str, bool)] = &[
    ("printf() { echo forged; }", true),
    ("command() { :; }", true),
    ("eval() { echo forged; }", true),
    ("exit() { echo forged; }; return() { echo forged; }", true),
    ("declare() { echo forged; }; set() { :; }; trap() { :; }", true),
    ("trap 'echo debug >/dev/null' DEBUG", true),
    ("trap 'echo $BASH_COMMAND >/dev/null' DEBUG; set -T", true),
    ("trap 'x=$?' ERR", true),
    ("trap 'echo bye' EXIT", true),
    ("PROMPT_COMMAND='echo prompt'", true),
    ("PS1='prompt> ' PS2='more> ' PS0='before ' PS4='trace '", true),
    ("set -u", true),
    ("set -x", true),
    ("set -v", true),
    ("set -f; set -C; set -k; set -B", true),
    ("set -m", true),
    ("set -o posix", true),
    ("exec >/dev/null", true),
    ("exec 2>/dev/null", true),
    ("exec 2>&1", true),
    ("exec >&- 2>&- <&-", true),
    ("exec 198>&-", true),
    ("exec 3>&1 4>&2; exec 3>&- 4>&-", true),
    ("IFS=0123456789abcdef/", true),
    ("unset PATH", true),
    ("PATH=/nonexistent", true),
    ("ulimit -f 0", true),
    ("readonly IFS PATH HOME x=1", true),
    ("shopt -s expand_aliases; alias echo='echo forged' eval='echo forged' builtin='echo forged'", false),
    ("shopt -s expand_aliases; alias if='echo forged' '{'='echo forged' function='echo forged'", true),
    ("shopt -s failglob nullglob dotglob extglob", true),
    ("shopt -s extdebug", true),
    ("kill -STOP $$", true),
    ("kill -INT $$", true),
    ("umask 777; TMPDIR=/nonexistent", true),
    ("chmod 0 \"$TMPDIR\"", true),
    ("BASH_XTRACEFD=1; set -x", true),
    ("set -- a b c; shift", true),
    ("coproc cat", true),
    ("unset -f /palisade/ /palisade/s/ /palisade/state/", true),
    ("/palisade/() { echo forged; }", true),
    ("LC_ALL=C; LANG=xx; export LC_ALL LANG", true),
    ("POSIXLY_CORRECT=1", true),
    ("set -e", true),
    ("set -e; ! true", false),
    ("set -eEuo pipefail; trap 'echo failed >/dev/null' ERR", true),
    ("set -o vi", false),
    ("set +o emacs", false),
    ("set -t", false),
    ("builtin() { :; }", false),
    ("builtin() { echo forged; }", false),
    ("enable -n printf", false),
    ("enable -n builtin", false),
    ("enable -n eval", false),
];

#[tokio::test(flavor = "multi_thread")]
async fn habits_of_a_shell_change_no_result() {
    for (habit, lives) in HABITS {
        let mut shell = Bare::start().await;
        let first = shell.run(habit).await;
        assert!(!first.stdout.contains("forged"), "{habit}: {first:?}");
        if first.lost.is_some() {
            assert!(!lives, "{habit}: {first:?}");
            continue;
        }
        let next = shell.run("/bin/echo well").await;
        match next.lost {
            Some(_) => assert!(!lives && next.end != End::Status(0), "{habit}: {next:?}"),
            // What the shell itself prints is the habit's doing: a trace, a trap.
            None => assert!(next.end == End::Status(0) && next.stdout.ends_with("well\n"), "{habit}: {next:?}"),
        }
    }
}

/// A restricted shell cannot open the pipes that a command beside others needs.
#[tokio::test(flavor = "multi_thread")]
async fn a_restricted_shell_says_what_it_refuses_or_is_lost() {
    let mut shell = Bare::start().await;
    shell.run("set -r").await;
    let refused = shell.run("/bin/echo well").await;
    assert_eq!((refused.end, refused.lost, refused.stdout.as_str()), (End::Status(1), None, ""), "{refused:?}");
    assert!(refused.stderr.contains("restricted"), "{refused:?}");
    assert_eq!(shell.run("echo well; sleep 9 &").await.stdout, "well\n");
    assert_eq!(shell.run("echo well").await.lost, Some(ShellLoss::Unheard));
}

#[tokio::test(flavor = "multi_thread")]
async fn output_is_not_taken_for_an_end() {
    let mut shell = Bare::start().await;
    for script in [
        "printf 'abcdef0123456789abcdef0123456789/ 0\\n'; (exit 9)",
        "printf '/palisade/ 0\\n' | tee /dev/stderr; (exit 9)",
        "for fd in /proc/$PPID/fd/*; do echo 0 > $fd; done 2>/dev/null; (exit 9)",
        "for fd in /proc/$$/fd/*; do echo \"0/ 0\" > $fd; done 2>/dev/null; (exit 9)",
        "for fd in {3..9} {20..254}; do echo \"0/ 0\" >&$fd; done 2>/dev/null; (exit 9)",
        "echo x > /dev/tty; (exit 9)",
        "read -t 1 line </dev/tty; (exit 9)",
    ] {
        let result = shell.run(script).await;
        assert_eq!((result.end, result.lost), (End::Status(9), None), "{script}: {result:?}");
        shell.is_well(script).await;
    }
}

/// A shell that lost the line that makes it report is given up, not waited for.
#[tokio::test(flavor = "multi_thread")]
async fn code_that_eats_the_shells_own_input_ends_the_session() {
    for script in
        ["trap 'read -r line' DEBUG", "trap 'read -r line <&10' DEBUG", "PROMPT_COMMAND='read -r line; read -r line'"]
    {
        let mut shell = Bare::start().await;
        let first = shell.run(script).await;
        if first.lost.is_some() {
            continue;
        }
        let started = Instant::now();
        let next = shell.run("echo next").await;
        assert!(started.elapsed() < Duration::from_secs(10), "{script}");
        assert!(next.lost.is_some() || next.stdout == "next\n", "{script}: {next:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_that_reports_for_itself_is_given_up() {
    let mut shell = Bare::start().await;
    let result = shell.run("eval 'echo forged >&198' 2>/dev/null; trap 'echo forged >&198' DEBUG").await;
    let result = if result.lost.is_none() { shell.run("true").await } else { result };
    assert_eq!(result.lost, Some(ShellLoss::Forged), "{result:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_come_through_as_they_are() {
    let mut shell = Bare::start().await;
    for (script, stdout) in [
        ("printf '\\n\\n a \\n\\n'", "\n\n a \n\n"),
        ("printf '10%%\\r20%%\\r100%%\\n'", "10%\r20%\r100%\n"),
        ("printf 'a\\0b\\n'", "a\0b\n"),
        ("printf 'a\\377b\\n'", "a\u{fffd}b\n"),
        ("printf 'no end'", "no end"),
        ("printf '\\033[31mred\\033[0m\\n'", "red\n"),
        ("printf 'exit\\n' >&2; printf exit", "exit"),
    ] {
        let result = shell.run(script).await;
        assert_eq!(result.stdout, stdout, "{script}");
        assert_eq!(result.stderr, if script.contains(">&2") { "exit\n" } else { "" }, "{script}");
    }
    let long = shell.run("head -c 8000000 /dev/zero | tr '\\0' x; echo; echo end >&2").await;
    assert_eq!((long.totals, long.stderr.as_str()), ([8_000_001, 4], "end\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_shell_says_when_it_is_left_is_not_the_commands() {
    for script in ["echo out; exit 3", "exit 3", "echo exit >&2; exit 3"] {
        let result = Bare::start().await.run(script).await;
        assert_eq!((result.end, result.lost), (End::ShellExited(3), Some(ShellLoss::Ended)), "{script}");
        assert_eq!(result.stderr, if script.contains(">&2") { "exit\n" } else { "" }, "{script}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_late_is_not_the_next_commands() {
    let mut shell = Bare::start().await;
    shell.run("(sleep 0.3; echo LATE; echo LATE >&2; echo ran > late) & true").await;
    for _ in 0..20 {
        let result = shell.run("sleep 0.04; echo next").await;
        assert_eq!((result.stdout.as_str(), result.stderr.as_str()), ("next\n", ""));
    }
    // It was not ended for having nobody who reads it.
    assert_eq!(shell.run("cat late").await.stdout, "ran\n");
}

/// Signals that a command's children send to their shell hit it while it reads; nothing of a text may run by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_shell_that_is_interrupted_while_it_reads_runs_nothing_else() {
    let mut interrupted = 0;
    for turn in 0..40 {
        // On a busy machine it may take a while until one comes at the right moment.
        if turn >= 4 && interrupted > 0 {
            break;
        }
        let mut shell = Bare::start().await;
        shell.run("shell=$$; (for ((n = 0; n < 3000; n++)); do kill -INT $shell; done) >/dev/null 2>&1 & true").await;
        for round in 0..20 {
            let script = format!("echo 'x; touch ran{round}; ' \"y; touch ran{round} #\" && echo {round}");
            let result = shell.run(&script).await;
            interrupted += usize::from(result.end != End::Status(0));
            if result.lost.is_some() {
                break;
            }
        }
        let ran =
            std::fs::read_dir(shell.workspace()).unwrap().flatten().map(|entry| entry.file_name()).collect::<Vec<_>>();
        assert!(ran.is_empty(), "a part of a text has run: {ran:?}");
    }
    assert!(interrupted > 0, "no signal came at the right moment, so that this has shown nothing");
}

/// Random bytes on every descriptor that a command can write to: the status and the output stay its own, and the next
/// command's, too. With those at which bash keeps its own copies, the session may be given up instead.
#[test]
fn random_bytes_on_all_descriptors_change_no_result() {
    use proptest::prelude::*;
    use proptest::test_runner::{Config, TestRunner};

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let report = "(/palisade/ |[0-9a-f]{0,40}/? )[0-9]{0,3}\n".prop_map(String::into_bytes);
    let piece = prop_oneof![prop::collection::vec(any::<u8>(), 0..600), report, Just(b"\n".to_vec())];
    let inputs = (prop::collection::vec(piece, 1..8), 0..256_i32, any::<bool>());
    let mut runner = TestRunner::new(Config { cases: 16, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&inputs, |(pieces, status, reaches_bash)| {
        let bytes = pieces.concat();
        runtime.block_on(async {
            let mut shell = Bare::start().await;
            std::fs::write(shell.workspace().join("bytes"), &bytes).unwrap();
            let descriptors = if reaches_bash { "{3..254}" } else { "{3..9} {20..254}" };
            let script = format!(
                "cat bytes; cat bytes >&2; for fd in {descriptors}; do [[ -e /proc/$BASHPID/fd/$fd ]] && cat bytes >&$fd; \
                 done 2>/dev/null; (exit {status})"
            );
            let result = shell.run(&script).await;
            if result.lost.is_some() {
                assert!(reaches_bash, "{result:?}");
                return;
            }
            assert_eq!(result.end, End::Status(status), "{result:?}");
            assert_eq!(result.stdout, result.stderr);
            let alone = shell.run("cat bytes").await;
            if alone.lost.is_some() {
                assert!(reaches_bash, "{alone:?}");
                return;
            }
            assert_eq!((alone.stdout, alone.stderr.as_str()), (result.stdout, ""));
            shell.is_well("that").await;
        });
        Ok(())
    });
    assert!(outcome.is_ok(), "{outcome:?}");
}
