//! Does an inventory tell everything that a script did?
//!
//! This file decides what "tells" means. A program that was executed is told by a command of the same name whose words
//! fit. A file that was changed or removed is told by an effect. What descends from a command that has an opaque item
//! is that item's to answer for; an item of the shell itself leaves the whole script undetermined.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use palisade_grammar::{
    CdStep, Command, CommandId, Cwd, Effect, EffectKind, Inventory, Opaque, OpaqueReason, Resolved, Value, Word,
};
use serde::Deserialize;

use crate::cage::{HOME, Ran};
use crate::trace::{Exec, Touch, base, resolve};

/// The inventory claims to tell all of it, but for what the commands with opaque items do.
pub(crate) fn determined(inventory: &Inventory) -> bool {
    inventory.parsed()
        && inventory.opaque().iter().all(|item| apart(inventory, item))
        && !inventory.commands().iter().flat_map(|command| &command.assignments).any(|one| reserved(&one.name))
}

/// What a script did that its inventory does not tell, a line each.
pub(crate) fn misses(inventory: &Inventory, ran: &Ran) -> BTreeSet<String> {
    let mut cover = Cover { inventory, ran, excused: Vec::new(), owner: Vec::new() };
    let mut misses = cover.programs();
    misses.extend(cover.files());
    misses
}

/// It is a process of its own that does what is not known, so that it can be told from what others do. Expansions are
/// done by the shell, before there is such a process.
fn apart(inventory: &Inventory, item: &Opaque) -> bool {
    use OpaqueReason::{DynamicOption, InlineCode, ScriptFile, StdinCode, UnknownOption, WrittenThenRun};
    let own = [DynamicOption, InlineCode, ScriptFile, StdinCode, UnknownOption, WrittenThenRun].contains(&item.reason);
    let command = item.command.and_then(|id| inventory.commands().get(id.0 as usize));
    own && command.is_some_and(|command| matches!(command.resolved, Resolved::Name | Resolved::Path))
}

/// Variables that make bash or programs run something by themselves. Policy forbids to set them, whatever follows.
fn reserved(name: &str) -> bool {
    let prefixes = ["LD_", "BASH_FUNC_", "GIT_", "PYTHON", "PERL5", "PS", "LC_"];
    let suffixes = ["_PRELOAD", "PAGER", "EDITOR"];
    let names = "PATH IFS ENV BASH_ENV BASH_COMPAT POSIXLY_CORRECT EXECIGNORE SHELLOPTS BASHOPTS PROMPT_COMMAND HOME LANG \
                 XDG_CONFIG_HOME MAKEFLAGS TAR_OPTIONS LESSOPEN LESSCLOSE CDPATH GLOBIGNORE BASH_ALIASES BASH_CMDS";
    prefixes.iter().any(|prefix| name.starts_with(prefix))
        || suffixes.iter().any(|suffix| name.ends_with(suffix))
        || names.split(' ').any(|reserved| reserved == name)
}

struct Cover<'a> {
    inventory: &'a Inventory,
    ran: &'a Ran,
    /// For each program that was executed: nothing has to tell what it does.
    excused: Vec<bool>,
    /// For each program that was executed: whose doing that is, where it is internal to another.
    owner: Vec<String>,
}

