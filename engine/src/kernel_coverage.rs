//! Which file rules the kernel can hold, and which the decision on each command holds alone.
//!
//! The kernel knows places: a rule holds for a directory and all that is below it, for as long as the session lives. So a forbid on
//! files is one that it can hold if all that its conditions read of the file is where it lies, and if nothing else that they read
//! changes while the session lives or differs between its programs. A forbid that also reads names (`**/.env`) is held by masks, which
//! a search of the tree puts on each file of that name. Every other forbid has to be listed, or `session.pathsHeld` would say more than
//! is true: what is not known here counts as not to be held.

use std::collections::BTreeSet;

use cedar_policy::{ActionConstraint, Effect, Policy, ResourceConstraint};
use serde_json::Value;

use crate::bundle::Bundle;
use crate::policy_json::Indexed;
use crate::vocabulary::Vocabulary;

/// What a file rule may be scoped to.
const FILE_ACTIONS: [&str; 7] = ["read", "write", "delete", "execute", "fileAccess", "fileChange", "activity"];

/// Attributes of the circumstances that are the same for the whole of a session. `approved` is false where the kernel is concerned.
const FIXED: [&str; 4] = ["approved", "transport", "host", "workspace"];

/// Attributes of the circumstances that are false where the kernel is concerned and true for some requests of a session.
const LIFTING: [&str; 2] = ["noGain", "spawned"];

/// The same of the session itself.
const FIXED_OF_SESSION: [&str; 5] = ["id", "sandboxed", "guarded", "pathsHeld", "shell"];

/// Attributes of a path by which rules speak of commands and not of files: whole trees, and what no literal path names. The kernel
/// is asked for neither.
const OF_COMMANDS: [&str; 2] = ["contains", "unknown"];

/// A forbid on files that reads more than where a file lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unheld {
    /// The policy's id.
    pub policy: String,
    /// Groups with name patterns (`**/.env`) that it reads, and nothing else: masks hold it for every file that a search of the tree
    /// finds.
    pub by_name: Vec<String>,
    /// What it reads that no rule and no mask of the kernel's knows: attributes of the file, or what changes.
    pub otherwise: Vec<String>,
}

impl Unheld {
    /// Whether masks hold it where they are in force and complete.
    pub fn is_masked(&self) -> bool {
        self.otherwise.is_empty()
    }
}

/// The forbids on files that rules about places cannot hold, each with what it reads besides.
pub(crate) fn beyond_places(bundle: &Bundle, vocabulary: &Vocabulary) -> Vec<Unheld> {
    let policies = bundle.index.policies().iter().filter(|policy| policy.effect() == Effect::Forbid);
    let found = policies.filter(|policy| touches_files(policy)).map(|policy| {
        let (by_name, unheld) = (BTreeSet::new(), BTreeSet::new());
        let mut reader = PolicyReader { vocabulary, deletes: deletes(policy), by_name, unheld, lifting: Vec::new() };
        reader.policy(policy);
        Unheld {
            policy: policy.id().to_string(),
            by_name: reader.by_name.into_iter().collect(),
            otherwise: reader.unheld.into_iter().collect(),
        }
    });
    found.filter(|rule| !rule.by_name.is_empty() || !rule.otherwise.is_empty()).collect()
}

fn touches_files(policy: &Policy) -> bool {
    actions(policy).is_none_or(|actions| actions.iter().any(|action| FILE_ACTIONS.contains(&action.as_str())))
}

fn deletes(policy: &Policy) -> bool {
    actions(policy)
        .is_none_or(|actions| actions.iter().any(|action| !["read", "write", "execute"].contains(&action.as_str())))
}

/// The actions of the scope; none for all.
fn actions(policy: &Policy) -> Option<Vec<String>> {
    let uids = match policy.action_constraint() {
        ActionConstraint::Any => return None,
        ActionConstraint::Eq(uid) => vec![uid],
        ActionConstraint::In(uids) => uids,
    };
    Some(uids.into_iter().map(|uid| uid.id().unescaped().to_owned()).collect())
}

