//! Whether a file of lines is an unbroken chain, and if not, where it first does not hold.
//!
//! What no later line vouches for is the end: a file that was cut short, or rewritten from some record on, is as good a
//! chain as the original. An [`Anchor`] kept where the writer's account cannot reach tells them apart, and so does the
//! public half of the key that heads are signed with, for all that the last of them covers.
//!
//! Nothing here opens a file or reads a clock.

use std::io::{BufRead, Read as _};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::chain::{SIGNATURE, rfc3339};
use super::key::Signature;
use super::tree::{self, Tree};
use super::{Anchor, ChainId, Digest, FORMAT, MAX_LINE, PublicKey};

/// The number below which a file may begin: no chain gets there, and no count overflows behind it.
pub(super) const MAX_SEQ: u64 = 1 << 60;

/// What is known of a chain from elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// Records that it held.
    pub anchors: Vec<Anchor>,
    /// Keys of which one has signed it. None: whichever has.
    pub keys: Vec<PublicKey>,
}

impl From<Option<Anchor>> for Expected {
    fn from(anchor: Option<Anchor>) -> Self {
        Self { anchors: anchor.into_iter().collect(), keys: Vec::new() }
    }
}

/// Walks one chain from its `start` to its end, holding one line at a time.
///
/// This shows that no record was changed, taken out, put in or moved; with an anchor also that nothing up to it was cut
/// off or written anew, and with a key that up to the last signed record ([`Report::signed`]) its holder wrote it.
///
/// # Errors
/// The first place that does not hold. Everything before it does.
pub fn verify(reader: impl BufRead, expected: impl Into<Expected>) -> Result<Report, Broken> {
    let expected = expected.into();
    let mut walk = ChainWalk::new(&expected);
    walk.through(reader, |_, _| ())?;
    walk.finish()
}

/// What [`verify`] found in an unbroken chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// How many records there are.
    pub records: u64,
    /// The number of the first: 1, unless what was looked at begins within a chain.
    #[serde(skip_serializing_if = "is_one")]
    pub begins: u64,
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
    /// Its id; none where the record is too old to say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chain: Option<ChainId>,
    /// Who signed it; none where the record is too old to be signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PublicKey>,
    /// The last record that is signed: all before it hold as its signer wrote them. 0: none is.
    pub signed: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_one(number: &u64) -> bool {
    *number == 1
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
    /// A key was given, and the chain is not signed.
    #[error("the chain is not signed: it is older than signatures, or was written by somebody without the key")]
    Unsigned,
    /// A record that is signed where a chain is has no signature.
    #[error("the record is not signed, and the chain is: it was put in or changed")]
    MissingSignature,
    /// The signature is of something else, or by somebody else.
    #[error("the signature does not fit: the record was changed, or written by somebody without the key")]
    Signature,
    /// The chain is signed with a key that is none of those that were given.
    #[error("the chain is signed with {key}, which is not a key that was given")]
    ForeignKey {
        /// The key.
        key: PublicKey,
    },
    /// The record speaks of another chain, or has another key, than the chain's first.
    #[error("the record was signed for another chain, or with another key than this chain's first: it was put in")]
    OtherChain,
    /// What is signed is not what stands before.
    #[error("the records before this one are not those that were signed here")]
    Tree,
    /// A file of a chain is not there.
    #[error("file {number} of the chain is missing before this one, and no signed note says that it was pruned")]
    FileMissing {
        /// Which file.
        number: u32,
    },
    /// A file has another one's name.
    #[error("the file is number {found} of its chain and has the name of number {expected}: files were swapped")]
    FileSwapped {
        /// The number that its name gives it.
        expected: u32,
        /// The number that it gives itself.
        found: u32,
    },
    /// A file does not go on where the one before ends.
    #[error("the file does not follow the one before as that one stands: either was changed, cut off or swapped")]
    FileLink,
    /// A chain that another one names is not there.
    #[error("names the chain `{chain}`, of which there is neither a file nor a signed note that it was pruned")]
    ChainMissing {
        /// What its files' names begin with.
        chain: String,
    },
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
    #[serde(borrow)]
    signed: Option<SignedFields<'a>>,
    prev: &'a str,
    sig: Option<&'a str>,
}

/// What a line says of the tree over the lines before it.
#[derive(Deserialize)]
struct SignedFields<'a> {
    chain: &'a str,
    size: u64,
    root: &'a str,
    #[serde(default)]
    file: u32,
    #[serde(default)]
    peaks: Vec<&'a str>,
    key: &'a str,
}

