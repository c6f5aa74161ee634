//! The no-gain principle: a question whose answer gives the agent nothing is not asked.
//!
//! *Own code* is a program of the workspace that the agent has just written. Where policy lets it run, and the kernel and the exec
//! guard hold every rule against it, a question about inline code, a loader variable or a computed path protects nothing: own code
//! can do the same without being asked. `context.noGain` tells policies so, and a policy that names it gives way.
//!
//! A program is *privileged* if some answer about files, peers or processes can depend on its name: then a variable or an option that
//! makes it load other code gives that code a right which own code lacks. For such a program `noGain` is false.
//!
//! Where it is open whether an invocation connects (an option or a subcommand that no table knows), the guard may let the program run
//! without its right to connect. Then the program has no more than own code, and its variables and options are free.
//!
//! Decided here: which programs are privileged, and when `noGain` is true. Not decided here: what follows from it, which the policies say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use cedar_policy::{Effect, EntityUid, Policy};
use palisade_grammar::OpaqueReason;
use serde_json::Value;

use crate::acts::Receiver;
use crate::cedar_values::uid;
use crate::facts::{Facts, Origin};
use crate::policy_json::Indexed;
use crate::replay_input::Exec;
use crate::slice::Index;
use crate::stack::DEEP;

/// Actions whose context names the program that acts.
const BY_PROGRAM: [&str; 5] = ["connect", "read", "write", "delete", "execute"];

/// Those of them that are about files.
const FILES: [&str; 4] = ["read", "write", "delete", "execute"];

/// Attributes of a command that name the programs around it. A permit that reads them gives those programs a right of their own.
const AROUND: [&str; 2] = ["startedBy", "wrappers"];

/// Command groups of invocations that may connect to a peer or run what the workspace says.
const MAY_CONNECT: [&str; 5] = ["network", "package-install", "deploy", "interpreter", "privilege"];

/// Reasons for opacity that are gone when the program is executed: its words are known then, and decided again.
const KNOWN_AT_EXECVE: [OpaqueReason; 2] = [OpaqueReason::DynamicProgram, OpaqueReason::DynamicOption];

/// Whether a command is opaque for a reason that is gone when it is executed.
fn is_known_at_execve(reason: &str) -> bool {
    KNOWN_AT_EXECVE.iter().any(|known| known.as_str() == reason)
}

/// Whether a reason for opacity leaves open which options a command has, and so whether it connects. Code that it is given does not:
/// what that code starts is decided by itself.
#[must_use]
pub fn hides_options(reason: OpaqueReason) -> bool {
    match reason {
        OpaqueReason::DynamicProgram
        | OpaqueReason::DynamicOption
        | OpaqueReason::UnknownOption
        | OpaqueReason::IndirectName
        | OpaqueReason::UnknownSyntax => true,
        OpaqueReason::InlineCode
        | OpaqueReason::StdinCode
        | OpaqueReason::ScriptFile
        | OpaqueReason::Arithmetic
        | OpaqueReason::ReservedVariable
        | OpaqueReason::WrittenThenRun
        | OpaqueReason::ProjectCode
        | OpaqueReason::NotReviewed => false,
    }
}

/// Whether this variable is for a shell that talks to a person alone (`PS1`, which activated environments export).
#[must_use]
pub fn is_of_prompts(name: &str) -> bool {
    OF_PROMPTS.contains(&name)
}

/// Variables that a shell reads which talks to a person, and nothing else: no program that another one starts is that.
const OF_PROMPTS: [&str; 10] =
    ["PS0", "PS1", "PS2", "PROMPT_COMMAND", "FCEDIT", "MAILCHECK", "MAILPATH", "histchars", "HISTFILE", "auto_resume"];

/// Variables that decide how the session's shell reads the bytes of a later script.
fn changes_how_scripts_are_read(name: &str) -> bool {
    name == "LANG" || name.starts_with("LC_")
}

/// The programs that have a right which own code lacks, each with the policies that give it.
#[derive(Debug, Default)]
pub(crate) struct Privileged {
    /// By what they may connect to.
    peers: BTreeMap<String, BTreeSet<String>>,
    /// By anything else.
    rights: BTreeMap<String, BTreeSet<String>>,
    /// Policies that read the acting program without naming one: each program is privileged.
    any: BTreeSet<String>,
    /// The programs of which some policy says what they may set for others; none where a policy says it of programs without a name.
    setters: Option<BTreeSet<String>>,
}

