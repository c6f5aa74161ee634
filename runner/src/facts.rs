//! Gathers the facts that a script is judged on (the PIP): real paths, programs, directories, the time.
//!
//! Decides what a path means: which file the kernel would open. It judges nothing. What cannot be told is left out,
//! and the engine takes what is missing for unknown.

mod lookup_budget;
mod option;
mod pattern;
mod python_environment;
pub(crate) mod remote_view;
mod repository;
mod settings;

use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use palisade_engine::{
    AbsolutePath, Engine, Facts, FileAction, Machine, Origin, Principal, Program, Remote, Repository, Scratch, Session,
    Transport, is_installed, is_locked, makes_links, remotes, says_offline, writes_module,
};
use palisade_grammar::{
    Command, Cwd, Effect, EffectKind, Inventory, RemoteLocation, Resolved, Shell, Value, Word, remote_location,
    shadows_python_module,
};
use palisade_sandbox::file_marks::Earlier;
use palisade_sandbox::plan::Promise;
use palisade_sandbox::{NPM_SETTINGS, is_own, public_content};

use serde::{Deserialize, Serialize};

use self::lookup_budget::{Sight, Steps, is_no_directory};
use self::python_environment::Activated;
use self::remote_view::{ResolvedPath, View};
pub use self::repository::hook_directories;
use crate::clock::Zone;
use crate::git;
use crate::sandbox::earlier;

/// Symbolic links that one path may pass through, as many as the kernel follows (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// Directories whose programs belong to the installed system.
const SYSTEM_BIN: &[&str] = &[
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
    "/usr/lib",
    "/usr/lib64",
    "/usr/libexec",
    "/usr/local/lib",
    "/usr/local/libexec",
    "/usr/share", // Debian's links lead there (`psql`)
    "/opt",
];

/// Where things are, as the operator's settings and the machine have it.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Who asks.
    pub principal: Principal,
    /// The agent's directory, real.
    pub workspace: AbsolutePath,
    /// What `~` stands for.
    pub home: AbsolutePath,
    /// Directories whose programs the operator trusts to be what their names say.
    pub trusted: Vec<AbsolutePath>,
    /// Directories besides the workspace that the agent may change: what lies there is nobody's word for anything.
    pub writable: Vec<AbsolutePath>,
    /// Where the caches of the agent's tools are: what lies there is the agent's own.
    pub caches: Vec<AbsolutePath>,
    /// The `PATH` that commands run with.
    pub search: Vec<PathBuf>,
    /// What names mean at the other end of a transport; none on this machine, whose file system is looked at.
    pub elsewhere: Option<FarNames>,
    /// This process is at the other end of the transport itself: what lies there can be looked at from here.
    pub at_target: bool,
    /// Where policies read the time of day and the day of the week.
    pub zone: Zone,
    /// What earlier sessions have made under names that other programs read later.
    pub earlier: Earlier,
}

/// The file system at the other end of a transport.
#[derive(Clone, Debug)]
pub struct FarNames(pub(crate) Arc<View>);

/// What a script is judged for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Occasion {
    /// How commands reach the shell.
    pub transport: Transport,
    /// The id of the host that the session is on.
    pub host: String,
    /// The session.
    pub session: Session,
    /// Where the script starts, real.
    pub cwd: AbsolutePath,
    /// The session's temporary directory, if it has one yet.
    pub temp: Option<AbsolutePath>,
    /// The directories that it has for itself in place of the machine's.
    pub scratch: Scratch,
    /// The session's shell, in whose view of the file system its own directories lie; none before it is started.
    #[serde(skip)]
    pub shell: Option<i32>,
    /// What earlier scripts have left behind in the shell.
    pub left: Shell,
    /// The machine at the other end of the transport.
    pub machine: Machine,
}

impl Occasion {
    /// Before the first script of a local session of which the kernel holds what `promise` says.
    pub fn local(id: &str, cwd: AbsolutePath, temp: Option<AbsolutePath>, promise: Promise) -> Self {
        let Promise { sandboxed, guarded, paths_held, own_network } = promise;
        Self {
            transport: Transport::Local,
            host: "localhost".to_owned(),
            session: Session { sandboxed, guarded, paths_held, own_network, ..Session::opened(id) },
            cwd,
            temp,
            scratch: Scratch::default(),
            shell: None,
            left: Shell::new(),
            machine: Machine::default(),
        }
    }
}

impl Occasion {
    /// What earlier scripts have left behind in the shell, which began with the session's own `TMPDIR`.
    pub(crate) fn left_with(&mut self, left: Shell) {
        self.left = left.with_temporary(self.temp.as_ref().map(AbsolutePath::as_str));
    }
}

impl Surroundings {
    /// The same principal at the other end of a transport, where nothing is trusted but what the system there has.
    pub(crate) fn at(&self, workspace: AbsolutePath, home: AbsolutePath, view: Arc<View>) -> Self {
        Self {
            principal: self.principal.clone(),
            workspace,
            home,
            trusted: Vec::new(),
            writable: Vec::new(),
            caches: Vec::new(),
            search: Vec::new(),
            elsewhere: Some(FarNames(view)),
            at_target: false,
            zone: self.zone.clone(),
            earlier: earlier::none(),
        }
    }

    /// The facts for a script that a shell reads of which it is not known where it stands.
    pub fn gather_anywhere(&self, occasion: &Occasion, inventory: &Inventory) -> Facts {
        let mut facts = self.facts(occasion);
        let programs = inventory.commands().iter();
        let steps = Steps::of(occasion);
        facts.programs = programs.map(|command| (command.id, self.program(occasion, command, None, &steps))).collect();
        facts
    }