/// Walks the scope and the conditions of one policy.
struct PolicyReader<'a> {
    vocabulary: &'a Vocabulary,
    /// The policy forbids to delete.
    deletes: bool,
    by_name: BTreeSet<String>,
    unheld: BTreeSet<String>,
    /// Those of [`LIFTING`] whose truth never makes the policy forbid more. The kernel's rules are made as if they were false, and so forbid
    /// all that the policy does.
    lifting: Vec<&'static str>,
}

impl PolicyReader<'_> {
    fn policy(&mut self, policy: &Indexed) {
        match policy.resource_constraint() {
            ResourceConstraint::Any | ResourceConstraint::Is(_) => {}
            ResourceConstraint::In(uid) | ResourceConstraint::IsIn(_, uid) => {
                self.place(&uid.type_name().to_string(), uid.id().unescaped());
            }
            ResourceConstraint::Eq(uid) => self.exactly(&uid.to_string()),
        }
        // What cannot be read as JSON is not understood either.
        match policy.json().and_then(|json| json.get("conditions")).and_then(Value::as_array) {
            Some(conditions) => {
                let lifts = |attribute: &&str| {
                    conditions.iter().all(|condition| {
                        let forbids = condition.get("kind").and_then(Value::as_str) != Some("unless");
                        condition.get("body").is_some_and(|body| only_lifts(body, attribute, forbids))
                    })
                };
                self.lifting = LIFTING.into_iter().filter(lifts).collect();
                conditions.iter().for_each(|condition| match condition.get("body") {
                    Some(body) => self.expression(body),
                    None => self.add("a condition of an unknown form"),
                });
            }
            None => self.add("conditions of an unknown form"),
        }
    }

    fn expression(&mut self, value: &Value) {
        let Some((operator, inner)) =
            value.as_object().filter(|fields| fields.len() == 1).and_then(|fields| fields.iter().next())
        else {
            return self.add("an expression of an unknown form");
        };
        match operator.as_str() {
            "Value" => {}
            "Var" => self.variable(inner),
            "in" if is_variable(inner.get("left"), "resource") => self.places(inner.get("right")),
            "is" if is_variable(inner.get("left"), "resource") => {
                if let Some(place) = inner.get("in") {
                    self.places(Some(place));
                }
            }
            "==" | "!=" => {
                let sides = [(inner.get("left"), inner.get("right")), (inner.get("right"), inner.get("left"))];
                match sides.into_iter().find(|(side, _)| is_variable(*side, "resource")) {
                    Some((_, other)) if is_workspace(other) => {}
                    Some((_, other)) => self.exactly(
                        &other.and_then(entity).map_or_else(String::new, |(kind, id)| format!("{kind}::{id:?}")),
                    ),
                    None => self.operands(inner),
                }
            }
            "." | "has" => self.attribute(inner),
            _ => self.operands(inner),
        }
    }

    fn operands(&mut self, inner: &Value) {
        match inner {
            Value::Array(values) => values.iter().for_each(|value| self.expression(value)),
            // Names of attributes and types, and patterns, stand beside the operands.
            Value::Object(fields) => fields
                .iter()
                .filter(|(name, _)| !["attr", "entity_type", "pattern"].contains(&name.as_str()))
                .for_each(|(_, value)| self.expression(value)),
            _ => self.add("an expression of an unknown form"),
        }
    }

    /// `resource in` this.
    fn places(&mut self, place: Option<&Value>) {
        if is_workspace(place) {
            return;
        }
        if let Some(members) = place.and_then(|place| place.get("Set")).and_then(Value::as_array) {
            return members.iter().for_each(|member| self.places(Some(member)));
        }
        match place.and_then(entity) {
            Some((kind, id)) => self.place(kind, id),
            None => self.add("`resource in` something computed"),
        }
    }

    fn place(&mut self, kind: &str, id: &str) {
        if kind == "PathGroup" && self.vocabulary.has_name_patterns(id) {
            if self.vocabulary.is_searchable(id) {
                self.by_name.insert(id.to_owned());
            } else {
                self.add(id);
            }
        }
    }

    /// One file and nothing below it: what is deleted is deleted in the directory above, which the kernel is not told of.
    fn exactly(&mut self, what: &str) {
        if self.deletes {
            self.add(&format!("`resource == {what}`"));
        }
    }

    fn attribute(&mut self, inner: &Value) {
        let Some(path) = attribute_path(inner) else { return self.operands(inner) };
        let names: Vec<&str> = path.iter().map(String::as_str).collect();
        let held = match names.as_slice() {
            ["resource", attribute, ..] => OF_COMMANDS.contains(attribute),
            ["context", "session", attribute, ..] => FIXED_OF_SESSION.contains(attribute),
            ["context", attribute, ..] => FIXED.contains(attribute) || self.lifting.contains(attribute),
            // Every message of a client may give it another name.
            ["principal", attribute, ..] => *attribute != "client",
            _ => false,
        };
        if !held {
            self.add(&format!("`{}`", names.join(".")));
        }
    }

    /// A variable as a whole, where nothing above has taken it for something known.
    fn variable(&mut self, name: &Value) {
        match name.as_str() {
            Some("principal" | "action") => {}
            name => self.add(&format!("`{}`", name.unwrap_or_default())),
        }
    }

    fn add(&mut self, what: &str) {
        self.unheld.insert(what.to_owned());
    }
}