impl Privileged {
    /// The privileged programs of a policy set.
    pub(crate) fn of(index: &Index) -> Self {
        let mut found = Self { setters: Some(BTreeSet::new()), ..Self::default() };
        for policy in about(index, "setEnv").filter(|policy| policy.may_name(&["program"])) {
            if policy.json().is_some_and(|json| !reads(json, &["program"])) {
                continue;
            }
            let named = programs(policy.entity_literals());
            found.setters = found.setters.filter(|_| !named.is_empty()).map(|setters| &setters | &named);
        }
        for action in BY_PROGRAM {
            for policy in about(index, action).filter(|policy| policy.may_name(&["program"])) {
                let json = policy.json();
                if json.is_none_or(|json| reads(json, &["program"])) {
                    if json.is_some_and(|json| only_takes_away(policy, json)) {
                        continue;
                    }
                    let programs = programs(policy.entity_literals());
                    if programs.is_empty() {
                        found.any.insert(policy.id().to_string());
                    }
                    let list = if action == "connect" { &mut found.peers } else { &mut found.rights };
                    note(list, programs, policy);
                }
            }
        }
        // A forbid that reads what stands around a command takes away; only a permit gives.
        let permits = about(index, "exec").filter(|policy| policy.effect() == Effect::Permit);
        for policy in permits.filter(|policy| policy.may_name(&AROUND)) {
            let Some(json) = policy.json() else {
                // A policy that cannot be read may speak of any program.
                found.any.insert(policy.id().to_string());
                continue;
            };
            let conditions = json.get("conditions").unwrap_or(&Value::Null);
            if reads(conditions, &AROUND) {
                let mut named = BTreeSet::new();
                literals(conditions, &mut named);
                note(&mut found.rights, named, policy);
            }
        }
        found
    }

    /// Whether an invocation of a trusted program has a right that own code lacks. `words`: the program and its subcommand,
    /// widest first; `hidden`: it is open which options it has; `counts_open`: it has its right to connect also where it is open
    /// whether it connects.
    pub(crate) fn holds(&self, words: &[String], groups: &[String], hidden: bool, counts_open: bool) -> bool {
        // `git-remote-https` is a part of git.
        let is_part =
            |word: &str, whole: &String| word.strip_prefix(whole.as_str()).is_some_and(|rest| rest.starts_with('-'));
        let named = |list: &BTreeMap<String, BTreeSet<String>>| {
            words.iter().any(|word| list.contains_key(word) || list.keys().any(|whole| is_part(word, whole)))
        };
        let connects = || if counts_open { may_connect(words, groups, hidden) } else { says_it_connects(groups) };
        !self.any.is_empty() || named(&self.rights) || (named(&self.peers) && connects())
    }

    /// Whether some policy speaks of the variables that this program sets for others.
    pub(crate) fn may_set(&self, program: &str) -> bool {
        self.setters.as_ref().is_none_or(|setters| setters.contains(program))
    }

    /// Each privileged program with the policies that make it so; `*` stands for every program.
    pub(crate) fn programs(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut all = self.rights.clone();
        for (program, policies) in &self.peers {
            all.entry(program.clone()).or_default().extend(policies.iter().cloned());
        }
        if !self.any.is_empty() {
            all.entry("*".to_owned()).or_default().extend(self.any.iter().cloned());
        }
        all
    }
}

/// Whether this invocation of a program may use a right to connect that a policy gives the program. A subcommand that its table
/// knows as local (`git commit`, `cargo build`) never does: it starts another program for that, which is decided at its own `execve`, or
/// it is bound to a lock file. `hidden`: it is open which options it has, or they bind it ([`hides_options`], [`is_lock_bound`]).
#[must_use]
pub fn may_connect(words: &[String], groups: &[String], hidden: bool) -> bool {
    words.len() <= 1 || hidden || groups.is_empty() || says_it_connects(groups)
}

/// Whether the table of a program says that this invocation may connect. If it does not say so, the guard may start the program without
/// its right to connect.
#[must_use]
pub fn says_it_connects(groups: &[String]) -> bool {
    groups.iter().any(|group| MAY_CONNECT.contains(&group.as_str()) || group.starts_with("install-"))
}

