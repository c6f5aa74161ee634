//! Groups that change under a server change what its sessions may touch, also for the kernel.

use std::path::Path;

use palisade_engine::{Bundle, Engine, Source, Vocabulary};
use palisade_runner::{Client, Policies};

use crate::place::{POLICY, Place};

/// The policy and the shipped groups, with one more that holds these directories.
fn engine(policy: &str, home: &Path, directories: &[&Path]) -> Engine {
    let home = palisade_runner::facts::real_directory(home).expect("a real path");
    let (file, text) = palisade_policies::GROUPS;
    let mut vocabulary = Vocabulary::parse(file, text, &home).expect("the shipped groups");
    vocabulary.declare("extra");
    for directory in directories {
        vocabulary.add_directory("extra", &palisade_runner::facts::real_directory(directory).expect("a real path"));
    }
    let source = Source { name: "test.cedar".to_owned(), text: policy.to_owned() };
    Engine::new(Bundle::load(vec![source]).expect("the policy"), vocabulary)
}

fn reloads(place: &Place) -> Vec<serde_json::Value> {
    place.record().into_iter().filter(|line| line["kind"] == "policy_reload").collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_opened_at_once_gets_the_new_rules() {
    let policy = format!(
        "{POLICY}@id(\"extra\") permit(principal, action == Action::\"read\", resource in PathGroup::\"extra\");"
    );
    let place = Place::with(&policy, |settings| {
        let home = Path::new(settings.surroundings.home.as_str());
        let extra = home.with_file_name("extra");
        std::fs::create_dir(&extra).expect("a directory");
        std::fs::write(extra.join("file"), "extra\n").expect("written");
        settings.engine = Policies::new(engine(&policy, home, &[&extra]));
    });
    let (home, extra) = (place.root.path().join("home"), place.root.path().join("extra"));
    // What the program opens is in no text: the kernel alone decides.
    let program = place.root.path().join("work/look");
    let text = format!("#!/bin/bash\nread -r line < {}/file && echo \"$line\"\n", extra.display());
    std::fs::write(&program, text).expect("written");
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a mode");
    assert_eq!(place.open().await.says("./look").await, "extra\n");

    place.pipeline.reload(engine(&policy, &home, &[])).await.expect("taken");
    let refused = place.open().await.run("./look").await;
    assert_eq!((refused.exit_code, refused.stdout.as_str()), (Some(1), ""), "{refused:?}");
    let reloads = reloads(&place);
    assert_ne!(reloads[0]["before"], reloads[0]["policy_set"], "{reloads:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_what_the_temporary_directory_is_for_is_noticed() {
    let temp = "@id(\"temp\") permit(principal, action in [Action::\"fileAccess\", Action::\"execute\"], resource in PathGroup::\"temp\");";
    let with = format!("{POLICY}{temp}");
    let place = Place::with(&with, |_| {});
    let home = place.root.path().join("home");
    let shell = place.open().await;
    assert_eq!(shell.says("echo x > $TMPDIR/file; echo $?").await, "0\n");
    place.pipeline.reload(engine(POLICY, &home, &[])).await.expect("taken");
    let closed = place.record().into_iter().any(|line| {
        line["kind"] == "close" && line["session"] == shell.name.as_str() && line["reason"] == "policy-reload"
    });
    assert!(closed, "{:?}", place.record());
    // The same again: nobody's rules change.
    let other = place.pipeline.sessions().open(None, &Client::default()).await.expect("a session").session.to_string();
    place.pipeline.reload(engine(POLICY, &home, &[])).await.expect("taken");
    assert!(!place.record().iter().any(|line| line["kind"] == "close" && line["session"] == other.as_str()));
}
