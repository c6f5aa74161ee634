//! Whether what is written to a shell means to it what it says, so that it can be judged as a script.
//!
//! A shell takes its input line by line, and what was judged is one piece: so a piece ends with its line, and half a
//! command never waits for another half. Nothing passes that a shell could replace by an earlier line. At a terminal keys edit
//! the line before the shell reads it: they take characters back, complete words and bring up earlier lines. There only text that
//! none of them changes passes, and the keys that interrupt, stop or end, each by itself. Whether it may be written at all is asked
//! of policy elsewhere.

/// What a piece of input is to a shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keys {
    /// A script, to be judged as one.
    Script,
    /// Keys that signal or end, and no text.
    Control,
    /// It cannot be told what the shell would make of it.
    Unclear(&'static str),
}

/// Ctrl-C, Ctrl-D, Ctrl-Z and Ctrl-\.
const CONTROL: [u8; 4] = [0x03, 0x04, 0x1a, 0x1c];

impl Keys {
    /// What this is, typed at a terminal or written to a pipe; `ends`: the input ends behind it.
    pub(crate) fn of(input: &[u8], terminal: bool, ends: bool) -> Self {
        if input.is_empty() || terminal && input.iter().all(|byte| CONTROL.contains(byte)) {
            return Self::Control;
        }
        if !input.ends_with(b"\n") && (terminal || !ends) {
            return Self::Unclear("what is written to a shell ends with a line end");
        }
        if terminal && input.iter().any(|byte| byte.is_ascii_control() && *byte != b'\n') {
            return Self::Unclear("a shell at a terminal takes control characters for keys that edit the line");
        }
        // Without a terminal as well: `bash -i` and `bash -H -o history` do it there.
        if recalls(input) {
            return Self::Unclear("a shell may replace `!` and a first `^` by earlier lines");
        }
        Self::Script
    }
}

/// Whether history expansion could change it (bash(1), "HISTORY EXPANSION").
fn recalls(input: &[u8]) -> bool {
    let stays = |next: Option<&u8>| matches!(next, Some(b' ' | b'\n' | b'='));
    let bangs = || input.iter().enumerate().filter(|(_, byte)| **byte == b'!').map(|(at, _)| at);
    let lines = || input.split(|byte| *byte == b'\n');
    bangs().any(|at| !stays(input.get(at + 1))) || lines().any(|line| line.starts_with(b"^"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_shell_would_read_otherwise_is_no_script() {
        let rows: &[(&str, bool, bool, Option<Keys>)] = &[
            ("ls -l\n", false, false, Some(Keys::Script)),
            ("ls -l\n", true, false, Some(Keys::Script)),
            ("for x in 1 2; do\n  echo $x\ndone\n", true, false, Some(Keys::Script)),
            ("[ ! -f x ] && [ 1 != 2 ]\n", true, false, Some(Keys::Script)),
            ("ls", false, true, Some(Keys::Script)),
            ("", true, true, Some(Keys::Control)),
            ("", false, true, Some(Keys::Control)),
            ("\u{3}", true, false, Some(Keys::Control)),
            ("\u{4}", true, false, Some(Keys::Control)),
            ("r", false, false, None),
            ("ls", true, true, None),
            ("ls\nr", true, false, None),
            ("\u{3}", false, false, None),
            ("ls\u{3}\n", true, false, None),
            ("echo x\u{7f}\n", true, false, None),
            ("ec\tx\n", true, false, None),
            ("ls\r", true, false, None),
            ("\u{1b}[A\n", true, false, None),
            ("!!\n", true, false, None),
            ("echo !$\n", true, false, None),
            ("true\n^a^b\n", true, false, None),
            ("true \"!true\"\n", false, false, None),
            ("^a^b\n", false, false, None),
        ];
        for (input, terminal, ends, expected) in rows {
            let keys = Keys::of(input.as_bytes(), *terminal, *ends);
            match expected {
                Some(expected) => assert_eq!(keys, *expected, "{input:?}"),
                None => assert!(matches!(keys, Keys::Unclear(_)), "{input:?}: {keys:?}"),
            }
        }
    }
}
