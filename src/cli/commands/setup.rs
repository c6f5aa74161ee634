//! `setup`: prints what a client has to be told so that its commands go through Palisade. `apply.rs` writes it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use palisade_runner::Settings;
use serde_json::json;

use crate::cli::args::{Context, Setup};
use crate::cli::clients::entry::ServerEntry;
use crate::cli::clients::{self, Client, ShellBan};
use crate::cli::commands;
use crate::cli::commands::apply;
use crate::cli::exit::Exit;
use crate::cli::report::{self, CliError, printable};
use crate::config::{self, ConfigError, GrantedPaths, PinnedSettings};

pub(crate) fn run(args: &Setup) -> Result<Exit, CliError> {
    if args.apply || args.remove {
        return apply::one(args);
    }
    if let Some(option) = args.how.mode.map(|_| "--mode").or(args.how.system.then_some("--system")) {
        let what = format!("`{option}` goes with `--apply` or `--remove`");
        return Err(CliError::new(what, "without them nothing is written"));
    }
    let client = clients::client(&args.client).ok_or_else(|| {
        CliError::new(format!("there is no client `{}`", args.client), format!("the clients are {}", clients::names()))
    })?;
    let own = PinnedSettings::of(&args.context)?;
    let mut context = args.context.clone();
    context.agent = own.agent.or_else(|| Some(client.name.to_owned()));
    context.config = own.file;
    // What would not start is not worth telling a client.
    let settings = config::load(&context, "serve")?;
    let program = std::env::current_exe().ok().filter(|program| program.is_file()).ok_or_else(|| {
        CliError::new("cannot tell where this program lies", "it may have been replaced since it was started")
    })?;
    let servers = place(&client.servers, client)?;
    out_of_reach("program", &program, &settings)?;
    out_of_reach("client's settings file", &servers, &settings)?;
    let server = ServerEntry {
        program: text(&program)?,
        arguments: arguments(&context, &settings)?,
        environment: environment()?,
    };
    if let Some(told) = server.unsayable(client) {
        let why = format!(
            "{} would not pass on `{}` as it stands: it holds {}",
            client.title,
            printable(&told.text),
            told.part
        );
        return Err(CliError::new(why, "name a place without it"));
    }
    report::print(&if args.context.json {
        commands::json(&data(client, &server, &servers)?)?
    } else {
        page(client, &server, &servers)?
    });
    Ok(Exit::Fine)
}

/// What a person reads.
fn page(client: &Client, server: &ServerEntry, servers: &Path) -> Result<String, CliError> {
    let title = client.title;
    let mut page =
        format!("{title} starts the servers of {}. It needs:\n\n{}\n", servers.display(), client.file(server));
    if let Some(command) = client.command(server) {
        page.push_str(&format!("\nThis says the same:\n\n{command}\n"));
    }
    let apart = "What it runs by itself does not pass Palisade.";
    page.push_str(&match &client.shell {
        ShellBan::File(file, text) => {
            let file = place(file, client)?;
            format!("\n{apart} In {} this switches its shell off:\n\n{text}\n", file.display())
        }
        ShellBan::Hand(how) => format!("\n{apart} {how}\n"),
    });
    let nearby = client.nearby.files.join(", ");
    page.push_str(&format!("\nIn the directory that it works in it also reads {nearby}. {}\n", client.nearby.what));
    page.push_str("\nIts tools for files stay its own. `palisade doctor` says whether this is in place.\n");
    Ok(page)
}

/// What a machine reads.
fn data(client: &Client, server: &ServerEntry, servers: &Path) -> Result<serde_json::Value, CliError> {
    let mut files = vec![json!({ "path": text(servers)?, "content": client.file(server) })];
    let mut by_hand = None;
    match &client.shell {
        ShellBan::File(file, content) => {
            files.push(json!({ "path": text(&place(file, client)?)?, "content": content }))
        }
        ShellBan::Hand(how) => by_hand = Some(how),
    }
    let start = json!({ "command": server.program, "args": server.arguments, "env": server.environment });
    Ok(json!({
        "client": client.name, "server": start, "files": files, "command": client.command(server), "by_hand": by_hand,
        "nearby": { "files": client.nearby.files, "what": client.nearby.what },
    }))
}

/// The arguments of the server: all that was typed or found now, so that it does not depend on where the client starts it.
fn arguments(context: &Context, settings: &Settings) -> Result<Vec<String>, CliError> {
    let mut arguments = vec!["serve".to_owned()];
    let mut add = |flag: &str, value: String| arguments.extend([flag.to_owned(), value]);
    let paths = [("--config", context.config.as_deref()), ("--policies", context.policies.as_deref())];
    for (flag, path) in paths.into_iter().filter_map(|(flag, path)| Some((flag, path?))) {
        add(flag, absolute(path)?);
    }
    let texts = [
        ("--profile", &context.profile),
        ("--agent", &context.agent),
        ("--user", &context.user),
        ("--timeout", &context.timeout),
    ];
    for (flag, value) in texts.into_iter().filter_map(|(flag, value)| Some((flag, value.clone()?))) {
        add(flag, value);
    }
    for role in &context.roles {
        add("--role", role.clone());
    }
    add("--workspace", settings.surroundings.workspace.to_string());
    if context.cwd.is_some() {
        add("--cwd", settings.cwd.to_string());
    }
    for (flag, paths) in [("--read", &context.reads), ("--write", &context.writes)] {
        for path in paths {
            add(flag, absolute(path)?);
        }
    }
    Ok(arguments)
}

/// Clients start servers with few of the variables of now; this one says where Palisade keeps its record.
fn environment() -> Result<BTreeMap<String, String>, CliError> {
    let name = "XDG_STATE_HOME";
    let state = std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    state.map(|state| Ok((name.to_owned(), text(&state)?))).into_iter().collect()
}

/// What the agent can write, it can make another program or another policy of.
fn out_of_reach(what: &'static str, path: &Path, settings: &Settings) -> Result<(), CliError> {
    if GrantedPaths::to_write(settings).holds(path)? {
        return Err(ConfigError::WithinReach { what, path: path.display().to_string() }.into());
    }
    Ok(())
}

fn place(place: &clients::ClientFile, client: &Client) -> Result<PathBuf, CliError> {
    let missing =
        || CliError::new(format!("cannot tell where {} keeps its settings: HOME is not set", client.title), "");
    place.path().ok_or_else(missing)
}

/// Links stay links: where they lead is the operator's to change.
fn absolute(path: &Path) -> Result<String, CliError> {
    std::path::absolute(path).map_err(|_| unreadable(path)).and_then(|path| text(&path))
}

fn text(path: &Path) -> Result<String, CliError> {
    path.to_str().map(str::to_owned).ok_or_else(|| unreadable(path))
}

fn unreadable(path: &Path) -> CliError {
    CliError::new(format!("`{}` cannot be named in a client's settings", path.display()), "a path has to be UTF-8")
}
