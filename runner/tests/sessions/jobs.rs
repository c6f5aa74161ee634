//! Commands that outlive their call.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use palisade_engine::{Approval, Channel, Lasts};
use palisade_runner::{
    Call, Client, Cursor, Decision, DecisionNote, ExecResult, Failure, PendingAct, Reached, Reading, Refusal, Status,
};

use crate::place::{POLICY, Place, gone, processes};

const SECOND: Duration = Duration::from_secs(1);

fn job(result: &ExecResult) -> String {
    result.job.as_ref().map(ToString::to_string).unwrap_or_else(|| panic!("no job: {result:?}"))
}

/// What a job said to something that reached it.
fn reached(reached: Result<Reached, Failure>) -> ExecResult {
    match reached {
        Ok(Reached::Shown(result)) => *result,
        other => panic!("it did not reach the job: {other:?}"),
    }
}

/// What waits for a person's yes.
fn asked(reached: Result<Reached, Failure>) -> PendingAct {
    match reached {
        Ok(Reached::Ask(pending)) => *pending,
        other => panic!("nobody is asked: {other:?}"),
    }
}

fn refused(reached: Result<Reached, Failure>) -> Refusal {
    match reached {
        Ok(Reached::Refused(refusal)) => *refusal,
        other => panic!("it was not refused: {other:?}"),
    }
}

/// The policies that stood in the way.
fn policies(refusal: &Refusal) -> String {
    named(&refusal.decision)
}

