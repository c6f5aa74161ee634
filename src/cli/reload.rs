//! Policies that change while a server runs: when a changed set is taken, and when the old one stays.
//!
//! A set is taken only if it parses, validates, has no lint error and passes its own cases, and only once it has stayed
//! the same from one look to the next: whoever copies files into place is not caught half-way. The groups of the
//! settings are part of it, since policies name them.
//!
//! Values that count as secrets are looked for as soon as a file that holds them, or the setting that names it, has changed
//! and stayed so for one look. None is given up before a restart: what a file held an hour ago may still open something.
//!
//! Every other setting takes a restart: one that says which policies hold or where the record goes is refused until then,
//! the rest is not looked at.

use std::time::Duration;

use palisade_engine::{Engine, Severity};
use palisade_redact::KnownValue;
use palisade_runner::Pipeline;
use tokio::signal::unix::Signal;

use crate::cli::args::Context;
use crate::cli::commands::policy::lint;
use crate::cli::report::CliError;
use crate::config::{self, Authored, Chosen, ConfigError, WatchedSettings};

/// How long after one look the next is taken.
const PERIOD: Duration = Duration::from_secs(2);

/// The same where somebody has said that the files are as they are to be, and the first look found others than before.
const SOON: Duration = Duration::from_millis(50);

/// What was seen, or why nothing could be.
pub(crate) type SettingsReading = Result<WatchedSettings, String>;

/// Looks once. The first look comes before the policies are loaded: what changes in between is then seen as a change.
pub(crate) fn look(flags: &Context) -> SettingsReading {
    read(flags).map(|(watched, _)| watched)
}

/// What is there, and what there is to see of it.
fn read(flags: &Context) -> Result<(WatchedSettings, Authored), String> {
    let told = |error: ConfigError| CliError::from(error).to_string();
    let authored = Authored::running(flags).map_err(told)?;
    Ok((WatchedSettings::of(&authored).map_err(told)?, authored))
}

/// Watches policies and settings until the server ends. SIGHUP looks at once.
pub(crate) async fn watch(
    pipeline: &Pipeline,
    flags: &Context,
    first: SettingsReading,
    mut secrets: Secrets,
    hangup: &mut Signal,
) {
    let mut tried = first;
    let begun = tried.clone().ok().map(|watched| watched.fixed);
    let mut seen = tried.clone();
    let mut called = false;
    loop {
        called = tokio::select! {
            () = tokio::time::sleep(if called { SOON } else { PERIOD }) => false,
            _ = hangup.recv() => true,
        };
        tokio::task::block_in_place(|| secrets.look(pipeline, flags));
        // What is loaded is what was looked at, however the files change meanwhile.
        let (now, authored) = match read(flags) {
            Ok((watched, authored)) => (Ok(watched), Some(authored)),
            Err(why) => (Err(why), None),
        };
        let settled = now == seen;
        seen = now;
        if !settled || seen == tried {
            continue;
        }
        tried = seen.clone();
        let stays = matches!(&seen, Ok(watched) if begun.as_ref() == Some(&watched.fixed));
        let loaded = match (&seen, authored) {
            (Err(why), _) => Err(why.clone()),
            (Ok(_), Some(authored)) if stays => tokio::task::block_in_place(|| load(&authored, flags)),
            (Ok(_), _) => Err("other policies or another place for the record take a restart".to_owned()),
        };
        let kept = match loaded {
            Ok(engine) => pipeline.reload(engine).await,
            Err(why) => pipeline.refuse_reload(&why).await,
        };
        if let Err(failure) = kept {
            // The policies are what they were: try again at the next look.
            CliError::from(failure).print();
            tried = Err(String::new());
        }
    }
}

/// The values that count as secrets: those that are looked for, and those that the last look has shown.
#[derive(Clone, Default)]
pub(crate) struct Secrets {
    held: Vec<KnownValue>,
    seen: Vec<KnownValue>,
}

impl Secrets {
    /// The first look, to be taken before the settings are loaded: what changes in between is then seen as a change.
    pub(crate) fn first(flags: &Context) -> Self {
        let held = config::known_values_for(flags).unwrap_or_default();
        Self { seen: held.clone(), held }
    }

    /// Looks once, and has new ones looked for. Settings or files that cannot be read change nothing.
    fn look(&mut self, pipeline: &Pipeline, flags: &Context) {
        let Ok(now) = config::known_values_for(flags) else { return };
        let is_new = |value: &&KnownValue| !self.held.contains(value);
        let new: Vec<KnownValue> = now.iter().filter(is_new).cloned().collect();
        if !new.is_empty() && now == self.seen {
            self.held.extend(new);
            pipeline.renew_secrets(&self.held);
        }
        self.seen = now;
    }
}

/// The set as it was read, if everything about it is right.
fn load(authored: &Authored, flags: &Context) -> Result<Engine, String> {
    let told = |error: ConfigError| CliError::from(error).to_string();
    authored.out_of_reach(flags).map_err(told)?;
    if matches!(authored.chosen(), Chosen::Profile(_)) {
        // Its cases try the groups that it ships with, and a site may have added to them.
        return authored.engine_for(flags).map_err(told);
    }
    let files = authored.cases().map_err(told)?;
    for file in &files {
        let engine = authored.engine(file.home()).map_err(told)?;
        for case in file.cases() {
            let checked = case.check(&engine);
            if let Some(failure) = checked.failure {
                return Err(format!("{}: the case `{}` fails: {failure}", checked.place, checked.name));
            }
        }
    }
    let found = lint::findings(authored).map_err(|trouble| trouble.to_string())?;
    if let Some(error) = found.iter().find(|lint| lint.rule.severity == Severity::Error) {
        return Err(format!("{}: {}: {}", error.place, error.policy, error.message));
    }
    authored.engine_for(flags).map_err(told)
}
