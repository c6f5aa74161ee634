//! Asks again, under these policies, what was asked before: a [`ReplayInput`] to an [`Again`].
//!
//! What was taken from the text and from the machine is taken as it was then: programs and their origin, files, what a pattern
//! stood for, the session, the clock. What belongs to a policy set is this one's: groups, and what policies name below a
//! tree. Nothing is guessed: a question of which something is missing that a policy could look at is left out, and said to be.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::acts::Approval;
use crate::facts::{Clock, Facts, Machine, Principal, Scratch, Session};
use crate::path::AbsolutePath;
use crate::policy_json::Indexed;
use crate::questions::Question;
use crate::replay_input::{Approver, Field, Files, Item, REPLAY_INPUT_VERSION, ReplayInput, What};
use crate::report::{Decision, Judged};
use crate::request::{PolicyContext, RequestBuilder, RequestDraft};
use crate::verdict;
use crate::vocabulary::Vocabulary;

/// What the path groups of a policy set were: a fingerprint of each, by name.
pub type Groups = BTreeMap<String, String>;

/// The answers to what was asked before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Again {
    /// What these policies decide; `None`: it depends on what cannot be asked again.
    pub decision: Option<Decision>,
    /// Each request that could be asked, in the order of the text.
    pub requests: Vec<Judged>,
    /// Each question that could not.
    pub left_out: Vec<LeftOut>,
}

/// A question that cannot be asked again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// What it was about, as far as that is known.
    pub about: String,
    /// Why it cannot.
    pub why: String,
}

impl Again {
    /// The policies that determined the answers, sorted.
    pub fn determining(&self) -> BTreeSet<String> {
        self.requests.iter().flat_map(|request| request.determining.iter().cloned()).collect()
    }

    /// The policies that made the decision: for an allow those that permit, else those that stand in the way.
    pub fn policies(&self) -> BTreeSet<String> {
        let allowed = self.decision == Some(Decision::Allow);
        let counts = |request: &&Judged| allowed || request.decision != Decision::Allow;
        self.requests.iter().filter(counts).flat_map(|request| request.determining.iter().cloned()).collect()
    }

    fn nothing(why: &str) -> Self {
        let left_out = vec![LeftOut { about: "the whole script".to_owned(), why: why.to_owned() }];
        Self { decision: None, requests: Vec::new(), left_out }
    }
}

/// The fingerprints of a vocabulary's path groups, short: they tell a changed group from an unchanged one, nothing more.
pub(crate) fn groups(vocabulary: &Vocabulary) -> Groups {
    let short = |members: &str| -> String {
        Sha256::digest(members.as_bytes()).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
    };
    vocabulary.path_groups().map(|(name, members)| (name.to_owned(), short(&members))).collect()
}

/// Asks all of it again. `then` is what [`groups`] told at the time; without it any group may have changed.
pub(crate) fn ask(policies: PolicyContext<'_>, asked: &ReplayInput<String>, then: Option<&Groups>) -> Again {
    if asked.v != REPLAY_INPUT_VERSION {
        return Again::nothing("it is on record in a form that this version does not know");
    }
    if let Some(field) = asked.cut.iter().find(|field| **field != Field::Shown) {
        return Again::nothing(&format!("a secret was redacted from the {} of what surrounded it", field.as_str()));
    }
    let Some(facts) = facts(asked) else { return Again::nothing("its circumstances are not on record") };
    let person = |person: &Approver<String>| Approval {
        user: person.user.clone(),
        roles: person.roles.iter().cloned().collect(),
        via: person.via,
        lasts: person.lasts,
    };
    let people = asked.approvers.iter().map(person).collect();
    let again = Asking { policies, builder: RequestBuilder::new(policies, &facts), asked, people };
    again.all(then)
}

struct Asking<'a> {
    policies: PolicyContext<'a>,
    builder: RequestBuilder<'a>,
    asked: &'a ReplayInput<String>,
    people: Vec<Approval>,
}

