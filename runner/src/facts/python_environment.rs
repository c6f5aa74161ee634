//! Which programs a name means once a script has sourced the `activate` of a Python environment: those of the environment come first.

use std::path::Path;

use palisade_engine::{AbsolutePath, Origin, Program};
use palisade_grammar::{Command, Resolved};

use super::is_executable;

/// What every environment has, also one that the same script makes and that is not there yet.
const ALWAYS: [&str; 4] = ["pip", "pip3", "python", "python3"];

/// The environments that commands before this one have activated, the last one first.
#[derive(Default)]
pub(super) struct Activated(Vec<AbsolutePath>);

impl Activated {
    /// Takes note of a command that reads the file at `path`.
    pub(super) fn note(&mut self, command: &Command, path: &AbsolutePath) {
        let sources = matches!(command.program.value.literal(), Some("." | "source"));
        let directory = path.as_str().strip_suffix("/activate").and_then(AbsolutePath::new);
        if let Some(directory) = directory.filter(|directory| sources && directory.name() == "bin") {
            self.0.insert(0, directory);
        }
    }

    /// The environment's own program of this name. It is the workspace's code and has the fewest rights, so a script that only
    /// looks like an `activate` gains nothing.
    pub(super) fn program(&self, command: &Command, workspace: &AbsolutePath) -> Option<Program> {
        let name = command.program.value.literal().filter(|_| command.resolved == Resolved::Name)?;
        let is_there = |directory: &&AbsolutePath| {
            let path = Path::new(directory.as_str());
            is_executable(&path.join(name)) || ALWAYS.contains(&name) && !path.exists()
        };
        let directory = self.0.iter().filter(|directory| directory.is_within(workspace)).find(is_there)?;
        let path = AbsolutePath::new(&format!("{directory}/{name}"));
        Some(Program { path, origin: Origin::Workspace })
    }
}
