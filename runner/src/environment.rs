//! Which variables a child sees.
//!
//! A child's environment is made anew: a short built-in list, the names that the settings add, and the values that Palisade sets
//! itself. Variables that change what a command *means* — which library a program loads, what a shell runs before the script —
//! are refused even to the settings, since the decision was about the script as it reads. Values are bytes and pass unchanged.
//!
//! Which variables those are is the table of `guard-loader-env`, `policies/variables.toml`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use palisade_engine::guarded_variable;

/// The places that a session's variables speak of. `TMPDIR` is each session's own and is added when one opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// `HOME`.
    pub home: PathBuf,
    /// Where the agent works and can write.
    pub workspace: PathBuf,
}

/// The whole environment of a session's first program: the built-in names and those `passed` by the settings, as far as the
/// server's own environment `parent` has them, and what Palisade sets.
///
/// # Errors
///
/// The settings name a variable that Palisade does not pass on, or something that is no name.
pub fn child_environment(
    parent: impl Iterator<Item = (OsString, OsString)>,
    passed: &[String],
    places: &Places,
) -> Result<Vec<(OsString, OsString)>, EnvironmentError> {
    passed.iter().try_for_each(|name| permitted(name))?;
    let mut path = OsString::new();
    let mut variables = Vec::new();
    for (name, value) in parent {
        if name == "PATH" {
            path = value;
        } else if is_locale(&name) {
            let read_alike = value.to_str().is_some_and(is_read_alike);
            variables.push((name, if read_alike { value } else { "C.UTF-8".into() }));
        } else if is_listed(&name) || is_switch(&name, &value) || passed.iter().any(|passed| name == passed.as_str()) {
            variables.push((name, value));
        }
    }
    variables.push(("PATH".into(), search_path(&path, places)));
    variables.push(("HOME".into(), places.home.clone().into()));
    if rustix::process::geteuid().is_root() {
        variables.push((UNPACKED.0.into(), UNPACKED.1.into()));
    }
    variables.extend(SET.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))));
    Ok(variables)
}

/// Whether a child's environment takes more from a variable of this name than what a shell is and which terminal it has, without being told to.
pub fn is_passed_on(name: &OsStr) -> bool {
    let is_place = PLACES.iter().any(|place| name == *place) && name != "TMPDIR";
    let is_caller = name == "SHELL" || name == "TERM";
    is_place || is_locale(name) || SWITCHES.iter().any(|switch| name == *switch) || is_listed(name) && !is_caller
}

/// The names among a child's variables that settings could have named: what another machine's variables are passed on by.
pub(crate) fn passed_names(environment: &[(OsString, OsString)]) -> Vec<String> {
    let names = environment.iter().filter_map(|(name, _)| name.to_str());
    names.filter(|name| permitted(name).is_ok()).map(str::to_owned).collect()
}

/// Why the settings' list of variables is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnvironmentError {
    /// It would change what commands mean.
    #[error("the variable `{name}` cannot be passed on: {reason}")]
    Refused {
        /// As the settings spell it.
        name: String,
        /// What it does.
        reason: String,
    },
    /// It names no variable.
    #[error("`{name}` is not the name of a variable")]
    NotAName {
        /// As the settings spell it.
        name: String,
    },
}

fn permitted(name: &str) -> Result<(), EnvironmentError> {
    let letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    let mut bytes = name.bytes();
    // Bash's exported functions (`BASH_FUNC_x%%`) are no names, and get the clearer answer below.
    let is_name = bytes.next().is_some_and(letter) && bytes.all(|byte| letter(byte) || byte.is_ascii_digit());
    if is_listed(OsStr::new(name)) {
        return Ok(());
    }
    let set = || SET.iter().any(|(own, _)| *own == name) || PLACES.contains(&name);
    let own = OWN.iter().find(|(own, _)| *own == name).map(|(_, reason)| *reason);
    let reason = own.or_else(|| set().then_some("Palisade sets it itself"));
    match reason.or_else(|| guarded_variable(name)) {
        Some(reason) => Err(EnvironmentError::Refused { name: name.to_owned(), reason: as_clause(reason) }),
        None if !is_name => Err(EnvironmentError::NotAName { name: name.to_owned() }),
        None => Ok(()),
    }
}

/// A sentence of the table, to stand behind a colon.
fn as_clause(sentence: &str) -> String {
    let sentence = sentence.trim_end_matches('.');
    let mut words = sentence.splitn(2, ' ');
    let article = words.next().filter(|word| ["It", "A", "The", "An"].contains(word));
    match (article, words.next()) {
        (Some(article), Some(rest)) => format!("{} {rest}", article.to_lowercase()),
        _ => sentence.to_owned(),
    }
}

