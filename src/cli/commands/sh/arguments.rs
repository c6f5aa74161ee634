//! What callers write behind the name of a shell, and the script that it comes to. No I/O.
//!
//! Callers start a shell in the forms of sh(1p) and bash(1): `-c TEXT NAME ARG…`, `-lc TEXT`, `-e FILE ARG…`, `-s ARG…`, or with nothing and
//! a script on standard input. Each form becomes one text for policy: options as `set` and `shopt`, arguments as `set --`. An option that
//! would change the meaning of the text in a way that a text cannot say is refused.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

use crate::cli::foreground::words::quote;

/// Single letters that `set` takes as well (bash(1), "SHELL BUILTIN COMMANDS").
const SET: &[u8] = b"abefhkmtuvxBCEHPT";

/// Letters that mean nothing here: whether it is a login shell or an interactive one, since it has no start-up files and no prompt.
const IDLE: &[u8] = b"li";

/// Long options of that kind.
const IDLE_LONG: [&str; 4] = ["--login", "--noprofile", "--norc", "--noediting"];

/// Where the script comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The text behind `-c`.
    Text(OsString),
    /// A file of this name.
    File(OsString),
    /// Standard input.
    Input,
}

/// What a caller has asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) source: Source,
    /// The session that it named behind the text.
    pub(super) session: Option<String>,
    /// Commands that stand in front of the script, such as `set -e`.
    options: Vec<Vec<u8>>,
    /// `$0`, where it was given.
    name: Option<OsString>,
    arguments: Vec<OsString>,
}

impl Asked {
    /// Reads the words behind the name of the shell.
    ///
    /// # Errors
    /// What is wrong with them, as a sentence.
    pub(super) fn read(words: &[OsString]) -> Result<Self, String> {
        let mut words = words.iter().peekable();
        let (mut options, mut is_text, mut is_input) = (Vec::new(), false, false);
        while let Some(word) = words.next_if(|word| is_option(word)) {
            let text = word.to_str().ok_or_else(|| format!("`{}` is no option", word.display()))?;
            if text == "--" || text == "-" {
                break;
            }
            if text.starts_with("--") {
                match text {
                    _ if IDLE_LONG.contains(&text) => {}
                    "--posix" => options.push(b"set -o posix".to_vec()),
                    "--verbose" => options.push(b"set -v".to_vec()),
                    "--rcfile" | "--init-file" => drop(words.next()),
                    _ => return Err(format!("`{text}` is no option of a shell")),
                }
                continue;
            }
            let (sign, letters) = text.split_at(1);
            for letter in letters.bytes() {
                match letter {
                    b'c' if sign == "-" => is_text = true,
                    b's' if sign == "-" => is_input = true,
                    _ if IDLE.contains(&letter) => {}
                    b'o' | b'O' => {
                        let named = words.next().ok_or_else(|| format!("`{sign}o` needs the name of an option"))?;
                        options.push(option(letter, sign, named));
                    }
                    _ if SET.contains(&letter) => {
                        options.push(format!("set {sign}{}", char::from(letter)).into_bytes());
                    }
                    _ => return Err(format!("`{sign}{}` is no option that this shell takes", char::from(letter))),
                }
            }
        }
        let mut rest: Vec<OsString> = words.cloned().collect();
        let mut session = None;
        let source = if is_text {
            if rest.is_empty() {
                return Err("`-c` needs a text".to_owned());
            }
            let text = rest.remove(0);
            session = behind(&mut rest)?;
            Source::Text(text)
        } else if is_input || rest.is_empty() {
            Source::Input
        } else {
            Source::File(rest.remove(0))
        };
        let name = match &source {
            Source::Text(_) if !rest.is_empty() => Some(rest.remove(0)),
            Source::File(file) => Some(file.clone()),
            Source::Text(_) | Source::Input => None,
        };
        Ok(Self { source, session, options, name, arguments: rest })
    }

    /// The text for policy, where `script` is what the source has.
    pub(super) fn script(&self, script: &[u8]) -> Vec<u8> {
        let mut before = self.options.clone();
        if let Some(name) = self.name.as_ref().filter(|_| names_itself(script)) {
            before.push([b"BASH_ARGV0=", quote(name, true).as_slice()].concat());
        }
        if !self.arguments.is_empty() {
            let words = self.arguments.iter().map(|word| quote(word, false));
            let words: Vec<Vec<u8>> = [b"set --".to_vec()].into_iter().chain(words).collect();
            before.push(words.join(&b' '));
        }
        let mut text = Vec::new();
        for command in before {
            text.extend(command);
            // On the line of the script, so that the numbers of its lines stay.
            text.extend(b"; ");
        }
        text.extend(script);
        text
    }

    /// The command that has a real shell read the file itself, with the same options and arguments.
    pub(super) fn started(&self, file: &OsStr) -> Vec<u8> {
        let words = self.arguments.iter().map(|word| quote(word, false));
        let run = [b"bash".to_vec(), b"--".to_vec(), quote(file, false)].into_iter().chain(words);
        let run: Vec<Vec<u8>> = run.collect();
        // bash takes the same options as `set`, under the same letters.
        let flags = self.options.iter().map(|option| match option.strip_prefix(b"set ") {
            Some(flag) => flag.to_vec(),
            None => {
                let on = option.starts_with(b"shopt -s ");
                let name = option.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
                [if on { b"-O " } else { b"+O " }, name].concat()
            }
        });
        let mut words = run;
        for (at, flag) in flags.enumerate() {
            words.insert(1 + at, flag);
        }
        words.join(&b' ')
    }
}

