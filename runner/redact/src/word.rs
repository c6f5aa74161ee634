//! Tells values that a person would call a secret from placeholders and from code, for what is learned.
//!
//! A value that is learned is taken out of all later output. `get_password` from a search would then be missing from the source
//! that the search was about.

/// Values that stand for a secret in documents and templates.
const PLACEHOLDERS: [&str; 38] = [
    "apikey",
    "bearer",
    "change-me",
    "change_me",
    "changeit",
    "changeme",
    "default",
    "dummy",
    "empty",
    "enabled",
    "disabled",
    "example",
    "false",
    "foobar",
    "hidden",
    "invalid",
    "masked",
    "missing",
    "nil",
    "none",
    "null",
    "pass",
    "passwd",
    "password",
    "placeholder",
    "prompt",
    "redacted",
    "replaceme",
    "replace_me",
    "required",
    "sample",
    "secret",
    "string",
    "test",
    "todo",
    "token",
    "true",
    "undefined",
];
/// How a placeholder begins that is longer.
const BEGINNINGS: [&str; 14] = [
    "your-",
    "your_",
    "your ",
    "yourp",
    "yours",
    "yourt",
    "my-secret",
    "my_secret",
    "my-pass",
    "my_pass",
    "enter-",
    "insert-",
    "replace-",
    "example-",
];
/// What ends the name of a path of names, and begins the next.
const JOINTS: [&str; 3] = ["::", "->", "."];

/// Whether a value stands for another: `{{password}}`, `$PASSWORD`, `<password>`, `xxx`, `changeme`.
pub(super) fn is_placeholder(value: &[u8]) -> bool {
    let text = String::from_utf8_lossy(value).trim().trim_matches(['"', '\'', '`']).to_ascii_lowercase();
    let between = |open: &str, close: &str| text.starts_with(open) && text.ends_with(close);
    let has = |open: &str, close: &str| {
        text.find(open).is_some_and(|at| text.get(at..).is_some_and(|rest| rest.contains(close)))
    };
    let uniform = text.chars().all(|c| text.starts_with(c));
    let is_variable =
        |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    uniform
        || has("{{", "}}")
        || has("${", "}")
        || has("$(", ")")
        || has("<%", "%>")
        || between("<", ">")
        || between("[", "]")
        || between("{", "}")
        || between("%", "%")
        || between("__", "__")
        || text.strip_prefix('$').is_some_and(is_variable)
        || text.strip_prefix('%').is_some_and(|rest| rest.len() <= 2)
        || PLACEHOLDERS.contains(&text.trim_end_matches(|c: char| c.is_ascii_digit()))
        || BEGINNINGS.iter().any(|begin| text.starts_with(begin))
}

/// Whether a value is the name of something in a program, a path of such names, or a call: `get_password`, `self.password`,
/// `config.get("x")`.
pub(super) fn is_code(value: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(value) else { return false };
    let text = text.trim().trim_start_matches(['&', '*', '!']).trim_end_matches([';', '?', ',']);
    let called = text.split_once(['(', '[']).filter(|(name, _)| is_path(name));
    match called {
        Some((_, rest)) => rest.contains([')', ']']),
        None => is_path(text) && (text.contains('_') || JOINTS.iter().any(|joint| text.contains(joint))),
    }
}

/// Whether names are joined here, each made of words.
fn is_path(text: &str) -> bool {
    text.split([':', '.']).flat_map(|part| part.split("->")).filter(|part| !part.is_empty()).all(is_name)
        && !text.is_empty()
}

/// Letters in words, one digit at the end at most.
fn is_name(name: &str) -> bool {
    let body = name.strip_suffix(|c: char| c.is_ascii_digit()).unwrap_or(name);
    let words = body.split('_').filter(|word| !word.is_empty());
    !body.is_empty() && words.clone().all(is_word) && words.count() > 0
}

fn is_word(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_alphabetic()) && letters_a_piece(word) >= 2
}

