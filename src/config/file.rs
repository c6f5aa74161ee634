//! A settings file: the keys that there are, and where one is looked for.
//!
//! An unknown key is an error, for it would be a rule that nobody holds.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use palisade_audit::{self as audit, export};
use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::ConfigError;
use super::flags::Context;
use super::http::ServeTable;
use super::path_error::unreadable;
use super::policies::known;
use super::targets::TargetTable;
use super::values::{Time, home, misread, place_of, wrong};

/// The last place where settings are looked for.
const SYSTEM: &str = "/etc/palisade/palisade.toml";

/// A settings file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct SettingsFile {
    pub(super) profile: Option<Spanned<String>>,
    pub(super) extends: Option<Spanned<String>>,
    pub(super) policies: Option<PathBuf>,
    #[serde(default)]
    pub(super) agent: AgentTable,
    #[serde(default)]
    pub(super) workspace: WorkspaceTable,
    #[serde(default)]
    pub(super) sandbox: SandboxTable,
    #[serde(default)]
    pub(super) session: SessionTable,
    #[serde(default)]
    pub(super) output: OutputTable,
    #[serde(default)]
    pub(super) redact: RedactTable,
    #[serde(default)]
    pub(super) audit: AuditTable,
    #[serde(default)]
    pub(super) checkpoint: CheckpointTable,
    #[serde(default)]
    pub(super) export: ExportTable,
    #[serde(default)]
    pub(super) groups: GroupsTable,
    #[serde(default)]
    pub(super) approvals: ApprovalsTable,
    #[serde(default)]
    pub(super) clock: ClockTable,
    #[serde(default)]
    pub(super) control: ControlTable,
    #[serde(default)]
    pub(super) people: BTreeMap<String, PersonTable>,
    #[serde(default)]
    pub(super) serve: ServeTable,
    #[serde(default)]
    pub(super) targets: BTreeMap<String, TargetTable>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ApprovalsTable {
    pub(super) expire: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct ClockTable {
    pub(super) time_zone: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ControlTable {
    pub(super) path: Option<String>,
}

/// Somebody of the operating system's users.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PersonTable {
    pub(super) roles: BTreeSet<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AgentTable {
    pub(super) name: Option<String>,
    pub(super) user: Option<String>,
    pub(super) roles: Option<BTreeSet<String>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WorkspaceTable {
    pub(super) path: Option<String>,
    pub(super) mode: Option<super::view::Mode>,
    pub(super) views: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SandboxTable {
    pub(super) level: Option<LevelName>,
    pub(super) environment: Option<Vec<String>>,
    pub(super) trusted: Option<Vec<String>>,
    pub(super) accept: Option<Vec<String>>,
    #[serde(default)]
    pub(super) limits: LimitsTable,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LevelName {
    Strict,
    Default,
    Compat,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct LimitsTable {
    pub(super) processes: Option<u64>,
    pub(super) memory: Option<String>,
    pub(super) file_size: Option<String>,
    pub(super) open_files: Option<u64>,
    pub(super) cpu: Option<Time>,
    pub(super) disk: Option<String>,
    pub(super) free_disk: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SessionTable {
    pub(super) max: Option<usize>,
    pub(super) idle: Option<String>,
    pub(super) lifetime: Option<String>,
    pub(super) timeout: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct OutputTable {
    pub(super) max_chars: Option<usize>,
    pub(super) keep_bytes: Option<String>,
    pub(super) run_bytes: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RedactTable {
    pub(super) environment: Option<Vec<String>>,
    pub(super) files: Option<Vec<String>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct AuditTable {
    pub(super) path: Option<String>,
    pub(super) sync: Option<SyncName>,
    #[serde(default)]
    pub(super) rotate: RotateTable,
    pub(super) retention: Option<String>,
    pub(super) sealed_to: Option<audit::SealTo>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExportTable {
    pub(super) otlp: Option<OtlpTable>,
    pub(super) syslog: Option<SyslogTable>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OtlpTable {
    pub(super) endpoint: export::Endpoint,
    pub(super) roots: Option<String>,
    pub(super) certificate: Option<String>,
    pub(super) key: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SyslogTable {
    pub(super) to: export::SyslogTarget,
    #[serde(default)]
    pub(super) body: export::SyslogBody,
    pub(super) roots: Option<String>,
    pub(super) certificate: Option<String>,
    pub(super) key: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct CheckpointTable {
    pub(super) path: Option<String>,
    pub(super) exclude: Option<Vec<String>>,
    pub(super) max_file: Option<String>,
    pub(super) automatic: Option<AutomaticName>,
    pub(super) keep: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum AutomaticName {
    Never,
    Changes,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RotateTable {
    pub(super) size: Option<String>,
    pub(super) age: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum SyncName {
    Always,
    Group,
    None,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GroupsTable {
    #[serde(default)]
    pub(super) paths: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    pub(super) hosts: BTreeMap<String, Vec<String>>,
}

impl SettingsFile {
    pub(super) fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.display().to_string(), source })?;
        if let Some((at, message)) = list_for_table(&text) {
            return Err(wrong(path, &text, at, message));
        }
        let file: Self = toml::from_str(&text).map_err(|error| misread(path, &text, &error))?;
        for (key, name) in [("name", &file.agent.name), ("user", &file.agent.user)] {
            if let Some(value) = name.clone().filter(|name| name.trim().is_empty()) {
                let place = place_of(path, &["agent", key], None);
                return Err(ConfigError::Setting { place, key: format!("agent.{key}"), value, expected: "a name" });
            }
        }
        if let Some(profile) = &file.profile {
            known(path, &text, profile)?;
            if file.policies.is_some() {
                let message =
                    "`profile` and `policies` exclude each other; write `extends` to add policies to a profile";
                return Err(wrong(path, &text, profile.span().start, message.to_owned()));
            }
        }
        if let Some(extends) = &file.extends {
            known(path, &text, extends)?;
            if file.policies.is_none() {
                let message = "`extends` says what your own `policies` stand on, and none are named".to_owned();
                return Err(wrong(path, &text, extends.span().start, message));
            }
        }
        Ok(file)
    }
}

/// Keys that are tables.
const TABLES: [&str; 14] = [
    "agent",
    "approvals",
    "audit",
    "checkpoint",
    "clock",
    "control",
    "export",
    "groups",
    "output",
    "redact",
    "sandbox",
    "serve",
    "session",
    "workspace",
];

/// Keys that are tables of tables, whose own keys anybody may choose.
const OF_TABLES: [(&str, &str); 2] = [("people", "roles = [\"approver\"]"), ("targets", "ssh = { … }")];

/// A list where a table belongs, with what to write. The reader would take its elements for the table's values, in the order of our source.
fn list_for_table(text: &str) -> Option<(usize, String)> {
    let root = DeTable::parse(text).ok()?.into_inner();
    for (key, value) in &root {
        let name = key.get_ref().as_ref();
        let written = OF_TABLES.iter().find(|(of, _)| *of == name).map(|(_, written)| *written);
        match (value.get_ref(), written) {
            (DeValue::Array(_), Some(written)) => {
                let message = format!("`{name}` is a list; write a table for each: `[{name}.NAME]` with `{written}`");
                return Some((value.span().start, message));
            }
            (DeValue::Array(_), None) if TABLES.contains(&name) => {
                return Some((value.span().start, format!("`{name}` is a list; write a table: `[{name}]`")));
            }
            (DeValue::Table(below), Some(written)) => {
                let is_list = |(_, value): &(_, &Spanned<DeValue<'_>>)| matches!(value.get_ref(), DeValue::Array(_));
                if let Some((key, value)) = below.iter().find(is_list) {
                    let name = format!("{name}.{}", key.get_ref());
                    let message = format!("`{name}` is a list; write a table: `[{name}]` with `{written}`");
                    return Some((value.span().start, message));
                }
            }
            _ => {}
        }
    }
    None
}

/// `--config`, `$PALISADE_CONFIG`, the user's file, the system's. One that is named has to exist.
pub(super) fn settings_file(flags: &Context) -> Result<Option<PathBuf>, ConfigError> {
    if let Some((_, path)) = named(flags) {
        return Ok(Some(path));
    }
    if flags.embedded.alone {
        return Ok(None);
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

/// What names a settings file, and the file.
fn named(flags: &Context) -> Option<(&'static str, PathBuf)> {
    let flag = flags.config.clone().map(|path| ("`--config`", path));
    if flags.embedded.alone {
        return flag;
    }
    flag.or_else(|| std::env::var_os("PALISADE_CONFIG").map(|path| ("`$PALISADE_CONFIG`", PathBuf::from(path))))
}

/// Says of a settings file that cannot be read what names it.
pub(super) fn by_name(flags: &Context, error: ConfigError) -> ConfigError {
    match (named(flags), &error) {
        (Some((by, path)), ConfigError::Read { source, .. }) => unreadable(by, &path, source),
        _ => error,
    }
}

/// Whether there is a file; one that cannot be told apart from none is an error, or settings could be hidden.
pub(super) fn exists(path: &Path) -> Result<bool, ConfigError> {
    path.try_exists().map_err(|source| ConfigError::Read { path: path.display().to_string(), source })
}
