//! What Cedar does that would fail open, one test for each: with a permit for everything beside the forbid under test.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use palisade_engine::{
    AbsolutePath, Auth, Bundle, Cases, Checked, Clock, Decision, Engine, Facts, Origin, Principal, Program, Session,
    Source, Transport, Vocabulary,
};

const ALL: &str = "@id(\"all\") permit (principal, action, resource);\n";

fn bundle(policies: &str) -> Result<Bundle, String> {
    let source = Source { name: "site.cedar".to_owned(), text: format!("{ALL}{policies}") };
    Bundle::load(vec![source]).map_err(|error| error.to_string())
}

/// What comes of one case, given as the body of its TOML table, under everything and `policies`.
fn checked(policies: &str, case: &str) -> Checked {
    let text = format!("[defaults]\nsandboxed = true\nguarded = true\n[[case]]\nname = 'x'\nexpect = 'allow'\n{case}");
    let cases = Cases::parse("case.toml", &text).unwrap();
    let (file, groups) = palisade_policies::GROUPS;
    let vocabulary = Vocabulary::parse(file, groups, cases.home()).unwrap();
    cases.cases().first().unwrap().check(&Engine::new(bundle(policies).unwrap(), vocabulary))
}

fn decision(policies: &str, run: &str) -> Decision {
    checked(policies, &format!("run = '''{run}'''")).report.decision
}

fn forbid(action: &str, condition: &str) -> String {
    format!("@id(\"f\") forbid (principal, action == Action::\"{action}\", resource) when {{ {condition} }};")
}

#[test]
fn what_would_fail_open_is_not_loaded() {
    for (name, policy, said) in [
        ("missing attribute", forbid("exec", "resource.nope"), "nope"),
        ("constructor on data", forbid("exec", "ip(resource.firstOperand).isLoopback()"), "constructors"),
        ("tag without test", forbid("exec", "resource.getTag(\"--x\") == [\"y\"]"), "tag"),
        ("optional without test", forbid("connect", "resource.ip.isLoopback()"), "ip"),
        ("enum typo", forbid("exec", "context.transport == Transport::\"sssh\""), "sssh"),
        ("like on a set", forbid("exec", "resource.flags like \"*\""), "Set"),
        ("in on strings", forbid("exec", "resource.program in \"git\""), "String"),
        ("unknown action", forbid("exce", "true"), "exce"),
        ("homoglyph", forbid("exec", "resource in Program::\"r\u{43c}\""), "mixed scripts"),
        ("newline", forbid("read", "resource == Path::\"/srv/a\\nb\""), "not a printable"),
        ("bidi", forbid("exec", "resource in Program::\"a\u{202e}b\""), "BIDI"),
        ("trailing slash", forbid("read", "resource in Path::\"/srv/app/\""), "can fit no file"),
        ("parent step", forbid("read", "resource in Path::\"/srv/../etc\""), "can fit no file"),
        ("impossible", forbid("exec", "false"), "impossible"),
        ("far dereference", forbid("exec", "Agent::\"x\".user in Role::\"r\""), "literal"),
        ("template", "@id(\"f\") forbid (principal == ?principal, action, resource);".to_owned(), "template"),
        ("no id", "forbid (principal, action, resource);".to_owned(), "has no `@id"),
        ("id twice", format!("{}{}", forbid("exec", "true"), forbid("exec", "true")), "already taken"),
        ("id of a guard", "@id(\"guard-opaque\") permit (principal, action, resource);".to_owned(), "already taken"),
        // All that a store has to hold follows from this: no policy can look at an entity that no request brings.
        ("in of a literal", forbid("exec", "Action::\"read\" in Action::\"fileAccess\""), "literal"),
        ("program in capitals", forbid("exec", "resource.program == \"RM\" && false"), "impossible"),
        ("700 brackets", forbid("exec", &format!("{}true{}", "(".repeat(700), ")".repeat(700))), "nest more than"),
    ] {
        let refused = bundle(&policy).unwrap_err();
        assert!(refused.to_lowercase().contains(&said.to_lowercase()), "{name}: {refused}");
    }
}

