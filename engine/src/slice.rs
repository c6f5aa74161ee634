//! Which policies can have a say in a request: those whose scope can fit it.
//!
//! Cedar evaluates every policy it is given, and most of a large set names a program or a directory that the request
//! is not about. A policy is left out only if its scope alone rules it out, so the answer is that of the whole set.
//! What is cached is bounded: whoever asks chooses the keys.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use cedar_policy::{
    ActionConstraint, Authorizer, EntityUid, Policy, PolicySet, PrincipalConstraint, ResourceConstraint, Schema,
};

use crate::bound_request::BoundRequest;
use crate::cedar_values::text;
use crate::policy_json::Indexed;

/// Slices that are kept. One that is not there costs some 30 µs.
const MAX_CACHED: usize = 512;

/// The policies by action, and by the entities that their scopes name.
pub(crate) struct Index {
    policies: Vec<Indexed>,
    /// Each entity that a scope names, as principal or resource.
    keys: HashMap<EntityUid, u32>,
    actions: HashMap<EntityUid, ActionLists>,
    cache: Mutex<HashMap<Key, Arc<Slice>>>,
}

/// Policies that can fit one request by their scope.
#[derive(Default)]
pub(crate) struct Slice {
    pub(crate) set: PolicySet,
    /// Their places in [`Index::policies`].
    pub(crate) members: Vec<usize>,
}

#[derive(Default)]
struct ActionLists {
    any_resource: Vec<SliceEntry>,
    by_resource: HashMap<u32, Vec<SliceEntry>>,
    /// Keys that scopes of this action name as principal.
    principals: BTreeSet<u32>,
}

/// A policy by its number, and the principal that its scope names.
#[derive(Clone, Copy)]
struct SliceEntry {
    policy: usize,
    principal: Option<u32>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    action: EntityUid,
    principals: Vec<u32>,
    resources: Vec<u32>,
}

impl Index {
    /// Sorts policies by what their scopes name.
    pub(crate) fn new(set: &PolicySet, schema: &Schema) -> Result<Self, String> {
        let mut policies: Vec<Policy> = set.policies().cloned().collect();
        policies.sort_by(|a, b| a.id().cmp(b.id()));
        let store = schema.action_entities().map_err(text)?;
        let all: Vec<EntityUid> = schema.actions().cloned().collect();
        let below = |group: &EntityUid| {
            let inside = |action: &&EntityUid| *action == group || store.is_ancestor_of(group, action);
            all.iter().filter(inside).cloned().collect::<Vec<_>>()
        };
        let mut index =
            Self { policies: Vec::new(), keys: HashMap::new(), actions: HashMap::new(), cache: Mutex::default() };
        for (at, policy) in policies.iter().enumerate() {
            let actions: BTreeSet<EntityUid> = match policy.action_constraint() {
                ActionConstraint::Any => all.iter().cloned().collect(),
                ActionConstraint::Eq(action) => BTreeSet::from([action]),
                ActionConstraint::In(groups) => groups.iter().flat_map(below).collect(),
            };
            let principal = match policy.principal_constraint() {
                PrincipalConstraint::Any | PrincipalConstraint::Is(_) => None,
                PrincipalConstraint::In(uid) | PrincipalConstraint::Eq(uid) | PrincipalConstraint::IsIn(_, uid) => {
                    Some(index.key(uid))
                }
            };
            let resource = match policy.resource_constraint() {
                ResourceConstraint::Any | ResourceConstraint::Is(_) => None,
                ResourceConstraint::In(uid) | ResourceConstraint::Eq(uid) | ResourceConstraint::IsIn(_, uid) => {
                    Some(index.key(uid))
                }
            };
            for action in actions {
                let lists = index.actions.entry(action).or_default();
                lists.principals.extend(principal);
                let list = match resource {
                    Some(key) => lists.by_resource.entry(key).or_default(),
                    None => &mut lists.any_resource,
                };
                list.push(SliceEntry { policy: at, principal });
            }
        }
        index.policies = policies.into_iter().map(Indexed::new).collect();
        Ok(index)
    }

    /// The policies that can have a say in a request.
    pub(crate) fn slice_of(&self, bound: &BoundRequest) -> Arc<Slice> {
        let above = |uid: &'_ EntityUid| bound.entities.ancestors(uid).into_iter().flatten();
        self.slice(
            bound.action(),
            above(bound.principal()).chain([bound.principal()]),
            above(bound.resource()).chain([bound.resource()]),
        )
    }

