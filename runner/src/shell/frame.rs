//! How one command is put to a running bash, and how its end is read back. No I/O.
//!
//! Two lines go down the shell's standard input in one write. The first runs the command at the top level, with
//! channels of its own. The second reports the end with a fresh nonce on a descriptor that is closed for the command:
//! neither its text, nor a child, nor a file can contain that nonce, so that no output can forge an end. The shell's
//! input and the report's descriptor are sockets, which cannot be opened again through `/proc`; what is left is code in
//! the shell itself that reads descriptors it did not open, and that is an opaque item to the grammar. Such code can lie
//! about its own status, as `; true` does; it reaches no other session's, and what it prints is kept apart from this.
//!
//! An interrupt that arrives while bash reads a line makes it forget what it has read of it, and run the rest as a line
//! of its own; and any background child can send one. So no rest of a line may mean anything but the line itself. All
//! that separates words is written as escapes, which outside the quotes separate nothing; and a report's nonce ends in
//! `/`, so that every rest of it names a directory. bash reads byte by byte: what is not there takes no time.

use std::fmt::Write as _;

use crate::shell::Nonce;

/// The descriptor on which the shell reports the end of a command; above what programs use of their own accord.
pub const CONTROL_FD: i32 = 198;

/// The descriptor at which a shell with a terminal holds it for its commands.
pub const TERMINAL_FD: i32 = 197;

/// The descriptor on which the shell tells its state: a socket too, since what is told there another shell will run.
pub const STATE_FD: i32 = 196;

/// The descriptors at which a shell keeps a pair of pipes for its commands' output.
pub const KEPT_FDS: [i32; 2] = [200, 201];

/// The shell functions that report and that tell the shell's state. Read-only from the first line on; names with a
/// slash are looked up as functions (bash(1), "COMMAND EXECUTION", does not say so; its source and our tests do) and
/// never as programs.
const REPORT: &str = "/palisade/";
const STATE: &str = "/palisade/state/";

/// What stands behind a line of our own whose status is the command's, so that it ends no shell that does `set -e`.
const KEEPS_STATUS: &str = " && ((1))";

/// Where a command's standard streams lead.
#[derive(Clone, Copy, Debug)]
pub enum Streams<'a> {
    /// To files of these names.
    Files {
        /// Standard input.
        stdin: &'a str,
        /// Standard output.
        stdout: &'a str,
        /// Standard error.
        stderr: &'a str,
    },
    /// Standard input to the null device, the others to what the shell keeps at [`KEPT_FDS`].
    Kept,
    /// Standard input to what the shell's own leads to, the others to what the shell keeps at [`KEPT_FDS`].
    Typed,
    /// All three to the shell's terminal.
    Terminal,
    /// Nowhere: what the shell itself holds leads to the null device, which it need not be able to open for writing.
    Nowhere,
}

/// Nothing of a person's set-up is wanted, and some of bash's own defaults for interactive shells would change what a text
/// means: history expansion, aliases. Physical, so that `cd ..` leads where the facts say it does.
const PLAIN: &str = "PS1= PS2= PS0= PS4='+ ' PROMPT_COMMAND=; unset HISTFILE MAIL MAILCHECK MAILPATH; \
                     set +o history +H +m -o physical; shopt -u expand_aliases sourcepath progcomp checkwinsize; ";

/// What the shell is told before its first command.
pub fn boot(nonce: &Nonce) -> Vec<u8> {
    let mut text = String::from(PLAIN);
    // Arguments only: a variable could be read-only with a value of the agent's. The status goes on as `$?`.
    let _ = write!(
        text,
        "{REPORT}s/() {{ builtin printf '%s %s\\n' \"$2\" \"$1\" >&{CONTROL_FD}; builtin return \"$1\"; }}; \
         {REPORT}() {{ {REPORT}s/ \"$?\" \"$1\"; }}; "
    );
    let _ = writeln!(text, "{}; builtin readonly -f {REPORT} {REPORT}s/ {STATE}", state_function());
    text.push_str(&report(nonce));
    text.into_bytes()
}

/// Tells what makes a fresh shell this one again. Options that may end a shell come last.
fn state_function() -> String {
    format!(
        "{STATE}() {{ builtin declare -p; builtin declare -f; builtin declare -F; builtin shopt -p; builtin alias -p; \
         builtin printf 'set --'; if (( $# )); then builtin printf ' %q' \"$@\"; fi; builtin printf '\\n'; \
         builtin umask -p; builtin set +o; }}"
    )
}

