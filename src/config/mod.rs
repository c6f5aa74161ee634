//! What the operator set: the only reader of settings files, flags and the operator's environment.
//!
//! Decides which settings hold: the enforced file before flags, flags before the settings file, that before defaults.
//! Settings are never looked for in the working directory or the workspace.

mod error;
mod file;
pub(crate) mod flags;
mod http;
#[cfg(feature = "cli")]
mod http_principals;
mod path_error;
mod pinned_settings;
mod policies;
mod policy_set;
mod reach;
mod secrets;
#[cfg(feature = "cli")]
mod serving;
mod session;
mod storage;
mod targets;
mod values;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use palisade_audit::export;
use palisade_engine::{AbsolutePath, Engine, Principal};
#[cfg(feature = "cli")]
use palisade_mcp::http::config::{HttpConfig, Proof};
use palisade_redact::{KnownValue, Redactor};
use palisade_runner::control::{self, People};
use palisade_runner::facts::{self, Surroundings};
use palisade_runner::remembered::Remembered;
use palisade_runner::sandbox::earlier;
use palisade_runner::target::Target;
use palisade_runner::{Policies, Settings, Zone};

use self::file::{SettingsFile, by_name, exists, settings_file};
use self::flags::{Context, Transport};
use self::policy_set::Set;

use self::values::{absolute, beside, expand, home, place_of, source_of};

pub(crate) use self::error::ConfigError;
pub(crate) use self::file::LevelName;
#[cfg(feature = "cli")]
pub(crate) use self::http_principals::Served;
pub(crate) use self::path_error::unreadable;
pub(crate) use self::pinned_settings::PinnedSettings;
#[cfg(feature = "cli")]
pub(crate) use self::policies::walk;
pub(crate) use self::policy_set::{Authored, Chosen, WatchedSettings};
pub(crate) use self::reach::GrantedPaths;
pub(crate) use self::session::{PassesOn, SHELL};
pub(crate) use self::values::{duration, misread, os_user, runtime_directory, size, wrong};
pub(crate) use self::view::{ViewError, enter_view, load_in, look_into_view, overlay, redactor_for};

/// Always read; nothing overrides it.
const ENFORCED: &str = "/etc/palisade/enforced.toml";

/// How long a session or the output of a job is kept for nobody who asks for it.
const IDLE: Duration = Duration::from_secs(30 * 60);

/// How long a request waits for a person's yes.
const EXPIRE: Duration = Duration::from_secs(15 * 60);

/// How old a session may become.
const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// Files and flags, in the order in which they hold.
struct Layers<'a> {
    enforced: Option<(PathBuf, SettingsFile)>,
    file: Option<(PathBuf, SettingsFile)>,
    flags: &'a Context,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Check,
    Run,
}

/// The settings for a verb that may run commands, `verb` as the record names it.
///
/// # Errors
/// If a file cannot be read, a key is unknown, a value makes no sense, the policies are refused, the workspace is not
/// a directory, or something that the agent must not change lies inside the workspace.
pub(crate) fn load(flags: &Context, verb: &'static str) -> Result<Settings, ConfigError> {
    Layers::read(flags)?.settings(Purpose::Run, verb)
}

/// The same for a verb that runs none by itself, and looks after what lies at the target that the flags name, if they name one.
///
/// # Errors
/// As [`load`], or the settings have no such target, or it is not reached as the flags say.
pub(crate) fn load_with_target(flags: &Context, verb: &'static str) -> Result<Settings, ConfigError> {
    let here = Context { transport: None, target: None, ..flags.clone() };
    let settings = Layers::read(&here)?.settings(Purpose::Run, verb)?;
    let asked = match flags.transport {
        None => None,
        Some(Transport::Local) => Some("local"),
        Some(Transport::Ssh) => Some("ssh"),
        Some(Transport::Docker) => Some("docker"),
    };
    let Some(name) = &flags.target else {
        return asked
            .filter(|asked| *asked != "local")
            .map_or(Ok(settings), |asked| Err(ConfigError::Untargeted(asked)));
    };
    let reached = settings.targets.get(name).ok_or_else(|| ConfigError::NoTarget(name.clone()))?.transport().as_str();
    match asked.filter(|asked| *asked != reached) {
        Some(asked) => Err(ConfigError::OtherTransport { name: name.clone(), reached, asked: asked.to_owned() }),
        None => Ok(settings),
    }
}

/// What serving over HTTP at this address takes, and the principals that are served.
///
/// # Errors
/// As [`load`], for the settings files and the files of tokens that they name.
#[cfg(feature = "cli")]
pub(crate) fn serve(flags: &Context, address: &str) -> Result<(HttpConfig, Vec<Served>), ConfigError> {
    let layers = Layers::read(flags)?;
    let terms = layers.terms(address.parse()?)?;
    let served = layers.served(&terms.address)?;
    Ok((terms, served))
}

