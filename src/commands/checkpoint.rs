//! `checkpoint`: the workspace as it was, from outside any session.

use std::collections::BTreeSet;
use std::io::{self, BufRead};
use std::sync::Arc;

use palisade_engine::{Approval, Channel};
use palisade_runner::{
    Checked, CheckpointNote, Explained, Paths, Pipeline, Pruned, Redacted, RestoreNote, RestoreTerms,
};
use serde::Serialize;

use crate::args::{Checkpoint, CheckpointAction, Context};
use crate::exit::Exit;
use crate::report::{self, Trouble};
use crate::{commands, config};

pub(crate) fn run(args: &Checkpoint) -> Result<Exit, Trouble> {
    match &args.action {
        CheckpointAction::List(args) => with(&args.context, async |pipeline| {
            let notes = pipeline.checkpoints(None).await?;
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
            with(&args.context, async |pipeline| match pipeline.prune_checkpoints(args.keep).await? {
                Pruned::Gone(gone) => {
                    shown(&args.context, &gone, || gone.iter().map(|note| format!("gone: {}", line(note))).collect())
                }
                Pruned::Refused(what) => {
                    Trouble::new(what.to_string(), "roles are given to people in the settings, under `people`").print();
                    Ok(Exit::Denied)
                }
            })
        }
    }
}

/// Does something with the flow, whose record begins and ends with it.
fn with(context: &Context, work: impl AsyncFnOnce(&Arc<Pipeline>) -> Result<Exit, Trouble>) -> Result<Exit, Trouble> {
    let settings = config::load(context, "checkpoint")?;
    commands::runtime()?.block_on(async {
        let pipeline = Pipeline::open(settings)?;
        let exit = work(&pipeline).await;
        pipeline.shut_down().await?;
        exit
    })
}

async fn go_back(
    pipeline: &Pipeline,
    context: &Context,
    checkpoint: &str,
    terms: RestoreTerms,
) -> Result<Exit, Trouble> {
    let user = pipeline.user().to_owned();
    let mut person = |note: &RestoreNote, explained: &Explained| asked(&user, note, explained, &WORDS);
    match done(pipeline.restore_from_outside(checkpoint, terms, &mut person).await?) {
        Ok(note) => {
            shown(context, &note, || told(&note, &WORDS))?;
            Ok(if note.failed.is_empty() { Exit::Fine } else { Exit::Error })
        }
        Err(exit) => Ok(exit),
    }
}

/// What a person at the terminal, if there is one, says to what is shown of it: nothing but `yes` is a yes.
pub(crate) fn asked(user: &str, note: &RestoreNote, explained: &Explained, words: &Words) -> Option<(Approval, bool)> {
    if !report::has_person() {
        return None;
    }
    report::complain(&report::reasons(explained));
    report::complain(&told(note, words));
    report::complain(words.question);
    let mut answer = String::new();
    let yes = io::stdin().lock().read_line(&mut answer).is_ok() && answer.trim() == "yes";
    Some((Approval { user: user.to_owned(), roles: BTreeSet::new(), via: Channel::Terminal }, yes))
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

pub(crate) fn shown(context: &Context, value: &impl Serialize, text: impl FnOnce() -> String) -> Result<Exit, Trouble> {
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
pub(crate) struct Words {
    /// What becomes of files that are written.
    pub(crate) write: &'static str,
    /// There is nothing to do.
    pub(crate) nothing: &'static str,
    /// What a person at the terminal is asked.
    pub(crate) question: &'static str,
}

const WORDS: Words =
    Words { write: "put back", nothing: "nothing has changed since\n", question: "Do it? Type yes to allow: " };

pub(crate) fn told(note: &RestoreNote, words: &Words) -> String {
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
