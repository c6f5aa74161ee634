//! awk programs.

/// An awk program without pipes, redirections, `getline`, `system`, extensions and changes of the file list.
pub(crate) fn awk(program: &str) -> bool {
    const FORBIDDEN: [&str; 8] = ["system", "getline", "ARGV", "ARGC", "SYMTAB", "PROCINFO", "close", "fflush"];
    let without_or = program.replace("||", "  ");
    !without_or.contains(['|', '>', '@', '`', '\\']) && !FORBIDDEN.iter().any(|word| program.contains(word))
        || awk_with_escapes(program)
}

/// Escapes are harmless inside a program that holds none of the characters and names above even when unescaped.
fn awk_with_escapes(program: &str) -> bool {
    let plain = program.replace("\\n", " ").replace("\\t", " ").replace("\\.", " ").replace("\\/", " ");
    !plain.contains('\\') && plain != program && awk(&plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn awk_programs() {
        for program in ["{print $1}", "{print \"rm\", $1}", "NR==1||NR==2", "BEGIN{FS=\"\\t\"}{n+=$2}END{print n}"] {
            assert!(awk(program), "{program}");
        }
        for program in [
            "BEGIN{system(\"rm\")}",
            "{print > \"f\"}",
            "{print | \"sh\"}",
            "{\"ls\" | getline x}",
            "{getline < \"/etc/shadow\"}",
            "BEGIN{ARGV[1]=\"/etc/shadow\"}",
            "@load \"x\"",
            "BEGIN{f=\"sys\\x74em\"}",
            "{print |& \"sh\"}",
            "a|||b",
            "sys\\\ntem(1)",
        ] {
            assert!(!awk(program), "{program}");
        }
    }
}