/// Whether every shell sets it anew by itself, to tell where it stands: nobody's decision.
pub(crate) fn is_bookkeeping(name: &[u8]) -> bool {
    matches!(name, b"_" | b"SHLVL" | b"PWD" | b"OLDPWD")
}

fn is_listed(name: &OsStr) -> bool {
    LISTED.iter().any(|pattern| matches(pattern, name.as_bytes()))
}

/// Whether it turns something on or off that no decision rests on, by a value that names nothing.
fn is_switch(name: &OsStr, value: &OsStr) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.,:".contains(byte);
    SWITCHES.iter().any(|switch| name == *switch) && value.len() <= LONGEST && value.as_bytes().iter().all(plain)
}

fn is_locale(name: &OsStr) -> bool {
    name == "LANG" || name.as_bytes().starts_with(b"LC_")
}

/// Whether bash splits a script in this locale as it was split when it was judged: in some character sets the second byte of a letter
/// is a backslash. The same values as in `guard-locale`.
fn is_read_alike(locale: &str) -> bool {
    let of_a_language = locale.strip_suffix(".UTF-8").or_else(|| locale.strip_suffix(".utf8"));
    let plain = |language: &str| language.contains('_') && !language.contains(['@', '.', '/', '$', '`']);
    ["", "C", "POSIX", "C.UTF-8", "C.utf8"].contains(&locale) || of_a_language.is_some_and(plain)
}

/// Whether `name` is the pattern, or begins with what stands before its `*`.
fn matches(pattern: &str, name: &[u8]) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix.as_bytes()),
        None => name == pattern.as_bytes(),
    }
}

/// `PATH` without the entries that an agent can fill with programs of its own: relative ones (the empty one is the current
/// directory) and those inside the workspace. Never empty: a shell without `PATH` makes up its own, and some
/// have the current directory in it.
fn search_path(path: &OsStr, places: &Places) -> OsString {
    let own = &places.workspace;
    let safe = |entry: &&[u8]| {
        let entry = Path::new(OsStr::from_bytes(entry));
        let plain = entry.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
        entry.is_absolute() && plain && !entry.starts_with(own)
    };
    let kept: Vec<&[u8]> = path.as_bytes().split(|byte| *byte == b':').filter(safe).collect();
    if kept.is_empty() { SYSTEM_PATH.into() } else { OsString::from_vec(kept.join(&b':')) }
}

/// Passed on without being asked for. A `*` at the end stands for anything.
const LISTED: [&str; 8] = ["USER", "LOGNAME", "SHELL", "TERM", "LANG", "LANGUAGE", "LC_*", "TZ"];

/// Passed on as well where the value is a plain word: an image or a person's shell sets them, and without them programs work otherwise
/// than the same programs do beside Palisade.
const SWITCHES: [&str; 18] = [
    "CARGO_INCREMENTAL",
    "CARGO_TERM_COLOR",
    "CI",
    "CLICOLOR",
    "CLICOLOR_FORCE",
    "DEBIAN_FRONTEND",
    "FORCE_COLOR",
    "NODE_ENV",
    "NO_COLOR",
    "PIP_DISABLE_PIP_VERSION_CHECK",
    "PIP_NO_INPUT",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONHASHSEED",
    "PYTHONIOENCODING",
    "PYTHONUNBUFFERED",
    "PYTHONUTF8",
    "RUST_BACKTRACE",
    "SOURCE_DATE_EPOCH",
];

/// Bytes that the value of such a switch may have.
const LONGEST: usize = 32;

/// Set from the session's places.
const PLACES: [&str; 3] = ["PATH", "HOME", "TMPDIR"];

const SYSTEM_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Set for root's sessions: no session may give a file to another user, and tar(1) fails where it tries to, which it does for root alone.
const UNPACKED: (&str, &str) = ("TAR_OPTIONS", "--no-same-owner");

/// Set for every session: nobody is there to page through output or to answer a prompt.
const SET: [(&str, &str); 5] = [
    ("PAGER", "cat"),
    ("MANPAGER", "cat"),
    ("SYSTEMD_PAGER", "cat"),
    ("GIT_PAGER", "cat"),
    ("GIT_TERMINAL_PROMPT", "0"),
];

