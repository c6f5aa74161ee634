//! What Cedar is asked: one item of an inventory to one request. The only place where entities, attributes and
//! context records are put together.
//!
//! Every attribute is always set. What the facts do not tell takes the value that forbids most.

use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use cedar_policy::{Context, Entities, Entity, EntityUid, Request, RestrictedExpression, validate_scope_variables};
use palisade_grammar::{
    Assignment, Command, CommandId, Effect, EffectKind, Inventory, Opaque, Resolved, Span, Value, Via, Word,
};

use crate::bundle::Bundle;
use crate::facts::{AtExecve, Clock, Crowd, Facts, Machine, Origin, Program, Session, Transport};
use crate::kept::{Circumstances, Lasting};
use crate::path::AbsolutePath;
use crate::terms::{
    Built, bool, clamped, duration, entity, long, named, none, role_uids, string, strings, text, uid, uids,
};
use crate::vocabulary::Vocabulary;

/// The one clock of a request.
const CLOCK: &str = "now";

/// How deep a command may stand in a text: what the grammar refuses to go beyond.
const MAX_DEPTH: usize = 64;

/// What the clock shows to a set in which no policy looks at it: the schema wants a value, and making one for each
/// request would cost more than deciding it.
static UNREAD_CLOCK: LazyLock<Clock> =
    LazyLock::new(|| Clock { now: "1970-01-01T00:00:00.000Z".to_owned(), time_of_day_ms: 0, weekday: 0 });

/// A request before the answer to "approved?" is known.
pub(crate) struct Draft {
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

/// A request and its entity store, complete for everything that a policy may dereference.
pub(crate) struct Posed {
    pub(crate) request: Request,
    pub(crate) entities: Arc<Entities>,
    principal: EntityUid,
    action: EntityUid,
    resource: EntityUid,
}

impl Posed {
    /// Whether this is a command that no group permit can fit.
    pub(crate) fn is_in_no_group(&self) -> bool {
        let mut above = self.entities.ancestors(&self.resource).into_iter().flatten();
        let is_command = self.resource.type_name().to_string() == "Command";
        is_command && !above.any(|uid| uid.type_name().to_string() == "CommandGroup")
    }

    /// The policies that can have a say.
    pub(crate) fn slice(&self, bundle: &Bundle) -> std::sync::Arc<crate::slice::Slice> {
        let above = |uid: &'_ EntityUid| self.entities.ancestors(uid).into_iter().flatten();
        bundle.index.slice(
            &self.action,
            above(&self.principal).chain([&self.principal]),
            above(&self.resource).chain([&self.resource]),
        )
    }
}

/// What an action on a file is called in the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileAction {
    /// Read a file, list a directory.
    Read,
    /// Create or change.
    Write,
    /// Remove.
    Delete,
    /// Run or load as code.
    Execute,
}

impl FileAction {
    /// The action's id in the schema.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Delete => "delete",
            Self::Execute => "execute",
        }
    }
}

/// Something that the principal wants done, but for running a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Open a session on the facts' host.
    OpenSession,
    /// Call an MCP tool.
    UseTool(String),
    /// Give a command a variable.
    SetEnv {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
        /// The trusted program that gives it to those that it starts; empty for the agent, and for any other.
        program: String,
    },
    /// Send a signal to a process.
    Signal {
        /// What it runs.
        program: String,
        /// The session that it belongs to.
        session: String,
        /// `TERM`, without `SIG`.
        signal: String,
    },
    /// Write to a process's standard input.
    SendInput {
        /// What it runs.
        program: String,
        /// The session that it belongs to.
        session: String,
        /// It takes what is written for code; unknown counts as true.
        interpreter: bool,
        /// What is written.
        text: String,
    },
    /// Connect to a peer.
    Connect {
        /// Its name or address, however it is written.
        host: String,
        /// The address that the name means, where that is known.
        address: Option<IpAddr>,
        /// The port.
        port: u16,
        /// The trusted program that wants it; empty for any other.
        program: String,
    },
    /// Take a snapshot of the workspace.
    Checkpoint,
    /// Go back to one.
    Restore,
}

