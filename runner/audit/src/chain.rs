//! What an unbroken record is made of: how an entry is sealed into a line of its chain.
//!
//! Every line carries the SHA-256 of the line before it, so a change anywhere shows at the next line. Whether a file of
//! lines holds together is decided in `verify`.
//!
//! Nothing here opens a file or reads a clock. A hash covers the line as written, its newline included, so
//! `sed -n 7p FILE | sha256sum` prints what record 8 has as `prev`, and nobody has to agree on a canonical JSON.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use super::key::{PublicKey, RecordKey};
use super::tree::{self, Tree};
use super::{Entry, Id, hex};

/// The version of the record format, `v` in every line.
pub const FORMAT: u32 = 1;

/// The longest line in bytes, newline included, that is written or accepted: what one step of [`verify`](super::verify()) may hold in
/// memory, some twenty times the longest command with everything around it.
pub const MAX_LINE: usize = 4 << 20;

/// A SHA-256; text form: 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// What the first line of a chain has as `prev`: there is nothing before it.
    pub const ZERO: Self = Self([0; 32]);

    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// A digest that was computed elsewhere.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub(super) const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&hex::encode(&self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for Digest {
    type Err = AnchorError;

    /// Reads 64 lower-case hex digits, with or without `sha256:` before them.
    fn from_str(text: &str) -> Result<Self, AnchorError> {
        hex::decode(text.strip_prefix("sha256:").unwrap_or(text)).map(Self).ok_or(AnchorError::Digest)
    }
}

/// Which chain: a random number that its file names and its decisions' ids hold. Text form: eight lower-case hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChainId(pub(super) u32);

impl fmt::Display for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl Serialize for ChainId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for ChainId {
    type Err = AnchorError;

    fn from_str(text: &str) -> Result<Self, AnchorError> {
        hex::decode(text).map(u32::from_be_bytes).map(Self).ok_or(AnchorError::Chain)
    }
}

/// One record pinned down: its number and its hash. Whoever holds it can tell that everything up to this record is
/// still what it was. Text form: `seq:hex`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Anchor {
    /// The record's number; the first one is 1.
    pub seq: u64,
    /// The SHA-256 of the record's line, newline included.
    pub head: Digest,
}

impl fmt::Display for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, self.head)
    }
}

impl FromStr for Anchor {
    type Err = AnchorError;

    fn from_str(text: &str) -> Result<Self, AnchorError> {
        let (seq, head) = text.split_once(':').ok_or(AnchorError::Form)?;
        let seq = seq.parse().ok().filter(|&seq| seq > 0).ok_or(AnchorError::Number)?;
        Ok(Self { seq, head: head.parse()? })
    }
}

/// Why a text is no [`Anchor`] or no [`Digest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnchorError {
    /// No colon in it.
    #[error("an anchor has the form `seq:hash`, as in `12:9f86d0…`")]
    Form,
    /// The part before the colon is no record number.
    #[error("an anchor begins with the number of a record, which is 1 or more")]
    Number,
    /// Not a SHA-256.
    #[error("a hash is 64 digits from `0` to `9` and `a` to `f`")]
    Digest,
    /// Not the id of a chain.
    #[error("a chain's id is eight digits from `0` to `9` and `a` to `f`")]
    Chain,
}

/// Where and when a line is written: what every line says besides its entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp<'a> {
    /// The wall clock.
    pub(crate) at: Timestamp,
    /// The steady clock: time since the chain was opened. It shows when the wall clock was set.
    pub(crate) elapsed: Duration,
    /// The machine.
    pub(crate) origin: &'a ChainOrigin,
}

/// The machine that a chain is written on.
#[derive(Clone, Debug)]
pub(crate) struct ChainOrigin {
    /// The kernel's id of this boot.
    pub(crate) boot: Id,
    /// The machine's name.
    pub(crate) host: Id,
}

/// The writing end of a chain: the last record, what may follow it, and the tree over all of them.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    id: ChainId,
    key: Arc<RecordKey>,
    head: Anchor,
    tree: Tree,
    stopped: bool,
}

impl Chain {
    /// A chain without a record; only `start` can be its first.
    pub(super) fn new(id: ChainId, key: Arc<RecordKey>) -> Self {
        Self { id, key, head: Anchor { seq: 0, head: Digest::ZERO }, tree: Tree::default(), stopped: false }
    }

    /// The last record.
    pub(crate) fn head(&self) -> Anchor {
        self.head
    }

    /// Nothing can follow.
    pub(super) fn stopped(&self) -> bool {
        self.stopped
    }

