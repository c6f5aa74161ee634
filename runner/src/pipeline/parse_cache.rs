//! What short scripts were read as, for when they come again: agents ask for the same builds, tests and lists over and over.
//!
//! Decides nothing. What a script is read as hangs on its text and its shell alone, and only what was read whole, in a shell in which
//! nothing was left, is kept. Bounded, since agents choose the texts.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use palisade_grammar::{Inventory, Shell};

/// Bytes of a script that is read in less time than a thread takes to wake. Only such are kept.
pub(super) const SHORT: usize = 256;

/// A reading that took no longer was not cut short, for which there is a time (250 ms).
const SOON: Duration = Duration::from_millis(50);

/// Scripts that are kept; then the oldest goes.
const MAX_SCRIPTS: usize = 64;

/// Commands that a kept script may have: each takes its memory, and a loop within a loop makes many of few words.
const MAX_COMMANDS: usize = 16;

/// The scripts that came last.
#[derive(Default)]
pub(super) struct ParseCache(Mutex<VecDeque<Inventory>>);

impl fmt::Debug for ParseCache {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ParseCache").finish_non_exhaustive()
    }
}

impl ParseCache {
    /// As [`palisade_grammar::inventory_in`].
    pub(super) fn read(&self, script: &[u8], shell: &Shell) -> Inventory {
        if script.len() > SHORT || *shell != Shell::new() {
            return palisade_grammar::inventory_in(script, shell);
        }
        if let Some(kept) = self.find(script) {
            return kept;
        }
        let begun = Instant::now();
        let inventory = palisade_grammar::inventory_in(script, shell);
        self.keep(&inventory, begun.elapsed());
        inventory
    }

    fn find(&self, script: &[u8]) -> Option<Inventory> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find(|kept| kept.script() == script).cloned()
    }

    fn keep(&self, inventory: &Inventory, took: Duration) {
        if took > SOON || inventory.commands().len() > MAX_COMMANDS {
            return;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.truncate(MAX_SCRIPTS - 1);
        kept.push_front(inventory.clone());
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    impl ParseCache {
        fn len(&self) -> usize {
            self.0.lock().unwrap().len()
        }
    }

    fn told(inventory: &Inventory) -> String {
        format!("{:?} {:?}", serde_json::to_string(inventory).unwrap(), inventory.leaves())
    }

    #[test]
    fn what_is_kept_is_what_would_be_read() {
        let texts = ParseCache::default();
        for script in ["cd x && make -j2 2>&1 | tail -3", "f() { rm a; }; f", "set -e; ls *", "sh -c 'cat $1'"] {
            let read = told(&palisade_grammar::inventory(script.as_bytes()));
            for _ in 0..2 {
                assert_eq!(told(&texts.read(script.as_bytes(), &Shell::new())), read);
            }
        }
        assert_eq!(texts.len(), 4);
    }

    #[test]
    fn what_was_left_in_the_shell_is_looked_at() {
        let texts = ParseCache::default();
        texts.read(b"ls", &Shell::new());
        let left = palisade_grammar::inventory(b"ls() { rm a; }");
        let in_it = texts.read(b"ls", left.leaves());
        assert_eq!(told(&in_it), told(&palisade_grammar::inventory_in(b"ls", left.leaves())));
        assert_ne!(told(&in_it), told(&texts.read(b"ls", &Shell::new())));
        // And no other way round.
        texts.read(b"make", left.leaves());
        texts.read(b"ls", &Shell::posix());
        assert_eq!(texts.len(), 1);
    }

    #[test]
    fn the_last_short_scripts_that_were_read_in_time_are_kept() {
        let texts = ParseCache::default();
        texts.keep(&palisade_grammar::inventory(b"ls"), Duration::from_millis(200));
        texts.read(&b"true;".repeat(SHORT / 5 + 1), &Shell::new());
        texts.read(&b"true;".repeat(MAX_COMMANDS + 1), &Shell::new());
        assert_eq!(texts.len(), 0);
        for number in 0..=MAX_SCRIPTS {
            texts.read(format!("make {number}").as_bytes(), &Shell::new());
        }
        assert_eq!(texts.len(), MAX_SCRIPTS);
        assert!(texts.find(b"make 0").is_none() && texts.find(b"make 1").is_some());
    }
}
