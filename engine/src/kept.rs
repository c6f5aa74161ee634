//! What stays the same from one script to the next, made and checked once: entities, and contexts of requests.
//!
//! Decides nothing. A key holds all that its value was made of, so that what is found is what would be made; nothing
//! that a command brought as a value (of a variable, of an input) is kept. Bounded, since the agent chooses keys.

use std::sync::{Mutex, PoisonError};

use cedar_policy::{Context, Entities, RestrictedExpression};

use crate::facts::{Machine, Principal, Session, Transport};
use crate::path::AbsolutePath;

/// Values that are kept of one kind. Looking through them all costs less than hashing a key.
const MAX: usize = 16;

/// What one policy set keeps.
#[derive(Default)]
pub(crate) struct Kept {
    /// Without a session's entity: sessions may be many and short.
    pub(crate) surroundings: Shelf<Lasting, Entities>,
    /// With it.
    pub(crate) entities: Shelf<Lasting, Entities>,
    pub(crate) contexts: Shelf<Circumstances, Context>,
}

/// A few values with their keys; full, it is emptied.
pub(crate) struct Shelf<K, V>(Mutex<Vec<(K, V)>>);

/// What the entities that outlast a script are made of.
#[derive(Clone)]
pub(crate) struct Lasting {
    pub(crate) principal: Principal,
    pub(crate) transport: Transport,
    pub(crate) host: String,
    pub(crate) machine: Machine,
    pub(crate) workspace: AbsolutePath,
    pub(crate) path_groups: Vec<String>,
    pub(crate) host_groups: Vec<String>,
    /// `None`: the session's entity is made for each script.
    pub(crate) session: Option<Session>,
}

/// What the context of a request is made of.
pub(crate) struct Circumstances {
    pub(crate) action: &'static str,
    pub(crate) approved: bool,
    pub(crate) transport: Transport,
    pub(crate) host: String,
    pub(crate) workspace: AbsolutePath,
    pub(crate) session: String,
    /// What the context holds beyond what all actions share.
    pub(crate) own: Vec<(String, RestrictedExpression)>,
}

impl<K, V> Default for Shelf<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K, V: Clone> Shelf<K, V> {
    /// The value whose key is the same.
    pub(crate) fn find(&self, same: impl Fn(&K) -> bool) -> Option<V> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find(|(key, _)| same(key)).map(|(_, value)| value.clone())
    }

    /// Keeps a value.
    pub(crate) fn keep(&self, key: K, value: V) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MAX {
            kept.clear();
        }
        kept.push((key, value));
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX, Shelf};

    #[test]
    fn what_is_kept_is_bounded_and_found_by_its_key_alone() {
        let shelf = Shelf::default();
        for number in 0..10 * MAX {
            shelf.keep(number, number * 2);
            assert_eq!(shelf.find(|key| *key == number), Some(number * 2));
            assert!(shelf.len() <= MAX);
        }
        assert_eq!(shelf.find(|key| *key == 10 * MAX), None);
    }
}
