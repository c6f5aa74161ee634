//! How commands and sessions end: in time, whole, and with a session that can be used again.

use std::time::{Duration, Instant};

use palisade_runner::{Call, Status, Stop};
use tokio::sync::watch;

use crate::place::{POLICY, Place, gone, processes};

const SECOND: Duration = Duration::from_secs(1);

/// A mark that no other process of this machine has among its arguments.
fn mark(name: &str) -> String {
    format!("{}{}", std::process::id(), name)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_ends_the_command_and_leaves_the_session() {
    let place = Place::new();
    let session = place.open().await;
    session.says("cd /tmp; x=kept; f() { echo \"f $x\"; }").await;
    for script in [
        "sleep 61",
        "while :; do :; done",
        "sleep 61; echo not reached",
        "sleep 61 | cat",
        "(trap '' INT; sleep 61)",
        "trap '' INT; sleep 61; trap - INT",
        "sleep 61 & sleep 61 & wait",
        "setsid sleep 61; nohup sleep 61 & (setsid sleep 61 &) ; sleep 61",
        "/usr/bin/python3 -c 'import signal, time; signal.signal(2, signal.SIG_IGN); time.sleep(61)'",
        "f() { f2; }; f2() { sleep 61; }; f",
        "read -r y < <(sleep 61)",
        "cat <(sleep 61)",
        "yes >/dev/null",
    ] {
        let started = Instant::now();
        let result = session.within(SECOND / 5, script).await;
        assert_eq!(result.status, Status::TimedOut, "{script}: {result:?}");
        assert!(result.lost.is_none(), "{script}: {result:?}");
        assert!(result.duration < Duration::from_millis(1500), "{script}: {:?}", result.duration);
        assert!(started.elapsed() < Duration::from_secs(5), "{script}");
        session.is_well(script).await;
        assert!(
            session.says("ps -eo args 2>/dev/null | grep -c '[s]leep 61' || true").await.starts_with('0'),
            "{script}"
        );
    }
    assert_eq!(session.says("pwd; echo $x").await, "/tmp\nkept\n");
}

/// Bash in a session believes to be somebody's, and would put the modes of a terminal back that it has not.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_signal_ends_is_no_reason_to_complain() {
    let place = Place::new();
    let session = place.open().await;
    for (script, stdout) in [
        ("yes | head -1", "y\n"),
        ("seq 1 1000000 | head -1; echo on", "1\non\n"),
        ("(yes | head -1) | cat; f() { yes | head -1; }; f", "y\ny\n"),
        ("timeout -s KILL 0.1 sleep 61 || true", ""),
    ] {
        let result = session.run(script).await;
        assert_eq!((result.stdout.as_str(), result.stderr.as_str()), (stdout, ""), "{script}");
        assert_eq!((result.status, result.exit_code), (Status::Done, Some(0)), "{script}");
    }
}

/// One whose shell does not let itself be interrupted is ended with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_shell_that_cannot_be_interrupted_is_killed_in_time() {
    let place = Place::new();
    let session = place.open().await;
    let result = session.within(SECOND / 5, "echo so far; trap '' INT; while :; do :; done").await;
    assert_eq!((result.status, result.stdout.as_str()), (Status::TimedOut, "so far\n"));
    assert!(result.lost.as_ref().is_some_and(|lost| lost.as_str().contains("did not stop")), "{result:?}");
    assert!(result.duration < Duration::from_millis(2000), "{:?}", result.duration);
}

#[tokio::test(flavor = "multi_thread")]
async fn background_work_of_earlier_commands_outlives_a_deadline() {
    let place = Place::new();
    let session = place.open().await;
    let mark = mark("01");
    session.says(&format!("sleep {mark} >/dev/null 2>&1 & true")).await;
    let result = session.within(SECOND / 5, "sleep 61").await;
    assert_eq!(result.status, Status::TimedOut);
    assert_eq!(processes(&format!("sleep {mark}")).len(), 1);
    place.pipeline.sessions().close(&session.name).await.expect("closed");
    gone(&format!("sleep {mark}"), SECOND).await;
}

