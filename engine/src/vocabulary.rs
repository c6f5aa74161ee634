//! Path and host groups: the open vocabulary that the operator gives to policies.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::path::AbsolutePath;
use crate::source::{Findings, Source};

/// Named sets of path patterns and of host names.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Vocabulary {
    groups: BTreeMap<String, Vec<Pattern>>,
    hosts: BTreeMap<String, Vec<HostPattern>>,
    /// Hosts that the operator's settings name, each by its whole name.
    #[serde(default)]
    own_hosts: BTreeSet<String>,
}

/// Why a group table was refused.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum VocabularyError {
    /// The table is not the TOML that is expected here.
    #[error("{0}")]
    #[diagnostic(help("docs/authoring.md shows a group"))]
    Toml(Findings),
    /// A pattern can match nothing, or would match by accident.
    #[error("{place}path pattern `{pattern}` of group `{group}` {}", why(pattern))]
    #[diagnostic(help("write `/srv/app`, `~/.ssh` or `**/.env`; a directory stands for everything below it"))]
    Pattern {
        /// File, line and column with a colon behind them, or nothing.
        place: String,
        /// The group it stands in.
        group: String,
        /// The pattern as written.
        pattern: String,
    },
    /// A host pattern is no host.
    #[error("{place}host pattern `{pattern}` of group `{group}` is neither a host nor `*.` and a domain")]
    #[diagnostic(help("write `db.example.com`, `10.0.0.7` or `*.staging.example.com`"))]
    Host {
        /// File, line and column with a colon behind them, or nothing.
        place: String,
        /// The group it stands in.
        group: String,
        /// The pattern as written.
        pattern: String,
    },
}

impl VocabularyError {
    /// The same, of a pattern that stands in this file below these keys.
    #[must_use]
    pub fn within(mut self, source: &Source, keys: &[&str]) -> Self {
        if let Self::Pattern { place, pattern, .. } | Self::Host { place, pattern, .. } = &mut self {
            *place = source.place_of(keys, Some(pattern)).map_or_else(String::new, |found| format!("{found}: "));
        }
        self
    }
}

