//! What Cedar is asked: one question that a script raises (`questions`) to requests. The only place where entities, attributes
//! and context records are put together, and where the groups and the literals of a policy set come in.
//!
//! Every attribute is always set. What the facts do not tell takes the value that forbids most.

use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::{Arc, LazyLock};

use cedar_policy::{Context, Entities, Entity, EntityUid, Request, RestrictedExpression, validate_scope_variables};
use palisade_grammar::{Opaque, OutwardEffect, Span};

use crate::acts::{Act, Approval, FileAction, Oversight, Receiver};
use crate::answer::answer;
use crate::bound_request::BoundRequest;
use crate::bundle::Bundle;
use crate::cedar_values::{
    Built, bool, clamped, duration, entity, long, named, role_uids, string, strings, text, uid, uids,
};
use crate::decision_cache::{Circumstances, Lasting, OwnCode, RequestCache};
use crate::facts::{Clock, Facts, Machine, Origin, Session, Transport};
use crate::no_gain;
use crate::path::AbsolutePath;
use crate::questions::{Question, Questions};
use crate::replay_input::{Exec, Files, Item, Neighbours, Outward, Peer, Script, Variable, What};
use crate::report::Decision;
use crate::variables;
use crate::vocabulary::Vocabulary;

/// The one clock of a request.
const CLOCK: &str = "now";

/// The one record of a request.
const RECORD: &str = "record";

/// What the clock shows to a set in which no policy looks at it: the schema wants a value, and making one for each
/// request would cost more than deciding it.
static UNREAD_CLOCK: LazyLock<Clock> =
    LazyLock::new(|| Clock { now: "1970-01-01T00:00:00.000Z".to_owned(), time_of_day_ms: 0, weekday: 0 });

/// A request before the answer to "approved?" is known.
pub(crate) struct RequestDraft {
    /// The action's id.
    pub(crate) action: &'static str,
    /// The resource, for people.
    pub(crate) resource: String,
    /// The program that this is about; empty if none is known.
    pub(crate) program: String,
    /// Where it stands in the script.
    pub(crate) span: Span,
    /// The wrappers around it, outermost first.
    pub(crate) via: Vec<String>,
    /// What a command does beyond its workspace, in a sentence. Empty: nothing that is known.
    pub(crate) does: String,
    /// What goes to Cedar. `Err`: it could not be said, which denies.
    body: Built<Body>,
}

struct Body {
    /// The resource's entity, with everything above it as direct parents.
    entity: Entity,
    /// The entity says more than another of the same id that the script may need: it goes into a store of its own.
    apart: bool,
    /// The working directory; `None` is unknown.
    directory: Option<AbsolutePath>,
    /// What the context holds beyond what all actions share.
    context: Vec<(String, RestrictedExpression)>,
}

impl Body {
    fn new(entity: Entity, directory: Option<&AbsolutePath>) -> Self {
        Self { entity, apart: false, directory: directory.cloned(), context: Vec::new() }
    }

    fn with(mut self, name: &str, value: RestrictedExpression) -> Self {
        self.context.push((name.to_owned(), value));
        self
    }
}

/// What requests are made and answered with.
#[derive(Clone, Copy)]
pub(crate) struct PolicyContext<'a> {
    pub(crate) bundle: &'a Bundle,
    /// The groups that the policies name.
    pub(crate) vocabulary: &'a Vocabulary,
    /// What the same policies made requests of before.
    pub(crate) cache: &'a RequestCache,
}

/// Builds requests for one script, or for one question of the runner's own.
pub(crate) struct RequestBuilder<'a> {
    policies: PolicyContext<'a>,
    facts: &'a Facts,
    /// The entities that every request refers to, checked once.
    common: OnceCell<Built<Entities>>,
    /// The ids of the entities that every request refers to.
    shared: OnceCell<Built<[EntityUid; 6]>>,
    /// The entities of the directories that commands run in.
    directories: RefCell<HashMap<Option<AbsolutePath>, Built<Entity>>>,
    /// The directories above one, itself the first: a script that names a thousand files of a deep directory has each
    /// of them once.
    above: RefCell<HashMap<AbsolutePath, Rc<[EntityUid]>>>,
    /// The ids in `above`, each of which is kept once for all the directories below it.
    ancestors: RefCell<HashMap<AbsolutePath, EntityUid>>,
    /// Whether the no-gain principle holds here.
    no_gain: OnceCell<bool>,
}

/// The questions that belong together, and one store for them.
pub(crate) struct RequestBatch {
    /// The questions.
    pub(crate) drafts: Vec<RequestDraft>,
    store: Built<Arc<Entities>>,
}

impl<'a> RequestBuilder<'a> {
    pub(crate) fn new(policies: PolicyContext<'a>, facts: &'a Facts) -> Self {
        Self {
            policies,
            facts,
            common: OnceCell::new(),
            shared: OnceCell::new(),
            directories: RefCell::default(),
            above: RefCell::default(),
            ancestors: RefCell::default(),
            no_gain: OnceCell::new(),
        }
    }

    /// Whether the no-gain principle holds in these circumstances: the session is held, and policy permits own code.
    pub(crate) fn no_gain(&self) -> bool {
        *self.no_gain.get_or_init(|| no_gain::may_hold(self.facts) && self.permits_own_code())
    }

    /// Whether policy permits a program of the workspace that the agent has just written, no approval given.
    fn permits_own_code(&self) -> bool {
        let key = OwnCode::of(self.facts, self.groups_of(&self.facts.workspace));
        let key = key.filter(|_| !self.policies.bundle.reads.what_passes());
        let kept = key.as_ref().and_then(|key| self.policies.cache.own_code.find(|known| known == key));
        if let Some(permitted) = kept {
            return permitted;
        }
        // The question itself is asked as if the principle did not hold.
        let plain = Self { no_gain: OnceCell::from(false), ..Self::new(self.policies, self.facts) };
        let body =
            plain.command_body(&no_gain::own_program(self.facts), Script::default(), Some(&self.facts.workspace));
        let draft = RequestDraft::of_nothing_written("exec", "own program", body);
        let permitted = answer(self.policies.bundle, plain.bind_alone(&draft, false)).decision == Decision::Allow;
        if let Some(key) = key {
            self.policies.cache.own_code.keep(key, permitted);
        }
        permitted
    }

