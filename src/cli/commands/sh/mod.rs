//! `sh`: a shell for callers that expect one. What they hand to `bash -c` is judged, held and recorded as `run` does it.
//!
//! ```text
//! words ─ arguments.rs ─▶ one text ─▶ foreground/call.rs ─▶ status, and the caller's own streams
//! ```
//!
//! No one is asked at the terminal: whoever starts this shell may be the agent.

mod arguments;

use std::ffi::OsString;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;

use palisade_runner::{Call, MAX_SCRIPT, Pipeline, TerminalSize};
use tokio::sync::watch;

use self::arguments::{Asked, Source};
use crate::cli::args::{Context, Sh};
use crate::cli::commands;
use crate::cli::commands::run::stop_on_signals;
use crate::cli::exit::Exit;
use crate::cli::foreground::call::{self, Caller};
use crate::cli::foreground::terminal::RawMode;
use crate::cli::foreground::words::quote;
use crate::cli::report::{self, CliError};
use crate::cli::standby::client::{self, Tried};
use crate::cli::standby::wire::Command;
use crate::config;

pub(crate) fn run(args: &Sh) -> Result<Exit, CliError> {
    let help = "`palisade sh -c TEXT`, `palisade sh FILE ARG…`, or `palisade sh` with the script on standard input";
    let mut asked = Asked::read(&args.words).map_err(|what| CliError::new(what, help))?;
    let session = args.session.clone().or(asked.session.take());
    let context = context(&args.context)?;
    if let Some(place) = &args.at {
        // The settings are read there, and a workspace that they do not name is this.
        std::env::set_current_dir(place).map_err(|error| {
            CliError::new(
                format!("cannot go to {}: {error}", place.display()),
                "`--at` names a directory that is there",
            )
        })?;
    }
    let mut script = exported(&args.variables)?;
    script.extend(text(&asked, &context)?);
    if args.stateless {
        // A shell of its own within the session's, which shares its temporary directory.
        script = [b"(\n".as_slice(), &script, b"\n)"].concat();
    }
    let caller = Caller::own(asked.source != Source::Input)?;
    if !args.alone {
        let cwd = context.cwd.clone().unwrap_or_default();
        let terminal = caller.terminal.map(|TerminalSize { rows, cols }| (rows, cols));
        let (reads, beside, rooted) = (caller.input.is_some(), args.beside, args.stateless);
        let command =
            Command { script: script.clone(), session: session.clone(), cwd, terminal, reads, beside, rooted };
        match client::run(&context, args.standby.as_deref(), command, &caller)? {
            Tried::Ended(status) => return Ok(Exit::Command(status)),
            Tried::Failed => return Ok(Exit::Failed),
            Tried::Untaken => {}
        }
    }
    if let Some(name) = session {
        // Where the settings are the reason, they say so.
        let _read = config::load(&context, config::SHELL)?;
        let name = report::printable(&name);
        report::complain(&format!(
            "palisade: no stand-by process takes the session `{name}`; nothing of it is there or kept\n"
        ));
    }
    direct(&context, script, caller)
}

/// The flags, with what a shell has by itself: it stands where its caller does, and has no time limit but one that is set.
fn context(flags: &Context) -> Result<Context, CliError> {
    let here = std::env::current_dir().map_err(|error| {
        CliError::new(format!("cannot tell the current directory: {error}"), "change to one that is there")
    })?;
    Ok(Context { cwd: flags.cwd.clone().or(Some(here)), ..flags.clone() })
}

/// The script of a source.
fn text(asked: &Asked, context: &Context) -> Result<Vec<u8>, CliError> {
    match &asked.source {
        Source::Text(text) => Ok(asked.script(&text.clone().into_vec())),
        Source::Input => {
            if report::has_person() {
                let help = "it takes `-c TEXT`, a file, or a script on standard input; `bash` is a shell to type in";
                return Err(CliError::new("`palisade sh` has no prompt", help));
            }
            let script = read(&mut io::stdin().lock(), "standard input")?;
            Ok(asked.script(&script))
        }
        Source::File(name) => {
            let path = std::path::absolute(name).map_err(|error| unread(name, &error))?;
            // The session can read what lies in its workspace: a real shell opens it there, which knows its own name.
            let workspace = context.workspace.as_deref().or(context.cwd.as_deref()).unwrap_or(Path::new("/"));
            let inside = workspace
                .canonicalize()
                .is_ok_and(|workspace| path.canonicalize().is_ok_and(|path| path.starts_with(&workspace)));
            if inside {
                return Ok(asked.started(path.as_os_str()));
            }
            let mut file = std::fs::File::open(&path).map_err(|error| unread(name, &error))?;
            Ok(asked.script(&read(&mut file, &name.display().to_string())?))
        }
    }
}

fn unread(name: &OsString, error: &io::Error) -> CliError {
    CliError::new(format!("cannot read the script {}: {error}", name.display()), "")
}

/// All of a script, or that it is too long.
fn read(from: &mut impl io::Read, name: &str) -> Result<Vec<u8>, CliError> {
    let mut script = Vec::new();
    let most = u64::try_from(MAX_SCRIPT).unwrap_or(u64::MAX).saturating_add(1);
    let read = from.take(most).read_to_end(&mut script);
    read.map_err(|error| CliError::new(format!("cannot read the script from {name}: {error}"), ""))?;
    if script.len() > MAX_SCRIPT {
        let help = "put it into a file of the workspace and run that";
        return Err(CliError::new(format!("the script in {name} is longer than {MAX_SCRIPT} bytes"), help));
    }
    Ok(script)
}

/// Variables of the caller's, as assignments in front of the script, so that policy sees them.
fn exported(names: &[String]) -> Result<Vec<u8>, CliError> {
    let mut script = Vec::new();
    for name in names {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if name.is_empty() || name.starts_with(|first: char| first.is_ascii_digit()) || !name.bytes().all(plain) {
            return Err(CliError::new(
                format!("`{name}` is not the name of a variable"),
                "`--env NAME`, once for each",
            ));
        }
        if let Some(value) = std::env::var_os(name) {
            script.extend(format!("export {name}=").as_bytes());
            script.extend(quote(&value, true));
            script.extend(b"; ");
        }
    }
    Ok(script)
}

/// Judges and runs it in this process.
fn direct(flags: &Context, script: Vec<u8>, caller: Caller) -> Result<Exit, CliError> {
    let view = config::enter_view(flags)?;
    commands::begin_to_probe();
    let settings = config::load_in(flags, config::SHELL, view)?;
    commands::warn_of_missing_secrets(flags)?;
    commands::runtime()?.block_on(async {
        let pipeline = Pipeline::open(settings)?;
        // Keys go to the command as they are typed, and the terminal is as it was behind it.
        let _raw = caller.terminal.and(caller.input.as_ref()).map(RawMode::enter).transpose().ok();
        let (switch, _stopped) = watch::channel(false);
        let signalled = stop_on_signals(switch.clone())?;
        let call = Call { script, ..Call::default() };
        let ended = call::carry_out(&pipeline, call, caller, &switch, &signalled).await;
        pipeline.shut_down().await?;
        ended
    })
}
