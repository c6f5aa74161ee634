//! What passes a limit ends, with a reason, and neither the session nor the machine does with it.

use std::time::{Duration, Instant};

use palisade_runner::{Call, ExecResult, Status};
use palisade_sandbox::plan::Limits;

use crate::place::{POLICY, Place, gone};

const MEBIBYTE: u64 = 1 << 20;

fn place(limits: Limits) -> Place {
    Place::with(POLICY, |settings| settings.limits = limits)
}

fn limited(result: &ExecResult) -> Option<&'static str> {
    (result.status == Status::Limited).then_some(result.limit?.as_str())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bomb_ends_its_command_and_nothing_else() {
    let limits = Limits { processes: Some(80), memory: Some(200 * MEBIBYTE), ..Limits::default() };
    let place = place(limits);
    let session = place.open().await;
    session.says("x=kept; cd /tmp").await;
    let python = |code: &str| format!("/usr/bin/python3 -c '{code}'");
    let many =
        "import os,time\nfor _ in range(8):\n if os.fork()==0: x=bytearray(60<<20); time.sleep(71)\ntime.sleep(71)";
    for (script, limit) in [
        (python("x=bytearray(900<<20); import time; time.sleep(71)"), "memory"),
        (python("x=[]\nwhile True: x.append(bytearray(1<<20))"), "memory"),
        (python(many), "memory"),
        (python("import mmap,time; m=mmap.mmap(-1,600<<20); m.write(b\"x\"*(600<<20)); time.sleep(71)"), "memory"),
        ("for i in $(seq 300); do sleep 71 & done; wait; echo not reached".to_owned(), "processes"),
        // A shell that gets no time to hear of the interrupt may go on for a moment.
        ("b() { b | b & }; b; sleep 71".to_owned(), "processes"),
        (
            python(
                "import threading,time\nfor _ in range(300): threading.Thread(target=time.sleep,args=(71,)).start()",
            ),
            "processes",
        ),
        (python("import os\nwhile True:\n try: os.fork()\n except OSError: pass"), "processes"),
    ] {
        let result = session.within(Duration::from_secs(40), &script).await;
        assert_eq!(limited(&result), Some(limit), "{script}: {result:?}");
        assert!(!result.stdout.as_str().contains("not reached"), "{script}: {result:?}");
        assert!(result.lost.is_none(), "{script}: {result:?}");
        session.is_well(&script).await;
        assert_eq!(
            session.says("echo $x; pwd; ps -eo args 2>/dev/null | grep -c '[s]leep 71' || true").await,
            "kept\n/tmp\n0\n"
        );
    }
    let outcomes: Vec<_> = place.record().into_iter().filter(|entry| entry["kind"] == "outcome").collect();
    assert!(outcomes.iter().any(|entry| entry["exit"]["reason"] == "limit-memory"), "{outcomes:?}");
    assert!(outcomes.iter().any(|entry| entry["exit"]["reason"] == "limit-processes"), "{outcomes:?}");
}

/// Who is told may change; that it is ended does not.
#[tokio::test(flavor = "multi_thread")]
async fn short_commands_do_not_put_off_the_end_of_what_an_earlier_one_has_left() {
    let place = place(Limits { memory: Some(100 * MEBIBYTE), ..Limits::default() });
    let session = place.open().await;
    let lives = "kill -0 $! 2>/dev/null && echo lives";
    session.says("/usr/bin/python3 -c 'x=bytearray(300<<20); import time; time.sleep(72)' & true").await;
    let deadline = Instant::now() + Duration::from_secs(30);
    while session.within(Duration::from_secs(10), lives).await.stdout.as_str() == "lives\n" {
        assert!(Instant::now() < deadline, "it goes on");
    }
}

/// The server looks from time to time; between two looks the kernel bounds how many there can be, where it can.
#[tokio::test(flavor = "multi_thread")]
async fn a_bomb_cannot_grow_for_long() {
    let place = place(Limits { processes: Some(80), ..Limits::default() });
    let session = place.open().await;
    let offer = palisade_sandbox::probe();
    let own = session.says("cat /proc/sys/kernel/pid_max").await;
    let machine = std::fs::read_to_string("/proc/sys/kernel/pid_max").expect("the machine's own");
    let mut version = offer.kernel.split('.').map_while(|part| part.parse::<u32>().ok());
    let has_own = (version.next(), version.next()) >= (Some(6), Some(14)) && offer.root;
    assert_eq!(own, if has_own { "380\n".to_owned() } else { machine.clone() });
    assert_ne!(machine, "380\n");
}

/// What several processes share counts once, and what is only reserved does not.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_within_its_limits_is_left_alone() {
    let place = place(Limits { processes: Some(80), memory: Some(200 * MEBIBYTE), ..Limits::default() });
    let session = place.open().await;
    let shared = "import os,time\nx=bytearray(100<<20)\nfor _ in range(6):\n if os.fork()==0: time.sleep(0.5); os._exit(0)\nfor _ in range(6): os.wait()\nprint(len(x))";
    assert_eq!(session.says(&format!("/usr/bin/python3 -c '{shared}'")).await, "104857600\n");
    let reserved = "import mmap,time; m=mmap.mmap(-1,4<<30); time.sleep(0.5); print(len(m))";
    assert_eq!(session.says(&format!("/usr/bin/python3 -c '{reserved}'")).await, "4294967296\n");
    assert_eq!(session.says("for i in $(seq 20); do sleep 0.3 & done; wait; echo done").await, "done\n");
}

