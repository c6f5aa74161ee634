//! git repositories, as far as the sandbox and verdicts have to know them: settings, what is committed, and what would be.
//!
//! `palisade_sandbox` stops calls and covers files, and knows no git. [`Git`] is what reads repositories for it.

mod committed_secrets;
mod harmless;
mod settings;
mod taken_files;

use std::path::Path;

use libc::c_int;
use palisade_sandbox::own_settings::Store;
use palisade_sandbox::repositories::{Around, Repositories, SettingsChange, Taken};

pub(crate) use self::committed_secrets::has as has_committed;
pub(crate) use self::settings::{Change, may_be_kept, refuses, seen_by_sessions};

/// Reads repositories by libgit2.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Git;

impl Repositories for Git {
    fn has_committed(&self, file: &Path, content: &[u8], may_read: &dyn Fn(&Path) -> bool) -> bool {
        committed_secrets::has(file, content, may_read)
    }

    fn may_take(&self, file: &Path) -> bool {
        taken_files::may_take(file)
    }

    fn shown(&self, store: &Store, place: &Path, seen_before: bool) -> Option<String> {
        settings::shown(store, place, seen_before)
    }

    fn take_over(&self, change: &SettingsChange<'_>, around: &Around<'_>) -> Result<Taken, c_int> {
        settings::take_over(change, around)
    }
}
