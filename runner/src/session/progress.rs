//! What is known of a command while it runs, and afterwards: its output so far and what it waits for.
//!
//! One task writes it, the one that runs the command; any number read it. Nothing here decides anything.

use std::collections::BTreeMap;

use tokio::sync::watch;

use crate::output::Capture;
use crate::redact::RedactedBytes;
use crate::session::StreamName;

/// A command's output so far. Cheap to share, bounded in memory whatever the command prints.
#[derive(Debug)]
pub struct Progress(watch::Sender<Known>);

/// What there is to know at one moment.
#[derive(Clone, Debug)]
pub struct Known {
    /// Standard output.
    pub stdout: Capture,
    /// Standard error.
    pub stderr: Capture,
    /// Redactions per rule.
    pub redactions: BTreeMap<String, u64>,
    /// It has been waiting for input that nobody has given it.
    pub waits_for_input: bool,
}

impl Progress {
    /// For a command of which `keep` bytes of each stream are kept.
    pub fn new(keep: usize) -> Self {
        Self(watch::Sender::new(Known {
            stdout: Capture::new(keep),
            stderr: Capture::new(keep),
            redactions: BTreeMap::new(),
            waits_for_input: false,
        }))
    }

    /// Takes the next bytes of a stream.
    pub(crate) fn push(&self, stream: StreamName, bytes: &RedactedBytes) {
        if bytes.is_empty() {
            return;
        }
        self.0.send_modify(|known| {
            match stream {
                StreamName::Stdout => known.stdout.push(bytes),
                StreamName::Stderr => known.stderr.push(bytes),
            }
            known.waits_for_input = false;
        });
    }

    /// A stream has come to its end, as far as the command goes: nothing of it is held back any more.
    pub(crate) fn flush(&self, stream: StreamName) {
        self.0.send_modify(|known| match stream {
            StreamName::Stdout => known.stdout.flush(),
            StreamName::Stderr => known.stderr.flush(),
        });
    }

    /// Adds redactions.
    pub(crate) fn count(&self, counts: BTreeMap<String, u64>) {
        if counts.is_empty() {
            return;
        }
        self.0.send_modify(|known| {
            for (rule, count) in counts {
                *known.redactions.entry(rule).or_default() += count;
            }
        });
    }

    /// Says whether it waits for input.
    pub(crate) fn waits_for_input(&self, waits: bool) {
        self.0.send_if_modified(|known| std::mem::replace(&mut known.waits_for_input, waits) != waits);
    }

    /// Looks at what is known now. What `look` does keeps the command's output waiting.
    pub fn look<T>(&self, look: impl FnOnce(&Known) -> T) -> T {
        look(&self.0.borrow())
    }

    /// Waits until what is known is so. Safe to drop.
    pub async fn once(&self, is_so: impl FnMut(&Known) -> bool) {
        // The sender is ours, so that it cannot be gone.
        let _known = self.0.subscribe().wait_for(is_so).await.map(drop);
    }
}
