//! Checkpoints of a workspace at a target: the bytes stay there, in objects of git's; the lists of what there was are kept here.
//!
//! Whoever runs as the same user there can change what is kept there, for nothing holds them. What comes back is therefore compared with
//! the lists of this side before any of it is put in its place. Which paths belong to a checkpoint, what a restore does to each and in
//! which order is decided where it is for this machine (`tree.rs`, `plan.rs`, `restore.rs`); this is how it is done there: with programs of
//! the target's, or where a guard has been brought there by that very program (`keeper/`). Both keep the same bytes in the same place.

mod batches;
mod keeper;
mod listing;
mod snapshot;
mod steps;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use git2::Oid;
use palisade_engine::AbsolutePath;

pub use self::keeper::keep;
use self::keeper::{Keeper, Why};
use self::listing::{Listed, Listing};
use super::CheckpointError;
use super::tree::{Name, Scope, Tree};
use crate::remote::{Base, Records, Task, broken};
use crate::shell::pace::Pace;
use crate::shell::posix::octal;
use crate::target::TargetError;

/// What a target is asked with.
const WORDS: &str = include_str!("there.sh");

/// Bytes of a list that a target may tell.
const MAX_LIST: usize = 256 << 20;

/// Bytes of one line of an answer about an object, and some.
const LINE: usize = 128;

/// Bytes of what a login may say of itself before it.
const GREETING: usize = 1 << 20;

/// How many files may turn out to be unreadable when they are read, of those that looked as if they were not.
const MAX_REFUSED: usize = 20;

/// The workspace of sessions at a target.
#[derive(Clone, Debug)]
pub(crate) struct There {
    /// How it is reached.
    base: Base,
    /// Its path there.
    workspace: AbsolutePath,
    /// Where objects are kept there.
    kept: AbsolutePath,
    /// What of the workspace is ours, if that lies in it: no checkpoint holds it.
    own: Name,
}

impl There {
    /// A workspace, of which objects are kept below a directory there. `name` tells it from others.
    ///
    /// # Errors
    /// That directory is the workspace, or lies around it.
    pub(crate) fn new(
        base: Base,
        workspace: AbsolutePath,
        state: &AbsolutePath,
        name: &str,
    ) -> Result<Self, CheckpointError> {
        let kept = state.child("checkpoints").and_then(|state| state.child(name));
        let around = || CheckpointError::NoPlace { directory: state.to_string(), why: "the workspace lies in it" };
        let kept = kept.filter(|_| !workspace.is_within(state)).ok_or_else(around)?;
        let own = state.as_str().strip_prefix(workspace.as_str()).and_then(|rest| rest.strip_prefix('/'));
        let own = own.unwrap_or_default().as_bytes().to_vec();
        Ok(Self { base, workspace, kept, own })
    }

    /// What lies in the workspace now, as far as checkpoints hold it.
    ///
    /// # Errors
    /// It cannot be asked about, or there is more in it than a checkpoint holds.
    pub(crate) async fn walk(&self, scope: &Scope, pace: &Pace) -> Result<Tree, CheckpointError> {
        self.list(scope, pace).await.map(|listed| listed.tree)
    }

    async fn list(&self, scope: &Scope, pace: &Pace) -> Result<Listed, CheckpointError> {
        if let Some(outpost) = self.base.outpost() {
            return Keeper::start(self, outpost, Some(scope), pace).await?.list(scope).await;
        }
        let mut call = format!("palisade_list {}", word(self.workspace.as_str().as_bytes()));
        for name in &scope.exclude {
            call.push_str(&format!(" -o -name {}", word(&literal(name))));
        }
        if !self.own.is_empty() {
            let path = format!("./{}", String::from_utf8_lossy(&self.own));
            call.push_str(&format!(" -o -path {}", word(&literal(&path))));
        }
        let mut listing = Listing::new(scope, &self.own);
        let task = Task { words: WORDS, call: &call, input: Vec::new(), records: Records::Nul, most: MAX_LIST };
        self.ask(task, pace, |record| listing.record(record)).await?;
        listing.end()
    }

