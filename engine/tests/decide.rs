//! Verdicts on facts made by hand: what is missing counts as unknown, and nothing fails open.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use palisade_engine::{
    AbsolutePath, Approval, Auth, Bundle, Channel, Clock, Decision, Engine, Facts, FileAction, Lasts, Origin,
    Principal, Program, Session, SessionShell, Source, Transport, Verdict, Vocabulary,
};
use palisade_grammar::{CommandId, inventory};

/// Permits everything that the guards do not forbid.
const ALL: &str = "@id(\"all\") permit (principal, action, resource);";

fn path(text: &str) -> AbsolutePath {
    AbsolutePath::new(text).unwrap()
}

fn vocabulary() -> Vocabulary {
    let (file, text) = palisade_policies::GROUPS;
    Vocabulary::parse(file, text, &path("/home/u")).unwrap()
}

fn developer() -> Engine {
    Engine::new(Bundle::profile("developer").unwrap(), vocabulary())
}

fn site(text: &str) -> Engine {
    let source = Source { name: "site.cedar".to_owned(), text: text.to_owned() };
    Engine::new(Bundle::load(vec![source]).unwrap(), vocabulary())
}

/// Facts in which every program is the installed one and every path a file of the workspace.
fn facts() -> Facts {
    let ids = || (0..16).map(CommandId);
    let program = Program { path: Some(path("/usr/bin/x")), origin: Origin::System };
    let principal = Principal::os_user("agent", "u", BTreeSet::from(["developer".to_owned()]));
    let session = Session { sandboxed: true, guarded: true, ..Session::opened("s-1") };
    let clock = Clock { now: "2026-11-21T12:00:00.000Z".to_owned(), time_of_day_ms: 43_200_000, weekday: 5 };
    Facts {
        programs: ids().map(|id| (id, program.clone())).collect(),
        paths: ids().flat_map(|id| (0..4).map(move |index| ((id, index), path("/srv/app/file")))).collect(),
        directories: ids().map(|id| (id, path("/srv/app"))).collect(),
        ..Facts::new(principal, path("/srv/app"), session, clock)
    }
}

fn decide(engine: &Engine, script: &str, facts: &Facts) -> Verdict {
    engine.decide(inventory(script.as_bytes()), facts)
}

fn decision(engine: &Engine, script: &str, facts: &Facts) -> Decision {
    decide(engine, script, facts).report().decision
}

#[test]
fn a_script_is_allowed_only_if_every_request_is() {
    let (engine, facts) = (developer(), facts());
    for (script, expected) in [
        ("git status", Decision::Allow),
        ("git status; git push", Decision::Ask),
        ("git status; git push; sudo ls", Decision::Deny),
        ("ls (", Decision::Deny),
        ("", Decision::Deny),
        ("  \n", Decision::Deny),
        ("# nothing", Decision::Deny),
        // No command stands in these.
        ("[[ -f x ]]", Decision::Allow),
        ("((1))", Decision::Allow),
        ("[[ -f x && -n $y ]] || [[ a == b ]]", Decision::Allow),
        ("[[ -f x ]]; sudo ls", Decision::Deny),
        ("[[ $(sudo ls) ]]", Decision::Deny),
    ] {
        assert_eq!(decision(&engine, script, &facts), expected, "{script}");
    }
}

#[test]
fn a_script_that_asks_too_much_is_denied_at_once() {
    let engine = site(ALL);
    assert_eq!(decision(&engine, &"true;".repeat(500), &facts()), Decision::Ask);
    let verdict = decide(&engine, &"true;".repeat(1001), &facts());
    let report = verdict.report();
    assert_eq!((report.decision, report.requests.len()), (Decision::Deny, 0));
    assert!(report.reasons.first().unwrap().reason.contains("1001 questions"), "{:?}", report.reasons);
    assert_eq!(engine.rehearse(inventory("true;".repeat(1001).as_bytes()), &facts(), true).decision, Decision::Deny);
}

