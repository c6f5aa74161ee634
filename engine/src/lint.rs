//! What is valid in a policy set and yet wrong: names that nothing has, rules that cannot hold, rules that rest on what
//! the agent says itself.
//!
//! Decides nothing about a request. Parsing and strict validation have passed when this is asked.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::{Effect, Policy, ResourceConstraint};
use palisade_grammar::Catalogue;
use serde_json::Value;

use crate::coverage::Coverage;
use crate::engine::Engine;
use crate::nearest::nearest;
use crate::no_gain;
use crate::policy_json::Indexed;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing; it stops nothing.
    Note,
    /// Very likely not what was meant.
    Warning,
    /// The policy cannot do what it says.
    Error,
}

impl Severity {
    /// In one word, which is also SARIF's.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One kind of finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name; `@accept("name")` on a policy turns it off there.
    pub id: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What it finds, and why that matters.
    pub about: &'static str,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lint {
    /// The kind.
    pub rule: Rule,
    /// The policy.
    pub policy: String,
    /// File and line of the policy.
    pub place: String,
    /// What is wrong.
    pub message: String,
}

const fn rule(id: &'static str, severity: Severity, about: &'static str) -> Rule {
    Rule { id, severity, about }
}

const UNKNOWN_GROUP: Rule =
    rule("unknown-group", Severity::Error, "No command, path or host is in a group that nothing defines.");
const UNKNOWN_PROGRAM: Rule =
    rule("unknown-program", Severity::Error, "A subcommand that the program's table does not have is never seen.");
const UNTABLED_PROGRAM: Rule =
    rule("untabled-program", Severity::Note, "A program without a table is known by its name alone.");
const UNKNOWN_OPTION: Rule =
    rule("unknown-option", Severity::Error, "Flags and tags have canonical names; another spelling is never seen.");
const UNKNOWN_ANNOTATION: Rule =
    rule("unknown-annotation", Severity::Error, "An annotation that nothing reads is most likely misspelt.");
const UNKNOWN_ROLE: Rule = rule("unknown-role", Severity::Warning, "No settings and no case give anybody this role.");
const NEVER_MATCHES: Rule = rule("never-matches", Severity::Error, "The policy contradicts itself.");
const COVERED: Rule = rule("covered-by-forbid", Severity::Error, "A forbid without a condition takes all of it back.");
const DUPLICATE: Rule = rule("duplicate", Severity::Warning, "Another policy says exactly the same.");
const SELF_DECLARED: Rule =
    rule("self-declared", Severity::Error, "A permit must not rest on what the agent's client says of itself.");
const RESTS_ON_SPAWNED: Rule = rule(
    "rests-on-spawned",
    Severity::Warning,
    "A permit by `spawned` or `startedBy` lets whatever an allowed program can be made to start.",
);
const PRIVILEGED_INTERPRETER: Rule = rule(
    "privileged-interpreter",
    Severity::Warning,
    "A right that a permit gives to an interpreter by name is a right of whatever code it is given, and its variables are asked about.",
);
const ALWAYS: Rule = rule(
    "always",
    Severity::Error,
    "A policy with `@always` holds whether own code could do the same or not, so that it must not read `context.noGain`.",
);
const LIKE_ON_TEXT: Rule =
    rule("like-on-text", Severity::Warning, "The same command can be spelt in many ways: use flags, operands, tags.");
const ARITHMETIC: Rule = rule(
    "arithmetic",
    Severity::Warning,
    "Numbers that overflow make the policy err, which denies whatever it was asked about.",
);
const DESTROYS_ANYWHERE: Rule = rule(
    "destroys-anywhere",
    Severity::Warning,
    "A permit for what destroys holds for every system and every scope, unless it reads `scope`, `scopes`, `target`, `peer` or `http`.",
);
const NOT_FOR_KERNEL: Rule = rule(
    "not-for-kernel",
    Severity::Note,
    "A file rule that reads what changes during a session is held by the decision, not by the kernel.",
);
const NO_REASON: Rule =
    rule("no-reason", Severity::Warning, "Whoever is denied is told the `@reason`; without it they learn nothing.");
const NO_TREE: Rule = rule(
    "no-tree",
    Severity::Warning,
    "An operation on a tree (`grep -r`, `rm -r`, `mv`) names the directory alone: what lies below is in `resource.contains`.",
);
const NO_POLICY: Rule =
    rule("no-policy", Severity::Warning, "A file that holds no policy decides nothing, whatever it is called.");
const UNTESTED: Rule = rule("untested", Severity::Warning, "No case makes the policy hold.");
const NO_TOOL: Rule = rule(
    "no-tool",
    Severity::Warning,
    "Over MCP commands come by tools: a permit for `exec` gives nothing to a client that no permit lets use one.",
);
const UNSCOPED: Rule = rule(
    "unscoped",
    Severity::Note,
    "Nothing in the scope narrows the resource: the policy is evaluated for every request of its action.",
);

