//! The cases that ship with the policies: each comes out as it says, and they try what they are there to try.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

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