/// Each command has its own time, however long the session's others took; and one that tidies up may.
#[tokio::test(flavor = "multi_thread")]
async fn time_and_disks_count_for_each_command() {
    let temp = r#"@id("temp") permit(principal, action in [Action::"fileAccess", Action::"execute"], resource) when { resource in PathGroup::"temp" };"#;
    let limits = Limits { cpu: Some(Duration::from_secs(2)), disk: Some(8 * MEBIBYTE), ..Limits::default() };
    let place = Place::with(&format!("{POLICY}{temp}"), |settings| settings.limits = limits);
    let session = place.open().await;
    session.says("x=kept").await;
    let spin =
        |seconds: &str| format!("/usr/bin/python3 -c 'import time\nwhile time.process_time() < {seconds}: pass'");
    for _ in 0..3 {
        session.run(&spin("1.2")).await;
    }
    for script in [spin("9"), format!("{0} & {0} & wait", spin("1.5")), "while :; do :; done".to_owned()] {
        let result = session.within(Duration::from_secs(40), &script).await;
        assert_eq!(limited(&result), Some("cpu"), "{script}: {result:?}");
        assert!(result.lost.is_none(), "{script}: {result:?}");
        assert_eq!(session.says("echo $x").await, "kept\n");
    }
    let fill = "for i in 1 2 3; do head -c 4M /dev/zero > $TMPDIR/$i; done; sleep 71";
    let result = session.within(Duration::from_secs(40), fill).await;
    assert_eq!(limited(&result), Some("disk"), "{result:?}");
    assert_eq!(session.says("sleep 1; rm $TMPDIR/*; sleep 1; echo $x").await, "kept\n");
    session.is_well("a full directory").await;
    let reasons: Vec<_> = place.record().into_iter().filter(|entry| entry["kind"] == "outcome").collect();
    for reason in ["limit-cpu", "limit-disk"] {
        assert!(reasons.iter().any(|entry| entry["exit"]["reason"] == reason), "{reasons:?}");
    }
    let told = serde_json::to_value(
        &place.pipeline.sessions().open(None, &palisade_runner::Client::default()).await.expect("opened").sandbox,
    );
    let told = told.expect("JSON");
    assert_eq!(told["limits"], serde_json::json!(["cpu", "disk"]));
    assert_eq!(told["limits_held_by"], serde_json::json!({ "cpu": "kernel+server", "disk": "server" }));
}

/// The shell itself can be the one.
#[tokio::test(flavor = "multi_thread")]
async fn a_shell_that_passes_a_limit_is_ended_with_its_session() {
    let place = place(Limits { memory: Some(100 * MEBIBYTE), ..Limits::default() });
    let session = place.open().await;
    let result =
        session.within(Duration::from_secs(60), "trap '' INT; x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done").await;
    assert_eq!(limited(&result), Some("memory"), "{result:?}");
    assert!(result.lost.is_some(), "{result:?}");
}

/// What a command leaves behind may be the one, when nothing runs.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_in_the_background_is_ended_too() {
    let place = place(Limits { memory: Some(100 * MEBIBYTE), ..Limits::default() });
    let session = place.open().await;
    let mark = format!("{}-late", std::process::id());
    session.says(&format!("/usr/bin/python3 -c 'import time; time.sleep(1); x=bytearray(400<<20); time.sleep(71)' {mark} >/dev/null 2>&1 &")).await;
    gone(&mark, Duration::from_secs(20)).await;
    session.is_well("what was left").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_place_ends_the_command_with_a_hint() {
    let place = place(Limits {
        memory: Some(64 * MEBIBYTE),
        file_size: Some(8 * MEBIBYTE),
        open_files: Some(256),
        ..Limits::default()
    });
    let session = place.open().await;
    let result = session.run("head -c 20M /dev/zero > big").await;
    assert_ne!(result.exit_code, Some(0), "{result:?}");
    assert!(result.lost.is_none(), "{result:?}");
    let result = session.run("(trap '' XFSZ; head -c 20M /dev/zero > big)").await;
    assert!(result.hints.iter().any(|hint| hint.as_str().contains("file-size")), "{result:?}");
    let result = session.run("/usr/bin/python3 -c '[open(\"/dev/null\") for _ in range(300)]; x=[open(\"/dev/null\") for _ in range(100)]'").await;
    assert!(result.hints.iter().any(|hint| hint.as_str().contains("open-files")), "{result:?}");
    session.is_well("a file that is too large").await;
    if palisade_sandbox::probe().mounts {
        let fill =
            "for i in $(seq 40); do head -c 4M /dev/zero > /dev/shm/$i || break; done; ls /dev/shm | wc -l >&2; false";
        let result = session.within(Duration::from_secs(30), fill).await;
        assert!(result.hints.iter().any(|hint| hint.as_str().contains("/dev/shm")), "{result:?}");
        session.is_well("a full /dev/shm").await;
    }
    let other = place.submit(Call { script: b"head -c 4M /dev/zero | wc -c".to_vec(), ..Call::default() }).await;
    assert_eq!(other.stdout.as_str(), "4194304\n");
}
