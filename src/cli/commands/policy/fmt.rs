//! `policy fmt`: one layout for policy files.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use palisade_engine::{BundleError, Source};

use crate::cli::args::PolicyFmt;
use crate::cli::exit::Exit;
use crate::cli::report::{self, CliError};
use crate::config;
use crate::config::walk;

pub(crate) fn run(args: &PolicyFmt) -> Result<Exit, CliError> {
    // All of them first: one that does not parse leaves the others as they are.
    let changed = files(args)?.into_iter().filter_map(|file| laid_out(file).transpose());
    let changed = changed.collect::<Result<Vec<_>, CliError>>()?;
    for Changed { file, text } in &changed {
        let name = file.display();
        if args.check {
            report::print(&format!("{name}: would be laid out differently\n"));
        } else {
            replace(file, text).map_err(|error| CliError::new(format!("cannot write `{name}`: {error}"), ""))?;
            report::print(&format!("{name}\n"));
        }
    }
    Ok(if !changed.is_empty() && args.check { Exit::Findings } else { Exit::Fine })
}

/// A file that is laid out differently, with the text that it should have.
struct Changed {
    file: PathBuf,
    text: String,
}

/// A file as it should be; none if it is so.
fn laid_out(file: PathBuf) -> Result<Option<Changed>, CliError> {
    let name = file.display().to_string();
    let unreadable = |error: std::io::Error| CliError::from(config::unreadable("", &file, &error));
    // What is put in its place would be a file, whatever was there: a device, a pipe.
    if !std::fs::metadata(&file).map_err(unreadable)?.is_file() {
        return Err(CliError::new(
            format!("`{name}` is no regular file"),
            "name a `.cedar` file, or a directory of them",
        ));
    }
    let text = std::fs::read_to_string(&file).map_err(unreadable)?;
    let formatted = Source { name, text: text.clone() }.formatted().map_err(|error| CliError::of(&error))?;
    Ok((formatted != text).then_some(Changed { file, text: formatted }))
}

fn files(args: &PolicyFmt) -> Result<Vec<PathBuf>, CliError> {
    let mut files = Vec::new();
    for path in &args.paths {
        let is_policy = |file: &PathBuf| file == path || file.extension() == Some(OsStr::new("cedar"));
        let found = files.len();
        files.extend(walk(path)?.into_iter().filter(is_policy));
        if files.len() == found {
            return Err(CliError::of(&BundleError::Empty(path.display().to_string())));
        }
    }
    Ok(files)
}

/// All or nothing: a server may read the file at this very moment.
fn replace(file: &Path, text: &str) -> std::io::Result<()> {
    // A link stays a link, and its file is the one that changes.
    let file = std::fs::canonicalize(file)?;
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let beside = file.with_file_name(name);
    std::fs::write(&beside, text)?;
    std::fs::set_permissions(&beside, std::fs::metadata(&file)?.permissions())?;
    std::fs::rename(&beside, &file)
}
