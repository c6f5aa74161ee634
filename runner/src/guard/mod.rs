//! What may be executed in a session: the engine's answer at each `execve`.
//!
//! ```text
//! sandbox/guard.rs ─ Execution ─▶ Guard ─ whose child? process_images.rs ─ as the text said? preapproved_commands.rs ─▶ yes
//!                                   └──── else: words ─▶ Inventory, Facts, variables ─▶ Engine ─▶ yes | ExecDenial ─▶ Desk
//! ```
//!
//! The text of a script was judged before it ran. What is executed exactly as that text says was judged there, with more known
//! about it than can be seen here, and is only compared. Everything else is judged now: computed words, what a running program
//! starts, and each variable that a program changes for those that it starts. What cannot be seen takes the value that forbids
//! most ([`palisade_engine::AtExecve`]).
//!
//! A program goes by several names: as it is called, as its file is really named, and as it is told that it is called (busybox
//! looks at that). What a policy forbids to any of them is forbidden; what it permits, it permits to the first.
//!
//! What a person's yes would lift is put to one where one can be asked, and waits meanwhile (`exec_approval.rs`).
//!
//! Not decided here: how the kernel is made to ask (`sandbox/guard.rs`), and what policy says.

mod exec_approval;
mod pipes;
mod preapproved_commands;
mod process_images;
mod programs;
mod refusals;
mod session_state;

use std::collections::hash_map::RandomState;
use std::collections::{BTreeSet, HashSet};
use std::ffi::OsStr;
use std::hash::BuildHasher;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use palisade_engine::{
    AbsolutePath, Act, AtExecve, Crowd, Decision, Engine, Facts, Origin, Receiver, Report, hides_options, installer,
    is_listed_variable, is_lock_bound, is_of_prompts, is_offline, may_connect, says_it_connects, says_offline,
};
use palisade_grammar::{Command, Inventory};
use palisade_sandbox::{Execution, Judge, Patience, ProcessStat, Settled, WaitState, leader};

pub(crate) use self::exec_approval::root_of;
pub use self::exec_approval::{Answered, Asking, Clerk, Open};
use self::pipes::Pipes;
use self::preapproved_commands::{Match, Yes};
pub(crate) use self::process_images::Own;
use self::process_images::{Ancestry, Change, Guise, Image, Images, Lineage, Parent, PipeReader};
pub(crate) use self::programs::Caller;
pub use self::programs::Programs;
use self::programs::{Became, has_parts, whole};
pub(crate) use self::refusals::{Ledger, Refusal, Script, Teller};
pub use self::session_state::{Desk, DeskSettings};
pub(crate) use self::session_state::{Post, entries, occasion};
use crate::facts::Occasion;

/// Answers that are kept.
const MAX_KEPT: usize = 4096;

/// Scripts of a session of which it is remembered when they began.
const MAX_BEGUN: usize = 256;

/// Characters of a variable's value that a refusal shows.
const MAX_SHOWN: usize = 80;

/// Why something was refused.
#[derive(Clone, Debug)]
struct ExecDenial {
    policy: String,
    reason: String,
    suggest: String,
}

/// The judge of one shell.
#[derive(Debug)]
pub struct Guard {
    desk: Arc<Desk>,
    images: Images,
    /// Every program that the shell has run, and every one that its scripts name.
    crowd: Crowd,
    /// What they could write to.
    pipes: Pipes,
    /// Answers that depend on nothing but this: only those that allow.
    allowed: HashSet<(u64, u64)>,
    /// Sets of variables with which a program answers for what it sets.
    harmless: HashSet<(u64, u64)>,
    /// By which a question is known again: nobody else can find two that are alike.
    hashers: (RandomState, RandomState),
    /// The policies that gave them.
    policy_set: String,
    /// Where the process comes from that asked last.
    lineage: Option<Lineage>,
    /// Those above whoever asks now.
    ancestry: Option<Ancestry>,
    /// What was let through last, step by step.
    steps: Vec<AdmittedStep>,
    /// The script that what was asked about last belongs to.
    script: Option<u64>,
    /// What of that takes a person's yes.
    open: Vec<Open>,
    /// The variables that it gets changed: name, value, setter.
    told: Vec<(String, String, String)>,
    /// What waits for a person.
    waiting: exec_approval::Waiting,
}

/// By which an answer is known again: that to a program whose words name no file, so that nothing but what is in here can change it.
#[derive(Debug, Hash)]
struct AnswerKey {
    words: Vec<Vec<u8>>,
    /// What it is told that it is called.
    told: Option<Vec<u8>>,
    /// The file behind its name, and where that comes from: a name may lead to another file the next time.
    file: PathBuf,
    origin: Option<Origin>,
    cwd: Option<PathBuf>,
    above: Option<BTreeSet<String>>,
    pipes: (bool, bool),
    /// How many programs may stand at the other ends of those.
    crowd: usize,
    changes: Vec<Change>,
    approved: bool,
    behind_checkpoint: bool,
    /// Its variables tell it to use no network.
    offline: bool,
    /// What the principal has done before.
    labels: BTreeSet<String>,
}

