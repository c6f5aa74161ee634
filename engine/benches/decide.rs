//! What a verdict costs: `cargo bench -p palisade-engine --bench decide`.

#![expect(clippy::expect_used, reason = "a bench that cannot be set up has no figures")]

use std::collections::{BTreeMap, BTreeSet};

use divan::{Bencher, black_box};
use palisade_engine::{
    AbsolutePath, Auth, Bundle, Clock, Engine, Facts, Origin, Principal, Program, Session, Transport, Vocabulary,
};
use palisade_grammar::CommandId;

fn main() {
    divan::main();
}

fn path(text: &str) -> AbsolutePath {
    AbsolutePath::new(text).expect("an absolute path")
}

fn engine() -> Engine {
    let (file, text) = palisade_policies::GROUPS;
    let vocabulary = Vocabulary::parse(file, text, &path("/home/u")).expect("the shipped groups");
    Engine::new(Bundle::profile("developer").expect("the shipped profile"), vocabulary)
}

fn facts(commands: u32) -> Facts {
    let system = Program { path: Some(path("/usr/bin/git")), origin: Origin::System };
    let ids = || (0..commands).map(CommandId);
    Facts {
        principal: Principal {
            agent: "agent".to_owned(),
            user: "u".to_owned(),
            roles: BTreeSet::from(["developer".to_owned()]),
            verified: true,
            auth: Auth::OsUser,
            scopes: BTreeSet::new(),
            client: String::new(),
        },
        transport: Transport::Local,
        host: "localhost".to_owned(),
        workspace: path("/srv/app"),
        cwd: path("/srv/app"),
        temp: None,
        session: Session {
            id: "s".to_owned(),
            age_ms: 0,
            commands: 0,
            labels: BTreeSet::new(),
            sandboxed: true,
            guarded: false,
            paths_held: false,
        },
        clock: Clock { now: "2026-11-21T12:00:00.000Z".to_owned(), time_of_day_ms: 0, weekday: 0 },
        programs: ids().map(|id| (id, system.clone())).collect(),
        paths: ids().map(|id| ((id, 0), path("/srv/app/file"))).collect(),
        matches: BTreeMap::new(),
        below: BTreeMap::new(),
        directories: ids().map(|id| (id, path("/srv/app"))).collect::<BTreeMap<_, _>>(),
    }
}

/// From text to verdict, the inventory included.
#[divan::bench(args = ["git status", "git push --force", "cat a | grep b > c && git add c && git commit -m x"])]
fn verdict(bencher: Bencher<'_, '_>, script: &str) {
    let engine = engine();
    let facts = facts(8);
    bencher.bench(|| engine.decide(palisade_grammar::inventory(black_box(script.as_bytes())), &facts));
}

/// Parsing and strictly validating the guards and the profile.
#[divan::bench(sample_count = 20)]
fn load_profile() -> Bundle {
    Bundle::profile("developer").expect("the shipped profile")
}
