//! What is wrong with a TOML file, in plain words, and where a file sets a key.

use toml::de::{DeTable, DeValue};

use super::{Finding, Source};
use crate::nearest::nearest;

impl Source {
    /// What the TOML reader says against this file, in words that name the key and no type of Rust's.
    pub fn misread(&self, error: &toml::de::Error) -> Finding {
        let span = error.span().unwrap_or_default();
        let key = key_of(&self.text, span.start);
        let message = plain(error.message(), key.as_deref(), self.text.get(span.clone()).unwrap_or_default());
        self.finding(span.start, message)
    }

    /// Where this TOML file sets a key, as `file:line:column`: the heading of a table, or the beginning of a value. With `element` it
    /// is that text in the list which the value is. `None` if the file does not set it.
    pub fn place_of(&self, keys: &[&str], element: Option<&str>) -> Option<String> {
        let offset = offset_of(&self.text, keys, element)?;
        let (line, column) = super::line_and_column(&self.text, offset);
        Some(format!("{}:{line}:{column}", self.name))
    }
}

/// The byte at which a table's heading or a value begins.
fn offset_of(text: &str, keys: &[&str], element: Option<&str>) -> Option<usize> {
    let root = DeTable::parse(text).ok()?.into_inner();
    let (last, above) = keys.split_last()?;
    let mut table = &root;
    for key in above {
        let (_, value) = table.iter().find(|(name, _)| name.get_ref() == key)?;
        let DeValue::Table(below) = value.get_ref() else { return Some(value.span().start) };
        table = below;
    }
    let (name, value) = table.iter().find(|(name, _)| name.get_ref() == last)?;
    match value.get_ref() {
        DeValue::Table(_) => Some(heading(text, name.span().start)),
        DeValue::Array(elements) => {
            let is_meant = |value: &DeValue<'_>| matches!(value, DeValue::String(text) if Some(&**text) == element);
            let meant = elements.iter().find(|value| is_meant(value.get_ref()));
            Some(meant.unwrap_or(value).span().start)
        }
        _ => Some(value.span().start),
    }
}

/// The beginning of the heading that a key stands in, or of the key itself.
fn heading(text: &str, key: usize) -> usize {
    let line = text.get(..key).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
    let before = text.get(line..key).unwrap_or_default();
    let indent = before.len() - before.trim_start().len();
    if before.trim_start().starts_with('[') && !before.contains('=') { line + indent + 1 } else { key }
}

/// The key, with those above it, of the value that begins there.
fn key_of(text: &str, offset: usize) -> Option<String> {
    fn within(table: &DeTable<'_>, above: &str, offset: usize) -> Option<String> {
        table.iter().find_map(|(name, value)| {
            let key = if above.is_empty() { name.get_ref().to_string() } else { format!("{above}.{}", name.get_ref()) };
            at(value.get_ref(), value.span().start, key, offset)
        })
    }
    fn at(value: &DeValue<'_>, start: usize, key: String, offset: usize) -> Option<String> {
        let below = match value {
            DeValue::Table(table) => within(table, &key, offset),
            DeValue::Array(elements) => {
                elements.iter().find_map(|value| at(value.get_ref(), value.span().start, key.clone(), offset))
            }
            _ => None,
        };
        below.or_else(|| (start == offset).then_some(key))
    }
    within(DeTable::parse(text).ok()?.get_ref(), "", offset)
}

fn plain(message: &str, key: Option<&str>, at: &str) -> String {
    let mistyped = message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: "));
    if let Some((found, expected)) = mistyped.and_then(|message| message.rsplit_once(", expected ")) {
        let key = key.map_or_else(|| "this".to_owned(), |key| format!("`{key}`"));
        return format!("{key} is {}; write {}", what(found), wanted(found, expected));
    }
    if message.starts_with("unknown ")
        && let Some((unknown, known)) = message.split_once(", expected ")
    {
        let name = unknown.split('`').nth(1).unwrap_or_default();
        let near = nearest(name, known.split('`').skip(1).step_by(2));
        return if near.is_empty() { message.to_owned() } else { format!("{unknown}{near}") };
    }
    match message {
        "duplicate key" => format!("`{}` is set twice", at.trim()),
        "string values must be quoted, expected literal string" => "a text has to stand in quotes".to_owned(),
        _ => message.to_owned(),
    }
}

