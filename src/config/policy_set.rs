//! A policy set with the settings that it is judged by: which one is meant, its cases, and what its groups are made of.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use palisade_engine::{AbsolutePath, Bundle, BundleError, CaseError, Cases, Engine, Source, Vocabulary};
use toml::Spanned;

use super::file::{GroupsTable, SettingsFile};
use super::flags::Context;
use super::path_error::unreadable;
use super::policies::PolicyFiles;
use super::values::{beside, home, place_of, source_of};
use super::{ConfigError, Layers, Purpose};
#[cfg(feature = "cli")]
use crate::cli::args::PolicySet;

/// A policy set with its cases and what its groups are made of: for those who write policies.
#[derive(Debug)]
pub(crate) struct Authored {
    layers_file: Option<(PathBuf, SettingsFile)>,
    enforced: Option<(PathBuf, SettingsFile)>,
    set: Set,
}

/// Policies as they were read, once: everything about them is looked at as it was then.
#[derive(Debug)]
pub(super) struct Set {
    chosen: Chosen,
    /// None for a profile.
    files: Option<PolicyFiles>,
}

impl Set {
    /// Policies that stand on this profile by the settings, if they say so.
    pub(super) fn read(chosen: Chosen, extends: Option<String>) -> Result<Self, ConfigError> {
        let mut files = match &chosen {
            Chosen::Files(path) if is_misspelt(path) => {
                let known: Vec<&str> = palisade_policies::PROFILES.iter().map(|(profile, _)| *profile).collect();
                return Err(ConfigError::NoSet { name: path.display().to_string(), known: known.join(", ") });
            }
            Chosen::Files(path) => Some(PolicyFiles::read(path).map_err(|error| named("", path, error))?),
            Chosen::Profile(_) => None,
        };
        if let (Some(files), Some(profile)) = (&mut files, extends) {
            let said = files.extends.get_or_insert_with(|| profile.clone());
            if *said != profile {
                let expected = "what the `palisade.toml` of the policy directory says";
                return Err(ConfigError::Value { key: "extends".to_owned(), value: profile, expected });
            }
        }
        Ok(Self { chosen, files })
    }

    pub(super) fn path(&self) -> Option<&Path> {
        match &self.chosen {
            Chosen::Files(path) => Some(path),
            Chosen::Profile(_) => None,
        }
    }

    /// The files that were read.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        let files = self.files.iter().flat_map(PolicyFiles::names);
        files.map(Path::new)
    }

    pub(super) fn bundle(&self) -> Result<Bundle, ConfigError> {
        Ok(match (&self.chosen, &self.files) {
            (_, Some(files)) => {
                let mut sources = files.extends.as_deref().map_or(Ok(Vec::new()), Source::of_profile)?;
                sources.extend_from_slice(&files.sources);
                Bundle::with_groups(sources, files.groups.clone())?
            }
            (Chosen::Profile(name), None) => Bundle::profile(name)?,
            (Chosen::Files(path), None) => return Err(BundleError::Empty(path.display().to_string()).into()),
        })
    }
}

/// Says of policies that cannot be read what names them.
fn named(by: &str, path: &Path, error: ConfigError) -> ConfigError {
    match &error {
        ConfigError::Read { path: read, source } if *read == path.display().to_string() => unreadable(by, path, source),
        _ => error,
    }
}

/// Whether a path can only be meant for a profile: a single word, and nothing is there.
fn is_misspelt(path: &Path) -> bool {
    path.components().count() == 1 && path.extension().is_none() && !path.exists()
}

/// What a running server decides by, as it lies there now: two that are equal make the same engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WatchedSettings {
    /// Which policies, and where the record goes: a server keeps to those that it began with.
    pub(crate) fixed: (Chosen, PathBuf),
    policies: Option<PolicyFiles>,
    groups: Vec<GroupsTable>,
}

impl WatchedSettings {
    /// What there is to see of a set that was read with its settings.
    ///
    /// # Errors
    /// If it cannot be told where the record goes.
    pub(crate) fn of(authored: &Authored) -> Result<Self, ConfigError> {
        let flags = Context::default();
        let layers = authored.layers(&flags);
        let groups = [&layers.enforced, &layers.file].into_iter().flatten().map(|(_, file)| file.groups.clone());
        let fixed = (authored.set.chosen.clone(), layers.audit_directory()?);
        Ok(Self { fixed, policies: authored.set.files.clone(), groups: groups.collect() })
    }
}

/// Which policies are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Chosen {
    /// One that Palisade ships.
    Profile(String),
    /// A `.cedar` file or a policy directory.
    Files(PathBuf),
}

