//! The arguments of `sh`.

use std::ffi::OsString;
use std::path::PathBuf;

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
    /// Run beside the session, in a shell that begins as the session's
    #[arg(long, requires = "session", hide = true)]
    pub(crate) beside: bool,
    /// Leave the session as it was: nothing that the script changes in its shell is kept
    #[arg(long, requires = "session", hide = true)]
    pub(crate) stateless: bool,
    /// Ask this stand-by process first
    #[arg(long, value_name = "NAME", hide = true)]
    pub(crate) standby: Option<String>,
    /// Be there for this directory, whichever the caller stands in
    #[arg(long, value_name = "DIR", hide = true)]
    pub(crate) at: Option<PathBuf>,
    /// Judge and run in this very process, and keep none ready for the next call
    #[arg(long, conflicts_with = "session")]
    pub(crate) alone: bool,
    /// What a shell takes: `-c TEXT NAME ARG…`, `FILE ARG…`, or nothing, and a script on standard input
    #[arg(value_name = "ARG", trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) words: Vec<OsString>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Standby {
    /// The name of the socket on standard input
    #[arg(long, value_name = "NAME")]
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) context: Context,
}
