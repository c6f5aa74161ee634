//! Where the agent works, and that nothing it must not change lies there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use palisade_engine::{AbsolutePath, Vocabulary};
use palisade_runner::caches::Caches;
use palisade_runner::facts;
use palisade_runner::target::Target;

use super::flags::Transport;
use super::path_error::unreadable;
use super::policy_set::Set;
use super::values::{absolute, beside, expand, home, named, os_user, own, place_of, runtime_directory};
use super::{ConfigError, Layers, Purpose, Settings};

impl Layers<'_> {
    pub(super) fn workspace(&self, purpose: Purpose, agent: &str) -> Result<AbsolutePath, ConfigError> {
        let flag = self.flags.workspace.clone();
        let set = self
            .text(|file| file.workspace.path.as_ref().map(|path| PathBuf::from(path.replace("{agent}", agent))), flag);
        let path = set.unwrap_or_else(|| PathBuf::from("."));
        match facts::real_directory(&absolute(&path)?) {
            Some(real) if Path::new(real.as_str()).is_dir() => Ok(real),
            Some(_) => Err(ConfigError::WorkspaceNotDirectory(path.display().to_string())),
            // A dry run for another machine is about names: they need not exist here.
            None if purpose == Purpose::Check && !(self.is_local() && self.flags.workspace.is_some()) => {
                named(&path).ok_or_else(|| self.no_workspace(&path))
            }
            None => Err(self.no_workspace(&path)),
        }
    }

    /// That there is no workspace, and which setting names it, if one does.
    fn no_workspace(&self, path: &Path) -> ConfigError {
        match self.located(|file| file.workspace.path.clone()) {
            Some((file, _)) if self.flags.workspace.is_none() => {
                let by = format!("{}: `workspace.path`", place_of(file, &["workspace", "path"], None));
                unreadable(&by, path, &std::io::ErrorKind::NotFound.into())
            }
            _ => ConfigError::NoWorkspace(path.display().to_string()),
        }
    }

    pub(super) fn cwd(&self, purpose: Purpose, workspace: &AbsolutePath) -> Result<AbsolutePath, ConfigError> {
        let Some(path) = &self.flags.cwd else { return Ok(workspace.clone()) };
        let error = || ConfigError::Directory { what: "starting directory", path: path.display().to_string() };
        match facts::real_directory(&absolute(path)?) {
            Some(real) if Path::new(real.as_str()).is_dir() => Ok(real),
            None if purpose == Purpose::Check && !self.is_local() => named(path).ok_or_else(error),
            _ => Err(error()),
        }
    }

    /// Whether the flags name no other machine.
    fn is_local(&self) -> bool {
        self.flags.target.is_none() && matches!(self.flags.transport, None | Some(Transport::Local))
    }

    pub(super) fn vocabulary(&self, home: &AbsolutePath, set: &Set, audit: &Path) -> Result<Vocabulary, ConfigError> {
        let mut vocabulary = self.groups(home, set)?;
        // `~` in a group is the home of a session's user, wherever that is.
        let homes: BTreeSet<String> = self.targets(home)?.values().map(|target| target.home.to_string()).collect();
        for there in homes.iter().filter_map(|home| AbsolutePath::new(home)).filter(|there| there != home) {
            self.add_groups(&mut vocabulary, &there, set)?;
        }
        for target in self.targets(home)?.values() {
            vocabulary.add_directory("palisade", &target.state);
        }
        let own = self.own_files(set.path(), audit)?;
        for path in own.iter().flat_map(|path| kept(path)) {
            vocabulary.add_directory("palisade", &path);
        }
        for (group, what, paths) in [
            ("granted-read", "directory of `--read`", &self.flags.reads),
            ("granted-write", "directory of `--write`", &self.flags.writes),
        ] {
            for path in paths {
                let error = || ConfigError::Directory { what, path: path.display().to_string() };
                let real = facts::real_directory(&absolute(path)?).ok_or_else(error)?;
                vocabulary.add_directory(group, &real);
            }
        }
        vocabulary.declare("repository");
        let workspace = self.workspace(Purpose::Check, &self.agent()).ok();
        if let Some(repository) = workspace.as_ref().and_then(repository_of) {
            vocabulary.add_directory("repository", &repository);
        }
        // A person's git runs what lies there, whatever the directory is called.
        for hooks in workspace.as_ref().map(facts::hook_directories).unwrap_or_default() {
            vocabulary.add_directory("runs-later", &hooks);
        }
        vocabulary.declare("caches");
        if let Some(caches) = self.caches(home) {
            vocabulary.add_directory("caches", caches.directory());
        }
        vocabulary.add_real_paths(|path| facts::real_directory(Path::new(path.as_str())));
        if let Some(workspace) = &workspace {
            vocabulary.enter(workspace);
        }
        Ok(vocabulary)
    }

    /// The caches of the agent's tools. Where they would lie within its reach anyway, beside those of others, it has none.
    pub(super) fn caches(&self, home: &AbsolutePath) -> Option<Caches> {
        let agent = self.agent();
        let user = self.text(|file| file.agent.user.clone(), self.flags.user.clone()).unwrap_or_else(os_user);
        let workspace = self.workspace(Purpose::Check, &agent).ok()?;
        let set = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let base = match set.and_then(|path| facts::real_directory(&path)) {
            Some(base) => base,
            None => {
                let usual = facts::real_directory(Path::new(home.as_str()))?.child(".cache")?;
                facts::real_directory(Path::new(usual.as_str())).unwrap_or(usual)
            }
        };
        let base = base.child("palisade")?.child("agents")?;
        let GrantedPaths { writable, readable } = self.reach(&workspace);
        let near = |path: &AbsolutePath| base.is_within(path) || path.is_within(&base);
        if writable.iter().chain(&readable).any(near) {
            return None;
        }
        Caches::of(&base, home, &user, &agent, &workspace)
    }

    /// What is Palisade's own among the files of this run.
    pub(super) fn own_files(&self, policies: Option<&Path>, audit: &Path) -> Result<Vec<PathBuf>, ConfigError> {
        let settings = [&self.enforced, &self.file].into_iter().flatten().map(|(path, _)| path.clone());
        let kept = [audit.to_owned(), self.checkpoints()?.directory, self.views()?, self.control()?.directory];
        let settings = settings.chain(policies.map(Path::to_owned)).chain(kept).chain(runtime_directory());
        Ok(settings.chain(self.target_files()).chain(self.serve_files()).chain(self.export_files()).collect())
    }

    /// The files by which targets are known and reached that the settings name: whoever changes one sends a session elsewhere.
    pub(super) fn target_files(&self) -> Vec<PathBuf> {
        let Ok(home) = home() else { return Vec::new() };
        let layers = [&self.enforced, &self.file].into_iter().flatten();
        let named = layers.flat_map(|(path, file)| file.targets.values().map(move |table| (path, table)));
        let own = named.flat_map(|(path, table)| {
            table.files().into_iter().filter_map(|named| beside(path, Some(&expand(named, &home)))).collect::<Vec<_>>()
        });
        own.collect()
    }

    /// Files by which clients are known and the server is, and the sockets for operators.
    pub(super) fn serve_files(&self) -> Vec<PathBuf> {
        let layers = [&self.enforced, &self.file].into_iter().flatten();
        layers.flat_map(|(path, file)| file.serve.files().into_iter().map(own(path)).collect::<Vec<_>>()).collect()
    }

    /// That the agent can change nothing that Palisade goes by: neither what it reads there, nor where a path leads.
    pub(super) fn out_of_reach(&self, workspace: &AbsolutePath, set: &Set, audit: &Path) -> Result<(), ConfigError> {
        let settings = [&self.enforced, &self.file].into_iter().flatten().map(|(path, _)| path.as_path());
        let (checkpoints, control) = (self.checkpoints()?.directory, self.control()?.directory);
        let views = self.views()?;
        let sockets = runtime_directory().unwrap_or_else(|| control.clone());
        let (mut targets, serve, export) = (self.target_files(), self.serve_files(), self.export_files());
        // OpenSSH's own configuration, and what that names.
        targets.extend(self.targets(&home()?)?.values().flat_map(Target::depends_on).map(Path::to_owned));
        let own = [
            ("record directory", audit),
            ("directory of checkpoints", checkpoints.as_path()),
            ("directory of views", views.as_path()),
            ("control directory", control.as_path()),
            ("directory of sockets", sockets.as_path()),
        ];
        let settings = settings.map(|path| ("settings file", path));
        let policies = set.path().into_iter().map(|path| ("policy path", path));
        let policies = policies.chain(set.files().map(|path| ("policy file", path)));
        let own = settings.chain(policies).chain(own);
        let targets = targets.iter().map(|path| ("target's file", path.as_path()));
        let serve = serve.iter().map(|path| ("server's file", path.as_path()));
        let export = export.iter().map(|path| ("collector's file", path.as_path()));
        let reach = self.reach(workspace);
        for (what, path) in own.chain(targets).chain(serve).chain(export) {
            if reach.holds(path)? {
                return Err(ConfigError::WithinReach { what, path: path.display().to_string() });
            }
        }
        Ok(())
    }

    fn reach(&self, workspace: &AbsolutePath) -> GrantedPaths {
        let granted = |paths: &[PathBuf]| -> Vec<AbsolutePath> {
            paths.iter().filter_map(|path| facts::real_directory(&absolute(path).ok()?)).collect()
        };
        let writable = std::iter::once(workspace.clone()).chain(granted(&self.flags.writes)).collect();
        GrantedPaths { writable, readable: granted(&self.flags.reads) }
    }
}