impl Chosen {
    /// What an argument names: a profile, unless there is a file of that name.
    pub(crate) fn named(argument: &Path) -> Self {
        let name = argument.to_string_lossy();
        let is_profile = palisade_policies::PROFILES.iter().any(|(profile, _)| *profile == name);
        match is_profile && !argument.exists() {
            true => Self::Profile(name.into_owned()),
            false => Self::Files(argument.to_owned()),
        }
    }
}

impl Authored {
    /// Where the files lie; none for a profile.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.set.path()
    }

    /// What the arguments name, else what the settings name.
    ///
    /// # Errors
    /// If a settings file cannot be read or is wrong.
    #[cfg(feature = "cli")]
    pub(crate) fn of(set: &PolicySet) -> Result<Self, ConfigError> {
        let named = match (&set.path, &set.profile) {
            (Some(path), _) => Some(Chosen::named(path)),
            (None, profile) => profile.clone().map(Chosen::Profile),
        };
        let mut flags = Context { config: set.config.clone(), ..Context::default() };
        match &named {
            Some(Chosen::Files(path)) => flags.policies = Some(path.clone()),
            Some(Chosen::Profile(name)) => flags.profile = Some(name.clone()),
            None => {}
        }
        let layers = Layers::read(&flags)?;
        // Whoever names a set means that one, whatever is enforced for running.
        let set = named.map_or_else(|| layers.set(), |chosen| Set::read(chosen, None))?;
        Ok(Self { layers_file: layers.file, enforced: layers.enforced, set })
    }

    /// What the context of a running verb names.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub(crate) fn running(flags: &Context) -> Result<Self, ConfigError> {
        let layers = Layers::read(flags)?;
        let set = layers.set()?;
        Ok(Self { layers_file: layers.file, enforced: layers.enforced, set })
    }

    fn layers<'a>(&self, flags: &'a Context) -> Layers<'a> {
        Layers { enforced: self.enforced.clone(), file: self.layers_file.clone(), flags }
    }

    /// The set.
    pub(crate) fn chosen(&self) -> &Chosen {
        &self.set.chosen
    }

    /// The roles that the settings give.
    pub(crate) fn roles(&self) -> BTreeSet<String> {
        let files = [&self.enforced, &self.layers_file].into_iter().flatten();
        let of_others = |file: &SettingsFile| {
            let people = file.people.values().flat_map(|person| &person.roles);
            people.chain(file.serve.roles()).cloned().collect::<Vec<_>>()
        };
        let roles =
            files.flat_map(|(_, file)| file.agent.roles.clone().unwrap_or_default().into_iter().chain(of_others(file)));
        roles.chain(["developer".to_owned()]).collect()
    }

    /// Another set with the same settings.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn with(&self, chosen: Chosen) -> Result<Self, ConfigError> {
        let set = Set::read(chosen, None)?;
        Ok(Self { layers_file: self.layers_file.clone(), enforced: self.enforced.clone(), set })
    }

    /// The policies, validated.
    ///
    /// # Errors
    /// If they are not valid.
    pub(crate) fn bundle(&self) -> Result<Bundle, ConfigError> {
        self.set.bundle()
    }

    /// An engine in which `~` is `home`, whatever this machine's is.
    ///
    /// # Errors
    /// If policies or groups are refused.
    pub(crate) fn engine(&self, home: &AbsolutePath) -> Result<Engine, ConfigError> {
        Ok(Engine::new(self.bundle()?, self.layers(&Context::default()).groups(home, &self.set)?))
    }

    /// The engine that decides what runs under these settings and flags. Its fingerprint is the one that goes on record: its
    /// groups, what the flags grant and where its own files lie are part of it.
    ///
    /// # Errors
    /// As [`Self::engine`].
    pub(crate) fn engine_for(&self, flags: &Context) -> Result<Engine, ConfigError> {
        self.layers(flags).engine(&home()?, &self.set)
    }

    /// That the agent under these flags can change none of it.
    ///
    /// # Errors
    /// If it can.
    pub(crate) fn out_of_reach(&self, flags: &Context) -> Result<(), ConfigError> {
        let layers = self.layers(flags);
        let workspace = layers.workspace(Purpose::Run, &layers.agent())?;
        layers.out_of_reach(&workspace, &self.set, &layers.audit_directory()?)
    }

    /// The cases beside the policies; for a profile those that are shipped with it.
    ///
    /// # Errors
    /// If a file cannot be read or is wrong.
    pub(crate) fn cases(&self) -> Result<Vec<Cases>, ConfigError> {
        match (&self.set.files, &self.set.chosen) {
            (Some(files), _) => {
                Ok(files.cases.iter().map(|file| parsed(&file.name, &file.text)).collect::<Result<_, _>>()?)
            }
            (None, Chosen::Profile(name)) => {
                let shipped = self.all_cases()?;
                Ok(shipped.into_iter().filter(|cases| cases.profile() == Some(name)).collect())
            }
            (None, Chosen::Files(_)) => Ok(Vec::new()),
        }
    }

    /// The same, and for a profile those of the others too, which try what all profiles have in common.
    ///
    /// # Errors
    /// As [`Self::cases`].
    pub(crate) fn all_cases(&self) -> Result<Vec<Cases>, ConfigError> {
        match &self.set.chosen {
            Chosen::Files(_) => self.cases(),
            Chosen::Profile(_) => {
                let shipped = palisade_policies::CASES.iter().map(|(file, text)| parsed(file, text));
                Ok(shipped.collect::<Result<_, _>>()?)
            }
        }
    }
}

