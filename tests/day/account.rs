//! Who works, and where: a home with a toolchain in it, and a workspace below it.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::table::Workflow;
use crate::support::people::AGENT;
use crate::support::services::stdout_of;

/// The interpreters that pyenv has made: by far the most of what it holds.
const PYENV_VERSIONS: &str = ".pyenv/versions";

/// The user whose work it is.
#[derive(Clone, Debug)]
pub(super) struct Account {
    /// Another user than the one who runs the tests.
    uid: Option<u32>,
}

impl Account {
    /// Whoever runs the tests.
    pub(super) fn own() -> Self {
        Self { uid: None }
    }

    /// An ordinary user; none where only root could be one.
    pub(super) fn ordinary() -> Option<Self> {
        is_root().then_some(Self { uid: Some(AGENT) })
    }

    pub(super) fn is_own(&self) -> bool {
        self.uid.is_none()
    }

    pub(super) fn name(&self) -> &'static str {
        match self.uid {
            Some(_) => "ordinary",
            None if is_root() => "root",
            None => "own",
        }
    }
}

/// A home and a workspace of one workflow, for one way of running it.
pub(super) struct Desk {
    root: TempDir,
    account: Account,
    search: Vec<String>,
    /// Directories of the person's own home that appear in this one.
    lent: Vec<&'static str>,
}

impl Desk {
    /// Copies the project and prepares it.
    pub(super) fn new(workflow: &Workflow, account: &Account, fetched: &Path) -> Self {
        // Neither below `/tmp`, of which a session has its own, nor below this repository, which cargo and git would find.
        let root = tempfile::Builder::new().prefix("palisade-day-").tempdir_in("/var/tmp").expect("a directory");
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
        let mut lent = vec![".rustup", ".cargo/bin"];
        if workflow.if_there.is_some() {
            lent.push(PYENV_VERSIONS);
        }
        let desk = Self { root, account: account.clone(), search: workflow.path.clone(), lent };
        for directory in ["home/app", "home/.cargo", "state", "tmp"] {
            fs::create_dir_all(desk.path(directory)).expect("a directory");
        }
        let identity = "[user]\n\tname = Ada\n\temail = ada@example.invalid\n[init]\n\tdefaultBranch = main\n";
        fs::set_permissions(desk.path("tmp"), fs::Permissions::from_mode(0o1777)).expect("a mode");
        fs::write(desk.path("home/.gitconfig"), identity).expect("a file");
        if workflow.if_there.is_some() {
            desk.copy_pyenv();
        }
        desk.lend();
        if workflow.programs.iter().any(|name| name == "cargo") {
            copy(&fetched.join("cargo/registry"), &desk.path("home/.cargo"));
        }
        if let Some(from) = &workflow.from {
            copy(&fetched.join("projects").join(from).join("."), &desk.workspace());
        }
        desk.prepare(workflow, fetched);
        if let Some(uid) = account.uid {
            let owner = format!("{uid}:{uid}");
            stdout_of(Command::new("chown").args(["-hR", &owner]).arg(desk.root.path()));
        }
        desk
    }

    /// pyenv with its shims as they would be in this home: they name the place of pyenv.
    fn copy_pyenv(&self) {
        let (from, to) = (own_home().join(".pyenv"), self.path("home/.pyenv"));
        fs::create_dir(&to).expect("a directory");
        for name in ["bin", "libexec", "pyenv.d", "plugins", "completions", "version"] {
            if from.join(name).exists() {
                copy(&from.join(name), &to);
            }
        }
        fs::create_dir(to.join("shims")).expect("a directory");
        let shims = fs::read_dir(from.join("shims")).into_iter().flatten().flatten();
        // pyenv makes one of a hidden name and removes it, whenever it looks for new ones.
        for shim in shims.filter(|shim| !shim.file_name().to_string_lossy().starts_with('.')) {
            let copy = to.join("shims").join(shim.file_name());
            fs::copy(shim.path(), &copy).expect("a script");
            let text = fs::read_to_string(&copy).expect("a script");
            let (from, to) = (from.display().to_string(), to.display().to_string());
            fs::write(copy, text.replace(&from, &to)).expect("written");
        }
    }

