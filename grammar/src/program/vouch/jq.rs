//! jq programs.

/// A jq program that reads no module or data file by itself.
pub(crate) fn jq(program: &str) -> bool {
    !program.contains("import") && !program.contains("include")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jq_programs() {
        assert!(jq(".a[] | select(.b > 1)"));
        assert!(!jq("import \"/etc/secret\" as $s; $s"));
    }
}
