//! Where records lie and when they count as written: the directory, the chain file, the thread that writes it.
//!
//! One chain per process, in files under a name of its own, so that two processes never fork a chain. One thread writes it: it
//! takes what waits, writes it in one piece, asks the disk once, looks whether the file is still the one in the
//! directory, and only then tells everybody. If any of that fails, everybody is told so, the piece is cut off again
//! and the chain steps back: what was not confirmed was never part of it.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::fs::{self, FlockOperation, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};
use tokio::sync::{mpsc, oneshot, watch};

use super::chain::{Chain, ChainId, Origin, SealError, Stamp};
use super::entry::Before;
use super::key::{self, Key};
use super::recover::{self, Mark};
use super::series::{self, ChainFiles, Name};
use super::{
    Anchor, AuditError, Entry, Id, Pruning, PublicKey, QUEUE, Recovered, Rotated, Settings, Start, Sync, Term, prune,
};

/// Records that share one request to the disk, at most.
const GROUP: usize = QUEUE;

/// What [`open`] made.
pub(super) struct Begun {
    pub(super) queue: mpsc::Sender<Job>,
    pub(super) head: watch::Receiver<Anchor>,
    pub(super) path: PathBuf,
    pub(super) chain: ChainId,
}

/// An entry to write, and who waits for it.
pub(super) struct Job {
    entry: Entry,
    reply: oneshot::Sender<Written>,
}

type Written = Result<Anchor, AuditError>;

impl Job {
    pub(super) fn new(entry: Entry) -> (Self, oneshot::Receiver<Written>) {
        let (reply, answer) = oneshot::channel();
        (Self { entry, reply }, answer)
    }
}

/// Makes the chain file, writes `start` to it and leaves the rest to a thread of its own, which ends when the last
/// sender of its queue is gone.
pub(super) fn open(settings: &Settings, mut start: Start) -> Result<Begun, AuditError> {
    start.sync = settings.sync;
    let origin = origin()?;
    let (directory, opened) = prepare(&settings.directory)?;
    let key = Arc::new(Key::open(&opened, &directory)?);
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
        pruned: None,
    };
    let written: Result<Vec<_>, _> = writer.commit(&[&Entry::Start(start)]).into_iter().collect();
    written.inspect_err(|error| {
        writer.file.discard(error);
        writer.mark.clear();
    })?;
    writer.recover_others()?;
    writer.prune();
    let (queue, jobs) = mpsc::channel(QUEUE);
    let failed = |error: std::io::Error| AuditError::System { what: "a thread", cause: errno(&error) };
    let clock = tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(failed)?;
    std::thread::Builder::new()
        .name("palisade-audit".to_owned())
        .spawn(move || writer.run(&clock, jobs))
        .map_err(failed)?;
    Ok(Begun { queue, head, path, chain: id })
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
fn before(directory: &Path) -> Result<Option<Before>, AuditError> {
    let chains = all(directory)?;
    let mut ended = chains.iter().rev().filter(|chain| !chain.open);
    let end = ended.find_map(|chain| Some((Id::new(chain.stem())?, chain.end()?)));
    Ok(end.map(|(chain, end)| Before { chain, seq: end.seq, head: end.head }))
}

/// The chains of a directory. Where they cannot be listed nobody can tell what one of them lacks, so that none begins.
pub(super) fn all(directory: &Path) -> Result<Vec<ChainFiles>, AuditError> {
    series::chains(directory).map_err(|error| AuditError::System { what: "the list of chains", cause: errno(&error) })
}

/// As [`super::public_key`].
pub(super) fn public_key(directory: &Path) -> Result<PublicKey, AuditError> {
    let (directory, opened) = prepare(directory)?;
    Ok(Key::open(&opened, &directory)?.public())
}

fn random() -> Result<u32, AuditError> {
    let mut bytes = [0; 4];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(|cause| AuditError::System { what: "a random number", cause })?;
    Ok(u32::from_ne_bytes(bytes))
}

