//! How one command is put to a running `sh` that is no bash, and how its end is read back. No I/O.
//!
//! This is `frame.rs` for a target without bash, with what dash and busybox's ash have: one descriptor digit, no function that a path
//! could name, no `$'…'`. As there, what reports the end is a line of its own with a nonce that nothing but the shell's input has
//! held, and it comes in both streams behind what the command has written.
//!
//! These shells read their input in blocks, and an interrupt makes them forget the block that they have, so that the rest of a line may
//! become one of its own. Every line therefore stands in an arm of a `case`: any rest of it holds a `;;` that nothing has opened, which
//! is a syntax error before anything of it runs. The command itself is written in octal numbers, which hold no quote and no blank.
//!
//! An error in a special builtin ends such a shell, or makes it forget its input; not if `command` runs what it is in (POSIX, XCU 2.8.1).
//!
//! Both leave a command that is interrupted from within the signal's handler. busybox's ash does so from wherever it is, also from within the
//! C library while that holds a lock, for which the shell then waits for ever: one in sixteen interrupts of `while :; do :; done` (1.35). With a
//! trap, which runs between two commands, it does not; the trap sends the signal once more, and the shell does what it does without one.

mod state;

use std::fmt::Write as _;

pub(crate) use self::state::{MAX_KEPT, PosixState};
use crate::shell::Nonce;
use crate::shell::frame::Streams;

/// The descriptors at which the shell keeps what its commands write to.
const OUT: u8 = 8;
const ERR: u8 = 9;

/// The status with which a shell ends at once that is none of those that scripts are judged for.
pub(crate) const FOREIGN: i32 = 97;

/// What an interrupt does while a command runs. All that the shell then starts has its own answer to one.
const INTERRUPTED: &str = "\\command \\trap - INT; \\command \\kill -INT \"$$\"";

/// Variables by which other shells are known: what is judged is what dash and ash do.
const OTHERS: &str = "${BASH_VERSION-}${KSH_VERSION-}${ZSH_VERSION-}${YASH_VERSION-}${POSH_VERSION-}";

/// What the shell is told first; as [`crate::shell::frame::boot_remote`] it tells its number and its home.
pub(crate) fn boot(nonce: &Nonce) -> Vec<u8> {
    let mut text = begun();
    text.push('\n');
    text.push_str(&report(nonce));
    text.into_bytes()
}

fn begun() -> String {
    // What ash prompts with stands before the number, so that this begins with a line end. `cd` leads where the facts say it does, as bash is told with `set -P`.
    format!(
        "if [ \"{OTHERS}\" ]; then exit {FOREIGN}; fi; \
         exec {OUT}>&1 {ERR}>&2 >/dev/null 2>/dev/null; PS1= PS2= PS4='+ '; unset ENV MAIL MAILPATH MAILCHECK CDPATH; \
         cd() {{ \\command cd -P \"$@\"; }}; \
         palisade_begin() {{ \\command \\trap '{INTERRUPTED}' INT; return \"$1\"; }}; \
         palisade_report() {{ \\command \\trap - INT; \\command \\printf '%s\\n' \"$2\" >&{ERR}; \\command \\printf '%s %s\\n' \"$2\" \"$1\" >&{OUT}; return \"$1\"; }}; \
         \\command \\printf '\\n%s\\n%s\\n' \"$$\" \"$HOME\" >&{OUT}; :"
    )
}

/// What such a shell is started with that is for one command: two lines in octal numbers from its input, and what comes behind
/// those is the command's. No quote of the kind that this stands in, and no backslash: any login shell reads it alike.
pub(crate) const ONCE: &str = "IFS= read -r palisade_text && eval \"$(printf %b \"$palisade_text\")\" && \
                        IFS= read -r palisade_text && eval \"$(printf %b \"$palisade_text\")\"";

