//! The work of checkpoints at a target that has a guard: this very program does it there, over a connection of its own.
//!
//! `far.rs` is that end, and needs nothing else that the target has. The program is the one that was brought there for the guard and that
//! is known by its digest; nothing that a session's commands can write to stands between it and here. What it tells is bounded and looked
//! at like what any target tells, and what comes back is compared with the lists of this side.

mod far;
mod message;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use git2::Oid;
use rustix::io::Errno;
use tokio::time::{Instant, Interval};

pub use self::far::keep;
pub(super) use self::message::Why;
use self::message::{Begin, Bytes, Deed, KeeperAnswer, MANY, Object, Order, Steps, record};
use super::listing::{Listed, Listing};
use super::{MAX_LIST, There};
use crate::checkpoint::restore::{Failed, Step};
use crate::checkpoint::tree::{Entry, Name, Scope, Tree};
use crate::checkpoint::{CheckpointError, manifest};
use crate::remote::guard::{Frames, MAX_ANSWER, Numbered, Outpost, encode, greeted};
use crate::remote::{Purpose, broken};
use crate::shell::pace::Pace;
use crate::shell::{Nonce, Typed};
use crate::target::TargetError;
use crate::transport::wire::{Piece, Wire};

/// How long it may take to start.
const READY: Duration = Duration::from_secs(60);

/// How long it may say nothing: it may have a large file to read.
const SILENCE: Duration = Duration::from_secs(120);

/// How often it is asked whether somebody still waits.
const TICK: Duration = Duration::from_millis(100);

/// Bytes that are sent at once.
const PIECE: usize = 32 << 10;

/// Letters of what it says of an error.
const MAX_COMPLAINT: usize = 300;

/// The program at the target, which ends when this is dropped.
pub(super) struct Keeper<'a> {
    there: &'a There,
    pace: &'a Pace,
    wire: Wire,
    frames: Frames,
    tick: Interval,
    heard: Instant,
    /// Bytes that it has told since it was asked.
    told: usize,
    /// The number of the last order.
    last: u64,
}

impl<'a> Keeper<'a> {
    /// Starts it, and tells it which workspace it is about.
    ///
    /// # Errors
    /// If it does not start.
    pub(super) async fn start(
        there: &'a There,
        outpost: &Outpost,
        scope: Option<&Scope>,
        pace: &'a Pace,
    ) -> Result<Self, CheckpointError> {
        let nonce = Nonce::new().map_err(|_| broken("there are no random bytes"))?;
        let purpose = Purpose::Keeper { program: outpost.program(), nonce: &nonce };
        let mut wire = there.base.open(purpose).await?;
        let rest = tokio::time::timeout(READY, greeted(&mut wire, &nonce)).await.map_err(|_| TargetError::Silent)??;
        let mut frames = Frames::new(MAX_ANSWER);
        frames.push(&rest);
        let (tick, heard) = (tokio::time::interval(TICK), Instant::now());
        let mut keeper = Self { there, pace, wire, frames, tick, heard, told: rest.len(), last: 0 };
        let (exclude, max_file) = scope.map(|scope| (scope.exclude.clone(), scope.max_file)).unwrap_or_default();
        let begin = Begin { workspace: outpost.workspace().clone(), kept: there.kept.clone(), exclude, max_file };
        // Whether it is well is told before what it is asked next.
        keeper.send(Order::Begin(begin)).await?;
        Ok(keeper)
    }

    /// What lies in the workspace.
    pub(super) async fn list(&mut self, scope: &Scope) -> Result<Listed, CheckpointError> {
        let mut listing = Listing::new(scope, &self.there.own);
        self.send(Order::List).await?;
        loop {
            let KeeperAnswer::Listed { now, found, left, more } = self.answer().await? else { return Err(nonsense()) };
            for one in &found {
                let (name, found) = message::read(one).ok_or_else(nonsense)?;
                listing.found(name, found)?;
            }
            for (Bytes(name), why) in left {
                listing.left(name, why)?;
            }
            if !more {
                return listing.at(now);
            }
        }
    }

