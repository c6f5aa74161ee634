//! Variables whose value a program runs: `PAGER='rm x' man ls` runs `rm x`.
//!
//! This file decides which variables those are; the knowledge is in `variables.toml`. That a program reads the variable at
//! all is not known: what it would run is listed whichever program gets it.

use std::sync::LazyLock;

use serde::Deserialize;

/// The table as it is written.
const TABLE: &str = include_str!("../../variables.toml");

/// What is run of a variable's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Runs {
    Nothing,
    /// This code of a shell.
    Code(String),
    /// Something that is not known.
    Unknown,
}

/// What a program may run that gets a variable of this name; `None`: the value is not known.
pub(super) fn run(name: &str, value: Option<&str>) -> Runs {
    let Some(variables) = variables() else { return Runs::Unknown };
    let Some(variable) = variables.iter().find(|variable| variable.is(name)) else {
        return if value.is_some_and(is_code_of_make) { Runs::Unknown } else { Runs::Nothing };
    };
    let Some(value) = value else { return Runs::Unknown };
    if variable.expanded && value.contains('$') {
        return Runs::Unknown;
    }
    if !variable.words.is_empty() {
        return if variable.vouches(value) { Runs::Nothing } else { Runs::Unknown };
    }
    let code = variable.marks.iter().find_map(|mark| value.strip_prefix(mark.as_str())).unwrap_or(value);
    match code.trim() {
        "" => Runs::Nothing,
        // A redirection into the file that is to be edited.
        trimmed if variable.operand && trimmed.ends_with('>') => Runs::Code(format!("{trimmed} \"$1\"")),
        _ => Runs::Code(code.to_owned()),
    }
}

/// Whether the table has a variable of this name, so that its value is listed as what runs.
pub(crate) fn is_listed(name: &str) -> bool {
    variables().is_some_and(|variables| variables.iter().any(|variable| variable.is(name)))
}

/// Whatever a makefile calls a variable by, make takes it from its environment and expands it.
fn is_code_of_make(value: &str) -> bool {
    let functions = ["shell", "eval", "file", "guile", "load"];
    let calls = ["$(", "${"].into_iter().flat_map(|sign| value.split(sign).skip(1));
    calls.into_iter().any(|call| {
        let name = call.split(|sign: char| sign.is_ascii_whitespace()).next().unwrap_or_default();
        name.len() < call.len() && functions.contains(&name)
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    variable: Vec<Variable>,
}

/// Variables of one kind.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Variable {
    names: Vec<String>,
    #[serde(default)]
    marks: Vec<String>,
    #[serde(default)]
    expanded: bool,
    /// The program puts a file behind it.
    #[serde(default)]
    operand: bool,
    #[serde(default)]
    words: Vec<String>,
    #[cfg_attr(not(test), expect(dead_code, reason = "for whoever reads the table"))]
    reason: String,
    #[cfg_attr(not(test), expect(dead_code, reason = "a test runs it"))]
    example: Example,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(test), expect(dead_code, reason = "a test runs it"))]
struct Example {
    script: String,
    runs: Vec<String>,
}

impl Variable {
    /// Words that are all known, and no sign that would make more of them.
    fn vouches(&self, value: &str) -> bool {
        let known = |word: &str| {
            self.words.iter().any(|pattern| match pattern.strip_suffix('*') {
                None => pattern == word,
                Some(start) => word.strip_prefix(start).is_some_and(|rest| !rest.contains(',')),
            })
        };
        let plain = |sign: char| sign.is_alphanumeric() || " -_=+,./:%~\"'".contains(sign);
        value.chars().all(plain) && value.split_whitespace().all(known)
    }

    fn is(&self, name: &str) -> bool {
        self.names.iter().any(|pattern| match pattern.split_once('*') {
            None => pattern == name,
            Some((start, end)) => name.strip_prefix(start).is_some_and(|rest| rest.ends_with(end)),
        })
    }
}

fn variables() -> Option<&'static [Variable]> {
    static VARIABLES: LazyLock<Option<Table>> = LazyLock::new(|| toml::from_str(TABLE).ok());
    VARIABLES.as_ref().map(|table| table.variable.as_slice())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_of_the_variables() {
        for variable in variables().unwrap_or_default() {
            let Example { script, runs } = &variable.example;
            let inventory = crate::inventory(script.as_bytes());
            let listed: Vec<&str> = inventory
                .commands()
                .iter()
                .filter_map(|command| Some(command.invocation.words.first()?.as_str()))
                .collect();
            assert!(runs.iter().all(|name| listed.contains(&name.as_str())), "{script}: {listed:?}");
            assert!(!variable.reason.is_empty(), "{script}");
        }
    }

    #[test]
    fn values() {
        for (name, value, expected) in [
            ("PAGER", Some("rm x"), Runs::Code("rm x".to_owned())),
            ("AWS_PAGER", Some(""), Runs::Nothing),
            ("PAGER", None, Runs::Unknown),
            ("GIT_SEQUENCE_EDITOR", Some("cat todo > "), Runs::Code("cat todo > \"$1\"".to_owned())),
            ("PAGER", Some("cat >"), Runs::Code("cat >".to_owned())),
            ("LESSOPEN", Some("||-rm %s"), Runs::Code("rm %s".to_owned())),
            ("CARGO_TARGET_X86_RUNNER", Some("rm"), Runs::Code("rm".to_owned())),
            ("NAME", Some("rm x"), Runs::Nothing),
            ("NAME", Some("a $(b) ${c:-d} $(shellx y) $(file)"), Runs::Nothing),
            ("NAME", Some("a $(shell touch x)"), Runs::Unknown),
            ("NAME", Some("${eval x:=y}"), Runs::Unknown),
            ("CFLAGS", Some("-O2 -Wall -DX='y' -I/usr/include/x -Wl,-rpath,/opt/lib"), Runs::Nothing),
            ("CFLAGS", Some(""), Runs::Nothing),
            ("CFLAGS", Some("-O2 $(shell touch x)"), Runs::Unknown),
            ("CFLAGS", Some("-O2; touch x"), Runs::Unknown),
            ("CFLAGS", None, Runs::Unknown),
            ("LDFLAGS", Some("-Wl,-plugin,../evil.so"), Runs::Unknown),
            ("LDFLAGS", Some("-Wl,-rpath,/x,-plugin,../evil.so"), Runs::Unknown),
            ("CXXFLAGS", Some("-fplugin=./evil.so"), Runs::Unknown),
            ("CXXFLAGS", Some("@opts"), Runs::Unknown),
            ("RM", Some("touch x;"), Runs::Code("touch x;".to_owned())),
            ("CC", Some("$(info x)"), Runs::Unknown),
            ("NAME", None, Runs::Nothing),
        ] {
            assert_eq!(run(name, value), expected, "{name}={value:?}");
        }
    }
}
