//! An act as a script that does the same, so that policy is asked in the words that it has for commands.

use std::ffi::OsStr;

use super::act::Act;
use crate::cli::foreground::words::quote;

/// The script of an act; none where policy is asked in another way, or not at all.
pub(super) fn of(act: &Act) -> Option<Vec<u8>> {
    let with = |before: &str, word: &str| Some([before.as_bytes(), &quote(OsStr::new(word), true)].concat());
    match act {
        Act::Command { text, .. } => Some(text.clone().into_bytes()),
        // No program is in them: what is asked about is the file.
        Act::Read(path) => with(": <", path),
        Act::Write(path) => with(": >", path),
        Act::Search(path) => with("grep -r -e x -- ", path),
        // Names are no contents.
        Act::List(path) => with("ls -- ", path),
        Act::Delete(path) => with("rm -- ", path),
        Act::Fetch(url) => with("curl --silent -- ", url),
        Act::Tool(_) | Act::Nothing | Act::Unknown(_) => None,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn an_act_on_a_file_is_a_script_without_a_program() {
        for (act, expected) in [
            (Act::Read("/w/it's".to_owned()), r": <'/w/it'\''s'"),
            (Act::List("/w".to_owned()), "ls -- '/w'"),
            (Act::Write("-x".to_owned()), ": >'-x'"),
            (Act::Delete("a b".to_owned()), "rm -- 'a b'"),
            (Act::Fetch("https://a.example/?q=$x".to_owned()), "curl --silent -- 'https://a.example/?q=$x'"),
        ] {
            assert_eq!(String::from_utf8(of(&act).unwrap()).unwrap(), expected);
        }
        assert_eq!(of(&Act::Unknown("T".to_owned())), None);
    }
}