    /// What Cedar is to be asked for all of these questions, in their order.
    pub(crate) fn drafts(&self, questions: &Questions) -> Vec<RequestDraft> {
        questions.list.iter().flat_map(|question| self.drafts_of(question, questions.script)).collect()
    }

    /// What Cedar is to be asked for one question: of a tree, also for each path below it that a policy names.
    pub(crate) fn drafts_of(&self, question: &Question, script: Script) -> Vec<RequestDraft> {
        let Item { what, dir, .. } = &question.item;
        let directory = match dir.as_deref() {
            None => Some(self.facts.workspace.clone()),
            // One that is no path is as unknown as none.
            Some(directory) => AbsolutePath::new(directory),
        };
        let draft = |action, resource: &str, body| RequestDraft {
            action,
            resource: resource.to_owned(),
            program: question.program.clone(),
            span: question.span,
            via: question.via.clone(),
            does: String::new(),
            body,
        };
        match what {
            What::Exec(exec) => {
                let body = self.command_body(exec, script, directory.as_ref());
                let does = exec.outward.as_ref().map_or_else(String::new, |outward| outward.told(&self.effects(exec)));
                vec![RequestDraft { does, ..draft("exec", exec.text.as_deref().unwrap_or_default(), body) }]
            }
            What::Env(Variable { name, value, receiver }) => {
                vec![draft("setEnv", name, self.variable_body(name, value, "", receiver, directory.as_ref()))]
            }
            What::File(files) => self.files(files, directory.as_ref(), draft),
            What::Connect(peer) => {
                let shown = match (&peer.host, &peer.written) {
                    (Some(host), _) => format!("{host}:{}", peer.port),
                    (None, written) => written.clone().unwrap_or_default(),
                };
                vec![draft("connect", &shown, self.peer_body(peer, directory.as_ref()))]
            }
        }
    }

    fn files(
        &self,
        files: &Files<String>,
        directory: Option<&AbsolutePath>,
        draft: impl Fn(&'static str, &str, Built<Body>) -> RequestDraft,
    ) -> Vec<RequestDraft> {
        let groups: Option<BTreeSet<String>> = files.below.as_ref().map(|below| below.iter().cloned().collect());
        let reach = match (files.tree, &groups) {
            (false, _) => Reach::Itself,
            (true, Some(groups)) => Reach::Known(groups),
            (true, None) => Reach::Unknown,
        };
        let written = files.written.as_deref().unwrap_or_default();
        let draft = |path: Option<&AbsolutePath>, reach: Reach<'_>| {
            let shown = path.map_or(written, AbsolutePath::as_str);
            // The agent's own code could do no more: it would damage the repository, and then fail.
            let goes_whole = files.action == FileAction::Delete
                && files.tree
                && path.is_some_and(|path| self.facts.kept_inside.contains(path));
            draft(
                files.action.as_str(),
                shown,
                self.path_body(path, reach, (&files.program, files.spawned), directory, !goes_whole),
            )
        };
        if files.paths.is_empty() {
            return vec![draft(None, reach)];
        }
        let mut drafts = Vec::new();
        for path in &files.paths {
            // One that is no path is as unknown as none.
            let path = AbsolutePath::new(path);
            drafts.push(draft(path.as_ref(), reach));
            let Some(path) = path.filter(|_| files.tree) else { continue };
            let below = self.policies.bundle.literals.of("Path").filter_map(AbsolutePath::new);
            let below = below.filter(|anchor| anchor.is_within(&path) && *anchor != path);
            drafts.extend(below.map(|anchor| draft(Some(&anchor), Reach::Itself)));
        }
        drafts
    }

    /// Questions with a store that holds what they refer to.
    pub(crate) fn batch(&self, drafts: Vec<RequestDraft>) -> RequestBatch {
        let store = self.shared_store(&drafts).map(Arc::new);
        RequestBatch { drafts, store }
    }

    /// May the principal do this to this very path? Kernel rules are made of the answers, so that the no-gain principle, which rests
    /// on those rules, does not hold here.
    pub(crate) fn path(&self, action: FileAction, path: &AbsolutePath) -> RequestDraft {
        let body = self.path_body(Some(path), Reach::Itself, ("", false), Some(&self.facts.cwd), false);
        RequestDraft::of_nothing_written(action.as_str(), path.as_str(), body)
    }

    /// The question about something other than a script, and one for each file that it touches.
    pub(crate) fn act_on(&self, act: &Act, files: &[(FileAction, AbsolutePath)]) -> Vec<RequestDraft> {
        let files = files.iter().map(|(action, path)| self.path(*action, path));
        std::iter::once(self.act(act)).chain(files).collect()
    }

    /// May the principal do this?
    pub(crate) fn act(&self, act: &Act) -> RequestDraft {
        let mut draft = RequestDraft::of_nothing_written(act.action(), &act.text(), self.act_body(act));
        draft.span = Span::new(0, act.text().len());
        draft
    }

    fn act_body(&self, act: &Act) -> Built<Body> {
        let here = Some(&self.facts.cwd);
        match act {
            Act::OpenSession => {
                Ok(Body::new(self.own_host()?, here).with("remoteUser", string(&self.facts.machine.user)))
            }
            Act::UseTool(tool) => Ok(Body::new(Entity::new_no_attrs(uid("Tool", tool)?, HashSet::new()), here)),
            Act::SetEnv { name, value, program, receiver } => self.variable_body(name, value, program, receiver, here),
            Act::Signal { program, session, signal } => {
                Ok(Body::new(process(program, session, true)?, here).with("signal", entity("Signal", signal)?))
            }
            Act::SendInput { program, session, interpreter, text } => {
                Ok(Body::new(process(program, session, *interpreter)?, here).with("text", string(text)))
            }
            Act::Connect { host, address, port, program } => {
                let entity = self.peer(Some(host), *address)?;
                let program = RestrictedExpression::new_entity_uid(uid("Program", program)?);
                // As for what a script connects to: the session's own host is in the store already, without an address.
                let apart = entity.uid() == uid("Host", &self.facts.host)?;
                let body = Body::new(entity, here).with("program", program).with("port", long(usize::from(*port)));
                Ok(Body { apart, ..body.with("noGain", bool(false)) })
            }
            Act::Checkpoint => {
                let workspace = self.path_entity(Some(&self.facts.workspace), Reach::Itself)?;
                Ok(Body::new(workspace, here))
            }
            Act::Restore { own } => {
                let workspace = self.path_entity(Some(&self.facts.workspace), Reach::Itself)?;
                Ok(Body::new(workspace, here).with("ownChanges", bool(*own)))
            }
        }
    }

