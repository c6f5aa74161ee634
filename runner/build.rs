//! Lists `secrets/*.toml` for the library, so that a new table of secret rules is a new file and no change of Rust.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let secrets = directory("CARGO_MANIFEST_DIR")?.join("secrets");
    println!("cargo::rerun-if-changed={}", secrets.display());
    fs::write(directory("OUT_DIR")?.join("secret_tables.rs"), listing(&secrets)?)
}

fn directory(variable: &str) -> io::Result<PathBuf> {
    env::var_os(variable).map(PathBuf::from).ok_or_else(|| io::Error::other(format!("`{variable}` is not set")))
}

/// A Rust expression of type `&[(&str, &str)]`: name and text of each table, in the order of the names.
fn listing(secrets: &Path) -> io::Result<String> {
    let mut tables =
        fs::read_dir(secrets)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?;
    tables.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    tables.sort();
    let mut code = String::from("&[\n");
    for path in &tables {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let whole = path.to_string_lossy();
        writeln!(code, "    ({name:?}, include_str!({whole:?})),").map_err(io::Error::other)?;
    }
    code.push(']');
    Ok(code)
}
