//! What is known of variables that make programs load or run other code: the table of `guard-loader-env`, for whoever passes
//! variables on without asking policy.
//!
//! Decided here: nothing. The policy `guard-loader-env` decides what scripts may set; a test compares it with the table.

use std::sync::LazyLock;

use palisade_grammar::Catalogue;
use serde::Deserialize;

static TABLE: LazyLock<Option<Table>> = LazyLock::new(|| toml::from_str(palisade_policies::VARIABLES.1).ok());

/// Why a variable of this name is dangerous to pass to a program, unless the settings may all the same; `None` where nothing is known
/// against it.
#[must_use]
pub fn guarded_variable(name: &str) -> Option<&'static str> {
    // A table that cannot be read would be a fault of ours: then no name is known to be harmless.
    let Some(table) = TABLE.as_ref() else { return Some("the table of variables cannot be read") };
    let row = table.row(name)?;
    (!row.passed.iter().any(|pattern| row.matches(pattern, name))).then_some(row.reason.as_str())
}

/// Whether it is known what a variable of this name does: `guard-loader-env` decides about it, its value is read as what programs run, or no
/// value of it does harm.
#[must_use]
pub fn is_listed(name: &str) -> bool {
    palisade_grammar::runs_variable(name)
        || TABLE.as_ref().is_some_and(|table| table.row(name).is_some() || table.harmless(name))
}

/// Whether a variable's value is empty, or made of numbers and words alone: it names no file by a path, no host by an address or a
/// domain, and no program that Palisade knows by name.
///
/// A number may be a version (`1.2.3`). Four parts would be an address.
#[must_use]
pub(crate) fn is_plain(value: &str) -> bool {
    value.is_empty() || value.split(' ').all(|word| is_number(word) || is_harmless_word(word))
}

fn is_number(word: &str) -> bool {
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let mut parts = word.strip_prefix('-').unwrap_or(word).split('.');
    parts.clone().count() <= 3 && parts.all(is_digits)
}

fn is_harmless_word(word: &str) -> bool {
    // Programs that do nothing, or only show something.
    const SETTINGS: [&str; 5] = ["true", "false", "yes", "test", "info"];
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    let lower = word.to_ascii_lowercase();
    let is_word = word.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic()) && word.bytes().all(is_part);
    is_word && (SETTINGS.contains(&lower.as_str()) || !Catalogue::shared().has_program(&lower))
}

#[derive(Deserialize)]
struct Table {
    variables: Vec<Row>,
    harmless: Vec<Harmless>,
}

/// Variables that do no harm whatever their value.
#[derive(Deserialize)]
struct Harmless {
    names: Vec<String>,
}

impl Table {
    fn harmless(&self, name: &str) -> bool {
        self.harmless.iter().any(|row| row.names.iter().any(|listed| listed == name))
    }

    fn row(&self, name: &str) -> Option<&Row> {
        self.variables.iter().find(|row| row.names.iter().any(|pattern| row.matches(pattern, name)))
    }
}

#[derive(Deserialize)]
struct Row {
    names: Vec<String>,
    reason: String,
    /// Names count in upper case and lower case alike.
    #[serde(default)]
    fold: bool,
    /// Of these names, those whose value from the server's own environment the settings may pass on.
    #[serde(default)]
    passed: Vec<String>,
}

impl Row {
    fn matches(&self, pattern: &str, name: &str) -> bool {
        if self.fold { like(&pattern.to_lowercase(), &name.to_lowercase()) } else { like(pattern, name) }
    }
}

/// Whether a text is the pattern, in which `*` stands for anything.
fn like(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(text) = text.strip_prefix(start) else { return false };
    text.char_indices().map(|(at, _)| at).chain([text.len()]).any(|at| like(rest, text.get(at..).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_values_name_nothing() {
        for value in [
            "",
            "0",
            "1",
            "-1",
            "8080",
            "1.5",
            "1.24.3",
            "true",
            "FALSE",
            "on",
            "yes",
            "info",
            "test",
            "production",
            "bar baz",
            "a-b_C3",
        ] {
            assert!(is_plain(value), "{value}");
        }
        for value in [
            "/x",
            "./x",
            "x/y",
            "1/2",
            "1.2.3.4",
            "1.",
            ".5",
            "-",
            "-x",
            "0x10",
            "1 ",
            " ",
            "true ",
            "true;x",
            "x.so",
            "example.com",
            "1:2",
            "１",
            "é",
            "sh",
            "SH",
            "rm",
            "python3",
            "bar rm",
            "a=b",
            "~",
            "$x",
            "`x`",
            "a\nb",
            "_",
        ] {
            assert!(!is_plain(value), "{value}");
        }
    }

    #[test]
    fn names_are_found_by_their_patterns() {
        for (name, guarded) in [
            ("LD_PRELOAD", true),
            ("LD_", true),
            ("XLD_LIBRARY_PATH", false),
            ("ld_preload", false),
            ("GIT_PAGER", true),
            ("MANPAGER", true),
            ("BORG_PASSCOMMAND", true),
            ("CARGO_ALIAS_B", true),
            ("CARGO_TARGET_DIR", false),
            ("npm_config_script_shell", true),
            ("NPM_Config_script_shell", true),
            // Operators have these in their settings.
            ("CARGO_HOME", false),
            ("CARGO_TARGET_X86_64_RUNNER", false),
            ("PYTHONPATH", false),
            ("PYTHONSTARTUP", true),
            ("KUBECONFIG", false),
            ("", false),
            ("HARMLESS", false),
        ] {
            assert_eq!(guarded_variable(name).is_some(), guarded, "{name}");
        }
    }
}
