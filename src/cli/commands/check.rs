//! `check`: a dry run.

use std::io::BufRead;
use std::mem::ManuallyDrop;
use std::os::unix::ffi::OsStrExt;

use palisade_runner::dry_run::{Case, judge};
use palisade_runner::{Decision, Explained, Redacted, Settings};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cli::args::{Check, Transport};
use crate::cli::commands;
use crate::cli::commands::policy::plan_of;
use crate::cli::exit::Exit;
use crate::cli::report::{self, CliError};
use crate::config;

/// One line of batch input; the flags give what is left out.
#[derive(Debug, Deserialize)]
#[serde(rename = "Line", deny_unknown_fields)]
struct CheckInput {
    #[serde(default)]
    id: Option<String>,
    command: String,
    agent: Option<String>,
    user: Option<String>,
    roles: Option<Vec<String>>,
    transport: Option<String>,
    target: Option<String>,
    workspace: Option<String>,
    cwd: Option<String>,
    approved: Option<bool>,
    guarded: Option<bool>,
}

/// A verdict under the name that its line gave it.
#[derive(Debug, Serialize)]
struct CheckOutput<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Redacted>,
    #[serde(flatten)]
    explained: &'a Explained,
    /// What a session would be held to; for one local command.
    #[serde(skip_serializing_if = "Option::is_none")]
    sandbox: Option<Value>,
}

pub(crate) fn run(args: &Check) -> Result<Exit, CliError> {
    config::look_into_view(&args.context)?;
    commands::begin_to_probe();
    // The process ends after this; taking the policies down piece by piece would cost as much as a verdict does.
    let settings = ManuallyDrop::new(config::load_for_check(&args.context)?);
    let base = base(args, &settings)?;
    if args.batch {
        return batch(&settings, &base);
    }
    let mut case = base;
    case.script = args.command.as_ref().map(|command| command.as_bytes().to_vec()).unwrap_or_default();
    let explained = judge(&settings, &case);
    let text = if args.context.json {
        let local = args.context.target.is_none() && matches!(args.context.transport, None | Some(Transport::Local));
        let sandbox = local.then(|| plan_of(&settings));
        commands::json(&CheckOutput { id: None, explained: &explained, sandbox })?
    } else {
        report::verdict(&explained)
    };
    report::print(&text);
    Ok(match explained.decision {
        Decision::Allow => Exit::Fine,
        Decision::Ask => Exit::Ask,
        Decision::Deny => Exit::Findings,
    })
}

fn base(args: &Check, settings: &Settings) -> Result<Case, config::ConfigError> {
    let mut case = Case::of(settings);
    case.approved = args.approved;
    let asked = args.context.transport.map(|transport| match transport {
        Transport::Local => "local",
        Transport::Ssh => "ssh",
        Transport::Docker => "docker",
    });
    place(&mut case, settings, args.context.target.as_deref(), asked)?;
    if args.unguarded {
        case.guarded = false;
    }
    Ok(case)
}

/// Moves a case to where it is asked about: a target of the settings, or any machine that is reached as it says.
///
/// # Errors
/// If the settings have no such target, or it is reached in another way.
fn place(
    case: &mut Case,
    settings: &Settings,
    named: Option<&str>,
    asked: Option<&str>,
) -> Result<(), config::ConfigError> {
    match (named.and_then(|name| settings.targets.get(name)), named, asked) {
        (Some(target), ..) => {
            let reached = target.transport().as_str();
            if let Some(asked) = asked.filter(|asked| *asked != reached) {
                let (name, asked) = (target.name.clone(), asked.to_owned());
                return Err(config::ConfigError::OtherTransport { name, reached, asked });
            }
            case.set_target(target);
        }
        // A name that no settings know stands for itself, where it is said how it would be reached.
        (None, target, Some(asked @ ("ssh" | "docker"))) => case.set_transport(asked, target),
        (None, Some(name), _) => return Err(config::ConfigError::NoTarget(name.to_owned())),
        (None, None, _) => {}
    }
    Ok(())
}

fn batch(settings: &Settings, base: &Case) -> Result<Exit, CliError> {
    let mut exit = Exit::Fine;
    for (index, line) in std::io::stdin().lock().split(b'\n').enumerate() {
        let line = line.map_err(|error| CliError::new(format!("cannot read standard input: {error}"), ""))?;
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let text = match judge_line(settings, base, &line) {
            Ok(text) => text,
            Err(error) => {
                exit = Exit::Error;
                commands::bad_line(&line, index + 1, &error, &settings.redactor)?
            }
        };
        if !report::print(&text) {
            return Ok(exit);
        }
    }
    Ok(exit)
}

fn judge_line(settings: &Settings, base: &Case, line: &[u8]) -> Result<String, String> {
    let line: CheckInput = commands::read_line(line, r#"{"command": "ls -l"}"#)?;
    let id = line.id.as_deref().map(|id| settings.redactor.text(id));
    let mut case = base.clone();
    let asked = line.transport.as_deref();
    if let Some(transport) = asked.filter(|asked| !["local", "ssh", "docker"].contains(asked)) {
        return Err(format!("`transport` is `{transport}`, which is none of local, ssh, docker"));
    }
    let named = line.target.as_deref().filter(|target| !target.is_empty());
    match (named, asked) {
        (None, Some(asked)) => case.set_transport(asked, None),
        _ => place(&mut case, settings, named, asked).map_err(|error| error.to_string())?,
    }
    case.agent = line.agent.unwrap_or(case.agent);
    case.user = line.user.unwrap_or(case.user);
    case.roles = line.roles.map(|roles| roles.into_iter().collect()).unwrap_or(case.roles);
    if let Some(workspace) = &line.workspace {
        case.set_workspace(workspace)
            .ok_or_else(|| format!("`workspace` is `{workspace}`, which is not an absolute path"))?;
    }
    if let Some(cwd) = &line.cwd {
        case.set_cwd(cwd).ok_or_else(|| format!("`cwd` is `{cwd}`, which is not an absolute path"))?;
    }
    case.approved = line.approved.unwrap_or(case.approved);
    case.guarded = line.guarded.unwrap_or(case.guarded);
    case.script = line.command.into_bytes();
    let explained = judge(settings, &case);
    commands::json(&CheckOutput { id, explained: &explained, sandbox: None })
        .map_err(|_| "the verdict cannot be written as JSON".to_owned())
}
