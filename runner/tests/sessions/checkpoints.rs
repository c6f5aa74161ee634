//! Checkpoints that nobody asks for: before a command that may change the workspace, or no command.

use std::path::PathBuf;
use std::time::Duration;

use palisade_runner::checkpoint::store::Store;
use palisade_runner::checkpoint::{self, Automatic};
use palisade_runner::{Call, Checked, Client, ExecResult, Failure, Outcome, RestoreTerms, Settings, Status};
use serde_json::{Value, json};

use crate::place::{POLICY, Place};

fn before_changes(settings: &mut Settings) {
    settings.checkpoints.automatic = Automatic::Changes;
}

fn alone(script: &str) -> Call {
    Call { script: script.into(), ..Call::default() }
}

/// What it stands behind.
fn checkpoint(result: &ExecResult) -> Option<String> {
    assert_eq!((result.status, result.exit_code), (Status::Done, Some(0)), "{result:?}");
    result.checkpoint.as_ref().map(ToString::to_string)
}

fn kind(place: &Place, kind: &str) -> Vec<Value> {
    place.record().into_iter().filter(|line| line["kind"] == kind).collect()
}

fn file(place: &Place, name: &str) -> PathBuf {
    place.root.path().join("work").join(name)
}

fn read(place: &Place, name: &str) -> Option<String> {
    std::fs::read_to_string(file(place, name)).ok()
}

