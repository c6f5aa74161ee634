//! Tells the name of a file, as `grep`, `git` and compilers print it before a line, from the name of a value.
//!
//! `src/password.rs:2:pub fn verify(` has the shape of a name, an operator and a value. Such a line shows source code, and a
//! rule that takes the file's name for the name of a secret would corrupt it.

/// How far before a name its type is looked for.
const TYPE_LOOK: usize = 48;
/// The longest number of a line.
const DIGITS: usize = 7;
/// The longest ending of a file's name.
const ENDING: usize = 10;
/// Endings of source code: no name of a value ends so.
const CODE: [&str; 66] = [
    "asm", "bash", "bat", "bzl", "c", "cc", "cjs", "clj", "cljs", "cmake", "cpp", "cs", "css", "cts", "cxx", "dart",
    "el", "erl", "ex", "exs", "fish", "fs", "go", "gradle", "groovy", "h", "hh", "hpp", "hs", "htm", "html", "hxx",
    "inc", "ipynb", "java", "jl", "js", "jsx", "kt", "kts", "less", "lua", "m", "mjs", "ml", "mli", "mm", "mts", "nim",
    "php", "pl", "pm", "proto", "ps1", "py", "pyi", "pyx", "rb", "rs", "scala", "scss", "sh", "sql", "swift", "ts",
    "vue",
];
/// Endings of files that hold text. A key of a YAML file can end so, with a blank behind its colon.
const TEXT: [&str; 18] = [
    "adoc", "cedar", "cfg", "conf", "diff", "ini", "json", "lock", "md", "mod", "patch", "rst", "svg", "tf", "toml",
    "tsx", "xml", "zig",
];

/// Whether a match begins with the name of a file. `named` bytes of it stand before the secret.
pub(super) fn begins_with_file(whole: &[u8], named: usize) -> bool {
    let begin = whole.iter().take(named).take_while(|byte| !is_path_byte(**byte)).count();
    let Some(text) = whole.get(begin..) else { return false };
    let length = text.iter().take_while(|byte| is_path_byte(**byte)).count();
    let (path, rest) = text.split_at(length.min(named.saturating_sub(begin)));
    if path.is_empty() {
        return false;
    }
    match rest {
        [b':', rest @ ..] if numbered(rest, b':') => true,
        [b'=', rest @ ..] if has_ending(path) && numbered(rest, b'=') => true,
        _ => endings(path).any(|(ending, behind)| match behind {
            [b'-', behind @ ..] if numbered(behind, b'-') => true,
            [] | [b'-', ..] if is_one_of(&CODE, ending) => true,
            [] => is_one_of(&TEXT, ending) && is_line_of_file(rest),
            _ => false,
        }),
    }
}

/// A line behind `name:`, not the value of a key, which has one blank before it.
fn is_line_of_file(rest: &[u8]) -> bool {
    match rest {
        [b':', b' ', next, ..] => *next == b' ',
        [b':', ..] => true,
        _ => false,
    }
}

/// The endings of a path, which can be part of a longer run of such bytes, and what stands behind each in the run.
fn endings(path: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let points = path.iter().enumerate().filter(|(_, byte)| **byte == b'.').map(|(at, _)| at + 1);
    points.filter_map(|from| {
        let rest = path.get(from..)?;
        let length = rest.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
        let begins = rest.first().is_some_and(u8::is_ascii_alphabetic);
        (begins && length <= ENDING).then(|| rest.split_at(length))
    })
}

fn has_ending(path: &[u8]) -> bool {
    endings(path).any(|(_, behind)| behind.is_empty())
}

fn is_one_of(list: &[&str], ending: &[u8]) -> bool {
    list.iter().any(|known| ending.eq_ignore_ascii_case(known.as_bytes()))
}

/// Whether `at` is in the name of a type or a resource in quotes: `"AWS::ApiGateway::ApiKey": …`.
pub(super) fn begins_in_type(text: &[u8], at: usize) -> bool {
    let before = text.get(at.saturating_sub(TYPE_LOOK)..at).unwrap_or_default();
    let length = before.iter().rev().take_while(|byte| byte.is_ascii_alphanumeric() || b"_:".contains(byte)).count();
    let (quote, name) = before.split_at(before.len() - length);
    name.windows(2).any(|joint| joint == b"::")
        && name.first().is_some_and(u8::is_ascii_alphabetic)
        && matches!(quote.last(), Some(b'"' | b'\''))
}

/// Whether a number and then this byte follow.
fn numbered(rest: &[u8], end: u8) -> bool {
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (1..=DIGITS).contains(&digits) && rest.get(digits) == Some(&end)
}

fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_./@+~-".contains(&byte) || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_types() {
        for (line, wanted) in [
            ("\"AWS::ApiGateway::ApiKey\": \"x\"", true),
            ("'Acme::Net::ApiKey': 'x'", true),
            ("Config::ApiKey = \"x\"", false),
            ("\"api::\" + ApiKey: \"x\"", false),
        ] {
            let at = line.find("ApiKey").unwrap_or_default();
            assert_eq!(begins_in_type(line.as_bytes(), at), wanted, "{line}");
        }
    }

    #[test]
    fn names_of_files() {
        for (line, secret) in [
            ("password.rs:2:pub fn verify(", "2:pub"),
            ("password.rs:pub fn verify(", "pub"),
            ("token:12:5: expected", "12:5:"),
            ("token.py-1593-assert alignment(x) == 4", "1593"),
            ("password.pm-36-=head1 NAME", "head1"),
            ("password.rs=12=fn verify(", "12=fn"),
            ("secret.go-\tkey := x", "x"),
            (" passwd_test.go:7:\tx", "7:"),
            ("token.js | 12 +++++", "12"),
            ("credentials.json:    \"type\": \"x\"", "\"type"),
        ] {
            let named = line.find(secret).unwrap_or_default();
            assert!(begins_with_file(line.as_bytes(), named), "{line}");
        }
    }

    #[test]
    fn names_of_values() {
        for (line, secret) in [
            ("password: hunter2", "hunter2"),
            ("password=12:34:56", "12:34"),
            ("\"password\":12:34", "12"),
            ("spring.datasource.password=hunter2", "hunter2"),
            ("password.prod: hunter2", "hunter2"),
            ("credentials.json: ewogICJ0eXBlIjog", "ewog"),
            ("db-password-1-a: hunter2", "hunter2"),
            ("--api-token=a.py:1:b", "a.py"),
        ] {
            let named = line.find(secret).unwrap_or_default();
            assert!(!begins_with_file(line.as_bytes(), named), "{line}");
        }
    }
}
