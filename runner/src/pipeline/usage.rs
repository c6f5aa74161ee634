//! What the agent has done so far: what policies look at that count commands, limit the time or keep labels.
//!
//! It belongs to the principal and the workspace, of which a server has one each, and outlives sessions: else whoever opens another
//! one, or runs without one, begins anew. Decided here: what counts, and which scripts set a label.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use palisade_engine::{AbsolutePath, Engine, Facts, Grant, Session, Verdict, Vocabulary};
use palisade_grammar::{Command, EffectKind};

/// The label of a principal that has read what is in the path group [`SECRETS`].
const READ_SECRETS: &str = "read-secrets";

/// The path group of what nobody else may know.
const SECRETS: &str = "secrets";

/// What the principal has done since the server started.
#[derive(Debug, Default)]
pub(super) struct Usage(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// When it opened its first session or was first let run something.
    since: Option<Instant>,
    commands: u64,
    labels: BTreeSet<String>,
}

impl Usage {
    /// Tells the facts of a session.
    pub(super) fn tell(&self, session: &mut Session) {
        let state = self.state();
        let age = state.since.map(|since| since.elapsed().as_millis()).unwrap_or_default();
        session.age_ms = u64::try_from(age).unwrap_or(u64::MAX);
        session.commands = state.commands;
        session.labels.clone_from(&state.labels);
    }

    /// The time runs from here, unless it does already.
    pub(super) fn begin(&self) {
        self.state().since.get_or_insert_with(Instant::now);
    }

    /// Counts a script that may run.
    pub(super) fn count(&self, verdict: &Verdict, engine: &Engine) {
        let Verdict::Allow(grant) = verdict else { return };
        let reads_secrets = reads_secrets(grant, engine);
        let mut state = self.state();
        state.since.get_or_insert_with(Instant::now);
        state.commands = state.commands.saturating_add(1);
        if reads_secrets {
            state.labels.insert(READ_SECRETS.to_owned());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that holds the lock can fail half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the text names something to read that is a secret, or may be one.
fn reads_secrets(grant: &Grant, engine: &Engine) -> bool {
    let facts = grant.facts();
    let reads = grant.commands().iter().flat_map(|command| {
        let indexes = (0..command.effects.len()).filter(|index| is_read(command, *index, facts));
        indexes.map(move |index| reach(command, index, facts, engine.vocabulary()))
    });
    // Where the kernel holds each path and policy lets no secret be read, what is found by chance is none.
    let held = || facts.session.sandboxed && facts.session.paths_held && engine.keeps_closed(facts, SECRETS);
    let worst = reads.max().unwrap_or(Reach::Other);
    worst == Reach::Secret || worst == Reach::MayBeSecret && !held()
}

/// What a read reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    Other,
    /// What is not known before, or a tree that holds a secret among others.
    MayBeSecret,
    Secret,
}

fn is_read(command: &Command, index: usize, facts: &Facts) -> bool {
    let kind = command.effects.get(index).map(|effect| effect.kind);
    matches!(kind, Some(EffectKind::Read | EffectKind::Execute)) && !facts.inert.contains(&(command.id, index))
}

fn reach(command: &Command, index: usize, facts: &Facts, vocabulary: &Vocabulary) -> Reach {
    let key = (command.id, index);
    let paths = match (facts.matches.get(&key), facts.paths.get(&key)) {
        (Some(paths), _) => paths.as_slice(),
        (None, Some(path)) => std::slice::from_ref(path),
        (None, None) => return Reach::MayBeSecret,
    };
    let is_tree = command.effects.get(index).is_some_and(|effect| effect.tree);
    let below = |path: &AbsolutePath| match facts.below.get(&key) {
        Some(groups) => groups.contains(SECRETS),
        None => vocabulary.groups_below(path).contains(SECRETS),
    };
    let is_secret = |path: &AbsolutePath| vocabulary.groups_of(path).any(|group| group == SECRETS);
    if paths.iter().any(|path| is_secret(path) && !facts.public.contains(path)) {
        Reach::Secret
    } else if is_tree && paths.iter().any(below) {
        Reach::MayBeSecret
    } else {
        Reach::Other
    }
}
