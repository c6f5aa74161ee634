//! Policy sources to a validated policy set with a fingerprint.
//!
//! What passes here is the only thing that [`crate::Engine`] decides with: the guards, and one profile or the
//! operator's own files, strictly validated, warnings included, each policy with a unique `@id`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, OnceLock};

use cedar_policy::{
    ActionConstraint, Effect, Entity, EntityUid, Policy, PolicyId, PolicySet, Schema, ValidationMode, ValidationResult,
    Validator,
};
use cedar_policy_formatter::{Config, policies_str_to_pretty};
use miette::Diagnostic;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::depth::too_deep;
use crate::no_gain::{self, Privileged};
use crate::path::AbsolutePath;
use crate::policy_clauses::{PolicyClauses, may_name};
use crate::policy_json::Indexed;
use crate::slice::Index;
use crate::source::{Finding, Findings, Source};
use crate::stack::{DEEP, deep};
use crate::vocabulary::Vocabulary;

/// Bytes that one policy file may have.
const MAX_FILE: usize = 4 * 1024 * 1024;

/// Entity dereferences that a policy may chain: `principal.user in …` needs two. Beyond it the validator cannot tell
/// which entities a request has to bring.
const MAX_DEREFERENCE: u32 = 2;

/// People whom one policy may ask for: more than that are nobody's quorum, but a slip of the pen.
const MAX_QUORUM: usize = 20;

/// The shipped schema, parsed once: it is the same for all sets. From JSON, for the parser of the other form takes four times as long.
static SCHEMA: LazyLock<Result<Schema, String>> =
    LazyLock::new(|| Schema::from_json_str(palisade_policies::SCHEMA_JSON).map_err(|error| error.to_string()));

/// Policies that are not worth a thread of their own.
const SMALLEST_PART: usize = 64;

/// A validated set of policies.
pub struct Bundle {
    pub(crate) schema: Schema,
    pub(crate) index: Index,
    pub(crate) literals: Literals,
    pub(crate) reads: Reads,
    /// The programs that have a right which the agent's own code lacks.
    pub(crate) privileged: Privileged,
    /// Some policy looks at what lies below a directory, whatever the kernel holds.
    pub(crate) asks_about_trees: bool,
    /// The schema's actions by id, each with the groups above it.
    pub(crate) actions: HashMap<String, Entity>,
    policy_clauses: Vec<OnceLock<PolicyClauses>>,
    sources: Vec<Source>,
    /// The group table beside them, which counts in the fingerprint.
    groups: Option<Source>,
    notes: BTreeMap<String, Note>,
    changes_behind_checkpoint: BTreeSet<String>,
    fingerprint: String,
    schema_fingerprint: String,
}

/// What a policy says about itself, and where it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Note {
    /// File and line, `developer.cedar:12`.
    pub place: String,
    /// Its `@reason`, for whoever is denied.
    pub reason: String,
    /// Its `@suggest`: what would be allowed.
    pub suggest: String,
    /// Its `@quorum`: how many different people have to say yes where it stands in the way, or permits only because they
    /// do. Zero where it does not say, which is one.
    pub quorum: usize,
    /// Its `@checkpoint("before")`: what it permits runs only behind a checkpoint of the workspace.
    pub checkpoint: bool,
    /// It goes by what commands do beyond the workspace, so that a denial says what that is.
    pub effects: bool,
}

/// The ids that policies name, by entity type.
#[derive(Default)]
pub(crate) struct Literals(BTreeMap<String, BTreeSet<String>>);

impl Literals {
    fn of_policies(policies: &[Indexed]) -> Self {
        let mut literals = Self::default();
        for uid in policies.iter().flat_map(|policy| policy.entity_literals()) {
            let ids = literals.0.entry(uid.type_name().to_string()).or_default();
            ids.insert(uid.id().unescaped().to_owned());
        }
        literals
    }

    /// The ids of one type.
    pub(crate) fn of(&self, kind: &str) -> impl Iterator<Item = &str> {
        self.0.get(kind).into_iter().flatten().map(String::as_str)
    }
}

/// Which of the facts that differ from one request to the next any policy looks at. Cedar cannot tell the value of an
/// attribute that no policy names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reads {
    /// The time, in any form.
    pub(crate) clock: bool,
    /// How long the session has lived, or how much it has run.
    pub(crate) session: bool,
}

impl Reads {
    /// Whether any policy looks at what changes by itself from one request to the next.
    pub(crate) fn what_passes(self) -> bool {
        self.clock || self.session
    }

    /// Whether any policy looks at the clock.
    pub(crate) fn clock(self) -> bool {
        self.clock
    }

    /// The attributes that change by themselves.
    const PASSING: [&str; 3] = ["clock", "age", "commands"];

