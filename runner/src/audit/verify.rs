//! Whether a file of lines is an unbroken chain, and if not, where it first does not hold.
//!
//! What no later line vouches for is the end: a file that was cut short, or rewritten from some record on, is as good a
//! chain as the original. An [`Anchor`] kept where the writer's account cannot reach tells them apart.
//!
//! Nothing here opens a file or reads a clock.

use std::io::{BufRead, Read as _};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::chain::{Chain, rfc3339};
use super::{Anchor, Digest, FORMAT, MAX_LINE};

/// Walks one chain from its `start` to its end, holding one line at a time.
///
/// Without an anchor this shows that no record was changed, taken out, put in or moved; with one, also that nothing up
/// to the anchor was cut off or written anew.
///
/// # Errors
/// The first place that does not hold. Everything before it does.
pub fn verify(mut reader: impl BufRead, anchor: Option<Anchor>) -> Result<Report, Broken> {
    let mut walk = Walk::new(anchor);
    let mut line = Vec::new();
    loop {
        line.clear();
        match reader.by_ref().take(MAX_LINE as u64 + 1).read_until(b'\n', &mut line) {
            Ok(0) => return walk.finish(),
            Ok(_) if line.len() > MAX_LINE => return Err(walk.broken_here(None, BrokenKind::TooLong)),
            Ok(_) if !line.ends_with(b"\n") => return Err(walk.unfinished(line.len())),
            Ok(_) => walk.step(&line)?,
            Err(error) => return Err(walk.broken_here(None, BrokenKind::Unreadable { cause: error.kind() })),
        }
    }
}

/// What [`verify`] found in an unbroken chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// How many records there are.
    pub records: u64,
    /// When the first was written.
    #[serde(serialize_with = "rfc3339")]
    pub first: Timestamp,
    /// When the last was written.
    #[serde(serialize_with = "rfc3339")]
    pub last: Timestamp,
    /// The last record: the anchor to keep.
    pub head: Anchor,
    /// The chain ends with `stop`. False: its process still runs, or ended without a word.
    pub complete: bool,
}

/// The first place where a chain does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("record {record} (at byte {offset}): {what}")]
pub struct Broken {
    /// The record, counted in lines from 1. All records before this one are as they were written.
    pub record: u64,
    /// Where its line begins, in bytes from the start of the file.
    pub offset: u64,
    /// The number it gives itself, where it can be read.
    pub seq: Option<u64>,
    /// What is wrong.
    pub what: BrokenKind,
}

/// What is wrong with a chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokenKind {
    /// The line is not a record.
    #[error("the line is not a record: it was changed or put in")]
    NotRecord,
    /// The line is longer than any that Palisade writes.
    #[error("the line is longer than {MAX_LINE} bytes, which no record is")]
    TooLong,
    /// A record of a format that this version does not know.
    #[error("the record has format version {found}, this Palisade reads version {FORMAT}")]
    Version {
        /// The version it gives.
        found: u64,
    },
    /// A number is missing, doubled or out of order.
    #[error("the record is number {found} where {expected} belongs: records were taken out, put in or moved")]
    Sequence {
        /// The number that belongs here.
        expected: u64,
        /// The number that stands here.
        found: u64,
    },
    /// There is no record at all.
    #[error("the file is empty: its writer died before the first record, or everything was cut off")]
    Empty,
    /// The first record does not begin a chain.
    #[error("the chain does not begin with `start`: its beginning is missing or was changed")]
    MissingStart,
    /// A second `start`, or a record after `stop`.
    #[error("no such record can stand here: it is a second `start` or follows `stop`, so it was put in")]
    OutOfPlace,
    /// The next record was chained to something else.
    #[error(
        "record {next} was not chained to this one as it stands: this record, or the `prev` of {next}, was changed"
    )]
    Link {
        /// The record whose `prev` says so.
        next: u64,
    },
    /// The file ends before the record that the anchor names.
    #[error("the file ends here, but the anchor is record {anchor}: the end was cut off")]
    AnchorNotReached {
        /// The record that the anchor names.
        anchor: u64,
    },
    /// The record that the anchor names is another one than it was.
    #[error(
        "the record is not the one that the anchor was taken from: the chain was written anew, from here or before"
    )]
    AnchorMismatch,
    /// The last line has no end: what a process leaves that dies while it writes.
    #[error("the last {bytes} bytes are an unfinished record: its writer died while it wrote, the records before hold")]
    Torn {
        /// How much of it there is.
        bytes: u64,
    },
    /// The file could not be read on.
    #[error("the file cannot be read from here on: {cause}")]
    Unreadable {
        /// What the system said.
        cause: std::io::ErrorKind,
    },
}

