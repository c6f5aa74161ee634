//! What is written in settings, as what it means: times, sizes and paths, and where in its file it stands.

use std::path::{Path, PathBuf};
use std::time::Duration;

use palisade_engine::{AbsolutePath, Source};
use palisade_runner::control::user_name;
use palisade_runner::facts;
use serde::Deserialize;

use super::ConfigError;

/// A time, as a text with its unit or as seconds.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "a time such as `30s` or `5m`, or a number of seconds")]
pub(super) enum Time {
    Seconds(u64),
    Text(String),
}

impl Time {
    pub(super) fn read(&self, key: &str) -> Result<Duration, ConfigError> {
        match self {
            Self::Seconds(seconds) => duration(key, &seconds.to_string()),
            Self::Text(text) => duration(key, text),
        }
    }
}

/// `90`, `90s`, `500ms`, `5m`, `2h`, `30d`.
pub(crate) fn duration(key: &str, text: &str) -> Result<Duration, ConfigError> {
    let (number, unit) = split_unit(text);
    let factor = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => 0,
    };
    let value = number.and_then(|number| number.checked_mul(factor)).filter(|value| *value > 0);
    let expected = "a time such as `30s`, `5m`, `2h` or `30d`";
    value.map(Duration::from_millis).ok_or_else(|| ConfigError::Value {
        key: key.to_owned(),
        value: text.to_owned(),
        expected,
    })
}

/// `4096`, `64KiB`, `4MiB`, `2GiB`.
pub(crate) fn size(key: &str, text: &str) -> Result<u64, ConfigError> {
    let (number, unit) = split_unit(text);
    let factor = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => 0,
    };
    let value = number.and_then(|number| number.checked_mul(factor)).filter(|value| *value > 0);
    let expected = "a size such as `64KiB` or `2GiB`";
    value.ok_or_else(|| ConfigError::Value { key: key.to_owned(), value: text.to_owned(), expected })
}

fn split_unit(text: &str) -> (Option<u64>, &str) {
    let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    match text.split_at_checked(digits) {
        Some((number, unit)) => (number.parse().ok(), unit),
        None => (None, text),
    }
}

/// A path in a settings file is relative to that file.
pub(super) fn beside(file: &Path, path: Option<&Path>) -> Option<PathBuf> {
    path.map(|path| file.parent().unwrap_or(Path::new("/")).join(path))
}

/// Makes a path of what a settings file names.
pub(super) fn own(file: &Path) -> impl Fn(&str) -> PathBuf {
    let home = home().ok();
    move |named: &str| {
        let expanded = home.as_ref().map_or_else(|| PathBuf::from(named), |home| expand(named, home));
        beside(file, Some(&expanded)).unwrap_or(expanded)
    }
}

pub(super) fn expand(path: &str, home: &AbsolutePath) -> PathBuf {
    match path.strip_prefix("~/") {
        Some(rest) => Path::new(home.as_str()).join(rest),
        None => PathBuf::from(path),
    }
}

pub(super) fn absolute(path: &Path) -> Result<PathBuf, ConfigError> {
    std::path::absolute(path).map_err(|source| ConfigError::Read { path: path.display().to_string(), source })
}

/// A path that need not exist, in normal form.
pub(super) fn named(path: &Path) -> Option<AbsolutePath> {
    AbsolutePath::new(std::path::absolute(path).ok()?.to_str()?)
}

/// What Palisade keeps for this user.
pub(super) fn state() -> Result<PathBuf, ConfigError> {
    let state = match std::env::var_os("XDG_STATE_HOME").map(PathBuf::from) {
        Some(path) if path.is_absolute() => path,
        _ => Path::new(home()?.as_str()).join(".local/state"),
    };
    Ok(state.join("palisade"))
}

/// Where sockets lie that no longer hold once this user has logged out; beside the record where the system has no such place. None without
/// a home.
pub(crate) fn runtime_directory() -> Option<PathBuf> {
    let set = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute() && path.is_dir());
    set.map(|path| path.join("palisade")).or_else(|| state().ok().map(|state| state.join("standby")))
}

pub(super) fn home() -> Result<AbsolutePath, ConfigError> {
    let home = std::env::var_os("HOME").and_then(|home| AbsolutePath::new(home.to_str()?));
    let home = home.ok_or(ConfigError::Home)?;
    Ok(facts::real_directory(Path::new(home.as_str())).unwrap_or(home))
}

/// The name of the user that runs Palisade, as the system's user database has it.
pub(crate) fn os_user() -> String {
    user_name(nix::unistd::getuid().as_raw())
}

/// A settings file, to look for a place in it.
pub(super) fn source_of(path: &Path) -> Source {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    Source { name: path.display().to_string(), text }
}

/// Where a settings file sets a key, or else one above it; `element` is a text in the list that the value is.
pub(super) fn place_of(path: &Path, keys: &[&str], element: Option<&str>) -> String {
    let source = source_of(path);
    let mut keys = keys;
    while !keys.is_empty() {
        if let Some(place) = source.place_of(keys, element) {
            return place;
        }
        keys = keys.split_last().map_or(&[], |(_, above)| above);
    }
    source.name
}

/// What is wrong with a settings file, and where in it.
pub(crate) fn wrong(path: &Path, text: &str, offset: usize, message: String) -> ConfigError {
    ConfigError::Toml { place: place(path, text, offset), message }
}

/// The same, of what the TOML reader says.
pub(crate) fn misread(path: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
    let source = Source { name: path.display().to_string(), text: text.to_owned() };
    wrong(path, text, error.span().map_or(0, |span| span.start), source.misread(error).message)
}

fn place(path: &Path, text: &str, offset: usize) -> String {
    let before: String =
        text.char_indices().take_while(|(at, _)| *at < offset).map(|(_, character)| character).collect();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("{}:{line}:{column}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes() {
        for (text, expected) in
            [("90", Some(90_000)), ("5m", Some(300_000)), ("250ms", Some(250)), ("0s", None), ("s", None), ("1w", None)]
        {
            assert_eq!(duration("k", text).ok().map(|time| time.as_millis()), expected, "{text}");
        }
        for (text, expected) in
            [("1", Some(1)), ("2KiB", Some(2048)), ("1GiB", Some(1 << 30)), ("1GB", None), ("-1", None)]
        {
            assert_eq!(size("k", text).ok(), expected, "{text}");
        }
    }
}
