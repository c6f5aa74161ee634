//! The end of one chain, as it grows: which lines are new, and whether each follows the one before.
//!
//! A line counts once its newline is there. A file that got shorter or is another one is read again from its beginning, and
//! what was not shown before is. Signatures and what lies before the first line that is read are `verify`'s.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::OFlags;

use super::follow::{Followed, Notice, NoticeKind};
use super::series::Name;
use super::{Anchor, Digest, MAX_LINE, Seen};

/// How much is read of one chain before it is the next one's turn. A longer line is read whole.
const ROUND: u64 = 256 << 10;

/// How much is read at once on the way back from a file's end.
const BLOCK: u64 = 64 << 10;

/// Where a chain has been read to.
#[derive(Debug)]
pub(super) struct Tail {
    chain: Arc<str>,
    /// Which of the chain's files is read.
    number: u32,
    /// Where the next line begins.
    offset: u64,
    before: PreviousLine,
    /// The file, once it was opened: device and inode.
    file: Option<(u64, u64)>,
    /// The last record of what was shown, while the file is read again from its beginning.
    again: Option<Anchor>,
    /// In a line that is longer than any record.
    skipping: bool,
    /// That its file is not there was told.
    gone: bool,
}

/// What is known of the line before the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PreviousLine {
    /// There is none: the next one begins the chain.
    Nothing,
    /// It stands in the file, and was not read.
    Unread,
    /// It cannot be known: it is in a file that is not there, or is no record.
    Unknown,
    /// It was this one.
    Record(Anchor),
}

/// Whether there is more to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// It was this chain's round: there may be more.
    More,
    /// Nothing, for now.
    Nothing,
}

impl Tail {
    /// A chain from the beginning of one of its files.
    pub(super) fn from_file(chain: &str, number: u32) -> Self {
        let before = if number == 1 { PreviousLine::Nothing } else { PreviousLine::Unknown };
        Self { chain: chain.into(), number, offset: 0, before, file: None, again: None, skipping: false, gone: false }
    }

    /// A chain from the last `lines` lines of its files on, with how many of them there are. `budget` is what may be read
    /// to find them.
    pub(super) fn from_end(
        directory: &Path,
        chain: &str,
        files: &[u32],
        lines: usize,
        budget: &mut u64,
    ) -> (Self, usize) {
        let (mut found, mut tail) = (0, Self::from_file(chain, files.last().copied().unwrap_or(1)));
        for &number in files.iter().rev() {
            let Ok(file) = open(&directory.join(tail.name(number))) else { break };
            let (offset, there) = last_lines(&file, lines - found, budget);
            (tail.number, tail.offset) = (number, offset);
            tail.before = match (offset, number) {
                (0, 1) => PreviousLine::Nothing,
                (0, _) => PreviousLine::Unknown,
                _ => PreviousLine::Unread,
            };
            found += there;
            if offset > 0 || found >= lines || *budget == 0 {
                break;
            }
        }
        (tail, found)
    }

    /// There is nothing of it any more, which was told where it had to be.
    pub(super) fn is_gone(&self) -> bool {
        self.gone
    }