/// What is wrong with a path pattern.
fn why(pattern: &str) -> &'static str {
    let begins =
        pattern.strip_prefix("**/").or_else(|| pattern.strip_prefix("~/")).or_else(|| pattern.strip_prefix('/'));
    match begins {
        None => "is neither absolute nor begins with `~/` or `**/`",
        Some(rest) if rest.contains("**") => "has `**` elsewhere than at its beginning",
        Some(rest) if components(rest).any(|component| component == "..") => "has `..` in it",
        Some(_) => "names nothing below its beginning",
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupsFile {
    #[serde(default)]
    paths: BTreeMap<String, GroupTable>,
    #[serde(default)]
    hosts: BTreeMap<String, GroupTable>,
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
        let mut vocabulary = Self::default();
        vocabulary.extend(file, text, home)?;
        Ok(vocabulary)
    }

    /// Adds what a further group table has: a site's, which can take nothing away.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn extend(&mut self, file: &str, text: &str, home: &AbsolutePath) -> Result<(), VocabularyError> {
        let source = || Source { name: file.to_owned(), text: text.to_owned() };
        let parsed: GroupsFile =
            toml::from_str(text).map_err(|error| VocabularyError::Toml(Findings(vec![source().misread(&error)])))?;
        for (group, table) in &parsed.paths {
            self.declare(group);
            for pattern in &table.patterns {
                self.add(group, pattern, home)
                    .map_err(|error| error.within(&source(), &["paths", group, "patterns"]))?;
            }
        }
        for (group, table) in &parsed.hosts {
            self.hosts.entry(group.clone()).or_default();
            for pattern in &table.patterns {
                self.add_host(group, pattern)
                    .map_err(|error| error.within(&source(), &["hosts", group, "patterns"]))?;
            }
        }
        Ok(())
    }

    /// Adds a host, or `*.` and a domain, to a host group.
    ///
    /// # Errors
    /// If the pattern is neither.
    pub fn add_host(&mut self, group: &str, pattern: &str) -> Result<(), VocabularyError> {
        let parsed = HostPattern::parse(pattern).ok_or_else(|| VocabularyError::Host {
            place: String::new(),
            group: group.to_owned(),
            pattern: pattern.to_owned(),
        })?;
        self.hosts.entry(group.to_owned()).or_default().push(parsed);
        Ok(())
    }

    /// Adds a host of the operator's own settings, or `*.` and a domain, to a host group.
    ///
    /// # Errors
    /// If the pattern is neither.
    pub fn add_own_host(&mut self, group: &str, pattern: &str) -> Result<(), VocabularyError> {
        self.add_host(group, pattern)?;
        if let Some(HostPattern::Exactly(name)) = HostPattern::parse(pattern) {
            self.own_hosts.insert(name);
        }
        Ok(())
    }

    /// Whether the operator's settings name this very host, in its canonical spelling.
    pub fn is_own_host(&self, host: &str) -> bool {
        self.own_hosts.contains(host)
    }

    /// The host groups that a host, in its canonical spelling, is a member of.
    pub fn host_groups_of<'a>(&'a self, host: &str) -> impl Iterator<Item = &'a str> {
        let fits = |patterns: &[HostPattern]| patterns.iter().any(|pattern| pattern.fits(host));
        let groups: Vec<&str> =
            self.hosts.iter().filter(|(_, patterns)| fits(patterns)).map(|(name, _)| name.as_str()).collect();
        groups.into_iter()
    }

    /// The names of all host groups.
    pub fn host_names(&self) -> impl Iterator<Item = &str> {
        self.hosts.keys().map(String::as_str)
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
        let parsed = Pattern::parse(pattern, home).ok_or_else(|| VocabularyError::Pattern {
            place: String::new(),
            group: group.to_owned(),
            pattern: pattern.to_owned(),
        })?;
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

    /// Takes a working tree that a client keeps among its own files (`.claude/worktrees/NAME`) for the workspace that it is: what lies in it
    /// is no setting of a client's by where the tree lies, only by a name below. Any other workspace changes nothing.
    pub fn enter(&mut self, workspace: &AbsolutePath) {
        let names: Vec<&str> = components(workspace.as_str()).collect();
        let Some(patterns) = self.groups.get_mut("client-config") else { return };
        let is_kept = |end: &usize| {
            let above = names.get(..*end).unwrap_or_default();
            names.get(*end) == Some(&"worktrees") && patterns.iter().any(|pattern| pattern.fits_end(above))
        };
        // The innermost of them. A client's directory in it is one again, the workspace's own place included.
        let last = (1..names.len().saturating_sub(1)).rev().find(is_kept);
        if let Some(top) = last.and_then(|end| names.get(..end + 2)) {
            let top: Vec<String> = top.iter().map(|name| (*name).to_owned()).collect();
            patterns.iter_mut().for_each(|pattern| pattern.beyond = Some(top.clone()));
        }
    }

    /// All groups with what they hold, in one spelling whatever the order in which it was added.
    pub(crate) fn canonical(&self) -> String {
        let paths = self.groups.iter().map(|(group, patterns)| line("path", group, patterns));
        let hosts = self.hosts.iter().map(|(group, patterns)| line("host", group, patterns));
        paths.chain(hosts).collect()
    }

    /// Each path group with what it holds, in one spelling whatever the order in which it was added.
    pub(crate) fn path_groups(&self) -> impl Iterator<Item = (&str, String)> {
        self.groups.iter().map(|(group, patterns)| (group.as_str(), line("path", group, patterns)))
    }

    /// The names of all groups.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.groups.keys().map(String::as_str)
    }

    /// The groups that `path` is a member of: it, or a directory above it, fits a pattern.
    pub fn groups_of<'a>(&'a self, path: &AbsolutePath) -> impl Iterator<Item = &'a str> {
        let names: Vec<&str> = components(path.as_str()).collect();
        let fits = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.fits(&names));
        let groups: Vec<&str> =
            self.groups.iter().filter(|(_, patterns)| fits(patterns)).map(|(name, _)| name.as_str()).collect();
        groups.into_iter()
    }

    /// The groups that `path` is a member of for a name, wherever it lies (`**/.env`).
    pub fn name_groups_of<'a>(&'a self, path: &AbsolutePath) -> impl Iterator<Item = &'a str> {
        let names: Vec<&str> = components(path.as_str()).collect();
        let fits = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.anywhere && pattern.fits(&names));
        let groups: Vec<&str> =
            self.groups.iter().filter(|(_, patterns)| fits(patterns)).map(|(name, _)| name.as_str()).collect();
        groups.into_iter()
    }

    /// The groups that have, or may have, members below `directory`: a pattern reaches below it, or could, as name
    /// patterns always can.
    pub fn groups_below(&self, directory: &AbsolutePath) -> BTreeSet<&str> {
        let names: Vec<&str> = components(directory.as_str()).collect();
        self.groups_with(|pattern| pattern.may_reach_below(&names))
    }

    /// The groups that have members below `directory`, given everything that is there: those whose patterns reach below
    /// it by their place, and those whose name patterns one of the paths fits.
    pub fn groups_among<'p>(&self, directory: &AbsolutePath, paths: impl Iterator<Item = &'p str>) -> BTreeSet<&str> {
        let names: Vec<&str> = components(directory.as_str()).collect();
        let mut found = self.groups_with(|pattern| pattern.reaches_below(&names));
        let mut open: Vec<(&str, Vec<&Pattern>)> = self
            .groups
            .iter()
            .map(|(name, patterns)| (name.as_str(), patterns.iter().filter(|pattern| pattern.anywhere).collect()))
            .collect();
        for path in paths {
            let names: Vec<&str> = components(path).collect();
            open.retain(|(group, patterns)| {
                let fits = patterns.iter().any(|pattern| pattern.fits_end(&names));
                if fits {
                    found.insert(group);
                }
                !fits
            });
        }
        found
    }

    /// Whether a group has members by name: wherever they lie (`**/.env`), or below a directory that no pattern names as a whole
    /// (`/srv/*/secret`).
    pub fn has_name_patterns(&self, group: &str) -> bool {
        self.groups.get(group).is_some_and(|patterns| !patterns.iter().all(Pattern::is_place))
    }

    /// Whether a group's members are all named by places or at any depth (`**/.env`), so that a search of a tree finds those in it.
    /// Not so where a pattern has a wildcard in a place (`/srv/*/secret`), but for `/proc`, of which a session in a mount namespace has
    /// its own.
    pub fn is_searchable(&self, group: &str) -> bool {
        let is_process = |pattern: &Pattern| pattern.components.first().is_some_and(|name| name.fits("proc"));
        let searchable = |pattern: &Pattern| pattern.anywhere || pattern.is_place() || is_process(pattern);
        self.groups.get(group).is_none_or(|patterns| patterns.iter().all(searchable))
    }

    /// Whether a name pattern of some group fits `path` itself.
    pub fn has_name(&self, path: &AbsolutePath) -> bool {
        self.name_length(path).is_some()
    }

    /// The number of components of the longest name pattern that fits `path` itself: 2 for `**/.vscode/tasks.json`.
    pub fn name_length(&self, path: &AbsolutePath) -> Option<usize> {
        let names: Vec<&str> = components(path.as_str()).collect();
        let patterns = self.groups.values().flatten();
        let fitting = patterns.filter(|pattern| !pattern.is_place() && pattern.fits_end(&names));
        fitting.map(|pattern| pattern.components.len()).max()
    }

    /// The last components of all name patterns, to tell quickly that a file's name is none of theirs.
    pub fn last_names(&self) -> LastNames {
        let mut last = LastNames::default();
        let patterns = self.groups.values().flatten().filter(|pattern| !pattern.is_place());
        for pattern in patterns {
            let [.., name] = pattern.components.as_slice() else { continue };
            if let [.., above, _] = pattern.components.as_slice()
                && let Some(literal) = name.as_literal()
            {
                last.inside.push((above.clone(), literal.to_owned()));
            }
            match name.as_literal() {
                Some(literal) => drop(last.literal.insert(literal.to_owned())),
                None => last.wild.push(name.clone()),
            }
        }
        last
    }

    /// The same for any path; one that is none in normal form may be anything.
    pub fn may_have_name(&self, path: &Path) -> bool {
        AbsolutePath::new(&path.to_string_lossy()).is_none_or(|path| self.has_name(&path))
    }

    fn groups_with(&self, fits: impl Fn(&Pattern) -> bool) -> BTreeSet<&str> {
        let groups = self.groups.iter().filter(|(_, patterns)| patterns.iter().any(&fits));
        groups.map(|(name, _)| name.as_str()).collect()
    }

    /// A path for each pattern of a group, in `directory` for those that fit at any depth.
    pub(crate) fn examples(&self, group: &str, directory: &AbsolutePath) -> impl Iterator<Item = AbsolutePath> {
        let patterns = self.groups.get(group).into_iter().flatten();
        patterns.filter_map(|pattern| pattern.example(directory))
    }

    /// The absolute patterns of all groups that have no wildcard.
    pub fn roots(&self) -> BTreeSet<AbsolutePath> {
        self.groups.values().flatten().filter_map(Pattern::root).collect()
    }
}

