//! Lists of paths on record: as many entries as it takes.

use crate::checkpoint::tree::Name;

/// Paths in one entry of the record; more make another entry.
const RECORDED: usize = 5_000;

/// The same in bytes: a line of the record has a limit, and a byte may take six there.
const RECORDED_BYTES: usize = 256 << 10;

/// Paths, and whether they are written or deleted, in the parts in which they go on record. There is always one.
pub(super) fn in_parts<'a>(all: impl Iterator<Item = (&'a Name, bool)>) -> Vec<Vec<(&'a Name, bool)>> {
    let (mut parts, mut bytes) = (vec![Vec::new()], 0);
    for (name, write) in all {
        if let Some(part) = parts.last()
            && (part.len() == RECORDED || bytes + name.len() > RECORDED_BYTES)
        {
            parts.push(Vec::new());
            bytes = 0;
        }
        bytes += name.len();
        if let Some(part) = parts.last_mut() {
            part.push((name, write));
        }
    }
    parts
}