    /// The facts for one script.
    ///
    /// A tree that an effect reaches is looked through for members of the engine's path groups, so that `rm -r build` is not taken
    /// for the removal of whatever a name pattern could mean: unless no decision depends on it.
    pub fn gather(&self, occasion: &Occasion, inventory: &Inventory, engine: &Engine) -> Facts {
        let mut facts = self.facts(occasion);
        let asks = inventory.commands().iter().any(reaches_a_tree) && engine.asks_about_trees(&facts);
        let sight = Sight::new(engine.vocabulary(), Steps::of(occasion));
        let mut made = Vec::new();
        let mut links = false;
        let looks = self.looks(occasion);
        let still = looks && option::makes_none(inventory);
        // Where the kernel holds names, also behind commands that may put something else in its place: masks follow what lies there.
        let is_no_secret = |facts: &Facts, command: &Command, index, path: &AbsolutePath| {
            is_public(command, index, path, engine, &sight.steps, &|objects| {
                let path = objects.to_str().and_then(AbsolutePath::new);
                path.is_some_and(|path| {
                    path.is_within(&self.workspace) && engine.permissions(facts).permits(FileAction::Read, &path)
                })
            }) || self.is_own(occasion, command, index, path, engine)
        };
        let mut activated = Activated::default();
        for command in inventory.commands() {
            let directory = self.directory(occasion, &command.cwd, &made, &sight.steps);
            let start = command.start.as_ref().and_then(|cwd| self.directory(occasion, cwd, &made, &sight.steps));
            if let Some(directory) = &directory {
                facts.directories.insert(command.id, directory.clone());
            }
            let own = activated.program(command, &self.workspace).filter(|_| looks && is_held(&occasion.session));
            let program = own.unwrap_or_else(|| self.program(occasion, command, directory.as_ref(), &sight.steps));
            facts.programs.insert(command.id, program);
            if still {
                let base = Path::new(occasion.cwd.as_str());
                facts.no_options.extend(option::impossible_words(inventory, command, base, &sight));
                facts.inert.extend(option::impossible_reads(command, base, &sight));
            }
            // What an earlier command unpacks or fetches, or another machine holds, cannot be seen.
            let seen = directory.as_ref().filter(|_| looks && !links);
            for (index, paths) in seen.map(|seen| self.matches(command, seen, &sight)).unwrap_or_default() {
                let is_tree = command.effects.get(index).is_some_and(|effect| effect.tree);
                let below = paths.iter().map(|path| sight.below(path).map(|below| below.groups));
                if let Some(groups) = (is_tree && asks).then(|| below.collect::<Option<Vec<_>>>()).flatten() {
                    facts.below.insert((command.id, index), groups.into_iter().flatten().collect());
                }
                let mut paths = paths;
                let public = paths.iter().filter(|path| is_no_secret(&facts, command, index, path)).cloned();
                let public: Vec<AbsolutePath> = public.collect();
                facts.public.extend(public);
                if lists_names(command, index) {
                    let asks = |path: &AbsolutePath| is_held(&occasion.session) && asks_about(command, index, path);
                    paths.retain(|path| !self.is_masked(occasion, path, engine) && !asks(path));
                    if paths.is_empty() {
                        facts.inert.insert((command.id, index));
                    }
                }
                facts.matches.insert((command.id, index), paths);
            }
            if is_held(&occasion.session) {
                let named = (0..command.effects.len()).filter(|index| palisade_engine::names_remote(command, *index));
                facts.inert.extend(named.map(|index| (command.id, index)));
            }
            for (index, path) in self.effects(command, directory.as_ref(), start.as_ref(), links, &sight.steps) {
                if makes_directory(command) {
                    made.push(path.clone());
                }
                let is_tree = command.effects.get(index).is_some_and(|effect| effect.tree);
                // What an earlier command of this script unpacks or fetches is not there to be seen yet.
                let below = (is_tree && !links && looks && asks).then(|| sight.below(&path)).flatten();
                if looks && imports_nothing(command, index, &path, &sight.steps) && !writes_module(inventory) {
                    facts.inert.insert((command.id, index));
                }
                if looks && (!links || is_held(&occasion.session)) && is_no_secret(&facts, command, index, &path) {
                    facts.public.insert(path.clone());
                }
                // Code of this script's own may have replaced the name by a link: the kernel's rules hold wherever that leads.
                if looks && is_held(&occasion.session) && lists_closed(command, index, &path, engine, &facts) {
                    facts.inert.insert((command.id, index));
                }
                let by_name = || lists_names(command, index) && self.is_masked(occasion, &path, engine);
                let held = is_held(&occasion.session);
                let of_own = || sets_up_own(occasion, command, index, directory.as_ref());
                if settings::are_left_to_the_guard(
                    self,
                    occasion,
                    command,
                    index,
                    directory.as_ref().filter(|_| looks && !links),
                    || engine.is_no_gain(&facts),
                ) {
                    facts.inert.insert((command.id, index));
                }
                if held && (palisade_engine::links_to(command, index) || palisade_engine::is_staged(command, index)) {
                    facts.inert.insert((command.id, index));
                }
                if looks
                    && !links
                    && (by_name()
                        || (held && (of_own() || asks_about(command, index, &path)))
                        || self.comes_to_nothing(&facts, command, index, &path, engine, &sight.steps))
                {
                    facts.inert.insert((command.id, index));
                }
                let goes = is_tree && removes_what_it_names(inventory, command, index);
                if held && looks && !links && goes && self.keeps_part_of(occasion, &path) {
                    facts.kept_inside.insert(path.clone());
                }
                if opens_what_is_found(command, index) && below.as_ref().is_none_or(|below| below.links) {
                    continue; // a link that is found is opened through, wherever it leads
                }
                if let Some(below) = below {
                    facts.below.insert((command.id, index), below.groups);
                }
                activated.note(command, &path);
                facts.paths.insert((command.id, index), path);
            }
            let is_plain = |index| {
                let path = facts.paths.get(&(command.id, index)).filter(|_| looks);
                path.is_some_and(|path| std::fs::symlink_metadata(path.as_str()).is_ok_and(|found| found.is_file()))
            };
            links |= makes_links(inventory, command, is_plain);
        }
        // Where nothing holds the session, what its processes make of a name is not held to what is told here.
        if looks && occasion.session.sandboxed {
            self.tell(inventory, &sight, &mut facts);
        }
        facts
    }