/// The race of a signal with the command's own end: none of these may lose a byte of the next command.
#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_at_the_end_of_a_command_confuses_nothing() {
    let place = Place::new();
    let mut session = place.open().await;
    let mut lost = 0;
    for round in 0_u64..1000 {
        let timeout = Duration::from_micros(1500 + round * 7 % 3000);
        let result = session.within(timeout, "sleep 0.002; x=1").await;
        assert!(matches!(result.status, Status::Done | Status::TimedOut | Status::SessionLost), "{result:?}");
        if result.lost.is_some() {
            lost += 1;
            session = place.open().await;
        }
        let next = session.run(&format!("echo {round}")).await;
        assert_eq!(
            (next.status, next.stdout.as_str(), next.stderr.as_str()),
            (Status::Done, format!("{round}\n").as_str(), "")
        );
    }
    assert_eq!(lost, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_ends_the_command_and_leaves_the_session() {
    let place = Place::new();
    let session = place.open().await;
    let (switch, off) = watch::channel(false);
    let mut stop = Stop::default();
    stop.listen(off);
    let call = Call { stop, ..session.call("sleep 61 & sleep 61") };
    let cancel = async {
        tokio::time::sleep(SECOND / 5).await;
        switch.send_replace(true);
    };
    let (result, ()) = tokio::join!(place.submit(call), cancel);
    assert_eq!(result.status, Status::Cancelled, "{result:?}");
    assert!(result.lost.is_none());
    session.is_well("a cancel").await;
}

/// A client that is gone without a word: nobody waits for the result any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_dropped_ends_its_command() {
    let place = Place::new();
    let mark = mark("02");
    let call = Call { script: format!("sleep {mark}").into(), ..Call::default() };
    let dropped = tokio::time::timeout(SECOND, place.submit(call)).await;
    assert!(dropped.is_err());
    gone(&format!("sleep {mark}"), 2 * SECOND).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_outlives_a_session() {
    let place = Place::new();
    let mark = mark("03");
    let sleepers = format!(
        "sleep {mark} & setsid sleep {mark} & setsid -f sh -c 'sleep {mark} & wait'; (trap '' TERM INT HUP; sleep {mark}) & \
         nohup sleep {mark} & (setsid sh -c 'sleep {mark} &' &) ; sleep 0.2"
    );
    let session = place.open().await;
    session.run(&sleepers).await;
    assert!(processes(&format!("sleep {mark}")).len() >= 6);
    place.pipeline.sessions().close(&session.name).await.expect("closed");
    gone(&format!("sleep {mark}"), SECOND).await;
    // One without a session ends with its command.
    place.alone(&sleepers).await;
    gone(&format!("sleep {mark}"), SECOND).await;
    let session = place.open().await;
    session.run(&sleepers).await;
    place.pipeline.shut_down().await.expect("shut down");
    gone(&format!("sleep {mark}"), SECOND).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_nobody_uses_ends() {
    let place = Place::with(POLICY, |settings| settings.idle = SECOND);
    let session = place.open().await;
    let pipeline = std::sync::Arc::clone(&place.pipeline);
    let house = tokio::spawn(async move { pipeline.keep_house().await });
    session.is_well("opening").await;
    // One that is at work is in use.
    session.says("sleep 2").await;
    session.is_well("work").await;
    tokio::time::sleep(2 * SECOND).await;
    assert!(place.pipeline.submit(session.call("true")).await.is_err());
    let closed = place.record().into_iter().filter(|line| line["kind"] == "close").collect::<Vec<_>>();
    assert!(matches!(closed.as_slice(), [line] if line["reason"] == "idle"), "{closed:?}");
    house.abort();
}

/// However much it is used.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_too_old_ends() {
    let place = Place::with(POLICY, |settings| (settings.idle, settings.lifetime) = (5 * SECOND, Some(2 * SECOND)));
    let begun = std::time::Instant::now();
    let session = place.open().await;
    let pipeline = std::sync::Arc::clone(&place.pipeline);
    let house = tokio::spawn(async move { pipeline.keep_house().await });
    while place.pipeline.submit(session.call("true")).await.is_ok() {
        assert!(begun.elapsed() < 20 * SECOND, "it still runs commands");
        tokio::time::sleep(SECOND / 10).await;
    }
    assert!(begun.elapsed() >= 2 * SECOND, "it ended after {:?}", begun.elapsed());
    // Its end is on record soon after it.
    while !place.record().iter().any(|line| line["kind"] == "close" && line["session"] == session.name.as_str()) {
        assert!(begun.elapsed() < 40 * SECOND, "its end is not on record");
        tokio::time::sleep(SECOND / 50).await;
    }
    house.abort();
}

/// What runs when the server ends is on record before the server's own end, and so is how it ended.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_on_record_behind_a_servers_end() {
    let place = Place::new();
    let session = place.open().await;
    let alone = Call { script: b"sleep 30".to_vec(), ..Call::default() };
    let running = [session.call("sleep 30"), alone].map(|call| {
        let pipeline = std::sync::Arc::clone(&place.pipeline);
        tokio::spawn(async move { pipeline.submit(call).await.map(drop) })
    });
    while place.record().iter().filter(|line| line["kind"] == "decision").count() < 2 {
        tokio::time::sleep(SECOND / 50).await;
    }
    place.pipeline.shut_down().await.expect("shut down");
    for call in running {
        call.await.expect("no panic").expect("it ran until the server ended");
    }
    let kinds: Vec<String> = place.record().iter().map(|line| line["kind"].to_string()).collect();
    assert_eq!(kinds.iter().filter(|kind| *kind == "\"outcome\"").count(), 2, "{kinds:?}");
    assert_eq!(kinds.last().map(String::as_str), Some("\"stop\""), "{kinds:?}");
}

/// Also what is decided at the same moment: its decision and its end are both on record, or neither.
#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn what_is_decided_while_a_server_ends_is_on_record_with_its_end() {
    for _ in 0..4 {
        let place = Place::new();
        let calls = (0..4).map(|_| {
            let pipeline = std::sync::Arc::clone(&place.pipeline);
            tokio::spawn(async move {
                let mut ran = 0;
                while pipeline.submit(Call { script: b"true".to_vec(), ..Call::default() }).await.is_ok() {
                    ran += 1;
                }
                ran
            })
        });
        let calls = calls.collect::<Vec<_>>();
        while !place.record().iter().any(|line| line["kind"] == "outcome") {
            tokio::time::sleep(SECOND / 50).await;
        }
        place.pipeline.shut_down().await.expect("shut down");
        let mut ran = 0;
        for call in calls {
            ran += call.await.expect("no panic");
        }
        let record = place.record();
        let count = |kind: &str| record.iter().filter(|line| line["kind"] == kind).count();
        assert_eq!(count("decision"), count("outcome"), "{record:?}");
        assert_eq!(count("outcome"), ran, "{record:?}");
        assert_eq!(record.last().expect("a record")["kind"], "stop");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_to_one_session_keep_their_order() {
    let place = Place::new();
    let session = place.open().await;
    let calls = (0..20).map(|number| place.submit(session.call(&format!("echo {number} >> order; sleep 0.01"))));
    let mut set = Vec::new();
    for call in calls {
        set.push(call);
    }
    for call in set {
        call.await;
    }
    let expected = (0..20).map(|number| format!("{number}\n")).collect::<String>();
    assert_eq!(session.says("cat order").await, expected);
}