    /// The objects that the bytes of these files are, which are kept if `keep`. What cannot be read has none.
    pub(super) async fn read(&mut self, names: &[Name], keep: bool) -> Result<BTreeMap<Name, Oid>, CheckpointError> {
        let mut all = BTreeMap::new();
        for names in names.chunks(MANY) {
            let asked = names.iter().cloned().map(Bytes).collect();
            let found = self.objects(Order::Read { names: asked, keep }, names.len()).await?;
            let read = names.iter().zip(found).filter_map(|(name, object)| Some((name.clone(), object?)));
            all.extend(read);
        }
        if keep {
            // No checkpoint names what a power cut could take.
            self.done(Order::Sync).await?;
        }
        Ok(all)
    }

    /// Which of these objects are kept, and their sizes.
    pub(super) async fn sizes(&mut self, objects: &BTreeSet<Oid>) -> Result<BTreeMap<Oid, u64>, CheckpointError> {
        let (all, mut sizes): (Vec<Oid>, _) = (objects.iter().copied().collect(), BTreeMap::new());
        // Also about none: that there is a place for them is told, too.
        let parts = all.chunks(MANY).chain(all.is_empty().then_some(&[][..]));
        for part in parts {
            let asked = part.iter().copied().map(Object).collect();
            let KeeperAnswer::Sizes(found) = self.ask(Order::Sizes { objects: asked }).await? else {
                return Err(nonsense());
            };
            if found.len() != part.len() {
                return Err(nonsense());
            }
            sizes.extend(part.iter().zip(found).filter_map(|(object, size)| Some((*object, size?))));
        }
        Ok(sizes)
    }

    /// Those of these files whose bytes, as they are kept there now, are not the ones that the list of this side has.
    pub(super) async fn others(&mut self, files: &[(&Name, Oid, u64)]) -> Result<Vec<Name>, CheckpointError> {
        let mut others = Vec::new();
        for files in files.chunks(MANY) {
            let asked = files.iter().map(|(_, object, size)| (Object(*object), *size)).collect();
            let found = self.objects(Order::Reread { objects: asked }, files.len()).await?;
            let differs = files.iter().zip(found).filter(|((_, object, _), found)| *found != Some(*object));
            others.extend(differs.map(|((name, ..), _)| (*name).clone()));
        }
        Ok(others)
    }

    /// Lets objects go.
    pub(super) async fn forget(&mut self, objects: &BTreeSet<Oid>) -> Result<(), CheckpointError> {
        let all: Vec<Object> = objects.iter().copied().map(Object).collect();
        for part in all.chunks(MANY) {
            self.done(Order::Forget { objects: part.to_vec() }).await?;
        }
        Ok(())
    }

    /// Lets every object go but these, and what was cut short has left besides.
    pub(super) async fn sweep(&mut self, needed: &BTreeSet<Oid>) -> Result<(), CheckpointError> {
        self.done(Order::Sweep { needed: needed.iter().copied().map(Object).collect() }).await
    }

