//! Whose child a process is: which program each process of the session has become, and which variables that program had.
//!
//! The kernel tells a process's parent; which program the parent is, we know because we let it be executed. A process whose
//! ancestors are gone is nobody's child any more: then nothing is known of what is above it.

use std::cell::OnceCell;
use std::collections::hash_map::RandomState;
use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::hash::BuildHasher;
use std::io::Read as _;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use palisade_engine::{AbsolutePath, Facts};
use palisade_grammar::Inventory;
use palisade_sandbox::{ProcessStat, leader};

use super::preapproved_commands::Match;
use crate::environment::is_bookkeeping;
use crate::facts::real_path;

/// Processes that are remembered; those that have ended are forgotten first.
const MAX_IMAGES: usize = 4096;

/// Bytes of a process's words that are read to tell whether it is another one's copy: more than any program is given.
const MAX_WORDS: u64 = 6 << 20;

/// Bytes of words and names of variables that are kept of all processes of a session.
const MAX_KEPT: usize = 64 << 20;

/// Forks between a process and one that is known.
const MAX_GENERATIONS: usize = 64;

/// A program that a process has become.
#[derive(Clone, Debug, Default)]
pub(super) struct Image {
    /// What it is called, its interpreters with it.
    names: Arc<BTreeSet<String>>,
    /// Its own name, if it is what that says: it answers for the variables that it sets.
    setter: String,
    /// The program whose parts may connect for it where that program may; empty for none.
    pub(super) lends: String,
    /// The command of a script that it is.
    pub(super) granted: Option<Match>,
    /// The script that started it, or what started it, if that is known.
    pub(super) script: Option<u64>,
    /// When its process began.
    since: u64,
    /// When the process became this program, in the same clock ticks.
    executed: u64,
    /// The programs above it.
    above: Arc<BTreeSet<String>>,
    /// Its variables.
    variables: Arc<HashMap<Vec<u8>, u64>>,
    /// Of those that are not what the session's shell began with: the trusted program that set each, if one did.
    setters: Arc<HashMap<Vec<u8>, String>>,
    /// What it was executed as, if it reads from a pipe.
    pub(super) reads: Option<Arc<PipeReader>>,
}

/// A program that reads from a pipe whose writer nobody knows.
#[derive(Debug)]
pub(super) struct PipeReader {
    /// What it was judged as.
    pub(super) names: Vec<Guise>,
    /// Where it stands; none if that is not known.
    pub(super) cwd: Option<PathBuf>,
    pub(super) approved: bool,
    /// The pipe, if that has no name.
    pub(super) pipe: Option<u64>,
    /// How large the crowd was that it was last judged with.
    pub(super) crowd: AtomicUsize,
}

/// A program under one of its names.
#[derive(Debug)]
pub(super) struct Guise {
    pub(super) words: Vec<Vec<u8>>,
    pub(super) above: Option<BTreeSet<String>>,
}

impl Image {
    /// A program under these names.
    pub(super) fn new(names: BTreeSet<String>, setter: String, granted: Option<Match>, script: Option<u64>) -> Self {
        Self { names: Arc::new(names), setter, granted, script, ..Self::default() }
    }

    /// Bytes that it takes which the agent chose.
    fn weight(&self) -> usize {
        let words = |guise: &Guise| guise.words.iter().map(Vec::len).sum::<usize>();
        let read: usize = self.reads.iter().flat_map(|reader| &reader.names).map(words).sum();
        read + self.variables.keys().map(Vec::len).sum::<usize>()
    }

    /// It, and what is above it.
    pub(super) fn with_above(&self) -> BTreeSet<String> {
        self.above.iter().chain(self.names.iter()).cloned().collect()
    }
}

/// A variable that a program gets with another value than before.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Change {
    /// Its name.
    pub(super) name: String,
    /// Its value.
    pub(super) value: Vec<u8>,
    /// The trusted program that set it; empty for the agent's own script, and for any other program.
    pub(super) setter: String,
}

/// Where a process comes from, as far as that tells which script started it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProcessOrigin {
    /// It is the session's shell.
    Shell,
    /// The shell forked it, or what it descends from, at this time.
    Fork(u64),
    /// It has lost its parent, and began at this time.
    Orphan(u64),
    /// It is a program of this script, or a fork of one.
    Program(Option<u64>),
    /// Nobody can say.
    Unknown,
}