/// What a shell at the other end of a transport is told first. It has its three standard streams and nothing else, so that its
/// reports come in the streams of its commands, behind what those have written: on standard output with the status, on
/// standard error without. Before the first it tells its number and its home.
pub fn boot_remote(nonce: &Nonce) -> Vec<u8> {
    let mut text = begun();
    text.push_str(&report(nonce));
    text.into_bytes()
}

/// The lines of [`boot_remote`] without the report.
fn begun() -> String {
    let [out, err] = KEPT_FDS;
    begun_with(&format!("{out}>&1 {err}>&2"))
}

/// The same for a shell whose streams are one terminal: there is one report, and what is its own stays off the terminal.
fn begun_at_terminal() -> String {
    let [out, err] = KEPT_FDS;
    begun_with(&format!("{TERMINAL_FD}<&0 {out}>/dev/null {err}>/dev/null"))
}

fn begun_with(streams: &str) -> String {
    let [_, err] = KEPT_FDS;
    let mut text = format!("exec {streams} {CONTROL_FD}>&1 >/dev/null 2>/dev/null; {PLAIN}");
    let _ = writeln!(
        text,
        "{REPORT}s/() {{ builtin printf '%s\\n' \"$2\" >&{err}; builtin printf '%s %s\\n' \"$2\" \"$1\" >&{CONTROL_FD}; \
         builtin return \"$1\"; }}; {REPORT}() {{ {REPORT}s/ \"$?\" \"$1\"; }}; {}; \
         builtin readonly -f {REPORT} {REPORT}s/ {STATE}; \
         builtin printf '%s\\n%s\\n' \"$$\" \"$HOME\" >&{CONTROL_FD}; ((1))",
        state_function()
    );
    text
}

/// What a shell at the other end is started with that is for one command: it takes two texts from its input, each with a NUL behind it, and
/// what comes behind those is the command's. It reads no more commands, whatever the one that it has does to it. No quote of the kind that
/// this stands in, and no backslash: any login shell reads it alike.
pub const ONCE: &str = "IFS= builtin read -r -d \"\" PALISADE_TEXT && builtin eval \"$PALISADE_TEXT\" && \
                        IFS= builtin read -r -d \"\" PALISADE_TEXT && builtin eval \"$PALISADE_TEXT\"";

/// The first text for such a shell: it becomes what another was, and reports.
pub fn once(state: Option<&[u8]>, own: &[u8], terminal: bool, nonce: &Nonce) -> Vec<u8> {
    let mut text = if terminal { begun_at_terminal() } else { begun() }.into_bytes();
    if let Some(state) = state {
        text.extend(line_of(&state_remote(state), None, Streams::Nowhere).into_bytes());
        text.push(b'\n');
    }
    text.extend(line_of(own, None, Streams::Nowhere).into_bytes());
    text.push(b'\n');
    text.extend(report(nonce).into_bytes());
    text.push(0);
    text
}

/// The second one: the command.
pub fn only(script: &[u8], directory: Option<&[u8]>, farewell: bool) -> Vec<u8> {
    let mut text = b"\\builtin unset -v PALISADE_TEXT\n".to_vec();
    text.extend(alone(script, directory, Streams::Typed, farewell).into_bytes());
    text.extend(b"\n\0");
    text
}

/// The same at a terminal that passes on what is written to it as it is: first it becomes one for a person, and the report says so, behind
/// which all that comes is the command's. `command` finds no function of that name, and a program of the system.
pub fn only_at_terminal(script: &[u8], directory: Option<&[u8]>, farewell: bool, nonce: &Nonce) -> Vec<u8> {
    let mut text = b"\\builtin unset -v PALISADE_TEXT\n\\builtin command -p stty sane || \\builtin exit 125\n".to_vec();
    text.extend(report(nonce).into_bytes());
    text.extend(alone(script, directory, Streams::Terminal, farewell).into_bytes());
    text.extend(b"\n\0");
    text
}

/// A line of our own in a shell that runs nothing else, and its report.
pub fn own(line: &str, nonce: &Nonce) -> Vec<u8> {
    format!("{line}\n{}", report(nonce)).into_bytes()
}