    /// The lines that are there now and were not before, as far as one round goes.
    pub(super) fn read(&mut self, directory: &Path, found: &mut Vec<Followed>) -> Left {
        // Before the file itself: once the next one is there, nothing is written to this one any more.
        let next = directory.join(self.name(self.number.saturating_add(1))).exists();
        let path = directory.join(self.name(self.number));
        let read = match open(&path) {
            Ok(file) => self.read_file(&file, found),
            Err(error) if error.kind() == io::ErrorKind::NotFound && next => Ok(Left::Nothing),
            Err(error) => Err(error),
        };
        match read {
            Ok(Left::More) => Left::More,
            Ok(Left::Nothing) if next => {
                self.number = self.number.saturating_add(1);
                (self.offset, self.file, self.again, self.skipping) = (0, None, None, false);
                Left::More
            }
            Ok(Left::Nothing) => Left::Nothing,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let pruned = directory.join(format!("{}.pruned", self.chain)).exists();
                if !pruned && !self.gone {
                    self.tell(found, NoticeKind::Gone);
                }
                self.gone = true;
                Left::Nothing
            }
            Err(error) => {
                self.tell(found, NoticeKind::Unreadable { cause: error.kind() });
                Left::Nothing
            }
        }
    }

    fn read_file(&mut self, file: &File, found: &mut Vec<Followed>) -> io::Result<Left> {
        let about = file.metadata()?;
        let identity = (about.dev(), about.ino());
        self.gone = false;
        if self.file.replace(identity).is_some_and(|before| before != identity) {
            self.tell(found, NoticeKind::Replaced);
            self.begin_again();
        } else if about.len() < self.offset {
            self.tell(found, NoticeKind::Shortened);
            self.begin_again();
        }
        if self.before == PreviousLine::Unread {
            self.before = line_before(file, self.offset).map_or(PreviousLine::Unknown, PreviousLine::Record);
        }
        let mut from = file;
        from.seek(SeekFrom::Start(self.offset))?;
        let mut bytes = Vec::new();
        from.take(ROUND).read_to_end(&mut bytes)?;
        if !bytes.contains(&b'\n') && bytes.len() as u64 == ROUND {
            from.take(MAX_LINE as u64 + 1 - ROUND).read_to_end(&mut bytes)?;
        }
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        for line in bytes.get(..whole).unwrap_or_default().split_inclusive(|byte| *byte == b'\n') {
            self.line(line, found);
            self.offset += line.len() as u64;
        }
        if whole == 0 && bytes.len() > MAX_LINE {
            if !self.skipping {
                self.tell(found, NoticeKind::TooLong);
            }
            (self.skipping, self.before) = (true, PreviousLine::Unknown);
            self.offset += bytes.len() as u64;
            return Ok(Left::More);
        }
        if whole > 0 {
            return Ok(Left::More);
        }
        // What was read again ends here: all that comes is new.
        self.again = None;
        Ok(Left::Nothing)
    }

    /// Reads the file from its beginning, and shows only what comes behind what was shown.
    fn begin_again(&mut self) {
        // Whatever was not read was not to be shown.
        let unread = Anchor { seq: u64::MAX, head: Digest::ZERO };
        self.again = Some(if let PreviousLine::Record(last) = self.before { last } else { unread });
        self.before = if self.number == 1 { PreviousLine::Nothing } else { PreviousLine::Unknown };
        (self.offset, self.skipping) = (0, false);
    }

    fn line(&mut self, line: &[u8], found: &mut Vec<Followed>) {
        if std::mem::take(&mut self.skipping) {
            return;
        }
        let Some((seen, prev)) = Seen::parse(&self.chain, line) else {
            self.before = PreviousLine::Unknown;
            return self.tell(found, NoticeKind::NotRecord);
        };
        let Anchor { seq, .. } = seen.anchor;
        let follows = match self.before {
            PreviousLine::Nothing => (1, Digest::ZERO) == (seq, prev),
            PreviousLine::Record(last) => (last.seq.saturating_add(1), last.head) == (seq, prev),
            PreviousLine::Unread | PreviousLine::Unknown => true,
        };
        if !follows {
            self.tell(found, NoticeKind::Link { seq });
        }
        self.before = PreviousLine::Record(seen.anchor);
        match self.again {
            Some(last) if seq < last.seq => return,
            Some(last) if seq == last.seq => {
                self.again = None;
                if last == seen.anchor {
                    return;
                }
                self.tell(found, NoticeKind::Rewritten { seq });
            }
            _ => {}
        }
        found.push(Followed::Record(Box::new(seen)));
    }

    fn tell(&self, found: &mut Vec<Followed>, what: NoticeKind) {
        let after = match (self.again, self.before) {
            (_, PreviousLine::Record(last)) => Some(last.seq),
            (Some(last), _) if last.head != Digest::ZERO => Some(last.seq),
            _ => None,
        };
        found.push(Followed::Notice(Notice {
            chain: Arc::clone(&self.chain),
            file: self.name(self.number),
            after,
            what,
        }));
    }

    fn name(&self, number: u32) -> String {
        Name { stem: self.chain.to_string(), number }.file()
    }
}

/// A record file, never a link, and nothing that opening would wait for.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

/// Where the last `wanted` whole lines begin, and how many of them there are. Nothing behind the last newline counts.
fn last_lines(file: &File, wanted: usize, budget: &mut u64) -> (u64, usize) {
    let mut end = file.metadata().map_or(0, |about| about.len());
    let (mut begins, mut seen) = (None, 0);
    // Half a line is no place to begin at, whatever the budget.
    while end > 0 && (*budget > 0 || begins.is_none()) {
        let size = BLOCK.min(end);
        *budget = budget.saturating_sub(size);
        let at = end - size;
        let mut block = vec![0; usize::try_from(size).unwrap_or_default()];
        if file.read_exact_at(&mut block, at).is_err() {
            break;
        }
        for found in memchr::memrchr_iter(b'\n', &block) {
            begins = Some(at + found as u64 + 1);
            if seen == wanted {
                return (at + found as u64 + 1, seen);
            }
            seen += 1;
        }
        end = at;
    }
    // The first newline ends the first line, which begins where the file does.
    if end == 0 { (0, seen) } else { (begins.unwrap_or(end), seen.saturating_sub(1)) }
}

/// The record whose line ends at `offset`.
fn line_before(file: &File, offset: u64) -> Option<Anchor> {
    let size = offset.min(MAX_LINE as u64 + 1);
    let mut span = BLOCK.min(size);
    loop {
        let mut bytes = vec![0; usize::try_from(span).ok()?];
        file.read_exact_at(&mut bytes, offset - span).ok()?;
        let inside = bytes.get(..bytes.len().checked_sub(1)?)?;
        let begins = memchr::memrchr(b'\n', inside).map(|at| at + 1).or((span == offset).then_some(0));
        if let Some(begins) = begins {
            return Seen::parse(&"".into(), bytes.get(begins..)?).map(|(seen, _)| seen.anchor);
        }
        if span == size {
            return None;
        }
        span = size;
    }
}