/// The settings for a principal that is served over HTTP, and the flags that stand for it.
///
/// # Errors
/// As [`load`].
#[cfg(feature = "cli")]
pub(crate) fn load_served(flags: &Context, served: &Served) -> Result<Settings, ConfigError> {
    let flags = Context {
        agent: Some(served.agent.clone()),
        user: Some(served.user.clone()),
        roles: served.roles.iter().cloned().collect(),
        ..flags.clone()
    };
    let layers = Layers::read(&flags)?;
    layers.only_direct()?;
    let mut settings = layers.settings(Purpose::Run, "serve")?;
    let principal = &mut settings.surroundings.principal;
    principal.auth = served.auth();
    // None at all are not the default ones.
    let enforced = layers.enforced.as_ref().and_then(|(_, file)| file.agent.roles.clone());
    principal.roles = enforced.unwrap_or_else(|| served.roles.clone());
    if let Proof::Token { scopes, .. } = &served.proof {
        // Those that each of its tokens has proven.
        let of_all = layers.pick(|file| file.serve.oauth.clone()).map(|oauth| oauth.scopes).unwrap_or_default();
        principal.scopes = scopes.iter().cloned().chain(of_all).collect();
    }
    Ok(settings)
}

/// The settings for a dry run: the workspace need not exist, and policies may lie inside it.
///
/// # Errors
/// As [`load`], without what concerns running.
pub(crate) fn load_for_check(flags: &Context) -> Result<Settings, ConfigError> {
    Layers::read(flags)?.settings(Purpose::Check, "check")
}

/// Files of secrets that the settings name and that are not there: nothing that they would hold is redacted.
///
/// # Errors
/// As [`load`], for the settings files alone.
pub(crate) fn missing_secrets(flags: &Context) -> Result<Vec<PathBuf>, ConfigError> {
    let mut files = Layers::read(flags)?.secret_files()?;
    files.retain(|file| !file.exists());
    Ok(files)
}

/// The settings files that hold for these flags, whether they are there or not.
#[cfg(feature = "cli")]
pub(crate) fn settings_files(flags: &Context) -> Vec<PathBuf> {
    std::iter::once(PathBuf::from(ENFORCED)).chain(settings_file(flags).ok().flatten()).collect()
}

/// The people of the settings.
///
/// # Errors
/// As [`load`], for the settings files alone.
pub(crate) fn people(flags: &Context) -> Result<People, ConfigError> {
    Ok(Layers::read(flags)?.people())
}

/// The time zone in which policies read the clock.
///
/// # Errors
/// As [`load`], for the settings files alone.
pub(crate) fn zone(flags: &Context) -> Result<Zone, ConfigError> {
    Layers::read(flags)?.zone()
}

/// Where the control sockets of servers with these settings lie.
///
/// # Errors
/// As [`load`], for the settings files alone.
pub(crate) fn control(flags: &Context) -> Result<control::Settings, ConfigError> {
    Layers::read(flags)?.control()
}

/// How much of its output `run` passes on, where `typed` is what `--max-output` says.
///
/// # Errors
/// As [`load`], for the settings files alone, or one of the two is no size.
pub(crate) fn passes_on(flags: &Context, typed: Option<&str>) -> Result<PassesOn, ConfigError> {
    let layers = Layers::read(flags)?;
    layers.passes_on(typed).map_err(|error| layers.placed(error))
}

/// Where the settings put the record.
///
/// # Errors
/// As [`load`], for the settings files alone.
pub(crate) fn audit_directory(config: Option<&Path>) -> Result<PathBuf, ConfigError> {
    let flags = Context { config: config.map(Path::to_owned), ..Context::default() };
    Layers::read(&flags)?.audit_directory()
}

/// Where yeses are kept that hold for longer than a session; none: with these settings each server keeps its own in memory.
///
/// # Errors
/// As [`load`], for the settings files alone.
pub(crate) fn remembered(flags: &Context) -> Result<Option<Remembered>, ConfigError> {
    Layers::read(flags)?.remembered()
}

/// Where copies of the record go while a server runs.
///
/// # Errors
/// As [`load`], for the settings files and the certificates that they name.
pub(crate) fn export(flags: &Context) -> Result<export::ExportSettings, ConfigError> {
    Layers::read(flags)?.export()
}

/// What counts as a secret here, for verbs that judge nothing.
///
/// # Errors
/// As [`load`], for the settings files alone.
pub(crate) fn redactor() -> Result<Redactor, ConfigError> {
    Layers::read(&Context::default())?.redactor()
}