    /// Whether an effect is on a file of the workspace that is named like key material, and that the session makes now, or that sessions of
    /// this agent have made. If the script removes a file that is not there yet, a program of the script makes it. Where the kernel holds
    /// names, a file that comes from elsewhere meanwhile is covered before the session can open it.
    fn is_own(
        &self,
        occasion: &Occasion,
        command: &Command,
        effect: usize,
        path: &AbsolutePath,
        engine: &Engine,
    ) -> bool {
        let place = Path::new(path.as_str());
        let is_no_directory = || place.symlink_metadata().map_or(true, |about| about.is_file());
        let effect = command.effects.get(effect).filter(|effect| !effect.tree || is_no_directory());
        let Some(effect) = effect else { return false };
        let is_made = || {
            let there = place.symlink_metadata();
            matches!(effect.kind, EffectKind::Write | EffectKind::Delete)
                && there.is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
        };
        is_held(&occasion.session)
            && path.is_within(&self.workspace)
            && is_named_like_a_secret(path, engine)
            && (is_made() || self.has_made(occasion, place))
    }

    /// Whether the session knows this file for its agent's own work; before it starts, whether it would.
    fn has_made(&self, occasion: &Occasion, place: &Path) -> bool {
        match occasion.shell {
            Some(shell) => is_own(shell, place),
            None => self.earlier.has_written(&self.principal, place),
        }
    }

    /// Whether the kernel would keep a part of a directory from being removed: the settings or hooks of a repository that no session has
    /// made.
    fn keeps_part_of(&self, occasion: &Occasion, path: &AbsolutePath) -> bool {
        let place = Path::new(path.as_str());
        let git = if path.name() == ".git" { place.to_owned() } else { place.join(".git") };
        let is_directory = git.symlink_metadata().is_ok_and(|about| about.is_dir());
        let config = git.join("config");
        let is_of_workspace = git.parent() == Some(Path::new(self.workspace.as_str()));
        let is_of_session = || {
            (!is_of_workspace && self.earlier.has(&config))
                || occasion.shell.is_some_and(|shell| is_own(shell, &config))
        };
        path.is_within(&self.workspace) && is_directory && config.symlink_metadata().is_ok() && !is_of_session()
    }

    /// Whether the kernel keeps programs from what this file of the workspace holds, which is named like key material. Who only asks for
    /// its name, size and times opens nothing.
    fn is_masked(&self, occasion: &Occasion, path: &AbsolutePath, engine: &Engine) -> bool {
        is_held(&occasion.session) && path.is_within(&self.workspace) && is_named_like_a_secret(path, engine)
    }

    /// Leaves the reading of files that masks cover to the kernel: a program that another one has started meets an error there, and not the
    /// file.
    pub(crate) fn leave_to_masks(
        &self,
        occasion: &Occasion,
        inventory: &Inventory,
        engine: &Engine,
        facts: &mut Facts,
    ) {
        let effects = inventory.commands().iter().flat_map(|command| {
            let effects = command.effects.iter().enumerate();
            effects.filter(|(_, effect)| effect.kind == EffectKind::Read).map(|(index, _)| (command.id, index))
        });
        let masked: Vec<_> = effects
            .filter(|effect| {
                facts.paths.get(effect).is_some_and(|path| {
                    self.is_masked(occasion, path, engine) && Path::new(path.as_str()).symlink_metadata().is_ok()
                })
            })
            .collect();
        facts.inert.extend(masked);
    }

    /// What the files of a project tell of the commands that stand in it.
    fn tell(&self, inventory: &Inventory, sight: &Sight<'_>, facts: &mut Facts) {
        let resolve = |repository: &Repository, url: &str| match remote_location(url)? {
            RemoteLocation::Peer(peer) => Some(Remote::Peer(peer)),
            RemoteLocation::Path(path) => {
                let found = real(&Path::new(&repository.top).join(path), Last::Followed)?;
                let below = sight.below(&found.path).map(|below| below.groups.into_iter().collect());
                Some(Remote::Path { path: found.path, below })
            }
        };
        let directory = |command: &Command| facts.directories.get(&command.id);
        let stands = |command: &Command| directory(command).cloned();
        // What sessions have set for themselves counts where git sees it.
        let earlier = Some(&self.earlier).filter(|_| is_held(&facts.session));
        let known = |directory: &AbsolutePath| repository::repository(directory, earlier);
        let mut told = remotes(inventory, &facts.cwd, is_held(&facts.session), stands, known, resolve);
        for command in inventory.commands() {
            // Behind a file that the script reads and Palisade does not, the project is most likely still this one. A wrong guess brings
            // nothing: the command runs without the right to connect, and what it starts is decided where it stands.
            let guess = || Some(&facts.cwd).filter(|_| is_held(&facts.session) && command.cwd == Cwd::Unknown);
            let stands = directory(command);
            let place = stands.or_else(guess);
            let is_there = |name: &str| place.is_some_and(|place| repository::is_there(place, &self.workspace, name));
            let read = |name: &str| repository::file(&Path::new(place?.as_str()).join(name));
            if is_installed(inventory, command, is_there, read) {
                told.entry(command.id).or_default().installed = true;
            } else if stands.is_some() && is_locked(inventory, command, is_there, read) {
                told.entry(command.id).or_default().locked = true;
            }
            if says_offline(command) {
                told.entry(command.id).or_default().offline = true;
            }
        }
        facts.told = told;
    }

