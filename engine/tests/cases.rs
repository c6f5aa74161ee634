//! The cases that ship with the policies: each comes out as it says, and they try what they are there to try.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use palisade_engine::{Bundle, Cases, Coverage, Engine, Vocabulary};

/// Cases that each profile has at least.
const MIN_CASES: usize = 60;

/// Percent of policies and clauses that each profile's cases try at least.
const MIN_COVERAGE: usize = 75;

fn engine(cases: &Cases) -> Engine {
    let bundle = match cases.profile().unwrap() {
        "guards" => Bundle::behind_guards().unwrap(),
        profile => Bundle::profile(profile).unwrap(),
    };
    let (file, text) = palisade_policies::GROUPS;
    Engine::new(bundle, Vocabulary::parse(file, text, cases.home()).unwrap())
}

fn shipped() -> impl Iterator<Item = Cases> {
    palisade_policies::CASES
        .iter()
        .map(|(file, text)| Cases::parse(file, text).unwrap_or_else(|error| panic!("{error}")))
}

#[test]
fn every_case_comes_out_as_it_says() {
    let mut failed = Vec::new();
    for cases in shipped() {
        let engine = engine(&cases);
        for case in cases.cases() {
            let checked = case.check(&engine);
            if let Some(failure) = checked.failure {
                let why: Vec<String> = checked
                    .report
                    .reasons
                    .iter()
                    .map(|reason| format!("\n    {}: {}: {}", reason.policy, reason.text, reason.reason))
                    .collect();
                failed.push(format!("{} {}: {failure}{}", checked.place, checked.name, why.concat()));
            }
        }
    }
    assert!(failed.is_empty(), "{} cases failed\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn every_profile_is_tried() {
    for (profile, _) in palisade_policies::PROFILES {
        let cases = shipped().find(|cases| cases.profile() == Some(profile)).unwrap();
        assert!(cases.cases().len() >= MIN_CASES, "{profile}: {} cases", cases.cases().len());
        let engine = engine(&cases);
        let mut coverage = Coverage::of(&engine);
        for case in cases.cases() {
            coverage.add(&engine, case);
        }
        let own = |place: &str| place.starts_with("profiles/") || *profile == "developer" && place.starts_with("base/");
        let missed = coverage.policies().iter().filter(|(_, policy)| own(&policy.place) && policy.held == 0);
        let missed: Vec<&String> = missed.map(|(id, _)| id).collect();
        assert!(missed.is_empty(), "{profile}: never held: {missed:?}");
        assert!(coverage.percent() >= MIN_COVERAGE, "{profile}: {} %", coverage.percent());
    }
}

#[test]
fn names_of_cases_are_unique() {
    for cases in shipped() {
        let mut names: Vec<&str> = cases.cases().iter().map(palisade_engine::Case::name).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all, "{}", cases.file());
    }
}

/// A row of `variables.toml`.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Variables {
    names: Vec<String>,
    reason: String,
    #[serde(default)]
    fold: bool,
    #[serde(default)]
    harmless: Vec<String>,
    #[serde(default)]
    passed: Vec<String>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    variables: Vec<Variables>,
    harmless: Vec<Harmless>,
}

/// Variables of which no value does harm.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Harmless {
    names: Vec<String>,
    reason: String,
}

fn table() -> Table {
    toml::from_str(palisade_policies::VARIABLES.1).unwrap()
}

fn variables() -> Vec<Variables> {
    table().variables
}

/// A name that is harmless whatever its value is one whole name, and the guard has nothing against it.
#[test]
fn harmless_variables_are_no_guarded_ones() {
    let table = table();
    let names: Vec<&String> = table.harmless.iter().flat_map(|row| &row.names).collect();
    assert!(names.len() > 5 && table.harmless.iter().all(|row| row.reason.ends_with('.')));
    for name in names {
        assert!(palisade_engine::is_listed_variable(name), "{name}");
        assert!(!name.contains('*') && palisade_engine::guarded_variable(name).is_none(), "{name}");
        let folded = name.to_lowercase();
        let starts =
            |pattern: &String| pattern.strip_suffix('*').is_some_and(|start| folded.starts_with(&start.to_lowercase()));
        let guarded = table.variables.iter().find(|row| row.names.iter().any(|other| other == name || starts(other)));
        assert!(guarded.is_none(), "{name}: {:?}", guarded.map(|row| &row.names));
    }
}

/// Everything that the policy's condition compares a name with stands in the table, and nothing else.
#[test]
fn the_guard_of_variables_has_the_names_of_its_table() {
    let (_, guards) = palisade_policies::GUARDS[0];
    let policy = guards.split("@id(\"guard-loader-env\")").nth(1).unwrap();
    let condition = policy.split("when\n").nth(1).unwrap().split("unless\n").next().unwrap();
    let compared: Vec<&str> = condition.split('"').skip(1).step_by(2).collect();
    let table = variables();
    let all = || table.iter().flat_map(|row| &row.names).map(String::as_str);
    // Some names that a pattern covers have a row of their own, for their harmless values.
    let is_covered = |name: &&str| {
        let covers =
            |pattern: &str| pattern.strip_suffix('*').is_some_and(|start| name.len() > 3 && name.starts_with(start));
        !name.contains('*') && all().any(covers)
    };
    let listed: BTreeSet<&str> = all().filter(|name| !is_covered(name)).collect();
    assert_eq!(compared.iter().copied().collect::<BTreeSet<_>>(), listed);
    assert_eq!(compared.len(), listed.len(), "a name stands twice");
    assert!(table.iter().all(|row| row.reason.ends_with('.')));
    // What the settings may pass on is an exception, which names something of its row.
    for row in &table {
        for passed in &row.passed {
            let concerns = |name: &String| like(passed, &name.replace('*', "")) || like(name, &passed.replace('*', ""));
            assert!(row.names.iter().any(concerns), "{passed} in none of {:?}", row.names);
        }
    }
}

/// Whether a text is the pattern, in which one `*` stands for anything.
fn like(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, end)) => text.strip_prefix(start).is_some_and(|rest| rest.ends_with(end)),
    }
}

/// Each name of the table is refused with some value and allowed with each harmless one; another value with a harmless
/// one in it is refused.
#[test]
fn every_variable_of_the_table_is_guarded() {
    let mut text = "policies = \"guards\"\n[defaults]\nsandboxed = true\n".to_owned();
    let mut case = |name: &str, value: &str, expect: &str| {
        let index = text.len();
        text.push_str(&format!(
            "[[case]]\nname = \"{name} {index}\"\nenv = {{ \"{name}\" = {value:?} }}\nexpect = \"{expect}\"\n"
        ));
    };
    for row in variables() {
        for name in &row.names {
            let name = name.replace('*', "X");
            case(&name, "./x", "deny");
            case(&name, "$x", "deny");
            if row.fold {
                case(&name.to_uppercase(), "./x", "deny");
                case(&name.replacen('m', "M", 1).replacen('r', "R", 1), "./x", "deny");
            }
            for value in row.harmless.iter().take(3) {
                case(&name, value, "allow");
                case(&name, &format!("{value} --x"), "deny");
                case(&name, &format!("./{value}"), "deny");
            }
        }
        for value in row.harmless.iter().skip(3) {
            case(&row.names[0].replace('*', "X"), value, "allow");
        }
    }
    let cases = Cases::parse("variables.toml", &text).unwrap();
    let engine = engine(&cases);
    let failed: Vec<_> =
        cases.cases().iter().filter_map(|case| case.check(&engine).failure.map(|why| (case.text(), why))).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}