/// Whether a value is a name of something in a program that holds a number, or a path of such names: `oauth2ClientSecret`,
/// `self.oauth2_parameters.secret`. Random text has shorter words, or more digits.
pub(super) fn is_numbered_path(value: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(value) else { return false };
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"_.".contains(&byte);
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let is_joined = text.bytes().any(|byte| byte.is_ascii_uppercase() || b"_.".contains(&byte));
    is_joined
        && text.bytes().all(is_part)
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && digits * 5 <= text.len()
        && letters_a_piece(text) >= 4
}

/// Whether letters and digits follow on each other as they do by chance. Words, names and numbers change their kind less often;
/// digits of hexadecimal numbers alone are more often those of files and commits than secrets.
pub(super) fn is_random(value: &[u8]) -> bool {
    let count = |is_part: fn(&u8) -> bool| value.iter().filter(|byte| is_part(byte)).count();
    let kind = |byte: u8| (byte.is_ascii_uppercase(), byte.is_ascii_lowercase(), byte.is_ascii_digit());
    let changes = value.windows(2).filter(|pair| matches!(pair, [a, b] if kind(*a) != kind(*b))).count();
    let (digits, letters) = (count(u8::is_ascii_digit), count(u8::is_ascii_alphabetic));
    let has_cases = count(u8::is_ascii_uppercase) > 0 && count(u8::is_ascii_lowercase) > 0;
    let least_changes = if has_cases { 40 } else { 20 };
    letters > count(u8::is_ascii_hexdigit) - digits
        && digits > 0
        && digits * 2 <= value.len()
        && (has_cases || digits * 12 >= value.len())
        && !(has_cases && std::str::from_utf8(value).is_ok_and(|text| letters_a_piece(text) >= 3))
        && changes * 100 >= value.len() * least_changes
}

/// How long the words are that `camelCase` is made of, on average.
fn letters_a_piece(word: &str) -> usize {
    let letters = word.bytes().filter(u8::is_ascii_alphabetic).count();
    let mut pieces = 0;
    let mut last = b' ';
    for byte in word.bytes() {
        let begins = byte.is_ascii_uppercase() && !last.is_ascii_uppercase()
            || byte.is_ascii_lowercase() && !last.is_ascii_alphabetic();
        pieces += usize::from(begins);
        last = byte;
    }
    letters / pieces.max(1)
}

/// Whether a value is one word, or two that are written as one: letters alone, and not so many as a key has.
pub(super) fn is_plain_word(value: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(value) else { return false };
    text.len() < LONGEST_WORD && text.bytes().all(|byte| byte.is_ascii_alphabetic()) && letters_a_piece(text) >= 5
}

/// Longer ones are no words.
const LONGEST_WORD: usize = 24;

/// Whether a short value, of 8 to 11 bytes, is mixed enough to be told from words: three kinds of characters, leaving out what
/// joins words, and no word of a program with a number.
pub(super) fn is_mixed(value: &[u8]) -> bool {
    /// Whether a byte is of a kind, and how many characters are.
    type ByteClass = (fn(&u8) -> bool, f64);
    const MEMBERS: [ByteClass; 4] = [
        (u8::is_ascii_lowercase, 26.0),
        (u8::is_ascii_uppercase, 26.0),
        (u8::is_ascii_digit, 10.0),
        (|byte| !byte.is_ascii_alphanumeric() && !b"-_./:@, ".contains(byte), 24.0),
    ];
    let present = MEMBERS.iter().filter(|(is_member, _)| value.iter().any(is_member));
    let (kinds, alphabet) = present.fold((0, 0.0), |(kinds, sum), (_, size)| (kinds + 1, sum + size));
    let mut distinct = value.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    let bits = f64::from(u32::try_from(distinct.len()).unwrap_or(0)) * f64::log2(alphabet);
    kinds >= 3 && bits >= LEAST_BITS && !is_numbered_word(value)
}

/// Fewer could be found by trying.
const LEAST_BITS: f64 = 40.0;