    /// The facts without any script: for questions of the runner's own.
    pub fn facts(&self, occasion: &Occasion) -> Facts {
        Facts {
            transport: occasion.transport,
            host: occasion.host.clone(),
            cwd: occasion.cwd.clone(),
            temp: occasion.temp.clone(),
            scratch: occasion.scratch.clone(),
            machine: occasion.machine.clone(),
            ..Facts::new(self.principal.clone(), self.workspace.clone(), occasion.session.clone(), self.zone.now())
        }
    }

    /// Whether the file system that a session is on is this process's own.
    fn looks(&self, occasion: &Occasion) -> bool {
        occasion.transport == Transport::Local || self.at_target
    }

    /// Follows the literal `cd`s before a command. Sessions run with `set -o physical`, so that `..` means here what it
    /// means to bash.
    fn directory(
        &self,
        occasion: &Occasion,
        cwd: &Cwd,
        made: &[AbsolutePath],
        looked_up: &Steps,
    ) -> Option<AbsolutePath> {
        let Cwd::Known(steps) = cwd else { return None };
        let mut current = occasion.cwd.clone();
        for step in steps {
            let next = self.locate(&step.to, Some(&current), Last::Followed, looked_up)?;
            // A directory that `mkdir` makes in this very script is there once `&&` lets the script get to it.
            let gets_there = match step.must_exist {
                _ if self.elsewhere.is_some() => next.enters || !step.must_exist && made.contains(&next.path),
                true => surely_entered(&looked_up.seen(Path::new(next.path.as_str()))),
                false => looked_up.seen(Path::new(next.path.as_str())).is_dir() || made.contains(&next.path),
            };
            if !gets_there {
                return None;
            }
            current = next.path;
        }
        Some(current)
    }

    fn program(
        &self,
        occasion: &Occasion,
        command: &Command,
        directory: Option<&AbsolutePath>,
        steps: &Steps,
    ) -> Program {
        let name = command.program.value.literal();
        if !self.looks(occasion) && command.resolved == Resolved::Name {
            return Program { path: None, origin: Origin::Remote };
        }
        let unknown = Program { path: None, origin: Origin::Unknown };
        match (command.resolved, name) {
            (Resolved::Builtin | Resolved::Function | Resolved::None, _) => {
                Program { path: None, origin: Origin::Builtin }
            }
            (Resolved::Path, Some(_)) => match self.locate(&command.program.value, directory, Last::Kept, steps) {
                Some(place) => Program { origin: self.origin(occasion, &place.path), path: Some(place.path) },
                None => unknown,
            },
            (Resolved::Path, None) if matches!(command.program.value, Value::Home(_)) => {
                match self.locate(&command.program.value, directory, Last::Kept, steps) {
                    Some(place) => Program { origin: self.origin(occasion, &place.path), path: Some(place.path) },
                    None => unknown,
                }
            }
            (Resolved::Name, Some(name)) => self.look_up(occasion, name, steps),
            (Resolved::Path | Resolved::Name | Resolved::Unknown, _) => unknown,
        }
    }

    /// The first executable file of that name in the search path. A name that this machine lacks is taken for an
    /// installed program: bash will say that it cannot find it, which is what the agent has to hear.
    fn look_up(&self, occasion: &Occasion, name: &str, steps: &Steps) -> Program {
        let found = self.search.iter().map(|directory| directory.join(name)).find(|path| is_executable(path));
        let Some(found) = found else { return Program { path: None, origin: Origin::System } };
        // The directory's real place counts, not that of the file behind a link in it: whoever may write the
        // directory decides what the name means.
        match follow(&found, Last::Kept, steps, |_| {}) {
            Some(place) => Program { origin: self.origin(occasion, &place.path), path: Some(place.path) },
            None => Program { path: None, origin: Origin::Unknown },
        }
    }

    fn origin(&self, occasion: &Occasion, path: &AbsolutePath) -> Origin {
        let within = |directories: &[AbsolutePath]| directories.iter().any(|directory| path.is_within(directory));
        let system: Vec<AbsolutePath> =
            SYSTEM_BIN.iter().filter_map(|directory| AbsolutePath::new(directory)).collect();
        // The agent's own directories first: a workspace below /opt is still a workspace.
        if path.is_within(&self.workspace) {
            Origin::Workspace
        } else if occasion.temp.iter().chain(&self.caches).any(|own| path.is_within(own))
            || occasion.scratch.holds(path)
        {
            Origin::Temp
        } else if within(&self.writable) {
            Origin::Unknown
        } else if within(&self.trusted) {
            Origin::Toolchain
        } else if within(&system) || self.is_installed(path) {
            Origin::System
        } else {
            Origin::Unknown
        }
    }

    /// Whether an effect is a read of what is not there, outside of the session's own places and of all that policies name, where the kernel
    /// holds every path: what is made there later cannot be read either.
    fn comes_to_nothing(
        &self,
        facts: &Facts,
        command: &Command,
        effect: usize,
        path: &AbsolutePath,
        engine: &Engine,
        steps: &Steps,
    ) -> bool {
        let reads = command.effects.get(effect).is_some_and(|effect| effect.kind == EffectKind::Read);
        let held = is_held(&facts.session);
        let own = || {
            let mut places = [&self.workspace].into_iter().chain(&facts.temp).chain(&self.caches);
            places.any(|place| path.is_within(place)) || facts.scratch.holds(path)
        };
        let named = || {
            engine.vocabulary().groups_of(path).next().is_some()
                || engine.roots().iter().any(|root| path.is_within(root))
        };
        let absent = || {
            let found = steps.seen(Path::new(path.as_str())).symlink_metadata();
            found.is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
        };
        reads && held && !own() && absent() && !named()
    }