    /// A variable, who sets it and what gets it.
    fn variable_body(
        &self,
        name: &str,
        value: &str,
        setter: &str,
        receiver: &Receiver<String>,
        directory: Option<&AbsolutePath>,
    ) -> Built<Body> {
        let privileged = &self.policies.bundle.privileged;
        let free = self.no_gain() && no_gain::variable(privileged, name, receiver, self.facts);
        Ok(Body::new(variable(name)?, directory)
            .with("value", string(value))
            .with("exported", bool(*receiver != Receiver::ShellAlone))
            .with("plain", bool(variables::is_plain(value)))
            .with("program", entity("Program", setter)?)
            .with("receiver", entity("Program", receiver.program())?)
            .with("privileged", bool(receiver.is_privileged(privileged, self.facts)))
            .with("noGain", bool(free)))
    }

    /// The request, with the store of the batch that the draft stands on.
    pub(crate) fn bind(&self, batch: &RequestBatch, draft: &RequestDraft, approved: bool) -> Built<BoundRequest> {
        let body = draft.body.as_ref().map_err(Clone::clone)?;
        let entities =
            if body.apart { Arc::new(self.store_alone(draft.action, body)?) } else { batch.store.clone()? };
        self.bind_in(entities, draft.action, body, approved)
    }

    /// The request, with a store of its own.
    pub(crate) fn bind_alone(&self, draft: &RequestDraft, approved: bool) -> Built<BoundRequest> {
        let body = draft.body.as_ref().map_err(Clone::clone)?;
        let entities = self.store_alone(draft.action, body)?;
        self.bind_in(Arc::new(entities), draft.action, body, approved)
    }

    fn bind_in(&self, entities: Arc<Entities>, name: &'static str, body: &Body, approved: bool) -> Built<BoundRequest> {
        let action = uid("Action", name)?;
        let principal = uid("Agent", &self.facts.principal.agent)?;
        let resource = body.entity.uid();
        let cwd = uid("Path", body.directory.as_ref().map_or("", AbsolutePath::as_str))?;
        self.complete(&entities, [&principal, &action, &resource, &cwd])?;
        let context = self.context(name, &action, body, cwd, approved)?;
        // With the context checked, this is all that is left of what `Request::new` does with a schema.
        validate_scope_variables(&principal, &action, &resource, &self.policies.bundle.schema).map_err(text)?;
        let request = Request::new(principal.clone(), action.clone(), resource.clone(), context, None).map_err(text)?;
        Ok(BoundRequest::new(request, entities, principal, action, resource))
    }

    /// The context of a request, checked against the schema: the one that was made of the same before, if there is one.
    fn context(
        &self,
        name: &'static str,
        action: &EntityUid,
        body: &Body,
        cwd: EntityUid,
        approved: bool,
    ) -> Built<Context> {
        let facts = self.facts;
        let mut own = body.context.clone();
        own.push(("cwd".to_owned(), RestrictedExpression::new_entity_uid(cwd)));
        // A variable's value or a text that is typed may be a secret.
        let keeps = !matches!(name, "setEnv" | "sendInput");
        let same = |kept: &Circumstances| {
            (kept.action, kept.approved, kept.transport) == (name, approved, facts.transport)
                && kept.host == facts.host
                && kept.workspace == facts.workspace
                && kept.session == facts.session.id
                && kept.own == own
        };
        let cache = &self.policies.cache.contexts;
        if let Some(context) = keeps.then(|| cache.find(same)).flatten() {
            return Ok(context);
        }
        let shared = named([
            ("approved", bool(approved)),
            ("transport", entity("Transport", facts.transport.as_str())?),
            ("host", entity("Host", &facts.host)?),
            ("workspace", entity("Path", facts.workspace.as_str())?),
            ("session", entity("Session", &facts.session.id)?),
            ("clock", entity("Clock", CLOCK)?),
        ]);
        let context = own_context(shared.into_iter().chain(own.iter().cloned()))?;
        context.validate(&self.policies.bundle.schema, action).map_err(text)?;
        if keeps {
            let key = Circumstances {
                action: name,
                approved,
                transport: facts.transport,
                host: facts.host.clone(),
                workspace: facts.workspace.clone(),
                session: facts.session.id.clone(),
                own,
            };
            cache.keep(key, context.clone());
        }
        Ok(context)
    }

    /// The request by which a person's yes is itself authorised.
    pub(crate) fn approval(&self, draft: &RequestDraft, person: &Approval) -> Built<BoundRequest> {
        let body = draft.body.as_ref().map_err(Clone::clone)?;
        let principal = uid("User", &person.user)?;
        let action = uid("Action", "approve")?;
        let resource = body.entity.uid();
        let agent = uid("Agent", &self.facts.principal.agent)?;
        let context = own_context([
            ("agent".to_owned(), RestrictedExpression::new_entity_uid(agent)),
            ("clock".to_owned(), entity("Clock", CLOCK)?),
            ("requested".to_owned(), string(draft.action)),
            ("via".to_owned(), entity("Channel", person.via.as_str())?),
            ("lasts".to_owned(), entity("Lasts", person.lasts.as_str())?),
        ])?;
        let schema = Some(&self.policies.bundle.schema);
        let request =
            Request::new(principal.clone(), action.clone(), resource.clone(), context, schema).map_err(text)?;
        let approver = Entity::new_no_attrs(principal.clone(), role_uids(&person.roles)?);
        let entities = self.store_alone("approve", body)?;
        let entities = entities.upsert_entities([approver], schema).map_err(text)?;
        self.complete(&entities, [&principal, &action, &resource])?;
        Ok(BoundRequest::new(request, Arc::new(entities), principal, action, resource))
    }