    /// The objects that the bytes of these files are, which are written to what is kept if `keep`. What cannot be read has none.
    async fn hash(&self, names: &[Name], keep: bool, pace: &Pace) -> Result<BTreeMap<Name, Oid>, CheckpointError> {
        if names.is_empty() {
            return Ok(BTreeMap::new());
        }
        if let Some(outpost) = self.base.outpost() {
            return Keeper::start(self, outpost, None, pace).await?.read(names, keep).await;
        }
        let call = if keep { "palisade_hash -w" } else { "palisade_hash" };
        let (mut all, mut rest) = (BTreeMap::new(), names);
        for _ in 0..MAX_REFUSED {
            if rest.is_empty() {
                return Ok(all);
            }
            let (lines, whole) = self.lines(call, quoted(rest), rest.len(), pace).await?;
            let read = lines.len();
            for (name, line) in rest.iter().zip(lines) {
                all.insert(name.clone(), object(&line)?);
            }
            rest = match (whole, rest.get(read..)) {
                (true, Some([])) => &[],
                // It ends at the first that it cannot read.
                (false, Some([_, rest @ ..])) => rest,
                _ => return Err(broken("it is no list of objects").into()),
            };
        }
        Err(broken("git there reads no files, or cannot write what it has read").into())
    }

    /// Which of these objects are kept, and their sizes.
    async fn held(&self, objects: &BTreeSet<Oid>, pace: &Pace) -> Result<BTreeMap<Oid, u64>, CheckpointError> {
        if let Some(outpost) = self.base.outpost() {
            return Keeper::start(self, outpost, None, pace).await?.sizes(objects).await;
        }
        let input: String = objects.iter().map(|object| format!("{object}\n")).collect();
        let (lines, _) = self.lines("palisade_held", input.into_bytes(), objects.len(), pace).await?;
        let sized = lines.iter().filter_map(|line| {
            let mut words = line.split(' ');
            let object = words.next().and_then(|word| Oid::from_str(word).ok()).filter(|one| objects.contains(one))?;
            let size = words.next().filter(|kind| *kind == "blob").and(words.next())?.parse().ok()?;
            Some((object, size))
        });
        Ok(sized.collect())
    }

    /// Lets objects go.
    ///
    /// # Errors
    /// The target cannot be asked.
    pub(crate) async fn forget(&self, objects: &BTreeSet<Oid>) -> Result<(), CheckpointError> {
        if objects.is_empty() {
            return Ok(());
        }
        let pace = Pace::default();
        if let Some(outpost) = self.base.outpost() {
            return Keeper::start(self, outpost, None, &pace).await?.forget(objects).await;
        }
        let input: String = objects.iter().map(|object| format!("{object}\n")).collect();
        self.lines("palisade_forget", input.into_bytes(), 0, &pace).await.map(drop)
    }

    /// Lets every object go but these, and what was cut short has left besides.
    ///
    /// # Errors
    /// The target cannot be asked, or does not do it.
    pub(crate) async fn sweep(&self, needed: &BTreeSet<Oid>) -> Result<(), CheckpointError> {
        let pace = Pace::default();
        if let Some(outpost) = self.base.outpost() {
            return Keeper::start(self, outpost, None, &pace).await?.sweep(needed).await;
        }
        let input: String = needed.iter().map(|object| format!("{object}\n")).collect();
        let (_, whole) = self.lines("palisade_sweep", input.into_bytes(), 0, &pace).await?;
        if whole { Ok(()) } else { Err(broken("it does not let go of what is not needed").into()) }
    }

