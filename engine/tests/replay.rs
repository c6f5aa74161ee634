//! What was asked is asked again: the same policies answer the same, others show exactly what they change, and what is
//! missing is never guessed.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use palisade_engine::{
    AbsolutePath, Again, Approval, Bundle, Cases, Channel, Clock, Decision, Engine, Facts, Field, Groups, Lasts,
    Origin, Principal, Program, ReplayInput, Report, Session, Source, Verdict, Vocabulary,
};
use palisade_grammar::{CommandId, inventory};

const ALL: &str = "@id(\"all\") permit (principal, action, resource);";

fn path(text: &str) -> AbsolutePath {
    AbsolutePath::new(text).unwrap()
}

/// An engine for these policies, with these patterns added to path groups.
fn site(policies: &str, groups: &[(&str, &str)]) -> Engine {
    let source = Source { name: "site.cedar".to_owned(), text: policies.to_owned() };
    let (file, text) = palisade_policies::GROUPS;
    let mut vocabulary = Vocabulary::parse(file, text, &path("/home/u")).unwrap();
    for (group, pattern) in groups {
        vocabulary.add(group, pattern, &path("/home/u")).unwrap();
    }
    Engine::new(Bundle::load(vec![source]).unwrap(), vocabulary)
}

/// A local session that stands in `/srv/app/sub`, every program the installed one, every effect on `target`.
fn facts(target: &str) -> Facts {
    let ids = || (0..16).map(CommandId);
    let program = Program { path: Some(path("/usr/bin/x")), origin: Origin::System };
    let principal = Principal::os_user("agent", "u", BTreeSet::from(["developer".to_owned()]));
    let session = Session { sandboxed: true, guarded: true, paths_held: true, ..Session::opened("s-1") };
    let clock = Clock { now: "2026-11-21T12:00:00.000Z".to_owned(), time_of_day_ms: 43_200_000, weekday: 5 };
    let effects = || ids().flat_map(|id| (0..4).map(move |index| (id, index)));
    Facts {
        cwd: path("/srv/app/sub"),
        programs: ids().map(|id| (id, program.clone())).collect(),
        paths: effects().map(|at| (at, path(target))).collect(),
        below: effects().map(|at| (at, BTreeSet::new())).collect(),
        directories: ids().map(|id| (id, path("/srv/app/sub"))).collect(),
        ..Facts::new(principal, path("/srv/app"), session, clock)
    }
}

fn report(engine: &Engine, script: &str, facts: &Facts) -> Report {
    engine.decide(inventory(script.as_bytes()), facts).report().clone()
}

fn asked(engine: &Engine, script: &str, facts: &Facts) -> (ReplayInput<String>, Groups) {
    let asked = *report(engine, script, facts).asked.unwrap();
    // As it comes back from a record.
    let text = serde_json::to_string(&asked).unwrap();
    let back: ReplayInput<String> = serde_json::from_str(&text).unwrap();
    assert_eq!(back, asked, "{text}");
    (back, engine.path_groups())
}

fn determining(report: &Report) -> BTreeSet<String> {
    report.requests.iter().flat_map(|request| request.determining.iter().cloned()).collect()
}

fn answer(again: &Again) -> (Option<Decision>, Vec<String>) {
    (again.decision, again.policies().into_iter().collect())
}

#[test]
fn every_case_is_decided_again_as_it_was() {
    let (mut scripts, mut with_a_yes) = (0, 0);
    for (file, text) in palisade_policies::CASES {
        let cases = Cases::parse(file, text).unwrap_or_else(|error| panic!("{error}"));
        let bundle = match cases.profile().unwrap() {
            "guards" => Bundle::behind_guards().unwrap(),
            profile => Bundle::profile(profile).unwrap(),
        };
        let (groups, text) = palisade_policies::GROUPS;
        let engine = Engine::new(bundle, Vocabulary::parse(groups, text, cases.home()).unwrap());
        for case in cases.cases() {
            let Some((report, again)) = case.judged_and_asked_again(&engine) else { continue };
            let name = format!("{file}: {}: {}", case.name(), case.text());
            assert_eq!(again.left_out, [], "{name}");
            assert_eq!(again.decision, Some(report.decision), "{name}");
            assert_eq!(again.determining(), determining(&report), "{name}");
            let answers = |requests: &[palisade_engine::Judged]| -> Vec<_> {
                let answer = |judged: &palisade_engine::Judged| {
                    (judged.action, judged.resource.clone(), judged.decision, judged.determining.clone())
                };
                requests.iter().map(answer).collect()
            };
            assert_eq!(answers(&again.requests), answers(&report.requests), "{name}");
            let text = serde_json::to_string(&report.asked).unwrap();
            assert_eq!(
                serde_json::from_str::<Option<Box<ReplayInput<String>>>>(&text).unwrap(),
                report.asked,
                "{name}"
            );
            scripts += 1;
            with_a_yes += usize::from(report.asked.is_some_and(|asked| !asked.approvers.is_empty()));
        }
    }
    assert!(scripts > 250 && with_a_yes > 5, "{scripts} scripts, {with_a_yes} of them with a yes");
}

