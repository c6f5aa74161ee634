//! Sessions and jobs under policies whose kernel rules are others than those that they were started under.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use palisade_runner::{Call, Cause, ExecResult, Failure, Outcome, Reading, Status};

use crate::place::{POLICY, Place, gone, processes};

const SECOND: Duration = Duration::from_secs(1);

/// As [`POLICY`], but the workspace can only be looked at.
fn narrow() -> String {
    POLICY.replace(
        "action in [Action::\"fileAccess\", Action::\"execute\"], resource) when { resource in context.workspace }",
        "action in [Action::\"read\", Action::\"execute\"], resource) when { resource in context.workspace }",
    )
}

/// As the last, and nobody may open a session.
fn closed() -> String {
    narrow() + r#"@id("no-session") forbid(principal, action == Action::"openSession", resource);"#
}

fn kinds(place: &Place, session: &str) -> Vec<String> {
    let lines = place.record().into_iter().filter(|line| line["session"] == session);
    let told = lines.filter(|line| line["kind"] == "open" || line["kind"] == "close");
    told.map(|line| format!("{} {}", line["kind"], line["reason"]).replace('"', "")).collect()
}

fn reason(result: &ExecResult) -> &str {
    result.restarted.as_ref().map_or("", |told| told.as_str())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_goes_on_under_narrower_rules_and_says_so_once() {
    assert_ne!(narrow(), POLICY);
    let place = Place::new();
    let session = place.open().await;
    let mark = format!("{}20", std::process::id());
    session
        .says("mkdir sub; cd sub; x='a b'; f() { echo \"f $x\"; }; shopt -s nullglob; set -- p 'q r'; umask 027")
        .await;
    session.says(&format!("sleep {mark} & true")).await;
    place.reload(&narrow()).await;
    // What it left in the background was held to the old rules.
    gone(&format!("sleep {mark}"), SECOND).await;
    let notes = place.pipeline.sessions().list().await;
    assert!(notes.iter().any(|note| note.session.as_str() == session.name && note.suspended), "{notes:?}");

    let next = session.run("pwd; f; echo \"$2\"; shopt nullglob; umask").await;
    let pwd = place.root.path().join("work/sub").canonicalize().expect("a directory");
    let said = format!("{}\nf a b\nq r\nnullglob       \ton\n0027\n", pwd.display());
    assert_eq!((next.status, next.stdout.as_str()), (Status::Done, said.as_str()), "{next:?}");
    assert!(reason(&next).starts_with("policy set sha256:"), "{next:?}");
    let after = session.run("echo after").await;
    assert_eq!((reason(&after), after.stdout.as_str()), ("", "after\n"), "said once: {after:?}");
    // The kernel holds the new rules: what a program writes stands in no command's text.
    let refused = session.run("python3 -c 'open(\"made\" + \"-by-program\", \"w\")'").await;
    assert_ne!(refused.exit_code, Some(0), "{refused:?}");
    assert!(!pwd.join("made-by-program").exists());
    assert_eq!(kinds(&place, &session.name), ["open null", "close policy-reload", "open null"]);
    assert!(place.pipeline.sessions().list().await.iter().all(|note| !note.suspended));

    // The same kernel rules again: nothing is started anew.
    place
        .reload(
            &(narrow()
                + "@id(\"no-cat\") forbid(principal, action == Action::\"exec\", resource in Program::\"cat\");"),
        )
        .await;
    let same = session.run("f").await;
    assert_eq!((reason(&same), same.stdout.as_str()), ("", "f a b\n"), "{same:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_under_the_old_rules_is_ended_and_says_why() {
    let place = Place::new();
    let mark = format!("{}21", std::process::id());
    let script = format!("echo begun; sleep {mark}");
    let (held, idle) = (place.open().await, place.open().await);
    held.says("x=kept").await;
    idle.says("y=idle").await;
    let job = |call| async {
        let begun = place.submit(call).await;
        begun.job.map(|job| job.to_string()).expect("a job")
    };
    let own = job(Call { script: script.clone().into(), yields: Some(Duration::ZERO), ..Call::default() }).await;
    let holding = job(Call { yields: Some(SECOND / 5), ..held.call(&script) }).await;
    let attended = Call { script: script.clone().into(), ..Call::default() };
    let ((), attended) = tokio::join!(
        async {
            while processes(&format!("sleep {mark}")).len() < 3 {
                tokio::time::sleep(SECOND / 50).await;
            }
            place.reload(&narrow()).await;
            assert_eq!(processes(&format!("sleep {mark}")), Vec::<String>::new(), "when the reload is done");
        },
        place.submit(attended)
    );
    let mut ends = vec![attended];
    for job in [&own, &holding] {
        ends.push(place.pipeline.jobs().read(job, Reading::default()).await.expect("a reading"));
    }
    for end in &ends {
        assert_eq!((end.status, end.cause), (Status::Cancelled, Some(Cause::PolicyReload)), "{end:?}");
        assert_eq!(end.stdout.as_str(), "begun\n");
    }
    let listed = place.pipeline.jobs().list();
    assert!(listed.iter().all(|note| note.cause == Some(Cause::PolicyReload)), "{listed:?}");
    let outcomes = place.record().into_iter().filter(|line| line["kind"] == "outcome");
    let reasons = outcomes.filter(|line| line["exit"]["reason"] == "policy_reload").count();
    assert_eq!(reasons, 3);
    for (session, said) in [(&held, "kept\n"), (&idle, "idle\n")] {
        let next = session.run("echo $x$y").await;
        assert_eq!(next.stdout.as_str(), said, "{next:?}");
        assert!(reason(&next).starts_with("policy set sha256:"), "{next:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_policy_no_longer_permits_is_lost_until_it_does() {
    let place = Place::new();
    let session = place.open().await;
    session.says("x=kept").await;
    place.reload(&closed()).await;
    for _ in 0..2 {
        let lost: Failure = place.pipeline.submit(session.call("echo $x")).await.expect_err("no session");
        assert!(lost.session_lost && lost.what.as_str().contains("permit this principal no session"), "{lost:?}");
    }
    assert_eq!(kinds(&place, &session.name), ["open null", "close policy-reload"]);
    place.reload(POLICY).await;
    let back = session.run("echo $x").await;
    assert_eq!(back.stdout.as_str(), "kept\n");
    assert!(reason(&back).starts_with("policy set sha256:"), "{back:?}");
    place.reload(&closed()).await;
    place.pipeline.sessions().close(&session.name).await.expect("closed");
    assert!(place.pipeline.sessions().list().await.is_empty());
}

/// Calls that come while the policies change: each is run whole, or told that it was not, and none by an old shell.
#[tokio::test(flavor = "multi_thread")]
async fn calls_that_wait_are_judged_and_held_by_the_new_rules() {
    let place = Place::new();
    let session = place.open().await;
    session.says("n=0").await;
    let done = AtomicBool::new(false);
    let reloads = async {
        for policy in [narrow().as_str(), POLICY] {
            place.reload(policy).await;
        }
        done.store(true, Ordering::Release);
    };
    let calls = async {
        let (mut ran, mut last, mut restarted) = (0, 0, 0);
        // One call at least comes behind the last reload, however few come between.
        let mut more = true;
        while std::mem::replace(&mut more, !done.load(Ordering::Acquire) || ran < 3) {
            match place.pipeline.submit(session.call("n=$((n+1)); echo $n")).await {
                Ok(Outcome::Ran(result)) if result.status == Status::Done => {
                    ran += 1;
                    restarted += usize::from(result.restarted.is_some());
                    let next: u64 = result.stdout.as_str().trim().parse().unwrap_or_else(|_| panic!("{result:?}"));
                    assert!(next > last, "{last}: {result:?}");
                    last = next;
                }
                Ok(Outcome::Ran(result)) => assert_eq!(result.cause, Some(Cause::PolicyReload), "{result:?}"),
                Ok(other) => panic!("{other:?}"),
                Err(failure) => assert!(failure.what.as_str().contains("policies have changed"), "{failure:?}"),
            }
        }
        (ran, restarted)
    };
    let ((), (ran, restarted)) = tokio::join!(reloads, calls);
    assert!(ran > 2 && (1..=2).contains(&restarted), "{ran} {restarted}");
}

/// Where it stood may be a directory of the shell's own that went with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_whose_directory_went_with_its_shell_says_where_it_stands() {
    let place = Place::new();
    let session = place.open().await;
    session.says("mkdir gone; cd gone; x=kept").await;
    std::fs::remove_dir(place.root.path().join("work/gone")).expect("removed");
    place.reload(&narrow()).await;
    let next = session.run("pwd; echo $x").await;
    let work = place.root.path().join("work").canonicalize().expect("a directory");
    assert_eq!(next.stdout.as_str(), format!("{}\nkept\n", work.display()));
    assert!(reason(&next).contains("it stands in"), "{next:?}");
}