#[test]
fn a_policy_that_errs_denies() {
    // The strict validator lets an overflow pass, and Cedar skips the forbid at run time.
    let overflow = "@id(\"overflow\") forbid (principal, action == Action::\"exec\", resource) \
                    when { 9223372036854775807 + resource.operandCount == 0 };";
    let engine = site(&format!("{ALL}\n{overflow}"));
    assert_eq!(decision(&engine, "echo", &facts()), Decision::Allow);
    let verdict = decide(&engine, "echo one", &facts());
    let request = verdict.report().requests.first().unwrap();
    assert_eq!((request.decision, request.errors.len()), (Decision::Deny, 1), "{request:?}");
    assert!(request.determining.is_empty());
    // An approval does not help what cannot be decided.
    assert_eq!(engine.rehearse(inventory(b"echo one"), &facts(), true).decision, Decision::Deny);
}

#[test]
fn facts_that_do_not_conform_deny() {
    let engine = site(ALL);
    let mut odd = facts();
    odd.session.labels.insert("no-such-label".to_owned());
    assert_eq!(decision(&engine, "echo", &odd), Decision::Deny);
    let mut odd = facts();
    odd.clock.now = "yesterday".to_owned();
    assert_eq!(decision(&engine, "echo", &odd), Decision::Deny);
    let mut odd = facts();
    odd.clock.weekday = 7;
    assert_eq!(decision(&engine, "echo", &odd), Decision::Deny);
}

#[test]
fn what_is_missing_is_unknown() {
    let engine = developer();
    let mut unknown_program = facts();
    unknown_program.programs.clear();
    assert_eq!(decision(&engine, "git status", &unknown_program), Decision::Ask);
    let mut unknown_path = facts();
    unknown_path.paths.clear();
    assert_eq!(decision(&engine, "cat file", &unknown_path), Decision::Ask);
    let mut unknown_directory = facts();
    unknown_directory.directories.clear();
    // In a sandbox the kernel says where `make` gets to; elsewhere an unknown directory is not the workspace.
    assert_eq!(decision(&engine, "make", &unknown_directory), Decision::Allow);
    unknown_directory.transport = Transport::Ssh;
    unknown_directory.session.sandboxed = false;
    assert_eq!(decision(&engine, "make", &unknown_directory), Decision::Deny);
    // Where nobody can be asked, each is a no.
    for facts in [&unknown_program, &unknown_path] {
        let verdict = decide(&site(ALL), "cat file", facts);
        let policies: Vec<&str> = verdict.report().reasons.iter().map(|reason| reason.policy.as_str()).collect();
        assert!(policies == ["guard-unknown-binary"] || policies == ["guard-unknown-path"], "{policies:?}");
    }
}

#[test]
fn a_peer_that_is_not_known_is_not_covered_by_a_wide_permit() {
    let engine = site(ALL);
    assert_eq!(decision(&engine, "curl https://example.com/", &facts()), Decision::Allow);
    for script in ["curl \"$u\"", "curl http://1.2.3.4.5/"] {
        assert_ne!(decision(&engine, script, &facts()), Decision::Allow, "{script}");
    }
    for script in ["curl http://169.254.169.254/", "curl http://0xa9fea9fe/", "curl 'http://[::ffff:169.254.169.254]/'"]
    {
        assert_eq!(decision(&engine, script, &facts()), Decision::Deny, "{script}");
    }
}

#[test]
fn only_a_trusted_program_is_what_its_name_says() {
    let engine = developer();
    for (origin, expected) in [
        (Origin::System, Decision::Allow),
        (Origin::Toolchain, Decision::Allow),
        // A file of the workspace is run as what it is: a program of the workspace's own.
        (Origin::Workspace, Decision::Allow),
        (Origin::Temp, Decision::Allow),
        (Origin::Unknown, Decision::Ask),
    ] {
        let mut facts = facts();
        facts.programs.insert(CommandId(0), Program { path: None, origin });
        let verdict = decide(&engine, "git status", &facts);
        assert_eq!(verdict.report().decision, expected, "{origin:?}");
        let by_name = verdict
            .report()
            .requests
            .iter()
            .any(|request| request.determining.contains(&"dev-read-only-commands".to_owned()));
        assert_eq!(by_name, origin.is_trusted(), "{origin:?}");
    }
}

