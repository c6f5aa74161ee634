//! Puts what a yes binds into bytes, and those to a digest.
//!
//! The encoding is canonical: each part has a tag and its length or number in front of it, so that two lists of parts are the same
//! bytes only if they are the same parts. It has a version, [`FORM`]: change that with the encoding. How a type is shown for debugging
//! has no place in it, since that may change with any library.

use palisade_audit::Digest;

/// The version of the encoding, the first part of all.
const FORM: &str = "palisade-yes-1";

/// Parts that are put into bytes one behind the other.
pub(super) struct Parts(Vec<u8>);

impl Parts {
    /// What every list of parts of this kind begins with.
    pub(super) fn of(kind: &str) -> Self {
        let mut parts = Self(Vec::new());
        parts.add(FORM).add(kind);
        parts
    }

    /// Bytes or text.
    pub(super) fn add(&mut self, part: impl AsRef<[u8]>) -> &mut Self {
        let part = part.as_ref();
        self.tagged(b'b', part.len() as u64);
        self.0.extend_from_slice(part);
        self
    }

    pub(super) fn number(&mut self, number: u64) -> &mut Self {
        self.tagged(b'n', number)
    }

    pub(super) fn flag(&mut self, flag: bool) -> &mut Self {
        self.tagged(b'f', u64::from(flag))
    }

    /// A part that may be missing.
    pub(super) fn maybe<T>(&mut self, part: Option<T>, add: impl FnOnce(&mut Self, T)) -> &mut Self {
        self.tagged(b'?', u64::from(part.is_some()));
        if let Some(part) = part {
            add(self, part);
        }
        self
    }

    /// Any number of parts.
    pub(super) fn list<T>(
        &mut self,
        parts: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>,
        mut add: impl FnMut(&mut Self, T),
    ) -> &mut Self {
        let parts = parts.into_iter();
        self.tagged(b'l', parts.len() as u64);
        parts.for_each(|part| add(self, part));
        self
    }

    /// Texts, or other things that are bytes.
    pub(super) fn texts(
        &mut self,
        texts: impl IntoIterator<Item: AsRef<[u8]>, IntoIter: ExactSizeIterator>,
    ) -> &mut Self {
        self.list(texts, |parts, text| _ = parts.add(text))
    }

    pub(super) fn digest(&self) -> Digest {
        Digest::of(&self.0)
    }

    fn tagged(&mut self, tag: u8, number: u64) -> &mut Self {
        self.0.push(tag);
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_lists_of_parts_are_the_same_bytes() {
        type Fill = fn(&mut Parts);
        let fills: [Fill; 14] = [
            |_| {},
            |parts| _ = parts.add(""),
            |parts| _ = parts.add("ab"),
            |parts| _ = parts.add("a").add("b"),
            |parts| _ = parts.add("b").add("a"),
            |parts| _ = parts.texts(["a", "b"]),
            |parts| _ = parts.texts(["ab"]),
            |parts| _ = parts.texts(Vec::<&str>::new()),
            |parts| _ = parts.maybe(None::<&str>, |parts, text| _ = parts.add(text)),
            |parts| _ = parts.maybe(Some("ab"), |parts, text| _ = parts.add(text)),
            |parts| _ = parts.flag(false),
            |parts| _ = parts.flag(true),
            |parts| _ = parts.number(0),
            |parts| _ = parts.number(1),
        ];
        let digest = |kind, fill: &Fill| {
            let mut parts = Parts::of(kind);
            fill(&mut parts);
            parts.digest().to_string()
        };
        let all: BTreeSet<String> =
            fills.iter().flat_map(|fill| [digest("script", fill), digest("restore", fill)]).collect();
        assert_eq!(all.len(), 2 * fills.len());
    }

    /// A yes that is remembered holds its digest: another encoding needs another [`FORM`].
    #[test]
    fn the_encoding_is_this_one() {
        let mut parts = Parts::of("k");
        parts.add("ab").flag(true).number(258).texts(["c"]).maybe(None::<&str>, |parts, text| _ = parts.add(text));
        let mut bytes = Vec::new();
        for (tag, number, rest) in [
            (b'b', 14, "palisade-yes-1"),
            (b'b', 1, "k"),
            (b'b', 2, "ab"),
            (b'f', 1, ""),
            (b'n', 258, ""),
            (b'l', 1, ""),
            (b'b', 1, "c"),
            (b'?', 0, ""),
        ] {
            bytes.push(tag);
            bytes.extend_from_slice(&u64::to_be_bytes(number));
            bytes.extend_from_slice(rest.as_bytes());
        }
        assert_eq!(parts.0, bytes);
    }

    #[test]
    fn nothing_is_bound_as_it_is_shown_for_debugging() {
        for (file, text) in [
            ("approval_binding.rs", include_str!("approval_binding.rs")),
            ("canonical.rs", include_str!("canonical.rs")),
        ] {
            assert!(!text.contains(&["?", "}"].concat()), "{file}");
        }
    }
}
