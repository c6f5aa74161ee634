//! What Cedar does that would fail open, one test for each: with a permit for everything beside the forbid under test.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use palisade_engine::{AbsolutePath, Bundle, Cases, Checked, Decision, Engine, Source, Vocabulary};

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
        ("bidi", forbid("exec", "resource in Program::\"a\u{202e}b\""), "BIDI"),
        ("trailing slash", forbid("read", "resource in Path::\"/srv/app/\""), "can fit no file"),
        ("parent step", forbid("read", "resource in Path::\"/srv/../etc\""), "can fit no file"),
        ("impossible", forbid("exec", "false"), "impossible"),
        ("far dereference", forbid("exec", "Agent::\"x\".user in Role::\"r\""), "literal"),
        ("template", "@id(\"f\") forbid (principal == ?principal, action, resource);".to_owned(), "template"),
        ("no id", "forbid (principal, action, resource);".to_owned(), "has no `@id"),
        ("id twice", format!("{}{}", forbid("exec", "true"), forbid("exec", "true")), "already taken"),
        ("id of a guard", "@id(\"guard-opaque\") permit (principal, action, resource);".to_owned(), "already taken"),
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
fn a_condition_too_deep_to_evaluate_denies() {
    // The parser takes it, the validator too, and evaluation gives up.
    let deep = forbid("exec", &vec!["resource.depth == 0"; 10_000].join(" && "));
    match bundle(&deep) {
        Err(refused) => assert!(!refused.is_empty()),
        Ok(_) => assert_eq!(decision(&deep, "echo"), Decision::Deny),
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

#[test]
fn text_that_is_not_utf8_is_refused_whole() {
    let (file, groups) = palisade_policies::GROUPS;
    let home = AbsolutePath::new("/home/u").unwrap();
    let engine = Engine::new(bundle("").unwrap(), Vocabulary::parse(file, groups, &home).unwrap());
    let inventory = palisade_grammar::inventory(b"cat \xff");
    assert!(inventory.commands().is_empty() && !inventory.opaque().is_empty());
    drop(engine);
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