impl Act {
    /// The action's id in the schema.
    pub fn action(&self) -> &'static str {
        match self {
            Self::OpenSession => "openSession",
            Self::UseTool(_) => "useTool",
            Self::SetEnv { .. } => "setEnv",
            Self::Signal { .. } => "signal",
            Self::SendInput { .. } => "sendInput",
            Self::Connect { .. } => "connect",
            Self::Checkpoint => "checkpoint",
            Self::Restore => "restore",
        }
    }

    /// The act, for people.
    pub fn text(&self) -> String {
        match self {
            Self::OpenSession | Self::Checkpoint | Self::Restore => self.action().to_owned(),
            Self::UseTool(tool) => format!("useTool {tool}"),
            Self::SetEnv { name, value, .. } => format!("{name}={value}"),
            Self::Signal { program, signal, .. } => format!("signal {signal} to {program}"),
            Self::SendInput { program, .. } => format!("sendInput to {program}"),
            Self::Connect { host, port, .. } => format!("{host}:{port}"),
        }
    }
}

/// Builds requests for one script, or for one question of the runner's own.
pub(crate) struct Asker<'a> {
    bundle: &'a Bundle,
    vocabulary: &'a Vocabulary,
    facts: &'a Facts,
    /// The entities that every request refers to, checked once.
    common: OnceCell<Built<Entities>>,
    /// The ids of the entities that every request refers to.
    shared: OnceCell<Built<[EntityUid; 6]>>,
    /// The entities of the directories that commands run in.
    directories: RefCell<HashMap<Option<AbsolutePath>, Built<Entity>>>,
}

/// The questions that belong together, and one store for them.
pub(crate) struct Sheet {
    /// The questions.
    pub(crate) drafts: Vec<Draft>,
    store: Built<Arc<Entities>>,
}

impl<'a> Asker<'a> {
    pub(crate) fn new(bundle: &'a Bundle, vocabulary: &'a Vocabulary, facts: &'a Facts) -> Self {
        Self {
            bundle,
            vocabulary,
            facts,
            common: OnceCell::new(),
            shared: OnceCell::new(),
            directories: RefCell::default(),
        }
    }

    /// Every question that a script raises, in the order of the text. Empty only if the inventory is.
    pub(crate) fn script(&self, inventory: &Inventory) -> Vec<Draft> {
        let mut drafts = Vec::new();
        let mut opaque: HashMap<CommandId, Vec<&Opaque>> = HashMap::new();
        for item in inventory.opaque() {
            let Some(command) = item.command else { continue };
            if item.is_possible_option() && self.facts.no_options.contains(&(command, item.span.start)) {
                continue;
            }
            opaque.entry(command).or_default().push(item);
        }
        for command in inventory.commands() {
            let opaque = opaque.get(&command.id).map_or(&[][..], Vec::as_slice);
            // What a function runs is told by its body, which is listed by itself.
            let runs = !matches!(command.resolved, Resolved::None | Resolved::Function);
            if runs || !opaque.is_empty() {
                drafts.push(self.command(inventory, command, opaque));
            }
            let assignments = command.assignments.iter().filter(|assignment| !splits_one_read(command, assignment));
            drafts.extend(assignments.map(|assignment| self.assignment(inventory, command, assignment)));
            for (index, effect) in command.effects.iter().enumerate() {
                drafts.extend(self.effect(inventory, command, index, effect));
            }
        }
        let unattached = inventory.opaque().iter().filter(|opaque| opaque.command.is_none());
        drafts.extend(unattached.map(|opaque| self.unread(inventory, opaque)));
        drafts.sort_by_key(|draft| draft.span.start);
        drafts
    }

    /// Every question that executing a program raises: the program itself and what it touches, and of code in its words
    /// what that touches without executing anything. What else the code runs is asked when it is executed; a file that
    /// only its run can name is the kernel's to hold. A program that its words name outright is asked at once, since a
    /// wrapper may run it without executing it, as the dynamic loader does.
    pub(crate) fn execution(&self, inventory: &Inventory) -> Vec<Draft> {
        let Some((program, inner)) = inventory.commands().split_first() else { return Vec::new() };
        let opaque: Vec<&Opaque> = inventory.opaque().iter().collect();
        let mut drafts = vec![self.command(inventory, program, &opaque)];
        for (index, effect) in program.effects.iter().enumerate() {
            drafts.extend(self.effect(inventory, program, index, effect));
        }
        for command in inner {
            if matches!(command.via, Via::Wrapper(_)) && command.argv.iter().all(is_literal) {
                drafts.push(self.command(inventory, command, &[]));
            }
            for (index, effect) in command.effects.iter().enumerate() {
                let at = (command.id, index);
                if self.facts.paths.contains_key(&at) || self.facts.matches.contains_key(&at) {
                    drafts.extend(self.effect(inventory, command, index, effect));
                }
            }
        }
        drafts
    }