/// Every rule.
pub const RULES: &[Rule] = &[
    UNKNOWN_GROUP,
    UNKNOWN_PROGRAM,
    UNTABLED_PROGRAM,
    UNKNOWN_OPTION,
    UNKNOWN_ANNOTATION,
    UNKNOWN_ROLE,
    NEVER_MATCHES,
    COVERED,
    DUPLICATE,
    SELF_DECLARED,
    RESTS_ON_SPAWNED,
    PRIVILEGED_INTERPRETER,
    ALWAYS,
    LIKE_ON_TEXT,
    ARITHMETIC,
    DESTROYS_ANYWHERE,
    NOT_FOR_KERNEL,
    NO_REASON,
    NO_TREE,
    NO_POLICY,
    UNTESTED,
    NO_TOOL,
    UNSCOPED,
];

/// Annotations that mean something.
const ANNOTATIONS: &[&str] =
    &["id", "reason", "suggest", "severity", "owner", "accept", "always", "quorum", "checkpoint"];

/// What the linter is told besides the policies.
#[derive(Debug, Default)]
pub struct Surroundings<'a> {
    /// Roles that settings or cases give to somebody; `None`: not known, so not checked.
    pub roles: Option<BTreeSet<String>>,
    /// What the cases try; `None`: there are none, so tests are not asked for.
    pub coverage: Option<&'a Coverage>,
}

/// Everything that is found in the policies of an engine that are their author's: not in the guards, nor in a profile that they extend.
///
/// # Errors
/// If no thread can be had to do it on.
pub fn lint(engine: &Engine, surroundings: &Surroundings<'_>) -> std::io::Result<Vec<Lint>> {
    crate::stack::deep(|| findings(engine, surroundings))
}

fn findings(engine: &Engine, surroundings: &Surroundings<'_>) -> Vec<Lint> {
    let bundle = &engine.bundle;
    let own = |policy: &&Indexed| bundle.is_authored(policy.id().as_ref());
    let all = bundle.index.policies();
    let mut found = Vec::new();
    let others = all.iter().filter(|policy| !own(policy));
    let mut bodies: BTreeMap<String, String> =
        others.filter_map(|policy| Some((body(policy.json()?), policy.id().to_string()))).collect();
    let mut trees = BTreeSet::new();
    for forbid in all.iter().filter(|policy| policy.effect() == Effect::Forbid) {
        groups_below(forbid.json().unwrap_or(&Value::Null), &mut trees);
    }
    let mut permits_tools = no_gain::about(&bundle.index, "useTool").any(|policy| policy.effect() == Effect::Permit);
    for policy in all.iter().filter(own) {
        let json = policy.json().unwrap_or(&Value::Null);
        let mut linter = Linter { engine, policy, json, found: Vec::new() };
        linter.annotations();
        linter.names(surroundings);
        linter.conditions();
        linter.no_gain();
        linter.scope();
        linter.tree(&trees);
        linter.tools(&mut permits_tools);
        linter.covered(all);
        linter.tests(surroundings);
        if let Some(other) = bodies.insert(body(json), policy.id().to_string()) {
            linter.add(DUPLICATE, format!("it says the same as `{other}`"));
        }
        let accepted = policy.annotation("accept").unwrap_or_default();
        let accepted: BTreeSet<&str> = accepted.split(',').map(str::trim).collect();
        found.extend(linter.found.into_iter().filter(|lint| !accepted.contains(lint.rule.id)));
    }
    found.extend(bundle.empty_files().map(|file| Lint {
        rule: NO_POLICY,
        policy: String::new(),
        place: format!("{file}:1"),
        message: "there is no policy in this file".to_owned(),
    }));
    found.sort_by(|a, b| (b.rule.severity, &a.place, a.rule.id).cmp(&(a.rule.severity, &b.place, b.rule.id)));
    found
}

/// Whether a program takes a file for code.
fn runs_a_file(program: &str) -> bool {
    let inventory = palisade_grammar::execution(&[program.as_bytes(), b"file"]);
    inventory.commands().first().is_some_and(|command| command.invocation.groups.contains("interpreter"))
}

struct Linter<'a> {
    engine: &'a Engine,
    policy: &'a Policy,
    json: &'a Value,
    found: Vec<Lint>,
}

