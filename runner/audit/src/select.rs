//! Which records somebody wants to see: by who, where, when, what was decided and by which policy.
//!
//! Only a decision says who asked and what for; what belongs to it (its outcome, an approval, input) is kept with it.
//! Nothing here says whether a record holds: that is `verify`'s.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

/// What to keep; what is not said keeps everything.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// The agent's name.
    pub agent: Option<String>,
    /// The user it acts for.
    pub user: Option<String>,
    /// A session, or a shell of its own that a command had.
    pub session: Option<String>,
    /// `allow`, `ask` or `deny`.
    pub effect: Option<String>,
    /// The id of a policy that determined the decision or refused a program.
    pub policy: Option<String>,
    /// Kinds of records; none: all.
    pub kinds: Vec<String>,
    /// Nothing older.
    pub since: Option<Timestamp>,
    /// Nothing younger.
    pub until: Option<Timestamp>,
}

/// A filter on its way through a record, in the order in which it was written.
#[derive(Debug, Default)]
pub struct Selector {
    filter: Filter,
    /// Who a session is of.
    sessions: HashMap<String, AgentUser>,
    /// Decisions that were kept, or would have been but for their kind and time.
    kept: HashSet<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct AgentUser {
    agent: String,
    user: String,
}

impl Selector {
    /// Keeps what the filter says.
    pub fn new(filter: Filter) -> Self {
        Self { filter, ..Self::default() }
    }

    /// Whether the next record is one of those.
    pub fn keeps(&mut self, record: &Value) -> bool {
        let matches = self.matches(record);
        if let Some(req) = text(record, "req").filter(|_| matches && kind(record) == "decision") {
            self.kept.insert(req.to_owned());
        }
        let at = || text(record, "ts").and_then(|at| at.parse::<Timestamp>().ok());
        let Filter { kinds, since, until, .. } = &self.filter;
        let wanted = kinds.is_empty() || kinds.iter().any(|wanted| wanted == kind(record));
        let after = since.is_none_or(|since| at().is_some_and(|at| at >= since));
        matches && wanted && after && until.is_none_or(|until| at().is_some_and(|at| at <= until))
    }

    /// All but kind and time, which do not pass from a decision to what belongs to it.
    fn matches(&mut self, record: &Value) -> bool {
        let who = self.who(record);
        let belongs = kind(record) != "decision";
        let decision = text(record, "req").or_else(|| text(record, "of")).filter(|_| belongs);
        let of_kept = decision.is_some_and(|decision| self.kept.contains(decision));
        let Filter { agent, user, session, effect, policy, .. } = &self.filter;
        let is =
            |wanted: &Option<String>, found: Option<&str>| wanted.as_deref().is_none_or(|wanted| found == Some(wanted));
        let by_who = is(agent, who.as_ref().map(|who| who.agent.as_str()))
            && is(user, who.as_ref().map(|who| who.user.as_str()));
        let by_session =
            session.is_none() || is(session, text(record, "session")) || is(session, text(record, "shell"));
        let by_effect = is(effect, effect_of(record));
        let by_policy = policy.as_deref().is_none_or(|policy| policies(record).any(|found| found == policy));
        of_kept || (by_who && by_session && by_effect && by_policy)
    }

    /// Whom a record is about, as far as it or an earlier one says.
    fn who(&mut self, record: &Value) -> Option<AgentUser> {
        let sessions = ["session", "shell"].into_iter().filter_map(|key| text(record, key));
        if let Some(who) = record.get("who") {
            let name = |key| text(who, key).unwrap_or_default().to_owned();
            let who = AgentUser { agent: name("agent"), user: name("user") };
            for session in sessions {
                self.sessions.insert(session.to_owned(), who.clone());
            }
            return Some(who);
        }
        sessions.filter_map(|session| self.sessions.get(session)).next().cloned()
    }
}

/// What a record is, by its own word.
pub fn kind(record: &Value) -> &str {
    text(record, "kind").unwrap_or_default()
}

/// What was decided, if the record is of a decision.
pub fn effect_of(record: &Value) -> Option<&str> {
    record.pointer("/decision/effect").or_else(|| record.get("effect")).and_then(Value::as_str)
}

/// The ids of the policies that a record names.
pub fn policies(record: &Value) -> impl Iterator<Item = &str> {
    let lists = ["/decision/determining", "/determining", "/lifted"].into_iter();
    let lists = lists.filter_map(|place| record.pointer(place)?.as_array()).flatten();
    let refused = record.get("denied").and_then(Value::as_array).into_iter().flatten();
    let refused = refused.chain([record]).filter_map(|refused| refused.get("policy"));
    lists.chain(refused).filter_map(Value::as_str).filter(|policy| !policy.is_empty())
}

fn text<'a>(record: &'a Value, key: &str) -> Option<&'a str> {
    record.get(key).and_then(Value::as_str)
}