    /// Whether a directory is one that no session can write: it is there, and lies in none of the places that sessions have for themselves.
    pub(crate) fn is_fixed(&self, occasion: &Occasion, directory: &Path) -> bool {
        let Some(real) = real_directory(directory).filter(|_| directory.is_absolute()) else { return false };
        let own = [&self.workspace].into_iter().chain(&occasion.temp).chain(&self.caches);
        let mut own = own.chain(&self.writable);
        !own.any(|place| real.is_within(place) || place.is_within(&real)) && !occasion.scratch.holds(&real)
    }

    /// The program lies in a directory of the search path that only root can change, and so can nobody who stands
    /// above it.
    fn is_installed(&self, program: &AbsolutePath) -> bool {
        let path = Path::new(program.as_str());
        let Some(directory) = path.parent() else { return false };
        let searched = self.search.iter().filter_map(|searched| real_directory(searched));
        let on_path = searched.into_iter().any(|searched| Path::new(searched.as_str()) == directory);
        let fixed = |at: &Path| {
            std::fs::symlink_metadata(at).is_ok_and(|found| found.uid() == 0 && found.permissions().mode() & 0o022 == 0)
        };
        let linked = path.is_symlink(); // whose own mode says nothing
        on_path && (linked || fixed(path)) && directory.ancestors().all(fixed)
    }

    /// What the patterns among the effects stand for now, seen from a command's directory.
    fn matches(
        &self,
        command: &Command,
        directory: &AbsolutePath,
        sight: &Sight<'_>,
    ) -> Vec<(usize, Vec<AbsolutePath>)> {
        let mut matches = Vec::new();
        for (index, effect) in command.effects.iter().enumerate() {
            // With `env -C` and its kind, bash looks for names elsewhere than the program for files: what is then made
            // need not be there now.
            let is_of_what_is_there = matches!(effect.kind, EffectKind::Read | EffectKind::Delete);
            let (true, Some(last), Value::Pattern { prefix }) =
                (is_of_what_is_there, last_of(effect.kind), &effect.target.value)
            else {
                continue;
            };
            let raw = effect.target.raw.as_str();
            let base = if raw.starts_with('/') { "/" } else { directory.as_str() };
            let paths: Option<Vec<AbsolutePath>> =
                pattern::expand(raw, prefix, Path::new(base), sight).and_then(|found| {
                    found.iter().map(|path| follow(path, last, &sight.steps, |_| {}).map(|place| place.path)).collect()
                });
            matches.extend(paths.map(|paths| (index, paths)));
        }
        matches
    }

    fn effects(
        &self,
        command: &Command,
        directory: Option<&AbsolutePath>,
        start: Option<&AbsolutePath>,
        links: bool,
        steps: &Steps,
    ) -> Vec<(usize, AbsolutePath)> {
        let mut paths = Vec::new();
        for (index, effect) in command.effects.iter().enumerate() {
            let Some(last) = last_of(effect.kind) else { continue };
            let from = if effect.from_start { start } else { directory };
            match self.locate(&effect.target.value, from, last, steps) {
                Some(place) if place.exists || !links => paths.push((index, place.path)),
                _ => {}
            }
        }
        paths
    }

    fn locate(
        &self,
        value: &Value,
        directory: Option<&AbsolutePath>,
        last: Last,
        steps: &Steps,
    ) -> Option<ResolvedPath> {
        let path = match value {
            Value::Literal(text) if text.is_empty() => return None,
            Value::Literal(text) if text.starts_with('/') => match own_link(text) {
                Some((Link::Root, rest)) => PathBuf::from("/").join(rest),
                Some((Link::Directory, rest)) => Path::new(directory?.as_str()).join(rest),
                None => PathBuf::from(text),
            },
            Value::Literal(text) => Path::new(directory?.as_str()).join(text),
            Value::Home(rest) => PathBuf::from(format!("{}{rest}", self.home.as_str())),
            Value::Pipe { .. } | Value::Below(_) | Value::Pattern { .. } | Value::Dynamic { .. } => return None,
        };
        match &self.elsewhere {
            Some(FarNames(view)) => real_there(&path, last, view),
            None => follow(&path, last, steps, |_| {}),
        }
    }
}

/// The file that the kernel at the other end would open for an absolute path, as far as is known. What is not there is taken for no
/// directory of anything else, and a link that would be removed itself is known by the directory that it lies in.
fn real_there(path: &Path, last: Last, view: &View) -> Option<ResolvedPath> {
    if let Some(stream) = standard_stream(path) {
        return Some(ResolvedPath { path: stream, exists: true, enters: false });
    }
    let found = |path: &Path| view.place(path.to_str()?);
    if last == Last::Followed {
        return found(path);
    }
    let name = path.file_name()?;
    // A name behind which the path goes on (`x/.`, `x/`) is that of a directory, and followed.
    if !path.as_os_str().as_encoded_bytes().ends_with(name.as_encoded_bytes()) {
        return None;
    }
    let directory = found(path.parent()?)?;
    let path = directory.path.child(name.to_str()?)?;
    Some(ResolvedPath { path, exists: false, enters: false })
}

/// A link of /proc that means the same to whoever opens it.
enum Link {
    Root,
    Directory,
}

/// `/proc/self/root` and `/proc/self/cwd`, with the path behind them.
fn own_link(path: &str) -> Option<(Link, PathBuf)> {
    let mut names = Path::new(path).components();
    names.next()?; // the root
    let mut next = || names.next().and_then(|name| name.as_os_str().to_str());
    let process = next().filter(|name| *name == "proc").and(next());
    process.filter(|name| matches!(*name, "self" | "thread-self"))?;
    let link = match next()? {
        "root" => Link::Root,
        "cwd" => Link::Directory,
        _ => return None,
    };
    Some((link, names.as_path().to_path_buf()))
}

/// The effect is the loading of modules from a directory in which nothing can be taken for one of Python's own.
fn imports_nothing(command: &Command, effect: usize, directory: &AbsolutePath, steps: &Steps) -> bool {
    let imports = command.effects.get(effect).is_some_and(|effect| effect.kind == EffectKind::Import);
    let shadow = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.map_or(true, |entry| entry.file_name().to_str().is_some_and(shadows_python_module))
    };
    imports
        && std::fs::read_dir(steps.seen(Path::new(directory.as_str()))).is_ok_and(|mut entries| !entries.any(shadow))
}

