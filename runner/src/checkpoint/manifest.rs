//! A checkpoint's list of what it holds, as the bytes of one object: one record a path, each ended by a NUL, which no path has.
//!
//! `type mode user group modified`, then `size object` of a file, then the path, each after a space; of a link its target follows
//! behind another NUL.

use std::collections::BTreeMap;

use git2::Oid;

use super::tree::{Entry, Kind, Name};

/// As bytes.
pub(super) fn write(entries: &BTreeMap<Name, Entry>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, Entry { kind, mode, owner: (user, group), modified }) in entries {
        let letter = match kind {
            Kind::File(..) => 'f',
            Kind::Directory => 'd',
            Kind::Link(_) => 'l',
        };
        bytes.extend_from_slice(format!("{letter} {mode:o} {user} {group} {modified} ").as_bytes());
        if let Kind::File(object, size) = kind {
            bytes.extend_from_slice(format!("{size} {object} ").as_bytes());
        }
        bytes.extend_from_slice(name);
        bytes.push(0);
        if let Kind::Link(target) = kind {
            bytes.extend_from_slice(target);
            bytes.push(0);
        }
    }
    bytes
}

/// What [`write()`] made; none if it is anything else, or names something outside the workspace.
pub(super) fn read(bytes: &[u8]) -> Option<BTreeMap<Name, Entry>> {
    let mut entries = BTreeMap::new();
    let mut records = bytes.split(|byte| *byte == 0);
    loop {
        let record = records.next()?;
        if record.is_empty() {
            // Behind the last NUL there is nothing.
            return records.next().is_none().then_some(entries);
        }
        let letter = *record.first()?;
        let mut parts = record.splitn(if letter == b'f' { 8 } else { 6 }, |byte| *byte == b' ').skip(1);
        let mut word = || std::str::from_utf8(parts.next()?).ok();
        let mode = u32::from_str_radix(word()?, 8).ok()?;
        let owner = (word()?.parse().ok()?, word()?.parse().ok()?);
        let modified = word()?.parse().ok()?;
        let mut kind = match letter {
            b'f' => {
                let size = word()?.parse().ok()?;
                Kind::File(Oid::from_str(word()?).ok()?, size)
            }
            b'd' => Kind::Directory,
            b'l' => Kind::Link(Vec::new()),
            _ => return None,
        };
        let name = parts.next().filter(|name| is_inside(name))?.to_vec();
        if let Kind::Link(target) = &mut kind {
            *target = records.next()?.to_vec();
        }
        entries.insert(name, Entry { kind, mode, owner, modified });
    }
}

/// Whether a path names something below the directory that it is relative to, and in the one way that a walk names it.
pub(super) fn is_inside(name: &[u8]) -> bool {
    name.split(|byte| *byte == b'/').all(|part| !matches!(part, b"" | b"." | b".."))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let object = Oid::from_str("ce013625030ba8dba906f756967f9e9ca394464a").unwrap();
        let entry = |kind| Entry { kind, mode: 0o4755, owner: (7, 8), modified: -5 };
        let all = BTreeMap::from([
            (b"a".to_vec(), entry(Kind::Directory)),
            (b"a/two words\nand a line".to_vec(), entry(Kind::File(object, 6))),
            (b"a/\xff".to_vec(), entry(Kind::Link(b"../ somewhere\n".to_vec()))),
            (b"l".to_vec(), entry(Kind::Link(Vec::new()))),
        ]);
        assert_eq!(read(&write(&all)), Some(all));
        assert_eq!(read(b""), Some(BTreeMap::new()));
    }

    #[test]
    fn what_leads_out_or_is_cut_is_not_read() {
        for bytes in [
            &b"d 755 0 0 0 ..\0"[..],
            b"d 755 0 0 0 a/../b\0",
            b"d 755 0 0 0 /etc\0",
            b"d 755 0 0 0 a//b\0",
            b"d 755 0 0 0 a",
            b"l 777 0 0 0 a\0",
            b"f 644 0 0 0 6 xyz a\0",
            b"x 644 0 0 0 a\0",
            b"\0\0",
        ] {
            assert_eq!(read(bytes), None, "{}", String::from_utf8_lossy(bytes));
        }
    }
}
