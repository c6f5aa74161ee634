//! What an operator would set, over directories of a test's or a bench's own.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use palisade_audit::Sync;
use palisade_engine::{Bundle, Engine, Principal, Vocabulary};
use palisade_redact::Redactor;
use palisade_runner::checkpoint;
use palisade_runner::environment::{Places, child_environment};
use palisade_runner::facts::{self, Surroundings};
use palisade_runner::sandbox::earlier;
use palisade_runner::sandbox::plan::{Level, Limits};
use palisade_runner::{Budget, Policies, Settings};

/// Settings for `who` with these policies and the shipped groups: the workspace is `work` in `root`, the home `home`, the
/// record `audit`.
pub(crate) fn settings(root: &Path, who: &'static str, bundle: Bundle, sync: Sync) -> Settings {
    let real = facts::real_directory(root).expect("a real path");
    let place = |name: &str| {
        let place = real.child(name).expect("a name");
        std::fs::create_dir_all(place.as_str()).expect("a directory");
        place
    };
    let (workspace, home) = (place("work"), place("home"));
    let (file, text) = palisade_policies::GROUPS;
    let vocabulary = Vocabulary::parse(file, text, &home).expect("the shipped groups");
    let places = Places { home: home.as_str().into(), workspace: workspace.as_str().into() };
    let environment = child_environment(std::env::vars_os(), &[], &places).expect("an environment");
    Settings {
        engine: Policies::new(Engine::new(bundle, vocabulary)),
        surroundings: Surroundings {
            caches: Vec::new(),
            principal: Principal::os_user(who, who, BTreeSet::from(["developer".to_owned()])),
            workspace: workspace.clone(),
            home,
            trusted: Vec::new(),
            writable: Vec::new(),
            search: facts::search_path(&environment),
            elsewhere: None,
            at_target: false,
            zone: palisade_runner::Zone::default(),
            earlier: earlier::none(),
        },
        cwd: workspace,
        targets: std::collections::BTreeMap::new(),
        environment,
        accept: BTreeSet::new(),
        level: Level::Default,
        limits: Limits::default(),
        timeout: Duration::from_secs(60),
        budget: Budget { max_chars: 20_000, keep_bytes: 256 << 10 },
        max_sessions: 64,
        idle: Duration::from_secs(1800),
        lifetime: None,
        approvals_expire: std::time::Duration::from_secs(900),
        remembered: None,
        people: palisade_runner::control::People::default(),
        verb: who,
        audit: palisade_audit::AuditSettings::new(root.join("audit"), sync),
        caches: None,
        view: None,
        checkpoints: checkpoint::Settings::new(root.join("checkpoints")),
        redactor: Redactor::builtin().expect("the shipped rules"),
    }
}