impl BrokenKind {
    /// An accident is enough to explain it: an unfinished last line, a read that failed. Everything else takes someone
    /// who changed the file.
    #[must_use]
    pub fn is_accidental(&self) -> bool {
        matches!(self, Self::Torn { .. } | Self::Unreadable { .. })
    }
}

/// The fields of a line that the chain hangs on; the others are covered by its hash.
#[derive(Deserialize)]
struct Header<'a> {
    v: u64,
    seq: u64,
    ts: &'a str,
    kind: &'a str,
    prev: &'a str,
}

/// The state of a verification between two lines.
struct Walk {
    anchor: Option<Anchor>,
    head: Anchor,
    times: Option<(Timestamp, Timestamp)>,
    stopped: bool,
    offset: u64,
    previous_offset: u64,
}

impl Walk {
    fn new(anchor: Option<Anchor>) -> Self {
        Self { anchor, head: Chain::new().head(), times: None, stopped: false, offset: 0, previous_offset: 0 }
    }

    fn step(&mut self, line: &[u8]) -> Result<(), Broken> {
        let header: Header<'_> =
            serde_json::from_slice(line).map_err(|_| self.broken_here(None, BrokenKind::NotRecord))?;
        let (at, prev) = self.check(&header)?;
        if prev != self.head.head {
            return Err(self.broken_link(header.seq));
        }
        let head = Anchor { seq: header.seq, head: Digest::of(line) };
        if self.anchor.is_some_and(|anchor| anchor.seq == head.seq && anchor != head) {
            return Err(self.broken_here(Some(header.seq), BrokenKind::AnchorMismatch));
        }
        self.head = head;
        self.times = Some((self.times.map_or(at, |(first, _)| first), at));
        self.stopped = header.kind == "stop";
        self.previous_offset = self.offset;
        self.offset += line.len() as u64;
        Ok(())
    }

    /// Everything about a line that does not need its hash.
    fn check(&self, header: &Header<'_>) -> Result<(Timestamp, Digest), Broken> {
        let expected = self.head.seq + 1;
        let what = if header.v != u64::from(FORMAT) {
            BrokenKind::Version { found: header.v }
        } else if header.seq != expected {
            BrokenKind::Sequence { expected, found: header.seq }
        } else if self.stopped || (expected > 1 && header.kind == "start") {
            BrokenKind::OutOfPlace
        } else if expected == 1 && header.kind != "start" {
            BrokenKind::MissingStart
        } else {
            match (header.ts.parse(), header.prev.parse()) {
                (Ok(at), Ok(prev)) => return Ok((at, prev)),
                _ => BrokenKind::NotRecord,
            }
        };
        Err(self.broken_here(Some(header.seq), what))
    }

    /// The record before is the first that nothing vouches for: either it was changed, or the link to it.
    fn broken_link(&self, next: u64) -> Broken {
        if next == 1 {
            return self.broken_here(Some(next), BrokenKind::MissingStart);
        }
        let seq = self.head.seq;
        Broken { record: seq, offset: self.previous_offset, seq: Some(seq), what: BrokenKind::Link { next } }
    }

    fn finish(self) -> Result<Report, Broken> {
        if let Some(cut) = self.cut_off() {
            return Err(cut);
        }
        match self.times {
            Some((first, last)) => {
                Ok(Report { records: self.head.seq, first, last, head: self.head, complete: self.stopped })
            }
            None => Err(self.broken_here(None, BrokenKind::Empty)),
        }
    }

    /// A last piece without a newline. Cutting a file in the middle of a line makes one too: the anchor goes first.
    fn unfinished(&self, bytes: usize) -> Broken {
        self.cut_off().unwrap_or_else(|| self.broken_here(None, BrokenKind::Torn { bytes: bytes as u64 }))
    }

    fn cut_off(&self) -> Option<Broken> {
        let anchor = self.anchor?.seq;
        (self.head.seq < anchor).then(|| self.broken_here(None, BrokenKind::AnchorNotReached { anchor }))
    }

