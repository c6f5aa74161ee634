//! The Merkle tree over the lines of a chain: its root, and the proof that one line is in it.
//!
//! It is the tree of RFC 6962 (and RFC 9162): a leaf is SHA-256 of a zero byte and the line, newline included; a node is
//! SHA-256 of a one byte and its two children, so that no leaf can pass for a node. The root of a signed size pins every
//! line below it, and one line is shown to be among them by some twenty hashes instead of all the others.
//!
//! Nothing here reads a file or checks a signature.

use sha2::{Digest as _, Sha256};

use super::Digest;

/// The hash of a line as a leaf.
pub(super) fn leaf(line: &[u8]) -> Digest {
    hash(&[&[0], line])
}

fn node(left: Digest, right: Digest) -> Digest {
    hash(&[&[1], left.as_bytes(), right.as_bytes()])
}

fn hash(parts: &[&[u8]]) -> Digest {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    Digest::from_bytes(hasher.finalize().into())
}

/// A tree that grows by leaves: of what is complete in it only the topmost nodes are kept, one for each bit of its size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tree {
    size: u64,
    /// From the largest, which is leftmost, to the smallest.
    peaks: Vec<Digest>,
}

impl Tree {
    /// A tree of which nothing but its size and its topmost complete nodes is known. `None` if they do not fit together.
    pub(super) fn restored(size: u64, peaks: Vec<Digest>) -> Option<Self> {
        (usize::try_from(size.count_ones()) == Ok(peaks.len())).then_some(Self { size, peaks })
    }

    /// How many leaves it has.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Its topmost complete nodes, the largest first.
    pub(super) fn peaks(&self) -> &[Digest] {
        &self.peaks
    }

    /// One leaf more.
    pub(super) fn add(&mut self, leaf: Digest) {
        let mut new = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                new = node(left, new);
            }
        }
        self.peaks.push(new);
        self.size += 1;
    }

    /// The root; that of an empty tree is the hash of nothing.
    pub(super) fn root(&self) -> Digest {
        let mut peaks = self.peaks.iter().rev().copied();
        let Some(smallest) = peaks.next() else { return hash(&[]) };
        peaks.fold(smallest, |right, left| node(left, right))
    }
}

/// The leaves of a tree from some size on, and what was complete before.
#[derive(Clone, Debug)]
pub(super) struct Leaves {
    before: Tree,
    leaves: Vec<Digest>,
}

impl Leaves {
    /// The leaves that come after those of `before`.
    pub(super) fn after(before: Tree) -> Self {
        Self { before, leaves: Vec::new() }
    }

    /// The next leaf.
    pub(super) fn push(&mut self, leaf: Digest) {
        self.leaves.push(leaf);
    }

    /// What shows that leaf `index` is in the tree of the first `size` leaves, from the bottom up. `None` if it is not, or
    /// is one of those before.
    pub(super) fn path(&self, index: u64, size: u64) -> Option<Vec<Digest>> {
        let mut path = Vec::new();
        if index < self.before.size || index >= size {
            return None;
        }
        let (mut low, mut high) = (0, size);
        while high - low > 1 {
            let middle = low + split(high - low);
            let beside = if index < middle { (middle, high) } else { (low, middle) };
            path.push(self.range(beside.0, beside.1)?);
            (low, high) = if index < middle { (low, middle) } else { (middle, high) };
        }
        path.reverse();
        Some(path)
    }

    /// The root of the leaves from `low` to `high`.
    fn range(&self, low: u64, high: u64) -> Option<Digest> {
        if let Some(peak) = self.peak(low, high) {
            return Some(peak);
        }
        if high - low == 1 {
            let place = usize::try_from(low.checked_sub(self.before.size)?).ok()?;
            return self.leaves.get(place).copied();
        }
        let middle = low + split(high - low);
        Some(node(self.range(low, middle)?, self.range(middle, high)?))
    }

    /// The complete node over exactly these leaves, if it is one of those that are kept of what came before.
    fn peak(&self, low: u64, high: u64) -> Option<Digest> {
        let mut start = 0;
        for (bit, peak) in bits(self.before.size).zip(&self.before.peaks) {
            if (start, start + bit) == (low, high) {
                return Some(*peak);
            }
            start += bit;
        }
        None
    }
}

/// The powers of two that a number is the sum of, the largest first.
fn bits(number: u64) -> impl Iterator<Item = u64> {
    (0..u64::BITS).rev().map(|bit| 1 << bit).filter(move |bit| number & bit != 0)
}

/// The largest power of two below `size`, which is 2 or more.
fn split(size: u64) -> u64 {
    1 << (u64::BITS - 1 - (size - 1).leading_zeros())
}