fn origin() -> Result<Origin, AuditError> {
    let what = "the id of this boot";
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map_err(|error| AuditError::System { what, cause: errno(&error) })?;
    let boot = Id::new(boot.trim()).ok_or(AuditError::System { what, cause: Errno::INVAL })?;
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let name: String = name.bytes().map(|byte| if Id::may_hold(byte) { char::from(byte) } else { '_' }).collect();
    let host = Id::new(&name).ok_or(AuditError::System { what: "the name of this machine", cause: Errno::INVAL })?;
    Ok(Origin { boot, host })
}

fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// Puts entries into the chain and the file, all of a group or none.
struct Writer {
    chain: Chain,
    key: Arc<Key>,
    directory: PathBuf,
    file: ChainFile,
    mark: Mark,
    origin: Origin,
    opened: Instant,
    publish: watch::Sender<Anchor>,
    outage: Option<Outage>,
    settings: Settings,
    unsigned: Unsigned,
    /// When no other file could be begun.
    rotation_failed: Option<Instant>,
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
    fn new(settings: &Settings) -> Self {
        Self { most: settings.unsigned.max(1), longest: settings.unsigned_for, signed: 0, since: None }
    }

    /// How long the writer may wait for another record.
    fn due(&self) -> Option<Duration> {
        self.since.map(|since| self.longest.saturating_sub(since.elapsed()))
    }

