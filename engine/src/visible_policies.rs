//! The policies that can decide about a principal, as it may be told of them: what a denial would name, and no more. Neither their text nor
//! where they stand is told. Decides nothing.

use cedar_policy::{ActionConstraint, Effect, EntityUid, Policy};

use crate::bundle::Bundle;
use crate::facts::Facts;
use crate::peers;

/// What people do, and no agent.
const PEOPLES: [&str; 4] = ["approve", "observe", "stop", "prune"];

/// A policy that can decide about somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VisiblePolicy {
    /// Its id.
    pub id: String,
    /// It permits; else it forbids.
    pub permits: bool,
    /// Its `@reason`.
    pub reason: String,
    /// Its `@suggest`.
    pub suggest: String,
}

/// Those whose scope does not rule the principal out, by id; none if its name is none that policies could have.
pub(crate) fn about(bundle: &Bundle, facts: &Facts) -> Vec<VisiblePolicy> {
    let Ok(own) = peers::principals(facts) else { return Vec::new() };
    let policies = bundle.index.policies().iter();
    let policies = policies.filter(|policy| is_about_agents(policy) && peers::concerns(policy, &own));
    let told = policies.map(|policy| {
        let id = policy.id().to_string();
        let note = bundle.note(&id);
        VisiblePolicy { permits: policy.effect() == Effect::Permit, reason: note.reason, suggest: note.suggest, id }
    });
    told.collect()
}

fn is_about_agents(policy: &Policy) -> bool {
    let is_peoples = |action: &EntityUid| PEOPLES.contains(&action.id().unescaped());
    match policy.action_constraint() {
        ActionConstraint::Any => true,
        ActionConstraint::In(actions) => !actions.iter().all(is_peoples),
        ActionConstraint::Eq(action) => !is_peoples(&action),
    }
}