#[test]
fn other_policies_change_what_they_are_about() {
    let (then, facts) = (site(ALL, &[]), facts("/srv/app/sub/x"));
    let forbid = |scope: &str| format!("{ALL}@id(\"f\") forbid ({scope});");
    let scripts = ["cat x", "rm x", "A=1 make", "curl https://a.example.com/", "git log; true"];
    for (policies, changed) in [
        (ALL.to_owned(), vec![]),
        (forbid("principal, action == Action::\"delete\", resource"), vec!["rm x"]),
        (forbid("principal, action == Action::\"setEnv\", resource"), vec!["A=1 make"]),
        (forbid("principal, action, resource in Host::\"example.com\""), vec!["curl https://a.example.com/"]),
        (forbid("principal, action, resource in Program::\"git log\""), vec!["git log; true"]),
        (forbid("principal, action == Action::\"read\", resource in Path::\"/srv/app/sub\""), vec!["cat x"]),
        (
            format!(
                "{ALL}@id(\"f\") forbid (principal, action == Action::\"exec\", resource) when {{ context.script.commands > 1 }};",
            ),
            vec!["git log; true"],
        ),
    ] {
        let now = site(&policies, &[]);
        for script in scripts {
            let (asked, groups) = asked(&then, script, &facts);
            let expected = if changed.contains(&script) { (Decision::Deny, "f") } else { (Decision::Allow, "all") };
            let (decision, policies) = answer(&now.ask_again(&asked, Some(&groups)));
            assert_eq!((decision, policies), (Some(expected.0), vec![expected.1.to_owned()]), "{script}: {changed:?}");
            assert_eq!(report(&now, script, &facts).decision, expected.0, "{script}: {changed:?}");
        }
    }
}

#[test]
fn a_changed_group_changes_what_is_in_it() {
    let policies = format!(
        "{ALL}@id(\"f\") forbid (principal, action, resource) when {{ resource in PathGroup::\"vault\" || \
         resource in HostGroup::\"bad\" }};"
    );
    let (then, now) = (site(&policies, &[("vault", "/srv/old")]), site(&policies, &[("vault", "/srv/new")]));
    for (target, before, after) in [
        ("/srv/old/x", Decision::Deny, Decision::Allow),
        ("/srv/new/x", Decision::Allow, Decision::Deny),
        ("/srv/app/x", Decision::Allow, Decision::Allow),
    ] {
        let facts = facts(target);
        let (asked, groups) = asked(&then, "cat x", &facts);
        assert_eq!(then.ask_again(&asked, Some(&groups)).decision, Some(before), "{target}");
        assert_eq!(now.ask_again(&asked, Some(&groups)).decision, Some(after), "{target}");
    }
}

/// What lay below a tree was looked up for the groups of the time: where it matters which they are now, nobody knows.
#[test]
fn what_lies_below_a_tree_is_not_guessed_for_a_changed_group() {
    let policies = format!(
        "{ALL}@id(\"f\") forbid (principal, action == Action::\"delete\", resource is Path) when \
         {{ resource.contains.contains(PathGroup::\"vault\") }};"
    );
    let then = site(&policies, &[("vault", "**/old"), ("nother", "**/o")]);
    let (asked, groups) = asked(&then, "rm -r x", &facts("/srv/app/sub/x"));
    for (now, decision) in [
        ([("vault", "**/old"), ("nother", "**/o")], Some(Decision::Allow)),
        // Whatever it has below, no policy looks at it.
        ([("vault", "**/old"), ("nother", "**/changed")], Some(Decision::Allow)),
        ([("vault", "**/new"), ("nother", "**/o")], None),
        // Nothing of it can be below.
        ([("vault", "/etc/new"), ("nother", "**/o")], Some(Decision::Allow)),
    ] {
        let again = site(&policies, &now).ask_again(&asked, Some(&groups));
        assert_eq!((again.decision, again.left_out.len()), (decision, usize::from(decision.is_none())), "{now:?}");
    }
    let again = then.ask_again(&asked, None);
    assert_eq!(again.decision, None, "without the groups of the time: {again:?}");
    assert!(again.left_out.iter().all(|left_out| left_out.about == "delete /srv/app/sub/x"), "{again:?}");
}