/// A text as one word that bash reads back as it is.
pub fn quoted(text: &[u8]) -> String {
    let mut word = String::new();
    quote(text, &mut word);
    word
}

/// One command: the line with its text byte for byte and its standard streams, and the line with the report behind it.
/// With `directory`, the shell goes there first, and if it cannot, the command does not run.
pub fn command(script: &[u8], directory: Option<&[u8]>, streams: Streams<'_>, nonce: &Nonce) -> Vec<u8> {
    let mut text = line_of(script, directory, streams);
    text.push('\n');
    text.push_str(&report(nonce));
    text.into_bytes()
}

/// The same, and the shell ends with it: what the command has set for that (`trap … EXIT`) runs, with the command's streams. There is a
/// report only if the shell goes on, as after an interrupt, which makes it forget the line.
pub fn last(script: &[u8], directory: Option<&[u8]>, streams: Streams<'_>, nonce: &Nonce) -> Vec<u8> {
    // An interactive shell says `exit` on standard error; not within a trap. The signal comes before the next command.
    // What a session has set is for its own end.
    let begins = "\\builtin trap - EXIT";
    let exits = "\\builtin trap \"\\\\builtin exit $?\" RTMIN+7 && \\builtin kill -RTMIN+7 \"$$\" && \\builtin :";
    let mut text = redirected(format!("{{ {begins}; {}; {exits}; }}", asked(script, directory)), streams);
    text.push('\n');
    text.push_str(&report(nonce));
    text.into_bytes()
}

fn line_of(script: &[u8], directory: Option<&[u8]>, streams: Streams<'_>) -> String {
    redirected(asked(script, directory), streams)
}

/// The command of such a shell, which ends of itself. With `farewell` it may set something for that (`trap … EXIT`), which runs when
/// redirections are undone: the streams are turned for good then. `builtin` would undo that, too; where somebody has a function of the other
/// name, nothing is seen of what runs at the end. What a session has set is for its own end.
fn alone(script: &[u8], directory: Option<&[u8]>, streams: Streams<'_>, farewell: bool) -> String {
    let undone = line_of(script, directory, streams);
    if !farewell {
        return format!("\\builtin trap - EXIT\n{undone}");
    }
    let turned = redirected(String::from("\\command exec"), streams);
    let asked = asked(script, directory);
    format!("\\builtin trap - EXIT\nif \\builtin declare -F command; then {undone}\nelse {turned}\n{asked}\nfi")
}

/// The command, in the directory.
fn asked(script: &[u8], directory: Option<&[u8]>) -> String {
    let Some(directory) = directory else { return evaluated(script) };
    let mut moved = String::from("\\builtin cd -P -- ");
    quote(directory, &mut moved);
    moved.push_str(" && ");
    moved.push_str(&evaluated(script));
    evaluated(moved.as_bytes())
}

fn redirected(mut text: String, streams: Streams<'_>) -> String {
    // The redirections stand around the command, so that `exec >file` inside is undone with it, and the descriptors that are the
    // shell's own are closed for whatever the command starts.
    let [out, err] = KEPT_FDS;
    let _ = match streams {
        Streams::Files { stdin, stdout, stderr } => write!(text, " <{stdin} >{stdout} 2>{stderr}"),
        Streams::Kept => write!(text, " </dev/null >&{out} 2>&{err}"),
        Streams::Terminal => write!(text, " <&{TERMINAL_FD} >&{TERMINAL_FD} 2>&{TERMINAL_FD} {TERMINAL_FD}>&-"),
        Streams::Typed => write!(text, " >&{out} 2>&{err}"),
        Streams::Nowhere => write!(text, " </dev/null"),
    };
    let _ = write!(text, " {CONTROL_FD}>&- {STATE_FD}>&- {out}>&- {err}>&-");
    text
}

/// Gives the next command this status to see as that of the one before it, and reports.
pub fn status(status: i32, nonce: &Nonce) -> Vec<u8> {
    line(&format!("{REPORT}s/ {status}"), nonce).into_bytes()
}

/// From now on reports of a shell at the other end come on standard output alone.
pub fn one_report() -> Vec<u8> {
    let [_, err] = KEPT_FDS;
    format!("exec {err}>/dev/null\n").into_bytes()
}

/// A report of its own, behind whatever an interrupt has left of other lines.
pub fn sync(nonce: &Nonce) -> Vec<u8> {
    format!("\n{}", report(nonce)).into_bytes()
}