/// Refused to the settings beside those that change what a command means, with the reason.
const OWN: [(&str, &str); 9] = [
    ("TMOUT", "it changes how long a shell waits"),
    ("http_proxy", PROXY),
    ("HTTP_PROXY", PROXY),
    ("https_proxy", PROXY),
    ("HTTPS_PROXY", PROXY),
    ("all_proxy", PROXY),
    ("ALL_PROXY", PROXY),
    ("no_proxy", PROXY),
    ("NO_PROXY", PROXY),
];

const PROXY: &str = "Palisade sets it itself, where a session has a network";

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use palisade_engine::{AbsolutePath, Bundle, Engine, Facts, Principal, Session, Vocabulary};

    use super::*;

    fn places() -> Places {
        Places { home: "/home/alice".into(), workspace: "/srv/app".into() }
    }

    fn child(parent: &[(&str, &str)], passed: &[&str]) -> Result<BTreeMap<OsString, OsString>, EnvironmentError> {
        let parent = parent.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let passed: Vec<String> = passed.iter().map(ToString::to_string).collect();
        let variables = child_environment(parent, &passed, &places())?;
        let unique: BTreeMap<_, _> = variables.iter().cloned().collect();
        assert_eq!(unique.len(), variables.len(), "a name stands twice");
        Ok(unique)
    }

    /// Parent variable, its value, names passed by the settings, value in the child.
    const VALUES: &[(&str, &str, &[&str], Option<&str>)] = &[
        ("TERM", "xterm", &[], Some("xterm")),
        ("LANG", "C.UTF-8", &[], Some("C.UTF-8")),
        ("LC_ALL", "C", &[], Some("C")),
        ("LC_ALL", "", &[], Some("")),
        ("LC_TIME", "de_DE.UTF-8", &[], Some("de_DE.UTF-8")),
        ("LC_ALL", "zh_CN.GBK", &[], Some("C.UTF-8")),
        ("LANG", "ja_JP.SJIS", &[], Some("C.UTF-8")),
        ("LC_CTYPE", "zh_CN", &[], Some("C.UTF-8")),
        ("LC_CTYPE", "zh_CN@x.UTF-8", &[], Some("C.UTF-8")),
        ("LC_CTYPE", "../x/zh_CN.UTF-8", &[], Some("C.UTF-8")),
        ("USER", "alice", &[], Some("alice")),
        ("TZ", "Europe/Paris", &[], Some("Europe/Paris")),
        ("CARGO_HOME", "/c", &["CARGO_HOME"], Some("/c")),
        ("CARGO_HOME", "/c", &["CARGO"], None),
        ("AWS_SECRET_ACCESS_KEY", "x", &[], None),
        ("LD_PRELOAD", "/x.so", &[], None),
        ("BASH_ENV", "/x", &[], None),
        ("BASH_FUNC_ls%%", "() { rm; }", &[], None),
        ("LANGUAGEX", "x", &[], None),
        ("HOME", "/root", &[], Some("/home/alice")),
        ("TMPDIR", "/var/tmp", &[], None),
        ("PAGER", "less", &[], Some("cat")),
        ("GIT_PAGER", "less", &[], Some("cat")),
        ("GIT_TERMINAL_PROMPT", "1", &[], Some("0")),
        ("GIT_SSH_COMMAND", "x", &[], None),
        ("PATH", "/usr/bin:/bin", &[], Some("/usr/bin:/bin")),
        ("PATH", ":/usr/bin::.:bin:/bin:", &[], Some("/usr/bin:/bin")),
        ("PATH", "/srv/app/bin:/usr/bin:/srv/app:/srv/application", &[], Some("/usr/bin:/srv/application")),
        ("PATH", "/usr/../srv/app/bin:/usr/bin", &[], Some("/usr/bin")),
        ("PATH", "/srv//app/bin:/srv/./app:/usr/bin", &[], Some("/usr/bin")),
        ("PATH", "", &[], Some(SYSTEM_PATH)),
        ("PATH", ".", &[], Some(SYSTEM_PATH)),
        ("OTHER", "", &[], None),
        ("PYTHONDONTWRITEBYTECODE", "1", &[], Some("1")),
        ("PYTHONIOENCODING", "utf-8:strict", &[], Some("utf-8:strict")),
        ("CI", "", &[], Some("")),
        ("CI", "a b", &[], None),
        ("NODE_ENV", "/srv/app/x", &[], None),
        ("NODE_ENV", "a0123456789012345678901234567890123456789", &[], None),
        ("PYTHONPATH", "x", &[], None),
    ];

    #[test]
    fn values_pass_as_the_table_says() {
        for (name, value, passed, expected) in VALUES {
            let variables = child(&[(name, value)], passed).unwrap();
            assert_eq!(variables.get(OsStr::new(name)), expected.map(OsString::from).as_ref(), "{name}={value}");
        }
    }

    /// What an agent may not set the operator's environment does not pass on either: both are asked about the same values.
    #[test]
    fn a_locale_passes_where_the_guard_lets_it_be_set() {
        let engine = Engine::new(Bundle::behind_guards().unwrap(), Vocabulary::default());
        let root = AbsolutePath::new("/srv/app").unwrap();
        let facts = Facts::new(
            Principal::os_user("a", "b", BTreeSet::new()),
            root,
            Session::opened("s"),
            crate::clock::Zone::default().now(),
        );
        let values = "C POSIX C.UTF-8 C.utf8 c.utf-8 en en_US en_US.UTF-8 en_US.utf8 en_US.UTF8 de_DE@euro de_DE.UTF-8@euro de_DE@euro.UTF-8 \
                      zh_CN.GBK zh_CN.GB18030 zh_TW.BIG5 ja_JP.SJIS a_b.c.UTF-8 UTF-8 .UTF-8 _.UTF-8 /x_y.UTF-8 ../x_y.UTF-8 x_$y.UTF-8 x_`y.UTF-8";
        for value in values.split(' ').chain([""]) {
            let script = format!("LC_ALL='{value}' true");
            let verdict = engine.decide(palisade_grammar::inventory(script.as_bytes()), &facts);
            let refused = verdict
                .report()
                .requests
                .iter()
                .any(|asked| asked.determining.iter().any(|policy| policy == "guard-locale"));
            let passed = child(&[("LC_ALL", value)], &[]).unwrap();
            assert_eq!(passed.get(OsStr::new("LC_ALL")) != Some(&OsString::from(value)), refused, "{value}");
        }
    }

    #[test]
    fn a_child_always_has_a_search_path() {
        assert_eq!(child(&[], &[]).unwrap().get(OsStr::new("PATH")), Some(&OsString::from(SYSTEM_PATH)));
    }

    #[test]
    fn settings_are_refused_what_changes_meaning() {
        let refused = ["LD_PRELOAD", "LD_LIBRARY_PATH", "BASH_ENV", "ENV", "BASH_FUNC_ls%%", "SHELLOPTS", "PS4"]
            .into_iter()
            .chain(["PROMPT_COMMAND", "IFS", "GIT_DIR", "GIT_PAGER", "PATH", "HOME", "TMPDIR", "PAGER"]);
        for name in refused {
            let error = child(&[], &["CARGO_HOME", name]).unwrap_err();
            assert!(
                matches!(&error, EnvironmentError::Refused { name: named, .. } if named == name),
                "{name}: {error}"
            );
        }
        for name in ["", "A=B", "1A", "A B", "A*", "É"] {
            assert_eq!(child(&[], &[name]), Err(EnvironmentError::NotAName { name: name.to_owned() }));
        }
    }

    #[test]
    fn every_refusal_holds() {
        for (name, reason) in OWN {
            let refused = EnvironmentError::Refused { name: name.to_owned(), reason: reason.to_owned() };
            assert_eq!(permitted(name), Err(refused));
        }
        // The one list of what changes a command's meaning is the guard's table; what is passed on unasked is no row of it.
        for name in LISTED.map(|name| name.replace('*', "X")).iter().filter(|name| *name != "SHELL") {
            assert_eq!(guarded_variable(name), None, "{name} is on both lists");
        }
        for name in SWITCHES {
            assert!(!OWN.iter().chain(&SET).any(|(own, _)| *own == name), "{name}");
        }
        for name in ["LUA_INIT", "PYTHONSTARTUP", "JAVA_TOOL_OPTIONS", "MAKEFLAGS", "npm_config_shell", "GRADLE_X"] {
            assert_eq!(permitted(name).is_err(), guarded_variable(name).is_some(), "{name}");
        }
        let told = permitted("GIT_DIR").unwrap_err().to_string();
        assert_eq!(
            told,
            "the variable `GIT_DIR` cannot be passed on: git runs programs, and uses configuration and repositories, that such variables name"
        );
        let told = permitted("BASH_ENV").unwrap_err().to_string();
        assert!(told.ends_with(": a shell runs or expands it, or reads the next script otherwise"), "{told}");
    }

    #[test]
    fn values_are_bytes() {
        let value = OsString::from_vec(vec![b'a', 0xFF, b'b']);
        let parent = [("TERM".into(), value.clone())].into_iter();
        let variables = child_environment(parent, &[], &places()).unwrap();
        assert!(variables.contains(&("TERM".into(), value)));
    }
}
