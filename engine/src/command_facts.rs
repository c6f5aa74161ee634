//! What the machine tells of a command beyond its words: whether what it names is installed, and which remote and which branches git
//! would use.
//!
//! Decides what git's configuration means for a command. Who reads the files is the runner's affair, or a case's.

use std::collections::{BTreeMap, BTreeSet};

use palisade_grammar::{
    Command, CommandId, Cwd, Effect, EffectKind, Inventory, OpaqueReason, Peer, RemoteLocation, Resolved, Value,
    remote_location,
};

use crate::path::AbsolutePath;

/// Bytes of a repository's configuration that are read.
pub const MAX_CONFIGURATION: u64 = 64 * 1024;

/// The tags that a machine adds to a command's own.
pub(crate) const TAGS: [&str; 3] = [REMOTE_URL, REMOTE_PATH, REF];

/// The URLs of the remotes that a git command talks to.
const REMOTE_URL: &str = "remote-url";

/// The same URLs, if each names a directory of this machine. git needs no network then.
const REMOTE_PATH: &str = "remote-path";

/// The refs on the other side that a push changes.
const REF: &str = "ref";

/// What is known of one command besides its words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandFacts {
    /// What it would fetch is there already.
    pub installed: bool,
    /// It would fetch what a lock file names, and no more.
    pub locked: bool,
    /// Its words tell it to use no network, though it may all the same: pip fetches what a wheel names by its URL in spite of `--no-index`.
    pub offline: bool,
    /// Further tags of the command.
    pub tags: BTreeMap<String, BTreeSet<String>>,
    /// Where the remotes in the n-th effect lead, which the words call by their names or not at all.
    pub remotes: BTreeMap<usize, Vec<Remote>>,
}

/// Where a remote leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remote {
    /// To another machine.
    Peer(Peer),
    /// To a repository on this one. `below`: the path groups that have members there; `None`: any may have.
    Path {
        /// The repository.
        path: AbsolutePath,
        /// The path groups that have members below it.
        below: Option<BTreeSet<String>>,
    },
}