/// A point in time: one as records have it (`2026-11-21T04:01:00Z`), or so long before `now` (`90s`, `30m`, `2h`, `7d`).
pub(super) fn point_in_time(text: &str, now: Timestamp) -> Option<Timestamp> {
    if let Ok(at) = text.parse() {
        return Some(at);
    }
    let (number, factor) = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)]
        .into_iter()
        .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))?;
    let seconds = number.parse::<u64>().ok()?.checked_mul(factor)?;
    now.checked_sub(Duration::from_secs(seconds)).ok()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use serde_json::json;

    use super::*;

    fn record() -> Vec<Value> {
        let who = |agent: &str, user: &str| json!({ "agent": agent, "user": user });
        let decision = |effect: &str, policy: &str| json!({ "effect": effect, "determining": [policy] });
        vec![
            json!({ "seq": 1, "kind": "start", "ts": "2026-11-21T04:00:00.000Z" }),
            json!({ "seq": 2, "kind": "open", "ts": "2026-11-21T04:01:00.000Z", "session": "s1", "who": who("a", "alice") }),
            json!({ "seq": 3, "kind": "decision", "ts": "2026-11-21T04:02:00.000Z", "req": "7-1", "session": "s1",
                    "who": who("a", "alice"), "decision": decision("allow", "p1") }),
            json!({ "seq": 4, "kind": "decision", "ts": "2026-11-21T04:03:00.000Z", "req": "7-2", "shell": "s2",
                    "who": who("b", "bob"), "decision": decision("deny", "p2") }),
            json!({ "seq": 5, "kind": "outcome", "ts": "2026-11-21T04:04:00.000Z", "req": "7-1", "session": "s1",
                    "denied": [{ "program": "/bin/x", "policy": "p3" }] }),
            json!({ "seq": 6, "kind": "denial", "ts": "2026-11-21T04:05:00.000Z", "session": "s2", "policy": "p3" }),
            json!({ "seq": 7, "kind": "signal", "ts": "2026-11-21T04:06:00.000Z", "of": "7-1", "session": "s1", "effect": "deny" }),
            json!({ "seq": 8, "kind": "close", "ts": "2026-11-21T04:07:00.000Z", "session": "s1" }),
        ]
    }

    #[test]
    fn what_belongs_together_is_kept_together() {
        let some = |text: &str| Some(text.to_owned());
        let at = |text: &str| Some(text.parse().unwrap());
        let rows: [(Filter, &[u64]); 12] = [
            (Filter::default(), &[1, 2, 3, 4, 5, 6, 7, 8]),
            (Filter { agent: some("a"), ..Filter::default() }, &[2, 3, 5, 7, 8]),
            (Filter { user: some("bob"), ..Filter::default() }, &[4, 6]),
            (Filter { agent: some("a"), user: some("bob"), ..Filter::default() }, &[]),
            (Filter { session: some("s1"), ..Filter::default() }, &[2, 3, 5, 7, 8]),
            (Filter { session: some("s2"), ..Filter::default() }, &[4, 6]),
            (Filter { effect: some("allow"), ..Filter::default() }, &[3, 5, 7]),
            (Filter { effect: some("deny"), ..Filter::default() }, &[4, 7]),
            (Filter { policy: some("p1"), ..Filter::default() }, &[3, 5, 7]),
            (Filter { policy: some("p3"), ..Filter::default() }, &[5, 6]),
            (Filter { effect: some("allow"), kinds: vec!["outcome".to_owned()], ..Filter::default() }, &[5]),
            (
                Filter {
                    since: at("2026-11-21T04:04:00Z"),
                    until: at("2026-11-21T04:05:00Z"),
                    effect: some("allow"),
                    ..Filter::default()
                },
                &[5],
            ),
        ];
        for (filter, expected) in rows {
            let mut selector = Selector::new(filter.clone());
            let record = record();
            let kept: Vec<u64> = record
                .iter()
                .filter(|record| selector.keeps(record))
                .map(|record| record.get("seq").unwrap().as_u64().unwrap())
                .collect();
            assert_eq!(kept, expected, "{filter:?}");
        }
    }

    #[test]
    fn times_are_points_or_so_long_ago() {
        let now: Timestamp = "2026-11-21T04:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("2026-11-20T01:02:03.004Z", Some("2026-11-20T01:02:03.004Z")),
            ("2026-11-20T01:02:03+01:00", Some("2026-11-20T00:02:03Z")),
            ("90s", Some("2026-11-21T03:58:30Z")),
            ("2h", Some("2026-11-21T02:00:00Z")),
            ("7d", Some("2026-11-14T04:00:00Z")),
            ("", None),
            ("h", None),
            ("-1h", None),
            ("99999999999999d", None),
            ("yesterday", None),
        ] {
            assert_eq!(point_in_time(text, now), expected.map(|at| at.parse().unwrap()), "{text}");
        }
    }
}
