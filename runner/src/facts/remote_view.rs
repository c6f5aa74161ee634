//! What names mean at a target, for whoever gathers facts: noted down in one round, known in the next. Asks nobody itself.
//!
//! Gathering is done without waiting. A name that nobody has asked about yet is noted down and means nothing for the moment; once
//! all that were noted down have been asked about, the facts are gathered again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use palisade_engine::AbsolutePath;

/// Names that one script may raise; of what is beyond nothing is known.
const MAX_NAMES: usize = 256;

/// What a path leads to: on this machine, or at the other end of a transport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResolvedPath {
    /// Without symbolic links.
    pub(crate) path: AbsolutePath,
    /// Something is there.
    pub(crate) exists: bool,
    /// It is a directory at the other end that the session's user can enter.
    pub(crate) enters: bool,
}

/// The names of one script.
#[derive(Debug, Default)]
pub(crate) struct View(Mutex<Names>);

#[derive(Debug, Default)]
struct Names {
    known: BTreeMap<String, Option<ResolvedPath>>,
    wanted: BTreeSet<String>,
}

impl View {
    /// What a path means; none if that is not known, or not yet.
    pub(crate) fn place(&self, path: &str) -> Option<ResolvedPath> {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match names.known.get(path) {
            Some(place) => place.clone(),
            None => {
                if names.known.len() + names.wanted.len() < MAX_NAMES {
                    names.wanted.insert(path.to_owned());
                }
                None
            }
        }
    }

    /// What was noted down since it was asked for last.
    pub(crate) fn wanted(&self) -> Vec<String> {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut names.wanted).into_iter().collect()
    }

    /// Takes what these names mean.
    pub(crate) fn learn(&self, wanted: Vec<String>, places: Vec<Option<ResolvedPath>>) {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.known.extend(wanted.into_iter().zip(places));
    }
}
