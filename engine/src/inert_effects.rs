//! Effects of commands that come to nothing where the kernel holds paths and the settings of repositories: the command says the name of
//! something, and touches it only by a later command, which is judged by itself.

use palisade_grammar::{Command, EffectKind};

/// Whether an effect is a write to what a symbolic link is to lead to. Where the kernel holds paths, nothing is written by making one, and
/// own code may make the same link. What it leads to still has to be readable.
#[must_use]
pub fn links_to(command: &Command, effect: usize) -> bool {
    let invocation = &command.invocation;
    let is_symbolic =
        invocation.words.first().is_some_and(|name| name == "ln") && invocation.flags.contains("--symbolic");
    let targets = match invocation.operands.as_slice() {
        [target] => std::slice::from_ref(target),
        [targets @ .., _] if !invocation.flags.contains("--target-directory") => targets,
        targets => targets,
    };
    is_symbolic
        // A word that is not known may be an option.
        && invocation.operands.iter().all(|operand| operand.value.literal().is_some())
        && command.effects.get(effect).is_some_and(|effect| {
            effect.kind == EffectKind::Write && effect.tree && targets.iter().any(|target| target.span == effect.target.span)
        })
}

/// Whether an effect is on the peer or the directory that `git remote add` or `git remote set-url` gives a name. git goes there by a later
/// command, which is judged by itself, and where the kernel keeps the settings of repositories nothing of a person's leads there.
#[must_use]
pub fn names_remote(command: &Command, effect: usize) -> bool {
    let invocation = &command.invocation;
    let names = |words: &String| matches!(words.as_str(), "git remote add" | "git remote set-url");
    invocation.words.last().is_some_and(names)
        && !invocation.flags.contains("--fetch")
        && command.effects.get(effect).is_some_and(|effect| !effect.weighed)
}

/// Whether an effect is a change of a repository's settings that is not judged by the text: where the kernel keeps settings, the guard looks
/// at what is written, and elsewhere a remote is judged by its peer.
#[must_use]
pub fn may_change_settings(command: &Command, effect: usize, held: bool) -> bool {
    command.effects.get(effect).is_some_and(|effect| effect.weighed)
        && (held || command.invocation.words.last().is_some_and(|words| words != "git config"))
}

/// Whether an effect is a write below the root of a file system that the command takes from `DESTDIR`: `cmake --install` writes to
/// `$DESTDIR/usr` where it is told `--prefix /usr` (cmake(1), `DESTDIR`). Where the kernel holds paths, it decides where that is.
#[must_use]
pub fn is_staged(command: &Command, effect: usize) -> bool {
    let invocation = &command.invocation;
    let mut staged = command.assignments.iter().filter(|assignment| assignment.name == "DESTDIR");
    invocation.words.first().is_some_and(|name| name == "cmake")
        && invocation.flags.contains("--install")
        && staged.next_back().is_some_and(|assignment| assignment.value.value.literal() != Some(""))
        && command.effects.get(effect).is_some_and(|effect| {
            effect.kind == EffectKind::Write && effect.target.value.literal().is_some_and(|path| path.starts_with('/'))
        })
}
