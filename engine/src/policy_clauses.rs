//! A policy taken apart: its clauses, each asked by itself, to say which of them decided.
//!
//! Decides nothing about a request: what is asked here explains an answer that Cedar has given already.

use cedar_policy::{Authorizer, Decision, Effect, Policy, PolicyId, PolicySet};
use serde_json::{Value, json};

use crate::bound_request::BoundRequest;

/// A policy's conditions, in the order in which they are written.
#[derive(Default)]
pub(crate) struct PolicyClauses {
    pub(crate) is_permit: bool,
    pub(crate) clauses: Vec<Clause>,
}

/// One `when` or `unless`.
pub(crate) struct Clause {
    /// `when { … }`, on one line.
    pub(crate) text: String,
    pub(crate) is_when: bool,
    whole: Condition,
    /// What must hold, or must not, each by itself: the two sides of `&&` in a `when`, of `||` in an `unless`.
    parts: Vec<Part>,
}

struct Part {
    text: String,
    must_hold: bool,
    condition: Condition,
}

/// A policy set that allows exactly if an expression is true. `None`: Cedar could not make one of it.
struct Condition(Option<PolicySet>);

/// Characters of a condition that are shown: a list of programs has hundreds.
const MAX_SHOWN: usize = 100;

fn shortened(text: &str) -> String {
    let mut shown: String = text.chars().take(MAX_SHOWN).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

/// Whether a text of policies may name one of these attributes. To take a policy apart costs more than to read its text. A name can
/// also be spelt with an escape.
pub(crate) fn may_name(text: &str, names: &[&str]) -> bool {
    let mut words = text.split(|character: char| !character.is_alphanumeric() && character != '_');
    text.contains('\\') || words.any(|word| names.contains(&word))
}

impl PolicyClauses {
    pub(crate) fn of(policy: &Policy) -> Self {
        let json = policy.to_json().unwrap_or_default();
        let conditions = json.get("conditions").and_then(Value::as_array);
        Self {
            is_permit: policy.effect() == Effect::Permit,
            clauses: conditions.into_iter().flatten().filter_map(Clause::of).collect(),
        }
    }

    /// What in the conditions stands in the way of the policy, in words; empty if nothing does.
    pub(crate) fn obstacles(&self, bound: &BoundRequest) -> Vec<String> {
        let parts = self.clauses.iter().flat_map(|clause| &clause.parts);
        let fails = |part: &&Part| part.condition.holds(bound) == Some(!part.must_hold);
        parts
            .filter(fails)
            .map(|part| format!("`{}` is {}", shortened(&part.text), if part.must_hold { "false" } else { "true" }))
            .collect()
    }
}

impl Clause {
    fn of(condition: &Value) -> Option<Self> {
        let is_when = condition.get("kind")?.as_str()? == "when";
        let body = condition.get("body")?;
        let (whole, text) = Condition::of(body);
        let mut sides = Vec::new();
        split(body, if is_when { "&&" } else { "||" }, &mut sides);
        let part = |side: &&Value| {
            // `!x` must hold: x must not.
            let (inner, must_hold) = match side.get("!").and_then(|not| not.get("arg")) {
                Some(inner) => (inner, !is_when),
                None => (*side, is_when),
            };
            let (condition, text) = Condition::of(inner);
            Part { text, must_hold, condition }
        };
        let text = format!("{} {{ {text} }}", if is_when { "when" } else { "unless" });
        Some(Self { text, is_when, whole, parts: sides.iter().map(part).collect() })
    }

    /// Whether its expression is true of a request; `None` if that cannot be said.
    pub(crate) fn holds(&self, bound: &BoundRequest) -> Option<bool> {
        self.whole.holds(bound)
    }
}

impl Condition {
    /// The condition, and the expression on one line.
    fn of(expression: &Value) -> (Self, String) {
        let any = json!({ "op": "All" });
        let policy = json!({
            "effect": "permit", "principal": any, "action": any, "resource": any,
            "conditions": [{ "kind": "when", "body": expression }],
        });
        let Ok(policy) = Policy::from_json(Some(PolicyId::new("question")), policy) else {
            return (Self(None), String::new());
        };
        let shown = policy.to_string();
        let inner = shown.split_once("when {").map_or("", |(_, rest)| rest);
        let inner = inner.trim_end().trim_end_matches(';').trim_end().trim_end_matches('}');
        let text = inner.split_whitespace().collect::<Vec<_>>().join(" ");
        (Self(PolicySet::from_policies([policy]).ok()), unwrapped(&text).to_owned())
    }

    fn holds(&self, bound: &BoundRequest) -> Option<bool> {
        let response = Authorizer::new().is_authorized(&bound.request, self.0.as_ref()?, &bound.entities);
        let erred = response.diagnostics().errors().next().is_some();
        (!erred).then_some(response.decision() == Decision::Allow)
    }
}

fn split<'v>(expression: &'v Value, operator: &str, sides: &mut Vec<&'v Value>) {
    let operands = expression.get(operator);
    match operands.and_then(|both| Some((both.get("left")?, both.get("right")?))) {
        Some((left, right)) => {
            split(left, operator, sides);
            split(right, operator, sides);
        }
        None => sides.push(expression),
    }
}

/// Without brackets around the whole.
fn unwrapped(text: &str) -> &str {
    let Some(inner) = text.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) else { return text };
    let mut depth = 0_i32;
    for character in inner.chars() {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth < 0 {
            return text;
        }
    }
    inner
}