/// The state of a verification between two lines.
pub(super) struct ChainWalk<'a> {
    expected: &'a Expected,
    head: Anchor,
    times: Option<(Timestamp, Timestamp)>,
    stopped: bool,
    offset: u64,
    previous_offset: u64,
    /// Which file of its chain is walked over, where that is known.
    file: Option<u32>,
    /// The next line is the first of its file.
    fresh: bool,
    /// The first record that was walked over.
    begins: u64,
    signer: Option<Signer>,
    signed: u64,
    /// Kept for a chain that is signed.
    tree: Tree,
    /// What of it came before the first record.
    before: Tree,
}

/// Whose chain it is, as its first record says.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Signer {
    chain: ChainId,
    key: PublicKey,
}

impl<'a> ChainWalk<'a> {
    pub(super) fn new(expected: &'a Expected) -> Self {
        Self {
            expected,
            head: Anchor { seq: 0, head: Digest::ZERO },
            times: None,
            stopped: false,
            offset: 0,
            previous_offset: 0,
            file: None,
            fresh: true,
            begins: 1,
            signer: None,
            signed: 0,
            tree: Tree::default(),
            before: Tree::default(),
        }
    }

    /// What comes is another file, of this number where its name tells one.
    pub(super) fn next_file(&mut self, number: Option<u32>) {
        (self.file, self.fresh, self.offset) = (number, true, 0);
    }

    /// Nothing is there up to this record, and what comes has to follow it.
    pub(super) fn continues(&mut self, head: Anchor) {
        (self.head, self.begins) = (head, head.seq.saturating_add(1));
    }

    /// The tree before the first record.
    pub(super) fn before(&self) -> &Tree {
        &self.before
    }

    /// When the last record was written.
    pub(super) fn last(&self) -> Option<Timestamp> {
        self.times.map(|(_, last)| last)
    }

    /// The last record that was walked over.
    pub(super) fn head(&self) -> Anchor {
        self.head
    }

    /// The last record that is signed.
    pub(super) fn signed(&self) -> u64 {
        self.signed
    }

    /// All lines of a reader. Each that holds is shown to `see`.
    pub(super) fn through(
        &mut self,
        mut reader: impl BufRead,
        mut see: impl FnMut(&Self, &[u8]),
    ) -> Result<(), Broken> {
        let mut line = Vec::new();
        loop {
            line.clear();
            match reader.by_ref().take(MAX_LINE as u64 + 1).read_until(b'\n', &mut line) {
                Ok(0) => return Ok(()),
                Ok(_) if line.len() > MAX_LINE => return Err(self.broken_here(None, BrokenKind::TooLong)),
                Ok(_) if !line.ends_with(b"\n") => return Err(self.unfinished(line.len())),
                Ok(_) => self.step(&line)?,
                Err(error) => return Err(self.broken_here(None, BrokenKind::Unreadable { cause: error.kind() })),
            }
            see(self, &line);
        }
    }

    fn step(&mut self, line: &[u8]) -> Result<(), Broken> {
        let header: Header<'_> =
            serde_json::from_slice(line).map_err(|_| self.broken_here(None, BrokenKind::NotRecord))?;
        let (at, prev) = self.check(&header)?;
        if !self.begins_within(&header) && prev != self.head.head {
            return Err(self.broken_link(header.seq));
        }
        let head = Anchor { seq: header.seq, head: Digest::of(line) };
        if self.expected.anchors.iter().any(|anchor| anchor.seq == head.seq && *anchor != head) {
            return Err(self.broken_here(Some(header.seq), BrokenKind::AnchorMismatch));
        }
        self.check_signature(&header, line).map_err(|what| self.broken_here(Some(header.seq), what))?;
        if self.signer.is_some() {
            self.tree.add(tree::leaf(line));
        }
        if self.times.is_none() {
            self.begins = head.seq;
        }
        self.fresh = false;
        self.head = head;
        self.times = Some((self.times.map_or(at, |(first, _)| first), at));
        self.stopped = header.kind == "stop";
        self.previous_offset = self.offset;
        self.offset += line.len() as u64;
        Ok(())
    }

