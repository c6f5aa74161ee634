//! Where things are kept that outlive a session: the record and its copies, checkpoints, the sockets of servers; and who looks after them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use palisade_audit::{self as audit, export};
use palisade_runner::checkpoint;
use palisade_runner::control::{self, People};
use palisade_runner::remembered::Remembered;

use super::file::{AutomaticName, OtlpTable, SettingsFile, SyncName, SyslogTable};
use super::values::{absolute, beside, expand, home, own, place_of, size, state};
use super::{ConfigError, Layers};

impl Layers<'_> {
    pub(super) fn audit_directory(&self) -> Result<PathBuf, ConfigError> {
        let named = |layer: &Option<(PathBuf, SettingsFile)>| {
            let (path, directory) = layer.as_ref().and_then(|(path, file)| Some((path, file.audit.path.as_ref()?)))?;
            Some(home().map(|home| {
                let expanded = expand(directory, &home);
                beside(path, Some(&expanded)).unwrap_or(expanded)
            }))
        };
        let embedded = || self.flags.embedded.audit.as_deref().map(absolute);
        match named(&self.enforced).or_else(embedded).or_else(|| named(&self.file)) {
            Some(directory) => directory,
            None => Ok(state()?.join("audit")),
        }
    }

    pub(super) fn record(&self, directory: PathBuf) -> Result<audit::AuditSettings, ConfigError> {
        let mut record = audit::AuditSettings::new(directory, self.sync());
        if let Some(text) = self.pick(|file| file.audit.rotate.size.clone()) {
            record.rotate_size = size("audit.rotate.size", &text)?;
        }
        record.rotate_age = self.time("audit.rotate.age", |file| file.audit.rotate.age.clone())?;
        record.sealed_to = self.pick(|file| file.audit.sealed_to.clone());
        record.retention = self.time("audit.retention", |file| file.audit.retention.clone())?;
        Ok(record)
    }

    pub(super) fn sync(&self) -> audit::Sync {
        match self.pick(|file| file.audit.sync).unwrap_or(SyncName::Group) {
            SyncName::Always => audit::Sync::Always,
            SyncName::Group => audit::Sync::Group,
            SyncName::None => audit::Sync::None,
        }
    }

    /// Where copies of the record go.
    pub(super) fn export(&self) -> Result<export::ExportSettings, ConfigError> {
        let wrong = |path: &Path, name, why| {
            let place = place_of(path, &["export", name], None);
            ConfigError::Export { place, name, why }
        };
        let otlp = self.located(|file| file.export.otlp.clone()).map(|(path, table)| {
            let files = table.files(own(path));
            export::Otlp::new(table.endpoint, &files).map_err(|error| wrong(path, "otlp", error))
        });
        let syslog = self.located(|file| file.export.syslog.clone()).map(|(path, table)| {
            let files = table.files(own(path));
            export::Syslog::new(table.to, table.body, &files).map_err(|error| wrong(path, "syslog", error))
        });
        Ok(export::ExportSettings { otlp: otlp.transpose()?, syslog: syslog.transpose()? })
    }

    /// The files that secure connections to collectors: whoever changes one reads the record.
    pub(super) fn export_files(&self) -> Vec<PathBuf> {
        let layers = [&self.enforced, &self.file].into_iter().flatten();
        let named = layers.flat_map(|(path, file)| {
            let otlp = file.export.otlp.iter().map(|table| table.files(own(path)));
            let syslog = file.export.syslog.iter().map(|table| table.files(own(path)));
            otlp.chain(syslog).collect::<Vec<_>>()
        });
        named.flat_map(|files| [files.roots, files.certificate, files.key]).flatten().collect()
    }

    pub(super) fn checkpoints(&self) -> Result<checkpoint::Settings, ConfigError> {
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
    pub(super) fn control(&self) -> Result<control::Settings, ConfigError> {
        for (path, file) in [&self.enforced, &self.file].into_iter().flatten() {
            if let Some(directory) = &file.control.path {
                let expanded = expand(directory, &home()?);
                let directory = beside(path, Some(&expanded)).unwrap_or(expanded);
                return Ok(control::Settings { directory, shared: true });
            }
        }
        Ok(control::Settings { directory: state()?.join("control"), shared: false })
    }

    /// Where yeses are kept: beside the record, unless the account that could write there is not the one whose yes counts.
    pub(super) fn remembered(&self) -> Result<Option<Remembered>, ConfigError> {
        if self.enforced.is_some() || self.control()?.shared {
            return Ok(None);
        }
        Ok(Some(Remembered::in_directory(&self.audit_directory()?)))
    }

    /// Who has which roles: what is enforced of somebody holds alone.
    pub(super) fn people(&self) -> People {
        let mut people = BTreeMap::new();
        for (_, file) in [&self.file, &self.enforced].into_iter().flatten() {
            people.extend(file.people.iter().map(|(name, person)| (name.clone(), person.roles.clone())));
        }
        People::new(people)
    }
}

impl OtlpTable {
    fn files(&self, own: impl Fn(&str) -> PathBuf) -> export::TlsFiles {
        files([&self.roots, &self.certificate, &self.key], own)
    }
}

impl SyslogTable {
    fn files(&self, own: impl Fn(&str) -> PathBuf) -> export::TlsFiles {
        files([&self.roots, &self.certificate, &self.key], own)
    }
}

fn files(named: [&Option<String>; 3], own: impl Fn(&str) -> PathBuf) -> export::TlsFiles {
    let [roots, certificate, key] = named.map(|name| name.as_deref().map(&own));
    export::TlsFiles { roots, certificate, key }
}
