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
