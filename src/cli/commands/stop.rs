//! `stop`: ends what an agent or a session runs, in every server that knows it, and locks it out.

use palisade_runner::control::wire::{Answer, Ask, Target};

use crate::cli::args::{Context, Stop};
use crate::cli::commands;
use crate::cli::commands::approvals::{ask_all, servers, told};
use crate::cli::exit::Exit;
use crate::cli::report::{self, CliError, one_line, printable};

pub(crate) fn run(args: &Stop) -> Result<Exit, CliError> {
    let what = match &args.target {
        Some(name) => Target::Named(name.clone()),
        None => Target::All,
    };
    let reason = args.reason.clone().unwrap_or_default();
    let ask = if args.lift { Ask::Lift { what, reason } } else { Ask::Stop { what, reason } };
    let servers = servers(&Context { config: args.config.clone(), ..Context::default() })?;
    let (answers, mut failed) = ask_all(&servers, &ask);
    let (mut done, mut refused) = (false, false);
    for (chain, answer) in &answers {
        match answer {
            Answer::Stopped(_) | Answer::Lifted(_) if args.json => {
                done = true;
                report::print(&commands::json(&serde_json::json!({ "server": chain, "answer": answer }))?);
            }
            Answer::Stopped(stopped) => {
                done = true;
                report::print(&format!(
                    "{} stopped: {} commands ended, {} sessions closed\n",
                    printable(&stopped.what),
                    stopped.commands,
                    stopped.sessions
                ));
            }
            Answer::Lifted(lifted) => {
                done = true;
                report::print(&format!("{} may go on\n", printable(&lifted.what)));
            }
            // It is another server's.
            Answer::Unknown => {}
            other => match told(other) {
                Exit::Findings => refused = true,
                _ => failed = true,
            },
        }
        if let Answer::Stopped(stopped) = answer
            && !stopped.recorded
        {
            failed = true;
            CliError::new("everything has ended, but that is not on record: the record cannot be written", "").print();
        }
    }
    if !done && !refused && !failed {
        return match (&args.target, args.lift) {
            (None, false) => {
                report::complain("palisade: no server runs here\n");
                Ok(Exit::Fine)
            }
            (None, true) => Err(CliError::new("nothing is stopped altogether", "")),
            (Some(name), _) if servers.is_empty() => {
                let what = format!("no server runs here that could know a session or an agent `{}`", one_line(name));
                Err(CliError::new(what, "name the server's settings with `--config`, if it has its own"))
            }
            (Some(name), lift) => {
                let what = format!("no running server knows a session or an agent `{}`", one_line(name));
                let help = if lift { "" } else { "`palisade stop --all` ends whatever runs" };
                Err(CliError::new(what, help))
            }
        };
    }
    Ok(match (failed, refused) {
        (true, _) => Exit::Error,
        (false, true) => Exit::Findings,
        (false, false) => Exit::Fine,
    })
}