/// A path that a policy names is asked about wherever it lies below a tree, whichever policy names it.
#[test]
fn what_policies_name_below_a_tree_is_theirs() {
    let (then, facts) = (site(ALL, &[]), facts("/srv/app/sub/x"));
    let (asked, groups) = asked(&then, "rm -r x", &facts);
    let forbid = "@id(\"f\") forbid (principal, action, resource == Path::\"/srv/app/sub/x/deep/vault\");";
    let again = site(&format!("{ALL}{forbid}"), &[]).ask_again(&asked, Some(&groups));
    assert_eq!(answer(&again), (Some(Decision::Deny), vec!["f".to_owned()]));
}

#[test]
fn a_yes_lifts_what_it_lifted() {
    let ask = "@id(\"ask\") forbid (principal, action == Action::\"delete\", resource) unless { context.approved };
               @id(\"who\") forbid (principal, action == Action::\"approve\", resource) unless { principal in Role::\"boss\" };";
    let engine = site(&format!("{ALL}{ask}"), &[]);
    let facts = facts("/srv/app/sub/x");
    let yes = Approval {
        user: "b".to_owned(),
        roles: BTreeSet::from(["boss".to_owned()]),
        via: Channel::Terminal,
        lasts: Lasts::Once,
    };
    let Verdict::Ask(question) = engine.decide(inventory(b"rm x"), &facts) else { panic!("it is asked") };
    let verdict = engine.approve(question, std::slice::from_ref(&yes));
    let asked = verdict.report().asked.clone().unwrap();
    let groups = engine.path_groups();
    assert_eq!(engine.ask_again(&asked, Some(&groups)).decision, Some(Decision::Allow));
    let without = ReplayInput { approvers: Vec::new(), ..*asked.clone() };
    assert_eq!(engine.ask_again(&without, Some(&groups)).decision, Some(Decision::Ask));
    let stricter = site(&format!("{ALL}{}", ask.replace("boss", "chief")), &[]);
    assert_eq!(stricter.ask_again(&asked, Some(&groups)).decision, Some(Decision::Deny));
}

#[test]
fn what_is_missing_is_left_out_where_a_policy_could_look_at_it() {
    let then = site(ALL, &[]);
    let facts = facts("/srv/app/sub/x");
    let (whole, groups) = asked(&then, "cat --number x", &facts);
    let forbid = |condition: &str| {
        format!("{ALL}@id(\"f\") forbid (principal, action == Action::\"exec\", resource) when {{ {condition} }};")
    };
    for (cut, condition, is_left_out) in [
        (Field::Text, "resource.text like \"*secret*\"", true),
        (Field::Text, "resource.program == \"other\"", false),
        (Field::Operands, "resource.lastOperand == \"secret\"", true),
        (Field::Operands, "resource.text like \"*secret*\"", false),
        (Field::Options, "resource.hasTag(\"--number\") && resource.getTag(\"--number\").contains(\"1\")", true),
        (Field::Options, "resource.operandCount > 5", false),
        (Field::Shown, "resource.text like \"*secret*\"", false),
        (Field::Name, "resource.program == \"other\"", true),
    ] {
        let mut asked = whole.clone();
        let item = asked.items.iter_mut().find(|item| matches!(item.what, palisade_engine::What::Exec(_))).unwrap();
        item.cut = vec![cut];
        let again = site(&forbid(condition), &[]).ask_again(&asked, Some(&groups));
        let expected = if is_left_out { None } else { Some(Decision::Allow) };
        assert_eq!(again.decision, expected, "{cut:?} and `{condition}`: {again:?}");
        assert_eq!(again.left_out.len(), usize::from(is_left_out), "{cut:?} and `{condition}`");
        // The read beside it is asked whatever is missing of the command, and one no is enough.
        let no = forbid(condition).replace("action == Action::\"exec\"", "action == Action::\"read\"");
        let no = no.replace(&format!("when {{ {condition} }}"), "");
        assert_eq!(site(&no, &[]).ask_again(&asked, Some(&groups)).decision, Some(Decision::Deny), "{cut:?}");
    }
    let circumstances = ReplayInput { cut: vec![Field::Name], ..whole.clone() };
    assert_eq!(then.ask_again(&circumstances, Some(&groups)).decision, None);
    let unknown = ReplayInput { v: 99, ..whole };
    assert_eq!(then.ask_again(&unknown, Some(&groups)).decision, None);
}