    fn of(index: &Index, home: &BTreeMap<String, usize>, sources: &[Source]) -> Self {
        let suspects: Vec<bool> = sources.iter().map(|source| may_name(&source.text, &Self::PASSING)).collect();
        let home = |policy: &Indexed| home.get::<str>(policy.id().as_ref()).and_then(|at| suspects.get(*at));
        let mut reads = Self::default();
        for policy in index.policies().iter().filter(|policy| policy.has_non_scope_constraint()) {
            if home(policy) == Some(&false) || !policy.may_name(&Self::PASSING) {
                continue;
            }
            match policy.json() {
                Some(json) => reads.note(json),
                // What cannot be looked into may read everything.
                None => reads = Self { clock: true, session: true },
            }
        }
        reads
    }

    fn note(&mut self, value: &Value) {
        match value {
            Value::Array(values) => values.iter().for_each(|value| self.note(value)),
            Value::Object(fields) => fields.values().for_each(|value| self.note(value)),
            Value::String(name) => {
                self.clock |= name == "clock";
                self.session |= name == "age" || name == "commands";
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

/// Why a set of policy files was refused.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum BundleError {
    /// No file was given.
    #[error("there is no policy file in `{0}`")]
    #[diagnostic(help("a policy directory holds files that end in `.cedar`"))]
    Empty(String),
    /// No profile of that name is shipped.
    #[error("no profile is called `{name}`")]
    #[diagnostic(help("the profiles are: {known}; your own policies are given with `--policies`"))]
    UnknownProfile {
        /// The name that was asked for.
        name: String,
        /// The names that there are.
        known: String,
    },
    /// One or more policies are wrong.
    #[error("{0}")]
    #[diagnostic(help("`palisade policy show schema` prints the attributes and actions that a policy can use"))]
    Invalid(Findings),
    /// The policies could not be validated.
    #[error("the policies could not be validated: {0}")]
    Unvalidated(String),
    /// The shipped schema does not parse.
    #[error("the built-in schema is broken: {0}")]
    Schema(String),
}

impl Bundle {
    /// The guards and a shipped profile.
    ///
    /// # Errors
    /// If no profile has that name.
    pub fn profile(name: &str) -> Result<Self, BundleError> {
        Self::load(Source::of_profile(name)?)
    }

    /// The guards, and a permit for everything that they do not forbid: what their own cases are judged with.
    ///
    /// # Errors
    /// If the guards are broken.
    pub fn behind_guards() -> Result<Self, BundleError> {
        let text = "@id(\"everything\") permit (principal, action, resource);";
        Self::load(vec![Source { name: "everything.cedar".to_owned(), text: text.to_owned() }])
    }

    /// The guards and the given files.
    ///
    /// # Errors
    /// If a file does not parse, a policy has no `@id` or one that is taken, or the strict validator finds an error or
    /// a warning: then nothing of the set is used.
    pub fn load(sources: Vec<Source>) -> Result<Self, BundleError> {
        Self::with_groups(sources, None)
    }

    /// The same, with the group table that lies beside the files counted into the fingerprint.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn with_groups(sources: Vec<Source>, groups: Option<Source>) -> Result<Self, BundleError> {
        deep(|| Self::made_of(sources, groups)).unwrap_or_else(|error| Err(BundleError::Unvalidated(error.to_string())))
    }

    fn made_of(sources: Vec<Source>, groups: Option<Source>) -> Result<Self, BundleError> {
        let guards = palisade_policies::GUARDS
            .iter()
            .map(|(name, text)| Source { name: (*name).to_owned(), text: (*text).to_owned() });
        let sources: Vec<Source> = guards.chain(sources).collect();
        let (schema, parsed) = std::thread::scope(|scope| {
            // Which takes as long as the policies do.
            scope.spawn(|| LazyLock::force(&SCHEMA));
            let parsed = parse_all(&sources);
            (SCHEMA.clone(), parsed)
        });
        let (schema, parsed) = (schema.map_err(BundleError::Schema)?, parsed?);
        validate(&schema, &parsed, &sources)?;
        let index = Index::new(&parsed.set, &schema).map_err(BundleError::Schema)?;
        no_gain::take_apart(&index);
        Ok(Self {
            policy_clauses: index.policies().iter().map(|_| OnceLock::new()).collect(),
            actions: actions(&schema)?,
            literals: Literals::of_policies(index.policies()),
            privileged: Privileged::of(&index),
            asks_about_trees: no_gain::asks_about_trees(&index),
            reads: Reads::of(&index, &parsed.home, &sources),
            index,
            fingerprint: fingerprint(sources.iter().chain(&groups)),
            groups,
            schema_fingerprint: fingerprint(std::iter::empty()),
            changes_behind_checkpoint: changes_behind_checkpoint(&parsed),
            notes: parsed.notes,
            sources,
            schema,
        })
    }

    /// The same set, its fingerprint over these groups too: answers that are kept under one must not outlive a change of either.
    pub(crate) fn counting(self, groups: &Vocabulary) -> Self {
        let groups = groups.canonical();
        let fingerprint = digest([("policies", self.fingerprint.as_str()), ("groups", groups.as_str())].into_iter());
        Self { fingerprint, ..self }
    }

    /// Every policy, taken apart on first use.
    pub(crate) fn policy_clauses(&self, at: usize) -> Option<&PolicyClauses> {
        let policy = self.index.policy(at)?;
        Some(self.policy_clauses.get(at)?.get_or_init(|| deep(|| PolicyClauses::of(policy)).unwrap_or_default()))
    }

    /// The same set but for one policy, which tests take away to see who notices.
    #[cfg(test)]
    pub(crate) fn without(&self, id: &str) -> Result<Self, String> {
        let left = self
            .index
            .policies()
            .iter()
            .filter(|policy| policy.id().to_string() != id)
            .map(|policy| policy.policy().clone());
        let set = PolicySet::from_policies(left).unwrap_or_default();
        let index = Index::new(&set, &self.schema)?;
        Ok(Self {
            policy_clauses: index.policies().iter().map(|_| OnceLock::new()).collect(),
            literals: Literals::of_policies(index.policies()),
            privileged: Privileged::of(&index),
            asks_about_trees: no_gain::asks_about_trees(&index),
            index,
            schema: self.schema.clone(),
            actions: self.actions.clone(),
            reads: self.reads,
            sources: self.sources.clone(),
            groups: self.groups.clone(),
            notes: self.notes.clone(),
            changes_behind_checkpoint: self.changes_behind_checkpoint.clone(),
            fingerprint: self.fingerprint.clone(),
            schema_fingerprint: self.schema_fingerprint.clone(),
        })
    }

    /// What another process makes the same set of: the files without the guards, which it has itself, and the group table.
    pub(crate) fn parts(&self) -> (Vec<Source>, Option<Source>) {
        (self.sources.iter().skip(palisade_policies::GUARDS.len()).cloned().collect(), self.groups.clone())
    }

    /// The names of the author's files in which no policy stands.
    pub(crate) fn empty_files(&self) -> impl Iterator<Item = &str> {
        let holds = |source: &&Source| {
            let stands_in = |note: &Note| note.place.rsplit_once(':').is_some_and(|(file, _)| file == source.name);
            self.notes.values().any(stands_in)
        };
        self.sources
            .iter()
            .filter(|source| !is_shipped(source))
            .filter(move |source| !holds(source))
            .map(|source| source.name.as_str())
    }

    /// The files that the set was made of, the guards first.
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// The ids of all policies, sorted.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.notes.keys().map(String::as_str)
    }

    /// SHA-256 over the schema and every source with its name, as `sha256:<hex>`; of an engine's bundle, over the engine's
    /// groups as well. Two with the same fingerprint decide alike.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// SHA-256 of the schema alone, in the same form.
    pub fn schema_fingerprint(&self) -> &str {
        &self.schema_fingerprint
    }

    /// Whether a policy is its author's to look at: one of the site's own where there are any, else any but the guards.
    pub(crate) fn is_authored(&self, id: &str) -> bool {
        let (file, _) = self.notes.get(id).and_then(|note| note.place.rsplit_once(':')).unwrap_or_default();
        let is_guard = || palisade_policies::GUARDS.iter().any(|(guards, _)| *guards == file);
        match self.sources.iter().any(|source| !is_shipped(source)) {
            true => self.sources.iter().any(|source| source.name == file && !is_shipped(source)),
            false => !is_guard(),
        }
    }

    /// What a policy says about itself; empty for an unknown id.
    pub fn note(&self, id: &str) -> Note {
        self.notes.get(id).cloned().unwrap_or_default()
    }

    /// Whether what a policy permits runs only behind a checkpoint.
    pub(crate) fn takes_checkpoint(&self, id: &str) -> bool {
        self.notes.get(id).is_some_and(|note| note.checkpoint)
    }

    /// The policies that permit files to be changed only behind a checkpoint.
    pub(crate) fn changes_behind_checkpoint(&self) -> impl Iterator<Item = &str> {
        self.changes_behind_checkpoint.iter().map(String::as_str)
    }
}

/// Those policies: kernel rules that come from them hold for what no text tells of.
fn changes_behind_checkpoint(parsed: &Parsed) -> BTreeSet<String> {
    let marked = parsed.notes.iter().filter(|(_, note)| note.checkpoint).map(|(id, _)| id);
    let changes = |id: &&String| {
        let policy = parsed.set.policy(&PolicyId::new(id));
        let actions = policy.and_then(permitted).unwrap_or_default();
        actions.iter().any(|action| matches!(action.as_str(), "write" | "delete" | "fileChange"))
    };
    marked.filter(changes).cloned().collect()
}

fn actions(schema: &Schema) -> Result<HashMap<String, Entity>, BundleError> {
    let entities = schema.action_entities().map_err(|error| BundleError::Schema(error.to_string()))?;
    Ok(entities.into_iter().map(|entity| (entity.uid().id().unescaped().to_owned(), entity)).collect())
}

impl Source {
    /// The files of a shipped profile, without the guards.
    ///
    /// # Errors
    /// If no profile has that name.
    pub fn of_profile(name: &str) -> Result<Vec<Self>, BundleError> {
        let Some((_, (file, text))) = palisade_policies::PROFILES.iter().find(|(profile, _)| *profile == name) else {
            let known: Vec<_> = palisade_policies::PROFILES.iter().map(|(profile, _)| format!("`{profile}`")).collect();
            return Err(BundleError::UnknownProfile { name: name.to_owned(), known: known.join(", ") });
        };
        let files = palisade_policies::BASE.iter().copied().chain([(*file, *text)]);
        Ok(files.map(|(name, text)| Self { name: name.to_owned(), text: text.to_owned() }).collect())
    }