    /// The request by which what a person wants with the agent or the record is authorised.
    pub(crate) fn oversight(&self, user: &str, roles: &BTreeSet<String>, what: &Oversight) -> Built<BoundRequest> {
        let principal = uid("User", user)?;
        let action = uid("Action", what.action())?;
        let mut context = vec![("clock".to_owned(), entity("Clock", CLOCK)?)];
        let mut added = HashMap::new();
        self.add_action(&mut added, what.action())?;
        let resource = match what {
            Oversight::Observe => uid("Agent", &self.facts.principal.agent)?,
            Oversight::Stop { session, lift } => {
                context.extend(named([("session", string(session)), ("lift", bool(*lift))]));
                uid("Agent", &self.facts.principal.agent)?
            }
            Oversight::ReadRecord { owner } | Oversight::Prune { owner } => {
                let owner = uid("User", owner)?;
                let attributes = named([("user", RestrictedExpression::new_entity_uid(owner.clone()))]);
                let record = Entity::new_with_tags(uid("Record", RECORD)?, attributes, [], []).map_err(text)?;
                added.insert(owner.clone(), Entity::new_no_attrs(owner, HashSet::new()));
                let resource = record.uid();
                added.insert(resource.clone(), record);
                resource
            }
        };
        let schema = Some(&self.policies.bundle.schema);
        let context = own_context(context)?;
        let request =
            Request::new(principal.clone(), action.clone(), resource.clone(), context, schema).map_err(text)?;
        // Last, since the person may be the one whose agent or record it is.
        added.insert(principal.clone(), Entity::new_no_attrs(principal.clone(), role_uids(roles)?));
        let lasting = self.lasting()?.upsert_entities(self.passing()?.into_values(), schema).map_err(text)?;
        let entities = lasting.upsert_entities(added.into_values(), schema).map_err(text)?;
        self.complete(&entities, [&principal, &action, &resource])?;
        Ok(BoundRequest::new(request, Arc::new(entities), principal, action, resource))
    }

    /// Refuses a store in which something is missing that a policy may dereference: `in` on a missing entity is
    /// silently false, without any error, and a forbid would not hold. One step beyond the request's own ids suffices,
    /// for the validator lets a policy go no further.
    fn complete<const N: usize>(&self, store: &Entities, own: [&EntityUid; N]) -> Built<()> {
        let facts = self.facts;
        let shared = self.shared.get_or_init(|| {
            Ok([
                uid("Agent", &facts.principal.agent)?,
                uid("User", &facts.principal.user)?,
                uid("Host", &facts.host)?,
                uid("Path", facts.workspace.as_str())?,
                uid("Session", &facts.session.id)?,
                uid("Clock", CLOCK)?,
            ])
        });
        let shared = shared.as_ref().map_err(Clone::clone)?;
        let missing = own.into_iter().chain(shared).find(|uid| store.get(uid).is_none());
        missing.map_or(Ok(()), |uid| Err(format!("the entity store lacks `{uid}`")))
    }

    /// One store for all drafts of a script but those that need one of their own.
    fn shared_store(&self, drafts: &[RequestDraft]) -> Built<Entities> {
        let lasting = self.lasting()?;
        let mut added = self.passing()?;
        for draft in drafts {
            let Ok(body) = &draft.body else { continue };
            self.add_action(&mut added, draft.action)?;
            if !body.apart {
                self.add_directory(&mut added, body)?;
                added.entry(body.entity.uid()).or_insert_with(|| body.entity.clone());
            }
        }
        added.retain(|uid, _| lasting.get(uid).is_none());
        lasting.upsert_entities(added.into_values(), Some(&self.policies.bundle.schema)).map_err(text)
    }

    /// What all requests refer to, and what this one is about. Its resource takes the place of another entity of the
    /// same id: only it says what lies below it.
    fn store_alone(&self, action: &str, body: &Body) -> Built<Entities> {
        let schema = Some(&self.policies.bundle.schema);
        let make = || self.lasting()?.upsert_entities(self.passing()?.into_values(), schema).map_err(text);
        let common = self.common.get_or_init(make).clone()?;
        let mut added = HashMap::new();
        self.add_action(&mut added, action)?;
        self.add_directory(&mut added, body)?;
        added.insert(body.entity.uid(), body.entity.clone());
        common.upsert_entities(added.into_values(), schema).map_err(text)
    }

    /// An action with the groups that the schema puts it in: without it, `action in` a group is silently false.
    fn add_action(&self, added: &mut HashMap<EntityUid, Entity>, action: &str) -> Built<()> {
        let entity =
            self.policies.bundle.actions.get(action).ok_or_else(|| format!("the schema has no action `{action}`"))?;
        added.entry(entity.uid()).or_insert_with(|| entity.clone());
        Ok(())
    }

    fn add_directory(&self, added: &mut HashMap<EntityUid, Entity>, body: &Body) -> Built<()> {
        // The workspace is among the lasting ones.
        if body.directory.as_ref() != Some(&self.facts.workspace) {
            let directory = self.directory_entity(body.directory.as_ref())?;
            added.entry(directory.uid()).or_insert(directory);
        }
        Ok(())
    }