/// Whether a program counts as having its right to connect if nothing says that it connects. In a text it does not count for a variable,
/// nor for words that no table knows: the guard takes the right away from such a program when it is executed.
fn counts_open(facts: &Facts, in_text: bool) -> bool {
    facts.at_execve.as_ref().map_or(in_text, |at| !at.unconnected)
}

/// Takes the policies apart that [`Privileged::of`] and [`asks_about_trees`] look into, on two threads: Cedar needs as long for that as
/// for reading them.
pub(crate) fn take_apart(index: &Index) {
    let naming = |action, names: &'static [&'static str]| about(index, action).filter(|policy| policy.may_name(names));
    let by_program = BY_PROGRAM.into_iter().chain(["setEnv"]).flat_map(|action| naming(action, &["program"]));
    let trees = FILES.into_iter().flat_map(|action| naming(action, &["contains"]));
    let around = naming("exec", &AROUND).filter(|policy| policy.effect() == Effect::Permit);
    let mut policies: Vec<&Indexed> = by_program.chain(trees).chain(around).collect();
    policies.sort_unstable_by_key(|policy| std::ptr::from_ref(*policy));
    policies.dedup_by_key(|policy| std::ptr::from_ref(*policy));
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(policy) = policies.get(next.fetch_add(1, Ordering::Relaxed)) {
            policy.json();
        }
    };
    std::thread::scope(|scope| {
        // Where no thread is to be had, this one does it all.
        let _other = std::thread::Builder::new().stack_size(DEEP).spawn_scoped(scope, work);
        work();
    });
}

/// Whether some policy about files looks at what lies below a directory without giving way where the kernel holds the paths.
pub(crate) fn asks_about_trees(index: &Index) -> bool {
    let policies = FILES.into_iter().flat_map(|action| about(index, action));
    policies.filter(|policy| policy.may_name(&["contains"])).any(|policy| {
        policy.json().is_none_or(|json| reads(json, &["contains"]) && !reads(json, &["noGain", "pathsHeld"]))
    })
}

/// Whether the circumstances let the principle hold at all: what the session says of itself. Whether policy permits own code comes on
/// top.
pub(crate) fn may_hold(facts: &Facts) -> bool {
    facts.session.sandboxed && facts.session.guarded && facts.session.paths_held
}

/// A made-up program of the workspace that the agent has just written.
pub(crate) fn own_program(facts: &Facts) -> Exec<String> {
    let path = facts.workspace.child("own-program").map(|path| path.as_str().to_owned());
    Exec {
        words: vec!["own-program".to_owned()],
        path,
        origin: Origin::Workspace,
        text: Some("./own-program".to_owned()),
        ..Exec::of_nothing()
    }
}

/// Whether running this command raises no question that own code could not do without, where the principle holds.
pub(crate) fn exec(privileged: &Privileged, exec: &Exec<String>, facts: &Facts) -> bool {
    let counts_open = counts_open(facts, !is_opaque(exec));
    let hidden = is_opaque(exec) || is_lock_bound(&exec.flags);
    let has_rights = exec.origin.is_trusted() && privileged.holds(&exec.words, &exec.groups, hidden, counts_open);
    if facts.at_execve.is_some() {
        return exec.origin != Origin::Unknown && !has_rights;
    }
    // The guard refuses a file of unknown origin at its `execve` as well.
    if exec.origin == Origin::Unknown && exec.path.is_some() {
        return false;
    }
    // Computed words are known, and decided, when the program is executed.
    let known_later = || exec.opaque.iter().all(|reason| is_known_at_execve(reason));
    !has_rights || (exec.origin != Origin::Builtin && !exec.opaque.is_empty() && known_later())
}

/// Whether it is open which options a command has. A reason that is not known here leaves everything open.
fn is_opaque(exec: &Exec<String>) -> bool {
    exec.opaque.iter().any(|reason| OpaqueReason::from_id(reason).is_none_or(hides_options))
}

/// Whether options of a command bind it to a lock file: then it may fetch what that names (`cargo build --locked`).
pub fn is_lock_bound<'f>(flags: impl IntoIterator<Item = &'f String>) -> bool {
    const LOCKS: [&str; 4] = ["--locked", "--frozen", "--frozen-lockfile", "--immutable"];
    flags.into_iter().any(|flag| LOCKS.contains(&flag.as_str()))
}

