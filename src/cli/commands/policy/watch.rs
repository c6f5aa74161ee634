//! `policy watch`: the cases once more at each save, until Ctrl-C.
//!
//! Decides only when: once what is below the policy directory, or the settings file, is another than before and has stayed so for a look.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::test;
use crate::cli::args::{PolicySet, PolicyTest, TestFormat};
use crate::cli::exit::Exit;
use crate::cli::report::{self, CliError};
use crate::config::{self, Authored};

/// How often it looks.
const TURN: Duration = Duration::from_millis(300);

/// Entries that are looked at: a policy directory is small, and `/` is none.
const MAX_ENTRIES: usize = 10_000;

/// What tells one state of the files from another.
type Seen = BTreeMap<PathBuf, (u64, Option<SystemTime>)>;

pub(crate) fn run(set: &PolicySet) -> Result<Exit, CliError> {
    let Some(place) =
        Authored::of(set).map_or_else(|_| set.path.clone(), |authored| authored.path().map(Path::to_owned))
    else {
        let help = "name a policy directory; what Palisade ships does not change";
        return Err(CliError::new("there is nothing to watch", help));
    };
    if let Err(error) = place.metadata() {
        return Err(CliError::from(config::unreadable("", &place, &error)));
    }
    let watched: Vec<PathBuf> = std::iter::once(place).chain(set.config.clone()).collect();
    let args = PolicyTest { set: set.clone(), format: TestFormat::Human, coverage: true, min: None };
    let mut tried = None;
    loop {
        let seen = look(&watched);
        std::thread::sleep(TURN);
        if tried.as_ref() == Some(&seen) || look(&watched) != seen {
            continue;
        }
        let head = if io::stdout().is_terminal() { report::CLEARED } else { "" };
        if !report::print(&format!("{head}{}\n", clock())) {
            return Ok(Exit::Fine);
        }
        // What is wrong is what somebody is about to mend.
        if let Err(trouble) = test::run(&args) {
            trouble.print();
        }
        tried = Some(seen);
    }
}

/// The files below these places, as far as they tell that they were written.
fn look(places: &[PathBuf]) -> Seen {
    let (mut seen, mut waiting) = (Seen::new(), places.to_vec());
    while let Some(place) = waiting.pop().filter(|_| seen.len() < MAX_ENTRIES) {
        let Ok(about) = place.metadata() else { continue };
        if about.is_dir() {
            let entries = std::fs::read_dir(&place).into_iter().flatten().flatten();
            waiting.extend(
                entries
                    .filter(|entry| entry.file_type().is_ok_and(|kind| !kind.is_symlink()))
                    .map(|entry| entry.path()),
            );
        } else {
            seen.insert(place, (about.len(), about.modified().ok()));
        }
    }
    seen
}

fn clock() -> String {
    jiff::Zoned::now().strftime("%H:%M:%S").to_string()
}