impl Cover<'_> {
    fn programs(&mut self) -> BTreeSet<String> {
        let mut misses = BTreeSet::new();
        for (index, exec) in self.ran.trace.execs.iter().enumerate() {
            let told: Vec<&Command> =
                self.inventory.commands().iter().filter(|command| self.tells(command, exec)).collect();
            let inherited = exec.by.and_then(|by| self.excused.get(by)).copied().unwrap_or_default();
            let opaque = told.iter().any(|command| self.opaque(command.id));
            let parent = exec.by.and_then(|by| self.owner.get(by)).cloned().unwrap_or_default();
            let internal = told.is_empty() && INTERNAL.child.iter().any(|row| row.of == parent && row.tells(exec));
            if index > 0 && told.is_empty() && !inherited && !internal {
                misses.insert(format!("executed {:?}, which no command tells", exec.argv));
            }
            self.owner.push(if internal { parent } else { base(&exec.path).to_owned() });
            self.excused.push(inherited || opaque);
        }
        misses
    }

    fn files(&self) -> BTreeSet<String> {
        let touches = &self.ran.trace.touches;
        let mut misses = BTreeSet::new();
        for (index, touch) in touches.iter().enumerate() {
            let excused = self.excused.get(touch.by).copied().unwrap_or_default();
            // What the script itself made, or puts back at once, is no loss to anybody: a temporary or a replacement.
            let same = |other: &Touch| !other.removed && other.path == touch.path;
            let replaced = touch.removed && touches.iter().enumerate().any(|(at, other)| at != index && same(other));
            let kinds: &[EffectKind] = match (touch.removed, replaced) {
                (true, false) => &[EffectKind::Delete],
                (true, true) => &[EffectKind::Delete, EffectKind::Write],
                (false, _) => &[EffectKind::Write],
            };
            if !excused && !self.ordinary(touch) && !kinds.iter().any(|kind| self.reaches(*kind, &touch.path)) {
                let did = if touch.removed { "removed" } else { "wrote" };
                misses.insert(format!(
                    "{} {did} {}, which no effect tells",
                    self.program(touch.by),
                    self.shown(&touch.path)
                ));
            }
        }
        misses
    }

    fn opaque(&self, id: CommandId) -> bool {
        self.inventory.opaque().iter().any(|item| item.command == Some(id))
    }

    fn program(&self, exec: usize) -> &str {
        self.owner.get(exec).map_or("", String::as_str)
    }

    fn shown<'p>(&self, path: &'p str) -> &'p str {
        path.strip_prefix(&self.ran.cwd).map_or(path, |rest| rest.trim_start_matches('/'))
    }

    /// Builtins and functions execute nothing: one of that name does not tell of a program. Neither does a program of
    /// that name in another place, or in another directory than the one that the command claims to run in.
    fn tells(&self, command: &Command, exec: &Exec) -> bool {
        let Some(name) = path(&command.program.value) else { return false };
        let same = match command.resolved {
            Resolved::Path => exec.path == name,
            Resolved::Name => exec.path.strip_suffix(&name).is_some_and(|folder| SEARCHED.contains(&folder)),
            _ => false,
        };
        let mut words = command.argv.get(1..).unwrap_or_default().to_vec();
        if self.vanishing() {
            let pattern = |word: &&mut Word| matches!(word.value, Value::Pattern { .. });
            words.iter_mut().filter(pattern).for_each(|word| word.value = Value::Pattern { prefix: String::new() });
        }
        same && self.starts(command, &exec.cwd) && fits(&words, exec.argv.get(1..).unwrap_or_default())
    }

    /// Patterns that match nothing leave no word.
    fn vanishing(&self) -> bool {
        let names = |command: &Command| command.argv.iter().any(|word| word.value.literal() == Some("nullglob"));
        self.inventory.commands().iter().any(names)
    }

    fn starts(&self, command: &Command, cwd: &str) -> bool {
        // A program that is told to move itself has not done so when it begins.
        let Cwd::Known(steps) = command.start.as_ref().unwrap_or(&command.cwd) else { return true };
        self.walk(steps).is_none_or(|directory| directory == cwd)
    }

    fn ordinary(&self, touch: &Touch) -> bool {
        let device = ["/dev/null", "/dev/tty", "/dev/zero", "/dev/full"].contains(&touch.path.as_str());
        let program = self.program(touch.by);
        let pipe = touch.path.starts_with("/dev/fd/"); // a process substitution, which is no file
        let beside = |row: &InternalBeside| {
            let stem = row.suffixes.iter().find_map(|suffix| touch.path.strip_suffix(suffix.as_str()));
            row.of == program && stem.is_some_and(|stem| self.reaches(EffectKind::Write, stem))
        };
        let named = INTERNAL.file.iter().any(|row| row.of == program && row.names(&touch.path));
        device || pipe || named || INTERNAL.beside.iter().any(beside)
    }

    fn reaches(&self, kind: EffectKind, path: &str) -> bool {
        let commands = self.inventory.commands().iter();
        let mut effects = commands.flat_map(|command| command.effects.iter().map(move |effect| (command, effect)));
        effects.any(|(command, effect)| {
            let from = if effect.from_start { command.start.as_ref() } else { Some(&command.cwd) };
            let directory = from.and_then(|cwd| self.directory(cwd));
            let unknown = directory.is_none() && !absolute(effect);
            effect.kind == kind && (unknown || reaches(effect, directory.as_deref().unwrap_or("/"), path))
        })
    }

    /// Where a command runs; `None` if the text does not tell.
    fn directory(&self, cwd: &Cwd) -> Option<String> {
        match cwd {
            Cwd::Known(steps) => self.walk(steps),
            Cwd::Unknown => None,
        }
    }

    fn walk(&self, steps: &[CdStep]) -> Option<String> {
        steps.iter().try_fold(self.ran.cwd.clone(), |at, step| {
            let to = resolve(&at, &path(&step.to)?);
            (!step.must_exist || self.ran.has_directory(&to)).then_some(to)
        })
    }
}

/// Where a program is looked up, should `PATH` be gone as well.
const SEARCHED: [&str; 6] = ["/usr/bin/", "/bin/", "/usr/local/bin/", "/usr/sbin/", "/sbin/", "/usr/local/sbin/"];