/// A step that was let through, and what is known of it.
#[derive(Debug, Clone, Default)]
struct AdmittedStep {
    /// The words of the program: `git`, `git push`.
    words: Vec<String>,
    groups: BTreeSet<String>,
    /// It is what its name says.
    trusted: bool,
    /// And nothing that it was given makes it load other code, so that it answers for what it sets for others.
    is_itself: bool,
    /// This invocation may use a right to connect that policy gives the program.
    connects: bool,
    /// The command of a script that it is.
    granted: Option<Match>,
    /// It is that to the letter, so that the text told what its pipes are.
    exact: bool,
    /// What it was judged on.
    above: Option<BTreeSet<String>>,
    /// How many may have stood at the other ends of its pipes then.
    crowd: usize,
    approved: bool,
}

impl AdmittedStep {
    /// The programs above another name of it: those above it, and it by its first name.
    fn with_above(&self) -> BTreeSet<String> {
        self.above.iter().flatten().chain(&self.words).cloned().collect()
    }
}

impl Guard {
    /// Answers for one shell.
    pub fn new(desk: Arc<Desk>) -> Self {
        let images = Images::new(&desk.environment);
        Self {
            desk,
            images,
            crowd: Crowd::default(),
            pipes: Pipes::default(),
            allowed: HashSet::new(),
            harmless: HashSet::new(),
            hashers: (RandomState::new(), RandomState::new()),
            policy_set: String::new(),
            ancestry: None,
            lineage: None,
            steps: Vec::new(),
            script: None,
            open: Vec::new(),
            told: Vec::new(),
            waiting: exec_approval::Waiting::default(),
        }
    }

    /// The script that such a process belongs to.
    fn script(&self, ancestry: &Ancestry) -> Option<u64> {
        self.desk.script(|| self.images.source(ancestry))
    }

    fn judge(&mut self, steps: &[Execution]) -> Result<AdmittedStep, ExecDenial> {
        let Some((execution, before)) = steps.split_last() else { return Err(ExecDenial::unknown()) };
        if before.is_empty() {
            self.pipes.note(execution.thread);
        }
        // The caller waits meanwhile, and so do all steps of its.
        let ancestry = self.ancestry.take().unwrap_or_else(|| self.images.ancestry(execution.thread));
        let lineage = self.images.lineage(&ancestry);
        self.ancestry = Some(ancestry);
        let parent = lineage.parent.clone();
        self.lineage = Some(lineage);
        let changes = if before.is_empty() { self.images.changes(&parent, &execution.env) } else { Vec::new() };
        if before.is_empty() {
            let value = |change: &Change| String::from_utf8_lossy(&change.value).into_owned();
            self.told =
                changes.iter().map(|change| (change.name.clone(), value(change), change.setter.clone())).collect();
        }
        let desk = Arc::clone(&self.desk);
        let engine = desk.policies.now();
        if changes.is_empty() && before.is_empty() && desk.is_errand(&parent, execution) {
            return Ok(AdmittedStep { crowd: self.crowd.size(), ..AdmittedStep::default() });
        }
        let state = desk.state();
        for granted in &state.granted {
            self.crowd.extend(&granted.words, &granted.groups);
        }
        let matching =
            if before.is_empty() { preapproved_commands::find(&state.granted, &parent, execution) } else { None };
        // An execution that is refused all the same, or that the kernel refuses, has used it up too.
        let yes = matching.as_ref().map_or(Yes::None, |(granted, _)| granted.take());
        let approved = yes == Yes::Given;
        let mut occasion = state.occasion.clone();
        // Its files are where this process has them, and its own.
        occasion.shell = occasion.shell.or(self.images.shell());
        let behind_checkpoint = state.behind_checkpoint;
        let was_local = matching.as_ref().is_some_and(|(granted, _)| granted.local);
        let known = matching.map(|(granted, exact)| {
            let step = AdmittedStep {
                words: granted.words.clone(),
                groups: granted.groups.clone(),
                trusted: granted.trusted,
                is_itself: false,
                connects: false,
                granted: Some(granted.name()),
                exact,
                above: self.above(&parent, before),
                crowd: self.crowd.size(),
                approved,
            };
            // Policies may have taken the place of those that said yes.
            (step, exact && yes != Yes::Used && granted.policy_set == engine.policy_set())
        });
        drop(state);
        let asked = ExecQuestion { execution, before, parent, changes, approved, behind_checkpoint };
        match known {
            Some((mut step, true)) => {
                // The text was judged; the variables and the file behind the name are seen only now.
                let receiver = receiver(&step, || hides(&execution_words(asked.execution)));
                let is_told = asked.approved || !self.is_opaque(&engine, &receiver, &asked);
                // What the text was told of the machine may have changed since, and the answer rests on it.
                step.connects = connects(&receiver) && is_told && !was_local;
                let changes = self.changes(&engine, &asked, &receiver);
                if !changes.is_empty() {
                    let unconnected = self.variables(&engine, &mut occasion, &asked, &receiver, &changes)?;
                    step.connects &= !unconnected;
                }
                step.is_itself = self.is_itself(&engine, &mut occasion, &asked, &step);
                // By the name of an installed program the text told what its pipes are; another name may hide a reader of them.
                let seen = if step.trusted { AtExecve::default() } else { self.seen(&engine, &occasion, execution) };
                self.other_names(&engine, &mut occasion, &asked, &step, &seen)?;
                self.feeds(&engine, &mut occasion, &step)?;
                Ok(step)
            }
            known => {
                let step = self.words(&engine, &mut occasion, &asked)?;
                self.feeds(&engine, &mut occasion, &step)?;
                Ok(AdmittedStep { granted: known.and_then(|(known, _)| known.granted), ..step })
            }
        }
    }

