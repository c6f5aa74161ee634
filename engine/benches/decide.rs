//! What a verdict costs: `cargo bench -p palisade-engine --bench decide`.

#![expect(clippy::expect_used, reason = "a bench that cannot be set up has no figures")]

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::{Authorizer, Context, Entities, EntityUid, PolicySet, Request, Schema};
use divan::{Bencher, black_box};
use palisade_engine::{
    AbsolutePath, Bundle, Clock, Engine, Facts, Origin, Principal, Program, Session, Source, Vocabulary,
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
    let principal = Principal::os_user("agent", "u", BTreeSet::from(["developer".to_owned()]));
    let session = Session { sandboxed: true, ..Session::opened("s") };
    let clock = Clock { now: "2026-11-21T12:00:00.000Z".to_owned(), time_of_day_ms: 0, weekday: 0 };
    Facts {
        programs: ids().map(|id| (id, system.clone())).collect(),
        paths: ids().map(|id| ((id, 0), path("/srv/app/file"))).collect(),
        directories: ids().map(|id| (id, path("/srv/app"))).collect::<BTreeMap<_, _>>(),
        ..Facts::new(principal, path("/srv/app"), session, clock)
    }
}

/// The guards, and policies of a site's own up to `count`: `unscoped` of them name no resource in their scope.
fn site(count: usize, unscoped: usize) -> (Engine, String) {
    site_with("", count, unscoped)
}

fn site_with(more: &str, count: usize, unscoped: usize) -> (Engine, String) {
    let guards: usize = palisade_policies::GUARDS.iter().map(|(_, text)| text.matches("@id(").count()).sum();
    let mut text = format!("@id(\"all\") permit (principal in Role::\"developer\", action, resource);\n{more}");
    for index in 0..count.saturating_sub(guards + 1) {
        let scope = match index {
            index if index < unscoped => {
                format!("action == Action::\"exec\", resource) when {{ resource.operandCount > {} }};", 1000 + index)
            }
            index if index % 5 < 3 => format!(
                "action == Action::\"exec\", resource in Program::\"tool-{index}\") \
                 when {{ resource.flags.contains(\"--force\") }};"
            ),
            index => format!("action in Action::\"fileChange\", resource in Path::\"/srv/data/{index}\");"),
        };
        text.push_str(&format!("@id(\"p{index}\") @reason(\"r\") forbid (principal, {scope}\n"));
    }
    let (file, groups) = palisade_policies::GROUPS;
    let vocabulary = Vocabulary::parse(file, groups, &path("/home/u")).expect("the shipped groups");
    let source = Source { name: "site.cedar".to_owned(), text: text.clone() };
    (Engine::new(Bundle::load(vec![source]).expect("valid policies"), vocabulary), text)
}

/// One request from facts to verdict: entities, conformance checks and slicing included, the inventory not.
#[divan::bench(args = [100, 1_000, 10_000])]
fn one_request(bencher: Bencher<'_, '_>, policies: usize) {
    let (engine, _) = site(policies, 0);
    let facts = facts(8);
    bencher
        .with_inputs(|| palisade_grammar::inventory(b"git status --short"))
        .bench_local_values(|inventory| engine.decide(inventory, &facts));
}

/// The same with so many policies that name no resource in their scope.
#[divan::bench(args = [0, 10, 50])]
fn one_request_unscoped(bencher: Bencher<'_, '_>, unscoped: usize) {
    let (engine, _) = site(100, unscoped);
    let facts = facts(8);
    bencher
        .with_inputs(|| palisade_grammar::inventory(b"git status --short"))
        .bench_local_values(|inventory| engine.decide(inventory, &facts));
}

/// The same, each request the first of its session: nothing of it is kept yet.
#[divan::bench]
fn one_request_first_of_its_session(bencher: Bencher<'_, '_>) {
    let (engine, _) = site(100, 0);
    let mut count = 0_u64;
    bencher
        .with_inputs(|| {
            let mut facts = facts(8);
            count += 1;
            facts.session.id = count.to_string();
            (palisade_grammar::inventory(b"git status --short"), facts)
        })
        .bench_local_values(|(inventory, facts)| engine.decide(inventory, &facts));
}

/// The same with a policy that looks at the clock and one that looks at the session's age.
#[divan::bench]
fn one_request_with_a_clock(bencher: Bencher<'_, '_>) {
    let clock = "@id(\"clock\") @reason(\"r\") forbid (principal, action == Action::\"exec\", resource in Program::\"sudo\") when \
                 { context.clock.weekday == Weekday::\"Sun\" || context.session.age > duration(\"8h\") };\n";
    let (engine, _) = site_with(clock, 100, 0);
    let facts = facts(8);
    bencher
        .with_inputs(|| palisade_grammar::inventory(b"git status --short"))
        .bench_local_values(|inventory| engine.decide(inventory, &facts));
}