/// Values that are secrets here, for verbs that judge nothing.
///
/// # Errors
/// As [`load`], for the settings files and the files of secrets that they name.
pub(crate) fn known_values() -> Result<Vec<KnownValue>, ConfigError> {
    Layers::read(&Context::default())?.known_values()
}

/// Values that are secrets in what these flags run.
///
/// # Errors
/// As [`known_values`].
pub(crate) fn known_values_for(flags: &Context) -> Result<Vec<KnownValue>, ConfigError> {
    Layers::read(flags)?.known_values()
}

impl<'a> Layers<'a> {
    fn read(flags: &'a Context) -> Result<Self, ConfigError> {
        let enforced = Path::new(ENFORCED);
        let enforced =
            if exists(enforced)? { Some((enforced.to_owned(), SettingsFile::read(enforced)?)) } else { None };
        let file = match settings_file(flags)? {
            Some(path) => Some((path.clone(), SettingsFile::read(&path).map_err(|error| by_name(flags, error))?)),
            None => None,
        };
        Ok(Self { enforced, file, flags })
    }

    fn settings(&self, purpose: Purpose, verb: &'static str) -> Result<Settings, ConfigError> {
        self.as_written(purpose, verb).map_err(|error| self.placed(error))
    }

    /// Says of a value that makes no sense where its file sets it.
    fn placed(&self, error: ConfigError) -> ConfigError {
        let ConfigError::Value { key, value, expected } = error else { return error };
        let keys: Vec<&str> = key.split('.').collect();
        let mut files = [&self.enforced, &self.file].into_iter().flatten();
        match files.find_map(|(path, _)| source_of(path).place_of(&keys, Some(&value))) {
            Some(place) => ConfigError::Setting { place, key, value, expected },
            None => ConfigError::Value { key, value, expected },
        }
    }

