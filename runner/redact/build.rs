//! Writes `secrets/*.toml` down as Rust for the library, so that a new table of secret rules is a new file and no change of Rust.

#[path = "src/row.rs"]
mod row;

use std::path::{Path, PathBuf};
use std::{env, fs, io};

use crate::row::{BlockEndRow, Example, Row, RuleFile, Text, Word};

fn main() -> io::Result<()> {
    let secrets = directory("CARGO_MANIFEST_DIR")?.join("secrets");
    println!("cargo::rerun-if-changed={}", secrets.display());
    fs::write(directory("OUT_DIR")?.join("secret_tables.rs"), tables(&secrets)?)
}

fn directory(variable: &str) -> io::Result<PathBuf> {
    env::var_os(variable).map(PathBuf::from).ok_or_else(|| io::Error::other(format!("`{variable}` is not set")))
}

/// A Rust expression of type `[(&str, &[Row]); _]`: name and rules of each table, in the order of the names.
fn tables(secrets: &Path) -> io::Result<String> {
    let mut files =
        fs::read_dir(secrets)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    let mut code = String::from("[\n");
    for path in &files {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let table: RuleFile = toml::from_str(&fs::read_to_string(path)?)
            .map_err(|error| io::Error::other(format!("{}: {error}", path.display())))?;
        code.push_str(&format!("({name:?}, &{}),\n", list(&table.rule, row)));
    }
    code.push(']');
    Ok(code)
}

fn row(row: &Row) -> String {
    // Taken apart by name: a key that is new is either written down here or does not compile.
    let Row {
        id,
        description,
        anchors,
        short_anchor_reason,
        pattern,
        gate,
        next,
        min_back,
        max_back,
        run_on,
        not_before,
        entropy,
        stop_words,
        require,
        reject,
        block_end,
        lines,
        columns,
        before_runs,
        learn,
        examples,
        counter_examples,
    } = row;
    let fields = [
        ("id", word(id)),
        ("description", word(description)),
        ("anchors", some(anchors, word)),
        ("short_anchor_reason", option(short_anchor_reason, word)),
        ("pattern", word(pattern)),
        ("gate", format!("Gate::{gate:?}")),
        ("next", option(next, word)),
        ("min_back", min_back.to_string()),
        ("max_back", max_back.to_string()),
        ("run_on", option(run_on, word)),
        ("not_before", option(not_before, word)),
        ("entropy", format!("{entropy:?}")),
        ("stop_words", some(stop_words, word)),
        ("require", some(require, |class| format!("Class::{class:?}"))),
        ("reject", some(reject, word)),
        ("block_end", option(block_end, block_end_row)),
        ("lines", lines.to_string()),
        ("columns", columns.to_string()),
        ("before_runs", before_runs.to_string()),
        ("learn", learn.to_string()),
        ("examples", some(examples, example)),
        ("counter_examples", some(counter_examples, text)),
    ];
    structure("Row", &fields)
}

fn block_end_row(BlockEndRow { anchor, pattern }: &BlockEndRow) -> String {
    structure("BlockEndRow", &[("anchor", word(anchor)), ("pattern", word(pattern))])
}

fn example(Example { before, secret, after }: &Example) -> String {
    structure("Example", &[("before", text(before)), ("secret", text(secret)), ("after", text(after))])
}

fn text(text: &Text) -> String {
    match text {
        Text::Whole(whole) => format!("Text::Whole({})", word(whole)),
        Text::Pieces(pieces) => format!("Text::Pieces({})", some(pieces, word)),
    }
}

fn structure(name: &str, fields: &[(&str, String)]) -> String {
    let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    format!("{name} {{ {} }}", fields.join(", "))
}

fn word(word: &Word) -> String {
    format!("Cow::Borrowed({word:?})")
}

fn some<T>(items: &[T], each: impl Fn(&T) -> String) -> String {
    format!("Cow::Borrowed(&{})", list(items, each))
}

fn list<T>(items: &[T], each: impl Fn(&T) -> String) -> String {
    let items: Vec<String> = items.iter().map(each).collect();
    format!("[{}]", items.join(",\n"))
}

fn option<T>(value: &Option<T>, each: impl Fn(&T) -> String) -> String {
    value.as_ref().map_or_else(|| String::from("None"), |value| format!("Some({})", each(value)))
}