/// The first line for such a shell: it becomes what another was, goes where the command is to run, and reports.
pub(crate) fn once(state: &[u8], own: &[u8], nonce: &Nonce) -> Vec<u8> {
    let state = line(state, None, Streams::Nowhere);
    let own = String::from_utf8_lossy(own);
    let text = format!("{}\n{state}\n{own} </dev/null\n{}", begun(), report(nonce));
    let mut line = octal(text.as_bytes());
    line.push('\n');
    line.into_bytes()
}

/// The second one: the command.
pub(crate) fn only(script: &[u8], directory: Option<&[u8]>) -> Vec<u8> {
    let text = format!("unset palisade_text\n{}", line(script, directory, Streams::Typed));
    let mut line = octal(text.as_bytes());
    line.push('\n');
    line.into_bytes()
}

/// One command, and the line with the report behind it.
pub(crate) fn command(script: &[u8], directory: Option<&[u8]>, streams: Streams<'_>, nonce: &Nonce) -> Vec<u8> {
    // `$?` stays what it was.
    let begin = "palisade_begin \"$?\" && :";
    format!("case x in x) {begin}; {} ;; esac\n{}", line(script, directory, streams), report(nonce)).into_bytes()
}

/// A line of our own in a shell that runs nothing else, and its report.
pub(crate) fn own(line: &str, nonce: &Nonce) -> Vec<u8> {
    format!("{line}\n{}", report(nonce)).into_bytes()
}

/// From now on reports come on standard output alone.
pub(crate) fn one_report() -> Vec<u8> {
    format!("exec {ERR}>/dev/null\n").into_bytes()
}

/// A report of its own, behind whatever an interrupt has left of other lines.
pub(crate) fn sync(nonce: &Nonce) -> Vec<u8> {
    format!("\n{}", report(nonce)).into_bytes()
}

/// What the shell is ([`PosixState::read`] takes it), in the stream of its commands' output, and a report. `status` is that of the command before,
/// which stays.
pub(crate) fn state_told(status: i32, nonce: &Nonce) -> Vec<u8> {
    let told = line(state::TELLS.as_bytes(), None, Streams::Kept);
    format!("case x in x) {told} ;; esac\ncase x in x) palisade_report {status} {}/ && : ;; esac\n", nonce.as_str())
        .into_bytes()
}

/// Makes a shell what another was, and a report.
pub(crate) fn restore(state: &[u8], nonce: &Nonce) -> Vec<u8> {
    command(state, None, Streams::Nowhere, nonce)
}

/// Where the shell for one command stands, and what all that it starts is known by.
pub(crate) fn settle(name: &str, mark: &str, cwd: &str) -> Vec<u8> {
    format!("export {name}={mark} && \\command cd -P -- {}", quoted(cwd.as_bytes())).into_bytes()
}

/// A text as one word that `sh` reads back as it is.
pub(crate) fn quoted(text: &[u8]) -> String {
    format!("'{}'", String::from_utf8_lossy(text).replace('\'', "'\\''"))
}

fn line(script: &[u8], directory: Option<&[u8]>, streams: Streams<'_>) -> String {
    let mut text = String::new();
    // If it cannot go there the command does not run.
    if let Some(directory) = directory {
        let _ = write!(text, "\\command cd -P -- {} </dev/null && ", decoded(directory));
    }
    let _ = write!(text, "\\command \\eval {}", decoded(script));
    // As with bash they stand on `eval`, so that `exec >file` inside is undone with it.
    let _ = match streams {
        Streams::Typed => write!(text, " >&{OUT} 2>&{ERR}"),
        Streams::Nowhere => write!(text, " </dev/null"),
        // The others are of shells on this machine.
        Streams::Kept | Streams::Files { .. } | Streams::Terminal => write!(text, " </dev/null >&{OUT} 2>&{ERR}"),
    };
    let _ = write!(text, " {OUT}>&- {ERR}>&-");
    text
}

/// A word that comes to this text, but for line ends behind it.
fn decoded(text: &[u8]) -> String {
    format!("\"$(\\command \\printf %b '{}')\"", octal(text))
}

