//! The arguments of `hook`.

use clap::{Args, ValueEnum};

use crate::config::flags::Context;

#[derive(Debug, Args)]
pub(crate) struct Hook {
    /// The client that asks
    #[arg(value_name = "CLIENT")]
    pub(crate) client: HookClient,
    #[command(flatten)]
    pub(crate) context: Context,
    /// Deny or ask what policy does not allow, and change nothing else: what the hook does without a mode
    #[arg(long, group = "mode")]
    pub(crate) verdict: bool,
    /// Have Palisade run the client's commands, in the sandbox; deny or ask about its other tools
    #[arg(long, group = "mode")]
    pub(crate) wrap: bool,
    /// Say nothing, and record what would have been said
    #[arg(long, group = "mode")]
    pub(crate) shadow: bool,
}

/// Clients whose requests are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum HookClient {
    Claude,
    Codex,
    Gemini,
    Cursor,
    Copilot,
    Vscode,
    Opencode,
}

/// What comes of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HookMode {
    Verdict,
    Wrap,
    Shadow,
}

impl Hook {
    /// The mode that was asked for.
    pub(crate) fn mode(&self) -> HookMode {
        match (self.wrap, self.shadow) {
            (true, _) => HookMode::Wrap,
            (false, true) => HookMode::Shadow,
            (false, false) => HookMode::Verdict,
        }
    }
}
