//! `watch`: what sessions do, live: in a terminal, or as plain lines.

use std::io::{self, IsTerminal as _};

use palisade_audit::From;

use crate::cli::args::{Context, RecordFilter, Watch};
use crate::cli::commands::audit::{filter, may_read};
use crate::cli::exit::Exit;
use crate::cli::report::CliError;
use crate::cli::watch;
use crate::config;

pub(crate) fn run(args: &Watch) -> Result<Exit, CliError> {
    let directory = match &args.path {
        Some(path) => path.clone(),
        None => config::audit_directory(args.config.as_deref())?,
    };
    if directory.is_file() {
        let name = directory.display();
        let help = "name the directory of a record; `palisade audit show` takes a file";
        return Err(CliError::new(format!("`{name}` is a file"), help));
    }
    if args.path.is_some() && !directory.exists() {
        let help = "name the directory of a record; the first command that runs makes it";
        return Err(CliError::new(format!("`{}` does not exist", directory.display()), help));
    }
    // Before there is a record, whose it will be is told by the place that it will be in.
    let place = directory.ancestors().find(|place| place.exists()).unwrap_or(&directory);
    if !may_read(place, args.config.as_deref())? {
        return Ok(Exit::Denied);
    }
    if args.follow {
        let filter = filter(&args.filter)?;
        let from = filter.since.map_or(From::Now, From::Since);
        watch::lines::run(&directory, from, &filter, args.json)?;
        return Ok(Exit::Fine);
    }
    if args.filter != RecordFilter::default() {
        let help = "in the terminal and on the page one filters by keys: `/` searches, `a`, `d` and `w` pick a verdict";
        return Err(CliError::new("filters go with `--follow`", help));
    }
    let control = || config::control(&Context { config: args.config.clone(), ..Context::default() });
    if let Some(address) = &args.serve {
        watch::page::run(&directory, address, control()?, args.answer)?;
        return Ok(Exit::Fine);
    }
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    if is_dumb || !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        let help = "use `palisade watch --follow` for plain lines, or `palisade watch --serve` for a page";
        return Err(CliError::new("the view needs a terminal", help));
    }
    watch::terminal::run(&directory, control()?)?;
    Ok(Exit::Fine)
}
