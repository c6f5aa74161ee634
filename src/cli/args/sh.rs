//! The arguments of `sh`.

use std::ffi::OsString;

use crate::config::flags::Context;

#[derive(Debug, clap::Args)]
pub(crate) struct Sh {
    #[command(flatten)]
    pub(crate) context: Context,
    /// Keep directory, variables and functions from one call to the next, under this name
    #[arg(long, value_name = "NAME")]
    pub(crate) session: Option<String>,
    /// Give a variable of the caller's to the script, if policy lets it; repeatable
    #[arg(long = "env", value_name = "NAME")]
    pub(crate) variables: Vec<String>,
    /// Judge and run in this very process, and keep none ready for the next call
    #[arg(long, conflicts_with = "session")]
    pub(crate) alone: bool,
    /// What a shell takes: `-c TEXT NAME ARG…`, `FILE ARG…`, or nothing, and a script on standard input
    #[arg(value_name = "ARG", trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) words: Vec<OsString>,
}