/// What starts a program.
#[derive(Clone, Debug)]
pub(super) enum Parent {
    /// The session's shell, from the text of a script.
    Shell,
    /// A program.
    Image(Image),
    /// Nobody can say.
    Lost,
}

impl Parent {
    /// The trusted program that sets variables for those that it starts; empty for any other.
    pub(super) fn setter(&self) -> String {
        match self {
            Self::Shell | Self::Lost => String::new(),
            Self::Image(image) => image.setter.clone(),
        }
    }
}

impl Parent {
    /// Whether it has a right to connect as this program, which a part of that may use.
    pub(super) fn lends_to(&self, name: &str) -> bool {
        matches!(self, Self::Image(image) if !name.is_empty() && image.lends == name)
    }
}

/// A process and those above it, up to the session's shell or the first that has become a program, as the kernel told of them when it was
/// asked.
#[derive(Debug)]
pub(super) struct Ancestry {
    /// The process; none where that cannot be told.
    first: Option<i32>,
    /// When each of those began that have become nothing since they were forked, the process itself first.
    below: Vec<u64>,
    top: Top,
}

/// What is above them.
#[derive(Clone, Copy, Debug)]
enum Top {
    /// The session's shell.
    Shell,
    /// A program, in the process of this number that began at this time.
    Image(i32, u64),
    /// Nobody that is known.
    Nobody,
}

impl Ancestry {
    /// When the process itself began.
    fn since(&self) -> Option<u64> {
        let of_image = match self.top {
            Top::Image(_, since) => Some(since),
            Top::Shell | Top::Nobody => None,
        };
        self.below.first().copied().or(of_image)
    }
}

/// What is above a process that asks to become a program.
#[derive(Debug)]
pub(super) struct Lineage {
    pub(super) parent: Parent,
    /// The process, and when it began; none where that was not looked at.
    process: Option<(i32, u64)>,
}

impl Lineage {
    /// When the process of this number began, if it is the one that was looked at.
    pub(super) fn since(&self, process: i32) -> Option<u64> {
        self.process.filter(|(number, _)| *number == process).map(|(_, since)| since)
    }
}

#[derive(Debug)]
pub(super) struct Images {
    /// The session's shell; none once it has made way for a program.
    shell: i32,
    /// What the shell runs, by which copies of it are known after it is gone.
    shell_image: OnceCell<Identity>,
    known: HashMap<i32, Image>,
    /// The bytes that these take.
    kept: usize,
    /// The variables of the session's shell.
    base: Arc<HashMap<Vec<u8>, u64>>,
    hasher: RandomState,
}

impl Images {
    pub(super) fn new(environment: &[Vec<u8>]) -> Self {
        let hasher = RandomState::new();
        let base = Arc::new(variables(&hasher, environment));
        Self { shell: 0, shell_image: OnceCell::new(), known: HashMap::new(), kept: 0, base, hasher }
    }

    pub(super) fn launched(&mut self, shell: i32) {
        self.shell = shell;
        self.shell_image = OnceCell::new();
        self.known.clear();
        self.kept = 0;
    }

    /// The session's shell, if it has not made way for a program.
    pub(super) fn shell(&self) -> Option<i32> {
        (self.shell != 0).then_some(self.shell)
    }

    /// The process of this thread and those above it.
    pub(super) fn ancestry(&self, thread: i32) -> Ancestry {
        let mut ancestry = Ancestry { first: leader(thread), below: Vec::new(), top: Top::Nobody };
        let Some(mut process) = ancestry.first else { return ancestry };
        for _ in 0..MAX_GENERATIONS {
            if process == self.shell {
                ancestry.top = Top::Shell;
                break;
            }
            let Ok(stat) = ProcessStat::of(process) else { break };
            if self.known.get(&process).is_some_and(|image| image.since == stat.start) {
                ancestry.top = Top::Image(process, stat.start);
                break;
            }
            ancestry.below.push(stat.start);
            if stat.parent <= 1 {
                break;
            }
            process = stat.parent;
        }
        ancestry
    }

