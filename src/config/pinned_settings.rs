//! What the settings say by themselves, for whoever starts Palisade later and in other surroundings.

use std::path::PathBuf;

use super::file::settings_file;
use super::flags::Context;
use super::{ConfigError, Layers};

/// What a server would have to be told where the variables of now are not set.
#[derive(Debug)]
pub(crate) struct PinnedSettings {
    /// The settings file that is found now.
    pub(crate) file: Option<PathBuf>,
    /// The agent's name, if a flag or a file gives one.
    pub(crate) agent: Option<String>,
}

impl PinnedSettings {
    /// Of these flags.
    ///
    /// # Errors
    /// If a settings file cannot be read or is wrong.
    pub(crate) fn of(flags: &Context) -> Result<Self, ConfigError> {
        let layers = Layers::read(flags)?;
        let agent = layers.text(|file| file.agent.name.clone(), flags.agent.clone());
        Ok(Self { file: settings_file(flags)?, agent })
    }
}