/// Whether an effect reads a file that is named like key material and holds none, as masks take it ([`public_content`]). npm's settings
/// may be changed as well.
fn is_public(
    command: &Command,
    effect: usize,
    path: &AbsolutePath,
    engine: &Engine,
    steps: &Steps,
    may_read: &dyn Fn(&Path) -> bool,
) -> bool {
    let is_about_it = |effect: &Effect| {
        effect.kind == EffectKind::Read
            || path.name() == NPM_SETTINGS && matches!(effect.kind, EffectKind::Write | EffectKind::Delete)
    };
    command.effects.get(effect).is_some_and(is_about_it) && is_named_like_a_secret(path, engine) && {
        let place = steps.seen(Path::new(path.as_str()));
        public_content(&place, &|content| git::has_committed(&place, content, may_read)).1
    }
}

/// Whether an effect is on an operand of which a command shows no more than the directory tells.
fn lists_names(command: &Command, effect: usize) -> bool {
    const LIST: [&str; 7] = ["ls", "dir", "vdir", "stat", "du", "readlink", "realpath"];
    let invocation = &command.invocation;
    invocation.words.first().is_some_and(|name| LIST.contains(&name.as_str()))
        && !invocation.flags.contains("--files0-from")
        && reads_operand(command, effect)
}

/// Whether an effect reads an operand of its command.
fn reads_operand(command: &Command, effect: usize) -> bool {
    let effect = command.effects.get(effect).filter(|effect| effect.kind == EffectKind::Read);
    effect.is_some_and(|effect| command.invocation.operands.iter().any(|operand| operand.span == effect.target.span))
}

/// Whether an operand is only asked for its attributes, which the kernel's rules leave to all programs: by `stat`, by `ls -d`, or by `ls` of
/// something that is no directory; or for those of its file system, by `df`.
fn asks_about(command: &Command, effect: usize, path: &AbsolutePath) -> bool {
    let invocation = &command.invocation;
    let is_directory = || std::fs::metadata(path.as_str()).is_ok_and(|found| found.is_dir());
    let asks = match invocation.words.first().map(String::as_str) {
        Some("stat" | "readlink" | "realpath") => true,
        Some("ls" | "dir" | "vdir") => invocation.flags.contains("--directory") || !is_directory(),
        Some("df") => return reads_operand(command, effect),
        _ => false,
    };
    asks && lists_names(command, effect)
}

/// Whether a command would list a directory that no policy lets the session read, and that none forbids either (`ls /`, `find / -name x`).
/// Own code can try the same: the kernel refuses it, and the command goes on. What `find` does with files has effects of its own.
fn lists_closed(command: &Command, effect: usize, path: &AbsolutePath, engine: &Engine, facts: &Facts) -> bool {
    let lists = match command.invocation.words.first().map(String::as_str) {
        Some("find" | "tree") => reads_operand(command, effect),
        _ => lists_names(command, effect),
    };
    let is_directory = || std::fs::metadata(path.as_str()).is_ok_and(|found| found.is_dir());
    let is_closed = || engine.permissions(facts).because(FileAction::Read, path) == (false, Vec::new());
    lists && is_directory() && is_closed() && engine.is_no_gain(facts)
}

/// Whether git changes the settings of a repository that the script or the session makes: no mask holds them yet.
fn sets_up_own(occasion: &Occasion, command: &Command, effect: usize, directory: Option<&AbsolutePath>) -> bool {
    let is_about_it =
        |effect: &Effect| effect.kind == EffectKind::Write && effect.target.value.literal() == Some(".git/config");
    let is_git = command.invocation.words.first().is_some_and(|name| name == "git");
    if !is_git || !command.effects.get(effect).is_some_and(is_about_it) {
        return false;
    }
    let Some(directory) = directory else { return true };
    let tops = Path::new(directory.as_str()).ancestors();
    let mut settings = tops.map(|top| top.join(".git/config")).filter(|file| file.symlink_metadata().is_ok());
    settings.next().is_none_or(|file| occasion.shell.is_some_and(|shell| is_own(shell, &file)))
}

/// Whether the kernel holds every rule about paths, in this session and for all that it starts.
fn is_held(session: &Session) -> bool {
    session.sandboxed && session.guarded && session.paths_held
}

fn is_named_like_a_secret(path: &AbsolutePath, engine: &Engine) -> bool {
    engine.vocabulary().groups_of(path).any(|group| group == "secrets")
}

/// Whether some effect of a command is on all that lies below a directory.
fn reaches_a_tree(command: &Command) -> bool {
    command.effects.iter().any(|effect| effect.tree)
}

/// The effect is on a path that `find` fills in, and not on the directory where it searches.
fn opens_what_is_found(command: &Command, effect: usize) -> bool {
    let Some(effect) = command.effects.get(effect) else { return false };
    let found = |word: &Word| matches!(word.value, Value::Below(_)) && word.span == effect.target.span;
    effect.kind != EffectKind::Delete && command.argv.iter().any(found)
}

/// Whether a program removes all of what it is given. Others (`find -delete`, `git clean`) remove what they find below it.
/// What `find` hands over behind a test for names is some of what lies below (`find . -name x -exec rm {} +`).
fn removes_what_it_names(inventory: &Inventory, command: &Command, effect: usize) -> bool {
    const TESTS: [&str; 10] =
        ["-name", "-iname", "-path", "-ipath", "-wholename", "-iwholename", "-regex", "-iregex", "-mindepth", "-empty"];
    let Some(effect) = command.effects.get(effect).filter(|effect| effect.kind == EffectKind::Delete) else {
        return false;
    };
    let is_found = |word: &&Word| matches!(word.value, Value::Below(_)) && word.span == effect.target.span;
    let finder = command.argv.iter().find(is_found).and(command.parent);
    let finder = inventory.commands().iter().find(|other| Some(other.id) == finder);
    let is_some = finder.is_some_and(|finder| {
        finder.argv.iter().any(|word| word.value.literal().is_some_and(|word| TESTS.contains(&word)))
    });
    !is_some && command.invocation.words.first().is_some_and(|name| name == "rm" || name == "mv")
}