    /// What such a process is, or whose child, if it has not become anything itself.
    pub(super) fn lineage(&self, ancestry: &Ancestry) -> Lineage {
        self.look_at_shell();
        let Some(first) = ancestry.first else { return Lineage { parent: Parent::Lost, process: None } };
        Lineage { parent: self.parent(first, ancestry), process: ancestry.since().map(|since| (first, since)) }
    }

    fn parent(&self, first: i32, ancestry: &Ancestry) -> Parent {
        let image = match ancestry.top {
            Top::Shell => return Parent::Shell,
            Top::Image(process, _) => self.known.get(&process).map(|image| (process, image)),
            Top::Nobody => None,
        };
        if let Some((process, image)) = image {
            // When the oldest of the forks on the way up was made. One that is older than its parent's program runs on with what the parent
            // was before.
            let oldest = ancestry.below.iter().copied().min().unwrap_or(u64::MAX);
            let is_of_image = oldest > image.executed
                || oldest == image.executed && Identity::of(first).is_some_and(|it| Identity::of(process) == Some(it));
            if process == first || is_of_image {
                return Parent::Image(image.clone());
            }
        }
        // A copy of the shell that has lost its parent still runs the script's text. Whoever else runs the same file with the same
        // words is held to what the agent may write.
        let is_copy = self.shell_image.get().is_some_and(|shell| Identity::of(first).as_ref() == Some(shell));
        if is_copy { Parent::Shell } else { Parent::Lost }
    }

    /// Where such a process comes from.
    pub(super) fn source(&self, ancestry: &Ancestry) -> ProcessOrigin {
        match (ancestry.top, ancestry.below.last()) {
            (Top::Shell, forked) => forked.map_or(ProcessOrigin::Shell, |forked| ProcessOrigin::Fork(*forked)),
            (Top::Image(process, _), _) => {
                ProcessOrigin::Program(self.known.get(&process).and_then(|image| image.script))
            }
            (Top::Nobody, _) => ancestry.since().map_or(ProcessOrigin::Unknown, ProcessOrigin::Orphan),
        }
    }

    /// Remembers what the shell runs, as long as it does: it is asked about last when it makes way for a program.
    fn look_at_shell(&self) {
        if self.shell != 0
            && self.shell_image.get().is_none()
            && let Some(image) = Identity::of(self.shell)
        {
            let _first = self.shell_image.set(image);
        }
    }

    /// The variables that are not what the parent had, but for those that every shell keeps by itself.
    pub(super) fn changes(&self, parent: &Parent, environment: &[Vec<u8>]) -> Vec<Change> {
        let had = match parent {
            Parent::Shell | Parent::Lost => &self.base,
            Parent::Image(image) => &image.variables,
        };
        let setter = parent.setter();
        self.differing(had, environment).map(|(name, value)| Change::new(name, value, setter.clone())).collect()
    }

    /// The variables that are not what the session's shell began with, whoever of those above changed them.
    pub(super) fn changes_since_start(&self, parent: &Parent, environment: &[Vec<u8>]) -> Vec<Change> {
        let differing = self.differing(&self.base, environment);
        differing.map(|(name, value)| Change::new(name, value, self.setter_of(parent, name, value))).collect()
    }