#[test]
fn a_forbid_that_errs_denies() {
    let overflow = forbid("exec", "resource.operandCount * 9223372036854775807 == 7");
    assert_eq!(decision(&overflow, "echo"), Decision::Allow);
    let denied = checked(&overflow, "run = 'echo a b'").report;
    assert_eq!(denied.decision, Decision::Deny);
    assert!(denied.requests.iter().any(|request| !request.errors.is_empty()), "{denied:?}");
    // Another forbid that holds does not hide it, and neither does an approval.
    assert_eq!(checked(&overflow, "run = 'echo a b'\napproved = true").report.decision, Decision::Deny);
}

#[test]
fn a_condition_too_deep_to_evaluate_is_not_loaded() {
    // Cedar's parser takes it, its validator too, and its evaluator gives up and skips the forbid.
    let deep = forbid("exec", &vec!["resource.depth == 0"; 10_000].join(" && "));
    assert!(bundle(&deep).unwrap_err().contains("characters of operators"));
    // On a small stack it gives up much sooner, and that denies.
    let long = forbid("exec", &vec!["resource.depth == 0"; 390].join(" && "));
    assert_eq!(decision(&long, "echo"), Decision::Deny);
}

/// An error behind a short circuit is not seen, and harms nothing: the policy holds without it.
#[test]
fn what_a_short_circuit_hides_does_not_weaken_a_forbid() {
    let forbid = forbid("exec", "resource.depth == 0 || resource.operandCount * 9223372036854775807 == 7");
    let denied = checked(&forbid, "run = 'echo a b'").report;
    assert_eq!(
        (denied.decision, denied.requests.iter().any(|asked| !asked.errors.is_empty())),
        (Decision::Deny, false)
    );
}

/// Cedar compares patterns without going exponential; the text is limited anyway.
#[test]
fn many_stars_in_a_pattern_are_compared() {
    for (last, expected) in [('b', Decision::Allow), ('a', Decision::Deny)] {
        let stars = forbid("exec", &format!("resource.text like \"{}{last}\"", "*a".repeat(200)));
        assert_eq!(decision(&stars, &format!("echo {}", "a".repeat(60_000))), expected);
    }
}

/// A rule on a directory by its path needs no twin: of what goes over a tree above it, that path is asked about as well.
#[test]
fn a_path_that_a_policy_names_is_asked_about_in_every_tree_above_it() {
    for (action, run) in [("delete", "rm -r /srv"), ("read", "grep -r a /srv"), ("delete", "mv /srv /old")] {
        let by_scope =
            format!("@id(\"f\") forbid (principal, action == Action::\"{action}\", resource in Path::\"/srv/x\");");
        let by_condition = forbid(action, "resource in Path::\"/srv/x\"");
        for policy in [by_scope, by_condition] {
            assert_eq!(decision(&policy, run), Decision::Deny, "{policy}: {run}");
            assert_eq!(decision(&policy, &run.replace("/srv", "/srv/y")), Decision::Allow, "{policy}: {run}");
        }
    }
}