    /// Everything about a line that does not need its hash.
    fn check(&self, header: &Header<'_>) -> Result<(Timestamp, Digest), Broken> {
        let expected = if self.begins_within(header) { header.seq } else { self.head.seq.saturating_add(1) };
        let is_start = header.kind == "start";
        let what = if header.v != u64::from(FORMAT) {
            BrokenKind::Version { found: header.v }
        } else if let Err(swapped) = self.check_file(header) {
            swapped
        } else if header.seq != expected && self.fresh && self.head.seq > 0 {
            BrokenKind::FileLink
        } else if header.seq != expected {
            BrokenKind::Sequence { expected, found: header.seq }
        } else if self.stopped || (expected > 1 && is_start) || (header.kind == "rotate" && !self.fresh) {
            BrokenKind::OutOfPlace
        } else if self.fresh && !is_start && header.kind != "rotate" {
            BrokenKind::MissingStart
        } else {
            match (header.ts.parse(), header.prev.parse()) {
                (Ok(at), Ok(prev)) => return Ok((at, prev)),
                _ => BrokenKind::NotRecord,
            }
        };
        Err(self.broken_here(Some(header.seq), what))
    }

    /// The first line that is looked at, of a file that goes on with a chain of which no more is known.
    fn begins_within(&self, header: &Header<'_>) -> bool {
        let within = (2..MAX_SEQ).contains(&header.seq) && self.file != Some(1);
        within && self.fresh && self.head.seq == 0 && header.kind == "rotate"
    }

    /// Whether a file begins as one of its number does.
    fn check_file(&self, header: &Header<'_>) -> Result<(), BrokenKind> {
        if !self.fresh {
            return Ok(());
        }
        let found = match header.kind {
            "start" => 1,
            "rotate" => header.signed.as_ref().map_or(0, |signed| signed.file),
            // Whatever the line is, its number and place tell what is wrong with it.
            _ => return Ok(()),
        };
        match self.file {
            Some(expected) if expected != found => Err(BrokenKind::FileSwapped { expected, found }),
            _ => Ok(()),
        }
    }

    /// Whether a line is signed that has to be, by whom its chain is, over what stands before it.
    fn check_signature(&mut self, header: &Header<'_>, line: &[u8]) -> Result<(), BrokenKind> {
        let first = self.times.is_none();
        let (Some(signed), Some(signature)) = (&header.signed, header.sig) else {
            let has_part = header.signed.is_some() || header.sig.is_some();
            return match (self.signer, header.kind) {
                _ if has_part => Err(BrokenKind::MissingSignature),
                (Some(_), "head" | "stop" | "rotate") | (None, "head" | "rotate") => Err(BrokenKind::MissingSignature),
                _ if first && !self.expected.keys.is_empty() => Err(BrokenKind::Unsigned),
                _ => Ok(()),
            };
        };
        let signed = signed.read().ok_or(BrokenKind::NotRecord)?;
        let signer = Signer { chain: signed.chain, key: signed.key };
        if first && !self.expected.keys.is_empty() && !self.expected.keys.contains(&signer.key) {
            return Err(BrokenKind::ForeignKey { key: signer.key });
        }
        if !first && self.signer != Some(signer) {
            return Err(BrokenKind::OtherChain);
        }
        let tree = if first { signed.tree().ok_or(BrokenKind::Tree)? } else { self.tree.clone() };
        if (signed.size, signed.root) != (tree.size(), tree.root()) || signed.size.checked_add(1) != Some(header.seq) {
            return Err(BrokenKind::Tree);
        }
        if !signed.fits(line, signature) {
            return Err(BrokenKind::Signature);
        }
        if first {
            self.before.clone_from(&tree);
            self.tree = tree;
        }
        self.signer = Some(signer);
        self.signed = header.seq;
        Ok(())
    }

    /// The record before is the first that nothing vouches for: either it was changed, or the link to it.
    fn broken_link(&self, next: u64) -> Broken {
        if self.fresh {
            let what = if next == 1 { BrokenKind::MissingStart } else { BrokenKind::FileLink };
            return self.broken_here(Some(next), what);
        }
        let seq = self.head.seq;
        Broken { record: seq, offset: self.previous_offset, seq: Some(seq), what: BrokenKind::Link { next } }
    }

    /// What was found, at the end of the last file.
    pub(super) fn finish(&self) -> Result<Report, Broken> {
        if let Some(cut) = self.cut_off() {
            return Err(cut);
        }
        match self.times {
            Some((first, last)) => Ok(Report {
                records: self.head.seq.saturating_add(1).saturating_sub(self.begins),
                begins: self.begins,
                first,
                last,
                head: self.head,
                complete: self.stopped,
                chain: self.signer.map(|signer| signer.chain),
                key: self.signer.map(|signer| signer.key),
                signed: self.signed,
            }),
            None => Err(self.broken_here(None, BrokenKind::Empty)),
        }
    }