/// The part of a repository's configuration that says where git fetches and pushes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repository {
    /// The top of its working tree, from which relative URLs are meant.
    pub top: String,
    /// The branch that is checked out.
    pub branch: Option<String>,
    remotes: BTreeMap<String, Urls>,
    branches: BTreeMap<String, Upstream>,
    /// The URLs of its submodules.
    submodules: Vec<String>,
    /// `push.default`, in small letters.
    push_default: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Urls {
    fetch: Vec<String>,
    push: Vec<String>,
    /// `remote.NAME.push` or `remote.NAME.mirror` is set.
    maps: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Upstream {
    remote: Option<String>,
    push_remote: bool,
    merge: Option<String>,
}

impl CommandFacts {
    /// Whether the command needs no peer: git talks to directories of the machine alone, or what would be fetched is there. `asked`: a
    /// person has said yes to its words.
    #[must_use]
    pub fn stays_here(&self, asked: bool) -> bool {
        self.installed || self.offline && !asked || self.tags.contains_key(REMOTE_PATH)
    }
}

impl Repository {
    /// A repository with these remotes, one URL each.
    pub(crate) fn of(top: &str, branch: Option<String>, remotes: BTreeMap<String, String>) -> Self {
        let urls = |url| Urls { fetch: vec![url], ..Urls::default() };
        let remotes = remotes.into_iter().map(|(name, url)| (name, urls(url))).collect();
        Self { top: top.to_owned(), branch, remotes, ..Self::default() }
    }

    /// Reads a repository's configuration, that of its worktree (`config.worktree`), its `.gitmodules` and its `HEAD`. `None`: the
    /// configuration holds something that can lead elsewhere and is not followed, or that is not read here as git may read it.
    pub fn read(top: &str, configuration: &str, worktree: &str, modules: &str, head: &str) -> Option<Self> {
        let branch = head.trim_end().strip_prefix("ref: refs/heads/").map(str::to_owned);
        let mut repository = Self { top: top.to_owned(), branch, ..Self::default() };
        repository.lines(modules, true)?;
        repository.lines(configuration, false)?;
        repository.lines(worktree, false)?;
        Some(repository)
    }

    fn lines(&mut self, text: &str, modules: bool) -> Option<()> {
        let mut section: Option<(String, String)> = None;
        for line in text.lines().map(str::trim) {
            match line.chars().next() {
                None | Some('#' | ';') => {}
                Some('[') => section = Some(header(line)?),
                Some(_) => {
                    let (kind, name) = section.as_ref()?;
                    let (key, value) = line.split_once('=').unwrap_or((line, "true"));
                    if !modules || kind == "submodule" {
                        self.set(kind, name, &key.trim().to_ascii_lowercase(), value.trim())?;
                    }
                }
            }
        }
        Some(())
    }

    fn set(&mut self, section: &str, name: &str, key: &str, value: &str) -> Option<()> {
        let plain = !value.contains(['"', '\\', '#', ';']);
        match (section, key) {
            // These say where other configuration stands, or what a URL is replaced by.
            ("include" | "includeif" | "url", _) => return None,
            ("remote", "url" | "pushurl" | "push" | "mirror") => {
                let urls = self.remotes.entry(name.to_owned()).or_default();
                match key {
                    "url" => urls.fetch.push(plain.then(|| value.to_owned())?),
                    "pushurl" => urls.push.push(plain.then(|| value.to_owned())?),
                    _ => urls.maps = true,
                }
            }
            ("push", "default") if !plain => return None,
            ("remote", "pushdefault") => return None,
            ("submodule", "url") => self.submodules.push(plain.then(|| value.to_owned())?),
            ("push", "default") => self.push_default = Some(value.to_ascii_lowercase()),
            ("branch", "remote" | "merge" | "pushremote") => {
                let upstream = self.branches.entry(name.to_owned()).or_default();
                let value = plain.then(|| value.to_owned())?;
                match key {
                    "remote" => upstream.remote = Some(value),
                    "merge" => upstream.merge = Some(value),
                    _ => upstream.push_remote = true,
                }
            }
            _ if value.ends_with('\\') => return None, // it goes on in the next line
            _ => {}
        }
        Some(())
    }

    /// The remote that is meant if none is named.
    fn usual(&self, pushes: bool) -> Option<String> {
        let only = || self.remotes.keys().next().filter(|_| self.remotes.len() == 1).cloned();
        let Some(branch) = &self.branch else {
            // Whichever branch it is: nothing but the one remote can be meant.
            let agrees = |upstream: &Upstream| {
                !(pushes && upstream.push_remote)
                    && upstream.remote.as_ref().is_none_or(|name| Some(name) == only().as_ref())
            };
            return only().filter(|_| self.branches.values().all(agrees));
        };
        match self.branches.get(branch) {
            Some(upstream) if pushes && upstream.push_remote => None,
            Some(Upstream { remote: Some(remote), .. }) => Some(remote.clone()),
            _ => only().or_else(|| Some("origin".to_owned())),
        }
    }

    /// Whether each of its remotes is a directory of the machine.
    fn is_near(&self) -> bool {
        let mut urls = self.remotes.values().flat_map(|urls| urls.fetch.iter().chain(&urls.push));
        urls.all(|url| matches!(remote_location(url), Some(RemoteLocation::Path(_))))
    }

    /// The one URL of a remote.
    fn url(&self, remote: &str, pushes: bool) -> Option<&str> {
        let urls = self.remotes.get(remote)?;
        let pushed = if pushes && !urls.push.is_empty() { &urls.push } else { &urls.fetch };
        match pushed.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }

    /// The branch on the other side that a push without a refspec changes.
    fn usual_ref(&self, remote: &str) -> Option<String> {
        let branch = self.branch.as_ref()?;
        if self.remotes.get(remote).is_none_or(|urls| urls.maps) {
            return None;
        }
        match self.push_default.as_deref() {
            None | Some("simple" | "current") => Some(branch.clone()),
            Some("upstream" | "tracking") => Some(short(self.branches.get(branch)?.merge.as_deref()?)),
            Some(_) => None,
        }
    }
}

/// `[remote "origin"]`, as its kind in small letters and its name.
fn header(line: &str) -> Option<(String, String)> {
    let inner = line.strip_prefix('[')?;
    let (inner, rest) = inner.rsplit_once(']')?;
    if !rest.trim().is_empty() || inner.contains('\\') {
        return None; // a setting, or a comment, may stand in the same line
    }
    let Some((kind, name)) = inner.split_once(char::is_whitespace) else {
        return (!inner.contains('.')).then(|| (inner.to_ascii_lowercase(), String::new()));
    };
    let name = name.trim().strip_prefix('"')?.strip_suffix('"')?;
    (!name.contains('"')).then(|| (kind.to_ascii_lowercase(), name.to_owned()))
}

/// A ref as people write it: a branch by its name alone.
fn short(name: &str) -> String {
    name.strip_prefix("refs/heads/").unwrap_or(name).to_owned()
}

/// What earlier commands of a script leave of a repository's configuration and branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    All,
    Remotes,
    /// Programs of the workspace have run, where the kernel lets them lead no remote that is there to another host. What is known counts for
    /// directories alone, since git gets no right to connect then.
    Near,
    Nothing,
}