impl Linter<'_> {
    fn add(&mut self, rule: Rule, message: String) {
        let policy = self.policy.id().to_string();
        let place = self.engine.bundle.note(&policy).place;
        self.found.push(Lint { rule, policy, place, message });
    }

    fn is_permit(&self) -> bool {
        self.policy.effect() == Effect::Permit
    }

    fn annotations(&mut self) {
        let unknown = self.policy.annotations().map(|(key, _)| key).filter(|key| !ANNOTATIONS.contains(key));
        for key in unknown.map(str::to_owned).collect::<Vec<_>>() {
            let near = nearest(&key, ANNOTATIONS.iter().copied());
            self.add(UNKNOWN_ANNOTATION, format!("`@{key}` means nothing here{near}"));
        }
        let accepted = self.policy.annotation("accept").unwrap_or_default().to_owned();
        for id in accepted.split(',').map(str::trim).filter(|id| !id.is_empty()) {
            if !RULES.iter().any(|rule| rule.id == id) {
                self.add(UNKNOWN_ANNOTATION, format!("`@accept` names `{id}`, which is no rule"));
            }
        }
        if !self.is_permit() && self.policy.annotation("reason").unwrap_or_default().is_empty() {
            self.add(NO_REASON, "this forbid has no `@reason`".to_owned());
        }
    }

    /// The first permit for commands says it, if no policy permits a tool; `said` then is true.
    fn tools(&mut self, said: &mut bool) {
        let is_about = |action: &str| {
            no_gain::about(&self.engine.bundle.index, action).any(|policy| policy.id() == self.policy.id())
        };
        if !*said && self.is_permit() && is_about("exec") {
            *said = true;
            let permit = "permit (principal, action == Action::\"useTool\", resource);";
            self.add(
                NO_TOOL,
                format!("no policy permits `useTool`, so a client over MCP finds no tool: add `{permit}`"),
            );
        }
    }

    fn names(&mut self, surroundings: &Surroundings<'_>) {
        let catalogue = Catalogue::shared();
        let vocabulary = &self.engine.vocabulary;
        for uid in self.policy.entity_literals().into_iter().collect::<BTreeSet<_>>() {
            let (kind, id) = (uid.type_name().to_string(), uid.id().unescaped().to_owned());
            let groups: Vec<&str> = match kind.as_str() {
                "CommandGroup" => catalogue.groups().collect(),
                "PathGroup" => vocabulary.names().collect(),
                "HostGroup" => vocabulary.host_names().collect(),
                "Program" => {
                    self.program(catalogue, &id);
                    continue;
                }
                "Role" => {
                    if surroundings.roles.as_ref().is_some_and(|roles| !roles.contains(&id)) {
                        let near = nearest(&id, surroundings.roles.iter().flatten().map(String::as_str));
                        self.add(UNKNOWN_ROLE, format!("nobody has the role `{id}`{near}"));
                    }
                    continue;
                }
                _ => continue,
            };
            if !groups.contains(&id.as_str()) {
                let near = nearest(&id, groups.into_iter());
                self.add(UNKNOWN_GROUP, format!("nothing is in {kind} `{id}`{near}"));
            }
        }
    }

    fn program(&mut self, catalogue: &Catalogue, id: &str) {
        let name = id.split(' ').next().unwrap_or_default();
        if catalogue.has_program(id) {
            return;
        }
        if catalogue.has_program(name) {
            let near = nearest(id, catalogue.programs());
            self.add(UNKNOWN_PROGRAM, format!("`{name}` has no subcommand `{id}`{near}"));
        } else {
            let near = nearest(id, catalogue.programs());
            self.add(UNTABLED_PROGRAM, format!("no table describes `{id}`{near}"));
        }
    }

    fn conditions(&mut self) {
        let mut facts = Read::default();
        if let Some(conditions) = self.json.get("conditions") {
            facts.walk(conditions);
        }
        if self.is_permit() && facts.attributes.contains(&("principal".to_owned(), "client".to_owned())) {
            self.add(SELF_DECLARED, "this permit reads `principal.client`, which the client says of itself".to_owned());
        }
        for attribute in ["spawned", "startedBy"] {
            // `!resource.spawned` narrows; what is positive widens.
            if self.is_permit() && rests_on(self.json, attribute) {
                self.add(RESTS_ON_SPAWNED, format!("this permit reads `resource.{attribute}`"));
            }
        }
        if facts.like_on_text {
            self.add(LIKE_ON_TEXT, "`like` on `resource.text`".to_owned());
        }
        if facts.arithmetic {
            self.add(ARITHMETIC, "it calculates with an attribute; compare it with a number".to_owned());
        }
        let says_where = |attribute: &str| facts.attributes.contains(&("resource".to_owned(), attribute.to_owned()));
        if self.is_permit()
            && names_effect(self.json, "destroy")
            && !["scope", "scopes", "target", "peer", "http"].into_iter().any(says_where)
        {
            self.add(DESTROYS_ANYWHERE, "this permit covers what destroys, and does not say where".to_owned());
        }
        self.options(&facts);
        if self.touches_files() {
            let moving: Vec<String> = facts.moving().collect();
            if !moving.is_empty() {
                self.add(NOT_FOR_KERNEL, format!("this file rule reads {}", moving.join(", ")));
            }
        }
        if contradicts_itself(self.json) {
            self.add(NEVER_MATCHES, "what a `when` asks for, an `unless` or another `when` rules out".to_owned());
        }
    }

    fn no_gain(&mut self) {
        if self.policy.annotation("always").is_some() && no_gain::reads(self.json, &["noGain"]) {
            self.add(ALWAYS, "it is marked `@always` and reads `context.noGain`".to_owned());
        }
        if !self.is_permit() {
            return;
        }
        let policy = self.policy.id().to_string();
        let privileged = self.engine.privileged_programs();
        let interpreters = privileged
            .iter()
            .filter(|(program, policies)| policies.contains(&policy) && (*program == "*" || runs_a_file(program)));
        let interpreters: Vec<String> = interpreters.map(|(program, _)| format!("`{program}`")).collect();
        if !interpreters.is_empty() {
            let message = format!("this permit gives a right to {} by name", interpreters.join(", "));
            self.add(PRIVILEGED_INTERPRETER, message);
        }
    }

    fn options(&mut self, facts: &Read) {
        if facts.options.is_empty() {
            return;
        }
        let catalogue = Catalogue::shared();
        // Only the scope says whose options are meant.
        let scope = self.policy.resource_constraint();
        let scope = match &scope {
            ResourceConstraint::In(uid) if uid.type_name().to_string() == "Program" => Some(uid.id().unescaped()),
            _ => None,
        };
        let programs: Vec<String> =
            scope.filter(|id| catalogue.has_program(id)).map(str::to_owned).into_iter().collect();
        let known: BTreeSet<&str> = if programs.is_empty() {
            catalogue.programs().flat_map(|program| catalogue.options(program)).collect()
        } else {
            programs.iter().flat_map(|program| catalogue.options(program)).collect()
        };
        // A program without a table has its options as they are written.
        let untabled = scope.is_some() && programs.is_empty();
        let is_known = |option: &str| known.contains(option) || crate::command_facts::TAGS.contains(&option);
        if scope.is_none() {
            // The conditions may name a program that calls it otherwise. Which of several is meant, they need not say.
            let named: BTreeSet<String> = self.literals("Program").chain(facts.programs.iter().cloned()).collect();
            for option in facts.options.iter().filter(|option| is_known(option)) {
                let respelt = named.iter().map(|program| (program, catalogue.respelt(program, option)));
                let respelt: Option<Vec<_>> = respelt.map(|(program, name)| Some((program, name?))).collect();
                if let Some((program, name)) = respelt.and_then(|all| all.into_iter().next()) {
                    self.add(UNKNOWN_OPTION, format!("`{option}` of `{program}` is called `{name}`"));
                }
            }
        }
        for option in facts.options.iter().filter(|option| !untabled && !is_known(option)) {
            let respelt = programs.iter().find_map(|program| Some((program, catalogue.respelt(program, option)?)));
            let near = nearest(option, known.iter().copied());
            let message = match (respelt, programs.first()) {
                (Some((program, name)), _) => format!("`{option}` of `{program}` is called `{name}`"),
                (None, Some(program)) => format!("`{program}` has no option `{option}`{near}"),
                (None, None) => format!("no program has an option `{option}`{near}"),
            };
            self.add(UNKNOWN_OPTION, message);
        }
    }

    fn literals(&self, kind: &str) -> impl Iterator<Item = String> {
        let of_kind = self.policy.entity_literals().into_iter().filter(move |uid| uid.type_name().to_string() == kind);
        of_kind.map(|uid| uid.id().unescaped().to_owned()).collect::<BTreeSet<_>>().into_iter()
    }

    fn touches_files(&self) -> bool {
        const FILE: [&str; 7] = ["read", "write", "delete", "execute", "fileAccess", "fileChange", "activity"];
        self.literals("Action").any(|action| FILE.contains(&action.as_str()))
    }

    fn scope(&mut self) {
        let open = self.json.get("resource").and_then(|resource| resource.get("op")).and_then(Value::as_str);
        let is_exec = self.literals("Action").any(|action| action == "exec" || action == "activity");
        if open == Some("All") && is_exec {
            self.add(UNSCOPED, "the scope names no program and no group".to_owned());
        }
    }

    /// Finds a forbid on the files of a group where no forbid looks for the trees that hold some. A path needs no such twin: for an operation on
    /// a tree, the engine also asks about each path in it that a policy names.
    fn tree(&mut self, trees: &BTreeSet<String>) {
        if self.is_permit() || !self.touches_files() {
            return;
        }
        // A group with name patterns can have files in any tree. One of fixed places has none in the workspace.
        let lacks = |group: &String| self.engine.vocabulary.has_name_patterns(group) && !trees.contains(group);
        let lacking: Vec<String> = groups_of_resource(self.policy, self.json).into_iter().filter(lacks).collect();
        for group in lacking {
            let twin = format!("when {{ resource.contains.contains(PathGroup::\"{group}\") }}");
            self.add(NO_TREE, format!("a tree that holds files of `{group}` is not forbidden: add a forbid `{twin}`"));
        }
    }

    fn covered(&mut self, all: &[Indexed]) {
        if !self.is_permit() {
            return;
        }
        let covers = |forbid: &&Indexed| {
            let json = forbid.json().unwrap_or(&Value::Null);
            let wider = |part: &str| {
                let theirs = json.get(part);
                let all = theirs.and_then(|part| part.get("op")).and_then(Value::as_str) == Some("All");
                all || theirs == self.json.get(part)
            };
            forbid.effect() == Effect::Forbid
                && !forbid.has_non_scope_constraint()
                && ["principal", "action", "resource"].into_iter().all(wider)
        };
        if let Some(forbid) = all.iter().find(covers) {
            let message = format!("`{}` forbids all that this permits", forbid.id());
            self.add(COVERED, message);
        }
    }

    fn tests(&mut self, surroundings: &Surroundings<'_>) {
        let id: &str = self.policy.id().as_ref();
        let tried = surroundings.coverage.and_then(|coverage| coverage.policies().get(id));
        if tried.is_some_and(|tried| tried.held == 0) {
            self.add(UNTESTED, "no case makes it hold".to_owned());
        }
    }
}

