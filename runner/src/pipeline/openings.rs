//! What a person's yes opens beyond the kernel's rules.
//!
//! A new directory or file is opened by itself where the text tells which of both it becomes: the server makes it for the command
//! (`sandbox/new_places.rs`). Of any other new name the directory is opened that it is made in, for that is what Landlock has rights for.

use std::collections::BTreeMap;
use std::path::Path;

use palisade_engine::{AbsolutePath, ApprovalRequest, Decision, Facts, Transport};
use palisade_grammar::{Command, EffectKind};

use palisade_sandbox::NewPlace;
use palisade_sandbox::plan::Rights;

/// What a yes opens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Openings {
    /// All places, with the rights to each.
    pub(super) places: BTreeMap<AbsolutePath, Rights>,
    /// Those of them that are made for the command.
    pub(super) new: BTreeMap<AbsolutePath, NewPlace>,
}

/// Programs that make a directory of the path that they are given and fill only that, and whether they make those above it as well.
const MAKERS: [(&str, NewPlace, Above); 4] = [
    ("mkdir", NewPlace::Directory, Above::With("--parents")),
    ("git init", NewPlace::Repository, Above::Always),
    ("git clone", NewPlace::Repository, Above::Always),
    ("git worktree add", NewPlace::Repository, Above::Always),
];

/// Programs that make a file of each path that they are given.
const FILLERS: [&str; 2] = ["touch", "tee"];

enum Above {
    Always,
    With(&'static str),
}

/// What a command makes of a path.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Makes {
    what: NewPlace,
    above: bool,
}

impl Openings {
    /// For the requests that a yes lifts. `can_make`: new places can be made for the command.
    pub(super) fn of(question: &ApprovalRequest, can_make: bool) -> Self {
        let facts = question.facts();
        // At a target no kernel rules of ours hold anything, and this machine's files are not meant.
        if facts.transport != Transport::Local {
            return Self::default();
        }
        let known: BTreeMap<&str, &AbsolutePath> =
            facts.paths.values().chain(facts.matches.values().flatten()).map(|path| (path.as_str(), path)).collect();
        let asked = || question.report().requests.iter().filter(|request| request.decision == Decision::Ask);
        let mut opened = Self::default();
        if can_make {
            let makes = makes(question.inventory().commands(), facts);
            // What is not known before it runs is held by the rules that there are. In order, so that a directory comes before what it holds.
            let mut new: Vec<&AbsolutePath> = asked()
                .filter(|request| request.action == "write")
                .filter_map(|request| known.get(request.resource.as_str()).copied())
                .collect();
            new.sort();
            for path in new {
                if let Some(Some(makes)) = makes.get(path) {
                    opened.add_new(path, *makes);
                }
            }
        }
        for request in asked() {
            let Some(path) = known.get(request.resource.as_str()) else { continue };
            if opened.holds_new(path) {
                continue;
            }
            let there = Path::new(path.as_str()).exists();
            let directory = || Path::new(path.as_str()).parent().and_then(|above| AbsolutePath::new(above.to_str()?));
            let is_there = |above: &AbsolutePath| Path::new(above.as_str()).exists();
            let (place, rights) = match request.action {
                "read" => (Some((*path).clone()), Rights::READ),
                "write" if there => (Some((*path).clone()), Rights::WRITE),
                "write" => (path.ancestors().find(is_there), Rights::WRITE),
                "delete" => (directory(), Rights::DELETE),
                "execute" => (Some((*path).clone()), Rights::READ | Rights::EXECUTE),
                _ => continue,
            };
            if let Some(place) = place.filter(|place| Path::new(place.as_str()).exists()) {
                *opened.places.entry(place).or_default() |= rights;
            }
        }
        opened.leave_out_what_is_open();
        opened
    }

