//! Holds bytes that are secret, or may be until they are decided: decides that none of them stay in memory that has been
//! given back.
//!
//! What this does not do: it neither locks pages nor reaches copies that the system has made. A server that runs commands
//! is kept from leaving a core file instead (see `sandbox::harden_server`).

use std::borrow::Borrow;

use zeroize::Zeroize as _;

/// Bytes that are overwritten before their memory is given back, also when they move because they have grown.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Secret(Vec<u8>);

impl Secret {
    /// The bytes.
    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Appends bytes.
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        let wanted = self.0.len() + bytes.len();
        if wanted > self.0.capacity() {
            let mut grown = Vec::with_capacity(wanted.max(2 * self.0.capacity()));
            grown.extend_from_slice(&self.0);
            self.0.zeroize();
            self.0 = grown;
        }
        self.0.extend_from_slice(bytes);
    }

    /// Drops the first `count` bytes; all of them if there are fewer.
    pub(super) fn drop_front(&mut self, count: usize) {
        let count = count.min(self.0.len());
        let kept = self.0.len() - count;
        self.0.copy_within(count.., 0);
        self.0.get_mut(kept..).unwrap_or_default().zeroize();
        self.0.truncate(kept);
    }

    /// Drops the last byte.
    pub(super) fn drop_last(&mut self) {
        if let Some(last) = self.0.last_mut() {
            last.zeroize();
            self.0.pop();
        }
    }
}

impl From<Vec<u8>> for Secret {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl From<&[u8]> for Secret {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

/// So that a table that is keyed by secrets can be asked without a copy.
impl Borrow<[u8]> for Secret {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

/// Says nothing of the bytes.
impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secret").field("length", &self.0.len()).finish()
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_and_go_in_order() {
        let mut secret = Secret::default();
        let mut expected = Vec::new();
        for round in 0..200_u8 {
            let bytes = vec![round; usize::from(round)];
            secret.extend(&bytes);
            expected.extend_from_slice(&bytes);
            secret.drop_front(usize::from(round / 2));
            expected.drain(..usize::from(round / 2));
        }
        assert_eq!(secret.bytes(), expected);
        assert!(!format!("{secret:?}").contains("199, 199"));
        secret.drop_front(usize::MAX);
        assert!(secret.bytes().is_empty());
    }
}
