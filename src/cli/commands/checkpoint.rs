//! `checkpoint`: the workspace as it was, from outside any session.

use std::collections::BTreeSet;
use std::io::{self, BufRead};
use std::sync::Arc;

use palisade_engine::{Approval, Channel, Lasts};
use palisade_runner::{
    Checked, CheckpointNote, Explained, Failure, Paths, Pipeline, Pruned, Redacted, RestoreNote, RestoreTerms,
};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::cli::args::{Checkpoint, CheckpointAction, Context};
use crate::cli::commands;
use crate::cli::exit::Exit;
use crate::cli::report::{self, CliError};
use crate::config;

pub(crate) fn run(args: &Checkpoint) -> Result<Exit, CliError> {
    match &args.action {
        CheckpointAction::List(args) => with(&args.context, async |pipeline| {
            let notes = match listed(pipeline, &args.context).await? {
                Ok(notes) => notes,
                Err(exit) => return Ok(exit),
            };
            shown(&args.context, &notes, || notes.iter().map(line).collect())
        }),
        CheckpointAction::Diff(args) => {
            let terms = RestoreTerms { dry_run: true, force: false };
            with(&args.context, async |pipeline| go_back(pipeline, &args.context, &args.checkpoint, terms).await)
        }
        CheckpointAction::Restore(args) => {
            let terms = RestoreTerms { dry_run: false, force: args.force };
            with(&args.context, async |pipeline| go_back(pipeline, &args.context, &args.checkpoint, terms).await)
        }
        CheckpointAction::Prune(args) => {
            with(&args.context, async |pipeline| give_up(pipeline, &args.context, args.keep).await)
        }
    }
}

/// Does something with the flow, whose record begins and ends with it.
fn with(context: &Context, work: impl AsyncFnOnce(&Arc<Pipeline>) -> Result<Exit, CliError>) -> Result<Exit, CliError> {
    let settings = config::load_with_target(context, "checkpoint")?;
    commands::runtime()?.block_on(async {
        let pipeline = Pipeline::open(settings)?;
        let interrupts = match &context.target {
            Some(_) => Some(Interrupts::watch(&pipeline)?),
            None => None,
        };
        let exit = work(&pipeline).await;
        if interrupts.is_some_and(|interrupts| interrupts.came()) {
            // What came of it is the signal's doing, and whoever heard that ends the process.
            std::future::pending::<()>().await;
        }
        pipeline.shut_down().await?;
        exit
    })
}

/// The checkpoints that there are.
async fn listed(pipeline: &Pipeline, context: &Context) -> Result<Result<Vec<CheckpointNote>, Exit>, CliError> {
    // What is known here is not asked elsewhere.
    if let Some(target) = &context.target
        && let Some(notes) = pipeline.checkpoints().list_at(target).await?
    {
        return Ok(Ok(notes));
    }
    match through(pipeline, context).await? {
        Ok(session) => Ok(Ok(pipeline.checkpoints().list(session.as_deref()).await?)),
        Err(exit) => Ok(Err(exit)),
    }
}

async fn go_back(
    pipeline: &Pipeline,
    context: &Context,
    checkpoint: &str,
    terms: RestoreTerms,
) -> Result<Exit, CliError> {
    let session = match through(pipeline, context).await? {
        Ok(session) => session,
        Err(exit) => return Ok(exit),
    };
    let user = pipeline.user().to_owned();
    let mut person = |note: &RestoreNote, explained: &Explained| asked(&user, note, explained, &WORDS);
    let restored =
        match pipeline.checkpoints().restore_from_outside(session.as_deref(), checkpoint, terms, &mut person).await {
            Ok(restored) => restored,
            Err(failure) => {
                let there_are = pipeline.checkpoints().list(session.as_deref()).await.unwrap_or_default();
                return Err(unknown(failure, checkpoint, &there_are));
            }
        };
    match done(restored) {
        Ok(note) => {
            shown(context, &note, || told(&note, &WORDS))?;
            Ok(if note.failed.is_empty() { Exit::Fine } else { Exit::Error })
        }
        Err(exit) => Ok(exit),
    }
}

/// A failure as the command line tells it: of a checkpoint that there is not, with those that there are.
fn unknown(failure: Failure, name: &str, there_are: &[CheckpointNote]) -> CliError {
    if failure.what.as_str() != format!("there is no checkpoint `{name}`") {
        return failure.into();
    }
    let help = match there_are.last() {
        Some(newest) => format!("`palisade checkpoint list` shows them; the newest is `{}`", newest.checkpoint),
        None => {
            "this workspace has none yet; `--workspace DIR` names another workspace, `--target NAME` one at a target"
                .to_owned()
        }
    };
    CliError::new(failure.what.to_string(), help)
}

async fn give_up(pipeline: &Pipeline, context: &Context, keep: usize) -> Result<Exit, CliError> {
    let session = match through(pipeline, context).await? {
        Ok(session) => session,
        Err(exit) => return Ok(exit),
    };
    match pipeline.checkpoints().prune(session.as_deref(), keep).await? {
        Pruned::Gone { checkpoints, kept } => {
            shown(context, &checkpoints, || checkpoints.iter().map(|note| format!("gone: {}", line(note))).collect())?;
            let Some(kept) = kept else { return Ok(Exit::Fine) };
            let what = format!("the target may keep what only they needed: {}", kept.what);
            CliError::new(what, "prune again once it can be reached").print();
            Ok(Exit::Error)
        }
        Pruned::Refused(what) => {
            CliError::new(what.to_string(), "roles are given to people in the settings, under `people`").print();
            Ok(Exit::Denied)
        }
    }
}

