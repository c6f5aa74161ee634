//! How one command is put to a running bash, and how its end is read back. No I/O.
//!
//! Two lines go down the shell's standard input in one write. The first runs the command at the top level, with
//! channels of its own. The second reports the end with a fresh nonce on a descriptor that is closed for the command:
//! neither its text, nor a child, nor a file can contain that nonce, so that no output can forge an end. The shell's
//! input and the report's descriptor are sockets, which cannot be opened again through `/proc`; what is left is code in
//! the shell itself that reads descriptors it did not open, and that is an opaque item to the grammar.

use std::fmt::Write as _;

use crate::session::Nonce;

/// The descriptor on which the shell reports the end of a command; above what programs use of their own accord.
pub const CONTROL_FD: i32 = 198;

/// The name of the shell function that reports. Read-only from the first line on.
const REPORT: &str = "__palisade_done";

/// What the shell is told before its first command. Nothing of a person's set-up is wanted, and some of bash's own
/// defaults for interactive shells would change what a text means: history expansion, aliases.
pub fn boot(nonce: &Nonce) -> Vec<u8> {
    let mut text = String::new();
    text.push_str("PS1= PS2= PS0= PS4='+ ' PROMPT_COMMAND=; unset HISTFILE MAIL MAILCHECK MAILPATH; ");
    // Physical, so that `cd ..` leads where the facts say it does.
    text.push_str("set +o history +H +m -o physical; shopt -u expand_aliases sourcepath progcomp checkwinsize; ");
    // An interactive shell says `exit` on standard error when it is left; the agent did not write that.
    text.push_str("exit() { builtin exit \"$@\" 2>/dev/null; }; ");
    // Arguments only: a variable could be read-only with a value of the agent's. The status goes on as `$?`.
    let _ = writeln!(
        text,
        "{REPORT}() {{ builtin printf '%s %s\\n' \"$1\" \"$2\" >&{CONTROL_FD}; builtin return \"$2\"; }}; builtin readonly -f {REPORT}"
    );
    text.push_str(&report(nonce));
    text.into_bytes()
}

/// One command: its text byte for byte, its standard streams, and the report behind it. With `directory`, the shell
/// goes there first, and if it cannot, the command does not run.
pub fn command(script: &[u8], directory: Option<&[u8]>, stdout: &str, stderr: &str, nonce: &Nonce) -> Vec<u8> {
    let mut text = String::with_capacity(script.len() * 2 + 256);
    if let Some(directory) = directory {
        text.push_str("builtin cd -P -- ");
        quote(directory, &mut text);
        text.push_str(" && ");
    }
    text.push_str("builtin eval ");
    quote(script, &mut text);
    // The redirections stand on `eval`, so that `exec >file` inside is undone with it, and the descriptor of the
    // report is closed for whatever the command starts.
    let _ = writeln!(text, " </dev/null >{stdout} 2>{stderr} {CONTROL_FD}>&-");
    text.push_str(&report(nonce));
    text.into_bytes()
}

/// The status in a report, if `line` is one and carries this nonce.
pub fn status(line: &[u8], nonce: &Nonce) -> Option<i32> {
    let (given, status) = std::str::from_utf8(line).ok()?.trim_end_matches('\n').split_once(' ')?;
    if given != nonce.as_str() {
        return None;
    }
    status.parse().ok().filter(|status| (0..=255).contains(status))
}

fn report(nonce: &Nonce) -> String {
    format!("{REPORT} {} \"$?\"\n", nonce.as_str())
}

/// `$'…'` with every byte that is not plain ASCII as an octal escape: one line, whatever the text holds.
fn quote(bytes: &[u8], text: &mut String) {
    text.push_str("$'");
    for &byte in bytes {
        match byte {
            b'\'' | b'\\' => {
                text.push('\\');
                text.push(char::from(byte));
            }
            b' '..=b'~' => text.push(char::from(byte)),
            _ => {
                let _ = write!(text, "\\{byte:03o}");
            }
        }
    }
    text.push('\'');
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn any_text_is_one_line_that_bash_reads_back() {
        let every_byte: Vec<u8> = (1..=255).collect();
        for script in
            [b"echo hi".as_slice(), b"it's\n\\ $x `y` !!", "h\u{e9}llo \u{1f980}".as_bytes(), &every_byte, b"\x017"]
        {
            let mut line = String::from("printf %s ");
            quote(script, &mut line);
            assert!(!line.contains('\n'));
            let printed = Command::new("bash").arg("-c").arg(&line).env("LC_ALL", "C").output().unwrap();
            assert_eq!(printed.stdout, script);
        }
    }

    #[test]
    fn only_the_right_nonce_and_a_status_make_a_report() {
        let nonce = Nonce::new().unwrap();
        let line = |text: &str| format!("{text}\n").into_bytes();
        assert_eq!(status(&line(&format!("{} 0", nonce.as_str())), &nonce), Some(0));
        assert_eq!(status(&line(&format!("{} 255", nonce.as_str())), &nonce), Some(255));
        for wrong in ["0", "x 0", &format!("{} 256", nonce.as_str()), &format!("{} -1", nonce.as_str()), nonce.as_str()]
        {
            assert_eq!(status(&line(wrong), &nonce), None, "{wrong}");
        }
    }
}