/// A text in octal numbers, as `printf %b` reads them.
pub(crate) fn octal(text: &[u8]) -> String {
    text.iter().fold(String::with_capacity(text.len() * 5), |mut octal, byte| {
        let _ = write!(octal, "\\0{byte:03o}");
        octal
    })
}

/// A text as `printf %b` reads it, as short as can be: a shell reads such a line byte by byte.
pub(crate) fn escaped(text: &[u8]) -> String {
    text.iter().fold(String::with_capacity(text.len()), |mut escaped, byte| {
        match byte {
            b'\\' => escaped.push_str("\\0134"),
            b' '..=b'~' => escaped.push(char::from(*byte)),
            byte => {
                let _ = write!(escaped, "\\0{byte:03o}");
            }
        }
        escaped
    })
}

fn report(nonce: &Nonce) -> String {
    // `$?` as it is, also to a shell that does `set -e`.
    format!("case x in x) palisade_report \"$?\" {}/ && : ;; esac\n", nonce.as_str())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Output, Stdio};

    use super::*;

    const SHELLS: [&[&str]; 2] = [&["dash"], &["busybox", "sh"]];

    fn sh(shell: &[&str], arguments: &[&str], input: &[u8], directory: &std::path::Path) -> Output {
        let mut sh = Command::new(shell[0]);
        sh.args(&shell[1..]).args(arguments).current_dir(directory).env("HOME", "/h").env_remove("ENV");
        let mut sh = sh.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        sh.stdin.take().unwrap().write_all(input).unwrap();
        sh.wait_with_output().unwrap()
    }

    #[test]
    fn what_is_escaped_comes_out_as_it_was() {
        // What an escape stands before must not be taken for a part of it.
        let text: Vec<u8> = (1..=255).flat_map(|byte| [byte, b'1', b'\\', b'n', b'7']).collect();
        let line = escaped(&text);
        assert!(line.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{line}");
        for text in [text.as_slice(), b"-n %s $x `y` \"'", b"\n", b""] {
            let print = "IFS= read -r text; printf %b \"$text\"";
            let printed =
                sh(&["sh"], &["-c", print], format!("{}\n", escaped(text)).as_bytes(), std::path::Path::new("/"));
            assert_eq!(printed.stdout, text);
        }
    }

    fn told(shell: &[&str], scripts: &[&[u8]]) -> String {
        let place = tempfile::tempdir().unwrap();
        let nonce = Nonce("0".repeat(32));
        let mut input = boot(&nonce);
        for script in scripts {
            input.extend(command(script, None, Streams::Kept, &nonce));
        }
        let output = sh(shell, &["-i"], &input, place.path());
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        // Behind what it says of itself.
        let begin = format!("{}/ 0\n", nonce.as_str());
        out.split_once(&begin).unwrap().1.replace(nonce.as_str(), "N")
    }

    #[test]
    fn a_shell_tells_each_end_and_lives() {
        for shell in SHELLS {
            for (scripts, expected) in [
                (&["echo a", "false", "echo $?"][..], "a\nN/ 0\nN/ 1\n1\nN/ 0\n"),
                (&["x='it'\"'\"'s\n  two'", "echo \"$x\""], "N/ 0\nit's\n  two\nN/ 0\n"),
                (&["exec >/dev/null", "echo still"], "N/ 0\nstill\nN/ 0\n"),
                (&["exec </dev/null 2>/dev/null", "echo still"], "N/ 0\nstill\nN/ 0\n"),
                (&["cat", "echo on"], "N/ 0\non\nN/ 0\n"),
                (&["shift 9", "echo on"], "N/ 2\non\nN/ 0\n"),
                (&["echo ${nope?}", "echo on"], "N/ 2\non\nN/ 0\n"),
                (&["set -u; echo $nope", "echo on"], "N/ 2\non\nN/ 0\n"),
                (&["echo 'a", "echo on"], "N/ 2\non\nN/ 0\n"),
                (&["set -e; true", "echo on"], "N/ 0\non\nN/ 0\n"),
                (&["set -x; true", "echo on"], "N/ 0\non\nN/ 0\n"),
                (&["set -f; IFS=0", "echo on"], "N/ 0\non\nN/ 0\n"),
                (&["f() { return 7; }; f", "echo $?"], "N/ 7\n7\nN/ 0\n"),
                (&["cat <<E\nx\nE", "printf 'no end'"], "x\nN/ 0\nno endN/ 0\n"),
                (&["echo x >&8", "echo x >&9"], "N/ 2\nN/ 2\n"),
                (&["exit 5"], ""),
            ] {
                let scripts: Vec<&[u8]> = scripts.iter().map(|script| script.as_bytes()).collect();
                let found =
                    told(shell, &scripts).replace("N/ 1\nN/ 1\n", "N/ 2\nN/ 2\n").replace("N/ 1\non", "N/ 2\non");
                assert_eq!(found, expected, "{shell:?}: {:?}", String::from_utf8_lossy(scripts[0]));
            }
        }
    }

    #[test]
    fn any_text_comes_to_itself() {
        let every: Vec<u8> = (1..=255).collect();
        let place = tempfile::tempdir().unwrap();
        for shell in SHELLS {
            let line = format!("\\command \\printf %s {}", decoded(&every));
            assert_eq!(sh(shell, &["-c", &line], b"", place.path()).stdout, every, "{shell:?}");
            let word = quoted("it's\n\\ $x `y` \u{e9}".as_bytes());
            let found = sh(shell, &["-c", &format!("printf %s {word}")], b"", place.path()).stdout;
            assert_eq!(String::from_utf8_lossy(&found), "it's\n\\ $x `y` \u{e9}", "{shell:?}");
        }
    }

    /// Interrupts hit the shell while it reads: nothing of the text may run that is not the text as a whole.
    #[test]
    fn no_rest_of_a_line_runs_a_part_of_it() {
        let nonce = Nonce::new().unwrap();
        let script = b"echo 'x; touch ran; ' \"$(touch ran)\" `touch ran` | touch ran & A=1 touch ran\ntouch ran # ";
        for directory in [None, Some(b"/".as_slice())] {
            let whole = command(script, directory, Streams::Kept, &nonce);
            let end = whole.iter().position(|byte| *byte == b'\n').unwrap();
            for shell in SHELLS {
                let place = tempfile::tempdir().unwrap();
                let bin = place.path().join("bin");
                std::fs::create_dir(&bin).unwrap();
                // All the rests at once: each begins in a shell of its own state, and no program has such a name.
                for start in (1..end).step_by(7).chain(end.saturating_sub(60)..whole.len()) {
                    let mut sh = Command::new(shell[0]);
                    sh.args(&shell[1..]).current_dir(place.path()).stdin(Stdio::piped()).stdout(Stdio::null());
                    let mut sh = sh.stderr(Stdio::null()).spawn().unwrap();
                    let _ended = sh.stdin.take().unwrap().write_all(&whole[start..]);
                    sh.wait().unwrap();
                    assert!(!place.path().join("ran").exists(), "{}", String::from_utf8_lossy(&whole[start..]));
                }
            }
        }
    }

    #[test]
    fn a_shell_for_one_command_leaves_it_its_input() {
        let place = tempfile::tempdir().unwrap();
        let nonce = Nonce("0".repeat(32));
        for shell in SHELLS {
            let mut input = once(b"x='it'\\''s'\nexport x\n", &settle("MARK", "m", "/usr"), &nonce);
            input.extend(only(b"pwd; echo $MARK; env | grep ^x=; cat; exit 4", None));
            input.extend(b"typed\n");
            let ended = sh(shell, &["-c", ONCE], &input, place.path());
            let out = String::from_utf8_lossy(&ended.stdout).into_owned();
            let behind = out.split_once(&format!("{}/ 0\n", nonce.as_str())).map(|(_, behind)| behind);
            assert_eq!((behind, ended.status.code()), (Some("/usr\nm\nx=it's\ntyped\n"), Some(4)), "{shell:?}: {out}");
        }
    }
}