/// Whether an attribute of the context stands only where its truth makes a forbid not hold. `forbids`: the expression's truth makes it
/// hold.
fn only_lifts(expression: &Value, attribute: &str, forbids: bool) -> bool {
    let Some((operator, inner)) = expression.as_object().and_then(|fields| fields.iter().next()) else { return true };
    let sides = || ["left", "right"].into_iter().filter_map(|side| inner.get(side));
    match operator.as_str() {
        "&&" | "||" => sides().all(|side| only_lifts(side, attribute, forbids)),
        "!" => inner.get("arg").is_some_and(|argument| only_lifts(argument, attribute, !forbids)),
        "." if attribute_path(inner).is_some_and(|path| path == ["context", attribute]) => !forbids,
        _ => !reads(inner, attribute),
    }
}

/// Whether an attribute of the context stands anywhere in it.
fn reads(value: &Value, attribute: &str) -> bool {
    let path = value.get(".").and_then(attribute_path);
    path.is_some_and(|path| path == ["context", attribute])
        || match value {
            Value::Array(values) => values.iter().any(|value| reads(value, attribute)),
            Value::Object(fields) => fields.values().any(|value| reads(value, attribute)),
            _ => false,
        }
}

/// `["context", "session", "age"]` for `context.session.age`.
fn attribute_path(inner: &Value) -> Option<Vec<String>> {
    let left = inner.get("left")?;
    let mut path = match left.get("Var").and_then(Value::as_str) {
        Some(variable) => vec![variable.to_owned()],
        None => attribute_path(left.get(".")?)?,
    };
    path.push(inner.get("attr")?.as_str()?.to_owned());
    Some(path)
}

fn is_variable(value: Option<&Value>, name: &str) -> bool {
    value.and_then(|value| value.get("Var")).and_then(Value::as_str) == Some(name)
}

fn is_workspace(value: Option<&Value>) -> bool {
    let path = value.and_then(|value| value.get(".")).and_then(attribute_path);
    path.is_some_and(|path| path == ["context", "workspace"])
}