/// Whether setting a variable raises no question that own code could not do without, where the principle holds.
pub(crate) fn variable(privileged: &Privileged, name: &str, receiver: &Receiver<String>, facts: &Facts) -> bool {
    match receiver {
        Receiver::Unknown => false,
        Receiver::Shell | Receiver::ShellAlone => !changes_how_scripts_are_read(name),
        Receiver::Program { .. } => is_of_prompts(name) || !receiver.is_privileged(privileged, facts),
    }
}

impl Receiver<String> {
    /// Whether it is a program with a right that own code lacks; one that is not told may be.
    pub(crate) fn is_privileged(&self, privileged: &Privileged, facts: &Facts) -> bool {
        match self {
            Self::Unknown => true,
            Self::Shell | Self::ShellAlone => false,
            Self::Program { words, groups, hidden } => {
                privileged.holds(words, groups, *hidden, counts_open(facts, false))
            }
        }
    }
}

pub(crate) fn about<'i>(index: &'i Index, action: &str) -> impl Iterator<Item = &'i Indexed> {
    // An id that cannot be made is in no policy's scope.
    let action: Option<EntityUid> = uid("Action", action).ok();
    action.into_iter().flat_map(|action| index.about(&action).collect::<Vec<_>>())
}

fn note(list: &mut BTreeMap<String, BTreeSet<String>>, programs: BTreeSet<String>, policy: &Policy) {
    for program in programs {
        list.entry(program).or_default().insert(policy.id().to_string());
    }
}

fn programs(literals: impl IntoIterator<Item = EntityUid>) -> BTreeSet<String> {
    let programs = literals.into_iter().filter(|uid| uid.type_name().to_string() == "Program");
    // `Program::""` stands for no trusted program.
    programs.map(|uid| uid.id().unescaped().to_owned()).filter(|id| !id.is_empty()).collect()
}