fn absolute(effect: &Effect) -> bool {
    matches!(effect.target.value, Value::Home(_))
        || effect.target.value.literal().is_some_and(|path| path.starts_with('/'))
}

fn path(value: &Value) -> Option<String> {
    match value {
        Value::Literal(path) => Some(path.clone()),
        Value::Home(rest) => Some(format!("{HOME}{rest}")),
        Value::Pipe { .. } | Value::Below(_) | Value::Pattern { .. } | Value::Dynamic { .. } => None,
    }
}

/// The effect's target is this path, begins it, or has it below itself.
fn reaches(effect: &Effect, cwd: &str, touched: &str) -> bool {
    match (path(&effect.target.value), prefix(&effect.target.value)) {
        (Some(exact), _) => {
            let exact = resolve(cwd, &exact);
            let below = || touched.strip_prefix(exact.trim_end_matches('/')).is_some_and(|rest| rest.starts_with('/'));
            exact == touched || effect.tree && below()
        }
        (None, "") => true,
        (None, known) => {
            let from = resolve(cwd, known);
            let open = if known.ends_with('/') { format!("{}/", from.trim_end_matches('/')) } else { from };
            // `..` may follow behind a prefix that ends in a directory; a policy sees no further either.
            touched.starts_with(&open) || format!("{touched}/") == open
        }
    }
}

fn prefix(value: &Value) -> &str {
    match value {
        Value::Pipe { .. } => "/dev/fd/",
        Value::Below(roots) => match roots.as_slice() {
            [Value::Literal(root)] => root,
            _ => "",
        },
        Value::Pattern { prefix } | Value::Dynamic { prefix } => prefix,
        Value::Literal(text) | Value::Home(text) => text,
    }
}

/// A command's words can have become these: a literal one is itself, a computed one is any number of words, of which the
/// first begins as it does.
fn fits(words: &[Word], argv: &[String]) -> bool {
    let Some((word, words)) = words.split_first() else { return argv.is_empty() };
    if let Some(exact) = path(&word.value) {
        return argv.split_first().is_some_and(|(first, argv)| *first == exact && fits(words, argv));
    }
    let known = prefix(&word.value);
    let single = word.raw.len() > 1 && word.raw.starts_with('"') && word.raw.ends_with('"') && !word.raw.contains('@');
    let begins = argv.first().is_some_and(|first| first.starts_with(known));
    if single && !word.raw.contains('`') && word.raw.matches('"').count() == 2 {
        return begins && fits(words, argv.get(1..).unwrap_or_default());
    }
    let least = usize::from(!known.is_empty());
    (least == 0 || begins) && (least..=argv.len()).any(|taken| fits(words, argv.get(taken..).unwrap_or_default()))
}

/// `internal.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Internal {
    child: Vec<InternalChild>,
    file: Vec<InternalFile>,
    beside: Vec<InternalBeside>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InternalChild {
    of: String,
    runs: Vec<String>,
    #[serde(rename = "reason")]
    _reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InternalFile {
    of: String,
    path: String,
    #[serde(rename = "reason")]
    _reason: String,
}

/// Files called like one that is told to be written, with a suffix.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InternalBeside {
    of: String,
    suffixes: Vec<String>,
    #[serde(rename = "reason")]
    _reason: String,
}

impl InternalChild {
    /// These words, or words that begin so if there is a `*`.
    fn tells(&self, exec: &Exec) -> bool {
        let words = exec.argv.join(" ");
        self.runs.iter().any(|row| row.strip_suffix('*').map_or(words == *row, |begin| words.starts_with(begin)))
    }
}

impl InternalFile {
    /// `?` is one character of the last component, `*` at the end is the rest of it, `/**` everything below.
    fn names(&self, path: &str) -> bool {
        if let Some(folder) = self.path.strip_suffix("/**") {
            return path.split('/').any(|part| part == folder);
        }
        let (folder, pattern) =
            self.path.rsplit_once('/').map_or((None, self.path.as_str()), |(folder, last)| (Some(folder), last));
        let (in_folder, last) = path.rsplit_once('/').unwrap_or(("", path));
        let (fixed, open) = pattern.strip_suffix('*').map_or((pattern, false), |fixed| (fixed, true));
        let same = fixed.chars().zip(last.chars()).all(|(pattern, letter)| pattern == '?' || pattern == letter);
        let long = if open { last.len() >= fixed.len() } else { last.len() == fixed.len() };
        folder.is_none_or(|folder| folder == in_folder) && same && long
    }
}

static INTERNAL: LazyLock<Internal> = LazyLock::new(|| toml::from_str(include_str!("internal.toml")).unwrap());
