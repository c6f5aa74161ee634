//! Which policies a set of cases has tried, clause by clause.

use std::collections::BTreeMap;

use crate::bound_request::BoundRequest;
use crate::case::Case;
use crate::engine::Engine;
use crate::policy_clauses::Clause;

/// What cases have tried of a policy set.
#[derive(Debug, Default)]
pub struct Coverage(BTreeMap<String, PolicyCoverage>);

/// What has been tried of one policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyCoverage {
    /// File and line.
    pub place: String,
    /// Requests that its scope fitted.
    pub considered: usize,
    /// Requests that it held for.
    pub held: usize,
    /// Its clauses.
    pub clauses: Vec<ClauseCoverage>,
}

/// What has been tried of one `when` or `unless`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClauseCoverage {
    /// The clause, on one line.
    pub text: String,
    /// Its expression was true of some request.
    pub seen_true: bool,
    /// Its expression was false of some request.
    pub seen_false: bool,
}

impl PolicyCoverage {
    /// Everything of it has been tried: it held, and each clause was seen true and seen false.
    pub fn is_full(&self) -> bool {
        self.held > 0 && self.clauses.iter().all(|clause| clause.seen_true && clause.seen_false)
    }

    fn points(&self) -> (usize, usize) {
        let clauses = self.clauses.iter().flat_map(|clause| [clause.seen_true, clause.seen_false]);
        let all: Vec<bool> = clauses.chain([self.held > 0]).collect();
        (all.iter().filter(|point| **point).count(), all.len())
    }
}

impl Coverage {
    /// Nothing tried yet of an engine's policies. What is shipped has cases of its own and is left out of a set that adds to it.
    pub fn of(engine: &Engine) -> Self {
        let bundle = &engine.bundle;
        let policies = bundle.index.policies().iter().enumerate().filter_map(|(at, policy)| {
            let id = policy.id().to_string();
            if !bundle.is_authored(&id) {
                return None;
            }
            let place = bundle.note(&id).place;
            let clauses = bundle.policy_clauses(at)?.clauses.iter();
            let clauses = clauses.map(|clause| ClauseCoverage { text: clause.text.clone(), ..Default::default() });
            let policy = PolicyCoverage { place, clauses: clauses.collect(), ..Default::default() };
            Some((id, policy))
        });
        Self(policies.collect())
    }

    /// Counts what a case tries.
    pub fn add(&mut self, engine: &Engine, case: &Case) {
        case.trace(engine, |bound| self.count(engine, bound));
    }

    /// By policy id.
    pub fn policies(&self) -> &BTreeMap<String, PolicyCoverage> {
        &self.0
    }

    /// How much has been tried, in percent, rounded down: of each policy that it held at least once, and of each clause
    /// that it was true and that it was false.
    pub fn percent(&self) -> usize {
        let points = self.0.values().map(PolicyCoverage::points);
        let (tried, all) = points.fold((0, 0), |(tried, all), (more, of)| (tried + more, all + of));
        (tried * 100).checked_div(all).unwrap_or(100)
    }

    fn count(&mut self, engine: &Engine, bound: &BoundRequest) {
        for at in &engine.bundle.index.slice_of(bound).members {
            let (Some(policy), Some(policy_clauses)) =
                (engine.bundle.index.policy(*at), engine.bundle.policy_clauses(*at))
            else {
                continue;
            };
            let id: &str = policy.id().as_ref();
            let Some(counted) = self.0.get_mut(id) else { continue };
            counted.considered += 1;
            let mut held = true;
            for (clause, seen) in policy_clauses.clauses.iter().zip(&mut counted.clauses) {
                held &= see(clause, seen, bound);
            }
            counted.held += usize::from(held);
        }
    }
}

fn see(clause: &Clause, seen: &mut ClauseCoverage, bound: &BoundRequest) -> bool {
    let Some(holds) = clause.holds(bound) else { return false };
    seen.seen_true |= holds;
    seen.seen_false |= !holds;
    holds == clause.is_when
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use crate::{Bundle, Cases, Engine, Vocabulary};

    /// Each policy that ships, taken away in turn: some case of its own set has to notice.
    #[test]
    fn every_policy_has_a_case_that_fails_without_it() {
        let (groups, table) = palisade_policies::GROUPS;
        let mut missed: BTreeSet<String> = BTreeSet::new();
        // What all profiles have in common may be tried by the cases of any.
        let mut noticed: BTreeSet<String> = BTreeSet::new();
        for (file, text) in palisade_policies::CASES {
            let cases = Cases::parse(file, text).unwrap();
            let engine = || {
                let bundle = match cases.profile().unwrap() {
                    "guards" => Bundle::behind_guards(),
                    profile => Bundle::profile(profile),
                };
                Engine::new(bundle.unwrap(), Vocabulary::parse(groups, table, cases.home()).unwrap())
            };
            let whole = engine();
            // A policy that decides no request of a case cannot change what comes of it.
            let mut tries: BTreeMap<String, Vec<usize>> = BTreeMap::new();
            for (index, case) in cases.cases().iter().enumerate() {
                for id in case.check(&whole).report.requests.into_iter().flat_map(|request| request.determining) {
                    tries.entry(id).or_default().push(index);
                }
                // The answer to "may this person say yes?" is in no report.
                case.trace(&whole, |bound| {
                    if bound.request.action().is_some_and(|action| action.id().unescaped() == "approve") {
                        let slice = whole.bundle.index.slice_of(bound);
                        let asked = slice.members.iter().filter_map(|at| whole.bundle.index.policy(*at));
                        asked.for_each(|policy| tries.entry(policy.id().to_string()).or_default().push(index));
                    }
                });
            }
            for id in whole.bundle.ids() {
                let without = Engine::new(whole.bundle.without(id).unwrap(), whole.vocabulary.clone());
                let tried = tries.get(id).into_iter().flatten();
                let fails = tried
                    .filter_map(|index| cases.cases().get(*index))
                    .any(|case| case.check(&without).failure.is_some());
                if fails {
                    noticed.insert(id.to_owned());
                } else if id != "everything" {
                    missed.insert(id.to_owned());
                }
            }
        }
        let missed: Vec<&String> = missed.difference(&noticed).collect();
        assert!(missed.is_empty(), "no case fails without {missed:?}");
    }
}