/// A session that is named behind the text, as the reference of this verb writes it.
fn behind(rest: &mut Vec<OsString>) -> Result<Option<String>, String> {
    let Some(first) = rest.first().and_then(|word| word.to_str()) else { return Ok(None) };
    if let Some(name) = first.strip_prefix("--session=") {
        let name = name.to_owned();
        rest.remove(0);
        return Ok(Some(name));
    }
    if first != "--session" {
        return Ok(None);
    }
    rest.remove(0);
    if rest.is_empty() {
        return Err("`--session` needs a name".to_owned());
    }
    let name = rest.remove(0);
    name.into_string().map(Some).map_err(|name| format!("`{}` is no name of a session", name.display()))
}

fn is_option(word: &OsStr) -> bool {
    matches!(word.as_bytes(), [b'-', ..] | [b'+', _, ..])
}

/// `set -o NAME` or `shopt -s NAME`.
fn option(letter: u8, sign: &str, named: &OsStr) -> Vec<u8> {
    let command = match (letter, sign) {
        (b'O', "-") => "shopt -s ".to_owned(),
        (b'O', _) => "shopt -u ".to_owned(),
        _ => format!("set {sign}o "),
    };
    [command.as_bytes(), &quote(named, false)].concat()
}

/// Whether a script speaks of its own name, which is known only where it is set.
fn names_itself(script: &[u8]) -> bool {
    script.windows(2).any(|pair| pair == b"$0") || script.windows(3).any(|three| three == b"${0")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    fn asked(words: &[&str]) -> Result<Asked, String> {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        Asked::read(&words)
    }

    fn text(words: &[&str]) -> String {
        let asked = asked(words).unwrap();
        let script = match &asked.source {
            Source::Text(text) => text.clone().into_vec(),
            Source::File(_) | Source::Input => b"BODY".to_vec(),
        };
        String::from_utf8(asked.script(&script)).unwrap()
    }

    #[test]
    fn each_form_of_a_shell_becomes_one_text() {
        for (words, expected) in [
            (&["-c", "ls"][..], "ls"),
            (&["-lc", "ls"], "ls"),
            (&["-l", "-c", "ls"], "ls"),
            (&["-c", "-l", "ls"], "ls"),
            (&["-c", "--", "-x"], "-x"),
            (&["--login", "-c", "ls"], "ls"),
            (&["--rcfile", "f", "-ic", "ls"], "ls"),
            (&["-ec", "a; b"], "set -e; a; b"),
            (&["-eo", "pipefail", "-c", "a"], "set -e; set -o pipefail; a"),
            (&["-euo", "pipefail", "+x", "-c", "a"], "set -e; set -u; set -o pipefail; set +x; a"),
            (&["-O", "extglob", "-c", "a"], "shopt -s extglob; a"),
            (&["-c", "echo $1", "sh", "it's"], r"set -- 'it'\''s'; echo $1"),
            (&["-c", "echo $0", "me"], "BASH_ARGV0='me'; echo $0"),
            (&["-c", "echo", "me"], "echo"),
            (&["-s", "a", "b"], "set -- a b; BODY"),
            (&[], "BODY"),
            (&["-e"], "set -e; BODY"),
            (&["-e", "x.sh", "-c", "1"], "set -e; set -- -c 1; BODY"),
        ] {
            assert_eq!(text(words), expected, "{words:?}");
        }
    }

    #[test]
    fn a_session_may_be_named_behind_the_text() {
        for words in [&["-c", "ls", "--session", "s1"][..], &["-c", "ls", "--session=s1"]] {
            assert_eq!(asked(words).unwrap().session.as_deref(), Some("s1"), "{words:?}");
        }
        assert_eq!(asked(&["-c", "ls", "sh", "--session", "s1"]).unwrap().session, None);
    }

    #[test]
    fn a_file_is_given_to_a_shell_with_the_same_options() {
        let asked = asked(&["-eo", "pipefail", "-O", "extglob", "x y.sh", "a'b"]).unwrap();
        assert_eq!(asked.source, Source::File("x y.sh".into()));
        let started = String::from_utf8(asked.started(OsStr::new("/w/x y.sh"))).unwrap();
        assert_eq!(started, r"bash -e -o pipefail -O extglob -- '/w/x y.sh' 'a'\''b'");
    }

    #[test]
    fn what_a_text_cannot_say_is_refused() {
        for (words, told) in [
            (&["-n", "-c", "rm x"][..], "`-n`"),
            (&["-r", "-c", "ls"], "`-r`"),
            (&["-D"], "`-D`"),
            (&["--restricted", "-c", "ls"], "--restricted"),
            (&["-c"], "`-c` needs a text"),
            (&["-o"], "`-o` needs"),
            (&["-c", "ls", "--session"], "`--session` needs"),
        ] {
            let error = asked(words).unwrap_err();
            assert!(error.contains(told), "{words:?}: {error}");
        }
    }
}
