//! What is known of variables that make programs load or run other code: the table of `guard-loader-env`, for whoever passes
//! variables on without asking policy.
//!
//! Decided here: nothing. The policy `guard-loader-env` decides what scripts may set; a test compares it with the table.

use std::sync::LazyLock;

use serde::Deserialize;

/// Why a variable of this name is dangerous to pass to a program, unless the settings may all the same; `None` where nothing is known
/// against it.
#[must_use]
pub fn guarded_variable(name: &str) -> Option<&'static str> {
    static TABLE: LazyLock<Option<Table>> = LazyLock::new(|| toml::from_str(palisade_policies::VARIABLES.1).ok());
    // A table that cannot be read would be a fault of ours: then no name is known to be harmless.
    let Some(table) = TABLE.as_ref() else { return Some("the table of variables cannot be read") };
    let row = table.variables.iter().find(|row| row.names.iter().any(|pattern| row.matches(pattern, name)))?;
    (!row.passed.iter().any(|pattern| row.matches(pattern, name))).then_some(row.reason.as_str())
}

#[derive(Deserialize)]
struct Table {
    variables: Vec<Row>,
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
