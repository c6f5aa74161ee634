//! jq programs.

/// A jq program that reads no module or data file by itself. What it says of the environment, `env` says as well.
pub(crate) fn jq(program: &str) -> bool {
    let text = if program.contains(['#', '\r']) { program.to_owned() } else { without_texts(program) };
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let mut reads = words.filter(|word| matches!(*word, "import" | "include" | "modulemeta"));
    reads.next().is_none()
}

/// The program without its plain texts. A text with code in it stays.
fn without_texts(program: &str) -> String {
    let mut kept = String::new();
    let mut rest = program;
    while let Some((before, text)) = rest.split_once('"') {
        kept.push_str(before);
        kept.push(' ');
        let mut escaped = false;
        let end = text.find(|c: char| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        let Some((plain, after)) = end.and_then(|at| text.split_at_checked(at)) else {
            kept.push_str(text);
            return kept;
        };
        if plain.contains("\\(") {
            // Where such a text ends is not looked for.
            kept.push_str(text);
            return kept;
        }
        rest = after.strip_prefix('"').unwrap_or_default();
    }
    kept.push_str(rest);
    kept
}

/// A yq expression that names no file, builds no expression and runs nothing, whichever yq it is for.
pub(crate) fn yq(expression: &str) -> bool {
    let subcommand = matches!(expression, "e" | "eval" | "ea" | "eval-all");
    subcommand || jq(expression) && !["load", "eval", "system"].iter().any(|word| expression.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jq_programs() {
        for program in [
            ".",
            ".a[] | select(.b > 1)",
            "[.[] | {a, b: .c}] | @csv",
            "env.HOME, $ENV.PATH, $__loc__, input, inputs, input_filename",
            ".a | @sh",
            "select(.x == \"include this\")",
            "\"a\\\"import\"",
            ".important, .includes",
            "\"\\(.a) x\"",
        ] {
            assert!(jq(program), "{program}");
        }
        for program in [
            "import \"/etc/secret\" as $s; $s",
            "include \"x\"; .",
            "\"x\" | modulemeta",
            "module {}; import \"a\" as a; .",
            "\"\\(1)\" | \"import\"",
            "# \"\nimport \"a\" as a; .",
            "\"a\\\\\"|import \"b\" as b; .",
            "import\"x\"as$x;.",
        ] {
            assert!(!jq(program), "{program}");
        }
    }

    #[test]
    fn yq_expressions() {
        for expression in [".a.b", ".a = 1 | .b += [\"x\"]", "select(.a > 1) | keys"] {
            assert!(yq(expression), "{expression}");
        }
        for expression in [
            "load(\"/etc/shadow\")",
            "load_str(\"x\")",
            "eval(\"lo\" + \"ad(.a)\")",
            "system(\"rm\")",
            "include \"x\"; f",
        ] {
            assert!(!yq(expression), "{expression}");
        }
    }
}