    /// The line for `entry`, newline included. The chain moves on by it, and stays as it was on an error.
    pub(crate) fn seal(&mut self, entry: &Entry, stamp: &Stamp<'_>) -> Result<Vec<u8>, SealError> {
        if self.stopped || matches!(entry, Entry::Start(_)) != (self.head.seq == 0) {
            return Err(SealError::OutOfPlace);
        }
        let seq = self.head.seq + 1;
        let signed = is_signed(entry).then(|| Signed {
            chain: self.id,
            size: self.tree.size(),
            root: self.tree.root(),
            file: if let Entry::Rotate(rotated) = entry { Some(rotated.number) } else { None },
            peaks: if matches!(entry, Entry::Rotate(_)) { self.tree.peaks().to_vec() } else { Vec::new() },
            key: self.key.public(),
        });
        let mut line = serde_json::to_vec(&ChainLine {
            v: FORMAT,
            seq,
            ts: stamp.at,
            mono_ns: u64::try_from(stamp.elapsed.as_nanos()).unwrap_or(u64::MAX),
            boot: &stamp.origin.boot,
            host: &stamp.origin.host,
            entry,
            signed: signed.as_ref(),
            prev: self.head.head,
        })
        .map_err(|_| SealError::Unwritable)?;
        if signed.is_some() {
            self.key.sign_line(&mut line);
        }
        line.push(b'\n');
        if line.len() > MAX_LINE {
            return Err(SealError::TooLong { bytes: line.len() });
        }
        self.head = Anchor { seq, head: Digest::of(&line) };
        self.tree.add(tree::leaf(&line));
        self.stopped = matches!(entry, Entry::Stop(_));
        Ok(line)
    }
}

/// What stands before the signature in a line that has one. What it is a signature of is the line without this field.
pub(super) const SIGNATURE: &str = ",\"sig\":\"";

/// Entries that say what the tree is, and are signed: where a chain begins and ends, and in between from time to time.
fn is_signed(entry: &Entry) -> bool {
    matches!(entry, Entry::Start(_) | Entry::Head | Entry::Rotate(_) | Entry::Stop(_))
}

/// Why an entry cannot be the next of its chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SealError {
    /// A `start` that is not first, another first record, or one after `stop`.
    OutOfPlace,
    /// Longer than [`MAX_LINE`].
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// It has no JSON form.
    Unwritable,
}

#[derive(Serialize)]
struct ChainLine<'a> {
    v: u32,
    seq: u64,
    #[serde(serialize_with = "rfc3339")]
    ts: Timestamp,
    mono_ns: u64,
    boot: &'a Id,
    host: &'a Id,
    #[serde(flatten)]
    entry: &'a Entry,
    #[serde(skip_serializing_if = "Option::is_none")]
    signed: Option<&'a Signed>,
    prev: Digest,
}

/// What a signature vouches for besides its own line: the tree over all lines before.
#[derive(Serialize)]
struct Signed {
    chain: ChainId,
    /// How many lines those are.
    size: u64,
    root: Digest,
    /// Which file of its chain it begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<u32>,
    /// The complete nodes that the root is made of: what whoever begins with this file needs of those before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    peaks: Vec<Digest>,
    key: PublicKey,
}

/// UTC with milliseconds, as in `2026-11-21T04:01:00.123Z`.
pub(crate) fn rfc3339<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{at:.3}"))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn an_entry_out_of_place_leaves_the_chain_as_it_was() {
        let origin = ChainOrigin { boot: Id::new("boot").unwrap(), host: Id::new("host").unwrap() };
        let stamp = Stamp { at: Timestamp::UNIX_EPOCH, elapsed: Duration::ZERO, origin: &origin };
        let mut chain = Chain::new(ChainId(7), sample::key());
        let refused = |chain: &mut Chain, entry: &Entry| {
            let before = chain.head();
            assert_eq!(chain.seal(entry, &stamp), Err(SealError::OutOfPlace));
            assert_eq!(chain.head(), before);
        };
        refused(&mut chain, &sample::decided("5f3a9c01-12".parse().unwrap(), "make").into());
        chain.seal(&Entry::Start(sample::start()), &stamp).unwrap();
        refused(&mut chain, &Entry::Start(sample::start()));
        chain.seal(&sample::stopped().into(), &stamp).unwrap();
        refused(&mut chain, &sample::decided("5f3a9c01-12".parse().unwrap(), "make").into());
    }

    #[test]
    fn anchors_and_digests_have_one_spelling() {
        let hex = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
        assert_eq!(Digest::of(b"test").to_string(), hex);
        assert_eq!(hex.parse(), Ok(Digest::of(b"test")));
        assert_eq!(format!("sha256:{hex}").parse(), Ok(Digest::of(b"test")));
        let anchor = Anchor { seq: 12, head: Digest::of(b"test") };
        assert_eq!(anchor.to_string(), format!("12:{hex}"));
        assert_eq!(anchor.to_string().parse(), Ok(anchor));
        for (text, error) in [
            (String::new(), AnchorError::Form),
            (hex.to_owned(), AnchorError::Form),
            (format!("0:{hex}"), AnchorError::Number),
            (format!("-1:{hex}"), AnchorError::Number),
            (format!(":{hex}"), AnchorError::Number),
            ("1:".to_owned(), AnchorError::Digest),
            (format!("1:{hex}0"), AnchorError::Digest),
            (format!("1:{}", hex.to_uppercase()), AnchorError::Digest),
            (format!("1:{}", hex.replace('9', "g")), AnchorError::Digest),
        ] {
            assert_eq!(text.parse::<Anchor>(), Err(error), "{text}");
        }
    }
}