/// The `.git` of the repository that a workspace is a linked worktree of. What the workspace says of it an agent may have written: it
/// counts only if the repository names the workspace as well (gitrepository-layout(5)).
fn repository_of(workspace: &AbsolutePath) -> Option<AbsolutePath> {
    const LONGEST: u64 = 64 << 10;
    let line = |path: &Path| -> Option<PathBuf> {
        let about = std::fs::symlink_metadata(path).ok()?;
        let text = std::fs::read_to_string(path).ok().filter(|_| about.is_file() && about.len() < LONGEST)?;
        Some(PathBuf::from(text.strip_prefix("gitdir: ").unwrap_or(&text).trim_end_matches('\n')))
    };
    let link = Path::new(workspace.as_str()).join(".git");
    let own = facts::real_directory(&Path::new(workspace.as_str()).join(line(&link)?))?;
    let own = Path::new(own.as_str());
    let back = facts::real_directory(&own.join(line(&own.join("gitdir"))?))?;
    let repository = facts::real_directory(&own.join(line(&own.join("commondir"))?))?;
    let lies_there = own.parent() == Some(&Path::new(repository.as_str()).join("worktrees"));
    let is_named = Path::new(repository.as_str()).file_name().is_some_and(|name| name == ".git");
    (Path::new(back.as_str()) == link && lies_there && is_named).then_some(repository)
}

