//! The facts of a policy case: a machine that is only told of, so that a case means the same everywhere.
//!
//! Decides what a path, a program and a directory are in such a machine. It has no symbolic links; what a case does
//! not tell takes the value that forbids most, but for existence: without a list of files everything that is named is
//! there.

use std::collections::{BTreeMap, BTreeSet};

use palisade_grammar::{Command, Cwd, EffectKind, Inventory, RemoteLocation, Resolved, Value, remote_location};

use crate::command_facts::{self, Remote, Repository};
use crate::facts::{Facts, Origin, Program, Transport};
use crate::inert_effects;
use crate::no_gain;
use crate::package_fetch;
use crate::path::AbsolutePath;
use crate::vocabulary::Vocabulary;

/// Where the installed system keeps its programs.
const SYSTEM: &[&str] = &["/usr", "/bin", "/sbin", "/opt"];

/// A machine as a case tells of it.
#[derive(Clone, Debug)]
pub(crate) struct World {
    /// What `~` stands for.
    pub(crate) home: AbsolutePath,
    /// Every file and directory below the workspace and the home; `None`: whatever is named is there.
    pub(crate) files: Option<BTreeSet<AbsolutePath>>,
    /// Directories whose programs the operator trusts.
    pub(crate) trusted: Vec<AbsolutePath>,
    /// Directories besides the workspace that the agent may change.
    pub(crate) writable: Vec<AbsolutePath>,
    /// Programs found by name elsewhere than in the system's directories.
    pub(crate) programs: BTreeMap<String, AbsolutePath>,
    /// What git's configuration says in the workspace; `None`: it is no repository.
    pub(crate) repository: Option<Repository>,
}

impl World {
    /// Completes `facts` with what `inventory` means here.
    pub(crate) fn gather(&self, mut facts: Facts, inventory: &Inventory, vocabulary: &Vocabulary) -> Facts {
        let mut made = BTreeSet::new();
        let mut links = false;
        for command in inventory.commands() {
            let directory = self.directory(&facts, &command.cwd, &made);
            let start = command.start.as_ref().and_then(|cwd| self.directory(&facts, cwd, &made));
            if let Some(directory) = &directory {
                facts.directories.insert(command.id, directory.clone());
            }
            facts.programs.insert(command.id, self.program(&facts, command, directory.as_ref()));
            for (index, effect) in command.effects.iter().enumerate() {
                if no_gain::may_hold(&facts) && inert_effects::names_remote(command, index)
                    || inert_effects::may_change_settings(command, index, no_gain::may_hold(&facts))
                {
                    facts.inert.insert((command.id, index));
                }
                if effect.kind == EffectKind::Connect {
                    continue;
                }
                let from = if effect.from_start { &start } else { &directory };
                let Some(path) = self.locate(&effect.target.value, from.as_ref()) else { continue };
                if links && !self.exists(&facts, &path) && !made.contains(&path) {
                    continue;
                }
                if is_called(command, &["mkdir"]) {
                    made.insert(path.clone());
                }
                if effect.kind == EffectKind::Import && !self.shadows(&path) && !writes_module(inventory) {
                    facts.inert.insert((command.id, index));
                }
                if no_gain::may_hold(&facts)
                    && (inert_effects::links_to(command, index) || inert_effects::is_staged(command, index))
                {
                    facts.inert.insert((command.id, index));
                }
                if effect.tree && !links {
                    facts.below.insert((command.id, index), self.groups_below(vocabulary, &path));
                }
                facts.paths.insert((command.id, index), path);
            }
            // There are no links in such a machine but those that a script makes.
            let plain = |index| facts.paths.get(&(command.id, index)).is_some_and(|path| self.exists(&facts, path));
            links |= makes_links(inventory, command, plain);
        }
        let resolve = |repository: &Repository, url: &str| match remote_location(url)? {
            RemoteLocation::Peer(peer) => Some(Remote::Peer(peer)),
            RemoteLocation::Path(path) => {
                let top = AbsolutePath::new(&repository.top);
                let path = self.locate(&Value::Literal(path), top.as_ref())?;
                Some(Remote::Path { below: Some(self.groups_below(vocabulary, &path)), path })
            }
        };
        let directory = |command: &Command| facts.directories.get(&command.id).cloned();
        let held = no_gain::may_hold(&facts);
        facts.told =
            command_facts::remotes(inventory, &facts.cwd, held, directory, |_| self.repository.clone(), resolve);
        for command in inventory.commands().iter().filter(|_| self.files.is_some()) {
            let there = |name: &str| {
                fold(&format!("{}/{name}", facts.workspace)).is_some_and(|path| self.exists(&facts, &path))
            };
            if package_fetch::is_installed(inventory, command, there, |_| None) {
                facts.told.entry(command.id).or_default().installed = true;
            } else if package_fetch::is_locked(inventory, command, there, |_| None) {
                facts.told.entry(command.id).or_default().locked = true;
            }
            if package_fetch::says_offline(command) {
                facts.told.entry(command.id).or_default().offline = true;
            }
        }
        facts
    }

