//! What stays the same from one script to the next, made and checked once: entities, contexts of requests, and decisions.
//!
//! Decides nothing. A key holds all that its value was made of, so that what is found is what would be made. No value that a command
//! brings (of a variable, of an input) is cached. Every cache is bounded, since the agent chooses the keys.
//!
//! Policies that read neither the clock nor the session's age and command count get constant placeholders for them. Only for such policy
//! sets are decisions cached: allows only, since a denial is worded anew each time, keyed by the questions and every fact that a policy can
//! read. [`CacheKey::of`] destructures [`Facts`] exhaustively, so a new fact does not compile until it is placed in or out of the key.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use cedar_policy::{Context, Entities, RestrictedExpression};

use crate::acts::Act;
use crate::facts::{Facts, Machine, Principal, Scratch, Session, Transport};
use crate::path::AbsolutePath;
use crate::questions::{Question, Questions};
use crate::replay_input::{Script, What};
use crate::report::Judged;

/// Scripts whose answers are kept. Looking through them all costs less than hashing a key, and less than an answer.
const MAX_SCRIPTS: usize = 64;

/// Questions of a script whose answers are kept.
const MAX_QUESTIONS: usize = 16;

/// Bytes of texts in them, together.
const MAX_TEXT: usize = 4096;

/// What one engine has made of requests before.
#[derive(Default)]
pub(crate) struct RequestCache {
    /// Without a session's entity: sessions may be many and short.
    pub(crate) surroundings: BoundedCache<Lasting, Entities>,
    /// With it.
    pub(crate) entities: BoundedCache<Lasting, Entities>,
    pub(crate) contexts: BoundedCache<Circumstances, Context>,
    /// Whether own code is permitted.
    pub(crate) own_code: BoundedCache<OwnCode, bool>,
}

impl std::fmt::Debug for RequestCache {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("RequestCache").finish_non_exhaustive()
    }
}

/// What the answer about own code rests on.
#[derive(PartialEq, Eq)]
pub(crate) struct OwnCode {
    key: CacheKey,
    /// The path groups of the workspace.
    groups: Vec<String>,
}

impl OwnCode {
    /// `None`: on facts like these nothing can be answered.
    pub(crate) fn of<'g>(facts: &Facts, groups: impl IntoIterator<Item = &'g str>) -> Option<Self> {
        let groups = groups.into_iter().map(str::to_owned).collect();
        CacheKey::of(facts).map(|key| Self { key, groups })
    }
}

/// What one engine has allowed: decisions rest on its groups as well.
#[derive(Default)]
pub(crate) struct DecisionCache {
    /// Scripts all of whose requests are allowed.
    scripts: BoundedCache<(CacheKey, Vec<Question>, Script), Vec<Judged>, MAX_SCRIPTS>,
    /// Acts of the runner's own that are allowed.
    acts: BoundedCache<(CacheKey, Act), ()>,
}

impl std::fmt::Debug for DecisionCache {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("DecisionCache").finish_non_exhaustive()
    }
}

impl DecisionCache {
    /// The answers to these questions, if all were allowed when they were last asked on the same facts.
    pub(crate) fn script(&self, questions: &Questions, facts: &Facts) -> Option<Vec<Judged>> {
        let key = CacheKey::of(facts)?;
        self.scripts
            .find(|(kept, asked, script)| *script == questions.script && *asked == questions.list && *kept == key)
    }

    /// Keeps the answers to these questions, which are all allowed.
    pub(crate) fn keep_script(&self, questions: &Questions, facts: &Facts, judged: &[Judged]) {
        let is_value = |question: &Question| matches!(question.item.what, What::Env(_));
        if questions.list.len() > MAX_QUESTIONS || questions.list.iter().any(is_value) || questions.bytes() > MAX_TEXT {
            return;
        }
        if let Some(key) = CacheKey::of(facts) {
            self.scripts.keep((key, questions.list.clone(), questions.script), judged.to_vec());
        }
    }

    /// Whether this act was allowed when it was last asked about on the same facts.
    pub(crate) fn act(&self, act: &Act, facts: &Facts) -> bool {
        CacheKey::of(facts)
            .is_some_and(|key| self.acts.find(|(kept, allowed)| allowed == act && *kept == key).is_some())
    }

    /// Keeps that this act is allowed.
    pub(crate) fn keep_act(&self, act: &Act, facts: &Facts) {
        let brings_no_value = matches!(act, Act::UseTool(_) | Act::OpenSession);
        if let Some(key) = CacheKey::of(facts).filter(|_| brings_no_value) {
            self.acts.keep((key, act.clone()), ());
        }
    }
}

/// What a decision rests on besides the questions, under policies that read nothing that changes by itself.
#[derive(PartialEq, Eq)]
struct CacheKey {
    principal: Principal,
    transport: Transport,
    host: String,
    machine: Machine,
    workspace: AbsolutePath,
    cwd: AbsolutePath,
    temp: Option<AbsolutePath>,
    scratch: Scratch,
    session: Session,
    public: BTreeSet<AbsolutePath>,
}