/// `getToken2`, `sha256Sum`: words, and digits that number them. Years and longer numbers are rather a person's.
fn is_numbered_word(value: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(value) else { return false };
    let trailing = text.bytes().rev().take_while(u8::is_ascii_digit).count();
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.:".contains(&byte))
        && trailing < 3
        && letters_a_piece(text) >= 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders() {
        for value in [
            "{{password}}",
            "{{ .Values.password }}",
            "$PASSWORD",
            "${PASSWORD}",
            "$(cat f)",
            "<password>",
            "<your password>",
            "xxx",
            "xxxxxxxxxxxx",
            "************",
            "changeme",
            "ChangeMe123",
            "password1",
            "your-token-here",
            "%s",
            "%(x)s%",
            "__TOKEN__",
            "\"secret\"",
            "<%= token %>",
        ] {
            assert!(is_placeholder(value.as_bytes()), "{value}");
        }
        for value in
            ["sunflower", "hunter2", "Zx81-k3yQ", "correct horse battery", "p@ss$word", "odd $value", "sk_test_x"]
        {
            assert!(!is_placeholder(value.as_bytes()), "{value}");
        }
    }

    #[test]
    fn code() {
        for value in [
            "get_password",
            " get_password",
            "get_password()",
            "getPassword()",
            "self.password",
            "config.get(\"x\")",
            "os.environ[\"X\"]",
            "Token::new",
            "node->token",
            "&self.token;",
            "DEFAULT_TOKEN",
            "read_secret(&path)?;",
            "token_2",
            "cfg.token2",
        ] {
            assert!(is_code(value.as_bytes()), "{value}");
        }
        for value in [
            "sunflower",
            "hunter2",
            "Zx81-k3yQ",
            "sunflower-seeds",
            "amber_basil42",
            "Maple.Cedar.12",
            "a b",
            "x7_kQ2_p",
        ] {
            assert!(!is_code(value.as_bytes()), "{value}");
        }
    }

    #[test]
    fn numbered_names() {
        for value in ["oauth2ClientSecret", "oauth2ClientSecretSha256", "self.oauth2_parameters.client_secret"] {
            assert!(is_numbered_path(value.as_bytes()), "{value}");
        }
        for value in [
            "tUAiO4XAgsr2NCyp5v01bQkLmZ",
            "a8k3jd_k29fkqpxm7z41wmabcd",
            "0f9a7be1c2d34e5f60718293a4b5c6d7",
            "sunflowerseeds2026",
        ] {
            assert!(!is_numbered_path(value.as_bytes()), "{value}");
        }
    }

    #[test]
    fn random_values() {
        for value in ["tUAiO4XAgsr2NCyp5v01bQkLmZ", "k7w2qpxm4zt19vbnr8sd3fgh", "x2RkQ7mZp0VtYsB9cLwN4hJe"] {
            assert!(is_random(value.as_bytes()), "{value}");
        }
        for value in [
            "0f9a7be1c2d34e5f60718293a4b5c6d7",
            "configurationOfTheServer2",
            "abcdefghijklmnopqrstuvwxyz",
            "20260102030405060708090a",
            "TestDecryptPKCS1v15SessionKey",
            "UsePreSharedKeyForIkev2Initiator",
        ] {
            assert!(!is_random(value.as_bytes()), "{value}");
        }
    }

    #[test]
    fn words() {
        for value in ["configuration", "Configuration", "AUTHENTICATION", "harborlantern", "requestHandler"] {
            assert!(is_plain_word(value.as_bytes()), "{value}");
        }
        for value in ["wbxvpOWFgOxOJQNy", "configuration1", "correct horse battery", "sunflower-seeds"] {
            assert!(!is_plain_word(value.as_bytes()), "{value}");
        }
    }

    #[test]
    fn short_values() {
        for value in ["aB3xY9kL", "hunter2!x", "X7k!pq2Z", "Summer2026", "k3yQ-77Lm", "q9$Lm2#zR1"] {
            assert!(is_mixed(value.as_bytes()), "{value}");
        }
        for value in
            ["getToken2", "sha256Sum", "v1.2.3-rc1", "host-1.eu", "src/x2.rs", "sunflower", "aaaaaaA1", "base64Enc"]
        {
            assert!(!is_mixed(value.as_bytes()), "{value}");
        }
    }
}