    /// The entities that stay the same from one script to the next, checked once for many.
    fn lasting(&self) -> Built<Entities> {
        let facts = self.facts;
        let path_groups = self.groups_of(&facts.workspace);
        let host_groups: Vec<&str> = self.policies.vocabulary.host_groups_of(&facts.host).collect();
        let session = (!self.policies.bundle.reads.session).then(|| facts.session.unread());
        let same_place = |key: &Lasting| {
            key.principal == facts.principal
                && (key.transport, &key.host, &key.machine) == (facts.transport, &facts.host, &facts.machine)
                && key.workspace == facts.workspace
                && key.path_groups.iter().eq(&path_groups)
                && key.host_groups == host_groups
        };
        let cache = &self.policies.cache;
        if let Some(entities) = cache.entities.find(|key| key.session == session && same_place(key)) {
            return Ok(entities);
        }
        let schema = Some(&self.policies.bundle.schema);
        let key = Lasting {
            principal: facts.principal.clone(),
            transport: facts.transport,
            host: facts.host.clone(),
            machine: facts.machine.clone(),
            workspace: facts.workspace.clone(),
            path_groups: path_groups.iter().map(|group| (*group).to_owned()).collect(),
            host_groups: host_groups.iter().map(|group| (*group).to_owned()).collect(),
            session: None,
        };
        let surroundings = match cache.surroundings.find(same_place) {
            Some(entities) => entities,
            None => {
                let entities = Entities::empty().upsert_entities(self.surroundings()?, schema).map_err(text)?;
                cache.surroundings.keep(key.clone(), entities.clone());
                entities
            }
        };
        let entity = session.as_ref().map(session_entity).transpose()?;
        let entities = surroundings.upsert_entities(entity, schema).map_err(text)?;
        cache.entities.keep(Lasting { session, ..key }, entities.clone());
        Ok(entities)
    }

    /// The entities that every request refers to and that change all the time, if any policy looks at what changes.
    fn passing(&self) -> Built<HashMap<EntityUid, Entity>> {
        let reads = self.policies.bundle.reads;
        if !self.facts.clock.is_well_formed() {
            return Err("the clock tells no time".to_owned());
        }
        let session = reads.session.then(|| session_entity(&self.facts.session)).transpose()?;
        let clock = reads.clock.then(|| clock_entity(&self.facts.clock)).transpose()?;
        Ok(session.into_iter().chain(clock).map(|entity| (entity.uid(), entity)).collect())
    }

    fn directory_entity(&self, directory: Option<&AbsolutePath>) -> Built<Entity> {
        let mut known = self.directories.borrow_mut();
        let entity = known.entry(directory.cloned()).or_insert_with(|| self.path_entity(directory, Reach::Itself));
        entity.clone()
    }

    fn command_body(&self, exec: &Exec<String>, script: Script, directory: Option<&AbsolutePath>) -> Built<Body> {
        let id = if exec.unread { format!("unread-{}", exec.at) } else { exec.at.to_string() };
        let mut parents = HashSet::new();
        if exec.origin.is_trusted() {
            for word in &exec.words {
                parents.insert(uid("Program", word)?);
            }
            for group in &exec.groups {
                parents.insert(uid("CommandGroup", group)?);
            }
        }
        for effect in self.effects(exec) {
            parents.insert(uid("Effect", effect.as_str())?);
        }
        let outward = |of: fn(&Outward<String>) -> &str| string(exec.outward.as_ref().map_or("", of));
        let scopes =
            exec.outward.iter().flat_map(|outward| &outward.scope).map(|(word, place)| format!("{word}={place}"));
        let peer = match exec.outward.as_ref().map(|outward| outward.hosts.as_slice()) {
            Some([host]) => host.as_str(),
            _ => "",
        };
        let shown = exec.text.as_deref().ok_or("the command's text is not there")?;
        let shown = if exec.unread { Opaque::quoted(shown) } else { shown };
        let first = exec.operands.first().map_or("", String::as_str);
        let last = exec.operands.last().map_or("", String::as_str);
        let (upstream, upstream_groups) = self.neighbours(&exec.upstream)?;
        let (downstream, downstream_groups) = self.neighbours(&exec.downstream)?;
        let mut attributes = vec![
            ("program", string(exec.words.first().map_or("", String::as_str))),
            ("groups", uids("CommandGroup", &exec.groups)?),
            ("path", string(exec.path.as_deref().unwrap_or_default())),
            ("origin", entity("Origin", exec.origin.as_str())?),
            ("text", string(shown)),
            ("flags", strings(&exec.flags)),
            ("operands", strings(&exec.operands)),
            ("firstOperand", string(first)),
            ("lastOperand", string(last)),
            ("operandCount", long(exec.operands.len())),
            ("envNames", strings(&exec.env)),
            ("wrappers", uids("Program", &exec.wrappers)?),
            ("upstream", upstream),
            ("upstreamGroups", upstream_groups),
            ("downstream", downstream),
            ("downstreamGroups", downstream_groups),
            ("inlineCode", bool(exec.inline_code)),
            ("dynamic", bool(exec.dynamic)),
            ("dynamicProgram", bool(exec.dynamic_program)),
            ("opaque", uids("Opaque", &exec.opaque)?),
            ("spawned", bool(exec.started_by.is_some())),
            ("startedBy", uids("Program", exec.started_by.iter().flatten())?),
            ("background", bool(exec.background)),
            ("depth", long(exec.depth)),
            ("system", outward(|outward| &outward.system)),
            ("scope", outward(|outward| &outward.narrowest)),
            ("scopes", strings(scopes.collect::<Vec<_>>())),
            ("target", outward(|outward| &outward.target)),
            ("peer", string(peer)),
        ];
        if let Some(http) = exec.outward.as_ref().and_then(|outward| outward.http.as_ref()) {
            let parts = [("method", string(&http.method)), ("host", string(&http.host)), ("path", string(&http.path))];
            attributes.push(("http", RestrictedExpression::new_record(named(parts)).map_err(text)?));
        }
        let tags = exec.options.iter().map(|(name, values)| (name.clone(), strings(values)));
        let entity = Entity::new_with_tags(uid("Command", &id)?, named(attributes), parents, tags).map_err(text)?;
        let free = self.no_gain() && no_gain::exec(&self.policies.bundle.privileged, exec, self.facts);
        let script = RestrictedExpression::new_record(named([
            // Code that another shell gets could as well stand in a file.
            ("parsed", bool(!script.unparsed || script.elsewhere && free)),
            ("commands", long(script.commands)),
            ("dynamic", bool(script.dynamic)),
        ]))
        .map_err(text)?;
        Ok(Body::new(entity, directory).with("script", script).with("noGain", bool(free)))
    }

