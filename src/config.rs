//! What the operator set: the only reader of settings files, flags and the operator's environment.
//!
//! Decides which settings hold: the enforced file before flags, flags before the settings file, that before defaults.
//! Settings are never looked for in the working directory or the workspace.

mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use miette::Diagnostic;
use palisade_engine::{
    AbsolutePath, Bundle, BundleError, CaseError, Cases, Engine, NamePattern, Principal, Source, Vocabulary,
    VocabularyError,
};
use palisade_mcp::http::terms::{Address, Proof, Terms, TermsError};
use palisade_runner::audit;
use palisade_runner::checkpoint;
use palisade_runner::control::{self, People, user_name};
use palisade_runner::environment::{EnvironmentError, Places, child_environment};
use palisade_runner::export;
use palisade_runner::facts::{self, Surroundings};
use palisade_runner::redact::{KnownValue, Redactor, Rules};
use palisade_runner::sandbox::plan::{Level, Limits};
use palisade_runner::transport::Target;
use palisade_runner::{Budget, Policies, Settings};
use serde::Deserialize;

pub(crate) use self::view::{ViewError, enter_view, load_in, look_into_view, overlay, redactor_for};
use crate::args::{Context, PolicySet, Transport};
use crate::http::{self, ServeTable, Served, ServedError};
use crate::policies::PolicyFiles;
use crate::targets::{self, TargetTable};

/// Always read; nothing overrides it.
const ENFORCED: &str = "/etc/palisade/enforced.toml";

/// The last place where settings are looked for.
const SYSTEM: &str = "/etc/palisade/palisade.toml";

