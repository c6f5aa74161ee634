//! What a glob stands for now: at least every file that bash would put in its place.
//!
//! Which of bash's options are set in a session is not known here, so that hidden names and names in another case fit
//! too. Only patterns of plain characters, `*`, `?` and `[…]` are expanded; of any other nothing is said.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use palisade_engine::NamePattern;

use super::lookup_budget::{Sight, is_no_directory};

/// Files that one pattern may stand for.
const MAX_MATCHES: usize = 512;

/// The files that the word `raw` may stand for, whose literal beginning is `prefix`. A pattern that fits nothing stands
/// for itself. `None` if it cannot be told.
pub(super) fn expand(raw: &str, prefix: &str, base: &Path, sight: &Sight<'_>) -> Option<Vec<PathBuf>> {
    // The effect's target may be a part of the word only; and what is quoted there is no pattern.
    let is_whole = raw.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(['*', '?', '[']));
    if !is_whole || !raw.chars().all(is_plain) || raw.contains("**") {
        return None;
    }
    let mut found: BTreeSet<PathBuf> = BTreeSet::from([base.to_owned()]);
    let mut is_behind_pattern = false;
    for component in raw.split('/').filter(|component| !matches!(*component, "" | ".")) {
        if !component.contains(['*', '?', '[']) {
            // The kernel, not the text, knows where `x*/..` leads.
            if component == ".." && is_behind_pattern {
                return None;
            }
            found = found.into_iter().map(|path| path.join(component)).collect();
            continue;
        }
        // `.*` may be `..`.
        if component.starts_with('.') {
            return None;
        }
        is_behind_pattern = true;
        let wanted = superset(component);
        let mut next = BTreeSet::new();
        for directory in &found {
            next.extend(fitting(directory, &wanted, sight)?);
            if next.len() > MAX_MATCHES {
                return None;
            }
        }
        found = next;
    }
    let found: Vec<PathBuf> =
        found.into_iter().filter(|path| sight.steps.seen(path).symlink_metadata().is_ok()).collect();
    Some(if found.is_empty() { vec![base.join(raw)] } else { found })
}

/// Whether one of the words that the pattern `raw` may stand for may begin with `-`.
pub(super) fn may_be_option(raw: &str, base: &Path, sight: &Sight<'_>) -> bool {
    let is_option = |path: &PathBuf| path.strip_prefix(base).is_ok_and(|rest| rest.to_string_lossy().starts_with('-'));
    expand(raw, "", base, sight).is_none_or(|found| found.iter().any(is_option))
}

fn is_plain(character: char) -> bool {
    character.is_ascii_alphanumeric() || "_./,+@%=:-*?[]".contains(character)
}

/// A pattern that fits every name that `component` fits: `?` and sets stand for anything.
fn superset(component: &str) -> NamePattern {
    let open = component.split('[').next().unwrap_or_default();
    let rest = if open.len() < component.len() { "*" } else { "" };
    NamePattern::parse(&format!("{open}{rest}").replace('?', "*").to_lowercase())
}

fn fitting(directory: &Path, wanted: &NamePattern, sight: &Sight<'_>) -> Option<Vec<PathBuf>> {
    let entries = match sight.entries(directory) {
        Ok(entries) => entries,
        Err(error) if is_no_directory(&error) => return Some(Vec::new()),
        Err(_) => return None,
    };
    let mut found = Vec::new();
    for entry in entries {
        if wanted.fits(&entry.file_name().to_str()?.to_lowercase()) {
            found.push(directory.join(entry.file_name()));
        }
    }
    Some(found)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use palisade_engine::Vocabulary;

    use super::{Sight, expand};

    #[test]
    fn a_pattern_stands_for_at_least_what_bash_makes_of_it() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("d/e")).unwrap();
        for file in ["a.txt", "B.txt", ".h.txt", "d/a.txt", "d/e/c"] {
            std::fs::write(root.join(file), "").unwrap();
        }
        for (raw, prefix, expected) in [
            ("*.txt", "", Some(&[".h.txt", "B.txt", "a.txt"][..])),
            ("a*", "a", Some(&["a.txt"])),
            ("./?.txt", "./", Some(&[".h.txt", "B.txt", "a.txt"])),
            ("[ab].txt", "", Some(&[".h.txt", "B.txt", "a.txt", "d"])),
            ("d/*", "d/", Some(&["d/a.txt", "d/e"])),
            ("*/a.txt", "", Some(&["d/a.txt"])),
            ("none*", "none", Some(&["none*"])),
            ("**/c", "", None),
            ("d/.*", "d/.", None),
            ("*/..", "", None),
            ("{a,b}*", "", None),
            ("'x'*", "x", None),
            ("--file=*", "", None),
        ] {
            let found = expand(raw, prefix, &root, &Sight::new(&Vocabulary::default(), crate::facts::Steps::new()))
                .map(|paths| {
                    paths
                        .iter()
                        .map(|path| path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned())
                        .collect::<Vec<_>>()
                });
            let expected = expected.map(|names| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
            assert_eq!(found, expected, "{raw}");
        }
    }
}