    /// What a command does beyond its workspace. Whatever has a tool's name counts as that tool for what policies forbid, and not for looking, which they
    /// permit. A word that is not known yet is known at `execve`, where a guard asks again; without one it may be any.
    fn effects(&self, exec: &Exec<String>) -> BTreeSet<OutwardEffect> {
        let Some(outward) = &exec.outward else { return BTreeSet::new() };
        // What goes to a server that the session itself runs stays in it.
        let answers = |host: &String| self.answers_itself(host);
        let stays = self.facts.session.own_network && !outward.hosts.is_empty() && outward.hosts.iter().all(answers);
        let own = matches!(exec.origin, Origin::Workspace | Origin::Temp);
        let later = outward.possible.iter().filter(|_| !self.facts.session.guarded);
        let effects = outward.effects.iter().chain(later).copied();
        let effects: BTreeSet<_> = effects.filter(|effect| !own || *effect != OutwardEffect::Observe).collect();
        if stays && effects.iter().any(|effect| *effect != OutwardEffect::Observe) { BTreeSet::new() } else { effects }
    }

    /// Whether nothing but the session can answer at a host, or at a socket in a directory, if its network is its own.
    fn answers_itself(&self, host: &str) -> bool {
        if host.starts_with('/') {
            let directory = AbsolutePath::new(host);
            return directory
                .is_some_and(|path| self.facts.is_temporary(&path) || path.is_within(&self.facts.workspace));
        }
        let name = crate::host::canonical(host).unwrap_or_default();
        name == "localhost"
            || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback() || address.is_unspecified())
    }

    /// The programs at the other end of a pipe and their groups; of one that is not known, all that a policy names.
    fn neighbours(&self, of: &Neighbours<String>) -> Built<(RestrictedExpression, RestrictedExpression)> {
        let named = |kind: &'static str| self.policies.bundle.literals.of(kind).filter(|_| of.any);
        let programs: BTreeSet<&str> = of.programs.iter().map(String::as_str).chain(named("Program")).collect();
        let groups: BTreeSet<&str> = of.groups.iter().map(String::as_str).chain(named("CommandGroup")).collect();
        Ok((uids("Program", programs)?, uids("CommandGroup", groups)?))
    }

    fn path_body(
        &self,
        path: Option<&AbsolutePath>,
        reach: Reach<'_>,
        (program, spawned): (&str, bool),
        directory: Option<&AbsolutePath>,
        free: bool,
    ) -> Built<Body> {
        let entity = self.path_entity(path, reach)?;
        let program = RestrictedExpression::new_entity_uid(uid("Program", program)?);
        let body = Body::new(entity, directory)
            .with("program", program)
            .with("noGain", bool(free && self.no_gain()))
            .with("spawned", bool(spawned));
        Ok(Body { apart: reach != Reach::Itself, ..body })
    }

    /// `None` is the unknown path: it has the empty id, no parent that could permit it, and every group below it.
    fn path_entity(&self, path: Option<&AbsolutePath>, reach: Reach<'_>) -> Built<Entity> {
        let resource = uid("Path", path.map_or("", AbsolutePath::as_str))?;
        let mut parents = HashSet::new();
        let mut contains: BTreeSet<&str> = BTreeSet::new();
        match path {
            Some(path) => {
                // Ancestors are listed flat: a chain of entities costs ten times as much, and one missing link would
                // make `in` silently false.
                parents.extend(self.above(path)?.iter().cloned());
                for group in self.groups_of(path) {
                    parents.insert(uid("PathGroup", group)?);
                }
                match reach {
                    Reach::Itself => {}
                    Reach::Known(groups) => contains = groups.iter().map(String::as_str).collect(),
                    Reach::Unknown => contains = self.policies.vocabulary.groups_below(path),
                }
            }
            None if reach != Reach::Itself => contains = self.policies.vocabulary.names().collect(),
            None => {}
        }
        let attributes = [
            ("path", string(path.map_or("", AbsolutePath::as_str))),
            ("name", string(path.map_or("", AbsolutePath::name))),
            ("extension", string(path.map_or("", AbsolutePath::extension))),
            ("unknown", bool(path.is_none())),
            ("contains", uids("PathGroup", contains)?),
        ];
        Entity::new_with_tags(resource, named(attributes), parents, []).map_err(text)
    }

    /// Every directory above a path.
    fn above(&self, path: &AbsolutePath) -> Built<Rc<[EntityUid]>> {
        let Some(parent) = path.parent() else { return Ok(Rc::default()) };
        if let Some(known) = self.above.borrow().get(&parent) {
            return Ok(Rc::clone(known));
        }
        let mut ancestors = self.ancestors.borrow_mut();
        let mut all = Vec::new();
        for directory in path.ancestors() {
            let id = match ancestors.get(&directory) {
                Some(known) => known.clone(),
                None => uid("Path", directory.as_str())?,
            };
            all.push(id.clone());
            ancestors.insert(directory, id);
        }
        let all: Rc<[EntityUid]> = all.into();
        self.above.borrow_mut().insert(parent, Rc::clone(&all));
        Ok(all)
    }

    fn groups_of(&self, path: &AbsolutePath) -> BTreeSet<&str> {
        // The machine's own `/dev` is not there where the session has its own `/dev/shm`.
        if self.facts.scratch.holds(path) {
            return self.policies.vocabulary.name_groups_of(path).chain(["temp"]).collect();
        }
        let temp = self.facts.is_temporary(path).then_some("temp");
        let is_public = self.facts.public.contains(path);
        self.policies.vocabulary.groups_of(path).filter(|group| !is_public || *group != "secrets").chain(temp).collect()
    }

    fn peer_body(&self, peer: &Peer<String>, directory: Option<&AbsolutePath>) -> Built<Body> {
        let entity = self.peer(peer.host.as_deref(), None)?;
        let program = RestrictedExpression::new_entity_uid(uid("Program", &peer.program)?);
        // The session's own host is in every store, as a host that is reached in another way.
        let apart = entity.uid() == uid("Host", &self.facts.host)?;
        // In a network of the session's own each connection goes through the proxy, which asks then.
        let free = peer.host.is_none() && self.facts.session.own_network && self.no_gain();
        let body = Body::new(entity, directory).with("program", program).with("port", long(usize::from(peer.port)));
        Ok(Body { apart, ..body.with("noGain", bool(free)) })
    }

    /// A network peer, and the address that its name means where that is known; `None` is the unknown one, with the empty
    /// id and no domain.
    fn peer(&self, host: Option<&str>, known: Option<IpAddr>) -> Built<Entity> {
        // A numeric name that is no address is nothing that can be vouched for: it is asked as the unknown peer.
        let name = host.and_then(crate::host::canonical).unwrap_or_default();
        // A name that is an address means that one, whatever else is said of it.
        let address = name.parse::<IpAddr>().ok().or(known.map(|known| known.to_canonical()));
        let loopback = name == "localhost" || address.is_some_and(|address| address.is_loopback());
        // The address that any socket of the machine's answers at.
        let unspecified = address.is_some_and(|address| address.is_unspecified());
        let own = self.facts.session.own_network && (loopback || unspecified);
        let mut attributes = host_attributes(&name, Transport::Local, loopback, own, &Machine::default())?;
        if let Some(address) = address {
            attributes.push(("ip".to_owned(), RestrictedExpression::new_ip(address.to_string())));
        }
        Entity::new_with_tags(uid("Host", &name)?, attributes, self.above_host(&name)?, []).map_err(text)
    }

    /// The host that the session is on.
    fn own_host(&self) -> Built<Entity> {
        let host = &self.facts.host;
        let attributes = host_attributes(
            host,
            self.facts.transport,
            self.facts.transport == Transport::Local,
            false,
            &self.facts.machine,
        )?;
        Entity::new_with_tags(uid("Host", host)?, attributes, self.above_host(host)?, []).map_err(text)
    }

    /// The domains of a name and the groups that it belongs to, each listed directly.
    fn above_host(&self, name: &str) -> Built<HashSet<EntityUid>> {
        let mut parents = HashSet::new();
        if name.parse::<std::net::IpAddr>().is_err() {
            let mut rest = name;
            while let Some((_, suffix)) = rest.split_once('.') {
                parents.insert(uid("Host", suffix)?);
                rest = suffix;
            }
        }
        for group in self.policies.vocabulary.host_groups_of(name) {
            parents.insert(uid("HostGroup", group)?);
        }
        Ok(parents)
    }

    /// The agent with its user and roles, the host and the workspace.
    fn surroundings(&self) -> Built<Vec<Entity>> {
        let principal = &self.facts.principal;
        let user = uid("User", &principal.user)?;
        let attributes = named([
            ("user", RestrictedExpression::new_entity_uid(user.clone())),
            ("verified", bool(principal.verified)),
            ("auth", entity("AuthMethod", principal.auth.as_str())?),
            ("scopes", strings(&principal.scopes)),
            ("client", string(&principal.client)),
        ]);
        let agent = uid("Agent", &principal.agent)?;
        let agent = Entity::new_with_tags(agent, attributes, role_uids(&principal.roles)?, []).map_err(text)?;
        let user = Entity::new_no_attrs(user, HashSet::new());
        let workspace = self.path_entity(Some(&self.facts.workspace), Reach::Itself)?;
        let mut surroundings = vec![agent, user, self.own_host()?, workspace];
        if !self.policies.bundle.reads.clock {
            surroundings.push(clock_entity(&UNREAD_CLOCK)?);
        }
        Ok(surroundings)
    }
}

