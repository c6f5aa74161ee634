//! Asks Cedar one request.
//!
//! Cedar skips a policy whose evaluation errs, so that a broken forbid would open the door. [`answer`] is the one function that knows this:
//! an answer with any error is a denial. Not decided here: whether a person's yes would lift it, and what comes of many answers (`verdict`).

use cedar_policy::{Authorizer, Decision as CedarDecision};

use crate::bound_request::BoundRequest;
use crate::bundle::Bundle;
use crate::cedar_values::Built;
use crate::report::Decision;

/// What Cedar says to one request.
pub(crate) struct CedarAnswer {
    pub(crate) decision: Decision,
    /// Ids of the policies that made it, sorted.
    pub(crate) determining: Vec<String>,
    /// Policies that erred, or why the request could not be asked.
    pub(crate) errors: Vec<String>,
}

/// Asks Cedar. Allow only if Cedar allows and no policy erred; a request that could not be built, or that does not fit
/// the schema, is a denial.
pub(crate) fn answer(bundle: &Bundle, bound: Built<BoundRequest>) -> CedarAnswer {
    let bound = match bound {
        Ok(bound) => bound,
        Err(error) => return CedarAnswer { decision: Decision::Deny, determining: Vec::new(), errors: vec![error] },
    };
    let slice = bundle.index.slice_of(&bound);
    let response = Authorizer::new().is_authorized(&bound.request, &slice.set, &bound.entities);
    let mut determining: Vec<String> = response.diagnostics().reason().map(ToString::to_string).collect();
    // Cedar gives them in no particular order.
    determining.sort();
    let errors: Vec<String> = response.diagnostics().errors().map(ToString::to_string).collect();
    let allowed = response.decision() == CedarDecision::Allow && errors.is_empty();
    CedarAnswer { decision: if allowed { Decision::Allow } else { Decision::Deny }, determining, errors }
}