    /// The file laid out as all Cedar tools lay it out; comments stay. Says the same as before, or it is an error.
    ///
    /// # Errors
    /// If it does not parse, or cannot be laid out without changing what it says.
    pub fn formatted(&self) -> Result<String, BundleError> {
        deep(|| self.laid_out()).unwrap_or_else(|error| Err(BundleError::Unvalidated(error.to_string())))
    }

    fn laid_out(&self) -> Result<String, BundleError> {
        let refused = |findings| BundleError::Invalid(Findings(findings));
        // First our own limits: the formatter's parser recurses too.
        parse_one(self).map_err(refused)?;
        let (header, body) = split_header(&self.text);
        let config = Config { line_width: 80, indent_width: 2 };
        let body = policies_str_to_pretty(body, &config)
            .map_err(|error| refused(vec![self.finding(0, format!("cannot be laid out: {error}"))]))?;
        Ok(format!("{header}{body}"))
    }
}

/// The comment that a file begins with, with the empty line behind it, and the rest. The formatter would join it to the
/// first policy's own comment.
fn split_header(text: &str) -> (&str, &str) {
    let end = text.find("\n\n").map_or(0, |at| at + 2);
    match text.split_at_checked(end) {
        Some((header, body)) if header.lines().all(|line| line.is_empty() || line.starts_with("//")) => (header, body),
        _ => ("", text),
    }
}

impl fmt::Debug for Bundle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Bundle").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

struct Parsed {
    set: PolicySet,
    notes: BTreeMap<String, Note>,
    /// Index of the source that each policy stands in.
    home: BTreeMap<String, usize>,
}

fn parse_all(sources: &[Source]) -> Result<Parsed, BundleError> {
    let mut parsed = Parsed { set: PolicySet::new(), notes: BTreeMap::new(), home: BTreeMap::new() };
    let mut findings = Vec::new();
    for (index, (source, read)) in sources.iter().zip(parse_each(sources)).enumerate() {
        match read {
            Ok(policies) => {
                let lines = Lines::of(&source.text);
                for policy in policies {
                    if let Err(finding) = parsed.add(policy, index, source, &lines) {
                        findings.push(finding);
                    }
                }
            }
            Err(found) => findings.extend(found),
        }
    }
    if findings.is_empty() { Ok(parsed) } else { Err(BundleError::Invalid(Findings(findings))) }
}

/// The policies of one file, or what is wrong with it.
type Read = Result<Vec<Policy>, Vec<Finding>>;

/// Each file by itself, on as many threads as run at once: Cedar's parser is most of what a start waits for.
fn parse_each(sources: &[Source]) -> Vec<Read> {
    let next = AtomicUsize::new(0);
    let parse = || -> Vec<(usize, Read)> {
        let taken = std::iter::from_fn(|| Some(next.fetch_add(1, Ordering::Relaxed)));
        taken.map_while(|at| Some((at, parse_one(sources.get(at)?)))).collect()
    };
    let others = std::thread::available_parallelism().map_or(1, usize::from).min(sources.len());
    let mut read = std::thread::scope(|scope| {
        let start = |_| std::thread::Builder::new().stack_size(DEEP).spawn_scoped(scope, parse).ok();
        let threads: Vec<_> = (1..others).filter_map(start).collect();
        let mut read = parse();
        for thread in threads {
            read.extend(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        read
    });
    read.sort_unstable_by_key(|(at, _)| *at);
    read.into_iter().map(|(_, read)| read).collect()
}

fn parse_one(source: &Source) -> Read {
    if source.text.len() > MAX_FILE {
        return Err(vec![source.finding(0, format!("the file has more than {MAX_FILE} bytes"))]);
    }
    if let Some((offset, message)) = too_deep(&source.text) {
        return Err(vec![source.finding(offset, message)]);
    }
    let set: PolicySet = source.text.parse().map_err(|errors: cedar_policy::ParseErrors| {
        errors.iter().map(|error| source.finding(label(error).unwrap_or_default(), told(error))).collect::<Vec<_>>()
    })?;
    if let Some(template) = set.templates().next() {
        let id = template.annotation("id").map_or_else(|| "this policy".to_owned(), |id| format!("`{id}`"));
        let message = format!("{id} is a template (`?principal` or `?resource`), and Palisade fills none in");
        let offset = template.as_ref().loc().map_or(0, |place| place.start());
        return Err(vec![source.finding(offset, message)]);
    }
    let mut policies: Vec<Policy> = set.policies().cloned().collect();
    policies.sort_by_key(begin);
    Ok(policies)
}

/// Where a policy begins in its file.
fn begin(policy: &Policy) -> usize {
    policy.as_ref().loc().map_or(0, |place| place.start())
}

/// Where a policy's `@id` stands, or the policy, if it has none.
fn place_of_id(policy: &Policy) -> usize {
    let id = policy.as_ref().annotations().find(|(key, _)| AsRef::<str>::as_ref(*key) == "id");
    let place = id.and_then(|(_, annotation)| annotation.loc.as_ref());
    place.map_or_else(|| begin(policy), |place| place.start())
}

impl Parsed {
    fn add(&mut self, policy: Policy, index: usize, source: &Source, lines: &Lines) -> Result<(), Finding> {
        // Asked for one by one, each name would be parsed again.
        let annotations: HashMap<&str, &str> = policy.annotations().collect();
        let annotation = |key: &str| annotations.get(key).copied().unwrap_or_default().to_owned();
        let id = annotation("id");
        if id.is_empty() {
            return Err(source.finding(begin(&policy), "this policy has no `@id(\"…\")`".to_owned()));
        }
        let offset = place_of_id(&policy);
        if let Some(other) = self.notes.get(&id) {
            return Err(source.finding(offset, format!("the id `{id}` is already taken at {}", other.place)));
        }
        let place = format!("{}:{}", source.name, lines.line(offset));
        let quorum = match annotations.get("quorum").copied() {
            None => 0,
            Some(written) => quorum(written).ok_or_else(|| {
                let message = format!(
                    "`@quorum` of `{id}` is `{written}`, which is not a number of people from 1 to {MAX_QUORUM}"
                );
                source.finding(offset, message)
            })?,
        };
        let checkpoint = match annotations.get("checkpoint").copied() {
            None => false,
            Some("before") if takes_checkpoint(&policy) => true,
            Some("before") => {
                let message = format!(
                    "`@checkpoint` of `{id}` stands on a policy that is no permit for `exec`, `execute`, `write` or `delete` alone"
                );
                return Err(source.finding(offset, message));
            }
            Some(written) => {
                let message = format!("`@checkpoint` of `{id}` is `{written}`; what there is is `before`");
                return Err(source.finding(offset, message));
            }
        };
        let (reason, suggest) = (annotation("reason"), annotation("suggest"));
        let effects = palisade_grammar::OutwardEffect::ALL
            .iter()
            .any(|effect| policy.to_string().contains(&format!("Effect::\"{}\"", effect.as_str())));
        let note = Note { place, reason, suggest, quorum, checkpoint, effects };
        self.set.add(policy.new_id(PolicyId::new(&id))).map_err(|error| source.finding(offset, error.to_string()))?;
        self.notes.insert(id.clone(), note);
        self.home.insert(id, index);
        Ok(())
    }
}

/// Whether a policy permits what a checkpoint can be taken before, and nothing else.
fn takes_checkpoint(policy: &Policy) -> bool {
    const BEFORE: [&str; 5] = ["exec", "execute", "write", "delete", "fileChange"];
    let is_permit = policy.effect() == Effect::Permit;
    is_permit && permitted(policy).is_some_and(|actions| actions.iter().all(|action| BEFORE.contains(&action.as_str())))
}

/// The actions of a policy's scope; none where it is for all.
fn permitted(policy: &Policy) -> Option<Vec<String>> {
    let id = |uid: &EntityUid| uid.id().unescaped().to_owned();
    match policy.action_constraint() {
        ActionConstraint::Any => None,
        ActionConstraint::Eq(uid) => Some(vec![id(&uid)]),
        ActionConstraint::In(uids) => Some(uids.iter().map(id).collect()),
    }
}

/// A number of people; a spelling that is not plain digits is none.
fn quorum(written: &str) -> Option<usize> {
    let plain = written.bytes().all(|byte| byte.is_ascii_digit()) && !written.starts_with('0');
    written.parse().ok().filter(|people| plain && *people <= MAX_QUORUM)
}

/// Where the lines of a file end: looked up once for all its policies, since a file may hold thousands.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(text.match_indices('\n').map(|(at, _)| at).collect())
    }

    /// The line that a byte stands in, counted from 1.
    fn line(&self, offset: usize) -> usize {
        self.0.partition_point(|end| *end < offset) + 1
    }
}

/// Whether this very text is shipped under this name. What is shipped was validated before, by the tests.
fn is_shipped(source: &Source) -> bool {
    let profiles = palisade_policies::PROFILES.iter().map(|(_, file)| file);
    let mut shipped = palisade_policies::GUARDS.iter().chain(palisade_policies::BASE).chain(profiles);
    shipped.any(|(name, text)| source.name == *name && source.text == *text)
}

fn validate(schema: &Schema, parsed: &Parsed, sources: &[Source]) -> Result<(), BundleError> {
    let shipped: Vec<bool> = sources.iter().map(is_shipped).collect();
    let home = |policy: &&Policy| parsed.home.get::<str>(policy.id().as_ref()).and_then(|at| shipped.get(*at));
    let unknown = parsed.set.policies().filter(|policy| home(policy) != Some(&true));
    let results = validate_in_parts(schema, &unknown.collect::<Vec<_>>())?;
    let place = |id: &PolicyId, diagnostic: &dyn Diagnostic, message: String| {
        let source = parsed.home.get::<str>(id.as_ref()).and_then(|index| sources.get(*index));
        match source {
            Some(source) => {
                let whole = || parsed.set.policy(id).map_or(0, begin);
                source.finding(label(diagnostic).unwrap_or_else(whole), message)
            }
            None => Finding { file: id.to_string(), line: 1, column: 1, message },
        }
    };
    let misspelt = parsed.set.policies().flat_map(|policy| misspelt_paths(policy).map(move |path| (policy, path)));
    let misspelt = misspelt.map(|(policy, path)| {
        let id = policy.id();
        let source = parsed.home.get::<str>(id.as_ref()).and_then(|index| sources.get(*index));
        let message =
            format!("the path `{path}` can fit no file: paths are absolute, without `.`, `..` or a final slash");
        match source {
            Some(source) => {
                let start = begin(policy);
                let quoted = source.text.get(start..).and_then(|rest| rest.find(&format!("\"{path}\"")));
                source.finding(quoted.map_or(start, |at| start + at + 1), message)
            }
            None => Finding { file: id.to_string(), line: 1, column: 1, message },
        }
    });
    let errors = results.iter().flat_map(ValidationResult::validation_errors);
    let errors = errors.map(|error| place(error.policy_id(), error, told(error)));
    let warnings = results.iter().flat_map(ValidationResult::validation_warnings);
    let warnings = warnings.map(|warning| place(warning.policy_id(), warning, told(warning)));
    let findings: Vec<_> = errors.chain(warnings).chain(misspelt).collect();
    if findings.is_empty() { Ok(()) } else { Err(BundleError::Invalid(Findings(findings))) }
}

/// Each policy is valid or not by itself, so that a large set is validated on several threads.
fn validate_in_parts(schema: &Schema, policies: &[&Policy]) -> Result<Vec<ValidationResult>, BundleError> {
    let validator = Validator::new(schema.clone());
    let parts = std::thread::available_parallelism().map_or(1, usize::from);
    let failed = |why: &str| BundleError::Unvalidated(why.to_owned());
    let validate = |part: &[&Policy]| {
        let part =
            PolicySet::from_policies(part.iter().copied().cloned()).map_err(|error| failed(&error.to_string()))?;
        Ok(validator.validate_with_level(&part, ValidationMode::Strict, MAX_DEREFERENCE))
    };
    std::thread::scope(|scope| {
        let size = policies.len().div_ceil(parts).max(SMALLEST_PART);
        let mut parts = policies.chunks(size);
        let first = parts.next().unwrap_or_default();
        let start = |part| std::thread::Builder::new().stack_size(DEEP).spawn_scoped(scope, move || validate(part));
        let others: Vec<_> = parts.map(start).collect();
        let first = std::iter::once(validate(first));
        let others = others.into_iter().map(|thread| {
            let thread = thread.map_err(|error| failed(&error.to_string()))?;
            thread.join().unwrap_or_else(|_panic| Err(failed("the validator panicked")))
        });
        first.chain(others).collect()
    })
}

/// `Path` ids that no path in normal form equals: a forbid with one would never hold.
fn misspelt_paths(policy: &Policy) -> impl Iterator<Item = String> {
    let literals = policy.entity_literals().into_iter().filter(|uid| uid.type_name().to_string() == "Path");
    let ids = literals.map(|uid| uid.id().unescaped().to_owned());
    ids.filter(|id| AbsolutePath::new(id).is_none_or(|path| path.as_str() != id))
}

fn fingerprint<'s>(sources: impl Iterator<Item = &'s Source>) -> String {
    let schema = std::iter::once(("palisade.cedarschema", palisade_policies::SCHEMA));
    digest(schema.chain(sources.map(|source| (source.name.as_str(), source.text.as_str()))))
}