impl Asking<'_> {
    fn all(&self, then: Option<&Groups>) -> Again {
        let now = groups(self.policies.vocabulary);
        let changed = |group: &str| then.and_then(|then| then.get(group)) != now.get(group);
        let mut again = Again { decision: None, requests: Vec::new(), left_out: Vec::new() };
        for item in &self.asked.items {
            let judged = match self.bounds(item, &changed) {
                None => self.item(item),
                Some((least, most)) => self.item(&least).and_then(|judged| {
                    let same = self.item(&most)?.iter().map(|judged| judged.decision).max()
                        == judged.iter().map(|judged| judged.decision).max();
                    let unknown = "which groups have members below it was looked up for groups that have changed since";
                    if same { Ok(judged) } else { Err(unknown.to_owned()) }
                }),
            };
            match judged {
                Ok(judged) => again.requests.extend(judged),
                Err(why) => again.left_out.push(LeftOut { about: about(item), why }),
            }
            if again.requests.len() > verdict::MAX_REQUESTS {
                return Again::nothing("it raises more questions under these policies than a script may");
            }
        }
        let strictest = verdict::strictest(&again.requests);
        // What is left out can make a decision stricter, never laxer.
        let certain = again.left_out.is_empty() || (strictest == Decision::Deny && !again.requests.is_empty());
        again.decision = certain.then_some(strictest);
        again
    }

    /// The answers to one question, or why it cannot be asked.
    fn item(&self, item: &Item<String>) -> Result<Vec<Judged>, String> {
        if item.cut.contains(&Field::Name) {
            return Err("a secret was redacted from its name".to_owned());
        }
        let batch = self.builder.batch(self.builder.drafts_of(&Question::from(item.clone()), self.asked.script));
        for draft in &batch.drafts {
            if let Some(why) = self.looks_at_what_is_cut(item, draft) {
                return Err(why);
            }
        }
        let judge = |draft| {
            let judged = verdict::judge(self.policies.bundle, &self.builder, &batch, draft);
            if judged.decision != Decision::Ask || self.people.is_empty() {
                return judged;
            }
            verdict::lift(self.policies.bundle, &self.builder, &batch, draft, &self.people)
        };
        Ok(batch.drafts.iter().map(judge).collect())
    }

    /// The policy that could look at something that is not as it was, if there is one.
    fn looks_at_what_is_cut(&self, item: &Item<String>, draft: &RequestDraft) -> Option<String> {
        let names = |field: Field| field.attributes().unwrap_or_default();
        let cut: Vec<Field> = item.cut.iter().copied().filter(|field| !names(*field).is_empty()).collect();
        if cut.is_empty() {
            return None;
        }
        let bound = match self.builder.bind_alone(draft, false) {
            Ok(bound) => bound,
            Err(why) => return Some(why),
        };
        let slice = self.policies.bundle.index.slice_of(&bound);
        let policies = || slice.members.iter().filter_map(|at| self.policies.bundle.index.policy(*at));
        let found = cut.iter().find_map(|field| {
            let policy = policies().find(|policy| names(*field).iter().any(|name| reads(policy, name)))?;
            Some((field, policy.id().to_string()))
        });
        found.map(|(field, policy)| {
            format!("a secret was redacted from its {}, which `{policy}` looks at", field.as_str())
        })
    }

    /// For a tree: the same with the fewest groups that may have members below, and with the most, where groups have changed
    /// since they were looked for. `None`: what was found then holds.
    fn bounds(&self, item: &Item<String>, changed: &impl Fn(&str) -> bool) -> Option<(Item<String>, Item<String>)> {
        let What::File(files) = &item.what else { return None };
        let found = files.below.as_ref().filter(|_| files.tree)?;
        let paths = files.paths.iter().filter_map(|path| AbsolutePath::new(path));
        let possible: BTreeSet<String> = paths
            .flat_map(|path| {
                self.policies.vocabulary.groups_below(&path).into_iter().map(str::to_owned).collect::<Vec<_>>()
            })
            .filter(|group| changed(group))
            .collect();
        if possible.is_empty() && !found.iter().any(|group| changed(group)) {
            return None;
        }
        let least: BTreeSet<String> = found.iter().filter(|group| !changed(group)).cloned().collect();
        let most: BTreeSet<String> = least.union(&possible).cloned().collect();
        let with = |below: BTreeSet<String>| {
            let files = Files { below: Some(below.into_iter().collect()), ..files.clone() };
            Item { what: What::File(files), ..item.clone() }
        };
        Some((with(least), with(most)))
    }
}

/// Whether a policy may look at an attribute: its name stands anywhere in it. What cannot be looked into may.
fn reads(policy: &Indexed, name: &str) -> bool {
    fn stands_in(value: &Value, name: &str) -> bool {
        match value {
            Value::Array(values) => values.iter().any(|value| stands_in(value, name)),
            Value::Object(fields) => fields.iter().any(|(key, value)| key == name || stands_in(value, name)),
            Value::String(text) => text == name,
            Value::Null | Value::Bool(_) | Value::Number(_) => false,
        }
    }
    policy.json().is_none_or(|json| stands_in(json, name))
}

/// What a question was about, for people.
fn about(item: &Item<String>) -> String {
    match &item.what {
        What::Exec(exec) => exec.text.clone().unwrap_or_default(),
        What::Env(variable) => variable.name.clone(),
        What::File(files) => {
            let named = files.paths.first().or(files.written.as_ref()).cloned().unwrap_or_default();
            format!("{} {named}", files.action.as_str())
        }
        What::Connect(peer) => {
            format!("connect {}", peer.host.as_ref().or(peer.written.as_ref()).cloned().unwrap_or_default())
        }
    }
}

/// The facts that questions without a script are asked on.
fn facts(asked: &ReplayInput<String>) -> Option<Facts> {
    let who = asked.who.as_ref()?;
    let set = |texts: &[String]| texts.iter().cloned().collect::<BTreeSet<String>>();
    let principal = Principal {
        agent: who.agent.clone(),
        user: who.user.clone(),
        roles: set(&who.roles),
        verified: who.verified,
        auth: who.auth,
        scopes: set(&asked.scopes),
        client: asked.client.clone().unwrap_or_default(),
    };
    let session = Session {
        id: asked.session.id.clone(),
        age_ms: asked.session.age_ms,
        commands: asked.session.commands,
        labels: set(&asked.session.labels),
        sandboxed: asked.session.sandboxed,
        guarded: asked.session.guarded,
        paths_held: asked.session.paths_held,
        own_network: asked.session.own_network,
        shell: asked.session.shell,
    };
    let (now, time_of_day_ms, weekday) = asked.clock.clone();
    let workspace = AbsolutePath::new(&asked.workspace)?;
    let temp = asked.temp.as_ref().map(|temp| AbsolutePath::new(temp).ok_or(())).transpose().ok()?;
    let mut facts = Facts::new(principal, workspace, session, Clock { now, time_of_day_ms, weekday });
    facts.transport = asked.transport;
    facts.temp = temp;
    let places = |paths: &[String]| paths.iter().map(|path| AbsolutePath::new(path)).collect::<Option<BTreeSet<_>>>();
    facts.scratch = Scratch { places: places(&asked.scratch)?, except: places(&asked.not_scratch)? };
    if let Some(host) = &asked.host {
        facts.host.clone_from(&host.name);
        facts.machine = Machine {
            user: host.user.clone(),
            key_verified: host.key_verified,
            image: host.image.clone(),
            privileged: host.privileged,
        };
    }
    Some(facts)
}
