//! What Cedar is asked: one item of an inventory to one request. The only place where entity ids, attributes and
//! context records are built.
//!
//! Every attribute is always set. What the facts do not tell takes the value that forbids most.

use std::cell::OnceCell;
use std::collections::{BTreeSet, HashSet};
use std::str::FromStr;

use cedar_policy::{Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression};
use palisade_grammar::{
    Assignment, Command, CommandId, Effect, EffectKind, Inventory, Opaque, Peer, Resolved, Span, Value, Word,
};

use crate::bundle::Bundle;
use crate::facts::{Facts, Origin, Program, Transport};
use crate::path::AbsolutePath;
use crate::vocabulary::Vocabulary;

/// The one clock of a request.
const CLOCK: &str = "now";

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
    resource: EntityUid,
    entities: Vec<Entity>,
    context: Vec<(String, RestrictedExpression)>,
}

/// A request could not be put into Cedar's terms: the reason, for the record.
pub(crate) type Built<T> = Result<T, String>;

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

/// Builds requests for one script, or for one question of the runner's own.
pub(crate) struct Asker<'a> {
    bundle: &'a Bundle,
    vocabulary: &'a Vocabulary,
    facts: &'a Facts,
    /// Path groups with the session's own directories in them.
    temp: Option<&'a AbsolutePath>,
    /// The entities that every request refers to, checked once.
    common: OnceCell<Built<Entities>>,
}

impl<'a> Asker<'a> {
    pub(crate) fn new(bundle: &'a Bundle, vocabulary: &'a Vocabulary, facts: &'a Facts) -> Self {
        Self { bundle, vocabulary, facts, temp: facts.temp.as_ref(), common: OnceCell::new() }
    }