/// A file of cases, with the time zones that this machine knows.
fn parsed(file: &str, text: &str) -> Result<Cases, CaseError> {
    Cases::parse_with(file, text, palisade_runner::shown_in)
}

impl Layers<'_> {
    /// The policies that are meant, read.
    pub(super) fn set(&self) -> Result<Set, ConfigError> {
        let (chosen, extends) = self.chosen();
        if let Chosen::Files(path) = &chosen
            && let Err(source) = std::fs::symlink_metadata(path)
            && !is_misspelt(path)
        {
            return Err(unreadable(&self.names_policies(), path, &source));
        }
        Set::read(chosen, extends).map_err(|error| self.placed(error))
    }

    /// What names the policies that are meant: the flag, or where the settings do.
    fn names_policies(&self) -> String {
        let enforced = self.enforced.as_ref().filter(|(_, file)| file.policies.is_some());
        let file = if self.flags.policies.is_some() { None } else { self.file.as_ref() };
        let by_file =
            |(path, _): &(PathBuf, SettingsFile)| format!("{}: `policies`", place_of(path, &["policies"], None));
        enforced.or(file).map_or_else(|| "`--policies`".to_owned(), by_file)
    }

    /// Which policies are meant, and the profile that the settings have them stand on.
    pub(super) fn chosen(&self) -> (Chosen, Option<String>) {
        let name = |named: &Option<Spanned<String>>| named.as_ref().map(|profile| profile.get_ref().clone());
        // An enforced profile shuts out a flag's policies, and the other way round.
        let enforced = self.enforced.as_ref().filter(|(_, file)| file.profile.is_some() || file.policies.is_some());
        let flagged = self.flags.profile.is_some() || self.flags.policies.is_some();
        let named = |(path, file): &(PathBuf, SettingsFile)| {
            (name(&file.profile), beside(path, file.policies.as_deref()), name(&file.extends))
        };
        let (profile, policies, extends) = match (enforced, flagged, &self.file) {
            (Some(enforced), _, _) => named(enforced),
            (None, true, _) => (self.flags.profile.clone(), self.flags.policies.clone(), None),
            (None, false, Some(file)) => named(file),
            (None, false, None) => (None, None, None),
        };
        match policies {
            Some(path) => (Chosen::Files(path), extends),
            None => (Chosen::Profile(profile.unwrap_or_else(|| "developer".to_owned())), None),
        }
    }

    /// The groups that the shipped table, the policy directory and the settings name.
    pub(super) fn groups(&self, home: &AbsolutePath, set: &Set) -> Result<Vocabulary, ConfigError> {
        let mut vocabulary = Vocabulary::default();
        self.add_groups(&mut vocabulary, home, set)?;
        Ok(vocabulary)
    }

    pub(super) fn add_groups(
        &self,
        vocabulary: &mut Vocabulary,
        home: &AbsolutePath,
        set: &Set,
    ) -> Result<(), ConfigError> {
        let (file, text) = palisade_policies::GROUPS;
        vocabulary.extend(file, text, home)?;
        if let Some(Source { name, text }) = set.files.as_ref().and_then(|files| files.groups.as_ref()) {
            vocabulary.extend(name, text, home)?;
        }
        for (path, file) in [&self.enforced, &self.file].into_iter().flatten() {
            for (group, patterns) in &file.groups.paths {
                vocabulary.declare(group);
                for pattern in patterns {
                    let added = vocabulary.add(group, pattern, home);
                    added.map_err(|error| error.within(&source_of(path), &["groups", "paths", group]))?;
                }
            }
            for (group, patterns) in &file.groups.hosts {
                for pattern in patterns {
                    let added = vocabulary.add_own_host(group, pattern);
                    added.map_err(|error| error.within(&source_of(path), &["groups", "hosts", group]))?;
                }
            }
        }
        Ok(())
    }
}