    /// Whether what reads from a pipe already could have been executed with this program, and with all that have come since it
    /// was, at its other end. Both ends of a pipeline start at once, so that the reader may have been asked about first.
    fn feeds(&mut self, engine: &Engine, occasion: &mut Occasion, step: &AdmittedStep) -> Result<(), ExecDenial> {
        let mut crowd = self.crowd.clone();
        crowd.extend(&step.words, &step.groups);
        let size = crowd.size();
        // The crowd only grows, so that its size says which it is.
        let mut readers: Vec<_> =
            self.images.readers().into_iter().filter(|reader| reader.crowd.load(Relaxed) != size).collect();
        let is_untouched = |reader: &Arc<PipeReader>| reader.pipe.is_some_and(|pipe| self.pipes.is_untouched(pipe));
        if readers.iter().any(is_untouched) && self.is_no_gain(engine, occasion) {
            readers.retain(|reader| !is_untouched(reader));
        }
        for reader in &readers {
            for Guise { words, above } in &reader.names {
                let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
                let inventory = palisade_grammar::execution(&words);
                let mut facts = self.facts_from(engine, occasion, reader.cwd.as_deref(), &inventory);
                facts.started_by.clone_from(above);
                facts.at_execve = Some(AtExecve { upstream: crowd.clone(), ..AtExecve::default() });
                not_forbidden(&engine.decide_execution(&inventory, &facts, &[], reader.approved))?;
            }
        }
        // It may be refused still; `settle` counts it once it goes. Its readers are looked at again then.
        if !self.open.is_empty() {
            return Ok(());
        }
        for reader in readers {
            reader.crowd.store(size, Relaxed);
        }
        // Should the kernel not execute it after all, it has been taken for more than it is, not for less.
        self.crowd = crowd;
        Ok(())
    }

    /// Judges the words of a program, under each of its names, and the variables that it gets.
    fn words(
        &mut self,
        engine: &Engine,
        occasion: &mut Occasion,
        asked: &ExecQuestion<'_>,
    ) -> Result<AdmittedStep, ExecDenial> {
        let ExecQuestion { execution, before, .. } = asked;
        let named = execution.named.as_os_str().as_bytes();
        let words: Vec<&[u8]> =
            std::iter::once(named).chain(execution.argv.iter().skip(1).map(Vec::as_slice)).collect();
        let inventory = palisade_grammar::execution(&words);
        let Some(command) = inventory.commands().first() else { return Err(ExecDenial::unknown()) };
        let mut step = AdmittedStep {
            words: command.invocation.words.clone(),
            groups: command.invocation.groups.clone(),
            above: self.above(&asked.parent, before),
            crowd: self.crowd.size(),
            approved: asked.approved,
            ..AdmittedStep::default()
        };
        let above = step.above.clone();
        let seen = self.seen(engine, occasion, execution);
        let facts = self.facts(engine, occasion, asked, &inventory, above.clone(), seen.clone());
        let program = facts.programs.get(&command.id);
        step.trusted = program.is_some_and(|program| program.origin.is_trusted());
        let receiver = receiver(&step, || hides(&inventory));
        step.connects = connects(&receiver) && !told_to_stay(&facts, asked.approved);
        let may_connect = step.connects;
        let changes = self.changes(engine, asked, &receiver);
        let names_no_file = inventory.commands().iter().all(|command| command.effects.is_empty());
        let question = AnswerKey {
            words: words.iter().map(|word| word.to_vec()).collect(),
            told: execution.argv.first().cloned(),
            file: execution.file.clone(),
            origin: program.map(|program| program.origin),
            cwd: execution.cwd.clone(),
            above,
            pipes: (seen.upstream != Crowd::default(), seen.downstream != Crowd::default()),
            crowd: self.crowd.size(),
            changes: changes.clone(),
            approved: asked.approved,
            behind_checkpoint: asked.behind_checkpoint,
            offline: inventory.commands().iter().any(|command| goes_offline(command, execution)),
            labels: facts.session.labels.clone(),
        };
        self.forget_other_policies(engine);
        let question = (self.hashers.0.hash_one(&question), self.hashers.1.hash_one(&question));
        // What a program answers for depends on more than what was changed for it.
        step.is_itself = self.is_itself(engine, occasion, asked, &step);
        if names_no_file && self.allowed.contains(&question) {
            return Ok(step);
        }
        let acts = acts(&changes, &receiver);
        let mut facts = facts;
        let mut report = engine.decide_execution(&inventory, &facts, &acts, asked.approved);
        // Also one that needs no peer (`cargo check --offline --locked`): it runs without the right, and is judged without it.
        if report.decision != Decision::Allow && may_go_unconnected(&receiver) {
            let alone = AtExecve { unconnected: true, ..seen.clone() };
            let unconnected = Facts { at_execve: Some(alone), ..facts.clone() };
            let again = engine.decide_execution(&inventory, &unconnected, &acts, asked.approved);
            if again.decision == Decision::Allow {
                (report, facts, step.connects) = (again, unconnected, false);
            }
        }
        let decide = |approved| engine.decide_execution(&inventory, &facts, &acts, approved);
        // What no yes would lift tells more than what one would.
        let whole = (report.decision != Decision::Allow).then(|| decide(true));
        let told = whole.as_ref().filter(|whole| whole.decision != Decision::Allow).unwrap_or(&report);
        let refused = allowed(told).err().map(|refused| {
            let act = acts
                .iter()
                .find(|act| told.reasons.first().is_some_and(|reason| reason.text == format!("setEnv {}", act.text())));
            act.map_or_else(|| refused.clone(), |act| refused.clone().about(act))
        });
        // One that is taken now would be of what the script has done already.
        let lifted = whole.as_ref().unwrap_or(&report);
        let checkpoint = lifted.checkpoint.first().filter(|_| !asked.behind_checkpoint);
        let is_open = refused.is_some();
        match (refused, checkpoint) {
            (Some(refused), _) if report.decision != Decision::Ask => return Err(refused),
            (_, Some(policy)) => return Err(ExecDenial::without_checkpoint(policy)),
            (Some(refused), None) => self.open_words((inventory, facts, acts), (report, refused)),
            (None, None) => {}
        }
        self.other_names(engine, occasion, asked, &step, &seen)?;
        // A policy that looks at what passes (the clock, the session's age) would be kept from looking again for ever.
        if names_no_file && !is_open && step.connects == may_connect && !engine.reads_what_passes() {
            keep(&mut self.allowed, question);
        }
        Ok(step)
    }

