//! Why a script is not allowed, as data: policy ids, places, spans, and what would be allowed instead.

use cedar_policy::{Authorizer, Decision as CedarDecision};

use crate::bundle::Bundle;
use crate::request::{Asker, Draft};
use crate::verdict::{Decision, Judged, Reason};

/// One reason for each policy that stands in the way of a request, in the order of the text. A request that nothing
/// permits names the permit that came nearest.
pub(crate) fn reasons(bundle: &Bundle, asker: &Asker<'_>, drafts: &[Draft], judged: &[Judged]) -> Vec<Reason> {
    let mut reasons: Vec<Reason> = Vec::new();
    for (draft, judged) in drafts.iter().zip(judged).filter(|(_, judged)| judged.decision != Decision::Allow) {
        let nearest = reasons.len() < MAX_NEAREST;
        for reason in request_reasons(bundle, asker, draft, judged, nearest) {
            let known = |other: &Reason| other.policy == reason.policy && other.text == reason.text;
            if !reasons.iter().any(known) {
                reasons.push(reason);
            }
        }
    }
    reasons
}

/// Reasons up to which the nearest permit is looked for: it takes a question for each permit there is.
const MAX_NEAREST: usize = 20;

fn request_reasons(bundle: &Bundle, asker: &Asker<'_>, draft: &Draft, judged: &Judged, nearest: bool) -> Vec<Reason> {
    let text = match judged.action {
        "exec" => judged.resource.clone(),
        action => format!("{action} {}", judged.resource),
    };
    let reason = |policy: &str, place: String, reason: String, suggest: String| Reason {
        policy: policy.to_owned(),
        place,
        text: text.clone(),
        span: judged.span,
        reason,
        suggest,
    };
    if !judged.errors.is_empty() {
        let cause = format!("The decision could not be made: {}", judged.errors.join("; "));
        return vec![reason("", String::new(), cause, String::new())];
    }
    if judged.determining.is_empty() {
        let (cause, suggest) = default_deny(bundle, asker, draft, &text, nearest);
        return vec![reason("", String::new(), cause, suggest)];
    }
    let determining = judged.determining.iter().map(|id| {
        let note = bundle.note(id);
        reason(id, note.place, note.reason, note.suggest)
    });
    determining.collect()
}

/// What to say when no policy permits a request: the permits that fit it but for their conditions.
fn default_deny(bundle: &Bundle, asker: &Asker<'_>, draft: &Draft, text: &str, nearest: bool) -> (String, String) {
    let nothing = format!("No policy permits `{text}`.");
    if !nearest {
        return (nothing, String::new());
    }
    let Ok((request, entities)) = asker.pose(draft, false) else { return (nothing, String::new()) };
    let nearly = bundle.permits.iter().find(|permit| {
        let response = Authorizer::new().is_authorized(&request, &permit.bare, &entities);
        response.decision() == CedarDecision::Allow
    });
    match nearly {
        None => (nothing, String::new()),
        Some(permit) => {
            let note = bundle.note(&permit.id);
            let cause = format!(
                "{nothing} Nearest is `{}` ({}), which holds only {}",
                permit.id, note.place, permit.conditions
            );
            (cause, note.suggest)
        }
    }
}
