//! `policy`: what people who write policies need. One file per verb.

mod diff;
mod fmt;
pub(crate) mod lint;
mod sandbox;
mod show;
mod test;
mod validate;
mod watch;

pub(crate) use self::sandbox::plan_of;
use crate::cli::args::{Policy, PolicyAction};
use crate::cli::exit::Exit;
use crate::cli::report::CliError;

pub(crate) fn run(args: &Policy) -> Result<Exit, CliError> {
    match &args.action {
        PolicyAction::Validate(args) => validate::run(args),
        PolicyAction::Test(args) => test::run(args),
        PolicyAction::Lint(args) => lint::run(args),
        PolicyAction::Fmt(args) => fmt::run(args),
        PolicyAction::Diff(args) => diff::run(args),
        PolicyAction::ExplainSandbox(args) => sandbox::run(args),
        PolicyAction::Show(args) => show::run(args),
        PolicyAction::Watch(args) => watch::run(&args.set),
    }
}