/// What a script knows of repositories: what the machine tells of those that are there, and what its own commands make of them.
struct Repositories<'k, K> {
    /// Looks up the repository that a directory belongs to.
    known: &'k mut K,
    /// By the tops of their working trees.
    made: BTreeMap<AbsolutePath, Option<Repository>>,
    /// The top of the one that was made last.
    last: Option<AbsolutePath>,
    left: Left,
}

impl<K: FnMut(&AbsolutePath) -> Option<Repository>> Repositories<'_, K> {
    fn at(&mut self, directory: &AbsolutePath) -> Option<Repository> {
        if let Some(made) =
            std::iter::once(directory.clone()).chain(directory.ancestors()).find_map(|top| self.made.get(&top))
        {
            return made.clone().filter(|made| self.left != Left::Near || made.is_near());
        }
        match self.left {
            Left::All => (self.known)(directory),
            Left::Remotes => (self.known)(directory).map(|known| Repository { branch: None, ..known }),
            Left::Near => {
                let known = (self.known)(directory).filter(Repository::is_near);
                known.map(|known| Repository { branch: None, ..known })
            }
            Left::Nothing => None,
        }
    }

    fn insert(&mut self, top: AbsolutePath, made: Option<Repository>) {
        self.last = Some(top.clone());
        self.made.insert(top, made);
    }

    /// The repository that the script made last, if all that it made lead to directories of this machine.
    fn made_last(&self) -> Option<AbsolutePath> {
        let near = self.made.values().all(|made| made.as_ref().is_some_and(Repository::is_near));
        self.last.clone().filter(|last| near && self.made.contains_key(last))
    }

    /// What `git init`, `git clone`, `git worktree add` and `git remote add` make, where their words tell all of it.
    fn make(&mut self, command: &Command, directory: &AbsolutePath) -> bool {
        let invocation = &command.invocation;
        let operands: Option<Vec<&str>> = invocation.operands.iter().map(|word| word.value.literal()).collect();
        let (Some(operands), Some(words)) = (operands, invocation.words.last()) else { return false };
        let has = |options: &[&str]| options.iter().any(|option| invocation.flags.contains(*option));
        let empty = |top: &AbsolutePath| Repository { top: top.as_str().to_owned(), ..Repository::default() };
        match (words.as_str(), operands.as_slice()) {
            ("git init", operands @ ([] | [_])) if !has(&["--separate-git-dir", "--template"]) => {
                let Some(top) = operands.first().map_or_else(|| Some(directory.clone()), |path| join(directory, path))
                else {
                    return false;
                };
                let is_there = self.at(&top).filter(|known| known.top == top.as_str());
                if is_there.is_none() && !has(&["--bare"]) {
                    let new = empty(&top);
                    self.insert(top, Some(new));
                }
                true
            }
            ("git clone", [url, rest @ ..])
                if !has(&["--bare", "--mirror", "--origin", "--config", "--separate-git-dir"]) =>
            {
                let name = url.trim_end_matches('/').trim_end_matches("/.git").trim_end_matches(".git");
                let name = rest.first().copied().or_else(|| name.rsplit(['/', ':']).next());
                let Some(top) = name.filter(|name| !name.is_empty()).and_then(|name| join(directory, name)) else {
                    return false;
                };
                // git writes the path of a repository down from the root.
                let from = match remote_location(url) {
                    Some(RemoteLocation::Path(path)) if path.starts_with('/') => Some(path),
                    Some(RemoteLocation::Path(path)) => Some(format!("{directory}/{path}")),
                    Some(RemoteLocation::Peer(_)) => Some((*url).to_owned()),
                    None => None,
                };
                let made = from.map(|url| Repository {
                    remotes: BTreeMap::from([("origin".to_owned(), Urls { fetch: vec![url], ..Urls::default() })]),
                    ..empty(&top)
                });
                self.insert(top, made);
                true
            }
            // A worktree has its repository's remotes.
            ("git worktree add", [path, ..]) => {
                let (Some(known), Some(top)) = (self.at(directory), join(directory, path)) else { return false };
                let made = Repository { top: top.as_str().to_owned(), branch: None, ..known };
                self.insert(top, Some(made));
                true
            }
            ("git remote add", [name, url]) if !has(&["--mirror"]) => {
                let Some(mut known) = self.at(directory) else { return false };
                let Some(top) = AbsolutePath::new(&known.top) else { return false };
                let urls = known.remotes.entry((*name).to_owned()).or_default();
                // Else it says that the remote is there, and changes nothing.
                if urls.fetch.is_empty() {
                    urls.fetch.push((*url).to_owned());
                }
                self.made.insert(top, Some(known));
                true
            }
            _ => false,
        }
    }
}

