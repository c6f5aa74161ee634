//! `approvals remembered` and `approvals forget`: the yeses that hold for longer than one call.
//!
//! The servers that run know them all. Where none runs, those of the file are read and changed here.

use palisade_engine::{Lasts, StandingYes};
use palisade_runner::control::wire::{Answer, Ask, Kept};
use palisade_runner::remembered::Remembered;

use super::{ask_all, lines, servers, told};
use crate::cli::args::Context;
use crate::cli::commands;
use crate::cli::exit::Exit;
use crate::cli::report::{self, CliError, one_line, printable};
use crate::config;

pub(super) fn list(context: &Context, json: bool) -> Result<Exit, CliError> {
    let servers = servers(context)?;
    let (answers, mut failed) = ask_all(&servers, &Ask::Remembered);
    let (mut kept, mut refused) = (Vec::new(), false);
    for (_, answer) in answers {
        match answer {
            Answer::Remembered(more) => kept.extend(more),
            other => match told(&other) {
                Exit::Findings => refused = true,
                _ => failed = true,
            },
        }
    }
    if servers.is_empty()
        && let Some(file) = file(context)?
    {
        kept.extend(file.read().map_err(|error| CliError::of(&error))?.yeses().map(plain));
    }
    kept.sort_by(|one: &Kept<String>, other| (&one.granted, &one.id).cmp(&(&other.granted, &other.id)));
    // Each server of an account tells those of the file.
    kept.dedup_by(|one, other| one.id == other.id);
    if json {
        report::print(&commands::json(&kept)?);
    } else if kept.is_empty() && !failed && !refused {
        report::print("no yes is remembered\n");
    } else {
        let texts: Vec<String> = kept.iter().map(text).collect();
        report::print(&texts.join("\n"));
    }
    Ok(match (failed, refused) {
        (true, _) => Exit::Error,
        (false, true) => Exit::Findings,
        (false, false) => Exit::Fine,
    })
}

pub(super) fn forget(context: &Context, id: &str) -> Result<Exit, CliError> {
    let servers = servers(context)?;
    let (answers, failed) = ask_all(&servers, &Ask::Forget { id: id.to_owned() });
    let (mut forgotten, mut refused) = (false, false);
    for (_, answer) in answers {
        match answer {
            Answer::Forgotten { .. } => forgotten = true,
            Answer::Unknown => {}
            other => refused |= told(&other) == Exit::Findings,
        }
    }
    if servers.is_empty()
        && let Some(file) = file(context)?
    {
        forgotten = file.forget(id).map_err(|error| CliError::of(&error))?;
    }
    if forgotten {
        report::print(&format!("{} is taken back\n", printable(id)));
        return Ok(Exit::Fine);
    }
    if refused {
        return Ok(Exit::Findings);
    }
    if failed {
        return Ok(Exit::Error);
    }
    let what = format!("no yes of the id `{}` is remembered", one_line(id));
    Err(CliError::new(what, "`palisade approvals remembered` lists them"))
}

fn file(context: &Context) -> Result<Option<Remembered>, CliError> {
    config::remembered(context).map_err(|error| CliError::of(&error))
}

fn plain(yes: &StandingYes) -> Kept<String> {
    Kept {
        id: yes.id.clone(),
        by: yes.by.clone(),
        lasts: yes.lasts,
        granted: yes.granted.clone(),
        permits: yes.text.clone(),
    }
}

fn text(kept: &Kept<String>) -> String {
    format!(
        "{}: for {}, by {}, {}\n{}",
        printable(&kept.id),
        match kept.lasts {
            Lasts::Once => "one call",
            Lasts::Session => "one session",
            Lasts::Agent => "one agent",
            Lasts::Always => "all agents of one user",
        },
        printable(&kept.by),
        printable(&kept.granted),
        lines(&kept.permits)
    )
}
