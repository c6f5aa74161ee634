//! Why settings are refused, and what to do about it.

use miette::Diagnostic;
use palisade_audit::export::TlsError;
use palisade_engine::{BundleError, CaseError, VocabularyError};
#[cfg(feature = "cli")]
use palisade_mcp::http::config::HttpConfigError;
use palisade_runner::environment::EnvironmentError;

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub(crate) enum ConfigError {
    #[error(transparent)]
    #[diagnostic(transparent)]
    View(#[from] super::view::ViewError),
    #[error("cannot read `{path}`")]
    Read { path: String, source: std::io::Error },
    #[error("{what}")]
    #[diagnostic(help("{help}"))]
    Named { what: String, help: String },
    #[error("{place}: {message}")]
    #[diagnostic(help("the settings and their values are listed in docs/settings.md"))]
    Toml { place: String, message: String },
    #[error("{place}: the target `{name}` {why}")]
    #[diagnostic(help("targets are explained in docs/transports.md"))]
    Target { place: String, name: String, why: String },
    #[error("{place}: the collector of `export.{name}`: {why}")]
    #[diagnostic(help("copies of the record are explained in docs/record.md"))]
    Export { place: String, name: &'static str, why: TlsError },
    #[error("`{name}` is neither a policy file nor a profile")]
    #[diagnostic(help("the profiles are: {known}; a policy file ends in `.cedar`"))]
    NoSet { name: String, known: String },
    #[error("there is no target `{0}` in the settings")]
    #[diagnostic(help("a target is a table `[targets.NAME]` in the settings file"))]
    NoTarget(String),
    #[error("`--transport {0}` does not say which target is meant")]
    #[diagnostic(help("name it: `--target NAME`"))]
    Untargeted(&'static str),
    #[error("the target `{name}` is reached by {reached}, not by {asked}")]
    #[diagnostic(help("leave `--transport` out: the target says how it is reached"))]
    OtherTransport { name: String, reached: &'static str, asked: String },
    #[error("{place}: `sandbox.accept` names `{id}`, and there is no such policy")]
    #[diagnostic(help("`palisade policy explain-sandbox` lists the rules that can be accepted"))]
    Accept { place: String, id: String },
    #[error("{place}: `clock.time-zone`: {unknown}")]
    #[diagnostic(help(
        "name one of `/usr/share/zoneinfo` (Debian's package `tzdata`), such as `Europe/Zurich` or `UTC`"
    ))]
    Zone { place: String, unknown: palisade_runner::UnknownZone },
    #[error("`{key}` is `{value}`, which is not {expected}")]
    Value { key: String, value: String, expected: &'static str },
    #[error("{place}: `{key}` is `{value}`, which is not {expected}")]
    #[diagnostic(help("the settings and their values are listed in docs/settings.md"))]
    Setting { place: String, key: String, value: String, expected: &'static str },
    #[error("the workspace `{0}` does not exist")]
    #[diagnostic(help("give a directory with `--workspace`, or run in the one that the agent shall work in"))]
    NoWorkspace(String),
    #[error("the workspace `{0}` is not a directory")]
    WorkspaceNotDirectory(String),
    #[error("the {what} `{path}` does not exist or is not a directory")]
    Directory { what: &'static str, path: String },
    #[error("the {what} `{path}` lies inside the workspace or a granted directory, within the agent's reach")]
    #[diagnostic(help("move it, or name another workspace with `--workspace`, or grant less"))]
    WithinReach { what: &'static str, path: String },
    #[error("`{0}` is not for a verb that runs commands by itself")]
    #[diagnostic(help(
        "commands then run on this machine; an agent opens a session at a target with `session_open`, and `check` judges for one"
    ))]
    Transport(&'static str),
    #[error("cannot tell the home directory: HOME is not set to an absolute path")]
    Home,
    #[error("{place}: {why}")]
    #[diagnostic(help("take it out of `sandbox.environment`"))]
    Environment { place: String, why: EnvironmentError },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Bundle(#[from] BundleError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Vocabulary(#[from] VocabularyError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Case(#[from] CaseError),
    #[error("the secret rules are broken: {0}")]
    Rules(String),
    #[error("{place}: the principal `{name}` {why}")]
    #[diagnostic(help("principals are explained in docs/serve-http.md"))]
    Principal { place: String, name: String, why: String },
    #[error("`--agent`, `--user` and `--role` are not for a server whose settings name its principals")]
    #[diagnostic(help("take them out, or start one server for each agent"))]
    Principals,
    #[cfg(feature = "cli")]
    #[error(transparent)]
    #[diagnostic(transparent)]
    Terms(#[from] HttpConfigError),
}