/// The shell's state, written to its descriptor, and a report behind it. `status` is that of the command before, which stays.
pub fn state(status: i32, nonce: &Nonce) -> Vec<u8> {
    // In a function bash hides the traps ERR, DEBUG and RETURN.
    let mut text = evaluated(format!("{STATE} \"$@\"\n\\builtin trap -p").as_bytes());
    let _ = writeln!(text, " </dev/null >&{STATE_FD} {CONTROL_FD}>&- {STATE_FD}>&-");
    text.push_str(&line(&format!("{REPORT}s/ {status}"), nonce));
    text.into_bytes()
}

/// The same of a shell at the other end, where it comes in the stream of its commands' output, before the report.
pub fn state_told(status: i32, nonce: &Nonce) -> Vec<u8> {
    let [out, err] = KEPT_FDS;
    let mut text = evaluated(format!("{STATE} \"$@\"\n\\builtin trap -p").as_bytes());
    let _ = writeln!(text, " </dev/null >&{out} {CONTROL_FD}>&- {out}>&- {err}>&-");
    text.push_str(&line(&format!("{REPORT}s/ {status}"), nonce));
    text.into_bytes()
}

/// Makes a fresh shell at the other end what another was, and a report behind it.
pub fn restore_remote(state: &[u8], nonce: &Nonce) -> Vec<u8> {
    command(&state_remote(state), None, Streams::Nowhere, nonce)
}

/// A state, behind what takes the variables away that the fresh shell was started with.
fn state_remote(state: &[u8]) -> Vec<u8> {
    let mut text = b"builtin unset -v $(builtin compgen -e)\n".to_vec();
    text.extend(without_line_editing(state));
    text
}

/// Makes a fresh shell what another was, and a report behind it. What bash's own variables and the functions of this
/// file refuse is as it should be already. Of the variables that the fresh shell was started with, `names`, only those
/// stay that the state has, too.
pub fn restore(state: &[u8], names: &[String], nonce: &Nonce) -> Vec<u8> {
    let mut text = Vec::new();
    for name in names.iter().filter(|name| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')) {
        text.extend(format!("builtin unset -v {name}\n").bytes());
    }
    text.extend(without_line_editing(state));
    command(&text, None, Streams::Nowhere, nonce)
}

/// The state without the options of line editing, which a shell without a terminal does not do: setting one makes bash
/// read its commands from what is standard input at that moment.
fn without_line_editing(state: &[u8]) -> Vec<u8> {
    // The options come last but for traps, in the order of their names.
    let options = [b"\nset +o allexport\n", b"\nset -o allexport\n"];
    let at = options.iter().filter_map(|first| state.windows(first.len()).rposition(|window| window == *first)).max();
    let (before, options) = state.split_at(at.unwrap_or(state.len()));
    let edits = |line: &[u8]| {
        let sets = line.starts_with(b"set +o ") || line.starts_with(b"set -o ");
        sets && (line.ends_with(b" emacs\n") || line.ends_with(b" vi\n"))
    };
    let options = options.split_inclusive(|byte| *byte == b'\n').filter(|line| !edits(line));
    [before].into_iter().chain(options).collect::<Vec<_>>().concat()
}

/// What is a fresh shell's own, whatever state it was given; `terminal` is what kind of terminal its commands have.
pub fn settle(temp: &str, cwd: &str, terminal: Option<&str>) -> Vec<u8> {
    let mut text = String::from("builtin export TMPDIR=");
    quote(temp.as_bytes(), &mut text);
    if let Some(terminal) = terminal {
        text.push_str("; builtin export TERM=");
        quote(terminal.as_bytes(), &mut text);
    }
    text.push_str("; builtin cd -P -- ");
    quote(cwd.as_bytes(), &mut text);
    text.into_bytes()
}

/// The same at the other end: what all that the shell starts is known by, what its terminal is if it has one, its temporary
/// directory if it has one of its own, and where it stands.
pub fn settle_remote(name: &str, mark: &str, cwd: &str, terminal: Option<&str>, temp: Option<&str>) -> Vec<u8> {
    let mut text = format!("builtin export {name}={mark}");
    if let Some(temp) = temp {
        text.push_str(" TMPDIR=");
        quote(temp.as_bytes(), &mut text);
    }
    if let Some(terminal) = terminal {
        text.push_str(" TERM=");
        quote(terminal.as_bytes(), &mut text);
    }
    text.push_str("; builtin cd -P -- ");
    quote(cwd.as_bytes(), &mut text);
    text.into_bytes()
}

