//! A policy of a set, with its JSON form, which more than one question about the set looks at.
//!
//! Cedar parses a policy's text anew each time that it gives that form, which costs as much as reading the policy did.

use std::ops::Deref;
use std::sync::OnceLock;

use cedar_policy::Policy;
use serde_json::Value;

use crate::policy_clauses::may_name;

/// A policy that keeps its JSON form once that has been asked for.
pub(crate) struct Indexed {
    policy: Policy,
    json: OnceLock<Option<Value>>,
}

impl Indexed {
    pub(crate) fn new(policy: Policy) -> Self {
        Self { policy, json: OnceLock::new() }
    }

    /// The policy itself.
    pub(crate) fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The JSON form; none if Cedar can make none of it.
    pub(crate) fn json(&self) -> Option<&Value> {
        self.json.get_or_init(|| self.policy.to_json().ok()).as_ref()
    }

    /// Whether the text may name one of these attributes.
    pub(crate) fn may_name(&self, names: &[&str]) -> bool {
        may_name(&self.policy.to_string(), names)
    }
}

impl Deref for Indexed {
    type Target = Policy;

    fn deref(&self) -> &Policy {
        &self.policy
    }
}
