//! `policy fmt`: one layout for policy files.

use std::ffi::OsStr;
use std::path::PathBuf;

use palisade_engine::Source;

use crate::args::PolicyFmt;
use crate::exit::Exit;
use crate::policies::walk;
use crate::report::{self, Trouble};

pub(crate) fn run(args: &PolicyFmt) -> Result<Exit, Trouble> {
    let mut changed = false;
    for file in files(args)? {
        let name = file.display().to_string();
        let text = std::fs::read_to_string(&file)
            .map_err(|error| Trouble::new(format!("cannot read `{name}`: {error}"), ""))?;
        let formatted = Source { name: name.clone(), text: text.clone() }.formatted();
        let formatted = formatted.map_err(|error| Trouble::of(&error))?;
        if formatted == text {
            continue;
        }
        changed = true;
        if args.check {
            report::print(&format!("{name}: would be laid out differently\n"));
        } else {
            replace(&file, &formatted).map_err(|error| Trouble::new(format!("cannot write `{name}`: {error}"), ""))?;
            report::print(&format!("{name}\n"));
        }
    }
    Ok(if changed && args.check { Exit::Findings } else { Exit::Fine })
}

fn files(args: &PolicyFmt) -> Result<Vec<PathBuf>, Trouble> {
    let mut files = Vec::new();
    for path in &args.paths {
        let is_policy = |file: &PathBuf| file == path || file.extension() == Some(OsStr::new("cedar"));
        files.extend(walk(path)?.into_iter().filter(is_policy));
    }
    Ok(files)
}

/// All or nothing: a server may read the file at this very moment.
fn replace(file: &PathBuf, text: &str) -> std::io::Result<()> {
    // A link stays a link, and its file is the one that changes.
    let file = std::fs::canonicalize(file)?;
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let beside = file.with_file_name(name);
    std::fs::write(&beside, text)?;
    std::fs::set_permissions(&beside, std::fs::metadata(&file)?.permissions())?;
    std::fs::rename(&beside, &file)
}