    fn as_written(&self, purpose: Purpose, verb: &'static str) -> Result<Settings, ConfigError> {
        if purpose == Purpose::Run {
            self.transport()?;
        }
        let home = home()?;
        let user = os_user();
        let agent = self.agent();
        let workspace = self.workspace(purpose, &agent)?;
        let cwd = self.cwd(purpose, &workspace)?;
        let set = self.set()?;
        let audit = self.audit_directory()?;
        if purpose == Purpose::Run {
            self.out_of_reach(&workspace, &set, &audit)?;
        }
        // Both take longer than all else, and neither waits for the other.
        let (engine, redactor) = std::thread::scope(|scope| {
            let redactor = scope.spawn(|| self.redactor());
            let engine = self.engine(&home, &set);
            (engine, redactor.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        let (engine, redactor) = (engine?, redactor?);
        let environment = self.environment(&home, &workspace)?;
        let trusted = self.trusted(&home);
        let writable =
            self.flags.writes.iter().filter_map(|path| facts::real_directory(&absolute(path).ok()?)).collect();
        let user = self.text(|file| file.agent.user.clone(), self.flags.user.clone()).unwrap_or(user);
        let principal = Principal::os_user(&agent, &user, self.roles());
        let search = facts::search_path(&environment);
        let accept = self.accept(&engine)?;
        Ok(Settings {
            engine: Policies::new(engine),
            accept,
            surroundings: Surroundings {
                principal,
                workspace,
                home: home.clone(),
                trusted,
                writable,
                caches: self.caches(&home).map(|caches| caches.places()).unwrap_or_default(),
                search,
                elsewhere: None,
                at_target: false,
                zone: self.zone()?,
                earlier: earlier::in_directory(&self.audit_directory()?),
            },
            cwd,
            targets: self.targets(&home)?,
            environment,
            level: self.level(),
            limits: self.limits()?,
            timeout: self.timeout(verb)?,
            budget: self.budget()?,
            max_sessions: self.max_sessions()?,
            idle: self.time("session.idle", |file| file.session.idle.clone())?.unwrap_or(IDLE),
            lifetime: Some(self.time("session.lifetime", |file| file.session.lifetime.clone())?.unwrap_or(LIFETIME)),
            approvals_expire: self.time("approvals.expire", |file| file.approvals.expire.clone())?.unwrap_or(EXPIRE),
            remembered: self.remembered()?,
            people: self.people(),
            verb,
            audit: self.record(audit)?,
            caches: self.caches(&home),
            view: None,
            checkpoints: self.checkpoints()?,
            redactor,
        })
    }

    /// The agent's name.
    fn agent(&self) -> String {
        self.text(|file| file.agent.name.clone(), self.flags.agent.clone()).unwrap_or_else(|| "agent".to_owned())
    }

    /// The engine that decides what runs.
    fn engine(&self, home: &AbsolutePath, set: &Set) -> Result<Engine, ConfigError> {
        let bundle = set.bundle()?;
        Ok(Engine::new(bundle, self.vocabulary(home, set, &self.audit_directory()?)?))
    }

    /// The value of the enforced file, else of the settings file.
    fn pick<T>(&self, get: impl Fn(&SettingsFile) -> Option<T>) -> Option<T> {
        let from = |layer: &Option<(PathBuf, SettingsFile)>| layer.as_ref().and_then(|(_, file)| get(file));
        from(&self.enforced).or_else(|| from(&self.file))
    }

    /// The same, with the file that it stands in.
    fn located<T>(&self, get: impl Fn(&SettingsFile) -> Option<T>) -> Option<(&Path, T)> {
        let layers = [&self.enforced, &self.file].into_iter().flatten();
        layers.filter_map(|(path, file)| Some((path.as_path(), get(file)?))).next()
    }

    /// The value of the enforced file, else the flag's, else that of the settings file.
    fn text<T>(&self, get: impl Fn(&SettingsFile) -> Option<T>, flag: Option<T>) -> Option<T> {
        let from = |layer: &Option<(PathBuf, SettingsFile)>| layer.as_ref().and_then(|(_, file)| get(file));
        from(&self.enforced).or(flag).or_else(|| from(&self.file))
    }

    fn time(&self, key: &str, get: impl Fn(&SettingsFile) -> Option<String>) -> Result<Option<Duration>, ConfigError> {
        self.text(get, None).map(|text| duration(key, &text)).transpose()
    }

    /// The time zone in which policies read the clock.
    fn zone(&self) -> Result<Zone, ConfigError> {
        let named = self.located(|file| file.clock.time_zone.clone());
        let zone = named.map(|(path, name)| {
            let place = || place_of(path, &["clock", "time-zone"], None);
            Zone::named(&name).map_err(|unknown| ConfigError::Zone { place: place(), unknown })
        });
        let zone = zone.transpose()?;
        Ok(zone.unwrap_or_default())
    }

    fn transport(&self) -> Result<(), ConfigError> {
        match (self.flags.transport, &self.flags.target) {
            (None | Some(Transport::Local), None) => Ok(()),
            (Some(Transport::Ssh | Transport::Docker), _) => Err(ConfigError::Transport("--transport")),
            (_, Some(_)) => Err(ConfigError::Transport("--target")),
        }
    }

    /// The targets that the settings name; one in the enforced file stands before one of the same name.
    fn targets(&self, home: &AbsolutePath) -> Result<BTreeMap<String, Target>, ConfigError> {
        let (mut targets, mut tables, mut paths) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let wrong = |path: &Path, name: &str, why: String| ConfigError::Target {
            place: place_of(path, &["targets", name], None),
            name: name.to_owned(),
            why,
        };
        for (path, file) in [&self.file, &self.enforced].into_iter().flatten() {
            for (name, table) in &file.targets {
                let own =
                    |named: &str| beside(path, Some(&expand(named, home))).unwrap_or_else(|| PathBuf::from(named));
                let target = table.target(name, home, own).map_err(|why| wrong(path, name, why))?;
                targets.insert(name.clone(), target);
                tables.insert(name.clone(), table);
                paths.insert(name.clone(), path);
            }
        }
        targets::join(&mut targets, &tables).map_err(|(name, why)| {
            let path = paths.get(&name).map_or_else(|| Path::new(""), |path| path.as_path());
            wrong(path, &name, why)
        })?;
        Ok(targets)
    }

    fn roles(&self) -> BTreeSet<String> {
        let flags = &self.flags.roles;
        let flag = if flags.is_empty() { None } else { Some(flags.iter().cloned().collect()) };
        self.text(|file| file.agent.roles.clone(), flag).unwrap_or_else(|| BTreeSet::from(["developer".to_owned()]))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn what_is_enforced_holds_before_flags_and_flags_before_the_file() {
        let file =
            |text: &str| Some((PathBuf::from("/etc/palisade/x.toml"), toml::from_str::<SettingsFile>(text).unwrap()));
        let flags = Context { agent: Some("flag".to_owned()), timeout: Some("7s".to_owned()), ..Context::default() };
        let layers = Layers {
            enforced: file("[agent]\nname = 'enforced'"),
            file: file("[session]\ntimeout = '9s'\nmax = 3\n[agent]\nname = 'file'"),
            flags: &flags,
        };
        assert_eq!(layers.text(|file| file.agent.name.clone(), flags.agent.clone()).unwrap(), "enforced");
        assert_eq!(layers.timeout("run").unwrap(), Duration::from_secs(7));
        assert_eq!(layers.pick(|file| file.session.max), Some(3));
    }
}
