//! Whether an agent works on the workspace itself or on a view of it (`workspace.mode`), and with what a view does not go together.
//!
//! A process lives in a view or outside, as a whole. It enters before anything of the workspace is looked at, its settings included:
//! what they name is then what the agent's commands will find there.

use std::path::PathBuf;

use miette::Diagnostic;
use palisade_redact::Redactor;
use palisade_runner::Settings;
use palisade_runner::overlay::{self, Entered, OverlayError};
use serde::Deserialize;

use super::flags::{Context, Transport};
use super::values::{beside, expand, home, os_user, state};
use super::{ConfigError, Layers, Purpose};

/// What an agent's commands change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Mode {
    /// The workspace.
    #[default]
    Direct,
    /// A view of it, which somebody applies or discards.
    Overlay,
}

/// Why there can be no view with these settings.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub(crate) enum ViewError {
    #[error(transparent)]
    #[diagnostic(transparent)]
    Overlay(#[from] OverlayError),
    #[error("`workspace.mode = \"overlay\"` is for one principal, and a server over HTTP may have several")]
    #[diagnostic(help("serve on standard input and output, or take the mode out of the settings"))]
    Http,
    #[error(
        "`workspace.mode = \"overlay\"` covers this machine alone, and the settings have targets, where commands would change files for real"
    )]
    #[diagnostic(help("take the targets out of the settings, or the mode"))]
    Targets,
    #[error("the settings ask for a view of the workspace, and this process is not in it")]
    Outside,
    #[error("seen from the view, the workspace is `{seen}` and no longer `{workspace}`")]
    #[diagnostic(help("name it by a path that does not pass through itself"))]
    Moved { workspace: String, seen: String },
}

/// Puts this process into the view that the settings ask for; nothing happens if they do not.
///
/// # Errors
/// As [`super::load`], or there can be no view.
pub(crate) fn enter_view(flags: &Context) -> Result<Option<Entered>, ConfigError> {
    let layers = Layers::read(flags)?;
    if layers.mode() == Mode::Direct {
        return Ok(None);
    }
    if !layers.targets(&home()?)?.is_empty() {
        return Err(ViewError::Targets.into());
    }
    Ok(Some(overlay::enter(&layers.overlay()?).map_err(ViewError::from)?))
}

/// The same for a dry run, which changes nothing and has nothing to wait for.
///
/// # Errors
/// As [`enter_view`].
pub(crate) fn look_into_view(flags: &Context) -> Result<(), ConfigError> {
    let layers = Layers::read(flags)?;
    let is_here = matches!(flags.transport, None | Some(Transport::Local)) && flags.target.is_none();
    // A dry run is about names; there is no view of what does not exist.
    match layers.overlay() {
        Ok(settings) if layers.mode() == Mode::Overlay && is_here => {
            overlay::look(&settings).map_err(|error| ViewError::from(error).into())
        }
        _ => Ok(()),
    }
}

/// The settings for a verb that runs commands, in the view if there is one.
///
/// # Errors
/// As [`super::load`], or the settings ask for a view and this process is not in it.
pub(crate) fn load_in(flags: &Context, verb: &'static str, view: Option<Entered>) -> Result<Settings, ConfigError> {
    let layers = Layers::read(flags)?;
    let mut settings = layers.settings(Purpose::Run, verb)?;
    let Some(view) = view else { return layers.only_direct_or(ViewError::Outside).map(|()| settings) };
    let (workspace, seen) = (view.overlay().about().workspace.clone(), settings.surroundings.workspace.to_string());
    if workspace != seen {
        return Err(ViewError::Moved { workspace, seen }.into());
    }
    if !settings.targets.is_empty() {
        return Err(ViewError::Targets.into());
    }
    settings.checkpoints.directory = view.overlay().checkpoints();
    settings.view = Some(view);
    Ok(settings)
}

/// Which view is meant.
///
/// # Errors
/// As [`super::load`], for the settings files and the workspace alone.
pub(crate) fn overlay(flags: &Context) -> Result<overlay::Settings, ConfigError> {
    Layers::read(flags)?.overlay()
}

/// What counts as a secret with these flags.
///
/// # Errors
/// As [`super::redactor`].
pub(crate) fn redactor_for(flags: &Context) -> Result<Redactor, ConfigError> {
    Layers::read(flags)?.redactor()
}

impl Layers<'_> {
    fn mode(&self) -> Mode {
        self.pick(|file| file.workspace.mode).unwrap_or_default()
    }

    /// For a server of several principals.
    pub(super) fn only_direct(&self) -> Result<(), ConfigError> {
        self.only_direct_or(ViewError::Http)
    }

    fn only_direct_or(&self, error: ViewError) -> Result<(), ConfigError> {
        if self.mode() == Mode::Direct { Ok(()) } else { Err(error.into()) }
    }

    /// Where views lie.
    pub(super) fn views(&self) -> Result<PathBuf, ConfigError> {
        for (path, file) in [&self.enforced, &self.file].into_iter().flatten() {
            if let Some(named) = &file.workspace.views {
                let expanded = expand(named, &home()?);
                return Ok(beside(path, Some(&expanded)).unwrap_or(expanded));
            }
        }
        Ok(state()?.join("views"))
    }

    fn overlay(&self) -> Result<overlay::Settings, ConfigError> {
        let agent = self.text(|file| file.agent.name.clone(), self.flags.agent.clone());
        let agent = agent.unwrap_or_else(|| "agent".to_owned());
        let user = self.text(|file| file.agent.user.clone(), self.flags.user.clone()).unwrap_or_else(os_user);
        let workspace = self.workspace(Purpose::Run, &agent)?;
        Ok(overlay::Settings { directory: self.views()?, workspace, agent, user })
    }
}
