//! `doctor`: what this machine can enforce, what is missing, what to do; and which clients start Palisade.
//!
//! With `--try` it runs everyday steps instead (`doctor/trial.rs`).

mod trial;

use std::path::Path;

use palisade_runner::overlay::OverlayError;
use palisade_runner::sandbox;
use serde::Serialize;

use crate::cli::args::Doctor;
use crate::cli::exit::Exit;
use crate::cli::report::{self, CliError};
use crate::cli::{clients, commands};
use crate::config;

/// What a machine reads.
#[derive(Serialize)]
struct DoctorReport<'a> {
    #[serde(flatten)]
    offer: &'a sandbox::Capabilities,
    /// The clients of this user whose settings are there. Nothing that this machine can or cannot enforce depends on them.
    clients: &'a [clients::detect::ClientFinding],
    /// The targets that the settings name.
    targets: Vec<TargetGuard<'a>>,
}

/// A target, and whether its sessions are held.
#[derive(Serialize)]
struct TargetGuard<'a> {
    target: &'a str,
    guarded: bool,
}

impl TargetGuard<'_> {
    fn line(&self) -> String {
        let (word, text) = if self.guarded {
            ("ok", "sessions there run under the sandbox and the exec guard, or do not open")
        } else {
            (
                "missing",
                "nothing holds sessions there; take `remote_guard = false` out of its settings where it is a Linux",
            )
        };
        format!("{word:8} target {}: {text}\n", self.target)
    }
}

pub(crate) fn run(args: &Doctor) -> Result<Exit, CliError> {
    if args.tries {
        return run_trials(args);
    }
    // First of all: what a machine offers, it has to offer in the view.
    let view = match config::enter_view(&args.context) {
        Err(config::ConfigError::View(config::ViewError::Overlay(OverlayError::InUse { .. }))) => Ok(None),
        view => view,
    };
    let offer = sandbox::probe();
    let settings = config::load(&args.context, "doctor");
    let enough = match &settings {
        Ok(settings) => offer.meets(settings.level).map_err(|error| CliError::of(&error)),
        Err(_) => Ok(()),
    };
    let clients = clients::detect::findings(
        settings.as_ref().ok().map(|settings| Path::new(settings.surroundings.workspace.as_str())),
    );
    let targets = settings.iter().flat_map(|settings| &settings.targets);
    let targets: Vec<TargetGuard<'_>> =
        targets.map(|(name, target)| TargetGuard { target: name, guarded: target.guard.is_some() }).collect();
    if args.context.json {
        report::print(&commands::json(&DoctorReport { offer, clients: &clients, targets })?);
    } else {
        let findings = offer.findings();
        let line = |finding: &sandbox::Finding| {
            format!("{:8} {}: {}\n", if finding.present { "ok" } else { "missing" }, finding.layer, finding.text)
        };
        report::print(&findings.iter().map(line).collect::<String>());
        let line = |found: &clients::detect::ClientFinding| {
            format!("{:8} {}: {}\n", if found.ready { "ok" } else { "missing" }, found.client, found.text)
        };
        report::print(&clients.iter().map(line).collect::<String>());
        report::print(&targets.iter().map(TargetGuard::line).collect::<String>());
    }
    // A value that cannot be searched for is a secret that nothing hides: the operator has to know.
    for refused in settings.iter().flat_map(|settings| settings.redactor.refused()) {
        report::complain(&format!("warning: the value of `{}` is not redacted: {}\n", refused.name, refused.why));
    }
    if settings.is_ok() {
        commands::warn_of_missing_secrets(&args.context)?;
    }
    let mut ready = true;
    if let Err(error) = settings {
        CliError::from(error).print();
        ready = false;
    } else if let Err(error) = view {
        CliError::from(error).print();
        ready = false;
    }
    if let Err(trouble) = enough {
        trouble.print();
        ready = false;
    }
    if !args.context.json {
        report::print(if ready { "ready\n" } else { "not ready\n" });
    }
    Ok(if ready { Exit::Fine } else { Exit::Findings })
}

/// Runs the trials, and says how each went.
fn run_trials(args: &Doctor) -> Result<Exit, CliError> {
    let workspace = trial::Workspace::new()?;
    let view = config::enter_view(&workspace.context(&args.context))?;
    commands::begin_to_probe();
    let tried = trial::all(&workspace, &args.context, view)?;
    let page =
        if args.context.json { commands::json(&serde_json::json!({ "trials": tried }))? } else { trial::page(&tried) };
    report::print(&page);
    Ok(if trial::is_fine(&tried) { Exit::Fine } else { Exit::Findings })
}
