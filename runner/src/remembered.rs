//! The file of the yeses that hold for longer than one session (`approvals grant --remember agent|always`).
//!
//! It lies with the record, which no session can read or write. Servers of one account share it: each reads it when policy asks, so that
//! what one person has taken back lets nothing run from then on. Decides nothing; what a yes covers is the engine's to say.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use palisade_engine::{Standing, StandingError, StandingYes};

/// Its name in the directory of the record.
const NAME: &str = "remembered.cedar";

/// What is locked while it is changed: the file itself is another one after that.
const LOCK: &str = "remembered.lock";

/// Yeses that it may hold.
const MAX: usize = 500;

/// What stands at its top.
const HEAD: &str = "\
// Yeses that hold until they are taken back: `palisade approvals remembered` lists them, `palisade approvals forget ID` takes one back.
// Each answers what policy asks a person about, and permits nothing that policy denies.

";

/// Where such yeses are kept.
#[derive(Clone, Debug)]
pub struct Remembered {
    directory: PathBuf,
}

/// Why they cannot be had, or changed.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum RememberedError {
    /// The file system does not let it.
    #[error("cannot {what} `{}`", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("`{}` is no file of remembered yeses", path.display())]
    Text {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[diagnostic_source]
        source: StandingError,
    },
    /// There are too many.
    #[error("{MAX} yeses are remembered already")]
    #[diagnostic(help(
        "`palisade approvals remembered` lists them, and `palisade approvals forget ID` takes one back"
    ))]
    Full,
}

impl Remembered {
    /// Those that are kept in this directory, which is made when the first one is added.
    #[must_use]
    pub fn in_directory(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// All of them; none where there is no file.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or holds something else.
    pub fn read(&self) -> Result<Standing, RememberedError> {
        let path = self.directory.join(NAME);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Standing::default()),
            Err(source) => return Err(RememberedError::File { what: "read", path, source }),
        };
        Standing::parse(&text).map_err(|source| RememberedError::Text { path, source })
    }

    /// One more.
    ///
    /// # Errors
    ///
    /// As [`Self::read`], there are too many, or the file cannot be written: then it is as it was.
    pub fn add(&self, yes: StandingYes) -> Result<(), RememberedError> {
        self.change(|standing| {
            standing.forget(&yes.id);
            if standing.yeses().count() >= MAX {
                return Err(RememberedError::Full);
            }
            standing.add(yes);
            Ok(true)
        })
        .map(drop)
    }

    /// Takes back what was given to this decision; whether there was anything.
    ///
    /// # Errors
    ///
    /// As [`Self::add`].
    pub fn forget(&self, id: &str) -> Result<bool, RememberedError> {
        if self.read()?.is_empty() {
            return Ok(false);
        }
        self.change(|standing| Ok(standing.forget(id)))
    }

    fn change(
        &self,
        change: impl FnOnce(&mut Standing) -> Result<bool, RememberedError>,
    ) -> Result<bool, RememberedError> {
        let at = |what: &'static str, path: PathBuf| move |source| RememberedError::File { what, path, source };
        let path = self.directory.join(NAME);
        std::fs::create_dir_all(&self.directory).map_err(at("make", self.directory.clone()))?;
        let lock = self.directory.join(LOCK);
        let held = File::options().create(true).truncate(false).write(true).open(&lock);
        let held = held.and_then(|file| file.lock().map(|()| file)).map_err(at("lock", lock))?;
        let mut standing = self.read()?;
        let changed = change(&mut standing)?;
        if changed {
            let written = tempfile::NamedTempFile::new_in(&self.directory).and_then(|mut file| {
                file.write_all(format!("{HEAD}{}", standing.to_text()).as_bytes())?;
                file.as_file().sync_all()?;
                file.persist(&path).map_err(io::Error::from)
            });
            written.map_err(at("write", path))?;
        }
        drop(held);
        Ok(changed)
    }
}