    /// Whether anything forbids it by another name of its, as what the first name starts.
    fn other_names(
        &mut self,
        engine: &Engine,
        occasion: &mut Occasion,
        asked: &ExecQuestion<'_>,
        step: &AdmittedStep,
        seen: &AtExecve,
    ) -> Result<(), ExecDenial> {
        for name in other_names(asked.execution) {
            let words = words_as(&name, asked.execution);
            let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            let inventory = palisade_grammar::execution(&words);
            let above = step.with_above();
            let facts = self.facts(engine, occasion, asked, &inventory, Some(above), seen.clone());
            let report = engine.decide_execution(&inventory, &facts, &[], asked.approved);
            if let Err(refused) = not_forbidden(&report) {
                if !forbidding(&report).all(|request| request.decision == Decision::Ask) {
                    return Err(refused);
                }
                self.open_name((inventory, facts), report);
            }
        }
        Ok(())
    }

    /// Judges the variables of a program whose words the text of a script told; whether it may have them only without a right to connect.
    fn variables(
        &mut self,
        engine: &Engine,
        occasion: &mut Occasion,
        asked: &ExecQuestion<'_>,
        receiver: &Receiver<String>,
        changes: &[Change],
    ) -> Result<bool, ExecDenial> {
        set_directory(occasion, asked.execution.cwd.as_deref());
        let facts = |unconnected| {
            let at = AtExecve { unconnected, ..AtExecve::default() };
            Facts { at_execve: Some(at), ..self.desk.surroundings.facts(occasion) }
        };
        let connected = facts(false);
        let acts = acts(changes, receiver);
        let reports: Vec<_> = acts.iter().map(|act| engine.judge(&connected, act, asked.approved)).collect();
        if reports.iter().all(|report| report.decision == Decision::Allow) {
            return Ok(false);
        }
        if may_go_unconnected(receiver) {
            let alone = facts(true);
            if acts.iter().all(|act| engine.judge(&alone, act, asked.approved).decision == Decision::Allow) {
                return Ok(true);
            }
        }
        for (act, report) in acts.into_iter().zip(reports) {
            match report.decision {
                Decision::Allow => {}
                Decision::Ask => self.open_variable((connected.clone(), act), report),
                Decision::Deny => return Err(ExecDenial::of(&report).about(&act)),
            }
        }
        Ok(false)
    }

    /// Whether it is open what these words make a program do that has a right to connect.
    fn is_opaque(&self, engine: &Engine, receiver: &Receiver<String>, asked: &ExecQuestion<'_>) -> bool {
        let Receiver::Program { words, groups, .. } = receiver else { return false };
        may_go_unconnected(receiver)
            && engine.is_privileged(words, groups, true)
            && execution_words(asked.execution).opaque().iter().any(|opaque| hides_options(opaque.reason))
    }

    /// Whether a program answers for the variables that it sets for those that it starts. Only where own code gains nothing can it have
    /// been given one that makes it load other code.
    fn is_itself(
        &mut self,
        engine: &Engine,
        occasion: &mut Occasion,
        asked: &ExecQuestion<'_>,
        step: &AdmittedStep,
    ) -> bool {
        let setter = step.words.first().map(String::as_str).unwrap_or_default();
        if !step.trusted || !engine.may_set(whole(setter)) {
            return step.trusted;
        }
        let mut changes = self.images.changes_since_start(&asked.parent, &asked.execution.env);
        changes.retain(|change| match change.name.as_str() {
            // Which program or library a name means, and the libraries of a toolchain are what they are.
            "PATH" => false,
            "LD_LIBRARY_PATH" => !self.is_fixed(&change.value),
            // An unknown variable is judged where a program with a right gets it. It does not make cargo's own start of its parts the
            // agent's (`DATABASE_URL=… cargo clippy`).
            name => is_listed_variable(name) && !is_of_prompts(name),
        });
        if changes.is_empty() {
            return true;
        }
        set_directory(occasion, asked.execution.cwd.as_deref());
        let facts = self.desk.surroundings.facts(occasion);
        self.forget_other_policies(engine);
        let question = (&changes, &asked.execution.cwd, asked.approved, &facts.session.labels);
        let question = (self.hashers.0.hash_one(question), self.hashers.1.hash_one(question));
        if self.harmless.contains(&question) {
            return true;
        }
        let allows = |act: &Act| engine.judge(&facts, act, asked.approved).decision == Decision::Allow;
        let is_itself = acts(&changes, &Receiver::Unknown).iter().all(allows);
        if is_itself && !engine.reads_what_passes() {
            keep(&mut self.harmless, question);
        }
        is_itself
    }

