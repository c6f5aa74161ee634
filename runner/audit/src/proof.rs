//! One record shown to be on record, without the others: the record, its way up the tree, and a signed head above it.
//!
//! Whoever has the public key needs nothing else: not the file, not the machine, not Palisade's word.

use std::io::BufRead;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::series::Fault;
use super::tree::{self, Leaves};
use super::verify::{ChainWalk, read_signed};
use super::{Broken, BrokenKind, ChainId, Digest, Expected, FORMAT, PublicKey};

/// A record and what shows that it is one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    /// The version of the record format.
    v: u64,
    /// The record's line as it stands in the file, newline included.
    record: String,
    /// The hashes beside its way to the root, from the bottom up, in hex.
    path: Vec<String>,
    /// The line of a signed record behind it, newline included, or the same line again if it is signed itself.
    head: String,
}

/// What a [`Proof`] shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Proven {
    /// The chain that the record is in.
    pub chain: ChainId,
    /// Its number there.
    pub seq: u64,
    /// When it says that it was written.
    #[serde(serialize_with = "super::chain::rfc3339")]
    pub at: Timestamp,
    /// Who signed for it.
    pub key: PublicKey,
}

/// Finds a record of a chain and what shows that it is one. All of the chain up to the signed head is verified.
///
/// # Errors
/// If the chain does not hold up to there, has no such record, or nothing behind the record is signed.
pub fn prove(reader: impl BufRead, seq: u64) -> Result<Proof, ProveError> {
    let expected = Expected::default();
    let mut walk = ChainWalk::new(&expected);
    let mut gathered = Gathered::new(seq);
    let walked = walk.through(reader, |walk, line| gathered.see(walk, line));
    gathered.proved(&walk, walked.map_err(ProveError::from))
}

/// What a proof is made of, as far as the walk has come.
pub(super) struct Gathered {
    seq: u64,
    leaves: Option<Leaves>,
    record: Option<String>,
    head: Option<(u64, String)>,
}

impl Gathered {
    pub(super) fn new(seq: u64) -> Self {
        Self { seq, leaves: None, record: None, head: None }
    }

    pub(super) fn see(&mut self, walk: &ChainWalk<'_>, line: &[u8]) {
        if self.head.is_some() {
            return;
        }
        let at = walk.head().seq;
        let text = || String::from_utf8_lossy(line).into_owned();
        if at == self.seq {
            self.record = Some(text());
        }
        if at >= self.seq && walk.signed() == at {
            self.head = Some((at - 1, text()));
        }
        let leaves = self.leaves.get_or_insert_with(|| Leaves::after(walk.before().clone()));
        leaves.push(tree::leaf(line));
    }

    /// The proof, or why there is none at the end of a walk.
    pub(super) fn proved(&self, walk: &ChainWalk<'_>, walked: Result<(), ProveError>) -> Result<Proof, ProveError> {
        match (self.proof(), walked) {
            // What is behind the head does not matter.
            (Some(proof), _) => Ok(proof),
            (None, Err(error)) => Err(error),
            (None, Ok(())) if self.record.is_some() => Err(ProveError::Unsigned { seq: self.seq }),
            (None, Ok(())) => Err(ProveError::NoRecord { seq: self.seq, last: walk.head().seq }),
        }
    }

    fn proof(&self) -> Option<Proof> {
        let (record, (size, head)) = (self.record.clone()?, self.head.clone()?);
        let path =
            if record == head { Vec::new() } else { self.leaves.as_ref()?.path(self.seq.checked_sub(1)?, size)? };
        let path = path.iter().map(Digest::to_string).collect();
        Some(Proof { v: u64::from(FORMAT), record, path, head })
    }
}

/// Why a record cannot be shown to be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProveError {
    /// The chain does not hold.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// One of the chain's files does not hold.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// There is no such record.
    #[error("there is no record {seq}, the last one is {last}")]
    NoRecord {
        /// The record that was asked for.
        seq: u64,
        /// The last one.
        last: u64,
    },
    /// Nothing behind it is signed.
    #[error("nothing from record {seq} on is signed yet")]
    Unsigned {
        /// The record.
        seq: u64,
    },
}

impl Proof {
    /// Whether it shows what it says, and was signed with one of these keys.
    ///
    /// # Errors
    /// The first part that does not fit to the others.
    pub fn check(&self, keys: &[PublicKey]) -> Result<Proven, Disproof> {
        if self.v != u64::from(FORMAT) {
            return Err(Disproof::Version { found: self.v });
        }
        let head = read_signed(self.head.as_bytes()).map_err(Disproof::Head)?;
        if !keys.contains(&head.key) {
            return Err(Disproof::ForeignKey { key: head.key });
        }
        let (seq, at) = super::verify::place(self.record.as_bytes()).ok_or(Disproof::Record)?;
        let proven = Proven { chain: head.chain, seq, at, key: head.key };
        if self.record == self.head {
            return if self.path.is_empty() { Ok(proven) } else { Err(Disproof::Path) };
        }
        let path: Result<Vec<Digest>, _> = self.path.iter().map(|text| text.parse()).collect();
        let path = path.map_err(|_| Disproof::Path)?;
        let index = seq.checked_sub(1).ok_or(Disproof::Record)?;
        let root = tree::root_by(tree::leaf(self.record.as_bytes()), index, head.size, &path);
        if root == Some(head.root) { Ok(proven) } else { Err(Disproof::Path) }
    }
}

