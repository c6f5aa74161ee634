//! What a `sh` tells of itself, and the script that makes another one the same. No I/O.
//!
//! dash and busybox's ash print their variables quoted, so that a shell could read them back; but what comes from a target is what
//! somebody there says. So it is read here, by the one form that these shells print, and nothing of its text is passed on: names are names,
//! options are among those below, and every value is quoted anew. What does not have that form is no state at all. Functions cannot be
//! listed, and are not kept.

use std::collections::{BTreeMap, BTreeSet};

/// Prints all of it: each part with a NUL behind it, which no value holds. Builtins alone, of which none has the name of a function here:
/// special ones cannot, and `command` finds none.
pub(super) const TELLS: &str = "\\export -p; \\command \\printf '\\0'; \\readonly -p; \\command \\printf '\\0'; \\set; \
                                \\command \\printf '\\0'; \\command \\umask; \\command \\printf '\\0'; \\set +o; \
                                \\command \\printf '\\0'; \\command \\printf '%s\\0' \"$#\" \"$@\"";

/// Bytes of a state that is kept: it goes to another shell in one line.
pub(crate) const MAX_KEPT: usize = 256 << 10;

/// What is every shell's own, or means something else at each moment.
const OWN: [&str; 19] = [
    "_",
    "ENV",
    "EPOCHREALTIME",
    "EPOCHSECONDS",
    "FUNCNAME",
    "LINENO",
    "MAIL",
    "MAILCHECK",
    "MAILPATH",
    "OLDPWD",
    "OPTARG",
    "OPTIND",
    "PALISADE_SESSION",
    "PPID",
    "PS1",
    "PS2",
    "PS4",
    "PWD",
    "RANDOM",
];

/// Options that are set again. The others are of a shell that somebody types at, or say how it was started.
const OPTIONS: [&str; 8] = ["allexport", "noclobber", "noglob", "pipefail", "nounset", "verbose", "xtrace", "errexit"];

/// The state of a `sh`: its variables, umask, options and arguments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PosixState {
    variables: BTreeMap<String, Vec<u8>>,
    exported: BTreeSet<String>,
    fixed: BTreeSet<String>,
    umask: String,
    options: BTreeSet<String>,
    arguments: Vec<Vec<u8>>,
}

impl PosixState {
    /// What has been told; none if a shell would not say it so.
    pub(crate) fn read(told: &[u8]) -> Option<Self> {
        let mut parts = told.strip_suffix(&[0])?.split(|byte| *byte == 0);
        let exported = listed(parts.next()?, b"export ")?.into_keys().collect();
        let fixed = listed(parts.next()?, b"readonly ")?.into_keys().collect();
        let variables = listed(parts.next()?, b"")?;
        let variables = variables.into_iter().map(|(name, value)| Some((name, value?))).collect::<Option<_>>()?;
        let umask = std::str::from_utf8(parts.next()?).ok()?.strip_suffix('\n')?.to_owned();
        let is_mask = (3..=4).contains(&umask.len()) && umask.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
        let options = options(std::str::from_utf8(parts.next()?).ok()?)?;
        let count: usize = std::str::from_utf8(parts.next()?).ok()?.parse().ok()?;
        let arguments: Vec<Vec<u8>> = parts.map(<[u8]>::to_vec).collect();
        (is_mask && arguments.len() == count).then_some(Self { variables, exported, fixed, umask, options, arguments })
    }

    /// Its variables that programs get.
    pub(crate) fn exported(&self) -> &BTreeSet<String> {
        &self.exported
    }