    /// What only stands for directories of the person's own: mounted over where root can do that, else links.
    fn lend(&self) {
        let home = own_home();
        self.lent.iter().filter(|name| home.join(name).exists()).for_each(|name| {
            let place = self.path("home").join(name);
            if is_root() {
                fs::create_dir_all(place).expect("a directory");
            } else {
                fs::create_dir_all(place.parent().expect("a parent")).expect("a directory");
                std::os::unix::fs::symlink(home.join(name), place).expect("a link");
            }
        });
    }

    fn prepare(&self, workflow: &Workflow, fetched: &Path) {
        let mut script = format!("set -euo pipefail\nrm -f .fetched-*\n{}\n", workflow.setup);
        if workflow.git {
            script.push_str("git init -q && git add -A && git commit -qm Import\n");
        }
        // As root, since the workspace is not given away yet.
        let mut bash = self.command(&["bash", "-c"].map(OsStr::new), None, is_root());
        bash.arg(script).stdin(Stdio::null());
        for (name, directory) in [("PROJECTS", "projects"), ("ARCHIVES", "archives"), ("WHEELS", "wheels")] {
            bash.env(name, fetched.join(directory));
        }
        let output = bash.output().expect("bash starts");
        assert!(output.status.success(), "{}: setup: {}", workflow.name, String::from_utf8_lossy(&output.stderr));
    }

    /// A command of the user's, in the workspace.
    pub(super) fn as_user(&self, words: &[&OsStr]) -> Command {
        self.command(words, self.account.uid, false)
    }

    /// The same without Palisade: root gives it this desk's temporary directory as `/tmp`, and the machine's stays as it was.
    pub(super) fn bare(&self, words: &[&OsStr]) -> Command {
        self.command(words, self.account.uid, is_root())
    }

    fn command(&self, words: &[&OsStr], uid: Option<u32>, has_tmp: bool) -> Command {
        let own = std::env::var("HOME").expect("a home");
        let mut command = if is_root() {
            // A mount namespace of its own, where directories of the person's home are at their places in this one.
            let mut script = String::from("set -e; ");
            for name in self.lent.iter().filter(|name| Path::new(&own).join(name).exists()) {
                script.push_str(&format!("mount --bind '{own}/{name}' \"$HOME/{name}\"; "));
            }
            if has_tmp {
                script.push_str(&format!("mount --bind '{}' /tmp; ", self.path("tmp").display()));
            }
            match uid {
                Some(uid) => {
                    script.push_str(&format!("exec setpriv --reuid={uid} --regid={uid} --clear-groups \"$@\""))
                }
                None => script.push_str("exec \"$@\""),
            }
            let mut unshare = Command::new("unshare");
            unshare.args(["--mount", "sh", "-c", &script, "sh"]).args(words);
            unshare
        } else {
            let (program, rest) = words.split_first().expect("a program");
            let mut command = Command::new(program);
            command.args(rest);
            command
        };
        let home = self.path("home").display().to_string();
        let mut search: Vec<String> = self.search.iter().map(|directory| directory.replace('~', &home)).collect();
        search.push(format!("{home}/.cargo/bin"));
        search.extend(["/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"].map(str::to_owned));
        command.current_dir(self.workspace()).env_clear();
        command
            .env("HOME", &home)
            .env("PATH", search.join(":"))
            .env("TMPDIR", if has_tmp { "/tmp".into() } else { self.path("tmp") });
        command.env("XDG_STATE_HOME", self.path("state"));
        for (name, value) in [("USER", "ada"), ("LOGNAME", "ada"), ("SHELL", "/bin/bash"), ("LANG", "C.UTF-8")] {
            command.env(name, value);
        }
        command.env("TERM", "xterm-256color");
        command
    }

    /// The agent's directory.
    pub(super) fn workspace(&self) -> PathBuf {
        self.path("home/app")
    }

    /// A text of the table with this desk's paths in it.
    pub(super) fn filled(&self, text: &str) -> String {
        let work = self.workspace().display().to_string();
        text.replace("{work}", &work).replace("{home}", &self.path("home").display().to_string())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }
}

fn own_home() -> PathBuf {
    PathBuf::from(std::env::var_os("HOME").expect("a home"))
}

fn copy(from: &Path, to: &Path) {
    assert!(from.exists(), "`{}` was not fetched", from.display());
    stdout_of(Command::new("cp").args(["-a", "--no-preserve=ownership"]).arg(from).arg(to));
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
