//! Lists the tables of `programs/` and `effects/` and what they are called, so that a new file there needs no line of Rust, and a table is read
//! when its program is first named: all of them take 60 ms, which the first command would wait for. The library gets each table as JSON, which
//! takes about half the instructions of TOML to read.

#![expect(clippy::disallowed_methods, reason = "a build script reads the folder it lists")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs, io};

/// What is read of a table here. The library reads the rest, and refuses what it does not know.
#[derive(serde::Deserialize)]
struct Names {
    name: String,
    #[serde(default)]
    aliases: Vec<String>,
}

fn main() -> io::Result<()> {
    list("programs", "program")?;
    list("effects", "effect")
}

/// Writes `KINDs.rs`, the tables of a folder, and `KIND_names.rs`, the place of the table for each name.
fn list(folder: &str, kind: &str) -> io::Result<()> {
    let variable = |name: &str| env::var(name).map_err(io::Error::other);
    let folder = Path::new(&variable("CARGO_MANIFEST_DIR")?).join(folder);
    println!("cargo::rerun-if-changed={}", folder.display());
    let out = Path::new(&variable("OUT_DIR")?).to_owned();
    let mut files = fs::read_dir(&folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    let mut tables = String::from("&[\n");
    let mut by_name = BTreeMap::new();
    let mut examples = String::from("&[\n");
    for (number, path) in files.iter().enumerate() {
        let complain = |error: &dyn std::fmt::Display| io::Error::other(format!("{}: {error}", path.display()));
        let mut table: toml::Table = toml::from_str(&fs::read_to_string(path)?).map_err(|error| complain(&error))?;
        let Names { name, aliases } = table.clone().try_into().map_err(|error| complain(&error))?;
        for name in aliases.into_iter().chain([name]) {
            if by_name.insert(name.clone(), number).is_some() {
                return Err(complain(&format_args!("two tables say what `{name}` does")));
            }
        }
        let file = path.file_name().unwrap_or_default();
        // Only tests read the examples of these, which are a third of their text.
        if kind == "effect"
            && let Some(example) = table.remove("example")
        {
            writeln!(examples, "    ({file:?}, {:?}),", serde_json::to_string(&example)?).map_err(io::Error::other)?;
        }
        let json = out.join(format!("{kind}-{}", file.display())).with_extension("json");
        fs::write(&json, serde_json::to_string(&table)?)?;
        writeln!(tables, "    ({file:?}, include_str!({json:?})),").map_err(io::Error::other)?;
    }
    fs::write(out.join(format!("{kind}s.rs")), tables + "]")?;
    fs::write(out.join(format!("{kind}_examples.rs")), examples + "]")?;
    // Sorted, as the map is.
    fs::write(out.join(format!("{kind}_names.rs")), format!("&{:#?}", by_name.into_iter().collect::<Vec<_>>()))
}
