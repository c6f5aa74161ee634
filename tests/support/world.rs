//! A home, a workspace and the binary, apart from the machine's own.

#![expect(clippy::panic, clippy::expect_used, reason = "a world that cannot be set up fails its test")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// Directories of one test's own.
pub(crate) struct World {
    root: TempDir,
}

impl World {
    /// An empty workspace, and a home with a private key in it.
    pub(crate) fn new() -> Self {
        let world = Self { root: tempfile::tempdir().expect("a temporary directory") };
        for directory in ["work", "home/.ssh", "state"] {
            fs::create_dir_all(world.root.path().join(directory)).expect("a directory");
        }
        world.write("home/.ssh/id_ed25519", "the private key");
        world
    }

    /// The agent's directory.
    pub(crate) fn workspace(&self) -> PathBuf {
        self.path("work")
    }

    /// A path of this world.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().canonicalize().expect("a real path").join(name)
    }

    /// Writes a file and returns its path.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path
    }

    /// Writes an executable script into the workspace.
    pub(crate) fn program(&self, name: &str, text: &str) {
        let path = self.write(&format!("work/{name}"), text);
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("a mode");
    }

    /// The binary, to be run in the workspace with this world's home and record.
    pub(crate) fn palisade(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_palisade"));
        command
            .current_dir(self.workspace())
            .env("HOME", self.path("home"))
            .env("XDG_STATE_HOME", self.path("state"))
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_RUNTIME_DIR")
            .env_remove("PALISADE_CONFIG")
            .stdin(Stdio::null());
        command
    }

    /// Runs one verb with arguments to its end.
    pub(crate) fn call(&self, arguments: &[&str]) -> Ended {
        Ended::of(self.palisade().args(arguments))
    }

    /// The same by another program in the place of the binary.
    pub(crate) fn call_as(&self, program: &Path, arguments: &[&str]) -> Ended {
        let mut command = Command::new(program);
        command.current_dir(self.workspace()).env("HOME", self.path("home")).env("XDG_STATE_HOME", self.path("state"));
        Ended::of(
            command
                .env_remove("XDG_CONFIG_HOME")
                .env_remove("XDG_RUNTIME_DIR")
                .env_remove("PALISADE_CONFIG")
                .stdin(Stdio::null())
                .args(arguments),
        )
    }

    /// `palisade run COMMAND`.
    pub(crate) fn run(&self, command: &str) -> Ended {
        self.call(&["run", command])
    }

    /// Makes the machine's cargo, rustup and pyenv reachable from this world's home, as they are from a person's.
    pub(crate) fn link_toolchain(&self) {
        let home = PathBuf::from(std::env::var_os("HOME").expect("a home"));
        for name in [".cargo", ".rustup", ".pyenv"] {
            if home.join(name).exists() {
                std::os::unix::fs::symlink(home.join(name), self.path("home").join(name)).expect("a link");
            }
        }
    }

    /// The record files, oldest first.
    pub(crate) fn records(&self) -> Vec<PathBuf> {
        let directory = self.path("state/palisade/audit");
        let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
        let files = entries.map(|entry| entry.expect("an entry").path());
        let mut files: Vec<PathBuf> =
            files.filter(|file| file.extension().is_some_and(|extension| extension == "jsonl")).collect();
        files.sort();
        files
    }

    /// The newest record, line by line. A line that is being written while this reads is left out.
    pub(crate) fn record(&self) -> Vec<serde_json::Value> {
        let Some(file) = self.records().pop() else { return Vec::new() };
        let text = fs::read_to_string(file).expect("a record");
        let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        whole.map(|line| serde_json::from_str(line).expect("a JSON line")).collect()
    }
}

/// A process that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// Runs a command to its end.
    pub(crate) fn of(command: &mut Command) -> Self {
        let Output { status, stdout, stderr } = command.output().expect("the binary starts");
        Self {
            code: status.code(),
            stdout: String::from_utf8_lossy(&stdout).into_owned(),
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
        }
    }

    /// Standard output as one JSON value.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// The cargo that runs the tests, as a person would start it. What it tells a test of the test's own package would make build scripts that read it
/// (ring's) run again, and with them most of the workspace would be built anew, here and by the next build.
pub(crate) fn cargo() -> Command {
    const OF_THE_TEST: [&str; 4] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CRATE_", "CARGO_BIN_"];
    let mut cargo = Command::new(env!("CARGO"));
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| OF_THE_TEST.iter().any(|of| name.starts_with(of))) {
            cargo.env_remove(name);
        }
    }
    cargo.current_dir(repository());
    cargo
}

/// The features that the tests were built with, for a cargo that is to build nothing anew.
pub(crate) fn features() -> &'static [&'static str] {
    if cfg!(feature = "blocking") { &["--features", "blocking"] } else { &[] }
}

/// This repository.
pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
