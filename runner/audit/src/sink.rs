//! Where records lie and when they count as written: the directory, the chain file, what writes it.
//!
//! One chain per process, in files under a name of its own, so that two processes never fork a chain. One at a time writes it: it
//! takes what waits, writes it in one piece, asks the disk once, looks whether the file is still the one in the
//! directory, and only then tells everybody. If any of that fails, everybody is told so, the piece is cut off again
//! and the chain steps back: what was not confirmed was never part of it.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::fs::{self, Mode, OFlags};
use rustix::io::Errno;
use tokio::sync::watch;

use super::chain::{Chain, ChainId, ChainOrigin, SealError, Stamp};
use super::entry::PreviousChain;
use super::file::ChainFile;
use super::group_commit::GroupCommit;
use super::key::RecordKey;
use super::recover::{self, Mark};
use super::series::{self, ChainFiles, Name};
use super::{Anchor, AuditError, AuditSettings, Entry, Id, Pruning, PublicKey, Recovered, Rotated, Start, Term, prune};

/// What [`open`] made.
pub(super) struct Begun {
    pub(super) group_commit: GroupCommit,
    pub(super) head: watch::Receiver<Anchor>,
    pub(super) path: PathBuf,
    pub(super) chain: ChainId,
}

pub(super) type Written = Result<Anchor, AuditError>;

/// Makes the chain file, writes `start` to it and opens the group commit for the rest.
pub(super) fn open(settings: &AuditSettings, mut start: Start) -> Result<Begun, AuditError> {
    start.sync = settings.sync;
    let origin = origin()?;
    let (directory, opened) = prepare(&settings.directory)?;
    let key = Arc::new(RecordKey::open(&opened, &directory)?);
    let (id, name, mark) = begin(&directory, &opened)?;
    start.before = before(&directory).inspect_err(|_| mark.clear())?;
    let file = ChainFile::create(settings, &directory, &opened, name).inspect_err(|_| mark.clear())?;
    let path = file.path.clone();
    let chain = Chain::new(id, Arc::clone(&key));
    let (publish, head) = watch::channel(chain.head());
    let mut writer = Writer {
        chain,
        key,
        directory,
        file,
        mark,
        origin,
        opened: Instant::now(),
        publish,
        outage: None,
        settings: settings.clone(),
        unsigned: Unsigned::new(settings),
        rotation_failed: None,
        may_prune: false,
        pruned: None,
    };
    let written: Result<Vec<_>, _> = writer.commit(&[&Entry::Start(start)]).into_iter().collect();
    written.inspect_err(|error| {
        writer.file.discard(error);
        writer.mark.clear();
    })?;
    writer.recover_others()?;
    Ok(Begun { group_commit: GroupCommit::open(writer, settings.sync)?, head, path, chain: id })
}

/// A chain that nobody else has: its id, the name of its first file, and the mark that it is being written.
fn begin(directory: &Path, opened: &OwnedFd) -> Result<(ChainId, Name, Mark), AuditError> {
    let at = Timestamp::now().strftime("%Y%m%dT%H%M%S.%6fZ").to_string();
    loop {
        let id = ChainId(random()?);
        let name = Name { stem: format!("{at}-{}-{id}", std::process::id()), number: 1 };
        match Mark::set(directory, opened, &name.stem) {
            Ok(mark) => return Ok((id, name, mark)),
            // Somebody looked after the mark before it was locked, and took it away: another name, another try.
            Err(Errno::AGAIN | Errno::EXIST) => {}
            Err(cause) => return Err(AuditError::Create { path: directory.join(name.file()), cause }),
        }
    }
}

/// The newest chain that has ended, and its end. One that is still written might yet take its last line back.
fn before(directory: &Path) -> Result<Option<PreviousChain>, AuditError> {
    let chains = all(directory)?;
    let mut ended = chains.iter().rev().filter(|chain| !chain.open);
    let end = ended.find_map(|chain| Some((Id::new(chain.stem())?, chain.end()?)));
    Ok(end.map(|(chain, end)| PreviousChain { chain, seq: end.seq, head: end.head }))
}

