//! An act as a script that does the same, so that policy is asked in the words that it has for commands.

use std::ffi::OsStr;

use super::act::ToolAct;
use crate::cli::foreground::words::quote;

/// The script of an act; none where policy is asked in another way, or not at all.
pub(super) fn of(act: &ToolAct) -> Option<Vec<u8>> {
    let with = |before: &str, word: &str| Some([before.as_bytes(), &quote(OsStr::new(word), true)].concat());
    match act {
        ToolAct::Command { text, .. } => Some(text.clone().into_bytes()),
        // No program is in them: what is asked about is the file.
        ToolAct::Read(path) => with(": <", path),
        ToolAct::Write(path) => with(": >", path),
        ToolAct::Search(path) => with("grep -r -e x -- ", path),
        // Names are no contents.
        ToolAct::List(path) => with("ls -- ", path),
        ToolAct::Delete(path) => with("rm -- ", path),
        ToolAct::Fetch(url) => with("curl --silent -- ", url),
        ToolAct::Tool(_) | ToolAct::Nothing | ToolAct::Unknown(_) => None,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn an_act_on_a_file_is_a_script_without_a_program() {
        for (act, expected) in [
            (ToolAct::Read("/w/it's".to_owned()), r": <'/w/it'\''s'"),
            (ToolAct::List("/w".to_owned()), "ls -- '/w'"),
            (ToolAct::Write("-x".to_owned()), ": >'-x'"),
            (ToolAct::Delete("a b".to_owned()), "rm -- 'a b'"),
            (ToolAct::Fetch("https://a.example/?q=$x".to_owned()), "curl --silent -- 'https://a.example/?q=$x'"),
        ] {
            assert_eq!(String::from_utf8(of(&act).unwrap()).unwrap(), expected);
        }
        assert_eq!(of(&ToolAct::Unknown("T".to_owned())), None);
    }
}
