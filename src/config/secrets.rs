//! What counts as a secret besides what rules know by its shape.

use std::path::PathBuf;

use palisade_engine::NamePattern;
use palisade_redact::{KnownValue, Redactor, Rules};
use palisade_runner::target::Target;

use super::values::{home, own};
use super::{ConfigError, Layers};

impl Layers<'_> {
    pub(super) fn redactor(&self) -> Result<Redactor, ConfigError> {
        let rules = Rules::builtin().map_err(|error| ConfigError::Rules(error.to_string()))?;
        Ok(Redactor::new(rules, self.known_values()?))
    }

    /// Values that count as secrets although no rule knows their shape.
    pub(super) fn known_values(&self) -> Result<Vec<KnownValue>, ConfigError> {
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

    pub(super) fn secret_files(&self) -> Result<Vec<PathBuf>, ConfigError> {
        if self.pick(|file| file.redact.files.clone()).is_none() {
            return Ok(Vec::new());
        }
        Ok(self.paths(&home()?, |file| file.redact.files.clone()))
    }
}