/// What was found, of which serde names its own kinds.
fn what(found: &str) -> String {
    let value = found.split('`').nth(1).unwrap_or_default();
    match found.split([' ', '`']).next().unwrap_or_default() {
        "integer" | "floating" => format!("the number {value}"),
        "boolean" => format!("`{value}`"),
        "string" => "a text".to_owned(),
        "sequence" => "a list".to_owned(),
        "map" => "a table".to_owned(),
        _ => found.to_owned(),
    }
}

/// What belongs there, with the value that was found where that is as good.
fn wanted(found: &str, expected: &str) -> String {
    let number = found.strip_prefix("integer `").and_then(|rest| rest.strip_suffix('`'));
    let text = found.strip_prefix("string \"").and_then(|rest| rest.strip_suffix('"'));
    match (number, text, expected) {
        (Some(number), _, "a string") => return format!("a text in quotes: `\"{number}\"`"),
        (_, Some(text), "a sequence") => return format!("a list in brackets: `[\"{text}\"]`"),
        _ => {}
    }
    let wanted = match expected {
        "a string" => "a text in quotes",
        "a sequence" => "a list in brackets",
        "a boolean" => "`true` or `false`",
        "u16" => "a number from 0 to 65535",
        "usize" | "u64" | "u32" => "a number of 0 or more, without quotes",
        "a map" => "a table",
        "a TOML datetime" => "a time without quotes, such as `2026-11-18T10:00:00Z`",
        _ if expected.starts_with("struct ") => "a table",
        _ => expected,
    };
    wanted.to_owned()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::collections::BTreeSet;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "read by serde alone")]
    struct File {
        #[serde(default)]
        agent: Agent,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "read by serde alone")]
    struct Agent {
        name: Option<String>,
        roles: Option<BTreeSet<String>>,
        max: Option<usize>,
        port: Option<u16>,
        on: Option<bool>,
    }

    fn source(text: &str) -> Source {
        Source { name: "f.toml".to_owned(), text: text.to_owned() }
    }

    #[test]
    fn a_mistake_is_told_without_words_of_rust() {
        for (text, place, said) in [
            ("[agent]\nname = 3", (2, 8), "`agent.name` is the number 3; write a text in quotes: `\"3\"`"),
            ("[agent]\nroles = \"a\"", (2, 9), "`agent.roles` is a text; write a list in brackets: `[\"a\"]`"),
            ("[agent]\nroles = [\"a\", 3]", (2, 15), "`agent.roles` is the number 3; write a text in quotes: `\"3\"`"),
            ("[agent]\nmax = -1", (2, 7), "`agent.max` is the number -1; write a number of 0 or more, without quotes"),
            ("[agent]\nport = 99999", (2, 8), "`agent.port` is the number 99999; write a number from 0 to 65535"),
            ("[agent]\non = 1", (2, 6), "`agent.on` is the number 1; write `true` or `false`"),
            ("agent = \"a\"", (1, 9), "`agent` is a text; write a table"),
            ("[people]", (1, 2), "unknown field `people`, expected `agent`"),
            ("[agnet]", (1, 2), "unknown field `agnet`; did you mean `agent`?"),
            ("[agents]", (1, 2), "unknown field `agents`; did you mean `agent`?"),
            ("[agent]\nname = \"a\"\nname = \"b\"", (3, 1), "`name` is set twice"),
            ("[agent]\nname = a", (2, 8), "a text has to stand in quotes"),
        ] {
            let error = toml::from_str::<File>(text).unwrap_err();
            let found = source(text).misread(&error);
            assert_eq!(((found.line, found.column), found.message.as_str()), (place, said), "{text}");
        }
    }

    #[test]
    fn a_key_is_found_where_it_is_set_and_nowhere_else() {
        let text =
            "# [targets.web]\n[targets.web2]\nx = 1\n\n [targets.web]\ny = [\"a\", \"b\"]\n[others]\nz.q = { r = 1 }\n";
        for (keys, element, expected) in [
            (&["targets", "web"][..], None, Some("f.toml:5:3")),
            (&["targets", "web2"], None, Some("f.toml:2:2")),
            (&["targets", "web2", "x"], None, Some("f.toml:3:5")),
            (&["targets", "web", "y"], Some("b"), Some("f.toml:6:11")),
            (&["targets", "web", "y"], Some("c"), Some("f.toml:6:5")),
            (&["others", "z", "q"], None, Some("f.toml:8:3")),
            (&["targets", "web3"], None, None),
        ] {
            assert_eq!(source(text).place_of(keys, element).as_deref(), expected, "{keys:?}");
        }
    }
}