    /// Has git do something there: the lines that it tells, at most so many, and whether it went well.
    async fn lines(
        &self,
        call: &str,
        input: Vec<u8>,
        most: usize,
        pace: &Pace,
    ) -> Result<(Vec<String>, bool), CheckpointError> {
        let [kept, workspace] = [&self.kept, &self.workspace].map(|path| word(path.as_str().as_bytes()));
        let call = format!("palisade_store {kept} {workspace} {}; {call}", word(&self.own));
        let (mut lines, mut ended) = (Vec::new(), None);
        let task =
            Task { words: WORDS, call: &call, input, records: Records::Lines, most: GREETING + most * LINE + LINE };
        self.ask(task, pace, |line| {
            let line = std::str::from_utf8(line).map_err(|_| broken("it is no text"))?;
            match line.strip_prefix('=') {
                Some(status) if ended.is_none() => ended = Some(status == "0"),
                None if ended.is_none() && lines.len() < most => lines.push(line.to_owned()),
                _ => return Err(broken("it is more than was asked for").into()),
            }
            Ok(())
        })
        .await?;
        let whole = ended.ok_or_else(|| broken("it is cut short"))?;
        Ok((lines, whole))
    }

    /// Runs a task to its end, or to the first record that cannot be.
    async fn ask(
        &self,
        task: Task<'_>,
        pace: &Pace,
        mut each: impl FnMut(&[u8]) -> Result<(), CheckpointError>,
    ) -> Result<(), CheckpointError> {
        let mut read = Ok(());
        let take = |record: &[u8]| {
            read = match record.strip_prefix(b"!") {
                Some(why) => Err(self.told(&String::from_utf8_lossy(why))),
                None => each(record),
            };
            if read.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        self.base.perform(task, || pace.goes_on().is_ok(), take).await?;
        read?;
        Ok(pace.goes_on()?)
    }

    /// Why a target does not answer, in the words of its shell.
    fn told(&self, why: &str) -> CheckpointError {
        let why = match why {
            "store" => Why::Store,
            "link" => Why::Link,
            "inside" => Why::Inside,
            "workspace" => Why::Workspace,
            "root" => Why::Root,
            why => {
                return match why.strip_prefix("lacks ").filter(|what| WORDS.contains(what)) {
                    Some(what) => CheckpointError::Lacks { what: format!("`{what}`") },
                    None => broken("it is no answer").into(),
                };
            }
        };
        self.refused(why)
    }

    fn refused(&self, why: Why) -> CheckpointError {
        let no_place = |why| CheckpointError::NoPlace { directory: self.kept.to_string(), why };
        match why {
            Why::Store => no_place("it cannot be made, or is not its user's own"),
            Why::Link => no_place("a link stands in its place"),
            Why::Inside => no_place("it leads into the workspace"),
            Why::Workspace => TargetError::NoWorkspace { path: self.workspace.to_string() }.into(),
            Why::Root => no_place("the workspace is all that there is at the target"),
        }
    }
}

fn object(word: &str) -> Result<Oid, CheckpointError> {
    let whole = (word.len() == 40).then(|| Oid::from_str(word).ok()).flatten();
    whole.ok_or_else(|| broken("it is no object").into())
}

/// Bytes as one word of any `sh`. Printable ones stand in quotes; any others would not come through all of these shells, so that they
/// stand in octal numbers. A substitution loses the line ends at its end: those stand behind it.
fn word(bytes: &[u8]) -> String {
    if bytes.iter().all(|byte| matches!(byte, b' '..=b'~')) {
        return crate::shell::posix::quoted(bytes);
    }
    let ends = bytes.iter().rev().take_while(|byte| **byte == b'\n').count();
    let body = bytes.get(..bytes.len() - ends).unwrap_or_default();
    format!("\"$(printf %b '{}')\"'{}'", octal(body), "\n".repeat(ends))
}

/// The pattern that matches a name and no other.
fn literal(name: &str) -> Vec<u8> {
    name.bytes().flat_map(|byte| b"\\*?[".contains(&byte).then_some(b'\\').into_iter().chain([byte])).collect()
}

/// Paths as git reads them, a line each.
fn quoted(names: &[Name]) -> Vec<u8> {
    let mut lines = Vec::new();
    for name in names {
        lines.push(b'"');
        for byte in name {
            match byte {
                b'"' | b'\\' => lines.extend([b'\\', *byte]),
                b' '..=b'~' => lines.push(*byte),
                byte => lines.extend(format!("\\{byte:03o}").bytes()),
            }
        }
        lines.extend(b"\"\n");
    }
    lines
}