impl RequestDraft {
    /// A question that no part of a script raised.
    fn of_nothing_written(action: &'static str, resource: &str, body: Built<Body>) -> Self {
        Self {
            action,
            resource: resource.to_owned(),
            program: String::new(),
            span: Span::default(),
            via: Vec::new(),
            does: String::new(),
            body,
        }
    }
}

/// How much of what lies below a path an operation gets to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach<'a> {
    /// Nothing: the path alone.
    Itself,
    /// All of it, in which these groups have members.
    Known(&'a BTreeSet<String>),
    /// All of it, and what is there is not known.
    Unknown,
}

fn session_entity(session: &Session) -> Built<Entity> {
    let attributes = named([
        ("id", string(&session.id)),
        ("age", duration(session.age_ms)),
        ("commands", clamped(session.commands)),
        ("labels", uids("Label", &session.labels)?),
        ("sandboxed", bool(session.sandboxed)),
        ("guarded", bool(session.guarded)),
        ("pathsHeld", bool(session.paths_held)),
        ("shell", string(session.shell.as_str())),
    ]);
    Entity::new_with_tags(uid("Session", &session.id)?, attributes, [], []).map_err(text)
}

fn clock_entity(clock: &Clock) -> Built<Entity> {
    const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    let day = DAYS.get(usize::from(clock.weekday)).ok_or("the weekday is out of range")?;
    let attributes = named([
        ("now", RestrictedExpression::new_datetime(&clock.now)),
        ("timeOfDay", duration(u64::from(clock.time_of_day_ms))),
        ("weekday", entity("Weekday", day)?),
    ]);
    Entity::new_with_tags(uid("Clock", CLOCK)?, attributes, [], []).map_err(text)
}

fn variable(name: &str) -> Built<Entity> {
    let attributes = named([
        ("name", string(name)),
        ("lower", string(&name.to_ascii_lowercase())),
        ("listed", bool(variables::is_listed(name))),
    ]);
    Entity::new_with_tags(uid("EnvVar", name)?, attributes, [], []).map_err(text)
}

fn process(program: &str, session: &str, interpreter: bool) -> Built<Entity> {
    let attributes = named([
        ("program", entity("Program", program)?),
        ("session", string(session)),
        ("interpreter", bool(interpreter)),
    ]);
    Entity::new_with_tags(uid("Process", &format!("{session}/{program}"))?, attributes, [], []).map_err(text)
}

fn own_context(pairs: impl IntoIterator<Item = (String, RestrictedExpression)>) -> Built<Context> {
    Context::from_pairs(pairs).map_err(text)
}

