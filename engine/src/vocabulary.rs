//! Path groups: the open vocabulary that the operator gives to policies.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::path::AbsolutePath;

/// Named sets of path patterns.
#[derive(Clone, Debug, Default)]
pub struct Vocabulary {
    groups: BTreeMap<String, Vec<Pattern>>,
}

/// Why a group table was refused.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum VocabularyError {
    /// The table is not the TOML that is expected here.
    #[error("{file}: {message}")]
    Toml {
        /// The table's name.
        file: String,
        /// What the TOML reader says, with line and column.
        message: String,
    },
    /// A pattern can match nothing, or would match by accident.
    #[error("path pattern `{pattern}` of group `{group}` is neither absolute nor begins with `~/` or `**/`")]
    #[diagnostic(help("write `/srv/app`, `~/.ssh` or `**/.env`; a directory stands for everything below it"))]
    Pattern {
        /// The group it stands in.
        group: String,
        /// The pattern as written.
        pattern: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupsFile {
    paths: BTreeMap<String, GroupTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupTable {
    #[expect(dead_code, reason = "for readers of the table; required so that every group says what it is for")]
    reason: String,
    patterns: Vec<String>,
}

impl Vocabulary {
    /// Reads a group table such as `policies/groups.toml`; `home` is what `~` stands for.
    ///
    /// # Errors
    /// If the text is not such a table, or a pattern is neither absolute nor begins with `~/` or `**/`.
    pub fn parse(file: &str, text: &str, home: &AbsolutePath) -> Result<Self, VocabularyError> {
        let parsed: GroupsFile = toml::from_str(text)
            .map_err(|error| VocabularyError::Toml { file: file.to_owned(), message: error.to_string() })?;
        let mut vocabulary = Self::default();
        for (group, table) in &parsed.paths {
            vocabulary.declare(group);
            for pattern in &table.patterns {
                vocabulary.add(group, pattern, home)?;
            }
        }
        Ok(vocabulary)
    }

    /// Makes `group` known, with no member yet.
    pub fn declare(&mut self, group: &str) {
        self.groups.entry(group.to_owned()).or_default();
    }

    /// Adds a pattern to a group.
    ///
    /// # Errors
    /// If the pattern is neither absolute nor begins with `~/` or `**/`.
    pub fn add(&mut self, group: &str, pattern: &str, home: &AbsolutePath) -> Result<(), VocabularyError> {
        let parsed = Pattern::parse(pattern, home)
            .ok_or_else(|| VocabularyError::Pattern { group: group.to_owned(), pattern: pattern.to_owned() })?;
        self.groups.entry(group.to_owned()).or_default().push(parsed);
        Ok(())
    }

    /// Adds a directory with everything below it to a group.
    pub fn add_directory(&mut self, group: &str, directory: &AbsolutePath) {
        self.groups.entry(group.to_owned()).or_default().push(Pattern::literal(directory));
    }

    /// Adds the real path of every directory that is named through symbolic links, so that a group means the same
    /// files under both names. `real` resolves a path; `None` if it cannot.
    pub fn add_real_paths(&mut self, real: impl Fn(&AbsolutePath) -> Option<AbsolutePath>) {
        for patterns in self.groups.values_mut() {
            let aliases: Vec<Pattern> = patterns
                .iter()
                .filter_map(Pattern::root)
                .filter_map(|root| real(&root).filter(|path| *path != root))
                .map(|path| Pattern::literal(&path))
                .collect();
            patterns.extend(aliases);
        }
    }

    /// The names of all groups.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.groups.keys().map(String::as_str)
    }

    /// The groups that `path` is a member of: it, or a directory above it, fits a pattern.
    pub fn groups_of<'a>(&'a self, path: &AbsolutePath) -> impl Iterator<Item = &'a str> {
        let components: Vec<String> = components(path.as_str()).map(str::to_owned).collect();
        self.groups
            .iter()
            .filter(move |(_, patterns)| patterns.iter().any(|pattern| pattern.fits(&components)))
            .map(|(name, _)| name.as_str())
    }

    /// The groups that have, or may have, members below `directory`: a pattern reaches below it, or could, as name
    /// patterns always can.
    pub fn groups_below(&self, directory: &AbsolutePath) -> BTreeSet<&str> {
        let components: Vec<String> = components(directory.as_str()).map(str::to_owned).collect();
        self.groups
            .iter()
            .filter(|(_, patterns)| patterns.iter().any(|pattern| pattern.may_reach_below(&components)))
            .map(|(name, _)| name.as_str())
            .collect()
    }

    /// The absolute patterns of all groups as paths, up to their first wildcard: where kernel rules may begin.
    pub fn roots(&self) -> BTreeSet<AbsolutePath> {
        self.groups.values().flatten().filter_map(Pattern::root).collect()
    }
}

/// One pattern: components from the root directory, or at any depth.
#[derive(Clone, Debug)]
struct Pattern {
    anywhere: bool,
    components: Vec<String>,
}

impl Pattern {
    fn parse(text: &str, home: &AbsolutePath) -> Option<Self> {
        let (anywhere, rest) = if let Some(rest) = text.strip_prefix("**/") {
            (true, rest.to_owned())
        } else if let Some(rest) = text.strip_prefix("~/") {
            (false, format!("{}/{rest}", home.as_str()))
        } else if text.starts_with('/') {
            (false, text.to_owned())
        } else {
            return None;
        };
        let components: Vec<String> = components(&rest).map(str::to_owned).collect();
        if components.iter().any(|component| component == ".." || component.contains("**")) {
            return None;
        }
        (!components.is_empty()).then_some(Self { anywhere, components })
    }

