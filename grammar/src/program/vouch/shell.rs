//! Code of shells other than this one.

/// Shell code that bash, dash and the like read alike. `$'\\'; x #'` is one word to bash and runs x in dash.
pub(crate) fn posix_shell(code: &str) -> bool {
    const DIFFER: [&str; 12] = ["$'", "$\"", "&>", ">&", "|&", "<<<", "<(", ">(", "+=", "export", "readonly", "local"];
    // `>&2` and `2>&1` are the same everywhere.
    let duplicates = |digit: char| format!(">&{digit}");
    let plain = ('0'..='9').fold(code.to_owned(), |plain, digit| plain.replace(&duplicates(digit), " "));
    !DIFFER.iter().any(|form| plain.contains(form))
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
}
