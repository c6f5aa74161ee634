//! `setup --apply` and `--remove`, `on`, `off`, `status`: writes what clients have to be told, and takes it back.

use serde_json::json;

use crate::cli::args::{Context, How, Off, On, Setup, SetupMode, StatusArgs};
use crate::cli::clients::edit::{Edit, Rewritten};
use crate::cli::clients::hooks::{HOOKED, Hooked, Scope, hooked};
use crate::cli::clients::installation::{self, Installed};
use crate::cli::commands;
use crate::cli::exit::Exit;
use crate::cli::report::{self, CliError};
use crate::config::{self, PinnedSettings};

/// `setup CLIENT --apply` or `--remove`.
pub(crate) fn one(args: &Setup) -> Result<Exit, CliError> {
    let client = hooked(&args.client).ok_or_else(|| {
        let names: Vec<&str> = HOOKED.iter().map(|client| client.name).collect();
        let help = format!(
            "it does for {}; `palisade setup {}` prints what can be written by hand",
            names.join(", "),
            args.client
        );
        CliError::new(format!("Palisade writes no settings of `{}`", args.client), help)
    })?;
    let done = if args.remove { remove(client, args.how.system) } else { apply(client, &args.how, &args.context) };
    done.map(|()| Exit::Fine)
}

/// `on`: every client that is there.
pub(crate) fn on(args: &On) -> Result<Exit, CliError> {
    each("has been used here", |client| client.is_there().then(|| apply(client, &args.how, &args.context)))
}

/// `off`.
pub(crate) fn off(args: &Off) -> Result<Exit, CliError> {
    let scope = scope(args.system);
    each("asks Palisade", |client| installation::of(client, scope).map(|_| remove(client, args.system)))
}

/// `status`.
pub(crate) fn status(args: &StatusArgs) -> Result<Exit, CliError> {
    let findings = installation::findings(std::env::current_dir().ok().as_deref());
    if args.json {
        let row = |Installed { client, mode, file, scope }: Installed| json!({ "client": client.name, "mode": mode, "file": file, "system": scope == Scope::System });
        let rows: Vec<_> = installation::all().into_iter().map(row).collect();
        let troubles = findings.iter().filter(|finding| !finding.ready).map(|finding| finding.text.as_str());
        let troubles: Vec<&str> = troubles.collect();
        report::print(&commands::json(&json!({ "clients": rows, "troubles": troubles }))?);
        return Ok(Exit::Fine);
    }
    let mut text = String::new();
    for client in HOOKED.iter().filter(|client| client.is_there()) {
        let own = findings.iter().filter(|finding| finding.client == client.name).map(|finding| finding.text.as_str());
        let own: Vec<&str> = own.collect();
        let told = if own.is_empty() {
            format!("does not ask Palisade; `palisade setup {} --apply` changes that", client.name)
        } else {
            own.join("\n  ")
        };
        text.push_str(&format!("{}\n  {told}\n", client.title));
    }
    report::print(if text.is_empty() { "no AI client has been used here\n" } else { &text });
    Ok(Exit::Fine)
}