/// Where a command runs as its text says, from where the script starts: in what the script itself makes there are no links yet.
fn walked(command: &Command, from: &AbsolutePath) -> Option<AbsolutePath> {
    let Cwd::Known(steps) = &command.cwd else { return None };
    steps.iter().try_fold(from.clone(), |current, step| join(&current, step.to.literal()?))
}

/// A path from a directory, with each `..` taken as it is written.
fn join(directory: &AbsolutePath, path: &str) -> Option<AbsolutePath> {
    if path.starts_with(['~', '$']) {
        return None;
    }
    let from = if path.starts_with('/') { AbsolutePath::root() } else { directory.clone() };
    path.split('/').try_fold(from, |at, part| match part {
        "" | "." => Some(at),
        ".." => at.parent(),
        name => at.child(name),
    })
}

/// What git commands in a script do with remotes.
///
/// `from` is where the script starts, and `held` says whether the kernel keeps the settings of repositories. `directory` tells where a
/// command runs, if that is there, `repository` which repository a directory belongs to, and `resolve` where a URL leads.
pub fn remotes(
    inventory: &Inventory,
    from: &AbsolutePath,
    held: bool,
    mut directory: impl FnMut(&Command) -> Option<AbsolutePath>,
    mut repository: impl FnMut(&AbsolutePath) -> Option<Repository>,
    mut resolve: impl FnMut(&Repository, &str) -> Option<Remote>,
) -> BTreeMap<CommandId, CommandFacts> {
    let mut all = BTreeMap::new();
    let mut repositories = Repositories { known: &mut repository, made: BTreeMap::new(), last: None, left: Left::All };
    for command in inventory.commands() {
        let doubtful = |reason| matches!(reason, OpaqueReason::DynamicOption | OpaqueReason::UnknownOption);
        let of_it = || inventory.opaque().iter().filter(|item| item.command == Some(command.id));
        let plain = !of_it().any(|item| doubtful(item.reason)) && !is_elsewhere(command);
        let place = directory(command)
            .or_else(|| {
                walked(command, from).filter(|place| repositories.made.keys().any(|made| place.is_within(made)))
            })
            // Behind a `cd` that may fail. A wrong guess sends nothing: git has no right to connect then.
            .or_else(|| repositories.made_last().filter(|_| held && !matches!(command.cwd, Cwd::Known(_))));
        // Within a loop or a function, what stands below may have run before.
        let outside = repositories.left;
        let nested = command.depth > 0;
        if nested && outside != Left::Nothing {
            repositories.left = Left::Near;
        }
        if plain
            && (held || !nested)
            && let Some(told) = of_git(command, place.as_ref(), &mut repositories, &mut resolve)
        {
            all.insert(command.id, told);
        }
        repositories.left = outside;
        if plain && !nested && place.is_some_and(|place| repositories.make(command, &place)) {
            continue;
        }
        let unread = of_it().next().is_some();
        let left = if unread { Left::Nothing } else { after(command, repositories.left) };
        repositories.left = if held && left == Left::Nothing { Left::Near } else { left };
        match repositories.left {
            Left::All | Left::Remotes => {}
            Left::Near => repositories.made.retain(|_, made| made.as_ref().is_some_and(Repository::is_near)),
            Left::Nothing => repositories.made.clear(),
        }
    }
    all
}

/// Whether options or variables take a git command to another repository, or to other configuration.
fn is_elsewhere(command: &Command) -> bool {
    const ELSEWHERE: [&str; 6] = ["--git-dir", "--work-tree", "--namespace", "--config-env", "--exec-path", "--repo"];
    // Sections of settings that say nothing of remotes, branches and directories.
    const BESIDES: [&str; 8] = ["protocol", "user", "author", "committer", "color", "advice", "commit", "gc"];
    let invocation = &command.invocation;
    let besides = |setting: &String| setting.split_once('.').is_some_and(|(section, _)| BESIDES.contains(&section));
    let settings = || invocation.options.get("-c").is_some_and(|settings| settings.iter().all(besides));
    invocation.flags.iter().any(|flag| ELSEWHERE.contains(&flag.as_str()) || flag == "-c" && !settings())
        || command.assignments.iter().any(|assignment| assignment.name.starts_with("GIT_"))
}