    /// At the line that comes after the last good one.
    fn broken_here(&self, seq: Option<u64>, what: BrokenKind) -> Broken {
        Broken { record: self.head.seq + 1, offset: self.offset, seq, what }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use std::io::BufReader;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::chain::{Origin, SealError, Stamp};
    use super::super::{Entry, Exit, Id, RequestId, Term, sample};
    use super::*;

    fn request() -> RequestId {
        "5f3a9c01-12".parse().unwrap()
    }

    fn decision(script: &str) -> Entry {
        sample::decided(request(), script).into()
    }

    /// `start` and so many decisions.
    fn entries(decisions: usize) -> Vec<Entry> {
        let decided = (0..decisions).map(|number| decision(&format!("make {number}")));
        std::iter::once(Entry::Start(sample::start())).chain(decided).collect()
    }

    fn seal(entries: &[Entry]) -> Vec<Vec<u8>> {
        let origin = Origin { boot: Id::new("boot").unwrap(), host: Id::new("host").unwrap() };
        let mut chain = Chain::new();
        let line = |(number, entry): (u64, &Entry)| {
            let at = Timestamp::from_second(1_800_000_000).unwrap() + Duration::from_millis(number);
            let stamp = Stamp { at, elapsed: Duration::from_millis(number), origin: &origin };
            chain.seal(entry, &stamp).unwrap()
        };
        (0..).zip(entries).map(line).collect()
    }

    fn anchor(lines: &[Vec<u8>], seq: u64) -> Anchor {
        Anchor { seq, head: Digest::of(&lines[usize::try_from(seq).unwrap() - 1]) }
    }

    fn check(lines: &[Vec<u8>], anchor: Option<Anchor>) -> Result<Report, (u64, BrokenKind)> {
        let whole = lines.concat();
        verify(whole.as_slice(), anchor).map_err(|broken| {
            let before: usize = lines.iter().take(usize::try_from(broken.record).unwrap() - 1).map(Vec::len).sum();
            assert_eq!(broken.offset, before as u64, "{broken}");
            (broken.record, broken.what)
        })
    }

    /// Puts `to` in the place of the first `from`.
    fn edit(line: &mut Vec<u8>, from: &str, to: &str) {
        let text = String::from_utf8(line.clone()).unwrap();
        assert!(text.contains(from), "{from} is not in {text}");
        *line = text.replacen(from, to, 1).into_bytes();
    }

    #[test]
    fn an_untouched_chain_verifies() {
        let lines = seal(&entries(9));
        let report = check(&lines, None).unwrap();
        assert_eq!((report.records, report.head, report.complete), (10, anchor(&lines, 10), false));
        assert_eq!(report.first.to_string(), "2027-01-15T08:00:00Z");
        assert_eq!(report.last.to_string(), "2027-01-15T08:00:00.009Z");
        for seq in 1..=10 {
            assert_eq!(check(&lines, Some(anchor(&lines, seq))).unwrap(), report);
        }
    }

    #[test]
    fn a_line_holds_its_place_its_time_and_the_hash_of_the_line_before() {
        let lines = seal(&entries(1));
        let text = str::from_utf8(&lines[1]).unwrap();
        let head = concat!(
            r#"{"v":1,"seq":2,"ts":"2027-01-15T08:00:00.001Z","mono_ns":1000000,"boot":"boot","host":"host","#,
            r#""kind":"decision","req":"5f3a9c01-12","#
        );
        assert!(text.starts_with(head), "{text}");
        assert!(text.ends_with(&format!(",\"prev\":\"{}\"}}\n", Digest::of(&lines[0]))), "{text}");
        assert!(str::from_utf8(&lines[0]).unwrap().ends_with(&format!(",\"prev\":\"{:064}\"}}\n", 0)));
    }

    /// What an attack comes to: `None` where nothing shows.
    type Found = Option<(u64, BrokenKind)>;
    type Attack = fn(&mut Vec<Vec<u8>>);

    /// Name, attack on a chain of ten, what shows without an anchor, what shows with the anchor of record 10.
    fn attacks() -> Vec<(&'static str, Attack, Found, Found)> {
        let cut = |record| Some((record, BrokenKind::AnchorNotReached { anchor: 10 }));
        let link = |record| Some((record, BrokenKind::Link { next: record + 1 }));
        let sequence = |expected, found| Some((expected, BrokenKind::Sequence { expected, found }));
        let at = |record, what| Some((record, what));
        let both = |name, attack: Attack, found: Found| (name, attack, found.clone(), found);
        vec![
            both("nothing", |_| (), None),
            both("a command changed", |l| edit(&mut l[4], "make 3", "make 4"), link(5)),
            both("a verdict changed", |l| edit(&mut l[4], "allow", "deny"), link(5)),
            both("a time changed", |l| edit(&mut l[4], "08:00:00", "08:00:01"), link(5)),
            both("a host changed", |l| edit(&mut l[0], "\"host\":\"host\"", "\"host\":\"hose\""), link(1)),
            both("a space put in", |l| edit(&mut l[4], ",", ", "), link(5)),
            both("a field doubled", |l| edit(&mut l[4], "{", "{\"seq\":5,"), at(5, BrokenKind::NotRecord)),
            both("a brace lost", |l| edit(&mut l[4], "{", ""), at(5, BrokenKind::NotRecord)),
            both("no time", |l| edit(&mut l[4], "2027-", "2o27-"), at(5, BrokenKind::NotRecord)),
            both("a number changed", |l| edit(&mut l[4], "\"seq\":5", "\"seq\":6"), sequence(5, 6)),
            both(
                "a version changed",
                |l| edit(&mut l[4], "\"v\":1", "\"v\":2"),
                at(5, BrokenKind::Version { found: 2 }),
            ),
            both("a link changed", |l| edit(&mut l[4], "\"prev\":\"", "\"prev\":\"sha256:"), link(5)),
            both("the first taken out", |l| drop(l.remove(0)), sequence(1, 2)),
            both("one taken out", |l| drop(l.remove(4)), sequence(5, 6)),
            both("two swapped", |l| l.swap(4, 5), sequence(5, 6)),
            both("one doubled", |l| l.insert(5, l[4].clone()), sequence(6, 5)),
            both("an empty line put in", |l| l.insert(5, b"\n".to_vec()), at(6, BrokenKind::NotRecord)),
            both("all of it gone", Vec::clear, at(1, BrokenKind::Empty)).with_anchor(cut(1)),
            both("the end cut off", |l| l.truncate(7), None).with_anchor(cut(8)),
            both(
                "the end cut in a line",
                |l| {
                    l.truncate(7);
                    l[6].pop();
                },
                at(7, BrokenKind::Torn { bytes: 0 }),
            )
            .with_anchor(cut(7)),
            both("the last changed", |l| edit(&mut l[9], "make 8", "make 9"), None)
                .with_anchor(at(10, BrokenKind::AnchorMismatch)),
            both("one changed, the rest written anew", |l| *l = forge(5), None)
                .with_anchor(at(10, BrokenKind::AnchorMismatch)),
        ]
    }

    trait WithAnchor {
        fn with_anchor(self, found: Found) -> Self;
    }

    impl WithAnchor for (&'static str, Attack, Found, Found) {
        fn with_anchor(mut self, found: Found) -> Self {
            self.3 = found;
            self
        }
    }

    /// The chain as someone writes it who can write everything: another record at `seq`, all others as they were.
    fn forge(seq: usize) -> Vec<Vec<u8>> {
        let mut forged = entries(9);
        forged[seq - 1] = decision("make up");
        seal(&forged)
    }

    #[test]
    fn attacks_show_where_they_happened() {
        for (name, attack, alone, anchored) in attacks() {
            let mut lines = seal(&entries(9));
            let last = anchor(&lines, 10);
            attack(&mut lines);
            let blunt = |(record, what): (u64, BrokenKind)| match what {
                // How much of a line is left is beside the point here.
                BrokenKind::Torn { .. } => (record, BrokenKind::Torn { bytes: 0 }),
                what => (record, what),
            };
            assert_eq!(check(&lines, None).err().map(blunt), alone, "{name}");
            assert_eq!(check(&lines, Some(last)).err().map(blunt), anchored, "{name}, with an anchor");
        }
    }

    #[test]
    fn an_anchor_within_the_chain_pins_what_is_before_it() {
        let lines = seal(&entries(9));
        let forged = forge(5);
        assert!(check(&forged, Some(anchor(&lines, 4))).is_ok());
        for seq in 5..=10 {
            let found = check(&forged, Some(anchor(&lines, seq))).unwrap_err();
            assert_eq!(found, (seq, BrokenKind::AnchorMismatch));
        }
    }

    #[test]
    fn an_unfinished_last_line_is_no_tampering() {
        let lines = seal(&entries(2));
        let last = lines[2].len();
        for kept in 1..last {
            let mut torn = lines.clone();
            torn[2].truncate(kept);
            let (record, what) = check(&torn, Some(anchor(&lines, 2))).unwrap_err();
            assert_eq!((record, &what), (3, &BrokenKind::Torn { bytes: kept as u64 }));
            assert!(what.is_accidental());
        }
    }

    #[test]
    fn a_chain_begins_with_start_and_ends_with_stop() {
        let mut whole = entries(2);
        whole.push(sample::stopped().into());
        let lines = seal(&whole);
        assert!(check(&lines, None).unwrap().complete);

        let after = |line: &str, lines: &[Vec<u8>]| {
            let prev = Digest::of(lines.last().unwrap_or(&Vec::new()));
            let line = line.replace("PREV", &prev.to_string()).replace("SEQ", &(lines.len() + 1).to_string());
            [lines, &[line.into_bytes()]].concat()
        };
        let record = |kind| {
            format!(r#"{{"v":1,"seq":SEQ,"ts":"2027-01-15T08:00:00.001Z","kind":"{kind}","prev":"PREV"}}"#) + "\n"
        };
        assert_eq!(check(&after(&record("close"), &lines), None), Err((5, BrokenKind::OutOfPlace)));
        assert_eq!(check(&after(&record("start"), &lines[..2]), None), Err((3, BrokenKind::OutOfPlace)));
        assert_eq!(check(&after(&record("decision"), &[]), None), Err((1, BrokenKind::MissingStart)));
        // A start that claims to follow something.
        assert_eq!(check(&after(&record("start"), &[]), None), Err((1, BrokenKind::MissingStart)));
        assert!(check(&after(&record("close"), &lines[..2]), None).is_ok());
    }

    #[test]
    fn a_line_beyond_the_limit_is_neither_written_nor_read_whole() {
        let mut chain = Chain::new();
        let origin = Origin { boot: Id::new("boot").unwrap(), host: Id::new("host").unwrap() };
        let stamp = Stamp { at: Timestamp::UNIX_EPOCH, elapsed: Duration::ZERO, origin: &origin };
        chain.seal(&Entry::Start(sample::start()), &stamp).unwrap();
        let long = decision(&"x".repeat(MAX_LINE));
        assert!(matches!(chain.seal(&long, &stamp), Err(SealError::TooLong { .. })));

        let mut lines = seal(&entries(0));
        lines.push(vec![b'x'; MAX_LINE + 1]);
        assert_eq!(check(&lines, None), Err((2, BrokenKind::TooLong)));
        let endless = BufReader::new(std::io::repeat(b'x'));
        assert_eq!(verify(endless, None).unwrap_err().what, BrokenKind::TooLong);
    }

    fn any_entry() -> impl Strategy<Value = Entry> {
        prop_oneof![
            any::<String>().prop_map(|script| decision(&script)),
            (any::<i32>(), any::<String>()).prop_map(|(code, output)| sample::finished(
                request(),
                Exit::Code(code),
                &output
            )
            .into()),
            any::<String>().prop_map(|cwd| {
                let mut opened = sample::opened();
                opened.cwd = sample::text(&cwd);
                opened.into()
            }),
            Just(sample::closed().into()),
            Just(sample::finished(request(), Exit::Reason(Term::new("cancelled")), "").into()),
        ]
    }

    fn any_chain() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let start = Just(vec![Entry::Start(sample::start())]);
        (start, prop::collection::vec(any_entry(), 0..8)).prop_map(|(start, rest)| seal(&[start, rest].concat()))
    }

    proptest! {
        #[test]
        fn whatever_is_sealed_verifies(lines in any_chain()) {
            let report = check(&lines, None).unwrap();
            prop_assert_eq!(report.records, lines.len() as u64);
            prop_assert_eq!(report.head, anchor(&lines, report.records));
        }

        #[test]
        fn any_byte_that_changes_is_found(
            lines in any_chain(), place in any::<prop::sample::Index>(), other in 1..=255_u8,
        ) {
            let last = anchor(&lines, lines.len() as u64);
            let mut whole = lines.concat();
            let place = place.index(whole.len());
            whole[place] ^= other;
            prop_assert!(verify(whole.as_slice(), Some(last)).is_err());
            // Without an anchor nothing vouches for the last record.
            let vouched = whole.len() - lines.last().unwrap().len();
            prop_assert!(place >= vouched || verify(whole.as_slice(), None).is_err());
        }
    }
}
