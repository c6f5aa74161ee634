//! Goes back to a checkpoint of a workspace at a target.
//!
//! What is to come back is written beside its place first and compared with the list of this side, all of it before any step is taken:
//! what somebody has changed of what was kept there is refused by name. Each step goes to its directory through no link, and leaves alone
//! what is not as the plan has seen it; how many are taken at once is `batches.rs`.

use std::collections::{BTreeMap, BTreeSet};

use git2::Oid;
use rustix::fs::FileType;

use super::batches::{Batches, Stage, put_times};
use super::keeper::Keeper;
use super::{There, WORDS, object, quoted, word};
use crate::checkpoint::ledger::Ledger;
use crate::checkpoint::plan::{self, Plan};
use crate::checkpoint::restore::{Failed, Prospect, Restored, Step, before, steps, timed};
use crate::checkpoint::store::{Journal, Lock, Snapshot, Store};
use crate::checkpoint::tree::{Entry, Kind, Name, Tree};
use crate::checkpoint::{CheckpointError, CheckpointId};
use crate::remote::{Records, Task, broken};
use crate::shell::pace::Pace;

const STEPS: &str = include_str!("steps.sh");

/// Bytes of what a target says of steps that were not taken, for each.
const MAX_WHY: usize = 400;

impl There {
    /// What going back to a checkpoint would do, for a session that made what `ledger` says.
    ///
    /// # Errors
    /// There is no such checkpoint, the store cannot be read, or the target not be asked.
    pub(crate) async fn look(&self, store: &Store, to: &str, ledger: &Ledger) -> Result<Prospect, CheckpointError> {
        let pace = Pace::default();
        let (to, then) = tokio::task::block_in_place(|| {
            let to = store.find(to)?;
            store.entries(&to.id).map(|then| (to, then))
        })?;
        let now = self.walk(store.scope(), &pace).await?;
        let known = tokio::task::block_in_place(|| store.known(&now));
        // Size and time can be set; the bytes tell, and are read only where the state is another than at the last checkpoint.
        let unsure = then.iter().filter(|(name, entry)| {
            let looks_same = now.found.get(*name).is_some_and(|found| plan::looks_same(entry, found));
            matches!(entry.kind, Kind::File(..)) && looks_same && !known.contains_key(*name)
        });
        let unsure: Vec<Name> = unsure.map(|(name, _)| name.clone()).collect();
        let read = self.hash(&unsure, false, &pace).await?;
        let uncovered: BTreeSet<Name> = now.uncovered.iter().map(|uncovered| uncovered.name.clone()).collect();
        let ledger = tokio::task::block_in_place(|| store.with_interrupted(ledger, &now))?;
        let plan = plan::plan(&then, &now.found, &uncovered, &ledger, |name, entry, found| {
            plan::looks_same(entry, found)
                && match &entry.kind {
                    Kind::File(object, _) => known.get(name).or_else(|| read.get(name)) == Some(object),
                    Kind::Directory | Kind::Link(_) => true,
                }
        });
        Ok(Prospect { to, plan, then, now })
    }

    /// Goes back. What others changed is put back only if `force`; takes a checkpoint of what is there first.
    ///
    /// # Errors
    /// No checkpoint could be taken, the target does not hold what is to come back, or the connection has ended. Single paths that cannot
    /// be restored are told in the result.
    pub(crate) async fn restore(
        &self,
        store: &Store,
        held: &Lock,
        prospect: Prospect,
        force: bool,
        session: &str,
        ledger: &mut Ledger,
    ) -> Result<Restored, CheckpointError> {
        let pace = Pace::default();
        let Prospect { to, plan, then, now } = prospect;
        let plan = if force { plan.forced() } else { plan };
        let about = before(&to, session);
        let Snapshot { checkpoint: undo, tree: before, .. } = self.take(store, held, &about, false, &pace).await?;
        tokio::task::block_in_place(|| {
            store.side_files().begin(&Journal { to: to.id.as_str().to_owned(), undo: undo.id.as_str().to_owned() })
        })?;
        let stage = Stage { mark: undo.id.short() };
        let steps: Vec<Step<'_>> = steps(&plan, &then).collect();
        let failed = match self.base.outpost() {
            Some(outpost) => {
                let same = async {
                    let mut keeper = Keeper::start(self, outpost, None, &pace).await?;
                    tampered(keeper.others(&files(&plan, &then)).await?)?;
                    Ok(keeper)
                };
                match same.await {
                    Ok(mut keeper) => keeper.take(&steps, &now, stage.mark).await?,
                    Err(error) => {
                        self.take_back(store, held, None, &undo.id).await;
                        return Err(error);
                    }
                }
            }
            None => {
                let batches = Batches::of(steps, &now);
                if let Err(error) = self.stage(stage, &plan, &then, &batches).await {
                    self.take_back(store, held, Some(stage), &undo.id).await;
                    return Err(error);
                }
                self.go(stage, &batches).await?
            }
        };
        let after = self.walk(store.scope(), &pace).await?;
        self.put_times_back(&plan, &then, &after).await?;
        ledger.ran(&before, &after);
        tokio::task::block_in_place(|| {
            store.side_files().keep_ledger(session, ledger).and_then(|()| store.side_files().end())
        })?;
        Ok(Restored { plan, failed, undo })
    }