    /// What was found where there is nothing behind what is gone.
    pub(super) fn only_continues(&self) -> Result<(), Broken> {
        if let Some(cut) = self.cut_off() {
            return Err(cut);
        }
        let other = self.expected.anchors.iter().any(|anchor| anchor.seq == self.head.seq && *anchor != self.head);
        if other { Err(self.broken_here(Some(self.head.seq), BrokenKind::AnchorMismatch)) } else { Ok(()) }
    }

    /// A last piece without a newline. Cutting a file in the middle of a line makes one too: the anchor goes first.
    fn unfinished(&self, bytes: usize) -> Broken {
        self.cut_off().unwrap_or_else(|| self.broken_here(None, BrokenKind::Torn { bytes: bytes as u64 }))
    }

    pub(super) fn cut_off(&self) -> Option<Broken> {
        let anchor = self.expected.anchors.iter().map(|anchor| anchor.seq).max()?;
        (self.head.seq < anchor).then(|| self.broken_here(None, BrokenKind::AnchorNotReached { anchor }))
    }

    /// At the line that comes after the last good one.
    pub(super) fn broken_here(&self, seq: Option<u64>, what: BrokenKind) -> Broken {
        Broken { record: self.head.seq.saturating_add(1), offset: self.offset, seq, what }
    }
}

impl SignedFields<'_> {
    fn read(&self) -> Option<Signed> {
        let (chain, root) = (self.chain.parse().ok()?, self.root.parse().ok()?);
        let peaks: Result<Vec<Digest>, _> = self.peaks.iter().map(|peak| peak.parse()).collect();
        Some(Signed { chain, size: self.size, root, peaks: peaks.ok()?, key: self.key.parse().ok()? })
    }
}

/// What a signature vouches for besides its own line.
pub(super) struct Signed {
    pub(super) chain: ChainId,
    /// How many lines stand before it.
    pub(super) size: u64,
    /// The root of the tree over them.
    pub(super) root: Digest,
    /// The complete nodes that the root is made of, in a record that begins a file.
    peaks: Vec<Digest>,
    pub(super) key: PublicKey,
}

impl Signed {
    /// The tree before a line that begins a file: all of it that is needed to go on.
    fn tree(&self) -> Option<Tree> {
        Tree::restored(self.size, self.peaks.clone())
    }

    fn fits(&self, line: &[u8], signature: &str) -> bool {
        let text = signed_text(line, signature);
        let signature = Signature::parse(signature);
        text.zip(signature).is_some_and(|(text, signature)| self.key.signed(&text, &signature))
    }
}

/// One signed line by itself, outside of its chain.
pub(super) fn read_signed(line: &[u8]) -> Result<Signed, BrokenKind> {
    let header: Header<'_> = serde_json::from_slice(line).map_err(|_| BrokenKind::NotRecord)?;
    if header.v != u64::from(FORMAT) {
        return Err(BrokenKind::Version { found: header.v });
    }
    let (Some(signed), Some(signature)) = (&header.signed, header.sig) else {
        return Err(BrokenKind::MissingSignature);
    };
    let signed = signed.read().ok_or(BrokenKind::NotRecord)?;
    if signed.size.checked_add(1) != Some(header.seq) {
        return Err(BrokenKind::Tree);
    }
    if signed.fits(line, signature) { Ok(signed) } else { Err(BrokenKind::Signature) }
}

/// The number and the time that one line gives itself; `None` if it is no record.
pub(super) fn place(line: &[u8]) -> Option<(u64, Timestamp)> {
    let header: Header<'_> = serde_json::from_slice(line).ok()?;
    (header.v == u64::from(FORMAT) && line.ends_with(b"\n")).then_some((header.seq, header.ts.parse().ok()?))
}

/// What `signature`, the last field of a line, is a signature of: the line without that field. `None` if it is not the last.
pub(super) fn signed_text(line: &[u8], signature: &str) -> Option<Vec<u8>> {
    let before = line.strip_suffix(b"\"}\n")?.strip_suffix(signature.as_bytes())?.strip_suffix(SIGNATURE.as_bytes())?;
    Some([before, b"}"].concat())
}

#[cfg(test)]
pub(super) mod tests;
