//! A yes that holds: it covers what was asked, and nothing beside it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use palisade_engine::{
    AbsolutePath, Approval, ApprovalRequest, Bundle, Channel, Clock, Engine, Facts, Given, Lasts, Origin, Principal,
    Program, Session, Source, Standing, StandingError, Unfit, Verdict, Vocabulary,
};
use palisade_grammar::{CommandId, inventory};

/// Each command and each file of these directories takes a yes.
const ASKS: &str = r#"
@id("all") permit (principal, action, resource);
@id("ask") forbid (principal, action == Action::"exec", resource) unless { context.approved };
@id("ask-write") forbid (principal, action == Action::"write", resource in Path::"/etc") unless { context.approved };
@id("ask-connect") forbid (principal, action == Action::"connect", resource) unless { context.approved };
@id("two") @quorum("2") forbid (principal, action == Action::"exec", resource in Program::"reboot") unless { context.approved };
"#;

/// The decision, the time and the call that yeses are given to here.
const GIVEN: Given<'static> = Given { id: "5f3a9c01-1", granted: "2026-11-26", call: "c" };

fn path(text: &str) -> AbsolutePath {
    AbsolutePath::new(text).unwrap()
}

fn engine(more: &str) -> Engine {
    let source = Source { name: "site.cedar".to_owned(), text: format!("{ASKS}{more}") };
    Engine::new(Bundle::load(vec![source]).unwrap(), Vocabulary::default())
}

/// Facts in which every program is an installed one and every path a file of `/etc`.
fn facts(agent: &str, session: &str, cwd: &str) -> Facts {
    let ids = || (0..16).map(CommandId);
    let program = Program { path: Some(path("/usr/bin/x")), origin: Origin::System };
    let principal = Principal::os_user(agent, "u", BTreeSet::new());
    let session = Session { sandboxed: true, guarded: true, ..Session::opened(session) };
    let clock = Clock { now: "2026-11-21T12:00:00.000Z".to_owned(), time_of_day_ms: 43_200_000, weekday: 5 };
    Facts {
        programs: ids().map(|id| (id, program.clone())).collect(),
        paths: ids().flat_map(|id| (0..4).map(move |index| ((id, index), path("/etc/motd")))).collect(),
        directories: ids().map(|id| (id, path(cwd))).collect(),
        ..Facts::new(principal, path("/srv/app"), session, clock)
    }
}

fn ask(engine: &Engine, script: &str, facts: &Facts) -> ApprovalRequest {
    match engine.decide(inventory(script.as_bytes()), facts) {
        Verdict::Ask(question) => question,
        other => panic!("{script}: {other:?}"),
    }
}

fn yes(lasts: Lasts) -> Approval {
    Approval { user: "u".to_owned(), roles: BTreeSet::new(), via: Channel::Control, lasts }
}

fn home() -> Facts {
    facts("builder", "s-1", "/srv/app")
}