    /// The policies that can have a say. `principals` and `resources` are the request's own with everything above them.
    fn slice<'a>(
        &self,
        action: &EntityUid,
        principals: impl Iterator<Item = &'a EntityUid>,
        resources: impl Iterator<Item = &'a EntityUid>,
    ) -> Arc<Slice> {
        let Some(lists) = self.actions.get(action) else { return Arc::new(Slice::default()) };
        let key = Key {
            action: action.clone(),
            principals: self.named(principals, |key| lists.principals.contains(key)),
            resources: self.named(resources, |key| lists.by_resource.contains_key(key)),
        };
        if let Some(slice) = self.cache.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Arc::clone(slice);
        }
        let slice = Arc::new(self.gather(lists, &key));
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= MAX_CACHED {
            cache.clear();
        }
        cache.insert(key, Arc::clone(&slice));
        slice
    }

    /// The policies that are about an action, as far as their scopes tell, whoever asks and whatever for.
    pub(crate) fn about(&self, action: &EntityUid) -> impl Iterator<Item = &Indexed> {
        let lists = self.actions.get(action);
        let entries =
            lists.into_iter().flat_map(|lists| lists.by_resource.values().flatten().chain(&lists.any_resource));
        entries.filter_map(|entry| self.policies.get(entry.policy))
    }

    /// A policy by its place.
    pub(crate) fn policy(&self, at: usize) -> Option<&Indexed> {
        self.policies.get(at)
    }

    /// All policies, by id.
    pub(crate) fn policies(&self) -> &[Indexed] {
        &self.policies
    }

    fn gather(&self, lists: &ActionLists, key: &Key) -> Slice {
        let scoped = key.resources.iter().filter_map(|key| lists.by_resource.get(key));
        let fits = |entry: &&SliceEntry| entry.principal.is_none_or(|principal| key.principals.contains(&principal));
        let mut members: Vec<usize> =
            scoped.flatten().chain(&lists.any_resource).filter(fits).map(|entry| entry.policy).collect();
        members.sort_unstable();
        let policies = members.iter().filter_map(|at| self.policies.get(*at)).map(|policy| policy.policy().clone());
        // Ids are unique in the whole set, so that they are in a part of it.
        let set = PolicySet::from_policies(policies).unwrap_or_default();
        Slice { set, members }
    }

    fn named<'a>(&self, uids: impl Iterator<Item = &'a EntityUid>, wanted: impl Fn(&u32) -> bool) -> Vec<u32> {
        let mut keys: Vec<u32> = uids.filter_map(|uid| self.keys.get(uid).copied()).filter(wanted).collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    fn key(&mut self, uid: EntityUid) -> u32 {
        let next = u32::try_from(self.keys.len()).unwrap_or(u32::MAX);
        *self.keys.entry(uid).or_insert(next)
    }
}

/// Whether a request's slice and the whole set give the same answer, policies and errors included.
pub(crate) fn agrees(index: &Index, bound: &BoundRequest) -> bool {
    let Ok(whole) = PolicySet::from_policies(index.policies().iter().map(|policy| policy.policy().clone())) else {
        return false;
    };
    let answer = |set: &PolicySet| {
        let response = Authorizer::new().is_authorized(&bound.request, set, &bound.entities);
        let mut reasons: Vec<String> = response.diagnostics().reason().map(ToString::to_string).collect();
        reasons.sort();
        (response.decision(), reasons, response.diagnostics().errors().count())
    };
    answer(&index.slice_of(bound).set) == answer(&whole)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use crate::{Bundle, Cases, Engine, Vocabulary};

    #[test]
    fn a_slice_answers_as_the_whole_set_does() {
        for (file, text) in palisade_policies::CASES {
            let cases = Cases::parse(file, text).unwrap();
            let (groups, table) = palisade_policies::GROUPS;
            for (profile, _) in palisade_policies::PROFILES {
                let vocabulary = Vocabulary::parse(groups, table, cases.home()).unwrap();
                let engine = Engine::new(Bundle::profile(profile).unwrap(), vocabulary);
                let mut asked = 0;
                for case in cases.cases() {
                    assert!(case.slices_agree(&engine), "{profile}: {}", case.text());
                    case.trace(&engine, |bound| {
                        let whole = engine.bundle.index.policies().len();
                        assert!(engine.bundle.index.slice_of(bound).members.len() < whole);
                        asked += 1;
                    });
                }
                assert!(asked > 50, "{file} {profile}: {asked}");
            }
        }
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let policies: String = (0..super::MAX_CACHED + 50)
            .map(|n| {
                format!("@id(\"p{n}\") permit (principal, action == Action::\"read\", resource in Path::\"/d{n}\");\n")
            })
            .collect();
        let source = crate::Source { name: "many.cedar".to_owned(), text: policies };
        let bundle = Bundle::load(vec![source]).unwrap();
        for n in 0..super::MAX_CACHED + 50 {
            let uid = crate::cedar_values::uid("Path", &format!("/d{n}")).unwrap();
            let action = crate::cedar_values::uid("Action", "read").unwrap();
            let slice = bundle.index.slice(&action, std::iter::empty(), [&uid].into_iter());
            assert!(
                slice.members.iter().any(|at| bundle
                    .index
                    .policy(*at)
                    .is_some_and(|policy| policy.id().to_string() == format!("p{n}")))
            );
        }
        assert!(bundle.index.cache.lock().unwrap().len() <= super::MAX_CACHED);
    }
}
