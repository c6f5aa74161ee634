//! How one script is to be run, and what reaches it and comes from it while it runs. Plain data; decides nothing.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use palisade_engine::AbsolutePath;
use palisade_redact::RedactedBytes;
use tokio::sync::{mpsc, watch};

use super::deadline::Due;
use super::progress::Progress;

/// How one script is to be run.
#[derive(Debug)]
pub struct Terms {
    /// Go there first.
    pub directory: Option<AbsolutePath>,
    /// End it when this time is up.
    pub timeout: Duration,
    /// At a target: when it is due, in the place of `timeout`.
    pub due: Option<Due>,
    /// How long its processes are given to end of themselves, once they are told to; none: they are interrupted, and
    /// killed half a second later.
    pub grace: Option<Duration>,
    /// Where what is known of it is kept.
    pub progress: Arc<Progress>,
    /// Where output goes as it comes, besides being kept.
    pub live: Option<mpsc::Sender<Chunk>>,
    /// What ends it early.
    pub stop: Stop,
    /// What is written to its standard input while it runs; none: that is empty.
    pub input: Option<mpsc::Receiver<Typed>>,
    /// What it is told while it runs.
    pub orders: Option<mpsc::Receiver<Order>>,
    /// Colours and other renditions of its output stay in.
    pub colours: bool,
    /// Where its shell stands behind it, if that is known before: nothing but the shell runs, and that does nothing that could move it.
    pub stays: Option<AbsolutePath>,
    /// Its shell is for it alone, and ends with it if it sets anything that runs then (`trap … EXIT`).
    pub ends: bool,
}

/// What a running script finds on its standard input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Typed {
    /// Bytes.
    Bytes(Vec<u8>),
    /// The end.
    End,
}

/// The size of a terminal, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Columns.
    pub cols: u16,
}

impl Default for TerminalSize {
    /// What programs expect that do not ask.
    fn default() -> Self {
        Self { rows: 24, cols: 80 }
    }
}

/// What a running script is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// A signal for every process that it started.
    Signal(rustix::process::Signal),
    /// That its terminal has another size now.
    Resize(TerminalSize),
    /// To end, with everything that it started.
    Stop {
        /// How long its processes are given, once they are told to end.
        grace: Option<Duration>,
    },
}

/// Ends a running script early: any of several switches.
#[derive(Clone, Debug, Default)]
pub struct Stop(Vec<watch::Receiver<bool>>);

impl Stop {
    /// Adds a switch; it is on once it holds true.
    pub fn listen(&mut self, switch: watch::Receiver<bool>) {
        self.0.push(switch);
    }

    /// Waits until a switch is on. Without any, or when those who could turn them are gone, for ever. Safe to drop.
    pub async fn requested(&mut self) {
        let mut waits: Vec<_> = self.0.iter_mut().map(|switch| Box::pin(switch.wait_for(|on| *on))).collect();
        std::future::poll_fn(|context| {
            // A switch whose other half is gone stays off; polled once more it would not wake us, so it is let go.
            let mut requested = false;
            waits.retain_mut(|wait| match Future::poll(wait.as_mut(), context) {
                Poll::Ready(Ok(_)) => {
                    requested = true;
                    false
                }
                Poll::Ready(Err(_)) => false,
                Poll::Pending => true,
            });
            if requested { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// Output as it comes.
#[derive(Debug)]
pub struct Chunk {
    /// Which stream.
    pub stream: StreamName,
    /// Redacted bytes.
    pub bytes: RedactedBytes,
}

/// One of a command's output streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamName {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}
