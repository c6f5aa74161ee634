//! The record, read behind its writers: what is new in any chain of a directory since a cursor was there.
//!
//! Decides which lines somebody has not had yet, and what of them can no longer be had. A line may be handed out twice, for a
//! writer may take back what the disk did not confirm; none that stays is passed over. Whether lines hold is `verify`'s.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::series::{self, ChainFiles};
use super::{Digest, Expected, MAX_LINE};

/// How long a chain that is read to its end is remembered, so that one whose name is older than its file is not missed.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(1);

/// Records of one write that a writer takes back together, at most.
const GROUP: u64 = super::QUEUE as u64;

/// How far somebody has read in all chains of a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Chains of a name before this one that are not listed are read to their end.
    #[serde(default)]
    settled: String,
    #[serde(default)]
    chains: BTreeMap<String, ChainPosition>,
    /// Records that were gone before they could be read.
    #[serde(default)]
    pub missed: u64,
}

/// How far somebody has read in one chain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct ChainPosition {
    file: u32,
    offset: u64,
    /// The last record that was read, and its digest.
    seq: u64,
    head: String,
    /// Nothing can follow.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    over: bool,
}

/// Some records, in the order of their chain, and where the cursor stands behind them.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The records.
    pub records: Vec<RecordLine>,
    /// How many were gone before they could be read.
    pub missed: u64,
    places: Vec<(String, ChainPosition)>,
    /// When the directory was listed, if all that was in it was read.
    all_of: Option<Timestamp>,
}

/// One record as it is written.
#[derive(Clone, Debug)]
pub struct RecordLine {
    /// Its line, without the line break.
    pub line: String,
    /// What it says.
    pub value: Value,
    /// Its chain: what its files' names have in common.
    pub chain: String,
}

/// How much is read at once.
#[derive(Clone, Copy, Debug)]
pub struct Most {
    /// Records.
    pub records: usize,
    /// Bytes; one record may be longer.
    pub bytes: usize,
}

impl Batch {
    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.missed == 0
    }

    /// Whether the cursor would stand elsewhere.
    pub fn moves(&self) -> bool {
        !self.places.is_empty()
    }
}

impl Cursor {
    /// What is new. The cursor stays where it is.
    ///
    /// # Errors
    /// If the directory or a file cannot be read.
    pub fn read(&self, directory: &Path, most: Most) -> io::Result<Batch> {
        let mut batch = Batch { all_of: Some(Timestamp::now()), ..Batch::default() };
        let mut left = most;
        for chain in series::chains(directory)? {
            let known = self.chains.get(chain.stem());
            if known.is_some_and(|place| place.over) || (known.is_none() && chain.stem() < self.settled.as_str()) {
                continue;
            }
            let mut place = known.cloned().unwrap_or_default();
            let before = place.clone();
            batch.missed += place.go_on(&chain, &mut left, &mut batch.records)?;
            if place != before {
                batch.places.push((chain.stem().to_owned(), place));
            }
            if left.records == 0 || left.bytes == 0 {
                batch.all_of = None;
                break;
            }
        }
        Ok(batch)
    }

    /// Puts the cursor behind a batch that was read from it.
    pub fn pass(&mut self, batch: &Batch) {
        self.missed += batch.missed;
        self.chains.extend(batch.places.iter().cloned());
        if let Some(at) = batch.all_of {
            self.tidy(at);
        }
    }

    /// Forgets chains that are read to their end and were begun more than an hour before `now`, when every chain was known.
    fn tidy(&mut self, now: Timestamp) {
        let Ok(bound) = now.checked_sub(REMEMBERED) else { return };
        let bound = bound.strftime("%Y%m%dT%H%M%S").to_string();
        // A chain of an older name that appears only now would be passed over: a name is older than its file, but by moments.
        self.settled = bound.max(std::mem::take(&mut self.settled));
        let settled = &self.settled;
        self.chains.retain(|stem, place| !place.over || stem >= settled);
    }
}