/// Why a proof shows nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Disproof {
    /// It has another format.
    #[error("the proof has format version {found}, this Palisade reads version {FORMAT}")]
    Version {
        /// The version it gives.
        found: u64,
    },
    /// The head is no signed record.
    #[error("the head of the proof does not hold: {0}")]
    Head(BrokenKind),
    /// The head was signed with another key.
    #[error("the head of the proof is signed with {key}, which is not a key that was given")]
    ForeignKey {
        /// The key.
        key: PublicKey,
    },
    /// What is to be shown is no record.
    #[error("what the proof is of is not a record")]
    Record,
    /// The record, its number or the path were changed.
    #[error("the record does not lead to the signed root: the record, its number, or the path was changed")]
    Path,
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::string_slice, reason = "tests")]
mod tests {
    use super::super::verify::tests::{chain_with_heads, text};
    use super::super::{FORMAT, sample};
    use super::*;

    #[test]
    fn every_record_before_a_head_is_proved() {
        let lines = chain_with_heads(20, 7);
        let keys = [sample::key().public()];
        let whole = lines.concat();
        for seq in 1..=lines.len() as u64 {
            let proof = prove(whole.as_slice(), seq).unwrap();
            let proven = proof.check(&keys).unwrap();
            assert_eq!((proven.seq, proven.key), (seq, keys[0]));
            let exported = serde_json::to_string(&proof).unwrap();
            assert_eq!(serde_json::from_str::<Proof>(&exported).unwrap(), proof);
        }
        let last = lines.len() as u64;
        assert_eq!(prove(whole.as_slice(), last + 1), Err(ProveError::NoRecord { seq: last + 1, last }));
        assert_eq!(prove(whole.as_slice(), 0), Err(ProveError::NoRecord { seq: 0, last }));
        let unsigned = lines[..6].concat();
        assert_eq!(prove(unsigned.as_slice(), 5), Err(ProveError::Unsigned { seq: 5 }));
    }

    #[test]
    fn a_record_behind_a_broken_one_is_not_proved() {
        let mut lines = chain_with_heads(20, 7);
        lines[3] = text(&lines[3]).replace("make", "mkae").into_bytes();
        assert!(matches!(prove(lines.concat().as_slice(), 3), Err(ProveError::Broken(_))));
        // The head of the first record is the first record.
        assert!(prove(lines.concat().as_slice(), 1).is_ok());
    }

    #[test]
    fn no_part_of_a_proof_can_be_changed() {
        let lines = chain_with_heads(20, 7);
        let keys = [sample::key().public()];
        let proof = prove(lines.concat().as_slice(), 11).unwrap();
        let refused = |change: &dyn Fn(&mut Proof)| {
            let mut changed = proof.clone();
            change(&mut changed);
            changed.check(&keys).unwrap_err()
        };
        for (at, _) in proof.record.char_indices() {
            refused(&|proof| {
                proof.record.replace_range(at..=at, if proof.record[at..].starts_with('1') { "2" } else { "1" })
            });
        }
        for (at, _) in proof.head.char_indices() {
            refused(&|proof| {
                proof.head.replace_range(at..=at, if proof.head[at..].starts_with('1') { "2" } else { "1" })
            });
        }
        assert!(!proof.path.is_empty());
        for place in 0..proof.path.len() {
            for at in 0..64 {
                let other = |text: &str| if text[at..].starts_with('1') { "2" } else { "1" };
                let change = |proof: &mut Proof| {
                    let with = other(&proof.path[place]);
                    proof.path[place].replace_range(at..=at, with);
                };
                assert_eq!(refused(&change), Disproof::Path);
            }
            assert_eq!(refused(&|proof| drop(proof.path.remove(place))), Disproof::Path);
            assert_eq!(refused(&|proof| proof.path.insert(place, proof.path[place].clone())), Disproof::Path);
        }
        assert_eq!(refused(&|proof| proof.v = 2), Disproof::Version { found: 2 });
        assert_eq!(refused(&|proof| proof.record.clone_from(&proof.head)), Disproof::Path);
        assert_eq!(
            refused(&|proof| proof.head.clone_from(&proof.record)),
            Disproof::Head(BrokenKind::MissingSignature)
        );
        // The head of another place, which says nothing of this record or shows it by another path.
        for seq in [1, 20] {
            let other = prove(lines.concat().as_slice(), seq).unwrap();
            assert_eq!(refused(&|proof| proof.head.clone_from(&other.head)), Disproof::Path);
            assert_eq!(refused(&|proof| proof.record.clone_from(&other.record)), Disproof::Path);
        }
        let foreign = super::super::key::RecordKey::of(&[8; 32]).public();
        assert_eq!(proof.check(&[foreign]), Err(Disproof::ForeignKey { key: keys[0] }));
        assert_eq!(proof.check(&[]), Err(Disproof::ForeignKey { key: keys[0] }));
        assert_eq!(u64::from(FORMAT), proof.v);
    }
}