/// The names in which name patterns end. See [`Vocabulary::last_names`].
#[derive(Clone, Debug, Default)]
pub struct LastNames {
    literal: HashSet<String>,
    wild: Vec<NamePattern>,
    /// Of patterns of several components, the one before the last, with the last where that has no wildcard.
    inside: Vec<(NamePattern, String)>,
}

impl LastNames {
    /// Whether some name pattern may fit a path that ends in this name. If not, [`Vocabulary::has_name`] is false for it.
    pub fn may_fit(&self, name: &str) -> bool {
        self.literal.contains(name) || self.wild.iter().any(|pattern| pattern.fits(name))
    }

    /// The names in which patterns end that begin with a directory of this name: `tasks.json` for `.vscode`.
    pub fn inside<'a>(&'a self, directory: &'a str) -> impl Iterator<Item = &'a str> {
        self.inside.iter().filter(move |(above, _)| above.fits(directory)).map(|(_, name)| name.as_str())
    }

    /// Whether some name pattern ends in exactly this name, without a wildcard.
    pub fn is_literal(&self, name: &str) -> bool {
        self.literal.contains(name)
    }
}

/// A group and its members, sorted and each told once.
fn line(kind: &str, group: &str, members: &[impl ToString]) -> String {
    let members: BTreeSet<String> = members.iter().map(ToString::to_string).collect();
    let members: String = members.iter().map(|member| format!(" {member}")).collect();
    format!("{kind} {group:?}{members}\n")
}

