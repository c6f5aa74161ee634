//! What names mean at the other end, for whoever gathers facts: asked for in one round, answered in the next.
//!
//! Gathering is done without waiting. A name that nobody has asked about yet is noted down and means nothing for the moment; once
//! all that were noted down have been asked about, the facts are gathered again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use super::scout::{Place, Scout};

/// Names that one script may raise; of what is beyond nothing is known.
const MAX_NAMES: usize = 256;

/// Rounds for one script: a `cd` has to be answered before what lies behind it can be asked.
const MAX_ROUNDS: usize = 16;

/// The names of one script.
#[derive(Debug, Default)]
pub(crate) struct View(Mutex<Names>);

#[derive(Debug, Default)]
struct Names {
    known: BTreeMap<String, Option<Place>>,
    wanted: BTreeSet<String>,
}

impl View {
    /// What a path means; none if that is not known, or not yet.
    pub(crate) fn place(&self, path: &str) -> Option<Place> {
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

    /// Asks about what was noted down, and again, until `gather` finds nothing new to ask.
    pub(crate) async fn fill(&self, scout: &Scout, gather: impl Fn()) {
        for _ in 0..MAX_ROUNDS {
            gather();
            let wanted: Vec<String> = {
                let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                std::mem::take(&mut names.wanted).into_iter().collect()
            };
            if wanted.is_empty() {
                return;
            }
            let places = scout.look(&wanted).await.unwrap_or_else(|| vec![None; wanted.len()]);
            let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            names.known.extend(wanted.into_iter().zip(places));
        }
    }
}