/// The session through which the target is reached that the flags name, if they name one. A person at the terminal is asked where policy
/// wants that.
async fn through(pipeline: &Pipeline, context: &Context) -> Result<Result<Option<String>, Exit>, CliError> {
    let Some(target) = &context.target else { return Ok(Ok(None)) };
    let user = pipeline.user().to_owned();
    let mut person = |explained: &Explained| {
        let text = format!("{}\nOpen it? Type y to allow: ", report::one_line(explained.command.as_str()));
        answer(&user, &[&report::reasons(explained), &text])
    };
    Ok(done(pipeline.sessions().open_from_outside(target, &mut person).await?)
        .map(|opened| Some(opened.session.to_string())))
}

/// Ctrl-C and its kin while a target is reached: what runs there is ended, and the record says that this process has.
struct Interrupts(watch::Receiver<bool>);

/// What is said then.
const INTERRUPTED: &str = "palisade: interrupted; a restore that had begun is gone on with by the same command, or undone by going back to the \
                           checkpoint that was taken before it, the newest of `checkpoint list`\n";

impl Interrupts {
    fn watch(pipeline: &Arc<Pipeline>) -> Result<Self, CliError> {
        let (came, receiver) = watch::channel(false);
        for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
            let mut signals =
                signal(kind).map_err(|error| CliError::new(format!("cannot listen for signals: {error}"), ""))?;
            let (came, pipeline) = (came.clone(), Arc::clone(pipeline));
            tokio::spawn(async move {
                signals.recv().await;
                if came.send_replace(true) {
                    return;
                }
                report::complain(INTERRUPTED);
                let ended = pipeline.shut_down().await;
                std::process::exit(match ended {
                    Ok(()) => i32::from(Exit::Command(130).code()),
                    Err(_) => i32::from(Exit::Error.code()),
                });
            });
        }
        Ok(Self(receiver))
    }

    fn came(&self) -> bool {
        *self.0.borrow()
    }
}

/// What a person at the terminal, if there is one, says to what is shown of it.
pub(crate) fn asked(
    user: &str,
    note: &RestoreNote,
    explained: &Explained,
    words: &RestoreWording,
) -> Option<(Approval, bool)> {
    answer(user, &[&report::reasons(explained), &told(note, words), words.question])
}

/// What a person at the terminal says to these texts: nothing but `y` and `yes` is a yes.
fn answer(user: &str, texts: &[&str]) -> Option<(Approval, bool)> {
    if !report::has_person() {
        return None;
    }
    texts.iter().for_each(|text| report::complain(text));
    let mut answer = String::new();
    let yes = io::stdin().lock().read_line(&mut answer).is_ok() && report::is_yes(answer.as_bytes());
    Some((Approval { user: user.to_owned(), roles: BTreeSet::new(), via: Channel::Terminal, lasts: Lasts::Once }, yes))
}

/// What was done. If nothing was, says why: nobody is asked later, for whoever is at a terminal has been.
pub(crate) fn done<T>(checked: Checked<T>) -> Result<Box<T>, Exit> {
    match checked {
        Checked::Done(what) => Ok(what),
        Checked::Unanswered(unanswered) => {
            report::complain(&report::reasons(&unanswered.explained));
            Err(Exit::Denied)
        }
        Checked::Refused(refusal) => {
            report::complain(&format!("palisade: {}\n", refusal.explained.decision.as_str()));
            report::complain(&report::reasons(&refusal.explained));
            Err(Exit::Denied)
        }
    }
}

pub(crate) fn shown(
    context: &Context,
    value: &impl Serialize,
    text: impl FnOnce() -> String,
) -> Result<Exit, CliError> {
    report::print(&if context.json { commands::json(value)? } else { text() });
    Ok(Exit::Fine)
}

fn line(note: &CheckpointNote) -> String {
    let label = report::one_line(note.label.as_str());
    let CheckpointNote { checkpoint, taken, files, bytes, session, .. } = note;
    let mut line = format!("{checkpoint}  {taken}  {files} files, {bytes} bytes  {session}");
    if let Some(to) = &note.before_restore {
        line.push_str(&format!("  before going back to {to}"));
    }
    if note.automatic {
        line.push_str("  before");
    }
    if !label.is_empty() {
        line.push_str(&format!("  {label}"));
    }
    line.push('\n');
    line
}

/// How it is told what a restore does.
pub(crate) struct RestoreWording {
    /// What becomes of files that are written.
    pub(crate) write: &'static str,
    /// There is nothing to do.
    pub(crate) nothing: &'static str,
    /// What a person at the terminal is asked.
    pub(crate) question: &'static str,
}

const WORDS: RestoreWording =
    RestoreWording { write: "put back", nothing: "nothing has changed since\n", question: "Do it? Type y to allow: " };

pub(crate) fn told(note: &RestoreNote, words: &RestoreWording) -> String {
    let would = if note.undo.is_some() { "" } else { "would be " };
    let mut text = String::new();
    let kinds: [(&str, &str, &Paths); 4] = [
        (would, words.write, &note.write),
        (would, "deleted", &note.delete),
        ("", "changed by others, left alone", &note.conflicts),
        ("", "made by others, left alone", &note.left),
    ];
    for (would, what, paths) in kinds.into_iter().filter(|(_, _, paths)| paths.count > 0) {
        text.push_str(&format!("{would}{what}: {}\n", paths.count));
        text.extend(paths.paths.iter().map(|path| format!("  {}\n", report::one_line(path.as_str()))));
        if paths.count > paths.paths.len() {
            text.push_str("  …\n");
        }
    }
    text.extend(note.failed.iter().map(|failed| format!("failed: {}\n", report::one_line(failed.as_str()))));
    if let Some(undo) = &note.undo {
        text.push_str(&format!("before: checkpoint {}\n", Redacted::as_str(undo)));
    }
    if text.is_empty() {
        text.push_str(words.nothing);
    }
    text
}