impl ChainPosition {
    /// Reads on. Returns how many records were gone.
    fn go_on(&mut self, chain: &ChainFiles, left: &mut Most, into: &mut Vec<RecordLine>) -> io::Result<u64> {
        let mut missed = 0;
        while left.records > 0 && left.bytes > 0 {
            let Some((number, path)) = chain.numbered().range(self.file..).next() else {
                // Nothing is there but, at most, the note of how far it was pruned.
                match chain.pruned(&Expected::default()) {
                    Ok(None) => {}
                    Ok(Some(pruned)) => {
                        missed += pruned.head.seq.saturating_sub(self.seq);
                        self.seq = pruned.head.seq.max(self.seq);
                    }
                    // How many cannot be told any more, but that some are gone: the note itself was one.
                    Err(error) => {
                        tracing::error!(chain = chain.stem(), "how far a chain was pruned cannot be read: {error}");
                        missed += 1;
                    }
                }
                self.over = !chain.open;
                return Ok(missed);
            };
            if *number != self.file {
                (self.file, self.offset) = (*number, 0);
            }
            let file = match File::open(path) {
                Ok(file) => file,
                // Pruned since the directory was listed: the next look tells.
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(missed),
                Err(error) => return Err(error),
            };
            missed += self.read_file(file, chain.stem(), left, into)?;
            if left.records == 0 || left.bytes == 0 {
                break;
            }
            if chain.numbered().range(self.file.saturating_add(1)..).next().is_some() {
                (self.file, self.offset) = (self.file.saturating_add(1), 0);
            } else {
                self.over = !chain.open;
                break;
            }
        }
        Ok(missed)
    }

    fn read_file(
        &mut self,
        mut file: File,
        stem: &str,
        left: &mut Most,
        into: &mut Vec<RecordLine>,
    ) -> io::Result<u64> {
        if file.metadata()?.len() < self.offset {
            self.go_back();
        }
        file.seek(SeekFrom::Start(self.offset))?;
        let mut reader = BufReader::with_capacity(1 << 16, file);
        let (mut line, mut missed) = (Vec::new(), 0);
        while left.records > 0 && left.bytes > 0 {
            line.clear();
            reader.by_ref().take(MAX_LINE as u64 + 1).read_until(b'\n', &mut line)?;
            if !line.ends_with(b"\n") {
                // The end, or a line that is being written, or what is left of one.
                break;
            }
            let bytes = line.len() as u64;
            let Ok(value) = serde_json::from_slice::<Value>(&line) else {
                // No record: it is evidence, and `verify` tells of it.
                self.offset += bytes;
                continue;
            };
            let seq = value.get("seq").and_then(Value::as_u64).unwrap_or_default();
            let prev = value.get("prev").and_then(Value::as_str).unwrap_or_default();
            let follows = seq > self.seq && (seq != self.seq + 1 || self.head.is_empty() || prev == self.head);
            if !follows && !self.head.is_empty() {
                // The writer took back what was read.
                self.go_back();
                reader.seek(SeekFrom::Start(0))?;
                continue;
            }
            self.offset += bytes;
            if !follows {
                // On the way back to where it was.
                continue;
            }
            missed += seq - self.seq - 1;
            (self.seq, self.head) = (seq, Digest::of(&line).to_string());
            left.records = left.records.saturating_sub(1);
            left.bytes = left.bytes.saturating_sub(line.len());
            line.pop();
            let line = String::from_utf8_lossy(&line).into_owned();
            into.push(RecordLine { line, value, chain: stem.to_owned() });
        }
        Ok(missed)
    }

