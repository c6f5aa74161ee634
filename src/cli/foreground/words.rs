//! Words for a script.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

/// A word as bash reads it back: as it is where no byte of it means anything, or in quotation marks.
pub(crate) fn quote(word: &OsStr, always: bool) -> Vec<u8> {
    let bytes = word.as_bytes();
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-./:=@%+,".contains(byte);
    if !always && !bytes.is_empty() && bytes.iter().all(plain) {
        return bytes.to_vec();
    }
    let mut quoted = vec![b'\''];
    for &byte in bytes {
        match byte {
            b'\'' => quoted.extend(br"'\''"),
            other => quoted.push(other),
        }
    }
    quoted.push(b'\'');
    quoted
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use super::*;

    /// What scripts are made of, and what has broken quoting before.
    const PIECES: [&str; 28] = [
        "'",
        "\"",
        "\\",
        "$",
        "`",
        "!",
        "\n",
        " ",
        "\t",
        "a",
        "-c",
        "$(",
        ")",
        "<<E\nE\n",
        "#",
        "&",
        ";",
        "|",
        "*",
        "~",
        "é",
        "\u{1f600}",
        "'\\''",
        "{",
        "}",
        "\r",
        "%",
        "\u{1b}",
    ];

    #[test]
    fn ten_thousand_texts_come_back_from_a_shell_as_they_were() {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut next = || {
            // Marsaglia's xorshift: the same texts in each run.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state >> 33).unwrap()
        };
        let texts = (0..10_000).map(|_| (0..next() % 12).map(|_| PIECES[next() % PIECES.len()]).collect::<String>());
        let texts: Vec<String> = texts.collect();
        let mut script = Vec::new();
        for text in &texts {
            script.extend(b"printf '%s\\0' ");
            script.extend(quote(OsStr::new(text), false));
            script.push(b'\n');
        }
        for shell in ["bash", "dash"] {
            let mut child = Command::new(shell).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
            let mut input = child.stdin.take().unwrap();
            let written = script.clone();
            let writer = std::thread::spawn(move || input.write_all(&written));
            let read = child.wait_with_output().unwrap().stdout;
            writer.join().unwrap().unwrap();
            let read: Vec<&[u8]> = read.strip_suffix(b"\0").unwrap().split(|byte| *byte == 0).collect();
            let expected: Vec<&[u8]> = texts.iter().map(String::as_bytes).collect();
            assert!(read == expected, "{shell}");
        }
    }
}