/// Whether a process of this user without any capability gets into the directory: it may search every directory on the
/// way (path_resolution(7)). Groups are not asked for, since a session may not have them all.
fn surely_entered(directory: &Path) -> bool {
    let user = rustix::process::geteuid().as_raw();
    let searched = |place: &Path| {
        std::fs::symlink_metadata(place).is_ok_and(|found| {
            let (owner, group, other) = (0o100, 0o010, 0o001);
            let asked = if found.uid() == user { owner } else { group | other };
            found.is_dir() && found.permissions().mode() & asked == asked
        })
    };
    directory.ancestors().all(searched)
}

/// The search path among a child's variables.
pub fn search_path(environment: &[(OsString, OsString)]) -> Vec<PathBuf> {
    let path = environment.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.clone());
    std::env::split_paths(&path.unwrap_or_default()).collect()
}

/// The real path of something that exists.
pub fn real_directory(path: &Path) -> Option<AbsolutePath> {
    real(path, Last::Followed).filter(|place| place.exists).map(|place| place.path)
}

/// The real path of something, whether or not it exists.
pub(crate) fn real_path(path: &Path) -> Option<AbsolutePath> {
    real(path, Last::Followed).map(|place| place.path)
}

/// Everything that is looked up on the way to a file, as it really lies, the file itself last: whoever can exchange one of
/// them says where the way leads. `None` if that cannot be told.
pub fn way_to(path: &Path) -> Option<Vec<AbsolutePath>> {
    let mut way = Vec::new();
    let end = follow(path, Last::Followed, &Steps::new(), |step| way.push(step.to_owned()))?;
    let mut way: Vec<AbsolutePath> = way.iter().map(|step| AbsolutePath::new(step.to_str()?)).collect::<Option<_>>()?;
    way.push(end.path);
    Some(way)
}

/// The path of a program that is executed, in a real directory, its own name as it is called.
pub(crate) fn program_path(path: &Path) -> Option<AbsolutePath> {
    real(path, Last::Kept).map(|place| place.path)
}

/// What becomes of the last component if it is a symbolic link.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    Followed,
    Kept,
}

/// unlink(2) and rename(2) take the link itself; a peer is no file.
fn last_of(kind: EffectKind) -> Option<Last> {
    match kind {
        EffectKind::Connect => None,
        EffectKind::Delete => Some(Last::Kept),
        EffectKind::Read | EffectKind::Write | EffectKind::Execute | EffectKind::Import => Some(Last::Followed),
    }
}

/// The file that the kernel would open for an absolute path. `None` if that cannot be told: not UTF-8, too many links,
/// more names than are looked up, a directory that may not be searched, `..` behind something that does not exist, or a link below /proc, which means
/// something else to every process.
fn real(path: &Path, last: Last) -> Option<ResolvedPath> {
    follow(path, last, &Steps::new(), |_| {})
}

/// The same, and `look_up` is told of every entry that is met.
fn follow(path: &Path, last: Last, steps: &Steps, mut look_up: impl FnMut(&Path)) -> Option<ResolvedPath> {
    if let Some(stream) = standard_stream(path) {
        return Some(ResolvedPath { path: stream, exists: true, enters: false });
    }
    let mut pending: VecDeque<OsString> = names(path)?;
    let mut found = PathBuf::from("/");
    let mut links = 0;
    let mut exists = true;
    while let Some(name) = pending.pop_front() {
        if !steps.take() {
            return None;
        }
        if name == ".." {
            if !exists {
                return None;
            }
            found.pop();
            continue;
        }
        let next = found.join(&name);
        look_up(&next);
        let seen = steps.seen(&next);
        let metadata = if exists { std::fs::symlink_metadata(&seen) } else { Err(not_found()) };
        match metadata {
            Ok(metadata) if metadata.is_symlink() && !(pending.is_empty() && last == Last::Kept) => {
                links += 1;
                if links > MAX_LINKS || found.starts_with("/proc") {
                    return None;
                }
                let target = std::fs::read_link(&seen).ok()?;
                if target.is_absolute() {
                    found = PathBuf::from("/");
                }
                for name in names(&target)?.into_iter().rev() {
                    pending.push_front(name);
                }
            }
            Ok(_) => found = next,
            // What lies below a file is not there, as what lies below nothing: `mv a b` may mean `b/a`.
            Err(error) if is_no_directory(&error) => {
                exists = false;
                found = next;
            }
            Err(_) => return None,
        }
    }
    Some(ResolvedPath { path: AbsolutePath::new(found.to_str()?)?, exists, enters: false })
}

/// `/dev/stdout` and its kin name a descriptor that the command already has; where they link to is its own affair.
fn standard_stream(path: &Path) -> Option<AbsolutePath> {
    let text = path.to_str()?;
    // From 10 up they are the shell's own.
    let is_descriptor = |number: &str| number.len() == 1 && number.bytes().all(|byte| byte.is_ascii_digit());
    let is_stream = matches!(text, "/dev/stdin" | "/dev/stdout" | "/dev/stderr")
        || text.strip_prefix("/dev/fd/").is_some_and(is_descriptor);
    if is_stream { AbsolutePath::new(text) } else { None }
}

fn names(path: &Path) -> Option<VecDeque<OsString>> {
    let mut names = VecDeque::new();
    for component in path.components() {
        match component {
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir => names.push_back("..".into()),
            Component::Normal(name) => names.push_back(name.to_owned()),
            Component::Prefix(_) => return None,
        }
    }
    Some(names)
}