/// What a policy's conditions read.
#[derive(Default)]
struct Read {
    /// Variable and attribute.
    attributes: BTreeSet<(String, String)>,
    /// Literals that flags and tags are compared with.
    options: BTreeSet<String>,
    /// Names that programs are compared with.
    programs: BTreeSet<String>,
    like_on_text: bool,
    /// It calculates with something that is not a literal.
    arithmetic: bool,
}

impl Read {
    fn walk(&mut self, value: &Value) {
        match value {
            Value::Array(values) => values.iter().for_each(|value| self.walk(value)),
            Value::Object(fields) => {
                for (operator, inner) in fields {
                    self.node(operator, inner);
                    self.walk(inner);
                }
            }
            _ => {}
        }
    }

    fn node(&mut self, operator: &str, inner: &Value) {
        match operator {
            "." => {
                if let Some(path) = path(inner) {
                    self.attributes.insert(path);
                }
            }
            "like" => self.like_on_text |= attribute_of(inner, "left").as_deref() == Some("text"),
            "contains" | "containsAny" | "containsAll" if attribute_of(inner, "left").as_deref() == Some("flags") => {
                self.literals(inner.get("right"));
            }
            "==" if attribute_of(inner, "left").as_deref() == Some("program") => {
                let name = inner.get("right").and_then(|right| right.get("Value")).and_then(Value::as_str);
                self.programs.extend(name.map(ToOwned::to_owned));
            }
            "+" | "-" | "*" | "neg" => self.arithmetic |= reads_attribute(inner),
            "getTag" | "hasTag" => self.literals(inner.get("right")),
            _ => {}
        }
    }

