//! What can be typed behind `setup`, `on`, `off` and `status`.

use clap::{Args, ValueEnum};

use super::Context;

#[derive(Debug, Args)]
pub(crate) struct Setup {
    /// The client: claude, codex, gemini, cursor, copilot, vscode or opencode
    #[arg(value_name = "CLIENT")]
    pub(crate) client: String,
    /// Write the client's settings, in place of printing them
    #[arg(long)]
    pub(crate) apply: bool,
    /// Take back what `--apply` has written
    #[arg(long, conflicts_with = "apply")]
    pub(crate) remove: bool,
    #[command(flatten)]
    pub(crate) how: How,
    #[command(flatten)]
    pub(crate) context: Context,
}

/// How clients are brought under Palisade.
#[derive(Clone, Debug, Args)]
pub(crate) struct How {
    /// With `--apply`: what the client is told to do [default: wrap]
    #[arg(long, value_name = "MODE")]
    pub(crate) mode: Option<SetupMode>,
    /// Write the machine's settings, which no file in a project switches off; takes root
    #[arg(long)]
    pub(crate) system: bool,
}

/// Ways to bring a client under Palisade.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SetupMode {
    /// Its commands run in Palisade's sandbox, through its own shell tool
    Wrap,
    /// Its hook denies or asks, and nothing else changes
    Verdict,
    /// Its hook says nothing, and records what it would have said
    Shadow,
    /// It starts Palisade as an MCP server, and has no shell of its own
    #[value(hide = true)]
    Mcp,
}

#[derive(Debug, Args)]
pub(crate) struct On {
    #[command(flatten)]
    pub(crate) how: How,
    #[command(flatten)]
    pub(crate) context: Context,
}

#[derive(Debug, Args)]
pub(crate) struct Off {
    /// Take back the machine's settings; takes root
    #[arg(long)]
    pub(crate) system: bool,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Print JSON for machines
    #[arg(long)]
    pub(crate) json: bool,
}