fn host_attributes(
    name: &str,
    transport: Transport,
    loopback: bool,
    own: bool,
    machine: &Machine,
) -> Built<Vec<(String, RestrictedExpression)>> {
    let pinned = machine.image.rsplit_once("@sha256:").is_some_and(|(_, digest)| !digest.is_empty());
    Ok(named([
        ("name", string(name)),
        ("transport", entity("Transport", transport.as_str())?),
        ("loopback", bool(loopback)),
        ("own", bool(own)),
        ("keyVerified", bool(machine.key_verified)),
        ("image", string(&machine.image)),
        ("imagePinned", bool(pinned)),
        ("privileged", bool(transport != Transport::Local && machine.privileged)),
    ]))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
pub(crate) mod tests {
    use cedar_policy::{Authorizer, Decision, PolicySet};
    use palisade_grammar::CommandId;

    use super::*;
    use crate::facts::{Origin, Principal, Program};
    use crate::{Engine, Source};

    pub(crate) fn facts() -> Facts {
        let directory = |text: &str| AbsolutePath::new(text).unwrap();
        let principal = Principal::os_user("agent", "user", BTreeSet::from(["role".to_owned()]));
        let session = Session { sandboxed: true, guarded: true, paths_held: true, ..Session::opened("session") };
        let clock = Clock { now: "2026-11-21T12:00:00.000Z".to_owned(), time_of_day_ms: 0, weekday: 0 };
        let program = Program { path: None, origin: Origin::System };
        Facts {
            cwd: directory("/srv/app/sub"),
            programs: [(CommandId(0), program)].into(),
            paths: [((CommandId(0), 0), directory("/srv/app/sub/x"))].into(),
            directories: [(CommandId(0), directory("/srv/app/sub"))].into(),
            ..Facts::new(principal, directory("/srv/app"), session, clock)
        }
    }

    pub(crate) fn engine(policies: &str) -> Engine {
        let source = Source { name: "site.cedar".to_owned(), text: policies.to_owned() };
        let (file, groups) = palisade_policies::GROUPS;
        let vocabulary = Vocabulary::parse(file, groups, &AbsolutePath::new("/home/u").unwrap()).unwrap();
        Engine::new(Bundle::load(vec![source]).unwrap(), vocabulary)
    }

    const ALL: &str = "@id(\"all\") permit (principal, action, resource);";

    /// Each directory's id is one text in memory, whatever lies below it: written out for each of a thousand files in a
    /// deep directory they would take gigabytes.
    #[test]
    fn the_directories_above_are_kept_once() {
        let (facts, engine) = (facts(), engine(ALL));
        let builder = RequestBuilder::new(engine.policies(), &facts);
        let deep = "/directory".repeat(200);
        let above = |name: &str| -> Rc<[EntityUid]> {
            builder.above(&AbsolutePath::new(&format!("{deep}/{name}")).unwrap()).unwrap()
        };
        assert_eq!(above("a").len(), 201);
        assert!(Rc::ptr_eq(&above("a"), &above("b")));
        let texts = |path: &str| above(path).iter().map(|id| id.id().unescaped().as_ptr()).collect::<Vec<_>>();
        // A text of a few bytes is held in the id itself.
        assert!(texts("sub/x").into_iter().skip(1).take(197).eq(texts("a").into_iter().take(197)));
        assert_eq!(builder.ancestors.borrow().len(), 202);
        assert!(builder.above(&AbsolutePath::root()).unwrap().is_empty());
    }

    /// What a policy may look at, taken away in turn: Cedar allows without a word, and we do not ask it.
    #[test]
    fn a_store_that_lacks_something_is_not_asked() {
        let facts = facts();
        let engine = engine(ALL);
        let builder = RequestBuilder::new(engine.policies(), &facts);
        let inventory = palisade_grammar::inventory(b"cat x");
        let needed = [
            ("Agent", "agent", "principal in Role::\"role\""),
            ("User", "user", "principal.user in Role::\"role\""),
            ("Action", "exec", "action in Action::\"activity\""),
            ("Command", "0", "resource in Program::\"cat\""),
            ("Path", "/srv/app/sub", "context.cwd in Path::\"/srv\""),
            ("Path", "/srv/app", "context.workspace in Path::\"/srv\""),
            ("Host", "localhost", "context.host in HostGroup::\"g\""),
            ("Session", "session", "context.session in Role::\"role\""),
            ("Clock", "now", "context.clock in Role::\"role\""),
        ];
        for (kind, id, condition) in needed {
            let whole = builder.batch(builder.drafts(&crate::questions::script(&inventory, &facts)));
            let draft = whole.drafts.iter().find(|draft| draft.action == "exec").unwrap();
            let bound = builder.bind(&whole, draft, false).unwrap();
            let lacking = bound.entities.as_ref().clone().remove_entities([uid(kind, id).unwrap()]).unwrap();
            let forbid = format!("{ALL}@id(\"f\") forbid (principal, action, resource) when {{ {condition} }};");
            let set: PolicySet = forbid.parse().unwrap();
            let response = Authorizer::new().is_authorized(&bound.request, &set, &lacking);
            assert_eq!(
                (response.decision(), response.diagnostics().errors().count()),
                (Decision::Allow, 0),
                "the pitfall is gone: {condition}"
            );
            let damaged = RequestBatch { drafts: Vec::new(), store: Ok(Arc::new(lacking)) };
            let refused = builder.bind(&damaged, draft, false).err().unwrap();
            assert!(refused.contains("the entity store lacks") && refused.contains(id), "{kind} {id}: {refused}");
        }
    }

    /// Cedar takes a request about an action that does not exist, or of types that the action is not for, unless the
    /// schema is asked.
    #[test]
    fn a_request_that_the_schema_does_not_know_is_not_asked() {
        let facts = facts();
        let engine = engine(ALL);
        let builder = RequestBuilder::new(engine.policies(), &facts);
        let path = AbsolutePath::new("/srv/app/x").unwrap();
        for action in ["raed", "exec", "fileAccess", "connect"] {
            let draft = RequestDraft { action, ..builder.path(FileAction::Read, &path) };
            assert!(builder.bind_alone(&draft, false).is_err(), "{action}");
        }
        let draft = builder.path(FileAction::Read, &path);
        assert!(builder.bind_alone(&draft, false).is_ok());
        let body = draft.body.unwrap().with("extra", bool(true));
        assert!(
            builder
                .bind_alone(&RequestDraft { body: Ok(body), ..builder.path(FileAction::Read, &path) }, false)
                .is_err()
        );
    }
}
