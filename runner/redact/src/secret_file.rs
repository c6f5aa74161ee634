//! Takes the secret values out of a file that the operator has named: decides what of a `.netrc`, an `.env`, a key or a
//! file that holds nothing but a token is a value.
//!
//! It asks for no format. A file of secrets may be taken apart too eagerly, for every part is searched for in output, not
//! shown; words that anybody would print are refused later, as for all known values.

use std::path::Path;

use super::KnownValue;

/// A file of one line that is longer than this holds more than a token.
const ONE_VALUE: usize = 4096;
/// The words before a password in a `.netrc`.
const NETRC: [&str; 2] = ["password", "account"];
/// What a line of a key has at least, in bytes.
const KEY_LINE: usize = 40;

impl KnownValue {
    /// The values in a file of secrets, under the file's name.
    pub fn in_file(path: &Path, bytes: &[u8]) -> Vec<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let text = String::from_utf8_lossy(bytes);
        let whole = text.trim();
        let mut values = Vec::new();
        if whole.lines().count() == 1 && whole.len() <= ONE_VALUE {
            values.push(whole);
        }
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
            values.extend(assigned(line));
            values.extend(behind_the_last(line));
            values.extend(in_url(line));
            // A password by itself.
            values.extend((!line.contains(char::is_whitespace)).then_some(line));
            values.extend(after_keyword(line));
            values.extend(pgpass(line));
            if line.len() >= KEY_LINE && line.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte))
            {
                values.push(line);
            }
        }
        values.sort_unstable();
        values.dedup();
        let offers = values.into_iter().map(|value| Self::new(name.clone(), value));
        let (fit, unfit): (Vec<_>, Vec<_>) = offers.partition(|offer| offer.unfit().is_none());
        // Numbers and names in such a file are no news; that nothing of it is searched for is.
        let nothing = || vec![Self::new(name.clone(), "")];
        match (fit.is_empty(), unfit.into_iter().next()) {
            (false, _) => fit,
            (true, Some(unfit)) => vec![unfit],
            (true, None) => nothing(),
        }
    }
}

/// `NAME=value`, `name: value`, `"name": "value",`.
fn assigned(line: &str) -> Option<&str> {
    let line = line.strip_prefix("export ").unwrap_or(line);
    let (name, value) = line.split_once(['=', ':'])?;
    let value = value.trim().trim_end_matches(',');
    let value = value.trim_matches(['"', '\'']);
    (!name.trim().contains(' ') && !value.is_empty()).then_some(value)
}

/// `//host/:_authToken=value`.
fn behind_the_last(line: &str) -> impl Iterator<Item = &str> {
    ['=', ':'].into_iter().filter_map(move |mark| line.rsplit_once(mark)).map(|(_, value)| value.trim())
}

/// `https://user:password@host`.
fn in_url(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("://")?;
    let (user, _) = rest.split_once('@')?;
    user.split_once(':').map(|(_, password)| password)
}

fn after_keyword(line: &str) -> impl Iterator<Item = &str> {
    let words = line.split_whitespace();
    words.clone().zip(words.skip(1)).filter(|(word, _)| NETRC.contains(word)).map(|(_, value)| value)
}

/// `host:port:database:user:password`.
fn pgpass(line: &str) -> Option<&str> {
    let mut parts = line.splitn(5, ':');
    let port = parts.nth(1)?;
    let is_port = port == "*" || !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    parts.nth(2).filter(|_| is_port)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::Redactor;
    use super::*;

    #[test]
    fn values_of_files() {
        for (file, text, secret) in [
            (".netrc", "machine h login me password EXAMPLE-pw0\n", "EXAMPLE-pw0"),
            ("token", "EXAMPLE-token-0\n", "EXAMPLE-token-0"),
            (".env", "# comment\nexport DB='EXAMPLE value 0'\n", "EXAMPLE value 0"),
            ("a.json", "{\n  \"client\": \"EXAMPLE/value/0\",\n  \"b\": 1\n}\n", "EXAMPLE/value/0"),
            (".pgpass", "# host\nh:5432:d:u:EXAMPLE:pw0\n", "EXAMPLE:pw0"),
            ("plain", "someone\nEXAMPLE-pw0/x\n", "EXAMPLE-pw0/x"),
            (".npmrc", "//r.example/:_authToken=EXAMPLE-pw0\n", "EXAMPLE-pw0"),
            (".git-credentials", "https://u:EXAMPLE-pw0@h.example\n", "EXAMPLE-pw0"),
        ] {
            let known = KnownValue::in_file(Path::new("/home/me").join(file).as_path(), text.as_bytes());
            let redactor = Redactor::builtin().unwrap().with_known(&known);
            let out = redactor.text(&format!("it is {secret} indeed"));
            assert!(!out.as_str().contains(secret), "{file}: {out}");
        }
        // That there is nothing to search for is told.
        for text in ["", "# nothing\n# more\n", "1\n"] {
            let known = KnownValue::in_file(Path::new("empty"), text.as_bytes());
            assert!(known.len() == 1 && known.iter().all(|value| value.unfit().is_some()), "{text:?}");
        }
    }
}