    /// Questions with a store that holds what they refer to.
    pub(crate) fn sheet(&self, drafts: Vec<Draft>) -> Sheet {
        let store = self.shared_store(&drafts).map(Arc::new);
        Sheet { drafts, store }
    }

    /// May the principal do this to this very path?
    pub(crate) fn path(&self, action: FileAction, path: &AbsolutePath) -> Draft {
        let body = self.path_body(Some(path), Reach::Itself, "", Some(&self.facts.cwd));
        Draft::of_nothing_written(action.as_str(), path.as_str(), body)
    }

    /// May the principal do this?
    pub(crate) fn act(&self, act: &Act) -> Draft {
        let mut draft = Draft::of_nothing_written(act.action(), &act.text(), self.act_body(act));
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
            Act::SetEnv { name, value, program } => {
                let program = RestrictedExpression::new_entity_uid(uid("Program", program)?);
                Ok(Body::new(variable(name)?, here).with("value", string(value)).with("program", program))
            }
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
                Ok(Body { apart, ..body })
            }
            Act::Checkpoint | Act::Restore => {
                let workspace = self.path_entity(Some(&self.facts.workspace), Reach::Itself)?;
                Ok(Body::new(workspace, here))
            }
        }
    }

    /// The request, with the store of the sheet that the draft stands on.
    pub(crate) fn pose(&self, sheet: &Sheet, draft: &Draft, approved: bool) -> Built<Posed> {
        let body = draft.body.as_ref().map_err(Clone::clone)?;
        let entities =
            if body.apart { Arc::new(self.store_alone(draft.action, body)?) } else { sheet.store.clone()? };
        self.pose_in(entities, draft.action, body, approved)
    }

    /// The request, with a store of its own.
    pub(crate) fn pose_alone(&self, draft: &Draft, approved: bool) -> Built<Posed> {
        let body = draft.body.as_ref().map_err(Clone::clone)?;
        let entities = self.store_alone(draft.action, body)?;
        self.pose_in(Arc::new(entities), draft.action, body, approved)
    }

    fn pose_in(&self, entities: Arc<Entities>, name: &'static str, body: &Body, approved: bool) -> Built<Posed> {
        let action = uid("Action", name)?;
        let principal = uid("Agent", &self.facts.principal.agent)?;
        let resource = body.entity.uid();
        let cwd = uid("Path", body.directory.as_ref().map_or("", AbsolutePath::as_str))?;
        self.complete(&entities, [&principal, &action, &resource, &cwd])?;
        let context = self.context(name, &action, body, cwd, approved)?;
        // With the context checked, this is all that is left of what `Request::new` does with a schema.
        validate_scope_variables(&principal, &action, &resource, &self.bundle.schema).map_err(text)?;
        let request = Request::new(principal.clone(), action.clone(), resource.clone(), context, None).map_err(text)?;
        Ok(Posed { request, entities, principal, action, resource })
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
        let kept = &self.bundle.kept.contexts;
        if let Some(context) = keeps.then(|| kept.find(same)).flatten() {
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
        context.validate(&self.bundle.schema, action).map_err(text)?;
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
            kept.keep(key, context.clone());
        }
        Ok(context)
    }

    /// The request by which a person's yes is itself authorised.
    pub(crate) fn approval(&self, draft: &Draft, approver: &str, roles: &BTreeSet<String>) -> Built<Posed> {
        let body = draft.body.as_ref().map_err(Clone::clone)?;
        let principal = uid("User", approver)?;
        let action = uid("Action", "approve")?;
        let resource = body.entity.uid();
        let agent = uid("Agent", &self.facts.principal.agent)?;
        let context = own_context([
            ("agent".to_owned(), RestrictedExpression::new_entity_uid(agent)),
            ("clock".to_owned(), entity("Clock", CLOCK)?),
            ("requested".to_owned(), string(draft.action)),
        ])?;
        let schema = Some(&self.bundle.schema);
        let request =
            Request::new(principal.clone(), action.clone(), resource.clone(), context, schema).map_err(text)?;
        let approver = Entity::new_no_attrs(principal.clone(), role_uids(roles)?);
        let entities = self.store_alone("approve", body)?;
        let entities = entities.upsert_entities([approver], schema).map_err(text)?;
        self.complete(&entities, [&principal, &action, &resource])?;
        Ok(Posed { request, entities: Arc::new(entities), principal, action, resource })
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
    fn shared_store(&self, drafts: &[Draft]) -> Built<Entities> {
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
        lasting.upsert_entities(added.into_values(), Some(&self.bundle.schema)).map_err(text)
    }

    /// What all requests refer to, and what this one is about. Its resource takes the place of another entity of the
    /// same id: only it says what lies below it.
    fn store_alone(&self, action: &str, body: &Body) -> Built<Entities> {
        let schema = Some(&self.bundle.schema);
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
        let entity = self.bundle.actions.get(action).ok_or_else(|| format!("the schema has no action `{action}`"))?;
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
        let host_groups: Vec<&str> = self.vocabulary.host_groups_of(&facts.host).collect();
        let session = (!self.bundle.reads.session).then(|| unread_session(&facts.session));
        let same_place = |key: &Lasting| {
            key.principal == facts.principal
                && (key.transport, &key.host, &key.machine) == (facts.transport, &facts.host, &facts.machine)
                && key.workspace == facts.workspace
                && key.path_groups.iter().eq(&path_groups)
                && key.host_groups == host_groups
        };
        let kept = &self.bundle.kept;
        if let Some(entities) = kept.entities.find(|key| key.session == session && same_place(key)) {
            return Ok(entities);
        }
        let schema = Some(&self.bundle.schema);
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
        let surroundings = match kept.surroundings.find(same_place) {
            Some(entities) => entities,
            None => {
                let entities = Entities::empty().upsert_entities(self.surroundings()?, schema).map_err(text)?;
                kept.surroundings.keep(key.clone(), entities.clone());
                entities
            }
        };
        let entity = session.as_ref().map(session_entity).transpose()?;
        let entities = surroundings.upsert_entities(entity, schema).map_err(text)?;
        kept.entities.keep(Lasting { session, ..key }, entities.clone());
        Ok(entities)
    }

    /// The entities that every request refers to and that change all the time, if any policy looks at what changes.
    fn passing(&self) -> Built<HashMap<EntityUid, Entity>> {
        let reads = self.bundle.reads;
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

    fn command(&self, inventory: &Inventory, command: &Command, opaque: &[&Opaque]) -> Draft {
        let body = self.command_body(inventory, command, opaque);
        Draft { action: "exec", resource: canonical(command), ..Draft::within(inventory, command, command.span, body) }
    }

    fn command_body(&self, inventory: &Inventory, command: &Command, opaque: &[&Opaque]) -> Built<Body> {
        let resource = uid("Command", &command.id.0.to_string())?;
        let program = self.facts.programs.get(&command.id);
        let origin = program.map_or(Origin::Unknown, |program| program.origin);
        let invocation = &command.invocation;
        let mut parents = HashSet::new();
        if origin.is_trusted() {
            for word in &invocation.words {
                parents.insert(uid("Program", word)?);
            }
            for group in &invocation.groups {
                parents.insert(uid("CommandGroup", group)?);
            }
        }
        let mut wrappers = wrappers(inventory, command);
        let neighbours = |ids: &[CommandId]| Neighbours::of(self.bundle, inventory, ids);
        let mut upstream = neighbours(&command.upstream);
        let mut downstream = neighbours(&command.downstream);
        let seen = self.facts.at_execve.as_ref();
        if let Some(AtExecve { upstream: feeding, downstream: fed }) = seen {
            upstream.join(feeding);
            downstream.join(fed);
            wrappers.extend(self.facts.started_by.iter().flatten().cloned());
        }
        let operands: Vec<String> = invocation.operands.iter().map(known_text).collect();
        let dynamic_program = !matches!(command.program.value, Value::Literal(_));
        let attributes = [
            ("program", string(invocation.words.first().map_or("", String::as_str))),
            ("path", string(program.and_then(|program| program.path.as_ref()).map_or("", AbsolutePath::as_str))),
            ("origin", entity("Origin", origin.as_str())?),
            ("text", string(&canonical(command))),
            ("flags", strings(&invocation.flags)),
            ("operands", strings(&operands)),
            ("firstOperand", string(operands.first().map_or("", String::as_str))),
            ("lastOperand", string(operands.last().map_or("", String::as_str))),
            ("operandCount", long(operands.len())),
            ("envNames", strings(command.assignments.iter().map(|assignment| &assignment.name))),
            ("wrappers", uids("Program", &wrappers)?),
            ("upstream", uids("Program", &upstream.programs)?),
            ("upstreamGroups", uids("CommandGroup", &upstream.groups)?),
            ("downstream", uids("Program", &downstream.programs)?),
            ("downstreamGroups", uids("CommandGroup", &downstream.groups)?),
            ("inlineCode", bool(invocation.inline_code)),
            ("dynamic", bool(command.argv.iter().any(|word| !is_literal(word)))),
            ("dynamicProgram", bool(dynamic_program)),
            ("opaque", uids("Opaque", opaque.iter().map(|opaque| opaque.reason.as_str()))?),
            ("spawned", bool(self.facts.started_by.is_some())),
            ("startedBy", uids("Program", self.facts.started_by.iter().flatten())?),
            // Nothing at `execve` tells who waits for it, and how deep in whose text it stands.
            ("background", bool(command.background || seen.is_some())),
            ("depth", long(if seen.is_some() { MAX_DEPTH } else { command.depth as usize })),
        ];
        let tags = invocation.options.iter().map(|(name, values)| (name.clone(), strings(values)));
        let entity = Entity::new_with_tags(resource, named(attributes), parents, tags).map_err(text)?;
        let directory = self.facts.directories.get(&command.id);
        exec_body(inventory, seen.is_some(), entity, directory)
    }

    /// Something that no command could be made of: asked as a command about which nothing is known.
    fn unread(&self, inventory: &Inventory, opaque: &Opaque) -> Draft {
        let body = self.unread_body(inventory, opaque);
        // The whole text, not the item's shortened one: what is cut before it is redacted may hold half a secret.
        let written = inventory.script().get(opaque.span.start..opaque.span.end);
        let resource = String::from_utf8_lossy(written.unwrap_or_default()).into_owned();
        Draft { action: "exec", resource, program: String::new(), span: opaque.span, via: Vec::new(), body }
    }

    fn unread_body(&self, inventory: &Inventory, opaque: &Opaque) -> Built<Body> {
        let resource = uid("Command", &format!("unread-{}", opaque.span.start))?;
        let attributes = [
            ("program", string("")),
            ("path", string("")),
            // The construct is bash's own; no file of any name stands for it, and it has no parent that permits it.
            ("origin", entity("Origin", Origin::Builtin.as_str())?),
            ("text", string(&opaque.text)),
            ("flags", none()),
            ("operands", none()),
            ("firstOperand", string("")),
            ("lastOperand", string("")),
            ("operandCount", long(0)),
            ("envNames", none()),
            ("wrappers", none()),
            ("upstream", none()),
            ("upstreamGroups", none()),
            ("downstream", none()),
            ("downstreamGroups", none()),
            ("inlineCode", bool(true)),
            ("dynamic", bool(true)),
            ("dynamicProgram", bool(true)),
            ("opaque", uids("Opaque", [opaque.reason.as_str()])?),
            ("spawned", bool(false)),
            ("startedBy", none()),
            ("background", bool(true)),
            ("depth", long(0)),
        ];
        let entity = Entity::new_with_tags(resource, named(attributes), [], []).map_err(text)?;
        exec_body(inventory, false, entity, None)
    }

    fn assignment(&self, inventory: &Inventory, command: &Command, assignment: &Assignment) -> Draft {
        let directory = self.facts.directories.get(&command.id);
        // A computed value is asked as it is written: its `$` or backtick makes it none of the harmless values that a
        // policy may list.
        let value = string(&known_text(&assignment.value));
        let body = variable(&assignment.name).and_then(|entity| {
            let program = RestrictedExpression::new_entity_uid(uid("Program", "")?);
            Ok(Body::new(entity, directory).with("value", value).with("program", program))
        });
        Draft {
            action: "setEnv",
            resource: assignment.name.clone(),
            ..Draft::within(inventory, command, assignment.span, body)
        }
    }

    fn effect(&self, inventory: &Inventory, command: &Command, index: usize, effect: &Effect) -> Vec<Draft> {
        if self.facts.inert.contains(&(command.id, index)) {
            return Vec::new();
        }
        let action = match effect.kind {
            EffectKind::Read => FileAction::Read,
            EffectKind::Write => FileAction::Write,
            EffectKind::Delete => FileAction::Delete,
            EffectKind::Execute | EffectKind::Import => FileAction::Execute,
            EffectKind::Connect => return vec![self.connect(inventory, command, effect)],
        };
        let paths: Vec<Option<&AbsolutePath>> = match self.facts.matches.get(&(command.id, index)) {
            Some(matches) if !matches.is_empty() => matches.iter().map(Some).collect(),
            _ => vec![self.facts.paths.get(&(command.id, index))],
        };
        let directory = self.facts.directories.get(&command.id);
        let program = self.trusted_program(command);
        let below = self.facts.below.get(&(command.id, index));
        let draft = |path: Option<&AbsolutePath>, reach: Reach<'_>| Draft {
            action: action.as_str(),
            resource: path.map_or_else(|| effect.target.raw.clone(), ToString::to_string),
            ..Draft::within(inventory, command, effect.target.span, self.path_body(path, reach, program, directory))
        };
        let reach = match (effect.tree, below) {
            (false, _) => Reach::Itself,
            (true, Some(groups)) => Reach::Known(groups),
            (true, None) => Reach::Unknown,
        };
        let mut drafts = Vec::new();
        for path in paths {
            drafts.push(draft(path, reach));
            let Some(path) = path.filter(|_| effect.tree) else { continue };
            let below = self.bundle.literals.of("Path").filter_map(AbsolutePath::new);
            drafts.extend(
                below
                    .filter(|anchor| anchor.is_within(path) && anchor != path)
                    .map(|anchor| draft(Some(&anchor), Reach::Itself)),
            );
        }
        drafts
    }

    /// The program's widest id, if it is what its name says.
    fn trusted_program<'c>(&self, command: &'c Command) -> &'c str {
        let trusted = self.facts.programs.get(&command.id).is_some_and(|Program { origin, .. }| origin.is_trusted());
        if trusted { command.invocation.words.first().map_or("", String::as_str) } else { "" }
    }

    fn path_body(
        &self,
        path: Option<&AbsolutePath>,
        reach: Reach<'_>,
        program: &str,
        directory: Option<&AbsolutePath>,
    ) -> Built<Body> {
        let entity = self.path_entity(path, reach)?;
        let program = RestrictedExpression::new_entity_uid(uid("Program", program)?);
        Ok(Body { apart: reach != Reach::Itself, ..Body::new(entity, directory).with("program", program) })
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
                for ancestor in path.ancestors() {
                    parents.insert(uid("Path", ancestor.as_str())?);
                }
                for group in self.groups_of(path) {
                    parents.insert(uid("PathGroup", group)?);
                }
                match reach {
                    Reach::Itself => {}
                    Reach::Known(groups) => contains = groups.iter().map(String::as_str).collect(),
                    Reach::Unknown => contains = self.vocabulary.groups_below(path),
                }
            }
            None if reach != Reach::Itself => contains = self.vocabulary.names().collect(),
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

    fn groups_of(&self, path: &AbsolutePath) -> BTreeSet<&str> {
        let temp = self.facts.temp.as_ref().filter(|temp| path.is_within(temp)).map(|_| "temp");
        self.vocabulary.groups_of(path).chain(temp).collect()
    }

    fn connect(&self, inventory: &Inventory, command: &Command, effect: &Effect) -> Draft {
        let shown = effect
            .peer
            .as_ref()
            .map_or_else(|| effect.target.raw.clone(), |peer| format!("{}:{}", peer.host, peer.port));
        let build = || {
            let entity = self.peer(effect.peer.as_ref().map(|peer| peer.host.as_str()), None)?;
            let program = RestrictedExpression::new_entity_uid(uid("Program", self.trusted_program(command))?);
            let port = long(effect.peer.as_ref().map_or(0, |peer| usize::from(peer.port)));
            // The session's own host is in every store, as a host that is reached in another way.
            let apart = entity.uid() == uid("Host", &self.facts.host)?;
            let directory = self.facts.directories.get(&command.id);
            Ok(Body { apart, ..Body::new(entity, directory).with("program", program).with("port", port) })
        };
        Draft { action: "connect", resource: shown, ..Draft::within(inventory, command, effect.target.span, build()) }
    }

    /// A network peer, and the address that its name means where that is known; `None` is the unknown one, with the empty
    /// id and no domain.
    fn peer(&self, host: Option<&str>, known: Option<IpAddr>) -> Built<Entity> {
        // A numeric name that is no address is nothing that can be vouched for: it is asked as the unknown peer.
        let name = host.and_then(crate::host::canonical).unwrap_or_default();
        // A name that is an address means that one, whatever else is said of it.
        let address = name.parse::<IpAddr>().ok().or(known.map(|known| known.to_canonical()));
        let loopback = name == "localhost" || address.is_some_and(|address| address.is_loopback());
        let mut attributes = host_attributes(&name, Transport::Local, loopback, &Machine::default())?;
        if let Some(address) = address {
            attributes.push(("ip".to_owned(), RestrictedExpression::new_ip(address.to_string())));
        }
        Entity::new_with_tags(uid("Host", &name)?, attributes, self.above_host(&name)?, []).map_err(text)
    }

    /// The host that the session is on.
    fn own_host(&self) -> Built<Entity> {
        let host = &self.facts.host;
        let attributes =
            host_attributes(host, self.facts.transport, self.facts.transport == Transport::Local, &self.facts.machine)?;
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
        for group in self.vocabulary.host_groups_of(name) {
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
        if !self.bundle.reads.clock {
            surroundings.push(clock_entity(&UNREAD_CLOCK)?);
        }
        Ok(surroundings)
    }
}