/// The type and id of an entity that stands there as a literal.
fn entity(value: &Value) -> Option<(&str, &str)> {
    let entity = value.get("Value")?.get("__entity")?;
    Some((entity.get("type")?.as_str()?, entity.get("id")?.as_str()?))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use crate::{AbsolutePath, Bundle, Engine, Source, Vocabulary};

    fn unheld(scope: &str, conditions: &str) -> Vec<String> {
        let home = AbsolutePath::new("/home/u").unwrap();
        let (file, text) = palisade_policies::GROUPS;
        let mut vocabulary = Vocabulary::parse(file, text, &home).unwrap();
        for (group, pattern) in [("vault", "/srv/vault"), ("card data", "**/cards.csv"), ("homes", "/srv/*/secret")] {
            vocabulary.add(group, pattern, &home).unwrap();
        }
        let text = format!("@id(\"rule\") @reason(\"r\") forbid(principal, {scope}) {conditions};");
        let bundle = Bundle::load(vec![Source { name: "site.cedar".to_owned(), text }]).unwrap();
        let engine = Engine::new(bundle, vocabulary);
        let rules = engine.beyond_places().iter().filter(|rule| rule.policy == "rule");
        let named = |group: &String| format!("by name: {group}");
        rules.flat_map(|rule| rule.by_name.iter().map(named).chain(rule.otherwise.clone())).collect()
    }

    #[test]
    fn a_rule_is_held_if_it_reads_places_and_what_stays() {
        let read = "action == Action::\"read\", resource";
        let delete = "action == Action::\"delete\", resource";
        for (scope, conditions) in [
            (read, ""),
            (read, "when { resource in Path::\"/srv/private\" }"),
            (read, "when { resource in [PathGroup::\"vault\"] }"),
            (read, "when { resource == Path::\"/srv/private/x\" }"),
            (read, "unless { resource in context.workspace || resource in PathGroup::\"vault\" }"),
            (
                read,
                "when { context.session.sandboxed && context.transport == Transport::\"local\" } unless { context.approved }",
            ),
            (read, "when { principal in Role::\"guest\" && !principal.verified }"),
            (read, "when { !context.spawned }"),
            (read, "unless { resource in PathGroup::\"vault\" || (context.spawned && context.noGain) }"),
            (read, "when { resource.contains.contains(PathGroup::\"card data\") && resource.unknown }"),
            (delete, "when { resource == context.workspace }"),
            ("action == Action::\"read\", resource in PathGroup::\"vault\"", ""),
            ("action == Action::\"exec\", resource", "when { resource.dynamic }"),
        ] {
            assert_eq!(unheld(scope, conditions), [""; 0], "{scope} {conditions}");
        }
    }

    #[test]
    fn everything_else_is_told() {
        let read = "action == Action::\"read\", resource";
        for (scope, conditions, told) in [
            ("action == Action::\"read\", resource in PathGroup::\"card data\"", "", "by name: card data"),
            ("action == Action::\"read\", resource in PathGroup::\"homes\"", "", "homes"),
            (read, "when { resource in PathGroup::\"card data\" }", "by name: card data"),
            (
                read,
                "when { [PathGroup::\"vault\"].contains(PathGroup::\"vault\") && resource in [PathGroup::\"homes\"] }",
                "homes",
            ),
            (read, "when { resource.extension == \"key\" }", "`resource.extension`"),
            (read, "when { resource.path like \"*/private/*\" }", "`resource.path`"),
            (read, "when { resource.name == \"x\" }", "`resource.name`"),
            (read, "when { context.spawned }", "`context.spawned`"),
            (read, "when { context.noGain }", "`context.noGain`"),
            (read, "unless { context.approved && !context.noGain }", "`context.noGain`"),
            (read, "unless { !context.spawned }", "`context.spawned`"),
            (read, "when { context.spawned == false }", "`context.spawned`"),
            (
                read,
                "when { context.session.sandboxed } unless { if context.spawned then true else false }",
                "`context.spawned`",
            ),
            (read, "when { context.cwd in Path::\"/srv\" }", "`context.cwd`"),
            (read, "when { context.clock.timeOfDay > duration(\"8h\") }", "`context.clock.timeOfDay`"),
            (read, "when { context.session.commands > 200 }", "`context.session.commands`"),
            (read, "when { context.workspace in resource }", "`resource`"),
            (read, "when { principal.client == \"x\" }", "`principal.client`"),
            (
                "action == Action::\"delete\", resource == Path::\"/srv/app/db\"",
                "",
                "`resource == Path::\"/srv/app/db\"`",
            ),
            (
                "action == Action::\"delete\", resource",
                "when { resource == Path::\"/srv/app/db\" }",
                "`resource == Path::\"/srv/app/db\"`",
            ),
        ] {
            assert_eq!(unheld(scope, conditions), [told], "{scope} {conditions}");
        }
    }
}