/// Whether an expression reads one of these attributes of anything.
pub(crate) fn reads(value: &Value, names: &[&str]) -> bool {
    match value {
        Value::Array(values) => values.iter().any(|value| reads(value, names)),
        Value::Object(fields) => fields.iter().any(|(key, value)| {
            let is_attribute = key == "attr" && value.as_str().is_some_and(|name| names.contains(&name));
            is_attribute || reads(value, names)
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Whether a policy is a forbid that holds for the programs that it names, and so gives none of them a right: no exception, and nothing
/// negated.
fn only_takes_away(policy: &Policy, json: &Value) -> bool {
    const TURNS: [&str; 4] = ["!", "!=", "if-then-else", "unless"];
    fn turns(value: &Value) -> bool {
        match value {
            Value::Array(values) => values.iter().any(turns),
            Value::Object(fields) => fields.iter().any(|(key, value)| TURNS.contains(&key.as_str()) || turns(value)),
            Value::String(text) => text == "unless",
            Value::Null => true,
            Value::Bool(_) | Value::Number(_) => false,
        }
    }
    policy.effect() == Effect::Forbid && json.get("conditions").is_some_and(|conditions| !turns(conditions))
}

/// The programs that an expression names.
fn literals(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| literals(value, found)),
        Value::Object(fields) => {
            let text = |name: &str| fields.get(name).and_then(Value::as_str);
            if let (Some("Program"), Some(id)) = (text("type"), text("id"))
                && !id.is_empty()
            {
                found.insert(id.to_owned());
            }
            fields.values().for_each(|value| literals(value, found));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::{Privileged, may_connect};
    use crate::request::tests::engine;

    fn privileged(policies: &str) -> Vec<String> {
        Privileged::of(&engine(policies).bundle.index).programs().into_keys().collect()
    }

    #[test]
    fn programs_with_a_right_of_their_own_are_privileged() {
        let permit = |action: &str, condition: &str| {
            format!("@id(\"p\") permit (principal, action == Action::\"{action}\", resource) when {{ {condition} }};")
        };
        let forbid = |action: &str, condition: &str| {
            format!("@id(\"f\") forbid (principal, action == Action::\"{action}\", resource) unless {{ {condition} }};")
        };
        let git = "context.program == Program::\"git\"";
        for (policies, expected) in [
            (permit("connect", git), vec!["git"]),
            (permit("connect", "context.port == 443"), vec![]),
            (permit("read", "[Program::\"a\", Program::\"b\"].contains(context.program)"), vec!["a", "b"]),
            (permit("write", "context.program in Program::\"git\""), vec!["git"]),
            (permit("connect", "context.program != Program::\"\""), vec!["*"]),
            (forbid("connect", git), vec!["git"]),
            (forbid("connect", git).replace("unless", "when"), vec![]),
            (forbid("connect", "context.program != Program::\"git\"").replace("unless", "when"), vec!["git"]),
            (forbid("read", "resource.unknown"), vec![]),
            (permit("exec", "resource.startedBy.contains(Program::\"make\")"), vec!["make"]),
            (permit("exec", "resource.wrappers.contains(Program::\"env\")"), vec!["env"]),
            (permit("exec", "resource.upstream.contains(Program::\"curl\")"), vec![]),
            (forbid("exec", "resource.startedBy.contains(Program::\"make\")"), vec![]),
            // Who sets a variable has no right by that.
            (permit("setEnv", git), vec![]),
            (permit("exec", "resource in Program::\"git\""), vec![]),
            // A name may be spelt in any way that Cedar reads.
            (permit("connect", "context[\"program\"] == Program::\"git\""), vec!["git"]),
            (permit("connect", "context[\"pro\\u{67}ram\"] == Program::\"git\""), vec!["git"]),
        ] {
            assert_eq!(privileged(&policies), expected, "{policies}");
        }
    }

    #[test]
    fn only_what_says_that_it_connects_has_a_right_that_cannot_be_taken_away() {
        let git = "@id(\"p\") permit (principal, action == Action::\"connect\", resource) when { context.program == Program::\"git\" };";
        let git = Privileged::of(&engine(git).bundle.index);
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        for (program, groups, hidden, [counted, taken]) in [
            (vec!["git", "git fetch"], vec!["network"], false, [true, true]),
            (vec!["git"], vec!["read-only"], true, [true, false]),
            (vec!["git", "git log"], vec!["read-only"], true, [true, false]),
            (vec!["git", "git log"], vec!["read-only"], false, [false, false]),
            (vec!["git"], vec![], false, [true, false]),
            (vec!["git", "git x"], vec![], false, [true, false]),
            (vec!["git-x"], vec!["toolchain"], false, [true, false]),
            (vec!["make"], vec![], true, [false, false]),
        ] {
            let held = [true, false].map(|open| git.holds(&words(&program), &words(&groups), hidden, open));
            assert_eq!(held, [counted, taken], "{program:?}");
        }
    }

    #[test]
    fn who_may_set_variables_for_others_is_named_by_a_policy() {
        let permit = |condition: &str| {
            format!("@id(\"p\") permit (principal, action == Action::\"setEnv\", resource) when {{ {condition} }};")
        };
        // The guards name some.
        for (condition, named, other) in [
            ("context.program == Program::\"tool\"", true, false),
            ("context.value == \"1\"", false, false),
            ("context.program != Program::\"\"", true, true),
        ] {
            let privileged = Privileged::of(&engine(&permit(condition)).bundle.index);
            assert_eq!((privileged.may_set("tool"), privileged.may_set("other")), (named, other), "{condition}");
            assert!(privileged.may_set("git"), "{condition}");
        }
    }

    #[test]
    fn a_local_subcommand_has_no_use_for_a_peer() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        for (program, groups, opaque, expected) in [
            (vec!["git", "git commit"], vec!["toolchain"], false, false),
            (vec!["git", "git log"], vec!["read-only"], false, false),
            (vec!["git", "git commit"], vec!["toolchain"], true, true),
            (vec!["git", "git fetch"], vec!["network"], false, true),
            (vec!["git", "git x"], vec![], false, true),
            (vec!["git"], vec!["read-only"], false, true),
            (vec!["curl"], vec!["network"], false, true),
            (vec!["npm", "npm ci"], vec!["install-node"], false, true),
        ] {
            assert_eq!(may_connect(&words(&program), &words(&groups), opaque), expected, "{program:?}");
        }
    }
}