impl Draft {
    fn within(inventory: &Inventory, command: &Command, span: Span, body: Built<Body>) -> Self {
        Self {
            action: "",
            resource: String::new(),
            program: command.invocation.words.first().cloned().unwrap_or_default(),
            span,
            via: wrappers(inventory, command),
            body,
        }
    }

    /// A question that no part of a script raised.
    fn of_nothing_written(action: &'static str, resource: &str, body: Built<Body>) -> Self {
        Self {
            action,
            resource: resource.to_owned(),
            program: String::new(),
            span: Span::default(),
            via: Vec::new(),
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

/// What the commands on the other end of a pipe are.
#[derive(Debug, Default, PartialEq, Eq)]
struct Neighbours<'a> {
    programs: BTreeSet<&'a str>,
    groups: BTreeSet<&'a str>,
}

impl<'a> Neighbours<'a> {
    /// By name, whatever the origin: these attributes are there for forbids. A program that is not known may be any
    /// that a policy names.
    fn of(bundle: &'a Bundle, inventory: &'a Inventory, ids: &[CommandId]) -> Self {
        let mut neighbours = Self::default();
        for command in ids.iter().filter_map(|id| inventory.commands().get(id.0 as usize)) {
            neighbours.programs.extend(command.invocation.words.iter().map(String::as_str));
            neighbours.groups.extend(command.invocation.groups.iter().map(String::as_str));
            if command.resolved == Resolved::Unknown {
                neighbours.programs.extend(bundle.literals.of("Program"));
                neighbours.groups.extend(bundle.literals.of("CommandGroup"));
            }
        }
        neighbours
    }

    fn join(&mut self, crowd: &'a Crowd) {
        self.programs.extend(crowd.programs.iter().map(String::as_str));
        self.groups.extend(crowd.groups.iter().map(String::as_str));
    }
}

/// `IFS=, read -r a b`: how this one line is split, and nothing else. What bash reads is data, whatever splits it.
fn splits_one_read(command: &Command, assignment: &Assignment) -> bool {
    let is_read = command.resolved == Resolved::Builtin
        && command
            .invocation
            .words
            .first()
            .is_some_and(|name| matches!(name.as_str(), "read" | "mapfile" | "readarray"));
    assignment.name == "IFS" && !assignment.persistent && is_read
}

/// The widest program ids of the commands around this one, outermost first.
fn wrappers(inventory: &Inventory, command: &Command) -> Vec<String> {
    let mut names = Vec::new();
    let mut parent = command.parent;
    // A parent stands before its child, so that this ends however the inventory was made.
    while let Some(found) = parent.and_then(|id| inventory.commands().get(id.0 as usize)) {
        names.push(found.invocation.words.first().cloned().unwrap_or_default());
        parent = found.parent.filter(|next| *next < found.id);
    }
    names.reverse();
    names
}

/// A command's words as one would type them: literal words quoted where they must be, others as written.
pub(crate) fn canonical(command: &Command) -> String {
    let words: Vec<String> =
        command.argv.iter().map(|word| word.value.literal().map_or_else(|| word.raw.clone(), quote)).collect();
    words.join(" ")
}

fn quote(literal: &str) -> String {
    let plain = |character: char| character.is_alphanumeric() || "_-./:=@%+,".contains(character);
    if !literal.is_empty() && literal.chars().all(plain) {
        return literal.to_owned();
    }
    format!("'{}'", literal.replace('\'', r"'\''"))
}

fn known_text(word: &Word) -> String {
    word.value.literal().map_or_else(|| word.raw.clone(), str::to_owned)
}

fn is_literal(word: &Word) -> bool {
    matches!(word.value, Value::Literal(_) | Value::Home(_))
}

/// A program's words need no parsing at its `execve`; what of code in them cannot be read makes the command opaque.
fn exec_body(inventory: &Inventory, at_execve: bool, command: Entity, directory: Option<&AbsolutePath>) -> Built<Body> {
    let script = RestrictedExpression::new_record(named([
        ("parsed", bool(at_execve || inventory.parsed())),
        ("commands", long(inventory.commands().len())),
        ("dynamic", bool(!inventory.opaque().is_empty())),
    ]))
    .map_err(text)?;
    Ok(Body::new(command, directory).with("script", script))
}

/// A session as it looks to a set in which no policy looks at what changes from one script to the next.
fn unread_session(session: &Session) -> Session {
    Session { age_ms: 0, commands: 0, ..session.clone() }
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
    let attributes = named([("name", string(name))]);
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
    machine: &Machine,
) -> Built<Vec<(String, RestrictedExpression)>> {
    let pinned = machine.image.rsplit_once("@sha256:").is_some_and(|(_, digest)| !digest.is_empty());
    Ok(named([
        ("name", string(name)),
        ("transport", entity("Transport", transport.as_str())?),
        ("loopback", bool(loopback)),
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

    use super::*;
    use crate::facts::Principal;
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

    /// What a policy may look at, taken away in turn: Cedar allows without a word, and we do not ask it.
    #[test]
    fn a_store_that_lacks_something_is_not_asked() {
        let facts = facts();
        let engine = engine(ALL);
        let asker = Asker::new(&engine.bundle, &engine.vocabulary, &facts);
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
            let whole = asker.sheet(asker.script(&inventory));
            let draft = whole.drafts.iter().find(|draft| draft.action == "exec").unwrap();
            let posed = asker.pose(&whole, draft, false).unwrap();
            let lacking = posed.entities.as_ref().clone().remove_entities([uid(kind, id).unwrap()]).unwrap();
            let forbid = format!("{ALL}@id(\"f\") forbid (principal, action, resource) when {{ {condition} }};");
            let set: PolicySet = forbid.parse().unwrap();
            let response = Authorizer::new().is_authorized(&posed.request, &set, &lacking);
            assert_eq!(
                (response.decision(), response.diagnostics().errors().count()),
                (Decision::Allow, 0),
                "the pitfall is gone: {condition}"
            );
            let damaged = Sheet { drafts: Vec::new(), store: Ok(Arc::new(lacking)) };
            let refused = asker.pose(&damaged, draft, false).err().unwrap();
            assert!(refused.contains("the entity store lacks") && refused.contains(id), "{kind} {id}: {refused}");
        }
    }

    /// Cedar takes a request about an action that does not exist, or of types that the action is not for, unless the
    /// schema is asked.
    #[test]
    fn a_request_that_the_schema_does_not_know_is_not_asked() {
        let facts = facts();
        let engine = engine(ALL);
        let asker = Asker::new(&engine.bundle, &engine.vocabulary, &facts);
        let path = AbsolutePath::new("/srv/app/x").unwrap();
        for action in ["raed", "exec", "fileAccess", "connect"] {
            let draft = Draft { action, ..asker.path(FileAction::Read, &path) };
            assert!(asker.pose_alone(&draft, false).is_err(), "{action}");
        }
        let draft = asker.path(FileAction::Read, &path);
        assert!(asker.pose_alone(&draft, false).is_ok());
        let body = draft.body.unwrap().with("extra", bool(true));
        assert!(asker.pose_alone(&Draft { body: Ok(body), ..asker.path(FileAction::Read, &path) }, false).is_err());
    }

    #[test]
    fn literals_are_quoted_only_where_they_must_be() {
        for (literal, expected) in
            [("a-b", "a-b"), ("", "''"), ("a b", "'a b'"), ("it's", r"'it'\''s'"), ("$x", "'$x'"), ("*", "'*'")]
        {
            assert_eq!(quote(literal), expected);
        }
    }
}