    /// What makes a shell this one that was started with the variables `begun`.
    pub(crate) fn script(&self, begun: &BTreeSet<String>) -> Vec<u8> {
        let is_kept = |name: &&String| !is_own(name);
        let mut text = Vec::new();
        let mut line = |parts: &[&[u8]]| {
            text.extend(parts.concat());
            text.push(b'\n');
        };
        let gone = begun.iter().filter(|name| !self.variables.contains_key(*name));
        for name in gone.filter(is_kept) {
            line(&[b"unset -v ", name.as_bytes()]);
        }
        for (name, value) in self.variables.iter().filter(|(name, _)| is_kept(name)) {
            line(&[name.as_bytes(), b"=", &quoted(value)]);
        }
        let private = begun.iter().filter(|name| self.variables.contains_key(*name) && !self.exported.contains(*name));
        for name in private.filter(is_kept) {
            // No shell has a word for it: it becomes another variable of the same name and value.
            let Some(value) = self.variables.get(name) else { continue };
            line(&[b"unset -v ", name.as_bytes(), b"; ", name.as_bytes(), b"=", &quoted(value)]);
        }
        for name in self.exported.iter().filter(is_kept) {
            line(&[b"export ", name.as_bytes()]);
        }
        for name in self.fixed.iter().filter(is_kept) {
            line(&[b"readonly ", name.as_bytes()]);
        }
        line(&[b"umask ", self.umask.as_bytes()]);
        let words: Vec<u8> = self.arguments.iter().flat_map(|word| [b" ".to_vec(), quoted(word)].concat()).collect();
        line(&[b"set --", &words]);
        // Those that may end a shell come last; not every shell knows each.
        for name in OPTIONS.iter().filter(|name| self.options.contains(**name)) {
            line(&[b"command set -o ", name.as_bytes()]);
        }
        text
    }
}

fn is_own(name: &str) -> bool {
    OWN.contains(&name) || name.starts_with("palisade_")
}

/// Lines of variables: a name, and a value if it has one.
fn listed(mut text: &[u8], prefix: &[u8]) -> Option<BTreeMap<String, Option<Vec<u8>>>> {
    let mut found = BTreeMap::new();
    while !text.is_empty() {
        text = text.strip_prefix(prefix)?;
        let end = text.iter().position(|byte| matches!(byte, b'=' | b'\n'))?;
        let (name, rest) = text.split_at(end);
        let begins = name.first().is_some_and(|first| first.is_ascii_alphabetic() || *first == b'_');
        if !begins || !name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_') {
            return None;
        }
        let (value, rest) = match rest.strip_prefix(b"=") {
            Some(rest) => value(rest).map(|(value, rest)| (Some(value), rest))?,
            None => (None, rest),
        };
        found.insert(String::from_utf8_lossy(name).into_owned(), value);
        text = rest.strip_prefix(b"\n")?;
    }
    Some(found)
}

/// A value as these shells print it: what holds no `'` between two of them, and each row of `'` between two `"`.
fn value(mut text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut value = Vec::new();
    loop {
        let (quote, rest) = text.split_first().filter(|(quote, _)| matches!(quote, b'\'' | b'"'))?;
        let end = memchr::memchr(*quote, rest)?;
        let (inner, behind) = rest.split_at(end);
        if *quote == b'"' && !inner.iter().all(|byte| *byte == b'\'') {
            return None;
        }
        value.extend_from_slice(inner);
        text = behind.get(1..)?;
        if text.first() == Some(&b'\n') {
            return Some((value, text));
        }
    }
}

/// The options that are on, in lines of `set -o NAME` and `set +o NAME`.
fn options(text: &str) -> Option<BTreeSet<String>> {
    let mut on = BTreeSet::new();
    for line in text.lines() {
        let (is_on, name) = match (line.strip_prefix("set -o "), line.strip_prefix("set +o ")) {
            (Some(name), _) => (true, name),
            (None, Some(name)) => (false, name),
            (None, None) => return None,
        };
        if is_on {
            on.insert(name.to_owned());
        }
    }
    Some(on)
}

