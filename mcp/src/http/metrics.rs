//! What is counted, in Prometheus' text form. Labels are few and none is a client's to choose.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use palisade_runner::Pipeline;

/// What is counted of requests and connections.
#[derive(Debug, Default)]
pub(super) struct Counts {
    open: AtomicU64,
    accepted: AtomicU64,
    /// By status: those that the server can give, and no others.
    answers: Mutex<BTreeMap<u16, u64>>,
}

/// An open connection.
#[derive(Debug)]
pub(super) struct OpenConnection(Arc<Counts>);

impl Counts {
    pub(super) fn opened(self: &Arc<Self>) -> OpenConnection {
        self.open.fetch_add(1, Ordering::Relaxed);
        self.accepted.fetch_add(1, Ordering::Relaxed);
        OpenConnection(Arc::clone(self))
    }

    pub(super) fn answered(&self, status: u16) {
        // Nothing that holds the lock can fail half-way.
        *self.answers.lock().unwrap_or_else(PoisonError::into_inner).entry(status).or_default() += 1;
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The whole text.
pub(super) async fn text(counts: &Counts, principals: &[(String, Arc<Pipeline>)]) -> String {
    let mut text = String::new();
    let mut family = |name: &str, kind: &str, help: &str, rows: &[(String, u64)]| {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in rows {
            let _ = writeln!(text, "{name}{labels} {value}");
        }
    };
    let plain = |value: &AtomicU64| [(String::new(), value.load(Ordering::Relaxed))];
    family("palisade_connections", "gauge", "Connections that are open.", &plain(&counts.open));
    family("palisade_connections_total", "counter", "Connections that were accepted.", &plain(&counts.accepted));
    let answers: Vec<_> = {
        let answers = counts.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.iter().map(|(status, count)| (format!("{{status=\"{status}\"}}"), *count)).collect()
    };
    family("palisade_http_answers_total", "counter", "Answers to requests, by status.", &answers);
    let (mut sessions, mut jobs, mut records) = (Vec::new(), Vec::new(), Vec::new());
    for (name, pipeline) in principals {
        let label = format!("{{principal=\"{}\"}}", escaped(name));
        let count = |many: usize| u64::try_from(many).unwrap_or(u64::MAX);
        sessions.push((label.clone(), count(pipeline.sessions().list().await.len())));
        jobs.push((label.clone(), count(pipeline.jobs().list().len())));
        records.push((label, pipeline.anchor().seq));
    }
    family("palisade_sessions", "gauge", "Sessions that are known.", &sessions);
    family("palisade_jobs", "gauge", "Jobs that are known.", &jobs);
    family("palisade_records_total", "counter", "Entries on record.", &records);
    text
}

fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