#[test]
fn ancestors_hold_at_every_distance() {
    for (condition, run, expected) in [
        ("resource in Path::\"/srv\"", "cat /srv/a/b/c/d", Decision::Deny),
        ("resource in Path::\"/srv/a\"", "cat /srv/a/b/c/d", Decision::Deny),
        ("resource in Path::\"/srv/a\"", "cat /srv/ab/c", Decision::Allow),
        ("resource in Path::\"/\"", "cat /srv/a", Decision::Deny),
        ("resource == Path::\"/srv/a\"", "cat //srv/./a", Decision::Deny),
        ("context.cwd in Path::\"/srv\"", "cd /srv/a/b && cat x", Decision::Deny),
        ("context.workspace in Path::\"/home\"", "cat x", Decision::Deny),
        ("resource in PathGroup::\"secrets\"", "cat ~/.ssh/a/b/c", Decision::Deny),
        // Neither an escape nor another spelling of a letter is the file that is meant.
        ("resource == Path::\"/srv/\u{e9}\"", "cat /srv/\u{e9}", Decision::Deny),
        ("resource == Path::\"/srv/\u{e9}\"", "cat /srv/e\u{301}", Decision::Allow),
        ("resource == Path::\"/srv/a b\"", "cat \"/srv/a b\"", Decision::Deny),
        // What stands in an id is compared byte for byte, whatever it looks like.
        ("resource == Path::\"/srv/a\\\"b\"", "cat '/srv/a\"b'", Decision::Deny),
        ("resource == Path::\"/srv/a\"", "cat /srv/a/", Decision::Deny),
        ("resource in Path::\"/srv/a\"", "cat /srv/a//b/../c/", Decision::Deny),
        ("resource == Path::\"/srv/a\"", "cat /srv/A", Decision::Allow),
    ] {
        assert_eq!(decision(&forbid("read", condition), run), expected, "{condition} {run}");
    }
    for (condition, run, expected) in [
        ("resource in Host::\"example.com\"", "curl https://a.b.EXAMPLE.com./", Decision::Deny),
        ("resource in Host::\"example.com\"", "curl https://badexample.com/", Decision::Allow),
        ("resource in HostGroup::\"code-hosts\"", "curl https://github.com/", Decision::Deny),
    ] {
        assert_eq!(decision(&forbid("connect", condition), run), expected, "{condition} {run}");
    }
    for (condition, run, expected) in [
        ("resource in Program::\"git\"", "git remote add x y", Decision::Deny),
        ("resource in Program::\"git remote\"", "git remote add x y", Decision::Deny),
        ("resource in Program::\"git\"", "./git status", Decision::Allow),
        ("principal in Role::\"r\"", "echo", Decision::Allow),
        ("principal.user == User::\"user\"", "echo", Decision::Deny),
    ] {
        assert_eq!(decision(&forbid("exec", condition), run), expected, "{condition} {run}");
    }
}

/// One entity in two places of a request (resource, workspace and working directory) is one entity, with what only one of the
/// places knows of it: Cedar refuses a store that holds it twice, and whatever it refuses is denied.
#[test]
fn an_entity_that_stands_twice_is_said_once() {
    let workspace = forbid("delete", "resource == context.workspace && context.cwd == context.workspace");
    let case = "run = 'rm -r .'\nfiles = ['.env']";
    let first = checked(&workspace, case);
    let deletes: Vec<_> = first.report.requests.iter().filter(|request| request.action == "delete").collect();
    assert!(!deletes.is_empty() && deletes.iter().all(|request| request.errors.is_empty()), "{deletes:?}");
    assert!(deletes.iter().any(|request| request.determining == ["f"]), "{deletes:?}");
    let below = forbid("delete", "resource.contains.contains(PathGroup::\"secrets\") && resource == context.workspace");
    assert_eq!(checked(&below, case).report.decision, Decision::Deny);
}

#[test]
fn action_groups_hold() {
    let group = |name: &str| format!("@id(\"f\") forbid (principal, action in Action::\"{name}\", resource);");
    for (name, run, expected) in [
        ("activity", "echo", Decision::Deny),
        ("fileAccess", "cat x", Decision::Deny),
        ("fileAccess", "echo", Decision::Allow),
        ("fileChange", "cat x", Decision::Allow),
        ("fileChange", "echo > x", Decision::Deny),
        ("activity", "X=1", Decision::Deny),
        ("activity", "curl https://example.com/", Decision::Deny),
    ] {
        assert_eq!(decision(&group(name), run), expected, "{name} {run}");
    }
}

