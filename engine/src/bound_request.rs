//! One request as Cedar gets it, with the entities that a policy may look at; and what can be read off it.
//!
//! Decides nothing: `request` makes it, and `answer` asks it.

use std::collections::BTreeMap;
use std::sync::Arc;

use cedar_policy::{Entities, Entity, EntityUid, EvalResult, Request};

/// A request and its entity store, complete for everything that a policy may dereference.
pub(crate) struct BoundRequest {
    pub(crate) request: Request,
    pub(crate) entities: Arc<Entities>,
    principal: EntityUid,
    action: EntityUid,
    resource: EntityUid,
}

impl BoundRequest {
    pub(crate) fn new(
        request: Request,
        entities: Arc<Entities>,
        principal: EntityUid,
        action: EntityUid,
        resource: EntityUid,
    ) -> Self {
        Self { request, entities, principal, action, resource }
    }

    /// Whether this is a command that no group permit can fit.
    pub(crate) fn is_in_no_group(&self) -> bool {
        let mut above = self.entities.ancestors(&self.resource).into_iter().flatten();
        self.is_command() && !above.any(|uid| uid.type_name().to_string() == "CommandGroup")
    }

    /// An attribute of the resource; none where it has no such one.
    pub(crate) fn attribute(&self, name: &str) -> Option<EvalResult> {
        self.entities.get(&self.resource)?.attr(name)?.ok()
    }

    /// The tags of the resource, by name.
    pub(crate) fn tags(&self) -> BTreeMap<String, EvalResult> {
        let tags = self.entities.get(&self.resource).into_iter().flat_map(Entity::tags);
        tags.filter_map(|(name, value)| Some((name.to_owned(), value.ok()?))).collect()
    }

    /// Whether the resource is an invocation of this program, or of this subcommand of one.
    pub(crate) fn is_of(&self, program: &str) -> bool {
        self.is_below("Program", program)
    }

    /// Whether the resource is in this command group.
    pub(crate) fn is_in_group(&self, group: &str) -> bool {
        self.is_below("CommandGroup", group)
    }

    fn is_below(&self, kind: &str, id: &str) -> bool {
        let mut above = self.entities.ancestors(&self.resource).into_iter().flatten();
        above.any(|uid| uid.type_name().to_string() == kind && uid.id().unescaped() == id)
    }

    pub(crate) fn is_command(&self) -> bool {
        self.resource.type_name().to_string() == "Command"
    }

    /// Whether the resource is a command that bash runs itself.
    pub(crate) fn is_builtin(&self) -> bool {
        let origin = self.attribute("origin");
        matches!(origin, Some(EvalResult::EntityUid(origin)) if origin.id().unescaped() == "builtin")
    }

    /// The text of a command; empty for any other resource.
    pub(crate) fn text(&self) -> String {
        match self.attribute("text") {
            Some(EvalResult::String(text)) => text,
            _ => String::new(),
        }
    }

    /// Something of the context.
    pub(crate) fn circumstance(&self, name: &str) -> Option<EvalResult> {
        self.request.context()?.get(name)
    }

    /// An attribute of the principal.
    pub(crate) fn of_principal(&self, name: &str) -> Option<EvalResult> {
        self.entities.get(&self.principal)?.attr(name)?.ok()
    }

    pub(crate) fn principal(&self) -> &EntityUid {
        &self.principal
    }

    pub(crate) fn action(&self) -> &EntityUid {
        &self.action
    }

    pub(crate) fn resource(&self) -> &EntityUid {
        &self.resource
    }
}