    /// Every question that a script raises, in the order of the text. Empty only if the inventory is.
    pub(crate) fn script(&self, inventory: &Inventory) -> Vec<Draft> {
        let mut drafts = Vec::new();
        for command in inventory.commands() {
            let opaque: Vec<&Opaque> =
                inventory.opaque().iter().filter(|opaque| opaque.command == Some(command.id)).collect();
            // What a function runs is told by its body, which is listed by itself.
            let runs = !matches!(command.resolved, Resolved::None | Resolved::Function);
            if runs || !opaque.is_empty() {
                drafts.push(self.command(inventory, command, &opaque));
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

    /// May the principal do this to this very path?
    pub(crate) fn path(&self, action: FileAction, path: &AbsolutePath) -> Draft {
        let body = self.path_body(Some(path), Reach::Itself, "", Some(&self.facts.cwd));
        Draft::of_nothing_written(action.as_str(), path.as_str(), body)
    }

    /// May the principal open this session?
    pub(crate) fn session(&self) -> Draft {
        let body = self.session_body();
        Draft::of_nothing_written("openSession", &self.facts.host, body)
    }

    /// May the principal use this tool?
    pub(crate) fn tool(&self, tool: &str) -> Draft {
        let body = uid("Tool", tool).and_then(|resource| {
            let mut entities = vec![Entity::new_no_attrs(resource.clone(), HashSet::new())];
            let cwd = self.cwd(Some(&self.facts.cwd), &mut entities)?;
            Ok(Body { resource, entities, context: vec![cwd] })
        });
        Draft::of_nothing_written("useTool", tool, body)
    }

    /// The request and its entity store, complete for everything that a policy may dereference.
    pub(crate) fn pose(&self, draft: &Draft, approved: bool) -> Built<(Request, Entities)> {
        let body = draft.body.as_ref().map_err(Clone::clone)?;
        let mut context = self.circumstances(approved)?;
        context.extend(body.context.iter().cloned());
        let context = Context::from_pairs(context).map_err(text)?;
        let action = uid("Action", draft.action)?;
        let principal = uid("Agent", &self.facts.principal.agent)?;
        let schema = &self.bundle.schema;
        let request = Request::new(principal, action, body.resource.clone(), context, Some(schema)).map_err(text)?;
        Ok((request, self.store(body.entities.iter().cloned())?))
    }

    /// The request by which a person's yes is itself authorised.
    pub(crate) fn approval(
        &self,
        draft: &Draft,
        approver: &str,
        roles: &BTreeSet<String>,
    ) -> Built<(Request, Entities)> {
        let body = draft.body.as_ref().map_err(Clone::clone)?;
        let principal = uid("User", approver)?;
        let agent = uid("Agent", &self.facts.principal.agent)?;
        let context = Context::from_pairs([
            ("agent".to_owned(), RestrictedExpression::new_entity_uid(agent)),
            ("clock".to_owned(), entity("Clock", CLOCK)?),
            ("requested".to_owned(), string(draft.action)),
        ])
        .map_err(text)?;
        let schema = &self.bundle.schema;
        let request =
            Request::new(principal.clone(), uid("Action", "approve")?, body.resource.clone(), context, Some(schema))
                .map_err(text)?;
        let approver = Entity::new_no_attrs(principal, role_uids(roles)?);
        let entities = body.entities.iter().cloned().chain([approver]);
        Ok((request, self.store(entities)?))
    }

    /// The store for one request: what all requests have in common, and what this one is about. The resource's entity
    /// takes the place of one of the same id, for only it says what lies below it, and it may be the workspace too.
    fn store(&self, entities: impl Iterator<Item = Entity>) -> Built<Entities> {
        let common = self.common.get_or_init(|| {
            // A store built without the schema's action entities makes `action in Action::"…"` silently false.
            let entities = self.surroundings()?.into_iter().chain(self.bundle.actions.iter().cloned());
            Entities::from_entities(entities, Some(&self.bundle.schema)).map_err(text)
        });
        common.clone()?.upsert_entities(entities, Some(&self.bundle.schema)).map_err(text)
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
        let wrappers = wrappers(inventory, command);
        let neighbours = |ids: &[CommandId]| Neighbours::of(inventory, ids);
        let upstream = neighbours(&command.upstream);
        let downstream = neighbours(&command.downstream);
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
            ("inlineCode", RestrictedExpression::new_bool(invocation.inline_code)),
            ("dynamic", RestrictedExpression::new_bool(command.argv.iter().any(|word| !is_literal(word)))),
            ("dynamicProgram", RestrictedExpression::new_bool(dynamic_program)),
            ("opaque", uids("Opaque", opaque.iter().map(|opaque| opaque.reason.as_str()))?),
            ("spawned", RestrictedExpression::new_bool(false)),
            ("startedBy", RestrictedExpression::new_set([])),
            ("background", RestrictedExpression::new_bool(command.background)),
            ("depth", long(command.depth as usize)),
        ];
        let tags = invocation.options.iter().map(|(name, values)| (name.clone(), strings(values)));
        let entity = Entity::new_with_tags(resource.clone(), named(attributes), parents, tags).map_err(text)?;
        let directory = self.facts.directories.get(&command.id);
        self.exec_body(inventory, resource, entity, directory)
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
        let none = || RestrictedExpression::new_set([]);
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
            ("inlineCode", RestrictedExpression::new_bool(true)),
            ("dynamic", RestrictedExpression::new_bool(true)),
            ("dynamicProgram", RestrictedExpression::new_bool(true)),
            ("opaque", uids("Opaque", [opaque.reason.as_str()])?),
            ("spawned", RestrictedExpression::new_bool(false)),
            ("startedBy", none()),
            ("background", RestrictedExpression::new_bool(true)),
            ("depth", long(0)),
        ];
        let entity = Entity::new_with_tags(resource.clone(), named(attributes), [], []).map_err(text)?;
        self.exec_body(inventory, resource, entity, None)
    }

    fn exec_body(
        &self,
        inventory: &Inventory,
        resource: EntityUid,
        command: Entity,
        directory: Option<&AbsolutePath>,
    ) -> Built<Body> {
        let mut entities = vec![command];
        let cwd = self.cwd(directory, &mut entities)?;
        let script = RestrictedExpression::new_record(named([
            ("parsed", RestrictedExpression::new_bool(inventory.parsed())),
            ("commands", long(inventory.commands().len())),
            ("dynamic", RestrictedExpression::new_bool(!inventory.opaque().is_empty())),
        ]))
        .map_err(text)?;
        Ok(Body { resource, entities, context: vec![cwd, ("script".to_owned(), script)] })
    }

    fn assignment(&self, inventory: &Inventory, command: &Command, assignment: &Assignment) -> Draft {
        let build = || {
            let resource = uid("EnvVar", &assignment.name)?;
            let name = named([("name", string(&assignment.name))]);
            let entity = Entity::new_with_tags(resource.clone(), name, [], []).map_err(text)?;
            let mut entities = vec![entity];
            let cwd = self.cwd(self.facts.directories.get(&command.id), &mut entities)?;
            // A computed value is asked as it is written: its `$` or backtick makes it none of the harmless values
            // that a policy may list.
            let value = ("value".to_owned(), string(&known_text(&assignment.value)));
            Ok(Body { resource, entities, context: vec![cwd, value] })
        };
        Draft {
            action: "setEnv",
            resource: assignment.name.clone(),
            ..Draft::within(inventory, command, assignment.span, build())
        }
    }

    fn effect(&self, inventory: &Inventory, command: &Command, index: usize, effect: &Effect) -> Vec<Draft> {
        let action = match effect.kind {
            EffectKind::Read => FileAction::Read,
            EffectKind::Write => FileAction::Write,
            EffectKind::Delete => FileAction::Delete,
            EffectKind::Execute => FileAction::Execute,
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
            let below = self.bundle.path_literals.iter().filter_map(|literal| AbsolutePath::new(literal));
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
        let (resource, entity) = self.path_entity(path, reach)?;
        let mut entities = vec![entity];
        let cwd = self.cwd(directory, &mut entities)?;
        let program = ("program".to_owned(), RestrictedExpression::new_entity_uid(uid("Program", program)?));
        Ok(Body { resource, entities, context: vec![cwd, program] })
    }

    /// `None` is the unknown path: it has the empty id, no parent that could permit it, and every group below it.
    fn path_entity(&self, path: Option<&AbsolutePath>, reach: Reach<'_>) -> Built<(EntityUid, Entity)> {
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
            ("unknown", RestrictedExpression::new_bool(path.is_none())),
            ("contains", uids("PathGroup", contains)?),
        ];
        let entity = Entity::new_with_tags(resource.clone(), named(attributes), parents, []).map_err(text)?;
        Ok((resource, entity))
    }

    fn groups_of(&self, path: &AbsolutePath) -> BTreeSet<&str> {
        let temp = self.temp.filter(|temp| path.is_within(temp)).map(|_| "temp");
        self.vocabulary.groups_of(path).chain(temp).collect()
    }

    fn connect(&self, inventory: &Inventory, command: &Command, effect: &Effect) -> Draft {
        let shown = effect
            .peer
            .as_ref()
            .map_or_else(|| effect.target.raw.clone(), |peer| format!("{}:{}", peer.host, peer.port));
        let build = || {
            let (resource, entity) = self.host(effect.peer.as_ref())?;
            let mut entities = vec![entity];
            let cwd = self.cwd(self.facts.directories.get(&command.id), &mut entities)?;
            let program = RestrictedExpression::new_entity_uid(uid("Program", self.trusted_program(command))?);
            let port = long(effect.peer.as_ref().map_or(0, |peer| usize::from(peer.port)));
            Ok(Body {
                resource,
                entities,
                context: vec![cwd, ("program".to_owned(), program), ("port".to_owned(), port)],
            })
        };
        Draft { action: "connect", resource: shown, ..Draft::within(inventory, command, effect.target.span, build()) }
    }

    /// A network peer; `None` is the unknown one, with the empty id and no domain.
    fn host(&self, peer: Option<&Peer>) -> Built<(EntityUid, Entity)> {
        // A numeric name that is no address is nothing that can be vouched for: it is asked as the unknown peer.
        let name = peer.and_then(|peer| crate::host::canonical(&peer.host)).unwrap_or_default();
        let name = name.as_str();
        let address = name.parse::<std::net::IpAddr>().ok();
        let loopback = name == "localhost" || address.is_some_and(|address| address.is_loopback());
        let mut parents = HashSet::new();
        if address.is_none() {
            let mut rest = name;
            while let Some((_, suffix)) = rest.split_once('.') {
                parents.insert(uid("Host", suffix)?);
                rest = suffix;
            }
        }
        let resource = uid("Host", name)?;
        let mut attributes = host_attributes(name, Transport::Local, loopback)?;
        if let Some(address) = address {
            attributes.push(("ip".to_owned(), RestrictedExpression::new_ip(address.to_string())));
        }
        let entity = Entity::new_with_tags(resource.clone(), attributes, parents, []).map_err(text)?;
        Ok((resource, entity))
    }

    fn session_body(&self) -> Built<Body> {
        let resource = uid("Host", &self.facts.host)?;
        let mut entities = Vec::new();
        let cwd = self.cwd(Some(&self.facts.cwd), &mut entities)?;
        Ok(Body { resource, entities, context: vec![cwd, ("remoteUser".to_owned(), string(""))] })
    }

    /// The context's `cwd`, with its entity added to `entities`.
    fn cwd(
        &self,
        directory: Option<&AbsolutePath>,
        entities: &mut Vec<Entity>,
    ) -> Built<(String, RestrictedExpression)> {
        let (uid, entity) = self.path_entity(directory, Reach::Itself)?;
        // The resource may be this very path, and then it may say more (`contains`).
        if entities.iter().all(|known| known.uid() != uid) {
            entities.push(entity);
        }
        Ok(("cwd".to_owned(), RestrictedExpression::new_entity_uid(uid)))
    }

    /// The part of the context that all requests share.
    fn circumstances(&self, approved: bool) -> Built<Vec<(String, RestrictedExpression)>> {
        let facts = self.facts;
        Ok(named([
            ("approved", RestrictedExpression::new_bool(approved)),
            ("transport", entity("Transport", facts.transport.as_str())?),
            ("host", entity("Host", &facts.host)?),
            ("workspace", entity("Path", facts.workspace.as_str())?),
            ("session", entity("Session", &facts.session.id)?),
            ("clock", entity("Clock", CLOCK)?),
        ]))
    }

    fn session_entity(&self) -> Built<Entity> {
        let session = &self.facts.session;
        let attributes = named([
            ("id", string(&session.id)),
            ("age", duration(session.age_ms)),
            ("commands", RestrictedExpression::new_long(clamp(session.commands))),
            ("labels", uids("Label", &session.labels)?),
            ("sandboxed", RestrictedExpression::new_bool(session.sandboxed)),
            ("guarded", RestrictedExpression::new_bool(session.guarded)),
            ("pathsHeld", RestrictedExpression::new_bool(session.paths_held)),
        ]);
        Entity::new_with_tags(uid("Session", &session.id)?, attributes, [], []).map_err(text)
    }

    fn clock_entity(&self) -> Built<Entity> {
        const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
        let clock = &self.facts.clock;
        let day = DAYS.get(usize::from(clock.weekday)).ok_or("the weekday is out of range")?;
        let attributes = named([
            ("now", RestrictedExpression::new_datetime(&clock.now)),
            ("timeOfDay", duration(u64::from(clock.time_of_day_ms))),
            ("weekday", entity("Weekday", day)?),
        ]);
        Entity::new_with_tags(uid("Clock", CLOCK)?, attributes, [], []).map_err(text)
    }

    /// Entities that every request refers to: the agent with its user and roles, the host, the
    /// workspace, the session and the time.
    fn surroundings(&self) -> Built<Vec<Entity>> {
        let principal = &self.facts.principal;
        let user = uid("User", &principal.user)?;
        let attributes = named([
            ("user", RestrictedExpression::new_entity_uid(user.clone())),
            ("verified", RestrictedExpression::new_bool(principal.verified)),
            ("auth", entity("AuthMethod", principal.auth.as_str())?),
            ("scopes", strings(&principal.scopes)),
            ("client", string(&principal.client)),
        ]);
        let agent = uid("Agent", &principal.agent)?;
        let agent = Entity::new_with_tags(agent, attributes, role_uids(&principal.roles)?, []).map_err(text)?;
        let user = Entity::new_no_attrs(user, HashSet::new());
        let loopback = self.facts.transport == Transport::Local;
        let host = host_attributes(&self.facts.host, self.facts.transport, loopback)?;
        let host = Entity::new_with_tags(uid("Host", &self.facts.host)?, host, [], []).map_err(text)?;
        let (_, workspace) = self.path_entity(Some(&self.facts.workspace), Reach::Itself)?;
        Ok(vec![agent, user, host, workspace, self.session_entity()?, self.clock_entity()?])
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
#[derive(Default)]
struct Neighbours<'a> {
    programs: BTreeSet<&'a str>,
    groups: BTreeSet<&'a str>,
}

impl<'a> Neighbours<'a> {
    /// By name, whatever the origin: these attributes are there for forbids.
    fn of(inventory: &'a Inventory, ids: &[CommandId]) -> Self {
        let mut neighbours = Self::default();
        for command in inventory.commands().iter().filter(|command| ids.contains(&command.id)) {
            neighbours.programs.extend(command.invocation.words.iter().map(String::as_str));
            neighbours.groups.extend(command.invocation.groups.iter().map(String::as_str));
        }
        neighbours
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

fn host_attributes(name: &str, transport: Transport, loopback: bool) -> Built<Vec<(String, RestrictedExpression)>> {
    Ok(named([
        ("name", string(name)),
        ("transport", entity("Transport", transport.as_str())?),
        ("loopback", RestrictedExpression::new_bool(loopback)),
        ("keyVerified", RestrictedExpression::new_bool(false)),
        ("image", string("")),
        ("imagePinned", RestrictedExpression::new_bool(false)),
        ("privileged", RestrictedExpression::new_bool(transport != Transport::Local)),
    ]))
}

fn role_uids(roles: &BTreeSet<String>) -> Built<HashSet<EntityUid>> {
    roles.iter().map(|role| uid("Role", role)).collect()
}

fn uid(kind: &str, id: &str) -> Built<EntityUid> {
    let kind = EntityTypeName::from_str(kind).map_err(text)?;
    Ok(EntityUid::from_type_name_and_id(kind, EntityId::new(id)))
}

fn entity(kind: &str, id: &str) -> Built<RestrictedExpression> {
    uid(kind, id).map(RestrictedExpression::new_entity_uid)
}

fn uids<T: AsRef<str>>(kind: &str, ids: impl IntoIterator<Item = T>) -> Built<RestrictedExpression> {
    let set: Vec<_> = ids.into_iter().map(|id| entity(kind, id.as_ref())).collect::<Built<_>>()?;
    Ok(RestrictedExpression::new_set(set))
}

fn named<const N: usize>(pairs: [(&str, RestrictedExpression); N]) -> Vec<(String, RestrictedExpression)> {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn string(text: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(text.to_owned())
}

fn strings<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> RestrictedExpression {
    RestrictedExpression::new_set(texts.into_iter().map(|text| string(text.as_ref())))
}

fn long(count: usize) -> RestrictedExpression {
    RestrictedExpression::new_long(i64::try_from(count).unwrap_or(i64::MAX))
}

fn clamp(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn duration(milliseconds: u64) -> RestrictedExpression {
    RestrictedExpression::new_duration(format!("{}ms", clamp(milliseconds)))
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::quote;

    #[test]
    fn literals_are_quoted_only_where_they_must_be() {
        for (literal, expected) in
            [("a-b", "a-b"), ("", "''"), ("a b", "'a b'"), ("it's", r"'it'\''s'"), ("$x", "'$x'"), ("*", "'*'")]
        {
            assert_eq!(quote(literal), expected);
        }
    }
}