/// What is not known takes the value that forbids most: one row for each attribute.
#[test]
fn unknown_is_the_worst() {
    for (action, condition, case) in [
        ("exec", "resource.origin == Origin::\"unknown\"", "run = '$x'"),
        ("exec", "resource.dynamic", "run = 'echo \"$x\"'"),
        ("exec", "resource.dynamicProgram", "run = '$x'"),
        ("exec", "!resource.opaque.isEmpty()", "run = 'python3 x'"),
        ("exec", "resource.inlineCode", "run = \"python3 -c 'x'\""),
        ("exec", "resource.upstream.contains(Program::\"base64\")", "run = '$x | cat'"),
        ("exec", "resource.upstreamGroups.contains(CommandGroup::\"network\")", "run = '$x | cat'"),
        ("exec", "resource.downstream.contains(Program::\"nc\")", "run = 'cat a | $x'"),
        ("exec", "!context.script.parsed", "run = 'ls | | wc'"),
        ("exec", "context.script.dynamic", "run = '$x'"),
        ("exec", "context.cwd.unknown", "run = 'cd \"$x\" && ls'"),
        ("read", "resource.unknown", "run = 'cat \"$x\"'"),
        ("read", "resource.contains.contains(PathGroup::\"secrets\")", "run = 'grep -r x \"$d\"'"),
        (
            "read",
            "resource.contains.contains(PathGroup::\"secrets\")",
            "run = 'tar xf a && grep -r x src'\nfiles = ['a']",
        ),
        ("exec", "resource.downstreamGroups.contains(CommandGroup::\"network\")", "run = 'cat a | $x'"),
        ("exec", "resource.background", "run = 'ls | | wc'"),
        ("connect", "resource.name == \"\"", "run = 'curl \"$u\"'"),
        ("connect", "context.port == 0", "run = 'curl \"$u\"'"),
        ("connect", "!resource.loopback", "run = 'curl \"$u\"'"),
        ("openSession", "!resource.keyVerified", "open-session = true\ntransport = 'ssh'"),
        ("openSession", "resource.privileged", "open-session = true\ntransport = 'docker'"),
        (
            "openSession",
            "!resource.imagePinned",
            "open-session = true\ntransport = 'docker'\nhost = { image = 'x:latest' }",
        ),
        ("setEnv", "context.value like \"*$*\"", "run = 'X=\"$y\"'"),
        ("signal", "resource.interpreter", "signal = { name = 'TERM', program = 'cat' }"),
    ] {
        let report = checked(&forbid(action, condition), case).report;
        let held = report.requests.iter().any(|request| request.determining.contains(&"f".to_owned()));
        assert!(held, "{action} {condition} {case}\n{:#?}", report.requests);
    }
}

/// Two files whose names differ in such bytes would look alike in a Cedar string.
#[test]
fn text_that_is_not_utf8_is_refused_whole() {
    let (file, groups) = palisade_policies::GROUPS;
    let home = AbsolutePath::new("/home/u").unwrap();
    let engine = Engine::new(bundle("").unwrap(), Vocabulary::parse(file, groups, &home).unwrap());
    for script in [&b"cat \xff"[..], b"cat $'\\xff'", b"echo ok; cat /srv/\xc3\x28", b"cat \xed\xa0\x80"] {
        let inventory = palisade_grammar::inventory(script);
        assert!(!inventory.opaque().is_empty(), "{script:?}");
        let report = engine.rehearse(inventory, &facts(), false);
        assert_eq!(report.decision, Decision::Deny, "{report:?}");
        assert!(report.policies().contains("guard-unparsed"), "{report:?}");
        let inventory = palisade_grammar::inventory(script);
        assert_eq!(engine.rehearse(inventory, &facts(), true).decision, Decision::Deny, "no approval lifts it");
    }
}