fn after(command: &Command, left: Left) -> Left {
    const KEEP: [&str; 21] = [
        "add",
        "am",
        "apply",
        "cherry-pick",
        "clean",
        "commit",
        "fetch",
        "gc",
        "merge",
        "mv",
        "notes",
        "pull",
        "push",
        "reset",
        "restore",
        "revert",
        "rm",
        "stash",
        "tag",
        "diff",
        "log",
    ];
    let invocation = &command.invocation;
    let builtin = matches!(command.resolved, Resolved::Builtin | Resolved::None);
    let git = invocation.words.first().is_some_and(|name| name == "git");
    let subcommand = invocation.words.get(1).and_then(|words| words.strip_prefix("git "));
    if !git && command.effects.iter().any(may_change_configuration) {
        return Left::Nothing;
    }
    match subcommand.filter(|_| git) {
        _ if invocation.groups.contains("read-only") => left,
        Some(name) if KEEP.contains(&name) => left,
        Some("checkout" | "switch" | "branch" | "rebase") if left == Left::All => Left::Remotes,
        Some("checkout" | "switch" | "branch" | "rebase") => left,
        Some("config") if sets_no_remote(command) => left,
        None if builtin || !changes_settings(command) => left,
        _ => Left::Nothing,
    }
}

/// Whether it may be a write to a repository's configuration: by a redirection of a program that changes nothing itself, say, or from a
/// directory below `.git`.
fn may_change_configuration(effect: &Effect) -> bool {
    const NAMES: [&str; 3] = [".git", "config", "config.worktree"];
    let changes = matches!(effect.kind, EffectKind::Write | EffectKind::Delete);
    let may_be = |path: &str| path.split('/').any(|part| NAMES.contains(&part));
    changes && (effect.tree || effect.target.value.literal().is_none_or(may_be))
}

/// Whether a `git config` is about something that says nothing of remotes.
fn sets_no_remote(command: &Command) -> bool {
    const SECTIONS: [&str; 11] =
        ["user", "author", "committer", "init", "commit", "color", "advice", "diff", "merge", "pull", "log"];
    let key = command.invocation.operands.iter().find_map(|word| word.value.literal().filter(|word| *word != "set"));
    let section = key.and_then(|key| key.split_once('.')).map(|(section, _)| section);
    section.is_some_and(|section| SECTIONS.contains(&section)) && command.invocation.operands.len() <= 3
}

/// Whether a program may change a repository: one that runs code, or that touches more than files with other names.
fn changes_settings(command: &Command) -> bool {
    const MAKE: [&str; 3] = ["mkdir", "touch", "sleep"];
    let is_known = command.invocation.words.first().is_some_and(|name| MAKE.contains(&name.as_str()));
    let touches = |target: &Value| target.literal().is_none_or(|path| path.split('/').any(|part| part == ".git"));
    !is_known || command.effects.iter().any(|effect| effect.tree || touches(&effect.target.value))
}

fn of_git<K: FnMut(&AbsolutePath) -> Option<Repository>>(
    command: &Command,
    directory: Option<&AbsolutePath>,
    repositories: &mut Repositories<'_, K>,
    resolve: &mut impl FnMut(&Repository, &str) -> Option<Remote>,
) -> Option<CommandFacts> {
    let invocation = &command.invocation;
    let subcommand = invocation.words.first().filter(|name| *name == "git").and(invocation.words.get(1))?;
    let subcommand = subcommand.strip_prefix("git ")?;
    let pushes = subcommand == "push";
    let modules = invocation.words.last().is_some_and(|words| words == "git submodule update");
    if !modules && !matches!(subcommand, "push" | "fetch" | "pull" | "ls-remote" | "clone") {
        return None;
    }
    let mut told = CommandFacts::default();
    let operands: Option<Vec<&str>> = invocation.operands.iter().map(|word| word.value.literal()).collect();
    let operands = operands?;
    let named = operands.first().copied();
    let repository = directory.filter(|_| subcommand != "clone").and_then(|directory| repositories.at(directory));
    let many = invocation.flags.contains("--all") && !pushes || invocation.flags.contains("--multiple");
    let is_place = named.is_some_and(|text| text.contains([':', '/']) || subcommand == "clone");
    let urls: Option<Vec<String>> = match (named, &repository) {
        (Some(text), _) if is_place && !modules => Some(vec![text.to_owned()]),
        (_, None) => None,
        // The repository itself.
        (Some("."), Some(known)) if !known.remotes.contains_key(".") => Some(vec![".".to_owned()]),
        // What stands below a submodule is not known before it is there; the connections are asked about where they are made.
        (_, Some(known)) if modules => Some(known.submodules.clone()),
        (_, Some(known)) if many => {
            known.remotes.keys().map(|name| known.url(name, pushes).map(str::to_owned)).collect()
        }
        (Some(name), Some(known)) => known.url(name, pushes).map(|url| vec![url.to_owned()]),
        (None, Some(known)) => known.usual(pushes).and_then(|name| Some(vec![known.url(&name, pushes)?.to_owned()])),
    };
    if let Some(urls) = &urls {
        told.tags.insert(REMOTE_URL.to_owned(), urls.iter().flat_map(|url| spellings(url)).collect());
        // The command has no effect on the path of a URL that its own words give.
        let is_asked_about = |url: &String| !is_place || !url.contains("://");
        let is_path =
            |url: &String| matches!(remote_location(url), Some(RemoteLocation::Path(_))) && is_asked_about(url);
        if !urls.is_empty() && urls.iter().all(is_path) {
            told.tags.insert(REMOTE_PATH.to_owned(), urls.iter().cloned().collect());
        }
    }
    if let (Some(urls), Some(known), true) = (&urls, &repository, modules || !is_place)
        && let Some(leads) = urls.iter().map(|url| resolve(known, url)).collect::<Option<Vec<Remote>>>()
    {
        let effects = command.effects.iter().enumerate();
        let unnamed = effects.filter(|(_, effect)| effect.kind == EffectKind::Connect && effect.peer.is_none());
        told.remotes.extend(unnamed.map(|(index, _)| (index, leads.clone())));
    }
    if pushes
        && let Some(refs) =
            pushed(invocation.flags.iter().map(String::as_str).collect(), &operands, repository.as_ref())
    {
        told.tags.insert(REF.to_owned(), refs);
    }
    (told != CommandFacts::default()).then_some(told)
}