fn digest<'s>(parts: impl Iterator<Item = (&'s str, &'s str)>) -> String {
    let mut hash = Sha256::new();
    for (name, text) in parts {
        // Lengths first, so that no two lists of files run together to the same bytes.
        for part in [name, text] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
    }
    let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// What is wrong, what was expected there, and what Cedar offers instead.
fn told(diagnostic: &dyn Diagnostic) -> String {
    let label = diagnostic.labels().and_then(|mut labels| labels.next()?.label().map(str::to_owned));
    let help = diagnostic.help().map(|help| help.to_string());
    let more = label.into_iter().chain(help).filter(|text| !text.trim().is_empty());
    more.fold(diagnostic.to_string(), |told, text| format!("{told}; {text}"))
}

/// Where what is wrong begins, if that is known.
fn label(diagnostic: &dyn Diagnostic) -> Option<usize> {
    Some(diagnostic.labels()?.next()?.offset())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests {
    use super::*;
    use crate::depth::MAX_OPERATORS;

    fn load(text: &str) -> Result<Bundle, BundleError> {
        Bundle::load(vec![Source { name: "site.cedar".to_owned(), text: text.to_owned() }])
    }

    fn finding(text: &str) -> Finding {
        match load(text) {
            Err(BundleError::Invalid(findings)) => findings.0.into_iter().next().unwrap(),
            other => panic!("expected findings, got {other:?}"),
        }
    }

    /// They are not validated again when a program starts.
    #[test]
    fn every_shipped_profile_validates_without_a_warning() {
        for (name, _) in palisade_policies::PROFILES {
            let bundle = Bundle::profile(name).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(bundle.note("guard-opaque").place.starts_with("guards/guards.cedar:"));
            assert!(bundle.sources().iter().all(is_shipped), "{name}");
            let policies: Vec<&Policy> = bundle.index.policies().iter().map(Indexed::policy).collect();
            assert!(policies.len() > 20, "{name}");
            for result in validate_in_parts(&bundle.schema, &policies).unwrap() {
                assert!(result.validation_passed_without_warnings(), "{name}: {result}");
            }
        }
    }

    /// Only the very text that is shipped counts as validated, whatever a file is called.
    #[test]
    fn what_is_called_like_a_shipped_file_is_validated() {
        let (name, text) = palisade_policies::BASE.first().unwrap();
        let wrong = format!("{text}\n@id(\"w\") permit(principal, action == Action::\"exek\", resource);");
        let source = Source { name: (*name).to_owned(), text: wrong };
        assert!(matches!(Bundle::load(vec![source]), Err(BundleError::Invalid(_))));
    }

    #[test]
    fn an_unknown_profile_names_the_known_ones() {
        let error = Bundle::profile("devloper").unwrap_err();
        assert_eq!(error.to_string(), "no profile is called `devloper`");
        assert!(error.help().unwrap().to_string().contains("`developer`"));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (text, line, column, message) in [
            ("@id(\"a\")\npermit(principal, action, resource", 2, 35, "unexpected end of input"),
            ("\npermit(principal, action, resource);", 2, 1, "this policy has no `@id(\"…\")`"),
            (
                "@id(\"a\") permit(principal, action, resource);\n@id(\"a\") forbid(principal, action, resource);",
                2,
                1,
                "the id `a` is already taken at site.cedar:1",
            ),
            (
                "@id(\"guard-opaque\") permit(principal, action, resource);",
                1,
                1,
                "already taken at guards/guards.cedar:",
            ),
            (
                "@id(\"a\")\npermit(principal, action == Action::\"exec\", resource)\nwhen { resource.nope };",
                3,
                8,
                "attribute `nope` on entity type `Command` not found",
            ),
            (
                "@id(\"a\") permit(principal, action == Action::\"exek\", resource);",
                1,
                1,
                "unrecognized action `Action::\"exek\"`",
            ),
            (
                "@id(\"b\") permit(principal, action, resource);\n@id(\"a\") permit(principal == ?principal, action, resource);",
                2,
                1,
                "`a` is a template",
            ),
            (
                "@id(\"a\")\npermit (\n  principal,\n  action,\n  resource\n);\n\npermit (\n  principal,\n  action,\n  resource\n);",
                8,
                1,
                "this policy has no `@id(\"…\")`",
            ),
            (
                "// Two.\n\n@id( \"a\" )\n@quorum(\"two\")\npermit (principal, action, resource);",
                3,
                1,
                "`@quorum` of `a` is `two`",
            ),
            (
                "@id(\"a\")\nforbid(principal, action == Action::\"read\", resource in Path::\"/srv/app/\");",
                2,
                1,
                "the path `/srv/app/` can fit no file",
            ),
            (
                "@id(\"a\")\nforbid(principal, action == Action::\"read\", resource in Path::\"/srv/../etc\");",
                2,
                1,
                "the path `/srv/../etc` can fit no file",
            ),
        ] {
            let found = finding(text);
            assert!(found.message.contains(message), "{text}\n{found:?}");
            assert_eq!((found.file.as_str(), found.line), ("site.cedar", line), "{text}\n{found:?}");
            assert!(column == 1 || found.column == column, "{text}\n{found:?}");
        }
    }

    #[test]
    fn a_warning_refuses_the_set() {
        // A Cyrillic letter in an id: valid Cedar, and never what it looks like.
        let found =
            finding("@id(\"a\") forbid(principal, action == Action::\"exec\", resource in Program::\"r\u{43c}\");");
        assert!(found.message.contains("mixed scripts"), "{found:?}");
    }

    #[test]
    fn deep_nesting_is_refused_before_it_reaches_the_parser() {
        for nested in [
            format!("{}true{}", "(".repeat(700), ")".repeat(700)),
            format!("{}true", "!".repeat(5000)),
            format!("1 == {}1", "- ".repeat(5000)),
            format!("\"http://\" == \"\" && {}true", "!".repeat(5000)),
            format!("{}true", "if true then true else ".repeat(5000)),
        ] {
            let found = finding(&format!("@id(\"a\") permit(principal, action, resource) when {{ {nested} }};"));
            assert!(found.message.contains("nest more than 100"), "{found:?}");
        }
        // A comment ends where Cedar ends it.
        let hidden = format!("true // \r && {}true{}", "(".repeat(3000), ")".repeat(3000));
        let found = finding(&format!("@id(\"a\") permit(principal, action, resource) when {{ {hidden} }};"));
        assert!(found.message.contains("nest more than 100"), "{found:?}");
        // Brackets in strings and comments do not count.
        let harmless = format!(
            "// {}\n@id(\"a\") permit(principal == Agent::\"{}\", action, resource);",
            "(".repeat(500),
            "(".repeat(500)
        );
        assert!(load(&harmless).is_ok(), "{:?}", load(&harmless));
    }

    /// What is long without brackets is as deep in memory: refused while the stack of a test's thread still holds it.
    #[test]
    fn long_chains_are_refused_before_they_reach_the_parser() {
        let policy = |condition: String| {
            format!("@id(\"a\") permit(principal, action == Action::\"exec\", resource) {condition};")
        };
        let chains = |length: usize| {
            [
                format!("when {{ {} }}", vec!["resource.dynamic"; length].join(" && ")),
                format!("when {{ {} }}", vec!["resource.dynamic"; length].join(" || ")),
                format!("when {{ 1 == {} }}", vec!["1"; length].join(" + ")),
                format!("when {{ 1 == {}1 }}", "1 * ".repeat(length)),
                format!("when {{ resource{} }}", ".a".repeat(length)),
                format!("when {{ resource{} }}", "[\"a\"]".repeat(length)),
                format!("when {{ resource.flags{} }}", ".contains(1)".repeat(length)),
                format!("when {{ principal in A{}::\"x\" }}", "::A".repeat(length)),
                "when { resource.dynamic } ".repeat(length),
                "unless { resource.dynamic } ".repeat(length),
            ]
        };
        for chain in chains(MAX_OPERATORS + 1) {
            assert!(finding(&policy(chain)).message.contains("characters of operators"));
        }
        // The longest that get past: whatever is thought of them, it is thought without a crash.
        for chain in chains(MAX_OPERATORS / 4) {
            let said = load(&policy(chain)).err().map(|error| error.to_string());
            assert!(said.is_none_or(|said| !said.contains("characters of operators")));
        }
    }

    /// The names of attributes, in every spelling that Cedar has for them.
    #[test]
    fn what_policies_look_at_is_found() {
        let reads = |condition: &str| {
            let policy = "@id(\"a\") permit (principal, action == Action::\"exec\", resource) when";
            load(&format!("{policy} {{ {condition} }};")).unwrap().reads
        };
        let nothing = Reads::default();
        for condition in ["context.session.sandboxed", "resource.text == \"a clock\"", "context.script.parsed // age\n"]
        {
            assert_eq!(reads(condition), nothing, "{condition}");
        }
        for condition in [
            "context.clock.timeOfDay < duration(\"1h\")",
            "context[\"clock\"][\"timeOfDay\"] < duration(\"1h\")",
            "context[\"cl\\u{6f}ck\"].timeOfDay < duration(\"1h\")",
            "context . // clock\n clock.weekday == Weekday::\"Mon\"",
            "resource.dynamic && (if resource.background then context else context).clock.weekday == Weekday::\"Mon\"",
        ] {
            assert_eq!(reads(condition), Reads { clock: true, ..nothing }, "{condition}");
        }
        for condition in ["context.session.commands > 3", "{a: context.session}.a[\"a\\x67e\"] > duration(\"1h\")"] {
            assert_eq!(reads(condition), Reads { session: true, ..nothing }, "{condition}");
        }
    }

    #[test]
    fn the_fingerprint_tells_sources_apart() {
        let one = load("@id(\"a\") permit(principal, action, resource);").unwrap();
        let same = load("@id(\"a\") permit(principal, action, resource);").unwrap();
        let other = load("@id(\"b\") permit(principal, action, resource);").unwrap();
        assert_eq!(one.fingerprint(), same.fingerprint());
        assert_ne!(one.fingerprint(), other.fingerprint());
        assert!(one.fingerprint().starts_with("sha256:") && one.fingerprint().len() == 71);
    }
}