/// Directories that hold toolchains and are trusted where they exist.
const TRUSTED: &[&str] =
    &["~/.cargo/bin", "~/.rustup/toolchains", "~/.nvm/versions", "~/.pyenv/versions", "~/.pyenv/shims"];

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub(crate) enum ConfigError {
    #[error(transparent)]
    #[diagnostic(transparent)]
    View(#[from] view::ViewError),
    #[error("cannot read `{path}`")]
    Read { path: String, source: std::io::Error },
    #[error("{place}: {message}")]
    #[diagnostic(help("the settings and their values are listed in docs/settings.md"))]
    Toml { place: String, message: String },
    #[error("{place}: the target `{name}` {why}")]
    #[diagnostic(help("targets are explained in docs/transports.md"))]
    Target { place: String, name: String, why: String },
    #[error("there is no target `{0}` in the settings")]
    #[diagnostic(help("a target is a table `[targets.NAME]` in the settings file"))]
    NoTarget(String),
    #[error("the target `{name}` is reached by {reached}, not by {asked}")]
    #[diagnostic(help("leave `--transport` out: the target says how it is reached"))]
    OtherTransport { name: String, reached: &'static str, asked: &'static str },
    #[error("{place}: `sandbox.accept` names `{id}`, and there is no such policy")]
    #[diagnostic(help("`palisade policy explain-sandbox` lists the rules that can be accepted"))]
    Accept { place: String, id: String },
    #[error("`{key}` is `{value}`, which is not {expected}")]
    Value { key: String, value: String, expected: &'static str },
    #[error("the workspace `{0}` does not exist")]
    #[diagnostic(help("give a directory with `--workspace`, or run in the one that the agent shall work in"))]
    NoWorkspace(String),
    #[error("the workspace `{0}` is not a directory")]
    WorkspaceNotDirectory(String),
    #[error("the {what} `{path}` does not exist or is not a directory")]
    Directory { what: &'static str, path: String },
    #[error("the {what} `{path}` lies inside the workspace or a granted directory, within the agent's reach")]
    #[diagnostic(help("move it, or name another workspace with `--workspace`, or grant less"))]
    WithinReach { what: &'static str, path: String },
    #[error("`{0}` is not for a verb that runs commands by itself")]
    #[diagnostic(help(
        "commands then run on this machine; an agent opens a session at a target with `session_open`, and `check` judges for one"
    ))]
    Transport(&'static str),
    #[error("cannot tell the home directory: HOME is not set to an absolute path")]
    Home,
    #[error(transparent)]
    #[diagnostic(help("take it out of `sandbox.environment`"))]
    Environment(#[from] EnvironmentError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Bundle(#[from] BundleError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Vocabulary(#[from] VocabularyError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Case(#[from] CaseError),
    #[error("the secret rules are broken: {0}")]
    Rules(String),
    #[error("{place}: the principal `{name}` {why}")]
    #[diagnostic(help("principals are explained in docs/serve-http.md"))]
    Principal { place: String, name: String, why: &'static str },
    #[error("`--agent`, `--user` and `--role` are not for a server whose settings name its principals")]
    #[diagnostic(help("take them out, or start one server for each agent"))]
    Principals,
    #[error(transparent)]
    #[diagnostic(transparent)]
    Terms(#[from] TermsError),
}

/// How long a session or the output of a job is kept for nobody who asks for it.
const IDLE: Duration = Duration::from_secs(30 * 60);

/// Processes and threads of a session, unless the settings say how many: more than a build on many processors starts, and few enough for a
/// machine that others use as well.
const PROCESSES: u64 = 4096;

/// Bytes that a session leaves on each disk, unless the settings say how many.
const FREE_DISK: u64 = 64 << 20;

/// Memory of a session, unless the settings say how much: three quarters of the machine's, or 1 GiB where that cannot be told.
fn most_memory() -> u64 {
    let about = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = about.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kibibytes: Option<u64> = total.and_then(|total| total.split_whitespace().next()?.parse().ok());
    kibibytes.map_or(1 << 30, |total| total * 1024 / 4 * 3)
}

/// Descriptors below which a session's shell does not find room for its own.
const LEAST_OPEN_FILES: u64 = 256;

/// How long a request waits for a person's yes.
const EXPIRE: Duration = Duration::from_secs(15 * 60);

/// How old a session may become.
const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// A settings file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    profile: Option<String>,
    policies: Option<PathBuf>,
    #[serde(default)]
    agent: AgentTable,
    #[serde(default)]
    workspace: WorkspaceTable,
    #[serde(default)]
    sandbox: SandboxTable,
    #[serde(default)]
    session: SessionTable,
    #[serde(default)]
    output: OutputTable,
    #[serde(default)]
    redact: RedactTable,
    #[serde(default)]
    audit: AuditTable,
    #[serde(default)]
    checkpoint: CheckpointTable,
    #[serde(default)]
    export: ExportTable,
    #[serde(default)]
    groups: GroupsTable,
    #[serde(default)]
    approvals: ApprovalsTable,
    #[serde(default)]
    control: ControlTable,
    #[serde(default)]
    people: BTreeMap<String, PersonTable>,
    #[serde(default)]
    serve: ServeTable,
    #[serde(default)]
    targets: BTreeMap<String, TargetTable>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ApprovalsTable {
    expire: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ControlTable {
    path: Option<String>,
}

/// Somebody of the operating system's users.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PersonTable {
    roles: BTreeSet<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct AgentTable {
    name: Option<String>,
    user: Option<String>,
    roles: Option<BTreeSet<String>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct WorkspaceTable {
    path: Option<String>,
    mode: Option<view::Mode>,
    views: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct SandboxTable {
    level: Option<LevelName>,
    environment: Option<Vec<String>>,
    trusted: Option<Vec<String>>,
    accept: Option<Vec<String>>,
    #[serde(default)]
    limits: LimitsTable,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum LevelName {
    Strict,
    Default,
    Compat,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct LimitsTable {
    processes: Option<u64>,
    memory: Option<String>,
    file_size: Option<String>,
    open_files: Option<u64>,
    cpu: Option<Time>,
    disk: Option<String>,
    free_disk: Option<String>,
}

/// A time, as a text with its unit or as seconds.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "a time such as `30s` or `5m`, or a number of seconds")]
enum Time {
    Seconds(u64),
    Text(String),
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct SessionTable {
    max: Option<usize>,
    idle: Option<String>,
    lifetime: Option<String>,
    timeout: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct OutputTable {
    max_chars: Option<usize>,
    keep_bytes: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RedactTable {
    environment: Option<Vec<String>>,
    files: Option<Vec<String>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct AuditTable {
    path: Option<String>,
    sync: Option<SyncName>,
    #[serde(default)]
    rotate: RotateTable,
    retention: Option<String>,
    sealed_to: Option<audit::SealTo>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExportTable {
    otlp: Option<OtlpTable>,
    syslog: Option<SyslogTable>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OtlpTable {
    endpoint: export::Endpoint,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SyslogTable {
    to: export::Target,
    #[serde(default)]
    body: export::Body,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct CheckpointTable {
    path: Option<String>,
    exclude: Option<Vec<String>>,
    max_file: Option<String>,
    automatic: Option<AutomaticName>,
    keep: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum AutomaticName {
    Never,
    Changes,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RotateTable {
    size: Option<String>,
    age: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum SyncName {
    Always,
    Group,
    None,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupsTable {
    #[serde(default)]
    paths: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    hosts: BTreeMap<String, Vec<String>>,
}

/// Files and flags, in the order in which they hold.
struct Layers<'a> {
    enforced: Option<(PathBuf, File)>,
    file: Option<(PathBuf, File)>,
    flags: &'a Context,
}

/// The settings for a verb that may run commands, `verb` as the record names it.
///
/// # Errors
/// If a file cannot be read, a key is unknown, a value makes no sense, the policies are refused, the workspace is not
/// a directory, or something that the agent must not change lies inside the workspace.
pub(crate) fn load(flags: &Context, verb: &'static str) -> Result<Settings, ConfigError> {
    Layers::read(flags)?.settings(Purpose::Run, verb)
}

/// What serving over HTTP at this address takes, and the principals that are served.
///
/// # Errors
/// As [`load`], for the settings files and the files of tokens that they name.
pub(crate) fn serve(flags: &Context, address: &str) -> Result<(Terms, Vec<Served>), ConfigError> {
    let layers = Layers::read(flags)?;
    let terms = layers.terms(address.parse()?)?;
    let served = layers.served(&terms.address)?;
    Ok((terms, served))
}

/// The settings for a principal that is served over HTTP, and the flags that stand for it.
///
/// # Errors
/// As [`load`].
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

/// The people of the settings.
///
/// # Errors
/// As [`load`], for the settings files alone.
pub(crate) fn people(flags: &Context) -> Result<People, ConfigError> {
    Ok(Layers::read(flags)?.people())
}

/// Where the control sockets of servers with these settings lie.
///
/// # Errors
/// As [`load`], for the settings files alone.
pub(crate) fn control(flags: &Context) -> Result<control::Settings, ConfigError> {
    Layers::read(flags)?.control()
}

/// Where the settings put the record.
///
/// # Errors
/// As [`load`], for the settings files alone.
pub(crate) fn audit_directory(config: Option<&Path>) -> Result<PathBuf, ConfigError> {
    let flags = Context { config: config.map(Path::to_owned), ..Context::default() };
    Layers::read(&flags)?.audit_directory()
}

/// Where copies of the record go while a server runs.
///
/// # Errors
/// As [`load`], for the settings files alone.
pub(crate) fn export(flags: &Context) -> Result<export::Settings, ConfigError> {
    let layers = Layers::read(flags)?;
    let otlp = layers.pick(|file| file.export.otlp.clone());
    let syslog = layers.pick(|file| file.export.syslog.clone());
    Ok(export::Settings { otlp: otlp.map(|table| table.endpoint), syslog: syslog.map(|table| (table.to, table.body)) })
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

/// A policy set with its cases and what its groups are made of: for those who write policies.
#[derive(Debug)]
pub(crate) struct Authored {
    layers_file: Option<(PathBuf, File)>,
    enforced: Option<(PathBuf, File)>,
    set: Set,
}

/// Policies as they were read, once: everything about them is looked at as it was then.
#[derive(Debug)]
struct Set {
    chosen: Chosen,
    /// None for a profile.
    files: Option<PolicyFiles>,
}

impl Set {
    fn read(chosen: Chosen) -> Result<Self, ConfigError> {
        let files = match &chosen {
            Chosen::Files(path) => Some(PolicyFiles::read(path)?),
            Chosen::Profile(_) => None,
        };
        Ok(Self { chosen, files })
    }

    fn path(&self) -> Option<&Path> {
        match &self.chosen {
            Chosen::Files(path) => Some(path),
            Chosen::Profile(_) => None,
        }
    }

    fn bundle(&self) -> Result<Bundle, ConfigError> {
        Ok(match (&self.chosen, &self.files) {
            (_, Some(files)) => Bundle::with_groups(files.sources.clone(), files.groups.clone())?,
            (Chosen::Profile(name), None) => Bundle::profile(name)?,
            (Chosen::Files(path), None) => return Err(BundleError::Empty(path.display().to_string()).into()),
        })
    }
}

/// What a running server decides by, as it lies there now: two that are equal make the same engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Watched {
    /// Which policies, and where the record goes: a server keeps to those that it began with.
    pub(crate) fixed: (Chosen, PathBuf),
    policies: Option<PolicyFiles>,
    groups: Vec<GroupsTable>,
}

impl Watched {
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

impl Authored {
    /// What the arguments name, else what the settings name.
    ///
    /// # Errors
    /// If a settings file cannot be read or is wrong.
    pub(crate) fn of(set: &PolicySet) -> Result<Self, ConfigError> {
        let flags = Context {
            config: set.config.clone(),
            policies: set.path.clone(),
            profile: set.profile.clone(),
            ..Context::default()
        };
        let layers = Layers::read(&flags)?;
        // Whoever names a set means that one, whatever is enforced for running.
        let chosen = match (&set.path, &set.profile) {
            (Some(path), _) => Chosen::Files(path.clone()),
            (None, Some(name)) => Chosen::Profile(name.clone()),
            (None, None) => layers.chosen(),
        };
        Ok(Self { layers_file: layers.file, enforced: layers.enforced, set: Set::read(chosen)? })
    }

    /// What the context of a running verb names.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub(crate) fn running(flags: &Context) -> Result<Self, ConfigError> {
        let layers = Layers::read(flags)?;
        let chosen = layers.chosen();
        Ok(Self { layers_file: layers.file, enforced: layers.enforced, set: Set::read(chosen)? })
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
        let of_others = |file: &File| {
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
        let set = Set::read(chosen)?;
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

    /// The cases beside the policies; for a profile those that are shipped with it.
    ///
    /// # Errors
    /// If a file cannot be read or is wrong.
    pub(crate) fn cases(&self) -> Result<Vec<Cases>, ConfigError> {
        match (&self.set.files, &self.set.chosen) {
            (Some(files), _) => {
                Ok(files.cases.iter().map(|file| Cases::parse(&file.name, &file.text)).collect::<Result<_, _>>()?)
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
                let shipped = palisade_policies::CASES.iter().map(|(file, text)| Cases::parse(file, text));
                Ok(shipped.collect::<Result<_, _>>()?)
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Check,
    Run,
}

impl<'a> Layers<'a> {
    fn read(flags: &'a Context) -> Result<Self, ConfigError> {
        let enforced = Path::new(ENFORCED);
        let enforced = if exists(enforced)? { Some((enforced.to_owned(), File::read(enforced)?)) } else { None };
        let file = match settings_file(flags)? {
            Some(path) => Some((path.clone(), File::read(&path)?)),
            None => None,
        };
        Ok(Self { enforced, file, flags })
    }

    fn settings(&self, purpose: Purpose, verb: &'static str) -> Result<Settings, ConfigError> {
        if purpose == Purpose::Run {
            self.transport()?;
        }
        let home = home()?;
        let user = os_user();
        let agent =
            self.text(|file| file.agent.name.clone(), self.flags.agent.clone()).unwrap_or_else(|| "agent".to_owned());
        let workspace = self.workspace(purpose, &agent)?;
        let cwd = self.cwd(purpose, &workspace)?;
        let set = Set::read(self.chosen())?;
        let audit = self.audit_directory()?;
        if purpose == Purpose::Run {
            self.out_of_reach(&workspace, set.path(), &audit)?;
        }
        let engine = self.engine(&home, &set)?;
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
                search,
                elsewhere: None,
            },
            cwd,
            targets: self.targets(&home)?,
            environment,
            level: self.level(),
            limits: self.limits()?,
            timeout: self.timeout()?,
            budget: self.budget()?,
            max_sessions: self.pick(|file| file.session.max).unwrap_or(64),
            idle: self.time("session.idle", |file| file.session.idle.clone())?.unwrap_or(IDLE),
            lifetime: Some(self.time("session.lifetime", |file| file.session.lifetime.clone())?.unwrap_or(LIFETIME)),
            approvals_expire: self.time("approvals.expire", |file| file.approvals.expire.clone())?.unwrap_or(EXPIRE),
            people: self.people(),
            verb,
            audit: self.record(audit)?,
            view: None,
            checkpoints: self.checkpoints()?,
            redactor: self.redactor()?,
        })
    }

    /// The engine that decides what runs.
    fn engine(&self, home: &AbsolutePath, set: &Set) -> Result<Engine, ConfigError> {
        let bundle = set.bundle()?;
        Ok(Engine::new(bundle, self.vocabulary(home, set, &self.audit_directory()?)?))
    }

    /// The value of the enforced file, else of the settings file.
    fn pick<T>(&self, get: impl Fn(&File) -> Option<T>) -> Option<T> {
        let from = |layer: &Option<(PathBuf, File)>| layer.as_ref().and_then(|(_, file)| get(file));
        from(&self.enforced).or_else(|| from(&self.file))
    }

    /// The same, with the file that it stands in.
    fn located<T>(&self, get: impl Fn(&File) -> Option<T>) -> Option<(&Path, T)> {
        let layers = [&self.enforced, &self.file].into_iter().flatten();
        layers.filter_map(|(path, file)| Some((path.as_path(), get(file)?))).next()
    }

    /// The value of the enforced file, else the flag's, else that of the settings file.
    fn text<T>(&self, get: impl Fn(&File) -> Option<T>, flag: Option<T>) -> Option<T> {
        let from = |layer: &Option<(PathBuf, File)>| layer.as_ref().and_then(|(_, file)| get(file));
        from(&self.enforced).or(flag).or_else(|| from(&self.file))
    }

    fn time(&self, key: &str, get: impl Fn(&File) -> Option<String>) -> Result<Option<Duration>, ConfigError> {
        self.text(get, None).map(|text| duration(key, &text)).transpose()
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
        let wrong = |path: &Path, name: &str, why: String| {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            let offset = text.find(&format!("targets.{name}")).or_else(|| text.find("targets")).unwrap_or_default();
            ConfigError::Target { place: place(path, &text, offset), name: name.to_owned(), why }
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

    fn workspace(&self, purpose: Purpose, agent: &str) -> Result<AbsolutePath, ConfigError> {
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

    fn cwd(&self, purpose: Purpose, workspace: &AbsolutePath) -> Result<AbsolutePath, ConfigError> {
        let Some(path) = &self.flags.cwd else { return Ok(workspace.clone()) };
        let error = || ConfigError::Directory { what: "starting directory", path: path.display().to_string() };
        match facts::real_directory(&absolute(path)?) {
            Some(real) if Path::new(real.as_str()).is_dir() => Ok(real),
            None if purpose == Purpose::Check => named(path).ok_or_else(error),
            _ => Err(error()),
        }
    }

    fn chosen(&self) -> Chosen {
        // An enforced profile shuts out a flag's policies, and the other way round.
        let enforced = self.enforced.as_ref().filter(|(_, file)| file.profile.is_some() || file.policies.is_some());
        let flagged = self.flags.profile.is_some() || self.flags.policies.is_some();
        let (profile, policies) = match (enforced, flagged, &self.file) {
            (Some((path, file)), _, _) => (file.profile.clone(), beside(path, file.policies.as_deref())),
            (None, true, _) => (self.flags.profile.clone(), self.flags.policies.clone()),
            (None, false, Some((path, file))) => (file.profile.clone(), beside(path, file.policies.as_deref())),
            (None, false, None) => (None, None),
        };
        match policies {
            Some(path) => Chosen::Files(path),
            None => Chosen::Profile(profile.unwrap_or_else(|| "developer".to_owned())),
        }
    }

    /// The groups that the shipped table, the policy directory and the settings name.
    fn groups(&self, home: &AbsolutePath, set: &Set) -> Result<Vocabulary, ConfigError> {
        let mut vocabulary = Vocabulary::default();
        self.add_groups(&mut vocabulary, home, set)?;
        Ok(vocabulary)
    }

    fn add_groups(&self, vocabulary: &mut Vocabulary, home: &AbsolutePath, set: &Set) -> Result<(), ConfigError> {
        let (file, text) = palisade_policies::GROUPS;
        vocabulary.extend(file, text, home)?;
        if let Some(Source { name, text }) = set.files.as_ref().and_then(|files| files.groups.as_ref()) {
            vocabulary.extend(name, text, home)?;
        }
        for (_, file) in [&self.enforced, &self.file].into_iter().flatten() {
            for (group, patterns) in &file.groups.paths {
                vocabulary.declare(group);
                for pattern in patterns {
                    vocabulary.add(group, pattern, home)?;
                }
            }
            for (group, patterns) in &file.groups.hosts {
                for pattern in patterns {
                    vocabulary.add_host(group, pattern)?;
                }
            }
        }
        Ok(())
    }

    fn vocabulary(&self, home: &AbsolutePath, set: &Set, audit: &Path) -> Result<Vocabulary, ConfigError> {
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
    fn own_files(&self, policies: Option<&Path>, audit: &Path) -> Result<Vec<PathBuf>, ConfigError> {
        let settings = [&self.enforced, &self.file].into_iter().flatten().map(|(path, _)| path.clone());
        let kept = [audit.to_owned(), self.checkpoints()?.directory, self.views()?, self.control()?.directory];
        let settings = settings.chain(policies.map(Path::to_owned)).chain(kept);
        Ok(settings.chain(self.target_files()).chain(self.serve_files()).collect())
    }

    /// The files by which targets are known and reached that the settings name: whoever changes one sends a session elsewhere.
    fn target_files(&self) -> Vec<PathBuf> {
        let Ok(home) = home() else { return Vec::new() };
        let layers = [&self.enforced, &self.file].into_iter().flatten();
        let named = layers.flat_map(|(path, file)| file.targets.values().map(move |table| (path, table)));
        let own = named.flat_map(|(path, table)| {
            table.files().into_iter().filter_map(|named| beside(path, Some(&expand(named, &home)))).collect::<Vec<_>>()
        });
        own.collect()
    }

    fn out_of_reach(&self, workspace: &AbsolutePath, policies: Option<&Path>, audit: &Path) -> Result<(), ConfigError> {
        let settings = self.file.as_ref().map(|(path, _)| path.as_path());
        let (checkpoints, control) = (self.checkpoints()?.directory, self.control()?.directory);
        let views = self.views()?;
        let (mut targets, serve) = (self.target_files(), self.serve_files());
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
        for (what, path) in own.chain(targets).chain(serve.iter().map(|path| ("server's file", path.as_path()))) {
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

    fn environment(
        &self,
        home: &AbsolutePath,
        workspace: &AbsolutePath,
    ) -> Result<Vec<(OsString, OsString)>, ConfigError> {
        let passed = self.pick(|file| file.sandbox.environment.clone()).unwrap_or_default();
        let places = Places { home: home.as_str().into(), workspace: workspace.as_str().into() };
        Ok(child_environment(std::env::vars_os(), &passed, &places)?)
    }

    fn trusted(&self, home: &AbsolutePath) -> Vec<AbsolutePath> {
        let set = self.paths(home, |file| file.sandbox.trusted.clone());
        let built_in = TRUSTED.iter().map(|path| expand(path, home));
        built_in.chain(set).filter_map(|path| facts::real_directory(&path)).collect()
    }

    /// Paths that the enforced file names, else the settings file: relative to the file that names them.
    fn paths(&self, home: &AbsolutePath, get: impl Fn(&File) -> Option<Vec<String>>) -> Vec<PathBuf> {
        let named = [&self.enforced, &self.file].into_iter().flatten();
        let mut named = named.filter_map(|(place, file)| Some((place, get(file)?)));
        let Some((place, paths)) = named.next() else { return Vec::new() };
        paths.iter().filter_map(|path| beside(place, Some(&expand(path, home)))).collect()
    }

    fn level(&self) -> Level {
        match self.pick(|file| file.sandbox.level).unwrap_or(LevelName::Default) {
            LevelName::Strict => Level::Strict,
            LevelName::Default => Level::Default,
            LevelName::Compat => Level::Compat,
        }
    }

    /// Rules that may stay unheld; one that does not exist is one that somebody relies on by another name.
    fn accept(&self, engine: &Engine) -> Result<BTreeSet<String>, ConfigError> {
        let from = |layer: &Option<(PathBuf, File)>| {
            layer.as_ref().and_then(|(path, file)| Some((path.clone(), file.sandbox.accept.clone()?)))
        };
        let Some((path, accept)) = from(&self.enforced).or_else(|| from(&self.file)) else {
            return Ok(BTreeSet::new());
        };
        if let Some(id) = accept.iter().find(|id| !engine.has_policy(id)) {
            let text = std::fs::read_to_string(&path)
                .map_err(|source| ConfigError::Read { path: path.display().to_string(), source })?;
            let key = text.find("accept").unwrap_or_default();
            let offset = text.get(key..).and_then(|rest| rest.find(id.as_str())).map_or(key, |at| key + at);
            return Err(ConfigError::Accept { place: place(&path, &text, offset), id: id.clone() });
        }
        Ok(accept.into_iter().collect())
    }

    fn limits(&self) -> Result<Limits, ConfigError> {
        let bytes = |key: &str, text: Option<String>| text.map(|text| size(key, &text)).transpose();
        let open_files = self.pick(|file| file.sandbox.limits.open_files);
        if let Some(few) = open_files.filter(|limit| *limit < LEAST_OPEN_FILES) {
            let key = "sandbox.limits.open-files".to_owned();
            return Err(ConfigError::Value {
                key,
                value: few.to_string(),
                expected: "256 or more: a session's own shell uses high numbers",
            });
        }
        Ok(Limits {
            processes: self.pick(|file| file.sandbox.limits.processes).or(Some(PROCESSES)),
            memory: bytes("sandbox.limits.memory", self.pick(|file| file.sandbox.limits.memory.clone()))?
                .or_else(|| Some(most_memory())),
            file_size: bytes("sandbox.limits.file-size", self.pick(|file| file.sandbox.limits.file_size.clone()))?,
            open_files,
            cpu: self
                .pick(|file| file.sandbox.limits.cpu.clone())
                .map(|time| time.read("sandbox.limits.cpu"))
                .transpose()?,
            disk: bytes("sandbox.limits.disk", self.pick(|file| file.sandbox.limits.disk.clone()))?,
            free_disk: bytes("sandbox.limits.free-disk", self.pick(|file| file.sandbox.limits.free_disk.clone()))?
                .or(Some(FREE_DISK)),
        })
    }

    fn timeout(&self) -> Result<Duration, ConfigError> {
        match self.text(|file| file.session.timeout.clone(), self.flags.timeout.clone()) {
            Some(text) => duration("timeout", &text),
            None => Ok(Duration::from_secs(120)),
        }
    }

    fn budget(&self) -> Result<Budget, ConfigError> {
        let keep = self.pick(|file| file.output.keep_bytes.clone()).unwrap_or_else(|| "256KiB".to_owned());
        let keep_bytes = usize::try_from(size("output.keep-bytes", &keep)?).unwrap_or(usize::MAX);
        Ok(Budget { max_chars: self.pick(|file| file.output.max_chars).unwrap_or(20_000), keep_bytes })
    }

    fn audit_directory(&self) -> Result<PathBuf, ConfigError> {
        for (path, file) in [&self.enforced, &self.file].into_iter().flatten() {
            if let Some(directory) = &file.audit.path {
                let home = home()?;
                let expanded = expand(directory, &home);
                return Ok(beside(path, Some(&expanded)).unwrap_or(expanded));
            }
        }
        Ok(state()?.join("audit"))
    }

    fn checkpoints(&self) -> Result<checkpoint::Settings, ConfigError> {
        let mut directory = state()?.join("checkpoints");
        for (path, file) in [&self.enforced, &self.file].into_iter().flatten() {
            if let Some(named) = &file.checkpoint.path {
                let expanded = expand(named, &home()?);
                directory = beside(path, Some(&expanded)).unwrap_or(expanded);
                break;
            }
        }
        let mut settings = checkpoint::Settings::new(directory);
        settings.scope.exclude = self.pick(|file| file.checkpoint.exclude.clone()).unwrap_or_default();
        if let Some(name) = settings.scope.exclude.iter().find(|name| name.is_empty() || name.contains('/')) {
            let expected = "names of files and directories, without a slash";
            return Err(ConfigError::Value { key: "checkpoint.exclude".to_owned(), value: name.clone(), expected });
        }
        if let Some(text) = self.pick(|file| file.checkpoint.max_file.clone()) {
            settings.scope.max_file = size("checkpoint.max-file", &text)?;
        }
        settings.automatic = match self.pick(|file| file.checkpoint.automatic) {
            Some(AutomaticName::Changes) => checkpoint::Automatic::Changes,
            Some(AutomaticName::Never) | None => checkpoint::Automatic::Never,
        };
        if let Some(keep) = self.pick(|file| file.checkpoint.keep) {
            if !(1..=checkpoint::MAX_KEEP).contains(&keep) {
                let (key, value) = ("checkpoint.keep".to_owned(), keep.to_string());
                return Err(ConfigError::Value { key, value, expected: "a number from 1 to 500" });
            }
            settings.keep = keep;
        }
        Ok(settings)
    }

    /// Where servers listen for people: beside the record, for their own user alone, unless the settings say where for all.
    fn control(&self) -> Result<control::Settings, ConfigError> {
        for (path, file) in [&self.enforced, &self.file].into_iter().flatten() {
            if let Some(directory) = &file.control.path {
                let expanded = expand(directory, &home()?);
                let directory = beside(path, Some(&expanded)).unwrap_or(expanded);
                return Ok(control::Settings { directory, shared: true });
            }
        }
        Ok(control::Settings { directory: state()?.join("control"), shared: false })
    }

    /// Who has which roles: what is enforced of somebody holds alone.
    fn people(&self) -> People {
        let mut people = BTreeMap::new();
        for (_, file) in [&self.file, &self.enforced].into_iter().flatten() {
            people.extend(file.people.iter().map(|(name, person)| (name.clone(), person.roles.clone())));
        }
        People::new(people)
    }

    /// What serving over HTTP at this address takes.
    fn terms(&self, address: Address) -> Result<Terms, ConfigError> {
        let url = self.pick(|file| file.serve.url.clone()).map(|text| text.parse()).transpose()?;
        let origins = self.pick(|file| file.serve.origins.clone()).unwrap_or_default();
        let wrong = |key: &str, value: &str, expected| {
            Err(ConfigError::Value { key: key.to_owned(), value: value.to_owned(), expected })
        };
        if let Some(origin) = origins.iter().find(|origin| !http::is_origin(origin)) {
            return wrong(
                "serve.origins",
                origin,
                "what a page says of itself, such as `https://inspector.example.com`",
            );
        }
        let max_connections = self.pick(|file| file.serve.max_connections).unwrap_or(256);
        if max_connections == 0 {
            return wrong("serve.max-connections", "0", "1 or more");
        }
        let rate = self.pick(|file| file.serve.rate).unwrap_or(50);
        if rate == 0 {
            return wrong("serve.rate", "0", "1 or more requests a second");
        }
        let oauth = self.located(|file| file.serve.oauth.clone());
        let oauth = oauth.map(|(file, table)| table.oauth(own(file))).transpose();
        let oauth = match oauth {
            Ok(oauth) => oauth,
            Err((key, value, expected)) => return wrong(key, &value, expected),
        };
        Ok(Terms {
            address,
            url,
            hosts: self.pick(|file| file.serve.hosts.clone()).unwrap_or_default(),
            origins,
            tls: self.located(|file| file.serve.tls.clone()).map(|(file, table)| table.tls(own(file))),
            oauth,
            admin: self.located(|file| file.serve.admin.clone()).map(|(file, path)| own(file)(&path)),
            max_connections,
            rate,
            idle: self.time("session.idle", |file| file.session.idle.clone())?.unwrap_or(IDLE),
        })
    }

    /// The principals that the settings name. Without any, a socket in the file system is for the server's own user, who is the
    /// agent of the settings: the same user could start a server on standard input.
    fn served(&self, address: &Address) -> Result<Vec<Served>, ConfigError> {
        let Some((path, principals)) = self.located(|file| file.serve.principals.clone()) else {
            if matches!(address, Address::Tcp(_)) {
                return Ok(Vec::new());
            }
            let agent = self.text(|file| file.agent.name.clone(), self.flags.agent.clone());
            let user = self.text(|file| file.agent.user.clone(), self.flags.user.clone());
            return Ok(vec![Served {
                agent: agent.unwrap_or_else(|| "agent".to_owned()),
                user: user.unwrap_or_else(os_user),
                roles: self.roles(),
                proof: Proof::User(nix::unistd::geteuid().as_raw()),
            }]);
        };
        if self.flags.agent.is_some() || self.flags.user.is_some() || !self.flags.roles.is_empty() {
            return Err(ConfigError::Principals);
        }
        let served = principals.iter().map(|(name, table)| {
            table.served(name, own(path)).map_err(|error| match error {
                ServedError::Terms(error) => error.into(),
                ServedError::Odd(why) => {
                    let text = std::fs::read_to_string(path).unwrap_or_default();
                    let offset = text.find(&format!("principals.{name}")).or_else(|| text.find("principals"));
                    let place = place(path, &text, offset.unwrap_or_default());
                    ConfigError::Principal { place, name: name.clone(), why }
                }
            })
        });
        served.collect()
    }

    /// Files by which clients are known and the server is, and the sockets for operators.
    fn serve_files(&self) -> Vec<PathBuf> {
        let layers = [&self.enforced, &self.file].into_iter().flatten();
        layers.flat_map(|(path, file)| file.serve.files().into_iter().map(own(path)).collect::<Vec<_>>()).collect()
    }

    fn record(&self, directory: PathBuf) -> Result<audit::Settings, ConfigError> {
        let mut record = audit::Settings::new(directory, self.sync());
        if let Some(text) = self.pick(|file| file.audit.rotate.size.clone()) {
            record.rotate_size = size("audit.rotate.size", &text)?;
        }
        record.rotate_age = self.time("audit.rotate.age", |file| file.audit.rotate.age.clone())?;
        record.sealed_to = self.pick(|file| file.audit.sealed_to.clone());
        record.retention = self.time("audit.retention", |file| file.audit.retention.clone())?;
        Ok(record)
    }

    fn sync(&self) -> audit::Sync {
        match self.pick(|file| file.audit.sync).unwrap_or(SyncName::Group) {
            SyncName::Always => audit::Sync::Always,
            SyncName::Group => audit::Sync::Group,
            SyncName::None => audit::Sync::None,
        }
    }

    fn redactor(&self) -> Result<Redactor, ConfigError> {
        let rules = Rules::builtin().map_err(|error| ConfigError::Rules(error.to_string()))?;
        Ok(Redactor::new(rules, self.known_values()?))
    }

    /// Values that count as secrets although no rule knows their shape.
    fn known_values(&self) -> Result<Vec<KnownValue>, ConfigError> {
        let mut known = Vec::new();
        let patterns = self.pick(|file| file.redact.environment.clone()).unwrap_or_default();
        let patterns: Vec<NamePattern> = patterns.iter().map(|pattern| NamePattern::parse(pattern)).collect();
        for (name, value) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if patterns.iter().any(|pattern| pattern.fits(&name)) {
                known.push(KnownValue::new(name, value.into_encoded_bytes()));
            }
        }
        for secret in self.targets(&home()?)?.values().flat_map(Target::secrets) {
            // One that is not there is told when the target is used.
            known.extend(secret.known());
        }
        let layers = [&self.enforced, &self.file].into_iter().flatten();
        for token in layers.flat_map(|(path, file)| file.serve.token_files().map(own(path)).collect::<Vec<_>>()) {
            // One that is not there is told when a server starts.
            known.extend(std::fs::read(&token).map(|bytes| KnownValue::in_file(&token, &bytes)).into_iter().flatten());
        }
        for path in self.secret_files()? {
            match std::fs::read(&path) {
                Ok(bytes) => known.extend(KnownValue::in_file(&path, &bytes)),
                // Most people have some of the files that an operator lists for all; what is missing is told (`missing_secrets`).
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => (),
                Err(source) => return Err(ConfigError::Read { path: path.display().to_string(), source }),
            }
        }
        Ok(known)
    }

    fn secret_files(&self) -> Result<Vec<PathBuf>, ConfigError> {
        if self.pick(|file| file.redact.files.clone()).is_none() {
            return Ok(Vec::new());
        }
        Ok(self.paths(&home()?, |file| file.redact.files.clone()))
    }
}

impl File {
    fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.display().to_string(), source })?;
        toml::from_str(&text).map_err(|error| {
            let place = place(path, &text, error.span().map_or(0, |span| span.start));
            ConfigError::Toml { place, message: error.message().to_owned() }
        })
    }
}

/// `--config`, `$PALISADE_CONFIG`, the user's file, the system's. One that is named has to exist.
fn settings_file(flags: &Context) -> Result<Option<PathBuf>, ConfigError> {
    let named = flags.config.clone().or_else(|| std::env::var_os("PALISADE_CONFIG").map(PathBuf::from));
    if named.is_some() {
        return Ok(named);
    }
    let user = match std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from) {
        Some(path) if path.is_absolute() => Some(path),
        _ => home().ok().map(|home| Path::new(home.as_str()).join(".config")),
    };
    for path in user.map(|path| path.join("palisade/palisade.toml")).into_iter().chain([PathBuf::from(SYSTEM)]) {
        if exists(&path)? {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// Whether there is a file; one that cannot be told apart from none is an error, or settings could be hidden.
fn exists(path: &Path) -> Result<bool, ConfigError> {
    path.try_exists().map_err(|source| ConfigError::Read { path: path.display().to_string(), source })
}

/// A path in a settings file is relative to that file.
fn beside(file: &Path, path: Option<&Path>) -> Option<PathBuf> {
    path.map(|path| file.parent().unwrap_or(Path::new("/")).join(path))
}

/// Makes a path of what a settings file names.
fn own(file: &Path) -> impl Fn(&str) -> PathBuf {
    let home = home().ok();
    move |named: &str| {
        let expanded = home.as_ref().map_or_else(|| PathBuf::from(named), |home| expand(named, home));
        beside(file, Some(&expanded)).unwrap_or(expanded)
    }
}

fn expand(path: &str, home: &AbsolutePath) -> PathBuf {
    match path.strip_prefix("~/") {
        Some(rest) => Path::new(home.as_str()).join(rest),
        None => PathBuf::from(path),
    }
}

fn absolute(path: &Path) -> Result<PathBuf, ConfigError> {
    std::path::absolute(path).map_err(|source| ConfigError::Read { path: path.display().to_string(), source })
}

/// A path that need not exist, in normal form.
fn named(path: &Path) -> Option<AbsolutePath> {
    AbsolutePath::new(std::path::absolute(path).ok()?.to_str()?)
}

/// What Palisade keeps for this user.
fn state() -> Result<PathBuf, ConfigError> {
    let state = match std::env::var_os("XDG_STATE_HOME").map(PathBuf::from) {
        Some(path) if path.is_absolute() => path,
        _ => Path::new(home()?.as_str()).join(".local/state"),
    };
    Ok(state.join("palisade"))
}

fn home() -> Result<AbsolutePath, ConfigError> {
    let home = std::env::var_os("HOME").and_then(|home| AbsolutePath::new(home.to_str()?));
    let home = home.ok_or(ConfigError::Home)?;
    Ok(facts::real_directory(Path::new(home.as_str())).unwrap_or(home))
}

/// The name of the user that runs Palisade, as the system's user database has it.
pub(crate) fn os_user() -> String {
    user_name(nix::unistd::getuid().as_raw())
}

fn place(path: &Path, text: &str, offset: usize) -> String {
    let before: String =
        text.char_indices().take_while(|(at, _)| *at < offset).map(|(_, character)| character).collect();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("{}:{line}:{column}", path.display())
}

/// `90`, `90s`, `500ms`, `5m`, `2h`, `30d`.
pub(crate) fn duration(key: &str, text: &str) -> Result<Duration, ConfigError> {
    let (number, unit) = split_unit(text);
    let factor = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => 0,
    };
    let value = number.and_then(|number| number.checked_mul(factor)).filter(|value| *value > 0);
    let expected = "a time such as `30s`, `5m` or `2h`";
    value.map(Duration::from_millis).ok_or_else(|| ConfigError::Value {
        key: key.to_owned(),
        value: text.to_owned(),
        expected,
    })
}

impl Time {
    fn read(&self, key: &str) -> Result<Duration, ConfigError> {
        match self {
            Self::Seconds(seconds) => duration(key, &seconds.to_string()),
            Self::Text(text) => duration(key, text),
        }
    }
}

/// `4096`, `64KiB`, `4MiB`, `2GiB`.
pub(crate) fn size(key: &str, text: &str) -> Result<u64, ConfigError> {
    let (number, unit) = split_unit(text);
    let factor = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => 0,
    };
    let value = number.and_then(|number| number.checked_mul(factor)).filter(|value| *value > 0);
    let expected = "a size such as `64KiB` or `2GiB`";
    value.ok_or_else(|| ConfigError::Value { key: key.to_owned(), value: text.to_owned(), expected })
}

fn split_unit(text: &str) -> (Option<u64>, &str) {
    let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    match text.split_at_checked(digits) {
        Some((number, unit)) => (number.parse().ok(), unit),
        None => (None, text),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes() {
        for (text, expected) in
            [("90", Some(90_000)), ("5m", Some(300_000)), ("250ms", Some(250)), ("0s", None), ("s", None), ("1w", None)]
        {
            assert_eq!(duration("k", text).ok().map(|time| time.as_millis()), expected, "{text}");
        }
        for (text, expected) in
            [("1", Some(1)), ("2KiB", Some(2048)), ("1GiB", Some(1 << 30)), ("1GB", None), ("-1", None)]
        {
            assert_eq!(size("k", text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_enforced_holds_before_flags_and_flags_before_the_file() {
        let file = |text: &str| Some((PathBuf::from("/etc/palisade/x.toml"), toml::from_str::<File>(text).unwrap()));
        let flags = Context { agent: Some("flag".to_owned()), timeout: Some("7s".to_owned()), ..Context::default() };
        let layers = Layers {
            enforced: file("[agent]\nname = 'enforced'"),
            file: file("[session]\ntimeout = '9s'\nmax = 3\n[agent]\nname = 'file'"),
            flags: &flags,
        };
        assert_eq!(layers.text(|file| file.agent.name.clone(), flags.agent.clone()).unwrap(), "enforced");
        assert_eq!(layers.timeout().unwrap(), Duration::from_secs(7));
        assert_eq!(layers.pick(|file| file.session.max), Some(3));
    }
}