fn evaluated(script: &[u8]) -> String {
    let mut text = String::with_capacity(script.len() * 2 + 256);
    text.push_str("\\builtin eval ");
    quote(script, &mut text);
    text
}

/// A line of the report's descriptor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What asked for it.
    pub nonce: Nonce,
    /// The status of the command before it.
    pub status: i32,
}

/// The report in a line without its end, if it is one.
pub fn read(line: &[u8]) -> Option<Report> {
    let (nonce, status) = std::str::from_utf8(line).ok()?.split_once(' ')?;
    let status = status.parse().ok().filter(|status| (0..=255).contains(status))?;
    let digits = nonce.strip_suffix('/').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    Some(Report { nonce: Nonce(digits.to_owned()), status })
}

fn report(nonce: &Nonce) -> String {
    line(REPORT, nonce)
}

fn line(call: &str, nonce: &Nonce) -> String {
    format!("{call} {}/{KEEPS_STATUS}\n", nonce.as_str())
}

/// `$'…'`: one word on one line, whatever the text holds. What could end a word, begin a comment, an assignment or an
/// expansion outside the quotes is written as octal escapes, and every byte that is not ASCII.
fn quote(bytes: &[u8], text: &mut String) {
    text.push_str("$'");
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"_./,:@%+-".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "\\{byte:03o}");
        }
    }
    text.push('\'');
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::string_slice, reason = "tests")]
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

    /// Interrupts hit the shell while it reads: nothing of the text may run that is not the text as a whole.
    #[test]
    fn no_rest_of_a_command_runs_a_part_of_it() {
        let streams = Streams::Files { stdin: "/dev/null", stdout: "/dev/stdout", stderr: "/dev/null" };
        let nonce = Nonce::new().unwrap();
        let script = b"echo 'x; touch ran; ' \"$(touch ran)\" `touch ran` | touch ran & A=1 touch ran\ntouch ran # ";
        for directory in [None, Some(b"/".as_slice())] {
            let whole = command(script, directory, streams, &nonce);
            let line = whole.split(|byte| *byte == b'\n').next().unwrap();
            let begins = line.windows(2).position(|pair| pair == b"$'").unwrap();
            let place = tempfile::tempdir().unwrap();
            for start in (begins + 2..line.len()).step_by(3) {
                let mut rest = line[start..].to_vec();
                rest.extend(b"\n/palisade/ a/\n");
                let mut bash = Command::new("bash");
                bash.args(["--norc", "--noprofile"]).current_dir(place.path()).stdin(std::process::Stdio::piped());
                let mut bash =
                    bash.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
                std::io::Write::write_all(&mut bash.stdin.take().unwrap(), &rest).unwrap();
                bash.wait().unwrap();
                assert!(!place.path().join("ran").exists(), "{}", String::from_utf8_lossy(&line[start..]));
            }
        }
    }

    /// What is left of a reporting line whose beginning an interrupt has swallowed runs nothing.
    #[test]
    fn every_rest_of_a_report_names_a_directory() {
        let line = report(&Nonce::new().unwrap());
        let names = line.len() - KEEPS_STATUS.len() - 1;
        for start in 1..names {
            let first = line[start..].split_whitespace().next().unwrap();
            assert!(first.ends_with('/'), "{first}");
        }
    }

    #[test]
    fn only_a_whole_report_is_one() {
        let nonce = Nonce::new().unwrap();
        let asked = report(&nonce);
        let spelled = asked.split(' ').nth(1).unwrap();
        let line = |status: &str| format!("{spelled} {status}").into_bytes();
        assert_eq!(read(&line("0")), Some(Report { nonce: nonce.clone(), status: 0 }));
        assert_eq!(read(&line("255")), Some(Report { nonce: nonce.clone(), status: 255 }));
        for wrong in [line("256"), line("-1"), line(""), line("0 0"), spelled.into(), b"0".to_vec(), b"x 0".to_vec()] {
            assert_eq!(read(&wrong), None, "{}", String::from_utf8_lossy(&wrong));
        }
        assert_ne!(read(&line("0")).unwrap().nonce, Nonce::new().unwrap());
    }
}