fn named(decision: &DecisionNote) -> String {
    decision.policies.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

async fn read(place: &Place, job: &str, cursor: Option<&str>, wait: Duration) -> ExecResult {
    let cursor = cursor.map(|cursor| cursor.parse::<Cursor>().expect("a cursor"));
    place.pipeline.jobs().read(job, Reading { cursor, wait, ..Reading::default() }).await.expect("a reading")
}

/// Reads on until it ends; all that it printed.
async fn follow(place: &Place, job: &str) -> (ExecResult, String) {
    let (mut text, mut cursor) = (String::new(), None::<String>);
    loop {
        let result = read(place, job, cursor.as_deref(), 10 * SECOND).await;
        text.push_str(result.stdout.as_str());
        cursor = result.cursor.as_ref().map(ToString::to_string);
        if result.status != Status::Running {
            return (result, text);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_takes_longer_becomes_a_job() {
    let place = Place::new();
    let session = place.open().await;
    let call = Call { yields: Some(SECOND / 5), ..session.call("echo one; sleep 1; echo two; (exit 4)") };
    let first = place.submit(call).await;
    assert_eq!((first.status, first.exit_code, first.stdout.as_str()), (Status::Running, None, "one\n"));
    let job = job(&first);
    let busy = place.pipeline.submit(session.call("true")).await.expect_err("it is held");
    assert!(busy.what.as_str().contains(&job), "{busy:?}");
    let cursor = first.cursor.as_ref().map(ToString::to_string);
    let last = read(&place, &job, cursor.as_deref(), Duration::ZERO).await;
    assert_eq!((last.status, last.stdout.as_str()), (Status::Running, ""));
    let rest = read(&place, &job, cursor.as_deref(), 10 * SECOND).await;
    assert!(rest.stdout.as_str().starts_with("two"), "{rest:?}");
    let (done, _) = follow(&place, &job).await;
    assert_eq!((done.status, done.exit_code), (Status::Done, Some(4)));
    session.is_well("the job").await;
    let all = read(&place, &job, None, Duration::ZERO).await;
    assert_eq!(all.stdout.as_str(), "one\ntwo\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_from_the_beginning_leaves_its_session_free() {
    let place = Place::new();
    let session = place.open().await;
    session.says("cd /tmp; x=kept; f() { echo \"f $x\"; }").await;
    let call = Call { yields: Some(Duration::ZERO), ..session.call("pwd; f; cat; x=changed; exit 6") };
    let begun = place.submit(call).await;
    assert_eq!(begun.status, Status::Running, "{begun:?}");
    let job = job(&begun);
    session.is_well("starting a job").await;
    let client = Client::default();
    let wait = Reading { wait: 60 * SECOND, ..Reading::default() };
    let answer = reached(place.pipeline.jobs().write(&job, b"line\n", false, wait, &client).await);
    assert!(answer.stdout.as_str().contains("line"), "{answer:?}");
    let wait = Reading { wait: 60 * SECOND, ..Reading::default() };
    reached(place.pipeline.jobs().write(&job, b"last", true, wait, &client).await);
    let (done, _) = follow(&place, &job).await;
    assert_eq!((done.status, done.exit_code), (Status::Done, Some(6)));
    assert_eq!(read(&place, &job, None, Duration::ZERO).await.stdout.as_str(), "/tmp\nf kept\nline\nlast");
    assert_eq!(session.says("echo $x").await, "kept\n");
    let refused =
        place.pipeline.jobs().write(&job, b"x", false, Reading::default(), &client).await.expect_err("it has ended");
    assert!(refused.what.as_str().contains("has ended"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_waits_for_input_says_so() {
    let place = Place::new();
    for script in ["echo name?; read -r name; echo \"hello $name\"", "echo name?; head -n1 | sed 's/^/hello /'"] {
        let begun = place.submit(Call { script: script.into(), yields: Some(Duration::ZERO), ..Call::default() }).await;
        let job = job(&begun);
        let started = Instant::now();
        let mut result = read(&place, &job, None, 10 * SECOND).await;
        while !result.waiting_for_input {
            assert!(started.elapsed() < 60 * SECOND, "{result:?}");
            let cursor = result.cursor.as_ref().map(ToString::to_string);
            result = read(&place, &job, cursor.as_deref(), SECOND).await;
        }
        assert!(started.elapsed() >= SECOND, "it is given time to think");
        let wait = Reading { wait: 60 * SECOND, ..Reading::default() };
        reached(place.pipeline.jobs().write(&job, b"you\n", true, wait, &Client::default()).await);
        let (done, _) = follow(&place, &job).await;
        assert_eq!((done.status, done.waiting_for_input), (Status::Done, false));
        assert_eq!(read(&place, &job, None, Duration::ZERO).await.stdout.as_str(), "name?\nhello you\n");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_reach_the_whole_tree() {
    let place = Place::new();
    let client = Client::default();
    let mark = format!("{}04", std::process::id());
    for (script, signal, within) in [
        (format!("sleep {mark} & setsid sleep {mark} & sleep {mark}"), "TERM", 7 * SECOND),
        (format!("trap '' TERM; (trap '' TERM; sleep {mark}) & sleep {mark}"), "TERM", 8 * SECOND),
        (format!("trap '' INT TERM; sleep {mark} & setsid sleep {mark}; sleep {mark}"), "SIGKILL", 2 * SECOND),
        (format!("sleep {mark}"), "int", 2 * SECOND),
    ] {
        let begun =
            place.submit(Call { script: script.clone().into(), yields: Some(Duration::ZERO), ..Call::default() }).await;
        let job = job(&begun);
        while processes(&format!("sleep {mark}")).is_empty() {
            tokio::time::sleep(SECOND / 50).await;
        }
        let started = Instant::now();
        reached(place.pipeline.jobs().signal(&job, signal, None, &client).await);
        let (done, _) = follow(&place, &job).await;
        assert_ne!(done.status, Status::Running);
        assert!(started.elapsed() < within, "{script}: {:?}", started.elapsed());
        gone(&format!("sleep {mark}"), SECOND).await;
    }
    let begun = place
        .submit(Call {
            script: b"trap 'echo got it; exit 0' USR1; while :; do sleep 0.05; done".to_vec(),
            yields: Some(Duration::ZERO),
            ..Call::default()
        })
        .await;
    let refused =
        place.pipeline.jobs().signal(&job(&begun), "SIGNONE", None, &client).await.expect_err("no such signal");
    assert!(refused.help.as_str().contains("TERM"), "{refused:?}");
    reached(place.pipeline.jobs().signal(&job(&begun), "KILL", None, &client).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_an_end_to_jobs() {
    let place = Place::new();
    let mut jobs = Vec::new();
    for _ in 0..palisade_runner::MAX_JOBS {
        let begun =
            place.submit(Call { script: b"sleep 61".to_vec(), yields: Some(Duration::ZERO), ..Call::default() }).await;
        jobs.push(job(&begun));
    }
    let call = Call { script: b"true".to_vec(), yields: Some(Duration::ZERO), ..Call::default() };
    let refused = place.pipeline.submit(call).await.expect_err("one too many");
    assert!(refused.what.as_str().contains("20 jobs"), "{refused:?}");
    // One that is waited for runs all the same.
    assert_eq!(place.alone("echo still").await.stdout.as_str(), "still\n");
    assert_eq!(place.pipeline.jobs().list().len(), jobs.len());
    place.pipeline.shut_down().await.expect("shut down");
}

#[tokio::test(flavor = "multi_thread")]
async fn policy_decides_on_input_and_signals() {
    let policy = POLICY.to_owned()
        + r#"
@id("no-typing") forbid(principal, action == Action::"sendInput", resource) when { resource.interpreter };
@id("no-kill") forbid(principal, action == Action::"signal", resource) when { context.signal == Signal::"KILL" };
"#;
    let place = Place::with(&policy, |_| {});
    let client = Client::default();
    let start = async |script: &str| {
        job(&place.submit(Call { script: script.into(), yields: Some(Duration::ZERO), ..Call::default() }).await)
    };
    let plain = start("cat").await;
    reached(place.pipeline.jobs().write(&plain, b"text\n", false, Reading::default(), &client).await);
    let shell = start("bash").await;
    let code = refused(place.pipeline.jobs().write(&shell, b"echo hi\n", false, Reading::default(), &client).await);
    assert_eq!((code.explained.decision, policies(&code).as_str()), (Decision::Deny, "no-typing"), "{code:?}");
    let kill = refused(place.pipeline.jobs().signal(&plain, "KILL", None, &client).await);
    assert_eq!(policies(&kill), "no-kill", "{kill:?}");
    reached(place.pipeline.jobs().signal(&plain, "INT", None, &client).await);
    let kinds: Vec<String> = place
        .record()
        .iter()
        .filter(|line| line["kind"] == "input" || line["kind"] == "signal")
        .map(|line| format!("{} {}", line["kind"], line["effect"]))
        .collect();
    assert_eq!(kinds, ["\"input\" \"allow\"", "\"input\" \"deny\"", "\"signal\" \"deny\"", "\"signal\" \"allow\""]);
    place.pipeline.shut_down().await.expect("shut down");
}

/// What needs a person's yes is not written, and says so as a command does.
#[tokio::test(flavor = "multi_thread")]
async fn input_may_need_a_persons_yes() {
    let policy = POLICY.to_owned()
        + r#"
@id("ask-typing") forbid(principal, action == Action::"sendInput", resource) when { resource.interpreter } unless { context.approved };
@id("ask-hup") forbid(principal, action == Action::"signal", resource) when { context.signal == Signal::"HUP" } unless { context.approved };
@id("no-uname") forbid(principal, action == Action::"exec", resource in Program::"uname");
"#;
    let place = Place::with(&policy, |_| {});
    let client = Client::default();
    let call = Call { script: b"bash".to_vec(), yields: Some(Duration::ZERO), ..Call::default() };
    let shell = job(&place.submit(call).await);
    let hi = asked(place.pipeline.jobs().write(&shell, b"echo hi\n", false, Reading::default(), &client).await);
    assert_eq!((hi.explained().decision, named(hi.decision()).as_str()), (Decision::Ask, "ask-typing"), "{hi:?}");
    assert!(hi.anchor().seq > 0);
    // A no weighs more than a question.
    let denied = refused(place.pipeline.jobs().write(&shell, b"uname\n", false, Reading::default(), &client).await);
    assert_eq!((denied.explained.decision, policies(&denied).as_str()), (Decision::Deny, "no-uname"), "{denied:?}");
    let hup = asked(place.pipeline.jobs().signal(&shell, "HUP", None, &client).await);
    assert_eq!((hup.explained().decision, named(hup.decision()).as_str()), (Decision::Ask, "ask-hup"), "{hup:?}");
    let lines = place.record().into_iter().filter(|line| line["kind"] == "input" || line["kind"] == "signal");
    let lines: Vec<String> = lines.map(|line| format!("{} {}", line["effect"], line["determining"])).collect();
    let expected = [r#""ask" ["ask-typing"]"#, r#""deny" ["no-uname"]"#, r#""ask" ["ask-hup"]"#];
    assert_eq!(lines, expected);
    assert_eq!(read(&place, &shell, None, Duration::ZERO).await.stdout.as_str(), "");
    place.pipeline.shut_down().await.expect("shut down");
}

const ASKING: &str = r#"
@id("ask-typing") forbid(principal, action == Action::"sendInput", resource) when { resource.interpreter } unless { context.approved };
@id("ask-uname") forbid(principal, action == Action::"exec", resource in Program::"uname") unless { context.approved };
@id("ask-hup") forbid(principal, action == Action::"signal", resource) when { context.signal == Signal::"HUP" } unless { context.approved };
@id("only-boss") forbid(principal, action == Action::"approve", resource) unless { principal in User::"boss" };
"#;

fn person(name: &str) -> Approval {
    Approval { user: name.to_owned(), roles: BTreeSet::new(), via: Channel::Terminal, lasts: Lasts::Once }
}

/// A yes does what was asked, once, if policy lets that person say it.
#[tokio::test(flavor = "multi_thread")]
async fn a_persons_yes_to_input_and_signals_does_what_was_asked() {
    let place = Place::with(&(POLICY.to_owned() + ASKING), |_| {});
    let (pipeline, client) = (&place.pipeline, Client::default());
    let call = Call { script: b"bash".to_vec(), yields: Some(Duration::ZERO), ..Call::default() };
    let shell = job(&place.submit(call).await);
    let reading = || Reading { wait: 60 * SECOND, ..Reading::default() };
    let hi = || async { asked(pipeline.jobs().write(&shell, b"echo hi\n", false, reading(), &client).await) };

    let other = refused(pipeline.jobs().approve(hi().await, &person("somebody-else")).await);
    assert_eq!((other.explained.decision, policies(&other).as_str()), (Decision::Deny, "only-boss"), "{other:?}");
    pipeline.jobs().decline(&hi().await, &person("boss")).await.expect("on record");
    assert_eq!(read(&place, &shell, None, Duration::ZERO).await.stdout.as_str(), "", "nothing was written");
    let said = reached(pipeline.jobs().approve(hi().await, &person("boss")).await);
    assert_eq!(said.stdout.as_str(), "hi\n");
    // It lifts what was asked and nothing more: the next line is asked about again.
    hi().await;
    let hup = asked(pipeline.jobs().signal(&shell, "HUP", None, &client).await);
    reached(pipeline.jobs().approve(hup, &person("boss")).await);
    let (done, _) = follow(&place, &shell).await;
    assert_ne!(done.status, Status::Running);

    let lines = place
        .record()
        .into_iter()
        .filter(|line| matches!(line["kind"].as_str(), Some("input" | "signal" | "approval")));
    let lines: Vec<String> = lines
        .map(|line| {
            format!("{} {}{}", line["kind"], line["effect"], line["granted"]).replace('"', "").replace("null", "")
        })
        .collect();
    let expected = [
        "input ask",
        "approval true",
        "input deny",
        "input ask",
        "approval false",
        "input ask",
        "approval true",
        "input allow",
        "input ask",
        "signal ask",
        "approval true",
        "signal allow",
    ];
    assert_eq!(lines, expected);
    let typed = place.record().into_iter().find(|line| line["kind"] == "approval").expect("an approval");
    assert_eq!(typed["by"], "somebody-else");
}

/// A yes that comes too late, or to something that has changed, does nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_persons_yes_binds_what_was_shown() {
    let place = Place::with(&(POLICY.to_owned() + ASKING), |_| {});
    let (pipeline, client) = (&place.pipeline, Client::default());
    let call = Call { script: b"bash".to_vec(), yields: Some(Duration::ZERO), ..Call::default() };
    let shell = job(&place.submit(call).await);
    let typed = |line: &'static str| {
        let (pipeline, shell, client) = (&pipeline, &shell, &client);
        async move { asked(pipeline.jobs().write(shell, line.as_bytes(), false, Reading::default(), client).await) }
    };
    let fails = |reached: Result<Reached, Failure>, why: &str| {
        let failure = reached.expect_err("it is too late");
        assert!(failure.what.as_str().contains(why), "{failure:?}");
    };
    // Something else has reached the job, by another yes.
    let (first, second) = (typed("echo one\n").await, typed("echo two\n").await);
    reached(pipeline.jobs().approve(first, &person("boss")).await);
    fails(pipeline.jobs().approve(second, &person("boss")).await, "something else has reached");
    // Other policies decide, with the same kernel rules.
    let third = typed("echo three\n").await;
    let more = "@id(\"no-cat\") forbid(principal, action == Action::\"exec\", resource in Program::\"cat\");";
    place.reload(&(POLICY.to_owned() + ASKING + more)).await;
    fails(pipeline.jobs().approve(third, &person("boss")).await, "policies have changed");
    // What is typed into a shell is asked about as the script that it is, too.
    let uname = typed("uname -s\n").await;
    assert_eq!(named(uname.decision()), "ask-typing ask-uname");
    // The job has ended.
    let last = typed("echo last\n").await;
    reached(pipeline.jobs().signal(&shell, "KILL", None, &client).await);
    follow(&place, &shell).await;
    fails(pipeline.jobs().approve(last, &person("boss")).await, "has ended");
    assert_eq!(read(&place, &shell, None, Duration::ZERO).await.stdout.as_str(), "one\n");
}

/// Half a line for a shell would wait for another half, and what was judged is not what it reads.
#[tokio::test(flavor = "multi_thread")]
async fn a_shell_is_given_whole_lines() {
    let place = Place::new();
    let client = Client::default();
    let call = Call { script: b"bash".to_vec(), yields: Some(Duration::ZERO), ..Call::default() };
    let shell = job(&place.submit(call).await);
    let half = place.pipeline.jobs().write(&shell, b"touch /", false, Reading::default(), &client).await;
    assert!(half.expect_err("half a line").what.as_str().contains("line end"));
    let wait = Reading { wait: 60 * SECOND, ..Reading::default() };
    let said = reached(place.pipeline.jobs().write(&shell, b"echo whole\n", false, wait, &client).await);
    assert_eq!(said.stdout.as_str(), "whole\n");
    let effects: Vec<_> =
        place.record().into_iter().filter(|line| line["kind"] == "input").map(|line| line["effect"].clone()).collect();
    assert_eq!(effects, ["deny", "allow"]);
    place.pipeline.shut_down().await.expect("shut down");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_nobody_asks_for_is_ended_and_forgotten() {
    let place = Place::with(POLICY, |settings| settings.idle = SECOND);
    let mark = format!("{}05", std::process::id());
    let start = async |script: String| {
        let call = Call { script: script.into_bytes(), yields: Some(Duration::ZERO), ..Call::default() };
        job(&place.submit(call).await)
    };
    let asked_for = start(format!("sleep {mark}")).await;
    let forgotten = start(format!("sleep {mark}; echo {mark}")).await;
    let pipeline = std::sync::Arc::clone(&place.pipeline);
    let house = tokio::spawn(async move { pipeline.keep_house().await });
    let begun = Instant::now();
    while place.pipeline.jobs().list().len() > 1 {
        assert!(begun.elapsed() < 20 * SECOND, "{:?}", place.pipeline.jobs().list());
        read(&place, &asked_for, None, SECOND / 10).await;
    }
    assert_eq!(read(&place, &asked_for, None, Duration::ZERO).await.status, Status::Running);
    let gone = place.pipeline.jobs().read(&forgotten, Reading::default()).await.expect_err("forgotten");
    assert!(gone.what.as_str().contains("no job"), "{gone:?}");
    assert_eq!(processes(&format!("sleep {mark}")).len(), 1);
    let ended = place.record().into_iter().filter(|line| line["kind"] == "outcome").collect::<Vec<_>>();
    assert!(matches!(ended.as_slice(), [line] if line["exit"]["reason"] == "idle"), "{ended:?}");
    house.abort();
    place.pipeline.shut_down().await.expect("shut down");
}

/// A command whose output never stops keeps neither its deadline nor a signal nor anybody else's command waiting.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_flood_takes_no_turn_from_others() {
    let place = Place::new();
    let patience = 60 * SECOND;
    let call =
        |timeout| Call { script: b"exec yes".to_vec(), yields: Some(Duration::ZERO), timeout, ..Call::default() };
    let ends = place.submit(call(Some(2 * SECOND))).await;
    let killed = place.submit(call(None)).await;
    let other = tokio::time::timeout(patience, place.alone("echo through")).await.expect("a turn");
    assert_eq!(other.stdout.as_str(), "through\n", "{other:?}");
    let (stopped, client) = (job(&killed), Client::default());
    let signal = place.pipeline.jobs().signal(&stopped, "KILL", None, &client);
    reached(tokio::time::timeout(patience, signal).await.expect("a turn"));
    for (begun, status) in [(killed, Status::Cancelled), (ends, Status::TimedOut)] {
        let begun = job(&begun);
        let wait = async {
            loop {
                let now = read(&place, &begun, None, SECOND).await;
                if now.status != Status::Running {
                    return now.status;
                }
            }
        };
        assert_eq!(tokio::time::timeout(patience, wait).await.expect("it ends"), status);
    }
}

/// What a background child writes behind its command's end is the rest of the same stream, for the redactor too.
#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_split_at_the_end_of_a_command_is_one() {
    let place = Place::new();
    let session = place.open().await;
    let script = "(printf 'token ghp_0123456789abcdefghij'; sleep 1; printf 'ABCDEFGHIJ012345 end\\n') & sleep 0.3; printf shown >&2";
    let begun = place.submit(Call { yields: Some(SECOND / 10), ..session.call(script) }).await;
    let job = job(&begun);
    let started = Instant::now();
    let text = loop {
        let now = read(&place, &job, None, SECOND / 5).await;
        if now.stdout.as_str().ends_with("end\n") {
            assert!(now.stderr.as_str().ends_with("shown"), "{now:?}");
            break now.stdout.as_str().to_owned();
        }
        assert!(!now.stdout.as_str().contains("ghp_"), "{now:?}");
        assert!(started.elapsed() < 60 * SECOND, "{now:?}");
    };
    assert!(text.contains("[redacted:github") && !text.contains("012345"), "{text}");
}