    fn forget_other_policies(&mut self, engine: &Engine) {
        if self.policy_set != engine.policy_set() {
            self.allowed.clear();
            self.harmless.clear();
            self.policy_set = engine.policy_set().to_owned();
        }
    }

    /// The variables that a program is asked about: those that its parent changed for it. A privileged one is asked about every
    /// variable that anything in the session has changed, however far above.
    fn changes(&self, engine: &Engine, asked: &ExecQuestion<'_>, receiver: &Receiver<String>) -> Vec<Change> {
        let Receiver::Program { words, groups, hidden } = receiver else { return asked.changes.clone() };
        if !asked.before.is_empty() || !engine.is_privileged(words, groups, *hidden) {
            return asked.changes.clone();
        }
        let mut changes = self.images.changes_since_start(&asked.parent, &asked.execution.env);
        changes.retain(|change| match change.name.as_str() {
            "PATH" => self.shadows(receiver.program(), &change.value, asked.execution.cwd.as_deref()),
            "LD_LIBRARY_PATH" => !self.is_fixed(&change.value),
            _ => true,
        });
        changes
    }

    /// Whether every directory of a list that is not the session's own lies where no session can write: rustup names the libraries of a
    /// toolchain.
    fn is_fixed(&self, list: &[u8]) -> bool {
        let occasion = self.desk.state().occasion.clone();
        let mut directories = list.split(|byte| *byte == b':').filter(|entry| !entry.is_empty());
        // An empty entry is the working directory.
        !list.split(|byte| *byte == b':').any(<[u8]>::is_empty)
            && directories.all(|entry| self.desk.surroundings.is_fixed(&occasion, Path::new(OsStr::from_bytes(entry))))
    }

    /// Whether a search path that differs from the session's own leads to another program under a privileged one's name, in a place that
    /// sessions can write. The programs that
    /// a privileged one starts are decided by themselves, so that nothing else in the path gives them a right.
    fn shadows(&self, program: &str, path: &[u8], cwd: Option<&Path>) -> bool {
        let entries = |path: &[u8]| path.split(|byte| *byte == b':').map(<[u8]>::to_vec).collect::<Vec<_>>();
        let own = self.desk.environment.iter().find_map(|entry| entry.strip_prefix(b"PATH="));
        let own = own.map(entries).unwrap_or_default();
        let mut added = entries(path).into_iter().filter(|entry| !own.contains(entry));
        added.any(|entry| {
            let directory = Path::new(OsStr::from_bytes(&entry));
            // A relative one (`node_modules/.bin`, as in husky's hooks) counts from where the program begins.
            let directory = match cwd {
                _ if directory.is_absolute() => directory.to_owned(),
                Some(cwd) => cwd.join(directory),
                None => return true,
            };
            !is_surely_absent(&directory.join(program)) && !self.is_fixed(directory.as_os_str().as_bytes())
        })
    }

    /// The programs above; none if the agent wrote the command.
    fn above(&self, parent: &Parent, before: &[Execution]) -> Option<BTreeSet<String>> {
        let mut above = match parent {
            Parent::Shell if before.is_empty() => return None,
            Parent::Shell => BTreeSet::new(),
            Parent::Image(image) => image.with_above(),
            Parent::Lost => self.crowd.programs.clone(),
        };
        above.extend(before.iter().flat_map(names_of));
        Some(above)
    }

    /// What may be at the other ends of its pipes: everything that the session has run or names now. Not what reads a here-document, where
    /// own code gains nothing.
    fn seen(&self, engine: &Engine, occasion: &Occasion, execution: &Execution) -> AtExecve {
        let anyone = |descriptor| match process_images::is_foreign_pipe(execution.thread, descriptor, &self.desk.own) {
            true => self.crowd.clone(),
            false => Crowd::default(),
        };
        let mut seen = AtExecve { upstream: anyone(0), downstream: anyone(1), unconnected: false };
        let is_untouched = || pipes::input(execution.thread).is_some_and(|pipe| self.pipes.is_untouched(pipe));
        if seen.upstream != Crowd::default() && is_untouched() && self.is_no_gain(engine, occasion) {
            seen.upstream = Crowd::default();
        }
        seen
    }

    fn is_no_gain(&self, engine: &Engine, occasion: &Occasion) -> bool {
        engine.is_no_gain(&self.desk.surroundings.facts(occasion))
    }

    fn facts(
        &self,
        engine: &Engine,
        occasion: &mut Occasion,
        asked: &ExecQuestion<'_>,
        inventory: &Inventory,
        above: Option<BTreeSet<String>>,
        seen: AtExecve,
    ) -> Facts {
        let mut facts = self.facts_from(engine, occasion, asked.execution.cwd.as_deref(), inventory);
        process_images::name_descriptors(asked.execution.thread, inventory, &mut facts);
        for command in inventory.commands().iter().filter(|command| goes_offline(command, asked.execution)) {
            facts.told.entry(command.id).or_default().installed = true;
        }
        // `grep -r` meets an error at a masked file and reads the rest. A program that gets the names as words (`xargs grep`) does the same.
        if above.is_some() && engine.is_no_gain(&facts) {
            self.desk.surroundings.leave_to_masks(occasion, inventory, engine, &mut facts);
        }
        facts.started_by = above;
        facts.at_execve = Some(seen);
        facts
    }