/// The refs on the other side that a push changes; `None` if that is not known.
fn pushed(flags: BTreeSet<&str>, operands: &[&str], repository: Option<&Repository>) -> Option<BTreeSet<String>> {
    if ["--all", "--branches", "--mirror", "--prune"].iter().any(|flag| flags.contains(flag)) {
        return None;
    }
    let mut refs = BTreeSet::new();
    if flags.contains("--tags") || flags.contains("--follow-tags") {
        refs.insert("refs/tags/*".to_owned());
    }
    let remote = operands.first().copied();
    let is_place = remote.is_some_and(|text| text.contains([':', '/']) || text == ".");
    let (_, refspecs) = operands.split_first().unwrap_or((&"", &[]));
    if refspecs.is_empty() {
        if flags.contains("--tags") {
            return Some(refs);
        }
        let known = repository?;
        let name = remote.map(str::to_owned).or_else(|| known.usual(true))?;
        refs.insert(known.usual_ref(&name)?);
        return Some(refs);
    }
    // A name alone is pushed to the same one, unless the configuration maps it.
    let maps = |known: &Repository| remote.and_then(|name| known.remotes.get(name)).is_none_or(|urls| urls.maps);
    let same = is_place || repository.is_some_and(|known| !maps(known));
    let mut words = refspecs.iter();
    while let Some(refspec) = words.next() {
        let refspec = refspec.strip_prefix('+').unwrap_or(refspec);
        let name = match (refspec, refspec.split_once(':')) {
            ("tag", _) => format!("refs/tags/{}", words.next()?),
            (_, Some((_, ""))) | (":", _) => return None, // all that match
            (_, Some((_, to))) => short(to),
            (name, None) if flags.contains("--delete") => short(name),
            ("HEAD" | "@", None) => repository.filter(|_| same)?.branch.clone()?,
            (name, None) if same && !name.contains(['~', '^', '{']) => short(name),
            _ => return None,
        };
        if name.contains('*') {
            return None;
        }
        refs.insert(name);
    }
    Some(refs)
}

/// A URL without who logs in, and as `host/path`, which is the same over ssh and https.
fn spellings(url: &str) -> BTreeSet<String> {
    let bare = match url.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
            let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
            format!("{scheme}://{host}/{path}")
        }
        None => match url.split_once(':') {
            Some((before, path)) if !before.contains('/') => {
                format!("{}:{path}", before.rsplit_once('@').map_or(before, |(_, host)| host))
            }
            _ => url.to_owned(),
        },
    };
    let (host, path) = match bare.split_once("://") {
        Some((_, rest)) => rest.split_once('/').unwrap_or((rest, "")),
        None => bare.split_once(':').filter(|(host, _)| !host.contains('/')).unwrap_or(("", &bare)),
    };
    let host = host.split(':').next().unwrap_or_default().to_ascii_lowercase();
    let path = path.trim_matches('/').trim_end_matches(".git");
    let plain = if host.is_empty() { path.to_owned() } else { format!("{host}/{path}") };
    [bare, plain].into_iter().collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const MODULES: &str = "[submodule \"s\"]\n\tpath = s\n\turl = https://c/s\n";

    const CONFIGURATION: &str = r#"