/// Does it for all that it applies to, whatever becomes of one of them; the last trouble is the verb's.
fn each(what: &str, act: impl Fn(&'static Hooked) -> Option<Result<(), CliError>>) -> Result<Exit, CliError> {
    let mut trouble = None;
    let mut count = 0;
    for done in HOOKED.iter().filter_map(act) {
        count += 1;
        if let Err(error) = done
            && let Some(earlier) = trouble.replace(error)
        {
            earlier.print();
        }
    }
    if count == 0 {
        report::print(&format!("no AI client {what}\n"));
    }
    trouble.map_or(Ok(Exit::Fine), Err)
}

fn scope(system: bool) -> Scope {
    if system { Scope::System } else { Scope::User }
}

/// Flags that say under which policies a client works: none of them goes without a word.
const FLAGS: [&str; 9] = ["profile", "policies", "config", "role", "user", "read", "write", "workspace", "target"];

fn apply(client: &'static Hooked, how: &How, context: &Context) -> Result<(), CliError> {
    let mode = match how.mode.unwrap_or(SetupMode::Wrap) {
        SetupMode::Wrap => "wrap",
        SetupMode::Verdict => "verdict",
        SetupMode::Shadow => "shadow",
        SetupMode::Mcp => {
            let help = format!("`palisade setup {}` prints what its files need for that", client.name);
            return Err(CliError::new("the mode `mcp` is written by hand", help));
        }
    };
    let own = PinnedSettings::of(context)?;
    let absolute = |path: &std::path::PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
    let context = Context {
        agent: own.agent.or_else(|| Some(client.name.to_owned())),
        config: own.file.as_ref().map(absolute),
        policies: context.policies.as_ref().map(absolute),
        reads: context.reads.iter().map(absolute).collect(),
        writes: context.writes.iter().map(absolute).collect(),
        workspace: context.workspace.as_ref().map(absolute),
        ..context.clone()
    };
    // What no hook could be judged by is not worth telling a client.
    let _read = config::load_for_check(&context)?;
    let program = std::env::current_exe().ok().filter(|program| program.is_file()).ok_or_else(|| {
        CliError::new("cannot tell where this program lies", "it may have been replaced since it was started")
    })?;
    let unsayable = || CliError::new("a path cannot be named in a client's settings", "a path has to be UTF-8");
    let mut words = vec![program.to_str().ok_or_else(unsayable)?.to_owned(), "hook".to_owned(), client.name.to_owned()];
    words.push(format!("--{mode}"));
    for word in context.words() {
        words.push(word.into_string().map_err(|_| unsayable())?);
    }
    let edits = client.edits(scope(how.system), &words).map_err(unwritten)?;
    let told = edits.first().and_then(|edit| edit.command().ok().flatten()).unwrap_or_default();
    let says = |flag: &&&str| {
        told.contains(&format!("--{flag}=")) && !words.iter().any(|word| word.starts_with(&format!("--{flag}=")))
    };
    if let Some(flag) = FLAGS.iter().find(says) {
        let help = "give it again, or take the hook back first: `--remove`";
        return Err(CliError::new(format!("the hook that is there has `--{flag}`, which this call leaves out"), help));
    }
    let made = edits.iter().map(Edit::made).collect::<Result<Vec<_>, _>>().map_err(unwritten)?;
    write(client, &made)?;
    report::print(&format!("{} asks Palisade from its next start on ({mode}). {}\n", client.title, client.unseen));
    for finding in installation::findings(std::env::current_dir().ok().as_deref()) {
        if finding.client == client.name && !finding.ready && mode != "shadow" {
            report::complain(&format!("warning: {}\n", finding.text));
        }
    }
    Ok(())
}

fn remove(client: &'static Hooked, system: bool) -> Result<(), CliError> {
    let edits = client.edits(scope(system), &["palisade".to_owned(), "hook".to_owned()]).map_err(unwritten)?;
    let back = edits.iter().map(Edit::taken_back).collect::<Result<Vec<_>, _>>().map_err(unwritten)?;
    write(client, &back)?;
    report::print(&format!("{} does not ask Palisade any more.\n", client.title));
    Ok(())
}

fn unwritten(why: String) -> CliError {
    CliError::new(why, "nothing was written")
}

/// Shows what changes, and writes it.
fn write(client: &Hooked, files: &[Rewritten]) -> Result<(), CliError> {
    for file in files.iter().filter(|file| file.changes()) {
        let shown: String = file.shown.iter().map(|line| format!("  {}\n", report::printable(line))).collect();
        report::print(&format!("{}: {}\n{shown}", client.title, file.path.display()));
    }
    for file in files.iter().filter(|file| file.changes()) {
        file.write().map_err(|error| {
            let help = "it is as it was; what is named before it is written";
            CliError::new(format!("{} cannot be written: {error}", file.path.display()), help)
        })?;
    }
    Ok(())
}