/// One pattern: components from the root directory, or at any depth.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Pattern {
    anywhere: bool,
    components: Vec<NamePattern>,
    /// In this directory only names below it count, and none of its own or above it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    beyond: Option<Vec<String>>,
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
        if components(&rest).any(|component| component == ".." || component.contains("**")) {
            return None;
        }
        let components: Vec<NamePattern> = components(&rest).map(NamePattern::parse).collect();
        (!components.is_empty()).then_some(Self { anywhere, components, beyond: None })
    }

    fn literal(directory: &AbsolutePath) -> Self {
        let components = components(directory.as_str()).map(NamePattern::literal).collect();
        Self { anywhere: false, components, beyond: None }
    }

    /// The path, or a directory above it, fits.
    fn fits(&self, path: &[&str]) -> bool {
        let starts = if self.anywhere { path.len() } else { 1 };
        let known = self.known(path);
        (0..starts.max(1)).any(|start| {
            start + self.components.len() > known && path.get(start..).is_some_and(|rest| self.fits_start(rest))
        })
    }

    /// How many components of a path do not count: those of the directory that [`Self::beyond`] names.
    fn known(&self, path: &[&str]) -> usize {
        let within =
            |top: &&Vec<String>| top.len() <= path.len() && top.iter().zip(path).all(|(own, name)| own == name);
        self.beyond.as_ref().filter(within).map_or(0, Vec::len)
    }

    fn fits_start(&self, path: &[&str]) -> bool {
        path.len() >= self.components.len()
            && self.components.iter().zip(path).all(|(component, name)| component.fits(name))
    }

    /// The path itself fits, to its last component.
    fn fits_end(&self, path: &[&str]) -> bool {
        let start = path.len().checked_sub(self.components.len()).filter(|_| path.len() > self.known(path));
        start.filter(|start| self.anywhere || *start == 0).is_some_and(|start| {
            // From the end: names of files differ more than those of the directories above them.
            let tail = path.get(start..).unwrap_or_default();
            self.components.iter().zip(tail).rev().all(|(component, name)| component.fits(name))
        })
    }

    fn may_reach_below(&self, directory: &[&str]) -> bool {
        self.anywhere || self.reaches_below(directory)
    }

    /// By its place alone: the pattern holds the directory, or goes on below it.
    fn reaches_below(&self, directory: &[&str]) -> bool {
        self.fits(directory)
            || (!self.anywhere
                && self.components.len() > directory.len()
                && directory.iter().zip(&self.components).all(|(name, component)| component.fits(name)))
    }

    /// It names one directory or file.
    fn is_place(&self) -> bool {
        !self.anywhere && self.components.iter().all(|component| component.as_literal().is_some())
    }

    fn example(&self, directory: &AbsolutePath) -> Option<AbsolutePath> {
        let mut path = if self.anywhere { directory.as_str().to_owned() } else { String::new() };
        for component in &self.components {
            path.push('/');
            path.push_str(&component.pieces.join("x"));
            path.push_str(if component.pieces.is_empty() { "" } else { "x" });
            path.push_str(&component.last);
        }
        AbsolutePath::new(&path)
    }

    fn root(&self) -> Option<AbsolutePath> {
        if !self.is_place() {
            return None;
        }
        let names: Option<String> =
            self.components.iter().map(|component| component.as_literal().map(|name| format!("/{name}"))).collect();
        AbsolutePath::new(&names?)
    }
}

