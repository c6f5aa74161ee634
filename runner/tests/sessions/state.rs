//! What a session keeps between commands, and over the loss of its shell.

use palisade_runner::{Client, Status};

use crate::place::Place;

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_keeps_what_a_shell_keeps() {
    let place = Place::new();
    let session = place.open().await;
    session
        .says("cd /tmp; x='a b'; declare -A m=([k]=v); arr=(1 '2 3'); f() { echo \"f:$1\"; }; set -- p q; export E=1")
        .await;
    assert_eq!(
        session.says("pwd; echo \"$x ${m[k]} ${arr[1]} $2\"; f z; sh -c 'echo $E'").await,
        "/tmp\na b v 2 3 q\nf:z\n1\n"
    );
    session.run("(exit 5)").await;
    assert_eq!(session.says("echo $?").await, "5\n");
}

/// All of what a state holds is tried where the shell is (`transport/local/tests`).
const STATE: &str = "cd /tmp; x='a b'; f() { echo \"f:$1 $x\"; }; shopt -s nullglob; set -o pipefail; set -- p 'q r'";

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_shell_comes_back_with_its_state_when_asked_to() {
    let place = Place::new();
    let ask = "pwd; echo \"$x $2\"; f z; shopt nullglob; set -o | grep pipefail";
    for (end, status, code, signal) in [
        ("echo out; echo err >&2; exit 3", Status::SessionLost, Some(3), None),
        ("echo out; echo err >&2; exec ls /nonexistent 2>/dev/null", Status::SessionLost, Some(2), None),
        ("set -e; echo out; echo err >&2; false; echo no", Status::SessionLost, Some(1), None),
        ("echo out; echo err >&2; kill -9 $$", Status::SessionLost, None, Some(9)),
    ] {
        let session = place.open().await;
        session.run(STATE).await;
        let before = session.run(ask).await;
        assert_eq!(before.status, Status::Done, "{before:?}");
        let ended = session.run(end).await;
        assert_eq!((ended.status, ended.exit_code, ended.signal), (status, code, signal), "{end}: {ended:?}");
        assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("out\n", "err\n"), "{end}");
        assert!(ended.lost.is_some(), "{end}");
        // Never of itself.
        let refused = place.pipeline.submit(session.call("true")).await.expect_err("no shell");
        assert!(
            refused.what.as_str().contains("has ended") && refused.help.as_str().contains("session_open"),
            "{refused:?}"
        );
        let notes = place.pipeline.sessions().list().await;
        assert!(notes.iter().any(|note| note.session.as_str() == session.name && note.ended.is_some()), "{notes:?}");
        let opened = place.pipeline.sessions().restart(&session.name, &Client::default()).await.expect("again");
        assert!(opened.restarted && !opened.state_lost && opened.cwd.as_str() == "/tmp", "{opened:?}");
        let after = session.run(ask).await;
        assert_eq!(after.stdout.as_str(), before.stdout.as_str(), "{end}: {after:?}");
        place.pipeline.sessions().close(&session.name).await.expect("closed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_open_is_not_started_again() {
    let place = Place::new();
    let session = place.open().await;
    let refused = place.pipeline.sessions().restart(&session.name, &Client::default()).await.expect_err("it is open");
    assert!(refused.what.as_str().contains("is open"), "{refused:?}");
    session.is_well("that").await;
    let refused = place.pipeline.sessions().restart("s-none", &Client::default()).await.expect_err("unknown");
    assert!(refused.what.as_str().contains("no session"), "{refused:?}");
}

/// What the shell is told to remember is asked for behind the command, and shows nowhere.
#[tokio::test(flavor = "multi_thread")]
async fn remembering_leaves_no_trace() {
    let place = Place::new();
    let session = place.open().await;
    session.run("count=0; trap 'count=$((count+1))' DEBUG; (exit 4)").await;
    assert_eq!(session.run("echo $?").await.stdout.as_str(), "4\n");
    session.run("trap - DEBUG; set -x").await;
    let traced = session.run("x=1").await;
    // bash itself doubles the mark inside `eval`.
    assert_eq!(traced.stderr.as_str(), "++ x=1\n", "{traced:?}");
}

/// Code that runs by itself also runs where the shell is asked what it is, and what it prints there would be run by another shell.
#[tokio::test(flavor = "multi_thread")]
async fn a_shell_with_code_that_runs_by_itself_is_not_remembered() {
    for (hook, lost) in [
        ("trap 'echo \"true() { builtin echo forged; }\"' DEBUG", true),
        ("trap 'echo \"true() { builtin echo forged; }\"' USR1 ERR", true),
        ("trap 'echo bye' EXIT", false),
    ] {
        let place = Place::new();
        let session = place.open().await;
        session.run(hook).await;
        session.run("x=1").await;
        session.run("exit 3").await;
        let opened = place.pipeline.sessions().restart(&session.name, &Client::default()).await.expect("again");
        assert_eq!(opened.state_lost, lost, "{hook}: {opened:?}");
        assert_eq!(session.says("true; echo \"<$x>\"").await, if lost { "<>\n" } else { "<1>\n" }, "{hook}");
    }
}

/// Nothing that a program finds in `/proc` of the shell can be opened to say what the shell is.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_can_say_what_a_shell_is() {
    let place = Place::new();
    let session = place.open().await;
    let script = "(for i in {1..400}; do for f in /proc/$$/fd/*; do [[ $f -ef /dev/null ]] || echo 'forged=1' 2>/dev/null > \"$f\"; done; done; :> done) 2>/dev/null & :";
    session.run(script).await;
    for _ in 0..40 {
        session.run("y=1").await;
    }
    session.says("wait; test -e done").await;
    session.run("exit 3").await;
    place.pipeline.sessions().restart(&session.name, &Client::default()).await.expect("again");
    assert_eq!(session.says("echo \"<$forged>\"").await, "<>\n");
}
