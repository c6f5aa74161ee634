//! The pipes that a shell keeps are another command's only when nobody else can write to them.

use super::Bare;
use crate::shell::{End, ShellLoss};
use crate::transport::local::output_pipes::Keeping;

impl Bare {
    fn keeps_its_pair(&self) -> bool {
        matches!(self.shell.as_ref().unwrap().keeping, Keeping::Free(_))
    }

    fn names(&self) -> usize {
        std::fs::read_dir(self.shell.as_ref().unwrap().directory.pipes()).unwrap().count()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_goes_from_command_to_command_and_has_no_name() {
    let mut shell = Bare::start().await;
    let pair = "readlink /proc/self/fd/1 /proc/self/fd/2";
    let first = shell.run(pair).await.stdout;
    assert_eq!((first.matches("pipe:").count(), shell.names()), (2, 0), "{first}");
    for script in ["echo out; echo err >&2; exec 5>&1", "head -c 3000000 /dev/zero", "echo out > /dev/stdout", "false"]
    {
        shell.run(script).await;
        assert!(shell.keeps_its_pair(), "{script}");
        assert_eq!(shell.run(pair).await.stdout, first, "{script}");
    }
    assert_eq!(shell.run("ls /proc/self/fd").await.stdout.split_whitespace().count(), 5, "it has 0 to 3 and its own 5");
}

/// What is left running has its command's pipes for good; the next commands have others, and keep some once it is gone.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_running_has_its_pipes_for_itself() {
    let mut shell = Bare::start().await;
    let started = shell.run("(sleep 0.4; echo LATE; echo LATE >&2; echo ran > late) & true").await;
    assert_eq!((started.stdout.as_str(), shell.keeps_its_pair()), ("", false));
    for _ in 0..20 {
        let result = shell.run("sleep 0.05; echo next").await;
        assert_eq!((result.stdout.as_str(), result.stderr.as_str()), ("next\n", ""));
    }
    assert_eq!(shell.run("cat late").await.stdout, "ran\n");
    assert_eq!((shell.keeps_its_pair(), shell.names()), (true, 0));
}

/// A process that comes and goes between two commands can leave something in the pipes.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_trap_writes_between_commands_is_not_the_next_ones() {
    let mut shell = Bare::start().await;
    shell.run("trap 'echo trapped >&200; echo trapped >&201; (echo trapped >&200)' DEBUG").await;
    shell.run("trap - DEBUG").await;
    let next = shell.run("echo next").await;
    assert_eq!((next.stdout.as_str(), next.stderr.as_str()), ("next\n", ""));
    assert!(shell.keeps_its_pair());
}

/// Whatever a command does to the descriptors that it can reach, the next one's output comes, or the session says that it
/// is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_shell_whose_pipes_were_taken_away_is_not_believed() {
    for script in [
        "exec 200>&- 201>&-",
        "exec 200>/dev/null 201>/dev/null",
        "for n in {3..254}; do eval \"exec $n>&-\"; done",
        "for n in {10..40}; do eval \"exec $n>/dev/null\"; done",
        "for n in {10..40}; do [[ -e /proc/$$/fd/$n ]] && eval \"exec $n>other\"; done",
        "for n in {10..40}; do [[ -e /proc/$$/fd/$n ]] && eval \"exec $n>&1\"; done",
        "set -C",
        "set -r",
        "ulimit -n 20",
        "ulimit -n 11",
        "ulimit -n 6",
    ] {
        for next in ["(sleep 0.1 &); echo out; echo err >&2; false", "echo out; echo err >&2; (exit 1)"] {
            let mut shell = Bare::start().await;
            let mut result = shell.run(script).await;
            for _ in 0..3 {
                if result.lost.is_some() {
                    break;
                }
                result = shell.run(next).await;
                let told = (result.end, result.stdout.as_str(), result.stderr.lines().last());
                assert!(
                    result.lost.is_some() || told == (End::Status(1), "out\n", Some("err")) || told.1.is_empty(),
                    "{script}; {next}: {result:?}"
                );
                // Without a descriptor to spare there is no pipe and no fork, and bash says so.
                assert!(
                    result.lost.is_some() || !told.1.is_empty() || !result.stderr.is_empty(),
                    "{script}: {result:?}"
                );
            }
        }
    }
}

/// A command that fails without a word has run, or the session is lost: a shell that cannot turn its streams cannot say
/// that anywhere.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_failure_is_the_commands_own() {
    let mut shell = Bare::start().await;
    let failed = shell.run("(exit 3)").await;
    assert_eq!((failed.end, failed.lost), (End::Status(3), None));
    assert!(shell.keeps_its_pair());
    assert_eq!(shell.run("echo $?").await.stdout, "3\n");

    // Just before a command turns its streams to the pair, it is gone.
    shell.run("trap 'case $BASH_COMMAND in *builtin?eval*) exec 200>&- 201>&-; esac' DEBUG").await;
    let failed = shell.run("(exit 3)").await;
    assert_eq!((failed.end, failed.lost), (End::Unknown, Some(ShellLoss::Unheard)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_that_runs_code_between_its_commands_keeps_nothing() {
    let mut shell = Bare::start().await;
    shell.run("sleep 0.2 & true").await;
    shell.shell.as_mut().unwrap().keep_nothing();
    for _ in 0..2 {
        let pipes = shell.run("wait; readlink /proc/self/fd/1").await;
        assert!(pipes.lost.is_none() && !pipes.stdout.contains("pipe:"), "{pipes:?}");
    }
    shell.is_well("that").await;
}
