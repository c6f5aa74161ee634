//! What policies count, time and label outlives sessions, and counts where there is none.

use std::time::Duration;

use palisade_runner::{Call, Outcome};

use crate::place::{POLICY, Place};

/// Whether it ran; else the policies in the way.
async fn submitted(place: &Place, call: Call) -> Result<(), Vec<String>> {
    let outcome = place.pipeline.submit(call).await.unwrap_or_else(|failure| panic!("{failure:?}"));
    match outcome {
        Outcome::Denied(refusal) => Err(refusal.decision.policies.iter().map(ToString::to_string).collect()),
        _ => Ok(()),
    }
}

fn alone(script: &str) -> Call {
    Call { script: script.into(), ..Call::default() }
}

fn forbids(id: &str, what: &str, when: &str) -> String {
    format!("{POLICY}@id(\"{id}\") forbid(principal, action == Action::\"exec\", {what}) when {{ {when} }};")
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_count_wherever_they_run() {
    let place = Place::with(&forbids("three", "resource", "context.session.commands >= 3"), |_| {});
    let shell = place.open().await;
    assert_eq!(submitted(&place, alone("echo 1")).await, Ok(()));
    assert_eq!(submitted(&place, shell.call("echo 2")).await, Ok(()));
    let apart = Call { yields: Some(Duration::ZERO), ..shell.call("echo 3") };
    assert_eq!(submitted(&place, apart).await, Ok(()));
    let fresh = place.open().await;
    for call in [alone("echo 4"), shell.call("echo 4"), fresh.call("echo 4")] {
        assert_eq!(submitted(&place, call).await, Err(vec!["three".to_owned()]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_runs_from_the_first_command_on() {
    let place = Place::with(&forbids("soon", "resource", "context.session.age > duration(\"3s\")"), |_| {});
    assert_eq!(submitted(&place, alone("echo 1")).await, Ok(()));
    tokio::time::sleep(Duration::from_millis(3100)).await;
    let fresh = place.open().await;
    for call in [alone("echo 2"), fresh.call("echo 2")] {
        assert_eq!(submitted(&place, call).await, Err(vec!["soon".to_owned()]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_read_a_secret_is_known_for_it_in_every_session() {
    let when = "context.session.labels.contains(Label::\"read-secrets\")";
    let policy = forbids("no-more", "resource in Program::\"uname\"", when);
    let policy = format!(
        "{policy}@id(\"keys\") permit(principal, action == Action::\"read\", resource in PathGroup::\"secrets\");"
    );
    let place = Place::with(&policy, |_| {});
    let key = place.root.path().join("home/.ssh/id");
    std::fs::create_dir(key.parent().expect("a directory")).expect("a directory");
    std::fs::write(&key, "key").expect("written");
    let shell = place.open().await;
    assert_eq!(submitted(&place, alone("cat /etc/hostname; uname")).await, Ok(()));
    assert_eq!(submitted(&place, shell.call("uname")).await, Ok(()));
    assert_eq!(submitted(&place, alone(&format!("cat {}", key.display()))).await, Ok(()));
    let fresh = place.open().await;
    for call in [alone("uname"), shell.call("uname"), fresh.call("uname")] {
        assert_eq!(submitted(&place, call).await, Err(vec!["no-more".to_owned()]));
    }
}
