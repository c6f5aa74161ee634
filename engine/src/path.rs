//! Absolute paths in normal form: the only paths that policies are asked about.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Bytes of the longest path that the kernel takes (`PATH_MAX` less the NUL byte).
const MAX_BYTES: usize = 4095;

/// Names in the deepest path. Every directory above a path goes to Cedar with it, so that what one question takes grows
/// with the square of the depth; nothing real lies half as deep.
const MAX_NAMES: usize = 256;

/// An absolute path as text: begins with `/`, has no `.` or `..` component, no doubled and no trailing slash, and is no
/// longer than [`MAX_BYTES`] and no deeper than [`MAX_NAMES`].
///
/// Policies compare paths as exact strings, so two spellings of one file would be two files to them; [`Self::new`] is
/// the only door.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct AbsolutePath(String);

/// A text that is no absolute path.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not an absolute path")]
pub struct NoAbsolutePath(String);

/// Only what [`AbsolutePath::new`] takes, and as it is spelled then.
impl TryFrom<String> for AbsolutePath {
    type Error = NoAbsolutePath;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(&text).ok_or(NoAbsolutePath(text))
    }
}

impl AbsolutePath {
    /// The root directory.
    pub fn root() -> Self {
        Self("/".to_owned())
    }

    /// Takes `path` if it is absolute; `//` and `/./` are folded, `..` is refused because only the file system knows
    /// where it leads. Returns `None` for anything else, a NUL byte, a path that is too long and one that is too deep
    /// included.
    pub fn new(path: &str) -> Option<Self> {
        if !path.starts_with('/') || path.contains('\0') {
            return None;
        }
        let mut text = String::with_capacity(path.len().min(MAX_BYTES));
        let mut names = 0;
        for component in path.split('/') {
            match component {
                "" | "." => {}
                ".." => return None,
                name => {
                    names += 1;
                    if names > MAX_NAMES || text.len() + 1 + name.len() > MAX_BYTES {
                        return None;
                    }
                    text.push('/');
                    text.push_str(name);
                }
            }
        }
        Some(if text.is_empty() { Self::root() } else { Self(text) })
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last component; empty for the root directory.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// The part of the name behind its last dot, without the dot; empty if there is none or the name begins with it.
    pub fn extension(&self) -> &str {
        match self.name().rsplit_once('.') {
            Some((stem, extension)) if !stem.is_empty() => extension,
            _ => "",
        }
    }

    /// The path that `name` has in this directory. `None` if `name` is not one plain component.
    pub fn child(&self, name: &str) -> Option<Self> {
        if name.is_empty() || name.contains('/') {
            return None;
        }
        Self::new(&format!("{}/{name}", self.0))
    }

    /// The directory that it lies in; `None` for the root directory.
    pub fn parent(&self) -> Option<Self> {
        self.ancestors().next()
    }

    /// Every directory above this path, the nearest first, the root directory last.
    pub fn ancestors(&self) -> impl Iterator<Item = Self> {
        let mut rest = if self.0 == "/" { None } else { Some(self.0.as_str()) };
        std::iter::from_fn(move || {
            let (parent, _) = rest?.rsplit_once('/')?;
            rest = if parent.is_empty() { None } else { Some(parent) };
            Some(if parent.is_empty() { Self::root() } else { Self(parent.to_owned()) })
        })
    }

    /// Whether this path is `directory` or lies below it.
    pub fn is_within(&self, directory: &Self) -> bool {
        directory.0 == "/"
            || self.0.strip_prefix(&directory.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl fmt::Display for AbsolutePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{AbsolutePath, MAX_BYTES, MAX_NAMES};

    #[test]
    fn only_absolute_paths_without_parent_steps_are_taken() {
        for (given, expected) in [
            ("/", Some("/")),
            ("//srv//app/", Some("/srv/app")),
            ("/srv/./app", Some("/srv/app")),
            ("/srv/../etc", None),
            ("srv", None),
            ("", None),
            ("/a\0b", None),
            ("/..a/b..", Some("/..a/b..")),
        ] {
            assert_eq!(AbsolutePath::new(given).as_ref().map(AbsolutePath::as_str), expected, "{given:?}");
        }
    }

    #[test]
    fn what_is_too_long_or_too_deep_is_no_path() {
        for (path, taken) in [
            (format!("/{}", "a".repeat(MAX_BYTES - 1)), true),
            (format!("/{}", "a".repeat(MAX_BYTES)), false),
            (format!("/{}/{}", "a".repeat(2000), "b".repeat(2100)), false),
            (format!("{}x", "/./".repeat(MAX_BYTES)), true),
            ("/a".repeat(MAX_NAMES), true),
            ("/a".repeat(MAX_NAMES + 1), false),
            ("/a".repeat(30_000), false),
        ] {
            assert_eq!(AbsolutePath::new(&path).is_some(), taken, "{} bytes", path.len());
        }
    }

    #[test]
    fn ancestors_end_at_the_root() {
        let path = AbsolutePath::new("/a/b/c").unwrap();
        let above: Vec<_> = path.ancestors().map(|path| path.to_string()).collect();
        assert_eq!(above, ["/a/b", "/a", "/"]);
        assert_eq!(AbsolutePath::root().ancestors().count(), 0);
    }

    #[test]
    fn within_is_by_component_not_by_prefix() {
        let directory = AbsolutePath::new("/srv/app").unwrap();
        for (path, within) in [("/srv/app", true), ("/srv/app/x", true), ("/srv/appshop", false), ("/srv", false)] {
            assert_eq!(AbsolutePath::new(path).unwrap().is_within(&directory), within, "{path}");
        }
    }

    #[test]
    fn names_and_extensions() {
        for (path, name, extension) in
            [("/", "", ""), ("/a/b.tar.gz", "b.tar.gz", "gz"), ("/.env", ".env", ""), ("/a.", "a.", "")]
        {
            let path = AbsolutePath::new(path).unwrap();
            assert_eq!((path.name(), path.extension()), (name, extension));
        }
    }
}
