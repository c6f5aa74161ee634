//! The program `palisade`: arguments, terminal, exit statuses. It decides nothing.

pub(crate) mod args;
mod clients;
mod commands;
mod exit;
mod foreground;
mod help;
mod hook;
mod reload;
mod report;
mod standby;
mod watch;

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use clap::FromArgMatches;
use clap::error::ErrorKind;

use crate::cli::args::{Cli, Verb};
use crate::cli::exit::Exit;
use crate::cli::report::CliError;

/// Does what was typed.
pub(crate) fn main() -> ExitCode {
    let typed = help::command().try_get_matches_from(words()).and_then(|typed| Cli::from_arg_matches(&typed));
    let cli = match typed {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    // Before anything secret is in memory: no core files, and nobody of the same user reads it.
    if let Err(error) = palisade_runner::sandbox::harden_server() {
        CliError::new(format!("cannot make this process unreadable to others: {error}"), "").print();
        return Exit::Failed.into();
    }
    // What goes wrong is told once, by the verb itself; a server has nobody else to tell.
    logging(if matches!(cli.verb, Verb::Serve(_)) { "warn" } else { "off" });
    let ended = match &cli.verb {
        Verb::Check(args) => commands::check::run(args),
        Verb::Inventory(args) => commands::inventory::run(args),
        Verb::Run(args) => commands::run::run(args),
        Verb::Sh(args) => commands::sh::run(args),
        Verb::Hook(args) => Ok(hook::run(args)),
        Verb::Standby(args) => standby::server::run(args),
        Verb::Serve(args) => commands::serve::run(args),
        Verb::Redact(args) => commands::redact::run(args),
        Verb::Audit(args) => commands::audit::run(args),
        Verb::Checkpoint(args) => commands::checkpoint::run(args),
        Verb::Workspace(args) => commands::workspace::run(args),
        Verb::Watch(args) => commands::watch::run(args),
        Verb::Policy(args) => commands::policy::run(args),
        Verb::Approvals(args) => commands::approvals::run(args),
        Verb::Stop(args) => commands::stop::run(args),
        Verb::Doctor(args) => commands::doctor::run(args),
        Verb::Setup(args) => commands::setup::run(args),
        Verb::On(args) => commands::apply::on(args),
        Verb::Off(args) => commands::apply::off(args),
        Verb::Status(args) => commands::apply::status(args),
        Verb::RemoteGuard(args) => commands::remote_guard::run(args),
    };
    match ended {
        Ok(exit) => exit.into(),
        Err(trouble) => {
            trouble.print();
            // `run` keeps the small numbers for the command's own use.
            let failed = if matches!(cli.verb, Verb::Run(_) | Verb::Sh(_)) { Exit::Failed } else { Exit::Error };
            failed.into()
        }
    }
}

/// Names under which this program is the verb `sh`: callers start a shell by its path alone, and some take none for one without `bash` in it.
const SHELLS: [&str; 4] = ["palisade-sh", "palisade-bash", "sh", "bash"];

/// What was typed. A link to this program with the name of a shell stands for the verb.
fn words() -> impl Iterator<Item = OsString> {
    let mut typed = std::env::args_os();
    let name = typed.next().unwrap_or_else(|| "palisade".into());
    // A login shell's name begins with a hyphen.
    let own = Path::new(&name).file_name().and_then(OsStr::to_str).unwrap_or_default().trim_start_matches('-');
    let is_shell = SHELLS.contains(&own);
    let verb = is_shell.then(|| OsString::from("sh"));
    std::iter::once(name).chain(verb).chain(typed)
}

/// Help and version go to stdout and are fine; wrong use is an error like any other.
fn usage(error: &clap::Error) -> ExitCode {
    let shown = error.render().to_string();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            report::print(&shown);
            Exit::Fine.into()
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            report::complain(&shown);
            Exit::Error.into()
        }
        _ => {
            report::complain(&shown);
            let verb = words().nth(1).unwrap_or_default();
            let exit = match verb.to_str() {
                Some("run" | "sh") => Exit::Failed,
                // What a client takes for a denial.
                Some("hook") => Exit::Findings,
                _ => Exit::Error,
            };
            exit.into()
        }
    }
}

/// Logs go to stderr, and only on request. Libraries print whole messages and scripts at their lower levels, secrets
/// included: whatever is asked for, only lines of this program's own crates are written, and errors of others.
fn logging(default: &str) {
    use tracing_subscriber::filter::{EnvFilter, Filtered, LevelFilter, filter_fn};
    use tracing_subscriber::layer::SubscriberExt as _;
    use tracing_subscriber::util::SubscriberInitExt as _;
    let asked = std::env::var("PALISADE_LOG").unwrap_or_else(|_| default.to_owned());
    let filter = EnvFilter::try_new(&asked).or_else(|_| EnvFilter::try_new(default)).unwrap_or_default();
    let is_safe = filter_fn(|line| {
        let is_ours = line.module_path().is_some_and(|module| module.starts_with("palisade"));
        is_ours || *line.level() <= LevelFilter::ERROR
    });
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let subscriber = tracing_subscriber::registry().with(filter).with(Filtered::new(lines, is_safe));
    let _already_set = subscriber.try_init();
}
