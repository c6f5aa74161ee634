//! Where the agent works, and that nothing it must not change lies there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use palisade_engine::{AbsolutePath, Vocabulary};
use palisade_runner::facts;
use palisade_runner::transport::Target;

use super::authored::Set;
use super::values::{absolute, beside, expand, home, named};
use super::{ConfigError, Layers, Purpose};

impl Layers<'_> {
    pub(super) fn workspace(&self, purpose: Purpose, agent: &str) -> Result<AbsolutePath, ConfigError> {
        let flag = self.flags.workspace.clone();
        let set = self
            .text(|file| file.workspace.path.as_ref().map(|path| PathBuf::from(path.replace("{agent}", agent))), flag);
        let path = set.unwrap_or_else(|| PathBuf::from("."));
        match facts::real_directory(&absolute(&path)?) {
            Some(real) if Path::new(real.as_str()).is_dir() => Ok(real),
            Some(_) => Err(ConfigError::WorkspaceNotDirectory(path.display().to_string())),
            None => match purpose {
                // A dry run is about names: they need not exist.
                Purpose::Check => named(&path).ok_or_else(|| ConfigError::NoWorkspace(path.display().to_string())),
                Purpose::Run => Err(ConfigError::NoWorkspace(path.display().to_string())),
            },
        }
    }

    pub(super) fn cwd(&self, purpose: Purpose, workspace: &AbsolutePath) -> Result<AbsolutePath, ConfigError> {
        let Some(path) = &self.flags.cwd else { return Ok(workspace.clone()) };
        let error = || ConfigError::Directory { what: "starting directory", path: path.display().to_string() };
        match facts::real_directory(&absolute(path)?) {
            Some(real) if Path::new(real.as_str()).is_dir() => Ok(real),
            None if purpose == Purpose::Check => named(path).ok_or_else(error),
            _ => Err(error()),
        }
    }

    pub(super) fn vocabulary(&self, home: &AbsolutePath, set: &Set, audit: &Path) -> Result<Vocabulary, ConfigError> {
        let mut vocabulary = self.groups(home, set)?;
        // `~` in a group is the home of a session's user, wherever that is.
        let homes: BTreeSet<String> = self.targets(home)?.values().map(|target| target.home.to_string()).collect();
        for there in homes.iter().filter_map(|home| AbsolutePath::new(home)).filter(|there| there != home) {
            self.add_groups(&mut vocabulary, &there, set)?;
        }
        let own = self.own_files(set.path(), audit)?;
        for path in own.iter().filter_map(|path| facts::real_directory(path).or_else(|| named(path))) {
            vocabulary.add_directory("palisade", &path);
        }
        for (group, paths) in [("granted-read", &self.flags.reads), ("granted-write", &self.flags.writes)] {
            for path in paths {
                let error = || ConfigError::Directory { what: "granted directory", path: path.display().to_string() };
                let real = facts::real_directory(&absolute(path)?).ok_or_else(error)?;
                vocabulary.add_directory(group, &real);
            }
        }
        vocabulary.add_real_paths(|path| facts::real_directory(Path::new(path.as_str())));
        Ok(vocabulary)
    }

    /// What is Palisade's own among the files of this run.
    pub(super) fn own_files(&self, policies: Option<&Path>, audit: &Path) -> Result<Vec<PathBuf>, ConfigError> {
        let settings = [&self.enforced, &self.file].into_iter().flatten().map(|(path, _)| path.clone());
        let kept = [audit.to_owned(), self.checkpoints()?.directory, self.views()?, self.control()?.directory];
        let settings = settings.chain(policies.map(Path::to_owned)).chain(kept);
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

    pub(super) fn out_of_reach(
        &self,
        workspace: &AbsolutePath,
        policies: Option<&Path>,
        audit: &Path,
    ) -> Result<(), ConfigError> {
        let settings = self.file.as_ref().map(|(path, _)| path.as_path());
        let (checkpoints, control) = (self.checkpoints()?.directory, self.control()?.directory);
        let views = self.views()?;
        let (mut targets, serve, export) = (self.target_files(), self.serve_files(), self.export_files());
        // OpenSSH's own configuration, and what that names.
        targets.extend(self.targets(&home()?)?.values().flat_map(Target::depends_on).map(Path::to_owned));
        let own = [
            ("settings file", settings),
            ("policy path", policies),
            ("record directory", Some(audit)),
            ("directory of checkpoints", Some(checkpoints.as_path())),
            ("directory of views", Some(views.as_path())),
            ("control directory", Some(control.as_path())),
        ];
        let own = own.into_iter().filter_map(|(what, path)| Some((what, path?)));
        let targets = targets.iter().map(|path| ("target's file", path.as_path()));
        let serve = serve.iter().map(|path| ("server's file", path.as_path()));
        let export = export.iter().map(|path| ("collector's file", path.as_path()));
        for (what, path) in own.chain(targets).chain(serve).chain(export) {
            let place = facts::real_directory(&absolute(path)?).or_else(|| named(path));
            let granted = || self.flags.writes.iter().chain(&self.flags.reads);
            let granted = || granted().filter_map(|path| facts::real_directory(&absolute(path).ok()?));
            let reachable = |place: &AbsolutePath| {
                place.is_within(workspace) || granted().any(|directory| place.is_within(&directory))
            };
            if place.as_ref().is_none_or(reachable) {
                return Err(ConfigError::WithinReach { what, path: path.display().to_string() });
            }
        }
        Ok(())
    }
}
