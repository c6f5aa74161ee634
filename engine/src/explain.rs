//! Why a script is not allowed, as data: policy ids, places, spans, and what would be allowed instead.

use std::collections::HashSet;

use crate::bound_request::BoundRequest;
use crate::bundle::Bundle;
use crate::report::{Decision, Judged, Reason};
use crate::request::{RequestBatch, RequestBuilder, RequestDraft};

/// Reasons up to which the nearest permits are looked for: each takes questions of its own.
const MAX_NEAREST: usize = 20;

/// One reason for each policy that stands in the way of a request. Reasons that no approval lifts come first, so that the first line
/// is the one that matters; the others keep the order of the text. A request that nothing permits names the nearest permit.
pub(crate) fn reasons(
    bundle: &Bundle,
    builder: &RequestBuilder<'_>,
    batch: &RequestBatch,
    judged: &[Judged],
) -> Vec<Reason> {
    let mut reasons: Vec<(bool, Reason)> = Vec::new();
    let mut known = HashSet::new();
    for (draft, judged) in batch.drafts.iter().zip(judged).filter(|(_, judged)| judged.decision != Decision::Allow) {
        let nearest = reasons.len() < MAX_NEAREST;
        for reason in request_reasons(bundle, builder, batch, draft, judged, nearest) {
            if known.insert((reason.policy.clone(), reason.text.clone())) {
                let final_by_default = judged.decision == Decision::Deny && reason.policy.is_empty();
                reasons.push((final_by_default || judged.hard.contains(&reason.policy), reason));
            }
        }
    }
    reasons.sort_by_key(|(is_final, _)| !is_final);
    reasons.into_iter().map(|(_, reason)| reason).collect()
}

fn request_reasons(
    bundle: &Bundle,
    builder: &RequestBuilder<'_>,
    batch: &RequestBatch,
    draft: &RequestDraft,
    judged: &Judged,
    nearest: bool,
) -> Vec<Reason> {
    let text = match judged.action {
        "exec" | "useTool" | "openSession" | "checkpoint" | "restore" | "signal" | "sendInput" => {
            judged.resource.clone()
        }
        action => format!("{action} {}", judged.resource),
    };
    let reason = |policy: &str, place: String, reason: String, suggest: String| Reason {
        policy: policy.to_owned(),
        place,
        text: text.clone(),
        span: judged.span,
        reason,
        suggest,
        nearest: String::new(),
    };
    if !judged.errors.is_empty() {
        let cause = format!("The decision could not be made: {}", judged.errors.join("; "));
        return vec![reason("", String::new(), cause, String::new())];
    }
    if judged.determining.is_empty() {
        let bound = if nearest { builder.bind(batch, draft, false).ok() } else { None };
        let asks = judged.decision == Decision::Ask;
        let (cause, suggest, nearest) = default_deny(bundle, bound.as_ref(), &text, asks);
        return vec![Reason { nearest, ..reason("", String::new(), cause, suggest) }];
    }
    let determining = judged.determining.iter().map(|id| {
        let note = bundle.note(id);
        let mut words = note.reason;
        if note.quorum > 1 {
            let space = if words.is_empty() { "" } else { " " };
            words.push_str(&format!("{space}It takes the yes of {} different people.", note.quorum));
        }
        if note.effects && !draft.does.is_empty() {
            let space = if words.is_empty() { "" } else { " " };
            words.push_str(&format!("{space}{}", draft.does));
        }
        reason(id, note.place, words, note.suggest)
    });
    determining.collect()
}

/// What to say when no policy permits a request: the permit that comes nearest of those whose scope fits it, and what in its conditions does not.
/// Why, what would be allowed, and that permit. `asks`: a person's yes is enough.
fn default_deny(bundle: &Bundle, bound: Option<&BoundRequest>, text: &str, asks: bool) -> (String, String, String) {
    let unless = if asks { " without a person's yes" } else { "" };
    let mut nothing = format!("No policy permits `{text}`{unless}.");
    let Some(bound) = bound else { return (nothing, String::new(), String::new()) };
    if bound.is_in_no_group() {
        nothing.push_str(" It is in no command group: no table describes it, or its directory is not a trusted one.");
    }
    let mut nearest: Vec<(usize, String, Vec<String>)> = Vec::new();
    for at in &bundle.index.slice_of(bound).members {
        let (Some(policy), Some(policy_clauses)) = (bundle.index.policy(*at), bundle.policy_clauses(*at)) else {
            continue;
        };
        if policy_clauses.is_permit {
            let obstacles = policy_clauses.obstacles(bound);
            // One without is there only if its condition cannot be split: it says nothing that helps.
            if !obstacles.is_empty() {
                let is_a_yes = asks && obstacles == ["`context.approved` is false"];
                let far = if is_a_yes { A_YES } else { distance(&obstacles) };
                nearest.push((far, policy.id().to_string(), obstacles));
            }
        }
    }
    let Some((_, id, obstacles)) = nearest.into_iter().min() else { return (nothing, String::new(), String::new()) };
    let note = bundle.note(&id);
    (nothing, note.suggest, format!("`{id}` ({}) would, but {}.", note.place, obstacles.join(" and ")))
}

/// How far a permit is from holding that only lacks a person's yes, which can be had: further than what the agent can change itself.
const A_YES: usize = 5;

/// How far a permit is from holding: what the agent can change counts once, what only others can change counts more.
fn distance(obstacles: &[String]) -> usize {
    const OTHERS: [&str; 6] = [
        "context.approved",
        "context.noGain",
        "resource.spawned",
        "context.session.",
        "resource.origin",
        "resource.own",
    ];
    let of_others = |obstacle: &String| OTHERS.iter().any(|part| obstacle.trim_start_matches('`').starts_with(part));
    let weight = |obstacle: &String| if of_others(obstacle) { 10 } else { 1 };
    obstacles.iter().map(weight).sum()
}