    fn is_due(&self, head: u64) -> bool {
        head.saturating_sub(self.signed) >= self.most || self.due() == Some(Duration::ZERO)
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
    fn run(mut self, clock: &tokio::runtime::Runtime, mut jobs: mpsc::Receiver<Job>) {
        let limit = if self.settings.sync == Sync::Always { 1 } else { GROUP };
        let mut group = Vec::with_capacity(limit);
        loop {
            let received = clock.block_on(async {
                match self.waits() {
                    Some(wait) => tokio::time::timeout(wait, jobs.recv_many(&mut group, limit)).await.ok(),
                    None => Some(jobs.recv_many(&mut group, limit).await),
                }
            });
            if received == Some(0) {
                return;
            }
            let entries: Vec<_> = group.iter().map(|job| &job.entry).collect();
            let answers = self.commit(&entries);
            for (job, answer) in group.drain(..).zip(answers) {
                // Whoever gave up waiting has no use for the answer.
                let _ = job.reply.send(answer);
            }
            self.prune();
        }
    }

    /// How long there is nothing to do but for others.
    fn waits(&self) -> Option<Duration> {
        let prune = self.settings.retention.and(self.pruned).map(|at| SELDOM.saturating_sub(at.elapsed()));
        [self.unsigned.due(), prune].into_iter().flatten().min()
    }

    /// One answer for each entry. Before them, the chain goes on in another file if this one is large or old enough.
    fn commit(&mut self, entries: &[&Entry]) -> Vec<Written> {
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
        if let Err(error) = signed.and_then(|_| self.next_file()) {
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
        let begun = begun.and_then(|anchor| next.append(&line).map(|()| anchor));
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

    /// Takes away what is older than records are kept, each file once that is on record.
    fn prune(&mut self) {
        let Some(retention) = self.settings.retention else { return };
        if self.pruned.is_some_and(|at| at.elapsed() < SELDOM) || self.chain.stopped() {
            return;
        }
        self.pruned = Some(Instant::now());
        let Some(_alone) = prune::lock(&self.directory) else { return };
        let Ok(oldest) = Timestamp::now().checked_sub(retention) else { return };
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
                self.file.append(&lines)?;
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

/// The file of one chain: what is confirmed of it, and whether it can be added to.
struct ChainFile {
    file: OwnedFd,
    path: PathBuf,
    name: Name,
    /// The number of its first record.
    first: u64,
    begun: Instant,
    identity: Identity,
    /// How much of the file is confirmed, in bytes.
    length: u64,
    sync: Sync,
    end: End,
}

/// Device and inode: what a file is, under whatever name.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Identity(u64, u64);

/// What stands after the confirmed part of a file.
#[derive(Clone, Copy)]
enum End {
    /// Nothing.
    Clean,
    /// Up to this many bytes of a piece that failed.
    Torn(u64),
    /// Something we did not write, or part of what we wrote is missing. Whatever it is, it is evidence: the file is
    /// not touched again.
    Altered,
}

impl ChainFile {
    fn create(settings: &Settings, directory: &Path, opened: &OwnedFd, name: Name) -> Result<Self, AuditError> {
        let path = directory.join(name.file());
        let failed = |cause| AuditError::Create { path: path.clone(), cause };
        let flags =
            OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = fs::openat(opened, name.file(), flags, Mode::RUSR | Mode::WUSR).map_err(failed)?;
        fs::flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(failed)?;
        let stat = fs::fstat(&file).map_err(failed)?;
        if settings.sync != Sync::None {
            // Syncing a file does not make its name durable.
            fs::fsync(opened).map_err(failed)?;
        }
        let identity = Identity(stat.st_dev, stat.st_ino);
        let begun = Instant::now();
        Ok(Self { file, path, name, first: 1, begun, identity, length: 0, sync: settings.sync, end: End::Clean })
    }

    /// Adds `lines`; `Ok` when they are confirmed.
    fn append(&mut self, lines: &[u8]) -> Result<(), AuditError> {
        self.mend()?;
        self.confirm(0)?;
        let bytes = lines.len() as u64;
        self.end = End::Torn(bytes);
        let added = self.write(lines).and_then(|()| self.bring_to_disk()).and_then(|()| self.confirm(bytes));
        match added {
            Ok(()) => {
                self.length += bytes;
                self.end = End::Clean;
                Ok(())
            }
            Err(error) => {
                // If the end cannot be mended now, the next append begins with it.
                let _ = self.mend();
                Err(error)
            }
        }
    }

    /// Cuts off what a failure left, so that the next line begins where a line ends. Never adds: cutting a file to a
    /// length that it does not have would fill it up with zeros.
    fn mend(&mut self) -> Result<(), AuditError> {
        let torn = match self.end {
            End::Clean => return Ok(()),
            End::Altered => {
                return Err(AuditError::Altered { path: self.path.clone() });
            }
            End::Torn(bytes) => bytes,
        };
        let failed = |cause| AuditError::Torn { path: self.path.clone(), cause };
        let size = fs::fstat(&self.file).map_err(failed)?.st_size.cast_unsigned();
        if !(self.length..=self.length + torn).contains(&size) {
            self.end = End::Altered;
            return Err(AuditError::Altered { path: self.path.clone() });
        }
        retry_on_intr(|| fs::ftruncate(&self.file, self.length)).map_err(failed)?;
        self.end = End::Clean;
        Ok(())
    }

    /// Removes a file whose first record could not be written: an empty chain proves nothing and looks like one that
    /// was cut off. A file that somebody else has touched stays.
    fn discard(&self, error: &AuditError) {
        if !matches!(error, AuditError::Gone { .. } | AuditError::Altered { .. }) {
            let _ = fs::unlink(&self.path);
        }
    }

    fn write(&self, lines: &[u8]) -> Result<(), AuditError> {
        key::write_all(&self.file, lines).map_err(|cause| AuditError::Write { path: self.path.clone(), cause })
    }

    fn bring_to_disk(&self) -> Result<(), AuditError> {
        match self.sync {
            Sync::None => Ok(()),
            Sync::Always | Sync::Group => retry_on_intr(|| fs::fdatasync(&self.file))
                .map_err(|cause| AuditError::Unsynced { path: self.path.clone(), cause }),
        }
    }

    /// The file is still the one under its name, and holds what we wrote and nothing else. A file that was unlinked
    /// takes every write and is gone when we are.
    fn confirm(&mut self, added: u64) -> Result<(), AuditError> {
        let ours = fs::fstat(&self.file).map_err(|cause| AuditError::Write { path: self.path.clone(), cause })?;
        let named = fs::lstat(&self.path).ok().map(|named| Identity(named.st_dev, named.st_ino));
        if ours.st_nlink == 0 || named != Some(self.identity) {
            return Err(AuditError::Gone { path: self.path.clone() });
        }
        if ours.st_size.cast_unsigned() != self.length + added {
            self.end = End::Altered;
            return Err(AuditError::Altered { path: self.path.clone() });
        }
        Ok(())
    }
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
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::ffi::OsStr;
    use std::fs::{self, Permissions};
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
    use std::process::{Command, Stdio};

    use rustix::process::{Resource, Rlimit, Signal};

    use super::super::sample::{self, check};
    use super::super::{Audit, BrokenKind, Expected, verify};
    use super::*;

    fn settings(directory: &Path, sync: Sync) -> Settings {
        Settings::new(directory.to_owned(), sync)
    }

    fn begin(directory: &Path, sync: Sync) -> Audit {
        Audit::open(&settings(directory, sync), sample::start()).unwrap()
    }

    /// Appends one decision.
    fn decide(audit: &Audit) -> Written {
        audit.append_blocking(sample::decided(audit.request(), "make"))
    }

    /// The chain files of a directory.
    fn chains(directory: &Path) -> Vec<PathBuf> {
        let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        files.filter(|file| file.extension() == Some(OsStr::new("jsonl"))).collect()
    }

    fn kinds(path: &Path) -> Vec<String> {
        let kind = |line: &str| {
            serde_json::from_str::<serde_json::Value>(line).unwrap().get("kind").unwrap().as_str().unwrap().to_owned()
        };
        fs::read_to_string(path).unwrap().lines().map(kind).collect()
    }

    #[test]
    fn chains_that_cannot_be_listed_are_not_taken_for_none() {
        let error = all(Path::new("/dev/null")).unwrap_err();
        assert!(matches!(error, AuditError::System { what: "the list of chains", .. }), "{error}");
    }

    #[test]
    fn a_record_is_in_the_file_when_append_returns() {
        for sync in [Sync::Always, Sync::Group, Sync::None] {
            let home = tempfile::tempdir().unwrap();
            let audit = begin(home.path(), sync);
            assert_eq!(audit.head().seq, 1);
            for seq in 2..10 {
                let anchor = decide(&audit).unwrap();
                assert_eq!(anchor.seq, seq);
                assert_eq!(check(audit.path(), Some(anchor)).unwrap().head, anchor);
                assert_eq!(audit.head(), anchor);
            }
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn concurrent_appends_share_one_chain_without_gaps() {
        let home = tempfile::tempdir().unwrap();
        let audit = begin(home.path(), Sync::Group);
        let tasks: Vec<_> = (0..200)
            .map(|_| {
                let audit = audit.clone();
                tokio::spawn(async move {
                    let anchor = audit.append(sample::decided(audit.request(), "make")).await.unwrap();
                    check(audit.path(), Some(anchor)).unwrap();
                    anchor.seq
                })
            })
            .collect();
        let mut numbers = Vec::new();
        for task in tasks {
            numbers.push(task.await.unwrap());
        }
        numbers.sort_unstable();
        assert_eq!(numbers, (2..=201).collect::<Vec<_>>());
        assert_eq!(check(audit.path(), Some(audit.head())).unwrap().records, 201);
    }

    #[test]
    fn what_was_written_is_signed_after_so_many_records_or_so_long() {
        let home = tempfile::tempdir().unwrap();
        let key = super::super::public_key(home.path()).unwrap();
        let keys = || Expected { anchors: vec![], keys: vec![key] };
        let signed = |audit: &Audit| verify(BufReader::new(fs::File::open(audit.path()).unwrap()), keys()).unwrap();

        let often = Settings { unsigned: 3, ..settings(home.path(), Sync::Group) };
        let audit = Audit::open(&often, sample::start()).unwrap();
        for _ in 0..7 {
            decide(&audit).unwrap();
        }
        assert_eq!(
            kinds(audit.path()).join(" "),
            "start decision decision decision head decision decision decision head decision"
        );
        assert_eq!(signed(&audit).signed, 9);

        let soon = Settings { unsigned_for: Duration::from_millis(1), ..settings(home.path(), Sync::Group) };
        let audit = Audit::open(&soon, sample::start()).unwrap();
        decide(&audit).unwrap();
        while signed(&audit).signed < 3 {
            std::thread::yield_now();
        }
        // Nothing more is written where nothing more happens.
        assert_eq!(kinds(audit.path()), ["start", "decision", "head"]);
        audit.append_blocking(sample::stopped()).unwrap();
        let report = signed(&audit);
        assert_eq!((report.signed, report.records, report.complete), (4, 4, true));
    }

    #[test]
    fn without_a_key_that_is_ours_alone_there_is_no_record() {
        let home = tempfile::tempdir().unwrap();
        begin(home.path(), Sync::Group);
        let before = chains(home.path());
        fs::set_permissions(home.path().join("signing.key"), Permissions::from_mode(0o644)).unwrap();
        let error = Audit::open(&settings(home.path(), Sync::Group), sample::start()).unwrap_err();
        assert!(matches!(error, AuditError::Key(_)), "{error}");
        assert_eq!(chains(home.path()), before);
    }

    #[test]
    fn nothing_follows_stop() {
        let home = tempfile::tempdir().unwrap();
        let audit = begin(home.path(), Sync::Group);
        assert!(!check(audit.path(), None).unwrap().complete);
        audit.append_blocking(sample::stopped()).unwrap();
        assert_eq!(decide(&audit), Err(AuditError::OutOfPlace { path: audit.path().to_owned() }));
        assert!(check(audit.path(), Some(audit.head())).unwrap().complete);
    }

    #[test]
    fn an_entry_that_cannot_be_recorded_is_refused_alone() {
        let home = tempfile::tempdir().unwrap();
        let audit = begin(home.path(), Sync::Group);
        let long = sample::decided(audit.request(), &"x".repeat(super::super::MAX_LINE));
        assert!(matches!(audit.append_blocking(long), Err(AuditError::TooLong { .. })));
        assert!(matches!(audit.append_blocking(Entry::Start(sample::start())), Err(AuditError::OutOfPlace { .. })));
        decide(&audit).unwrap();
        assert_eq!(kinds(audit.path()), ["start", "decision"]);
    }

    #[test]
    fn only_our_account_can_read_or_write() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("state/palisade/audit");
        let audit = begin(&directory, Sync::Group);
        assert_eq!(audit.path().parent().unwrap(), directory);
        assert_eq!(audit.path().metadata().unwrap().mode() & 0o7777, 0o600);
        for made in [directory.as_path(), directory.parent().unwrap(), &home.path().join("state")] {
            assert_eq!(made.metadata().unwrap().mode() & 0o7777, 0o700);
        }
    }

    #[test]
    fn a_directory_that_others_can_change_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        let refused = |name: &str| Audit::open(&settings(&at(name), Sync::Group), sample::start()).unwrap_err();

        for mode in [0o777, 0o770, 0o702, 0o1777] {
            let name = format!("mode-{mode:o}");
            fs::create_dir(at(&name)).unwrap();
            fs::set_permissions(at(&name), Permissions::from_mode(mode)).unwrap();
            assert_eq!(refused(&name), AuditError::Writable { path: at(&name), mode });
        }
        fs::create_dir(at("real")).unwrap();
        fs::set_permissions(at("real"), Permissions::from_mode(0o700)).unwrap();
        symlink(at("real"), at("link")).unwrap();
        assert_eq!(refused("link"), AuditError::NotDirectory { path: at("link") });
        symlink(at("nowhere"), at("dangling")).unwrap();
        assert_eq!(refused("dangling"), AuditError::NotDirectory { path: at("dangling") });
        fs::write(at("file"), "").unwrap();
        assert_eq!(refused("file"), AuditError::NotDirectory { path: at("file") });
        assert_eq!(fs::read_dir(at("real")).unwrap().count(), 0);

        let ours = rustix::process::geteuid().as_raw();
        fs::create_dir(at("theirs")).unwrap();
        // Only root can give a directory away.
        if chown(at("theirs"), Some(ours + 1), None).is_ok() {
            assert_eq!(refused("theirs"), AuditError::Owner { path: at("theirs"), owner: ours + 1, ours });
        }
    }

    #[test]
    fn a_file_that_was_taken_away_takes_no_record() {
        type Attack = fn(&Path);
        let attacks: [(&str, Attack); 4] = [
            ("unlinked", |file| fs::remove_file(file).unwrap()),
            ("directory removed", |file| fs::remove_dir_all(file.parent().unwrap()).unwrap()),
            ("renamed", |file| fs::rename(file, file.with_extension("away")).unwrap()),
            ("replaced", |file| {
                fs::copy(file, file.with_extension("copy")).unwrap();
                fs::rename(file.with_extension("copy"), file).unwrap();
            }),
        ];
        for (name, attack) in attacks {
            let home = tempfile::tempdir().unwrap();
            let audit = begin(&home.path().join("audit"), Sync::Group);
            decide(&audit).unwrap();
            let head = audit.head();
            attack(audit.path());
            for _ in 0..2 {
                let error = decide(&audit).unwrap_err();
                assert_eq!(error, AuditError::Gone { path: audit.path().to_owned() }, "{name}");
                assert!(error.to_string().contains(&audit.path().display().to_string()), "{name}");
            }
            assert_eq!(audit.head(), head, "{name}");
        }
    }

    #[test]
    fn a_file_that_was_put_back_is_written_again_and_says_so() {
        let home = tempfile::tempdir().unwrap();
        let audit = begin(home.path(), Sync::Group);
        let away = audit.path().with_extension("away");
        fs::rename(audit.path(), &away).unwrap();
        decide(&audit).unwrap_err();
        decide(&audit).unwrap_err();
        fs::rename(&away, audit.path()).unwrap();
        decide(&audit).unwrap();
        let anchor = decide(&audit).unwrap();
        assert_eq!(kinds(audit.path()), ["start", "recovered", "decision", "decision"]);
        assert_eq!(check(audit.path(), Some(anchor)).unwrap().records, 4);
        let record: serde_json::Value =
            serde_json::from_str(fs::read_to_string(audit.path()).unwrap().lines().nth(1).unwrap()).unwrap();
        assert_eq!(record.get("refused").unwrap(), 2);
        assert_eq!(record.get("cause").unwrap(), "file-gone");
    }

    #[test]
    fn a_file_that_someone_else_wrote_to_is_left_as_it_is() {
        type Attack = fn(&Path);
        let attacks: [(&str, Attack); 2] = [
            ("shortened", |file| fs::OpenOptions::new().write(true).open(file).unwrap().set_len(10).unwrap()),
            ("added to", |file| {
                fs::OpenOptions::new().append(true).open(file).unwrap().write_all(b"{}\n").unwrap();
            }),
        ];
        for (name, attack) in attacks {
            let home = tempfile::tempdir().unwrap();
            let audit = begin(home.path(), Sync::Group);
            decide(&audit).unwrap();
            attack(audit.path());
            let evidence = fs::read(audit.path()).unwrap();
            for _ in 0..2 {
                assert_eq!(decide(&audit), Err(AuditError::Altered { path: audit.path().to_owned() }), "{name}");
            }
            assert_eq!(fs::read(audit.path()).unwrap(), evidence, "{name}");
        }
    }

    #[test]
    fn what_a_failed_write_left_is_cut_off_before_the_next_line() {
        let home = tempfile::tempdir().unwrap();
        let (directory, opened) = prepare(home.path()).unwrap();
        let name = Name { stem: "a".to_owned(), number: 1 };
        let mut file = ChainFile::create(&settings(home.path(), Sync::Group), &directory, &opened, name).unwrap();
        file.append(b"whole\n").unwrap();
        file.write(b"tor").unwrap();
        file.end = End::Torn(5);
        file.append(b"next\n").unwrap();
        assert_eq!(fs::read(&file.path).unwrap(), b"whole\nnext\n");

        // More than a failed write can have left is not ours to cut.
        file.write(b"more").unwrap();
        file.end = End::Torn(3);
        assert_eq!(file.append(b"next\n"), Err(AuditError::Altered { path: file.path.clone() }));
        assert_eq!(fs::read(&file.path).unwrap(), b"whole\nnext\nmore");
    }

    #[test]
    fn a_chain_file_is_locked_while_its_process_lives() {
        let home = tempfile::tempdir().unwrap();
        let audit = begin(home.path(), Sync::Group);
        let other = fs::File::open(audit.path()).unwrap();
        let lock = rustix::fs::flock(&other, FlockOperation::NonBlockingLockExclusive);
        assert_eq!(lock, Err(Errno::WOULDBLOCK));
    }

    /// Names the directory to work in, in a process that a test has started to do its work.
    const CHILD: &str = "PALISADE_AUDIT_TEST";

    fn child() -> Option<PathBuf> {
        std::env::var_os(CHILD).map(PathBuf::from)
    }

    /// This program again, to run `test` in `directory`, after `prologue` in a shell.
    fn rerun(test: &str, directory: &Path, prologue: &str) -> Command {
        let (_crate, module) = module_path!().split_once("::").unwrap();
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!(r#"{prologue} exec "$0" "$@""#)])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", &format!("{module}::{test}"), "--nocapture"])
            .env(CHILD, directory);
        command
    }

    fn passes(mut command: Command) {
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && text.contains("1 passed"),
            "{text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Appends until the disk is full, makes room, appends again.
    fn fill_and_go_on(directory: &Path, full: Errno, word: &str, make_room: impl FnOnce()) {
        let audit = begin(directory, Sync::Group);
        let error = (0..1000).find_map(|_| decide(&audit).err()).unwrap();
        assert_eq!(error, AuditError::Write { path: audit.path().to_owned(), cause: full });
        assert!(error.to_string().contains(&audit.path().display().to_string()));
        decide(&audit).unwrap_err();
        let report = check(audit.path(), Some(audit.head())).unwrap();
        assert_eq!(report.head, audit.head());

        make_room();
        let anchor = decide(&audit).unwrap();
        assert_eq!(anchor.seq, report.records + 2);
        assert_eq!(check(audit.path(), Some(anchor)).unwrap().head, anchor);
        let kinds = kinds(audit.path());
        assert_eq!(kinds.iter().filter(|kind| *kind == "recovered").count(), 1);
        assert!(fs::read_to_string(audit.path()).unwrap().contains(&format!(r#""cause":"{word}""#)));
    }

    #[test]
    fn a_file_at_its_size_limit_takes_no_record_until_there_is_room() {
        let Some(directory) = child() else {
            let home = tempfile::tempdir().unwrap();
            let test = "a_file_at_its_size_limit_takes_no_record_until_there_is_room";
            return passes(rerun(test, home.path(), "trap '' XFSZ; ulimit -S -f 9;"));
        };
        fill_and_go_on(&directory, Errno::FBIG, "file-size-limit", || {
            let hard = rustix::process::getrlimit(Resource::Fsize).maximum;
            rustix::process::setrlimit(Resource::Fsize, Rlimit { current: hard, maximum: hard }).unwrap();
        });
    }

    #[test]
    fn a_full_disk_takes_no_record_until_there_is_room() {
        let Some(directory) = child() else {
            let home = tempfile::tempdir().unwrap();
            let test = "a_full_disk_takes_no_record_until_there_is_room";
            // A file system of our own needs a user namespace, which not every kernel lets us have.
            let may = Command::new("unshare").args(["-rm", "true"]).stderr(Stdio::null()).status();
            if may.is_ok_and(|status| status.success()) {
                let inner =
                    rerun(test, home.path(), r#"mount -t tmpfs -o size=64k,mode=700 none "$PALISADE_AUDIT_TEST";"#);
                let mut outer = Command::new("unshare");
                outer.arg("-rm").arg(inner.get_program()).args(inner.get_args()).env(CHILD, home.path());
                passes(outer);
            }
            return;
        };
        let ballast = directory.join("ballast");
        fs::write(&ballast, [0; 32 << 10]).unwrap();
        fill_and_go_on(&directory, Errno::NOSPC, "no-space", || fs::remove_file(&ballast).unwrap());
    }

    #[test]
    fn a_read_only_file_system_takes_no_record_until_it_can_be_written() {
        let Some(directory) = child() else {
            let home = tempfile::tempdir().unwrap();
            let test = "a_read_only_file_system_takes_no_record_until_it_can_be_written";
            let may = Command::new("unshare").args(["-rm", "true"]).stderr(Stdio::null()).status();
            if may.is_ok_and(|status| status.success()) {
                let inner = rerun(test, home.path(), r#"mount -t tmpfs -o mode=700 none "$PALISADE_AUDIT_TEST";"#);
                let mut outer = Command::new("unshare");
                outer.arg("-rm").arg(inner.get_program()).args(inner.get_args()).env(CHILD, home.path());
                passes(outer);
            }
            return;
        };
        let remount =
            |how: &str| Command::new("mount").args(["-o", how]).arg(&directory).output().unwrap().status.success();
        // No key yet, then one, and then a file to go on in: each is refused, and has left nothing behind.
        for key in [false, true] {
            if key {
                super::super::public_key(&directory).unwrap();
            }
            assert!(remount("remount,ro"));
            let error = Audit::open(&settings(&directory, Sync::Group), sample::start()).unwrap_err();
            let source = std::error::Error::source(&error).unwrap().to_string();
            assert!(source.contains("Read-only"), "{error}: {source}");
            assert!(remount("remount,rw"));
            assert_eq!(chains(&directory), [] as [PathBuf; 0]);
        }
        let audit = begin(&directory, Sync::Group);
        let anchor = decide(&audit).unwrap();
        assert_eq!(check(audit.path(), Some(anchor)).unwrap().records, 2);
        // While a record is written the kernel lets nobody make its file system read-only.
        assert!(!remount("remount,ro"));
        decide(&audit).unwrap();
    }

    #[test]
    fn a_chain_that_cannot_begin_leaves_no_file() {
        let Some(directory) = child() else {
            let home = tempfile::tempdir().unwrap();
            let test = "a_chain_that_cannot_begin_leaves_no_file";
            super::super::public_key(home.path()).unwrap();
            return passes(rerun(test, home.path(), "trap '' XFSZ; ulimit -S -f 0;"));
        };
        let error = Audit::open(&settings(&directory, Sync::Group), sample::start()).unwrap_err();
        assert!(matches!(error, AuditError::Write { cause: Errno::FBIG, .. }));
        assert_eq!(chains(&directory), [] as [PathBuf; 0]);
    }

    #[test]
    fn processes_do_not_share_a_file() {
        if let Some(directory) = child() {
            let audit = begin(&directory, Sync::Group);
            for _ in 0..20 {
                decide(&audit).unwrap();
            }
            audit.append_blocking(sample::stopped()).unwrap();
            return;
        }
        let home = tempfile::tempdir().unwrap();
        let start = || rerun("processes_do_not_share_a_file", home.path(), "").stdout(Stdio::null()).spawn().unwrap();
        let children: Vec<_> = (0..4).map(|_| start()).collect();
        for mut child in children {
            assert!(child.wait().unwrap().success());
        }
        let files = chains(home.path());
        assert_eq!(files.len(), 4);
        for file in files {
            let report = check(&file, None).unwrap();
            assert_eq!((report.records, report.complete), (22, true));
        }
    }

    #[test]
    fn what_a_killed_process_was_told_is_on_record() {
        if let Some(directory) = child() {
            let audit = begin(&directory, Sync::Group);
            loop {
                let anchor = decide(&audit).unwrap();
                writeln!(std::io::stdout(), "anchor={anchor}").unwrap();
            }
        }
        let home = tempfile::tempdir().unwrap();
        let mut child = rerun("what_a_killed_process_was_told_is_on_record", home.path(), "")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let told = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .filter_map(|line| line.unwrap().strip_prefix("anchor=")?.parse::<Anchor>().ok())
            .nth(50)
            .unwrap();
        rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::KILL).unwrap();
        child.wait().unwrap();
        let file = chains(home.path()).pop().unwrap();
        let found = verify(BufReader::new(fs::File::open(file).unwrap()), Some(told));
        match found {
            Ok(report) => assert!(report.records >= told.seq && !report.complete),
            Err(broken) => assert!(matches!(broken.what, BrokenKind::Torn { .. }), "{broken}"),
        }
    }
}
