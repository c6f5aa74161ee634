//! Code of shells other than this one.

use crate::program::BUILTINS;

/// Shell code that bash, dash and the like read alike. `$'\\'; x #'` is one word to bash and runs x in dash.
pub(crate) fn posix_shell(code: &str) -> bool {
    const DIFFER: [&str; 12] = ["$'", "$\"", "&>", ">&", "|&", "<<<", "<(", ">(", "+=", "export", "readonly", "local"];
    // `>&2` and `2>&1` are the same everywhere.
    let duplicates = |digit: char| format!(">&{digit}");
    let plain = ('0'..='9').fold(code.to_owned(), |plain, digit| plain.replace(&duplicates(digit), " "));
    let brackets = plain.replace("$((", " ");
    let mut words = plain.split(|letter: char| !letter.is_ascii_alphanumeric() && !"_.-/[".contains(letter));
    !DIFFER.iter().any(|form| plain.contains(form))
        && !["((", "=(", "printf -v"].iter().any(|form| brackets.contains(form))
        && !words.any(|word| BASH_ONLY.contains(&word))
}

/// Reserved words and builtins that POSIX shells take for programs.
const BASH_ONLY: [&str; 21] = [
    "[[",
    "builtin",
    "caller",
    "coproc",
    "declare",
    "dirs",
    "enable",
    "function",
    "history",
    "let",
    "logout",
    "mapfile",
    "popd",
    "pushd",
    "readarray",
    "select",
    "shopt",
    "source",
    "suspend",
    "time",
    "typeset",
];

/// Shell code of plain words, quotes and the few operators that csh, fish, zsh and bash all read alike: no expansion,
/// no escape, no history, no descriptor.
pub(crate) fn plain_shell(code: &str) -> bool {
    plain_letters(code) && plain_words(code)
}

/// Every word that can be a command means the same to all: `set path=x` looks up programs elsewhere in csh.
fn plain_words(code: &str) -> bool {
    const SAME: [&str; 7] = ["cd", "echo", "exit", "false", "kill", "pwd", "true"];
    let unquoted = code.replace(['\'', '"'], "");
    let mut words = unquoted.split([' ', ';', '|', '&', '<', '>']);
    words.all(|word| {
        let assigns = word.contains('=') && !word.starts_with('-');
        !assigns && (SAME.contains(&word) || BUILTINS.binary_search(&word).is_err())
    })
}

fn plain_letters(code: &str) -> bool {
    let mut rest = code.chars().peekable();
    let mut within_word = false;
    while let Some(letter) = rest.next() {
        let plain = match letter {
            '\'' | '"' => loop {
                match rest.next() {
                    Some(end) if end == letter => break true,
                    None | Some('\\' | '!' | '$' | '`' | '\n') => break false,
                    Some(_) => {}
                }
            },
            '&' => rest.next() == Some('&') && rest.next() == Some(' '),
            '|' => {
                let twice = rest.next_if_eq(&'|').is_some();
                rest.next() == Some(' ') || twice && rest.next().is_none()
            }
            '>' => {
                rest.next_if_eq(&'>');
                !within_word && rest.peek().is_some_and(|next| *next == ' ' || next.is_ascii_alphanumeric())
            }
            '<' => !within_word && rest.peek().is_some_and(|next| *next == ' ' || next.is_ascii_alphanumeric()),
            '=' => within_word,
            ' ' | ';' => true,
            _ => letter.is_ascii_alphanumeric() || "_./,:@%+-".contains(letter),
        };
        if !plain {
            return false;
        }
        within_word = !" ;&|<>".contains(letter);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn posix_shell_code() {
        for code in ["ls -l 2>&1 | grep x", "cd a && make >log", "echo \"$x\" '$y'", "A=1 b"] {
            assert!(posix_shell(code), "{code}");
        }
        for code in ["echo $'\\'; rm x #'", "a &> b", "a >& b", "a |& b", "A+=x rm y", "export A=$x", "a <<< b"] {
            assert!(!posix_shell(code), "{code}");
        }
    }

    #[test]
    fn plain_shell_code() {
        for code in ["ls -l; grep 'a(b' x.c", "cd a && make >log", "ls --color=no | wc > n", "a \"b; c\" || d", ""] {
            assert!(plain_shell(code), "{code}");
        }
        for code in [
            "echo '\\'; rm x; echo '\\'",
            "echo (rm x)",
            "echo \"$(rm x)\"",
            "echo $x",
            "echo !rm",
            "echo '!rm'",
            "echo \"\\\"; rm x; \"",
            "a 2>b",
            "a 2>&1",
            "a >& b",
            "a >! b",
            "a & b",
            "a &| b",
            "a |& b",
            "=ls",
            "ls =ls",
            "ls ~x",
            "ls *(e)",
            "a # b",
            "a {b,c}",
            "a\nb",
            "a 'b",
            "a ^ b",
            "set path=x; ls",
            "s'e't path; ls",
            "path=x; ls",
            "alias ls 'rm x'; ls",
            "hash ls; ls",
        ] {
            assert!(!plain_shell(code), "{code}");
        }
    }
}