#[test]
fn a_tree_asks_for_what_lies_below_it() {
    let engine = site(&format!(
        "{ALL}\n@id(\"no-vault\") forbid (principal, action == Action::\"read\", resource == Path::\"/srv/app/vault\");\n\
         @id(\"nothing-below\") forbid (principal, action == Action::\"read\", resource) \
         when {{ resource.contains.contains(PathGroup::\"secrets\") }};"
    ));
    let mut whole = facts();
    // The resource is the workspace itself, which stands in every request's context too.
    whole.paths = BTreeMap::from([((CommandId(0), 0), path("/srv/app"))]);
    let verdict = decide(&engine, "grep -r x .", &whole);
    let policies: Vec<&str> = verdict.report().reasons.iter().map(|reason| reason.policy.as_str()).collect();
    assert!(policies.contains(&"no-vault") && policies.contains(&"nothing-below"), "{policies:?}");
    assert_eq!(decision(&engine, "cat x", &whole), Decision::Allow);
}

#[test]
fn a_grant_is_for_one_session_and_holds_the_judged_text() {
    let Verdict::Allow(grant) = decide(&developer(), "git status", &facts()) else { panic!("not allowed") };
    assert_eq!(grant.session(), "s-1");
    assert_eq!(grant.spend(), b"git status");
}

#[test]
fn a_persons_yes_is_itself_authorised() {
    let engine = developer();
    let ask = || match decide(&engine, "git push", &facts()) {
        Verdict::Ask(question) => question,
        other => panic!("{other:?}"),
    };
    let approval = |user: &str| Approval {
        user: user.to_owned(),
        roles: BTreeSet::new(),
        via: Channel::Terminal,
        lasts: Lasts::Once,
    };
    assert!(matches!(engine.approve(ask(), &[approval("u")]), Verdict::Allow(_)));
    // Policy lets only the person approve that the agent works for.
    assert!(matches!(engine.approve(ask(), &[approval("somebody-else")]), Verdict::Deny(_)));
}

