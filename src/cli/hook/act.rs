//! What a client is about to do, and what is said to that. Plain data.

use std::path::PathBuf;

use serde_json::{Map, Value};

/// One use of a tool.
#[derive(Debug)]
pub(super) struct ToolUse {
    /// The client's name for the conversation.
    pub(super) session: Option<String>,
    /// Where the client stands.
    pub(super) cwd: PathBuf,
    /// The directory that the conversation is about, where it says one.
    pub(super) project: Option<PathBuf>,
    /// The tool's name.
    pub(super) tool: String,
    /// What it is given, as the client said it.
    pub(super) input: Map<String, Value>,
    /// All that it does.
    pub(super) acts: Vec<ToolAct>,
}

/// One thing that a tool does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ToolAct {
    /// Runs a text in a shell.
    Command {
        /// The text.
        text: String,
        /// The client does not wait for it.
        is_background: bool,
    },
    /// Opens a file to read it.
    Read(String),
    /// Looks through a directory, and may show what is in any file below it.
    Search(String),
    /// Shows the names of what is below a directory.
    List(String),
    /// Makes or changes a file.
    Write(String),
    /// Removes a file.
    Delete(String),
    /// Fetches an address.
    Fetch(String),
    /// Uses a tool of another MCP server: `server/tool`.
    Tool(String),
    /// Nothing outside the client itself.
    Nothing,
    /// Nobody can tell what.
    Unknown(String),
}

/// What is said to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// The client goes on as it would by itself.
    Nothing,
    /// It runs this command in the place of its own.
    Rewrite(String),
    /// It asks its person.
    Ask(String),
    /// It does not do it.
    Deny(String),
}

impl Said {
    /// The stricter of two.
    pub(super) fn and(self, other: Self) -> Self {
        if other.strictness() > self.strictness() { other } else { self }
    }

    fn strictness(&self) -> u8 {
        match self {
            Self::Nothing => 0,
            Self::Rewrite(_) => 1,
            Self::Ask(_) => 2,
            Self::Deny(_) => 3,
        }
    }
}