    /// What is known of a program's words where it stands; of none of its files if that is not known.
    fn facts_from(&self, engine: &Engine, occasion: &mut Occasion, cwd: Option<&Path>, inventory: &Inventory) -> Facts {
        let stands = set_directory(occasion, cwd);
        let mut facts = self.desk.surroundings.gather(occasion, inventory, engine);
        if !stands {
            // All of it was found from another place.
            facts.directories.clear();
            facts.paths.clear();
            facts.matches.clear();
            facts.below.clear();
            facts.inert.clear();
            facts.no_options.clear();
        }
        facts
    }
}

/// Takes a program's directory for the session's; false if that is not known.
fn set_directory(occasion: &mut Occasion, cwd: Option<&Path>) -> bool {
    let cwd = cwd.and_then(Path::to_str).and_then(AbsolutePath::new);
    let known = cwd.is_some();
    if let Some(cwd) = cwd {
        occasion.cwd = cwd;
    }
    known
}

/// One question, and what is known about it.
struct ExecQuestion<'a> {
    execution: &'a Execution,
    /// The scripts whose interpreter it is.
    before: &'a [Execution],
    parent: Parent,
    /// The variables that its parent has changed for it.
    changes: Vec<Change>,
    approved: bool,
    /// The script that runs stands behind a checkpoint of the workspace.
    behind_checkpoint: bool,
}

impl Judge for Guard {
    fn launched(&mut self, shell: i32) {
        self.images.launched(shell);
    }

    fn may(&mut self, steps: &[Execution]) -> bool {
        if steps.len() <= 1 {
            self.steps.clear();
            self.open.clear();
            self.ancestry = steps.first().map(|step| self.images.ancestry(step.thread));
            self.script = self.ancestry.as_ref().and_then(|ancestry| self.script(ancestry));
        }
        match self.judge(steps) {
            Ok(step) => {
                self.steps.push(step);
                true
            }
            Err(refused) => {
                if let Some(execution) = steps.last() {
                    self.desk.refuse(execution, refused, self.script);
                }
                false
            }
        }
    }

    fn settle(&mut self, steps: &[Execution], patience: Patience) -> Settled {
        self.settle_open(steps, patience)
    }

    fn look(&mut self, ticket: u64) -> WaitState {
        self.look_at(ticket)
    }

    fn left(&mut self, ticket: u64) {
        self.leave(ticket);
    }

    fn may_unwatched(&mut self, steps: &[Execution]) -> bool {
        let Some(first) = steps.first() else { return false };
        // A person's yes is to the words that were shown, and these can still change.
        if self.steps.iter().any(|step| step.approved) {
            return false;
        }
        // Where own code gains nothing, a copy of the program under another name could be executed as well; and as no program at all, what
        // comes of this has no right of its own.
        let occasion = self.desk.state().occasion.clone();
        if !self.is_no_gain(&self.desk.policies.now(), &occasion) {
            return false;
        }
        for step in &mut self.steps {
            (step.trusted, step.is_itself, step.connects) = (false, false, false);
        }
        let Some(process) = leader(first.thread) else { return false };
        let steps: Vec<Execution> = steps.iter().map(|step| Execution { thread: process, ..step.clone() }).collect();
        self.became(&steps)
    }