    fn differing<'e>(
        &'e self,
        had: &'e HashMap<Vec<u8>, u64>,
        environment: &'e [Vec<u8>],
    ) -> impl Iterator<Item = (&'e [u8], &'e [u8])> {
        let entries = environment.iter().map(|entry| split(entry));
        entries.filter(|(name, value)| {
            !is_bookkeeping(name) && had.get(*name).is_none_or(|hash| *hash != self.hasher.hash_one(value))
        })
    }

    /// The trusted program that gave a variable this value.
    fn setter_of(&self, parent: &Parent, name: &[u8], value: &[u8]) -> String {
        match parent {
            Parent::Image(image) if image.variables.get(name) == Some(&self.hasher.hash_one(value)) => {
                image.setters.get(name).cloned().unwrap_or_default()
            }
            parent => parent.setter(),
        }
    }

    /// The programs that read from pipes now.
    pub(super) fn readers(&self) -> Vec<Arc<PipeReader>> {
        let reading = self.known.iter().filter_map(|(process, image)| Some((*process, image, image.reads.clone()?)));
        reading
            .filter(|(process, image, _)| ProcessStat::may_live(*process, image.since))
            .map(|(_, _, reader)| reader)
            .collect()
    }

    /// A process, which began at `since`, is in another one's hands: its program answers for no variable that it sets.
    pub(super) fn traced(&mut self, process: i32, since: u64) {
        let Parent::Image(image) = self.lineage(&self.ancestry(process)).parent else { return };
        let executed = if image.since == since { image.executed } else { since };
        let (setter, lends) = (String::new(), String::new());
        let image = Image { setter, lends, granted: None, reads: image.reads.clone(), since, executed, ..image };
        self.kept += image.weight();
        if let Some(before) = self.known.insert(process, image) {
            self.kept -= before.weight();
        }
    }

    /// A process, which began at `since`, has executed a program, started by `parent`. Whether there is room to remember it: whoever is
    /// not remembered must not run.
    #[must_use]
    pub(super) fn became(
        &mut self,
        process: i32,
        since: u64,
        parent: &Parent,
        image: Image,
        environment: &[Vec<u8>],
    ) -> bool {
        let above = match parent {
            Parent::Shell => Arc::default(),
            Parent::Image(before) => Arc::new(before.with_above()),
            Parent::Lost => Arc::new(self.known.values().flat_map(|image| image.names.iter().cloned()).collect()),
        };
        if process == self.shell {
            // There will be no other.
            self.shell = 0;
        }
        let setter = |(name, value): (&[u8], &[u8])| (name.to_vec(), self.setter_of(parent, name, value));
        let set = self.differing(&self.base, environment).map(setter).filter(|(_, setter)| !setter.is_empty());
        let setters = Arc::new(set.collect());
        let variables = Arc::new(variables(&self.hasher, environment));
        let image = Image { since, executed: ProcessStat::now(), above, variables, setters, ..image };
        let weight = image.weight();
        if self.known.len() >= MAX_IMAGES || self.kept + weight > MAX_KEPT {
            self.known.retain(|process, image| ProcessStat::may_live(*process, image.since));
            self.kept = self.known.values().map(Image::weight).sum();
        }
        if self.kept + weight > MAX_KEPT {
            return false;
        }
        self.kept += weight;
        if let Some(before) = self.known.insert(process, image) {
            self.kept -= before.weight();
        }
        true
    }
}

impl Change {
    fn new(name: &[u8], value: &[u8], setter: String) -> Self {
        Self { name: String::from_utf8_lossy(name).into_owned(), value: value.to_vec(), setter }
    }
}

/// What a process runs, its words with it.
#[derive(Debug, PartialEq, Eq)]
struct Identity {
    file: PathBuf,
    words: Vec<u8>,
}

impl Identity {
    fn of(process: i32) -> Option<Self> {
        let file = std::fs::read_link(format!("/proc/{process}/exe")).ok()?;
        // A process says itself where its words lie (prctl(2), PR_SET_MM), and how many there are.
        let mut words = Vec::new();
        File::open(format!("/proc/{process}/cmdline")).ok()?.take(MAX_WORDS + 1).read_to_end(&mut words).ok()?;
        (words.len() as u64 <= MAX_WORDS).then_some(Self { file, words })
    }
}

fn variables(hasher: &RandomState, environment: &[Vec<u8>]) -> HashMap<Vec<u8>, u64> {
    let hashed = |entry: &Vec<u8>| {
        let (name, value) = split(entry);
        (name.to_vec(), hasher.hash_one(value))
    };
    environment.iter().map(hashed).collect()
}

/// An entry without `=` is a name of nothing, which some programs make.
fn split(entry: &[u8]) -> (&[u8], &[u8]) {
    match entry.iter().position(|byte| *byte == b'=') {
        Some(at) => (entry.get(..at).unwrap_or_default(), entry.get(at + 1..).unwrap_or_default()),
        None => (entry, &[]),
    }
}