    fn literals(&mut self, value: Option<&Value>) {
        let Some(value) = value else { return };
        if let Some(text) = value.get("Value").and_then(Value::as_str) {
            self.options.insert(text.to_owned());
        }
        for value in value.get("Set").and_then(Value::as_array).into_iter().flatten() {
            self.literals(Some(value));
        }
    }

    /// What a file rule reads that changes while the session lives, or differs between its programs.
    fn moving(&self) -> impl Iterator<Item = String> {
        const MOVING: [(&str, &str); 9] = [
            ("context", "clock"),
            ("context", "approved"),
            ("context", "program"),
            ("context", "cwd"),
            ("context.session", "age"),
            ("context.session", "commands"),
            ("context.session", "labels"),
            ("resource", "name"),
            ("resource", "extension"),
        ];
        let read = |(variable, attribute): &(&str, &str)| {
            self.attributes.contains(&((*variable).to_owned(), (*attribute).to_owned()))
        };
        MOVING
            .into_iter()
            .filter(read)
            .map(|(variable, attribute)| format!("`{variable}.{attribute}`"))
            .collect::<Vec<_>>()
            .into_iter()
    }
}

/// The path groups that a policy's scope or a condition of it has the resource in.
fn groups_of_resource(policy: &Policy, json: &Value) -> BTreeSet<String> {
    let mut required: Vec<&Value> = Vec::new();
    for condition in json.get("conditions").and_then(Value::as_array).into_iter().flatten() {
        if let (Some("when"), Some(body)) = (condition.get("kind").and_then(Value::as_str), condition.get("body")) {
            alternatives(body, &mut required);
        }
    }
    let in_condition = required.into_iter().filter_map(|value| {
        let within = value.get("in").or_else(|| value.get("is"))?;
        let is_resource = within.get("left")?.get("Var")?.as_str()? == "resource";
        let group = within.get("right").or_else(|| within.get("in"))?.get("Value")?.get("__entity")?;
        let is_group = group.get("type")?.as_str()? == "PathGroup";
        (is_resource && is_group).then(|| group.get("id")?.as_str().map(str::to_owned)).flatten()
    });
    let in_scope = match policy.resource_constraint() {
        ResourceConstraint::In(uid) | ResourceConstraint::IsIn(_, uid) => Some(uid),
        ResourceConstraint::Any | ResourceConstraint::Eq(_) | ResourceConstraint::Is(_) => None,
    };
    let in_scope = in_scope.filter(|uid| uid.type_name().to_string() == "PathGroup");
    in_scope.map(|uid| uid.id().unescaped().to_owned()).into_iter().chain(in_condition).collect()
}

/// The parts of a condition each of which, with others or by itself, makes it true.
fn alternatives<'v>(value: &'v Value, parts: &mut Vec<&'v Value>) {
    let both = value.get("&&").or_else(|| value.get("||"));
    match both.and_then(|both| Some((both.get("left")?, both.get("right")?))) {
        Some((left, right)) => {
            alternatives(left, parts);
            alternatives(right, parts);
        }
        None => parts.push(value),
    }
}

/// The groups that a policy looks for below a directory.
fn groups_below(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| groups_below(value, found)),
        Value::Object(fields) => {
            for (operator, inner) in fields {
                let asks = matches!(operator.as_str(), "contains" | "containsAny" | "containsAll");
                if asks && attribute_of(inner, "left").as_deref() == Some("contains") {
                    entities(inner.get("right").unwrap_or(&Value::Null), found);
                }
                groups_below(inner, found);
            }
        }
        _ => {}
    }
}

/// The ids of all entities that an expression names.
fn entities(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| entities(value, found)),
        Value::Object(fields) => {
            let id = fields.get("__entity").and_then(|entity| entity.get("id")).and_then(Value::as_str);
            found.extend(id.map(str::to_owned));
            fields.values().for_each(|value| entities(value, found));
        }
        _ => {}
    }
}

/// Whether an attribute of the resource stands somewhere in the conditions where its being true can make the policy hold.
fn rests_on(policy: &Value, attribute: &str) -> bool {
    policy.get("conditions").and_then(Value::as_array).into_iter().flatten().any(|condition| {
        let holds = condition.get("kind").and_then(Value::as_str) == Some("when");
        condition.get("body").is_some_and(|body| can_help(body, attribute, Some(holds)))
    })
}