/// The chains of a directory. Where they cannot be listed nobody can tell what one of them lacks, so that none begins.
pub(super) fn all(directory: &Path) -> Result<Vec<ChainFiles>, AuditError> {
    series::chains(directory).map_err(|error| AuditError::System { what: "the list of chains", cause: errno(&error) })
}

/// As [`super::public_key`].
pub(super) fn public_key(directory: &Path) -> Result<PublicKey, AuditError> {
    let (directory, opened) = prepare(directory)?;
    Ok(RecordKey::open(&opened, &directory)?.public())
}

fn random() -> Result<u32, AuditError> {
    let mut bytes = [0; 4];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(|cause| AuditError::System { what: "a random number", cause })?;
    Ok(u32::from_ne_bytes(bytes))
}

fn origin() -> Result<ChainOrigin, AuditError> {
    let what = "the id of this boot";
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map_err(|error| AuditError::System { what, cause: errno(&error) })?;
    let boot = Id::new(boot.trim()).ok_or(AuditError::System { what, cause: Errno::INVAL })?;
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let name: String = name.bytes().map(|byte| if Id::may_hold(byte) { char::from(byte) } else { '_' }).collect();
    let host = Id::new(&name).ok_or(AuditError::System { what: "the name of this machine", cause: Errno::INVAL })?;
    Ok(ChainOrigin { boot, host })
}

pub(super) fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// Puts entries into the chain and the file, all of a group or none.
pub(super) struct Writer {
    chain: Chain,
    key: Arc<RecordKey>,
    directory: PathBuf,
    file: ChainFile,
    mark: Mark,
    origin: ChainOrigin,
    opened: Instant,
    publish: watch::Sender<Anchor>,
    outage: Option<Outage>,
    settings: AuditSettings,
    unsigned: Unsigned,
    /// When no other file could be begun.
    rotation_failed: Option<Instant>,
    /// Whether what is old may go: not before policy was asked.
    may_prune: bool,
    /// When it was last looked whether something is old enough to go.
    pruned: Option<Instant>,
}

/// How long after a failure no other file is begun, and how often it is looked whether something may go.
const SELDOM: Duration = Duration::from_secs(60 * 60);

/// How long the end of the chain has been without a signature.
struct Unsigned {
    /// How many records may be.
    most: u64,
    /// For how long.
    longest: Duration,
    /// The last record that is signed.
    signed: u64,
    /// When the first behind it was written, or when it was last tried to sign it.
    since: Option<Instant>,
}

impl Unsigned {
    fn new(settings: &AuditSettings) -> Self {
        Self { most: settings.unsigned.max(1), longest: settings.unsigned_for, signed: 0, since: None }
    }

    /// When it has been so for long enough.
    fn due(&self) -> Option<Instant> {
        self.since.and_then(|since| since.checked_add(self.longest))
    }

    fn is_late(&self) -> bool {
        self.due().is_some_and(|due| due <= Instant::now())
    }

    fn is_due(&self, head: u64) -> bool {
        head.saturating_sub(self.signed) >= self.most || self.is_late()
    }

    /// The chain has grown to `head`, of which all up to `signed` is signed.
    fn written(&mut self, head: u64, signed: u64) {
        let rest = head > signed;
        self.since = self.since.filter(|_| rest && signed == self.signed).or_else(|| rest.then(Instant::now));
        self.signed = signed;
    }
}

/// A time in which entries are refused.
struct Outage {
    refused: u64,
    since: Timestamp,
    cause: Term,
}

impl Writer {
    /// When there is something to do although nobody hands anything in.
    pub(super) fn due(&self) -> Option<Instant> {
        let prune = self.retention().and(self.pruned).map(|at| at + SELDOM);
        [self.unsigned.due(), self.file.due(), prune].into_iter().flatten().min()
    }

