//! The server that a client shall start, and what a client's file has to say for it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Client, Form, NAME};

/// A program with its arguments and what its environment has to hold.
#[derive(Debug)]
pub(crate) struct ServerEntry {
    /// The absolute path.
    pub(crate) program: String,
    /// Its arguments.
    pub(crate) arguments: Vec<String>,
    /// Variables that it needs beside those that the client gives it.
    pub(crate) environment: BTreeMap<String, String>,
}

/// What a client's file cannot say.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unsayable {
    /// The text that it cannot hold.
    pub(crate) text: String,
    /// What in it is in the way.
    pub(crate) part: &'static str,
}

impl ServerEntry {
    /// The first of its texts that this client would not pass on as it stands.
    pub(crate) fn unsayable(&self, client: &Client) -> Option<Unsayable> {
        let texts = std::iter::once(&self.program).chain(&self.arguments).chain(self.environment.values());
        texts.into_iter().find_map(|text| {
            let expanded = client.expands.iter().find(|part| text.contains(**part)).copied();
            let part = expanded.or_else(|| text.chars().any(char::is_control).then_some("a control character"))?;
            Some(Unsayable { text: text.clone(), part })
        })
    }
}

impl Client {
    /// What its file of servers says of this one, alone.
    pub(crate) fn file(&self, server: &ServerEntry) -> String {
        let entry = (self.entry)(server);
        match self.form {
            Form::Json => format!("{:#}", json!({ self.key: { NAME: entry } })),
            Form::Toml => toml_table(&format!("{}.{NAME}", self.key), &entry),
        }
    }

    /// Its own command that says the same, to be typed into a shell.
    pub(crate) fn command(&self, server: &ServerEntry) -> Option<String> {
        let words = self.command?(server);
        Some(words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "))
    }
}

/// A table of plain values: what is a text in JSON without control characters is one in TOML.
fn toml_table(name: &str, entry: &Value) -> String {
    let mut text = format!("[{name}]");
    for (key, value) in entry.as_object().into_iter().flatten() {
        let value = match value {
            Value::Object(fields) => {
                let fields = fields.iter().map(|(key, value)| format!("{} = {value}", Value::from(key.as_str())));
                format!("{{ {} }}", fields.collect::<Vec<_>>().join(", "))
            }
            plain => plain.to_string(),
        };
        text.push_str(&format!("\n{key} = {value}"));
    }
    text
}

/// A word that a shell takes as it is.
pub(super) fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./=:,@+".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{CLIENTS, client};
    use super::*;

    fn server(argument: &str) -> ServerEntry {
        let environment = BTreeMap::from([("XDG_STATE_HOME".to_owned(), "/var/agents".to_owned())]);
        ServerEntry {
            program: "/usr/bin/palisade".to_owned(),
            arguments: vec!["serve".to_owned(), argument.to_owned()],
            environment,
        }
    }

    #[test]
    fn every_file_reads_as_what_was_meant() {
        let server = server("/srv/it's \"here\" \\ é");
        for client in CLIENTS {
            let text = client.file(&server);
            let read: Option<Value> = match client.form {
                Form::Json => serde_json::from_str(&text).ok(),
                Form::Toml => toml::from_str(&text).ok(),
            };
            let expected = json!({ client.key: { NAME: (client.entry)(&server) } });
            assert_eq!(read, Some(expected), "{}: {text}", client.name);
        }
    }

    #[test]
    fn what_a_client_would_make_something_else_of_is_told() {
        for (name, argument, part) in [
            ("claude", "/a/${b}", Some("${")),
            ("claude", "/a/$b", None),
            ("codex", "/a/${b}", None),
            ("codex", "/a\u{7f}", Some("a control character")),
            ("gemini", "/a/$b", Some("$")),
            ("opencode", "/a/{env:B}", Some("{env:")),
            ("opencode", "/a/{b}", None),
            ("cursor", "/a\nb", Some("a control character")),
        ] {
            let told = client(name).and_then(|client| server(argument).unsayable(client));
            assert_eq!(told.map(|told| told.part), part, "{name} {argument}");
        }
    }

    #[test]
    fn a_shell_takes_words_as_they_are() {
        for (word, expected) in
            [("--scope", "--scope"), ("", "''"), ("a b", "'a b'"), ("it's", r"'it'\''s'"), ("$x", "'$x'")]
        {
            assert_eq!(quoted(word), expected);
        }
    }
}
