//! A disk without room: nothing runs off the record, the error says why, and with room again all goes on.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use palisade_runner::{Client, Status};

use crate::place::{POLICY, Place, ROOT};

/// Where the small file system is, in the process that has one.
const SMALL: &str = "PALISADE_TEST_SMALL";

/// Runs this test once more with a file system of 128 KiB of its own; none in that process, which is given its place.
fn small(test: &str) -> Option<PathBuf> {
    if let Some(place) = std::env::var_os(SMALL) {
        return Some(place.into());
    }
    // Without root the mount takes a user namespace, in which sessions are other ones than outside.
    let may = Command::new("unshare").args(["--mount", "true"]).stderr(Stdio::null()).status();
    if !may.is_ok_and(|status| status.success()) {
        let required = std::env::var_os("PALISADE_REQUIRE").is_some_and(|value| value == "all");
        assert!(!required, "PALISADE_REQUIRE asks for all: no mount namespace can be made here");
        // Past the test harness, which shows only what failing tests say.
        let _nobody_listens =
            writeln!(std::io::stderr(), "SKIPPED [mount] {test}: no mount namespace can be made here");
        return None;
    }
    // Not below /tmp, of which each session has its own.
    let place = tempfile::tempdir_in("/var/tmp").expect("a directory");
    let script = "mount -t tmpfs -o size=128k none \"$1\" && exec \"$2\" --exact \"$3\" --nocapture";
    let mut again = Command::new("unshare");
    again.args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"]).arg(place.path());
    again.arg(std::env::current_exe().expect("this program")).arg(test);
    again.env(SMALL, place.path()).env(ROOT, std::env::temp_dir()).env("TMPDIR", place.path());
    let ended = again.output().expect("it starts");
    let said = String::from_utf8_lossy(&ended.stdout);
    let passed = ended.status.success() && said.contains("1 passed");
    assert!(passed, "{said}{}", String::from_utf8_lossy(&ended.stderr));
    None
}

/// Leaves no room; what has to be removed to have some again.
fn fill(place: &Path) -> PathBuf {
    let filler = place.join("filler");
    let mut file = std::fs::File::create(&filler).expect("a file");
    while file.write_all(&[0; 512]).is_ok() {}
    filler
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_recorded_does_not_run_until_there_is_room() {
    let Some(small) = small("full::what_cannot_be_recorded_does_not_run_until_there_is_room") else { return };
    let audit = small.join("audit");
    let place = Place::with(POLICY, |settings| settings.audit.directory = audit.clone());
    let session = place.open().await;
    session.says("x=kept; touch before").await;
    let filler = fill(&small);
    // A record that still fits into the last block may be written; the next ones are not.
    let mut refused = Vec::new();
    for number in 0..20 {
        let script = format!("touch ran-{number} # {}", "x".repeat(1000));
        match place.pipeline.submit(session.call(&script)).await {
            Ok(_) => {}
            Err(failure) => refused.push((number, failure)),
        }
    }
    assert!(refused.len() >= 10, "{refused:?}");
    for (number, failure) in &refused {
        assert!(failure.what.as_str().contains("No space left on device"), "{failure:?}");
        assert!(!failure.help.is_empty(), "{failure:?}");
        let path = place.root.path().join(format!("work/ran-{number}"));
        let first = refused.first().is_some_and(|(first, _)| first == number);
        // It may be the outcome that found no room: then the command has run, and its result is withheld.
        assert!(first || !path.exists(), "{number} ran off the record");
    }
    // Shorter records find room for a while.
    let mut opened = 0;
    while place.pipeline.sessions().open(None, &Client::default()).await.is_ok() {
        opened += 1;
        assert!(opened < 20, "sessions off the record");
    }
    std::fs::remove_file(filler).expect("removed");
    let next = session.run("echo $x").await;
    assert_eq!((next.status, next.stdout.as_str()), (Status::Done, "kept\n"), "{next:?}");
    place.open().await.is_well("room").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_temporary_directory_without_room_or_rights_breaks_no_session() {
    let Some(small) = small("full::a_temporary_directory_without_room_or_rights_breaks_no_session") else { return };
    let temp = r#"@id("temp") permit(principal, action in [Action::"fileAccess", Action::"execute"], resource in PathGroup::"temp");"#;
    let place = Place::with(&(POLICY.to_owned() + temp), |_| {});
    let session = place.open().await;
    session.says("x=kept; echo y >\"$TMPDIR/file\"").await;
    let filler = fill(&small);
    let failed = session.run("head -c 100000 /dev/zero >\"$TMPDIR/more\"").await;
    assert!(failed.exit_code == Some(1) && failed.stderr.as_str().contains("No space left"), "{failed:?}");
    session.is_well("a full temporary directory").await;
    assert_eq!(session.says("echo $x; cat \"$TMPDIR/file\"").await, "kept\ny\n");
    std::fs::remove_file(filler).expect("removed");

    let remount = |how: &str| {
        let done = Command::new("mount").args(["-o", how]).arg(&small).status().expect("mount");
        assert!(done.success(), "{how}");
    };
    remount("remount,ro");
    session.is_well("a temporary directory that cannot be written").await;
    let refused = place.pipeline.sessions().open(None, &Client::default()).await.expect_err("nowhere to be");
    assert!(refused.what.as_str().contains("cannot make a directory for the session"), "{refused:?}");
    assert!(refused.what.as_str().contains("Read-only file system"), "{refused:?}");
    remount("remount,rw");
    place.open().await.is_well("a temporary directory that can be written again").await;
}
