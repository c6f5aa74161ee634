//! What of much output is shown, and that the rest can be read.

use palisade_runner::{Call, Reading, Status};
use std::time::Duration;

use crate::place::Place;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_shown_can_be_read() {
    let place = Place::new();
    let call = Call {
        script: b"seq 1 5000".to_vec(),
        view: Some(palisade_runner::View::chars(400)),
        yields: Some(Duration::from_secs(20)),
        ..Call::default()
    };
    let result = place.submit(call).await;
    assert_eq!(result.status, Status::Done);
    assert!(result.omitted["stdout"].lines > 4000, "{result:?}");
    let job = result.job.expect("a name to read it by").to_string();
    let all = place
        .pipeline
        .jobs()
        .read(&job, Reading { view: Some(palisade_runner::View::chars(100_000)), ..Reading::default() })
        .await
        .expect("a reading");
    let expected: String = (1..=5000).map(|number| format!("{number}\n")).collect();
    assert_eq!(all.stdout.as_str(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_says_what_it_came_to() {
    let place = Place::new();
    let grep = palisade_runner::Grep::new("7$", 0).expect("a pattern");
    let view = palisade_runner::View { grep: Some(grep), ..palisade_runner::View::chars(1000) };
    let call = Call { script: b"seq 1 50; seq 1 10 >&2".to_vec(), view: Some(view), ..Call::default() };
    let result = place.submit(call).await;
    let matched = |stream: &str| result.searched.get(stream).map(|search| (search.matched, search.unsearched_bytes));
    assert_eq!((matched("stdout"), matched("stderr")), (Some((5, 0)), Some((1, 0))), "{result:?}");
    let json = serde_json::to_value(&result).expect("JSON");
    assert_eq!(json["searched"]["stdout"], serde_json::json!({ "matched": 5 }));
    assert!(place.alone("echo 7").await.searched.is_empty());
}

/// Colours on request: secrets are found through them, and nothing else of a terminal's control comes with them.
#[tokio::test(flavor = "multi_thread")]
async fn colours_stay_when_they_are_asked_for() {
    let place = Place::new();
    let session = place.open().await;
    let token = "ghp_0123456789abcdefghijABCDEFGHIJ012345";
    let (one, two) = token.split_at(14);
    let script = format!(
        "printf '\\033[1;31mred\\033[0m \\033]52;c;aGk=\\a\\033[2J\\033[32m%s\\033[1m%s\\033[0m end\\n' {one} {two}; \
         printf '\\033[33mlate\\033[0m\\033]0;t\\a\\n' >&2"
    );
    let plain = session.run(&script).await;
    assert!(
        plain.stdout.as_str().starts_with("red [redacted:") && !plain.stdout.as_str().contains('\x1b'),
        "{plain:?}"
    );
    let kept = place.submit(Call { colours: true, ..session.call(&script) }).await;
    let stdout = kept.stdout.as_str();
    assert!(stdout.starts_with("\x1b[1;31mred\x1b[0m \x1b[32m") && stdout.contains("[redacted:"), "{stdout:?}");
    assert!(stdout.ends_with(" end\n") && !stdout.contains("52;c") && !stdout.contains("[2J"), "{stdout:?}");
    assert!(!stdout.contains("0123456789ab") && !stdout.contains(two), "{stdout:?}");
    assert_eq!(kept.stderr.as_str(), "\x1b[33mlate\x1b[0m\n");
    let next = session.run("printf '\\033[31mx'").await;
    assert_eq!(next.stdout.as_str(), "x", "for one command only");
}
