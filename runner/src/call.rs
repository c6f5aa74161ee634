//! What a caller asks for: a script, and the terms that it is to run on. Plain data; decides nothing.

use std::time::Duration;

use palisade_redact::output::View;
use tokio::sync::mpsc;

use crate::shell::{Chunk, Follower, Order, Stop, TerminalSize, Typed};

/// Who calls, beyond the principal: what an MCP client says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Client(String);

impl Client {
    /// A name that is nobody's proof.
    pub fn self_declared(name: String) -> Self {
        Self(name)
    }

    /// The name; empty if it says none.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A script to be judged and run.
#[derive(Debug, Default)]
pub struct Call {
    /// The script, as bytes: what is wrong with it is the grammar's to say.
    pub script: Vec<u8>,
    /// The session to run it in; none: a fresh one that ends with it.
    pub session: Option<String>,
    /// Where to run it.
    pub cwd: Option<String>,
    /// How long it may take; none: as the settings say.
    pub timeout: Option<Duration>,
    /// What to show of each stream; none: as the settings say.
    pub view: Option<View>,
    /// The agent's own words, for the record.
    pub reason: String,
    /// Who calls.
    pub client: Client,
    /// Where output goes as it comes.
    pub live: Option<mpsc::Sender<Chunk>>,
    /// Who follows it while the call waits.
    pub follower: Follower,
    /// What ends it early, as long as the call waits for it.
    pub stop: Stop,
    /// How long the call waits for its end before it becomes a job; zero: a job from the beginning, with a shell of its
    /// own and an input that can be written to. None: the call waits.
    pub yields: Option<Duration>,
    /// The terminal that it has for its standard streams; none: it has none. It runs in a shell of its own then, and what
    /// it reads can be typed.
    pub terminal: Option<TerminalSize>,
    /// What it reads on its standard input while the call waits; none: that is empty, or what a job's caller types.
    pub input: Option<mpsc::Receiver<Typed>>,
    /// What it is told while the call waits, such as another size of its terminal.
    pub orders: Option<mpsc::Receiver<Order>>,
    /// It runs in a shell of its own that begins as its session's, which goes on meanwhile.
    pub apart: bool,
    /// Colours and other renditions of its output are kept; else only text is.
    pub colours: bool,
}

impl Call {
    /// Whether it runs in a shell of its own that begins as its session's, and has an input that can be written to.
    pub(crate) fn is_apart(&self) -> bool {
        self.apart || self.yields == Some(Duration::ZERO) || self.terminal.is_some()
    }
}