#[test]
fn a_quorum_is_of_different_people_all_of_whom_may() {
    let policies = |quorum: &str| {
        format!(
            "@id(\"all\") permit (principal, action, resource);
             @id(\"ask\") @quorum(\"{quorum}\") forbid (principal, action == Action::\"exec\", resource in Program::\"git push\")
             unless {{ context.approved }};
             @id(\"not-mallory\") forbid (principal == User::\"mallory\", action == Action::\"approve\", resource);"
        )
    };
    let load = |text: String| Bundle::load(vec![Source { name: "site.cedar".to_owned(), text }]);
    let engine = Engine::new(load(policies("2")).unwrap(), Vocabulary::default());
    let ask = || match decide(&engine, "git push origin main", &facts()) {
        Verdict::Ask(question) => question,
        other => panic!("{other:?}"),
    };
    assert_eq!(ask().report().quorum(), 2);
    for (people, allowed) in [
        (&[][..], false),
        (&["u"][..], false),
        (&["u", "u"][..], false),
        (&["u", "v"][..], true),
        (&["u", "mallory"][..], false),
        (&["u", "v", "mallory"][..], false),
    ] {
        let people: Vec<Approval> = people
            .iter()
            .map(|user| Approval {
                user: (*user).to_owned(),
                roles: BTreeSet::new(),
                via: Channel::Terminal,
                lasts: Lasts::Once,
            })
            .collect();
        assert_eq!(matches!(engine.approve(ask(), &people), Verdict::Allow(_)), allowed, "{people:?}");
    }
    for wrong in ["", "0", "-1", "two", "+2", "02", "2.0", "21", "99999999999999999999"] {
        let error = load(policies(wrong)).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains("which is not a number of people"), "{wrong:?}: {error}");
    }
}

#[test]
fn a_permit_may_demand_a_checkpoint() {
    let load = |text: &str| Bundle::load(vec![Source { name: "site.cedar".to_owned(), text: text.to_owned() }]);
    let rest = "@id(\"all\") permit (principal, action, resource)
                unless { action in [Action::\"exec\", Action::\"write\", Action::\"delete\", Action::\"fileChange\"] };";
    let marked = "@id(\"git\") @checkpoint(\"before\") permit (principal, action == Action::\"exec\", resource in Program::\"git\");
                  @id(\"other\") permit (principal, action == Action::\"exec\", resource) unless { resource in Program::\"git\" };
                  @id(\"changes\") permit (principal, action in Action::\"fileChange\", resource);";
    let engine = Engine::new(load(&format!("{rest}{marked}")).unwrap(), Vocabulary::default());
    assert!(engine.demands_checkpoints() && !developer().demands_checkpoints());
    for (script, demands) in
        [("ls", &[][..]), ("git status", &["git"]), ("ls; git status | cat", &["git"]), ("echo > x", &[])]
    {
        let verdict = decide(&engine, script, &facts());
        assert!(matches!(verdict, Verdict::Allow(_)), "{script}: {:?}", verdict.report().reasons);
        assert_eq!(verdict.report().checkpoint, demands, "{script}");
    }
    // At a target, too.
    let mut elsewhere = facts();
    elsewhere.transport = Transport::Ssh;
    let verdict = decide(&engine, "git status", &elsewhere);
    assert!(matches!(verdict, Verdict::Allow(_)), "{:?}", verdict.report());
    assert_eq!(verdict.report().checkpoint, ["git"]);
    let again = engine.ask_again(verdict.report().asked.as_ref().unwrap(), Some(&engine.path_groups()));
    assert_eq!(again.decision, Some(Decision::Allow), "{again:?}");
    // A permit for changes demands one before whatever may make some.
    let marked = "@id(\"runs\") permit (principal, action == Action::\"exec\", resource);
                  @id(\"changes\") @checkpoint(\"before\") permit (principal, action in Action::\"fileChange\", resource);";
    let engine = Engine::new(load(&format!("{rest}{marked}")).unwrap(), Vocabulary::default());
    for (script, demands) in [("ls -la", false), ("echo x", false), ("make", true), ("echo > x", true), ("$x", true)] {
        let verdict = decide(&engine, script, &facts());
        assert_eq!(verdict.report().checkpoint, if demands { &["changes"][..] } else { &[] }, "{script}");
    }
    let wrong = [
        (
            "@checkpoint(\"after\") permit (principal, action == Action::\"exec\", resource);",
            "what there is is `before`",
        ),
        ("@checkpoint(\"before\") permit (principal, action, resource);", "is no permit for"),
        ("@checkpoint(\"before\") permit (principal, action == Action::\"sendInput\", resource);", "is no permit for"),
        ("@checkpoint(\"before\") forbid (principal, action == Action::\"exec\", resource);", "is no permit for"),
    ];
    for (text, told) in wrong {
        let error = load(&format!("{rest}@id(\"x\") {text}")).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains(told), "{text}: {error}");
    }
}

#[test]
fn what_may_change_the_workspace_is_all_that_is_not_known_to_leave_it_alone() {
    let engine = site("@id(\"all\") permit (principal, action, resource);");
    for (script, may) in [
        ("ls -la; cat x | grep y", false),
        ("git status", false),
        ("cd sub && pwd; export A=1", false),
        ("echo x > file", true),
        ("rm file", true),
        ("git commit -m x", true),
        ("make", true),
        ("no-table-for-this", true),
        ("$x", true),
        ("ls $(cat x)", false),
        ("source x", true),
        ("python3 -c 'print(1)'", false),
        ("python3 -c 'open(\"x\", \"w\")'", true),
        ("f() { rm x; }; f", true),
    ] {
        let person =
            Approval { user: "u".to_owned(), roles: BTreeSet::new(), via: Channel::Terminal, lasts: Lasts::Once };
        let verdict = match decide(&engine, script, &facts()) {
            Verdict::Ask(question) => engine.approve(question, &[person]),
            other => other,
        };
        let Verdict::Allow(grant) = verdict else { panic!("{script}: {:?}", verdict.report().reasons) };
        assert_eq!(grant.may_change_workspace(), may, "{script}");
    }
    let mut others = facts();
    others.programs.insert(CommandId(0), Program { path: Some(path("/srv/app/ls")), origin: Origin::Workspace });
    others.paths.insert((CommandId(0), 0), path("/dev/null"));
    for (script, may) in [("./ls", true), ("echo x > /dev/null", false)] {
        let Verdict::Allow(grant) = decide(&engine, script, &others) else { panic!("{script}") };
        assert_eq!(grant.may_change_workspace(), may, "{script}");
    }
}

#[test]
fn kernel_rules_come_from_the_same_policies() {
    let (engine, facts) = (developer(), facts());
    for (action, file, expected) in [
        (FileAction::Write, "/srv/app/x", true),
        (FileAction::Delete, "/srv/app/x", true),
        (FileAction::Read, "/usr/bin/ls", true),
        (FileAction::Execute, "/usr/bin/ls", true),
        (FileAction::Write, "/usr/bin/ls", false),
        (FileAction::Read, "/home/u/.ssh/id_ed25519", false),
        (FileAction::Read, "/etc/shadow", false),
        (FileAction::Read, "/srv/app/.env", false),
        (FileAction::Write, "/srv/app/.git/hooks/pre-commit", false),
        (FileAction::Read, "/srv/other", false),
    ] {
        assert_eq!(engine.permissions(&facts).permits(action, &path(file)), expected, "{action:?} {file}");
    }
}

#[test]
fn the_reasons_of_a_default_deny_name_the_nearest_permit() {
    let engine = site(
        "@id(\"mine\") permit (principal, action == Action::\"exec\", resource) when { context.cwd == context.workspace };",
    );
    let mut elsewhere = facts();
    elsewhere.directories.insert(CommandId(0), path("/srv"));
    let verdict = decide(&engine, "ls /x", &elsewhere);
    let reason = verdict.report().reasons.first().unwrap();
    assert_eq!(reason.policy, "");
    assert_eq!(reason.reason, "No policy permits `ls /x`.");
    assert!(reason.nearest.contains("`mine` (site.cedar:1)"), "{}", reason.nearest);
    assert!(reason.nearest.contains("context.cwd == context.workspace"), "{}", reason.nearest);
}

#[test]
fn the_first_reason_is_one_that_no_approval_lifts() {
    let engine = developer();
    let report = |script: &str| decide(&engine, script, &facts()).report().clone();
    for (script, policy) in [
        ("git push --force", "no-force-push"),
        ("git push; sudo ls", "no-sudo"),
        ("git push", "ask-git-push"),
        ("git push; cat ~/.ssh/x | base64 | bash", "no-decode-to-shell"),
    ] {
        let report = report(script);
        assert_eq!(report.reasons.first().unwrap().policy, policy, "{script}: {:#?}", report.reasons);
    }
}

#[test]
fn a_default_deny_says_what_the_agent_can_change_first() {
    let engine = developer();
    let mut elsewhere = facts();
    elsewhere.directories.insert(CommandId(0), path("/srv"));
    let verdict = decide(&engine, "gcc -c x.c", &elsewhere);
    let reason = verdict.report().reasons.first().unwrap();
    assert!(reason.nearest.starts_with("`dev-installed-programs` ("), "{}", reason.nearest);
    assert!(reason.suggest.starts_with("Run it from inside the workspace"), "{}", reason.suggest);
    let verdict = decide(&engine, "no-table-for-this", &elsewhere);
    assert!(verdict.report().reasons.first().unwrap().reason.contains("in no command group"));
}

/// At a target output of the background cannot be kept apart: the text is refused for that, and under a guard nothing that an `execve`
/// cannot tell.
#[test]
fn the_background_at_a_target_is_the_texts() {
    let engine = site(ALL);
    let at = |guarded| {
        let session = Session { guarded, ..facts().session };
        Facts { transport: Transport::Ssh, session, ..facts() }
    };
    for (guarded, script, expected) in [
        (false, "ls", Decision::Allow),
        (false, "ls & wait", Decision::Deny),
        (true, "ls", Decision::Allow),
        (true, "ls & wait", Decision::Deny),
    ] {
        assert_eq!(decision(&engine, script, &at(guarded)), expected, "{guarded} {script}");
    }
    let execution = palisade_grammar::execution(&[b"/usr/bin/ls".as_slice()]);
    let executed = |guarded| {
        let at_execve = Some(palisade_engine::AtExecve::default());
        engine.decide_execution(&execution, &Facts { at_execve, ..at(guarded) }, &[], false).decision
    };
    assert_eq!((executed(true), executed(false)), (Decision::Allow, Decision::Deny));
}

/// Makes one fact another.
type Change = fn(&mut Facts);

/// Each policy looks at one fact and forbids what `change` makes of it, after the same was allowed and its answer kept.
#[test]
fn an_answer_that_is_kept_holds_on_the_same_facts_alone() {
    let rows: &[(&str, Change)] = &[
        ("principal == Agent::\"agent\"", |facts| facts.principal.agent = "other".to_owned()),
        ("principal.user == User::\"u\"", |facts| facts.principal.user = "v".to_owned()),
        ("principal in Role::\"developer\"", |facts| facts.principal.roles.clear()),
        ("principal.verified", |facts| facts.principal.verified = false),
        ("principal.auth == AuthMethod::\"os-user\"", |facts| facts.principal.auth = Auth::None),
        ("!principal.scopes.contains(\"s\")", |facts| _ = facts.principal.scopes.insert("s".to_owned())),
        ("principal.client == \"\"", |facts| facts.principal.client = "c".to_owned()),
        ("context.transport == Transport::\"local\"", |facts| facts.transport = Transport::Ssh),
        ("context.host == Host::\"localhost\"", |facts| facts.host = "build".to_owned()),
        ("context.host.image == \"\"", |facts| facts.machine.image = "i".to_owned()),
        ("!context.host.keyVerified", |facts| facts.machine.key_verified = true),
        ("context.workspace == Path::\"/srv/app\"", |facts| facts.workspace = path("/srv/other")),
        ("context.cwd == Path::\"/srv/app\"", |facts| facts.directories = [(CommandId(0), path("/srv"))].into()),
        ("context.session == Session::\"s-1\"", |facts| facts.session.id = "s-2".to_owned()),
        ("!context.session.labels.contains(Label::\"used-network\")", |facts| {
            _ = facts.session.labels.insert("used-network".to_owned())
        }),
        ("context.session.sandboxed", |facts| facts.session.sandboxed = false),
        ("context.session.guarded", |facts| facts.session.guarded = false),
        ("!context.session.pathsHeld", |facts| facts.session.paths_held = true),
        ("context.session.shell == \"bash\"", |facts| facts.session.shell = SessionShell::Sh),
        ("context.session.commands == 0", |facts| facts.session.commands = 1),
        ("context.session.age == duration(\"0ms\")", |facts| facts.session.age_ms = 1),
        ("context.clock.weekday == Weekday::\"Sat\"", |facts| facts.clock.weekday = 6),
        ("context.clock.timeOfDay == duration(\"12h\")", |facts| facts.clock.time_of_day_ms = 0),
    ];
    let on_commands = [
        (
            "resource.path == \"/usr/bin/x\"",
            (|facts| program_at(facts, "/usr/bin/y", Origin::System)) as fn(&mut Facts),
        ),
        ("resource.origin == Origin::\"system\"", |facts| program_at(facts, "/usr/bin/x", Origin::Toolchain)),
        ("!resource.spawned", |facts| facts.started_by = Some(BTreeSet::new())),
    ];
    let rules = rows.iter().map(|(condition, change)| ("", *condition, *change));
    let all = rules.chain(on_commands.map(|(condition, change)| (" == Action::\"exec\"", condition, change)));
    for (action, condition, change) in all {
        let rule = format!(
            "{ALL} @id(\"one\") forbid (principal is Agent, action{action}, resource) unless {{ {condition} }};"
        );
        let engine = site(&rule);
        let mut changed = facts();
        change(&mut changed);
        for _ in 0..2 {
            assert_eq!(decision(&engine, "echo x", &facts()), Decision::Allow, "{condition}");
            let (kept, fresh) = (decide(&engine, "echo x", &changed), decide(&site(&rule), "echo x", &changed));
            assert_eq!((kept.report().decision, kept.report()), (Decision::Deny, fresh.report()), "{condition}");
        }
        if action.is_empty() && !condition.contains("cwd") {
            assert!(engine.permits_tool(&facts(), "exec"), "{condition}");
            assert!(!engine.permits_tool(&changed, "exec"), "{condition}");
        }
    }
}

fn program_at(facts: &mut Facts, place: &str, origin: Origin) {
    facts.programs.insert(CommandId(0), Program { path: Some(path(place)), origin });
}

/// What was asked is told as it was asked, and where: nothing of that is an older script's.
#[test]
fn a_kept_answer_is_told_like_a_new_one() {
    let engine = developer();
    let mut facts = facts();
    for script in ["git status", "  git status", "git  status", "git status; ls", "ls; git status", "cat file"] {
        for commands in 0..3 {
            facts.session.commands = commands;
            let (kept, fresh) = (decide(&engine, script, &facts), decide(&developer(), script, &facts));
            assert_eq!((kept.report().decision, kept.report()), (Decision::Allow, fresh.report()), "{script}");
        }
    }
    facts.clock.now = "yesterday".to_owned();
    assert_eq!(decision(&engine, "git status", &facts), Decision::Deny);
    assert!(!engine.permits_tool(&facts, "exec"));
}
