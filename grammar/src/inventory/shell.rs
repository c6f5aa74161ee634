//! What one script leaves behind for the next one in the same shell.
//!
//! This file says what of a shell's state changes what later text means: functions and aliases that stand in a
//! program's place, variables that do not hold what is assigned to them, options. Directories and values are not told:
//! the next script begins with none of them known but what the session says itself. `collect/state.rs` begins a script with it, and
//! leaves it behind.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

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
}

/// What may go otherwise than the text reads, from here on and for good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hazards {
    /// A trap may take functions away whenever it runs.
    pub(crate) functions: bool,
    /// A trap may change the positional parameters.
    pub(crate) arguments: bool,
    /// A trap may remove directories, or make them.
    pub(crate) directories: bool,
    /// A variable that is not set is an error (`set -u`), behind which an interactive bash goes on with the next line.
    pub(crate) unset: bool,
    /// A substitution may fail for want of what `ulimit` took.
    pub(crate) limits: bool,
}

impl Hazards {
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            functions: self.functions || other.functions,
            arguments: self.arguments || other.arguments,
            directories: self.directories || other.directories,
            unset: self.unset || other.unset,
            limits: self.limits || other.limits,
        }
    }
}