    fn became(&mut self, steps: &[Execution]) -> bool {
        let Some(last) = steps.last() else { return false };
        // It has been waiting ever since it was asked about: nobody else can have its number.
        let look = || self.images.lineage(&self.images.ancestry(last.thread));
        let lineage = self.lineage.take().unwrap_or_else(look);
        let looked_at = || ProcessStat::of(last.thread).ok().map(|stat| stat.start);
        // Without it the process would go on under the name of what it was before.
        let Some(since) = lineage.since(last.thread).or_else(looked_at) else { return false };
        let known = std::mem::take(&mut self.steps);
        let called = known.first().filter(|step| step.trusted).and_then(|step| step.words.first().cloned());
        // `git-submodule` in git's own directory of programs is a part of git.
        let is_part = steps.first().is_some_and(|step| step.named.parent().is_some_and(|at| at.ends_with("git-core")));
        // Scripts of git's run what configuration says in their own shell (`git-web--browse`). This one does not, and sets variables.
        let is_part = is_part && (steps.len() == 1 || called.as_deref() == Some("git-submodule"));
        let called = called.map(|name| if is_part && name.starts_with("git-") { "git".to_owned() } else { name });
        let of_parts = called.as_deref().map(whole).filter(|name| has_parts(name));
        let is_whole = |step: &&AdmittedStep| step.words.first().is_some_and(|name| has_parts(name));
        let says_what = known.first().filter(is_whole).is_some_and(|step| step.groups.contains("network"));
        let is_lent = is_remote_helper(steps) && of_parts.is_some_and(|name| lineage.parent.lends_to(name));
        let connects = known.first().is_some_and(|step| step.connects);
        let lends = of_parts.filter(|_| connects && (says_what || is_lent)).unwrap_or_default().to_owned();
        if let Some(programs) = &self.desk.programs {
            let image = last.file.file_name().and_then(OsStr::to_str).unwrap_or_default();
            let image = known.last().filter(|step| step.trusted).map_or("", |_| image);
            let has_right = connects && (of_parts.is_none() || !lends.is_empty());
            let name = called.as_deref().filter(|_| has_right).unwrap_or_default();
            let own = known.first().zip(steps.first()).filter(|(step, _)| !step.trusted);
            let copies = own.map(|(_, execution)| copied_installers(execution)).unwrap_or_default();
            let of_script = steps.len() > 1;
            programs.became(last.thread, since, &Became { name, words: &last.argv, of_script, image, copies });
        }
        let names = steps.iter().flat_map(names_of).chain(known.iter().flat_map(|step| step.words.clone()));
        let granted = known.first().and_then(|step| step.granted);
        let setter = called.filter(|_| known.first().is_some_and(|step| step.is_itself)).unwrap_or_default();
        let mut image = Image::new(names.collect(), setter, granted, self.script);
        image.lends = lends;
        if process_images::is_foreign_pipe(last.thread, 0, &self.desk.own)
            && let Some(step) = known.last().filter(|step| !(step.exact && step.trusted))
        {
            let own = (!step.exact).then(|| Guise { words: words_as(&last.named, last), above: step.above.clone() });
            let other = |name: PathBuf| Guise { words: words_as(&name, last), above: Some(step.with_above()) };
            let others = other_names(last).into_iter().map(other);
            let pipe = pipes::input(last.thread);
            let is_untouched = pipe.is_some_and(|pipe| self.pipes.is_untouched(pipe));
            image.reads = Some(Arc::new(PipeReader {
                names: own.into_iter().chain(others).collect(),
                cwd: last.cwd.clone(),
                approved: step.approved,
                pipe,
                // It was judged as if no program wrote to this pipe. Once one can, it is judged again.
                crowd: AtomicUsize::new(if is_untouched { usize::MAX } else { step.crowd }),
            }));
        }
        self.images.became(last.thread, since, &lineage.parent, image, &last.env)
    }

    /// The shell and its copies speak for the script's text, and of who has lost its parents nothing is known.
    fn may_trace(&self, process: i32) -> bool {
        matches!(self.images.lineage(&self.images.ancestry(process)).parent, Parent::Image(_))
    }

    fn is_of(&self, process: i32, program: &str) -> bool {
        self.images.lineage(&self.images.ancestry(process)).parent.setter() == program
    }

    fn traced(&mut self, process: i32) {
        let Ok(stat) = ProcessStat::of(process) else { return };
        self.images.traced(process, stat.start);
        if let Some(programs) = &self.desk.programs {
            programs.traced(process, stat.start);
        }
    }

    fn refused(&mut self, execution: &Execution, reason: &'static str) {
        let script = self.script(&self.images.ancestry(execution.thread));
        self.desk.refuse(execution, ExecDenial { reason: reason.to_owned(), ..ExecDenial::unknown() }, script);
    }
}

impl ExecDenial {
    /// Says which variable with which value was refused, who set it and what would get it.
    fn about(mut self, act: &Act) -> Self {
        if let Act::SetEnv { name, value, program, receiver } = act {
            let setter = if program.is_empty() { "the agent's script or a program of its own" } else { program };
            let receiver = if receiver.program().is_empty() { "the program" } else { receiver.program() };
            let value: String = value.chars().take(MAX_SHOWN).collect();
            self.reason = format!("{} `{name}={value}`, set by {setter}, for {receiver}.", self.reason);
        }
        self
    }

    fn unknown() -> Self {
        Self {
            policy: String::new(),
            reason: "What this would execute cannot be told.".to_owned(),
            suggest: String::new(),
        }
    }

    fn without_checkpoint(policy: &str) -> Self {
        Self {
            policy: policy.to_owned(),
            reason: "It is permitted only behind a checkpoint, and the command that starts it began without one."
                .to_owned(),
            suggest: "Name it in the command itself.".to_owned(),
        }
    }

    fn of(report: &Report) -> Self {
        match report.reasons.first() {
            Some(first) => {
                Self { policy: first.policy.clone(), reason: first.reason.clone(), suggest: first.suggest.clone() }
            }
            None => Self::unknown(),
        }
    }
}

/// Whether nothing has this path. A path that cannot be looked at may have something.
fn is_surely_absent(path: &Path) -> bool {
    let absent = [std::io::ErrorKind::NotFound, std::io::ErrorKind::NotADirectory];
    path.symlink_metadata().is_err_and(|error| absent.contains(&error.kind()))
}

/// What gets the variables of an execution. `hides` costs a reading of the words.
fn receiver(step: &AdmittedStep, hides: impl FnOnce() -> bool) -> Receiver<String> {
    if !step.trusted {
        return Receiver::untrusted();
    }
    // Only a subcommand can be one that needs no peer.
    let hidden = step.words.len() < 2 || hides();
    Receiver::Program { words: step.words.clone(), groups: step.groups.iter().cloned().collect(), hidden }
}

/// Whether the words of an execution leave open which options it has, or bind it to a lock file.
fn hides(inventory: &Inventory) -> bool {
    let first = inventory.commands().first();
    first.is_some_and(|command| is_lock_bound(&command.invocation.flags))
        || inventory.opaque().iter().any(|opaque| hides_options(opaque.reason))
}

fn execution_words(execution: &Execution) -> Inventory {
    let words = words_as(&execution.named, execution);
    let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    palisade_grammar::execution(&words)
}

