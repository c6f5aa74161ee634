//! What an allow demands: a checkpoint before the script runs, where a permit that it rests on has `@checkpoint("before")`.
//!
//! Decided here: what a script may change, as far as its text tells, and which policies demand a checkpoint before it. Not decided
//! here: how one is taken.

use std::collections::BTreeSet;

use palisade_grammar::{Command, EffectKind, Inventory, Resolved};

use crate::bundle::Bundle;
use crate::facts::{Facts, Transport};
use crate::path::AbsolutePath;
use crate::report::{Decision, Judged};

/// The policies that permit these requests only behind a checkpoint, sorted. Where files may be changed that the text does not name, those
/// that permit any change only so are among them: the kernel lets a session do what they permit.
pub(crate) fn checkpoint(bundle: &Bundle, inventory: &Inventory, facts: &Facts, requests: &[Judged]) -> Vec<String> {
    let mut policies: BTreeSet<String> = demanding(bundle, requests).map(|(_, id)| id.clone()).collect();
    let changes = || bundle.changes_behind_checkpoint();
    // At a target no kernel rule comes from a policy.
    let held = facts.transport == Transport::Local && changes().next().is_some();
    if held && may_change_workspace(inventory, facts) {
        policies.extend(changes().map(str::to_owned));
    }
    policies.into_iter().collect()
}

fn demanding<'r>(bundle: &'r Bundle, requests: &'r [Judged]) -> impl Iterator<Item = (&'r Judged, &'r String)> {
    let allowed = requests.iter().filter(|request| request.decision == Decision::Allow);
    let permits = allowed.flat_map(|request| request.determining.iter().map(move |id| (request, id)));
    permits.filter(|(_, id)| bundle.takes_checkpoint(id))
}

/// Whether a script may change something in the workspace. What is not known to leave it alone may.
pub(crate) fn may_change_workspace(inventory: &Inventory, facts: &Facts) -> bool {
    let unread = !inventory.parsed() || !inventory.opaque().is_empty();
    unread || inventory.commands().iter().any(|command| may_change(command, facts))
}

fn may_change(command: &Command, facts: &Facts) -> bool {
    let is_trusted = || facts.programs.get(&command.id).is_some_and(|program| program.origin.is_trusted());
    let is_harmless = match command.resolved {
        // What a function runs is listed by itself.
        Resolved::Builtin | Resolved::Function | Resolved::None => true,
        Resolved::Path | Resolved::Name => command.invocation.groups.contains("read-only") && is_trusted(),
        Resolved::Unknown => false,
    };
    !is_harmless
        || command.effects.iter().enumerate().any(|(index, effect)| match effect.kind {
            EffectKind::Read | EffectKind::Import | EffectKind::Connect => false,
            EffectKind::Execute => true,
            EffectKind::Write | EffectKind::Delete => {
                let at = (command.id, index);
                let within = |path: &AbsolutePath| {
                    path.is_within(&facts.workspace) || (effect.tree && facts.workspace.is_within(path))
                };
                let known = facts.paths.get(&at).into_iter().chain(facts.matches.get(&at).into_iter().flatten());
                let mut known = known.peekable();
                known.peek().is_none() || known.any(within)
            }
        })
}
