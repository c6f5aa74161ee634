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
        .read_job(&job, Reading { view: Some(palisade_runner::View::chars(100_000)), ..Reading::default() })
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