/// A session of a verified agent that nothing is known of beyond that.
fn facts() -> Facts {
    let root = AbsolutePath::new("/srv/app").unwrap();
    let principal = Principal::os_user("agent", "user", BTreeSet::new());
    let session = Session { sandboxed: true, guarded: true, paths_held: true, ..Session::opened("s") };
    let clock = Clock { now: "2026-11-21T12:00:00.000Z".to_owned(), time_of_day_ms: 0, weekday: 0 };
    Facts::new(principal, root, session, clock)
}

/// What is kept from one script to the next never answers for other facts: each fact changed alone, there and back.
#[test]
fn what_is_kept_answers_for_nothing_else() {
    type Change = fn(&mut Facts);
    let changes: [(&str, Change); 16] = [
        ("principal == Agent::\"other\"", |facts| facts.principal.agent = "other".to_owned()),
        ("principal.user == User::\"other\"", |facts| facts.principal.user = "other".to_owned()),
        ("principal in Role::\"r\"", |facts| facts.principal.roles = BTreeSet::from(["r".to_owned()])),
        ("principal.scopes.contains(\"s\")", |facts| facts.principal.scopes = BTreeSet::from(["s".to_owned()])),
        ("principal.client == \"c\"", |facts| facts.principal.client = "c".to_owned()),
        ("principal.auth == AuthMethod::\"oauth\"", |facts| facts.principal.auth = Auth::OAuth),
        ("context.transport == Transport::\"ssh\"", |facts| facts.transport = Transport::Ssh),
        ("context.host == Host::\"a.example.com\"", |facts| facts.host = "a.example.com".to_owned()),
        ("context.host.keyVerified", |facts| facts.machine.key_verified = true),
        ("context.workspace in Path::\"/opt\"", |facts| facts.workspace = AbsolutePath::new("/opt/x").unwrap()),
        ("context.session.id == \"t\"", |facts| facts.session.id = "t".to_owned()),
        ("context.session.labels.contains(Label::\"read-secrets\")", |facts| {
            facts.session.labels = BTreeSet::from(["read-secrets".to_owned()]);
        }),
        ("!context.session.guarded", |facts| facts.session.guarded = false),
        ("!context.session.sandboxed", |facts| facts.session.sandboxed = false),
        ("context.session.commands > 5", |facts| facts.session.commands = 6),
        ("context.clock.weekday == Weekday::\"Sun\"", |facts| facts.clock.weekday = 6),
    ];
    let (file, groups) = palisade_policies::GROUPS;
    let home = AbsolutePath::new("/home/u").unwrap();
    let engine =
        |policies: &str| Engine::new(bundle(policies).unwrap(), Vocabulary::parse(file, groups, &home).unwrap());
    let decided = |engine: &Engine, facts: &Facts| {
        engine.rehearse(palisade_grammar::inventory(b"true"), facts, false).decision == Decision::Allow
    };
    let mut usual = facts();
    usual.programs.insert(palisade_grammar::CommandId(0), Program { path: None, origin: Origin::Builtin });
    let all: Vec<String> = changes.iter().map(|(condition, _)| format!("({condition})")).collect();
    let (all, moving) = all.split_at(14);
    // One set that looks at nothing that moves and keeps the session, one that does not.
    for conditions in [all.join(" || "), [all, moving].concat().join(" || ")] {
        let engine = engine(&forbid("exec", &conditions));
        assert!(decided(&engine, &usual), "{conditions}");
        for (condition, change) in changes.iter().filter(|(condition, _)| conditions.contains(condition)) {
            let mut changed = usual.clone();
            change(&mut changed);
            for _ in 0..2 {
                assert!(!decided(&engine, &changed), "{condition}");
                assert!(decided(&engine, &usual), "{condition}");
            }
        }
    }
}

/// A permit that a site writes too wide does not reach past the guards.
#[test]
fn a_wide_permit_does_not_reach_past_the_guards() {
    for run in
        ["LD_PRELOAD=x ls", "cat /etc/palisade/x", "echo > .mcp.json", "curl http://169.254.169.254/", "ls | | wc"]
    {
        assert_eq!(decision("", run), Decision::Deny, "{run}");
    }
}
