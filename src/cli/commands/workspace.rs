//! `workspace`: what an agent did in its view of the workspace, from outside any session: shown, applied, given up.

use std::fmt::Write as _;
use std::sync::Arc;

use palisade_runner::overlay::{self, Change, Difference, Held, Overlay};
use palisade_runner::{Applied, Explained, Pipeline, RestoreNote, RestoreTerms};
use serde::Serialize;

use crate::cli::args::{Context, Workspace, WorkspaceAction};
use crate::cli::commands;
use crate::cli::commands::checkpoint::{self, shown};
use crate::cli::exit::Exit;
use crate::cli::report::{self, CliError};
use crate::config;

pub(crate) fn run(args: &Workspace) -> Result<Exit, CliError> {
    match &args.action {
        WorkspaceAction::List(args) => list(&args.context),
        WorkspaceAction::Diff(args) => diff(&args.context),
        WorkspaceAction::Apply(args) => {
            let terms = RestoreTerms { dry_run: args.dry_run, force: args.force };
            with(&args.context, "workspace-apply", async |pipeline, view| {
                apply(pipeline, view, &args.context, terms).await
            })
        }
        WorkspaceAction::Discard(args) => with(&args.context, "workspace-discard", async |pipeline, view| {
            pipeline.views().discard(view).await?;
            let gone = serde_json::json!({ "view": view.overlay().id(), "discarded": true });
            shown(&args.context, &gone, || format!("discarded: {}\n", view.overlay().id()))
        }),
    }
}

/// One view, for people and machines.
#[derive(Serialize)]
struct ViewLine {
    view: String,
    #[serde(flatten)]
    about: overlay::About,
    changed: Option<usize>,
    in_use: bool,
}

fn list(context: &Context) -> Result<Exit, CliError> {
    let redactor = config::redactor_for(context)?;
    let views = Overlay::all(&config::overlay(context)?.directory).map_err(|error| CliError::of(&error))?;
    let lines = views.iter().map(|view| {
        let changes = view.changes().ok();
        let changed = changes.map(|changes| changes.found.len() + changes.deleted.len() + changes.left_out.len());
        ViewLine { view: view.id(), about: view.about().clone(), changed, in_use: view.is_held() }
    });
    // What is held by nobody and has nothing in it is only a place.
    let lines: Vec<ViewLine> = lines.filter(|line| line.in_use || line.changed != Some(0)).collect();
    let text = || lines.iter().map(told).collect();
    report::print(&if context.json { commands::json(&commands::redacted(&lines, &redactor)?)? } else { text() });
    Ok(Exit::Fine)
}

fn told(line: &ViewLine) -> String {
    let ViewLine { view, about, changed, in_use } = line;
    let changed = changed.map_or_else(|| "cannot be read".to_owned(), |count| format!("{count} paths touched"));
    let used = if *in_use { ", in use" } else { "" };
    format!("{view}  {}  {}  {changed}{used}\n", report::one_line(&about.workspace), report::one_line(&about.agent))
}

fn diff(context: &Context) -> Result<Exit, CliError> {
    let view = Overlay::of(&config::overlay(context)?);
    if view.is_held() {
        report::complain(
            "warning: the view is in use: this is what it holds now, and it may change before it is applied\n",
        );
    }
    let redactor = config::redactor_for(context)?;
    let all = overlay::differences(&view, &redactor).map_err(|error| CliError::of(&error))?;
    shown(
        context,
        &all,
        || if all.is_empty() { "no changes\n".to_owned() } else { all.iter().map(difference).collect() },
    )
}

fn difference(difference: &Difference) -> String {
    let Difference { path, change, kind, mode, text } = difference;
    let letter = match change {
        Change::Added => "A",
        Change::Modified => "M",
        Change::Type => "T",
        Change::Mode | Change::Time => "m",
        Change::Deleted => "D",
        Change::Unknown => "?",
    };
    let kind = if *kind == "file" { String::new() } else { format!(" ({kind})") };
    let mode = match mode {
        Some([before, after]) if before.is_empty() => format!(" mode {after}"),
        Some([before, after]) => format!(" mode {before} -> {after}"),
        None if *change == Change::Time => " time alone".to_owned(),
        None => String::new(),
    };
    let mut shown = format!("{letter} {}{kind}{mode}\n", report::one_line(path.as_str()));
    for line in text.as_str().lines() {
        // A tab moves nothing out of its line.
        let cells: Vec<String> = line.split('\t').map(report::printable).collect();
        let _ = writeln!(shown, "    {}", cells.join("\t"));
    }
    shown
}

async fn apply(
    pipeline: &Pipeline,
    view: &Arc<Held>,
    context: &Context,
    terms: RestoreTerms,
) -> Result<Exit, CliError> {
    let changes = view.overlay().changes().map_err(|error| CliError::of(&error))?;
    if changes.is_empty() {
        return shown(context, &serde_json::json!({ "view": view.overlay().id(), "changes": 0 }), || {
            "no changes\n".to_owned()
        });
    }
    let user = pipeline.user().to_owned();
    let mut person = |note: &RestoreNote, explained: &Explained| checkpoint::asked(&user, note, explained, &WORDS);
    match checkpoint::done(pipeline.views().apply(view, terms, &mut person).await?) {
        Ok(applied) => {
            shown(context, &applied, || outcome(&applied))?;
            Ok(if applied.note.dry_run || applied.emptied { Exit::Fine } else { Exit::Error })
        }
        Err(exit) => Ok(exit),
    }
}

const WORDS: checkpoint::RestoreWording = checkpoint::RestoreWording {
    write: "written",
    nothing: "nothing differs\n",
    question: "Apply it? Type y to allow: ",
};

fn outcome(applied: &Applied) -> String {
    let mut text = checkpoint::told(&applied.note, &WORDS);
    text.extend(applied.left_out.iter().map(|left| format!("not applied: {}\n", report::one_line(left.as_str()))));
    if !applied.note.dry_run && !applied.emptied {
        text.push_str("the view stays as it is: not all of it is in the workspace\n");
    }
    text
}

/// Does something with the view while nobody else can, on record.
fn with(
    context: &Context,
    verb: &'static str,
    work: impl AsyncFnOnce(&Arc<Pipeline>, &Arc<Held>) -> Result<Exit, CliError>,
) -> Result<Exit, CliError> {
    let settings = config::load(context, verb)?;
    let view = Overlay::of(&config::overlay(context)?);
    let view = Arc::new(view.hold().map_err(|error| CliError::of(&error))?);
    commands::runtime()?.block_on(async {
        let pipeline = Pipeline::open(settings)?;
        let exit = work(&pipeline, &view).await;
        pipeline.shut_down().await?;
        exit
    })
}
