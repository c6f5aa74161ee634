//! What the two ends say to each other about a workspace and what is kept of it, in the frames in which a guard is told what to hold.
//!
//! Both ends are the same program, by its digest. What the far end says is bounded and looked at all the same (`listing.rs`): it runs as
//! a user whom an agent may be, too.

use std::fmt;

use git2::Oid;
use palisade_engine::AbsolutePath;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::checkpoint::tree::{Found, Reason, Stamp};

/// Paths, or objects, that one message is about at most.
pub(super) const MANY: usize = 2_000;

/// Bytes of paths in one message, and some; written as text they are six times as many at the most.
pub(super) const MUCH: usize = 256 << 10;

/// What the server wants. Each is answered before the next one is begun.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Order {
    /// First of all, once: of what.
    Begin(Begin),
    /// What lies in the workspace?
    List,
    /// The objects that the bytes of these files are; with `keep` they are kept.
    Read { names: Vec<Bytes>, keep: bool },
    /// All that was kept has to outlast a power cut.
    Sync,
    /// How large are these objects, if they are there?
    Sizes { objects: Vec<Object> },
    /// What are the bytes now that are kept as these objects, of these sizes?
    Reread { objects: Vec<(Object, u64)> },
    /// Lets these objects go.
    Forget { objects: Vec<Object> },
    /// Lets all others go, and what was cut short has left.
    Sweep { needed: Vec<Object> },
    /// Takes steps of a restore, in this order.
    Steps(Box<Steps>),
    /// Puts times of directories back: what a list of them says.
    Times { entries: Bytes },
}

/// Of what.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Begin {
    /// Without links on the way: one that is there now was put there since.
    pub(super) workspace: AbsolutePath,
    /// The directory in which bytes are kept.
    pub(super) kept: AbsolutePath,
    /// What the settings leave out: names, and files beyond so many bytes.
    pub(super) exclude: Vec<String>,
    pub(super) max_file: u64,
}

/// Steps of a restore.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Steps {
    /// What is written beside its place is known by that.
    pub(super) mark: String,
    /// What is done, and where.
    pub(super) steps: Vec<(Deed, Bytes)>,
    /// What comes back at these paths, as a list of a checkpoint has it.
    pub(super) then: Bytes,
    /// What stood there when the steps were planned, as [`record()`] has it.
    pub(super) seen: Vec<Bytes>,
}

/// What is done at one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Deed {
    Delete,
    Put,
    Finish,
}

/// What the far end says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum KeeperAnswer {
    /// Part of what lies in the workspace, and of what is left out; it was looked at at this time, in nanoseconds since 1970.
    Listed { now: i128, found: Vec<Bytes>, left: Vec<(Bytes, Reason)>, more: bool },
    /// One for each that was asked about, in that order.
    Objects(Vec<Option<Object>>),
    /// The same.
    Sizes(Vec<Option<u64>>),
    /// The steps that were not taken, by their numbers from 0, and why.
    NotTaken(Vec<(usize, String)>),
    /// It is done.
    Done,
    /// It goes on: what is done takes long.
    Alive,
    /// The workspace, or what is kept, is not what it has to be.
    Refused(Why),
    /// The workspace cannot be read: an error number.
    Unread(i32),
    /// There is more in it than a checkpoint holds.
    TooMany,
    /// What is kept cannot be written or read: what the system there says.
    Unkept(String),
}

/// Why a workspace, or the place of what is kept, will not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::checkpoint::remote) enum Why {
    /// It cannot be made, or is not its user's own.
    Store,
    /// A link stands in its place.
    Link,
    /// It leads into the workspace.
    Inside,
    /// There is no workspace.
    Workspace,
    /// The workspace is all that there is.
    Root,
}

/// Bytes that are text most of the time: that as a string, any other as numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bytes(pub(super) Vec<u8>);

/// An object's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Object(pub(super) Oid);

/// What was found at a path: its state, the path, and where a link leads behind a NUL, which no path has.
pub(super) fn record(name: &[u8], found: &Found) -> Bytes {
    let mut bytes = format!("{} ", found.stamp).into_bytes();
    bytes.extend_from_slice(name);
    if let Some(target) = &found.target {
        bytes.push(0);
        bytes.extend_from_slice(target);
    }
    Bytes(bytes)
}

/// The same, read again: path, state and where it leads. None if it is anything else.
pub(super) fn read(record: &Bytes) -> Option<(Vec<u8>, Found)> {
    let (stamp, rest) = Stamp::read(&record.0)?;
    let mut parts = rest.splitn(2, |byte| *byte == 0);
    let name = parts.next()?.to_vec();
    Some((name, Found::new(stamp, parts.next().map(<[u8]>::to_vec))))
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => serializer.collect_seq(&self.0),
        }
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Bytes;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("bytes")
            }

            fn visit_str<E>(self, text: &str) -> Result<Bytes, E> {
                Ok(Bytes(text.as_bytes().to_vec()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut numbers: A) -> Result<Bytes, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = numbers.next_element()? {
                    bytes.push(byte);
                }
                Ok(Bytes(bytes))
            }
        }

        deserializer.deserialize_any(Either)
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // The library takes shorter ones, too.
        let whole = (text.len() == 40).then(|| Oid::from_str(&text).ok()).flatten();
        whole.map(Self).ok_or_else(|| serde::de::Error::custom("no object"))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_path_is_it_comes_out_as_it_went_in() {
        let stamp =
            Stamp { file: (5, 7), size: 3, mode: 0o100_644, owner: (7, 8), times: [-1, i128::from(i64::MAX) * 9] };
        for (name, target) in [
            (&b"plain"[..], None),
            (b"two words\nand \"a line\" \\", None),
            (b"\xff\x00\x80".get(..1).unwrap(), Some(&b"../\xfe\n"[..])),
            ("ü".as_bytes(), Some(b"")),
        ] {
            let told = record(name, &Found::new(stamp, target.map(<[u8]>::to_vec)));
            let text = serde_json::to_vec(&told).unwrap();
            let (again, found) = read(&serde_json::from_slice(&text).unwrap()).unwrap();
            assert_eq!((again.as_slice(), found.stamp, found.target.as_deref()), (name, stamp, target));
        }
    }

    #[test]
    fn what_is_no_object_or_no_byte_is_refused() {
        for text in ["\"ce01\"", "\"\"", "\"zz013625030ba8dba906f756967f9e9ca394464a\"", "7"] {
            assert!(serde_json::from_str::<Object>(text).is_err(), "{text}");
        }
        for text in ["[256]", "[-1]", "[\"a\"]", "{}", "null"] {
            assert!(serde_json::from_str::<Bytes>(text).is_err(), "{text}");
        }
        assert!(read(&Bytes(b"1 2 3".to_vec())).is_none());
    }
}