#[test]
fn its_permits_cover_the_same_and_nothing_beside_it() {
    let engine = engine("");
    let rows = [
        // The script of the yes, a later script, and whether the permits cover it.
        ("deploy --to test", "deploy --to test", true),
        ("deploy --to test", "deploy   --to  'test'", true),
        ("deploy --to test", "deploy --to prod", false),
        ("deploy --to test", "deploy --to test --force", false),
        ("deploy --to test", "deploy --to test; deploy --to prod", false),
        ("deploy --to test", "deploy --to test && deploy --to test", true),
        ("deploy --to test", "sudo deploy --to test", false),
        ("deploy --to test", "A=1 deploy --to test", false),
        ("deploy --to test", "echo y | deploy --to test", false),
        ("deploy --to test", "deploy --to test | sh", false),
        ("deploy --to test; check", "check", true),
        ("echo x > /etc/motd", "echo x > /etc/motd", true),
        ("echo x > /etc/motd", "echo y > /etc/motd", false),
        (r#"deploy "a\"] || true || [\"b""#, r#"deploy "a\"] || true || [\"b""#, true),
        (r#"deploy "a\"] || true || [\"b""#, "deploy a", false),
        ("mkdir /etc/motd", "mkdir /etc/motd", true),
        ("mkdir /etc/motd", "mkdir -p /etc/motd", false),
        ("mkdir /etc/motd", "A=1 mkdir /etc/motd", false),
        ("mkdir /etc/motd", "mkdir /etc/motd; make", false),
        ("curl https://a.example/x", "curl https://a.example/x", true),
        ("curl https://a.example/x", "curl https://b.example/x", false),
    ];
    for (granted, then, covered) in rows {
        let made = engine.standing(&ask(&engine, granted, &home()), &yes(Lasts::Agent), &GIVEN);
        let mut standing = Standing::default();
        standing.add(made.unwrap_or_else(|unfit| panic!("{granted}: {unfit}")));
        // As it comes back from a file.
        let standing = Standing::parse(&standing.to_text()).unwrap();
        let question = ask(&engine, then, &home());
        assert_eq!(
            !engine.stands(&question, &standing, "c").is_empty(),
            covered,
            "{granted} / {then}\n{}",
            standing.to_text()
        );
    }
}

#[test]
fn it_holds_for_as_long_as_it_says() {
    let engine = engine("");
    for (lasts, other_session, other_agent) in
        [(Lasts::Session, false, false), (Lasts::Agent, true, false), (Lasts::Always, true, true)]
    {
        let made = engine.standing(&ask(&engine, "deploy", &home()), &yes(lasts), &GIVEN).unwrap();
        let mut standing = Standing::default();
        standing.add(made);
        for (facts, covered) in [
            (home(), true),
            (facts("builder", "s-2", "/srv/app"), other_session),
            (facts("reviewer", "s-3", "/srv/app"), other_agent),
            (facts("builder", "s-1", "/srv/other"), false),
        ] {
            let question = ask(&engine, "deploy", &facts);
            assert_eq!(!engine.stands(&question, &standing, "c").is_empty(), covered, "{lasts:?} {facts:?}");
        }
        assert!(standing.forget("5f3a9c01-1") && standing.is_empty());
        assert!(engine.stands(&ask(&engine, "deploy", &home()), &standing, "c").is_empty());
    }
}

#[test]
fn what_can_become_another_thing_is_for_one_call() {
    let engine = engine("");
    for (script, why) in [
        ("deploy $x", "known only when it runs"),
        ("$x", "not in its words"),
        ("sh x.sh", "code that is not in its words"),
        ("bash", "code that is not in its words"),
        ("python3 -c 'import x'", "code that is not in its words"),
        ("deploy; make all", "code that is not in its words"),
        ("make all", "code that is not in its words"),
        ("cp x /etc/motd", "copy what can change"),
        ("A=1 mkdir /etc/motd", "a variable is set"),
        ("git push origin main", "which remote it means"),
    ] {
        let unfit = engine.standing(&ask(&engine, script, &home()), &yes(Lasts::Always), &GIVEN);
        assert!(matches!(&unfit, Err(Unfit::Unclear { why: told, .. }) if told.contains(why)), "{script}: {unfit:?}");
    }
    let two = engine.standing(&ask(&engine, "reboot", &home()), &yes(Lasts::Session), &GIVEN);
    assert_eq!(two.err(), Some(Unfit::Quorum { people: 2 }));
}

/// A file that was made wider by hand still answers nothing but questions, and only for a person whose yes policy takes.
#[test]
fn it_lifts_nothing_that_policy_denies() {
    let never = r#"@id("never") forbid (principal, action == Action::"exec", resource in Program::"deploy");"#;
    let engine = engine(never);
    assert!(matches!(engine.decide(inventory(b"deploy"), &home()), Verdict::Deny(_)));
    let wide = r#"@yes("5f3a9c01-1") @by("u") @lasts("always") @granted("2026-11-26") @call("c") permit (principal, action, resource);"#;
    let standing = Standing::parse(wide).unwrap();
    let question = ask(&engine, "check", &home());
    assert_eq!(engine.stands(&question, &standing, "c").len(), 1);
    let each_time = self::engine(
        r#"@id("each-time") forbid (principal, action == Action::"approve", resource) when { context.lasts != Lasts::"once" };"#,
    );
    assert!(each_time.may_approve(&ask(&each_time, "check", &home()), &yes(Lasts::Once)).allowed);
    assert!(!each_time.may_approve(&ask(&each_time, "check", &home()), &yes(Lasts::Always)).allowed);
    assert!(matches!(each_time.approve(ask(&each_time, "check", &home()), &[yes(Lasts::Always)]), Verdict::Deny(_)));
}

#[test]
fn what_is_no_standing_yes_is_refused_with_its_line() {
    let good = r#"@yes("5f3a9c01-1") @by("u") @lasts("agent") @granted("2026-11-26") @call("c")"#;
    for (text, said) in [
        (format!("{good}\npermit (principal, action resource);"), "line 2: "),
        ("\n\npermit (principal, action, resource);".to_owned(), "line 3: a standing yes needs `@lasts`"),
        (
            good.replace("agent", "once") + "permit (principal, action, resource);",
            "line 1: a standing yes needs `@lasts`",
        ),
        (
            good.replace("@by(\"u\")", "") + "permit (principal, action, resource);",
            "line 1: a standing yes needs `@by`",
        ),
        (format!("{good} forbid (principal, action, resource);"), "line 1: a standing yes is a permit"),
    ] {
        let error = Standing::parse(&text).err();
        assert!(
            error.as_ref().is_some_and(|error: &StandingError| error.to_string().contains(said)),
            "{text}: {error:?}"
        );
    }
}