/// Unlike that of every other pattern: names stand in quotes, so that a `*` in one is no wildcard.
impl fmt::Display for Pattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.anywhere { "**" } else { "" })?;
        self.components.iter().try_for_each(|component| write!(formatter, "/{component}"))?;
        self.beyond.iter().try_for_each(|top| write!(formatter, " beyond {top:?}"))
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pieces.iter().try_for_each(|piece| write!(formatter, "{piece:?}*"))?;
        write!(formatter, "{:?}", self.last)
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(name) => write!(formatter, "{name:?}"),
            Self::Below(domain) => write!(formatter, "*{domain:?}"),
        }
    }
}

/// A host, or everything below a domain.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum HostPattern {
    Exactly(String),
    Below(String),
}

impl HostPattern {
    fn parse(text: &str) -> Option<Self> {
        let (below, name) = match text.strip_prefix("*.") {
            Some(domain) => (true, domain),
            None => (false, text),
        };
        let wild = name.contains(['*', '?', '/', ' ']) || name.is_empty();
        let name = crate::host::canonical(name).filter(|name| !wild && !name.is_empty())?;
        Some(if below { Self::Below(format!(".{name}")) } else { Self::Exactly(name) })
    }

    fn fits(&self, host: &str) -> bool {
        match self {
            Self::Exactly(name) => host == name,
            Self::Below(domain) => host.ends_with(domain.as_str()),
        }
    }
}

/// A pattern for one name, a path component or a variable: literal pieces with any run of characters between them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NamePattern {
    /// Each followed by a `*`.
    pieces: Vec<String>,
    /// Behind the last `*`, or all there is.
    last: String,
}