    fn directory(&self, facts: &Facts, cwd: &Cwd, made: &BTreeSet<AbsolutePath>) -> Option<AbsolutePath> {
        let Cwd::Known(steps) = cwd else { return None };
        let mut current = facts.cwd.clone();
        for step in steps {
            let next = self.locate(&step.to, Some(&current))?;
            let will_be = !step.must_exist && made.contains(&next);
            if !self.exists(facts, &next) && !will_be {
                return None;
            }
            current = next;
        }
        Some(current)
    }

    fn program(&self, facts: &Facts, command: &Command, directory: Option<&AbsolutePath>) -> Program {
        let at = |path: Option<AbsolutePath>| match path {
            Some(path) => Program { origin: self.origin(facts, &path), path: Some(path) },
            None => Program { path: None, origin: Origin::Unknown },
        };
        let name = command.program.value.literal();
        match (command.resolved, name) {
            (Resolved::Name, _) if facts.transport != Transport::Local => {
                Program { path: None, origin: Origin::Remote }
            }
            (Resolved::Builtin | Resolved::Function | Resolved::None, _) => {
                Program { path: None, origin: Origin::Builtin }
            }
            (Resolved::Path, _) => at(self.locate(&command.program.value, directory)),
            (Resolved::Name, Some(name)) => match self.programs.get(name) {
                Some(path) => at(Some(path.clone())),
                None => Program { path: None, origin: Origin::System },
            },
            (Resolved::Name | Resolved::Unknown, _) => at(None),
        }
    }

    fn origin(&self, facts: &Facts, path: &AbsolutePath) -> Origin {
        let within = |directories: &[AbsolutePath]| directories.iter().any(|directory| path.is_within(directory));
        let in_system = || SYSTEM.iter().filter_map(|root| AbsolutePath::new(root)).any(|root| path.is_within(&root));
        if path.is_within(&facts.workspace) {
            Origin::Workspace
        } else if facts.is_temporary(path) {
            Origin::Temp
        } else if within(&self.writable) {
            Origin::Unknown
        } else if within(&self.trusted) {
            Origin::Toolchain
        } else if in_system() {
            Origin::System
        } else {
            Origin::Unknown
        }
    }

    fn locate(&self, value: &Value, directory: Option<&AbsolutePath>) -> Option<AbsolutePath> {
        match value {
            Value::Literal(text) if text.is_empty() => None,
            Value::Literal(text) if text.starts_with('/') => fold(text),
            Value::Literal(text) => fold(&format!("{}/{text}", directory?)),
            Value::Home(rest) => fold(&format!("{}{rest}", self.home)),
            Value::Pipe { .. } | Value::Below(_) | Value::Pattern { .. } | Value::Dynamic { .. } => None,
        }
    }

    /// A file is told of that Python would take for a module of its own.
    fn shadows(&self, directory: &AbsolutePath) -> bool {
        let files = self.files.iter().flatten().filter(|file| file.is_within(directory) && *file != directory);
        let entry = |file: &AbsolutePath| {
            let below = file.as_str().strip_prefix(directory.as_str()).unwrap_or_default().trim_start_matches('/');
            below.split('/').next().unwrap_or_default().to_owned()
        };
        files.map(entry).any(|entry| palisade_grammar::shadows_python_module(&entry))
    }

    /// Outside the workspace and the home everything is there.
    fn exists(&self, facts: &Facts, path: &AbsolutePath) -> bool {
        let Some(files) = &self.files else { return true };
        let told_of = path.is_within(&facts.workspace) || path.is_within(&self.home);
        !told_of || facts.workspace.is_within(path) || files.iter().any(|file| file.is_within(path))
    }