[core]
	repositoryformatversion = 0
[remote "origin"]
	url = git@github.com:acme/app.git
	fetch = +refs/heads/*:refs/remotes/origin/*
[remote "near"]
	url = ../near
[remote "two"]
	url = https://a/x
	pushurl = https://u:p@b/x
[remote "mapped"]
	url = https://a/y
	push = refs/heads/*:refs/heads/x/*
[branch "topic"]
	remote = origin
	merge = refs/heads/main
"#;

    fn told(configuration: &str, script: &str) -> String {
        told_where(false, configuration, script)
    }

    fn told_where(held: bool, configuration: &str, script: &str) -> String {
        let known = Repository::read("/r", configuration, "", MODULES, "ref: refs/heads/topic\n");
        let inventory = palisade_grammar::inventory(script.as_bytes());
        let resolve = |_: &Repository, url: &str| match remote_location(url) {
            Some(RemoteLocation::Peer(peer)) => Some(Remote::Peer(peer)),
            Some(RemoteLocation::Path(path)) => Some(Remote::Path {
                path: AbsolutePath::new(&format!("/{}", path.trim_start_matches("../")))?,
                below: None,
            }),
            None => None,
        };
        let from = AbsolutePath::new("/r").unwrap();
        let here = |command: &Command| walked(command, &from).filter(|place| *place == from);
        let all =
            remotes(&inventory, &from, held, here, |place| known.clone().filter(|_| place.as_str() == "/r"), resolve);
        let Some(last) = inventory.commands().last().and_then(|command| all.get(&command.id)) else {
            return String::new();
        };
        let mut shown: Vec<String> = last.tags.iter().map(|(name, values)| format!("{name} {values:?}")).collect();
        shown.extend(last.remotes.values().flatten().map(|remote| match remote {
            Remote::Peer(peer) => format!("{}:{}", peer.host, peer.port),
            Remote::Path { path, .. } => path.to_string(),
        }));
        shown.join(" | ").replace('"', "")
    }

    #[test]
    fn remotes_and_refs_of_git() {
        let app = "remote-url {github.com/acme/app, github.com:acme/app.git}";
        let with = |refs: &str| format!("ref {{{refs}}} | {app} | github.com:22");
        for (script, expected) in [
            ("git fetch", format!("{app} | github.com:22")),
            ("git pull --rebase origin main", format!("{app} | github.com:22")),
            ("git push", with("topic")),
            ("git push origin main", with("main")),
            ("git push -u origin HEAD", with("topic")),
            ("git push origin topic:refs/heads/main v1:refs/tags/v1", with("main, refs/tags/v1")),
            ("git push origin +x:main", with("main")),
            ("git push origin :main", with("main")),
            ("git push origin --delete main", with("main")),
            ("git push origin tag v1", with("refs/tags/v1")),
            ("git push --tags origin", with("refs/tags/*")),
            ("git push --all origin", format!("{app} | github.com:22")),
            ("git push origin 'refs/heads/*:refs/heads/*'", format!("{app} | github.com:22")),
            ("git push origin \"$X\"", String::new()),
            ("git push origin main~1", format!("{app} | github.com:22")),
            ("git push two x", "ref {x} | remote-url {b/x, https://b/x} | b:443".to_owned()),
            ("git push mapped x", "remote-url {a/y, https://a/y} | a:443".to_owned()),
            ("git push mapped x:y", "ref {y} | remote-url {a/y, https://a/y} | a:443".to_owned()),
            ("git fetch near", "remote-path {../near} | remote-url {../near} | /near".to_owned()),
            ("git push . HEAD:x", "ref {x} | remote-path {.} | remote-url {.}".to_owned()),
            ("git push file:///srv/r.git x", "ref {x} | remote-url {file:///srv/r.git, srv/r}".to_owned()),
            ("git push /srv/r.git x", "ref {x} | remote-path {/srv/r.git} | remote-url {/srv/r.git, srv/r}".to_owned()),
            (
                "git push https://u:p@github.com/acme/app.git x",
                "ref {x} | remote-url {github.com/acme/app, https://github.com/acme/app.git}".to_owned(),
            ),
            ("git clone git@github.com:acme/app.git", app.to_owned()),
            ("git add -A && git commit -m x && git push", with("topic")),
            ("git checkout -b y && git push origin y", with("y")),
            // Without a branch the usual remote is not known, where there are several.
            ("git checkout -b y && git push", String::new()),
            ("git submodule update --init", "remote-url {c/s, https://c/s} | c:443".to_owned()),
            ("git remote set-url origin x && git push origin y", String::new()),
            ("./x && git push origin y", String::new()),
            ("git -C sub push origin y", String::new()),
            ("git -C . push origin y", with("y")),
            ("git -C . -C sub push origin y", String::new()),
            ("git clone https://h/a && cd a && git add . && cd .. && git push origin y", with("y")),
            ("source x; git push origin y", String::new()),
            ("for i in 1 2; do git push origin y; git remote set-url origin x; done", String::new()),
            ("f() { git push origin y; }; git remote set-url origin x; f", String::new()),
            ("git -c url.x.insteadOf=y push origin y", String::new()),
            // What the script itself makes.
            ("git clone https://h/a && cd a && git push", "remote-url {h/a, https://h/a} | h:443".to_owned()),
            (
                "git init n && git -C n remote add o https://h/a && git -C n push o x",
                "ref {x} | remote-url {h/a, https://h/a} | h:443".to_owned(),
            ),
            (
                "git init -q n; git -C n config user.name x; git -C n remote add o ../near; git -C n fetch",
                "remote-path {../near} | remote-url {../near} | /near".to_owned(),
            ),
            (
                "git clone -q /srv/near n && git -C n push origin x",
                "ref {x} | remote-path {/srv/near} | remote-url {/srv/near, srv/near} | /srv/near".to_owned(),
            ),
            ("git remote add origin https://h/a && git push origin y", with("y")),
            ("git init --bare ../o && git push origin y", with("y")),
            ("git worktree add -b w w && cd w && git push origin w", with("w")),
            ("git remote add p https://h/a; git remote set-url p https://h/b; git push p y", String::new()),
            ("git init n && ./x && git -C n remote add o https://h/a && git -C n push o x", String::new()),
            ("mkdir -p src && git push origin y", with("y")),
            ("mkdir -p .git && git push origin y", String::new()),
            ("git config user.name x && git push origin y", with("y")),
            // What changes nothing itself may write all the same.
            ("cat x > .git/config; git push origin y", String::new()),
            ("printf a >> .git/config && git push origin y", String::new()),
            ("(cd .git; cat ../x > config); git push origin y", String::new()),
            ("echo x > \"$f\"; git push origin y", String::new()),
            ("echo x > notes; git push origin y", with("y")),
            ("git config remote.origin.pushurl x && git push origin y", String::new()),
        ] {
            assert_eq!(told(CONFIGURATION, script), expected, "{script}");
        }
    }

    #[test]
    fn what_own_code_leaves_of_remotes() {
        const NEAR: &str = "[remote \"o\"]\n\turl = ../near\n[branch \"topic\"]\n\tremote = o\n";
        const FAR: &str = "[remote \"o\"]\n\turl = https://h/a\n";
        let near = "remote-path {../near} | remote-url {../near} | /near";
        for (held, configuration, script, expected) in [
            (false, NEAR, "git checkout main && git push", near),
            (true, NEAR, "./x && git push", near),
            (false, NEAR, "./x && git push", ""),
            (true, NEAR, "for i in 1 2; do git push; done", near),
            (false, NEAR, "for i in 1 2; do git push; done", ""),
            (true, FAR, "(git push o)", ""),
            (true, FAR, "./x && git push o", ""),
            (true, FAR, "git checkout main && git push", "remote-url {h/a, https://h/a} | h:443"),
            (true, "[remote \"o\"]\n\turl = ../near\n[remote \"p\"]\n\turl = ../near\n", "./x && git push", ""),
        ] {
            assert_eq!(told_where(held, configuration, script), expected, "{held} {script}");
        }
    }

    #[test]
    fn a_configuration_that_leads_elsewhere_is_not_taken() {
        for line in [
            "[include]\n\tpath = x",
            "[url \"x\"]\n\tinsteadOf = y",
            "[includeIf \"gitdir:x\"]\npath=x",
            "[remote \"origin\"] url = z",
            "[remote.origin]\nurl = x",
            "[remote]\n\tpushDefault = near",
            "[x]\n\ty = z\\",
            "[remote \"origin\"]\n\turl = \"a\\\"b\"",
        ] {
            assert_eq!(Repository::read("/r", CONFIGURATION, &format!("{line}\n"), "", ""), None, "{line}");
        }
        let two = format!("{CONFIGURATION}\n[remote \"origin\"]\n\turl = https://other/x\n");
        assert_eq!(told(&two, "git fetch"), "", "of two URLs none is the one");
        assert_eq!(
            told(&format!("{CONFIGURATION}[push]\n\tdefault = matching\n"), "git push origin"),
            "remote-url {github.com/acme/app, github.com:acme/app.git} | github.com:22"
        );
        assert!(Repository::read("/r", CONFIGURATION, "", "", "0123").unwrap().branch.is_none());
    }
}