/// The root that a leaf and its path come to. `None` if there is no such path in a tree of that size.
pub(super) fn root_by(leaf: Digest, index: u64, size: u64, path: &[Digest]) -> Option<Digest> {
    if index >= size {
        return None;
    }
    let (mut place, mut last, mut root) = (index, size - 1, leaf);
    for beside in path {
        if last == 0 {
            return None;
        }
        if place & 1 == 1 || place == last {
            root = node(*beside, root);
            while place & 1 == 0 && place != 0 {
                place >>= 1;
                last >>= 1;
            }
        } else {
            root = node(root, *beside);
        }
        place >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(root)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    /// The tree as RFC 6962 section 2.1 defines it, without anything kept.
    fn defined(leaves: &[Digest]) -> Digest {
        match leaves {
            [] => Digest::of(b""),
            [leaf] => *leaf,
            _ => {
                let (left, right) = leaves.split_at(usize::try_from(split(leaves.len() as u64)).unwrap());
                node(defined(left), defined(right))
            }
        }
    }

    fn lines(count: u64) -> Vec<Digest> {
        (0..count).map(|number| leaf(format!("line {number}\n").as_bytes())).collect()
    }

    fn tree(leaves: &[Digest]) -> Tree {
        let mut tree = Tree::default();
        leaves.iter().for_each(|leaf| tree.add(*leaf));
        tree
    }

    #[test]
    fn roots_are_those_of_the_standards_own_vectors() {
        // The leaves and roots that certificate transparency logs are tested with.
        let leaves: [&[u8]; 8] = [
            b"",
            b"\x00",
            b"\x10",
            b"\x20\x21",
            b"\x30\x31",
            b"\x40\x41\x42\x43",
            b"\x50\x51\x52\x53\x54\x55\x56\x57",
            b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
        ];
        let leaves: Vec<_> = leaves.iter().map(|data| leaf(data)).collect();
        for (size, root) in [
            (0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            (1, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
            (2, "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"),
            (3, "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"),
            (8, "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"),
        ] {
            assert_eq!(tree(&leaves[..size]).root().to_string(), root, "{size}");
        }
    }

    #[test]
    fn every_leaf_of_every_small_tree_is_proved_and_no_other_passes() {
        for size in 0..=20 {
            let leaves = lines(size);
            let root = defined(&leaves);
            assert_eq!(tree(&leaves).root(), root);
            let mut whole = Leaves::after(Tree::default());
            leaves.iter().for_each(|leaf| whole.push(*leaf));
            assert_eq!(whole.path(size, size), None);
            for (index, proved) in (0..).zip(&leaves) {
                let path = whole.path(index, size).unwrap();
                assert_eq!(root_by(*proved, index, size, &path), Some(root));
                for other in 0..=size {
                    let found = root_by(*proved, other, size, &path);
                    assert!(other == index || found != Some(root), "leaf {index} passes for {other} of {size}");
                }
                assert_ne!(root_by(leaf(b"another\n"), index, size, &path), Some(root));
                for at in 0..path.len() {
                    let mut changed = path.clone();
                    changed[at] = leaf(b"another\n");
                    assert_ne!(root_by(*proved, index, size, &changed), Some(root));
                    changed.remove(at);
                    assert_ne!(root_by(*proved, index, size, &changed), Some(root));
                }
                let longer = [path, vec![leaf(b"another\n")]].concat();
                assert_eq!(root_by(*proved, index, size, &longer), None);
            }
        }
    }

    #[test]
    fn what_is_complete_stands_for_the_leaves_that_are_gone() {
        for gone in 0..=12_u64 {
            for size in gone + 1..=20 {
                let all = lines(size);
                let before = tree(&all[..usize::try_from(gone).unwrap()]);
                let restored = Tree::restored(before.size(), before.peaks().to_vec()).unwrap();
                let mut rest = Leaves::after(restored.clone());
                let mut grown = restored;
                for leaf in &all[usize::try_from(gone).unwrap()..] {
                    rest.push(*leaf);
                    grown.add(*leaf);
                }
                assert_eq!(grown, tree(&all));
                for index in 0..size {
                    let path = rest.path(index, size);
                    assert_eq!(path.is_some(), index >= gone);
                    let Some(path) = path else { continue };
                    let leaf = all[usize::try_from(index).unwrap()];
                    assert_eq!(root_by(leaf, index, size, &path), Some(defined(&all)));
                }
            }
        }
        assert_eq!(Tree::restored(3, lines(1)), None);
        assert_eq!(Tree::restored(0, lines(1)), None);
    }
}