    /// To the beginning of the file, to hand out again all that the writer may have taken back.
    fn go_back(&mut self) {
        tracing::warn!(seq = self.seq, "the record's writer took back what was read; some of it is read again");
        (self.offset, self.seq) = (0, self.seq.saturating_sub(GROUP));
        self.head.clear();
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::super::{Audit, AuditSettings, Sync, sample};
    use super::*;

    const ALL: Most = Most { records: 1000, bytes: 1 << 20 };

    fn seqs(batch: &Batch) -> Vec<u64> {
        batch.records.iter().filter_map(|record| record.value.get("seq")?.as_u64()).collect()
    }

    fn only_file(directory: &Path) -> PathBuf {
        let mut files = series::chains(directory).unwrap();
        files.pop().unwrap().files().next().unwrap().to_owned()
    }

    #[test]
    fn a_damaged_note_of_what_was_pruned_counts_as_a_loss_and_once() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("20260101T000000_0badc0de.pruned"), "no note").unwrap();
        let mut cursor = Cursor::default();
        for missed in [1, 0] {
            let batch = cursor.read(home.path(), ALL).unwrap();
            assert_eq!((batch.records.len(), batch.missed), (0, missed));
            cursor.pass(&batch);
        }
        assert_eq!(cursor.missed, 1);
    }

    #[test]
    fn each_record_is_handed_out_once_whatever_the_pieces() {
        let home = tempfile::tempdir().unwrap();
        let mut settings = AuditSettings::new(home.path().to_owned(), Sync::None);
        settings.rotate_size = 2_000;
        let audit = Audit::open(&settings, sample::start()).unwrap();
        let mut cursor = Cursor::default();
        let (mut got, mut written) = (Vec::new(), 0);
        for round in 0..6 {
            for _ in 0..round * 2 {
                written = audit.append_blocking(sample::decided(audit.request(), "make")).unwrap().seq;
            }
            for records in [1, 2, 1000] {
                let batch = cursor.read(home.path(), Most { records, bytes: 1 << 20 }).unwrap();
                assert_eq!(batch.missed, 0);
                got.extend(seqs(&batch));
                cursor.pass(&batch);
                // As it comes back from a disk.
                cursor = serde_json::from_str(&serde_json::to_string(&cursor).unwrap()).unwrap();
            }
        }
        assert!(series::chains(home.path()).unwrap().first().unwrap().files().count() > 3);
        assert_eq!(got, (1..=written).collect::<Vec<_>>());
        assert!(cursor.read(home.path(), ALL).unwrap().is_empty());
    }

    #[test]
    fn what_a_writer_takes_back_is_read_again() {
        let home = tempfile::tempdir().unwrap();
        let audit = Audit::open(&AuditSettings::new(home.path().to_owned(), Sync::None), sample::start()).unwrap();
        audit.append_blocking(sample::decided(audit.request(), "make one")).unwrap();
        let file = only_file(home.path());
        let before = fs::read(&file).unwrap();
        audit.append_blocking(sample::decided(audit.request(), "make two")).unwrap();
        audit.append_blocking(sample::decided(audit.request(), "make three")).unwrap();
        let mut cursor = Cursor::default();
        let batch = cursor.read(home.path(), ALL).unwrap();
        cursor.pass(&batch);
        assert_eq!(seqs(&batch), [1, 2, 3, 4]);
        // Shorter than what was read, and then as long again with something else in it.
        fs::write(&file, &before).unwrap();
        let batch = cursor.read(home.path(), ALL).unwrap();
        assert_eq!(seqs(&batch), [1, 2]);
        cursor.pass(&batch);
        let other = String::from_utf8(before.clone()).unwrap().replace("make one", "make other");
        fs::write(&file, [&before[..], other.as_bytes()].concat()).unwrap();
        assert!(!cursor.read(home.path(), ALL).unwrap().is_empty());
    }

    #[test]
    fn what_is_gone_before_it_is_read_is_counted() {
        let home = tempfile::tempdir().unwrap();
        let mut settings = AuditSettings::new(home.path().to_owned(), Sync::None);
        settings.rotate_size = 2_000;
        let audit = Audit::open(&settings, sample::start()).unwrap();
        for _ in 0..12 {
            audit.append_blocking(sample::decided(audit.request(), "make")).unwrap();
        }
        let mut cursor = Cursor::default();
        let batch = cursor.read(home.path(), Most { records: 2, bytes: 1 << 20 }).unwrap();
        cursor.pass(&batch);
        fs::remove_file(only_file(home.path())).unwrap();
        let batch = cursor.read(home.path(), ALL).unwrap();
        let first = *seqs(&batch).first().unwrap();
        assert!(first > 3 && batch.missed == first - 3, "{first}: {}", batch.missed);
        cursor.pass(&batch);
        assert_eq!(cursor.missed, first - 3);
    }

    #[test]
    fn a_line_that_is_not_whole_waits() {
        let home = tempfile::tempdir().unwrap();
        let audit = Audit::open(&AuditSettings::new(home.path().to_owned(), Sync::None), sample::start()).unwrap();
        audit.append_blocking(sample::stopped()).unwrap();
        let file = only_file(home.path());
        let whole = fs::read(&file).unwrap();
        fs::write(home.path().join("other.jsonl"), whole.get(..whole.len() - 5).unwrap()).unwrap();
        fs::write(home.path().join("other.open"), "").unwrap();
        let mut cursor = Cursor::default();
        let batch = cursor.read(home.path(), ALL).unwrap();
        assert_eq!(seqs(&batch), [1, 2, 1]);
        cursor.pass(&batch);
        fs::write(home.path().join("other.jsonl"), &whole).unwrap();
        assert_eq!(seqs(&cursor.read(home.path(), ALL).unwrap()), [2]);
        // One that is read to its end is forgotten, and not read again for it.
        cursor.tidy(Timestamp::now() + SignedDuration::from_hours(48));
        assert!(cursor.read(home.path(), ALL).unwrap().records.iter().all(|record| record.chain == "other"));
    }
}