    fn add_new(&mut self, path: &AbsolutePath, makes: Makes) {
        let is_free = |path: &AbsolutePath| {
            Path::new(path.as_str()).symlink_metadata().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
        };
        let above_is_there = || path.parent().is_some_and(|above| !is_free(&above));
        if self.holds_new(path) || !is_free(path) || !(makes.above || above_is_there()) {
            return;
        }
        let rights = match makes.what {
            // What lies in it is the command's own.
            NewPlace::Directory | NewPlace::Repository => Rights::READ | Rights::MOVE,
            NewPlace::File => Rights::WRITE,
        };
        self.places.insert(path.clone(), rights);
        self.new.insert(path.clone(), makes.what);
    }

    /// Whether this is a new place, or lies in a new directory.
    fn holds_new(&self, path: &AbsolutePath) -> bool {
        let is_directory = |above: &AbsolutePath| self.new.get(above).is_some_and(|new| *new != NewPlace::File);
        self.new.contains_key(path) || path.ancestors().any(|above| is_directory(&above))
    }

    /// A new place is made by the command itself where the directory around it is opened anyway.
    fn leave_out_what_is_open(&mut self) {
        let is_open = |path: &AbsolutePath| {
            let around = self.places.iter().filter(|(place, _)| *place != path && path.is_within(place));
            around.filter(|(place, _)| !self.new.contains_key(*place)).any(|(_, rights)| rights.contains(Rights::WRITE))
        };
        let open: Vec<AbsolutePath> = self.new.keys().filter(|path| is_open(path)).cloned().collect();
        for path in open {
            self.new.remove(&path);
            self.places.remove(&path);
        }
    }

    /// Leaves only what this says.
    pub(super) fn retain(&mut self, mut stays: impl FnMut(&AbsolutePath, Rights, Option<NewPlace>) -> bool) {
        let new = &self.new;
        self.places.retain(|path, rights| stays(path, *rights, new.get(path).copied()));
        self.new.retain(|path, _| self.places.contains_key(path));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Each place, as a person is shown it.
    pub(super) fn shown(&self) -> impl Iterator<Item = String> {
        self.places.iter().map(|(path, rights)| match self.new.get(path) {
            Some(NewPlace::Directory | NewPlace::Repository) => format!("{rights} {path} (a new directory)"),
            Some(NewPlace::File) => format!("{rights} {path} (a new file)"),
            None => format!("{rights} {path}"),
        })
    }
}

/// What the commands make of each path that they change; none where they do not agree, or more is done with it.
fn makes(commands: &[Command], facts: &Facts) -> BTreeMap<AbsolutePath, Option<Makes>> {
    let mut all: BTreeMap<AbsolutePath, Option<Makes>> = BTreeMap::new();
    for command in commands {
        for (index, effect) in command.effects.iter().enumerate() {
            let Some(path) = facts.paths.get(&(command.id, index)) else { continue };
            let made = match effect.kind {
                EffectKind::Write => made(command, index),
                EffectKind::Delete | EffectKind::Execute | EffectKind::Import => None,
                EffectKind::Read | EffectKind::Connect => continue,
            };
            let known = all.entry(path.clone()).or_insert(made);
            *known = match (*known, made) {
                (Some(one), Some(other)) if one.what == other.what => {
                    Some(Makes { above: one.above || other.above, ..one })
                }
                _ => None,
            };
        }
    }
    all
}

fn made(command: &Command, index: usize) -> Option<Makes> {
    let effect = command.effects.get(index)?;
    let is_redirected = command.redirections.iter().any(|redirection| redirection.target.span == effect.target.span);
    let file = Some(Makes { what: NewPlace::File, above: false });
    if is_redirected {
        return file;
    }
    let words = &command.invocation.words;
    if words.iter().any(|word| FILLERS.contains(&word.as_str())) {
        return file;
    }
    let (_, what, above) = MAKERS.iter().find(|(program, ..)| words.iter().any(|word| word == program))?;
    let above = match above {
        Above::Always => true,
        Above::With(flag) => command.invocation.flags.contains(*flag),
    };
    Some(Makes { what: *what, above })
}