    /// What is written next waits for the disk, whatever it is.
    pub(super) fn needs_disk(&self) -> bool {
        self.file.needs_disk() || self.is_rotation_due()
    }

    #[cfg(test)]
    pub(super) fn owes(&self) -> bool {
        self.file.due().is_some()
    }

    /// How long the disk took when it was last asked.
    pub(super) fn disk_took(&self) -> Option<Duration> {
        self.file.took
    }

    /// Asks the disk for what it owes, whether or not that is due.
    pub(super) fn settle(&mut self) -> Written {
        match self.file.settle() {
            Ok(()) => Ok(self.chain.head()),
            Err(error) => {
                self.refused(0, &error);
                Err(error)
            }
        }
    }

    /// Does what is due.
    pub(super) fn keep(&mut self) {
        if self.file.due().is_some_and(|due| due <= Instant::now()) {
            // Nothing more may follow until it is there.
            let _ = self.settle();
        }
        if self.unsigned.is_late() {
            // That the end cannot be signed is said as any failure to write is.
            let _ = self.commit(&[]);
        }
        self.prune();
    }

    /// One answer for each entry. Before them, the chain goes on in another file if this one is large or old enough.
    pub(super) fn commit(&mut self, entries: &[&Entry]) -> Vec<Written> {
        if self.is_rotation_due() {
            self.rotate();
        }
        let answers = self.put(entries, false);
        if self.chain.stopped() {
            self.mark.clear();
        }
        answers
    }

    fn is_rotation_due(&self) -> bool {
        let file = &self.file;
        let is_old = self.settings.rotate_age.is_some_and(|age| file.begun.elapsed() >= age);
        let was_tried = self.rotation_failed.is_some_and(|at| at.elapsed() < SELDOM);
        // A file holds more than what begins it.
        let is_empty = self.chain.head().seq <= file.first;
        (file.length >= self.settings.rotate_size || is_old)
            && !is_empty
            && !was_tried
            && !self.chain.stopped()
            && self.outage.is_none()
    }

    /// Signs what is there and goes on in another file. If that one cannot be begun, this one does for a while longer.
    fn rotate(&mut self) {
        let signed: Result<Vec<_>, _> = self.put(&[], true).into_iter().collect();
        let before = self.chain.clone();
        self.rotation_failed = None;
        if let Err(error) = signed.and_then(|_| self.settle()).and_then(|_| self.next_file()) {
            self.chain = before;
            self.rotation_failed = Some(Instant::now());
            tracing::warn!(file = %self.file.path.display(), %error, "no other file can be begun, this one is written on");
        }
    }

    fn next_file(&mut self) -> Result<(), AuditError> {
        let name = self.file.name.next();
        let after = Id::new(&self.file.name.file()).unwrap_or_else(Id::unknown);
        let opened = open_directory(&self.directory)?;
        let mut next = ChainFile::create(&self.settings, &self.directory, &opened, name.clone())?;
        next.first = self.chain.head().seq + 1;
        let mut line = Vec::new();
        let begun = self.seal(&Entry::Rotate(Rotated { number: name.number, after }), &mut line);
        let begun = begun.and_then(|anchor| next.append(&line, false).map(|()| anchor));
        let anchor = begun.inspect_err(|error| next.discard(error))?;
        self.file = next;
        self.unsigned.written(anchor.seq, anchor.seq);
        self.publish.send_replace(anchor);
        Ok(())
    }

    /// Puts on record what processes left that died, and sets right what of it can be.
    fn recover_others(&mut self) -> Result<(), AuditError> {
        let (directory, own) = (self.directory.clone(), self.file.name.stem.clone());
        recover::recover(&directory, &own, |crashed| {
            let written: Result<Vec<_>, _> =
                self.put(&[&Entry::Crashed(Box::new(crashed))], false).into_iter().collect();
            written.map(drop)
        })
    }