fn not_found() -> std::io::Error {
    std::io::ErrorKind::NotFound.into()
}

fn is_executable(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

fn makes_directory(command: &Command) -> bool {
    command.invocation.words.first().is_some_and(|name| name == "mkdir")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::collections::BTreeSet;
    use std::os::unix::fs::symlink;

    use super::*;

    fn shown(path: &Path, last: Last) -> Option<String> {
        real(path, last).map(|place| place.path.to_string())
    }

    #[test]
    fn paths_lead_where_the_kernel_would_go() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::write(root.join("a/file"), "").unwrap();
        symlink("a", root.join("link")).unwrap();
        symlink("/etc", root.join("out")).unwrap();
        symlink("gone/x", root.join("dangling")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        let at = |rest: &str| root.join(rest);
        let inside = |rest: &str| Some(format!("{}/{rest}", root.display()));
        for (given, last, expected) in [
            (at("link/file"), Last::Followed, inside("a/file")),
            (at("link/../a/./file"), Last::Followed, inside("a/file")),
            (at("out/passwd"), Last::Followed, Some("/etc/passwd".to_owned())),
            (at("out"), Last::Followed, Some("/etc".to_owned())),
            (at("out"), Last::Kept, inside("out")),
            (at("out/../root"), Last::Followed, Some("/root".to_owned())),
            (at("dangling"), Last::Followed, inside("gone/x")),
            (at("new/deep"), Last::Followed, inside("new/deep")),
            (at("new/../a"), Last::Followed, None),
            (at("loop"), Last::Followed, None),
            (at("a/file/x"), Last::Followed, inside("a/file/x")),
            (at("a/file/x/../y"), Last::Followed, None),
            (PathBuf::from("/proc/self/cwd/x"), Last::Followed, None),
            (PathBuf::from("/dev/stdout"), Last::Followed, Some("/dev/stdout".to_owned())),
            (PathBuf::from("/dev/fd/../../etc/passwd"), Last::Followed, None),
        ] {
            assert_eq!(shown(&given, last), expected, "{}", given.display());
        }
    }

    /// Links that stand for thousands of names each: what is looked up for one script comes to an end.
    #[test]
    fn behind_so_many_names_a_path_is_unknown() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("a")).unwrap();
        std::fs::write(root.join("l38"), "").unwrap();
        for link in 0..38 {
            symlink(format!("{}l{}", "a/../".repeat(700), link + 1), root.join(format!("l{link}"))).unwrap();
        }
        let steps = Steps::new();
        let found = || follow(&root.join("l0"), Last::Followed, &steps, |_| {});
        assert_eq!(found().map(|place| place.path.to_string()), Some(format!("{}/l38", root.display())));
        let known = std::iter::from_fn(found).count();
        assert!((10..100).contains(&known), "{known}");
        assert!(follow(&root, Last::Followed, &steps, |_| {}).is_none(), "for nothing else either");
    }

    #[test]
    fn only_what_root_alone_can_change_is_installed() {
        let place = |path: &str| AbsolutePath::new(path).unwrap();
        let root = tempfile::tempdir().unwrap();
        let theirs = root.path().canonicalize().unwrap();
        std::fs::write(theirs.join("x"), "").unwrap();
        let principal = Principal {
            agent: "a".to_owned(),
            user: "u".to_owned(),
            roles: BTreeSet::new(),
            verified: true,
            auth: palisade_engine::Auth::OsUser,
            scopes: BTreeSet::new(),
            client: String::new(),
        };
        let surroundings = Surroundings {
            principal,
            workspace: place("/nowhere"),
            home: place("/nowhere"),
            trusted: Vec::new(),
            writable: Vec::new(),
            caches: Vec::new(),
            search: vec![PathBuf::from("/usr/bin"), theirs.clone()],
            elsewhere: None,
            at_target: false,
            zone: Zone::default(),
            earlier: earlier::none(),
        };
        assert!(surroundings.is_installed(&place("/usr/bin/env")));
        assert!(!surroundings.is_installed(&place("/usr/lib/x")), "not on the path");
        let below_tmp = theirs.join("x");
        assert!(!surroundings.is_installed(&place(below_tmp.to_str().unwrap())), "anybody can change what is above it");
    }

    #[test]
    fn a_directory_that_may_not_be_searched_is_not_entered() {
        let root = tempfile::tempdir().unwrap();
        let inner = root.path().canonicalize().unwrap().join("locked/inner");
        std::fs::create_dir_all(&inner).unwrap();
        let lock = |mode| {
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(inner.parent().unwrap(), mode).unwrap();
        };
        assert!(surely_entered(&inner));
        lock(0o600);
        assert!(!surely_entered(&inner), "what is above it cannot be passed");
        assert!(!surely_entered(inner.parent().unwrap()));
        lock(0o100);
        assert!(surely_entered(&inner), "searching is enough");
        assert!(!surely_entered(&inner.join("none")));
    }

    #[test]
    fn own_links_of_proc() {
        for (path, expected) in [
            ("/proc/self/root/etc/shadow", Some("root etc/shadow")),
            ("//proc/./thread-self/root", Some("root ")),
            ("/proc/self/cwd/../x", Some("cwd ../x")),
            ("/proc/self/fd/3", None),
            ("/proc/1/root/etc", None),
            ("/procself/root", None),
        ] {
            let told = own_link(path).map(|(link, rest)| match link {
                Link::Root => format!("root {}", rest.display()),
                Link::Directory => format!("cwd {}", rest.display()),
            });
            assert_eq!(told.as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn the_clock_is_written_as_cedar_reads_it() {
        let now = Zone::default().now().now;
        assert!(now.len() == 24 && now.ends_with('Z'), "{now}");
    }
}