/// What operands are that mean something else to every process: below `/proc/self`, and such as `/dev/fd/63`, which bash makes
/// of `<(…)`. That is the file that the caller's descriptor is open on, or nothing where it is a pipe.
pub(super) fn name_descriptors(thread: i32, inventory: &Inventory, facts: &mut Facts) {
    let Some(command) = inventory.commands().first() else { return };
    for (index, effect) in command.effects.iter().enumerate() {
        let Some(operand) = effect.target.value.literal() else { continue };
        let own = ["/proc/self/", "/proc/thread-self/"].iter().find_map(|prefix| operand.strip_prefix(prefix));
        let own = own.and_then(|rest| real_path(Path::new(&format!("/proc/{thread}/{rest}"))));
        facts.paths.extend(own.map(|path| ((command.id, index), path)));
        let number = ["/dev/fd/", "/proc/self/fd/"].iter().find_map(|prefix| operand.strip_prefix(prefix));
        let Some(number) = number.and_then(|number| number.parse::<u16>().ok()) else { continue };
        let Ok(target) = std::fs::read_link(format!("/proc/{thread}/fd/{number}")) else { continue };
        match target.to_str() {
            Some(pipe) if pipe.starts_with("pipe:") => _ = facts.inert.insert((command.id, index)),
            Some(file) => facts.paths.extend(AbsolutePath::new(file).map(|path| ((command.id, index), path))),
            None => {}
        }
    }
}

/// The pipes and sockets by which a session's commands and the server speak.
#[derive(Debug, Default)]
pub(crate) struct Own {
    /// Where those lie that have a name.
    pub(crate) directory: Option<PathBuf>,
    /// Those that have none, by device and number.
    pub(crate) files: Vec<(u64, u64)>,
}

/// Whether the descriptor is one end of a pipe or socket, with a name or without, that is not one of the session's `own`:
/// another program may hold the other.
pub(super) fn is_foreign_pipe(thread: i32, descriptor: i32, own: &Own) -> bool {
    let path = format!("/proc/{thread}/fd/{descriptor}");
    match std::fs::metadata(&path) {
        Ok(about) if about.file_type().is_fifo() || about.file_type().is_socket() => {
            let lies_in =
                |directory: &PathBuf| std::fs::read_link(&path).is_ok_and(|target| target.starts_with(directory));
            !own.directory.as_ref().is_some_and(lies_in) && !own.files.contains(&(about.dev(), about.ino()))
        }
        Ok(_) => false,
        // A closed descriptor is no pipe; one that cannot be looked at may be.
        Err(error) => error.kind() != std::io::ErrorKind::NotFound,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// A tracer can make the program do anything.
    #[test]
    fn what_is_traced_lends_nothing() {
        let mut images = Images::new(&[]);
        let own = i32::try_from(std::process::id()).unwrap();
        let since = ProcessStat::of(own).unwrap().start;
        let image = Image { lends: "git".to_owned(), ..Image::new(BTreeSet::new(), "git".to_owned(), None, None) };
        assert!(images.became(own, since, &Parent::Lost, image, &[]));
        let lends = |images: &Images, name: &str| images.lineage(&images.ancestry(own)).parent.lends_to(name);
        assert_eq!(["git", "ssh", ""].map(|name| lends(&images, name)), [true, false, false]);
        images.traced(own, since);
        assert!(!lends(&images, "git"));
    }

    /// What lives is remembered or does not run; what has ended makes room.
    #[test]
    fn what_is_kept_of_processes_is_bounded() {
        let mut images = Images::new(&[]);
        let mut became = |process: i32, since: u64, bytes: usize| {
            let image = Image::new(BTreeSet::new(), String::new(), None, None);
            let name = [vec![b'x'; bytes], b"=1".to_vec()].concat();
            images.became(process, since, &Parent::Lost, image, &[name])
        };
        let own = i32::try_from(std::process::id()).unwrap();
        let since = ProcessStat::of(own).unwrap().start;
        assert!(became(own, since, MAX_KEPT / 2));
        let above = ProcessStat::of(own).unwrap().parent;
        let begun = ProcessStat::of(above).unwrap().start;
        for ended in [0, 1] {
            assert!(became(above, begun + 1 + ended, MAX_KEPT / 2), "it is another one by now");
        }
        assert!(became(above, begun, 10));
        assert!(!became(above + 1_000_000, begun, MAX_KEPT), "both live");
    }
}