/// What is protected when a path is: what lies there, and every link that leads there.
fn kept(path: &Path) -> Vec<AbsolutePath> {
    let Some(mut way) = facts::way_to(path) else { return named(path).into_iter().collect() };
    let Some(end) = way.pop() else { return Vec::new() };
    way.retain(|step| step != &end && Path::new(step.as_str()).is_symlink());
    way.push(end);
    way
}

/// Where the agent works, and what it was granted besides.
pub(crate) struct GrantedPaths {
    writable: Vec<AbsolutePath>,
    readable: Vec<AbsolutePath>,
}

impl GrantedPaths {
    /// What can be written under these settings.
    pub(crate) fn to_write(settings: &Settings) -> Self {
        let around = &settings.surroundings;
        let writable = std::iter::once(&around.workspace).chain(&around.writable).cloned().collect();
        Self { writable, readable: Vec::new() }
    }

    /// Whether the agent can read or change what a path leads to, or say where it leads: a link in the workspace leads
    /// wherever the agent wants. What cannot be told counts as such.
    ///
    /// # Errors
    /// If the path is relative and the current directory cannot be told.
    pub(crate) fn holds(&self, path: &Path) -> Result<bool, ConfigError> {
        let Some(way) = facts::way_to(&absolute(path)?) else { return Ok(true) };
        let Some((end, steps)) = way.split_last() else { return Ok(true) };
        let within = |place: &AbsolutePath, directories: &[AbsolutePath]| {
            directories.iter().any(|directory| place.is_within(directory))
        };
        // The directory itself is exchanged by whoever can write the one around it.
        let exchanged =
            |step: &AbsolutePath| self.writable.iter().any(|directory| step != directory && step.is_within(directory));
        Ok(within(end, &self.writable) || within(end, &self.readable) || steps.iter().any(exchanged))
    }
}