/// Whether a policy names an effect in its scope, or in a condition that asks for it.
fn names_effect(policy: &Value, effect: &str) -> bool {
    fn named(value: &Value, effect: &str) -> bool {
        let is_it = |entity: &Value| {
            entity.get("type").and_then(Value::as_str) == Some("Effect")
                && entity.get("id").and_then(Value::as_str) == Some(effect)
        };
        match value {
            Value::Array(values) => values.iter().any(|value| named(value, effect)),
            Value::Object(fields) => {
                is_it(value) || fields.iter().any(|(operator, inner)| operator != "!" && named(inner, effect))
            }
            _ => false,
        }
    }
    let conditions = policy.get("conditions").and_then(Value::as_array).into_iter().flatten();
    let mut asked = conditions.filter(|condition| condition.get("kind").and_then(Value::as_str) == Some("when"));
    policy.get("resource").is_some_and(|scope| named(scope, effect)) || asked.any(|condition| named(condition, effect))
}

/// `holds` is what the expression has to be for the policy to hold; `None` where either may do.
fn can_help(value: &Value, attribute: &str, holds: Option<bool>) -> bool {
    match value {
        Value::Array(values) => values.iter().any(|value| can_help(value, attribute, holds)),
        Value::Object(fields) => fields.iter().any(|(operator, inner)| {
            let is_it = operator == "." && path(inner) == Some(("resource".to_owned(), attribute.to_owned()));
            let inside = match operator.as_str() {
                // That nothing has started it is what `!resource.spawned` says, too.
                "!" | "isEmpty" => holds.map(|holds| !holds),
                // What these make of their parts is as true as they are.
                "&&" | "||" | "arg" | "left" | "right" | "." | "contains" | "containsAll" | "containsAny" => holds,
                _ => None,
            };
            is_it && holds != Some(false) || can_help(inner, attribute, inside)
        }),
        _ => false,
    }
}

/// `context.session` and `age` for `context.session.age`.
fn path(access: &Value) -> Option<(String, String)> {
    let attribute = access.get("attr")?.as_str()?.to_owned();
    let left = access.get("left")?;
    if let Some(variable) = left.get("Var").and_then(Value::as_str) {
        return Some((variable.to_owned(), attribute));
    }
    let (variable, inner) = path(left.get(".")?)?;
    Some((format!("{variable}.{inner}"), attribute))
}

/// Whether an attribute stands anywhere in an expression.
fn reads_attribute(value: &Value) -> bool {
    match value {
        Value::Array(values) => values.iter().any(reads_attribute),
        Value::Object(fields) => fields.iter().any(|(operator, inner)| operator == "." || reads_attribute(inner)),
        _ => false,
    }
}

fn attribute_of(inner: &Value, side: &str) -> Option<String> {
    path(inner.get(side)?.get(".")?).map(|(_, attribute)| attribute)
}

/// A conjunct of a `when` that another `when` negates, that an `unless` has among its alternatives, or two that compare
/// one attribute with different constants.
fn contradicts_itself(policy: &Value) -> bool {
    let mut required: Vec<&Value> = Vec::new();
    let mut excluded: Vec<&Value> = Vec::new();
    for condition in policy.get("conditions").and_then(Value::as_array).into_iter().flatten() {
        let Some(body) = condition.get("body") else { continue };
        if condition.get("kind").and_then(Value::as_str) == Some("when") {
            flatten(body, "&&", &mut required);
        } else {
            flatten(body, "||", &mut excluded);
        }
    }
    for side in required.clone() {
        if let Some(inner) = side.get("!").and_then(|not| not.get("arg")) {
            excluded.push(inner);
        }
    }
    let scope = policy.get("resource").filter(|scope| scope.get("op").and_then(Value::as_str) == Some("in"));
    let within = |value: &Value| {
        let compared = value.get("in")?;
        let is_resource = compared.get("left")?.get("Var")?.as_str()? == "resource";
        let group = compared.get("right")?.get("Value")?.get("__entity")?;
        (is_resource && Some(group) == scope?.get("entity")).then_some(())
    };
    let equals = |value: &Value| {
        let compared = value.get("==")?;
        Some((compared.get("left")?.clone(), compared.get("right")?.get("Value")?.clone()))
    };
    let constants: Vec<(Value, Value)> = required.iter().filter_map(|value| equals(value)).collect();
    let clash = constants.iter().any(|(left, value)| constants.iter().any(|(l, v)| l == left && v != value));
    clash || required.iter().any(|side| excluded.contains(side)) || excluded.iter().any(|side| within(side).is_some())
}

fn flatten<'v>(value: &'v Value, operator: &str, sides: &mut Vec<&'v Value>) {
    match value.get(operator).and_then(|both| Some((both.get("left")?, both.get("right")?))) {
        Some((left, right)) => {
            flatten(left, operator, sides);
            flatten(right, operator, sides);
        }
        None => sides.push(value),
    }
}

