//! What one script leaves behind for the next one in the same shell.
//!
//! This file decides what of a shell's state changes what later text means: functions and aliases that stand in a
//! program's place, variables that do not hold what is assigned to them, options. Directories and values are not told:
//! the next script begins with none of them known but what the session says itself.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::inventory::state::{Hazards, State};

/// A shell between two scripts: [`crate::inventory_in`] reads a script in it, [`crate::Inventory::leaves`] says what it
/// is afterwards.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shell {
    /// Functions by name: every definition that may be in force, as written, and whether one of them surely is.
    pub(crate) functions: BTreeMap<String, (Vec<String>, bool)>,
    pub(crate) aliases: BTreeSet<String>,
    /// Variables of which no assignment says what they hold.
    pub(crate) fixed: BTreeSet<String>,
    /// Patterns that match nothing may leave no word.
    pub(crate) vanishing: bool,
    /// Job control may be on.
    pub(crate) monitors: bool,
    pub(crate) hazards: Hazards,
    /// `IFS` was set.
    pub(crate) splits_oddly: bool,
    /// `HOME` was set.
    pub(crate) moved_home: bool,
    /// What `TMPDIR` held when the shell began, if that is known.
    #[serde(default)]
    pub(crate) temporary: Option<String>,
    /// `TMPDIR` was set.
    #[serde(default)]
    pub(crate) moved_temporary: bool,
    /// A variable was set that bash itself gives numbers (`RANDOM`).
    #[serde(default)]
    pub(crate) changed_numbers: bool,
    /// Variables that programs get.
    #[serde(default)]
    pub(crate) exported: BTreeSet<String>,
    /// Programs get every variable that is set.
    #[serde(default)]
    pub(crate) exports_all: bool,
    /// Something ran in the shell that was not read: nothing of all this is certain.
    pub(crate) unread: bool,
    /// It is no bash, but a `sh` of dash's kind: only what is the same there is read at all.
    pub(crate) posix: bool,
}

impl Shell {
    /// A shell as it starts, without anything of its user's.
    pub fn new() -> Self {
        Self::default()
    }

    /// A `sh` of dash's kind as it starts, without anything of its user's. A script that would be anything else there than in bash is
    /// refused.
    pub fn posix() -> Self {
        Self { posix: true, ..Self::default() }
    }

    /// The same shell, which began with this value of `TMPDIR`.
    #[must_use]
    pub fn with_temporary(self, directory: Option<&str>) -> Self {
        Self { temporary: directory.map(str::to_owned), ..self }
    }

    /// Whether it is a `sh`, and no bash.
    pub fn is_posix(&self) -> bool {
        self.posix
    }

    /// Another shell of the same kind, as it starts.
    #[must_use]
    pub fn fresh(&self) -> Self {
        Self { posix: self.posix, ..Self::default() }
    }

    /// The same without its functions: what a shell is that was made from everything else of this one.
    #[must_use]
    pub fn without_functions(&self) -> Self {
        Self { functions: BTreeMap::new(), ..self.clone() }
    }

    /// Whether there may be functions in it.
    pub fn may_have_functions(&self) -> bool {
        self.has_functions() || self.unread
    }

    pub(crate) fn has_functions(&self) -> bool {
        !self.functions.is_empty()
    }

    /// What is known at the beginning of a script, functions left out.
    pub(crate) fn state(&self) -> State {
        let mut state = State::start();
        if let Some(directory) = self.temporary.as_ref().filter(|_| !self.moved_temporary) {
            state.begin_with("TMPDIR", directory);
        }
        self.aliases.iter().for_each(|name| state.alias(name));
        self.fixed.iter().for_each(|name| state.fix(name));
        if self.splits_oddly {
            state.fix("IFS");
        }
        if self.moved_home {
            state.fix("HOME");
        }
        if self.changed_numbers {
            state.forget_numbers();
        }
        if self.vanishing {
            state.let_patterns_vanish();
        }
        if self.monitors {
            state.monitor();
        }
        if self.unread {
            state.forget();
        }
        state.hazards = self.hazards;
        state
    }

    /// The shell behind a script that ended in this state, functions left out. What was so before stays so: the script
    /// may have stopped anywhere.
    pub(crate) fn then(&self, state: &State) -> Self {
        Self {
            functions: BTreeMap::new(),
            aliases: self.aliases.iter().chain(state.aliases.iter()).cloned().collect(),
            fixed: self.fixed.iter().cloned().chain(state.fixed()).collect(),
            vanishing: self.vanishing || state.vanishing,
            monitors: self.monitors || state.monitors,
            hazards: self.hazards.or(state.hazards),
            splits_oddly: self.splits_oddly || state.is_set("IFS"),
            moved_home: self.moved_home || state.is_set("HOME"),
            moved_temporary: self.moved_temporary || !state.still_holds("TMPDIR", self.temporary.as_deref()),
            temporary: self.temporary.clone(),
            changed_numbers: self.changed_numbers || state.changes_numbers(),
            exported: self.exported.clone(),
            exports_all: self.exports_all,
            unread: self.unread || state.wild,
            posix: self.posix,
        }
    }
}