/// The installer of packages that the agent's own code is executed as (`.venv/bin/pip install`), where that may fetch something. pip alone
/// lies in the workspace as a rule, and knows the authority ([`crate::network::Inspector`]).
fn copied_installers(execution: &Execution) -> BTreeSet<String> {
    let inventory = execution_words(execution);
    let fetches = |command: &&Command| {
        let groups = &command.invocation.groups;
        let fetches = groups.contains("package-install") || groups.contains("network");
        fetches && !says_offline(command) && !goes_offline(command, execution)
    };
    let installers = inventory.commands().iter().filter(fetches).filter_map(installer);
    installers.filter(|installer| *installer == "pip").map(str::to_owned).collect()
}

fn connects(receiver: &Receiver<String>) -> bool {
    match receiver {
        Receiver::Program { words, groups, hidden } => may_connect(words, groups, *hidden),
        Receiver::Unknown | Receiver::Shell | Receiver::ShellAlone => false,
    }
}

/// Whether this is what git starts to talk to a peer: `git remote-https`, and `git-remote-https` in its turn.
fn is_remote_helper(steps: &[Execution]) -> bool {
    let [step] = steps else { return false };
    let name = step.named.file_name().and_then(OsStr::to_str).unwrap_or_default();
    whole(name) != name || has_parts(name) && step.argv.get(1).is_some_and(|word| word.starts_with(b"remote-"))
}

/// Full, it is emptied.
fn keep(answers: &mut HashSet<(u64, u64)>, question: (u64, u64)) {
    if answers.len() >= MAX_KEPT {
        answers.clear();
    }
    answers.insert(question);
}

/// Whether a program's own variables tell it to use no network.
fn goes_offline(command: &Command, execution: &Execution) -> bool {
    let value = |name: &str| {
        let entry = execution.env.iter().find_map(|entry| entry.strip_prefix(name.as_bytes())?.strip_prefix(b"="));
        entry.map(|value| String::from_utf8_lossy(value).into_owned())
    };
    is_offline(command, value)
}

/// Whether the machine's files tell that a command needs no peer ([`palisade_engine::CommandFacts::stays_here`]).
fn told_to_stay(facts: &Facts, approved: bool) -> bool {
    !facts.told.is_empty() && facts.told.values().all(|told| told.stays_here(approved))
}

/// Whether a program may run without its right to connect, so that what is open about its words and its variables gives it nothing.
fn may_go_unconnected(receiver: &Receiver<String>) -> bool {
    matches!(receiver, Receiver::Program { groups, .. } if !says_it_connects(groups))
}

fn acts(changes: &[Change], receiver: &Receiver<String>) -> Vec<Act> {
    let act = |change: &&Change| Act::SetEnv {
        name: change.name.clone(),
        value: String::from_utf8_lossy(&change.value).into_owned(),
        program: change.setter.clone(),
        receiver: receiver.clone(),
    };
    // The first that is refused is told.
    let mut changes: Vec<&Change> = changes.iter().collect();
    changes.sort_by(|one, other| one.name.cmp(&other.name));
    changes.iter().map(act).collect()
}

fn allowed(report: &Report) -> Result<(), ExecDenial> {
    if report.decision == Decision::Allow { Ok(()) } else { Err(ExecDenial::of(report)) }
}

/// Under another name of its, only what forbids it counts: nobody permits a file by every name that it may have.
fn not_forbidden(report: &Report) -> Result<(), ExecDenial> {
    if forbidding(report).next().is_some() { Err(ExecDenial::of(report)) } else { Ok(()) }
}

/// The requests that a policy stands in the way of.
fn forbidding(report: &Report) -> impl Iterator<Item = &palisade_engine::Judged> {
    report.requests.iter().filter(|request| {
        request.decision != Decision::Allow && !(request.determining.is_empty() && request.errors.is_empty())
    })
}

/// The program by its file's real name, and by the name that it is told: where those are others.
fn other_names(execution: &Execution) -> Vec<PathBuf> {
    let own = execution.named.file_name();
    let mut names = Vec::new();
    // What becomes of rustup under another name is that program of a toolchain, and never rustup itself.
    let told_own = execution.argv.first().map(|word| Path::new(OsStr::from_bytes(word)).file_name());
    let is_proxy = execution.file.file_name() == Some(OsStr::new("rustup")) && told_own == Some(own);
    if execution.file.file_name() != own && !is_proxy {
        names.push(execution.file.clone());
    }
    // A login shell's begins with a dash.
    let told = execution.argv.first().map(|word| word.strip_prefix(b"-").unwrap_or(word));
    let told = told.and_then(|word| word.rsplit(|byte| *byte == b'/').next()).filter(|word| !word.is_empty());
    if let Some(told) = told.map(OsStr::from_bytes)
        && Some(told) != own
        && Some(told) != execution.file.file_name()
    {
        names.push(execution.file.with_file_name(told));
    }
    names
}

/// The words of an execution, the file under this name.
fn words_as(name: &Path, execution: &Execution) -> Vec<Vec<u8>> {
    std::iter::once(name.as_os_str().as_bytes().to_vec()).chain(execution.argv.iter().skip(1).cloned()).collect()
}

fn names_of(execution: &Execution) -> BTreeSet<String> {
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    name(&execution.named).into_iter().chain(name(&execution.file)).collect()
}