impl CacheKey {
    /// `None`: on facts like these nothing can be answered.
    fn of(facts: &Facts) -> Option<Self> {
        // A new fact does not compile until it is named here. Those marked `_` are part of the questions.
        let Facts {
            principal,
            transport,
            host,
            workspace,
            cwd,
            temp,
            scratch,
            session,
            clock,
            machine,
            programs: _,
            paths: _,
            matches: _,
            below: _,
            inert: _,
            public,
            kept_inside: _,
            no_options: _,
            directories: _,
            told: _,
            started_by: _,
            at_execve: _,
        } = facts;
        clock.is_well_formed().then(|| Self {
            principal: principal.clone(),
            transport: *transport,
            host: host.clone(),
            machine: machine.clone(),
            workspace: workspace.clone(),
            cwd: cwd.clone(),
            temp: temp.clone(),
            scratch: scratch.clone(),
            session: session.unread(),
            public: public.clone(),
        })
    }
}

/// A few values with their keys; full, it is emptied.
pub(crate) struct BoundedCache<K, V, const MAX: usize = 16>(Mutex<Vec<(K, V)>>);

/// What the entities that outlast a script are made of.
#[derive(Clone)]
pub(crate) struct Lasting {
    pub(crate) principal: Principal,
    pub(crate) transport: Transport,
    pub(crate) host: String,
    pub(crate) machine: Machine,
    pub(crate) workspace: AbsolutePath,
    pub(crate) path_groups: Vec<String>,
    pub(crate) host_groups: Vec<String>,
    /// `None`: the session's entity is made for each script.
    pub(crate) session: Option<Session>,
}

/// What the context of a request is made of.
pub(crate) struct Circumstances {
    pub(crate) action: &'static str,
    pub(crate) approved: bool,
    pub(crate) transport: Transport,
    pub(crate) host: String,
    pub(crate) workspace: AbsolutePath,
    pub(crate) session: String,
    /// What the context holds beyond what all actions share.
    pub(crate) own: Vec<(String, RestrictedExpression)>,
}

impl<K, V, const MAX: usize> Default for BoundedCache<K, V, MAX> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K, V: Clone, const MAX: usize> BoundedCache<K, V, MAX> {
    /// The value whose key is the same.
    pub(crate) fn find(&self, same: impl Fn(&K) -> bool) -> Option<V> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find(|(key, _)| same(key)).map(|(_, value)| value.clone())
    }

    /// Keeps a value.
    pub(crate) fn keep(&self, key: K, value: V) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MAX {
            kept.clear();
        }
        kept.push((key, value));
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{BoundedCache, CacheKey};
    use crate::facts::{Facts, Transport};
    use crate::path::AbsolutePath;
    use crate::report::Decision;
    use crate::request::tests::{engine, facts};

    const MAX: usize = 4;

    const ALL: &str = "@id(\"all\") permit (principal, action, resource);";

    /// Those that policies look at by way of groups alone among them.
    #[test]
    fn a_cache_key_is_another_with_any_fact_that_is_another() {
        let other = || AbsolutePath::new("/other").unwrap();
        let changes: [fn(&mut Facts, AbsolutePath); 15] = [
            |facts, _| facts.principal.agent.push('x'),
            |facts, _| facts.principal.client.push('x'),
            |facts, _| facts.principal.roles.clear(),
            |facts, _| facts.transport = Transport::Docker,
            |facts, _| facts.host.push('x'),
            |facts, _| facts.machine.user.push('x'),
            |facts, _| facts.machine.privileged ^= true,
            |facts, other| facts.workspace = other,
            |facts, other| facts.cwd = other,
            |facts, other| facts.temp = Some(other),
            |facts, other| _ = facts.scratch.places.insert(other),
            |facts, _| facts.session.own_network ^= true,
            |facts, _| facts.session.id.push('x'),
            |facts, _| facts.session.guarded ^= true,
            |facts, _| _ = facts.session.labels.insert("used-network".to_owned()),
        ];
        let same = CacheKey::of(&facts());
        for (number, change) in changes.into_iter().enumerate() {
            let mut changed = facts();
            change(&mut changed, other());
            assert!(same.is_some() && CacheKey::of(&changed) != same, "{number}");
        }
        let mut later = facts();
        (later.session.age_ms, later.session.commands, later.clock.weekday) = (9, 9, 6);
        assert!(CacheKey::of(&later) == same);
        later.clock.now.clear();
        assert!(CacheKey::of(&later).is_none());
    }

    #[test]
    fn values_and_long_scripts_are_not_kept() {
        let long = format!("cat {}", "x".repeat(super::MAX_TEXT));
        let many = "cat x;".repeat(super::MAX_QUESTIONS);
        for (script, kept) in [("cat x", 1), ("A=value cat x", 0), (&long, 0), (&many, 0)] {
            let engine = engine(ALL);
            for _ in 0..2 {
                let inventory = palisade_grammar::inventory(script.as_bytes());
                let decision = engine.decide(inventory, &facts()).report().decision;
                assert!(decision == Decision::Allow || kept == 0, "{script}");
            }
            assert_eq!(engine.decision_cache.scripts.len(), kept, "{script}");
        }
        let passing = engine(&format!(
            "{ALL} @id(\"f\") forbid (principal is Agent, action, resource) when {{ context.session.commands > 9 }};"
        ));
        let verdict = passing.decide(palisade_grammar::inventory(b"cat x"), &facts());
        assert_eq!((verdict.report().decision, passing.decision_cache.scripts.len()), (Decision::Allow, 0));
    }

    #[test]
    fn what_is_kept_is_bounded_and_found_by_its_key_alone() {
        let cache = BoundedCache::<_, _, MAX>::default();
        for number in 0..10 * MAX {
            cache.keep(number, number * 2);
            assert_eq!(cache.find(|key| *key == number), Some(number * 2));
            assert!(cache.len() <= MAX);
        }
        assert_eq!(cache.find(|key| *key == 10 * MAX), None);
    }
}