    fn groups_below(&self, vocabulary: &Vocabulary, directory: &AbsolutePath) -> BTreeSet<String> {
        let all = self.files.iter().flatten();
        let mut paths: BTreeSet<String> = BTreeSet::new();
        for file in all.filter(|file| file.is_within(directory) && *file != directory) {
            let between = file.ancestors().take_while(|above| above != directory).map(|above| above.to_string());
            paths.extend(between.chain([file.to_string()]));
        }
        let groups = vocabulary.groups_among(directory, paths.iter().map(String::as_str));
        groups.into_iter().map(str::to_owned).collect()
    }
}

/// `..` taken off by name: there are no links here that could lead it elsewhere.
fn fold(path: &str) -> Option<AbsolutePath> {
    let mut names: Vec<&str> = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    AbsolutePath::new(&format!("/{}", names.join("/")))
}

fn is_called(command: &Command, names: &[&str]) -> bool {
    command.invocation.words.first().is_some_and(|name| names.contains(&name.as_str()))
}

/// Whether a script may itself write something that Python would take for a module of its own.
pub fn writes_module(inventory: &Inventory) -> bool {
    let effects = inventory.commands().iter().flat_map(|command| &command.effects);
    effects.filter(|effect| effect.kind == EffectKind::Write).any(|effect| match &effect.target.value {
        _ if effect.tree => true,
        Value::Literal(path) | Value::Home(path) => {
            let mut names = path.rsplit('/').filter(|name| !name.is_empty());
            names.any(palisade_grammar::shadows_python_module)
        }
        _ => true,
    })
}

/// Whether a command may make symbolic links, or unpack them: behind one that does, what a path leads to is not known
/// unless it is there already. `is_plain` says that an effect is on a file that is there and no link.
pub fn makes_links(inventory: &Inventory, command: &Command, is_plain: impl Fn(usize) -> bool) -> bool {
    let invocation = &command.invocation;
    let is_read = || {
        // The commands in its text are told one by one.
        let told = inventory.commands().iter().any(|inner| inner.parent == Some(command.id));
        told && !inventory.opaque().iter().any(|item| item.command == Some(command.id))
    };
    let moves_files = || {
        let mut moved = (0..command.effects.len())
            .filter(|index| command.effects.get(*index).is_some_and(|effect| effect.kind == EffectKind::Delete));
        invocation.words.first().is_some_and(|name| name == "mv") && moved.all(is_plain)
    };
    may_make_links(command) && !(invocation.groups.contains("interpreter") && is_read()) && !moves_files()
}

fn may_make_links(command: &Command) -> bool {
    const ALWAYS: &[&str] = &["ln", "link", "mv", "tar", "unzip", "rsync", "cpio", "pax", "7z", "patch"];
    const GIT_NEVER: &[&str] = &["git add", "git commit", "git fetch", "git push", "git tag", "git branch", "git init"];
    // A plain copy reads through links and writes files.
    const COPY_NEVER: &[&str] = &["--force", "--verbose", "--no-clobber", "--interactive", "--parents", "--update"];
    // A new branch on what is checked out already.
    const BRANCH: &[&str] = &["-b", "--create", "--quiet"];
    let invocation = &command.invocation;
    let has = |flag: &str| invocation.flags.contains(flag);
    match invocation.words.first().map(String::as_str) {
        None => command.resolved != Resolved::None,
        Some("git") if has("-b") || has("--create") => {
            let known = invocation.flags.iter().all(|flag| BRANCH.contains(&flag.as_str()));
            let moves =
                ["git checkout", "git switch"].iter().any(|name| invocation.words.iter().any(|word| word == name));
            !(known && moves && invocation.operands.is_empty())
        }
        Some("cp") => invocation.flags.iter().any(|flag| !COPY_NEVER.contains(&flag.as_str())),
        Some("git") => {
            let harmless = |word: &String| GIT_NEVER.contains(&word.as_str());
            !invocation.groups.contains("read-only") && !invocation.words.iter().any(harmless)
        }
        Some("tar") => !packs_only(command),
        Some(name) => {
            ALWAYS.contains(&name) && !invocation.groups.contains("read-only")
                || invocation.groups.contains("interpreter")
        }
    }
}

/// tar reads files into an archive, or lists one: nothing comes into a directory.
fn packs_only(command: &Command) -> bool {
    let has = |flag: &str| command.invocation.flags.contains(flag);
    (has("--create") || has("--list")) && !has("--extract")
}
