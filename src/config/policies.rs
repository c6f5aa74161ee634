//! A policy directory as it lies on disk: policies, group table, cases, and the profile that it adds to.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use palisade_engine::{BundleError, Source};
use serde::Deserialize;
use toml::Spanned;

use super::{ConfigError, misread, wrong};

/// The files of a policy directory, or one `.cedar` file alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PolicyFiles {
    /// Every `.cedar` file, in the order of their names.
    pub(crate) sources: Vec<Source>,
    /// The group table.
    pub(crate) groups: Option<Source>,
    /// Every `.toml` file below a directory `cases`.
    pub(crate) cases: Vec<Source>,
    /// `palisade.toml`, which says what the directory stands on.
    pub(crate) about: Option<Source>,
    /// The shipped profile that the policies add to; without one they take its place.
    pub(crate) extends: Option<String>,
}

/// What stands in the `palisade.toml` of a policy directory.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyManifest {
    extends: Spanned<String>,
}

impl PolicyFiles {
    /// Reads them.
    ///
    /// # Errors
    /// If one cannot be read, there is no policy among them, or they add to a profile that there is not.
    pub(crate) fn read(path: &Path) -> Result<Self, ConfigError> {
        let files = walk(path)?;
        let is_case = |file: &&PathBuf| {
            let inside = file.strip_prefix(path).unwrap_or(Path::new(""));
            file.extension() == Some(OsStr::new("toml")) && inside.starts_with("cases")
        };
        let is_policy = |file: &&PathBuf| *file == path || file.extension() == Some(OsStr::new("cedar"));
        let sources: Vec<Source> = files.iter().filter(is_policy).map(source).collect::<Result<_, _>>()?;
        if sources.is_empty() {
            return Err(BundleError::Empty(path.display().to_string()).into());
        }
        let groups = path.join("groups.toml");
        let about = path.join("palisade.toml");
        let about = if files.contains(&about) { Some(source(&about)?) } else { None };
        Ok(Self {
            sources,
            extends: about.as_ref().map(extended).transpose()?,
            about,
            groups: if files.contains(&groups) { Some(source(&groups)?) } else { None },
            cases: files.iter().filter(is_case).map(source).collect::<Result<_, _>>()?,
        })
    }

    /// The paths of all that was read, as they were named.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.sources.iter().chain(&self.groups).chain(&self.cases).chain(&self.about).map(|source| source.name.as_str())
    }
}

/// The profile that a directory adds to.
fn extended(about: &Source) -> Result<String, ConfigError> {
    let Source { name, text } = about;
    let PolicyManifest { extends } = toml::from_str(text).map_err(|error| misread(Path::new(name), text, &error))?;
    known(Path::new(name), text, &extends)?;
    Ok(extends.into_inner())
}

/// That a profile of this name is shipped.
///
/// # Errors
/// If there is none, with the place where it is named.
pub(crate) fn known(path: &Path, text: &str, profile: &Spanned<String>) -> Result<(), ConfigError> {
    let known: Vec<_> = palisade_policies::PROFILES.iter().map(|(profile, _)| *profile).collect();
    if known.contains(&profile.get_ref().as_str()) {
        return Ok(());
    }
    let message = format!("no profile is called `{}`; there are {}", profile.get_ref(), known.join(", "));
    Err(wrong(path, text, profile.span().start, message))
}

/// Every file below a directory in the order of their names, or the file itself.
pub(crate) fn walk(path: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let error = |path: &Path, source| ConfigError::Read { path: path.display().to_string(), source };
    let mut files = Vec::new();
    let mut pending = vec![path.to_owned()];
    while let Some(next) = pending.pop() {
        if next.is_dir() {
            for entry in std::fs::read_dir(&next).map_err(|source| error(&next, source))? {
                pending.push(entry.map_err(|source| error(&next, source))?.path());
            }
        } else {
            files.push(next);
        }
    }
    files.sort();
    Ok(files)
}

fn source(file: &PathBuf) -> Result<Source, ConfigError> {
    let text = std::fs::read_to_string(file)
        .map_err(|source| ConfigError::Read { path: file.display().to_string(), source })?;
    Ok(Source { name: file.display().to_string(), text })
}