    /// Lets what is old go from now on, what is old by now at once; or lets all stay.
    pub(super) fn let_prune(&mut self, may: bool) {
        self.may_prune = may;
        self.prune();
    }

    /// How old a record has to be to go, if any may.
    fn retention(&self) -> Option<Duration> {
        self.settings.retention.filter(|_| self.may_prune)
    }

    /// Takes away what is older than records are kept, each file once that is on record.
    fn prune(&mut self) {
        let Some(retention) = self.retention() else { return };
        if self.pruned.is_some_and(|at| at.elapsed() < SELDOM) || self.chain.stopped() {
            return;
        }
        self.pruned = Some(Instant::now());
        let Some(_alone) = prune::lock(&self.directory) else { return };
        let Ok(oldest) = Timestamp::now().checked_sub(retention) else { return };
        // To read old files takes a while.
        if self.settle().is_err() {
            return;
        }
        for due in prune::due(&self.directory, &self.file.name, oldest) {
            let Some(file) = Id::new(&due.name.file()) else { continue };
            let entry = Entry::Prune(Pruning { file, last: due.head });
            if self.put(&[&entry], false).iter().any(Result::is_err) {
                return;
            }
            if let Err(cause) = prune::take(&self.directory, &self.key, &due, Timestamp::now()) {
                tracing::warn!(file = %due.path.display(), %cause, "the file is old enough to go and cannot be removed");
                return;
            }
        }
    }

    /// One answer for each entry. An entry that has no place in the chain is refused alone; a file that fails refuses
    /// all. A head is added where it is due, or asked for; if that is all, the answer is for it.
    fn put(&mut self, entries: &[&Entry], head: bool) -> Vec<Written> {
        let before = self.chain.clone();
        let sealed = self.recovery().and_then(|mut lines| {
            let mut answers: Vec<_> = entries.iter().map(|entry| self.seal(entry, &mut lines)).collect();
            let signed = self.signed(&before, entries, head, &mut lines)?;
            if entries.is_empty() {
                answers.push(Ok(self.chain.head()));
            }
            // Nothing to write, nothing to confirm.
            if self.chain.head() != before.head() {
                let may_follow = !entries.is_empty() && entries.iter().all(|entry| entry.may_follow());
                self.file.append(&lines, may_follow)?;
            }
            Ok((answers, signed))
        });
        match sealed {
            Ok((answers, signed)) => {
                self.unsigned.written(self.chain.head().seq, signed);
                self.publish.send_replace(self.chain.head());
                self.over();
                answers
            }
            Err(error) => {
                self.chain = before;
                self.unsigned.since = self.unsigned.since.map(|_| Instant::now());
                self.refused(entries.len(), &error);
                (0..entries.len().max(1)).map(|_| Err(error.clone())).collect()
            }
        }
    }

    /// The last record that is signed once these are written, a head included if there has to be one.
    fn signed(
        &mut self,
        before: &Chain,
        entries: &[&Entry],
        asked: bool,
        lines: &mut Vec<u8>,
    ) -> Result<u64, AuditError> {
        let head = self.chain.head().seq;
        let begins = before.head().seq == 0 && entries.first().is_some_and(|entry| matches!(entry, Entry::Start(_)));
        if self.chain.stopped() {
            return Ok(head);
        }
        if begins {
            return Ok(1);
        }
        if head > self.unsigned.signed && (asked || self.unsigned.is_due(head)) {
            return self.seal(&Entry::Head, lines).map(|anchor| anchor.seq);
        }
        Ok(self.unsigned.signed)
    }

    /// What comes before the next entries: after an outage, the record of it.
    fn recovery(&mut self) -> Result<Vec<u8>, AuditError> {
        let mut lines = Vec::new();
        if let Some(&Outage { refused, since, cause }) = self.outage.as_ref() {
            self.seal(&Entry::Recovered(Recovered { refused, since, cause }), &mut lines)?;
        }
        Ok(lines)
    }

