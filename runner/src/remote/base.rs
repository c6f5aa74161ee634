//! A session's connection, from which all of its shells are started: under its guard, if it has one.
//!
//! This file decides that. What runs an agent's commands is started by [`Base::start`] alone, and what is Palisade's own by
//! [`Base::open`]: under a guard there is no way to a shell of a command's but through it.

use std::sync::Arc;

use palisade_engine::AbsolutePath;

use super::{ControlShell, Eyes, Link, Purpose, terminal};
use crate::guard::Ledger;
use crate::remote::guard::{Outpost, Shell};
use crate::shell::{Language, SessionError};
use crate::target::TargetError;
use crate::transport::wire::Wire;

/// A session's connection. Cheap to copy.
#[derive(Clone, Debug)]
pub(crate) struct Base {
    link: Arc<Link>,
    scout: ControlShell,
    language: Language,
    /// The operator's name for the target.
    name: Arc<str>,
    outpost: Option<Outpost>,
}

/// What a shell is, for the guard that starts it.
#[derive(Debug)]
pub(crate) struct Errands {
    /// Its program and that one's words.
    pub(crate) words: Vec<String>,
    /// Its variables, besides those of every one.
    pub(crate) variables: Vec<(String, String)>,
    /// What we have it run ourselves.
    pub(crate) errands: Vec<Vec<String>>,
}

impl Base {
    pub(super) fn new(link: Arc<Link>, scout: ControlShell, language: Language, name: &str) -> Self {
        Self { link, scout, language, name: name.into(), outpost: None }
    }

    /// That a guard can hold the shell that there is.
    ///
    /// # Errors
    /// If it cannot.
    pub(super) fn takes_guards(&self) -> Result<(), TargetError> {
        let (why, help) = ("it takes bash there", "install bash there");
        match self.language {
            Language::Bash => Ok(()),
            Language::Sh => Err(TargetError::Guard { why: why.to_owned(), help: help.to_owned() }),
        }
    }

    /// From now on what runs commands there runs under this guard.
    pub(super) fn guarded_by(&mut self, outpost: Outpost) {
        self.outpost = Some(outpost);
    }

    /// Starts what runs commands. What its guard refuses is told to `ledger`, which there is where there is a guard.
    ///
    /// # Errors
    /// If it does not start, or not under all that has to hold it.
    pub(super) async fn start(
        &self,
        purpose: Purpose<'_>,
        cwd: Option<&AbsolutePath>,
        ledger: Option<Ledger>,
    ) -> Result<(Wire, Option<Arc<Shell>>), SessionError> {
        match (&self.outpost, ledger) {
            (None, None) => Ok((self.open(purpose).await?, None)),
            (Some(outpost), Some(ledger)) => {
                let (wire, shell) = outpost.shell(self, purpose, cwd, ledger).await?;
                Ok((wire, Some(Arc::new(shell))))
            }
            // Whoever starts it takes it for something else than it is.
            (Some(_), None) | (None, Some(_)) => Err(SessionError::WrongSession),
        }
    }

    /// Starts a program of ours.
    ///
    /// # Errors
    /// If it does not start.
    pub(crate) async fn open(&self, purpose: Purpose<'_>) -> Result<Wire, TargetError> {
        self.link.shell(self.language, purpose).await
    }

    /// What a guard starts for this.
    pub(crate) fn errands(&self, purpose: Purpose<'_>) -> Errands {
        let words = purpose.words(self.language).into_iter().map(Into::into).collect();
        let variables = purpose.variables(self.language);
        let variables = variables.iter().filter_map(|entry| entry.split_once('='));
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let errands = purpose.terminal().map(terminal::errands).unwrap_or_default();
        Errands { words, variables, errands }
    }

    /// That a command can have a terminal there, as far as this can be told before it has one.
    ///
    /// # Errors
    /// If it cannot.
    pub(crate) fn has_terminals(&self) -> Result<(), SessionError> {
        terminal::takes(self.language)
    }

    /// For asking what names mean there.
    pub(crate) fn eyes(&self) -> Eyes {
        Eyes(self.scout.clone())
    }

    /// Whether what it starts for commands is held there.
    pub(crate) fn is_guarded(&self) -> bool {
        self.outpost.is_some()
    }

    /// The guard there, if there is one: this very program.
    pub(crate) fn outpost(&self) -> Option<&Outpost> {
        self.outpost.as_ref()
    }

    /// The operator's name for the target.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn language(&self) -> Language {
        self.language
    }

    pub(super) fn scout(&self) -> &ControlShell {
        &self.scout
    }

    /// The temporary directory that the session has there, if it has one of its own.
    pub(super) fn temp(&self) -> Option<&str> {
        self.outpost.as_ref().map(|outpost| outpost.temp().as_str())
    }

    pub(super) async fn close(&self) {
        self.link.close().await;
    }
}