fn quoted(value: &[u8]) -> Vec<u8> {
    let mut word = b"'".to_vec();
    for byte in value {
        match byte {
            b'\'' => word.extend(b"'\\''"),
            byte => word.push(*byte),
        }
    }
    word.push(b'\'');
    word
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    const SHELLS: [&[&str]; 2] = [&["dash"], &["busybox", "sh"]];

    fn told(shell: &[&str], script: &[u8]) -> Vec<u8> {
        let mut sh = Command::new(shell[0]);
        sh.args(&shell[1..]).arg("-s").env_clear().envs([
            ("HOME", "/h"),
            ("GONE", "1"),
            ("PRIVATE", "2"),
            ("PATH", "/usr/bin:/bin"),
        ]);
        let mut sh = sh.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut input = script.to_vec();
        input.extend(format!("\n{TELLS}\n").bytes());
        std::io::Write::write_all(&mut sh.stdin.take().unwrap(), &input).unwrap();
        sh.wait_with_output().unwrap().stdout
    }

    #[test]
    fn a_shell_becomes_what_another_was() {
        let every: Vec<u8> = (1..=255).filter(|byte| !b"'\n".contains(byte)).collect();
        let script = [
            b"every='".as_slice(),
            &every,
            b"'\nx=\"it's\n two'''lines '\"; export y='a b' z; readonly r=1\nunset GONE; p=$PRIVATE; unset PRIVATE; PRIVATE=$p\n\
              umask 27; set -fu; set -- 'a b' \"c\nd\" '' \"'\"; IFS=,; f() { :; }",
        ]
        .concat();
        for shell in SHELLS {
            let begun = PosixState::read(&told(shell, b"")).unwrap();
            let kept = PosixState::read(&told(shell, &script)).unwrap();
            assert_eq!(kept.variables["every"], every, "{shell:?}");
            assert_eq!(kept.arguments, [b"a b".as_slice(), b"c\nd", b"", b"'"], "{shell:?}");
            let mut again = PosixState::read(&told(shell, &kept.script(begun.exported()))).unwrap();
            for name in OWN {
                again
                    .variables
                    .extend(kept.variables.get_key_value(name).map(|(name, value)| (name.clone(), value.clone())));
            }
            assert_eq!(again, kept, "{shell:?}");
            assert!(!kept.variables.contains_key("GONE") && !kept.exported.contains("PRIVATE"), "{shell:?}");
            assert!(kept.options.contains("noglob") && kept.umask == "0027", "{shell:?}");
        }
    }

    #[test]
    fn what_no_shell_says_is_no_state() {
        let good = b"export A='1'\n\0\0A='1'\n\x000022\n\0set +o noglob\nset -o nounset\n\x000\0";
        assert!(PosixState::read(good).is_some());
        let text = String::from_utf8(good.to_vec()).unwrap();
        for (from, to) in [
            ("A='1'\n\x000022", "A='1'; touch x\n\x000022"),
            ("A='1'\n\x000022", "A=1\n\x000022"),
            ("A='1'\n\x000022", "A=\"$(touch x)\"\n\x000022"),
            ("A='1'\n\x000022", "A='1'$(touch x)\n\x000022"),
            ("A='1'\n\x000022", "a.b='1'\n\x000022"),
            ("A='1'\n\x000022", "A\n\x000022"),
            ("A='1'\n\x000022", "A='1\n\x000022"),
            ("export A='1'", "export -p"),
            ("export A='1'", "touch x"),
            ("0022", "0022; touch x"),
            ("0022", "9"),
            ("set -o nounset", "touch x"),
            ("\x000\0", "\x001\0"),
            ("\x000\0", "\x00x\0"),
            ("\x000\0", "\x000\0a\0"),
        ] {
            let wrong = text.replacen(from, to, 1);
            assert_ne!(wrong, text);
            assert_eq!(PosixState::read(wrong.as_bytes()), None, "{wrong:?}");
        }
        for end in 0..good.len() {
            assert_eq!(PosixState::read(&good[..end]), None, "{end}");
        }
    }

    #[test]
    fn what_is_kept_is_quoted_anew_and_holds_nothing_of_a_shells_own() {
        let told = b"\0\0PS1='$(touch x)'\nX=''\"'\"'; touch x #'\npalisade_y='1'\n\x000022\n\0set -o noexec\nset -o touch\n\x001\0; touch x\0";
        let script = String::from_utf8(PosixState::read(told).unwrap().script(&BTreeSet::new())).unwrap();
        assert_eq!(script, "X=''\\''; touch x #'\numask 0022\nset -- '; touch x'\n");
    }
}