fn refused(outcome: Result<Outcome, Failure>) -> String {
    match outcome {
        Err(failure) => format!("{}: {}", failure.what, failure.help),
        Ok(other) => panic!("it was not refused: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_change_files_stands_behind_a_checkpoint() {
    let place = Place::with(POLICY, before_changes);
    std::fs::write(file(&place, "kept"), "then").expect("written");
    let shell = place.open().await;
    assert_eq!(checkpoint(&shell.run("cat kept; ls").await), None);
    let first = checkpoint(&shell.run("echo now > kept; touch made").await).expect("a checkpoint");
    let second = checkpoint(&shell.run("touch more").await).expect("a checkpoint");
    assert_ne!(first, second);
    // It changed nothing after all, so that the next one needs no other.
    let third = checkpoint(&shell.run("rm -f nothing").await).expect("a checkpoint");
    let fourth = checkpoint(&shell.run("rm -f nothing").await).expect("a checkpoint");
    assert_eq!(third, fourth);
    let (taken, decisions) = (kind(&place, "checkpoint"), kind(&place, "decision"));
    let names: Vec<&str> = taken.iter().filter_map(|line| line["checkpoint"].as_str()).collect();
    assert_eq!(names, [&first, &second, &third]);
    let of = decisions.iter().find(|line| line["cmd"] == "touch more").expect("a decision");
    assert_eq!((&taken[1]["of"], &taken[1]["label"]), (&of["req"], &json!("touch more")), "{taken:?}");
    let outcomes = kind(&place, "outcome");
    let named: Vec<&Value> = outcomes.iter().map(|line| &line["checkpoint"]).collect();
    let name = |name: &String| Value::from(name.as_str());
    assert_eq!(named, [&Value::Null, &name(&first), &name(&second), &name(&third), &name(&third)]);
    let notes = place.pipeline.checkpoints().list(None).await.expect("a list");
    assert!(notes.iter().all(|note| note.automatic), "{notes:?}");
    // The way back from it is the session's.
    let terms = RestoreTerms::default();
    let back = match place
        .pipeline
        .checkpoints()
        .restore(&shell.name, &first, terms, &Client::default())
        .await
        .expect("restored")
    {
        Checked::Done(back) => back,
        other => panic!("{other:?}"),
    };
    assert_eq!((back.write.count, back.delete.count, back.conflicts.count), (1, 2, 0), "{back:?}");
    assert_eq!((read(&place, "kept").as_deref(), read(&place, "made")), (Some("then"), None));
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_without_a_session_have_one_way_back_together() {
    let place = Place::with(POLICY, before_changes);
    std::fs::write(file(&place, "kept"), "then").expect("written");
    let first = checkpoint(&place.alone("echo 1 > kept").await).expect("a checkpoint");
    let second = checkpoint(&place.alone("touch made").await).expect("a checkpoint");
    assert_ne!(first, second);
    let apart = Call { yields: Some(Duration::ZERO), ..alone("rm -f nothing") };
    let job = place.submit(apart).await.job.expect("a job").to_string();
    let reading = palisade_runner::Reading { wait: Duration::from_secs(60), ..Default::default() };
    let done = place.pipeline.jobs().read(&job, reading).await.expect("a result");
    assert!(checkpoint(&done).is_some(), "{done:?}");
    std::fs::write(file(&place, "theirs"), "theirs").expect("written");
    let nobody = &mut |_: &palisade_runner::RestoreNote, _: &palisade_runner::Explained| None;
    let terms = RestoreTerms::default();
    match place.pipeline.checkpoints().restore_from_outside(None, &first, terms, nobody).await.expect("restored") {
        Checked::Done(back) => assert_eq!((back.conflicts.count, back.left.count), (0, 1), "{back:?}"),
        other => panic!("{other:?}"),
    }
    let state = ["kept", "made", "theirs"].map(|name| read(&place, name));
    assert_eq!(state.each_ref().map(Option::as_deref), [Some("then"), None, Some("theirs")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_checkpoint_nothing_runs() {
    let place = Place::with(POLICY, before_changes);
    let shell = place.open().await;
    // Where the store is to be made there is a file.
    let directory = place.root.path().join("checkpoints");
    std::fs::write(&directory, "").expect("written");
    for call in [shell.call("touch made"), alone("touch made")] {
        let told = refused(place.pipeline.submit(call).await);
        assert!(told.contains("the checkpoints in") && told.contains("cannot be used"), "{told}");
    }
    assert_eq!(read(&place, "made"), None);
    let outcomes = kind(&place, "outcome");
    let not_started = json!({ "reason": "not_started" });
    assert!(outcomes.len() == 2 && outcomes.iter().all(|line| line["exit"] == not_started), "{outcomes:?}");
    // What needs none runs, and so does the other once it can be had.
    assert_eq!(checkpoint(&shell.run("ls").await), None);
    std::fs::remove_file(&directory).expect("removed");
    assert!(checkpoint(&shell.run("touch made").await).is_some());
    shell.is_well("a checkpoint that could not be taken").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn policy_demands_one_where_its_permit_decides() {
    let marked = "@id(\"removes\") @checkpoint(\"before\") permit(principal, action == Action::\"exec\", resource in Program::\"rm\");";
    let rest = POLICY.replace(
        "unless { action in [Action::\"fileAccess\", Action::\"execute\"] }",
        "unless { action in [Action::\"fileAccess\", Action::\"execute\"] || (action == Action::\"exec\" && resource in Program::\"rm\") }",
    );
    let place = Place::with(&format!("{rest}{marked}"), |_| {});
    let shell = place.open().await;
    assert_eq!(checkpoint(&shell.run("touch a b").await), None);
    let explained = place.pipeline.explain(&shell.call("rm a")).await.expect("explained");
    assert_eq!(explained.checkpoint.iter().map(ToString::to_string).collect::<Vec<_>>(), ["removes"]);
    let taken = checkpoint(&shell.run("rm a").await).expect("a checkpoint");
    let entry = &kind(&place, "checkpoint")[0];
    assert_eq!((&entry["checkpoint"], &entry["determining"]), (&json!(taken), &json!(["removes"])), "{entry}");
    if palisade_sandbox::probe().guards().is_err() {
        return;
    }
    std::fs::write(file(&place, "name"), "rm").expect("written");
    // What the text does not tell is found out when it is too late for one, unless there is one already.
    let computed = shell.run("/usr/bin/env \"$(cat name)\" b").await;
    assert!(file(&place, "b").exists(), "{computed:?}");
    let denied = computed.denied.iter().find(|denied| denied.policy.as_str() == "removes").expect("a refusal");
    assert!(denied.reason.as_str().contains("only behind a checkpoint"), "{denied:?}");
    let computed = shell.run("rm -f c; /usr/bin/env \"$(cat name)\" b").await;
    assert!(checkpoint(&computed).is_some() && !file(&place, "b").exists(), "{computed:?}");
    // And not for the command behind that one.
    shell.run("touch b").await;
    shell.run("/usr/bin/env \"$(cat name)\" b").await;
    assert!(file(&place, "b").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_for_it_sees_how_far_it_is_and_can_leave() {
    let place = Place::with(POLICY, before_changes);
    let settings = checkpoint::Settings::new(place.root.path().join("checkpoints"));
    let workspace = place.root.path().canonicalize().expect("a real path").join("work");
    let store = Store::open(&settings.directory, &workspace, settings.scope).expect("a store");
    let shell = place.open().await;
    let held = store.lock().expect("the store");
    let call = Call { yields: Some(Duration::from_millis(1)), ..shell.call("touch made") };
    let running = place.submit(call).await;
    assert_eq!(running.status, Status::Running, "{running:?}");
    let reading = || palisade_runner::Reading::default();
    let job = running.job.expect("a job").to_string();
    let begun = std::time::Instant::now();
    while place.pipeline.jobs().read(&job, reading()).await.expect("a result").reading.is_none() {
        assert!(begun.elapsed().as_secs() < 60, "it never waits");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!file(&place, "made").exists());
    // Whoever closes the session does not wait for it.
    place.pipeline.sessions().close(&shell.name).await.expect("closed");
    let told = loop {
        match place
            .pipeline
            .jobs()
            .read(&job, palisade_runner::Reading { wait: Duration::from_secs(60), ..reading() })
            .await
        {
            Err(failure) => break failure.what.to_string(),
            Ok(result) => assert_eq!(result.status, Status::Running, "{result:?}"),
        }
    };
    assert!(told.contains("nobody waits"), "{told}");
    assert!(!file(&place, "made").exists());
    drop(held);
    assert_eq!(store.list().expect("a list"), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_workspace_is_read_ahead_where_checkpoints_will_be_taken() {
    for (change, expected) in [(before_changes as fn(&mut Settings), true), (|_: &mut Settings| {}, false)] {
        let place = Place::with(POLICY, change);
        std::fs::write(file(&place, "text"), "text").expect("written");
        assert_eq!(place.pipeline.checkpoints().reading_ahead(), None);
        place.pipeline.checkpoints().read_ahead().await;
        assert_eq!(place.pipeline.checkpoints().reading_ahead(), None);
        assert_eq!(place.root.path().join("checkpoints").exists(), expected);
        assert!(place.pipeline.checkpoints().list(None).await.expect("a list").is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_of_them_are_kept_than_the_settings_say() {
    let place = Place::with(POLICY, |settings| {
        before_changes(settings);
        settings.checkpoints.keep = 4;
    });
    let shell = place.open().await;
    let asked = match place.pipeline.checkpoints().take(&shell.name, "mine", &Client::default()).await.expect("taken") {
        Checked::Done(taken) => taken.note.checkpoint.to_string(),
        other => panic!("{other:?}"),
    };
    let mut taken = Vec::new();
    for index in 0..7 {
        taken.extend(checkpoint(&shell.run(&format!("touch f{index}")).await));
    }
    let notes = place.pipeline.checkpoints().list(None).await.expect("a list");
    let names: Vec<String> = notes.iter().map(|note| note.checkpoint.to_string()).collect();
    // The first needs no other than what was asked for, and with the last there are a quarter more than four.
    assert_eq!(taken[0], asked);
    let mut kept = vec![asked];
    kept.extend_from_slice(&taken[3..]);
    assert_eq!(names, kept);
    let gone = kind(&place, "checkpoint_prune");
    assert_eq!(gone.len(), 1, "{gone:?}");
    assert_eq!((&gone[0]["checkpoints"], gone[0].get("by")), (&json!(taken[1..3]), None), "{gone:?}");
}