/// A policy without its annotations, as text that is the same for the same policy.
fn body(policy: &Value) -> String {
    let mut policy = policy.clone();
    if let Some(fields) = policy.as_object_mut() {
        fields.remove("annotations");
    }
    policy.to_string()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::{AbsolutePath, Bundle, Source, Vocabulary};

    fn found(policies: &str) -> Vec<(&'static str, String)> {
        let source = Source { name: "site.cedar".to_owned(), text: policies.to_owned() };
        let (file, text) = palisade_policies::GROUPS;
        let vocabulary = Vocabulary::parse(file, text, &AbsolutePath::new("/home/u").unwrap()).unwrap();
        let engine = Engine::new(Bundle::load(vec![source]).unwrap(), vocabulary);
        let surroundings = Surroundings { roles: Some(BTreeSet::from(["developer".to_owned()])), coverage: None };
        lint(&engine, &surroundings).unwrap().into_iter().map(|lint| (lint.rule.id, lint.message)).collect()
    }

    const EXEC: &str = "principal, action == Action::\"exec\", resource";

    #[test]
    fn each_rule_finds_what_it_is_for_and_nothing_near_it() {
        let exec = |effect: &str, condition: &str| format!("@id(\"p\") @reason(\"r\") {effect} ({EXEC}) {condition};");
        let within = |group: &str| format!("@id(\"p\") permit ({EXEC} in {group});");
        let file = |resource: &str, condition: &str| {
            format!(
                "@id(\"p\") @reason(\"r\") forbid (principal, action in [Action::\"fileAccess\", Action::\"execute\"], {resource}) {condition};"
            )
        };
        let connect = |condition: &str| {
            format!("@id(\"p\") permit (principal, action == Action::\"connect\", resource) {condition};")
        };
        for (rule, bad, good) in [
            ("unknown-group", within("CommandGroup::\"priviledge\""), within("CommandGroup::\"privilege\"")),
            ("unknown-program", within("Program::\"git psuh\""), within("Program::\"git push\"")),
            ("untabled-program", within("Program::\"deployctl\""), within("Program::\"git\"")),
            (
                "unknown-group",
                exec("permit", "when { context.cwd in PathGroup::\"secret\" }"),
                exec("permit", "when { context.cwd in PathGroup::\"secrets\" }"),
            ),
            (
                "unknown-option",
                format!("@id(\"p\") @reason(\"r\") forbid ({EXEC} in Program::\"git push\") when {{ resource.flags.contains(\"-f\") }};"),
                format!("@id(\"p\") @reason(\"r\") forbid ({EXEC} in Program::\"git push\") when {{ resource.flags.contains(\"--force\") }};"),
            ),
            (
                "unknown-option",
                exec("forbid", "when { resource in Program::\"git push\" && resource.flags.contains(\"-f\") }"),
                exec("forbid", "when { resource in Program::\"git push\" && resource.flags.contains(\"--force\") }"),
            ),
            (
                "unknown-option",
                exec("forbid", "when { resource.program == \"rm\" && resource.flags.contains(\"-r\") }"),
                // `ar` has an option of that name.
                exec("forbid", "when { (resource.program == \"rm\" || resource.program == \"ar\") && resource.flags.contains(\"-r\") }"),
            ),
            (
                "destroys-anywhere",
                within("Effect::\"destroy\""),
                format!("@id(\"p\") permit ({EXEC} in Effect::\"destroy\") when {{ resource.scope == \"dev\" }};"),
            ),
            (
                "destroys-anywhere",
                exec("permit", "when { resource in [Effect::\"change\", Effect::\"destroy\"] }"),
                exec("permit", "when { !(resource in [Effect::\"change\", Effect::\"destroy\"]) }"),
            ),
            (
                "no-tree",
                "@id(\"p\") @reason(\"r\") forbid (principal, action in [Action::\"fileAccess\", Action::\"execute\"], resource in PathGroup::\"secrets\");".to_owned(),
                "@id(\"p\") @reason(\"r\") forbid (principal, action in [Action::\"fileAccess\", Action::\"execute\"], resource in PathGroup::\"secrets\");\
                 @id(\"q\") @reason(\"r\") forbid (principal, action in [Action::\"fileAccess\", Action::\"execute\"], resource)\
                 when { resource.contains.contains(PathGroup::\"secrets\") };".to_owned(),
            ),
            (
                "no-tree",
                file("resource is Path in PathGroup::\"secrets\"", ""),
                // A tree above it asks about that path too.
                file("resource in Path::\"/srv/x\"", ""),
            ),
            (
                "no-tree",
                file("resource", "when { context.session.sandboxed && (resource in PathGroup::\"secrets\" || resource in Path::\"/x\") }"),
                file("resource", "when { resource in Path::\"/srv/x\" }"),
            ),
            (
                "no-tree",
                file("resource", "when { resource is Path in PathGroup::\"secrets\" }"),
                file("resource", "unless { resource in PathGroup::\"secrets\" }"),
            ),
            (
                "unknown-annotation",
                format!("@id(\"p\") @decison(\"ask\") permit ({EXEC});"),
                format!("@id(\"p\") @owner(\"me\") permit ({EXEC});"),
            ),
            (
                "unknown-role",
                "@id(\"p\") permit (principal in Role::\"develper\", action, resource);".to_owned(),
                "@id(\"p\") permit (principal in Role::\"developer\", action, resource);".to_owned(),
            ),
            (
                "never-matches",
                exec("forbid", "when { resource.dynamic } unless { resource.dynamic }"),
                exec("forbid", "when { resource.dynamic } unless { resource.background }"),
            ),
            (
                "never-matches",
                exec("forbid", "when { resource.program == \"a\" && resource.program == \"b\" }"),
                exec("forbid", "when { resource.program == \"a\" && resource.path == \"b\" }"),
            ),
            (
                "covered-by-forbid",
                format!("@id(\"p\") permit ({EXEC}); @id(\"f\") @reason(\"r\") forbid ({EXEC});"),
                format!("@id(\"p\") permit ({EXEC}); @id(\"f\") @reason(\"r\") forbid ({EXEC}) when {{ resource.dynamic }};"),
            ),
            (
                "duplicate",
                format!("@id(\"p\") permit ({EXEC}); @id(\"q\") permit ({EXEC});"),
                format!("@id(\"p\") permit ({EXEC}); @id(\"q\") permit ({EXEC}) when {{ resource.dynamic }};"),
            ),
            (
                "self-declared",
                exec("permit", "when { principal.client == \"claude\" }"),
                exec("forbid", "when { principal.client == \"claude\" }"),
            ),
            (
                "rests-on-spawned",
                exec("permit", "when { resource.spawned }"),
                exec("permit", "when { !resource.spawned }"),
            ),
            (
                "rests-on-spawned",
                exec("permit", "when { resource.spawned || !resource.spawned }"),
                exec("permit", "when { resource.dynamic && !(resource.spawned || resource.background) }"),
            ),
            (
                "rests-on-spawned",
                exec("permit", "unless { !resource.spawned }"),
                exec("permit", "unless { resource.spawned }"),
            ),
            (
                "rests-on-spawned",
                exec("permit", "when { resource.spawned == true }"),
                exec("permit", "unless { resource.background || resource.spawned }"),
            ),
            (
                "rests-on-spawned",
                exec("permit", "when { !resource.startedBy.isEmpty() }"),
                exec("permit", "when { resource.startedBy.isEmpty() }"),
            ),
            (
                "rests-on-spawned",
                exec("permit", "when { resource.startedBy.contains(Program::\"make\") }"),
                exec("forbid", "when { resource.startedBy.contains(Program::\"make\") }"),
            ),
            (
                "like-on-text",
                exec("forbid", "when { resource.text like \"*rm -rf*\" }"),
                exec("forbid", "when { resource.program like \"rm*\" }"),
            ),
            (
                "privileged-interpreter",
                connect("when { context.program == Program::\"python3\" }"),
                connect("when { context.program == Program::\"curl\" }"),
            ),
            (
                "privileged-interpreter",
                connect("when { context.program != Program::\"\" }"),
                connect("when { context.port == 443 }"),
            ),
            (
                "always",
                format!("@id(\"p\") @reason(\"r\") @always(\"why\") forbid ({EXEC}) unless {{ context.noGain }};"),
                exec("forbid", "unless { context.noGain }"),
            ),
            (
                "arithmetic",
                exec("forbid", "when { resource.depth * 2 > 8 }"),
                exec("forbid", "when { resource.depth > 2 * 4 }"),
            ),
            (
                "not-for-kernel",
                "@id(\"p\") @reason(\"r\") forbid (principal, action == Action::\"read\", resource) when { context.session.age > duration(\"1h\") };".to_owned(),
                "@id(\"p\") @reason(\"r\") forbid (principal, action == Action::\"read\", resource) when { context.session.sandboxed };".to_owned(),
            ),
            (
                "no-reason",
                format!("@id(\"p\") forbid ({EXEC});"),
                format!("@id(\"p\") permit ({EXEC});"),
            ),
            ("no-policy", "// Nothing yet.".to_owned(), exec("permit", "")),
            (
                "no-tool",
                exec("permit", ""),
                format!("{} @id(\"t\") permit (principal, action == Action::\"useTool\", resource);", exec("permit", "")),
            ),
            ("unscoped", exec("permit", ""), within("Program::\"git\"")),
            (
                "like-on-text",
                exec("forbid", "when { resource.text like \"x\" }"),
                format!("@id(\"p\") @reason(\"r\") @accept(\"like-on-text\") forbid ({EXEC}) when {{ resource.text like \"x\" }};"),
            ),
        ] {
            let has = |policies: &str| found(policies).iter().any(|(id, _)| *id == rule);
            assert!(has(&bad), "{rule} in {bad}: {:?}", found(&bad));
            assert!(!has(&good), "{rule} in {good}: {:?}", found(&good));
        }
    }

    #[test]
    fn a_near_name_is_offered() {
        let message = |policies: &str| found(policies).into_iter().map(|(_, message)| message).collect::<String>();
        for (policy, offer) in [
            (
                "@id(\"p\") permit (principal, action == Action::\"exec\", resource in CommandGroup::\"networkk\");",
                "`network`",
            ),
            (
                "@id(\"p\") permit (principal, action == Action::\"exec\", resource in Program::\"git psuh\");",
                "`git push`",
            ),
        ] {
            assert!(message(policy).contains(&format!("did you mean {offer}?")), "{}", message(policy));
        }
    }

    #[test]
    fn rules_have_names_of_their_own() {
        let ids: BTreeSet<&str> = RULES.iter().map(|rule| rule.id).collect();
        assert_eq!(ids.len(), RULES.len());
    }
}