    fn literal(directory: &AbsolutePath) -> Self {
        // A directory may be called `*`: escaped, so that it fits only itself.
        let components = components(directory.as_str()).map(|component| component.replace('*', "\\*")).collect();
        Self { anywhere: false, components }
    }

    fn fits(&self, path: &[String]) -> bool {
        let starts = if self.anywhere { path.len() } else { 1 };
        (0..starts.max(1)).any(|start| path.get(start..).is_some_and(|rest| fits_prefix(&self.components, rest)))
    }

    fn may_reach_below(&self, directory: &[String]) -> bool {
        self.anywhere
            || self.fits(directory)
            || (self.components.len() > directory.len()
                && directory.iter().zip(&self.components).all(|(name, pattern)| fits_component(pattern, name)))
    }

    fn root(&self) -> Option<AbsolutePath> {
        if self.anywhere {
            return None;
        }
        let literal: Vec<_> = self.components.iter().take_while(|component| !component.contains('*')).collect();
        if literal.len() < self.components.len() {
            return None;
        }
        let text: String = literal.iter().map(|component| format!("/{component}")).collect();
        AbsolutePath::new(&text)
    }
}

fn components(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|component| !component.is_empty() && *component != ".")
}

fn fits_prefix(pattern: &[String], path: &[String]) -> bool {
    path.len() >= pattern.len() && pattern.iter().zip(path).all(|(pattern, name)| fits_component(pattern, name))
}

/// `*` fits any run of characters; `\*` is a star.
fn fits_component(pattern: &str, name: &str) -> bool {
    let mut literal = String::new();
    let mut pieces = Vec::new();
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => literal.extend(characters.next()),
            '*' => pieces.push(std::mem::take(&mut literal)),
            other => literal.push(other),
        }
    }
    let Some((first, middle)) = pieces.split_first() else { return literal == name };
    let Some(mut rest) = name.strip_prefix(first.as_str()) else { return false };
    for piece in middle {
        match rest.split_once(piece.as_str()) {
            Some((_, behind)) => rest = behind,
            None => return false,
        }
    }
    rest.ends_with(literal.as_str())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn path(text: &str) -> AbsolutePath {
        AbsolutePath::new(text).unwrap()
    }

    fn vocabulary(pattern: &str) -> Vocabulary {
        let mut vocabulary = Vocabulary::default();
        vocabulary.add("g", pattern, &path("/home/u")).unwrap();
        vocabulary
    }

    #[test]
    fn membership() {
        for (pattern, member, expected) in [
            ("/usr", "/usr", true),
            ("/usr", "/usr/bin/ls", true),
            ("/usr", "/usrx", false),
            ("~/.ssh", "/home/u/.ssh/id_ed25519", true),
            ("~/.ssh", "/root/.ssh", false),
            ("**/.env", "/a/b/.env", true),
            ("**/.env", "/.env", true),
            ("**/.env", "/a/.env/x", true),
            ("**/.env", "/a/x.env", false),
            ("**/*.pem", "/a/key.pem", true),
            ("**/*.pem", "/a/key.pem.txt", false),
            ("**/.git/hooks", "/w/.git/hooks/pre-commit", true),
            ("**/.git/hooks", "/w/.git/config", false),
            ("/proc/*/environ", "/proc/1/environ", true),
            ("/proc/*/environ", "/proc/environ", false),
            ("/etc/java*", "/etc/java-17/x", true),
        ] {
            let is_member = vocabulary(pattern).groups_of(&path(member)).next().is_some();
            assert_eq!(is_member, expected, "{member} in {pattern}");
        }
    }

    #[test]
    fn what_may_lie_below() {
        for (pattern, directory, expected) in [
            ("/home/u/.ssh", "/home", true),
            ("/home/u/.ssh", "/home/u/.ssh/x", true),
            ("/home/u/.ssh", "/srv", false),
            ("**/.env", "/srv", true),
            ("/proc/*/environ", "/proc/7", true),
            ("/proc/*/environ", "/sys", false),
            ("/x", "/", true),
        ] {
            assert_eq!(
                !vocabulary(pattern).groups_below(&path(directory)).is_empty(),
                expected,
                "{pattern} {directory}"
            );
        }
    }

    #[test]
    fn a_directory_named_star_is_itself_only() {
        let mut vocabulary = Vocabulary::default();
        vocabulary.add_directory("g", &path("/srv/*"));
        assert_eq!(vocabulary.groups_of(&path("/srv/app")).count(), 0);
        assert_eq!(vocabulary.groups_of(&path("/srv/*/x")).count(), 1);
    }

    #[test]
    fn refused_patterns() {
        for pattern in ["ssh", "../x", "", "~user/x", "/a/**/b", "**/"] {
            assert!(Vocabulary::default().add("g", pattern, &path("/h")).is_err(), "{pattern}");
        }
    }

    #[test]
    fn the_shipped_groups_parse() {
        let (file, text) = palisade_policies::GROUPS;
        let vocabulary = Vocabulary::parse(file, text, &path("/home/u")).unwrap();
        let groups: Vec<_> = vocabulary.groups_of(&path("/home/u/.ssh/id_ed25519")).collect();
        assert_eq!(groups, ["secrets"]);
    }
}
