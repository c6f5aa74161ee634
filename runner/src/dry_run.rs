//! Judges scripts for people who write policies: nothing runs, nothing is recorded, no directory need exist.

use std::collections::BTreeSet;
use std::path::Path;

use palisade_engine::{AbsolutePath, Facts, Machine, Transport};
use palisade_grammar::Shell;
use palisade_sandbox::plan::{self, Promise, Scratches};

use crate::facts::{Occasion, Surroundings, real_directory};
use crate::pipeline::Settings;
use crate::result::Explained;
use crate::session_directory::SessionDirectory;
use crate::target::Target;

/// One script and the circumstances to judge it in.
#[derive(Clone, Debug)]
pub struct Case {
    /// The script, as bytes.
    pub script: Vec<u8>,
    /// The agent's name.
    pub agent: String,
    /// The user it acts for.
    pub user: String,
    /// The agent's roles.
    pub roles: BTreeSet<String>,
    /// A person has said yes.
    pub approved: bool,
    /// Every program start is decided again.
    pub guarded: bool,
    /// At a target a guard holds what runs there.
    held: bool,
    transport: Transport,
    host: String,
    machine: Machine,
    workspace: AbsolutePath,
    cwd: AbsolutePath,
}

impl Case {
    /// An empty script in the settings' own circumstances.
    pub fn of(settings: &Settings) -> Self {
        let principal = &settings.surroundings.principal;
        Self {
            script: Vec::new(),
            agent: principal.agent.clone(),
            user: principal.user.clone(),
            roles: principal.roles.clone(),
            approved: false,
            // As a session of level `default` is, wherever policies are written.
            guarded: true,
            held: false,
            transport: Transport::Local,
            host: "localhost".to_owned(),
            machine: Machine::default(),
            workspace: settings.surroundings.workspace.clone(),
            cwd: settings.cwd.clone(),
        }
    }

    /// Judges as over another transport; an unknown one changes nothing but that nothing is guarded.
    pub fn set_transport(&mut self, transport: &str, target: Option<&str>) {
        self.transport = Transport::from_id(transport).unwrap_or(Transport::Ssh);
        self.host = match self.transport {
            Transport::Local => "localhost".to_owned(),
            Transport::Ssh => target.unwrap_or("unnamed").to_owned(),
            Transport::Docker => format!("docker/{}", target.unwrap_or("unnamed")),
        };
        if self.transport != Transport::Local {
            self.guarded = false;
        }
        self.held = false;
    }

    /// Judges as in a session at a target, in its workspace. Names mean what they mean on this machine: nothing is asked there.
    pub fn set_target(&mut self, target: &Target) {
        self.set_transport(target.transport().as_str(), None);
        self.host = target.host();
        self.held = target.guard.is_some();
        self.guarded = self.held;
        self.machine.user = target.user().to_owned();
        self.workspace = target.workspace.clone().unwrap_or_else(|| target.home.clone());
        self.cwd = self.workspace.clone();
    }

    /// Moves the workspace, and the working directory with it. `None` if the path is not absolute.
    pub fn set_workspace(&mut self, path: &str) -> Option<()> {
        self.workspace = named(path)?;
        self.cwd = self.workspace.clone();
        Some(())
    }

    /// Moves the working directory. `None` if the path is not absolute.
    pub fn set_cwd(&mut self, path: &str) -> Option<()> {
        self.cwd = named(path)?;
        Some(())
    }
}

/// The facts of an empty script in the settings' own circumstances.
pub fn facts(settings: &Settings) -> Facts {
    let (surroundings, occasion) = circumstances(settings, &Case::of(settings));
    surroundings.facts(&occasion)
}

/// Judges one case.
pub fn judge(settings: &Settings, case: &Case) -> Explained {
    let (surroundings, occasion) = circumstances(settings, case);
    let mut inventory = palisade_grammar::inventory_in(&case.script, &occasion.left);
    let engine = settings.engine.now();
    if let Some(instead) = engine.apart(&inventory, &surroundings.facts(&occasion)) {
        inventory = palisade_grammar::inventory_in(&instead, &occasion.left);
    }
    let facts = surroundings.gather(&occasion, &inventory, &engine);
    let report = engine.rehearse(inventory, &facts, case.approved);
    Explained::of(&report, &settings.redactor)
}

fn circumstances(settings: &Settings, case: &Case) -> (Surroundings, Occasion) {
    let mut surroundings = settings.surroundings.clone();
    surroundings.workspace = case.workspace.clone();
    surroundings.principal.agent.clone_from(&case.agent);
    surroundings.principal.user.clone_from(&case.user);
    surroundings.principal.roles.clone_from(&case.roles);
    let engine = settings.engine.now();
    let promise = match (case.transport, case.held) {
        (Transport::Local, _) => plan::local(&engine, &settings.accept, settings.level),
        (_, true) => Promise::at_target(&engine, &settings.accept),
        (_, false) => Promise::NOTHING,
    };
    // Where no guard stands, the kernel is taken to hold no path either: that is a transport of which nobody knows.
    let promise = Promise { guarded: case.guarded, paths_held: promise.paths_held && case.guarded, ..promise };
    let temp = (case.transport == Transport::Local).then(|| SessionDirectory::place_for("dry-run")).flatten();
    let occasion = Occasion::local("dry-run", case.cwd.clone(), temp, promise);
    let mut occasion =
        Occasion { transport: case.transport, host: case.host.clone(), machine: case.machine.clone(), ..occasion };
    occasion.left_with(Shell::new());
    occasion.scratch = SCRATCHES.of(&engine, &surroundings.facts(&occasion), &surroundings.home);
    (surroundings, occasion)
}

/// A batch asks for the same one thousands of times.
static SCRATCHES: Scratches = Scratches::new();

/// The real path where there is one, else the name: resolved as far as the file system allows.
fn named(path: &str) -> Option<AbsolutePath> {
    if !path.starts_with('/') {
        return None;
    }
    real_directory(Path::new(path)).or_else(|| AbsolutePath::new(path))
}