    /// Takes steps that were planned for `now`; those that could not be taken.
    pub(super) async fn take(
        &mut self,
        steps: &[Step<'_>],
        now: &Tree,
        mark: &str,
    ) -> Result<Vec<Failed>, CheckpointError> {
        let mut failed = Vec::new();
        for (part, steps) in steps.chunks(MANY).enumerate() {
            let then = steps.iter().filter_map(|step| match *step {
                Step::Delete(_) => None,
                Step::Put(name, entry) | Step::Finish(name, entry) => Some((name.clone(), entry.clone())),
            });
            let seen = steps.iter().filter_map(|step| Some(record(step.name(), now.found.get(step.name())?)));
            let order = Steps {
                mark: format!("{mark}-{part}"),
                steps: steps.iter().map(|step| (deed(step), Bytes(step.name().clone()))).collect(),
                then: Bytes(manifest::write(&then.collect())),
                seen: seen.collect(),
            };
            let KeeperAnswer::NotTaken(not_taken) = self.ask(Order::Steps(Box::new(order))).await? else {
                return Err(nonsense());
            };
            if not_taken.len() > steps.len() {
                return Err(nonsense());
            }
            for (at, why) in not_taken {
                let step = steps.get(at).ok_or_else(nonsense)?;
                failed.push(Failed { name: step.name().clone(), why: plain(&why) });
            }
        }
        Ok(failed)
    }

    /// Puts the times of directories back, as far as it goes.
    pub(super) async fn put_times(&mut self, entries: BTreeMap<Name, Entry>) -> Result<(), CheckpointError> {
        self.done(Order::Times { entries: Bytes(manifest::write(&entries)) }).await
    }

    async fn objects(&mut self, order: Order, count: usize) -> Result<Vec<Option<Oid>>, CheckpointError> {
        match self.ask(order).await? {
            KeeperAnswer::Objects(found) if found.len() == count => {
                Ok(found.into_iter().map(|object| object.map(|Object(object)| object)).collect())
            }
            _ => Err(nonsense()),
        }
    }

    async fn done(&mut self, order: Order) -> Result<(), CheckpointError> {
        match self.ask(order).await? {
            KeeperAnswer::Done => Ok(()),
            _ => Err(nonsense()),
        }
    }

    async fn ask(&mut self, order: Order) -> Result<KeeperAnswer, CheckpointError> {
        self.send(order).await?;
        self.answer().await
    }

    async fn send(&mut self, order: Order) -> Result<(), CheckpointError> {
        self.last += 1;
        self.told = 0;
        let bytes = encode(&Numbered { id: self.last, body: order }).map_err(|_| CheckpointError::TooMany)?;
        for piece in bytes.chunks(PIECE) {
            while !self.has_room().await? {}
            if !self.wire.pass(Typed::Bytes(piece.to_vec())) {
                return Err(TargetError::Closed.into());
            }
        }
        Ok(())
    }

    /// Waits until more can be sent, or something has come.
    async fn has_room(&mut self) -> Result<bool, CheckpointError> {
        let (output, room) = self.wire.halves();
        let piece = tokio::select! {
            room = room.room() => {
                self.heard = Instant::now();
                return if room { Ok(true) } else { Err(TargetError::Closed.into()) };
            }
            piece = output.next() => Some(piece),
            _ = self.tick.tick() => None,
        };
        self.came(piece)?;
        Ok(false)
    }

    /// What it says to the last order.
    async fn answer(&mut self) -> Result<KeeperAnswer, CheckpointError> {
        loop {
            while let Some(Numbered { id, body }) = self.frames.message().map_err(|_| nonsense())? {
                match body {
                    KeeperAnswer::Alive => {}
                    KeeperAnswer::Refused(why) => return Err(self.there.refused(why)),
                    KeeperAnswer::Unread(number) => {
                        return Err(CheckpointError::Workspace { cause: Errno::from_raw_os_error(number) });
                    }
                    KeeperAnswer::TooMany => return Err(CheckpointError::TooMany),
                    KeeperAnswer::Unkept(why) => {
                        let directory = self.there.kept.to_string();
                        return Err(CheckpointError::Unkept { directory, why: plain(&why) });
                    }
                    // What it was about is well.
                    KeeperAnswer::Done if id == 1 && self.last > 1 => {}
                    body if id == self.last => return Ok(body),
                    _ => return Err(nonsense()),
                }
            }
            let (output, _) = self.wire.halves();
            let piece = tokio::select! {
                piece = output.next() => Some(piece),
                _ = self.tick.tick() => None,
            };
            self.came(piece)?;
        }
    }

    /// A piece has come, or its end; or some time has passed.
    fn came(&mut self, piece: Option<Option<Piece>>) -> Result<(), CheckpointError> {
        match piece {
            Some(Some(Piece::Out(bytes))) => {
                self.heard = Instant::now();
                self.told += bytes.len();
                if self.told > MAX_LIST {
                    return Err(broken("it is too much").into());
                }
                self.frames.push(&bytes);
                Ok(())
            }
            Some(Some(Piece::Err(_))) => Ok(()),
            Some(Some(Piece::Ended(Some(_)))) => Err(broken("it is cut short").into()),
            Some(Some(Piece::Ended(None)) | None) => Err(TargetError::Closed.into()),
            None if self.heard.elapsed() > SILENCE => Err(TargetError::Silent.into()),
            None => Ok(self.pace.goes_on()?),
        }
    }
}

fn deed(step: &Step<'_>) -> Deed {
    match step {
        Step::Delete(_) => Deed::Delete,
        Step::Put(..) => Deed::Put,
        Step::Finish(..) => Deed::Finish,
    }
}

fn nonsense() -> CheckpointError {
    broken("it is no answer").into()
}

/// What a target says, as a message may have it.
fn plain(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(MAX_COMPLAINT).collect()
}