    fn seal(&mut self, entry: &Entry, lines: &mut Vec<u8>) -> Written {
        let stamp = Stamp { at: Timestamp::now(), elapsed: self.opened.elapsed(), origin: &self.origin };
        let line = self.chain.seal(entry, &stamp).map_err(|error| match error {
            SealError::TooLong { bytes } => AuditError::TooLong { bytes },
            SealError::OutOfPlace | SealError::Unwritable => AuditError::OutOfPlace { path: self.file.path.clone() },
        })?;
        lines.extend_from_slice(&line);
        Ok(self.chain.head())
    }

    fn refused(&mut self, entries: usize, error: &AuditError) {
        if self.outage.is_none() {
            let (file, error) = (self.file.path.display(), error as &dyn std::error::Error);
            tracing::error!(%file, error, "no record can be written, nothing runs");
        }
        let outage =
            self.outage.get_or_insert_with(|| Outage { refused: 0, since: Timestamp::now(), cause: cause(error) });
        outage.refused += entries as u64;
    }

    fn over(&mut self) {
        if let Some(outage) = self.outage.take() {
            tracing::warn!(file = %self.file.path.display(), refused = outage.refused, "records can be written again");
        }
    }
}

/// An error in a word, for the record of an outage.
fn cause(error: &AuditError) -> Term {
    Term::new(match error {
        AuditError::Gone { .. } => "file-gone",
        AuditError::Altered { .. } => "file-altered",
        AuditError::Write { cause, .. } | AuditError::Unsynced { cause, .. } | AuditError::Torn { cause, .. } => {
            match *cause {
                Errno::NOSPC | Errno::DQUOT => "no-space",
                Errno::FBIG => "file-size-limit",
                Errno::ROFS => "read-only",
                _ => "write-failed",
            }
        }
        _ => "write-failed",
    })
}

/// The directory, made if it is missing, opened and found to be ours alone to write. Its path is absolute, so that it
/// means the same after a change of directory.
fn prepare(directory: &Path) -> Result<(PathBuf, OwnedFd), AuditError> {
    let path = std::path::absolute(directory)
        .map_err(|error| AuditError::Directory { path: directory.to_owned(), cause: errno(&error) })?;
    make(&path)?;
    let opened = open_directory(&path)?;
    let stat = fs::fstat(&opened).map_err(|cause| AuditError::Directory { path: path.clone(), cause })?;
    let ours = rustix::process::geteuid().as_raw();
    if stat.st_uid != ours {
        return Err(AuditError::Owner { path, owner: stat.st_uid, ours });
    }
    if stat.st_mode & 0o022 != 0 {
        return Err(AuditError::Writable { path, mode: stat.st_mode & 0o7777 });
    }
    Ok((path, opened))
}

fn open_directory(path: &Path) -> Result<OwnedFd, AuditError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    fs::open(path, flags, Mode::empty()).map_err(|cause| match cause {
        // Linux says either of a symbolic link, depending on what it looks at first.
        Errno::LOOP | Errno::NOTDIR => AuditError::NotDirectory { path: path.to_owned() },
        cause => AuditError::Directory { path: path.to_owned(), cause },
    })
}

/// Makes the directory and those above it that are missing, mode 0700, each name durable.
fn make(path: &Path) -> Result<(), AuditError> {
    let failed = |cause| AuditError::Directory { path: path.to_owned(), cause };
    let Some(parent) = path.parent().filter(|_| fs::lstat(path).is_err()) else {
        return Ok(());
    };
    make(parent)?;
    match fs::mkdir(path, Mode::RWXU) {
        // Another process was quicker; whether the result is good enough is checked by whoever opens it.
        Ok(()) | Err(Errno::EXIST) => {}
        Err(cause) => return Err(failed(cause)),
    }
    let above =
        fs::open(parent, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map_err(failed)?;
    fs::fsync(&above).map_err(failed)
}

#[cfg(test)]
mod tests;