impl NamePattern {
    /// Reads a pattern: `*` stands for any run of characters, everything else for itself.
    pub fn parse(text: &str) -> Self {
        let mut pieces: Vec<String> = text.split('*').map(str::to_owned).collect();
        let last = pieces.pop().unwrap_or_default();
        Self { pieces, last }
    }

    /// A directory may be called `*`, and then it is itself only.
    fn literal(name: &str) -> Self {
        Self { pieces: Vec::new(), last: name.to_owned() }
    }

    fn as_literal(&self) -> Option<&str> {
        self.pieces.is_empty().then_some(self.last.as_str())
    }

    /// Whether the whole name fits.
    pub fn fits(&self, name: &str) -> bool {
        let Some((first, middle)) = self.pieces.split_first() else { return self.last == name };
        let Some(mut rest) = name.strip_prefix(first.as_str()) else { return false };
        for piece in middle {
            match rest.split_once(piece.as_str()) {
                Some((_, behind)) => rest = behind,
                None => return false,
            }
        }
        rest.ends_with(self.last.as_str())
    }
}

fn components(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|component| !component.is_empty() && *component != ".")
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
    fn a_working_tree_of_a_client_is_a_workspace() {
        let entered = |workspace: &str| {
            let mut vocabulary = Vocabulary::default();
            for pattern in ["**/.claude", "~/.cursor", "**/.mcp.json"] {
                vocabulary.add("client-config", pattern, &path("/home/u")).unwrap();
            }
            vocabulary.add("other", "**/.claude", &path("/home/u")).unwrap();
            vocabulary.enter(&path(workspace));
            vocabulary
        };
        let is_settings = |vocabulary: &Vocabulary, file: &str| {
            vocabulary.groups_of(&path(file)).any(|group| group == "client-config")
        };
        for (workspace, file, expected) in [
            ("/w/.claude/worktrees/a", "/w/.claude/worktrees/a", false),
            ("/w/.claude/worktrees/a", "/w/.claude/worktrees/a/src/x", false),
            ("/w/.claude/worktrees/a", "/w/.claude/worktrees/a/.claude/settings.json", true),
            ("/w/.claude/worktrees/a", "/w/.claude/worktrees/a/src/.mcp.json", true),
            ("/w/.claude/worktrees/a", "/w/.claude/worktrees/b/x", true),
            ("/w/.claude/worktrees/a", "/w/.claude/settings.json", true),
            ("/w/.claude/worktrees/a/src", "/w/.claude/worktrees/a/src/x", false),
            ("/w/.claude/worktrees/a/src", "/w/.claude/worktrees/a/.mcp.json", true),
            ("/w/.claude/worktrees/a/.claude", "/w/.claude/worktrees/a/.claude/settings.json", true),
            ("/w/.claude/worktrees/a/.claude/sub", "/w/.claude/worktrees/a/.claude/sub/x", true),
            ("/w/.claude/worktrees/a/.claude/worktrees/b", "/w/.claude/worktrees/a/.claude/worktrees/b/x", false),
            ("/w/.claude/worktrees/a/.claude/worktrees/b", "/w/.claude/worktrees/a/.claude/settings.json", true),
            ("/home/u/.cursor/worktrees/p/1", "/home/u/.cursor/worktrees/p/1/x", false),
            ("/home/u/.cursor/worktrees/p/1", "/home/u/.cursor/mcp.json", true),
            ("/w/.claude/worktrees", "/w/.claude/worktrees/a/x", true),
            ("/w/.claude/commands/a", "/w/.claude/commands/a/x", true),
            ("/w", "/w/.claude/worktrees/a/x", true),
        ] {
            assert_eq!(is_settings(&entered(workspace), file), expected, "{file} from {workspace}");
        }
        let vocabulary = entered("/w/.claude/worktrees/a");
        assert!(vocabulary.groups_of(&path("/w/.claude/worktrees/a/x")).any(|group| group == "other"));
        assert!(vocabulary.has_name(&path("/w/.claude/worktrees/a/.claude")));
        let below = |directory| vocabulary.groups_among(&path(directory), std::iter::empty()).contains("client-config");
        assert!(!below("/w/.claude/worktrees/a") && !below("/w/.claude/worktrees/a/src") && below("/w/.claude"));
        assert_ne!(vocabulary.canonical(), entered("/w").canonical());
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
    fn names_that_patterns_are_about() {
        for (pattern, member, expected) in [
            ("**/.env", "/a/b/.env", true),
            ("**/.env", "/a/.env/x", false),
            ("**/*.pem", "/a/key.pem", true),
            ("**/.git/hooks", "/w/.git/hooks", true),
            ("**/.git/hooks", "/w/.git", false),
            ("/w/.env", "/w/.env", false),
        ] {
            assert_eq!(vocabulary(pattern).has_name(&path(member)), expected, "{member} by {pattern}");
        }
    }

    #[test]
    fn hosts() {
        let mut vocabulary = Vocabulary::default();
        for pattern in ["*.Staging.example.com", "db.example.com.", "10.0.0.7"] {
            vocabulary.add_host("g", pattern).unwrap();
        }
        for (host, expected) in [
            ("a.staging.example.com", true),
            ("a.b.staging.example.com", true),
            ("staging.example.com", false),
            ("evilstaging.example.com", false),
            ("db.example.com", true),
            ("10.0.0.7", true),
            ("10.0.0.70", false),
            ("", false),
        ] {
            assert_eq!(vocabulary.host_groups_of(host).next().is_some(), expected, "{host}");
        }
        for pattern in ["", "*", "*.", "a*.example.com", "https://x/"] {
            assert!(vocabulary.add_host("g", pattern).is_err(), "{pattern}");
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
    fn name_patterns() {
        for (pattern, name, expected) in [
            ("*_TOKEN", "GH_TOKEN", true),
            ("*_TOKEN", "TOKEN", false),
            ("A*B*C", "AxByC", true),
            ("A*B*C", "AC", false),
            ("HOME", "HOMES", false),
            ("*", "", true),
        ] {
            assert_eq!(NamePattern::parse(pattern).fits(name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn what_lies_below_as_it_is() {
        let there = ["/w/src/a.rs", "/w/src/deep", "/w/src/deep/.env", "/w/.git", "/w/.git/hooks"];
        for (pattern, expected) in [
            ("**/.env", true),
            ("**/*.pem", false),
            ("**/.git/hooks", true),
            ("**/hooks/x", false),
            ("/w/src/not-there", true),
            ("/x", false),
            ("/", false),
        ] {
            let mut vocabulary = Vocabulary::default();
            let parsed = vocabulary.add("g", pattern, &path("/home/u"));
            assert_eq!(parsed.is_err(), pattern == "/", "{pattern}");
            let found = !vocabulary.groups_among(&path("/w"), there.into_iter()).is_empty();
            assert_eq!(found, expected, "{pattern}");
        }
    }

    #[test]
    fn one_meaning_has_one_spelling_and_another_has_another() {
        let spelled = |paths: &[&str], hosts: &[&str]| {
            let mut vocabulary = Vocabulary::default();
            paths.iter().for_each(|pattern| vocabulary.add("g", pattern, &path("/home/u")).unwrap());
            hosts.iter().for_each(|pattern| vocabulary.add_host("g", pattern).unwrap());
            vocabulary.canonical()
        };
        assert_eq!(spelled(&["/a", "~/b"], &["h"]), spelled(&["/home/u/b", "/a", "/a/"], &["h", "H."]));
        let mut star = Vocabulary::default();
        star.add_directory("g", &path("/a*"));
        let mut declared = Vocabulary::default();
        declared.declare("g");
        let different = [
            spelled(&[], &[]),
            declared.canonical(),
            star.canonical(),
            spelled(&["/a"], &[]),
            spelled(&["/a*"], &[]),
            spelled(&["**/a"], &[]),
            spelled(&["/a/b"], &[]),
            spelled(&[], &["a.b"]),
            spelled(&[], &["*.a.b"]),
        ];
        assert_eq!(different.iter().collect::<BTreeSet<_>>().len(), different.len(), "{different:#?}");
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
