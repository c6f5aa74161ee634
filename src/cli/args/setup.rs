//! What can be typed behind `setup`.

use clap::Args;

use super::Context;

#[derive(Debug, Args)]
pub(crate) struct Setup {
    /// The client: claude, codex, gemini, cursor, vscode or opencode
    #[arg(value_name = "CLIENT")]
    pub(crate) client: String,
    #[command(flatten)]
    pub(crate) context: Context,
}