/// What Cedar's own authorizer takes for one request on the whole set: no entities built, nothing checked.
#[divan::bench(args = [100, 1_000, 10_000])]
fn plain_authorizer(bencher: Bencher<'_, '_>, policies: usize) {
    let (_, text) = site(policies, 0);
    let guards = palisade_policies::GUARDS.iter().map(|(_, text)| *text);
    let all: Vec<&str> = guards.chain([text.as_str()]).collect();
    let set: PolicySet = all.join("\n").parse().expect("valid policies");
    let uid = |text: &str| text.parse::<EntityUid>().expect("an id");
    let (schema, _) = Schema::from_cedarschema_str(palisade_policies::SCHEMA).expect("the schema");
    let entity = |kind: &str, id: &str| serde_json::json!({ "__entity": { "type": kind, "id": id } });
    let plain = |kind: &str, id: &str| serde_json::json!({ "type": kind, "id": id });
    let directory =
        serde_json::json!({ "path": "/srv/app", "name": "app", "extension": "", "unknown": false, "contains": [] });
    // The request that `one_request` makes, and nothing else in the store.
    let entities = serde_json::json!([
        { "uid": plain("Agent", "agent"), "parents": [plain("Role", "developer")], "attrs": {
            "user": entity("User", "u"), "verified": true, "scopes": [], "client": "",
            "auth": entity("AuthMethod", "os-user") } },
        { "uid": plain("User", "u"), "parents": [], "attrs": {} },
        { "uid": plain("Path", "/srv/app"), "parents": [plain("Path", "/srv"), plain("Path", "/")], "attrs": directory },
        { "uid": plain("Host", "localhost"), "parents": [], "attrs": {
            "name": "localhost", "transport": entity("Transport", "local"), "loopback": true, "keyVerified": false,
            "image": "", "imagePinned": false, "privileged": false } },
        { "uid": plain("Session", "s"), "parents": [], "attrs": {
            "id": "s", "age": { "__extn": { "fn": "duration", "arg": "0ms" } }, "commands": 0, "labels": [],
            "sandboxed": true, "guarded": false, "pathsHeld": false, "shell": "bash" } },
        { "uid": plain("Clock", "now"), "parents": [], "attrs": {
            "now": { "__extn": { "fn": "datetime", "arg": "2026-11-21T12:00:00.000Z" } },
            "timeOfDay": { "__extn": { "fn": "duration", "arg": "0ms" } }, "weekday": entity("Weekday", "Mon") } },
        { "uid": plain("Command", "0"),
          "parents": [plain("Program", "git"), plain("Program", "git status"), plain("CommandGroup", "read-only")],
          "attrs": {
            "program": "git", "groups": [entity("CommandGroup", "read-only")], "path": "/usr/bin/git", "origin": entity("Origin", "system"), "text": "git status --short",
            "flags": ["--short"], "operands": [], "firstOperand": "", "lastOperand": "", "operandCount": 0,
            "envNames": [], "wrappers": [], "upstream": [], "upstreamGroups": [], "downstream": [],
            "downstreamGroups": [], "inlineCode": false, "dynamic": false, "dynamicProgram": false, "opaque": [],
            "spawned": false, "startedBy": [], "background": false, "depth": 0 } },
    ]);
    let entities = Entities::from_json_value(entities, Some(&schema)).expect("entities");
    let context = serde_json::json!({
        "approved": false, "transport": entity("Transport", "local"), "host": entity("Host", "localhost"),
        "workspace": entity("Path", "/srv/app"), "cwd": entity("Path", "/srv/app"), "session": entity("Session", "s"),
        "clock": entity("Clock", "now"), "script": { "parsed": true, "commands": 1, "dynamic": false },
    });
    let action = uid("Action::\"exec\"");
    let context = Context::from_json_value(context, Some((&schema, &action))).expect("a context");
    let request = Request::new(uid("Agent::\"agent\""), action, uid("Command::\"0\""), context, Some(&schema))
        .expect("a request");
    let response = Authorizer::new().is_authorized(&request, &set, &entities);
    assert!(response.decision() == cedar_policy::Decision::Allow && response.diagnostics().errors().next().is_none());
    bencher.bench_local(|| Authorizer::new().is_authorized(black_box(&request), &set, &entities));
}

/// Parsing and strictly validating so many policies.
#[divan::bench(args = [100, 1_000], sample_count = 10)]
fn load(bencher: Bencher<'_, '_>, policies: usize) {
    let (_, text) = site(policies, 0);
    bencher.bench_local(|| {
        let source = Source { name: "site.cedar".to_owned(), text: text.clone() };
        Bundle::load(vec![source]).expect("valid policies")
    });
}

/// Five commands and three paths, from text to verdict.
#[divan::bench]
fn five_commands_three_paths(bencher: Bencher<'_, '_>) {
    let engine = engine();
    let facts = facts(8);
    let script = b"cat a | grep b > c && git add -A && git status && cat d";
    bencher.bench(|| engine.decide(palisade_grammar::inventory(black_box(script)), &facts));
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