    /// Writes the bytes that are to come back beside their places, and compares them with what the list has.
    async fn stage(
        &self,
        stage: Stage<'_>,
        plan: &Plan,
        then: &BTreeMap<Name, Entry>,
        batches: &Batches<'_>,
    ) -> Result<(), CheckpointError> {
        if !batches.has_stage() {
            return Ok(());
        }
        let pace = Pace::default();
        let files = files(plan, then);
        let directory = word(&stage.directory());
        let sizes = self.held(&files.iter().map(|(_, object, _)| *object).collect(), &pace).await?;
        let gone = files.iter().filter(|(_, object, size)| sizes.get(object) != Some(size));
        tampered(gone.map(|(name, ..)| (*name).clone()).collect())?;
        let mut index = Vec::new();
        for (name, object, _) in &files {
            index.extend(format!("100644 {object}\t").bytes());
            index.extend(batches.staged(name));
            index.push(b'\n');
        }
        // Whether all went well is told by what is there behind it.
        let _whole = self.lines(&format!("palisade_stage {directory}"), index, 0, &pace).await?;
        let names: Vec<Name> = files.iter().map(|(name, ..)| batches.staged(name).to_vec()).collect();
        let call = format!("palisade_staged {directory}");
        let (lines, _) = self.lines(&call, quoted(&names), names.len(), &pace).await?;
        let written = lines.iter().map(|line| object(line)).collect::<Result<Vec<_>, _>>()?;
        let others = files.iter().enumerate().filter(|(at, (_, object, _))| written.get(*at) != Some(object));
        tampered(others.map(|(_, (name, ..))| (*name).clone()).collect())
    }

    /// Nothing was restored: there is nothing to go on with, or to go back from. As far as it goes.
    async fn take_back(&self, store: &Store, held: &Lock, stage: Option<Stage<'_>>, undo: &CheckpointId) {
        let cleared = match stage {
            Some(stage) => {
                let call = format!("palisade_unstage {}", word(&stage.directory()));
                self.lines(&call, Vec::new(), 0, &Pace::default()).await.map(drop)
            }
            None => Ok(()),
        };
        let spare = tokio::task::block_in_place(|| {
            store.side_files().end().and_then(|()| store.remove_lists(held, std::slice::from_ref(undo)))
        });
        let forgotten = match &spare {
            Ok(spare) => self.forget(spare).await,
            Err(_) => Ok(()),
        };
        for error in [cleared.err(), spare.err(), forgotten.err()].into_iter().flatten() {
            tracing::warn!(%error, "what a restore began at a target and could not do is not cleared away");
        }
    }

    /// Takes the steps; those that could not be taken.
    async fn go(&self, stage: Stage<'_>, batches: &Batches<'_>) -> Result<Vec<Failed>, CheckpointError> {
        let mut failed = BTreeMap::new();
        self.run(&batches.script(stage), batches.len(), |at, why| {
            // What one more step says of the same is what came of the first.
            failed.entry(at).or_insert(why);
        })
        .await?;
        let named = failed.into_iter().filter_map(|(at, why)| Some(Failed { name: batches.name(at)?.clone(), why }));
        Ok(named.collect())
    }

    /// The times of directories that nothing but the session and this restore has written to.
    async fn put_times_back(
        &self,
        plan: &Plan,
        then: &BTreeMap<Name, Entry>,
        after: &Tree,
    ) -> Result<(), CheckpointError> {
        let differs = timed(plan, then).filter(|(name, entry)| {
            let found = after.found.get(*name).filter(|found| found.file_type() == FileType::Directory);
            found.is_some_and(|found| found.stamp.times.first() != Some(&entry.modified))
        });
        if let Some(outpost) = self.base.outpost() {
            let differs: BTreeMap<Name, Entry> = differs.map(|(name, entry)| (name.clone(), entry.clone())).collect();
            if differs.is_empty() {
                return Ok(());
            }
            return Keeper::start(self, outpost, None, &Pace::default()).await?.put_times(differs).await;
        }
        let lines = put_times(differs);
        if lines.is_empty() { Ok(()) } else { self.run(&lines, 0, |_, _| {}).await }
    }

    /// Has these lines be run behind the words that they are made of. `failed` takes the number of each that says why it was not done.
    async fn run(
        &self,
        lines: &str,
        most: usize,
        mut failed: impl FnMut(usize, String),
    ) -> Result<(), CheckpointError> {
        let call = format!("palisade_steps {}", word(self.workspace.as_str().as_bytes()));
        let input = format!("{STEPS}\n{lines}printf '%s\\0' \"$palisade_nonce\"\n").into_bytes();
        // One that is tried again may say it twice, and there is a sign of life before each.
        let most = super::GREETING + (2 * most + 1) * MAX_WHY;
        let task = Task { words: WORDS, call: &call, input, records: Records::Nul, most };
        self.ask(task, &Pace::default(), |record| {
            let text = String::from_utf8_lossy(record);
            let (at, why) = text.split_once(' ').ok_or_else(|| broken("it is no answer to a step"))?;
            let at = at.parse().map_err(|_| broken("it is no answer to a step"))?;
            failed(at, why.chars().filter(|letter| !letter.is_control()).take(MAX_WHY / 2).collect());
            Ok(())
        })
        .await
    }
}

/// The files that come back, with the objects that their bytes have to be.
fn files<'p>(plan: &'p Plan, then: &BTreeMap<Name, Entry>) -> Vec<(&'p Name, Oid, u64)> {
    let files = plan.write.iter().filter_map(|name| {
        let Kind::File(object, size) = then.get(name)?.kind else { return None };
        Some((name, object, size))
    });
    files.collect()
}

fn tampered(names: Vec<Name>) -> Result<(), CheckpointError> {
    if names.is_empty() { Ok(()) } else { Err(CheckpointError::Tampered { names }) }
}
